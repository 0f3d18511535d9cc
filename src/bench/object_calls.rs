//! The requests of S3 that loads are made of.

use super::body::{Made, Outgoing};
use super::chunked;
use super::client::Client;
use super::failure::{Failure, element};
use super::lanes::Recipe;
use super::plan::Payload;
use super::requests::{Call, UNSIGNED, UNSIGNED_TRAILER};
use base64::Engine as _;
use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use http::{Method, StatusCode};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;

/// A body and what is signed of it, made before the clock of an operation starts.
pub(super) struct Prepared {
    pub(super) recipe: Recipe,
    payload: String,
}

impl Prepared {
    pub(super) fn unsigned(recipe: Recipe) -> Self {
        Self { recipe, payload: UNSIGNED.to_owned() }
    }
}

/// An upload that was begun.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    key: String,
    id: String,
}

impl Client<'_> {
    /// What is signed takes a while to hash: others of this thread go on meanwhile.
    pub(super) async fn prepare(&self, recipe: Recipe) -> Prepared {
        let payload = match self.context.plan.payload {
            Payload::Unsigned => UNSIGNED.to_owned(),
            Payload::Trailer => UNSIGNED_TRAILER.to_owned(),
            Payload::Signed => self.hash(&recipe).await,
        };
        Prepared { recipe, payload }
    }

    async fn hash(&self, recipe: &Recipe) -> String {
        const STEP: u64 = 1 << 20;
        let mut hash = Sha256::new();
        for step in 0..recipe.len.div_ceil(STEP) {
            let part = recipe.slice(step * STEP, STEP);
            part.each_block(&self.context.material, |block| hash.update(block));
            tokio::task::yield_now().await;
        }
        hex::encode(hash.finalize())
    }

    fn path(&self, key: &str) -> String {
        format!("/{}/{key}", self.context.plan.bucket.as_str())
    }

    fn bucket(&self, method: Method) -> Call {
        Call::new(method, format!("/{}", self.context.plan.bucket.as_str()))
    }

    /// With the body of what was prepared.
    async fn send(&mut self, mut call: Call, prepared: &Prepared) -> Result<http::HeaderMap, Failure> {
        let (recipe, buffers) = (prepared.recipe.clone(), self.buffers.clone());
        let material = Arc::clone(&self.context.material);
        call.payload.clone_from(&prepared.payload);
        let made = if self.context.plan.payload == Payload::Trailer {
            call.headers.push(("content-encoding", "aws-chunked".to_owned()));
            call.headers.push(("x-amz-decoded-content-length", recipe.len.to_string()));
            call.headers.push(("x-amz-trailer", chunked::TRAILER.to_owned()));
            Made::with_trailer(material, recipe, buffers)
        } else {
            Made::plain(material, recipe, buffers)
        };
        Ok(self.exchange(&call, Outgoing::Made(Box::new(made)), ignore).await?.0)
    }

    pub(super) async fn put(&mut self, key: &str, prepared: &Prepared) -> Result<(), Failure> {
        let call = Call::new(Method::PUT, self.path(key));
        self.send(call, prepared).await.map(drop)
    }

    /// With the length that must come and, where bytes are compared, the CRC-64/NVME.
    pub(super) async fn get(&mut self, key: &str, len: u64, crc: Option<u64>) -> Result<(), Failure> {
        let call = Call::new(Method::GET, self.path(key));
        let mut digest = crc.map(|_| crc_fast::Digest::new(Crc64Nvme));
        let take = |piece: &[u8]| {
            if let Some(digest) = &mut digest {
                digest.update(piece);
            }
        };
        let (_, got) = self.exchange(&call, Outgoing::empty(), take).await?;
        if got != len {
            return Err(Failure::Length { wanted: len, got });
        }
        if digest.map(|digest| digest.finalize()) != crc {
            return Err(Failure::Content);
        }
        Ok(())
    }

    pub(super) async fn head(&mut self, key: &str, wanted: u64) -> Result<(), Failure> {
        let call = Call::new(Method::HEAD, self.path(key));
        let (headers, _) = self.exchange(&call, Outgoing::empty(), ignore).await?;
        let len = headers.get(http::header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
        let got = len.ok_or(Failure::Answer("it has no length"))?;
        if got == wanted { Ok(()) } else { Err(Failure::Length { wanted, got }) }
    }

    pub(super) async fn delete(&mut self, key: &str) -> Result<(), Failure> {
        let call = Call::new(Method::DELETE, self.path(key));
        self.exchange(&call, Outgoing::empty(), ignore).await.map(drop)
    }

    /// Up to 1,000 keys below the prefix. Returns the bytes that came, and how many keys where they are counted.
    pub(super) async fn list(
        &mut self,
        prefix: &str,
        after: Option<String>,
        counted: bool,
    ) -> Result<(u64, Option<u64>), Failure> {
        let mut call = self.bucket(Method::GET).with("list-type", "2").with("max-keys", "1000");
        call = call.with("prefix", prefix);
        if let Some(after) = after {
            call = call.with("start-after", after);
        }
        if !counted {
            let (_, got) = self.exchange(&call, Outgoing::empty(), ignore).await?;
            return Ok((got, None));
        }
        let (_, text) = self.ask(&call, Outgoing::empty()).await?;
        Ok((text.len() as u64, Some(text.matches("<Key>").count() as u64)))
    }

    pub(super) async fn begin_upload(&mut self, key: &str) -> Result<Upload, Failure> {
        let mut call = Call::new(Method::POST, self.path(key)).with("uploads", "");
        if self.context.plan.payload == Payload::Trailer {
            call.headers.push(("x-amz-checksum-algorithm", "CRC64NVME".to_owned()));
        }
        let (_, text) = self.ask(&call, Outgoing::empty()).await?;
        let id = element(&text, "UploadId").ok_or(Failure::Answer("it names no upload"))?;
        Ok(Upload { key: key.to_owned(), id: unescape(id) })
    }

    /// Returns its `ETag`.
    pub(super) async fn put_part(
        &mut self,
        upload: &Upload,
        number: usize,
        part: &Prepared,
    ) -> Result<String, Failure> {
        let call = Call::new(Method::PUT, self.path(&upload.key));
        let call = call.with("uploadId", &upload.id).with("partNumber", number.to_string());
        let headers = self.send(call, part).await?;
        let tag = headers.get(http::header::ETAG).and_then(|tag| tag.to_str().ok());
        tag.map(str::to_owned).ok_or(Failure::Answer("a part has no ETag"))
    }

    pub(super) async fn complete(&mut self, upload: &Upload, tags: &[String]) -> Result<(), Failure> {
        let mut xml = "<CompleteMultipartUpload>".to_owned();
        for (number, tag) in (1..).zip(tags) {
            let _ = write!(xml, "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
        }
        xml.push_str("</CompleteMultipartUpload>");
        let call = Call::new(Method::POST, self.path(&upload.key)).with("uploadId", &upload.id);
        let (_, text) = self.document(call, xml).await?;
        // The status may have been sent before the work was done.
        refused_within(&text)
    }

    pub(super) async fn abort(&mut self, upload: &Upload) -> Result<(), Failure> {
        let call = Call::new(Method::DELETE, self.path(&upload.key)).with("uploadId", &upload.id);
        self.exchange(&call, Outgoing::empty(), ignore).await.map(drop)
    }

    async fn document(&mut self, mut call: Call, xml: String) -> Result<(http::HeaderMap, String), Failure> {
        let md5 = base64::engine::general_purpose::STANDARD.encode(Md5::digest(&xml));
        call.headers.push(("content-md5", md5));
        call.payload = hex::encode(Sha256::digest(&xml));
        self.ask(&call, Outgoing::Bytes(Bytes::from(xml))).await
    }

    /// At most 1,000.
    pub(super) async fn delete_many(&mut self, keys: &[String]) -> Result<(), Failure> {
        let mut xml = "<Delete><Quiet>true</Quiet>".to_owned();
        for key in keys {
            let _ = write!(xml, "<Object><Key>{key}</Key></Object>");
        }
        xml.push_str("</Delete>");
        let call = self.bucket(Method::POST).with("delete", "");
        let (_, text) = self.document(call, xml).await?;
        refused_within(&text)
    }

    /// Whether it was not there before.
    pub(super) async fn create_bucket(&mut self) -> Result<bool, Failure> {
        let exists = self.exchange(&self.bucket(Method::HEAD), Outgoing::empty(), ignore).await;
        match exists {
            Ok(_) => return Ok(false),
            Err(Failure::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
            Err(failure) => return Err(failure),
        }
        self.exchange(&self.bucket(Method::PUT), Outgoing::empty(), ignore).await.map(|_| true)
    }

    pub(super) async fn delete_bucket(&mut self) -> Result<(), Failure> {
        self.exchange(&self.bucket(Method::DELETE), Outgoing::empty(), ignore).await.map(drop)
    }
}

/// What comes is only counted.
const fn ignore(_: &[u8]) {}

fn refused_within(text: &str) -> Result<(), Failure> {
    if !text.contains("<Error>") {
        return Ok(());
    }
    let code = element(text, "Code").map(str::to_owned);
    Err(Failure::Refused { status: StatusCode::OK, code })
}

/// An upload's id may hold what XML escapes.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}
