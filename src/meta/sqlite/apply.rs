//! What each command does to the tables, inside the writer's transaction. The model in `meta::memory` is the
//! specification; every check stands here in the same order.

use super::bodies::{EncodedRoot, Holding};
use super::columns::{
    announced_code, blob, checksum_bytes, etag_bytes, pack_attributes, pack_lock, pack_tags, seq,
};
use super::error::corrupt;
use super::record::{self, EncodedManifest};
use super::sql;
use super::state::State;
use super::versions::Place;
use crate::meta::commit::{TRIM_RECORDS, advanced, check_asked_lock};
use crate::meta::log::MANIFESTS_PER_RECORD;
use crate::meta::rules::RulesSet;
use crate::meta::times::Times;
use crate::meta::{
    Change, Commit, CommitError, Consumer, LoggedPart, LoggedUpload, MetaError, NewObject, NewPart,
    NewUpload, Outcome, WriteCondition,
};
use crate::types::{
    BucketId, CommitSeq, Namespace, ObjectKey, PartNumber, ReplicaOf, UnixMillis, UploadId, row_key,
};
use rusqlite::{Connection, OptionalExtension, params};

/// One transaction of the writer.
#[derive(Debug)]
pub(super) struct Session<'w> {
    pub db: &'w Connection,
    pub state: &'w mut State,
    /// The row cache's keys of everything that the transaction changes.
    pub touched: &'w mut Vec<Vec<u8>>,
    pub rules: &'w mut RulesSet,
}

/// The record of the command under way.
#[derive(Debug)]
pub(super) struct Draft {
    pub seq: CommitSeq,
    pub at: UnixMillis,
    pub times: Times,
    pub salt: u64,
    pub root: Option<EncodedRoot>,
    /// The upload that the command completes.
    pub upload: Option<UploadId>,
    /// Of the delete marker that the command writes.
    pub replica_of: Option<ReplicaOf>,
    pub added: Vec<EncodedManifest>,
    pub dropped: Vec<EncodedManifest>,
}

impl Draft {
    pub(super) const fn new(seq: CommitSeq, times: Times, salt: u64) -> Self {
        let (root, upload, replica_of, at) = (None, None, None, times.at);
        Self { seq, at, times, salt, root, upload, replica_of, added: Vec::new(), dropped: Vec::new() }
    }
}

/// An open upload's row, as far as commands need it.
pub(super) struct OpenUpload {
    row: Vec<u8>,
    seq: CommitSeq,
}

impl OpenUpload {
    pub(super) fn place(&self) -> Result<(BucketId, ObjectKey), MetaError> {
        let decoded = crate::types::decode_row_key(&self.row);
        let (_, bucket, key, _) = decoded.ok_or_else(|| corrupt("an upload's row key"))?;
        Ok((bucket, key))
    }
}

/// A part's row, as far as commands need it.
pub(super) struct HeldPart {
    number: u16,
    seq: CommitSeq,
    holding: Holding,
}

impl Session<'_> {
    pub(super) fn apply(
        &mut self,
        commit: Commit,
        root: Option<EncodedRoot>,
        times: Times,
        salt: u64,
    ) -> Result<Outcome, CommitError> {
        let times = times.not_before(self.state.last_at, self.state.reached);
        let seq = self.state.last_seq.next();
        let draft = Draft { root, ..Draft::new(seq, times, salt) };
        match commit {
            Commit::CreateBucket { name, owner, lock, settings } => {
                self.create_bucket((name, owner), lock, settings, &draft)
            }
            Commit::DeleteBucket { bucket } => self.delete_bucket(bucket, &draft),
            Commit::SetVersioning { bucket, versioning } => self.set_versioning(bucket, versioning, &draft),
            Commit::SetBucket { bucket, setting } => self.set_bucket(bucket, setting, &draft),
            Commit::LockBucket { bucket, lock } => self.lock_bucket(bucket, lock, &draft),
            Commit::PutVersion { bucket, key, object, condition } => {
                self.put_version(bucket, key, object, condition, draft)
            }
            Commit::DeleteVersion { bucket, key, target, condition, bypass_governance } => {
                self.delete_version((bucket, key), target, &condition, bypass_governance, draft)
            }
            Commit::PutMarker { bucket, key, replica_of } => self.put_marker(bucket, key, replica_of, draft),
            Commit::SetTags { bucket, key, target, tags } => {
                self.set_tags((bucket, key), target, tags, &draft)
            }
            Commit::Transition { bucket, key, id, storage_class, condition } => {
                self.transition((bucket, key), id, &condition, storage_class, &draft)
            }
            Commit::ReplacePlain { place, plain, body } => self.replace_plain(place, plain, body, draft),
            Commit::SetRetention { bucket, key, target, retention, bypass_governance } => {
                self.set_retention((bucket, key), target, retention, bypass_governance, &draft)
            }
            Commit::SetLegalHold { bucket, key, target, legal_hold } => {
                self.set_legal_hold((bucket, key), target, legal_hold, &draft)
            }
            Commit::CreateUpload { bucket, key, upload } => self.create_upload(bucket, key, upload, &draft),
            Commit::PutPart { upload, number, part } => self.put_part(upload, number, part, draft),
            Commit::CompleteUpload { upload, parts, object, condition } => {
                self.complete_upload(upload, &parts, object, condition, draft)
            }
            Commit::AbortUpload { upload, rules_as_of } => self.abort_upload(upload, rules_as_of, draft),
            Commit::Mark => {
                self.record(&draft, &Change::Mark)?;
                Ok(Outcome::Marked { seq })
            }
            Commit::Replay(record) => self.replay(&record, times),
            Commit::Follow { consumer } => self.follow(consumer),
            Commit::AdvanceCursor { consumer, through } => self.advance_cursor(consumer, through),
            Commit::ForgetConsumer { consumer, at } => self.forget_consumer(consumer, at),
            Commit::Agenda(changes) => self.change_agenda(&changes),
            Commit::Replication(changes) => self.change_replication(&changes),
            Commit::TrimLog { through } => self.trim_log(through),
        }
    }

    fn create_upload(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        upload: NewUpload,
        draft: &Draft,
    ) -> Result<Outcome, CommitError> {
        let home = self.home(bucket)?;
        check_asked_lock(home.lock, upload.lock, draft.times)?;
        self.begin_upload(bucket, key, upload, draft)
    }

    pub(super) fn begin_upload(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        upload: NewUpload,
        draft: &Draft,
    ) -> Result<Outcome, CommitError> {
        if self.open_upload(upload.id)?.is_some() {
            return Err(CommitError::InvalidState("the upload id is taken"));
        }
        let NewUpload { id, attributes, checksum, tags, lock } = upload;
        let (seq, initiated) = (draft.seq, draft.at);
        self.db.prepare_cached(sql::ADD_UPLOAD)?.execute(params![
            row_key(Namespace::Uploads, bucket, key.as_bytes(), seq.get()),
            id.as_bytes(),
            seq.get().cast_signed(),
            initiated.get(),
            checksum.map(announced_code),
            pack_attributes(&attributes)?,
            pack_tags(&tags)?,
            pack_lock(&lock)?,
        ])?;
        self.state.totals.uploads += 1;
        let logged = LoggedUpload { id, bucket, key, attributes, checksum, tags, lock };
        self.record(draft, &Change::UploadCreated(logged))?;
        Ok(Outcome::Upload { seq, initiated })
    }

    pub(super) fn put_part(
        &mut self,
        id: UploadId,
        number: PartNumber,
        part: NewPart,
        mut draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let upload = self.open_upload(id)?.ok_or(CommitError::NoSuchUpload)?;
        self.check_body(&part.body)?;
        let NewPart { body, size, etag, checksum } = part;
        let held = self.hold(body, size, &mut draft)?;
        let replaced = self.part(&upload, number)?;
        let upload_seq = upload.seq.get().cast_signed();
        if let Some(replaced) = replaced {
            self.db.prepare_cached(sql::DROP_PART)?.execute(params![upload_seq, number.get()])?;
            self.state.totals.parts -= 1;
            self.release(&replaced.holding, &mut draft)?;
        }
        let (seq, modified) = (draft.seq, draft.at);
        self.db.prepare_cached(sql::ADD_PART)?.execute(params![
            upload_seq,
            number.get(),
            seq.get().cast_signed(),
            modified.get(),
            held.kind,
            size.cast_signed(),
            etag_bytes(&etag),
            checksum.as_ref().map(checksum_bytes),
            held.manifest,
            held.bytes(),
        ])?;
        self.state.totals.parts += 1;
        let part = LoggedPart { number, body: held.logged, size, etag, checksum };
        self.record(&draft, &Change::PartPut { upload: id, part })?;
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
        let upload = self.open_upload(id)?.ok_or(CommitError::NoSuchUpload)?;
        let held = self.parts(&upload)?;
        let there: std::collections::HashMap<u16, CommitSeq> =
            held.iter().map(|part| (part.number, part.seq)).collect();
        if let Some((number, _)) = parts.iter().find(|(number, seq)| there.get(&number.get()) != Some(seq)) {
            return Err(CommitError::PartGone(*number));
        }
        let (bucket, key) = upload.place()?;
        let place = self.place(bucket, key)?;
        condition.check(place.current_etag()?)?;
        self.check_body(&object.body)?;
        draft.upload = Some(id);
        self.complete_at(place, (&upload, held), object, draft)
    }

    /// Turns an upload with its parts into a version. The draft names it.
    pub(super) fn complete_at(
        &mut self,
        mut place: Place,
        (upload, parts): (&OpenUpload, Vec<HeldPart>),
        object: NewObject,
        mut draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let id = draft.upload.ok_or(CommitError::NoSuchUpload)?;
        let (version, replaced) = self.write(&mut place, Some(object), &mut draft)?;
        let outcome = Outcome::Written { id: version.id, seq: draft.seq, modified: draft.at };
        let Place { bucket, key, .. } = place;
        self.record(&draft, &Change::UploadCompleted { upload: id, bucket, key, version, replaced })?;
        self.drop_upload(upload, parts, draft)?;
        Ok(outcome)
    }

    pub(super) fn abort_upload(
        &mut self,
        id: UploadId,
        rules_as_of: Option<CommitSeq>,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let upload = self.open_upload(id)?.ok_or(CommitError::NoSuchUpload)?;
        self.rules.check(upload.place()?.0, rules_as_of)?;
        self.record(&draft, &Change::UploadAborted { upload: id })?;
        let parts = self.parts(&upload)?;
        self.drop_upload(&upload, parts, draft)?;
        Ok(Outcome::Done)
    }

    fn follow(&mut self, consumer: Consumer) -> Result<Outcome, CommitError> {
        let known = found_cursor(self.db, consumer)?;
        let from = known.unwrap_or(self.state.last_seq);
        if known.is_none() {
            self.set_cursor(consumer, from)?;
        }
        Ok(Outcome::Follows { from })
    }

    fn advance_cursor(&mut self, consumer: Consumer, through: CommitSeq) -> Result<Outcome, CommitError> {
        let known = found_cursor(self.db, consumer)?;
        let furthest = advanced(consumer, known, through, self.state.last_seq)?;
        self.set_cursor(consumer, furthest)?;
        Ok(Outcome::Done)
    }

    fn set_cursor(&mut self, consumer: Consumer, at: CommitSeq) -> Result<(), MetaError> {
        let at = at.get().cast_signed();
        self.db.prepare_cached(sql::SET_CURSOR)?.execute(params![consumer.name(), at])?;
        Ok(())
    }

    fn forget_consumer(&mut self, consumer: Consumer, at: Option<CommitSeq>) -> Result<Outcome, CommitError> {
        if consumer == Consumer::ChunkIndex {
            return Err(CommitError::InvalidState("the chunk index always follows the log"));
        }
        if at.is_some() && found_cursor(self.db, consumer)? != at {
            return Err(CommitError::ConditionFailed);
        }
        self.db.prepare_cached(sql::DROP_CURSOR)?.execute([consumer.name()])?;
        Ok(Outcome::Done)
    }

    fn trim_log(&mut self, through: CommitSeq) -> Result<Outcome, CommitError> {
        let mut through = through;
        for consumer in Consumer::ALL {
            let cursor = found_cursor(self.db, consumer)?;
            let holds_back = consumer == Consumer::ChunkIndex || cursor.is_some();
            through = if holds_back { through.min(cursor.unwrap_or_default()) } else { through };
        }
        let bounds = [through.get().cast_signed(), TRIM_RECORDS.cast_signed() - 1];
        let records = self.db.prepare_cached(sql::TRIM)?.execute(bounds)? as u64;
        Ok(Outcome::Trimmed { records })
    }

    /// Appends the command's record: from here on it has happened.
    pub(super) fn record(&mut self, draft: &Draft, change: &Change) -> Result<(), CommitError> {
        let record = record::encode(change, &draft.added, &draft.dropped)?;
        let seq = draft.seq.get().cast_signed();
        self.db.prepare_cached(sql::ADD_CHANGE)?.execute(params![seq, draft.at.get(), record])?;
        self.state.last_seq = draft.seq;
        self.state.last_at = draft.at;
        self.state.reached = draft.times.locks;
        Ok(())
    }

    pub(super) fn open_upload(&self, id: UploadId) -> Result<Option<OpenUpload>, MetaError> {
        let mut statement = self.db.prepare_cached(sql::UPLOAD)?;
        let mut rows = statement.query([id.as_bytes()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(OpenUpload { row: blob(row, 0)?.to_vec(), seq: seq(row, 1)? }))
    }

    fn part(&self, upload: &OpenUpload, number: PartNumber) -> Result<Option<HeldPart>, MetaError> {
        let mut statement = self.db.prepare_cached(sql::PART_HELD)?;
        let mut rows = statement.query(params![upload.seq.get().cast_signed(), number.get()])?;
        rows.next()?.map(held_part).transpose()
    }

    pub(super) fn parts(&self, upload: &OpenUpload) -> Result<Vec<HeldPart>, MetaError> {
        let mut statement = self.db.prepare_cached(sql::PARTS_HELD)?;
        statement.query_and_then([upload.seq.get().cast_signed()], held_part)?.collect()
    }

    /// Drops an upload and its parts, behind the record of the command that does it. The manifests that go with
    /// them follow in records of their own, so that no record and no batch of them grows with the upload.
    fn drop_upload(
        &mut self,
        upload: &OpenUpload,
        parts: Vec<HeldPart>,
        mut draft: Draft,
    ) -> Result<(), CommitError> {
        self.db.prepare_cached(sql::DROP_PARTS)?.execute([upload.seq.get().cast_signed()])?;
        self.db.prepare_cached(sql::DROP_UPLOAD)?.execute([&upload.row])?;
        self.state.totals.parts -= parts.len() as u64;
        self.state.totals.uploads -= 1;
        draft.added.clear();
        draft.dropped.clear();
        for part in parts {
            self.release(&part.holding, &mut draft)?;
            if draft.dropped.len() >= MANIFESTS_PER_RECORD {
                self.record_released(&mut draft)?;
            }
        }
        if draft.dropped.is_empty() { Ok(()) } else { self.record_released(&mut draft) }
    }

    fn record_released(&mut self, draft: &mut Draft) -> Result<(), CommitError> {
        draft.seq = draft.seq.next();
        self.record(draft, &Change::Released)?;
        draft.dropped.clear();
        Ok(())
    }
}

fn held_part(row: &rusqlite::Row<'_>) -> Result<HeldPart, MetaError> {
    Ok(HeldPart { number: row.get(0)?, seq: seq(row, 1)?, holding: Holding::read(row, 2)? })
}

pub(super) fn found_cursor(db: &Connection, consumer: Consumer) -> Result<Option<CommitSeq>, MetaError> {
    let mut statement = db.prepare_cached(sql::CURSOR)?;
    let seq: Option<i64> = statement.query_row([consumer.name()], |row| row.get(0)).optional()?;
    Ok(seq.map(|seq| CommitSeq::new(seq.cast_unsigned())))
}
