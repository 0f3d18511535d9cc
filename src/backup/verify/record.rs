//! `verified/…`: what was found of a snapshot.

use super::Round;
use crate::backup::drill::DrillReport;
use crate::backup::{BackupError, Catalogue, ObjectName, Repository, RepositoryError, SnapshotName};
use crate::remote::PutOptions;
use crate::types::{CommitSeq, UnixMillis};
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Faults that are written down one by one; the others are counted.
const MOST_FAULTS: usize = 1000;
const READ_AT_ONCE: usize = 16;

/// An object that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectFault {
    pub object: String,
    pub why: String,
}

impl ObjectFault {
    pub(super) fn new(object: ObjectName, why: impl Into<String>) -> Self {
        Self { object: object.to_string(), why: why.into() }
    }

    /// What an error says of an object; else the error: the bucket could not be read.
    pub(super) fn of(error: BackupError) -> Result<Self, BackupError> {
        let (object, why) = match error {
            BackupError::Missing(name) | BackupError::Repository(RepositoryError::Vanished(name)) => {
                (name, "it is not in the bucket".to_owned())
            }
            BackupError::Object { name, why } => (name, why.to_string()),
            BackupError::Content { name, why } => (name, why),
            BackupError::Repository(RepositoryError::Untrusted { name, why }) => (name, why.to_string()),
            error => return Err(error),
        };
        Ok(Self { object, why })
    }
}

impl std::fmt::Display for ObjectFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.object, self.why)
    }
}

/// What is known of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifiedState {
    /// What was looked at is whole; nobody has tried to restore it.
    Checked,
    /// A drill has restored it.
    Verified,
    /// It was checked or verified, too long ago.
    Outdated,
    /// Something that it needs is damaged or missing.
    Corrupt,
    /// Nothing is known.
    #[default]
    #[serde(other)]
    Unknown,
}

impl std::fmt::Display for VerifiedState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Checked => "checked",
            Self::Verified => "verified",
            Self::Outdated => "outdated",
            Self::Corrupt => "corrupt",
            Self::Unknown => "unknown",
        })
    }
}

/// What there is behind the newest snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Behind {
    /// Up to this record everything can be restored, as far as was looked.
    pub through: CommitSeq,
    pub faults: Vec<ObjectFault>,
}

/// The content of `verified/…`. Fields are only ever added.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Verified {
    pub state: VerifiedState,
    /// When it was last looked at, by the clock of who did.
    pub at: UnixMillis,
    /// How much was to be read: 0, the structure alone; 100, everything.
    pub percent: u8,
    /// Objects that it needs, and their bytes.
    pub objects: u64,
    pub bytes: u64,
    /// What was downloaded then, of all snapshots that were looked at together.
    pub read_objects: u64,
    pub read_bytes: u64,
    /// It was stopped before its end.
    pub stopped: bool,
    pub fault_count: u64,
    /// The first thousand.
    pub faults: Vec<ObjectFault>,
    /// Records of packs and bodies stored whole that were damaged or lost already when they were sent. What needs records may have them elsewhere: a
    /// drill tells.
    pub doubts: Vec<ObjectFault>,
    /// Of the newest snapshot.
    pub behind: Option<Behind>,
    /// How far all objects were read, over several runs.
    pub round: Option<Round>,
    /// When the last round began that has read all that was there then.
    pub all_read: Option<UnixMillis>,
    /// When all snapshots were last looked at to the end, by how much was to be read.
    pub all_looked: BTreeMap<u8, UnixMillis>,
    /// The last one that restored it.
    pub drill: Option<DrillReport>,
    pub program: String,
}

impl Verified {
    pub(super) fn set_faults(&mut self, mut faults: Vec<ObjectFault>) {
        faults.sort();
        faults.dedup_by(|one, other| one.object == other.object);
        self.fault_count = faults.len() as u64;
        faults.truncate(MOST_FAULTS);
        self.faults = faults;
        self.judge();
    }

    /// All snapshots were, as it says of itself.
    pub(super) fn looked_at_all(&mut self) {
        let percent = self.percent;
        self.all_looked.retain(|more, _| *more > percent);
        self.all_looked.insert(percent, self.at);
    }

    /// When all snapshots were last looked at, with no less to be read.
    pub(in crate::backup) fn all_looked_with(&self, percent: u8) -> Option<UnixMillis> {
        self.all_looked.range(percent..).map(|(_, at)| *at).max()
    }

    /// Nothing of it is damaged or missing, nor of the log behind it, as far as was looked.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.fault_count == 0 && self.behind.as_ref().is_none_or(|behind| behind.faults.is_empty())
    }

    /// What all that together says.
    pub(in crate::backup) fn judge(&mut self) {
        let drilled = self.drill.as_ref().map(|drill| drill.passed);
        self.state = match drilled {
            drilled if self.fault_count > 0 || drilled == Some(false) => VerifiedState::Corrupt,
            Some(_) => VerifiedState::Verified,
            None if self.stopped => VerifiedState::Unknown,
            None => VerifiedState::Checked,
        };
    }

    /// With its age: what was last looked at longer than `longest` ago is outdated.
    #[must_use]
    pub fn state_at(&self, now: UnixMillis, longest: Duration) -> VerifiedState {
        let age = u128::try_from(now.get().saturating_sub(self.at.get())).unwrap_or(0);
        match self.state {
            VerifiedState::Checked | VerifiedState::Verified if age > longest.as_millis() => {
                VerifiedState::Outdated
            }
            state => state,
        }
    }

    /// # Errors
    /// When it cannot be read or is not believed.
    pub async fn get(repository: &Repository, name: SnapshotName) -> Result<Option<Self>, BackupError> {
        let found = repository.read::<Self>(ObjectName::Verified(name)).await?;
        Ok(found.map(|(verified, _)| verified))
    }

    /// Replaces what is there.
    ///
    /// # Errors
    /// When it cannot be put.
    pub async fn put(&self, repository: &Repository, name: SnapshotName) -> Result<(), BackupError> {
        repository.write(ObjectName::Verified(name), self, &PutOptions::ALWAYS).await?;
        Ok(())
    }

    /// All there are, and those that are not believed: they are written anew when their snapshot is looked at.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn all(
        repository: &Repository,
        catalogue: &Catalogue,
    ) -> Result<(BTreeMap<SnapshotName, Self>, Vec<ObjectFault>), BackupError> {
        let named = catalogue.objects().keys().filter_map(|name| match name {
            ObjectName::Verified(snapshot) => Some(*snapshot),
            _ => None,
        });
        let mut read = stream::iter(named.collect::<Vec<_>>())
            .map(|name| async move { (name, Self::get(repository, name).await) })
            .buffered(READ_AT_ONCE);
        let (mut known, mut faults) = (BTreeMap::new(), Vec::new());
        while let Some((name, found)) = read.next().await {
            match found {
                Ok(Some(verified)) => drop(known.insert(name, verified)),
                Ok(None) => {}
                Err(error) => faults.push(ObjectFault::of(error)?),
            }
        }
        Ok((known, faults))
    }
}
