//! The binary parser finds the same however its input is cut.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mm_proto::memcached::binary::fuzzing::fuzz_cuts(data));
