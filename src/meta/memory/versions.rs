//! Versions in the model: putting one on top of a key, and taking one away.

use super::rows::Version;
use super::state::{Draft, State};
use crate::meta::commit::{Facts, check_asked_lock, lock_of_new};
use crate::meta::{
    Change, CommitError, DeleteCondition, LoggedObject, LoggedVersion, NewObject, Outcome, VersionTarget,
    WriteCondition,
};
use crate::types::{
    BucketId, CommitSeq, Namespace, ObjectKey, VersionId, Versioning, object_prefix, object_prefix_end,
    row_key,
};

impl State {
    pub(super) fn put_version(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        object: NewObject,
        condition: WriteCondition,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let home = self.home(bucket)?;
        condition.check(self.current(bucket, &key).and_then(Version::etag))?;
        self.check_body(&object.body)?;
        check_asked_lock(home.lock, object.lock, draft.times)?;
        let lock = lock_of_new(home.lock, object.lock, draft.times)?;
        let (seq, modified) = (draft.seq, draft.at);
        let id = self.put_on_top(bucket, key, Some(NewObject { lock, ..object }), draft)?;
        Ok(Outcome::Written { id, seq, modified })
    }

    /// Puts an object with its lock, or a delete marker (`None`), on top of a key, as a command of its own.
    pub(super) fn put_on_top(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        object: Option<NewObject>,
        mut draft: Draft,
    ) -> Result<VersionId, CommitError> {
        let versioning = self.home(bucket)?.versioning;
        if let Some(object) = &object {
            self.check_body(&object.body)?;
        }
        let (version, replaced) = self.write(bucket, &key, versioning, object, &mut draft);
        let id = version.id;
        self.record(draft, Change::VersionPut { bucket, key, version, replaced });
        Ok(id)
    }

    pub(super) fn delete_version(
        &mut self,
        (bucket, key): (BucketId, ObjectKey),
        target: VersionTarget,
        condition: &DeleteCondition,
        bypass_governance: bool,
        mut draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let versioning = self.home(bucket)?.versioning;
        self.rules.check(bucket, condition.rules_as_of)?;
        let id = match target {
            VersionTarget::Version(id) => id,
            VersionTarget::Current if versioning == Versioning::Unversioned => VersionId::Null,
            VersionTarget::Current => {
                let current = self.current(bucket, &key).map(|version| version.facts(&[]));
                condition.check(current.as_ref())?;
                let id = Some(self.put_on_top(bucket, key, None, draft)?);
                return Ok(Outcome::Deleted { id, delete_marker: true });
            }
        };
        condition.check(self.facts(bucket, &key, id).as_ref())?;
        let found = self.find(bucket, key.as_bytes(), id).map(|(_, version)| version);
        let lock = found.and_then(|version| version.logged.object.as_ref()).map(|object| object.lock);
        if lock.is_some_and(|lock| lock.protects(draft.times.locks, bypass_governance)) {
            return Err(CommitError::Locked);
        }
        let Some(removed) = self.remove(bucket, &key, id, &mut draft) else {
            return Ok(Outcome::Deleted { id: None, delete_marker: false });
        };
        self.record(draft, Change::VersionDeleted { bucket, key, id });
        Ok(Outcome::Deleted { id: Some(id), delete_marker: removed.logged.object.is_none() })
    }

    /// Puts an object, or a delete marker (`None`), on top of a key. Without versioning, or with it suspended,
    /// it becomes the null version and replaces the one before.
    pub(super) fn write(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        versioning: Versioning,
        object: Option<NewObject>,
        draft: &mut Draft,
    ) -> (LoggedVersion, Option<VersionId>) {
        let id = match versioning {
            Versioning::Enabled => VersionId::Id { seq: draft.seq, salt: draft.salt },
            Versioning::Unversioned | Versioning::Suspended => VersionId::Null,
        };
        let object = object.map(|object| LoggedObject {
            body: self.hold(object.body, draft),
            size: object.size,
            etag: object.etag,
            checksum: object.checksum,
            attributes: object.attributes,
            parts: object.parts,
            tags: object.tags,
            lock: object.lock,
        });
        let replaced = match id {
            VersionId::Null => self.remove(bucket, key, id, draft).map(|_| id),
            VersionId::Id { .. } => None,
        };
        let replica_of = if object.is_none() { draft.replica_of.take() } else { None };
        let logged = LoggedVersion { id, object, replica_of };
        let row = row_key(Namespace::Versions, bucket, key.as_bytes(), !draft.seq.get());
        let version =
            Version { seq: draft.seq, modified: draft.at, logged: logged.clone(), upload: draft.upload };
        self.versions.insert(row, version);
        (logged, replaced)
    }

    pub(super) fn remove(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        id: VersionId,
        draft: &mut Draft,
    ) -> Option<Version> {
        let row = self.find(bucket, key.as_bytes(), id).map(|(row, _)| row.clone())?;
        let removed = self.versions.remove(&row)?;
        self.replication.forget(bucket, key, removed.seq);
        if let Some(object) = &removed.logged.object {
            self.release(&object.body, draft);
        }
        Some(removed)
    }

    /// All versions of a key, newest first.
    pub(super) fn of_key(
        &self,
        bucket: BucketId,
        key: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Version)> {
        let start = object_prefix(Namespace::Versions, bucket, key);
        self.versions.range(start..object_prefix_end(Namespace::Versions, bucket, key))
    }

    pub(super) fn find(&self, bucket: BucketId, key: &[u8], id: VersionId) -> Option<(&Vec<u8>, &Version)> {
        self.of_key(bucket, key).find(|(_, version)| version.logged.id == id)
    }

    pub(super) fn current(&self, bucket: BucketId, key: &ObjectKey) -> Option<&Version> {
        self.of_key(bucket, key.as_bytes()).next().map(|(_, version)| version)
    }

    /// What conditions on a version look at.
    pub(super) fn facts(&self, bucket: BucketId, key: &ObjectKey, id: VersionId) -> Option<Facts> {
        let (_, version) = self.find(bucket, key.as_bytes(), id)?;
        Some(version.facts(&self.above(bucket, key, version.seq)))
    }

    /// The commits of the versions above another, newest first.
    fn above(&self, bucket: BucketId, key: &ObjectKey, seq: CommitSeq) -> Vec<CommitSeq> {
        let newer = self.of_key(bucket, key.as_bytes()).map(|(_, version)| version.seq);
        newer.take_while(|newer| *newer > seq).collect()
    }
}
