//! One body out of several, without moving their bytes.

use super::budget::Share;
use super::ingest::{ChunkSink, Fallback, Ingest, Lease, Workers, Writer};
use super::{BodySpec, BodyWriter, Digests, EngineError, StagedBody};
use crate::meta::{NewBody, StoredBody};
use crate::types::PlainId;
use bytes::Bytes;
use std::sync::Arc;

/// Open nodes, nodes that wait, and inline parts.
const MEMORY_BYTES: u64 = 3 << 20;
/// Inline parts are worked on when so many bytes of them wait.
const CHUNK_BATCH_BYTES: usize = 256 << 10;
/// Plain bodies are read in pieces of so many bytes.
const READ_BYTES: u64 = 1 << 20;

/// Entries of chunked bodies stand side by side; inline bodies become chunks; plain ones are read and cut anew.
///
/// # Errors
/// `Size` when a body is not as long as its row says, and whatever reading plain bodies and appending can meet.
pub(super) async fn join(
    ingest: &Arc<Ingest>,
    bodies: Vec<(StoredBody, u64)>,
) -> Result<StagedBody, EngineError> {
    let size = bodies.iter().try_fold(0u64, |sum, (_, size)| sum.checked_add(*size));
    let size = size.ok_or(EngineError::Size { expected: u64::MAX, actual: u64::MAX })?;
    let is_plain = |(body, _): &(StoredBody, u64)| matches!(body, StoredBody::Plain(_));
    // All at once: whoever has some of a share must not wait for more of it.
    let lease = match bodies.iter().any(is_plain) {
        true => ingest.lease(Share::Seat, MEMORY_BYTES + ingest.seat_bytes()).await?,
        false => ingest.lease(Share::Small, MEMORY_BYTES).await?,
    };
    let staged = |body| {
        let hold = Box::new(Arc::clone(&lease.session));
        StagedBody { body, size, digests: Digests::default(), hold }
    };
    if let Some(bytes) = inline(&bodies, size, ingest.parts.settings.inline_max_bytes)? {
        return Ok(staged(NewBody::Inline(bytes)));
    }
    let mut sink = ChunkSink::new(Arc::clone(ingest), lease.clone());
    let mut chained = Vec::new();
    for (body, size) in bodies {
        let StoredBody::Plain(id) = body else {
            chained.push((body, size));
            continue;
        };
        sink = chain(ingest, sink, std::mem::take(&mut chained)).await?;
        let body = cut_anew(ingest, id, size, lease.clone()).await?;
        chained.push((body, size));
    }
    sink = chain(ingest, sink, chained).await?;
    let root = ingest.workers.start(move || sink.finish()).wait().await??;
    if root.size() != size {
        return Err(EngineError::Size { expected: size, actual: root.size() });
    }
    Ok(staged(NewBody::Manifest(root)))
}

/// The bytes, when all of them are inline and few.
fn inline(bodies: &[(StoredBody, u64)], size: u64, most: u64) -> Result<Option<Bytes>, EngineError> {
    if size > most {
        return Ok(None);
    }
    let mut joined = Vec::new();
    for (body, _) in bodies {
        match body {
            StoredBody::Inline(bytes) => joined.extend_from_slice(bytes),
            StoredBody::Chunked { .. } | StoredBody::Plain(_) => return Ok(None),
        }
    }
    let actual = joined.len() as u64;
    if actual == size { Ok(Some(joined.into())) } else { Err(EngineError::Size { expected: size, actual }) }
}

/// Adds chunked and inline bodies on a worker.
async fn chain(
    ingest: &Arc<Ingest>,
    mut sink: ChunkSink,
    bodies: Vec<(StoredBody, u64)>,
) -> Result<ChunkSink, EngineError> {
    let job = move || {
        let (mut waiting, mut waiting_bytes) = (Vec::new(), 0);
        for (body, _) in bodies {
            match body {
                StoredBody::Inline(bytes) if bytes.is_empty() => {}
                StoredBody::Inline(bytes) => {
                    waiting_bytes += bytes.len();
                    waiting.push(bytes);
                }
                StoredBody::Chunked { root, .. } => {
                    if !waiting.is_empty() {
                        sink.push_chunks(std::mem::take(&mut waiting), false)?;
                        waiting_bytes = 0;
                    }
                    sink.push_entries(root.entries())?;
                }
                StoredBody::Plain(id) => return Err(EngineError::MissingPlain(id)),
            }
            if waiting_bytes >= CHUNK_BATCH_BYTES {
                sink.push_chunks(std::mem::take(&mut waiting), false)?;
                waiting_bytes = 0;
            }
        }
        if !waiting.is_empty() {
            sink.push_chunks(waiting, false)?;
        }
        Ok(sink)
    };
    ingest.workers.start(job).wait().await?
}

/// A plain body as chunks, which the lease's session protects.
async fn cut_anew(
    ingest: &Arc<Ingest>,
    id: PlainId,
    size: u64,
    lease: Lease,
) -> Result<StoredBody, EngineError> {
    let spec = BodySpec { size: Some(size), checksums: Vec::new() };
    let mut writer = Writer::within(Arc::clone(ingest), spec, lease, Fallback::Refuse);
    let plain = ingest.parts.plain.clone();
    let reader = Arc::new(Workers::start_blocking(move || plain.reader(id)).wait().await??);
    let mut start = 0;
    while start < size {
        let (reader, range) = (Arc::clone(&reader), start..size.min(start + READ_BYTES));
        start = range.end;
        writer.write(Workers::start_blocking(move || reader.read_at(range)).wait().await??).await?;
    }
    let staged = Box::new(writer).finish().await?;
    match staged.body {
        NewBody::Inline(bytes) => Ok(StoredBody::Inline(bytes)),
        NewBody::Manifest(root) => Ok(StoredBody::Chunked { id: root.id(), root: Arc::new(root) }),
        NewBody::Plain(_) | NewBody::SharedPlain(_) | NewBody::SharedManifest(_) => {
            Err(EngineError::Index("a body could not be deduplicated".to_owned()))
        }
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
