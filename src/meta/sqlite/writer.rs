//! The one thread that writes. It takes what has queued up, makes the packs durable once, and puts all of it into
//! one transaction: under load, many writes share one wait for the disk.
//!
//! A refused command leaves nothing and the others go on: nearly all are refused before they change anything. For the
//! one that fails half-way the batch is done anew, with a savepoint for each command: one costs as much as the rows
//! of a put (`docs/decisions/015-small-puts.md`). A sync or COMMIT that fails, of the log or of the database, leaves what
//! is on disk unknown, so it poisons the store: no write counts until it is opened anew. A full disk or quota does not:
//! SQLite fails before the transaction's last page is written, and nothing of it counts.

use super::apply::Session;
use super::bodies::EncodedRoot;
use super::cache::RowCache;
use super::checkpoint::Checkpoints;
use super::claim::Claim;
use super::error::{after_failed_sync, damaged, lacks_room, poison};
use super::sql;
use super::state::{self, State};
use super::syncs::{Syncing, Syncs};
use crate::meta::rules::RulesSet;
use crate::meta::times::LockClock;
use crate::meta::{Commit, CommitError, MetaError, NewBody, Outcome};
use crate::sys::{Clock, FailPoint, Random, SyncPace};
use crate::types::CommitSeq;
use rusqlite::{Connection, ffi};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};

/// A write on its way through the queue.
#[derive(Debug)]
pub(super) struct Command {
    commit: Commit,
    root: Option<EncodedRoot>,
    answer: oneshot::Sender<Result<Outcome, CommitError>>,
    claim: Claim,
}

impl Command {
    pub(super) fn new(commit: Commit, answer: oneshot::Sender<Result<Outcome, CommitError>>) -> Self {
        let root = match body(&commit) {
            Some(NewBody::Manifest(root)) => Some(EncodedRoot::new(root)),
            _ => None,
        };
        Self { commit, root, answer, claim: Claim::default() }
    }

    pub(super) fn claim(&self) -> Claim {
        self.claim.clone()
    }
}

fn body(commit: &Commit) -> Option<&NewBody> {
    match commit {
        Commit::PutVersion { object, .. } | Commit::CompleteUpload { object, .. } => Some(&object.body),
        Commit::PutPart { part, .. } => Some(&part.body),
        Commit::ReplacePlain { body, .. } => Some(body),
        _ => None,
    }
}

/// Only a new manifest names bytes that may not be durable: everything else is in a row, or in a file that was synced on
/// its own.
fn names_packed(commit: &Commit) -> bool {
    match commit {
        Commit::Replay(record) => !record.added.is_empty(),
        commit => matches!(body(commit), Some(NewBody::Manifest(_))),
    }
}

/// Why a whole batch did not happen.
#[derive(Debug)]
enum Failure {
    /// For ever: why nothing is written any more.
    Poison(String),
    /// The next batch may work.
    Full,
    /// Nothing was tried: the packs could not be synced for want of descriptors, or the database was locked.
    Busy(&'static str),
    Database(String),
}

impl Failure {
    fn error(&self) -> CommitError {
        CommitError::Store(match self {
            Self::Poison(why) => MetaError::Poisoned(why.clone()),
            Self::Full => MetaError::Io(std::io::ErrorKind::StorageFull.into()),
            Self::Busy(why) => MetaError::Unavailable(why),
            Self::Database(why) => MetaError::Database(why.clone()),
        })
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        MetaError::from(error).into()
    }
}

impl From<MetaError> for Failure {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Self::Full,
            MetaError::Damaged(why) => Self::Poison(damaged(&why)),
            MetaError::Unavailable(why) => Self::Busy(why),
            MetaError::Database(why) => Self::Database(why),
            other => Self::Database(other.to_string()),
        }
    }
}

fn settled(syncing: Syncing) -> std::io::Result<()> {
    syncing.wait().and_then(|()| FailPoint::MetaPacksSynced.pass())
}

/// What is known after a COMMIT that failed, once it is rolled back.
fn failed_commit(error: rusqlite::Error) -> Failure {
    if lacks_room(&error) {
        tracing::warn!(%error, "no room for the metadata database to grow");
        return Failure::Full;
    }
    let why = format!("committing to the metadata database: {error}");
    match MetaError::from(error) {
        MetaError::Damaged(_) => Failure::Poison(damaged(&why)),
        _ => Failure::Poison(after_failed_sync(&why)),
    }
}

/// Commits of no more commands say what a sync takes.
const FEW: usize = 8;

#[derive(Debug)]
pub(super) struct Writer {
    pub db: Connection,
    pub syncs: Syncs,
    pub clock: Arc<dyn Clock>,
    pub lock_clock: LockClock,
    pub random: Arc<dyn Random>,
    pub cache: Arc<RowCache>,
    /// What the database holds: after the last commit.
    pub state: State,
    pub rules: RulesSet,
    pub published: watch::Sender<State>,
    pub checkpoints: Checkpoints,
    pub batch_commands: usize,
    /// Why nothing is written any more, for whoever asks.
    pub poisoned: Arc<OnceLock<String>>,
    /// A batch found no room, for whoever asks.
    pub ran_out: Arc<AtomicBool>,
    pub pace: Arc<SyncPace>,
}

/// A batch in its open transaction.
#[derive(Debug)]
struct Applied {
    state: State,
    /// The row cache's keys of everything that the transaction changes.
    touched: Vec<Vec<u8>>,
    answers: Vec<Result<Outcome, CommitError>>,
}

/// What a command that failed can be undone with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    /// Only the whole transaction.
    All,
    Savepoints,
}

impl Writer {
    /// Serves the queue until it is closed and empty.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut batch = Vec::new();
        while queue.blocking_recv_many(&mut batch, self.batch_commands) > 0 {
            metrics::gauge!("sediment_meta_queue_commands").set(queue.len() as f64);
            // Whoever waited for too long has taken his back.
            batch.retain(|command: &Command| command.claim.take());
            metrics::histogram!("sediment_meta_batch_commands").record(batch.len() as f64);
            if !batch.is_empty() {
                self.serve(std::mem::take(&mut batch));
            }
        }
    }

    pub(super) fn serve(&mut self, batch: Vec<Command>) {
        let done = self.commit(&batch);
        if matches!(done, Err(Failure::Full)) {
            self.ran_out.store(true, Ordering::Relaxed);
        }
        match done {
            // An asker that has gone changes nothing: the write is done.
            Ok(answers) => {
                batch
                    .into_iter()
                    .zip(answers)
                    .for_each(|(command, answer)| drop(command.answer.send(answer)));
                FailPoint::MetaAnswered.pass_or_die();
                // What was answered is in the log, durably.
                if let Err(why) = self.checkpoints.keep_small(&self.db) {
                    poison(&self.poisoned, &after_failed_sync(&why));
                }
            }
            Err(failure) => {
                if let Failure::Poison(why) = &failure {
                    poison(&self.poisoned, why);
                }
                batch.into_iter().for_each(|command| drop(command.answer.send(Err(failure.error()))));
            }
        }
    }

    fn commit(&mut self, batch: &[Command]) -> Result<Vec<Result<Outcome, CommitError>>, Failure> {
        if let Some(why) = self.poisoned.get() {
            return Err(Failure::Poison(why.clone()));
        }
        FailPoint::MetaBegin.pass().map_err(MetaError::from)?;
        let syncing = batch.iter().any(|command| names_packed(&command.commit)).then(|| self.syncs.start());
        let applied = self.apply_batch(batch);
        if let Some(Err(error)) = syncing.map(settled) {
            self.roll_back()?;
            return Err(match error.kind() {
                std::io::ErrorKind::ResourceBusy => Failure::Busy("too many files are open"),
                _ => Failure::Poison(after_failed_sync(&format!("syncing the packs: {error}"))),
            });
        }
        let Applied { state, mut touched, answers } = applied?;
        touched.sort_unstable();
        touched.dedup();
        self.cache.begin(&touched);
        // What many write takes longer, and without a record there may be nothing to sync.
        let tells = batch.len() <= FEW && state.last_seq != self.state.last_seq;
        let committed = self.finish(tells);
        self.cache.end(&touched);
        committed?;
        self.rules.keep();
        self.state = state;
        if state.last_seq > CommitSeq::ZERO {
            self.lock_clock.recorded(state.reached);
        }
        self.published.send_replace(state);
        Ok(answers)
    }

    fn apply_batch(&mut self, batch: &[Command]) -> Result<Applied, Failure> {
        if let Some(applied) = self.attempt(batch, Undo::All)? {
            return Ok(applied);
        }
        let again = self.attempt(batch, Undo::Savepoints)?;
        again.ok_or_else(|| Failure::Database("a command could not be undone".into()))
    }

    /// Applies a batch in a transaction of its own. `None`, and no transaction: a command failed half-way.
    fn attempt(&mut self, batch: &[Command], undo: Undo) -> Result<Option<Applied>, Failure> {
        self.db.prepare_cached(sql::BEGIN)?.execute([])?;
        self.rules.begin();
        let answers = Vec::with_capacity(batch.len());
        let mut applied = Applied { state: self.state, touched: Vec::new(), answers };
        match self.apply_all(batch, undo, &mut applied) {
            Ok(true) => Ok(Some(applied)),
            Ok(false) => self.roll_back().map(|()| None),
            Err(failure) => {
                self.roll_back()?;
                Err(failure)
            }
        }
    }

    fn apply_all(&mut self, batch: &[Command], undo: Undo, applied: &mut Applied) -> Result<bool, Failure> {
        if state::load(&self.db)? != self.state {
            let why = "because another process writes to the metadata database; stop it, then restart";
            return Err(Failure::Poison(why.into()));
        }
        for command in batch {
            if !self.apply_one(command, undo, applied)? {
                return Ok(false);
            }
        }
        if applied.state != self.state {
            state::store(&self.db, &applied.state)?;
        }
        Ok(true)
    }

    /// `false`: it failed half-way and cannot be undone alone.
    fn apply_one(&mut self, command: &Command, undo: Undo, applied: &mut Applied) -> Result<bool, Failure> {
        let before = (applied.state, self.db.total_changes());
        if undo == Undo::Savepoints {
            self.db.prepare_cached(sql::SAVEPOINT)?.execute([])?;
        }
        let (times, salt) = (self.lock_clock.times(self.clock.as_ref()), self.random.u64());
        let Applied { state, touched, .. } = applied;
        let mut session = Session { db: &self.db, state, touched, rules: &mut self.rules };
        let answer = session.apply(command.commit.clone(), command.root.clone(), times, salt);
        if let Err(CommitError::Store(MetaError::Damaged(why))) = &answer {
            return Err(Failure::Poison(damaged(why)));
        }
        if let Err(error) = &answer {
            // SQLite gives up the whole transaction for some errors.
            if self.db.is_autocommit() {
                return Err(match answer {
                    Err(CommitError::Store(error)) => error.into(),
                    _ => Failure::Database(error.to_string()),
                });
            }
            let is_whole = before.1 == self.db.total_changes() && !matches!(error, CommitError::Store(_));
            match undo {
                Undo::All if !is_whole => return Ok(false),
                Undo::All => {}
                Undo::Savepoints => {
                    self.db.prepare_cached(sql::ROLLBACK_TO)?.execute([])?;
                }
            }
            applied.state = before.0;
        }
        if undo == Undo::Savepoints {
            self.db.prepare_cached(sql::RELEASE)?.execute([])?;
        }
        applied.answers.push(answer);
        Ok(true)
    }

    /// `tells`: how long it takes says how long a sync does.
    fn finish(&self, tells: bool) -> Result<(), Failure> {
        let began = Instant::now();
        let committed = self.commit_rows();
        let took = began.elapsed();
        metrics::histogram!("sediment_fsync_seconds", "file" => "meta").record(took);
        let Err(error) = committed else {
            if tells {
                self.pace.took(took);
            }
            return Ok(());
        };
        let failure = failed_commit(error);
        match (self.roll_back(), failure) {
            (Err(poison), Failure::Full) => Err(poison),
            (_, failure) => Err(failure),
        }
    }

    fn commit_rows(&self) -> rusqlite::Result<()> {
        let told = |error: std::io::Error| {
            rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), Some(error.to_string()))
        };
        FailPoint::MetaCommit.pass().map_err(told)?;
        self.db.prepare_cached(sql::COMMIT)?.execute([])?;
        FailPoint::MetaCommitted.pass().map_err(told)
    }

    fn roll_back(&self) -> Result<(), Failure> {
        if self.db.is_autocommit() {
            return Ok(());
        }
        let rolled_back =
            self.db.prepare_cached(sql::ROLLBACK).and_then(|mut statement| statement.execute([]));
        match rolled_back {
            Ok(_) => Ok(()),
            Err(error) => {
                let why = format!("rolling back in the metadata database: {error}");
                Err(Failure::Poison(after_failed_sync(&why)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, failed_commit, ffi};

    #[test]
    fn i2_no_room_heals_but_a_failed_sync_is_for_ever() {
        let failed = |code| failed_commit(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        // An exhausted quota is a write that failed, and so is one to the log's index, which is made larger by writing.
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(failed(code), Failure::Full), "{code}");
        }
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC, ffi::SQLITE_IOERR_READ] {
            assert!(matches!(failed(code), Failure::Poison(_)), "{code}");
        }
    }
}
