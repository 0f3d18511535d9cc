//! Tags, locks and storage classes of versions that are there, in the writer's transaction.

use super::apply::{Draft, Session};
use super::columns::{optional_blob, pack_attributes, pack_lock, pack_tags, unpack_or_default};
use super::error::corrupt;
use super::sql;
use super::versions::{HeldVersion, Place};
use crate::meta::commit::check_asked_retention;
use crate::meta::{Change, CommitError, DeleteCondition, MetaError, Outcome, VersionTarget};
use crate::types::{Attributes, BucketId, ObjectKey, ObjectLock, Retention, TagSet, VersionId};
use rusqlite::params;

impl Session<'_> {
    pub(super) fn set_tags(
        &mut self,
        (bucket, key): (BucketId, ObjectKey),
        target: VersionTarget,
        tags: TagSet,
        draft: &Draft,
    ) -> Result<Outcome, CommitError> {
        let mut place = self.place(bucket, key)?;
        let object = self.object(&mut place, target)?;
        self.db.prepare_cached(sql::SET_TAGS)?.execute(params![object.row, pack_tags(&tags)?])?;
        self.touch(&place);
        let id = object.id();
        self.record(draft, &Change::VersionTagged { bucket, key: place.key, id, tags })?;
        Ok(Outcome::Changed { id })
    }

    pub(super) fn transition(
        &mut self,
        (bucket, key): (BucketId, ObjectKey),
        id: VersionId,
        condition: &DeleteCondition,
        storage_class: String,
        draft: &Draft,
    ) -> Result<Outcome, CommitError> {
        let mut place = self.place(bucket, key)?;
        self.rules.check(bucket, condition.rules_as_of)?;
        let object = self.object(&mut place, VersionTarget::Version(id))?;
        condition.check(Some(&self.facts(&place, &object, condition)?))?;
        let mut attributes = self.attributes(&object)?;
        attributes.storage_class = Some(storage_class.clone());
        let packed = pack_attributes(&attributes)?;
        self.db.prepare_cached(sql::SET_ATTRIBUTES)?.execute(params![object.row, packed])?;
        self.touch(&place);
        let key = place.key;
        self.record(draft, &Change::VersionTransitioned { bucket, key, id, storage_class })?;
        Ok(Outcome::Changed { id })
    }

    fn attributes(&self, version: &HeldVersion) -> Result<Attributes, MetaError> {
        let mut statement = self.db.prepare_cached(sql::ATTRIBUTES_AT)?;
        let mut rows = statement.query([&version.row])?;
        let row = rows.next()?.ok_or_else(|| corrupt("a version went while it was written"))?;
        unpack_or_default(optional_blob(row, 0)?)
    }

    pub(super) fn set_retention(
        &mut self,
        at: (BucketId, ObjectKey),
        target: VersionTarget,
        retention: Option<Retention>,
        bypass_governance: bool,
        draft: &Draft,
    ) -> Result<Outcome, CommitError> {
        let (place, object) = self.lockable(at, target)?;
        check_asked_retention(retention, draft.times)?;
        if !object.lock.may_become(retention, draft.times.locks, bypass_governance) {
            return Err(CommitError::Locked);
        }
        let lock = ObjectLock { retention, ..object.lock };
        self.set_lock(place, &object, lock, draft)
    }

    pub(super) fn set_legal_hold(
        &mut self,
        at: (BucketId, ObjectKey),
        target: VersionTarget,
        legal_hold: bool,
        draft: &Draft,
    ) -> Result<Outcome, CommitError> {
        let (place, object) = self.lockable(at, target)?;
        let lock = ObjectLock { legal_hold: Some(legal_hold), ..object.lock };
        self.set_lock(place, &object, lock, draft)
    }

    pub(super) fn lockable(
        &mut self,
        (bucket, key): (BucketId, ObjectKey),
        target: VersionTarget,
    ) -> Result<(Place, HeldVersion), CommitError> {
        let mut place = self.place(bucket, key)?;
        if !place.has_lock() {
            return Err(CommitError::NoObjectLock);
        }
        let object = self.object(&mut place, target)?;
        Ok((place, object))
    }

    pub(super) fn set_lock(
        &mut self,
        place: Place,
        object: &HeldVersion,
        lock: ObjectLock,
        draft: &Draft,
    ) -> Result<Outcome, CommitError> {
        self.db.prepare_cached(sql::SET_LOCK)?.execute(params![object.row, pack_lock(&lock)?])?;
        self.touch(&place);
        let (id, bucket, key) = (object.id(), place.bucket, place.key);
        self.record(draft, &Change::VersionLocked { bucket, key, id, lock })?;
        Ok(Outcome::Changed { id })
    }
}
