#!/usr/bin/env bash
# client: aws CLI
# needs: pypi awscli==1.46.3
# The aws CLI, version 1, with its default settings.
. "$COMPAT/lib.sh"
bad=0
version "$(aws --version)"
B=aws-compat-$RANDOM
make_tree "$WORK/aws-tree"
noise 100 >"$WORK/small"
noise 40000000 >"$WORK/large"

make_bucket() { s3 mb "s3://$B"; has "$(s3 ls)" "$B"; refused NoSuchBucket api list-objects-v2 --bucket "$B-none"; }
small() { s3 cp "$WORK/small" "s3://$B/dir/small"; s3 cp "s3://$B/dir/small" "$WORK/small.back"; cmp "$WORK/small" "$WORK/small.back"; }
etag_is_md5() { same "$(api head-object --bucket "$B" --key dir/small --query ETag --output text)" "\"$(md5sum <"$WORK/small" | cut -d' ' -f1)\""; }
large() {
    s3 cp --no-progress "$WORK/large" "s3://$B/large"
    s3 cp --no-progress "s3://$B/large" "$WORK/large.back"
    cmp "$WORK/large" "$WORK/large.back"
    has "$(api head-object --bucket "$B" --key large --query ETag --output text)" '-5"'
}
stream() { echo streamed | s3 cp - "s3://$B/streamed"; same "$(s3 cp "s3://$B/streamed" -)" streamed; }
server_copy() { s3 cp "s3://$B/large" "s3://$B/copied"; s3 cp --no-progress "s3://$B/copied" - | cmp - "$WORK/large"; }
# Empty files go out with Expect: 100-continue; a server that answers them wrongly makes this hang.
sync_up() {
    timeout 60 aws --endpoint-url "$S3" s3 sync "$WORK/aws-tree" "s3://$B/tree/"
    same "$(s3 ls --recursive "s3://$B/tree/" | wc -l)" "$(find "$WORK/aws-tree" -type f | wc -l)"
}
sync_idle() { same "$(s3 sync "$WORK/aws-tree" "s3://$B/tree/")" ""; }
sync_down() { timeout 60 aws --endpoint-url "$S3" s3 sync "s3://$B/tree/" "$WORK/aws-back"; diff -r "$WORK/aws-tree" "$WORK/aws-back"; }
sync_delete() {
    rm "$WORK/aws-tree/empty"; s3 sync --delete "$WORK/aws-tree" "s3://$B/tree/"
    refused 404 api head-object --bucket "$B" --key tree/empty
}
delimiter() {
    same "$(api list-objects-v2 --bucket "$B" --prefix tree/ --delimiter / --query 'CommonPrefixes[].Prefix' --output text)" "$(printf 'tree/a/\ttree/with space/\ttree/ünïcode/')"
    has "$(s3 ls "s3://$B/tree/")" "PRE with space/"
}
# Version 1 of the CLI presigns with signature version 2 unless it is told otherwise; version 2 does not know it any more.
presign() {
    refused 400 curl -fsS "$(s3 presign "s3://$B/large")"
    aws configure set default.s3.signature_version s3v4
    url=$(s3 presign "s3://$B/large" --expires-in 60); curl -fsS "$url" | cmp - "$WORK/large"
    same "$(curl -s -o /dev/null -w '%{http_code}' "${url%?}0x")" 403
    same "$(curl -s -o /dev/null -w '%{http_code}' "$S3/$B/large")" 403
}
range() { api get-object --bucket "$B" --key large --range bytes=1000000-1999999 "$WORK/part"; tail -c +1000001 "$WORK/large" | head -c 1000000 | cmp - "$WORK/part"; }
range_bad() { refused InvalidRange api get-object --bucket "$B" --key dir/small --range bytes=100- "$WORK/part"; }
if_none_match() { refused PreconditionFailed api put-object --bucket "$B" --key dir/small --body "$WORK/small" --if-none-match '*'; }
if_match() {
    refused PreconditionFailed api get-object --bucket "$B" --key dir/small --if-match '"0"' "$WORK/part"
    refused 304 api get-object --bucket "$B" --key dir/small --if-none-match "$(api head-object --bucket "$B" --key dir/small --query ETag --output text)" "$WORK/part"
}
versions() {
    api put-bucket-versioning --bucket "$B" --versioning-configuration Status=Enabled
    same "$(api get-bucket-versioning --bucket "$B" --query Status --output text)" Enabled
    for n in one two; do echo $n | s3 cp - "s3://$B/v"; done
    s3 rm "s3://$B/v"
    refused 404 api head-object --bucket "$B" --key v
    same "$(api list-object-versions --bucket "$B" --prefix v --query 'length(Versions)')" 2
    same "$(api list-object-versions --bucket "$B" --prefix v --query 'length(DeleteMarkers)')" 1
    old=$(api list-object-versions --bucket "$B" --prefix v --query 'Versions[1].VersionId' --output text)
    api get-object --bucket "$B" --key v --version-id "$old" "$WORK/part"; same "$(cat "$WORK/part")" one
    api delete-object --bucket "$B" --key v --version-id "$(api list-object-versions --bucket "$B" --prefix v --query 'DeleteMarkers[0].VersionId' --output text)"
    same "$(s3 cp "s3://$B/v" -)" two
}
abort() {
    id=$(api create-multipart-upload --bucket "$B" --key open --query UploadId --output text)
    api upload-part --bucket "$B" --key open --upload-id "$id" --part-number 1 --body "$WORK/small"
    same "$(api list-parts --bucket "$B" --key open --upload-id "$id" --query 'Parts[0].Size')" 100
    same "$(api list-multipart-uploads --bucket "$B" --query 'length(Uploads)')" 1
    api abort-multipart-upload --bucket "$B" --key open --upload-id "$id"
    refused NoSuchUpload api list-parts --bucket "$B" --key open --upload-id "$id"
}
remove() { s3 rm "s3://$B/dir/small"; refused 404 api head-object --bucket "$B" --key dir/small; s3 rm --recursive "s3://$B/tree/"; same "$(s3 ls "s3://$B/tree/" || true)" ""; }
bucket_not_empty() { refused BucketNotEmpty s3 rb "s3://$B"; }
bucket_gone() { s3 mb "s3://$B-2"; s3 rb "s3://$B-2"; refused 404 api head-bucket --bucket "$B-2"; }
bad_secret() { AWS_SECRET_ACCESS_KEY=wrong refused SignatureDoesNotMatch api list-buckets; AWS_ACCESS_KEY_ID=nobody refused InvalidAccessKeyId api list-buckets; }

t "buckets: make and list" make_bucket
t "objects: small" small
t "objects: ETag is the MD5" etag_is_md5
t "multipart: large object" large
t "pipes: from and to" stream
t "copies: large object on the server" server_copy
t "sync: a tree with empty files" sync_up
t "sync: again moves nothing" sync_idle
t "sync: back is identical" sync_down
t "sync: --delete" sync_delete
t "listing: delimiter" delimiter
t "presigned URLs: with curl" presign
t "ranges: middle" range
t "ranges: beyond the end" range_bad
t "conditions: put if-none-match" if_none_match
t "conditions: get if-match and if-none-match" if_match
t "multipart: open upload, parts, abort" abort
t "versions: and delete markers" versions
t "deletes: one and a tree" remove
t "buckets: a full one stays" bucket_not_empty
t "buckets: an empty one goes" bucket_gone
t "credentials: wrong ones are refused" bad_secret
exit $bad
