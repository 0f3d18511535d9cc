//! Bytes of packs.

use super::Shipper;
use super::doubts::Unit;
use super::plains::Why;
use super::stuck::Stuck;
use crate::backup::container::Kind;
use crate::backup::objects::{self, Content, Writing};
use crate::backup::{BackupError, Contents, Extent, Inventory, ObjectName, Session};
use crate::engine::EngineError;
use crate::engine::pack::{PackExtent, PackSet, PassingRecords};
use crate::storage::PackId;
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
        let left = self.ship_all_plains(owed, Why::InUse, &mut stuck).await?;
        self.owed_plains.extend(left);
        stuck.end()
    }

    /// All packs; and what of them the bucket lacks, in order of pack and place.
    async fn lacking(
        &mut self,
        stuck: &mut Stuck,
    ) -> Result<(HashSet<PackId>, Vec<(PackId, Range<u64>)>), BackupError> {
        let packs = self.source.packs.clone();
        let most = self.settings.extent_bytes;
        let ends: HashMap<_, _> =
            self.held.packs().map(|(id, _)| (id, u64::from(self.held.end(id)))).collect();
        let doubted = self.doubted_packs();
        let found = tokio::task::spawn_blocking(move || {
            let (mut present, mut lacking, mut failed) = (HashSet::new(), Vec::new(), Vec::new());
            for (id, extent) in packs.each_extent() {
                present.insert(id);
                let have = ends.get(&id).copied().unwrap_or(0);
                let as_it_stands = doubted.get(&id) == Some(&true);
                match pieces(&packs, (id, extent), have, (most, as_it_stands)) {
                    Ok(pieces) => lacking.extend(pieces.into_iter().map(|piece| (id, piece))),
                    Err(_) if !packs.ids().contains(&id) => {}
                    Err(error) => failed.push((id, error)),
                }
            }
            (present, lacking, failed)
        });
        let (present, lacking, failed) = found.await?;
        // Of these nothing is wanted any more.
        let is_at_stake = |pack: &PackId| {
            lacking.iter().any(|(id, _)| id == pack) || failed.iter().any(|(id, _)| id == pack)
        };
        for pack in self.doubts.packs().filter(|pack| !is_at_stake(pack)).collect::<Vec<_>>() {
            self.doubts.clear(Unit::Pack(pack)).await;
        }
        for (id, error) in failed {
            self.doubts.suspect(Unit::Pack(id), self.source.clock.now(), None).await;
            stuck.add(format_args!("pack {id}"), error);
        }
        Ok((present, lacking))
    }

    /// Those that were damaged when they were last looked at, and whether they have had their time.
    fn doubted_packs(&self) -> HashMap<PackId, bool> {
        self.doubts.packs().map(|id| (id, self.is_out_of_patience(Unit::Pack(id)))).collect()
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
        let mut doubted = self.doubted_packs();
        doubted.retain(|doubted, _| wanted.iter().any(|(pack, _)| pack == doubted));
        let tried: Vec<PackId> = doubted.keys().copied().collect();
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
        let mut failed = HashSet::new();
        while let Some(put) = puts.next().await {
            let (pack, put) = put?;
            match put {
                // A pack that went meanwhile: what lived in it is in another one.
                Ok(None) => {}
                Ok(Some(extent)) => {
                    self.sent(u64::from(extent.to - extent.from), extent.stamp.bytes);
                    // Of a pack of which a piece is missing the later ones cannot be used.
                    if extent.from == self.held.end(pack) {
                        self.put_there(&Contents { packs: vec![extent], ..Contents::default() }).await?;
                    }
                }
                Err(error) => {
                    failed.insert(pack);
                    self.doubts.suspect(Unit::Pack(pack), self.source.clock.now(), None).await;
                    stuck.add(format_args!("pack {pack}"), error);
                }
            }
        }
        for pack in tried.into_iter().filter(|pack| !failed.contains(pack)) {
            self.doubts.clear(Unit::Pack(pack)).await;
        }
        Ok(())
    }

    /// Remembers what is in the bucket now; after much of it, in the bucket as well.
    pub(super) async fn put_there(&mut self, contents: &Contents) -> Result<(), BackupError> {
        self.held.add(contents);
        for list in [&mut self.fresh, &mut self.unnoted] {
            list.packs.extend(contents.packs.iter().copied());
            list.plains.extend(contents.plains.iter().cloned());
            list.lost_plains.extend(&contents.lost_plains);
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

/// What of a pack is to be sent behind what is there, in pieces; `as_it_stands`: however little is known of it.
fn pieces(
    packs: &PackSet,
    (id, extent): (PackId, Result<PackExtent, EngineError>),
    have: u64,
    (most, as_it_stands): (u64, bool),
) -> Result<Vec<Range<u64>>, EngineError> {
    let extent = match extent {
        Err(error) if as_it_stands => packs.extent_as_it_stands(id).ok_or(error)?,
        extent => extent?,
    };
    if have >= extent.end {
        return Ok(Vec::new());
    }
    match packs.pieces(id, have..extent.end, most) {
        Err(_) if as_it_stands => Ok(PackSet::pieces_anywhere(&(have..extent.end), most)),
        pieces => pieces,
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
        Err(BackupError::Engine(EngineError::Io(error)))
            if error.kind() == io::ErrorKind::NotFound && !content.packs.ids().contains(&pack) =>
        {
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
            Err(EngineError::Io(error)) if self.as_it_stands && self.packs.is_lost(self.pack, &error) => {
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
