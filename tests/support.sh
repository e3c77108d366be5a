# What the commands that test share; they source it. It wants the folder of the project as the present one, and sets traps.
# shellcheck shell=bash

tools="$PWD/target/tools"
program="tests/$(basename "$0")"
needs=""
cluster=""
server=""

# Whatever ends the command also ends what it has started.
clean_up_at_the_end() {
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

say() { printf '%s: %s\n' "$program" "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Packages of the list in $needs that are not there. A line of it: the Debian package, and a command that succeeds where it
# is there.
missing_packages() {
    local package check
    while read -r package check; do
        [ -n "$package" ] || continue
        eval "$check" </dev/null >/dev/null 2>&1 || printf '%s ' "$package"
    done <<<"$needs"
}

bring_packages() {
    command -v cargo >/dev/null || fail "no \`cargo\`: install a Rust toolchain first (see rust-version in Cargo.toml)"

    local missing as_root=()
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0

    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || fail_without "$missing"
        as_root=(sudo -n)
    fi
    command -v apt-get >/dev/null || fail_without "$missing"

    say "installing $missing"
    "${as_root[@]}" apt-get update -qq
    # shellcheck disable=SC2086 # one word per package
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing >/dev/null </dev/null

    missing=$(missing_packages)
    [ -z "$missing" ] || fail_without "$missing"
}

fail_without() {
    fail "these Debian packages are missing: $1
Install them and start again:
    sudo apt-get update && sudo apt-get install --no-install-recommends $1"
}

# A real SMTP server for the mail tests; readers of calendars, workbooks, signatures and events that share nothing with what
# wrote them; in a virtual environment of their own.
bring_python() {
    local python="$tools/venv/bin/python"
    export EVENTFERRY_PYTHON="$python"
    "$python" -c 'import aiosmtpd, cloudevents, icalendar, openpyxl, standardwebhooks' 2>/dev/null && return 0

    say "installing what tests/it/support/requirements.txt names into target/tools/venv"
    rm -rf "$tools/venv"
    mkdir -p "$tools"
    python3 -m venv "$tools/venv"
    "$python" -m pip install --quiet --disable-pip-version-check --requirement tests/it/support/requirements.txt ||
        fail "cannot install it: the package index of Python must be reachable once"
}

start_postgres() {
    local bin user=() password port attempt
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    # PostgreSQL refuses to run as root. Whoever runs it, it ends with this script, even where that is killed.
    if [ "$(id -u)" -eq 0 ]; then
        user=(setpriv --reuid=postgres --regid=postgres --init-groups)
    fi

    cluster=$(mktemp -d "${TMPDIR:-/tmp}/eventferry-postgres.XXXXXX")
    # The password keeps other users of this machine out of a server that would run programs for them.
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    printf '%s\n' "$password" >"$cluster/password"
    if [ "$(id -u)" -eq 0 ]; then chown -R postgres: "$cluster"; fi

    (cd "$cluster" && "${user[@]}" "$bin/initdb" -D data -U postgres -A scram-sha-256 --pwfile=password \
        -E UTF8 --locale=C -N >initdb.log 2>&1) || fail_postgres initdb.log

    for attempt in 1 2 3 4 5; do
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        # Without fsync a killed server loses nothing; only a power cut does.
        (cd "$cluster" && exec setpriv --pdeathsig INT "${user[@]:1}" "$bin/postgres" -D data -k "$cluster" -p "$port" \
            -c listen_addresses=127.0.0.1 -c max_connections=200 -c shared_buffers=64MB \
            -c fsync=off -c full_page_writes=off) </dev/null >"$cluster/server.log" 2>&1 &
        server=$!
        if wait_for_postgres "$bin" "$port"; then
            export EVENTFERRY_TEST_POSTGRES="postgres://postgres:$password@127.0.0.1:$port/postgres"
            export EVENTFERRY_TEST_PSQL="$bin/psql"
            return 0
        fi
        say "PostgreSQL did not start on port $port (attempt $attempt of 5)"
    done
    fail_postgres server.log
}

wait_for_postgres() {
    local patience
    for ((patience = 0; patience < 600; patience++)); do
        kill -0 "$server" 2>/dev/null || return 1
        "$1/pg_isready" -q -h 127.0.0.1 -p "$2" && return 0
        sleep 0.05
    done
    return 1
}

fail_postgres() {
    cat "$cluster/$1" >&2
    fail "cannot start PostgreSQL: its last words are above"
}

clean_up() {
    if [ -n "$server" ]; then
        kill -INT "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [ -n "$cluster" ]; then rm -rf "$cluster"; fi
}
