//! What a form is answered when its file is stored.

use super::fields::Fields;
use crate::s3::finish::escape;
use crate::s3::query::encode;
use http::{HeaderValue, Response, StatusCode, header};
use s3s::Body;

/// What the form asks for in case of success.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wish {
    Redirect(String),
    Status(StatusCode),
}

/// The answer to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Success {
    wish: Wish,
    /// The object's address, as the form's is written.
    location: String,
    bucket: String,
    key: String,
}

impl Success {
    /// `bucket_url` is the address of the bucket, with the slash behind it.
    pub(super) fn new(fields: &Fields, bucket_url: &str, bucket: &str, key: &str) -> Self {
        let urls = [fields.get("success_action_redirect"), fields.get("redirect")];
        let redirect = urls.into_iter().flatten().find(|url| is_url(url));
        let status = match fields.get("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        };
        Self {
            wish: redirect.map_or(Wish::Status(status), |url| Wish::Redirect(url.to_owned())),
            location: format!("{bucket_url}{}", encode(key, false)),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }
    }

    /// Makes the answer to the put that to the form. Refusals stay what they are.
    pub(super) fn answer(self, put: Response<Body>) -> Response<Body> {
        if !put.status().is_success() {
            return put;
        }
        let (mut head, _) = put.into_parts();
        let etag =
            head.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::CONTENT_TYPE);
        let (status, location, body) = match &self.wish {
            Wish::Redirect(url) => (StatusCode::SEE_OTHER, self.redirected(url, &etag), Body::empty()),
            Wish::Status(StatusCode::CREATED) => {
                head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
                (StatusCode::CREATED, self.location.clone(), Body::from(self.document(&etag)))
            }
            Wish::Status(status) => (*status, self.location.clone(), Body::empty()),
        };
        head.status = status;
        if let Ok(location) = HeaderValue::from_bytes(location.as_bytes()) {
            head.headers.insert(header::LOCATION, location);
        }
        Response::from_parts(head, body)
    }

    /// The form's address, with what was stored behind its query.
    fn redirected(&self, url: &str, etag: &str) -> String {
        let (url, fragment) = url.find('#').map_or((url, ""), |at| url.split_at(at));
        let joint = if url.contains('?') { '&' } else { '?' };
        let value = |text: &str| encode(text, false).replace("%20", "+");
        let (bucket, key, etag) = (value(&self.bucket), value(&self.key), value(etag));
        format!("{url}{joint}bucket={bucket}&key={key}&etag={etag}{fragment}")
    }

    fn document(&self, etag: &str) -> String {
        let (location, key, etag) = (escape(&self.location), escape_key(&self.key), etag.replace('&', ""));
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{location}</Location><Bucket>{}</Bucket><Key>{key}</Key><ETag>{etag}</ETag></PostResponse>",
            escape(&self.bucket),
        )
    }
}

/// Control characters stay: they become references when the answer is finished.
fn escape_key(key: &str) -> String {
    key.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Whether a browser can be sent there. Anything else is as if it were not in the form.
fn is_url(url: &str) -> bool {
    let scheme_end = ["http://", "https://"].into_iter().find_map(|scheme| {
        url.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).map(str::len)
    });
    let host = scheme_end.map(|end| url[end..].split(['/', '?', '#']).next().unwrap_or_default());
    host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace))
        && !url.contains(char::is_control)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
