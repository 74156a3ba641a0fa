#!/usr/bin/env bash
# Who may include whom: the table of docs/architecture.md, held up by grep. Prints each breach.
set -uo pipefail
cd "$(dirname "$0")/../.."
bad=0
# room directory | allowed prefixes of our own headers | allowed library headers (extended regex)
table='
common/base|common/base/|-
common/model|common/base/ common/model/|cjson/cJSON\.h yaml\.h
common/model/io|common/base/ common/model/ common/os/|yaml\.h
common/os|common/base/ common/os/|curl/curl\.h arpa/nameser\.h resolv\.h
dcs|common/base/ common/model/ common/os/ dcs/|cjson/cJSON\.h arpa/nameser\.h resolv\.h
agent/core|agent/core/ common/base/ common/model/|-
agent/postgres|agent/postgres/ common/base/ common/model/ common/os/|libpq-fe\.h
agent/warden|agent/warden/ common/base/ common/os/|-
api|api/ common/base/ common/model/ common/os/|microhttpd\.h gnutls/.* cjson/cJSON\.h
ctl|ctl/ common/base/ common/model/ common/os/ dcs/|cjson/cJSON\.h yaml\.h libpq-fe\.h
agent|agent/ api/ common/ dcs/|-
'
libraries='curl/|cjson/|yaml\.h|libpq-fe|microhttpd|gnutls/|resolv\.h|arpa/nameser'
while IFS='|' read -r room own libs; do
    [ -n "$room" ] || continue
    while IFS=: read -r file line text; do
        header=$(sed -E 's/.*#include +["<]([^">]+)[">].*/\1/' <<<"$text")
        ok=
        if [[ $text == *'"'* ]]; then
            for prefix in $own; do [[ $header == "$prefix"* ]] && ok=1; done
        elif grep -qE "^($libraries)" <<<"$header"; then
            for l in $libs; do grep -qE "^$l$" <<<"$header" && ok=1; done
        else
            ok=1 # libc
        fi
        [ -n "$ok" ] || { echo "$file:$line: $room may not include $header"; bad=1; }
    done < <(find "$room" -maxdepth 1 \( -name '*.c' -o -name '*.h' \) -print0 | xargs -0 -r grep -nE '^#include' /dev/null)
done <<<"$table"
# The warden program itself: libc and its own headers, nothing of ours.
for f in agent/warden/*.c agent/warden/*.h; do
    case $f in *warden_client* | *warden_start*) continue ;; esac
    if grep -nE '#include +"(common|dcs|api|ctl)/' "$f"; then echo "$f: the warden uses libc alone"; bad=1; fi
done
exit $bad
