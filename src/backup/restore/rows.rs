//! The metadata: an image, and the log behind it, replayed.

use super::{Plan, ShownProgress, done, phase};
use crate::backup::container::Kind;
use crate::backup::{BackupError, Base, Repository, Segment, objects};
use crate::meta::{Commit, Consumer, LogRecord, MetaStore};
use crate::sys::{FileSystem, parent};
use futures::future::try_join_all;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Records that share a transaction.
const RECORDS_AT_ONCE: usize = 25;

/// What the rows came of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowsReport {
    pub base_bytes: u64,
    pub records: u64,
}

/// Fetches the image of the metadata into a new file, durably; one that is there is replaced. `open` opens it; then the log is
/// replayed in it, up to the plan's record, where the backup's cursor is set: whoever goes on shipping goes on there.
///
/// # Errors
/// When the bucket's objects cannot be read, the file cannot be written, or a record does not belong behind the image.
pub async fn restore_rows<M: MetaStore>(
    repository: &Arc<Repository>,
    plan: &Plan,
    fs: &Arc<dyn FileSystem>,
    path: &Path,
    open: impl AsyncFnOnce() -> Result<Arc<M>, BackupError>,
    progress: &ShownProgress,
    stop: &CancellationToken,
) -> Result<(Arc<M>, RowsReport), BackupError> {
    let base = &plan.snapshot.base;
    fetch_base(repository, base, fs, path, progress, stop).await?;
    let meta = open().await?;
    for consumer in [Consumer::Backup, Consumer::Replication] {
        meta.commit(Commit::ForgetConsumer { consumer, at: None }).await?;
    }
    // Now, while the image's record is the last: a record that is replayed may bring those behind it.
    meta.commit(Commit::Follow { consumer: Consumer::Backup }).await?;
    phase(progress, "log", plan.seq.get().saturating_sub(base.seq.get()));
    let mut at = base.seq;
    for segment in &plan.log {
        let read = Segment::get(repository, segment.name(), Some(segment.stamp)).await?;
        let mut records = read.cut(segment.up_to.min(plan.seq)).decode()?;
        records.retain(|record| record.seq > at);
        for group in records.chunks(RECORDS_AT_ONCE) {
            if stop.is_cancelled() {
                return Err(BackupError::Stopped);
            }
            replay(&*meta, group).await?;
            done(progress, group.len() as u64);
        }
        at = records.last().map_or(at, |record| record.seq);
    }
    if at != plan.seq {
        let why = format!("the log ends with record {at}, before {}", plan.seq);
        return Err(BackupError::Unfit(why));
    }
    meta.commit(Commit::AdvanceCursor { consumer: Consumer::Backup, through: at }).await?;
    let report = RowsReport { base_bytes: base.length, records: at.get() - base.seq.get() };
    Ok((meta, report))
}

/// Sent in order, answered together.
async fn replay<M: MetaStore>(meta: &M, group: &[LogRecord]) -> Result<(), BackupError> {
    let sent = group.iter().map(|record| meta.commit(Commit::Replay(Box::new(record.clone()))));
    try_join_all(sent).await?;
    Ok(())
}

async fn fetch_base(
    repository: &Arc<Repository>,
    base: &Base,
    fs: &Arc<dyn FileSystem>,
    path: &Path,
    progress: &ShownProgress,
    stop: &CancellationToken,
) -> Result<(), BackupError> {
    phase(progress, "metadata", base.length);
    for beside in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        match fs.remove_file(Path::new(&name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let file = fs.create_new(path)?;
    let mut at = 0;
    for (name, stamp) in base.objects() {
        if stop.is_cancelled() {
            return Err(BackupError::Stopped);
        }
        let bytes = objects::get(repository, name, Kind::Base, Some(stamp)).await?;
        let (file, len) = (Arc::clone(&file), bytes.len() as u64);
        tokio::task::spawn_blocking(move || file.write_all_at(&bytes, at)).await??;
        at += len;
        done(progress, len);
    }
    if at != base.length {
        let why = format!("the image of the metadata has {at} bytes instead of {}", base.length);
        return Err(BackupError::Unfit(why));
    }
    let (fs, dir) = (Arc::clone(fs), parent(path).to_owned());
    tokio::task::spawn_blocking(move || file.sync_data().and_then(|()| fs.sync_dir(&dir))).await??;
    Ok(())
}
