"""./dev bench [--runs N] [ROW]…: ours and Debian's patroni on the same etcd, PostgreSQL and timers, in one
run, with the floor: two bare servers. Shared machines are noisy: read the ratios and the spread."""
import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "it"))
import cluster as c  # noqa: E402
from checker import Checker  # noqa: E402

SLOW = {"ttl": 30, "loop_wait": 10, "retry_timeout": 10}
WHO = ("patroni", "howdah")


def make(who, timers=None):
    cl = c.Cluster(timers=timers or SLOW)
    if who == "patroni":
        for m in cl.members:
            m.program = ["/usr/bin/patroni"]
            m.overrides = {"postgresql": {"parameters": {"restart_after_crash": None}},
                           "log": {"level": "INFO"}}
    return cl


class Outage:
    """How long nobody acknowledged a write around what `act` does."""

    def __init__(self, cl):
        self.cl = cl

    def of(self, act, settle=1.0, timeout=90, until=None):
        with Checker(self.cl, pause=0.001) as k:
            time.sleep(1.0)
            at = time.monotonic()
            act()
            end = at + timeout
            while time.monotonic() < end:
                acks = [a for a in k.snapshot() if a.at > at]
                if until:
                    if any(until(a) for a in acks):
                        break
                elif acks and time.monotonic() - at > 3 and acks[-1].at > time.monotonic() - 0.5:
                    break
                time.sleep(0.1)
            time.sleep(settle)
        return k.outage_s(after=at - 0.5), k.two_writers_s(), k


def other(p):
    return lambda a: a.member != p.name


def floor(runs):
    """Two bare servers, streaming: stop one fast, promote the other."""
    found = []
    cl = c.Cluster()
    try:
        a, b = f"{cl.dir}/a", f"{cl.dir}/b"
        pa, pb = c.free_port(), c.free_port()

        def run(*args):
            subprocess.run(args, check=True, preexec_fn=c.demote, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, cwd=cl.dir)

        def ctl(data, *args):
            run(f"{c.PG_BIN}/pg_ctl", "-D", data, "-w", *args)
        for _ in range(runs):
            run(f"{c.PG_BIN}/initdb", "-D", a, "-A", "trust", "-U", "postgres")
            ctl(a, "-l", f"{cl.dir}/a.log", "-o", f"-p {pa} -k {cl.dir} -c wal_log_hints=on", "start")
            run(f"{c.PG_BIN}/pg_basebackup", "-D", b, "-h", "127.0.0.1", "-p", str(pa), "-U", "postgres",
                "-R", "-c", "fast")
            ctl(b, "-l", f"{cl.dir}/b.log", "-o", f"-p {pb} -k {cl.dir}", "start")

            class Bare:
                def __init__(self, name, port):
                    self.name, self.port = name, port

                def connect(self, **kw):
                    conn = c.psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres",
                                              dbname="postgres", **kw)
                    conn.autocommit = True
                    return conn

                def sql(self, text):
                    with self.connect() as conn, conn.cursor() as cur:
                        cur.execute(text)

            class Two:
                members = [Bare("a", pa), Bare("b", pb)]

                def wait_primary(self):
                    return self.members[0]
            two = Two()

            def act():
                two.members[0].sql("checkpoint")
                with open(f"{a}/postmaster.pid") as f:
                    pid = int(f.readline())
                c.kill(pid, signal.SIGINT)  # pg_ctl would look only every 100 ms
                while c.alive(pid):
                    time.sleep(0.001)
                two.members[1].sql("select pg_promote(false)")
            out, _, _ = Outage(two).of(act, until=lambda k: k.member == "b", settle=0.3)
            found.append(out)
            ctl(b, "-m", "immediate", "stop")
            run("rm", "-rf", a, b)
    finally:
        cl.stop()
    return found


def with_cluster(who, runs, measure, timers=None):
    found = []
    cl = make(who, timers)
    try:
        cl.start(timeout=120)
        for _ in range(runs):
            found.append(measure(cl, cl.wait_streaming(timeout=180)))
    finally:
        cl.stop()
    return found


def switchover(who, runs):
    def one(cl, p):
        target = next(m for m in cl.members if m is not p)

        def act():
            code, text = p.rest("/switchover", "POST", {"leader": p.name, "candidate": target.name})
            assert code == 200, text
        return Outage(cl).of(act, until=other(p))[0]
    return with_cluster(who, runs, one)


def postmaster(who, runs):
    def one(cl, p):
        return Outage(cl).of(lambda: c.kill(p.postmaster_pid()))[0]
    return with_cluster(who, runs, one)


def machine(who, runs, timers=None):
    def one(cl, p):
        out = Outage(cl).of(p.kill_all, until=other(p))[0]
        p.start()
        return out
    return with_cluster(who, runs, one, timers)


def machine_fast(who, runs):
    fast = {"ttl": 20, "loop_wait": 5, "retry_timeout": 5} if who == "patroni" else \
        {"ttl": 5, "loop_wait": 1, "retry_timeout": 2}
    return machine(who, runs, fast)


def sigterm(who, runs):
    def one(cl, p):
        out = Outage(cl).of(lambda: p.kill_agent(signal.SIGTERM), until=other(p))[0]
        p.wait_ended(60)
        p.start()
        return out
    return with_cluster(who, runs, one)


def frozen(who, runs):
    timers = {"ttl": 20, "loop_wait": 5, "retry_timeout": 5}

    def one(cl, p):
        _, two, _ = Outage(cl).of(lambda: p.kill_agent(signal.SIGSTOP), until=other(p), settle=10)
        p.kill_agent(signal.SIGCONT)
        return two
    return with_cluster(who, runs, one, timers)


def agent_restart(who, runs):
    def one(cl, p):
        def act():
            p.kill_agent()
            p.start()
        return Outage(cl).of(act, settle=5)[0]
    return with_cluster(who, runs, one)


def rollup(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        text = f.read()
    return [int(re.search(rf"^{k}:\s+(\d+)", text, re.M)[1]) / 1024 for k in ("Rss", "Pss")]


def memory(who, runs):
    cl = make(who)
    try:
        cl.start(timeout=120)
        time.sleep(25)
        rows = [rollup(m.proc.pid) for m in cl.members]
        wardens = [rollup(m.warden_pid())[0] for m in cl.members if m.warden_pid()]
        print(f"  {who}: resident {statistics.median(r[0] for r in rows):.1f} MB, proportional "
              f"{statistics.median(r[1] for r in rows):.1f} MB" +
              (f", warden {statistics.median(wardens):.2f} MB" if wardens else ""))
        return [r[0] for r in rows]
    finally:
        cl.stop()


def requests_idle(who, runs):
    cl = make(who)

    def handled():
        with urllib.request.urlopen(cl.etcd.client_url() + "/metrics") as r:
            text = r.read().decode()
        return sum(float(m) for m in re.findall(
            r'^grpc_server_started_total\{[^}]*\} ([0-9.e+]+)$', text, re.M))
    try:
        cl.start(timeout=120)
        time.sleep(35)
        found = []
        for _ in range(max(1, runs // 2)):
            before = handled()
            time.sleep(60)
            found.append((handled() - before) / 3 / 6)
        return found
    finally:
        cl.stop()


def probe(who, runs):
    cl = make(who)
    found = []
    try:
        p = cl.start(timeout=120)
        for _ in range(runs):
            out = subprocess.run(["taskset", "-c", "0", "wrk", "-t1", "-c8", "-d3s",
                                  f"http://127.0.0.1:{p.rest_port}/primary"],
                                 stdout=subprocess.PIPE, text=True).stdout
            found.append(float(re.search(r"Requests/sec:\s+([0-9.]+)", out)[1]))
        return found
    finally:
        cl.stop()


def start_up(who, runs):
    found, leaders = [], []
    for _ in range(runs):
        cl = make(who)
        try:
            cl.etcd.start()
            began = time.monotonic()
            for m in cl.members:
                m.start()
            cl.wait_primary(60)
            leaders.append(time.monotonic() - began)
            cl.wait_streaming(timeout=120)
            found.append(time.monotonic() - began)
        finally:
            cl.stop()
    print(f"  {who}: first primary {statistics.median(leaders):.2f} s")
    return found


# name: (what, how, ours at most, the floor's figure on the machine the budget was set on)
ROWS = {
    "switchover": ("write outage of a switchover, s", switchover, 0.15),
    "postmaster": ("kill -9 of the postmaster, s", postmaster, None),
    "machine": ("primary, agent and warden killed, ttl 30, s", machine, None),
    "machine_fast": ("the same at the shortest timers, s", machine_fast, 6),
    "sigterm": ("SIGTERM to the leader's agent, s", sigterm, 0.2),
    "frozen": ("agent SIGSTOPped, two writers for, s", frozen, 0),
    "agent": ("agent killed and restarted, outage, s", agent_restart, None),
    "memory": ("resident memory a member, MB", memory, 14),
    "requests": ("store requests a member a loop, idle", requests_idle, 1.0),
    "probe": ("/primary requests a second, one core", probe, 80000),
    "start": ("three members streaming, s", start_up, 4),
}


def spread(values):
    if not values:
        return "-"
    return f"{statistics.median(values):.3g} [{min(values):.3g} … {max(values):.3g}]"


def main():
    args = argparse.ArgumentParser(prog="./dev bench")
    args.add_argument("--runs", type=int, default=5)
    args.add_argument("--only", choices=WHO)
    args.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    a = args.parse_args()
    version = subprocess.run(["/usr/bin/patroni", "--version"], stdout=subprocess.PIPE, text=True).stdout
    print(f"{version.strip()}; PostgreSQL {os.path.basename(os.path.dirname(c.PG_BIN))}; "
          f"{os.cpu_count()} cores; {a.runs} runs; median [least … most]")
    bare = floor(a.runs) if not a.rows or set(a.rows) & {"switchover", "sigterm"} else []
    print(f"floor, stop one and promote the other: {spread(bare)} s", flush=True)
    table = []
    for name in a.rows or ROWS:
        what, how, most = ROWS[name]
        row = {}
        for who in [a.only] if a.only else WHO:
            try:
                row[who] = how(who, a.runs)
            except Exception as e:  # one row must not cost the others
                print(f"  {name} {who}: {e}")
                row[who] = []
        ratio = ""
        if row.get("patroni") and row.get("howdah") and statistics.median(row["howdah"]):
            ratio = f"{statistics.median(row['patroni']) / statistics.median(row['howdah']):.1f}"
        table.append((what, spread(row.get("patroni", [])), spread(row.get("howdah", [])), ratio,
                      "" if most is None else str(most)))
        print("  " + " | ".join(table[-1]), flush=True)
    print("\n| | patroni | ours | ratio | ours at most |\n|---|---|---|---|---|")
    for row in table:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
