# client: deltalake
# needs: pypi deltalake==1.6.6 pyarrow==26.0.1
"""deltalake (delta-rs): tables whose commits are objects put with If-None-Match, so that of racing writers one wins."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import deltalake
import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from harness import HOST, KEY, REGION, S3, SECRET, bucket, case, equal, main, raises

B = os.environ.get("DELTA_BUCKET") or bucket("deltalake")
os.environ["DELTA_BUCKET"] = B  # processes of ours come here again
WRITERS = 4
OPTIONS = {
    "AWS_ENDPOINT_URL": S3, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION,
    "AWS_ALLOW_HTTP": "true", "conditional_put": "etag",
}


def rows(*ids, writer=0):
    return pa.table({"id": pa.array(ids, pa.int64()), "writer": pa.array([writer] * len(ids), pa.int64())})


def write(name, table, **more):
    deltalake.write_deltalake(f"s3://{B}/{name}", table, storage_options=OPTIONS, **more)


def load(name, **more):
    return deltalake.DeltaTable(f"s3://{B}/{name}", storage_options=OPTIONS, **more)


def ids(name, **more):
    return sorted(load(name, **more).to_pyarrow_table()["id"].to_pylist())


@case("tables: create, append, overwrite, travel in time")
def tables():
    write("t", rows(1, 2, 3))
    write("t", rows(4), mode="append")
    write("t", rows(9), mode="overwrite")
    equal([ids("t", version=version) for version in (0, 1, 2)], [[1, 2, 3], [1, 2, 3, 4], [9]])
    raises(TableNotFoundError, load, "none")


@case("tables: delete, update, merge, partitions")
def changes():
    write("c", rows(*range(1000)), partition_by=["writer"])
    load("c").delete("id >= 500")
    load("c").update(updates={"id": "id + 10000"}, predicate="id < 10")
    merging = load("c").merge(rows(10, 777), "s.id = t.id", source_alias="s", target_alias="t")
    merging.when_matched_delete().when_not_matched_insert_all().execute()
    equal(ids("c"), sorted([*range(11, 500), 777, *range(10_000, 10_010)]))


@case("tables: large files in parts, optimize, vacuum, checkpoint")
def upkeep():
    noise = pa.table({"id": pa.array(range(200_000), pa.int64()), "noise": [os.urandom(60) for _ in range(200_000)]})
    for _ in range(3):
        write("u", noise, mode="append")
    before = load("u").to_pyarrow_table().sort_by([("id", "ascending"), ("noise", "ascending")])
    load("u").optimize.compact()
    assert len(load("u").file_uris()) < 3
    gone = load("u").vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    equal(len(gone), 3)
    load("u").create_checkpoint()
    assert load("u").to_pyarrow_table().sort_by([("id", "ascending"), ("noise", "ascending")]).equals(before)


@case("commits: of two on one version, one conflicts")
def conflict():
    write("x", rows(1, 2, 3))
    first, second = load("x"), load("x")
    first.delete("id = 1")
    raises(CommitFailedError, second.delete, "id = 1")
    equal(ids("x"), [2, 3])


def append(writer):
    for number in range(10):
        write("race", rows(writer * 100 + number, writer=writer), mode="append")


def create(writer):
    try:
        write("once", rows(writer), mode="error")
        return [writer]
    except DeltaError:
        return []


def in_processes(function):
    with ProcessPoolExecutor(WRITERS, mp_context=get_context("spawn")) as pool:
        return list(pool.map(function, range(WRITERS)))


@case("commits: racing processes append, every row is there once")
def race():
    write("race", rows())
    in_processes(append)
    equal(ids("race"), sorted(writer * 100 + number for writer in range(WRITERS) for number in range(10)))
    equal(load("race").version(), WRITERS * 10)


@case("commits: racing processes create, each learns whether its rows are there")
def creation():
    # delta-rs lets a creation that comes second append, if the table was not there when it looked.
    winners = sum(in_processes(create), [])
    equal((ids("once"), load("once").version()), (winners, len(winners) - 1))


if __name__ == "__main__":
    # deltalake makes no buckets.
    assert os.system(f"aws --endpoint-url http://{HOST} s3 mb s3://{B}") == 0
    main(deltalake.__version__)
