#!/usr/bin/env bash
# Unpacks the archives of images.sh once, for every lab to start with: a root directory of containerd in
# ${HOWDAH_LAB:-/var/cache/howdah-lab}/images/unpacked, of which a lab takes a copy of links (inside.sh).
#   unpack.sh [NAME...]     with these at least, as they are now; pause is always there
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
unpacked=$images/unpacked

has_all() { # each as its archive is
    local name
    for name in pause "$@"; do
        grep -qxF "$name $(cat "$images/$name.stamp")" "$unpacked/stamps" 2>/dev/null || return 1
    done
}

# In namespaces of its own, whose end is everybody's.
unpack() {
    local half=$images/unpacked.half archive name
    rm -rf --one-file-system "$half"
    mkdir -p "$half"
    mount -t tmpfs tmpfs /run
    printf '%s\n' 'version = 2' "root = '$half/root'" 'state = "/run/unpack"' '[grpc]' 'address = "/run/unpack.sock"' >/run/unpack.toml
    nice containerd -c /run/unpack.toml >"$half/log" 2>&1 &
    wait_for 60 "containerd answers" ctr -a /run/unpack.sock version
    for archive in "$images"/*.tar; do # what is built, whoever wants it: it is all or nothing
        name=$(basename "$archive" .tar)
        if [ ! -e "$images/$name.stamp" ]; then continue; fi
        echo "$name $(cat "$images/$name.stamp")" >>"$half/stamps"
        nice ctr -a /run/unpack.sock -n k8s.io images import "$archive" >>"$half/log" 2>&1 || { cat "$half/log" >&2; return 1; }
    done
    kill %1
    wait %1 || true # ended by our signal, which is what its status says
    rm -rf --one-file-system "$unpacked"
    mv "$half" "$unpacked"
}

if [ "${HOWDAH_UNPACK_APART:-}" ]; then
    unpack
    exit
fi
"$lab_dir/images.sh" pause "$@"
if has_all "$@"; then exit 0; fi
need_packages "${node_programs[@]}"
exec 9>"$images/unpacked.lock"
flock 9
if has_all "$@"; then exit 0; fi # somebody else was faster
HOWDAH_UNPACK_APART=1 unshare --mount --propagation private --pid --fork --kill-child --mount-proc bash "$0"
