//! Put, delete, retain, uploads in parts.

use super::S3Remote;
use super::errors::{failed, of_answer};
use crate::remote::{
    Class, Condition, MAX_DELETED, Part, PutOptions, RemoteError, RemoteKey, Tag, UploadName, Verb,
};
use crate::types::{LockMode, UnixMillis};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier, ObjectLockMode,
    ObjectLockRetention, ObjectLockRetentionMode,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Below this, hashing is done where the call is made.
const HASHED_HERE: usize = 64 << 10;

/// The body's SHA-256, without holding up other tasks.
async fn hash(call: (Verb, &str), body: &Bytes) -> Result<[u8; 32], RemoteError> {
    if body.len() <= HASHED_HERE {
        return Ok(Sha256::digest(body).into());
    }
    let body = body.clone();
    let hashed = tokio::task::spawn_blocking(move || Sha256::digest(&body).into()).await;
    hashed.map_err(|error| RemoteError::new(Class::Unavailable, call.0, call.1, error.to_string()))
}

/// As the headers of a write have it: If-Match and If-None-Match.
fn headers(condition: &Condition) -> (Option<String>, Option<String>) {
    match condition {
        Condition::Always => (None, None),
        Condition::Absent => (None, Some("*".to_owned())),
        Condition::Matches(tag) => (Some(tag.0.clone()), None),
    }
}

/// AWS says that there is no such key where other servers say that it does not match.
fn condition_failed(error: RemoteError, code: Option<&str>, condition: &Condition) -> RemoteError {
    let is_missing = matches!(condition, Condition::Matches(_)) && code == Some("NoSuchKey");
    if is_missing { RemoteError { class: Class::Conflict, ..error } } else { error }
}

fn tag(call: (Verb, &str), tag: Option<&str>) -> Result<Tag, RemoteError> {
    let tag = tag.filter(|tag| !tag.is_empty());
    let none = || RemoteError::new(Class::Wrong, call.0, call.1, "an answer without an entity tag");
    tag.map(|tag| Tag(tag.to_owned())).ok_or_else(none)
}

fn date(time: UnixMillis) -> DateTime {
    // Servers keep whole seconds: rounded up, so that nothing is unlocked early.
    DateTime::from_secs(time.get().saturating_add(999).div_euclid(1000))
}

impl S3Remote {
    fn mode(&self) -> ObjectLockMode {
        match self.lock_mode {
            LockMode::Governance => ObjectLockMode::Governance,
            LockMode::Compliance => ObjectLockMode::Compliance,
        }
    }

    pub(super) async fn send_put(
        &self,
        key: &RemoteKey,
        body: Bytes,
        options: &PutOptions,
    ) -> Result<Tag, RemoteError> {
        let call = (Verb::Put, key.as_str());
        let sha256 = hash(call, &body).await?;
        let (if_match, if_none_match) = headers(&options.condition);
        let sent = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full(key))
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .checksum_sha256(BASE64.encode(sha256))
            .set_object_lock_mode(options.retain_until.map(|_| self.mode()))
            .set_object_lock_retain_until_date(options.retain_until.map(date))
            .body(ByteStream::from(body))
            .send()
            .await;
        match sent {
            Ok(put) => tag(call, put.e_tag()),
            Err(error) => Err(condition_failed(failed(call, &error), error.code(), &options.condition)),
        }
    }

    pub(super) async fn send_delete(&self, keys: &[RemoteKey]) -> Result<(), RemoteError> {
        let call = (Verb::Delete, keys.first().map_or("", RemoteKey::as_str));
        let refused = |why: String| RemoteError::new(Class::Refused, call.0, call.1, why);
        if keys.len() > MAX_DELETED {
            return Err(refused("more keys than one delete takes".to_owned()));
        }
        let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(self.full(key)).build());
        let objects: Vec<_> =
            objects.collect::<Result<_, _>>().map_err(|error| refused(error.to_string()))?;
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
        let delete = delete.map_err(|error| refused(error.to_string()))?;
        let sent = self.deletes.delete_objects().bucket(&self.bucket).delete(delete).send().await;
        let deleted = sent.map_err(|error| failed(call, &error))?;
        let left = deleted.errors().iter().filter(|error| error.code() != Some("NoSuchKey"));
        let failed = left.map(|error| {
            let what = error.key().and_then(|key| key.strip_prefix(&self.prefix)).unwrap_or(call.1);
            let why =
                format!("{}: {}", error.code().unwrap_or_default(), error.message().unwrap_or_default());
            RemoteError::new(of_answer(error.code(), 500), call.0, what, why)
        });
        // One error stands for all: the one that says most of what may still happen.
        failed.max_by_key(|error| error.class.may_have_worked()).map_or(Ok(()), Err)
    }

    pub(super) async fn send_retain(&self, key: &RemoteKey, until: UnixMillis) -> Result<(), RemoteError> {
        let mode = match self.lock_mode {
            LockMode::Governance => ObjectLockRetentionMode::Governance,
            LockMode::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(date(until)).build();
        let request = self.client.put_object_retention().bucket(&self.bucket).key(self.full(key));
        let sent = request.retention(retention).send().await;
        sent.map(|_| ()).map_err(|error| failed((Verb::Retain, key.as_str()), &error))
    }

    pub(super) async fn send_begin(
        &self,
        key: &RemoteKey,
        options: &PutOptions,
    ) -> Result<UploadName, RemoteError> {
        let call = (Verb::BeginUpload, key.as_str());
        let sent = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(self.full(key))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_object_lock_mode(options.retain_until.map(|_| self.mode()))
            .set_object_lock_retain_until_date(options.retain_until.map(date))
            .send()
            .await;
        let begun = sent.map_err(|error| failed(call, &error))?;
        let none = || RemoteError::new(Class::Wrong, call.0, call.1, "an upload without a name");
        begun.upload_id().map(|id| UploadName(id.to_owned())).ok_or_else(none)
    }

    pub(super) async fn send_part(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        number: u16,
        body: Bytes,
    ) -> Result<Part, RemoteError> {
        let call = (Verb::PutPart, key.as_str());
        let (bytes, sha256) = (body.len() as u64, hash(call, &body).await?);
        let sent = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(self.full(key))
            .upload_id(&upload.0)
            .part_number(number.into())
            .checksum_sha256(BASE64.encode(sha256))
            .body(ByteStream::from(body))
            .send()
            .await;
        let put = sent.map_err(|error| failed(call, &error))?;
        Ok(Part { number, tag: tag(call, put.e_tag())?, bytes, sha256 })
    }

    pub(super) async fn send_complete(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<Tag, RemoteError> {
        let call = (Verb::CompleteUpload, key.as_str());
        let (if_match, if_none_match) = headers(condition);
        let part = |part: &Part| {
            let checksum = BASE64.encode(part.sha256);
            let named = CompletedPart::builder().part_number(part.number.into()).e_tag(&part.tag.0);
            named.checksum_sha256(checksum).build()
        };
        let list = CompletedMultipartUpload::builder().set_parts(Some(parts.iter().map(part).collect()));
        let sent = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(self.full(key))
            .upload_id(&upload.0)
            .multipart_upload(list.build())
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .send()
            .await;
        match sent {
            Ok(completed) => tag(call, completed.e_tag()),
            Err(error) => Err(condition_failed(failed(call, &error), error.code(), condition)),
        }
    }

    pub(super) async fn send_abort(&self, key: &RemoteKey, upload: &UploadName) -> Result<(), RemoteError> {
        let request = self.deletes.abort_multipart_upload().bucket(&self.bucket).key(self.full(key));
        let sent = request.upload_id(&upload.0).send().await;
        sent.map(|_| ()).map_err(|error| failed((Verb::AbortUpload, key.as_str()), &error))
    }
}
