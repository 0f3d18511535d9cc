//! The keys of a listing's page: a thousand elements of seven each, written in one pass. s3s writes what is around them.

use super::convert::{Names, algorithm_name, kind_name};
use crate::meta::ListedObject;
use crate::service::{Owner, STANDARD_CLASS};
use crate::types::UnixMillis;
use bytes::Bytes;
use http::Extensions;
use std::io::Write as _;
use time::OffsetDateTime;

/// What an element takes beside its key, more or less.
const ELEMENT_BYTES: usize = 320;

/// A page's `Contents`, to be put in front of the end of the document around them.
#[derive(Debug, Clone)]
pub(super) struct Contents(Bytes);

impl Contents {
    pub(super) fn of(objects: &[ListedObject], names: Names, owner: Option<&Owner>) -> Self {
        let keys: usize = objects.iter().map(|object| object.key.as_bytes().len()).sum();
        let mut written = Vec::with_capacity(keys + objects.len() * ELEMENT_BYTES);
        let owner = owner.map(|owner| {
            let mut element = Vec::new();
            element.extend_from_slice(b"<Owner>");
            text(&mut element, "DisplayName", &owner.name);
            text(&mut element, "ID", &owner.id);
            element.extend_from_slice(b"</Owner>");
            element
        });
        for object in objects {
            write(&mut written, object, names, owner.as_deref());
        }
        Self(written.into())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The document with the keys in it, if an answer has some that are not.
    pub(super) fn complete(document: &Bytes, extensions: &Extensions) -> Option<Bytes> {
        let Self(contents) = extensions.get::<Self>()?;
        let end = memchr::memmem::rfind(document, b"</ListBucketResult>")?;
        let mut whole = Vec::with_capacity(document.len() + contents.len());
        whole.extend_from_slice(&document[..end]);
        whole.extend_from_slice(contents);
        whole.extend_from_slice(&document[end..]);
        Some(whole.into())
    }
}

fn write(into: &mut Vec<u8>, object: &ListedObject, names: Names, owner: Option<&[u8]>) {
    into.extend_from_slice(b"<Contents>");
    if let Some((algorithm, kind)) = object.checksum {
        text(into, "ChecksumAlgorithm", algorithm_name(algorithm).as_str());
        text(into, "ChecksumType", kind_name(kind).as_str());
    }
    // Nothing can go wrong where bytes are only appended.
    let _ = write!(into, "<ETag>\"{}\"</ETag>", object.etag);
    let key = object.key.to_text();
    text(into, "Key", &names.shown(&key));
    into.extend_from_slice(b"<LastModified>");
    whole_seconds(into, object.modified);
    into.extend_from_slice(b"</LastModified>");
    into.extend_from_slice(owner.unwrap_or_default());
    into.extend_from_slice(b"<Size>");
    into.extend_from_slice(itoa::Buffer::new().format(object.size).as_bytes());
    into.extend_from_slice(b"</Size>");
    text(into, "StorageClass", object.storage_class.as_deref().unwrap_or(STANDARD_CLASS));
    into.extend_from_slice(b"</Contents>");
}

fn text(into: &mut Vec<u8>, name: &str, value: &str) {
    into.push(b'<');
    into.extend_from_slice(name.as_bytes());
    into.push(b'>');
    escape(into, value.as_bytes());
    into.extend_from_slice(b"</");
    into.extend_from_slice(name.as_bytes());
    into.push(b'>');
}

/// Control characters become character references, as in all answers.
fn escape(into: &mut Vec<u8>, value: &[u8]) {
    let is_special = |byte: &u8| matches!(byte, b'<' | b'>' | b'&' | b'\'' | b'"' | 0..=8 | 11..=31);
    let mut rest = value;
    while let Some(at) = rest.iter().position(is_special) {
        into.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'<' => into.extend_from_slice(b"&lt;"),
            b'>' => into.extend_from_slice(b"&gt;"),
            b'&' => into.extend_from_slice(b"&amp;"),
            b'\'' => into.extend_from_slice(b"&apos;"),
            b'"' => into.extend_from_slice(b"&quot;"),
            control => {
                let _ = write!(into, "&#x{control:x};");
            }
        }
        rest = &rest[at + 1..];
    }
    into.extend_from_slice(rest);
}

/// `2009-10-12T17:50:30.000Z`.
fn whole_seconds(into: &mut Vec<u8>, at: UnixMillis) {
    let at = OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let month = u8::from(month);
    let _ = write!(into, "{year:04}");
    for (before, number) in [(b'-', month), (b'-', day), (b'T', hour), (b':', minute), (b':', second)] {
        into.extend_from_slice(&[before, b'0' + number / 10, b'0' + number % 10]);
    }
    into.extend_from_slice(b".000Z");
}

#[cfg(test)]
mod tests {
    use super::{Contents, Owner};
    use crate::meta::ListedObject;
    use crate::s3::convert::{Names, algorithm_name, etag, kind_name, size, whole_seconds};
    use crate::s3::finish::reference_controls;
    use crate::types::{ChecksumAlgorithm, ChecksumKind, ETag, ObjectKey, UnixMillis};
    use bytes::Bytes;
    use proptest::prelude::*;
    use s3s::dto;
    use s3s::xml::Serializer;

    fn by_s3s(object: &ListedObject, names: Names, owner: Option<&Owner>) -> Vec<u8> {
        let shown = dto::Object {
            checksum_algorithm: object.checksum.map(|(algorithm, _)| vec![algorithm_name(algorithm)]),
            checksum_type: object.checksum.map(|(_, kind)| kind_name(kind)),
            e_tag: etag(object.etag),
            key: Some(names.show(&object.key.to_text())),
            last_modified: Some(whole_seconds(object.modified)),
            owner: owner.map(|owner| dto::Owner {
                display_name: Some(owner.name.clone()),
                id: Some(owner.id.clone()),
            }),
            size: size(object.size),
            storage_class: Some(object.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned()).into()),
            ..Default::default()
        };
        let mut written = Vec::new();
        Serializer::new(&mut written).content("Contents", &shown).unwrap();
        reference_controls(written.into()).to_vec()
    }

    fn object() -> impl Strategy<Value = ListedObject> {
        let key = prop_oneof![
            "\\PC{1,30}",
            "[ -~\\t\\r\\n]{1,30}",
            prop::collection::vec(any::<char>(), 1..9)
                .prop_map(|chars| chars.into_iter().collect::<String>())
        ];
        let sum = (prop::sample::select(ChecksumAlgorithm::ALL.to_vec()), any::<bool>()).prop_map(
            |(algorithm, full)| {
                (algorithm, if full { ChecksumKind::FullObject } else { ChecksumKind::Composite })
            },
        );
        let class = proptest::option::of(prop::sample::select(vec!["GLACIER", "<&>"]));
        let modified = prop_oneof![0..4_000_000_000_000_i64, -9_000_000_000_000..0_i64];
        (key, 0..1_u64 << 60, any::<[u8; 16]>(), 0..99_u16, modified, proptest::option::of(sum), class)
            .prop_map(|(key, size, md5, parts, modified, checksum, class)| ListedObject {
                key: ObjectKey::opaque(key.into_bytes()),
                size,
                etag: ETag::of_parts(md5, parts),
                modified: UnixMillis::new(modified),
                checksum,
                storage_class: class.map(str::to_owned),
            })
    }

    proptest! {
        #[test]
        fn a_page_is_written_as_s3s_would_write_it(
            objects in prop::collection::vec(object(), 0..5),
            is_encoded in any::<bool>(),
            owner in proptest::option::of(("\\PC{0,9}", "[ -~]{0,9}")),
        ) {
            let names = if is_encoded { Names::encoded() } else { Names::new(None).unwrap() };
            let owner = owner.map(|(name, id)| Owner { id, name });
            let expected: Vec<u8> =
                objects.iter().flat_map(|object| by_s3s(object, names, owner.as_ref())).collect();
            let Contents(written) = Contents::of(&objects, names, owner.as_ref());
            prop_assert_eq!(
                String::from_utf8_lossy(&written).into_owned(),
                String::from_utf8_lossy(&expected).into_owned()
            );
            let mut extensions = http::Extensions::new();
            let empty = Bytes::from_static(b"<ListBucketResult></ListBucketResult>");
            prop_assert!(Contents::complete(&empty, &extensions).is_none());
            extensions.insert(Contents(written));
            let whole = Contents::complete(&empty, &extensions).unwrap();
            prop_assert_eq!(whole.len(), empty.len() + expected.len());
            prop_assert!(whole.ends_with(b"</ListBucketResult>"));
        }
    }
}
