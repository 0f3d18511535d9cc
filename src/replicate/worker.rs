//! The worker: follows the log, scans buckets with new rules, and sees that every destination has its lane.

use super::follow::{Asked, Ruled};
use super::lane::Lane;
use super::{ReplicationSettings, Reports, Targets, scan};
use crate::engine::BodyStore;
use crate::meta::{
    ChangeLog, Commit, CommitError, Consumer, LogRecord, MetaError, MetaStore, ReplicationChange,
    ReplicationReads, Route, VersionKind, Voyage,
};
use crate::sys::{Clock, Random};
use crate::types::{BucketId, CommitSeq, DestinationArn, ObjectKey, UnixMillis, VersionId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Records that are followed at once.
const RECORDS: usize = 1000;
/// Clients write all the time: their records are followed together.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_secs(5);
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// A cursor is set up at the end of a log that grows meanwhile.
const SET_UP_ATTEMPTS: usize = 20;

/// What replication works with.
#[derive(Debug, Clone)]
pub struct ReplicationParts {
    pub meta: Arc<dyn MetaStore>,
    pub log: Arc<dyn ChangeLog>,
    pub reads: Arc<dyn ReplicationReads>,
    pub bodies: Arc<dyn BodyStore>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub targets: Targets,
    pub settings: ReplicationSettings,
    pub reports: Reports,
}

/// The parts, and the rules as they are now.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) meta: Arc<dyn MetaStore>,
    pub(super) log: Arc<dyn ChangeLog>,
    pub(super) reads: Arc<dyn ReplicationReads>,
    pub(super) bodies: Arc<dyn BodyStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) targets: Targets,
    pub(super) settings: ReplicationSettings,
    pub(super) reports: Reports,
    pub(super) ruled: watch::Sender<Arc<Ruled>>,
}

impl Shared {
    pub(super) const fn longest_pause(&self) -> Duration {
        Duration::from_secs(self.settings.longest_pause_seconds)
    }
}

/// Replicates for as long as the server runs.
#[derive(Debug)]
pub struct ReplicationWorker {
    shared: Arc<Shared>,
    lanes: HashMap<DestinationArn, Arc<Notify>>,
    running: TaskTracker,
    started: CommitSeq,
    reported: Option<Instant>,
}

/// How far the log has been followed.
#[derive(Debug)]
struct Followed {
    seen: CommitSeq,
    /// What the durable cursor says; `None`: there is none, and nothing is followed.
    advanced: Option<CommitSeq>,
}

impl ReplicationWorker {
    #[must_use]
    pub fn new(parts: ReplicationParts) -> Self {
        let ReplicationParts { meta, log, reads, bodies, clock, random, targets, settings, reports } = parts;
        let (ruled, _) = watch::channel(Arc::default());
        let shared = Shared { meta, log, reads, bodies, clock, random, targets, settings, reports, ruled };
        Self {
            shared: Arc::new(shared),
            lanes: HashMap::new(),
            running: TaskTracker::new(),
            started: CommitSeq::ZERO,
            reported: None,
        }
    }

    /// Returns when stopped. A store that fails is tried again.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let work = self.work(&stop).await;
            let Err(error) = work else { break };
            tracing::warn!(%error, "replication failed; it goes on in some seconds");
            stop.run_until_cancelled(tokio::time::sleep(RETRY_PAUSE)).await;
        }
        self.running.close();
        self.running.wait().await;
    }

    async fn work(&mut self, stop: &CancellationToken) -> Result<(), CommitError> {
        self.started = self.shared.log.last_seq().await?;
        let mut followed = self.begin().await?;
        while !stop.is_cancelled() {
            let is_behind = self.turn(&mut followed, stop).await?;
            if is_behind {
                continue;
            }
            stop.run_until_cancelled(tokio::time::sleep(FOLLOW_PAUSE)).await;
            let waiting = async {
                tokio::select! {
                    () = self.shared.log.wait_after(followed.seen) => {}
                    () = tokio::time::sleep(REPORT_INTERVAL.min(LONGEST_WAIT)) => {}
                }
            };
            stop.run_until_cancelled(waiting).await;
        }
        Ok(())
    }

    /// Follows the log, scans a page, and reports now and then. Returns whether there is more to be done at once.
    async fn turn(&mut self, followed: &mut Followed, stop: &CancellationToken) -> Result<bool, CommitError> {
        if followed.advanced.is_none() {
            *followed = self.start_over().await?;
        }
        let mut is_behind = false;
        if followed.advanced.is_some() {
            is_behind |= self.follow(followed).await?;
            is_behind |= self.scan(followed.seen).await?;
            if self.shared.ruled.borrow().is_empty() && !is_behind {
                self.stand_by(followed).await?;
            }
        }
        self.tend_lanes(stop).await?;
        self.report(followed.seen).await?;
        Ok(is_behind)
    }

    /// Where the log is followed from. A worker that never ran, or that the log was trimmed behind, knows nothing of
    /// what is there.
    async fn begin(&self) -> Result<Followed, CommitError> {
        let shared = &self.shared;
        let Some(cursor) = shared.log.known_cursor(Consumer::Replication).await? else {
            return self.start_over().await;
        };
        match shared.log.changes_after(cursor, 1).await {
            Ok(_) => {
                self.read_rules().await?;
                Ok(Followed { seen: cursor, advanced: Some(cursor) })
            }
            Err(MetaError::Trimmed(_)) => {
                self.forget().await?;
                self.start_over().await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn forget(&self) -> Result<(), CommitError> {
        let consumer = Consumer::Replication;
        self.shared.meta.commit(Commit::ForgetConsumer { consumer, at: None }).await.map(drop)
    }

    async fn read_rules(&self) -> Result<Arc<Ruled>, MetaError> {
        let ruled = Arc::new(Ruled::new(self.shared.reads.replicated_buckets().await?));
        self.shared.ruled.send_replace(Arc::clone(&ruled));
        Ok(ruled)
    }

    /// While no bucket has rules the log says nothing that matters, and is not held back. Buckets that got some are
    /// scanned from here on: by the rules only what was written behind them counts, or what was there as well.
    async fn start_over(&self) -> Result<Followed, CommitError> {
        let mut seen = self.shared.log.last_seq().await?;
        if self.read_rules().await?.is_empty() {
            return Ok(Followed { seen, advanced: None });
        }
        let mut attempts = 0;
        loop {
            let (consumer, through) = (Consumer::Replication, seen);
            match self.shared.meta.commit(Commit::AdvanceCursor { consumer, through }).await {
                Ok(_) => break,
                // It has to be the end of the log, which has moved.
                Err(CommitError::InvalidState(_)) if attempts < SET_UP_ATTEMPTS => {
                    attempts += 1;
                    seen = self.shared.log.last_seq().await?;
                }
                Err(error) => return Err(error),
            }
        }
        // In this order: rules set in between are met again in the log.
        let ruled = self.read_rules().await?;
        let begin = |bucket| ReplicationChange::Scan { bucket, behind: Some(Vec::new()) };
        self.shared.meta.commit(Commit::Replication(ruled.ids().map(begin).collect())).await?;
        Ok(Followed { seen, advanced: Some(seen) })
    }

    /// No bucket is replicated any more.
    async fn stand_by(&self, followed: &mut Followed) -> Result<(), CommitError> {
        self.forget().await?;
        followed.advanced = None;
        Ok(())
    }

    /// Turns records into notes. Returns whether there are more.
    async fn follow(&mut self, followed: &mut Followed) -> Result<bool, CommitError> {
        let records = self.shared.log.changes_after(followed.seen, RECORDS).await?;
        let Some(last) = records.last().map(|record| record.seq) else { return Ok(false) };
        // Behind the records: so they are at least as new.
        let ruled = self.read_rules().await?;
        let changes = self.changes(&ruled, &records).await?;
        let is_news = !changes.is_empty();
        let touched: Vec<_> = changes.iter().filter_map(touched).cloned().collect();
        if is_news {
            self.shared.meta.commit(Commit::Replication(changes)).await?;
        }
        for destination in touched {
            if let Some(wake) = self.lanes.get(&destination) {
                wake.notify_one();
            }
        }
        followed.seen = last;
        let advanced = followed.advanced.unwrap_or_default();
        // Behind the notes: records that are followed twice do no harm.
        if is_news || last.get().saturating_sub(advanced.get()) >= RECORDS as u64 {
            let (consumer, through) = (Consumer::Replication, last);
            self.shared.meta.commit(Commit::AdvanceCursor { consumer, through }).await?;
            followed.advanced = Some(last);
        }
        Ok(records.len() == RECORDS)
    }

    async fn changes(
        &self,
        ruled: &Ruled,
        records: &[LogRecord],
    ) -> Result<Vec<ReplicationChange>, MetaError> {
        let now = self.shared.clock.now();
        let mut changes = Vec::new();
        for asked in records.iter().flat_map(|record| ruled.follow(record, now)) {
            match asked {
                Asked::Change(change) => changes.push(change),
                Asked::Changed { bucket, key, id, changed, at } => {
                    changes.extend(self.changed(ruled, (bucket, key), id, (changed, at)).await?);
                }
            }
        }
        Ok(changes)
    }

    async fn changed(
        &self,
        ruled: &Ruled,
        (bucket, key): (BucketId, ObjectKey),
        id: VersionId,
        (changed, at): (CommitSeq, UnixMillis),
    ) -> Result<Vec<ReplicationChange>, MetaError> {
        let Some(rules) = ruled.rules(bucket) else { return Ok(Vec::new()) };
        let Some(version) = self.shared.meta.version(bucket, &key, Some(id)).await? else {
            return Ok(Vec::new());
        };
        let VersionKind::Object(data) = &version.kind else { return Ok(Vec::new()) };
        if data.attributes.replica_of.is_some() {
            return Ok(Vec::new());
        }
        let covering = rules.covering(&key, Some(&data.tags)).into_iter();
        let concerned = covering.filter(|rule| rule.concerns(version.seq));
        let of_rule = |destination: &DestinationArn| {
            let route = Route { destination: destination.clone(), bucket, key: key.clone() };
            let voyage = Voyage { route: route.clone(), seq: version.seq };
            let touch = ReplicationChange::Touch { route, from: version.seq, at, touched: changed };
            [ReplicationChange::Changed { voyage, changed }, touch]
        };
        Ok(concerned.flat_map(|rule| of_rule(&rule.destination)).collect())
    }

    /// A page of the first scan under way. Returns whether there was one.
    async fn scan(&mut self, touched: CommitSeq) -> Result<bool, CommitError> {
        let Some(place) = self.shared.reads.replication_scans().await?.into_iter().next() else {
            return Ok(false);
        };
        let ruled = Arc::clone(&self.shared.ruled.borrow());
        let now = self.shared.clock.now();
        let changes = scan::page(self.shared.meta.as_ref(), &ruled, place, (now, touched)).await?;
        self.shared.meta.commit(Commit::Replication(changes)).await?;
        self.lanes.values().for_each(|wake| wake.notify_one());
        Ok(true)
    }

    /// Every destination that keys wait for has a lane.
    async fn tend_lanes(&mut self, stop: &CancellationToken) -> Result<(), MetaError> {
        for destination in self.shared.reads.queued_destinations().await? {
            if self.lanes.contains_key(&destination) {
                continue;
            }
            let wake = Arc::new(Notify::new());
            let lane = Lane {
                shared: Arc::clone(&self.shared),
                destination: destination.clone(),
                wake: Arc::clone(&wake),
                started: self.started,
            };
            self.running.spawn(lane.run(stop.clone()));
            self.lanes.insert(destination, wake);
        }
        Ok(())
    }

    async fn report(&mut self, seen: CommitSeq) -> Result<(), MetaError> {
        if self.reported.is_some_and(|last| last.elapsed() < REPORT_INTERVAL) {
            return Ok(());
        }
        self.reported = Some(Instant::now());
        for destination in self.lanes.keys() {
            let depth = self.shared.reads.queue_depth(destination).await?;
            self.shared.reports.depth(destination, depth);
        }
        let last = self.shared.log.last_seq().await?;
        let records = u32::try_from(last.get().saturating_sub(seen.get())).unwrap_or(u32::MAX);
        let lag = if self.shared.ruled.borrow().is_empty() { 0 } else { records };
        metrics::gauge!("sediment_replication_lag_records").set(lag);
        self.shared.reports.publish(self.shared.clock.now());
        Ok(())
    }
}

fn touched(change: &ReplicationChange) -> Option<&DestinationArn> {
    match change {
        ReplicationChange::Touch { route, .. } => Some(&route.destination),
        _ => None,
    }
}
