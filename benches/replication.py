#!/usr/bin/env python3
"""Measures replication to another Sediment of an object that is there but for 1 %, whole and as a delta, and prints a Markdown table.

    benches/replication.py BINARY [--mib N] [--pieces-kib N ...] [--rounds N]

The object is noise; its second version, under another key, has 1 % overwritten in pieces of each size. CPU seconds are
each gateway's own, from the rule that concerns the second version to its arrival. Bytes are those of request bodies that the destination got, questions
included. Needs memory for three such objects and free space for five.
"""
import argparse, json, os, random, statistics, time, urllib.request
from gateway import KEY, MIB, SECRET, Client, Server, noise, noise_pieces


class Near(Server):
    """Replicates to the far one."""

    def __init__(self, binary, far, chunks):
        os.environ["SEDIMENT_REPLICATION__TARGETS"] = (
            f'[{{id="far", endpoint="{far.endpoint}", access_key="{KEY}", secret_key="{SECRET}", chunks="{chunks}"}}]')
        super().__init__(binary)
        del os.environ["SEDIMENT_REPLICATION__TARGETS"]


def bucket(server):
    server.aws("s3api", "create-bucket", "--bucket", "bucket")
    server.aws("s3api", "put-bucket-versioning", "--bucket", "bucket", "--versioning-configuration", "Status=Enabled")


def replicate(near, key):
    """Sets the rule for a key, and waits until it has arrived."""
    enabled = {"Status": "Enabled"}
    rule = {"ID": key, "Priority": 1, "Filter": {"Prefix": key}, "DeleteMarkerReplication": enabled, **enabled,
            "ExistingObjectReplication": enabled, "Destination": {"Bucket": "arn:sediment:replication::far:bucket"}}
    near.aws("s3api", "put-bucket-replication", "--bucket", "bucket",
             "--replication-configuration", json.dumps({"Role": "none", "Rules": [rule]}))
    began, client = time.time(), Client(near.host)
    while time.time() < began + 600:
        response = client.request("HEAD", "/bucket/" + key)
        response.read()
        if response.headers.get("x-amz-replication-status") == "COMPLETED":
            return
        time.sleep(0.05)
    raise SystemExit(f"{key} has not arrived")


def received(server):
    ready = json.load(open(server.dir + "/ready"))
    lines = urllib.request.urlopen(ready["admin"] + "/metrics").read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("sediment_s3_received_bytes_total"))


def measure(binary, chunks, first, changes):
    """Of each change: bytes, CPU seconds here and there."""
    with Server(binary) as far, Near(binary, far, chunks) as near:
        bucket(far)
        bucket(near)
        client, found = Client(near.host), []
        client.put("/bucket/first", first)
        for name, body in changes:
            client.put("/bucket/" + name, body)
        replicate(near, "first")
        for name, _ in changes:
            before = received(far), near.cpu_seconds(), far.cpu_seconds()
            replicate(near, name)
            after = received(far), near.cpu_seconds(), far.cpu_seconds()
            found.append([then - now for then, now in zip(after, before)])
        return found


def changed(first, piece):
    body = bytearray(first)
    for _ in range(max(1, len(body) // 100 // piece)):
        at = random.randrange(len(body) - piece)
        body[at:at + piece] = noise(piece)
    return bytes(body)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("binary")
    options.add_argument("--mib", type=int, default=1024)
    options.add_argument("--pieces-kib", type=int, nargs="+", default=[16, 1024])
    options.add_argument("--rounds", type=int, default=3)
    options = options.parse_args()
    rounds = {"never": [], "auto": []}
    for number in range(options.rounds):
        first = b"".join(noise_pieces(options.mib * MIB))
        changes = [(f"changed-{kib}", changed(first, kib << 10)) for kib in options.pieces_kib]
        for chunks in sorted(rounds, reverse=number % 2 == 0):
            rounds[chunks].append(measure(options.binary, chunks, first, changes))
    print("| 1 % changed in pieces of | sent | MiB on the wire | CPU s, source | CPU s, destination |\n|---|---|---|---|---|")
    for at, kib in enumerate(options.pieces_kib):
        for chunks, name in [("never", "whole"), ("auto", "as a delta")]:
            bytes_, *rest = (statistics.median(column) for column in zip(*(found[at] for found in rounds[chunks])))
            print(f"| {kib} KiB | {name} | {bytes_ / MIB:.1f} | " + " | ".join(f"{value:.2f}" for value in rest) + " |")


if __name__ == "__main__":
    main()
