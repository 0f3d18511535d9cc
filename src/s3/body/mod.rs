//! Bodies on their way in: uploads stream through, documents are read whole and checked before they are parsed.

mod chunked;
mod counted;
mod document;
mod schema;
mod strict;
mod upload;

pub(super) use chunked::Decoder;
pub(super) use counted::{Counted, Traffic};
pub(super) use document::{AnswerMemory, Document, Documents, check_xml, read_bytes, read_document};
pub(super) use strict::is_one_element;
pub(super) use upload::{Upload, UploadHead};
