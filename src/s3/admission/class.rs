//! What a request costs, by what it asks for.

use crate::s3::address::Address;
use crate::s3::query::Query;
use crate::types::{CHUNKS_PARAMETER, DELTA_HEADER};
use http::request::Parts;
use http::{HeaderMap, Method};

/// Longer bodies are counted by their memory, and a completion's document of this length has some 400 parts.
const SHORT_BODY_BYTES: u64 = 1 << 20;
const SHORT_DOCUMENT_BYTES: u64 = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::s3) enum Class {
    /// A row or a few.
    Read,
    /// A page of rows.
    List,
    /// One commit.
    Write,
    /// Hundreds of commits, or of rows.
    Heavy,
    /// A long body, or one of unknown length.
    Long,
}

impl Class {
    pub(in crate::s3) fn of(head: &Parts, address: &Address, query: &Query) -> Self {
        match head.method {
            Method::GET | Method::HEAD => Self::of_read(&head.method, address, query),
            Method::POST if query.has("delete") => Self::Heavy,
            Method::POST if query.has("uploadId") => match length(&head.headers) {
                Some(..=SHORT_DOCUMENT_BYTES) => Self::Write,
                _ => Self::Heavy,
            },
            Method::POST if query.has(CHUNKS_PARAMETER) => Self::List,
            // What it stands for is long.
            Method::PUT if head.headers.contains_key(DELTA_HEADER) => Self::Long,
            Method::PUT if address.is_object() => match length(&head.headers) {
                Some(..=SHORT_BODY_BYTES) => Self::Write,
                _ => Self::Long,
            },
            _ => Self::Write,
        }
    }

    fn of_read(method: &Method, address: &Address, query: &Query) -> Self {
        const PAGES: [&str; 2] = ["versions", "uploads"];
        let is_page = match address {
            Address::Service => true,
            Address::Object { .. } => query.has("uploadId"),
            Address::Bucket(_) if *method == Method::HEAD => false,
            Address::Bucket(_) => {
                let subresource = query.names().find(|name| crate::s3::rules::is_subresource(name));
                subresource.is_none_or(|name| PAGES.contains(&name))
            }
        };
        if is_page { Self::List } else { Self::Read }
    }
}

/// Framing included. `None`: only its end will tell.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Class, SHORT_BODY_BYTES, SHORT_DOCUMENT_BYTES};
    use crate::s3::address::Address;
    use crate::s3::query::Query;
    use http::Request;

    fn class(method: &str, path: &str, length: Option<u64>) -> Class {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let address = match head.uri.path().trim_start_matches('/').split_once('/') {
            Some((bucket, key)) => Address::Object { bucket: bucket.into(), key: key.into() },
            None if head.uri.path() == "/" => Address::Service,
            None => Address::Bucket(head.uri.path()[1..].into()),
        };
        let query = Query::parse(head.uri.query().unwrap_or_default()).unwrap();
        Class::of(&head, &address, &query)
    }

    #[test]
    fn requests_are_classed_by_what_they_cost() {
        let bare = [
            ("GET", "/b/k", Class::Read),
            ("HEAD", "/b/k", Class::Read),
            ("HEAD", "/b", Class::Read),
            ("GET", "/b?location", Class::Read),
            ("GET", "/b/k?tagging", Class::Read),
            ("GET", "/", Class::List),
            ("GET", "/b", Class::List),
            ("GET", "/b?list-type=2&prefix=x", Class::List),
            ("GET", "/b?versions&prefix=x", Class::List),
            ("GET", "/b?uploads", Class::List),
            ("GET", "/b/k?uploadId=1", Class::List),
            ("DELETE", "/b/k", Class::Write),
            ("POST", "/b/k?uploads", Class::Write),
            ("POST", "/b?delete", Class::Heavy),
            ("PUT", "/b/k", Class::Long),
            ("PUT", "/b", Class::Write),
            ("POST", "/b/k?x-sediment-chunks=", Class::List),
        ];
        for (method, path, expected) in bare {
            assert_eq!(class(method, path, None), expected, "{method} {path}");
        }
        let long = SHORT_BODY_BYTES + 1;
        assert_eq!(class("PUT", "/b/k", Some(SHORT_BODY_BYTES)), Class::Write);
        assert_eq!(class("PUT", "/b/k", Some(long)), Class::Long);
        assert_eq!(class("PUT", "/b/k?partNumber=1&uploadId=1", Some(long)), Class::Long);
        assert_eq!(class("POST", "/b/k?uploadId=1", Some(SHORT_DOCUMENT_BYTES)), Class::Write);
        assert_eq!(class("POST", "/b/k?uploadId=1", Some(SHORT_DOCUMENT_BYTES + 1)), Class::Heavy);
        assert_eq!(class("POST", "/b/k?uploadId=1", None), Class::Heavy);
    }
}
