//! The whole of it: several keys at a time.

use super::chosen::{Chosen, MOST_VERSIONS, Selection, Then, Wanted, bytes};
use super::decide::to_write;
use super::join::{Join, Pair};
use super::{ChangeKind, ObjectFailure, ObjectSink, SelectError, SelectReport, SelectedChange};
use crate::backup::restore::{ShownProgress, done, phase};
use crate::engine::BodyStore;
use crate::meta::{Bucket, MetaStore};
use crate::remote::{BucketFacts, Class, Patience, ReplicaHistory};
use crate::sys::Clock;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_util::sync::CancellationToken;

/// Buckets that are named when the one that was asked for was not there.
const NAMED_BUCKETS: usize = 20;

/// From where and to where.
#[derive(Debug, Clone)]
pub struct SelectParts {
    /// The rows of the moment.
    pub meta: Arc<dyn MetaStore>,
    /// Their bytes. `None`: nothing is written, only told.
    pub bodies: Option<Arc<dyn BodyStore>>,
    pub sink: Arc<dyn ObjectSink>,
    pub clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone)]
pub struct SelectSettings {
    /// What the keys begin with at the target, before their own names.
    pub into_prefix: String,
    /// What was not there then is deleted from what was selected.
    pub delete: bool,
    /// Keys at a time.
    pub at_once: usize,
    /// With the target, and with a backup that does not answer.
    pub patience: Patience,
}

/// One run, shared by the keys that it is at.
pub(super) struct Work {
    pub(super) parts: SelectParts,
    pub(super) selection: Selection,
    pub(super) settings: SelectSettings,
    pub(super) bucket: Bucket,
    pub(super) facts: BucketFacts,
    /// The target does not know conditions of writes.
    pub(super) is_unconditional: AtomicBool,
    pub(super) stop: CancellationToken,
    progress: ShownProgress,
    report: Mutex<SelectReport>,
    ended: Mutex<Option<SelectError>>,
}

/// Writes what differs, until all is as it was then. `tell` is called for each key before anything is done to it; if nothing is
/// to be done at all, in their order. The report is of what was done, also when it ended before its end.
pub async fn select(
    parts: SelectParts,
    selection: Selection,
    settings: SelectSettings,
    (progress, stop): (&ShownProgress, &CancellationToken),
    tell: &(dyn Fn(&SelectedChange) + Send + Sync),
) -> (SelectReport, Result<(), SelectError>) {
    match Work::begin(parts, selection, settings, progress, stop.child_token()).await {
        Ok(work) => {
            let ended = work.run(tell).await;
            (work.report.into_inner(), ended)
        }
        Err(error) => (SelectReport::default(), Err(error)),
    }
}

impl Work {
    async fn begin(
        parts: SelectParts,
        selection: Selection,
        settings: SelectSettings,
        progress: &ShownProgress,
        stop: CancellationToken,
    ) -> Result<Self, SelectError> {
        let Some(bucket) = parts.meta.bucket(&selection.bucket).await? else {
            return Err(no_bucket(&*parts.meta, &selection).await?);
        };
        let mut work = Self {
            parts,
            selection,
            settings,
            bucket,
            facts: BucketFacts { has_versions: false, has_lock: false },
            is_unconditional: AtomicBool::new(false),
            stop,
            progress: Arc::clone(progress),
            report: Mutex::default(),
            ended: Mutex::default(),
        };
        work.facts = work.look().await?;
        Ok(work)
    }

    async fn look(&self) -> Result<BucketFacts, SelectError> {
        let facts = self.patiently(async || Ok(self.parts.sink.facts().await?)).await;
        let facts = facts.map_err(|error| match error {
            SelectError::Target(error) if error.class == Class::Gone => SelectError::Unfit(format!(
                "there is no bucket `{}` at the target: make it first",
                error.what
            )),
            error => error,
        })?;
        if self.selection.all_versions && !facts.has_versions {
            let why = "the target keeps no versions: turn versioning on there, or leave --all-versions out";
            return Err(SelectError::Unfit(why.to_owned()));
        }
        Ok(facts)
    }

    fn chosen(&self) -> Chosen {
        Chosen::new(Arc::clone(&self.parts.meta), self.bucket.id, self.selection.clone())
    }

    async fn run(&self, tell: &(dyn Fn(&SelectedChange) + Send + Sync)) -> Result<(), SelectError> {
        self.count().await?;
        let at_once = self.settings.at_once.max(1);
        let pairs = stream::unfold(Join::new(self, self.chosen()), |mut join| async move {
            if self.stop.is_cancelled() {
                return None;
            }
            match join.next().await {
                Ok(pair) => pair.map(|pair| (pair, join)),
                Err(error) => {
                    self.end(error);
                    None
                }
            }
        });
        let works = pairs.map(|pair| self.one(pair, tell));
        // Whoever reads what would be done wants it in order; who does it, soon.
        if self.parts.bodies.is_some() {
            works.buffer_unordered(at_once).for_each(async |()| ()).await;
        } else {
            works.buffered(at_once).for_each(async |()| ()).await;
        }
        match self.ended.lock().take() {
            Some(error) => Err(error),
            None if self.stop.is_cancelled() => Err(SelectError::Stopped),
            None => Ok(()),
        }
    }

    /// What there is to do at most, for whoever waits.
    async fn count(&self) -> Result<(), SelectError> {
        let (mut chosen, mut total) = (self.chosen(), 0);
        while let Some(wanted) = chosen.next().await? {
            total += wanted.bytes();
        }
        phase(&self.progress, "objects", total);
        Ok(())
    }

    /// Nothing more is begun, and what is under way is given up.
    fn end(&self, error: SelectError) {
        self.ended.lock().get_or_insert(error);
        self.stop.cancel();
    }

    async fn one(&self, pair: Pair, tell: &(dyn Fn(&SelectedChange) + Send + Sync)) {
        let (key, all) = (pair.key.clone(), pair.wanted.as_ref().map_or(0, Wanted::bytes));
        match self.bring(pair, tell).await {
            Ok(change) => self.report.lock().count(&change),
            Err(SelectError::Stopped) => return,
            Err(error) if error.is_of_object() => {
                let (why, is_damage) = (error.to_string(), error.is_damage());
                self.report.lock().fail(ObjectFailure { key, why, is_damage });
            }
            Err(error) => return self.end(error),
        }
        done(&self.progress, all);
    }

    async fn bring(
        &self,
        pair: Pair,
        tell: &(dyn Fn(&SelectedChange) + Send + Sync),
    ) -> Result<SelectedChange, SelectError> {
        let at = format!("{}{}", self.settings.into_prefix, pair.key);
        let writes = match &pair.wanted {
            Some(wanted) => self.writes(&at, wanted, &pair).await?,
            None => &[],
        };
        let kind = match (&pair.wanted, pair.now) {
            (None, _) if self.settings.delete => ChangeKind::Delete,
            (None, _) => ChangeKind::Leave,
            (Some(_), _) if writes.is_empty() => ChangeKind::Leave,
            (Some(_), None) => ChangeKind::Create,
            (Some(_), Some(_)) => ChangeKind::Replace,
        };
        let then = pair.wanted.as_ref().and_then(|wanted| wanted.versions.last()?.object);
        let change = SelectedChange {
            kind,
            key: pair.key.clone(),
            then,
            now: pair.now,
            writes: writes.len(),
            bytes: bytes(writes),
        };
        tell(&change);
        let Some(bodies) = &self.parts.bodies else { return Ok(change) };
        let done = async |only| {
            if kind == ChangeKind::Delete {
                self.patiently(async || Ok(self.parts.sink.delete(&at, only).await?)).await?;
            }
            if let Some(wanted) = &pair.wanted {
                for then in writes {
                    self.write(&**bodies, &at, &wanted.key, (then, only)).await?;
                }
            }
            Ok(())
        };
        if self.guarded(&at, &change, done).await? {
            return Ok(change);
        }
        self.report.lock().overtaken(&change.key);
        Ok(SelectedChange { kind: ChangeKind::Leave, writes: 0, bytes: 0, ..change })
    }

    async fn writes<'w>(&self, at: &str, wanted: &'w Wanted, pair: &Pair) -> Result<&'w [Then], SelectError> {
        if self.selection.all_versions {
            let history =
                self.patiently(async || Ok(self.parts.sink.history(at, MOST_VERSIONS).await?)).await?;
            return Ok(to_write(&wanted.versions, &history, self.settings.delete));
        }
        let there = ReplicaHistory { objects: pair.now.into_iter().collect(), is_deleted: false };
        Ok(to_write(&wanted.versions, &there, self.settings.delete))
    }

    /// Does again what may succeed later. Both sides may be away for a while.
    pub(super) async fn patiently<T>(
        &self,
        call: impl AsyncFn() -> Result<T, SelectError>,
    ) -> Result<T, SelectError> {
        let patience = self.settings.patience;
        let mut pause = patience.first_pause;
        for _ in 1..patience.attempts {
            match self.once(call()).await {
                Err(error) if error.may_pass() => {}
                ended => return ended,
            }
            self.once(async {
                tokio::time::sleep(pause).await;
                Ok(())
            })
            .await?;
            pause = (pause * 2).min(patience.longest_pause);
        }
        self.once(call()).await
    }

    async fn once<T>(&self, call: impl Future<Output = Result<T, SelectError>>) -> Result<T, SelectError> {
        self.stop.run_until_cancelled(call).await.unwrap_or(Err(SelectError::Stopped))
    }
}

async fn no_bucket(meta: &dyn MetaStore, selection: &Selection) -> Result<SelectError, SelectError> {
    let buckets = meta.buckets(None, NAMED_BUCKETS).await?;
    let names: Vec<_> = buckets.iter().map(|bucket| bucket.name.to_string()).collect();
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let why = format!("there was no bucket `{}` then; there were: {there}", selection.bucket);
    Ok(SelectError::Unfit(why))
}
