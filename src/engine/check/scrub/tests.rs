#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::cursor::{Cursor, Place};
use super::{Pace, ScrubParts, ScrubReport, ScrubSettings, Scrubber};
use crate::engine::check::{CheckReport, Finding, Named, Pass};
use crate::engine::gc::PlainFiles;
use crate::engine::gc::testing::{World, content, named};
use crate::engine::pack::Location;
use crate::engine::read::BodyReader;
use crate::engine::{CacheSettings, ChunkCache, EngineSettings, MemoryBudget};
use crate::meta::{Audit, MetaStore, NewBody, StoredBody, VersionKind};
use crate::storage::PackId;
use crate::sys::{FileSystem, ManualClock, RealFileSystem, SimulatedFileSystem, SystemSteady};
use crate::types::{ChunkId, ResolvedRange, UploadId};
use futures::TryStreamExt;
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const UPLOAD: UploadId = UploadId::new([3; 16]);
const PLAIN: &str = "plain";

/// What became of the damages of a matrix.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) damages: u64,
    /// Records whose content was saved.
    pub(super) healed: u64,
    /// With objects that cannot be read.
    pub(super) lost: u64,
    /// Of headers and footers, by which nothing is lost.
    pub(super) frames: u64,
}

impl Outcome {
    pub(super) fn add(&mut self, report: &ScrubReport, lost: &BTreeSet<String>) {
        self.damages += 1;
        self.healed += u64::from(report.found.healed > 0);
        self.lost += u64::from(!lost.is_empty());
        let is_frame = |finding: &Finding| matches!(finding, Finding::DamagedFrame { .. });
        self.frames += u64::from(lost.is_empty() && report.found.findings.iter().any(is_frame));
    }
}

/// A store with one sealed pack: two bodies that share a node, two parts of an open upload, and a body stored whole.
pub(super) struct Subject {
    pub(super) world: World,
    pub(super) scrubber: Scrubber,
    reader: BodyReader,
    dir: tempfile::TempDir,
    seeds: Vec<(&'static str, Vec<u64>)>,
}

impl Subject {
    pub(super) async fn new() -> Self {
        let mut world = World::new().await;
        let seeds = vec![("a", vec![1, 2, 3, 4, 5]), ("b", vec![1, 2, 3, 4, 5, 9])];
        world.put("a", &seeds[0].1).await;
        let mut put = world.begin_put();
        world.write(&mut put, &[1, 2, 3, 4, 5]).unwrap();
        world.wrap(&mut put).unwrap();
        world.write(&mut put, &[9]).unwrap();
        world.finish_put(put, "b").await.unwrap();
        world.upload(UPLOAD, &[&[20], &[2, 21]]).await;
        let whole = world.write_plain(&[30, 31]);
        world.put_body(PLAIN, NewBody::Plain(whole), &[30, 31]).await.unwrap();
        world.packs.seal().unwrap();
        world.follow().await;
        let dir = tempfile::tempdir().unwrap();
        let settings = CacheSettings { memory_bytes: 0, ..CacheSettings::default() };
        let cache = ChunkCache::new(&settings, Arc::new(SystemSteady)).unwrap();
        let budget = MemoryBudget::new(&EngineSettings::default()).reads;
        let index = Arc::new(world.index.clone());
        let reader = BodyReader::new(world.packs.clone(), index, cache, world.plain.clone(), budget);
        let scrubber = scrubber(&world, Arc::new(RealFileSystem), dir.path().join("scrub.json"));
        Self { world, scrubber, reader, dir, seeds }
    }

    /// Keeps how far it is on no real disk.
    pub(super) async fn quick() -> Self {
        let mut subject = Self::new().await;
        let (fs, dir) = (SimulatedFileSystem::new(1), PathBuf::from("scrub"));
        fs.create_dir_all(&dir).unwrap();
        subject.scrubber = scrubber(&subject.world, Arc::new(fs), dir.join("scrub.json"));
        subject
    }

    pub(super) fn pack_bytes(&self) -> Vec<u8> {
        self.world.memory.bytes(self.world.packs.ids()[0])
    }

    pub(super) fn set_pack_bytes(&self, bytes: Vec<u8>) {
        self.world.memory.set_bytes(self.world.packs.ids()[0], bytes);
    }

    /// What the index says of each record.
    pub(super) fn places(&self) -> Vec<(ChunkId, Location)> {
        let entries = self.world.index.entries(None, 1000).unwrap();
        entries.into_iter().map(|(id, entry)| (id, entry.location)).collect()
    }

    /// As if nothing had happened: what was given up, or saved elsewhere, is where it was.
    pub(super) fn restore(&self, original: &[(ChunkId, Location)], bytes: &[u8]) {
        let World { packs, index, .. } = &self.world;
        packs.seal().unwrap();
        let (now, first) = (self.places(), original[0].1.pack);
        let moves = now.iter().zip(original).map(|(now, was)| {
            assert_eq!(now.0, was.0);
            (now.0, now.1, was.1)
        });
        let moves: Vec<_> = moves.filter(|(_, now, was)| now != was).collect();
        index.relocate(&moves).unwrap();
        for pack in packs.ids().into_iter().filter(|pack| *pack != first) {
            packs.remove(pack).unwrap();
            index.forget_pack(pack).unwrap();
        }
        self.set_pack_bytes_of(first, bytes.to_vec());
    }

    fn set_pack_bytes_of(&self, pack: PackId, bytes: Vec<u8>) {
        self.world.memory.set_bytes(pack, bytes);
    }

    /// Where each record begins and ends.
    pub(super) fn records(&self) -> Vec<(usize, usize)> {
        let mut records = Vec::new();
        let pack = self.world.packs.ids()[0];
        let note = &mut |record: crate::engine::pack::ScannedRecord| {
            records.push((record.location.offset as usize, record.location.end() as usize));
        };
        self.world.packs.scan(pack, note).unwrap();
        records
    }

    pub(super) fn plain_file(&self) -> PathBuf {
        let id = self.world.plain.list().unwrap()[0].to_string();
        self.world.plain_dir().join(&id[..2]).join(id)
    }

    pub(super) async fn scrub(&self) -> ScrubReport {
        self.scrubber.run(Pace::Unlimited, &CancellationToken::new(), None).await.unwrap()
    }

    /// Names of all that a report calls lost.
    pub(super) fn named(report: &ScrubReport) -> BTreeSet<String> {
        let names = report.found.findings.iter().filter_map(|finding| match finding {
            Finding::Lost { object, .. } | Finding::DamagedObject { object, .. } => Some(object),
            _ => None,
        });
        let name = |object: &Named| match object.part {
            Some(part) => format!("part {part}"),
            None => object.key.clone(),
        };
        let names: BTreeSet<_> = names.map(name).collect();
        assert_eq!(names.len() as u64, report.found.lost_objects, "each once: {report}");
        names
    }

    async fn read(&self, body: &StoredBody, size: u64) -> Option<Vec<u8>> {
        let range = ResolvedRange { start: 0, end: size };
        let stream = self.reader.open(body, size, range).await.ok()?;
        let frames: Vec<bytes::Bytes> = stream.try_collect().await.ok()?;
        Some(frames.concat())
    }

    fn expected(seeds: &[u64]) -> Vec<u8> {
        seeds.iter().flat_map(|seed| content(*seed)).collect()
    }

    /// Those that a reader gets an error for. Whoever gets bytes gets those that were stored.
    pub(super) async fn unreadable(&self, context: &str) -> BTreeSet<String> {
        let mut unreadable = BTreeSet::new();
        let mut judge = |name: String, read: Option<Vec<u8>>, seeds: &[u64]| match read {
            Some(bytes) => assert!(bytes == Self::expected(seeds), "I4: {name} has other bytes: {context}"),
            None => drop(unreadable.insert(name)),
        };
        for (key, seeds) in
            self.seeds.iter().map(|(key, seeds)| (*key, &seeds[..])).chain([(PLAIN, &[30, 31][..])])
        {
            let version = self.world.meta.version(self.world.bucket, &named(key), None).await;
            let VersionKind::Object(object) = version.unwrap().unwrap().kind else { panic!("{key}") };
            judge(key.to_owned(), self.read(&object.body, object.size).await, seeds);
        }
        for (part, seeds) in
            self.world.meta.parts(UPLOAD, None, 9).await.unwrap().iter().zip([&[20][..], &[2, 21]])
        {
            judge(format!("part {}", part.number.get()), self.read(&part.body, part.size).await, seeds);
        }
        unreadable
    }

    /// As clients that upload everything once more, under other names.
    pub(super) async fn store_again(&self, context: &str) {
        let mut put = self.world.begin_put();
        let written = self.world.write(&mut put, &[1, 2, 3, 4, 5]);
        written.and_then(|()| self.world.wrap(&mut put)).unwrap_or_else(|error| panic!("{error}: {context}"));
        self.world.write(&mut put, &[9, 20, 2, 21]).unwrap();
        self.world.packs.sync().unwrap();
    }
}

pub(super) fn scrubber(world: &World, fs: Arc<dyn FileSystem>, file: PathBuf) -> Scrubber {
    let inspect = Arc::clone(&world.meta) as _;
    let checker = world
        .checker()
        .with_rows(Arc::clone(&world.meta) as Arc<dyn Audit>)
        .with_plain(PlainFiles { store: world.plain.clone(), inspect });
    Scrubber::new(ScrubParts {
        checker,
        fs,
        clock: Arc::new(ManualClock::default()),
        file,
        settings: ScrubSettings::default(),
    })
}

/// Flips a bit in the content of a chunk, in the first record of it.
fn harm(subject: &Subject, seed: u64) {
    let mut bytes = subject.pack_bytes();
    let at = bytes.windows(64).position(|window| window == &content(seed)[..64]).unwrap();
    bytes[at + 100] ^= 4;
    subject.set_pack_bytes(bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upload_stores_anew_while_it_is_searched_for_is_not_told_as_missing() {
    let subject = Subject::quick().await;
    harm(&subject, 3);
    assert!(!subject.unreadable("given up by a reader").await.is_empty());
    let (checker, stop) = (subject.world.checker(), CancellationToken::new());
    let mut pass = Pass::new(&checker, &stop, CheckReport::default());
    pass.entries_from(None, &HashSet::new()).unwrap();
    assert_eq!(pass.report.missing, 1);
    subject.store_again("meanwhile").await;
    pass.search_copies().unwrap();
    assert!(pass.report.is_clean_so_far() && pass.lost.is_empty(), "{}", pass.report);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_store_is_read_whole_and_is_clean() {
    let subject = Subject::new().await;
    let report = subject.scrub().await;
    assert!(report.is_clean(), "{report}");
    let found = &report.found;
    assert_eq!((found.records_read, found.plain_read, found.entries_read, found.rows), (9, 1, 9, 5));
    let status = subject.scrubber.status();
    assert!(!status.running && status.last.is_some() && status.error.is_none(), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_lost_chunk_is_named_by_every_body_and_part_that_needs_it_and_an_upload_heals_all() {
    let subject = Subject::new().await;
    harm(&subject, 2);
    let report = subject.scrub().await;
    let lost: BTreeSet<_> = ["a", "b", "part 2"].map(str::to_owned).into();
    assert_eq!(Subject::named(&report), lost, "{report}");
    assert_eq!(subject.unreadable("one chunk").await, lost);
    subject.store_again("one chunk").await;
    assert_eq!(subject.unreadable("stored again").await, BTreeSet::new());
    let report = subject.scrub().await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_whole_copy_in_another_place_heals_a_damaged_record() {
    let mut subject = Subject::new().await;
    let mut put = subject.world.begin_put();
    subject.world.store_again(&mut put, &[3]).unwrap();
    subject.world.finish_put(put, "other").await.unwrap();
    subject.world.packs.seal().unwrap();
    subject.world.follow().await;
    harm(&subject, 3);
    let report = subject.scrub().await;
    assert!(report.is_clean() && report.found.healed == 1, "{report}");
    assert_eq!(subject.unreadable("a copy").await, BTreeSet::new());
    let again = subject.scrub().await;
    assert!(again.is_clean() && again.found.healed == 0, "{again}");
    subject.world.verify("healed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_stopped_goes_on_in_the_next_process() {
    let subject = Subject::new().await;
    harm(&subject, 20);
    let stop = CancellationToken::new();
    let told = stop.clone();
    // Behind the first batch of records.
    let progress = Arc::new(move |status: &super::ScrubStatus| {
        if status.report.found.records_read > 0 {
            told.cancel();
        }
    });
    let stopped = subject.scrubber.run(Pace::Unlimited, &stop, Some(progress)).await.unwrap();
    assert!(!stopped.complete && stopped.found.stopped, "{stopped}");
    let next = scrubber(&subject.world, Arc::new(RealFileSystem), subject.dir.path().join("scrub.json"));
    let waiting = next.status();
    assert_eq!(waiting.done_bytes, stopped.found.bytes_read, "{waiting:?}");
    let report = next.run(Pace::Unlimited, &CancellationToken::new(), None).await.unwrap();
    assert!(report.complete, "{report}");
    assert_eq!(report.found.records_read, 9, "each once: {report}");
    assert_eq!(Subject::named(&report), ["part 1".to_owned()].into(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cursor_is_none_and_the_pass_begins_anew() {
    let subject = Subject::new().await;
    subject.scrub().await;
    let file = subject.dir.path().join("scrub.json");
    let intact = std::fs::read(&file).unwrap();
    for bit in 0..intact.len() * 8 {
        let mut bytes = intact.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&file, bytes).unwrap();
        let loaded = Cursor::load(&RealFileSystem, &file);
        assert_eq!(loaded, Cursor::default(), "bit {bit}");
    }
    assert!(scrubber(&subject.world, Arc::new(RealFileSystem), file).status().last.is_none());
    assert!(subject.scrub().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pass_at_a_time() {
    let subject = Subject::new().await;
    let _running = Arc::clone(&subject.scrubber.0.running).lock_owned().await;
    let refused = subject.scrubber.start(Pace::Beside, &CancellationToken::new());
    assert!(refused.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_after_a_pass_began_is_for_the_next() {
    let mut subject = Subject::new().await;
    let cursor =
        Cursor { pass: Some(super::pass::begin(&subject.scrubber.0.parts).unwrap()), ..Cursor::default() };
    cursor.save(&RealFileSystem, &subject.dir.path().join("scrub.json")).unwrap();
    assert!(matches!(cursor.pass.unwrap().place, Place::Pack { pack: 0, offset: 0 }));
    subject.world.put("later", &[40, 41]).await;
    subject.world.follow().await;
    assert_eq!(subject.scrub().await.found.records_read, 9);
    assert_eq!(subject.scrub().await.found.records_read, 11);
}
