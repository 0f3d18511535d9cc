//! The worker: follows the log, scans buckets with new rules, looks at keys that are due.

use super::follow::Ruled;
use super::look::{KEYS, Walks};
use super::scan::{BucketScan, bucket_name};
use crate::meta::{
    AgendaChange, ChangeLog, Commit, CommitError, Consumer, LifecycleReads, MetaError, MetaStore,
    ScanPosition,
};
use crate::service::ServiceSettings;
use crate::sys::{Clock, FailPoint};
use crate::types::{BucketId, CommitSeq, LifecycleDay};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Records that are followed at once.
const RECORDS: usize = 1000;
/// Wall clocks jump: the agenda is looked at again no later than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Clients write all the time: their records are followed together.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);
/// After the store failed.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Takes away what the rules let expire, for as long as the server runs.
#[derive(Debug, Clone)]
pub struct LifecycleWorker {
    pub(super) meta: Arc<dyn MetaStore>,
    log: Arc<dyn ChangeLog>,
    pub(super) reads: Arc<dyn LifecycleReads>,
    pub(super) clock: Arc<dyn Clock>,
    settings: ServiceSettings,
}

/// How far the worker has got.
#[derive(Debug)]
pub(in crate::service) struct Worked {
    ruled: Ruled,
    seen: CommitSeq,
    /// What the durable cursor says: not more than it has to.
    advanced: CommitSeq,
    /// The rules that decide, as they are now.
    rules: Ruled,
    /// Looks under way, by those rules.
    walks: Walks,
    /// Buckets whose scan cannot go on; they are tried again by other rules, or by a worker started anew.
    stuck: HashSet<BucketId>,
}

impl Worked {
    fn at(cursor: CommitSeq) -> Self {
        Self {
            ruled: Ruled::default(),
            seen: cursor,
            advanced: cursor,
            rules: Ruled::default(),
            walks: Walks::default(),
            stuck: HashSet::new(),
        }
    }

    fn go_by(&mut self, rules: Ruled) {
        if rules != self.rules {
            self.rules = rules;
            self.walks = Walks::default();
            self.stuck.clear();
        }
    }
}

/// What one turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::service) struct Turn {
    /// Keys scanned or looked at, and what was taken away.
    pub keys: usize,
    /// There is more to be done at once.
    pub is_behind: bool,
}

impl LifecycleWorker {
    #[must_use]
    pub fn new(
        meta: Arc<dyn MetaStore>,
        log: Arc<dyn ChangeLog>,
        reads: Arc<dyn LifecycleReads>,
        clock: Arc<dyn Clock>,
        settings: ServiceSettings,
    ) -> Self {
        Self { meta, log, reads, clock, settings }
    }

    /// Returns when stopped. A store that fails is tried again.
    pub async fn run(self, stop: CancellationToken) {
        if !self.settings.lifecycle_enabled {
            return self.stand_by(stop).await;
        }
        while !stop.is_cancelled() {
            let Err(error) = self.work(&stop).await else { return };
            tracing::warn!(%error, "the lifecycle worker failed; it goes on in some seconds");
            stop.run_until_cancelled(tokio::time::sleep(RETRY_PAUSE)).await;
        }
    }

    /// Without lifecycles the log is not held back. Whoever enables them again scans all buckets with rules.
    async fn stand_by(&self, stop: CancellationToken) {
        loop {
            let stood = async {
                let cursor = self.log.cursor(Consumer::Lifecycle).await?;
                self.start_over(&mut Worked::at(cursor)).await
            };
            if let Err(error) = stood.await {
                tracing::warn!(%error, "the log is held back by lifecycle rules that are not carried out");
            }
            if stop.run_until_cancelled(tokio::time::sleep(LONGEST_PAUSE)).await.is_none() {
                return;
            }
        }
    }

    async fn work(&self, stop: &CancellationToken) -> Result<(), CommitError> {
        let mut progress = self.begin().await?;
        while !stop.is_cancelled() {
            let turn = self.turn(&mut progress).await?;
            let rate = f64::from(self.settings.lifecycle_keys_per_second.max(1));
            let spent = Duration::from_secs_f64(turn.keys as f64 / rate);
            let pause = if turn.is_behind { spent } else { spent.max(FOLLOW_PAUSE) };
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            if turn == Turn::default() {
                let due = self.pause().await?;
                let waiting = async {
                    tokio::select! {
                        () = self.log.wait_after(progress.seen) => {}
                        () = tokio::time::sleep(due) => {}
                    }
                };
                stop.run_until_cancelled(waiting).await;
            }
        }
        Ok(())
    }

    /// Follows the log, scans a page of a bucket that has to be, and looks at some keys that are due.
    pub(in crate::service) async fn turn(&self, progress: &mut Worked) -> Result<Turn, CommitError> {
        if progress.ruled.is_empty() {
            self.start_over(progress).await?;
        }
        // The log first, and all of it: it must never be held back by what is looked at.
        while self.follow(progress).await? == RECORDS {}
        // Decisions are made by the rules as they are now, never by those of the log's past. The position first: a
        // commit is refused if rules were set behind it, so it must not be ahead of those that are read.
        let as_of = self.log.last_seq().await?;
        progress.go_by(Ruled::new(self.reads.buckets_with_rules().await?));
        let scanned = self.scan(progress).await?;
        let looked = self.look(&progress.rules, &mut progress.walks, as_of).await?;
        let is_behind = scanned > 0 || looked.keys == KEYS || looked.is_unfinished;
        Ok(Turn { keys: scanned + looked.cost, is_behind })
    }

    /// Where the log is followed from. A worker that never ran, or that the log was trimmed behind, knows nothing of
    /// what is there: it scans every bucket that has rules.
    pub(in crate::service) async fn begin(&self) -> Result<Worked, CommitError> {
        let cursor = self.log.cursor(Consumer::Lifecycle).await?;
        let is_whole = match self.log.changes_after(cursor, 1).await {
            Ok(_) => cursor > CommitSeq::ZERO,
            Err(MetaError::Trimmed(_)) => false,
            Err(error) => return Err(error.into()),
        };
        let mut progress = Worked::at(cursor);
        if is_whole {
            progress.ruled = Ruled::new(self.reads.buckets_with_rules().await?);
        } else {
            self.start_over(&mut progress).await?;
        }
        Ok(progress)
    }

    /// While no bucket has rules the log says nothing that matters, and is not read. Buckets that got some are
    /// scanned from here on.
    async fn start_over(&self, progress: &mut Worked) -> Result<(), CommitError> {
        // In this order: rules set in between are met again in the log.
        progress.seen = self.log.last_seq().await?;
        progress.ruled = Ruled::new(self.reads.buckets_with_rules().await?);
        let start =
            |bucket| AgendaChange::Scan { bucket, position: Some(ScanPosition::Versions(Vec::new())) };
        let scans: Vec<_> = progress.ruled.ids().map(start).collect();
        if !scans.is_empty() {
            self.meta.commit(Commit::Agenda(scans)).await?;
            self.advance(progress).await?;
        } else if progress.advanced > CommitSeq::ZERO && self.is_far(progress) {
            self.advance(progress).await?;
        }
        Ok(())
    }

    /// Far enough ahead of its durable cursor for another one.
    const fn is_far(&self, progress: &Worked) -> bool {
        progress.seen.get() - progress.advanced.get() >= RECORDS as u64
    }

    /// Applies records to the agenda. Returns how many there were.
    async fn follow(&self, progress: &mut Worked) -> Result<usize, CommitError> {
        let records = self.log.changes_after(progress.seen, RECORDS).await?;
        let Some(last) = records.last().map(|record| record.seq) else { return Ok(0) };
        let ruled = &mut progress.ruled;
        let (day, now) = (self.day(), self.clock.now());
        let changes: Vec<_> = records.iter().filter_map(|record| ruled.follow(record, day, now)).collect();
        let is_news = !changes.is_empty();
        if is_news {
            self.meta.commit(Commit::Agenda(changes)).await?;
            FailPoint::LifecycleFollowed.pass().map_err(MetaError::from)?;
        }
        progress.seen = last;
        // Behind the agenda: records that are followed twice do no harm.
        if is_news || self.is_far(progress) {
            self.advance(progress).await?;
        }
        Ok(records.len())
    }

    async fn advance(&self, progress: &mut Worked) -> Result<(), CommitError> {
        let (consumer, through) = (Consumer::Lifecycle, progress.seen);
        self.meta.commit(Commit::AdvanceCursor { consumer, through }).await?;
        progress.advanced = through;
        Ok(())
    }

    /// A page of the first scan under way. Returns how many changes it made to the agenda.
    async fn scan(&self, progress: &mut Worked) -> Result<usize, CommitError> {
        let scans = self.reads.scans().await?;
        let mut going = scans.into_iter().filter(|(bucket, _)| !progress.stuck.contains(bucket));
        let Some((bucket, position)) = going.next() else { return Ok(0) };
        let changes = match progress.rules.rules(bucket) {
            None => vec![AgendaChange::Scan { bucket, position: None }],
            Some(rules) => {
                let (meta, reads) = (self.meta.as_ref(), self.reads.as_ref());
                let (day, now, touched) = (self.day(), self.clock.now(), progress.seen);
                let scan = BucketScan { meta, reads, bucket, rules, day, now, touched };
                match scan.page(position).await {
                    // The other buckets, and the keys that are due, must not wait for what cannot be read.
                    Err(MetaError::Corrupt(why)) => {
                        let name = bucket_name(reads, bucket).await;
                        tracing::error!(
                            why,
                            bucket = name,
                            "new lifecycle rules do not reach all of a bucket"
                        );
                        progress.stuck.insert(bucket);
                        return Ok(1);
                    }
                    changes => changes?,
                }
            }
        };
        let count = changes.len();
        self.meta.commit(Commit::Agenda(changes)).await?;
        FailPoint::LifecycleScanned.pass().map_err(MetaError::from)?;
        Ok(count)
    }

    /// Until the next key is due.
    async fn pause(&self) -> Result<Duration, CommitError> {
        let Some(next) = self.reads.next_due().await? else { return Ok(LONGEST_PAUSE) };
        let millis = u64::try_from(next.get().saturating_sub(self.clock.now().get())).unwrap_or(0);
        Ok(Duration::from_millis(millis).min(LONGEST_PAUSE))
    }

    pub(super) const fn day(&self) -> LifecycleDay {
        LifecycleDay::of_seconds(self.settings.lifecycle_day_seconds)
    }
}
