//! Where objects go.

use crate::remote::{
    BucketFacts, OnlyOver, RemoteError, ReplicaBody, ReplicaHead, ReplicaHistory, ReplicaPage, S3Replicas,
    SentPart,
};
use crate::types::Checksum;
use async_trait::async_trait;
use std::fmt::Debug;

/// A bucket. Each call is one attempt, with a deadline, and may be dropped half-way; a write that failed may have been done.
#[async_trait]
pub trait ObjectSink: Send + Sync + Debug {
    /// Fails with `Gone` when there is no such bucket.
    async fn facts(&self) -> Result<BucketFacts, RemoteError>;

    /// Objects whose keys begin so, behind `after`, in byte order.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<ReplicaPage, RemoteError>;

    /// All versions of a key. Fails with `Refused` when there are more than `most`.
    async fn history(&self, key: &str, most: usize) -> Result<ReplicaHistory, RemoteError>;

    /// The object in one piece. What the body's sums do not match is not stored.
    async fn put(
        &self,
        key: &str,
        head: &ReplicaHead,
        body: ReplicaBody,
        only: OnlyOver,
    ) -> Result<(), RemoteError>;

    /// Begins an object in parts. Returns the name of the upload.
    async fn begin(
        &self,
        key: &str,
        head: &ReplicaHead,
        checksum: Option<&Checksum>,
    ) -> Result<String, RemoteError>;

    async fn put_part(
        &self,
        upload: (&str, &str),
        number: u16,
        body: ReplicaBody,
    ) -> Result<SentPart, RemoteError>;

    async fn complete(
        &self,
        upload: (&str, &str),
        parts: &[SentPart],
        bytes: u64,
        only: OnlyOver,
    ) -> Result<(), RemoteError>;

    async fn abort(&self, upload: (&str, &str)) -> Result<(), RemoteError>;

    /// Deletes what stands under a key; where there are versions it stays below a delete marker.
    async fn delete(&self, key: &str, only: OnlyOver) -> Result<(), RemoteError>;
}

#[async_trait]
impl ObjectSink for S3Replicas {
    async fn facts(&self) -> Result<BucketFacts, RemoteError> {
        Self::facts(self).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<ReplicaPage, RemoteError> {
        Self::list(self, prefix, after).await
    }

    async fn history(&self, key: &str, most: usize) -> Result<ReplicaHistory, RemoteError> {
        Self::history(self, key, most).await
    }

    async fn put(
        &self,
        key: &str,
        head: &ReplicaHead,
        body: ReplicaBody,
        only: OnlyOver,
    ) -> Result<(), RemoteError> {
        Self::put(self, key, head, body, only).await.map(drop)
    }

    async fn begin(
        &self,
        key: &str,
        head: &ReplicaHead,
        checksum: Option<&Checksum>,
    ) -> Result<String, RemoteError> {
        Self::begin(self, key, head, checksum).await
    }

    async fn put_part(
        &self,
        upload: (&str, &str),
        number: u16,
        body: ReplicaBody,
    ) -> Result<SentPart, RemoteError> {
        Self::put_part(self, upload, number, body).await
    }

    async fn complete(
        &self,
        upload: (&str, &str),
        parts: &[SentPart],
        bytes: u64,
        only: OnlyOver,
    ) -> Result<(), RemoteError> {
        Self::complete(self, upload, parts, bytes, only).await.map(drop)
    }

    async fn abort(&self, upload: (&str, &str)) -> Result<(), RemoteError> {
        Self::abort(self, upload).await
    }

    async fn delete(&self, key: &str, only: OnlyOver) -> Result<(), RemoteError> {
        self.mark_deleted(key, None, only).await.map(drop)
    }
}
