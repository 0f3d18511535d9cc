# client: Kopia's and Arq's calls (boto3)
# needs: client boto3
"""What Kopia and Arq ask for: every object put with retention of its own, in parts too, retention extended by maintenance,
a repository as it was at a point in time, read by versions; GOVERNANCE, legal holds, and a bucket's default."""

from datetime import datetime, timedelta, timezone

import boto3
from boto import connect, refused
from harness import bucket, case, equal, main, noise

B = bucket("kopia")
PART = 5 << 20
s3 = connect()
UNTIL = (datetime.now(timezone.utc) + timedelta(days=1)).replace(microsecond=0)
LATER = UNTIL + timedelta(days=30)


def put(key, body, **lock):
    return s3.put_object(Bucket=B, Key=key, Body=body, ChecksumAlgorithm="CRC32", **lock)["VersionId"]


def retain(mode, until=UNTIL):
    return {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}


def retention(key, **more):
    found = s3.get_object_retention(Bucket=B, Key=key, **more)["Retention"]
    return found["Mode"], found["RetainUntilDate"]


@case("repository: blobs with COMPLIANCE, by put, in parts, by copy")
def repository():
    s3.create_bucket(Bucket=B, ObjectLockEnabledForBucket=True)
    put("kopia.repository", b"format", **retain("COMPLIANCE"))
    bodies = [noise(PART), noise(1000)]
    one = dict(Bucket=B, Key="p123")
    started = s3.create_multipart_upload(**one, ChecksumAlgorithm="CRC32", **retain("COMPLIANCE"))
    one["UploadId"] = started["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        done = s3.upload_part(**one, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32")
        parts.append({"PartNumber": number, "ETag": done["ETag"], "ChecksumCRC32": done["ChecksumCRC32"]})
    s3.complete_multipart_upload(**one, MultipartUpload={"Parts": parts})
    equal(s3.get_object(Bucket=B, Key="p123")["Body"].read(), b"".join(bodies))
    s3.copy_object(Bucket=B, Key="copied", CopySource=f"{B}/p123", **retain("COMPLIANCE", LATER))
    for key, until in {"kopia.repository": UNTIL, "p123": UNTIL, "copied": LATER}.items():
        equal(retention(key), ("COMPLIANCE", until), key)


@case("maintenance: extends retention, never shortens it")
def maintenance():
    s3.put_object_retention(Bucket=B, Key="p123", Retention={"Mode": "COMPLIANCE", "RetainUntilDate": LATER})
    equal(retention("p123"), ("COMPLIANCE", LATER))
    shorter = {"Mode": "COMPLIANCE", "RetainUntilDate": UNTIL}
    refused("AccessDenied", s3.put_object_retention, Bucket=B, Key="p123", Retention=shorter)
    past = {"Mode": "COMPLIANCE", "RetainUntilDate": UNTIL - timedelta(days=9)}
    refused("InvalidArgument", s3.put_object_retention, Bucket=B, Key="p123", Retention=past)


@case("point in time: what was deleted and overwritten is read by its versions")
def point_in_time():
    first = put("q1", b"first", **retain("COMPLIANCE"))
    put("q1", b"overwritten by an attacker")
    s3.delete_object(Bucket=B, Key="q1")
    refused("NoSuchKey", s3.get_object, Bucket=B, Key="q1")
    listed = s3.list_object_versions(Bucket=B, Prefix="q1")
    equal((len(listed["Versions"]), len(listed["DeleteMarkers"])), (2, 1))
    equal(listed["Versions"][-1]["VersionId"], first)
    equal(s3.get_object(Bucket=B, Key="q1", VersionId=first)["Body"].read(), b"first")
    refused("AccessDenied", s3.delete_object, Bucket=B, Key="q1", VersionId=first)


@case("governance: yields to its bypass alone")
def governance():
    version = put("g", b"governed", **retain("GOVERNANCE"))
    one = dict(Bucket=B, Key="g", VersionId=version)
    refused("AccessDenied", s3.delete_object, **one)
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": UNTIL - timedelta(hours=2)}
    refused("AccessDenied", s3.put_object_retention, **one, Retention=shorter)
    s3.put_object_retention(**one, Retention=shorter, BypassGovernanceRetention=True)
    equal(retention("g"), ("GOVERNANCE", UNTIL - timedelta(hours=2)))
    batch = {"Objects": [{"Key": "g", "VersionId": version}]}
    gone = s3.delete_objects(Bucket=B, Delete=batch, BypassGovernanceRetention=True)
    equal(len(gone["Deleted"]), 1)


@case("legal holds: on, off, beside retention")
def legal_holds():
    version = put("h", b"held", ObjectLockLegalHoldStatus="ON")
    one = dict(Bucket=B, Key="h", VersionId=version)
    equal(s3.head_object(Bucket=B, Key="h")["ObjectLockLegalHoldStatus"], "ON")
    refused("AccessDenied", s3.delete_object, **one, BypassGovernanceRetention=True)
    s3.put_object_legal_hold(**one, LegalHold={"Status": "OFF"})
    equal(s3.get_object_legal_hold(**one)["LegalHold"], {"Status": "OFF"})
    s3.delete_object(**one)


@case("defaults: a bucket's own retention, set later")
def defaults():
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    wanted = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket=B, ObjectLockConfiguration=wanted)
    equal(s3.get_object_lock_configuration(Bucket=B)["ObjectLockConfiguration"], wanted)
    put("d", b"by default")
    mode, until = retention("d")
    equal(mode, "GOVERNANCE")
    away = until - datetime.now(timezone.utc)
    assert timedelta(hours=23) < away <= timedelta(days=1, seconds=1), away
    s3.put_object_lock_configuration(Bucket=B, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    put("e", b"without")
    refused("NoSuchObjectLockConfiguration", s3.get_object_retention, Bucket=B, Key="e")


main(boto3.__version__)
