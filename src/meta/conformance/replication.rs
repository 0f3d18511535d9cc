//! What replication keeps, and the delete markers that it writes.

use super::{Subject, at, expects, inline, key};
use crate::meta::{
    Change, Commit, CommitError, Outcome, QueueDepth, QueuedKey, ReplicationChange, Route, VersionTarget,
    Voyage,
};
use crate::types::{
    BucketId, BucketSetting, CommitSeq, DestinationArn, LifecycleFilter, ReplicaOf, ReplicationRule,
    ReplicationRules, TagSet, Versioning,
};

fn destination(bucket: &str) -> DestinationArn {
    DestinationArn::parse(&format!("arn:sediment:replication::far:{bucket}")).unwrap()
}

fn route(bucket: BucketId, to: &str, name: &str) -> Route {
    Route { destination: destination(to), bucket, key: key(name) }
}

fn one_rule() -> ReplicationRules {
    let rule = ReplicationRule {
        id: "all".into(),
        enabled: true,
        priority: Some(1),
        filter: LifecycleFilter::default(),
        destination: destination("one"),
        storage_class: None,
        delete_markers: Some(true),
        existing_objects: None,
        since: CommitSeq::ZERO,
    };
    ReplicationRules { role: "role".into(), rules: vec![rule] }
}

async fn rules_of(subject: &Subject, bucket: BucketId) -> Option<ReplicationRules> {
    let all = subject.replication.replicated_buckets().await.unwrap();
    all.into_iter().find(|row| row.id == bucket).and_then(|row| row.settings.replication.clone())
}

/// Rules need versioning, which stays while they do; they say since when.
pub(super) async fn rules(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let set = |rules| Commit::SetBucket { bucket, setting: BucketSetting::Replication(rules) };
    expects!(subject.refuse(set(Some(one_rule()))).await, CommitError::InvalidState(_));
    subject.versioning(bucket, Versioning::Enabled).await;
    subject.commit(set(Some(one_rule()))).await;
    let since = subject.log.last_seq().await.unwrap();
    let suspend = Commit::SetVersioning { bucket, versioning: Versioning::Suspended };
    expects!(subject.refuse(suspend).await, CommitError::InvalidState(_));
    subject.commit(set(Some(one_rule()))).await;
    let kept = rules_of(subject, bucket).await.unwrap();
    assert_eq!(kept.rules[0].since, since, "the same rule set again goes on");
    subject.commit(set(None)).await;
    assert_eq!(rules_of(subject, bucket).await, None);
    subject.versioning(bucket, Versioning::Suspended).await;
}

/// A marker says of what it is a copy; so does the log, and who replays it.
pub(super) async fn markers(subject: &Subject, other: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.versioning(bucket, Versioning::Enabled).await;
    subject.put(bucket, "k", inline("x")).await;
    let origin = ReplicaOf::parse("far/1").unwrap();
    let put = Commit::PutMarker { bucket, key: key("k"), replica_of: origin.clone() };
    expects!(subject.commit(put).await, Outcome::Deleted { id: Some(_), delete_marker: true });
    subject.delete(bucket, "k", VersionTarget::Current).await;
    let log = subject.log.changes_after(CommitSeq::ZERO, 99).await.unwrap();
    for record in &log {
        let replayed = other.commit(Commit::Replay(Box::new(record.clone()))).await;
        expects!(replayed, Outcome::Replayed { .. });
    }
    let Change::VersionPut { version, .. } = &log[3].change else { panic!("{:?}", log[3]) };
    assert_eq!(version.replica_of, Some(origin.clone()));
    for store in [subject, other] {
        let versions = store.replication.versions_from(&route(bucket, "one", "k"), CommitSeq::ZERO, 9).await;
        let origins: Vec<_> = versions.unwrap().into_iter().map(|version| version.replica_of).collect();
        assert_eq!(origins, [None, Some(origin.clone()), None], "oldest first");
    }
}

pub(super) async fn queue(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let before = subject.log.last_seq().await.unwrap();
    let touch = |to: &str, name: &str, from, millis, touched| ReplicationChange::Touch {
        route: route(bucket, to, name),
        from: CommitSeq::new(from),
        at: at(millis),
        touched: CommitSeq::new(touched),
    };
    let queued = async |to: &str, now| -> Vec<(String, u64, u64, u32)> {
        let keys = subject.replication.queued_keys(&destination(to), at(now), 9).await.unwrap();
        let shown = |queued: QueuedKey| {
            let name = queued.route.key.to_text().into_owned();
            (name, queued.from.get(), queued.touched.get(), queued.attempts)
        };
        keys.into_iter().map(shown).collect()
    };
    let touches = vec![
        touch("one", "b", 7, 20, 7),
        touch("one", "a", 5, 10, 5),
        touch("two", "a", 5, 10, 5),
        touch("one", "b", 6, 30, 8),
    ];
    subject.commit(Commit::Replication(touches)).await;
    assert_eq!(subject.log.last_seq().await.unwrap(), before, "nothing of it is logged");
    assert_eq!(
        subject.replication.queued_destinations().await.unwrap(),
        [destination("one"), destination("two")]
    );
    assert_eq!(queued("one", 10).await, [("a".to_owned(), 5, 5, 0)]);
    assert_eq!(queued("one", 20).await, [("a".to_owned(), 5, 5, 0), ("b".to_owned(), 6, 8, 0)]);
    let depth = subject.replication.queue_depth(&destination("one")).await.unwrap();
    assert_eq!(depth, QueueDepth { keys: 2, oldest: Some(at(10)) });

    let done = |to: &str, name: &str, touched| ReplicationChange::Done {
        route: route(bucket, to, name),
        touched: CommitSeq::new(touched),
    };
    let later = ReplicationChange::Later { route: route(bucket, "one", "a"), at: at(50) };
    subject.commit(Commit::Replication(vec![done("one", "b", 7), done("two", "a", 5), later])).await;
    assert_eq!(queued("one", 49).await, [("b".to_owned(), 6, 8, 0)], "it was touched since");
    assert_eq!(queued("one", 50).await[1], ("a".to_owned(), 5, 5, 1));
    assert_eq!(queued("two", 99).await, []);
    assert_eq!(subject.replication.next_queued(&destination("one")).await.unwrap(), Some(at(20)));
    assert_eq!(subject.replication.next_queued(&destination("two")).await.unwrap(), None);

    let scan = |behind: Option<&[u8]>| ReplicationChange::Scan { bucket, behind: behind.map(<[u8]>::to_vec) };
    for behind in [b"".as_slice(), b"k"] {
        subject.commit(Commit::Replication(vec![scan(Some(behind))])).await;
        assert_eq!(subject.replication.replication_scans().await.unwrap(), [(bucket, behind.to_vec())]);
    }
    subject.commit(Commit::Replication(vec![scan(None)])).await;
    assert_eq!(subject.replication.replication_scans().await.unwrap(), []);
}

pub(super) async fn states(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let (_, first) = subject.put(bucket, "k", inline("1")).await;
    let (second_id, second) = subject.put(bucket, "k", inline("2")).await;
    let voyage = |to: &str, seq| Voyage { route: route(bucket, to, "k"), seq };
    let copied = |to: &str, seq, synced| ReplicationChange::Copied {
        voyage: voyage(to, seq),
        synced: CommitSeq::new(synced),
        remote: Some(format!("v{synced}")),
    };
    let changes = vec![
        copied("one", second, 5),
        ReplicationChange::Changed { voyage: voyage("one", second), changed: CommitSeq::new(6) },
        ReplicationChange::Refused { voyage: voyage("two", second) },
        copied("one", CommitSeq::new(999), 5),
    ];
    subject.commit(Commit::Replication(changes)).await;
    let states = async |seq| subject.replication.replica_states(bucket, &key("k"), seq).await.unwrap();
    let both = states(second).await;
    assert_eq!(both.len(), 2);
    assert_eq!((both[0].is_copied, both[0].is_current(), both[0].has_failed), (true, false, false));
    assert_eq!((both[1].is_copied, both[1].is_current(), both[1].has_failed), (false, false, true));
    assert_eq!(states(first).await, []);
    assert_eq!(states(CommitSeq::new(999)).await, [], "there is no such version");
    subject.commit(Commit::Replication(vec![copied("one", second, 7), copied("two", second, 3)])).await;
    let both = states(second).await;
    assert!(both.iter().all(|state| state.is_current() && !state.has_failed), "{both:?}");
    assert_eq!(both[0].remote.as_deref(), Some("v7"));

    let to = route(bucket, "one", "k");
    let versions = subject.replication.versions_from(&to, CommitSeq::ZERO, 9).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.seq).collect::<Vec<_>>(), [first, second]);
    assert_eq!(versions[0].state, None);
    assert_eq!(versions[1].state.as_ref(), both.first());
    assert_eq!(versions[0].tags, Some(TagSet::default()));
    let newer = subject.replication.versions_from(&to, second, 9).await.unwrap();
    assert_eq!(newer, versions[1..]);

    subject.delete(bucket, "k", VersionTarget::Version(second_id)).await;
    assert_eq!(states(second).await, [], "it goes with its version");
}
