//! Bytes of packs and plain bodies, back into files.

use super::{Plan, ShownProgress, done, phase, sparse};
use crate::backup::container::Kind;
use crate::backup::{BackupError, Extent, PlainFile, Repository, objects};
use crate::engine::{EngineError, PlainStore};
use crate::storage::{PackId, PackStore};
use futures::stream::{self, StreamExt, TryStreamExt};
use std::io;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How much of a pack is read at a time to compare it.
const COMPARE_BYTES: u64 = 4 << 20;

/// What was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BytesReport {
    pub packs: u64,
    pub plains: u64,
    /// Of files.
    pub bytes: u64,
    /// Of these, what was there already.
    pub kept_bytes: u64,
    /// Plain bodies whose files were damaged before they were sent, as their ends show: they are back as they stood, and are refused to readers.
    pub damaged_plains: u64,
}

/// Brings back all files of a plan, several at a time. Extents that are there already, whole, are kept. Durable when it returns. The packs are
/// then to be opened, and their records [revived](crate::engine::pack::PackSet::revive).
///
/// # Errors
/// The first one, of the bucket or the disk; the same call goes on where this one ended.
pub async fn restore_bytes(
    repository: &Arc<Repository>,
    plan: &Plan,
    packs: &Arc<dyn PackStore>,
    plain: &PlainStore,
    files_at_once: usize,
    progress: &ShownProgress,
    stop: &CancellationToken,
) -> Result<BytesReport, BackupError> {
    let lens: u64 = plan.holdings.packs().map(|(id, _)| u64::from(plan.holdings.end(id))).sum();
    let plains: u64 = plan.holdings.plains().map(|plain| plain.length).sum();
    phase(progress, "packs", lens + plains);
    let listed = {
        let packs = Arc::clone(packs);
        tokio::task::spawn_blocking(move || packs.list()).await??
    };
    let there: std::collections::HashMap<_, _> = listed.iter().map(|file| (file.id, file.len)).collect();
    let wanted: Vec<_> = plan.holdings.packs().map(|(id, extents)| (id, extents.to_vec())).collect();
    let mut report = BytesReport::default();
    let mut restored = stream::iter(wanted)
        .map(|(id, extents)| {
            let file = PackFile {
                repository: Arc::clone(repository),
                packs: Arc::clone(packs),
                id,
                len: there.get(&id).copied(),
            };
            let (progress, stop) = (Arc::clone(progress), stop.clone());
            async move { file.restore(&extents, &progress, &stop).await }
        })
        .buffer_unordered(files_at_once);
    while let Some((bytes, kept)) = restored.try_next().await? {
        report.packs += 1;
        report.bytes += bytes;
        report.kept_bytes += kept;
    }
    for file in plan.holdings.plains() {
        if stop.is_cancelled() {
            return Err(BackupError::Stopped);
        }
        let (kept, is_whole) = restore_plain(repository, plain, file).await?;
        report.kept_bytes += kept;
        report.damaged_plains += u64::from(!is_whole);
        report.plains += 1;
        report.bytes += file.length;
        done(progress, file.length);
    }
    Ok(report)
}

/// The file of one pack.
struct PackFile {
    repository: Arc<Repository>,
    packs: Arc<dyn PackStore>,
    id: PackId,
    /// Of what is there.
    len: Option<u64>,
}

impl PackFile {
    /// Returns bytes in all, and those that were there.
    async fn restore(
        &self,
        extents: &[Extent],
        progress: &ShownProgress,
        stop: &CancellationToken,
    ) -> Result<(u64, u64), BackupError> {
        if self.len.is_none() {
            self.blocking(|packs, id| packs.create(id)).await?;
        }
        let (mut end, mut kept) = (0, 0);
        for extent in extents {
            if stop.is_cancelled() {
                return Err(BackupError::Stopped);
            }
            let len = u64::from(extent.to - extent.from);
            if self.is_there(*extent).await? {
                kept += len;
            } else {
                let bytes =
                    objects::get(&self.repository, extent.name(), Kind::Extent, Some(extent.stamp)).await?;
                if bytes.len() as u64 != len {
                    let why = format!("it holds {} bytes", bytes.len());
                    return Err(BackupError::Content { name: extent.name().to_string(), why });
                }
                let from = u64::from(extent.from);
                self.blocking(move |packs, id| sparse::write(packs, id, from, &bytes)).await?;
            }
            end = u64::from(extent.to);
            done(progress, len);
        }
        let is_other_length = self.len.is_none_or(|len| len != end);
        self.blocking(move |packs, id| {
            if is_other_length {
                packs.truncate(id, end)?;
            }
            // Also what an earlier attempt wrote: that was killed, maybe, before it was durable.
            packs.sync(id)
        })
        .await?;
        Ok((end, kept))
    }

    /// Whether an earlier attempt has brought it back whole.
    async fn is_there(&self, extent: Extent) -> Result<bool, BackupError> {
        if self.len.is_none_or(|len| len < u64::from(extent.to)) {
            return Ok(false);
        }
        self.blocking(move |packs, id| {
            let (mut at, mut crc) = (u64::from(extent.from), 0);
            while at < u64::from(extent.to) {
                let until = u64::from(extent.to).min(at + COMPARE_BYTES);
                // Lengths are bounded by `COMPARE_BYTES`.
                crc = crc32c::crc32c_append(crc, &packs.read_once(id, at, (until - at) as usize)?);
                at = until;
            }
            Ok(crc == extent.crc)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn PackStore, PackId) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BackupError> {
        let (packs, id) = (Arc::clone(&self.packs), self.id);
        Ok(tokio::task::spawn_blocking(move || work(&*packs, id)).await??)
    }
}

/// Returns the bytes that were there already, and whether what was written ends as a body's file does.
async fn restore_plain(
    repository: &Arc<Repository>,
    store: &PlainStore,
    file: &PlainFile,
) -> Result<(u64, bool), BackupError> {
    let (plain, id) = (store.clone(), file.id);
    let there = tokio::task::spawn_blocking(move || match plain.raw_len(id) {
        Err(EngineError::MissingPlain(_)) => Ok(None),
        len => len.map(Some),
    });
    // It was put in its place once it was whole.
    if there.await?? == Some(file.length) {
        return Ok((file.length, true));
    }
    let plain = store.clone();
    let mut writer = tokio::task::spawn_blocking(move || plain.restore(id)).await??;
    for (name, stamp) in file.objects() {
        let bytes = objects::get(repository, name, Kind::Plain, Some(stamp)).await?;
        writer = tokio::task::spawn_blocking(move || writer.write(&bytes).map(|()| writer)).await??;
    }
    let placed = tokio::task::spawn_blocking(move || {
        let is_whole = writer.has_its_end()?;
        // The seals have proven that it was sent so.
        writer.finish_as_it_stands().map(|()| is_whole)
    });
    let is_whole = placed.await??;
    if !is_whole {
        tracing::error!(body = %id, "this body was damaged before it was sent to the backup");
    }
    Ok((0, is_whole))
}
