//! Tags, locks and storage classes of the model's versions.

use super::state::{Draft, State};
use crate::meta::commit::check_asked_retention;
use crate::meta::{Change, CommitError, DeleteCondition, LoggedObject, Outcome, VersionTarget};
use crate::types::{BucketId, ObjectKey, ObjectLock, Retention, TagSet, VersionId};

impl State {
    pub(super) fn set_tags(
        &mut self,
        (bucket, key): (BucketId, ObjectKey),
        target: VersionTarget,
        tags: TagSet,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        self.home(bucket)?;
        let (id, object) = self.object(bucket, &key, target)?;
        object.tags = tags.clone();
        self.record(draft, Change::VersionTagged { bucket, key, id, tags });
        Ok(Outcome::Changed { id })
    }

    pub(super) fn transition(
        &mut self,
        (bucket, key): (BucketId, ObjectKey),
        id: VersionId,
        condition: &DeleteCondition,
        storage_class: String,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        self.home(bucket)?;
        self.rules.check(bucket, condition.rules_as_of)?;
        let facts = self.facts(bucket, &key, id);
        let (id, object) = self.object(bucket, &key, VersionTarget::Version(id))?;
        condition.check(facts.as_ref())?;
        object.attributes.storage_class = Some(storage_class.clone());
        self.record(draft, Change::VersionTransitioned { bucket, key, id, storage_class });
        Ok(Outcome::Changed { id })
    }

    pub(super) fn set_retention(
        &mut self,
        at: (BucketId, ObjectKey),
        target: VersionTarget,
        retention: Option<Retention>,
        bypass_governance: bool,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let times = draft.times;
        self.set_lock(at, target, draft, |lock| {
            check_asked_retention(retention, times)?;
            let may = lock.may_become(retention, times.locks, bypass_governance);
            if may { Ok(ObjectLock { retention, ..lock }) } else { Err(CommitError::Locked) }
        })
    }

    pub(super) fn set_legal_hold(
        &mut self,
        at: (BucketId, ObjectKey),
        target: VersionTarget,
        legal_hold: bool,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let legal_hold = Some(legal_hold);
        self.set_lock(at, target, draft, |lock| Ok(ObjectLock { legal_hold, ..lock }))
    }

    pub(super) fn set_lock(
        &mut self,
        (bucket, key): (BucketId, ObjectKey),
        target: VersionTarget,
        draft: Draft,
        change: impl FnOnce(ObjectLock) -> Result<ObjectLock, CommitError>,
    ) -> Result<Outcome, CommitError> {
        if self.home(bucket)?.lock.is_none() {
            return Err(CommitError::NoObjectLock);
        }
        let (id, object) = self.object(bucket, &key, target)?;
        object.lock = change(object.lock)?;
        let lock = object.lock;
        self.record(draft, Change::VersionLocked { bucket, key, id, lock });
        Ok(Outcome::Changed { id })
    }

    fn object(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        target: VersionTarget,
    ) -> Result<(VersionId, &mut LoggedObject), CommitError> {
        let row = match target {
            VersionTarget::Current => self.of_key(bucket, key.as_bytes()).next().map(|(row, _)| row.clone()),
            VersionTarget::Version(id) => self.find(bucket, key.as_bytes(), id).map(|(row, _)| row.clone()),
        };
        let version = row.and_then(|row| self.versions.get_mut(&row)).ok_or(CommitError::NoSuchKey)?;
        let id = version.logged.id;
        version.logged.object.as_mut().map(|object| (id, object)).ok_or(CommitError::IsDeleteMarker)
    }
}
