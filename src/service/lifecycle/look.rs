//! Looking at keys that are due: what the rules say of each now is carried out, a piece at a time.

use super::LifecycleWorker;
use super::evaluate::{Act, Evaluation, Resumed};
use super::follow::Ruled;
use super::scan::bucket_name;
use crate::meta::{
    Above, AgendaChange, Commit, CommitError, DeleteCondition, DueKey, HistoryEntry, ListQuery, MetaError,
    UploadEntry, VersionTarget,
};
use crate::sys::FailPoint;
use crate::types::{BucketId, CommitSeq, LifecycleRules, ObjectKey, UnixMillis};
use futures::{FutureExt, StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Keys that are looked at together.
pub(super) const KEYS: usize = 64;
/// Keys whose commits are under way at once: enough to share syncs, few beside those of clients.
const CONCURRENCY: usize = 16;
/// The most that is taken away of one key before others have their turn.
const ACTS: usize = 256;
/// The most versions of one key that are read before others have their turn.
const HISTORY: usize = 1000;
/// So many versions read count as one key.
const VERSIONS_OF_A_KEY: usize = 100;
/// The most looks that are remembered. One more begins anew each time, until there is room.
const WALKS: usize = 1024;

/// Where the look at a key with a long history is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    /// The last version that was looked at.
    behind: CommitSeq,
    /// When it was written.
    since: UnixMillis,
    /// The last version that stayed.
    above: CommitSeq,
    /// When something further up has to be looked at again.
    next: Option<UnixMillis>,
    /// Of the agenda's entry when the look began.
    touched: CommitSeq,
}

/// Looks that are not at their end, in memory alone: a restart begins them anew.
#[derive(Debug, Default)]
pub(super) struct Walks(HashMap<(BucketId, ObjectKey), Walk>);

impl Walks {
    fn take(&mut self, due: &DueKey) -> Option<Walk> {
        self.0.remove(&(due.bucket, due.key.clone()))
    }

    fn keep(&mut self, due: &DueKey, walk: Walk) {
        if self.0.len() < WALKS {
            self.0.insert((due.bucket, due.key.clone()), walk);
        }
    }
}

/// What one pass over keys that are due goes by.
#[derive(Debug)]
struct Pass<'p> {
    rules: &'p Ruled,
    /// The position of the log that they are no older than.
    rules_as_of: CommitSeq,
    now: UnixMillis,
    /// Rules were set meanwhile: nothing more is done by these.
    is_over: AtomicBool,
}

impl Pass<'_> {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// What looking at one key came to.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    acts: usize,
    versions: usize,
    /// Something that was due stayed: it has changed, or was locked just now.
    kept: bool,
    next: Option<UnixMillis>,
    is_unfinished: bool,
    walk: Option<Walk>,
}

/// What looking at several keys came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Looked {
    pub keys: usize,
    /// In keys.
    pub cost: usize,
    pub is_unfinished: bool,
}

impl Looked {
    fn add(&mut self, outcome: &Outcome) {
        self.keys += 1;
        self.cost += 1 + outcome.acts + outcome.versions / VERSIONS_OF_A_KEY;
        self.is_unfinished |= outcome.is_unfinished;
    }
}

/// A look at one key.
#[derive(Debug)]
struct Look<'l> {
    pass: &'l Pass<'l>,
    due: &'l DueKey,
    evaluation: Evaluation<'l>,
    /// The version directly above the next one.
    above: Option<CommitSeq>,
    outcome: Outcome,
}

impl Look<'_> {
    fn is_full(&self) -> bool {
        self.outcome.acts >= ACTS || self.pass.is_over()
    }

    /// What must still be so at the commit.
    fn condition(&self, version: &HistoryEntry) -> DeleteCondition {
        let tags = version.object.as_ref().map(|object| object.tags.clone());
        DeleteCondition {
            seq: Some(version.seq),
            tags: tags.filter(|_| self.evaluation.minds_tags()),
            above: self.above.map_or(Above::Nothing, Above::Version),
            newer: self.evaluation.stays().map(|stays| stays.saturating_add(1)),
            rules_as_of: Some(self.pass.rules_as_of),
            ..DeleteCondition::default()
        }
    }

    /// The commit that carries an act out, and what metrics call it.
    fn commit(&self, act: Act<'_>, condition: DeleteCondition) -> (&'static str, Commit) {
        let (bucket, key) = (self.due.bucket, self.due.key.clone());
        let rules_as_of = Some(self.pass.rules_as_of);
        let remove = |key, target, condition| Commit::DeleteVersion {
            bucket,
            key,
            target,
            condition,
            bypass_governance: false,
        };
        match act {
            Act::Expire => ("expire", remove(key, VersionTarget::Current, condition)),
            Act::RemoveNoncurrent { id } => {
                ("remove-noncurrent", remove(key, VersionTarget::Version(id), condition))
            }
            // By its commit, since a null marker may be a null object by now. Still on top it is alone: nothing comes below.
            Act::RemoveMarker { id } => ("remove-marker", remove(key, VersionTarget::Version(id), condition)),
            Act::Transition { id, class } => {
                let storage_class = class.to_owned();
                ("transition", Commit::Transition { bucket, key, id, storage_class, condition })
            }
            Act::AbortUpload { id } => ("abort-upload", Commit::AbortUpload { upload: id, rules_as_of }),
        }
    }
}

impl LifecycleWorker {
    /// Looks at keys that are due, by rules as they were behind `rules_as_of`.
    pub(super) async fn look(
        &self,
        rules: &Ruled,
        walks: &mut Walks,
        rules_as_of: CommitSeq,
    ) -> Result<Looked, CommitError> {
        let now = self.clock.now();
        let due = self.reads.due_keys(now, KEYS).await?;
        let late_millis = due.first().map_or(0, |due| now.get().saturating_sub(due.at.get().max(0)));
        metrics::gauge!("sediment_lifecycle_late_seconds").set(late_millis as f64 / 1000.0);
        let pass = Pass { rules, rules_as_of, now, is_over: AtomicBool::new(false) };
        let looks: Vec<_> = due
            .into_iter()
            .map(|due| {
                let walk = walks.take(&due);
                self.look_at_one(&pass, due, walk).boxed()
            })
            .collect();
        let looked: Vec<_> = futures::stream::iter(looks).buffer_unordered(CONCURRENCY).try_collect().await?;
        let mut total = Looked::default();
        let mut settled = Vec::with_capacity(looked.len());
        for (due, began, outcome) in looked {
            total.add(&outcome);
            if let Some(walk) = outcome.walk {
                walks.keep(&due, walk);
            }
            settled.push(self.settle(due, began, &outcome, now));
        }
        if pass.is_over() {
            // All of them stay due, and are looked at by the new rules.
            return Ok(Looked { is_unfinished: true, ..total });
        }
        if !settled.is_empty() {
            FailPoint::LifecycleSettle.pass().map_err(MetaError::from)?;
            self.meta.commit(Commit::Agenda(settled)).await?;
        }
        Ok(total)
    }

    /// When to look at a key again. What is left of a long history has its turn behind all that is due now; at the end
    /// of it the key is looked at anew if it was touched since the beginning.
    fn settle(&self, due: DueKey, walk: Option<Walk>, outcome: &Outcome, now: UnixMillis) -> AgendaChange {
        let DueKey { bucket, key, touched, .. } = due;
        if outcome.is_unfinished {
            return AgendaChange::Settle { bucket, key, touched, next: Some(now) };
        }
        let tomorrow = UnixMillis::new(now.get().saturating_add(self.day().millis()));
        let next = outcome.next.into_iter().chain(outcome.kept.then_some(tomorrow)).min();
        let touched = walk.map_or(touched, |walk| walk.touched);
        AgendaChange::Settle { bucket, key, touched, next }
    }

    async fn look_at_one(
        &self,
        pass: &Pass<'_>,
        due: DueKey,
        walk: Option<Walk>,
    ) -> Result<(DueKey, Option<Walk>, Outcome), CommitError> {
        let Some(rules) = pass.rules.rules(due.bucket) else { return Ok((due, None, Outcome::default())) };
        let outcome = match self.look_at(pass, rules, &due, walk).await {
            // One row that cannot be read must not stop the others.
            Err(CommitError::Store(MetaError::Corrupt(why))) => {
                let (bucket, key) = (bucket_name(self.reads.as_ref(), due.bucket).await, &due.key);
                tracing::error!(why, bucket, ?key, "lifecycle rules cannot be carried out on a key");
                Outcome { kept: true, ..Outcome::default() }
            }
            looked => looked?,
        };
        Ok((due, walk, outcome))
    }

    /// Carries out what the rules say of a key now: of at most [`HISTORY`] versions, and at most [`ACTS`] at a time;
    /// then of its uploads.
    async fn look_at(
        &self,
        pass: &Pass<'_>,
        rules: &LifecycleRules,
        due: &DueKey,
        walk: Option<Walk>,
    ) -> Result<Outcome, CommitError> {
        let mut evaluation = Evaluation::new(rules, &due.key, pass.now, self.day());
        if let Some(Walk { behind, since, next, .. }) = walk {
            let noncurrent = self.noncurrent(due, behind, evaluation.most_kept()).await?;
            evaluation = evaluation.resume(Resumed { since, noncurrent, next });
        }
        let above = walk.map(|walk| walk.above);
        let mut look = Look { pass, due, evaluation, above, outcome: Outcome::default() };
        let behind = walk.map(|walk| walk.behind);
        let page = self.reads.history(due.bucket, &due.key, behind, HISTORY).await?;
        let is_alone = behind.is_none() && page.len() == 1;
        let mut last = behind;
        for version in &page {
            if look.is_full() {
                break;
            }
            self.decide(&mut look, version, is_alone).await?;
            last = Some(version.seq);
        }
        let touched = walk.map_or(due.touched, |walk| walk.touched);
        let is_through = page.len() < HISTORY && last == page.last().map(|version| version.seq).or(behind);
        if is_through {
            self.abort_uploads(&mut look).await?;
        }
        let mut outcome = look.outcome;
        outcome.versions = page.len();
        outcome.next = look.evaluation.next();
        if !is_through || look.is_full() {
            outcome.is_unfinished = true;
            outcome.walk = Self::rest(&look, last, touched);
        }
        Ok(outcome)
    }

    /// Where the look goes on.
    fn rest(look: &Look<'_>, last: Option<CommitSeq>, touched: CommitSeq) -> Option<Walk> {
        let again = look.outcome.kept.then(|| look.evaluation.tomorrow());
        let next = look.evaluation.next().into_iter().chain(again).min();
        Some(Walk { behind: last?, since: look.evaluation.since()?, above: look.above?, next, touched })
    }

    /// How many noncurrent versions there are down to `behind`, as far as a rule counts: at most `most`.
    async fn noncurrent(&self, due: &DueKey, behind: CommitSeq, most: u32) -> Result<u32, MetaError> {
        if most == 0 {
            return Ok(0);
        }
        let with_current = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(1);
        let newest = self.reads.history(due.bucket, &due.key, None, with_current).await?;
        let newer = newest.iter().filter(|version| version.seq >= behind).count();
        Ok(u32::try_from(newer.saturating_sub(1)).unwrap_or(u32::MAX))
    }

    async fn decide(
        &self,
        look: &mut Look<'_>,
        version: &HistoryEntry,
        is_alone: bool,
    ) -> Result<(), CommitError> {
        let act = look.evaluation.version(version, is_alone);
        let is_done = match act {
            Some(act) => {
                let condition = look.condition(version);
                self.carry_out(look, act, condition).await?
            }
            None => false,
        };
        // A marker hides what expires, or takes its place: the version below sees which at its own commit.
        if !(is_done && matches!(act, Some(Act::RemoveNoncurrent { .. }))) {
            look.above = Some(version.seq);
        }
        Ok(())
    }

    /// They come in the order in which they were begun, so those behind the first that is not due are not either.
    async fn abort_uploads(&self, look: &mut Look<'_>) -> Result<(), CommitError> {
        let (bucket, key) = (look.due.bucket, &look.due.key);
        let query = ListQuery { prefix: key.as_bytes().to_vec(), limit: ACTS + 1, ..ListQuery::default() };
        for entry in self.meta.list_uploads(bucket, query).await?.entries {
            // The key itself comes before all that only begins like it.
            let UploadEntry::Upload { id, key: of, initiated, .. } = entry else { return Ok(()) };
            if of != *key || look.is_full() {
                return Ok(());
            }
            let Some(act) = look.evaluation.upload(id, initiated) else { return Ok(()) };
            self.carry_out(look, act, DeleteCondition::default()).await?;
        }
        Ok(())
    }

    /// Whether it is done, or was no longer to be done: not when a lock keeps it or it has changed.
    async fn carry_out(
        &self,
        look: &mut Look<'_>,
        act: Act<'_>,
        condition: DeleteCondition,
    ) -> Result<bool, CommitError> {
        let (action, commit) = look.commit(act, condition);
        look.outcome.acts += 1;
        FailPoint::LifecycleAct.pass().map_err(MetaError::from)?;
        match self.meta.commit(commit).await {
            Ok(_) => {
                FailPoint::LifecycleActed.pass().map_err(MetaError::from)?;
                metrics::counter!("sediment_lifecycle_actions_total", "action" => action).increment(1);
                Ok(true)
            }
            Err(
                CommitError::NoSuchKey
                | CommitError::IsDeleteMarker
                | CommitError::NoSuchUpload
                | CommitError::NoSuchBucket,
            ) => Ok(true),
            Err(CommitError::Locked | CommitError::ConditionFailed) => {
                look.outcome.kept = true;
                Ok(false)
            }
            Err(CommitError::RulesChanged) => {
                look.pass.is_over.store(true, Ordering::Relaxed);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
