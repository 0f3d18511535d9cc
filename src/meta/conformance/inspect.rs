//! Questions of people and of housekeeping, and the totals.

use super::{Subject, at, chunked, inline, manifest};
use crate::meta::{Duplicate, NewBody, Totals, VersionPlace, VersionTarget};
use crate::types::{PlainId, Versioning};

fn keys(places: &[VersionPlace]) -> Vec<String> {
    places.iter().map(|place| place.key.to_text().into_owned()).collect()
}

pub(super) async fn bodies(subject: &Subject) {
    let inspect = &subject.inspect;
    let one = subject.bucket("one").await;
    let two = subject.bucket("two").await;
    let body = manifest(1, 10).id();
    subject.put(two, "a", chunked(1, 10)).await;
    assert_eq!(inspect.duplicates(None, 9).await.unwrap(), [], "used once");
    subject.put(one, "b", chunked(1, 10)).await;
    subject.put(one, "a\0", chunked(1, 10)).await;
    subject.put(one, "a", chunked(2, 20)).await;
    let duplicate = Duplicate { id: body, references: 3, size: 10 };
    assert_eq!(inspect.duplicates(None, 9).await.unwrap(), [duplicate]);
    assert_eq!(inspect.duplicates(Some(body), 9).await.unwrap(), []);
    let uses = inspect.versions_of_body(body, None, 9).await.unwrap();
    assert_eq!(keys(&uses), ["a\0", "b", "a"], "by bucket, then key");
    assert_eq!((uses[0].bucket, uses[2].bucket), (one, two));
    let behind = inspect.versions_of_body(body, Some(&uses[0]), 1).await.unwrap();
    assert_eq!(behind, uses[1..2]);
    let other = manifest(9, 9).id();
    assert_eq!(inspect.versions_of_body(other, None, 9).await.unwrap(), []);

    let plains: Vec<_> = [5, 3, 4].map(|n| PlainId::new([n; 16])).into();
    for (n, id) in plains.iter().enumerate() {
        subject.put(one, &format!("plain-{n}"), NewBody::Plain(*id)).await;
    }
    assert_eq!(inspect.plain_bodies(None, 9).await.unwrap(), [plains[1], plains[2], plains[0]]);
    assert_eq!(inspect.plain_bodies(Some(plains[1]), 1).await.unwrap(), [plains[2]]);
}

pub(super) async fn ages(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.versioning(bucket, Versioning::Enabled).await;
    for (n, name) in ["z", "y", "x", "w"].into_iter().enumerate() {
        subject.clock.set(at(100 * (n as i64 + 1)));
        subject.put(bucket, name, inline("x")).await;
    }
    subject.delete(bucket, "z", VersionTarget::Current).await;
    let before = |time, after, limit| subject.inspect.versions_before(at(time), after, limit);
    assert_eq!(keys(&before(300, None, 9).await.unwrap()), ["z", "y"], "not those of that very moment");
    assert_eq!(keys(&before(100, None, 9).await.unwrap()), Vec::<String>::new());
    let all = before(1_000, None, 9).await.unwrap();
    assert_eq!(keys(&all), ["z", "y", "x", "w", "z"], "oldest first, delete markers too");
    assert_eq!(before(1_000, Some(&all[1]), 2).await.unwrap(), all[2..4]);
}

pub(super) async fn totals(subject: &Subject) {
    let one = subject.bucket("one").await;
    subject.bucket("two").await;
    subject.versioning(one, Versioning::Enabled).await;
    subject.put(one, "a", inline("12345")).await;
    subject.put(one, "b", chunked(1, 1_000)).await;
    let (copy, _) = subject.put(one, "c", chunked(1, 1_000)).await;
    subject.delete(one, "a", VersionTarget::Current).await;
    let mut expected = Totals {
        buckets: 2,
        versions: 3,
        delete_markers: 1,
        logical_bytes: 2_005,
        manifests: 1,
        manifest_bytes: 1_000,
        inline_bytes: 5,
        ..Totals::default()
    };
    assert_eq!(subject.log.totals().await.unwrap(), expected);
    subject.delete(one, "c", VersionTarget::Version(copy)).await;
    (expected.versions, expected.logical_bytes) = (2, 1_005);
    assert_eq!(subject.log.totals().await.unwrap(), expected);
}
