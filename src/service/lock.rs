//! Object lock: what protects versions, and what buckets protect them with.

use super::authorize::authorize_in;
use super::context::{Inner, Target, WRONG_OUTCOME, unexpected};
use super::delete::authorize_bypass;
use super::names::invalid;
use super::{Action, Caller, ObjectService, Resource, ServiceError};
use crate::meta::{Bucket, Commit, CommitError, Outcome, VersionTarget};
use crate::types::{BucketName, LockSettings, ObjectKey, ObjectLock, Retention, UnixMillis, VersionId};

/// Where writes name the end of their retention.
pub(super) const UNTIL_HEADER: &str = "x-amz-object-lock-retain-until-date";
/// Where a retention names it.
const UNTIL_ELEMENT: &str = "RetainUntilDate";

pub(super) fn past_date(name: &'static str, until: UnixMillis) -> ServiceError {
    invalid(name, &until.get().to_string(), "The retain until date must be in the future!")
}

impl ObjectService {
    /// # Errors
    /// `NoSuchBucket`, `NoLockConfiguration`.
    pub async fn lock_settings(
        &self,
        caller: &Caller,
        bucket: &BucketName,
    ) -> Result<LockSettings, ServiceError> {
        let home = self.inner.allowed(caller, Action::GetBucketObjectLockConfiguration, bucket).await?;
        home.lock.ok_or_else(|| ServiceError::NoLockConfiguration { bucket: bucket.clone() })
    }

    /// Gives the bucket object lock, for ever, or another default retention.
    ///
    /// # Errors
    /// `NoSuchBucket`; `InvalidBucketState` unless versioning is enabled.
    pub async fn set_lock_settings(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        lock: LockSettings,
    ) -> Result<(), ServiceError> {
        let home = self.inner.allowed(caller, Action::PutBucketObjectLockConfiguration, bucket).await?;
        let commit = Commit::LockBucket { bucket: home.id, lock };
        self.inner.commit(commit).await.map_err(|error| unexpected(bucket, error))?;
        Ok(())
    }

    /// # Errors
    /// `NoObjectLock`, `NoSuchLock`, and those of finding the version.
    pub async fn retention(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Retention, ServiceError> {
        let home = self.inner.allowed_object(caller, Action::GetObjectRetention, (bucket, key)).await?;
        let lock = self.inner.lock_of(&home, key, version).await?;
        lock.retention.ok_or_else(|| ServiceError::NoSuchLock { key: key.clone() })
    }

    /// Sets, extends or, with `None`, ends a version's retention. `bypass_governance`: even if that lets go of what is
    /// retained under governance.
    ///
    /// # Errors
    /// `NoObjectLock`, `Locked`, `InvalidArgument` for a date that is past, and those of finding the version.
    pub async fn set_retention(
        &self,
        caller: &Caller,
        (bucket, key): (&BucketName, &ObjectKey),
        version: Option<VersionId>,
        retention: Option<Retention>,
        bypass_governance: bool,
    ) -> Result<(), ServiceError> {
        let home = self.inner.allowed_object(caller, Action::PutObjectRetention, (bucket, key)).await?;
        authorize_bypass(caller, &home, key, bypass_governance)?;
        self.inner.check_until(UNTIL_ELEMENT, retention)?;
        self.inner
            .set_lock(&home, key, version, |target| Commit::SetRetention {
                bucket: home.id,
                key: key.clone(),
                target,
                retention,
                bypass_governance,
            })
            .await
    }

    /// # Errors
    /// `NoObjectLock`, `NoSuchLock`, and those of finding the version.
    pub async fn legal_hold(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<bool, ServiceError> {
        let home = self.inner.allowed_object(caller, Action::GetObjectLegalHold, (bucket, key)).await?;
        let lock = self.inner.lock_of(&home, key, version).await?;
        lock.legal_hold.ok_or_else(|| ServiceError::NoSuchLock { key: key.clone() })
    }

    /// # Errors
    /// `NoObjectLock`, and those of finding the version.
    pub async fn set_legal_hold(
        &self,
        caller: &Caller,
        (bucket, key): (&BucketName, &ObjectKey),
        version: Option<VersionId>,
        legal_hold: bool,
    ) -> Result<(), ServiceError> {
        let home = self.inner.allowed_object(caller, Action::PutObjectLegalHold, (bucket, key)).await?;
        self.inner
            .set_lock(&home, key, version, |target| Commit::SetLegalHold {
                bucket: home.id,
                key: key.clone(),
                target,
                legal_hold,
            })
            .await
    }
}

impl Inner {
    /// Whether a write to the bucket may ask for this lock. The commit asks again; this is before a body is read.
    pub(super) fn check_lock(
        &self,
        caller: &Caller,
        home: &Bucket,
        key: &ObjectKey,
        asked: ObjectLock,
    ) -> Result<(), ServiceError> {
        let may = |action| authorize_in(caller, action, Resource::Object(&home.name, key), Some(home));
        if asked.retention.is_some() {
            may(Action::PutObjectRetention)?;
        }
        if asked.legal_hold.is_some() {
            may(Action::PutObjectLegalHold)?;
        }
        if !asked.is_unset() {
            check_has_lock(home)?;
        }
        self.check_until(UNTIL_HEADER, asked.retention)
    }

    /// By the clock that clients are compared with. The commit compares with the one that locks go by.
    fn check_until(&self, name: &'static str, retention: Option<Retention>) -> Result<(), ServiceError> {
        match retention.map(|retention| retention.until) {
            Some(until) if until <= self.clock.now() => Err(past_date(name, until)),
            _ => Ok(()),
        }
    }

    async fn lock_of(
        &self,
        home: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<ObjectLock, ServiceError> {
        check_has_lock(home)?;
        Ok(self.find(home, key, version).await?.1.lock)
    }

    async fn set_lock(
        &self,
        home: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        commit: impl FnOnce(VersionTarget) -> Commit,
    ) -> Result<(), ServiceError> {
        let target = version.map_or(VersionTarget::Current, VersionTarget::Version);
        match self.commit(commit(target)).await {
            Ok(Outcome::Changed { .. }) => Ok(()),
            Ok(_) => Err(WRONG_OUTCOME),
            // A read says the same, with all that the answer names.
            Err(CommitError::NoSuchKey | CommitError::IsDeleteMarker) => {
                self.find(home, key, version).await?;
                Err(ServiceError::Busy("the object is being replaced"))
            }
            Err(CommitError::RetentionOver(until)) => Err(past_date(UNTIL_ELEMENT, until)),
            Err(error) => Err(Target { bucket: &home.name, key, condition: "" }.error(error)),
        }
    }
}

fn check_has_lock(home: &Bucket) -> Result<(), ServiceError> {
    if home.lock.is_some() { Ok(()) } else { Err(ServiceError::NoObjectLock { bucket: home.name.clone() }) }
}

/// What a reader of the object may see of its lock.
pub(super) fn visible_lock(caller: &Caller, home: &Bucket, key: &ObjectKey, lock: ObjectLock) -> ObjectLock {
    let may = |action| authorize_in(caller, action, Resource::Object(&home.name, key), Some(home)).is_ok();
    ObjectLock {
        retention: lock.retention.filter(|_| may(Action::GetObjectRetention)),
        legal_hold: lock.legal_hold.filter(|_| may(Action::GetObjectLegalHold)),
    }
}
