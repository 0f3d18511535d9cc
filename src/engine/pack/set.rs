//! All packs of a store: appending to the open one, knowing where the others end.

use super::flush::Flush;
use super::format::{PACK_HEADER_BYTES, RecordHeader, encode_footer_entry, encode_pack_header};
use super::recover::{self, Opened};
use super::seal::Unsealed;
use super::types::{
    Location, MAX_PAYLOAD_BYTES, MAX_TARGET_BYTES, NewRecord, PackInfo, PackSettings, RecoveryReport,
};
use crate::engine::EngineError;
use crate::engine::buffers::Buffers;
use crate::storage::{PackId, PackStore};
use crate::sys::{Barrier, Clock, FailPoint, Random, lacks_room};
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Simulated lives are short: their packs fill up sooner.
const MIN_TARGET_BYTES: u64 = if cfg!(test) { 16 << 10 } else { 1 << 20 };

/// The packs of a store. Clones share everything.
#[derive(Debug, Clone)]
pub struct PackSet(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Arc<dyn PackStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    target: u64,
    packs: RwLock<HashMap<PackId, Pack>>,
    writer: Mutex<Writer>,
    /// For what collection moves.
    aside: Mutex<Writer>,
    /// Full, or found at the start, and not sealed for want of room.
    waiting: Mutex<Vec<Unsealed>>,
    flush: Flush,
    buffers: Buffers,
    /// Packs with a damaged record that could not be marked dead.
    suspect: RwLock<HashSet<PackId>>,
    /// Places that the device could not give: whoever has the bytes stores them again.
    unreadable: RwLock<HashSet<(PackId, u32)>>,
    /// Packs whose marks this process knows to be durable.
    marked: Mutex<HashSet<PackId>>,
    /// See [`PackSet::given_back`].
    gave_back: AtomicU64,
}

/// What is known of a pack without reading it.
#[derive(Debug, Clone)]
pub(super) struct Pack {
    /// Where its records end.
    pub(super) end: u32,
    /// Up to where they are durable; 0 when nothing is known to be.
    pub(super) durable: u32,
    /// It was there at the start, and could not be made durable: a sync that succeeds later proves nothing.
    pub(super) in_doubt: bool,
    /// Ranges before `end` that hold no valid record, in order.
    pub(super) gaps: Arc<[Range<u32>]>,
    /// Records, or `None` while it is not sealed.
    pub(super) sealed: Option<u32>,
}

impl Pack {
    fn holds(&self, location: &Location) -> bool {
        let range = location.range();
        let touches = |gap: &Range<u32>| u64::from(gap.start) < range.end && range.start < u64::from(gap.end);
        range.start >= PACK_HEADER_BYTES as u64
            && range.end <= u64::from(self.end)
            && !self.gaps.iter().any(touches)
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    open: Option<Unsealed>,
    last_id: u64,
    /// Whether the next sync of everything is for what it writes, too.
    is_noted: bool,
}

impl PackSet {
    /// Finds all packs and seals those that a crash left open. Appends always begin a new pack.
    ///
    /// # Errors
    /// When packs cannot be read, or are of a format or a store that this version cannot read.
    pub fn open(
        store: Arc<dyn PackStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: &PackSettings,
    ) -> Result<(Self, RecoveryReport), EngineError> {
        let Opened { packs, waiting, report } = recover::open_all(store.as_ref())?;
        let last_id = packs.keys().map(|id| id.get()).max().unwrap_or(0);
        let shared = Shared {
            store,
            clock,
            random,
            target: settings.target_bytes.clamp(MIN_TARGET_BYTES, MAX_TARGET_BYTES),
            packs: RwLock::new(packs),
            writer: Mutex::new(Writer { open: None, last_id, is_noted: true }),
            aside: Mutex::new(Writer { open: None, last_id, is_noted: false }),
            waiting: Mutex::new(waiting),
            flush: Flush::default(),
            buffers: Buffers::default(),
            suspect: RwLock::default(),
            unreadable: RwLock::default(),
            marked: Mutex::default(),
            gave_back: AtomicU64::new(0),
        };
        Ok((Self(Arc::new(shared)), report))
    }

    /// Appends records in order, in one write for as many as the open pack takes. They are readable at once and
    /// durable after the next [`Self::sync`]. After an error none of them counts.
    ///
    /// # Errors
    /// When the bytes could not be written, or an earlier sync failed.
    pub fn append(&self, records: &[NewRecord]) -> Result<Vec<Location>, EngineError> {
        let headers = records.iter().map(header_of).collect::<Result<Vec<_>, _>>()?;
        let mut full = Vec::new();
        let appended = self.append_runs(&mut self.0.writer.lock(), records, &headers, &mut full);
        if !full.is_empty() {
            self.seal_packs(full)?;
            self.seal_waiting()?;
        }
        appended
    }

    /// Makes everything appended before the call durable.
    ///
    /// # Errors
    /// When it failed now or earlier: then nothing is written any more until the store is opened anew.
    pub fn sync(&self) -> Result<(), EngineError> {
        self.0.flush.sync(|pack| self.sync_one(pack))
    }

    /// Seals the open packs, so that the next start has nothing to recover.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub fn seal(&self) -> Result<(), EngineError> {
        let open = self.0.writer.lock().open.take();
        let aside = self.0.aside.lock().open.take();
        if let Some(error) = aside.as_ref().and_then(|aside| self.sync_aside(aside.id).err()) {
            open.into_iter().chain(aside).for_each(|pack| self.wait_to_seal(pack));
            return Err(error);
        }
        self.seal_packs(open.into_iter().chain(aside).collect())?;
        self.seal_waiting()
    }

    /// Whether writes still count. Does not block.
    ///
    /// # Errors
    /// `Poisoned` when a sync has failed.
    pub fn check(&self) -> Result<(), EngineError> {
        self.0.flush.check()
    }

    /// Whether the location is inside what its pack is known to hold. After a crash an index may name bytes that
    /// never reached the disk.
    #[must_use]
    pub fn is_valid(&self, location: &Location) -> bool {
        self.0.packs.read().get(&location.pack).is_some_and(|pack| pack.holds(location))
    }

    /// All packs with their sizes, in order of id.
    ///
    /// # Errors
    /// When the store cannot list them.
    pub fn packs(&self) -> Result<Vec<PackInfo>, EngineError> {
        let mut files = self.0.store.list()?;
        files.sort_unstable_by_key(|file| file.id);
        let packs = self.0.packs.read();
        let info = |file: crate::storage::PackFile| {
            let sealed = packs.get(&file.id)?.sealed.is_some();
            Some(PackInfo { id: file.id, len: file.len, allocated: file.allocated, sealed })
        };
        Ok(files.into_iter().filter_map(info).collect())
    }

    /// The number of records in a sealed pack; `None` for an open or unknown one.
    #[must_use]
    pub fn sealed_records(&self, pack: PackId) -> Option<u32> {
        self.0.packs.read().get(&pack)?.sealed
    }

    /// The ids of all packs, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<PackId> {
        let mut ids: Vec<_> = self.0.packs.read().keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The oldest pack that is not older than `from`.
    pub(in crate::engine) fn next_from(&self, from: PackId) -> Option<PackId> {
        self.0.packs.read().keys().filter(|pack| **pack >= from).min().copied()
    }

    pub(super) fn store(&self) -> &dyn PackStore {
        self.0.store.as_ref()
    }

    /// Places that the device could not give.
    pub(super) fn unreadable(&self) -> &RwLock<HashSet<(PackId, u32)>> {
        &self.0.unreadable
    }

    /// For what is read and for what it becomes.
    pub(in crate::engine) fn buffers(&self) -> &Buffers {
        &self.0.buffers
    }

    pub(super) fn known(&self, pack: PackId) -> Option<Pack> {
        self.0.packs.read().get(&pack).cloned()
    }

    /// Makes the marks in a pack durable, once for each process: one that was killed may have left them to memory.
    pub(super) fn sync_marks(&self, pack: PackId) -> Result<(), EngineError> {
        let mut marked = self.0.marked.lock();
        if !marked.contains(&pack) {
            self.wrote(pack);
            self.sync()?;
            marked.insert(pack);
        }
        Ok(())
    }

    pub(super) fn gave_back(&self) -> &AtomicU64 {
        &self.0.gave_back
    }

    pub(super) fn forget(&self, pack: PackId) {
        self.0.packs.write().remove(&pack);
        self.0.marked.lock().remove(&pack);
    }

    pub(super) fn suspect(&self, pack: PackId) {
        self.0.suspect.write().insert(pack);
    }

    pub(super) fn is_suspect(&self, pack: PackId) -> bool {
        self.0.suspect.read().contains(&pack)
    }

    pub(super) fn wrote(&self, pack: PackId) {
        self.0.flush.wrote(pack);
    }

    pub(super) fn poison(&self, why: String) -> Result<(), EngineError> {
        self.0.flush.poison(why)
    }

    pub(super) fn aside(&self) -> &Mutex<Writer> {
        &self.0.aside
    }

    pub(super) fn mark_sealed(&self, pack: PackId, records: u32) {
        if let Some(pack) = self.0.packs.write().get_mut(&pack) {
            pack.sealed = Some(records);
        }
    }

    pub(super) fn wait_to_seal(&self, pack: Unsealed) {
        self.0.waiting.lock().push(pack);
    }

    pub(super) fn take_waiting(&self) -> Vec<Unsealed> {
        std::mem::take(&mut *self.0.waiting.lock())
    }

    /// Writes to a pack outside the append path; durable after `sync`.
    pub(super) fn overwrite(&self, pack: PackId, offset: u64, bytes: &[u8]) -> Result<(), EngineError> {
        self.0.flush.check()?;
        self.0.store.write_at(pack, offset, bytes).map_err(from_io)?;
        self.0.flush.wrote(pack);
        Ok(())
    }

    pub(super) fn sync_one(&self, pack: PackId) -> io::Result<()> {
        let began = std::time::Instant::now();
        FailPoint::PackSync.pass()?;
        let end = self.known(pack).map_or(0, |pack| pack.end);
        let synced = self.0.store.sync(pack).and_then(|()| FailPoint::PackSynced.pass());
        if let (Ok(()), Some(pack)) = (&synced, self.0.packs.write().get_mut(&pack)) {
            pack.durable = pack.durable.max(end);
        }
        metrics::histogram!("sediment_fsync_seconds", "file" => "pack").record(began.elapsed());
        match synced {
            // Removed meanwhile: there is nothing left to make durable.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.known(pack).is_none() => Ok(()),
            other => other,
        }
    }

    pub(super) fn append_runs(
        &self,
        writer: &mut Writer,
        records: &[NewRecord],
        headers: &[RecordHeader],
        full: &mut Vec<Unsealed>,
    ) -> Result<Vec<Location>, EngineError> {
        let mut locations = Vec::with_capacity(records.len());
        while locations.len() < records.len() {
            self.0.flush.check()?;
            let mut open = match writer.open.take() {
                Some(open) => open,
                None => self.create(writer)?,
            };
            let done = locations.len();
            let run = self.fitting(&open, &headers[done..]);
            if run == 0 {
                full.push(open);
                continue;
            }
            let written = self.write_run(&mut open, &records[done..done + run], &headers[done..done + run]);
            if writer.is_noted {
                self.wrote(open.id);
            }
            match written {
                Ok(run) => locations.extend(run),
                Err(error) => {
                    // What was half written must not stand in the way. If even that fails, nothing more is
                    // appended to the pack.
                    let cut = self.0.store.truncate(open.id, u64::from(open.end));
                    self.wrote(open.id);
                    match cut {
                        Ok(()) => writer.open = Some(open),
                        Err(_) => self.wait_to_seal(open),
                    }
                    return Err(from_io(error));
                }
            }
            writer.open = Some(open);
        }
        Ok(locations)
    }

    /// How many of the records the pack still takes; an empty pack takes at least one.
    fn fitting(&self, open: &Unsealed, headers: &[RecordHeader]) -> usize {
        let mut end = u64::from(open.end);
        let fits = headers.iter().take_while(|header| {
            end += header.location(open.id, 0).record_len();
            end <= self.0.target
        });
        let fits = fits.count();
        if fits == 0 && open.records == 0 { 1 } else { fits }
    }

    fn write_run(
        &self,
        open: &mut Unsealed,
        records: &[NewRecord],
        headers: &[RecordHeader],
    ) -> io::Result<Vec<Location>> {
        let mut entries = Vec::with_capacity(headers.len());
        let mut locations = Vec::with_capacity(headers.len());
        let mut end = open.end;
        for header in headers {
            let location = header.location(open.id, end);
            entries.push(encode_footer_entry(header, open.id, end));
            locations.push(location);
            // The target keeps the end far below 2^32.
            end = u32::try_from(location.end()).unwrap_or(u32::MAX);
        }
        let slices = entries.iter().zip(records);
        let slices = slices.flat_map(|(entry, record)| [&entry[4..], &record.payload[..]]).map(IoSlice::new);
        let mut slices: Vec<_> = slices.collect();
        FailPoint::PackAppend.pass()?;
        self.0.store.write_vectored_at(open.id, u64::from(open.end), &mut slices)?;
        FailPoint::PackAppended.pass()?;
        open.end = end;
        open.records += u32::try_from(headers.len()).unwrap_or(u32::MAX);
        open.entries.extend_from_slice(entries.as_flattened());
        if let Some(pack) = self.0.packs.write().get_mut(&open.id) {
            pack.end = open.end;
        }
        Ok(locations)
    }

    fn begin(&self, id: PackId) -> io::Result<()> {
        FailPoint::PackCreated.pass()?;
        self.0.store.write_at(id, 0, &encode_pack_header(id))?;
        FailPoint::PackHeader.pass()
    }

    fn create(&self, writer: &mut Writer) -> Result<Unsealed, EngineError> {
        let Writer { last_id, is_noted, .. } = writer;
        const ATTEMPTS: usize = 16;
        /// An id has 42 bits for its time: until the year 2109.
        const LAST_MILLIS: u64 = (1 << 42) - 1;
        let mut refused = None;
        let newest = self.0.packs.read().keys().map(|id| id.get()).max().unwrap_or(0).max(*last_id);
        for _ in 0..ATTEMPTS {
            let millis = u64::try_from(self.0.clock.now().get()).ok().filter(|millis| *millis < LAST_MILLIS);
            // Whatever the clock does, ids grow: of two copies of a chunk the newer pack's is the one that healed it.
            let millis = millis.unwrap_or(0).max((newest >> 22) + 1).min(LAST_MILLIS);
            let id = PackId::new(millis << 22 | self.0.random.u64() >> 42);
            match self.0.store.create(id) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    refused = Some(error);
                    continue;
                }
                Err(error) => return Err(from_io(error)),
            }
            *last_id = id.get().max(*last_id);
            if let Err(error) = self.begin(id) {
                let _ = self.0.store.remove(id);
                return Err(from_io(error));
            }
            const END: u32 = PACK_HEADER_BYTES as u32;
            let pack = Pack { end: END, durable: 0, in_doubt: false, gaps: Arc::new([]), sealed: None };
            self.0.packs.write().insert(id, pack);
            if *is_noted {
                self.wrote(id);
            }
            return Ok(Unsealed::new(id, END));
        }
        Err(refused.map_or(EngineError::Busy("no free pack id"), from_io))
    }
}

impl Barrier for PackSet {
    fn sync(&self) -> io::Result<()> {
        Self::sync(self).map_err(|error| match error {
            EngineError::Io(error) => error,
            EngineError::Busy(why) => io::Error::new(io::ErrorKind::ResourceBusy, why),
            other => io::Error::other(other.to_string()),
        })
    }
}

pub(super) fn from_io(error: io::Error) -> EngineError {
    if lacks_room(&error) { EngineError::Full } else { EngineError::Io(error) }
}

pub(super) fn header_of(record: &NewRecord) -> Result<RecordHeader, EngineError> {
    let stored_len = u32::try_from(record.payload.len()).ok().filter(|len| *len <= MAX_PAYLOAD_BYTES);
    let Some(stored_len) = stored_len else {
        return Err(EngineError::Io(io::Error::new(io::ErrorKind::InvalidInput, "a record is too large")));
    };
    Ok(RecordHeader {
        id: record.id,
        kind: record.kind,
        codec: record.codec,
        stored_len,
        raw_len: record.raw_len,
        payload_crc: crc_fast::crc32_iscsi(&record.payload),
        dead: false,
    })
}
