//! What a client's bytes meet first, for the fuzz targets: nothing may panic, and what is accepted keeps its promises.

pub(in crate::s3) mod document;

pub use document::document;

use super::address::{Address, Domains, host};
use super::auth::Authenticator;
use super::body::Decoder;
use super::ops::copy_source;
use super::query::{Query, decode, encode};
use super::{Credentials, convert, tagging};
use crate::service::{parse_bucket_name, parse_key};
use crate::types::{ByteRange, Principal};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use s3s::dto::CopySource;
use time::OffsetDateTime;

/// However the bytes are cut into reads, the body is the same, and never longer than announced.
pub fn aws_chunked(length: u64, pieces: &[Vec<u8>]) {
    let decode = |pieces: &[Vec<u8>]| {
        let mut decoder = Decoder::new(None, Some(vec!["x-amz-checksum-crc32".to_owned()]), length);
        let mut out = Vec::new();
        let fed = pieces.iter().try_for_each(|piece| decoder.decode(Bytes::copy_from_slice(piece), &mut out));
        let decoded = out.concat();
        assert!(decoded.len() as u64 <= length, "more than announced");
        fed.and_then(|()| decoder.finish()).ok().map(|trailers| (decoded, trailers))
    };
    let whole = decode(&[pieces.concat()]);
    assert_eq!(decode(pieces), whole);
    if let Some((body, _)) = whole {
        assert_eq!(body.len() as u64, length);
    }
}

/// A head made of lines: target, then `name: value`. Without the key nothing passes for signed.
pub fn head(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let target = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut request = Request::builder().uri(target);
    for line in lines {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
        let (Ok(name), Ok(value)) = (http::HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        else {
            continue;
        };
        request = request.header(name, value);
    }
    let Ok(request) = request.body(()) else { return };
    let (head, ()) = request.into_parts();
    let _ = (convert::range(&head.headers), convert::user_metadata(&head.headers));
    let _ = (convert::read_conditions(&head.headers), convert::sent_checksums(&head.headers));
    super::cors::fuzzing::question(&head.headers);
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let _ = tagging::tags_of_header(header("x-amz-tagging"));
    let Ok(query) = Query::parse(head.uri.query().unwrap_or_default()) else { return };
    assert_eq!(
        Query::parse(&query.canonical(None)).map(|again| again.canonical(None)),
        Ok(query.canonical(None))
    );
    let Ok(host) = host(&head) else { return };
    let domains = Domains::new(&["s3.example.com".to_owned()]).unwrap_or_default();
    if let Ok(address) = Address::of(&head.uri, host.as_deref(), &domains) {
        let again = address.path().parse().map(|uri| Address::of(&uri, None, &domains));
        assert!(again.is_ok_and(|again| again == Ok(address)), "an address is another in path style");
    }
    let authenticator =
        Authenticator { credentials: Credentials::new("key", "secret"), region: "us-east-1".to_owned() };
    let now = OffsetDateTime::UNIX_EPOCH;
    let verified = authenticator.check(&head, &query, host.as_deref(), now);
    let is_anonymous = verified.map(|verified| verified.principal == Principal::Anonymous);
    assert!(is_anonymous.unwrap_or(true), "nobody has the key");
}

/// A range lies inside every body that it can be satisfied in, and reads the same when it is written again.
pub fn range(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let read = |value: HeaderValue| convert::range(&HeaderMap::from_iter([(http::header::RANGE, value)]));
    let copied = value.to_str().ok().and_then(|text| convert::copy_range(Some(text)).ok());
    for range in [read(value), copied].into_iter().flatten() {
        for size in [0, 1, 10, 4_096, u64::MAX] {
            let Some(inside) = range.resolve(size) else { continue };
            assert!(inside.start < inside.end && inside.end <= size, "{range:?} of {size}");
        }
        let again = match range {
            ByteRange::All => continue,
            ByteRange::From { first } => format!("bytes={first}-"),
            ByteRange::Suffix { length } => format!("bytes=-{length}"),
            ByteRange::Span { first, last } if first <= last => format!("bytes={first}-{last}"),
            ByteRange::Span { .. } => continue,
        };
        assert_eq!(HeaderValue::try_from(again).ok().and_then(read), Some(range));
    }
}

/// A source names one bucket and one key, both valid, and is the same when it is written again.
pub fn copy_source_header(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(source) = CopySource::parse(text).map_err(drop).and_then(|s| copy_source(&s).map_err(drop)) else {
        return;
    };
    let key = source.key.to_text();
    assert_eq!(parse_bucket_name(source.bucket.as_str()).ok(), Some(source.bucket.clone()));
    assert_eq!(parse_key(&key).ok(), Some(source.key.clone()));
    let version = source.version.map(|id| format!("?versionId={id}")).unwrap_or_default();
    let again = format!("{}/{}{version}", source.bucket.as_str(), encode(&key, true));
    let again = CopySource::parse(&again).ok().and_then(|again| copy_source(&again).ok());
    assert_eq!(again, Some(source));
}

/// A name in a listing with `encoding-type=url` is plain ASCII, and decoding gives it back.
pub fn key_encoding(bytes: &[u8]) {
    let Ok(name) = std::str::from_utf8(bytes) else { return };
    let shown = convert::Names::encoded().show(name);
    assert!(shown.bytes().all(|b| b.is_ascii_alphanumeric() || b"%-_./*".contains(&b)), "{shown}");
    assert_eq!(decode(&shown).as_deref(), Some(name));
    let (start, rest) = name.split_at(name.floor_char_boundary(name.len() / 2));
    let names = convert::Names::encoded();
    assert_eq!(names.show(start) + &names.show(rest), shown, "prefixes are encoded as their keys are");
}

/// However a form is cut into reads, its parts are the same.
pub fn post_form(pieces: &[Vec<u8>]) {
    super::post::fuzzing::form(pieces);
}

/// What a policy allows, it names.
pub fn post_policy(json: &[u8]) {
    super::post::fuzzing::policy(json);
}
