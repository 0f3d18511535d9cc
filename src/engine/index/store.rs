//! The LSM tree underneath, and what is kept of it in memory.

use super::apply::Position;
use super::changes::Owed;
use super::encoding::{
    OWED_BYTES, ZERO_BYTES, decode_counts, decode_cursor, decode_entry, decode_id, decode_owed_id,
    decode_u64, decode_usage, decode_zero_key, encode_counts, encode_cursor, encode_usage, owed_key,
};
use super::filters::Filters;
use super::keyspaces::{ENTRIES_BYTES, MARGIN_BYTES, SMALL_BYTES, entries, small};
use super::make_room::make_room;
use super::recent::Recent;
use super::types::{IndexCounts, IndexEntry, IndexSettings};
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::sys::{lacks_room, yield_point};
use crate::types::{ChunkId, CommitSeq};
use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode};
use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::HashMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

pub(super) const FORMAT: u64 = 2;
const KEY_FORMAT: &[u8] = b"format";
const KEY_APPLIED: &[u8] = b"applied";
const KEY_COUNTS: &[u8] = b"counts";
const KEY_CURSOR: &[u8] = b"cursor";
/// Stands there while the index is incomplete: a rebuild began and did not end.
const KEY_BUILDING: &[u8] = b"building";

pub(super) fn fjall_error(error: fjall::Error) -> EngineError {
    match error {
        fjall::Error::Io(error) if lacks_room(&error) => EngineError::Full,
        fjall::Error::Io(error) => EngineError::Io(error),
        fjall::Error::Poisoned => EngineError::Poisoned("the chunk index could not be written".into()),
        other => EngineError::Index(other.to_string()),
    }
}

/// The tree and its keyspaces. Nobody keeps them: they are closed and opened anew after a failed write.
pub(super) struct Handles {
    db: Database,
    pub(super) entries: Keyspace,
    pub(super) zero: Keyspace,
    pub(super) packs: Keyspace,
    known: Keyspace,
    /// Nodes whose entries are to be counted; the value says whether to add.
    pub(super) owed: Keyspace,
    meta: Keyspace,
    /// What `entries`, and each of the others, keeps in memory before it is written to disk.
    entries_bytes: u64,
    small_bytes: u64,
}

pub(super) struct Store {
    dir: PathBuf,
    settings: IndexSettings,
    /// `None`: closed, and could not be opened again yet.
    handles: RwLock<Option<Handles>>,
    /// Changed under the index's lock alone.
    recent: RwLock<Recent>,
    /// Every row of `entries` is in them, whoever writes one.
    pub(super) filters: Filters,
    /// Why nothing can be written until [`Self::reopen`].
    failure: watch::Sender<Option<String>>,
    /// Rows of `owed` for nodes in use that could not be read.
    uncounted: AtomicU64,
    /// See [`super::journal`].
    #[cfg(test)]
    pub(super) persisted: AtomicU64,
}

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Recent,
    Tree,
}

/// What every change has to keep in step with the rows: sums over the tree alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub(super) position: Position,
    pub(super) counts: IndexCounts,
    pub(super) usage: HashMap<PackId, (u64, u64)>,
    /// The position changed since it was last written.
    pub(super) moved: bool,
}

impl Handles {
    fn open(dir: &Path, settings: &IndexSettings) -> Result<Self, fjall::Error> {
        let db = Database::builder(dir)
            .cache_size(settings.cache_bytes)
            .worker_threads(1)
            .max_journaling_size(64 << 20)
            .open()?;
        Ok(Self {
            entries: db.keyspace("entries", entries)?,
            zero: db.keyspace("zero", small)?,
            packs: db.keyspace("packs", small)?,
            known: db.keyspace("known", small)?,
            owed: db.keyspace("owed", small)?,
            meta: db.keyspace("meta", small)?,
            db,
            entries_bytes: match cfg!(test) {
                true => 64 << 10,
                false => settings.entries_buffer_bytes().min(ENTRIES_BYTES - MARGIN_BYTES),
            },
            small_bytes: settings.small_buffer_bytes().min(SMALL_BYTES - MARGIN_BYTES),
        })
    }

    fn get(&self, id: &ChunkId) -> Result<Option<IndexEntry>, EngineError> {
        match self.entries.get(id.as_bytes()).map_err(fjall_error)? {
            Some(bytes) => decode_entry(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Before each batch, so that what is in memory stays bounded: see [`make_room`].
    pub(super) fn flush_full(&self) -> Result<(), fjall::Error> {
        let small =
            [&self.zero, &self.packs, &self.known, &self.owed, &self.meta].map(|k| (k, self.small_bytes));
        let mut all = small.into_iter().chain([(&self.entries, self.entries_bytes)]);
        all.try_for_each(|(keyspace, most)| make_room(&self.db, keyspace, most))
    }

    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.db.batch()
    }

    pub(super) fn put_totals(&self, batch: &mut OwnedWriteBatch, totals: &Totals) {
        batch.insert(&self.meta, KEY_COUNTS, encode_counts(&totals.counts));
        if totals.moved {
            let Position { applied, cursor } = &totals.position;
            batch.insert(&self.meta, KEY_APPLIED, applied.get().to_le_bytes());
            match cursor {
                Some(cursor) => batch.insert(&self.meta, KEY_CURSOR, encode_cursor(cursor)),
                None => batch.remove(&self.meta, KEY_CURSOR),
            }
        }
    }
}

impl Store {
    pub(super) fn open(dir: &Path, settings: &IndexSettings) -> Result<Self, fjall::Error> {
        let handles = Handles::open(dir, settings)?;
        Ok(Self {
            dir: dir.to_owned(),
            settings: settings.clone(),
            handles: RwLock::new(Some(handles)),
            recent: RwLock::new(Recent::new(settings.most_recent())),
            filters: Filters::new(settings.filter_bytes),
            failure: watch::Sender::new(None),
            uncounted: AtomicU64::new(0),
            #[cfg(test)]
            persisted: AtomicU64::new(super::journal::bytes(dir)),
        })
    }

    fn forget_recent(&self) {
        *self.recent.write() = Recent::new(self.settings.most_recent());
    }

    /// For one operation: see [`Self::reopen`].
    pub(super) fn handles(&self) -> Result<MappedRwLockReadGuard<'_, Handles>, EngineError> {
        let handles = self.handles.read_recursive();
        RwLockReadGuard::try_map(handles, Option::as_ref)
            .map_err(|_| EngineError::Busy("the chunk index is closed until its device takes writes"))
    }

    pub(super) fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read()
    }

    /// Under the index's lock.
    pub(super) fn recent_mut(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write()
    }

    pub(super) const fn failure(&self) -> &watch::Sender<Option<String>> {
        &self.failure
    }

    /// The tree takes no more writes after one failed, whatever becomes of the device.
    pub(super) fn written<T>(&self, result: Result<T, fjall::Error>) -> Result<T, EngineError> {
        result.map_err(|error| {
            self.failure.send_if_modified(|failure| {
                failure.is_none() && {
                    *failure = Some(error.to_string());
                    true
                }
            });
            match error {
                fjall::Error::Poisoned => {
                    EngineError::Busy("the chunk index is opened anew after a failed write; try again")
                }
                error => fjall_error(error),
            }
        })
    }

    /// Closes the tree and opens it again, as it was at some moment not before the last [`Self::persist`]. Waits for
    /// operations under way; the caller keeps changes away.
    pub(super) fn reopen(&self) -> Result<(), EngineError> {
        const PROBE_BYTES: usize = 8 << 20;
        const PATIENCE: Duration = Duration::from_secs(10);
        probe(&self.dir, PROBE_BYTES)?;
        let in_use = EngineError::Busy("the chunk index is in use; it is opened anew later");
        let mut handles = self.handles.try_write_for(PATIENCE).ok_or(in_use)?;
        // Rows that were removed since the last filter was begun may be there again.
        self.filters.forget();
        // The old one must be closed before: it holds the directory.
        drop(handles.take());
        *handles = Some(Handles::open(&self.dir, &self.settings).map_err(fjall_error)?);
        // Their packs are not known, so a scan finds them.
        self.forget_recent();
        Ok(())
    }

    /// Until [`Self::reopen`]; waits for operations under way.
    pub(super) fn close(&self) {
        drop(self.handles.write().take());
    }

    /// `None` for an index that is new or incomplete.
    pub(super) fn load(&self) -> Result<Option<Totals>, EngineError> {
        let handles = self.handles()?;
        let number = |key: &[u8]| handles.meta.get(key).map_err(fjall_error);
        match number(KEY_FORMAT)? {
            None => return Ok(None),
            Some(format) => match decode_u64(&format)? {
                FORMAT => {}
                newer if newer > FORMAT => {
                    return Err(EngineError::Incompatible(format!(
                        "the chunk index has format {newer}, this version knows {FORMAT}: start the newer version, or delete the index"
                    )));
                }
                other => return Err(EngineError::Index(format!("format {other} is not known"))),
            },
        }
        if number(KEY_BUILDING)?.is_some() {
            return Ok(None);
        }
        let mut totals = Totals::default();
        if let Some(applied) = number(KEY_APPLIED)? {
            totals.position.applied = CommitSeq::new(decode_u64(&applied)?);
        }
        if let Some(counts) = number(KEY_COUNTS)? {
            totals.counts = decode_counts(&counts)?;
        }
        if let Some(cursor) = number(KEY_CURSOR)? {
            totals.position.cursor = Some(decode_cursor(&cursor)?);
        }
        let mut uncounted = 0;
        for row in handles.owed.prefix([1]) {
            uncounted += u64::from(adds(&row.value().map_err(fjall_error)?));
        }
        self.uncounted.store(uncounted, Ordering::Release);
        for row in handles.packs.iter() {
            let (key, value) = row.into_inner().map_err(fjall_error)?;
            totals.usage.insert(decode_pack(&key)?, decode_usage(&value)?);
        }
        Ok(Some(totals))
    }

    /// Empties everything and says that it is incomplete until [`Self::finished`].
    pub(super) fn begin_building(&self) -> Result<(), EngineError> {
        self.mark_building()?;
        let handles = self.handles()?;
        self.written(handles.meta.insert(KEY_FORMAT, FORMAT.to_le_bytes()))?;
        self.persist()?;
        let Handles { entries, zero, packs, known, owed, meta, .. } = &*handles;
        for keyspace in [entries, zero, packs, known, owed] {
            self.written(keyspace.clear())?;
        }
        for key in [KEY_APPLIED, KEY_COUNTS, KEY_CURSOR] {
            self.written(meta.remove(key))?;
        }
        self.forget_recent();
        self.filters.begin_empty();
        self.uncounted.store(0, Ordering::Release);
        Ok(())
    }

    pub(super) fn mark_building(&self) -> Result<(), EngineError> {
        self.written(self.handles()?.meta.insert(KEY_BUILDING, [1]))?;
        self.persist()
    }

    pub(super) fn finished(&self) -> Result<(), EngineError> {
        self.persist()?;
        self.written(self.handles()?.meta.remove(KEY_BUILDING))?;
        self.persist()
    }

    pub(super) fn get(&self, id: &ChunkId) -> Result<Option<IndexEntry>, EngineError> {
        Ok(self.find(id)?.map(|(entry, _)| entry))
    }

    pub(super) fn find(&self, id: &ChunkId) -> Result<Option<(IndexEntry, Home)>, EngineError> {
        // Entries go from here to the tree, never back: in this order none is missed.
        if let Some(entry) = self.recent.read().get(id) {
            return Ok(Some((*entry, Home::Recent)));
        }
        if !self.filters.read().may_have(id) {
            return Ok(None);
        }
        Ok(self.handles()?.get(id)?.map(|entry| (entry, Home::Tree)))
    }

    /// As many times [`Self::get`].
    pub(super) fn get_all(&self, ids: &[ChunkId]) -> Result<Vec<Option<IndexEntry>>, EngineError> {
        let mut found: Vec<_> = {
            let recent = self.recent.read();
            ids.iter().map(|id| recent.get(id).copied()).collect()
        };
        yield_point();
        let maybe: Vec<_> = {
            let filters = self.filters.read();
            let asked = ids.iter().zip(&mut found);
            asked.filter(|(id, entry)| entry.is_none() && filters.may_have(id)).collect()
        };
        let handles = self.handles()?;
        for (id, entry) in maybe {
            *entry = handles.get(id)?;
        }
        Ok(found)
    }

    /// Of the tree alone.
    pub(super) fn entries_after(
        &self,
        after: Option<ChunkId>,
        limit: usize,
    ) -> Result<Vec<(ChunkId, IndexEntry)>, EngineError> {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(*id.as_bytes()));
        let handles = self.handles()?;
        let rows = handles.entries.range::<[u8; 32], _>((from, Bound::Unbounded)).take(limit);
        rows.map(|row| {
            let (key, value) = row.into_inner().map_err(fjall_error)?;
            Ok((decode_id(&key)?, decode_entry(&value)?))
        })
        .collect()
    }

    /// As [`Self::entries_after`], ids alone.
    pub(super) fn ids_after(
        &self,
        after: Option<ChunkId>,
        limit: usize,
    ) -> Result<Vec<ChunkId>, EngineError> {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(*id.as_bytes()));
        let handles = self.handles()?;
        let rows = handles.entries.range::<[u8; 32], _>((from, Bound::Unbounded)).take(limit);
        rows.map(|row| decode_id(&row.key().map_err(fjall_error)?)).collect()
    }

    pub(super) fn owed(&self, id: &ChunkId) -> Result<Option<Owed>, EngineError> {
        let handles = self.handles()?;
        for unread in [false, true] {
            if let Some(value) = handles.owed.get(owed_key(unread, id)).map_err(fjall_error)? {
                return Ok(Some(Owed { adds: adds(&value), unread }));
            }
        }
        Ok(None)
    }

    pub(super) fn nodes_to_count(&self) -> Result<Vec<ChunkId>, EngineError> {
        self.handles()?.owed.prefix([0]).map(|row| decode_owed_id(&row.key().map_err(fjall_error)?)).collect()
    }

    /// Nodes that could not be read, in order of id.
    pub(super) fn unread_after(
        &self,
        after: Option<ChunkId>,
        limit: usize,
    ) -> Result<Vec<ChunkId>, EngineError> {
        let first = ChunkId::new([0; 32]);
        let from =
            after.map_or(Bound::Included(owed_key(true, &first)), |id| Bound::Excluded(owed_key(true, &id)));
        let handles = self.handles()?;
        let rows = handles.owed.range::<[u8; OWED_BYTES], _>((from, Bound::Unbounded)).take(limit);
        rows.map(|row| decode_owed_id(&row.key().map_err(fjall_error)?)).collect()
    }

    pub(super) fn uncounted(&self) -> u64 {
        self.uncounted.load(Ordering::Acquire)
    }

    /// Under the index's lock.
    pub(super) fn add_uncounted(&self, more: i64) {
        self.uncounted.store(self.uncounted().saturating_add_signed(more), Ordering::Release);
    }

    /// Everything that is in the pack was added, and is durable here at the latest with the next `persist`.
    pub(super) fn mark_known(&self, pack: PackId) -> Result<(), EngineError> {
        self.written(self.handles()?.known.insert(pack_key(pack), []))
    }

    /// The pack is scanned should it come back.
    pub(super) fn unmark_known(&self, pack: PackId) -> Result<(), EngineError> {
        self.written(self.handles()?.known.remove(pack_key(pack)))
    }

    pub(super) fn put_usage(&self, pack: PackId, (records, bytes): (u64, u64)) -> Result<(), EngineError> {
        self.written(self.handles()?.packs.insert(pack_key(pack), encode_usage(records, bytes)))
    }

    pub(super) fn remove_usage(&self, pack: PackId) -> Result<(), EngineError> {
        self.written(self.handles()?.packs.remove(pack_key(pack)))
    }

    pub(super) fn known_packs(&self) -> Result<Vec<PackId>, EngineError> {
        self.handles()?.known.iter().map(|row| decode_pack(&row.key().map_err(fjall_error)?)).collect()
    }

    /// Entries of the tree without references: since when, and their ids, the longest first.
    pub(super) fn zeros(
        &self,
        range: (Bound<[u8; ZERO_BYTES]>, Bound<[u8; ZERO_BYTES]>),
        limit: usize,
    ) -> Result<Vec<(CommitSeq, ChunkId)>, EngineError> {
        let handles = self.handles()?;
        let rows = handles.zero.range(range).take(limit);
        rows.map(|row| decode_zero_key(&row.key().map_err(fjall_error)?)).collect()
    }

    pub(super) fn is_known(&self, pack: PackId) -> Result<bool, EngineError> {
        self.handles()?.known.contains_key(pack_key(pack)).map_err(fjall_error)
    }

    /// Makes everything written so far durable.
    pub(super) fn persist(&self) -> Result<(), EngineError> {
        let handles = self.handles()?;
        // While the tree syncs its journal, every change waits. So most of it is brought to the device before.
        self.written(handles.db.persist(PersistMode::Buffer))?;
        write_back(&self.dir);
        self.written(handles.db.persist(PersistMode::SyncAll))?;
        // Not before: batches wait in the process until then.
        #[cfg(test)]
        self.persisted.store(super::journal::bytes(&self.dir), Ordering::Release);
        Ok(())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// Whether the device takes so many bytes.
fn probe(dir: &Path, bytes: usize) -> Result<(), EngineError> {
    let path = dir.with_extension("probe");
    let written =
        std::fs::write(&path, vec![0x5A; bytes]).and_then(|()| std::fs::File::open(&path)?.sync_all());
    let removed = std::fs::remove_file(&path);
    written.and(removed).map_err(|error| fjall_error(fjall::Error::Io(error)))
}

/// Brings what stands in journals to the device. Promises nothing: an error is told again to whoever syncs for good.
fn write_back(dir: &Path) {
    let journals = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for journal in
        journals.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ext| ext == "jnl"))
    {
        let _ = std::fs::File::open(journal).and_then(|journal| journal.sync_data());
    }
}

fn adds(value: &[u8]) -> bool {
    value == [1]
}

pub(super) fn pack_key(pack: PackId) -> [u8; 8] {
    pack.get().to_be_bytes()
}

pub(super) fn decode_pack(key: &[u8]) -> Result<PackId, EngineError> {
    let key = key.try_into().map_err(|_| super::encoding::damaged("a pack's key"))?;
    Ok(PackId::new(u64::from_be_bytes(key)))
}
