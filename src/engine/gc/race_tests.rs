//! Everybody at once, on a few keys, with bytes that all have in common: writers, copiers, completers, aborters, deleters,
//! readers, collection, moving of packs, checkpoints, deep checks, scrubs, and an index that is opened anew; and the same once more while
//! headers of records rot.
//!
//! `SEDIMENT_RACE_SECONDS` says for how long, `SEDIMENT_RACE_SEED` what the clients do, `SEDIMENT_RACE_THREADS` how many threads
//! run them; how they meet is the scheduler's choice, which is shaken (`sys::shake`).

#[path = "race_damage_tests.rs"]
mod damage;

use super::engine_tests::{Store, block, named};
use super::race_history_tests::{History, Recipe};
use super::testing::scratch;
use crate::engine::check::{Checker, Finding};
use crate::engine::index::IndexCounts;
use crate::engine::{BodyStore, EngineError, Follower, StagedBody};
use crate::meta::testing::object;
use crate::meta::{
    ChangeLog, Commit, CommitError, MetaStore, NewBody, NewPart, NewUpload, ObjectData, Outcome, StoredBody,
    VersionKind, VersionTarget, WriteCondition,
};
use crate::sys::{Random, SeededRandom, shake};
use crate::types::{Attributes, CommitSeq, ObjectLock, PartNumber, ResolvedRange, TagSet, UploadId};
use futures::StreamExt;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const CLIENTS: u64 = 8;
const KEYS: usize = 4;
const UPLOADS: usize = 2;
const BLOCKS: u64 = 8;
/// Enough for manifest nodes.
const LONG_BLOCKS: u64 = 60;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

struct Dice(SeededRandom);

impl Dice {
    fn below(&self, sides: u64) -> u64 {
        self.0.u64() % sides
    }

    fn key(&self) -> usize {
        usize::try_from(self.below(KEYS as u64)).unwrap()
    }

    fn recipe(&self) -> Recipe {
        let len = match self.below(24) {
            0 => LONG_BLOCKS,
            _ => 1 + self.below(4),
        };
        let mut recipe: Recipe = (0..len).map(|_| self.below(BLOCKS)).collect();
        if self.below(3) == 0 {
            // Garbage once it is deleted, whatever the others have.
            recipe.push(self.0.u64() | 1 << 63);
        }
        recipe
    }

    async fn pause(&self, most_millis: u64) {
        tokio::time::sleep(Duration::from_millis(self.below(most_millis))).await;
    }
}

fn content(recipe: &[u64]) -> Vec<u8> {
    recipe.iter().flat_map(|seed| block(*seed)).collect()
}

struct Race {
    dir: PathBuf,
    store: Store,
    /// Some record's header is damaged.
    is_harmed: AtomicBool,
    history: History,
    uploads: [Mutex<Option<UploadId>>; UPLOADS],
    made_uploads: AtomicU64,
    done: Mutex<BTreeMap<&'static str, u64>>,
}

impl Race {
    fn count(&self, what: &'static str, times: u64) {
        *self.done.lock().entry(what).or_default() += times;
    }

    fn has_met_all(&self, is_rotten: bool) -> bool {
        let done = self.done.lock();
        let last = if is_rotten { "records healed" } else { "deep checks" };
        let has_met = |what| done.get(what).is_some_and(|times| *times > 0);
        ["collected chunks", "removed packs", "completed uploads", "scrubs", last].into_iter().all(has_met)
    }

    async fn found(&self, key: usize) -> Option<(CommitSeq, ObjectData)> {
        let name = named(&key.to_string());
        let row = self.store.meta.version(self.store.bucket, &name, None).await.unwrap()?;
        match row.kind {
            VersionKind::Object(object) => Some((row.seq, object)),
            VersionKind::DeleteMarker => None,
        }
    }

    /// Busy while the index is opened anew: tried again, as clients do.
    async fn stage(&self, recipe: &[u64], is_plain: bool) -> StagedBody {
        loop {
            match self.store.try_stage(&content(recipe), is_plain).await {
                Err(error) if self.is_excused(&error) => self.count("busy", 1),
                staged => return staged.unwrap(),
            }
        }
    }

    /// Commits a version; `false` when the body to share is gone.
    async fn put_version(&self, key: usize, body: NewBody, size: u64, recipe: Recipe) -> bool {
        let (etag, value) = self.history.new_value(recipe);
        let object = crate::meta::NewObject { etag, ..object(body, size) };
        let (bucket, condition, name) = (self.store.bucket, WriteCondition::None, named(&key.to_string()));
        let began = self.history.moment();
        let put = Commit::PutVersion { bucket, key: name, object, condition };
        match self.store.meta.commit(put).await {
            Ok(Outcome::Written { seq, .. }) => self.history.wrote(key, &value, began, seq),
            Err(CommitError::BodyGone) => {
                self.history.forget(&etag);
                return false;
            }
            other => panic!("{other:?}"),
        }
        true
    }

    async fn put(&self, dice: &Dice) {
        let recipe = dice.recipe();
        let StagedBody { body, size, hold, .. } = self.stage(&recipe, dice.below(8) == 0).await;
        if dice.below(4) == 0 {
            dice.pause(200).await;
        }
        if dice.below(8) == 0 {
            return self.count("puts given up", 1);
        }
        self.put_version(dice.key(), body, size, recipe).await;
        drop(hold);
        self.count("puts", 1);
    }

    async fn copy(&self, dice: &Dice) {
        let Some((_, source)) = self.found(dice.key()).await else { return };
        let recipe = self.history.value(&source.etag).recipe.clone();
        if self.put_version(dice.key(), shared(source.body), source.size, recipe).await {
            self.count("copies", 1);
        } else {
            self.count("copies of what was gone", 1);
        }
    }

    async fn delete(&self, key: usize) {
        let (bucket, target) = (self.store.bucket, VersionTarget::Current);
        let condition = WriteCondition::None.into();
        let key_name = named(&key.to_string());
        let began = self.history.begin_deletion(key);
        let delete =
            Commit::DeleteVersion { bucket, key: key_name, target, condition, bypass_governance: false };
        self.store.meta.commit(delete).await.unwrap();
        self.history.deleted(key, began);
        self.count("deletions", 1);
    }

    /// What is got was there while it was looked for, and is whole however long it takes.
    async fn read(&self, key: usize, dice: &Dice) {
        let before = self.history.certain(key);
        let hold = self.store.engine.hold();
        let Some((seq, object)) = self.found(key).await else {
            return self.history.check_nothing(key, &before);
        };
        let value = self.history.value(&object.etag);
        self.history.check_found(key, &before, seq, &value);
        let is_slow = dice.below(8) == 0;
        if is_slow {
            dice.pause(20).await;
        }
        let expected = content(&value.recipe);
        let whole = ResolvedRange { start: 0, end: object.size };
        let mut bytes = Vec::new();
        let mut stream = match self.store.engine.read(hold, &object.body, object.size, whole).await {
            Err(error) if self.is_excused(&error) => return self.count("busy", 1),
            stream => stream.unwrap(),
        };
        while let Some(frame) = stream.next().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame),
                Err(error) if self.is_excused(&error) => return self.count("busy", 1),
                Err(error) => panic!("key {key}, version {seq}: {error}"),
            }
            if is_slow {
                dice.pause(3).await;
            }
        }
        assert!(bytes == expected, "key {key}, version {seq}: not what was put");
        self.count("reads", 1);
    }

    async fn upload(&self, dice: &Dice) {
        let slot = usize::try_from(dice.below(UPLOADS as u64)).unwrap();
        let known = *self.uploads[slot].lock();
        let Some(upload) = known else { return self.create_upload(slot).await };
        let is_there = match dice.below(8) {
            0..4 => self.part(upload, dice).await,
            4..6 => self.complete(upload, slot, dice).await,
            6 => self.copy_part(upload, dice).await,
            _ => {
                let aborted = self.store.meta.commit(Commit::AbortUpload { upload, rules_as_of: None }).await;
                self.count("aborted uploads", u64::from(aborted.is_ok()));
                false
            }
        };
        let mut now = self.uploads[slot].lock();
        if !is_there && *now == known {
            *now = None;
        }
    }

    async fn create_upload(&self, slot: usize) {
        let number = u128::from(self.made_uploads.fetch_add(1, Ordering::SeqCst) + 1);
        let id = UploadId::new(number.to_be_bytes());
        let (tags, lock) = (TagSet::default(), ObjectLock::default());
        let upload = NewUpload { id, attributes: Attributes::default(), checksum: None, tags, lock };
        let (bucket, key) = (self.store.bucket, named(&slot.to_string()));
        self.store.meta.commit(Commit::CreateUpload { bucket, key, upload }).await.unwrap();
        let before = self.uploads[slot].lock().replace(id);
        if let Some(upload) = before {
            let _ = self.store.meta.commit(Commit::AbortUpload { upload, rules_as_of: None }).await;
        }
    }

    /// Whether the upload is there.
    async fn part(&self, upload: UploadId, dice: &Dice) -> bool {
        let recipe = dice.recipe();
        let StagedBody { body, size, hold, .. } = self.stage(&recipe, dice.below(12) == 0).await;
        let is_there = self.put_part(upload, dice, body, size, recipe).await;
        drop(hold);
        is_there
    }

    async fn copy_part(&self, upload: UploadId, dice: &Dice) -> bool {
        let Some((_, source)) = self.found(dice.key()).await else { return true };
        let recipe = self.history.value(&source.etag).recipe.clone();
        self.put_part(upload, dice, shared(source.body), source.size, recipe).await
    }

    async fn put_part(
        &self,
        upload: UploadId,
        dice: &Dice,
        body: NewBody,
        size: u64,
        recipe: Recipe,
    ) -> bool {
        let (etag, _) = self.history.new_value(recipe);
        let number = PartNumber::parse((1 + dice.below(3)).try_into().unwrap()).unwrap();
        let part = NewPart { body, size, etag, checksum: None };
        match self.store.meta.commit(Commit::PutPart { upload, number, part }).await {
            Ok(_) => self.count("parts", 1),
            Err(CommitError::BodyGone) => {}
            Err(CommitError::NoSuchUpload) => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }

    async fn complete(&self, upload: UploadId, key: usize, dice: &Dice) -> bool {
        let reading = self.store.engine.hold();
        let rows = self.store.meta.parts(upload, None, 10).await.unwrap();
        if rows.is_empty() {
            return true;
        }
        let parts = rows.iter().map(|part| (part.number, part.seq)).collect();
        let recipe = rows.iter().flat_map(|part| self.history.value(&part.etag).recipe.clone()).collect();
        let bodies = rows.into_iter().map(|part| (part.body, part.size)).collect();
        let StagedBody { body, size, hold, .. } = match self.store.engine.join(bodies).await {
            Err(error) if self.is_excused(&error) => return true,
            staged => staged.unwrap(),
        };
        drop(reading);
        if dice.below(4) == 0 {
            dice.pause(10).await;
        }
        let (etag, value) = self.history.new_value(recipe);
        let object = crate::meta::NewObject { etag, ..object(body, size) };
        let began = self.history.moment();
        let complete = Commit::CompleteUpload { upload, parts, object, condition: WriteCondition::None };
        let completed = self.store.meta.commit(complete).await;
        drop(hold);
        match completed {
            Ok(Outcome::Written { seq, .. }) => {
                self.history.wrote(key, &value, began, seq);
                self.count("completed uploads", 1);
                false
            }
            Err(CommitError::PartGone(_)) => true,
            Err(CommitError::NoSuchUpload) => false,
            other => panic!("{other:?}"),
        }
    }

    async fn client(self: Arc<Self>, seed: u64, stop: CancellationToken) {
        let dice = Dice(SeededRandom::new(seed));
        while !stop.is_cancelled() {
            match dice.below(16) {
                0..4 => self.put(&dice).await,
                4..9 => self.read(dice.key(), &dice).await,
                9 => self.copy(&dice).await,
                10..12 => self.delete(dice.key()).await,
                _ => self.upload(&dice).await,
            }
        }
    }

    async fn collect(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.store.collector.run(&stop, None).await {
                Ok(report) => {
                    self.count("collections", 1);
                    self.count("collected chunks", report.collected);
                    self.count("moved records", report.moved_records);
                    self.count("removed packs", report.packs_removed + report.packs_rewritten);
                    self.count("punched packs", report.packs_punched);
                }
                Err(error) if self.is_excused(&error) => self.count("collections put off", 1),
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn seal(self: Arc<Self>, stop: CancellationToken, dice: Dice) {
        while !stop.is_cancelled() {
            let packs = self.store.engine.parts().packs.clone();
            tokio::task::spawn_blocking(move || packs.seal()).await.unwrap().unwrap();
            self.count("seals", 1);
            dice.pause(60).await;
        }
    }

    async fn checkpoint(self: Arc<Self>, stop: CancellationToken, dice: Dice) {
        while !stop.is_cancelled() {
            let index = self.store.engine.parts().index.clone();
            match tokio::task::spawn_blocking(move || index.checkpoint()).await.unwrap() {
                Ok(_) => self.count("checkpoints", 1),
                Err(EngineError::Busy(_)) => {}
                Err(error) => panic!("{error}"),
            }
            dice.pause(40).await;
        }
    }

    /// A check beside writers counts what has moved on since; but what it calls damaged must be.
    async fn check(self: Arc<Self>, stop: CancellationToken, dice: Dice) {
        while !stop.is_cancelled() {
            dice.pause(200).await;
            let Ok(report) = self.checker().check(true, &stop, None).await else { continue };
            self.count("deep checks", 1);
            for finding in &report.findings {
                let Finding::Damaged { id, why } = finding else { continue };
                let parts = self.store.engine.parts();
                let Ok(at) = parts.index.get(&[*id]) else { continue };
                // Collected or moved between the look and the read: not damage.
                let Some(at) = at[0] else { continue };
                let now = parts.packs.read(&[(*id, at)]).remove(0);
                let is_same = || parts.index.get(&[*id]).is_ok_and(|found| found[0] == Some(at));
                assert!(now.is_ok() || !is_same(), "{id}: {why}");
            }
        }
    }

    fn checker(&self) -> Checker {
        let parts = self.store.engine.parts();
        Checker::new(parts.packs.clone(), parts.index.clone(), parts.log.clone())
    }

    async fn reopen_index(self: Arc<Self>, stop: CancellationToken, dice: Dice) {
        while !stop.is_cancelled() {
            let pause = Duration::from_millis(2000 + dice.below(8000));
            let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            self.store.engine.parts().index.fail("raced");
            self.count("indexes opened anew", 1);
        }
    }

    /// Whatever raced: all is there, counted right and whole; and once deleted, all goes.
    async fn settle(&self) {
        self.heal().await;
        let parts = self.store.engine.parts();
        let dice = Dice(SeededRandom::new(0));
        for key in 0..KEYS {
            self.read(key, &dice).await;
        }
        parts.index.wait_applied(self.store.meta.last_seq().await.unwrap()).await;
        let report = self.checker().check(true, &CancellationToken::new(), None).await.unwrap();
        assert!(report.is_clean(), "{report}");
        for key in 0..KEYS {
            self.delete(key).await;
        }
        for slot in &self.uploads {
            let upload = *slot.lock();
            if let Some(upload) = upload {
                let abort = Commit::AbortUpload { upload, rules_as_of: None };
                let aborted = self.store.meta.commit(abort).await;
                assert!(matches!(aborted, Ok(_) | Err(CommitError::NoSuchUpload)), "{aborted:?}");
            }
        }
        parts.packs.seal().unwrap();
        for _ in 0..2 {
            self.store.collector.run(&CancellationToken::new(), None).await.unwrap();
        }
        assert_eq!(parts.index.counts().unwrap(), IndexCounts::default());
        assert_eq!((parts.packs.ids(), parts.plain.list().unwrap()), (vec![], vec![]));
    }
}

fn shared(body: StoredBody) -> NewBody {
    match body {
        StoredBody::Chunked { id, .. } => NewBody::SharedManifest(id),
        StoredBody::Plain(id) => NewBody::SharedPlain(id),
        StoredBody::Inline(bytes) => NewBody::Inline(bytes),
    }
}

async fn race(seed: u64, time: Duration, is_rotten: bool) {
    let dir = scratch();
    // Packs that lose much are written anew, or get holes.
    let store = Store::rewriting_below(dir.path(), if seed.is_multiple_of(2) { 0.2 } else { 0.8 }).await;
    let parts = store.engine.parts().clone();
    let stop_following = CancellationToken::new();
    let follower = Follower::new(parts.log.clone(), parts.meta.clone(), parts.index.clone());
    let following = tokio::spawn(follower.run(stop_following.clone()));
    let race = Arc::new(Race {
        dir: dir.path().to_owned(),
        store,
        is_harmed: AtomicBool::new(false),
        history: History::new(KEYS),
        uploads: Default::default(),
        made_uploads: AtomicU64::new(0),
        done: Mutex::default(),
    });
    let stop = CancellationToken::new();
    let dice = |nth: u64| Dice(SeededRandom::new(seed.wrapping_mul(1000) + nth));
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        tasks.spawn(Arc::clone(&race).client(seed.wrapping_mul(1000) + 100 + client, stop.clone()));
    }
    tasks.spawn(Arc::clone(&race).collect(stop.clone()));
    tasks.spawn(Arc::clone(&race).seal(stop.clone(), dice(1)));
    tasks.spawn(Arc::clone(&race).checkpoint(stop.clone(), dice(2)));
    tasks.spawn(Arc::clone(&race).scrub(stop.clone(), dice(5)));
    if is_rotten {
        tasks.spawn(Arc::clone(&race).harm(stop.clone(), dice(6)));
    } else {
        tasks.spawn(Arc::clone(&race).check(stop.clone(), dice(3)));
        tasks.spawn(Arc::clone(&race).reopen_index(stop.clone(), dice(4)));
    }
    let over = async {
        tokio::time::sleep(time).await;
        // On a busy machine it takes longer until everybody has met.
        while !race.has_met_all(is_rotten) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = over => {}
        Some(ended) = tasks.join_next() => {
            ended.unwrap();
            panic!("a client ended before it was told to");
        }
    }
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    race.settle().await;
    let done = race.done.lock().clone();
    println!("RACE seed {seed}, {} s: {done:?}", time.as_secs());
    stop_following.cancel();
    following.await.unwrap().unwrap();
}

fn race_twice(is_rotten: bool) {
    let seed = from_environment("SEDIMENT_RACE_SEED", 1);
    let time = Duration::from_secs(from_environment("SEDIMENT_RACE_SECONDS", 10));
    let threads = usize::try_from(from_environment("SEDIMENT_RACE_THREADS", 4)).unwrap();
    println!(
        "repeat with SEDIMENT_RACE_SEED={seed} SEDIMENT_RACE_SECONDS={} SEDIMENT_RACE_THREADS={threads}",
        time.as_secs()
    );
    let _shaking = shake(seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.unwrap();
    runtime.block_on(race(seed, time / 2, is_rotten));
    runtime.block_on(race(seed + 1, time / 2, is_rotten));
}

#[test]
fn i1_i3_all_at_once_on_a_few_keys_lose_nothing_and_leave_nothing() {
    race_twice(false);
}

#[test]
fn i1_i3_i4_a_scrub_saves_what_rots_while_all_are_at_work() {
    race_twice(true);
}
