#!/usr/bin/env bash
# Before and after all tests on Kubernetes: whether a lab can run here, and whether the machine is as it was.
#   whole_run.sh before|after DIR LIST      DIR: where the tests have their directories
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
when=$1 dir=$2 list=$3
case $when in
before)
    "$lab_dir/prepare.sh" check
    # What an interrupted run has left.
    for run in "$dir"/* "$dir"/*/play-kubernetes; do
        if [ -e "$run/lock" ]; then "$lab_dir/down.sh" "$run"; fi
    done
    rm -rf --one-file-system "$dir"
    mkdir -p "$dir"
    "$lab_dir/left.py" list "$dir" >"$list"
    ;;
after)
    "$lab_dir/left.py" compare "$dir" "$list"
    if [ -z "${HOWDAH_IT_KEEP:-}" ]; then rmdir "$dir"; fi
    ;;
*) fail "wants before or after, not '$when'" ;;
esac
