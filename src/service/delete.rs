//! Deleting objects and versions.

use super::authorize::authorize_in;
use super::context::{Target, WRONG_OUTCOME};
use super::settings::MAX_KEYS;
use super::{Action, Caller, DeleteConditions, ObjectService, Resource, ServiceError};
use crate::meta::{Bucket, Commit, CommitError, Outcome, VersionTarget};
use crate::types::{BucketName, ObjectKey, ReplicaOf, VersionId, Versioning};
use futures::StreamExt;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteRequest {
    pub version: Option<VersionId>,
    pub conditions: DeleteConditions,
    /// Delete even what is retained under governance.
    pub bypass_governance: bool,
}

/// What a delete did. Deleting what does not exist is a success that did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// The version named, or the delete marker that was written.
    pub version_id: Option<VersionId>,
    /// A delete marker was written, or the version removed was one.
    pub delete_marker: bool,
}

/// One key of a multi-object delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteItem {
    pub key: ObjectKey,
    pub request: DeleteRequest,
}

/// What became of it.
#[derive(Debug)]
pub struct DeletedItem {
    pub key: ObjectKey,
    /// The version that was named.
    pub requested: Option<VersionId>,
    pub result: Result<DeleteOutcome, ServiceError>,
}

impl ObjectService {
    /// # Errors
    /// `NoSuchBucket`, `PreconditionFailed`, `Locked`; `NoSuchKey` only under `If-Match`.
    pub async fn delete(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: &DeleteRequest,
    ) -> Result<DeleteOutcome, ServiceError> {
        let action = Action::delete(request.version);
        let home = self.inner.allowed_object(caller, action, (bucket, key)).await?;
        authorize_bypass(caller, &home, key, request.bypass_governance)?;
        self.delete_in(&home, key, request).await
    }

    /// Writes the copy of another store's delete marker, which nothing here carries on.
    ///
    /// # Errors
    /// `NoSuchBucket`; `InvalidRequest` for what is no plain delete.
    pub async fn delete_as_replica(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: &DeleteRequest,
        origin: ReplicaOf,
    ) -> Result<DeleteOutcome, ServiceError> {
        let home = self.inner.allowed_object(caller, Action::DeleteObject, (bucket, key)).await?;
        if *request != DeleteRequest::default() || home.versioning != Versioning::Enabled {
            let reason =
                "A replica of a delete marker has no version and no conditions, and needs versioning.";
            return Err(ServiceError::InvalidRequest { reason: reason.into() });
        }
        let commit = Commit::PutMarker { bucket: home.id, key: key.clone(), replica_of: origin };
        match self.inner.commit(commit).await {
            Ok(Outcome::Deleted { id, delete_marker }) => Ok(DeleteOutcome { version_id: id, delete_marker }),
            Ok(_) => Err(WRONG_OUTCOME),
            Err(error) => Err(Target { bucket, key, condition: "" }.error(error)),
        }
    }

    /// Deletes up to 1,000 keys, each decided, authorised and answered for itself, in the order given.
    ///
    /// # Errors
    /// `NoSuchBucket`, `TooManyKeys`. All else stands beside its key.
    pub async fn delete_many(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        items: Vec<DeleteItem>,
    ) -> Result<Vec<DeletedItem>, ServiceError> {
        if items.len() > MAX_KEYS {
            return Err(ServiceError::TooManyKeys { count: items.len(), maximum: MAX_KEYS });
        }
        let home = &self.inner.expected(caller, Action::DeleteObject, bucket).await?;
        let deletes = items.into_iter().map(|item| async move {
            let DeleteItem { key, request } = item;
            let action = Action::delete(request.version);
            let allowed = authorize_in(caller, action, Resource::Object(bucket, &key), Some(home));
            let bypass = request.bypass_governance;
            let result = match allowed.and_then(|()| authorize_bypass(caller, home, &key, bypass)) {
                Ok(()) => self.delete_in(home, &key, &request).await,
                Err(denied) => Err(denied),
            };
            DeletedItem { key, requested: request.version, result }
        });
        let concurrency = self.inner.settings.delete_concurrency.max(1);
        Ok(futures::stream::iter(deletes).buffered(concurrency).collect().await)
    }

    async fn delete_in(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        request: &DeleteRequest,
    ) -> Result<DeleteOutcome, ServiceError> {
        let commit = Commit::DeleteVersion {
            bucket: bucket.id,
            key: key.clone(),
            target: request.version.map_or(VersionTarget::Current, VersionTarget::Version),
            condition: request.conditions.for_commit()?,
            bypass_governance: request.bypass_governance,
        };
        let target = Target { bucket: &bucket.name, key, condition: request.conditions.header() };
        match self.inner.commit(commit).await {
            Ok(Outcome::Deleted { id, delete_marker }) => Ok(DeleteOutcome {
                version_id: request.version.or(if delete_marker { id } else { None }),
                delete_marker,
            }),
            Ok(_) => Err(WRONG_OUTCOME),
            Err(CommitError::NoSuchKey) if request.conditions.hold_without_object() => {
                Ok(DeleteOutcome { version_id: request.version, delete_marker: false })
            }
            Err(error) => Err(target.error(error)),
        }
    }
}

/// Whoever asks to bypass governance must be allowed to, needed or not.
pub(super) fn authorize_bypass(
    caller: &Caller,
    home: &Bucket,
    key: &ObjectKey,
    asked: bool,
) -> Result<(), ServiceError> {
    if !asked {
        return Ok(());
    }
    let object = Resource::Object(&home.name, key);
    authorize_in(caller, Action::BypassGovernanceRetention, object, Some(home))
}
