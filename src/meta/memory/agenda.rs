//! The model's agenda: which keys lifecycle has to look at, and when.

use crate::meta::{AgendaChange, ScanPosition};
use crate::types::{BucketId, CommitSeq, UnixMillis};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
pub(super) struct Agenda {
    pub keys: BTreeMap<(BucketId, Vec<u8>), (UnixMillis, CommitSeq)>,
    pub scans: BTreeMap<BucketId, ScanPosition>,
}

impl Agenda {
    pub(super) fn apply(&mut self, change: AgendaChange) {
        match change {
            AgendaChange::Touch { bucket, key, at, touched } => {
                let entry = self.keys.entry((bucket, key.as_bytes().to_vec())).or_insert((at, touched));
                *entry = (entry.0.min(at), entry.1.max(touched));
            }
            AgendaChange::Settle { bucket, key, touched, next } => {
                let place = (bucket, key.as_bytes().to_vec());
                if self.keys.get(&place).is_none_or(|(_, last)| *last != touched) {
                    return;
                }
                match next {
                    Some(at) => self.keys.insert(place, (at, touched)),
                    None => self.keys.remove(&place),
                };
            }
            AgendaChange::Scan { bucket, position: Some(position) } => {
                self.scans.insert(bucket, position);
            }
            AgendaChange::Scan { bucket, position: None } => {
                self.scans.remove(&bucket);
            }
        }
    }
}
