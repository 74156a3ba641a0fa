#!/usr/bin/env bash
# The lab's first process, started by up.sh: starts the programs, says that they are ready, and stays until
# it is ended or one of them ends. As first of a process namespace it also reaps what nobody else does, and
# its end is everybody's.
#   inside.sh RUN_DIR control|node
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
run=$1 what=$2
etcd_port='' etcd_peer_port='' api_port='' # which this sets:
# shellcheck disable=SC1091
. "$run/ports"
cd "$run"
node_ip=10.244.0.1
declare -A started=() commands=()
# None inherits the lock, fd 8: it means this process.
start() {
    local name=$1
    shift
    commands[$name]=${*@Q}
    "$@" >>"$run/$name.log" 2>&1 8>&- &
    started[$!]=$name
}

make_machine() { # what a node needs of the machine, in namespaces: nothing of it outlasts us
    mount -t proc proc /proc
    mkdir -p log kubelet containerd cni volumes kernel
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /run/netns /run/lock
    mount -t tmpfs -o mode=755 tmpfs /var/lib
    mkdir -p /var/lib/kubelet /var/lib/cni
    mount --bind kubelet /var/lib/kubelet
    mount --bind log /var/log
    # The kubelet insists on these, which belong to the whole machine: it finds what it wants.
    local setting
    for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
        kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
        [ -e "/proc/sys/${setting%%=*}" ] || continue
        echo "${setting#*=}" >"kernel/$(basename "${setting%%=*}")"
        mount --bind "kernel/$(basename "${setting%%=*}")" "/proc/sys/${setting%%=*}"
    done
    local group
    for group in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
        [ -w "$group/cgroup.procs" ] && mkdir -p "$group$(cat cgroup)"
    done
    local cpus=/sys/fs/cgroup/cpuset file
    if [ -d "$cpus" ]; then
        for file in cpuset.cpus cpuset.mems; do cat "$cpus/$file" >"$cpus/$(cat cgroup)/$file"; done
    fi

    # No interface leads out of this namespace. The routes and the rule say so too, for a lab whose
    # namespace somebody gives a way out.
    ip link set lo up
    ip link add cni0 type bridge
    ip addr add $node_ip/24 dev cni0
    ip link set cni0 up
    ip route add unreachable 10.244.0.0/16
    ip route add 10.96.0.0/16 dev cni0 src $node_ip
    iptables -w -I FORWARD -s 10.244.0.0/16 ! -o cni0 -j REJECT
    echo 1 >/proc/sys/net/ipv4/ip_forward
}

# What service accounts of the namespace write, one line of JSON a request, in audit.log.
write_audit_policy() {
    cat >audit.yaml <<K
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: ["system:serviceaccounts:default"], verbs: [create, update, patch, delete, deletecollection]}
- {level: None}
K
}

ask() { # ask PATH [OPTIONS OF CURL]. As curl it would be answered prettily, in which this server fails
    curl -sf -A lab --cacert ca.crt -H "Authorization: Bearer $(cat token)" "${@:2}" "https://127.0.0.1:$api_port$1"
}

start_api() {
    local bind=127.0.0.1 endpoints=none audit=()
    if [ "$what" = node ]; then bind=0.0.0.0 endpoints=master-count; fi
    local etcd=http://127.0.0.1:$etcd_port peer=http://127.0.0.1:$etcd_peer_port
    if [ -n "${HOWDAH_LAB_AUDIT:-}" ]; then
        write_audit_policy
        audit=(--audit-policy-file=audit.yaml --audit-log-path="$run/audit.log")
    fi
    # Alone, it elects itself when nobody has been heard of for that long.
    start etcd etcd --data-dir etcd --unsafe-no-fsync --heartbeat-interval=40 --election-timeout=200 \
        --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer"
    start apiserver "$bin/kube-apiserver" --etcd-servers="$etcd" --bind-address=$bind --advertise-address=$node_ip \
        --endpoint-reconciler-type=$endpoints --secure-port="$api_port" --tls-cert-file=pki/api.crt \
        --tls-private-key-file=pki/api.key --token-auth-file=pki/tokens.csv --authorization-mode=RBAC \
        --enable-admission-plugins=PodSecurityPolicy --service-cluster-ip-range=10.96.0.0/16 \
        --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
        --service-account-issuer=https://kubernetes.default.svc --allow-privileged=false \
        --kubelet-preferred-address-types=InternalIP --cert-dir=pki "${audit[@]}"
}

start_controllers() {
    start controllers "$bin/kube-controller-manager" --kubeconfig=admin.conf --root-ca-file=ca.crt \
        --service-account-private-key-file=pki/sa.key --cluster-cidr=10.244.0.0/16 --allocate-node-cidrs=false \
        --leader-elect=false --port=0 --secure-port=0 --node-monitor-grace-period=16s
}

write_node_settings() {
    cat >cni/10-lab.conflist <<K
{"cniVersion":"0.4.0","name":"lab","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true,
 "ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
K
    cat >containerd.toml <<K
version = 2
root = "$run/containerd/root"
state = "$run/containerd/state"
[grpc]
  address = "$run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:lab"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$run/cni"
K
    cat >kubelet.yaml <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_ip
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$(cat cgroup)
failSwapOn: false
nodeStatusUpdateFrequency: 4s
syncFrequency: 5s
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
K
    # A pod whose volume is not bound yet is looked at again after a second, not after ever more of them.
    cat >scheduler.yaml <<K
apiVersion: kubescheduler.config.k8s.io/v1beta1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: $run/admin.conf}
leaderElection: {leaderElect: false}
podInitialBackoffSeconds: 1
podMaxBackoffSeconds: 1
K
    cat >kube-proxy.yaml <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $run/admin.conf}
mode: iptables
bindAddress: $node_ip # or it would ask for the node's, and wait longer each time that there is none yet
clusterCIDR: 10.244.0.0/16
hostnameOverride: node1
conntrack: {maxPerCore: 0, min: 0}
K
}

make_volumes() { # what a provisioner would make: local volumes, which fsGroup applies to
    local n
    for n in 1 2 3 4 5 6 7 8; do
        mkdir -p "volumes/$n"
        cat <<K
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: lab-$n}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  local: {path: $run/volumes/$n}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node1]}]}]}}
K
    done
}

# What containerd would make of the images' archives. The files are links: of an image nobody writes to one, for a
# container has its layers below its own. What containerd itself writes to is copied.
copy_images() {
    local from=$images/unpacked/root file how=-al
    if [ -n "${HOWDAH_LAB_APART:-}" ]; then how=-a; fi
    flock -s 7
    cp $how "$from" containerd/root 2>/dev/null || { rm -rf containerd/root && cp -a "$from" containerd/root; } # another file system
    for file in containerd/root/*/*.db; do
        cp -p "$file" "$file.own"
        mv "$file.own" "$file"
    done
}

# With a range of addresses it tells as soon as it is ready; else 4 s later.
give_range() {
    ask /api/v1/nodes/node1 -X PATCH -H 'Content-Type: application/merge-patch+json' \
        -d '{"spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]}}'
}
node_ready() { [[ $(ask /api/v1/nodes/node1) == *'"type":"Ready","status":"True"'* ]]; }

start_node() {
    copy_images 7>"$images/unpacked.lock"
    write_node_settings
    start containerd containerd -c containerd.toml
    wait_for 60 "containerd answers" ctr -a containerd/containerd.sock version
    # It looks for a Docker for 5 s before it does anything else: it may do that while the API server starts.
    start kubelet "$bin/kubelet" --config=kubelet.yaml --kubeconfig=admin.conf --container-runtime=remote \
        --container-runtime-endpoint="unix://$run/containerd/containerd.sock" --hostname-override=node1 \
        --cert-dir=pki/kubelet --node-ip=$node_ip
}

if [ "$what" = node ]; then
    echo "howdah-lab-$(stat -c %i "$run")" >cgroup
    make_machine
fi
start_api
if [ "$what" = node ]; then start_node; fi
wait_for 90 "the API server is ready" ask /readyz
start_controllers
if [ "$what" = node ]; then
    start scheduler "$bin/kube-scheduler" --config scheduler.yaml --port=0 --secure-port=0
    start kube-proxy "$bin/kube-proxy" --config kube-proxy.yaml
fi
{ cat "$lab_dir/restricted.yaml"; if [ "$what" = node ]; then make_volumes; fi; } | kubectl --kubeconfig admin.conf apply -f -
wait_for 60 "the default service account" ask /api/v1/namespaces/default/serviceaccounts/default
if [ "$what" = node ]; then
    wait_for 120 "the node is there" give_range
    wait_for 120 "the node is ready" node_ready
fi
touch ready
# Of what else ends, only the end is taken note of: shims and their children become ours.
while :; do
    ended=
    wait -n -p ended || true # that it has ended counts, not its status
    name=${started[${ended:-0}]:-}
    if [ -z "$name" ]; then continue; fi
    echo "$name has ended"
    # A test has ended it, for as long as it says so; else it is the end of all others, too.
    [ -e "hold.$name" ] || exit 1
    unset "started[$ended]"
    while [ -e "hold.$name" ]; do sleep 0.1; done
    eval "start $name ${commands[$name]}"
done
