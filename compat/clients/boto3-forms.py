# client: boto3: HTML forms
# needs: client boto3
"""Uploads from HTML forms, by the policies that boto3's generate_presigned_post signs, sent as a browser sends them."""

import base64
import hashlib
import urllib.error
import urllib.request
import xml.etree.ElementTree as xml

import boto3
from boto import connect, refused
from harness import bucket, case, equal, main, noise

B = bucket("boto3-forms")
s3 = connect(signature_version="s3v4")
s3.create_bucket(Bucket=B)


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def send(form, body, name="a file.bin", **more):
    """Status, headers and body of the answer to a form, which has the file last."""
    boundary = "----compat1234567890"
    pieces = []
    for field, value in {**form["fields"], **more}.items():
        pieces.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode())
    pieces.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'.encode())
    pieces.append(b"Content-Type: application/octet-stream\r\n\r\n" + body + f"\r\n--{boundary}--\r\n".encode())
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(form["url"], data=b"".join(pieces), headers=kind, method="POST")
    try:
        answer = urllib.request.build_opener(Stay).open(request)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.headers, answer.read()


def sign(key, conditions=(), seconds=60, **fields):
    own = [{name: value} for name, value in fields.items()]
    return s3.generate_presigned_post(B, key, Fields=fields, Conditions=[*conditions, *own], ExpiresIn=seconds)


def get(key):
    return s3.get_object(Bucket=B, Key=key)["Body"].read()


def code(answer):
    return answer[0], xml.fromstring(answer[2]).findtext("Code")


@case("upload: small, empty, large; 204 without a body")
def upload():
    for key, body in {"small": b"hello", "empty": b"", "large/ü ✓": noise(7_000_000)}.items():
        status, headers, said = send(sign(key), body)
        equal((status, headers["ETag"], said), (204, f'"{hashlib.md5(body).hexdigest()}"', b""), key)
        equal(get(key), body, key)


@case("upload: ${filename} in the key")
def filename():
    equal(send(sign("by/${filename}"), b"named", name="photo ü.png")[0], 204)
    equal(get("by/photo ü.png"), b"named")


@case("answers: status 201 with a document, redirect with the object in the query")
def answers():
    status, headers, said = send(sign("created", success_action_status="201"), b"x")
    document = xml.fromstring(said)
    etag = f'"{hashlib.md5(b"x").hexdigest()}"'
    equal((status, document.tag), (201, "PostResponse"))
    equal([document.findtext(name) for name in ("Bucket", "Key", "ETag")], [B, "created", etag])
    status, headers, _ = send(sign("moved", success_action_redirect="http://example.com/done?a=1"), b"x")
    equal(status, 303)
    assert headers["Location"].startswith(f"http://example.com/done?a=1&bucket={B}&key=moved&etag=%22"), headers["Location"]


@case("fields: metadata, type, checksum")
def fields():
    body = b"with fields"
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    more = {"Content-Type": "text/x-test", "x-amz-meta-one": "1", "x-amz-checksum-sha256": digest}
    equal(send(sign("fields", **more), body)[0], 204)
    head = s3.head_object(Bucket=B, Key="fields", ChecksumMode="ENABLED")
    equal((head["ContentType"], head["Metadata"], head["ChecksumSHA256"]), ("text/x-test", {"one": "1"}, digest))
    equal(code(send(sign("fields", **more), b"other bytes")), (400, "BadDigest"))
    equal(get("fields"), body)


@case("conditions: starts-with, length range")
def conditions():
    form = sign("c/x", [["starts-with", "$x-amz-meta-one", "pre"], ["content-length-range", 3, 5]])
    equal(send(form, b"four", **{"x-amz-meta-one": "prefix"})[0], 204)
    equal(send(form, b"four", **{"x-amz-meta-one": "other"})[0], 403)
    equal(send(form, b"four")[0], 403)
    equal(code(send(form, b"to", **{"x-amz-meta-one": "pre"})), (400, "EntityTooSmall"))
    equal(code(send(form, b"too long", **{"x-amz-meta-one": "pre"})), (400, "EntityTooLarge"))
    equal(get("c/x"), b"four")


@case("policies: other key, other field, changed, expired")
def policies():
    form = sign("p")
    for wrong in ({"key": "q"}, {"x-amz-meta-not": "signed"}, {"acl": "public-read"}):
        equal(send(form, b"x", **wrong)[0], 403, str(wrong))
    equal(code(send(form, b"x", **{"x-amz-signature": "0" * 64})), (403, "SignatureDoesNotMatch"))
    equal(code(send(sign("p", seconds=-5), b"x")), (403, "AccessDenied"))
    refused("NoSuchKey", s3.get_object, Bucket=B, Key="p")


main(boto3.__version__)
