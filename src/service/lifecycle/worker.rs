//! The worker: follows the log, scans buckets with new rules, looks at keys that are due.

use super::evaluate::{Act, Evaluation};
use super::follow::Ruled;
use super::scan;
use crate::meta::{
    AgendaChange, ChangeLog, Commit, CommitError, Consumer, DeleteCondition, DueKey, LifecycleReads,
    ListQuery, MetaError, MetaStore, ScanPosition, UploadEntry, VersionTarget,
};
use crate::service::ServiceSettings;
use crate::sys::Clock;
use crate::types::{CommitSeq, LifecycleDay, LifecycleRules, UnixMillis};
use futures::{FutureExt, StreamExt, TryStreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Records that are followed at once.
const RECORDS: usize = 1000;
/// Keys that are looked at together.
const KEYS: usize = 64;
/// Keys whose commits are under way at once: enough to share syncs, few beside those of clients.
const CONCURRENCY: usize = 16;
/// The most that is taken away of one key before others have their turn.
const ACTS: usize = 256;
/// Versions or uploads of one key that are read at once.
const HISTORY: usize = 1000;
/// Wall clocks jump: the agenda is looked at again no later than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Clients write all the time: their records are followed together.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);
/// After the store failed.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Takes away what the rules let expire, for as long as the server runs.
#[derive(Debug, Clone)]
pub struct LifecycleWorker {
    meta: Arc<dyn MetaStore>,
    log: Arc<dyn ChangeLog>,
    reads: Arc<dyn LifecycleReads>,
    clock: Arc<dyn Clock>,
    settings: ServiceSettings,
}

/// How far the worker has got.
#[derive(Debug)]
pub(in crate::service) struct Worked {
    ruled: Ruled,
    seen: CommitSeq,
    /// What the durable cursor says: not more than it has to.
    advanced: CommitSeq,
}

/// What looking at one key came to.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    acts: usize,
    /// Something that was due stayed: a lock keeps it, or it has changed.
    kept: bool,
    next: Option<UnixMillis>,
}

impl Outcome {
    fn add(&mut self, is_done: bool) {
        self.acts += 1;
        self.kept |= !is_done;
    }
}

/// What looking at several keys came to.
#[derive(Debug, Clone, Copy, Default)]
struct Looked {
    keys: usize,
    acts: usize,
    is_unfinished: bool,
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
                let mut worked = Worked { ruled: Ruled::default(), seen: cursor, advanced: cursor };
                self.start_over(&mut worked).await
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
        // Decisions are made by the rules as they are now, never by those of the log's past.
        let rules = Ruled::new(self.reads.buckets_with_rules().await?);
        let scanned = self.scan(&rules, progress.seen).await?;
        let looked = self.look(&rules).await?;
        let is_behind = scanned > 0 || looked.keys == KEYS || looked.is_unfinished;
        Ok(Turn { keys: scanned + looked.keys + looked.acts, is_behind })
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
        let mut progress = Worked { ruled: Ruled::default(), seen: cursor, advanced: cursor };
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
        let changes: Vec<_> = records.iter().filter_map(|record| ruled.follow(record, self.day())).collect();
        let is_news = !changes.is_empty();
        if is_news {
            self.meta.commit(Commit::Agenda(changes)).await?;
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
    async fn scan(&self, rules: &Ruled, seen: CommitSeq) -> Result<usize, CommitError> {
        let Some((bucket, position)) = self.reads.scans().await?.into_iter().next() else { return Ok(0) };
        let changes = match rules.rules(bucket) {
            None => vec![AgendaChange::Scan { bucket, position: None }],
            Some(rules) => scan::page(self.meta.as_ref(), bucket, position, rules, self.day(), seen).await?,
        };
        let count = changes.len();
        self.meta.commit(Commit::Agenda(changes)).await?;
        Ok(count)
    }

    /// Looks at keys that are due.
    async fn look(&self, rules: &Ruled) -> Result<Looked, CommitError> {
        let now = self.clock.now();
        let due = self.reads.due_keys(now, KEYS).await?;
        let late_millis = due.first().map_or(0, |due| now.get().saturating_sub(due.at.get().max(0)));
        metrics::gauge!("sediment_lifecycle_late_seconds").set(late_millis as f64 / 1000.0);
        let looks: Vec<_> = due.into_iter().map(|due| self.settle(rules, due, now).boxed()).collect();
        let looked: Vec<_> = futures::stream::iter(looks).buffer_unordered(CONCURRENCY).try_collect().await?;
        let mut total = Looked { keys: looked.len(), ..Looked::default() };
        let mut settled = Vec::with_capacity(looked.len());
        for (change, outcome) in looked {
            settled.push(change);
            total.acts += outcome.acts;
            total.is_unfinished |= outcome.acts >= ACTS;
        }
        if !settled.is_empty() {
            self.meta.commit(Commit::Agenda(settled)).await?;
        }
        Ok(total)
    }

    async fn settle(
        &self,
        rules: &Ruled,
        due: DueKey,
        now: UnixMillis,
    ) -> Result<(AgendaChange, Outcome), CommitError> {
        let tomorrow = UnixMillis::new(now.get().saturating_add(self.day().millis()));
        let outcome = match rules.rules(due.bucket) {
            None => Outcome::default(),
            Some(rules) => match self.look_at(rules, &due, now).await {
                // One row that cannot be read must not stop the others.
                Err(CommitError::Store(MetaError::Corrupt(why))) => {
                    tracing::error!(%why, bucket = due.bucket.get(), "lifecycle rules cannot be carried out on a key");
                    Outcome { kept: true, ..Outcome::default() }
                }
                looked => looked?,
            },
        };
        // What a lock kept, or a client changed in between, is looked at again a day later; the rest of many at once.
        let rest = (outcome.acts >= ACTS).then_some(now);
        let again = outcome.kept.then_some(tomorrow);
        let next = outcome.next.into_iter().chain(again).chain(rest).min();
        let DueKey { bucket, key, touched, .. } = due;
        Ok((AgendaChange::Settle { bucket, key, touched, next }, outcome))
    }

    /// Carries out what the rules say of a key now: at most [`ACTS`] at a time.
    async fn look_at(
        &self,
        rules: &LifecycleRules,
        due: &DueKey,
        now: UnixMillis,
    ) -> Result<Outcome, CommitError> {
        let mut evaluation = Evaluation::new(rules, &due.key, now, self.day());
        let mut outcome = Outcome::default();
        let mut before = None;
        loop {
            let page = self.reads.history(due.bucket, &due.key, before, HISTORY).await?;
            let is_alone = before.is_none() && page.len() == 1;
            for version in &page {
                if let Some(act) = evaluation.version(version, is_alone) {
                    outcome.add(self.carry_out(due, act).await?);
                }
                if outcome.acts >= ACTS {
                    return Ok(outcome);
                }
            }
            before = page.last().map(|version| version.seq);
            if page.len() < HISTORY {
                break;
            }
        }
        self.abort_uploads(due, &mut evaluation, &mut outcome).await?;
        outcome.next = evaluation.next();
        Ok(outcome)
    }

    async fn abort_uploads(
        &self,
        due: &DueKey,
        evaluation: &mut Evaluation<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), CommitError> {
        let mut query =
            ListQuery { prefix: due.key.as_bytes().to_vec(), limit: HISTORY, ..ListQuery::default() };
        loop {
            let page = self.meta.list_uploads(due.bucket, query.clone()).await?;
            for entry in page.entries {
                // The key itself comes before all that only begins like it.
                let UploadEntry::Upload { id, key, initiated, .. } = entry else { return Ok(()) };
                if key != due.key || outcome.acts >= ACTS {
                    return Ok(());
                }
                if let Some(act) = evaluation.upload(id, initiated) {
                    outcome.add(self.carry_out(due, act).await?);
                }
            }
            let Some(next) = page.next else { return Ok(()) };
            query.from = next;
        }
    }

    /// Whether it is done, or was no longer to be done: not when a lock keeps it or it has changed.
    async fn carry_out(&self, due: &DueKey, act: Act<'_>) -> Result<bool, CommitError> {
        let remove = |target, condition| Commit::DeleteVersion {
            bucket: due.bucket,
            key: due.key.clone(),
            target,
            condition,
            bypass_governance: false,
        };
        let (action, commit) = match act {
            Act::Expire { seq } => {
                let condition = DeleteCondition { seq: Some(seq), ..DeleteCondition::default() };
                ("expire", remove(VersionTarget::Current, condition))
            }
            Act::RemoveNoncurrent { id, seq } => {
                let (seq, current) = (Some(seq), Some(false));
                let condition = DeleteCondition { seq, current, ..DeleteCondition::default() };
                ("remove-noncurrent", remove(VersionTarget::Version(id), condition))
            }
            // By its commit: a null marker may be a null object by now.
            Act::RemoveMarker { id, seq } => {
                let condition = DeleteCondition { seq: Some(seq), ..DeleteCondition::default() };
                ("remove-marker", remove(VersionTarget::Version(id), condition))
            }
            Act::Transition { id, seq, class } => {
                let (bucket, key, storage_class) = (due.bucket, due.key.clone(), class.to_owned());
                ("transition", Commit::Transition { bucket, key, id, seq, storage_class })
            }
            Act::AbortUpload { id } => ("abort-upload", Commit::AbortUpload { upload: id }),
        };
        match self.meta.commit(commit).await {
            Ok(_) => {
                metrics::counter!("sediment_lifecycle_actions_total", "action" => action).increment(1);
                Ok(true)
            }
            Err(
                CommitError::NoSuchKey
                | CommitError::IsDeleteMarker
                | CommitError::NoSuchUpload
                | CommitError::NoSuchBucket,
            ) => Ok(true),
            Err(CommitError::Locked | CommitError::ConditionFailed) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Until the next key is due.
    async fn pause(&self) -> Result<Duration, CommitError> {
        let Some(next) = self.reads.next_due().await? else { return Ok(LONGEST_PAUSE) };
        let millis = u64::try_from(next.get().saturating_sub(self.clock.now().get())).unwrap_or(0);
        Ok(Duration::from_millis(millis).min(LONGEST_PAUSE))
    }

    const fn day(&self) -> LifecycleDay {
        LifecycleDay::of_seconds(self.settings.lifecycle_day_seconds)
    }
}
