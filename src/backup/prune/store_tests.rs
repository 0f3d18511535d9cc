//! Real stores that ship, collect, restart and are pruned: whatever the rules keep is restored and compared.

use super::tests::Held;
use super::{Plan, Pruned, Pruner, remote_time};
use crate::backup::retention::{Age, RetentionSettings};
use crate::backup::testing::{TestRemote, open};
use crate::backup::testing_store::{Bodies, TestStore, restore};
use crate::backup::{BackupError, Repository, Shipper, Target};
use crate::remote::{Faulty, MemoryRemote};
use crate::sys::{ManualClock, Random, SeededRandom};
use crate::types::{CommitSeq, UnixMillis};
use std::path::Path;
use std::sync::Arc;

/// Lives of a store; more by `SEDIMENT_PRUNE_SEEDS`.
const SEEDS: u64 = 2;
const STEPS: u64 = 20;

struct Life {
    seed: u64,
    random: SeededRandom,
    clock: Arc<ManualClock>,
    remote: TestRemote,
    repository: Arc<Repository>,
    store: TestStore,
    bodies: Bodies,
    /// What there was at each record that was the last one shipped.
    moments: Vec<(CommitSeq, UnixMillis, Bodies)>,
}

impl Life {
    async fn new(seed: u64, dir: &Path) -> Self {
        let store = TestStore::open(&dir.join("store")).await;
        let clock = Arc::new(ManualClock::at(store.now()));
        let remote = Arc::new(Faulty::new(MemoryRemote::new(clock.clone())));
        let repository = open(&remote, true).await;
        let (random, bodies, moments) = (SeededRandom::new(seed), Bodies::new(), Vec::new());
        Self { seed, random, clock, remote, repository, store, bodies, moments }
    }

    fn below(&self, limit: u64) -> u64 {
        self.random.u64() % limit
    }

    async fn change(&mut self) {
        for _ in 0..=self.below(3) {
            let key = format!("key-{}", self.below(9));
            let mut content = vec![0; [10, 3_000, 60_000, 120_000][self.below(4) as usize]];
            SeededRandom::new(self.random.u64()).fill(&mut content);
            self.store.put(&key, &content, self.below(3) == 0).await;
            self.bodies.insert(key, content);
        }
        let gone = format!("key-{}", self.below(9));
        if self.bodies.remove(&gone).is_some() {
            self.store.delete(&gone).await;
        }
        self.store.follow().await;
        let minutes = self.below(20) as i64;
        self.store.clock.advance_millis(minutes * 60_000);
        self.clock.set(self.store.now());
    }

    fn shipped(&mut self, shipper: &Shipper) {
        self.moments.push((shipper.shipped().0, self.store.now(), self.bodies.clone()));
    }

    async fn prune(&self) -> Result<(Plan, Pruned), BackupError> {
        let epoch = self.repository.timeline().await?.newest().unwrap();
        let now = remote_time(&*self.remote, &self.random).await?;
        let local = Arc::new(self.store.source());
        let settings = RetentionSettings {
            keep_last: 2,
            keep_daily: 2,
            retention_days: 0,
            window: Age::parse("1h").unwrap(),
            grace_seconds: 0,
            ..RetentionSettings::default()
        };
        let pruner = Pruner::new(Arc::clone(&self.repository), Some(local), settings).in_batches_of(3);
        let plan = pruner.plan(Some(epoch), now).await?;
        let pruned = pruner.execute(&plan, now, &Held(epoch), &|_| true).await?;
        Ok((plan, pruned))
    }

    async fn live(&mut self) -> Plan {
        let mut shipper = self.store.shipper(&self.repository).await.unwrap();
        let mut deleted = 0;
        for step in 0..STEPS {
            self.change().await;
            match self.below(6) {
                0 => drop(shipper.snapshot(self.below(3) == 0).await.unwrap()),
                1 => {
                    shipper.round().await.unwrap();
                    self.store.collect().await;
                }
                2 => {
                    drop(shipper);
                    shipper = self.store.shipper(&self.repository).await.unwrap();
                }
                3 | 4 => {
                    let is_full = self.below(3) == 0;
                    let (pruned, made) = tokio::join!(self.prune(), async {
                        shipper.round().await?;
                        shipper.snapshot(is_full).await
                    });
                    made.unwrap();
                    let (_, pruned) =
                        pruned.unwrap_or_else(|error| panic!("seed {} step {step}: {error}", self.seed));
                    deleted += pruned.deleted.objects;
                }
                _ => {}
            }
            shipper.round().await.unwrap();
            self.shipped(&shipper);
        }
        self.clock.advance_millis(1000);
        let (plan, pruned) = self.prune().await.unwrap();
        assert!(deleted + pruned.deleted.objects > 5, "seed {}", self.seed);
        plan
    }

    /// The bodies at a point that was looked at; a snapshot may hold a record more, of its image.
    fn at(&self, seq: CommitSeq) -> Option<&Bodies> {
        self.moments.iter().find(|(of, _, _)| *of == seq).map(|(_, _, bodies)| bodies)
    }

    async fn compare(&self, target: Target, wanted: &Bodies, dir: &Path) {
        let (restored, _) = restore(&self.repository, target, dir)
            .await
            .unwrap_or_else(|error| panic!("seed {} {target:?}: {error}", self.seed));
        assert!(restored.bodies().await == *wanted, "seed {} {target:?}", self.seed);
        drop(restored);
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_whatever_the_rules_keep_is_restored_after_prunes_beside_backups() {
    let seeds =
        std::env::var("SEDIMENT_PRUNE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        println!("seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        let mut life = Life::new(seed, dir.path()).await;
        let plan = life.live().await;
        let begin = plan.window_begin.unwrap();
        let inside: Vec<_> = life.moments.iter().filter(|(_, time, _)| *time > begin).collect();
        assert!(!inside.is_empty());
        let to = dir.path().join("to");
        for (at, (seq, time, bodies)) in inside.iter().enumerate() {
            let target = if at % 2 == 0 { Target::Seq(*seq) } else { Target::Time(*time) };
            life.compare(target, bodies, &to).await;
        }
        let mut compared = 0;
        for name in plan.snapshots.iter().filter(|one| one.is_kept()).map(|one| one.name) {
            if let Some(bodies) = life.at(name.seq) {
                life.compare(Target::Snapshot(name), bodies, &to).await;
                compared += 1;
            }
        }
        assert!(compared > 1, "seed {seed}: {compared} snapshots were compared");
    }
}
