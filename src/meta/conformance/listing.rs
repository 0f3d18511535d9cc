//! Listings page by page: every page size gives the same whole.

use super::{Subject, inline, uploads};
use crate::meta::{Commit, ListEntry, ListFrom, ListQuery, UploadEntry, VersionEntry, VersionTarget};
use crate::types::{BucketId, UploadId, VersionId, Versioning};

fn query(prefix: &str, delimiter: Option<&str>, limit: usize) -> ListQuery {
    let delimiter = delimiter.map(|text| text.as_bytes().to_vec());
    ListQuery { prefix: prefix.as_bytes().to_vec(), delimiter, from: ListFrom::Start, limit }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All pages of a listing; common prefixes in brackets.
async fn walk(subject: &Subject, bucket: BucketId, mut query: ListQuery) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let page = subject.meta.list_objects(bucket, query.clone()).await.unwrap();
        assert!(page.entries.len() <= query.limit);
        all.extend(page.entries.iter().map(|entry| match entry {
            ListEntry::Object(object) => shown(object.key.as_bytes()),
            ListEntry::CommonPrefix(prefix) => format!("[{}]", shown(prefix)),
        }));
        match page.next {
            None => return all,
            Some(next) => query.from = next,
        }
    }
}

pub(super) async fn objects(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let other = subject.bucket("other").await;
    for name in ["b/2", "a", "b/1", "a\0", "b", "c/x/1", "c/x/2", "b/3/4", "ä", "b!"] {
        subject.put(bucket, name, inline("x")).await;
        subject.put(other, "stray", inline("x")).await;
    }
    subject.versioning(bucket, Versioning::Enabled).await;
    for _ in 0..12 {
        subject.put(bucket, "b", inline("newer")).await;
    }
    subject.put(bucket, "hidden", inline("x")).await;
    subject.delete(bucket, "hidden", VersionTarget::Current).await;
    for limit in [1, 2, 3, 100] {
        assert_eq!(
            walk(subject, bucket, query("", None, limit)).await,
            ["a", "a\0", "b", "b!", "b/1", "b/2", "b/3/4", "c/x/1", "c/x/2", "ä"]
        );
        assert_eq!(
            walk(subject, bucket, query("", Some("/"), limit)).await,
            ["a", "a\0", "b", "b!", "[b/]", "[c/]", "ä"]
        );
        assert_eq!(walk(subject, bucket, query("b/", Some("/"), limit)).await, ["b/1", "b/2", "[b/3/]"]);
        assert_eq!(walk(subject, bucket, query("c", Some("x/"), limit)).await, ["[c/x/]"]);
        assert_eq!(walk(subject, bucket, query("none", None, limit)).await, Vec::<String>::new());
    }
    let mut from = query("", None, 2);
    from.from = ListFrom::AfterKey(b"b/10".to_vec());
    assert_eq!(walk(subject, bucket, from).await, ["b/2", "b/3/4", "c/x/1", "c/x/2", "ä"]);
    let none = subject.meta.list_objects(bucket, query("", None, 0)).await.unwrap();
    assert_eq!((none.entries, none.next), (vec![], None));
    let page = subject.meta.list_objects(bucket, query("b", None, 1)).await.unwrap();
    let ListEntry::Object(object) = &page.entries[0] else { panic!("an object") };
    assert_eq!((object.size, object.key.as_bytes()), (5, &b"b"[..]), "the current version");
}

pub(super) async fn versions(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.put(bucket, "a", inline("null")).await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let mut expected = Vec::new();
    for name in ["a", "b/1", "c"] {
        let (first, _) = subject.put(bucket, name, inline("x")).await;
        let (marker, _) = subject.delete(bucket, name, VersionTarget::Current).await;
        expected.push(format!("{name} {} true", marker.unwrap()));
        expected.push(format!("{name} {first} false"));
        if name == "a" {
            expected.push("a null false".into());
        }
    }
    let (whole, grouped) =
        (expected.clone(), [&expected[..3], &["[b/]".to_owned()], &expected[5..]].concat());
    for (delimiter, expected) in [(None, whole), (Some("/"), grouped)] {
        for limit in [1, 2, 100] {
            let mut query = query("", delimiter, limit);
            let mut all = Vec::new();
            loop {
                let page = subject.meta.list_versions(bucket, query.clone()).await.unwrap();
                all.extend(page.entries.iter().map(|entry| match entry {
                    VersionEntry::Version(v) => format!("{} {} {}", v.key.to_text(), v.id, v.is_latest),
                    VersionEntry::CommonPrefix(prefix) => format!("[{}]", shown(prefix)),
                }));
                let Some(next) = page.next else { break };
                query.from = next;
            }
            assert_eq!(all, expected, "{limit} a page");
        }
    }
}

pub(super) async fn uploads(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let mut expected = Vec::new();
    for (n, name) in ["b", "a", "b", "c/1", "a"].into_iter().enumerate() {
        uploads::start(subject, bucket, name, n as u8 + 1).await;
        expected.push((name, n + 1));
    }
    expected.sort_unstable();
    let expected: Vec<_> = expected.iter().map(|(name, n)| format!("{name} {n}")).collect();
    for limit in [1, 2, 100] {
        let mut query = query("", None, limit);
        let mut all = Vec::new();
        loop {
            let page = subject.meta.list_uploads(bucket, query.clone()).await.unwrap();
            all.extend(page.entries.iter().map(|entry| match entry {
                UploadEntry::Upload { id, key, storage_class, .. } => {
                    assert_eq!(storage_class.as_deref(), Some("STANDARD_IA"));
                    format!("{} {}", key.to_text(), id.as_bytes()[0])
                }
                UploadEntry::CommonPrefix(prefix) => format!("[{}]", shown(prefix)),
            }));
            let Some(next) = page.next else { break };
            query.from = next;
        }
        assert_eq!(all, expected, "{limit} a page");
    }
    let page = subject.meta.list_uploads(bucket, query("", Some("/"), 100)).await.unwrap();
    assert_eq!(page.entries.last(), Some(&UploadEntry::CommonPrefix(b"c/".to_vec())));
}

/// Whatever happens to a key's versions, the listing shows the newest one if it is an object.
pub(super) async fn current_objects(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let listed = || async {
        let page = subject.meta.list_objects(bucket, query("", None, 9)).await.unwrap();
        let size = |entry: &ListEntry| if let ListEntry::Object(object) = entry { object.size } else { 0 };
        page.entries.iter().map(size).collect::<Vec<_>>()
    };
    let null = VersionTarget::Version(VersionId::Null);
    subject.put(bucket, "k", inline("1")).await;
    subject.put(bucket, "k", inline("22")).await;
    assert_eq!(listed().await, [2]);
    subject.versioning(bucket, Versioning::Enabled).await;
    let (third, _) = subject.put(bucket, "k", inline("333")).await;
    assert_eq!(listed().await, [3]);
    let (marker, _) = subject.delete(bucket, "k", VersionTarget::Current).await;
    assert_eq!(listed().await, [0; 0]);
    subject.delete(bucket, "k", null).await;
    assert_eq!(listed().await, [0; 0], "what went was below the marker");
    subject.delete(bucket, "k", VersionTarget::Version(marker.unwrap())).await;
    assert_eq!(listed().await, [3]);
    subject.versioning(bucket, Versioning::Suspended).await;
    subject.put(bucket, "k", inline("4444")).await;
    assert_eq!(listed().await, [4]);
    subject.delete(bucket, "k", VersionTarget::Current).await;
    assert_eq!(listed().await, [0; 0], "a null marker took the null version's place");
    subject.put(bucket, "k", inline("55555")).await;
    assert_eq!(listed().await, [5]);
    subject.delete(bucket, "k", null).await;
    assert_eq!(listed().await, [3]);
    subject.delete(bucket, "k", VersionTarget::Version(third)).await;
    assert_eq!(listed().await, [0; 0]);
}

/// A page's end may be replaced or deleted before the next page is asked for: nothing else is lost.
pub(super) async fn vanished_versions(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let (oldest, _) = subject.put(bucket, "k", inline("1")).await;
    subject.versioning(bucket, Versioning::Suspended).await;
    subject.put(bucket, "k", inline("22")).await;
    let ids = |page: &crate::meta::VersionPage| -> Vec<VersionId> {
        let id = |entry: &VersionEntry| match entry {
            VersionEntry::Version(version) => version.id,
            VersionEntry::CommonPrefix(_) => panic!("no prefix was asked for"),
        };
        page.entries.iter().map(id).collect()
    };
    let ask = |from| subject.meta.list_versions(bucket, ListQuery { from, ..query("", None, 1) });
    let first = ask(ListFrom::Start).await.unwrap();
    assert_eq!(ids(&first), [VersionId::Null]);
    subject.delete(bucket, "k", VersionTarget::Current).await;
    let second = ask(first.next.clone().unwrap()).await.unwrap();
    assert_eq!(ids(&second), [oldest], "the null version was replaced by a newer marker");
    subject.delete(bucket, "k", VersionTarget::Version(VersionId::Null)).await;
    assert_eq!(ids(&ask(first.next.unwrap()).await.unwrap()), [oldest], "and then deleted");
    // A client may name the null version itself.
    let named = || ListFrom::AfterVersion(b"k".to_vec(), VersionId::Null);
    assert_eq!(ids(&ask(named()).await.unwrap()), [oldest], "rather once more than not at all");
    subject.put(bucket, "k", inline("333")).await;
    assert_eq!(ids(&ask(named()).await.unwrap()), [oldest]);
}

pub(super) async fn vanished_uploads(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    for n in 1..=4 {
        uploads::start(subject, bucket, "k", n).await;
    }
    let shown = |page: &crate::meta::UploadPage| -> Vec<u8> {
        let id = |entry: &UploadEntry| match entry {
            UploadEntry::Upload { id, .. } => id.as_bytes()[0],
            UploadEntry::CommonPrefix(_) => panic!("no prefix was asked for"),
        };
        page.entries.iter().map(id).collect()
    };
    let ask = |from| subject.meta.list_uploads(bucket, ListQuery { from, ..query("", None, 2) });
    let first = ask(ListFrom::Start).await.unwrap();
    assert_eq!(shown(&first), [1, 2]);
    subject.commit(Commit::AbortUpload { upload: UploadId::new([2; 16]), rules_as_of: None }).await;
    assert_eq!(shown(&ask(first.next.unwrap()).await.unwrap()), [3, 4]);
    let named = |id| ListFrom::AfterUploadId(b"k".to_vec(), UploadId::new([id; 16]));
    assert_eq!(shown(&ask(named(3)).await.unwrap()), [4]);
    assert_eq!(shown(&ask(named(2)).await.unwrap()), [1, 3], "rather once more than not at all");
}
