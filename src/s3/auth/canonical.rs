//! The canonical request of Signature Version 4, and what is signed of it.
//!
//! Source: "Authenticating Requests: Using the Authorization Header" in Amazon S3's API reference.

use super::claim::{Claim, SignedAt};
use crate::s3::query::{Query, decode, encode, is_unreserved};
use http::request::Parts;
use sha2::{Digest, Sha256};

/// What of a request goes into its signature besides the head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) head: &'a Parts,
    pub(super) query: &'a Query,
    pub(super) host: &'a str,
    /// The line for the payload: a hash in hex, or a word that stands for how it is signed.
    pub(super) payload: &'a str,
}

/// How clients write the canonical request. The bytes of the request are the same whichever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Each character of the path encoded once, and spaces in headers folded: as S3's reference has it.
    Reference,
    /// Some clients send reserved characters bare and sign them so.
    PathAsSent,
    /// botocore folds tabs too.
    TabsFolded,
}

impl Form {
    pub(super) const ALL: [Self; 3] = [Self::Reference, Self::PathAsSent, Self::TabsFolded];

    const fn folds(self, byte: u8) -> bool {
        byte == b' ' || (byte == b'\t' && matches!(self, Self::TabsFolded))
    }
}

impl Subject<'_> {
    pub(super) fn canonical_request(&self, claim: &Claim<'_>, form: Form) -> Vec<u8> {
        let mut text = Vec::with_capacity(1024);
        text.extend_from_slice(self.head.method.as_str().as_bytes());
        text.push(b'\n');
        self.path(form, &mut text);
        text.push(b'\n');
        text.extend_from_slice(self.query.canonical(Some("X-Amz-Signature")).as_bytes());
        text.push(b'\n');
        for name in &claim.headers {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            self.value(name, form, &mut text);
            text.push(b'\n');
        }
        text.push(b'\n');
        for (number, name) in claim.headers.iter().enumerate() {
            if number > 0 {
                text.push(b';');
            }
            text.extend_from_slice(name.as_bytes());
        }
        text.push(b'\n');
        text.extend_from_slice(self.payload.as_bytes());
        text
    }

    fn path(&self, form: Form, into: &mut Vec<u8>) {
        let sent = self.head.uri.path();
        // Most have nothing to decode and nothing to encode.
        let is_encoded =
            form == Form::PathAsSent || sent.bytes().all(|byte| is_unreserved(byte) || byte == b'/');
        match decode(sent).filter(|_| !is_encoded) {
            Some(path) => into.extend_from_slice(encode(&path, true).as_bytes()),
            None => into.extend_from_slice(sent.as_bytes()),
        }
    }

    /// A header's values, joined by commas, without space around them and with single spaces inside.
    fn value(&self, name: &str, form: Form, into: &mut Vec<u8>) {
        if name == "host" {
            return squeeze(self.host.as_bytes(), form, into);
        }
        for (number, value) in self.head.headers.get_all(name).iter().enumerate() {
            if number > 0 {
                into.push(b',');
            }
            squeeze(value.as_bytes(), form, into);
        }
    }

    pub(super) fn string_to_sign(&self, claim: &Claim<'_>, signed_at: &SignedAt, form: Form) -> Vec<u8> {
        let hash = Sha256::digest(self.canonical_request(claim, form));
        let mut text = Vec::with_capacity(192);
        let scope = [claim.date, "/", claim.region, "/", claim.service, "/aws4_request\n"];
        for piece in [super::ALGORITHM, "\n", &signed_at.text, "\n"].into_iter().chain(scope) {
            text.extend_from_slice(piece.as_bytes());
        }
        let begin = text.len();
        text.resize(begin + 2 * hash.len(), 0);
        // It has the length.
        let _ = hex::encode_to_slice(hash, &mut text[begin..]);
        text
    }
}

fn squeeze(value: &[u8], form: Form, into: &mut Vec<u8>) {
    let words = value.split(|byte| form.folds(*byte)).filter(|word| !word.is_empty());
    for (number, word) in words.enumerate() {
        if number > 0 {
            into.push(b' ');
        }
        into.extend_from_slice(word);
    }
}
