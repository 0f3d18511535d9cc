use super::BackupSettings;
use crate::types::Secret;

fn whole() -> BackupSettings {
    BackupSettings {
        bucket: Some("b".to_owned()),
        access_key: Some("AKEY".to_owned()),
        secret_key: Some(Secret::new("hunter2-secret")),
        key_file: Some("/etc/key".into()),
        ..BackupSettings::default()
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn there_is_no_backup_without_a_bucket_and_none_that_is_off() {
    let settings = BackupSettings::default();
    assert_eq!(settings.validate(), Ok(()));
    assert!(!settings.is_active() && settings.place().is_none());
    assert_eq!(whole().validate(), Ok(()));
    assert!(whole().is_active());
    let off = BackupSettings { enabled: false, key_file: None, ..whole() };
    assert_eq!(off.validate(), Ok(()), "what is off may lack something");
    assert!(!off.is_active());
}

#[test]
fn half_of_what_backups_need_is_refused_and_named() {
    type Change = fn(&mut BackupSettings);
    let wrong: [(&str, Change); 25] = [
        ("bucket is not set", |s| s.bucket = None),
        ("access_key and secret_key", |s| s.secret_key = None),
        ("access_key and secret_key", |s| s.access_key = None),
        ("access_key and secret_key are not set", |s| (s.access_key, s.secret_key) = (None, None)),
        ("session_token", |s| {
            *s = BackupSettings { session_token: Some(Secret::new("t")), ..BackupSettings::default() };
        }),
        ("delete_access_key", |s| s.delete_access_key = text("D")),
        ("delete_access_key is the same", |s| {
            (s.delete_access_key, s.delete_secret_key) = (text("AKEY"), Some(Secret::new("x")));
        }),
        ("key_file is not set", |s| s.key_file = None),
        ("key and key_file", |s| s.key = Some(Secret::new("k"))),
        ("key_file must name", |s| s.key_file = Some("".into())),
        ("endpoint", |s| s.endpoint = text("s3.example.com")),
        ("endpoint", |s| s.endpoint = text("https://me:hunter2@s3.example.com")),
        ("endpoint", |s| s.endpoint = text("https://")),
        ("region", |s| s.region = String::new()),
        ("bucket", |s| s.bucket = text("a/b")),
        ("prefix", |s| s.prefix = text("../b")),
        ("webhook_url", |s| s.webhook_url = Some(Secret::new("hunter2.example.com"))),
        ("compression_level", |s| s.compression_level = 20),
        ("interval_seconds", |s| s.interval_seconds = 0),
        ("snapshot_interval_seconds", |s| s.snapshot_interval_seconds = 4),
        ("full_interval_seconds", |s| s.full_interval_seconds = 3599),
        ("rpo_seconds", |s| s.rpo_seconds = 5),
        ("bandwidth_bytes_per_second", |s| s.bandwidth_bytes_per_second = 1000),
        ("uploads_in_flight", |s| s.uploads_in_flight = 0),
        ("request_timeout_seconds", |s| s.request_timeout_seconds = 0),
    ];
    for (named, change) in wrong {
        let mut settings = whole();
        change(&mut settings);
        let refused = settings.validate().unwrap_err();
        assert!(refused.starts_with(named), "{named}: {refused}");
        assert!(!refused.contains("hunter2"), "i6: {refused}");
    }
}

#[test]
fn i6_no_secret_is_shown() {
    let secret = || Some(Secret::new("hunter2"));
    let settings = BackupSettings {
        secret_key: secret(),
        session_token: secret(),
        delete_secret_key: secret(),
        key: secret(),
        webhook_url: secret(),
        ..whole()
    };
    let shown = format!("{settings:?} {}", serde_json::to_string(&settings).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(shown.matches("(secret)").count(), 5, "{shown}");
}

#[test]
fn an_empty_text_is_none() {
    let emptied = "bucket = \"\"\nendpoint = \"\"\nsecret_key = \"\"\naccess_key = \"\"\nkey = \"\"";
    assert_eq!(toml::from_str::<BackupSettings>(emptied).unwrap(), BackupSettings::default());
}

#[test]
fn what_is_set_reaches_the_remote() {
    let settings = BackupSettings {
        endpoint: text("https://s3.example.com"),
        prefix: text("one"),
        request_timeout_seconds: 7,
        uploads_in_flight: 3,
        requests_per_second: 9,
        delete_access_key: text("DKEY"),
        delete_secret_key: Some(Secret::new("delete")),
        session_token: Some(Secret::new("token")),
        ..whole()
    };
    let place = settings.place().unwrap();
    assert_eq!((place.bucket.as_str(), place.prefix.as_str(), place.answer_seconds), ("b", "one", 7));
    assert_eq!(place.endpoint.as_deref(), Some("https://s3.example.com"));
    assert_eq!((settings.pacing().in_flight, settings.pacing().requests_per_second), (3, 9));
    let own = settings.credentials().unwrap();
    assert_eq!((own.access_key.as_str(), own.secret_key.as_str()), ("AKEY", "hunter2-secret"));
    assert_eq!(own.session_token.unwrap().as_str(), "token");
    let deletes = settings.delete_credentials().unwrap();
    assert_eq!((deletes.access_key.as_str(), deletes.secret_key.as_str()), ("DKEY", "delete"));
    assert!(deletes.session_token.is_none());
}
