#!/bin/sh
# Installs what is missing of: cc postgres redis pgbouncer python node (the arguments say which are needed).
# With root or a sudo that asks for no password it runs apt-get; otherwise it prints the one line to run.
# When nothing is missing it only looks at a few paths.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

# True if one of the paths exists; an unmatched pattern does not.
any() {
    for path in "$@"; do
        if [ -e "$path" ]; then return 0; fi
    done
    return 1
}

has_postgres() {
    any "${SHARDWAY_PG_BIN:-/nonexistent}"/initdb /usr/lib/postgresql/*/bin/initdb || has initdb
}

has_redis() { any "${SHARDWAY_REDIS_SERVER:-/nonexistent}" || has redis-server || has valkey-server; }

# Debian has it in /usr/sbin, which is not in everybody's PATH.
has_pgbouncer() {
    any "${SHARDWAY_PGBOUNCER:-/nonexistent}" /usr/sbin/pgbouncer /usr/local/sbin/pgbouncer || has pgbouncer
}

# Debian has `venv` in python3 and what it needs in python3-venv. An environment that is there needs neither.
has_python() { any .venv/bin/pip || python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

packages=
need() { packages="$packages $*"; }

for wanted in "$@"; do
    case $wanted in
        cc) has cc || need gcc libc6-dev ;;
        postgres) has_postgres || need postgresql postgresql-contrib ;;
        redis) has_redis || need redis-server ;;
        pgbouncer) has_pgbouncer || need pgbouncer ;;
        python) has_python || need python3-venv ;;
        node) { has node && has npm; } || need nodejs npm ;;
        *) echo "install-deps.sh: unknown dependency: $wanted" >&2; exit 2 ;;
    esac
done

if ! has cargo; then
    echo "A Rust toolchain is missing: see https://rustup.rs" >&2
    exit 1
fi
if [ -z "$packages" ]; then exit 0; fi

by_hand() {
    echo "Missing:$packages. Please run:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$packages" >&2
    exit 1
}

if ! has apt-get; then
    echo "Missing (by their Debian names):$packages. Please install them." >&2
    exit 1
elif [ "$(id -u)" = 0 ]; then
    sudo=
elif has sudo && sudo -n true 2>/dev/null; then
    sudo='sudo -n'
else
    by_hand
fi

apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@"; }

# What was set is set again afterwards, however this ends, so that later installations on this machine behave as its
# owner expects.
undo=
finally() {
    undo="$1; $undo"
    trap "$undo" EXIT
    trap 'exit 130' INT TERM
}

# Debian makes a server of its own beside the programs, which nobody here needs.
settings=/etc/postgresql-common/createcluster.conf
restore_settings() { mv "$settings.before-shardway" "$settings"; }

without_main_cluster() {
    apt install --no-install-recommends postgresql-common
    cp -p "$settings" "$settings.before-shardway"
    finally restore_settings
    sed -i 's/^#* *create_main_cluster *=.*/create_main_cluster = false/' "$settings"
}

# PgBouncer's package starts a service, which nobody here needs either. This file is asked before a package may start
# one, with systemd and without; 101 says no.
policy=/usr/sbin/policy-rc.d
restore_policy() {
    if [ -e "$policy.before-shardway" ]; then
        $sudo mv "$policy.before-shardway" "$policy"
    else
        $sudo rm -f "$policy"
    fi
}

without_services() {
    if [ -e "$policy" ]; then $sudo mv "$policy" "$policy.before-shardway"; fi
    finally restore_policy
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
}

# Nor is it to start with the machine; update-rc.d speaks to systemd too, where there is one.
disable_service() { $sudo /usr/sbin/update-rc.d "$1" disable || true; }

echo "Installing:$packages"
apt update
case "$packages " in
    *" postgresql "*) if [ -z "$sudo" ]; then without_main_cluster; fi ;;
esac
case "$packages " in *" pgbouncer "*) without_services ;; esac
# Not quoted: several packages.
apt install --no-install-recommends $packages
case "$packages " in *" pgbouncer "*) disable_service pgbouncer ;; esac
