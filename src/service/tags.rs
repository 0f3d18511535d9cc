//! Tags of objects and of buckets: reading them, replacing them, taking them away.

use super::context::{Target, WRONG_OUTCOME, unexpected};
use super::object::shown;
use super::{Action, Caller, Inner, ObjectService, ServiceError};
use crate::meta::{Bucket, Commit, CommitError, Outcome, VersionTarget};
use crate::types::{BucketName, BucketSetting, ObjectKey, TagSet, VersionId};

/// A version's tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectTags {
    pub tags: TagSet,
    /// `None` in a bucket that never had versioning.
    pub version_id: Option<VersionId>,
}

impl ObjectService {
    /// # Errors
    /// `NoSuchBucket`, `NoSuchKey`, `NoSuchVersion`, `IsDeleteMarker`.
    pub async fn object_tags(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<ObjectTags, ServiceError> {
        let home = self.inner.allowed_object(caller, Action::get_tags(version), (bucket, key)).await?;
        self.inner.tags(&home, key, version).await
    }

    /// Replaces all tags of a version, and answers which one it was.
    ///
    /// # Errors
    /// As [`Self::object_tags`].
    pub async fn set_object_tags(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
        tags: TagSet,
    ) -> Result<Option<VersionId>, ServiceError> {
        let home = self.inner.allowed_object(caller, Action::put_tags(version), (bucket, key)).await?;
        self.inner.set_tags(&home, key, version, tags).await
    }

    /// # Errors
    /// As [`Self::object_tags`].
    pub async fn delete_object_tags(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Option<VersionId>, ServiceError> {
        let home = self.inner.allowed_object(caller, Action::delete_tags(version), (bucket, key)).await?;
        self.inner.set_tags(&home, key, version, TagSet::default()).await
    }

    /// # Errors
    /// `NoSuchBucket`, `NoSuchTagSet`.
    pub async fn bucket_tags(&self, caller: &Caller, name: &BucketName) -> Result<TagSet, ServiceError> {
        let bucket = self.inner.allowed(caller, Action::GetBucketTagging, name).await?;
        bucket.settings.tags.clone().ok_or_else(|| ServiceError::NoSuchTagSet { bucket: name.clone() })
    }

    /// Replaces all tags of a bucket; none at all takes them away.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub async fn set_bucket_tags(
        &self,
        caller: &Caller,
        name: &BucketName,
        tags: TagSet,
    ) -> Result<(), ServiceError> {
        let bucket = self.inner.allowed(caller, Action::PutBucketTagging, name).await?.id;
        let setting = BucketSetting::Tags(Some(tags).filter(|tags| !tags.is_empty()));
        let commit = Commit::SetBucket { bucket, setting };
        self.inner.commit(commit).await.map_err(|e| unexpected(name, e))?;
        Ok(())
    }
}

impl Inner {
    async fn tags(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<ObjectTags, ServiceError> {
        match self.find(bucket, key, version).await {
            Ok((found, data)) => {
                let version_id = shown(bucket.versioning, found.id);
                Ok(ObjectTags { tags: data.tags, version_id })
            }
            // Tags are asked of the marker itself, named or not: it has none.
            Err(ServiceError::Deleted { key, marker, modified, .. }) => {
                Err(ServiceError::IsDeleteMarker { key, marker, modified })
            }
            Err(error) => Err(error),
        }
    }

    async fn set_tags(
        &self,
        home: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        tags: TagSet,
    ) -> Result<Option<VersionId>, ServiceError> {
        let target = version.map_or(VersionTarget::Current, VersionTarget::Version);
        let commit = Commit::SetTags { bucket: home.id, key: key.clone(), target, tags };
        match self.commit(commit).await {
            Ok(Outcome::Changed { id }) => Ok(shown(home.versioning, id)),
            Ok(_) => Err(WRONG_OUTCOME),
            // A look says what was met instead of an object.
            Err(CommitError::NoSuchKey | CommitError::IsDeleteMarker) => {
                self.tags(home, key, version).await?;
                Err(ServiceError::Busy("the version is being replaced"))
            }
            Err(error) => Err(Target { bucket: &home.name, key, condition: "" }.error(error)),
        }
    }
}
