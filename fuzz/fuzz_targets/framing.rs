//! See `weir_rtc::fuzz::framing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_rtc::fuzz::framing(data));
