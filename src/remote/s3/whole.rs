//! Listings whose end is missing.

use aws_sdk_s3::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};

/// Refuses one: the client reads half a document as a whole one, and what it does not name would pass for missing.
#[derive(Debug)]
pub(super) struct Whole;

impl Intercept for Whole {
    fn name(&self) -> &'static str {
        "Whole"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let answer = context.response();
        if answer.status().is_success() && !answer.body().bytes().is_some_and(ends) {
            return Err("the end of the listing is missing".into());
        }
        Ok(())
    }
}

/// Whether the last tag is the end of `ListBucketResult`, or of another kind of listing.
fn ends(document: &[u8]) -> bool {
    let document = document.trim_ascii_end();
    let last = document.iter().rposition(|byte| *byte == b'<').and_then(|at| document.get(at..));
    last.is_some_and(|tag| tag.starts_with(b"</") && tag.ends_with(b"Result>"))
}

#[cfg(test)]
mod tests {
    use super::ends;

    #[test]
    fn no_beginning_of_a_listing_is_a_whole_one() {
        let document = b"<?xml version=\"1.0\"?>\n<ListBucketResult><Name>b</Name><Contents><Key>Result&gt;</Key></Contents></ListBucketResult>";
        assert!(ends(document) && ends(&[document, &b"\r\n"[..]].concat()));
        for len in 0..document.len() {
            assert!(!ends(&document[..len]), "{len}");
        }
    }
}
