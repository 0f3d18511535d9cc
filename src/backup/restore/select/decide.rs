//! What has to be written.

use super::chosen::Then;
use crate::remote::{ReplicaHistory, ReplicaStat};

/// Of the versions of a key those that have to be put on top of what is there, the oldest first, so that afterwards all of them are there in
/// their order and the last one is what is read. What an earlier run has put is not put again. `delete`: also what was made since goes below a
/// delete marker; else it stays where nothing but that marker is missing.
pub(super) fn to_write<'a>(versions: &'a [Then], there: &ReplicaHistory, delete: bool) -> &'a [Then] {
    let Some(last) = versions.last() else { return &[] };
    let objects: Vec<ReplicaStat> = versions.iter().filter_map(|then| then.object).collect();
    if contains(&there.objects, &objects) {
        // What was put again since has the same bytes, maybe.
        let has_no_more =
            || there.objects.split_last().is_some_and(|(_, before)| !contains(before, &objects));
        let stays = match last.object {
            Some(object) => !there.is_deleted && there.objects.last() == Some(&object),
            None => there.is_deleted || there.objects.is_empty() || !(delete || has_no_more()),
        };
        return if stays { &[] } else { &versions[versions.len() - 1..] };
    }
    let put = already_on_top(&there.objects, &objects);
    let begin = match put.checked_sub(1) {
        Some(last_put) => {
            let mut places = versions.iter().enumerate().filter(|(_, then)| then.object.is_some());
            places.nth(last_put).map_or(0, |(at, _)| at + 1)
        }
        None => 0,
    };
    let rest = &versions[begin..];
    match rest {
        [marker, behind @ ..] if marker.object.is_none() && there.is_deleted => behind,
        rest => rest,
    }
}

/// In this order, whatever stands in between.
fn contains(all: &[ReplicaStat], some: &[ReplicaStat]) -> bool {
    let mut all = all.iter();
    some.iter().all(|one| all.any(|other| other == one))
}

/// How many of the first ones are the last ones there.
fn already_on_top(there: &[ReplicaStat], objects: &[ReplicaStat]) -> usize {
    let most = there.len().min(objects.len());
    (0..=most).rev().find(|count| there[there.len() - count..] == objects[..*count]).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::to_write;
    use crate::backup::restore::select::chosen::Then;
    use crate::remote::{ReplicaHistory, ReplicaStat};
    use crate::types::ETag;
    use proptest::prelude::{Just, any, prop, prop_assert_eq, prop_oneof, proptest};

    /// `0` is a delete marker.
    fn then(n: u8) -> Then {
        Then { id: None, object: (n > 0).then(|| object(n)) }
    }

    fn object(n: u8) -> ReplicaStat {
        ReplicaStat { bytes: n.into(), etag: Some(ETag::of_body([n; 16])) }
    }

    fn versions(of: &[u8]) -> Vec<Then> {
        of.iter().map(|n| then(*n)).collect()
    }

    fn write(there: &mut ReplicaHistory, version: &Then) {
        match version.object {
            Some(object) => {
                there.objects.push(object);
                there.is_deleted = false;
            }
            None => there.is_deleted = true,
        }
    }

    fn there(of: &[u8]) -> ReplicaHistory {
        let mut there = ReplicaHistory::default();
        versions(of).iter().for_each(|version| write(&mut there, version));
        there
    }

    #[test]
    fn what_is_there_stays_and_what_could_be_read_is_on_top_again() {
        for (then, now, expected) in [
            (&[1][..], &[][..], &[1][..]),
            (&[1], &[1], &[]),
            (&[1], &[2], &[1]),
            (&[1], &[1, 2], &[1]),
            (&[1], &[1, 0], &[1]),
            (&[1, 2], &[1, 2, 3], &[2]),
            (&[1, 2, 3], &[1, 2], &[3]),
            (&[1, 2, 3], &[7, 1], &[2, 3]),
            (&[1, 0], &[1], &[0]),
            (&[1, 0], &[1, 0], &[]),
            (&[1, 0, 2], &[1, 0], &[2]),
            (&[1, 0, 2], &[1], &[0, 2]),
            (&[0], &[], &[]),
            (&[1, 0], &[7], &[1, 0]),
        ] {
            for delete in [false, true] {
                let found = there(now);
                assert_eq!(to_write(&versions(then), &found, delete), versions(expected), "{then:?} {now:?}");
            }
        }
    }

    #[test]
    fn what_was_made_since_is_not_deleted_by_a_marker_alone_unless_that_is_asked_for() {
        for (then, now) in [
            (&[0][..], &[5][..]),
            (&[1, 0], &[1, 5]),
            (&[1, 0], &[1, 1]),
            (&[1, 0], &[1, 0, 5]),
            (&[1, 0, 2, 0], &[1, 2, 5]),
        ] {
            let (wanted, found) = (versions(then), there(now));
            assert_eq!(to_write(&wanted, &found, false), &[], "{then:?} {now:?}");
            assert_eq!(to_write(&wanted, &found, true), versions(&[0]), "{then:?} {now:?}");
        }
    }

    proptest! {
        /// Cut off after any number of writes, and begun again, it does what is left, and nothing twice.
        #[test]
        fn a_run_that_was_cut_off_goes_on(
            then in prop::collection::vec(prop_oneof![Just(0u8), 1..4u8], 1..8),
            now in prop::collection::vec(4..6u8, 0..3),
            cut in any::<prop::sample::Index>(),
            delete in any::<bool>(),
        ) {
            let mut wanted = versions(&then);
            wanted.dedup_by(|then, before| then.object.is_none() && before.object.is_none());
            let mut at_once = there(&now);
            let all = to_write(&wanted, &at_once, delete).to_vec();
            let mut in_two = at_once.clone();
            all.iter().for_each(|version| write(&mut at_once, version));
            all[..cut.index(all.len() + 1)].iter().for_each(|version| write(&mut in_two, version));
            to_write(&wanted, &in_two.clone(), delete).iter().for_each(|version| write(&mut in_two, version));
            prop_assert_eq!(&in_two, &at_once);
            prop_assert_eq!(to_write(&wanted, &at_once, delete), &[]);
        }
    }
}
