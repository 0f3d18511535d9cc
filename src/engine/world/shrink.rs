//! Finding the few operations of a life that make it fail.

use super::crash::{Crash, relive};
use super::life::Life;
use super::ops::Op;
use super::store::Flaws;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
/// Lucks tried for each call.
const LUCKS: u64 = 3;

#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) ops: Vec<Op>,
    /// `None`: it failed while it was lived.
    pub(super) crash: Option<Crash>,
    pub(super) why: String,
    /// Calls to the disk around the crash.
    pub(super) calls: Vec<String>,
}

/// The shortest life found that fails, when operations are left out one by one.
pub(super) async fn shrink(seed: u64, flaws: Flaws, found: Failure) -> Failure {
    let begun = Instant::now();
    let mut shortest = found;
    let mut at = shortest.ops.len();
    while at > 0 && begun.elapsed() < PATIENCE {
        at -= 1;
        let mut ops = shortest.ops.clone();
        ops.remove(at);
        if let Some(failure) = fails(seed, flaws, ops, shortest.crash, begun).await {
            shortest = failure;
            at = shortest.ops.len();
        }
    }
    shortest
}

async fn fails(
    seed: u64,
    flaws: Flaws,
    ops: Vec<Op>,
    crash: Option<Crash>,
    begun: Instant,
) -> Option<Failure> {
    let life = match Life::live(seed, &ops, flaws).await {
        Ok(life) => life,
        Err(why) => return Some(Failure { ops, crash: None, why, calls: Vec::new() }),
    };
    let first = crash?.seed;
    for call in (0..life.fs.calls()).take_while(|_| begun.elapsed() < PATIENCE) {
        for seed in first..first + LUCKS {
            let crash = Crash { call, seed };
            if let Err(why) = relive(&life, crash).await {
                return Some(Failure::within(&life, ops, crash, why));
            }
        }
    }
    None
}

impl Failure {
    pub(super) fn within(life: &Life, ops: Vec<Op>, crash: Crash, why: String) -> Self {
        let calls = life.fs.told(crash.call.saturating_sub(12), 16);
        Self { ops, crash: Some(crash), why, calls }
    }
}
