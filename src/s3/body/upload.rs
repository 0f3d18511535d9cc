//! An object's or a part's bytes: a stream without the transfer's framing, and what was promised of them.

use super::chunked::{ChunkError, Decoder, Trailers};
use super::counted::Traffic;
use crate::s3::auth::Payload;
use crate::s3::gateway::BoxError;
use crate::s3::refusal::{Refusal, refuse};
use crate::service::{Caller, DeltaBody, InputError, InputStream, ObjectService, ServiceError};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Version, header, request::Parts};
use http_body::Body;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use s3s::S3ErrorCode as Code;
use std::sync::Arc;

/// What the head of a request says of the body that follows.
#[derive(Debug)]
pub(in crate::s3) struct UploadHead {
    /// Without framing, in bytes. Unknown only where HTTP's own framing tells the end.
    pub(in crate::s3) size: Option<u64>,
    payload: Payload,
    announced: Vec<String>,
}

impl UploadHead {
    /// # Errors
    /// When headers contradict each other, or an upload's length is missing.
    pub(in crate::s3) fn parse(
        head: &Parts,
        payload: Payload,
        is_upload: bool,
        is_empty: bool,
    ) -> Result<Self, Refusal> {
        let length = number(&head.headers, "content-length")?;
        let decoded = number(&head.headers, "x-amz-decoded-content-length")?;
        let has_trailer = matches!(payload, Payload::Chunked { has_trailer: true, .. });
        if head.headers.contains_key("x-amz-trailer") && !has_trailer {
            let message = "x-amz-trailer needs an x-amz-content-sha256 that announces a trailer";
            return Err(refuse(Code::InvalidRequest, message));
        }
        let size = match payload {
            Payload::Chunked { .. } => Some(decoded.ok_or_else(missing_length)?),
            Payload::Unsigned | Payload::Hashed(_) => length,
        };
        // HTTP/2 needs no length for its framing, but then a cut could be taken for the end.
        let is_framed = head.headers.contains_key(header::TRANSFER_ENCODING);
        if size.is_none() && !is_framed && is_upload {
            return Err(missing_length());
        }
        let may_come = is_framed || (head.version >= Version::HTTP_2 && !is_empty);
        Ok(Self { size: size.or((!may_come).then_some(0)), payload, announced: announced(&head.headers) })
    }
}

/// The names in `x-amz-trailer`, sorted.
fn announced(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all("x-amz-trailer").iter().filter_map(|value| value.to_str().ok());
    let names = lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_ascii_lowercase());
    let mut names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    names.sort();
    names.dedup();
    names
}

fn missing_length() -> Refusal {
    refuse(Code::MissingContentLength, "You must provide the Content-Length HTTP header.")
}

fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let wrong = || refuse(Code::InvalidArgument, format!("The header {name} is not a length in bytes."));
    digits.and_then(|text| text.parse().ok()).map(Some).ok_or_else(wrong)
}

/// A body, on its way from the gateway to the operation that stores it. Taken once.
#[derive(Clone)]
pub(in crate::s3) struct Upload {
    stream: Arc<Mutex<Option<InputStream>>>,
    trailers: Arc<Mutex<Option<Trailers>>>,
    pub(in crate::s3) size: Option<u64>,
    pub(in crate::s3) sha256: Option<[u8; 32]>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Upload {
    /// The traffic counts what came, framing included.
    pub(in crate::s3) fn new<B>(head: UploadHead, body: B, traffic: Arc<Traffic>) -> Self
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let UploadHead { size, payload, announced } = head;
        let trailers = Arc::new(Mutex::new(None));
        let frames = body.into_data_stream().map(move |frame| {
            let bytes = frame.map_err(|error| read_error(&error.into()))?;
            traffic.received(bytes.len());
            Ok(bytes)
        });
        let (stream, sha256) = match payload {
            Payload::Unsigned => (frames.boxed(), None),
            Payload::Hashed(hash) => (frames.boxed(), Some(hash)),
            Payload::Chunked { signer, has_trailer } => {
                let announced = has_trailer.then_some(announced);
                let decoder = Decoder::new(signer, announced, size.unwrap_or_default());
                (unframed(frames.boxed(), decoder, Arc::clone(&trailers)), None)
            }
        };
        Self { stream: Arc::new(Mutex::new(Some(stream))), trailers, size, sha256 }
    }

    /// Bytes whose end is known only when it comes.
    pub(in crate::s3) fn of_stream(stream: InputStream) -> Self {
        let stream = Arc::new(Mutex::new(Some(stream)));
        Self { stream, trailers: Arc::new(Mutex::new(None)), size: None, sha256: None }
    }

    /// The body that this one is the delta of.
    ///
    /// # Errors
    /// Those of [`ObjectService::expand`].
    pub(in crate::s3) fn expanded(
        self,
        length: u64,
        service: &ObjectService,
        caller: &Caller,
    ) -> Result<Self, ServiceError> {
        let delta = DeltaBody { stream: self.take_stream(), sha256: self.sha256, length };
        let stream = Arc::new(Mutex::new(Some(service.expand(caller, delta)?)));
        Ok(Self { stream, trailers: self.trailers, size: Some(length), sha256: None })
    }

    /// The bytes. Empty the second time.
    pub(in crate::s3) fn take_stream(&self) -> InputStream {
        self.stream.lock().take().unwrap_or_else(|| futures::stream::empty().boxed())
    }

    /// The value of a trailing header, once the stream has ended.
    pub(in crate::s3) fn trailer(&self, name: &str) -> Option<String> {
        let trailers = self.trailers.lock();
        let mut found = trailers.iter().flatten().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.clone())
    }
}

/// Takes the framing off. The stream ends well only if the framing did.
fn unframed(frames: InputStream, decoder: Decoder, trailers: Arc<Mutex<Option<Trailers>>>) -> InputStream {
    let state = Some((frames, decoder, trailers));
    let blocks = futures::stream::unfold(state, |state| async move {
        let (mut frames, mut decoder, trailers) = state?;
        let mut out = Vec::new();
        let step = match frames.next().await {
            Some(Ok(bytes)) => decoder.decode(bytes, &mut out).map_err(InputError::from),
            Some(Err(error)) => Err(error),
            None => {
                let ended = decoder.finish().map(|found| *trailers.lock() = Some(found));
                return ended.err().map(|error| (vec![Err(error.into())], None));
            }
        };
        let mut items: Vec<_> = out.into_iter().map(Ok).collect();
        match step {
            Ok(()) => Some((items, Some((frames, decoder, trailers)))),
            Err(error) => {
                items.push(Err(error));
                Some((items, None))
            }
        }
    });
    blocks.map(futures::stream::iter).flatten().boxed()
}

impl From<ChunkError> for InputError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Malformed(why) => Self::Malformed(why.to_owned()),
            ChunkError::Incomplete => Self::Incomplete,
            ChunkError::Signature => Self::Signature,
            ChunkError::Trailer => Self::Trailer,
        }
    }
}

/// The transport says by an I/O error's kind why no more bytes come.
fn read_error(error: &BoxError) -> InputError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::TimedOut => InputError::TimedOut,
                std::io::ErrorKind::UnexpectedEof => InputError::Incomplete,
                _ => InputError::Io(io.to_string()),
            };
        }
        cause = error.source();
    }
    InputError::Io(error.to_string())
}
