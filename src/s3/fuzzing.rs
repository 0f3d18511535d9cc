//! What a client's bytes meet first, for the fuzz targets: nothing may panic, and what is accepted keeps its promises.

use super::address::{Address, Domains, host};
use super::auth::{Authenticator, Payload};
use super::body::Decoder;
use super::query::Query;
use super::{Credentials, convert};
use bytes::Bytes;
use http::{HeaderValue, Request};
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
    let _ = (convert::read_conditions(&head.headers, ""), convert::sent_checksums(&head.headers));
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
    assert!(
        !matches!(verified.map(|verified| verified.payload), Ok(Payload::Unsigned)),
        "nobody has the key"
    );
}

/// Documents are refused or harmless.
pub fn document(bytes: &[u8]) {
    let _ = super::body::check_xml(bytes);
}
