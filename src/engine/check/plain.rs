//! Bodies stored whole.

use super::Pass;
use super::report::Finding;
use crate::engine::gc::PlainFiles;
use crate::engine::{EngineError, PlainReader};
use crate::types::PlainId;
use tokio::runtime::Handle;

pub(super) const PAGE: usize = 256;
const PIECE_BYTES: u64 = 1 << 20;

/// A file that is being read.
pub(super) struct PlainAt {
    id: PlainId,
    reader: PlainReader,
    next: u64,
}

impl Pass<'_> {
    pub(super) fn plain(&mut self, plain: &PlainFiles, handle: &Handle) -> Result<(), EngineError> {
        let mut after = None;
        loop {
            let page = handle.block_on(plain.inspect.plain_bodies(after, PAGE))?;
            for id in &page {
                let mut at = self.open_plain(*id, plain, handle)?;
                while let Some(open) = at {
                    if self.stop.is_cancelled() {
                        return Ok(());
                    }
                    at = self.plain_piece(open, plain, handle)?;
                }
            }
            after = page.last().copied();
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    pub(super) fn open_plain(
        &mut self,
        id: PlainId,
        plain: &PlainFiles,
        handle: &Handle,
    ) -> Result<Option<PlainAt>, EngineError> {
        self.report.plain_read += 1;
        match plain.store.reader(id) {
            Ok(reader) => {
                // Memory may hold what the device has lost.
                if let Err(error) = reader.reload() {
                    tracing::warn!(%id, %error, "a body may be read from memory instead of its device");
                }
                Ok(Some(PlainAt { id, reader, next: 0 }))
            }
            Err(error) => self.plain_fault(id, &error, plain, handle).map(|()| None),
        }
    }

    /// At most 1 MiB. `None` when the file is read, or is damaged.
    pub(super) fn plain_piece(
        &mut self,
        at: PlainAt,
        plain: &PlainFiles,
        handle: &Handle,
    ) -> Result<Option<PlainAt>, EngineError> {
        let end = (at.next + PIECE_BYTES).min(at.reader.size());
        let range = at.next..end;
        self.report.bytes_read += end - at.next;
        let read = at.reader.read_at(range.clone()).or_else(|_| {
            // Memory may have changed what the device has whole.
            at.reader.reload()?;
            at.reader.read_at(range)
        });
        if let Err(error) = read {
            return self.plain_fault(at.id, &error, plain, handle).map(|()| None);
        }
        Ok((end < at.reader.size()).then_some(PlainAt { next: end, ..at }))
    }

    fn plain_fault(
        &mut self,
        id: PlainId,
        error: &EngineError,
        plain: &PlainFiles,
        handle: &Handle,
    ) -> Result<(), EngineError> {
        if error.lacks_descriptors() {
            return Err(EngineError::Busy("too many files are open"));
        }
        // Deleted meanwhile, it is nobody's loss.
        if !is_named(id, plain, handle)? {
            return Ok(());
        }
        match self.plain_from_elsewhere(id, plain) {
            Ok(true) => {
                self.report.healed += 1;
                // Ids are never used again: what was deleted while it came back is nobody's.
                return if is_named(id, plain, handle)? { Ok(()) } else { plain.store.remove(id) };
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%id, %error, "a damaged body could not be brought back"),
        }
        self.lost.plain(id, error.to_string());
        self.found(Finding::DamagedPlain { id: id.to_string(), why: error.to_string() });
        Ok(())
    }
}

fn is_named(id: PlainId, plain: &PlainFiles, handle: &Handle) -> Result<bool, EngineError> {
    let before = u128::from_be_bytes(*id.as_bytes()).checked_sub(1);
    let before = before.map(|number| PlainId::new(number.to_be_bytes()));
    Ok(handle.block_on(plain.inspect.plain_bodies(before, 1))?.first() == Some(&id))
}
