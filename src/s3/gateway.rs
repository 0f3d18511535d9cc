//! A request's way through the room: gate, s3s, operation, answer.

use super::finish::{finish, refusal, request_id};
use super::gate::{self, NestingGuard};
use super::ops::Operations;
use super::{Credentials, S3Settings};
use crate::service::ObjectService;
use crate::sys::Random;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request::Parts};
use http_body_util::combinators::UnsyncBoxBody;
use s3s::access::{S3Access, S3AccessContext};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::MultiDomain;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error, S3ErrorCode, S3Result};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// 10,000 parts, each with a checksum.
const MAX_XML_BYTES: usize = 4 << 20;
/// How far a request's clock may be off, in seconds.
const MAX_SKEW_SECONDS: u32 = 15 * 60;

/// Why the gateway cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("s3.domains: {0}")]
pub struct S3SetupError(String);

/// Answers S3 requests. Cheap to clone.
#[derive(Clone)]
pub struct S3Gateway {
    s3s: S3Service,
    region: Arc<str>,
    domains: Arc<[String]>,
    random: Arc<dyn Random>,
}

impl std::fmt::Debug for S3Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Gateway").field("region", &self.region).finish_non_exhaustive()
    }
}

impl S3Gateway {
    /// # Errors
    /// When a domain is not one.
    pub fn new(
        service: ObjectService,
        settings: &S3Settings,
        credentials: Credentials,
        random: Arc<dyn Random>,
    ) -> Result<Self, S3SetupError> {
        let region = service.region().into();
        let mut builder = S3ServiceBuilder::new(Operations { service });
        builder.set_auth(credentials);
        builder.set_access(SignedOnly);
        let mut config = S3Config::default();
        config.xml_max_body_size = MAX_XML_BYTES;
        config.presigned_url_max_skew_time_secs = MAX_SKEW_SECONDS;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        if !settings.domains.is_empty() {
            let hosts = MultiDomain::new(settings.domains.iter().map(String::as_str));
            builder.set_host(hosts.map_err(|error| S3SetupError(error.to_string()))?);
        }
        Ok(Self { s3s: builder.build(), region, domains: settings.domains.clone().into(), random })
    }

    /// The answer to a request. The body of a successful read streams.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let began = Instant::now();
        let id = request_id(self.random.as_ref());
        let (mut head, body) = request.into_parts();
        let (method, resource) = (head.method.clone(), head.uri.path().to_owned());
        let operation = Operation::default();
        head.extensions.insert(operation.clone());
        let response = match gate::check(&head, &self.region) {
            Err(error) => refusal(error),
            Ok(()) => self.answer(head, body).await,
        };
        let response = finish(response, &id, &method, &resource);
        record(operation.name(), &response, began, &id, &method, &resource);
        response
    }

    async fn answer<B>(&self, head: Parts, body: B) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (body, too_deep) = NestingGuard::new(body, !self.is_upload(&head));
        let request = Request::from_parts(head, Body::http_body_unsync(body));
        let answer = self.s3s.call(request).await;
        if too_deep.happened() {
            let message =
                "The XML you provided was not well-formed or did not validate against our published schema";
            return refusal(S3Error::with_message(S3ErrorCode::MalformedXML, message));
        }
        answer.unwrap_or_else(|error| {
            let error: BoxError = error.into();
            tracing::error!(%error, "the protocol layer failed");
            refusal(S3Error::new(S3ErrorCode::InternalError))
        })
    }

    /// Whether the body is an object's or a part's bytes and no document.
    fn is_upload(&self, head: &Parts) -> bool {
        let query = head.uri.query().unwrap_or_default();
        let subresource = query.split('&').any(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !name.is_empty()
                && !name.starts_with("X-Amz-")
                && !matches!(name, "partNumber" | "uploadId" | "x-id")
        });
        let path = head.uri.path().trim_start_matches('/');
        let has_key = if self.names_bucket(head) { !path.is_empty() } else { path.contains('/') };
        head.method == Method::PUT && has_key && !subresource
    }

    /// Whether the host begins with a bucket's name.
    fn names_bucket(&self, head: &Parts) -> bool {
        let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let host =
            host.or_else(|| head.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        self.domains
            .iter()
            .any(|domain| host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.')))
    }
}

/// Lets signed requests through to the service, which decides; notes their operation.
struct SignedOnly;

#[async_trait::async_trait]
impl S3Access for SignedOnly {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let name = context.s3_op().name().to_owned();
        if let Some(operation) = context.extensions_mut().get::<Operation>() {
            let _ = operation.0.set(name);
        }
        if context.credentials().is_none() {
            return Err(S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied"));
        }
        Ok(())
    }
}

/// The name of the request's operation, once it is known.
#[derive(Debug, Clone, Default)]
struct Operation(Arc<OnceLock<String>>);

impl Operation {
    fn name(&self) -> &str {
        self.0.get().map_or("unknown", String::as_str)
    }
}

fn record(
    operation: &str,
    response: &Response<ResponseBody>,
    began: Instant,
    id: &str,
    method: &Method,
    resource: &str,
) {
    let (status, seconds) = (response.status(), began.elapsed().as_secs_f64());
    let labels = [("operation", operation.to_owned()), ("code", status.as_str().to_owned())];
    metrics::counter!("sediment_s3_requests_total", &labels).increment(1);
    metrics::histogram!("sediment_s3_request_seconds", "operation" => operation.to_owned()).record(seconds);
    // Paths only: a query may hold a signature.
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::warn!(%id, operation, %method, resource, status = status.as_u16(), seconds, "request failed");
    } else {
        tracing::debug!(%id, operation, %method, resource, status = status.as_u16(), seconds, "request");
    }
}
