//! A request's way through the room: who makes it, what it asks for, s3s, the operation, the answer.

use super::address::{Address, Domains, host};
use super::admission::{Admission, Class, Party};
use super::answer_date::AnswerDate;
use super::auth::{Authenticator, Payload, Verified};
use super::body::{Counted, Document, Documents, Traffic, Upload, UploadHead, read_document};
use super::contents::Contents;
use super::convert::sent_checksums;
use super::cors;
use super::delta::{self, ChunkQuestion, delta_length};
use super::digest::require_digest;
use super::direct::DirectRead;
use super::direct_put::DirectPut;
use super::error::refusal_of;
use super::finish::{Noted, finish, refused};
use super::meters::Meters;
use super::methods::check_method;
use super::ops::{Operations, caller_of};
use super::parameters::check_parameters;
use super::post::{self, Posted};
use super::query::Query;
use super::refusal::{Fields, Refusal, refuse};
use super::request_id::RequestIds;
use super::rewrite::{Sent, hoist, rewrite};
use super::rules::{Shape, check_headers, check_operation};
use super::unreadable::Unreadable;
use super::{Credentials, S3Settings};
use crate::service::{ObjectService, parse_bucket_name, parse_key};
use crate::sys::{Clock, Random};
use crate::types::{Caller, Principal};
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use parking_lot::Mutex;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error, S3ErrorCode as Code, S3Result};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use time::OffsetDateTime;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// Answers up to this size are not counted: a connection has as much for itself.
const SMALL_ANSWER_BYTES: usize = 4 << 10;
/// An answer that names every key of a document is at most so many times as long: tags and versions stand beside each.
const ECHOED: usize = 4;
/// Documents are limited before s3s sees them.
const MAX_XML_BYTES: usize = 4 << 20;

/// Why the gateway cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("s3.domains: {0}")]
pub struct S3SetupError(String);

/// Answers S3 requests. Cheap to clone.
#[derive(Clone)]
pub struct S3Gateway {
    s3s: S3Service,
    service: ObjectService,
    authenticator: Arc<Authenticator>,
    domains: Arc<Domains>,
    documents: Documents,
    admission: Arc<Admission>,
    meters: Arc<Meters>,
    ids: Arc<RequestIds>,
    clock: Arc<dyn Clock>,
    date: Arc<AnswerDate>,
}

impl std::fmt::Debug for S3Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Gateway").field("domains", &self.domains).finish_non_exhaustive()
    }
}

impl S3Gateway {
    /// # Errors
    /// When a domain is not one.
    pub fn new(
        service: ObjectService,
        settings: &S3Settings,
        credentials: Credentials,
        random: &dyn Random,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, S3SetupError> {
        let domains = Arc::new(Domains::new(&settings.domains).map_err(S3SetupError)?);
        let authenticator = Arc::new(Authenticator { credentials, region: service.region().to_owned() });
        let mut builder = S3ServiceBuilder::new(Operations { service: service.clone() });
        // s3s asks for access only where it could have been given credentials.
        builder.set_auth(NobodySigns);
        builder.set_access(Routed);
        let mut config = S3Config::default();
        config.xml_max_body_size = MAX_XML_BYTES;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        let (documents, meters) = (Documents::new(settings.document_bytes), Arc::new(Meters::default()));
        let ids = Arc::new(RequestIds::new(random));
        let date = Arc::new(AnswerDate::new(Arc::clone(&clock)));
        let admission = Arc::new(Admission::new(settings, service.sync_pace()));
        let s3s = builder.build();
        Ok(Self { s3s, service, authenticator, domains, documents, admission, meters, ids, clock, date })
    }

    /// The answer to a request. The body of a successful read streams. What few requests come to is boxed: the future
    /// of every request would have to be as large as that of the largest.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let traffic = Arc::new(Traffic::new(Arc::clone(&self.meters)));
        let id = self.ids.next();
        let (method, resource) = (request.method().clone(), request.uri().path().to_owned());
        let noted = Noted::default();
        let (head, body) = request.into_parts();
        // As the rules are before the request, which may change them or take their bucket away.
        let for_page = match method {
            Method::OPTIONS => None,
            _ if !head.headers.contains_key(header::ORIGIN) => None,
            _ => Box::pin(cors::headers_of_answer(&self.service, &head, &self.domains)).await,
        };
        let answer = self.answer(head, body, &traffic, &noted).await;
        let response = answer.unwrap_or_else(|refusal| refused(refusal, &noted));
        let mut response = finish(response, &noted, &id, &method, &resource);
        response.headers_mut().extend(for_page.unwrap_or_default());
        self.date(response.headers_mut());
        record(&traffic, response.status(), &id, &method, &resource);
        response.map(|body| Counted::new(body, traffic).boxed_unsync())
    }

    fn date(&self, headers: &mut HeaderMap) {
        if let Some(date) = self.date.now() {
            headers.insert(header::DATE, date);
        }
    }

    /// The answer to what is no request. It has a document as every other.
    pub fn unreadable(&self, why: Unreadable) -> Response<Bytes> {
        let id = self.ids.next();
        let noted = Noted::default();
        let response = refused(why.refusal(), &noted);
        let (mut head, body) = finish(response, &noted, &id, &Method::GET, "").into_parts();
        self.date(&mut head.headers);
        // It is all there.
        let body = body.collect().now_or_never().and_then(Result::ok);
        Response::from_parts(head, body.map(http_body_util::Collected::to_bytes).unwrap_or_default())
    }

    async fn answer<B>(
        &self,
        mut head: Parts,
        body: B,
        traffic: &Arc<Traffic>,
        noted: &Noted,
    ) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let invalid = || refuse(Code::InvalidURI, "Couldn't parse the specified URI.");
        let mut query = Query::parse(head.uri.query().unwrap_or_default()).map_err(|_| invalid())?;
        let host = host(&head).map_err(|_| refuse(Code::InvalidRequest, "The request names no one host."))?;
        let address = Address::of(&head.uri, host.as_deref(), &self.domains);
        if head.method == Method::OPTIONS {
            traffic.names("Preflight");
            let address = address.map_err(|_| invalid())?;
            let anybody = party_of(&Principal::Anonymous, &head);
            let preflight = Box::pin(cors::preflight(&self.service, &address, &head.headers));
            return self.admission.run(Class::Read, &anybody, preflight).await;
        }
        if let Ok(address) = &address
            && let Some(bucket) = post::target(&head, address, &query)
        {
            return Box::pin(self.form(&head, bucket, &query, body, traffic, noted)).await;
        }
        let verified = self.authenticator.check(&head, &query, host.as_deref(), self.now())?;
        if let Some(caller) = head.extensions.get::<Caller>() {
            caller.is(&verified.principal);
        }
        hoist(&mut query, &mut head.headers)?;
        let address = address.map_err(|_| invalid())?;
        check_method(&head, &address, &query)?;
        check_names(&address)?;
        check_parameters(&mut query)?;
        check_headers(&head)?;
        let Verified { principal, payload } = verified;
        let delta = delta_length(&head, &principal)?;
        let (class, party) = (Class::of(&head, &address, &query), party_of(&principal, &head));
        traffic.keep(self.admission.place(&party).await?);
        let is_bare = body.is_end_stream();
        let direct = DirectRead::of(&head, &address, &query, (&principal, &payload), is_bare);
        if let Some(read) = direct {
            let answer = pin!(async { Ok(read.answer(&self.service).await) });
            if let Some(response) = self.admission.run(class, &party, answer).await? {
                traffic.names(read.operation());
                return Ok(response);
            }
        }
        if let Some(question) = ChunkQuestion::of(&head, &address, &query, &principal)? {
            traffic.names(delta::OPERATION);
            let upload_head = UploadHead::parse(&head, payload, false, is_bare)?;
            let upload = Upload::new(upload_head, body, Arc::clone(traffic));
            let parts = (&self.service, &*self.admission, &self.documents);
            let answer = question.answer(parts, (&head.headers, principal), (class, &party), &upload);
            return Box::pin(answer).await;
        }
        if let Some(put) = DirectPut::of(&head, &address, &query) {
            let put = put.answer(&self.service, (&head, &query), (principal, payload), body, traffic);
            return self.admission.run(class, &party, Box::pin(put)).await;
        }
        let admitted = Admitted { head, address, query, principal, payload, delta };
        Box::pin(self.by_s3s(admitted, (class, &party), body, traffic, noted)).await
    }

    /// The long way: a document is read first, so that nobody's turn is spent on waiting for it.
    async fn by_s3s<B>(
        &self,
        admitted: Admitted,
        (class, party): (Class, &Party),
        body: B,
        traffic: &Arc<Traffic>,
        noted: &Noted,
    ) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let Admitted { mut head, address, query, principal, payload, delta } = admitted;
        let shape = Shape::of(&head, &address, &query);
        let (is_anonymous, is_empty) = (principal == Principal::Anonymous, body.is_end_stream());
        let upload_head = UploadHead::parse(&head, payload, shape == Shape::Upload, body.is_end_stream())?;
        let mut upload = Upload::new(upload_head, body, Arc::clone(traffic));
        if let Some(length) = delta.filter(|_| shape == Shape::Upload) {
            let caller = caller_of(principal.clone(), &head.headers);
            upload = upload.expanded(length, &self.service, &caller).map_err(refusal_of)?;
        }
        let document = match shape {
            Shape::Upload => None,
            // Memory for documents is for those who have a key.
            Shape::Document if is_anonymous && !is_empty => {
                return Err(refuse(Code::AccessDenied, "Access Denied"));
            }
            Shape::Document => Some(self.document(party, &head, &query, &upload).await?),
        };
        let (length, body) = match &document {
            None => (upload.size, Body::empty()),
            Some(document) => (Some(document.bytes.len() as u64), Body::from(document.bytes.clone())),
        };
        if let Some(document) = &document {
            head.extensions.insert(SentDocument(document.bytes.clone()));
        }
        // What was done is not answered with a refusal: the memory of an answer that names every key comes first.
        let reserved = match &document {
            Some(document) if head.method == Method::POST && query.has("delete") => {
                Some(self.documents.of_answer(party, ECHOED * document.bytes.len()).await?)
            }
            _ => None,
        };
        let checked = Checked { head, address, query, shape, principal, upload };
        let work = pin!(async {
            let mut response = self.call(checked, length, body, traffic, noted).await?;
            let Some(memory) = reserved else { return self.counted(party, response).await };
            response.extensions_mut().insert(memory);
            Ok(response)
        });
        self.admission.run(class, party, work).await
    }

    /// A document that is made is in memory until the client has taken it.
    async fn counted(&self, party: &Party, mut response: Response<Body>) -> Result<Response<Body>, Refusal> {
        let contents = response.extensions().get::<Contents>().map_or(0, Contents::bytes);
        let bytes = contents + response.body().bytes().map_or(0, |document| document.len());
        if bytes > SMALL_ANSWER_BYTES {
            let memory = self.documents.of_answer(party, bytes).await?;
            response.extensions_mut().insert(memory);
        }
        Ok(response)
    }

    /// How many wait for the memory of documents.
    #[must_use]
    pub fn waiting_for_memory(&self) -> usize {
        self.documents.waiting()
    }

    /// A form is the put that it stands for, made by whom its policy names.
    async fn form<B>(
        &self,
        head: &Parts,
        bucket: &str,
        query: &Query,
        body: B,
        traffic: &Arc<Traffic>,
        noted: &Noted,
    ) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        traffic.names("PostObject");
        let upload_head = UploadHead::parse(head, Payload::Unsigned, false, body.is_end_stream())?;
        let frames = Upload::new(upload_head, body, Arc::clone(traffic)).take_stream();
        let posted = post::receive(head, bucket, frames, &self.authenticator, self.now()).await?;
        let Posted { principal, address, head: fields, upload, outcome } = posted;
        let (party, head) = (party_of(&principal, head), fields);
        traffic.keep(self.admission.place(&party).await?);
        check_names(&address)?;
        check_headers(&head)?;
        delta_length(&head, &principal)?;
        let shape = Shape::of(&head, &address, query);
        let checked = Checked { head, address, query: query.clone(), shape, principal, upload };
        let put = pin!(self.call(checked, None, Body::empty(), traffic, noted));
        outcome.answer(self.admission.run(Class::Write, &party, put).await?)
    }

    /// Hands a request over to s3s. `length` is the body's, where it is known.
    async fn call(
        &self,
        checked: Checked,
        length: Option<u64>,
        body: Body,
        traffic: &Arc<Traffic>,
        noted: &Noted,
    ) -> Result<Response<Body>, Refusal> {
        let Checked { mut head, address, query, shape, principal, upload } = checked;
        let route =
            Route { shape, query: query.clone(), traffic: Arc::clone(traffic), fields: noted.fields() };
        head.extensions.insert(route);
        head.extensions.insert(principal);
        head.extensions.insert(upload);
        head.extensions.insert(noted.clone());
        let request = rewrite(head, &address, &query, length, body)?;
        self.s3s.call(request).await.map_err(|error| {
            let error: BoxError = error.into();
            tracing::error!(%error, "the protocol layer failed");
            refuse(Code::InternalError, "We encountered an internal error. Please try again.")
        })
    }

    async fn document(
        &self,
        party: &Party,
        head: &Parts,
        query: &Query,
        upload: &Upload,
    ) -> Result<Document, Refusal> {
        // A completed upload's checksum is the object's, not the document's.
        let is_of_the_object = head.method == Method::POST && query.has("uploadId");
        if head.method == Method::POST && query.has("delete") {
            require_digest(&head.headers).map_err(refusal_of)?;
        }
        let checksums =
            if is_of_the_object { Vec::new() } else { sent_checksums(&head.headers).map_err(refusal_of)? };
        read_document((&self.documents, party), &head.headers, checksums, upload).await
    }

    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.clock.now().seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

fn party_of(principal: &Principal, head: &Parts) -> Party {
    Party::of(principal, head.extensions.get::<SocketAddr>())
}

/// s3s refuses the same names, and says less about them.
fn check_names(address: &Address) -> Result<(), Refusal> {
    let (bucket, key) = match address {
        Address::Service => return Ok(()),
        Address::Bucket(bucket) => (bucket, None),
        Address::Object { bucket, key } => (bucket, Some(key)),
    };
    parse_bucket_name(bucket).map_err(refusal_of)?;
    key.map(|key| parse_key(key)).transpose().map_err(refusal_of)?;
    Ok(())
}

/// A request that passed every check of its head.
struct Admitted {
    head: Parts,
    address: Address,
    query: Query,
    principal: Principal,
    payload: Payload,
    /// How long what the body stands for is, where the body is a delta.
    delta: Option<u64>,
}

/// A request that s3s may see, and what goes beside it.
struct Checked {
    head: Parts,
    address: Address,
    query: Query,
    shape: Shape,
    principal: Principal,
    upload: Upload,
}

/// The request's document, for what s3s does not read of it.
#[derive(Debug, Clone)]
pub(super) struct SentDocument(pub(super) Bytes);

/// Signatures are checked before s3s, and taken away.
struct NobodySigns;

#[async_trait::async_trait]
impl S3Auth for NobodySigns {
    async fn get_secret_key(&self, _access_key: &str) -> S3Result<SecretKey> {
        Err(S3Error::new(Code::AccessDenied))
    }
}

/// What a request was taken for before s3s saw it.
#[derive(Debug, Clone)]
struct Route {
    shape: Shape,
    query: Query,
    traffic: Arc<Traffic>,
    fields: Arc<Mutex<Fields>>,
}

/// Lets through what s3s takes for the same as the gateway did; notes the operation.
struct Routed;

#[async_trait::async_trait]
impl S3Access for Routed {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = context.s3_op().name().to_owned();
        let route = context.extensions_mut().remove::<Route>();
        let route = route.ok_or_else(|| S3Error::new(Code::InternalError))?;
        route.traffic.names(&operation);
        let sent = context.extensions_mut().get::<Sent>().map(|Sent(headers)| headers);
        let sent = sent.ok_or_else(|| S3Error::new(Code::InternalError))?;
        check_operation(&operation, route.shape, &route.query, sent).map_err(|refusal| {
            *route.fields.lock() = refusal.fields;
            refusal.error
        })
    }
}

fn record(traffic: &Traffic, status: StatusCode, id: &str, method: &Method, resource: &str) {
    traffic.answered(status);
    let (operation, seconds) = (traffic.operation(), traffic.seconds());
    // Paths only: a query may hold a signature.
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::warn!(%id, operation, %method, resource, status = status.as_u16(), seconds, "request failed");
    } else {
        tracing::debug!(%id, operation, %method, resource, status = status.as_u16(), seconds, "request");
    }
}
