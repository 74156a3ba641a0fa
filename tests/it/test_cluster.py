"""The main job: three members come up, stay up, and heal."""
import json
import signal
import time

from checker import Checker
from cluster import Cluster, alive, kill, processes_of, wait_for


def test_bootstrap_three_in_parallel():
    with Cluster() as c:
        p = c.start()
        p.sql("create table t as select generate_series(1, 1000) n")
        for m in c.members:
            if m is not p:
                wait_for(f"{m.name} has the rows", lambda: has_rows(m, 1000), 10)
        assert c.key("initialize").isdigit()
        assert json.loads(c.key("config"))["ttl"] == 5
        members = {m.name: json.loads(c.key(f"members/{m.name}")) for m in c.members}
        assert members[p.name]["role"] == "primary"
        assert all(d["state"] == "running" for d in members.values())
        ids = {m.sql("select system_identifier from pg_control_system()")[0][0] for m in c.members}
        assert len(ids) == 1


def has_rows(m, count):
    try:
        return m.sql("select count(*) from t")[0][0] == count
    except Exception:
        return False


def test_kill_postmaster():
    with Cluster() as c:
        p = c.start()
        with Checker(c) as k:
            time.sleep(0.5)
            at = time.monotonic()
            kill(p.postmaster_pid())
            wait_for("the primary writes again", lambda: any(
                a.at > at + 0.05 for a in k.snapshot()), 20)
            # Left alone they would try again after wal_retrieve_retry_interval, 5 s.
            wait_for("both standbys stream again", lambda: c.streaming() is p, 4)
        assert c.wait_streaming() is p, "the lease was held: no failover"
        k.assert_promises()
        k.assert_none_lost(p, "a crash recovery")
        assert k.snapshot()[-1].timeline == 1, "crash recovery in its own term keeps the timeline"


def test_kill_primary_agent_and_warden():
    with Cluster() as c:
        p = c.start()
        with Checker(c) as k:
            time.sleep(0.5)
            p.kill_all()
            n = c.wait_primary(timeout=30, other_than=p)
            time.sleep(0.5)
            p.start()
            wait_for("the old primary streams again", lambda: c.streaming() is n, 40)
            time.sleep(0.3)
        k.assert_promises()


def test_kill_warden_alone():
    with Cluster() as c:
        p = c.start()
        with Checker(c) as k:
            time.sleep(0.3)
            kill(p.warden_pid())
            time.sleep(0.2)
            n = c.wait_streaming(timeout=40)
            n.sql("select 1")
            time.sleep(0.3)
        k.assert_promises()
        if n is p:
            k.assert_none_lost(p, "a crash recovery")
        assert not k.lost(n)


def test_sigterm_of_the_leader():
    with Cluster() as c:
        p = c.start()
        with Checker(c) as k:
            time.sleep(0.5)
            p.kill_agent(signal.SIGTERM)
            assert p.wait_ended(30) == 0
            n = c.wait_primary(other_than=p)
            time.sleep(0.5)
        assert not p.postgres_pids(), "told to stop: PostgreSQL is stopped too"
        k.assert_promises()
        k.assert_none_lost(n, "a clean handover")
        p.start()
        wait_for("the old leader streams without a rewind", lambda: c.streaming() is n, 40)
        assert "reason=REPLICA_REWIND" not in p.log_text()


def test_agent_killed_and_restarted():
    """kill -9 of the agent is harmless: PostgreSQL does not notice."""
    with Cluster() as c:
        p = c.start()
        started = p.sql("select pg_postmaster_start_time()")
        with Checker(c) as k:
            for _ in range(5):
                p.kill_agent()
                time.sleep(0.3)
                p.start()
                wait_for("the agent is back", lambda: p.rest("/primary")[0] == 200, 10)
        assert p.sql("select pg_postmaster_start_time()") == started
        k.assert_promises()
        assert {a.timeline for a in k.snapshot()} == {1}
        assert k.outage_s() < 1


def test_agent_frozen_beyond_ttl():
    """SIGSTOP of the primary's agent for three ttls: fenced before anybody else leads."""
    with Cluster() as c:
        p = c.start()
        with Checker(c) as k:
            time.sleep(0.5)
            p.kill_agent(signal.SIGSTOP)
            n = c.wait_primary(timeout=30, other_than=p)
            time.sleep(10)
            p.kill_agent(signal.SIGCONT)
            wait_for("the old primary follows", lambda: c.streaming() is n, 40)
        k.assert_promises()


def test_everything_leaves_nothing_behind():
    with Cluster() as c:
        c.start()
        directory = c.dir
    assert not processes_of(directory)


def test_postmaster_frozen():
    """SIGSTOP of the postmaster: no new connections. After a ttl it is started anew."""
    with Cluster() as c:
        p = c.start()
        pid = p.postmaster_pid()
        with Checker(c) as k:
            time.sleep(0.3)
            kill(pid, signal.SIGSTOP)
            wait_for("the frozen postmaster is gone", lambda: not alive(pid), 40)
            c.wait_streaming(timeout=40)
            time.sleep(0.3)
        k.assert_promises()
