//! Who may do what: the one place that decides.
//!
//! Every operation asks here before it looks at anything but whose bucket it is about, with the names that it will
//! use itself: there is no second decoding of a bucket, key or version between the decision and the deed (I6).
//! A bucket that does not exist is said not to, to anybody; one of somebody else is refused.

use super::{Inner, ServiceError};
use crate::meta::Bucket;
use crate::types::{AccountId, BucketName, ObjectKey, Principal, TagSet, VersionId};

/// Who asks. Made by the protocol after authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    principal: Principal,
    expected_owner: Option<Box<str>>,
    expected_source_owner: Option<Box<str>>,
}

impl Caller {
    #[must_use]
    pub const fn new(principal: Principal) -> Self {
        Self { principal, expected_owner: None, expected_source_owner: None }
    }

    /// Whom the caller takes for the owner of the bucket, and of the bucket that is copied from. Nothing is done where
    /// it is another.
    #[must_use]
    pub fn expecting(self, owner: Option<&str>, source_owner: Option<&str>) -> Self {
        let (expected_owner, expected_source_owner) = (owner.map(Box::from), source_owner.map(Box::from));
        Self { expected_owner, expected_source_owner, ..self }
    }

    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }
}

impl Caller {
    /// The account that asks: what it makes is its own. `None`: it is the root user's.
    #[must_use]
    pub const fn account(&self) -> Option<&AccountId> {
        match &self.principal {
            Principal::Account { id, .. } => Some(id),
            Principal::Root { .. } | Principal::Anonymous => None,
        }
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
    GetAccelerateConfiguration,
    PutAccelerateConfiguration,
    GetAnalyticsConfiguration,
    PutAnalyticsConfiguration,
    GetBucketAcl,
    GetBucketCORS,
    PutBucketCORS,
    PutBucketAcl,
    GetBucketLogging,
    PutBucketLogging,
    GetBucketMetadataTableConfiguration,
    DeleteBucketMetadataTableConfiguration,
    GetBucketNotification,
    PutBucketNotification,
    GetBucketOwnershipControls,
    PutBucketOwnershipControls,
    GetBucketPolicy,
    DeleteBucketPolicy,
    GetBucketPolicyStatus,
    GetBucketPublicAccessBlock,
    PutBucketPublicAccessBlock,
    GetBucketRequestPayment,
    PutBucketRequestPayment,
    GetBucketWebsite,
    DeleteBucketWebsite,
    GetEncryptionConfiguration,
    PutEncryptionConfiguration,
    GetIntelligentTieringConfiguration,
    PutIntelligentTieringConfiguration,
    GetInventoryConfiguration,
    PutInventoryConfiguration,
    GetMetricsConfiguration,
    PutMetricsConfiguration,
    GetReplicationConfiguration,
    PutReplicationConfiguration,
    GetBucketObjectLockConfiguration,
    PutBucketObjectLockConfiguration,
    GetLifecycleConfiguration,
    PutLifecycleConfiguration,
    GetBucketTagging,
    PutBucketTagging,
    ListBucket,
    ListBucketVersions,
    ListBucketMultipartUploads,
    GetObject,
    GetObjectVersion,
    GetObjectAcl,
    GetObjectVersionAcl,
    PutObjectAcl,
    PutObjectVersionAcl,
    GetObjectTorrent,
    RestoreObject,
    GetObjectAttributes,
    GetObjectVersionAttributes,
    GetObjectTagging,
    GetObjectVersionTagging,
    PutObject,
    PutObjectTagging,
    PutObjectVersionTagging,
    DeleteObject,
    DeleteObjectVersion,
    GetObjectRetention,
    PutObjectRetention,
    GetObjectLegalHold,
    PutObjectLegalHold,
    BypassGovernanceRetention,
    DeleteObjectTagging,
    DeleteObjectVersionTagging,
    ListMultipartUploadParts,
    AbortMultipartUpload,
}

impl Action {
    /// The action of reading: naming a version is another permission than reading the current one.
    #[must_use]
    pub const fn get(version: Option<VersionId>) -> Self {
        if version.is_some() { Self::GetObjectVersion } else { Self::GetObject }
    }

    /// The action of reading who may do what with an object, likewise.
    #[must_use]
    pub const fn get_acl(version: Option<VersionId>) -> Self {
        if version.is_some() { Self::GetObjectVersionAcl } else { Self::GetObjectAcl }
    }

    /// The action of setting it, likewise.
    #[must_use]
    pub const fn put_acl(version: Option<VersionId>) -> Self {
        if version.is_some() { Self::PutObjectVersionAcl } else { Self::PutObjectAcl }
    }

    /// The action of reading attributes, beside that of reading.
    #[must_use]
    pub const fn get_attributes(version: Option<VersionId>) -> Self {
        if version.is_some() { Self::GetObjectVersionAttributes } else { Self::GetObjectAttributes }
    }

    /// The action of reading tags, likewise.
    #[must_use]
    pub const fn get_tags(version: Option<VersionId>) -> Self {
        if version.is_some() { Self::GetObjectVersionTagging } else { Self::GetObjectTagging }
    }

    /// The action of setting tags, likewise.
    #[must_use]
    pub const fn put_tags(version: Option<VersionId>) -> Self {
        if version.is_some() { Self::PutObjectVersionTagging } else { Self::PutObjectTagging }
    }

    /// The action of taking tags away, likewise.
    #[must_use]
    pub const fn delete_tags(version: Option<VersionId>) -> Self {
        if version.is_some() { Self::DeleteObjectVersionTagging } else { Self::DeleteObjectTagging }
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

/// Root may do everything; an account everything in its own buckets, and create and list those; the anonymous
/// nothing. `home` is the bucket that the resource is or is in, if it is there.
pub fn decide(
    principal: &Principal,
    action: Action,
    _resource: Resource<'_>,
    home: Option<&Bucket>,
) -> Decision {
    let is_allowed = match (principal, home) {
        (Principal::Root { .. }, _) => true,
        (Principal::Account { id, .. }, Some(home)) => home.owner.as_ref() == Some(id),
        // A bucket may be created with object lock.
        (Principal::Account { .. }, None) => matches!(
            action,
            Action::ListAllMyBuckets | Action::CreateBucket | Action::PutBucketObjectLockConfiguration
        ),
        (Principal::Anonymous, _) => false,
    };
    if is_allowed { Decision::Allow } else { Decision::Deny }
}

/// Whether a listing of buckets shows this one: to root all, to an account its own.
pub(super) fn is_listed(caller: &Caller, bucket: &Bucket) -> bool {
    let resource = Resource::Bucket(&bucket.name);
    decide(caller.principal(), Action::ListAllMyBuckets, resource, Some(bucket)) == Decision::Allow
}

/// [`decide`] as an error, of what is in no bucket that is there.
pub(super) fn authorize(caller: &Caller, action: Action, resource: Resource<'_>) -> Result<(), ServiceError> {
    authorize_in(caller, action, resource, None)
}

/// [`decide`] as an error.
pub(super) fn authorize_in(
    caller: &Caller,
    action: Action,
    resource: Resource<'_>,
    home: Option<&Bucket>,
) -> Result<(), ServiceError> {
    match decide(caller.principal(), action, resource, home) {
        Decision::Allow => Ok(()),
        Decision::Deny => Err(ServiceError::AccessDenied { action }),
    }
}

/// Writing an object with tags takes the permission to tag it, too.
pub(super) fn authorize_tags(
    caller: &Caller,
    tags: &TagSet,
    home: &Bucket,
    key: &ObjectKey,
) -> Result<(), ServiceError> {
    if tags.is_empty() {
        return Ok(());
    }
    authorize_in(caller, Action::PutObjectTagging, Resource::Object(&home.name, key), Some(home))
}

impl Inner {
    /// The bucket, if the caller may do this to it.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`.
    pub(super) async fn allowed(
        &self,
        caller: &Caller,
        action: Action,
        name: &BucketName,
    ) -> Result<Bucket, ServiceError> {
        let home = self.expected(caller, action, name).await?;
        authorize_in(caller, action, Resource::Bucket(name), Some(&home))?;
        Ok(home)
    }

    /// The bucket of an object, if the caller may do this to the object.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`.
    pub(super) async fn allowed_object(
        &self,
        caller: &Caller,
        action: Action,
        (name, key): (&BucketName, &ObjectKey),
    ) -> Result<Bucket, ServiceError> {
        let home = self.expected(caller, action, name).await?;
        authorize_in(caller, action, Resource::Object(name, key), Some(&home))?;
        Ok(home)
    }

    /// The bucket of an object to copy from, if the caller may read the object.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`.
    pub(super) async fn allowed_source(
        &self,
        caller: &Caller,
        version: Option<VersionId>,
        (name, key): (&BucketName, &ObjectKey),
    ) -> Result<Bucket, ServiceError> {
        let action = Action::get(version);
        let home = self.owned_by(caller.expected_source_owner.as_deref(), action, name).await?;
        authorize_in(caller, action, Resource::Object(name, key), Some(&home))?;
        Ok(home)
    }

    /// The bucket, if its owner is the one that the caller expects. Nobody has been asked whether the caller may do
    /// anything.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`.
    pub(super) async fn expected(
        &self,
        caller: &Caller,
        action: Action,
        name: &BucketName,
    ) -> Result<Bucket, ServiceError> {
        self.owned_by(caller.expected_owner.as_deref(), action, name).await
    }

    async fn owned_by(
        &self,
        owner: Option<&str>,
        action: Action,
        name: &BucketName,
    ) -> Result<Bucket, ServiceError> {
        let home = self.bucket(name).await?;
        match owner {
            Some(owner) if owner != self.owner_id(home.owner.as_ref()) => {
                Err(ServiceError::AccessDenied { action })
            }
            _ => Ok(home),
        }
    }
}
