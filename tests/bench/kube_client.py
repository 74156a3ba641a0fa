"""A client that writes through a Service's cluster IP, and what it saw around an action."""
import errno
import select
import socket
import threading
import time

import psycopg2

from cluster import PASSWORD
from kube import wait_for

PAUSE_S = 0.001  # between two writes
PROBE_S = 0.01  # between two attempts to connect: each has a port of its own, so kube-proxy routes it anew
PROBES = 100  # that may be waiting for an answer


class Ack:
    __slots__ = ("number", "at", "address")

    def __init__(self, number, at, address):
        self.number, self.at, self.address = number, at, address


class Writer:
    """Writes row after row for the length of a with, on one connection while it lasts; lost, it opens the next
    one as soon as the Service leads to somebody who takes it. `fresh`: a new connection for each row."""

    def __init__(self, cluster, service="demo", fresh=False):
        self.cluster, self.fresh = cluster, fresh
        self.address = cluster.service(service)["spec"]["clusterIP"]
        self.acks, self.failed, self.ending = [], [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.broken = None

    def __enter__(self):
        with self.cluster.lab.network():
            wait_for("the Service leads to a server that takes writes", self.prepare, 60).close()
        self.first = int(time.time() * 1e6)  # no writer before has come so far
        self.thread.start()
        self.wait("the first writes", lambda: len(self.acks) >= 20, 60)
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join(30)

    def prepare(self):
        conn = None
        try:
            conn = self.connect()
            conn.cursor().execute("create table if not exists written (n bigint primary key)")
            return conn
        except psycopg2.Error:
            if conn:
                conn.close()
            return None

    def connect(self):
        conn = psycopg2.connect(host=self.address, user="postgres", password=PASSWORD, dbname="postgres",
                                connect_timeout=2, tcp_user_timeout=3000, options="-c statement_timeout=60000")
        conn.autocommit = True
        return conn

    # --- the thread, which lives in the lab's network
    def run(self):
        try:
            with self.cluster.lab.network():
                self.write()
        except Exception as e:
            self.broken = e

    def write(self):
        conn, number, writes = None, self.first, False
        while not self.ending.is_set():
            number += 1
            try:
                if conn is None:
                    writes = False
                    self.probe()
                    conn = self.connect()
                with conn.cursor() as cur:
                    cur.execute("insert into written values (%s) returning host(inet_server_addr())", (number,))
                    address = cur.fetchone()[0]
                self.acks.append(Ack(number, time.monotonic(), address))
                writes = True
                if self.fresh:
                    conn.close()
                    conn = None
                time.sleep(PAUSE_S)
            except psycopg2.Error as e:
                self.failed.append((time.monotonic(), str(e).strip()))
                if conn is not None:
                    conn.close()
                    conn = None
                time.sleep(PAUSE_S if writes else PROBE_S)

    def probe(self):
        """Returns when the address takes a connection. To a pod that is gone nobody answers, and the kernel asks
        again after a second: so every attempt is followed by another one."""
        waiting, poll = {}, select.poll()
        try:
            while not self.ending.is_set():
                if len(waiting) < PROBES:
                    s = socket.socket()
                    s.setblocking(False)
                    if s.connect_ex((self.address, 5432)) in (0, errno.EINPROGRESS):
                        waiting[s.fileno()] = s
                        poll.register(s, select.POLLOUT)
                    else:
                        s.close()
                until = time.monotonic() + PROBE_S
                while (left := until - time.monotonic()) > 0:
                    for fd, _ in poll.poll(left * 1000):
                        poll.unregister(fd)
                        with waiting.pop(fd) as s:
                            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                                return
        finally:
            for s in waiting.values():
                s.close()

    # --- what is asked of it
    def wait(self, what, condition, timeout):
        def checked():
            if self.broken:
                raise self.broken
            return condition()
        return wait_for(f"{what} of the client", checked, timeout, every=0.02)

    def quiet_s(self):
        """Since the last acknowledgement."""
        return time.monotonic() - self.acks[-1].at

    def gap(self, since, until=None):
        """(longest time without an acknowledgement from `since` on, when it began)"""
        times = [a.at for a in list(self.acks) if a.at >= since and (until is None or a.at <= until)]
        return max(((b - a, a) for a, b in zip(times, times[1:])), default=(0.0, since))

    def lost(self):
        """How many acknowledged rows are not there."""
        with self.cluster.lab.network():
            conn = wait_for("the Service leads to a server that takes writes", self.prepare, 60)
        with conn.cursor() as cur:
            cur.execute("select n from written where n > %s", (self.first,))
            have = {r[0] for r in cur.fetchall()}
        conn.close()
        return sum(a.number not in have for a in self.acks)


def around(writer, act, over, calm_s=1.0, settle_s=1.0, timeout=180):
    """A sample: what the client saw around `act`, until over(at) and a while longer."""
    with writer as w:
        time.sleep(calm_s)
        at, wall = time.monotonic(), time.time()
        act()
        w.wait("writes go on", lambda: over(w, at), timeout)
        time.sleep(settle_s)
    if w.broken:
        raise w.broken
    outage, began = w.gap(at - 0.5)
    return {"outage": outage, "calm": w.gap(0, at)[0], "lost": w.lost(),
            "failed": sum(when >= at for when, _ in w.failed), "wall": wall, "stopped": wall + began - at}


def goes_on(w, at):
    """After a stop that was noticed, or 5 s without one."""
    stopped = w.gap(at - 0.1)[0] > 0.1
    return w.acks[-1].at > at and w.quiet_s() < 0.1 and (stopped or time.monotonic() - at > 5)


def elsewhere(address):
    return lambda w, at: w.acks[-1].at > at and w.acks[-1].address != address
