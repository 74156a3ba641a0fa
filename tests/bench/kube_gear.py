"""What the rows on Kubernetes measure on: labs with a cluster of each kind, and with two bare servers."""
import collections
import contextlib
import glob
import gzip
import hashlib
import http.client
import json
import os
import shutil
import ssl
import sys
import tarfile
import tempfile
import time

import psycopg2

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [f"{here}/../kube/lab", f"{here}/../kube"]
sys.path.append(f"{here}/../it")
from cluster import PASSWORD, Cluster  # noqa: E402
from kube import Lab, script, wait_for  # noqa: E402
from measure import floor_program  # noqa: E402
from patroni import PatroniCluster  # noqa: E402

KINDS = ("patroni", "endpoints", "leases")
IMAGES = {"patroni": ["patroni"], "endpoints": ["howdah", "postgres"], "leases": ["howdah", "postgres"],
          "floor": ["postgres", "howdah"]}


# --- labs

class BenchLab(Lab):
    """Begun and ended by hand. That a lab leaves nothing behind is what its own test sees to."""

    def start(self):
        code, said = script("up.sh", self.dir, "node",
                            env={"HOWDAH_LAB_IMAGES": " ".join(self.images), "HOWDAH_LAB_AUDIT": "1", "HOWDAH_LAB_APART": "1"})
        if code:
            raise AssertionError(f"up.sh: {said}")
        return self

    def stop(self):
        end(self.dir)


def end(directory):
    if os.path.exists(f"{directory}/lock"):
        code, said = script("down.sh", directory)
        if code:
            print(f"down.sh {directory}: {said}", flush=True)
            return
    shutil.rmtree(directory, ignore_errors=True)


def clear(directories):
    for directory in directories:
        end(directory)


class Labs:
    """One lab a kind, with its cluster in it, for as long as rows want it; thrown away after a failed run."""

    def __init__(self, janitor):
        self.janitor, self.kept, self.closed = janitor, {}, False

    def get(self, who):
        if self.closed:
            raise AssertionError("the bench is over")  # a thread is not told of it
        if who not in self.kept:
            lab = BenchLab("node", IMAGES[who])
            self.janitor.mind(lab.dir)
            try:
                cl = MADE[who](lab.start())
                cl.deploy()
                cl.since = time.monotonic()
            except BaseException:
                lab.stop()
                raise
            self.kept[who] = cl
        self.kept[who].settle()
        return self.kept[who]

    def drop(self, who):
        if who in self.kept:
            self.kept.pop(who).lab.stop()

    def close(self):
        self.closed = True
        self.drop_all()

    def drop_all(self, but=()):
        for who in [w for w in self.kept if w not in but]:
            self.drop(who)


def build_images(names):
    for name in names:
        code, said = script("images.sh", name)
        if code:
            raise AssertionError(f"images.sh {name}: {said}")


# --- clusters

def parent(pid):
    with open(f"/proc/{pid}/stat") as f:
        return int(f.read().rsplit(")", 1)[1].split()[1])


class Settled:
    """What both kinds of cluster are asked between two measurements."""

    def streaming(self):
        """The leader, if everybody follows it and says so to its server."""
        leader = self.primary()
        try:
            rows = leader and self.sql(leader, "select application_name from pg_stat_replication "
                                               "where state = 'streaming'")
        except psycopg2.Error:
            return None
        return leader if rows and {r[0] for r in rows} == set(self.pods) - {leader} else None

    def settle(self):
        wait_for("every pod is ready", self.ready, 180, every=0.5)
        return wait_for("everybody streams", self.streaming, 180, every=0.5)

    def grow_old(self, seconds):
        time.sleep(max(0, self.since + seconds - time.monotonic()))

    def address(self, pod):
        return self.lab.get("pod", pod)["status"]["podIP"]

    @property
    def members(self):
        """As the checker wants them."""
        return [PodMember(self, pod) for pod in self.pods]

    def wait_primary(self):
        return PodMember(self, wait_for("a pod is labelled", self.primary, 30))


class PodMember:
    """A server that is reached at its pod's address, whoever leads."""

    def __init__(self, cluster, pod):
        self.cluster, self.name, self.address = cluster, pod, cluster.address(pod)

    def connect(self, **more):
        with self.cluster.lab.network():
            conn = psycopg2.connect(host=self.address, user="postgres", password=PASSWORD, dbname="postgres", **more)
        conn.autocommit = True
        return conn

    def sql(self, text):
        return self.cluster.sql(self.name, text)


class Ours(Settled, Cluster):
    def __init__(self, lab, store):
        super().__init__(lab)
        self.store = store

    def deploy(self):
        return super().deploy(store=self.store)

    def agent_pid(self, pod):
        return self.pid(pod, "howdah", "howdah")

    def agent_pids(self, pod):
        """Everything in the agent's container: it, and the warden that starts it again."""
        return [pid for pid, _ in self.processes(pod, "howdah")]

    def warden_pid(self, pod):
        return self.pid(pod, "postgres", "howdah-warden")

    def postmaster_pid(self, pod):
        return self.pid(pod, "postgres", "postgres", "-D")

    def version(self):
        return self.lab.execute(self.pods[0], "howdah", "howdah", "--version").strip()


class Theirs(Settled, PatroniCluster):
    def agent_pid(self, pod):
        """The container's first process is one more of the same name, which starts the agent and ends with it."""
        found = [pid for pid, words in self.processes(pod, "patroni")
                 if any(os.path.basename(w) == "patroni" for w in words[:2])]
        agents = [pid for pid in found if parent(pid) in found]
        assert len(agents) == 1, f"patroni in {pod}: {found}"
        return agents[0]

    def agent_pids(self, pod):
        return [pid for pid, words in self.processes(pod, "patroni")
                if not os.path.basename(words[0]).startswith("postgres")]

    def postmaster_pid(self, pod):
        return self.pid(pod, "patroni", "postgres", "-D")

    def version(self):
        return self.lab.execute(self.pods[0], "patroni", "patroni", "--version").strip()


# Two servers that both take writes, and a Service of each kind in front of them. The first process starts its
# server again as soon as the processes of the one before are gone.
BARE = """
apiVersion: v1
kind: Service
metadata: {name: label}
spec:
  publishNotReadyAddresses: true
  selector: {app: bare, role: primary}
  ports: [{port: 5432}]
---
apiVersion: v1
kind: Service
metadata: {name: subset}
spec:
  ports: [{port: 5432}]
"""
BARE_POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: bare}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 999, runAsGroup: 999, fsGroup: 999,
                    seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: postgres
    image: localhost/postgres:lab
    command:
    - sh
    - -c
    - |
      cd /var/lib/postgresql/data
      echo PASSWORD | initdb -D pgdata -U postgres -k -A scram-sha-256 --pwfile=/dev/stdin --locale=C.UTF-8 -E UTF8
      echo host all all all scram-sha-256 >>pgdata/pg_hba.conf
      while :; do
        postgres -D pgdata -c listen_addresses='*' -c wal_log_hints=on -c restart_after_crash=off
        sleep 0.005
      done
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: data, mountPath: /var/lib/postgresql/data}, {name: sockets, mountPath: /var/run/postgresql},
                   {name: shm, mountPath: /dev/shm}, {name: tmp, mountPath: /tmp}]
  volumes: [{name: data, emptyDir: {}}, {name: sockets, emptyDir: {medium: Memory}},
            {name: shm, emptyDir: {medium: Memory}}, {name: tmp, emptyDir: {}}]
"""

# The agent's libraries alone, in the agent's image: floor.c below the warden, as soon as somebody has put it there.
LIBRARIES_POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 999, runAsGroup: 999, fsGroup: 999,
                    seccompProfile: {type: RuntimeDefault}}
  initContainers:
  - name: wait
    image: localhost/postgres:lab
    command: [sh, -c, "until [ -e /floor/there ]; do sleep 0.1; done"]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: floor, mountPath: /floor}]
  containers:
  - name: howdah
    image: localhost/howdah:lab
    command: [/usr/lib/howdah/howdah-warden, --respawn, --, /floor/floor, "8008"]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: floor, mountPath: /floor}]
  volumes: [{name: floor, emptyDir: {}}]
"""


class Bare(Cluster):
    def __init__(self, lab):
        super().__init__(lab)
        self.pods = ["bare-0", "bare-1"]
        self.leads = {"subset": "bare-0", "label": "bare-0"}

    def deploy(self):
        pods = [BARE_POD.replace("NAME", p).replace("PASSWORD", PASSWORD) for p in self.pods]
        self.lab.apply("---".join([BARE] + pods))
        wait_for("both servers answer", self.settle, 180, every=0.5)
        self.addresses = {p: self.lab.get("pod", p)["status"]["podIP"] for p in self.pods}
        self.api = Api(self.lab)
        for pod in self.pods:
            self.sql(pod, "create table written (n bigint primary key)")
        for how in self.leads:
            self.lead(how, "bare-0")
        return self

    def settle(self):
        try:
            return all(self.sql(p, "select 1") for p in self.pods)
        except (psycopg2.Error, KeyError):
            return False

    def postmaster_pid(self, pod):
        return self.pid(pod, "postgres", "postgres", "-D")

    def libraries(self):
        """[pid] of floor.c in three pods; and of what starts it again, as in an agent's container."""
        pods = [f"libraries-{i}" for i in range(3)]
        self.lab.apply("---".join(LIBRARIES_POD.replace("NAME", p) for p in pods))
        for pod in pods:
            place = self.lab.volume(pod, "floor")
            wait_for(f"the volume of {pod}", lambda: os.path.isdir(place), 60)
            floor_program(place)
            with open(f"{place}/there", "w"):
                pass
        for pod in pods:
            wait_for(f"{pod} runs", lambda: self.lab.running(pod, "howdah"), 60, every=0.5)
        time.sleep(2)
        for pod in pods:
            self.pid(pod, "howdah", "floor")
        return [[pid for pid, _ in self.processes(p, "howdah")] for p in pods]

    def other(self, how):
        return next(p for p in self.pods if p != self.leads[how])

    def lead(self, how, pod):
        """Tells the API who leads from now on, and nothing else."""
        old, self.leads[how] = self.leads[how], pod
        if how == "subset":
            subset = {"addresses": [{"ip": self.addresses[pod]}], "ports": [{"port": 5432}]}
            self.api.write("endpoints", "subset", {"apiVersion": "v1", "kind": "Endpoints",
                                                   "metadata": {"name": "subset"}, "subsets": [subset]})
            return
        if old != pod:
            self.api.patch("pods", old, {"metadata": {"labels": {"role": "replica"}}})
        self.api.patch("pods", pod, {"metadata": {"labels": {"role": "primary"}}})


MADE = {"patroni": Theirs, "endpoints": lambda lab: Ours(lab, "endpoints"), "leases": lambda lab: Ours(lab, "leases"),
        "floor": Bare}


class Api:
    """One connection to a lab's API server, open beforehand as an agent's is."""

    def __init__(self, lab):
        with open(f"{lab.dir}/token") as f:
            self.headers = {"Authorization": "Bearer " + f.read().strip(), "User-Agent": "bench",
                            "Accept": "application/json"}
        self.conn = http.client.HTTPSConnection(
            "127.0.0.1", 6443, timeout=10, context=ssl.create_default_context(cafile=f"{lab.dir}/ca.crt"))
        with lab.network():
            self.conn.connect()

    def ask(self, method, path, body, kind):
        self.conn.request(method, "/api/v1/namespaces/default/" + path, json.dumps(body),
                          {**self.headers, "Content-Type": kind})
        reply = self.conn.getresponse()
        text = reply.read().decode()
        if reply.status >= 300 and reply.status != 404:
            raise AssertionError(f"{method} {path}: {reply.status} {text}")
        return reply.status

    def patch(self, kind, name, body):
        return self.ask("PATCH", f"{kind}/{name}", body, "application/merge-patch+json")

    def write(self, kind, name, body):
        if self.patch(kind, name, body) == 404:
            self.ask("POST", kind, body, "application/json")


# --- what pods write to the API

def writes(lab):
    """{"verb resource": how many} so far, by the API server's audit log: every request that is no reading."""
    with open(f"{lab.dir}/audit.log") as f:
        text = f.read()
    lines = text[:text.rfind("\n") + 1].splitlines()
    found = collections.Counter()
    for entry in map(json.loads, lines):
        what = entry["objectRef"]
        found[f"{entry['verb']} {what['resource']}"] += 1
    return found


# --- what an image weighs

def layers(name):
    """{digest of a layer's content: (compressed as a registry keeps it, files unpacked)}, bytes."""
    directory = os.path.join(os.environ.get("HOWDAH_LAB") or "/var/cache/howdah-lab", "images")
    found = {}
    with tarfile.open(f"{directory}/{name}.tar") as archive:
        for path in json.load(archive.extractfile("manifest.json"))[0]["Layers"]:
            with tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(archive.extractfile(path), copy)
                copy.seek(0)
                digest = hashlib.file_digest(copy, "sha256").hexdigest()
                copy.seek(0)
                counted = Counted()
                with gzip.GzipFile(fileobj=counted, mode="wb", compresslevel=6, mtime=0) as packed:
                    shutil.copyfileobj(copy, packed)
                copy.seek(0)
                with tarfile.open(fileobj=copy) as layer:
                    found[digest] = (counted.size, sum(f.size for f in layer if f.isfile()))
    return found


class Counted:
    """A file that only counts."""

    def __init__(self):
        self.size = 0

    def write(self, data):
        self.size += len(data)
        return len(data)

    def flush(self):
        pass


# --- the story of a measurement

@contextlib.contextmanager
def followed(cluster, directory, name):
    """Leaves each container's log of the meanwhile in directory/name/, with the times at which it came; also of
    a pod that is deleted, and while the API server hangs."""
    if not directory or not cluster:
        yield None
        return
    place = os.path.join(directory, name)
    os.makedirs(place, exist_ok=True)
    pattern = f"{cluster.lab.dir}/log/pods/*/*/*.log"  # NAMESPACE_POD_UID/CONTAINER/RESTARTS.log
    logs = {path: open(path) for path in glob.glob(pattern)}
    for log in logs.values():
        log.seek(0, os.SEEK_END)
    try:
        yield place
    finally:
        for path in glob.glob(pattern):
            if path not in logs:
                logs[path] = open(path)
        for path, log in logs.items():
            pod, container, number = path.split("/")[-3:]
            with log, open(f"{place}/{pod.split('_')[1]}.{pod[-4:]}.{container}.{number}", "w") as copy:
                shutil.copyfileobj(log, copy)


def versions(cluster):
    return {"agent": cluster.version(), "postgres": cluster.sql(cluster.pods[0], "show server_version")[0][0]}
