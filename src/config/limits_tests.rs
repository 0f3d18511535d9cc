use super::{LEAST, MIB, USUAL};
use crate::config::{Overrides, Settings, load};

fn sets(sets: &[&str]) -> Overrides {
    Overrides { sets: sets.iter().map(|s| (*s).to_owned()).collect(), ..Overrides::default() }
}

fn with_memory(bytes: u64) -> Settings {
    load(&sets(&[&format!("limits.memory_bytes={bytes}")])).unwrap()
}

#[test]
fn i5_whatever_the_limit_the_shares_fit_into_it_and_grow_with_it() {
    let mut before = 0;
    for mib in [128, 129, 160, 200, 256, 300, 512, 640, 1000, 1024, 4096, 65_536, 1 << 20] {
        let settings = with_memory(mib << 20);
        let taken = settings.memory_bytes();
        assert!(taken <= mib << 20, "{mib} MiB: {taken}");
        assert!(taken >= before, "{mib} MiB: {taken} after {before}");
        before = taken;
        // Each connection, and what it reads of a body however many do.
        let connections = settings.http.max_connections as u64;
        assert!(
            connections >= 300 && taken >= connections * ((22 << 10) + (32 << 10)),
            "{mib} MiB: {connections}"
        );
    }
}

#[test]
fn without_a_limit_and_with_the_usual_one_all_is_as_ever() {
    let usual = with_memory(USUAL);
    let defaults = Settings::default();
    assert_eq!((&usual.engine, &usual.http, &usual.s3), (&defaults.engine, &defaults.http, &defaults.s3));
    assert_eq!(usual.memory_bytes(), defaults.memory_bytes());
    assert_eq!(load(&Overrides::default()).unwrap().memory_bytes(), defaults.memory_bytes());
}

#[test]
fn what_is_set_stays_and_the_sum_must_fit() {
    let settings = load(&sets(&["cache.memory_bytes=7", "limits.memory_bytes=536870912"])).unwrap();
    assert_eq!(settings.cache.memory_bytes, 7);
    let refused = |overrides: &[&str]| load(&sets(overrides)).unwrap_err().to_string();
    let said = refused(&["limits.memory_bytes=536870912", "engine.memory_bytes=500000000"]);
    assert!(said.contains("lower engine.memory_bytes (477 MiB)") && said.contains("536870912"), "{said}");
    let said = refused(&[&format!("limits.memory_bytes={}", LEAST - 1)]);
    assert!(said.contains("limits.memory_bytes must be at least 134217728 (128 MiB)"), "{said}");
    // Without a limit nobody is told.
    load(&sets(&["engine.memory_bytes=50000000000"])).unwrap();
}

#[test]
fn settings_as_they_are_printed_are_the_same_settings() {
    let settings = with_memory(200 << 20);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sediment.toml");
    std::fs::write(&file, settings.to_toml().unwrap()).unwrap();
    let again = load(&Overrides { file: Some(file), ..Overrides::default() }).unwrap();
    assert_eq!(again.to_toml().unwrap(), settings.to_toml().unwrap());
}

#[test]
fn the_documented_shares_are_those_that_are_given() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = std::fs::read_to_string(file).unwrap();
    let usual = USUAL / MIB;
    assert!(text.contains(&format!("at 128 MiB | at {usual} MiB, and without a limit | at 2 GiB |")));
    let sum = Settings::default().memory_bytes().div_ceil(MIB);
    assert!(text.contains(&format!("({sum} MiB in all")), "{sum}");
    for (column, memory) in [LEAST, USUAL, 2 << 30].into_iter().enumerate() {
        let settings = with_memory(memory);
        for (name, bytes) in settings.memory_by_section() {
            // Nothing, unless there is one.
            if name == "cache.redis_queue_bytes" {
                continue;
            }
            let has_name = |line: &&str| line.starts_with("| ") && line.contains(&format!("| `{name}` | "));
            let row = text.lines().find(has_name).unwrap_or_else(|| panic!("no row for {name}"));
            let cell = row.split(" | ").nth(2 + column).unwrap().trim_end_matches(" |");
            let shown = match name.as_str() {
                "http.max_connections" => {
                    format!("{} of them: {}", settings.http.max_connections, bytes.div_ceil(MIB))
                }
                _ => bytes.div_ceil(MIB).to_string(),
            };
            assert_eq!(cell, shown, "{name} of {memory}");
        }
    }
}
