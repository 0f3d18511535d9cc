//! The model's state, and which job each commit is. Every command checks everything first and changes the state only
//! then: a refused one leaves no trace.

use super::agenda::Agenda;
use super::replication::Replication;
use super::rows::{Counted, Upload, Version};
use crate::meta::commit::{TRIM_RECORDS, advanced};
use crate::meta::rules::RulesSet;
use crate::meta::times::Times;
use crate::meta::{Bucket, Change, Commit, CommitError, Consumer, LogRecord, ManifestRow, Outcome};
use crate::types::{BucketName, CommitSeq, Manifest, ManifestId, PlainId, ReplicaOf, UnixMillis, UploadId};
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub last_seq: CommitSeq,
    pub last_at: UnixMillis,
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
    pub replication: Replication,
    pub rules: RulesSet,
}

/// The record of the command under way.
pub(super) struct Draft {
    pub seq: CommitSeq,
    pub at: UnixMillis,
    pub times: Times,
    pub salt: u64,
    /// The upload that the command completes.
    pub upload: Option<UploadId>,
    /// Of the delete marker that the command writes.
    pub replica_of: Option<ReplicaOf>,
    pub added: Vec<ManifestRow>,
    pub dropped: Vec<ManifestRow>,
}

impl Draft {
    pub(super) fn new(seq: CommitSeq, times: Times, salt: u64) -> Self {
        let (upload, replica_of) = (None, None);
        Self { seq, at: times.at, times, salt, upload, replica_of, added: Vec::new(), dropped: Vec::new() }
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
            Commit::PutMarker { bucket, key, replica_of } => self.put_marker(bucket, key, replica_of, draft),
            Commit::SetTags { bucket, key, target, tags } => {
                self.set_tags((bucket, key), target, tags, draft)
            }
            Commit::Transition { bucket, key, id, storage_class, condition } => {
                self.transition((bucket, key), id, &condition, storage_class, draft)
            }
            Commit::ReplacePlain { place, plain, body } => self.replace_plain(place, plain, body, draft),
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
            Commit::AbortUpload { upload, rules_as_of } => self.abort_upload(upload, rules_as_of, draft),
            Commit::Mark => Ok(self.mark(draft)),
            Commit::Replay(record) => self.replay(&record, times),
            Commit::Follow { consumer } => {
                let from = *self.cursors.entry(consumer).or_insert(self.last_seq);
                Ok(Outcome::Follows { from })
            }
            Commit::AdvanceCursor { consumer, through } => self.advance_cursor(consumer, through),
            Commit::ForgetConsumer { consumer: Consumer::ChunkIndex, .. } => {
                Err(CommitError::InvalidState("the chunk index always follows the log"))
            }
            Commit::ForgetConsumer { consumer, at } => {
                if at.is_some() && self.cursors.get(&consumer).copied() != at {
                    return Err(CommitError::ConditionFailed);
                }
                self.cursors.remove(&consumer);
                Ok(Outcome::Done)
            }
            Commit::Agenda(changes) => {
                changes.into_iter().for_each(|change| self.agenda.apply(change));
                Ok(Outcome::Done)
            }
            Commit::Replication(changes) => {
                changes.into_iter().for_each(|change| self.change_replication(change));
                Ok(Outcome::Done)
            }
            Commit::TrimLog { through } => {
                let others = self.cursors.values().copied().min();
                let index = self.cursor(Consumer::ChunkIndex);
                let slowest = others.map_or(index, |others| others.min(index));
                Ok(self.trim_log(through.min(slowest)))
            }
        }
    }

    fn mark(&mut self, draft: Draft) -> Outcome {
        let seq = draft.seq;
        self.record(draft, Change::Mark);
        Outcome::Marked { seq }
    }

    fn trim_log(&mut self, through: CommitSeq) -> Outcome {
        let first = self.log.keys().next().map_or(0, |first| first.get());
        let last = through.min(CommitSeq::new(first + TRIM_RECORDS - 1));
        let kept = self.log.split_off(&last.next());
        let records = std::mem::replace(&mut self.log, kept).len() as u64;
        Outcome::Trimmed { records }
    }

    fn advance_cursor(&mut self, consumer: Consumer, through: CommitSeq) -> Result<Outcome, CommitError> {
        let known = self.cursors.get(&consumer).copied();
        let furthest = advanced(consumer, known, through, self.last_seq)?;
        self.cursors.insert(consumer, furthest);
        Ok(Outcome::Done)
    }

    pub(super) fn record(&mut self, draft: Draft, change: Change) {
        let Draft { seq, at, times, added, dropped, .. } = draft;
        self.last_seq = seq;
        self.last_at = at;
        self.reached = times.locks;
        self.log.insert(seq, LogRecord { seq, at, change, added, dropped });
    }

    pub(super) fn cursor(&self, consumer: Consumer) -> CommitSeq {
        self.cursors.get(&consumer).copied().unwrap_or_default()
    }
}
