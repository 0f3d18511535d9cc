//! A life as it would have gone on had it been cut off.

use super::body::Body;
use super::ledger::History;
use super::life::{Life, put_again};
use super::ops::Dice;
use super::store::{Flaws, Store, is_value};
use super::trail::{close, cut_now, scratch};
use super::verify::{Seen, look};
use crate::sys::{FaultCounts, SimulatedFileSystem};
use std::path::PathBuf;
use tempfile::TempDir;

/// Keys from here on no life uses.
const AGAIN: u8 = 100;
const AGAIN_AT_MOST: usize = 6;
/// Calls of an opening until it is cut off, at most.
const RECOVERY_CALLS: u64 = 25;

/// Within which call, and with which luck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crash {
    pub(super) call: usize,
    pub(super) seed: u64,
}

/// What was tried, for the summary.
#[derive(Debug, Clone, Default)]
pub(super) struct Tried {
    pub(super) power_cuts: u64,
    pub(super) kills: u64,
    /// Recoveries that were cut off themselves.
    pub(super) recoveries_cut: u64,
    pub(super) went_on: u64,
    pub(super) cleared: u64,
    pub(super) faults: FaultCounts,
}

struct After {
    fs: SimulatedFileSystem,
    history: History,
    flaws: Flaws,
    dice: Dice,
    index: PathBuf,
    _dir: TempDir,
}

/// # Errors
/// What is wrong.
pub(super) async fn relive(life: &Life, crash: Crash) -> Result<Tried, String> {
    let mut tried = Tried::default();
    let dice = Dice::new(crash.seed.wrapping_mul(0x9E37_79B9).wrapping_add(crash.call as u64));
    let dir = scratch();
    let index = dir.path().join("index");
    let luck = dice.below(u64::MAX);
    let fs = if dice.one_in(5) {
        tried.kills += 1;
        life.trail.killed_at(crash.call, &index);
        life.fs.killed_at(crash.call, luck)
    } else {
        tried.power_cuts += 1;
        life.trail.cut_at(crash.call, &dice, &index);
        life.fs.cut_at(crash.call, luck)
    };
    let (history, flaws) = (life.history.fork(), life.flaws);
    let after = After { fs, history, flaws, dice, index, _dir: dir };
    let store = after.open(&mut tried).await?;
    let seen = look(&store, &life.oracle.allowed_at(crash.call)).await?;
    store.check().await?;
    let mut bodies = life.oracle.bodies();
    let store = if !bodies.is_empty() && !after.dice.one_in(3) {
        tried.went_on += 1;
        while bodies.len() > AGAIN_AT_MOST {
            bodies.swap_remove(after.dice.below(bodies.len() as u64) as usize);
        }
        after.go_on(store, &seen, &bodies, &mut tried).await?
    } else {
        bodies.clear();
        store
    };
    if after.dice.one_in(2) {
        tried.cleared += 1;
        let again = (AGAIN..).take(bodies.len());
        let keys: Vec<u8> = seen.keys.keys().copied().chain(again).collect();
        let uploads: Vec<_> = seen.uploads.keys().copied().collect();
        store.clear(&keys, &uploads).await.map_err(|why| format!("I3: {why}"))?;
    }
    tried.faults = after.fs.fault_counts();
    Ok(tried)
}

impl After {
    /// Opens the store; it may be cut off once or twice before.
    async fn open(&self, tried: &mut Tried) -> Result<Store, String> {
        for _ in 0..2 {
            if self.dice.one_in(3) {
                self.fs.cut_after(1 + self.dice.below(RECOVERY_CALLS));
            }
            let opened = self.open_once().await;
            if !self.fs.is_cut() {
                self.fs.keep_power();
                return opened;
            }
            if let Ok(store) = opened {
                let index = store.index().clone();
                drop(store);
                close(index).await;
            }
            tried.recoveries_cut += 1;
            self.fs.crash();
        }
        self.open_once().await
    }

    async fn open_once(&self) -> Result<Store, String> {
        let opened = Store::open(&self.fs, self.history.clone(), &self.index, self.flaws).await;
        opened.map_err(|error| format!("the store does not open: {error}"))
    }

    /// Stores the same bytes again, which finds what the index has; then the power fails once more.
    async fn go_on(
        &self,
        store: Store,
        seen: &Seen,
        bodies: &[Body],
        tried: &mut Tried,
    ) -> Result<Store, String> {
        if self.dice.one_in(2) {
            store.collect().await.map_err(|error| format!("a collection fails: {error}"))?;
        }
        for (key, body) in (AGAIN..).zip(bodies) {
            put_again(&store, key, *body).await?;
        }
        if self.dice.one_in(2) {
            store.collect().await.map_err(|error| format!("a collection fails: {error}"))?;
        }
        let index = store.index().clone();
        drop(store);
        let durable = index.journal_persisted();
        close(index).await;
        self.fs.crash();
        cut_now(&self.index, durable, &self.dice);
        let store = self.open(tried).await?;
        let old = seen.keys.iter().map(|(key, value)| (*key, value.clone()));
        let new = (AGAIN..).zip(bodies).map(|(key, body)| (key, vec![*body]));
        for (key, value) in old.chain(new) {
            let row = store.row(key).await;
            let (hold, body, size) = row.ok_or_else(|| format!("I1: key {key} is gone later"))?;
            match store.read(hold, &body, size).await {
                Ok(bytes) if is_value(&bytes, &value) => {}
                Ok(_) => return Err(format!("I1: key {key} has other bytes later")),
                Err(error) => return Err(format!("I1: key {key} cannot be read later: {error}")),
            }
        }
        store.check().await?;
        Ok(store)
    }
}
