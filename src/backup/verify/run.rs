//! One verification at work.

use super::anatomy::{Anatomy, Unit, anatomy, behind};
use super::data::{Read, Reader};
use super::{Behind, ObjectFault, Round, ShownVerify, Verified, VerifyProgress, repository};
use crate::backup::{BackupError, Catalogue, ObjectName, Repository, SnapshotName, Stamp};
use crate::sys::{Clock, FileSystem, Random};
use crate::types::UnixMillis;
use futures::stream::{self, StreamExt};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How far the round is is kept after so many bytes.
const KEEP_EVERY_BYTES: u64 = 1 << 30;

/// What the names of its files begin with.
pub(in crate::backup) const SCRATCH_PREFIX: &str = "backup-verify-";

/// Which snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// And the log behind it.
    Newest,
    All,
    One(SnapshotName),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifySettings {
    pub which: Verification,
    /// How much of all objects' bytes is downloaded: 0 none, the structure alone; 100 all. Shares add up: after `100 / percent` runs everything
    /// was read.
    pub percent: u8,
    /// Objects that are read at a time; each takes 128 MiB of memory at most.
    pub at_once: usize,
}

impl Default for VerifySettings {
    fn default() -> Self {
        Self { which: Verification::Newest, percent: 0, at_once: 2 }
    }
}

/// Where images of the metadata are looked at, and with what.
#[derive(Debug, Clone)]
pub struct Scratch {
    pub dir: PathBuf,
    pub fs: Arc<dyn FileSystem>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

impl Scratch {
    /// A file of that name, which goes, with what SQLite puts beside it, when it is dropped.
    pub(super) fn file(&self, name: &str) -> ScratchFile {
        let number = self.random.u64();
        ScratchFile {
            fs: Arc::clone(&self.fs),
            path: self.dir.join(format!("{SCRATCH_PREFIX}{name}-{number:016x}")),
        }
    }
}

pub(super) struct ScratchFile {
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) path: PathBuf,
}

impl ScratchFile {
    pub(super) fn remove(&self) -> io::Result<()> {
        for beside in ["", "-wal", "-shm", "-journal"] {
            let mut name = self.path.as_os_str().to_owned();
            name.push(beside);
            match self.fs.remove_file(Path::new(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct VerifyReport {
    /// Oldest first.
    pub snapshots: Vec<(String, Verified)>,
    /// The one that a restore of the latest moment begins with.
    pub newest: Option<String>,
    /// Of objects that no snapshot names, and of epochs: nothing can be restored without them.
    pub repository: Vec<ObjectFault>,
    pub read_objects: u64,
    pub read_bytes: u64,
    /// It was stopped before the end; the next one of the same kind goes on there.
    pub stopped: bool,
}

impl VerifyReport {
    /// Nothing is wrong, and everything was looked at that was to be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.stopped && self.repository.is_empty() && self.snapshots.iter().all(|(_, one)| one.is_whole())
    }

    /// Everything that is damaged or missing, for [`Shipper::repair`](crate::backup::Shipper::repair).
    #[must_use]
    pub fn damaged(&self) -> Vec<ObjectName> {
        Self::named(self.snapshots.iter().map(|(_, one)| one))
    }

    /// As [`Self::damaged`], of the newest snapshot and the log behind it: what older ones lack cannot be mended, nor can epochs.
    #[must_use]
    pub fn damaged_newest(&self) -> Vec<ObjectName> {
        let mut named = Self::named(self.of_newest());
        named.retain(|name| !matches!(name, ObjectName::Epoch(_)));
        named
    }

    /// There is a newest snapshot; it, the log behind it and what all snapshots share are whole, as far as was looked.
    #[must_use]
    pub fn is_newest_whole(&self) -> bool {
        self.newest.is_some() && self.repository.is_empty() && self.of_newest().all(Verified::is_whole)
    }

    fn of_newest(&self) -> impl Iterator<Item = &Verified> {
        let is_newest = |name: &String| self.newest.as_ref() == Some(name);
        self.snapshots.iter().filter(move |(name, _)| is_newest(name)).map(|(_, one)| one)
    }

    fn named<'a>(found: impl Iterator<Item = &'a Verified>) -> Vec<ObjectName> {
        let of_snapshots = found
            .flat_map(|one| one.faults.iter().chain(one.behind.iter().flat_map(|behind| &behind.faults)));
        let named = of_snapshots.filter_map(|fault| ObjectName::parse(&fault.object).ok());
        let distinct: std::collections::BTreeSet<_> = named.collect();
        distinct.into_iter().collect()
    }
}

impl Verification {
    /// Verifies, and writes down what was found beside each snapshot. Memory: some 150 bytes for each object of the snapshots, and what
    /// [`VerifySettings::at_once`] says.
    ///
    /// # Errors
    /// When the bucket or the scratch directory cannot be used. Damage is no error: it is in the report.
    pub async fn run(
        repository: &Arc<Repository>,
        settings: VerifySettings,
        scratch: Scratch,
        shown: &ShownVerify,
        stop: &CancellationToken,
    ) -> Result<VerifyReport, BackupError> {
        let reader = Reader { repository: Arc::clone(repository), scratch, stop: stop.clone() };
        let (catalogue, epochs) = repository::listed(repository).await?;
        let (known, untrusted) = Verified::all(repository, &catalogue).await?;
        let mut run = Run::new(reader, settings, Arc::clone(shown), catalogue, (epochs, known));
        run.report.repository.extend(run.epochs.iter().cloned());
        run.report.repository.extend(repository::without_epoch(repository, &run.catalogue).await?);
        run.report.repository.extend(untrusted);
        run.report.repository.extend(repository::lease(repository).await?);
        run.report.repository.extend(repository::vanished(&run.catalogue));
        run.report.newest = run.newest().map(|name| name.to_string());
        let selected = run.select()?;
        run.structure(&selected).await?;
        run.data(&selected).await?;
        run.conclude(&selected).await
    }
}

struct Run {
    reader: Reader,
    settings: VerifySettings,
    shown: ShownVerify,
    catalogue: Catalogue,
    /// Of epochs: nothing can be restored without them.
    epochs: Vec<ObjectFault>,
    /// What was found before.
    known: BTreeMap<SnapshotName, Verified>,
    found: BTreeMap<SnapshotName, Verified>,
    faults: BTreeMap<SnapshotName, Vec<ObjectFault>>,
    units: HashMap<(ObjectName, Stamp), Unit>,
    bad: HashMap<(ObjectName, Stamp), String>,
    doubts: Vec<ObjectFault>,
    /// The one that goes on.
    round: Option<Round>,
    all_read: Option<UnixMillis>,
    report: VerifyReport,
}

impl Run {
    fn new(
        reader: Reader,
        settings: VerifySettings,
        shown: ShownVerify,
        catalogue: Catalogue,
        (epochs, known): (Vec<ObjectFault>, BTreeMap<SnapshotName, Verified>),
    ) -> Self {
        let last = known.values().filter(|known| known.round.is_some()).max_by_key(|known| known.at);
        let round = last.and_then(|known| known.round.clone());
        Self {
            round,
            reader,
            settings,
            shown,
            catalogue,
            epochs,
            known,
            found: BTreeMap::new(),
            faults: BTreeMap::new(),
            units: HashMap::new(),
            bad: HashMap::new(),
            doubts: Vec::new(),
            all_read: None,
            report: VerifyReport::default(),
        }
    }

    async fn structure(&mut self, selected: &[SnapshotName]) -> Result<(), BackupError> {
        self.phase("structure", selected.len() as u64);
        for name in selected {
            if self.is_stopped() {
                return Ok(());
            }
            let mut parts = anatomy(&self.reader.repository, &self.catalogue, *name).await?;
            let mut found = Verified {
                objects: parts.objects,
                bytes: parts.bytes,
                drill: self.known.get(name).and_then(|known| known.drill.clone()),
                ..Verified::default()
            };
            let is_newest = self.newest() == Some(*name);
            if is_newest && parts.objects > 1 {
                found.behind = Some(self.behind(*name, &mut parts).await?);
            }
            self.faults.insert(*name, std::mem::take(&mut parts.faults));
            found.doubts.append(&mut parts.lost);
            self.found.insert(*name, found);
            self.add_units(parts);
            self.shown.lock().done += 1;
        }
        Ok(())
    }

    async fn behind(&self, name: SnapshotName, parts: &mut Anatomy) -> Result<Behind, BackupError> {
        let mut found = behind(&self.reader.repository, &self.catalogue, parts).await?;
        let before = self.known.get(&name).and_then(|known| known.behind.as_ref());
        if let Some(before) =
            before.filter(|before| found.faults.is_empty() && before.through > found.through)
        {
            let why = format!("it went to record {} once, and ends with {}", before.through, found.through);
            found.faults.push(ObjectFault { object: ObjectName::LOG.to_owned(), why });
        }
        Ok(found)
    }

    fn add_units(&mut self, parts: Anatomy) {
        for unit in parts.units {
            // What is not listed with its length need not be read.
            let is_there = unit.objects().iter().all(|(name, stamp)| self.catalogue.has(*name, *stamp));
            if let Some(first) = unit.objects().first().filter(|_| is_there) {
                self.units.insert(*first, unit);
            }
        }
    }

    async fn data(&mut self, selected: &[SnapshotName]) -> Result<(), BackupError> {
        let (suspects, rest) = self.suspects();
        let again: Vec<_> = suspects.into_iter().map(|unit| (None, unit)).collect();
        let mut wanted = again;
        let mut is_last = false;
        if self.settings.percent > 0 {
            let round = self.begin_round(selected);
            let share = self.units.values().map(Unit::bytes).sum::<u64>() / 100;
            let most = if self.settings.percent >= 100 {
                u64::MAX
            } else {
                share.saturating_mul(self.settings.percent.into()).max(1)
            };
            let placed = rest.into_iter().map(|(name, unit)| (round.place(&name), unit.bytes(), unit));
            let (taken, last) = round.take(placed, most);
            wanted.extend(taken.into_iter().map(|(place, unit)| (Some(place), unit)));
            self.round = Some(round);
            is_last = last;
        }
        self.phase("data", wanted.iter().map(|(_, unit)| unit.bytes()).sum());
        let is_done = self.read_all(wanted, selected).await?;
        if is_done && is_last {
            self.all_read = self.round.take().map(|round| round.began);
        }
        Ok(())
    }

    /// Whether all of it was read.
    async fn read_all(
        &mut self,
        wanted: Vec<(Option<u64>, Unit)>,
        selected: &[SnapshotName],
    ) -> Result<bool, BackupError> {
        let reader = self.reader.clone();
        let mut reads = stream::iter(wanted)
            .map(|(place, unit)| {
                let reader = reader.clone();
                async move { (place, reader.read(&unit).await) }
            })
            .buffered(self.settings.at_once.max(1));
        let mut kept_at = 0;
        while let Some((place, read)) = reads.next().await {
            let stopped = self.is_stopped();
            match read {
                Err(BackupError::Stopped) => return Ok(false),
                _ if stopped => return Ok(false),
                read => self.took(place, read?),
            }
            if self.report.read_bytes - kept_at >= KEEP_EVERY_BYTES {
                kept_at = self.report.read_bytes;
                self.keep_round(selected).await?;
            }
        }
        Ok(true)
    }

    fn took(&mut self, place: Option<u64>, read: Read) {
        self.report.read_objects += read.objects;
        self.report.read_bytes += read.bytes;
        self.doubts.extend(read.doubts);
        {
            let mut shown = self.shown.lock();
            shown.done += read.bytes;
            shown.faults += read.faults.len() as u64;
        }
        self.bad.extend(read.faults.into_iter().map(|(name, stamp, why)| ((name, stamp), why)));
        if let (Some(place), Some(round)) = (place, &mut self.round) {
            round.after = place;
        }
    }

    /// What was found damaged before, of whatever snapshot: it is read again whatever is asked for.
    fn suspects(&self) -> (Vec<Unit>, Vec<(String, Unit)>) {
        let faults = self.known.values().flat_map(|known| {
            known.faults.iter().chain(known.behind.iter().flat_map(|behind| &behind.faults))
        });
        let named: HashSet<_> = faults.map(|fault| fault.object.as_str()).collect();
        let (mut suspects, mut rest) = (Vec::new(), Vec::new());
        for ((first, _), unit) in &self.units {
            if unit.objects().iter().any(|(name, _)| named.contains(name.to_string().as_str())) {
                suspects.push(unit.clone());
            } else {
                rest.push((first.to_string(), unit.clone()));
            }
        }
        (suspects, rest)
    }

    fn begin_round(&self, selected: &[SnapshotName]) -> Round {
        let whole_of = (self.settings.percent >= 100).then(|| {
            let names: Vec<_> = selected.iter().map(ToString::to_string).collect();
            names.join(" ")
        });
        Round::next(
            self.round.as_ref(),
            whole_of,
            self.reader.scratch.clock.now(),
            &*self.reader.scratch.random,
        )
    }

    /// In the record of the newest one that is looked at; what is said there of the snapshot stays.
    async fn keep_round(&mut self, selected: &[SnapshotName]) -> Result<(), BackupError> {
        let Some(newest) = selected.last() else { return Ok(()) };
        let mut known = self.known.get(newest).cloned().unwrap_or_default();
        known.round.clone_from(&self.round);
        known.at = self.reader.scratch.clock.now();
        known.put(&self.reader.repository, *newest).await
    }

    /// Says of each snapshot what was found, in the bucket as well.
    async fn conclude(mut self, selected: &[SnapshotName]) -> Result<VerifyReport, BackupError> {
        self.report.stopped = self.is_stopped();
        for name in selected {
            let Some(mut found) = self.found.remove(name) else { continue };
            let mut faults = self.faults.remove(name).unwrap_or_default();
            faults.extend(self.epochs.iter().cloned());
            if !self.bad.is_empty() || !self.doubts.is_empty() {
                self.attribute(*name, &mut found, &mut faults).await?;
            }
            if !faults.is_empty() && self.is_pruned(*name).await? {
                continue;
            }
            let before = self.known.get(name);
            if self.report.stopped {
                // What was not read again is as bad as it was.
                faults.extend(before.map(|known| known.faults.clone()).unwrap_or_default());
            }
            found.at = self.reader.scratch.clock.now();
            found.percent = self.settings.percent.min(100);
            (found.read_objects, found.read_bytes) = (self.report.read_objects, self.report.read_bytes);
            found.stopped = self.report.stopped;
            if Some(name) == selected.last() {
                found.round.clone_from(&self.round);
            }
            found.all_read = self.all_read.or_else(|| before.and_then(|known| known.all_read));
            found.all_looked = before.map(|known| known.all_looked.clone()).unwrap_or_default();
            if self.settings.which == Verification::All && !found.stopped {
                found.looked_at_all();
            }
            found.program = env!("CARGO_PKG_VERSION").into();
            found.set_faults(faults);
            found.put(&self.reader.repository, *name).await?;
            self.report.snapshots.push((name.to_string(), found));
        }
        self.phase("", 0);
        Ok(self.report)
    }

    /// It went while it was looked at, and what only it needs with it.
    async fn is_pruned(&self, name: SnapshotName) -> Result<bool, BackupError> {
        let is_there = self.reader.repository.remote().head(&ObjectName::Snapshot(name).key()).await?;
        Ok(is_there.is_none())
    }

    /// Which of the damaged objects it names.
    async fn attribute(
        &self,
        name: SnapshotName,
        found: &mut Verified,
        faults: &mut Vec<ObjectFault>,
    ) -> Result<(), BackupError> {
        let (repository, catalogue) = (&self.reader.repository, &self.catalogue);
        let mut parts = anatomy(repository, catalogue, name).await?;
        let own = parts.units.len();
        if found.behind.is_some() {
            behind(repository, catalogue, &mut parts).await?;
        }
        for (n, unit) in parts.units.iter().enumerate() {
            for object in unit.objects() {
                if let Some(why) = self.bad.get(&object) {
                    let fault = ObjectFault::new(object.0, why.clone());
                    match &mut found.behind {
                        Some(behind) if n >= own => behind.faults.push(fault),
                        _ => faults.push(fault),
                    }
                }
                let object = object.0.to_string();
                found.doubts.extend(self.doubts.iter().filter(|doubt| doubt.object == object).cloned());
            }
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.reader.stop.is_cancelled()
    }

    /// The one that a restore of the latest moment begins with.
    fn newest(&self) -> Option<SnapshotName> {
        let timeline = self.catalogue.timeline();
        let path = timeline.newest().and_then(|newest| timeline.path_to(newest).ok())?;
        self.catalogue.snapshots_on(&path).last().copied()
    }

    fn select(&self) -> Result<Vec<SnapshotName>, BackupError> {
        let all = self.catalogue.snapshots();
        Ok(match self.settings.which {
            Verification::All => all,
            Verification::Newest => self.newest().or_else(|| all.last().copied()).into_iter().collect(),
            Verification::One(name) if all.contains(&name) => vec![name],
            Verification::One(name) => {
                return Err(BackupError::Missing(ObjectName::Snapshot(name).to_string()));
            }
        })
    }

    fn phase(&self, phase: &'static str, total: u64) {
        let mut shown = self.shown.lock();
        *shown = VerifyProgress { phase, done: 0, total, faults: shown.faults };
    }
}
