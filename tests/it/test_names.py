"""A resolver that answers no more: every address known stays in use, and nothing waits for it."""
import contextlib
import os
import re
import time

from checker import Checker
from cluster import Cluster, wait_for
from names import NameServer, ask_only

DOMAIN = "lab.test"


@contextlib.contextmanager
def known_by_name():
    """Store, REST and PostgreSQL are all given by name; etcd tells its clients that name, too."""
    with Cluster() as c:
        store = f"etcd.{DOMAIN}"
        c.etcd.known_as = store
        c.overrides = {"etcd3": {"hosts": [f"{store}:{c.etcd.ports[0][0]}"]}}
        servers = {m.name: NameServer(DOMAIN) for m in c.members}
        for m in c.members:
            ask_only(m, servers[m.name])
            m.overrides = {"restapi": {"connect_address": f"{m.name}.{DOMAIN}:{m.rest_port}"},
                           "postgresql": {"connect_address": f"{m.name}.{DOMAIN}:{m.pg_port}"}}
        yield c, servers, store


def set_silent(servers, silent):
    for s in servers.values():
        s.silent = silent


def test_resolver_falls_silent():
    """Names are looked up again after a minute, in vain: no demotion, and a failover works as well."""
    with known_by_name() as (c, servers, store):
        p = c.start()
        with Checker(c) as k:
            set_silent(servers, True)
            for m in c.members:
                wait_for(f"{m.name} looks the store up again",
                         lambda: store in servers[m.name].unanswered, 90)
            term = c.etcd.ctl("get", "/service/demo/leader", "-w", "fields")
            time.sleep(3 * c.timers["ttl"])  # a lookup takes 10 s to fail
            assert c.wait_streaming(timeout=5) is p
            assert c.etcd.ctl("get", "/service/demo/leader", "-w", "fields").splitlines()[5:] == \
                term.splitlines()[5:], "the same lease, all the time"
            assert k.outage_s() < 1, "nothing waits for a name"
            p.kill_all()
            n = c.wait_primary(timeout=30, other_than=p)
            set_silent(servers, False)
            p.start()
            wait_for("all stream when it answers again", lambda: c.streaming() is n, 60)
        k.assert_promises()


def test_start_with_a_silent_resolver():
    with known_by_name() as (c, servers, store):
        set_silent(servers, True)
        complaint = re.compile(f"store does not answer .*{store}.*"
                               "(its address is not known yet|host name cannot be resolved)")
        c.start(wait=False)
        for m in c.members:
            wait_for(f"{m.name} says what is wrong", lambda: complaint.search(m.log_text()), 20)
            wait_for(f"{m.name} lives", lambda: m.rest("/liveness")[0] == 200, 10)
            began = time.monotonic()
            assert m.rest("/readiness")[0] == 503
            assert time.monotonic() - began < 2, "and answers meanwhile"
            assert not os.path.exists(m.data), "nothing is created without a store"
        set_silent(servers, False)
        c.wait_streaming(timeout=90)  # lookups end in vain after 10 s, and are tried again 5 s later
