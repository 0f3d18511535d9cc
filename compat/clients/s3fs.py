# client: s3fs (fsspec)
# needs: pypi s3fs==2026.9.0
"""s3fs, the file system of fsspec, pandas, Dask and Zarr."""

import pathlib
import urllib.request

import s3fs
from harness import S3, WORK, bucket, case, equal, main, noise, raises

B = bucket("s3fs")
BLOCK = 5 << 20
fs = s3fs.S3FileSystem(endpoint_url=S3, use_listings_cache=False)
LARGE = noise(3 * BLOCK + 777)
TREE = {"empty": b"", "a/one": b"1", "a/b/two": noise(70_000), "with space/ünï✓": b"u", "deep/x/y/z": noise(1024)}


@case("buckets: mkdir, ls, exists")
def buckets():
    assert not fs.exists(B)
    fs.mkdir(B)
    assert fs.exists(B) and fs.isdir(B) and B in fs.ls("")
    raises(FileNotFoundError, fs.ls, B + "-none")


@case("files: pipe, cat, info, checksum")
def files():
    for key, body in TREE.items():
        fs.pipe(f"{B}/{key}", body)
        equal(fs.cat(f"{B}/{key}"), body, key)
        equal(fs.info(f"{B}/{key}")["size"], len(body), key)
    equal(fs.cat_ranges([f"{B}/a/b/two"] * 2, [0, 65_530], [10, 65_550]), [TREE["a/b/two"][:10], TREE["a/b/two"][65_530:65_550]])
    raises(FileNotFoundError, fs.cat, f"{B}/none")


@case("files: an open one, written in parts, read in ranges")
def opened():
    with fs.open(f"{B}/large", "wb", block_size=BLOCK) as file:
        for at in range(0, len(LARGE), 1 << 20):
            file.write(LARGE[at : at + (1 << 20)])
    with fs.open(f"{B}/large", "rb", block_size=1 << 20) as file:
        equal(file.read(), LARGE)
        for at, size in ((0, 10), (BLOCK - 3, 6), (len(LARGE) - 5, 100), (7_000_001, 2_000_000)):
            file.seek(at)
            equal(file.read(size), LARGE[at : at + size], f"{size} bytes at {at}")


@case("files: append")
def append():
    # It starts a multipart upload with a copy of what is there.
    with fs.open(f"{B}/large", "ab", block_size=BLOCK) as file:
        file.write(b"the end")
    equal(fs.cat(f"{B}/large"), LARGE + b"the end")


@case("files: an upload given up leaves nothing")
def discarded():
    def give_up():
        with fs.transaction:
            with fs.open(f"{B}/discarded", "wb", block_size=BLOCK) as file:
                file.write(LARGE)
            raise RuntimeError("changed my mind")

    raises(RuntimeError, give_up)
    assert not fs.exists(f"{B}/discarded")
    equal(fs.list_multipart_uploads(B), [])


@case("listing: ls, walk, find, glob, du")
def listing():
    equal(sorted(fs.ls(f"{B}/a")), [f"{B}/a/b", f"{B}/a/one"])
    equal(sorted(fs.find(B)), sorted([f"{B}/{key}" for key in TREE] + [f"{B}/large"]))
    equal(fs.glob(f"{B}/a/**/t*"), [f"{B}/a/b/two"])
    walked = {root: (sorted(folders), sorted(names)) for root, folders, names in fs.walk(f"{B}/deep")}
    equal(walked, {f"{B}/deep": (["x"], []), f"{B}/deep/x": (["y"], []), f"{B}/deep/x/y": ([], ["z"])})
    equal(fs.du(f"{B}/a"), 70_001)
    assert fs.isdir(f"{B}/deep/x") and fs.isfile(f"{B}/deep/x/y/z") and not fs.exists(f"{B}/deep/none")


@case("trees: put and get, recursive")
def trees():
    here = pathlib.Path(WORK, "s3fs")
    for key, body in TREE.items():
        (here / "tree" / key).parent.mkdir(parents=True, exist_ok=True)
        (here / "tree" / key).write_bytes(body)
    fs.put(str(here / "tree"), f"{B}/tree", recursive=True)
    fs.get(f"{B}/tree", str(here / "back"), recursive=True)
    back = {str(path.relative_to(here / "back")): path.read_bytes() for path in (here / "back").rglob("*") if path.is_file()}
    equal(back, TREE)


@case("moves: cp, mv, recursive")
def moves():
    fs.cp(f"{B}/large", f"{B}/copied")
    equal(fs.cat(f"{B}/copied"), LARGE + b"the end")
    fs.mv(f"{B}/copied", f"{B}/moved")
    assert fs.exists(f"{B}/moved") and not fs.exists(f"{B}/copied")
    # Its recursive mv wants an object for every folder; cp and rm do not.
    fs.cp(f"{B}/tree", f"{B}/other", recursive=True)
    fs.rm(f"{B}/tree", recursive=True)
    equal(sorted(fs.find(f"{B}/other")), sorted(f"{B}/other/{key}" for key in TREE))
    equal(fs.find(f"{B}/tree"), [])


@case("metadata: set and get")
def metadata():
    fs.setxattr(f"{B}/moved", copy_kwargs={"ContentType": "text/x-test"}, one="1")
    equal(fs.getxattr(f"{B}/moved", "one"), "1")
    equal(fs.cat(f"{B}/moved"), LARGE + b"the end")


@case("conditions: mode xb creates once")
def exclusive():
    with fs.open(f"{B}/once", "xb") as file:
        file.write(b"first")
    raises(FileExistsError, fs.pipe, f"{B}/once", b"second", mode="create")
    equal(fs.cat(f"{B}/once"), b"first")


@case("versions: write twice, read by id")
def versions():
    aware = s3fs.S3FileSystem(endpoint_url=S3, version_aware=True, use_listings_cache=False)
    name = B + "-versions"
    aware.mkdir(name)
    aware.make_bucket_versioned(name)
    for body in (b"1", b"2"):
        aware.pipe(f"{name}/v", body)
    ids = [one["VersionId"] for one in aware.object_version_info(f"{name}/v")]
    equal([aware.open(f"{name}/v", version_id=one).read() for one in ids], [b"2", b"1"])


@case("presigned URLs: get")
def presigned():
    signed = s3fs.S3FileSystem(endpoint_url=S3, config_kwargs={"signature_version": "s3v4"})
    with urllib.request.urlopen(signed.url(f"{B}/moved", expires=60)) as answer:
        equal(answer.read(), LARGE + b"the end")


@case("deletes: rm recursive, rmdir")
def deletes():
    fs.rm(f"{B}/a", recursive=True)
    assert not fs.exists(f"{B}/a") and fs.exists(f"{B}/large")
    raises(OSError, fs.rmdir, B)
    fs.rm(B, recursive=True)
    assert not fs.exists(B)


main(s3fs.__version__)
