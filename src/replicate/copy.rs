//! Looking at one key for one destination: what of it is not there as it is now goes there, oldest first.

use super::delta::Proof;
use super::peer::Peer;
use super::worker::Shared;
use crate::engine::EngineError;
use crate::meta::{
    Bucket, Commit, CommitError, MetaError, ObjectData, ObjectVersion, QueuedKey, ReplicableVersion,
    ReplicationChange, VersionKind, Voyage,
};
use crate::remote::{
    BodySource, Class, FoundReplica, OnlyOver, RemoteError, ReplicaBody, ReplicaHead, S3Replicas, SentPart,
    Trouble, Verb,
};
use crate::types::{
    Checksum, ChecksumKind, CommitSeq, ObjectLock, ReplicaOf, ReplicationRule, ResolvedRange, VersionId,
};

const VERSIONS: usize = 100;

/// What became of a key.
#[derive(Debug)]
pub(super) enum Looked {
    Done,
    /// The destination does not take some of it.
    Refused,
}

/// Why a key has to be looked at again.
#[derive(Debug)]
pub(super) enum Failure {
    /// The destination.
    Remote(RemoteError),
    /// This store.
    Own(String),
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

impl From<MetaError> for Failure {
    fn from(error: MetaError) -> Self {
        Self::Own(error.to_string())
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        Self::Own(error.to_string())
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Own(error.to_string())
    }
}

/// A version that is gone meanwhile needs nothing.
pub(super) struct Gone;

/// One look at a key.
pub(super) struct Look<'a> {
    pub(super) shared: &'a Shared,
    pub(super) remote: &'a S3Replicas,
    pub(super) peer: &'a Peer,
    pub(super) home: &'a Bucket,
    pub(super) queued: &'a QueuedKey,
    /// An earlier attempt may have got further than is known: what stands there is looked at before anything is sent.
    pub(super) is_in_doubt: bool,
}

impl<'a> Look<'a> {
    pub(super) async fn all(mut self) -> Result<Looked, Failure> {
        let (mut from, mut looked, mut before) = (self.queued.from, Looked::Done, None);
        loop {
            // Before the versions: what changes behind it is noted, and looked at once more.
            let as_of = self.shared.log.last_seq().await?;
            let versions = self.shared.reads.versions_from(&self.queued.route, from, VERSIONS).await?;
            for version in &versions {
                let Some(rule) = self.rule(version) else { continue };
                match self.carry(version, rule, as_of, before.as_deref()).await {
                    Ok(there) => before = there,
                    Err(Failure::Remote(error)) => {
                        let is_its_own = matches!(error.class, Class::Refused | Class::Unsupported);
                        self.refuse(version, &error).await?;
                        if !is_its_own {
                            return Err(error.into());
                        }
                        looked = Looked::Refused;
                    }
                    Err(own) => return Err(own),
                }
            }
            match versions.last() {
                Some(last) if versions.len() == VERSIONS => from = last.seq.next(),
                _ => return Ok(looked),
            }
        }
    }

    /// The rule by which a version goes to the destination.
    fn rule(&self, version: &ReplicableVersion) -> Option<&'a ReplicationRule> {
        let rules = self.home.settings.replication.as_ref()?;
        let route = &self.queued.route;
        if version.replica_of.is_some() {
            return None;
        }
        let covering = rules.covering(&route.key, version.tags.as_ref());
        let rule = covering.into_iter().find(|rule| rule.destination == route.destination)?;
        rule.concerns(version.seq).then_some(rule)
    }

    /// Brings one version there, if it is not. Returns its version there.
    async fn carry(
        &mut self,
        version: &ReplicableVersion,
        rule: &ReplicationRule,
        as_of: CommitSeq,
        before: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        let state = version.state.as_ref();
        if let Some(state) = state.filter(|state| state.is_current() && !state.has_failed) {
            return Ok(state.remote.clone());
        }
        let destination = &self.queued.route.destination;
        let sent = match state.filter(|state| state.is_copied) {
            Some(state) => {
                let changed = self.change(version, state.remote.as_deref()).await?;
                self.shared.reports.changed(destination);
                changed.map(|()| state.remote.clone())
            }
            None => {
                let is_in_doubt = std::mem::take(&mut self.is_in_doubt);
                let sent = self.send(version, rule, if is_in_doubt { Some(before) } else { None }).await?;
                if let Ok((_, bytes)) = &sent {
                    self.shared.reports.copied(destination, *bytes);
                }
                sent.map(|(remote, _)| remote)
            }
        };
        let Ok(remote) = sent else { return Ok(None) };
        let voyage = self.voyage(version);
        self.commit(ReplicationChange::Copied { voyage, synced: as_of, remote: remote.clone() }).await?;
        Ok(remote)
    }

    fn voyage(&self, version: &ReplicableVersion) -> Voyage {
        Voyage { route: self.queued.route.clone(), seq: version.seq }
    }

    async fn commit(&self, change: ReplicationChange) -> Result<(), CommitError> {
        self.shared.meta.commit(Commit::Replication(vec![change])).await.map(drop)
    }

    /// What passes by itself is no failure of the version.
    async fn refuse(&self, version: &ReplicableVersion, error: &RemoteError) -> Result<(), Failure> {
        if error.class.remedy() != crate::remote::Remedy::Operator {
            return Ok(());
        }
        self.shared.reports.refused(&self.queued.route.destination, error);
        self.commit(ReplicationChange::Refused { voyage: self.voyage(version) }).await?;
        Ok(())
    }

    fn origin(&self, id: VersionId) -> Result<ReplicaOf, Failure> {
        let text = format!("{}/{id}", self.home.name);
        ReplicaOf::parse(&text).map_err(|error| Failure::Own(error.to_string()))
    }

    /// `doubt`: the destination's version of the one before, if this one may be there already.
    async fn send(
        &self,
        version: &ReplicableVersion,
        rule: &ReplicationRule,
        doubt: Option<Option<&str>>,
    ) -> Result<Result<(Option<String>, u64), Gone>, Failure> {
        let origin = self.origin(version.id)?;
        let key = self.queued.route.key.to_text();
        let there = match doubt {
            Some(before) => self.remote.find(&key).await?.filter(|there| there.version.as_deref() != before),
            None => None,
        };
        if version.tags.is_none() {
            return match there.filter(|there| there.is_marker) {
                Some(marker) => Ok(Ok((marker.version, 0))),
                None => Ok(Ok((self.remote.mark_deleted(&key, Some(&origin), OnlyOver::Anything).await?, 0))),
            };
        }
        let Some((found, data)) = self.object(version.id).await? else { return Ok(Err(Gone)) };
        if let Some(there) = there.filter(|there| is_it(there, &found, &data, &origin)) {
            return Ok(Ok((there.version, 0)));
        }
        let head = self.head(&data, rule, origin);
        let sent = if data.parts.is_empty() {
            self.send_whole(&key, version.id, &data, &head).await?
        } else {
            self.send_parts(&key, version.id, &data, &head).await?
        };
        Ok(sent.map(|remote| (remote, data.size)))
    }

    fn head(&self, data: &ObjectData, rule: &ReplicationRule, origin: ReplicaOf) -> ReplicaHead {
        let now = self.shared.clock.now();
        // One that is over would be refused, and protects nothing.
        let retention = data.lock.retention.filter(|retention| retention.until > now);
        ReplicaHead {
            attributes: data.attributes.clone(),
            storage_class: rule.storage_class.clone().or_else(|| data.attributes.storage_class.clone()),
            tags: data.tags.clone(),
            lock: ObjectLock { retention, ..data.lock },
            origin: Some(origin),
        }
    }

    pub(super) async fn object(
        &self,
        id: VersionId,
    ) -> Result<Option<(ObjectVersion, ObjectData)>, MetaError> {
        let route = &self.queued.route;
        let found = self.shared.meta.version(route.bucket, &route.key, Some(id)).await?;
        Ok(found.and_then(|version| match version.kind.clone() {
            VersionKind::Object(data) => Some((version, data)),
            VersionKind::DeleteMarker => None,
        }))
    }

    /// Bytes of a version, on their way.
    pub(super) async fn body(
        &self,
        id: VersionId,
        range: ResolvedRange,
        trouble: &Trouble<EngineError>,
    ) -> Result<Result<ReplicaBody, Gone>, Failure> {
        // Before the row is read: what it names is then there until the body is.
        let kept = self.shared.bodies.hold();
        let Some((_, data)) = self.object(id).await? else { return Ok(Err(Gone)) };
        let stream = self.shared.bodies.read(kept, &data.body, data.size, range).await?;
        let source = BodySource::of(stream, range.len(), trouble).await?;
        Ok(Ok(ReplicaBody { bytes: range.len(), source, md5: None, checksum: None }))
    }

    async fn send_whole(
        &self,
        key: &str,
        id: VersionId,
        data: &ObjectData,
        head: &ReplicaHead,
    ) -> Result<Result<Option<String>, Gone>, Failure> {
        let whole = ResolvedRange { start: 0, end: data.size };
        let md5 = (data.etag.parts() == 0).then(|| *data.etag.md5());
        let is_whole = |checksum: &Checksum| checksum.kind() == ChecksumKind::FullObject;
        let checksum = data.checksum.clone().filter(is_whole);
        let proof = Proof { md5, checksum, is_compared: false };
        let put = |body| self.remote.put(key, head, body, OnlyOver::Anything);
        self.send_body((key, id, whole), proof, put).await
    }

    /// In the same parts, so that it has the same tag.
    async fn send_parts(
        &self,
        key: &str,
        id: VersionId,
        data: &ObjectData,
        head: &ReplicaHead,
    ) -> Result<Result<Option<String>, Gone>, Failure> {
        // Composite ones are made of the parts' own.
        let is_known = data.parts.iter().all(|part| part.checksum.is_some());
        let checksum = data.checksum.as_ref().filter(|_| is_known);
        let upload = self.remote.begin(key, head, checksum).await?;
        let sent = self.send_each(&upload, key, id, data).await;
        if !matches!(sent, Ok(Ok(_))) {
            // The failure is what counts; what is left there costs space only.
            let _ = self.remote.abort((key, &upload)).await;
        }
        sent
    }

    async fn send_each(
        &self,
        upload: &str,
        key: &str,
        id: VersionId,
        data: &ObjectData,
    ) -> Result<Result<Option<String>, Gone>, Failure> {
        let (mut sent, mut start) = (Vec::with_capacity(data.parts.len()), 0);
        for part in &data.parts {
            let range = ResolvedRange { start, end: start + part.size };
            let proof = Proof { md5: None, checksum: part.checksum.clone(), is_compared: true };
            let put = |body| self.remote.put_part((key, upload), part.number.get(), body);
            let Ok(part_there) = self.send_body((key, id, range), proof, put).await? else {
                return Ok(Err(Gone));
            };
            sent.push(part_there);
            start += part.size;
        }
        if !SentPart::make_up(&sent, data.etag) {
            let why = "the parts there are not the parts that were sent";
            return Err(RemoteError::new(Class::Wrong, Verb::PutPart, key, why).into());
        }
        Ok(Ok(self.remote.complete((key, upload), &sent, data.size, OnlyOver::Anything).await?))
    }

    /// Gives the replica the tags and the lock that the version has now.
    async fn change(
        &self,
        version: &ReplicableVersion,
        remote: Option<&str>,
    ) -> Result<Result<(), Gone>, Failure> {
        let Some((_, data)) = self.object(version.id).await? else { return Ok(Err(Gone)) };
        let key = self.queued.route.key.to_text();
        let changed = match self.remote.set_tags(&key, remote, &data.tags).await {
            Ok(()) if data.lock.is_unset() => Ok(()),
            Ok(()) => self.remote.set_lock(&key, remote, data.lock).await,
            Err(error) => Err(error),
        };
        match changed {
            // Somebody has deleted the replica: there is nothing to change.
            Err(error) if error.class == Class::Gone && !error.why.contains("NoSuchBucket") => Ok(Ok(())),
            changed => Ok(Ok(changed?)),
        }
    }
}

/// Whether what stands there is the version, sent before: as another Sediment says, else as it looks.
fn is_it(there: &FoundReplica, found: &ObjectVersion, data: &ObjectData, origin: &ReplicaOf) -> bool {
    let is_alike = there.etag == Some(data.etag)
        && there.bytes == data.size
        && there.modified.seconds() >= found.modified.seconds();
    match &there.replica_of {
        Some(other) => other == origin,
        None => !there.is_marker && there.version.is_some() && is_alike,
    }
}

/// Trouble of this store's own made the request fail, whatever became of it.
pub(super) fn own_first<T>(
    sent: Result<T, RemoteError>,
    trouble: &Trouble<EngineError>,
) -> Result<T, Failure> {
    match trouble.take() {
        Some(error) => Err(error.into()),
        None => Ok(sent?),
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
