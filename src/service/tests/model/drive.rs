//! Carries requests out on the service, and says what a client would see.

use super::s3::{Answer, At, DeleteIf, Listing, Lock, Mode, ReadIf, Request, Retained, Tags, WriteIf};
use crate::meta::{ListedVersion, MetaStore};
use crate::service::tests::{Bodies, LARGEST, PART, key, put_request, stream};
use crate::service::{
    Caller, CompleteRequest, CompletedPart, CopyRequest, CopySource, CreateUploadRequest, DeleteConditions,
    DeleteItem, DeleteRequest, ETagCondition, ExpectedChecksum, GetRequest, ListObjectsRequest,
    ListUploadsRequest, ListVersionsRequest, MetadataDirective, ObjectService, ObjectsStart, PutPartRequest,
    PutRequest, ReadConditions, Selection, ServiceError, ServiceSettings, WriteConditions,
};
use crate::sys::{ManualClock, SeededRandom};
use crate::types::{
    Attributes, BucketName, DefaultRetention, ETag, LockMode, LockSettings, ObjectLock, PartNumber,
    Principal, Retention, RetentionPeriod, Tag, TagSet, UnixMillis, UploadId, VersionId, Versioning,
};
use futures::TryStreamExt;
use std::sync::Arc;

/// More pages than any listing of a test has.
const PAGES: usize = 1_000;

pub(super) struct Driver {
    service: ObjectService,
    clock: Arc<ManualClock>,
    caller: Caller,
    bucket: BucketName,
    uploads: Vec<UploadId>,
    /// The ids of the versions that the last request wrote, in its order.
    learned: Vec<String>,
}

impl Driver {
    pub(super) async fn new(meta: Arc<dyn MetaStore>, clock: Arc<ManualClock>, locked: bool) -> Self {
        let settings = ServiceSettings {
            minimum_part_bytes: PART as u64,
            maximum_put_bytes: LARGEST,
            ..ServiceSettings::default()
        };
        let random = Arc::new(SeededRandom::new(11));
        let service = ObjectService::new(meta, Arc::new(Bodies::default()), random, clock.clone(), settings);
        let caller = Caller::new(Principal::Root { access_key: "root".into() });
        let bucket = BucketName::parse("bucket").unwrap();
        service.create_bucket(&caller, &bucket, None, locked).await.unwrap();
        Self { service, clock, caller, bucket, uploads: Vec::new(), learned: Vec::new() }
    }

    pub(super) fn learned(&mut self) -> String {
        std::mem::take(&mut self.learned).join(" ")
    }

    pub(super) async fn answer(&mut self, request: &Request) -> Answer {
        self.ask(request).await.map_err(|error| name(&error))
    }

    async fn ask(&mut self, request: &Request) -> Result<String, ServiceError> {
        let (caller, bucket) = (&self.caller.clone(), &self.bucket.clone());
        match request {
            Request::Put { key: name, body, tags: asked, lock: locked, only_if } => {
                let (tags, lock, conditions) = (tags(asked), lock(*locked), write_if(only_if));
                let request = PutRequest { tags, lock, conditions, ..put_request(body) };
                let done = self.service.put(caller, bucket, &key(name), request).await?;
                Ok(self.written(done.etag, done.size, done.version_id))
            }
            Request::Copy { .. } => self.copy(request).await,
            Request::Delete(doomed) => self.delete(doomed).await,
            Request::Get { at, only_if } => self.get(at, only_if).await,
            Request::SetTags { at, tags: asked } => {
                let asked = (key(&at.key), version(at), tags(asked));
                let id = self.service.set_object_tags(caller, bucket, &asked.0, asked.1, asked.2).await?;
                Ok(shown(id))
            }
            Request::GetTags { at } => {
                let found = self.service.object_tags(caller, bucket, &key(&at.key), version(at)).await?;
                let pairs = found.tags.as_slice().iter().map(|tag| (tag.key.clone(), tag.value.clone()));
                Ok(format!("{:?} {}", pairs.collect::<Tags>(), shown(found.version_id)))
            }
            Request::Retain { at, retention: asked, bypass } => {
                let place = (bucket, &key(&at.key));
                let set = self.service.set_retention(caller, place, version(at), retention(*asked), *bypass);
                set.await.map(|()| String::new())
            }
            Request::Hold { at, on } => {
                let place = (bucket, &key(&at.key));
                self.service.set_legal_hold(caller, place, version(at), *on).await.map(|()| String::new())
            }
            Request::Create { .. }
            | Request::Part { .. }
            | Request::Complete { .. }
            | Request::Abort { .. } => self.upload(request).await,
            Request::Versioning { enabled } => {
                let to = if *enabled { Versioning::Enabled } else { Versioning::Suspended };
                self.service.set_versioning(caller, bucket, to).await.map(|()| String::new())
            }
            Request::LockBucket { by_default } => {
                let default_retention = by_default.map(|(asked, days)| DefaultRetention {
                    mode: mode(asked),
                    period: RetentionPeriod::days(i64::from(days)).unwrap(),
                });
                let settings = LockSettings { default_retention };
                self.service.set_lock_settings(caller, bucket, settings).await.map(|()| String::new())
            }
            Request::Pass { millis } => {
                self.clock.advance_millis(*millis);
                Ok(String::new())
            }
            Request::Objects(asked) => self.objects(asked).await,
            Request::Versions(asked) => self.versions(asked).await,
            Request::Uploads(asked) => self.open_uploads(asked).await,
        }
    }

    fn written(&mut self, etag: ETag, size: u64, id: Option<VersionId>) -> String {
        self.learned.push(shown(id));
        format!("{etag} {size} {}", shown(id))
    }

    async fn copy(&mut self, request: &Request) -> Result<String, ServiceError> {
        let Request::Copy { from, source_if, to, replace, tags: asked, lock: locked, only_if } = request
        else {
            unreachable!()
        };
        let source = CopySource { bucket: self.bucket.clone(), key: key(&from.key), version: version(from) };
        let request = CopyRequest {
            source,
            directive: if *replace { MetadataDirective::Replace } else { MetadataDirective::Copy },
            attributes: Attributes::default(),
            tags: asked.as_ref().map(tags),
            checksum: None,
            lock: lock(*locked),
            source_conditions: read_if(source_if),
            conditions: write_if(only_if),
        };
        let done = self.service.copy(&self.caller, &self.bucket, &key(to), &request).await?;
        let head = GetRequest { version: done.version_id, ..GetRequest::default() };
        let head = self.service.head(&self.caller, &self.bucket, &key(to), &head).await?;
        assert_eq!((head.info.etag, head.info.modified), (done.etag, done.modified));
        Ok(self.written(done.etag, head.info.size, done.version_id))
    }

    /// One is a request of its own, several are a batch.
    async fn delete(&mut self, doomed: &[super::s3::Doomed]) -> Result<String, ServiceError> {
        let items = doomed.iter().map(|doomed| DeleteItem {
            key: key(&doomed.at.key),
            request: DeleteRequest {
                version: version(&doomed.at),
                conditions: delete_if(&doomed.only_if),
                bypass_governance: doomed.bypass,
            },
        });
        let mut items: Vec<_> = items.collect();
        let results = if let [item] = &items[..] {
            vec![self.service.delete(&self.caller, &self.bucket, &item.key, &item.request).await]
        } else {
            let done =
                self.service.delete_many(&self.caller, &self.bucket, std::mem::take(&mut items)).await?;
            done.into_iter().map(|item| item.result).collect()
        };
        let said = results.into_iter().map(|result| match result {
            Ok(done) => {
                self.learned.push(shown(done.version_id));
                format!("{} marker={}", shown(done.version_id), done.delete_marker)
            }
            Err(error) => {
                self.learned.push("-".to_owned());
                name(&error)
            }
        });
        Ok(said.collect::<Vec<_>>().join("; "))
    }

    async fn get(&self, at: &At, only_if: &ReadIf) -> Result<String, ServiceError> {
        let (version, conditions) = (version(at), read_if(only_if));
        let request = GetRequest { version, conditions, selection: Selection::Whole };
        let got = self.service.get(&self.caller, &self.bucket, &key(&at.key), &request).await?;
        let frames: Vec<bytes::Bytes> = got.body.try_collect().await?;
        let body = String::from_utf8(frames.concat()).unwrap();
        let info = got.head.info;
        let locked = Lock {
            retention: info
                .lock
                .retention
                .map(|retention| (model_mode(retention.mode), retention.until.get())),
            hold: info.lock.legal_hold,
        };
        let (etag, size, at, parts) = (info.etag, info.size, info.modified.get(), info.parts.unwrap_or(0));
        let (tags, id) = (info.tags, shown(info.version_id));
        Ok(format!("{body:?} {etag} {size} at={at} parts={parts} tags={tags} {locked:?} {id}"))
    }

    /// Every upload of the tests is of the key that it was created for.
    async fn upload(&mut self, request: &Request) -> Result<String, ServiceError> {
        let (caller, bucket) = (self.caller.clone(), self.bucket.clone());
        match request {
            Request::Create { key: name, tags: asked, lock: locked } => {
                let (tags, lock) = (tags(asked), lock(*locked));
                let request = CreateUploadRequest { tags, lock, ..CreateUploadRequest::default() };
                let created = self.service.create_upload(&caller, &bucket, &key(name), request).await?;
                self.uploads.push(created.id);
                Ok(String::new())
            }
            Request::Part { upload, key: name, number, body } => {
                let part = PutPartRequest {
                    upload: self.uploads[*upload],
                    number: part_number(*number),
                    body: stream(body),
                    size: Some(body.len() as u64),
                    content_md5: None,
                    content_sha256: None,
                    checksum: ExpectedChecksum::None,
                };
                Ok(self.service.put_part(&caller, &bucket, &key(name), part).await?.etag.to_string())
            }
            Request::Complete { upload, key: name, parts, only_if } => {
                let named = parts.iter().map(|(number, tag)| CompletedPart {
                    number: part_number(*number),
                    etag: Some(ETag::parse(tag).unwrap()),
                    checksum: None,
                });
                let request = CompleteRequest {
                    upload: self.uploads[*upload],
                    parts: named.collect(),
                    checksum: None,
                    kind: None,
                    size: None,
                    conditions: write_if(only_if),
                };
                let done = self.service.complete_upload(&caller, &bucket, &key(name), &request).await?;
                Ok(self.written(done.etag, done.size, done.version_id))
            }
            Request::Abort { upload, key: name } => {
                let (key, id) = (key(name), self.uploads[*upload]);
                self.service.abort_upload(&caller, &bucket, &key, id).await.map(|()| String::new())
            }
            _ => unreachable!(),
        }
    }

    async fn objects(&self, asked: &Listing) -> Result<String, ServiceError> {
        let (mut pages, mut start) = (Vec::new(), ObjectsStart::Beginning);
        while pages.len() < PAGES {
            let request = ListObjectsRequest {
                prefix: asked.prefix.clone(),
                delimiter: asked.delimiter.clone(),
                start,
                maximum: Some(asked.maximum as i64),
            };
            let page = self.service.list_objects(&self.caller, &self.bucket, request).await?;
            let objects = page.objects.iter().map(|object| {
                let key = object.key.to_text().into_owned();
                let text = format!("{key} {} {} at={}", object.etag, object.size, object.modified.get());
                (key, text)
            });
            pages.push(merged(objects.collect(), page.common_prefixes));
            let Some(next) = page.next else { break };
            start = ObjectsStart::Token(next);
        }
        Ok(format!("{pages:?}"))
    }

    async fn versions(&self, asked: &Listing) -> Result<String, ServiceError> {
        let (mut pages, mut key_marker, mut version_marker) = (Vec::new(), None, None);
        while pages.len() < PAGES {
            let request = ListVersionsRequest {
                prefix: asked.prefix.clone(),
                delimiter: asked.delimiter.clone(),
                key_marker,
                version_marker,
                maximum: Some(asked.maximum as i64),
            };
            let page = self.service.list_versions(&self.caller, &self.bucket, request).await?;
            pages.push(merged(page.versions.iter().map(version_row).collect(), page.common_prefixes));
            if page.next_key_marker.is_none() {
                break;
            }
            (key_marker, version_marker) = (page.next_key_marker, page.next_version_marker);
        }
        Ok(format!("{pages:?}"))
    }

    async fn open_uploads(&self, asked: &Listing) -> Result<String, ServiceError> {
        let (mut pages, mut key_marker, mut upload_marker) = (Vec::new(), None, None);
        while pages.len() < PAGES {
            let request = ListUploadsRequest {
                prefix: asked.prefix.clone(),
                delimiter: asked.delimiter.clone(),
                key_marker,
                upload_marker,
                maximum: Some(asked.maximum as i64),
            };
            let page = self.service.list_uploads(&self.caller, &self.bucket, request).await?;
            let uploads = page.uploads.iter().map(|upload| {
                let key = upload.key.to_text().into_owned();
                let number = self.uploads.iter().position(|id| *id == upload.id).unwrap();
                (key.clone(), format!("{key} #{number}"))
            });
            pages.push(merged(uploads.collect(), page.common_prefixes));
            if !page.truncated {
                break;
            }
            (key_marker, upload_marker) = (page.next_key_marker, page.next_upload_marker);
        }
        Ok(format!("{pages:?}"))
    }
}

/// The error's name, with the condition that failed.
fn name(error: &ServiceError) -> String {
    if let ServiceError::PreconditionFailed { condition } = error {
        return format!("PreconditionFailed {condition}");
    }
    format!("{error:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// Rows and common prefixes in one order, as the model has them.
fn merged(mut rows: Vec<(String, String)>, prefixes: Vec<String>) -> Vec<String> {
    rows.extend(prefixes.into_iter().map(|prefix| (prefix.clone(), format!("{prefix}*"))));
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows.into_iter().map(|(_, text)| text).collect()
}

fn version_row(version: &ListedVersion) -> (String, String) {
    let key = version.key.to_text().into_owned();
    let etag = version.object.as_ref().map_or("marker".to_owned(), |object| object.etag.to_string());
    let (id, at, latest) = (version.id, version.modified.get(), version.is_latest);
    (key.clone(), format!("{key} {id} {etag} at={at} latest={latest}"))
}

fn shown(id: Option<VersionId>) -> String {
    id.map_or("-".to_owned(), |id| id.to_string())
}

fn version(at: &At) -> Option<VersionId> {
    at.version.as_ref().map(|id| VersionId::parse(id).unwrap())
}

fn part_number(number: u16) -> PartNumber {
    PartNumber::parse(i64::from(number)).unwrap()
}

fn tags(asked: &Tags) -> TagSet {
    let pairs = asked.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() });
    TagSet::of_object(pairs.collect()).unwrap()
}

fn mode(asked: Mode) -> LockMode {
    match asked {
        Mode::Governance => LockMode::Governance,
        Mode::Compliance => LockMode::Compliance,
    }
}

fn model_mode(found: LockMode) -> Mode {
    match found {
        LockMode::Governance => Mode::Governance,
        LockMode::Compliance => Mode::Compliance,
    }
}

fn retention(asked: Retained) -> Option<Retention> {
    asked.map(|(asked, until)| Retention { mode: mode(asked), until: UnixMillis::new(until) })
}

fn lock(asked: Lock) -> ObjectLock {
    ObjectLock { retention: retention(asked.retention), legal_hold: asked.hold }
}

fn one_of(tag: &str) -> Option<ETagCondition> {
    Some(ETagCondition::OneOf(vec![ETag::parse(tag).unwrap()]))
}

fn write_if(only_if: &WriteIf) -> WriteConditions {
    match only_if {
        WriteIf::Always => WriteConditions::default(),
        WriteIf::Absent => WriteConditions { if_match: None, if_none_match: Some(ETagCondition::Any) },
        WriteIf::Exists => WriteConditions { if_match: Some(ETagCondition::Any), if_none_match: None },
        WriteIf::Match(tag) => WriteConditions { if_match: one_of(tag), if_none_match: None },
        WriteIf::Unless(tag) => WriteConditions { if_match: None, if_none_match: one_of(tag) },
    }
}

fn read_if(only_if: &ReadIf) -> ReadConditions {
    let none = ReadConditions::default();
    match only_if {
        ReadIf::Always => none,
        ReadIf::Match(tag) => ReadConditions { if_match: one_of(tag), ..none },
        ReadIf::NoneMatch(tag) => ReadConditions { if_none_match: one_of(tag), ..none },
        ReadIf::ModifiedSince(at) => ReadConditions { if_modified_since: Some(UnixMillis::new(*at)), ..none },
        ReadIf::UnmodifiedSince(at) => {
            ReadConditions { if_unmodified_since: Some(UnixMillis::new(*at)), ..none }
        }
    }
}

fn delete_if(only_if: &DeleteIf) -> DeleteConditions {
    DeleteConditions {
        if_match: write_if(&only_if.tag).if_match,
        if_size: only_if.size,
        if_modified_at: only_if.date.map(UnixMillis::new),
    }
}
