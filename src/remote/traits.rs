//! The trait that all remotes share, and what goes in and out.

use super::{RemoteError, RemoteKey};
use crate::types::UnixMillis;
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The most keys on a page of a listing.
pub const MAX_PAGE: usize = 1000;
/// The most keys in one delete.
pub const MAX_DELETED: usize = 1000;
/// The most bytes that a call takes or gives: 128 MiB.
pub const MAX_PIECE_BYTES: u64 = 128 << 20;

/// An entity tag as the server gave it: equal tags of one name are equal bytes, nothing else is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tag(pub String);

/// What must hold for a write to happen, decided by the server in one step with the write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Always,
    /// No object of that name is there.
    Absent,
    /// The object that is there has this tag.
    Matches(Tag),
}

/// How an object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOptions {
    pub condition: Condition,
    /// Object lock: nobody may delete or overwrite this version before. The bucket must have object lock.
    pub retain_until: Option<UnixMillis>,
}

impl PutOptions {
    pub const ALWAYS: Self = Self { condition: Condition::Always, retain_until: None };
    pub const ABSENT: Self = Self { condition: Condition::Absent, retain_until: None };

    #[must_use]
    pub const fn matching(tag: Tag) -> Self {
        Self { condition: Condition::Matches(tag), retain_until: None }
    }
}

/// What of an object is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    Whole,
    /// Not empty, and inside the object.
    Bytes(Range<u64>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub bytes: u64,
    pub tag: Tag,
    /// By the remote's clock, in whole seconds.
    pub modified: UnixMillis,
    /// Until when it is locked.
    pub retain_until: Option<UnixMillis>,
}

/// Bytes of an object, and what is known of the whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub bytes: Bytes,
    pub stat: Stat,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: RemoteKey,
    pub bytes: u64,
    pub tag: Tag,
    pub modified: UnixMillis,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    pub objects: Vec<Listed>,
    /// Where the next page begins, behind this name. `None`: this is the last one.
    pub next: Option<String>,
}

/// The server's name of a multi-part upload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadName(pub String);

/// A part that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// From 1, in the order of the object.
    pub number: u16,
    pub tag: Tag,
    pub bytes: u64,
    pub sha256: [u8; 32],
}

/// An S3 bucket, below a prefix. Reads see every write that was answered before they began. A write that failed with a class that
/// [may have worked](super::Class::may_have_worked) was done whole or not at all, now or later. A call that is dropped counts as
/// one without an answer. Calls may run at the same time.
#[async_trait]
pub trait Remote: Send + Sync + std::fmt::Debug {
    /// `None` when there is no such object.
    async fn head(&self, key: &RemoteKey) -> Result<Option<Stat>, RemoteError>;

    /// Exactly the bytes asked for; `None` when there is no such object. Fewer, more or others than the server announces are
    /// `Wrong`, as is a span that is not inside the object. What the server lies about consistently is for the caller to notice.
    async fn get(&self, key: &RemoteKey, span: Span) -> Result<Option<Piece>, RemoteError>;

    /// The object is there whole, durably and for every reader, when it returns. `Conflict` when the condition does not hold:
    /// then nothing was changed. Of writers that race under conditions that exclude each other, at most one is answered with success;
    /// but who writes the bytes that stand there already may be told that it wrote them. So what decides something holds random bytes.
    async fn put(&self, key: &RemoteKey, body: Bytes, options: &PutOptions) -> Result<Tag, RemoteError>;

    /// Objects whose names begin with `prefix`, behind `after`, in byte order, up to [`MAX_PAGE`] of them. What was not
    /// written by a remote may be left out.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, RemoteError>;

    /// Deletes up to [`MAX_DELETED`] objects. What is not there counts as deleted. After an error any of them may be left. In a
    /// bucket with versions a delete marker hides them.
    async fn delete(&self, keys: &[RemoteKey]) -> Result<(), RemoteError>;

    /// How many attempts at deletes and at writes without a condition were not answered since this was made, where it makes several: each of
    /// them may still be done, whatever the last one was told.
    fn unanswered(&self) -> u64 {
        0
    }

    /// Locks the object at least until then. Never shortens: an earlier time than the one that stands changes nothing.
    async fn retain(&self, key: &RemoteKey, until: UnixMillis) -> Result<(), RemoteError>;

    /// Begins an object in parts; its condition counts when it is completed. One that is neither completed nor aborted costs
    /// space until a rule of the bucket ends it.
    async fn begin_upload(&self, key: &RemoteKey, options: &PutOptions) -> Result<UploadName, RemoteError>;

    /// All parts but the last are of one length, 5 MiB at least. The same number again replaces the part.
    async fn put_part(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        number: u16,
        body: Bytes,
    ) -> Result<Part, RemoteError>;

    /// As [`Self::put`], of the parts in their order. `Gone` when there is no such upload.
    async fn complete_upload(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<Tag, RemoteError>;

    /// Ending what is not there succeeds.
    async fn abort_upload(&self, key: &RemoteKey, upload: &UploadName) -> Result<(), RemoteError>;
}

#[async_trait]
impl<R: Remote + ?Sized> Remote for Arc<R> {
    async fn head(&self, key: &RemoteKey) -> Result<Option<Stat>, RemoteError> {
        (**self).head(key).await
    }

    async fn get(&self, key: &RemoteKey, span: Span) -> Result<Option<Piece>, RemoteError> {
        (**self).get(key, span).await
    }

    async fn put(&self, key: &RemoteKey, body: Bytes, options: &PutOptions) -> Result<Tag, RemoteError> {
        (**self).put(key, body, options).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, RemoteError> {
        (**self).list(prefix, after).await
    }

    async fn delete(&self, keys: &[RemoteKey]) -> Result<(), RemoteError> {
        (**self).delete(keys).await
    }

    fn unanswered(&self) -> u64 {
        (**self).unanswered()
    }

    async fn retain(&self, key: &RemoteKey, until: UnixMillis) -> Result<(), RemoteError> {
        (**self).retain(key, until).await
    }

    async fn begin_upload(&self, key: &RemoteKey, options: &PutOptions) -> Result<UploadName, RemoteError> {
        (**self).begin_upload(key, options).await
    }

    async fn put_part(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        number: u16,
        body: Bytes,
    ) -> Result<Part, RemoteError> {
        (**self).put_part(key, upload, number, body).await
    }

    async fn complete_upload(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<Tag, RemoteError> {
        (**self).complete_upload(key, upload, parts, condition).await
    }

    async fn abort_upload(&self, key: &RemoteKey, upload: &UploadName) -> Result<(), RemoteError> {
        (**self).abort_upload(key, upload).await
    }
}
