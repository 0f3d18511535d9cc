use super::is_it;
use crate::meta::{ObjectData, ObjectVersion, StoredBody, VersionKind};
use crate::remote::FoundReplica;
use crate::types::{
    Attributes, CommitSeq, ETag, ObjectKey, ObjectLock, ReplicaOf, TagSet, UnixMillis, VersionId,
};

const MODIFIED: i64 = 5_900;

fn data() -> ObjectData {
    ObjectData {
        body: StoredBody::Inline("x".into()),
        size: 1,
        etag: ETag::of_body([7; 16]),
        checksum: None,
        attributes: Attributes::default(),
        parts: Vec::new(),
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    }
}

fn version() -> ObjectVersion {
    ObjectVersion {
        key: ObjectKey::parse("k").unwrap(),
        id: VersionId::Id { seq: CommitSeq::new(3), salt: 1 },
        seq: CommitSeq::new(3),
        modified: UnixMillis::new(MODIFIED),
        is_latest: true,
        kind: VersionKind::Object(data()),
    }
}

fn there() -> FoundReplica {
    FoundReplica {
        is_marker: false,
        etag: Some(ETag::of_body([7; 16])),
        bytes: 1,
        version: Some("v".into()),
        modified: UnixMillis::new(5_000),
        replica_of: None,
    }
}

#[test]
fn what_another_sediment_says_decides_and_else_how_it_looks() {
    let (own, other) = (ReplicaOf::parse("b/1").unwrap(), ReplicaOf::parse("b/2").unwrap());
    let found = |there: &FoundReplica| is_it(there, &version(), &data(), &own);
    assert!(found(&there()), "servers keep whole seconds");
    assert!(found(&FoundReplica { replica_of: Some(own.clone()), bytes: 9, ..there() }));
    assert!(!found(&FoundReplica { replica_of: Some(other), ..there() }));
    assert!(!found(&FoundReplica { modified: UnixMillis::new(4_999), ..there() }), "it is older");
    assert!(!found(&FoundReplica { bytes: 2, ..there() }));
    assert!(!found(&FoundReplica { etag: None, ..there() }));
    assert!(!found(&FoundReplica { version: None, ..there() }), "without versions nothing is known");
    assert!(!found(&FoundReplica { is_marker: true, ..there() }));
}
