//! Bodies that are made while they are sent.

use super::buffers::Buffers;
use super::chunked;
use super::content::Material;
use super::lanes::Recipe;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Large enough that a frame's cost does not show, small enough that its bytes are in the cache when they are sent.
const FRAME: u64 = 128 << 10;

/// What is sent behind a request's head.
pub(super) enum Outgoing {
    Bytes(Bytes),
    Made(Box<Made>),
}

impl Outgoing {
    pub(super) const fn empty() -> Self {
        Self::Bytes(Bytes::new())
    }
}

pub(super) struct Made {
    material: Arc<Material>,
    recipe: Recipe,
    buffers: Buffers,
    /// The piece under way, and how much of it was sent.
    piece: usize,
    sent: u64,
    /// Of the body as it stands in the store.
    left: u64,
    framing: Option<Framing>,
}

/// Of a body with a trailer.
struct Framing {
    digest: crc_fast::Digest,
    /// Of what goes over the wire.
    left: u64,
}

impl Made {
    pub(super) fn plain(material: Arc<Material>, recipe: Recipe, buffers: Buffers) -> Self {
        let left = recipe.len;
        Self { material, recipe, buffers, piece: 0, sent: 0, left, framing: None }
    }

    pub(super) fn with_trailer(material: Arc<Material>, recipe: Recipe, buffers: Buffers) -> Self {
        let digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        let framing = Framing { digest, left: chunked::framed_len(recipe.len, FRAME) };
        Self { framing: Some(framing), ..Self::plain(material, recipe, buffers) }
    }

    fn next(&mut self) -> Option<Bytes> {
        let len = self.left.min(FRAME) as usize;
        let Some(mut framing) = self.framing.take() else {
            let mut frame = self.buffers.take(len);
            self.fill(&mut frame);
            return (len > 0).then(|| self.buffers.freeze(frame));
        };
        if framing.left == 0 {
            return None;
        }
        let head = if len > 0 { chunked::head(len) } else { String::new() };
        let mut frame = self.buffers.take(head.len() + len);
        frame[..head.len()].copy_from_slice(head.as_bytes());
        let body = &mut frame[head.len()..];
        self.fill(body);
        framing.digest.update(body);
        if len > 0 {
            frame.extend_from_slice(chunked::TAIL);
        }
        if self.left == 0 {
            frame.extend_from_slice(chunked::end(framing.digest.finalize()).as_bytes());
        }
        framing.left -= frame.len() as u64;
        self.framing = Some(framing);
        Some(self.buffers.freeze(frame))
    }

    /// Writes the body's next bytes.
    fn fill(&mut self, mut into: &mut [u8]) {
        self.left -= into.len() as u64;
        while !into.is_empty() {
            let Some(piece) = self.recipe.pieces.get(self.piece) else { return };
            let len = (into.len() as u64).min(piece.len - self.sent);
            let (now, later) = into.split_at_mut(len as usize);
            self.material.fill(piece.stream, piece.at + self.sent, now);
            self.sent += len;
            if self.sent == piece.len {
                (self.piece, self.sent) = (self.piece + 1, 0);
            }
            into = later;
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Bytes(bytes) if bytes.is_empty() => None,
            Self::Bytes(bytes) => Some(std::mem::take(bytes)),
            Self::Made(made) => made.next(),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Made(made) => made.framing.as_ref().map_or(made.left, |framing| framing.left),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffers::Buffers;
    use super::super::content::{Material, Stream};
    use super::super::lanes::{Piece, Recipe};
    use super::super::plan::Content;
    use super::{FRAME, Made, Outgoing};
    use http_body::Body;
    use http_body_util::BodyExt;
    use std::sync::Arc;

    fn recipe(len: u64) -> Recipe {
        Recipe { pieces: vec![Piece { stream: Stream::new(1), at: 0, len }].into(), len }
    }

    async fn sent(body: Outgoing) -> Vec<u8> {
        let announced = body.size_hint().exact().unwrap();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        assert_eq!(bytes.len() as u64, announced);
        bytes
    }

    #[tokio::test]
    async fn a_body_is_its_recipe_s_bytes() {
        let material = Arc::new(Material::new(Content::Unique, 7));
        for len in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME + 77] {
            let mut wanted = Vec::new();
            recipe(len).each_block(&material, |block| wanted.extend_from_slice(block));
            let body = Made::plain(Arc::clone(&material), recipe(len), Buffers::default());
            assert!(sent(Outgoing::Made(Box::new(body))).await == wanted, "{len}");
        }
    }

    #[tokio::test]
    async fn a_trailer_holds_the_checksum_of_what_is_framed() {
        let material = Arc::new(Material::new(Content::Unique, 7));
        for len in [0, 5, FRAME, 2 * FRAME + 9] {
            let body = Made::with_trailer(Arc::clone(&material), recipe(len), Buffers::default());
            let sent = sent(Outgoing::Made(Box::new(body))).await;
            let (mut rest, mut unframed) = (&sent[..], Vec::new());
            loop {
                let line = rest.windows(2).position(|pair| pair == b"\r\n").unwrap();
                let len = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
                rest = &rest[line + 2..];
                if len == 0 {
                    break;
                }
                unframed.extend_from_slice(&rest[..len]);
                assert_eq!(&rest[len..len + 2], b"\r\n");
                rest = &rest[len + 2..];
            }
            let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &unframed);
            assert_eq!(unframed.len() as u64, len);
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(crc.to_be_bytes());
            assert_eq!(
                std::str::from_utf8(rest).unwrap(),
                format!("x-amz-checksum-crc64nvme:{text}\r\n\r\n")
            );
        }
    }
}
