#!/usr/bin/env bash
# Ends the lab in RUN_DIR, whatever state it is in, and removes what it left. Keeps the logs.
#   down.sh RUN_DIR
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
case ${1:-} in /*) run=$1 ;; *) fail "usage: down.sh RUN_DIR, with an absolute directory" ;; esac
[ -e "$run/lock" ] || fail "no lab was ever in $run"
cd "$run"

is_ours() { # the number may be somebody else's by now
    tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF "inside.sh $run "
}
free() { flock -n lock true; } # nobody holds it: all is over

pid=
if [ -e lab.pid ]; then pid=$(cat lab.pid); fi # none: it was ended before it had a first process
# With it ends the first process of the namespace, and with that all others.
if [ -n "$pid" ] && is_ours "$pid"; then kill -KILL "$pid"; fi
wait_for 30 "the lab's processes end" free

if [ -e cgroup ]; then
    name=$(cat cgroup)
    gone() {
        find /sys/fs/cgroup -depth -type d \( -path "*/$name" -o -path "*/$name/*" \) -exec rmdir {} +
        ! compgen -G "/sys/fs/cgroup/*/$name" && [ ! -d "/sys/fs/cgroup/$name" ]
    }
    wait_for 30 "the lab's control groups are empty" gone
fi
rm -rf --one-file-system etcd pki cni containerd kubelet volumes kernel log cgroup ready ports token ca.crt admin.conf \
    enter kubectl init.pid lab.pid hold.* ./*.yaml containerd.toml
rm -f lock
