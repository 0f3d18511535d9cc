//! Bodies stored whole.

use super::Shipper;
use super::doubts::Unit;
use super::stuck::Stuck;
use crate::backup::container::Kind;
use crate::backup::objects::{self, Content};
use crate::backup::{BackupError, Contents, ObjectName, PLAIN_PIECE_BYTES, PlainFile, Stamp};
use crate::engine::{EngineError, PassingBlocks, PlainStore};
use crate::meta::Consumer;
use crate::sys::is_device_error;
use crate::types::PlainId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;

const PAGE: usize = 4096;

/// Why a body is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// A version or a part may name it now: then it is lost if its file is not there.
    InUse,
    /// A record names it that is not in the bucket. So collection has spared it, and it is lost if its file is not there.
    Logged,
}

impl Shipper {
    /// Ships plain bodies, and returns those that could not be copied.
    pub(super) async fn ship_all_plains(
        &mut self,
        ids: Vec<PlainId>,
        why: Why,
        stuck: &mut Stuck,
    ) -> Result<Vec<PlainId>, BackupError> {
        let (mut ahead, mut left) = (ids.into_iter(), Vec::new());
        while let Some(id) = ahead.next() {
            match self.ship_plain(id, why).await {
                Ok(()) => {}
                Err(BackupError::Engine(error)) => {
                    stuck.add(format_args!("body {id}"), error);
                    left.push(id);
                }
                Err(error) => {
                    if why == Why::InUse {
                        self.owed_plains.extend(left.into_iter().chain([id]).chain(ahead));
                    }
                    return Err(error);
                }
            }
        }
        Ok(left)
    }

    /// Ships a plain body, unless it is there or not needed any more. One that is damaged waits for its hour; then it is sent as it stands, or,
    /// if there is nothing of it, known as lost.
    async fn ship_plain(&mut self, id: PlainId, why: Why) -> Result<(), BackupError> {
        if self.held.has_plain(id) || (self.held.lost_plains().contains(&id) && why == Why::Logged) {
            return Ok(());
        }
        let unit = Unit::Plain(id);
        let is_due = self.is_out_of_patience(unit);
        let copying = self.copying(id, is_due);
        let error = match self.copy_plain(&copying).await {
            Ok(plain) => {
                self.doubts.clear(unit).await;
                return self.put_there(&Contents { plains: vec![plain], ..Contents::default() }).await;
            }
            Err(BackupError::Engine(error)) => error,
            Err(error) => return Err(error),
        };
        if matches!(error, EngineError::MissingPlain(_)) && !self.is_missed(id, why).await? {
            self.doubts.clear(unit).await;
            return Ok(());
        }
        if is_due && is_lost(&error) {
            tracing::error!(body = %id, %error, "a body is lost here, and is not in the backup");
            // It stays doubted: whoever goes on from here need not wait once more.
            return self.put_there(&Contents { lost_plains: vec![id], ..Contents::default() }).await;
        }
        let (now, place) = (self.source.clock.now(), copying.passed.lock().failed.clone());
        self.doubts.suspect(unit, now, place).await;
        Err(error.into())
    }

    /// Whether a body should be there whose file is not.
    async fn is_missed(&self, id: PlainId, why: Why) -> Result<bool, BackupError> {
        match why {
            Why::InUse => self.is_in_use(id).await,
            // Without the cursor collection has not waited.
            Why::Logged => match self.source.log.known_cursor(Consumer::Backup).await? {
                Some(_) => Ok(true),
                None => Err(BackupError::GivenUp),
            },
        }
    }

    /// All bodies that have a file, or are in use. In this order: what is stored meanwhile has one when it comes into use.
    pub(super) async fn all_plains(&self) -> Result<BTreeSet<PlainId>, BackupError> {
        let plain = self.source.plain.clone();
        let files = tokio::task::spawn_blocking(move || plain.list()).await??;
        let mut all: BTreeSet<PlainId> = files.into_iter().collect();
        let mut after = None;
        loop {
            let page = self.source.inspect.plain_bodies(after, PAGE).await?;
            after = page.last().copied();
            let is_last = page.len() < PAGE;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Whether a version or a part names a body.
    async fn is_in_use(&self, id: PlainId) -> Result<bool, BackupError> {
        let before = u128::from_be_bytes(*id.as_bytes()).checked_sub(1);
        let before = before.map(|before| PlainId::new(before.to_be_bytes()));
        Ok(self.source.inspect.plain_bodies(before, 1).await?.contains(&id))
    }

    /// What is lost and in use is tried once more: a device may have come back. What is not in use any more is forgotten.
    pub(super) async fn look_for_lost(&mut self) -> Result<(), BackupError> {
        let lost: Vec<PlainId> = self.held.lost_plains().iter().copied().collect();
        for id in lost {
            if !self.is_in_use(id).await? {
                self.held.forget_lost(id);
                self.doubts.clear(Unit::Plain(id)).await;
                continue;
            }
            let copying = self.copying(id, false);
            match self.copy_plain(&copying).await {
                Ok(plain) => {
                    let contents = Contents { plains: vec![plain], ..Contents::default() };
                    self.put_there(&contents).await?;
                    self.doubts.clear(Unit::Plain(id)).await;
                }
                Err(BackupError::Engine(error)) => tracing::debug!(body = %id, %error, "it is still lost"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn copying(&self, id: PlainId, as_it_stands: bool) -> Copying {
        let unit = Unit::Plain(id);
        let doubted = self.doubts.since(unit).map(|_| self.doubts.place(unit).unwrap_or(0..u64::MAX));
        let passed = Arc::new(Mutex::new(Passed::default()));
        Copying { plain: self.source.plain.clone(), id, as_it_stands, doubted, passed }
    }

    async fn copy_plain(&mut self, copying: &Copying) -> Result<PlainFile, BackupError> {
        let (id, own) = (copying.id, copying.clone());
        let length = tokio::task::spawn_blocking(move || own.begin()).await??;
        let (mut pieces, mut at) = (Vec::new(), 0);
        for piece in 0.. {
            if self.stop.is_cancelled() {
                return Err(BackupError::Stopped);
            }
            self.session.check().await?;
            let range = at..length.min(at + PLAIN_PIECE_BYTES);
            let name = ObjectName::Plain { id, piece };
            let stamp = self.put_piece(copying, name, range.clone()).await?;
            self.sent(range.end - range.start, stamp.bytes);
            self.spoiled.remove(&name);
            pieces.push(stamp);
            at = range.end;
            if at >= length {
                break;
            }
        }
        Ok(PlainFile { id, length, pieces })
    }

    async fn put_piece(
        &self,
        copying: &Copying,
        name: ObjectName,
        range: Range<u64>,
    ) -> Result<Stamp, BackupError> {
        let repository = Arc::clone(self.session.repository());
        let (content, writing) = (Arc::new(Piece { of: copying.clone(), range }), self.writing());
        if self.spoiled.contains(&name) {
            let put = objects::put_over(&repository, name, Kind::Plain, content, &writing);
            return self.session.lingering(put).await;
        }
        if copying.doubted.is_some() && !copying.as_it_stands {
            // Some of it may have been sent when it was damaged.
            let put = objects::put_same(&repository, name, Kind::Plain, content, &writing);
            return self.session.lingering(put).await;
        }
        objects::put(&repository, name, Kind::Plain, content, &writing).await
    }
}

/// Whether nothing of a file can be had, whoever asks.
fn is_lost(error: &EngineError) -> bool {
    match error {
        EngineError::MissingPlain(_) | EngineError::CorruptPlain { .. } => true,
        EngineError::Io(error) => is_device_error(error) || error.kind() == io::ErrorKind::UnexpectedEof,
        _ => false,
    }
}

/// One body on its way.
#[derive(Debug, Clone)]
struct Copying {
    plain: PlainStore,
    id: PlainId,
    /// Damaged, and sent all the same: what cannot be read is zeros.
    as_it_stands: bool,
    /// It was damaged when it was last tried, in this range of its file.
    doubted: Option<Range<u64>>,
    passed: Arc<Mutex<Passed>>,
}

/// What of it was read in order.
#[derive(Debug, Default)]
struct Passed {
    to: u64,
    blocks: Option<PassingBlocks>,
    /// What was wrong last was there.
    failed: Option<Range<u64>>,
}

impl Copying {
    /// The length of the file. Of one that is doubted nothing is sent before it was looked at.
    fn begin(&self) -> Result<u64, EngineError> {
        let length = self.plain.raw_len(self.id)?;
        let blocks = PassingBlocks::new(self.id, length);
        if self.as_it_stands {
            return Ok(length);
        }
        if blocks.is_none() {
            return Err(self.corrupt("its file is cut short"));
        }
        self.passed.lock().blocks = blocks;
        if let Some(place) = &self.doubted {
            self.plain.prove_raw(self.id, place.start..place.end.min(length)).inspect_err(|_| {
                self.passed.lock().failed = Some(place.clone());
            })?;
        }
        Ok(length)
    }

    const fn corrupt(&self, why: &'static str) -> EngineError {
        EngineError::CorruptPlain { id: self.id, why }
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes, EngineError> {
        let bytes = match self.plain.read_raw(self.id, range.clone()) {
            Err(error) if self.as_it_stands && is_lost(&error) => {
                return Ok(self.plain.read_raw_around(self.id, range)?.into());
            }
            read => read?,
        };
        let mut passed = self.passed.lock();
        if passed.to == range.start && !self.as_it_stands {
            passed.to = range.end;
            if passed.blocks.as_mut().is_some_and(|blocks| !blocks.pass(&bytes)) {
                return Err(self.corrupt("a block does not match its checksum"));
            }
        }
        Ok(bytes)
    }
}

struct Piece {
    of: Copying,
    range: Range<u64>,
}

impl Content for Piece {
    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes, EngineError> {
        let range = self.range.start + range.start..self.range.start + range.end;
        self.of.read(range.clone()).inspect_err(|_| self.of.passed.lock().failed = Some(range))
    }
}
