#![no_main]
use libfuzzer_sys::fuzz_target;
use sediment::storage::fuzzing::{file_name, file_record};

fuzz_target!(|data: (&[u8], &str, bool, usize)| {
    let (file, name, is_dir, digits) = data;
    file_record(file);
    file_name(name, is_dir, digits % 4096);
});
