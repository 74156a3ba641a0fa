"""The pods' life: new images, new templates, more and fewer of them, all of them gone at once. A client writes through
the primary's Service all the time."""
import json
import os
import signal
import subprocess
import time

import psycopg2
import yaml

from cluster import Client, Cluster
from kube import Lab, wait_for

IMAGES = ["howdah", "postgres"]
# Somebody's Service of this name gives every pod HOWDAH_PORT=tcp://… and more, where a pod wants such variables.
OTHER = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "howdah"},
         "spec": {"ports": [{"port": 80}], "selector": {"app": "howdah"}}}


def pod_spec(docs):
    return next(d for d in docs if d["kind"] == "StatefulSet")["spec"]["template"]["spec"]


def started(cluster):
    """When each pod's server did."""
    return {p: cluster.sql(p, "select pg_postmaster_start_time()")[0][0] for p in cluster.pods}


def uids(cluster):
    return {p["metadata"]["name"]: p["metadata"]["uid"] for p in cluster.pod_list()}


def terms(cluster):
    return cluster.lab.get("lease", "demo")["spec"]["leaseTransitions"]


def healthy(cluster):
    """Everybody streams from the one that is labelled, and the Service says the same."""
    leader = cluster.streaming()
    if not leader or not cluster.ready():
        return None
    timeline = cluster.members()[leader]["TL"]
    wanted = {"leader": leader, "state": "healthy", "timeline": str(timeline),
              "replicas": str(len(cluster.pods) - 1), "sync": "off"}
    return leader if cluster.signs() == wanted else None


def wait_healthy(cluster, client):
    leader = wait_for("everybody streams, and the Service says so", lambda: healthy(cluster), 180, every=0.5)
    client.wait_acks(20)
    return leader


def lead(cluster, member):
    """As the operator would: a switchover, if somebody else leads."""
    if cluster.primary() != member:
        cluster.ctl("switchover", "demo", "--leader", cluster.primary(), "--candidate", member, "--force")
        wait_for(f"{member} is labelled", lambda: cluster.primary() == member, 30)
        wait_for("everybody streams", cluster.streaming, 60, every=0.5)


def history(cluster):
    """Who took over, as told afterwards."""
    return [line["New Leader"] for line in json.loads(cluster.ctl("history", "demo", "-f", "json"))]


def patch(cluster, kind, name, change):
    cluster.lab.kubectl("patch", kind, name, "--type", "merge", "-p", json.dumps(change))


def change_template(cluster, note):
    patch(cluster, "statefulset", "demo", {"spec": {"template": {"metadata": {"annotations": {"note": note}}}}})


def patch_images(cluster):
    """Another tag of the same image, pod by pod, while the pod stays: nobody who uses Postgres notices."""
    lab = cluster.lab
    subprocess.run([f"{lab.dir}/enter", "ctr", "-a", f"{lab.dir}/containerd/containerd.sock", "-n", "k8s.io", "images",
                    "tag", "localhost/howdah:lab", "localhost/howdah:next"], check=True, stdout=subprocess.PIPE)
    leader, before, pods, term = cluster.primary(), started(cluster), uids(cluster), terms(cluster)
    with Client(cluster) as client:
        for pod in sorted(cluster.pods, key=lambda p: p == leader):
            restarts = lab.container(pod, "howdah")["restartCount"]
            lab.kubectl("set", "image", f"pod/{pod}", "howdah=localhost/howdah:next")
            wait_for("the agent's container is another one", lambda: lab.running(pod, "howdah") and
                     lab.container(pod, "howdah")["restartCount"] > restarts, 60)
            assert wait_healthy(cluster, client) == leader
    assert not client.errors, client.errors[:3]
    client.assert_kept()
    assert "continuing our term" in lab.logs(leader, "howdah")
    assert (started(cluster), uids(cluster), terms(cluster)) == (before, pods, term)


def roll_from(cluster, leader, note):
    """The StatefulSet replaces its pods from the highest number down, whoever leads: who led is replaced once, and
    whoever leads then is not."""
    lead(cluster, leader)
    before, term = uids(cluster), terms(cluster)
    with Client(cluster) as client:
        began = time.monotonic()
        change_template(cluster, note)
        wait_for("every pod is another one", lambda: not set(uids(cluster).values()) & set(before.values()) and
                 len(uids(cluster)) == len(cluster.pods), 300, every=0.5)
        new = wait_healthy(cluster, client)
        print(f"rollout from {leader} to {new}: {client.outage_s(began):.2f} s without a write", flush=True)
        assert client.outage_s(began) < 8, "that was no handover"
    client.assert_kept()
    assert terms(cluster) == term + 1, "exactly one switchover"
    assert history(cluster)[-1] == new != leader
    made = {p["metadata"]["name"]: p["metadata"]["creationTimestamp"] for p in cluster.pod_list()}
    assert made["demo-2"] <= made["demo-1"] <= made["demo-0"], made
    assert {p["metadata"]["annotations"].get("note") for p in cluster.pod_list()} == {note}
    assert_told(cluster, leader, "Demoted", "SHUTDOWN_RELEASE: ")
    assert_told(cluster, new, "Promoted", "")


def assert_told(cluster, pod, reason, message):
    """An Event of the pod and one of the Service say so."""
    names = [e["involvedObject"]["name"] for e in cluster.lab.get("events")["items"]
             if e["reason"] == reason and e["message"].startswith(message)]
    assert pod in names and "demo" in names, names


def evict(cluster, pod):
    """As `kubectl drain` does it. False: the disruption budget does not allow it now."""
    body = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "default"}}
    out = cluster.lab.kubectl("create", "--raw", f"/api/v1/namespaces/default/pods/{pod}/eviction", "-f", "-",
                              text=json.dumps(body), check=False)
    assert "Success" in out or "disruption budget" in out, out
    return "Success" in out


def roll_by_hand(cluster, note):
    """OnDelete, and the highest number leads: the replicas, then a switchover, then the last one. Evictions, so that
    it is also seen that the budget lets one pod go at a time, and the next as soon as it has come back."""
    leader = "demo-2"
    lead(cluster, leader)
    patch(cluster, "statefulset", "demo", {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}})
    before, term = uids(cluster), terms(cluster)
    with Client(cluster) as client:
        change_template(cluster, note)
        for pod in sorted(cluster.pods, key=lambda p: p == leader):
            if pod == leader:
                assert terms(cluster) == term
                cluster.ctl("switchover", "demo", "--leader", leader, "--force")
                wait_for("another pod is labelled", lambda: cluster.primary() not in (None, leader), 30)
                wait_for("everybody streams", cluster.streaming, 60, every=0.5)
            wait_for("the budget lets it go", lambda: evict(cluster, pod), 60, every=0.5)
            wait_for("it goes", lambda: not cluster.ready(), 30)
            other = next(p for p in cluster.pods if p != pod)
            assert not evict(cluster, other), "two at a time"
            wait_for("it has come back", lambda: uids(cluster).get(pod) not in (None, before[pod]), 120)
            wait_healthy(cluster, client)
    client.assert_kept()
    assert terms(cluster) == term + 1, "exactly one switchover"
    patch(cluster, "statefulset", "demo", {"spec": {"updateStrategy": {"type": "RollingUpdate"}}})


def scale(cluster, size):
    cluster.pods = [f"demo-{i}" for i in range(size)]
    cluster.lab.kubectl("scale", "statefulset", "demo", f"--replicas={size}")
    wait_for(f"{size} pods", lambda: set(uids(cluster)) == set(cluster.pods), 180, every=0.5)


def volumes(cluster):
    return {c["metadata"]["name"]: c["spec"]["volumeName"] for c in cluster.lab.get("pvc")["items"]}


def slots(cluster):
    return {s for s, in cluster.sql(cluster.primary(), "select slot_name from pg_replication_slots")}


def scale_there_and_back(cluster):
    """3, 5, 2, 3: the leader is among those that go, and who comes back goes on with its volume."""
    logs = cluster.lab.logs
    with Client(cluster) as client:
        scale(cluster, 5)
        wait_healthy(cluster, client)
        assert "reason=CLONE " in logs("demo-3", "howdah") and len(volumes(cluster)) == 5
        lead(cluster, "demo-4")
        kept, term, began = volumes(cluster), terms(cluster), time.monotonic()
        scale(cluster, 2)
        assert wait_healthy(cluster, client) == "demo-0", "of those that are to go none may take over"
        assert client.outage_s(began) < 8 and terms(cluster) == term + 1, "exactly one handover"
        assert volumes(cluster) == kept
        assert slots(cluster) == {"demo_1", "demo_2", "demo_3", "demo_4"}, "kept for member_slots_ttl"
        client.wait_acks(100)
        scale(cluster, 3)
        assert wait_healthy(cluster, client) == "demo-0"
        assert volumes(cluster) == kept
        for word in ("reason=CLONE ", "REPLICA_REWIND"):  # it went before anybody else led
            assert word not in logs("demo-2", "howdah"), word
        assert terms(cluster) == term + 1
    client.assert_kept()
    assert history(cluster)[-1] == "demo-0"


def with_links(cluster):
    docs = cluster.documents()
    pod_spec(docs)["enableServiceLinks"] = True
    return docs


def test_new_pods():
    with Lab("node", IMAGES) as lab:
        lab.apply(yaml.safe_dump(OTHER))
        cluster = Cluster(lab)
        cluster.deploy(with_links(cluster))
        links = lab.execute("demo-0", "postgres", "env")
        assert "HOWDAH_PORT=tcp://" in links and "HOWDAH_SERVICE_HOST=" in links, links
        for step, more in ((patch_images, ()), (roll_from, ("demo-0", "first")), (roll_from, ("demo-1", "second")),
                           (roll_by_hand, ("third",)), (scale_there_and_back, ())):
            print(f"--- {step.__name__} {' '.join(more)}", flush=True)
            step(cluster, *more)


# --- agents that hang, pods that all go

def set_timers(cluster, **timers):
    cluster.ctl("edit-config", "demo", *(w for k, v in timers.items() for w in ("--set", f"{k}={v}")), "--force")
    wait_for("the lease says so", lambda: cluster.lab.get("lease", "demo")["spec"]["leaseDurationSeconds"] ==
             timers["ttl"], 30)


def hang_agent(cluster, client):
    """Returns when its container has been started again, by the probe."""
    leader = cluster.primary()
    restarts = cluster.lab.container(leader, "howdah")["restartCount"]
    os.kill(cluster.pid(leader, "howdah", "howdah"), signal.SIGSTOP)
    began = time.monotonic()
    wait_for("the probe has the container started again", lambda: cluster.lab.running(leader, "howdah") and
             cluster.lab.container(leader, "howdah")["restartCount"] > restarts, 150)
    print(f"started again after {time.monotonic() - began:.1f} s", flush=True)


def restart_within_the_lease(cluster):
    """The next agent goes on with the lease; Postgres and its clients do not notice."""
    set_timers(cluster, ttl=90, loop_wait=5, retry_timeout=10)
    leader, before, term = cluster.primary(), started(cluster), terms(cluster)
    with Client(cluster) as client:
        hang_agent(cluster, client)
        assert wait_healthy(cluster, client) == leader
    assert not client.errors, client.errors[:3]
    client.assert_kept()
    assert (started(cluster), terms(cluster)) == (before, term)
    assert "continuing our term" in cluster.lab.logs(leader, "howdah")
    assert cluster.lab.container(leader, "postgres")["restartCount"] == 0


def restart_after_the_lease(cluster):
    """The warden stops Postgres at the deadline, somebody else leads, and the next agent follows."""
    set_timers(cluster, ttl=8, loop_wait=2, retry_timeout=3)
    leader, term = cluster.primary(), terms(cluster)
    with Client(cluster) as client:
        began = time.monotonic()
        hang_agent(cluster, client)
        new = wait_healthy(cluster, client)
        print(f"agent hung: {client.outage_s(began):.2f} s without a write", flush=True)
        assert new != leader and terms(cluster) == term + 1
    client.assert_kept()
    assert history(cluster)[-1] == new
    assert "fence" in cluster.lab.logs(leader, "postgres")


def cut_replicas(cluster):
    """Their connections to the leader's server: in its own network, which goes with its pod."""
    leader = cluster.primary()
    pid = cluster.pid(leader, "postgres", "howdah-warden")
    for pod in cluster.pods:
        if pod != leader:
            address = cluster.lab.get("pod", pod)["status"]["podIP"]
            subprocess.run(["nsenter", "-t", str(pid), "-n", "iptables", "-w", "-I", "INPUT", "-p", "tcp", "--dport",
                            "5432", "-s", address, "-j", "REJECT", "--reject-with", "tcp-reset"], check=True)
    cluster.sql(leader, "select pg_terminate_backend(pid) from pg_stat_replication")
    wait_for("nobody streams", lambda: not cluster.sql(leader, "select 1 from pg_stat_replication"), 60)
    return leader


def last_row(cluster, pod):
    return cluster.sql(pod, "select max(n) from acked")[0][0]


def delete_all(cluster, *how):
    """What only the leader has is on its volume: whoever comes back first must wait for it. While nobody leads, the
    others may have it from there, and then one of them may be the first whose time has come."""
    with Client(cluster) as client:
        leader = cut_replicas(cluster)
        client.wait_acks(100)
        others = [p for p in cluster.pods if p != leader]
        before, newest = uids(cluster), client.acks[-1][0]
        assert max(last_row(cluster, p) for p in others) < newest - 50
        began = time.monotonic()
        cluster.lab.kubectl("delete", "pod", *cluster.pods, "--wait=false", *how)
        wait_for("every pod is another one", lambda: set(uids(cluster)) == set(before) and
                 not set(uids(cluster).values()) & set(before.values()), 240)
        new = wait_healthy(cluster, client)
        assert last_row(cluster, new) >= newest
        print(f"all deleted{' '.join(('', *how))}: {client.outage_s(began):.2f} s without a write", flush=True)
    client.assert_kept()
    assert history(cluster)[-1] == new


def probed_soon(cluster):
    """So that the test takes less than minutes. Kubernetes 1.20 knows no grace of the probe's own: the pod's counts."""
    docs = cluster.documents()
    pod = pod_spec(docs)
    probe = next(c for c in pod["containers"] if c["name"] == "howdah")["livenessProbe"]
    probe.update(periodSeconds=2, timeoutSeconds=2, failureThreshold=3)
    pod["terminationGracePeriodSeconds"] = 10
    return docs


def test_lost_agents_and_pods():
    with Lab("node", IMAGES) as lab:
        cluster = Cluster(lab)
        cluster.deploy(probed_soon(cluster))
        wait_for("everybody streams", cluster.streaming, 60, every=0.5)
        for step in (restart_within_the_lease, restart_after_the_lease):
            print(f"--- {step.__name__}", flush=True)
            step(cluster)
        # Kubernetes 1.20 may keep a pod whose containers are gone for all of its grace, which must not end the lease.
        for ttl, leader, how in ((90, "demo-2", ["--grace-period=60"]), (30, "demo-0", ["--grace-period=0", "--force"])):
            set_timers(cluster, ttl=ttl, loop_wait=5, retry_timeout=10)
            lead(cluster, leader)
            print(f"--- delete_all {' '.join(how)}", flush=True)
            delete_all(cluster, *how)
