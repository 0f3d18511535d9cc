//! The `tagging` field: a document where a put has a header.

use crate::s3::body::check_xml;
use crate::s3::query::encode;
use crate::s3::refusal::{Refusal, refuse};
use quick_xml::Reader;
use quick_xml::events::Event;
use s3s::S3ErrorCode as Code;

/// The tags as `x-amz-tagging` has them; `None` when the document names none.
///
/// # Errors
/// When it is not XML.
pub(super) fn tagging_header(document: &str) -> Result<Option<String>, Refusal> {
    check_xml(document.as_bytes())?;
    let mut reader = Reader::from_str(document);
    let mut path: Vec<Vec<u8>> = Vec::new();
    let (mut tags, mut key, mut value, mut elements) = (Vec::new(), String::new(), String::new(), 0);
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Start(tag) => {
                elements += 1;
                path.push(tag.local_name().as_ref().to_vec());
                if path.last().is_some_and(|name| name == b"Tag") {
                    (key, value) = (String::new(), String::new());
                }
            }
            Event::Empty(_) => elements += 1,
            Event::End(_) => {
                if path.pop().is_some_and(|name| name == b"Tag") {
                    tags.push(format!("{}={}", encode(&key, false), encode(&value, false)));
                }
            }
            Event::Eof => break,
            other => {
                let field = match path.last().map(Vec::as_slice) {
                    Some(b"Key") => &mut key,
                    Some(b"Value") => &mut value,
                    _ => continue,
                };
                field.push_str(&text(&other)?);
            }
        }
    }
    if elements == 0 || !path.is_empty() {
        return Err(malformed());
    }
    Ok((!tags.is_empty()).then(|| tags.join("&")))
}

/// The characters of an event. Entities come by themselves; there are none but XML's own.
fn text(event: &Event<'_>) -> Result<String, Refusal> {
    match event {
        Event::Text(text) => text.decode().map(Into::into).map_err(|_| malformed()),
        Event::CData(text) => text.decode().map(Into::into).map_err(|_| malformed()),
        Event::GeneralRef(name) => {
            if let Some(character) = name.resolve_char_ref().map_err(|_| malformed())? {
                return Ok(character.to_string());
            }
            let name = name.decode().map_err(|_| malformed())?;
            let known = quick_xml::escape::resolve_predefined_entity(&name);
            known.map(str::to_owned).ok_or_else(malformed)
        }
        _ => Ok(String::new()),
    }
}

fn malformed() -> Refusal {
    let message = "The XML you provided was not well-formed or did not validate against our published schema";
    refuse(Code::MalformedXML, message)
}

#[cfg(test)]
mod tests {
    use super::tagging_header;

    #[test]
    fn tags_become_those_of_a_header() {
        let tags = |document: &str| {
            tagging_header(document).map_err(|refusal| refusal.error.code().as_str().to_owned())
        };
        let two = "<Tagging xmlns='x'><TagSet><Tag><Key>a b</Key><Value>1&amp;&#50;=</Value></Tag>\n<Tag><Value/><Key>ü</Key></Tag></TagSet></Tagging>";
        assert_eq!(tags(two), Ok(Some("a%20b=1%262%3D&%C3%BC=".to_owned())));
        for none in ["<Tagging><TagSet/></Tagging>", "<InvalidXmlTagging></InvalidXmlTagging>"] {
            assert_eq!(tags(none), Ok(None), "{none}");
        }
        for wrong in [
            "not-xml",
            "<Tagging><TagSet><Tag>",
            "<Tagging></TagSet>",
            "<!DOCTYPE x [<!ENTITY e 'f'>]><Tagging/>",
            "<Tagging><TagSet><Tag><Key>&e;</Key></Tag></TagSet></Tagging>",
        ] {
            assert_eq!(tags(wrong), Err("MalformedXML".to_owned()), "{wrong}");
        }
    }
}
