//! Frames of bodies in memory that is used again.

use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Of one connection: a frame is sent while the next is made.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Rc<RefCell<VecDeque<Bytes>>>);

impl Buffers {
    /// Fit the cache together.
    const KEPT: usize = 4;

    /// Of that length; what is in it is to be overwritten.
    pub(super) fn take(&self, len: usize) -> BytesMut {
        let mut kept = self.0.borrow_mut();
        let oldest = if kept.len() < Self::KEPT { None } else { kept.pop_front() };
        let mut buffer = oldest.and_then(|bytes| bytes.try_into_mut().ok()).unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    pub(super) fn freeze(&self, buffer: BytesMut) -> Bytes {
        let bytes = buffer.freeze();
        let mut kept = self.0.borrow_mut();
        if kept.len() < Self::KEPT {
            kept.push_back(bytes.clone());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Buffers;

    #[test]
    fn memory_comes_back_only_when_nobody_reads_it() {
        let buffers = Buffers::default();
        let mut held = Vec::new();
        for number in 0..10_u8 {
            let mut buffer = buffers.take(1_000);
            buffer.fill(number);
            held.push(buffers.freeze(buffer));
        }
        for (number, bytes) in held.iter().enumerate() {
            assert!(bytes.iter().all(|byte| usize::from(*byte) == number));
        }
        held.clear();
        let mut places = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut buffer = buffers.take(1_000);
            buffer.fill(1);
            places.insert(buffers.freeze(buffer).as_ptr());
        }
        assert!(places.len() <= Buffers::KEPT * 2, "{} buffers", places.len());
    }
}
