use super::{World, etag, expects, key};
use crate::meta::{Commit, MetaStore, NewBody, NewObject, WriteCondition};
use crate::service::{
    AttributesRequest, Caller, ETagCondition, ObjectAttributes, ObjectParts, ReadConditions, ServiceError,
};
use crate::types::{
    Attributes, ETag, ObjectLock, PartLayout, PartNumber, Principal, TagSet, VersionId, Versioning,
};

async fn ask(
    world: &World,
    name: &str,
    request: AttributesRequest,
) -> Result<ObjectAttributes, ServiceError> {
    world.service.object_attributes(&world.caller, &world.bucket, &key(name), &request).await
}

/// An object of parts of one byte each, with these numbers.
async fn in_parts(world: &World, numbers: impl Iterator<Item = i64>) {
    let part = |n| PartLayout { number: PartNumber::parse(n).unwrap(), size: 1, checksum: None };
    let parts: Vec<_> = numbers.map(part).collect();
    let object = NewObject {
        body: NewBody::Inline(vec![b'x'; parts.len()].into()),
        size: parts.len() as u64,
        etag: ETag::of_parts([1; 16], parts.len() as u16),
        checksum: None,
        attributes: Attributes::default(),
        parts,
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    };
    let bucket = world.meta.bucket(&world.bucket).await.unwrap().unwrap().id;
    let condition = WriteCondition::None;
    world.meta.commit(Commit::PutVersion { bucket, key: key("big"), object, condition }).await.unwrap();
}

#[tokio::test]
async fn parts_come_in_pages_of_a_thousand_or_less() {
    let world = World::new().await;
    in_parts(&world, (1..=1002).map(|n| n * 2)).await;
    let page = async |part_marker, maximum_parts| -> ObjectParts {
        let request = AttributesRequest { part_marker, maximum_parts, ..AttributesRequest::default() };
        let found = ask(&world, "big", request).await.unwrap();
        assert_eq!((found.info.size, found.info.parts), (1002, Some(1002)));
        found.parts.unwrap()
    };
    let numbers = |page: &ObjectParts| page.parts.iter().map(|part| part.number.get()).collect::<Vec<_>>();
    let first = page(0, None).await;
    assert_eq!((first.total, first.parts.len(), first.truncated, first.maximum), (1002, 1000, true, 1000));
    assert_eq!(page(0, Some(5_000)).await, first);
    let last = page(2000, None).await;
    assert_eq!((numbers(&last), last.truncated), (vec![2002, 2004], false));
    let middle = page(7, Some(2)).await;
    assert_eq!((numbers(&middle), middle.truncated, middle.maximum), (vec![8, 10], true, 2));
    let none = page(0, Some(0)).await;
    assert_eq!((numbers(&none), none.truncated), (vec![], true));
    let behind = page(u64::MAX, None).await;
    assert_eq!((numbers(&behind), behind.truncated, behind.total), (vec![], false, 1002));
}

#[tokio::test]
async fn an_object_in_one_piece_has_no_parts_and_a_marker_no_attributes() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    let old = world.put("k", "old").await.version_id;
    let new = world.put("k", "newer").await.version_id;
    let version = |version: Option<VersionId>| AttributesRequest { version, ..AttributesRequest::default() };
    let found = ask(&world, "k", version(None)).await.unwrap();
    assert_eq!((found.info.version_id, found.info.size, found.parts), (new, 5, None));
    let found = ask(&world, "k", version(old)).await.unwrap();
    assert_eq!((found.info.version_id, found.info.etag), (old, etag("old")));
    let matching = |text| AttributesRequest {
        conditions: ReadConditions {
            if_match: Some(ETagCondition::OneOf(vec![etag(text)])),
            ..ReadConditions::default()
        },
        ..AttributesRequest::default()
    };
    ask(&world, "k", matching("newer")).await.unwrap();
    let failed = ask(&world, "k", matching("old")).await;
    expects!(failed, Err(ServiceError::PreconditionFailed { condition: "If-Match" }));
    let nobody = Caller::new(Principal::Anonymous);
    let denied = world.service.object_attributes(&nobody, &world.bucket, &key("k"), &version(None)).await;
    expects!(denied, Err(ServiceError::AccessDenied { .. }));
    let marker = world.delete("k", None).await.version_id;
    expects!(ask(&world, "k", version(None)).await, Err(ServiceError::Deleted { .. }));
    expects!(ask(&world, "k", version(marker)).await, Err(ServiceError::IsDeleteMarker { .. }));
}
