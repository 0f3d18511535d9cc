//! A server under attack: what it uses, and whether it comes to rest again.

use super::noise;
use super::sediment::Sediment;
use super::wire::{Answer, Request, Wire, request};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

pub const MIB: usize = 1 << 20;
/// Attackers come from another address than everybody else.
pub const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Far above anything that is not stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What is in use while requests are, and must be zero when there are none.
const TEMPORARY: [&str; 8] = [
    "sediment_http_connections{listener=\"s3\"}",
    "sediment_admission_running",
    "sediment_admission_waiting",
    "sediment_memory_used_bytes",
    "sediment_queue_depth",
    "sediment_meta_queue_commands",
    "sediment_index_oldest_hold_seconds",
    "sediment_uploads",
];

pub struct Target {
    dir: tempfile::TempDir,
    pub server: Sediment,
    pub wire: Wire,
    pub address: SocketAddr,
    /// Files that it has open when nobody asks for anything.
    idle_descriptors: usize,
}

impl Target {
    /// A server with the settings, and an empty bucket, `good`.
    pub fn start(settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let args: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let server = Sediment::serve(dir.path(), &args);
        let wire = Wire::new(&server);
        let address = wire.address().parse().unwrap();
        let this = Self { dir, server, wire, address, idle_descriptors: 0 };
        assert_eq!(this.wire.send(&request("PUT", "/good")).status, 200);
        Self { idle_descriptors: this.descriptors(), ..this }
    }

    fn proc(&self) -> String {
        format!("/proc/{}", self.server.pid())
    }

    /// The most that the process ever had in memory, in bytes.
    pub fn peak(&self) -> usize {
        let status = std::fs::read_to_string(self.proc() + "/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib << 10
    }

    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc() + "/fd").unwrap().count()
    }

    /// The sum of the series whose name and labels begin so.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.server.admin_get("/metrics");
        let values = text.lines().filter(|line| line.starts_with(name));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Returns once nothing is left of what requests use while they last.
    pub async fn comes_to_rest(&self, after: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let busy = self.still_busy();
            if busy.is_empty() {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "after {after} there is still: {busy:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn still_busy(&self) -> Vec<String> {
        let (_, text) = self.server.admin_get("/metrics");
        let series = text.lines().filter(|line| TEMPORARY.iter().any(|name| line.starts_with(name)));
        let mut busy: Vec<_> = series.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect();
        for place in ["tmp", "plain"] {
            busy.extend(files(&self.dir.path().join(place)));
        }
        // Packs and databases open a few more as the store grows.
        let descriptors = self.descriptors();
        if descriptors > self.idle_descriptors + 40 {
            busy.push(format!("{descriptors} descriptors, {} when idle", self.idle_descriptors));
        }
        busy
    }

    /// Does what anybody does, on connections of its own; all of it must work. Blocks.
    pub fn serves(&self, rounds: usize, during: &str) {
        for round in 0..rounds {
            let (path, body) = (format!("/good/{round}"), noise(round as u64, 2000 + round));
            let put = self.wire.send(&request("PUT", &path).body(body.clone()));
            assert_eq!(put.status, 200, "PUT during {during}: {}", put.body);
            let length = |answer: &Answer| answer.headers.get("content-length").cloned();
            for method in ["GET", "HEAD"] {
                let got = self.wire.send(&request(method, &path));
                assert_eq!(
                    (got.status, length(&got)),
                    (200, Some(body.len().to_string())),
                    "{method} during {during}"
                );
            }
            let listed = self.wire.send(&request("GET", &format!("/good?list-type=2&prefix={round}")));
            assert!(
                listed.status == 200 && listed.body.contains("<Key>"),
                "listing during {during}: {}",
                listed.body
            );
        }
    }

    /// Attackers that sent some bytes and wait. Who is turned away at once is no longer there.
    pub async fn attackers(&self, count: usize, bytes: impl Fn(usize) -> Vec<u8>) -> Vec<TcpStream> {
        let mut there = Vec::new();
        for number in 0..count {
            let Ok(mut connection) = attacker(self.address).await else { continue };
            if connection.write_all(&bytes(number)).await.is_ok() {
                there.push(connection);
            }
        }
        there
    }
}

/// A connection of an attacker, who takes as little as can be.
pub async fn attacker(server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    socket.bind((ATTACKER, 0).into())?;
    socket.connect(server).await
}

/// The bytes of a signed request up to its body, whose length is announced.
pub fn head(wire: &Wire, request: &Request, length: Option<usize>) -> Vec<u8> {
    let signed = wire.sign(request);
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, signed.target);
    let headers = signed.headers.iter().chain(&request.unsigned);
    headers.for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    length.into_iter().for_each(|length| text.push_str(&format!("content-length: {length}\r\n")));
    text.push_str("\r\n");
    text.into_bytes()
}

/// As many as the variable says, or the usual number.
pub fn connections(usual: usize) -> usize {
    std::env::var("SEDIMENT_HOSTILE_CONNECTIONS").map_or(usual, |text| {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
        text.parse().expect("SEDIMENT_HOSTILE_CONNECTIONS")
    })
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            if entry.path().is_dir() {
                files(&entry.path())
            } else {
                vec![entry.path().display().to_string()]
            }
        })
        .collect()
}
