//! Connections to Redis, each used by one request at a time and given up at the first doubt.

use super::resp::{Reply, read_reply, write_command};
use super::{CacheError, RedisUrl};
use futures::FutureExt;
use parking_lot::Mutex;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A server that does not let anybody in within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const BUFFER_BYTES: usize = 16 << 10;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that nobody else uses. Unless it is given back it is closed.
pub(super) struct Connection {
    stream: BufStream<Box<dyn Stream>>,
    _place: OwnedSemaphorePermit,
}

/// At most so many connections, made when they are needed.
pub(super) struct Pool {
    server: ConnectionInfo,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The server's address may hold a password (I6).
        f.debug_struct("Pool").field("free", &self.places.available_permits()).finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(url: &RedisUrl, max_connections: usize) -> Result<Self, CacheError> {
        // The crate's detail may quote the URL, its category does not.
        let refuse = |error: redis::RedisError| CacheError::RedisUrl(error.category().to_owned());
        let server = url.secret().into_connection_info().map_err(refuse)?;
        if !server.addr().is_supported() {
            return Err(CacheError::RedisUrl("connections over TLS are not supported".to_owned()));
        }
        let places = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        Ok(Self { server, places, idle: Mutex::default() })
    }

    /// A connection that waits for a request. One that is being made when the caller goes away is kept for the next.
    pub(super) async fn checkout(self: &Arc<Self>) -> io::Result<Connection> {
        while let Some(mut connection) = self.take_idle() {
            if connection.is_quiet() {
                return Ok(connection);
            }
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| io::Error::other("all connections are in use"))?;
        let (pool, (sender, receiver)) = (Arc::clone(self), tokio::sync::oneshot::channel());
        tokio::spawn(async move {
            let made = tokio::time::timeout(CONNECT_TIMEOUT, Connection::open(&pool.server, place)).await;
            let made = made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            if let Err(Ok(unwanted)) = sender.send(made) {
                pool.give_back(unwanted);
            }
        });
        receiver.await.map_err(io::Error::other)?
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().pop()
    }

    /// Only a connection that owes no reply.
    pub(super) fn give_back(&self, connection: Connection) {
        self.idle.lock().push(connection);
    }

    /// After a failure: the others lead to the same server.
    pub(super) fn close_idle(&self) {
        drop(std::mem::take(&mut *self.idle.lock()));
    }
}

impl Connection {
    async fn open(server: &ConnectionInfo, place: OwnedSemaphorePermit) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match server.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            ConnectionAddr::Unix(path) => Box::new(UnixStream::connect(path).await?),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let stream = BufStream::with_capacity(BUFFER_BYTES, BUFFER_BYTES, stream);
        let mut connection = Self { stream, _place: place };
        connection.greet(server).await?;
        Ok(connection)
    }

    async fn greet(&mut self, server: &ConnectionInfo) -> io::Result<()> {
        let settings = server.redis_settings();
        let db = settings.db().to_string();
        let mut commands: Vec<Vec<&[u8]>> = Vec::new();
        if let Some(password) = settings.password() {
            let user = settings.username().map(str::as_bytes);
            commands
                .push([Some(&b"AUTH"[..]), user, Some(password.as_bytes())].into_iter().flatten().collect());
        }
        if settings.db() != 0 {
            commands.push(vec![b"SELECT", db.as_bytes()]);
        }
        for command in commands {
            self.send(&command).await?;
            if self.receive(0).await? != Reply::Done {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
        }
        Ok(())
    }

    /// Sent at the latest with the next [`Connection::receive`].
    pub(super) async fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        write_command(&mut self.stream, words).await
    }

    /// The next reply, a value of at most `max_bytes`.
    pub(super) async fn receive(&mut self, max_bytes: usize) -> io::Result<Reply> {
        self.stream.flush().await?;
        read_reply(&mut self.stream, max_bytes).await
    }

    /// Whether the server neither closed the connection nor says what nobody asked.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.stream.read_u8().now_or_never().is_none()
    }
}
