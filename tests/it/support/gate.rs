//! The way to a server that may be closed, and whose server may be another process later: its address stays.

use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Gate {
    pub address: SocketAddr,
    /// Where it leads; `None`: nowhere.
    to: Arc<Mutex<Option<SocketAddr>>>,
    /// Connections end when it changes.
    changes: watch::Sender<u64>,
}

impl Gate {
    /// Closed, until it leads somewhere.
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let to = Arc::new(Mutex::new(None));
        let (changes, _) = watch::channel(0);
        let (way, changed) = (Arc::clone(&to), changes.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let Some(server) = *way.lock() else { continue };
                let mut changed = changed.subscribe();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = changed.changed() => {}
                    }
                });
            }
        });
        Self { address, to, changes }
    }

    /// Leads to a server, given as `http://address:port`.
    pub fn open(&self, server: &str) {
        self.lead(Some(server.strip_prefix("http://").unwrap().parse().unwrap()));
    }

    pub fn close(&self) {
        self.lead(None);
    }

    fn lead(&self, to: Option<SocketAddr>) {
        *self.to.lock() = to;
        self.changes.send_modify(|changes| *changes += 1);
    }
}
