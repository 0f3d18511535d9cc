#![no_main]
use libfuzzer_sys::fuzz_target;
use sediment::meta::Change;

fuzz_target!(|data: &[u8]| {
    let _ = rmp_serde::from_slice::<Change>(data);
});
