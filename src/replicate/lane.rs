//! The lane of one destination: looks at the keys that wait for it, several at a time.

use super::WhetherToAsk;
use super::copy::{Failure, Look, Looked};
use super::pace::pause;
use super::peer::Peer;
use super::worker::Shared;
use crate::meta::{Commit, CommitError, MetaError, QueuedKey, ReplicationChange, Route};
use crate::remote::{Class, RemoteError, S3Replicas, Verb};
use crate::types::{CommitSeq, DestinationArn, UnixMillis};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Wall clocks jump: the queue is looked at again no later than this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// After the store itself failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Lane {
    pub(super) shared: Arc<Shared>,
    pub(super) destination: DestinationArn,
    pub(super) wake: Arc<Notify>,
    /// Records up to here may have been worked on before this start.
    pub(super) started: CommitSeq,
}

/// The keys under way, and how it goes.
#[derive(Default)]
struct Traffic {
    working: JoinSet<(Route, Result<Looked, Failure>)>,
    busy: HashSet<Route>,
    /// Failures of the destination in a row.
    failures: u32,
    /// Nothing new is begun before.
    resting: Option<Instant>,
}

impl Lane {
    pub(super) async fn run(self, stop: CancellationToken) {
        let (remote, peer) = (self.connect(), self.peer());
        let mut traffic = Traffic::default();
        while !stop.is_cancelled() {
            let turn = stop.run_until_cancelled(self.turn((&remote, &peer), &mut traffic)).await;
            if let Some(Err(error)) = turn {
                tracing::warn!(%error, "replication cannot read its queue; it goes on in some seconds");
                stop.run_until_cancelled(tokio::time::sleep(STORE_PAUSE)).await;
            }
        }
    }

    fn connect(&self) -> Result<Arc<S3Replicas>, RemoteError> {
        let name = self.shared.targets.of(&self.destination).map_or("", |target| &target.settings.id);
        self.shared.reports.is_at(&self.destination, name);
        let refuse = |class, why: &str| RemoteError::new(class, Verb::Head, &self.destination, why);
        match self.shared.targets.bucket(&self.destination) {
            Ok(Some(remote)) => Ok(Arc::new(remote)),
            Ok(None) => Err(refuse(Class::Gone, "no entry of replication.targets has it")),
            Err(why) => Err(refuse(Class::Refused, &why)),
        }
    }

    fn peer(&self) -> Arc<Peer> {
        let target = self.shared.targets.of(&self.destination);
        Arc::new(Peer::new(target.is_some_and(|target| target.settings.chunks == WhetherToAsk::Auto)))
    }

    async fn turn(
        &self,
        there: (&Result<Arc<S3Replicas>, RemoteError>, &Arc<Peer>),
        traffic: &mut Traffic,
    ) -> Result<(), MetaError> {
        let is_resting = traffic.resting.is_some_and(|until| until > Instant::now());
        if !is_resting {
            self.fill(there, traffic).await?;
        }
        let until = match traffic.resting.filter(|_| is_resting) {
            Some(until) => until,
            None => Instant::now() + self.wait().await?,
        };
        let has_room = !is_resting && traffic.working.len() < self.room(traffic);
        tokio::select! {
            Some(ended) = traffic.working.join_next() => self.ended(traffic, ended),
            () = self.wake.notified(), if has_room => {}
            () = tokio::time::sleep_until(until), if has_room || is_resting => {}
        }
        Ok(())
    }

    /// A destination that fails is asked for one key, until it answers.
    fn room(&self, traffic: &Traffic) -> usize {
        if traffic.failures > 0 { 1 } else { self.shared.settings.keys_in_flight }
    }

    /// Until the next key is to be looked at that is not under way.
    async fn wait(&self) -> Result<Duration, MetaError> {
        let Some(next) = self.shared.reads.next_queued(&self.destination).await? else {
            return Ok(LONGEST_WAIT);
        };
        let millis = u64::try_from(next.get().saturating_sub(self.shared.clock.now().get())).unwrap_or(0);
        // Keys under way are overdue: their ends wake this.
        Ok(Duration::from_millis(millis.max(100)).min(LONGEST_WAIT))
    }

    async fn fill(
        &self,
        (remote, peer): (&Result<Arc<S3Replicas>, RemoteError>, &Arc<Peer>),
        traffic: &mut Traffic,
    ) -> Result<(), MetaError> {
        let room = self.room(traffic).saturating_sub(traffic.working.len());
        if room == 0 {
            return Ok(());
        }
        let now = self.shared.clock.now();
        let due = self.shared.reads.queued_keys(&self.destination, now, room + traffic.busy.len()).await?;
        let waiting = due.into_iter().filter(|queued| !traffic.busy.contains(&queued.route));
        let next: Vec<_> = waiting.take(room).collect();
        for queued in next {
            traffic.busy.insert(queued.route.clone());
            let (shared, started) = (Arc::clone(&self.shared), self.started);
            let (remote, peer) = (remote.clone(), Arc::clone(peer));
            traffic.working.spawn(async move {
                let looked = look(&shared, (remote, &peer), &queued, started).await;
                (queued.route, looked)
            });
        }
        Ok(())
    }

    fn ended(
        &self,
        traffic: &mut Traffic,
        ended: Result<(Route, Result<Looked, Failure>), tokio::task::JoinError>,
    ) {
        let Ok((route, looked)) = ended else {
            if ended.is_err_and(|error| error.is_cancelled()) {
                return;
            }
            // Which key it was is not known: all are looked at again.
            tracing::error!("looking at a key for replication has panicked");
            traffic.busy.clear();
            traffic.working.abort_all();
            traffic.resting = Some(Instant::now() + STORE_PAUSE);
            return;
        };
        traffic.busy.remove(&route);
        match looked {
            Ok(_) => (traffic.failures, traffic.resting) = (0, None),
            Err(Failure::Remote(error)) => {
                self.shared.reports.failed(&self.destination, &error, self.shared.clock.now());
                // Those that were under way together fail together, and count once.
                if traffic.resting.is_none_or(|until| until <= Instant::now()) {
                    traffic.failures = traffic.failures.saturating_add(1);
                    let rest =
                        pause(traffic.failures, self.shared.longest_pause(), self.shared.random.as_ref());
                    traffic.resting = Some(Instant::now() + rest);
                    tracing::warn!(%error, destination = %self.destination, ?rest, "replication fails");
                }
            }
            Err(Failure::Own(why)) => {
                tracing::warn!(why, destination = %self.destination, "a key cannot be read for replication");
            }
        }
    }
}

/// Looks at a key, and notes what comes of it.
async fn look(
    shared: &Shared,
    (remote, peer): (Result<Arc<S3Replicas>, RemoteError>, &Peer),
    queued: &QueuedKey,
    started: CommitSeq,
) -> Result<Looked, Failure> {
    let ruled = Arc::clone(&shared.ruled.borrow());
    let looked = match (ruled.bucket(queued.route.bucket), remote) {
        // Without rules there is nothing to do any more.
        (None, _) => Ok(Looked::Done),
        (Some(_), Err(error)) => Err(error.into()),
        (Some(home), Ok(remote)) => {
            let is_in_doubt = queued.attempts > 0 || queued.from <= started;
            Look { shared, remote: &remote, peer, home, queued, is_in_doubt }.all().await
        }
    };
    let (route, touched) = (queued.route.clone(), queued.touched);
    let later = |pause: Duration| {
        let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        UnixMillis::new(shared.clock.now().get().saturating_add(millis))
    };
    let change = match &looked {
        Ok(Looked::Done) => ReplicationChange::Done { route, touched },
        Ok(Looked::Refused) => ReplicationChange::Later { route, at: later(shared.longest_pause()) },
        Err(_) => {
            let attempts = queued.attempts.saturating_add(1);
            let at = later(pause(attempts, shared.longest_pause(), shared.random.as_ref()));
            ReplicationChange::Later { route, at }
        }
    };
    let noted = shared.meta.commit(Commit::Replication(vec![change])).await;
    noted.map_err(|error: CommitError| Failure::Own(error.to_string()))?;
    looked
}
