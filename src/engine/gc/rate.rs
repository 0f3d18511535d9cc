//! How long to rest so that work stays below a share of the time, and gives space back bit by bit.

use std::ops::Range;
use std::time::Duration;

/// The rest after a step that took so long. A step that hung, on a device or a lock, is no reason to stand still.
pub(in crate::engine) fn rest(worked: Duration) -> Duration {
    const LONGEST: Duration = Duration::from_secs(1);
    worked.min(LONGEST)
}

/// So many bytes are given back to the file system at once.
pub(super) const FREED_AT_ONCE: u64 = 4 << 20;
/// The rest after that. The next sync of any file may wait until the file system has noted, and the device dropped, what
/// was given back.
pub(super) const FREEING_PAUSE: Duration = Duration::from_millis(10);

/// A hole in pieces that end at whole steps, and so at whole blocks.
pub(super) fn pieces(hole: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let first = hole.start / FREED_AT_ONCE;
    let piece = move |step: u64| {
        let start = (step * FREED_AT_ONCE).max(hole.start);
        (start < hole.end).then(|| start..((step + 1) * FREED_AT_ONCE).min(hole.end))
    };
    (first..).map_while(piece)
}

#[cfg(test)]
mod tests {
    use super::{FREED_AT_ONCE, pieces, rest};
    use std::time::Duration;

    #[test]
    fn a_hole_is_given_back_in_pieces_that_are_the_hole() {
        let step = FREED_AT_ONCE;
        let all = |hole| pieces(hole).collect::<Vec<_>>();
        assert!(all(100..200).into_iter().eq(std::iter::once(100..200)));
        assert_eq!(all(5..2 * step + 7), [5..step, step..2 * step, 2 * step..2 * step + 7]);
        assert!(all(step..2 * step).into_iter().eq(std::iter::once(step..2 * step)));
        assert!(all(9..9).is_empty());
    }

    #[test]
    fn half_of_the_time_is_rest_unless_a_step_hung() {
        assert_eq!(rest(Duration::from_millis(7)), Duration::from_millis(7));
        assert_eq!(rest(Duration::from_secs(3600)), Duration::from_secs(1));
    }
}
