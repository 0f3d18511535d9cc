//! The store of the tests: bodies stored whole, and parts that share a body.

use super::testing::{World, body, body_size, named};
use crate::meta::{Commit, CommitError, MetaStore, NewBody, NewPart, Outcome, StoredBody, VersionKind};
use crate::sys::SeededRandom;
use crate::types::{ETag, PartNumber, PlainId, UploadId};
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};

impl World {
    /// A file that is nobody's body yet.
    pub(crate) fn write_plain(&self, seeds: &[u64]) -> PlainId {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let random = SeededRandom::new(NEXT.fetch_add(1, Ordering::Relaxed));
        let mut writer = self.plain.create(&random).unwrap();
        writer.write(&body(seeds)).unwrap();
        writer.finish().unwrap()
    }

    pub(crate) async fn put_part(
        &self,
        upload: UploadId,
        number: u16,
        body: NewBody,
        seeds: &[u64],
    ) -> Result<Outcome, CommitError> {
        let part = NewPart { body, size: body_size(seeds), etag: ETag::of_body([0; 16]), checksum: None };
        let number = PartNumber::parse(number.into()).unwrap();
        self.commit(Commit::PutPart { upload, number, part }).await
    }

    /// The body of a key, if it is stored whole.
    pub(super) async fn read_plain(&self, key: &str) -> Option<Bytes> {
        let reader = self.plain.reader(self.plain_body(key).await?).unwrap();
        Some(reader.read_at(0..reader.size()).unwrap())
    }

    pub(super) async fn no_file_of_nobody(&self, context: &str) {
        let mut files = Vec::new();
        for key in self.acknowledged.keys() {
            files.extend(self.plain_body(key).await);
        }
        files.sort_unstable();
        assert_eq!(self.plain.list().unwrap(), files, "plain files of nobody stay: {context}");
    }

    async fn plain_body(&self, key: &str) -> Option<PlainId> {
        let row = self.meta.version(self.bucket, &named(key), None).await.unwrap();
        match row?.kind {
            VersionKind::Object(object) => match object.body {
                StoredBody::Plain(file) => Some(file),
                _ => None,
            },
            VersionKind::DeleteMarker => None,
        }
    }
}
