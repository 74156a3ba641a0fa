"""./dev bench --kubernetes: ours, with its state in Endpoints and in a Lease, and Debian's patroni in pods of the
same Kubernetes, PostgreSQL and timers, in one run, with the floor of the machine it runs on. docs/benchmark.md
says what is measured and how to read it."""
import argparse
import json
import os
import signal
import sys
import threading
import time
import traceback

import kube_gear as g
import kube_rows as r
from measure import Janitor, together
from table import around_marks, figure, grid, machine, spread, write_between_marks

COLUMNS = ("what", "unit", "Patroni", "ours, Endpoints", "ours, Lease", "floor", "ours at most", "")
BEGIN = "<!-- written by ./dev bench --kubernetes --markdown: -->\n"
PLACE = os.path.join(g.here, "../../build/bench-kubernetes.json")
TRIES = 2  # of what fails
HEAD = ("Kubernetes 1.20, one node, whose etcd does not wait for its disk; three pods; ttl 30, loop_wait 10, "
        "retry_timeout 10; median (least … most, n)")


class Results:
    """What was measured, kept in a file: an interrupted run goes on, and rows may be measured one by one."""

    def __init__(self, path, forget=()):
        self.path, self.rows, self.versions = path, {}, {}
        self.machine, self.lock = machine(), threading.Lock()
        if os.path.exists(path):
            with open(path) as f:
                kept = json.load(f)
            self.rows, self.versions = kept["rows"], kept["versions"]
        for row in forget:
            self.rows.pop(row, None)

    def of(self, row):
        return self.rows.setdefault(row, {"machine": self.machine, "samples": {}, "failures": []})

    def samples(self, row, who):
        return self.of(row)["samples"].setdefault(who, [])

    def failures(self, row, who):
        return [text for name, text in self.of(row)["failures"] if name == who]

    def save(self):
        with self.lock:
            os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
            with open(self.path + ".new", "w") as f:
                json.dump({"versions": self.versions, "rows": self.rows}, f, indent=1)
            os.replace(self.path + ".new", self.path)


class Run:
    def __init__(self, results, labs, a):
        self.results, self.labs, self.a = results, labs, a
        self.end = time.monotonic() + 60 * a.minutes

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def missing(self, row, who):
        """How many samples are still to be taken."""
        if who in g.MADE and who != "floor" and who not in self.a.kinds:
            return 0
        if time.monotonic() > self.end or len(self.results.failures(row, who)) >= TRIES:
            return 0
        return (1 if r.ROWS[row].once else self.a.runs) - len(self.results.samples(row, who))

    def take(self, row, who):
        """One sample, or a failure that is noted and costs its cluster, but nobody else's."""
        have = self.results.samples(row, who)
        began = time.monotonic()
        try:
            cl = self.labs.get(who) if who in g.MADE else None
            if who in g.KINDS and who not in self.results.versions:
                self.results.versions[who] = g.versions(cl)
            with g.followed(cl, self.a.logs, f"{row}-{who}-{len(have) + 1}") as place:
                sample = r.ROWS[row].take[who](cl)
                if place:
                    with open(f"{place}/sample.json", "w") as f:
                        json.dump(sample, f)
        except Exception as e:
            traceback.print_exc()
            self.results.of(row)["failures"].append((who, f"{type(e).__name__}: {e}"))
            if self.a.logs and who in self.labs.kept:
                self.labs.kept[who].lab.tell()
            self.labs.drop(who)
        else:
            have.append(sample)
            self.say(f"{row} {who} {len(have)}: {json.dumps(sample)} ({time.monotonic() - began:.0f} s)")
        self.results.save()

    def alone(self, wanted):
        """Every floor, and the rows that want nothing else to run."""
        for who in ("floor", *g.KINDS):
            rows = [row for row in wanted if who in r.ROWS[row].take and
                    (row in r.ALONE or (who == "floor" and not r.ROWS[row].beside))]
            while any(self.missing(row, who) > 0 for row in rows):
                self.labs.drop_all(but=(who,))
                for row in rows:
                    if self.missing(row, who) > 0:
                        self.take(row, who)

    def together(self, wanted):
        for row in wanted:
            beside = r.ROWS[row].beside
            if not beside:
                self.labs.drop("floor")
            while jobs := {who: lambda who=who: self.take(row, who) for who in r.ROWS[row].take
                           if (who != "floor" or beside) and self.missing(row, who) > 0}:
                together(jobs)

    def everything(self, rows):
        images = {image for row in rows for who in r.ROWS[row].take for image in g.IMAGES.get(who, [])}
        g.build_images(sorted(images | (set(r.IMAGE_NAMES) if "images" in rows else set())))
        self.together([row for row in r.IMAGES if row in rows])
        self.alone([row for row in r.ROWS if row in rows])
        self.together([row for row in r.TOGETHER if row in rows])


# --- the table

def both(texts):
    """Of endpoints and leases; once if they are the same."""
    texts = list(texts)
    return texts[0] if len(set(texts)) == 1 else " / ".join(texts)


def verdict(line, who):
    met = line.met(who)
    return "–" if met is None else "met" if met else "**missed**"


def cells(line):
    values = [spread(line.values.get(who), line.digits) for who in g.KINDS]
    budget = both("–" if who not in line.budget else figure(line.budget[who], line.digits) for who in r.OURS)
    return (line.what, line.unit, *values, both(spread(line.floor.get(who), line.digits) for who in r.OURS),
            f"{budget} ({line.why})" if line.budget else "–", both(verdict(line, who) for who in r.OURS))


def markdown(results):
    names = [row for row in r.ROWS if row in results.rows]
    lines = [(row, line) for row in names for line in r.ROWS[row].lines(results.rows[row]["samples"])]
    runs = {}
    for row in names:
        runs.setdefault(results.rows[row]["machine"], []).append(row)
    versions = {who: ", ".join(f"{k} {v}" if k != "agent" else v for k, v in found.items())
                for who, found in results.versions.items()}
    head = [*(f"{when}: {', '.join(rows)}" if len(runs) > 1 else when for when, rows in sorted(runs.items())),
            "; ".join(f"{who}: {text}" for who, text in versions.items()), HEAD]
    out = [f"{h}  " for h in head] + [""] + grid(COLUMNS, (cells(line) for _, line in lines))
    notes = [f"- {line.what.lstrip('… ')}: {line.note}" for _, line in lines if line.note]
    notes += [f"- **failed:** {row}, {who}: {text}" for row in names
              for who, text in results.rows[row]["failures"]]
    return "\n".join(out + ([""] + notes if notes else [])) + "\n"


# --- the run

def arguments():
    p = argparse.ArgumentParser(prog="./dev bench --kubernetes")
    p.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(r.ROWS)}; all if none is named")
    p.add_argument("--runs", type=int, default=5, help="samples of each row (default 5)")
    p.add_argument("--quick", action="store_true", help="one sample of each: does it work?")
    p.add_argument("--only", action="append", choices=g.KINDS, dest="kinds", help="this kind; may be repeated")
    p.add_argument("--resume", action="store_true", help="keep what --results has, and take what is missing")
    p.add_argument("--results", metavar="FILE", default=PLACE, help="default build/bench-kubernetes.json")
    p.add_argument("--print", action="store_true", help="measure nothing; print the table of --results")
    p.add_argument("--minutes", type=float, default=40, help="begin no sample after so long (default 40)")
    p.add_argument("--logs", metavar="DIR", help="keep every pod's log of each sample there")
    p.add_argument("--markdown", metavar="FILE",
                   help="write the table there, too: a new file, or one with marks as docs/benchmark.md")
    a = p.parse_args()
    for row in a.rows:
        if row not in r.ROWS:
            p.error(f"no row {row}: there are {', '.join(r.ROWS)}")
    a.rows = a.rows or list(r.ROWS)
    a.kinds = tuple(a.kinds or g.KINDS)
    a.runs = 1 if a.quick else a.runs
    if a.runs < 1:
        p.error(f"--runs {a.runs}: at least 1")
    if a.markdown:
        around_marks(a.markdown, BEGIN)  # an hour later would be late to find out
    return a


def measure(a, results):
    def told_to_stop(sig, _):
        raise SystemExit(128 + sig)
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sig, told_to_stop)
    janitor = Janitor(g.clear)
    labs = g.Labs(janitor)
    run = Run(results, labs, a)
    began = time.monotonic()
    try:
        run.everything(a.rows)
    finally:
        labs.close()
        janitor.end()
    run.say(f"{(time.monotonic() - began) / 60:.0f} minutes")


def main():
    a = arguments()
    results = Results(a.results, () if a.resume or a.print else a.rows)
    if not a.print:
        if os.geteuid() != 0:
            sys.exit("./dev bench --kubernetes: run it as root: the lab and its images are root's")
        measure(a, results)
    table = markdown(results)
    print("\n" + table, end="")
    if a.markdown:
        write_between_marks(a.markdown, BEGIN, table)
    return 1 if any(results.rows[row]["failures"] for row in a.rows if row in results.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
