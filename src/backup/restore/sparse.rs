//! Bytes into files that may hold something else already.

use crate::engine::pack::zeros;
use crate::storage::{PackId, PackStore};
use std::io;
use std::ops::Range;

/// Zeros become holes where the file system can, so that it need not keep them; what an earlier attempt has left there is gone in any case.
pub(super) fn write(packs: &dyn PackStore, id: PackId, from: u64, bytes: &[u8]) -> io::Result<()> {
    let write = |range: Range<usize>| match range.is_empty() {
        true => Ok(()),
        false => packs.write_at(id, from + range.start as u64, &bytes[range]),
    };
    let mut at = 0;
    for hole in zeros(bytes) {
        write(at..hole.start)?;
        if !packs.punch(id, from + hole.start as u64, hole.len() as u64)? {
            write(hole.clone())?;
        }
        at = hole.end;
    }
    write(at..bytes.len())
}
