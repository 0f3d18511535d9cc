//! A bucket of any S3 server that replicas are written to: whole objects with all that is said of them, versions, tags,
//! locks. One attempt at each call, each with a deadline.

mod body;
mod chunks;
mod list;
mod parts;

pub use body::{BodySource, Trouble};
pub use list::{ReplicaHistory, ReplicaPage, ReplicaStat};
pub use parts::SentPart;

use self::chunks::as_delta_of;
use super::errors::failed;
use super::{S3Credentials, S3Settings, client};
use crate::remote::{Class, RemoteError, Verb};
use crate::types::{
    Attributes, Checksum, ChecksumAlgorithm, ETag, LockMode, ObjectLock, ReplicaOf, Tag, TagSet, UnixMillis,
};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types as sdk;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::time::Duration;

const REPLICA_OF: &str = "x-sediment-replica-of";

/// One bucket, and the keys that write there.
#[derive(Debug)]
pub struct S3Replicas {
    client: Client,
    bucket: String,
    answer_time: Duration,
    least_rate: u64,
}

/// What an object is written with.
#[derive(Debug, Clone)]
pub struct ReplicaHead {
    pub attributes: Attributes,
    pub storage_class: Option<String>,
    pub tags: TagSet,
    pub lock: ObjectLock,
    /// What it is a copy of, if it is one.
    pub origin: Option<ReplicaOf>,
}

/// The bytes of an object or a part, and what proves them.
#[derive(Debug)]
pub struct ReplicaBody {
    /// Of the object or the part, though its source be a delta.
    pub bytes: u64,
    pub source: BodySource,
    pub md5: Option<[u8; 16]>,
    pub checksum: Option<Checksum>,
}

/// What stands under a key now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundReplica {
    pub is_marker: bool,
    pub etag: Option<ETag>,
    pub bytes: u64,
    pub version: Option<String>,
    pub modified: UnixMillis,
    /// What another Sediment says that it is a copy of.
    pub replica_of: Option<ReplicaOf>,
}

/// What must stand under a key for a write of it to be done; else it fails with `Conflict`, or with `Gone` where nothing stands there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnlyOver {
    Anything,
    Nothing,
    This(ETag),
}

impl OnlyOver {
    fn if_none_match(self) -> Option<String> {
        (self == Self::Nothing).then(|| "*".to_owned())
    }

    fn if_match(self) -> Option<String> {
        match self {
            Self::This(etag) => Some(format!("\"{etag}\"")),
            Self::Anything | Self::Nothing => None,
        }
    }
}

/// What a bucket is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketFacts {
    pub has_versions: bool,
    pub has_lock: bool,
}

/// The five fields in which S3 carries a checksum.
#[derive(Default)]
struct Sums([Option<String>; 5]);

impl Sums {
    fn of(checksum: Option<&Checksum>) -> Self {
        let mut sums = Self::default();
        if let Some(checksum) = checksum {
            let at = ChecksumAlgorithm::ALL.iter().position(|algorithm| *algorithm == checksum.algorithm());
            let field = at.and_then(|at| sums.0.get_mut(at));
            if let Some(field) = field {
                *field = Some(checksum.to_string());
            }
        }
        sums
    }
}

fn date(time: UnixMillis) -> DateTime {
    // Servers keep whole seconds: rounded up, so that nothing is unlocked early.
    DateTime::from_secs(time.get().saturating_add(999).div_euclid(1000))
}

fn length(call: (Verb, &str), bytes: u64) -> Result<i64, RemoteError> {
    i64::try_from(bytes).map_err(|_| RemoteError::new(Class::Refused, call.0, call.1, "too large"))
}

fn tagging(tags: &TagSet) -> Option<String> {
    let pair = |tag: &Tag| format!("{}={}", percent(&tag.key), percent(&tag.value));
    (!tags.is_empty()).then(|| tags.as_slice().iter().map(pair).collect::<Vec<_>>().join("&"))
}

fn percent(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            shown.push(char::from(byte));
        } else {
            shown.push_str(&format!("%{byte:02X}"));
        }
    }
    shown
}

/// Headers that the client has no fields for; before it signs.
fn with_headers(
    origin: Option<&ReplicaOf>,
    expires: Option<&str>,
) -> impl Fn(&mut HttpRequest) + Send + Sync + use<> {
    let (origin, expires) = (origin.map(|origin| origin.as_str().to_owned()), expires.map(str::to_owned));
    move |request| {
        let headers = request.headers_mut();
        if let Some(origin) = &origin {
            let _ = headers.try_insert(REPLICA_OF, origin.clone());
        }
        if let Some(expires) = &expires {
            let _ = headers.try_insert("expires", expires.clone());
        }
    }
}

const fn lock_mode(mode: LockMode) -> sdk::ObjectLockMode {
    match mode {
        LockMode::Governance => sdk::ObjectLockMode::Governance,
        LockMode::Compliance => sdk::ObjectLockMode::Compliance,
    }
}

const fn hold(on: bool) -> sdk::ObjectLockLegalHoldStatus {
    if on { sdk::ObjectLockLegalHoldStatus::On } else { sdk::ObjectLockLegalHoldStatus::Off }
}

impl S3Replicas {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// With the setting that cannot work.
    pub fn new(settings: &S3Settings, credentials: &S3Credentials) -> Result<Self, String> {
        settings.validate()?;
        Ok(Self {
            client: client(settings, credentials),
            bucket: settings.bucket.clone(),
            answer_time: Duration::from_secs(settings.answer_seconds),
            least_rate: settings.least_bytes_per_second,
        })
    }

    async fn within<T>(
        &self,
        (verb, what): (Verb, &str),
        bytes: u64,
        work: impl Future<Output = Result<T, RemoteError>> + Send,
    ) -> Result<T, RemoteError> {
        let time = self.answer_time + Duration::from_secs(bytes / self.least_rate);
        let late = |_| RemoteError::new(Class::TimedOut, verb, what, format!("no answer in {time:?}"));
        tokio::time::timeout(time, work).await.map_err(late)?
    }

    /// # Errors
    /// `Gone` when there is no such bucket.
    pub async fn facts(&self) -> Result<BucketFacts, RemoteError> {
        let (call, ask) = ((Verb::Head, self.bucket.as_str()), (Verb::Ask, self.bucket.as_str()));
        let look = async {
            let versioning = self.client.get_bucket_versioning().bucket(&self.bucket).send().await;
            let versioning = versioning.map_err(|error| failed(call, &error))?;
            let has_versions = versioning.status() == Some(&sdk::BucketVersioningStatus::Enabled);
            let lock = self.client.get_object_lock_configuration().bucket(&self.bucket).send().await;
            let has_lock = match lock {
                Ok(_) => true,
                Err(error) => {
                    let (code, error) = (error.code().map(str::to_owned), failed(ask, &error));
                    if !is_without_lock(error.class, code.as_deref()) {
                        let why = format!("whether it has object lock: {}", error.why);
                        return Err(RemoteError { why, ..error });
                    }
                    false
                }
            };
            Ok(BucketFacts { has_versions, has_lock })
        };
        self.within(call, 0, look).await
    }

    /// `None` when there is nothing, or nothing that the server tells of.
    ///
    /// # Errors
    /// Those of a remote.
    pub async fn find(&self, key: &str) -> Result<Option<FoundReplica>, RemoteError> {
        let call = (Verb::Head, key);
        let origin = std::sync::Arc::new(parking_lot::Mutex::new(None));
        let noted = std::sync::Arc::clone(&origin);
        let request = self.client.head_object().bucket(&self.bucket).key(key).customize();
        let request = request.interceptor(Noting(noted));
        let look = async {
            match request.send().await {
                Ok(head) => Ok(Some(FoundReplica {
                    is_marker: false,
                    etag: head.e_tag().and_then(|tag| ETag::parse(tag).ok()),
                    bytes: head.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0),
                    version: head.version_id().map(str::to_owned),
                    modified: UnixMillis::new(
                        head.last_modified().map_or(0, DateTime::secs).saturating_mul(1000),
                    ),
                    replica_of: origin.lock().take(),
                })),
                Err(error) => {
                    let marker = error.raw_response().and_then(marker);
                    let error = failed(call, &error);
                    if error.class == Class::Gone { Ok(marker) } else { Err(error) }
                }
            }
        };
        self.within(call, 0, look).await
    }

    /// Puts an object in one piece. Returns its version there.
    ///
    /// # Errors
    /// Those of a remote.
    pub async fn put(
        &self,
        key: &str,
        head: &ReplicaHead,
        body: ReplicaBody,
        only: OnlyOver,
    ) -> Result<Option<String>, RemoteError> {
        let call = (Verb::Put, key);
        let ReplicaHead { attributes, lock, .. } = head;
        let Sums([crc32, crc32c, crc64nvme, sha1, sha256]) = Sums::of(body.checksum.as_ref());
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .set_if_none_match(only.if_none_match())
            .set_if_match(only.if_match())
            .content_length(length(call, body.source.bytes_of(body.bytes))?)
            .set_content_md5(body.md5.map(|md5| BASE64.encode(md5)))
            .set_checksum_crc32(crc32)
            .set_checksum_crc32_c(crc32c)
            .set_checksum_crc64_nvme(crc64nvme)
            .set_checksum_sha1(sha1)
            .set_checksum_sha256(sha256)
            .content_type(content_type(attributes))
            .set_content_encoding(attributes.content_encoding.clone())
            .set_content_language(attributes.content_language.clone())
            .set_content_disposition(attributes.content_disposition.clone())
            .set_cache_control(attributes.cache_control.clone())
            .set_website_redirect_location(attributes.website_redirect_location.clone())
            .set_storage_class(head.storage_class.as_deref().map(sdk::StorageClass::from))
            .set_metadata(Some(attributes.user.clone().into_iter().collect()))
            .set_tagging(tagging(&head.tags))
            .set_object_lock_mode(lock.retention.map(|retention| lock_mode(retention.mode)))
            .set_object_lock_retain_until_date(lock.retention.map(|retention| date(retention.until)))
            .set_object_lock_legal_hold_status(lock.legal_hold.map(hold));
        let delta_of = body.source.is_delta().then_some(body.bytes);
        let request = request.body(body.source.stream(body.bytes));
        let request = request
            .customize()
            .mutate_request(with_headers(head.origin.as_ref(), attributes.expires.as_deref()))
            .mutate_request(as_delta_of(delta_of));
        let sent = self
            .within(call, body.bytes, async { request.send().await.map_err(|error| failed(call, &error)) });
        Ok(sent.await?.version_id().map(str::to_owned))
    }

    /// Deletes what stands under a key; where there are versions it puts a delete marker on top. Returns its version there.
    ///
    /// # Errors
    /// Those of a remote.
    pub async fn mark_deleted(
        &self,
        key: &str,
        origin: Option<&ReplicaOf>,
        only: OnlyOver,
    ) -> Result<Option<String>, RemoteError> {
        let call = (Verb::Delete, key);
        let request = self.client.delete_object().bucket(&self.bucket).key(key);
        let request = request.set_if_match(only.if_match()).customize();
        let request = request.mutate_request(with_headers(origin, None));
        let sent = self.within(call, 0, async { request.send().await.map_err(|error| failed(call, &error)) });
        Ok(sent.await?.version_id().map(str::to_owned))
    }

    /// Gives a version exactly these tags.
    ///
    /// # Errors
    /// Those of a remote; `Gone` when the version is not there.
    pub async fn set_tags(&self, key: &str, version: Option<&str>, tags: &TagSet) -> Result<(), RemoteError> {
        let call = (Verb::Put, key);
        let wrong = |why: String| RemoteError::new(Class::Refused, call.0, call.1, why);
        let tag = |tag: &Tag| sdk::Tag::builder().key(&tag.key).value(&tag.value).build();
        let set = tags.as_slice().iter().map(tag).collect::<Result<Vec<_>, _>>();
        let set = set.map_err(|error| wrong(error.to_string()))?;
        let tagging = sdk::Tagging::builder().set_tag_set(Some(set)).build();
        let tagging = tagging.map_err(|error| wrong(error.to_string()))?;
        let request = self
            .client
            .put_object_tagging()
            .bucket(&self.bucket)
            .key(key)
            .set_version_id(version.map(str::to_owned))
            .tagging(tagging);
        let sent = self.within(call, 0, async { request.send().await.map_err(|error| failed(call, &error)) });
        sent.await.map(drop)
    }

    /// Gives a version this lock, as far as there is one.
    ///
    /// # Errors
    /// Those of a remote; `Gone` when the version is not there.
    pub async fn set_lock(
        &self,
        key: &str,
        version: Option<&str>,
        lock: ObjectLock,
    ) -> Result<(), RemoteError> {
        let call = (Verb::Retain, key);
        if let Some(retention) = lock.retention {
            let mode = match retention.mode {
                LockMode::Governance => sdk::ObjectLockRetentionMode::Governance,
                LockMode::Compliance => sdk::ObjectLockRetentionMode::Compliance,
            };
            let until =
                sdk::ObjectLockRetention::builder().mode(mode).retain_until_date(date(retention.until));
            let request = self.client.put_object_retention().bucket(&self.bucket).key(key);
            // The source has let go of it already.
            let request = request.bypass_governance_retention(true);
            let request = request.set_version_id(version.map(str::to_owned)).retention(until.build());
            let sent =
                self.within(call, 0, async { request.send().await.map_err(|error| failed(call, &error)) });
            sent.await?;
        }
        if let Some(on) = lock.legal_hold {
            let held = sdk::ObjectLockLegalHold::builder().status(hold(on)).build();
            let request = self.client.put_object_legal_hold().bucket(&self.bucket).key(key);
            let request = request.set_version_id(version.map(str::to_owned)).legal_hold(held);
            let sent =
                self.within(call, 0, async { request.send().await.map_err(|error| failed(call, &error)) });
            sent.await?;
        }
        Ok(())
    }
}

/// Whether a bucket that was asked for its locks says that it has none. All else, a refusal too, says nothing: what was locked would come
/// back unlocked.
fn is_without_lock(class: Class, code: Option<&str>) -> bool {
    match class {
        Class::Gone => code != Some("NoSuchBucket"),
        Class::Unsupported => true,
        Class::Refused => {
            matches!(code, Some("ObjectLockConfigurationNotFoundError" | "ObjectLockConfigurationNotFound"))
        }
        _ => false,
    }
}

/// A delete marker, as an answer without an object tells of it.
fn marker(response: &HttpResponse) -> Option<FoundReplica> {
    let header = |name: &str| response.headers().get(name);
    (header("x-amz-delete-marker") == Some("true")).then(|| FoundReplica {
        is_marker: true,
        etag: None,
        bytes: 0,
        version: header("x-amz-version-id").map(str::to_owned),
        modified: UnixMillis::default(),
        replica_of: None,
    })
}

/// Notes a header that the client has no field for.
#[derive(Debug)]
struct Noting(std::sync::Arc<parking_lot::Mutex<Option<ReplicaOf>>>);

impl aws_sdk_s3::config::Intercept for Noting {
    fn name(&self) -> &'static str {
        "ReplicaOf"
    }

    fn read_after_transmit(
        &self,
        context: &aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef<'_>,
        _: &aws_sdk_s3::config::RuntimeComponents,
        _: &mut aws_sdk_s3::config::ConfigBag,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let header = context.response().headers().get(REPLICA_OF);
        *self.0.lock() = header.and_then(|origin| ReplicaOf::parse(origin).ok());
        Ok(())
    }
}

/// S3's own where there is none: the client would put another one.
fn content_type(attributes: &Attributes) -> &str {
    attributes.content_type.as_deref().unwrap_or("binary/octet-stream")
}

#[cfg(test)]
mod tests {
    use super::is_without_lock;
    use crate::remote::Class;

    #[test]
    fn only_a_bucket_that_says_so_has_no_locks() {
        let none = Some("ObjectLockConfigurationNotFoundError");
        assert!(is_without_lock(Class::Gone, none) && is_without_lock(Class::Refused, none));
        assert!(is_without_lock(Class::Unsupported, Some("NotImplemented")));
        for (class, code) in [
            (Class::Gone, "NoSuchBucket"),
            (Class::Denied, "AccessDenied"),
            (Class::Unavailable, "ServiceUnavailable"),
            (Class::Throttled, "SlowDown"),
            (Class::Refused, "InvalidArgument"),
        ] {
            assert!(!is_without_lock(class, Some(code)), "{code}");
        }
    }
}
