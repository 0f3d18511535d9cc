//! Listing open multipart uploads.

use super::super::authorize::authorize;
use super::super::tokens::text;
use super::super::{Action, Caller, ObjectService, Resource, ServiceError};
use super::{after_marker, delimiter, page_size};
use crate::meta::{ListFrom, ListQuery, UploadEntry};
use crate::types::{BucketName, ChecksumAlgorithm, ChecksumKind, ObjectKey, UnixMillis, UploadId};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListUploadsRequest {
    pub prefix: String,
    pub delimiter: Option<String>,
    pub key_marker: Option<String>,
    /// Counts only beside a key marker.
    pub upload_marker: Option<UploadId>,
    pub maximum: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsPage {
    /// Oldest first under each key.
    pub uploads: Vec<ListedUpload>,
    pub common_prefixes: Vec<String>,
    /// `None`: this was the last page.
    pub next_key_marker: Option<String>,
    pub next_upload_marker: Option<UploadId>,
    pub maximum: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUpload {
    pub id: UploadId,
    pub key: ObjectKey,
    pub initiated: UnixMillis,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    pub storage_class: Option<String>,
}

impl ObjectService {
    /// # Errors
    /// `NoSuchBucket`, `InvalidArgument`.
    pub async fn list_uploads(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        request: ListUploadsRequest,
    ) -> Result<UploadsPage, ServiceError> {
        authorize(caller, Action::ListBucketMultipartUploads, Resource::Bucket(bucket))?;
        let limit = page_size("max-uploads", request.maximum)?;
        let home = self.inner.bucket(bucket).await?;
        let delimiter = delimiter(request.delimiter.as_deref());
        let key_marker = request.key_marker.unwrap_or_default();
        let from =
            match (after_marker(&request.prefix, delimiter.as_deref(), &key_marker), request.upload_marker) {
                (ListFrom::AfterKey(key), Some(upload)) => ListFrom::AfterUpload(key, upload),
                (from, _) => from,
            };
        let query = ListQuery { prefix: request.prefix.into_bytes(), delimiter, from, limit };
        let page = self.inner.meta.list_uploads(home.id, query).await?;

        let (mut uploads, mut common_prefixes) = (Vec::new(), Vec::new());
        for entry in page.entries {
            match entry {
                UploadEntry::Upload { id, key, initiated, checksum, storage_class, .. } => {
                    uploads.push(ListedUpload { id, key, initiated, checksum, storage_class });
                }
                UploadEntry::CommonPrefix(prefix) => common_prefixes.push(text(&prefix)),
            }
        }
        let (next_key_marker, next_upload_marker) = match page.next {
            None | Some(ListFrom::Start) => (None, None),
            Some(ListFrom::AfterUpload(key, id)) => (Some(text(&key)), Some(id)),
            Some(
                ListFrom::AfterKey(name) | ListFrom::AfterPrefix(name) | ListFrom::AfterVersion(name, _),
            ) => (Some(text(&name)), None),
        };
        Ok(UploadsPage { uploads, common_prefixes, next_key_marker, next_upload_marker, maximum: limit })
    }
}
