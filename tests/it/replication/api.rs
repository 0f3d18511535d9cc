//! The three operations, and who may say what is a replica.

use super::site::{Site, pair, rule};
use crate::support::wire::{Wire, request};

#[tokio::test(flavor = "multi_thread")]
async fn rules_come_back_as_they_were_given_and_are_refused_as_aws_refuses_them() {
    let (near, far) = pair().await;
    let wire = near.wire();
    let none = wire.send(&request("GET", "/bucket?replication="));
    assert_eq!(none.refusal(), (404, "ReplicationConfigurationNotFoundError"));
    let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
    let refused = [
        ("", (400, "MalformedXML")),
        (&*rule("", "Maybe", ""), (400, "MalformedXML")),
        (&rule(tag, "Enabled", ""), (400, "InvalidRequest")),
        (&rule("", "Enabled", "").replace("<Priority>1</Priority>", ""), (400, "InvalidRequest")),
        (&rule("", "Enabled", "").replace("::far:bucket", "::far:missing"), (400, "InvalidRequest")),
        (&rule("", "Enabled", "").replace("::far:bucket", "::unknown:bucket"), (400, "InvalidRequest")),
        (&rule("", "Enabled", "").replace("arn:sediment:replication::far:", ""), (400, "InvalidArgument")),
        (
            &rule("", "Enabled", "").replace("</Bucket>", "</Bucket><Account>1</Account>"),
            (501, "NotImplemented"),
        ),
        (
            &rule(
                "",
                "Enabled",
                "<SourceSelectionCriteria><ReplicaModifications><Status>Enabled</Status></ReplicaModifications></SourceSelectionCriteria>",
            ),
            (501, "NotImplemented"),
        ),
    ];
    for (rules, refusal) in refused {
        let answer = near.set_rules("bucket", rules);
        assert_eq!(answer.refusal(), refusal, "{rules}: {}", answer.body);
    }
    near.client().create_bucket().bucket("unversioned").send().await.unwrap();
    far.client().create_bucket().bucket("unversioned").send().await.unwrap();
    assert_eq!(near.set_rules("unversioned", &rule("", "Enabled", "")).refusal(), (400, "InvalidRequest"));
    let there = rule("", "Enabled", "").replace("far:bucket", "far:unversioned");
    let answer = near.set_rules("bucket", &there);
    assert!(answer.body.contains("must have versioning enabled"), "{}", answer.body);

    let and = format!("<And><Prefix>a</Prefix>{tag}</And>");
    let existing = "<ExistingObjectReplication><Status>Disabled</Status></ExistingObjectReplication>";
    let class = rule(&and, "Disabled", existing)
        .replace("</Bucket>", "</Bucket><StorageClass>STANDARD_IA</StorageClass>");
    assert_eq!(near.set_rules("bucket", &class).status, 200);
    let shown = wire.send(&request("GET", "/bucket?replication=")).body;
    for part in [
        "<Role>role</Role>",
        "<ID>Disabled</ID>",
        "<Priority>1</Priority>",
        "<Prefix>a</Prefix>",
        "<Key>k</Key>",
        "<Bucket>arn:sediment:replication::far:bucket</Bucket>",
        "<StorageClass>STANDARD_IA</StorageClass>",
        "<ExistingObjectReplication><Status>Disabled</Status></ExistingObjectReplication>",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let suspend = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    let suspended = wire.send(&request("PUT", "/bucket?versioning=").body(suspend).with_md5());
    assert_eq!(suspended.refusal(), (409, "InvalidBucketState"));
    assert_eq!(wire.send(&request("DELETE", "/bucket?replication=")).status, 204);
    assert_eq!(wire.send(&request("GET", "/bucket?replication=")).status, 404);
    let suspended = wire.send(&request("PUT", "/bucket?versioning=").body(suspend).with_md5());
    assert_eq!(suspended.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_nobody_makes_a_write_a_replica_behind_its_signature() {
    let (near, _far) = pair().await;
    let wire = near.wire();
    const HEADER: &str = "x-sediment-replica-of";
    let unsigned = wire.send(&request("PUT", "/bucket/k").body(*b"x").unsigned(HEADER, "other/1"));
    assert_eq!(unsigned.refusal(), (403, "AccessDenied"));
    let signed = wire.send(&request("PUT", "/bucket/k").body(*b"x").header(HEADER, "other/1"));
    assert_eq!(signed.status, 200, "{}", signed.body);
    let head = wire.send(&request("HEAD", "/bucket/k"));
    assert_eq!(head.headers["x-amz-replication-status"], "REPLICA");
    assert_eq!(head.headers[HEADER], "other/1");
    // A copy is this store's own.
    let copy = request("PUT", "/bucket/copy").header("x-amz-copy-source", "/bucket/k");
    assert_eq!(wire.send(&copy).status, 200);
    assert!(!wire.send(&request("HEAD", "/bucket/copy")).headers.contains_key("x-amz-replication-status"));
    let elsewhere = wire.send(&request("PUT", "/bucket/k?tagging=").header(HEADER, "other/1"));
    assert_eq!(elsewhere.refusal().1, "NotImplemented");
    let wrong = wire.send(&request("PUT", "/bucket/k").body(*b"x").header(HEADER, "a b"));
    assert_eq!(wrong.refusal(), (400, "InvalidArgument"));
}

/// Replicas are written with the operator's credentials: an account would reach the buckets of others with them.
#[tokio::test(flavor = "multi_thread")]
async fn i6_an_account_sets_no_rules() {
    let (mut near, mut far) = (Site::new().await, Site::new().await);
    far.start_alone();
    far.bucket("bucket").await;
    let secret = "the-secret-of-ada";
    near.set(&format!(
        "s3.accounts=[{{id=\"1\", name=\"Ada\", access_key=\"key-of-ada\", secret_key=\"{secret}\"}}]"
    ));
    near.start(&far);
    let ada = Wire::signing(near.server(), "key-of-ada", secret);
    assert_eq!(ada.send(&request("PUT", "/bucket")).status, 200);
    let enable = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(ada.send(&request("PUT", "/bucket?versioning=").body(enable).with_md5()).status, 200);
    let document = format!(
        "<ReplicationConfiguration><Role>r</Role>{}</ReplicationConfiguration>",
        rule("", "Enabled", "")
    );
    let put = request("PUT", "/bucket?replication=").body(document).with_md5();
    assert_eq!(ada.send(&put).refusal(), (403, "AccessDenied"));
    assert_eq!(near.wire().send(&put).status, 200, "the root user may, in her bucket too");
    assert_eq!(ada.send(&request("GET", "/bucket?replication=")).status, 200);
    assert_eq!(ada.send(&request("DELETE", "/bucket?replication=")).status, 204);
}
