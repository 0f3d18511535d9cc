//! An index, a log and packs of a few entries each. What is done under which lock, and in which order, is as in the
//! index and the collector; a [`Weakness`] leaves out one rule.

use super::crash;
use super::hold::{Hold, Holds};
use super::stamps;
use super::sync::Mutex;
use crate::types::CommitSeq;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) type Id = u8;
pub(super) type Key = u8;
type ManifestId = u64;

/// Records until a pack is sealed.
const PACK_RECORDS: usize = 3;

/// One rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weakness {
    None,
    BoundIgnoresHolds,
    BoundIgnoresMark,
    EndOfLogNotAwaited,
    HitDoesNotStamp,
    HitTrustsItsFirstLook,
    NotLookedAtAgain,
    HeldAfterTheFirstHit,
    ReleasedBeforeTheCommit,
    PublishedBeforeCounted,
    NotRecentBeforeInTheTree,
    SettledWhileAppended,
    KnownBeforeSettled,
    KnownWhileAppended,
    BuriedBeforeDurable,
}

impl Weakness {
    pub(super) const ALL: &[Self] = &[
        Self::BoundIgnoresHolds,
        Self::BoundIgnoresMark,
        Self::EndOfLogNotAwaited,
        Self::HitDoesNotStamp,
        Self::HitTrustsItsFirstLook,
        Self::NotLookedAtAgain,
        Self::HeldAfterTheFirstHit,
        Self::ReleasedBeforeTheCommit,
        Self::PublishedBeforeCounted,
        Self::NotRecentBeforeInTheTree,
        Self::SettledWhileAppended,
        Self::KnownBeforeSettled,
        Self::KnownWhileAppended,
        Self::BuriedBeforeDurable,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) pack: usize,
    record: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) references: u64,
    pub(super) zero_since: CommitSeq,
}

fn set(entries: &mut BTreeMap<Id, Entry>, id: Id, entry: Option<Entry>) {
    match entry {
        Some(entry) => entries.insert(id, entry),
        None => entries.remove(&id),
    };
}

/// One write to the tree.
#[derive(Debug, Clone)]
enum Row {
    Entry(Id, Option<Entry>),
    Applied(CommitSeq),
    Known(usize),
}

/// Rows, and the journal that a power cut leaves a beginning of.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    pub(super) entries: BTreeMap<Id, Entry>,
    pub(super) applied: CommitSeq,
    pub(super) known: BTreeSet<usize>,
    journal: Vec<Vec<Row>>,
    durable: usize,
}

impl Tree {
    fn write(&mut self, batch: Vec<Row>) {
        for row in &batch {
            match row {
                Row::Entry(id, entry) => set(&mut self.entries, *id, *entry),
                Row::Applied(seq) => self.applied = *seq,
                Row::Known(pack) => self.known.extend([*pack]),
            }
        }
        self.journal.push(batch);
    }

    pub(super) fn batches(&self) -> std::ops::RangeInclusive<usize> {
        self.durable..=self.journal.len()
    }

    pub(super) fn as_of(&self, batches: usize) -> Self {
        let mut tree = Self::default();
        self.journal[..batches].iter().for_each(|batch| tree.write(batch.clone()));
        tree
    }
}

/// Manifests that got their first row with a commit, and those that lost their last.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    added: Vec<Vec<Id>>,
    dropped: Vec<Vec<Id>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) records: Vec<Record>,
    rows: BTreeMap<Key, ManifestId>,
    manifests: BTreeMap<ManifestId, (u64, Vec<Id>)>,
    made: ManifestId,
}

impl Log {
    pub(super) fn last(&self) -> CommitSeq {
        CommitSeq::new(self.records.len() as u64)
    }

    fn manifest(&self, key: Key) -> Option<(ManifestId, Vec<Id>)> {
        self.rows.get(&key).map(|id| (*id, self.manifests[id].1.clone()))
    }

    fn drop_row(&mut self, key: Key, record: &mut Record) {
        let Some(id) = self.rows.remove(&key) else { return };
        let manifest = self.manifests.get_mut(&id).unwrap();
        manifest.0 -= 1;
        if manifest.0 == 0 {
            record.dropped.push(self.manifests.remove(&id).unwrap().1);
        }
    }

    fn put(&mut self, key: Key, ids: &[Id]) {
        let mut record = Record { added: vec![ids.to_vec()], ..Record::default() };
        self.made += 1;
        self.manifests.insert(self.made, (1, ids.to_vec()));
        self.drop_row(key, &mut record);
        self.rows.insert(key, self.made);
        self.records.push(record);
    }

    /// A manifest without a row is gone: `BodyGone`.
    fn copy(&mut self, key: Key, manifest: ManifestId) {
        let Some((rows, _)) = self.manifests.get_mut(&manifest) else { return };
        *rows += 1;
        let mut record = Record::default();
        self.drop_row(key, &mut record);
        self.rows.insert(key, manifest);
        self.records.push(record);
    }

    fn delete(&mut self, key: Key) {
        let mut record = Record::default();
        self.drop_row(key, &mut record);
        self.records.push(record);
    }

    /// References by id, as a recount finds them.
    pub(super) fn recount(&self) -> BTreeMap<Id, u64> {
        let mut counts = BTreeMap::new();
        for id in self.manifests.values().flat_map(|(_, ids)| ids) {
            *counts.entry(*id).or_default() += 1;
        }
        counts
    }
}

/// Packs of ids; `None` where a hole is.
#[derive(Debug, Clone, Default)]
pub(super) struct Packs(Vec<(Vec<Option<Id>>, bool)>);

impl Packs {
    fn append(&mut self, id: Id) -> Place {
        if self.0.last().is_none_or(|(_, is_sealed)| *is_sealed) {
            self.0.push((Vec::new(), false));
        }
        let pack = self.0.len() - 1;
        let (records, is_sealed) = &mut self.0[pack];
        records.push(Some(id));
        *is_sealed = records.len() == PACK_RECORDS;
        Place { pack, record: records.len() - 1 }
    }

    pub(super) fn read(&self, place: Place) -> Option<Id> {
        self.0[place.pack].0[place.record]
    }

    fn is_sealed(&self, pack: usize) -> bool {
        self.0[pack].1
    }

    fn sealed(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|pack| self.is_sealed(*pack)).collect()
    }

    fn punch(&mut self, place: Place) {
        self.0[place.pack].0[place.record] = None;
    }

    /// The records that are there.
    pub(super) fn scan(&self) -> Vec<(Id, Place)> {
        let packs = self.0.iter().enumerate();
        let records = packs.flat_map(|(pack, (records, _))| {
            let places = records.iter().enumerate();
            places.filter_map(move |(record, id)| id.map(|id| (id, Place { pack, record })))
        });
        records.collect()
    }
}

/// What a batch makes of an entry, and whether it stays beside the tree.
type Slot = (Id, Option<Entry>, bool);

#[derive(Debug)]
pub(super) struct Model {
    weakness: Weakness,
    /// The power may fail after every step that leaves something on the device.
    is_cut_at_each_step: bool,
    pub(super) holds: Arc<Holds>,
    /// Whoever changes entries has it.
    totals: Mutex<()>,
    applying: Mutex<()>,
    pub(super) tree: Mutex<Tree>,
    recent: Mutex<BTreeMap<Id, Entry>>,
    pub(super) packs: Mutex<Packs>,
    pub(super) log: Mutex<Log>,
    settling: Mutex<(u64, Vec<usize>)>,
}

impl Model {
    pub(super) fn new(weakness: Weakness, is_cut_at_each_step: bool) -> Self {
        Self {
            weakness,
            is_cut_at_each_step,
            holds: Arc::default(),
            totals: Mutex::new(()),
            applying: Mutex::new(()),
            tree: Mutex::default(),
            recent: Mutex::default(),
            packs: Mutex::default(),
            log: Mutex::default(),
            settling: Mutex::default(),
        }
    }

    fn is(&self, weakness: Weakness) -> bool {
        self.weakness == weakness
    }

    fn write(&self, batch: Vec<Row>) {
        self.tree.lock().write(batch);
        self.has_stepped();
    }

    fn log<T>(&self, commit: impl FnOnce(&mut Log) -> T) -> T {
        let done = commit(&mut self.log.lock());
        self.has_stepped();
        done
    }

    fn append(&self, id: Id) -> Place {
        let place = self.packs.lock().append(id);
        self.has_stepped();
        place
    }

    /// Nobody has the tree, the log or the packs.
    fn has_stepped(&self) {
        if self.is_cut_at_each_step {
            crash::power_cut(self);
        }
    }

    /// The entry, and whether it is beside the tree.
    fn find(&self, id: Id) -> Option<(Entry, bool)> {
        if let Some(entry) = self.recent.lock().get(&id).copied() {
            return Some((entry, true));
        }
        self.tree.lock().entries.get(&id).map(|entry| (*entry, false))
    }

    /// Under `totals`: the tree first, in one batch, then what is beside it.
    fn commit(&self, slots: &[Slot], applied: Option<CommitSeq>) {
        let in_tree = slots.iter().filter(|(_, _, is_recent)| !is_recent);
        let mut batch: Vec<_> = in_tree.map(|(id, entry, _)| Row::Entry(*id, *entry)).collect();
        batch.extend(applied.map(Row::Applied));
        if self.is(Weakness::NotRecentBeforeInTheTree) {
            self.commit_recent(slots);
        }
        if !batch.is_empty() {
            self.write(batch);
        }
        self.commit_recent(slots);
    }

    fn commit_recent(&self, slots: &[Slot]) {
        let mut recent = self.recent.lock();
        for (id, entry, is_recent) in slots {
            set(&mut recent, *id, entry.filter(|_| *is_recent));
        }
    }

    fn hit(&self, id: Id) -> Option<Place> {
        let (first, _) = self.find(id)?;
        if first.references > 0 || self.is(Weakness::HitTrustsItsFirstLook) {
            return Some(first.place);
        }
        let _totals = self.totals.lock();
        let now = self.holds.applied();
        let (entry, is_recent) = self.find(id)?;
        let stamp = stamps::hit(entry.references, entry.zero_since, now);
        if let Some(zero_since) = stamp.filter(|_| !self.is(Weakness::HitDoesNotStamp)) {
            self.commit(&[(id, Some(Entry { zero_since, ..entry }), is_recent)], None);
        }
        Some(entry.place)
    }

    fn insert(&self, id: Id, place: Place) {
        let _totals = self.totals.lock();
        let now = self.holds.applied();
        let slot = match self.find(id) {
            Some((entry, is_recent)) => {
                let stamp = stamps::hit(entry.references, entry.zero_since, now);
                stamp.map(|zero_since| (id, Some(Entry { zero_since, ..entry }), is_recent))
            }
            None => {
                let is_recent = !self.packs.lock().is_sealed(place.pack);
                Some((id, Some(Entry { place, references: 0, zero_since: now }), is_recent))
            }
        };
        if let Some(slot) = slot {
            self.commit(&[slot], None);
        }
    }

    fn store(&self, id: Id) {
        if self.hit(id).is_none() {
            let place = self.append(id);
            self.insert(id, place);
        }
    }

    pub(super) fn put(&self, key: Key, ids: &[Id]) {
        let mut rest = ids;
        if self.is(Weakness::HeldAfterTheFirstHit) {
            self.store(rest[0]);
            rest = &rest[1..];
        }
        let hold = self.holds.take();
        rest.iter().for_each(|id| self.store(*id));
        let hold = (!self.is(Weakness::ReleasedBeforeTheCommit)).then_some(hold);
        self.log(|log| log.put(key, ids));
        drop(hold);
    }

    /// A put that appends once more what it finds, and moves the entries there.
    pub(super) fn put_again(&self, key: Key, ids: &[Id]) {
        let hold = self.holds.take();
        for id in ids {
            let Some(from) = self.hit(*id) else {
                self.store(*id);
                continue;
            };
            let to = self.append(*id);
            let moved = {
                let _totals = self.totals.lock();
                let there = self.find(*id).map(|(entry, _)| entry).filter(|entry| entry.place == from);
                there.map(|entry| self.commit(&[(*id, Some(Entry { place: to, ..entry }), false)], None))
            };
            if moved.is_none() {
                self.insert(*id, to);
            }
        }
        self.log(|log| log.put(key, ids));
        drop(hold);
    }

    pub(super) fn copy(&self, from: Key, to: Key) {
        let source = self.log.lock().manifest(from);
        if let Some((manifest, _)) = source {
            self.log(|log| log.copy(to, manifest));
        }
    }

    pub(super) fn delete(&self, key: Key) {
        self.log(|log| log.delete(key));
    }

    /// The hold is taken before the row is read.
    pub(super) fn read(&self, key: Key) {
        let _hold: Hold = self.holds.take();
        let row = self.log.lock().manifest(key);
        for id in row.into_iter().flat_map(|(_, ids)| ids) {
            let mut before = None;
            loop {
                let found = self.find(id).map(|(entry, _)| entry.place);
                let place = found.unwrap_or_else(|| panic!("a reader misses chunk {id}"));
                match self.packs.lock().read(place) {
                    Some(content) => break assert_eq!(content, id, "a reader got something else"),
                    None => assert_ne!(before, Some(place), "a reader found a hole at chunk {id}"),
                }
                before = Some(place);
            }
        }
    }

    /// Counts the next record of the log, if there is one.
    pub(super) fn apply_one(&self) -> bool {
        let _applying = self.applying.lock();
        let seq = self.tree.lock().applied.next();
        let at = usize::try_from(seq.get()).unwrap() - 1;
        let Some(record) = self.log.lock().records.get(at).cloned() else { return false };
        if self.is(Weakness::PublishedBeforeCounted) {
            self.holds.publish(seq);
        }
        {
            let _totals = self.totals.lock();
            let slots: Vec<Slot> = counted(&record, seq, |id| self.find(id))
                .into_iter()
                .map(|(id, (entry, was_recent))| (id, Some(entry), was_recent && entry.references == 0))
                .collect();
            self.commit(&slots, Some(seq));
        }
        self.holds.publish(seq);
        true
    }

    pub(super) fn apply_all(&self) {
        while self.apply_one() {}
    }

    fn wait_applied(&self, seq: CommitSeq) {
        while self.holds.applied() < seq {
            self.apply_one();
        }
    }

    fn settle_recent(&self, which: impl Fn(&Entry) -> bool) {
        let ids: Vec<_> = {
            let recent = self.recent.lock();
            recent.iter().filter(|(_, entry)| which(entry)).map(|(id, _)| *id).collect()
        };
        let _totals = self.totals.lock();
        let found = ids.into_iter().filter_map(|id| self.find(id).map(|(entry, _)| (id, Some(entry), false)));
        let slots: Vec<Slot> = found.collect();
        self.commit(&slots, None);
    }

    /// As the index's: packs are known once their appenders are gone and what is recent was settled, in this order.
    pub(super) fn checkpoint(&self) {
        let mut settling = self.settling.lock();
        let is_complete = self.holds.all_gone_before(settling.0) || self.is(Weakness::KnownWhileAppended);
        let known: Vec<_> = if is_complete { std::mem::take(&mut settling.1) } else { Vec::new() };
        let mark_known = || known.iter().for_each(|pack| self.write(vec![Row::Known(*pack)]));
        if self.is(Weakness::KnownBeforeSettled) {
            mark_known();
        }
        self.settle_recent(|_| true);
        if is_complete {
            mark_known();
            let sealed = self.packs.lock().sealed();
            let known = self.tree.lock().known.clone();
            settling.1 = sealed.into_iter().filter(|pack| !known.contains(pack)).collect();
            settling.0 = self.holds.next_serial();
        }
        let mut tree = self.tree.lock();
        tree.durable = tree.journal.len();
    }

    pub(super) fn seal(&self) {
        if let Some((_, is_sealed)) = self.packs.lock().0.last_mut() {
            *is_sealed = true;
        }
    }

    /// References are those of a recount, and whatever is referenced is there.
    pub(super) fn verify(&self) {
        self.apply_all();
        self.settle_recent(|_| true);
        let (tree, log, packs) = (self.tree.lock(), self.log.lock(), self.packs.lock());
        verify(&tree, &log, &packs, "at the end");
    }

    pub(super) fn verify_empty(&self) {
        let (tree, recent, packs) = (self.tree.lock(), self.recent.lock(), self.packs.lock());
        assert!(tree.entries.is_empty() && recent.is_empty(), "unused chunks stay: {tree:?} {recent:?}");
        assert_eq!(packs.scan(), [], "garbage stays");
    }
}

pub(super) fn verify(tree: &Tree, log: &Log, packs: &Packs, context: &str) {
    let recounted = log.recount();
    for (id, references) in &recounted {
        let entry = tree.entries.get(id).unwrap_or_else(|| panic!("chunk {id} is lost {context}"));
        assert_eq!(entry.references, *references, "chunk {id} is miscounted {context}");
    }
    for (id, entry) in &tree.entries {
        assert_eq!(packs.read(entry.place), Some(*id), "chunk {id} is not at its place {context}");
        assert!(entry.references == 0 || recounted.contains_key(id), "chunk {id} is overcounted {context}");
    }
}

/// What a record makes of the entries that it names.
pub(super) fn counted(
    record: &Record,
    seq: CommitSeq,
    find: impl Fn(Id) -> Option<(Entry, bool)>,
) -> BTreeMap<Id, (Entry, bool)> {
    let mut changed = BTreeMap::new();
    let added = record.added.iter().flatten().map(|id| (*id, true));
    for (id, adds) in added.chain(record.dropped.iter().flatten().map(|id| (*id, false))) {
        let found = changed.get(&id).copied().or_else(|| find(id));
        let (entry, was_recent) =
            found.unwrap_or_else(|| panic!("chunk {id} is gone, and a commit names it"));
        let counted = stamps::counted(entry.references, entry.zero_since, adds, seq);
        let (references, zero_since) =
            counted.unwrap_or_else(|| panic!("chunk {id} is dropped once too often"));
        changed.insert(id, (Entry { references, zero_since, ..entry }, was_recent));
    }
    changed
}

/// As the collector: what it remembers of packs, and its steps.
#[derive(Debug, Default)]
pub(super) struct Collector {
    sealed_before: BTreeMap<usize, CommitSeq>,
}

impl Collector {
    pub(super) fn run(&mut self, model: &Model) {
        let (_, bound) = fence(model);
        collect(model, bound);
        self.reclaim(model);
    }

    /// Strays of settled packs become holes; what is left of a sparse one moves away.
    fn reclaim(&mut self, model: &Model) {
        let sealed = model.packs.lock().sealed();
        let (mark, _) = fence(model);
        let oldest = model.holds.oldest();
        for pack in sealed {
            let first = *self.sealed_before.entry(pack).or_insert(mark);
            if !stamps::is_past(first, oldest) && !model.is(Weakness::SettledWhileAppended) {
                continue;
            }
            let all = model.packs.lock().scan();
            let records: Vec<_> = all.into_iter().filter(|(_, place)| place.pack == pack).collect();
            let is_named =
                |(id, place): &(Id, Place)| model.find(*id).is_some_and(|(entry, _)| entry.place == *place);
            let (live, strays): (Vec<_>, Vec<_>) = records.into_iter().partition(is_named);
            if !strays.is_empty() {
                bury(model, strays.iter().map(|(_, place)| *place));
            }
            if live.len() == 1 {
                move_away(model, live[0]);
            }
        }
    }
}

/// The mark and the bound.
fn fence(model: &Model) -> (CommitSeq, CommitSeq) {
    let mark = model.log(|log| {
        log.records.push(Record::default());
        log.last()
    });
    model.wait_applied(mark);
    let oldest = model.holds.oldest();
    let bound = match model.weakness {
        Weakness::BoundIgnoresHolds => mark,
        Weakness::BoundIgnoresMark => oldest.unwrap_or(CommitSeq::MAX),
        _ => stamps::bound(mark, oldest),
    };
    let last = model.log.lock().last();
    if !model.is(Weakness::EndOfLogNotAwaited) {
        model.wait_applied(last);
    }
    (mark, bound)
}

fn collect(model: &Model, bound: CommitSeq) {
    model.settle_recent(|entry| entry.zero_since < bound);
    let candidates: Vec<_> = {
        let tree = model.tree.lock();
        let mut entries = tree.entries.iter().filter(|(_, e)| e.references == 0 && e.zero_since < bound);
        entries.by_ref().map(|(id, entry)| (*id, *entry)).collect()
    };
    let mut removed = Vec::new();
    {
        let _totals = model.totals.lock();
        let bound = match model.weakness {
            Weakness::BoundIgnoresHolds | Weakness::BoundIgnoresMark => bound,
            _ => stamps::bound(bound, model.holds.oldest()),
        };
        let mut slots = Vec::new();
        for (id, first) in candidates {
            let now = model.find(id).map(|(entry, _)| entry);
            let entry = if model.is(Weakness::NotLookedAtAgain) { Some(first) } else { now };
            let may_go = |entry: &Entry| stamps::may_go(entry.references, entry.zero_since, bound);
            if let Some(entry) = entry.filter(may_go) {
                slots.push((id, None, false));
                removed.push(entry.place);
            }
        }
        model.commit(&slots, None);
    }
    bury(model, removed.into_iter());
}

/// Nothing is marked or punched that a durable index names.
fn bury(model: &Model, places: impl Iterator<Item = Place>) {
    if !model.is(Weakness::BuriedBeforeDurable) {
        model.checkpoint();
    }
    for place in places {
        model.packs.lock().punch(place);
        model.has_stepped();
    }
}

fn move_away(model: &Model, (id, from): (Id, Place)) {
    let hold = model.holds.take();
    let copy = model.append(id);
    {
        let _totals = model.totals.lock();
        let found = model.find(id).map(|(entry, _)| entry);
        if let Some(entry) = found.filter(|entry| entry.place == from) {
            model.commit(&[(id, Some(Entry { place: copy, ..entry }), false)], None);
        }
    }
    drop(hold);
    let is_named = model.find(id).is_some_and(|(entry, _)| entry.place == from);
    if !is_named {
        bury(model, std::iter::once(from));
    }
}
