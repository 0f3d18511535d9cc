//! Versions in the writer's transaction: putting one on top of a key, and taking one away.

use super::apply::{Draft, Session};
use super::bodies::Holding;
use super::buckets::Home;
use super::columns::{
    DELETE_MARKER, blob, checksum_bytes, etag, etag_bytes, millis, optional_blob, pack, pack_attributes,
    pack_lock, pack_tags, seq, unpack_or_default,
};
use super::read::{first, null_row};
use super::sql;
use crate::meta::commit::{Facts, check_asked_lock, lock_of_new};
use crate::meta::{
    Above, Change, CommitError, DeleteCondition, LoggedObject, LoggedVersion, MetaError, NewObject, Outcome,
    VersionTarget, WriteCondition,
};
use crate::types::{
    Attributes, BucketId, CommitSeq, ETag, Namespace, ObjectKey, ObjectLock, PlainId, UnixMillis, UploadId,
    VersionId, Versioning, object_prefix, object_prefix_end, row_key,
};
use rusqlite::{Row, params};

/// A key that a command writes to.
#[derive(Debug)]
pub(super) struct Place {
    pub bucket: BucketId,
    pub key: ObjectKey,
    home: Home,
    /// The bounds of the key's rows.
    start: Vec<u8>,
    end: Vec<u8>,
    current: Option<HeldVersion>,
}

impl Place {
    pub(super) const fn has_lock(&self) -> bool {
        self.home.lock.is_some()
    }

    /// `None` without an object or with a delete marker.
    pub(super) fn current_etag(&self) -> Result<Option<ETag>, MetaError> {
        let bytes = self.current.as_ref().and_then(|current| current.etag.as_deref());
        bytes.map(etag).transpose()
    }
}

/// A version's row, as far as commands need it.
#[derive(Debug, Clone)]
pub(super) struct HeldVersion {
    pub row: Vec<u8>,
    salt: Option<i64>,
    etag: Option<Vec<u8>>,
    holding: Holding,
    modified: UnixMillis,
    pub lock: ObjectLock,
    seq: CommitSeq,
}

impl HeldVersion {
    pub(super) const fn id(&self) -> VersionId {
        match self.salt {
            None => VersionId::Null,
            Some(salt) => VersionId::Id { seq: self.seq, salt: salt.cast_unsigned() },
        }
    }

    pub(super) const fn holding(&self) -> &Holding {
        &self.holding
    }

    pub(super) fn is_stored_whole(&self, seq: CommitSeq, plain: PlainId) -> bool {
        self.seq == seq && self.holding.plain() == Some(plain)
    }

    pub(super) const fn is_marker(&self) -> bool {
        self.holding.kind == DELETE_MARKER
    }
}

fn held_version(row: &Row<'_>) -> Result<HeldVersion, MetaError> {
    Ok(HeldVersion {
        row: blob(row, 0)?.to_vec(),
        salt: row.get(1)?,
        etag: optional_blob(row, 2)?.map(<[u8]>::to_vec),
        holding: Holding::read(row, 3)?,
        modified: millis(row, 8)?,
        lock: unpack_or_default(optional_blob(row, 9)?)?,
        seq: seq(row, 10)?,
    })
}

impl Session<'_> {
    pub(super) fn put_version(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        object: NewObject,
        condition: WriteCondition,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let place = self.place(bucket, key)?;
        condition.check(place.current_etag()?)?;
        self.check_body(&object.body)?;
        check_asked_lock(place.home.lock, object.lock, draft.times)?;
        let (at, seq) = (draft.at, draft.seq);
        let id = self.put_on_top(place, Some(object), draft)?;
        Ok(Outcome::Written { id, seq, modified: at })
    }

    /// Puts an object, or a delete marker (`None`), on top of its key, as a command of its own.
    pub(super) fn put_on_top(
        &mut self,
        mut place: Place,
        object: Option<NewObject>,
        mut draft: Draft,
    ) -> Result<VersionId, CommitError> {
        let (version, replaced) = self.write(&mut place, object, &mut draft)?;
        let (id, bucket, key) = (version.id, place.bucket, place.key);
        self.record(&draft, &Change::VersionPut { bucket, key, version, replaced })?;
        Ok(id)
    }

    pub(super) fn delete_version(
        &mut self,
        (bucket, key): (BucketId, ObjectKey),
        target: VersionTarget,
        condition: &DeleteCondition,
        bypass_governance: bool,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let mut place = self.place(bucket, key)?;
        self.rules.check(bucket, condition.rules_as_of)?;
        let id = match target {
            VersionTarget::Version(id) => id,
            VersionTarget::Current if place.home.versioning == Versioning::Unversioned => VersionId::Null,
            VersionTarget::Current => return self.mark_deleted(place, condition, draft),
        };
        let found = self.find(&mut place, id)?;
        let facts = found.as_ref().map(|found| self.facts(&place, found, condition));
        condition.check(facts.transpose()?.as_ref())?;
        let Some(found) = found else { return Ok(Outcome::Deleted { id: None, delete_marker: false }) };
        if found.lock.protects(draft.times.locks, bypass_governance) {
            return Err(CommitError::Locked);
        }
        self.delete_found(place, &found, draft)?;
        Ok(Outcome::Deleted { id: Some(id), delete_marker: found.is_marker() })
    }

    /// Takes a version away for good, as a command of its own.
    pub(super) fn delete_found(
        &mut self,
        place: Place,
        found: &HeldVersion,
        mut draft: Draft,
    ) -> Result<(), CommitError> {
        self.drop_version(&place, found, &mut draft)?;
        // What stood below the removed one may be the current object now.
        if place.home.versioning != Versioning::Unversioned {
            self.db.prepare_cached(sql::LIST_NEWEST)?.execute(params![place.start, place.end])?;
        }
        let Place { bucket, key, .. } = place;
        self.record(&draft, &Change::VersionDeleted { bucket, key, id: found.id() })
    }

    /// Deletes the current version of a bucket with versioning: everything stays, below a delete marker.
    fn mark_deleted(
        &mut self,
        place: Place,
        condition: &DeleteCondition,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let current = place.current.as_ref().map(|current| self.facts(&place, current, condition));
        condition.check(current.transpose()?.as_ref())?;
        let id = Some(self.put_on_top(place, None, draft)?);
        Ok(Outcome::Deleted { id, delete_marker: true })
    }

    /// What a condition looks at; what costs a look of its own, only if it does.
    pub(super) fn facts(
        &self,
        place: &Place,
        held: &HeldVersion,
        condition: &DeleteCondition,
    ) -> Result<Facts, MetaError> {
        let tags = match &condition.tags {
            Some(_) if !held.is_marker() => {
                first(self.db, sql::TAGS_OF, &[&held.row], |row| unpack_or_default(optional_blob(row, 0)?))?
            }
            _ => None,
        };
        let above = match condition.above {
            Above::Anything => None,
            Above::Nothing | Above::Version(_) => {
                first(self.db, sql::ABOVE, &[&place.start, &held.row], |row| seq(row, 0))?
            }
        };
        let newer = match condition.newer {
            Some(most @ 1..) => {
                let is_there =
                    first(self.db, sql::NEWER, &[&place.start, &held.row, &(most - 1)], |_| Ok(()))?;
                is_there.map_or(0, |()| most)
            }
            _ => 0,
        };
        let etag = held.etag.as_deref().map(etag).transpose()?;
        let HeldVersion { modified, seq, .. } = *held;
        Ok(Facts { etag, size: held.holding.size, modified, seq, tags, above, newer })
    }

    /// Where a command will write: its bucket must be there.
    pub(super) fn place(&mut self, bucket: BucketId, key: ObjectKey) -> Result<Place, CommitError> {
        let home = self.home(bucket)?;
        let start = object_prefix(Namespace::Versions, bucket, key.as_bytes());
        let end = object_prefix_end(Namespace::Versions, bucket, key.as_bytes());
        let current = {
            let mut statement = self.db.prepare_cached(sql::CURRENT_HELD)?;
            let mut rows = statement.query(params![start, end])?;
            rows.next()?.map(held_version).transpose()?
        };
        Ok(Place { bucket, key, home, start, end, current })
    }

    /// Puts an object, or a delete marker (`None`), on top of a key. Without versioning, or with it suspended,
    /// it becomes the null version and replaces the one before.
    pub(super) fn write(
        &mut self,
        place: &mut Place,
        object: Option<NewObject>,
        draft: &mut Draft,
    ) -> Result<(LoggedVersion, Option<VersionId>), CommitError> {
        let id = match place.home.versioning {
            Versioning::Enabled => VersionId::Id { seq: draft.seq, salt: draft.salt },
            Versioning::Unversioned | Versioning::Suspended => VersionId::Null,
        };
        let mut held = None;
        let mut logged = None;
        if let Some(NewObject { body, size, etag, checksum, attributes, parts, tags, lock }) = object {
            let lock = lock_of_new(place.home.lock, lock, draft.times)?;
            let body = held.insert(self.hold(body, size, draft)?).logged.clone();
            logged = Some(LoggedObject { body, size, etag, checksum, attributes, parts, tags, lock });
            self.state.totals.versions += 1;
        } else {
            self.state.totals.delete_markers += 1;
        }
        let replaced = match id {
            VersionId::Null => self.remove(place, id, draft)?.map(|_| id),
            VersionId::Id { .. } => None,
        };
        // What is still there of the key is below the new version.
        if let Some(current) = place.current.take().filter(|current| current.holding.kind != DELETE_MARKER) {
            self.db.prepare_cached(sql::UNLIST)?.execute([current.row])?;
        }
        let salt = match id {
            VersionId::Null => None,
            VersionId::Id { salt, .. } => Some(salt.cast_signed()),
        };
        let replica_of = if logged.is_none() { draft.replica_of.take() } else { None };
        let of_marker = Attributes { replica_of, ..Attributes::default() };
        let object = logged.as_ref();
        self.db.prepare_cached(sql::ADD_VERSION)?.execute(params![
            row_key(Namespace::Versions, place.bucket, place.key.as_bytes(), !draft.seq.get()),
            draft.seq.get().cast_signed(),
            salt,
            (place.home.versioning == Versioning::Suspended).then_some(1),
            draft.at.get(),
            held.as_ref().map_or(DELETE_MARKER, |held| held.kind),
            object.map_or(0, |object| object.size.cast_signed()),
            object.map(|object| etag_bytes(&object.etag)),
            object.and_then(|object| object.checksum.as_ref()).map(checksum_bytes),
            pack_attributes(object.map_or(&of_marker, |object| &object.attributes))?,
            object.filter(|object| !object.parts.is_empty()).map(|object| pack(&object.parts)).transpose()?,
            held.as_ref().and_then(|held| held.manifest),
            held.as_ref().and_then(super::bodies::Held::bytes),
            object.map(|_| 1),
            draft.upload.as_ref().map(UploadId::as_bytes),
            object.map(|object| pack_tags(&object.tags)).transpose()?.flatten(),
            object.map(|object| pack_lock(&object.lock)).transpose()?.flatten(),
        ])?;
        self.touched.push(place.start.clone());
        Ok((LoggedVersion { id, object: logged, replica_of: of_marker.replica_of }, replaced))
    }

    /// Makes room for a new null version. Under object lock versioning cannot be off, so nothing locked goes here.
    fn remove(
        &mut self,
        place: &mut Place,
        id: VersionId,
        draft: &mut Draft,
    ) -> Result<Option<HeldVersion>, CommitError> {
        let Some(held) = self.find(place, id)? else { return Ok(None) };
        self.drop_version(place, &held, draft)?;
        Ok(Some(held))
    }

    fn drop_version(
        &mut self,
        place: &Place,
        held: &HeldVersion,
        draft: &mut Draft,
    ) -> Result<(), CommitError> {
        self.db.prepare_cached(sql::DROP_VERSION)?.execute([&held.row])?;
        self.db.prepare_cached(sql::DROP_REPLICAS)?.execute([&held.row])?;
        if held.is_marker() {
            self.state.totals.delete_markers -= 1;
        } else {
            self.state.totals.versions -= 1;
            self.release(&held.holding, draft)?;
        }
        self.touched.push(place.start.clone());
        Ok(())
    }

    /// The object that a command is about.
    pub(super) fn object(
        &self,
        place: &mut Place,
        target: VersionTarget,
    ) -> Result<HeldVersion, CommitError> {
        let found = match target {
            VersionTarget::Current => place.current.take(),
            VersionTarget::Version(id) => self.find(place, id)?,
        };
        match found {
            None => Err(CommitError::NoSuchKey),
            Some(found) if found.is_marker() => Err(CommitError::IsDeleteMarker),
            Some(found) => Ok(found),
        }
    }

    /// The row cache must forget the key.
    pub(super) fn touch(&mut self, place: &Place) {
        self.touched.push(place.start.clone());
    }

    pub(super) fn find(&self, place: &mut Place, id: VersionId) -> Result<Option<HeldVersion>, MetaError> {
        let (row, salt) = match id {
            // A null version on top needs no second look-up: the common case.
            VersionId::Null if place.current.as_ref().is_none_or(|current| current.salt.is_none()) => {
                return Ok(place.current.take());
            }
            VersionId::Null => match null_row(self.db, &place.start, &place.end)? {
                Some(row) => (row, None),
                None => return Ok(None),
            },
            VersionId::Id { seq, salt } => {
                let row = row_key(Namespace::Versions, place.bucket, place.key.as_bytes(), !seq.get());
                (row, Some(salt.cast_signed()))
            }
        };
        let mut statement = self.db.prepare_cached(sql::HELD_AT)?;
        let mut rows = statement.query([row])?;
        let found = rows.next()?.map(held_version).transpose()?;
        Ok(found.filter(|found| found.salt == salt))
    }
}
