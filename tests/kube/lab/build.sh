#!/usr/bin/env bash
# Builds the programs of Kubernetes 1.20 from Debian's own source package.
#   build.sh OUT_DIR     ten minutes on two cores, once; later calls return at once
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
out=${1:-$bin}
source=kubernetes/bookworm go=golang-1.19-go flags='-s -w'
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy)
recipe="$source $go CGO_ENABLED=0 -ldflags '$flags' ${programs[*]}"

# The recipe is written last: without it, or with another one, what is there is not what is wanted.
complete() {
    local p
    for p in "${programs[@]}"; do [ -x "$out/$p" ] || return 1; done
    [ "$(cat "$out/.recipe" 2>&1)" = "$recipe" ]
}
if complete; then exit 0; fi
[ "$(id -u)" = 0 ] || fail "run as root: packages are installed"
mkdir -p "$out"
exec 9>"$out/.lock" # the compilers inherit it: whoever survives a killed build is waited for
flock -n 9 || { echo "Kubernetes: somebody else builds it in $out, waiting" >&2; flock 9; }
if complete; then exit 0; fi # somebody else was faster

echo "Kubernetes: building it into $out, once; about ten minutes on two cores" >&2
rm -f "$out/.recipe"
need_packages /usr/lib/go-1.19/bin/go:$go rsync:rsync dpkg-source:dpkg-dev make:make jq:jq
work=$out/.src
mkdir -p "$work"
# Of a build that was interrupted only the compiler's cache can be trusted.
find "$work" -mindepth 1 -maxdepth 1 ! -name gocache -exec chmod -R u+w {} + -exec rm -rf {} +
mkdir -p "$work/gopath/src/k8s.io" "$work/lists/partial" "$work/parts" "$work/tmp"

# Source packages are where the binary ones are: this machine's own sources, with deb-src for deb.
shopt -s nullglob
for f in /etc/apt/sources.list.d/*.sources; do
    if grep -qE '^URIs:.*/debian/?( |$)' "$f"; then sed 's/^Types:.*/Types: deb-src/' "$f"; echo; fi
done | awk 'BEGIN { RS = ""; ORS = "\n\n" } !seen[$0]++' >"$work/parts/src.sources"
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    if [ -e "$f" ]; then sed -nE 's/^deb (.*\/debian\/? .*)/deb-src \1/p' "$f"; fi
done >"$work/parts/src.list"
apt=(-o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/parts" -o "Dir::State::lists=$work/lists")
apt-get -qq "${apt[@]}" update
cd "$work"
apt-get -qq "${apt[@]}" source "$source" >/dev/null
unpacked=("$work"/kubernetes-1.20*/)
[ ${#unpacked[@]} = 1 ] || fail "no sources of Kubernetes 1.20 came from $(grep -hE '^(URIs:|deb-src)' "$work"/parts/* | head -1)"
ln -s "${unpacked[0]%/}" "$work/gopath/src/k8s.io/kubernetes"
cd "$work/gopath/src/k8s.io/kubernetes"
# This Go builds it in GOPATH mode alone, and the tarball lacks a generated file.
export PATH=/usr/lib/go-1.19/bin:$PATH GOPATH=$work/gopath GO111MODULE=off GOCACHE=$work/gocache CGO_ENABLED=0 GOFLAGS=
export GOTMPDIR=$work/tmp
echo "Kubernetes: generated sources" >&2
nice make gen_openapi >/dev/null
for p in "${programs[@]}"; do
    echo "Kubernetes: $p" >&2
    nice go build -ldflags "$flags" -o "$work/bin/" "./cmd/$p"
done
mv "$work"/bin/* "$out/"
sync -f "$out"
echo "$recipe" >"$out/.recipe"
chmod -R u+w "$work"
rm -rf "$work" # 3 GB of sources and cache
