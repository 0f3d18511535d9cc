#![no_main]
use libfuzzer_sys::fuzz_target;
use sediment::http::fuzzing::framing;

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    framing(&pieces);
});
