//! How far a pass is, kept in a file, so that the next process goes on there. Bytes: `docs/format.md`.

use crate::engine::EngineError;
use crate::engine::check::CheckReport;
use crate::sys::{FileSystem, replace_file};
use crate::types::UnixMillis;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Far above any.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Cursor {
    /// When the store was first scrubbed.
    pub(super) since: Option<UnixMillis>,
    /// The pass that is under way.
    pub(super) pass: Option<PassAt>,
    /// The last one that got to the end.
    pub(super) last: Option<Finished>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PassAt {
    pub(super) began: UnixMillis,
    /// What stood in the packs, and in bodies stored whole, when it began.
    pub(super) total_bytes: u64,
    /// The newest pack then. What comes later is for the next pass.
    pub(super) until: u64,
    pub(super) place: Place,
    /// Packs in which a scan found less than the index names.
    pub(super) hidden: Vec<u64>,
    pub(super) report: CheckReport,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// The records of this pack from this offset on, and all later packs.
    Pack { pack: u64, offset: u32 },
    /// Bodies stored whole, behind this one.
    Plain { after: Option<String> },
    /// The index's entries and the rows; begun anew by each process, for it must know all that is lost.
    Rows,
}

impl PassAt {
    pub(super) const fn phase(&self) -> &'static str {
        match self.place {
            Place::Pack { .. } => "packs",
            Place::Plain { .. } => "plain",
            Place::Rows => "rows",
        }
    }
}

/// A pass over everything that got to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    pub began: UnixMillis,
    pub ended: UnixMillis,
    pub report: CheckReport,
}

impl Cursor {
    /// One that is damaged or of another version counts as none: a pass begins anew.
    pub(super) fn load(fs: &dyn FileSystem, path: &Path) -> Self {
        match read(fs, path) {
            Ok(cursor) => cursor,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "where the last scrub was is not known; the next begins anew");
                Self::default()
            }
        }
    }

    /// Replaces the file, durably.
    pub(super) fn save(&self, fs: &dyn FileSystem, path: &Path) -> Result<(), EngineError> {
        let text = serde_json::to_string(self).map_err(io::Error::other)?;
        let text = format!("{text}\n{}\n", checksum(&text));
        Ok(replace_file(fs, path, text.as_bytes())?)
    }
}

fn read(fs: &dyn FileSystem, path: &Path) -> io::Result<Cursor> {
    let file: Arc<dyn crate::sys::DiskFile> = fs.open(path)?;
    let len = file.len()?.min(MAX_BYTES);
    let bytes = file.read_at(0, usize::try_from(len).map_err(io::Error::other)?)?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it does not match its checksum");
    let text = std::str::from_utf8(&bytes).map_err(io::Error::other)?;
    let (json, crc) =
        text.strip_suffix('\n').and_then(|lines| lines.rsplit_once('\n')).ok_or_else(damaged)?;
    if crc != checksum(json) {
        return Err(damaged());
    }
    serde_json::from_str(json).map_err(io::Error::other)
}

fn checksum(json: &str) -> String {
    format!("{:08x}", crc32c::crc32c(json.as_bytes()))
}
