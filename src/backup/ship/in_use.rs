//! What a prune beside this writer has to leave alone.

use super::Shipper;
use crate::backup::prune::{InUse, Local};
use crate::backup::{BackupError, ObjectName, Source};
use async_trait::async_trait;
use std::collections::HashSet;
use std::sync::Arc;

/// The store; and what its writer has in the bucket, and may come to name though the store has it no more: as of when it was asked for.
#[derive(Debug)]
struct InHand {
    source: Source,
    objects: HashSet<ObjectName>,
}

#[async_trait]
impl Local for InHand {
    async fn in_use(&self) -> Result<InUse, BackupError> {
        Ok(InUse { objects: self.objects.clone(), ..self.source.in_use().await? })
    }
}

impl Shipper {
    /// For a prune that ends before anything else is shipped, or leaves alone what is younger than its listing.
    #[must_use]
    pub fn local(&self) -> Arc<dyn Local> {
        let (held, source) = (self.held.contents(), self.source.clone());
        let objects = held.objects().chain(self.fresh.objects()).map(|(name, _)| name).collect();
        Arc::new(InHand { source, objects })
    }
}
