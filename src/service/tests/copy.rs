use super::{LARGEST, World, etag, expects, full, key, put_request};
use crate::meta::{Commit, MetaStore, NewBody, NewObject, WriteCondition};
use crate::service::{
    CopyOutcome, CopyRequest, GetRequest, MetadataDirective, PutRequest, Selection, ServiceError,
};
use crate::types::{
    Attributes, Checksum, ChecksumAlgorithm as A, ChecksumKind as K, ETag, ObjectLock, PartLayout,
    PartNumber, TagSet, Versioning,
};
use std::sync::atomic::Ordering;

fn typed(content_type: &str) -> Attributes {
    let mut attributes = Attributes { content_type: Some(content_type.into()), ..Attributes::default() };
    attributes.user.insert("colour".into(), content_type.into());
    attributes
}

async fn source(world: &World, attributes: Attributes) {
    let request = PutRequest { attributes, ..put_request("text") };
    world.service.put(&world.caller, &world.bucket, &key("source"), request).await.unwrap();
}

async fn copy(world: &World, target: &str, request: &CopyRequest) -> Result<CopyOutcome, ServiceError> {
    world.service.copy(&world.caller, &world.bucket, &key(target), request).await
}

async fn attributes(world: &World, name: &str) -> Attributes {
    world.get(name, None).await.unwrap().head.info.attributes
}

#[tokio::test]
async fn a_copy_has_the_sources_attributes_or_those_of_the_request() {
    let world = World::new().await;
    source(&world, typed("old")).await;
    let mut request = world.copy_request("source");
    request.attributes = typed("new");
    let copied = copy(&world, "target", &request).await.unwrap();
    assert_eq!((copied.etag, copied.checksum), (etag("text"), Some(full(A::Crc64Nvme, b"text"))));
    assert_eq!(attributes(&world, "target").await, typed("old"));
    request.directive = MetadataDirective::Replace;
    copy(&world, "target", &request).await.unwrap();
    assert_eq!(attributes(&world, "target").await, typed("new"));
    assert_eq!(world.bodies.reads.load(Ordering::Relaxed), 2, "only the two gets of this test read");
    request.checksum = Some(A::Sha256);
    assert_eq!(copy(&world, "target", &request).await.unwrap().checksum, Some(full(A::Sha256, b"text")));
    assert_eq!(world.text("target").await, "text");
}

#[tokio::test]
async fn a_copy_onto_itself_has_to_change_something() {
    let world = World::new().await;
    source(&world, typed("old")).await;
    let class = |class: &str| Attributes { storage_class: Some(class.into()), ..Attributes::default() };
    let mut request = world.copy_request("source");
    expects!(copy(&world, "source", &request).await, Err(ServiceError::InvalidRequest { .. }));
    request.attributes = class("STANDARD");
    let same = copy(&world, "source", &request).await;
    expects!(same, Err(ServiceError::InvalidRequest { .. }));
    request.attributes = class("STANDARD_IA");
    copy(&world, "source", &request).await.unwrap();
    expects!(copy(&world, "source", &request).await, Err(ServiceError::InvalidRequest { .. }));
    request.attributes = class("STANDARD");
    copy(&world, "source", &request).await.unwrap();
    request.attributes = typed("new");
    request.directive = MetadataDirective::Replace;
    copy(&world, "source", &request).await.unwrap();
    assert_eq!(attributes(&world, "source").await, typed("new"));
    assert_eq!(world.text("source").await, "text");
}

#[tokio::test]
async fn a_copy_of_a_version_restores_it() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    let old = world.put("source", "old").await.version_id;
    world.put("source", "new").await;
    let mut request = world.copy_request("source");
    request.source.version = old;
    let copied = copy(&world, "source", &request).await.unwrap();
    assert_eq!(copied.source_version_id, old);
    assert_ne!(copied.version_id, old);
    assert_eq!(world.text("source").await, "old");
    let marker = world.delete("source", None).await.version_id;
    request.source.version = marker;
    expects!(copy(&world, "target", &request).await, Err(ServiceError::InvalidRequest { .. }));
    request.source.version = None;
    expects!(copy(&world, "target", &request).await, Err(ServiceError::NoSuchKey { .. }));
}

/// An object of two parts, with a checksum that the upload would have given it.
async fn multipart(world: &World, algorithm: A) {
    let layout = |n, part: &[u8]| PartLayout {
        number: PartNumber::parse(n).unwrap(),
        size: part.len() as u64,
        checksum: Some(full(algorithm, part)),
    };
    let parts = vec![layout(1, b"12345"), layout(2, b"6789")];
    let sums: Vec<_> = parts.iter().map(|part| (part.checksum.as_ref(), part.size)).collect();
    let object = NewObject {
        body: NewBody::Inline("123456789".into()),
        size: 9,
        etag: ETag::of_parts([7; 16], 2),
        checksum: crate::service::checksums::combine(algorithm, K::Composite, &sums),
        attributes: Attributes::default(),
        parts,
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    };
    let bucket = world.service.head_bucket(&world.caller, &world.bucket).await.unwrap().id;
    let (key, condition) = (key("source"), WriteCondition::None);
    world.meta.commit(Commit::PutVersion { bucket, key, object, condition }).await.unwrap();
}

#[tokio::test]
async fn the_copy_of_a_multipart_object_is_one_piece() {
    let world = World::new().await;
    for algorithm in A::ALL {
        multipart(&world, algorithm).await;
        let combines = !matches!(algorithm, A::Sha1 | A::Sha256);
        let expected = combines.then(|| full(algorithm, b"123456789"));
        let before = world.bodies.reads.load(Ordering::Relaxed);
        let copied = copy(&world, "target", &world.copy_request("source")).await.unwrap();
        assert_eq!(world.bodies.reads.load(Ordering::Relaxed), before, "no data moved");
        assert_eq!((copied.etag, &copied.checksum), (ETag::of_parts([7; 16], 2), &expected), "{algorithm:?}");
        let part = async |n| {
            let selection = Selection::Part(PartNumber::parse(n).unwrap());
            let request = GetRequest { selection, ..GetRequest::default() };
            world.service.head(&world.caller, &world.bucket, &key("target"), &request).await
        };
        let first = part(1).await.unwrap();
        assert_eq!((first.range.len(), first.checksum, first.parts_count), (9, expected, None));
        expects!(part(2).await, Err(ServiceError::NoSuchPart { parts: 1, .. }));
        let asked = CopyRequest { checksum: Some(algorithm), ..world.copy_request("source") };
        let whole: Option<Checksum> = copy(&world, "target", &asked).await.unwrap().checksum;
        assert_eq!(whole, Some(full(algorithm, b"123456789")));
    }
}

#[tokio::test]
async fn a_source_too_large_to_copy_is_the_requests_fault() {
    let world = World::new().await;
    let object = NewObject {
        body: NewBody::Inline("".into()),
        size: LARGEST + 1,
        etag: etag(""),
        checksum: None,
        attributes: Attributes::default(),
        parts: Vec::new(),
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    };
    let bucket = world.service.head_bucket(&world.caller, &world.bucket).await.unwrap().id;
    let (key, condition) = (key("source"), WriteCondition::None);
    world.meta.commit(Commit::PutVersion { bucket, key, object, condition }).await.unwrap();
    let answer = copy(&world, "target", &world.copy_request("source")).await;
    expects!(answer, Err(ServiceError::InvalidRequest { .. }));
}
