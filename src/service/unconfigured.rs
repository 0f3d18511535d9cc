//! What a bucket or an object can be configured to do on AWS and never is here: the answers of one that does not use it.
//!
//! They are decided and looked for as all others are: who may not ask is told nothing, and what does not exist has no
//! configuration either.

use super::{Action, Caller, ObjectService, ServiceError};
use crate::types::{AccountId, BucketName, ObjectKey, VersionId};

/// A configuration that no bucket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    Encryption,
    MetadataTable,
    /// Analytics, inventory, metrics and tiering configurations have names, and no name is taken.
    Named,
    Policy,
    PublicAccessBlock,
    Website,
}

/// The storage classes whose objects AWS keeps out of reach until they are restored.
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

impl ObjectService {
    /// Whether the caller may do this to the bucket, which exists. There is nothing to be done. Returns who owns it.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`.
    pub async fn unconfigured(
        &self,
        caller: &Caller,
        action: Action,
        name: &BucketName,
    ) -> Result<Option<AccountId>, ServiceError> {
        Ok(self.inner.allowed(caller, action, name).await?.owner)
    }

    /// The torrent of an object, which AWS no longer has of any, not even of one that is not there.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`, or else `NoTorrents`.
    pub async fn torrent<T>(
        &self,
        caller: &Caller,
        object: (&BucketName, &ObjectKey),
    ) -> Result<T, ServiceError> {
        self.inner.allowed_object(caller, Action::GetObjectTorrent, object).await?;
        Err(ServiceError::NoTorrents)
    }

    /// Whether the caller may do this to the object, which exists and is no delete marker. Returns who owns it,
    /// and its storage class.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`, `NoSuchKey`, `NoSuchVersion`, `Deleted`, `IsDeleteMarker`.
    pub async fn unconfigured_object(
        &self,
        caller: &Caller,
        action: Action,
        (name, key): (&BucketName, &ObjectKey),
        version: Option<VersionId>,
    ) -> Result<(Option<AccountId>, Option<String>), ServiceError> {
        let bucket = self.inner.allowed_object(caller, action, (name, key)).await?;
        let (_, data) = self.inner.find(&bucket, key, version).await?;
        Ok((bucket.owner, data.attributes.storage_class))
    }

    /// Restores an object from its archive, where it never was: an archive's name is all that it has of one.
    ///
    /// # Errors
    /// As [`Self::unconfigured_object`], or `NotArchived`.
    pub async fn restore_archived(
        &self,
        caller: &Caller,
        object: (&BucketName, &ObjectKey),
        version: Option<VersionId>,
    ) -> Result<(), ServiceError> {
        let (_, class) = self.unconfigured_object(caller, Action::RestoreObject, object, version).await?;
        if class.is_some_and(|class| ARCHIVES.contains(&class.as_str())) {
            return Ok(());
        }
        Err(ServiceError::NotArchived)
    }
}
