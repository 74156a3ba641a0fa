#!/usr/bin/env bash
# What libcore.a needs from outside: base and model, and a short list of libc. A clock, malloc, a log
# line or a file would show up here.
set -uo pipefail
build=$1
allowed='^(memcmp|memcpy|memset|memmove|strcmp|strlen|strcspn|vsnprintf|snprintf|__vsnprintf_chk|__snprintf_chk|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_)$'
defined=$(nm --defined-only "$build"/common/base/libbase.a "$build"/common/model/libmodel.a \
    "$build"/agent/core/libcore.a 2>/dev/null | awk 'NF==3 {print $3}' | sort -u)
# A room that does I/O must not come in through the back door either.
bad=$(nm --undefined-only "$build"/agent/core/libcore.a 2>/dev/null | awk 'NF==2 {print $2}' | sort -u |
    grep -vE "$allowed" | grep -vxF "$defined" | grep -vE '^(__asan|__ubsan|__tsan|__sanitizer|__gcov|llvm_gcov)')
if [ -n "$bad" ]; then echo "libcore.a is not pure; it needs:"; echo "$bad"; exit 1; fi
nm --undefined-only "$build"/agent/core/libcore.a 2>/dev/null | grep -q ' U ' || { echo "nothing read from $build"; exit 1; }
