//! Arguments and settings to concrete parts; start, drain, stop. The only place that names concrete types together.
//!
//! Rules of the room: whatever goes wrong ends in one clear line and a documented exit code; nothing in the data
//! directory is touched before its lock is held and its format is known.

mod background;
mod backup;
mod bench;
mod cli;
mod credentials;
mod data_dir;
mod disk;
mod error;
mod fsck;
mod lock_clock;
mod logging;
mod metrics;
mod operations;
mod presence;
mod print;
mod private_file;
mod progress;
mod replication;
mod reserve;
mod restoring;
mod running;
mod scrub;
mod series;
mod serve;
mod server;
mod stamps;
mod stats;
mod store;
mod verbs;
mod warm;

pub use cli::main;
pub use data_dir::{DataDir, STORE_FORMAT};
pub use error::{AppError, Exit};
pub use server::{Server, StartOptions};
