#!/bin/sh
# A node that carries for everyone and does nothing else. Usage: relay.sh [HOME]
# Needs `p2pnode` on PATH. Ends with Ctrl-C or SIGTERM; see README.md beside it.
set -eu

here=$(dirname "$0")
P2PNODE_HOME=${1:-"$HOME/p2pnode-relay"}
export P2PNODE_HOME

if [ ! -e "$P2PNODE_HOME/vault.key" ]; then
    mkdir -p "$P2PNODE_HOME"
    chmod 700 "$P2PNODE_HOME"
    [ -e "$P2PNODE_HOME/config.toml" ] || cp "$here/config.toml" "$P2PNODE_HOME/"
    p2pnode init --name relay --no-passphrase
fi

p2pnode run &
daemon=$!
trap 'kill "$daemon" 2>/dev/null || true' INT TERM
p2pnode wait-ready --timeout 60
p2pnode status
# a trap interrupts the first wait; the second hears how the daemon ended
wait "$daemon" || wait "$daemon"
