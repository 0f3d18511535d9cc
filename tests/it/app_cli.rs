//! The command line: every bad input ends in one clear line and its exit code, and nothing is lost.

use super::support::sediment::{Sediment, command, refused, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn version_and_config_speak_json() {
    let dir = tempfile::tempdir().unwrap();
    let out = run(dir.path(), &["version", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(value["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(value["store_format"], 1);
    let out = command(dir.path(), &["config", "--json", "--set", "cache.memory_bytes=7"])
        .env("SEDIMENT_CACHE__REDIS_URL", "redis://:hunter2@localhost:1")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["cache"]["memory_bytes"], 7);
    assert!(!text.contains("hunter2"), "I6: {text}");
}

#[test]
fn what_config_prints_is_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sediment.toml");
    let path = file.to_str().unwrap();
    let printed = run(dir.path(), &["config", "--set", "gc.interval_seconds=77"]).stdout;
    fs::write(&file, &printed).unwrap();
    let again = run(dir.path(), &["config", "--config", path]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(again.stdout, printed);

    let url = "redis://:hunter2@localhost:1";
    let with_secret =
        command(dir.path(), &["config"]).env("SEDIMENT_CACHE__REDIS_URL", url).output().unwrap().stdout;
    let text = String::from_utf8(with_secret.clone()).unwrap();
    assert!(text.contains("# cache.redis_url is set") && !text.contains("hunter2"), "I6: {text}");
    fs::write(&file, &with_secret).unwrap();
    let data = dir.path().join("data");
    let mut serve = command(&data, &["serve", "--config", path, "--set", "admin.listen=127.0.0.1:0"]);
    serve.env("SEDIMENT_CACHE__REDIS_URL", url);
    Sediment::start(serve, &[]).stop();
}

#[test]
fn wrong_settings_and_arguments_exit_2() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let said = refused(&run(&data, &["serve", "--set", "cache.memory_byte=1"]), 2);
    assert!(said.contains("did you mean `memory_bytes`"), "{said}");
    refused(&run(&data, &["serve", "--config", "/nonexistent/sediment.toml"]), 2);
    refused(&run(&data, &["serve", "--set", "log.level=x=y=z"]), 2);
    assert_eq!(run(&data, &["sevre"]).status.code(), Some(2));
    let half = command(&data, &["serve"]).env("SEDIMENT_ROOT_PASSWORD", "hunter2hunter2").output().unwrap();
    assert!(!refused(&half, 2).contains("hunter2"), "I6");
    let said = refused(&run(&data.join("none"), &["stats"]), 2);
    assert!(said.contains("holds no store"), "{said}");
}

#[test]
fn a_newer_format_exits_4_and_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("STORE"), r#"{"format":99}"#).unwrap();
    for verb in ["serve", "gc", "fsck", "stats"] {
        let said = refused(&run(dir.path(), &[verb]), 4);
        assert!(said.contains("format 99"), "{verb}: {said}");
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "STORE" || name == "LOCK"), "{left:?}");
    assert_eq!(fs::read_to_string(dir.path().join("STORE")).unwrap(), r#"{"format":99}"#);
}

#[test]
fn a_directory_that_cannot_be_used_exits_6_or_4() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    refused(&run(&file, &["serve"]), 6);
    refused(&run(std::path::Path::new("/proc/sediment"), &["serve"]), 6);
    refused(&run(&file, &["stats"]), 6);
    let said = refused(&run(dir.path(), &["serve"]), 4);
    assert!(said.contains("not empty"), "{said}");
}

#[test]
fn another_users_directory_exits_6_and_is_not_called_empty() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    Sediment::serve(&data, &[]).stop();
    let mut stats = command(&data, &["stats"]);
    if rustix::process::geteuid().is_root() {
        std::os::unix::process::CommandExt::uid(&mut stats, 65534);
    } else {
        fs::set_permissions(&data, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let asked = stats.output();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    // Another user may not even be let at the binary.
    let Ok(asked) = asked else { return };
    let said = refused(&asked, 6);
    assert!(said.contains("ermission denied"), "{said}");
}

#[test]
fn a_port_in_use_exits_7() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said =
        refused(&run(dir.path(), &["serve", "--listen", &address, "--admin-listen", "127.0.0.1:0"]), 7);
    assert!(said.contains(&address) && said.contains("server.listen"), "{said}");
    let said =
        refused(&run(dir.path(), &["serve", "--listen", "127.0.0.1:0", "--admin-listen", &address]), 7);
    assert!(said.contains("admin.listen"), "{said}");
}

#[test]
fn one_process_holds_the_directory_and_the_verbs_know() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let pid = server.pid().to_string();
    for verb in ["serve", "fsck"] {
        let said = refused(&run(dir.path(), &[verb]), 3);
        assert!(said.contains(&pid), "{verb}: {said}");
    }
    assert_eq!(mode(&dir.path().join("run.json")), 0o600);
    for args in [&["stats", "--json"][..], &["gc", "--json"], &["gc", "--dry-run", "--json"]] {
        let out = run(dir.path(), args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        let last = String::from_utf8(out.stdout).unwrap().lines().last().unwrap().to_owned();
        assert!(serde_json::from_str::<serde_json::Value>(&last).unwrap().is_object(), "{args:?}");
    }
    server.stop();
    assert!(!dir.path().join("run.json").exists());
    for args in
        [&["stats"][..], &["gc"], &["gc", "--dry-run"], &["fsck", "--deep"], &["fsck", "--rebuild-index"]]
    {
        let out = run(dir.path(), args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn i6_first_credentials_are_private_and_shown_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Sediment::start(command(&data, &["serve"]), &[]).stop();
    let file = data.join("credentials.json");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&data), 0o700);
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let secret = kept["secret_key"].as_str().unwrap();
    assert_eq!(secret.len(), 40);
    assert!(first.contains(secret), "{first}");
    let second = Sediment::start(command(&data, &["serve"]), &[]).stop();
    assert!(!second.contains(secret), "{second}");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&fs::read(&file).unwrap()).unwrap(), kept);
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let dir = tempfile::tempdir().unwrap();
    let out = run(dir.path(), &["config", "--json"]).stdout;
    let settings: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(file).unwrap();
    for (section, entries) in settings.as_object().unwrap() {
        for (name, value) in entries.as_object().unwrap() {
            if name == "data_dir" || value.is_null() {
                continue;
            }
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let row = format!("| `{section}.{name}` | `{shown}` |");
            assert!(text.contains(&row), "docs/configuration.md lacks: {row}");
        }
    }
}
