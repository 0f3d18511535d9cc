//! A server between a gateway and its remote. It counts requests, stops the world at one of them, and answers wrongly when told to.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

type Body = BoxBody<Bytes, io::Error>;

/// When a request ends everything: none that comes later is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is not passed on.
    Before,
    /// It is done, and its answer is lost.
    Unanswered,
    /// It is answered, and a moment passes.
    Answered(Duration),
    /// It is on its way for longer than its sender lives, and done before so many further requests of the next one.
    Late(u64),
}

/// What becomes of requests and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Connections end without an answer.
    Down,
    /// Answers come so late.
    Slow(Duration),
    /// Nothing is done, and this is said.
    Says(u16, &'static str),
    /// As [`Self::Says`], to writes alone.
    SaysToWrites(u16, &'static str),
    /// Everything is done, and an error is said.
    LosesAnswers,
    /// The connection ends in the middle of the body.
    CutOff,
    /// A part of the body, with the length of that part.
    Short,
    /// As [`Self::Short`], of listings.
    ShortList,
    /// One bit is another.
    Flipped,
    /// What was read before this.
    Other,
    /// Objects are said not to be there.
    Missing,
    /// What is no document.
    Garbage,
}

impl Fault {
    /// Whether it does anything to this request.
    fn concerns(self, method: &Method, target: &str) -> bool {
        let is_object = !target.split_once('?').is_some_and(|(_, query)| query.contains("list-type="));
        let is_read = *method == Method::GET || *method == Method::HEAD;
        match self {
            Self::SaysToWrites(..) => *method == Method::PUT || *method == Method::POST,
            Self::CutOff | Self::Short | Self::Flipped | Self::Other => *method == Method::GET && is_object,
            Self::Missing => is_read && is_object,
            Self::Garbage | Self::ShortList => *method == Method::GET && !is_object,
            _ => true,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    requests: u64,
    /// What the trap counts: writes below this path alone.
    only: Option<&'static str>,
    /// Writes below [`Self::only`] since the trap was set.
    writes: u64,
    trap: Option<(u64, Moment)>,
    /// Of the trap: tells it from those before.
    serial: u64,
    /// What is on its way still, and before which request it arrives.
    late: Option<(u64, Request<Full<Bytes>>)>,
    /// Everything waits.
    is_held: bool,
    /// After so many requests that it concerns.
    fault: Option<(Fault, u64)>,
    met: u64,
    read_before: Bytes,
    /// Whoever had the lease is dead. The next one that is seen is his, and looks old.
    dead: Option<Option<HeaderValue>>,
}

#[derive(Debug)]
struct Inner {
    to: SocketAddr,
    state: Mutex<State>,
    /// The last trap that has sprung.
    sprung: watch::Sender<u64>,
    /// What waits is let go, without an answer.
    let_go: watch::Sender<u64>,
}

/// What is done with one request.
enum Way {
    Pass,
    Hold,
    Trap(Moment, u64),
    Fault(Fault),
}

#[derive(Debug, Clone)]
pub struct S3Proxy {
    inner: Arc<Inner>,
    pub url: String,
}

impl S3Proxy {
    /// In front of a server, given as `http://address:port`.
    pub async fn new(server: &str) -> Self {
        let to = server.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sprung, let_go) = (watch::channel(0).0, watch::channel(0).0);
        let inner = Arc::new(Inner { to, state: Mutex::default(), sprung, let_go });
        let served = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let inner = Arc::clone(&served);
                let service = hyper::service::service_fn(move |request| {
                    let inner = Arc::clone(&inner);
                    async move { inner.serve(request).await }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(client), service);
                tokio::spawn(connection);
            }
        });
        Self { inner, url }
    }

    /// The request of that number from now on, counted from 1, ends everything.
    pub fn arm(&self, number: u64, moment: Moment) {
        let mut state = self.inner.state.lock();
        (state.requests, state.trap, state.is_held, state.only) = (0, Some((number, moment)), false, None);
        state.serial += 1;
    }

    /// Until the trap has sprung.
    pub async fn sprung(&self) {
        let serial = self.inner.state.lock().serial;
        let mut sprung = self.inner.sprung.subscribe();
        sprung.wait_for(|last| *last == serial).await.unwrap();
    }

    /// Since [`Self::arm`] or [`Self::reset`].
    pub fn requests(&self) -> u64 {
        self.inner.state.lock().requests
    }

    /// As [`Self::arm`], and only writes count whose path contains this one.
    pub fn arm_writes(&self, path: &'static str, number: u64, moment: Moment) {
        self.arm(number, moment);
        let mut state = self.inner.state.lock();
        (state.only, state.writes) = (Some(path), 0);
    }

    /// Of those that [`Self::arm_writes`] counts.
    pub fn writes(&self) -> u64 {
        self.inner.state.lock().writes
    }

    /// Nothing is answered any more.
    pub fn hold(&self) {
        self.inner.state.lock().is_held = true;
    }

    /// An honest way again.
    pub fn reset(&self) {
        let mut state = self.inner.state.lock();
        (state.requests, state.trap, state.is_held, state.fault) = (0, None, false, None);
        drop(state);
        self.inner.let_go.send_modify(|times| *times += 1);
    }

    /// As [`Self::reset`], after whoever wrote here has died. His lease would run out in a minute; it is shown as if it had.
    pub fn bury(&self) {
        self.inner.state.lock().dead = Some(None);
        self.reset();
    }

    /// From then on, after so many requests that it concerns.
    pub fn fail(&self, fault: Fault, after: u64) {
        let mut state = self.inner.state.lock();
        (state.fault, state.met) = (Some((fault, after)), 0);
    }
}

impl Inner {
    fn way(&self, method: &Method, target: &str) -> Way {
        let mut state = self.state.lock();
        if state.is_held {
            return Way::Hold;
        }
        state.requests += 1;
        let is_write = *method == Method::PUT || *method == Method::POST;
        let is_counted = state.only.is_none_or(|path| is_write && target.contains(path));
        state.writes += u64::from(is_counted);
        let count = if state.only.is_some() { state.writes } else { state.requests };
        let is_sprung = |(number, _): &(u64, Moment)| is_counted && *number == count;
        if let Some((_, moment)) = state.trap.filter(is_sprung) {
            state.is_held = true;
            return Way::Trap(moment, state.serial);
        }
        match state.fault {
            Some((fault, after)) if fault.concerns(method, target) => {
                state.met += 1;
                if state.met > after { Way::Fault(fault) } else { Way::Pass }
            }
            _ => Way::Pass,
        }
    }

    /// The late one, if it arrives now.
    fn arrives(&self) -> Option<Request<Full<Bytes>>> {
        let mut state = self.state.lock();
        let is_time = !state.is_held && state.late.as_ref().is_some_and(|(at, _)| state.requests + 1 >= *at);
        state.late.take_if(|_| is_time).map(|(_, request)| request)
    }

    async fn serve(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let request = Request::from_parts(head, Full::new(body));
        if let Some(late) = self.arrives() {
            // What it is answered nobody hears.
            let _ = self.pass(late).await;
        }
        match self.way(request.method(), &request.uri().to_string()) {
            Way::Pass => Ok(whole(self.pass(request).await?)),
            Way::Hold => self.held().await,
            Way::Fault(fault) => self.wrongly(request, fault).await,
            Way::Trap(Moment::Late(at), serial) => {
                self.state.lock().late = Some((at, request));
                self.sprung.send_replace(serial);
                self.held().await
            }
            Way::Trap(moment, serial) => {
                let answer = if moment == Moment::Before { None } else { Some(self.pass(request).await?) };
                match (moment, answer) {
                    (Moment::Answered(pause), Some(answer)) => {
                        let sprung = self.sprung.clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(pause).await;
                            sprung.send_replace(serial);
                        });
                        Ok(whole(answer))
                    }
                    _ => {
                        self.sprung.send_replace(serial);
                        self.held().await
                    }
                }
            }
        }
    }

    async fn held(&self) -> io::Result<Response<Body>> {
        let _ = self.let_go.subscribe().changed().await;
        Err(io::Error::other("let go"))
    }

    /// What the server answers.
    async fn pass(&self, request: Request<Full<Bytes>>) -> io::Result<Response<Bytes>> {
        let is_lease = *request.method() == Method::GET && request.uri().path().ends_with("/lease");
        let stream = TcpStream::connect(self.to).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let (mut head, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        head.headers.remove(header::CONNECTION);
        head.headers.remove(header::TRANSFER_ENCODING);
        if is_lease {
            self.age(&mut head.headers);
        }
        Ok(Response::from_parts(head, body))
    }

    fn age(&self, headers: &mut http::HeaderMap) {
        let Some(tag) = headers.get(header::ETAG).cloned() else { return };
        let mut state = self.state.lock();
        let Some(dead) = &mut state.dead else { return };
        if *dead.get_or_insert_with(|| tag.clone()) == tag {
            let long_ago = HeaderValue::from_static("Thu, 01 Jan 2015 00:00:00 GMT");
            headers.insert(header::LAST_MODIFIED, long_ago);
        }
    }

    async fn wrongly(&self, request: Request<Full<Bytes>>, fault: Fault) -> io::Result<Response<Body>> {
        let method = request.method().clone();
        match fault {
            Fault::Down => return Err(io::Error::other("down")),
            Fault::Says(status, code) | Fault::SaysToWrites(status, code) => {
                return Ok(whole(says(&method, status, code)));
            }
            Fault::Missing => return Ok(whole(says(&method, 404, "NoSuchKey"))),
            Fault::Slow(time) => tokio::time::sleep(time).await,
            _ => {}
        }
        let (mut head, body) = self.pass(request).await?.into_parts();
        if !head.status.is_success() {
            return Ok(whole(Response::from_parts(head, body)));
        }
        let wrong = match fault {
            Fault::LosesAnswers => return Ok(whole(says(&method, 500, "InternalError"))),
            Fault::CutOff => return Ok(Response::from_parts(head, cut_off(&body))),
            Fault::Short | Fault::ShortList => body.slice(..body.len() / 2),
            Fault::Flipped => {
                let mut wrong = body.to_vec();
                wrong[body.len() / 2] ^= 1;
                wrong.into()
            }
            Fault::Other => {
                let before = std::mem::replace(&mut self.state.lock().read_before, body.clone());
                if before.is_empty() { Bytes::from_static(b"{}") } else { before }
            }
            Fault::Garbage => Bytes::from_static(b"<ListBucketResult><Contents><Key>a</Key>"),
            _ => body,
        };
        if wrong.len() as u64 != length(&head.headers) {
            head.headers.insert(header::CONTENT_LENGTH, wrong.len().into());
        }
        Ok(whole(Response::from_parts(head, wrong)))
    }
}

fn length(headers: &http::HeaderMap) -> u64 {
    let text = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn whole(answer: Response<Bytes>) -> Response<Body> {
    answer.map(|body| Full::new(body).map_err(|never| match never {}).boxed())
}

/// Half of it comes.
fn cut_off(body: &Bytes) -> Body {
    let half = Ok(Frame::data(body.slice(..body.len() / 2)));
    let frames = [half, Err(io::Error::other("cut off"))];
    BodyExt::boxed(StreamBody::new(futures::stream::iter(frames)))
}

fn says(method: &Method, status: u16, code: &str) -> Response<Bytes> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>as the test says</Message></Error>"
    );
    // An answer to HEAD has no body.
    let body = if *method == Method::HEAD { Bytes::new() } else { text.into() };
    let status = StatusCode::from_u16(status).unwrap();
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, "application/xml");
    answer.body(body).unwrap()
}
