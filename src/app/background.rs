//! What runs beside the requests: the index follows the log, garbage is collected, gauges are kept fresh.

use super::disk::Disk;
use super::store::Store;
use super::{metrics, stats, warm};
use crate::admin::Health;
use crate::config::Settings;
use crate::engine::gc::Schedule;
use crate::sys::OsRandom;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const DISK_INTERVAL: Duration = Duration::from_secs(1);
const GAUGE_INTERVAL: Duration = Duration::from_secs(5);

/// All tasks of one server. Stopped and awaited together.
#[derive(Debug)]
pub(super) struct Background {
    /// For whatever makes new log records: it ends first.
    writers: CancellationToken,
    follower: CancellationToken,
    working: TaskTracker,
    following: TaskTracker,
}

impl Background {
    pub(super) fn start(store: &Arc<Store>, disk: &Arc<Disk>, settings: &Settings, health: &Health) -> Self {
        let this = Self {
            writers: CancellationToken::new(),
            follower: CancellationToken::new(),
            working: TaskTracker::new(),
            following: TaskTracker::new(),
        };
        this.follow(store, health);
        let schedule = Schedule::new(store.collector.clone(), Arc::new(OsRandom));
        this.working.spawn(schedule.run(this.writers.clone()));
        this.repeat(DISK_INTERVAL, {
            let disk = Arc::clone(disk);
            move || {
                let disk = Arc::clone(&disk);
                async move {
                    let _ = tokio::task::spawn_blocking(move || disk.look()).await;
                }
            }
        });
        this.repeat(GAUGE_INTERVAL, {
            let store = Arc::clone(store);
            move || {
                let store = Arc::clone(&store);
                async move {
                    stats::refresh(store.parts()).await;
                    metrics::upkeep();
                }
            }
        });
        if settings.cache.memory_bytes > 0 {
            let (store, stop) = (Arc::clone(store), this.writers.clone());
            this.working.spawn(async move { stop.run_until_cancelled(warm::warm(&store)).await });
        }
        this
    }

    /// A follower that cannot follow leaves the process alive but not fit for traffic: nothing is collected, and the
    /// log only grows.
    fn follow(&self, store: &Arc<Store>, health: &Health) {
        let (follower, stop) = (store.follower(), self.follower.clone());
        let trouble = follower.trouble();
        health.watch(Box::new(move || {
            let trouble = trouble.borrow();
            trouble.as_ref().map(|why| format!("the chunk index cannot follow the change log: {why}"))
        }));
        self.following.spawn(async move {
            if let Err(error) = follower.run(stop).await {
                tracing::warn!(%error, "the chunk index is not durable; the next start reads the change log again");
            }
        });
    }

    fn repeat<F, T>(&self, every: Duration, work: F)
    where
        F: Fn() -> T + Send + 'static,
        T: Future<Output = ()> + Send,
    {
        let stop = self.writers.clone();
        self.working.spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                work().await;
            }
        });
    }

    /// Cancelled when a stop begins.
    pub(super) fn token(&self) -> CancellationToken {
        self.writers.clone()
    }

    /// The follower goes last: a collection under way waits for it.
    pub(super) async fn stop(self) {
        self.writers.cancel();
        self.working.close();
        self.working.wait().await;
        self.follower.cancel();
        self.following.close();
        self.following.wait().await;
    }
}
