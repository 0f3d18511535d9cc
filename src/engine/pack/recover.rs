//! Opening the packs of a store: sealed ones by their trailer, the others by a scan.

use super::format::{
    FormatError, PACK_HEADER_BYTES, TRAILER_BYTES, Trailer, decode_gaps, decode_pack_header,
    encode_footer_entry,
};
use super::scan::{Walked, walk};
use super::set::{Pack, append_trailer, from_io};
use super::types::{RecoveredPack, RecoveryReport};
use crate::engine::EngineError;
use crate::storage::{PackFile, PackId, PackStore};
use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use std::collections::HashMap;
use std::io;
use std::ops::Range;

pub(super) fn open_all(
    store: &dyn PackStore,
) -> Result<(HashMap<PackId, Pack>, RecoveryReport), EngineError> {
    let mut files = store.list()?;
    files.sort_unstable_by_key(|file| file.id);
    let opened: Vec<_> =
        files.into_par_iter().map(|file| Ok((file, open_sealed(store, file)?))).collect::<io::Result<_>>()?;
    let mut packs = HashMap::with_capacity(opened.len());
    let mut report = RecoveryReport::default();
    for (file, sealed) in opened {
        let pack = match sealed {
            Some(pack) => Some(pack),
            None => recover(store, file, &mut report)?,
        };
        packs.extend(pack.map(|pack| (file.id, pack)));
    }
    report.packs = packs.len() as u64;
    Ok((packs, report))
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
    Ok(Some(Pack { end: trailer.records_end, gaps: gaps.into(), sealed: Some(trailer.records) }))
}

/// Scans a pack and seals it. `None` when there was nothing in it, and it was removed.
fn recover(
    store: &dyn PackStore,
    file: PackFile,
    report: &mut RecoveryReport,
) -> Result<Option<Pack>, EngineError> {
    let begun = check_header(store, file)?;
    // Offsets are 32 bits wide; nothing of ours ever stands behind them.
    let len = u32::try_from(file.len).unwrap_or(u32::MAX);
    let walked = walk(store, file.id, len)?;
    if walked.entries.is_empty() {
        if begun || is_zero(store, file)? {
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
        return Ok(Some(Pack { end: PACK_HEADER_BYTES as u32, gaps: [].into(), sealed: None }));
    }
    report.recovered.push(RecoveredPack {
        id: file.id,
        records: walked.entries.len() as u64,
        truncated_bytes: file.len.saturating_sub(u64::from(walked.end)),
        gaps: walked.gaps.iter().map(|gap: &Range<u32>| u64::from(gap.start)..u64::from(gap.end)).collect(),
    });
    let sealed = match seal(store, file.id, &walked) {
        Ok(records) => Some(records),
        Err(error) => match from_io(error) {
            // Without a footer the pack is as good; the next start tries again.
            EngineError::Full => None,
            error => return Err(error),
        },
    };
    Ok(Some(Pack { end: walked.end, gaps: walked.gaps.into(), sealed }))
}

/// Whether the header says that this pack was begun here.
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
        Err(_) => Ok(false),
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

/// Cuts the tail off and writes a footer that names what was found.
fn seal(store: &dyn PackStore, pack: PackId, walked: &Walked) -> io::Result<u32> {
    store.truncate(pack, u64::from(walked.end))?;
    let mut footer = Vec::new();
    for (offset, header) in &walked.entries {
        footer.extend_from_slice(&encode_footer_entry(header, pack, *offset));
    }
    let records = u32::try_from(walked.entries.len()).unwrap_or(u32::MAX);
    let trailer = append_trailer(&mut footer, pack, walked.end, records, &walked.gaps);
    store.write_at(pack, u64::from(walked.end), &footer)?;
    store.sync(pack)?;
    Ok(trailer.records)
}
