//! Who needs bytes that are not here waits until they are; several that need the same ones share one fetch.

use super::Waits;
use super::local::Local;
use super::part::{Failure, File, FileId, Part};
use super::record::{Journal, Note};
use crate::backup::{BackupError, Repository};
use crate::sys::lacks_room;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What one request fetches at most, in pieces: 8 MiB.
pub(super) const MOST_PIECES: usize = 8;
/// Requests at a time, readers' and the background's together. Memory: three times 8 MiB for each at most.
const SEATS: usize = 16;
/// Whoever waits for as long as it takes looks again so often.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// Parts that readers asked for and that are fetched first. Those beyond come in their turn.
const MOST_HOT: usize = 1024;
/// For so long the background lets readers go first.
const LONGEST_COURTESY: Duration = Duration::from_secs(1);

/// For whom something is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Comes again when it takes long.
    Reader,
    /// A gateway that cannot serve before.
    Start,
    Writer,
    Background,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) repository: Arc<Repository>,
    pub(super) local: Local,
    pub(super) journal: Mutex<Journal>,
    pub(super) parts: Vec<Arc<Part>>,
    /// Those of which something is missing.
    pub(super) files: RwLock<HashMap<FileId, Arc<File>>>,
    pub(super) left_parts: AtomicU64,
    pub(super) left_bytes: AtomicU64,
    pub(super) hot: Mutex<VecDeque<u32>>,
    pub(super) stop: CancellationToken,
    pub(super) flights: TaskTracker,
    pub(super) waits: Waits,
    runtime: Handle,
    seats: Semaphore,
    /// The remote could not be reached.
    away: Mutex<Option<Failure>>,
    readers: Mutex<usize>,
    no_readers: Condvar,
}

impl Shared {
    pub(super) fn new(
        repository: Arc<Repository>,
        local: Local,
        journal: Journal,
        parts: Vec<Arc<Part>>,
        files: HashMap<FileId, Arc<File>>,
        (runtime, waits, stop): (Handle, Waits, CancellationToken),
    ) -> Self {
        let left: Vec<_> = parts.iter().filter(|part| !part.is_local()).collect();
        Self {
            left_parts: AtomicU64::new(left.len() as u64),
            left_bytes: AtomicU64::new(left.iter().map(|part| part.len()).sum()),
            repository,
            local,
            journal: Mutex::new(journal),
            parts,
            files: RwLock::new(files),
            hot: Mutex::default(),
            stop,
            flights: TaskTracker::new(),
            waits,
            runtime,
            seats: Semaphore::new(SEATS),
            away: Mutex::new(None),
            readers: Mutex::new(0),
            no_readers: Condvar::new(),
        }
    }

    /// `None`: all of it is here.
    pub(super) fn file(&self, id: FileId) -> Option<Arc<File>> {
        self.files.read().get(&id).cloned()
    }

    /// Returns when a range of a file can be read from the local one, and whether that had to be waited for. Blocks.
    ///
    /// # Errors
    /// `ResourceBusy` when the bytes cannot be had now, and may be later.
    pub(super) fn ensure(self: &Arc<Self>, file: &File, range: &Range<u64>) -> io::Result<bool> {
        let mut has_waited = false;
        for part in file.touching(range) {
            let pieces = part.covering(range);
            if part.state.lock().has(&pieces) {
                continue;
            }
            has_waited = true;
            self.heat(part);
            let _reader = Reader::new(self);
            self.wait_for(part, &pieces, Who::Reader)?;
        }
        Ok(has_waited)
    }

    /// As [`Self::ensure`], for a start: it waits for as long as it takes, and what else is near is not asked for.
    pub(super) fn ensure_first(self: &Arc<Self>, file: &File, range: &Range<u64>) -> io::Result<bool> {
        let mut has_waited = false;
        for part in file.touching(range) {
            let pieces = part.covering(range);
            if !part.state.lock().has(&pieces) {
                has_waited = true;
                self.wait_for(part, &pieces, Who::Start)?;
            }
        }
        Ok(has_waited)
    }

    /// As [`Self::ensure`], for whoever changes bytes of the range: its parts are local afterwards, and never fetched again.
    pub(super) fn force(self: &Arc<Self>, file: &File, range: &Range<u64>) -> io::Result<()> {
        for part in file.touching(range) {
            if !part.is_local() {
                let _reader = Reader::new(self);
                self.wait_for(part, &part.all(), Who::Writer)?;
                self.settle(part)?;
            }
        }
        Ok(())
    }

    /// All of a part, behind the readers. Blocks.
    pub(super) fn bring(self: &Arc<Self>, part: &Arc<Part>) -> io::Result<()> {
        let all = part.all();
        for start in all.clone().step_by(MOST_PIECES) {
            if part.is_local() {
                return Ok(());
            }
            self.let_readers_pass();
            self.wait_for(part, &(start..all.end.min(start + MOST_PIECES)), Who::Background)?;
        }
        self.settle(part)
    }

    fn wait_for(self: &Arc<Self>, part: &Arc<Part>, wanted: &Range<usize>, who: Who) -> io::Result<()> {
        let begun = Instant::now();
        let mut state = part.state.lock();
        loop {
            if state.has(wanted) {
                return Ok(());
            }
            let failure = state.failure.clone().or_else(|| self.away.lock().clone());
            if let Some(failure) = failure.filter(|failure| failure.at.elapsed() < self.waits.pause) {
                return Err(io::Error::new(failure.kind, failure.why));
            }
            if let Some(run) = state.take_missing(&part.worthwhile(wanted), MOST_PIECES) {
                drop(state);
                self.launch(part, run);
                state = part.state.lock();
                continue;
            }
            let longest = if who == Who::Reader { self.waits.longest } else { LOOK_EVERY };
            part.changed.wait_for(&mut state, longest);
            if who == Who::Reader && begun.elapsed() >= longest && !state.has(wanted) {
                return Err(busy("the backup takes long to give bytes that are not here yet"));
            }
        }
    }

    /// Goes on when whoever asked is gone.
    fn launch(self: &Arc<Self>, part: &Arc<Part>, run: Range<usize>) {
        let flight = Flight { shared: Arc::clone(self), part: Arc::clone(part), run, has_landed: false };
        self.flights.spawn_on(flight.fly(), &self.runtime);
    }

    async fn fetch(self: &Arc<Self>, part: &Arc<Part>, run: &Range<usize>) -> Result<(), BackupError> {
        // Nobody closes it.
        let _seat = self.seats.acquire().await.map_err(|_| BackupError::Stopped)?;
        let content = part.content(run);
        let len = content.end - content.start;
        let at = part.range.start + content.start;
        let read = self.stop.run_until_cancelled(part.read(&self.repository, content)).await;
        let bytes = read.unwrap_or(Err(BackupError::Stopped))?;
        // Not cut off: whoever waits for the end of all flights knows that nothing is written any more.
        let (this, file) = (Arc::clone(self), part.file);
        tokio::task::spawn_blocking(move || this.local.write(file, at, &bytes)).await??;
        metrics::counter!("sediment_restore_fetched_bytes_total").increment(len);
        Ok(())
    }

    /// Checks a part of which all pieces are here, and makes it durable. Blocks.
    fn settle(&self, part: &Part) -> io::Result<()> {
        let _alone = part.settling.lock();
        if part.is_local() {
            return Ok(());
        }
        self.local.sync(part.file)?;
        if !self.local.is_whole(part)? {
            let why = format!("`{}` in the bucket does not match its checksum", part.name());
            part.forget(Failure { at: Instant::now(), kind: io::ErrorKind::Other, why: why.clone() });
            return Err(io::Error::other(why));
        }
        self.journal.lock().append(&[Note::Part(part.number)])?;
        self.is_local_now(part);
        Ok(())
    }

    /// What of a range is here survives a crash from now on. Blocks.
    pub(super) fn secure(&self, file: &File, ranges: &[Range<u64>]) -> io::Result<()> {
        let mut notes = Vec::new();
        for range in ranges {
            for part in file.touching(range).iter().filter(|part| !part.is_local()) {
                let pieces = part.covering(range);
                let note = Note::Pieces {
                    part: part.number,
                    first: pieces.start as u32,
                    count: pieces.len() as u32,
                };
                notes.push(note);
            }
        }
        if notes.is_empty() {
            return Ok(());
        }
        self.local.sync(file.id)?;
        self.journal.lock().append(&notes)
    }

    /// Nobody needs the rest of a file. Blocks.
    pub(super) fn drop_file(&self, file: &File) -> io::Result<()> {
        for part in &file.parts {
            let _alone = part.settling.lock();
            if !part.is_local() {
                self.journal.lock().append(&[Note::Part(part.number)])?;
                self.is_local_now(part);
            }
        }
        Ok(())
    }

    fn is_local_now(&self, part: &Part) {
        part.state.lock().is_local = true;
        part.changed.notify_all();
        self.left_parts.fetch_sub(1, Ordering::AcqRel);
        let left = self.left_bytes.fetch_sub(part.len(), Ordering::AcqRel) - part.len();
        metrics::gauge!("sediment_restore_left_bytes").set(left as f64);
        let Some(file) = self.file(part.file) else { return };
        if file.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.files.write().remove(&part.file);
        }
    }

    fn heat(&self, part: &Part) {
        if std::mem::replace(&mut part.state.lock().is_hot, true) {
            return;
        }
        let mut hot = self.hot.lock();
        if hot.len() < MOST_HOT {
            hot.push_back(part.number);
        }
    }

    fn let_readers_pass(&self) {
        let deadline = Instant::now() + LONGEST_COURTESY;
        let mut readers = self.readers.lock();
        while *readers > 0 && !self.no_readers.wait_until(&mut readers, deadline).timed_out() {}
    }
}

pub(super) fn busy(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, why)
}

/// What a reader is told. No error of the way to the bucket may look like one of the local device: nothing here is damaged.
fn failure(error: &BackupError) -> Failure {
    let kind = match error {
        _ if error.class().is_some() => io::ErrorKind::ResourceBusy,
        BackupError::Stopped | BackupError::Worker => io::ErrorKind::ResourceBusy,
        BackupError::Io(error) if lacks_room(error) => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    Failure { at: Instant::now(), kind, why: error.to_string() }
}

/// Somebody waits for bytes.
struct Reader<'a>(&'a Shared);

impl<'a> Reader<'a> {
    fn new(shared: &'a Shared) -> Self {
        *shared.readers.lock() += 1;
        Self(shared)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut readers = self.0.readers.lock();
        *readers -= 1;
        if *readers == 0 {
            self.0.no_readers.notify_all();
        }
    }
}

/// Pieces on their way.
struct Flight {
    shared: Arc<Shared>,
    part: Arc<Part>,
    run: Range<usize>,
    has_landed: bool,
}

impl Flight {
    async fn fly(mut self) {
        let fetched = self.shared.fetch(&self.part, &self.run).await;
        self.land(fetched);
    }

    fn land(&mut self, fetched: Result<(), BackupError>) {
        self.has_landed = true;
        let mut state = self.part.state.lock();
        match fetched {
            Ok(()) => {
                state.came(&self.run);
                drop(state);
                self.shared.away.lock().take();
            }
            Err(error) => {
                let failure = failure(&error);
                state.failed(&self.run, failure.clone());
                drop(state);
                if error.class().is_some() {
                    *self.shared.away.lock() = Some(failure);
                }
            }
        }
        self.part.changed.notify_all();
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // The runtime ends.
        if !self.has_landed {
            self.land(Err(BackupError::Stopped));
        }
    }
}
