"""People move the leader, restart, reinitialise and configure."""
import json
import signal
import time

from checker import Checker
from cluster import Cluster, wait_for


def test_switchover_over_rest():
    with Cluster() as c:
        p = c.start()
        target = next(m for m in c.members if m is not p)
        with Checker(c) as k:
            time.sleep(0.5)
            code, text = p.rest("/switchover", "POST", {"leader": p.name, "candidate": target.name})
            assert (code, text) == (200, f'Successfully switched over to "{target.name}"'), (code, text)
            wait_for("everybody streams", lambda: c.streaming() is target, 30)
            time.sleep(0.5)
        k.assert_promises()
        k.assert_none_lost(target, "a switchover")
        assert "REPLICA_REWIND" not in p.log_text(), "and needs no rewind"
        history = json.loads(c.key("history"))
        assert history[-1][0] == 1 and history[-1][4] == target.name, history


def test_switchover_back_and_forth():
    with Cluster() as c:
        p = c.start()
        with Checker(c) as k:
            for i in range(4):
                target = next(m for m in c.members if m is not p)
                code, text = target.rest("/switchover", "POST",
                                         {"leader": p.name, "candidate": target.name})
                assert code == 200, text
                wait_for("everybody streams", lambda: c.streaming() is target, 30)
                p = target
        k.assert_promises()
        k.assert_none_lost(p, "switchovers")
        assert len(json.loads(c.key("history"))) == 4


def test_switchover_requests_that_are_refused():
    with Cluster() as c:
        p = c.start()
        other = next(m for m in c.members if m is not p)
        for body, want in [
                ({"candidate": other.name}, (400, "Switchover could be performed only from a specific leader")),
                ({"leader": other.name}, (412, "leader name does not match")),
                ({"leader": p.name, "candidate": p.name},
                 (400, "Switchover target and source are the same")),
                ({"leader": p.name, "candidate": "nobody"}, (412, "candidate does not exists")),
                ({"leader": p.name, "scheduled_at": "2020-01-01T00:00:00+00:00"},
                 (422, "Cannot schedule switchover in the past")),
                ({"leader": p.name, "scheduled_at": "tomorrow"},
                 (422, "Unable to parse scheduled timestamp. It should be in an unambiguous format, "
                       "e.g. ISO 8601"))]:
            got = p.rest("/switchover", "POST", body)
            assert got == want, (body, got)
        assert p.rest("/failover", "POST", {})[0] == 400
        assert c.wait_streaming() is p


def test_switchover_scheduled():
    with Cluster() as c:
        p = c.start()
        at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 4))
        code, text = p.rest("/switchover", "POST", {"leader": p.name, "scheduled_at": at})
        assert (code, text) == (202, "Switchover scheduled")
        assert json.loads(c.key("failover"))["scheduled_at"] == at
        began = time.time()
        n = c.wait_primary(other_than=p)
        assert time.time() - began > 2, "not before it was due"
        wait_for("everybody streams", lambda: c.streaming() is n, 30)


def test_switchover_scheduled_then_deleted():
    with Cluster() as c:
        p = c.start()
        at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 5))
        assert p.rest("/switchover", "POST", {"leader": p.name, "scheduled_at": at})[0] == 202
        assert p.rest("/switchover", "DELETE")[:2] == (200, "scheduled switchover deleted")
        assert p.rest("/switchover", "DELETE")[0] == 404
        time.sleep(6)
        assert c.wait_streaming() is p


def test_failover_to_a_named_member_without_a_leader():
    with Cluster() as c:
        p = c.start()
        target, third = [m for m in c.members if m is not p]
        p.kill_all()
        code, text = target.rest("/failover", "POST", {"candidate": target.name})
        assert code == 200, (code, text)
        assert c.wait_primary() is target


def test_restart_of_primary_and_replica():
    with Cluster() as c:
        p = c.start()
        for m in c.members:
            before = m.sql("select pg_postmaster_start_time()")
            code, text = m.rest("/restart", "POST", {})
            assert (code, text) == (200, "restarted successfully"), (m.name, code, text)
            assert m.sql("select pg_postmaster_start_time()") != before
        assert c.wait_streaming() is p, "the lease is held through a restart"


def test_restart_conditions():
    with Cluster() as c:
        p = c.start()
        assert p.rest("/restart", "POST", {"role": "replica"}) == \
            (503, "restart conditions are not satisfied")
        assert p.rest("/restart", "POST", {"role": "king"})[0] == 400
        assert p.rest("/restart", "POST", {"restart_pending": True})[0] == 503
        assert p.rest("/restart", "POST", {"colour": "red"}) == \
            (400, "Unknown filter for the scheduled restart: colour")


def test_reinitialize():
    with Cluster() as c:
        p = c.start()
        r = next(m for m in c.members if m is not p)
        assert p.rest("/reinitialize", "POST", {}) == (503, "I am the leader, can not reinitialize")
        p.sql("create table t as select 1 n")
        before = r.sql("select pg_postmaster_start_time()")
        assert r.rest("/reinitialize", "POST", {}) == (200, "reinitialize started")

        def fresh():
            try:
                return r.sql("select pg_postmaster_start_time()") != before and \
                    r.sql("select n from t") == [(1,)]
            except Exception:
                return False
        wait_for("copied again and up", fresh, 60)
        assert c.wait_streaming() is p


def test_config_over_rest():
    with Cluster() as c:
        p = c.start()
        code, text = p.rest("/config", "PATCH",
                            {"postgresql": {"parameters": {"work_mem": "9MB", "max_connections": 70}}})
        assert code == 200 and json.loads(text)["postgresql"]["parameters"]["work_mem"] == "9MB"
        for m in c.members:
            wait_for(f"{m.name} has it", lambda: m.sql("show work_mem") == [("9MB",)], 20)
            wait_for(f"{m.name} wants a restart", lambda: m.status().get("pending_restart"), 20)
        reason = p.status()["pending_restart_reason"]["max_connections"]
        assert reason == {"old_value": "60", "new_value": "70"}, reason
        assert p.rest("/config", "PATCH", [])[0] == 400
        assert p.rest("/restart", "POST", {"restart_pending": True})[0] == 200
        assert p.sql("show max_connections") == [("70",)]
        code, text = p.rest("/config")
        assert code == 200 and json.loads(text) == json.loads(c.key("config"))


def test_reload_after_a_switchover_waits_for_no_restart():
    """A server that was promoted has started with settings of its recovery, which are gone from its files."""
    with Cluster() as c:
        p = c.start()
        target = next(m for m in c.members if m is not p)
        assert p.rest("/switchover", "POST", {"leader": p.name, "candidate": target.name})[0] == 200
        wait_for("everybody streams", lambda: c.streaming() is target, 30)
        assert target.rest("/config", "PATCH", {"postgresql": {"parameters": {"work_mem": "9MB"}}})[0] == 200
        for m in c.members:
            wait_for(f"{m.name} has it", lambda: m.sql("show work_mem") == [("9MB",)], 20)
        turn = target.status()["dcs_last_seen"]
        wait_for("a turn later", lambda: target.status()["dcs_last_seen"] > turn + 1, 20)
        assert not [m.name for m in c.members if m.status().get("pending_restart")], target.status()


def test_reload_with_a_wrong_file_keeps_the_old_settings():
    with Cluster() as c:
        p = c.start()
        p.overrides = {"tags": {"clonefrom": True}}
        p.write_config()
        p.kill_agent(signal.SIGHUP)
        wait_for("the tag is published",
                 lambda: json.loads(c.key(f"members/{p.name}")).get("tags") == {"clonefrom": True}, 10)
        with open(p.config_file, "w") as f:
            f.write("name: [unclosed\n")
        p.kill_agent(signal.SIGHUP)
        wait_for("it says so", lambda: "settings not reloaded" in p.log_text(), 10)
        assert c.wait_streaming() is p
