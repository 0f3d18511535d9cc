//! Tags and locks of versions that are there, in the writer's transaction.

use super::apply::{Draft, Session};
use super::columns::{pack_lock, pack_tags};
use super::sql;
use super::versions::{HeldVersion, Place};
use crate::meta::commit::check_asked_retention;
use crate::meta::{Change, CommitError, Outcome, VersionTarget};
use crate::types::{BucketId, ObjectKey, ObjectLock, Retention, TagSet};
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

    fn lockable(
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

    fn set_lock(
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
