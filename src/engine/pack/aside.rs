//! What collection writes beside the clients: into packs of its own, made durable on its own.
//!
//! A commit waits until everything is durable that was noted in [`super::flush`]. Megabytes that collection moves, and
//! marks scattered over many packs, would keep it waiting for a long time: so they are not noted there. A sync that
//! fails poisons the set here as it does there; that one file is never synced by two threads at once, and never again
//! after a failure, is what the store sees to.

use super::flush::NO_DESCRIPTORS;
use super::set::{PackSet, header_of};
use super::types::{Location, NewRecord};
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::sys::{FailPoint, lacks_descriptors};
use std::collections::BTreeSet;

impl PackSet {
    /// Appends records that nobody waits for, to packs that clients do not append to. Durable when it returns. After an
    /// error none of them counts.
    ///
    /// # Errors
    /// As [`Self::append`] and [`Self::sync`].
    pub fn append_aside(&self, records: &[NewRecord]) -> Result<Vec<Location>, EngineError> {
        let headers = records.iter().map(header_of).collect::<Result<Vec<_>, _>>()?;
        let mut full = Vec::new();
        let mut writer = self.aside().lock();
        let appended = self.append_runs(&mut writer, records, &headers, &mut full);
        drop(writer);
        let places = appended.iter().flatten().map(|location| location.pack);
        let written: BTreeSet<_> = places.chain(full.iter().map(|pack| pack.id)).collect();
        FailPoint::PackAside.pass()?;
        for pack in written {
            self.sync_aside(pack)?;
        }
        if !full.is_empty() {
            self.seal_packs(full)?;
            self.seal_waiting()?;
        }
        appended
    }

    /// Makes one pack durable, and nobody waits for it but the caller.
    pub(super) fn sync_aside(&self, pack: PackId) -> Result<(), EngineError> {
        self.check()?;
        self.sync_one(pack).or_else(|error| match lacks_descriptors(&error) {
            true => Err(NO_DESCRIPTORS),
            false => self.poison(format!("pack {pack}: {error}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::pack::testing::{Held, TestPacks};
    use crate::engine::pack::{Codec, NewRecord, PackSet, PackSettings, RecordKind};
    use crate::sys::{SeededRandom, SystemClock};
    use crate::types::ChunkId;
    use std::sync::Arc;

    fn record(seed: u8) -> NewRecord {
        let payload = vec![seed; 1000].into();
        let (kind, codec) = (RecordKind::Chunk, Codec::Raw);
        NewRecord { id: ChunkId::new([seed; 32]), kind, codec, raw_len: 1000, payload }
    }

    fn set(store: &Arc<Held>) -> PackSet {
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SeededRandom::new(3)));
        PackSet::open(Arc::clone(store) as _, clock, random, &PackSettings::default()).unwrap().0
    }

    #[test]
    fn a_commit_waits_neither_for_what_collection_moves_nor_for_its_marks() {
        let store = Arc::new(Held::default());
        let packs = set(&store);
        let old = packs.append(&[record(1), record(2)]).unwrap();
        packs.seal().unwrap();
        let moved = packs.append_aside(&[record(3)]).unwrap();
        for pack in [old[0].pack, moved[0].pack] {
            let syncing = store.hold(pack);
            std::thread::scope(|scope| {
                let collection = scope.spawn(|| match pack == old[0].pack {
                    true => packs.tombstone(&old[..1]).map(|_| ()),
                    false => packs.append_aside(&[record(4)]).map(|_| ()),
                });
                syncing.recv().unwrap();
                let put = packs.append(&[record(5)]).unwrap();
                assert_ne!(put[0].pack, pack);
                packs.sync().unwrap();
                store.release();
                collection.join().unwrap().unwrap();
            });
        }
    }

    #[test]
    fn i1_what_was_moved_is_durable_when_it_is_told_and_sealed_with_the_rest() {
        let store = Arc::new(Held::default());
        let packs = set(&store);
        let moved = packs.append_aside(&[record(3)]).unwrap();
        let cut = Arc::new(Held::new(store.inner.after_power_cut()));
        let after = set(&cut);
        let read = after.read(&[(ChunkId::new([3; 32]), moved[0])]).pop().unwrap().unwrap();
        assert_eq!(read.payload, record(3).payload);
        packs.seal().unwrap();
        assert_eq!(packs.sealed_records(moved[0].pack), Some(1));
    }

    #[test]
    fn i1_a_sync_that_fails_aside_poisons_the_set() {
        let store = Arc::new(Held::new(TestPacks::default()));
        let packs = set(&store);
        packs.append(&[record(1)]).unwrap();
        packs.sync().unwrap();
        *store.inner.fail_syncs.lock() = 1;
        assert!(packs.append_aside(&[record(2)]).is_err());
        assert!(packs.check().is_err() && packs.append(&[record(3)]).is_err() && packs.sync().is_err());
    }
}
