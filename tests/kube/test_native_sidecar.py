"""docker/kubernetes/native-sidecar in the order of Kubernetes 1.29: the agent before Postgres, and after it.

Two pods of the template, with the real images, by podman; the store is an etcd, for no API server of 1.20 would
take such a pod.
"""
import contextlib
import ctypes
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

import psycopg2
import yaml

from cluster import PASSWORD
from kube import CLONE_NEWNET, SOURCE, manifests, wait_for
from podman import Machine, Pod

TTL = 30  # as the manifests have it


@contextlib.contextmanager
def network(machine):
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(machine.network()) as there:
        assert libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def member(machine, number):
    """A pod with an address of its own on the one loopback; what the kubelet would ask the API for, by hand."""
    docs = [d for d in yaml.safe_load_all(manifests("docker/kubernetes")) if d]
    native, = yaml.safe_load_all(manifests("docker/kubernetes/native-sidecar"))
    spec, address = native["spec"]["template"]["spec"], f"127.0.0.{10 + number}"
    secret = next(d for d in docs if d["kind"] == "Secret")["stringData"]
    settings = yaml.safe_load(next(d for d in docs if d["kind"] == "ConfigMap")["data"]["howdah.yml"])
    del settings["kubernetes"]
    settings["etcd3"] = {"host": "127.0.0.1:2379"}
    settings["restapi"]["listen"], settings["postgresql"]["listen"] = f"{address}:8008", f"{address}:5432"
    assert settings["bootstrap"]["dcs"]["ttl"] == TTL

    agent = next(c for c in spec["initContainers"] if c["name"] == "howdah")
    fields = {"metadata.name": f"demo-{number}", "metadata.namespace": "default", "status.podIP": address}
    env = {}
    for entry in agent["env"]:
        source = entry.get("valueFrom", {})
        if "fieldRef" in source:
            value = fields[source["fieldRef"]["fieldPath"]]
        elif "secretKeyRef" in source:
            value = secret[source["secretKeyRef"]["key"]]
        else:
            value = entry["value"].replace("$(HOWDAH_KUBERNETES_POD_IP)", address)
        if not entry["name"].startswith("HOWDAH_KUBERNETES_"):  # the store is another one
            env[entry["name"]] = value
    pod = Pod(machine, f"demo-{number}", spec, {"howdah": env}, {"settings": {"howdah.yml": yaml.safe_dump(settings)}})
    pod.address = address
    return pod


def answer(pod, path):
    """The status of the agent's answer; 0 without one."""
    with network(pod.machine):
        try:
            with urllib.request.urlopen(f"http://{pod.address}:8008{path}", timeout=2) as reply:
                return reply.status
        except urllib.error.HTTPError as e:
            return e.code
        except OSError:
            return 0


def connect(pod):
    with network(pod.machine):
        conn = psycopg2.connect(host=pod.address, user="postgres", password=PASSWORD, dbname="postgres", connect_timeout=2)
    conn.autocommit = True
    return conn


def ask(pod, text):
    conn = connect(pod)
    try:
        with conn.cursor() as cur:
            cur.execute(text)
            return cur.fetchone()[0] if cur.description else None
    finally:
        conn.close()


def writable(pod):
    """It says so itself, and its server takes writes."""
    try:
        return answer(pod, "/primary") == 200 and not ask(pod, "select pg_is_in_recovery()")
    except psycopg2.OperationalError:
        return False


def streams(pod, leader):
    return ask(leader, "select count(*) from pg_stat_replication where state = 'streaming' "
                       f"and application_name = '{pod.name}'") == 1


class Writer(threading.Thread):
    """Writes to one server until that refuses; what was acknowledged is in acked."""

    def __init__(self, pod):
        super().__init__(daemon=True)
        self.conn, self.acked = connect(pod), []
        self.conn.cursor().execute("create table if not exists acked (n int primary key)")
        self.first = ask(pod, "select coalesce(max(n), 0) from acked") + 1
        self.start()

    def run(self):
        number = self.first
        with contextlib.suppress(psycopg2.Error):
            while True:
                self.conn.cursor().execute("insert into acked values (%s)", (number,))
                self.acked.append(number)
                number += 1
                time.sleep(0.005)


def start(pod):
    """The agent has answered for itself before there is a warden."""
    order = []

    def started(name):
        order.append(name)
        if name == "howdah":
            wait_for("the agent is alive without a warden", lambda: answer(pod, "/liveness") == 200, 30)
            assert not os.path.exists(f"{pod.volumes['howdah']}/warden.sock") and answer(pod, "/primary") == 503

    pod.start(started)
    assert order == ["howdah-install", "howdah", "postgres"]


def start_again(pod):
    """A pod made anew: its volume is the old one, everything else is empty."""
    for name in ("howdah", "sockets", "shm", "tmp"):
        for path in os.scandir(pod.volumes[name]):
            os.remove(path.path) if not path.is_dir() else subprocess.run(["rm", "-r", path.path], check=True)
    start(pod)


def hand_over(leader, other):
    """Postgres's container alone is told: the agent beside it hands over, and is told when all that is over."""
    writer = Writer(leader)
    wait_for("it writes", lambda: len(writer.acked) > 100, 30)
    seen = {}

    def stopped(name):
        seen[name] = time.monotonic()
        if name == "postgres":
            assert leader.state("howdah")["Running"], "the agent has not outlived Postgres"
            assert leader.state("postgres")["ExitCode"] == 0, leader.logs("postgres")
            # Nobody has waited for a lease to end.
            wait_for("the other one leads", lambda: writable(other), 10)

    began = time.monotonic()
    leader.stop(stopped)
    assert list(seen) == ["postgres", "howdah"], seen
    assert seen["postgres"] - began < TTL, "that was no handover"
    assert leader.state("howdah")["ExitCode"] == 0, leader.logs("howdah")
    writer.join(30)
    assert writer.acked
    lost = set(writer.acked) - set(range(1, ask(other, "select max(n) from acked") + 1))
    assert not lost and ask(other, "select count(*) from acked") >= len(writer.acked)
    data = f"{leader.volumes['data']}/pgdata"
    said = subprocess.run(["/usr/lib/postgresql/15/bin/pg_controldata", data], stdout=subprocess.PIPE, text=True, check=True)
    assert any(line.split() == ["Database", "cluster", "state:", "shut", "down"] for line in said.stdout.splitlines()), said.stdout


def test_order_of_start_and_stop():
    with Machine(["howdah", "postgres"]) as machine:
        etcd = machine.inside("etcd", "--data-dir", f"{machine.dir}/etcd", "--unsafe-no-fsync",
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        one, two = pods = [member(machine, n) for n in (0, 1)]
        try:
            start(one)
            wait_for("the first one leads", lambda: writable(one), 90)
            start(two)
            wait_for("the second one streams", lambda: streams(two, one), 90, every=0.5)
            # The second time at once: what follows has changed its timeline a moment ago, and not looked since.
            for leader, other in ((one, two), (two, one)):
                hand_over(leader, other)
                start_again(leader)
                wait_for("it follows", lambda: streams(leader, other), 90, every=0.5)  # noqa: B023
        except BaseException:
            for pod in pods:
                for name in ("howdah", "postgres"):
                    print(f"--- {pod.name} {name}", machine.podman("logs", "--tail=40", f"{pod.name}-{name}", check=False), sep="\n")
            raise
        finally:
            etcd.kill()
            etcd.wait()
