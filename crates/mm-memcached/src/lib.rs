//! memcached's semantics: codec, store and service put together.

#![forbid(unsafe_code)]
