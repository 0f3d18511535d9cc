# client: boto3: lifecycle
# needs: client boto3
"""Lifecycle configurations: kept as sent, refused as on AWS, and shown on objects. Their effect is tested in
`tests/it`, where a day takes seconds."""

import re
from datetime import datetime, timezone

import boto3
from boto import connect, refused
from harness import bucket, case, equal, main

B = bucket("boto3-lifecycle")
s3 = connect()
s3.create_bucket(Bucket=B)


def put(*rules):
    s3.put_bucket_lifecycle_configuration(Bucket=B, LifecycleConfiguration={"Rules": list(rules)})


def rule(name, where, status="Enabled", **actions):
    return {"ID": name, "Filter": where, "Status": status, **actions}


@case("configuration: every filter and action comes back, then none")
def configuration():
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=B)
    both = {"Prefix": "a/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 10, "ObjectSizeLessThan": 1 << 30}
    day = datetime(2099, 1, 1, tzinfo=timezone.utc)
    rules = [
        rule("prefix", {"Prefix": "logs/"}, Expiration={"Days": 30}),
        rule("tag", {"Tag": {"Key": "temporary", "Value": "yes"}}, Expiration={"Date": day}),
        rule("and", {"And": both}, status="Disabled", Expiration={"Days": 1}),
        rule("size", {"ObjectSizeLessThan": 5}, Expiration={"Days": 7}),
        rule("versions", {"Prefix": ""}, NoncurrentVersionExpiration={"NoncurrentDays": 3, "NewerNoncurrentVersions": 2}),
        rule("markers", {"Prefix": "m/"}, Expiration={"ExpiredObjectDeleteMarker": True}),
        rule("uploads", {"Prefix": "u/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}),
    ]
    put(*rules)
    equal(s3.get_bucket_lifecycle_configuration(Bucket=B)["Rules"], rules)
    s3.delete_bucket_lifecycle(Bucket=B)
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=B)


@case("validation: what AWS refuses")
def validation():
    def wrong(code, *rules):
        refused(code, s3.put_bucket_lifecycle_configuration, Bucket=B, LifecycleConfiguration={"Rules": list(rules)})

    wrong("InvalidArgument", rule("zero", {"Prefix": ""}, Expiration={"Days": 0}))
    wrong("InvalidArgument", *[rule("same", {"Prefix": name}, Expiration={"Days": 1}) for name in "ab"])
    wrong("InvalidArgument", rule("x" * 256, {"Prefix": ""}, Expiration={"Days": 1}))
    wrong("InvalidArgument", rule("noon", {"Prefix": ""}, Expiration={"Date": datetime(2099, 1, 1, 12, tzinfo=timezone.utc)}))
    wrong("MalformedXML", rule("status", {"Prefix": ""}, status="enabled", Expiration={"Days": 1}))
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=B)


@case("objects: put and head say when they expire")
def shown():
    put(rule("soon", {"Prefix": "soon/"}, Expiration={"Days": 2}))
    done = s3.put_object(Bucket=B, Key="soon/x", Body=b"x")["Expiration"]
    head = s3.head_object(Bucket=B, Key="soon/x")["Expiration"]
    equal(head, done)
    found = re.fullmatch(r'expiry-date="(.+) GMT", rule-id="soon"', head)
    assert found, head
    midnight = datetime.strptime(found[1], "%a, %d %b %Y %H:%M:%S")
    equal(midnight.strftime("%H:%M:%S"), "00:00:00")
    assert "Expiration" not in s3.put_object(Bucket=B, Key="else/x", Body=b"x")


main(boto3.__version__)
