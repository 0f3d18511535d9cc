#![no_main]
use libfuzzer_sys::fuzz_target;
use sediment::types::{decode_row_key, row_key};

fuzz_target!(|data: &[u8]| {
    if let Some((namespace, bucket, key, order)) = decode_row_key(data) {
        assert_eq!(row_key(namespace, bucket, key.as_bytes(), order), data);
    }
});
