use super::{World, etag, expects, full, key, stream};
use crate::service::{
    CompleteOutcome, CompleteRequest, CompletedPart, CreateUploadRequest, CreatedUpload, ETagCondition,
    ExpectedChecksum, GetRequest, PutPartOutcome, PutPartRequest, Selection, ServiceError, WriteConditions,
};
use crate::types::{
    Checksum, ChecksumAlgorithm as A, ChecksumKind as K, ETag, PartNumber, UploadId, VersionId, Versioning,
};

fn number(n: i64) -> PartNumber {
    PartNumber::parse(n).unwrap()
}

async fn start_with(world: &World, checksum: Option<A>, kind: Option<K>) -> CreatedUpload {
    let request = CreateUploadRequest { checksum, kind, ..CreateUploadRequest::default() };
    world.service.create_upload(&world.caller, &world.bucket, &key("big"), request).await.unwrap()
}

async fn start(world: &World) -> UploadId {
    start_with(world, None, None).await.id
}

async fn try_part(
    world: &World,
    upload: UploadId,
    n: i64,
    text: &str,
) -> Result<PutPartOutcome, ServiceError> {
    let request = PutPartRequest {
        upload,
        number: number(n),
        body: stream(text),
        size: Some(text.len() as u64),
        content_md5: None,
        content_sha256: None,
        checksum: ExpectedChecksum::None,
    };
    world.service.put_part(&world.caller, &world.bucket, &key("big"), request).await
}

async fn part(world: &World, upload: UploadId, n: i64, text: &str) {
    assert_eq!(try_part(world, upload, n, text).await.unwrap().etag, etag(text));
}

fn named(n: i64, text: &str) -> CompletedPart {
    CompletedPart { number: number(n), etag: Some(etag(text)), checksum: None }
}

fn request(upload: UploadId, parts: &[(i64, &str)]) -> CompleteRequest {
    CompleteRequest {
        upload,
        parts: parts.iter().map(|(n, text)| named(*n, text)).collect(),
        checksum: None,
        kind: None,
        size: None,
        conditions: WriteConditions::default(),
    }
}

async fn complete(world: &World, request: &CompleteRequest) -> Result<CompleteOutcome, ServiceError> {
    world.service.complete_upload(&world.caller, &world.bucket, &key("big"), request).await
}

#[tokio::test]
async fn i1_an_object_is_the_parts_named_in_order_of_their_numbers() {
    let world = World::new().await;
    let upload = start(&world).await;
    part(&world, upload, 9, "3").await;
    part(&world, upload, 2, "old").await;
    part(&world, upload, 1, "11111").await;
    part(&world, upload, 5, "not named").await;
    part(&world, upload, 2, "22222").await;
    let parts = [(1, "11111"), (2, "22222"), (9, "3")];
    let done = complete(&world, &request(upload, &parts)).await.unwrap();
    let expected = ETag::parse("03e7ccdbb0b3f2fce6091830f32be8ab-3").unwrap();
    assert_eq!((done.etag, done.size, done.version_id), (expected, 11, None));
    assert_eq!(done.checksum, Some(full(A::Crc64Nvme, b"11111222223")));
    assert_eq!(world.text("big").await, "11111222223");
    let selection = Selection::Part(number(9));
    let ask = GetRequest { selection, ..GetRequest::default() };
    let last = world.service.head(&world.caller, &world.bucket, &key("big"), &ask).await.unwrap();
    assert_eq!((last.range.start, last.range.end, last.parts_count), (10, 11, Some(3)));
    expects!(try_part(&world, upload, 1, "late").await, Err(ServiceError::NoSuchUpload { .. }));
}

#[tokio::test]
async fn i2_a_completion_that_is_wrong_changes_nothing() {
    let world = World::new().await;
    let upload = start(&world).await;
    part(&world, upload, 1, "11111").await;
    part(&world, upload, 2, "22").await;
    part(&world, upload, 3, "33333").await;
    let attempt = async |parts: &[(i64, &str)]| complete(&world, &request(upload, parts)).await;
    expects!(attempt(&[]).await, Err(ServiceError::NoParts { .. }));
    expects!(attempt(&[(3, "33333"), (1, "11111")]).await, Err(ServiceError::InvalidPartOrder { .. }));
    expects!(attempt(&[(1, "11111"), (1, "11111")]).await, Err(ServiceError::InvalidPartOrder { .. }));
    let wrong = attempt(&[(1, "other"), (3, "33333")]).await;
    expects!(wrong, Err(ServiceError::InvalidPart { number: n, .. }) if n == number(1));
    let missing = attempt(&[(1, "11111"), (4, "x")]).await;
    expects!(missing, Err(ServiceError::InvalidPart { number: n, .. }) if n == number(4));
    let small = attempt(&[(1, "11111"), (2, "22"), (3, "33333")]).await;
    expects!(small, Err(ServiceError::EntityTooSmall { number: n, size: 2, .. }) if n == number(2));
    let mut unnamed = request(upload, &[(1, "11111")]);
    unnamed.parts[0].etag = None;
    expects!(complete(&world, &unnamed).await, Err(ServiceError::InvalidPart { .. }));
    let mut sized = request(upload, &[(1, "11111")]);
    sized.size = Some(4);
    expects!(complete(&world, &sized).await, Err(ServiceError::InvalidRequest { .. }));
    let mut summed = request(upload, &[(1, "11111")]);
    summed.checksum = Some(full(A::Crc64Nvme, b"other"));
    expects!(complete(&world, &summed).await, Err(ServiceError::ChecksumMismatch { .. }));
    expects!(world.get("big", None).await, Err(ServiceError::NoSuchKey { .. }));
    complete(&world, &request(upload, &[(1, "11111"), (2, "22")])).await.unwrap();
}

#[tokio::test]
async fn i6_an_upload_id_gives_access_to_its_own_key_only() {
    let world = World::new().await;
    let upload = start(&world).await;
    part(&world, upload, 1, "1").await;
    let request = request(upload, &[(1, "1")]);
    let other = world.service.complete_upload(&world.caller, &world.bucket, &key("other"), &request).await;
    expects!(other, Err(ServiceError::NoSuchUpload { .. }));
    let other = world.service.abort_upload(&world.caller, &world.bucket, &key("other"), upload).await;
    expects!(other, Err(ServiceError::NoSuchUpload { .. }));
    complete(&world, &request).await.unwrap();
    let other = world.service.complete_upload(&world.caller, &world.bucket, &key("other"), &request).await;
    expects!(other, Err(ServiceError::NoSuchUpload { .. }));
}

#[tokio::test]
async fn i1_a_repeated_completion_is_acknowledged_only_for_the_version_that_it_made() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    let upload = start(&world).await;
    part(&world, upload, 1, "1").await;
    let absent = WriteConditions { if_none_match: Some(ETagCondition::Any), if_match: None };
    let first = CompleteRequest { conditions: absent, ..request(upload, &[(1, "1")]) };
    let done = complete(&world, &first).await.unwrap();
    assert_eq!(complete(&world, &first).await.unwrap(), done, "though the key is not absent any more");

    // The same bytes through an upload that was aborted, or that never was.
    let aborted = start(&world).await;
    part(&world, aborted, 1, "1").await;
    world.service.abort_upload(&world.caller, &world.bucket, &key("big"), aborted).await.unwrap();
    for stranger in [aborted, UploadId::new([9; 16])] {
        let answer = complete(&world, &request(stranger, &[(1, "1")])).await;
        expects!(answer, Err(ServiceError::NoSuchUpload { .. }));
    }
    world.put("big", "newer").await;
    assert_eq!(complete(&world, &first).await.unwrap(), done, "its version is still there");
    world.delete("big", done.version_id).await;
    expects!(complete(&world, &first).await, Err(ServiceError::NoSuchUpload { .. }));
    assert!(matches!(done.version_id, Some(VersionId::Id { .. })));
}

#[tokio::test]
async fn i1_a_completion_that_would_have_made_another_object_is_no_repetition() {
    let world = World::new().await;
    let upload = start_with(&world, Some(A::Crc32), Some(K::FullObject)).await.id;
    part(&world, upload, 1, "11111").await;
    part(&world, upload, 2, "22222").await;
    part(&world, upload, 3, "22222").await;
    let plain = request(upload, &[(1, "11111"), (2, "22222")]);
    let sum = |text: &str| Some(full(A::Crc32, text.as_bytes()));
    let mut told = CompleteRequest {
        checksum: sum("1111122222"),
        kind: Some(K::FullObject),
        size: Some(10),
        ..plain.clone()
    };
    told.parts[0].checksum = sum("11111");
    let done = complete(&world, &told).await.unwrap();
    for same in [&plain, &told] {
        assert_eq!(complete(&world, same).await.unwrap(), done);
    }
    let mut unnamed = plain.clone();
    unnamed.parts[1].etag = None;
    let mut summed = plain.clone();
    summed.parts[1].checksum = sum("other");
    for other in [
        request(upload, &[(1, "11111")]),
        request(upload, &[(1, "11111"), (3, "22222")]),
        request(upload, &[(1, "other"), (2, "22222")]),
        request(upload, &[(1, "11111"), (2, "22222"), (3, "22222")]),
        unnamed,
        summed,
        CompleteRequest { checksum: sum("other"), ..plain.clone() },
        CompleteRequest { checksum: Some(full(A::Sha1, b"1111122222")), ..plain.clone() },
        CompleteRequest { kind: Some(K::Composite), ..plain.clone() },
        CompleteRequest { size: Some(11), ..plain.clone() },
    ] {
        expects!(complete(&world, &other).await, Err(ServiceError::NoSuchUpload { .. }));
    }
}

#[tokio::test]
async fn i1_of_two_completions_with_other_parts_one_is_acknowledged() {
    let world = World::new().await;
    for _ in 0..20 {
        let upload = start(&world).await;
        part(&world, upload, 1, "11111").await;
        part(&world, upload, 2, "22222").await;
        let (a, b) = (request(upload, &[(1, "11111")]), request(upload, &[(1, "11111"), (2, "22222")]));
        let stored = match tokio::join!(complete(&world, &a), complete(&world, &b)) {
            (Ok(_), Err(ServiceError::NoSuchUpload { .. })) => "11111",
            (Err(ServiceError::NoSuchUpload { .. }), Ok(_)) => "1111122222",
            both => panic!("{both:?}"),
        };
        assert_eq!(world.text("big").await, stored);
    }
}

#[tokio::test]
async fn a_completion_under_a_condition() {
    let world = World::new().await;
    world.put("big", "there").await;
    let upload = start(&world).await;
    part(&world, upload, 1, "1").await;
    let attempt = async |conditions| {
        complete(&world, &CompleteRequest { conditions, ..request(upload, &[(1, "1")]) }).await
    };
    let absent = WriteConditions { if_none_match: Some(ETagCondition::Any), if_match: None };
    expects!(attempt(absent).await, Err(ServiceError::PreconditionFailed { condition: "If-None-Match" }));
    let tagged = |text| WriteConditions {
        if_match: Some(ETagCondition::OneOf(vec![etag(text)])),
        if_none_match: None,
    };
    expects!(attempt(tagged("other")).await, Err(ServiceError::PreconditionFailed { condition: "If-Match" }));
    assert_eq!(world.text("big").await, "there");
    attempt(tagged("there")).await.unwrap();
    assert_eq!(world.text("big").await, "1");
}

#[tokio::test]
async fn checksums_are_of_the_kind_that_the_upload_announced() {
    let world = World::new().await;
    for (algorithm, kind) in [
        (A::Crc32, K::Composite),
        (A::Crc32c, K::Composite),
        (A::Sha1, K::Composite),
        (A::Sha256, K::Composite),
        (A::Crc32, K::FullObject),
        (A::Crc32c, K::FullObject),
        (A::Crc64Nvme, K::FullObject),
    ] {
        let created = start_with(&world, Some(algorithm), Some(kind)).await;
        assert_eq!(created.checksum, Some((algorithm, kind)));
        let texts = [(1, "12345"), (2, "6789")];
        for (n, text) in texts {
            part(&world, created.id, n, text).await;
        }
        let mut request = request(created.id, &texts);
        if kind == K::Composite {
            let bare = complete(&world, &request).await;
            expects!(bare, Err(ServiceError::InvalidRequest { reason }) if reason.contains("missing for part 1"));
        }
        for (part, (_, text)) in request.parts.iter_mut().zip(texts) {
            part.checksum = Some(full(algorithm, text.as_bytes()));
        }
        let mut wrong = request.clone();
        wrong.parts[1].checksum = Some(full(algorithm, b"other"));
        expects!(complete(&world, &wrong).await, Err(ServiceError::InvalidPart { .. }));
        let other = if algorithm == A::Crc32 { A::Crc32c } else { A::Crc32 };
        wrong.parts[1].checksum = Some(full(other, b"6789"));
        let mixed = complete(&world, &wrong).await;
        expects!(mixed, Err(ServiceError::PartChecksumMismatch { algorithm: a, number: n }) if a == other && n == number(2));
        let other_kind = if kind == K::Composite { K::FullObject } else { K::Composite };
        let turned = CompleteRequest { kind: Some(other_kind), ..request.clone() };
        let turned = complete(&world, &turned).await;
        expects!(turned, Err(ServiceError::InvalidRequest { reason }) if reason.contains(kind.name()));
        let checksum = complete(&world, &request).await.unwrap().checksum.unwrap();
        assert_eq!((checksum.algorithm(), checksum.kind()), (algorithm, kind));
        if kind == K::FullObject {
            assert_eq!(checksum, full(algorithm, b"123456789"));
        }
    }
}

#[tokio::test]
async fn the_checksum_sent_for_the_whole_is_compared_with_or_without_the_number_of_parts() {
    let world = World::new().await;
    let texts = [(1, "12345"), (2, "6789")];
    let upload = async || {
        let id = start_with(&world, Some(A::Sha256), None).await.id;
        for (n, text) in texts {
            part(&world, id, n, text).await;
        }
        let mut request = request(id, &texts);
        for (part, (_, text)) in request.parts.iter_mut().zip(texts) {
            part.checksum = Some(full(A::Sha256, text.as_bytes()));
        }
        request
    };
    let digest = hex::decode("ff0890fa31d751472bd7cb5311a7abbb91f570182b603406bdfc641852f3825e").unwrap();
    let whole = |parts| Some(Checksum::composite(A::Sha256, &digest, parts).unwrap());
    for parts in [0, 2] {
        let request = CompleteRequest { checksum: whole(parts), ..upload().await };
        assert_eq!(complete(&world, &request).await.unwrap().checksum, whole(2));
    }
    let request = upload().await;
    let attempt = async |checksum| complete(&world, &CompleteRequest { checksum, ..request.clone() }).await;
    expects!(attempt(whole(3)).await, Err(ServiceError::ChecksumMismatch { .. }));
    let other = attempt(Some(full(A::Crc32, b"123456789"))).await;
    expects!(other, Err(ServiceError::InvalidRequest { reason }) if reason.contains("expected checksum Type: sha256"));
    // It is one of the checksums named, before those are compared with what came.
    let mut wrong = CompleteRequest { checksum: whole(2), ..request.clone() };
    wrong.parts[0].checksum = Some(full(A::Sha256, b"other"));
    expects!(complete(&world, &wrong).await, Err(ServiceError::ChecksumMismatch { .. }));
    complete(&world, &request).await.unwrap();
}

#[tokio::test]
async fn a_checksum_named_for_a_part_that_came_with_another_is_not_that_parts() {
    let world = World::new().await;
    let upload = start(&world).await;
    part(&world, upload, 1, "1").await;
    let mut request = request(upload, &[(1, "1")]);
    request.parts[0].checksum = Some(full(A::Crc32c, b"1"));
    expects!(complete(&world, &request).await, Err(ServiceError::InvalidPart { .. }));
    request.parts[0].checksum = Some(full(A::Crc64Nvme, b"1"));
    complete(&world, &request).await.unwrap();
    let kind = CreateUploadRequest { kind: Some(K::FullObject), ..CreateUploadRequest::default() };
    let refused = world.service.create_upload(&world.caller, &world.bucket, &key("big"), kind).await;
    expects!(refused, Err(ServiceError::InvalidRequest { .. }));
}
