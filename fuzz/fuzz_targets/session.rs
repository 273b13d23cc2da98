//! See `weir_rtc::fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_rtc::fuzz::session(data));
