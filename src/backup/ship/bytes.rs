//! Bytes of packs and plain bodies.

use super::Shipper;
use crate::backup::container::Kind;
use crate::backup::objects::{self, Content, Writing};
use crate::backup::{
    BackupError, Contents, Epoch, Extent, Inventory, ObjectName, PLAIN_PIECE_BYTES, PlainFile, Repository,
};
use crate::engine::pack::PackSet;
use crate::engine::{EngineError, PlainStore};
use crate::storage::PackId;
use crate::types::PlainId;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

impl Shipper {
    /// Ships what packs have that the bucket lacks. When it returns, everything that was durable when it began is there: collection may
    /// have moved some of it meanwhile, so it looks again until nothing was given back.
    pub(super) async fn ship_packs(&mut self) -> Result<(), BackupError> {
        while let Some(id) = self.owed_plains.last().copied() {
            self.ship_plain(id).await?;
            self.owed_plains.pop();
        }
        loop {
            let given_back = self.source.packs.given_back();
            let (present, wanted) = self.lacking().await?;
            self.present = present;
            let total = wanted.iter().map(|(_, range)| range.end - range.start).sum();
            if total > 0 {
                self.phase("packs", total);
                self.ship_extents(wanted).await?;
            }
            if self.source.packs.given_back() == given_back {
                return Ok(());
            }
        }
    }

    /// All packs; and what of them the bucket lacks, in order of pack and place.
    async fn lacking(&self) -> Result<(HashSet<PackId>, Vec<(PackId, Range<u64>)>), BackupError> {
        let packs = self.source.packs.clone();
        let most = self.settings.extent_bytes;
        let ends: HashMap<_, _> =
            self.held.packs().map(|(id, _)| (id, u64::from(self.held.end(id)))).collect();
        let found = tokio::task::spawn_blocking(move || {
            let (mut present, mut lacking) = (HashSet::new(), Vec::new());
            for extent in packs.extents()? {
                present.insert(extent.id);
                let have = ends.get(&extent.id).copied().unwrap_or(0);
                if have >= extent.end {
                    continue;
                }
                match packs.pieces(extent.id, have..extent.end, most) {
                    Ok(pieces) => lacking.extend(pieces.into_iter().map(|piece| (extent.id, piece))),
                    Err(_) if !packs.ids().contains(&extent.id) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok::<_, EngineError>((present, lacking))
        });
        Ok(found.await??)
    }

    async fn ship_extents(&mut self, wanted: Vec<(PackId, Range<u64>)>) -> Result<(), BackupError> {
        let (repository, epoch) = (Arc::clone(self.session.repository()), self.session.epoch());
        let (session, packs, stop) =
            (Arc::clone(&self.session), self.source.packs.clone(), self.stop.clone());
        let writing = self.writing();
        let in_flight = self.settings.uploads_in_flight;
        let wanted: Vec<_> =
            wanted.into_iter().flat_map(|(pack, range)| self.around_spoiled(pack, range)).collect();
        let puts = stream::iter(wanted).map(|(pack, range)| {
            let (repository, session, packs) = (Arc::clone(&repository), Arc::clone(&session), packs.clone());
            let (writing, stop) = (writing.clone(), stop.clone());
            async move {
                if stop.is_cancelled() {
                    return Err(BackupError::Stopped);
                }
                session.check().await?;
                put_extent(&repository, packs, epoch, pack, range, &writing).await
            }
        });
        let mut puts = std::pin::pin!(puts.buffered(in_flight));
        while let Some(put) = puts.next().await {
            // A pack that went meanwhile: what lived in it is in another one.
            let Some(extent) = put? else { continue };
            self.sent(u64::from(extent.to - extent.from), extent.stamp.bytes);
            // Of a pack of which a piece is missing the later ones cannot be used.
            if extent.from == self.held.end(extent.pack()) {
                self.put_there(&Contents { packs: vec![extent], plains: Vec::new() }).await?;
            }
        }
        Ok(())
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
                objects::put_over(&repository, name, Kind::Plain, content, &writing).await
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
    repository: &Arc<Repository>,
    packs: PackSet,
    epoch: Epoch,
    pack: PackId,
    range: Range<u64>,
    writing: &Writing,
) -> Result<Option<Extent>, BackupError> {
    let place = |at: u64| {
        let beyond = |_| BackupError::Unfit(format!("pack {pack} is longer than 4 GiB"));
        u32::try_from(at).map_err(beyond)
    };
    let (from, to) = (place(range.start)?, place(range.end)?);
    let name = ObjectName::Extent { pack, from, to, epoch };
    let content = Arc::new(PackContent { packs, pack, range, read: Mutex::new((0, 0)) });
    let put = objects::put(repository, name, Kind::Extent, Arc::clone(&content) as _, writing).await;
    let stamp = match put {
        Err(BackupError::Engine(EngineError::Io(error))) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        put => put?,
    };
    let crc = content.read.lock().1;
    Ok(Some(Extent { pack: pack.get(), from, to, epoch, stamp, crc }))
}

struct PackContent {
    packs: PackSet,
    pack: PackId,
    range: Range<u64>,
    /// Up to where it was read in order, and the checksum up to there.
    read: Mutex<(u64, u32)>,
}

impl Content for PackContent {
    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes, EngineError> {
        let begin = self.range.start;
        let bytes = self.packs.read_raw(self.pack, begin + range.start..begin + range.end)?;
        let mut read = self.read.lock();
        if read.0 == range.start {
            *read = (range.end, crc32c::crc32c_append(read.1, &bytes));
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
