//! A whole gateway whose second cache tier is killed, frozen or lies: every request still succeeds, with the right bytes.

use super::support::noise;
use super::support::redis::RedisServer;
use super::support::sediment::Sediment;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;

const OBJECTS: u64 = 12;
const OBJECT_BYTES: usize = 200_000;

fn body(n: u64) -> Vec<u8> {
    noise(100 + n, OBJECT_BYTES)
}

async fn put(client: &Client, n: u64) {
    let body = ByteStream::from(body(n));
    client.put_object().bucket("bucket").key(n.to_string()).body(body).send().await.unwrap();
}

async fn read_all(client: &Client, objects: u64) {
    for n in 0..objects {
        let got = client.get_object().bucket("bucket").key(n.to_string()).send().await.unwrap();
        assert!(got.body.collect().await.unwrap().to_vec() == body(n), "object {n} is not what was put");
    }
}

/// Reads until chunks are in Redis. What is read was asked for before it is written, so a later read finds more.
async fn fill(client: &Client, server: &RedisServer) -> usize {
    let mut connection = server.connect();
    loop {
        read_all(client, OBJECTS).await;
        let keys: usize = redis::cmd("DBSIZE").query(&mut connection).unwrap();
        if keys >= usize::try_from(OBJECTS).unwrap() {
            return keys;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_i5_a_second_tier_that_lies_freezes_or_dies_changes_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut redis_server = RedisServer::start(&[]);
    let url = format!("cache.redis_url=\"{}\"", redis_server.url());
    // Without memory every read asks Redis.
    let server = Sediment::serve(dir.path(), &["--set", &url, "--set", "cache.memory_bytes=0"]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    for n in 0..OBJECTS {
        put(&client, n).await;
    }
    fill(&client, &redis_server).await;

    let mut admin = redis_server.connect();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut admin).unwrap();
    for lie in [vec![7; 16 << 10], b"short".to_vec(), vec![0; 4 << 20]] {
        for key in &keys {
            let _: () = redis::cmd("SET").arg(key).arg(&lie).query(&mut admin).unwrap();
        }
        read_all(&client, OBJECTS).await;
    }
    redis_server.freeze();
    put(&client, OBJECTS).await;
    read_all(&client, OBJECTS + 1).await;
    redis_server.thaw();
    redis_server.kill();
    put(&client, OBJECTS + 1).await;
    read_all(&client, OBJECTS + 2).await;
    assert_eq!(server.admin_get("/readyz").0, 200, "a cache is no condition of readiness");
    server.stop();
}
