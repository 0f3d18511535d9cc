//! What an open makes of clocks that were wrong, and of packs of a newer version.

use super::format::encode_pack_header;
use super::testing::TestPacks;
use super::tests::{append, chunk};
use super::{PackSet, PackSettings};
use crate::engine::EngineError;
use crate::storage::{PackId, PackStore};
use crate::sys::{ManualClock, SeededRandom};
use crate::types::UnixMillis;
use std::sync::Arc;

const HOUR: i64 = 3_600_000;
const NOW: i64 = 500_000 * HOUR;

fn open(store: &Arc<TestPacks>, clock: &Arc<ManualClock>) -> Result<PackSet, EngineError> {
    let (random, settings) = (Arc::new(SeededRandom::new(9)), PackSettings { target_bytes: 1 << 20 });
    PackSet::open(store.clone(), clock.clone(), random, &settings).map(|(packs, _)| packs)
}

/// The index prefers the newer of two copies of a chunk, and that is the one that healed it.
#[test]
fn i3_packs_are_in_the_order_of_their_creation_whatever_the_clock_does() {
    let store = Arc::new(TestPacks::default());
    let clock = Arc::new(ManualClock::at(UnixMillis::new(NOW)));
    let mut newest = PackId::new(0);
    let (ahead, behind) = (NOW + 24 * HOUR, NOW - 24 * HOUR);
    let times = [NOW, NOW, ahead, ahead, behind, behind, NOW, 0, i64::MAX, -5, ahead];
    for (n, now) in times.into_iter().enumerate() {
        clock.set(UnixMillis::new(now));
        let packs = open(&store, &clock).unwrap();
        for (seed, is_moved) in [(0, false), (1, true), (2, false)] {
            let record = chunk(n as u64 * 10 + seed, 100);
            let place = if is_moved { packs.append_aside(&[record]) } else { packs.append(&[record]) };
            packs.seal().unwrap();
            let made = place.unwrap()[0].pack;
            assert!(newest < made, "at {now}: {made} is behind {newest}");
            newest = made;
        }
    }
}

#[test]
fn i1_packs_of_a_newer_version_keep_every_other_pack_as_it_is() {
    let clock = Arc::new(ManualClock::at(UnixMillis::new(NOW)));
    for newer in [PackId::new(1), PackId::new(u64::MAX)] {
        let store = Arc::new(TestPacks::default());
        let packs = open(&store, &clock).unwrap();
        append(&packs, &[chunk(1, 5000)]);
        packs.sync().unwrap();
        let killed = Arc::new(store.after_kill());
        let mut header = encode_pack_header(newer);
        header[8] = 2;
        let checksum = crc_fast::crc32_iscsi(&header[..28]).to_le_bytes();
        header[28..].copy_from_slice(&checksum);
        killed.create(newer).unwrap();
        killed.write_at(newer, 0, &header).unwrap();
        let bytes = || -> Vec<_> {
            let packs = killed.list().unwrap().into_iter();
            packs.map(|pack| (pack.id, killed.bytes(pack.id))).collect()
        };
        let before = bytes();
        let refused = open(&killed, &clock);
        assert!(matches!(refused, Err(EngineError::Incompatible(_))), "{refused:?}");
        assert!(before == bytes(), "another pack was closed, or removed");
    }
}
