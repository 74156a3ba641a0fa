"""The API server gone, rights and tokens gone, hands in the cluster's objects, a network that is cut. All the time
a client writes through the primary's Service."""
import base64
import contextlib
import copy
import json
import os
import signal
import subprocess
import time

import yaml

from cluster import Client, Cluster, documents
from kube import Lab, wait_for
from test_cluster import write_once

IMAGES = ["howdah", "postgres"]
TTL, LOOP_WAIT = 20, 4
TIMERS = {"ttl": TTL, "loop_wait": LOOP_WAIT, "retry_timeout": 8}
MENDED = LOOP_WAIT + 6  # what hands have done is undone within a loop, on a machine that is busy with other things
LOOK = 30 + 10  # how often the leader looks at the Services, where nothing changes
SERVICES = ("demo", "demo-replicas", "demo-members")


# --- what must be so afterwards

def roles(cluster):
    return {p["metadata"]["name"]: p["metadata"]["labels"].get("role") for p in cluster.pod_list()}


def timeline(cluster, leader):
    return int(cluster.sql(leader, "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")[0][0], 16)


def history(cluster):
    """Who led since which timeline, by the store."""
    if cluster.store == "leases":
        notes = cluster.lab.get("configmap", "demo-config")["metadata"]["annotations"]
    else:
        notes = cluster.lab.get("endpoints", "demo-config")["metadata"]["annotations"]
    return json.loads(notes.get("history", "[]"))


def settled(cluster, within=90):
    """One leader, everybody streams, and labels, Services and history say so. The leader's name."""
    leader = wait_for("everybody streams", cluster.streaming, within, every=0.5)
    now = timeline(cluster, leader)
    wait_for("each pod bears its role",
             lambda: roles(cluster) == {p: "primary" if p == leader else "replica" for p in cluster.pods}, MENDED)
    signs = {"leader": leader, "state": "healthy", "timeline": str(now), "sync": "off",
             "replicas": str(len(cluster.pods) - 1)}
    for name in SERVICES:
        wait_for(f"Service {name} says so", lambda: cluster.signs(name) == signs, LOOK)
    wait_for("so does the history", lambda: now == 1 or
             [history(cluster)[-1][0], history(cluster)[-1][4]] == [now - 1, leader], MENDED)
    return leader


@contextlib.contextmanager
def nobody_notices(cluster):
    """No transaction fails, and the leader goes on in its term."""
    leader = cluster.primary()
    now = timeline(cluster, leader)
    with Client(cluster) as client:
        yield leader
        client.wait_acks(100)
        assert settled(cluster) == leader
    assert not client.errors, client.errors[:3]
    client.assert_kept()
    assert timeline(cluster, leader) == now


def deploy(lab, store="leases", change=None):
    docs = documents(store=store, timers=TIMERS)
    cluster = Cluster(lab)
    cluster.store = store
    cluster.deploy(docs=change(docs) if change else docs)
    settled(cluster)
    return cluster


def said(cluster, pod, what):
    return what in cluster.lab.logs(pod, "howdah")


def wait_said(cluster, pod, what, timeout=30):
    wait_for(f"{pod} says: {what}", lambda: said(cluster, pod, what), timeout)


# --- hands

def deed(what, damage, is_mended, within=MENDED):
    """What it has changed is put right."""
    began = time.monotonic()
    damage()
    wait_for(f"mended: {what}", is_mended, within)
    print(f"{what}: mended after {time.monotonic() - began:.1f} s", flush=True)


def leader_object(cluster):
    kind = "lease" if cluster.store == "leases" else "endpoints"
    text = cluster.lab.kubectl("get", kind, "demo", "--ignore-not-found", "-o", "json")
    return json.loads(text) if text else {"metadata": {}}


def holds(cluster, leader):
    """When the leader renewed its record; None: it is not whole."""
    found = leader_object(cluster)
    notes, labels = (found["metadata"].get(k, {}) for k in ("annotations", "labels"))
    record, name = (found.get("spec", {}), "holderIdentity") if cluster.store == "leases" else (notes, "leader")
    term = json.loads(notes.get("howdah.io/term", "{}"))
    session = notes.get("howdah.io/session", " ").split(" ")
    whole = record.get(name) == leader and record.get("acquireTime") and session[0] and \
        term.get("confirmed") and term.get("holder") == leader and labels.get("cluster-name") == "demo"
    return record.get("renewTime") if whole else None


def wait_renewed(cluster, leader):
    before = holds(cluster, leader)
    wait_for("the lease is renewed", lambda: holds(cluster, leader) not in (None, before), MENDED)


def points_at(cluster, leader):
    """The primary's Endpoints, which nobody but the agents writes in this mode."""
    subsets = cluster.lab.get("endpoints", "demo").get("subsets") or []
    return [a["ip"] for s in subsets for a in s["addresses"]] == [cluster.lab.get("pod", leader)["status"]["podIP"]]


def has_config(cluster):
    kind = "configmap" if cluster.store == "leases" else "endpoints"
    text = cluster.lab.kubectl("get", kind, "demo-config", "--ignore-not-found", "-o", "json")
    notes = json.loads(text)["metadata"].get("annotations", {}) if text else {}
    return notes.get("initialize", "").isdigit() and json.loads(notes.get("config", "{}")).get("ttl") == TTL


def hands_on_roles(cluster, leader):
    """Two primaries by their labels, or none: each agent keeps its own pod's, and the leader's suffers no second."""
    other = next(p for p in cluster.pods if p != leader)

    def label(pod, role):
        return lambda: cluster.lab.kubectl("label", "pod", pod, role, "--overwrite")

    for pod, role in ((other, "role=primary"), (leader, "role-"), (leader, "role=replica"), (other, "role-")):
        deed(f"label of {pod}: {role}", label(pod, role),
             lambda: roles(cluster) == {p: "primary" if p == leader else "replica" for p in cluster.pods})
    pid = cluster.pid(other, "howdah", "howdah")
    os.kill(pid, signal.SIGSTOP)
    try:
        deed(f"label of {other}, whose agent is frozen: role=primary", label(other, "role=primary"),
             lambda: roles(cluster)[other] is None and cluster.primary() == leader)
    finally:
        os.kill(pid, signal.SIGCONT)
    deed(f"the record of {other}",
         lambda: cluster.lab.kubectl("annotate", "pod", other, "status-"),
         lambda: other in cluster.members() and cluster.streaming() == leader)


def hands_on_objects(cluster, leader, damages):
    for what, command, is_mended in damages:
        deed(what, lambda: cluster.lab.kubectl(*command), lambda: is_mended(cluster, leader))
    wait_renewed(cluster, leader)


def patch(*what, **how):
    kind = "json" if isinstance(how["body"], list) else "merge"
    return ["patch", *what, "--type", kind, "-p", json.dumps(how["body"])]


LEASE_DAMAGE = [
    ("a Lease that is deleted", ["delete", "lease", "demo"], holds),
    ("another holder", patch("lease", "demo", body={"spec": {"holderIdentity": "nobody"}}), holds),
    ("a replica as holder", patch("lease", "demo", body={"spec": {"holderIdentity": "demo-1"}}), holds),
    ("no holder", patch("lease", "demo", body={"spec": {"holderIdentity": None}}), holds),
    ("no record at all", patch("lease", "demo", body=[{"op": "remove", "path": "/spec"}]), holds),
    ("another number of transitions", patch("lease", "demo", body={"spec": {"leaseTransitions": 77}}), holds),
    ("no term record", ["annotate", "lease", "demo", "howdah.io/term-"], holds),
    ("no session", ["annotate", "lease", "demo", "howdah.io/session-"], holds),
    ("no annotations", patch("lease", "demo", body=[{"op": "remove", "path": "/metadata/annotations"}]), holds),
    ("no labels", patch("lease", "demo", body=[{"op": "remove", "path": "/metadata/labels"}]), holds),
    ("a ConfigMap that is deleted", ["delete", "configmap", "demo-config"], lambda c, _: has_config(c)),
    ("an initialize that is gone", ["annotate", "configmap", "demo-config", "initialize-"], lambda c, _: has_config(c)),
]
ENDPOINTS_DAMAGE = [
    ("another leader", ["annotate", "endpoints", "demo", "leader=nobody", "--overwrite"], holds),
    ("no leader", ["annotate", "endpoints", "demo", "leader-"], holds),
    ("another number of transitions", ["annotate", "endpoints", "demo", "transitions=77", "--overwrite"], holds),
    ("no annotations", patch("endpoints", "demo", body=[{"op": "remove", "path": "/metadata/annotations"}]), holds),
    ("no labels", patch("endpoints", "demo", body=[{"op": "remove", "path": "/metadata/labels"}]), holds),
    ("no address", patch("endpoints", "demo", body={"subsets": None}), points_at),
    ("somebody else's address", patch("endpoints", "demo", body={"subsets": [
        {"addresses": [{"ip": "10.244.0.1"}], "ports": [{"port": 5432}]}]}), points_at),
    ("Endpoints that are deleted", ["delete", "endpoints", "demo"], lambda c, l: holds(c, l) and points_at(c, l)),
    ("a configuration that is deleted", ["delete", "endpoints", "demo-config"], lambda c, _: has_config(c)),
]


def hands_on_services(cluster, leader):
    """What Services say of the cluster; the leader looks now and then."""
    cluster.lab.kubectl("label", "service", "demo", "howdah.io/leader=nobody", "howdah.io/state-", "--overwrite")
    cluster.lab.kubectl("label", "service", "demo-replicas", "howdah.io/replicas=9", "--overwrite")
    assert settled(cluster) == leader


def hands(store, damages):
    with Lab("node", IMAGES) as lab:
        cluster = deploy(lab, store)
        with nobody_notices(cluster) as leader:
            hands_on_services(cluster, leader)
            hands_on_objects(cluster, leader, damages)
            hands_on_roles(cluster, leader)
        wait_said(cluster, leader, "leader key was tampered with now='nobody'")
        assert not {"Demoted", "Promoted", "Crashed"} & cluster.events(), cluster.events()


def test_hands_leases():
    hands("leases", LEASE_DAMAGE)


def test_hands_endpoints():
    hands("endpoints", ENDPOINTS_DAMAGE)


# --- rights and tokens

@contextlib.contextmanager
def lacking(cluster, *lost):
    """(resource, verb): the Role has it no longer, for the length of a with."""
    role = cluster.lab.get("role", "demo")
    less = copy.deepcopy(role["rules"])
    for rule in less:
        rule["verbs"] = [v for v in rule["verbs"] if (rule["resources"][0], v) not in lost]

    def write(rules):
        cluster.lab.kubectl(*patch("role", "demo", body={"rules": rules}))

    write([rule for rule in less if rule["verbs"]])
    try:
        yield
    finally:
        write(role["rules"])


def rule(group, resource, verb):
    """As the log names it."""
    return f'the role needs {{apiGroups: ["{group}"], resources: [{resource}], verbs: [{verb}]}}'


LEASES = "coordination.k8s.io"


def no_patch_of_pods(cluster, leader):
    other = next(p for p in cluster.pods if p != leader)
    with lacking(cluster, ("pods", "patch")):
        cluster.lab.kubectl("label", "pod", other, "role-")
        wait_said(cluster, other, rule("", "pods", "patch"))
    wait_for("its label is back", lambda: roles(cluster)[other] == "replica", 40)


def no_patch_of_leases(cluster, leader):
    """For less than the lease lasts."""
    with lacking(cluster, ("leases", "patch")):
        wait_said(cluster, leader, rule(LEASES, "leases", "patch"))
    wait_renewed(cluster, leader)


def no_list(cluster, leader):
    """Whoever knows the cluster goes on; a new agent of the leader's goes on with the term."""
    other = next(p for p in cluster.pods if p != leader)
    with lacking(cluster, ("leases", "list"), ("configmaps", "list"), ("pods", "list")):
        for pod in (other, leader):
            os.kill(cluster.pid(pod, "howdah", "howdah"), signal.SIGKILL)
            wait_said(cluster, pod, rule(LEASES, "leases", "list"))
        wait_said(cluster, leader, "continuing our term")
        wait_renewed(cluster, leader)


def no_patch_of_leases_for_long(cluster):
    """Nobody can lead, and nobody does; somebody does when it is given back."""
    leader = cluster.primary()
    with Client(cluster) as client:
        with lacking(cluster, ("leases", "patch")):
            began = time.monotonic()
            wait_said(cluster, leader, "reason=LEASE_RUNNING_OUT", 2 * TTL)
            wait_for("nobody writes", lambda: time.monotonic() - client.acks[-1][2] > 5, 30)
            assert client.acks[-1][2] < began + TTL
        began = time.monotonic()
        client.wait_acks(50)
        print(f"rights given back: {client.outage_s(began):.2f} s without a write", flush=True)
        settled(cluster)
    client.assert_kept()
    wait_for("Events tell it", lambda: {"Demoted", "Promoted"} <= cluster.events("Service"), LOOK)


def token_secret(lab, name):
    """A token of the ServiceAccount: it counts while its Secret stands."""
    lab.apply(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": "demo"}}}))
    token = wait_for("it has a token", lambda: lab.get("secret", name).get("data", {}).get("token"), 30)
    return base64.b64decode(token).decode()


def with_tokens_of_secrets(lab, docs):
    """What is mounted as token is the content of the Secret demo-access."""
    account = next(d for d in docs if d["kind"] == "ServiceAccount")
    lab.apply(yaml.safe_dump(account))
    give_token(lab, token_secret(lab, "demo-token-1"))
    pod = next(d for d in docs if d["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    access = next(v for v in pod["volumes"] if v["name"] == "access")["projected"]["sources"]
    access[0] = {"secret": {"name": "demo-access", "items": [{"key": "token", "path": "token"}]}}
    return docs


def give_token(lab, token):
    lab.apply(yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "demo-access"},
                              "stringData": {"token": token}}))


def bring_token(cluster, token):
    """Into the pods: the kubelet looks when something about a pod changes."""
    lab = cluster.lab
    give_token(lab, token)
    files = [f"{lab.root()}/var/lib/kubelet/pods/{p['metadata']['uid']}/volumes/kubernetes.io~projected/access/token"
             for p in cluster.pod_list()]

    def is_there():
        lab.kubectl("annotate", "pod", *cluster.pods, f"poked={time.monotonic()}", "--overwrite")
        return all(open(f).read() == token for f in files)

    wait_for("the new token is in the pods", is_there, 90, every=1)


def take_token(cluster, name, token):
    cluster.lab.kubectl("delete", "secret", name)
    wait_for("it is refused", lambda: "Unauthorized" in
             cluster.lab.kubectl("--token", token, "get", "lease", "demo", check=False), 60)


def other_tokens(cluster, leader):
    """The old one is refused when the new one is there; and before it is."""
    lab = cluster.lab
    first, second = (base64.b64decode(lab.get("secret", "demo-access")["data"]["token"]).decode(),
                     token_secret(lab, "demo-token-2"))
    third = token_secret(lab, "demo-token-3")
    bring_token(cluster, second)
    take_token(cluster, "demo-token-1", first)
    wait_renewed(cluster, leader)
    take_token(cluster, "demo-token-2", second)
    wait_said(cluster, leader, "our credentials are not accepted", 15)
    bring_token(cluster, third)
    wait_renewed(cluster, leader)


def test_access():
    with Lab("node", IMAGES) as lab:
        cluster = deploy(lab, change=lambda docs: with_tokens_of_secrets(lab, docs))
        with nobody_notices(cluster) as leader:
            with lacking(cluster, ("services", "list")):
                lab.kubectl("label", "service", "demo", "howdah.io/leader=nobody", "--overwrite")
                for step in (other_tokens, no_patch_of_pods, no_patch_of_leases, no_list):
                    print(f"--- {step.__name__}", flush=True)
                    step(cluster, leader)
                wait_said(cluster, leader, rule("", "services", "list"), LOOK)
        no_patch_of_leases_for_long(cluster)


# --- the API server and the network

def set_ttl(cluster, ttl):
    cluster.ctl("edit-config", "demo", "--set", f"ttl={ttl}", "--force")
    wait_for(f"the lease says {ttl}",
             lambda: cluster.lab.get("lease", "demo")["spec"]["leaseDurationSeconds"] == ttl, 30)


def api_server_killed(cluster):
    """For half a ttl; of a long one, because the API server takes seconds to be there again."""
    set_ttl(cluster, 2 * TTL)
    with nobody_notices(cluster), cluster.lab.without_api_server():
        time.sleep(TTL)
    set_ttl(cluster, TTL)


def api_server_gone(cluster):
    """For two ttls: without failsafe mode nobody leads at the end of the lease, and somebody soon after it is back."""
    leader = cluster.primary()
    with Client(cluster) as client:
        before = timeline(cluster, leader)
        with cluster.lab.without_api_server():
            began = time.monotonic()
            time.sleep(2 * TTL)
            assert client.acks[-1][2] < began + TTL, "it has written beyond its lease"
        began = time.monotonic()
        new = wait_for("somebody writes", lambda: next((p for p in cluster.pods if write_once(cluster, p)), None), TTL)
        wait_for("its pod is labelled", lambda: cluster.primary() == new, MENDED)
        print(f"API server back: {new} leads after {time.monotonic() - began:.2f} s", flush=True)
        # The Service follows when the controllers and kube-proxy, which are no concern of ours, look again.
        client.wait_acks(50)
        print(f"the Service leads there after {client.outage_s(began):.2f} s", flush=True)
        assert timeline(cluster, settled(cluster)) == before + 1
    client.assert_kept()
    assert said(cluster, leader, "reason=LEASE_RUNNING_OUT")
    wait_for("Events tell it", lambda: {"Demoted", "Promoted"} <= cluster.events("Service"), LOOK)
    assert "Crashed" not in cluster.events(), "it has been stopped"


def enter(cluster, *command):
    subprocess.run([f"{cluster.lab.dir}/enter", *command], check=True)


def link_of(cluster, pod):
    """The pod's end of its cable at the node's bridge."""
    lab, pid = cluster.lab, cluster.pid(pod, "howdah", "howdah")
    inside = subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "-o", "link", "show", "eth0"],
                            stdout=subprocess.PIPE, text=True, check=True).stdout
    number = inside.split("eth0@if")[1].split(":")[0]
    links = subprocess.run([f"{lab.dir}/enter", "ip", "-o", "link"], stdout=subprocess.PIPE, text=True, check=True)
    return next(line.split()[1].split("@")[0] for line in links.stdout.splitlines() if line.startswith(f"{number}: "))


@contextlib.contextmanager
def dropped(cluster, *what):
    enter(cluster, "iptables", "-w", "-I", *what, "-j", "DROP")
    try:
        yield
    finally:
        enter(cluster, "iptables", "-w", "-D", *what, "-j", "DROP")


@contextlib.contextmanager
def unplugged(cluster, pod):
    link = link_of(cluster, pod)
    enter(cluster, "ip", "link", "set", link, "down")
    try:
        yield
    finally:
        enter(cluster, "ip", "link", "set", link, "up")


@contextlib.contextmanager
def local_writer(cluster, pod):
    """Writes within the pod for as long as it is let, whatever becomes of the network: when, by the wall clock."""
    cluster.sql(pod, "create table if not exists local (at timestamptz default clock_timestamp())")
    words = "while psql -qAtXc 'insert into local default values'; do date +%s.%N; done"
    with subprocess.Popen([f"{cluster.lab.dir}/kubectl", "exec", pod, "-c", "postgres", "--", "sh", "-c", words],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as writer:
        try:
            yield writer
        finally:
            writer.kill()


def cut_leader(cluster):
    """From API server, replicas and clients. It has been fenced by the time that somebody else leads."""
    leader = cluster.primary()
    address = cluster.lab.get("pod", leader)["status"]["podIP"]
    with Client(cluster) as client, local_writer(cluster, leader) as writer:
        before = client.acks[-1][1]
        # Clients first: what was acknowledged to them has reached a replica when the rest goes.
        with dropped(cluster, "OUTPUT", "-d", address, "-p", "tcp", "--dport", "5432"):
            wait_for("the last write has arrived everywhere", lambda: all(
                cluster.sql(p, "select max(n) from acked")[0][0] >= client.acks[-1][0]
                for p in cluster.pods if p != leader), 30)
            with unplugged(cluster, leader):
                began = time.monotonic()
                wait_for("another pod is labelled", lambda: cluster.primary() not in (None, leader), 3 * TTL)
                client.wait_acks(50)
                print(f"leader cut off: {client.outage_s(began):.2f} s without a write", flush=True)
                last = float(writer.stdout.read().split()[-1]) - time.time() + time.monotonic()
        first = min(a[2] for a in client.acks if a[1] > before)
        assert began < last < first, f"cut at {began:.3f}, last write there {last:.3f}, first elsewhere {first:.3f}"
        print(f"its last write was {last - began:.2f} s after that, {first - last:.2f} s before the next one's first",
              flush=True)
        settled(cluster)
    client.assert_kept()
    assert said(cluster, leader, "reason=LEASE_RUNNING_OUT")


def cut_leader_from_api(cluster):
    """It still sees its replicas, and clients see it."""
    leader = cluster.primary()
    address = cluster.lab.get("pod", leader)["status"]["podIP"]
    with Client(cluster) as client:
        before, began = client.acks[-1][1], time.monotonic()
        with dropped(cluster, "INPUT", "-s", address, "-p", "tcp", "--dport", "6443"):
            wait_for("another pod is labelled", lambda: cluster.primary() not in (None, leader), 3 * TTL)
            client.wait_acks(50)
            print(f"leader cut off from the API server: {client.outage_s(began):.2f} s without a write", flush=True)
        last = max(a[2] for a in client.acks if a[1] == before)
        assert began + TTL / 2 < last < began + TTL, f"it has written for {last - began:.1f} s"
        settled(cluster)
    client.assert_kept()


def test_cuts():
    with Lab("node", IMAGES) as lab:
        cluster = deploy(lab)
        for step in (api_server_killed, cut_leader, cut_leader_from_api, api_server_gone):
            print(f"--- {step.__name__}", flush=True)
            step(cluster)
