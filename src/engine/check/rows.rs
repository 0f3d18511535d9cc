//! Every version and every part of an open upload: what of its body is in the row must match its checksum, and what is
//! lost elsewhere is told by its name.

use super::Pass;
use super::report::{Finding, Named};
use crate::engine::EngineError;
use crate::meta::{Audit, AuditedBody, MetaError, StoredBody, UploadRow, VersionRow};
use crate::types::{BucketId, ObjectKey};
use md5::{Digest, Md5};
use tokio::runtime::Handle;

/// A row has at most some 20 KiB.
pub(super) const PAGE: usize = 256;

/// How far the rows are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    Versions(Vec<u8>),
    Uploads(Vec<u8>),
    Done,
}

impl At {
    pub(super) const START: Self = Self::Versions(Vec::new());
}

impl Pass<'_> {
    pub(super) fn rows(&mut self, audit: &dyn Audit, handle: &Handle) -> Result<(), EngineError> {
        let mut at = At::START;
        while at != At::Done && !self.stop.is_cancelled() {
            at = self.rows_from(at, audit, handle)?;
        }
        Ok(())
    }

    /// One page. Where the database itself cannot be read, that is found, and the rest of the table is left out.
    pub(super) fn rows_from(
        &mut self,
        at: At,
        audit: &dyn Audit,
        handle: &Handle,
    ) -> Result<At, EngineError> {
        // What the rows name stays while they are judged.
        let _hold = self.checker.index.hold();
        match at {
            At::Versions(after) => {
                let page = self.page(handle.block_on(audit.version_rows(&after, PAGE)))?;
                for row in &page {
                    self.version(row, audit, handle)?;
                }
                let last = page.into_iter().next_back();
                Ok(last.map_or(At::Uploads(Vec::new()), |last| At::Versions(last.row)))
            }
            At::Uploads(after) => {
                let page = self.page(handle.block_on(audit.upload_rows(&after, PAGE)))?;
                for row in &page {
                    self.upload(row, audit, handle)?;
                }
                Ok(page.into_iter().next_back().map_or(At::Done, |last| At::Uploads(last.row)))
            }
            At::Done => Ok(At::Done),
        }
    }

    fn page<T>(&mut self, page: Result<Vec<T>, MetaError>) -> Result<Vec<T>, EngineError> {
        match page {
            Err(MetaError::Damaged(why) | MetaError::Corrupt(why)) => {
                // Where the rows behind it begin is not known.
                self.report.incomplete = true;
                self.found(Finding::DamagedDatabase { why });
                Ok(Vec::new())
            }
            page => Ok(page?),
        }
    }

    fn version(&mut self, row: &VersionRow, audit: &dyn Audit, handle: &Handle) -> Result<(), EngineError> {
        self.report.rows += 1;
        let judged = match &row.body {
            Err(why) => Some(Fault::Row(why.clone())),
            Ok(None) => None,
            Ok(Some(body)) => self.body(body),
        };
        let Some(fault) = judged else { return Ok(()) };
        let named = match &row.name {
            Some((bucket, key, version)) => {
                Named { version: Some(version.to_string()), ..named(*bucket, key, audit, handle) }
            }
            None => Named { key: format!("row {}", hex::encode(&row.row)), ..Named::default() },
        };
        self.tell(named, fault);
        Ok(())
    }

    fn upload(&mut self, row: &UploadRow, audit: &dyn Audit, handle: &Handle) -> Result<(), EngineError> {
        let upload = match &row.upload {
            Ok(upload) => upload,
            Err(why) => {
                let named = Named { key: format!("row {}", hex::encode(&row.row)), ..Named::default() };
                self.tell(named, Fault::Row(why.clone()));
                return Ok(());
            }
        };
        let mut after = i64::MIN;
        loop {
            let page = self.page(handle.block_on(audit.part_rows(upload.seq, after, PAGE)))?;
            for part in &page {
                self.report.rows += 1;
                let judged = match &part.body {
                    Err(why) => Some(Fault::Row(why.clone())),
                    Ok(body) => self.body(body),
                };
                if let Some(fault) = judged {
                    let named = Named {
                        upload: Some(upload.id.to_string()),
                        part: Some(part.number),
                        ..named(upload.bucket, &upload.key, audit, handle)
                    };
                    self.tell(named, fault);
                }
            }
            match page.last() {
                Some(last) if !self.stop.is_cancelled() => after = last.number,
                _ => return Ok(()),
            }
        }
    }

    fn tell(&mut self, object: Named, fault: Fault) {
        self.found(match fault {
            Fault::Row(why) => Finding::DamagedObject { object, why },
            Fault::Lost(why) => Finding::Lost { object, why },
        });
    }

    fn body(&mut self, AuditedBody { body, size, etag }: &AuditedBody) -> Option<Fault> {
        match body {
            StoredBody::Inline(bytes) => {
                let is_whole = bytes.len() as u64 == *size
                    && (etag.parts() > 0 || Md5::digest(bytes)[..] == etag.md5()[..]);
                (!is_whole).then(|| Fault::Row("its body is that of another object".to_owned()))
            }
            StoredBody::Chunked { root, .. } if root.size() != *size => {
                Some(Fault::Row("its manifest is not as long as its row says".to_owned()))
            }
            StoredBody::Chunked { root, .. } => {
                let super::Checker { packs, index, .. } = self.checker;
                let id = self.lost.first_below(root.entries(), packs, index)?;
                Some(Fault::Lost(format!("chunk {id} is lost")))
            }
            StoredBody::Plain(id) => {
                let why = self.lost.why_plain(*id)?;
                Some(Fault::Lost(format!("its file {id}: {why}")))
            }
        }
    }
}

enum Fault {
    /// In the row itself.
    Row(String),
    /// What the row names.
    Lost(String),
}

fn named(bucket: BucketId, key: &ObjectKey, audit: &dyn Audit, handle: &Handle) -> Named {
    let name = match bucket {
        BucketId::KEY_VALUE => Some(String::new()),
        bucket => handle.block_on(audit.bucket_name(bucket)).ok().flatten(),
    };
    Named {
        bucket: name.unwrap_or_else(|| format!("bucket number {}", bucket.get())),
        key: String::from_utf8_lossy(key.as_bytes()).into_owned(),
        ..Named::default()
    }
}
