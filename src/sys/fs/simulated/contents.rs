//! What is in a file: as memory shows it, as the device has it, and what is on its way from one to the other.

use std::collections::BTreeSet;
use std::fmt;

pub(super) const SECTOR: usize = 512;
const BLOCK: usize = 4096;

#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    pub(super) now: Image,
    pub(super) durable: Image,
    /// Since the last sync.
    pub(super) pending: Vec<Edit>,
    /// Sectors that the device cannot read.
    pub(super) unreadable: BTreeSet<usize>,
}

#[derive(Clone)]
pub(super) enum Edit {
    Write {
        at: usize,
        bytes: Vec<u8>,
    },
    Length(usize),
    /// Zeros and gives whole blocks back; the length stays.
    Punch {
        at: usize,
        len: usize,
    },
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { at, bytes } => write!(f, "write {}..{}", at, at + bytes.len()),
            Self::Length(len) => write!(f, "set length {len}"),
            Self::Punch { at, len } => write!(f, "punch {}..{}", at, at + len),
        }
    }
}

/// Bytes, and which blocks of 4 KiB are allocated.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    blocks: Vec<bool>,
}

impl Image {
    pub(super) fn apply(&mut self, edit: &Edit) {
        match edit {
            Edit::Length(len) => self.set_len(*len),
            Edit::Write { at, bytes } => self.write(*at, bytes),
            Edit::Punch { at, len } => self.punch(*at, *len),
        }
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len();
        self.set_len(self.bytes.len().max(end));
        self.bytes[at..end].copy_from_slice(bytes);
        self.blocks[at / BLOCK..end.div_ceil(BLOCK)].fill(true);
    }

    /// Longer ones read as zeros there, and take no room.
    pub(super) fn set_len(&mut self, len: usize) {
        self.bytes.resize(len, 0);
        self.blocks.resize(len.div_ceil(BLOCK), false);
    }

    fn punch(&mut self, at: usize, len: usize) {
        let end = (at + len).min(self.bytes.len());
        if at < end {
            self.bytes[at..end].fill(0);
            let whole = at.div_ceil(BLOCK)..end / BLOCK;
            if !whole.is_empty() {
                self.blocks[whole].fill(false);
            }
        }
    }

    pub(super) fn allocated(&self) -> u64 {
        (self.blocks.iter().filter(|is_there| **is_there).count() * BLOCK) as u64
    }

    /// The bytes that a write takes of the device beyond what the file has.
    pub(super) fn needed(&self, at: usize, len: usize) -> u64 {
        let touched = at / BLOCK..(at + len).div_ceil(BLOCK);
        let missing = touched.filter(|block| !self.blocks.get(*block).copied().unwrap_or(false));
        (missing.count() * BLOCK) as u64
    }
}

impl Contents {
    pub(super) fn edit(&mut self, edit: Edit) {
        if let Edit::Write { at, bytes } = &edit {
            // A device puts a sector that is written anew elsewhere.
            let whole = at.div_ceil(SECTOR)..(at + bytes.len()) / SECTOR;
            self.unreadable.retain(|sector| !whole.contains(sector));
        }
        self.now.apply(&edit);
        self.pending.push(edit);
    }

    pub(super) fn sync(&mut self) {
        for edit in self.pending.drain(..) {
            self.durable.apply(&edit);
        }
    }

    /// Memory shows what the device has, and what is on its way to it.
    pub(super) fn drop_cached(&mut self) {
        self.now = self.durable.clone();
        for edit in &self.pending {
            self.now.apply(edit);
        }
    }

    pub(super) fn is_unreadable(&self, at: usize, len: usize) -> bool {
        len > 0 && self.unreadable.range(at / SECTOR..(at + len).div_ceil(SECTOR)).next().is_some()
    }
}
