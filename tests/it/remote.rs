//! A remote over a real server, a second Sediment, and over one that answers what no server should.

use super::support::sediment::{PASSWORD, Sediment, USER};
use bytes::Bytes;
use futures::stream;
use sediment::backup::container::{Kind, Plan, RangedReader, seal};
use sediment::backup::{
    Attempt, BackupKey, Candidate, Epoch, LeaseTimes, NewRepository, ObjectName, Repository, StoreId, World,
    probe,
};
use sediment::remote::{
    Class, PART_BYTES, Paced, Pacing, Patience, Patient, PutOptions, Remedy, Remote, RemoteError, RemoteKey,
    S3Credentials, S3Remote, S3Settings, Span, conformance, upload,
};
use sediment::storage::PackId;
use sediment::sys::{OsRandom, SystemClock, SystemSteady};
use sediment::types::CommitSeq;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

fn settings(endpoint: &str) -> S3Settings {
    S3Settings {
        endpoint: Some(endpoint.to_owned()),
        bucket: "backups".to_owned(),
        prefix: "one/gateway".to_owned(),
        page_keys: 7,
        ..S3Settings::default()
    }
}

fn credentials(secret: &str) -> S3Credentials {
    let secret_key = Zeroizing::new(secret.to_owned());
    S3Credentials { access_key: USER.to_owned(), secret_key, session_token: None }
}

async fn serve(lock: bool) -> (tempfile::TempDir, Sediment) {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let create = server.client().create_bucket().bucket("backups");
    create.object_lock_enabled_for_bucket(lock).send().await.unwrap();
    (dir, server)
}

fn key(text: &str) -> RemoteKey {
    RemoteKey::parse(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sediment_keeps_the_contract() {
    let (_dir, server) = serve(false).await;
    let remote = S3Remote::new(&settings(&server.s3), &credentials(PASSWORD), None).unwrap();
    conformance::run(&remote).await;
    probe(&remote, &OsRandom).await.unwrap();
    // Through everything that backups go through.
    let whole = Paced::new(Patient::new(remote, Patience::default(), Arc::new(OsRandom)), Pacing::default());
    conformance::run(&whole).await;
    // Nothing is written beside the prefix, and nothing beside it is seen.
    let client = server.client();
    whole.put(&key("lease"), Bytes::from_static(b"ours"), &PutOptions::ABSENT).await.unwrap();
    for other in ["lease", "one/gateway2/lease", "one/lease"] {
        client.put_object().bucket("backups").key(other).send().await.unwrap();
    }
    let listed = whole.list("", None).await.unwrap();
    assert_eq!(listed.objects.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["lease"]);
    let stored = client.get_object().bucket("backups").key("one/gateway/lease").send().await.unwrap();
    assert_eq!(stored.body.collect().await.unwrap().to_vec(), b"ours");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_locked_and_locks_only_grow() {
    let (_dir, server) = serve(true).await;
    let remote = S3Remote::new(&settings(&server.s3), &credentials(PASSWORD), None).unwrap();
    conformance::retention(&remote, &SystemClock).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_a_real_server_have_their_class() {
    let (_dir, server) = serve(false).await;
    let remote = |change: &dyn Fn(&mut S3Settings), secret: &str| {
        let mut settings = settings(&server.s3);
        change(&mut settings);
        S3Remote::new(&settings, &credentials(secret), None).unwrap()
    };
    let class = async |remote: &S3Remote| {
        let put = remote.put(&key("a"), Bytes::from_static(b"x"), &PutOptions::ALWAYS).await;
        let (get, list) = (remote.get(&key("a"), Span::Whole).await, remote.list("", None).await);
        let classes = [put.unwrap_err().class, get.unwrap_err().class, list.unwrap_err().class];
        assert!(classes.iter().all(|class| *class == classes[0]), "{classes:?}");
        classes[0]
    };
    assert_eq!(class(&remote(&|_| (), "another-secret")).await, Class::Denied);
    assert_eq!(class(&remote(&|s| s.bucket = "missing".to_owned(), PASSWORD)).await, Class::Gone);
    // Deletes by credentials of their own: these may not.
    let mixed =
        S3Remote::new(&settings(&server.s3), &credentials(PASSWORD), Some(&credentials("another-secret")))
            .unwrap();
    mixed.put(&key("a"), Bytes::from_static(b"x"), &PutOptions::ALWAYS).await.unwrap();
    assert_eq!(mixed.delete(&[key("a")]).await.unwrap_err().class, Class::Denied);
    server.stop();
    assert_eq!(class(&mixed).await, Class::Unavailable);
}

/// Answers each request on a connection of its own with the next of these, then closes it. An empty one is no answer: it
/// waits until the client gives up.
fn canned(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (answer, stream) in answers.into_iter().zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).unwrap();
            stream.write_all(answer.trim_end_matches("<hang>").as_bytes()).unwrap();
            if answer.ends_with("<hang>") {
                // Ends when the client closes.
                let _ = reader.read(&mut [0]);
            }
        }
    });
    address
}

fn ok(length: usize, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nETag: \"e\"\r\nLast-Modified: Tue, 22 Sep 2026 10:00:00 GMT\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

fn partial(range: &str, body: &str) -> String {
    ok(body.len(), body)
        .replace("200 OK", "206 Partial Content")
        .replace("ETag", &format!("Content-Range: bytes {range}\r\nETag"))
}

fn error(status: &str, code: &str) -> String {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn remote_of(answers: Vec<String>) -> S3Remote {
    let settings = S3Settings { answer_seconds: 1, ..settings(&canned(answers)) };
    S3Remote::new(&settings, &credentials(PASSWORD), None).unwrap()
}

async fn get(answer: String, span: Span) -> Result<Option<Bytes>, RemoteError> {
    let piece = remote_of(vec![answer]).get(&key("a"), span).await?;
    Ok(piece.map(|piece| piece.bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_answers_that_cannot_be_are_never_taken_for_the_object() {
    assert_eq!(get(ok(4, "body"), Span::Whole).await.unwrap().unwrap(), "body");
    assert_eq!(get(partial("2-5/10", "body"), Span::Bytes(2..6)).await.unwrap().unwrap(), "body");
    for (what, answer, span) in [
        ("cut short", ok(100, "half"), Span::Whole),
        ("no entity tag", ok(4, "body").replace("ETag", "X-Other"), Span::Whole),
        ("the whole for a part", ok(10, "0123456789"), Span::Bytes(2..6)),
        ("another range", partial("3-6/10", "body"), Span::Bytes(2..6)),
        ("a shorter range", partial("2-4/10", "bod"), Span::Bytes(2..6)),
        (
            "a part cut short",
            partial("2-5/10", "body").replace("\r\n\r\nbody", "\r\n\r\nbo"),
            Span::Bytes(2..6),
        ),
        ("beyond the end", error("416 Range Not Satisfiable", "InvalidRange"), Span::Bytes(2..6)),
    ] {
        let refused = get(answer, span).await.unwrap_err();
        assert_eq!(refused.class, Class::Wrong, "{what}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_on_the_wire_have_their_class() {
    for (answer, class) in [
        (error("500 Internal Server Error", "InternalError"), Class::Unavailable),
        (error("503 Slow Down", "SlowDown"), Class::Throttled),
        (error("400 Bad Request", "ExpiredToken"), Class::Expired),
        (error("403 Forbidden", "QuotaExceeded"), Class::Full),
        (error("507 Insufficient Storage", "Whatever"), Class::Full),
        (error("501 Not Implemented", "NotImplemented"), Class::Unsupported),
        (error("404 Not Found", "NoSuchBucket"), Class::Gone),
        (error("301 Moved Permanently", "PermanentRedirect"), Class::Refused),
        (ok(4, "<hang>"), Class::TimedOut),
        ("<hang>".to_owned(), Class::TimedOut),
    ] {
        let failed = get(answer.clone(), Span::Whole).await.unwrap_err();
        assert_eq!(failed.class, class, "{answer}: {failed}");
        assert!(!failed.to_string().contains(PASSWORD), "i6: {failed}");
    }
    for noise in ["", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
        let failed = get(noise.to_owned(), Span::Whole).await.unwrap_err();
        assert_eq!(failed.class.remedy(), Remedy::Again, "{noise:?}: {failed}");
    }
    assert_eq!(get(error("404 Not Found", "NoSuchKey"), Span::Whole).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_remote_gets_over_a_bad_moment() {
    let answers = vec![
        error("500 Internal Server Error", "InternalError"),
        ok(100, "half"),
        String::new(),
        error("503 Slow Down", "SlowDown"),
        ok(4, "body"),
    ];
    let patience = Patience { first_pause: Duration::from_millis(1), ..Patience::default() };
    let remote = Patient::new(remote_of(answers), patience, Arc::new(OsRandom));
    assert_eq!(remote.get(&key("a"), Span::Whole).await.unwrap().unwrap().bytes, "body");
}

/// A condition that fails may be told as 404, 409 or 412.
#[tokio::test(flavor = "multi_thread")]
async fn every_servers_word_for_a_failed_condition_is_understood() {
    let tag = remote_of(vec![ok(4, "body")]).head(&key("a")).await.unwrap().unwrap().tag;
    for (status, code, class) in [
        ("412 Precondition Failed", "PreconditionFailed", Class::Conflict),
        ("404 Not Found", "NoSuchKey", Class::Conflict),
        ("409 Conflict", "ConditionalRequestConflict", Class::Throttled),
    ] {
        let options = PutOptions::matching(tag.clone());
        let put =
            remote_of(vec![error(status, code)]).put(&key("a"), Bytes::from_static(b"x"), &options).await;
        assert_eq!(put.unwrap_err().class, class, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_lives_in_a_second_sediment() {
    let (_dir, server) = serve(false).await;
    let s3 = S3Remote::new(&settings(&server.s3), &credentials(PASSWORD), None).unwrap();
    let remote: Arc<dyn Remote> = Arc::new(Patient::new(s3, Patience::default(), Arc::new(OsRandom)));
    let key = BackupKey::generate(&OsRandom);
    let new = NewRepository { store_id: StoreId::new([1; 16]), encrypted: true };
    let open =
        async || Repository::open_or_create(remote.clone(), key.clone(), new, &SystemClock, &OsRandom).await;
    let (one, two) = tokio::join!(open(), open());
    let (one, two) = (Arc::new(one.unwrap()), Arc::new(two.unwrap()));
    assert_eq!(one.description(), two.description(), "both opened what one of them made");

    let world =
        || World { clock: Arc::new(SystemClock), steady: Arc::new(SystemSteady), random: Arc::new(OsRandom) };
    let candidate = |repository: &Arc<Repository>| {
        Candidate::new(repository.clone(), world(), LeaseTimes::default(), "here".to_owned())
    };
    let (mut first, mut second) = (candidate(&one), candidate(&two));
    let (first, second) = tokio::join!(first.attempt(), second.attempt());
    let mut leases: Vec<_> = [first.unwrap(), second.unwrap()]
        .into_iter()
        .filter_map(|attempt| if let Attempt::Taken(lease) = attempt { Some(lease) } else { None })
        .collect();
    let lease = leases.pop().unwrap();
    assert!(leases.is_empty(), "one of two that race has the lease");
    let begun = lease.begin_epoch(None, CommitSeq::ZERO).await.unwrap();
    assert_eq!(one.timeline().await.unwrap().newest(), Some(begun.epoch));

    let name = ObjectName::Extent { pack: PackId::new(7), from: 0, to: 9 << 20, epoch: Epoch::FIRST }.key();
    let content = super::support::noise(1, 9 << 20);
    let plan = Plan::new(Kind::Extent, content.len() as u64, true, 1);
    let (sealed, made) = seal(one.binding(&name), &plan, &content, &OsRandom).unwrap();
    let pieces: Vec<_> =
        sealed.chunks(PART_BYTES).map(|piece| Ok::<_, RemoteError>(sealed.slice_ref(piece))).collect();
    let put = upload(&remote, &name, &PutOptions::ABSENT, stream::iter(pieces), 2).await.unwrap();
    assert_eq!(put.bytes, made.bytes);
    let reader =
        RangedReader::open(remote.clone(), two.binding(&name), Kind::Extent, put.bytes).await.unwrap();
    assert!(reader.read(8_000_000..8_500_000).await.unwrap() == content[8_000_000..8_500_000]);
    lease.release().await.unwrap();
    server.stop();
}
