use super::{Catalogue, Found};
use crate::backup::{Epoch, LogLevel, ObjectName, Stretch};
use crate::types::{CommitSeq, UnixMillis};
use proptest::prelude::*;

fn seq(n: u64) -> CommitSeq {
    CommitSeq::new(n)
}

fn epoch(n: u32) -> Epoch {
    Epoch::new(n).unwrap()
}

fn catalogue(segments: &[(u32, LogLevel, u64, u64)]) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for (of, level, first, last) in segments {
        let name = ObjectName::Log { epoch: epoch(*of), level: *level, first: seq(*first), last: seq(*last) };
        catalogue.objects.insert(name, Found { bytes: 1, modified: UnixMillis::new(0) });
    }
    catalogue
}

fn stretch(of: u32, after: u64, up_to: Option<u64>) -> Stretch {
    Stretch { epoch: epoch(of), after: seq(after), up_to: up_to.map(seq) }
}

/// Which records a chain has, and of which epoch each is.
fn records(catalogue: &Catalogue, path: &[Stretch], after: u64) -> (Vec<(u32, u64)>, bool) {
    let chain = catalogue.chain(path, seq(after));
    let mut records = Vec::new();
    for link in &chain.links {
        let ObjectName::Log { epoch, .. } = link.name else { panic!() };
        assert!(link.first <= link.after.next() && link.up_to <= link.last && link.after < link.up_to);
        records.extend((link.after.get() + 1..=link.up_to.get()).map(|seq| (epoch.get(), seq)));
    }
    assert_eq!(records.last().map_or(after, |(_, seq)| *seq), chain.reaches.get());
    (records, chain.is_broken)
}

#[test]
fn the_longest_segment_that_goes_on_is_taken() {
    use LogLevel::{Hour, Live};
    let found = catalogue(&[(1, Live, 1, 2), (1, Live, 3, 4), (1, Hour, 1, 4), (1, Live, 5, 5)]);
    let chain = found.chain(&[stretch(1, 0, None)], seq(0));
    assert_eq!(chain.links.len(), 2, "the merged one, and what came later");
    assert_eq!((chain.reaches, chain.is_broken), (seq(5), false));
    assert_eq!(found.chain(&[stretch(1, 0, None)], seq(3)).links.len(), 2, "from the middle of one");
}

#[test]
fn a_gap_ends_it_and_is_told() {
    use LogLevel::Live;
    let found = catalogue(&[(1, Live, 1, 2), (1, Live, 4, 9)]);
    assert_eq!(records(&found, &[stretch(1, 0, None)], 0), (vec![(1, 1), (1, 2)], true));
    assert_eq!(records(&found, &[stretch(1, 0, None)], 3).0.len(), 6);
    // An epoch that begins anew further on.
    let found = catalogue(&[(1, Live, 1, 2), (2, Live, 6, 9)]);
    assert!(records(&found, &[stretch(1, 0, Some(5)), stretch(2, 5, None)], 0).1);
    assert_eq!(records(&found, &[stretch(2, 5, None)], 0), (vec![], true));
}

#[test]
fn a_branch_leaves_out_what_its_parent_wrote_behind_it() {
    use LogLevel::Live;
    let found = catalogue(&[(1, Live, 1, 9), (2, Live, 6, 7), (3, Live, 5, 8)]);
    let path = [stretch(1, 0, Some(4)), stretch(3, 4, None)];
    let wanted: Vec<_> = (1..=4).map(|seq| (1, seq)).chain((5..=8).map(|seq| (3, seq))).collect();
    assert_eq!(records(&found, &path, 0), (wanted, false));
}

proptest! {
    /// Of whatever is there a chain has each record once, in order, of the epoch that it is true in.
    #[test]
    fn i1_a_chain_has_every_record_once(
        cuts in prop::collection::vec((1u32..4, 0u64..30, 1u64..9), 0..40),
        branches in (0u64..20, 0u64..20),
        after in 0u64..25,
    ) {
        let segments: Vec<_> =
            cuts.iter().map(|(of, first, len)| (*of, LogLevel::Live, first + 1, first + len)).collect();
        let found = catalogue(&segments);
        let (one, two) = (branches.0.min(branches.1), branches.0.max(branches.1));
        let path = [stretch(1, 0, Some(one)), stretch(2, one, Some(two)), stretch(3, two, None)];
        let (records, is_broken) = records(&found, &path, after);
        let there = |epoch: u32, seq: u64| {
            segments.iter().any(|(of, _, first, last)| *of == epoch && *first <= seq && seq <= *last)
        };
        let of = |seq: u64| if seq <= one { 1 } else if seq <= two { 2 } else { 3 };
        let mut wanted = Vec::new();
        let mut seq = after + 1;
        while there(of(seq), seq) {
            wanted.push((of(seq), seq));
            seq += 1;
        }
        prop_assert_eq!(&records, &wanted);
        let more = segments.iter().any(|(of, _, _, last)| *of == 3 && *last >= seq);
        prop_assert_eq!(is_broken, more || seq <= two);
    }
}
