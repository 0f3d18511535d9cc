# client: pyarrow
# needs: pypi pyarrow==26.0.1 numpy==2.3.4
"""pyarrow's S3FileSystem, on AWS's SDK for C++, and datasets of Parquet files on it."""

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from harness import HOST, KEY, REGION, SECRET, bucket, case, equal, main, noise, raises
from pyarrow import fs

B = bucket("pyarrow")
s3 = fs.S3FileSystem(
    access_key=KEY, secret_key=SECRET, region=REGION, endpoint_override=HOST, scheme="http", allow_bucket_creation=True,
    allow_bucket_deletion=True,
)
LARGE = noise(23_000_000)
ROWS = 300_000
TABLE = pa.table({
    "id": np.arange(ROWS), "day": np.arange(ROWS) % 5, "name": [f"name {number % 1000}" for number in range(ROWS)],
    "noise": np.frombuffer(noise(8 * ROWS), dtype=np.int64),
})


def write(path, *pieces):
    with s3.open_output_stream(f"{B}/{path}") as out:
        for piece in pieces:
            out.write(piece)


def read(path):
    with s3.open_input_stream(f"{B}/{path}") as stream:
        return stream.read()


def names(path, recursive=True):
    return sorted(one.path.removeprefix(f"{B}/") for one in s3.get_file_info(fs.FileSelector(path, recursive=recursive)))


@case("buckets: create")
def buckets():
    s3.create_dir(B)
    equal(s3.get_file_info(B).type, fs.FileType.Directory)
    equal(s3.get_file_info(B + "-none").type, fs.FileType.NotFound)


@case("streams: out and in, small, empty, large in parts")
def streams():
    write("small", b"hello")
    write("empty")
    # More than 10 MiB goes as a multipart upload.
    write("large", *(LARGE[at : at + 1_500_000] for at in range(0, len(LARGE), 1_500_000)))
    for path, body in {"small": b"hello", "empty": b"", "large": LARGE}.items():
        equal(read(path), body, path)
    raises(FileNotFoundError, read, "none")


@case("ranges: random access")
def ranges():
    with s3.open_input_file(f"{B}/large") as file:
        equal(file.size(), len(LARGE))
        for at, size in ((0, 10), (9_999_999, 70_000), (len(LARGE) - 5, 100)):
            equal(file.read_at(size, at), LARGE[at : at + size], f"{size} bytes at {at}")


@case("listing: folders, recursive")
def listing():
    s3.create_dir(f"{B}/made/of/folders")
    write("made/of/a file ü✓", b"x")
    equal(names(f"{B}/made"), ["made/of", "made/of/a file ü✓", "made/of/folders"])
    equal(names(f"{B}/made", recursive=False), ["made/of"])
    equal(s3.get_file_info(f"{B}/made/of/folders").type, fs.FileType.Directory)


@case("moves: copy and move")
def moves():
    s3.copy_file(f"{B}/large", f"{B}/copied")
    s3.move(f"{B}/copied", f"{B}/moved")
    equal(read("moved"), LARGE)
    equal(s3.get_file_info(f"{B}/copied").type, fs.FileType.NotFound)


@case("parquet: one file, columns and row groups")
def parquet():
    pq.write_table(TABLE, f"{B}/one.parquet", filesystem=s3, row_group_size=50_000)
    assert pq.read_table(f"{B}/one.parquet", filesystem=s3).equals(TABLE)
    some = pq.read_table(f"{B}/one.parquet", filesystem=s3, columns=["id"], filters=[("id", ">=", 299_990)])
    equal(some["id"].to_pylist(), list(range(299_990, ROWS)))


@case("datasets: partitioned, written and read")
def dataset():
    ds.write_dataset(
        TABLE, f"{B}/dataset", filesystem=s3, format="parquet", partitioning=["day"], partitioning_flavor="hive",
        max_rows_per_group=20_000,
    )
    equal(names(f"{B}/dataset", recursive=False), [f"dataset/day={day}" for day in range(5)])
    found = ds.dataset(f"{B}/dataset", filesystem=s3, partitioning="hive")
    equal(found.count_rows(), ROWS)
    third = found.to_table(filter=ds.field("day") == 3, columns=["id", "noise"]).sort_by("id")
    assert third.equals(TABLE.filter(pa.compute.equal(TABLE["day"], 3)).select(["id", "noise"]))
    ds.write_dataset(
        TABLE.slice(0, 10), f"{B}/dataset", filesystem=s3, format="parquet", partitioning=["day"],
        partitioning_flavor="hive", existing_data_behavior="delete_matching",
    )
    equal(ds.dataset(f"{B}/dataset", filesystem=s3, partitioning="hive").count_rows(), 10)


@case("deletes: file, folder, bucket")
def deletes():
    s3.delete_file(f"{B}/small")
    equal(s3.get_file_info(f"{B}/small").type, fs.FileType.NotFound)
    s3.delete_dir_contents(f"{B}/made")
    equal(names(f"{B}/made"), [])
    s3.delete_dir(B)
    equal(s3.get_file_info(B).type, fs.FileType.NotFound)


main(pa.__version__)
