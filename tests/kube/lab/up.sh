#!/usr/bin/env bash
# Starts a real Kubernetes 1.20 of one node on this machine.
#
#   up.sh RUN_DIR control   etcd, API server (TLS, RBAC, service-account tokens), controllers: enough to test
#                           an API client. Listens on free ports of 127.0.0.1; nothing else is changed
#   up.sh RUN_DIR node      the same plus scheduler, containerd, kubelet and kube-proxy, with pods, volumes,
#                           Services, probes and exec. Everything in network, mount and process namespaces of
#                           its own: it has no way out of this machine, and ends with its first process
#
# RUN_DIR has then: admin.conf; token and ca.crt, the same by hand; for a node also enter, which runs a
# command inside, and kubectl, which is kubectl from there. Labs do not disturb each other: run as many as
# fit. A run directory serves one at a time. End it with down.sh RUN_DIR.
#
# As root. HOWDAH_LAB_IMAGES="howdah postgres": images which the node must have.
# HOWDAH_LAB_AUDIT=1: what pods write to the API is in RUN_DIR/audit.log.
# HOWDAH_LAB_APART=1: it shares no file of an image with other labs, and so no memory.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
case ${1:-} in /*) run=$1 ;; *) fail "usage: up.sh RUN_DIR control|node, with an absolute directory" ;; esac
what=${2:-}
case $what in control | node) ;; *) fail "wants control or node, not '$what'" ;; esac
[ "$(id -u)" = 0 ] || fail "the lab runs as root"

need_packages "${lab_programs[@]}"
if [ "$what" = node ]; then
    why=$(why_not)
    [ -z "$why" ] || fail "no Kubernetes lab can run on this machine: $why"
    need_packages "${node_programs[@]}"
    # shellcheck disable=SC2086 # words are wanted
    "$lab_dir/unpack.sh" ${HOWDAH_LAB_IMAGES:-}
fi
"$lab_dir/build.sh" "$bin"

mkdir -p "$run"
exec 8>"$run/lock" # the lab's first process holds it for as long as it lives
flock -n 8 || fail "a lab runs in $run already: down.sh $run ends it"
[ ! -e "$run/pki" ] || fail "$run has the remains of a lab: down.sh $run removes them"
mkdir -p "$run/pki"

free_port() { # not where the kernel, the unit tests or the scenarios of tests/it take theirs
    local port
    while :; do
        port=$((6100 + RANDOM % 3900))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo $port; return; fi
    done
}

make_certificates() { # one authority; a serving certificate for every address the API server answers on
    local pki=$run/pki
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$pki/ca.key" -out "$pki/ca.crt" -days 30 -subj /CN=lab-ca 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -keyout "$pki/api.key" -out "$pki/api.csr" -subj /CN=kube-apiserver 2>/dev/null
    local names=IP:127.0.0.1,IP:10.244.0.1,IP:10.96.0.1,DNS:localhost
    names+=,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
    echo "subjectAltName=$names" >"$pki/san"
    openssl x509 -req -in "$pki/api.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -out "$pki/api.crt" \
        -days 30 -extfile "$pki/san" 2>/dev/null
    openssl genrsa -out "$pki/sa.key" 2048 2>/dev/null
    openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
    openssl rand -hex 20 >"$run/token"
    echo "$(cat "$run/token"),admin,admin,\"system:masters\"" >"$pki/tokens.csv"
    cp "$pki/ca.crt" "$run/ca.crt"
    cat >"$run/admin.conf" <<K
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://127.0.0.1:$api_port", certificate-authority: "$run/ca.crt"}}]
users: [{name: admin, user: {token: $(cat "$run/token")}}]
contexts: [{name: lab, context: {cluster: lab, user: admin}}]
current-context: lab
K
}

# In a namespace of its own every port is free.
if [ "$what" = control ]; then
    etcd_port=$(free_port) etcd_peer_port=$(free_port) api_port=$(free_port)
else
    etcd_port=2379 etcd_peer_port=2380 api_port=6443
fi
umask 077
make_certificates
printf "%s\n" "etcd_port=$etcd_port" "etcd_peer_port=$etcd_peer_port" "api_port=$api_port" "bin=$bin" "images=$images" >"$run/ports"
umask 022

came_up=
# Also of one that was interrupted nothing stays.
clear_away() { [ -n "$came_up" ] || "$lab_dir/down.sh" "$run" || echo "up.sh: $run is left" >&2; }
trap clear_away EXIT

# Whatever happens to the first process, none of the others outlives it: the kernel sees to that.
spaces=(--pid --fork --kill-child)
if [ "$what" = node ]; then spaces+=(--net --mount --propagation private); fi
setsid unshare "${spaces[@]}" bash "$lab_dir/inside.sh" "$run" "$what" \
    >"$run/lab.log" 2>&1 </dev/null &
pid=$!
exec 8>&- # it has the lock now, alone: down.sh waits for that
echo $pid >"$run/lab.pid"
ready_or_dead() { [ -e "$run/ready" ] || ! kill -0 "$pid" 2>/dev/null; }
if ! wait_for 180 "the lab is up" ready_or_dead || [ ! -e "$run/ready" ]; then
    tail -n 5 "$run"/*.log >&2
    fail "the lab did not come up"
fi
if [ "$what" = node ]; then
    init=$(pgrep -P "$pid" | head -1)
    echo "$init" >"$run/init.pid"
    printf '#!/bin/sh\nexec nsenter --target %s --net --mount --pid -- "$@"\n' "$init" >"$run/enter"
    printf '#!/bin/sh\nexec nsenter --target %s --net -- kubectl --kubeconfig %s/admin.conf "$@"\n' "$init" "$run" >"$run/kubectl"
    chmod 755 "$run/enter" "$run/kubectl"
fi
came_up=1
echo "up: KUBECONFIG=$run/admin.conf"
