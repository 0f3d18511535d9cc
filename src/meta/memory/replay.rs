//! Records of another store's log in the model.

use super::state::{Draft, State};
use crate::meta::replay::{self, ALONE, ANOTHER, DIFFERS, refused};
use crate::meta::times::Times;
use crate::meta::{
    Bucket, Change, CommitError, DeleteCondition, LogRecord, LoggedUpload, LoggedVersion, NewObject,
    NewUpload, Outcome, VersionTarget,
};
use crate::types::{BucketId, ObjectKey, UploadId, VersionId};
use std::sync::Arc;

impl State {
    /// As `meta::replay` has it.
    pub(super) fn replay(&mut self, record: &LogRecord, now: Times) -> Result<Outcome, CommitError> {
        if record.change == Change::Released && record.seq <= self.last_seq {
            self.compare(record, ANOTHER)?;
        } else {
            replay::check_place(record, self.last_seq, self.last_at)?;
            // Whether the steps do what the record says is known only behind them.
            let before = self.clone();
            let times = replay::times(record, now, self.reached);
            let draft = Draft::new(record.seq, times, replay::salt(&record.change));
            let repeated = self.repeat(record, draft).and_then(|()| self.compare(record, DIFFERS));
            if let Err(error) = repeated {
                *self = before;
                return Err(replay::refuse(record.seq, error));
            }
        }
        Ok(Outcome::Replayed { through: self.last_seq })
    }

    fn compare(&self, record: &LogRecord, why: &str) -> Result<(), CommitError> {
        let is_same = self.log.get(&record.seq).is_some_and(|found| replay::agree(found, record));
        if is_same { Ok(()) } else { Err(refused(record.seq, why)) }
    }

    fn repeat(&mut self, record: &LogRecord, draft: Draft) -> Result<(), CommitError> {
        let added = &record.added;
        match record.change.clone() {
            Change::BucketCreated(bucket) => self.repeat_bucket(bucket, draft),
            Change::BucketDeleted { bucket } => self.delete_bucket(bucket, draft).map(drop),
            Change::VersioningSet { bucket, versioning } => {
                self.set_versioning(bucket, versioning, draft).map(drop)
            }
            Change::BucketSet { bucket, setting } => self.set_bucket(bucket, setting, draft).map(drop),
            Change::BucketLocked { bucket, lock } => self.lock_bucket(bucket, lock, draft).map(drop),
            Change::VersionPut { bucket, key, version, .. } => {
                let draft = Draft { replica_of: version.replica_of.clone(), ..draft };
                self.put_on_top(bucket, key, replay::object(&version, added), draft).map(drop)
            }
            Change::VersionDeleted { bucket, key, id } => self.repeat_delete((bucket, key), id, draft),
            Change::VersionTagged { bucket, key, id, tags } => {
                self.set_tags((bucket, key), VersionTarget::Version(id), tags, draft).map(drop)
            }
            Change::VersionTransitioned { bucket, key, id, storage_class } => {
                let condition = DeleteCondition::default();
                self.transition((bucket, key), id, &condition, storage_class, draft).map(drop)
            }
            Change::VersionLocked { bucket, key, id, lock } => {
                let target = VersionTarget::Version(id);
                self.set_lock((bucket, key), target, draft, |_| Ok(lock)).map(drop)
            }
            Change::BodyReplaced { bucket, key, id, body } => {
                self.replace_body((bucket, key), id, replay::body(body, added), draft).map(drop)
            }
            Change::UploadCreated(logged) => {
                let LoggedUpload { id, bucket, key, attributes, checksum, tags, lock } = logged;
                let upload = NewUpload { id, attributes, checksum, tags, lock };
                self.home(bucket)?;
                self.begin_upload(bucket, key, upload, draft).map(drop)
            }
            Change::PartPut { upload, part } => {
                self.put_part(upload, part.number, replay::part(&part, added), draft).map(drop)
            }
            Change::UploadCompleted { upload, version, .. } => {
                self.repeat_completion(upload, &version, record, draft)
            }
            Change::UploadAborted { upload } => self.abort_upload(upload, None, draft).map(drop),
            Change::Released => Err(refused(record.seq, ALONE)),
            Change::Mark => {
                self.record(draft, Change::Mark);
                Ok(())
            }
        }
    }

    fn repeat_bucket(&mut self, bucket: Bucket, draft: Draft) -> Result<(), CommitError> {
        let Bucket { name, owner, lock, settings, .. } = bucket;
        let settings = Arc::unwrap_or_clone(settings);
        self.create_bucket((name, owner), lock.is_some(), settings, draft).map(drop)
    }

    fn repeat_delete(
        &mut self,
        (bucket, key): (BucketId, ObjectKey),
        id: VersionId,
        mut draft: Draft,
    ) -> Result<(), CommitError> {
        self.remove(bucket, &key, id, &mut draft).ok_or(CommitError::NoSuchKey)?;
        self.record(draft, Change::VersionDeleted { bucket, key, id });
        Ok(())
    }

    fn repeat_completion(
        &mut self,
        id: UploadId,
        version: &LoggedVersion,
        record: &LogRecord,
        draft: Draft,
    ) -> Result<(), CommitError> {
        let row = self.upload_row(id).ok_or(CommitError::NoSuchUpload)?;
        let object: NewObject = replay::object(version, &record.added).ok_or(CommitError::IsDeleteMarker)?;
        self.complete_checked(&row, object, draft).map(drop)
    }
}
