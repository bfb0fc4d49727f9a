//! Protocol codecs without I/O: bytes in, requests out; responses in, bytes out.
//!
//! A codec borrows from the bytes it is given, allocates nothing, knows neither sockets nor clocks nor
//! storage, and gives the same requests however the bytes were cut on their way.

#![forbid(unsafe_code)]

pub mod memcached;
