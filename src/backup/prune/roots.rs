//! What is named, and so has to stay.

use super::super::retention::{Reason, State, Subject, Verdict};
use super::super::{
    BackupError, Catalogue, Contents, Epoch, Inventory, InventoryRef, LogLevel, ObjectName, Repository,
    RepositoryError, Segment, Snapshot, SnapshotName, Stamp, Stretch,
};
use super::lines::Run;
use crate::types::CommitSeq;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Small objects that are read at the same time.
const READ_AT_ONCE: usize = 8;
/// Inventories may be large.
const INVENTORIES_AT_ONCE: usize = 2;

/// What of a snapshot is held while others are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) subject: Subject,
    base_seq: CommitSeq,
    inventory: InventoryRef,
}

/// The part of `verified/…` that counts here.
#[derive(Deserialize)]
struct Finding {
    state: FoundState,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FoundState {
    Verified,
    Outdated,
    Corrupt,
    #[serde(other)]
    Unknown,
}

/// Reads all snapshots. One that cannot be read could name anything, so that is an error.
pub(super) async fn heads(
    repository: &Arc<Repository>,
    catalogue: &Catalogue,
) -> Result<BTreeMap<SnapshotName, Head>, BackupError> {
    let read = |name| async move {
        let snapshot = Snapshot::get(repository, name).await?;
        let is_judged = catalogue.objects().contains_key(&ObjectName::Verified(name));
        let state = if is_judged { state(repository, name).await? } else { State::Unknown };
        let subject = Subject { name, seq_at: snapshot.seq_at, state };
        Ok((name, Head { subject, base_seq: snapshot.base.seq, inventory: snapshot.inventory }))
    };
    stream::iter(catalogue.snapshots()).map(read).buffered(READ_AT_ONCE).try_collect().await
}

async fn state(repository: &Repository, name: SnapshotName) -> Result<State, BackupError> {
    let found = match repository.read::<Finding>(ObjectName::Verified(name)).await {
        // Nothing is known then. It is written anew when its snapshot is looked at.
        Err(RepositoryError::Untrusted { .. }) => None,
        found => found?,
    };
    Ok(match found.map(|(finding, _)| finding.state) {
        Some(FoundState::Verified) => State::Verified,
        Some(FoundState::Outdated) => State::Outdated,
        Some(FoundState::Corrupt) => State::Corrupt,
        Some(FoundState::Unknown) | None => State::Unknown,
    })
}

/// Names of objects, and the length of each that must be there.
#[derive(Debug, Default)]
pub(super) struct Named(pub(super) BTreeMap<ObjectName, Option<u64>>);

impl Named {
    fn must_have(&mut self, objects: impl Iterator<Item = (ObjectName, Stamp)>) {
        self.0.extend(objects.map(|(name, stamp)| (name, Some(stamp.bytes))));
    }

    fn may_have(&mut self, objects: impl Iterator<Item = ObjectName>) {
        for name in objects {
            self.0.entry(name).or_insert(None);
        }
    }

    fn add(&mut self, objects: impl Iterator<Item = (ObjectName, Stamp)>, state: State) {
        if state == State::Corrupt {
            // That something of it is missing is known.
            self.may_have(objects.map(|(name, _)| name));
        } else {
            self.must_have(objects);
        }
    }
}

/// What reads the roots.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) repository: &'a Arc<Repository>,
    pub(super) catalogue: &'a Catalogue,
    pub(super) heads: &'a BTreeMap<SnapshotName, Head>,
    pub(super) named: Named,
}

impl Reader<'_> {
    /// What the snapshots that stay name.
    pub(super) async fn snapshots(&mut self, verdicts: &[Verdict]) -> Result<(), BackupError> {
        let (repository, heads) = (self.repository, self.heads);
        let kept = verdicts
            .iter()
            .filter(|verdict| verdict.is_kept())
            .filter_map(|verdict| heads.get(&verdict.name));
        let read = |head: Head| async move {
            let snapshot = Snapshot::get(repository, head.subject.name).await?;
            let listed = snapshot.inventory;
            let inventory = Inventory::get(repository, listed.epoch, listed.number, Some(listed.stamp)).await;
            let contents = match (inventory, head.subject.state) {
                (Ok(inventory), _) => inventory.contents,
                (Err(error), State::Corrupt) if error.class().is_none() => Contents::default(),
                (Err(error), _) => return Err(error),
            };
            Ok::<_, BackupError>((head, snapshot, contents))
        };
        let kept: Vec<Head> = kept.copied().collect();
        let mut reads = stream::iter(kept).map(read).buffered(INVENTORIES_AT_ONCE);
        while let Some((head, snapshot, contents)) = reads.try_next().await? {
            let name = head.subject.name;
            self.named.may_have([ObjectName::Snapshot(name), ObjectName::Verified(name)].into_iter());
            self.named.add(snapshot.objects().chain(contents.objects()), head.subject.state);
        }
        Ok(())
    }

    /// What the log of a run names, behind its first snapshot that points of the window are restored from.
    pub(super) async fn log(&mut self, run: &Run, verdicts: &[Verdict]) -> Result<(), BackupError> {
        let begins = |verdict: &&Verdict| {
            let does = |reason: &Reason| matches!(reason, Reason::WindowBegin | Reason::Newest);
            verdict.reasons.iter().any(does) && run.snapshots.contains(&verdict.name)
        };
        let first = verdicts.iter().filter(begins).map(|verdict| verdict.name.seq).min();
        let begin = run.path.first().map_or(CommitSeq::ZERO, |stretch| stretch.after);
        let chain = run.chain(self.catalogue, first.unwrap_or(begin));
        let repository = self.repository;
        let read =
            |name| async move { Ok::<_, BackupError>((name, Segment::get(repository, name, None).await?)) };
        let mut segments = stream::iter(chain.links).map(|link| read(link.name)).buffered(READ_AT_ONCE);
        while let Some((name, segment)) = segments.try_next().await? {
            self.named.may_have([name].into_iter());
            self.named.must_have(segment.contents.objects());
        }
        Ok(())
    }

    /// Inventories of a path that no snapshot stands behind, and what they name.
    pub(super) async fn loose(&mut self, path: &[Stretch]) -> Result<(), BackupError> {
        let newest = self.newest_on(path).map(|head| (head.inventory.epoch, head.inventory.number));
        let is_loose = |name: &ObjectName| match name {
            ObjectName::Inventory { epoch, number } => {
                path.iter().any(|stretch| stretch.epoch == *epoch)
                    && newest.is_none_or(|newest| (*epoch, *number) > newest)
            }
            _ => false,
        };
        let names: Vec<_> = self.catalogue.objects().keys().filter(|name| is_loose(name)).copied().collect();
        for name in names {
            let ObjectName::Inventory { epoch, number } = name else { continue };
            let inventory = Inventory::get(self.repository, epoch, number, None).await?;
            self.named.may_have(inventory.contents.objects().map(|(name, _)| name).chain([name]));
        }
        Ok(())
    }

    /// What the writer of an epoch has in mind for its next manifest: the image that its newest snapshot has, or one that it is making; the
    /// log behind that, merged or not yet.
    pub(super) fn in_mind(&mut self, path: &[Stretch], writer: Epoch) {
        let newest = self.newest_on(path).copied();
        let (seq, base_seq) =
            newest.map_or((CommitSeq::ZERO, CommitSeq::ZERO), |head| (head.subject.name.seq, head.base_seq));
        let is_on = |epoch: Epoch| epoch == writer || path.iter().any(|stretch| stretch.epoch == epoch);
        let may_name = |name: &ObjectName| match name {
            ObjectName::Log { epoch, level: LogLevel::Live, last, .. } => is_on(*epoch) && *last > seq,
            ObjectName::Log { epoch, last, .. } => is_on(*epoch) && *last > base_seq,
            ObjectName::Base { epoch, seq: at, .. } => *epoch == writer && *at >= seq,
            _ => false,
        };
        let names: Vec<_> = self.catalogue.objects().keys().filter(|name| may_name(name)).copied().collect();
        self.named.may_have(names.into_iter());
    }

    fn newest_on(&self, path: &[Stretch]) -> Option<&Head> {
        self.catalogue.snapshots_on(path).last().and_then(|name| self.heads.get(name))
    }
}
