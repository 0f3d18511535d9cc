#!/usr/bin/env bash
# client: restic
# needs: apt restic
# restic, from Debian: a repository in a bucket.
. "$COMPAT/lib.sh"
bad=0
version "$(restic version)"
export RESTIC_REPOSITORY=s3:$S3/restic-compat-$RANDOM/repo RESTIC_PASSWORD=compat
make_tree "$WORK/restic-tree"
R=(restic --quiet)
id() { restic snapshots --json | jq -r ".[$1].short_id"; }

t "init: repository" "${R[@]}" init
t "backup: first" eval 'cd "$WORK/restic-tree"; "${R[@]}" backup .'
cp -a "$WORK/restic-tree" "$WORK/restic-first"
echo changed >>"$WORK/restic-tree/ünïcode/zahlen.txt"
rm "$WORK/restic-tree/empty"
noise 3000000 >"$WORK/restic-tree/new"
t "backup: second" eval 'cd "$WORK/restic-tree"; "${R[@]}" backup .; same "$(restic snapshots --json | jq length)" 2'
t "check: --read-data" "${R[@]}" check --read-data
t "restore: latest" eval '"${R[@]}" restore latest --target "$WORK/restic-new"; diff -r "$WORK/restic-tree" "$WORK/restic-new"'
t "restore: first" eval '"${R[@]}" restore "$(id 0)" --target "$WORK/restic-old"; diff -r "$WORK/restic-first" "$WORK/restic-old"'
t "forget and prune: keep the last" eval '"${R[@]}" forget --keep-last 1 --prune; same "$(restic snapshots --json | jq length)" 1'
t "check: after prune" "${R[@]}" check --read-data
t "restore: after prune" eval '"${R[@]}" restore latest --target "$WORK/restic-kept"; diff -r "$WORK/restic-tree" "$WORK/restic-kept"'
exit $bad
