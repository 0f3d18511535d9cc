//! Segments of the change log: records, and what was put into the bucket for them.

use super::container::Kind;
use super::inventory::{packed, unpacked};
use super::objects::{self, Writing};
use super::{BackupError, Contents, Epoch, LogLevel, ObjectName, Repository, Stamp};
use crate::meta::{LogRecord, decode_record, encode_record};
use crate::types::{CommitSeq, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::sync::Arc;

/// Records `first..=last` in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    pub epoch: Epoch,
    /// 0, 1 or 2.
    pub level: LogLevel,
    pub first: CommitSeq,
    pub last: CommitSeq,
    /// Records behind this one do not count: another epoch branches off there.
    pub up_to: CommitSeq,
    pub stamp: Stamp,
}

impl SegmentRef {
    #[must_use]
    pub const fn name(&self) -> ObjectName {
        ObjectName::Log { epoch: self.epoch, level: self.level, first: self.first, last: self.last }
    }
}

/// The content of `log/…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub epoch: Epoch,
    pub first: CommitSeq,
    /// One for each record, in order.
    pub records: Vec<Stored>,
    /// What was put into the bucket before it, and after the segment before it.
    pub contents: Contents,
}

/// A record as the store has it: `changes` in `docs/format.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub at: UnixMillis,
    pub record: ByteBuf,
}

impl Segment {
    /// Of records that follow one another; `None` of none.
    ///
    /// # Errors
    /// When a record cannot be encoded.
    pub fn new(epoch: Epoch, records: &[LogRecord], contents: Contents) -> Result<Option<Self>, BackupError> {
        let Some(first) = records.first().map(|record| record.seq) else { return Ok(None) };
        let stored = |record: &LogRecord| {
            Ok::<_, BackupError>(Stored { at: record.at, record: ByteBuf::from(encode_record(record)?) })
        };
        let records = records.iter().map(stored).collect::<Result<_, _>>()?;
        Ok(Some(Self { epoch, first, records, contents }))
    }

    #[must_use]
    pub fn last(&self) -> CommitSeq {
        CommitSeq::new(self.first.get() + self.records.len().saturating_sub(1) as u64)
    }

    /// When its last record was made.
    #[must_use]
    pub fn last_at(&self) -> Option<UnixMillis> {
        self.records.last().map(|stored| stored.at)
    }

    /// The records, with their numbers.
    ///
    /// # Errors
    /// When one is none that this version reads.
    pub fn decode(&self) -> Result<Vec<LogRecord>, BackupError> {
        let numbered = (self.first.get()..).zip(&self.records);
        let decoded =
            numbered.map(|(seq, stored)| Ok(decode_record(CommitSeq::new(seq), stored.at, &stored.record)?));
        decoded.collect()
    }

    /// Without the records behind `up_to`.
    #[must_use]
    pub fn cut(mut self, up_to: CommitSeq) -> Self {
        let kept = up_to.get().saturating_add(1).saturating_sub(self.first.get());
        self.records.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self
    }

    /// This one and the next as one.
    ///
    /// # Errors
    /// When they do not follow one another.
    pub fn join(mut self, next: Self) -> Result<Self, BackupError> {
        if next.first != self.last().next() {
            let why = format!("a segment from {} does not follow one to {}", next.first, self.last());
            return Err(BackupError::Unfit(why));
        }
        self.records.extend(next.records);
        self.contents.packs.extend(next.contents.packs);
        self.contents.plains.extend(next.contents.plains);
        self.contents.lost_plains.extend(next.contents.lost_plains);
        Ok(self)
    }

    #[must_use]
    pub fn name(&self, level: LogLevel) -> ObjectName {
        ObjectName::Log { epoch: self.epoch, level, first: self.first, last: self.last() }
    }

    /// # Errors
    /// When it cannot be put.
    pub async fn put(
        &self,
        repository: &Arc<Repository>,
        level: LogLevel,
        writing: &Writing,
    ) -> Result<SegmentRef, BackupError> {
        let name = self.name(level);
        let stamp = objects::put(repository, name, Kind::Log, Arc::new(packed(name, self)?), writing).await?;
        let last = self.last();
        Ok(SegmentRef { epoch: self.epoch, level, first: self.first, last, up_to: last, stamp })
    }

    /// The segment of that name.
    ///
    /// # Errors
    /// When it is not there, or is not what its name says.
    pub async fn get(
        repository: &Arc<Repository>,
        name: ObjectName,
        stamp: Option<Stamp>,
    ) -> Result<Self, BackupError> {
        let (segment, found) = Self::get_stamped(repository, name).await?;
        if stamp.is_none_or(|stamp| stamp == found) {
            return Ok(segment);
        }
        let why = "it was written another time than the one that is meant".to_owned();
        Err(BackupError::Content { name: name.to_string(), why })
    }

    /// As [`Self::get`], with the stamp of what was found.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_stamped(
        repository: &Arc<Repository>,
        name: ObjectName,
    ) -> Result<(Self, Stamp), BackupError> {
        let (bytes, stamp) = objects::get_stamped(repository, name, Kind::Log).await?;
        let segment: Self = unpacked(name, &bytes)?;
        let ObjectName::Log { epoch, first, last, .. } = name else {
            return Err(BackupError::Unfit(format!("`{name}` is not a segment of the log")));
        };
        let is_named_so = segment.epoch == epoch && segment.first == first && segment.last() == last;
        if is_named_so && !segment.records.is_empty() {
            return Ok((segment, stamp));
        }
        let why = "it holds other records than its name says".to_owned();
        Err(BackupError::Content { name: name.to_string(), why })
    }
}

/// No bytes may panic.
#[doc(hidden)]
pub mod fuzzing {
    use super::{Segment, unpacked};
    use crate::backup::{Epoch, LogLevel, ObjectName};
    use crate::types::CommitSeq;

    pub fn segment(bytes: &[u8]) {
        let one = CommitSeq::new(1);
        let name = ObjectName::Log { epoch: Epoch::FIRST, level: LogLevel::Live, first: one, last: one };
        if let Ok(segment) = unpacked::<Segment>(name, bytes) {
            let _ = segment.decode();
        }
    }
}
