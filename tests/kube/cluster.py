"""A whole cluster in a lab: the manifests as they are, and a client of the primary's Service."""
import glob
import json
import os
import socket
import threading
import time

import psycopg2
import yaml

from kube import SOURCE, manifests, wait_for

PASSWORD = "change-me-1"  # as 20-settings.yaml has it


def documents(store="leases", timers=None, size=3):
    """The manifests; for another store with its Role and settings, and Patroni's kind of Service."""
    docs = [d for d in yaml.safe_load_all(manifests()) if d]
    for doc in docs:
        if doc["kind"] == "StatefulSet":
            doc["spec"]["replicas"] = size
        if doc["kind"] == "ConfigMap":
            settings = yaml.safe_load(doc["data"]["howdah.yml"])
            settings["kubernetes"]["store"] = store
            settings["bootstrap"]["dcs"].update(timers or {})
            doc["data"]["howdah.yml"] = yaml.safe_dump(settings)
        if doc["kind"] == "Service" and doc["metadata"]["name"] == "demo" and store == "endpoints":
            del doc["spec"]["selector"]
            doc["spec"]["ports"] = [{"port": 5432}]
    if store != "leases":
        docs = [d for d in docs if d["kind"] != "Role"]
        with open(os.path.join(SOURCE, "docker/kubernetes/access", f"{store}.yaml")) as f:
            docs += [d for d in yaml.safe_load_all(f) if d]
    return docs


class Cluster:
    LEADER = "primary"  # the role label of the leader's pod

    def __init__(self, lab, size=3):
        self.lab, self.pods = lab, [f"demo-{i}" for i in range(size)]

    def documents(self, **how):
        return documents(size=len(self.pods), **how)

    def deploy(self, docs=None, **how):
        self.lab.apply(yaml.safe_dump_all(docs or self.documents(**how)))
        wait_for("every pod is ready", self.ready, 240, every=0.5)
        wait_for("a pod is labelled as the leader", self.primary, 30)
        return self

    # --- what Kubernetes says
    def pod_list(self):
        return self.lab.get("pods", labelSelector="cluster-name=demo")["items"]

    def ready(self):
        ready = [p for p in self.pod_list() if not p["metadata"].get("deletionTimestamp")
                 and any(c["type"] == "Ready" and c["status"] == "True"
                         for c in p.get("status", {}).get("conditions", []))]
        return len(ready) == len(self.pods)

    def primary(self):
        """The pod that bears the label; None unless it is exactly one."""
        found = [p["metadata"]["name"] for p in self.pod_list()
                 if p["metadata"]["labels"].get("role") == self.LEADER]
        return found[0] if len(found) == 1 else None

    def service(self, name="demo"):
        return self.lab.get("service", name)

    def signs(self, service="demo"):
        labels = self.service(service)["metadata"]["labels"]
        return {k.split("/")[1]: v for k, v in labels.items() if k.startswith("howdah.io/")}

    def events(self, kind=None):
        return {e["reason"] for e in self.lab.get("events")["items"]
                if e.get("source", {}).get("component") == "howdah" and
                (kind is None or e["involvedObject"]["kind"] == kind)}

    def ctl(self, *args, pod="demo-0", check=True):
        return self.lab.execute(pod, "howdah", "howdahctl", *args, check=check)

    def members(self):
        """As howdahctl sees them; {} while it cannot."""
        out = self.ctl("list", "-f", "json", pod=self.primary() or "demo-0", check=False)
        try:
            return {m["Member"]: m for m in json.loads(out)}
        except ValueError:
            return {}

    def streaming(self):
        """Everybody follows the one leader, by what they say of themselves and by what its server says: its name."""
        members = self.members()
        leaders = [n for n, m in members.items() if m["Role"] == "Leader" and m.get("State") == "running"]
        replicas = [n for n, m in members.items() if m["Role"] == "Replica" and m.get("State") == "streaming"]
        whole = len(leaders) == 1 and len(replicas) == len(self.pods) - 1
        if not whole or self.primary() != leaders[0]:
            return None
        try:  # a record is a moment older than the server
            seen = self.sql(leaders[0], "select count(*) from pg_stat_replication where state = 'streaming'")
        except (psycopg2.Error, KeyError):
            return None
        return leaders[0] if seen[0][0] >= len(replicas) else None

    # --- its processes, as this machine numbers them
    def processes(self, pod, container=None):
        """(pid, words) of everything in the pod."""
        uid = self.lab.get("pod", pod)["metadata"]["uid"]
        ids = None
        if container:
            ids = self.lab.container(pod, container)["containerID"].split("//")[1]
        return self.processes_of(uid, ids)

    @staticmethod
    def processes_of(uid, ids=None):
        """Of a pod that perhaps the API server knows no more."""
        found = []
        for path in glob.glob("/proc/[0-9]*/cgroup"):
            try:
                with open(path) as f:
                    groups = f.read()
                if uid not in groups and uid.replace("-", "_") not in groups:
                    continue
                if ids and ids not in groups:
                    continue
                with open(os.path.join(os.path.dirname(path), "cmdline"), "rb") as f:
                    words = f.read().decode(errors="replace").split("\0")
            except OSError:
                continue  # it has ended meanwhile
            found.append((int(path.split("/")[2]), words))
        return found

    def pid(self, pod, container, program, argument=None):
        found = [pid for pid, words in self.processes(pod, container)
                 if os.path.basename(words[0]) == program and (argument is None or argument in words)]
        assert len(found) == 1, f"{program} in {pod}: {self.processes(pod)}"
        return found[0]

    # --- its servers
    def connect(self, address, **more):
        with self.lab.network():
            return psycopg2.connect(host=address, user="postgres", password=PASSWORD, dbname="postgres",
                                    connect_timeout=2, **more)

    def sql(self, pod, text):
        conn = self.connect(self.lab.get("pod", pod)["status"]["podIP"])
        try:
            conn.autocommit = True
            with conn.cursor() as cur:
                cur.execute(text)
                return cur.fetchall() if cur.description else None
        finally:
            conn.close()


class Client:
    """Writes through the primary's Service for the length of a with, on one connection while it lasts."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.address = cluster.service()["spec"]["clusterIP"]
        self.acks, self.errors, self.ending = [], [], threading.Event()  # (number, timeline, when)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        conn = wait_for("the Service leads to a server", self.open, 30)
        conn.cursor().execute("create table if not exists acked (n bigint primary key)")
        self.first = self.rows(conn)
        conn.close()
        self.thread.start()
        self.wait_acks(20)
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join(30)

    def open(self):
        try:
            # To the address of a pod that is gone nobody answers, and libpq waits for 2 s at least.
            with self.cluster.lab.network():
                socket.create_connection((self.address, 5432), timeout=0.2).close()
            # Where packets vanish, neither a statement nor its answer is waited for any longer than this.
            conn = self.cluster.connect(self.address, options="-c statement_timeout=30000", tcp_user_timeout=4000,
                                        keepalives_idle=2, keepalives_interval=1)
        except (OSError, psycopg2.OperationalError):
            return None
        conn.autocommit = True
        return conn

    @staticmethod
    def rows(conn):
        with conn.cursor() as cur:
            cur.execute("select coalesce(max(n), 0) from acked")
            return cur.fetchone()[0]

    def run(self):
        conn, number = None, self.first
        while not self.ending.is_set():
            conn = conn or self.open()
            if conn is None:
                self.errors.append((time.monotonic(), "connect"))
                time.sleep(0.02)
                continue
            number += 1
            try:
                with conn.cursor() as cur:
                    cur.execute("insert into acked values (%s) returning ('x' || substr(pg_walfile_name("
                                "pg_current_wal_lsn()), 1, 8))::bit(32)::int", (number,))
                    self.acks.append((number, cur.fetchone()[0], time.monotonic()))
            except psycopg2.Error as e:
                self.errors.append((time.monotonic(), str(e)))
                conn.close()
                conn = None
            time.sleep(0.01)  # more often, and writing would be most of what labs take of two cores

    def wait_acks(self, count, timeout=120):
        want = len(self.acks) + count
        wait_for("writes are acknowledged", lambda: len(self.acks) >= want, timeout)

    def outage_s(self, since):
        times = [since] + [a[2] for a in self.acks if a[2] >= since]
        return max(b - a for a, b in zip(times, times[1:]))

    def assert_kept(self):
        """Every acknowledged row is there, and no older timeline acknowledged after a newer one."""
        conn = wait_for("the Service leads to a server", self.open, 30)
        with conn.cursor() as cur:
            cur.execute("select n from acked where n > %s", (self.first,))
            have = {r[0] for r in cur.fetchall()}
        conn.close()
        lost = [a for a in self.acks if a[0] not in have]
        assert not lost, f"acknowledged and lost: {len(lost)}, first {lost[0]}"
        timelines = [a[1] for a in self.acks]
        assert timelines == sorted(timelines), "two writers"
