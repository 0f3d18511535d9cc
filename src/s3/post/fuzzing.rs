//! Forms and policies for the fuzz targets.

use super::fields::Fields;
use super::multipart::{Boundary, Event, Splitter};
use super::part::Part;
use super::policy::Policy;
use bytes::Bytes;
use time::OffsetDateTime;

/// The parts of a form with the boundary `b`, whose events do not depend on how it is cut.
pub(in crate::s3) fn form(pieces: &[Vec<u8>]) {
    let whole = split(&[pieces.concat()]);
    assert_eq!(split(pieces), whole);
    let Some((parts, _)) = whole else { return };
    let mut fields = Fields::default();
    let mut taken = 0;
    for (head, value) in parts {
        taken += head.len() + value.len();
        let Some(part) = Part::parse(&head) else { continue };
        assert!(!part.filename.iter().any(|name| name.contains(['/', '\\'])));
        let _ = fields.add(part, value);
    }
    assert!(taken <= pieces.concat().len());
    if fields.expand(Some("name")).is_ok() {
        let (head, ()) = http::Request::new(()).into_parts();
        let _ = super::put::put_head(&head, &fields);
    }
}

/// A part's head and value.
type Raw = (Vec<u8>, Vec<u8>);

/// The parts, and whether the form has ended.
fn split(pieces: &[Vec<u8>]) -> Option<(Vec<Raw>, bool)> {
    let mut splitter = Splitter::new(&Boundary::new("b")?);
    let (mut parts, mut has_ended) = (Vec::<Raw>::new(), false);
    for piece in pieces {
        splitter.feed(Bytes::copy_from_slice(piece));
        while let Some(event) = splitter.event().ok()? {
            match event {
                Event::Head(head) => parts.push((head.to_vec(), Vec::new())),
                Event::Data(data) => parts.last_mut()?.1.extend_from_slice(&data),
                Event::PartEnd => {}
                Event::End => has_ended = true,
            }
        }
    }
    Some((parts, has_ended))
}

/// A policy's JSON: what holds for a form names each of its fields.
pub(in crate::s3) fn policy(json: &[u8]) {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(json);
    let Ok(policy) = Policy::parse(&text) else { return };
    let mut fields = Fields::default();
    for (name, value) in
        [("Key", "user/eric/a.txt"), ("Content-Type", "image/png,text/css"), ("x-ignore-x", "")]
    {
        let _ = fields.add(Part { name: name.to_owned(), filename: None }, value.into());
    }
    let held = policy.check(&fields, "bucket", OffsetDateTime::UNIX_EPOCH).is_ok();
    let other = policy.check(&fields, "another", OffsetDateTime::UNIX_EPOCH).is_ok();
    let text = String::from_utf8_lossy(json).to_ascii_lowercase();
    // Written with escapes, a name does not stand in the text.
    let names_all = ["key", "content-type", "bucket"].iter().all(|name| text.contains(name));
    assert!(!held || names_all || text.contains('\\'));
    assert!(!(held && other) || text.contains("starts-with") || text.contains('\\'));
}
