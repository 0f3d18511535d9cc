//! A server's life: readiness, drain, restarts, a lost index, a full disk.

use super::support::noise;
use super::support::sediment::{Sediment, run};
use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

async fn put(client: &Client, key: &str, body: &[u8]) {
    let body = ByteStream::from(body.to_vec());
    client.put_object().bucket("bucket").key(key).body(body).send().await.unwrap();
}

async fn get(client: &Client, key: &str) -> Vec<u8> {
    let object = client.get_object().bucket("bucket").key(key).send().await.unwrap();
    object.body.collect().await.unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_objects_survive_stops_kills_and_a_lost_index() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = [("empty", noise(1, 0)), ("small", noise(2, 100)), ("large", noise(3, 3 << 20))];
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    for (key, body) in &bodies {
        put(&client, key, body).await;
    }
    server.stop();

    let server = Sediment::serve(dir.path(), &[]);
    put(&server.client(), "after", &bodies[2].1).await;
    for (key, body) in &bodies {
        assert_eq!(&get(&server.client(), key).await, body, "{key} after a stop");
    }
    server.kill();

    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    for (key, body) in bodies.iter().chain([&("after", bodies[2].1.clone())]) {
        assert_eq!(&get(&server.client(), key).await, body, "{key} after a kill, without index");
    }
    let stats = run(dir.path(), &["stats", "--json"]).stdout;
    let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    assert_eq!(stats["versions"], 4);
    assert_eq!(stats["logical_bytes"], (6 << 20) + 100);
    let stored = stats["stored_bytes"].as_u64().unwrap();
    assert!(stored < (3 << 20) + (128 << 10), "the second copy costs almost nothing: {stats}");
    server.stop();
    let checked = run(dir.path(), &["fsck", "--deep"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_an_open_upload_goes_on_after_a_kill() {
    use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    let upload = client.create_multipart_upload().bucket("bucket").key("k").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let parts = [noise(11, 5 << 20), noise(12, 1 << 20)];
    let send = async |client: &Client, number: i32| {
        let body = ByteStream::from(parts[number as usize - 1].clone());
        let part = client.upload_part().bucket("bucket").key("k").upload_id(id).part_number(number);
        part.body(body).send().await.unwrap().e_tag().unwrap().to_owned()
    };
    let first = send(&client, 1).await;
    server.kill();

    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    let listed = client.list_parts().bucket("bucket").key("k").upload_id(id).send().await.unwrap();
    assert_eq!(listed.parts()[0].e_tag(), Some(first.as_str()));
    let second = send(&client, 2).await;
    let done = [(1, &first), (2, &second)]
        .map(|(number, tag)| CompletedPart::builder().part_number(number).e_tag(tag).build());
    let done = CompletedMultipartUpload::builder().set_parts(Some(done.to_vec())).build();
    let complete = client.complete_multipart_upload().bucket("bucket").key("k").upload_id(id);
    complete.multipart_upload(done).send().await.unwrap();
    assert!(get(&client, "k").await == parts.concat());
    server.stop();
    assert!(run(dir.path(), &["fsck", "--deep"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_request_under_way_finishes_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    let body = noise(4, 1 << 20);
    let lifetime = PresigningConfig::expires_in(Duration::from_secs(600)).unwrap();
    let signed = client.put_object().bucket("bucket").key("late").presigned(lifetime).await.unwrap();
    let address = server.s3.strip_prefix("http://").unwrap().to_owned();
    let target = signed.uri().strip_prefix(server.s3.as_str()).unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    let headers: String = signed.headers().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let has_length = signed.headers().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = if has_length { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    // The server says 100 once somebody reads the body: then the request is surely under way.
    let head =
        format!("PUT {target} HTTP/1.1\r\nhost: {address}\r\n{headers}{length}expect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body[..body.len() / 2]).unwrap();

    server.terminate();
    server.wait_for("draining");
    let (status, said) = server.admin_get("/readyz");
    assert_eq!((status, said.as_str()), (503, "draining\n"), "I5");
    stream.write_all(&body[body.len() / 2..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (status, _) = server.wait();
    assert!(status.success(), "{status}");

    let server = Sediment::serve(dir.path(), &[]);
    assert_eq!(get(&server.client(), "late").await, body);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_full_disk_refuses_bodies_and_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    put(&client, "kept", b"still here").await;
    server.stop();

    let server = Sediment::serve(dir.path(), &["--set", "storage.min_free_bytes=9000000000000000000"]);
    let client = server.client();
    let (status, said) = server.admin_get("/readyz");
    assert_eq!(status, 503);
    assert!(said.contains("disk full"), "{said}");
    assert_eq!(server.admin_get("/healthz").0, 200);
    let refused =
        client.put_object().bucket("bucket").key("new").body(ByteStream::from_static(b"x")).send().await;
    let refused = refused.unwrap_err();
    let status = refused.raw_response().unwrap().status().as_u16();
    assert!((500..600).contains(&status), "{status} {refused:?}");
    assert_eq!(get(&client, "kept").await, b"still here");
    client.delete_object().bucket("bucket").key("kept").send().await.unwrap();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_metadata_that_takes_no_more_writes_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    assert_eq!(server.admin_get("/readyz").0, 200);
    // A second writer: what the first one believes of the database is wrong from now on.
    let database = rusqlite::Connection::open(dir.path().join("meta/sediment.db")).unwrap();
    database.execute("UPDATE state SET last_bucket = last_bucket + 1", []).unwrap();
    let put = client.put_object().bucket("bucket").key("new").body(ByteStream::from_static(b"x"));
    put.send().await.unwrap_err();
    let (status, said) = server.admin_get("/readyz");
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("metadata: ") && said.contains("another process"), "{said}");
    assert_eq!(server.admin_get("/healthz").0, 200);
    drop(database);
    server.kill();
    let server = Sediment::serve(dir.path(), &[]);
    put_works(&server).await;
    server.stop();
}

async fn put_works(server: &Sediment) {
    put(&server.client(), "new", b"x").await;
    assert_eq!(get(&server.client(), "new").await, b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_deleted_space_comes_back_through_the_running_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &["--set", "gc.interval_seconds=0"]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    put(&client, "gone", &noise(5, 4 << 20)).await;
    let packs = || -> u64 {
        let blocks = |entry: std::io::Result<std::fs::DirEntry>| {
            std::os::unix::fs::MetadataExt::blocks(&entry.unwrap().metadata().unwrap()) * 512
        };
        std::fs::read_dir(dir.path().join("packs")).unwrap().map(blocks).sum()
    };
    assert!(packs() > 4 << 20);
    client.delete_object().bucket("bucket").key("gone").send().await.unwrap();
    server.stop();
    // Sealed now, so the pack can go.
    let server = Sediment::serve(dir.path(), &["--set", "gc.interval_seconds=0"]);
    let before = packs();
    let planned = run(dir.path(), &["gc", "--dry-run"]);
    assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));
    assert_eq!(packs(), before, "a dry run changes nothing");
    let collected = run(dir.path(), &["gc", "--json"]);
    assert!(collected.status.success(), "{}", String::from_utf8_lossy(&collected.stderr));
    assert!(packs() < 1 << 20, "{} bytes left: {}", packs(), String::from_utf8_lossy(&collected.stdout));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_the_most_talkative_log_helps_no_forger() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &["--set", "log.level=trace"]);
    server.client_with("not-the-secret").list_buckets().send().await.unwrap_err();
    server.client().list_buckets().send().await.unwrap();
    let (_, log) = server.stop_with_log();
    assert!(log.contains("\"level\":\"TRACE\""), "{log}");
    // s3s tells a forger's right signature beside the wrong one.
    assert!(!log.contains("\"target\":\"s3s"), "{log}");
    // What hyper saw of the heads must not be there either.
    assert!(!log.to_lowercase().contains("signature="), "{log}");
}

/// The names of the series that have a value, labels and buckets left out.
fn families(metrics: &str) -> BTreeSet<&str> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.map(|line| line.split(['{', ' ']).next().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_every_metric_is_there_from_the_start_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let (_, start) = server.admin_get("/metrics");
    for name in [
        "sediment_logical_bytes",
        "sediment_stored_bytes",
        "sediment_deduplication_ratio 1",
        "sediment_compression_ratio 1",
        "sediment_cache_hits_total{tier=\"memory\"} 0",
        "sediment_cache_hits_total{tier=\"redis\"} 0",
        // Background work may be reading just now.
        "sediment_queue_depth{queue=\"metadata_reads\"} ",
        "sediment_queue_depth{queue=\"hash_jobs\"} 0",
        "sediment_queue_depth{queue=\"memory\"} 0",
        "sediment_queue_depth{queue=\"redis_writes\"} 0",
        "sediment_meta_queue_commands 0",
        "sediment_fsync_seconds_bucket{file=\"pack\",le=\"0.001\"}",
        "sediment_fsync_seconds_count{file=\"meta\"}",
        "sediment_fsync_seconds_count{file=\"plain\"} 0",
        "sediment_gc_runs_total{result=\"ok\"} 0",
        "sediment_gc_seconds_count 0",
        "sediment_gc_collected_total 0",
        "sediment_gc_freed_bytes_total 0",
        "sediment_disk_free_bytes",
    ] {
        assert!(start.lines().any(|line| line.starts_with(name)), "{name} is missing:\n{start}");
    }

    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    put(&client, "body", &noise(6, 1 << 20)).await;
    assert_eq!(get(&client, "body").await.len(), 1 << 20);
    client.delete_object().bucket("bucket").key("body").send().await.unwrap();
    assert!(run(dir.path(), &["gc"]).status.success());
    let (_, after) = server.admin_get("/metrics");
    let value = |series: &str| -> f64 {
        let line = after.lines().find(|line| line.starts_with(series));
        let line = line.unwrap_or_else(|| panic!("{series} is missing:\n{after}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    for series in [
        "sediment_s3_requests_total{operation=\"PutObject\",code=\"200\"}",
        "sediment_s3_request_seconds_count{operation=\"GetObject\"}",
        "sediment_s3_received_bytes_total{operation=\"PutObject\"}",
        "sediment_s3_sent_bytes_total{operation=\"GetObject\"}",
        "sediment_ingest_bytes_total",
        "sediment_fsync_seconds_count{file=\"pack\"}",
        "sediment_fsync_seconds_count{file=\"meta\"}",
        "sediment_gc_runs_total{result=\"ok\"}",
    ] {
        assert!(value(series) > 0.0, "{series}:\n{after}");
    }
    let described: BTreeSet<&str> =
        after.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    for name in families(&after) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        assert!(described.contains(name) || base.is_some_and(|name| described.contains(name)), "{name}");
    }
    server.stop();
}

#[test]
fn i5_health_metrics_and_the_ready_file() {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready.json");
    let data = dir.path().join("data");
    let server = Sediment::serve(&data, &["--ready-file", ready.to_str().unwrap()]);
    let told: serde_json::Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    assert_eq!((told["s3"].as_str(), told["admin"].as_str()), (Some(&*server.s3), Some(&*server.admin)));
    assert_eq!(server.admin_get("/readyz"), (200, "ready\n".to_owned()));
    let (status, metrics) = server.admin_get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("sediment_http_connections_total"), "{metrics}");
    assert_eq!(server.admin_get("/admin/v1/stats").0, 401, "I6");
    server.stop();
    assert!(!ready.exists());
}
