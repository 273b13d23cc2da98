//! See `weir_rtc::fuzz::dependency`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_rtc::fuzz::dependency(data));
