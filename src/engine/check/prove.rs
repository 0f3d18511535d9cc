//! Proving that records hold what their ids say, and saving of damaged ones what can be saved.
//!
//! Whatever is saved is stored once more, as a client would that uploads the same bytes: appended and durable before the
//! index names it, under a hold. So it may meet requests and collection as any put does.

use super::index_walk::PAGE;
use super::report::Finding;
use super::{Checker, Pass};
use crate::engine::EngineError;
use crate::engine::codec::decode_record;
use crate::engine::pack::{Location, NewRecord, Record, RecordKind};
use crate::storage::PackId;
use crate::sys::is_device_error;
use crate::types::{ChunkId, Node};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

pub(super) const READ_BYTES: u64 = 1 << 20;

/// So many records as are read together, at least one.
pub(super) fn batch_of(places: &[(ChunkId, Location)]) -> usize {
    let mut bytes = 0;
    let taken = places.iter().take_while(|(_, location)| {
        bytes += location.record_len();
        bytes <= READ_BYTES
    });
    taken.count().max(1).min(places.len())
}

impl Pass<'_> {
    pub(super) fn prove_all(&mut self, places: &[(ChunkId, Location)]) -> Result<(), EngineError> {
        let mut rest = places;
        while !rest.is_empty() && !self.stop.is_cancelled() {
            let (batch, tail) = rest.split_at(batch_of(rest));
            self.prove(batch)?;
            rest = tail;
        }
        Ok(())
    }

    pub(super) fn prove(&mut self, batch: &[(ChunkId, Location)]) -> Result<(), EngineError> {
        // Until whatever is found wrong is judged, nothing of it is collected.
        let _hold = self.checker.index.hold();
        for ((id, location), read) in batch.iter().zip(self.checker.packs.read(batch)) {
            self.report.records_read += 1;
            self.report.bytes_read += location.record_len();
            let Err(first) = read.and_then(|record| proven(&record).map(drop)) else { continue };
            match self.judge(id, location, first)? {
                Verdict::Sound => {}
                Verdict::Saved if self.lost.has(id) => {
                    self.lost.saved(id);
                    self.report.saved(id);
                }
                Verdict::Saved => self.report.healed += 1,
                // Nothing was read: it says nothing of the record. The pass goes on from here later.
                Verdict::Damaged(why) if why.lacks_descriptors() => return Err(why),
                Verdict::Damaged(why) => {
                    let is_condemned = matches!(why, EngineError::Corrupt { .. });
                    if if is_condemned { self.lost.gone(*id) } else { self.lost.unreadable(*id) } {
                        self.found(Finding::Damaged { id: *id, why: why.to_string() });
                    }
                }
            }
        }
        Ok(())
    }

    /// From the device, not from memory. Damaged there, too, its content is saved, or else the record is condemned, so
    /// that the next upload of the same bytes stores them again, which heals every object that has them.
    fn judge(&mut self, id: &ChunkId, at: &Location, first: EngineError) -> Result<Verdict, EngineError> {
        let checker = self.checker;
        let is_still_there = || Ok::<_, EngineError>(checker.index.get(&[*id])?[..] == [Some(*at)]);
        if !is_still_there()? {
            // Moved or collected meanwhile. Where it is now it was proven when it was put there.
            return Ok(Verdict::Sound);
        }
        if !matches!(first, EngineError::Corrupt { .. }) {
            return Ok(self.save_unreadable(id, at, first));
        }
        if let Err(error) = self.checker.packs.reload(at.pack) {
            return Ok(Verdict::Damaged(error));
        }
        let again = self.checker.packs.read(&[(*id, *at)]).pop().unwrap_or(Err(first));
        let again = again.and_then(|record| proven(&record).map(drop));
        match again {
            Ok(()) => Ok(Verdict::Sound),
            Err(error) if !is_still_there()? => {
                tracing::debug!(%id, %error, "a record went while it was judged");
                Ok(Verdict::Sound)
            }
            Err(why @ EngineError::Corrupt { .. }) => self.save_or_condemn(id, at, why),
            Err(why) => Ok(Verdict::Damaged(why)),
        }
    }

    fn save_or_condemn(
        &mut self,
        id: &ChunkId,
        at: &Location,
        why: EngineError,
    ) -> Result<Verdict, EngineError> {
        let found = match self.checker.packs.salvage(*id, at) {
            Some(record) => Ok(Some(record)),
            None => self.kept_elsewhere(*id, at),
        };
        match found {
            Ok(Some(record)) => Ok(self.saved(id, at, record)),
            Ok(None) => {
                self.checker.index.condemn(id, *at)?;
                Ok(Verdict::Damaged(why))
            }
            // It may be had later: so its place is not forgotten, but nobody who has the same bytes relies on it.
            Err(error) => {
                tracing::warn!(%id, %error, "whether another copy of a damaged record is elsewhere is not known now");
                self.checker.packs.note_unreadable(at);
                Ok(Verdict::Damaged(error))
            }
        }
    }

    /// What the device cannot give.
    fn save_unreadable(&mut self, id: &ChunkId, at: &Location, why: EngineError) -> Verdict {
        let is_device = matches!(&why, EngineError::Io(error) if is_device_error(error));
        match is_device.then(|| self.kept_elsewhere(*id, at)) {
            Some(Ok(Some(record))) => self.saved(id, at, record),
            _ => Verdict::Damaged(why),
        }
    }

    fn saved(&self, id: &ChunkId, at: &Location, record: NewRecord) -> Verdict {
        match self.move_to(*id, *at, record) {
            Ok(()) => Verdict::Saved,
            Err(error) => {
                tracing::warn!(%id, %error, "the content of a damaged record could not be stored once more");
                // Not given up, so not gone: it is looked at again at the end of the pass.
                Verdict::Damaged(error)
            }
        }
    }

    /// The caller has a hold.
    fn move_to(&self, id: ChunkId, from: Location, record: NewRecord) -> Result<(), EngineError> {
        // As in `gc::reclaim::move_records`: what the index is told stays told until it is durable.
        let _steady = self.checker.index.steady();
        let to = self.store(record)?;
        self.checker.index.relocate(&[(id, from, to)])?;
        self.checker.index.checkpoint()?;
        if let Err(error) = self.checker.packs.bury(&from) {
            tracing::warn!(%id, %error, "a damaged record could not be marked dead");
        }
        Ok(())
    }

    fn store(&self, record: NewRecord) -> Result<Location, EngineError> {
        let packs = &self.checker.packs;
        let appended = packs.append(&[record])?;
        packs.sync()?;
        appended.first().copied().ok_or(EngineError::Busy("nothing was appended"))
    }

    /// What could not be read when it was met may be readable now, or stored anew: then it is not lost.
    pub(super) fn read_again(&mut self) -> Result<(), EngineError> {
        let ids = self.lost.all_unreadable();
        for (id, place) in ids.iter().zip(self.checker.index.get(&ids)?) {
            let Some(place) = place else { continue };
            let read = self.checker.packs.read(&[(*id, place)]).pop();
            let is_whole = read.and_then(Result::ok).is_some_and(|record| proven(&record).is_ok());
            if is_whole || self.is_elsewhere(id, &place) {
                self.lost.saved(id);
                self.report.saved(id);
            }
        }
        Ok(())
    }

    /// Whether it could be brought back from there.
    fn is_elsewhere(&mut self, id: &ChunkId, at: &Location) -> bool {
        let _hold = self.checker.index.hold();
        let found = self.kept_elsewhere(*id, at).ok().flatten();
        found.is_some_and(|record| matches!(self.saved(id, at, record), Verdict::Saved))
    }

    /// Looks in one pack for whole records of what is lost, those marked dead included, and stores them once more.
    pub(super) fn save_from_copies(&mut self, pack: PackId) -> Result<(), EngineError> {
        let Checker { packs, index, .. } = self.checker;
        let hold = index.hold();
        let mut copies = Vec::new();
        let lost = &self.lost;
        let scanned = packs.scan(pack, &mut |record| {
            if lost.has(&record.id) {
                copies.push((record.id, record.location));
            }
        });
        if let Err(error) = scanned {
            tracing::warn!(%pack, %error, "a pack could not be searched for copies");
            return Ok(());
        }
        for copy in copies {
            let read = packs.read(&[copy]).pop().unwrap_or(Err(EngineError::Missing(copy.0)));
            let read = read.and_then(|record| proven(&record).map(|_| record));
            // One that a reader gave up may be damaged in its header alone.
            let record = read.map(as_new).ok().or_else(|| packs.salvage(copy.0, &copy.1));
            // Where a reader gave it up its place is forgotten, and found again here.
            let record = record.or_else(|| self.kept_elsewhere(copy.0, &copy.1).ok().flatten());
            let Some(record) = record else { continue };
            if index.homeless(&[copy.0])?[..] != [true] {
                self.save_in_place(&copy, record)?;
                continue;
            }
            let kind = record.kind;
            let _steady = index.steady();
            let location = self.store(record)?;
            index.insert(&hold, &[(copy.0, kind, location)])?;
            self.lost.saved(&copy.0);
            self.report.saved(&copy.0);
        }
        Ok(())
    }

    /// What is gone may have been uploaded once more since it was met; and what nobody refers to any more nobody misses.
    pub(super) fn look_again(&mut self) -> Result<(), EngineError> {
        for ids in self.lost.all_gone().chunks(PAGE) {
            let (places, homeless) = (self.checker.index.get(ids)?, self.checker.index.homeless(ids)?);
            for ((id, place), is_homeless) in ids.iter().zip(places).zip(homeless) {
                if place.is_some() || (!is_homeless && self.report.is_told_missing(id)) {
                    self.lost.saved(id);
                    self.report.saved(id);
                }
            }
        }
        Ok(())
    }

    /// What has a place still, because it may come back from there or from elsewhere.
    fn save_in_place(
        &mut self,
        (id, at): &(ChunkId, Location),
        record: NewRecord,
    ) -> Result<(), EngineError> {
        let is_saved = match self.checker.index.get(&[*id])?.pop().flatten() {
            Some(place) if place == *at => true,
            Some(place) => matches!(self.saved(id, &place, record), Verdict::Saved),
            None => false,
        };
        if is_saved {
            self.lost.saved(id);
            self.report.saved(id);
        }
        Ok(())
    }

    /// All packs, for all that is lost.
    pub(super) fn search_copies(&mut self) -> Result<(), EngineError> {
        for pack in self.checker.packs.ids() {
            if self.lost.is_empty() || self.stop.is_cancelled() {
                break;
            }
            self.save_from_copies(pack)?;
        }
        self.look_again()?;
        self.checker.index.checkpoint().map(drop)
    }

    pub(super) fn frames(&mut self, pack: PackId) -> Result<(), EngineError> {
        match self.checker.packs.damaged_frames(pack) {
            Ok(damaged) => {
                for frame in damaged {
                    self.found(Finding::DamagedFrame { pack: pack.to_string(), frame: frame.to_owned() });
                }
                Ok(())
            }
            Err(error) if !self.checker.packs.ids().contains(&pack) => {
                tracing::debug!(%pack, %error, "a pack was collected while it was checked");
                Ok(())
            }
            Err(error) if error.lacks_descriptors() => Err(error),
            Err(error) => {
                let (pack, frame) = (pack.to_string(), format!("the file: {error}"));
                self.found(Finding::DamagedFrame { pack, frame });
                Ok(())
            }
        }
    }

    /// Packs whose frames are damaged, mended.
    pub(super) fn mend(&mut self) -> Result<(), EngineError> {
        for pack in self.checker.packs.ids() {
            if !self.checker.packs.damaged_frames(pack).is_ok_and(|damaged| damaged.is_empty())
                && self.checker.packs.mend_frames(pack)?
            {
                self.report.mended += 1;
            }
        }
        Ok(())
    }

    /// The records of a pack that the index names, as far as a scan finds them.
    pub(super) fn records_in_use(&mut self, pack: PackId) -> Result<InUse, EngineError> {
        let named = self.checker.index.live_records(pack);
        // Memory may hold what the device has lost.
        if self.checker.packs.sealed_records(pack).is_some()
            && let Err(error) = self.checker.packs.reload(pack)
        {
            tracing::warn!(%pack, %error, "a pack may be read from memory instead of its device");
        }
        let mut records = Vec::new();
        let scanned = self.checker.packs.scan(pack, &mut |record| records.push(record));
        if let Err(error) = &scanned {
            tracing::warn!(%pack, %error, "a pack cannot be scanned; its records are tried one by one");
        }
        let ids: Vec<_> = records.iter().map(|record| record.id).collect();
        let mut places = Vec::new();
        for (record, place) in records.iter().zip(self.checker.index.get(&ids)?) {
            if place == Some(record.location) {
                places.push((record.id, record.location));
            } else {
                self.report.strays += u64::from(!record.dead);
            }
        }
        let is_partial = scanned.is_err() || (places.len() as u64) < named;
        Ok(InUse { places, is_partial })
    }

    /// Of a page of the index, the entries that stand in packs of which a scan found too little.
    pub(super) fn prove_hidden(
        &mut self,
        page: &[(ChunkId, crate::engine::index::IndexEntry)],
        packs: &HashSet<PackId>,
    ) -> Result<(), EngineError> {
        // Without references, an entry may name bytes that a power cut took: no fault.
        let there = page.iter().filter(|(_, entry)| {
            packs.contains(&entry.location.pack) && self.checker.packs.is_valid(&entry.location)
        });
        let places: Vec<_> = there.map(|(id, entry)| (*id, entry.location)).collect();
        self.prove_all(&places)
    }
}

/// What a pack holds of what the index names.
pub(super) struct InUse {
    pub(super) places: Vec<(ChunkId, Location)>,
    /// The index names more in it: headers are damaged.
    pub(super) is_partial: bool,
}

enum Verdict {
    Sound,
    /// Stored once more.
    Saved,
    Damaged(EngineError),
}

fn as_new(Record { id, kind, codec, raw_len, payload }: Record) -> NewRecord {
    NewRecord { id, kind, codec, raw_len, payload }
}

/// The content of a record, if its id is that of it.
fn proven(record: &Record) -> Result<bytes::Bytes, EngineError> {
    let raw = decode_record(record)?;
    let id = match record.kind {
        RecordKind::Chunk => ChunkId::new(Sha256::digest(&raw).into()),
        RecordKind::Node => Node::id_of(&raw),
    };
    if id == record.id {
        Ok(raw)
    } else {
        Err(EngineError::Corrupt { id: record.id, why: "its content is not what its id says" })
    }
}
