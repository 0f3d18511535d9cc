//! The LSM tree underneath, and what is kept of it in memory.

use super::apply::Position;
use super::changes::Owed;
use super::encoding::{
    OWED_BYTES, decode_counts, decode_cursor, decode_entry, decode_id, decode_owed_id, decode_u64,
    decode_usage, encode_counts, encode_cursor, encode_usage, owed_key,
};
use super::types::{IndexCounts, IndexEntry, IndexSettings};
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::types::{ChunkId, CommitSeq};
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use std::collections::HashMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const FORMAT: u64 = 2;
const KEY_FORMAT: &[u8] = b"format";
const KEY_APPLIED: &[u8] = b"applied";
const KEY_COUNTS: &[u8] = b"counts";
const KEY_CURSOR: &[u8] = b"cursor";
/// Stands there while the index is incomplete: a rebuild began and did not end.
const KEY_BUILDING: &[u8] = b"building";

pub(super) fn fjall_error(error: fjall::Error) -> EngineError {
    match error {
        fjall::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => EngineError::Full,
        fjall::Error::Io(error) => EngineError::Io(error),
        fjall::Error::Poisoned => EngineError::Poisoned("the chunk index could not be written".into()),
        other => EngineError::Index(other.to_string()),
    }
}

#[derive(Clone)]
pub(super) struct Store {
    db: Database,
    pub(super) entries: Keyspace,
    pub(super) zero: Keyspace,
    pub(super) packs: Keyspace,
    pub(super) known: Keyspace,
    /// Nodes whose entries are to be counted; the value says whether to add.
    pub(super) owed: Keyspace,
    meta: Keyspace,
    /// Rows of `owed` for nodes in use that could not be read.
    uncounted: Arc<AtomicU64>,
}

/// What every change has to keep in step with the rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub(super) position: Position,
    pub(super) counts: IndexCounts,
    pub(super) usage: HashMap<PackId, (u64, u64)>,
    /// The position changed since it was last written.
    pub(super) moved: bool,
}

impl Store {
    pub(super) fn open(dir: &Path, settings: &IndexSettings) -> Result<Self, fjall::Error> {
        let db = Database::builder(dir)
            .cache_size(settings.cache_bytes)
            .worker_threads(1)
            .max_journaling_size(64 << 20)
            .open()?;
        let small = || KeyspaceCreateOptions::default().max_memtable_size(4 << 20);
        let entries = || {
            let bloom = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));
            KeyspaceCreateOptions::default()
                .max_memtable_size(16 << 20)
                .filter_policy(FilterPolicy::all(bloom))
        };
        Ok(Self {
            entries: db.keyspace("entries", entries)?,
            zero: db.keyspace("zero", small)?,
            packs: db.keyspace("packs", small)?,
            known: db.keyspace("known", small)?,
            owed: db.keyspace("owed", small)?,
            uncounted: Arc::default(),
            meta: db.keyspace("meta", small)?,
            db,
        })
    }

    /// `None` for an index that is new or incomplete.
    pub(super) fn load(&self) -> Result<Option<Totals>, EngineError> {
        let number = |key: &[u8]| self.meta.get(key).map_err(fjall_error);
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
        for row in self.owed.prefix([1]) {
            uncounted += u64::from(adds(&row.value().map_err(fjall_error)?));
        }
        self.uncounted.store(uncounted, Ordering::Release);
        for row in self.packs.iter() {
            let (key, value) = row.into_inner().map_err(fjall_error)?;
            totals.usage.insert(decode_pack(&key)?, decode_usage(&value)?);
        }
        Ok(Some(totals))
    }

    /// Empties everything and says that it is incomplete until [`Self::finished`].
    pub(super) fn begin_building(&self) -> Result<(), EngineError> {
        self.mark_building()?;
        self.meta.insert(KEY_FORMAT, FORMAT.to_le_bytes()).map_err(fjall_error)?;
        self.persist()?;
        for keyspace in [&self.entries, &self.zero, &self.packs, &self.known, &self.owed] {
            keyspace.clear().map_err(fjall_error)?;
        }
        for key in [KEY_APPLIED, KEY_COUNTS, KEY_CURSOR] {
            self.meta.remove(key).map_err(fjall_error)?;
        }
        self.uncounted.store(0, Ordering::Release);
        Ok(())
    }

    pub(super) fn mark_building(&self) -> Result<(), EngineError> {
        self.meta.insert(KEY_BUILDING, [1]).map_err(fjall_error)?;
        self.persist()
    }

    pub(super) fn finished(&self) -> Result<(), EngineError> {
        self.persist()?;
        self.meta.remove(KEY_BUILDING).map_err(fjall_error)?;
        self.persist()
    }

    pub(super) fn get(&self, id: &ChunkId) -> Result<Option<IndexEntry>, EngineError> {
        match self.entries.get(id.as_bytes()).map_err(fjall_error)? {
            Some(bytes) => decode_entry(&bytes).map(Some),
            None => Ok(None),
        }
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

    pub(super) fn entries_after(
        &self,
        after: Option<ChunkId>,
        limit: usize,
    ) -> Result<Vec<(ChunkId, IndexEntry)>, EngineError> {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(*id.as_bytes()));
        let rows = self.entries.range::<[u8; 32], _>((from, Bound::Unbounded)).take(limit);
        rows.map(|row| {
            let (key, value) = row.into_inner().map_err(fjall_error)?;
            Ok((decode_id(&key)?, decode_entry(&value)?))
        })
        .collect()
    }

    pub(super) fn owed(&self, id: &ChunkId) -> Result<Option<Owed>, EngineError> {
        for unread in [false, true] {
            if let Some(value) = self.owed.get(owed_key(unread, id)).map_err(fjall_error)? {
                return Ok(Some(Owed { adds: adds(&value), unread }));
            }
        }
        Ok(None)
    }

    pub(super) fn nodes_to_count(&self) -> Result<Vec<ChunkId>, EngineError> {
        self.owed.prefix([0]).map(|row| decode_owed_id(&row.key().map_err(fjall_error)?)).collect()
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
        let rows = self.owed.range::<[u8; OWED_BYTES], _>((from, Bound::Unbounded)).take(limit);
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
        self.known.insert(pack_key(pack), []).map_err(fjall_error)
    }

    /// The pack is scanned should it come back.
    pub(super) fn unmark_known(&self, pack: PackId) -> Result<(), EngineError> {
        self.known.remove(pack_key(pack)).map_err(fjall_error)
    }

    pub(super) fn put_usage(&self, pack: PackId, (records, bytes): (u64, u64)) -> Result<(), EngineError> {
        self.packs.insert(pack_key(pack), encode_usage(records, bytes)).map_err(fjall_error)
    }

    pub(super) fn is_known(&self, pack: PackId) -> Result<bool, EngineError> {
        self.known.contains_key(pack_key(pack)).map_err(fjall_error)
    }

    /// Makes everything written so far durable.
    pub(super) fn persist(&self) -> Result<(), EngineError> {
        self.db.persist(PersistMode::SyncAll).map_err(fjall_error)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
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
