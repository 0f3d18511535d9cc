//! What a start shows is durable: a client that finds its object there does not send it again.

use super::disk::{Disk, Powered};
use super::lane::{Lane, SMALL};
use super::load::client;
use super::power::{come_back, cut, powered};
use super::{blocking, say};
use crate::support::sediment::Sediment;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::runtime::Handle;

const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/kill/die_at_log_sync.c");
const BUCKET: &str = "shown";

fn shim(dir: &Path) -> Result<PathBuf, String> {
    let built = dir.join("shim.so");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&built).args([SHIM, "-ldl"]).status();
    match made {
        Ok(status) if status.success() => Ok(built),
        other => Err(format!("cc: {other:?}")),
    }
}

fn put(server: &Sediment, body: &'static [u8]) -> bool {
    let put = client(server).put_object().bucket(BUCKET).key("key").body(body.to_vec().into()).send();
    Handle::current().block_on(put).is_ok()
}

fn get(server: &Sediment) -> Vec<u8> {
    let get = client(server).get_object().bucket(BUCKET).key("key").send();
    let read = async { get.await.unwrap().body.collect().await.unwrap().to_vec() };
    Handle::current().block_on(read)
}

fn live(disk: Powered, shim: &Path, told: &Path) {
    let mut lane = Lane::new(Disk::Powered(disk), 1, 0, 0);
    let mut command = lane.command(None);
    command.env("LD_PRELOAD", shim).env("DIE_AT_LOG_SYNC", told);
    let server = lane.begin(command, &SMALL).unwrap();
    Handle::current().block_on(client(&server).create_bucket().bucket(BUCKET).send()).unwrap();
    assert!(put(&server, b"acknowledged"));
    std::fs::write(told, "now").unwrap();
    assert!(!put(&server, b"begun"), "it dies before it can answer");
    drop(server);

    let server = lane.start(None, &SMALL).unwrap();
    assert_eq!(get(&server), b"begun", "written to the log, and not synced by whoever wrote it");
    cut(&mut lane, server);
    come_back(&mut lane);
    let server = lane.start(None, &SMALL).unwrap();
    assert_eq!(get(&server), b"begun", "what was shown is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_what_a_start_shows_survives_the_next_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let shim = match shim(dir.path()) {
        Ok(shim) => shim,
        Err(why) => return say(&format!("*** NOT TESTED HERE: it needs a C compiler: {why} ***")),
    };
    let told = dir.path().join("now");
    blocking(move || match powered(0) {
        Some((disk, _)) => live(disk, &shim, &told),
        None => say("*** NOT TESTED HERE: it needs a file system whose power can be cut ***"),
    })
    .await;
}
