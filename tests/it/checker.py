"""Who acknowledged what, when: one clock, one writer with its own thread and connection per server.

Every writer keeps its old connection while it lives, so that a fenced server is tried for as long as
it might answer. Each acknowledgement carries the timeline it was written on; a later writer has a
higher one, so the timeline tells the epochs apart without trusting any clock but ours.
"""
import os
import sys
import threading
import time

import psycopg2


class Ack:
    __slots__ = ("at", "sent", "member", "timeline", "number")

    def __init__(self, at, sent, member, timeline, number):
        self.at, self.sent, self.member, self.timeline, self.number = at, sent, member, timeline, number


class Checker:
    def __init__(self, cluster, pause=0.002):
        self.cluster, self.pause = cluster, pause
        self.acks, self.lock = [], threading.Lock()
        self.failed = 0
        self.ending = threading.Event()
        self.number = 0
        cluster.wait_primary().sql(
            "create table if not exists acked (n bigint primary key, member text)")
        self.threads = [threading.Thread(target=self.write, args=(m,), daemon=True)
                        for m in cluster.members]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.ending.set()
        for t in self.threads:
            t.join(20)

    def next_number(self):
        with self.lock:
            self.number += 1
            return self.number

    def write(self, member):
        conn = None
        while not self.ending.is_set():
            try:
                if conn is None:
                    conn = member.connect(connect_timeout=1, options="-c statement_timeout=60000")
                    cur = conn.cursor()
                n, sent = self.next_number(), time.monotonic()
                cur.execute("insert into acked values (%s, %s) returning "
                            "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int",
                            (n, member.name))
                at = time.monotonic()
                timeline = cur.fetchone()[0]
                with self.lock:
                    self.acks.append(Ack(at, sent, member.name, timeline, n))
                time.sleep(self.pause)
            except psycopg2.errors.ReadOnlySqlTransaction:
                time.sleep(0.005)
            except psycopg2.Error:
                with self.lock:
                    self.failed += 1
                if conn is not None:
                    try:
                        conn.close()
                    except psycopg2.Error:
                        pass
                conn = None
                time.sleep(0.01)

    # --- verdicts
    def snapshot(self):
        with self.lock:
            return sorted(self.acks, key=lambda a: a.at)

    def two_writers_s(self):
        """For how long, in all, an older epoch still acknowledged after a newer one had begun."""
        first = {}
        for a in self.snapshot():
            key = (a.timeline, a.member)
            first.setdefault(key, a.at)
        total = 0.0
        for (timeline, member), began in first.items():
            late = [a.at for a in self.snapshot()
                    if a.timeline < timeline or (a.timeline == timeline and a.member != member)]
            late = [at for at in late if at > began]
            if late:
                total = max(total, max(late) - began)
        return total

    def outage_s(self, after=0.0):
        """The longest time without any acknowledgement, from `after` on."""
        times = [a.at for a in self.snapshot() if a.at >= after]
        return max((b - a for a, b in zip(times, times[1:])), default=0.0)

    def lost(self, primary, only=None):
        """Acknowledged rows that the primary of now does not have."""
        have = {r[0] for r in primary.sql("select n from acked")}
        return [a for a in self.snapshot() if a.number not in have and (only is None or only(a))]

    def assert_none_lost(self, primary, why="acknowledged and lost", only=None):
        """For what no mode may lose: a handover in good order, a crash recovery, a primary's own writes."""
        lost = self.lost(primary, only)
        if lost:
            names = sorted({f"{a.member} on timeline {a.timeline}" for a in lost})
            self.verdict(f"{why}: {len(lost)} rows of {', '.join(names)}, not on {primary.name}")

    @staticmethod
    def verdict(text):
        """Fails, and for good: where runs are repeated, this one is not forgiven (./dev test)."""
        path = os.environ.get("HOWDAH_IT_VERDICTS")
        if path:
            with open(path, "a") as f:
                f.write(f"{' '.join(sys.argv[1:])}: {text}\n")
        raise AssertionError(text)

    def assert_one_writer(self):
        s = self.two_writers_s()
        if s:
            self.verdict(f"two writers for {s:.3f} s")
        members = {}
        for a in self.snapshot():
            members.setdefault(a.timeline, set()).add(a.member)
        for timeline, names in members.items():
            if len(names) != 1:
                self.verdict(f"timeline {timeline} was written by {names}")
