//! A remote that is away, slow, full, or answers wrongly: the gateway serves on, says what is wrong and what helps, and catches up; a restore
//! tells it, and goes on. What is restored is what was stored.
//!
//! `SEDIMENT_BACKUP_SEED` repeats at which request a fault begins.

use super::support::backups::{BUCKET, Backups, Bodies, alone, difference, far, put, read, start, stop};
use super::support::noise;
use super::support::refusal::without_retries;
use super::support::s3_proxy::Fault;
use super::support::sediment::Sediment;
use sediment::sys::{Random, SeededRandom};
use std::io::Write;
use std::time::Duration;
use tokio::task::block_in_place;

/// What is wrong, and words of what is said of it, or instead of it: by a gateway, then by a restore. None there: it is not in its way.
struct Trouble {
    fault: Fault,
    words: &'static [&'static str],
    restore: Option<&'static str>,
}

const fn trouble(fault: Fault, words: &'static [&'static str], restore: Option<&'static str>) -> Trouble {
    Trouble { fault, words, restore }
}

#[rustfmt::skip]
const TROUBLES: [Trouble; 16] = [
    trouble(Fault::Down, &["unavailable", "the way to it is down"], Some("unavailable")),
    trouble(Fault::Slow(Duration::from_secs(3)), &["timed out", "slow"], None),
    trouble(Fault::Says(503, "SlowDown"), &["throttled", "fewer requests"], Some("SlowDown")),
    trouble(Fault::Says(500, "InternalError"), &["unavailable", "tried again"], Some("InternalError")),
    trouble(Fault::LosesAnswers, &["unavailable", "tried again"], Some("InternalError")),
    trouble(Fault::CutOff, &["wrong answer|unavailable", "tried again"], Some("")),
    trouble(Fault::Short, &["backup verify|cannot hold backups"], Some("")),
    trouble(Fault::Flipped, &["backup verify|cannot hold backups"], Some("")),
    trouble(Fault::Other, &["backup verify|cannot hold backups"], Some("")),
    trouble(Fault::Missing, &["backup verify|cannot hold backups"], Some("")),
    trouble(Fault::Garbage, &["wrong answer", "proxies"], Some("wrong answer")),
    trouble(Fault::ShortList, &["wrong answer", "proxies"], Some("wrong answer")),
    trouble(Fault::Says(403, "ExpiredToken"), &["credentials expired", "renew them"], Some("expired")),
    trouble(Fault::Says(403, "AccessDenied"), &["denied", "check the access key"], Some("denied")),
    trouble(Fault::SaysToWrites(507, "InsufficientStorage"), &["full", "make room"], None),
    trouble(Fault::SaysToWrites(403, "QuotaExceeded"), &["full", "make room"], None),
];

struct Life {
    rig: Backups,
    bodies: Bodies,
    serial: u64,
}

impl Life {
    async fn put_some(&mut self, server: &Sediment) {
        for _ in 0..3 {
            self.serial += 1;
            let (key, len) = (format!("key-{}", self.serial % 5), 300 + 40_000 * (self.serial as usize % 4));
            let body = noise(self.serial, len);
            assert!(put(&without_retries(server), &key, body.clone()).await);
            self.bodies.insert(key, body);
        }
    }

    async fn compare(&self, server: &Sediment, when: &str) {
        assert_eq!(difference(&read(server).await, &self.bodies), "", "i1: {when}");
    }

    fn serve(&self) -> Sediment {
        let mut command = self.rig.serving(&self.rig.store("near"));
        command.env("SEDIMENT_BACKUP__REQUEST_TIMEOUT_SECONDS", "1");
        start(command)
    }

    /// A gateway starts, and is kept from its backup, or is while it runs.
    async fn live_through(&mut self, trouble: &Trouble, after: u64) {
        let near = self.rig.store("near");
        self.rig.proxy.fail(trouble.fault, after);
        let mut server = self.serve();
        self.put_some(&server).await;
        block_in_place(|| server.wait_for("the backup failed; it is tried again"));
        let status = self.rig.json(&near, &["backup", "status"]).unwrap();
        let failure = status["last_failure"].to_string();
        for word in trouble.words {
            assert!(
                word.split('|').any(|word| failure.contains(word)),
                "{:?}: no `{word}` in {failure}",
                trouble.fault
            );
        }
        assert!(status["failures_in_a_row"].as_u64().unwrap() > 0, "{status}");
        self.put_some(&server).await;
        self.compare(&server, "while its backup fails").await;
        assert_eq!(server.admin_get("/readyz").0, 200, "i5: {:?}", trouble.fault);
        self.rig.proxy.reset();
        let ran = (0..4).find_map(|_| self.rig.json(&near, &["backup", "run"]).ok());
        assert!(ran.is_some(), "{:?}: it does not catch up", trouble.fault);
        let status = self.rig.json(&near, &["backup", "status"]).unwrap();
        assert_eq!(
            (&status["lag_records"], &status["failures_in_a_row"]),
            (&0.into(), &0.into()),
            "{status}"
        );
        stop(server);
    }

    async fn restore(&self, trouble: &Trouble, after: u64) {
        let to = self.rig.store("to");
        self.rig.proxy.fail(trouble.fault, after);
        let told = self.rig.json(&to, &["restore", "--latest"]);
        match (trouble.restore, told) {
            (None, told) => assert!(told.is_ok(), "{told:?}"),
            (Some(word), Err(said)) => {
                assert!(said.contains(word), "{:?}: no `{word}` in {said}", trouble.fault);
            }
            (Some(_), Ok(told)) => panic!("{:?} did not matter: {told}", trouble.fault),
        }
        self.rig.proxy.reset();
        if trouble.restore.is_some() {
            self.rig.json(&to, &["restore", "--latest"]).unwrap();
        }
        let server = block_in_place(|| Sediment::serve(&to, &[]));
        self.compare(&server, "restored").await;
        stop(server);
        self.rig.json(&self.rig.store("near"), &["backup", "verify", "--read-data", "--all"]).unwrap();
    }
}

async fn suffer(trouble: &'static Trouble, far: String, number: usize, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let rig = Backups::beside(dir, &far, &format!("store-{number}")).await;
    let mut life = Life { rig, bodies: Bodies::new(), serial: 0 };
    let server = life.serve();
    server.client().create_bucket().bucket(BUCKET).send().await.unwrap();
    life.put_some(&server).await;
    life.rig.json(&life.rig.store("near"), &["backup", "run"]).unwrap();
    stop(server);
    let dice = SeededRandom::new(seed ^ number as u64);
    life.live_through(trouble, dice.u64() % 2).await;
    life.restore(trouble, dice.u64() % 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_i5_a_remote_in_trouble_is_named_waited_for_and_caught_up_with() {
    let seed = std::env::var("SEDIMENT_BACKUP_SEED");
    let seed = seed.map_or(u64::from(std::process::id()), |text| text.parse().expect("SEDIMENT_BACKUP_SEED"));
    let _ = writeln!(std::io::stderr(), "SEDIMENT_BACKUP_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let far = far(dir.path()).await;
    let lives = TROUBLES.iter().enumerate();
    let begin = |(number, trouble)| {
        let far = far.s3.clone();
        tokio::spawn(alone(async move || suffer(trouble, far, number, seed).await))
    };
    let lives: Vec<_> = lives.map(begin).collect();
    let mut failed = 0;
    for life in lives {
        failed += usize::from(life.await.is_err());
    }
    assert_eq!(failed, 0, "of {} troubles, above", TROUBLES.len());
}
