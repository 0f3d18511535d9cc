//! The request as s3s gets to see it: path-style, without signature and framing, and without the headers that s3s
//! would refuse or change. The operations get those as they were sent.

use super::address::Address;
use super::query::Query;
use super::refusal::{Refusal, refuse};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use s3s::{Body, S3ErrorCode as Code};

/// The headers as they were sent.
#[derive(Debug, Clone)]
pub(super) struct Sent(pub(super) HeaderMap);

/// What the signature and the framing were.
const OF_THE_TRANSFER: [&str; 8] = [
    "authorization",
    "expect",
    "transfer-encoding",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-trailer",
];
/// What the operations read themselves: s3s refuses forms of them that S3 ignores or keeps.
const READ_AS_SENT: [&str; 16] = [
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "range",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    "content-md5",
    "x-amz-max-parts",
    "x-amz-part-number-marker",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
];
const METADATA: &str = "x-amz-meta-";

/// Moves what a presigned URL carries in its query to the headers, where it belongs, and takes the signature away, and
/// checksums. All of it is signed.
///
/// # Errors
/// When a value stands in both places, or cannot be a header's.
pub(super) fn hoist(query: &mut Query, headers: &mut HeaderMap) -> Result<(), Refusal> {
    let wrong = |name: &str| {
        let message = "A query parameter that stands for a header is there twice or is no header's value";
        refuse(Code::InvalidArgument, message).with("ArgumentName", name)
    };
    let is_ours = |name: &str| name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
    for (name, value) in query.take(is_ours) {
        let name = name.to_ascii_lowercase();
        if is_of_the_signature(&name) || is_of_no_body(&name) {
            continue;
        }
        let header = HeaderName::try_from(name.as_str()).map_err(|_| wrong(&name))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong(&name))?;
        if headers.insert(header, value.clone()).is_some_and(|before| before != value) {
            return Err(wrong(&name));
        }
    }
    Ok(())
}

fn is_of_the_signature(name: &str) -> bool {
    matches!(
        name,
        "x-amz-algorithm"
            | "x-amz-credential"
            | "x-amz-date"
            | "x-amz-expires"
            | "x-amz-signedheaders"
            | "x-amz-signature"
            | "x-amz-content-sha256"
    )
}

/// SDKs put the checksum of an empty body into the URLs that they presign; S3 takes no notice of checksums there.
fn is_of_no_body(name: &str) -> bool {
    let kept = ["x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"];
    name == "x-amz-sdk-checksum-algorithm" || (name.starts_with("x-amz-checksum-") && !kept.contains(&name))
}

/// Headers that are lists, and may come in several lines.
const LISTS: [header::HeaderName; 3] =
    [header::CACHE_CONTROL, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE];

fn join_lists(headers: &mut HeaderMap) {
    for name in LISTS {
        let values: Vec<_> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        if values.len() < 2 {
            continue;
        }
        if let Ok(joined) = HeaderValue::from_bytes(&values.join(&b", "[..])) {
            headers.insert(name, joined);
        }
    }
}

/// A copy's source is decoded as forms are: `+` is a space, and a plus is `%2B`. s3s decodes only the latter.
fn plus_is_space(headers: &mut HeaderMap) {
    let Some(source) = headers.get_mut("x-amz-copy-source").filter(|value| value.as_bytes().contains(&b'+'))
    else {
        return;
    };
    let pieces: Vec<_> = source.as_bytes().split(|byte| *byte == b'+').collect();
    if let Ok(decoded) = HeaderValue::from_bytes(&pieces.join(&b"%20"[..])) {
        *source = decoded;
    }
}

/// What s3s may see of the headers.
fn shown(sent: &HeaderMap) -> HeaderMap {
    let is_hidden = |name: &str| {
        let is_taken = OF_THE_TRANSFER.contains(&name) || READ_AS_SENT.contains(&name);
        is_taken || name.starts_with(METADATA) || name == "content-length"
    };
    let mut shown = HeaderMap::with_capacity(sent.keys_len() + 1);
    for (name, value) in sent.iter().filter(|(name, _)| !is_hidden(name.as_str())) {
        shown.append(name.clone(), value.clone());
    }
    shown
}

/// `length` is the body's, where it is known.
///
/// # Errors
/// When the address cannot be written.
pub(super) fn rewrite(
    mut head: Parts,
    address: &Address,
    query: &Query,
    length: Option<u64>,
    body: Body,
) -> Result<http::Request<Body>, Refusal> {
    join_lists(&mut head.headers);
    plus_is_space(&mut head.headers);
    let sent = std::mem::take(&mut head.headers);
    head.headers = shown(&sent);
    if let Some(length) = length {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    head.extensions.insert(Sent(sent));
    let query = query.canonical(None);
    let path = address.path();
    let uri = if query.is_empty() { path } else { format!("{path}?{query}") };
    head.uri =
        Uri::try_from(uri).map_err(|_| refuse(Code::InvalidURI, "Couldn't parse the specified URI."))?;
    Ok(http::Request::from_parts(head, body))
}
