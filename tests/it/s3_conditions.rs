//! Conditions on the wire: what is refused and how, and who wins a race.

use super::support::sediment::Sediment;
use super::support::wire::{request, start_with_bucket};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use std::future::Future;

const RACERS: usize = 64;

/// A header of the condition: `If-None-Match: *` or `If-Match` with a tag.
#[derive(Clone)]
enum Condition {
    Absent,
    Match(String),
}

impl Condition {
    /// `If-Match`, `If-None-Match`.
    fn headers(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::Absent => (None, Some("*".to_owned())),
            Self::Match(tag) => (Some(tag.clone()), None),
        }
    }
}

fn code<T, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>) -> Result<T, String> {
    result.map_err(|error| error.code().unwrap_or("?").to_owned())
}

async fn put(client: Client, n: usize, condition: Condition) -> Result<String, String> {
    let (if_match, if_none_match) = condition.headers();
    let put = client.put_object().bucket("bucket").key("lease").body(format!("put {n}").into_bytes().into());
    let put = put.set_if_match(if_match).set_if_none_match(if_none_match);
    code(put.send().await).map(|done| done.e_tag.unwrap())
}

async fn copy(client: Client, n: usize, condition: Condition) -> Result<String, String> {
    let (if_match, if_none_match) = condition.headers();
    let source = format!("source-{n}");
    let body = format!("copy {n}").into_bytes();
    client.put_object().bucket("bucket").key(&source).body(body.into()).send().await.unwrap();
    let copy = client.copy_object().bucket("bucket").key("lease").copy_source(format!("bucket/{source}"));
    let copy = copy.set_if_match(if_match).set_if_none_match(if_none_match);
    code(copy.send().await).map(|done| done.copy_object_result.unwrap().e_tag.unwrap())
}

async fn complete(client: Client, n: usize, condition: Condition) -> Result<String, String> {
    let (if_match, if_none_match) = condition.headers();
    let created = client.create_multipart_upload().bucket("bucket").key("lease").send().await.unwrap();
    let upload = created.upload_id.unwrap();
    let part = client.upload_part().bucket("bucket").key("lease").upload_id(&upload).part_number(1);
    let body = format!("part {n}").into_bytes();
    let tag = part.body(body.into()).send().await.unwrap().e_tag.unwrap();
    let part = CompletedPart::builder().part_number(1).e_tag(tag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = client.complete_multipart_upload().bucket("bucket").key("lease").upload_id(&upload);
    let complete = complete.multipart_upload(parts).set_if_match(if_match).set_if_none_match(if_none_match);
    code(complete.send().await).map(|done| done.e_tag.unwrap())
}

/// All at once under one condition. Returns the tag that the one winner got.
async fn race<F>(client: &Client, write: fn(Client, usize, Condition) -> F, condition: &Condition) -> String
where
    F: Future<Output = Result<String, String>> + Send + 'static,
{
    let racers = (0..RACERS).map(|n| tokio::spawn(write(client.clone(), n, condition.clone())));
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for racer in racers.collect::<Vec<_>>() {
        match racer.await.unwrap() {
            Ok(tag) => won.push(tag),
            Err(code) => lost.push(code),
        }
    }
    assert_eq!(won.len(), 1, "one writer wins");
    assert_eq!(lost, vec!["PreconditionFailed"; RACERS - 1]);
    let head = client.head_object().bucket("bucket").key("lease").send().await.unwrap();
    assert_eq!(head.e_tag, won.first().cloned(), "what the winner wrote is there");
    won.remove(0)
}

async fn races<F>(write: fn(Client, usize, Condition) -> F)
where
    F: Future<Output = Result<String, String>> + Send + 'static,
{
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    race(&client, write, &Condition::Absent).await;
    let body = b"held".to_vec().into();
    let held = client.put_object().bucket("bucket").key("lease").body(body).send().await.unwrap();
    race(&client, write, &Condition::Match(held.e_tag.unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_racing_puts_one_wins() {
    races(put).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_racing_copies_one_wins() {
    races(copy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_racing_completions_one_wins() {
    races(complete).await;
}

#[test]
fn a_delete_names_the_condition_that_does_not_hold() {
    let (_dir, _server, wire) = start_with_bucket();
    let delete = |headers: &[(&str, &str)]| {
        let delete = request("DELETE", "/bucket/k");
        wire.send(&headers.iter().fold(delete, |delete, (name, value)| delete.header(name, value)))
    };
    let (tag, size, date) = ("if-match", "x-amz-if-match-size", "x-amz-if-match-last-modified-time");
    let long_ago = "Thu, 01 Jan 2015 00:00:00 GMT";
    assert_eq!(delete(&[(tag, "*")]).refusal(), (404, "NoSuchKey"));
    assert_eq!(delete(&[(size, "3"), (date, long_ago)]).status, 204, "nothing there is as good as deleted");
    let put = wire.send(&request("PUT", "/bucket/k").body(*b"abc"));
    let modified = wire.send(&request("HEAD", "/bucket/k")).headers["last-modified"].clone();
    let wrong = [(tag, "\"900150983cd24fb0d6963f7d28e17f73\""), (size, "4"), (size, "-1"), (date, long_ago)];
    for (name, value) in wrong {
        let refused = delete(&[(name, value)]);
        assert_eq!(refused.refusal(), (412, "PreconditionFailed"), "{name}: {value}");
        assert_eq!(refused.element("Condition").to_ascii_lowercase(), name);
    }
    assert_eq!(delete(&[(tag, &put.headers["etag"]), (size, "4")]).status, 412, "all have to hold");
    assert_eq!(delete(&[(tag, &put.headers["etag"]), (size, "3"), (date, &modified)]).status, 204);
    assert_eq!(wire.send(&request("GET", "/bucket/k")).status, 404);
}

/// As a client may write it, and what nobody can read.
#[test]
fn i1_a_write_that_must_not_replace_never_does() {
    let (_dir, _server, wire) = start_with_bucket();
    assert_eq!(wire.send(&request("PUT", "/bucket/k").body(*b"precious")).status, 200);
    assert_eq!(wire.send(&request("PUT", "/bucket/other").body(*b"new")).status, 200);
    let valid = "\"900150983cd24fb0d6963f7d28e17f72\"";
    let writes = || {
        let copy = request("PUT", "/bucket/k").header("x-amz-copy-source", "/bucket/other");
        [request("PUT", "/bucket/k").body(*b"new"), copy]
    };
    let lines: [(&[&str], u16); 10] = [
        (&["*"], 412),
        (&["*", "*"], 412),
        (&["*, *"], 412),
        (&["\"*\""], 412),
        (&["*", "\"*\" ,*"], 412),
        (&[""], 400),
        (&["\u{e9}"], 400),
        (&["*, \"x\""], 400),
        (&[valid, "x"], 400),
        (&[valid, "*"], 400),
    ];
    for (lines, status) in lines {
        for write in writes() {
            let write = lines.iter().fold(write, |write, line| write.unsigned("if-none-match", line));
            let answer = wire.send(&write);
            assert_eq!(answer.status, status, "{lines:?}: {}", answer.body);
            if status == 400 {
                assert_eq!(answer.element("Code"), "InvalidArgument", "{lines:?}");
                assert_eq!(answer.element("ArgumentName").to_ascii_lowercase(), "if-none-match");
            }
        }
    }
    for lines in [&["\"x\""][..], &["\u{e9}"], &["\"x\"", "y"], &[valid]] {
        for write in writes() {
            let write = lines.iter().fold(write, |write, line| write.unsigned("if-match", line));
            assert_eq!(wire.send(&write).status, 412, "{lines:?}");
        }
        let copy = request("PUT", "/bucket/copy").header("x-amz-copy-source", "/bucket/other");
        let copy = lines.iter().fold(copy, |copy, line| copy.header("x-amz-copy-source-if-match", line));
        if lines.iter().all(|line| line.is_ascii()) {
            assert_eq!(wire.send(&copy).status, 412, "{lines:?}");
        }
    }
    assert_eq!(wire.send(&request("GET", "/bucket/k")).body, "precious");
    // Of one tag it is clear what it means, whoever made it.
    for tag in [valid, "\"x\"", "x"] {
        assert_eq!(wire.send(&request("PUT", "/bucket/k").header("if-none-match", tag)).status, 200, "{tag}");
    }
}

#[test]
fn i1_no_condition_on_a_source_goes_for_nothing() {
    let (_dir, _server, wire) = start_with_bucket();
    for key in ["k", "source"] {
        assert_eq!(wire.send(&request("PUT", &format!("/bucket/{key}")).body(key)).status, 200);
    }
    let copy = |name: &str, lines: &[&str]| {
        let copy = request("PUT", "/bucket/k").header("x-amz-copy-source", "/bucket/source");
        let name = format!("x-amz-copy-source-if-{name}");
        wire.send(&lines.iter().fold(copy, |copy, line| copy.header(&name, line)))
    };
    let date = "Wed, 01 Jan 2020 00:00:00 GMT";
    for name in ["modified-since", "unmodified-since"] {
        for lines in [&["yesterday"][..], &["1577836800"], &["yesterday", date]] {
            assert_eq!(copy(name, lines).refusal(), (400, "InvalidArgument"), "{name} {lines:?}");
        }
    }
    for lines in [&["*"][..], &["\"*\""], &["*, *"]] {
        assert_eq!(copy("none-match", lines).status, 412, "{lines:?}");
    }
    assert_eq!(copy("unmodified-since", &[date]).status, 412);
    assert_eq!(wire.send(&request("GET", "/bucket/k")).body, "k");
    assert_eq!(copy("modified-since", &[date]).status, 200);
}

#[test]
fn each_key_of_a_batch_has_conditions_of_its_own() {
    let (_dir, _server, wire) = start_with_bucket();
    for key in ["any", "tag", "size", "date", "all"] {
        assert_eq!(wire.send(&request("PUT", &format!("/bucket/{key}")).body(*b"abc")).status, 200);
    }
    let tag = wire.send(&request("HEAD", "/bucket/tag")).headers["etag"].replace('"', "&quot;");
    let modified = wire.send(&request("HEAD", "/bucket/date")).headers["last-modified"].clone();
    let batch = |objects: &[(&str, String)]| {
        let object = |(key, rest): &(&str, String)| format!("<Object><Key>{key}</Key>{rest}</Object>");
        let objects: String = objects.iter().map(object).collect();
        let body = format!("<Delete>{objects}</Delete>");
        wire.send(&request("POST", "/bucket?delete=").body(body).with_md5())
    };
    let long_ago = "<LastModifiedTime>Thu, 01 Jan 2015 00:00:00 GMT</LastModifiedTime>".to_owned();
    let other = "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag>".to_owned();
    let size = |size| format!("<Size>{size}</Size>");
    let refused =
        batch(&[("tag", other), ("size", size(4)), ("date", long_ago), ("all", size(3) + "<ETag>x</ETag>")]);
    assert_eq!(refused.status, 200);
    assert_eq!(refused.body.matches("<Code>PreconditionFailed</Code>").count(), 4, "{}", refused.body);
    let holding = [
        ("any", "<ETag>*</ETag>".to_owned()),
        ("tag", format!("<ETag>{tag}</ETag>")),
        ("size", size(3)),
        ("date", format!("<LastModifiedTime>{modified}</LastModifiedTime>")),
        ("all", format!("<ETag>{}</ETag>{}", tag.replace("&quot;", ""), size(3))),
        ("missing", size(3)),
    ];
    let deleted = batch(&holding);
    assert_eq!(deleted.body.matches("<Deleted>").count(), 6, "{}", deleted.body);
    let absent = batch(&[("any", "<ETag>*</ETag>".to_owned())]);
    assert_eq!(absent.body.matches("<Code>NoSuchKey</Code>").count(), 1, "{}", absent.body);
}
