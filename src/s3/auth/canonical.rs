//! The canonical request of Signature Version 4, and what is signed of it.
//!
//! Source: "Authenticating Requests: Using the Authorization Header" in Amazon S3's API reference.

use super::claim::{Claim, SignedAt};
use crate::s3::query::{Query, decode, encode};
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
    pub(super) fn canonical_request(&self, claim: &Claim, form: Form) -> Vec<u8> {
        let sent = self.head.uri.path();
        let path = match form {
            Form::PathAsSent => sent.to_owned(),
            Form::Reference | Form::TabsFolded => {
                decode(sent).map_or_else(|| sent.to_owned(), |path| encode(&path, true))
            }
        };
        let mut text = Vec::with_capacity(512);
        let mut line = |bytes: &[u8]| {
            text.extend_from_slice(bytes);
            text.push(b'\n');
        };
        line(self.head.method.as_str().as_bytes());
        line(path.as_bytes());
        line(self.query.canonical(Some("X-Amz-Signature")).as_bytes());
        for name in &claim.headers {
            let mut header = name.clone().into_bytes();
            header.push(b':');
            self.value(name, form, &mut header);
            line(&header);
        }
        line(b"");
        line(claim.headers.join(";").as_bytes());
        text.extend_from_slice(self.payload.as_bytes());
        text
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

    pub(super) fn string_to_sign(&self, claim: &Claim, signed_at: &SignedAt, form: Form) -> String {
        let hash = hex::encode(Sha256::digest(self.canonical_request(claim, form)));
        format!("{}\n{}\n{}\n{hash}", super::ALGORITHM, signed_at.text, claim.scope())
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
