# client: minio-py
# needs: pypi minio==7.2.20
"""MinIO's client for Python."""

import hashlib
import io
import os
import urllib.error
import urllib.request
from datetime import timedelta
from importlib.metadata import version

from harness import HOST, KEY, SECRET, WORK, bucket, case, equal, main, noise, raises
from minio import Minio
from minio.commonconfig import ENABLED, REPLACE, ComposeSource, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from minio.versioningconfig import VersioningConfig

B = bucket("minio-py")
PART = 5 << 20
client = Minio(HOST, KEY, SECRET, secure=False)
LARGE = noise(2 * PART + 12345)


def put(key, body, **more):
    return client.put_object(B, key, io.BytesIO(body), len(body), **more)


def get(key, **more):
    answer = client.get_object(B, key, **more)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def refused(code, call, *arguments, **named):
    equal(raises(S3Error, call, *arguments, **named).code, code, "code")


@case("buckets: make, exists, list")
def buckets():
    assert not client.bucket_exists(B)
    client.make_bucket(B)
    assert client.bucket_exists(B)
    assert B in {one.name for one in client.list_buckets()}
    refused("NoSuchBucket", lambda: list(client.list_objects(B + "-none")))


@case("put and get: small, empty, unicode")
def small():
    for key, body in {"small": b"hello", "empty": b"", "ünï cödé/✓ +%": noise(70_000)}.items():
        done = put(key, body, content_type="text/x-test", metadata={"one": "1"})
        equal(done.etag, hashlib.md5(body).hexdigest(), key)
        equal(get(key), body, key)
        stat = client.stat_object(B, key)
        equal((stat.size, stat.content_type, stat.metadata["x-amz-meta-one"]), (len(body), "text/x-test", "1"), key)
    refused("NoSuchKey", client.get_object, B, "none")


@case("put and get: ranges")
def ranges():
    body = noise(100_000)
    put("range", body)
    equal(get("range", offset=65_530, length=20), body[65_530:65_550])
    equal(get("range", offset=99_990), body[99_990:])
    refused("InvalidRange", client.get_object, B, "range", offset=100_000)


@case("multipart: put, in parallel, of unknown size")
def multipart():
    done = put("large", LARGE, part_size=PART, num_parallel_uploads=3)
    md5s = [hashlib.md5(LARGE[at : at + PART]).digest() for at in range(0, len(LARGE), PART)]
    equal(done.etag, hashlib.md5(b"".join(md5s)).hexdigest() + f"-{len(md5s)}")
    equal(get("large"), LARGE)
    client.put_object(B, "unknown", io.BytesIO(LARGE), -1, part_size=PART)
    equal(get("unknown"), LARGE)


@case("files: fput and fget")
def files():
    path = os.path.join(WORK, "minio-file")
    with open(path, "wb") as file:
        file.write(LARGE)
    client.fput_object(B, "file", path, part_size=PART)
    client.fget_object(B, "file", path + ".back")
    with open(path + ".back", "rb") as file:
        equal(file.read(), LARGE)


@case("listing: prefix, folders, start after, pages")
def listing():
    keys = [f"list/{folder}/{number:03}" for folder in "abc" for number in range(400)]
    for key in keys:
        put(key, b"")
    equal([one.object_name for one in client.list_objects(B, "list/", recursive=True)], keys)
    equal([one.object_name for one in client.list_objects(B, "list/")], ["list/a/", "list/b/", "list/c/"])
    after = client.list_objects(B, "list/", recursive=True, start_after="list/c/397")
    equal([one.object_name for one in after], keys[-2:])
    for old in (True, False):
        named = client.list_objects(B, "ünï cödé/", recursive=True, use_api_v1=old)
        equal([one.object_name for one in named], ["ünï cödé/✓ +%"], f"version 1: {old}")


@case("copies: with and without new metadata")
def copies():
    client.copy_object(B, "copy", CopySource(B, "small"))
    equal((get("copy"), client.stat_object(B, "copy").metadata["x-amz-meta-one"]), (b"hello", "1"))
    client.copy_object(B, "copy", CopySource(B, "small"), metadata={"two": "2"}, metadata_directive=REPLACE)
    assert "x-amz-meta-one" not in client.stat_object(B, "copy").metadata
    client.copy_object(B, "copy", CopySource(B, "ünï cödé/✓ +%"))
    equal(get("copy"), get("ünï cödé/✓ +%"))
    refused("PreconditionFailed", client.copy_object, B, "copy", CopySource(B, "small", match_etag="0" * 32))


@case("copies: compose, whole and in ranges")
def compose():
    client.compose_object(B, "composed", [ComposeSource(B, "large"), ComposeSource(B, "small")])
    equal(get("composed"), LARGE + b"hello")
    cut = ComposeSource(B, "large", offset=1000, length=PART)
    client.compose_object(B, "composed", [cut, ComposeSource(B, "large", offset=PART, length=77)])
    equal(get("composed"), LARGE[1000 : 1000 + PART] + LARGE[PART : PART + 77])


@case("presigned URLs: put and get")
def presigned():
    url = client.presigned_put_object(B, "signed", timedelta(minutes=5))
    request = urllib.request.Request(url, data=b"by url", headers={"Content-Type": "text/plain"}, method="PUT")
    with urllib.request.urlopen(request) as answer:
        equal(answer.status, 200)
    url = client.presigned_get_object(B, "signed", response_headers={"response-content-type": "a/b"})
    with urllib.request.urlopen(url) as answer:
        equal((answer.read(), answer.headers["content-type"]), (b"by url", "a/b"))
    wrong = raises(urllib.error.HTTPError, urllib.request.urlopen, url.replace("signed", "small"))
    equal(wrong.code, 403)


@case("versions: put, delete marker, list, by id")
def versions():
    client.set_bucket_versioning(B, VersioningConfig(ENABLED))
    equal(client.get_bucket_versioning(B).status, ENABLED)
    first, second = put("v", b"1").version_id, put("v", b"2").version_id
    client.remove_object(B, "v")
    refused("NoSuchKey", client.get_object, B, "v")
    equal((get("v", version_id=first), get("v", version_id=second)), (b"1", b"2"))
    listed = list(client.list_objects(B, "v", include_version=True))
    # It shows the delete markers of a page after its versions.
    equal([one.version_id for one in listed[:2]], [second, first])
    equal([one.is_delete_marker for one in listed], [False, False, True])
    client.remove_object(B, "v", version_id=listed[2].version_id)
    equal(get("v"), b"2")


@case("deletes: many objects, every version, the bucket")
def deletes():
    everything = list(client.list_objects(B, recursive=True, include_version=True))
    assert len(everything) > 1200
    gone = [DeleteObject(one.object_name, one.version_id) for one in everything]
    equal(list(client.remove_objects(B, gone)), [])
    equal(list(client.list_objects(B, recursive=True, include_version=True)), [])
    client.remove_bucket(B)
    assert not client.bucket_exists(B)


main(version("minio"))
