use super::{HttpServer, full};
use crate::http::{BoxError, HttpSettings, RequestBody, ResponseBody};
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const SOON: Duration = Duration::from_secs(10);

/// Answers with what it saw; `/big` sends without end, `/wait` waits to be told, `/refuse` reads nothing.
async fn echo(
    request: Request<RequestBody>,
    release: Arc<Notify>,
    served: Arc<AtomicUsize>,
) -> Response<ResponseBody> {
    served.fetch_add(1, Ordering::SeqCst);
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/big" => {
            let frames = futures::stream::repeat(Bytes::from(vec![b'x'; 256 << 10]));
            return Response::new(
                StreamBody::new(frames.map(|f| Ok::<_, BoxError>(Frame::data(f)))).boxed_unsync(),
            );
        }
        "/wait" => release.notified().await,
        "/cut" => {
            // In a task of its own, which outlives the request.
            tokio::spawn(async move {
                if request.into_body().collect().await.is_ok() {
                    served.fetch_add(100, Ordering::SeqCst);
                }
                release.notify_one();
            });
            return std::future::pending().await;
        }
        "/refuse" => {
            let mut response = Response::new(full("no"));
            *response.status_mut() = StatusCode::FORBIDDEN;
            return response;
        }
        _ => {}
    }
    match request.into_body().collect().await {
        Ok(body) => Response::new(full(format!("{path} {}", body.to_bytes().len()))),
        Err(error) => {
            let mut response = Response::new(full(error.to_string()));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        }
    }
}

struct Fixture {
    server: HttpServer,
    release: Arc<Notify>,
    served: Arc<AtomicUsize>,
}

async fn serve(settings: HttpSettings) -> Fixture {
    let (release, served) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (r, s) = (Arc::clone(&release), Arc::clone(&served));
    let listener = HttpServer::bind("127.0.0.1:0").await.unwrap();
    let handler: super::Handler =
        Arc::new(move |request| Box::pin(echo(request, Arc::clone(&r), Arc::clone(&s))));
    let server = HttpServer::start("test", listener, settings, handler).unwrap();
    Fixture { server, release, served }
}

impl Fixture {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.address()).await.unwrap()
    }

    /// Sends and reads to the end of the connection.
    async fn talk(&self, request: &[u8]) -> String {
        let mut tcp = self.connect().await;
        tcp.write_all(request).await.unwrap();
        read_to_end(&mut tcp).await
    }
}

async fn read_to_end(tcp: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, tcp.read_to_end(&mut answer))
        .await
        .expect("the connection stays open")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until the text has come.
async fn read_until(tcp: &mut TcpStream, end: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let mut byte = [0];
        let read = tokio::time::timeout(SOON, tcp.read(&mut byte)).await.expect("no answer").unwrap();
        assert_eq!(read, 1, "ended after {:?}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

fn responses(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}

#[tokio::test]
async fn i6_a_request_with_two_lengths_gets_400_and_nothing_behind_it_is_served() {
    let fixture = serve(HttpSettings::default()).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    let heads = [
        "PUT /a HTTP/1.1\r\nhost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "PUT /a HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "PUT /a HTTP/1.1\r\nhost: h\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
        "PUT /a HTTP/1.1\r\nhost: h\r\nContent-Length: 4\r\nContent-Length: 9\r\n\r\nbody",
        "PUT /a HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "PUT /a HTTP/1.1\nhost: h\nContent-Length: 4\n\nbody",
        "PUT /a HTTP/1.1\r\nhost: h\r\nContent-Length : 4\r\n\r\nbody",
        "PUT /a HTTP/1.1\r\nhost: h\r\nx: y\r\n Content-Length: 4\r\n\r\nbody",
    ];
    for head in heads {
        let answer = fixture.talk(format!("{head}{smuggled}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?} got {answer:?}");
        assert_eq!(responses(&answer), 1, "{head:?} got {answer:?}");
    }
    assert_eq!(fixture.served.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn answers_before_a_refused_request_still_arrive() {
    let fixture = serve(HttpSettings::default()).await;
    let answer = fixture
        .talk(b"GET /first HTTP/1.1\r\nhost: h\r\n\r\nPUT /a HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("/first 0HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn an_empty_body_with_expect_gets_its_100_continue() {
    let fixture = serve(HttpSettings::default()).await;
    let mut tcp = fixture.connect().await;
    for round in 0..3 {
        tcp.write_all(
            format!("PUT /{round} HTTP/1.1\r\nhost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")
                .as_bytes(),
        )
        .await
        .unwrap();
        assert_eq!(read_until(&mut tcp, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        let head = read_until(&mut tcp, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(!head.to_ascii_lowercase().contains("connection: close"), "{head}");
        read_until(&mut tcp, &format!("/{round} 0")).await;
    }
    // With a body, exactly one, and before the body is sent.
    tcp.write_all(b"PUT /b HTTP/1.1\r\nhost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_until(&mut tcp, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    tcp.write_all(b"ok").await.unwrap();
    assert_eq!(responses(&read_until(&mut tcp, "/b 2").await), 1);
    // Without the header, none.
    tcp.write_all(b"PUT /c HTTP/1.1\r\nhost: h\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!(responses(&read_until(&mut tcp, "/c 0").await), 1);
}

#[tokio::test]
async fn pipelined_expectations_do_not_tear_the_response_before() {
    let fixture = serve(HttpSettings::default()).await;
    let one = "PUT /p HTTP/1.1\r\nhost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n";
    let last = "GET /end HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let answer = fixture.talk(format!("{}{last}", one.repeat(50)).as_bytes()).await;
    let finals = answer.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
    assert_eq!(responses(&finals), 51);
    assert_eq!(finals.matches("/p 0").count(), 50);
    for response in finals.split("HTTP/1.1 ").skip(1) {
        assert!(response.starts_with("200 OK\r\n"), "{response}");
    }
}

#[tokio::test]
async fn a_small_response_leaves_in_one_piece() {
    let fixture = serve(HttpSettings::default()).await;
    let mut tcp = fixture.connect().await;
    let mut fastest = SOON;
    for _ in 0..20 {
        let began = Instant::now();
        tcp.write_all(b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
        let mut buffer = [0; 4096];
        let read = tcp.read(&mut buffer).await.unwrap();
        assert!(buffer[..read].ends_with(b"\r\n\r\n/x 0"), "{}", buffer[..read].escape_ascii());
        fastest = fastest.min(began.elapsed());
    }
    // Nagle's algorithm and delayed acknowledgements together would make it 40 ms, always.
    assert!(fastest < Duration::from_millis(40));
}

#[tokio::test]
async fn a_refusal_reaches_a_client_in_the_middle_of_its_body() {
    let fixture = serve(HttpSettings::default()).await;
    let mut tcp = fixture.connect().await;
    tcp.write_all(b"PUT /refuse HTTP/1.1\r\nhost: h\r\nContent-Length: 4000000\r\n\r\n").await.unwrap();
    // The client goes on sending before it looks at the answer.
    let _ = tcp.write_all(&vec![0; 4_000_000]).await;
    let answer = read_to_end(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test]
async fn i5_slow_heads_bodies_and_readers_are_cut_off() {
    let settings = HttpSettings {
        header_timeout_seconds: 1,
        idle_timeout_seconds: 1,
        body_timeout_seconds: 1,
        response_timeout_seconds: 1,
        ..HttpSettings::default()
    };
    let fixture = serve(settings).await;
    let head = fixture.talk(b"GET / HTTP/1.1\r\nhost:");
    let idle = fixture.talk(b"GET /one HTTP/1.1\r\nhost: h\r\n\r\n");
    let body = fixture.talk(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc");
    let reader = async {
        let mut tcp = fixture.connect().await;
        tcp.write_all(b"GET /big HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
        // Takes nothing until the server has given up on it.
        tokio::time::sleep(Duration::from_secs(3)).await;
        tokio::time::timeout(SOON, tokio::io::copy(&mut tcp, &mut tokio::io::sink()))
            .await
            .expect("still open")
    };
    let (head, idle, body, reader) = tokio::join!(head, idle, body, reader);
    assert_eq!(head, "");
    assert!(idle.contains("/one 0"), "{idle}");
    assert!(body.starts_with("HTTP/1.1 400 ") && body.contains("too slowly"), "{body}");
    assert!(reader.map_or(0, |read| read) < 64 << 20);
}

#[tokio::test]
async fn i5_a_trickle_is_cut_off_though_it_never_stops() {
    let fixture = serve(HttpSettings { body_timeout_seconds: 1, ..HttpSettings::default() }).await;
    let tcp = fixture.connect().await;
    let (mut read, mut write) = tcp.into_split();
    write.write_all(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 99999\r\n\r\n").await.unwrap();
    let trickle = async {
        let mut beat = tokio::time::interval(Duration::from_millis(200));
        loop {
            beat.tick().await;
            if write.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut answer = vec![0; 200];
    let read = tokio::time::timeout(SOON, read.read(&mut answer));
    let read = tokio::select! {
        () = trickle => 0,
        read = read => read.expect("the trickle goes on").unwrap(),
    };
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn i5_idle_connections_make_room_for_a_new_one() {
    let fixture = serve(HttpSettings { max_connections: 8, ..HttpSettings::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(fixture.connect().await);
    }
    let answer = fixture.talk(b"GET /in HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("/in 0"), "{answer}");
}

/// From many addresses, so that no one of them has more than it may.
#[tokio::test]
async fn i5_slow_heads_and_bodies_that_stop_make_room_for_a_new_one() {
    let begun = ["GET / HTTP/1.1\r\nho", "PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc"];
    for begun in begun {
        let fixture = serve(HttpSettings { max_connections: 1, ..HttpSettings::default() }).await;
        let mut slow = fixture.connect().await;
        slow.write_all(begun.as_bytes()).await.unwrap();
        let answer = fixture.talk(b"GET /in HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
        assert!(answer.contains("/in 0"), "{answer}");
    }
}

#[tokio::test]
async fn i5_who_stands_still_is_ended_only_while_others_wait() {
    let listener = HttpServer::bind("127.0.0.1:0").await.unwrap();
    let (waiting, began) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (waiters, told) = (Arc::clone(&waiting), Arc::clone(&began));
    let handler: super::Handler = Arc::new(move |request| {
        told.notify_one();
        Box::pin(echo(request, Arc::default(), Arc::default()))
    });
    let waiters: super::Waiters = Arc::new(move || waiters.load(Ordering::SeqCst));
    let service = super::HttpService { handler, refuser: super::plain(), waiters };
    let server = HttpServer::start_with("test", listener, HttpSettings::default(), service).unwrap();
    let mut slow = TcpStream::connect(server.address()).await.unwrap();
    slow.write_all(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
    began.notified().await;
    let mut byte = [0];
    let ended = tokio::time::timeout(Duration::from_secs(4), slow.read(&mut byte)).await;
    assert!(ended.is_err(), "nobody waits");
    waiting.store(1, Ordering::SeqCst);
    let ended = tokio::time::timeout(SOON, slow.read(&mut byte)).await.expect("it is still there");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn heads_over_the_limits_are_refused() {
    let fixture = serve(HttpSettings { max_header_bytes: 8192, ..HttpSettings::default() }).await;
    for head in [
        format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "a".repeat(9000)),
        format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "a".repeat(9000)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)),
    ] {
        let answer = fixture.talk(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert_eq!(responses(&answer), 1);
    }
    assert_eq!(fixture.served.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn shutdown_finishes_what_is_under_way_and_refuses_the_rest() {
    let fixture = serve(HttpSettings::default()).await;
    let address = fixture.server.address();
    let mut tcp = fixture.connect().await;
    tcp.write_all(b"GET /wait HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    while fixture.served.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let shutdown = tokio::spawn(fixture.server.shutdown(SOON));
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!shutdown.is_finished());
    fixture.release.notify_one();
    let answer = read_to_end(&mut tcp).await;
    assert!(answer.contains("/wait 0"), "{answer}");
    assert!(shutdown.await.unwrap());
}

#[tokio::test]
async fn shutdown_cuts_off_at_the_deadline() {
    let fixture = serve(HttpSettings::default()).await;
    let mut tcp = fixture.connect().await;
    tcp.write_all(b"GET /wait HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    while fixture.served.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!fixture.server.shutdown(Duration::from_millis(50)).await);
    assert_eq!(read_to_end(&mut tcp).await, "");
}

#[tokio::test]
async fn http2_is_served_within_its_own_limit() {
    let fixture = serve(HttpSettings { max_http2_connections: 1, ..HttpSettings::default() }).await;
    let handshake = || async {
        let tcp = fixture.connect().await;
        hyper::client::conn::http2::handshake::<_, _, ResponseBody>(
            hyper_util::rt::TokioExecutor::new(),
            hyper_util::rt::TokioIo::new(tcp),
        )
        .await
    };
    let (mut send, connection) = handshake().await.unwrap();
    tokio::spawn(connection);
    let request = || Request::put("http://h/two").body(full("abc")).unwrap();
    let response = send.send_request(request()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "/two 3");
    let (mut second, connection) = handshake().await.unwrap();
    tokio::spawn(connection);
    assert!(second.send_request(request()).await.is_err());
    assert_eq!(send.send_request(request()).await.unwrap().status(), 200);
}

/// hyper takes a reset without an error for the end of the body.
#[tokio::test]
async fn i2_a_body_given_up_over_http2_has_not_ended() {
    let fixture = serve(HttpSettings::default()).await;
    for (reason, is_whole) in
        [(Some(h2::Reason::NO_ERROR), false), (Some(h2::Reason::CANCEL), false), (None, true)]
    {
        let (client, connection) = h2::client::handshake(fixture.connect().await).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let put = Request::put("http://h/cut").body(()).unwrap();
        let before = fixture.served.load(Ordering::SeqCst);
        let (_response, mut send) = client.send_request(put, false).unwrap();
        send.send_data(Bytes::from_static(b"some of it"), reason.is_none()).unwrap();
        while fixture.served.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
        reason.into_iter().for_each(|reason| send.send_reset(reason));
        tokio::time::timeout(SOON, fixture.release.notified()).await.expect("the body never ends");
        let whole = fixture.served.load(Ordering::SeqCst) - before;
        assert_eq!(whole, if is_whole { 101 } else { 1 }, "{reason:?}");
    }
}
