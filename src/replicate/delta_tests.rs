use super::{BLOCK_BYTES, Delta, Writing};
use crate::engine::{BodyPiece, ChunkStore, EngineError, Outline, SharedHold, Wanted};
use crate::meta::StoredBody;
use crate::sys::{Random, SeededRandom};
use crate::types::{ChunkId, DeltaDecoder, DeltaPiece, ResolvedRange};
use bytes::Bytes;
use futures::executor::block_on;
use futures::{StreamExt, TryStreamExt, stream};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A body of these chunks.
#[derive(Debug)]
struct Body(Vec<Bytes>);

fn id(chunk: &Bytes) -> ChunkId {
    ChunkId::new(Sha256::digest(chunk).into())
}

impl Body {
    fn of(sizes: &[usize]) -> Self {
        let chunk = |(n, size): (usize, &usize)| {
            let mut bytes = vec![0; *size];
            SeededRandom::new(n as u64).fill(&mut bytes);
            Bytes::from(bytes)
        };
        Self(sizes.iter().enumerate().map(chunk).collect())
    }

    fn chunk(&self, id: ChunkId) -> Bytes {
        self.0.iter().find(|chunk| self::id(chunk) == id).unwrap().clone()
    }

    fn pieces(&self, range: ResolvedRange) -> Vec<BodyPiece> {
        let mut start = 0;
        let piece = |chunk: &Bytes| {
            let within = |place: u64| place.saturating_sub(start).min(chunk.len() as u64) as usize;
            let within = within(range.start)..within(range.end);
            start += chunk.len() as u64;
            (!within.is_empty()).then(|| BodyPiece { id: id(chunk), bytes: chunk.len() as u32, within })
        };
        self.0.iter().filter_map(piece).collect()
    }
}

#[async_trait::async_trait]
impl ChunkStore for Body {
    async fn which(&self, ids: Vec<ChunkId>) -> Result<Vec<bool>, EngineError> {
        Ok(vec![true; ids.len()])
    }

    async fn load(&self, wanted: Vec<Wanted>) -> Result<Vec<Bytes>, EngineError> {
        let bytes: usize = wanted.iter().map(|wanted| wanted.max_bytes).sum();
        assert!(bytes < 2 * BLOCK_BYTES, "I5: {bytes} at once");
        Ok(wanted.iter().map(|wanted| self.chunk(wanted.id)).collect())
    }

    fn outline(&self, _hold: SharedHold, _body: &StoredBody, range: ResolvedRange) -> Option<Outline> {
        Some(stream::iter(self.pieces(range).into_iter().map(Ok)).boxed())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is there, and wherever the range cuts chunks.
    #[test]
    fn i1_a_delta_stands_for_the_range_and_is_as_long_as_announced(
        sizes in prop::collection::vec(1..30_000usize, 1..60),
        there in prop::collection::vec(any::<bool>(), 60),
        cuts in any::<[prop::sample::Index; 2]>(),
    ) {
        let body = Arc::new(Body::of(&sizes));
        let whole = body.0.concat();
        let mut ends = cuts.map(|cut| cut.index(whole.len() + 1));
        ends.sort_unstable();
        let range = ResolvedRange { start: ends[0] as u64, end: ends[1] as u64 };
        let (hold, stored): (SharedHold, _) = (Arc::new(()), StoredBody::Inline(Bytes::new()));
        let chunks = Arc::clone(&body) as _;
        let mut delta = Delta { chunks, hold, body: stored, range, there: Vec::new(), bytes: 0 };
        for pieces in body.pieces(range).chunks(7) {
            let asked = pieces.iter().filter(|piece| piece.is_whole()).count();
            let from = delta.there.len();
            delta.add(pieces, there[from..].iter().copied().take(asked).collect());
        }
        let (bytes, outline) = (delta.bytes, delta.outline().unwrap());
        let writing = Writing { delta, outline, written: 0 };
        let written: Vec<Bytes> = block_on(writing.into_stream().try_collect()).unwrap();
        let written = written.concat();
        prop_assert_eq!(written.len() as u64, bytes);

        let (mut decoder, mut found) = (DeltaDecoder::new(range.len()), Vec::new());
        decoder.decode(written.into(), &mut found).unwrap();
        prop_assert_eq!(decoder.finish(), Ok(()));
        let expanded = found.into_iter().map(|piece| match piece {
            DeltaPiece::Literal(bytes) => bytes,
            DeltaPiece::Copy { id, .. } => body.chunk(id),
        });
        prop_assert!(expanded.collect::<Vec<_>>().concat() == whole[ends[0]..ends[1]]);
    }
}
