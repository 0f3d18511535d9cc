//! Head, get, list.

use super::S3Remote;
use super::errors::failed;
use super::whole::Whole;
use crate::remote::{Class, Listed, MAX_PIECE_BYTES, Page, RemoteError, RemoteKey, Span, Stat, Tag, Verb};
use crate::types::UnixMillis;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// An object on its way.
pub(super) struct Coming {
    pub(super) stat: Stat,
    pub(super) body: ByteStream,
    pub(super) bytes: u64,
}

fn wrong(verb: Verb, what: &str, why: &str) -> RemoteError {
    RemoteError::new(Class::Wrong, verb, what, why)
}

fn tag(verb: Verb, what: &str, tag: Option<&str>) -> Result<Tag, RemoteError> {
    let tag = tag.filter(|tag| !tag.is_empty());
    tag.map(|tag| Tag(tag.to_owned())).ok_or_else(|| wrong(verb, what, "an answer without an entity tag"))
}

fn length(verb: Verb, what: &str, length: Option<i64>) -> Result<u64, RemoteError> {
    let length = length.and_then(|length| u64::try_from(length).ok());
    length.ok_or_else(|| wrong(verb, what, "an answer without a length"))
}

fn seconds(time: Option<&DateTime>) -> UnixMillis {
    UnixMillis::new(time.map_or(0, DateTime::secs).saturating_mul(1000))
}

fn retained(until: Option<&DateTime>) -> Option<UnixMillis> {
    until.and_then(|until| until.to_millis().ok()).map(UnixMillis::new)
}

/// `bytes first-last/total`, as the range behind `first..last + 1` and the total.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some((first..last.checked_add(1)?, total.parse().ok()?))
}

impl S3Remote {
    pub(super) async fn send_head(&self, key: &RemoteKey) -> Result<Option<Stat>, RemoteError> {
        let call = (Verb::Head, key.as_str());
        let sent = self.client.head_object().bucket(&self.bucket).key(self.full(key)).send().await;
        let head = match sent {
            Ok(head) => head,
            // An answer to HEAD has no body that would say whether the bucket is missing too.
            Err(error) => {
                let error = failed(call, &error);
                return if error.class == Class::Gone { Ok(None) } else { Err(error) };
            }
        };
        Ok(Some(Stat {
            bytes: length(call.0, call.1, head.content_length())?,
            tag: tag(call.0, call.1, head.e_tag())?,
            modified: seconds(head.last_modified()),
            retain_until: retained(head.object_lock_retain_until_date()),
        }))
    }

    /// The head of the answer, and the body that is still to be read.
    pub(super) async fn send_get(&self, key: &RemoteKey, span: &Span) -> Result<Option<Coming>, RemoteError> {
        let call = (Verb::Get, key.as_str());
        let mut request = self.client.get_object().bucket(&self.bucket).key(self.full(key));
        if let Span::Bytes(range) = span {
            request = request.range(format!("bytes={}-{}", range.start, range.end - 1));
        }
        let mut got = match request.send().await {
            Ok(got) => got,
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) if error.code() == Some("InvalidRange") => {
                return Err(wrong(call.0, call.1, "the object is shorter than the span"));
            }
            Err(error) => return Err(failed(call, &error)),
        };
        let (expected, whole) = announced(call.1, &got, span)?;
        let stat = Stat {
            bytes: whole,
            tag: tag(call.0, call.1, got.e_tag())?,
            modified: seconds(got.last_modified()),
            retain_until: retained(got.object_lock_retain_until_date()),
        };
        Ok(Some(Coming { stat, body: std::mem::take(&mut got.body), bytes: expected }))
    }

    pub(super) async fn send_list(&self, prefix: &str, after: Option<&str>) -> Result<Page, RemoteError> {
        let full = format!("{}{prefix}", self.prefix);
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(full).max_keys(self.page);
        let behind = after.map(|after| format!("{}{after}", self.prefix));
        let sent = request.set_start_after(behind).customize().interceptor(Whole).send().await;
        let listed = sent.map_err(|error| failed((Verb::List, prefix), &error))?;
        let mut page = Page::default();
        for object in listed.contents() {
            let name = object.key().and_then(|key| key.strip_prefix(&self.prefix));
            let name = name.ok_or_else(|| wrong(Verb::List, prefix, "a name outside the prefix"))?;
            if listed.is_truncated() == Some(true) {
                page.next = Some(name.to_owned());
            }
            // What is not named as ours are is somebody else's.
            let Ok(key) = RemoteKey::parse(name) else { continue };
            page.objects.push(Listed {
                key,
                bytes: length(Verb::List, prefix, object.size())?,
                tag: tag(Verb::List, prefix, object.e_tag())?,
                modified: seconds(object.last_modified()),
            });
        }
        if listed.is_truncated() == Some(true) && page.next.is_none() {
            return Err(wrong(Verb::List, prefix, "an empty page that is not the last"));
        }
        Ok(page)
    }
}

/// How many bytes come, and how many the object has, if that is what was asked for.
fn announced(what: &str, got: &GetObjectOutput, span: &Span) -> Result<(u64, u64), RemoteError> {
    let length = length(Verb::Get, what, got.content_length())?;
    let whole = match (span, got.content_range().and_then(content_range)) {
        (Span::Whole, _) => length,
        (Span::Bytes(asked), Some((came, total))) if came == *asked => total,
        (Span::Bytes(_), _) => return Err(wrong(Verb::Get, what, "other bytes than were asked for")),
    };
    let expected = match span {
        Span::Whole => length,
        Span::Bytes(asked) => asked.end - asked.start,
    };
    if length != expected {
        return Err(wrong(Verb::Get, what, "another length than that of the span"));
    }
    if length > MAX_PIECE_BYTES {
        return Err(RemoteError::new(Class::Refused, Verb::Get, what, "more than a call may carry"));
    }
    Ok((length, whole))
}

/// Exactly so many bytes.
pub(super) async fn collect(what: &str, mut body: ByteStream, expected: u64) -> Result<Bytes, RemoteError> {
    let expected = usize::try_from(expected).map_err(|_| wrong(Verb::Get, what, "too long"))?;
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            let why = format!("the body broke off: {}", aws_sdk_s3::error::DisplayErrorContext(&error));
            wrong(Verb::Get, what, &why)
        })?;
        if piece.len() > expected - bytes.len() {
            return Err(wrong(Verb::Get, what, "more bytes than announced"));
        }
        if bytes.is_empty() && piece.len() == expected {
            return Ok(piece);
        }
        bytes.reserve(if bytes.is_empty() { expected } else { 0 });
        bytes.extend_from_slice(&piece);
    }
    let is_whole = bytes.len() == expected;
    is_whole.then(|| bytes.freeze()).ok_or_else(|| wrong(Verb::Get, what, "fewer bytes than announced"))
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn only_whole_content_ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5..10, 100)));
        for bad in
            ["", "bytes */100", "bytes 5-/100", "bytes 5-9/*", "bytes 5-9", "bytes 0-18446744073709551615/1"]
        {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
