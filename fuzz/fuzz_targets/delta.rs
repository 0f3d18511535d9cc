#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sediment_fuzz::delta(data));
