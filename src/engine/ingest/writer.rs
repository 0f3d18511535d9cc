//! One body's way in, seen from its async task: gather a block, hand it over, gather the next meanwhile.

use super::digester::Digester;
use super::sink::ChunkSink;
use super::stages::Stage;
use super::workers::{Job, Workers};
use super::{BLOCK_BYTES, Ingest, Lease};
use crate::engine::{BodySpec, BodyWriter, EngineError, PlainWriter, StagedBody};
use crate::meta::NewBody;
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
    lease: Lease,
    fallback: Fallback,
    received: u64,
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

impl Writer {
    pub(super) fn new(ingest: Arc<Ingest>, spec: BodySpec, lease: Lease, fallback: Fallback) -> Self {
        let known = spec.size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= BLOCK_BYTES);
        // One block has no tail.
        let head = if known.is_some() { 0 } else { ingest.parts.settings.chunk_max_bytes as usize };
        let mut buffer = BytesMut::with_capacity(head + known.unwrap_or(BLOCK_BYTES));
        buffer.resize(head, 0);
        let (flight, idle, spare, syncing) = (None, None, None, None);
        Self { ingest, spec, lease, fallback, received: 0, buffer, head, flight, idle, spare, syncing }
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

        let (bytes, ingest, lease) = (block.slice(self.head..), Arc::clone(&self.ingest), self.lease.clone());
        let digester = self.ingest.workers.start(move || {
            let (mut digester, _lease) = (digester, lease);
            ingest.stages.time(Stage::Digest, || digester.update(&bytes));
            digester
        });
        let sink = match sink {
            Sink::Chunks(mut chunks) => {
                let bytes = block.slice(start..);
                self.ingest.workers.start(move || {
                    let done = chunks.absorb(&bytes, is_last);
                    (Sink::Chunks(chunks), done)
                })
            }
            Sink::Plain(plain) => start_plain(plain, block.slice(self.head..), self.lease.clone()),
        };
        self.flight = Some(Flight { block, digester, sink });
        Ok(())
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
                None if self.spare.is_none() => self.begin().await,
                None => Err(EngineError::Io(std::io::Error::other("the body failed before"))),
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
                    start_plain(plain, block.slice(self.head..), self.lease.clone()).wait().await?;
                done?;
                sink = plain;
            }
            (Err(error), _) => return Err(error),
        }
        self.spare = Some(block);
        Ok(Idle { digester, sink })
    }

    /// What the first block needs.
    async fn begin(&self) -> Result<Idle, EngineError> {
        let digester = Digester::new(&self.spec.checksums);
        let is_plain = self.ingest.parts.settings.plain_bodies && self.fallback == Fallback::Plain;
        let sink = if is_plain {
            Sink::Plain(self.create_plain().await?)
        } else {
            Sink::Chunks(Box::new(ChunkSink::new(Arc::clone(&self.ingest), self.lease.clone())))
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
        Ok(StagedBody { body, size, digests, hold: Box::new(self.lease.session) })
    }
}

#[async_trait]
impl BodyWriter for Writer {
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), EngineError> {
        self.received = self.received.saturating_add(bytes.len() as u64);
        self.check_announced(false)?;
        while !bytes.is_empty() {
            // A full block waits for the next byte: without one it is the last.
            if self.gathered() == BLOCK_BYTES {
                self.submit(false).await?;
            }
            let taken = bytes.split_to(bytes.len().min(BLOCK_BYTES - self.gathered()));
            self.buffer.extend_from_slice(&taken);
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<StagedBody, EngineError> {
        self.check_announced(true)?;
        let is_first = self.flight.is_none() && self.spare.is_none();
        if is_first && self.received <= self.ingest.parts.settings.inline_max_bytes {
            return self.finish_inline();
        }
        self.submit(true).await?;
        let Idle { digester, sink } = self.settle().await?;
        let body = match sink {
            Sink::Chunks(mut chunks) => NewBody::Manifest(chunks.finish()?),
            Sink::Plain(plain) => NewBody::Plain(Workers::start_blocking(|| plain.finish()).wait().await??),
        };
        let (size, digests) = (self.received, digester.finish()?);
        Ok(StagedBody { body, size, digests, hold: Box::new(self.lease.session) })
    }
}

fn start_plain(plain: PlainWriter, bytes: Bytes, lease: Lease) -> Job<(Sink, Result<(), EngineError>)> {
    Workers::start_blocking(move || {
        let (mut plain, _lease) = (plain, lease);
        let done = plain.write(&bytes);
        (Sink::Plain(plain), done)
    })
}
