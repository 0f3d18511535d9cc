use super::{World, expects, full, key, put_request};
use crate::meta::Commit;
use crate::service::{ExpectedChecksum, PutRequest, ServiceError, parse_upload_id, parse_upload_marker};
use crate::types::{Attributes, ChecksumAlgorithm, VersionId, Versioning};
use bytes::Bytes;
use futures::StreamExt;

/// The version that was made is what the client has to know, not what the bucket was when the body began.
#[tokio::test]
async fn the_version_id_is_told_when_versioning_was_enabled_during_the_put() {
    let world = World::new().await;
    let bucket = world.service.head_bucket(&world.caller, &world.bucket).await.unwrap().id;
    let meta = world.meta.clone();
    let body = futures::stream::once(async move {
        let commit = Commit::SetVersioning { bucket, versioning: Versioning::Enabled };
        crate::meta::MetaStore::commit(&*meta, commit).await.unwrap();
        Ok(Bytes::from_static(b"text"))
    });
    let request = PutRequest { body: body.boxed(), ..put_request("text") };
    let put = world.service.put(&world.caller, &world.bucket, &key("k"), request).await.unwrap();
    expects!(put.version_id, Some(VersionId::Id { .. }));
    assert!(world.get("k", put.version_id).await.is_ok());
}

#[tokio::test]
async fn null_is_shown_once_a_bucket_had_versioning() {
    let world = World::new().await;
    assert_eq!(world.put("k", "1").await.version_id, None);
    world.versioning(Versioning::Suspended).await;
    assert_eq!(world.put("k", "2").await.version_id, Some(VersionId::Null));
}

#[tokio::test]
async fn i2_a_body_that_is_not_what_was_announced_leaves_nothing() {
    let world = World::new().await;
    let attempt = async |request| world.service.put(&world.caller, &world.bucket, &key("k"), request).await;
    let wrong = PutRequest { content_md5: Some([0; 16]), ..put_request("text") };
    expects!(attempt(wrong).await, Err(ServiceError::ContentMd5Mismatch { .. }));
    let wrong = PutRequest { content_sha256: Some([0; 32]), ..put_request("text") };
    expects!(attempt(wrong).await, Err(ServiceError::ContentSha256Mismatch));
    for algorithm in ChecksumAlgorithm::ALL {
        let known = ExpectedChecksum::Known(full(algorithm, b"other"));
        let wrong = PutRequest { checksum: known, ..put_request("text") };
        expects!(attempt(wrong).await, Err(ServiceError::ChecksumMismatch { algorithm: a, .. }) if a == algorithm);
        let trailer = ExpectedChecksum::Trailer { algorithm, value: Box::new(|| Ok(None)) };
        let wrong = PutRequest { checksum: trailer, ..put_request("text") };
        expects!(attempt(wrong).await, Err(ServiceError::MissingTrailer { .. }));
    }
    for size in [3, 5] {
        let wrong = PutRequest { size: Some(size), ..put_request("text") };
        expects!(attempt(wrong).await, Err(ServiceError::IncompleteBody { .. }));
    }
    expects!(world.get("k", None).await, Err(ServiceError::NoSuchKey { .. }));
    for algorithm in ChecksumAlgorithm::ALL {
        let value = full(algorithm, b"text");
        let trailer = ExpectedChecksum::Trailer { algorithm, value: Box::new(|| Ok(Some(value))) };
        let right = PutRequest { checksum: trailer, ..put_request("text") };
        assert_eq!(attempt(right).await.unwrap().checksum, full(algorithm, b"text"));
    }
}

#[tokio::test]
async fn storage_classes_are_those_of_s3() {
    let world = World::new().await;
    let attempt = async |class: &str| {
        let attributes = Attributes { storage_class: Some(class.into()), ..Attributes::default() };
        let request = PutRequest { attributes, ..put_request("text") };
        world.service.put(&world.caller, &world.bucket, &key("k"), request).await
    };
    for class in crate::service::STORAGE_CLASSES {
        attempt(class).await.unwrap();
        let shown = world.get("k", None).await.unwrap().head.info.attributes.storage_class;
        assert_eq!(shown.as_deref(), Some(class));
    }
    for class in ["", "standard", "GOLD"] {
        expects!(attempt(class).await, Err(ServiceError::InvalidStorageClass { class: c }) if c == class);
    }
}

#[tokio::test]
async fn creating_ones_own_bucket_again_succeeds_in_the_first_region_only() {
    for (region, again) in [("us-east-1", true), ("eu-central-1", false)] {
        let world = World::in_region(region).await;
        let first = world.service.head_bucket(&world.caller, &world.bucket).await.unwrap();
        match world.service.create_bucket(&world.caller, &world.bucket, None, false).await {
            Ok(bucket) => assert_eq!((again, bucket), (true, first)),
            Err(ServiceError::BucketAlreadyOwnedByYou { .. }) => assert!(!again, "{region}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn an_id_that_no_upload_has_is_missing_as_an_upload_and_wrong_as_a_marker() {
    expects!(parse_upload_id("garbage"), Err(ServiceError::NoSuchUpload { .. }));
    expects!(parse_upload_marker("garbage"), Err(ServiceError::InvalidArgument { .. }));
}
