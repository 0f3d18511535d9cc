//! The lines as a server keeps them: over sockets.

use crate::http::{HttpServer, HttpSettings, full};
use http::Response;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const FLOOD: usize = 300;
const ANSWER_BYTES: usize = 256;

async fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut tcp = socket.connect(to).await.unwrap();
    tcp.write_all(b"GET /first HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    answered(&mut tcp).await;
    tcp
}

async fn answered(tcp: &mut TcpStream) {
    let mut answer = [0; ANSWER_BYTES];
    assert!(tcp.read(&mut answer).await.unwrap() > 0);
}

/// One thread, so that everybody's request lies in its socket before the server looks at any.
#[tokio::test]
async fn i5_who_comes_last_behind_a_flood_is_answered_among_the_first() {
    let order = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&order);
    let handler: crate::http::Handler = Arc::new(move |request| {
        noted.lock().push(request.uri().path().to_owned());
        Box::pin(async { Response::new(full("ok")) })
    });
    let listener = HttpServer::bind("127.0.0.1:0").await.unwrap();
    let server = HttpServer::start("test", listener, HttpSettings::default(), handler).unwrap();
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        flood.push(connect("127.0.0.1", server.address()).await);
    }
    let mut good = connect("127.0.0.2", server.address()).await;
    order.lock().clear();

    for tcp in &flood {
        tcp.try_write(b"GET /flood HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    }
    good.try_write(b"GET /good HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    answered(&mut good).await;
    for tcp in &mut flood {
        answered(tcp).await;
    }

    let order = order.lock();
    assert_eq!(order.len(), FLOOD + 1);
    let before = order.iter().position(|path| path == "/good").unwrap();
    assert!(before <= 4 * super::CALLED, "{before} of the flood were answered first");
}
