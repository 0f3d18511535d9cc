//! Space kept back for the moment when there is none: a file that is removed then.
//!
//! Deleting and collecting write before they free: a row, a record in the log, a batch of the index. On a device
//! that others have filled to the last block, what this file gives back lets them.

use crate::sys::FileSystem;
use std::io;
use std::path::Path;

pub(super) const RESERVE_BYTES: u64 = 16 << 20;
/// With less than this, writing may fail at any moment.
const NEARLY_NOTHING: u64 = 4 << 20;
pub(super) const NAME: &str = "reserve";
const PROBE: &str = "reserve.probe";
const PIECE: usize = 1 << 20;

/// Keeps the file, or gives it back, as `free` bytes are more than `min_free` or next to none. Blocks.
pub(super) fn tend(fs: &dyn FileSystem, dir: &Path, free: u64, min_free: u64) {
    let path = dir.join(NAME);
    let is_there = fs.stat(&path).is_ok_and(|stat| stat.len == RESERVE_BYTES);
    let done = if is_there && free < NEARLY_NOTHING {
        tracing::error!(
            free,
            "the disk is full: what was kept back is used; delete something and collect garbage"
        );
        fs.remove_file(&path)
    } else if !is_there && free.saturating_sub(2 * RESERVE_BYTES) > min_free {
        write(fs, &path, RESERVE_BYTES)
    } else {
        Ok(())
    };
    if let Err(error) = done {
        tracing::warn!(%error, path = %path.display(), "the reserve of space cannot be kept");
    }
}

/// Gives the space back, if it is there. Blocks.
pub(super) fn release(fs: &dyn FileSystem, dir: &Path) {
    for name in [NAME, PROBE] {
        match fs.remove_file(&dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, name, "the reserve of space cannot be given back");
            }
            _ => {}
        }
    }
}

/// Whether the reserve can be kept, and something beside it; it is kept then. Where the device says that fewer bytes are to
/// spare than both take, whether those can be written; nothing is kept. Blocks.
pub(super) fn has_room(fs: &dyn FileSystem, dir: &Path, spare: u64) -> bool {
    let probe = dir.join(PROBE);
    let tried = if spare > 2 * RESERVE_BYTES {
        write(fs, &dir.join(NAME), RESERVE_BYTES).and_then(|()| write(fs, &probe, RESERVE_BYTES))
    } else {
        write(fs, &probe, spare)
    };
    let removed = fs.remove_file(&probe);
    tried.and(removed).is_ok()
}

/// For a verb, or a start, that is going to free space on a device that may be full. Blocks.
pub(super) fn release_when_full(fs: &dyn FileSystem, dir: &Path) {
    let is_full = fs.available_bytes(dir).is_ok_and(|free| free < NEARLY_NOTHING);
    if is_full {
        release(fs, dir);
    }
}

/// Noise: a hole would keep nothing, and what compresses little.
fn write(fs: &dyn FileSystem, path: &Path, bytes: u64) -> io::Result<()> {
    match fs.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = fs.create_new(path)?;
    let mut state = 1u64;
    let written = (0..bytes).step_by(PIECE).try_for_each(|at| {
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        let piece = usize::try_from(bytes - at).map_or(PIECE, |left| left.min(PIECE));
        let noise: Vec<u8> = (0..piece).map(next).collect();
        file.write_all_at(&noise, at)
    });
    let kept = written.and_then(|()| file.sync_data());
    if kept.is_err() {
        let _ = fs.remove_file(path);
    }
    kept
}
