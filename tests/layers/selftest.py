#!/usr/bin/python3 -B
"""The layering tests can tell: what is planted in a copy is found. selftest.py BUILD"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(os.path.abspath(__file__)).parent
ROOT = HERE.parents[1]
PLANTED = [  # file, what it must not include
    ("common/base/text.c", '"common/os/clock.h"'),
    ("common/base/text.c", '"common/model/tree.h"'),
    ("common/base/text.c", "<fcntl.h>"),
    ("common/model/tree.c", '"common/model/io/settings_read.h"'),
    ("common/model/tree.c", '"common/os/log.h"'),
    ("common/model/tree.c", "<sys/stat.h>"),
    ("common/model/io/settings_read.c", '"dcs/dcs.h"'),
    ("common/os/clock.c", '"common/model/tree.h"'),
    ("common/os/clock.c", "<cjson/cJSON.h>"),
    ("dcs/records.c", '"agent/core/decide.h"'),
    ("dcs/records.c", "<curl/curl.h>"),
    ("agent/core/race.c", '"common/os/clock.h"'),
    ("agent/core/race.c", '"agent/state.h"'),
    ("agent/core/race.c", '"common/model/io/settings_read.h"'),
    ("agent/core/race.c", "<unistd.h>"),
    ("agent/core/race.c", "<cjson/cJSON.h>"),
    ("agent/postgres/disk.c", '"dcs/dcs.h"'),
    ("agent/postgres/disk.c", '"agent/core/decide.h"'),
    ("agent/warden/fence.c", '"common/base/text.h"'),
    ("agent/warden/fence.c", '"agent/warden/warden_client.h"'),
    ("agent/warden/warden_client.c", '"agent/warden/warden.h"'),
    ("agent/warden/warden_link.c", '"common/model/tree.h"'),
    ("api/health.c", '"dcs/dcs.h"'),
    ("api/health.c", '"agent/agent.h"'),
    ("api/health.c", "<libpq-fe.h>"),
    ("ctl/list.c", '"agent/agent.h"'),
    ("ctl/list.c", "<curl/curl.h>"),
    ("agent/turn.c", '"ctl/config.h"'),
    ("agent/turn.c", '"api/server.h"'),
    ("agent/turn.c", '"agent/core/rules.h"'),
    ("agent/turn.c", '"agent/postgres/disk.h"'),
    ("agent/turn.c", "<libpq-fe.h>"),
    ("agent/stray/room.c", '"common/base/text.h"'),
]
CALLS = [  # library, C that must not be in it
    ("agent/core/libcore.a", "int clock_gettime(int, void *); int f(void) {"
                             " return clock_gettime(0, 0); }"),
    ("agent/core/libcore.a", "void *malloc(unsigned long); void *f(void) { return malloc(9); }"),
    ("agent/core/libcore.a", "int log_write(void); int f(void) { return log_write(); }"),
    ("common/model/libmodel.a", "int open(const char *, int); int f(void) { return open(0, 0); }"),
    ("common/base/libbase.a", "char *getenv(const char *); char *f(void) { return getenv(0); }"),
    ("agent/postgres/libpostgres.a", "int system(const char *); int f(void) { return system(0); }"),
]


def run(*command):
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return out.returncode, out.stdout


def check_includes(copy):
    for room in ("common", "dcs", "agent", "api", "ctl"):
        shutil.copytree(ROOT / room, copy / room)
    assert run(HERE / "includes.py", copy) == (0, ""), "the copy itself is in order"
    for file, header in PLANTED:
        path = copy / file
        before = path.read_text() if path.exists() else None
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#include {header}\n{before or ''}")
        code, said = run(HERE / "includes.py", copy)
        assert code == 1 and said.startswith(f"{file}:1: ") and said.count("\n") == 1, \
            f"{file} includes {header}: {code} {said}"
        path.write_text(before) if before else path.unlink()
    assert run(HERE / "includes.py", copy / "nowhere")[0] == 1, "nothing read is no success"


def check_purity(build, copy):
    for library in {library for library, _ in CALLS}:
        (copy / library).parent.mkdir(parents=True)
        shutil.copy(build / library, copy / library)
    assert run(HERE / "purity.py", copy) == (0, ""), "the copy itself is in order"
    for library, text in CALLS:
        shutil.copy(build / library, copy / library)
        (copy / "planted.c").write_text(text)
        subprocess.run(["cc", "-c", "-o", copy / "planted.o", copy / "planted.c"], check=True)
        subprocess.run(["ar", "q", copy / library, copy / "planted.o"], check=True,
                       stderr=subprocess.DEVNULL)
        code, said = run(HERE / "purity.py", copy)
        assert code == 1 and said.count("\n") == 1, f"{library} with {text}: {code} {said}"
        shutil.copy(build / library, copy / library)


def main():
    with tempfile.TemporaryDirectory() as d:
        check_includes(Path(d) / "tree")
        check_purity(Path(sys.argv[1]), Path(d) / "build")
    print(f"{len(PLANTED)} includes and {len(CALLS)} calls planted and found")


if __name__ == "__main__":
    main()
