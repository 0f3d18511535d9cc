//! Where backups go: the key, the settings, and what `sediment backup check` finds of a bucket at a second Sediment.

use super::support::sediment::{PASSWORD, Sediment, USER, command, refused, run};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter,
};
use sediment::backup::{BackupKey, NewRepository, Repository, StoreId};
use sediment::remote;
use sediment::sys::{OsRandom, SystemClock};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

/// A gateway that does not run, and the server that its backups are to go to.
struct Rig {
    dir: tempfile::TempDir,
    server: Sediment,
    key: PathBuf,
}

impl Rig {
    async fn new(lock: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Sediment::serve(&dir.path().join("far"), &[]);
        let create = server.client().create_bucket().bucket("backups");
        create.object_lock_enabled_for_bucket(lock).send().await.unwrap();
        let key = dir.path().join("backup.key");
        let made = run(&dir.path().join("near"), &["backup", "key", "--out", key.to_str().unwrap()]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { dir, server, key }
    }

    /// With these settings changed.
    fn check(&self, sets: &[&str]) -> Output {
        let mut check = command(&self.dir.path().join("near"), &["backup", "check", "--json"]);
        check.env("SEDIMENT_BACKUP__ENDPOINT", &self.server.s3).env("SEDIMENT_BACKUP__BUCKET", "backups");
        check.env("SEDIMENT_BACKUP__ACCESS_KEY", USER).env("SEDIMENT_BACKUP__SECRET_KEY", PASSWORD);
        check.env("SEDIMENT_BACKUP__KEY_FILE", &self.key);
        check.args(sets.iter().flat_map(|set| ["--set", *set])).output().unwrap()
    }

    /// What was found of each subject, as `state: text`.
    fn found(&self, sets: &[&str], subject: &str) -> String {
        let out = self.check(sets);
        let said = String::from_utf8(out.stdout).unwrap();
        assert!(!said.contains(PASSWORD), "i6: {said}");
        let report: Value = serde_json::from_str(&said).unwrap();
        let found: Vec<_> = report["findings"].as_array().unwrap().iter().collect();
        let has_faults = found.iter().any(|finding| finding["state"] == "fix");
        assert_eq!(out.status.code(), Some(i32::from(has_faults)), "{said}");
        let found = found.iter().filter(|finding| finding["what"] == subject);
        let texts = found.map(|finding| {
            format!("{}: {}", finding["state"].as_str().unwrap(), finding["text"].as_str().unwrap())
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    async fn rule(&self, rule: aws_sdk_s3::types::builders::LifecycleRuleBuilder) {
        let filter = LifecycleRuleFilter::builder().prefix("").build();
        let rule = rule.id("tidy").status(ExpirationStatus::Enabled).filter(filter).build().unwrap();
        let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
        let put = self.server.client().put_bucket_lifecycle_configuration().bucket("backups");
        put.lifecycle_configuration(rules).send().await.unwrap();
    }

    async fn objects(&self) -> Vec<String> {
        let listed = self.server.client().list_objects_v2().bucket("backups").send().await.unwrap();
        listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fit_bucket_is_called_fit_and_left_as_it_was() {
    let rig = Rig::new(false).await;
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(1).build();
    rig.rule(LifecycleRule::builder().abort_incomplete_multipart_upload(abort)).await;
    let out = rig.check(&["backup.prefix=one"]);
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    for finding in report["findings"].as_array().unwrap() {
        assert_eq!(finding["state"], "ok", "{said}");
    }
    assert_eq!(rig.objects().await, Vec::<String>::new());
    rig.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_backups_from_working_is_named() {
    let rig = Rig::new(false).await;
    assert!(rig.found(&["backup.secret_key=not-the-secret"], "reached").contains("fix: "));
    let missing = rig.found(&["backup.bucket=missing"], "reached");
    assert!(
        missing.contains("NoSuchBucket") && missing.contains("check that the bucket exists"),
        "{missing}"
    );
    assert!(rig.found(&["backup.lock_days=7"], "object lock").starts_with("fix: "));
    assert!(rig.found(&[], "rules").starts_with("hint: "), "uploads are never ended");
    let other = ["backup.delete_access_key=nobody", "backup.delete_secret_key=not-the-secret"];
    assert!(rig.found(&other, "deletes").starts_with("fix: old backups cannot be deleted"));
    assert!(rig.found(&["backup.exclusive=true"], "writes").contains("leave backup.exclusive out"));

    rig.rule(LifecycleRule::builder().expiration(LifecycleExpiration::builder().days(30).build())).await;
    let rules = rig.found(&[], "rules");
    assert!(rules.contains("fix: lifecycle rules (tidy) delete backups"), "{rules}");
    let put = rig.server.client().put_object().bucket("backups").key("photos/1.jpg");
    put.send().await.unwrap();
    assert!(rig.found(&[], "repository").starts_with("hint: none yet, and other objects"));
    assert!(rig.found(&["backup.prefix=one"], "repository").starts_with("ok: none yet"));
    rig.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_locks_holds_locked_backups() {
    let rig = Rig::new(true).await;
    assert_eq!(rig.found(&["backup.lock_days=7"], "object lock"), "ok: for 7 days");
    assert!(rig.found(&[], "rules").contains("NoncurrentVersionExpiration"));
    rig.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_opened_by_its_key_alone_and_listed() {
    let rig = Rig::new(false).await;
    let list = |sets: &[&str]| {
        let mut list = command(&rig.dir.path().join("near"), &["backup", "list"]);
        list.env("SEDIMENT_BACKUP__ENDPOINT", &rig.server.s3).env("SEDIMENT_BACKUP__BUCKET", "backups");
        list.env("SEDIMENT_BACKUP__ACCESS_KEY", USER).env("SEDIMENT_BACKUP__SECRET_KEY", PASSWORD);
        list.env("SEDIMENT_BACKUP__KEY_FILE", &rig.key);
        list.args(sets.iter().flat_map(|set| ["--set", *set])).output().unwrap()
    };
    assert!(refused(&list(&[]), 1).contains("there is no backup repository"));

    let place = remote::S3Settings {
        endpoint: Some(rig.server.s3.clone()),
        bucket: "backups".to_owned(),
        ..remote::S3Settings::default()
    };
    let secret_key = PASSWORD.to_owned().into();
    let keys = remote::S3Credentials { access_key: USER.to_owned(), secret_key, session_token: None };
    let s3 = Arc::new(remote::S3Remote::new(&place, &keys, None).unwrap());
    let key = BackupKey::parse(&fs::read_to_string(&rig.key).unwrap()).unwrap();
    let new = NewRepository { store_id: StoreId::new([7; 16]), encrypted: true };
    let made = Repository::open_or_create(s3, key, new, &SystemClock, &OsRandom).await.unwrap();

    let id = made.description().id.to_string();
    let listed = list(&[]);
    let said = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.status.success() && said.contains(&id) && said.contains("no snapshot"), "{said}");
    assert!(rig.found(&[], "repository").starts_with(&format!("ok: {id}")));
    assert!(rig.found(&["backup.encrypt=false"], "repository").contains("set backup.encrypt = true"));
    let other = rig.dir.path().join("other.key");
    run(rig.dir.path(), &["backup", "key", "--out", other.to_str().unwrap()]);
    let other = format!("backup.key_file={}", other.display());
    assert!(rig.found(&[&other], "repository").contains("give the key that it was made with"));
    assert!(refused(&list(&[&other]), 1).contains("give the key that it was made with"));
    rig.server.stop();
}

#[test]
fn i1_a_key_is_made_once_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("backup.key"));
    let make = |file: &Path| run(&data, &["backup", "key", "--out", file.to_str().unwrap()]);
    let made = make(&file);
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success() && said.contains("Keep a copy away from this machine"), "{said}");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!said.contains(&text.lines().nth(1).unwrap()[..8]), "i6: {said}");
    assert!(refused(&make(&file), 2).contains("is there already"));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    refused(&make(&dir.path().join("no/such/directory")), 1);
    assert!(!data.exists(), "no store was made");

    // For a secret store, through a pipe.
    let shown = String::from_utf8(run(&data, &["backup", "key"]).stdout).unwrap();
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert_ne!(shown, text);
}

#[test]
fn settings_that_would_back_up_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let with = |sets: &[&str]| {
        let mut args = vec!["backup", "check"];
        args.extend(sets.iter().flat_map(|set| ["--set", set]));
        refused(&run(&data, &args), 2)
    };
    assert!(with(&[]).contains("backup.key_file is not set"));
    assert!(with(&["backup.endpoint=http://127.0.0.1:1"]).contains("backup.bucket is not set"));
    let whole = ["backup.bucket=b", "backup.access_key=AKEY", "backup.secret_key=hunter2-secret"];
    let said = with(&whole);
    assert!(said.contains("sediment backup key") && !said.contains("hunter2"), "{said}");
    // A store, and the key beside what it is for.
    Sediment::serve(&data, &[]).stop();
    let inside = data.join("backup.key");
    fs::write(&inside, "x").unwrap();
    let inside = format!("backup.key_file={}", inside.display());
    assert!(with(&[whole[0], whole[1], whole[2], &inside]).contains("lies in a data directory"));
    let made = run(&data, &["backup", "key", "--out", data.join("other.key").to_str().unwrap()]);
    assert!(refused(&made, 2).contains("holds a store"));
}

#[test]
fn i6_secrets_of_backups_come_from_files_and_are_not_printed() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "hunter2-secret\n").unwrap();
    for args in [&["config"][..], &["config", "--json"]] {
        let mut config = command(dir.path(), args);
        config.env("SEDIMENT_BACKUP__BUCKET", "b").env("SEDIMENT_BACKUP__ACCESS_KEY", "AKEY");
        config.env("SEDIMENT_BACKUP__SECRET_KEY_FILE", &secret);
        config.env("SEDIMENT_BACKUP__WEBHOOK_URL", "https://example.com/hunter2");
        config.env("SEDIMENT_BACKUP__KEY_FILE", "/run/secrets/backup-key");
        let out = config.output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(said.contains("AKEY") && said.contains("/run/secrets/backup-key"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
