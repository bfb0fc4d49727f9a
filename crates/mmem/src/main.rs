//! A complete replacement for memcached.

#![forbid(unsafe_code)]

fn main() {}
