//! What the device has of a file when the power fails.
//!
//! Sectors reach the device in any order, each with what memory had there at some moment since the last sync. Lengths
//! and bytes are apart: a length may come without the bytes, which read as zeros then.

use super::contents::{Contents, Edit, Image, SECTOR};
use super::stats::FaultCounts;
use super::toss::Toss;
use std::collections::BTreeMap;

/// How the edits since the last sync fared. Real disks are seldom purely random: each way of losing is tried.
#[derive(Debug, Clone, Copy)]
enum Fate {
    NothingCame,
    AllCame,
    /// So many came, and of the next one a part.
    InOrder(usize),
    /// Each sector is as new as memory had it, but for one in so many.
    LostOneIn(usize),
    /// Each sector is as old as the last sync, but for one in so many.
    CameOneIn(usize),
    /// All but one edit came.
    Without(usize),
}

impl Fate {
    fn toss(edits: usize, toss: &mut Toss) -> Self {
        match toss.below(8) {
            0 => Self::NothingCame,
            1 => Self::AllCame,
            2 | 3 => Self::InOrder(toss.below(edits)),
            4 => Self::LostOneIn(2),
            5 => Self::LostOneIn(8),
            6 => Self::CameOneIn(8),
            _ => Self::Without(toss.below(edits)),
        }
    }
}

impl Contents {
    /// Settles what is on its way; what memory shows stays.
    pub(super) fn lose(&mut self, toss: &mut Toss, stats: &mut FaultCounts) {
        let edits = std::mem::take(&mut self.pending);
        if edits.is_empty() {
            return;
        }
        let fate = Fate::toss(edits.len(), toss);
        let mut device = std::mem::take(&mut self.durable);
        match fate {
            Fate::NothingCame => stats.count("power: unsynced writes lost"),
            Fate::AllCame => edits.iter().for_each(|edit| device.apply(edit)),
            Fate::InOrder(whole) => {
                edits[..whole].iter().for_each(|edit| device.apply(edit));
                device.apply(&torn(&edits[whole], toss));
                stats.count("power: a write torn");
            }
            Fate::Without(lost) => {
                let others = edits.iter().enumerate().filter(|(n, _)| *n != lost);
                others.for_each(|(_, edit)| device.apply(edit));
                stats.count("power: a write lost before later ones");
            }
            Fate::LostOneIn(_) | Fate::CameOneIn(_) => {
                scatter(&mut device, &edits, fate, toss);
                stats.count("power: sectors reordered");
            }
        }
        self.durable = device;
    }
}

fn torn(edit: &Edit, toss: &mut Toss) -> Edit {
    match edit {
        Edit::Write { at, bytes } => {
            Edit::Write { at: *at, bytes: bytes[..toss.below(bytes.len() + 1)].to_vec() }
        }
        other => other.clone(),
    }
}

/// For each sector, up to which edit it came.
fn newest(edits: &[Edit], fate: Fate, toss: &mut Toss) -> BTreeMap<usize, usize> {
    let mut sectors: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (n, edit) in edits.iter().enumerate() {
        if let Edit::Write { at, bytes } = edit {
            for sector in at / SECTOR..(at + bytes.len()).div_ceil(SECTOR) {
                sectors.entry(sector).or_default().push(n);
            }
        }
    }
    let mut came = |touched: &[usize]| {
        let is_new = match fate {
            Fate::CameOneIn(n) => toss.below(n) == 0,
            Fate::LostOneIn(n) => toss.below(n) != 0,
            _ => true,
        };
        // Between: as an edit before the last one left it, or as it was.
        if is_new { touched.last().map_or(0, |last| last + 1) } else { touched[toss.below(touched.len())] }
    };
    sectors.into_iter().map(|(sector, touched)| (sector, came(&touched))).collect()
}

fn scatter(device: &mut Image, edits: &[Edit], fate: Fate, toss: &mut Toss) {
    let newest = newest(edits, fate, toss);
    // Lengths are the file system's own: they come in order.
    let lengths = if toss.coin() { edits.len() } else { toss.below(edits.len() + 1) };
    let len = length_after(device.bytes.len(), edits, lengths, toss);
    for (n, edit) in edits.iter().enumerate() {
        match edit {
            Edit::Write { at, bytes } => {
                for (from, piece) in sectors_of(*at, bytes) {
                    if n < newest[&(from / SECTOR)] {
                        device.write(from, piece);
                    }
                }
            }
            Edit::Length(_) if n < lengths => device.apply(edit),
            Edit::Punch { .. } if toss.coin() => device.apply(edit),
            Edit::Length(_) | Edit::Punch { .. } => {}
        }
    }
    device.set_len(len);
}

/// The length that so many edits left; of one more write, a part may count.
fn length_after(before: usize, edits: &[Edit], count: usize, toss: &mut Toss) -> usize {
    let mut len = before;
    for edit in &edits[..count] {
        match edit {
            Edit::Write { at, bytes } => len = len.max(at + bytes.len()),
            Edit::Length(new) => len = *new,
            Edit::Punch { .. } => {}
        }
    }
    match edits.get(count) {
        Some(Edit::Write { at, bytes }) if toss.coin() => len.max(at + toss.below(bytes.len() + 1)),
        _ => len,
    }
}

/// A write, cut at the sectors' borders.
fn sectors_of(at: usize, mut bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let (mut from, mut pieces) = (at, Vec::new());
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(bytes.len().min(SECTOR - from % SECTOR));
        pieces.push((from, piece));
        from += piece.len();
        bytes = rest;
    }
    pieces
}
