"""A store that loses replies, hangs, dawdles and lies; agents that die again and again."""
import itertools
import json
import os
import re
import signal
import subprocess
import time

from checker import Checker
from cluster import PG_BIN, Cluster, demote, kill, wait_for
from proxy import FaultProxy


def through_proxy(**kw):
    c = Cluster(overrides={"etcd3": {"use_proxies": True}}, **kw)
    c.store = FaultProxy(c.etcd)
    return c


# What is written when a cluster is created, in the order it comes: session, claim, own record, …
AT_BOOTSTRAP = ("grant", "create", "members", "howdah", "initialize", "config")
ALL_THE_TIME = ("keepalive", "members", "status")
AT_SWITCHOVER = ("failover", "release", "acquire", "howdah", "history")


def strike(c, mode, kind, times):
    """The next requests of this kind have their replies lost; returns when it has happened."""
    seen = c.store.struck.get(kind, 0)
    c.store.fault(mode, kind=kind, times=times)
    wait_for(f"{mode} {kind}", lambda: c.store.struck.get(kind, 0) >= seen + times, 20)


def test_lost_replies_to_every_kind_of_write():
    """Applied, but the reply is lost: the connection closed (lose), or silent for good (mute)."""
    with through_proxy() as c:
        c.etcd.start()
        for i, kind in enumerate(AT_BOOTSTRAP):
            c.store.fault("mute" if i % 2 else "lose", kind=kind, times=2)
        p = c.start(timeout=60)
        assert all(c.store.struck.get(kind) == 2 for kind in AT_BOOTSTRAP), c.store.struck
        for mode in ("lose", "mute"):
            strike(c, mode, "renew", 2)  # nothing else to write: it only proves the lease
        with Checker(c) as k:
            for mode in ("lose", "mute"):
                for kind in ALL_THE_TIME:
                    strike(c, mode, kind, 2)
                wait_for("it goes on", c.streaming, 30)
                seen = c.store.struck.get("config", 0)
                c.store.fault(mode, kind="config", times=1)
                code, text = p.rest("/config", "PATCH", {"postgresql": {"parameters": {
                    "work_mem": "9MB" if mode == "lose" else "10MB"}}})
                assert code == 200 and c.store.struck["config"] == seen + 1, (mode, code, text)
                assert json.loads(c.key("config")) == json.loads(text)
            assert c.primary() is p and len({a.timeline for a in k.snapshot()}) == 1, "only replies were lost"
            for mode in ("lose", "mute"):
                target = next(m for m in c.members if m is not p)
                before = dict(c.store.struck)
                for kind in AT_SWITCHOVER:
                    c.store.fault(mode, kind=kind, times=1)
                code, text = p.rest("/switchover", "POST", {"leader": p.name, "candidate": target.name})
                assert code == 200, (mode, code, text)
                wait_for("everybody streams", lambda: c.streaming() is target, 60)
                missed = [kind for kind in AT_SWITCHOVER if c.store.struck.get(kind, 0) == before.get(kind, 0)]
                assert not missed, f"{mode}: no reply was lost to {missed}"
                c.store.heal()
                p = target
        k.assert_promises()
        k.assert_none_lost(p, "two switchovers")


def foul_weather(path):
    """Each kind of bad answer for 3 s, on these paths alone: shorter than half a ttl, so nothing happens."""
    with through_proxy(timers={"ttl": 10, "loop_wait": 1, "retry_timeout": 4}) as c:
        p = c.start()
        with Checker(c) as k:
            for mode, seconds in (("slow", 0.3), ("garbage", 0), ("hang", 30), ("mute", 30), ("refuse", 0)):
                met = c.store.hits
                c.store.fault(mode, path=path, seconds=seconds)
                time.sleep(3)
                c.store.heal()
                assert c.store.hits > met, f"{mode}: nobody asked"
                proven = renewals(c)
                wait_for(f"the lease is proven again after {mode}", lambda: renewals(c) > proven, 20)
            n = c.wait_streaming(timeout=60)
        k.assert_promises()
        assert n is p and {a.member for a in k.snapshot()} == {p.name}, "no fault was as long as half a ttl"
        assert k.outage_s() < 1, "the primary served all the time"


def renewals(c):
    """Only the leader sends these, and only they prove its lease."""
    return c.store.answered.get("renew", 0) + c.store.answered.get("status", 0)


def test_half_open_slow_and_garbage():
    foul_weather("")


def test_half_open_slow_and_garbage_for_leases():
    foul_weather("^/v3/lease/")


def test_half_open_slow_and_garbage_for_keys():
    foul_weather("^/v3/kv/")


def test_lease_path_dead_kv_path_alive():
    """Keepalives get nowhere while transactions work: the lease must not be believed."""
    with through_proxy() as c:
        p = c.start()
        with Checker(c) as k:
            time.sleep(0.3)
            c.store.fault("hang", path="/lease/keepalive", seconds=30)
            wait_for("the primary has stopped taking writes", lambda: not c.is_writable(p), 20)
            time.sleep(2)
            c.store.heal()
            c.wait_streaming(timeout=120)
        k.assert_promises()


def test_agent_killed_50_times_under_pgbench():
    with Cluster() as c:
        p = c.start()
        env = {**os.environ, "PGPASSWORD": "super-secret"}
        base = ["-h", "127.0.0.1", "-p", str(p.pg_port), "-U", "postgres", "postgres"]
        subprocess.run([f"{PG_BIN}/pgbench", "-i", "-q", "-s", "1", *base], check=True, env=env,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=demote, cwd="/")
        started = p.sql("select pg_postmaster_start_time()")
        bench = subprocess.Popen([f"{PG_BIN}/pgbench", "-n", "-c", "4", "-T", "600", *base], env=env,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 preexec_fn=demote, cwd="/")
        for i in range(50):
            p.kill_agent()
            p.start()
            wait_for(f"agent {i} leads", lambda: p.rest("/primary", timeout=1)[0] == 200, 10)
        kill(bench.pid, signal.SIGINT)
        out = bench.communicate()[0]
        assert "aborted" not in out and "error" not in out.lower().replace("0 errors", ""), out
        assert p.sql("select pg_postmaster_start_time()") == started
        assert c.wait_streaming() is p


def test_frozen_agent_again_and_again():
    """SIGSTOP for three ttls: one new primary each time, and never two writers. HOWDAH_IT_ROUNDS=20 for more."""
    rounds = int(os.environ.get("HOWDAH_IT_ROUNDS", "2"))
    with Cluster() as c:
        p = c.start()
        for i in range(rounds):
            with Checker(c) as k:
                time.sleep(0.3)
                frozen = time.monotonic()
                p.kill_agent(signal.SIGSTOP)
                n = c.wait_primary(timeout=30, other_than=p)
                while time.monotonic() < frozen + 3 * c.timers["ttl"]:
                    assert not c.is_writable(p), f"round {i + 1}: {p.name} is frozen and writes"
                    time.sleep(0.2)
                p.kill_agent(signal.SIGCONT)
                wait_for(f"{p.name} follows {n.name}", lambda: c.streaming() is n, 90)
                time.sleep(0.3)
            k.assert_promises()
            acks = k.snapshot()
            assert [m for m, _ in itertools.groupby(a.member for a in acks)] == [p.name, n.name], \
                "one new primary"
            assert len({a.timeline for a in acks}) == 2
            print(f"round {i + 1} of {rounds}: {p.name} frozen, {n.name} leads after a silence of "
                  f"{k.outage_s():.2f} s; two writers for {k.two_writers_s():.1f} s", flush=True)
            p = n


def test_one_of_three_etcd_lost_and_its_leader():
    with Cluster(etcd_count=3, timers={"ttl": 10, "loop_wait": 1, "retry_timeout": 4}) as c:
        p = c.start()
        with Checker(c) as k:
            time.sleep(0.3)
            c.etcd.stop(0)
            time.sleep(3)
            c.etcd.start(0, wait=False)
            time.sleep(3)
            leader = re.search(r"(\d+), [^\n]*\btrue\b", c.etcd.ctl("endpoint", "status")) and next(
                i for i in range(3)
                if "true" in c.etcd.ctl("endpoint", "status").splitlines()[i].split(", ")[4:6])
            c.etcd.stop(leader)
            time.sleep(5)
            c.etcd.start(leader, wait=False)
            time.sleep(2)
        assert c.wait_streaming() is p
        k.assert_promises()
        assert k.outage_s() < 1, "the primary never noticed"


def test_wrong_replication_password():
    with Cluster(count=2) as c:
        first, second = c.members
        hba = ["local all all trust", "host all all 127.0.0.1/32 scram-sha-256",
               "host replication all 127.0.0.1/32 scram-sha-256"]
        c.overrides = {"postgresql": {"pg_hba": hba}}
        second.overrides = {"postgresql": {"authentication": {"replication": {"password": "wrong"}}}}
        c.etcd.start()
        first.start()
        c.wait_primary()
        second.start()
        wait_for("it says why", lambda: "password authentication failed" in second.log_text(), 30)
        assert "wrong" not in second.log_text().replace("wrong settings", ""), "no secret in the log"
        assert c.is_writable(first)
        second.kill_agent(signal.SIGTERM)
        second.wait_ended()
        second.overrides = {}
        second.start()
        c.wait_streaming(timeout=40)
