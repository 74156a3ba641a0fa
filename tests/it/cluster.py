"""A cluster of real processes on free loopback ports: etcd, agents, wardens, PostgreSQL.

Everything lives in one temporary directory, runs as the postgres user, and is found again by that
directory's path: stop() ends what is left of it, by pid, and nothing else.
"""
import base64
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import psycopg2

BIN = os.environ.get("HOWDAH_BIN") or os.path.join(os.getcwd(), "build/release/bin")
PG_BIN = os.environ.get("HOWDAH_PG_BIN", "/usr/lib/postgresql/15/bin")
USER = pwd.getpwnam("postgres")


def demote():
    """In the child, before exec: PostgreSQL refuses to run as root."""
    os.setsid()
    if os.geteuid() == 0:
        os.initgroups("postgres", USER.pw_gid)
        os.setgid(USER.pw_gid)
        os.setuid(USER.pw_uid)
    os.umask(0o077)


_reservations = []


def free_port():
    """Ours until this process ends: a server that is down for a while finds its port free again."""
    while True:
        # Not where the kernel takes the ports of outgoing connections, nor where the unit tests look.
        port = random.choice((random.randrange(10000, 12000), random.randrange(30000, 32768)))
        reservation = socket.socket(socket.AF_UNIX)
        with socket.socket() as s:
            try:
                reservation.bind(f"\0howdah-it-port-{port}")  # for other tests that run now
                s.bind(("127.0.0.1", port))
            except OSError:
                reservation.close()
                continue
        _reservations.append(reservation)
        return port


def wait_for(what, condition, timeout, every=0.02):
    """Returns the condition's first true value; fails, saying what was waited for."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(every)


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def processes_of(directory):
    """Pids whose command line or working directory names the directory."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            cwd = os.readlink(f"/proc/{entry}/cwd")
        except OSError:
            cwd = ""
        if directory in cmdline(entry) or cwd == directory or cwd.startswith(directory + "/"):
            found.append(int(entry))
    return found


def kill(pid, sig=signal.SIGKILL):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Etcd:
    """count members; the usual one is enough unless a test takes some away."""

    def __init__(self, directory, count=1, host="127.0.0.1", tls=None):
        self.dir, self.count, self.host, self.tls = directory, count, host, tls
        self.known_as = None  # the name that it tells its clients, instead of the address
        self.ports = [(free_port(), free_port()) for _ in range(count)]
        self.procs = [None] * count
        self.scheme = "https" if tls else "http"

    def client_url(self, i=0):
        return f"{self.scheme}://{self.host}:{self.ports[i][0]}"

    def hosts(self):
        return [f"{self.host}:{p[0]}" for p in self.ports]

    def start(self, i=None, wait=True):
        for k in range(self.count) if i is None else [i]:
            peers = ",".join(
                f"e{n}=http://{self.host}:{p[1]}" for n, p in enumerate(self.ports))
            args = ["etcd", "--name", f"e{k}", "--data-dir", f"{self.dir}/etcd{k}",
                    "--listen-client-urls", self.client_url(k),
                    "--advertise-client-urls",
                    f"{self.scheme}://{self.known_as or self.host}:{self.ports[k][0]}",
                    "--listen-peer-urls", f"http://{self.host}:{self.ports[k][1]}",
                    "--initial-advertise-peer-urls", f"http://{self.host}:{self.ports[k][1]}",
                    "--initial-cluster", peers, "--logger", "zap", "--log-level", "warn"]
            if self.tls:
                args += ["--cert-file", self.tls["cert"], "--key-file", self.tls["key"],
                         "--trusted-ca-file", self.tls["ca"], "--client-cert-auth"]
            log = open(f"{self.dir}/etcd{k}.log", "ab")
            self.procs[k] = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             cwd=self.dir, preexec_fn=demote)
            log.close()
        if wait:
            wait_for("etcd answers", self.healthy, 15)

    def ctl(self, *args, check=True):
        command = ["etcdctl", "--endpoints", ",".join(f"{self.scheme}://{h}" for h in self.hosts()),
                   "--command-timeout", "3s"]
        if self.tls:
            command += ["--cacert", self.tls["ca"], "--cert", self.tls["client_cert"],
                        "--key", self.tls["client_key"]]
            if self.tls.get("user"):
                command += ["--user", self.tls["user"]]
        out = subprocess.run(command + list(args), env={**os.environ, "ETCDCTL_API": "3"},
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if check and out.returncode:
            raise AssertionError(f"etcdctl {args}: {out.stderr}")
        return out.stdout

    def healthy(self):
        return "healthy" in self.ctl("endpoint", "health", check=False) or \
            self.ctl("get", "/none", check=False) == "" and self._answers()

    def _answers(self):
        try:
            socket.create_connection((self.host, self.ports[0][0]), 1).close()
            return True
        except OSError:
            return False

    def get(self, key):
        out = self.ctl("get", key, "--print-value-only")
        return out[:-1] if out.endswith("\n") else out

    def signal(self, sig, i=None):
        for k in range(self.count) if i is None else [i]:
            if self.procs[k]:
                kill(self.procs[k].pid, sig)

    def stop(self, i=None):
        for k in range(self.count) if i is None else [i]:
            if self.procs[k]:
                kill(self.procs[k].pid, signal.SIGCONT)
                kill(self.procs[k].pid, signal.SIGKILL)
                self.procs[k].wait()
                self.procs[k] = None


class Member:
    def __init__(self, cluster, name, host="127.0.0.1", netns=None):
        self.cluster, self.name, self.host = cluster, name, host
        # Run as root, with the agent's command as its last arguments: where a namespace is entered.
        self.outside = ["ip", "netns", "exec", netns] if netns else []
        self.pg_port, self.rest_port = free_port(), free_port()
        self.home = f"{cluster.dir}/{name}"
        self.data = f"{self.home}/data"
        self.config_file = f"{self.home}/howdah.yml"
        self.log = f"{self.home}/agent.log"
        self.proc = None
        self.overrides = {}
        self.program = [os.path.join(cluster.bin, "howdah")]
        os.makedirs(self.home, exist_ok=True)
        os.chown(self.home, USER.pw_uid, USER.pw_gid)

    def config(self):
        c = self.cluster
        doc = {
            "scope": c.scope, "name": self.name,
            "restapi": {"listen": f"{self.host}:{self.rest_port}",
                        "connect_address": f"{self.host}:{self.rest_port}"},
            "etcd3": {"hosts": c.store_hosts()},
            "bootstrap": {
                "dcs": {**c.timers, "maximum_lag_on_failover": 1048576,
                        "postgresql": {"use_pg_rewind": True, "use_slots": True,
                                       "parameters": {"max_connections": 60, "wal_keep_size": "64MB",
                                                      **c.dcs_parameters}}},
                "initdb": ["data-checksums", {"encoding": "UTF8"}, {"locale": "C.UTF-8"},
                           {"auth": "trust"}]},
            "postgresql": {
                "listen": f"{self.host}:{self.pg_port}",
                "connect_address": f"{self.host}:{self.pg_port}",
                "data_dir": self.data, "bin_dir": PG_BIN, "pgpass": f"{self.home}/pgpass",
                "authentication": {"superuser": {"username": "postgres", "password": "super-secret"},
                                   "replication": {"username": "replicator",
                                                   "password": "repl-secret"},
                                   "rewind": {"username": "rewinder", "password": "rewind-secret"}},
                "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 trust",
                           "host all all 10.77.0.0/16 trust",
                           "host replication all 127.0.0.1/32 trust",
                           "host replication all 10.77.0.0/16 trust"],
                "parameters": {"unix_socket_directories": self.home, "shared_buffers": "32MB",
                               "fsync": "on", "restart_after_crash": "off",
                               "log_min_messages": "log",
                               "log_min_error_statement": "panic"}},
            "log": {"level": "DEBUG" if os.environ.get("HOWDAH_IT_DEBUG") else "INFO"},
        }
        merge(doc, c.overrides)
        merge(doc, self.overrides)
        return doc

    def write_config(self):
        # JSON is YAML, and the agent says so too.
        with open(self.config_file, "w") as f:
            json.dump(self.config(), f, indent=1)
        os.chown(self.config_file, USER.pw_uid, USER.pw_gid)
        os.chmod(self.config_file, 0o600)

    def start(self):
        self.write_config()
        log = open(self.log, "ab")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PATRONI", "PG", "HOWDAH"))}
        env["HOME"] = self.home  # libpq looks for certificates there
        env.update(self.cluster.env)
        command = list(self.outside)
        if self.outside:
            command += ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        self.proc = subprocess.Popen(command + self.program + [self.config_file],
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                     env=env, preexec_fn=os.setsid if self.outside else demote)
        log.close()
        return self

    # --- processes
    def warden_pid(self):
        for pid in processes_of(self.data):
            line = cmdline(pid)
            if "howdah-warden" in line.split(" ")[0] and self.data in line:
                return pid
        return None

    def postmaster_pid(self):
        try:
            with open(f"{self.data}/postmaster.pid") as f:
                pid = int(f.readline())
            return pid if alive(pid) else None
        except (OSError, ValueError):
            return None

    def postgres_pids(self):
        found = []
        for pid in processes_of(self.data):
            try:
                if os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("postgres") and \
                        os.path.samefile(f"/proc/{pid}/cwd", self.data):  # whatever it is called there
                    found.append(pid)
            except OSError:
                pass
        return found

    def kill_agent(self, sig=signal.SIGKILL):
        kill(self.proc.pid, sig)
        if sig == signal.SIGKILL:
            self.proc.wait()

    def wait_ended(self, timeout=30):
        return self.proc.wait(timeout)

    def kill_all(self):
        """The machine is gone: agent, warden, every Postgres process."""
        warden, pids = self.warden_pid(), self.postgres_pids()
        if self.proc:
            kill(self.proc.pid)
        if warden:
            kill(warden)
        for pid in pids + self.postgres_pids():
            kill(pid, signal.SIGKILL)
        if self.proc:
            self.proc.wait()
        wait_for("postgres gone", lambda: not self.postgres_pids(), 10)

    # --- asking
    def rest(self, path, method="GET", body=None, timeout=30, headers=None):
        """(status, text); status 0 when nobody answers."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.cluster.rest_scheme}://{self.host}:{self.rest_port}{path}",
                                         data=data, method=method, headers=headers or {})
        if self.cluster.rest_user:
            token = base64.b64encode(self.cluster.rest_user.encode()).decode()
            request.add_header("Authorization", "Basic " + token)
        try:
            with urllib.request.urlopen(request, timeout=timeout,
                                        context=self.cluster.ssl_context) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except OSError:
            return 0, ""

    def status(self):
        code, text = self.rest("/patroni", timeout=5)
        return json.loads(text) if code else {}

    def connect(self, **kw):
        args = dict(host=self.host, port=self.pg_port, user="postgres", dbname="postgres",
                    connect_timeout=2, password="super-secret")
        args.update(self.cluster.pg_args)
        args.update(kw)
        conn = psycopg2.connect(**args)
        conn.autocommit = True
        return conn

    def sql(self, text, *params):
        conn = self.connect()
        try:
            with conn.cursor() as cur:
                cur.execute(text, params or None)
                return cur.fetchall() if cur.description else None
        finally:
            conn.close()

    def log_text(self):
        with open(self.log, errors="replace") as f:
            return f.read()


def merge(into, more):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif value is None:
            into.pop(key, None)
        else:
            into[key] = value


def take_programs(directory):
    """A copy where the postgres user can run it: the tree may lie below a home that is closed to it."""
    target = f"{directory}/bin"
    os.makedirs(target, exist_ok=True)
    for name in ("howdah", "howdah-warden", "howdahctl"):
        shutil.copy2(os.path.join(BIN, name), target)
    os.chmod(target, 0o755)
    return target


class Cluster:
    def __init__(self, count=3, scope="demo", timers=None, etcd_count=1, overrides=None,
                 dcs_parameters=None, names=None):
        self.dir = tempfile.mkdtemp(prefix="howdah-it-", dir=os.environ.get("HOWDAH_IT_TMP", "/var/tmp"))
        os.chmod(self.dir, 0o755)
        os.chown(self.dir, USER.pw_uid, USER.pw_gid)
        self.bin = take_programs(self.dir)
        self.scope = scope
        self.timers = {"ttl": 5, "loop_wait": 1, "retry_timeout": 2, **(timers or {})}
        self.overrides = overrides or {}
        self.dcs_parameters = dcs_parameters or {}
        self.env = {}
        self.pg_args = {}
        self.rest_scheme, self.rest_user, self.ssl_context = "http", None, None
        self.etcd = Etcd(self.dir, etcd_count)
        self.store = None  # a fault proxy may stand before etcd
        self.members = [Member(self, n) for n in (names or [f"n{i + 1}" for i in range(count)])]

    def store_hosts(self):
        return self.store.hosts() if self.store else self.etcd.hosts()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind and not os.environ.get("HOWDAH_IT_QUIET"):
            self.tell()
        self.stop(keep=kind is not None and bool(os.environ.get("HOWDAH_IT_KEEP")))

    def __getitem__(self, name):
        return next(m for m in self.members if m.name == name)

    def start(self, wait=True, timeout=120):
        self.etcd.start()
        for m in self.members:
            m.start()
        if not wait:
            return None
        primary = self.wait_streaming(timeout=timeout)
        # A standby streams a moment before its agent has seen that it does.
        wait_for("every agent says that its server runs",
                 lambda: all(m.status().get("state") == "running" for m in self.members), timeout)
        return primary

    def tell(self):
        for m in self.members:
            if os.path.exists(m.log):
                lines = m.log_text().splitlines()
                print(f"--- {m.name} ({m.log})", *lines[-40:], sep="\n")
        print("--- store")
        print(self.etcd.ctl("get", "--prefix", "/service/", check=False))

    def stop(self, keep=False):
        for m in self.members:
            if m.proc:
                kill(m.proc.pid, signal.SIGCONT)
                kill(m.proc.pid)
                m.proc.wait()
        for m in self.members:
            warden = m.warden_pid()
            if warden:
                kill(warden, signal.SIGCONT)
                kill(warden)
        self.etcd.stop()
        if self.store:
            self.store.stop()

        def gone():
            left = processes_of(self.dir)
            for pid in left:
                kill(pid, signal.SIGCONT)
                kill(pid)
            return not left
        wait_for("no process left", gone, 15)
        if keep:
            print("kept:", self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    # --- the state of things
    def key(self, name):
        return self.etcd.get(f"/service/{self.scope}/{name}")

    def leader(self):
        name = self.key("leader")
        return next((m for m in self.members if m.name == name), None)

    def primary(self):
        """The member whose Postgres takes writes and whose agent says so; None unless just one."""
        found = [m for m in self.members if m.rest("/primary", timeout=2)[0] == 200 and
                 self.is_writable(m)]
        return found[0] if len(found) == 1 else None

    @staticmethod
    def is_writable(m):
        try:
            return m.sql("select not pg_is_in_recovery()")[0][0]
        except psycopg2.Error:
            return False

    def wait_primary(self, timeout=60, other_than=None):
        def ready():
            p = self.primary()
            return p if p is not other_than else None
        return wait_for("a primary", ready, timeout)

    def streaming(self):
        p = self.primary()
        if not p:
            return None
        try:
            names = {r[0] for r in p.sql(
                "select application_name from pg_stat_replication where state = 'streaming'")}
        except psycopg2.Error:
            return None
        wanted = {m.name for m in self.members if m.proc and m is not p}
        return p if wanted <= names else None

    def wait_streaming(self, timeout=120):
        return wait_for("one primary, everybody else streaming", self.streaming, timeout, every=0.05)

    def ctl(self, *args, check=True, timeout=60):
        out = subprocess.run([os.path.join(BIN, "howdahctl"), "-c", self.members[0].config_file, *args],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
        if check and out.returncode:
            raise AssertionError(f"howdahctl {args}: {out.returncode} {out.stdout} {out.stderr}")
        return out.stdout
