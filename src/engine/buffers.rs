//! Large buffers that are used again: a fresh one costs a page fault for every 4 KiB, which is more than the copy
//! that fills it.

use parking_lot::Mutex;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Room for a window of 1 MiB in chunks of 1 KiB and more, with their headers.
const BUFFER_BYTES: usize = (1 << 20) + (64 << 10);
/// Less is not worth a whole buffer: what is in use must not be much more than what was asked for.
const LEAST_BYTES: usize = 768 << 10;
/// Kept for later: 8.5 MiB.
const MAX_IDLE: usize = 8;

/// Buffers that nobody uses now. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// So many bytes, of any content at first.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Buffers,
}

impl Buffers {
    /// `None` when so many bytes are better allocated for themselves.
    pub(super) fn take(&self, len: usize) -> Option<Buffer> {
        if !(LEAST_BYTES..=BUFFER_BYTES).contains(&len) {
            return None;
        }
        let idle = self.0.lock().pop();
        let bytes = idle.unwrap_or_else(|| vec![0; BUFFER_BYTES]);
        Some(Buffer { bytes, len, home: self.clone() })
    }

    /// As [`Self::take`], of any length.
    pub(super) fn of(&self, len: usize) -> Buffer {
        self.take(len).unwrap_or_else(|| Buffer { bytes: vec![0; len], len, home: self.clone() })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() != BUFFER_BYTES {
            return;
        }
        let mut idle = self.home.0.lock();
        if idle.len() < MAX_IDLE {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{BUFFER_BYTES, Buffers, LEAST_BYTES, MAX_IDLE};
    use bytes::Bytes;

    #[test]
    fn a_buffer_comes_back_when_its_last_slice_is_dropped() {
        let buffers = Buffers::default();
        let whole = Bytes::from_owner(buffers.of(1 << 20));
        let slice = whole.slice(5..9);
        drop(whole);
        assert!(buffers.0.lock().is_empty());
        assert_eq!(slice.len(), 4);
        drop(slice);
        assert_eq!(buffers.0.lock().len(), 1);
        assert_eq!(buffers.of(LEAST_BYTES).len(), LEAST_BYTES);
    }

    #[test]
    fn i5_few_are_kept_and_none_for_what_is_short_or_long() {
        let buffers = Buffers::default();
        assert!(buffers.take(LEAST_BYTES - 1).is_none() && buffers.take(BUFFER_BYTES + 1).is_none());
        drop((0..3 * MAX_IDLE).map(|_| buffers.of(1 << 20)).collect::<Vec<_>>());
        assert_eq!(buffers.0.lock().len(), MAX_IDLE);
        for len in [0, 7, LEAST_BYTES - 1, BUFFER_BYTES + 1] {
            assert_eq!(buffers.of(len).len(), len);
        }
        assert_eq!(buffers.0.lock().len(), MAX_IDLE);
    }
}
