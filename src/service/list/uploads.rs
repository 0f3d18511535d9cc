//! Listing open multipart uploads.

use super::super::names::{INVALID_UPLOAD_MARKER, invalid};
use super::super::tokens::text;
use super::super::{Action, Caller, ObjectService, ServiceError};
use super::{PageLimit, after_marker, delimiter};
use crate::meta::{ListFrom, ListQuery, UploadEntry};
use crate::types::{
    AccountId, BucketId, BucketName, ChecksumAlgorithm, ChecksumKind, CommitSeq, ObjectKey, UnixMillis,
    UploadId,
};

/// The end of a marker that is a place and no id: an upload's random id ends so once in 2^64.
const PLACE: [u8; 8] = *b"\0commit\0";

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListUploadsRequest {
    pub prefix: String,
    pub delimiter: Option<String>,
    pub key_marker: Option<String>,
    /// A page's marker or an upload's id. Counts only beside a key marker.
    pub upload_marker: Option<UploadId>,
    pub maximum: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsPage {
    /// Who owns the bucket, and so what is in it. `None`: the root user.
    pub owner: Option<AccountId>,
    /// Oldest first under each key.
    pub uploads: Vec<ListedUpload>,
    pub common_prefixes: Vec<String>,
    /// Behind the page's last entry; as on AWS, the last page has it too, unless it ends with a common prefix.
    pub next_key_marker: Option<String>,
    /// Where the last upload stands, opaque to clients: it is not its id.
    pub next_upload_marker: Option<UploadId>,
    pub truncated: bool,
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
        let home = self.inner.allowed(caller, Action::ListBucketMultipartUploads, bucket).await?;
        let limit = PageLimit::UPLOADS.of(request.maximum)?;
        let delimiter = delimiter(request.delimiter.as_deref());
        let key_marker = request.key_marker.unwrap_or_default();
        let mut from = after_marker(&request.prefix, delimiter.as_deref(), &key_marker);
        if let (ListFrom::AfterKey(key), Some(marker)) = (&from, request.upload_marker) {
            from = self.after_upload(home.id, key, marker).await?;
        }
        let query = ListQuery { prefix: request.prefix.into_bytes(), delimiter, from, limit };
        let page = self.inner.meta.list_uploads(home.id, query).await?;

        let last = page.entries.last().and_then(|entry| match entry {
            UploadEntry::Upload { key, seq, .. } => Some((key.to_text().into_owned(), marker_at(*seq))),
            UploadEntry::CommonPrefix(_) => None,
        });
        let (mut uploads, mut common_prefixes) = (Vec::new(), Vec::new());
        for entry in page.entries {
            match entry {
                UploadEntry::Upload { id, key, initiated, checksum, storage_class, .. } => {
                    uploads.push(ListedUpload { id, key, initiated, checksum, storage_class });
                }
                UploadEntry::CommonPrefix(prefix) => common_prefixes.push(text(&prefix)),
            }
        }
        let truncated = page.next.is_some();
        let (next_key_marker, next_upload_marker) = match (last, page.next) {
            (Some((key, marker)), _) => (Some(key), Some(marker)),
            (None, Some(ListFrom::AfterPrefix(prefix))) => (Some(text(&prefix)), None),
            (None, _) => (None, None),
        };
        Ok(UploadsPage {
            owner: home.owner,
            uploads,
            common_prefixes,
            next_key_marker,
            next_upload_marker,
            truncated,
            maximum: limit,
        })
    }

    /// Behind the place that a page named, or the upload with the id.
    async fn after_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        marker: UploadId,
    ) -> Result<ListFrom, ServiceError> {
        if let Some(seq) = marked(marker) {
            return Ok(ListFrom::AfterUpload(key.to_vec(), seq));
        }
        match self.inner.meta.upload(marker).await? {
            Some(upload) if upload.bucket != bucket || upload.key.as_bytes() != key => {
                Err(invalid("upload-id-marker", &marker.to_string(), INVALID_UPLOAD_MARKER))
            }
            _ => Ok(ListFrom::AfterUploadId(key.to_vec(), marker)),
        }
    }
}

/// The marker behind the upload that a commit began. It keeps its meaning when the upload is gone.
fn marker_at(seq: CommitSeq) -> UploadId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seq.get().to_be_bytes());
    bytes[8..].copy_from_slice(&PLACE);
    UploadId::new(bytes)
}

fn marked(marker: UploadId) -> Option<CommitSeq> {
    let (seq, rest) = marker.as_bytes().split_first_chunk::<8>()?;
    (*rest == PLACE).then(|| CommitSeq::new(u64::from_be_bytes(*seq)))
}
