"""Old primaries, old replicas and strangers come back."""
import json
import os
import signal
import time

import psycopg2

from checker import Checker
from cluster import Cluster, USER, Member, free_port, kill, wait_for


def only_here(c, p, statement):
    """Runs it on the primary while nobody streams, then takes the primary's machine away."""
    others = [m for m in c.members if m is not p]
    for m in others:
        m.kill_all()
    p.sql(statement)
    p.kill_all()
    for m in others:
        m.start()


def rows(p, statement):
    """None while it takes no connection: one that has streamed for a moment may be stopped to be rewound."""
    try:
        return p.sql(statement)
    except psycopg2.OperationalError:
        return None


def test_old_primary_is_rewound_and_its_lost_writes_kept():
    with Cluster() as c:
        p = c.start()
        p.sql("create table t (n int)")
        time.sleep(0.5)
        only_here(c, p, "insert into t select generate_series(1, 500)")
        n = c.wait_primary(timeout=40, other_than=p)
        n.sql("insert into t values (-1)")
        p.start()
        wait_for("the old primary streams", lambda: c.streaming() is n, 60)
        wait_for("with the new history", lambda: rows(p, "select count(*) from t where n = -1") == [(1,)], 60)
        assert "REPLICA_REWIND" in p.log_text()
        lost = f"{p.home}/.howdah-data/lost-writes"
        assert os.path.isdir(lost) and os.listdir(lost), "what pg_rewind discarded is kept"
        assert str(os.listdir(lost)[0]) in p.log_text(), "and named in the log"


def test_rewind_impossible_then_cloned_again():
    with Cluster(overrides={"postgresql": {"remove_data_directory_on_rewind_failure": True,
                                           "remove_data_directory_on_diverged_timelines": True},
                            "bootstrap": {"dcs": {"postgresql": {"use_pg_rewind": False}}}}) as c:
        p = c.start()
        p.sql("create table t (n int)")
        time.sleep(0.5)
        only_here(c, p, "insert into t select generate_series(1, 500)")
        n = c.wait_primary(timeout=40, other_than=p)
        p.start()
        wait_for("copied again and streaming", lambda: c.streaming() is n, 90)
        wait_for("without what only it had", lambda: rows(p, "select count(*) from t") == [(0,)], 60)


def test_leader_comes_back_at_another_address():
    """As in a pod that was made anew: it goes on with its term, and nobody is left at the old address."""
    with Cluster(count=2, timers={"ttl": 30, "loop_wait": 2, "retry_timeout": 3}) as c:
        p = c.start()
        wait_for("the standby streams", lambda: c.streaming() is p, 60)
        standby = next(m for m in c.members if m is not p)
        p.kill_all()
        p.pg_port = free_port()
        p.start()
        wait_for("it leads again", lambda: c.primary() is p, 20)
        wait_for("and the standby streams from there", lambda: c.streaming() is p, 20)
        assert "REPLICA_FOLLOW" in standby.log_text()


def test_everything_killed_newest_data_wins():
    with Cluster() as c:
        p = c.start()
        replica, late = [m for m in c.members if m is not p]
        p.sql("create table t (n int)")
        time.sleep(0.5)
        late.kill_all()
        p.sql("insert into t select generate_series(1, 100)")
        wait_for("the replica has it", lambda: replica.sql("select count(*) from t") == [(100,)], 10)
        replica.kill_all()
        p.kill_all()
        # The one with the least comes up first.
        late.start()
        time.sleep(1)
        replica.start()
        n = c.wait_primary(timeout=60)
        assert n is replica, n.name
        assert n.sql("select count(*) from t") == [(100,)]
        p.start()
        wait_for("all stream", lambda: c.streaming() is n, 60)


def kill_everything(c):
    """Store, agents, wardens and PostgreSQL, by SIGKILL and as good as at once."""
    c.etcd.signal(signal.SIGKILL)
    pids = [pid for m in c.members for pid in (m.proc.pid, m.warden_pid(), *m.postgres_pids()) if pid]
    for pid in pids:
        kill(pid)
    for m in c.members:
        m.kill_all()
    c.etcd.stop()


def killed_and_started(c, order, lease_over):
    """order: who starts when; the newest data is the primary's, then the replica's, then the late one's."""
    p = c.wait_streaming()
    replica, late = [m for m in c.members if m is not p]
    roles = {"primary": p, "replica": replica, "late": late}
    p.sql("create table if not exists t (n int)")
    before = p.sql("select count(*) from t")[0][0]
    late.kill_all()
    p.sql("insert into t select generate_series(1, 100)")
    wait_for("the replica has it",
             lambda: replica.sql("select count(*) from t") == [(before + 100,)], 20)
    replica.kill_all()
    p.sql("insert into t select generate_series(1, 100)")  # nobody else has these
    kill_everything(c)
    c.etcd.start()
    if lease_over:  # else the primary finds its own leader key again, if it comes in time
        wait_for("nobody leads", lambda: not c.key("leader"), 3 * c.timers["ttl"])
    for name in order:
        roles[name].start()
        time.sleep(1.5)  # so that the first ones have looked around before the next comes
    n = c.wait_primary(timeout=60)
    assert n is p, f"{order}: {n.name} leads, not {p.name}"
    assert n.sql("select count(*) from t") == [(before + 200,)], order
    wait_for("all stream", lambda: c.streaming() is p, 90)
    for m in (replica, late):
        wait_for(f"{m.name} has it too",
                 lambda: m.sql("select count(*) from t") == [(before + 200,)], 20)


def started_in_orders(*orders):
    # A ttl that leaves the last one time to come: a fresh agent does not race before it is over.
    with Cluster(timers={"ttl": 10, "loop_wait": 1, "retry_timeout": 3}) as c:
        c.start()
        for i, order in enumerate(orders):
            killed_and_started(c, order, lease_over=i == 1)


def test_everything_killed_primary_starts_first():
    started_in_orders(("primary", "replica", "late"), ("primary", "late", "replica"))


def test_everything_killed_replica_starts_first():
    started_in_orders(("replica", "primary", "late"), ("replica", "late", "primary"))


def test_everything_killed_late_one_starts_first():
    started_in_orders(("late", "primary", "replica"), ("late", "replica", "primary"))


def test_second_member_with_the_same_name():
    with Cluster() as c:
        p = c.start()
        twin = Member(c, "twin")
        twin.overrides = {"name": p.name}
        c.members.append(twin)
        twin.start()
        time.sleep(5)
        assert c.leader() is p and c.is_writable(p)
        assert not c.is_writable(twin)
        kill(twin.proc.pid)


def test_two_agents_on_one_data_directory():
    with Cluster(count=1) as c:
        p = c.start()
        first = p.proc
        log = p.log
        p.log = f"{p.home}/second.log"
        p.start()
        assert p.wait_ended(10) == 1
        assert "another agent manages this data directory" in p.log_text()
        p.proc, p.log = first, log
        assert c.wait_streaming() is p


def test_foreign_system_identifier():
    with Cluster() as c:
        p = c.start()
        stranger = Member(c, "stranger")
        c.members.append(stranger)
        os.system(f"setpriv --reuid=postgres --regid=postgres --init-groups "
                  f"/usr/lib/postgresql/15/bin/initdb -D {stranger.data} -A trust >/dev/null 2>&1")
        before = os.stat(f"{stranger.data}/global/pg_control").st_mtime_ns
        stranger.start()
        assert stranger.wait_ended(30) == 1
        assert "SYSTEM_ID_FOREIGN" in stranger.log_text()
        assert os.stat(f"{stranger.data}/global/pg_control").st_mtime_ns == before, "left alone"
        c.members.remove(stranger)
        assert c.wait_streaming() is p


def test_agents_upgraded_one_after_the_other():
    """SIGUSR2 leaves PostgreSQL, fence and lease to the next agent."""
    with Cluster() as c:
        p = c.start()
        starts = {m.name: m.sql("select pg_postmaster_start_time()") for m in c.members}
        with Checker(c) as k:
            for m in c.members:
                m.kill_agent(signal.SIGUSR2)
                assert m.wait_ended(10) == 0
                m.start()
                wait_for("it is back", lambda: m.rest("/liveness")[0] == 200, 10)
        assert {m.name: m.sql("select pg_postmaster_start_time()") for m in c.members} == starts
        assert {a.member for a in k.snapshot()} == {p.name}
        assert k.outage_s() < 1
