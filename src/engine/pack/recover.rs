//! Opening the packs of a store: sealed ones by their trailer, the others by a scan.

use super::format::{
    FormatError, PACK_HEADER_BYTES, TRAILER_BYTES, Trailer, decode_gaps, decode_pack_header,
};
use super::scan::{Walked, walk};
use super::seal::Unsealed;
use super::set::{Pack, from_io};
use super::types::{RecoveredPack, RecoveryReport};
use crate::engine::EngineError;
use crate::storage::{PackFile, PackId, PackStore};
use crate::sys::{FailPoint, is_device_error};
use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use std::collections::HashMap;
use std::io;
use std::ops::Range;

/// The packs as they were found.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) packs: HashMap<PackId, Pack>,
    /// Those that there was no room to seal.
    pub(super) waiting: Vec<Unsealed>,
    pub(super) report: RecoveryReport,
}

pub(super) fn open_all(store: &dyn PackStore) -> Result<Opened, EngineError> {
    let mut files = store.list()?;
    files.sort_unstable_by_key(|file| file.id);
    let sealed: Vec<_> = files.into_par_iter().map(|file| (file, open_sealed(store, file))).collect();
    refuse_newer(store, &sealed)?;
    let mut opened = Opened::default();
    for (file, sealed) in sealed {
        let pack = match sealed {
            Ok(Some(pack)) => Some(pack),
            Ok(None) => recover(store, file, &mut opened)?,
            Err(error) if is_device_error(&error) => recover(store, file, &mut opened)?,
            Err(error) => return Err(error.into()),
        };
        opened.packs.extend(pack.map(|pack| (file.id, pack)));
    }
    opened.report.packs = opened.packs.len() as u64;
    Ok(opened)
}

/// `None` when the pack has no valid footer.
fn open_sealed(store: &dyn PackStore, file: PackFile) -> io::Result<Option<Pack>> {
    let Some(at) = file.len.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
    let bytes = store.read_at(file.id, at, TRAILER_BYTES)?;
    let Ok(trailer) = Trailer::decode(&bytes, file.id, file.len) else { return Ok(None) };
    let len = usize::try_from(at - trailer.gaps_offset()).unwrap_or(0);
    let gaps =
        if len == 0 { Vec::new().into() } else { store.read_at(file.id, trailer.gaps_offset(), len)? };
    let Ok(gaps) = decode_gaps(&gaps, trailer.gaps_crc) else { return Ok(None) };
    let (end, sealed) = (trailer.records_end, Some(trailer.records));
    Ok(Some(Pack { end, durable: end, in_doubt: false, gaps: gaps.into(), sealed }))
}

/// Before any pack is changed: those of a newer version, or of elsewhere, leave all as it is.
fn refuse_newer(
    store: &dyn PackStore,
    found: &[(PackFile, io::Result<Option<Pack>>)],
) -> Result<(), EngineError> {
    for (file, _) in found.iter().filter(|(_, sealed)| !matches!(sealed, Ok(Some(_)))) {
        // What else is wrong with one is found again when it is recovered.
        if let Err(error @ EngineError::Incompatible(_)) = check_header(store, *file) {
            return Err(error);
        }
    }
    Ok(())
}

/// Scans a pack, as the device has it, and seals it. `None` when there was nothing in it, and it was removed.
fn recover(store: &dyn PackStore, file: PackFile, opened: &mut Opened) -> Result<Option<Pack>, EngineError> {
    // After a failed sync memory may show bytes that the device never took.
    match store.reload(file.id) {
        Err(error) if !is_device_error(&error) => return Err(error.into()),
        _ => {}
    }
    FailPoint::PacksRecover.pass()?;
    let report = &mut opened.report;
    let begun = match check_header(store, file) {
        Err(EngineError::Io(error)) if is_device_error(&error) => false,
        checked => checked?,
    };
    // Offsets are 32 bits wide; nothing of ours ever stands behind them.
    let len = u32::try_from(file.len).unwrap_or(u32::MAX);
    let walked = walk(store, file.id, len)?;
    if walked.is_unreadable {
        // Neither cut nor sealed: another try, or another machine, may read more of it.
        tracing::error!(pack = %file.id, records = walked.entries.len(), "a pack cannot be read everywhere");
        report.unreadable.push(file.id);
        // What could be read of it may stand in memory alone.
        let is_synced = store.sync(file.id).is_ok();
        return Ok(Some(unsealed(walked, is_synced)));
    }
    if walked.entries.is_empty() {
        if begun || is_zero(store, file)? {
            FailPoint::PacksRecoverRemove.pass()?;
            store.remove(file.id)?;
            report.removed.push(file.id);
            return Ok(None);
        }
        // Not one byte of it is ours to judge: it stays as it is, and is reported at every start.
        let whole = 0..file.len;
        report.recovered.push(RecoveredPack {
            id: file.id,
            records: 0,
            truncated_bytes: 0,
            gaps: vec![whole],
        });
        let end = PACK_HEADER_BYTES as u32;
        return Ok(Some(Pack { end, durable: 0, in_doubt: false, gaps: [].into(), sealed: None }));
    }
    report.recovered.push(RecoveredPack {
        id: file.id,
        records: walked.entries.len() as u64,
        truncated_bytes: file.len.saturating_sub(u64::from(walked.end)),
        gaps: walked.gaps.iter().map(|gap: &Range<u32>| u64::from(gap.start)..u64::from(gap.end)).collect(),
    });
    let found = Unsealed::found(file.id, &walked);
    match found.seal(store) {
        Ok(()) => Ok(Some(Pack { sealed: Some(found.records), ..unsealed(walked, true) })),
        Err(error) => match from_io(error) {
            // Without a footer the pack is as good. One whose sync failed must not be synced again before the next
            // start: that would count as a failure of this one.
            EngineError::Full => {
                let is_synced = store.sync(file.id).is_ok();
                opened.waiting.extend(is_synced.then_some(found));
                Ok(Some(unsealed(walked, is_synced)))
            }
            error => Err(error),
        },
    }
}

fn unsealed(walked: Walked, is_synced: bool) -> Pack {
    let Walked { end, gaps, .. } = walked;
    let durable = if is_synced { end } else { 0 };
    Pack { end, durable, in_doubt: !is_synced, gaps: gaps.into(), sealed: None }
}

/// Whether the header says that this pack was begun here: also by being all zeros, for then it never came to the disk.
fn check_header(store: &dyn PackStore, file: PackFile) -> Result<bool, EngineError> {
    if file.len < PACK_HEADER_BYTES as u64 {
        return Ok(true);
    }
    let bytes = store.read_at(file.id, 0, PACK_HEADER_BYTES)?;
    match decode_pack_header(&bytes, file.id) {
        Ok(()) => Ok(true),
        Err(why @ (FormatError::Version(_) | FormatError::OtherPack)) => {
            Err(EngineError::Incompatible(format!("pack {}: {why}", file.id)))
        }
        Err(_) => Ok(bytes.iter().all(|byte| *byte == 0)),
    }
}

fn is_zero(store: &dyn PackStore, file: PackFile) -> io::Result<bool> {
    const PIECE: u64 = 1 << 20;
    let mut offset = 0;
    while offset < file.len {
        let len = PIECE.min(file.len - offset);
        let bytes = store.read_at(file.id, offset, usize::try_from(len).unwrap_or(0))?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += len;
    }
    Ok(true)
}
