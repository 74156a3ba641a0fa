#!/usr/bin/python3 -B
"""Who may include whom: the table of docs/architecture.md. includes.py [ROOT] prints each breach."""
import os
import re
import sys
from pathlib import Path, PurePosixPath

BASE, MODEL, OS, DCS = "common/base/*.h", "common/model/*.h", "common/os/*.h", "dcs/*.h"
IO = "common/model/io/*.h"
WARDEN_CLIENT = ["agent/warden/warden_client.*", "agent/warden/warden_link.*",
                 "agent/warden/warden_start.*"]
CJSON, YAML, CURL, PQ, MHD = "cjson/*", "yaml.h", "curl/*", "libpq-fe.h", "microhttpd.h"
GNUTLS, RESOLV = "gnutls/*", ["resolv.h", "arpa/nameser.h"]
LIBRARIES = [CJSON, YAML, CURL, PQ, MHD, GNUTLS, *RESOLV]

# The files, our own headers they may use, libraries' headers. The first row that fits counts; a
# star does not go into subdirectories.
ROOMS = [
    (["common/base/*"], [BASE], []),
    (["common/model/*"], [BASE, MODEL], [CJSON, YAML]),
    (["common/model/io/*"], [BASE, MODEL, OS, IO], [YAML]),
    (["common/os/*"], [BASE, OS], [CURL, *RESOLV]),
    (["dcs/open.c"], [BASE, MODEL, OS, DCS, "dcs/kubernetes/kubernetes.h", "dcs/kubernetes/announce.h"], []),
    (["dcs/*"], [BASE, MODEL, OS, DCS], [CJSON, *RESOLV]),
    (["dcs/kubernetes/*"], [BASE, MODEL, OS, "dcs/dcs.h", "dcs/announce.h", "dcs/records.h",
                            "dcs/probe.h", "dcs/kubernetes/*.h"], []),
    (["agent/core/*"], [BASE, MODEL, "agent/core/*.h"], []),
    (["agent/postgres/*"], [BASE, MODEL, OS, "agent/postgres/*.h"], [PQ]),
    (WARDEN_CLIENT, [BASE, OS, "agent/warden/protocol.h", *WARDEN_CLIENT], []),
    # The program. Its client's headers are not among its own.
    (["agent/warden/*"], ["agent/warden/protocol.h", "agent/warden/warden.h",
                          "agent/warden/data_dir.h", "agent/warden/fence_rules.h",
                          "agent/warden/proc_parse.h"], []),
    (["api/*"], [BASE, MODEL, OS, "api/*.h"], [MHD, GNUTLS, CJSON]),
    # doctor_warden.c speaks to a warden as far as one can without being its agent.
    (["ctl/doctor_warden.c"], [BASE, MODEL, OS, "agent/warden/protocol.h", "ctl/*.h"], []),
    (["ctl/*"], [BASE, MODEL, IO, OS, DCS, "ctl/*.h"], [CJSON, YAML, PQ]),
    # Wires everything up, by the interfaces.
    (["agent/*"], [BASE, MODEL, IO, OS, "agent/*.h", "agent/core/decide.h", "agent/core/facts.h",
                   "agent/core/slots_wanted.h", "agent/postgres/server.h", "agent/postgres/local_server.h",
                   "agent/postgres/pg_query.h", "agent/warden/warden_client.h",
                   "dcs/dcs.h", "dcs/open.h", "dcs/announce.h", "dcs/records.h", "api/api.h"], []),
]
# Of libc's headers those that are of no use without I/O or a clock. (time.h is: it has struct tm.)
PURE = ["common/base/*", "common/model/*", "agent/core/*"]
IMPURE = re.compile(r"(fcntl|unistd|pthread|poll|signal|dirent|netdb|spawn|threads|termios)\.h$|"
                    r"(sys/(?!types\.h)|net/|netinet/|arpa/|linux/)")
WRITES_ON_ASSERT = ("common/base/error.c", "unistd.h")


def fits(path, patterns):
    return any(PurePosixPath(path).match(p) for p in patterns)


def complaint(file, own, header):
    if WRITES_ON_ASSERT == (file, header):
        return None
    row = next((r for r in ROOMS if fits(file, r[0])), None)
    if row is None:
        return "belongs to no room"
    if own:
        return None if fits(header, row[1]) else f"may not include {header}"
    if fits(header, LIBRARIES):
        return None if fits(header, row[2]) else f"may not use the library of {header}"
    if fits(file, PURE) and IMPURE.match(header):
        return f"must do without {header}: nothing here does I/O"
    return None


def breaches(root):
    files = sorted(p for room in ("common", "dcs", "agent", "api", "ctl")
                   for p in (root / room).rglob("*.[ch]"))
    for path in files:
        file = path.relative_to(root).as_posix()
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)', line)
            text = found and complaint(file, found[1] == '"', found[2])
            if text:
                yield f"{file}:{number}: {text}"
    if not files:
        yield f"{root}: no sources here"


def main():
    here = Path(os.path.abspath(__file__)).parents[2]
    found = list(breaches(Path(sys.argv[1]) if len(sys.argv) > 1 else here))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
