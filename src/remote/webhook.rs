//! A URL that small documents are posted to.

use super::percent::decoded;
use crate::types::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http::{Request, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// From the first packet to the head of the answer.
const TIME: Duration = Duration::from_secs(10);

/// Where to, over HTTP or HTTPS. Nothing of the URL is ever shown: its user, path and query may be secrets (I6).
#[derive(Clone)]
pub struct Webhook {
    to: Uri,
    /// Of the URL's user and password.
    authorization: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhook(…)")
    }
}

impl Webhook {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When it is no URL of HTTP, or the system's certificates cannot be read.
    pub fn new(url: &Secret) -> Result<Self, String> {
        let (to, authorization) = parse(&url.reveal()).ok_or("it must be a URL, as https://host/path")?;
        // The provider that the S3 client brings.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = HttpsConnectorBuilder::new();
        let builder = if to.scheme_str() == Some("https") {
            let trusting = builder.with_provider_and_native_roots(provider);
            trusting.map_err(|error| format!("the system's certificates: {error}"))?
        } else {
            // A machine without certificates can still post in the clear.
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let config = config.map_err(|error| error.to_string())?;
            builder
                .with_tls_config(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
        };
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self { to, authorization, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Posts a JSON document, once, within ten seconds.
    ///
    /// # Errors
    /// When it was not answered with 2xx; without the URL.
    pub async fn post(&self, body: Bytes) -> Result<(), String> {
        let mut request = Request::post(self.to.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("sediment/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let request = request.body(Full::new(body)).map_err(|_| "the URL cannot be asked")?;
        match tokio::time::timeout(TIME, self.client.request(request)).await {
            Err(_) => Err(format!("no answer in {TIME:?}")),
            Ok(Err(error)) => Err(causes(&error)),
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(format!("answered {}", answer.status())),
        }
    }
}

/// The URL without its user, and the header that says who that is.
fn parse(url: &str) -> Option<(Uri, Option<HeaderValue>)> {
    let mut parts = url.parse::<Uri>().ok()?.into_parts();
    if !matches!(parts.scheme.as_ref()?.as_str(), "http" | "https") {
        return None;
    }
    let authority = parts.authority.take()?;
    let (user, host) = match authority.as_str().rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority.as_str()),
    };
    parts.authority = Some(host.parse::<Authority>().ok().filter(|host| !host.host().is_empty())?);
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    let authorization = match user {
        Some(user) => {
            let basic = format!("Basic {}", STANDARD.encode(decoded(user)));
            let mut value = HeaderValue::try_from(basic).ok()?;
            value.set_sensitive(true);
            Some(value)
        }
        None => None,
    };
    Some((Uri::from_parts(parts).ok()?, authorization))
}

/// What each cause says, the deepest last.
fn causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::{Webhook, parse};
    use crate::types::Secret;
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers one request with a status; what was asked, as it came.
    async fn answer(status: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"}") {
                let mut piece = [0; 1024];
                let read = stream.read(&mut piece).await.unwrap();
                assert!(read > 0);
                asked.extend_from_slice(&piece[..read]);
            }
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        (address, asked)
    }

    #[tokio::test]
    async fn a_document_is_posted_and_its_answer_counts() {
        for (status, is_ok) in
            [("204 No Content", true), ("500 Internal Server Error", false), ("302 Found", false)]
        {
            let (address, asked) = answer(status).await;
            let url = format!("http://me:p%40ss@{address}/hook?token=hunter2");
            let hook = Webhook::new(&Secret::new(url)).unwrap();
            let posted = hook.post(Bytes::from_static(b"{\"a\":1}")).await;
            assert_eq!(posted.is_ok(), is_ok, "{posted:?}");
            let asked = asked.await.unwrap();
            assert!(asked.starts_with("POST /hook?token=hunter2 HTTP/1.1\r\n"), "{asked}");
            assert!(asked.contains("authorization: Basic bWU6cEBzcw==\r\n"), "{asked}");
            assert!(asked.contains("content-type: application/json\r\n") && asked.ends_with("{\"a\":1}"));
        }
    }

    #[tokio::test]
    async fn i6_neither_an_error_nor_a_debug_shows_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let hook =
            Webhook::new(&Secret::new(format!("http://me:hunter1@{address}/hunter2?hunter3"))).unwrap();
        let shown = format!("{hook:?} {:?}", hook.post(Bytes::from_static(b"{}")).await.unwrap_err());
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn what_is_no_url_of_http_is_refused() {
        for bad in ["", "host/path", "ftp://host/", "http://", "http://me@/", "https:///x"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        let (to, user) = parse("https://hooks.example.com").unwrap();
        assert!(to == "https://hooks.example.com/" && user.is_none());
    }
}
