//! What is locked survives every path, and only what is locked is kept (I6).

use super::{World, expects, key, put_request, stream};
use crate::service::{
    Caller, CompleteRequest, CompletedPart, CreateUploadRequest, DeleteItem, DeleteRequest, PutPartRequest,
    PutRequest, ServiceError, WriteConditions,
};
use crate::sys::ManualClock;
use crate::types::{
    BucketName, DefaultRetention, LockMode, LockSettings, ObjectLock, PartNumber, Principal, Retention,
    RetentionPeriod, UnixMillis, VersionId, Versioning,
};
use LockMode::{Compliance, Governance};

fn until(mode: LockMode, millis: i64) -> ObjectLock {
    ObjectLock { retention: Some(Retention { mode, until: UnixMillis::new(millis) }), legal_hold: None }
}

const HELD: ObjectLock = ObjectLock { retention: None, legal_hold: Some(true) };

impl World {
    /// A world whose bucket has object lock.
    async fn locked() -> Self {
        let mut world = Self::new().await;
        world.bucket = BucketName::parse("locked").unwrap();
        world.service.create_bucket(&world.caller, &world.bucket, None, true).await.unwrap();
        world
    }

    async fn try_put_locked(&self, name: &str, lock: ObjectLock) -> Result<VersionId, ServiceError> {
        let request = PutRequest { lock, ..put_request("precious") };
        let put = self.service.put(&self.caller, &self.bucket, &key(name), request).await?;
        Ok(put.version_id.unwrap())
    }

    async fn put_locked(&self, name: &str, lock: ObjectLock) -> VersionId {
        self.try_put_locked(name, lock).await.unwrap()
    }

    async fn remove(&self, name: &str, version: VersionId, bypass: bool) -> Result<(), ServiceError> {
        let request =
            DeleteRequest { version: Some(version), bypass_governance: bypass, ..DeleteRequest::default() };
        self.try_delete(name, request).await.map(drop)
    }

    async fn retain(&self, name: &str, lock: ObjectLock, bypass: bool) -> Result<(), ServiceError> {
        let at = (&self.bucket, &key(name));
        self.service.set_retention(&self.caller, at, None, lock.retention, bypass).await
    }

    async fn hold(&self, name: &str, on: bool) -> Result<(), ServiceError> {
        self.service.set_legal_hold(&self.caller, (&self.bucket, &key(name)), None, on).await
    }

    async fn shown(&self, name: &str, version: VersionId) -> ObjectLock {
        self.get(name, Some(version)).await.unwrap().head.info.lock
    }
}

#[tokio::test]
async fn i6_a_locked_version_survives_every_path() {
    let world = World::locked().await;
    for lock in [until(Compliance, 9_000), until(Governance, 9_000), HELD] {
        let version = world.put_locked("k", lock).await;
        expects!(world.remove("k", version, false).await, Err(ServiceError::Locked { .. }));
        let marker = world.delete("k", None).await;
        assert!(marker.delete_marker, "a marker may go on top");
        world.put("k", "newer").await;
        world.try_delete("k", DeleteRequest::default()).await.unwrap();
        let items = vec![
            DeleteItem {
                key: key("k"),
                request: DeleteRequest { version: Some(version), ..DeleteRequest::default() },
            },
            DeleteItem {
                key: key("k"),
                request: DeleteRequest { version: marker.version_id, ..DeleteRequest::default() },
            },
        ];
        let done = world.service.delete_many(&world.caller, &world.bucket, items).await.unwrap();
        expects!(&done[0].result, Err(ServiceError::Locked { .. }));
        expects!(&done[1].result, Ok(_));
        let gone = world.service.delete_bucket(&world.caller, &world.bucket).await;
        expects!(gone, Err(ServiceError::BucketNotEmpty { .. }));
        let suspend = world.service.set_versioning(&world.caller, &world.bucket, Versioning::Suspended);
        expects!(suspend.await, Err(ServiceError::InvalidBucketState { .. }));
        world.clock.set(UnixMillis::new(-9_000));
        expects!(world.remove("k", version, false).await, Err(ServiceError::Locked { .. }));
        world.clock.set(UnixMillis::new(0));
        assert_eq!(world.shown("k", version).await, lock);
    }
}

#[tokio::test]
async fn i6_compliance_yields_to_nobody_and_governance_to_who_asks() {
    let world = World::locked().await;
    let compliance = world.put_locked("c", until(Compliance, 9_000)).await;
    let governance = world.put_locked("g", until(Governance, 9_000)).await;
    expects!(world.remove("c", compliance, true).await, Err(ServiceError::Locked { .. }));
    for weaker in [until(Compliance, 8_000), until(Governance, 90_000), ObjectLock::default()] {
        expects!(world.retain("c", weaker, true).await, Err(ServiceError::Locked { .. }));
        expects!(world.retain("g", ObjectLock::default(), false).await, Err(ServiceError::Locked { .. }));
    }
    world.retain("c", until(Compliance, 10_000), false).await.unwrap();
    world.retain("g", until(Governance, 10_000), false).await.unwrap();
    world.retain("g", until(Governance, 5_000), true).await.unwrap();
    let nobody = Caller::new(Principal::Anonymous);
    let bypass =
        DeleteRequest { version: Some(governance), bypass_governance: true, ..DeleteRequest::default() };
    let denied = world.service.delete(&nobody, &world.bucket, &key("g"), &bypass).await;
    expects!(denied, Err(ServiceError::AccessDenied { .. }));
    world.remove("g", governance, true).await.unwrap();
    world.clock.set(UnixMillis::new(9_999));
    expects!(world.remove("c", compliance, true).await, Err(ServiceError::Locked { .. }));
    world.clock.set(UnixMillis::new(10_000));
    world.remove("c", compliance, false).await.unwrap();
}

#[tokio::test]
async fn a_legal_hold_holds_until_it_is_let_go() {
    let world = World::locked().await;
    let version = world.put_locked("k", ObjectLock::default()).await;
    let at = (&world.caller, &world.bucket, key("k"));
    let asked = || world.service.legal_hold(at.0, at.1, &at.2, None);
    expects!(asked().await, Err(ServiceError::NoSuchLock { .. }));
    world.hold("k", true).await.unwrap();
    assert!(asked().await.unwrap());
    expects!(world.remove("k", version, true).await, Err(ServiceError::Locked { .. }));
    world.hold("k", false).await.unwrap();
    assert!(!asked().await.unwrap());
    world.remove("k", version, false).await.unwrap();
    expects!(world.hold("k", true).await, Err(ServiceError::NoSuchKey { .. }));
    let marker = world.delete("k", None).await.version_id.unwrap();
    expects!(world.hold("k", true).await, Err(ServiceError::Deleted { .. }));
    let on_marker = world.service.set_legal_hold(at.0, (at.1, &at.2), Some(marker), true).await;
    expects!(on_marker, Err(ServiceError::IsDeleteMarker { .. }));
    let gone = world.service.retention(at.0, at.1, &at.2, Some(version)).await;
    expects!(gone, Err(ServiceError::NoSuchVersion { .. }));
}

#[tokio::test]
async fn a_bucket_retains_by_default_what_is_put_copied_and_completed() {
    let world = World::locked().await;
    let (caller, bucket) = (&world.caller, &world.bucket);
    assert_eq!(world.service.lock_settings(caller, bucket).await.unwrap(), LockSettings::default());
    let source = world.put_locked("source", until(Compliance, 99_000)).await;
    let (mode, period) = (Governance, RetentionPeriod::Days(1));
    let settings = LockSettings { default_retention: Some(DefaultRetention { mode, period }) };
    world.service.set_lock_settings(caller, bucket, settings).await.unwrap();
    assert_eq!(world.service.lock_settings(caller, bucket).await.unwrap(), settings);
    let by_default = until(Governance, 86_400_000);

    let put = world.put_locked("put", ObjectLock::default()).await;
    assert_eq!(world.shown("put", put).await, by_default);
    let asked = world.put_locked("asked", until(Compliance, 7_000)).await;
    assert_eq!(world.shown("asked", asked).await, until(Compliance, 7_000));

    // A copy's lock is its own.
    let copied = world.service.copy(caller, bucket, &key("copy"), &world.copy_request("source")).await;
    assert_eq!(world.shown("copy", copied.unwrap().version_id.unwrap()).await, by_default);
    let request = super::CopyRequest { lock: HELD, ..world.copy_request("source") };
    let copied = world.service.copy(caller, bucket, &key("copy"), &request).await.unwrap();
    let both = ObjectLock { legal_hold: Some(true), ..by_default };
    assert_eq!(world.shown("copy", copied.version_id.unwrap()).await, both);
    assert_eq!(world.shown("source", source).await, until(Compliance, 99_000));

    let completed = world.upload("parts", until(Compliance, 8_000)).await;
    assert_eq!(world.shown("parts", completed).await, until(Compliance, 8_000));
    expects!(world.remove("parts", completed, true).await, Err(ServiceError::Locked { .. }));
    let completed = world.upload("parts", ObjectLock::default()).await;
    assert_eq!(world.shown("parts", completed).await, by_default);
}

impl World {
    async fn upload(&self, name: &str, lock: ObjectLock) -> VersionId {
        let (caller, bucket, key) = (&self.caller, &self.bucket, key(name));
        let create = CreateUploadRequest { lock, ..CreateUploadRequest::default() };
        let upload = self.service.create_upload(caller, bucket, &key, create).await.unwrap().id;
        let number = PartNumber::parse(1).unwrap();
        let part = PutPartRequest {
            upload,
            number,
            body: stream("part"),
            size: Some(4),
            content_md5: None,
            content_sha256: None,
            checksum: crate::service::ExpectedChecksum::None,
        };
        let etag = self.service.put_part(caller, bucket, &key, part).await.unwrap().etag;
        let complete = CompleteRequest {
            upload,
            parts: vec![CompletedPart { number, etag: Some(etag), checksum: None }],
            checksum: None,
            kind: None,
            size: None,
            conditions: WriteConditions::default(),
        };
        let done = self.service.complete_upload(caller, bucket, &key, &complete).await.unwrap();
        done.version_id.unwrap()
    }
}

/// The clock that locks go by may be ahead of the one that clients are compared with.
#[tokio::test]
async fn i6_no_retention_is_acknowledged_that_protects_nothing() {
    let world = World::locked().await;
    let locks = ManualClock::at(UnixMillis::new(5_000));
    world.meta.set_lock_clock(std::sync::Arc::new(locks));
    let over = until(Governance, 5_000);
    let put = world.try_put_locked("k", over).await;
    expects!(put, Err(ServiceError::InvalidArgument { name: "x-amz-object-lock-retain-until-date", .. }));
    expects!(world.get("k", None).await, Err(ServiceError::NoSuchKey { .. }));
    let create = CreateUploadRequest { lock: over, ..CreateUploadRequest::default() };
    let created = world.service.create_upload(&world.caller, &world.bucket, &key("k"), create).await;
    expects!(created, Err(ServiceError::InvalidArgument { .. }));
    let version = world.put_locked("k", until(Governance, 5_001)).await;
    expects!(world.remove("k", version, false).await, Err(ServiceError::Locked { .. }));
    let shorter = world.retain("k", over, true).await;
    expects!(shorter, Err(ServiceError::InvalidArgument { name: "RetainUntilDate", .. }));
    world.retain("k", ObjectLock::default(), true).await.unwrap();
}

#[tokio::test]
async fn i6_what_cannot_be_locked_is_refused_not_stored() {
    let world = World::locked().await;
    world.clock.set(UnixMillis::new(5_000));
    let past = world.try_put_locked("k", until(Governance, 5_000)).await;
    expects!(past, Err(ServiceError::InvalidArgument { name: "x-amz-object-lock-retain-until-date", .. }));
    world.put_locked("k", ObjectLock::default()).await;
    let past = world.retain("k", until(Governance, 4_000), true).await;
    expects!(past, Err(ServiceError::InvalidArgument { .. }));

    let unlocked = World::new().await;
    let (caller, bucket) = (&unlocked.caller, &unlocked.bucket);
    expects!(unlocked.try_put_locked("k", HELD).await, Err(ServiceError::NoObjectLock { .. }));
    expects!(unlocked.get("k", None).await, Err(ServiceError::NoSuchKey { .. }));
    let create = CreateUploadRequest { lock: HELD, ..CreateUploadRequest::default() };
    let created = unlocked.service.create_upload(caller, bucket, &key("k"), create).await;
    expects!(created, Err(ServiceError::NoObjectLock { .. }));
    unlocked.put("k", "1").await;
    let copy = super::CopyRequest { lock: HELD, ..unlocked.copy_request("k") };
    let copied = unlocked.service.copy(caller, bucket, &key("copy"), &copy).await;
    expects!(copied, Err(ServiceError::NoObjectLock { .. }));
    expects!(unlocked.hold("k", true).await, Err(ServiceError::NoObjectLock { .. }));
    expects!(unlocked.retain("k", until(Governance, 9), false).await, Err(ServiceError::NoObjectLock { .. }));
    let asked = unlocked.service.retention(caller, bucket, &key("k"), None).await;
    expects!(asked, Err(ServiceError::NoObjectLock { .. }));
    let settings = unlocked.service.lock_settings(caller, bucket).await;
    expects!(settings, Err(ServiceError::NoLockConfiguration { .. }));
    let lock = async || unlocked.service.set_lock_settings(caller, bucket, LockSettings::default()).await;
    expects!(lock().await, Err(ServiceError::InvalidBucketState { .. }));
    let again = unlocked.service.create_bucket(caller, bucket, None, true).await;
    expects!(again, Err(ServiceError::BucketAlreadyOwnedByYou { .. }));
    unlocked.versioning(Versioning::Enabled).await;
    lock().await.unwrap();
    unlocked.put_locked("k", HELD).await;
    unlocked.service.create_bucket(caller, bucket, None, true).await.unwrap();
}
