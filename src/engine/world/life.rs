//! One life: operations, one after the other, and what clients were told.

use super::body::{Body, Value};
use super::ledger::History;
use super::ops::{Dice, KEYS, Op, Restart};
use super::oracle::{Effect, Oracle};
use super::store::{Flaws, Store, is_value, shared};
use super::trail::Trail;
use super::verify::look;
use crate::engine::{BodyStore, BodyStream, EngineError, StagedBody};
use crate::meta::CommitError;
use crate::sys::{FaultPlan, FileSystem, SimulatedFileSystem};
use crate::types::{ResolvedRange, UploadId};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Openings that faults may fail before they stop.
const FAILED_BOOTS: usize = 3;

pub(super) struct Life {
    pub(super) fs: SimulatedFileSystem,
    pub(super) trail: Arc<Trail>,
    pub(super) history: History,
    pub(super) oracle: Oracle,
    pub(super) flaws: Flaws,
    dice: Dice,
    store: Option<Store>,
    staged: BTreeMap<u8, (u8, Body, StagedBody)>,
    reading: BTreeMap<u8, (Value, BodyStream)>,
    uploads: BTreeMap<u8, (u8, UploadId)>,
    uploads_begun: u8,
    /// Something was injected since the last start: calls may fail.
    is_faulty: bool,
}

impl Life {
    /// Lives it to its end; the store is closed then.
    pub(super) async fn live(seed: u64, ops: &[Op], flaws: Flaws) -> Result<Self, String> {
        let mut life = Self {
            fs: SimulatedFileSystem::new(seed),
            trail: Trail::new(),
            history: History::default(),
            oracle: Oracle::default(),
            flaws,
            dice: Dice::new(!seed),
            store: None,
            staged: BTreeMap::new(),
            reading: BTreeMap::new(),
            uploads: BTreeMap::new(),
            uploads_begun: 0,
            is_faulty: false,
        };
        let trail = Arc::clone(&life.trail);
        life.fs.observe(move |call| trail.mark(call));
        if flaws.lying_disk {
            life.fs.lie();
        }
        life.boot().await?;
        for op in ops {
            life.step(*op).await.map_err(|why| format!("{op:?}: {why}"))?;
            if life.store().is_poisoned() {
                life.excuse("a healthy disk", &"the store is poisoned")?;
                let how = if life.dice.one_in(2) { Restart::PowerCut } else { Restart::Kill };
                life.restart(how).await.map_err(|why| format!("{how:?} after {op:?}: {why}"))?;
            }
        }
        if life.is_faulty {
            life.restart(Restart::Kill).await?;
        }
        life.store().check().await?;
        life.settle().await?;
        life.staged.clear();
        life.reading.clear();
        life.store = None;
        life.trail.closing().await;
        Ok(life)
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    async fn boot(&mut self) -> Result<(), String> {
        let was_faulty = self.is_faulty;
        self.boot_once().await?;
        match self.settle().await {
            Err(_) if was_faulty => {}
            settled => return settled,
        }
        // What could not be read at the start is missed until the next one.
        self.store = None;
        self.trail.closing().await;
        self.fs.kill();
        self.boot_once().await?;
        self.settle().await
    }

    async fn boot_once(&mut self) -> Result<(), String> {
        for failed in 0.. {
            self.trail.booting(self.fs.calls());
            match Store::open(&self.fs, self.history.clone(), &self.trail.live(), self.flaws).await {
                Ok(store) => {
                    self.trail.booted(store.index().clone());
                    self.store = Some(store);
                    break;
                }
                Err(_) if self.is_faulty && failed < FAILED_BOOTS => self.fs.kill(),
                Err(_) if self.is_faulty => self.heal(),
                Err(error) => return Err(format!("the store does not open: {error}")),
            }
        }
        self.heal();
        Ok(())
    }

    /// The disk is good from now on.
    fn heal(&mut self) {
        self.fs.stop_injecting();
        self.fs.set_capacity(u64::MAX);
        self.is_faulty = false;
    }

    async fn restart(&mut self, how: Restart) -> Result<(), String> {
        self.staged.clear();
        self.reading.clear();
        if how == Restart::Clean {
            let closed = self.store().close().await;
            self.excused(closed)?;
        }
        self.store = None;
        self.trail.closing().await;
        match how {
            Restart::PowerCut => {
                self.fs.crash();
                self.trail.cut(&self.dice);
            }
            Restart::LostIndex => {
                self.fs.kill();
                self.trail.lose();
            }
            Restart::Clean | Restart::Kill => self.fs.kill(),
        }
        self.boot().await
    }

    /// Compares, and takes for certain from now on what was in doubt.
    async fn settle(&mut self) -> Result<(), String> {
        let allowed = self.oracle.allowed_at(usize::MAX);
        let seen = look(self.store(), &allowed).await?;
        for (key, _) in allowed.keys.iter().filter(|(_, values)| values.len() > 1) {
            self.note(Effect::Set { key: *key, value: seen.keys.get(key).cloned() });
        }
        for upload in allowed.uploads.into_keys() {
            let Some(parts) = seen.uploads.get(&upload) else {
                self.uploads.retain(|_, (_, id)| *id != upload);
                self.note(Effect::Abort { upload });
                continue;
            };
            self.note(Effect::Begin { upload });
            for (number, body) in parts {
                self.note(Effect::Part { upload, number: *number, body: *body });
            }
        }
        Ok(())
    }

    fn note(&mut self, effect: Effect) {
        let event = self.begin(effect);
        self.oracle.acknowledge(event, self.fs.calls());
    }

    fn excuse(&self, what: &str, error: &dyn std::fmt::Display) -> Result<(), String> {
        if self.is_faulty { Ok(()) } else { Err(format!("{what} failed by itself: {error}")) }
    }

    fn excused<T>(&self, result: Result<T, EngineError>) -> Result<Option<T>, String> {
        match result {
            Ok(done) => Ok(Some(done)),
            Err(error) => self.excuse("it", &error).map(|()| None),
        }
    }

    /// Notes what a commit did; one that failed may have been done.
    fn committed(&mut self, event: usize, result: Result<(), CommitError>) -> Result<(), String> {
        match result {
            Ok(()) => {
                self.oracle.acknowledge(event, self.fs.calls());
                Ok(())
            }
            Err(error @ CommitError::Store(_)) => self.excuse("a commit", &error),
            Err(error) => {
                self.oracle.refuse(event);
                Err(format!("a commit was refused: {error}"))
            }
        }
    }

    fn begin(&mut self, effect: Effect) -> usize {
        self.oracle.begin(self.fs.calls(), effect)
    }

    fn value(&self, key: u8) -> Option<Value> {
        self.oracle.allowed_at(usize::MAX).keys.get(&key)?.last()?.clone()
    }

    async fn step(&mut self, op: Op) -> Result<(), String> {
        match op {
            Op::Put { key, body } => self.put(key, body, false).await,
            Op::PutPlain { key, body } => self.put(key, body, true).await,
            Op::Stage { slot, key, body } => {
                let staged = self.store().stage(body, false).await;
                let staged = self.excused(staged)?;
                self.staged.extend(staged.map(|staged| (slot, (key, body, staged))));
                Ok(())
            }
            Op::CommitStaged { slot } => match self.staged.remove(&slot) {
                Some((key, body, staged)) => self.commit_put(key, body, staged).await,
                None => Ok(()),
            },
            Op::GiveUpStaged { slot } => {
                self.staged.remove(&slot);
                Ok(())
            }
            Op::PutTwo { key, body, other } => self.put_two(key, body, other).await,
            Op::PutAndCollect { key, body } => self.put_and_collect(key, body).await,
            Op::Copy { from, to } => self.copy(from, to).await,
            Op::Delete { key } => {
                let event = self.begin(Effect::Set { key, value: None });
                let deleted = self.store().delete(key).await;
                self.committed(event, deleted)
            }
            Op::Read { key } => self.read(key).await,
            Op::OpenRead { slot, key } => self.open_read(slot, key).await,
            Op::EndRead { slot } => self.end_read(slot).await,
            Op::Begin { .. }
            | Op::Part { .. }
            | Op::PartCopy { .. }
            | Op::Complete { .. }
            | Op::Abort { .. } => self.upload_step(op).await,
            Op::Follow | Op::Collect | Op::Seal | Op::Checkpoint | Op::Rechunk | Op::Check => {
                self.keep_house(op).await
            }
            Op::Restart(how) => self.restart(how).await,
            Op::Fail { kind, after, times, fault } => {
                let (after, times) = (after.into(), times.into());
                self.fs.inject(FaultPlan { kind: Some(kind), after, times, fault });
                self.is_faulty = true;
                Ok(())
            }
            Op::Room { kib } => {
                self.fs.set_capacity(1 << 40);
                let used = (1 << 40) - self.fs.available_bytes(Path::new("/")).unwrap();
                self.fs.set_capacity(used + (u64::from(kib) << 10));
                self.is_faulty = true;
                Ok(())
            }
        }
    }

    async fn keep_house(&mut self, op: Op) -> Result<(), String> {
        let store = self.store();
        let done = match op {
            Op::Follow => store.follow().await,
            Op::Collect => store.collect().await.map(drop),
            Op::Seal => store.engine.parts().packs.seal(),
            Op::Checkpoint => store.checkpoint().await,
            Op::Rechunk => store.rechunk().await,
            _ => {
                let checked = store.check().await;
                return if self.is_faulty { Ok(()) } else { checked };
            }
        };
        self.excused(done).map(drop)
    }

    async fn put(&mut self, key: u8, body: Body, is_plain: bool) -> Result<(), String> {
        let staged = self.store().stage(body, is_plain).await;
        match self.excused(staged)? {
            Some(staged) => self.commit_put(key, body, staged).await,
            None => Ok(()),
        }
    }

    async fn commit_put(&mut self, key: u8, value: Body, staged: StagedBody) -> Result<(), String> {
        let event = self.begin(Effect::Set { key, value: Some(vec![value]) });
        let StagedBody { body, size, hold, .. } = staged;
        let put = self.store().put_version(key, body, size).await;
        drop(hold);
        self.committed(event, put)
    }

    async fn put_two(&mut self, key: u8, body: Body, other: Body) -> Result<(), String> {
        let puts = [(key, body), ((key + 1) % KEYS, other)];
        let events = puts.map(|(key, body)| self.begin(Effect::Set { key, value: Some(vec![body]) }));
        let [first, second] = puts.map(|(key, body)| timed_put(self.store(), &self.fs, key, body));
        let (first, second) = futures::future::join(first, second).await;
        self.put_ended(events[0], first)?;
        self.put_ended(events[1], second)
    }

    async fn put_and_collect(&mut self, key: u8, body: Body) -> Result<(), String> {
        let event = self.begin(Effect::Set { key, value: Some(vec![body]) });
        let put = timed_put(self.store(), &self.fs, key, body);
        let (put, collected) = futures::future::join(put, self.store().collect()).await;
        self.put_ended(event, put)?;
        self.excused(collected).map(drop)
    }

    fn put_ended(
        &mut self,
        event: usize,
        (ended, calls): (Result<(), EngineError>, usize),
    ) -> Result<(), String> {
        match ended {
            Ok(()) => self.oracle.acknowledge(event, calls),
            Err(error) => {
                self.excuse("a put", &error)?;
                // A commit that fails ends all writing: so it never came to one.
                if !self.store().is_poisoned() {
                    self.oracle.refuse(event);
                }
            }
        }
        Ok(())
    }

    async fn copy(&mut self, from: u8, to: u8) -> Result<(), String> {
        let Some((_hold, body, size)) = self.store().row(from).await else { return Ok(()) };
        let event = self.begin(Effect::Set { key: to, value: self.value(from) });
        let copied = self.store().put_version(to, shared(body), size).await;
        self.committed(event, copied)
    }

    async fn read(&mut self, key: u8) -> Result<(), String> {
        let row = self.store().row(key).await;
        let Some((hold, body, size)) = row else {
            return if self.value(key).is_none() { Ok(()) } else { Err("it is gone".into()) };
        };
        let read = self.store().read(hold, &body, size).await;
        self.compare(read, &self.value(key).unwrap_or_default())
    }

    /// Errors may be excused, other bytes never.
    fn compare(&self, read: Result<Vec<u8>, EngineError>, value: &[Body]) -> Result<(), String> {
        match self.excused(read)? {
            Some(bytes) if !is_value(&bytes, value) => Err(format!("I4: other bytes than {value:?}")),
            _ => Ok(()),
        }
    }

    async fn open_read(&mut self, slot: u8, key: u8) -> Result<(), String> {
        let Some((hold, body, size)) = self.store().row(key).await else { return Ok(()) };
        let whole = ResolvedRange { start: 0, end: size };
        let opened = self.store().engine.read(hold, &body, size, whole).await;
        let value = self.value(key).unwrap_or_default();
        self.reading.extend(self.excused(opened)?.map(|stream| (slot, (value, stream))));
        Ok(())
    }

    async fn end_read(&mut self, slot: u8) -> Result<(), String> {
        let Some((value, mut stream)) = self.reading.remove(&slot) else { return Ok(()) };
        let mut read = Ok(Vec::new());
        while let (Some(frame), Ok(bytes)) = (stream.next().await, &mut read) {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame),
                Err(error) => read = Err(error),
            }
        }
        self.compare(read, &value)
    }

    async fn upload_step(&mut self, op: Op) -> Result<(), String> {
        match op {
            Op::Begin { slot, key } if !self.uploads.contains_key(&slot) => {
                self.uploads_begun += 1;
                let upload = UploadId::new([self.uploads_begun; 16]);
                let event = self.begin(Effect::Begin { upload });
                let begun = self.store().begin_upload(key, upload).await;
                self.uploads.insert(slot, (key, upload));
                self.committed(event, begun)
            }
            Op::Part { slot, number, body } => match self.uploads.get(&slot).copied() {
                Some((_, upload)) => self.part(upload, number, body).await,
                None => Ok(()),
            },
            Op::PartCopy { slot, number, from } => self.part_copy(slot, number, from).await,
            Op::Complete { slot } => self.complete(slot).await,
            Op::Abort { slot } => {
                let Some((_, upload)) = self.uploads.remove(&slot) else { return Ok(()) };
                let event = self.begin(Effect::Abort { upload });
                let aborted = self.store().abort(upload).await;
                self.committed(event, aborted)
            }
            _ => Ok(()),
        }
    }

    async fn part(&mut self, upload: UploadId, number: u8, value: Body) -> Result<(), String> {
        let staged = self.store().stage(value, false).await;
        let Some(StagedBody { body, size, hold, .. }) = self.excused(staged)? else { return Ok(()) };
        let event = self.begin(Effect::Part { upload, number, body: value });
        let put = self.store().put_part(upload, number, body, size).await;
        drop(hold);
        self.committed(event, put)
    }

    async fn part_copy(&mut self, slot: u8, number: u8, from: u8) -> Result<(), String> {
        let Some((_, upload)) = self.uploads.get(&slot).copied() else { return Ok(()) };
        let Some((_hold, body, size)) = self.store().row(from).await else { return Ok(()) };
        let [value] = self.value(from).unwrap_or_default()[..] else { return Ok(()) };
        let event = self.begin(Effect::Part { upload, number, body: value });
        let put = self.store().put_part(upload, number, shared(body), size).await;
        self.committed(event, put)
    }

    async fn complete(&mut self, slot: u8) -> Result<(), String> {
        let Some((key, upload)) = self.uploads.get(&slot).copied() else { return Ok(()) };
        let allowed = self.oracle.allowed_at(usize::MAX);
        let parts = allowed.uploads.get(&upload).map(|upload| upload.parts.clone()).unwrap_or_default();
        let value: Value = parts.values().filter_map(|bodies| *bodies.last()?).collect();
        if value.is_empty() {
            return Ok(());
        }
        let joined = self.store().join(upload).await;
        let Some((parts, staged)) = self.excused(joined)? else { return Ok(()) };
        let StagedBody { body, size, hold, .. } = staged;
        self.uploads.remove(&slot);
        let event = self.begin(Effect::Complete { upload, key, value });
        let completed = self.store().complete(upload, parts, body, size).await;
        drop(hold);
        self.committed(event, completed)
    }
}

/// With the calls to the disk when it was acknowledged.
async fn timed_put(
    store: &Store,
    fs: &SimulatedFileSystem,
    key: u8,
    body: Body,
) -> (Result<(), EngineError>, usize) {
    let put = store.put(key, body).await;
    (put, fs.calls())
}

/// Puts a body under a key that no life uses, for whoever goes on after a crash.
pub(super) async fn put_again(store: &Store, key: u8, body: Body) -> Result<(), String> {
    store.put(key, body).await.map_err(|error| format!("{body:?} cannot be stored again: {error}"))
}
