//! Opening the index, or beginning a new one where there is none that can be used.

use super::catalogue::Prefer;
use super::hold::Holds;
use super::lookup::{ChunkIndex, Shared};
use super::store::{Store, Totals, fjall_error};
use super::types::{IndexSettings, Progress};
use super::unnamed::Unnamed;
use crate::engine::EngineError;
use crate::engine::pack::PackSet;
use crate::sys::FailPoint;
use crate::types::CommitSeq;
use parking_lot::{Mutex, RwLock};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::watch;

impl ChunkIndex {
    /// Opens the index in `dir`, or creates it. Packs that it does not know completely are scanned. An index that
    /// cannot be used is put aside and a new one begun: see [`Self::is_new`].
    ///
    /// # Errors
    /// `Incompatible` for an index of a newer version, which is left as it is. `Io` when the directory cannot be used or another process has it open, or a pack cannot be scanned.
    pub fn open(dir: &Path, packs: PackSet, settings: &IndexSettings) -> Result<Self, EngineError> {
        Self::open_showing(dir, packs, settings, Progress::SILENT)
    }

    /// As [`Self::open`]; `progress` gets packs scanned, of those to scan.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_showing(
        dir: &Path,
        packs: PackSet,
        settings: &IndexSettings,
        progress: Progress<'_>,
    ) -> Result<Self, EngineError> {
        std::fs::create_dir_all(dir)?;
        let (store, totals) = match usable(dir, settings) {
            Ok(opened) => opened,
            Err(error @ (EngineError::Io(_) | EngineError::Full | EngineError::Incompatible(_))) => {
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(%error, "the chunk index cannot be used; it is derived data, a new one is begun");
                put_aside(dir)?;
                usable(dir, settings)?
            }
        };
        let is_empty = totals.is_none();
        // Begun, but cut off before anything was counted: that it was begun anew must not be forgotten, or the
        // log would be replayed from a time whose nodes are collected by now.
        let is_new = totals.as_ref().is_none_or(|totals| totals.position.applied == CommitSeq::ZERO);
        let totals = totals.unwrap_or_default();
        let holds = Arc::new(Holds::default());
        let published = totals.position.applied;
        holds.publish(published);
        let index = Self(Arc::new(Shared {
            store,
            packs,
            holds,
            totals: Mutex::new(totals),
            applying: Mutex::new(None),
            published: watch::Sender::new(published),
            is_new: AtomicBool::new(is_new),
            is_catalogued: AtomicBool::new(false),
            batches: AtomicU64::new(0),
            gate: RwLock::new(()),
            steady: RwLock::new(()),
            reopened: Mutex::default(),
            settling: Mutex::default(),
            unnamed: Unnamed::default(),
        }));
        if is_empty {
            index.clear()?;
            FailPoint::IndexCleared.pass()?;
            index.0.packs.sync()?;
        }
        let prefer = if is_empty { Prefer::Newest } else { Prefer::Known };
        index.catalogue_unknown(&mut index.0.totals.lock(), prefer, progress)?;
        if is_empty {
            index.0.store.finished()?;
            index.0.is_catalogued.store(true, Ordering::Release);
        }
        Ok(index)
    }
}

fn usable(dir: &Path, settings: &IndexSettings) -> Result<(Store, Option<Totals>), EngineError> {
    let store = Store::open(dir, settings).map_err(|error| match error {
        fjall::Error::Locked => {
            EngineError::Io(io::Error::new(io::ErrorKind::WouldBlock, "the chunk index is open elsewhere"))
        }
        // Bytes that make no sense show up as all kinds of I/O errors; those of the system keep their number.
        fjall::Error::Io(error) if error.raw_os_error().is_none() => EngineError::Index(error.to_string()),
        // A directory that was begun, and the process died before it was finished.
        fjall::Error::Io(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) =>
        {
            EngineError::Index(error.to_string())
        }
        other => fjall_error(other),
    })?;
    let totals = store.load()?;
    Ok((store, totals))
}

/// Keeps the last unusable index for whoever wants to know why.
fn put_aside(dir: &Path) -> Result<(), EngineError> {
    let mut aside = dir.as_os_str().to_owned();
    aside.push(".unusable");
    let aside = Path::new(&aside);
    match std::fs::remove_dir_all(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    std::fs::rename(dir, aside)?;
    FailPoint::IndexAside.pass()?;
    std::fs::create_dir_all(dir)?;
    Ok(())
}
