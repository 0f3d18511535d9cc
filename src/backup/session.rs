//! A writer's time with a repository: the lease it holds, and the epoch that it writes.

use super::{Attempt, BackupError, Candidate, Epoch, EpochRecord, Holder, Lease, LeaseError, Repository};
use crate::remote::Class;
use crate::types::CommitSeq;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Whoever has one may write below its epoch, as long as [`Self::check`] says so.
#[derive(Debug)]
pub struct Session {
    repository: Arc<Repository>,
    epoch: Epoch,
    renew_every: Duration,
    lease: Mutex<Option<Box<Lease>>>,
}

/// How asking for the lease ended.
#[derive(Debug)]
pub enum Asked {
    Open(Arc<Session>),
    Held(Holder),
}

impl Session {
    /// Asks once.
    ///
    /// # Errors
    /// When it cannot be told who has the lease.
    pub async fn ask(repository: &Arc<Repository>, candidate: &mut Candidate) -> Result<Asked, BackupError> {
        Ok(match candidate.attempt().await? {
            Attempt::Held(holder) => Asked::Held(holder),
            Attempt::Taken(lease) => Asked::Open(Arc::new(Self {
                repository: Arc::clone(repository),
                epoch: lease.epoch(),
                renew_every: lease.renew_every(),
                lease: Mutex::new(Some(lease)),
            })),
        })
    }

    #[must_use]
    pub const fn repository(&self) -> &Arc<Repository> {
        &self.repository
    }

    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Before each write or delete.
    ///
    /// # Errors
    /// When the lease is lost, or was not renewed for too long.
    pub async fn check(&self) -> Result<(), BackupError> {
        match &*self.lease.lock().await {
            Some(lease) => Ok(lease.check().map(drop)?),
            None => Err(LeaseError::Stale.into()),
        }
    }

    /// Begins the epoch.
    ///
    /// # Errors
    /// When the lease is lost, or the remote fails.
    pub async fn begin(
        &self,
        parent: Option<Epoch>,
        from_seq: CommitSeq,
    ) -> Result<EpochRecord, BackupError> {
        match &*self.lease.lock().await {
            Some(lease) => Ok(lease.begin_epoch(parent, from_seq).await?),
            None => Err(LeaseError::Stale.into()),
        }
    }

    /// Does what would do harm if it came late: nobody takes the lease over at once while it is under way, or afterwards if
    /// something of it was not answered.
    ///
    /// # Errors
    /// Of the work; when the lease is lost or could not be renewed.
    pub async fn lingering<T>(
        &self,
        work: impl Future<Output = Result<T, BackupError>>,
    ) -> Result<T, BackupError> {
        {
            let mut lease = self.lease.lock().await;
            let Some(lease) = lease.as_mut() else { return Err(LeaseError::Stale.into()) };
            let lingers = lease.linger().await;
            if let Err(error) = lingers.and_then(|()| lease.check().map(drop)) {
                lease.settle(true).await;
                return Err(error.into());
            }
        }
        let before = self.repository.unanswered();
        let done = work.await;
        // An attempt that was made again with success may still be on its way itself.
        let all_answered = self.repository.unanswered() == before;
        let is_unanswered = |error: &BackupError| error.class().is_some_and(Class::may_have_worked);
        if let Some(lease) = self.lease.lock().await.as_mut() {
            lease.settle(all_answered && !done.as_ref().is_err_and(is_unanswered)).await;
        }
        done
    }

    /// Renews the lease until it is lost, or the token is cancelled; then it is given back.
    pub async fn keep(&self, stop: CancellationToken) -> Result<(), BackupError> {
        while stop.run_until_cancelled(tokio::time::sleep(self.renew_every)).await.is_some() {
            let mut lease = self.lease.lock().await;
            let Some(held) = lease.as_mut() else { return Ok(()) };
            match held.renew().await {
                Err(error @ LeaseError::Lost(_)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, "the lease on the backup repository could not be renewed; it is tried again");
                }
                Ok(()) => held.quieten().await,
            }
        }
        self.release().await;
        Ok(())
    }

    /// Gives the lease back, so that the next one need not wait. What fails here runs out by itself.
    pub async fn release(&self) {
        let Some(lease) = self.lease.lock().await.take() else { return };
        if let Err(error) = lease.release().await {
            tracing::debug!(%error, "the lease on the backup repository could not be given back");
        }
    }
}
