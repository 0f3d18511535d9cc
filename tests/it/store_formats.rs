//! Stores that earlier versions wrote are read, migrated and written on; those of a newer version are refused and left
//! as they are. The stores are `tests/fixtures/stores/`, made by those versions' binaries and killed.

use super::support::sediment::{PASSWORD, Sediment, USER, command, refused, run};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ObjectLockRetentionMode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/stores");

/// The newest of them: of a store that has everything but what came after it.
const NEWEST: &str = "schema-6";

fn unpack(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let packed = fs::File::open(format!("{FIXTURES}/{name}.tar.zst")).unwrap();
    let unpacked = zstd::decode_all(packed).unwrap();
    let mut tar = Command::new("tar");
    let mut tar = tar.args(["-x", "-C"]).arg(dir.path()).stdin(Stdio::piped()).spawn().unwrap();
    tar.stdin.take().unwrap().write_all(&unpacked).unwrap();
    assert!(tar.wait().unwrap().success());
    dir
}

fn expected(name: &str) -> Value {
    serde_json::from_slice(&fs::read(format!("{FIXTURES}/{name}.json")).unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

async fn check_object(client: &Client, object: &Value) {
    let (bucket, key, version) = (text(object, "bucket"), text(object, "key"), text(object, "version"));
    let get = client.get_object().bucket(bucket).key(key).version_id(version).send().await.unwrap();
    assert_eq!(get.e_tag(), object["etag"].as_str(), "{object}");
    assert_eq!(get.last_modified().unwrap().secs(), object["modified"].as_i64().unwrap(), "{object}");
    let metadata: BTreeMap<_, _> = get.metadata().into_iter().flatten().collect();
    assert_eq!(serde_json::json!(metadata), object["metadata"], "{object}");
    let body = get.body.collect().await.unwrap().to_vec();
    assert_eq!(body.len() as u64, object["size"].as_u64().unwrap(), "{object}");
    assert_eq!(sha256(&body), text(object, "sha256"), "{object}");
}

/// Bucket, key, version id, whether it is the latest.
type Listed = (String, String, String, bool);

async fn listed(client: &Client) -> Vec<Listed> {
    let mut all = Vec::new();
    for bucket in client.list_buckets().send().await.unwrap().buckets() {
        let bucket = bucket.name().unwrap();
        let page = client.list_object_versions().bucket(bucket).send().await.unwrap();
        let of = |key: Option<&str>, version: Option<&str>, latest: Option<bool>| {
            let own = |text: Option<&str>| text.unwrap().to_owned();
            (bucket.to_owned(), own(key), own(version), latest.unwrap())
        };
        all.extend(page.versions().iter().map(|v| of(v.key(), v.version_id(), v.is_latest())));
        all.extend(page.delete_markers().iter().map(|v| of(v.key(), v.version_id(), v.is_latest())));
    }
    all.sort();
    all
}

fn meant(expected: &Value) -> Vec<Listed> {
    let listed = |object: &Value| {
        let own = |field| text(object, field).to_owned();
        (own("bucket"), own("key"), own("version"), object["latest"].as_bool().unwrap())
    };
    let mut all: Vec<_> = expected["objects"].as_array().unwrap().iter().map(listed).collect();
    all.sort();
    all
}

async fn check_all(client: &Client, expected: &Value) {
    assert_eq!(listed(client).await, meant(expected));
    for object in expected["objects"].as_array().unwrap() {
        if object["marker"] != true {
            check_object(client, object).await;
        }
    }
}

/// Completes what the old version had begun.
async fn complete(client: &Client, upload: &Value) {
    let (bucket, key, id) = (text(upload, "bucket"), text(upload, "key"), text(upload, "upload"));
    let parts = upload["parts"].as_array().unwrap();
    let number = |part: &Value| i32::try_from(part["number"].as_i64().unwrap()).unwrap();
    let done = parts
        .iter()
        .map(|part| CompletedPart::builder().part_number(number(part)).e_tag(text(part, "etag")).build());
    let done = CompletedMultipartUpload::builder().set_parts(Some(done.collect())).build();
    let complete = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id);
    complete.multipart_upload(done).send().await.unwrap();
    let body = client.get_object().bucket(bucket).key(key).send().await.unwrap();
    let body = body.body.collect().await.unwrap().to_vec();
    let mut rest = body.as_slice();
    for part in parts {
        let (this, behind) = rest.split_at(usize::try_from(part["size"].as_u64().unwrap()).unwrap());
        assert_eq!(sha256(this), text(part, "sha256"), "{upload}");
        rest = behind;
    }
    assert!(rest.is_empty());
}

/// What only newer ones of them hold.
async fn check_settings(client: &Client) {
    let lock = client.get_object_retention().bucket("locked").key("kept").send().await.unwrap();
    assert_eq!(lock.retention().unwrap().mode(), Some(&ObjectLockRetentionMode::Compliance));
    let tags = client.get_object_tagging().bucket("plain").key("tagged").send().await.unwrap();
    assert_eq!(tags.tag_set().len(), 2);
    let rules = client.get_bucket_lifecycle_configuration().bucket("plain").send().await.unwrap();
    assert_eq!(rules.rules()[0].id(), Some("r"));
    let cors = client.get_bucket_cors().bucket("plain").send().await.unwrap();
    assert_eq!(cors.cors_rules()[0].allowed_origins(), ["https://*.example"]);
}

fn assert_clean(data: &Path) {
    let fsck = run(data, &["fsck", "--deep", "--json"]);
    let said = String::from_utf8_lossy(&fsck.stdout);
    assert!(fsck.status.success(), "{said}\n{}", String::from_utf8_lossy(&fsck.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_stores_of_earlier_versions_are_read_whole_and_written_on() {
    for name in ["schema-1", "schema-2", NEWEST] {
        let (dir, expected) = (unpack(name), expected(name));
        let server = Sediment::serve(dir.path(), &[]);
        let client = server.client();
        check_all(&client, &expected).await;
        if name == NEWEST {
            check_settings(&client).await;
        }
        for upload in expected["uploads"].as_array().unwrap() {
            complete(&client, upload).await;
        }
        // Chunks that the old version stored are used by the new one, and given up by it.
        let text = client.get_object().bucket("plain").key("text").send().await.unwrap();
        let text = text.body.collect().await.unwrap().to_vec();
        client.put_object().bucket("plain").key("new").body(text.clone().into()).send().await.unwrap();
        client.delete_object().bucket("plain").key("text").send().await.unwrap();
        client.delete_object().bucket("whole").key("file").send().await.unwrap();
        assert!(run(dir.path(), &["gc"]).status.success(), "{name}");
        server.kill();
        assert_clean(dir.path());

        let server = Sediment::serve(dir.path(), &[]);
        let new = server.client().get_object().bucket("plain").key("new").send().await.unwrap();
        assert!(new.body.collect().await.unwrap().to_vec() == text, "{name}");
        let gone = [("plain", "text"), ("whole", "file")];
        for object in expected["objects"].as_array().unwrap() {
            let place = (self::text(object, "bucket"), self::text(object, "key"));
            if object["marker"] != true && !gone.contains(&place) {
                check_object(&server.client(), object).await;
            }
        }
        server.stop();
    }
}

/// Every file and its hash, but for what says who has the directory, and SQLite's shared memory.
fn contents(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else if !path.ends_with("LOCK") && !path.to_string_lossy().ends_with("-shm") {
            all.insert(path.clone(), sha256(&fs::read(&path).unwrap()));
        }
    }
    all
}

/// Every verb refuses with that exit code and a word of what to do; returns what `serve` said.
fn refused_by_all(data: &Path, when: &str) -> String {
    let mut said = String::new();
    for args in [
        &["stats"][..],
        &["gc"],
        &["fsck"],
        &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
    ] {
        let mut command = command(data, args);
        command.env("SEDIMENT_ROOT_USER", USER).env("SEDIMENT_ROOT_PASSWORD", PASSWORD);
        said = refused(&command.output().unwrap(), 4);
        assert!(said.contains("version"), "{when}: {said}");
    }
    said
}

/// Raises a number in a data directory.
type MakeNewer = fn(&Path);

fn number_of_store(data: &Path) {
    let store = data.join("STORE");
    let newer = fs::read_to_string(&store).unwrap().replace("\"format\":1", "\"format\":2,\"new\":[]");
    fs::write(&store, newer).unwrap();
}

fn number_of_schema(data: &Path) {
    let db = rusqlite::Connection::open(data.join("meta/sediment.db")).unwrap();
    // As a server that stops leaves it: the log is not copied.
    db.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    db.execute_batch("CREATE TABLE later (x); PRAGMA user_version = 99").unwrap();
}

/// A pack as another version may write it, beside one that a kill left open.
fn number_of_pack(data: &Path) {
    let id: u64 = u64::MAX;
    let mut header = [0; 32];
    header[..8].copy_from_slice(b"SedPack\n");
    header[8] = 2;
    header[16..24].copy_from_slice(&id.to_le_bytes());
    let checksum = crc_fast::crc32_iscsi(&header[..28]).to_le_bytes();
    header[28..].copy_from_slice(&checksum);
    fs::write(data.join(format!("packs/{id:016x}.pack")), [&header[..], &[7; 1000]].concat()).unwrap();
}

#[test]
fn i1_a_store_of_a_newer_version_is_refused_and_not_one_byte_is_changed() {
    let newer: [(&str, MakeNewer); 3] =
        [("STORE", number_of_store), ("schema", number_of_schema), ("pack", number_of_pack)];
    for (what, make_newer) in newer {
        let dir = unpack(NEWEST);
        make_newer(dir.path());
        let before = contents(dir.path());
        assert!(before.len() > 10);
        refused_by_all(dir.path(), what);
        let after = contents(dir.path());
        let changed: Vec<_> = before.iter().filter(|(path, hash)| after.get(*path) != Some(hash)).collect();
        assert!(changed.is_empty() && before.len() == after.len(), "{what}: {changed:?} of {after:?}");
    }
}

/// The index is derived: what is refused can be deleted.
#[test]
fn i1_a_newer_index_is_refused_and_rebuilt_once_it_is_deleted() {
    let dir = unpack(NEWEST);
    Sediment::serve(dir.path(), &[]).stop();
    let index = dir.path().join("index");
    {
        let db = fjall::Database::builder(&index).open().unwrap();
        let meta = db.keyspace("meta", fjall::KeyspaceCreateOptions::default).unwrap();
        meta.insert("format", 99_u64.to_le_bytes()).unwrap();
    }
    let outside = |dir: &Path| {
        let mut all = contents(dir);
        all.retain(|path, _| !path.starts_with(dir.join("index")));
        all
    };
    let before = outside(dir.path());
    let said = refused_by_all(dir.path(), "index");
    assert!(said.contains("delete the index"), "{said}");
    assert_eq!(outside(dir.path()), before);
    fs::remove_dir_all(&index).unwrap();
    assert_clean(dir.path());
}
