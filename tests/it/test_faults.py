"""A store that loses replies, hangs, dawdles and lies; agents that die again and again."""
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


def test_lost_replies_to_every_kind_of_write():
    """Applied, but the reply is lost: for each path in turn, then for all."""
    with through_proxy() as c:
        c.etcd.start()
        c.store.fault("lose", path="/kv/txn", times=3)
        c.store.fault("lose", path="/lease/grant", times=2)
        p = c.start(timeout=60)
        with Checker(c) as k:
            for path in ("/lease/keepalive", "/kv/txn", "/kv/put", "/kv/range"):
                c.store.fault("lose", path=path, times=2)
                time.sleep(2.5)
                c.store.heal()
            wait_for("it goes on", lambda: c.streaming(), 30)
            target = next(m for m in c.members if m is not c.primary())
            c.store.fault("lose", path="/kv/txn", times=1)
            c.primary().rest("/switchover", "POST", {"leader": c.primary().name,
                                                     "candidate": target.name})
            time.sleep(1)
            c.store.heal()
            n = c.wait_streaming(timeout=120)
        assert c.store.hits >= 8
        k.assert_one_writer()
        assert not k.lost(n, only=lambda a: a.member == n.name)


def test_half_open_slow_and_garbage():
    with through_proxy(timers={"ttl": 10, "loop_wait": 1, "retry_timeout": 4}) as c:
        p = c.start()
        with Checker(c) as k:
            for mode, seconds in (("slow", 0.3), ("garbage", 0), ("hang", 30), ("refuse", 0)):
                c.store.fault(mode, seconds=seconds)
                time.sleep(3)
                c.store.heal()
                time.sleep(2)
            n = c.wait_streaming(timeout=120)
        k.assert_one_writer()
        assert n is p, "no fault was as long as half a ttl"


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
        k.assert_one_writer()


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
    """One new primary each time, and never two writers."""
    with Cluster() as c:
        c.start()
        for _ in range(3):
            p = c.wait_streaming()
            with Checker(c) as k:
                time.sleep(0.3)
                p.kill_agent(signal.SIGSTOP)
                c.wait_primary(timeout=30, other_than=p)
                time.sleep(5)
                p.kill_agent(signal.SIGCONT)
                c.wait_streaming(timeout=120)
            k.assert_one_writer()


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
        k.assert_one_writer()
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
