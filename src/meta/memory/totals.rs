//! What the model holds in all.

use super::state::State;
use crate::meta::Totals;
use crate::types::Body;

impl State {
    /// Counted afresh each time.
    pub(super) fn totals(&self) -> Totals {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let objects = || self.versions.values().filter_map(|version| version.logged.object.as_ref());
        let parts = || self.uploads.values().flat_map(|upload| upload.parts.values());
        let inline = |body: &Body| if let Body::Inline(bytes) = body { count(bytes.len()) } else { 0 };
        Totals {
            buckets: count(self.buckets.len()),
            versions: count(objects().count()),
            delete_markers: count(self.versions.len() - objects().count()),
            logical_bytes: objects().map(|object| object.size).sum::<u64>()
                + parts().map(|part| part.logged.size).sum::<u64>(),
            uploads: count(self.uploads.len()),
            parts: count(parts().count()),
            manifests: count(self.manifests.len()),
            manifest_bytes: self.manifests.values().map(|counted| counted.value.size()).sum(),
            inline_bytes: objects().map(|object| inline(&object.body)).sum::<u64>()
                + parts().map(|part| inline(&part.logged.body)).sum::<u64>(),
        }
    }
}
