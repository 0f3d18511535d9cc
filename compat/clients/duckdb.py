# client: DuckDB httpfs
# needs: pypi duckdb==1.5.5 duckdb-extension-httpfs==1.5.5
"""DuckDB with its extension httpfs. The extension comes in a wheel of its own here, instead of from DuckDB's repository."""

import importlib.resources
import os

import duckdb
from harness import HOST, KEY, REGION, SECRET, WORK, bucket, case, equal, main, raises

B = bucket("duckdb")
ROWS = 400_000
EXTENSION = importlib.resources.files("duckdb_extension_httpfs") / f"extensions/v{duckdb.__version__}/httpfs.duckdb_extension"
LOCAL = os.path.join(WORK, "local.parquet")


def connect():
    made = duckdb.connect()
    made.execute(f"LOAD '{EXTENSION}'")
    made.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET '{SECRET}', REGION '{REGION}', ENDPOINT '{HOST}', "
        "URL_STYLE 'path', USE_SSL false)"
    )
    return made


db = connect()
db.execute("SELECT setseed(0.5)")
db.execute(f"CREATE TABLE t AS SELECT i AS id, i % 4 AS part, md5(i::VARCHAR) AS name, random() AS x FROM range({ROWS}) r(i)")


def ask(sql):
    return db.execute(sql).fetchall()


def same_as_table(source, table="t"):
    """No row is only here or only there, each as often."""
    equal(ask(f"(FROM {source} EXCEPT ALL FROM {table}) UNION ALL (FROM {table} EXCEPT ALL FROM {source})"), [], source)


@case("parquet: write in parts, read whole, the same bytes as a local file")
def parquet():
    db.execute(f"COPY t TO '{LOCAL}' (ROW_GROUP_SIZE 50000)")
    db.execute(f"COPY t TO 's3://{B}/t.parquet' (ROW_GROUP_SIZE 50000)")
    same_as_table(f"'s3://{B}/t.parquet'")
    remote = ask(f"SELECT content FROM read_blob('s3://{B}/t.parquet')")[0][0]
    with open(LOCAL, "rb") as file:
        local = file.read()
    assert len(local) > 5 << 20, "enough for more than one part"
    equal(remote, local)


@case("parquet: ranges for columns and row groups")
def some_columns():
    found = ask(f"SELECT id, name FROM 's3://{B}/t.parquet' WHERE id BETWEEN 123456 AND 123465 ORDER BY id")
    equal(found, ask("SELECT id, name FROM t WHERE id BETWEEN 123456 AND 123465 ORDER BY id"))
    equal(ask(f"SELECT count(*), sum(x) FROM 's3://{B}/t.parquet'")[0][0], ROWS)


@case("parquet: partitioned, with globs")
def partitioned():
    db.execute(f"COPY t TO 's3://{B}/parts' (FORMAT parquet, PARTITION_BY (part))")
    equal(len(ask(f"FROM glob('s3://{B}/parts/*/*.parquet')")), 4)
    same_as_table(f"(SELECT id, part, name, x FROM read_parquet('s3://{B}/parts/**/*.parquet', hive_partitioning = true))")
    one = ask(f"SELECT count(*) FROM read_parquet('s3://{B}/parts/**/*.parquet', hive_partitioning = true) WHERE part = 3")
    equal(one, [(ROWS // 4,)])


@case("csv and json: compressed, strange names")
def text():
    db.execute("CREATE TABLE few AS FROM t WHERE id < 50000")
    for name in ("few.csv", "few.csv.gz", "with space/ünï+✓.csv"):
        db.execute(f"COPY few TO 's3://{B}/{name}'")
        same_as_table(f"read_csv('s3://{B}/{name}')", "few")
    db.execute(f"COPY few TO 's3://{B}/few.json'")
    same_as_table(f"(SELECT id, part, name, x FROM 's3://{B}/few.json')", "few")


@case("databases: attached read-only")
def attached():
    path = os.path.join(WORK, "whole.duckdb")
    db.execute(f"ATTACH '{path}' AS local; CREATE TABLE local.t AS FROM t; DETACH local")
    size = os.path.getsize(path)
    db.execute(f"COPY (SELECT content FROM read_blob('{path}')) TO 's3://{B}/whole.duckdb' (FORMAT blob)")
    equal(ask(f"SELECT size FROM read_blob('s3://{B}/whole.duckdb')"), [(size,)])
    db.execute(f"ATTACH 's3://{B}/whole.duckdb' AS remote (READ_ONLY)")
    same_as_table("remote.t")
    db.execute("DETACH remote")


@case("errors: no such file, wrong secret")
def errors():
    raises(duckdb.HTTPException, ask, f"FROM 's3://{B}/none.parquet'")
    other = duckdb.connect()
    other.execute(f"LOAD '{EXTENSION}'")
    other.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET 'wrong', ENDPOINT '{HOST}', URL_STYLE 'path', USE_SSL false)"
    )
    raises(duckdb.HTTPException, other.execute, f"FROM 's3://{B}/t.parquet'")


# DuckDB makes no buckets.
assert os.system(f"aws --endpoint-url http://{HOST} s3 mb s3://{B}") == 0
main(duckdb.__version__)
