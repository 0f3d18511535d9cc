#!/usr/bin/env bash
# client: object_store (Rust)
# needs: crate object_store
# object_store, which DataFusion, delta-rs, Polars and others are built on: ../object_store/src/main.rs drives it.
. "$COMPAT/lib.sh"
version "$(sed -n '/^name = "object_store"$/{n;p}' "$COMPAT/object_store/Cargo.lock")"
export AWS_ENDPOINT=$S3 AWS_BUCKET=object-store-compat-$RANDOM AWS_REGION=$AWS_DEFAULT_REGION
api create-bucket --bucket "$AWS_BUCKET" >/dev/null
export RUST_BACKTRACE=0
exec "$TOOLS/object_store/target/debug/object-store-compat"
