# client: boto3: tags
# needs: client boto3
"""Tags of objects, versions and buckets."""

import boto3
from boto import connect, refused
from harness import bucket, case, equal, main, noise

B = bucket("boto3-tags")
s3 = connect()
s3.create_bucket(Bucket=B)


def as_set(tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tags(key, **more):
    return {one["Key"]: one["Value"] for one in s3.get_object_tagging(Bucket=B, Key=key, **more)["TagSet"]}


def tag(key, values, **more):
    return s3.put_object_tagging(Bucket=B, Key=key, Tagging={"TagSet": as_set(values)}, **more)


@case("objects: on put, shown as a count, replaced, deleted")
def objects():
    s3.put_object(Bucket=B, Key="o", Body=b"1", Tagging="project=blue%20sky&stage=&a%2Bb=%3D")
    equal(tags("o"), {"a+b": "=", "project": "blue sky", "stage": ""})
    found = s3.get_object(Bucket=B, Key="o")
    equal((found["TagCount"], found["Body"].read()), (3, b"1"))
    tag("o", {"only": "größe 1:2"})
    equal(tags("o"), {"only": "größe 1:2"})
    s3.delete_object_tagging(Bucket=B, Key="o")
    equal(tags("o"), {})
    assert "TagCount" not in s3.get_object(Bucket=B, Key="o")
    refused("NoSuchKey", s3.get_object_tagging, Bucket=B, Key="none")


@case("copies: taken along, or replaced")
def copies():
    s3.put_object(Bucket=B, Key="from", Body=b"1", Tagging="a=1")
    s3.copy_object(Bucket=B, Key="to", CopySource=f"{B}/from")
    equal(tags("to"), {"a": "1"})
    s3.copy_object(Bucket=B, Key="to", CopySource=f"{B}/from", TaggingDirective="REPLACE", Tagging="b=2")
    equal(tags("to"), {"b": "2"})


@case("multipart: given at the start")
def multipart():
    upload = s3.create_multipart_upload(Bucket=B, Key="m", Tagging="a=1&b=2")["UploadId"]
    body = noise(100)
    part = s3.upload_part(Bucket=B, Key="m", UploadId=upload, PartNumber=1, Body=body)
    done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=B, Key="m", UploadId=upload, MultipartUpload=done)
    equal((tags("m"), s3.get_object(Bucket=B, Key="m")["Body"].read()), ({"a": "1", "b": "2"}, body))


@case("limits: ten, once each, of bounded length")
def limits():
    refused("BadRequest", tag, key="o", values={str(number): "" for number in range(11)})
    refused("InvalidTag", tag, key="o", values={"k" * 129: ""})
    refused("InvalidTag", tag, key="o", values={"k": "v" * 257})
    twice = {"TagSet": as_set({"a": "1"}) * 2}
    refused("InvalidTag", s3.put_object_tagging, Bucket=B, Key="o", Tagging=twice)
    equal(tags("o"), {})
    tag("o", {"k" * 128: "v" * 256, **{str(number): "" for number in range(9)}})
    equal(len(tags("o")), 10)


@case("versions: each its own")
def versions():
    s3.put_bucket_versioning(Bucket=B, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=B, Key="v", Body=b"1", Tagging="n=1")["VersionId"]
    new = s3.put_object(Bucket=B, Key="v", Body=b"2", Tagging="n=2")["VersionId"]
    equal(tag("v", {"n": "old"}, VersionId=old)["VersionId"], old)
    equal((tags("v"), tags("v", VersionId=old)), ({"n": "2"}, {"n": "old"}))
    marker = s3.delete_object(Bucket=B, Key="v")["VersionId"]
    refused("MethodNotAllowed", s3.get_object_tagging, Bucket=B, Key="v", VersionId=marker)
    equal(tags("v", VersionId=new), {"n": "2"})


@case("buckets: put, get, delete")
def buckets():
    refused("NoSuchTagSet", s3.get_bucket_tagging, Bucket=B)
    s3.put_bucket_tagging(Bucket=B, Tagging={"TagSet": as_set({"team": "storage", "cost": "0"})})
    found = s3.get_bucket_tagging(Bucket=B)["TagSet"]
    equal({one["Key"]: one["Value"] for one in found}, {"team": "storage", "cost": "0"})
    s3.delete_bucket_tagging(Bucket=B)
    refused("NoSuchTagSet", s3.get_bucket_tagging, Bucket=B)


main(boto3.__version__)
