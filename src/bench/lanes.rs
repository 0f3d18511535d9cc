//! Which objects a worker stores, one after the other, and what each is made of.

use super::content::{Material, Stream};
use super::plan::{Content, Plan};
use std::sync::Arc;

/// A part of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) stream: Stream,
    pub(super) at: u64,
    pub(super) len: u64,
}

/// A body as its pieces; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) pieces: Arc<[Piece]>,
    pub(super) len: u64,
}

impl Recipe {
    fn new(pieces: &[Piece]) -> Self {
        Self { pieces: pieces.into(), len: pieces.iter().map(|piece| piece.len).sum() }
    }

    /// A part of the body.
    pub(super) fn slice(&self, mut from: u64, mut len: u64) -> Self {
        let mut pieces = Vec::new();
        for piece in self.pieces.iter() {
            let skipped = from.min(piece.len);
            let taken = len.min(piece.len - skipped);
            if taken > 0 {
                pieces.push(Piece { at: piece.at + skipped, len: taken, ..*piece });
            }
            (from, len) = (from - skipped, len - taken);
        }
        Self::new(&pieces)
    }

    /// CRC-64/NVME of the body.
    pub(super) fn crc(&self, material: &Material) -> u64 {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        self.each_block(material, |block| digest.update(block));
        digest.finalize()
    }

    pub(super) fn each_block(&self, material: &Material, mut take: impl FnMut(&[u8])) {
        const BLOCK: u64 = 128 << 10;
        let mut buffer = vec![0; BLOCK.min(self.len) as usize];
        for piece in self.pieces.iter() {
            let mut done = 0;
            while done < piece.len {
                let block = &mut buffer[..BLOCK.min(piece.len - done) as usize];
                material.fill(piece.stream, piece.at + done, block);
                take(block);
                done += block.len() as u64;
            }
        }
    }
}

/// The objects of one worker in one phase of a run. The same lane made again makes the same objects.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    prefix: String,
    stream: Stream,
    content: Content,
    size: u64,
    /// How many have been made.
    made: u64,
    /// Of the last object, where each grows out of the one before.
    history: Vec<Piece>,
}

impl Lane {
    /// More pieces are cut anew from one: memory stays bounded, and so does what an edit costs.
    const MAX_PIECES: usize = 8_192;
    /// Of a body's bytes, what an edited version changes.
    const EDITED: u64 = 100;

    /// `phase` is `stored` or `loaded`; `seed` is the run's.
    pub(super) fn new(plan: &Plan, prefix: &str, phase: &str, seed: u64, worker: usize) -> Self {
        let stream = match plan.content {
            // Alike in all lanes of all runs with this seed.
            Content::Duplicate => Stream::new(plan.seed),
            _ => Stream::new(seed)
                .child(phase.len() as u64 ^ u64::from(phase.as_bytes()[0]) << 8)
                .child(worker as u64),
        };
        let prefix = format!("{prefix}/{phase}/{worker:04}");
        Self { prefix, stream, content: plan.content, size: plan.size, made: 0, history: Vec::new() }
    }

    pub(super) fn key(&self, number: u64) -> String {
        format!("{}/{number:010}", self.prefix)
    }

    /// The object after the last one.
    pub(super) fn next(&mut self) -> Recipe {
        let number = self.made;
        self.made += 1;
        let whole = |stream| Recipe::new(&[Piece { stream, at: 0, len: self.size }]);
        match self.content {
            Content::Unique | Content::Text => whole(self.stream.child(number)),
            Content::Duplicate => whole(self.stream),
            Content::Edited => self.edit(number),
        }
    }

    /// Some places are overwritten, some get more bytes, some lose as many: as a backup finds a disk or a dump the
    /// next day.
    fn edit(&mut self, number: u64) -> Recipe {
        const PER_EDIT: u64 = 16 << 10;
        let stream = self.stream.child(number);
        if self.history.is_empty() || self.history.len() > Self::MAX_PIECES {
            self.history = vec![Piece { stream, at: 0, len: self.size }];
            return Recipe::new(&self.history);
        }
        let bytes = (self.size / Self::EDITED).clamp(1, self.size.max(1));
        let edits = bytes.div_ceil(PER_EDIT);
        for edit in 0..edits {
            let fresh = Piece { stream, at: edit * PER_EDIT, len: PER_EDIT.min(bytes).min(self.size) };
            let (place, removed) = (stream.number(3 * edit), stream.number(3 * edit + 1));
            let room = self.size - fresh.len + 1;
            match stream.number(3 * edit + 2) % 2 {
                0 => self.replace(place % room, fresh.len, Some(fresh)),
                _ => {
                    self.replace(removed % room, fresh.len, None);
                    self.replace(place % room, 0, Some(fresh));
                }
            }
        }
        Recipe::new(&self.history)
    }

    /// Replaces `len` bytes at `from`.
    fn replace(&mut self, from: u64, len: u64, fresh: Option<Piece>) {
        let (first, behind) = (self.cut(from), self.cut(from + len));
        self.history.splice(first..behind, fresh.filter(|piece| piece.len > 0));
    }

    /// The number of the piece that begins at the position, which may be the end.
    fn cut(&mut self, mut position: u64) -> usize {
        for (number, piece) in self.history.iter_mut().enumerate() {
            if position == 0 {
                return number;
            }
            if position < piece.len {
                let rest = Piece { at: piece.at + position, len: piece.len - position, ..*piece };
                piece.len = position;
                self.history.insert(number + 1, rest);
                return number + 1;
            }
            position -= piece.len;
        }
        self.history.len()
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::super::plan::{Content, Limit, Operation, Payload, Plan};
    use crate::types::BucketName;
    use std::time::Duration;

    pub(in crate::bench) fn plan(content: Content, size: u64) -> Plan {
        Plan {
            operation: Operation::Put,
            size,
            part_size: 8 << 20,
            objects: 1,
            concurrency: 1,
            limit: Limit::Operations(1),
            rate: None,
            content,
            payload: Payload::Unsigned,
            verify: false,
            keep: false,
            bucket: BucketName::parse("bucket").unwrap(),
            region: "us-east-1".to_owned(),
            seed: 11,
            rounds: 1,
            timeout: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::Material;
    use super::super::plan::Content;
    use super::testing::plan;
    use super::{Lane, Recipe};
    use std::collections::HashSet;

    fn body(material: &Material, recipe: &Recipe) -> Vec<u8> {
        let mut bytes = Vec::new();
        recipe.each_block(material, |block| bytes.extend_from_slice(block));
        bytes
    }

    fn chunks(body: &[u8]) -> Vec<&[u8]> {
        let cut = fastcdc::v2020::FastCDC::new(body, 2048, 4096, 16384);
        cut.map(|chunk| &body[chunk.offset..chunk.offset + chunk.length]).collect()
    }

    #[test]
    fn a_lane_made_again_makes_the_same_objects_and_another_seed_others() {
        for content in [Content::Unique, Content::Text, Content::Duplicate, Content::Edited] {
            let plan = plan(content, 300_000);
            let material = Material::new(content, plan.seed);
            let crcs = |seed, worker| {
                let mut lane = Lane::new(&plan, "p", "loaded", seed, worker);
                (0..5).map(|_| lane.next().crc(&material)).collect::<Vec<_>>()
            };
            assert_eq!(crcs(1, 2), crcs(1, 2), "{content:?}");
            let is_shared = content == Content::Duplicate;
            assert_eq!(crcs(1, 2) == crcs(2, 2), is_shared, "{content:?}: another round");
            assert_eq!(crcs(1, 2) == crcs(1, 3), is_shared, "{content:?}: another worker");
        }
    }

    #[test]
    fn duplicates_are_alike_and_unique_objects_are_not() {
        let distinct = |content| {
            let plan = plan(content, 50_000);
            let material = Material::new(content, plan.seed);
            let mut lane = Lane::new(&plan, "p", "loaded", 1, 0);
            (0..20).map(|_| lane.next().crc(&material)).collect::<HashSet<_>>().len()
        };
        assert_eq!(distinct(Content::Duplicate), 1);
        assert_eq!(distinct(Content::Unique), 20);
    }

    #[test]
    fn an_edited_version_keeps_its_size_and_most_of_its_chunks() {
        let size = 4 << 20;
        let plan = plan(Content::Edited, size);
        let material = Material::new(Content::Edited, plan.seed);
        let mut lane = Lane::new(&plan, "p", "loaded", 1, 0);
        let mut before = body(&material, &lane.next());
        for _ in 0..10 {
            let after = body(&material, &lane.next());
            assert_eq!(after.len() as u64, size);
            let known: HashSet<_> = chunks(&before).into_iter().collect();
            let cut = chunks(&after);
            let fresh: usize =
                cut.iter().filter(|chunk| !known.contains(*chunk)).map(|chunk| chunk.len()).sum();
            assert!(fresh > 0 && fresh < after.len() / 20, "{fresh} new bytes");
            before = after;
        }
    }

    #[test]
    fn tiny_and_empty_bodies_can_be_edited() {
        for size in [0, 1, 7] {
            let plan = plan(Content::Edited, size);
            let mut lane = Lane::new(&plan, "p", "loaded", 1, 0);
            for _ in 0..10 {
                assert_eq!(lane.next().len, size);
            }
        }
    }

    #[test]
    fn a_history_stays_bounded() {
        let plan = plan(Content::Edited, 64 << 20);
        let mut lane = Lane::new(&plan, "p", "loaded", 1, 0);
        for _ in 0..150 {
            assert!(lane.next().pieces.len() <= Lane::MAX_PIECES + 200);
        }
    }

    #[test]
    fn a_slice_of_a_body_is_that_part_of_it() {
        let plan = plan(Content::Edited, 500_000);
        let material = Material::new(Content::Edited, plan.seed);
        let mut lane = Lane::new(&plan, "p", "loaded", 1, 0);
        let recipe = (0..4).map(|_| lane.next()).last().unwrap();
        let whole = body(&material, &recipe);
        let part = body(&material, &recipe.slice(123_456, 250_000));
        assert!(part == whole[123_456..373_456]);
        assert_eq!(recipe.slice(499_000, 5_000).len, 1_000);
    }
}
