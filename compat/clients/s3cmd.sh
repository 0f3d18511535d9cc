#!/usr/bin/env bash
# client: s3cmd
# needs: pypi s3cmd==2.4.0
# s3cmd. Its signed URLs are of signature version 2, which Sediment does not take: they are left out.
. "$COMPAT/lib.sh"
bad=0
version "$(s3cmd --version)"
B=s3cmd-compat-$RANDOM
cat >"$WORK/s3cfg" <<END
[default]
access_key = $AWS_ACCESS_KEY_ID
secret_key = $AWS_SECRET_ACCESS_KEY
host_base = ${S3#http://}
host_bucket = ${S3#http://}
bucket_location = US
use_https = False
multipart_chunk_size_mb = 5
END
C=(s3cmd -c "$WORK/s3cfg" --no-progress --max-retries=1)
make_tree "$WORK/tree"
noise 17000000 >"$WORK/large"
noise 5000 >"$WORK/small"
etag() { "${C[@]}" info "s3://$B/$1" | awk '/MD5 sum/ {print $3}'; }

buckets() {
    "${C[@]}" mb "s3://$B"
    has "$("${C[@]}" ls)" "s3://$B"
    has "$("${C[@]}" info "s3://$B")" "us-east-1"
    refused NoSuchBucket "${C[@]}" ls "s3://$B-none"
}
put_get() {
    "${C[@]}" put "$WORK/small" "s3://$B/dir/small"
    "${C[@]}" get "s3://$B/dir/small" "$WORK/small.back"
    cmp "$WORK/small" "$WORK/small.back"
    same "$(etag dir/small)" "$(md5sum <"$WORK/small" | cut -d' ' -f1)"
    "${C[@]}" put "$WORK/tree/empty" "s3://$B/dir/empty"
    "${C[@]}" get "s3://$B/dir/empty" "$WORK/empty.back"
    [ -f "$WORK/empty.back" ] && [ ! -s "$WORK/empty.back" ]
}
# An interrupted download goes on from where it was, with a range.
get_continue() {
    head -c 2000 "$WORK/small" >"$WORK/half"
    "${C[@]}" get --continue "s3://$B/dir/small" "$WORK/half"
    cmp "$WORK/small" "$WORK/half"
}
strange_names() {
    for name in 'a b' 'a+b' 'a%20b' 'ü✓' 'q?x=1&y' '<tag>'; do
        "${C[@]}" put "$WORK/small" "s3://$B/strange/$name"
        "${C[@]}" get --force "s3://$B/strange/$name" "$WORK/strange.back"
        cmp "$WORK/small" "$WORK/strange.back"
    done
    same "$("${C[@]}" ls "s3://$B/strange/" | wc -l)" 6
}
multipart() {
    "${C[@]}" put "$WORK/large" "s3://$B/large"
    "${C[@]}" get "s3://$B/large" "$WORK/large.back"
    cmp "$WORK/large" "$WORK/large.back"
    has "$(api head-object --bucket "$B" --key large --query ETag --output text)" '-4"'
    same "$("${C[@]}" multipart "s3://$B" | grep -c large || true)" 0
}
# From a pipe it does not know the size, and sends parts until there is no more.
pipe() { "${C[@]}" put - "s3://$B/piped" <"$WORK/large"; "${C[@]}" get "s3://$B/piped" - | cmp - "$WORK/large"; }
sync_up() {
    "${C[@]}" sync "$WORK/tree/" "s3://$B/tree/"
    same "$("${C[@]}" ls --recursive "s3://$B/tree/" | wc -l)" "$(find "$WORK/tree" -type f | wc -l)"
    same "$("${C[@]}" sync "$WORK/tree/" "s3://$B/tree/" | grep -c ^upload || true)" 0
}
sync_down() { mkdir "$WORK/back"; "${C[@]}" sync "s3://$B/tree/" "$WORK/back/"; diff -r "$WORK/tree" "$WORK/back"; }
sync_delete() {
    rm "$WORK/tree/a/1024"
    "${C[@]}" sync --delete-removed "$WORK/tree/" "s3://$B/tree/"
    same "$("${C[@]}" ls "s3://$B/tree/a/1024" | wc -l)" 0
}
listing() {
    has "$("${C[@]}" ls "s3://$B/tree/")" "DIR"
    has "$("${C[@]}" ls "s3://$B/tree/with space/")" "70 000.bin"
    same "$("${C[@]}" ls -r "s3://$B/tree/a/b/" | wc -l)" "$(find "$WORK/tree/a/b" -type f | wc -l)"
    has "$("${C[@]}" du "s3://$B/large")" 17000000
}
copy_move() {
    "${C[@]}" cp "s3://$B/dir/small" "s3://$B/copied"
    "${C[@]}" mv "s3://$B/copied" "s3://$B/moved"
    "${C[@]}" get "s3://$B/moved" - | cmp - "$WORK/small"
    same "$("${C[@]}" ls "s3://$B/copied" | wc -l)" 0
    # Above its limit it copies part by part.
    "${C[@]}" cp --multipart-chunk-size-mb=5 "s3://$B/large" "s3://$B/large-copied"
    "${C[@]}" get "s3://$B/large-copied" - | cmp - "$WORK/large"
}
metadata() {
    "${C[@]}" modify --add-header=x-amz-meta-a:b --mime-type=text/x-test "s3://$B/moved"
    has "$("${C[@]}" info "s3://$B/moved")" "text/x-test"
    has "$("${C[@]}" info "s3://$B/moved")" "x-amz-meta-a: b"
    "${C[@]}" get --force "s3://$B/moved" "$WORK/moved.back"
    cmp "$WORK/moved.back" "$WORK/small"
}
delete() {
    "${C[@]}" del "s3://$B/moved"
    refused 404 "${C[@]}" info "s3://$B/moved"
    "${C[@]}" del --recursive --force "s3://$B/"
    same "$("${C[@]}" ls -r "s3://$B" | wc -l)" 0
    "${C[@]}" rb "s3://$B"
    refused NoSuchBucket "${C[@]}" ls "s3://$B"
}

t "buckets: make, list, info" buckets
t "put and get: small and empty" put_get
t "put and get: --continue" get_continue
t "put and get: strange names" strange_names
t "multipart: put and get" multipart
t "pipes: of unknown size" pipe
t "sync: up, and again moves nothing" sync_up
t "sync: back is identical" sync_down
t "sync: --delete-removed" sync_delete
t "listing: folders, recursive, du" listing
t "copies: cp and mv" copy_move
t "metadata: modify" metadata
t "deletes: del, recursive, rb" delete
exit $bad
