//! Bytes of packs and plain bodies.

use super::Shipper;
use super::stuck::Stuck;
use crate::backup::container::Kind;
use crate::backup::objects::{self, Content, Writing};
use crate::backup::{
    BackupError, Contents, Extent, Inventory, ObjectName, PLAIN_PIECE_BYTES, PlainFile, Session,
};
use crate::engine::pack::{PackSet, PassingRecords};
use crate::engine::{EngineError, PlainStore};
use crate::storage::PackId;
use crate::sys::is_device_error;
use crate::types::PlainId;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// How much of a pack is looked at at a time.
const LOOK_BYTES: u64 = 4 << 20;

impl Shipper {
    /// Ships what packs have that the bucket lacks. When it returns, everything that was durable when it began is there: collection may
    /// have moved some of it meanwhile, so it looks again until nothing was given back.
    ///
    /// # Errors
    /// As a round; also when something of the store cannot be copied: all else was.
    pub(super) async fn ship_packs(&mut self) -> Result<(), BackupError> {
        let mut stuck = loop {
            let given_back = self.source.packs.given_back();
            let mut stuck = Stuck::default();
            let (present, wanted) = self.lacking(&mut stuck).await?;
            self.damaged.retain(|id, _| present.contains(id));
            self.present = present;
            let total = wanted.iter().map(|(_, range)| range.end - range.start).sum();
            if total > 0 {
                self.phase("packs", total);
                self.ship_extents(wanted, &mut stuck).await?;
            }
            if self.source.packs.given_back() == given_back {
                break stuck;
            }
        };
        let owed = std::mem::take(&mut self.owed_plains);
        self.owed_plains = self.ship_all_plains(owed, &mut stuck).await?;
        stuck.end()
    }

    /// All packs; and what of them the bucket lacks, in order of pack and place.
    async fn lacking(
        &self,
        stuck: &mut Stuck,
    ) -> Result<(HashSet<PackId>, Vec<(PackId, Range<u64>)>), BackupError> {
        let packs = self.source.packs.clone();
        let most = self.settings.extent_bytes;
        let ends: HashMap<_, _> =
            self.held.packs().map(|(id, _)| (id, u64::from(self.held.end(id)))).collect();
        let found = tokio::task::spawn_blocking(move || {
            let (mut present, mut lacking, mut failed) = (HashSet::new(), Vec::new(), Vec::new());
            for (id, extent) in packs.each_extent() {
                present.insert(id);
                let have = ends.get(&id).copied().unwrap_or(0);
                let pieces = match extent {
                    Ok(extent) if have >= extent.end => continue,
                    Ok(extent) => packs.pieces(id, have..extent.end, most),
                    Err(error) => Err(error),
                };
                match pieces {
                    Ok(pieces) => lacking.extend(pieces.into_iter().map(|piece| (id, piece))),
                    Err(_) if !packs.ids().contains(&id) => {}
                    Err(error) => failed.push((id, error)),
                }
            }
            (present, lacking, failed)
        });
        let (present, lacking, failed) = found.await?;
        failed.into_iter().for_each(|(id, error)| stuck.add(format_args!("pack {id}"), error));
        Ok((present, lacking))
    }

    /// A pack of which a piece cannot be copied waits, from there on; the others do not.
    async fn ship_extents(
        &mut self,
        wanted: Vec<(PackId, Range<u64>)>,
        stuck: &mut Stuck,
    ) -> Result<(), BackupError> {
        let (session, packs, stop) =
            (Arc::clone(&self.session), self.source.packs.clone(), self.stop.clone());
        let writing = self.writing();
        let in_flight = self.settings.uploads_in_flight;
        let doubted: HashMap<_, _> =
            self.damaged.keys().map(|pack| (*pack, self.is_out_of_patience(*pack))).collect();
        let held_back: Arc<Mutex<HashSet<PackId>>> = Arc::default();
        let wanted: Vec<_> =
            wanted.into_iter().flat_map(|(pack, range)| self.around_spoiled(pack, range)).collect();
        let puts = stream::iter(wanted).map(|(pack, range)| {
            let (session, stop, writing) = (Arc::clone(&session), stop.clone(), writing.clone());
            let (held_back, doubted) = (Arc::clone(&held_back), doubted.get(&pack).copied());
            let content = PackContent::new(packs.clone(), pack, range, doubted == Some(true));
            async move {
                if stop.is_cancelled() {
                    return Err(BackupError::Stopped);
                }
                if held_back.lock().contains(&pack) {
                    return Ok((pack, Ok(None)));
                }
                session.check().await?;
                match put_extent(&session, &content, doubted.is_some(), &writing).await {
                    Err(BackupError::Engine(error)) => {
                        held_back.lock().insert(pack);
                        Ok((pack, Err(error)))
                    }
                    put => Ok((pack, Ok(put?))),
                }
            }
        });
        let mut puts = std::pin::pin!(puts.buffered(in_flight));
        while let Some(put) = puts.next().await {
            let (pack, put) = put?;
            match put {
                // A pack that went meanwhile: what lived in it is in another one.
                Ok(None) => {}
                Ok(Some(extent)) => {
                    self.sent(u64::from(extent.to - extent.from), extent.stamp.bytes);
                    // Of a pack of which a piece is missing the later ones cannot be used.
                    if extent.from == self.held.end(pack) {
                        self.damaged.remove(&pack);
                        self.put_there(&Contents { packs: vec![extent], plains: Vec::new() }).await?;
                    }
                }
                Err(error) => {
                    self.damaged.entry(pack).or_insert_with(|| self.source.clock.now());
                    stuck.add(format_args!("pack {pack}"), error);
                }
            }
        }
        Ok(())
    }

    /// Ships plain bodies, and returns those that could not be copied.
    pub(super) async fn ship_all_plains(
        &mut self,
        ids: Vec<PlainId>,
        stuck: &mut Stuck,
    ) -> Result<Vec<PlainId>, BackupError> {
        let (mut ahead, mut left) = (ids.into_iter(), Vec::new());
        while let Some(id) = ahead.next() {
            match self.ship_plain(id).await {
                Ok(()) => {}
                Err(BackupError::Engine(error)) => {
                    stuck.add(format_args!("body {id}"), error);
                    left.push(id);
                }
                Err(error) => {
                    self.owed_plains.extend(left.into_iter().chain([id]).chain(ahead));
                    return Err(error);
                }
            }
        }
        Ok(left)
    }

    /// Ships a plain body, unless it is there or gone.
    pub(super) async fn ship_plain(&mut self, id: PlainId) -> Result<(), BackupError> {
        if self.held.has_plain(id) {
            return Ok(());
        }
        let plain = self.source.plain.clone();
        let length = match tokio::task::spawn_blocking(move || plain.raw_len(id)).await? {
            // Nothing names it any more: else collection would have spared it.
            Err(EngineError::MissingPlain(_)) => return Ok(()),
            length => length?,
        };
        let mut pieces = Vec::new();
        let mut at = 0;
        for piece in 0.. {
            if self.stop.is_cancelled() {
                return Err(BackupError::Stopped);
            }
            self.session.check().await?;
            let range = at..length.min(at + PLAIN_PIECE_BYTES);
            let name = ObjectName::Plain { id, piece };
            let content = PlainContent { plain: self.source.plain.clone(), id, range: range.clone() };
            let repository = Arc::clone(self.session.repository());
            let (content, writing) = (Arc::new(content), self.writing());
            let put = if self.spoiled.contains(&name) {
                let put = objects::put_over(&repository, name, Kind::Plain, content, &writing);
                self.session.lingering(put).await
            } else {
                objects::put(&repository, name, Kind::Plain, content, &writing).await
            };
            let stamp = match put {
                Err(BackupError::Engine(EngineError::MissingPlain(_))) => return Ok(()),
                put => put?,
            };
            self.sent(range.end - range.start, stamp.bytes);
            self.spoiled.remove(&name);
            pieces.push(stamp);
            at = range.end;
            if at >= length {
                break;
            }
        }
        let plains = vec![PlainFile { id, length, pieces }];
        self.put_there(&Contents { packs: Vec::new(), plains }).await
    }

    /// Remembers what is in the bucket now; after much of it, in the bucket as well.
    async fn put_there(&mut self, contents: &Contents) -> Result<(), BackupError> {
        self.held.add(contents);
        for list in [&mut self.fresh, &mut self.unnoted] {
            list.packs.extend(contents.packs.iter().copied());
            list.plains.extend(contents.plains.iter().cloned());
        }
        if self.unnoted.bytes() < self.settings.note_bytes {
            return Ok(());
        }
        self.session.check().await?;
        let (epoch, seq) = (self.session.epoch(), self.shipped.0);
        let contents = std::mem::take(&mut self.unnoted);
        let inventory = Inventory { epoch, seq, is_whole: false, contents };
        self.put_inventory(&inventory).await.map(drop)
    }
}

/// `None` when the pack went meanwhile.
async fn put_extent(
    session: &Session,
    content: &Arc<PackContent>,
    is_doubted: bool,
    writing: &Writing,
) -> Result<Option<Extent>, BackupError> {
    let (pack, range) = (content.pack, content.range.clone());
    let place = |at: u64| {
        let beyond = |_| BackupError::Unfit(format!("pack {pack} is longer than 4 GiB"));
        u32::try_from(at).map_err(beyond)
    };
    let (from, to) = (place(range.start)?, place(range.end)?);
    let name = ObjectName::Extent { pack, from, to, epoch: session.epoch() };
    let put = async {
        if is_doubted {
            // What was damaged may still be: then nothing of it is sent, each time.
            let content = Arc::clone(content);
            tokio::task::spawn_blocking(move || content.look()).await??;
        }
        let sent: Arc<dyn Content> = Arc::clone(content) as _;
        objects::put(session.repository(), name, Kind::Extent, sent, writing).await
    };
    let stamp = match put.await {
        Err(BackupError::Engine(EngineError::Io(error))) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        put => put?,
    };
    let crc = content.passed.lock().crc;
    Ok(Some(Extent { pack: pack.get(), from, to, epoch: session.epoch(), stamp, crc }))
}

struct PackContent {
    packs: PackSet,
    pack: PackId,
    range: Range<u64>,
    /// Damaged, and sent all the same: what cannot be read is zeros.
    as_it_stands: bool,
    passed: Mutex<Passed>,
}

/// What was read in order.
struct Passed {
    /// Up to here,
    to: u64,
    /// with this checksum.
    crc: u32,
    records: PassingRecords,
}

impl Passed {
    fn new(pack: PackId, from: u64) -> Self {
        Self { to: 0, crc: 0, records: PassingRecords::new(pack, from) }
    }
}

impl PackContent {
    fn new(packs: PackSet, pack: PackId, range: Range<u64>, as_it_stands: bool) -> Arc<Self> {
        let passed = Mutex::new(Passed::new(pack, range.start));
        Arc::new(Self { packs, pack, range, as_it_stands, passed })
    }

    fn look(&self) -> Result<(), EngineError> {
        let mut at = 0;
        while at < self.length() {
            let until = self.length().min(at + LOOK_BYTES);
            self.read(at..until)?;
            at = until;
        }
        *self.passed.lock() = Passed::new(self.pack, self.range.start);
        Ok(())
    }

    fn raw(&self, range: Range<u64>) -> Result<Bytes, EngineError> {
        match self.packs.read_raw(self.pack, range.clone()) {
            Err(EngineError::Io(error)) if self.as_it_stands && is_device_error(&error) => {
                Ok(self.packs.read_raw_around(self.pack, range)?.into())
            }
            read => read,
        }
    }
}

impl Content for PackContent {
    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes, EngineError> {
        let begin = self.range.start;
        let bytes = self.raw(begin + range.start..begin + range.end)?;
        let mut passed = self.passed.lock();
        if passed.to == range.start {
            passed.to = range.end;
            passed.crc = crc32c::crc32c_append(passed.crc, &bytes);
            for record in passed.records.pass(&bytes) {
                if !self.as_it_stands && self.packs.is_damaged(self.pack, record)? {
                    let why = format!("the record at {record} does not match its checksum");
                    return Err(EngineError::Io(io::Error::new(io::ErrorKind::InvalidData, why)));
                }
            }
        }
        Ok(bytes)
    }
}

struct PlainContent {
    plain: PlainStore,
    id: PlainId,
    range: Range<u64>,
}

impl Content for PlainContent {
    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes, EngineError> {
        self.plain.read_raw(self.id, self.range.start + range.start..self.range.start + range.end)
    }
}
