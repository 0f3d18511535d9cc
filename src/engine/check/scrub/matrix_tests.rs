//! Files damaged in every way, one at a time. The store is one sealed pack of which every byte is of use: so each damage must be
//! found, no read may give other bytes than were stored, and what is named as lost is what cannot be read.
//!
//! `SEDIMENT_SCRUB_STRIDE` (default 193): every so many bytes one is flipped. 1 takes minutes.

use super::tests::{Outcome, Subject};
use crate::engine::pack::{FOOTER_ENTRY_BYTES, PACK_HEADER_BYTES, TRAILER_BYTES};
use std::collections::BTreeMap;

const SECTOR: usize = 512;

/// One way in which a file changes behind the store's back.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Harm {
    Flip {
        at: usize,
        bit: u8,
    },
    Zero {
        sector: usize,
    },
    Cut {
        len: usize,
    },
    /// Two stretches of the same length change places.
    Swap {
        at: usize,
        with: usize,
        len: usize,
    },
}

impl Harm {
    fn kind(self) -> &'static str {
        match self {
            Self::Flip { .. } => "flip",
            Self::Zero { .. } => "zero",
            Self::Cut { .. } => "cut",
            Self::Swap { .. } => "swap",
        }
    }

    /// `None` when nothing changes.
    fn apply(self, intact: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = intact.to_vec();
        match self {
            Self::Flip { at, bit } => bytes[at] ^= 1 << bit,
            Self::Zero { sector } => {
                let end = (sector + SECTOR).min(bytes.len());
                bytes[sector..end].fill(0);
            }
            Self::Cut { len } => bytes.truncate(len),
            Self::Swap { at, with, len } => {
                let (left, right) = bytes.split_at_mut(at.max(with));
                left[at.min(with)..][..len].swap_with_slice(&mut right[..len]);
            }
        }
        (bytes != intact).then_some(bytes)
    }
}

fn stride() -> usize {
    std::env::var("SEDIMENT_SCRUB_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(193)
}

fn harms(len: usize, records: &[(usize, usize)]) -> Vec<Harm> {
    let mut harms: Vec<_> =
        (0..len).step_by(stride()).map(|at| Harm::Flip { at, bit: (at % 8) as u8 }).collect();
    // Every byte of what is not payload: small, and each field has its own way to be wrong.
    let (first, _) = records[0];
    assert_eq!(first, PACK_HEADER_BYTES);
    harms.extend((0..PACK_HEADER_BYTES + 56).map(|at| Harm::Flip { at, bit: (at % 7) as u8 }));
    harms.extend((len - TRAILER_BYTES..len).map(|at| Harm::Flip { at, bit: (at % 5) as u8 }));
    let footer = len - TRAILER_BYTES - FOOTER_ENTRY_BYTES;
    harms.extend((footer..footer + FOOTER_ENTRY_BYTES).map(|at| Harm::Flip { at, bit: 3 }));
    harms.extend((0..len).step_by(stride() * 21).map(|at| Harm::Zero { sector: at / SECTOR * SECTOR }));
    harms.extend((0..len).step_by(stride() * 17).map(|len| Harm::Cut { len }));
    for pair in records.windows(2) {
        let len = (pair[0].1 - pair[0].0).min(pair[1].1 - pair[1].0);
        harms.push(Harm::Swap { at: pair[0].0, with: pair[1].0, len });
    }
    harms
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_every_damage_to_a_pack_is_found_and_named_and_none_is_served() {
    let subject = Subject::quick().await;
    let (bytes, original) = (subject.pack_bytes(), subject.places());
    let records = subject.records();
    let (mut injected, mut outcomes) = (BTreeMap::new(), Outcome::default());
    for harm in harms(bytes.len(), &records) {
        let Some(harmed) = harm.apply(&bytes) else { continue };
        *injected.entry(harm.kind()).or_insert(0) += 1;
        let context = format!("{harm:?}");
        // By readers alone.
        subject.set_pack_bytes(harmed.clone());
        let unread = subject.unreadable(&context).await;
        subject.restore(&original, &bytes);
        // By the scrub, before anybody reads.
        subject.set_pack_bytes(harmed);
        let report = subject.scrub().await;
        assert!(
            !report.is_clean() || report.found.healed > 0 || report.found.frames > 0,
            "I4: not found: {context}\n{report}"
        );
        let still = subject.unreadable(&context).await;
        let named = Subject::named(&report);
        assert_eq!(named, still, "named as lost, and what cannot be read: {context}\n{report}");
        assert!(still.is_subset(&unread), "made worse: {context}");
        outcomes.add(&report, &still);
        if !still.is_empty() {
            subject.store_again(&context).await;
            let lost = subject.unreadable(&context).await;
            assert!(lost.is_empty(), "{lost:?} stored again, and not healed: {context}");
        }
        subject.restore(&original, &bytes);
    }
    println!("injected {injected:?}, all found: {outcomes:?}");
    assert!(outcomes.healed > 0 && outcomes.lost > 0 && outcomes.frames > 0, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_every_damage_to_a_plain_body_is_found_and_named_and_none_is_served() {
    let intact = Subject::quick().await;
    let file = intact.plain_file();
    let bytes = std::fs::read(&file).unwrap();
    let len = bytes.len();
    let mut harms: Vec<_> =
        (0..len).step_by(stride()).map(|at| Harm::Flip { at, bit: (at % 8) as u8 }).collect();
    harms.extend((len - 44..len).map(|at| Harm::Flip { at, bit: 1 }));
    harms.extend((0..len).step_by(stride() * 9).map(|len| Harm::Cut { len }));
    harms.extend((0..len).step_by(stride() * 9).map(|at| Harm::Zero { sector: at / SECTOR * SECTOR }));
    harms.push(Harm::Swap { at: 0, with: 4096, len: 4096 });
    let mut injected = 0;
    for harm in harms {
        let Some(harmed) = harm.apply(&bytes) else { continue };
        injected += 1;
        std::fs::write(&file, harmed).unwrap();
        let context = format!("{harm:?}");
        let report = intact.scrub().await;
        let still = intact.unreadable(&context).await;
        assert_eq!(still.len(), 1, "{context}\n{report}");
        assert_eq!(Subject::named(&report), still, "{context}\n{report}");
        std::fs::write(&file, &bytes).unwrap();
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(Subject::named(&intact.scrub().await).len(), 1, "a file that is gone");
    std::fs::write(&file, &bytes).unwrap();
    assert!(intact.scrub().await.is_clean(), "put back, it is whole");
    println!("injected {injected}, all found");
}
