//! One body's way in, seen from its async task: gather a block, hand it over, gather the next meanwhile.

use super::digester::Digester;
use super::lanes::Block;
use super::sink::ChunkSink;
use super::stages::Stage;
use super::workers::{Job, Workers, promise};
use super::{BLOCK_BYTES, FIRST_BYTES, Ingest, Lease, ONE_JOB_BYTES, TURN_BLOCKS};
use crate::engine::budget::{LargeMemory, Memory};
use crate::engine::{BodySpec, BodyWriter, EngineError, PlainWriter, StagedBody};
use crate::meta::NewBody;
use crate::sys::FailPoint;
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
    /// Has all the memory that it needs to go on.
    is_admitted: bool,
    /// What makes blocks long.
    large: Option<Arc<LargeMemory>>,
    /// Long blocks handed over since that was taken.
    large_blocks: u32,
    /// From the first look at the index on.
    lease: Option<Lease>,
    fallback: Fallback,
    received: u64,
    /// A call failed, or was not waited for: bytes are missing.
    has_failed: bool,
    /// The tail of the block before or room for it, then the bytes gathered.
    buffer: BytesMut,
    /// Where the bytes gathered begin.
    head: usize,
    /// How much of the tail stands in front of them already.
    tail: usize,
    /// The bytes that may be gathered. 0 between two blocks.
    room: usize,
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
    /// Where the bytes begin that the block before did not have.
    head: usize,
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
    large: Option<Arc<LargeMemory>>,
}

impl Absorb {
    fn run(self) -> (Sink, Result<(), EngineError>) {
        let Self { mut chunks, bytes, is_last, large: _large } = self;
        let done = chunks.absorb(&bytes, is_last);
        (Sink::Chunks(chunks), done)
    }
}

impl Sink {
    /// The bytes that the next block must begin with.
    fn take_tail(&mut self) -> Bytes {
        match self {
            Self::Chunks(chunks) => chunks.take_tail(),
            Self::Plain(_) => Bytes::new(),
        }
    }

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
            large: None,
            large_blocks: 0,
            lease: None,
            fallback,
            received: 0,
            has_failed: false,
            buffer: BytesMut::with_capacity(announced.min(FIRST_BYTES)),
            head: 0,
            tail: 0,
            room: FIRST_BYTES,
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
        writer.take_seat();
        writer
    }

    /// Goes on in a short block.
    fn take_seat(&mut self) {
        self.is_admitted = true;
        self.room = self.announced().unwrap_or(usize::MAX).min(self.ingest.short_bytes());
        self.buffer.reserve(self.room - self.buffer.len());
    }

    fn announced(&self) -> Option<usize> {
        self.spec.size.and_then(|size| usize::try_from(size).ok())
    }

    /// What works for the body, and what protects it.
    fn lease(&mut self) -> Lease {
        let begin = || self.ingest.lease_with(Arc::clone(&self.memory));
        self.lease.get_or_insert_with(begin).clone()
    }

    /// The same for the block at hand.
    fn lease_of_block(&mut self) -> Lease {
        Lease { _large: self.large.clone(), ..self.lease() }
    }

    async fn gather(&mut self, mut bytes: Bytes) -> Result<(), EngineError> {
        while !bytes.is_empty() {
            if self.room == 0 {
                self.next_block().await?;
            }
            // A full block waits for the next byte: without one it is the last.
            if self.gathered() == self.room {
                self.go_on().await?;
                continue;
            }
            let taken = bytes.split_to(bytes.len().min(self.room - self.gathered()));
            self.buffer.extend_from_slice(&taken);
        }
        Ok(())
    }

    /// Makes way for another byte: takes what memory the body needs, makes the block longer, or hands it over.
    async fn go_on(&mut self) -> Result<(), EngineError> {
        if !self.is_admitted {
            return self.admit().await;
        }
        if self.large.is_none() && self.take_large() {
            let whole = self.announced().map_or(BLOCK_BYTES, |size| size.min(BLOCK_BYTES));
            self.room = self.room.max(whole);
            self.buffer.reserve(self.room - self.gathered());
            return Ok(());
        }
        self.submit(false).await
    }

    /// Whether there was memory for long blocks.
    fn take_large(&mut self) -> bool {
        let memory = self.ingest.parts.memory.try_large(self.ingest.large_bytes(self.spec.size));
        (self.large, self.large_blocks) = (memory.map(Arc::new), 0);
        self.large.is_some()
    }

    /// Gives long blocks up, once the one under way is done, if others want them and it was given some.
    async fn give_way(&mut self) -> Result<(), EngineError> {
        let is_over = |memory: &Arc<LargeMemory>| {
            self.large_blocks >= TURN_BLOCKS && self.ingest.parts.memory.is_wanted(memory)
        };
        if self.large.as_ref().is_some_and(is_over) {
            self.idle = Some(self.settle().await?);
            self.spare = None;
            self.large = None;
        }
        Ok(())
    }

    /// Begins a block: a long one beside the one that is worked on, a short one in its place.
    async fn next_block(&mut self) -> Result<(), EngineError> {
        self.give_way().await?;
        if self.large.is_some() {
            self.large_blocks += 1;
            let head = self.ingest.parts.settings.chunk_max_bytes as usize;
            (self.head, self.tail, self.room) = (head, 0, BLOCK_BYTES);
            self.buffer = self.next_buffer(head + BLOCK_BYTES);
            self.buffer.resize(head, 0);
            return Ok(());
        }
        let mut idle = self.settle().await?;
        let tail = idle.sink.take_tail().to_vec();
        self.idle = Some(idle);
        let short = self.ingest.short_bytes();
        (self.head, self.tail, self.room) = (tail.len(), tail.len(), short - tail.len());
        self.buffer = self.next_buffer(short);
        self.buffer.extend_from_slice(&tail);
        Ok(())
    }

    /// An empty one.
    fn next_buffer(&mut self, capacity: usize) -> BytesMut {
        let spare = self.spare.take().and_then(|spare| spare.try_into_mut().ok());
        let mut buffer = spare.unwrap_or_default();
        buffer.clear();
        buffer.reserve(capacity);
        buffer
    }

    fn gathered(&self) -> usize {
        self.buffer.len() - self.head
    }

    /// Hands the gathered block over, once the one before is done.
    async fn submit(&mut self, is_last: bool) -> Result<(), EngineError> {
        let Idle { digester, mut sink } = self.settle().await?;
        let tail = sink.take_tail();
        let start = self.head - self.tail - tail.len();
        self.buffer[start..start + tail.len()].copy_from_slice(&tail);
        drop(tail);
        self.room = 0;
        let block = std::mem::take(&mut self.buffer).freeze();

        self.flight = Some(match sink {
            Sink::Chunks(chunks) => {
                let large = self.large.clone();
                let absorb = Absorb { chunks, bytes: block.slice(start..), is_last, large };
                self.start_chunks(block, digester, absorb)
            }
            Sink::Plain(plain) => {
                let bytes = block.slice(self.head..);
                let digester = self.start_digest(digester, bytes.clone());
                let sink = start_plain(plain, bytes, self.lease_of_block());
                Flight { block, head: self.head, digester, sink }
            }
        });
        Ok(())
    }

    /// Digests and absorbs a block beside each other, or a short last one in one go.
    fn start_chunks(&mut self, block: Bytes, mut digester: Digester, absorb: Absorb) -> Flight {
        let head = self.head;
        let bytes = block.slice(head..);
        if !absorb.is_last || bytes.len() > ONE_JOB_BYTES {
            let digester = self.start_digest(digester, bytes);
            return Flight { block, head, digester, sink: self.ingest.workers.start(|| absorb.run()) };
        }
        let (digested, digester_job) = promise();
        let (absorbed, sink_job) = promise();
        let (ingest, lease) = (Arc::clone(&self.ingest), self.lease_of_block());
        let is_short = bytes.len() <= FIRST_BYTES;
        let job = move || {
            let done = absorb.run();
            let sha256 = done.0.hash_of_all(bytes.len());
            ingest.stages.time(Stage::Digest, || digester.update_with(&bytes, sha256));
            // Nothing of the body is kept any more once its task goes on.
            drop((bytes, ingest, lease));
            drop((absorbed.send(done), digested.send(digester)));
        };
        match is_short {
            true => self.ingest.workers.spawn_short(job),
            false => self.ingest.workers.spawn(job),
        }
        Flight { block, head, digester: digester_job, sink: sink_job }
    }

    fn start_digest(&mut self, digester: Digester, bytes: Bytes) -> Job<Digester> {
        let (done, job) = promise();
        let (ingest, lease) = (Arc::clone(&self.ingest), self.lease_of_block());
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

    /// Waits for the block under way.
    async fn settle(&mut self) -> Result<Idle, EngineError> {
        let Some(Flight { block, head, digester, sink }) = self.flight.take() else {
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
                let (plain, done) =
                    start_plain(plain, block.slice(head..), self.lease_of_block()).wait().await?;
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
        self.syncing = Some(Workers::start_blocking(move || {
            FailPoint::IngestSync.pass()?;
            packs.sync()
        }));
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
            self.take_seat();
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
        let is_first = self.flight.is_none() && self.idle.is_none();
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
