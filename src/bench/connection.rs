//! One HTTP/1.1 connection.

use super::body::Outgoing;
use super::failure::Failure;
use super::target::Endpoint;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A socket's buffer is emptied by one call.
const MAX_READ: usize = 1 << 20;

/// The connection ends with what is returned, and lives in the thread that asks for it.
pub(super) async fn open(endpoint: &Endpoint) -> Result<SendRequest<Outgoing>, Failure> {
    let stream = TcpStream::connect(endpoint.address()).await.map_err(Failure::Connect)?;
    stream.set_nodelay(true).map_err(Failure::Connect)?;
    let mut builder = Builder::new();
    builder.max_buf_size(MAX_READ).writev(true);
    let opened = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(Failure::Broken)?;
    // Whoever waits for an answer is told why none comes.
    tokio::task::spawn_local(connection);
    Ok(sender)
}
