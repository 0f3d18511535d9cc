//! Files in memory that lose at a power cut what was not synced, and whatever a seed says of what was on its way.
//!
//! It keeps the promises of [`super::FileSystem`] and no more:
//! - Of what was written to a file since its last `sync_data`, the device has for each sector of 512 bytes any state
//!   that the sector has had since: writes are lost, torn and reordered. Its length is any that it has had.
//! - Of the names that changed in a directory since its last `sync_dir`, each is as before or as after; what stands
//!   below a lost directory is lost with it.
//! - A `sync_data` that fails loses what was on its way: memory shows it until it is read anew, the next sync
//!   succeeds, and the device has of it whatever a power cut would have left.
//!
//! Faults are injected by kind of call ([`SimulatedFileSystem::inject`]), damage by place
//! ([`SimulatedFileSystem::damage`]); what was injected is counted. Every call that changes the disk is kept, so the disk
//! can be had as it was between or within any two of them ([`SimulatedFileSystem::cut_at`]).

mod change;
mod contents;
mod crash;
mod disk;
mod faults;
mod file;
mod names;
mod stats;
#[cfg(test)]
mod tests;
mod toss;
mod tree;

pub use faults::{CallKind, Damage, Fault, FaultPlan};
pub use stats::FaultCounts;

use super::DirectoryEntry;
use change::Change;
use disk::Disk;
use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Clones are one disk.
#[derive(Debug, Clone)]
pub struct SimulatedFileSystem(Arc<Mutex<Disk>>);

impl SimulatedFileSystem {
    /// An empty disk, mounted at `/` and at the working directory.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk::new(seed))))
    }

    /// The power fails within the changing call after so many: it and all later calls fail.
    pub fn cut_after(&self, calls: u64) {
        self.0.lock().calls_left = Some(calls);
    }

    /// A cut that has not come does not come.
    pub fn keep_power(&self) {
        let mut disk = self.0.lock();
        if disk.calls_left != Some(0) {
            disk.calls_left = None;
        }
    }

    pub fn is_cut(&self) -> bool {
        self.0.lock().calls_left == Some(0)
    }

    /// The power fails now if it has not yet, and comes back.
    pub fn crash(&self) {
        self.0.lock().crash();
    }

    /// The process dies, and the machine goes on: files opened before are unusable, nothing is lost.
    pub fn kill(&self) {
        let mut disk = self.0.lock();
        disk.calls_left = None;
        disk.boot += 1;
    }

    /// Changing calls so far.
    pub fn calls(&self) -> usize {
        self.0.lock().calls()
    }

    /// Another disk: this one after so many changing calls, when the power failed within the next one and came back.
    pub fn cut_at(&self, calls: usize, seed: u64) -> Self {
        let mut disk = self.0.lock().as_of(calls, seed);
        disk.cut_within(self.0.lock().history.get(calls));
        disk.crash();
        Self(Arc::new(Mutex::new(disk)))
    }

    /// Another disk: this one after so many changing calls, when the process died.
    pub fn killed_at(&self, calls: usize, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().as_of(calls, seed))))
    }

    /// The changing calls from the `from`th on, at most `limit`, for whoever reads a failure.
    pub fn told(&self, from: usize, limit: usize) -> Vec<String> {
        let disk = self.0.lock();
        let calls = disk.history.iter().enumerate().skip(from).take(limit);
        calls.map(|(n, call)| format!("{n}: {call:?}")).collect()
    }

    /// Called with the number of each changing call before it happens. It must not use the disk.
    pub fn observe(&self, observer: impl Fn(usize) + Send + Sync + 'static) {
        self.0.lock().observer.set(observer);
    }

    /// Makes calls fail, beside what was injected before.
    pub fn inject(&self, plan: FaultPlan) {
        self.0.lock().faults.add(plan);
    }

    /// Nothing that was injected and has not happened yet will happen.
    pub fn stop_injecting(&self) {
        self.0.lock().faults.clear();
    }

    /// Harms a file at rest.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn damage(&self, path: &Path, damage: Damage) -> io::Result<()> {
        let mut disk = self.0.lock();
        let file = disk.number(path)?;
        disk.stats.count(damage.name());
        disk.take(Change::Damage { file, damage });
        Ok(())
    }

    /// From now on syncs say that they were done, and do nothing.
    pub fn lie(&self) {
        self.0.lock().lies = true;
    }

    /// The bytes that the device has room for.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = bytes;
    }

    /// What was injected and lost so far.
    pub fn fault_counts(&self) -> FaultCounts {
        self.0.lock().stats.clone()
    }

    /// Every file below a directory, in order.
    pub fn files_below(&self, path: &Path) -> Vec<std::path::PathBuf> {
        self.0.lock().names.files_below(path)
    }
}
