"""The store fails, lies or is emptied."""
import signal
import time

from checker import Checker
from cluster import Cluster, wait_for


def test_store_stopped_for_half_a_ttl():
    with Cluster(timers={"ttl": 10, "loop_wait": 1, "retry_timeout": 4}) as c:
        p = c.start()
        with Checker(c) as k:
            time.sleep(0.3)
            c.etcd.signal(signal.SIGSTOP)
            time.sleep(5)
            c.etcd.signal(signal.SIGCONT)
            time.sleep(2)
        assert c.wait_streaming() is p
        assert k.outage_s() < 1, "no demotion within half a ttl"
        k.assert_promises()


def test_store_down_for_two_ttls():
    with Cluster() as c:
        p = c.start()
        with Checker(c) as k:
            time.sleep(0.3)
            c.etcd.stop()
            wait_for("the primary has stopped taking writes", lambda: not c.is_writable(p), 15)
            time.sleep(5)
            c.etcd.start()
            n = c.wait_streaming(timeout=120)
            time.sleep(0.3)
        k.assert_promises()
        k.assert_none_lost(n, "its own writes", only=lambda a: a.member == n.name)


def test_leader_key_deleted_by_hand():
    with Cluster() as c:
        p = c.start()
        with Checker(c) as k:
            time.sleep(0.3)
            c.etcd.ctl("del", "/service/demo/leader")
            wait_for("the key is back", lambda: c.key("leader") == p.name, 5)
            time.sleep(1)
        assert c.wait_streaming() is p
        assert {a.member for a in k.snapshot()} == {p.name}


def test_leader_key_overwritten_by_hand():
    with Cluster() as c:
        p = c.start()
        other = next(m for m in c.members if m is not p)
        with Checker(c) as k:
            time.sleep(0.3)
            c.etcd.ctl("put", "/service/demo/leader", other.name)
            wait_for("the key is the holder's again", lambda: c.key("leader") == p.name, 5)
            time.sleep(1)
        assert c.wait_streaming() is p
        k.assert_promises()
        assert {a.member for a in k.snapshot()} == {p.name}


def test_store_wiped():
    with Cluster() as c:
        p = c.start()
        sysid = c.key("initialize")
        with Checker(c) as k:
            time.sleep(0.3)
            c.etcd.ctl("del", "--prefix", "/service/demo/")
            wait_for("the leader key is back", lambda: c.key("leader") == p.name, 5)
            wait_for("the identifier is back", lambda: c.key("initialize") == sysid, 10)
            wait_for("the configuration is back", lambda: '"ttl":5' in c.key("config"), 10)
            time.sleep(1)
        assert c.wait_streaming() is p
        assert {a.member for a in k.snapshot()} == {p.name}


def test_garbage_in_every_key():
    with Cluster() as c:
        p = c.start()
        garbage = '\x01{"not":[json'
        for key in ("config", "failover", "sync", "history", "failsafe", "status", "howdah",
                    "members/n1", "members/stranger", "optime/leader", "nonsense/deep/key"):
            c.etcd.ctl("put", f"/service/demo/{key}", garbage)
        time.sleep(3)
        assert c.wait_streaming() is p
        assert c.key("members/n1") != garbage
