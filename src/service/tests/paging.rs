//! Every listing against a naive model: all pages together, of any size, from any marker, are the model's filter.

use super::{World, key, put_request};
use crate::service::{
    CreateUploadRequest, DeleteRequest, ListObjectsRequest, ListPartsRequest, ListToken, ListUploadsRequest,
    ListVersionsRequest, ObjectsStart, PutPartRequest, parse_upload_marker, parse_version_marker,
};
use crate::types::{PartNumber, UploadId, VersionId, Versioning};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Pieces that meet in every way: delimiters of one and several bytes, halves of them, bytes that sort at the ends.
const PIECES: [&str; 12] = ["a", "b", "/", "//", "a/", "\0", "\u{1}", "%2F", "é", "ø", "\u{10FFFF}", " +"];

fn name(pieces: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    proptest::collection::vec(prop::sample::select(&PIECES[..]), pieces).prop_map(|pieces| pieces.concat())
}

/// What a listing is asked for, but for where it begins.
#[derive(Debug, Clone)]
struct Asked {
    prefix: String,
    delimiter: Option<String>,
    limit: usize,
}

fn asked() -> impl Strategy<Value = Asked> {
    let delimiter =
        prop::option::of(prop_oneof![3 => Just("/".to_owned()), 1 => Just(String::new()), 3 => name(1..3)]);
    let prefix = prop_oneof![2 => Just(String::new()), 3 => name(1..3)];
    (prefix, delimiter, 1..6_usize).prop_map(|(prefix, delimiter, limit)| Asked { prefix, delimiter, limit })
}

impl Asked {
    /// What a key is shown as: itself, a common prefix (true), or nothing.
    fn shown(&self, key: &str) -> Option<(String, bool)> {
        let rest = key.strip_prefix(&self.prefix)?;
        let delimiter = self.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        match delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len())) {
            Some(end) => Some((key[..self.prefix.len() + end].to_owned(), true)),
            None => Some((key.to_owned(), false)),
        }
    }

    /// The entries behind a marker of rows in their order: a marker stands for the common prefix that it lies in.
    fn entries(&self, rows: &[Row], marker: &str, within: impl Fn(&Row) -> bool) -> Vec<Row> {
        let mut entries: Vec<Row> = Vec::new();
        for row in rows {
            let Some((shown, is_prefix)) = self.shown(&row.0) else { continue };
            if is_prefix {
                let is_behind = *shown > *marker && !marker.starts_with(&shown);
                let entry = (shown, String::new());
                if is_behind && entries.last() != Some(&entry) {
                    entries.push(entry);
                }
            } else if *shown > *marker || (shown == marker && within(row)) {
                entries.push(row.clone());
            }
        }
        entries
    }
}

/// A key, and what tells its row from others of the key: nothing for objects, else its id. Common prefixes have none.
type Row = (String, String);

/// One change to the bucket's history.
#[derive(Debug, Clone)]
enum Change {
    Put(String),
    Delete(String),
    Versioning(bool),
}

fn history() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        6 => name(1..5).prop_map(Change::Put),
        2 => name(1..3).prop_map(Change::Put),
        2 => name(1..3).prop_map(Change::Delete),
        1 => any::<bool>().prop_map(Change::Versioning),
    ];
    proptest::collection::vec(change, 0..40)
}

/// The versions that a history leaves: newest first under each key, with whether each is an object.
type Model = BTreeMap<String, Vec<(VersionId, bool)>>;

async fn live(world: &World, history: &[Change]) -> Model {
    let mut model = Model::new();
    let mut versioned = None;
    for change in history {
        world.clock.advance_millis(1);
        let (name, id, is_object) = match change {
            Change::Versioning(enabled) => {
                let versioning = if *enabled { Versioning::Enabled } else { Versioning::Suspended };
                world.versioning(versioning).await;
                versioned = Some(versioning);
                continue;
            }
            Change::Put(name) => (name, world.put(name, "x").await.version_id, true),
            Change::Delete(name) => {
                let deleted = world.try_delete(name, DeleteRequest::default()).await.unwrap();
                if versioned.is_none() {
                    model.remove(name);
                    continue;
                }
                (name, deleted.version_id, false)
            }
        };
        let id = id.unwrap_or(VersionId::Null);
        let versions = model.entry(name.clone()).or_default();
        versions.retain(|(known, _)| *known != id);
        versions.insert(0, (id, is_object));
    }
    model
}

/// Asserts that the pages are as full as can be, that each but the last says so, and returns what they have.
fn joined(pages: Vec<(Vec<Row>, bool)>, limit: usize) -> Vec<Row> {
    let last = pages.len() - 1;
    for (n, (entries, truncated)) in pages.iter().enumerate() {
        assert_eq!(*truncated, n < last, "page {n} of {}", last + 1);
        assert!(entries.len() == limit || n == last, "a page in the middle is full");
        assert!(!entries.is_empty() || last == 0, "no page but an only one is empty");
    }
    pages.into_iter().flat_map(|(entries, _)| entries).collect()
}

/// Objects and common prefixes in one order, as a client sees them.
fn merged(objects: impl Iterator<Item = Row>, prefixes: Vec<String>) -> Vec<Row> {
    let mut all: Vec<Row> =
        objects.chain(prefixes.into_iter().map(|prefix| (prefix, String::new()))).collect();
    // Stable: rows of one key keep their order.
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

async fn objects(world: &World, asked: &Asked, marker: &str, by_token: bool) -> Vec<Row> {
    let mut start = ObjectsStart::After(marker.to_owned());
    let mut pages = Vec::new();
    loop {
        let Asked { prefix, delimiter, limit } = asked.clone();
        let request = ListObjectsRequest { prefix, delimiter, start, maximum: Some(limit as i64) };
        let page = world.service.list_objects(&world.caller, &world.bucket, request).await.unwrap();
        let keys = page.objects.iter().map(|o| o.key.to_text().into_owned());
        let entries = merged(keys.map(|key| (key, String::new())), page.common_prefixes);
        let last = entries.last().cloned();
        pages.push((entries, page.next.is_some()));
        let Some(token) = page.next else { return joined(pages, asked.limit) };
        let delimited = asked.delimiter.as_deref().is_some_and(|d| !d.is_empty());
        assert_eq!(page.next_marker.is_some(), delimited, "only with a delimiter");
        // As the protocol carries them: as text. Without a delimiter a client goes on behind the last key.
        start = match (by_token, page.next_marker) {
            (true, _) => ObjectsStart::Token(ListToken::parse(&token.to_string()).unwrap()),
            (false, Some(marker)) => ObjectsStart::After(marker),
            (false, None) => ObjectsStart::After(last.unwrap().0),
        };
    }
}

async fn versions(world: &World, asked: &Asked, mut key: String, mut id: Option<VersionId>) -> Vec<Row> {
    let mut pages = Vec::new();
    loop {
        let Asked { prefix, delimiter, limit } = asked.clone();
        let request = ListVersionsRequest {
            prefix,
            delimiter,
            key_marker: Some(key),
            version_marker: id,
            maximum: Some(limit as i64),
        };
        let page = world.service.list_versions(&world.caller, &world.bucket, request).await.unwrap();
        let shown = |v: &crate::meta::ListedVersion| {
            let (latest, object) = (v.is_latest, v.object.is_some());
            (v.key.to_text().into_owned(), format!("{} {latest} {object}", v.id))
        };
        let entries = merged(page.versions.iter().map(shown), page.common_prefixes);
        pages.push((entries, page.next_key_marker.is_some()));
        let Some(next) = page.next_key_marker else { return joined(pages, asked.limit) };
        let next_id = page.next_version_marker.map(|id| parse_version_marker(&id.to_string()).unwrap());
        (key, id) = (next, next_id);
    }
}

async fn uploads(world: &World, asked: &Asked, mut key: String, mut id: Option<UploadId>) -> Vec<Row> {
    let mut pages = Vec::new();
    loop {
        let Asked { prefix, delimiter, limit } = asked.clone();
        let request = ListUploadsRequest {
            prefix,
            delimiter,
            key_marker: Some(key),
            upload_marker: id,
            maximum: Some(limit as i64),
        };
        let page = world.service.list_uploads(&world.caller, &world.bucket, request).await.unwrap();
        let shown = page.uploads.iter().map(|u| (u.key.to_text().into_owned(), u.id.to_string()));
        pages.push((merged(shown, page.common_prefixes), page.truncated));
        if !page.truncated {
            return joined(pages, asked.limit);
        }
        key = page.next_key_marker.unwrap();
        id = page.next_upload_marker.map(|id| parse_upload_marker(&id.to_string()).unwrap());
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
}

fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(256)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn i1_pages_of_objects_are_the_filter_of_what_is_there(
        history in history(), asked in asked(), marker in prop_oneof![Just(String::new()), name(1..5)],
    ) {
        run(async {
            let world = World::new().await;
            let model = live(&world, &history).await;
            let current = model.iter().filter(|(_, versions)| versions.first().is_some_and(|v| v.1));
            let rows: Vec<Row> = current.map(|(key, _)| (key.clone(), String::new())).collect();
            let expected = asked.entries(&rows, &marker, |_| false);
            let whole = Asked { limit: 1_000, ..asked.clone() };
            assert_eq!(objects(&world, &whole, &marker, true).await, expected, "one page");
            assert_eq!(objects(&world, &asked, &marker, true).await, expected, "by tokens");
            assert_eq!(objects(&world, &asked, &marker, false).await, expected, "by markers");
        });
    }

    #[test]
    fn i1_pages_of_versions_are_the_filter_of_what_is_there(
        history in history(), asked in asked(), key in name(1..5), at: prop::sample::Index, named: bool,
    ) {
        run(async {
            let world = World::new().await;
            let model = live(&world, &history).await;
            let row = |key: &str, n: usize, (id, object): &(VersionId, bool)| {
                (key.to_owned(), format!("{id} {} {object}", n == 0))
            };
            let rows: Vec<Row> = model
                .iter()
                .flat_map(|(key, all)| all.iter().enumerate().map(move |(n, version)| row(key, n, version)))
                .collect();
            let whole = Asked { limit: 1_000, ..asked.clone() };
            let places: Vec<_> =
                model.iter().flat_map(|(key, all)| all.iter().map(move |(id, _)| (key, *id))).collect();
            let (key, id) = match (named, places.len()) {
                (true, 1..) => places[at.index(places.len())],
                (true, 0) | (false, _) => (&key, VersionId::Null),
            };
            let id = Some(id).filter(|_| named && !places.is_empty());
            let behind: BTreeSet<VersionId> = id.map_or_else(BTreeSet::new, |id| {
                model[key].iter().map(|(known, _)| *known).skip_while(|known| *known != id).skip(1).collect()
            });
            let within = |row: &Row| behind.iter().any(|id| row.1.starts_with(&format!("{id} ")));
            let expected = asked.entries(&rows, key, within);
            assert_eq!(versions(&world, &whole, key.clone(), id).await, expected, "one page");
            assert_eq!(versions(&world, &asked, key.clone(), id).await, expected, "by markers");
            let all = asked.entries(&rows, "", |_| false);
            assert_eq!(versions(&world, &asked, String::new(), None).await, all, "from the start");
        });
    }

    #[test]
    fn i1_pages_of_uploads_are_the_filter_of_what_is_open(
        names in proptest::collection::vec(prop_oneof![name(1..5), name(1..2)], 0..20),
        asked in asked(), at: prop::sample::Index,
    ) {
        run(async {
            let world = World::new().await;
            let mut open = Vec::new();
            for name in &names {
                let request = CreateUploadRequest::default();
                let created =
                    world.service.create_upload(&world.caller, &world.bucket, &key(name), request).await;
                open.push((name.clone(), created.unwrap().id));
            }
            // Oldest first under each key.
            open.sort_by(|a, b| a.0.cmp(&b.0));
            let rows: Vec<Row> = open.iter().map(|(key, id)| (key.clone(), id.to_string())).collect();
            let all = asked.entries(&rows, "", |_| false);
            assert_eq!(uploads(&world, &asked, String::new(), None).await, all);
            if open.is_empty() {
                return;
            }
            let place = at.index(open.len());
            let (key, id) = open[place].clone();
            let expected = asked.entries(&rows, &key, |row| rows[place + 1..].contains(row));
            assert_eq!(uploads(&world, &asked, key.clone(), Some(id)).await, expected, "behind an id");
            let expected = asked.entries(&rows, &key, |_| false);
            assert_eq!(uploads(&world, &asked, key, None).await, expected, "behind a key");
        });
    }

    #[test]
    fn i1_pages_of_parts_are_the_parts_behind_the_marker(
        numbers in proptest::collection::btree_set(prop_oneof![1..30_i64, 9_990..=10_000_i64], 0..12),
        limit in 1..6_i64, marker in prop::option::of(prop_oneof![0..30_i64, 9_980..20_000_i64]),
    ) {
        run(async {
            let world = World::new().await;
            let request = CreateUploadRequest::default();
            let created =
                world.service.create_upload(&world.caller, &world.bucket, &key("k"), request).await;
            let upload = created.unwrap().id;
            for number in &numbers {
                let body = put_request("part");
                let part = PutPartRequest {
                    upload,
                    number: PartNumber::parse(*number).unwrap(),
                    body: body.body,
                    size: body.size,
                    content_md5: None,
                    content_sha256: None,
                    checksum: body.checksum,
                };
                world.service.put_part(&world.caller, &world.bucket, &key("k"), part).await.unwrap();
            }
            let (mut pages, mut from) = (Vec::new(), marker);
            loop {
                let request = ListPartsRequest { upload, marker: from, maximum: Some(limit) };
                let page = world.service.list_parts(&world.caller, &world.bucket, &key("k"), &request).await;
                let page = page.unwrap();
                let shown = page.parts.iter().map(|part| (part.number.get().to_string(), String::new()));
                pages.push((shown.collect(), page.truncated));
                assert_eq!(page.next_marker, page.parts.last().map(|part| part.number));
                from = page.next_marker.map(|number| number.get().into());
                if !page.truncated {
                    break;
                }
            }
            let expected = numbers.iter().filter(|number| **number > marker.unwrap_or(0));
            let expected: Vec<Row> = expected.map(|n| (n.to_string(), String::new())).collect();
            assert_eq!(joined(pages, limit as usize), expected);
        });
    }
}
