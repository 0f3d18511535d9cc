//! Epochs that nothing can need any more.

use super::super::{Epoch, Timeline};
use std::collections::BTreeSet;

/// The epochs that stay. The newest, by which the next one is numbered; the writer's, and later ones; those of which anything else stays; and
/// whatever leads from one that stays back to one of which anything stays: without it the path would end in between.
pub(super) fn needed(timeline: &Timeline, alive: &BTreeSet<Epoch>, writer: Option<Epoch>) -> BTreeSet<Epoch> {
    let newest = timeline.newest();
    let stays = |epoch: &Epoch| {
        Some(*epoch) == newest || writer.is_some_and(|writer| *epoch >= writer) || alive.contains(epoch)
    };
    let mut needed = BTreeSet::new();
    // Parents first: they are older, and so have lower numbers.
    for epoch in timeline.epochs().filter(stays) {
        needed.insert(epoch);
        let (mut at, mut between) = (epoch, Vec::new());
        while let Some(parent) = timeline.get(at).and_then(|record| record.parent) {
            if needed.contains(&parent) {
                needed.extend(between);
                break;
            }
            between.push(parent);
            at = parent;
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::needed;
    use crate::backup::{Epoch, EpochRecord, StoreId, Timeline};
    use crate::types::{CommitSeq, UnixMillis};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn epoch(number: u32) -> Epoch {
        Epoch::new(number).unwrap()
    }

    fn timeline(parents: &[Option<u32>]) -> Timeline {
        let record = |(number, parent): (u32, &Option<u32>)| EpochRecord {
            epoch: epoch(number),
            parent: parent.map(epoch),
            from_seq: CommitSeq::new(u64::from(number)),
            store_id: StoreId::new([0; 16]),
            tenure: String::new(),
            holder: String::new(),
            started: UnixMillis::new(0),
        };
        Timeline::new((1..).zip(parents).map(record)).unwrap()
    }

    fn left(parents: &[Option<u32>], alive: &[u32]) -> Vec<u32> {
        let alive = alive.iter().copied().map(epoch).collect();
        needed(&timeline(parents), &alive, None).into_iter().map(Epoch::get).collect()
    }

    #[test]
    fn what_leads_to_something_stays_and_what_is_before_it_or_beside_it_goes() {
        // 1 <- 2 <- 3 <- 4 <- 6, and 5 is a branch of 2.
        let line = [None, Some(1), Some(2), Some(3), Some(2), Some(4)];
        assert_eq!(left(&line, &[]), [6]);
        assert_eq!(left(&line, &[3]), [3, 4, 6]);
        assert_eq!(left(&line, &[5]), [5, 6], "each has a root of its own");
        assert_eq!(left(&line, &[1, 5]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            needed(&timeline(&line), &BTreeSet::new(), Some(epoch(4))).len(),
            3,
            "the writer's, and later ones"
        );
    }

    proptest! {
        /// A path to whatever stays is the same as before, from the oldest epoch on of which anything stays.
        #[test]
        fn i1_no_path_is_cut_where_anything_stays(
            drawn in prop::collection::vec(prop::option::weighted(0.9, any::<u32>()), 1..20),
            alive in prop::collection::btree_set(1u32..20, 0..6),
        ) {
            let parents: Vec<_> = (0u32..).zip(&drawn).map(|(before, parent)| {
                parent.filter(|_| before > 0).map(|parent| parent % before + 1)
            }).collect();
            let whole = timeline(&parents);
            let alive: BTreeSet<_> = alive.into_iter().map(epoch).filter(|epoch| whole.get(*epoch).is_some()).collect();
            let kept = needed(&whole, &alive, None);
            let cut = Timeline::new(kept.iter().map(|epoch| whole.get(*epoch).unwrap().clone())).unwrap();
            prop_assert_eq!(cut.newest(), whole.newest());
            for epoch in &kept {
                let (before, after) = (whole.path_to(*epoch).unwrap(), cut.path_to(*epoch).unwrap());
                let first = before.iter().position(|stretch| alive.contains(&stretch.epoch)).unwrap_or(before.len() - 1);
                prop_assert!(after.ends_with(&before[first..]), "{:?} {:?}", before, after);
            }
        }
    }
}
