//! Listing all versions and delete markers.

use super::super::names::invalid;
use super::super::tokens::text;
use super::super::{Action, Caller, ObjectService, ServiceError};
use super::{PageLimit, after_marker, delimiter};
use crate::meta::{ListFrom, ListQuery, ListedVersion, VersionEntry};
use crate::types::{AccountId, BucketName, VersionId};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListVersionsRequest {
    pub prefix: String,
    pub delimiter: Option<String>,
    pub key_marker: Option<String>,
    /// Only beside a key marker.
    pub version_marker: Option<VersionId>,
    pub maximum: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionsPage {
    /// Who owns the bucket, and so what is in it. `None`: the root user.
    pub owner: Option<AccountId>,
    /// Newest first under each key.
    pub versions: Vec<ListedVersion>,
    pub common_prefixes: Vec<String>,
    /// `None`: this was the last page.
    pub next_key_marker: Option<String>,
    /// Where the last version stands, opaque to clients: after a null version it is not its id.
    pub next_version_marker: Option<VersionId>,
    pub maximum: usize,
}

impl ObjectService {
    /// # Errors
    /// `NoSuchBucket`, `InvalidArgument`.
    pub async fn list_versions(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        request: ListVersionsRequest,
    ) -> Result<VersionsPage, ServiceError> {
        let home = self.inner.allowed(caller, Action::ListBucketVersions, bucket).await?;
        let limit = PageLimit::KEYS.of(request.maximum)?;
        let delimiter = delimiter(request.delimiter.as_deref());
        let key_marker = request.key_marker.unwrap_or_default();
        let mut from = after_marker(&request.prefix, delimiter.as_deref(), &key_marker);
        if let Some(version) = request.version_marker {
            if key_marker.is_empty() {
                let reason = "A version-id marker cannot be specified without a key marker.";
                return Err(invalid("version-id-marker", &version.to_string(), reason));
            }
            if let ListFrom::AfterKey(key) = from {
                from = ListFrom::AfterVersion(key, version);
            }
        }
        let query = ListQuery { prefix: request.prefix.into_bytes(), delimiter, from, limit };
        let page = self.inner.meta.list_versions(home.id, query).await?;

        let (mut versions, mut common_prefixes) = (Vec::new(), Vec::new());
        for entry in page.entries {
            match entry {
                VersionEntry::Version(version) => versions.push(version),
                VersionEntry::CommonPrefix(prefix) => common_prefixes.push(text(&prefix)),
            }
        }
        let (next_key_marker, next_version_marker) = match page.next {
            None | Some(ListFrom::Start) => (None, None),
            Some(ListFrom::AfterVersion(key, id)) => (Some(text(&key)), Some(id)),
            Some(
                ListFrom::AfterKey(name)
                | ListFrom::AfterPrefix(name)
                | ListFrom::AfterUpload(name, _)
                | ListFrom::AfterUploadId(name, _),
            ) => (Some(text(&name)), None),
        };
        Ok(VersionsPage {
            owner: home.owner,
            versions,
            common_prefixes,
            next_key_marker,
            next_version_marker,
            maximum: limit,
        })
    }
}
