//! Records of another store's log in the writer's transaction.

use super::apply::{Draft, Session};
use super::columns::{blob, millis, seq};
use super::read::first;
use super::record;
use super::sql;
use crate::meta::replay::{self, ANOTHER, DIFFERS, refused};
use crate::meta::times::Times;
use crate::meta::{
    Bucket, Change, CommitError, DeleteCondition, LogRecord, LoggedUpload, LoggedVersion, MetaError,
    NewUpload, Outcome, VersionTarget,
};
use crate::types::{BucketId, CommitSeq, ObjectKey, UnixMillis, UploadId, VersionId};
use std::sync::Arc;

/// A record as it stands in the log.
type Stored = (UnixMillis, Vec<u8>);

impl Session<'_> {
    /// As `meta::replay` has it. An error half-way leaves it to the writer to undo what was done.
    pub(super) fn replay(&mut self, record: &LogRecord, now: Times) -> Result<Outcome, CommitError> {
        let expected = stored(record)?;
        if record.change == Change::Released && record.seq <= self.state.last_seq {
            self.compare(record, &expected, ANOTHER)?;
        } else {
            replay::check_place(record, self.state.last_seq, self.state.last_at)?;
            let draft = Draft::new(
                record.seq,
                replay::times(record, now, self.state.reached),
                replay::salt(&record.change),
            );
            self.repeat(record, draft).map_err(|error| replay::refuse(record.seq, error))?;
            self.compare(record, &expected, DIFFERS)?;
        }
        Ok(Outcome::Replayed { through: self.state.last_seq })
    }

    fn compare(&self, record: &LogRecord, expected: &Stored, why: &str) -> Result<(), CommitError> {
        let is_same = match self.recorded(record.seq)? {
            Some(found) if found == *expected => true,
            Some((at, bytes)) => replay::agree(&record::decode(record.seq, at, &bytes)?, record),
            None => false,
        };
        if is_same { Ok(()) } else { Err(refused(record.seq, why)) }
    }

    fn recorded(&self, at: CommitSeq) -> Result<Option<Stored>, MetaError> {
        let before = at.get().saturating_sub(1).cast_signed();
        let found = first(self.db, sql::CHANGES, &[&before, &1], |row| {
            Ok((seq(row, 0)?, (millis(row, 1)?, blob(row, 2)?.to_vec())))
        })?;
        Ok(found.filter(|(seq, _)| *seq == at).map(|(_, stored)| stored))
    }

    fn repeat(&mut self, record: &LogRecord, draft: Draft) -> Result<(), CommitError> {
        let added = &record.added;
        match record.change.clone() {
            Change::BucketCreated(bucket) => self.repeat_bucket(bucket, &draft),
            Change::BucketDeleted { bucket } => self.delete_bucket(bucket, &draft).map(drop),
            Change::VersioningSet { bucket, versioning } => {
                self.set_versioning(bucket, versioning, &draft).map(drop)
            }
            Change::BucketSet { bucket, setting } => self.set_bucket(bucket, setting, &draft).map(drop),
            Change::BucketLocked { bucket, lock } => self.lock_bucket(bucket, lock, &draft).map(drop),
            Change::VersionPut { bucket, key, version, .. } => {
                let draft = Draft { replica_of: version.replica_of.clone(), ..draft };
                let place = self.place(bucket, key)?;
                self.put_on_top(place, replay::object(&version, added), draft).map(drop)
            }
            Change::VersionDeleted { bucket, key, id } => self.repeat_delete((bucket, key), id, draft),
            Change::VersionTagged { bucket, key, id, tags } => {
                self.set_tags((bucket, key), VersionTarget::Version(id), tags, &draft).map(drop)
            }
            Change::VersionTransitioned { bucket, key, id, storage_class } => {
                let condition = DeleteCondition::default();
                self.transition((bucket, key), id, &condition, storage_class, &draft).map(drop)
            }
            Change::VersionLocked { bucket, key, id, lock } => {
                let (place, object) = self.lockable((bucket, key), VersionTarget::Version(id))?;
                self.set_lock(place, &object, lock, &draft).map(drop)
            }
            Change::BodyReplaced { bucket, key, id, body } => {
                let mut place = self.place(bucket, key)?;
                let object = self.object(&mut place, VersionTarget::Version(id))?;
                self.replace_body(place, &object, replay::body(body, added), draft).map(drop)
            }
            Change::UploadCreated(logged) => {
                let LoggedUpload { id, bucket, key, attributes, checksum, tags, lock } = logged;
                let upload = NewUpload { id, attributes, checksum, tags, lock };
                self.home(bucket)?;
                self.begin_upload(bucket, key, upload, &draft).map(drop)
            }
            Change::PartPut { upload, part } => {
                self.put_part(upload, part.number, replay::part(&part, added), draft).map(drop)
            }
            Change::UploadCompleted { upload, version, .. } => {
                self.repeat_completion(upload, &version, record, draft)
            }
            Change::UploadAborted { upload } => self.abort_upload(upload, None, draft).map(drop),
            Change::Released => Err(refused(record.seq, replay::ALONE)),
            Change::Mark => self.record(&draft, &Change::Mark),
        }
    }

    fn repeat_bucket(&mut self, bucket: Bucket, draft: &Draft) -> Result<(), CommitError> {
        let Bucket { name, owner, lock, settings, .. } = bucket;
        let settings = Arc::unwrap_or_clone(settings);
        self.create_bucket((name, owner), lock.is_some(), settings, draft).map(drop)
    }

    fn repeat_delete(
        &mut self,
        (bucket, key): (BucketId, ObjectKey),
        id: VersionId,
        draft: Draft,
    ) -> Result<(), CommitError> {
        let mut place = self.place(bucket, key)?;
        let found = self.find(&mut place, id)?.ok_or(CommitError::NoSuchKey)?;
        self.delete_found(place, &found, draft)
    }

    fn repeat_completion(
        &mut self,
        id: UploadId,
        version: &LoggedVersion,
        record: &LogRecord,
        draft: Draft,
    ) -> Result<(), CommitError> {
        let upload = self.open_upload(id)?.ok_or(CommitError::NoSuchUpload)?;
        let parts = self.parts(&upload)?;
        let object = replay::object(version, &record.added).ok_or(CommitError::IsDeleteMarker)?;
        let (bucket, key) = upload.place()?;
        let place = self.place(bucket, key)?;
        let draft = Draft { upload: Some(id), ..draft };
        self.complete_at(place, (&upload, parts), object, draft).map(drop)
    }
}

fn stored(record: &LogRecord) -> Result<Stored, MetaError> {
    Ok((record.at, record::encode_record(record)?))
}
