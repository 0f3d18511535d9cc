use super::{GuardedStream, Place};
use crate::http::activity::Activity;
use crate::http::crowd::Crowd;
use crate::http::reading::{ReadShare, Reading};
use crate::http::settings::HttpSettings;
use crate::http::turns::{Turn, Turns};
use crate::http::unreadable::plain;
use crate::types::Caller;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
const PUT: &[u8] = b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbod";

/// A connection's two ends.
struct Connection {
    client: TcpStream,
    served: GuardedStream,
}

impl Connection {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, peer) = listener.accept().await.unwrap();
        let limits = HttpSettings::default();
        let place = Place {
            _member: Arc::new(Crowd::new(1)).join(peer.ip()).unwrap(),
            _permit: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        };
        let share = ReadShare::new(Arc::new(Reading::new(limits.read_buffer_bytes)));
        let turn = Turn::new(Arc::<Turns>::default(), peer.ip(), Caller::default());
        let http2 = Arc::new(Semaphore::new(1));
        let activity = Arc::new(Activity::new());
        let served = GuardedStream::new(tcp, activity, (place, http2), &limits, plain(), (share, turn));
        Self { client, served }
    }

    /// How many turns it takes to read these, which come in one piece.
    async fn turns_for(&mut self, bytes: &[u8]) -> u32 {
        self.client.write_all(bytes).await.unwrap();
        let before = self.served.turn.begun();
        let mut read = vec![0; bytes.len()];
        self.served.read_exact(&mut read).await.unwrap();
        assert_eq!(read, bytes);
        self.served.turn.begun() - before
    }
}

#[tokio::test]
async fn i5_requests_sent_at_once_have_their_turns_before_more_is_read() {
    let mut connection = Connection::open().await;
    assert_eq!(connection.turns_for(HEAD).await, 1);
    assert_eq!(connection.turns_for(&HEAD.repeat(10)).await, 1, "it is not known before they are read");
    assert_eq!(connection.turns_for(HEAD).await, 10, "nine of those, and its own");
    assert_eq!(connection.turns_for(HEAD).await, 1);
}

#[tokio::test]
async fn i5_a_request_sent_with_the_end_of_a_body_has_its_turn() {
    let mut connection = Connection::open().await;
    assert_eq!(connection.turns_for(PUT).await, 1);
    let glued = [b"y", PUT].concat();
    assert_eq!(connection.turns_for(&glued).await, 0, "it is not known before it is read");
    assert_eq!(connection.turns_for(&glued).await, 1, "of the one before");
    assert_eq!(connection.turns_for(b"y").await, 1, "of the one before, though this is none");
    assert_eq!(connection.turns_for(HEAD).await, 1);
}

#[tokio::test]
async fn i5_a_body_takes_no_turn() {
    let mut connection = Connection::open().await;
    assert_eq!(connection.turns_for(PUT).await, 1);
    assert_eq!(connection.turns_for(b"y").await, 0);
}
