//! The world outside: time, randomness, files. Everything that a simulation must be able to replace comes
//! through here, and nothing else of the crate asks the operating system for it.

mod clock;
mod durability;
mod fs;
mod queued;
mod random;

pub use clock::{Clock, ManualClock, SystemClock};
pub use durability::{Barrier, NoBarrier};
pub use fs::{DirectoryEntry, DiskFile, FileStat, FileSystem, RealFileSystem, is_device_error};
pub use queued::Queued;
pub use random::{OsRandom, Random, SeededRandom};
