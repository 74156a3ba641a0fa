"""Who acknowledged what, when: one clock, one writer with its own thread and connection per server.

Every writer keeps its old connection while it lives, so that a fenced server is tried for as long as
it might answer. Each acknowledgement carries the timeline it was written on; a later writer has a
higher one, so the timeline tells the epochs apart without trusting any clock but ours. A second thread
per server notes how much WAL it has received while it is a standby.
"""
import itertools
import re
import threading
import time

import psycopg2

REPLY_MS = 250  # a reply that was on its way may be read this late on a busy machine
numbers = itertools.count(1)  # of rows: several checkers may follow each other on one cluster
HELD_S = 1.0
STRUCK = re.compile(r"fence struck .*kill_at_boot_ms=(\d+)")


class Ack:
    """lsn: where the WAL ended before this commit, which is past the member's commit before. ran_at: when the
    statement ran, by the server's clock, which is this machine's."""
    __slots__ = ("at", "member", "timeline", "number", "lsn", "ran_at")

    def __init__(self, at, member, timeline, number, lsn, ran_at):
        self.at, self.member, self.timeline, self.number = at, member, timeline, number
        self.lsn, self.ran_at = lsn, ran_at


class Checker:
    def __init__(self, cluster, pause=0.002, standbys=True, cut=False):
        """cut: the network between us and the servers will be. What a server had sent before it ended is then
        delivered when the network heals: a reply that was held up is judged by when its statement ran."""
        self.cluster, self.pause, self.cut = cluster, pause, cut
        self.acks, self.lock = [], threading.Lock()
        self.failed = 0
        self.ending = threading.Event()
        cluster.wait_primary().sql(
            "create table if not exists acked (n bigint primary key, member text)")
        self.wall_ahead = time.time() - time.monotonic()
        self.boot_ahead = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        self.received = {}  # (member, timeline) -> the most WAL it is known to have had of it
        self.threads = [threading.Thread(target=work, args=(m,), daemon=True)
                        for m in cluster.members
                        for work in ([self.write, self.watch] if standbys else [self.write])]

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

    def write(self, member):
        conn = None
        while not self.ending.is_set():
            try:
                if conn is None:
                    conn = member.connect(connect_timeout=1, options="-c statement_timeout=60000")
                    cur = conn.cursor()
                n = next(numbers)
                cur.execute("insert into acked values (%s, %s) returning "
                            "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int, "
                            "(pg_current_wal_insert_lsn() - '0/0')::bigint, "
                            "extract(epoch from clock_timestamp())::float8", (n, member.name))
                at = time.monotonic()
                timeline, lsn, wall = cur.fetchone()
                ran_at = wall - self.wall_ahead
                if self.cut and at - ran_at > HELD_S:
                    at = ran_at
                with self.lock:
                    self.acks.append(Ack(at, member.name, timeline, n, lsn, ran_at))
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

    def watch(self, member):
        conn = None
        while not self.ending.is_set():
            try:
                if conn is None:
                    conn = member.connect(connect_timeout=1, options="-c statement_timeout=5000")
                    cur = conn.cursor()
                cur.execute("select received_tli, (pg_last_wal_receive_lsn() - '0/0')::bigint"
                            " from pg_stat_wal_receiver where pg_is_in_recovery()")
                for timeline, lsn in cur.fetchall():
                    key = (member.name, timeline)
                    with self.lock:
                        self.received[key] = max(self.received.get(key, 0), lsn or 0)
            except psycopg2.Error:  # it is down, or is no standby any more
                conn = None
            self.ending.wait(0.05)

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
            raise AssertionError(f"{why}: {len(lost)} rows of {', '.join(names)}, not on {primary.name}")

    def commits_end(self, member, timeline):
        """(row, an LSN that is certainly past its commit), of all but the last."""
        acks = [a for a in self.snapshot() if (a.member, a.timeline) == (member, timeline)]
        return [(a, after.lsn) for a, after in zip(acks, acks[1:])]

    def assert_received_survives(self, primary):
        """What was acknowledged and had reached a standby is on the primary."""
        present = {r[0] for r in primary.sql("select n from acked")}
        for member, timeline in {(a.member, a.timeline) for a in self.snapshot()}:
            safe = max((lsn for (name, tli), lsn in self.received.items()
                        if tli == timeline and name != member), default=0)
            gone = [a.number for a, end in self.commits_end(member, timeline) if end <= safe and a.number not in present]
            assert not gone, f"{len(gone)} rows of {member} on timeline {timeline} had reached a standby, and are gone"

    def late_acks(self, member):
        """Acknowledged by it after a deadline at which its warden has struck, in the same epoch."""
        for struck in STRUCK.findall(member.log_text() if hasattr(member, "log_text") else ""):
            deadline = int(struck) / 1000 - self.boot_ahead
            acks = [a for a in self.snapshot() if a.member == member.name]
            epoch = max((a.timeline for a in acks if a.at <= deadline), default=0)
            yield from (a for a in acks if a.timeline <= epoch
                        and (a.ran_at > deadline or a.at > deadline + REPLY_MS / 1000))

    def assert_fenced_in_time(self):
        for m in self.cluster.members:
            late = list(self.late_acks(m))
            assert not late, f"{m.name} has acknowledged {len(late)} rows after its fence's deadline"

    def assert_promises(self):
        """Never two writers, none behind its fence, and nothing gone that a living standby had received."""
        self.assert_one_writer()
        self.assert_fenced_in_time()
        self.assert_received_survives(self.cluster.wait_primary(20))

    def assert_one_writer(self):
        s = self.two_writers_s()
        assert not s, f"two writers for {s:.3f} s"
        members = {}
        for a in self.snapshot():
            members.setdefault(a.timeline, set()).add(a.member)
        for timeline, names in members.items():
            assert len(names) == 1, f"timeline {timeline} was written by {names}"
