//! Bringing the rest, behind the readers.

use super::fetching::Shared;
use super::part::Part;
use super::record::Saved;
use crate::backup::BackupError;
use crate::sys::FileSystem;
use futures::future::join_all;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_util::sync::CancellationToken;

/// Parts at a time.
const WORKERS: usize = 4;

/// Until everything is here, or it is stopped. What fails is tried again after a pause.
pub(super) async fn bring_all(shared: &Arc<Shared>, stop: &CancellationToken) {
    let next = AtomicUsize::new(0);
    let works = (0..WORKERS).map(|_| work(shared, &next, stop));
    join_all(works).await;
}

async fn work(shared: &Arc<Shared>, next: &AtomicUsize, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let Some(part) = take(shared, next) else {
            if shared.left_parts.load(Ordering::Acquire) == 0 {
                return;
            }
            // Others are at the last ones, or some failed: from the beginning.
            let _ = stop.run_until_cancelled(tokio::time::sleep(shared.waits.pause)).await;
            next.store(0, Ordering::Release);
            continue;
        };
        let (this, name) = (Arc::clone(shared), part.name());
        let brought = tokio::task::spawn_blocking(move || this.bring(&part)).await;
        let brought = brought.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        if let Err(error) = brought
            && !stop.is_cancelled()
        {
            metrics::counter!("sediment_restore_errors_total").increment(1);
            tracing::warn!(%error, %name, "a part of the store could not be fetched from the backup; it is tried again");
            let _ = stop.run_until_cancelled(tokio::time::sleep(shared.waits.pause)).await;
        }
    }
}

/// What readers have asked for, then one after the other.
fn take(shared: &Shared, next: &AtomicUsize) -> Option<Arc<Part>> {
    loop {
        let hot = shared.hot.lock().pop_front().map(|number| number as usize);
        let number = hot.unwrap_or_else(|| next.fetch_add(1, Ordering::AcqRel));
        let part = shared.parts.get(number)?;
        if !part.is_local() {
            return Some(Arc::clone(part));
        }
    }
}

/// Takes the files away that say that something is missing. Blocks.
pub(super) fn finish(shared: &Shared, fs: &dyn FileSystem, dir: &Path) -> Result<(), BackupError> {
    if shared.left_parts.load(Ordering::Acquire) == 0 {
        Saved::remove(fs, dir)?;
        tracing::info!("everything is restored");
    }
    Ok(())
}
