#!/usr/bin/env bash
# client: rclone
# needs: apt rclone
# rclone, from Debian.
. "$COMPAT/lib.sh"
bad=0
version "$(rclone version)"
B=rclone-compat-$RANDOM
printf '[s]\ntype = s3\nprovider = Other\naccess_key_id = %s\nsecret_access_key = %s\nendpoint = %s\nregion = us-east-1\nforce_path_style = true\n' \
    "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$S3" >"$RCLONE_CONFIG"
make_tree "$WORK/rclone-tree"
noise 30000000 >"$WORK/rclone-large"
# Debian's rclone cannot be given a bundle of authorities this way, and plain HTTP needs none.
unset AWS_CA_BUNDLE
R=(rclone --retries 1 --low-level-retries 2)

t "buckets: make and list" eval '"${R[@]}" mkdir "s:$B"; has "$("${R[@]}" lsd s:)" "$B"'
t "copy: a tree" "${R[@]}" copy "$WORK/rclone-tree" "s:$B/tree"
t "check: sizes and sums" "${R[@]}" check "$WORK/rclone-tree" "s:$B/tree"
t "check: every byte" "${R[@]}" check --download "$WORK/rclone-tree" "s:$B/tree"
t "multipart: copyto" eval '"${R[@]}" copyto --s3-upload-cutoff 5M --s3-chunk-size 5M "$WORK/rclone-large" "s:$B/large"; "${R[@]}" cat "s:$B/large" | cmp - "$WORK/rclone-large"'
t "cat: with an offset" eval '"${R[@]}" cat --offset 5000000 --count 4000000 "s:$B/large" | cmp - <(tail -c +5000001 "$WORK/rclone-large" | head -c 4000000)'
t "copy: modification times are kept" eval 'same "$("${R[@]}" copy -v "$WORK/rclone-tree" "s:$B/tree" 2>&1 | grep -c Copied || true)" 0'
t "sync: takes away" eval 'rm "$WORK/rclone-tree/a/1024"; "${R[@]}" sync "$WORK/rclone-tree" "s:$B/tree"; "${R[@]}" check "$WORK/rclone-tree" "s:$B/tree"'
t "moveto: on the server" eval '"${R[@]}" moveto "s:$B/large" "s:$B/moved"; "${R[@]}" cat "s:$B/moved" | cmp - "$WORK/rclone-large"; same "$("${R[@]}" lsf --files-only "s:$B" --include large)" ""'
t "copy: back is identical" eval '"${R[@]}" copy "s:$B/tree" "$WORK/rclone-back"; diff -r "$WORK/rclone-tree" "$WORK/rclone-back"'
t "buckets: purge" eval '"${R[@]}" purge "s:$B"; refused "not found" "${R[@]}" lsf "s:$B"'
exit $bad
