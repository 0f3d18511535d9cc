//! The disk's state, and what each changing call does to it.

use super::change::Change;
use super::contents::{Contents, Edit, SECTOR};
use super::faults::{CallKind, Damage, Fault, Faults};
use super::names::{Names, Node, missing, plain};
use super::stats::FaultCounts;
use super::toss::Toss;
use crate::sys::parent;
use std::fmt;
use std::io;
use std::path::Path;

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) toss: Toss,
    /// Changing calls until the power fails.
    pub(super) calls_left: Option<u64>,
    /// Files opened before the last cut stay unusable.
    pub(super) boot: u64,
    pub(super) names: Names,
    pub(super) files: Vec<Contents>,
    /// Every change that took effect, behind the first so many of the disk that this one was made from.
    pub(super) history: Vec<Change>,
    pub(super) earlier: usize,
    pub(super) faults: Faults,
    pub(super) stats: FaultCounts,
    pub(super) capacity: u64,
    pub(super) lies: bool,
    pub(super) observer: Observer,
}

type Watch = Box<dyn Fn(usize) + Send + Sync>;

#[derive(Default)]
pub(super) struct Observer(Option<Watch>);

impl Observer {
    pub(super) fn set(&mut self, watch: impl Fn(usize) + Send + Sync + 'static) {
        self.0 = Some(Box::new(watch));
    }

    fn tell(&self, call: usize) {
        if let Some(watch) = &self.0 {
            watch(call);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            toss: Toss::new(seed),
            calls_left: None,
            boot: 0,
            names: Names::new(),
            files: Vec::new(),
            history: Vec::new(),
            earlier: 0,
            faults: Faults::default(),
            stats: FaultCounts::default(),
            capacity: u64::MAX,
            lies: false,
            observer: Observer::default(),
        }
    }

    /// As it was after so many changes, with luck of its own from then on.
    pub(super) fn as_of(&self, changes: usize, seed: u64) -> Self {
        assert_eq!(self.earlier, 0, "what this disk was made from is not known");
        let mut disk = Self { capacity: self.capacity, lies: self.lies, earlier: changes, ..Self::new(seed) };
        self.history.iter().take(changes).for_each(|change| disk.apply(change.clone()));
        disk
    }

    pub(super) fn calls(&self) -> usize {
        self.earlier + self.history.len()
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        match self.calls_left {
            Some(0) => Err(io::Error::other("the power is off")),
            _ => Ok(()),
        }
    }

    /// What the power cut interrupts may have begun; a sync has not ended.
    pub(super) fn cut_within(&mut self, change: Option<&Change>) {
        match change {
            Some(change) if change.kind().is_some() && self.toss.coin() => self.begin(change.clone()),
            _ => {}
        }
    }

    pub(super) fn crash(&mut self) {
        let seed = self.toss.next();
        self.take(Change::PowerCut { seed });
        self.calls_left = None;
    }

    /// Meets a fault before a call that changes nothing.
    pub(super) fn check_fault(&mut self, kind: CallKind) -> io::Result<()> {
        let Some(fault) = self.faults.meet(kind) else { return Ok(()) };
        self.stats.count_call(kind, fault);
        Err(fault.error())
    }

    /// Runs a changing call that a caller asks for.
    pub(super) fn change(&mut self, change: Change) -> io::Result<()> {
        self.check_power()?;
        self.check(&change)?;
        let kind = change.kind();
        if let Some((kind, fault)) = kind.and_then(|kind| Some((kind, self.faults.meet(kind)?))) {
            self.stats.count_call(kind, fault);
            self.fail(change);
            return Err(fault.error());
        }
        if !self.has_room(&change) {
            self.stats.count("call: no room");
            self.fail(change);
            return Err(Fault::Full.error());
        }
        match &mut self.calls_left {
            Some(1) => {
                self.calls_left = Some(0);
                self.cut_within(Some(&change));
                return self.check_power();
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let lies = self.lies && matches!(change, Change::Sync(_));
        if lies {
            self.stats.count("lie: a sync that did nothing");
        }
        self.take(if lies { Change::Lie } else { change });
        Ok(())
    }

    /// Any part of a write may have happened; a failed sync loses what was on its way.
    fn fail(&mut self, change: Change) {
        match change {
            Change::Edit { edit: Edit::Write { .. }, .. } if self.toss.coin() => self.begin(change),
            Change::Sync(file) => {
                let seed = self.toss.next();
                self.take(Change::FailedSync { file, seed });
            }
            _ => {}
        }
    }

    fn begin(&mut self, change: Change) {
        match change {
            Change::Sync(_) | Change::SyncDir(_) => {}
            Change::Edit { file, edit: Edit::Write { at, mut bytes } } => {
                bytes.truncate(self.toss.below(bytes.len() + 1));
                self.take(Change::Edit { file, edit: Edit::Write { at, bytes } });
            }
            change => self.take(change),
        }
    }

    pub(super) fn take(&mut self, change: Change) {
        self.observer.tell(self.calls());
        self.history.push(change.clone());
        self.apply(change);
    }

    /// Whether the call is one that can succeed.
    fn check(&self, change: &Change) -> io::Result<()> {
        match change {
            Change::Create(path) => {
                self.names.check_directory(&plain(parent(path)))?;
                match self.names.now.contains_key(path) {
                    true => Err(io::ErrorKind::AlreadyExists.into()),
                    false => Ok(()),
                }
            }
            Change::Rename { from, to } => {
                self.names.check_directory(&plain(parent(to)))?;
                self.names.now.get(from).map(drop).ok_or_else(missing)
            }
            Change::Remove(path) => self.names.now.get(path).map(drop).ok_or_else(missing),
            Change::MakeDirs(path) => {
                let is_file = |path: &Path| matches!(self.names.now.get(path), Some(Node::File(_)));
                match path.ancestors().any(is_file) {
                    true => Err(io::ErrorKind::NotADirectory.into()),
                    false => Ok(()),
                }
            }
            Change::SyncDir(path) => self.names.check_directory(path),
            _ => Ok(()),
        }
    }

    fn has_room(&self, change: &Change) -> bool {
        match change {
            Change::Edit { file, edit: Edit::Write { at, bytes } } if self.capacity < u64::MAX => {
                self.files[*file].now.needed(*at, bytes.len()) <= self.available()
            }
            _ => true,
        }
    }

    pub(super) fn available(&self) -> u64 {
        if self.capacity == u64::MAX {
            return u64::MAX;
        }
        let used: u64 = self.names.files().map(|file| self.files[file].now.allocated()).sum();
        self.capacity.saturating_sub(used)
    }

    pub(super) fn number(&self, path: &Path) -> io::Result<usize> {
        self.names.file(path)
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Create(path) => {
                self.files.push(Contents::default());
                self.names.now.insert(path, Node::File(self.files.len() - 1));
            }
            Change::Rename { from, to } => {
                if let Some(node) = self.names.now.remove(&from) {
                    self.names.now.insert(to, node);
                }
            }
            Change::Remove(path) => drop(self.names.now.remove(&path)),
            Change::MakeDirs(path) => {
                for above in path.ancestors() {
                    self.names.now.entry(above.to_owned()).or_insert(Node::Directory);
                }
            }
            Change::SyncDir(path) => self.names.sync(&path),
            Change::Edit { file, edit } => self.files[file].edit(edit),
            Change::Sync(file) => self.files[file].sync(),
            Change::FailedSync { file, seed } => {
                self.files[file].lose(&mut Toss::new(seed), &mut FaultCounts::default());
            }
            Change::DropCached(file) => self.files[file].drop_cached(),
            Change::Damage { file, damage } => self.files[file].damage(damage),
            Change::PowerCut { seed } => self.lose_power(&mut Toss::new(seed)),
            Change::Lie => {}
        }
    }

    fn lose_power(&mut self, toss: &mut Toss) {
        self.boot += 1;
        self.stats.count("power: cut");
        let lost = self.names.crash(toss);
        self.stats.add_times("power: a name as before", lost);
        for file in &mut self.files {
            file.lose(toss, &mut self.stats);
            file.drop_cached();
        }
    }
}

impl Contents {
    fn damage(&mut self, damage: Damage) {
        for image in [&mut self.now, &mut self.durable] {
            match damage {
                Damage::Flip { at, bit } => {
                    image.bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (bit % 8));
                }
                Damage::Zero { sector } => {
                    image.bytes.iter_mut().skip(sector * SECTOR).take(SECTOR).for_each(|byte| *byte = 0);
                }
                Damage::Unreadable { .. } => {}
            }
        }
        if let Damage::Unreadable { sector } = damage {
            self.unreadable.insert(sector);
        }
    }
}
