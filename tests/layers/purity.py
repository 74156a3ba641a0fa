#!/usr/bin/python3 -B
"""What our libraries need from outside, by their undefined symbols. purity.py BUILD prints breaches.

Core, model and base are pure: a clock, a file, a log line would show up here. PostgreSQL's room
starts no program by itself; the warden does.
"""
import re
import subprocess
import sys
from pathlib import Path

MEMORY = "memchr memcmp memcpy memmove memrchr memset bcmp"
STRINGS = ("__memcpy_chk __memmove_chk __memset_chk __snprintf_chk __strcpy_chk __vsnprintf_chk "
           "snprintf strchr strcmp strcpy strcspn strlen strncasecmp strncmp strnlen "
           "strpbrk strrchr strspn strstr vsnprintf")
COMPILER = "__stack_chk_fail _GLOBAL_OFFSET_TABLE_"
CORE = f"{MEMORY} {STRINGS} {COMPILER}".split()
# Arenas, and assert_failed, which says why and ends.
BASE = CORE + "malloc free abort write".split()
# Parsing: numbers, dates, patterns; no clock, and no zone but UTC.
MODEL = BASE + ("strtod strtol strtoll strtoul __isoc99_sscanf gmtime_r timegm strftime qsort "
                "regcomp regexec regfree rint floor ceil trunc fmod").split()
MODEL_LIBRARIES = re.compile(r"cJSON_|yaml_")
STARTS = re.compile(r"(v?fork|clone|exec[lv]p?e?|execvpe|fexecve|posix_spawnp?|system|popen)$")
INSTRUMENTS = re.compile(r"(__asan|__ubsan|__tsan|__sanitizer|__gcov|llvm_gcov|__llvm|__sancov)")


def symbols(library, kind):
    if not library.exists():
        raise SystemExit(f"{library} does not exist: is this a build directory?")
    out = subprocess.run(["nm", f"--{kind}-only", library], check=True, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True).stdout
    return {line.split()[-1] for line in out.splitlines() if re.search(r" [A-Za-z] \S+$", line)}


def breaches(build):
    paths = {"base": "common/base/libbase.a", "model": "common/model/libmodel.a",
             "core": "agent/core/libcore.a", "postgres": "agent/postgres/libpostgres.a"}
    needs = {room: {s for s in symbols(build / path, "undefined") if not INSTRUMENTS.match(s)}
             for room, path in paths.items()}
    has = {room: symbols(build / path, "defined") for room, path in paths.items()}
    for room, path in paths.items():
        if not has[room] or not needs[room]:
            yield f"{build / path} is empty"
    allowed = {"base": set(BASE) | has["base"],
               "model": set(MODEL) | has["base"] | has["model"],
               "core": set(CORE) | has["base"] | has["model"] | has["core"]}
    for room, fine in allowed.items():
        for symbol in sorted(needs[room] - fine):
            if not (room == "model" and MODEL_LIBRARIES.match(symbol)):
                yield f"{room} is not pure: it needs {symbol}"
    for symbol in sorted(filter(STARTS.match, needs["postgres"])):
        yield f"postgres starts programs by itself: it needs {symbol}"


def main():
    found = list(breaches(Path(sys.argv[1])))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
