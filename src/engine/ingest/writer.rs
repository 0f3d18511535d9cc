//! One body's way in, seen from its async task: gather a block, hand it over, gather the next meanwhile.

use super::digester::Digester;
use super::lanes::Block;
use super::sink::ChunkSink;
use super::stages::Stage;
use super::workers::{Job, Workers, promise};
use super::{BLOCK_BYTES, FIRST_BYTES, Ingest, Lease, ONE_JOB_BYTES};
use crate::engine::budget::Memory;
use crate::engine::{BodySpec, BodyWriter, EngineError, PlainWriter, StagedBody};
use crate::meta::NewBody;
use crate::types::ChunkId;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// What becomes of a body that cannot be deduplicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// A file of its own; and so all bodies when the settings ask for that.
    Plain,
    /// It fails.
    Refuse,
}

#[derive(Debug)]
pub(crate) struct Writer {
    ingest: Arc<Ingest>,
    spec: BodySpec,
    memory: Arc<Memory>,
    /// Has all the memory that it can need.
    is_admitted: bool,
    /// From the first look at the index on.
    lease: Option<Lease>,
    fallback: Fallback,
    received: u64,
    /// A call failed, or was not waited for: bytes are missing.
    has_failed: bool,
    /// Room for the tail of the block before, then the bytes gathered.
    buffer: BytesMut,
    /// The length of that room.
    head: usize,
    flight: Option<Flight>,
    idle: Option<Idle>,
    /// The buffer of the block before: the next one gathers into it.
    spare: Option<Bytes>,
    syncing: Option<Job<Result<(), EngineError>>>,
}

/// A block being worked on.
#[derive(Debug)]
struct Flight {
    block: Bytes,
    digester: Job<Digester>,
    sink: Job<(Sink, Result<(), EngineError>)>,
}

/// Between two blocks.
#[derive(Debug)]
struct Idle {
    digester: Digester,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Chunks(Box<ChunkSink>),
    Plain(PlainWriter),
}

/// The chunks' side of a block.
#[derive(Debug)]
struct Absorb {
    chunks: Box<ChunkSink>,
    /// With the tail of the block before.
    bytes: Bytes,
    is_last: bool,
}

impl Absorb {
    fn run(self) -> (Sink, Result<(), EngineError>) {
        let Self { mut chunks, bytes, is_last } = self;
        let done = chunks.absorb(&bytes, is_last);
        (Sink::Chunks(chunks), done)
    }
}

impl Sink {
    /// The SHA-256 of a body of so many bytes, where its chunks tell it.
    fn hash_of_all(&self, len: usize) -> Option<ChunkId> {
        match self {
            Self::Chunks(chunks) => chunks.only_chunk(len as u64),
            Self::Plain(_) => None,
        }
    }
}

impl Writer {
    pub(super) fn new(ingest: Arc<Ingest>, spec: BodySpec, memory: Arc<Memory>, fallback: Fallback) -> Self {
        let announced = spec.size.and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        Self {
            ingest,
            spec,
            memory,
            is_admitted: false,
            lease: None,
            fallback,
            received: 0,
            has_failed: false,
            buffer: BytesMut::with_capacity(announced.min(FIRST_BYTES)),
            head: 0,
            flight: None,
            idle: None,
            spare: None,
            syncing: None,
        }
    }

    /// Works with memory, and a view of the index, that the caller has taken for it.
    pub(crate) fn within(ingest: Arc<Ingest>, spec: BodySpec, lease: Lease, fallback: Fallback) -> Self {
        let mut writer = Self::new(ingest, spec, Arc::clone(&lease.memory), fallback);
        writer.lease = Some(lease);
        writer.make_room();
        writer
    }

    /// Makes room for a block. It has no tail to begin with when it is the only one.
    fn make_room(&mut self) {
        let announced = self.spec.size.and_then(|size| usize::try_from(size).ok());
        let alone = announced.filter(|size| *size <= BLOCK_BYTES);
        self.head = if alone.is_some() { 0 } else { self.ingest.parts.settings.chunk_max_bytes as usize };
        let mut buffer = BytesMut::with_capacity(self.head + alone.unwrap_or(BLOCK_BYTES));
        buffer.resize(self.head, 0);
        buffer.extend_from_slice(&self.buffer);
        self.buffer = buffer;
        self.is_admitted = true;
    }

    /// What works for the body, and what protects it.
    fn lease(&mut self) -> Lease {
        let begin = || self.ingest.lease_with(Arc::clone(&self.memory));
        self.lease.get_or_insert_with(begin).clone()
    }

    async fn gather(&mut self, mut bytes: Bytes) -> Result<(), EngineError> {
        while !bytes.is_empty() {
            let room = if self.is_admitted { BLOCK_BYTES } else { FIRST_BYTES };
            // A full block waits for the next byte: without one it is the last.
            if self.gathered() == room {
                if self.is_admitted {
                    self.submit(false).await?;
                } else {
                    self.admit().await?;
                }
                continue;
            }
            let taken = bytes.split_to(bytes.len().min(room - self.gathered()));
            self.buffer.extend_from_slice(&taken);
        }
        Ok(())
    }

    fn gathered(&self) -> usize {
        self.buffer.len() - self.head
    }

    /// Hands the gathered block over, once the one before is done.
    async fn submit(&mut self, is_last: bool) -> Result<(), EngineError> {
        let Idle { digester, mut sink } = self.settle().await?;
        let tail = match &mut sink {
            Sink::Chunks(chunks) => chunks.take_tail(),
            Sink::Plain(_) => Bytes::new(),
        };
        let start = self.head - tail.len();
        self.buffer[start..self.head].copy_from_slice(&tail);
        drop(tail);
        let next = if is_last { BytesMut::new() } else { self.next_buffer() };
        let block = std::mem::replace(&mut self.buffer, next).freeze();

        self.flight = Some(match sink {
            Sink::Chunks(chunks) => {
                let absorb = Absorb { chunks, bytes: block.slice(start..), is_last };
                self.start_chunks(block, digester, absorb)
            }
            Sink::Plain(plain) => {
                let bytes = block.slice(self.head..);
                let digester = self.start_digest(digester, bytes.clone());
                Flight { block, digester, sink: start_plain(plain, bytes, self.lease()) }
            }
        });
        Ok(())
    }

    /// Digests and absorbs a block beside each other, or a short last one in one go.
    fn start_chunks(&mut self, block: Bytes, mut digester: Digester, absorb: Absorb) -> Flight {
        let bytes = block.slice(self.head..);
        if !absorb.is_last || bytes.len() > ONE_JOB_BYTES {
            let digester = self.start_digest(digester, bytes);
            return Flight { block, digester, sink: self.ingest.workers.start(|| absorb.run()) };
        }
        let (digested, digester_job) = promise();
        let (absorbed, sink_job) = promise();
        let (ingest, lease) = (Arc::clone(&self.ingest), self.lease());
        self.ingest.workers.spawn(move || {
            let done = absorb.run();
            let sha256 = done.0.hash_of_all(bytes.len());
            ingest.stages.time(Stage::Digest, || digester.update_with(&bytes, sha256));
            // Nothing of the body is kept any more once its task goes on.
            drop((bytes, ingest, lease));
            drop((absorbed.send(done), digested.send(digester)));
        });
        Flight { block, digester: digester_job, sink: sink_job }
    }

    fn start_digest(&mut self, digester: Digester, bytes: Bytes) -> Job<Digester> {
        let (done, job) = promise();
        let (ingest, lease) = (Arc::clone(&self.ingest), self.lease());
        let mut block = Block { has_checksums: false, digester, bytes, lease, done };
        if !block.digester.has_slow_checksums() {
            ingest.hash(block);
            return job;
        }
        self.ingest.workers.spawn(move || {
            ingest.stages.time(Stage::Digest, || block.digester.update_checksums(&block.bytes));
            block.has_checksums = true;
            ingest.hash(block);
        });
        job
    }

    fn next_buffer(&mut self) -> BytesMut {
        let spare = self.spare.take().and_then(|spare| spare.try_into_mut().ok());
        let mut buffer = spare.unwrap_or_else(|| BytesMut::with_capacity(self.head + BLOCK_BYTES));
        buffer.clear();
        buffer.resize(self.head, 0);
        buffer
    }

    /// Waits for the block under way.
    async fn settle(&mut self) -> Result<Idle, EngineError> {
        let Some(Flight { block, digester, sink }) = self.flight.take() else {
            return match self.idle.take() {
                Some(idle) => Ok(idle),
                None => self.begin().await,
            };
        };
        let digester = digester.wait().await?;
        let (mut sink, done) = sink.wait().await?;
        match (done, &mut sink) {
            (Ok(()), Sink::Chunks(chunks)) => {
                if chunks.take_unsynced(self.ingest.parts.settings.sync_every_bytes) {
                    self.sync().await?;
                }
            }
            (Ok(()), Sink::Plain(_)) => {}
            (Err(EngineError::Index(why)), Sink::Chunks(chunks))
                if self.fallback == Fallback::Plain && !chunks.has_stored() =>
            {
                tracing::warn!(%why, "the chunk index failed: a body is stored without deduplication");
                metrics::counter!("sediment_ingest_fallbacks_total").increment(1);
                let plain = self.create_plain().await?;
                let (plain, done) = start_plain(plain, block.slice(self.head..), self.lease()).wait().await?;
                done?;
                sink = plain;
            }
            (Err(error), _) => return Err(error),
        }
        self.spare = Some(block);
        Ok(Idle { digester, sink })
    }

    /// What the first block needs.
    async fn begin(&mut self) -> Result<Idle, EngineError> {
        // Before anything of the body is stored.
        let lease = self.lease();
        let digester = Digester::new(&self.spec.checksums);
        let is_plain = self.ingest.parts.settings.plain_bodies && self.fallback == Fallback::Plain;
        let sink = if is_plain {
            Sink::Plain(self.create_plain().await?)
        } else {
            Sink::Chunks(Box::new(ChunkSink::new(Arc::clone(&self.ingest), lease)))
        };
        Ok(Idle { digester, sink })
    }

    async fn create_plain(&self) -> Result<PlainWriter, EngineError> {
        let (plain, random) = (self.ingest.parts.plain.clone(), Arc::clone(&self.ingest.parts.random));
        Workers::start_blocking(move || plain.create(random.as_ref())).wait().await?
    }

    /// Makes what is appended durable, beside the next blocks; at most one such sync is under way.
    async fn sync(&mut self) -> Result<(), EngineError> {
        if let Some(before) = self.syncing.take() {
            before.wait().await??;
        }
        let packs = self.ingest.parts.packs.clone();
        self.syncing = Some(Workers::start_blocking(move || packs.sync()));
        Ok(())
    }

    fn check_failed(&self) -> Result<(), EngineError> {
        let failed = || EngineError::Io(std::io::Error::other("the body failed before"));
        if self.has_failed { Err(failed()) } else { Ok(()) }
    }

    fn check_announced(&self, is_complete: bool) -> Result<(), EngineError> {
        match self.spec.size {
            Some(expected) if self.received > expected || is_complete && self.received < expected => {
                Err(EngineError::Size { expected, actual: self.received })
            }
            _ => Ok(()),
        }
    }

    fn finish_inline(self) -> Result<StagedBody, EngineError> {
        let bytes = Bytes::copy_from_slice(&self.buffer[self.head..]);
        let mut digester = Digester::new(&self.spec.checksums);
        digester.update(&bytes);
        let (body, size, digests) = (NewBody::Inline(bytes), self.received, digester.finish()?);
        // It stands in its row, and nowhere else.
        Ok(StagedBody { body, size, digests, hold: Box::new(()) })
    }
}

#[async_trait]
impl BodyWriter for Writer {
    async fn admit(&mut self) -> Result<(), EngineError> {
        if !self.is_admitted && self.spec.size.is_none_or(|size| size > FIRST_BYTES as u64) {
            let (share, bytes) = self.ingest.share_of(self.spec.size);
            self.memory = Arc::new(self.ingest.parts.memory.take(share, bytes).await?);
            self.make_room();
        }
        Ok(())
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), EngineError> {
        self.check_failed()?;
        self.has_failed = true;
        self.received = self.received.saturating_add(bytes.len() as u64);
        self.check_announced(false)?;
        self.gather(bytes).await?;
        self.has_failed = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<StagedBody, EngineError> {
        self.check_failed()?;
        self.check_announced(true)?;
        let is_first = self.flight.is_none() && self.spare.is_none();
        if is_first && self.received <= self.ingest.parts.settings.inline_max_bytes {
            return self.finish_inline();
        }
        self.submit(true).await?;
        let Idle { digester, sink } = self.settle().await?;
        let body = match sink {
            Sink::Chunks(mut chunks) => {
                let (root, expected) = (chunks.finish()?, self.received);
                if root.size() != expected {
                    return Err(EngineError::Size { expected, actual: root.size() });
                }
                NewBody::Manifest(root)
            }
            Sink::Plain(plain) => NewBody::Plain(Workers::start_blocking(|| plain.finish()).wait().await??),
        };
        let (size, digests) = (self.received, digester.finish()?);
        Ok(StagedBody { body, size, digests, hold: Box::new(self.lease().session) })
    }
}

fn start_plain(plain: PlainWriter, bytes: Bytes, lease: Lease) -> Job<(Sink, Result<(), EngineError>)> {
    Workers::start_blocking(move || {
        let (mut plain, _lease) = (plain, lease);
        let done = plain.write(&bytes);
        (Sink::Plain(plain), done)
    })
}
