//! Listing an upload's parts.

use super::super::list::PageLimit;
use super::super::names::invalid;
use super::super::{Action, Caller, ObjectService, ServiceError};
use crate::service::Expiry;
use crate::types::{
    AccountId, BucketName, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, ObjectKey, PartNumber,
    UnixMillis, UploadId,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPartsRequest {
    pub upload: UploadId,
    /// Parts behind this number; zero and absent mean all.
    pub marker: Option<i64>,
    pub maximum: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartsPage {
    /// Who owns the bucket, and so what is in it. `None`: the root user.
    pub owner: Option<AccountId>,
    pub parts: Vec<ListedPart>,
    /// The page's last part.
    pub next_marker: Option<PartNumber>,
    pub truncated: bool,
    pub maximum: usize,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    pub storage_class: Option<String>,
    /// When lifecycle rules abort the upload.
    pub expiry: Option<Expiry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    pub number: PartNumber,
    pub size: u64,
    pub etag: ETag,
    pub modified: UnixMillis,
    pub checksum: Option<Checksum>,
}

impl ObjectService {
    /// # Errors
    /// `NoSuchBucket`, `NoSuchUpload`, `InvalidArgument`.
    pub async fn list_parts(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: &ListPartsRequest,
    ) -> Result<PartsPage, ServiceError> {
        let home = self.inner.allowed_object(caller, Action::ListMultipartUploadParts, (bucket, key)).await?;
        let maximum = PageLimit::PARTS.of(request.maximum)?;
        let after = match request.marker {
            None | Some(0) => None,
            Some(number) if number < 0 => {
                let reason = "Argument part-number-marker must be an integer between 0 and 2147483647";
                return Err(invalid("part-number-marker", &number.to_string(), reason));
            }
            Some(number) => Some(PartNumber::parse(number).unwrap_or(PartNumber::MAX)),
        };
        let upload = self.inner.upload(&home, key, request.upload).await?;
        let mut found = match maximum {
            0 => Vec::new(),
            _ => self.inner.meta.parts(request.upload, after, maximum + 1).await?,
        };
        let truncated = found.len() > maximum;
        found.truncate(maximum);
        let next_marker = found.last().map(|p| p.number);
        let listed = |p: crate::meta::Part| ListedPart {
            number: p.number,
            size: p.size,
            etag: p.etag,
            modified: p.modified,
            checksum: p.checksum,
        };
        Ok(PartsPage {
            parts: found.into_iter().map(listed).collect(),
            next_marker,
            truncated,
            maximum,
            checksum: upload.checksum,
            storage_class: upload.attributes.storage_class,
            expiry: self.inner.abort_expiry(&home, key, upload.initiated),
            owner: home.owner,
        })
    }
}
