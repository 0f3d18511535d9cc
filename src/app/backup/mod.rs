//! `sediment backup …`: from arguments and settings to the bucket.

mod check;
mod key;
mod list;
mod remote;

pub(super) use check::check;
pub(super) use key::make_key;
pub(super) use list::list;

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum BackupVerb {
    /// Make the key that backups are encrypted and signed with. Needs no settings.
    Key {
        /// Write it to this file, which must not be there yet; without it, to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Try the bucket: whether backups can be kept there, and what to change. Writes and deletes a few bytes below the prefix.
    Check,
    /// Print the snapshots that are in the bucket, and which moments can be restored.
    List,
}
