//! What the model keeps of each thing.

use crate::meta::commit::Facts;
use crate::meta::{LoggedPart, LoggedUpload, LoggedVersion};
use crate::types::{CommitSeq, ETag, PartNumber, UnixMillis, UploadId};
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
pub(super) struct Version {
    pub seq: CommitSeq,
    pub modified: UnixMillis,
    pub logged: LoggedVersion,
    /// The upload whose completion made it.
    pub upload: Option<UploadId>,
}

impl Version {
    pub(super) fn etag(&self) -> Option<ETag> {
        self.logged.object.as_ref().map(|object| object.etag)
    }

    /// `above`: the commits of the versions above it, newest first.
    pub(super) fn facts(&self, above: &[CommitSeq]) -> Facts {
        let size = self.logged.object.as_ref().map_or(0, |object| object.size);
        let tags = self.logged.object.as_ref().map(|object| object.tags.clone());
        let (above, newer) = (above.last().copied(), u32::try_from(above.len()).unwrap_or(u32::MAX));
        Facts { etag: self.etag(), size, modified: self.modified, seq: self.seq, tags, above, newer }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub seq: CommitSeq,
    pub initiated: UnixMillis,
    pub logged: LoggedUpload,
    pub parts: BTreeMap<PartNumber, Part>,
}

#[derive(Debug, Clone)]
pub(super) struct Part {
    pub seq: CommitSeq,
    pub modified: UnixMillis,
    pub logged: LoggedPart,
}

#[derive(Debug, Clone)]
pub(super) struct Counted<T> {
    pub references: u64,
    pub value: T,
}
