//! What others write meanwhile stays.

use super::run::Work;
use super::{ChangeKind, SelectError, SelectedChange};
use crate::remote::{Class, OnlyOver, RemoteError, ReplicaStat};
use std::sync::atomic::Ordering;

impl Work {
    /// What a change was decided upon. Of several versions only the first would find that.
    fn only_over(&self, change: &SelectedChange) -> OnlyOver {
        if self.selection.all_versions || self.is_unconditional.load(Ordering::Relaxed) {
            return OnlyOver::Anything;
        }
        match (change.kind, change.now) {
            (ChangeKind::Create, None) => OnlyOver::Nothing,
            (ChangeKind::Replace | ChangeKind::Delete, Some(ReplicaStat { etag: Some(etag), .. })) => {
                OnlyOver::This(etag)
            }
            _ => OnlyOver::Anything,
        }
    }

    /// Does a change, unless somebody else has written there since it was listed. Says whether it is done.
    pub(super) async fn guarded(
        &self,
        at: &str,
        change: &SelectedChange,
        work: impl AsyncFn(OnlyOver) -> Result<(), SelectError>,
    ) -> Result<bool, SelectError> {
        let only = self.only_over(change);
        let error = match work(only).await {
            Err(SelectError::Target(error)) if only != OnlyOver::Anything => error,
            ended => return ended.map(|()| true),
        };
        match error.class {
            Class::Unsupported => {
                work(OnlyOver::Anything).await?;
                self.is_unconditional.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Class::Conflict | Class::Gone => self.look_again(at, change, error).await,
            _ => Err(error.into()),
        }
    }

    /// The one who wrote may have been this run, whose answer was lost.
    async fn look_again(
        &self,
        at: &str,
        change: &SelectedChange,
        error: RemoteError,
    ) -> Result<bool, SelectError> {
        let there = self.patiently(async || Ok(self.parts.sink.list(at, None).await?)).await?;
        let now = there.objects.into_iter().find(|(key, _)| key == at).map(|(_, stat)| stat);
        if now == change.then {
            return Ok(true);
        }
        // What is gone is then an upload, or more.
        if error.class == Class::Gone && now == change.now {
            return Err(error.into());
        }
        Ok(false)
    }
}
