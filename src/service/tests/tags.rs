use super::{World, expects, key, put_request, stream};
use crate::service::{
    Caller, CompleteRequest, CompletedPart, CopyRequest, CreateUploadRequest, ExpectedChecksum, GetRequest,
    ObjectTags, PutPartRequest, PutRequest, ServiceError, WriteConditions,
};
use crate::types::{BucketName, PartNumber, Principal, Tag, TagSet, VersionId, Versioning};

fn tags(pairs: &[(&str, &str)]) -> TagSet {
    let tag = |(key, value): &(&str, &str)| Tag { key: (*key).into(), value: (*value).into() };
    TagSet::of_object(pairs.iter().map(tag).collect()).unwrap()
}

async fn read(world: &World, name: &str, version: Option<VersionId>) -> Result<ObjectTags, ServiceError> {
    world.service.object_tags(&world.caller, &world.bucket, &key(name), version).await
}

async fn of(world: &World, name: &str) -> TagSet {
    read(world, name, None).await.unwrap().tags
}

async fn set(
    world: &World,
    name: &str,
    version: Option<VersionId>,
    tags: TagSet,
) -> Result<Option<VersionId>, ServiceError> {
    world.service.set_object_tags(&world.caller, &world.bucket, &key(name), version, tags).await
}

async fn count(world: &World, name: &str) -> usize {
    let ask = GetRequest::default();
    let head = world.service.head(&world.caller, &world.bucket, &key(name), &ask).await.unwrap();
    head.info.tags
}

async fn put_tagged(world: &World, name: &str, tags: TagSet) {
    let request = PutRequest { tags, ..put_request(name) };
    world.service.put(&world.caller, &world.bucket, &key(name), request).await.unwrap();
}

#[tokio::test]
async fn tags_come_with_a_put_and_go_with_the_next() {
    let world = World::new().await;
    put_tagged(&world, "k", tags(&[("a", "1"), ("b", "")])).await;
    assert_eq!((of(&world, "k").await, count(&world, "k").await), (tags(&[("a", "1"), ("b", "")]), 2));
    assert_eq!(set(&world, "k", None, tags(&[("c", "3")])).await.unwrap(), None, "without versioning");
    assert_eq!((of(&world, "k").await, world.text("k").await.as_str()), (tags(&[("c", "3")]), "k"));
    world.put("k", "again").await;
    assert_eq!((of(&world, "k").await, count(&world, "k").await), (TagSet::default(), 0));
    set(&world, "k", None, tags(&[("c", "3")])).await.unwrap();
    world.service.delete_object_tags(&world.caller, &world.bucket, &key("k"), None).await.unwrap();
    assert!(of(&world, "k").await.is_empty());
}

#[tokio::test]
async fn every_version_has_tags_of_its_own() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    let old = world.put("k", "old").await.version_id;
    let new = world.put("k", "new").await.version_id;
    assert_eq!(set(&world, "k", old, tags(&[("age", "old")])).await.unwrap(), old);
    assert_eq!(set(&world, "k", None, tags(&[("age", "new")])).await.unwrap(), new);
    let found = read(&world, "k", old).await.unwrap();
    assert_eq!((found.tags.get("age"), found.version_id), (Some("old"), old));
    let found = read(&world, "k", None).await.unwrap();
    assert_eq!((found.tags.get("age"), found.version_id), (Some("new"), new));
    let caller = &world.caller;
    let gone = world.service.delete_object_tags(caller, &world.bucket, &key("k"), old).await.unwrap();
    assert_eq!(gone, old);
    assert!(read(&world, "k", old).await.unwrap().tags.is_empty());
    assert_eq!(of(&world, "k").await.get("age"), Some("new"));
}

#[tokio::test]
async fn nothing_and_delete_markers_have_no_tags() {
    let world = World::new().await;
    expects!(read(&world, "none", None).await, Err(ServiceError::NoSuchKey { .. }));
    expects!(set(&world, "none", None, tags(&[])).await, Err(ServiceError::NoSuchKey { .. }));
    world.versioning(Versioning::Enabled).await;
    world.put("k", "1").await;
    let gone = world.put("k", "2").await.version_id;
    world.delete("k", gone).await;
    expects!(read(&world, "k", gone).await, Err(ServiceError::NoSuchVersion { .. }));
    expects!(set(&world, "k", gone, tags(&[])).await, Err(ServiceError::NoSuchVersion { .. }));
    let marker = world.delete("k", None).await.version_id;
    for version in [None, marker] {
        let is_it = |m: &VersionId| Some(*m) == marker;
        let read = read(&world, "k", version).await;
        expects!(read, Err(ServiceError::IsDeleteMarker { marker: m, .. }) if is_it(&m));
        let set = set(&world, "k", version, tags(&[("a", "")])).await;
        expects!(set, Err(ServiceError::IsDeleteMarker { marker: m, .. }) if is_it(&m));
    }
}

#[tokio::test]
async fn a_copy_has_the_tags_of_its_source_or_those_asked_for() {
    let world = World::new().await;
    put_tagged(&world, "source", tags(&[("a", "1")])).await;
    let copy = async |name: &str, tags| {
        let request = CopyRequest { tags, ..world.copy_request("source") };
        world.service.copy(&world.caller, &world.bucket, &key(name), &request).await.unwrap();
        of(&world, name).await
    };
    assert_eq!(copy("same", None).await, tags(&[("a", "1")]));
    assert_eq!(copy("other", Some(tags(&[("b", "2")]))).await, tags(&[("b", "2")]));
    assert_eq!(copy("without", Some(TagSet::default())).await, TagSet::default());
    // Tags alone do not make a copy onto itself another object.
    let onto_itself = CopyRequest { tags: Some(tags(&[("c", "")])), ..world.copy_request("source") };
    let refused = world.service.copy(&world.caller, &world.bucket, &key("source"), &onto_itself).await;
    expects!(refused, Err(ServiceError::InvalidRequest { .. }));
}

#[tokio::test]
async fn the_tags_of_an_upload_are_those_of_its_object() {
    let world = World::new().await;
    let request = CreateUploadRequest { tags: tags(&[("a", "1")]), ..CreateUploadRequest::default() };
    let (caller, bucket) = (&world.caller, &world.bucket);
    let upload = world.service.create_upload(caller, bucket, &key("k"), request).await.unwrap().id;
    let number = PartNumber::parse(1).unwrap();
    let part = PutPartRequest {
        upload,
        number,
        body: stream("1"),
        size: Some(1),
        content_md5: None,
        content_sha256: None,
        checksum: ExpectedChecksum::None,
    };
    let etag = Some(world.service.put_part(caller, bucket, &key("k"), part).await.unwrap().etag);
    let complete = CompleteRequest {
        upload,
        parts: vec![CompletedPart { number, etag, checksum: None }],
        checksum: None,
        kind: None,
        size: None,
        conditions: WriteConditions::default(),
    };
    world.service.complete_upload(caller, bucket, &key("k"), &complete).await.unwrap();
    assert_eq!((of(&world, "k").await, count(&world, "k").await), (tags(&[("a", "1")]), 1));
}

#[tokio::test]
async fn a_bucket_has_tags_until_they_are_taken_away() {
    let world = World::new().await;
    let (service, caller, bucket) = (&world.service, &world.caller, &world.bucket);
    expects!(service.bucket_tags(caller, bucket).await, Err(ServiceError::NoSuchTagSet { .. }));
    let many = (0..50).map(|n| Tag { key: format!("k{n}"), value: String::new() }).collect();
    let many = TagSet::of_bucket(many).unwrap();
    service.set_bucket_tags(caller, bucket, many.clone()).await.unwrap();
    assert_eq!(service.bucket_tags(caller, bucket).await.unwrap(), many);
    service.set_bucket_tags(caller, bucket, TagSet::default()).await.unwrap();
    expects!(service.bucket_tags(caller, bucket).await, Err(ServiceError::NoSuchTagSet { .. }));
    let born = BucketName::parse("born-with-tags").unwrap();
    service.create_tagged_bucket(caller, &born, None, false, tags(&[("a", "1")])).await.unwrap();
    assert_eq!(service.bucket_tags(caller, &born).await.unwrap(), tags(&[("a", "1")]));
}

#[tokio::test]
async fn i6_tags_are_neither_read_nor_written_without_permission() {
    let world = World::new().await;
    put_tagged(&world, "k", tags(&[("a", "1")])).await;
    let nobody = Caller::new(Principal::Anonymous);
    let (service, bucket, key) = (&world.service, &world.bucket, &key("k"));
    let denied = service.object_tags(&nobody, bucket, key, None).await;
    expects!(denied, Err(ServiceError::AccessDenied { .. }));
    let denied = service.set_object_tags(&nobody, bucket, key, None, TagSet::default()).await;
    expects!(denied, Err(ServiceError::AccessDenied { .. }));
    let denied = service.delete_object_tags(&nobody, bucket, key, None).await;
    expects!(denied, Err(ServiceError::AccessDenied { .. }));
    expects!(service.bucket_tags(&nobody, bucket).await, Err(ServiceError::AccessDenied { .. }));
    let denied = service.set_bucket_tags(&nobody, bucket, TagSet::default()).await;
    expects!(denied, Err(ServiceError::AccessDenied { .. }));
    assert_eq!(of(&world, "k").await, tags(&[("a", "1")]));
}
