#!/usr/bin/env bash
# printed.sh HOWDAH OPTION PAGE: the page is what the program prints from its table of options.
set -euo pipefail
if ! diff -u "$3" <("$1" "$2"); then
    echo "$3 is not what howdah $2 prints: ./dev docs writes it" >&2
    exit 1
fi
