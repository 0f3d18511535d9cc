//! Listening, serving, draining.

use super::activity::{Activity, Verdict};
use super::body::{OpenRequest, RequestBody, ResponseBody, WatchedBody};
use super::crowd::{Crowd, network};
use super::progress::{STREAM_WINDOW_BYTES, Watch};
use super::reading::{ReadShare, Reading};
use super::settings::HttpSettings;
use super::stream::{GuardedStream, Place};
use super::turns::{Turn, Turns};
use super::unreadable::{Refuser, Unreadable, plain};
use crate::types::Caller;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Answers requests. The peer's address stands in the request's extensions as a `SocketAddr`.
pub type Handler =
    Arc<dyn Fn(Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> + Send + Sync>;

/// How many wait for what clients hold that keep others waiting, such as the memory of a body that nobody sends.
pub type Waiters = Arc<dyn Fn() -> usize + Send + Sync>;

/// What a listener's requests are answered by.
pub struct HttpService {
    pub handler: Handler,
    pub refuser: Refuser,
    pub waiters: Waiters,
}

impl std::fmt::Debug for HttpService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpService").finish_non_exhaustive()
    }
}

/// Where connections run out, how long one more waits before it is told again who might give way.
const PRESS_AGAIN: Duration = Duration::from_secs(1);
/// Connections whose head has been coming this long are closed then.
const HEAD_UNDER_PRESSURE: Duration = Duration::from_secs(3);
/// Of stalled ones, so many at each look.
const STALLED_UNDER_PRESSURE: usize = 16;
/// Between two looks at who waits. Who waits for less is none of the clients' fault.
const LOOK_AT_WAITERS: Duration = Duration::from_millis(500);

/// A listener and its connections. Dropping it does not stop it: `shutdown` does.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

struct Shared {
    builder: Builder<TokioExecutor>,
    settings: HttpSettings,
    service: HttpService,
    /// The listener's name in metrics.
    name: &'static str,
    connections: Arc<Semaphore>,
    crowd: Arc<Crowd>,
    http2_connections: Arc<Semaphore>,
    reading: Arc<Reading>,
    turns: Arc<Turns>,
    /// Tells idle connections to make room.
    pressure: Notify,
    /// Tells connections to look whether they are stalled, since others wait: so many may be ended.
    squeeze: Notify,
    to_end: AtomicUsize,
    /// Somebody was turned away because its address has all that it may have.
    crowded: AtomicBool,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl HttpServer {
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(address: &str) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    /// Serves until [`Self::shutdown`].
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(
        name: &'static str,
        listener: TcpListener,
        settings: HttpSettings,
        handler: Handler,
    ) -> io::Result<Self> {
        let service = HttpService { handler, refuser: plain(), waiters: Arc::new(|| 0) };
        Self::start_with(name, listener, settings, service)
    }

    /// As [`Self::start`], with words of its own for what is no request, and an eye on who waits.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start_with(
        name: &'static str,
        listener: TcpListener,
        settings: HttpSettings,
        service: HttpService,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, abort, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let shared = Arc::new(Shared {
            builder: builder(&settings),
            connections: Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS))),
            http2_connections: Arc::new(Semaphore::new(
                settings.max_http2_connections.min(Semaphore::MAX_PERMITS),
            )),
            reading: Arc::new(Reading::new(settings.read_buffer_bytes)),
            turns: Arc::default(),
            crowd: Arc::new(Crowd::new(settings.connections_per_address())),
            settings,
            service,
            name,
            pressure: Notify::new(),
            squeeze: Notify::new(),
            to_end: AtomicUsize::new(0),
            crowded: AtomicBool::new(false),
            stop: stop.clone(),
            abort: abort.clone(),
            tasks: tasks.clone(),
        });
        tasks.spawn(squeeze(Arc::clone(&shared)));
        tokio::spawn(take_turns(Arc::clone(&shared.turns), tasks.clone()));
        tasks.spawn(accept(listener, shared));
        Ok(Self { address, stop, abort, tasks })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests under way finish until the deadline, then cuts them off.
    /// Returns whether all finished.
    pub async fn shutdown(self, deadline: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        let finished = tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok();
        self.abort.cancel();
        self.tasks.wait().await;
        finished
    }
}

/// Until the last connection has ended.
async fn take_turns(turns: Arc<Turns>, connections: TaskTracker) {
    tokio::select! {
        () = turns.call() => {}
        () = connections.wait() => {}
    }
}

fn builder(settings: &HttpSettings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Idle and slow heads are the watchdog's: hyper's timer does not tell them apart.
        .header_read_timeout(None)
        .max_headers(settings.max_headers)
        .max_buf_size(256 << 10)
        .writev(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_http2_streams)
        .max_header_list_size(settings.max_header_bytes)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(256 << 10)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let permit = tokio::select! {
            () = shared.stop.cancelled() => return,
            permit = permit(&shared) => permit,
        };
        let Some(permit) = permit else { return };
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => begin(tcp, peer, permit, &shared),
            Err(error) => {
                tracing::warn!(%error, listener = shared.name, "cannot accept a connection");
                // Out of descriptors, most likely: there will be no progress before something closes.
                shared.pressure.notify_waiters();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Closes the connection where its address has all that it may have: others would find none.
fn begin(tcp: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit, shared: &Arc<Shared>) {
    let Some(member) = shared.crowd.join(peer.ip()) else {
        metrics::counter!("sediment_http_address_limit_total", "listener" => shared.name).increment(1);
        shared.crowded.store(true, Ordering::Relaxed);
        return;
    };
    metrics::counter!("sediment_http_connections_total", "listener" => shared.name).increment(1);
    let activity = Arc::new(Activity::new());
    // Small answers leave at once instead of waiting for the acknowledgement of earlier ones.
    let _ = tcp.set_nodelay(true);
    let place = Place { _member: member, _permit: permit };
    let share = ReadShare::new(Arc::clone(&shared.reading));
    let caller = Caller::default();
    let turn = Turn::new(Arc::clone(&shared.turns), network(peer.ip()), caller.clone());
    let stream = GuardedStream::new(
        tcp,
        Arc::clone(&activity),
        (place, Arc::clone(&shared.http2_connections)),
        &shared.settings,
        Arc::clone(&shared.service.refuser),
        (share, turn),
    );
    shared.tasks.spawn(serve(stream, (peer, caller), activity, Arc::clone(shared)));
}

/// As long as somebody waits, has connections look whether it is their clients that are waited for; and the idle ones of a crowded
/// address whether they are.
async fn squeeze(shared: Arc<Shared>) {
    let mut before = 0;
    while shared.stop.run_until_cancelled(tokio::time::sleep(LOOK_AT_WAITERS)).await.is_some() {
        let now = (shared.service.waiters)();
        let waiting = now.min(before);
        before = now;
        if shared.crowded.swap(false, Ordering::Relaxed) || waiting > 0 {
            shared.make_room(waiting);
        }
    }
}

impl Shared {
    fn timed_out(&self) {
        metrics::counter!("sediment_http_timeouts_total", "listener" => self.name).increment(1);
    }

    /// Has connections look whether they are stalled; so many of those end.
    fn make_room(&self, connections: usize) {
        self.to_end.store(connections.min(STALLED_UNDER_PRESSURE), Ordering::Relaxed);
        self.squeeze.notify_waiters();
    }

    /// Whether one more stalled connection is to be ended for the sake of those who wait.
    fn may_end(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.to_end.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

async fn permit(shared: &Shared) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() {
        return Some(permit);
    }
    loop {
        shared.to_end.store(STALLED_UNDER_PRESSURE, Ordering::Relaxed);
        shared.pressure.notify_waiters();
        let waiting = Arc::clone(&shared.connections).acquire_owned();
        match tokio::time::timeout(PRESS_AGAIN, waiting).await {
            Ok(permit) => return permit.ok(),
            Err(_) => {
                metrics::counter!("sediment_http_connection_limit_total", "listener" => shared.name)
                    .increment(1);
            }
        }
    }
}

async fn serve(
    stream: GuardedStream,
    (peer, caller): (SocketAddr, Caller),
    activity: Arc<Activity>,
    shared: Arc<Shared>,
) {
    let gauge = metrics::gauge!("sediment_http_connections", "listener" => shared.name);
    gauge.increment(1.0);
    let service = service_fn(|request| {
        answer(request, (peer, caller.clone()), Arc::clone(&activity), Arc::clone(&shared))
    });
    let connection = shared.builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let (mut closing, mut watch) = (false, Watch::default());
    loop {
        let wait = match activity.verdict(&shared.settings) {
            Verdict::Wait(wait) => wait,
            Verdict::Idle if closing => break,
            Verdict::Idle => {
                closing = true;
                connection.as_mut().graceful_shutdown();
                // An idle connection ends at once; one that does not is not worth waiting for.
                Duration::from_secs(1)
            }
            Verdict::HeadTooSlow | Verdict::ResponseNotTaken => {
                shared.timed_out();
                break;
            }
        };
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "connection ended");
                }
                break;
            }
            () = shared.abort.cancelled() => break,
            () = shared.stop.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = shared.squeeze.notified() => {
                if watch.is_stalled(&activity.progress) && shared.may_end() {
                    shared.timed_out();
                    break;
                }
                if !closing && activity.is_idle_under_pressure() && shared.crowd.is_full(peer.ip()) {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = shared.pressure.notified(), if !closing => {
                let is_slow_head = activity.head_for().is_some_and(|coming| coming >= HEAD_UNDER_PRESSURE);
                if is_slow_head || (watch.is_stalled(&activity.progress) && shared.may_end()) {
                    shared.timed_out();
                    break;
                }
                if activity.is_idle_under_pressure() {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
    gauge.decrement(1.0);
}

async fn answer(
    mut request: Request<Incoming>,
    (peer, caller): (SocketAddr, Caller),
    activity: Arc<Activity>,
    shared: Arc<Shared>,
) -> Result<Response<WatchedBody>, Infallible> {
    let mut open = OpenRequest::new(Arc::clone(&activity));
    if request.method() == Method::CONNECT {
        open.handled();
        let mut response = (shared.service.refuser)(Unreadable::Connect).map(full);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return Ok(response.map(|body| WatchedBody::new(body, open, shared.settings.response_pace(), false)));
    }
    let (waits, is_empty) = (waits_for_continue(&request), request.body().size_hint().exact() == Some(0));
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(caller);
    let pace = shared.settings.body_pace();
    let is_http2 = request.version() == Version::HTTP_2;
    let request = request.map(|body| RequestBody::new(body, pace, is_http2, Arc::clone(&activity)));
    let asked = request.body().asked();
    let mut response = (shared.service.handler)(request).await;
    if waits && is_empty && response.status().is_success() {
        // hyper says 100 Continue when the body is first read, and there is none to read; but botocore waits for
        // it all the same, and would take the next response for it.
        activity.want_interim();
    } else if waits && !is_empty && !asked.load(Ordering::Acquire) {
        // The body may come all the same or not: nobody could tell it from the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    open.handled();
    Ok(response.map(|body| WatchedBody::new(body, open, shared.settings.response_pace(), is_http2)))
}

fn waits_for_continue(request: &Request<Incoming>) -> bool {
    let expects = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    request.version() == Version::HTTP_11 && request.headers().get(header::EXPECT).is_some_and(expects)
}

/// A body that is all there.
pub fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
