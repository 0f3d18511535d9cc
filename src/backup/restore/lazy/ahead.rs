//! What a start reads: fetched before, many at a time, and kept, so that the next start needs nothing of the bucket.

use super::fetching::Shared;
use super::part::{File, FileId};
use crate::backup::BackupError;
use crate::engine::pack::{PackSet, RecordKind, TRAILER_BYTES, Trailer};
use crate::storage::PackId;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::ops::Range;
use std::sync::Arc;

/// Packs at a time.
const PACKS_AT_ONCE: usize = 16;

/// The ends of all packs: of sealed ones the footer. One that was still written to is scanned and sealed when it is opened: all of it.
pub(super) async fn footers(shared: &Arc<Shared>) -> Result<(), BackupError> {
    each(shared, footer).await
}

/// The nodes of manifests, which a new index counts.
pub(super) async fn nodes(shared: &Arc<Shared>, packs: &PackSet) -> Result<(), BackupError> {
    let packs = packs.clone();
    each(shared, move |shared, id, file| pack_nodes(shared, &packs, id, file)).await
}

async fn each(
    shared: &Arc<Shared>,
    work: impl Fn(&Arc<Shared>, PackId, &File) -> Result<(), BackupError> + Clone + Send + 'static,
) -> Result<(), BackupError> {
    let files: Vec<_> = shared.files.read().values().cloned().collect();
    let works = files.into_iter().filter_map(|file| {
        let FileId::Pack(id) = file.id else { return None };
        let (shared, work) = (Arc::clone(shared), work.clone());
        Some(async move { tokio::task::spawn_blocking(move || work(&shared, id, &file)).await? })
    });
    stream::iter(works).buffer_unordered(PACKS_AT_ONCE).try_collect().await
}

fn footer(shared: &Arc<Shared>, id: PackId, file: &File) -> Result<(), BackupError> {
    let len = file.len();
    let Some(at) = len.checked_sub(TRAILER_BYTES as u64) else {
        return Ok(shared.force(file, &(0..len))?);
    };
    let has_waited = shared.ensure_first(file, &(at..len))?;
    let trailer = shared.local.packs.read_at(id, at, TRAILER_BYTES)?;
    let Ok(trailer) = Trailer::decode(&trailer, id, len) else {
        return Ok(shared.force(file, &(0..len))?);
    };
    let footer = u64::from(trailer.records_end)..len;
    if shared.ensure_first(file, &footer)? || has_waited {
        shared.secure(file, &[footer])?;
    }
    Ok(())
}

fn pack_nodes(shared: &Arc<Shared>, packs: &PackSet, id: PackId, file: &File) -> Result<(), BackupError> {
    let mut nodes: Vec<Range<u64>> = Vec::new();
    packs.scan(id, &mut |record| {
        if record.kind == RecordKind::Node && !record.dead {
            nodes.push(record.location.range());
        }
    })?;
    let mut has_waited = false;
    for range in &nodes {
        has_waited |= shared.ensure_first(file, range)?;
    }
    if has_waited { Ok(shared.secure(file, &nodes)?) } else { Ok(()) }
}
