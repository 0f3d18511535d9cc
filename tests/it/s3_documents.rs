//! Documents that are not what they seem: nothing in them is passed over in silence (I1, I6).

use super::support::form::form;
use super::support::sediment::Sediment;
use super::support::wire::{Answer, Wire, request};
use serde_json::json;

const UNTIL: &str = "2090-01-01T00:00:00Z";

fn start() -> (tempfile::TempDir, Sediment, Wire) {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let wire = Wire::new(&server);
    assert_eq!(wire.send(&request("PUT", "/bucket")).status, 200);
    let locked = request("PUT", "/locked").header("x-amz-bucket-object-lock-enabled", "true");
    assert_eq!(wire.send(&locked).status, 200);
    for target in ["/bucket/k", "/locked/k"] {
        assert_eq!(wire.send(&request("PUT", target).body(*b"precious")).status, 200);
    }
    (dir, server, wire)
}

fn put(wire: &Wire, target: &str, document: &str) -> Answer {
    let put = request("PUT", target).body(document).with_md5();
    wire.send(&put.header("x-amz-bypass-governance-retention", "true"))
}

#[track_caller]
fn assert_malformed(wire: &Wire, target: &str, document: &str) {
    let answer = put(wire, target, document);
    assert_eq!(answer.refusal(), (400, "MalformedXML"), "{target} {document}: {}", answer.body);
}

#[test]
fn i6_a_default_retention_stays_until_one_is_understood() {
    let (_dir, _server, wire) = start();
    let target = "/locked?object-lock=";
    let configuration = |inside: &str| {
        format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{inside}</ObjectLockConfiguration>"
        )
    };
    let rule = "<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>9</Days></DefaultRetention></Rule>";
    assert_eq!(put(&wire, target, &configuration(rule)).status, 200);
    let lower = rule.replace("Rule>", "rule>");
    let alias = rule.replace("<Rule", "<a:Rule xmlns:a=\"a\"").replace("</Rule", "</a:Rule");
    let twice = rule.replace("<Mode>", "<Mode>GOVERNANCE</Mode><Mode>");
    for wrong in [&lower, &alias, &twice, &rule.repeat(2), "Rule", "<!-- --><x/>"] {
        assert_malformed(&wire, target, &configuration(wrong));
    }
    let days = rule.replace("<Days>9", "<Days>1e3");
    assert_malformed(&wire, target, &configuration(&days));
    let event = rule.replace("<Days>", "<DefaultEventHold><Days>1</Days></DefaultEventHold><Days>");
    assert_eq!(put(&wire, target, &configuration(&event)).refusal(), (501, "NotImplemented"));
    let found = wire.send(&request("GET", target));
    assert_eq!((found.element("Mode"), found.element("Days")), ("COMPLIANCE", "9"));
}

#[test]
fn i6_only_an_empty_retention_ends_one() {
    let (_dir, _server, wire) = start();
    let target = "/locked/k?retention=";
    let date = format!("<RetainUntilDate>{UNTIL}</RetainUntilDate>");
    let retention = |inside: &str| format!("<Retention>{inside}</Retention>");
    let asked = retention(&format!("<Mode>GOVERNANCE</Mode>{date}"));
    assert_eq!(put(&wire, target, &asked).status, 200);
    let alias = "<a:Mode xmlns:a=\"http://s3.amazonaws.com/doc/2006-03-01/\">COMPLIANCE</a:Mode>";
    let lower = "<mode>COMPLIANCE</mode><retainUntilDate>2090-01-01T00:00:00Z</retainUntilDate>";
    for wrong in [
        lower,
        alias,
        "COMPLIANCE",
        "<Mode>COMPLIANCE</Mode>",
        "<x/>",
        &format!("<Mode>COMPLIANCE</Mode><Mode>GOVERNANCE</Mode>{date}"),
        &format!("<Mode>COMPLIANCE</Mode>{date}{date}"),
    ] {
        assert_malformed(&wire, target, &retention(wrong));
    }
    for newer in ["<EventHold>ON</EventHold>", "<EventHoldDuration><Days>1</Days></EventHoldDuration>"] {
        assert_eq!(put(&wire, target, &retention(newer)).refusal(), (501, "NotImplemented"));
    }
    let found = wire.send(&request("GET", target));
    assert_eq!(found.element("Mode"), "GOVERNANCE");
    assert_malformed(&wire, "/locked/k?legal-hold=", "<LegalHold><status>ON</status></LegalHold>");
    assert_eq!(put(&wire, target, "<Retention xmlns=\"a\">\n</Retention>").status, 200);
    assert_eq!(wire.send(&request("GET", target)).refusal().0, 404);
}

#[test]
fn i1_no_part_of_a_completion_is_dropped() {
    let (_dir, _server, wire) = start();
    let id = wire.send(&request("POST", "/bucket/big?uploads=")).element("UploadId").to_owned();
    let part = |number: u16, body: Vec<u8>| {
        let put = request("PUT", &format!("/bucket/big?partNumber={number}&uploadId={id}")).body(body);
        let etag = wire.send(&put).headers["etag"].clone();
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
    };
    let (first, second) = (part(1, vec![1; 5 << 20]), part(2, vec![2; 9]));
    let complete = |parts: &str| {
        let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        wire.send(&request("POST", &format!("/bucket/big?uploadId={id}")).body(document))
    };
    let alias = second.replace("<Part>", "<n:Part xmlns:n=\"n\">").replace("</Part>", "</n:Part>");
    let lower = second.replace("Part>", "part>");
    let number = second.replace("<PartNumber>2", "<PartNumber>2x");
    for wrong in [alias, lower, number, "second".to_owned()] {
        assert_eq!(complete(&format!("{first}{wrong}")).refusal(), (400, "MalformedXML"), "{wrong}");
    }
    let newer = first.replace("</Part>", "<ChecksumSHA512>a</ChecksumSHA512></Part>");
    assert_eq!(complete(&newer).refusal(), (501, "NotImplemented"));
    assert_eq!(complete(&format!("{first}{second}")).status, 200);
    assert_eq!(
        wire.send(&request("HEAD", "/bucket/big")).headers["content-length"],
        (9 + (5 << 20)).to_string()
    );
}

#[test]
fn i1_tags_are_never_erased_by_what_is_not_understood() {
    let (_dir, _server, wire) = start();
    let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
    let document = |tags: &str| format!("<Tagging><TagSet>{tags}</TagSet></Tagging>");
    let wrong = [document(&tag.replace("Tag>", "tag>")), document("k=v"), document(&format!("{tag}<x/>"))];
    for target in ["/bucket?tagging=", "/bucket/k?tagging="] {
        assert!(put(&wire, target, &document(tag)).status < 300);
        for wrong in &wrong {
            assert_malformed(&wire, target, wrong);
        }
        assert_malformed(&wire, target, "<Tagging><TagSet/><tagSet/></Tagging>");
        assert_eq!(wire.send(&request("GET", target)).element("Value"), "v", "{target}");
    }
    for wrong in &wrong {
        let posted = form("bucket", "posted", b"x")
            .field("tagging", wrong)
            .signed("bucket", &[json!(["starts-with", "$tagging", ""])]);
        assert_eq!(posted.send(&wire).refusal(), (400, "MalformedXML"), "{wrong}");
    }
    assert_eq!(wire.send(&request("HEAD", "/bucket/posted")).status, 404);
}

#[test]
fn i1_a_configuration_is_taken_whole_or_refused() {
    let (_dir, _server, wire) = start();
    for (target, document) in [
        (
            "/bucket?versioning=",
            "<VersioningConfiguration><Status>Enabled</Status><MFADelete>Enabled</MFADelete></VersioningConfiguration>",
        ),
        (
            "/bucket?versioning=",
            "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>enabled</MfaDelete></VersioningConfiguration>",
        ),
        ("/bucket?logging=", "<BucketLoggingStatus><loggingEnabled/></BucketLoggingStatus>"),
        ("/bucket?notification=", "<NotificationConfiguration><EventBridge/></NotificationConfiguration>"),
        (
            "/new-bucket",
            "<CreateBucketConfiguration><locationConstraint>a</locationConstraint></CreateBucketConfiguration>",
        ),
        (
            "/bucket?lifecycle=",
            "<LifecycleConfiguration><Rule><Filter><Prefix>a</Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule><rule/></LifecycleConfiguration>",
        ),
        (
            "/bucket?cors=",
            "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin><MaxAgeSeconds>1e9</MaxAgeSeconds></CORSRule></CORSConfiguration>",
        ),
    ] {
        assert_malformed(&wire, target, document);
    }
    let mfa = "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>";
    assert_eq!(put(&wire, "/bucket?versioning=", mfa).refusal(), (501, "NotImplemented"));
    let batch = "<Delete><Object><Key>k</Key></Object><Object><key>l</key></Object></Delete>";
    let posted = wire.send(&request("POST", "/bucket?delete=").body(batch).with_md5());
    assert_eq!(posted.refusal(), (400, "MalformedXML"));
    assert_eq!(wire.send(&request("GET", "/bucket/k")).body, "precious");
}
