//! The world outside: time, randomness, files. Everything that a simulation must be able to replace comes
//! through here, and nothing else of the crate asks the operating system for it.

mod aside;
mod clock;
mod durability;
mod fail_point;
mod fs;
mod guarded;
mod memory;
mod pause;
mod queued;
mod random;
mod rate;
mod slice;
mod step_aside;
mod sync_pace;
mod yield_point;

pub use aside::{Aside, give_way};
pub use clock::{Clock, ManualClock, SystemClock};
pub use durability::{Barrier, NoBarrier};
pub use fail_point::{FailPoint, arm as arm_fail_points};
#[cfg(test)]
pub use fs::{CallKind, Damage, Fault, FaultCounts, FaultPlan, SimulatedFileSystem};
pub use fs::{
    DeviceFaults, DirectoryEntry, DiskFile, FileStat, FileSystem, RealFileSystem, WatchedFileSystem,
    create_durable_dir, is_device_error, joined, lacks_descriptors, lacks_room, parent, replace_file,
};
#[cfg(test)]
pub(crate) use guarded::ManualSteady;
pub use guarded::{GuardedClock, KeptClock, LockClockSettings, RecordedClock, Steady, SystemSteady};
pub use memory::memory_limit;
pub use pause::pause;
pub use queued::Queued;
pub use random::{OsRandom, Random, SeededRandom};
pub use rate::Rate;
pub use step_aside::step_aside;
pub use sync_pace::SyncPace;
#[cfg(test)]
pub(crate) use yield_point::shake;
pub(crate) use yield_point::{stall_point, yield_point};
