#!/usr/bin/env bash
# Everything that labs need and that is made once: packages, Kubernetes, images. Says so where no lab can run.
#   prepare.sh [check|packages]     check: only whether a lab can run here; packages: and what is installed
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
why=$(why_not)
[ -z "$why" ] || fail "no Kubernetes lab can run on this machine: $why. HOWDAH_KUBE=0 ./dev test leaves its tests out"
if [ "${1:-}" = check ]; then exit 0; fi
need_packages "${lab_programs[@]}" "${node_programs[@]}" podman:podman
if [ "${1:-}" = packages ]; then exit 0; fi
"$lab_dir/build.sh" "$bin"
"$lab_dir/images.sh"
"$lab_dir/unpack.sh"
