use super::{Overrides, load};
use crate::config::Settings;

fn env(pairs: &[(&str, &str)]) -> Overrides {
    let environment = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Overrides { environment, ..Overrides::default() }
}

fn sets(sets: &[&str]) -> Overrides {
    Overrides { sets: sets.iter().map(|s| (*s).to_owned()).collect(), ..Overrides::default() }
}

fn refusal(overrides: &Overrides) -> String {
    let said = load(overrides).unwrap_err().to_string();
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    said
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sediment.toml");
    std::fs::write(&file, "[cache]\nmemory_bytes = 1\nredis_ttl_seconds = 2\nredis_key_prefix = \"f\"\n")
        .unwrap();
    let mut overrides =
        env(&[("SEDIMENT_CACHE__MEMORY_BYTES", "10"), ("SEDIMENT_CACHE__REDIS_TTL_SECONDS", "20")]);
    overrides.file = Some(file);
    overrides.sets = vec!["cache.memory_bytes=100".into()];
    let settings = load(&overrides).unwrap();
    assert_eq!(settings.cache.memory_bytes, 100);
    assert_eq!(settings.cache.redis_ttl_seconds, 20);
    assert_eq!(settings.cache.redis_key_prefix, "f");
    assert_eq!(settings.http, Settings::default().http);
}

#[test]
fn unknown_keys_are_refused_everywhere_with_the_nearest_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sediment.toml");
    std::fs::write(&file, "# c\n\n[cache]\nmemory_byte = 1\n").unwrap();
    let said = refusal(&Overrides { file: Some(file.clone()), ..Overrides::default() });
    assert!(said.contains("line 4") && said.contains("did you mean `memory_bytes`?"), "{said}");
    std::fs::write(&file, "[cahce]\n").unwrap();
    let said = refusal(&Overrides { file: Some(file), ..Overrides::default() });
    assert!(said.contains("did you mean `cache`?"), "{said}");
    let said = refusal(&env(&[("SEDIMENT_CACHE__MEMORYBYTES", "1")]));
    assert!(said.contains("SEDIMENT_CACHE__MEMORYBYTES") && said.contains("`memory_bytes`"), "{said}");
    let said = refusal(&sets(&["http.max_conections=1"]));
    assert!(said.contains("--set http.max_conections") && said.contains("`max_connections`"), "{said}");
    assert!(refusal(&sets(&["cache=1"])).contains("section.name=value"));
    assert!(refusal(&env(&[("SEDIMENT_ROOT_PASWORD", "x")])).contains("SEDIMENT_ROOT_PASSWORD"));
}

#[test]
fn values_that_look_like_numbers_may_be_text() {
    let settings =
        load(&sets(&["service.owner_name=123", "log.level=debug", "server.listen=[::1]:0"])).unwrap();
    assert_eq!(settings.service.owner_name, "123");
    assert_eq!(settings.log.level, "debug");
    assert_eq!(settings.server.listen, "[::1]:0");
    let said = refusal(&sets(&["cache.memory_bytes=lots"]));
    assert!(said.contains("cache.memory_bytes"), "{said}");
}

#[test]
fn variables_of_orchestrators_are_left_alone() {
    let others =
        [("SEDIMENT_PORT", "tcp://10.0.0.1:9000"), ("SEDIMENT_SERVICE_HOST", "10.0.0.1"), ("PATH", "/bin")];
    load(&env(&others)).unwrap();
}

#[test]
fn values_that_cannot_work_are_refused() {
    for wrong in ["packs.target_bytes=1", "server.listen=9000", "http.max_connections=0", "service.region="] {
        let name = wrong.split('=').next().unwrap();
        let said = refusal(&sets(&[wrong]));
        assert!(said.contains(name), "{wrong}: {said}");
    }
}

#[test]
fn i6_a_secret_may_come_from_a_file_and_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("redis");
    std::fs::write(&file, "redis://:hunter2@localhost:1\n").unwrap();
    let settings = load(&env(&[("SEDIMENT_CACHE__REDIS_URL_FILE", file.to_str().unwrap())])).unwrap();
    assert!(settings.cache.redis_url.is_some());
    let shown = toml::to_string(&settings).unwrap() + &format!("{settings:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("redis_url"), "{shown}");
}
