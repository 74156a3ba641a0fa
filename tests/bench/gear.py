"""What the rows measure with: clusters of either kind, the outage a writer sees, pgbench, memory, floors."""
import base64
import glob
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "it"))
import cluster as c  # noqa: E402
from checker import Checker  # noqa: E402
from measure import Janitor, floor_program, lost_writes, rollup, together  # noqa: E402,F401

WHO = ("patroni", "ours")
SLOW = {"ttl": 30, "loop_wait": 10, "retry_timeout": 10}


# --- nothing is left behind

def clear(places):
    """Ends what still runs in these directories, and removes them."""
    for _ in range(200):
        left = [p for d in places for p in c.processes_of(d)]
        for pid in left:
            c.kill(pid, signal.SIGCONT)
            c.kill(pid)
        if not left:
            break
        time.sleep(0.05)
    for d in places:
        c.shutil.rmtree(d, ignore_errors=True)


# --- clusters

class Clusters:
    """One running cluster a kind and set of timers, kept from row to row; thrown away after a failed run."""

    def __init__(self, janitor):
        self.janitor, self.kept = janitor, {}

    def make(self, who, timers, respawn=False):
        cl = c.Cluster(timers=timers)
        self.janitor.mind(cl.dir)
        for m in cl.members:
            if who == "patroni":
                m.program = ["/usr/bin/patroni"]
                m.overrides = {"postgresql": {"parameters": {"restart_after_crash": None}}}
            elif respawn:
                m.program = [f"{cl.bin}/howdah-warden", "--respawn", "--"] + m.program
        return cl

    def get(self, who, timers=None, copy=0):
        timers = timers or SLOW
        key = (who, copy, tuple(sorted(timers.items())))
        if key not in self.kept:
            cl = self.kept[key] = self.make(who, timers)
            cl.start(timeout=180)
        self.kept[key].wait_streaming(timeout=180)
        return self.kept[key]

    def drop(self, cl):
        for key in [k for k, kept in self.kept.items() if kept is cl]:
            self.kept.pop(key).stop()

    def drop_all(self):
        for key in list(self.kept):
            self.kept.pop(key).stop()


# --- outages

class Seen:
    """What the writers saw around an action at `at`."""

    def __init__(self, checker, at):
        self.at = at
        self.outage_s = checker.outage_s(after=at - 0.5)
        self.two_writers_s, self.lost = checker.two_writers_s(), lost_writes(checker)


def around(cl, act, until=None, settle=0.3, timeout=120, pause=0.001):
    """One writer a server, all the while; `act`; ends `settle` after an acknowledgement `until` accepts
    (default: any that comes after writes had stopped for 20 ms, or 5 s without such a stop)."""
    with Checker(cl, pause=pause, standbys=False) as k:
        time.sleep(1.0)
        at = time.monotonic()
        act()

        def over():
            acks = [a for a in k.snapshot() if a.at > at]
            if until:
                return any(until(a) for a in acks)
            stopped = k.outage_s(after=at - 0.1) > 0.1
            return acks and acks[-1].at > time.monotonic() - 0.05 and \
                (stopped or time.monotonic() - at > 5)
        c.wait_for("writes go on", over, timeout, every=0.05)
        time.sleep(settle)
    return Seen(k, at)


def on_other(p):
    return lambda ack: ack.member != p.name


def lease_end(cl):
    """When etcd's lease behind the leader key ends, by time.monotonic(), to some 5 ms. For a holder that is
    already gone: etcd tells whole seconds only, so this waits for the moment one of them is over."""
    conn = http.client.HTTPConnection(cl.etcd.host, cl.etcd.ports[0][0], timeout=5)

    def ask(path, body):
        conn.request("POST", path, json.dumps(body))
        return json.loads(conn.getresponse().read())
    key = base64.b64encode(f"/service/{cl.scope}/leader".encode()).decode()
    lease = ask("/v3/kv/range", {"key": key})["kvs"][0]["lease"]

    def ttl():
        return int(ask("/v3/lease/timetolive", {"ID": lease}).get("TTL", 0))
    first = ttl()
    while True:
        now, left = time.monotonic(), ttl()
        if left < first:
            conn.close()
            return now + left + 1
        time.sleep(0.005)


# --- two bare servers, for the floors

class Bare:
    """A server without an agent, which the checker can write to."""

    def __init__(self, cl, name):
        self.cl, self.name, self.port = cl, name, c.free_port()
        self.data, self.log = f"{cl.dir}/{name}", f"{cl.dir}/{name}.log"

    def program(self, name, *args):
        out = subprocess.run([f"{c.PG_BIN}/{name}", *args], preexec_fn=c.demote, cwd=self.cl.dir,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        if out.returncode:
            raise AssertionError(f"{name}: {out.stdout}")

    def create(self, standby_of=None):
        if standby_of:
            self.program("pg_basebackup", "-D", self.data, "-h", "127.0.0.1", "-p",
                         str(standby_of.port), "-U", "postgres", "-R", "-c", "fast")
        else:
            self.program("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "-k")
            with open(f"{self.data}/postgresql.conf", "a") as f:
                f.write("wal_log_hints = on\nshared_buffers = 32MB\nmax_connections = 60\n"
                        "restart_after_crash = off\n")
        self.start()
        c.wait_for("the bare server answers", self.answers, 30)
        return self

    def start(self):
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(
                [f"{c.PG_BIN}/postgres", "-D", self.data, "-p", str(self.port), "-k", self.cl.dir],
                preexec_fn=c.demote, cwd=self.cl.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def answers(self):
        try:
            self.sql("select 1")
            return True
        except c.psycopg2.Error:
            return False

    def connect(self, **kw):
        conn = c.psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres",
                                  dbname="postgres", **kw)
        conn.autocommit = True
        return conn

    def sql(self, text):
        with self.connect() as conn, conn.cursor() as cur:
            cur.execute(text)

    def stop(self, sig=signal.SIGQUIT):
        self.proc.send_signal(sig)
        self.proc.wait()


class Pair:
    """As much of a cluster as the checker asks for."""

    def __init__(self, *members):
        self.members = members

    def wait_primary(self):
        return self.members[0]


# --- load, memory, requests

class Pgbench:
    """Four connections that commit as fast as they can; one that is lost counts as a failed transaction."""

    def __init__(self, member, seconds):
        self.seconds, self.prefix = seconds, f"{member.home}/pgbench"
        self.args = [f"{c.PG_BIN}/pgbench", "-h", "127.0.0.1", "-p", str(member.pg_port),
                     "-U", "postgres", "postgres"]
        self.run(["-i", "-q"]).wait()

    def run(self, more):
        return subprocess.Popen(self.args[:-1] + more + self.args[-1:], preexec_fn=c.demote, cwd="/",
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def around(self, act):
        """(failed transactions, longest time without a commit from `act` on, the same before it)"""
        for old in glob.glob(self.prefix + ".*"):
            os.unlink(old)
        load = self.run(["-n", "-N", "-c", "4", "-j", "1", "-T", str(self.seconds), "-l",
                         f"--log-prefix={self.prefix}"])
        time.sleep(self.seconds / 2)
        at = time.time()
        act()
        text = load.communicate()[0]
        done = re.search(r"number of failed transactions: (\d+)", text)
        if not done:
            raise AssertionError(f"pgbench: {text}")
        failed = int(done[1]) + len(re.findall(r"client \d+ (?:script \d+ )?aborted", text))
        times = []
        for path in glob.glob(self.prefix + ".*"):
            with open(path) as f:
                times += [int(s) + int(us) / 1e6 for *_, s, us in (ln.split()[:6] for ln in f)]
        times.sort()
        gaps = list(zip(times, times[1:]))
        return (failed, max(b - a for a, b in gaps if b > at),
                max(b - a for a, b in gaps[100:] if b <= at))


def agent_pids(member):
    """The agent and whatever it runs beside itself: not PostgreSQL, and not the warden."""
    parent = {}
    for pid in c.processes_of(member.cluster.dir):
        try:
            with open(f"/proc/{pid}/stat") as f:
                parent[pid] = int(f.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass
    found = [member.proc.pid]
    for pid in found:
        found += [p for p, of in parent.items() if of == pid]
    apart = set(member.postgres_pids()) | {member.warden_pid()}
    return [p for p in found if p not in apart]


def memory_of(members):
    """[(resident, proportional)] a member, all of the agent's processes together, MB."""
    return [tuple(sum(part) for part in zip(*(rollup(p) for p in agent_pids(m)))) for m in members]


def requests_started(cl):
    """gRPC calls that members have begun at etcd so far, by service: {"KV": 12, …}"""
    with urllib.request.urlopen(cl.etcd.client_url() + "/metrics", timeout=5) as r:
        text = r.read().decode()
    found = {}
    for service, count in re.findall(
            r'^grpc_server_started_total\{.*grpc_service="(?:\w+\.)*(\w+)".*\} ([0-9.e+]+)$', text, re.M):
        found[service] = found.get(service, 0) + float(count)
    return found


def wrk(port, seconds=3):
    """/primary requests a second over eight connections, the client on the last core."""
    out = subprocess.run(["taskset", "-c", str(os.cpu_count() - 1), "wrk", "-t1", "-c8",
                          f"-d{seconds}s", f"http://127.0.0.1:{port}/primary"],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    if "Non-2xx" in out or "Requests/sec" not in out:
        raise AssertionError(f"wrk: {out}")
    return float(re.search(r"Requests/sec:\s+([0-9.]+)", out)[1])


def pin(pid, cores):
    subprocess.run(["taskset", "-acp", cores, str(pid)], check=True, stdout=subprocess.DEVNULL)
