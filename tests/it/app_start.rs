//! What a start makes of the data directory that it finds.

use super::support::sediment::{Sediment, refused, run};
use aws_sdk_s3::primitives::ByteStream;
use std::fs;
use std::path::Path;

/// A store of one object, `body`, in a file of its own; stopped.
async fn store_of_one_plain_body(data: &Path) {
    let server = Sediment::serve(data, &["--set", "engine.plain_bodies=true"]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    let body = ByteStream::from(vec![7; 5000]);
    client.put_object().bucket("bucket").key("body").body(body).send().await.unwrap();
    server.stop();
}

fn files_below(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_store_without_packs_that_lost_its_metadata_does_not_start_empty() {
    let dir = tempfile::tempdir().unwrap();
    store_of_one_plain_body(dir.path()).await;
    let aside = dir.path().join("meta-aside");
    fs::rename(dir.path().join("meta"), &aside).unwrap();
    for args in [&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"][..], &["gc"]] {
        let said = refused(&run(dir.path(), args), 4);
        assert!(said.contains("sediment.db") && said.contains("backup"), "{args:?}: {said}");
    }
    assert_eq!(files_below(&dir.path().join("plain")), 1, "the body is still there");

    fs::remove_dir_all(dir.path().join("meta")).unwrap();
    fs::rename(&aside, dir.path().join("meta")).unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let object = server.client().get_object().bucket("bucket").key("body").send().await.unwrap();
    assert_eq!(object.body.collect().await.unwrap().to_vec(), vec![7; 5000]);
    server.stop();
}

#[test]
fn i5_a_first_start_that_was_cut_off_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let id = "0123456789abcdef0123456789abcdef";
    let store = dir.path().join("STORE");
    fs::write(&store, format!(r#"{{"format":1,"store_id":"{id}","initialised":false}}"#)).unwrap();
    Sediment::serve(dir.path(), &[]).stop();
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(&store).unwrap()).unwrap();
    assert_eq!(kept, serde_json::json!({ "format": 1, "store_id": id, "initialised": true }));
}
