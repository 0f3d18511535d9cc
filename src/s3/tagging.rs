//! Tags as S3 writes them: a query in a header, a document in a body.

use super::gateway::SentDocument;
use super::query::Query;
use crate::service::ServiceError;
use crate::types::{Tag, TagError, TagSet};
use s3s::dto;
use s3s::xml::{DeError, Deserializer};

/// `x-amz-tagging`: `key=value` between ampersands, both encoded as in a URL's query.
///
/// # Errors
/// `InvalidArgument` for another form and for a key given twice, `InvalidTag`.
pub(super) fn tags_of_header(header: Option<&str>) -> Result<TagSet, ServiceError> {
    let Some(header) = header else { return Ok(TagSet::default()) };
    let malformed = || ServiceError::InvalidArgument {
        name: "x-amz-tagging",
        value: header.chars().take(256).collect(),
        reason: "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters \
                 without tag name duplicates.",
    };
    if header.split('&').any(|pair| pair.bytes().filter(|byte| *byte == b'=').count() > 1) {
        return Err(malformed());
    }
    let query = Query::parse(header).map_err(|_| malformed())?;
    let tags = query.pairs().map(|(key, value)| Tag { key: key.to_owned(), value: value.to_owned() });
    match TagSet::of_object(tags.collect()) {
        Err(TagError::Duplicate { .. }) => Err(malformed()),
        parsed => Ok(parsed?),
    }
}

/// The tags in the document of a bucket's creation, which s3s passes over.
///
/// # Errors
/// `MalformedDocument`, `InvalidTag`.
pub(super) fn tags_of_creation(document: Option<&SentDocument>) -> Result<TagSet, ServiceError> {
    let Some(SentDocument(document)) = document.filter(|document| !document.0.is_empty()) else {
        return Ok(TagSet::default());
    };
    let mut tags = Vec::new();
    let mut deserializer = Deserializer::new(document);
    let parsed = deserializer.named_element("CreateBucketConfiguration", |d| {
        d.for_each_element(|d, name| match name {
            b"Tags" => d.list_content("Tag").map(|listed: Vec<dto::Tag>| tags.extend(listed)),
            b"LocationConstraint" => d.content::<String>().map(drop),
            b"Location" => d.content::<dto::LocationInfo>().map(drop),
            b"Bucket" => d.content::<dto::BucketInfo>().map(drop),
            _ => Err(DeError::UnexpectedTagName),
        })
    });
    parsed.map_err(|_| ServiceError::MalformedDocument)?;
    Ok(TagSet::of_bucket(tags_of(tags)?)?)
}

/// # Errors
/// `MalformedDocument`.
pub(super) fn tags_of(asked: Vec<dto::Tag>) -> Result<Vec<Tag>, ServiceError> {
    let tags = asked.into_iter().map(|tag| match (tag.key, tag.value) {
        (Some(key), Some(value)) => Ok(Tag { key, value }),
        _ => Err(ServiceError::MalformedDocument),
    });
    tags.collect()
}

pub(super) fn shown(tags: &TagSet) -> Vec<dto::Tag> {
    let shown = tags.as_slice().iter();
    shown.map(|tag| dto::Tag { key: Some(tag.key.clone()), value: Some(tag.value.clone()) }).collect()
}

#[cfg(test)]
mod tests {
    use super::{tags_of_creation, tags_of_header};
    use crate::s3::gateway::SentDocument;
    use crate::service::ServiceError;
    use crate::types::{TagError, TagSet};

    fn pairs(tags: &TagSet) -> Vec<(&str, &str)> {
        tags.as_slice().iter().map(|tag| (tag.key.as_str(), tag.value.as_str())).collect()
    }

    #[test]
    fn a_header_is_a_query() {
        let tags = tags_of_header(Some("foo=bar&bar&a%20b=%C3%A4+%3D&")).unwrap();
        assert_eq!(pairs(&tags), [("a b", "ä ="), ("bar", ""), ("foo", "bar")]);
        for none in [None, Some(""), Some("&")] {
            assert!(tags_of_header(none).unwrap().is_empty());
        }
        for malformed in ["a=1&a=2", "a=%zz", "a=%ff", "a=b=c", "a%3=1"] {
            let refused = tags_of_header(Some(malformed));
            assert!(
                matches!(refused, Err(ServiceError::InvalidArgument { name: "x-amz-tagging", .. })),
                "{malformed}"
            );
        }
        for (wrong, error) in [
            ("%5B=", TagError::Key { key: "[".into() }),
            ("=v", TagError::Key { key: String::new() }),
            ("k=%7B", TagError::Value { key: "k".into() }),
            ("aws%3Ax=1", TagError::Reserved),
        ] {
            let refused = tags_of_header(Some(wrong));
            assert!(matches!(refused, Err(ServiceError::InvalidTag(e)) if e == error), "{wrong}");
        }
        let many: Vec<_> = (0..11).map(|n| format!("k{n}=")).collect();
        let refused = tags_of_header(Some(&many.join("&")));
        assert!(matches!(refused, Err(ServiceError::InvalidTag(TagError::TooMany { count: 11, .. }))));
    }

    #[test]
    fn a_bucket_is_created_with_the_tags_of_its_document() {
        let of = |document: &str| tags_of_creation(Some(&SentDocument(document.to_owned().into())));
        let tags = "<Tags><Tag><Key>b</Key><Value>1</Value></Tag><Tag><Key>a</Key><Value/></Tag></Tags>";
        let place = "<LocationConstraint>eu-north-1</LocationConstraint>";
        let configuration = |inside: &str| {
            of(&format!("<CreateBucketConfiguration xmlns=\"x\">{inside}</CreateBucketConfiguration>"))
        };
        assert_eq!(pairs(&configuration(&format!("{place}{tags}")).unwrap()), [("a", ""), ("b", "1")]);
        for none in [configuration(place), configuration(""), of(""), tags_of_creation(None)] {
            assert!(none.unwrap().is_empty());
        }
        for malformed in [configuration("<Other/>"), of("<Tags/>")] {
            assert!(matches!(malformed, Err(ServiceError::MalformedDocument)));
        }
    }
}
