//! Transitions of lifecycle rules: which storage class an object is to have, and from when on.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html>

use super::{LifecycleDay, LifecycleFilter, UnixMillis};
use serde::{Deserialize, Serialize};

/// Where rules may move objects to. An object moves down this list only.
pub const TRANSITION_CLASSES: [&str; 6] =
    [STANDARD_IA, INTELLIGENT, ONEZONE_IA, GLACIER_IR, GLACIER, DEEP_ARCHIVE];
/// Smaller objects stay where they are, unless their bucket or a size in the rule's filter says otherwise.
pub const MIN_TRANSITION_BYTES: u64 = 128 << 10;

const STANDARD_IA: &str = "STANDARD_IA";
const INTELLIGENT: &str = "INTELLIGENT_TIERING";
const ONEZONE_IA: &str = "ONEZONE_IA";
const GLACIER_IR: &str = "GLACIER_IR";
const GLACIER: &str = "GLACIER";
const DEEP_ARCHIVE: &str = "DEEP_ARCHIVE";
/// The classes that everything can be moved from.
const TOP: [&str; 2] = ["STANDARD", "REDUCED_REDUNDANCY"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    #[serde(default)]
    pub days: Option<u32>,
    #[serde(default)]
    pub date: Option<UnixMillis>,
    pub storage_class: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentTransition {
    pub days: u32,
    #[serde(default)]
    pub newer_versions: Option<u32>,
    pub storage_class: String,
}

/// What happens to objects below [`MIN_TRANSITION_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SmallObjects {
    #[default]
    Stay,
    /// They are moved to archives, and to nothing else.
    Archived,
}

impl Transition {
    /// When an object is due that was written at `modified`.
    #[must_use]
    pub fn due(&self, modified: UnixMillis, day: LifecycleDay) -> Option<UnixMillis> {
        self.date.or_else(|| Some(day.after(modified, self.days?)))
    }
}

impl SmallObjects {
    /// Whether an object of so many bytes may be moved by a rule with that filter.
    #[must_use]
    pub fn may_move(self, size: u64, filter: &LifecycleFilter, class: &str) -> bool {
        size >= MIN_TRANSITION_BYTES
            || filter.larger_than.is_some()
            || filter.smaller_than.is_some()
            || (self == Self::Archived && [GLACIER, DEEP_ARCHIVE].contains(&class))
    }
}

/// Whether an object of the one class (`None`: it names none) can be moved to the other.
#[must_use]
pub fn is_transition(from: Option<&str>, to: &str) -> bool {
    let rank = |class| TRANSITION_CLASSES.iter().position(|other| *other == class);
    let from = from.unwrap_or(TOP[0]);
    match (rank(from), rank(to)) {
        (None, Some(_)) => TOP.contains(&from),
        (Some(above), Some(below)) => above < below && (from, to) != (ONEZONE_IA, GLACIER_IR),
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{MIN_TRANSITION_BYTES, SmallObjects, is_transition};
    use crate::types::LifecycleFilter;

    #[test]
    fn objects_move_to_colder_classes_only() {
        assert!(is_transition(None, "STANDARD_IA"));
        assert!(is_transition(Some("STANDARD"), "DEEP_ARCHIVE"));
        assert!(is_transition(Some("GLACIER_IR"), "GLACIER"));
        for (from, to) in [
            (None, "STANDARD"),
            (Some("GLACIER"), "STANDARD_IA"),
            (Some("GLACIER"), "GLACIER"),
            (Some("ONEZONE_IA"), "GLACIER_IR"),
            (Some("SNOW"), "GLACIER"),
        ] {
            assert!(!is_transition(from, to), "{from:?} to {to}");
        }
    }

    #[test]
    fn small_objects_stay_unless_somebody_says_otherwise() {
        let (any, few) = (LifecycleFilter::default(), MIN_TRANSITION_BYTES - 1);
        let sized = LifecycleFilter { smaller_than: Some(u64::MAX), ..LifecycleFilter::default() };
        assert!(SmallObjects::Stay.may_move(MIN_TRANSITION_BYTES, &any, "STANDARD_IA"));
        assert!(!SmallObjects::Stay.may_move(few, &any, "GLACIER"));
        assert!(SmallObjects::Archived.may_move(few, &any, "GLACIER"));
        assert!(!SmallObjects::Archived.may_move(few, &any, "STANDARD_IA"));
        assert!(SmallObjects::Stay.may_move(few, &sized, "STANDARD_IA"));
    }
}
