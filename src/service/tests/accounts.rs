//! Whose buckets are whose.

use super::{World, expects, key, put_request};
use crate::service::{
    Action, Caller, CopyPartRequest, CreateUploadRequest, Decision, DeleteItem, DeleteRequest, GetRequest,
    ListBucketsRequest, ListObjectsRequest, ListUploadsRequest, ListVersionsRequest, ObjectService, Owner,
    ReadConditions, Resource, ServiceError, decide,
};
use crate::types::{AccountId, BucketName, ByteRange, LockSettings, PartNumber, Principal, Versioning};

fn id(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

fn account(name: &str) -> Caller {
    let access_key = format!("key of {name}").into();
    Caller::new(Principal::Account { id: id(name), name: name.into(), access_key })
}

fn name(name: &str) -> BucketName {
    BucketName::parse(name).unwrap()
}

/// A world with a bucket of root's, `bucket`, and one each of two accounts.
async fn world() -> (World, Caller, Caller) {
    let world = World::new().await;
    let (ada, bob) = (account("ada"), account("bob"));
    world.service.create_bucket(&ada, &name("of-ada"), None, false).await.unwrap();
    world.service.create_bucket(&bob, &name("of-bob"), None, false).await.unwrap();
    (world, ada, bob)
}

async fn listed(service: &ObjectService, caller: &Caller, request: ListBucketsRequest) -> Vec<String> {
    let page = service.list_buckets(caller, &request).await.unwrap();
    page.buckets.iter().map(|bucket| bucket.name.to_string()).collect()
}

#[tokio::test]
async fn i6_an_account_lists_its_own_buckets_and_root_all() {
    let (world, ada, _) = world().await;
    let all = ListBucketsRequest::default();
    assert_eq!(listed(&world.service, &ada, all.clone()).await, ["of-ada"]);
    assert_eq!(listed(&world.service, &account("carol"), all.clone()).await, [""; 0]);
    assert_eq!(listed(&world.service, &world.caller, all.clone()).await, ["bucket", "of-ada", "of-bob"]);
    world.service.create_bucket(&ada, &name("zz-of-ada"), None, false).await.unwrap();
    let one = ListBucketsRequest { maximum: Some(1), ..all.clone() };
    let page = world.service.list_buckets(&ada, &one).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("of-ada"), "others' buckets are no pages");
    let rest = ListBucketsRequest { continuation_token: page.next, ..one };
    assert_eq!(listed(&world.service, &ada, rest).await, ["zz-of-ada"]);
    let nobody = Caller::new(Principal::Anonymous);
    expects!(world.service.list_buckets(&nobody, &all).await, Err(ServiceError::AccessDenied { .. }));
}

#[tokio::test]
async fn a_name_is_one_owners_at_a_time() {
    let (world, ada, bob) = world().await;
    let taken = name("of-ada");
    for other in [&bob, &world.caller] {
        let again = world.service.create_bucket(other, &taken, None, false).await;
        expects!(again, Err(ServiceError::BucketAlreadyExists { .. }));
    }
    assert_eq!(world.service.create_bucket(&ada, &taken, None, false).await.unwrap().owner, Some(id("ada")));
    let locked = world.service.create_bucket(&ada, &name("locked"), None, true).await.unwrap();
    assert_eq!((locked.owner, locked.lock.is_some()), (Some(id("ada")), true));
    let of_root = world.service.create_bucket(&ada, &world.bucket, None, false).await;
    expects!(of_root, Err(ServiceError::BucketAlreadyExists { .. }));
    world.service.delete_bucket(&ada, &taken).await.unwrap();
    assert_eq!(world.service.create_bucket(&bob, &taken, None, false).await.unwrap().owner, Some(id("bob")));
    expects!(world.service.head_bucket(&ada, &taken).await, Err(ServiceError::AccessDenied { .. }));
}

#[tokio::test]
async fn i6_an_account_does_nothing_in_anothers_bucket() {
    let (world, ada, bob) = world().await;
    let (service, theirs, k) = (&world.service, name("of-ada"), key("k"));
    service.put(&ada, &theirs, &k, put_request("text")).await.unwrap();
    let upload = service.create_upload(&ada, &theirs, &k, CreateUploadRequest::default()).await.unwrap().id;

    for (caller, bucket) in
        [(&bob, &theirs), (&bob, &world.bucket), (&Caller::new(Principal::Anonymous), &theirs)]
    {
        macro_rules! refused {
            ($($call:expr),* $(,)?) => {$(
                expects!($call.await.map(drop), Err(ServiceError::AccessDenied { .. }));
            )*};
        }
        let get = GetRequest::default();
        refused!(
            service.head_bucket(caller, bucket),
            service.bucket_location(caller, bucket),
            service.versioning(caller, bucket),
            service.set_versioning(caller, bucket, Versioning::Enabled),
            service.delete_bucket(caller, bucket),
            service.list_objects(caller, bucket, ListObjectsRequest::default()),
            service.list_versions(caller, bucket, ListVersionsRequest::default()),
            service.list_uploads(caller, bucket, ListUploadsRequest::default()),
            service.put(caller, bucket, &k, put_request("theirs")),
            service.get(caller, bucket, &k, &get),
            service.head(caller, bucket, &k, &get),
            service.delete(caller, bucket, &k, &DeleteRequest::default()),
            service.create_upload(caller, bucket, &k, CreateUploadRequest::default()),
            service.abort_upload(caller, bucket, &k, upload),
            service.lock_settings(caller, bucket),
            service.set_lock_settings(caller, bucket, LockSettings::default()),
            service.retention(caller, bucket, &k, None),
            service.set_retention(caller, (bucket, &k), None, None, true),
            service.legal_hold(caller, bucket, &k, None),
            service.set_legal_hold(caller, (bucket, &k), None, true),
        );
        let item = DeleteItem { key: k.clone(), request: DeleteRequest::default() };
        let deleted = service.delete_many(caller, bucket, vec![item.clone(), item]).await.unwrap();
        assert_eq!(deleted.len(), 2);
        for item in deleted {
            expects!(item.result, Err(ServiceError::AccessDenied { .. }));
        }
    }
    let listed = service.list_objects(&ada, &theirs, ListObjectsRequest::default()).await.unwrap();
    assert_eq!(listed.objects.len(), 1);
    assert_eq!(listed.owner, Some(id("ada")));
    let uploads = service.list_uploads(&ada, &theirs, ListUploadsRequest::default()).await.unwrap();
    assert_eq!((uploads.uploads.len(), uploads.owner), (1, Some(id("ada"))));
    assert_eq!(service.versioning(&ada, &theirs).await.unwrap(), Versioning::Unversioned);
}

#[tokio::test]
async fn i6_nothing_is_copied_out_of_or_into_anothers_bucket() {
    let (world, ada, bob) = world().await;
    let (service, of_ada, of_bob) = (&world.service, name("of-ada"), name("of-bob"));
    service.put(&ada, &of_ada, &key("secret"), put_request("secret")).await.unwrap();
    service.put(&bob, &of_bob, &key("own"), put_request("own")).await.unwrap();
    let mut copy = world.copy_request("secret");
    copy.source.bucket = of_ada.clone();
    let taken = service.copy(&bob, &of_bob, &key("taken"), &copy).await;
    expects!(taken, Err(ServiceError::AccessDenied { action: Action::GetObject }));
    let upload = service.create_upload(&bob, &of_bob, &key("taken"), CreateUploadRequest::default()).await;
    let part = CopyPartRequest {
        upload: upload.unwrap().id,
        number: PartNumber::parse(1).unwrap(),
        source: copy.source.clone(),
        range: ByteRange::All,
        source_conditions: ReadConditions::default(),
    };
    let taken = service.copy_part(&bob, &of_bob, &key("taken"), &part).await;
    expects!(taken, Err(ServiceError::AccessDenied { action: Action::GetObject }));
    copy.source.bucket = of_bob.clone();
    copy.source.key = key("own");
    let left = service.copy(&bob, &of_ada, &key("left"), &copy).await;
    expects!(left, Err(ServiceError::AccessDenied { action: Action::PutObject }));
    service.copy(&world.caller, &of_ada, &key("left"), &copy).await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_missing_for_everybody() {
    let (world, ada, _) = world().await;
    let (missing, k) = (name("missing"), key("k"));
    for caller in [&ada, &world.caller, &Caller::new(Principal::Anonymous)] {
        let get = world.service.get(caller, &missing, &k, &GetRequest::default()).await;
        expects!(get.map(drop), Err(ServiceError::NoSuchBucket { .. }));
        expects!(world.service.head_bucket(caller, &missing).await, Err(ServiceError::NoSuchBucket { .. }));
        let item = DeleteItem { key: k.clone(), request: DeleteRequest::default() };
        let deleted = world.service.delete_many(caller, &missing, vec![item]).await;
        expects!(deleted, Err(ServiceError::NoSuchBucket { .. }));
    }
}

#[tokio::test]
async fn i6_nothing_is_done_where_another_owner_was_expected() {
    let (world, ada, bob) = world().await;
    let (of_ada, k) = (name("of-ada"), key("k"));
    let put =
        async |caller: &Caller| world.service.put(caller, &of_ada, &k, put_request("text")).await.map(drop);
    put(&ada.clone().expecting(Some("ada"), None)).await.unwrap();
    put(&world.caller.clone().expecting(Some("ada"), None)).await.unwrap();
    for wrong in ["bob", "sediment", ""] {
        let expecting = ada.clone().expecting(Some(wrong), None);
        expects!(put(&expecting).await, Err(ServiceError::AccessDenied { .. }));
        let item = DeleteItem { key: k.clone(), request: DeleteRequest::default() };
        let deleted = world.service.delete_many(&expecting, &of_ada, vec![item]).await;
        expects!(deleted, Err(ServiceError::AccessDenied { .. }));
    }
    let of_root = world.caller.clone().expecting(Some("sediment"), None);
    world.service.head_bucket(&of_root, &world.bucket).await.unwrap();

    let copy = world.copy_request("source");
    world.put("source", "text").await;
    let copied = async |owner: &str, source_owner: &str| {
        let caller = world.caller.clone().expecting(Some(owner), Some(source_owner));
        world.service.copy(&caller, &of_ada, &k, &copy).await.map(drop)
    };
    copied("ada", "sediment").await.unwrap();
    expects!(copied("sediment", "sediment").await, Err(ServiceError::AccessDenied { .. }));
    expects!(copied("ada", "ada").await, Err(ServiceError::AccessDenied { .. }));
    let allowed_nowhere = bob.expecting(Some("ada"), None);
    expects!(put(&allowed_nowhere).await, Err(ServiceError::AccessDenied { .. }));
}

#[tokio::test]
async fn an_owner_who_is_no_account_any_more_is_shown_by_its_id() {
    let (world, _, _) = world().await;
    let shown = |account: Option<&str>| {
        let Owner { id, name } = world.service.owner(account.map(id).as_ref());
        (id, name)
    };
    assert_eq!(shown(None), ("sediment".to_owned(), "sediment".to_owned()));
    assert_eq!(shown(Some("gone")), ("gone".to_owned(), "gone".to_owned()));
}

#[test]
fn i6_what_belongs_to_no_bucket_is_denied_but_for_making_and_listing_ones_own() {
    let (ada, nobody) = (account("ada"), Caller::new(Principal::Anonymous));
    let asked = |caller: &Caller, action| decide(caller.principal(), action, Resource::Store, None);
    assert_eq!(asked(&ada, Action::CreateBucket), Decision::Allow);
    assert_eq!(asked(&ada, Action::ListAllMyBuckets), Decision::Allow);
    assert_eq!(asked(&ada, Action::PutBucketObjectLockConfiguration), Decision::Allow, "of a new bucket");
    assert_eq!(asked(&ada, Action::GetObject), Decision::Deny);
    assert_eq!(asked(&nobody, Action::CreateBucket), Decision::Deny);
    assert_eq!(asked(&nobody, Action::ListAllMyBuckets), Decision::Deny);
}
