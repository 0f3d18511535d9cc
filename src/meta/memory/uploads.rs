//! Uploads in the model, from their beginning to the version that they become.

use super::rows::{Part, Upload, Version};
use super::state::{Draft, State};
use crate::meta::commit::{check_asked_lock, lock_of_new};
use crate::meta::log::MANIFESTS_PER_RECORD;
use crate::meta::times::Times;
use crate::meta::{
    Change, CommitError, LoggedPart, LoggedUpload, NewObject, NewPart, NewUpload, Outcome, WriteCondition,
};
use crate::types::{BucketId, CommitSeq, Namespace, ObjectKey, PartNumber, UploadId, row_key};
use std::collections::BTreeMap;

impl State {
    pub(super) fn create_upload(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        upload: NewUpload,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        check_asked_lock(self.home(bucket)?.lock, upload.lock, draft.times)?;
        self.begin_upload(bucket, key, upload, draft)
    }

    pub(super) fn begin_upload(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        upload: NewUpload,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
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

    pub(super) fn put_part(
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

    pub(super) fn complete_upload(
        &mut self,
        id: UploadId,
        parts: &[(PartNumber, CommitSeq)],
        object: NewObject,
        condition: WriteCondition,
        draft: Draft,
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
        self.complete_checked(&row, NewObject { lock, ..object }, draft)
    }

    /// Turns an upload into a version with its lock.
    pub(super) fn complete_checked(
        &mut self,
        row: &[u8],
        object: NewObject,
        mut draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let upload = &self.uploads.get(row).ok_or(CommitError::NoSuchUpload)?.logged;
        let (id, bucket, key) = (upload.id, upload.bucket, upload.key.clone());
        let versioning = self.home(bucket)?.versioning;
        self.check_body(&object.body)?;
        draft.upload = Some(id);
        let (version, replaced) = self.write(bucket, &key, versioning, Some(object), &mut draft);
        let outcome = Outcome::Written { id: version.id, seq: draft.seq, modified: draft.at };
        self.record(draft, Change::UploadCompleted { upload: id, bucket, key, version, replaced });
        self.drop_upload(row);
        Ok(outcome)
    }

    pub(super) fn abort_upload(
        &mut self,
        id: UploadId,
        rules_as_of: Option<CommitSeq>,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let row = self.upload_row(id).ok_or(CommitError::NoSuchUpload)?;
        let open = self.uploads.get(&row).ok_or(CommitError::NoSuchUpload)?;
        self.rules.check(open.logged.bucket, rules_as_of)?;
        self.record(draft, Change::UploadAborted { upload: id });
        self.drop_upload(&row);
        Ok(Outcome::Done)
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

    pub(super) fn upload_row(&self, id: UploadId) -> Option<Vec<u8>> {
        self.uploads.iter().find(|(_, upload)| upload.logged.id == id).map(|(row, _)| row.clone())
    }
}
