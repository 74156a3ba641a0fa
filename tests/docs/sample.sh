#!/usr/bin/env bash
# sample.sh HOWDAH SAMPLE: the sample file can be used as it stands, once nobody else may read it.
set -euo pipefail
howdah=$1 sample=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 077

validate() { # everything it says, and how it ended; the caller's own variables stay out of it
    env -i "$howdah" --validate-config "$1" 2>&1 && echo "fine" || echo "refused"
}

cat "$sample" >"$work/sample.yml"
said=$(validate "$work/sample.yml")
[ "$said" = fine ] || { echo "$sample: $said" >&2; exit 1; }

# The check can tell: without what must be there it says so.
for needed in scope data_dir; do
    grep -vE "^ *$needed:" "$sample" >"$work/without.yml"
    said=$(validate "$work/without.yml")
    [[ $said == *"$needed"*refused ]] ||
        { echo "without $needed the sample passes: $said" >&2; exit 1; }
done
