"""./dev up --kubernetes, and what down, kubectl and psql do with it: play.py up|down|kubectl|psql RUN_DIR [ARGS].

A lab of tests/kube/lab in RUN_DIR, with docker/kubernetes applied as it is. It has a network of its own.
"""
import fcntl
import os
import shutil
import subprocess
import sys

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.path.dirname(os.path.abspath(__file__)), "lab")]
from cluster import PASSWORD, Cluster  # noqa: E402
from kube import HERE, Lab, wait_for  # noqa: E402

IMAGES = "howdah postgres"


def fail(text):
    sys.exit(f"dev: {text}")


def script(*args):
    """Its exit code. An interrupt goes to it too, and it clears away: that takes a moment."""
    child = subprocess.Popen(args, env={**os.environ, "HOWDAH_LAB_IMAGES": IMAGES})
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            pass


def is_alive(run):
    """A lab holds its lock for as long as it lives."""
    try:
        with open(f"{run}/lock", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def running(run):
    """The lab, whose kubectl is the last thing that up.sh makes."""
    if not is_alive(run) or not os.path.exists(f"{run}/kubectl"):
        fail("no Kubernetes runs here: ./dev up --kubernetes starts one")
    return Lab("node", directory=run)


def start(run):
    down(run)  # what a killed one has left
    os.makedirs(run, mode=0o755)
    if script(f"{HERE}/lab/up.sh", run, "node") != 0:
        fail(f"Kubernetes did not come up; its logs are in {run}, and ./dev down removes them")


def up(run):
    if os.geteuid() != 0:
        fail("a Kubernetes of its own needs namespaces, mounts and control groups: run as root")
    if not is_alive(run):
        start(run)
    elif os.path.exists(f"{run}/kubectl"):
        print("It runs already.\n")
    else:
        fail("one is being started, or was interrupted; ./dev down ends it")
    lab = running(run)
    cluster = Cluster(lab)
    if not lab.get("statefulsets")["items"]:
        print("Applying docker/kubernetes", flush=True)
        cluster.deploy()
        wait_for("two members stream from the third", cluster.streaming, 120, every=0.5)
    show(lab, cluster)


def show(lab, cluster):
    print(cluster.ctl("list", pod=cluster.primary() or "demo-0", check=False))
    print(lab.kubectl("get", "pods", "-L", "role"))
    print(lab.kubectl("get", "services", "-l", "cluster-name=demo", "-L",
                      "howdah.io/state,howdah.io/leader,howdah.io/timeline,howdah.io/replicas,howdah.io/sync"))
    leader = cluster.primary()
    if leader is None:
        print("Nobody leads now: look again with ./dev up --kubernetes")
        return
    agent = cluster.pid(leader, "howdah", "howdah")
    print(f"""Three pods of docker/kubernetes, on a node with a network of its own. All of it is in {lab.dir}.

  connect:      ./dev psql                            the primary, by the address of the Service demo
                {lab.dir}/enter COMMAND       anything else in its network
  look:         ./dev kubectl get pods,services -L role -L howdah.io/state
                ./dev kubectl exec demo-0 -c howdah -- howdahctl list      or: topology demo, explain
                ./dev kubectl logs {leader} -c howdah        ./dev kubectl describe service demo
  switch over:  ./dev kubectl exec demo-0 -c howdah -- howdahctl switchover demo --force
  break it:     ./dev kubectl delete pod {leader}         the leader's pod: another one leads before it has ended
                kill -9 {agent:<29} its agent: PostgreSQL runs on
                kill -STOP {agent:<26} its agent, frozen: fenced before the lease ends
  stop:         ./dev down""")


def down(run):
    if not os.path.isdir(run):
        return
    if os.geteuid() != 0:
        fail(f"the lab in {run} is root's: run as root")
    if os.path.exists(f"{run}/lock") and script(f"{HERE}/lab/down.sh", run) != 0:
        fail(f"the lab in {run} did not end")
    shutil.rmtree(run)


def kubectl(run, *args):
    program = f"{running(run).dir}/kubectl"
    os.execv(program, [program, *args])


def psql(run, *args):
    lab = running(run)
    address = lab.get("service", "demo")["spec"]["clusterIP"]
    network = os.path.dirname(lab.root()) + "/ns/net"
    os.environ.update(PGPASSWORD=PASSWORD, PGHOST=address, PGUSER="postgres")
    os.execvp("nsenter", ["nsenter", f"--net={network}", "--", "psql", *args])


if __name__ == "__main__":
    {"up": up, "down": down, "kubectl": kubectl, "psql": psql}[sys.argv[1]](*sys.argv[2:])
