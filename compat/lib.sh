# shellcheck shell=bash
# What the suites share: the server, the named cases, the clients' settings.
#
# $WORK is the client's own scratch folder, $TOP that of the whole run; $S3 is the endpoint, as http://127.0.0.1:PORT.

export SEDIMENT_ROOT_USER=compat-user SEDIMENT_ROOT_PASSWORD=compat-secret-password
export AWS_ACCESS_KEY_ID=$SEDIMENT_ROOT_USER AWS_SECRET_ACCESS_KEY=$SEDIMENT_ROOT_PASSWORD
export AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_PAGER=''
# Nothing of the person's own settings may change what is tested, or be changed.
export AWS_CONFIG_FILE=$WORK/aws-config AWS_SHARED_CREDENTIALS_FILE=$WORK/aws-credentials
export RCLONE_CONFIG=$WORK/rclone.conf RESTIC_CACHE_DIR=$WORK/restic-cache
export PATH=$TOOLS/bin:$PATH PYTHONDONTWRITEBYTECODE=1
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL http_proxy HTTP_PROXY
DATA=$TOP/data
export DATA

# Starts the server on free ports and waits until it says that it serves. Exports S3 and ADMIN.
server_start() {
    rm -f "$TOP/ready"
    "$SEDIMENT_BIN" serve --data "$DATA" --listen 127.0.0.1:0 --console 127.0.0.1:0 --ready-file "$TOP/ready" \
        >>"$TOP/server.log" 2>&1 &
    echo $! >"$TOP/server.pid"
    local deadline=$((SECONDS + 60))
    while [ ! -s "$TOP/ready" ]; do
        if ! kill -0 "$(cat "$TOP/server.pid")" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
            tail -40 "$TOP/server.log"
            return 1
        fi
        sleep 0.05
    done
    S3=$(jq -r .s3 "$TOP/ready") ADMIN=$(jq -r .admin "$TOP/ready")
    export S3 ADMIN
}

# server_end SIGNAL: sends it, and waits for the process of our own to be gone.
server_end() {
    [ -s "$TOP/server.pid" ] || return 0
    local pid deadline=$((SECONDS + 40))
    pid=$(cat "$TOP/server.pid")
    kill "-$1" "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null && [ $SECONDS -lt $deadline ]; do
        # A child of this shell stays a zombie until it is waited for.
        [ "$(awk '{print $3}' "/proc/$pid/stat" 2>/dev/null)" = Z ] && break
        sleep 0.05
    done
    if [ $SECONDS -ge $deadline ]; then
        kill -KILL "$pid" 2>/dev/null
        rm -f "$TOP/server.pid"
        return 1
    fi
    wait "$pid" 2>/dev/null
    rm -f "$TOP/server.pid"
}
server_kill() { server_end KILL; }

# version TEXT: the client's, for the table in README.md; of what a `--version` says, the first number with a dot.
version() { echo "version $(grep -oEm1 '[0-9]+(\.[0-9]+)+' <<<"$1" | head -1)"; }

# t 'FLOW: CASE' FUNCTION: one case, in a shell of its own that stops at the first command that fails.
t() {
    local name=$1 output status
    shift
    output=$(set -eE; trap 'echo "line $LINENO: $BASH_COMMAND"' ERR; "$@" 2>&1)
    status=$?
    if [ $status = 0 ]; then
        echo "ok $name"
    else
        echo "FAILED $name (status $status)"
        printf '%s\n' "$output" | tail -20 | sed 's/^/    /'
        bad=1
    fi
}

same() { [ "$1" = "$2" ] || { echo "expected: $2"; echo "found:    $1"; return 1; }; }
has() { [[ $1 == *"$2"* ]] || { echo "no '$2' in: $1"; return 1; }; }
# refused CODE COMMAND…: it fails, and says the S3 error code.
refused() {
    local code=$1 said
    shift
    if said=$("$@" 2>&1); then echo "was not refused: $*"; return 1; fi
    has "$said" "$code"
}
noise() { head -c "$1" /dev/urandom; }
s3() { aws --endpoint-url "$S3" s3 "$@"; }
api() { aws --endpoint-url "$S3" s3api "$@"; }

# A tree with what trips clients: empty files, spaces, unicode, deep folders, files around the sizes that matter.
make_tree() {
    mkdir -p "$1/a/b/c" "$1/with space" "$1/ünïcode"
    : >"$1/empty"
    : >"$1/a/empty too"
    echo hello >"$1/a/b/c/hello.txt"
    noise 1023 >"$1/a/1023"
    noise 1024 >"$1/a/1024"
    noise 70000 >"$1/with space/70 000.bin"
    seq 200000 >"$1/ünïcode/zahlen.txt"
    noise 9000000 >"$1/nine-megabytes"
    for i in $(seq 20); do echo "$i" >"$1/a/b/small-$i"; done
    for i in $(seq 5); do : >"$1/a/b/void-$i"; done
}
