"""Replication slots of the members: on every member, in time for the next primary."""
import time

from cluster import Cluster, wait_for


def slots(m):
    """name -> (restart_lsn as a number or None, active)"""
    rows = m.sql("select slot_name, restart_lsn - '0/0', active from pg_replication_slots")
    return {name: (None if at is None else int(at), active) for name, at, active in rows}


def names_elsewhere(c, m):
    return {o.name for o in c.members if o is not m}


def wait_slots_everywhere(c, timeout=30):
    wait_for("each member has the others' slots", lambda: all(
        set(slots(m)) == names_elsewhere(c, m) for m in c.members), timeout, every=0.1)


class Watch:
    """One connection to a server, asked again and again: since when is something so?"""

    def __init__(self, m):
        self.conn = m.connect()

    def ask(self, text):
        with self.conn.cursor() as cur:
            cur.execute(text)
            return cur.fetchone()[0]


def promotion_among(others):
    """(new primary, the other one, seconds from the promotion until the other one streams)"""
    watches = {m.name: Watch(m) for m in others}
    began = time.monotonic()
    n = wait_for("somebody is promoted", lambda: next(
        (m for m in others if not watches[m.name].ask("select pg_is_in_recovery()")), None), 30, 0.005)
    promoted = time.monotonic()
    third = next(m for m in others if m is not n)
    wait_for("the third member streams from it", lambda: watches[n.name].ask(
        f"select count(*) from pg_stat_replication where application_name = '{third.name}'"
        " and state = 'streaming'") == 1, 30, 0.005)
    took = time.monotonic() - promoted
    print(f"promoted after {promoted - began:.2f} s, the third member streams {took:.3f} s later")
    for w in watches.values():
        w.conn.close()
    return n, third, took


def after_the_death_of(c, p):
    p.kill_all()
    return promotion_among([m for m in c.members if m is not p])


def test_third_member_streams_from_the_new_primary_at_once():
    """Twice: the second new primary has been a standby, a primary that died, or both."""
    with Cluster() as c:
        p = c.start()
        wait_slots_everywhere(c)
        for _ in range(2):
            n, third, took = after_the_death_of(c, p)
            assert took < 3, took
            assert "slot created name=" + third.name not in n.log_text().split("acquired the leader key")[-1]
            p.start()
            assert c.wait_streaming() is n
            wait_slots_everywhere(c)
            p = n


def test_slots_are_made_before_there_is_a_leader():
    """Somebody drops them right after the primary's death: the next one has them all the same."""
    with Cluster() as c:
        p = c.start()
        wait_slots_everywhere(c)
        others = [m for m in c.members if m is not p]
        p.kill_all()
        for m in others:
            m.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots")
        for m in others:
            wait_for(f"{m.name} has made them again",
                     lambda: set(slots(m)) == names_elsewhere(c, m), 4)
            assert m.sql("select pg_is_in_recovery()") == [(True,)]
        n, third, took = promotion_among(others)
        assert took < 3, took


def wal_files(m):
    return m.sql("select count(*) from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'")[0][0]


def test_standbys_follow_the_leaders_slots_and_drop_no_wal_too_early():
    """restart_lsn on a standby follows, and its old WAL goes with it."""
    dcs = {"postgresql": {"parameters": {"min_wal_size": "32MB",
                                         "max_wal_size": "64MB", "checkpoint_timeout": "30s"}}}
    with Cluster(overrides={"bootstrap": {"dcs": dcs}},
                 dcs_parameters={"wal_keep_size": "16MB"}) as c:
        p = c.start()
        wait_slots_everywhere(c)
        others = [m for m in c.members if m is not p]
        before = {m.name: slots(m) for m in others}
        p.sql("create table t (n int, filler text)")
        for _ in range(8):  # 16 MB each
            p.sql("insert into t select n, repeat('x', 1000) from generate_series(1, 14000) n")
            p.sql("select pg_switch_wal()")
        at = int(p.sql("select pg_current_wal_flush_lsn() - '0/0'")[0][0])
        for m in others:
            wait_for(f"the slots of {m.name} are where the leader's are",
                     lambda: all(lsn and lsn >= at for lsn, _ in slots(m).values()), 20)
            now = slots(m)
            assert set(now) == names_elsewhere(c, m)
            assert all(now[s][0] > before[m.name][s][0] and not now[s][1] for s in now), now
            replayed = int(m.sql("select pg_last_wal_replay_lsn() - '0/0'")[0][0])
            assert all(lsn <= replayed for lsn, _ in now.values()), (now, replayed)
        p.sql("checkpoint")
        for m in others:
            def trimmed():
                m.sql("checkpoint")
                return wal_files(m) <= 7
            wait_for(f"{m.name} has let go of old WAL", trimmed, 30, every=0.5)


def test_slot_of_a_member_that_is_gone_for_good():
    """Kept for member_slots_ttl on all, then on none; meanwhile through a failover too."""
    with Cluster(overrides={"bootstrap": {"dcs": {"member_slots_ttl": 12}}}) as c:
        p = c.start()
        wait_slots_everywhere(c)
        gone = next(m for m in c.members if m is not p)
        gone.kill_all()
        left = time.monotonic()
        stay = [m for m in c.members if m is not gone]
        wait_for("its member key is gone", lambda: c.key(f"members/{gone.name}") == "", 20)
        time.sleep(2)
        for m in stay:
            assert gone.name in slots(m), "kept though its key is gone"
        wait_for("dropped on all", lambda: all(gone.name not in slots(m) for m in stay), 30)
        took = time.monotonic() - left
        assert took >= 12, took
        wait_for("nor told of", lambda: f'"{gone.name}"' not in c.key("status"), 5)
        assert all(set(slots(m)) == {o.name for o in stay if o is not m} for m in stay)
        # And if it does come back, it gets a new one, everywhere.
        gone.start()
        c.wait_streaming()
        wait_slots_everywhere(c)


def test_stale_xmin_and_foreign_slots_on_a_standby():
    """What holds back vacuum is made anew; what ignore_slots names is left alone."""
    dcs = {"ignore_slots": [{"name": "mine"}],
           "postgresql": {"parameters": {"hot_standby_feedback": "on"}}}
    with Cluster(overrides={"bootstrap": {"dcs": dcs}}) as c:
        p = c.start()
        wait_slots_everywhere(c)
        assert wait_for("feedback arrives", lambda: p.sql(
            "select count(*) from pg_replication_slots where xmin is not null") == [(2,)], 20)
        n, third, _ = after_the_death_of(c, p)
        n.sql("select pg_create_physical_replication_slot('mine', true)")
        third.sql("select pg_create_physical_replication_slot('mine', true)")
        third.sql("select pg_create_physical_replication_slot('not_mine', true)")
        p.start()
        c.wait_streaming()
        wait_for("the old primary's slots hold back nothing", lambda: p.sql(
            "select count(*) from pg_replication_slots where xmin is not null") == [(0,)], 20)
        wait_for("a slot that is nobody's goes", lambda: "not_mine" not in slots(third), 20)
        assert "mine" in slots(third) and "mine" in slots(n)
