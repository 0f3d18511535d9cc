#!/usr/bin/env bash
# client: pgBackRest
# needs: apt pgbackrest
# needs: apt postgresql:pg_ctlcluster
# needs: apt socat
# needs: apt openssl
# pgBackRest: full, differential and incremental backups of a PostgreSQL that is written. Its S3 client speaks HTTPS only, so a
# proxy ends TLS in front of the gateway, as it would in production.
. "$COMPAT/lib.sh"
. "$COMPAT/postgres.sh"
bad=0
version "$(pgbackrest version)"
B=pgbackrest-compat-$RANDOM
api create-bucket --bucket "$B" >/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$WORK/key" -out "$WORK/certificate" 2>/dev/null
socat -d -d OPENSSL-LISTEN:0,bind=127.0.0.1,fork,verify=0,cert="$WORK/certificate",key="$WORK/key" "TCP:${S3#http://}" 2>"$WORK/socat.log" &
proxy=$!
trap 'kill $proxy; for name in source restored earlier; do [ ! -e "$WORK/$name/postmaster.pid" ] || pg_stop "$name" immediate; done' EXIT
listening() { sed -nE 's/.*listening on .*127\.0\.0\.1:([0-9]+)$/\1/p' "$WORK/socat.log"; }
until [ -n "$(listening)" ]; do
    kill -0 $proxy 2>/dev/null || { cat "$WORK/socat.log"; exit 1; }
    sleep 0.1
done

mkdir "$WORK/spool" "$WORK/lock"
cat >"$WORK/pgbackrest.conf" <<CONF
[global]
repo1-type=s3
repo1-path=/deep/repo
repo1-s3-bucket=$B
repo1-s3-endpoint=s3.$AWS_DEFAULT_REGION.amazonaws.com
repo1-s3-region=$AWS_DEFAULT_REGION
repo1-s3-key=$AWS_ACCESS_KEY_ID
repo1-s3-key-secret=$AWS_SECRET_ACCESS_KEY
repo1-s3-uri-style=path
repo1-storage-host=127.0.0.1
repo1-storage-port=$(listening)
repo1-storage-verify-tls=n
repo1-retention-full=1
repo1-bundle=y
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=compat
process-max=2
start-fast=y
log-level-file=off
log-level-console=warn
spool-path=$WORK/spool
lock-path=$WORK/lock
[main]
pg1-path=$WORK/source
pg1-socket-path=$WORK/source.socket
pg1-user=postgres
CONF
P=(pgbackrest "--config=$WORK/pgbackrest.conf" --stanza=main)
# As the same nobody that PostgreSQL is, whose files it reads and writes.
pgb() { as_nobody "${P[@]}" "$@"; }
info() { pgb --output=json info | jq -c "$1"; }

stanza() { pgb stanza-create; pgb check; same "$(info '[.[0].status.code, .[0].name]')" '[2,"main"]'; }
full() {
    # Rows go on being written until the backup has ended.
    for _ in $(seq 5000); do [ -e "$WORK/stop" ] || fill source 50; done >/dev/null 2>&1 &
    pgb --type=full backup || status=$?
    : >"$WORK/stop"
    wait $!
    same "${status:-0}" 0
    same "$(info '.[0].backup | map(.type)')" '["full"]'
}
steps() {
    fill source 5000
    pgb --type=diff backup
    fill source 5000
    pgb --type=incr backup
    same "$(info '.[0].backup | map(.type)')" '["full","diff","incr"]'
}
verify() { pgb verify; }
latest() {
    rows source >"$WORK/then"
    sql source "SELECT pg_create_restore_point('then')"
    fill source 20000
    rows source >"$WORK/now"
    pg_archived source
    mkdir "$WORK/restored"
    pgb "--pg1-path=$WORK/restored" --archive-mode=off restore
    pg_recover restored
    same "$(rows restored)" "$(cat "$WORK/now")"
    pg_stop restored
}
delta() {
    # Some of it is damaged and some is gone: a delta restore brings back that only.
    printf damaged | dd of="$WORK/restored/$(cat "$WORK/table")" bs=1 seek=9000 conv=notrunc status=none
    rm "$WORK/restored/global/pg_filenode.map"
    pgb "--pg1-path=$WORK/restored" --archive-mode=off --delta --type=name --target=then restore
    pg_recover restored
    same "$(rows restored)" "$(cat "$WORK/then")"
    pg_stop restored
}
expiry() {
    pgb --type=full backup
    same "$(info '.[0].backup | map(.type)')" '["full"]'
    pgb verify
    refused 'is not valid' pgb "--set=$(cat "$WORK/first")" "--pg1-path=$WORK/earlier" restore
}

pg_create source 'archive_mode = on' "archive_command = '${P[*]} archive-push %p'" || exit 1
sql source "SELECT pg_relation_filepath('t')" >"$WORK/table"
t "stanza: create and check" stanza
t "backup: full, while it is written" full
info '.[0].backup[0].label' | tr -d '"' >"$WORK/first"
t "backup: differential and incremental" steps
t "verify: every file" verify
t "restore: latest" latest
t "restore: point in time, by delta" delta
t "expiry: backups and log" expiry
exit $bad
