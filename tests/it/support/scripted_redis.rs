//! A server that speaks Redis's protocol and answers reads as a test tells it to: honestly, wrongly, late or in pieces.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What becomes of the reply to a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// The length that was asked for, one bit wrong.
    FlippedBit,
    /// Another key's value.
    OtherValue,
    /// Half of the value, and the length of that half.
    Short,
    /// More than was asked for.
    Long,
    /// Half of the reply, then the connection is closed.
    CutOff,
    /// Half of the reply, then nothing until the manner changes.
    Stalled,
    /// No reply until the manner changes.
    Silent,
    /// A byte every five milliseconds.
    Dripping,
    /// Honestly, after some milliseconds.
    Slow(u64),
    /// Twice.
    Twice,
    /// A line of the kind `-ERR …`.
    Error(&'static str),
    /// Bytes that are no reply.
    Noise(&'static [u8]),
    /// An honest reply with one change, drawn from the seed.
    Mutated(u64),
}

/// Ends with the test: its threads outlive it only as long as their clients do.
pub struct ScriptedRedis {
    pub url: String,
    inner: Arc<Inner>,
}

struct Inner {
    manner: Mutex<Manner>,
    changed: Condvar,
    values: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    asked: AtomicUsize,
    connections: AtomicUsize,
}

impl ScriptedRedis {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            manner: Mutex::new(Manner::Honest),
            changed: Condvar::new(),
            values: Mutex::default(),
            asked: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let inner = Arc::clone(&shared);
                std::thread::spawn(move || {
                    inner.connections.fetch_add(1, Ordering::SeqCst);
                    let _ = inner.talk(stream);
                    inner.connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { url, inner }
    }

    pub fn set(&self, manner: Manner) {
        *self.inner.manner.lock().unwrap() = manner;
        self.inner.changed.notify_all();
    }

    /// Forgets all values.
    pub fn clear(&self) {
        self.inner.values.lock().unwrap().clear();
    }

    pub fn stored(&self) -> usize {
        self.inner.values.lock().unwrap().len()
    }

    /// Values that reads have asked for.
    pub fn asked(&self) -> usize {
        self.inner.asked.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::SeqCst)
    }
}

impl Drop for ScriptedRedis {
    fn drop(&mut self) {
        self.set(Manner::Honest);
    }
}

impl Inner {
    fn talk(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut from = BufReader::new(stream.try_clone()?);
        let mut to = stream;
        loop {
            let words = read_command(&mut from)?;
            match words.first().map(Vec::as_slice) {
                Some(b"SET") => {
                    self.values.lock().unwrap().insert(words[1].clone(), words[2].clone());
                    to.write_all(b"+OK\r\n")?;
                }
                Some(b"GETRANGE") => {
                    self.asked.fetch_add(1, Ordering::SeqCst);
                    self.answer(&mut to, &words[1])?;
                }
                _ => to.write_all(b"-ERR unknown command\r\n")?,
            }
        }
    }

    fn answer(&self, to: &mut TcpStream, key: &[u8]) -> io::Result<()> {
        let value = self.values.lock().unwrap().get(key).cloned().unwrap_or_default();
        let manner = *self.manner.lock().unwrap();
        let half = value.len() / 2;
        let honest = bulk(&value);
        match manner {
            Manner::Honest => to.write_all(&honest),
            Manner::FlippedBit => {
                let mut wrong = value;
                wrong.iter_mut().skip(half).take(1).for_each(|byte| *byte ^= 1);
                to.write_all(&bulk(&wrong))
            }
            Manner::OtherValue => {
                let values = self.values.lock().unwrap();
                let other = values.iter().find(|(other, _)| *other != key).map(|(_, value)| value.clone());
                drop(values);
                to.write_all(&bulk(&other.unwrap_or_default()))
            }
            Manner::Short => to.write_all(&bulk(&value[..half])),
            Manner::Long => to.write_all(&bulk(&[value.as_slice(), &[7; 1 << 20]].concat())),
            Manner::CutOff => {
                to.write_all(&honest[..honest.len() / 2])?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Manner::Stalled => {
                to.write_all(&honest[..honest.len() / 2])?;
                self.wait_while(manner);
                to.write_all(&honest[honest.len() / 2..])
            }
            Manner::Silent => {
                self.wait_while(manner);
                to.write_all(&honest)
            }
            Manner::Dripping => honest.iter().try_for_each(|byte| {
                std::thread::sleep(Duration::from_millis(5));
                to.write_all(&[*byte])
            }),
            Manner::Slow(millis) => {
                std::thread::sleep(Duration::from_millis(millis));
                to.write_all(&honest)
            }
            Manner::Twice => to.write_all(&[honest.as_slice(), &honest].concat()),
            Manner::Error(line) => to.write_all(format!("-{line}\r\n").as_bytes()),
            Manner::Noise(bytes) => to.write_all(bytes),
            Manner::Mutated(seed) => self.mutated(to, honest, seed),
        }
    }

    /// One change of the reply; a client that waits for more of it finds the connection closed.
    fn mutated(&self, to: &mut TcpStream, mut reply: Vec<u8>, seed: u64) -> io::Result<()> {
        let n = self.asked.load(Ordering::SeqCst) as u64;
        let draw = (seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 13;
        // Half of the changes are where the protocol is, not in the value.
        let span = if draw & 1 == 0 { reply.len().min(8) } else { reply.len() };
        let at = usize::try_from(draw >> 8).unwrap() % span;
        match (draw >> 1) & 7 {
            0 | 1 => reply[at] ^= 1 << ((draw >> 4) & 7),
            2 => {
                let _ = reply.remove(at);
            }
            3 => reply.insert(at, (draw >> 16) as u8),
            4 => reply.truncate(at),
            5 => drop(reply.splice(at..at, *b"\r\n")),
            6 => reply.extend_from_slice(b"$5\r\nhello\r\n"),
            _ => reply.rotate_left(at),
        }
        to.write_all(&reply)?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn wait_while(&self, manner: Manner) {
        let guard = self.manner.lock().unwrap();
        drop(self.changed.wait_while(guard, |now| *now == manner).unwrap());
    }
}

fn bulk(value: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

fn read_command(from: &mut BufReader<TcpStream>) -> io::Result<Vec<Vec<u8>>> {
    let words = number(from)?;
    (0..words)
        .map(|_| {
            let mut word = vec![0; number(from)? + 2];
            from.read_exact(&mut word)?;
            word.truncate(word.len() - 2);
            Ok(word)
        })
        .collect()
}

/// The number behind `*` or `$`.
fn number(from: &mut BufReader<TcpStream>) -> io::Result<usize> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.trim_end().get(1..).and_then(|n| n.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
