//! Protocol codecs without I/O: bytes in, requests out; responses in, bytes out.

#![forbid(unsafe_code)]
