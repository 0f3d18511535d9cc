# client: boto3
# needs: pypi boto3[crt]==1.44.8
"""boto3, with its default settings unless a case says otherwise. Over plain HTTP its checksums are in headers; trailers
are tested on the wire (`tests/it/s3_bodies.rs`)."""

import base64
import hashlib
import os
import urllib.error
import urllib.parse
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor

import boto3
from boto import connect, refused
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from harness import S3, WORK, bucket, case, equal, main, noise

PART = 5 << 20
B = bucket("boto3")
V = B + "-versions"
s3 = connect()


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
    refused("InvalidBucketName", s3.create_bucket, Bucket="ab..c")


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


@case("multipart: parts keep their checksums and are read by number")
def parts_by_number():
    bodies = [noise(PART), noise(PART + 1), noise(3)]
    whole = b"".join(bodies)
    composite = [(name, "COMPOSITE") for name in ("CRC32", "CRC32C", "SHA1", "SHA256")]
    for name, kind in composite + [(name, "FULL_OBJECT") for name in ("CRC32", "CRC32C", "CRC64NVME")]:
        key, field = f"mp/{name}-{kind}", f"Checksum{name}"
        upload_id, parts = upload(key, bodies, {"ChecksumAlgorithm": name, "ChecksumType": kind}, ChecksumAlgorithm=name)
        listed = s3.list_parts(Bucket=B, Key=key, UploadId=upload_id)
        equal([part[field] for part in listed["Parts"]], [part[field] for part in parts], key)
        wrong = [*parts[:2], dict(parts[2], **{field: parts[1][field]})]
        refused("InvalidPart", complete, key=key, upload_id=upload_id, parts=wrong)
        done = complete(key, upload_id, parts)
        equal(done["ChecksumType"], kind, key)
        whole_sum = put("mp/whole", whole, ChecksumAlgorithm=name)[field]
        equal(done[field].endswith("-3"), kind == "COMPOSITE", key)
        equal(done[field] == whole_sum, kind == "FULL_OBJECT", key)
        for number, body in enumerate(bodies, 1):
            found = s3.get_object(Bucket=B, Key=key, PartNumber=number, ChecksumMode="ENABLED")
            equal((found["Body"].read(), found["PartsCount"], found["ContentLength"]), (body, 3, len(body)), key)
        head = s3.head_object(Bucket=B, Key=key, PartNumber=2, ChecksumMode="ENABLED")
        equal((head["ContentLength"], head["PartsCount"]), (PART + 1, 3), key)
        equal(get(key, ChecksumMode="ENABLED"), whole, key)
        refused("416", s3.head_object, Bucket=B, Key=key, PartNumber=4)
        refused("InvalidPartNumber", s3.get_object, Bucket=B, Key=key, PartNumber=4)


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


@case("listing: encodings")
def encodings():
    keys = sorted(["e/ü✓", "e/a b+c%d", "e/\x01\x7f", "e/new\nline", "e/&<\"", "e/dir 1/x", "e/dir 1/y"], key=str.encode)
    uploads = []
    for key in keys:
        put(key, b"")
        # An answer in which a key holds such a character is beyond the parser of Python, and is not encoded.
        if "\x01" not in key:
            uploads.append((key, s3.create_multipart_upload(Bucket=B, Key=key)["UploadId"]))
    # boto3 asks for encoding-type=url by itself, and undoes it; asked for, it shows what was sent.
    for operation in (s3.list_objects, s3.list_objects_v2):
        equal([one["Key"] for one in operation(Bucket=B, Prefix="e/")["Contents"]], keys)
        raw = operation(Bucket=B, Prefix="e/", Delimiter="/", EncodingType="url")
        equal(raw["EncodingType"], "url")
        found = [one["Key"] for one in raw["Contents"]] + [one["Prefix"] for one in raw["CommonPrefixes"]]
        assert all(one.isascii() and one.isprintable() and " " not in one for one in found), found
        equal([urllib.parse.unquote_plus(one) for one in found], [key for key in keys if "dir" not in key] + ["e/dir 1/"])
    versions = s3.list_object_versions(Bucket=B, Prefix="e/")["Versions"]
    equal([one["Key"] for one in versions], keys)
    found = s3.list_multipart_uploads(Bucket=B, Prefix="e/")["Uploads"]
    equal([(one["Key"], one["UploadId"]) for one in found], uploads)
    for key, upload_id in uploads:
        s3.abort_multipart_upload(Bucket=B, Key=key, UploadId=upload_id)
    paged = s3.get_paginator("list_objects_v2").paginate(Bucket=B, Prefix="e/", PaginationConfig={"PageSize": 1})
    equal([one["Key"] for page in paged for one in page["Contents"]], keys)


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


def race(writers, write):
    """How each of so many at once ended: "done", or with which code."""
    quick = connect(max_pool_connections=writers)

    def one(number):
        try:
            write(quick, number)
            return "done"
        except ClientError as error:
            return error.response["Error"]["Code"]

    with ThreadPoolExecutor(writers) as pool:
        return list(pool.map(one, range(writers)))


@case("conditions: of racing writers one wins")
def races():
    for turn in range(3):
        key = f"race/{turn}"
        create = dict(Bucket=B, Key=key, IfNoneMatch="*")
        ends = race(32, lambda client, number: client.put_object(**create, Body=b"%d" % number))
        equal(ends.count("done"), 1, f"winners of {ends}")
        assert set(ends) <= {"done", "PreconditionFailed", "ConditionalRequestConflict"}, ends
        equal(get(key), b"%d" % ends.index("done"))
        swap = dict(Bucket=B, Key=key, IfMatch=s3.head_object(Bucket=B, Key=key)["ETag"])
        ends = race(32, lambda client, number: client.put_object(**swap, Body=b"next %d" % number))
        equal(ends.count("done"), 1, f"winners of {ends}")
        equal(get(key), b"next %d" % ends.index("done"))


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


@case("versions: listed in pages and folders, copied and deleted by id")
def many_versions():
    s3.put_bucket_versioning(Bucket=V, VersioningConfiguration={"Status": "Enabled"})
    in_order = []
    for key in ("p/a", "p/b/1", "p/b/2", "p/c"):
        in_order += reversed([(key, put(key, b"%d" % turn, Bucket=V)["VersionId"]) for turn in range(3)])
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=V, Prefix="p/", PaginationConfig={"PageSize": 2})
    found = [one for page in pages for one in page.get("Versions", [])]
    equal([(one["Key"], one["VersionId"]) for one in found], in_order)
    equal([one["IsLatest"] for one in found], [True, False, False] * 4)
    folded = s3.list_object_versions(Bucket=V, Prefix="p/", Delimiter="/")
    equal(folded["CommonPrefixes"], [{"Prefix": "p/b/"}])
    equal(len(folded["Versions"]), 6)
    oldest = in_order[2][1]
    copied = s3.copy_object(Bucket=V, Key="p/back", CopySource={"Bucket": V, "Key": "p/a", "VersionId": oldest})
    equal((copied["CopySourceVersionId"], get("p/back", Bucket=V)), (oldest, b"0"))
    gone = s3.delete_objects(Bucket=V, Delete={"Objects": [{"Key": key, "VersionId": one} for key, one in in_order]})
    equal(sorted((one["Key"], one["VersionId"]) for one in gone["Deleted"]), sorted(in_order))
    left = s3.list_object_versions(Bucket=V, Prefix="p/")
    equal([one["Key"] for one in left["Versions"]], ["p/back"])
    assert not left.get("DeleteMarkers")


@case("deletes: many at once")
def delete_many():
    for number in range(30):
        put(f"many/{number}", b"")
    objects = [{"Key": f"many/{number}"} for number in range(31)]
    done = s3.delete_objects(Bucket=B, Delete={"Objects": objects})
    assert len(done["Deleted"]) == 31 and not done.get("Errors"), "a key that is not there counts as deleted"
    assert s3.list_objects_v2(Bucket=B, Prefix="many/")["KeyCount"] == 0


# boto3 still signs URLs with version 2 unless told otherwise; Sediment does not take that.
v4 = connect(signature_version="s3v4")


def fetch(method, operation, body=None, headers=None, **parameters):
    url = v4.generate_presigned_url(operation, Params={"Bucket": B, **parameters}, ExpiresIn=60)
    # urllib would say by itself that a body is a form.
    headers = {"Content-Type": "text/plain", **(headers or {})}
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.status, answer.read(), answer.headers


@case("presigned URLs: put, get, head, delete")
def presigned():
    headers = {"x-amz-meta-one": "1", "Content-Type": "text/x-test"}
    signed = dict(Key="signed", Metadata={"one": "1"}, ContentType="text/x-test")
    equal(fetch("PUT", "put_object", b"by url", headers, **signed)[0], 200)
    equal(get("signed"), b"by url")
    changed = dict(ResponseContentType="a/b", ResponseCacheControl="no-store")
    status, body, found = fetch("GET", "get_object", Key="signed", **changed)
    equal((status, body, found["Content-Type"], found["Cache-Control"]), (200, b"by url", "a/b", "no-store"))
    equal(found["x-amz-meta-one"], "1")
    status, body, found = fetch("GET", "get_object", headers={"Range": "bytes=3-4"}, Key="signed")
    equal((status, body, found["Content-Range"]), (206, b"ur", "bytes 3-4/6"))
    equal(fetch("HEAD", "head_object", Key="signed")[2]["Content-Length"], "6")
    equal(fetch("DELETE", "delete_object", Key="signed")[0], 204)
    refused("NoSuchKey", s3.get_object, Bucket=B, Key="signed")


@case("presigned URLs: parts, conditions, and what is not signed")
def presigned_limits():
    upload_id = s3.create_multipart_upload(Bucket=B, Key="signed-parts")["UploadId"]
    found = fetch("PUT", "upload_part", b"part", Key="signed-parts", UploadId=upload_id, PartNumber=1)[2]
    complete("signed-parts", upload_id, [{"PartNumber": 1, "ETag": found["ETag"]}])
    equal(get("signed-parts"), b"part")

    def code(*arguments, **named):
        try:
            return fetch(*arguments, **named)[0]
        except urllib.error.HTTPError as error:
            return error.code

    signed = {"If-None-Match": "*"}
    equal(code("PUT", "put_object", b"again", signed, Key="signed-parts", IfNoneMatch="*"), 412)
    equal(code("PUT", "put_object", b"x", {"x-amz-meta-not": "signed"}, Key="signed-parts"), 403)
    equal(code("PUT", "get_object", b"x", Key="signed-parts"), 403)
    equal(get("signed-parts"), b"part")


def ask(key, origin, method, **headers):
    """What a browser asks before a request: status, and the headers of the answer."""
    headers = {"Origin": origin, "Access-Control-Request-Method": method, **headers}
    request = urllib.request.Request(f"{S3}/{B}/{key}", headers=headers, method="OPTIONS")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


@case("CORS: configuration, preflight, answers")
def cors():
    refused("NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=B)
    rule = dict(AllowedMethods=["GET", "PUT"], AllowedOrigins=["https://*.test"], AllowedHeaders=["x-amz-*"])
    rules = [{**rule, "ID": "one", "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}]
    s3.put_bucket_cors(Bucket=B, CORSConfiguration={"CORSRules": rules})
    equal(s3.get_bucket_cors(Bucket=B)["CORSRules"], rules)
    wrong = {"CORSRules": [{**rule, "AllowedMethods": ["PATCH"]}]}
    refused("InvalidRequest", s3.put_bucket_cors, Bucket=B, CORSConfiguration=wrong)
    wanted = {"Access-Control-Request-Headers": "X-Amz-Date,x-amz-acl"}
    status, found = ask("k", "https://app.test", "PUT", **wanted)
    equal((status, found["Access-Control-Allow-Origin"]), (200, "https://app.test"))
    equal(found["Access-Control-Allow-Methods"], "GET, PUT")
    equal(found["Access-Control-Allow-Headers"], "x-amz-date, x-amz-acl")
    equal((found["Access-Control-Expose-Headers"], found["Access-Control-Max-Age"]), ("ETag", "60"))
    for origin, method in (("https://app.evil", "PUT"), ("https://app.test", "DELETE")):
        status, found = ask("k", origin, method)
        equal((status, found["Access-Control-Allow-Origin"]), (403, None))
    origin = {"Origin": "https://app.test"}
    equal(fetch("PUT", "put_object", b"x", origin, Key="cors")[2]["Access-Control-Allow-Origin"], "https://app.test")
    equal(fetch("GET", "get_object", Key="cors")[2]["Access-Control-Allow-Origin"], None)
    s3.delete_bucket_cors(Bucket=B)
    equal(ask("k", "https://app.test", "PUT")[0], 403)


@case("errors: codes")
def errors():
    refused("NoSuchKey", s3.get_object, Bucket=B, Key="none")
    refused("NoSuchBucket", s3.get_object, Bucket=B + "-none", Key="none")
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=B)
    refused("NotImplemented", s3.put_bucket_website, Bucket=B, WebsiteConfiguration={"IndexDocument": {"Suffix": "i"}})


main(boto3.__version__)
