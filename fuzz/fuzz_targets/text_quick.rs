//! The text parser's quick path finds what its slow one finds.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mm_proto::memcached::fuzzing::fuzz_quick(data));
