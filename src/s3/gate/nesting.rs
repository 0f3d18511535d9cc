//! Stops XML that is nested deeper than any S3 request: a recursive parser would run out of stack.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

/// The deepest that S3 defines is below ten.
const MAX_DEPTH: u32 = 32;

/// The XML went too deep.
#[derive(Debug, Clone, Default)]
pub(in crate::s3) struct TooDeep(Arc<AtomicBool>);

impl TooDeep {
    pub(in crate::s3) fn happened(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Watches a body that is going to be parsed as XML.
#[derive(Debug)]
pub(in crate::s3) struct NestingGuard<B> {
    body: B,
    scanner: Option<Scanner>,
    too_deep: TooDeep,
}

#[derive(Debug, thiserror::Error)]
pub(in crate::s3) enum GuardError<E: std::error::Error + 'static> {
    #[error("the XML is nested too deeply")]
    TooDeep,
    #[error("{0}")]
    Body(#[source] E),
}

impl<B> NestingGuard<B> {
    pub(in crate::s3) fn new(body: B, is_xml: bool) -> (Self, TooDeep) {
        let too_deep = TooDeep::default();
        let scanner = is_xml.then(Scanner::default);
        (Self { body, scanner, too_deep: too_deep.clone() }, too_deep)
    }
}

impl<B> Body for NestingGuard<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    type Data = Bytes;
    type Error = GuardError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(frame) => frame.map_err(GuardError::Body)?,
        };
        if let (Some(scanner), Some(bytes)) = (&mut this.scanner, frame.data_ref())
            && !scanner.accepts(bytes)
        {
            this.too_deep.0.store(true, Ordering::Release);
            return Poll::Ready(Some(Err(GuardError::TooDeep)));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts open elements. Comments and the like count as elements that close at once.
#[derive(Debug, Default)]
struct Scanner {
    depth: u32,
    /// The byte before, inside a tag.
    before: Option<u8>,
    kind: Kind,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Opening,
    Closing,
    Other,
}

impl Scanner {
    fn accepts(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            match (self.before, byte) {
                (None, b'<') => self.before = Some(b'<'),
                (None, _) => {}
                (Some(b'<'), b'/') => (self.kind, self.before) = (Kind::Closing, Some(b' ')),
                (Some(b'<'), b'?' | b'!') => (self.kind, self.before) = (Kind::Other, Some(b' ')),
                (Some(before), b'>') => {
                    match self.kind {
                        Kind::Opening if before != b'/' => self.depth += 1,
                        Kind::Closing => self.depth = self.depth.saturating_sub(1),
                        Kind::Opening | Kind::Other => {}
                    }
                    (self.kind, self.before) = (Kind::Opening, None);
                }
                (Some(_), byte) => self.before = Some(if byte == b'<' { b' ' } else { byte }),
            }
            if self.depth > MAX_DEPTH {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, Scanner};

    #[test]
    fn depth_is_counted_across_frames_and_flat_lists_are_fine() {
        let flat = format!(
            "<?xml version='1.0'?><Delete>{}</Delete>",
            "<Object><Key>a/b</Key><Quiet/></Object>".repeat(1000)
        );
        assert!(Scanner::default().accepts(flat.as_bytes()));
        let deep = "<a>".repeat(MAX_DEPTH as usize + 1);
        let mut scanner = Scanner::default();
        assert!(!deep.as_bytes().chunks(2).all(|piece| scanner.accepts(piece)));
        assert!(Scanner::default().accepts("<a>".repeat(MAX_DEPTH as usize).as_bytes()));
    }
}
