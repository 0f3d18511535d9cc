//! A short script of what clients do, against any S3 server: what it holds is listed and read, and one object is written, read back and deleted.

use super::errors::failed;
use super::{S3Credentials, S3Settings, client};
use crate::remote::percent::decoded;
use crate::remote::{Class, RemoteError, Verb};
use crate::sys::Random;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::EncodingType;
use bytes::Bytes;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const KEYS: i32 = 1000;
/// The longest that one call may take.
const TIME: Duration = Duration::from_secs(60);
/// The largest body that is read whole: it is held in memory.
const WHOLE_BYTES: u64 = 32 << 20;
const RANGE_BYTES: u64 = 64 << 10;
const WRITTEN_BYTES: usize = 100 << 10;
const MOST_PROBLEMS: usize = 20;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmokeScript {
    /// Buckets, and objects of each, that chance picks.
    pub buckets: usize,
    pub objects: usize,
    /// Bodies are read, up to so many bytes; else heads alone.
    pub reads_bodies: bool,
    pub most_bytes: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SmokeReport {
    pub buckets: u64,
    pub listed: u64,
    pub heads: u64,
    /// Bodies that were read whole, and ranges.
    pub whole: u64,
    pub ranges: u64,
    /// Objects that were written, read back and deleted.
    pub written: u64,
    pub bytes: u64,
    /// The first twenty.
    pub problems: Vec<String>,
}

impl SmokeReport {
    fn problem(&mut self, problem: impl Into<String>) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem.into());
        }
    }
}

/// As a listing shows it.
struct Seen {
    key: String,
    etag: String,
    bytes: u64,
}

/// Runs the script as somebody who may do everything. `settings`: the bucket's name does not matter. Ends early when it is stopped. What a
/// server does not do, or does wrong, is in the report.
pub async fn smoke(
    settings: &S3Settings,
    credentials: &S3Credentials,
    script: SmokeScript,
    random: &dyn Random,
    stop: &CancellationToken,
) -> SmokeReport {
    let mut run =
        Run { client: client(settings, credentials), script, random, report: SmokeReport::default() };
    let running = async {
        if let Err(error) = run.reads().await {
            run.report.problem(error.to_string());
        }
        if let Err(error) = run.writes().await {
            run.report.problem(error.to_string());
        }
    };
    let _ = stop.run_until_cancelled(running).await;
    run.report
}

struct Run<'a> {
    client: Client,
    script: SmokeScript,
    random: &'a dyn Random,
    report: SmokeReport,
}

impl Run<'_> {
    async fn reads(&mut self) -> Result<(), RemoteError> {
        let listed = within(self.client.list_buckets().send(), (Verb::List, "buckets")).await?;
        let names = listed.buckets().iter().filter_map(|bucket| bucket.name().map(str::to_owned));
        let names: Vec<String> = names.collect();
        self.report.buckets = names.len() as u64;
        for bucket in self.some(names, self.script.buckets) {
            let seen = self.list(&bucket).await?;
            for object in self.some(seen, self.script.objects) {
                if let Err(error) = self.object(&bucket, &object).await {
                    self.report.problem(format!("{bucket}/{}: {error}", object.key));
                }
            }
        }
        Ok(())
    }

    async fn list(&mut self, bucket: &str) -> Result<Vec<Seen>, RemoteError> {
        // Names that XML cannot hold come through.
        let asked = self.client.list_objects_v2().bucket(bucket).encoding_type(EncodingType::Url);
        let asked = asked.max_keys(KEYS);
        let listed = within(asked.send(), (Verb::List, bucket)).await?;
        let seen = listed.contents().iter().filter_map(|object| {
            Some(Seen {
                key: String::from_utf8(decoded(&object.key()?.replace('+', " "))).ok()?,
                etag: object.e_tag()?.to_owned(),
                bytes: object.size().and_then(|size| u64::try_from(size).ok())?,
            })
        });
        let seen: Vec<Seen> = seen.collect();
        if seen.len() != listed.contents().len() {
            self.report.problem(format!("{bucket}: objects are listed without key, ETag or size"));
        }
        self.report.listed += seen.len() as u64;
        Ok(seen)
    }

    async fn object(&mut self, bucket: &str, object: &Seen) -> Result<(), RemoteError> {
        let named = format!("{bucket}/{}", object.key);
        let asked = self.client.head_object().bucket(bucket).key(&object.key);
        let head = within(asked.send(), (Verb::Head, &named)).await?;
        self.report.heads += 1;
        let is_same = head.e_tag() == Some(object.etag.as_str())
            && head.content_length().and_then(|len| u64::try_from(len).ok()) == Some(object.bytes);
        if !is_same {
            self.report.problem(format!("{named}: HEAD says another ETag or length than the listing"));
        }
        let left = self.script.most_bytes.saturating_sub(self.report.bytes);
        if !self.script.reads_bodies {
            return Ok(());
        }
        let whole = if object.bytes <= left.min(WHOLE_BYTES) {
            Some(self.whole(bucket, object).await?)
        } else {
            None
        };
        if object.bytes > 0 && left > RANGE_BYTES {
            self.range(bucket, object, whole).await?;
        }
        Ok(())
    }

    async fn whole(&mut self, bucket: &str, object: &Seen) -> Result<Bytes, RemoteError> {
        let body = self.get(bucket, &object.key, None).await?;
        self.report.whole += 1;
        let etag = object.etag.trim_matches('"');
        // That of parts says nothing of the whole.
        let is_digest = etag.len() == 32 && !etag.contains('-');
        if body.len() as u64 != object.bytes {
            let (got, wanted) = (body.len(), object.bytes);
            self.report.problem(format!("{bucket}/{}: {got} bytes instead of {wanted}", object.key));
        } else if is_digest && hex::encode(Md5::digest(&body)) != etag {
            self.report.problem(format!("{bucket}/{}: it is not what its ETag says", object.key));
        }
        Ok(body)
    }

    async fn range(&mut self, bucket: &str, object: &Seen, whole: Option<Bytes>) -> Result<(), RemoteError> {
        let first = self.random.u64() % object.bytes;
        let end = object.bytes.min(first + RANGE_BYTES);
        let body = self.get(bucket, &object.key, Some((first, end))).await?;
        self.report.ranges += 1;
        let wanted = whole.and_then(|whole| {
            Some(whole.slice(
                usize::try_from(first).ok()?.min(whole.len())..usize::try_from(end).ok()?.min(whole.len()),
            ))
        });
        let is_same = body.len() as u64 == end - first && wanted.is_none_or(|wanted| wanted == body);
        if !is_same {
            self.report.problem(format!("{bucket}/{}: bytes {first} to {end} are others", object.key));
        }
        Ok(())
    }

    /// In a bucket of its own.
    async fn writes(&mut self) -> Result<(), RemoteError> {
        let bucket = format!("sediment-smoke-{}", hex::encode(self.random.id128()));
        let (key, call) = ("written", |verb| (verb, "what was just written"));
        let mut body = vec![0; WRITTEN_BYTES];
        self.random.fill(&mut body);
        within(self.client.create_bucket().bucket(&bucket).send(), (Verb::Put, &bucket)).await?;
        let put = self.client.put_object().bucket(&bucket).key(key).body(body.clone().into());
        within(put.send(), call(Verb::Put)).await?;
        if self.get(&bucket, key, None).await? != body {
            self.report.problem("what was just written is read back as something else");
        }
        within(self.client.delete_object().bucket(&bucket).key(key).send(), call(Verb::Delete)).await?;
        let head = self.client.head_object().bucket(&bucket).key(key).send();
        if within(head, call(Verb::Head)).await.is_ok() {
            self.report.problem("what was just deleted is still there");
        }
        within(self.client.delete_bucket().bucket(&bucket).send(), (Verb::Delete, &bucket)).await?;
        self.report.written += 1;
        Ok(())
    }

    async fn get(
        &mut self,
        bucket: &str,
        key: &str,
        range: Option<(u64, u64)>,
    ) -> Result<Bytes, RemoteError> {
        let range = range.map(|(first, end)| format!("bytes={first}-{}", end - 1));
        let asked = self.client.get_object().bucket(bucket).key(key).set_range(range);
        let call = (Verb::Get, key);
        let got = within(asked.send(), call).await?;
        let cut = |why: String| RemoteError::new(Class::Wrong, call.0, key, why);
        let body = tokio::time::timeout(TIME, got.body.collect()).await;
        let body = body.map_err(|_| cut(format!("no body in {TIME:?}")))?;
        let body = body.map_err(|error| cut(error.to_string()))?.into_bytes();
        self.report.bytes += body.len() as u64;
        Ok(body)
    }

    /// So many of them, whichever.
    fn some<T>(&self, mut all: Vec<T>, most: usize) -> Vec<T> {
        for at in 0..all.len().min(most) {
            let left = (all.len() - at) as u64;
            all.swap(at, at + (self.random.u64() % left) as usize);
        }
        all.truncate(most);
        all
    }
}

async fn within<T, E>(
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    (verb, what): (Verb, &str),
) -> Result<T, RemoteError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let late = |_| RemoteError::new(Class::TimedOut, verb, what, format!("no answer in {TIME:?}"));
    tokio::time::timeout(TIME, call).await.map_err(late)?.map_err(|error| failed((verb, what), &error))
}
