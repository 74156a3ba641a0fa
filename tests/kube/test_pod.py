"""The pod of the manifests, with nobody but the test to tell the warden what to do.

The agent's container is given a settings file that does not exist: its program ends at once, and the
respawner starts it again, so the pod stays, and the test attaches to the warden in the agent's place.
"""
import glob
import os
import signal
import subprocess
import tempfile

import psycopg2
import yaml

from kube import Lab, manifests, wait_for
from wire import Warden

POD, DATA = "demo-0", "/var/lib/postgresql/data/pgdata"
PG_BIN = "/usr/lib/postgresql/15/bin"
ENV = {"PATH": f"/usr/bin:/bin:{PG_BIN}", "LC_ALL": "C.UTF-8"}


def documents():
    return [d for d in yaml.safe_load_all(manifests()) if d]


def without_agent(docs, uid=None, gid=None):
    """One member, whose agent finds no settings; perhaps as somebody else."""
    for doc in docs:
        if doc["kind"] != "StatefulSet":
            continue
        doc["spec"]["replicas"] = 1
        pod = doc["spec"]["template"]["spec"]
        agent = next(c for c in pod["containers"] if c["name"] == "howdah")
        agent["args"] = ["/nonexistent.yml"]
        del agent["livenessProbe"]
        if uid is not None:
            pod["securityContext"].update(runAsUser=uid, runAsGroup=gid, fsGroup=uid)
    return yaml.safe_dump_all(docs)


def start(lab, **who):
    lab.apply(without_agent(documents(), **who))
    wait_for("both containers run", lambda: lab.running(POD, "postgres") and lab.running(POD, "howdah"), 90)


def attach(lab, uid, volume="howdah"):
    path = lab.volume(POD, volume)
    wait_for("the warden's socket", lambda: os.path.exists(f"{path}/warden.sock"), 20)
    return Warden(path, uid)


def make_server(warden):
    code, said = warden.run("initdb", [f"{PG_BIN}/initdb", "-D", DATA, "-U", "postgres", "--auth=trust",
                                       "--pwfile=/dev/stdin"], ENV, stdin="secret\n")
    assert code == 0, said
    warden.spawn("postgres", [f"{PG_BIN}/postgres", "-D", DATA, "-c", "listen_addresses=*",
                              "-c", "unix_socket_directories=/var/run/postgresql",
                              "-c", f"hba_file={DATA}/pg_hba.conf"], ENV, postmaster=True)


def open_to_all(warden):
    code, said = warden.run("hba", ["sh", "-c", f"echo host all all all trust >>{DATA}/pg_hba.conf"], ENV)
    assert code == 0, said


def can_write(lab, address):
    try:
        with lab.network():
            conn = psycopg2.connect(host=address, user="postgres", dbname="postgres", connect_timeout=2)
        with conn.cursor() as cur:
            cur.execute("create table if not exists t (x int); insert into t values (1); select count(*) from t")
            return cur.fetchone()[0]
    except psycopg2.OperationalError:
        return 0


def control_state(lab):
    found = [d for d in glob.glob(f"{lab.dir}/volumes/*/pgdata") if os.listdir(d)]
    assert len(found) == 1, found
    out = subprocess.run([f"{PG_BIN}/pg_controldata", found[0]], stdout=subprocess.PIPE, text=True, check=True)
    return next(line.split(":")[1].strip() for line in out.stdout.splitlines() if "cluster state" in line)


def gone(lab):
    return not lab.get("pods")["items"]


def whole_life(lab, uid):
    """Make a server, use it through the Service, kill it by the fence, start it again, stop the pod."""
    warden = attach(lab, uid)
    # PostgreSQL's programs want a name for whoever runs them.
    assert lab.execute(POD, "postgres", "id", "-un").strip() == "postgres"
    assert lab.execute(POD, "postgres", "id", "-u").strip() == str(uid)
    make_server(warden)
    open_to_all(warden)
    lab.execute(POD, "postgres", f"{PG_BIN}/pg_ctl", "reload", "-D", DATA)

    # It is not ready, and must be reached all the same: the label says who is the primary.
    lab.kubectl("label", "pod", POD, "role=primary")
    assert not lab.container(POD, "howdah")["ready"]
    address = lab.get("service", "demo")["spec"]["clusterIP"]
    wait_for("a write through the Service", lambda: can_write(lab, address), 30)
    assert "1" in lab.execute(POD, "postgres", "psql", "-U", "postgres", "-h", "/var/run/postgresql",
                              "-Atc", "select 1")
    assert "database system is ready" in lab.logs(POD, "postgres")  # Postgres logs where the pod does

    warden.fence(0.1, 0.6, 30)
    warden.wait("postgres")
    assert not can_write(lab, address)
    warden.close()

    warden = attach(lab, uid)
    warden.unfence()  # nothing runs
    warden.spawn("postgres", [f"{PG_BIN}/postgres", "-D", DATA, "-c", "listen_addresses=*",
                              "-c", "unix_socket_directories=/var/run/postgresql"], ENV, postmaster=True)
    wait_for("it recovers", lambda: can_write(lab, address), 30)

    # The agent's end is nothing to the pod, however often.
    wait_for("the agent is started again",
             lambda: lab.logs(POD, "howdah").count("starting it again") >= 3, 30)
    for name in ("postgres", "howdah"):
        assert lab.container(POD, name)["restartCount"] == 0

    # Deleted: the image's STOPSIGNAL is SIGINT, which is to the warden what SIGTERM is.
    lab.kubectl("delete", "pod", POD, "--wait=false")
    lab.kubectl("scale", "statefulset", "demo", "--replicas=0")
    warden.wait_terminating()
    assert "told to stop signal=2 agent=attached" in lab.logs(POD, "postgres")
    assert warden.run("hook", ["echo", "handed over"], ENV) == (0, "handed over\n")
    warden.signal("postgres", signal.SIGINT)
    assert warden.wait("postgres")[0] == 0
    warden.close()
    wait_for("the pod ends long before its grace is over", lambda: gone(lab), 60)
    assert control_state(lab) == "shut down"


def test_stock_postgres_image():
    with Lab("node", ["howdah", "postgres"]) as lab:
        start(lab)
        # The token of the API is the agent's alone.
        out = lab.execute(POD, "postgres", "sh", "-c", "ls /var/run/secrets; echo $?", check=False)
        assert out.strip().endswith("2"), out
        assert "Read-only file system" in lab.execute(POD, "postgres", "touch", "/x", check=False)
        whole_life(lab, 999)


def test_random_user_without_anybody_attached():
    """As OpenShift runs it: a uid that no image knows, root's group. Nobody hands over: a fast shutdown."""
    with Lab("node", ["howdah", "postgres"]) as lab:
        start(lab, uid=1000650000, gid=0)
        whole_life(lab, 1000650000)

        lab.kubectl("scale", "statefulset", "demo", "--replicas=1")
        wait_for("both containers run", lambda: lab.running(POD, "postgres") and lab.running(POD, "howdah"), 60)
        warden = attach(lab, 1000650000)
        warden.spawn("postgres", [f"{PG_BIN}/postgres", "-D", DATA], ENV, postmaster=True)
        wait_for("it runs", lambda: "in production" in control_state(lab), 30)
        warden.close()
        lab.kubectl("scale", "statefulset", "demo", "--replicas=0")
        wait_for("the pod ends", lambda: gone(lab), 60)
        assert control_state(lab) == "shut down"


def test_image_without_glibc():
    """A busybox and musl, uid 70: what the warden finds in an image of Alpine."""
    with Lab("node", ["howdah", "musl"]) as lab:
        docs = documents()
        text = without_agent(docs, uid=70, gid=70).replace("localhost/postgres:lab", "localhost/postgres-musl:lab")
        lab.apply(text)
        wait_for("both containers run", lambda: lab.running(POD, "postgres") and lab.running(POD, "howdah"), 90)
        warden = attach(lab, 70)
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        assert warden.run("who", ["sh", "-c", "id -un; id -u; pwd"], env) == (0, "postgres\n70\n/\n")
        code, said = warden.run("libc", ["sh", "-c", "ls /lib/ld-linux* /lib64 2>&1"], env)
        assert code != 0, said
        assert warden.run("dir", ["mkdir", "-m", "700", DATA], env)[0] == 0
        warden.spawn("postgres", ["postgres", "-D", DATA, "backends=4"], env, postmaster=True)
        wait_for("it is all there", lambda: warden_sees(lab, f"{DATA}/ready"), 20)
        count = lambda: len(lab.execute(POD, "postgres", "sh", "-c", "pidof postgres || true").split())  # noqa: E731
        assert count() == 5
        warden.fence(0.1, 0.4, 30)
        warden.wait("postgres")
        wait_for("none is left", lambda: count() == 0, 10)
        lab.kubectl("scale", "statefulset", "demo", "--replicas=0")
        warden.wait_terminating()
        warden.close()
        wait_for("the pod ends", lambda: gone(lab), 60)


def warden_sees(lab, path):
    return "yes" in lab.execute(POD, "postgres", "sh", "-c", f"test -e {path} && echo yes", check=False)


ONE_CONTAINER = """
apiVersion: v1
kind: Pod
metadata: {name: demo-0}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 999, runAsGroup: 999, fsGroup: 999, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: postgres
    image: localhost/howdah-postgres:lab
    args: [/nonexistent.yml]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts:
    - {name: data, mountPath: /var/lib/postgresql/data}
    - {name: howdah, mountPath: /run/howdah}
    - {name: sockets, mountPath: /var/run/postgresql}
  volumes: [{name: data, emptyDir: {}}, {name: howdah, emptyDir: {medium: Memory}}, {name: sockets, emptyDir: {}}]
"""


def test_one_container_image():
    """PID 1 is the warden; the agent comes and goes, Postgres stays."""
    with Lab("node", ["howdah-postgres"]) as lab:
        lab.apply(ONE_CONTAINER)
        wait_for("it runs", lambda: lab.running(POD, "postgres"), 90)
        warden = attach(lab, 999)
        make_server(warden)
        wait_for("postgres runs", lambda: "database system is ready" in lab.logs(POD, "postgres"), 30)
        seen = lab.logs(POD, "postgres").count("starting it again")
        wait_for("the agent is started again",
                 lambda: lab.logs(POD, "postgres").count("starting it again") >= seen + 2, 30)
        assert lab.container(POD, "postgres")["restartCount"] == 0
        first = lab.execute(POD, "postgres", "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline")
        assert first.startswith("/usr/lib/howdah/howdah-warden --socket"), first
        with tempfile.TemporaryFile("w+") as log:
            follow = subprocess.Popen([f"{lab.dir}/kubectl", "logs", "-f", POD], stdout=log)
            lab.kubectl("delete", "pod", POD, "--wait=false")
            warden.wait_terminating()
            warden.signal("postgres", signal.SIGINT)
            assert warden.wait("postgres")[0] == 0
            warden.close()
            follow.wait(30)
            log.seek(0)
            assert "told to stop signal=15" in log.read()
        wait_for("the pod ends", lambda: gone(lab), 60)
