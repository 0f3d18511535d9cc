use super::{World, etag, expects, key};
use crate::service::{
    DeleteConditions, DeleteItem, DeleteRequest, ETagCondition, ReadConditions, ServiceError, WriteConditions,
};
use crate::types::{ETag, UnixMillis, VersionId, Versioning};

fn if_match(tag: ETag) -> WriteConditions {
    WriteConditions { if_match: Some(ETagCondition::OneOf(vec![tag])), if_none_match: None }
}

fn if_absent() -> WriteConditions {
    WriteConditions { if_match: None, if_none_match: Some(ETagCondition::Any) }
}

fn delete_if(tag: ETag) -> DeleteConditions {
    DeleteConditions { if_match: Some(ETagCondition::OneOf(vec![tag])), ..DeleteConditions::default() }
}

#[tokio::test]
async fn a_put_under_a_condition() {
    let world = World::new().await;
    let put = async |text, conditions| world.try_put("k", text, conditions).await;
    expects!(put("1", if_match(etag("1"))).await, Err(ServiceError::NoSuchKey { .. }));
    put("1", if_absent()).await.unwrap();
    let failed = put("2", if_absent()).await;
    expects!(failed, Err(ServiceError::PreconditionFailed { condition: "If-None-Match" }));
    let failed = put("2", if_match(etag("other"))).await;
    expects!(failed, Err(ServiceError::PreconditionFailed { condition: "If-Match" }));
    assert_eq!(world.text("k").await, "1");
    put("2", if_match(etag("1"))).await.unwrap();
    let nothing = WriteConditions { if_match: Some(ETagCondition::parse("junk")), if_none_match: None };
    expects!(put("3", nothing).await, Err(ServiceError::PreconditionFailed { .. }));
    let both = WriteConditions { if_none_match: Some(ETagCondition::Any), ..if_match(etag("2")) };
    expects!(put("3", both).await, Err(ServiceError::NotImplemented { .. }));
    assert_eq!(world.text("k").await, "2");
}

#[tokio::test]
async fn a_delete_marker_counts_as_no_object() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    world.put("k", "1").await;
    world.delete("k", None).await;
    let put = async |conditions| world.try_put("k", "2", conditions).await;
    expects!(put(if_match(etag("1"))).await, Err(ServiceError::NoSuchKey { .. }));
    put(if_absent()).await.unwrap();
}

#[tokio::test]
async fn a_delete_under_a_condition() {
    let world = World::new().await;
    let delete = async |conditions| {
        world.try_delete("k", DeleteRequest { conditions, ..DeleteRequest::default() }).await
    };
    expects!(delete(delete_if(etag("1"))).await, Err(ServiceError::NoSuchKey { .. }));
    world.put("k", "1").await;
    expects!(delete(delete_if(etag("2"))).await, Err(ServiceError::PreconditionFailed { .. }));
    assert_eq!(world.text("k").await, "1");
    delete(delete_if(etag("1"))).await.unwrap();
    expects!(world.get("k", None).await, Err(ServiceError::NoSuchKey { .. }));
}

#[tokio::test]
async fn a_delete_by_size_and_date() {
    let world = World::new().await;
    world.clock.set(UnixMillis::new(10_900));
    world.versioning(Versioning::Enabled).await;
    let delete = async |version, if_size, at: Option<i64>| {
        let if_modified_at = at.map(UnixMillis::new);
        let conditions = DeleteConditions { if_match: None, if_size, if_modified_at };
        world.try_delete("k", DeleteRequest { version, conditions, ..DeleteRequest::default() }).await
    };
    let nothing = delete(None, Some(9), Some(0)).await.unwrap();
    assert_eq!((nothing.version_id, nothing.delete_marker), (None, false), "no marker on top of nothing");
    let first = world.put("k", "four").await.version_id;
    world.put("k", "longer").await;
    let by_size = delete(None, Some(4), None).await;
    expects!(by_size, Err(ServiceError::PreconditionFailed { condition: "x-amz-if-match-size" }));
    let condition = "x-amz-if-match-last-modified-time";
    let by_date = delete(None, None, Some(11_000)).await;
    expects!(by_date, Err(ServiceError::PreconditionFailed { condition: c }) if c == condition);
    assert!(delete(None, Some(6), Some(10_000)).await.unwrap().delete_marker);
    // A marker is current: it has neither, and is no reason for another one.
    for (size, at) in [(Some(0), None), (None, Some(10_900))] {
        expects!(delete(None, size, at).await, Err(ServiceError::PreconditionFailed { .. }));
    }
    expects!(delete(first, Some(6), None).await, Err(ServiceError::PreconditionFailed { .. }));
    assert_eq!(delete(first, Some(4), Some(10_000)).await.unwrap().version_id, first);
    assert_eq!(delete(first, Some(5), None).await.unwrap().version_id, first, "gone is as good as deleted");
}

#[tokio::test]
async fn each_key_of_a_multi_object_delete_has_its_own_condition() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        world.put(name, name).await;
    }
    let item = |name: &str, tag: &str| DeleteItem {
        key: key(name),
        request: DeleteRequest { conditions: delete_if(etag(tag)), ..DeleteRequest::default() },
    };
    let items = vec![item("a", "a"), item("b", "other"), item("c", "c"), item("missing", "a")];
    let done = world.service.delete_many(&world.caller, &world.bucket, items).await.unwrap();
    let names: Vec<_> = done.iter().map(|item| item.key.to_text().into_owned()).collect();
    assert_eq!(names, ["a", "b", "c", "missing"], "in the order given");
    expects!(&done[0].result, Ok(_));
    expects!(&done[1].result, Err(ServiceError::PreconditionFailed { .. }));
    expects!(&done[2].result, Ok(_));
    expects!(&done[3].result, Err(ServiceError::NoSuchKey { .. }));
    assert_eq!(world.text("b").await, "b");
}

#[tokio::test]
async fn a_copy_has_conditions_on_its_source_and_on_its_target() {
    let world = World::new().await;
    world.clock.set(UnixMillis::new(10_000));
    world.put("source", "text").await;
    let copy = async |source_conditions, conditions| {
        let request = super::CopyRequest { source_conditions, conditions, ..world.copy_request("source") };
        world.service.copy(&world.caller, &world.bucket, &key("target"), &request).await
    };
    let (tag, other) =
        (Some(ETagCondition::OneOf(vec![etag("text")])), Some(ETagCondition::OneOf(vec![etag("x")])));
    let second = |n: i64| Some(UnixMillis::new(n * 1_000));
    let none = ReadConditions::default;
    for refused in [
        ReadConditions { if_match: other.clone(), ..none() },
        ReadConditions { if_none_match: tag.clone(), ..none() },
        ReadConditions { if_modified_since: second(10), ..none() },
        ReadConditions { if_unmodified_since: second(9), ..none() },
    ] {
        let answer = copy(refused.clone(), WriteConditions::default()).await;
        expects!(answer, Err(ServiceError::PreconditionFailed { .. }));
    }
    expects!(copy(none(), if_match(etag("text"))).await, Err(ServiceError::NoSuchKey { .. }));
    // A tag that holds outweighs a date that does not.
    let precedence = ReadConditions { if_match: tag, if_unmodified_since: second(9), ..none() };
    copy(precedence, if_absent()).await.unwrap();
    expects!(copy(none(), if_absent()).await, Err(ServiceError::PreconditionFailed { .. }));
    copy(ReadConditions { if_none_match: other, ..none() }, if_match(etag("text"))).await.unwrap();
}

#[tokio::test]
async fn a_read_under_a_condition() {
    let world = World::new().await;
    world.put("k", "text").await;
    let get = async |conditions| {
        let request = super::GetRequest { conditions, ..super::GetRequest::default() };
        world.service.head(&world.caller, &world.bucket, &key("k"), &request).await
    };
    let weak = ETagCondition::parse(&format!("\"0\", W/\"{}\"", etag("text")));
    let condition = ReadConditions { if_none_match: Some(weak.clone()), ..ReadConditions::default() };
    expects!(get(condition).await, Err(ServiceError::NotModified { info }) if info.etag == etag("text"));
    get(ReadConditions { if_match: Some(weak), ..ReadConditions::default() }).await.unwrap();
    let condition = ReadConditions { if_match: Some(ETagCondition::parse("x")), ..ReadConditions::default() };
    expects!(get(condition).await, Err(ServiceError::PreconditionFailed { condition: "If-Match" }));
    assert_eq!(world.put("k", "new").await.version_id, None::<VersionId>);
}
