#!/usr/bin/env bash
# client: Barman (barman-cloud)
# needs: apt postgresql:pg_ctlcluster
# needs: pypi --no-deps
# needs: pypi barman==3.19.1
# needs: pypi psycopg2-binary==2.9.11
# needs: pypi boto3==1.44.8
# needs: pypi botocore==1.44.8
# needs: pypi jmespath==1.1.0
# needs: pypi python-dateutil==2.9.0.post0
# needs: pypi s3transfer==0.19.3
# needs: pypi six==1.17.0
# needs: pypi urllib3==2.8.0
# barman-cloud-*: a PostgreSQL archives its log and is backed up while it is written, and comes back elsewhere. The packages are
# listed one by one because Barman asks for psycopg2, which compiles; this is the same with its library.
. "$COMPAT/lib.sh"
. "$COMPAT/postgres.sh"
bad=0
version "$(barman-cloud-backup --version)"
B=barman-compat-$RANDOM
CLOUD=(--endpoint-url "$S3" --cloud-provider aws-s3)
TO=("s3://$B/deep/barman" main)
api create-bucket --bucket "$B" >/dev/null
trap 'for name in source restored earlier; do [ ! -e "$WORK/$name/postmaster.pid" ] || pg_stop "$name" immediate; done' EXIT
FETCH="restore_command = 'barman-cloud-wal-restore ${CLOUD[*]} ${TO[*]} %f %p'"

backup() { barman-cloud-backup "${CLOUD[@]}" -h "$WORK/source.socket" -U postgres --immediate-checkpoint "$@" "${TO[@]}"; }
backups() { barman-cloud-backup-list "${CLOUD[@]}" --format json "${TO[@]}" | jq -c "$1"; }
first() {
    # Rows go on being written until the backup has ended.
    for _ in $(seq 5000); do [ -e "$WORK/stop" ] || fill source 50; done >/dev/null 2>&1 &
    backup --name monday --jobs 2 || status=$?
    : >"$WORK/stop"
    wait $!
    same "${status:-0}" 0
    same "$(backups '[.backups_list[] | .status, .backup_name]')" '["DONE","monday"]'
}
archive() {
    rows source >"$WORK/then"
    sql source "SELECT pg_create_restore_point('then')"
    fill source 20000
    rows source >"$WORK/now"
    pg_archived source
    # Segments are counted from 1, in hexadecimal.
    last=$(sql source 'SELECT last_archived_wal FROM pg_stat_archiver')
    same "$(api list-objects-v2 --bucket "$B" --prefix deep/barman/main/wals/ --query 'Contents[].Key' --output json | grep -cE '/[0-9A-F]{24}"')" $((16#${last: -8}))
}
latest() {
    barman-cloud-restore "${CLOUD[@]}" "${TO[@]}" monday "$WORK/restored"
    pg_recover restored "$FETCH"
    same "$(rows restored)" "$(cat "$WORK/now")"
    pg_stop restored
}
point_in_time() {
    barman-cloud-restore "${CLOUD[@]}" "${TO[@]}" monday "$WORK/earlier"
    pg_recover earlier "$FETCH" "recovery_target_name = 'then'"
    same "$(rows earlier)" "$(cat "$WORK/then")"
    pg_stop earlier
}
retention() {
    backup --name tuesday --gzip
    barman-cloud-backup-keep "${CLOUD[@]}" --target full "${TO[@]}" monday
    barman-cloud-backup-delete "${CLOUD[@]}" --retention-policy 'REDUNDANCY 1' "${TO[@]}"
    same "$(backups '[.backups_list[].backup_name] | sort')" '["monday","tuesday"]'
    barman-cloud-backup-keep "${CLOUD[@]}" --release "${TO[@]}" monday
    barman-cloud-backup-delete "${CLOUD[@]}" --retention-policy 'REDUNDANCY 1' "${TO[@]}"
    same "$(backups '[.backups_list[].backup_name]')" '["tuesday"]'
    same "$(api list-objects-v2 --bucket "$B" --prefix deep/barman/main/base/ --query 'length(Contents[?contains(Key, `backup.info`)])')" 1
}

t "WAL archive: an empty one is accepted" barman-cloud-check-wal-archive "${CLOUD[@]}" "${TO[@]}"
pg_create source 'archive_mode = on' "archive_command = 'barman-cloud-wal-archive ${CLOUD[*]} ${TO[*]} %p'" || exit 1
t "base backup: while it is written" first
t "WAL archive: every segment" archive
t "restore: base backup and log" latest
t "restore: point in time" point_in_time
t "retention: keep, release, delete" retention
exit $bad
