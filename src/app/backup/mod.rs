//! `sediment backup …`: from arguments and settings to the bucket.

mod asking;
mod check;
mod drill;
mod health;
mod keep;
mod key;
mod list;
mod moment;
mod part;
mod prune;
mod records;
mod rehearsal;
mod remote;
mod restore;
mod run;
mod verify;

pub(super) use check::check;
pub(super) use drill::drill;
pub(super) use health::{Settled, is_known, publish, trouble};
pub(super) use keep::{Kept, kept, unfinished};
pub(super) use key::make_key;
pub(super) use list::list;
pub(super) use moment::MomentArgs;
pub(super) use part::{PartArgs, restore_part};
pub(super) use prune::prune;
pub(super) use records::introduce;
pub(super) use restore::restore;
pub(super) use run::{run, status};
pub(super) use verify::{VerifyArgs, verify};

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
    /// Make a snapshot now; through the server when one is running. What is there already is not sent again.
    Run {
        /// With a new image of the metadata.
        #[arg(long)]
        full: bool,
    },
    /// Look whether everything that snapshots need is in the bucket, and read some or all of it back. The running server, or
    /// `--repair`, sends again what of the newest is damaged.
    Verify(VerifyArgs),
    /// Restore the latest moment and an earlier one for practice, prove them, let a client at them, and say how long it took; through the
    /// server when one is running.
    Drill {
        /// Where what is restored stands meanwhile, when no server is running; else on the disk of the data directory.
        #[arg(long, value_name = "DIR")]
        scratch: Option<PathBuf>,
    },
    /// Delete the snapshots that no rule of [backup_retention] keeps, and what nothing needs any more.
    Prune {
        /// Only print what would stay, by which rules, and what would go.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print how the running server's backup stands.
    Status,
    /// Print the snapshots that are in the bucket, and which moments can be restored.
    List,
}
