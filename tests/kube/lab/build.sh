#!/usr/bin/env bash
# Builds the programs of Kubernetes 1.20 from Debian's own source package.
#   build.sh OUT_DIR     five minutes on two cores, once; later calls return at once
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
out=${1:-$bin}
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy)
complete() { local p; for p in "${programs[@]}"; do [ -x "$out/$p" ] || return 1; done; }
if complete; then exit 0; fi
[ "$(id -u)" = 0 ] || fail "run as root: packages are installed"
mkdir -p "$out"
exec 9>"$out/.lock"
flock 9
if complete; then exit 0; fi # somebody else was faster

need_packages /usr/lib/go-1.19/bin/go:golang-1.19-go rsync:rsync dpkg-source:dpkg-dev make:make jq:jq
work=$out/.src
mkdir -p "$work/gopath/src/k8s.io" "$work/lists/partial"
# Source packages are where the binary ones are: this machine's own sources, with deb-src for deb.
for f in /etc/apt/sources.list.d/*.sources; do
    [ -e "$f" ] && grep -qE '^URIs:.*/debian/?( |$)' "$f" && { sed 's/^Types:.*/Types: deb-src/' "$f"; echo; }
done >"$work/src.sources" || true
{ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
    sed -nE 's/^deb (.*\/debian\/? .*)/deb-src \1/p' >"$work/src.list"
mkdir -p "$work/parts"
cp "$work/src.sources" "$work/src.list" "$work/parts/"
apt=(-o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/parts" -o "Dir::State::lists=$work/lists")
apt-get -qq "${apt[@]}" update
cd "$work"
compgen -G 'kubernetes-1.20*/' >/dev/null || apt-get -qq "${apt[@]}" source kubernetes/bookworm >/dev/null
ln -sfn "$(compgen -G "$work/kubernetes-1.20*/" | head -1)" "$work/gopath/src/k8s.io/kubernetes"
cd "$work/gopath/src/k8s.io/kubernetes"
# This Go builds it in GOPATH mode alone, and the tarball lacks a generated file.
export PATH=/usr/lib/go-1.19/bin:$PATH GOPATH=$work/gopath GO111MODULE=off GOCACHE=$work/gocache CGO_ENABLED=0 GOFLAGS=
nice make gen_openapi >/dev/null
nice go build -ldflags '-s -w' -o "$work/bin/" "${programs[@]/#/./cmd/}"
mv "$work"/bin/* "$out/"
chmod -R u+w "$work"
rm -rf "$work" # 3 GB of sources and cache
