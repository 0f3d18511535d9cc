use super::{World, expects};
use crate::service::{CreateUploadRequest, DeleteOutcome, ServiceError};
use crate::types::{VersionId, Versioning};

const NOTHING: DeleteOutcome = DeleteOutcome { version_id: None, delete_marker: false };

#[tokio::test]
async fn without_versioning_a_delete_is_for_good() {
    let world = World::new().await;
    assert_eq!(world.delete("k", None).await, NOTHING, "deleting what is not there is a success");
    world.put("k", "1").await;
    assert_eq!(world.delete("k", None).await, NOTHING);
    expects!(world.get("k", None).await, Err(ServiceError::NoSuchKey { .. }));
    world.put("k", "1").await;
    let null = Some(VersionId::Null);
    assert_eq!(world.delete("k", null).await, DeleteOutcome { version_id: null, delete_marker: false });
}

#[tokio::test]
async fn with_versioning_a_delete_hides_and_naming_a_version_removes() {
    let world = World::new().await;
    world.put("k", "null").await;
    world.versioning(Versioning::Enabled).await;
    let first = world.put("k", "1").await.version_id;
    let marker = world.delete("k", None).await;
    assert!(marker.delete_marker);
    expects!(world.get("k", None).await, Err(ServiceError::Deleted { marker: m, .. }) if Some(m) == marker.version_id);
    expects!(world.get("k", marker.version_id).await, Err(ServiceError::IsDeleteMarker { .. }));
    assert!(world.get("k", first).await.is_ok(), "nothing is lost");
    assert!(world.get("k", Some(VersionId::Null)).await.is_ok());

    assert_eq!(world.delete("k", marker.version_id).await, marker, "removing the marker");
    assert_eq!(world.text("k").await, "1");
    assert_eq!(world.delete("k", first).await, DeleteOutcome { version_id: first, delete_marker: false });
    assert_eq!(world.text("k").await, "null");
    expects!(world.get("k", first).await, Err(ServiceError::NoSuchVersion { .. }));
    assert_eq!(world.delete("k", first).await, DeleteOutcome { version_id: first, delete_marker: false });
}

#[tokio::test]
async fn with_versioning_suspended_a_delete_takes_the_null_versions_place() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    let kept = world.put("k", "kept").await.version_id;
    world.versioning(Versioning::Suspended).await;
    world.put("k", "null").await;
    let null = Some(VersionId::Null);
    let marker = DeleteOutcome { version_id: null, delete_marker: true };
    assert_eq!(world.delete("k", None).await, marker);
    expects!(world.get("k", null).await, Err(ServiceError::IsDeleteMarker { .. }));
    assert!(world.get("k", kept).await.is_ok());
    assert_eq!(world.delete("k", null).await, marker);
    assert_eq!(world.text("k").await, "kept");
}

#[tokio::test]
async fn an_open_upload_does_not_keep_a_bucket_but_a_version_does() {
    let world = World::new().await;
    let gone = async || world.service.delete_bucket(&world.caller, &world.bucket).await;
    let start = async |name: &str| {
        let (caller, request) = (&world.caller, CreateUploadRequest::default());
        world.service.create_upload(caller, &world.bucket, &super::key(name), request).await.unwrap()
    };
    for n in 0..1_100 {
        start(&format!("key-{n}")).await;
    }
    world.put("k", "1").await;
    expects!(gone().await, Err(ServiceError::BucketNotEmpty { .. }));
    let open = crate::meta::ChangeLog::totals(&*world.meta).await.unwrap().uploads;
    assert_eq!(open, 1_100, "a bucket that stays keeps its uploads");
    world.delete("k", None).await;
    gone().await.unwrap();
    let totals = crate::meta::ChangeLog::totals(&*world.meta).await.unwrap();
    assert_eq!((totals.buckets, totals.uploads), (0, 0));
    expects!(gone().await, Err(ServiceError::NoSuchBucket { .. }));
}
