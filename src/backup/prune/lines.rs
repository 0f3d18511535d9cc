//! Lines of history, and how far each can be followed.

use super::super::{BackupError, Catalogue, Chain, Epoch, ObjectName, SnapshotName, Stretch};
use crate::types::{CommitSeq, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};

/// Snapshots of one path that the log joins without a gap.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) path: Vec<Stretch>,
    /// By what they hold, oldest first.
    pub(super) snapshots: Vec<SnapshotName>,
    /// Nothing newer can be restored.
    pub(super) is_current: bool,
    /// When anything of it was written last, by the remote's clock.
    touched: UnixMillis,
}

impl Run {
    /// The log behind a record, as far as it goes.
    pub(super) fn chain(&self, catalogue: &Catalogue, after: CommitSeq) -> Chain {
        catalogue.chain(&self.path, after)
    }
}

/// What an epoch has written.
#[derive(Debug, Clone, Copy)]
struct Written {
    last: CommitSeq,
    touched: UnixMillis,
}

/// The runs that points behind `begin` lie on, and the newest one in any case: as long as an epoch that began anew has no snapshot, the one
/// before it too. Of epochs that were simply gone on with there is none of their own.
pub(super) fn runs(catalogue: &Catalogue, begin: UnixMillis) -> Result<Vec<Run>, BackupError> {
    let written = written(catalogue);
    let (mut runs, mut covered, mut has_current) = (Vec::new(), BTreeSet::new(), false);
    for epoch in epochs(catalogue).into_iter().rev() {
        let is_touched = written.get(&epoch).is_some_and(|found| found.touched >= begin);
        if covered.contains(&epoch) || (has_current && !is_touched) {
            continue;
        }
        let path = catalogue.timeline().path_to(epoch)?;
        for stretch in &path {
            let wrote = written.get(&stretch.epoch).map_or(CommitSeq::ZERO, |found| found.last);
            if stretch.up_to.is_none_or(|end| wrote <= end) {
                covered.insert(stretch.epoch);
            }
        }
        let mut found = split(catalogue, &path);
        if let Some(last) = found.last_mut() {
            last.is_current = !has_current;
            has_current |= !last.snapshots.is_empty();
        }
        found.retain(|run| run.is_current || run.touched >= begin);
        runs.extend(found);
    }
    Ok(runs)
}

fn epochs(catalogue: &Catalogue) -> Vec<Epoch> {
    let epoch = |name: &ObjectName| if let ObjectName::Epoch(epoch) = name { Some(*epoch) } else { None };
    let named = catalogue.objects().keys().filter_map(epoch);
    named.filter(|epoch| catalogue.timeline().get(*epoch).is_some()).collect()
}

fn written(catalogue: &Catalogue) -> BTreeMap<Epoch, Written> {
    let mut written = BTreeMap::new();
    for (name, found) in catalogue.objects() {
        let (epoch, last) = match name {
            ObjectName::Log { epoch, last, .. } => (*epoch, *last),
            ObjectName::Snapshot(name) => (name.epoch, name.seq),
            _ => continue,
        };
        let nothing = Written { last: CommitSeq::ZERO, touched: UnixMillis::new(i64::MIN) };
        let sum = written.entry(epoch).or_insert(nothing);
        (sum.last, sum.touched) = (sum.last.max(last), sum.touched.max(found.modified));
    }
    written
}

/// A path, cut where the log has a gap between two snapshots. Without any it is one run, of all of its log.
fn split(catalogue: &Catalogue, path: &[Stretch]) -> Vec<Run> {
    let snapshots = catalogue.snapshots_on(path);
    let begin = path.first().map_or(CommitSeq::ZERO, |stretch| stretch.after);
    let mut runs = Vec::new();
    let mut rest = snapshots.as_slice();
    while runs.is_empty() || !rest.is_empty() {
        let chain = catalogue.chain(path, rest.first().map_or(begin, |first| first.seq));
        let joined = rest.iter().take_while(|name| name.seq <= chain.reaches).count();
        let (snapshots, further) = rest.split_at(joined);
        let objects = snapshots.iter().map(|name| ObjectName::Snapshot(*name));
        let names = objects.chain(chain.links.iter().map(|link| link.name));
        let touched =
            names.filter_map(|name| catalogue.objects().get(&name)).map(|found| found.modified).max();
        runs.push(Run {
            path: path.to_vec(),
            snapshots: snapshots.to_vec(),
            is_current: false,
            touched: touched.unwrap_or(UnixMillis::new(i64::MIN)),
        });
        rest = further;
    }
    runs
}
