#!/usr/bin/env bash
# Installs the system packages that a purpose needs and this machine lacks: bootstrap.sh [run|test|bench|ci]. Says what it does.
# On Debian and Ubuntu it uses apt (through sudo when not root); elsewhere it says what to install. Never touches what is there.
set -euo pipefail

purpose=${1:-run}
missing=() # Debian's names
reasons=()

need() { # need PACKAGE REASON TEST…: the package is missing unless the test succeeds
    local package=$1 reason=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        missing+=("$package")
        reasons+=("$package ($reason)")
    fi
}

have_postgresql() {
    local directory
    for directory in ${PATH//:/ } /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin; do
        if [ -x "$directory/initdb" ] && [ -x "$directory/postgres" ]; then
            [ "$("$directory/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')" -ge 15 ] && return 0
        fi
    done
    return 1
}

have_program() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1"; }

# Asks the system's Python, not one that a version manager put in front of it.
have_dkim() { /usr/bin/python3 -c 'import dkim'; }

case $purpose in
run | test | bench | ci) ;;
*)
    echo "usage: $0 [run|test|bench|ci]" >&2
    exit 2
    ;;
esac

need postgresql "the database" have_postgresql
need gcc "compiles the TLS library" have_program cc
need libc6-dev "compiles the TLS library" test -e /usr/include/stdlib.h -o "$(uname)" = Darwin
if [ "$purpose" != run ]; then
    need python3 "test and measuring scripts" have_program python3
fi
case $purpose in
test | ci)
    need redis-server "rate limits across processes" have_program redis-server
    need python3-dkim "checks our signatures independently" have_dkim
    ;;
bench)
    need postfix "what we measure ourselves beside, and its load generator" have_program smtp-source
    ;;
esac
if [ "$purpose" = ci ]; then
    need shellcheck "checks the scripts" have_program shellcheck
fi

if [ ${#missing[@]} -gt 0 ]; then
    if have_program apt-get >/dev/null; then
        echo "Installing with apt-get: ${reasons[*]}"
        as_root=()
        if [ "$(id -u)" != 0 ]; then
            if ! have_program sudo >/dev/null; then
                echo "Neither root nor sudo here. As root: apt-get install ${missing[*]}" >&2
                exit 1
            fi
            as_root=(sudo)
        fi
        "${as_root[@]}" apt-get update -qq
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "Please install: ${reasons[*]} (names of Debian packages; macOS: brew install postgresql@17 redis postfix is built in)" >&2
        exit 1
    fi
fi

if ! have_program cargo >/dev/null; then
    echo "Rust is missing: install it from https://rustup.rs, then try again." >&2
    exit 1
fi
if [ "$purpose" = ci ]; then
    for component in fmt clippy; do
        if ! cargo "$component" --version >/dev/null 2>&1; then
            echo "Adding the Rust component for cargo $component"
            rustup component add "${component/#fmt/rustfmt}"
        fi
    done
fi
