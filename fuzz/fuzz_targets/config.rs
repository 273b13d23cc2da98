//! See `weir::config::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir::config::fuzz(data));
