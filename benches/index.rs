//! What the chunk index costs: new chunks, hits, misses, memory, disk, reopening.
//!
//! `cargo bench --bench index [-- --chunks N [--slope]]`, 200,000 random ids unless told. With `--slope` what each costs on the way: a
//! row at 0.3, 1, 3, 10, 30, 50 million. Compare ratios within one run, not numbers
//! between machines: up to two million ids a hash table of the same rows is measured beside it. Time and disk grow with N: plan
//! 100 to 200 bytes an id below `target/`. The numbers of `docs/decisions/002-…` and `008-…` come from here.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use sediment::engine::index::{ChunkIndex, IndexSettings};
use sediment::engine::pack::{Codec, Location, NewRecord, PackSet, PackSettings, RecordKind};
use sediment::meta::{Change, LogRecord, ManifestRow};
use sediment::storage::MemoryPackStore;
use sediment::sys::{OsRandom, Random, SeededRandom, SystemClock};
use sediment::types::{ChunkId, Entry, EntryKind, MAX_ROOT_ENTRIES, Manifest, UnixMillis};
use std::collections::HashMap;
use std::hint::black_box;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// As ingest asks: the chunks of about one MiB of a body.
const BATCH: u64 = 64;
/// Behind every id that is there.
const ABSENT: u64 = 1 << 40;
const ROW_BYTES: usize = 37;
/// New chunks at the beginning and at the end of filling, whose cost is compared.
const SAMPLE: u64 = 500_000;
/// More than this is no matter for a hash table.
const TABLE_IDS: u64 = 2_000_000;
/// As often as the follower makes the index durable, when bodies are large.
const CHECKPOINT_CHUNKS: u64 = 1_000_000;
/// What is asked for again and again: fewer than there are blocks in the cache.
const HOT: u64 = 8_000;

/// The same for the same number, and random to look at.
fn id(n: u64) -> ChunkId {
    let mut bytes = [0; 32];
    SeededRandom::new(n.wrapping_mul(0xD134_2543_DE82_EF95)).fill(&mut bytes);
    ChunkId::new(bytes)
}

/// A number below `ids`; one after the other they come in an order that has nothing to do with that of inserting.
fn shuffled(n: u64, ids: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % ids
}

/// Processor time of this process, all threads.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn resident_mib() -> u64 {
    memory_mib("VmRSS")
}

fn memory_mib(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn disk_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => disk_bytes(&entry.path()),
            false => entry.metadata().map_or(0, |metadata| metadata.len()),
        })
        .sum()
}

fn measure(what: &str, count: u64, work: impl FnOnce()) {
    let (began, cpu_began) = (Instant::now(), cpu());
    work();
    let (took, busy) = (began.elapsed(), cpu() - cpu_began);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let rate = count as f64 / took.as_secs_f64() / 1e3;
    println!("{what:<28} {rate:>8.0} k/s  {:>7.2} µs each  {:>7.2} µs CPU", each(took), each(busy));
}

/// One record that stands for all: the index asks its pack only whether a place is inside it.
fn packs() -> (PackSet, Location) {
    let store = Arc::new(MemoryPackStore::new());
    let (packs, _) =
        PackSet::open(store, Arc::new(SystemClock), Arc::new(OsRandom), &PackSettings::default()).unwrap();
    let payload = Bytes::from(vec![7; 16 << 10]);
    let record = NewRecord {
        id: id(2 * ABSENT),
        kind: RecordKind::Chunk,
        codec: Codec::Raw,
        raw_len: 16 << 10,
        payload,
    };
    let location = packs.append(&[record]).unwrap()[0];
    (packs, location)
}

/// As ingest does it and the log tells of it: bodies of as many chunks as a root holds, looked up, added, and referenced
/// by their commit.
fn put(index: &ChunkIndex, location: Location, ids: Range<u64>) {
    for first in ids.clone().step_by(MAX_ROOT_ENTRIES) {
        let hold = index.hold();
        let body = first..ids.end.min(first + MAX_ROOT_ENTRIES as u64);
        for block in body.clone().step_by(BATCH as usize) {
            let asked: Vec<_> = (block..body.end.min(block + BATCH)).map(id).collect();
            assert!(index.hit(&hold, &asked).unwrap().iter().all(Option::is_none));
            let records: Vec<_> = asked.iter().map(|id| (*id, RecordKind::Chunk, location)).collect();
            index.insert(&hold, &records).unwrap();
        }
        let entry = |n| Entry { kind: EntryKind::Chunk, id: id(n), len: 16 << 10 };
        let root = Manifest::new(body.map(entry).collect()).unwrap();
        let added = vec![ManifestRow { id: root.id(), root }];
        let (seq, at) = (index.applied().next(), UnixMillis::new(0));
        index.apply(&[LogRecord { seq, at, change: Change::Mark, added, dropped: Vec::new() }]).unwrap();
        if first / CHECKPOINT_CHUNKS != (first + MAX_ROOT_ENTRIES as u64) / CHECKPOINT_CHUNKS {
            index.checkpoint().unwrap();
        }
    }
}

/// The same chunks at the beginning and at the end: what a full index costs beside an empty one.
fn fill(index: &ChunkIndex, location: Location, ids: u64) {
    let sample = SAMPLE.min(ids / 4);
    measure("new chunks, the first", sample, || fill_keeping(index, location, 0..sample));
    let middle = sample..ids - sample;
    measure("new chunks, the middle", ids - 2 * sample, || fill_keeping(index, location, middle));
    measure("new chunks, the last", sample, || fill_keeping(index, location, ids - sample..ids));
    measure("checkpoint", 1, || _ = index.checkpoint().unwrap());
}

fn look_up(index: &ChunkIndex, ids: u64, offset: u64, from: u64, count: u64) {
    let hold = index.hold();
    for first in (from..from + count).step_by(BATCH as usize) {
        let asked: Vec<_> =
            (first..(from + count).min(first + BATCH)).map(|n| id(shuffled(n, ids) + offset)).collect();
        let found = index.hit(&hold, &asked).unwrap();
        assert!(found.iter().all(|place| place.is_some() == (offset == 0)));
    }
}

fn look_ups(index: &ChunkIndex, ids: u64, count: u64) {
    look_up(index, ids, 0, 0, count);
    measure("hits, random", count, || look_up(index, ids, 0, count, count));
    let hot = |rounds| (0..rounds).for_each(|_| look_up(index, ids, 0, 0, HOT.min(count)));
    hot(1);
    measure("hits, in cache", 10 * HOT.min(count), || hot(10));
    measure("misses", count, || look_up(index, ids, ABSENT, 0, count));
    measure("hits, 4 threads", count, || {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || look_up(index, ids, 0, thread * count / 4, count / 4));
            }
        });
    });
}

fn hash_table(ids: u64, count: u64) {
    let before = resident_mib();
    let mut table: HashMap<ChunkId, [u8; ROW_BYTES]> = HashMap::new();
    measure("a hash table: inserts", ids, || table.extend((0..ids).map(|n| (id(n), [1; ROW_BYTES]))));
    println!("{:<28} {:>8} MiB", "a hash table: resident", resident_mib().saturating_sub(before));
    measure("a hash table: hits", count, || {
        for n in 0..count {
            assert!(black_box(table.get(&id(shuffled(n, ids)))).is_some());
        }
    });
}

fn ticks(stat: &str) -> u64 {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Processor time of this thread.
fn own_cpu() -> Duration {
    Duration::from_millis(ticks(&std::fs::read_to_string("/proc/thread-self/stat").unwrap()) * 10)
}

/// Processor time of the tree's own threads: flushing and compaction.
fn workers_cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    Duration::from_millis(
        stats.filter(|stat| stat.contains("(fjall")).map(|stat| ticks(&stat)).sum::<u64>() * 10,
    )
}

fn micros(since: Duration, until: Duration, count: u64) -> f64 {
    until.saturating_sub(since).as_secs_f64() * 1e6 / count as f64
}

/// As the follower does it.
fn keep_filter(index: &ChunkIndex, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        if !index.extend_filter().unwrap() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn fill_keeping(index: &ChunkIndex, location: Location, ids: Range<u64>) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| keep_filter(index, &done));
        put(index, location, ids);
        done.store(true, Ordering::Release);
    });
}

/// What this thread takes for each.
fn each_of(count: u64, work: impl FnOnce()) -> f64 {
    let began = own_cpu();
    work();
    micros(began, own_cpu(), count)
}

const POWERS: [u64; 6] = [300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000, 50_000_000];
const HITS: u64 = 100_000;
const MISSES: u64 = 500_000;

/// Closed and opened: seconds, their processor time, and that until the filter is whole.
fn reopen(path: &Path, packs: &PackSet, settings: &IndexSettings) -> (ChunkIndex, [f64; 3]) {
    let (began, cpu_began) = (Instant::now(), cpu());
    let index = ChunkIndex::open(path, packs.clone(), settings).unwrap();
    let (took, opened) = (began.elapsed(), cpu());
    while index.extend_filter().unwrap() {}
    (index, [took.as_secs_f64(), (opened - cpu_began).as_secs_f64(), (cpu() - opened).as_secs_f64()])
}

/// What everything costs while the index grows: µs of processor time each, `new` with compaction, which is also shown alone.
fn slope(path: &Path, packs: &PackSet, location: Location, settings: &IndexSettings, ids: u64) {
    let mut index = ChunkIndex::open(path, packs.clone(), settings).unwrap();
    println!(
        "    chunks    new  (compaction)   hit   hot  miss | resident  peak MiB  B/id | open s   CPU  filter CPU"
    );
    let mut filled = 0;
    for power in POWERS.into_iter().filter(|power| *power <= ids) {
        let (count, began, workers) = (power - filled, cpu(), workers_cpu());
        fill_keeping(&index, location, filled..power);
        let (new, compaction) = (micros(began, cpu(), count), micros(workers, workers_cpu(), count));
        filled = power;
        index.checkpoint().unwrap();
        look_up(&index, power, 0, 0, HITS);
        let hit = each_of(HITS, || look_up(&index, power, 0, HITS, HITS));
        look_up(&index, power, 0, 0, HOT);
        let hot = each_of(10 * HOT, || (0..10).for_each(|_| look_up(&index, power, 0, 0, HOT)));
        let miss = each_of(MISSES, || look_up(&index, power, ABSENT, 0, MISSES));
        print!("{power:>10} {new:>6.2} {compaction:>13.2} {hit:>5.1} {hot:>5.1} {miss:>5.2} |");
        print!(" {:>8} {:>9}", resident_mib(), memory_mib("VmHWM"));
        drop(index);
        let disk = disk_bytes(path) / power;
        let opened;
        (index, opened) = reopen(path, packs, settings);
        let [seconds, busy, filter] = opened;
        println!(" {disk:>5} | {seconds:>6.2} {busy:>5.2} {filter:>11.2}");
    }
    assert_eq!(index.counts().unwrap().chunks, filled + 1, "and the one that stands for all");
}

fn main() {
    let ids: u64 = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(200_000);
    let count = ids.min(500_000);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("index");
    let (packs, location) = packs();
    let settings = IndexSettings::default();
    println!("{ids} ids, a block cache of {} MiB, batches of {BATCH}", settings.cache_bytes >> 20);
    measure("making an id", count, || (0..count).map(id).for_each(|id| _ = black_box(id)));
    if std::env::args().any(|arg| arg == "--slope") {
        return slope(&path, &packs, location, &settings, ids);
    }
    if ids <= TABLE_IDS {
        hash_table(ids, count);
    }
    let before = resident_mib();
    let index = ChunkIndex::open(&path, packs.clone(), &settings).unwrap();
    fill(&index, location, ids);
    look_ups(&index, ids, count);
    println!("{:<28} {:>8} MiB", "resident", resident_mib().saturating_sub(before));
    println!("{:<28} {:>8} MiB", "the process, at most", memory_mib("VmHWM"));
    drop(index);
    println!("{:<28} {:>8} bytes an id", "on disk", disk_bytes(&path) / ids);
    let mut reopened = None;
    measure("reopening", 1, || reopened = ChunkIndex::open(&path, packs, &settings).ok());
    let index = reopened.unwrap();
    assert_eq!(index.counts().unwrap().chunks, ids + 1, "and the one that stands for all");
    measure("hits, random, cold cache", count, || look_up(&index, ids, 0, 0, count));
}
