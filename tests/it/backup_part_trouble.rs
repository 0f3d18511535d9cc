//! What may stand in the way of a restore of a part on this side: damage in the backup, a disk without room, another run of the same command.

use super::support::backups::{BUCKET, End, stop};
use super::support::parts::{Parts, killed_at, readable, run};
use super::support::s3_proxy::{Moment, S3Proxy};
use aws_sdk_s3::Client;
use serde_json::Value;
use std::process::{Command, Stdio};
use tokio::task::block_in_place;

fn report(said: &str) -> Value {
    let line = said.lines().rfind(|line| line.starts_with('{')).unwrap();
    serde_json::from_str(line).unwrap()
}

/// One bit of the last image of the metadata is another.
async fn harm_image(client: &Client) -> String {
    let images = client.list_objects_v2().bucket("backups").prefix("one/base/").send().await.unwrap();
    let key = images.contents().iter().filter_map(|image| image.key()).max().unwrap().to_owned();
    let got = client.get_object().bucket("backups").key(&key).send().await.unwrap();
    let mut bytes = got.body.collect().await.unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    client.put_object().bucket("backups").key(&key).body(bytes.into()).send().await.unwrap();
    key
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_part_comes_back_around_a_damaged_image_and_says_so_also_when_it_was_cut_off() {
    let parts = Parts::new().await;
    let near = parts.rig.store("near");
    let server = parts.rig.serve(&near);
    let put = server.client().put_object().bucket(BUCKET).key("since").body(vec![7; 20_000].into());
    let etag = put.send().await.unwrap().e_tag().unwrap().to_owned();
    parts.rig.json(&near, &["backup", "run", "--full"]).unwrap();
    stop(server);
    let harmed = harm_image(&parts.far.client()).await;
    let harmed = harmed.strip_prefix("one/").unwrap();
    let told = |said: &str| {
        let report = report(said);
        let passed = report["passed_over"].to_string();
        assert!(passed.contains(harmed), "no `{harmed}` in {report}");
    };
    let (target, data) = (S3Proxy::new(&parts.far.s3).await, parts.rig.store("elsewhere"));
    let command = |prefix, more| parts.command(&data, (&target, prefix), more);
    told(&run(command("whole/", &["--dry-run"])).unwrap());
    told(&run(command("whole/", &[])).unwrap());
    let mut wanted = readable(&parts.then);
    wanted.insert("since".to_owned(), etag);
    assert!(readable(&parts.found("whole/").await) == wanted);
    // Its rows are here when it looks at the target.
    let end = killed_at(&target, command("cut/", &[]), 3, Moment::Before).await;
    assert!(matches!(end, End::Killed));
    told(&run(command("cut/", &[])).unwrap());
    assert!(readable(&parts.found("cut/").await) == wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_without_room_or_beside_another_run_it_ends_and_says_what_helps() {
    let parts = Parts::new().await;
    let (target, data) = (S3Proxy::new(&parts.far.s3).await, parts.rig.store("elsewhere"));
    let command = || parts.command(&data, (&target, "x/"), &[]);
    let mut full = command();
    full.env("SEDIMENT_STORAGE__MIN_FREE_BYTES", (1u64 << 60).to_string());
    let refused = block_in_place(|| full.output().unwrap());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(6), "{said}");
    assert!(said.contains("make room") && said.contains("the same command goes on"), "{said}");

    target.arm(1, Moment::Before);
    let mut first: Command = command();
    first.stdout(Stdio::piped()).stderr(Stdio::piped());
    let first = first.spawn().unwrap();
    target.sprung().await;
    let second = block_in_place(|| command().output().unwrap());
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(3), "{said}");
    assert!(said.contains("in use by process"), "{said}");
    target.reset();
    let first = block_in_place(|| first.wait_with_output().unwrap());
    assert!(first.status.success(), "{first:?}");
    assert!(readable(&parts.found("x/").await) == readable(&parts.then));
    assert!(!data.join("restore-part").exists());
}
