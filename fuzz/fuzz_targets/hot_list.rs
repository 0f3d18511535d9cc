#![no_main]
use libfuzzer_sys::fuzz_target;
use sediment::engine::fuzzing::hot_list;

fuzz_target!(|data: &[u8]| {
    hot_list(data);
});
