//! How replication is doing, for people and for gauges.

use crate::meta::QueueDepth;
use crate::remote::{Class, RemoteError};
use crate::types::{DestinationArn, UnixMillis};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DestinationReport {
    pub destination: String,
    /// Keys that wait, up to 100,000.
    pub queued_keys: u64,
    /// How long the oldest of them has waited, in seconds.
    pub lag_seconds: u64,
    /// Since the server was started.
    pub copied_versions: u64,
    pub copied_bytes: u64,
    /// Of those, what was not sent because it was there.
    #[serde(default)]
    pub spared_bytes: u64,
    pub refused_versions: u64,
    /// Since when nothing succeeds, in milliseconds since the epoch.
    pub failing_since: Option<i64>,
    /// What the last failure was.
    pub last_failure: Option<String>,
}

/// What one destination has come to since the start.
#[derive(Debug, Clone, Default)]
struct Tally {
    target: String,
    copied_versions: u64,
    copied_bytes: u64,
    spared_bytes: u64,
    refused_versions: u64,
    failing_since: Option<UnixMillis>,
    last_failure: Option<String>,
    class: Option<Class>,
    depth: QueueDepth,
}

/// Shared by all lanes. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Reports {
    tallies: Arc<Mutex<BTreeMap<DestinationArn, Tally>>>,
}

impl Reports {
    fn change(&self, destination: &DestinationArn, change: impl FnOnce(&mut Tally)) {
        change(self.tallies.lock().entry(destination.clone()).or_default());
    }

    /// The target that metrics and notes call it by: they hold no names of buckets (I6).
    pub(super) fn is_at(&self, destination: &DestinationArn, target: &str) {
        self.change(destination, |tally| target.clone_into(&mut tally.target));
    }

    pub(super) fn copied(&self, destination: &DestinationArn, bytes: u64) {
        metrics::counter!("sediment_replication_versions_total", "result" => "copied").increment(1);
        metrics::counter!("sediment_replication_bytes_total").increment(bytes);
        self.change(destination, |tally| {
            tally.copied_versions += 1;
            tally.copied_bytes += bytes;
            (tally.failing_since, tally.class) = (None, None);
        });
    }

    /// Of a body, or a part of one, that has arrived.
    pub(super) fn spared(&self, destination: &DestinationArn, bytes: u64) {
        metrics::counter!("sediment_replication_spared_bytes_total").increment(bytes);
        self.change(destination, |tally| tally.spared_bytes += bytes);
    }

    pub(super) fn changed(&self, destination: &DestinationArn) {
        metrics::counter!("sediment_replication_versions_total", "result" => "changed").increment(1);
        self.change(destination, |tally| (tally.failing_since, tally.class) = (None, None));
    }

    pub(super) fn refused(&self, destination: &DestinationArn, why: &RemoteError) {
        metrics::counter!("sediment_replication_versions_total", "result" => "refused").increment(1);
        self.change(destination, |tally| {
            tally.refused_versions += 1;
            tally.last_failure = Some(why.to_string());
        });
    }

    pub(super) fn failed(&self, destination: &DestinationArn, why: &RemoteError, now: UnixMillis) {
        metrics::counter!("sediment_replication_failures_total", "class" => why.class.name()).increment(1);
        self.change(destination, |tally| {
            tally.failing_since = tally.failing_since.or(Some(now));
            (tally.last_failure, tally.class) = (Some(why.to_string()), Some(why.class));
        });
    }

    pub(super) fn depth(&self, destination: &DestinationArn, depth: QueueDepth) {
        self.change(destination, |tally| tally.depth = depth);
    }

    /// Gauges by target: the sum of what waits, and the longest wait.
    pub(super) fn publish(&self, now: UnixMillis) {
        let mut targets: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for tally in self.tallies.lock().values() {
            let (keys, seconds) = targets.entry(tally.target.clone()).or_default();
            *keys += tally.depth.keys;
            *seconds = (*seconds).max(lag_seconds(tally.depth, now));
        }
        for (target, (keys, seconds)) in targets {
            let keys = u32::try_from(keys).unwrap_or(u32::MAX);
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            metrics::gauge!("sediment_replication_queued_keys", "target" => target.clone()).set(keys);
            metrics::gauge!("sediment_replication_lag_seconds", "target" => target).set(seconds);
        }
    }

    /// What is wrong, in a line without names of buckets or keys.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let tallies = self.tallies.lock();
        let failing = tallies.values().filter(|tally| tally.failing_since.is_some());
        let (target, class) = failing.filter_map(|tally| Some((&tally.target, tally.class?))).next()?;
        Some(format!("replication to the target `{target}` fails: {class}: {}", class.advice()))
    }

    #[must_use]
    pub fn all(&self, now: UnixMillis) -> Vec<DestinationReport> {
        let tallies = self.tallies.lock();
        let report = |(destination, tally): (&DestinationArn, &Tally)| DestinationReport {
            destination: destination.to_string(),
            queued_keys: tally.depth.keys,
            lag_seconds: lag_seconds(tally.depth, now),
            copied_versions: tally.copied_versions,
            copied_bytes: tally.copied_bytes,
            spared_bytes: tally.spared_bytes,
            refused_versions: tally.refused_versions,
            failing_since: tally.failing_since.map(UnixMillis::get),
            last_failure: tally.last_failure.clone(),
        };
        tallies.iter().map(report).collect()
    }
}

fn lag_seconds(depth: QueueDepth, now: UnixMillis) -> u64 {
    let waits = depth.oldest.map_or(0, |oldest| now.get().saturating_sub(oldest.get()));
    u64::try_from(waits / 1000).unwrap_or(0)
}
