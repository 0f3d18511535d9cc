#!/usr/bin/env bash
# client: s3fs-fuse
# needs: apt s3fs
# s3fs: a bucket as a file system. It needs /dev/fuse; without it only what needs no mount is run, and the rest is said to be not run.
. "$COMPAT/lib.sh"
bad=0
version "$(s3fs --version)"
B=s3fs-compat-$RANDOM
M=$WORK/mount
FUSERMOUNT=$(command -v fusermount3 fusermount | head -1)
# Its HTTP client cannot be given a bundle of authorities this way, and plain HTTP needs none.
unset AWS_CA_BUNDLE
printf '%s:%s' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >"$WORK/password"
chmod 600 "$WORK/password"
OPTIONS=(-o "passwd_file=$WORK/password,url=$S3,use_path_request_style,endpoint=$AWS_DEFAULT_REGION,retries=1")
api create-bucket --bucket "$B" >/dev/null
make_tree "$WORK/tree"
ln -s a/b/c/hello.txt "$WORK/tree/link"
chmod 640 "$WORK/tree/a/1023"
noise 31000000 >"$WORK/large"

open_uploads() {
    api create-multipart-upload --bucket "$B" --key left/open >/dev/null
    has "$(s3fs --incomplete-mpu-list "$B" "${OPTIONS[@]}")" left/open
    s3fs --incomplete-mpu-abort=all "$B" "${OPTIONS[@]}"
    same "$(api list-multipart-uploads --bucket "$B" --query 'Uploads || `[]`')" '[]'
}
# In the foreground, as a child that can be waited for, and nothing kept from one mount to the next.
mount_it() {
    s3fs "$B" "$M" "${OPTIONS[@]}" -o multipart_size=5,max_stat_cache_size=0,enable_noobj_cache -f >>"$WORK/s3fs.log" 2>&1 &
    mounted=$!
    local deadline=$((SECONDS + 20))
    until mountpoint -q "$M"; do
        { [ $SECONDS -lt $deadline ] && kill -0 $mounted 2>/dev/null; } || return 1
        sleep 0.1
    done
}
unmount() { "$FUSERMOUNT" -u "$M" && wait $mounted; }
remount() { unmount && mount_it; }
object() { s3 cp --no-progress "s3://$B/$1" -; }

tree_up() { cp -a "$WORK/tree" "$M/"; diff -r "$WORK/tree" "$M/tree"; object tree/nine-megabytes | cmp - "$WORK/tree/nine-megabytes"; }
tree_back() {
    diff -r "$WORK/tree" "$M/tree"
    same "$(readlink "$M/tree/link")" a/b/c/hello.txt
    same "$(stat -c '%a %Y' "$M/tree/a/1023")" "$(stat -c '%a %Y' "$WORK/tree/a/1023")"
}
large() { cp "$WORK/large" "$M/large"; cmp "$WORK/large" "$M/large"; object large | cmp - "$WORK/large"; }
# Only the parts that change are sent; the others are copied on the server.
in_place() {
    for place in "$WORK/large" "$M/large"; do
        printf 'in the middle' | dd of="$place" bs=1 seek=12345678 conv=notrunc status=none
        noise_end >>"$place"
    done
    cmp "$WORK/large" "$M/large"
    object large | cmp - "$WORK/large"
}
noise_end() { seq 100000; }
truncated() { truncate -s 1000 "$M/tree/a/b/c/hello.txt"; object tree/a/b/c/hello.txt | cmp - <(echo hello; head -c 994 /dev/zero); }
renames() {
    mv "$M/large" "$M/tree/renamed"
    object tree/renamed | cmp - "$WORK/large"
    mv "$M/tree/a" "$M/tree/moved"
    diff -r "$WORK/tree/a/b" "$M/tree/moved/b" --exclude hello.txt
    refused 404 api head-object --bucket "$B" --key large
}
from_outside() { echo outside | s3 cp - "s3://$B/outside/new"; same "$(cat "$M/outside/new")" outside; }
removal() { rm -r "${M:?}"/*; same "$(ls "$M")" ""; same "$(s3 ls --recursive "s3://$B" || true)" ""; }

t "open uploads: listed and aborted" open_uploads
if ! (: </dev/fuse) 2>"$WORK/why"; then
    echo "not run: whatever needs a mount, because $(sed 's/.*line [0-9]*: //' "$WORK/why")"
    exit $bad
fi
mkdir "$M"
trap 'mountpoint -q "$M" && "$FUSERMOUNT" -uz "$M"' EXIT
mount_it || { echo "s3fs did not mount:"; tail -20 "$WORK/s3fs.log"; exit 1; }
t "trees: up" tree_up
remount || exit 1
t "trees: the same after mounting again, with modes, times, links" tree_back
t "multipart: 31 MB" large
t "changes in place: a few bytes, appending" in_place
t "changes in place: truncated" truncated
t "renames: a file, a folder" renames
t "objects from outside: seen" from_outside
remount || exit 1
t "removal: everything" removal
unmount || { echo "FAILED unmount: it did not end well"; bad=1; }
exit $bad
