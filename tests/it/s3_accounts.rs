//! Accounts of the configuration, on the wire: what each may do, and what it is shown (I6).

use super::support::form::form;
use super::support::sediment::{Sediment, command, refused, run};
use super::support::wire::{Wire, request};
use std::fs;
use std::path::{Path, PathBuf};

const SECRET: &str = "a-canary-of-a-secret-key";

/// Two accounts, the second with its secret in a file.
fn configuration(dir: &Path) -> PathBuf {
    let secret = dir.join("secret-of-bob");
    fs::write(&secret, "the-other-secret-key\n").unwrap();
    let text = format!(
        "[[s3.accounts]]\nid = \"1111\"\nname = \"Ada\"\naccess_key = \"key-of-ada\"\nsecret_key = \"{SECRET}\"\n\
         [[s3.accounts]]\nid = \"2222\"\nname = \"Bob\"\naccess_key = \"key-of-bob\"\nsecret_key_file = {secret:?}\n"
    );
    let file = dir.join("sediment.toml");
    fs::write(&file, text).unwrap();
    file
}

struct World {
    _dir: tempfile::TempDir,
    server: Sediment,
    root: Wire,
    ada: Wire,
    bob: Wire,
}

/// Ada has a bucket with an object and an upload in it, Bob one with nothing.
fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path());
    let data = dir.path().join("data");
    let server = Sediment::serve(&data, &["--config", config.to_str().unwrap(), "--set", "log.level=trace"]);
    let root = Wire::new(&server);
    let ada = Wire::signing(&server, "key-of-ada", SECRET);
    let bob = Wire::signing(&server, "key-of-bob", "the-other-secret-key");
    assert_eq!(ada.send(&request("PUT", "/of-ada")).status, 200);
    assert_eq!(ada.send(&request("PUT", "/of-ada/secret").body(*b"secret")).status, 200);
    assert_eq!(ada.send(&request("POST", "/of-ada/upload?uploads")).status, 200);
    assert_eq!(bob.send(&request("PUT", "/of-bob")).status, 200);
    World { _dir: dir, server, root, ada, bob }
}

const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];
const SUBRESOURCES: [&str; 47] = [
    "",
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "analytics&id=x",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type=2",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber=1&uploadId=00000000000000000000000000000001",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select&select-type=2",
    "session",
    "tagging",
    "torrent",
    "uploadId=00000000000000000000000000000001",
    "uploads",
    "versionId=null",
    "versioning",
    "versions",
    "website",
    "append",
    "events",
    "versionId=null&tagging",
    "versionId=null&retention",
    "x-sediment-chunks",
];
/// Documents that are right for some operation or other, so that it is not the document that is refused.
const DOCUMENTS: [&str; 6] = [
    "",
    "<Delete><Object><Key>secret</Key></Object></Delete>",
    "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    "<LegalHold><Status>ON</Status></LegalHold>",
    "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>",
];

/// Everything that a request can be about, in a bucket of somebody else: nothing is done and nothing is told.
#[test]
fn i6_nobody_gets_into_the_bucket_of_another() {
    let world = world();
    for method in METHODS {
        for (resource, sub) in
            ["/of-ada", "/of-ada/secret"].iter().flat_map(|to| SUBRESOURCES.iter().map(move |sub| (to, sub)))
        {
            let target = if sub.is_empty() { (*resource).to_owned() } else { format!("{resource}?{sub}") };
            let documents = if matches!(method, "PUT" | "POST") { &DOCUMENTS[..] } else { &DOCUMENTS[..1] };
            for document in documents {
                let asked = request(method, &target).body(*document);
                for answer in [world.bob.send(&asked), world.root.send_anonymous(&asked)] {
                    // A delete of many keys answers for each.
                    let is_refused = matches!(answer.status, 400 | 403 | 405 | 501)
                        || answer.refusal() == (409, "BucketAlreadyExists")
                        || answer.refusal() == (412, "PreconditionFailed") && method == "POST"
                        || answer.body.contains("<DeleteResult") && !answer.body.contains("<Deleted>");
                    assert!(is_refused, "{method} {target} {document}: {} {}", answer.status, answer.body);
                    assert!(!answer.body.contains("Ada"), "{method} {target}: {}", answer.body);
                }
            }
        }
    }
    for (method, target) in [
        ("GET", "/of-ada/secret"),
        ("GET", "/of-ada"),
        ("PUT", "/of-ada/secret"),
        ("DELETE", "/of-ada/secret"),
        ("DELETE", "/of-ada"),
        ("POST", "/of-ada/upload?uploads"),
        ("GET", "/of-ada?uploads"),
        ("GET", "/of-ada?versioning"),
    ] {
        assert_eq!(world.bob.send(&request(method, target)).refusal(), (403, "AccessDenied"), "{target}");
        let unsigned = world.root.send_anonymous(&request(method, target));
        assert_eq!(unsigned.refusal(), (403, "AccessDenied"), "{target}");
    }
    let copy = request("PUT", "/of-bob/taken").header("x-amz-copy-source", "/of-ada/secret");
    assert_eq!(world.bob.send(&copy).refusal(), (403, "AccessDenied"));
    let again = world.bob.send(&request("PUT", "/of-ada"));
    assert_eq!(again.refusal(), (409, "BucketAlreadyExists"));

    assert_eq!(world.ada.send(&request("GET", "/of-ada/secret")).body, "secret");
    assert_eq!(world.root.send(&request("GET", "/of-ada/secret")).body, "secret");
    assert!(!world.ada.send(&request("GET", "/of-ada?versioning")).body.contains("Enabled"));
    assert!(world.ada.send(&request("GET", "/of-ada?uploads")).body.contains("<Key>upload</Key>"));
}

#[test]
fn i6_a_form_is_made_by_whom_its_policy_is_signed_by() {
    let world = world();
    let send = |bucket: &str, key: &str, secret: &str| {
        let form = form(bucket, "by-form", b"x").by(key, secret).signed(bucket, &[]);
        let answer = form.send(&world.root);
        (answer.status, answer.element("Code").to_owned())
    };
    let bob = "the-other-secret-key";
    assert_eq!(send("of-ada", "key-of-bob", bob), (403, "AccessDenied".to_owned()));
    assert_eq!(send("of-ada", "key-of-ada", bob), (403, "SignatureDoesNotMatch".to_owned()));
    assert_eq!(world.ada.send(&request("HEAD", "/of-ada/by-form")).status, 404);
    assert_eq!(send("of-bob", "key-of-bob", bob).0, 204);
    assert_eq!(send("of-ada", "key-of-ada", SECRET).0, 204);
}

#[test]
fn i6_an_account_is_known_by_its_own_secret_only() {
    let world = world();
    let get = request("GET", "/");
    for (key, secret, code) in [
        ("key-of-ada", "the-other-secret-key", "SignatureDoesNotMatch"),
        ("key-of-bob", SECRET, "SignatureDoesNotMatch"),
        ("key-of-carol", SECRET, "InvalidAccessKeyId"),
        ("1111", SECRET, "InvalidAccessKeyId"),
    ] {
        let refused = Wire::signing(&world.server, key, secret).send(&get);
        assert_eq!(refused.refusal(), (403, code), "{key}");
    }
    let (_, log) = world.server.stop_with_log();
    for secret in [SECRET, "the-other-secret-key"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn listings_show_the_bucket_and_its_owner() {
    let world = world();
    let ada = "<ID>1111</ID><DisplayName>Ada</DisplayName>";
    let shown = |wire: &Wire, target: &str| {
        let body = wire.send(&request("GET", target)).body;
        body.replace("<DisplayName>Ada</DisplayName><ID>1111</ID>", ada)
    };
    for target in ["/of-ada", "/of-ada?list-type=2&fetch-owner=true", "/of-ada?versions", "/of-ada?uploads"] {
        for wire in [&world.ada, &world.root] {
            let body = shown(wire, target);
            assert!(body.contains(ada) && !body.contains("sediment"), "{target}: {body}");
        }
    }
    let buckets = shown(&world.ada, "/");
    assert!(buckets.contains(ada) && buckets.contains("of-ada") && !buckets.contains("of-bob"), "{buckets}");
    let all = shown(&world.root, "/");
    assert!(all.contains("<ID>sediment</ID>") && all.contains("of-ada") && all.contains("of-bob"), "{all}");

    let expecting = |owner: &str| {
        let get = request("GET", "/of-ada/secret").header("x-amz-expected-bucket-owner", owner);
        [world.ada.send(&get).status, world.root.send(&get).status]
    };
    assert_eq!(expecting("1111"), [200, 200]);
    assert_eq!(expecting("sediment"), [403, 403]);
    let missing = request("GET", "/of-nobody/k").header("x-amz-expected-bucket-owner", "1111");
    for answer in [world.bob.send(&missing), world.root.send_anonymous(&missing)] {
        assert_eq!(answer.refusal(), (404, "NoSuchBucket"));
    }
}

#[test]
fn i1_buckets_keep_their_owners_and_accounts_that_go_leave_theirs_to_root() {
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path());
    let data = dir.path().join("data");
    let with = ["--config", config.to_str().unwrap()];
    let server = Sediment::serve(&data, &with);
    let ada = Wire::signing(&server, "key-of-ada", SECRET);
    assert_eq!(ada.send(&request("PUT", "/of-ada")).status, 200);
    assert_eq!(ada.send(&request("PUT", "/of-ada/k").body(*b"kept")).status, 200);
    server.stop();

    let server = Sediment::serve(&data, &[]);
    let ada = Wire::signing(&server, "key-of-ada", SECRET);
    assert_eq!(ada.send(&request("GET", "/of-ada/k")).refusal(), (403, "InvalidAccessKeyId"));
    let listed = Wire::new(&server).send(&request("GET", "/of-ada"));
    assert!(listed.body.contains("<ID>1111</ID>"), "{}", listed.body);
    server.stop();

    let server = Sediment::serve(&data, &with);
    let get = request("GET", "/of-ada/k");
    assert_eq!(Wire::signing(&server, "key-of-ada", SECRET).send(&get).body, "kept");
    let bob = Wire::signing(&server, "key-of-bob", "the-other-secret-key");
    assert_eq!(bob.send(&get).refusal(), (403, "AccessDenied"));
}

#[test]
fn i6_a_start_with_unusable_accounts_is_refused_without_a_secret_in_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path());
    let data = dir.path().join("data");
    let path = config.to_str().unwrap();
    let shown = run(&data, &["config", "--config", path]).stdout;
    let shown = String::from_utf8(shown).unwrap()
        + &String::from_utf8_lossy(&run(&data, &["config", "--json", "--config", path]).stdout);
    assert!(shown.contains("key-of-ada") && !shown.contains(SECRET), "{shown}");

    fs::remove_file(dir.path().join("secret-of-bob")).unwrap();
    let said = refused(&run(&data, &["serve", "--config", path]), 2);
    assert!(said.contains("secret-of-bob"), "{said}");
    let mut as_root = command(&data, &["serve", "--config", path]);
    as_root.env("SEDIMENT_ROOT_USER", "key-of-ada").env("SEDIMENT_ROOT_PASSWORD", "a-root-password");
    fs::write(dir.path().join("secret-of-bob"), "the-other-secret-key").unwrap();
    let said = refused(&as_root.output().unwrap(), 2);
    assert!(said.contains("key-of-ada"), "{said}");
}
