//! The `tagging` field: a document where a put has a header.

use crate::s3::body::check_xml;
use crate::s3::error::refusal_of;
use crate::s3::query::encode;
use crate::s3::refusal::Refusal;
use crate::s3::tagging::tags_of;
use crate::service::ServiceError;
use crate::types::TagSet;
use s3s::dto;
use s3s::xml::{Deserialize, Deserializer};

/// The tags as `x-amz-tagging` has them; `None` when the document names none.
///
/// # Errors
/// When it is no document of tags, or they are none that an object may have.
pub(super) fn tagging_header(document: &str) -> Result<Option<String>, Refusal> {
    check_xml(document.as_bytes())?;
    let tags = tags_in(document).map_err(refusal_of)?;
    let value = |text: &str| encode(text, false);
    let pairs: Vec<_> =
        tags.as_slice().iter().map(|tag| format!("{}={}", value(&tag.key), value(&tag.value))).collect();
    Ok((!pairs.is_empty()).then(|| pairs.join("&")))
}

/// As PutObjectTagging reads them.
fn tags_in(document: &str) -> Result<TagSet, ServiceError> {
    let mut deserializer = Deserializer::new(document.as_bytes());
    let parsed = dto::Tagging::deserialize(&mut deserializer);
    let parsed = parsed.and_then(|tagging| deserializer.expect_eof().map(|()| tagging));
    let tagging = parsed.map_err(|_| ServiceError::MalformedDocument)?;
    Ok(TagSet::of_object(tags_of(tagging.tag_set)?)?)
}

#[cfg(test)]
mod tests {
    use super::tagging_header;

    #[test]
    fn tags_become_those_of_a_header() {
        let tags = |document: &str| {
            tagging_header(document).map_err(|refusal| refusal.error.code().as_str().to_owned())
        };
        let two = "<Tagging xmlns='x'><TagSet><Tag><Key>a b</Key><Value>1&#43;&#50;=</Value></Tag>\n<Tag><Value/><Key>ü</Key></Tag></TagSet></Tagging>";
        assert_eq!(tags(two), Ok(Some("a%20b=1%2B2%3D&%C3%BC=".to_owned())));
        assert_eq!(tags("<Tagging><TagSet/></Tagging>"), Ok(None));
        for wrong in [
            "not-xml",
            "<InvalidXmlTagging></InvalidXmlTagging>",
            "<Other><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Other>",
            "<Tagging></Tagging>",
            "<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>",
            "<Tagging><TagSet/></Tagging><Tagging/>",
            "<Tagging><TagSet><Tag>",
            "<Tagging></TagSet>",
            "<!DOCTYPE x [<!ENTITY e 'f'>]><Tagging/>",
            "<Tagging><TagSet><Tag><Key>&e;</Key></Tag></TagSet></Tagging>",
        ] {
            assert_eq!(tags(wrong), Err("MalformedXML".to_owned()), "{wrong}");
        }
        let twice = "<Tag><Key>k</Key><Value>v</Value></Tag>".repeat(2);
        let twice = format!("<Tagging><TagSet>{twice}</TagSet></Tagging>");
        assert_eq!(tags(&twice), Err("InvalidTag".to_owned()));
    }
}
