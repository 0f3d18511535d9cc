//! A document on its way past the schema. Names are compared as they are written: a prefix would hide an element from
//! the parser behind this.

use super::schema::{Child, Children, Content, DOCUMENTS};
use crate::s3::refusal::{Refusal, refuse};
use crate::s3::rules::not_implemented;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use s3s::S3ErrorCode as Code;

/// What is said about elements beyond their names; of `xsi:type` the parser knows what it means.
const ATTRIBUTES: [&[u8]; 4] =
    [b"xmlns", b"xsi:type", b"xsi:schemaLocation", b"xsi:noNamespaceSchemaLocation"];

pub(super) fn malformed() -> Refusal {
    let message = "The XML you provided was not well-formed or did not validate against our published schema";
    refuse(Code::MalformedXML, message)
}

/// The elements that are open, and what came before them.
#[derive(Debug, Default)]
pub(super) struct Walk {
    open: Vec<Open>,
    /// Text before any element. JSON is nothing but that.
    has_text: bool,
    has_ended: bool,
    /// No operation here reads such a document.
    is_unknown: bool,
}

#[derive(Debug)]
struct Open {
    content: &'static Content,
    /// Which of the children were there, by their place in the schema.
    seen: u32,
    number: Vec<u8>,
}

impl Walk {
    /// # Errors
    /// `MalformedXML` for what is not in the schema, `NotImplemented` for what nothing would act on.
    pub(super) fn step(&mut self, event: &Event<'_>) -> Result<(), Refusal> {
        match event {
            _ if self.is_unknown => Ok(()),
            Event::Start(tag) => self.start(tag),
            Event::Empty(tag) => self.start(tag).and_then(|()| self.end()),
            Event::End(_) => self.end(),
            Event::Text(text) => self.text(text, false),
            Event::GeneralRef(reference) => self.text(reference, true),
            _ => Ok(()),
        }
    }

    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), Refusal> {
        let Some(parent) = self.open.last_mut() else { return self.root(tag) };
        let Content::Elements(children) = parent.content else { return Err(malformed()) };
        let (place, child) = find(children, tag).ok_or_else(malformed)?;
        let bit = 1 << place;
        if parent.seen & bit != 0 && !child.is_list {
            return Err(malformed());
        }
        parent.seen |= bit;
        self.enter(tag, child)
    }

    fn root(&mut self, tag: &BytesStart<'_>) -> Result<(), Refusal> {
        if self.has_text || self.has_ended {
            return Err(malformed());
        }
        match find(DOCUMENTS, tag) {
            Some((_, document)) => self.enter(tag, document),
            None => {
                self.is_unknown = true;
                Ok(())
            }
        }
    }

    fn enter(&mut self, tag: &BytesStart<'_>, child: &'static Child) -> Result<(), Refusal> {
        if matches!(child.content, Content::NotDone) {
            return Err(not_implemented(&format!("the element {}", child.name)));
        }
        for attribute in tag.attributes() {
            let name = attribute.map_err(|_| malformed())?.key;
            if !ATTRIBUTES.contains(&name.as_ref()) && !name.as_ref().starts_with(b"xmlns:") {
                return Err(malformed());
            }
        }
        self.open.push(Open { content: &child.content, seen: 0, number: Vec::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        // Nothing is kept open of a document that is not known.
        let Some(ended) = self.open.pop() else { return Ok(()) };
        self.has_ended = self.open.is_empty();
        match ended.content {
            Content::Number if !is_number(&ended.number) => Err(malformed()),
            _ => Ok(()),
        }
    }

    /// `is_reference`: it stands for one character.
    fn text(&mut self, text: &[u8], is_reference: bool) -> Result<(), Refusal> {
        let is_space = !is_reference && text.trim_ascii().is_empty();
        match self.open.last_mut() {
            None if is_space => {}
            None if self.has_ended => return Err(malformed()),
            None => self.has_text = true,
            Some(open) => match open.content {
                Content::Text => {}
                Content::Number => {
                    open.number.extend_from_slice(if is_reference { b"&" } else { text });
                }
                Content::Elements(_) | Content::NotDone if is_space => {}
                Content::Elements(_) | Content::NotDone => return Err(malformed()),
            },
        }
        Ok(())
    }

    pub(super) fn eof(&self) -> Result<(), Refusal> {
        if self.open.is_empty() { Ok(()) } else { Err(malformed()) }
    }
}

fn find(children: Children, tag: &BytesStart<'_>) -> Option<(usize, &'static Child)> {
    let is_named = |child: &Child| child.name.as_bytes() == tag.name().as_ref();
    children.iter().enumerate().find(|(_, child)| is_named(child))
}

/// Whether a document is one element with none inside.
pub(in crate::s3) fn is_one_element(bytes: &[u8]) -> bool {
    let mut reader = Reader::from_reader(bytes);
    let mut elements = 0;
    loop {
        match reader.read_event() {
            Ok(Event::Start(_) | Event::Empty(_)) => elements += 1,
            Ok(Event::Eof) => return elements == 1,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// As it may be written: white space can only follow it.
fn is_number(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
#[path = "strict_tests.rs"]
mod tests;
