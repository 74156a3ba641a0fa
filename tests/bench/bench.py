"""./dev bench: ours and Debian's patroni on the same etcd, PostgreSQL and timers, in one run, with the
floor of the machine it runs on. docs/benchmark.md says what is measured and how to read it."""
import argparse
import signal
import statistics
import subprocess
import sys
import time
import traceback

import gear as g
import rows as r
from table import around_marks, figure, grid, machine, spread, write_between_marks


def ratio(line):
    """How many times better than Patroni our median is."""
    theirs, ours = line.values.get("patroni"), line.values.get("ours")
    if not theirs or not ours:
        return "–"
    theirs, ours = statistics.median(theirs), statistics.median(ours)
    if not (ours and theirs):
        return "=" if ours == theirs else "∞" if bool(ours) == line.more else "0"
    return f"{ours / theirs if line.more else theirs / ours:.3g}"


def verdict(line):
    met = line.met()
    return "–" if met is None else "met" if met else "**missed**"


COLUMNS = ("what", "unit", "Patroni", "ours", "times better", "floor", "ours at most", "")


def cells(line):
    least = "at least " if line.more else ""
    budget = "–" if line.budget is None else f"{least}{figure(line.budget, line.digits)} ({line.why})"
    return (line.what, line.unit, spread(line.values.get("patroni"), line.digits),
            spread(line.values.get("ours"), line.digits), ratio(line), spread(line.floor, line.digits), budget,
            verdict(line))


def about(runs):
    def first_line(*command):
        return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.split("\n")[0].strip()
    return [machine(),
            "; ".join((first_line("/usr/bin/patroni", "--version"),
                       first_line(f"{g.c.BIN}/howdah", "--version"), first_line("etcd", "--version"),
                       first_line(f"{g.c.PG_BIN}/postgres", "--version"))),
            f"ttl 30, loop_wait 10, retry_timeout 10 where a row names no others; {runs} "
            f"run{'s' if runs > 1 else ''} a row; median (least … most, n)"]


def markdown(head, lines, failures):
    out = [f"{h}  " for h in head] + [""] + grid(COLUMNS, map(cells, lines))
    notes = [f"- {ln.what.lstrip('… ')}: {ln.note}" for ln in lines if ln.note]
    notes += [f"- **not measured:** {name}: {why}" for name, why in failures]
    return "\n".join(out + ([""] + notes if notes else [])) + "\n"


BEGIN = "<!-- written by ./dev bench --markdown: -->\n"


def arguments():
    p = argparse.ArgumentParser(prog="./dev bench")
    p.add_argument("--row", action="append", choices=list(r.ROWS), help="only this one; may be repeated")
    p.add_argument("--runs", type=int, default=5, help="of each row (default 5)")
    p.add_argument("--quick", action="store_true", help="one run of each row")
    p.add_argument("--only", choices=g.WHO, help="measure one of the two")
    p.add_argument("--markdown", metavar="FILE",
                   help="write the table there, too: a new file, or one with marks as docs/benchmark.md")
    a = p.parse_args()
    if a.quick:
        a.runs = 1
    if a.runs < 1:
        p.error(f"--runs {a.runs}: at least 1")
    if a.markdown:
        around_marks(a.markdown, BEGIN)  # twenty minutes later would be late to find out
    return a


def measure(bench, wanted, say):
    lines, failures = [], []
    for name in wanted:
        began = time.monotonic()
        try:
            for line in r.ROWS[name](bench):
                lines.append(line)
                say("  " + " | ".join(cells(line)) + (f" [{line.note}]" if line.note else ""))
        except Exception as e:  # one row must not cost the others
            traceback.print_exc()
            failures.append((name, f"{type(e).__name__}: {e}"))
        say(f"{name}: {time.monotonic() - began:.0f} s")
    return lines, failures


def main():
    a = arguments()

    def told_to_stop(sig, _):
        raise SystemExit(128 + sig)
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sig, told_to_stop)
    janitor = g.Janitor(g.clear)
    clusters = g.Clusters(janitor)
    head = about(a.runs)
    print("\n".join(head), flush=True)
    try:
        lines, failures = measure(r.Bench(a.runs, clusters, (a.only,) if a.only else g.WHO),
                                  a.row or list(r.ROWS), lambda text: print(text, flush=True))
    finally:
        clusters.drop_all()
        janitor.end()
    table = markdown(head, lines, failures)
    print("\n" + table, end="")
    if a.markdown:
        write_between_marks(a.markdown, BEGIN, table)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
