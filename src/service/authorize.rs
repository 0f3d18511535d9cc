//! Who may do what: the one place that decides.
//!
//! Every operation asks here before it looks at anything, with the names that it will use itself: there is no
//! second decoding of a bucket, key or version between the decision and the deed (I6).

use super::ServiceError;
use crate::types::{BucketName, ObjectKey, Principal, VersionId};

/// Who asks. Made by the protocol after authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    principal: Principal,
}

impl Caller {
    #[must_use]
    pub const fn new(principal: Principal) -> Self {
        Self { principal }
    }

    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }
}

/// What is asked for. The names are those of S3's policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    ListAllMyBuckets,
    CreateBucket,
    DeleteBucket,
    GetBucketLocation,
    GetBucketVersioning,
    PutBucketVersioning,
    GetLifecycleConfiguration,
    PutLifecycleConfiguration,
    ListBucket,
    ListBucketVersions,
    ListBucketMultipartUploads,
    GetObject,
    GetObjectVersion,
    PutObject,
    DeleteObject,
    DeleteObjectVersion,
    ListMultipartUploadParts,
    AbortMultipartUpload,
}

impl Action {
    /// The action of reading: naming a version is another permission than reading the current one.
    #[must_use]
    pub const fn get(version: Option<VersionId>) -> Self {
        if version.is_some() { Self::GetObjectVersion } else { Self::GetObject }
    }

    /// The action of deleting, likewise.
    #[must_use]
    pub const fn delete(version: Option<VersionId>) -> Self {
        if version.is_some() { Self::DeleteObjectVersion } else { Self::DeleteObject }
    }
}

/// What it is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    Store,
    Bucket(&'a BucketName),
    Object(&'a BucketName, &'a ObjectKey),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    Allow,
    Deny,
}

/// Root may do everything, the anonymous nothing.
pub const fn decide(principal: &Principal, _action: Action, _resource: Resource<'_>) -> Decision {
    match principal {
        Principal::Root { .. } => Decision::Allow,
        Principal::Anonymous => Decision::Deny,
    }
}

/// [`decide`] as an error.
pub(super) fn authorize(caller: &Caller, action: Action, resource: Resource<'_>) -> Result<(), ServiceError> {
    match decide(caller.principal(), action, resource) {
        Decision::Allow => Ok(()),
        Decision::Deny => Err(ServiceError::AccessDenied { action }),
    }
}
