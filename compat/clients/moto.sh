#!/usr/bin/env bash
# server: moto
# needs: pypi moto[server]==5.2.5
# Backups go to another kind of S3 server, in memory: made, verified, pruned, and restored, also while it is served.
. "$COMPAT/lib.sh"
bad=0
[ -n "${SEDIMENT_BIN:-}" ] || { echo "not run: backup to moto, because the binary is not at hand"; exit; }
version "$(python -c 'import importlib.metadata as m; print(m.version("moto"))')"
B=$SEDIMENT_BIN KEY=$WORK/backup.key near=$WORK/near
export SEDIMENT_BACKUP__BUCKET=backups SEDIMENT_BACKUP__PREFIX=gateways/one SEDIMENT_BACKUP__KEY_FILE=$KEY
export SEDIMENT_BACKUP__ACCESS_KEY=moto-user SEDIMENT_BACKUP__SECRET_KEY=moto-secret-key
pids=()
trap 'kill -KILL "${pids[@]}" 2>/dev/null' EXIT

# shown FILE PATTERN: waits until the file has it, and prints it.
shown() {
    local deadline=$((SECONDS + 60))
    until grep -oEm1 "$2" "$1" 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || { tail -20 "$1" >&2; return 1; }
        sleep 0.1
    done
}
moto_server -H 127.0.0.1 -p 0 >"$WORK/moto.log" 2>&1 &
pids+=($!)
MOTO=$(shown "$WORK/moto.log" 'http://127[0-9.:]+') || exit 1
export SEDIMENT_BACKUP__ENDPOINT=$MOTO

# serve DIR BACKUP: a gateway of our own; exports S3. What is restored does not go on with the backup: that would be its newest branch.
serve() {
    rm -f "$WORK/ready"
    SEDIMENT_BACKUP__ENABLED=$2 "$B" serve --data "$1" --listen 127.0.0.1:0 --console 127.0.0.1:0 --ready-file "$WORK/ready" >>"$WORK/serve.log" 2>&1 &
    server=$!
    pids+=($server)
    shown "$WORK/ready" '}' >/dev/null && S3=$(jq -r .s3 "$WORK/ready") && export S3
}
end() { kill -TERM $server && wait $server; }
# told JQ ARGUMENTS…: the last line that `sediment` prints is so.
told() { local so=$1; shift; "$B" "$@" --json | tail -1 | tee "$WORK/told.json" | jq -e "$so"; }
tree() { rm -rf "$WORK/got"; s3 sync --no-progress s3://data "$WORK/got" >/dev/null; diff -r "$1" "$WORK/got"; }
keep=(--set backup_retention.keep_last=1 --set backup_retention.retention_days=0 --set backup_retention.window=
    --set backup_retention.grace_seconds=0)

"$B" backup key --out "$KEY" >/dev/null
AWS_ACCESS_KEY_ID=moto-user AWS_SECRET_ACCESS_KEY=moto-secret-key aws --endpoint-url "$MOTO" s3 mb s3://backups >/dev/null
t "backup: the bucket is fit" told '.findings | map(select(.what == "writes" and .state == "ok")) | length == 1' backup check --data "$near"
make_tree "$WORK/first"
serve "$near" true || exit 1
s3 mb s3://data >/dev/null
s3 sync --no-progress "$WORK/first" s3://data >/dev/null
t "backup: by the server" told '.remote_bytes > 9000000' backup run --data "$near"
seq=$(jq .seq "$WORK/told.json")
cp -a "$WORK/first" "$WORK/second"
rm "$WORK/second/a/1024"
noise 12000000 >"$WORK/second/new"
s3 sync --no-progress --delete "$WORK/second" s3://data >/dev/null
t "backup: what is new" told '.remote_bytes > 21000000' backup run --data "$near"
end
t "backup: without a server, full" told '.is_full and .sent_bytes < 1000000' backup run --full --data "$near"
t "verify: all bytes" told '.read_objects > 5' backup verify --read-data --all --data "$near"
t "restore: the latest" eval '"$B" restore --latest --data "$WORK/latest"; "$B" fsck --deep --data "$WORK/latest"'
serve "$WORK/latest" false
t "restore: the latest, compared" tree "$WORK/second"
end
t "restore: an earlier moment" "$B" restore --seq "$seq" --data "$WORK/earlier"
serve "$WORK/earlier" false
t "restore: an earlier moment, compared" tree "$WORK/first"
end
t "prune: all but the last" told '.snapshots_deleted > 0' backup prune "${keep[@]}" --data "$near"
t "verify: after prune" eval '"$B" backup verify --read-data --all --data "$near"'
t "restore: lazily, after prune" eval '"$B" restore --latest --lazy --data "$WORK/lazy"'
serve "$WORK/lazy" false
t "restore: lazily, compared while it is served" tree "$WORK/second"
end
exit $bad
