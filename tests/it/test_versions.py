"""The same life on the oldest and the newest majors: bootstrap, switchover, crash, settings, rewind.

The other tests run on this Debian's major. These run in the sidecar layout: see chroot_pg.py.
"""
import json
import os
import subprocess
import time

from checker import Checker
from chroot_pg import SidecarCluster
from cluster import demote, kill, wait_for


def test_postgresql_13():
    live(13)


def test_postgresql_17():
    live(17)


def test_postgresql_18():
    live(18)


def live(major):
    with SidecarCluster(major) as c:
        p = c.start()
        bootstrapped(c, p)
        examined(c, p)
        switched_there_and_back(c, p)
        crashed_and_started(c, p)
        reconfigured(c, p)
        rewound(c, p)


def bootstrapped(c, p):
    p.sql("create table t (n int)")
    p.sql("insert into t select generate_series(1, 1000)")
    for m in c.members:
        assert m.sql("show server_version_num")[0][0][:2] == str(c.major)
        assert m.status()["server_version"] // 10000 == c.major, m.status()
        assert m.sql("show data_checksums") == [("on",)]
        wait_for(f"{m.name} has the rows", lambda: rows(m) == 1000, 10)
    assert len({m.sql("select system_identifier from pg_control_system()")[0][0] for m in c.members}) == 1
    lag = [(r["name"], r["lag"]) for r in cluster_members(p) if r["role"] == "replica"]
    assert len(lag) == 2 and all(isinstance(n, int) for _, n in lag), lag
    assert {r["state"] for r in cluster_members(p) if r["role"] == "replica"} == {"streaming"}
    slots = {r[0] for r in p.sql("select slot_name from pg_replication_slots where active")}
    assert slots == {m.name for m in c.members if m is not p}, slots


def examined(c, p):
    """Every question of `howdahctl doctor` is one that this major understands."""
    out = subprocess.run([f"{c.bin}/howdahctl", "-c", p.config_file, "doctor", "-f", "json"], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, preexec_fn=demote, cwd="/")
    found = json.loads(out.stdout)
    assert not [line for line in found if line["Status"] != "ok"], found
    assert out.returncode == 0 and [line for line in found if line["Check"] == "pg_hba"], out


def rows(m):
    try:
        return m.sql("select count(*) from t")[0][0]
    except Exception:
        return -1


def cluster_members(m):
    return json.loads(m.rest("/cluster")[1])["members"]


def switched_there_and_back(c, p):
    target = next(m for m in c.members if m is not p)
    with Checker(c) as k:
        for old, new in ((p, target), (target, p)):
            time.sleep(0.3)
            code, text = old.rest("/switchover", "POST", {"leader": old.name, "candidate": new.name})
            assert (code, text) == (200, f'Successfully switched over to "{new.name}"'), (code, text)
            wait_for("everybody streams", lambda: c.streaming() is new, 20)
        time.sleep(0.3)
    k.assert_promises()
    k.assert_none_lost(p, "a switchover")
    assert p.sql("select timeline_id from pg_control_checkpoint()")[0][0] >= 1
    for m in c.members:
        assert "REPLICA_REWIND" not in m.log_text(), "and needs no rewind"


def crashed_and_started(c, p):
    with Checker(c) as k:
        time.sleep(0.3)
        pid, at = p.postmaster_pid(), time.monotonic()
        kill(pid)
        wait_for("the primary writes again",
                 lambda: any(a.at > at + 0.05 for a in k.snapshot()), 20)
    assert p.postmaster_pid() != pid
    wait_for("the same leader, everybody streams", lambda: c.streaming() is p, 20)
    k.assert_promises()
    k.assert_none_lost(p, "a crash recovery")
    assert {a.timeline for a in k.snapshot()} == {3}, "crash recovery in its own term keeps the timeline"


def reconfigured(c, p):
    """A standby with fewer connections than its primary stops (13) or pauses (14 on): it heals."""
    code, text = p.rest("/config", "PATCH",
                        {"postgresql": {"parameters": {"work_mem": "9MB", "max_connections": 70}}})
    assert code == 200, text
    for m in c.members:
        wait_for(f"{m.name} has it", lambda: m.sql("show work_mem") == [("9MB",)], 20)
        wait_for(f"{m.name} wants a restart", lambda: m.status().get("pending_restart"), 20)
        reason = m.status()["pending_restart_reason"]
        assert reason == {"max_connections": {"old_value": "60", "new_value": "70"}}, reason
    assert p.rest("/restart", "POST", {"restart_pending": True})[0] == 200
    assert p.sql("show max_connections") == [("70",)]
    p.sql("insert into t values (0)")
    for m in c.members:  # nobody asks the standbys to restart
        wait_for(f"{m.name} replays on", lambda: rows(m) == 1001, 30)
        wait_for(f"{m.name} has it", lambda: shows(m, "max_connections") == "70", 10)
    wait_for("everybody streams", lambda: c.streaming() is p, 30)
    for m in c.members:
        wait_for("nothing is pending", lambda: not m.status().get("pending_restart"), 10)


def shows(m, parameter):
    try:
        return m.sql(f"show {parameter}")[0][0]
    except Exception:
        return None


def rewound(c, p):
    """The old primary has writes that nobody else has: rewound, and they are kept."""
    others = [m for m in c.members if m is not p]
    for m in others:
        m.kill_all()  # frozen would not do: what is in a socket's buffer arrives when it thaws
    p.sql("insert into t select generate_series(1, 500)")
    p.kill_all()
    for m in others:
        m.start()
    n = c.wait_primary(timeout=30, other_than=p)
    n.sql("insert into t values (-1)")
    p.start()
    wait_for("the old primary streams", lambda: c.streaming() is n, 40)
    wait_for("with the new history", lambda: rows(p) == 1002, 10)
    assert "REPLICA_REWIND" in p.log_text()
    lost = f"{p.home}/.howdah-data/lost-writes"
    assert os.path.isdir(lost) and os.listdir(lost), "what pg_rewind discarded is kept"
