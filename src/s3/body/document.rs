//! Request documents: read whole within limits, compared with every hash that was sent, and looked at before a
//! recursive parser is. Answers' documents share the memory: a client that takes none of them could have any number made.

use super::strict::{Walk, malformed};
use super::upload::Upload;
use crate::s3::admission::{Desks, Gate, Party, Place, Refused, Slot};
use crate::s3::convert::{checksum_header, content_md5};
use crate::s3::error::refusal_of;
use crate::s3::refusal::{Refusal, refuse};
use crate::service::{InputError, ServiceError, digest_of};
use crate::types::{Checksum, ChecksumAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::HeaderMap;
use md5::Md5;
use quick_xml::Reader;
use quick_xml::events::Event;
use s3s::S3ErrorCode as Code;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// 10,000 parts, each with a checksum.
const MAX_DOCUMENT_BYTES: usize = 4 << 20;
/// The most parts of a completion, and keys of a deletion.
const MAX_PARTS: usize = 10_000;
const MAX_KEYS: usize = 1_000;
/// A part has up to ten.
const MAX_ELEMENTS: usize = 12 * MAX_PARTS;
/// The deepest that S3 defines is below ten.
const MAX_DEPTH: usize = 32;
/// Shorter ones have memory of their own, so that they never wait behind long ones.
const SHORT_BYTES: usize = 64 << 10;
/// What parsing takes beside the bytes: as much again.
const PARSED: usize = 2;
/// What one permit stands for.
const PERMIT_BYTES: usize = 1 << 10;
/// How long a document waits for memory, and may take to come.
const WAIT: Duration = Duration::from_secs(10);
/// How long a made answer waits: others wait for its turn to end.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// The memory that documents share, by turns of the clients.
#[derive(Debug, Clone)]
pub(in crate::s3) struct Documents {
    short: Gate,
    long: Gate,
    answers: Gate,
    /// Half of it for one client: one that takes none of its answers must not keep others from theirs.
    each: Arc<Desks>,
}

impl Documents {
    /// One part in four is for short ones, another for answers.
    pub(in crate::s3) fn new(bytes: usize) -> Self {
        let gate = |class, bytes: usize, wait| Gate::new(class, bytes / PERMIT_BYTES, wait);
        Self {
            short: gate("document", bytes / 4, WAIT),
            long: gate("long_document", bytes - 2 * (bytes / 4), WAIT),
            answers: gate("answer", bytes / 4, ANSWER_WAIT),
            each: Arc::new(Desks::new(bytes / 4 / PERMIT_BYTES / 2, ANSWER_WAIT)),
        }
    }

    /// The memory of an answer's document, for as long as any of it is there.
    pub(in crate::s3) async fn of_answer(
        &self,
        party: &Party,
        bytes: usize,
    ) -> Result<AnswerMemory, Refusal> {
        let permits = bytes.div_ceil(PERMIT_BYTES);
        let own = self.each.places(party, permits).await.map_err(used_up)?;
        let slot = self.answers.enter(party, permits).await.map_err(used_up)?;
        Ok(AnswerMemory { _held: Arc::new((slot, own)) })
    }

    /// How many wait for memory.
    pub(in crate::s3) fn waiting(&self) -> usize {
        self.short.waiting() + self.long.waiting() + self.answers.waiting()
    }

    async fn memory(&self, party: &Party, bytes: usize) -> Result<Slot, Refusal> {
        let gate = if bytes <= SHORT_BYTES { &self.short } else { &self.long };
        // The longest there may be takes all of a small one.
        gate.enter(party, (PARSED * bytes).div_ceil(PERMIT_BYTES)).await.map_err(used_up)
    }
}

fn used_up(Refused: Refused) -> Refusal {
    refusal_of(ServiceError::Busy("the memory for documents is used up"))
}

/// An answer's share of the memory, kept beside its bytes.
#[derive(Debug, Clone)]
pub(in crate::s3) struct AnswerMemory {
    _held: Arc<(Slot, Place)>,
}

impl AnswerMemory {
    /// The same bytes. The memory is given back with the last of them.
    pub(in crate::s3) fn keep(self, document: Bytes) -> Bytes {
        struct Kept {
            document: Bytes,
            _memory: AnswerMemory,
        }
        impl AsRef<[u8]> for Kept {
            fn as_ref(&self) -> &[u8] {
                &self.document
            }
        }
        Bytes::from_owner(Kept { document, _memory: self })
    }
}

/// A document, and its share of the memory while it is worked on.
#[derive(Debug)]
pub(in crate::s3) struct Document {
    pub(in crate::s3) bytes: Bytes,
    _memory: Slot,
}

/// `checksums` are those of the document that the head holds.
///
/// # Errors
/// When the body is too long, is not what was signed or hashed, or is XML that no S3 client sends.
pub(in crate::s3) async fn read_document(
    memory: (&Documents, &Party),
    headers: &HeaderMap,
    checksums: Vec<Checksum>,
    upload: &Upload,
) -> Result<Document, Refusal> {
    let document = read_bytes(memory, headers, checksums, upload).await?;
    if document.bytes.len() <= SHORT_BYTES {
        check_xml(&document.bytes)?;
    } else {
        let bytes = document.bytes.clone();
        let checked = tokio::task::spawn_blocking(move || check_xml(&bytes)).await;
        checked.map_err(|_| refusal_of(ServiceError::Internal("a document's check ended early")))??;
    }
    Ok(document)
}

/// As [`read_document`], of what is no XML.
///
/// # Errors
/// As there.
pub(in crate::s3) async fn read_bytes(
    (documents, party): (&Documents, &Party),
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
    let memory = documents.memory(party, most).await?;
    let read = tokio::time::timeout(PATIENCE, read_all(upload, most)).await;
    let bytes = read.map_err(|_| refusal_of(InputError::TimedOut.into()))??;
    check_hashes(&bytes, headers, checksums, upload).map_err(refusal_of)?;
    Ok(Document { bytes, _memory: memory })
}

async fn read_all(upload: &Upload, most: usize) -> Result<Bytes, Refusal> {
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
    match upload.size.filter(|size| *size != bytes.len() as u64) {
        Some(size) => Err(incomplete(size, bytes.len())),
        None => Ok(bytes.freeze()),
    }
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
            let (expected, computed) = (hex::encode(expected), BASE64.encode(computed));
            return Err(ServiceError::ContentMd5Mismatch { expected, computed });
        }
    }
    let in_trailers = ChecksumAlgorithm::ALL.into_iter().filter_map(|algorithm| {
        let value = upload.trailer(checksum_header(algorithm))?;
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

/// No document types, hence no entities; no depth that could exhaust a recursive parser's stack, and no more parts or
/// keys than there may be, since each takes much more memory parsed than written; no element that would be passed over.
pub(in crate::s3) fn check_xml(bytes: &[u8]) -> Result<(), Refusal> {
    let mut reader = Reader::from_reader(bytes);
    let mut walk = Walk::default();
    let (mut depth, mut parts, mut keys) = (0usize, 0, 0);
    let mut elements = 0;
    loop {
        let event = reader.read_event().map_err(|_| malformed())?;
        match &event {
            Event::Eof => return walk.eof(),
            // s3s drops CDATA: a prefix or a key would become an empty one.
            Event::DocType(_) | Event::CData(_) => return Err(malformed()),
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Event::Start(tag) | Event::Empty(tag) = &event {
            elements += 1;
            parts += usize::from(tag.local_name().as_ref() == b"Part");
            keys += usize::from(tag.local_name().as_ref() == b"Object");
        }
        if depth > MAX_DEPTH || parts > MAX_PARTS || keys > MAX_KEYS || elements > MAX_ELEMENTS {
            return Err(malformed());
        }
        walk.step(&event)?;
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
