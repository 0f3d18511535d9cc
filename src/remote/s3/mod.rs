//! A bucket of any S3 server, over AWS's own client. One attempt at each call, each with a deadline.

mod bucket;
mod errors;
mod read;
mod replicas;
mod settings;
mod smoke;
mod whole;
mod write;

pub use bucket::{BucketLock, BucketRules};
pub use replicas::{
    BodySource, BucketFacts, FoundReplica, OnlyOver, ReplicaBody, ReplicaHead, ReplicaHistory, ReplicaPage,
    ReplicaStat, S3Replicas, SentPart, Trouble,
};
pub use settings::{S3Credentials, S3Settings};
pub use smoke::{SmokeReport, SmokeScript, smoke};

use super::{
    Class, Condition, MAX_PIECE_BYTES, Page, Part, Piece, PutOptions, Remote, RemoteError, RemoteKey, Span,
    Stat, Tag, UploadName, Verb,
};
use crate::types::{LockMode, UnixMillis};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use bytes::Bytes;
use std::time::Duration;

/// How long a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// A bucket below a prefix. Deletes go through credentials of their own if there are any: then the others need not be allowed to.
#[derive(Debug)]
pub struct S3Remote {
    client: Client,
    deletes: Client,
    bucket: String,
    prefix: String,
    page: i32,
    lock_mode: LockMode,
    answer_time: Duration,
    least_rate: u64,
}

impl S3Remote {
    /// Connects to nothing yet. `deletes`: the credentials that deletes are made with, if not the same.
    ///
    /// # Errors
    /// With the setting that cannot work.
    pub fn new(
        settings: &S3Settings,
        credentials: &S3Credentials,
        deletes: Option<&S3Credentials>,
    ) -> Result<Self, String> {
        settings.validate()?;
        let own = client(settings, credentials);
        Ok(Self {
            deletes: deletes.map_or_else(|| own.clone(), |other| client(settings, other)),
            client: own,
            bucket: settings.bucket.clone(),
            prefix: settings.prefix(),
            page: settings.page_keys.into(),
            lock_mode: settings.lock_mode,
            answer_time: Duration::from_secs(settings.answer_seconds),
            least_rate: settings.least_bytes_per_second,
        })
    }

    fn full(&self, key: &RemoteKey) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The answer to a call that carries so many bytes, or `TimedOut`: a server that trickles holds nobody up for ever.
    async fn within<T>(
        &self,
        call: (Verb, &str),
        bytes: u64,
        work: impl Future<Output = Result<T, RemoteError>> + Send,
    ) -> Result<T, RemoteError> {
        let time = self.answer_time + Duration::from_secs(bytes / self.least_rate);
        let late = |_| RemoteError::new(Class::TimedOut, call.0, call.1, format!("no answer in {time:?}"));
        tokio::time::timeout(time, work).await.map_err(late)?
    }
}

fn client(settings: &S3Settings, credentials: &S3Credentials) -> Client {
    let token = credentials.session_token.as_ref().map(|token| token.to_string());
    let keys = Credentials::new(
        credentials.access_key.clone(),
        credentials.secret_key.to_string(),
        token,
        None,
        "sediment-remote",
    );
    let mut config = Config::builder()
        .behavior_version_latest()
        .region(Region::new(settings.region.clone()))
        .credentials_provider(keys)
        .force_path_style(settings.is_path_style())
        // Attempts, deadlines and checksums are this room's own: one place decides.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIME).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &settings.endpoint {
        config = config.endpoint_url(endpoint.clone());
    }
    Client::from_conf(config.build())
}

/// Whether so many bytes may be carried by one call.
fn check_size(call: (Verb, &RemoteKey), bytes: u64) -> Result<(), RemoteError> {
    let fits = bytes <= MAX_PIECE_BYTES;
    fits.then_some(())
        .ok_or_else(|| RemoteError::new(Class::Refused, call.0, call.1, "more than a call may carry"))
}

#[async_trait]
impl Remote for S3Remote {
    async fn head(&self, key: &RemoteKey) -> Result<Option<Stat>, RemoteError> {
        self.within((Verb::Head, key.as_str()), 0, self.send_head(key)).await
    }

    async fn get(&self, key: &RemoteKey, span: Span) -> Result<Option<Piece>, RemoteError> {
        if let Span::Bytes(range) = &span {
            if range.start >= range.end {
                return Err(RemoteError::new(Class::Refused, Verb::Get, key, "an empty span"));
            }
            check_size((Verb::Get, key), range.end - range.start)?;
        }
        let call = (Verb::Get, key.as_str());
        let Some(coming) = self.within(call, 0, self.send_get(key, &span)).await? else { return Ok(None) };
        let body = read::collect(call.1, coming.body, coming.bytes);
        let bytes = self.within(call, coming.bytes, body).await?;
        Ok(Some(Piece { bytes, stat: coming.stat }))
    }

    async fn put(&self, key: &RemoteKey, body: Bytes, options: &PutOptions) -> Result<Tag, RemoteError> {
        let bytes = body.len() as u64;
        check_size((Verb::Put, key), bytes)?;
        self.within((Verb::Put, key.as_str()), bytes, self.send_put(key, body, options)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, RemoteError> {
        self.within((Verb::List, prefix), 0, self.send_list(prefix, after)).await
    }

    async fn delete(&self, keys: &[RemoteKey]) -> Result<(), RemoteError> {
        let Some(first) = keys.first() else { return Ok(()) };
        self.within((Verb::Delete, first.as_str()), 0, self.send_delete(keys)).await
    }

    async fn retain(&self, key: &RemoteKey, until: UnixMillis) -> Result<(), RemoteError> {
        let Err(error) = self.within((Verb::Retain, key.as_str()), 0, self.send_retain(key, until)).await
        else {
            return Ok(());
        };
        // Servers refuse to shorten a lock, which is what is wanted.
        let standing = if error.class == Class::Denied { self.head(key).await? } else { None };
        let is_longer = standing.and_then(|stat| stat.retain_until).is_some_and(|standing| standing >= until);
        if is_longer { Ok(()) } else { Err(error) }
    }

    async fn begin_upload(&self, key: &RemoteKey, options: &PutOptions) -> Result<UploadName, RemoteError> {
        self.within((Verb::BeginUpload, key.as_str()), 0, self.send_begin(key, options)).await
    }

    async fn put_part(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        number: u16,
        body: Bytes,
    ) -> Result<Part, RemoteError> {
        let bytes = body.len() as u64;
        check_size((Verb::PutPart, key), bytes)?;
        self.within((Verb::PutPart, key.as_str()), bytes, self.send_part(key, upload, number, body)).await
    }

    async fn complete_upload(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<Tag, RemoteError> {
        // Servers put the parts together now, and may take their time.
        let bytes = parts.iter().map(|part| part.bytes).sum();
        let work = self.send_complete(key, upload, parts, condition);
        self.within((Verb::CompleteUpload, key.as_str()), bytes, work).await
    }

    async fn abort_upload(&self, key: &RemoteKey, upload: &UploadName) -> Result<(), RemoteError> {
        let aborted = self.within((Verb::AbortUpload, key.as_str()), 0, self.send_abort(key, upload)).await;
        match aborted {
            Err(error) if error.class == Class::Gone => Ok(()),
            aborted => aborted,
        }
    }
}
