"""What the clients on boto3 share."""

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from harness import S3


def connect(**config):
    return boto3.client("s3", endpoint_url=S3, config=Config(retries={"max_attempts": 1}, **config))


def refused(code, call, **arguments):
    """Calls what has to be refused with that code, and returns the answer."""
    try:
        call(**arguments)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"refused with {found}, expected {code}"
        return error.response
    raise AssertionError(f"was not refused with {code}")
