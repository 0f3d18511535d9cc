//! Object lock on the wire: the flows of backup tools, what is refused, and what is left after restarts, collections
//! and clocks that jump (I6).

use super::support::noise;
use super::support::sediment::{Sediment, run};
use super::support::wire::{Wire, request};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    Delete, ObjectIdentifier, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode,
    ObjectLockRetention, ObjectLockRetentionMode,
};
use std::time::{Duration, SystemTime};

fn seconds_from_now(seconds: u64) -> DateTime {
    let at = SystemTime::now() + Duration::from_secs(seconds);
    DateTime::from_secs(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64)
}

async fn locked_bucket(client: &Client) {
    client.create_bucket().bucket("bucket").object_lock_enabled_for_bucket(true).send().await.unwrap();
}

async fn put(client: &Client, key: &str, body: &[u8], mode: ObjectLockMode, until: DateTime) -> String {
    let put = client.put_object().bucket("bucket").key(key).body(ByteStream::from(body.to_vec()));
    let done = put.object_lock_mode(mode).object_lock_retain_until_date(until).send().await.unwrap();
    done.version_id.unwrap()
}

async fn extend(
    client: &Client,
    key: &str,
    version: &str,
    mode: ObjectLockRetentionMode,
    until: DateTime,
) -> Result<(), String> {
    let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(until).build();
    let put = client.put_object_retention().bucket("bucket").key(key).version_id(version);
    let done = put.retention(retention).send().await;
    done.map(drop).map_err(|error| error.code().unwrap_or_default().to_owned())
}

/// The code and message of the refusal.
async fn remove(client: &Client, key: &str, version: &str, bypass: bool) -> Result<(), (String, String)> {
    let delete = client.delete_object().bucket("bucket").key(key).version_id(version);
    let done = delete.set_bypass_governance_retention(bypass.then_some(true)).send().await;
    done.map(drop).map_err(|error| {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        (text(error.code()), text(error.message()))
    })
}

fn protected<T>() -> Result<T, (String, String)> {
    Err(("AccessDenied".into(), "Access Denied because object protected by object lock.".into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_backups_under_compliance_are_extended_and_stay() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    locked_bucket(&client).await;
    let asked = client.get_object_lock_configuration().bucket("bucket").send().await.unwrap();
    let configuration = asked.object_lock_configuration.unwrap();
    assert_eq!(configuration.object_lock_enabled.unwrap().as_str(), "Enabled");
    assert!(configuration.rule.is_none(), "backup tools that lock by themselves want no default");
    let versioning = client.get_bucket_versioning().bucket("bucket").send().await.unwrap();
    assert_eq!(versioning.status.unwrap().as_str(), "Enabled");

    let (soon, later) = (seconds_from_now(3_600), seconds_from_now(7_200));
    let version = put(&client, "backup/1.blk", b"blocks", ObjectLockMode::Compliance, soon).await;
    let compliance = ObjectLockRetentionMode::Compliance;
    extend(&client, "backup/1.blk", &version, compliance.clone(), later).await.unwrap();
    let shorter = extend(&client, "backup/1.blk", &version, compliance, soon).await;
    assert_eq!(shorter, Err("AccessDenied".into()));
    let governance = ObjectLockRetentionMode::Governance;
    let weaker = extend(&client, "backup/1.blk", &version, governance, later).await;
    assert_eq!(weaker, Err("AccessDenied".into()));
    let head = client.head_object().bucket("bucket").key("backup/1.blk").send().await.unwrap();
    assert_eq!(head.object_lock_mode, Some(ObjectLockMode::Compliance));
    assert_eq!(head.object_lock_retain_until_date, Some(later));
    let got = client.get_object().bucket("bucket").key("backup/1.blk").send().await.unwrap();
    assert_eq!(got.object_lock_retain_until_date, Some(later));

    assert_eq!(remove(&client, "backup/1.blk", &version, true).await, protected());
    client.delete_object().bucket("bucket").key("backup/1.blk").send().await.unwrap();
    let listed =
        client.list_object_versions().bucket("bucket").prefix("backup/").delimiter("/").send().await.unwrap();
    assert_eq!(listed.versions()[0].version_id(), Some(version.as_str()));
    assert_eq!(listed.delete_markers().len(), 1);
    let named = ObjectIdentifier::builder().key("backup/1.blk").version_id(&version).build().unwrap();
    let delete = Delete::builder().objects(named).build().unwrap();
    let batch = client.delete_objects().bucket("bucket").delete(delete).send().await.unwrap();
    assert_eq!(
        (batch.deleted().len(), batch.errors()[0].code(), batch.errors()[0].version_id()),
        (0, Some("AccessDenied"), Some(version.as_str()))
    );
    let gone = client.delete_bucket().bucket("bucket").send().await.unwrap_err();
    assert_eq!(gone.code(), Some("BucketNotEmpty"));
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_snapshots_under_governance_go_only_by_a_bypass() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    locked_bucket(&client).await;
    let (soon, later) = (seconds_from_now(3_600), seconds_from_now(7_200));
    let version = put(&client, "p123", b"pack", ObjectLockMode::Governance, soon).await;
    extend(&client, "p123", &version, ObjectLockRetentionMode::Governance, later).await.unwrap();
    let stronger = extend(&client, "p123", &version, ObjectLockRetentionMode::Compliance, later).await;
    assert_eq!(stronger, Err("AccessDenied".into()));
    let hold = |status| {
        let hold = ObjectLockLegalHold::builder().status(status).build();
        client.put_object_legal_hold().bucket("bucket").key("p123").legal_hold(hold).send()
    };
    hold(ObjectLockLegalHoldStatus::On).await.unwrap();
    assert_eq!(remove(&client, "p123", &version, true).await, protected(), "a hold knows no bypass");
    hold(ObjectLockLegalHoldStatus::Off).await.unwrap();
    let head = client.head_object().bucket("bucket").key("p123").send().await.unwrap();
    assert_eq!(head.object_lock_legal_hold_status, Some(ObjectLockLegalHoldStatus::Off));
    assert_eq!(remove(&client, "p123", &version, false).await, protected());
    remove(&client, "p123", &version, true).await.unwrap();
}

#[test]
fn i6_what_is_wrong_with_a_lock_is_said_and_nothing_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let wire = Wire::new(&server);
    assert_eq!(wire.send(&request("PUT", "/plain")).status, 200);
    let create = request("PUT", "/bucket").header("x-amz-bucket-object-lock-enabled", "true");
    assert_eq!(wire.send(&create).status, 200);
    const MD5: &str = "ndTkYSaMgDT1yFZOFVxnpg==";
    const FUTURE: &str = "2999-01-01T00:00:00Z";
    let put = |target: &str, headers: &[(&str, &str)]| {
        let put = request("PUT", target).body(*b"x");
        let answer = wire.send(&headers.iter().fold(put, |put, (name, value)| put.header(name, value)));
        (answer.status, answer.element("Code").to_owned(), answer.element("ArgumentName").to_owned())
    };
    let invalid = |name: &str| (400, "InvalidArgument".to_owned(), name.to_owned());
    let (mode, until) = ("x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date");
    let hold = "x-amz-object-lock-legal-hold";
    assert_eq!(put("/bucket/x", &[(mode, "COMPLIANCE")]), invalid(until));
    assert_eq!(put("/bucket/x", &[(until, FUTURE)]), invalid(mode));
    assert_eq!(put("/bucket/x", &[(mode, "WORM"), (until, FUTURE)]), invalid(mode));
    assert_eq!(put("/bucket/x", &[(mode, "COMPLIANCE"), (until, "2999")]), invalid(until));
    assert_eq!(put("/bucket/x", &[(hold, "MAYBE")]), invalid(hold));
    let past = [(mode, "COMPLIANCE"), (until, "2020-01-01T00:00:00Z"), ("content-md5", MD5)];
    assert_eq!(put("/bucket/x", &past), invalid(until));
    let request_refused = (400, "InvalidRequest".to_owned(), String::new());
    assert_eq!(put("/bucket/x", &[(mode, "COMPLIANCE"), (until, FUTURE)]), request_refused, "no digest");
    assert_eq!(put("/plain/x", &[(hold, "ON"), ("content-md5", MD5)]), request_refused, "no object lock");
    for target in ["/bucket/x", "/plain/x"] {
        assert_eq!(wire.send(&request("GET", target)).status, 404, "{target}");
    }
    // Where a lock means nothing it is not passed over.
    for (method, target) in [("GET", "/bucket/x"), ("PUT", "/bucket/x?partNumber=1&uploadId=x")] {
        let answer = wire.send(&request(method, target).header(hold, "ON"));
        assert_eq!(answer.refusal(), (501, "NotImplemented"), "{method} {target}");
    }
    assert_eq!(put("/bucket/x", &[(hold, "ON"), ("content-md5", MD5)]).0, 200);
}

#[test]
fn lock_documents_are_read_strictly() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let wire = Wire::new(&server);
    assert_eq!(wire.send(&request("PUT", "/plain")).status, 200);
    let create = request("PUT", "/bucket").header("x-amz-bucket-object-lock-enabled", "true");
    assert_eq!(wire.send(&create).status, 200);
    assert_eq!(wire.send(&request("PUT", "/bucket/k").body(*b"x")).status, 200);
    let put = |target: &str, body: &str| {
        use base64::Engine as _;
        use md5::Digest as _;
        let md5 = base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body));
        let answer = wire.send(&request("PUT", target).header("content-md5", &md5).body(body));
        (answer.status, answer.element("Code").to_owned())
    };
    let refused = |status, code: &str| (status, code.to_owned());
    let rule = |rule: &str| {
        format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
             {rule}</DefaultRetention></Rule></ObjectLockConfiguration>"
        )
    };
    let day = rule("<Mode>GOVERNANCE</Mode><Days>1</Days>");
    assert_eq!(put("/plain?object-lock", &day), refused(409, "InvalidBucketState"));
    let none = wire.send(&request("GET", "/plain?object-lock"));
    assert_eq!(none.refusal(), (404, "ObjectLockConfigurationNotFoundError"));
    for malformed in [
        rule("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>"),
        rule("<Mode>GOVERNANCE</Mode>"),
        rule("<Days>1</Days>"),
        rule("<Mode>governance</Mode><Days>1</Days>"),
        day.replace("Enabled<", "Disabled<"),
        String::new(),
    ] {
        assert_eq!(put("/bucket?object-lock", &malformed), refused(400, "MalformedXML"), "{malformed}");
    }
    for period in ["<Days>0</Days>", "<Years>-1</Years>", "<Days>36501</Days>", "<Years>101</Years>"] {
        let asked = rule(&format!("<Mode>GOVERNANCE</Mode>{period}"));
        assert_eq!(put("/bucket?object-lock", &asked), refused(400, "InvalidRetentionPeriod"), "{period}");
    }
    let unproven = wire.send(&request("PUT", "/bucket?object-lock").body(day.as_str()));
    assert_eq!(unproven.refusal(), (400, "InvalidRequest"), "no digest");
    assert_eq!(put("/bucket?object-lock", &day).0, 200);
    let shown = wire.send(&request("GET", "/bucket?object-lock"));
    assert_eq!((shown.element("Days"), shown.element("Mode")), ("1", "GOVERNANCE"));

    let retention = wire.send(&request("GET", "/bucket/k?retention"));
    assert_eq!(retention.refusal(), (404, "NoSuchObjectLockConfiguration"), "put before there was a default");
    let hold = wire.send(&request("GET", "/bucket/k?legal-hold"));
    assert_eq!(hold.refusal(), (404, "NoSuchObjectLockConfiguration"));
    for malformed in [
        "<Retention><Mode>COMPLIANCE</Mode></Retention>",
        "<Retention><RetainUntilDate>2999-01-01T00:00:00Z</RetainUntilDate></Retention>",
        "<Retention><Mode>x</Mode><RetainUntilDate>2999-01-01T00:00:00Z</RetainUntilDate></Retention>",
        "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2999</RetainUntilDate></Retention>",
    ] {
        assert_eq!(put("/bucket/k?retention", malformed), refused(400, "MalformedXML"), "{malformed}");
    }
    let past = "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2020-01-01T00:00:00Z</RetainUntilDate></Retention>";
    assert_eq!(put("/bucket/k?retention", past), refused(400, "InvalidArgument"));
    let held = "<LegalHold><Status>ON</Status></LegalHold>";
    assert_eq!(put("/bucket/k?legal-hold", &held.replace("ON", "on")), refused(400, "MalformedXML"));
    assert_eq!(put("/bucket/k?legal-hold", held).0, 200);
    assert_eq!(wire.send(&request("GET", "/bucket/k?legal-hold")).element("Status"), "ON");
    assert_eq!(put("/bucket/none?legal-hold", held), refused(404, "NoSuchKey"));
    assert_eq!(put("/plain/none?legal-hold", held), refused(400, "InvalidRequest"));
    let suspend = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    assert_eq!(put("/bucket?versioning", suspend), refused(409, "InvalidBucketState"));
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_collections_and_restarts_keep_what_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    locked_bucket(&client).await;
    let body = noise(11, 3 << 20);
    let version = put(&client, "k", &body, ObjectLockMode::Compliance, seconds_from_now(3_600)).await;
    client.delete_object().bucket("bucket").key("k").send().await.unwrap();
    let newer = noise(12, 1 << 20);
    let unlocked = client.put_object().bucket("bucket").key("k").body(newer.into()).send().await.unwrap();
    remove(&client, "k", &unlocked.version_id.unwrap(), false).await.unwrap();
    let collected = run(dir.path(), &["gc"]);
    assert!(collected.status.success(), "{}", String::from_utf8_lossy(&collected.stderr));
    server.kill();
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    assert_eq!(remove(&client, "k", &version, true).await, protected());
    assert!(run(dir.path(), &["gc"]).status.success());
    let got = client.get_object().bucket("bucket").key("k").version_id(&version).send().await.unwrap();
    assert_eq!(got.object_lock_mode, Some(ObjectLockMode::Compliance));
    assert!(got.body.collect().await.unwrap().to_vec() == body);
}

/// Makes the store believe that the machine was off for so long: as far as it can tell, a clock set forward.
fn age(dir: &std::path::Path, days: i64) {
    std::fs::remove_file(dir.join("lock-clock.json")).unwrap();
    let db = rusqlite::Connection::open(dir.join("meta").join("sediment.db")).unwrap();
    let changed = db.execute("UPDATE state SET reached = reached - ?1", [days * 86_400_000]).unwrap();
    assert_eq!(changed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_a_clock_set_forward_ends_no_lock_until_the_operator_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    locked_bucket(&server.client()).await;
    let until = seconds_from_now(10);
    let version = put(&server.client(), "k", b"precious", ObjectLockMode::Compliance, until).await;
    server.stop();
    age(dir.path(), 100);

    let server = Sediment::serve(dir.path(), &[]);
    let (status, ready) = server.admin_get("/readyz");
    assert_eq!(status, 200, "service goes on");
    assert!(ready.contains("lock.clock_confirmed"), "{ready}");
    let (_, metrics) = server.admin_get("/metrics");
    let lag = metrics.lines().find_map(|line| line.strip_prefix("sediment_lock_clock_lag_seconds "));
    assert!(lag.unwrap().parse::<f64>().unwrap() > 99.0 * 86_400.0, "{lag:?}");
    // By the system's clock it is over by then.
    let over = SystemTime::UNIX_EPOCH + Duration::from_secs(until.secs() as u64 + 1);
    tokio::time::sleep(over.duration_since(SystemTime::now()).unwrap_or_default()).await;
    assert_eq!(remove(&server.client(), "k", &version, true).await, protected());
    server.stop();

    let today = time::OffsetDateTime::from(SystemTime::now()).date();
    let confirmed = format!("lock.clock_confirmed={today}");
    let server = Sediment::serve(dir.path(), &["--set", &confirmed]);
    assert_eq!(server.admin_get("/readyz").1.lines().count(), 1, "all is well");
    remove(&server.client(), "k", &version, false).await.unwrap();
}
