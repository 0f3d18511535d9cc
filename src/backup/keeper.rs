//! What keeps a store backed up: it has the lease, ships the log every few seconds, and makes snapshots now and then.
//!
//! One at a time: whatever is asked for while something else is done waits for it. What fails is tried again, more and more slowly;
//! [`Keeper::status`] says since when and why. Beside that, what is in the bucket is looked at now and then ([`care`]): verified, mended,
//! restored for practice. That takes long, and nothing of it holds up shipping.

mod care;
mod drilling;
mod outcomes;
mod pruning;
mod room;
mod status;
#[cfg(test)]
mod tests;
mod verifying;
mod work;

pub use care::CareParts;
pub use outcomes::{DrillDone, SnapshotFound, VerifyAsk, VerifyOutcome};
pub use pruning::PruneOutcome;
pub use status::{BackupStatus, CareStatus, Failure, KeeperState, RunOutcome};

use super::retention::RetentionSettings;
use super::{
    Alerts, BackupKey, Claim, NewRepository, RemoteRecords, Repository, RestoreProgress, ShipProgress,
    ShipSettings, ShownProgress, ShownVerify, SnapshotName, Source, VerifyProgress, World,
};
use crate::remote::Remote;
use crate::types::UnixMillis;
use care::Care;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// What backups are made of, and where they go.
#[derive(Debug, Clone)]
pub struct KeeperParts {
    pub source: Source,
    pub remote: Arc<dyn Remote>,
    pub key: BackupKey,
    pub new: NewRepository,
    pub world: World,
    /// For people: who has the lease.
    pub holder: String,
    /// What this data directory has written of the lease; `None`: after a crash it is waited for.
    pub claim: Option<Arc<Claim>>,
    pub ship: ShipSettings,
    /// From one round to the next.
    pub interval: Duration,
    pub snapshot_interval: Duration,
    pub prune: PruneParts,
    pub care: CareParts,
    /// Told what somebody should know.
    pub alerts: Alerts,
    /// Told what is in the bucket, after each snapshot.
    pub records: Arc<RemoteRecords>,
}

/// What is deleted, and when.
#[derive(Debug, Clone)]
pub struct PruneParts {
    pub retention: RetentionSettings,
    /// Objects that stay are locked so long.
    pub lock: Option<Duration>,
    /// From one to the next; zero: only when asked to.
    pub interval: Duration,
}

/// Keeps one store backed up.
#[derive(Debug, Clone)]
pub struct Keeper(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: KeeperParts,
    state: Mutex<State>,
    progress: Arc<Mutex<ShipProgress>>,
    /// Somebody wants something now.
    poked: Notify,
    verifying: ShownVerify,
    drilling: ShownProgress,
    /// Something to look at.
    care_poked: Notify,
    /// Held by who looks at what is there, or deletes some of it: one at a time, or what goes would pass for lost.
    looking: tokio::sync::Mutex<()>,
    /// Counts what has come to an end, well or not.
    ends: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    shown: KeeperState,
    held_by: Option<String>,
    repository: Option<Arc<Repository>>,
    epoch: Option<u32>,
    /// Everything that was committed before is in the bucket, and can be restored.
    covered: Option<UnixMillis>,
    shipped: Option<(u64, UnixMillis)>,
    last_snapshot: Option<(SnapshotName, UnixMillis)>,
    failure: Option<Failure>,
    failures_in_a_row: u32,
    wanted: Wanted,
    done: Option<RunOutcome>,
    /// When the first round began.
    began: Option<UnixMillis>,
    prunes_wanted: u64,
    pruned: Option<PruneOutcome>,
    /// The store has let go of the backup, and there has been no snapshot since.
    given_up: bool,
    care: Care,
}

/// A snapshot that somebody asked for.
#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    number: u64,
    full: bool,
}

impl Keeper {
    #[must_use]
    pub fn new(parts: KeeperParts) -> Self {
        Self(Arc::new(Shared {
            parts,
            state: Mutex::default(),
            progress: Arc::new(Mutex::new(ShipProgress::default())),
            poked: Notify::new(),
            verifying: Arc::new(Mutex::new(VerifyProgress::default())),
            drilling: Arc::new(Mutex::new(RestoreProgress::default())),
            care_poked: Notify::new(),
            looking: tokio::sync::Mutex::default(),
            ends: watch::Sender::default(),
        }))
    }

    /// Asks for a snapshot as soon as possible. Several that wait are one. Its number is in [`RunOutcome`] once it is done.
    #[must_use]
    pub fn ask(&self, full: bool) -> u64 {
        let mut state = self.0.state.lock();
        // One that is being made may have begun before whatever the asker wants to be in it.
        state.wanted.number += 1;
        state.wanted.full |= full;
        let number = state.wanted.number;
        drop(state);
        self.0.poked.notify_one();
        number
    }

    /// Asks that what no rule keeps is deleted as soon as possible. Its number is in [`PruneOutcome`] once it is done.
    #[must_use]
    pub fn ask_prune(&self) -> u64 {
        let mut state = self.0.state.lock();
        state.prunes_wanted += 1;
        let number = state.prunes_wanted;
        drop(state);
        self.0.poked.notify_one();
        number
    }

    /// Asks that snapshots are verified as soon as possible, and what is damaged sent again. Several that wait are one, of the widest scope. Its
    /// number is in [`VerifyOutcome`] once it is done.
    #[must_use]
    pub fn ask_verify(&self, percent: u8, all: bool) -> u64 {
        let mut state = self.0.state.lock();
        let wanted = &mut state.care.verify_wanted;
        wanted.number += 1;
        wanted.percent = wanted.percent.max(percent);
        wanted.all |= all;
        let number = wanted.number;
        drop(state);
        self.0.care_poked.notify_one();
        number
    }

    /// Asks for a drill as soon as possible. Its number is in [`DrillDone`] once it is done.
    #[must_use]
    pub fn ask_drill(&self) -> u64 {
        let mut state = self.0.state.lock();
        state.care.drill_wanted += 1;
        let number = state.care.drill_wanted;
        drop(state);
        self.0.care_poked.notify_one();
        number
    }

    /// Changes whenever a round, a look or an attempt has ended: then the status may be another.
    #[must_use]
    pub fn ends(&self) -> watch::Receiver<u64> {
        self.0.ends.subscribe()
    }

    /// Where alerts are raised.
    #[must_use]
    pub fn alerts(&self) -> &Alerts {
        &self.0.parts.alerts
    }

    /// The repository, once it was opened.
    #[must_use]
    pub fn repository(&self) -> Option<Arc<Repository>> {
        self.0.state.lock().repository.clone()
    }

    /// Until it is stopped; then the lease is given back.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(work::run(&self.0, &stop), care::run(&self.0, &stop));
        self.0.state.lock().shown = KeeperState::Stopped;
        self.0.ended();
    }
}

impl Shared {
    fn ended(&self) {
        self.ends.send_modify(|ends| *ends += 1);
    }
}
