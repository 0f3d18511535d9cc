# client: boto3
# needs: pypi boto3[crt]==1.44.8
"""boto3, with its default settings unless a case says otherwise. Over plain HTTP its checksums are in headers; trailers
are tested on the wire (`tests/it/s3_bodies.rs`)."""

import base64
import hashlib
import os
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from harness import S3, WORK, bucket, case, main, noise

PART = 5 << 20
B = bucket("boto3")
V = B + "-versions"
s3 = boto3.client("s3", endpoint_url=S3, config=Config(retries={"max_attempts": 1}))


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"refused with {found}, expected {code}"
        return error.response
    raise AssertionError(f"was not refused with {code}")


def put(key, body=b"x", **more):
    return s3.put_object(Bucket=more.pop("Bucket", B), Key=key, Body=body, **more)


def get(key, **more):
    return s3.get_object(Bucket=more.pop("Bucket", B), Key=key, **more)["Body"].read()


def upload(key, bodies, create=None, **each):
    start = s3.create_multipart_upload(Bucket=B, Key=key, **(create or {}))
    parts = []
    for number, body in enumerate(bodies, 1):
        done = s3.upload_part(Bucket=B, Key=key, UploadId=start["UploadId"], PartNumber=number, Body=body, **each)
        kept = {name: value for name, value in done.items() if name.startswith("Checksum") and name != "ChecksumType"}
        parts.append({"PartNumber": number, "ETag": done["ETag"], **kept})
    return start["UploadId"], parts


def complete(key, upload_id, parts):
    return s3.complete_multipart_upload(Bucket=B, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts})


@case("buckets: create, list, head")
def buckets():
    for bucket in (B, V):
        s3.create_bucket(Bucket=bucket)
    assert {B, V} <= {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    assert s3.head_bucket(Bucket=B)["ResponseMetadata"]["HTTPStatusCode"] == 200
    refused("InvalidBucketName", boto3.client("s3", endpoint_url=S3).create_bucket, Bucket="ab..c")


@case("objects: sizes around the limits")
def sizes_around_the_limits():
    for size in (0, 1, 1023, 1024, 4095, 4096, 16384, 65536, 65537, 1_000_003):
        body = noise(size)
        assert put(f"size/{size}", body)["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        assert get(f"size/{size}") == body, size


@case("checksums: every kind")
def checksums_of_every_kind():
    body = noise(100_000)
    want = {
        "CRC32": zlib.crc32(body).to_bytes(4, "big"),
        "SHA1": hashlib.sha1(body).digest(),
        "SHA256": hashlib.sha256(body).digest(),
        "CRC32C": None,
        "CRC64NVME": None,
    }
    for name, digest in want.items():
        done = put(f"sum/{name}", body, ChecksumAlgorithm=name)
        found = s3.head_object(Bucket=B, Key=f"sum/{name}", ChecksumMode="ENABLED")
        assert found[f"Checksum{name}"] == done[f"Checksum{name}"], name
        if digest:
            assert found[f"Checksum{name}"] == base64.b64encode(digest).decode(), name
        assert get(f"sum/{name}", ChecksumMode="ENABLED") == body, name


@case("checksums: wrong ones are refused")
def wrong_checksums_are_refused():
    wrong = base64.b64encode(bytes(32)).decode()
    refused("BadDigest", put, key="sum/wrong", body=b"abc", ChecksumSHA256=wrong)
    refused("BadDigest", put, key="sum/wrong", body=b"abc", ContentMD5=base64.b64encode(bytes(16)).decode())
    refused("404", s3.head_object, Bucket=B, Key="sum/wrong")


@case("multipart: composite checksum")
def multipart_with_composite_checksum():
    bodies = [noise(PART), noise(PART), noise(1234)]
    upload_id, parts = upload("mp/c", bodies, {"ChecksumAlgorithm": "SHA256"}, ChecksumAlgorithm="SHA256")
    done = complete("mp/c", upload_id, parts)
    md5s = b"".join(hashlib.md5(body).digest() for body in bodies)
    assert done["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-3"'
    digests = b"".join(hashlib.sha256(body).digest() for body in bodies)
    assert done["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(digests).digest()).decode() + "-3"
    assert get("mp/c") == b"".join(bodies)
    assert get("mp/c", PartNumber=2) == bodies[1]


@case("multipart: checksum of the whole")
def multipart_with_full_object_checksum():
    bodies = [noise(PART), noise(99)]
    create = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
    upload_id, parts = upload("mp/f", bodies, create, ChecksumAlgorithm="CRC32")
    done = complete("mp/f", upload_id, parts)
    assert done["ChecksumCRC32"] == base64.b64encode(zlib.crc32(b"".join(bodies)).to_bytes(4, "big")).decode()


@case("multipart: its rules")
def multipart_rules():
    upload_id, parts = upload("mp/r", [b"short", b"also"])
    refused("EntityTooSmall", complete, key="mp/r", upload_id=upload_id, parts=parts)
    wrong = [dict(parts[0], ETag='"00000000000000000000000000000000"')]
    refused("InvalidPart", complete, key="mp/r", upload_id=upload_id, parts=wrong)
    refused("InvalidPartOrder", complete, key="mp/r", upload_id=upload_id, parts=parts[::-1])
    complete("mp/r", upload_id, parts[:1])
    assert get("mp/r") == b"short"
    refused("NoSuchUpload", s3.list_parts, Bucket=B, Key="mp/r2", UploadId="none")


@case("multipart: a part replaced wins")
def a_part_replaced_wins():
    upload_id, _ = upload("mp/again", [b"first"])
    done = s3.upload_part(Bucket=B, Key="mp/again", UploadId=upload_id, PartNumber=1, Body=b"second")
    complete("mp/again", upload_id, [{"PartNumber": 1, "ETag": done["ETag"]}])
    assert get("mp/again") == b"second"


@case("multipart: parts copied from an object")
def parts_copied_from_an_object():
    source = get("mp/c")
    start = s3.create_multipart_upload(Bucket=B, Key="mp/copy")["UploadId"]
    parts = []
    for number, span in enumerate(((0, PART - 1), (PART, len(source) - 1)), 1):
        done = s3.upload_part_copy(
            Bucket=B, Key="mp/copy", UploadId=start, PartNumber=number, CopySource=f"{B}/mp/c",
            CopySourceRange=f"bytes={span[0]}-{span[1]}",
        )
        parts.append({"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]})
    complete("mp/copy", start, parts)
    assert get("mp/copy") == source


@case("transfer manager: up and down")
def transfer_manager():
    path = os.path.join(WORK, "boto-transfer")
    body = noise(20_000_000)
    with open(path, "wb") as file:
        file.write(body)
    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
    s3.upload_file(path, B, "transfer", Config=config)
    s3.download_file(B, "transfer", path + ".back", Config=config)
    with open(path + ".back", "rb") as file:
        assert file.read() == body


@case("copies: directives and conditions")
def copies():
    put("copy/from", b"content", Metadata={"a": "1"}, ContentType="text/x")
    s3.copy_object(Bucket=B, Key="copy/to", CopySource={"Bucket": B, "Key": "copy/from"})
    head = s3.head_object(Bucket=B, Key="copy/to")
    assert (head["Metadata"], head["ContentType"]) == ({"a": "1"}, "text/x")
    s3.copy_object(
        Bucket=B, Key="copy/to", CopySource=f"{B}/copy/to", MetadataDirective="REPLACE", Metadata={"b": "2"}
    )
    assert s3.head_object(Bucket=B, Key="copy/to")["Metadata"] == {"b": "2"} and get("copy/to") == b"content"
    refused("InvalidRequest", s3.copy_object, Bucket=B, Key="copy/to", CopySource=f"{B}/copy/to")
    refused("NoSuchKey", s3.copy_object, Bucket=B, Key="copy/to", CopySource=f"{B}/copy/none")
    refused(
        "PreconditionFailed", s3.copy_object, Bucket=B, Key="copy/to", CopySource=f"{B}/copy/from",
        CopySourceIfMatch='"00000000000000000000000000000000"',
    )


@case("metadata: system headers and the user's")
def system_headers_and_metadata():
    headers = {
        "ContentType": "text/html; charset=utf-8", "CacheControl": "max-age=5", "ContentDisposition": "attachment",
        "ContentEncoding": "identity-x", "ContentLanguage": "de",
    }
    put("meta", b"hello", Metadata={"plain": "value", "upper-Case": "Kept AsIs"}, **headers)
    head = s3.head_object(Bucket=B, Key="meta")
    assert {name: head[name] for name in headers} == headers
    assert head["Metadata"] == {"plain": "value", "upper-case": "Kept AsIs"}
    changed = s3.get_object(Bucket=B, Key="meta", ResponseContentType="a/b")
    assert changed["ContentType"] == "a/b"


@case("metadata: with unicode")
def metadata_with_unicode():
    # boto3 refuses to send it raw; clients send it encoded, and it must come back untouched.
    word = "=?UTF-8?B?" + base64.b64encode("größe ✓".encode()).decode() + "?="
    put("meta/unicode", b"", Metadata={"word": word})
    assert s3.head_object(Bucket=B, Key="meta/unicode")["Metadata"] == {"word": word}


@case("listing: strange keys")
def strange_keys():
    keys = ["k/ü✓ 😀", "k/a+b", "k/a b", "k/a%20b", "k/../up", "k//double", "k/&<>\"'", "k/" + "x" * 1000, "k/?q=1#f"]
    for key in keys:
        put(key, key.encode())
    for key in keys:
        assert get(key) == key.encode(), key
    listed = [one["Key"] for one in s3.list_objects_v2(Bucket=B, Prefix="k/")["Contents"]]
    assert listed == sorted(keys, key=str.encode), listed
    refused("KeyTooLongError", put, key="x" * 1025)


@case("listing: pagination")
def pagination():
    keys = [f"page/{folder}/{number:02}" for folder in "abc" for number in range(11)]
    for key in keys:
        put(key, b"")
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(Bucket=B, Prefix="page/", PaginationConfig={"PageSize": 5})
        assert [one["Key"] for page in pages for one in page.get("Contents", [])] == keys, operation
        pages = s3.get_paginator(operation).paginate(
            Bucket=B, Prefix="page/", Delimiter="/", PaginationConfig={"PageSize": 1}
        )
        found = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])]
        assert found == ["page/a/", "page/b/", "page/c/"], found
    after = s3.list_objects_v2(Bucket=B, Prefix="page/", StartAfter="page/c/08")
    assert [one["Key"] for one in after["Contents"]] == ["page/c/09", "page/c/10"]
    assert s3.list_objects_v2(Bucket=B, MaxKeys=0)["KeyCount"] == 0


@case("ranges: first, middle, last, beyond")
def ranges():
    body = noise(300_000)
    put("range", body)
    for text, want in {
        "bytes=0-0": body[:1], "bytes=65535-65536": body[65535:65537], "bytes=-7": body[-7:],
        "bytes=299999-": body[-1:], "bytes=100-999999999": body[100:],
    }.items():
        answer = s3.get_object(Bucket=B, Key="range", Range=text)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206 and answer["Body"].read() == want, text
    refused("InvalidRange", s3.get_object, Bucket=B, Key="range", Range="bytes=300000-")
    for text in ("bytes=5-1", "bytes=0-1,3-4", "octets=0-1"):
        answer = s3.get_object(Bucket=B, Key="range", Range=text)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200 and answer["Body"].read() == body, text


@case("conditions: writes")
def conditional_writes():
    etag = put("cond", b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", put, key="cond", IfNoneMatch="*")
    refused("PreconditionFailed", put, key="cond", IfMatch='"00000000000000000000000000000000"')
    put("cond", b"2", IfMatch=etag)
    assert get("cond") == b"2"
    refused("NoSuchKey", put, key="cond/none", IfMatch=etag)


@case("conditions: deletes, completions and copies")
def conditional_deletes_completions_and_copies():
    none, etag = '"00000000000000000000000000000000"', put("cond/d", b"1")["ETag"]
    refused("PreconditionFailed", s3.delete_object, Bucket=B, Key="cond/d", IfMatch=none)
    wrong = s3.delete_objects(Bucket=B, Delete={"Objects": [{"Key": "cond/d", "ETag": none}]})
    assert [one["Code"] for one in wrong["Errors"]] == ["PreconditionFailed"], wrong
    copy = dict(Bucket=B, Key="cond/d", CopySource=f"{B}/cond")
    refused("PreconditionFailed", s3.copy_object, **copy, IfNoneMatch="*")
    refused("PreconditionFailed", s3.copy_object, **copy, CopySourceIfMatch=none)
    upload = s3.create_multipart_upload(Bucket=B, Key="cond/d")["UploadId"]
    part = s3.upload_part(Bucket=B, Key="cond/d", UploadId=upload, PartNumber=1, Body=b"2")["ETag"]
    done = dict(Bucket=B, Key="cond/d", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    refused("PreconditionFailed", s3.complete_multipart_upload, **done, IfNoneMatch="*")
    assert get("cond/d") == b"1"
    s3.complete_multipart_upload(**done, IfMatch=etag)
    assert get("cond/d") == b"2"
    s3.delete_object(Bucket=B, Key="cond/d", IfMatch=s3.head_object(Bucket=B, Key="cond/d")["ETag"])
    refused("NoSuchKey", s3.get_object, Bucket=B, Key="cond/d")


@case("conditions: reads")
def conditional_reads():
    head = s3.head_object(Bucket=B, Key="cond")
    refused("304", s3.get_object, Bucket=B, Key="cond", IfNoneMatch=head["ETag"])
    refused("304", s3.get_object, Bucket=B, Key="cond", IfModifiedSince=head["LastModified"])
    refused("PreconditionFailed", s3.get_object, Bucket=B, Key="cond", IfMatch='"0"')
    assert get("cond", IfMatch=head["ETag"]) == b"2"


@case("versions: and delete markers")
def versions():
    s3.put_bucket_versioning(Bucket=V, VersioningConfiguration={"Status": "Enabled"})
    first = put("v", b"1", Bucket=V)["VersionId"]
    second = put("v", b"2", Bucket=V)["VersionId"]
    marker = s3.delete_object(Bucket=V, Key="v")
    assert marker["DeleteMarker"] and marker["VersionId"] not in (first, second)
    answer = refused("NoSuchKey", s3.get_object, Bucket=V, Key="v")
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    assert (get("v", Bucket=V, VersionId=first), get("v", Bucket=V, VersionId=second)) == (b"1", b"2")
    listed = s3.list_object_versions(Bucket=V)
    assert [one["VersionId"] for one in listed["Versions"]] == [second, first]
    s3.delete_object(Bucket=V, Key="v", VersionId=marker["VersionId"])
    assert get("v", Bucket=V) == b"2"
    s3.delete_object(Bucket=V, Key="v", VersionId=second)
    assert get("v", Bucket=V) == b"1"
    refused("NoSuchVersion", s3.get_object, Bucket=V, Key="v", VersionId=second)


@case("versions: null versions")
def null_versions():
    s3.put_bucket_versioning(Bucket=V, VersioningConfiguration={"Status": "Suspended"})
    put("n", b"1", Bucket=V)
    put("n", b"2", Bucket=V)
    listed = s3.list_object_versions(Bucket=V, Prefix="n")["Versions"]
    assert [one["VersionId"] for one in listed] == ["null"]
    assert get("n", Bucket=V, VersionId="null") == b"2"


@case("deletes: many at once")
def delete_many():
    for number in range(30):
        put(f"many/{number}", b"")
    objects = [{"Key": f"many/{number}"} for number in range(31)]
    done = s3.delete_objects(Bucket=B, Delete={"Objects": objects})
    assert len(done["Deleted"]) == 31 and not done.get("Errors"), "a key that is not there counts as deleted"
    assert s3.list_objects_v2(Bucket=B, Prefix="many/")["KeyCount"] == 0


@case("presigned URLs: put")
def presigned_put():
    import urllib.request

    # boto3 still signs URLs with version 2 unless told otherwise; Sediment does not take that.
    v4 = boto3.client("s3", endpoint_url=S3, config=Config(signature_version="s3v4"))
    url = v4.generate_presigned_url("put_object", Params={"Bucket": B, "Key": "signed"}, ExpiresIn=60)
    kind = {"Content-Type": "text/plain"}  # urllib's own would say that it is a form
    with urllib.request.urlopen(urllib.request.Request(url, data=b"by url", headers=kind, method="PUT")) as answer:
        assert answer.status == 200
    assert get("signed") == b"by url"


@case("errors: codes")
def errors():
    refused("NoSuchKey", s3.get_object, Bucket=B, Key="none")
    refused("NoSuchBucket", s3.get_object, Bucket=B + "-none", Key="none")
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=B)
    refused("NotImplemented", s3.put_bucket_website, Bucket=B, WebsiteConfiguration={"IndexDocument": {"Suffix": "i"}})


main(boto3.__version__)
