//! What runs beside the requests: the index follows the log, garbage is collected, gauges are kept fresh.

use super::backup::{Kept, Settled};
use super::disk::Disk;
use super::lock_clock::LifecycleClock;
use super::replication::Replicating;
use super::store::Store;
use super::{lock_clock, metrics, stamps, stats, warm};
use crate::admin::Health;
use crate::backup::{Condition, LazyProgress, LazyRestore};
use crate::config::Settings;
use crate::engine::check::scrub::{ScrubSchedule, Scrubber};
use crate::engine::gc::{Collector, Schedule};
use crate::meta::{Commit, MetaStore};
use crate::service::LifecycleWorker;
use crate::sys::{Aside, Clock, OsRandom};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const DISK_INTERVAL: Duration = Duration::from_secs(1);
const RESERVE_INTERVAL: Duration = Duration::from_secs(5);
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);
const GAUGE_INTERVAL: Duration = Duration::from_secs(5);
/// Looks at every plain file.
const CENSUS_INTERVAL: Duration = Duration::from_secs(300);

/// All tasks of one server. Stopped and awaited together.
#[derive(Debug)]
pub(super) struct Background {
    /// For whatever makes new log records: it ends first.
    writers: CancellationToken,
    follower: CancellationToken,
    working: TaskTracker,
    following: TaskTracker,
    collector: Collector,
    scrubber: Scrubber,
    restoring: Option<LazyRestore>,
    /// Encrypting and sending takes cores that requests want.
    aside: Option<Aside>,
}

impl Background {
    pub(super) fn start(
        store: &Arc<Store>,
        disk: &Arc<Disk>,
        settings: &Settings,
        (replicating, kept): (&Replicating, Option<&Kept>),
        health: &Health,
    ) -> Self {
        let this = Self {
            writers: CancellationToken::new(),
            follower: CancellationToken::new(),
            working: TaskTracker::new(),
            following: TaskTracker::new(),
            collector: store.collector.clone(),
            scrubber: store.scrubber.clone(),
            restoring: store.restoring.clone(),
            aside: kept.and_then(|_| aside()),
        };
        this.follow(store, health);
        this.live_by_rules(store, settings);
        this.replicate(store, settings, (replicating, health));
        this.restore(health);
        let schedule = Schedule::new(store.collector.clone(), Arc::new(OsRandom));
        this.once_restored(schedule.run(this.writers.clone()));
        this.scrub(health);
        if let Some(kept) = kept {
            this.back_up(kept, settings, health);
        }
        this.rechunk(store, disk);
        this.repeat(DISK_INTERVAL, {
            let (store, disk) = (Arc::clone(store), Arc::clone(disk));
            move || {
                let disk = Arc::clone(&disk);
                stats::publish_memory(&store.parts().memory);
                if store.meta.has_run_out() {
                    disk.ran_out();
                }
                async move {
                    let _ = tokio::task::spawn_blocking(move || disk.look()).await;
                }
            }
        });
        this.tend_reserve(disk);
        this.repeat(GAUGE_INTERVAL, {
            let store = Arc::clone(store);
            move || {
                let store = Arc::clone(&store);
                async move {
                    stats::refresh(store.parts(), store.collector.last_plain_census()).await;
                    metrics::upkeep();
                }
            }
        });
        this.tend_lock_clock(store, health);
        this.repeat(CENSUS_INTERVAL, {
            let collector = store.collector.clone();
            move || {
                let collector = collector.clone();
                async move {
                    if let Err(error) = collector.plain_census().await {
                        tracing::debug!(%error, "cannot count the plain files");
                    }
                }
            }
        });
        if settings.cache.memory_bytes > 0 {
            this.warm(store);
        }
        this
    }

    fn warm(&self, store: &Arc<Store>) {
        let (store, stop) = (Arc::clone(store), self.writers.clone());
        self.working
            .spawn(async move { stop.run_until_cancelled(warm::warm(store.parts(), &store.data)).await });
    }

    fn live_by_rules(&self, store: &Arc<Store>, settings: &Settings) {
        let lifecycle = LifecycleWorker::new(
            Arc::clone(&store.meta) as _,
            Arc::clone(&store.meta) as _,
            Arc::clone(&store.meta) as _,
            Arc::new(LifecycleClock(Arc::clone(&store.lock_clock))),
            settings.service.clone(),
        );
        self.working.spawn(lifecycle.run(self.writers.clone()));
    }

    fn replicate(
        &self,
        store: &Arc<Store>,
        settings: &Settings,
        (replicating, health): (&Replicating, &Health),
    ) {
        let reports = replicating.reports.clone();
        health.note(Box::new(move || reports.note()));
        self.working.spawn(replicating.worker(store, settings).run(self.writers.clone()));
    }

    /// Brings what is still in the backup.
    fn restore(&self, health: &Health) {
        let Some(restoring) = self.restoring.clone() else { return };
        let (running, stop) = (restoring.clone(), self.writers.clone());
        self.working.spawn(async move {
            if let Err(error) = running.run(&stop).await {
                tracing::error!(%error, "the end of the restore could not be noted; the next start does it");
            }
        });
        health.note(Box::new(move || {
            let LazyProgress { left_bytes, total_bytes } = restoring.progress();
            let is_under_way = !restoring.is_done();
            is_under_way.then(|| {
                format!("restoring: {left_bytes} of {total_bytes} bytes are in the backup alone; they are fetched when asked for")
            })
        }));
    }

    /// Begins work that needs every byte.
    fn once_restored(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.once_restored_on(&Handle::current(), work);
    }

    fn once_restored_on(&self, runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        let (end, stop) = (self.restoring.as_ref().map(LazyRestore::end), self.writers.clone());
        let work = async move {
            if let Some(end) = end {
                let _ = stop.run_until_cancelled(end.cancelled()).await;
            }
            // When it is stopped before, it returns at once.
            work.await;
        };
        self.working.spawn_on(work, runtime);
    }

    fn scrub(&self, health: &Health) {
        let scrubber = self.scrubber.clone();
        self.once_restored(ScrubSchedule::new(scrubber.clone()).run(self.writers.clone()));
        health.note(Box::new(move || {
            let lost = scrubber.status().lost_objects();
            (lost > 0)
                .then(|| format!("{lost} objects or parts are damaged: `sediment scrub --status` names them"))
        }));
    }

    /// A follower that cannot follow leaves the process alive but not fit for traffic: nothing is collected, and the
    /// log only grows.
    fn follow(&self, store: &Arc<Store>, health: &Health) {
        let (follower, stop) = (store.follower(), self.follower.clone());
        let trouble = follower.trouble();
        health.watch(Box::new(move || {
            if trouble.has_changed().is_err() {
                return Some(
                    "the chunk index no longer follows the change log; restart the server".to_owned(),
                );
            }
            let trouble = trouble.borrow();
            trouble.as_ref().map(|why| format!("the chunk index cannot follow the change log: {why}"))
        }));
        // Not kept open by being watched.
        let watched = Arc::downgrade(store);
        health.note(Box::new(move || {
            let nodes = watched.upgrade()?.parts().index.uncounted_nodes();
            (nodes > 0).then(|| {
                format!(
                    "{nodes} manifest nodes cannot be read, nothing is collected: run `sediment fsck --deep`"
                )
            })
        }));
        self.following.spawn(async move {
            // A task of its own: that it panicked must be seen.
            match tokio::spawn(follower.run(stop)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the chunk index is not durable; the next start reads the change log again");
                }
                Err(error) => tracing::error!(%error, "what applies the change log to the chunk index has died"),
            }
        });
    }

    /// Not while there is no room, nor while the index that it needs does not work.
    fn rechunk(&self, store: &Arc<Store>, disk: &Arc<Disk>) {
        let (disk, failure) = (Arc::clone(disk), store.parts().index.failure());
        let may_work =
            move |bytes| disk.trouble().is_none() && disk.has_room_for(bytes) && failure.borrow().is_none();
        let rechunker = store.engine.rechunker(Arc::clone(&store.meta) as _, Box::new(may_work));
        self.once_restored(rechunker.run(self.writers.clone()));
    }

    /// Its state is looked at every few seconds: whoever asks for health does not wait for it.
    fn back_up(&self, Kept { keeper, hook }: &Kept, settings: &Settings, health: &Health) {
        // What is to be pruned may be what the restore still needs.
        let runtime = self.aside.as_ref().map_or_else(Handle::current, Aside::handle);
        self.once_restored_on(&runtime, keeper.clone().run(self.writers.clone()));
        if let Some(hook) = hook.clone() {
            let posting = keeper.alerts().clone().post_all(hook, Arc::new(OsRandom), self.writers.clone());
            self.working.spawn(posting);
        }
        let rpo_seconds = settings.backup.rpo_seconds;
        let raised = keeper.alerts().raised().remove(&Condition::Rpo);
        let trouble = Arc::new(parking_lot::Mutex::new(Settled::since(raised)));
        let shown = Arc::clone(&trouble);
        health.note(Box::new(move || shown.lock().told().cloned()));
        let keeper = keeper.clone();
        self.repeat(GAUGE_INTERVAL, move || {
            let (keeper, trouble) = (keeper.clone(), Arc::clone(&trouble));
            async move {
                let status = keeper.status().await;
                super::backup::publish(&status);
                if !super::backup::is_known(&status) {
                    return;
                }
                let told = trouble.lock().look(super::backup::trouble(&status, rpo_seconds)).cloned();
                keeper.alerts().set(Condition::Rpo, told);
            }
        });
    }

    fn tend_lock_clock(&self, store: &Arc<Store>, health: &Health) {
        let clock = Arc::clone(&store.lock_clock);
        health.note(Box::new(move || lock_clock::note(&clock)));
        let watched = Arc::downgrade(store);
        health.note(Box::new(move || stamps::note(&*watched.upgrade()?)));
        let store = Arc::clone(store);
        self.repeat(CLOCK_INTERVAL, move || {
            let store = Arc::clone(&store);
            async move {
                stamps::publish(&store);
                keep_lock_clock(&store).await;
            }
        });
    }

    /// Not at once: what lives for seconds needs no reserve.
    fn tend_reserve(&self, disk: &Arc<Disk>) {
        let (disk, stop) = (Arc::clone(disk), self.writers.clone());
        self.working.spawn(async move {
            while stop.run_until_cancelled(sleep(RESERVE_INTERVAL)).await.is_some() {
                let disk = Arc::clone(&disk);
                let _ = tokio::task::spawn_blocking(move || disk.tend_reserve()).await;
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
        // One that was asked for, whose asker may be gone.
        self.collector.idle().await;
        self.scrubber.idle().await;
        self.follower.cancel();
        self.following.close();
        self.following.wait().await;
        if let Some(restoring) = &self.restoring {
            restoring.stop().await;
        }
    }
}

fn aside() -> Option<Aside> {
    Aside::new()
        .inspect_err(|error| tracing::warn!(%error, "the backup takes the threads of requests: it gets none of its own"))
        .ok()
}

/// Publishes the lag; and keeps how far the clock has got: in its file, and for a store to which nobody writes once a day
/// in the metadata, so that the next start can tell a pause from a clock that was set forward.
async fn keep_lock_clock(store: &Arc<Store>) {
    let clock = &store.lock_clock;
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    ::metrics::gauge!("sediment_lock_clock_lag_seconds").set(clock.lag_millis() as f64 / 1000.0);
    let saved = Arc::clone(store);
    let _ = tokio::task::spawn_blocking(move || {
        lock_clock::save(&saved.data.join(lock_clock::NAME), &saved.lock_clock);
    })
    .await;
    let Some(reached) = store.meta.reached() else { return };
    if clock.now().get().saturating_sub(reached.get()) > lock_clock::DAY_MILLIS
        && let Err(error) = store.meta.commit(Commit::Mark).await
    {
        tracing::debug!(%error, "cannot keep how far the clock of locks has got");
    }
}
