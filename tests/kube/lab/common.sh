# shellcheck shell=bash disable=SC2034 # for who reads this
# Read by the scripts of this directory: places, and how to wait.
lab_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_dir=$(cd "$lab_dir/../../.." && pwd)
cache=${HOWDAH_LAB:-/var/cache/howdah-lab}
bin=$cache/kubernetes images=$cache/images

# PROGRAM:PACKAGE
lab_programs=(etcd:etcd-server openssl:openssl curl:curl kubectl:kubernetes-client)
node_programs=(ip:iproute2 iptables:iptables conntrack:conntrack containerd:containerd runc:runc
    /usr/lib/cni/bridge:containernetworking-plugins unshare:util-linux)

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

# why_not: what keeps a lab from running on this machine; nothing if it can.
why_not() {
    [ "$(id -u)" = 0 ] || { echo "it wants root"; return; }
    local dir said
    dir=$(mktemp -d /var/tmp/howdah-check-XXXXXX)
    mkdir "$dir"/{lower,upper,work,merged}
    # In namespaces, as a lab does it: nothing of it stays.
    said=$(unshare --net --mount --propagation private --pid --fork --kill-child sh -ec "
        mount -t proc proc /proc
        mount -t tmpfs tmpfs '$dir/merged' && umount '$dir/merged'
        mount -t overlay -o 'lowerdir=$dir/lower,upperdir=$dir/upper,workdir=$dir/work' overlay '$dir/merged'
        echo 1 >/proc/sys/net/ipv4/ip_forward" 2>&1) || echo "namespaces and mounts of its own are refused (${said//$'\n'/; })"
    rm -rf --one-file-system "$dir"
    local group made=
    for group in /sys/fs/cgroup/ /sys/fs/cgroup/*/; do
        if mkdir "$group/howdah-check-$$" 2>/dev/null; then made=1 && rmdir "$group/howdah-check-$$"; fi
    done
    [ -n "$made" ] || echo "no control group can be made below /sys/fs/cgroup"
    # Whoever enters the namespace comes to its root, and so does what runc runs in a container.
    [ -n "$said" ] || [ "$(stat -c %d:%i /)" = "$(nsenter --mount=/proc/self/ns/mnt stat -c %d:%i / 2>&1)" ] ||
        echo "it is a chroot, in which runc enters no container"
}
