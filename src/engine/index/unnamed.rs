//! Files of whole bodies that no row names: which of them nobody can name any more.
//!
//! Whoever has such a file wrote it, or read a row that named it, and has held since before. A file is *noted* and looked for in the
//! rows after that; then a mark is put into the log. If no record names the file from its note to the end of the log, and nobody
//! holds any more from before the mark, then nobody has it: its writer is gone, and there was no row to read. A record that names it
//! ends its note: whatever was seen before says nothing of who read it since. All records pass by here, for the index applies them.

use super::stamps;
use super::sync::Mutex;
use crate::meta::{Change, LogRecord, LoggedVersion};
use crate::types::{Body, CommitSeq, PlainId};
use std::collections::BTreeMap;

/// Whoever applies the log waits for the lock.
const PAGE: usize = 4096;

/// Notes of files, and of each the mark that was taken after it was looked for. Lost at a restart, which only costs work.
/// Memory: some 50 bytes for each.
#[derive(Debug, Default)]
pub struct Unnamed(Mutex<BTreeMap<PlainId, Option<CommitSeq>>>);

impl Unnamed {
    /// Notes them. Their rows must be looked for behind it.
    pub(in crate::engine) fn note(&self, files: &[PlainId]) {
        for page in files.chunks(PAGE) {
            let mut noted = self.0.lock();
            for file in page {
                noted.entry(*file).or_default();
            }
        }
    }

    /// Forgets all but these, which are in order. Time and the lock grow with their number.
    pub(in crate::engine) fn keep(&self, files: &[PlainId]) {
        let mut files = files.iter().peekable();
        self.0.lock().retain(|noted, _| {
            while files.next_if(|file| *file < noted).is_some() {}
            files.next_if(|file| *file == noted).is_some()
        });
    }

    pub(in crate::engine) fn forget(&self, file: PlainId) {
        self.0.lock().remove(&file);
    }

    /// The mark was asked for after all that are noted were looked for, and found without a row.
    pub(in crate::engine) fn mark(&self, mark: CommitSeq) {
        for first in self.0.lock().values_mut() {
            first.get_or_insert(mark);
        }
    }

    /// Those that nobody has, in order, each with a mark behind the record that took its last row. The hold was read behind a mark that the
    /// index has applied, and the index has applied all that was in the log after that.
    pub(in crate::engine) fn of_nobody(&self, oldest_hold: Option<CommitSeq>) -> Vec<(PlainId, CommitSeq)> {
        let noted = self.0.lock();
        let marked = noted.iter().filter_map(|(file, mark)| Some((*file, (*mark)?)));
        marked.filter(|(_, mark)| stamps::is_past(*mark, oldest_hold)).collect()
    }

    /// Before anybody is told that the records are applied.
    pub(super) fn named_by(&self, records: &[LogRecord]) {
        for file in records.iter().filter_map(named) {
            self.0.lock().remove(&file);
        }
    }
}

fn named(record: &LogRecord) -> Option<PlainId> {
    let body = match &record.change {
        Change::VersionPut { version, .. } | Change::UploadCompleted { version, .. } => body_of(version)?,
        Change::PartPut { part, .. } => &part.body,
        Change::BodyReplaced { body, .. } => body,
        Change::BucketCreated(_)
        | Change::BucketDeleted { .. }
        | Change::VersioningSet { .. }
        | Change::BucketSet { .. }
        | Change::BucketLocked { .. }
        | Change::VersionDeleted { .. }
        | Change::VersionTagged { .. }
        | Change::VersionTransitioned { .. }
        | Change::VersionLocked { .. }
        | Change::UploadCreated(_)
        | Change::UploadAborted { .. }
        | Change::Released
        | Change::Mark => return None,
    };
    match body {
        Body::Plain(file) => Some(*file),
        Body::Inline(_) | Body::Chunked(_) => None,
    }
}

fn body_of(version: &LoggedVersion) -> Option<&Body> {
    Some(&version.object.as_ref()?.body)
}

#[cfg(test)]
mod tests {
    use super::Unnamed;
    use crate::meta::{Change, LogRecord, LoggedObject, LoggedPart, LoggedVersion};
    use crate::types::{
        Attributes, Body, BucketId, CommitSeq, ETag, ObjectKey, ObjectLock, PartNumber, PlainId, TagSet,
        UnixMillis, UploadId, VersionId,
    };

    const FILES: [PlainId; 5] = [file(1), file(2), file(3), file(4), file(5)];

    const fn file(number: u8) -> PlainId {
        PlainId::new([number; 16])
    }

    fn mark(seq: u64) -> CommitSeq {
        CommitSeq::new(seq)
    }

    fn of_nobody(unnamed: &Unnamed, oldest_hold: Option<CommitSeq>) -> Vec<PlainId> {
        unnamed.of_nobody(oldest_hold).into_iter().map(|(file, _)| file).collect()
    }

    fn version(file: PlainId) -> LoggedVersion {
        let object = LoggedObject {
            body: Body::Plain(file),
            size: 1,
            etag: ETag::of_body([0; 16]),
            checksum: None,
            attributes: Attributes::default(),
            parts: Vec::new(),
            tags: TagSet::default(),
            lock: ObjectLock::default(),
        };
        LoggedVersion { id: VersionId::Null, object: Some(object), replica_of: None }
    }

    fn part(file: PlainId) -> LoggedPart {
        let (number, etag) = (PartNumber::parse(1).unwrap(), ETag::of_body([0; 16]));
        LoggedPart { number, body: Body::Plain(file), size: 1, etag, checksum: None }
    }

    /// A record of each kind that names a file, of each file but the last.
    fn records() -> Vec<LogRecord> {
        let (bucket, key, id) = (BucketId::new(1), ObjectKey::parse("k").unwrap(), VersionId::Null);
        let (upload, replaced) = (UploadId::new([1; 16]), None);
        let changes = [
            Change::VersionPut { bucket, key: key.clone(), version: version(FILES[0]), replaced },
            Change::PartPut { upload, part: part(FILES[1]) },
            Change::UploadCompleted {
                upload,
                bucket,
                key: key.clone(),
                version: version(FILES[2]),
                replaced,
            },
            Change::BodyReplaced { bucket, key: key.clone(), id, body: Body::Plain(FILES[3]) },
            Change::VersionDeleted { bucket, key, id },
            Change::Mark,
        ];
        let record = |change| LogRecord {
            seq: mark(1),
            at: UnixMillis::new(0),
            change,
            added: Vec::new(),
            dropped: Vec::new(),
        };
        changes.into_iter().map(record).collect()
    }

    #[test]
    fn i1_whatever_names_a_file_ends_its_note() {
        let unnamed = Unnamed::default();
        unnamed.note(&FILES);
        unnamed.mark(mark(7));
        unnamed.named_by(&records());
        assert_eq!(of_nobody(&unnamed, None), [FILES[4]]);
        unnamed.note(&FILES);
        assert_eq!(of_nobody(&unnamed, None), [FILES[4]], "the others have no mark yet");
        unnamed.mark(mark(9));
        assert_eq!(of_nobody(&unnamed, Some(mark(8))), [FILES[4]]);
        assert_eq!(of_nobody(&unnamed, Some(mark(9))), FILES);
    }

    #[test]
    fn what_is_not_there_any_more_is_forgotten() {
        let unnamed = Unnamed::default();
        unnamed.note(&FILES);
        unnamed.mark(mark(7));
        unnamed.keep(&[file(0), FILES[1], FILES[2], FILES[4], file(9)]);
        unnamed.forget(FILES[2]);
        assert_eq!(of_nobody(&unnamed, Some(mark(7))), [FILES[1], FILES[4]]);
        assert_eq!(of_nobody(&unnamed, Some(mark(6))), []);
        unnamed.keep(&[]);
        assert_eq!(of_nobody(&unnamed, None), []);
    }
}
