"""A Kubernetes lab for the length of a with, and what tests ask of it."""
import contextlib
import ctypes
import glob
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.parse

import left

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "..", "..")

CLONE_NEWNET = 0x40000000
# What stands in for the images that the manifests name; and 1.20 knows a disruption budget by its beta name, and no
# grace of a probe's own.
REPLACED = [("image: howdah:0.1.0", "image: localhost/howdah:lab"),
            ("image: postgres:15-bookworm", "image: localhost/postgres:lab"),
            ("apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n"),
            ("          terminationGracePeriodSeconds: 10 # one that hangs does not hear of it; Kubernetes 1.25 and later\n", "")]


# Where the API server has them. Tests look ten times a second, and a kubectl takes a tenth of a core's second.
CORE = "/api/v1/namespaces/default"
PLACES = {"pod": f"{CORE}/pods", "service": f"{CORE}/services", "endpoints": f"{CORE}/endpoints",
          "configmap": f"{CORE}/configmaps", "secret": f"{CORE}/secrets", "event": f"{CORE}/events",
          "pvc": f"{CORE}/persistentvolumeclaims",
          "lease": "/apis/coordination.k8s.io/v1/namespaces/default/leases",
          "role": "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
          "statefulset": "/apis/apps/v1/namespaces/default/statefulsets"}


def new_directory(prefix):
    """Where ctest compares the machine before and after all tests, they are all in one place."""
    home = os.environ.get("HOWDAH_KUBE_DIR", "/var/tmp")
    os.makedirs(home, exist_ok=True)
    path = tempfile.mkdtemp(prefix=prefix, dir=home)
    os.chmod(path, 0o755)
    return path


def wait_for(what, condition, timeout, every=0.1):
    """Returns the condition's first true value; fails, saying what was waited for."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(every)


def script(name, *args, env=None):
    out = subprocess.run([os.path.join(HERE, "lab", name), *args], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})})
    return out.returncode, out.stdout


def manifests(folder="docker/kubernetes"):
    """The text of a folder's manifests as `kubectl apply -f folder` takes them, for this lab."""
    texts = []
    for path in sorted(glob.glob(os.path.join(SOURCE, folder, "*.yaml"))):
        with open(path) as f:
            texts.append(f.read())
    text = "---\n".join(texts)
    for old, new in REPLACED:
        text = text.replace(old, new)
    return text


class Lab:
    """What: control or node. Leaves nothing behind, and makes sure of it. Or one that runs in a directory."""

    def __init__(self, what, images=(), directory=None):
        self.what, self.images, self.dir = what, images, directory or new_directory("howdah-kube-")
        self.trust = None

    def __enter__(self):
        # Building an image takes minutes once, and is no part of what is compared.
        for name in self.images:
            code, said = script("images.sh", name)
            assert code == 0, said
        self.before = left.listing(self.dir)
        code, said = script("up.sh", self.dir, self.what, env={"HOWDAH_LAB_IMAGES": " ".join(self.images)})
        assert code == 0, said
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            self.tell()
        code, said = script("down.sh", self.dir)
        found = left.compare(self.dir, self.before) if code == 0 else [said]
        if not os.environ.get("HOWDAH_IT_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
        assert kind or not found, "left behind: " + "\n".join(found)

    def tell(self):
        if self.what != "node":
            return
        for command in (["get", "all,pvc,leases,endpoints", "-o", "wide"], ["get", "events"]):
            print(self.kubectl(*command, check=False))
        for pod in self.kubectl("get", "pods", "-o", "name", check=False).split():
            print(f"--- {pod}", self.kubectl("logs", pod, "--all-containers", "--prefix", "--tail=20",
                                            check=False), sep="\n")

    # --- its programs
    def pid(self, program):
        """Of kube-apiserver, etcd, kubelet, …, as this machine numbers it."""
        with open(f"{self.dir}/lab.pid") as f:
            init = subprocess.run(["pgrep", "-P", f.read().strip()], stdout=subprocess.PIPE, text=True, check=True)
        found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", init.stdout.strip()], stdout=subprocess.PIPE,
                               text=True, check=True).stdout.splitlines()
        pids = [int(line.split()[0]) for line in found
                if os.path.basename(line.split()[1]) == program]
        assert len(pids) == 1, f"{program}: {found}"
        return pids[0]

    @contextlib.contextmanager
    def without_api_server(self):
        """It is killed, and started again as the lab had started it."""
        hold = f"{self.dir}/hold.apiserver"  # lab/inside.sh
        with open(hold, "w"):
            os.kill(self.pid("kube-apiserver"), signal.SIGKILL)
        try:
            yield
        finally:
            os.unlink(hold)
        wait_for("the API server is back",
                 lambda: self.kubectl("get", "--raw", "/readyz", check=False) == "ok", 60)

    def url(self, name):
        """Of etcd or api. A node's are its own network's."""
        with open(f"{self.dir}/ports") as f:
            ports = dict(line.strip().split("=", 1) for line in f)
        return f"{'https' if name == 'api' else 'http'}://127.0.0.1:{ports[name + '_port']}"

    # --- asking
    def kubectl(self, *args, text=None, check=True):
        program = [f"{self.dir}/kubectl"] if self.what == "node" else \
            ["kubectl", "--kubeconfig", f"{self.dir}/admin.conf"]
        out = subprocess.run([*program, *args], input=text, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        assert not check or out.returncode == 0, f"kubectl {' '.join(args)}: {out.stderr}"
        return out.stdout if check or out.returncode == 0 else out.stdout + out.stderr

    def ask(self, path, **query):
        """The API server's answer to GET, as text, without kubectl."""
        if self.what == "node":
            with self.network():
                return self.ask_here("10.244.0.1:6443", path, query)
        return self.ask_here(urllib.parse.urlsplit(self.url("api")).netloc, path, query)

    def ask_here(self, server, path, query):
        with open(f"{self.dir}/token", encoding="ascii") as f:
            token = f.read().strip()
        self.trust = self.trust or ssl.create_default_context(cafile=f"{self.dir}/ca.crt")
        conn = http.client.HTTPSConnection(server, timeout=60, context=self.trust)
        try:
            conn.request("GET", f"{path}?{urllib.parse.urlencode(query)}", headers={"Authorization": f"Bearer {token}"})
            reply = conn.getresponse()
            text = reply.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as e:
            raise AssertionError(f"GET {path}: {e}") from e
        finally:
            conn.close()
        assert reply.status == 200, f"GET {path}: {reply.status} {text}"
        return text

    def get(self, kind, name=None, **query):
        """One, or all of them: labelSelector=…, fieldSelector=…"""
        place = PLACES.get(kind) or PLACES[kind.rstrip("s")]
        return json.loads(self.ask(f"{place}/{name}" if name else place, **query))

    def apply(self, text):
        return self.kubectl("apply", "-f", "-", text=text)

    def execute(self, pod, container, *command, check=True):
        return self.kubectl("exec", pod, "-c", container, "--", *command, check=check)

    def logs(self, pod, container, **query):
        """previous=True: of the one before; sinceSeconds=20."""
        return self.ask(f"{CORE}/pods/{pod}/log", container=container, **query)

    def container(self, pod, name):
        """Its status: restartCount, state, ready, …; None while there is none, or no pod."""
        found = [c for p in self.get("pod", fieldSelector=f"metadata.name={pod}")["items"]
                 for c in p.get("status", {}).get("containerStatuses", []) if c["name"] == name]
        return found[0] if found else None

    def running(self, pod, name):
        seen = self.container(pod, name)
        return bool(seen) and "running" in seen["state"]

    # --- inside
    def root(self):
        """The lab's own file system, as seen from here."""
        with open(f"{self.dir}/init.pid") as f:
            return f"/proc/{f.read().strip()}/root"

    def volume(self, pod, name):
        """The directory of an emptyDir."""
        uid = self.get("pod", pod)["metadata"]["uid"]
        return f"{self.root()}/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/{name}"

    @contextlib.contextmanager
    def network(self):
        """What this thread connects to meanwhile is in the lab; the connections stay there."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as home, \
                open(os.path.dirname(self.root()) + "/ns/net") as there:
            if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                if libc.setns(home.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
