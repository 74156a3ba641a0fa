"""The rows of the bench: each measures both kinds and gives the lines of the table that it is about."""
import math
import os
import signal
import statistics
import subprocess
import time

import gear as g
from gear import SLOW, WHO, c

median = statistics.median


class Line:
    """One line of the table. `budget`, if any, is a figure for our median; `why` says what it consists of."""

    def __init__(self, what, unit, values, digits=2, budget=None, why="", floor=None, more=False, note=""):
        self.what, self.unit, self.values, self.digits = what, unit, values, digits
        self.budget, self.why, self.floor, self.more, self.note = budget, why, floor, more, note

    def met(self):
        ours = self.values.get("ours")
        if self.budget is None or not ours:
            return None
        return median(ours) >= self.budget if self.more else median(ours) <= self.budget


class Bench:
    """What rows share: how often to measure, what to measure on, and the floors, measured once a run."""

    def __init__(self, runs, clusters, kinds=WHO):
        self.runs, self.clusters, self.kinds = runs, clusters, kinds
        self.floors = {}

    def floor(self, name):
        if name not in self.floors:
            self.floors[name] = FLOORS[name](self)
        return self.floors[name]

    def each(self, measure, timers=None):
        """{who: [result of measure(cluster, primary)]}, one kind after the other."""
        return {who: [self.once(measure, self.clusters.get(who, timers)) for _ in range(self.runs)]
                for who in self.kinds}

    def at_once(self, measure, timers, copies=1):
        """The same, for what mostly waits: the kinds, and `copies` clusters of each, at the same time."""
        jobs = [(who, k) for who in self.kinds for k in range(copies)]
        for who, k in jobs:
            self.clusters.get(who, timers[who], k)
        found = {who: [] for who in self.kinds}
        for _ in range(math.ceil(self.runs / copies)):
            got = g.together({(who, k): lambda who=who, k=k: self.once(
                measure, self.clusters.get(who, timers[who], k)) for who, k in jobs})
            for (who, k), value in got.items():
                found[who].append(value)
        return found

    def once(self, measure, cl):
        try:
            return measure(cl, cl.wait_streaming(timeout=180))
        except BaseException:
            self.clusters.drop(cl)
            raise


# --- floors

def floor_handover(bench):
    """Two bare servers that stream: stop the one, promote the other."""
    found = []
    for _ in range(bench.runs):
        cl = bench.clusters.make("ours", SLOW)
        try:
            a = g.Bare(cl, "a").create()
            b = g.Bare(cl, "b").create(standby_of=a)

            def act():
                a.sql("checkpoint")
                a.stop(signal.SIGINT)
                b.sql("select pg_promote(false)")
            found.append(g.around(g.Pair(a, b), act, until=lambda k: k.member == "b").outage_s)
        finally:
            cl.stop()
    return found


def floor_recovery(bench):
    """A bare server whose postmaster is killed and started again as soon as its processes are gone."""
    found = []
    cl = bench.clusters.make("ours", SLOW)
    try:
        a = g.Bare(cl, "a").create()

        def act():
            a.stop(signal.SIGKILL)
            c.wait_for("processes gone", lambda: not c.processes_of(a.data), 10, every=0.002)
            a.start()
        for _ in range(bench.runs):
            a.sql("checkpoint")  # so that every recovery has the same second of WAL
            found.append(g.around(g.Pair(a), act).outage_s)
    finally:
        cl.stop()
    return found


def floor_libraries(bench):
    """([(resident, proportional)], [answers a second]) of floor.c, three at a time as the agents are."""
    cl = bench.clusters.make("ours", SLOW)
    try:
        program = g.floor_program(cl.dir)
        ports = [c.free_port() for _ in range(3)]
        running = [subprocess.Popen([program, str(p)], preexec_fn=c.demote, cwd=cl.dir) for p in ports]
        time.sleep(1)
        memory = [g.rollup(p.pid) for p in running]
        g.pin(running[0].pid, "0")
        answers = [g.wrk(ports[0]) for _ in range(bench.runs)]
        for p in running:
            p.kill()
            p.wait()
        return memory, answers
    finally:
        cl.stop()


FLOORS = {"handover": floor_handover, "recovery": floor_recovery, "libraries": floor_libraries}


# --- rows

def handover_line(bench, what, values, budget):
    floor = bench.floor("handover")
    return Line(what, "s", values, budget=budget * median(floor) / 0.05, floor=floor,
                why=f"{budget} × floor ÷ 0.05")


def switchover(bench):
    bench.floor("handover")

    def one(cl, p):
        target = next(m for m in cl.members if m is not p)

        def act():
            code, text = p.rest("/switchover", "POST", {"leader": p.name, "candidate": target.name})
            if code != 200:
                raise AssertionError(f"switchover: {code} {text}")
        return g.around(cl, act, until=g.on_other(p)).outage_s
    return [handover_line(bench, "switchover: write outage", bench.each(one), 0.15)]


def sigterm(bench):
    bench.floor("handover")

    def one(cl, p):
        seen = g.around(cl, lambda: p.kill_agent(signal.SIGTERM), until=g.on_other(p))
        p.wait_ended(60)
        p.start()
        return seen.outage_s
    return [handover_line(bench, "SIGTERM to the leader's agent: write outage", bench.each(one), 0.2)]


def postmaster(bench):
    floor = bench.floor("recovery")

    def one(cl, p):
        p.sql("checkpoint")
        return g.around(cl, lambda: c.kill(p.postmaster_pid())).outage_s
    values = bench.each(one)
    return [Line("`kill -9` of the primary's postmaster: write outage", "s", values,
                 budget=0.3 + median(floor), floor=floor, why="0.3 + floor")]


def machine_once(cl, p):
    ends = []

    def act():
        p.kill_all()
        ends.append(g.lease_end(cl))
    seen = g.around(cl, act, until=g.on_other(p))
    p.start()
    return seen.outage_s, seen.at + seen.outage_s - ends[0]


def machine(bench):
    found = bench.at_once(machine_once, dict.fromkeys(WHO, SLOW))
    return [Line("primary, agent and warden killed, ttl 30: write outage", "s",
                 {who: [r[0] for r in rows] for who, rows in found.items()}, digits=1),
            Line("… of it after the lease's end", "s",
                 {who: [r[1] for r in rows] for who, rows in found.items()}, budget=0.8,
                 why="lease left + 0.8")]


def machine_fast(bench):
    timers = {"patroni": {"ttl": 20, "loop_wait": 5, "retry_timeout": 5},
              "ours": {"ttl": 5, "loop_wait": 1, "retry_timeout": 2}}
    found = bench.at_once(machine_once, timers)
    return [Line("… at the shortest timers (ttl 20; ours 5)", "s",
                 {who: [r[0] for r in rows] for who, rows in found.items()}, budget=6.0, why="6")]


def frozen(bench):
    timers = {"ttl": 20, "loop_wait": 5, "retry_timeout": 5}
    lost = dict.fromkeys(WHO, 0)

    def one(cl, p):
        def act():
            p.kill_agent(signal.SIGSTOP)
            time.sleep(3 * timers["ttl"])
            p.kill_agent(signal.SIGCONT)
        seen = g.around(cl, act, until=g.on_other(p), settle=3, pause=0.02)
        lost["patroni" if "patroni" in p.program[0] else "ours"] += seen.lost
        return seen.two_writers_s
    try:
        found = bench.at_once(one, dict.fromkeys(WHO, timers), copies=2 if bench.runs > 1 else 1)
    finally:
        bench.clusters.drop_all()  # four clusters would disturb what comes after
    return [Line("agent SIGSTOPped for 3 × ttl (20): two writers for", "s", found, budget=0, why="0",
                 note="; ".join(f"{who}: {lost[who]} acknowledged writes lost" for who in bench.kinds))]


def respawned(member):
    return next(p for p in g.agent_pids(member) if p != member.proc.pid)


def agent(bench):
    """Killed with -9 and started again at once, under pgbench; ours also below howdah-warden --respawn."""
    def one(cl, p, kill=None):
        def act():
            p.kill_agent()
            p.start()
        return g.Pgbench(p, 10).around(kill or act)
    found = bench.each(one)
    calm = [r[2] for rows in found.values() for r in rows]
    notes = []
    if "ours" in bench.kinds:
        cl = bench.clusters.make("ours", SLOW, respawn=True)
        try:
            p = cl.start(timeout=180)
            again = [one(cl, p, lambda: c.kill(respawned(p))) for _ in range(bench.runs)]
            notes.append(f"below --respawn: {sum(r[0] for r in again)} failed, longest pause "
                         f"{max(r[1] for r in again):.3f} s")
        finally:
            cl.stop()
        if sum(r[0] for r in again):
            found["ours"] += again  # a failed transaction counts wherever it was
    return [Line("agent killed and restarted: failed transactions", "",
                 {who: [r[0] for r in rows] for who, rows in found.items()}, digits=0, budget=0,
                 why="0", note="; ".join(notes)),
            Line("… longest time without a commit, four connections", "s",
                 {who: [r[1] for r in rows] for who, rows in found.items()}, digits=3,
                 budget=max(calm), floor=calm, why="an outage of 0: the floor's longest")]


def count_requests(kinds, wanted, window_s):
    """{who: [{kind of request: how many}]} of windows in which nothing was written to the database: autovacuum
    and checkpoints move the position, which is then published; that is not idleness."""
    found = {who: [] for who in kinds}

    def look():
        return {who: (g.requests_started(cl), cl.wait_primary().sql("select pg_current_wal_lsn()::text"))
                for who, cl in kinds.items()}
    before = look()
    for _ in range(5 * wanted):
        time.sleep(window_s)
        after = look()
        for who in kinds:
            (was, at), (now, end) = before[who], after[who]
            if at == end and len(found[who]) < wanted:
                found[who].append({k: now[k] - was.get(k, 0) for k in now})
        before = after
        if all(len(n) == wanted for n in found.values()):
            return found
    raise AssertionError("the database was never idle")


def idle(bench):
    """Store requests of an idle cluster, and then its memory. Both kinds at once: they only wait."""
    loops, window_s = 2, 2 * SLOW["loop_wait"]
    kinds = {}
    try:
        for who in bench.kinds:
            kinds[who] = bench.clusters.make(who, SLOW)
            kinds[who].start(timeout=180)
        time.sleep(60 if bench.runs > 1 else 20)  # a bootstrap's last writes are not idleness
        counts = count_requests(kinds, max(3, bench.runs), window_s)
        memory, wardens = {}, []
        for who in [w for w in WHO if w in kinds]:  # Patroni first: shared pages only flatter it
            memory[who] = g.memory_of(kinds[who].members)
            if who == "ours":
                wardens = [g.rollup(m.warden_pid()) for m in kinds[who].members]
            kinds.pop(who).stop()
    finally:
        for cl in kinds.values():
            cl.stop()
    floor = bench.floor("libraries")[0]
    requests = {who: [sum(n.values()) for n in seen] for who, seen in counts.items()}
    kinds_of = {who: ", ".join(f"{k} {sum(n[k] for n in seen) / 3 / loops / len(seen):.2f}"
                               for k in sorted(seen[-1]) if any(n[k] for n in seen))
                for who, seen in counts.items() if seen}

    def size(i, what, then, least):
        now = [m[i] for m in floor]
        return Line(what, "MB", {who: [m[i] for m in rows] for who, rows in memory.items()}, digits=1,
                    budget=then * median(now) / least, floor=now, why=f"{then} × floor ÷ {least}")
    return [Line("store requests a member a loop, idle", "",
                 {who: [n / 3 / loops for n in values] for who, values in requests.items()},
                 budget=1.0, why="1.0",
                 note="; ".join(f"{who}: {text}" for who, text in kinds_of.items())),
            size(0, "memory a member: resident", 14, 10.8),
            size(1, "memory a member: proportional", 5, 3.4),
            Line("memory a member: the warden, resident", "MB",
                 {"ours": [w[0] for w in wardens]}, budget=0.3, why="0.3")]


def probe(bench):
    floor = bench.floor("libraries")[1]
    found = {}
    for who in bench.kinds:
        cl = bench.clusters.get(who)
        p = cl.wait_streaming()
        g.pin(p.proc.pid, "0")
        try:
            found[who] = [g.wrk(p.rest_port) for _ in range(bench.runs)]
        finally:
            g.pin(p.proc.pid, f"0-{os.cpu_count() - 1}")
    return [Line("`/primary` answers a second, one core, 8 connections", "/s", found, digits=0, more=True,
                 budget=80000 * median(floor) / 145000, floor=floor, why="80,000 × floor ÷ 145,000")]


def start(bench):
    first, all_of_it = {}, {}
    for who in bench.kinds:
        first[who], all_of_it[who] = [], []
        for _ in range(bench.runs):
            cl = bench.clusters.make(who, SLOW)
            try:
                cl.etcd.start()
                began = time.monotonic()
                for m in cl.members:
                    m.start()
                cl.wait_primary(60)
                first[who].append(time.monotonic() - began)
                cl.wait_streaming(timeout=180)
                all_of_it[who].append(time.monotonic() - began)
            finally:
                cl.stop()
    return [Line("new cluster: first primary after", "s", first, budget=1.5, why="1.5"),
            Line("new cluster: three members streaming after", "s", all_of_it, budget=4.0, why="4")]


# What needs quiet comes first, what leaves clusters running next, what must not have any beside it last.
ROWS = {"idle": idle, "start": start, "switchover": switchover, "postmaster": postmaster,
        "sigterm": sigterm, "agent": agent, "probe": probe, "machine": machine,
        "machine_fast": machine_fast, "frozen": frozen}
