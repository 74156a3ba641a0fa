#!/usr/bin/python3
"""What a lab could leave on this machine: left.py list RUN_DIR >BEFORE; left.py compare RUN_DIR BEFORE.

Lists processes, control groups and files of the lab in RUN_DIR, and the whole machine's mounts, links,
addresses, routes, packet filter, network namespaces, kernel settings and container images. compare asserts
that nothing is different. Others may be testing here too: what bears the names of tests/it does not count,
and it looks again for a while before it says so.
"""
import glob
import hashlib
import json
import os
import re
import subprocess
import sys
import time

PATIENCE_S = 60
SETTINGS = ["net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet", "vm/overcommit_memory",
            "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys",
            "kernel/keys/root_maxbytes", "net/netfilter/nf_conntrack_max",
            "net/bridge/bridge-nf-call-iptables"]
# Where programs of a node put things when nobody stops them.
PLACES = ["/var/lib/cni", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/etcd", "/var/log/pods",
          "/var/log/containers", "/run/containerd", "/run/kubernetes", "/var/run/kubernetes",
          "/etc/cni/net.d", "/var/lib/containers"]
# Which images an engine has, and which containers: for podman and buildah, containerd, Docker.
IMAGES = ["/var/lib/containers/storage/*-images/images.json", "/var/lib/containers/storage/*-containers/containers.json",
          "/var/lib/containers/cache", "/root/.local/share/containers/storage/*-images/images.json",
          "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
          "/var/lib/docker/image/*/repositories.json"]
# The networks, mounts and namespaces of tests/it, which run beside these (netns.py, cluster.py).
OTHERS = re.compile(r"\bhw\d+[bn]|/howdah-it-|10\.77\.| /run/netns ")


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read().decode(errors="replace").strip()
    except OSError:
        return ""


def run(*args):
    out = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert out.returncode == 0, f"{' '.join(args)}: {out.stderr}"
    return out.stdout.splitlines()


def link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def parents():
    pid, found = os.getpid(), set()
    while pid > 1:
        found.add(str(pid))
        pid = int(read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[1])
    return found


def processes(marks):
    """By command line, directory, program or control group; not who is asking."""
    mine, found = parents(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        text = " ".join([read(f"/proc/{pid}/cmdline").replace("\0", " "), link(f"/proc/{pid}/cwd"),
                         link(f"/proc/{pid}/root"), read(f"/proc/{pid}/cgroup")])
        if pid not in mine and any(m in text for m in marks):
            found.append(f"{pid} {text[:200]}")
    return found


def digests(patterns):
    """What there is of these, and what is in it."""
    found = []
    for path in sorted(p for pattern in patterns for p in glob.glob(pattern)):
        inside = sorted(os.listdir(path)) if os.path.isdir(path) else read(path)
        found.append(f"{path} {hashlib.sha256(repr(inside).encode()).hexdigest()}")
    return found


def machine():
    tables = {t: run("iptables-save", "-t", t) for t in ("filter", "nat", "mangle", "raw")}
    found = {
        "mounts": read("/proc/self/mounts").splitlines(),
        "links": [line.split(" mtu ")[0] for line in run("ip", "-o", "link")],
        "addresses": [line.split(" valid_lft ")[0] for line in run("ip", "-o", "address")],
        "routes": run("ip", "route", "show", "table", "all"),
        # Chains without their counters, rules as they are.
        "packet filter": [f"{table} {line.split(' [')[0] if line.startswith(':') else line}"
                          for table, lines in tables.items() for line in lines if not line.startswith("#")],
        "network namespaces": sorted(glob.glob("/run/netns/*")),
        "kernel settings": [f"{s}={read('/proc/sys/' + s)}" for s in SETTINGS],
        "places": [f"{p}: {sorted(os.listdir(p)) if os.path.isdir(p) else 'absent'}" for p in PLACES],
        "images": digests(IMAGES),
    }
    return {what: [line for line in lines if not OTHERS.search(line)] for what, lines in found.items()}


def listing(run_dir):
    marks = [run_dir + "/", run_dir + " "]
    group = f"howdah-lab-{os.stat(run_dir).st_ino}" if os.path.isdir(run_dir) else None
    groups = glob.glob(f"/sys/fs/cgroup/**/{group}", recursive=True) if group else []
    if group:
        marks.append(group + "/")
    return {
        "processes": processes(marks),
        "control groups": groups,
        **machine(),
        "files": sorted(f for f in os.listdir(run_dir) if not f.endswith(".log"))
                 if os.path.isdir(run_dir) else [],
    }


def differences(before, after):
    found = []
    for what in before:
        old, new = sorted(before[what]), sorted(after[what])
        found += [f"{what}: new: {line}" for line in new if line not in old]
        found += [f"{what}: gone: {line}" for line in old if line not in new]
    return found


def compare(run_dir, before, patience_s=PATIENCE_S):
    end = time.monotonic() + patience_s
    while True:
        found = differences(before, listing(run_dir))
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.5)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "list":
        print(json.dumps(listing(sys.argv[2]), indent=1))
        return 0
    if len(sys.argv) == 4 and sys.argv[1] == "compare":
        with open(sys.argv[3]) as f:
            found = compare(sys.argv[2], json.load(f))
        print("\n".join(found))
        return 1 if found else 0
    print(__doc__.splitlines()[0], file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
