//! Who writes a repository: one at a time, decided by conditional writes.
//!
//! Each taking of the lease has an epoch of its own, higher than all before, since the object that says the epoch is replaced under the
//! condition that it is still the one that was read. That alone makes it safe: a writer that lost the lease and does not know it writes
//! below an epoch that is no longer the newest. Time only says when it is polite to take over, and when to stop for one's
//! own sake; it is measured by each one's own steady clock or by the remote's, so clocks may differ as they like. Nobody waits for what
//! the last process of his own data directory has written ([`Claim`]), unless that one was about to do what must not come late.

use super::{Claim, Epoch, EpochRecord, ObjectName, ProbeError, Repository, RepositoryError, probe};
use crate::remote::{Class, PutOptions, RemoteError, Stat, Tag};
use crate::sys::{Clock, Random, Steady};
use crate::types::{CommitSeq, UnixMillis};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Attempts whose fate is not known that are kept in mind; older ones lost their turn long ago.
pub(super) const MAX_TRIED: usize = 16;
/// How much the remote's own clock may be off: it is in whole seconds, and a cluster has several.
const REMOTE_CLOCK_MARGIN: Duration = Duration::from_secs(10);

/// How long the lease is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// Not renewed for so long, it may be taken.
    pub ttl: Duration,
    pub renew_every: Duration,
    /// Whoever could not renew it for so long stops writing.
    pub stop_after: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { ttl: seconds(60), renew_every: seconds(15), stop_after: seconds(45) }
    }
}

/// What of the world outside a lease needs.
#[derive(Debug, Clone)]
pub struct World {
    pub clock: Arc<dyn Clock>,
    pub steady: Arc<dyn Steady>,
    pub random: Arc<dyn Random>,
}

impl World {
    /// Milliseconds that passed since some moment, those that the machine slept included.
    fn moment(&self) -> i64 {
        self.steady.millis().saturating_add(self.steady.asleep_millis())
    }
}

/// `lease`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LeaseRecord {
    epoch: Epoch,
    /// For people: who it is.
    holder: String,
    /// One for each taking, random.
    tenure: String,
    /// One for each write, random: tells one's own writes from others'.
    token: String,
    /// For people, by the holder's clock.
    expires: UnixMillis,
    released: bool,
}

/// A write of the lease whose answer did not come.
#[derive(Debug, Clone)]
struct Tried {
    record: LeaseRecord,
    /// When it was sent.
    sent: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("the lease on the repository was lost to {0}: another gateway writes it")]
    Lost(String),
    #[error("the lease on the repository could not be renewed in time")]
    Stale,
    #[error("the repository has no further epoch")]
    Exhausted,
    #[error("what is about to be done in the bucket could not be noted beside the store: {0}")]
    Note(#[source] io::Error),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

impl From<RemoteError> for LeaseError {
    fn from(error: RemoteError) -> Self {
        Self::Repository(error.into())
    }
}

impl From<ProbeError> for LeaseError {
    fn from(error: ProbeError) -> Self {
        Self::Repository(error.into())
    }
}

/// Who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub name: String,
    pub epoch: Epoch,
    /// When asking again may help.
    pub again_in: Duration,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Attempt {
    Taken(Box<Lease>),
    Held(Holder),
}

/// Somebody who wants the lease, and remembers what was seen of it.
#[derive(Debug)]
pub struct Candidate {
    desk: Desk,
    /// The remote's time, and the moment when it was no less than that.
    remote_time: Option<(UnixMillis, i64)>,
    /// The lease as it was last seen, and since when.
    seen: Option<(Tag, i64)>,
}

/// What reads and writes the lease, for candidate and holder alike.
#[derive(Debug)]
struct Desk {
    repository: Arc<Repository>,
    world: World,
    times: LeaseTimes,
    holder: String,
    tried: Vec<Tried>,
    /// `None`: what was written before this process is another's.
    claim: Option<Arc<Claim>>,
}

impl Desk {
    async fn read(&self) -> Result<Option<(LeaseRecord, Stat)>, LeaseError> {
        Ok(self.repository.read(ObjectName::Lease).await?)
    }

    fn token(&self) -> String {
        hex::encode(self.world.random.id128())
    }

    fn record(&self, epoch: Epoch, tenure: String) -> LeaseRecord {
        let ttl = i64::try_from(self.times.ttl.as_millis()).unwrap_or(i64::MAX);
        let expires = UnixMillis::new(self.world.clock.now().get().saturating_add(ttl));
        let (holder, token) = (self.holder.clone(), self.token());
        LeaseRecord { epoch, holder, tenure, token, expires, released: false }
    }

    /// Writes a record. Whatever does not end with success may still have happened, or happen later.
    async fn write(&mut self, record: LeaseRecord, options: &PutOptions) -> Result<(Tag, Tried), LeaseError> {
        if let Some(claim) = &self.claim {
            claim.note(&record.token).await;
        }
        let tried = Tried { record, sent: self.world.moment() };
        if self.tried.len() == MAX_TRIED {
            self.tried.remove(0);
        }
        self.tried.push(tried.clone());
        let tag = self.repository.write(ObjectName::Lease, &tried.record, options).await?;
        self.tried.clear();
        Ok((tag, tried))
    }

    /// The own write that stands there, if one does.
    fn own(&mut self, standing: &LeaseRecord) -> Option<Tried> {
        let at = self.tried.iter().position(|tried| tried.record.token == standing.token)?;
        let own = self.tried.swap_remove(at);
        self.tried.clear();
        Some(own)
    }
}

fn is_conflict(error: &LeaseError) -> bool {
    matches!(error, LeaseError::Repository(RepositoryError::Remote(error)) if error.class == Class::Conflict)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Candidate {
    /// `holder`: for people, such as the name of the host.
    #[must_use]
    pub const fn new(repository: Arc<Repository>, world: World, times: LeaseTimes, holder: String) -> Self {
        let desk = Desk { repository, world, times, holder, tried: Vec::new(), claim: None };
        Self { desk, remote_time: None, seen: None }
    }

    /// Takes over at once what the data directory's last process has left. The server must keep its word on conditions.
    #[must_use]
    pub fn knowing(mut self, claim: Option<Arc<Claim>>) -> Self {
        self.desk.claim = claim;
        self
    }

    /// Takes the lease if nobody has it, whoever had it let it run out, or it is this data directory's own. The first attempt also tries
    /// whether the server keeps its word on conditional writes.
    ///
    /// # Errors
    /// When it cannot be told who has it. The next attempt recognises a write of this one that went through all the same.
    pub async fn attempt(&mut self) -> Result<Attempt, LeaseError> {
        if self.remote_time.is_none() {
            let time = probe(&**self.desk.repository.remote(), &*self.desk.world.random).await?;
            self.remote_time = Some((time, self.desk.world.moment()));
        }
        let standing = self.desk.read().await?;
        let Some((record, stat)) = standing else { return self.take(None, &PutOptions::ABSENT).await };
        if let Some(own) = self.desk.own(&record) {
            return Ok(Attempt::Taken(self.taken(own, stat.tag)));
        }
        if self.is_left_by_own(&record) {
            tracing::info!(holder = %record.holder, "the lease on the backup repository is this store's own, and is taken over");
        } else if let Some(holder) = self.holder(&record, &stat) {
            return Ok(Attempt::Held(holder));
        }
        self.take(Some(record.epoch), &PutOptions::matching(stat.tag)).await
    }

    /// Whether the process that wrote it has ended, and whatever it had sent may come late.
    fn is_left_by_own(&self, record: &LeaseRecord) -> bool {
        !record.released && self.desk.claim.as_ref().is_some_and(|claim| claim.is_own(&record.token))
    }

    async fn take(&mut self, last: Option<Epoch>, condition: &PutOptions) -> Result<Attempt, LeaseError> {
        // The lease may have been deleted by hand; the epochs are there still.
        let last = last.max(self.desk.repository.epochs().await?.last().copied());
        let epoch = last.map_or(Some(Epoch::FIRST), Epoch::next).ok_or(LeaseError::Exhausted)?;
        let tenure = self.desk.token();
        let record = self.desk.record(epoch, tenure);
        match self.desk.write(record, condition).await {
            Ok((tag, own)) => Ok(Attempt::Taken(self.taken(own, tag))),
            Err(error) if is_conflict(&error) => {
                let name = "another that was faster".to_owned();
                Ok(Attempt::Held(Holder { name, epoch, again_in: self.desk.times.renew_every }))
            }
            Err(error) => Err(error),
        }
    }

    /// Who has the lease; `None` when it may be taken.
    fn holder(&mut self, record: &LeaseRecord, stat: &Stat) -> Option<Holder> {
        if record.released {
            return None;
        }
        let now = self.desk.world.moment();
        let since = match &self.seen {
            Some((tag, since)) if *tag == stat.tag => *since,
            _ => {
                self.seen = Some((stat.tag.clone(), now));
                now
            }
        };
        let ttl = millis(self.desk.times.ttl);
        let seen_for = now.saturating_sub(since);
        // By the remote's clock it may be older than it was seen here.
        let stood_for = self.remote_time.map_or(0, |(time, at)| {
            let remote_now = time.get().saturating_add(now.saturating_sub(at));
            remote_now.saturating_sub(stat.modified.get()).saturating_sub(millis(REMOTE_CLOCK_MARGIN))
        });
        let left = ttl.saturating_sub(seen_for.max(stood_for));
        let again_in = Duration::from_millis(u64::try_from(left).ok().filter(|left| *left > 0)?);
        Some(Holder { name: record.holder.clone(), epoch: record.epoch, again_in })
    }

    fn taken(&mut self, own: Tried, tag: Tag) -> Box<Lease> {
        let Desk { repository, world, times, holder, claim, .. } = &self.desk;
        let desk = Desk {
            repository: Arc::clone(repository),
            world: world.clone(),
            times: *times,
            holder: holder.clone(),
            tried: Vec::new(),
            claim: claim.clone(),
        };
        self.seen = None;
        if let Some(claim) = claim {
            claim.settle();
        }
        let (record, renewed) = (own.record, own.sent);
        Box::new(Lease { desk, record, tag, renewed, lost_to: None, is_lingering: false, unanswered: None })
    }
}

/// The right to write a repository below one epoch.
#[derive(Debug)]
pub struct Lease {
    desk: Desk,
    record: LeaseRecord,
    tag: Tag,
    /// When the last renewal that went through was sent.
    renewed: i64,
    lost_to: Option<String>,
    /// What must not come late is under way,
    is_lingering: bool,
    /// or was, and not answered, at this moment.
    unanswered: Option<i64>,
}

impl Lease {
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.record.epoch
    }

    /// Before each write: whether to go on.
    ///
    /// # Errors
    /// `Lost` for good; `Stale` until a renewal goes through.
    pub fn check(&self) -> Result<Epoch, LeaseError> {
        if let Some(holder) = &self.lost_to {
            return Err(LeaseError::Lost(holder.clone()));
        }
        let age = self.desk.world.moment().saturating_sub(self.renewed);
        if age > millis(self.desk.times.stop_after) { Err(LeaseError::Stale) } else { Ok(self.epoch()) }
    }

    /// When to renew next.
    #[must_use]
    pub const fn renew_every(&self) -> Duration {
        self.desk.times.renew_every
    }

    /// # Errors
    /// `Lost` for good; anything else may be tried again.
    pub async fn renew(&mut self) -> Result<(), LeaseError> {
        let record = self.desk.record(self.record.epoch, self.record.tenure.clone());
        self.replace(record).await
    }

    /// Before what would do harm if it came late, such as a delete: until [`Self::settle`] nobody takes the lease over at once. It is
    /// renewed for that: of what stands there then a copy of the data directory that was made before does not know.
    ///
    /// # Errors
    /// When the lease is lost or could not be renewed, or that could not be noted: then nothing such may be done.
    pub async fn linger(&mut self) -> Result<(), LeaseError> {
        self.is_lingering = true;
        let Some(claim) = &self.desk.claim else { return Ok(()) };
        let tried = self.desk.tried.iter().map(|tried| tried.record.token.clone());
        let known: Vec<String> = tried.chain([self.record.token.clone()]).collect();
        claim.linger(true).await.map_err(LeaseError::Note)?;
        // What is found first may be an earlier renewal that came late.
        for _ in 0..2 {
            self.renew().await?;
            if !known.contains(&self.record.token) {
                return Ok(());
            }
        }
        Err(LeaseError::Stale)
    }

    /// It has ended.
    pub async fn settle(&mut self, is_answered: bool) {
        self.is_lingering = false;
        if !is_answered {
            self.unanswered = Some(self.desk.world.moment());
        }
        self.quieten().await;
    }

    /// What was not answered counts as over when the lease would have run out.
    pub async fn quieten(&mut self) {
        let (now, ttl) = (self.desk.world.moment(), millis(self.desk.times.ttl));
        if self.unanswered.is_some_and(|at| now.saturating_sub(at) > ttl) {
            self.unanswered = None;
        }
        let Some(claim) = self.desk.claim.as_ref().filter(|claim| claim.lingers()) else { return };
        if self.is_lingering || self.unanswered.is_some() {
            return;
        }
        if let Err(error) = claim.linger(false).await {
            tracing::debug!(%error, "that nothing lingers could not be noted: after a crash the lease is waited for");
        }
    }

    /// Gives it back, so that the next one need not wait; but not while something lingers.
    ///
    /// # Errors
    /// When that could not be written: it runs out by itself.
    pub async fn release(mut self) -> Result<(), LeaseError> {
        self.quieten().await;
        let is_noted = self.desk.claim.as_ref().is_some_and(|claim| claim.lingers());
        if is_noted || self.is_lingering || self.unanswered.is_some() {
            return Ok(());
        }
        // What is found first may be an earlier renewal that came late.
        for _ in 0..2 {
            let record = self.desk.record(self.record.epoch, self.record.tenure.clone());
            self.replace(LeaseRecord { released: true, ..record }).await?;
            if self.record.released {
                break;
            }
        }
        Ok(())
    }

    async fn replace(&mut self, record: LeaseRecord) -> Result<(), LeaseError> {
        if let Some(holder) = &self.lost_to {
            return Err(LeaseError::Lost(holder.clone()));
        }
        if !self.desk.tried.is_empty() {
            self.look().await?;
        }
        match self.desk.write(record, &PutOptions::matching(self.tag.clone())).await {
            Ok((tag, own)) => {
                self.adopt(own, tag);
                Ok(())
            }
            // An earlier write of one's own may have come late: that is a renewal too.
            Err(error) if is_conflict(&error) => {
                if self.look().await? {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Looks what stands there: whether it is a write whose answer did not come.
    async fn look(&mut self) -> Result<bool, LeaseError> {
        let standing = self.desk.read().await?;
        let found = match standing {
            Some((record, stat)) if record.token == self.record.token => {
                // None of them so far: the tag is as it was.
                self.tag = stat.tag;
                return Ok(false);
            }
            Some((record, stat)) => match self.desk.own(&record) {
                Some(own) => Ok((own, stat.tag)),
                None => Err(record.holder),
            },
            None => Err("somebody who deleted it".to_owned()),
        };
        match found {
            Ok((own, tag)) => {
                self.adopt(own, tag);
                Ok(true)
            }
            Err(holder) => {
                self.lost_to = Some(holder.clone());
                Err(LeaseError::Lost(holder))
            }
        }
    }

    fn adopt(&mut self, own: Tried, tag: Tag) {
        (self.record, self.tag, self.renewed) = (own.record, tag, own.sent);
    }

    /// Begins the epoch of this lease: from then on its log may be written. The same again finds what was begun.
    ///
    /// # Errors
    /// When the lease is lost or stale, or the remote fails.
    pub async fn begin_epoch(
        &self,
        parent: Option<Epoch>,
        from_seq: CommitSeq,
    ) -> Result<EpochRecord, LeaseError> {
        let epoch = self.check()?;
        let record = EpochRecord {
            epoch,
            parent,
            from_seq,
            store_id: self.desk.repository.description().store_id,
            tenure: self.record.tenure.clone(),
            holder: self.record.holder.clone(),
            started: self.desk.world.clock.now(),
        };
        let name = ObjectName::Epoch(epoch);
        let written = self.desk.repository.write(name, &record, &PutOptions::ABSENT).await;
        match written.map_err(LeaseError::from) {
            Ok(_) => Ok(record),
            Err(error) if is_conflict(&error) => {
                let standing = self.desk.repository.read::<EpochRecord>(name).await?;
                match standing {
                    Some((begun, _)) if begun.tenure == record.tenure => Ok(begun),
                    Some((begun, _)) => Err(LeaseError::Lost(begun.holder)),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
