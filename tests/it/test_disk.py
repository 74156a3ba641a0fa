"""Data disks that fill up or stop answering, and memory that must not grow."""
import base64
import contextlib
import http.client
import json
import os
import subprocess
import time

import psycopg2

from checker import Checker
from cluster import USER, Cluster, wait_for


def sh(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@contextlib.contextmanager
def mounted_homes(c, megabytes, tmpfs=False):
    """Every member's home on a file system of its own: a small tmpfs, or ext4 in a file."""
    mounts = []
    try:
        for m in c.members:
            if tmpfs:
                sh("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", m.home)
            else:
                image = f"{c.dir}/{m.name}.img"
                sh("truncate", "-s", f"{megabytes}M", image)
                sh("mkfs.ext4", "-q", "-F", image)
                sh("mount", "-o", "loop", image, m.home)
            mounts.append(m.home)
            os.chown(m.home, USER.pw_uid, USER.pw_gid)
            # The agent's own log must not be on the disk that fails.
            m.log = f"{c.dir}/{m.name}.log"
        yield
    finally:
        for home in mounts:
            subprocess.run(["fsfreeze", "-u", home], stderr=subprocess.DEVNULL)
        c.stop(keep=True)
        for home in mounts:
            subprocess.run(["umount", "-l", home], check=True)


def test_data_disk_that_hangs():
    """A frozen file system: nothing written comes back, and every process that tries is stuck."""
    with Cluster() as c, mounted_homes(c, 400):
        p = c.start()
        with Checker(c) as k:
            time.sleep(0.5)
            sh("fsfreeze", "-f", p.home)
            n = c.wait_primary(timeout=60, other_than=p)
            time.sleep(1)
            sh("fsfreeze", "-u", p.home)
            wait_for("the old primary streams", lambda: c.streaming() is n, 90)
        k.assert_promises()
        assert "DISK_HUNG" in p.log_text()


def test_full_data_disk():
    """PostgreSQL stops when it cannot write WAL. Whoever leads then, nothing acknowledged is lost."""
    with Cluster(dcs_parameters={"max_wal_size": "64MB", "min_wal_size": "32MB",
                                 "wal_keep_size": "0"}) as c, mounted_homes(c, 220, tmpfs=True):
        p = c.start()
        p.sql("create table t (n int)")
        with Checker(c) as k:
            time.sleep(0.5)
            filler = f"{p.home}/filler"
            with open(filler, "wb") as f:
                with contextlib.suppress(OSError):
                    while True:
                        f.write(b"x" * 1048576)
                        f.flush()
            with contextlib.suppress(psycopg2.Error):  # until it wants a new segment
                p.sql("insert into t select generate_series(1, 3000000)")
            time.sleep(3)
            os.unlink(filler)
            n = c.wait_streaming(timeout=90)
            time.sleep(0.5)
        k.assert_promises()
        if n is p:
            k.assert_none_lost(p, "a crash recovery")
        assert not k.lost(n), "acknowledged and lost"


def memory_kb(pid):
    """What it has allocated; code comes in page by page as it is first run, and is not counted."""
    with open(f"/proc/{pid}/status") as f:
        return int(next(line for line in f if line.startswith("RssAnon")).split()[1])


def test_memory_is_flat_over_ten_thousand_turns():
    """Ten thousand more turns, after a thousand to warm up: 26 bytes a turn would be found."""
    with Cluster(count=2) as c:
        p = c.start()
        conn = http.client.HTTPConnection(c.etcd.host, c.etcd.ports[0][0])
        key = base64.b64encode(b"/service/demo/failover").decode()

        def count_turns(m):
            text = m.rest("/metrics")[1]
            return next(int(float(line.split()[-1])) for line in text.splitlines()
                        if line.startswith("howdah_turns_total"))

        def turn(count):
            # Each put of this key wakes a turn on every member; empty requests ask for nothing.
            wanted = {m.name: count_turns(m) + count for m in c.members}
            while any(count_turns(m) < wanted[m.name] for m in c.members):
                for i in range(200):
                    value = base64.b64encode(json.dumps({"x": i}).encode()).decode()
                    conn.request("POST", "/v3/kv/put", json.dumps({"key": key, "value": value}))
                    conn.getresponse().read()
        turn(1000)
        before = {m.name: memory_kb(m.proc.pid) for m in c.members}
        turn(10000)
        for m in c.members:
            grown = memory_kb(m.proc.pid) - before[m.name]
            print(f"{m.name}: {before[m.name]} kB, and {grown} kB more after {count_turns(m)} turns")
            assert grown < 256, f"{m.name} grew by {grown} kB in 10,000 turns"
        assert c.wait_streaming() is p
