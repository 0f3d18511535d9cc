//! Reading every record in use, pack after pack, in the order in which they lie.

use super::report::{CheckPhase, Finding};
use super::{Checker, Pass};
use crate::engine::EngineError;
use crate::engine::codec::decode_record;
use crate::engine::pack::{Location, Record, RecordKind};
use crate::storage::PackId;
use crate::types::{ChunkId, Node};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

const READ_BYTES: u64 = 4 << 20;
const PAGE: usize = 4096;

impl Pass<'_> {
    pub(super) fn deep(&mut self) -> Result<(), EngineError> {
        let usage = self.checker.index.pack_usage()?;
        let usage: HashMap<_, _> = usage.into_iter().map(|usage| (usage.pack, usage.live_records)).collect();
        let packs = self.checker.packs.ids();
        let total = packs.len() as u64;
        let mut hidden = HashSet::new();
        for (done, pack) in packs.into_iter().enumerate() {
            self.progress(CheckPhase::Reading, done as u64, total);
            let in_use = self.records_in_use(pack)?;
            if (in_use.len() as u64) < usage.get(&pack).copied().unwrap_or(0) {
                hidden.insert(pack);
            } else {
                self.prove_all(&in_use);
            }
            if self.stop.is_cancelled() {
                return Ok(());
            }
        }
        self.prove_hidden(&hidden)?;
        if self.report.damaged > 0 {
            self.checker.index.checkpoint()?;
        }
        self.progress(CheckPhase::Reading, total, total);
        Ok(())
    }

    /// The records of a pack that the index names, as far as a scan finds them.
    fn records_in_use(&mut self, pack: PackId) -> Result<Vec<(ChunkId, Location)>, EngineError> {
        let mut records = Vec::new();
        self.checker.packs.scan(pack, &mut |record| records.push(record))?;
        let ids: Vec<_> = records.iter().map(|record| record.id).collect();
        let mut in_use = Vec::new();
        for (record, named) in records.iter().zip(self.checker.index.get(&ids)?) {
            if named == Some(record.location) {
                in_use.push((record.id, record.location));
            } else {
                self.report.strays += u64::from(!record.dead);
            }
        }
        Ok(in_use)
    }

    /// Where a scan found less than the index names, headers are damaged: every entry is tried by its place.
    fn prove_hidden(&mut self, packs: &HashSet<PackId>) -> Result<(), EngineError> {
        let mut after = None;
        while !packs.is_empty() && !self.stop.is_cancelled() {
            let page = self.checker.index.entries(after, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            // Without references, an entry may name bytes that a power cut took: no fault.
            let there = page.iter().filter(|(_, entry)| {
                packs.contains(&entry.location.pack) && self.checker.packs.is_valid(&entry.location)
            });
            let places: Vec<_> = there.map(|(id, entry)| (*id, entry.location)).collect();
            self.prove_all(&places);
        }
        Ok(())
    }

    fn prove_all(&mut self, places: &[(ChunkId, Location)]) {
        let mut rest = places;
        while !rest.is_empty() {
            let mut bytes = 0;
            let taken = rest.iter().take_while(|(_, location)| {
                bytes += location.record_len();
                bytes <= READ_BYTES
            });
            let (batch, tail) = rest.split_at(taken.count().max(1));
            self.prove(batch);
            rest = tail;
        }
    }

    fn prove(&mut self, batch: &[(ChunkId, Location)]) {
        for ((id, location), read) in batch.iter().zip(self.checker.packs.read(batch)) {
            self.report.records_read += 1;
            self.report.bytes_read += location.record_len();
            let Err(first) = read.and_then(|record| proven(&record)) else { continue };
            if let Err(error) = self.prove_again(id, location, first) {
                self.report.found(Finding::Damaged { id: *id, why: error.to_string() });
            }
        }
    }

    /// From the device, not from memory. Damaged there, too, the record is condemned, so that the next upload of
    /// the same bytes stores them again, which heals every object that has them.
    fn prove_again(&self, id: &ChunkId, location: &Location, first: EngineError) -> Result<(), EngineError> {
        if !matches!(first, EngineError::Corrupt { .. }) {
            return Err(first);
        }
        let Checker { packs, index, .. } = self.checker;
        packs.reload(location.pack)?;
        let read = packs.read(&[(*id, *location)]).pop().unwrap_or(Err(first));
        let proven = read.and_then(|record| proven(&record));
        if matches!(proven, Err(EngineError::Corrupt { .. })) {
            index.condemn(id, *location)?;
        }
        proven
    }
}

fn proven(record: &Record) -> Result<(), EngineError> {
    let raw = decode_record(record)?;
    let id = match record.kind {
        RecordKind::Chunk => ChunkId::new(Sha256::digest(&raw).into()),
        RecordKind::Node => Node::id_of(&raw),
    };
    if id == record.id {
        Ok(())
    } else {
        Err(EngineError::Corrupt { id: record.id, why: "its content is not what its id says" })
    }
}
