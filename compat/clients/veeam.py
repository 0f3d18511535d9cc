# client: Veeam's calls (boto3)
# needs: client boto3
"""What Veeam asks of an object storage repository with immutability: a bucket with object lock and no default retention,
blocks put with COMPLIANCE, restore points found by listing versions folder by folder, retention extended in place."""

import base64
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import boto3
from boto import connect, refused
from harness import bucket, case, equal, main, noise

B = bucket("veeam")
ROOT = "Veeam/Backup/repo/Clients/{c1}/"
s3 = connect(max_pool_connections=8)
BLOCKS = {f"{ROOT}{{j1}}/CloudStg/Data/{{b}}/{number:02}/{number:05}_{'ab' * 16}_00000": noise(300_000) for number in range(24)}
versions = {}


def soon(seconds):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).replace(microsecond=0)


def put(key, body, until):
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    locked = dict(ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    return s3.put_object(Bucket=B, Key=key, Body=body, ContentMD5=md5, **locked)["VersionId"]


UNTIL = soon(86400)


@case("repository: a bucket with object lock, versioned, without default retention")
def repository():
    s3.create_bucket(Bucket=B, ObjectLockEnabledForBucket=True)
    equal(s3.get_bucket_versioning(Bucket=B)["Status"], "Enabled")
    equal(s3.get_object_lock_configuration(Bucket=B)["ObjectLockConfiguration"], {"ObjectLockEnabled": "Enabled"})
    s3.put_object(Bucket=B, Key=ROOT, Body=b"")
    suspend = {"Status": "Suspended"}
    refused("InvalidBucketState", s3.put_bucket_versioning, Bucket=B, VersioningConfiguration=suspend)


@case("blocks: put with retention, in parallel, read back")
def blocks():
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda one: (one[0], put(*one, UNTIL)), BLOCKS.items())
    versions.update(made)
    for key, body in BLOCKS.items():
        found = s3.get_object(Bucket=B, Key=key, VersionId=versions[key])
        equal(found["Body"].read(), body, key)
        equal((found["ObjectLockMode"], found["ObjectLockRetainUntilDate"]), ("COMPLIANCE", UNTIL), key)
    key = next(iter(BLOCKS))
    ranged = s3.get_object(Bucket=B, Key=key, Range="bytes=1000-1999")["Body"].read()
    equal(ranged, BLOCKS[key][1000:2000])


@case("listing: versions by prefix, folders and markers")
def listing():
    folders = s3.list_object_versions(Bucket=B, Prefix=f"{ROOT}{{j1}}/CloudStg/Data/{{b}}/", Delimiter="/")
    equal(len(folders["CommonPrefixes"]), 24)
    found, more = [], {}
    while True:
        page = s3.list_object_versions(Bucket=B, Prefix=ROOT + "{j1}/", MaxKeys=7, **more)
        found += [(one["Key"], one["VersionId"], one["IsLatest"]) for one in page.get("Versions", [])]
        if not page["IsTruncated"]:
            break
        more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
    equal(found, [(key, versions[key], True) for key in sorted(BLOCKS)])


@case("immutability: no delete, no shortening, no weakening")
def immutability():
    key = next(iter(BLOCKS))
    one = dict(Bucket=B, Key=key, VersionId=versions[key])
    refused("AccessDenied", s3.delete_object, **one)
    refused("AccessDenied", s3.delete_object, **one, BypassGovernanceRetention=True)
    for mode, until in (("COMPLIANCE", UNTIL - timedelta(hours=1)), ("GOVERNANCE", UNTIL + timedelta(hours=1))):
        refused("AccessDenied", s3.put_object_retention, **one, Retention={"Mode": mode, "RetainUntilDate": until})
    every = {"Objects": [{"Key": key, "VersionId": version} for key, version in versions.items()]}
    answer = s3.delete_objects(Bucket=B, Delete=every)
    equal([error["Code"] for error in answer["Errors"]], ["AccessDenied"] * len(BLOCKS))
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=B)
    for key, body in BLOCKS.items():
        equal(s3.get_object(Bucket=B, Key=key)["Body"].read(), body, key)


@case("immutability: extended for a new restore point")
def extension():
    later = UNTIL + timedelta(days=10)
    for key, version in versions.items():
        new = {"Mode": "COMPLIANCE", "RetainUntilDate": later}
        s3.put_object_retention(Bucket=B, Key=key, VersionId=version, Retention=new)
        equal(s3.get_object_retention(Bucket=B, Key=key, VersionId=version)["Retention"], new)
    head = s3.head_object(Bucket=B, Key=next(iter(BLOCKS)))
    equal(head["ObjectLockRetainUntilDate"], later)


@case("deletion: a marker hides, and only what has expired goes")
def deletion():
    until = soon(3)
    old = put("short", b"for a moment", until)
    marker = s3.delete_object(Bucket=B, Key="short")
    assert marker["DeleteMarker"]
    refused("NoSuchKey", s3.get_object, Bucket=B, Key="short")
    refused("AccessDenied", s3.delete_object, Bucket=B, Key="short", VersionId=old)
    s3.delete_object(Bucket=B, Key="short", VersionId=marker["VersionId"])
    equal(s3.get_object(Bucket=B, Key="short")["Body"].read(), b"for a moment")
    while datetime.now(timezone.utc) <= until + timedelta(seconds=1):
        time.sleep(0.1)
    s3.delete_object(Bucket=B, Key="short", VersionId=old)
    refused("NoSuchVersion", s3.get_object, Bucket=B, Key="short", VersionId=old)


main(boto3.__version__)
