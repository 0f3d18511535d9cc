# shellcheck shell=bash
# For clients that back PostgreSQL up: clusters of their own in $WORK, on Unix sockets. Sourced after lib.sh.

PG=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -1)
[ -x "$PG/postgres" ] || { echo "there is no PostgreSQL server below /usr/lib/postgresql"; exit 1; }

# PostgreSQL refuses to run as root. In a user namespace of its own, root is nobody, and the same files are nobody's.
as_nobody() { if [ "$(id -u)" = 0 ]; then unshare --user --map-user=65534 -- "$@"; else "$@"; fi; }
pg_start() { mkdir -p "$WORK/$1.socket"; as_nobody "$PG/pg_ctl" -D "$WORK/$1" -l "$WORK/$1.log" -o "-k $WORK/$1.socket -c listen_addresses=''" -t 120 -w start >/dev/null || { tail -20 "$WORK/$1.log"; return 1; }; }
pg_stop() { as_nobody "$PG/pg_ctl" -D "$WORK/$1" -m "${2:-fast}" -w stop >/dev/null; }
# sql CLUSTER STATEMENT
sql() { psql -h "$WORK/$1.socket" -U postgres -AtqX -v ON_ERROR_STOP=1 -c "$2"; }
# rows CLUSTER: all that it has, as a digest after their number.
rows() { sql "$1" 'SELECT count(*) FROM t'; sql "$1" 'COPY (SELECT * FROM t ORDER BY id) TO STDOUT' | sha256sum; }
# fill CLUSTER NUMBER: rows that do not compress well, each with the next id.
fill() { sql "$1" "INSERT INTO t (body) SELECT md5(random()::text) || md5(random()::text) FROM generate_series(1, $2)"; }

# pg_create CLUSTER SETTING…: starts it, with a table of 100,000 rows.
pg_create() {
    local name=$1
    shift
    as_nobody "$PG/initdb" -D "$WORK/$name" -U postgres -A trust -E UTF8 --no-sync >/dev/null || return 1
    printf '%s\n' 'fsync = off' 'wal_level = replica' "$@" >>"$WORK/$name/postgresql.conf"
    pg_start "$name" && sql "$name" 'CREATE TABLE t (id bigserial PRIMARY KEY, body text)' && fill "$name" 100000
}

# pg_archived CLUSTER: ends the segment that is being written, and waits until it has been archived.
pg_archived() {
    local wal deadline=$((SECONDS + 60))
    wal=$(sql "$1" 'SELECT pg_walfile_name(pg_switch_wal())')
    until [ "$(sql "$1" "SELECT last_archived_wal >= '$wal' FROM pg_stat_archiver")" = t ]; do
        [ $SECONDS -lt $deadline ] || { sql "$1" 'SELECT * FROM pg_stat_archiver'; tail -5 "$WORK/$1.log"; return 1; }
        sleep 0.1
    done
}

# pg_recover CLUSTER SETTING…: starts what was restored and waits until it has replayed and takes writes.
pg_recover() {
    local name=$1 deadline=$((SECONDS + 120))
    shift
    printf '%s\n' 'archive_mode = off' "recovery_target_action = 'promote'" "$@" >>"$WORK/$name/postgresql.auto.conf"
    touch "$WORK/$name/recovery.signal"
    chmod 700 "$WORK/$name"
    pg_start "$name" || return 1
    until [ "$(sql "$name" 'SELECT pg_is_in_recovery()')" = f ]; do
        [ $SECONDS -lt $deadline ] || { tail -20 "$WORK/$name.log"; return 1; }
        sleep 0.1
    done
}
