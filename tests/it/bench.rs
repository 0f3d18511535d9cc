//! `sediment bench` against a server of this build: every operation, every kind of body, every way to protect it.

use super::support::sediment::{PASSWORD, Sediment, USER, command, refused};
use serde_json::Value;
use std::process::{Command, Output};

fn bench(server: &Sediment, args: &[&str]) -> Command {
    let mut bench = bare(args);
    bench.args(["--endpoint", &server.s3, "--json"]);
    bench.env("AWS_ACCESS_KEY_ID", USER).env("AWS_SECRET_ACCESS_KEY", PASSWORD);
    bench
}

/// `sediment bench` alone, knowing nothing of this environment.
fn bare(args: &[&str]) -> Command {
    let program = command(std::path::Path::new("unused"), &[]).get_program().to_owned();
    let mut bench = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") || name.to_string_lossy().starts_with("SEDIMENT_") {
            bench.env_remove(name);
        }
    }
    bench.arg("bench").args(args);
    bench
}

fn report(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn run(server: &Sediment, args: &[&str]) -> Value {
    report(&bench(server, args).output().unwrap())
}

/// The one run of the one server.
fn only_run(report: &Value) -> &Value {
    assert_eq!(report["servers"].as_array().unwrap().len(), 1);
    let runs = report["servers"][0]["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(report["warnings"], serde_json::json!([]));
    assert_eq!(runs[0]["errors"], serde_json::json!({}));
    &runs[0]
}

async fn keys(client: &aws_sdk_s3::Client, bucket: &str) -> Vec<String> {
    let listed = client.list_objects_v2().bucket(bucket).send().await.unwrap();
    listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
}

#[test]
fn every_operation_runs_with_every_payload_and_compares_what_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    for operation in ["put", "get", "head", "list", "mixed", "multipart"] {
        for payload in ["unsigned", "signed", "trailer"] {
            let size = if operation == "multipart" { "11MiB" } else { "150KiB" };
            let mut args = vec![operation, "--payload", payload, "--size", size, "--part-size", "5MiB"];
            args.extend(["--operations", "12", "--objects", "6", "--concurrency", "3", "--verify"]);
            let report = run(&server, &args);
            let run = only_run(&report);
            assert_eq!(run["operations"], 12, "{operation} {payload}");
            for figure in ["ops_per_second", "p50_ms", "p99_ms", "client_cpu_seconds"] {
                assert!(run["figures"][figure].as_f64().unwrap() > 0.0, "{operation} {payload}: {figure}");
            }
            if matches!(operation, "put" | "multipart") {
                assert_eq!(run["verified"], 12, "{operation} {payload}");
            }
        }
    }
    server.stop();
}

#[test]
fn as_much_is_asked_as_falls_due_and_what_was_not_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let args = ["mixed", "--size", "2000", "--objects", "5", "--rate", "200", "--duration", "500ms"];
    let report = run(&server, &args);
    let run = &report["servers"][0]["runs"][0];
    let not_begun = run["figures"]["not_begun"].as_f64().unwrap();
    assert_eq!(run["operations"].as_f64().unwrap() + not_begun, 100.0);
    assert_eq!((report["rate"].as_u64(), &run["errors"]), (Some(200), &serde_json::json!({})));
    assert_eq!(report["warnings"].as_array().unwrap().is_empty(), not_begun == 0.0);
    let refused = bench(&server, &["put", "--rate", "0"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    server.stop();
}

fn unique_bytes(data: &std::path::Path) -> f64 {
    let stats = command(data, &["stats", "--json"]).output().unwrap();
    let stats: Value = serde_json::from_slice(&stats.stdout).unwrap();
    stats["unique_bytes"].as_f64().unwrap()
}

#[test]
fn every_content_comes_back_and_stores_what_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let mut held = 0.0;
    let mut stored_by = |content: &str| {
        let args = ["put", "--content", content, "--size", "1MiB", "--operations", "8", "--concurrency", "2"];
        let report = run(&server, &[&args[..], &["--verify", "--keep"]].concat());
        assert_eq!(only_run(&report)["verified"], 8, "{content}");
        // Metrics are a few seconds old; this counts now.
        let now = unique_bytes(dir.path());
        let grown = now - std::mem::replace(&mut held, now);
        grown / f64::from(1 << 20)
    };
    let (unique, text, duplicate) = (stored_by("unique"), stored_by("text"), stored_by("duplicate"));
    let edited = stored_by("edited");
    assert!((unique - 8.0).abs() < 0.01, "noise never repeats: {unique} MiB of 8");
    assert!((text - 8.0).abs() < 0.01, "text never repeats: {text} MiB of 8");
    assert!((duplicate - 1.0).abs() < 0.01, "one body: {duplicate} MiB of 1");
    assert!((2.0..3.0).contains(&edited), "two workers' first versions, and some edits: {edited} MiB");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_removes_what_it_made_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    let args = ["mixed", "--size", "2000", "--operations", "60", "--objects", "10"];
    run(&server, &args);
    let buckets = client.list_buckets().send().await.unwrap();
    assert!(buckets.buckets().is_empty(), "the bucket that it made: {buckets:?}");

    client.create_bucket().bucket("mine").send().await.unwrap();
    client.put_object().bucket("mine").key("bench-0/mine").send().await.unwrap();
    for operation in ["put", "get", "list", "mixed", "multipart"] {
        let args = [operation, "--size", "2000", "--operations", "9", "--objects", "7", "--bucket", "mine"];
        run(&server, &args);
        assert_eq!(keys(&client, "mine").await, ["bench-0/mine"], "{operation}");
        let uploads = client.list_multipart_uploads().bucket("mine").send().await.unwrap();
        assert!(uploads.uploads().is_empty(), "{operation}");
    }
    run(&server, &["put", "--size", "2000", "--operations", "9", "--bucket", "mine", "--keep"]);
    assert_eq!(keys(&client, "mine").await.len(), 10);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_stores_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    let mut tags = Vec::new();
    for (bucket, seed) in [("one", "7"), ("two", "7"), ("three", "8")] {
        let args = ["put", "--size", "3000", "--operations", "6", "--concurrency", "1", "--keep"];
        run(&server, &[&args[..], &["--bucket", bucket, "--seed", seed]].concat());
        let listed = client.list_objects_v2().bucket(bucket).send().await.unwrap();
        let tag = |object: &aws_sdk_s3::types::Object| object.e_tag().unwrap().to_owned();
        tags.push(listed.contents().iter().map(tag).collect::<Vec<_>>());
    }
    assert_eq!(tags[0], tags[1]);
    assert_eq!(tags[0].len(), 6);
    assert!(tags[2].iter().all(|tag| !tags[0].contains(tag)));
    server.stop();
}

#[test]
fn servers_are_compared_in_turns() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let servers = dirs.each_ref().map(|dir| Sediment::serve(dir.path(), &[]));
    let [one, two] = &servers;
    let first = format!("one={}", one.s3);
    let second = format!("two={},{USER},{PASSWORD}", two.s3);
    let pid = format!("two={}", two.pid());
    let mut bench = bench(one, &["put", "--size", "100000", "--operations", "20", "--rounds", "3"]);
    let report = report(
        &bench.args(["--compare", &first, "--compare", &second, "--server-pid", &pid]).output().unwrap(),
    );
    let compared = report["servers"].as_array().unwrap();
    assert_eq!(compared.len(), 2);
    for (server, name) in compared.iter().zip(["one", "two"]) {
        assert_eq!(server["name"], name);
        assert_eq!(server["runs"].as_array().unwrap().len(), 3);
        let figure = |of: &str| server[of]["ops_per_second"].as_f64().unwrap();
        assert!(figure("min") <= figure("median") && figure("median") <= figure("max"));
        assert_eq!(server["errors"], serde_json::json!({}));
    }
    let rate = |server: &Value| server["median"]["ops_per_second"].as_f64().unwrap();
    let ratio = compared[1]["ratio"]["ops_per_second"].as_f64().unwrap();
    assert!((ratio - rate(&compared[1]) / rate(&compared[0])).abs() < 1e-9);
    assert!(compared[1]["median"]["server_peak_rss_mib"].as_f64().unwrap() > 1.0);
    assert!(compared[0]["median"]["server_peak_rss_mib"].is_null());
    servers.into_iter().for_each(|server| drop(server.stop()));
}

#[test]
fn failures_are_counted_by_code_and_fail_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    // Parts but the last must not be smaller than 5 MiB.
    let args = ["multipart", "--size", "3MiB", "--part-size", "1MiB", "--operations", "3"];
    let output = bench(&server, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["servers"][0]["errors"], serde_json::json!({ "EntityTooSmall": 3 }));
    refused(&output, 1);

    let mut wrong = bench(&server, &["put", "--operations", "1"]);
    let output = wrong.env("AWS_SECRET_ACCESS_KEY", "another-secret").output().unwrap();
    let said = refused(&output, 1);
    assert!(!said.contains("another-secret"), "{said}");
    let address = server.s3.clone();
    server.stop();
    let mut gone = bare(&["put", "--operations", "1", "--endpoint", &address]);
    gone.env("AWS_ACCESS_KEY_ID", USER).env("AWS_SECRET_ACCESS_KEY", PASSWORD);
    assert!(refused(&gone.output().unwrap(), 1).contains("cannot connect"));
}

#[test]
fn arguments_that_cannot_work_are_refused() {
    let keys = ["--access-key", USER, "--secret-key", PASSWORD];
    for args in [
        &["put", "--concurrency", "0"][..],
        &["put", "--endpoint", "https://localhost"],
        &["multipart", "--size", "1GiB", "--part-size", "1KiB"],
        &["put", "--compare", "http://localhost"],
        &["put", "--server-pid", "other=1"],
        &["put", "--bucket", "No/Bucket"],
        &["put", "--data", "unique"],
    ] {
        refused(&bare(&[args, &keys].concat()).output().unwrap(), 2);
    }
    assert!(refused(&bare(&["put"]).output().unwrap(), 2).contains("AWS_ACCESS_KEY_ID"));
    for args in [&["put", "--size", "much"][..], &["swim"], &["put", "--operations", "1", "--duration", "1s"]]
    {
        assert_eq!(bare(&[args, &keys].concat()).output().unwrap().status.code(), Some(2), "{args:?}");
    }
}

/// Ctrl-C ends the load early, prints what was measured, and still removes the objects.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_tells_what_it_measured_and_tidies_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    client.create_bucket().bucket("mine").send().await.unwrap();
    let mut bench = bench(&server, &["put", "--size", "5000", "--duration", "10m", "--bucket", "mine"]);
    let child =
        bench.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    while keys(&client, "mine").await.len() < 5 {}
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interrupted"], true);
    assert!(report["servers"][0]["runs"][0]["operations"].as_u64().unwrap() >= 1);
    assert!(refused(&output, 1).contains("stopped"));
    assert_eq!(keys(&client, "mine").await, Vec::<String>::new());
    server.stop();
}
