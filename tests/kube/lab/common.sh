# shellcheck shell=bash disable=SC2034 # for who reads this
# Read by the scripts of this directory: places, and how to wait.
lab_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_dir=$(cd "$lab_dir/../../.." && pwd)
cache=${HOWDAH_LAB:-/var/cache/howdah-lab}
bin=$cache/kubernetes images=$cache/images

fail() { echo "${0##*/}: $*" >&2; exit 1; }

# need_packages PROGRAM:PACKAGE...: installs the packages whose program is not there.
need_packages() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || [ -e "${pair%%:*}" ] || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" = 0 ] || fail "run as root to install: ${missing[*]}"
    echo "installing: ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    # None of them may start a service of its own.
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && made=1; fi
    apt-get -qq -o DPkg::Lock::Timeout=120 update >&2
    apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "${missing[@]}" >/dev/null
    if [ -n "$made" ]; then rm -f $policy; fi
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then echo "${0##*/}: not in time: $what" >&2; return 1; fi
        sleep 0.1
    done
}
