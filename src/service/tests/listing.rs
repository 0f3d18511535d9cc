use super::{World, expects, key};
use crate::service::{
    CreateUploadRequest, ListObjectsRequest, ListUploadsRequest, ListVersionsRequest, ObjectsStart,
    ServiceError, UploadsPage, VersionsPage,
};
use crate::types::{UploadId, VersionId, Versioning};

async fn objects(world: &World, request: ListObjectsRequest) -> crate::service::ObjectsPage {
    world.service.list_objects(&world.caller, &world.bucket, request).await.unwrap()
}

#[tokio::test]
async fn objects_page_by_page_by_token_and_by_marker() {
    let world = World::new().await;
    for name in ["a", "b/1", "b/2", "c", "d/1"] {
        world.put(name, "x").await;
    }
    for by_token in [true, false] {
        let (mut seen, mut start) = (Vec::new(), ObjectsStart::Beginning);
        loop {
            let delimiter = Some("/".into());
            let request = ListObjectsRequest { delimiter, start, maximum: Some(1), ..Default::default() };
            let page = objects(&world, request).await;
            seen.extend(page.objects.iter().map(|object| object.key.to_text().into_owned()));
            seen.extend(page.common_prefixes);
            let (Some(token), Some(marker)) = (page.next, page.next_marker) else { break };
            start = if by_token { ObjectsStart::Token(token) } else { ObjectsStart::After(marker) };
        }
        assert_eq!(seen, ["a", "b/", "c", "d/"]);
    }
}

fn ids(page: &VersionsPage) -> Vec<VersionId> {
    page.versions.iter().map(|version| version.id).collect()
}

#[tokio::test]
async fn i1_a_null_version_at_a_pages_end_takes_no_other_with_it() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    let oldest = world.put("k", "1").await.version_id.unwrap();
    world.versioning(Versioning::Suspended).await;
    world.put("k", "null").await;
    let page = async |key_marker: Option<String>, version_marker| {
        let request =
            ListVersionsRequest { key_marker, version_marker, maximum: Some(1), ..Default::default() };
        world.service.list_versions(&world.caller, &world.bucket, request).await
    };
    let first = page(None, None).await.unwrap();
    assert_eq!(ids(&first), [VersionId::Null]);
    world.put("k", "null again").await;
    // As the protocol carries it: as text.
    let marker = VersionId::parse(&first.next_version_marker.unwrap().to_string()).unwrap();
    let second = page(first.next_key_marker, Some(marker)).await.unwrap();
    assert_eq!((ids(&second), second.next_key_marker), (vec![oldest], None));
    let named = page(Some("k".into()), Some(VersionId::Null)).await.unwrap();
    assert_eq!(ids(&named), [oldest], "a client may name the null version");
    expects!(page(None, Some(VersionId::Null)).await, Err(ServiceError::InvalidArgument { .. }));
}

#[tokio::test]
async fn i1_an_upload_that_ends_between_pages_takes_no_other_with_it() {
    let world = World::new().await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let request = CreateUploadRequest::default();
        let created = world.service.create_upload(&world.caller, &world.bucket, &key("k"), request).await;
        open.push(created.unwrap().id);
    }
    let page = async |key_marker: Option<String>, upload_marker| {
        let request =
            ListUploadsRequest { key_marker, upload_marker, maximum: Some(2), ..Default::default() };
        world.service.list_uploads(&world.caller, &world.bucket, request).await.unwrap()
    };
    let ids = |page: &UploadsPage| page.uploads.iter().map(|upload| upload.id).collect::<Vec<_>>();
    let first = page(None, None).await;
    assert_eq!(ids(&first), open[..2], "oldest first");
    world.service.abort_upload(&world.caller, &world.bucket, &key("k"), open[1]).await.unwrap();
    let marker = UploadId::parse(&first.next_upload_marker.unwrap().to_string()).unwrap();
    let second = page(first.next_key_marker, Some(marker)).await;
    assert_eq!((ids(&second), second.truncated), (open[2..].to_vec(), false));
    assert_eq!(ids(&page(Some("k".into()), Some(open[2])).await), open[3..], "an id is a marker too");
    assert_eq!(ids(&page(Some("k".into()), None).await), [], "a key marker alone is behind the key");
}
