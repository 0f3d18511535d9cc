//! Restores of a part, killed at any request to the backup or to the target: the same command again ends well, and the target holds
//! what the store held (I1), nothing twice.
//!
//! `SEDIMENT_BACKUP_KILLS=N` asks for N rounds (default 3), each of a kill on either side; `all` for every request of both, in all three ways.
//! `SEDIMENT_BACKUP_SEED` repeats a run's choices.

use super::support::backups::{End, alone, kills_asked};
use super::support::parts::{Parts, killed_at, run};
use super::support::s3_proxy::{Moment, S3Proxy};
use sediment::sys::{Random, SeededRandom};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

const ROUNDS: u64 = 3;
const WAYS: u64 = 3;

#[derive(Debug, Clone, Copy)]
enum Side {
    Backup,
    Target,
}

struct Life {
    parts: Parts,
    target: S3Proxy,
    data: PathBuf,
    dice: SeededRandom,
    /// That an undisturbed run makes: to the backup, and to the target.
    requests: [u64; 2],
    serial: u64,
    kills: u64,
}

impl Life {
    async fn new(seed: u64) -> Self {
        let parts = Parts::new().await;
        let (target, data) = (S3Proxy::new(&parts.far.s3).await, parts.rig.store("elsewhere"));
        let dice = SeededRandom::new(seed);
        let mut life = Self { parts, target, data, dice, requests: [0; 2], serial: 0, kills: 0 };
        life.ends_well("undisturbed").await;
        life.requests = [life.parts.rig.proxy.requests(), life.target.requests()];
        life
    }

    fn prefix(&self) -> String {
        format!("round-{}/", self.serial)
    }

    /// One write at a time: what of several is still under way when its process is gone may come later.
    fn command(&self) -> std::process::Command {
        let prefix = self.prefix();
        let mut command = self.parts.command(&self.data, (&self.target, &prefix), &["--all-versions"]);
        command.env("SEDIMENT_BACKUP__UPLOADS_IN_FLIGHT", "1");
        command
    }

    async fn ends_well(&mut self, when: &str) {
        self.parts.rig.proxy.reset();
        self.target.reset();
        let said = run(self.command()).unwrap_or_else(|said| panic!("{when}: {said}"));
        let found = self.parts.found(&self.prefix()).await;
        assert!(found == self.parts.then, "i1: {when}: {said}\n{found:?}\nnot {:?}", self.parts.then);
        assert!(!self.data.join("restore-part").exists(), "{when}: something is left behind");
        self.serial += 1;
    }

    async fn strike(&mut self, side: Side, number: u64, way: u64) {
        let moment = match way {
            0 => Moment::Before,
            1 => Moment::Unanswered,
            _ => Moment::Answered(Duration::from_micros(self.dice.u64() % 50_000)),
        };
        let when = format!("{side:?} {number} {moment:?}");
        let proxy = match side {
            Side::Backup => &self.parts.rig.proxy,
            Side::Target => &self.target,
        };
        match killed_at(proxy, self.command(), number, moment).await {
            End::Killed => self.kills += 1,
            End::Itself(output) => assert!(output.status.success(), "{when}: {output:?}"),
        }
        self.ends_well(&when).await;
    }
}

async fn live(seed: u64, rounds: Option<u64>) -> u64 {
    let mut life = Life::new(seed).await;
    for (side, most) in [Side::Backup, Side::Target].into_iter().zip(life.requests) {
        for round in 0..rounds.unwrap_or(most * WAYS) {
            let number = if rounds.is_some() { life.dice.u64() % most } else { round / WAYS };
            life.strike(side, 1 + number, round % WAYS).await;
        }
    }
    life.kills
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_death_at_every_step_of_restoring_a_part_loses_nothing_and_doubles_nothing() {
    let (rounds, seed) = kills_asked(ROUNDS);
    let kills = alone(async move || live(seed, rounds).await).await;
    let _ = writeln!(std::io::stderr(), "{kills} kills of restores of a part, 0 losses");
    assert!(kills > 0);
}
