"""What the clients in Python share: named cases, printed as compat/run counts them.

A client's file declares its cases with `@case("flow: what of it")` and ends in `main(version)`. They run in the order in
which they are written, in one process, and may build on one another. Endpoint and folder are in $S3 and $WORK; the
credentials are where AWS's libraries look for them, and in KEY and SECRET."""

import os
import random
import sys
import traceback

S3 = os.environ["S3"]
HOST = S3.split("://")[1]
WORK = os.environ["WORK"]
KEY = os.environ["AWS_ACCESS_KEY_ID"]
SECRET = os.environ["AWS_SECRET_ACCESS_KEY"]
REGION = os.environ["AWS_DEFAULT_REGION"]

noise = random.Random(7).randbytes
_cases = []


def bucket(client):
    """A name that no other run has."""
    return f"{client}-compat-{random.SystemRandom().randrange(10**6)}"


def case(name):
    def keep(function):
        _cases.append((name, function))
        return function

    return keep


def equal(found, expected, what=""):
    """Compares; says briefly how long bodies differ."""
    if found == expected:
        return
    if isinstance(found, (bytes, bytearray)) and len(found) + len(expected) > 200:
        at = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
        raise AssertionError(f"{what}: {len(found)} bytes, expected {len(expected)}; they differ at {at}")
    raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def raises(kind, call, *arguments, **named):
    """Calls what has to fail with that class of exception, and returns the exception."""
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"was not refused: {call} {arguments} {named}")


def main(version):
    print(f"version {version}", flush=True)
    failed = False
    for name, function in _cases:
        try:
            function()
            print(f"ok {name}", flush=True)
        except Exception:
            failed = True
            print(f"FAILED {name}", flush=True)
            print("    " + traceback.format_exc(limit=-3).replace("\n", "\n    "), flush=True)
    sys.exit(failed)
