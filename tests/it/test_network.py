"""Partitions, with every member in a network namespace of its own."""
import contextlib
import time

from checker import Checker
from cluster import Cluster, Member, wait_for
from netns import Net


@contextlib.contextmanager
def partitioned():
    net = Net(3)
    try:
        with Cluster() as c:
            c.etcd.host = f"{net.subnet}.254"
            c.members = [Member(c, f"n{i}", host=net.host(i), netns=net.names[i - 1])
                         for i in (1, 2, 3)]
            c.start()
            yield c, net
    finally:
        net.stop()


def number(m):
    return int(m.name[1:])


def test_primary_cut_from_the_store():
    with partitioned() as (c, net):
        p = c.primary()
        with Checker(c, cut=True) as k:
            time.sleep(0.3)
            net.cut(number(p), f"{net.subnet}.254")
            # This machine is the store's host too, so the checker's connections to it are cut as
            # well; what it acknowledged before stands.
            n = c.wait_primary(timeout=40, other_than=p)
            time.sleep(3)
            net.heal(number(p))
            wait_for("it follows", lambda: c.streaming() is n, 60)
        k.assert_promises()


def test_primary_cut_from_its_peers():
    with partitioned() as (c, net):
        p = c.primary()
        with Checker(c, cut=True) as k:
            time.sleep(0.3)
            for m in c.members:
                if m is not p:
                    net.cut(number(p), m.host)
            time.sleep(12)
            assert c.leader() is p and c.is_writable(p), "it has the store: it stays"
            net.heal(number(p))
            c.wait_streaming(timeout=40)
        k.assert_promises()
        assert {a.member for a in k.snapshot()} == {p.name}


def test_primary_cut_from_both():
    with partitioned() as (c, net):
        p = c.primary()
        with Checker(c, cut=True) as k:
            time.sleep(0.3)
            for other in [f"{net.subnet}.254"] + [m.host for m in c.members if m is not p]:
                net.cut(number(p), other)
            n = c.wait_primary(timeout=40, other_than=p)
            time.sleep(3)
            net.heal(number(p))
            wait_for("it follows", lambda: c.streaming() is n, 60)
        k.assert_promises()
