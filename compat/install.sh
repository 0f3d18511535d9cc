# shellcheck shell=bash
# Installs what the wanted clients say that they need, in lines such as these near the top of their files:
#
#   # needs: apt restic            a Debian package; PACKAGE:COMMAND where the command has another name
#   # needs: pypi minio==7.2.20    into $TOOLS/CLIENT, a Python environment of the client's own
#   // needs: npm minio@8.0.5      into $TOOLS/CLIENT/node_modules
#   # needs: go github.com/peak/s5cmd/v2@v2.3.0     into $TOOLS/CLIENT/bin
#   # needs: cargo s3s-e2e@0.14.1                   into $TOOLS/CLIENT/bin
#   # needs: client boto3         nothing of its own: what that client has
#   # needs: crate object_store     compat/object_store, built in $TOOLS/CLIENT/target
#
# What was installed is noted in $TOOLS/CLIENT/needs, so that a changed pin installs anew and nothing else does.

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# needs CLIENT KIND: what it names of that kind, one a line here, one or many there.
needs() { sed -nE "s@^(#|//) needs: $2 @@p" "${file[$1]}" | tr ' ' '\n'; }

# home CLIENT: the folder with its tools.
home() {
    local other
    other=$(needs "$1" client)
    echo "$TOOLS/${other:-$1}"
}

install_apt() {
    local suite need missing=() # of `needed`, which install_all sets
    for need in curl jq $(for suite in $needed; do needs "$suite" apt; done); do
        command -v "${need##*:}" >/dev/null || missing+=("${need%%:*}")
    done
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    [ ${#missing[@]} != 0 ] || return 0
    echo "installing from Debian: ${missing[*]}"
    as_root apt-get update -qq || echo "apt-get update failed; trying with the lists at hand"
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        { echo "cannot install: ${missing[*]}"; return 1; }
}

# install_into CLIENT: the packages of one client, in its own folder.
install_into() {
    local home=$TOOLS/$1 pypi npm go cargo want need
    mapfile -t pypi < <(needs "$1" pypi)
    mapfile -t npm < <(needs "$1" npm)
    mapfile -t go < <(needs "$1" go)
    mapfile -t cargo < <(needs "$1" cargo)
    want="${pypi[*]} ${npm[*]} ${go[*]} ${cargo[*]}"
    for need in $(needs "$1" crate); do
        cargo build --locked --quiet --manifest-path "$COMPAT/$need/Cargo.toml" --target-dir "$home/target" || return 1
    done
    [ "$want" != "   " ] || return 0
    [ "$(cat "$home/needs" 2>/dev/null)" != "$want" ] || return 0
    echo "installing for $1: $want"
    rm -rf "$home"
    mkdir -p "$home" || return 1
    if [ ${#pypi[@]} != 0 ]; then
        python3 -m venv "$home" && "$home/bin/pip" install -q --disable-pip-version-check "${pypi[@]}" || return 1
    fi
    if [ ${#npm[@]} != 0 ]; then
        npm install --prefix "$home" --silent --no-audit --no-fund "${npm[@]}" || return 1
    fi
    for need in "${go[@]}"; do GOBIN=$home/bin go install "$need" || return 1; done
    for need in "${cargo[@]}"; do cargo install --locked --quiet --root "$home" "$need" || return 1; done
    echo "$want" >"$home/needs"
}

# The aws CLI comes always, as $TOOLS/bin/aws: suites in shell look with it at what their client did.
install_all() {
    local suite needed=aws
    for suite in $wanted; do [ "$suite" = store ] || needed+=" $suite $(needs "$suite" client)"; done
    install_apt || return 1
    for suite in $needed; do
        install_into "$suite" || { echo "cannot install $suite"; return 1; }
    done
    mkdir -p "$TOOLS/bin" && ln -sf "$TOOLS/aws/bin/aws" "$TOOLS/bin/aws"
}
