//! Serving a store whose rows are restored while its bytes are still in the bucket.
//!
//! Every file of the plan is there from the beginning, with its length and holes. [`LazyRestore`] stands between the engine and these files: who reads
//! what is missing waits for the frames that hold it and no more; the part of the file that they belong to comes next as a whole; the rest comes in the
//! background. A part is *local* once it is whole, checked, durable and noted; only then may its bytes be changed, and it is never fetched again. After a
//! crash whatever was not noted is fetched anew.
//!
//! What is missing is never an error of the device, and nothing is condemned for it. Nobody may scrub or collect before the end
//! ([`LazyRestore::is_done`]). `docs/decisions/031-serving-while-restoring.md` says why.

mod ahead;
mod background;
mod fetching;
mod files;
mod local;
mod packs;
mod part;
mod record;
mod revive;
#[cfg(test)]
mod tests;

use super::Plan;
use crate::backup::{BackupError, Contents, Extent, PLAIN_PIECE_BYTES, Repository};
use crate::engine::PlainStore;
use crate::engine::index::ChunkIndex;
use crate::engine::pack::PackSet;
use crate::storage::PackStore;
use crate::sys::FileSystem;
use fetching::Shared;
use files::LazyFiles;
use local::Local;
use packs::LazyPacks;
use parking_lot::Mutex;
use part::{File, FileId, Part};
use record::{Journal, Note, Saved};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How long is waited.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// What failed is not tried again before.
    pause: Duration,
    /// A reader is told to come again after so long; the fetch goes on.
    longest: Duration,
}

const WAITS: Waits = Waits { pause: Duration::from_secs(1), longest: Duration::from_secs(20) };

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct LazyProgress {
    pub left_bytes: u64,
    pub total_bytes: u64,
}

/// A restore whose bytes are not all here. Clones share everything.
#[derive(Debug, Clone)]
pub struct LazyRestore {
    shared: Arc<Shared>,
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    total_bytes: u64,
    is_revived: Arc<AtomicBool>,
    is_done: CancellationToken,
    finishing: Arc<Mutex<()>>,
}

impl LazyRestore {
    /// Notes what is to be fetched, once the rows of the plan are restored. From now on the directory is not a store
    /// by itself until [`Self::run`] has ended. Blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(
        repository: &Repository,
        plan: &Plan,
        fs: &dyn FileSystem,
        dir: &Path,
    ) -> Result<(), BackupError> {
        let id = repository.description().id;
        Saved::new(id, plan.epoch, plan.seq, plan.holdings.contents()).save(fs, dir)
    }

    /// Before all of the bytes are restored at once: what was begun here is to be found by nobody. Blocks.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn give_up(fs: &dyn FileSystem, dir: &Path) -> io::Result<()> {
        Saved::remove(fs, dir)
    }

    /// Whether a restore of this directory has begun and not ended: it must not be opened without [`Self::open`]. Blocks.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn is_unfinished(fs: &dyn FileSystem, dir: &Path) -> io::Result<bool> {
        Saved::is_there(fs, dir)
    }

    /// Goes on with what was begun; `None` when nothing was, or all is done. `packs` and `plain` are the local ones. Once `stop` is cancelled nothing
    /// is fetched, and whoever waits for that fails. Blocks.
    ///
    /// # Errors
    /// When the repository is another one, or the directory cannot be read or written.
    pub fn open(
        repository: &Arc<Repository>,
        fs: &Arc<dyn FileSystem>,
        dir: &Path,
        packs: Arc<dyn PackStore>,
        plain: PlainStore,
        (runtime, stop): (Handle, &CancellationToken),
    ) -> Result<Option<Self>, BackupError> {
        let local = Local::new(packs, plain);
        Self::open_waiting(repository, fs, dir, local, (runtime, WAITS, stop.child_token()))
    }

    fn open_waiting(
        repository: &Arc<Repository>,
        fs: &Arc<dyn FileSystem>,
        dir: &Path,
        local: Local,
        runtime: (Handle, Waits, CancellationToken),
    ) -> Result<Option<Self>, BackupError> {
        let Some(saved) = Saved::load(&**fs, dir)? else { return Ok(None) };
        if saved.repository != repository.description().id {
            let why = format!("this directory is being restored from repository {}", saved.repository);
            return Err(BackupError::Unfit(why));
        }
        let (mut journal, notes) = Journal::open(&**fs, dir)?;
        let files = files_of(&saved.contents);
        if !notes.contains(&Note::Reserved) {
            for file in files.values() {
                local.reserve(file.id, file.len())?;
            }
            journal.append(&[Note::Reserved])?;
        }
        let mut parts: Vec<_> = files.values().flat_map(|file| file.parts.iter().cloned()).collect();
        parts.sort_by_key(|part| part.number);
        apply(&notes, &parts);
        let total_bytes = parts.iter().map(|part| part.len()).sum();
        let missing = files.into_iter().filter_map(|(id, file)| {
            let left = file.parts.iter().filter(|part| !part.is_local()).count();
            file.left.store(left, Ordering::Release);
            (left > 0).then(|| (id, Arc::new(file)))
        });
        let missing: HashMap<_, _> = missing.collect();
        let repository = Arc::clone(repository);
        let shared = Arc::new(Shared::new(repository, local, journal, parts, missing, runtime));
        Ok(Some(Self {
            shared,
            fs: Arc::clone(fs),
            dir: dir.to_owned(),
            total_bytes,
            is_revived: Arc::new(AtomicBool::new(notes.contains(&Note::Revived))),
            is_done: CancellationToken::new(),
            finishing: Arc::default(),
        }))
    }

    /// The packs for the engine.
    #[must_use]
    pub fn packs(&self) -> Arc<dyn PackStore> {
        Arc::new(LazyPacks(Arc::clone(&self.shared)))
    }

    /// The file system for the engine's plain bodies.
    #[must_use]
    pub fn files(&self) -> Arc<dyn FileSystem> {
        Arc::new(LazyFiles { inner: Arc::clone(&self.fs), shared: Arc::clone(&self.shared) })
    }

    /// Before the packs are opened: fetches what that reads. The next start has it.
    ///
    /// # Errors
    /// When the bucket cannot be read, or the disk not written.
    pub async fn before_packs(&self) -> Result<(), BackupError> {
        ahead::footers(&self.shared).await
    }

    /// Before a new index counts: fetches the nodes of manifests.
    ///
    /// # Errors
    /// As [`Self::before_packs`].
    pub async fn before_counting(&self, packs: &PackSet, index: &ChunkIndex) -> Result<(), BackupError> {
        if index.is_new() { ahead::nodes(&self.shared, packs).await } else { Ok(()) }
    }

    /// Once the index has caught up with the rows and before anything is served: whatever they name is found then. Returns
    /// how many records were brought back to life.
    ///
    /// # Errors
    /// As [`Self::before_packs`].
    pub async fn before_serving(&self, packs: &PackSet, index: &ChunkIndex) -> Result<u64, BackupError> {
        if self.is_revived.load(Ordering::Acquire) {
            return Ok(0);
        }
        let (packs, index, shared) = (packs.clone(), index.clone(), Arc::clone(&self.shared));
        let revived = tokio::task::spawn_blocking(move || {
            let revived = revive::revive(&packs, &index)?;
            shared.journal.lock().append(&[Note::Revived])?;
            Ok::<_, BackupError>(revived)
        });
        let revived = revived.await??;
        self.is_revived.store(true, Ordering::Release);
        Ok(revived)
    }

    /// Brings everything else, until all is here or it is stopped. Then the directory is a store like any other.
    ///
    /// # Errors
    /// When the end cannot be noted. What cannot be fetched is tried again.
    pub async fn run(&self, stop: &CancellationToken) -> Result<(), BackupError> {
        background::bring_all(&self.shared, stop).await;
        if self.shared.left_parts.load(Ordering::Acquire) > 0 || !self.is_revived.load(Ordering::Acquire) {
            return Ok(());
        }
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            let _alone = this.finishing.lock();
            background::finish(&this.shared, &*this.fs, &this.dir)
        })
        .await??;
        self.is_done.cancel();
        Ok(())
    }

    /// Whether all is here. Nobody may scrub or collect before. Does not block.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_done.is_cancelled()
    }

    /// Cancelled when all is here.
    #[must_use]
    pub fn end(&self) -> CancellationToken {
        self.is_done.clone()
    }

    #[must_use]
    pub fn progress(&self) -> LazyProgress {
        let left_bytes = self.shared.left_bytes.load(Ordering::Acquire);
        LazyProgress { left_bytes, total_bytes: self.total_bytes }
    }

    /// From now on nothing is fetched. When it returns nothing is written any more.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.flights.close();
        self.shared.flights.wait().await;
    }
}

/// What is noted before counts, as far as it can be so.
fn apply(notes: &[Note], parts: &[Arc<Part>]) {
    for note in notes {
        match *note {
            Note::Part(number) => {
                if let Some(part) = parts.get(number as usize) {
                    part.restore_all();
                }
            }
            Note::Pieces { part, first, count } => {
                if let Some(part) = parts.get(part as usize) {
                    part.restore_pieces(first, count);
                }
            }
            Note::Reserved | Note::Revived => {}
        }
    }
}

/// Parts are numbered in the order of the plan: packs, then plain bodies.
fn files_of(contents: &Contents) -> HashMap<FileId, File> {
    let mut files: HashMap<FileId, File> = HashMap::new();
    let mut number = 0;
    let mut add = |id: FileId, part: &dyn Fn(u32) -> Part| {
        let file =
            files.entry(id).or_insert_with(|| File { id, parts: Vec::new(), left: AtomicUsize::new(0) });
        file.parts.push(Arc::new(part(number)));
        number += 1;
    };
    for extent in &contents.packs {
        let Extent { from, to, crc, .. } = *extent;
        let id = FileId::Pack(extent.pack());
        let object = (extent.name(), extent.stamp);
        add(id, &|number| Part::new(number, id, u64::from(from)..u64::from(to), object, Some(crc)));
    }
    for plain in &contents.plains {
        let id = FileId::Plain(plain.id);
        let mut at = 0;
        for object in plain.objects() {
            let range = at..plain.length.min(at + PLAIN_PIECE_BYTES);
            at = range.end;
            add(id, &|number| Part::new(number, id, range.clone(), object, None));
        }
    }
    files
}
