//! Values that many operations share, between s3s and the domain.

use super::dates::{date_header, http_date};
use crate::service::{ETagCondition, Expiry, ReadConditions, ServiceError, WriteConditions};
use crate::types::{Attributes, ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, UnixMillis};
use http::HeaderMap;
use s3s::dto;
use std::borrow::Cow;
use std::collections::BTreeMap;
use time::OffsetDateTime;

pub(super) fn timestamp(at: UnixMillis) -> dto::Timestamp {
    let nanos = i128::from(at.get()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
}

/// A date of a document or a header, to the millisecond.
pub(super) fn moment(at: dto::Timestamp) -> UnixMillis {
    let millis = OffsetDateTime::from(at).unix_timestamp_nanos() / 1_000_000;
    UnixMillis::new(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// Where S3 counts whole seconds, as headers do: in listings.
pub(super) fn whole_seconds(at: UnixMillis) -> dto::Timestamp {
    OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
}

/// `x-amz-expiration`.
pub(super) fn expiration(expiry: &Expiry) -> String {
    let rule = Names::encoded().show(&expiry.rule);
    format!("expiry-date=\"{}\", rule-id=\"{rule}\"", http_date(expiry.at))
}

pub(super) fn etag(etag: ETag) -> Option<dto::ETag> {
    Some(dto::ETag::Strong(etag.to_string()))
}

pub(super) fn size(bytes: u64) -> Option<i64> {
    i64::try_from(bytes).ok()
}

/// Several lines are one list. What cannot be read is no tag.
fn list(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("\0")).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// What cannot be read matches nothing, rather than anything.
fn header_condition(headers: &HeaderMap, name: &str) -> Option<ETagCondition> {
    list(headers, name).map(|text| ETagCondition::parse(&text))
}

/// Of a copy on its source: it writes, so that no date may go for nothing.
///
/// # Errors
/// `InvalidArgument` for a date that is none, or is there twice.
pub(super) fn source_conditions(headers: &HeaderMap) -> Result<ReadConditions, ServiceError> {
    const NAMES: [&str; 4] = [
        "x-amz-copy-source-if-match",
        "x-amz-copy-source-if-none-match",
        "x-amz-copy-source-if-modified-since",
        "x-amz-copy-source-if-unmodified-since",
    ];
    for name in NAMES.into_iter().skip(2) {
        let dates: Vec<_> = headers.get_all(name).iter().map(date_header).collect();
        if !matches!(dates[..], [] | [Some(_)]) {
            let (value, reason) = (String::new(), "The header must be there once, and be a date.");
            return Err(ServiceError::InvalidArgument { name, value, reason });
        }
    }
    Ok(conditions(headers, NAMES))
}

/// Of a read. A date that is none does not count.
pub(super) fn read_conditions(headers: &HeaderMap) -> ReadConditions {
    conditions(headers, ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"])
}

fn conditions(
    headers: &HeaderMap,
    [match_, none_match, modified, unmodified]: [&'static str; 4],
) -> ReadConditions {
    ReadConditions {
        if_match: header_condition(headers, match_),
        if_none_match: header_condition(headers, none_match),
        if_modified_since: headers.get(modified).and_then(date_header),
        if_unmodified_since: headers.get(unmodified).and_then(date_header),
    }
}

/// # Errors
/// `InvalidArgument` for an `If-None-Match` that cannot be read whole: what matches nothing would let any write through.
pub(super) fn write_conditions(headers: &HeaderMap) -> Result<WriteConditions, ServiceError> {
    let if_none_match = list(headers, "if-none-match").map(|text| {
        ETagCondition::parse_whole(&text).ok_or_else(|| ServiceError::InvalidArgument {
            name: "If-None-Match",
            value: text.chars().take(256).collect(),
            reason: "If-None-Match of a write must be * or an entity tag",
        })
    });
    let if_match = header_condition(headers, "if-match");
    Ok(WriteConditions { if_match, if_none_match: if_none_match.transpose()? })
}

pub(super) fn algorithm(
    asked: Option<&dto::ChecksumAlgorithm>,
) -> Result<Option<ChecksumAlgorithm>, ServiceError> {
    let Some(asked) = asked else { return Ok(None) };
    ChecksumAlgorithm::from_name(asked.as_str()).map(Some).ok_or_else(|| ServiceError::InvalidRequest {
        reason: "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
                 [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
            .into(),
    })
}

pub(super) fn kind(asked: Option<&dto::ChecksumType>) -> Result<Option<ChecksumKind>, ServiceError> {
    match asked.map(dto::ChecksumType::as_str) {
        None => Ok(None),
        Some(dto::ChecksumType::COMPOSITE) => Ok(Some(ChecksumKind::Composite)),
        Some(dto::ChecksumType::FULL_OBJECT) => Ok(Some(ChecksumKind::FullObject)),
        Some(_) => Err(ServiceError::InvalidRequest {
            reason: "Value for x-amz-checksum-type header is invalid.".into(),
        }),
    }
}

/// Whether checksums are to be shown. The SDK for C++, and so pyarrow, writes it in lower case.
pub(super) fn checksum_mode(asked: Option<&dto::ChecksumMode>) -> Result<bool, ServiceError> {
    match asked.map(dto::ChecksumMode::as_str) {
        None => Ok(false),
        Some(mode) if mode.eq_ignore_ascii_case(dto::ChecksumMode::ENABLED) => Ok(true),
        Some(_) => Err(ServiceError::InvalidRequest {
            reason: "Value for x-amz-checksum-mode header is invalid.".into(),
        }),
    }
}

pub(super) fn kind_name(kind: ChecksumKind) -> dto::ChecksumType {
    dto::ChecksumType::from_static(match kind {
        ChecksumKind::Composite => dto::ChecksumType::COMPOSITE,
        ChecksumKind::FullObject => dto::ChecksumType::FULL_OBJECT,
    })
}

pub(super) fn algorithm_name(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from_static(algorithm.name())
}

/// The five fields in which S3 carries a checksum; of these at most one is set.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
    pub(super) kind: Option<dto::ChecksumType>,
}

impl Sums {
    pub(super) fn of(checksum: Option<&Checksum>) -> Self {
        let mut sums = Self::default();
        let Some(checksum) = checksum else { return sums };
        *sums.field(checksum.algorithm()) = Some(checksum.to_string());
        sums.kind = Some(kind_name(checksum.kind()));
        sums
    }

    const fn field(&mut self, algorithm: ChecksumAlgorithm) -> &mut Option<String> {
        match algorithm {
            ChecksumAlgorithm::Crc32 => &mut self.crc32,
            ChecksumAlgorithm::Crc32c => &mut self.crc32c,
            ChecksumAlgorithm::Crc64Nvme => &mut self.crc64nvme,
            ChecksumAlgorithm::Sha1 => &mut self.sha1,
            ChecksumAlgorithm::Sha256 => &mut self.sha256,
        }
    }

    /// What a client sent, as S3 tells it in an error.
    pub(super) fn listed(&self) -> String {
        let fields = [
            (ChecksumAlgorithm::Crc32, &self.crc32),
            (ChecksumAlgorithm::Crc32c, &self.crc32c),
            (ChecksumAlgorithm::Crc64Nvme, &self.crc64nvme),
            (ChecksumAlgorithm::Sha1, &self.sha1),
            (ChecksumAlgorithm::Sha256, &self.sha256),
        ];
        let sent = fields.into_iter().filter_map(|(algorithm, text)| Some((algorithm, text.as_ref()?)));
        let listed: String = sent.map(|(algorithm, text)| format!("{}:{text};", algorithm.name())).collect();
        listed.chars().take(256).collect()
    }

    /// What a client sent, all of it.
    pub(super) fn parse(mut self) -> Result<Vec<Checksum>, ServiceError> {
        let sent =
            ChecksumAlgorithm::ALL.into_iter().filter_map(|a| self.field(a).take().map(|text| (a, text)));
        sent.map(|(algorithm, text)| {
            Checksum::parse(algorithm, &text).map_err(|_| ServiceError::InvalidChecksum { algorithm })
        })
        .collect()
    }

    /// What a client sent, where it may send one.
    pub(super) fn one(self) -> Result<Option<Checksum>, ServiceError> {
        let mut sent = self.parse()?;
        if sent.len() > 1 {
            let reason =
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
            return Err(ServiceError::InvalidRequest { reason: reason.into() });
        }
        Ok(sent.pop())
    }
}

/// Takes the checksum fields of an s3s input.
macro_rules! sums {
    ($input:expr) => {
        $crate::s3::convert::Sums {
            crc32: $input.checksum_crc32.take(),
            crc32c: $input.checksum_crc32c.take(),
            crc64nvme: $input.checksum_crc64nvme.take(),
            sha1: $input.checksum_sha1.take(),
            sha256: $input.checksum_sha256.take(),
            kind: None,
        }
    };
}
pub(super) use sums;

/// `bytes=…` with one range; what is not understood is ignored, as RFC 9110 has it, and several ranges are as S3 does.
pub(super) fn range(headers: &HeaderMap) -> Option<ByteRange> {
    let text = headers.get("range")?.to_str().ok()?;
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-').filter(|_| unit.trim().eq_ignore_ascii_case("bytes"))?;
    match (first, last) {
        ("", length) => Some(ByteRange::Suffix { length: number(length)? }),
        (first, "") => Some(ByteRange::From { first: number(first)? }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(ByteRange::Span { first, last })
        }
    }
}

/// Digits alone. More than there can be is more than there is.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// `x-amz-copy-source-range`. Unlike `Range`, this one is never ignored.
pub(super) fn copy_range(asked: Option<&str>) -> Result<ByteRange, ServiceError> {
    let Some(asked) = asked else { return Ok(ByteRange::All) };
    let span = asked.strip_prefix("bytes=").and_then(|span| span.split_once('-'));
    let span = span.and_then(|(first, last)| Some((number(first)?, number(last)?)));
    span.map(|(first, last)| ByteRange::Span { first, last }).ok_or(ServiceError::InvalidArgument {
        name: "x-amz-copy-source-range",
        value: asked.chars().take(256).collect(),
        reason: "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
    })
}

/// The header, and the trailer, that carries a checksum.
pub(super) const fn checksum_header(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
    }
}

/// The checksums in a head.
pub(super) fn sent_checksums(headers: &HeaderMap) -> Result<Vec<Checksum>, ServiceError> {
    let sent = ChecksumAlgorithm::ALL.into_iter().filter_map(|algorithm| {
        let value = headers.get(checksum_header(algorithm))?.to_str().unwrap_or_default();
        Some(Checksum::parse(algorithm, value).map_err(|_| ServiceError::InvalidChecksum { algorithm }))
    });
    sent.collect()
}

pub(super) fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, ServiceError> {
    decode_md5(headers.get("content-md5").map(|value| value.to_str().unwrap_or_default()))
}

fn decode_md5(text: Option<&str>) -> Result<Option<[u8; 16]>, ServiceError> {
    use base64::Engine as _;
    let Some(text) = text else { return Ok(None) };
    let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok();
    decoded.and_then(|bytes| bytes.try_into().ok()).map(Some).ok_or(ServiceError::InvalidArgument {
        name: "Content-MD5",
        value: text.chars().take(256).collect(),
        reason: "The Content-MD5 you specified was invalid.",
    })
}

const TRANSFER_CODING: &str = "aws-chunked";

/// What is left of `Content-Encoding` once the transfer's own is taken off.
pub(super) fn content_encoding(asked: Option<&str>) -> Option<String> {
    let asked = asked?;
    let codings = || asked.split(',').map(str::trim);
    let left = if codings().any(|coding| coding == TRANSFER_CODING) {
        codings().filter(|coding| *coding != TRANSFER_CODING).collect::<Vec<_>>().join(",")
    } else {
        asked.to_owned()
    };
    Some(left).filter(|left| !left.is_empty())
}

/// As it was sent, byte for byte; what is not UTF-8 is taken for Latin-1. Repeated headers are one list.
pub(super) fn user_metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    for name in headers.keys() {
        let Some(short) = name.as_str().strip_prefix("x-amz-meta-") else { continue };
        let values = headers.get_all(name).iter().map(|value| {
            let bytes = value.as_bytes();
            let latin = || bytes.iter().copied().map(char::from).collect();
            std::str::from_utf8(bytes).map_or_else(|_| latin(), str::to_owned)
        });
        metadata.insert(short.to_owned(), values.collect::<Vec<_>>().join(","));
    }
    metadata
}

/// The header as it was sent: dates that s3s would write another way are kept.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Takes the fields that describe an object from an s3s input.
macro_rules! attributes {
    ($input:expr, $headers:expr) => {
        $crate::types::Attributes {
            content_type: $input.content_type.take(),
            content_encoding: $crate::s3::convert::content_encoding(
                $input.content_encoding.take().as_deref(),
            ),
            content_language: $input.content_language.take(),
            content_disposition: $input.content_disposition.take(),
            cache_control: $input.cache_control.take(),
            expires: $crate::s3::convert::header($headers, "expires"),
            website_redirect_location: $input.website_redirect_location.take(),
            storage_class: $input.storage_class.take().map(|class| class.as_str().to_owned()),
            user: $crate::s3::convert::user_metadata($headers),
            replica_of: None,
        }
    };
}
pub(super) use attributes;

/// The one storage class needs no mention.
pub(super) fn storage_class(attributes: &Attributes) -> Option<dto::StorageClass> {
    attributes.storage_class.clone().filter(|class| class != "STANDARD").map(dto::StorageClass::from)
}

/// Names in listings, percent-encoded where the client asks for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    encoded: bool,
}

impl Names {
    pub(super) const fn encoded() -> Self {
        Self { encoded: true }
    }

    pub(super) fn new(asked: Option<&dto::EncodingType>) -> Result<Self, ServiceError> {
        match asked.map(dto::EncodingType::as_str) {
            None => Ok(Self { encoded: false }),
            Some(dto::EncodingType::URL) => Ok(Self::encoded()),
            Some(other) => Err(ServiceError::InvalidArgument {
                name: "encoding-type",
                value: other.chars().take(256).collect(),
                reason: "Invalid Encoding Method specified in Request",
            }),
        }
    }

    pub(super) fn show(self, name: &str) -> String {
        self.shown(name).into_owned()
    }

    /// As [`Self::show`], without a copy where nothing changes.
    pub(super) fn shown(self, name: &str) -> Cow<'_, str> {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'*');
        if !self.encoded || name.bytes().all(is_plain) {
            return Cow::Borrowed(name);
        }
        let mut shown = String::with_capacity(name.len() + 16);
        for byte in name.bytes() {
            if is_plain(byte) {
                shown.push(char::from(byte));
            } else {
                let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
                shown.extend(['%', digit(byte >> 4), digit(byte)]);
            }
        }
        Cow::Owned(shown)
    }

    /// What was given and is not empty.
    pub(super) fn show_given(self, name: Option<String>) -> Option<String> {
        name.filter(|name| !name.is_empty()).map(|name| self.show(&name))
    }

    pub(super) fn prefixes(self, prefixes: &[String]) -> Option<Vec<dto::CommonPrefix>> {
        let shown = prefixes.iter().map(|prefix| dto::CommonPrefix { prefix: Some(self.show(prefix)) });
        Some(shown.collect()).filter(|all: &Vec<_>| !all.is_empty())
    }
}
