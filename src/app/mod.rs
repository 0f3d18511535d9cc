//! Arguments and settings to concrete parts; start, drain, stop. The only place that names concrete types together.
//!
//! Rules of the room: whatever goes wrong ends in one clear line and a documented exit code; nothing in the data
//! directory is touched before its lock is held and its format is known.

mod cli;
mod credentials;
mod data_dir;
mod error;
mod logging;
mod private_file;

pub use cli::main;
pub use data_dir::{DataDir, STORE_FORMAT};
pub use error::{AppError, Exit};
