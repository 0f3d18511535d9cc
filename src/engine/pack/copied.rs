//! Looking through bytes of a pack that were copied, without the pack.

use super::content;
use super::format::{PACK_HEADER_BYTES, RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader, decode_pack_header};
use super::raw::zeros;
use crate::storage::PackId;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopiedRecords {
    /// Live ones whose content is what their id says.
    pub whole: u64,
    pub dead: u64,
    /// Where live records stand whose content is not what their id says.
    pub damaged: Vec<u32>,
}

/// Proves the records in a pack's bytes from `from` on. What a copy does not show is not told: what stands at its end in part, the
/// footer, and what was given back to the file system while it was copied.
#[must_use]
pub fn copied_records(pack: PackId, from: u32, bytes: &[u8]) -> CopiedRecords {
    let mut found = CopiedRecords::default();
    let mut at = 0;
    if from == 0 {
        if decode_pack_header(bytes.get(..PACK_HEADER_BYTES).unwrap_or_default(), pack).is_err() {
            found.damaged.push(0);
        }
        at = PACK_HEADER_BYTES;
    }
    while let Some(next) = record_from(pack, from, bytes, at) {
        let (begin, header) = next;
        let payload = begin + RECORD_HEADER_BYTES;
        let Some(content) = bytes.get(payload..payload + header.stored_len as usize) else { return found };
        at = payload + content.len();
        if header.dead {
            found.dead += 1;
        } else if content::proves(header.id, header.kind, header.codec, header.raw_len, content) {
            found.whole += 1;
        } else if zeros(content).is_empty() {
            found.damaged.push(from + begin as u32);
        }
    }
    found
}

/// The first record header at or behind a place.
fn record_from(pack: PackId, from: u32, bytes: &[u8], at: usize) -> Option<(usize, RecordHeader)> {
    let mut at = at;
    loop {
        let here = bytes.get(at..)?;
        let hit = here.windows(RECORD_MAGIC.len()).position(|four| four == RECORD_MAGIC)?;
        at += hit;
        // Packs are shorter than 4 GiB.
        let header = bytes.get(at..at + RECORD_HEADER_BYTES)?;
        if let Ok(header) = RecordHeader::decode(header, pack, from.checked_add(u32::try_from(at).ok()?)?) {
            return Some((at, header));
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestPacks;
    use super::super::tests::{append, chunk, open};
    use super::{CopiedRecords, RECORD_HEADER_BYTES, copied_records};
    use std::sync::Arc;

    #[test]
    fn i4_a_record_that_was_damaged_before_it_was_copied_is_told() {
        let store = Arc::new(TestPacks::default());
        let (packs, _) = open(&store);
        let kept = append(&packs, &[chunk(1, 700), chunk(2, 9000), chunk(3, 50)]);
        packs.sync().unwrap();
        packs.bury(&kept[2].1).unwrap();
        packs.seal().unwrap();
        let (pack, bytes) = (kept[0].1.pack, store.bytes(kept[0].1.pack));
        let whole = CopiedRecords { whole: 2, dead: 1, damaged: Vec::new() };
        assert_eq!(copied_records(pack, 0, &bytes), whole);
        let second = kept[1].1;
        let mut flipped = bytes.clone();
        flipped[second.offset as usize + RECORD_HEADER_BYTES + 7] ^= 1;
        let found = copied_records(pack, 0, &flipped);
        assert_eq!(found, CopiedRecords { whole: 1, damaged: vec![second.offset], ..whole.clone() });
        // In part, and behind something that is no record.
        let from = kept[0].1.offset + 1;
        let found = copied_records(pack, from, &flipped[from as usize..]);
        assert_eq!(found, CopiedRecords { whole: 0, dead: 1, damaged: vec![second.offset] });
        // Given back while it was copied.
        let mut punched = bytes;
        punched[second.offset as usize + RECORD_HEADER_BYTES..second.end() as usize].fill(0);
        let found = copied_records(pack, 0, &punched);
        assert_eq!(found, CopiedRecords { whole: 1, ..whole });
        assert_eq!(copied_records(pack, 0, &[]).damaged, [0]);
    }
}
