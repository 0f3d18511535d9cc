//! Request documents: read whole within limits, compared with every hash that was sent, and looked at before a
//! recursive parser is.

use super::upload::Upload;
use crate::s3::convert::{checksum_header, content_md5};
use crate::s3::error::refusal_of;
use crate::s3::refusal::{Refusal, refuse};
use crate::service::{ServiceError, digest_of};
use crate::types::{Checksum, ChecksumAlgorithm};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::HeaderMap;
use md5::Md5;
use quick_xml::Reader;
use quick_xml::events::Event;
use s3s::S3ErrorCode as Code;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// 10,000 parts, each with a checksum.
const MAX_DOCUMENT_BYTES: usize = 4 << 20;
/// All documents that are held at once, in bytes.
const MAX_DOCUMENTS_BYTES: usize = 64 << 20;
/// The deepest that S3 defines is below ten.
const MAX_DEPTH: usize = 32;
/// What one permit stands for.
const PERMIT_BYTES: usize = 1 << 10;

/// The memory that documents share.
#[derive(Debug, Clone)]
pub(in crate::s3) struct Documents(Arc<Semaphore>);

impl Default for Documents {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_DOCUMENTS_BYTES / PERMIT_BYTES)))
    }
}

/// A document, and its share of the memory while it is worked on.
#[derive(Debug)]
pub(in crate::s3) struct Document {
    pub(in crate::s3) bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

/// `checksums` are those of the document that the head holds.
///
/// # Errors
/// When the body is too long, is not what was signed or hashed, or is XML that no S3 client sends.
pub(in crate::s3) async fn read_document(
    documents: &Documents,
    headers: &HeaderMap,
    checksums: Vec<Checksum>,
    upload: &Upload,
) -> Result<Document, Refusal> {
    let most = match upload.size {
        None => MAX_DOCUMENT_BYTES,
        Some(size) => usize::try_from(size).unwrap_or(usize::MAX),
    };
    if most > MAX_DOCUMENT_BYTES {
        return Err(too_long());
    }
    let permits = u32::try_from(most.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
    let memory = Arc::clone(&documents.0).acquire_many_owned(permits).await.ok();
    let mut bytes = BytesMut::new();
    let mut stream = upload.take_stream();
    while let Some(frame) = stream.next().await {
        let frame = frame.map_err(|error| refusal_of(error.into()))?;
        let length = bytes.len() + frame.len();
        if length > most {
            return Err(upload.size.map_or_else(too_long, |size| incomplete(size, length)));
        }
        bytes.extend_from_slice(&frame);
    }
    if let Some(size) = upload.size.filter(|size| *size != bytes.len() as u64) {
        return Err(incomplete(size, bytes.len()));
    }
    let bytes = bytes.freeze();
    check_hashes(&bytes, headers, checksums, upload).map_err(refusal_of)?;
    check_xml(&bytes)?;
    Ok(Document { bytes, _memory: memory })
}

fn too_long() -> Refusal {
    refuse(Code::MaxMessageLengthExceeded, "Your request was too big.")
        .with("MaxMessageLengthBytes", &MAX_DOCUMENT_BYTES.to_string())
}

fn incomplete(announced: u64, actual: usize) -> Refusal {
    refusal_of(ServiceError::IncompleteBody { announced, actual: actual as u64 })
}

fn check_hashes(
    bytes: &[u8],
    headers: &HeaderMap,
    checksums: Vec<Checksum>,
    upload: &Upload,
) -> Result<(), ServiceError> {
    if upload.sha256.is_some_and(|expected| expected[..] != Sha256::digest(bytes)[..]) {
        return Err(ServiceError::ContentSha256Mismatch);
    }
    if let Some(expected) = content_md5(headers)? {
        let computed: [u8; 16] = Md5::digest(bytes).into();
        if expected != computed {
            let (expected, computed) = (hex::encode(expected), hex::encode(computed));
            return Err(ServiceError::ContentMd5Mismatch { expected, computed });
        }
    }
    let in_trailers = ChecksumAlgorithm::ALL.into_iter().filter_map(|algorithm| {
        let value = upload.trailer(&checksum_header(algorithm))?;
        Some(Checksum::parse(algorithm, &value).map_err(|_| ServiceError::InvalidChecksum { algorithm }))
    });
    let sent = checksums.into_iter().map(Ok).chain(in_trailers);
    for expected in sent {
        let expected: Checksum = expected?;
        let algorithm = expected.algorithm();
        let computed = Checksum::full(algorithm, &digest_of(algorithm, bytes));
        let computed = computed.map_err(|_| ServiceError::Internal("a digest has another length"))?;
        if computed != expected {
            return Err(ServiceError::ChecksumMismatch {
                algorithm,
                expected: expected.to_string(),
                computed: computed.to_string(),
            });
        }
    }
    Ok(())
}

/// No document types, hence no entities, and no depth that could exhaust a recursive parser's stack.
pub(in crate::s3) fn check_xml(bytes: &[u8]) -> Result<(), Refusal> {
    let malformed = || {
        let message =
            "The XML you provided was not well-formed or did not validate against our published schema";
        refuse(Code::MalformedXML, message)
    };
    let mut reader = Reader::from_reader(bytes);
    let mut depth = 0usize;
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Eof => return Ok(()),
            Event::DocType(_) => return Err(malformed()),
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(malformed());
        }
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
