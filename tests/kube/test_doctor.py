"""`howdahctl doctor` in a cluster of three pods: healthy, then with one thing wrong at a time."""
import json
import os
import subprocess
import time

import yaml

from cluster import Cluster
from kube import SOURCE, Lab, wait_for

IMAGES = ["howdah", "postgres"]
BIN = os.environ.get("HOWDAH_BIN") or os.path.join(SOURCE, "build/release/bin")


def look(cluster, pod=None):
    """(status, lines) of a run in the agent's container, whose output is JSON."""
    pod = pod or cluster.primary()
    out = cluster.ctl("doctor", "-f", "json", pod=pod, check=False)
    end = out.rindex("]") + 1
    status = 1 if "exit code 1" in out[end:] else 2 if "exit code" in out[end:] else 0
    return status, json.loads(out[:end])


def lines(found, verdict):
    return [line for line in found if line["Status"] == verdict]


def expect(cluster, check, text, mend, verdict="wrong", pod=None):
    """There is such a line; what is wrong is said in nothing else than it."""
    def there():
        status, found = look(cluster, pod)
        hits = [line for line in lines(found, verdict) if line["Check"] == check and text in line["Found"]]
        if hits:
            assert mend in hits[0]["Mend"], hits[0]
            assert status == (1 if lines(found, "wrong") else 0), (status, found)
        return hits
    try:
        return wait_for(f"{check}: {text}", there, 20, every=0.5)[0]
    except AssertionError:
        print(json.dumps(look(cluster, pod)[1], indent=1))
        raise


def expect_healthy(cluster, pod=None):
    def fine():
        status, found = look(cluster, pod)
        return status == 0 and not [line for line in found if line["Status"] != "ok"]
    try:
        wait_for("all is ok", fine, 40, every=0.5)
    except AssertionError:
        print(json.dumps([line for line in look(cluster, pod)[1] if line["Status"] != "ok"], indent=1))
        raise


def patch(cluster, kind, name, change):
    cluster.lab.kubectl("patch", kind, name, "--type=json", "-p", json.dumps(change))


def rights(cluster):
    """Rules taken out of the Role, one at a time; what is printed, put back, mends it."""
    role = cluster.lab.get("role", "demo")
    for drop in ("watch", "patch"):
        rules = [dict(rule) for rule in role["rules"]]
        for rule in rules:
            if rule["resources"] == ["leases"]:
                rule["verbs"] = [v for v in rule["verbs"] if v != drop]
        patch(cluster, "role", "demo", [{"op": "replace", "path": "/rules", "value": rules}])
        line = expect(cluster, "rights", f"{drop} leases", f"verbs: [{drop}]")
        added = yaml.safe_load("\n".join(line["Mend"].splitlines()[1:]))
        patch(cluster, "role", "demo", [{"op": "replace", "path": "/rules", "value": rules + added}])
        wait_for("the printed rule mends it", lambda: not [
            x for x in look(cluster)[1] if x["Check"] == "rights" and x["Status"] != "ok"], 20, every=0.5)
    patch(cluster, "role", "demo", [{"op": "replace", "path": "/rules", "value": role["rules"]}])


def services(cluster):
    patch(cluster, "service", "demo", [{"op": "replace", "path": "/spec/selector/role", "value": "master"}])
    line = expect(cluster, "primary's Service", "does not select role=primary", "--type=json")
    value = json.loads(line["Mend"].split("-p '")[1].rsplit("'", 1)[0])
    patch(cluster, "service", "demo", value)
    patch(cluster, "service", "demo", [{"op": "remove", "path": "/spec/publishNotReadyAddresses"}])
    expect(cluster, "primary's Service", "waits for readiness", "publishNotReadyAddresses")
    patch(cluster, "service", "demo", [{"op": "add", "path": "/spec/publishNotReadyAddresses", "value": True}])
    cluster.lab.kubectl("delete", "service", "demo-replicas")
    line = expect(cluster, "replicas' Service", "no Service leads", "kind: Service", verdict="warn")
    cluster.lab.apply(line["Mend"])  # as it is printed
    wait_for("the printed Service mends it", lambda: not [
        x for x in look(cluster)[1] if x["Check"] == "replicas' Service" and x["Status"] != "ok"], 20, every=0.5)


def labels(cluster):
    """Taken from a replica: its StatefulSet gives it up, and takes it back with the label."""
    replica = next(p for p in cluster.pods if p != cluster.primary())
    cluster.lab.kubectl("label", "pod", replica, "application-")
    line = expect(cluster, "labels", f"pod {replica} lacks", "application=howdah")
    command = line["Mend"].splitlines()[0].split()[1:]
    cluster.lab.kubectl(*command)
    wait_for("the printed command mends it", lambda: not [
        x for x in look(cluster)[1] if x["Check"] == "labels" and x["Status"] != "ok"], 20, every=0.5)


def other_store(cluster):
    """Somebody with another kubernetes.store has been here."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    cluster.lab.apply(yaml.safe_dump({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": "demo-leader", "labels": {"application": "howdah", "cluster-name": "demo"},
            "annotations": {"leader": "demo-9", "ttl": "30", "transitions": "1", "acquireTime": now,
                            "renewTime": now}}}))
    expect(cluster, "other stores", "says that demo-9 leads", "delete ConfigMap demo-leader")
    cluster.lab.kubectl("delete", "configmap", "demo-leader")


def cluster_settings(cluster):
    """The cluster's configuration and the server's, by the printed commands."""
    cluster.ctl("edit-config", "--force", "-s", "ttl=22", pod=cluster.primary())
    line = expect(cluster, "timers", "break loop_wait", "-s ttl=22 -s loop_wait=2 -s retry_timeout=10")
    cluster.ctl(*line["Mend"].split()[1:], pod=cluster.primary())
    wait_for("the printed command mends it", lambda: not [
        x for x in look(cluster)[1] if x["Check"] == "timers" and x["Status"] != "ok"], 20, every=0.5)


def inside(cluster):
    """What is seen of the pod itself: the warden's socket, and a volume whose storage has been restored."""
    leader = cluster.primary()
    place = cluster.lab.volume(leader, "howdah")
    os.rename(f"{place}/warden.sock", f"{place}/hidden.sock")
    try:
        expect(cluster, "warden", "No such file", "--socket SOCKET")
    finally:
        os.rename(f"{place}/hidden.sock", f"{place}/warden.sock")
    data = f"/proc/{cluster.pid(leader, 'postgres', 'postgres', '-D')}/cwd/"
    os.chmod(data, 0o2770)
    try:
        expect(cluster, "data directory", "permissions 2770", "OnRootMismatch")
    finally:
        os.chmod(data, 0o700)


def from_outside(cluster):
    """With a kubeconfig and howdahctl's own settings: it is the agents' account that is asked about."""
    lab = cluster.lab
    settings = f"{lab.dir}/ctl.yaml"
    with open(settings, "w") as f:
        f.write("scope: demo\nkubernetes: {store: leases, labels: {application: howdah}}\n")
    with open(f"{lab.dir}/init.pid") as f:
        network = ["nsenter", "--target", f.read().strip(), "--net", "--"]
    out = subprocess.run([*network, os.path.join(BIN, "howdahctl"), "-c", settings, "doctor", "-f", "json"],
                         env={"KUBECONFIG": f"{lab.dir}/admin.conf", "PATH": os.environ["PATH"]},
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.unlink(settings)
    assert out.returncode == 0, out.stdout + out.stderr
    found = json.loads(out.stdout)
    assert [x for x in lines(found, "ok") if x["Check"] == "rights" and "ServiceAccount demo" in x["Found"]], found
    skipped = {x["Topic"] for x in lines(found, "skipped")}
    assert {"machine", "server"} <= skipped, found
    assert "change-me" not in out.stdout


def test_a_cluster_with_one_thing_wrong_at_a_time():
    with Lab("node", IMAGES) as lab:
        cluster = Cluster(lab).deploy()
        wait_for("everybody streams", cluster.streaming, 90, every=0.5)
        began = time.monotonic()
        print(cluster.ctl("doctor", pod=cluster.primary(), check=False), flush=True)
        expect_healthy(cluster)
        replica = next(p for p in cluster.pods if p != cluster.primary())
        expect_healthy(cluster, replica)
        for step in (rights, services, labels, other_store, cluster_settings,
                     inside, from_outside):
            step(cluster)
            print(f"{step.__name__}: after {time.monotonic() - began:.0f} s", flush=True)
        wait_for("everybody streams", cluster.streaming, 60, every=0.5)
        expect_healthy(cluster)


def test_a_cluster_kept_in_endpoints():
    with Lab("node", IMAGES) as lab:
        cluster = Cluster(lab, size=2).deploy(store="endpoints")
        wait_for("everybody streams", cluster.streaming, 90, every=0.5)
        expect_healthy(cluster)
        # The Service as the other modes have it: the control plane would write over the leader's address.
        patch(cluster, "service", "demo", [{"op": "add", "path": "/spec/selector", "value": {"role": "primary"}}])
        line = expect(cluster, "primary's Service", "has a selector", "--type=json")
        patch(cluster, "service", "demo", json.loads(line["Mend"].split("-p '")[1].rsplit("'", 1)[0]))
        role = lab.get("role", "demo")
        rules = [{**rule, "resourceNames": ["demo", "demo-config"]} if rule.get("resourceNames") and
                 rule["resources"] == ["endpoints"] else rule for rule in role["rules"]]
        patch(cluster, "role", "demo", [{"op": "replace", "path": "/rules", "value": rules}])
        line = expect(cluster, "rights", "patch endpoints demo-failover, demo-sync",
                      "resourceNames: [demo-failover, demo-sync]")
        added = yaml.safe_load("\n".join(line["Mend"].splitlines()[1:]))
        patch(cluster, "role", "demo", [{"op": "replace", "path": "/rules", "value": rules + added}])
        expect_healthy(cluster)
