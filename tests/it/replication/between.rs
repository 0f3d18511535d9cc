//! On the way to a site: what is asked of it, and what it is made to answer.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of the question which chunks are there.
#[derive(Debug, Clone, Copy)]
pub enum Question {
    /// As another make of server answers it.
    Unknown,
    /// All are, it is said.
    AllThere,
}

#[derive(Debug)]
struct Inner {
    to: SocketAddr,
    question: Question,
    questions: AtomicU64,
    deltas: AtomicU64,
}

pub struct Between {
    inner: Arc<Inner>,
    pub url: String,
}

impl Between {
    /// In front of a server, given as `http://address:port`.
    pub async fn new(server: &str, question: Question) -> Self {
        let to = server.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (questions, deltas) = (AtomicU64::new(0), AtomicU64::new(0));
        let inner = Arc::new(Inner { to, question, questions, deltas });
        let served = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let inner = Arc::clone(&served);
                let service = hyper::service::service_fn(move |request| {
                    let inner = Arc::clone(&inner);
                    async move { inner.serve(request).await }
                });
                let served = hyper::server::conn::http1::Builder::new();
                tokio::spawn(served.serve_connection(TokioIo::new(client), service));
            }
        });
        Self { inner, url }
    }

    pub fn questions(&self) -> u64 {
        self.inner.questions.load(Ordering::SeqCst)
    }

    pub fn deltas(&self) -> u64 {
        self.inner.deltas.load(Ordering::SeqCst)
    }
}

impl Inner {
    async fn serve(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let is_delta = head.headers.contains_key("x-sediment-delta");
        self.deltas.fetch_add(u64::from(is_delta), Ordering::SeqCst);
        if head.uri.query().is_some_and(|query| query.starts_with("x-sediment-chunks")) {
            self.questions.fetch_add(1, Ordering::SeqCst);
            return Ok(self.answer(body.len() / 32));
        }
        let stream = TcpStream::connect(self.to).await?;
        let connected = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connected.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let request = Request::from_parts(head, Full::new(body));
        let (mut head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        head.headers.remove(header::CONNECTION);
        head.headers.remove(header::TRANSFER_ENCODING);
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Response::from_parts(head, Full::new(body)))
    }

    fn answer(&self, asked: usize) -> Response<Full<Bytes>> {
        let answer = Response::builder();
        match self.question {
            Question::Unknown => answer.status(StatusCode::METHOD_NOT_ALLOWED).body(Full::default()).unwrap(),
            Question::AllThere => {
                let there = sediment::types::encode_there(&vec![true; asked]);
                let answer = answer.header(header::CONTENT_TYPE, "application/x-sediment-chunks");
                answer.body(Full::new(there.into())).unwrap()
            }
        }
    }
}
