//! What all snapshots share: how the epochs follow one another, and who writes.

use super::ObjectFault;
use crate::backup::{BackupError, Catalogue, EpochRecord, ObjectName, Repository, Timeline};
use std::collections::BTreeSet;

/// The bucket as it is listed, with the epochs that are believed, and what is wrong with the others: no reader goes on without them.
pub(super) async fn listed(repository: &Repository) -> Result<(Catalogue, Vec<ObjectFault>), BackupError> {
    let listed = Catalogue::list(repository).await?;
    let (mut records, mut faults) = (Vec::new(), Vec::new());
    for name in listed.objects().keys().filter(|name| matches!(name, ObjectName::Epoch(_))) {
        match repository.read::<EpochRecord>(*name).await {
            Ok(Some((record, _))) if ObjectName::Epoch(record.epoch) == *name => records.push(record),
            Ok(Some(_)) => faults.push(ObjectFault::new(*name, "it is of another epoch than its name says")),
            Ok(None) => faults.push(ObjectFault::new(*name, "it is not in the bucket")),
            Err(error) => faults.push(ObjectFault::of(error.into())?),
        }
    }
    for record in &records {
        let name = ObjectName::Epoch(record.epoch);
        if record.store_id != repository.description().store_id {
            faults.push(ObjectFault::new(name, "it is of another store"));
        }
    }
    let timeline = match Timeline::new(records) {
        Ok(timeline) => timeline,
        Err(error) => {
            faults.push(ObjectFault { object: ObjectName::EPOCHS.to_owned(), why: error.to_string() });
            Timeline::default()
        }
    };
    Ok((listed.along(timeline), faults))
}

/// Epochs that snapshots or logs are of, that are newer than all records of epochs: without theirs nobody finds them. Records of older ones are pruned.
pub(super) async fn without_epoch(
    repository: &Repository,
    catalogue: &Catalogue,
) -> Result<Vec<ObjectFault>, BackupError> {
    let newest = catalogue.timeline().newest();
    let named = catalogue.objects().keys().filter_map(|name| match name {
        ObjectName::Snapshot(snapshot) => Some(snapshot.epoch),
        ObjectName::Log { epoch, .. } => Some(*epoch),
        _ => None,
    });
    let newer: BTreeSet<_> = named.filter(|epoch| Some(*epoch) > newest).collect();
    let mut faults = Vec::new();
    for name in newer.into_iter().map(ObjectName::Epoch) {
        // One that began while the bucket was listed is there; one that is not believed is told already.
        if repository.remote().head(&name.key()).await?.is_none() {
            faults.push(ObjectFault::new(name, "it is not in the bucket, and snapshots or logs are of it"));
        }
    }
    Ok(faults)
}

/// The lease is for writers: nobody who restores looks at it.
pub(super) async fn lease(repository: &Repository) -> Result<Option<ObjectFault>, BackupError> {
    match repository.read::<serde_json::Value>(ObjectName::Lease).await {
        Ok(_) => Ok(None),
        Err(error) => Ok(Some(ObjectFault::of(error.into())?)),
    }
}

/// Snapshots that were looked at once, and whose manifests are not there any more. A prune deletes both.
pub(super) fn vanished(catalogue: &Catalogue) -> Vec<ObjectFault> {
    let looked_at = catalogue.objects().keys().filter_map(|name| match name {
        ObjectName::Verified(snapshot) => Some(ObjectName::Snapshot(*snapshot)),
        _ => None,
    });
    let gone = looked_at.filter(|name| !catalogue.objects().contains_key(name));
    let why = "it was verified once, and is not in the bucket; if a prune was cut off, the next one ends it";
    gone.map(|name| ObjectFault::new(name, why)).collect()
}
