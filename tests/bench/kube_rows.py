"""The rows of the bench on Kubernetes: how a sample of each is taken, and the lines of the table it makes."""
import os
import signal
import statistics
import time

import kube_gear as g
from checker import Checker
from kube_client import Writer, around, elsewhere, goes_on
from kube_gear import KINDS, wait_for
from measure import lost_writes, rollup

OURS = ("endpoints", "leases")
FROZEN_S = 45  # of a ttl of 30
median = statistics.median


def stop_for(pid, seconds):
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # somebody has ended it meanwhile


# --- samples: one measurement of a cluster each

def postgres(cl):
    leader = cl.settle()
    cl.sql(leader, "checkpoint")  # so that every recovery has the same few seconds of WAL
    pid = cl.postmaster_pid(leader)
    return around(Writer(cl), lambda: os.kill(pid, signal.SIGKILL), goes_on)


def agent(cl):
    leader = cl.settle()
    pid = cl.agent_pid(leader)
    sample = around(Writer(cl), lambda: os.kill(pid, signal.SIGKILL), goes_on, calm_s=5)
    if isinstance(cl, g.Theirs):
        # Its first process was killed: the kubelet would wait longer and longer before it starts it again. In a
        # pod made anew it does not.
        recreate(cl, leader)
    return sample


def recreate(cl, pod):
    uid = cl.lab.get("pod", pod)["metadata"]["uid"]
    cl.lab.kubectl("delete", "pod", pod, "--wait=false")

    def another():
        found = cl.lab.kubectl("get", "pod", pod, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}")
        return found not in ("", uid)
    wait_for("the pod is made anew", another, 120, every=0.5)
    cl.settle()


def deleted(cl):
    leader = cl.settle()
    was = cl.address(leader)
    sample = around(Writer(cl), lambda: cl.lab.kubectl("delete", "pod", leader, "--wait=false"), elsewhere(was))
    wait_for("another pod is labelled", lambda: cl.primary() not in (None, leader), 60)
    cl.settle()
    return sample


def hang(cl, seconds, service="demo"):
    cl.settle()
    server = cl.lab.pid("kube-apiserver")

    def over(w, at):  # also what comes once it answers again
        return time.monotonic() - at > seconds + 10 and w.quiet_s() < 0.2
    return around(Writer(cl, service), lambda: stop_for(server, seconds), over, calm_s=10)


def frozen(cl):
    """A writer at each pod's own address, as from a pool that has kept its connections."""
    leader = cl.settle()
    pid = cl.agent_pid(leader)
    with Checker(cl, pause=0.02, standbys=False) as k:
        time.sleep(1)
        stop_for(pid, FROZEN_S)
        wait_for("another server takes writes", lambda: any(a.member != leader for a in k.snapshot()), 90)
        time.sleep(5)
    return {"two_writers": k.two_writers_s(), "lost": lost_writes(k)}


def idle(cl):
    """A minute in which the database was not written to either: its position would be published."""
    # What came before is written out, and a bootstrap's last writes are over: neither is idleness.
    cl.sql(cl.settle(), "checkpoint")
    cl.grow_old(45)

    def look():
        return g.writes(cl.lab), cl.sql(cl.primary(), "select pg_current_wal_lsn()::text")
    before = look()
    for _ in range(5):
        time.sleep(60)
        after = look()
        if before[1] == after[1]:
            return {"writes": dict(after[0] - before[0])}
        before = after
    raise AssertionError("the database was never idle")


def together_of(pids):
    """(resident, proportional) of several processes, MB."""
    return [sum(part) for part in zip(*(rollup(pid) for pid in pids))]


def memory(cl):
    """Of each pod: the agent's container without the server, and the server's warden; MB."""
    cl.settle()
    cl.grow_old(120)
    found = {"resident": [], "proportional": [], "warden": []}
    for pod in cl.pods:
        resident, proportional = together_of(cl.agent_pids(pod))
        found["resident"].append(resident)
        found["proportional"].append(proportional)
        if not isinstance(cl, g.Theirs):
            found["warden"].append(rollup(cl.warden_pid(pod))[0])
    return found


def moved(bare, how):
    """From the request that moves the Service to the first row that the other server has taken. Every row has a
    connection of its own, which goes where the Service leads at that moment."""
    target = bare.other(how)
    with Writer(bare, service=how, fresh=True) as w:
        time.sleep(2)  # kube-proxy makes a second change at once, but not a third within a second
        at = time.monotonic()
        bare.lead(how, target)

        def first():
            return next((a for a in list(w.acks) if a.at > at and a.address == bare.addresses[target]), None)
        return w.wait("rows on the other server", first, 30).at - at


def floor_deleted(bare):
    return {how: moved(bare, how) for how in ("subset", "label")}


def floor_postgres(bare):
    pod = bare.leads["label"]
    bare.sql(pod, "checkpoint")
    pid = bare.postmaster_pid(pod)
    return around(Writer(bare, service="label"), lambda: os.kill(pid, signal.SIGKILL), goes_on)


def floor_memory(bare):
    sizes = [together_of(pids) for pids in bare.libraries()]
    return {"resident": [s[0] for s in sizes], "proportional": [s[1] for s in sizes]}


IMAGE_NAMES = {"howdah": "the agent", "howdah-postgres": "agent and Postgres in one", "postgres": "Postgres",
               "patroni": "Patroni and Postgres in one"}


def images(_):
    """What a registry keeps and a node unpacks: {name: (compressed, unpacked)}, MB."""
    found = {name: g.layers(name) for name in IMAGE_NAMES}

    def size(chosen):
        return [sum(part) / 1e6 for part in zip(*chosen)]
    sizes = {name: size(layers.values()) for name, layers in found.items()}
    sizes["patroni alone"] = size([v for k, v in found["patroni"].items() if k not in found["postgres"]])
    return sizes


# --- lines

class Line:
    """Values, floors and budgets by kind. `budget` is a figure for each kind's median; `why` says of what."""

    def __init__(self, what, unit, values, digits=2, budget=None, why="", floor=None, note=""):
        self.what, self.unit, self.values, self.digits = what, unit, values, digits
        self.why, self.note, self.floor = why, note, floor or {}
        self.budget = budget if isinstance(budget, dict) else \
            {} if budget is None else dict.fromkeys(OURS, budget)

    def met(self, who):
        values = self.values.get(who)
        if not values or who not in self.budget:
            return None
        return median(values) <= self.budget[who]


def per_kind(samples, key):
    return {who: [s[key] for s in samples.get(who, [])] for who in KINDS}


def total(samples, key, what):
    sums = {who: sum(s[key] for s in samples.get(who, [])) for who in KINDS}
    return f"{what}: " + ", ".join(f"{who} {n}" for who, n in sums.items() if samples.get(who))


def calm(samples):
    return [s["calm"] for who in KINDS for s in samples.get(who, [])]


def deleted_lines(samples):
    floors = samples.get("floor", [])
    floor = {"endpoints": [s["subset"] for s in floors], "leases": [s["label"] for s in floors]}
    return [Line("leader pod deleted: write outage", "s", per_kind(samples, "outage"), floor=floor,
                 budget={who: median(f) + 0.3 for who, f in floor.items() if f}, why="floor + 0.3",
                 note=total(samples, "lost", "acknowledged writes lost"))]


def postgres_lines(samples):
    floor = [s["outage"] for s in samples.get("floor", [])]
    return [Line("Postgres killed: write outage", "s", per_kind(samples, "outage"),
                 floor=dict.fromkeys(OURS, floor), budget=median(floor) + 0.3 if floor else None, why="0.3 + floor",
                 note=total(samples, "lost", "acknowledged writes lost"))]


def agent_lines(samples):
    found = calm(samples)
    return [Line("agent process killed: failed transactions", "", per_kind(samples, "failed"), 0, 0, "0"),
            Line("… longest time without a commit", "s", per_kind(samples, "outage"), 3, max(found, default=None),
                 "an outage of 0: the longest of the seconds before", dict.fromkeys(OURS, found))]


def frozen_lines(samples):
    return [Line(f"agent SIGSTOPped for {FROZEN_S} s, ttl 30: two writers for", "s", per_kind(samples, "two_writers"),
                 budget=0, why="0", note=total(samples, "lost", "acknowledged writes lost"))]


def hang_lines(seconds, why, more=""):
    def lines(samples):
        floor = [s["outage"] for s in samples.get("floor", [])]
        return [Line(f"API server hangs for {seconds} s: longest time without a commit", "s",
                     per_kind(samples, "outage"), 3 if seconds == 15 else 2, max(floor, default=None), why,
                     dict.fromkeys(OURS, floor),
                     note=total(samples, "failed", "failed transactions and attempts to connect") + more)]
    return lines


def idle_lines(samples):
    def count(who, chosen=lambda what: True):
        return [sum(n for what, n in s["writes"].items() if chosen(what)) for s in samples.get(who, [])]

    def kinds(who):
        named = sorted({what for s in samples.get(who, []) for what in s["writes"]})
        runs = len(samples.get(who, []))
        return f"{who}: " + ", ".join(
            f"{sum(s['writes'].get(what, 0) for s in samples[who]) / runs:.1f} {what}" for what in named)
    pods = {who: count(who, lambda what: what.endswith(" pods")) for who in KINDS}
    return [Line("API writes a minute, idle, three pods", "", {who: count(who) for who in KINDS}, 0, 6, "6",
                 note="; ".join(kinds(who) for who in KINDS if samples.get(who))),
            Line("… of them to pods", "", pods, 0, 0, "0")]


def memory_lines(samples):
    floors = samples.get("floor")

    def line(key, then, least):
        now = floors[0][key] if floors else []
        return Line(f"memory of a pod's agent: {key}", "MB",
                    {who: samples[who][0][key] for who in KINDS if samples.get(who)}, 1, then * median(now) / least if now else None, f"{then} × floor ÷ {least}",
                    dict.fromkeys(OURS, now))
    wardens = {who: samples[who][0]["warden"] for who in OURS if samples.get(who)}
    return [line("resident", 14, 10.8), line("proportional", 5, 3.4),
            Line("… the server's warden: resident", "MB", wardens, 2, 0.3, "0.3")]


def images_lines(samples):
    sizes = samples.get("all", [None])[0]
    if not sizes:
        return []

    def line(what, part, theirs, ours):
        return Line(what, "MB", {"patroni": [sizes[theirs][part]], **{who: [sizes[ours][part]] for who in OURS}}, 1)
    return [line("image: what the agent adds to Postgres's, compressed", 0, "patroni alone", "howdah"),
            line("… unpacked", 1, "patroni alone", "howdah"),
            line("one image with Postgres in it, compressed", 0, "patroni", "howdah-postgres"),
            line("… unpacked", 1, "patroni", "howdah-postgres")]


class Row:
    """take: {kind: how to take a sample of its cluster, or of nothing}; once: one sample is all there is;
    beside: its floor is taken while the kinds are measured, not alone."""

    def __init__(self, lines, take, once=False, beside=False):
        self.lines, self.take, self.once, self.beside = lines, take, once, beside


def of_kinds(take, **more):
    return {**dict.fromkeys(KINDS, take), **more}


def hang_row(seconds, why, more=""):
    return Row(hang_lines(seconds, why, more),
               of_kinds(lambda cl: hang(cl, seconds), floor=lambda bare: hang(bare, seconds, "label")), beside=True)


NO_FAILSAFE = "; ours has no failsafe mode yet: without it the leader stops at its lease's end, as promised"
# One kind after the other, nothing else running; then what mostly waits, all kinds at the same time. Before the
# pod is deleted comes what would cost it the kubelet's patience.
ALONE = {"postgres": Row(postgres_lines, of_kinds(postgres, floor=floor_postgres)),
         "agent": Row(agent_lines, of_kinds(agent)),
         "deleted": Row(deleted_lines, of_kinds(deleted, floor=floor_deleted))}
TOGETHER = {"idle": Row(idle_lines, of_kinds(idle)),
            "memory": Row(memory_lines, of_kinds(memory, floor=floor_memory), once=True),
            "hang15": hang_row(15, "an outage of 0: the floor's longest"),
            "hang60": hang_row(60, "0 with failsafe mode: the floor's longest", NO_FAILSAFE),
            "frozen": Row(frozen_lines, of_kinds(frozen))}
IMAGES = {"images": Row(images_lines, {"all": images}, once=True)}  # without a cluster
ROWS = {**ALONE, **TOGETHER, **IMAGES}
