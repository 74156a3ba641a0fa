#!/bin/sh
# As the official images do it, in short: a server of its own, made at the first start.
set -eu
[ "$1" = postgres ] || exec "$@"
[ -s "$PGDATA/PG_VERSION" ] || initdb --username=postgres --auth=trust >/dev/null
exec "$@"
