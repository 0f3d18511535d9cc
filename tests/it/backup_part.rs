//! A part of a store comes back from its backup: in place, and into a bucket of another server. The command as an operator gives it.

use super::support::noise;
use super::support::sediment::{PASSWORD, Sediment, USER, command};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Body and ETag by key.
type Bodies = BTreeMap<String, (Vec<u8>, String)>;

const PART: usize = 5 << 20;

struct Rig {
    dir: tempfile::TempDir,
    far: Sediment,
    near: Sediment,
    key: PathBuf,
}

fn settings(command: &mut std::process::Command, far: &str, key: &Path) {
    command.env("SEDIMENT_BACKUP__ENDPOINT", far).env("SEDIMENT_BACKUP__BUCKET", "backups");
    command.env("SEDIMENT_BACKUP__ACCESS_KEY", USER).env("SEDIMENT_BACKUP__SECRET_KEY", PASSWORD);
    command.env("SEDIMENT_BACKUP__KEY_FILE", key).env("SEDIMENT_BACKUP__INTERVAL_SECONDS", "1");
    command.env("AWS_ACCESS_KEY_ID", USER).env("AWS_SECRET_ACCESS_KEY", PASSWORD);
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let far = Sediment::serve(&dir.path().join("far"), &[]);
        for bucket in ["backups", "elsewhere"] {
            far.client().create_bucket().bucket(bucket).send().await.unwrap();
        }
        let key = dir.path().join("backup.key");
        let made = command(dir.path(), &["backup", "key", "--out", key.to_str().unwrap()]).output().unwrap();
        assert!(made.status.success());
        let mut serve = command(&dir.path().join("near"), &["serve"]);
        settings(&mut serve, &far.s3, &key);
        serve.env("SEDIMENT_ROOT_USER", USER).env("SEDIMENT_ROOT_PASSWORD", PASSWORD);
        let near = Sediment::start(serve, &[]);
        near.client().create_bucket().bucket("data").send().await.unwrap();
        Self { dir, far, near, key }
    }

    fn command(&self, args: &[&str]) -> Output {
        let mut command = command(&self.dir.path().join("near"), args);
        settings(&mut command, &self.far.s3, &self.key);
        command.output().unwrap()
    }

    /// All lines of JSON that were printed.
    fn ask(&self, args: &[&str]) -> Vec<Value> {
        let output = self.command(&[&["--json"], args].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        assert!(!said.contains(PASSWORD), "i6: {said}");
        let printed = String::from_utf8(output.stdout).unwrap();
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn restore(&self, seq: &str, into: (&str, &Sediment), more: &[&str]) -> Vec<Value> {
        let args = ["restore", "--seq", seq, "--bucket", "data", "--into", into.0, "--endpoint", &into.1.s3];
        self.ask(&[&args[..], more].concat())
    }
}

async fn put(server: &Sediment, key: &str, body: Vec<u8>) {
    let put = server.client().put_object().bucket("data").key(key).body(ByteStream::from(body));
    put.content_type("text/x").metadata("colour", "blue").tagging("team=one").send().await.unwrap();
}

async fn put_parts(server: &Sediment, key: &str, parts: &[Vec<u8>]) {
    let (client, mut done) = (server.client(), Vec::new());
    let begun = client.create_multipart_upload().bucket("data").key(key).send().await.unwrap();
    let upload = begun.upload_id().unwrap();
    for (number, part) in (1..).zip(parts) {
        let put = client.upload_part().bucket("data").key(key).upload_id(upload).part_number(number);
        let put = put.body(ByteStream::from(part.clone())).send().await.unwrap();
        done.push(CompletedPart::builder().part_number(number).e_tag(put.e_tag().unwrap()).build());
    }
    let all = CompletedMultipartUpload::builder().set_parts(Some(done)).build();
    let complete = client.complete_multipart_upload().bucket("data").key(key).upload_id(upload);
    complete.multipart_upload(all).send().await.unwrap();
}

async fn read(server: &Sediment, bucket: &str, prefix: &str) -> Bodies {
    let listed = server.client().list_objects_v2().bucket(bucket).prefix(prefix).send().await.unwrap();
    let mut bodies = Bodies::new();
    for key in listed.contents().iter().filter_map(|object| object.key()) {
        let got = server.client().get_object().bucket(bucket).key(key).send().await.unwrap();
        let etag = got.e_tag().unwrap().to_owned();
        bodies.insert(key.to_owned(), (got.body.collect().await.unwrap().to_vec(), etag));
    }
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_prefix_that_was_deleted_comes_back_in_place_and_elsewhere_as_it_was() {
    let rig = Rig::new().await;
    let client = rig.near.client();
    for n in 0..4u64 {
        put(&rig.near, &format!("photos/ü {n}+.jpg"), noise(n, 500 + 60_000 * n as usize)).await;
    }
    put_parts(&rig.near, "photos/film", &[noise(10, PART), noise(11, 70_000)]).await;
    put(&rig.near, "other", noise(12, 3_000)).await;
    let then = read(&rig.near, "data", "").await;
    let seq = rig.ask(&["backup", "run"]).last().unwrap()["seq"].as_u64().unwrap().to_string();
    // Somebody deletes a prefix, overwrites a key, and makes another.
    for key in then.keys().filter(|key| key.starts_with("photos/") && !key.ends_with("3+.jpg")) {
        client.delete_object().bucket("data").key(key).send().await.unwrap();
    }
    put(&rig.near, "photos/ü 3+.jpg", b"encrypted".to_vec()).await;
    put(&rig.near, "photos/since", noise(13, 2_000)).await;
    put(&rig.near, "other", b"changed".to_vec()).await;

    let here = ("s3://data", &rig.near);
    let photos = ["--prefix", "photos/"];
    let now = read(&rig.near, "data", "").await;
    let would = rig.restore(&seq, here, &[&photos[..], &["--dry-run", "--delete"]].concat());
    let changes: Vec<_> = would.iter().filter_map(|line| line["change"].as_str()).collect();
    assert_eq!(changes, ["create", "delete", "create", "create", "create", "replace"], "{would:?}");
    assert!(read(&rig.near, "data", "").await == now, "only told");
    let done = rig.restore(&seq, here, &photos);
    let done = done.last().unwrap();
    assert_eq!(
        (&done["created"], &done["replaced"], &done["left"]),
        (&4.into(), &1.into(), &1.into()),
        "{done}"
    );
    let mut found = read(&rig.near, "data", "photos/").await;
    assert!(found.remove("photos/since").is_some(), "what was made since stays");
    let photos_then: Bodies =
        then.clone().into_iter().filter(|(key, _)| key.starts_with("photos/")).collect();
    assert!(found == photos_then, "bodies and ETags");
    assert_eq!(read(&rig.near, "data", "other").await["other"].0, b"changed", "the rest is not touched");
    let head = client.head_object().bucket("data").key("photos/ü 0+.jpg").send().await.unwrap();
    assert_eq!((head.content_type(), head.metadata().unwrap()["colour"].as_str()), (Some("text/x"), "blue"));
    let tags = client.get_object_tagging().bucket("data").key("photos/ü 0+.jpg").send().await.unwrap();
    assert_eq!(tags.tag_set()[0].value(), "one");
    let deleted = rig.restore(&seq, here, &[&photos[..], &["--delete"]].concat());
    assert_eq!(deleted.last().unwrap()["deleted"], 1);
    assert!(read(&rig.near, "data", "photos/").await == photos_then);

    // Everything, to another server, below a prefix.
    let elsewhere = ("s3://elsewhere/back", &rig.far);
    rig.restore(&seq, elsewhere, &[]);
    let moved = then.into_iter().map(|(key, body)| (format!("back/{key}"), body));
    assert!(read(&rig.far, "elsewhere", "").await == moved.collect());
    let again = rig.restore(&seq, elsewhere, &[]);
    assert_eq!((&again.last().unwrap()["left"], &again.last().unwrap()["bytes"]), (&6.into(), &0.into()));

    assert!(!rig.dir.path().join("near").join("restore-part").exists(), "nothing is left behind");
    let refused = rig.command(&["restore", "--latest", "--bucket", "data"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("add --into s3://BUCKET"));
    let into = ["--into", "s3://backups", "--endpoint", &rig.far.s3];
    let refused = rig.command(&[&["restore", "--latest", "--bucket", "data"][..], &into].concat());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the backup itself"), "it would harm itself");
    rig.near.stop();
    rig.far.stop();
}
