//! Every operation that s3s models: the list, the table in the documentation, and what a server answers, are the same.

use super::support::form::form;
use super::support::sediment::{Sediment, exchange};
use super::support::wire::{Answer, Request, Wire, request};
use md5::{Digest as _, Md5};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

/// What an operation's row promises.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Done,
    /// Status, and the error's code.
    Unconfigured(u16, String),
    NotImplemented,
}

/// Of other platforms a fresh machine has no packages.
fn host() -> String {
    let rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-vV")
        .output()
        .unwrap();
    let said = String::from_utf8(rustc.stdout).unwrap();
    said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// The operations of the version of s3s that this was built with, from its own source.
fn operations_of_s3s() -> BTreeSet<String> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &host()])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let s3s = packages.iter().find(|package| package["name"] == "s3s").unwrap();
    let manifest = PathBuf::from(s3s["manifest_path"].as_str().unwrap());
    let source = std::fs::read_to_string(manifest.with_file_name("src").join("s3_trait.rs")).unwrap();
    let names = source.lines().filter_map(|line| line.trim_start().strip_prefix("async fn "));
    names.map(|rest| camel_case(rest.split('(').next().unwrap())).collect()
}

/// `get_object` is `GetObject`.
fn camel_case(name: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('_').map(capital).collect()
}

/// The rows of all tables of operations.
fn documented() -> BTreeMap<String, State> {
    let page = include_str!("../../docs/s3-compatibility.md");
    let mut rows = BTreeMap::new();
    for line in page.lines() {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, operation, state @ ("done" | "unconfigured" | "not implemented"), how, ..] = columns[..]
        else {
            continue;
        };
        let state = match state {
            "done" => State::Done,
            "unconfigured" => answer_in(how),
            _ => State::NotImplemented,
        };
        assert_eq!(rows.insert(operation.to_owned(), state), None, "{operation} has two rows");
    }
    rows
}

/// The text begins with a status and a code, as in `404 NoSuchBucketPolicy`.
fn answer_in(how: &str) -> State {
    let promised =
        how.strip_prefix('`').and_then(|how| how.split_once('`')).unwrap_or_else(|| panic!("{how:?}"));
    let (status, code) = promised.0.split_once(' ').unwrap_or((promised.0, ""));
    State::Unconfigured(status.parse().unwrap(), code.to_owned())
}

/// An operation and a request for it, of a server that has it.
struct Sample {
    operation: &'static str,
    method: &'static str,
    target: String,
    headers: &'static [(&'static str, &'static str)],
    body: String,
}

impl Sample {
    /// A form is signed by the policy in it, every other request in its head.
    fn send(&self, wire: &Wire) -> Answer {
        match self.operation {
            "PostObject" => form("bucket", "posted", b"0123456789").signed("bucket", &[]).send(wire),
            _ => wire.send(&self.request()),
        }
    }

    fn request(&self) -> Request {
        let mut request = request(self.method, &self.target);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if self.body.is_empty() {
            return request;
        }
        request.body(self.body.as_str()).with_md5()
    }
}

/// In an order in which all of them can succeed: what is written is read and then deleted.
fn samples(upload: &str, other_upload: &str) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut add = |operation, method, target: &str, body: &str| {
        let (target, body) = (target.to_owned(), body.to_owned());
        samples.push(Sample { operation, method, target, headers: &[], body });
    };
    buckets(&mut add);
    reports(&mut add);
    objects(&mut add, upload, other_upload);
    deletions(&mut add);
    for sample in &mut samples {
        sample.headers = match sample.operation {
            "CopyObject" | "UploadPartCopy" => &[("x-amz-copy-source", "/bucket/key")],
            "GetObjectAttributes" => &[("x-amz-object-attributes", "ETag,ObjectSize")],
            "PutObjectAcl" => &[("x-amz-acl", "private")],
            "WriteGetObjectResponse" => &[("x-amz-request-route", "r"), ("x-amz-request-token", "t")],
            _ => &[],
        };
    }
    samples
}

fn buckets(add: &mut impl FnMut(&'static str, &'static str, &str, &str)) {
    add("ListBuckets", "GET", "/", "");
    add("ListDirectoryBuckets", "GET", "/?x-id=ListDirectoryBuckets", "");
    add("CreateBucket", "PUT", "/another-bucket", "");
    add("HeadBucket", "HEAD", "/bucket", "");
    add("DeleteBucket", "DELETE", "/another-bucket", "");
    add("CreateSession", "GET", "/bucket?session=", "");
    for (name, sub, document) in [
        (
            "Accelerate",
            "accelerate",
            "<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>",
        ),
        (
            "Acl",
            "acl",
            "<AccessControlPolicy><Owner><ID>sediment</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>sediment</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>",
        ),
        (
            "Cors",
            "cors",
            "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>",
        ),
        (
            "Encryption",
            "encryption",
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
        ),
        (
            "Lifecycle",
            "lifecycle",
            "<LifecycleConfiguration><Rule><ID>r</ID><Filter><Prefix>never/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
        ),
        ("Logging", "logging", "<BucketLoggingStatus/>"),
        ("Notification", "notification", "<NotificationConfiguration/>"),
        (
            "OwnershipControls",
            "ownershipControls",
            "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>",
        ),
        ("Policy", "policy", "{\"Version\":\"2012-10-17\",\"Statement\":[]}"),
        (
            "PublicAccessBlock",
            "publicAccessBlock",
            "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>",
        ),
        (
            "RequestPayment",
            "requestPayment",
            "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
        ),
        ("Tagging", "tagging", "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"),
        (
            "Versioning",
            "versioning",
            "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
        ),
        (
            "Website",
            "website",
            "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>",
        ),
    ] {
        let target = format!("/bucket?{sub}=");
        let [put, get] = ["Put", "Get"].map(|verb| operation(verb, name));
        add(put, "PUT", &target, document);
        add(get, "GET", &target, "");
    }
    let lock =
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    add("PutObjectLockConfiguration", "PUT", "/locked?object-lock=", lock);
    add("GetObjectLockConfiguration", "GET", "/locked?object-lock=", "");
    let rules = "<ReplicationConfiguration><Role>r</Role><Rule><Status>Enabled</Status><Prefix>never/</Prefix><Destination><Bucket>arn:aws:s3:::elsewhere</Bucket></Destination></Rule></ReplicationConfiguration>";
    add("PutBucketReplication", "PUT", "/locked?replication=", rules);
    add("GetBucketReplication", "GET", "/locked?replication=", "");
    add("GetBucketLocation", "GET", "/bucket?location=", "");
    add("GetBucketPolicyStatus", "GET", "/bucket?policyStatus=", "");
    add("ListObjects", "GET", "/bucket", "");
    add("ListObjectsV2", "GET", "/bucket?list-type=2", "");
    add("ListObjectVersions", "GET", "/bucket?versions=", "");
    add("ListMultipartUploads", "GET", "/bucket?uploads=", "");
}

/// The name of an operation on a bucket's configuration, as the lists have it.
fn operation(verb: &str, name: &str) -> &'static str {
    let exact = ["PublicAccessBlock"].contains(&name);
    let long = match (verb, name) {
        ("Put" | "Get", "Accelerate" | "Lifecycle" | "Notification") => "Configuration",
        _ => "",
    };
    let bucket = if exact { "" } else { "Bucket" };
    format!("{verb}{bucket}{name}{long}").leak()
}

fn reports(add: &mut impl FnMut(&'static str, &'static str, &str, &str)) {
    for (name, sub) in [
        ("Analytics", "analytics"),
        ("IntelligentTiering", "intelligent-tiering"),
        ("Inventory", "inventory"),
        ("Metrics", "metrics"),
    ] {
        let [put, get, delete] =
            ["Put", "Get", "Delete"].map(|verb| &*format!("{verb}Bucket{name}Configuration").leak());
        let target = format!("/bucket?{sub}=&id=a");
        add(put, "PUT", &target, "<Configuration><Id>a</Id></Configuration>");
        add(get, "GET", &target, "");
        add(&*format!("ListBucket{name}Configurations").leak(), "GET", &format!("/bucket?{sub}="), "");
        add(delete, "DELETE", &target, "");
    }
    add(
        "CreateBucketMetadataTableConfiguration",
        "POST",
        "/bucket?metadataTable=",
        "<MetadataTableConfiguration/>",
    );
    add("GetBucketMetadataTableConfiguration", "GET", "/bucket?metadataTable=", "");
    add("DeleteBucketMetadataTableConfiguration", "DELETE", "/bucket?metadataTable=", "");
}

fn objects(add: &mut impl FnMut(&'static str, &'static str, &str, &str), upload: &str, other_upload: &str) {
    add("PutObject", "PUT", "/bucket/key", "0123456789");
    add("PostObject", "POST", "/bucket", "");
    add("HeadObject", "HEAD", "/bucket/key", "");
    add("GetObject", "GET", "/bucket/key", "");
    add("GetObjectAttributes", "GET", "/bucket/key?attributes=", "");
    add("GetObjectTorrent", "GET", "/bucket/key?torrent=", "");
    add("CopyObject", "PUT", "/bucket/copy", "");
    add("RestoreObject", "POST", "/bucket/key?restore=", "<RestoreRequest><Days>1</Days></RestoreRequest>");
    add("SelectObjectContent", "POST", "/bucket/key?select=&select-type=2", "<SelectObjectContentRequest/>");
    add("WriteGetObjectResponse", "POST", "/bucket", "");
    add("PutObjectAcl", "PUT", "/bucket/key?acl=", "");
    add("GetObjectAcl", "GET", "/bucket/key?acl=", "");
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    add("PutObjectTagging", "PUT", "/bucket/key?tagging=", tags);
    add("GetObjectTagging", "GET", "/bucket/key?tagging=", "");
    add("DeleteObjectTagging", "DELETE", "/bucket/key?tagging=", "");
    let hold = "<LegalHold><Status>ON</Status></LegalHold>";
    add("PutObjectLegalHold", "PUT", "/locked/key?legal-hold=", hold);
    add("GetObjectLegalHold", "GET", "/locked/key?legal-hold=", "");
    let retention = "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2090-01-01T00:00:00Z</RetainUntilDate></Retention>";
    add("PutObjectRetention", "PUT", "/locked/key?retention=", retention);
    add("GetObjectRetention", "GET", "/locked/key?retention=", "");
    add("CreateMultipartUpload", "POST", "/bucket/parts?uploads=", "");
    add("UploadPartCopy", "PUT", &format!("/bucket/parts?partNumber=2&uploadId={other_upload}"), "");
    add("UploadPart", "PUT", &format!("/bucket/parts?partNumber=1&uploadId={upload}"), "0123456789");
    add("ListParts", "GET", &format!("/bucket/parts?uploadId={upload}"), "");
    let parts = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        hex::encode(Md5::digest("0123456789"))
    );
    add("CompleteMultipartUpload", "POST", &format!("/bucket/parts?uploadId={upload}"), &parts);
    add("AbortMultipartUpload", "DELETE", &format!("/bucket/parts?uploadId={other_upload}"), "");
    add("DeleteObject", "DELETE", "/bucket/copy", "");
    add("DeleteObjects", "POST", "/bucket?delete=", "<Delete><Object><Key>parts</Key></Object></Delete>");
}

fn deletions(add: &mut impl FnMut(&'static str, &'static str, &str, &str)) {
    for (name, sub) in [
        ("Cors", "cors"),
        ("Encryption", "encryption"),
        ("Lifecycle", "lifecycle"),
        ("OwnershipControls", "ownershipControls"),
        ("Policy", "policy"),
        ("PublicAccessBlock", "publicAccessBlock"),
        ("Replication", "replication"),
        ("Tagging", "tagging"),
        ("Website", "website"),
    ] {
        add(operation("Delete", name), "DELETE", &format!("/bucket?{sub}="), "");
    }
}

fn start() -> (tempfile::TempDir, Sediment, Wire) {
    let dir = tempfile::tempdir().unwrap();
    // Nobody is there; that is told when something is to go there.
    let target = "replication.targets=[{id=\"elsewhere\", bucket=\"elsewhere\", endpoint=\"http://127.0.0.1:1\", access_key=\"k\", secret_key=\"s\"}]";
    let server = Sediment::serve(dir.path(), &["--set", target]);
    let wire = Wire::new(&server);
    assert_eq!(wire.send(&request("PUT", "/bucket")).status, 200);
    // Nothing but object lock needs it, and where that is missing so is this.
    wire.send(&request("PUT", "/locked").header("x-amz-bucket-object-lock-enabled", "true"));
    wire.send(&request("PUT", "/locked/key").body(*b"0123456789"));
    (dir, server, wire)
}

fn open_upload(wire: &Wire) -> String {
    let created = wire.send(&request("POST", "/bucket/parts?uploads="));
    created.element("UploadId").to_owned()
}

fn keeps(state: &State, answer: &Answer) -> bool {
    match state {
        State::Done => answer.status < 300,
        State::Unconfigured(status, code) => {
            answer.status == *status && (code.is_empty() || answer.element("Code") == code)
        }
        State::NotImplemented => answer.refusal() == (501, "NotImplemented"),
    }
}

#[test]
fn the_table_has_every_operation_of_s3s_and_a_server_answers_as_it_says() {
    let (operations, documented) = (operations_of_s3s(), documented());
    assert!(operations.len() >= 99, "{operations:?}");
    assert_eq!(documented.keys().cloned().collect::<BTreeSet<_>>(), operations);
    let (_dir, _server, wire) = start();
    let samples = samples(&open_upload(&wire), &open_upload(&wire));
    let asked: Vec<&str> = samples.iter().map(|sample| sample.operation).collect();
    let distinct: BTreeSet<String> = asked.iter().map(ToString::to_string).collect();
    assert_eq!((asked.len(), &distinct), (operations.len(), &operations));
    let mut wrong = Vec::new();
    for sample in &samples {
        let (state, answer) = (&documented[sample.operation], sample.send(&wire));
        if !keeps(state, &answer) {
            wrong.push(format!("{} is {state:?}: {} {}", sample.operation, answer.status, answer.body));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What would be passed over is refused, by every operation that reads a document.
#[test]
fn i1_no_document_may_hold_what_is_not_known() {
    let (_dir, _server, wire) = start();
    let documented = documented();
    let samples = samples(&open_upload(&wire), &open_upload(&wire));
    let reading = samples.iter().filter(|sample| {
        sample.body.starts_with('<') && documented[sample.operation] != State::NotImplemented
    });
    let mut count = 0;
    for sample in reading {
        count += 1;
        let name = sample.body[1..].split(['>', '/', ' ']).next().unwrap();
        let (opened, _) = sample.body.rsplit_once("</").unwrap_or((&sample.body, ""));
        let opened = opened.replace(&format!("<{name}/>"), &format!("<{name}>"));
        for unknown in ["<unknown/>", "<a:Rule xmlns:a=\"a\"/>", "text"] {
            let mut request = request(sample.method, &sample.target);
            request
                .headers
                .extend(sample.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            let request = request.body(format!("{opened}{unknown}</{name}>")).with_md5();
            let answer = wire.send(&request);
            assert_eq!(answer.refusal(), (400, "MalformedXML"), "{} {unknown}", sample.operation);
        }
    }
    assert!(count > 15, "{count}");
}

/// Of a bucket that is not there nothing is unconfigured.
#[test]
fn i6_what_is_unconfigured_is_authorised_and_exists() {
    let (_dir, server, wire) = start();
    let address = server.s3.trim_start_matches("http://");
    let documented = documented();
    let samples = samples("u", "u");
    let unconfigured =
        samples.iter().filter(|sample| matches!(documented[sample.operation], State::Unconfigured(..)));
    let mut count = 0;
    for sample in unconfigured {
        count += 1;
        let mut elsewhere = sample.request();
        elsewhere.target = elsewhere.target.replace("/bucket", "/nowhere");
        let answer = wire.send(&elsewhere);
        assert_eq!(answer.refusal(), (404, "NoSuchBucket"), "{}", sample.operation);
        assert_eq!(answer.element("BucketName"), "nowhere");
        let Sample { method, target, body, .. } = sample;
        let head = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        let anonymous = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let anonymous = exchange(address, anonymous.as_bytes());
        assert!(anonymous.starts_with("HTTP/1.1 403 "), "{}: {anonymous}", sample.operation);
        // Torrents are refused of every key.
        if target.contains("/key") && sample.operation != "GetObjectTorrent" {
            let mut missing = sample.request();
            missing.target = missing.target.replace("/key", "/missing");
            assert_eq!(wire.send(&missing).refusal(), (404, "NoSuchKey"), "{}", sample.operation);
        }
    }
    assert!(count > 30, "{count}");
}

/// What would change something that is not there is refused, not taken for done.
#[test]
fn what_asks_for_more_than_is_so_is_refused() {
    let (_dir, _server, wire) = start();
    assert_eq!(wire.send(&request("PUT", "/bucket/key").body(*b"x")).status, 200);
    let put = |target: &str, body: &str| wire.send(&request("PUT", target).body(body));
    for (target, body) in [
        (
            "/bucket?accelerate=",
            "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>",
        ),
        (
            "/bucket?logging=",
            "<BucketLoggingStatus><LoggingEnabled><TargetBucket>bucket</TargetBucket><TargetPrefix>l</TargetPrefix></LoggingEnabled></BucketLoggingStatus>",
        ),
        (
            "/bucket?notification=",
            "<NotificationConfiguration><EventBridgeConfiguration/></NotificationConfiguration>",
        ),
        (
            "/bucket?ownershipControls=",
            "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>",
        ),
        (
            "/bucket?requestPayment=",
            "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>",
        ),
    ] {
        assert_eq!(put(target, body).refusal(), (501, "NotImplemented"), "{target}");
    }
    for (target, body) in [
        (
            "/bucket?accelerate=",
            "<AccelerateConfiguration><Status>Perhaps</Status></AccelerateConfiguration>",
        ),
        ("/bucket?ownershipControls=", "<OwnershipControls></OwnershipControls>"),
        (
            "/bucket?requestPayment=",
            "<RequestPaymentConfiguration><Payer>Nobody</Payer></RequestPaymentConfiguration>",
        ),
    ] {
        assert_eq!(put(target, body).refusal(), (400, "MalformedXML"), "{target}");
    }
    let everyone = "<AccessControlPolicy><AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>";
    for target in ["/bucket?acl=", "/bucket/key?acl="] {
        assert_eq!(put(target, everyone).refusal(), (400, "AccessControlListNotSupported"), "{target}");
        let nothing = put(target, "");
        assert_eq!(nothing.refusal(), (400, "MissingSecurityHeader"), "{target}");
        assert_eq!(nothing.element("MissingHeaderName"), "x-amz-acl");
        let canned = |acl: &str| wire.send(&request("PUT", target).header("x-amz-acl", acl));
        assert_eq!(canned("public-read").refusal(), (400, "AccessControlListNotSupported"));
        let unknown = canned("public-ready");
        assert_eq!(
            (unknown.refusal(), unknown.element("ArgumentValue")),
            ((400, "InvalidArgument"), "public-ready")
        );
        assert_eq!(canned("private").status, 200);
    }
    let owned = |value: &str| wire.send(&request("PUT", "/owned").header("x-amz-object-ownership", value));
    assert_eq!(owned("ObjectWriter").refusal(), (501, "NotImplemented"));
    assert_eq!(owned("Nobody").refusal(), (400, "InvalidArgument"));
    assert_eq!(owned("BucketOwnerEnforced").status, 200);
    let acl = wire.send(&request("GET", "/bucket/key?acl="));
    assert_eq!((acl.element("Permission"), acl.element("ID")), ("FULL_CONTROL", "sediment"));
    assert!(wire.send(&request("GET", "/bucket?ownershipControls=")).body.contains("BucketOwnerEnforced"));
}

#[test]
fn an_archive_by_name_is_restored_already() {
    let (_dir, _server, wire) = start();
    let restore =
        |key: &str, body: &str| wire.send(&request("POST", &format!("/bucket/{key}?restore=")).body(body));
    let put = |key: &str, class: &str| {
        let put = request("PUT", &format!("/bucket/{key}")).header("x-amz-storage-class", class).body(*b"x");
        assert_eq!(wire.send(&put).status, 200);
    };
    put("glacier", "GLACIER");
    put("standard", "STANDARD");
    let days = "<RestoreRequest><Days>1</Days></RestoreRequest>";
    assert_eq!(restore("glacier", days).status, 200);
    assert_eq!(restore("standard", days).refusal(), (403, "InvalidObjectState"));
    assert_eq!(restore("glacier", "").refusal(), (400, "MissingRequestBodyError"));
}
