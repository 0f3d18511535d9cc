//! The model's state and what each commit does to it. Every command checks everything first and changes the
//! state only then: a refused one leaves no trace.

use super::agenda::Agenda;
use crate::meta::commit::{Facts, check_asked_lock, lock_of_new};
use crate::meta::log::MANIFESTS_PER_RECORD;
use crate::meta::rules::RulesSet;
use crate::meta::times::Times;
use crate::meta::{
    Bucket, Change, Commit, CommitError, Consumer, DeleteCondition, LogRecord, LoggedObject, LoggedPart,
    LoggedUpload, LoggedVersion, ManifestRow, NewBody, NewObject, NewPart, NewUpload, Outcome, Totals,
    VersionTarget, WriteCondition,
};
use crate::types::{
    Body, BucketId, BucketName, CommitSeq, ETag, Manifest, ManifestId, Namespace, ObjectKey, PartNumber,
    PlainId, UnixMillis, UploadId, VersionId, Versioning, object_prefix, object_prefix_end, row_key,
};
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Default)]
pub(super) struct State {
    pub last_seq: CommitSeq,
    last_at: UnixMillis,
    pub reached: UnixMillis,
    pub last_bucket: u32,
    pub buckets: BTreeMap<BucketName, Bucket>,
    /// By row key.
    pub versions: BTreeMap<Vec<u8>, Version>,
    /// By row key.
    pub uploads: BTreeMap<Vec<u8>, Upload>,
    pub manifests: BTreeMap<ManifestId, Counted<Manifest>>,
    pub plains: BTreeMap<PlainId, Counted<()>>,
    pub log: BTreeMap<CommitSeq, LogRecord>,
    pub cursors: HashMap<Consumer, CommitSeq>,
    pub agenda: Agenda,
    pub rules: RulesSet,
}

#[derive(Debug)]
pub(super) struct Version {
    pub seq: CommitSeq,
    pub modified: UnixMillis,
    pub logged: LoggedVersion,
    /// The upload whose completion made it.
    pub upload: Option<UploadId>,
}

impl Version {
    fn etag(&self) -> Option<ETag> {
        self.logged.object.as_ref().map(|object| object.etag)
    }

    /// `above`: the commits of the versions above it, newest first.
    fn facts(&self, above: &[CommitSeq]) -> Facts {
        let size = self.logged.object.as_ref().map_or(0, |object| object.size);
        let tags = self.logged.object.as_ref().map(|object| object.tags.clone());
        let (above, newer) = (above.last().copied(), u32::try_from(above.len()).unwrap_or(u32::MAX));
        Facts { etag: self.etag(), size, modified: self.modified, seq: self.seq, tags, above, newer }
    }
}

#[derive(Debug)]
pub(super) struct Upload {
    pub seq: CommitSeq,
    pub initiated: UnixMillis,
    pub logged: LoggedUpload,
    pub parts: BTreeMap<PartNumber, Part>,
}

#[derive(Debug)]
pub(super) struct Part {
    pub seq: CommitSeq,
    pub modified: UnixMillis,
    pub logged: LoggedPart,
}

#[derive(Debug)]
pub(super) struct Counted<T> {
    pub references: u64,
    pub value: T,
}

/// The record of the command under way.
pub(super) struct Draft {
    pub seq: CommitSeq,
    pub at: UnixMillis,
    pub times: Times,
    salt: u64,
    /// The upload that the command completes.
    upload: Option<UploadId>,
    added: Vec<ManifestRow>,
    dropped: Vec<ManifestRow>,
}

impl Draft {
    fn new(seq: CommitSeq, times: Times, salt: u64) -> Self {
        Self { seq, at: times.at, times, salt, upload: None, added: Vec::new(), dropped: Vec::new() }
    }
}

impl State {
    pub(super) fn apply(&mut self, commit: Commit, times: Times, salt: u64) -> Result<Outcome, CommitError> {
        let times = times.not_before(self.last_at, self.reached);
        let draft = Draft::new(self.last_seq.next(), times, salt);
        match commit {
            Commit::CreateBucket { name, owner, lock, settings } => {
                self.create_bucket((name, owner), lock, settings, draft)
            }
            Commit::DeleteBucket { bucket } => self.delete_bucket(bucket, draft),
            Commit::SetVersioning { bucket, versioning } => self.set_versioning(bucket, versioning, draft),
            Commit::SetBucket { bucket, setting } => self.set_bucket(bucket, setting, draft),
            Commit::LockBucket { bucket, lock } => self.lock_bucket(bucket, lock, draft),
            Commit::PutVersion { bucket, key, object, condition } => {
                self.put_version(bucket, key, object, condition, draft)
            }
            Commit::DeleteVersion { bucket, key, target, condition, bypass_governance } => {
                self.delete_version((bucket, key), target, &condition, bypass_governance, draft)
            }
            Commit::SetTags { bucket, key, target, tags } => {
                self.set_tags((bucket, key), target, tags, draft)
            }
            Commit::Transition { bucket, key, id, storage_class, condition } => {
                self.transition((bucket, key), id, &condition, storage_class, draft)
            }
            Commit::SetRetention { bucket, key, target, retention, bypass_governance } => {
                self.set_retention((bucket, key), target, retention, bypass_governance, draft)
            }
            Commit::SetLegalHold { bucket, key, target, legal_hold } => {
                self.set_legal_hold((bucket, key), target, legal_hold, draft)
            }
            Commit::CreateUpload { bucket, key, upload } => self.create_upload(bucket, key, upload, draft),
            Commit::PutPart { upload, number, part } => self.put_part(upload, number, part, draft),
            Commit::CompleteUpload { upload, parts, object, condition } => {
                self.complete_upload(upload, &parts, object, condition, draft)
            }
            Commit::AbortUpload { upload, rules_as_of } => {
                let row = self.upload_row(upload).ok_or(CommitError::NoSuchUpload)?;
                let open = self.uploads.get(&row).ok_or(CommitError::NoSuchUpload)?;
                self.rules.check(open.logged.bucket, rules_as_of)?;
                self.record(draft, Change::UploadAborted { upload });
                self.drop_upload(&row);
                Ok(Outcome::Done)
            }
            Commit::Mark => {
                let seq = draft.seq;
                self.record(draft, Change::Mark);
                Ok(Outcome::Marked { seq })
            }
            Commit::AdvanceCursor { consumer, through } => self.advance_cursor(consumer, through),
            Commit::Agenda(changes) => {
                changes.into_iter().for_each(|change| self.agenda.apply(change));
                Ok(Outcome::Done)
            }
            Commit::TrimLog { through } => {
                let others = self.cursors.values().copied().min();
                let index = self.cursor(Consumer::ChunkIndex);
                let slowest = others.map_or(index, |others| others.min(index));
                self.log = self.log.split_off(&through.min(slowest).next());
                Ok(Outcome::Done)
            }
        }
    }

    fn put_version(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        object: NewObject,
        condition: WriteCondition,
        mut draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let home = self.home(bucket)?;
        condition.check(self.current(bucket, &key).and_then(Version::etag))?;
        self.check_body(&object.body)?;
        check_asked_lock(home.lock, object.lock, draft.times)?;
        let lock = lock_of_new(home.lock, object.lock, draft.times)?;
        let object = Some(NewObject { lock, ..object });
        let (version, replaced) = self.write(bucket, &key, home.versioning, object, &mut draft);
        let outcome = Outcome::Written { id: version.id, seq: draft.seq, modified: draft.at };
        self.record(draft, Change::VersionPut { bucket, key, version, replaced });
        Ok(outcome)
    }

    fn delete_version(
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
                let (version, replaced) = self.write(bucket, &key, versioning, None, &mut draft);
                let id = Some(version.id);
                self.record(draft, Change::VersionPut { bucket, key, version, replaced });
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

    fn create_upload(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        upload: NewUpload,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        check_asked_lock(self.home(bucket)?.lock, upload.lock, draft.times)?;
        if self.upload_row(upload.id).is_some() {
            return Err(CommitError::InvalidState("the upload id is taken"));
        }
        let row = row_key(Namespace::Uploads, bucket, key.as_bytes(), draft.seq.get());
        let NewUpload { id, attributes, checksum, tags, lock } = upload;
        let logged = LoggedUpload { id, bucket, key, attributes, checksum, tags, lock };
        let (seq, initiated) = (draft.seq, draft.at);
        let upload = Upload { seq, initiated, logged: logged.clone(), parts: BTreeMap::new() };
        self.uploads.insert(row, upload);
        self.record(draft, Change::UploadCreated(logged));
        Ok(Outcome::Upload { seq, initiated })
    }

    fn put_part(
        &mut self,
        id: UploadId,
        number: PartNumber,
        part: NewPart,
        mut draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let row = self.upload_row(id).ok_or(CommitError::NoSuchUpload)?;
        self.check_body(&part.body)?;
        let body = self.hold(part.body, &mut draft);
        let logged = LoggedPart { number, body, size: part.size, etag: part.etag, checksum: part.checksum };
        let (seq, modified) = (draft.seq, draft.at);
        let part = Part { seq, modified, logged: logged.clone() };
        let replaced = self.uploads.get_mut(&row).and_then(|upload| upload.parts.insert(number, part));
        if let Some(replaced) = replaced {
            self.release(&replaced.logged.body, &mut draft);
        }
        self.record(draft, Change::PartPut { upload: id, part: logged });
        Ok(Outcome::Part { seq, modified })
    }

    fn complete_upload(
        &mut self,
        id: UploadId,
        parts: &[(PartNumber, CommitSeq)],
        object: NewObject,
        condition: WriteCondition,
        mut draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let row = self.upload_row(id).ok_or(CommitError::NoSuchUpload)?;
        let upload = self.uploads.get(&row).ok_or(CommitError::NoSuchUpload)?;
        for (number, revision) in parts {
            if upload.parts.get(number).is_none_or(|part| part.seq != *revision) {
                return Err(CommitError::PartGone(*number));
            }
        }
        let (bucket, key) = (upload.logged.bucket, upload.logged.key.clone());
        let home = self.home(bucket)?;
        condition.check(self.current(bucket, &key).and_then(Version::etag))?;
        self.check_body(&object.body)?;
        let lock = lock_of_new(home.lock, object.lock, draft.times)?;
        draft.upload = Some(id);
        let object = Some(NewObject { lock, ..object });
        let (version, replaced) = self.write(bucket, &key, home.versioning, object, &mut draft);
        let outcome = Outcome::Written { id: version.id, seq: draft.seq, modified: draft.at };
        self.record(draft, Change::UploadCompleted { upload: id, bucket, key, version, replaced });
        self.drop_upload(&row);
        Ok(outcome)
    }

    fn advance_cursor(&mut self, consumer: Consumer, through: CommitSeq) -> Result<Outcome, CommitError> {
        if through > self.last_seq {
            return Err(CommitError::InvalidState("a cursor may not pass the end of the log"));
        }
        let furthest = self.cursor(consumer).max(through);
        self.cursors.insert(consumer, furthest);
        Ok(Outcome::Done)
    }

    /// Puts an object, or a delete marker (`None`), on top of a key. Without versioning, or with it suspended,
    /// it becomes the null version and replaces the one before.
    fn write(
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
        let logged = LoggedVersion { id, object };
        let row = row_key(Namespace::Versions, bucket, key.as_bytes(), !draft.seq.get());
        let version =
            Version { seq: draft.seq, modified: draft.at, logged: logged.clone(), upload: draft.upload };
        self.versions.insert(row, version);
        (logged, replaced)
    }

    fn remove(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        id: VersionId,
        draft: &mut Draft,
    ) -> Option<Version> {
        let row = self.find(bucket, key.as_bytes(), id).map(|(row, _)| row.clone())?;
        let removed = self.versions.remove(&row)?;
        if let Some(object) = &removed.logged.object {
            self.release(&object.body, draft);
        }
        Some(removed)
    }

    /// Behind the record of the command that ends the upload.
    fn drop_upload(&mut self, row: &[u8]) {
        let parts = self.uploads.remove(row).map(|upload| upload.parts).unwrap_or_default();
        let times = Times::recorded(self.last_at, self.reached);
        let mut released = Draft::new(self.last_seq, times, 0);
        for part in parts.into_values() {
            self.release(&part.logged.body, &mut released);
        }
        for dropped in released.dropped.chunks(MANIFESTS_PER_RECORD) {
            let record = Draft::new(self.last_seq.next(), times, 0);
            self.record(Draft { dropped: dropped.to_vec(), ..record }, Change::Released);
        }
    }

    fn check_body(&self, body: &NewBody) -> Result<(), CommitError> {
        let there = match body {
            NewBody::Inline(_) | NewBody::Manifest(_) | NewBody::Plain(_) => true,
            NewBody::SharedManifest(id) => self.manifests.contains_key(id),
            NewBody::SharedPlain(id) => self.plains.contains_key(id),
        };
        if there { Ok(()) } else { Err(CommitError::BodyGone) }
    }

    /// Counts one more reference. Always before the same command's releases, so that a body dropped and taken
    /// again in one command never counts as new or as gone.
    fn hold(&mut self, body: NewBody, draft: &mut Draft) -> Body {
        match body {
            NewBody::Inline(bytes) => Body::Inline(bytes),
            NewBody::Manifest(root) => {
                let id = root.id();
                let counted = self.manifests.entry(id).or_insert_with(|| {
                    draft.added.push(ManifestRow { id, root: root.clone() });
                    Counted { references: 0, value: root }
                });
                counted.references += 1;
                Body::Chunked(id)
            }
            NewBody::SharedManifest(id) => {
                if let Some(counted) = self.manifests.get_mut(&id) {
                    counted.references += 1;
                }
                Body::Chunked(id)
            }
            NewBody::Plain(id) | NewBody::SharedPlain(id) => {
                self.plains.entry(id).or_insert(Counted { references: 0, value: () }).references += 1;
                Body::Plain(id)
            }
        }
    }

    fn release(&mut self, body: &Body, draft: &mut Draft) {
        match body {
            Body::Inline(_) => {}
            Body::Chunked(id) => {
                let Some(counted) = self.manifests.get_mut(id) else { return };
                counted.references -= 1;
                if counted.references == 0
                    && let Some(gone) = self.manifests.remove(id)
                {
                    draft.dropped.push(ManifestRow { id: *id, root: gone.value });
                }
            }
            Body::Plain(id) => {
                let Some(counted) = self.plains.get_mut(id) else { return };
                counted.references -= 1;
                if counted.references == 0 {
                    self.plains.remove(id);
                }
            }
        }
    }

    pub(super) fn record(&mut self, draft: Draft, change: Change) {
        let Draft { seq, at, times, added, dropped, .. } = draft;
        self.last_seq = seq;
        self.last_at = at;
        self.reached = times.locks;
        self.log.insert(seq, LogRecord { seq, at, change, added, dropped });
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

    pub(super) fn upload_row(&self, id: UploadId) -> Option<Vec<u8>> {
        self.uploads.iter().find(|(_, upload)| upload.logged.id == id).map(|(row, _)| row.clone())
    }

    pub(super) fn cursor(&self, consumer: Consumer) -> CommitSeq {
        self.cursors.get(&consumer).copied().unwrap_or_default()
    }

    /// Counted afresh each time.
    pub(super) fn totals(&self) -> Totals {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let objects = || self.versions.values().filter_map(|version| version.logged.object.as_ref());
        let parts = || self.uploads.values().flat_map(|upload| upload.parts.values());
        let inline = |body: &Body| if let Body::Inline(bytes) = body { count(bytes.len()) } else { 0 };
        Totals {
            buckets: count(self.buckets.len()),
            versions: count(objects().count()),
            delete_markers: count(self.versions.len() - objects().count()),
            logical_bytes: objects().map(|object| object.size).sum::<u64>()
                + parts().map(|part| part.logged.size).sum::<u64>(),
            uploads: count(self.uploads.len()),
            parts: count(parts().count()),
            manifests: count(self.manifests.len()),
            manifest_bytes: self.manifests.values().map(|counted| counted.value.size()).sum(),
            inline_bytes: objects().map(|object| inline(&object.body)).sum::<u64>()
                + parts().map(|part| inline(&part.logged.body)).sum::<u64>(),
        }
    }
}
