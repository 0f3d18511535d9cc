//! The recovery strategies, as a client meets them. Storage and deduplication that fail are in
//! `src/engine/recovery_tests.rs` and `src/engine/rechunk_tests.rs`, where a disk can be made to fail.

use super::support::noise;
use super::support::redis::RedisServer;
use super::support::refusal::{patient_put, refusal, without_retries};
use super::support::sediment::Sediment;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;

const BYTES: usize = 200_000;

async fn put(client: &Client, n: u64) {
    let body = ByteStream::from(noise(n, BYTES));
    client.put_object().bucket("bucket").key(n.to_string()).body(body).send().await.unwrap();
}

async fn check(client: &Client, keys: std::ops::Range<u64>) {
    for n in keys {
        let got = client.get_object().bucket("bucket").key(n.to_string()).send().await.unwrap();
        assert!(got.body.collect().await.unwrap().to_vec() == noise(n, BYTES), "object {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_i5_cache_failure_falls_back_to_storage() {
    let dir = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start(&[]);
    let url = format!("cache.redis_url=\"{}\"", redis.url());
    let server = Sediment::serve(dir.path(), &["--set", &url, "--set", "cache.memory_bytes=0"]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    for n in 0..3 {
        put(&client, n).await;
    }
    check(&client, 0..3).await;
    redis.freeze();
    put(&client, 3).await;
    check(&client, 0..4).await;
    redis.thaw();
    redis.kill();
    put(&client, 4).await;
    check(&client, 0..5).await;
    assert_eq!(server.admin_get("/readyz").0, 200);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_i5_database_failure_queues_writes_and_serves_from_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &["--set", "meta.write_wait_milliseconds=500"]);
    let client = without_retries(&server);
    client.create_bucket().bucket("bucket").send().await.unwrap();
    put(&client, 0).await;
    check(&client, 0..1).await;
    let database = rusqlite::Connection::open(dir.path().join("meta/sediment.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let body = ByteStream::from(noise(1, BYTES));
    let first = tokio::spawn(client.put_object().bucket("bucket").key("1").body(body).send());
    let refused = loop {
        let body = ByteStream::from(noise(2, BYTES));
        let put = client.put_object().bucket("bucket").key("2").body(body).send().await;
        check(&client, 0..1).await;
        // One that the writer took together with the first waits as long as that does.
        if let Err(error) = put {
            break refusal(&error);
        }
    };
    assert_eq!(refused, (503, "SlowDown".to_owned(), Some("1".to_owned())));
    assert_eq!(server.admin_get("/healthz").0, 200);
    database.execute_batch("ROLLBACK").unwrap();
    drop(database);
    match first.await.unwrap() {
        Ok(_) => check(&client, 1..2).await,
        Err(error) => assert_eq!(refusal(&error).0, 503),
    }
    patient_put(&client, "3", &noise(3, BYTES), &[503]).await;
    check(&client, 3..4).await;
    assert_eq!(server.admin_get("/readyz").0, 200, "nothing was poisoned");
    let missing = client.get_object().bucket("bucket").key("2").send().await.unwrap_err();
    assert_eq!(refusal(&missing).0, 404, "what was refused was not done later");
    server.stop();
}
