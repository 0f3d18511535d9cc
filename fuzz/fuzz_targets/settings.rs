#![no_main]
use libfuzzer_sys::fuzz_target;
use sediment::config::Settings;

fuzz_target!(|text: &str| {
    let _ = toml::from_str::<Settings>(text);
});
