//! What every [`Remote`] must do, as checks that panic with what went wrong. Run them against an empty one, on a Tokio runtime.
//! With pages of seven keys they go over several.

#![expect(clippy::unwrap_used, reason = "a test suite: its verdict is a panic")]

use super::{Class, Condition, PutOptions, Remote, RemoteError, RemoteKey, Span, Tag, UploadName, list_all};
use crate::sys::{Clock, Random, SeededRandom};
use crate::types::UnixMillis;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;

/// S3's least length of a part that is not the last.
const PART: usize = 5 << 20;

fn key(text: &str) -> RemoteKey {
    RemoteKey::parse(text).unwrap()
}

fn body(seed: u64, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes.into()
}

fn class<T: std::fmt::Debug>(answer: Result<T, RemoteError>) -> Class {
    answer.unwrap_err().class
}

async fn keys(remote: &dyn Remote, prefix: &str) -> Vec<String> {
    list_all(remote, prefix).map_ok(|found| found.key.to_string()).try_collect().await.unwrap()
}

async fn whole(remote: &dyn Remote, name: &RemoteKey) -> Bytes {
    remote.get(name, Span::Whole).await.unwrap().unwrap().bytes
}

/// Runs every check. The remote must be empty; it is empty again at the end.
///
/// # Panics
/// When the remote breaks its contract.
pub async fn run(remote: &dyn Remote) {
    assert_eq!(keys(remote, "").await, Vec::<String>::new());
    nothing_there(remote).await;
    bodies(remote).await;
    spans(remote).await;
    conditions(remote).await;
    races(remote).await;
    listings(remote).await;
    parts(remote).await;
    unfinished_uploads(remote).await;
    assert_eq!(keys(remote, "").await, Vec::<String>::new());
}

async fn nothing_there(remote: &dyn Remote) {
    let absent = key("absent/object");
    assert_eq!(remote.head(&absent).await.unwrap(), None);
    assert_eq!(remote.get(&absent, Span::Whole).await.unwrap(), None);
    assert_eq!(remote.get(&absent, Span::Bytes(0..5)).await.unwrap(), None);
    remote.delete(&[absent]).await.unwrap();
    remote.delete(&[]).await.unwrap();
}

/// Every length, over longer and shorter ones; every answer tells the same of it.
async fn bodies(remote: &dyn Remote) {
    let name = key("packs/0011223344556677/0-ff");
    for (seed, len) in [0, 1, 1_000, 70_000, 1 << 20, 3, 0, 40].into_iter().enumerate() {
        let body = body(seed as u64, len);
        let tag = remote.put(&name, body.clone(), &PutOptions::ALWAYS).await.unwrap();
        let piece = remote.get(&name, Span::Whole).await.unwrap().unwrap();
        assert!(piece.bytes == body, "{len} bytes come back as they were");
        let stat = remote.head(&name).await.unwrap().unwrap();
        assert_eq!((stat.bytes, &stat.tag), (len as u64, &tag));
        assert_eq!(piece.stat, stat);
        let page = remote.list("packs/", None).await.unwrap();
        let [listed] = &page.objects[..] else { panic!("one object: {page:?}") };
        assert_eq!((&listed.key, listed.bytes, &listed.tag), (&name, len as u64, &tag));
        assert_eq!(listed.modified.seconds(), stat.modified.seconds());
        assert_eq!(page.next, None);
    }
    remote.delete(std::slice::from_ref(&name)).await.unwrap();
    assert_eq!(remote.head(&name).await.unwrap(), None);
}

async fn spans(remote: &dyn Remote) {
    let (name, body) = (key("spans"), body(1, 10_000));
    remote.put(&name, body.clone(), &PutOptions::ALWAYS).await.unwrap();
    for (start, end) in [(0, 1), (0, 10_000), (9_999, 10_000), (17, 4_711)] {
        let piece = remote.get(&name, Span::Bytes(start..end)).await.unwrap().unwrap();
        assert!(piece.bytes == body.slice(start as usize..end as usize), "bytes {start}..{end}");
        assert_eq!(piece.stat.bytes, 10_000, "the length of the whole");
    }
    for (start, end) in [(0, 10_001), (9_999, 20_000), (10_000, 10_001), (70_000, 80_000)] {
        let answer = remote.get(&name, Span::Bytes(start..end)).await;
        assert_eq!(class(answer), Class::Wrong, "bytes {start}..{end} are not there");
    }
    remote.delete(&[name]).await.unwrap();
}

async fn conditions(remote: &dyn Remote) {
    let name = key("lease");
    let put = |text: &'static str, options: PutOptions| {
        let name = &name;
        async move { remote.put(name, Bytes::from_static(text.as_bytes()), &options).await }
    };
    let other = Tag("\"00000000000000000000000000000000\"".to_owned());
    assert_eq!(class(put("0", PutOptions::matching(other.clone())).await), Class::Conflict);
    assert_eq!(remote.head(&name).await.unwrap(), None, "a refused write leaves nothing");
    let first = put("1", PutOptions::ABSENT).await.unwrap();
    assert_eq!(class(put("2", PutOptions::ABSENT).await), Class::Conflict);
    assert_eq!(class(put("3", PutOptions::matching(other)).await), Class::Conflict);
    assert_eq!(whole(remote, &name).await, "1", "a refused write changes nothing");
    let second = put("4", PutOptions::matching(first.clone())).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(class(put("5", PutOptions::matching(first)).await), Class::Conflict);
    assert_eq!(whole(remote, &name).await, "4");
    remote.delete(std::slice::from_ref(&name)).await.unwrap();
    assert_eq!(class(put("6", PutOptions::matching(second)).await), Class::Conflict, "it is gone");
    put("7", PutOptions::ABSENT).await.unwrap();
    remote.delete(std::slice::from_ref(&name)).await.unwrap();
}

/// Of writers that exclude each other one wins, and its bytes stay.
async fn races(remote: &dyn Remote) {
    let name = key("race");
    let mut options = PutOptions::ABSENT;
    for round in 0..3 {
        let race = (0..8u64).map(|writer| {
            let (name, options) = (&name, &options);
            async move { (writer, remote.put(name, body(round * 8 + writer, 300), options).await) }
        });
        let mut winners = Vec::new();
        for (writer, answer) in join_all(race).await {
            match answer {
                Ok(tag) => winners.push((writer, tag)),
                Err(error) => assert!(
                    matches!(error.class, Class::Conflict | Class::Throttled),
                    "a loser hears of it: {error}"
                ),
            }
        }
        let [(winner, tag)] = &winners[..] else { panic!("winners of round {round}: {winners:?}") };
        assert!(whole(remote, &name).await == body(round * 8 + winner, 300), "the winner's bytes stay");
        options = PutOptions::matching(tag.clone());
    }
    remote.delete(&[name]).await.unwrap();
}

async fn listings(remote: &dyn Remote) {
    let mut names: Vec<String> = (0..20).map(|n| format!("log/00000001/0/{n:04x}-{:04x}", n + 1)).collect();
    names.extend(["log/0", "log", "lof", "logs/1", "Log/1", "log/00000001.json"].map(str::to_owned));
    let objects: Vec<RemoteKey> = names.iter().map(|name| key(name)).collect();
    let puts = objects.iter().map(|name| remote.put(name, Bytes::from_static(b"x"), &PutOptions::ALWAYS));
    join_all(puts).await.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    names.sort();
    for prefix in ["", "log", "log/", "log/00000001/", "log/00000001/0/000", "logs", "nothing/"] {
        let below: Vec<_> = names.iter().filter(|name| name.starts_with(prefix)).cloned().collect();
        assert_eq!(keys(remote, prefix).await, below, "below `{prefix}`, in order");
    }
    let after = "log/00000001/0/0004-0005";
    let page = remote.list("log/", Some(after)).await.unwrap();
    let behind: Vec<_> =
        names.iter().filter(|name| name.starts_with("log/") && name.as_str() > after).collect();
    let listed: Vec<_> = page.objects.iter().map(|found| found.key.to_string()).collect();
    assert!(!listed.is_empty() && listed.iter().eq(behind.into_iter().take(listed.len())), "{listed:?}");
    assert_eq!(remote.list("log/", Some("z")).await.unwrap().objects, []);
    let (last, most) = objects.split_last().unwrap();
    remote.delete(most).await.unwrap();
    assert_eq!(keys(remote, "").await, [last.as_str()]);
    remote.delete(&objects).await.unwrap();
}

async fn parts(remote: &dyn Remote) {
    let (name, first, last) = (key("parts"), body(1, PART), body(2, 1_234));
    let object = [&first[..], &last].concat();
    let begin = async |last: &Bytes| {
        let upload = remote.begin_upload(&name, &PutOptions::ABSENT).await.unwrap();
        // In any order, and the second one twice: what was sent last counts.
        remote.put_part(&name, &upload, 2, body(3, 77)).await.unwrap();
        let second = remote.put_part(&name, &upload, 2, last.clone()).await.unwrap();
        let first = remote.put_part(&name, &upload, 1, first.clone()).await.unwrap();
        assert_eq!((first.number, first.bytes, second.bytes), (1, PART as u64, 1_234));
        (upload, [first, second])
    };
    let (upload, sent) = begin(&last).await;
    assert_eq!(remote.head(&name).await.unwrap(), None, "i2: nothing is there before it is completed");
    let tag = remote.complete_upload(&name, &upload, &sent, &Condition::Absent).await.unwrap();
    assert!(whole(remote, &name).await == object);
    let stat = remote.head(&name).await.unwrap().unwrap();
    assert_eq!((stat.bytes, stat.tag), (object.len() as u64, tag));
    let across = PART as u64 - 10..PART as u64 + 10;
    let piece = remote.get(&name, Span::Bytes(across.clone())).await.unwrap().unwrap();
    assert_eq!(piece.bytes[..], object[across.start as usize..across.end as usize]);

    let (upload, sent) = begin(&body(4, 1_234)).await;
    let refused = remote.complete_upload(&name, &upload, &sent, &Condition::Absent).await;
    assert_eq!(class(refused), Class::Conflict, "a completion keeps its condition");
    assert!(whole(remote, &name).await == object);
    remote.abort_upload(&name, &upload).await.unwrap();
    remote.delete(&[name]).await.unwrap();
}

async fn unfinished_uploads(remote: &dyn Remote) {
    let name = key("unfinished");
    let upload = remote.begin_upload(&name, &PutOptions::ALWAYS).await.unwrap();
    let part = remote.put_part(&name, &upload, 1, body(1, 100)).await.unwrap();
    remote.abort_upload(&name, &upload).await.unwrap();
    remote.abort_upload(&name, &upload).await.unwrap();
    assert_eq!(class(remote.put_part(&name, &upload, 2, body(1, 100)).await), Class::Gone);
    let completed = remote.complete_upload(&name, &upload, &[part], &Condition::Always).await;
    assert_eq!(class(completed), Class::Gone);
    let unknown = UploadName("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned());
    assert_eq!(class(remote.put_part(&name, &unknown, 1, body(1, 100)).await), Class::Gone);
    assert_eq!(remote.head(&name).await.unwrap(), None);
}

/// Of a bucket with object lock: objects are locked when they are written, and longer afterwards. Leaves a locked object behind.
///
/// # Panics
/// When the remote breaks its contract.
pub async fn retention(remote: &dyn Remote, clock: &dyn Clock) {
    const DAY: i64 = 86_400_000;
    let name = key("locked");
    let days = |days| UnixMillis::new((clock.now().seconds() * 1000) + days * DAY);
    let kept = async || remote.head(&name).await.unwrap().unwrap().retain_until;
    let tomorrow = days(1);
    let options = PutOptions { condition: Condition::Absent, retain_until: Some(tomorrow) };
    remote.put(&name, body(1, 10), &options).await.unwrap();
    assert_eq!(kept().await, Some(tomorrow));
    let later = days(3);
    remote.retain(&name, later).await.unwrap();
    assert_eq!(kept().await, Some(later));
    remote.retain(&name, days(2)).await.unwrap();
    assert_eq!(kept().await, Some(later), "a lock never becomes shorter");
}
