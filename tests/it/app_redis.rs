//! A whole gateway whose second cache tier is killed, frozen or lies: every request still succeeds, with the right bytes.

use super::support::noise;
use super::support::redis::RedisServer;
use super::support::scripted_redis::{Manner, ScriptedRedis};
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

/// The value of a metric's sample, 0 when there is none.
fn sample(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}

fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_i5_lies_of_the_second_tier_are_counted_and_take_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let redis = ScriptedRedis::start();
    let url = format!("cache.redis_url=\"{}\"", redis.url);
    let server = Sediment::serve(dir.path(), &["--set", &url, "--set", "cache.memory_bytes=0"]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    for n in 0..OBJECTS {
        put(&client, n).await;
    }
    while redis.stored() < usize::try_from(OBJECTS).unwrap() {
        read_all(&client, OBJECTS).await;
    }
    let before = peak_kib(server.pid());
    let lies = [
        (Manner::FlippedBit, "wrong-bytes"),
        (Manner::Long, "protocol"),
        (Manner::CutOff, "io"),
        (Manner::Silent, "timeout"),
        (Manner::Error("OOM command not allowed when used memory > 'maxmemory'."), "refused"),
    ];
    for (lie, kind) in lies {
        let name = format!("sediment_cache_redis_errors_total{{kind=\"{kind}\"}}");
        let count = || sample(&server.admin_get("/metrics").1, &name);
        let counted = count();
        redis.set(lie);
        while count() <= counted {
            read_all(&client, OBJECTS).await;
        }
        assert_eq!(server.admin_get("/readyz").0, 200, "a cache is no condition of readiness");
        redis.set(Manner::Honest);
        while sample(&server.admin_get("/metrics").1, "sediment_cache_redis_breaker_state ") > 0.0 {
            read_all(&client, OBJECTS).await;
        }
    }
    let grown = peak_kib(server.pid()).saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more");
    server.stop();
}
