"""Debian's Patroni on Kubernetes: a cluster of it that ours joins, over and back, and its takeover."""
import http.client
import json
import os
import re
import signal
import time

import yaml

from cluster import Client
from kube import Lab, wait_for
from patroni import HOME, PatroniCluster, successors
from test_cluster import write_once

TIMERS = {"ttl": 20, "loop_wait": 2, "retry_timeout": 4}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00"
RECORD = {"leader": r"demo-\d", "ttl": "20", "acquireTime": TIME, "renewTime": TIME, "transitions": r"\d+",
          "optime": r"\d+"}


def why(cluster, pod):
    with cluster.lab.network():
        conn = http.client.HTTPConnection(cluster.lab.get("pod", pod)["status"]["podIP"], 8008, timeout=5)
        conn.request("GET", "/why")
        return json.loads(conn.getresponse().read())


def annotations(cluster, what=""):
    """Of an object of the state; the leader's is without a name of its own where it is the Service's Endpoints."""
    name = "demo" + (what or ("" if cluster.store == "endpoints" else "-leader"))
    found = cluster.lab.get(cluster.store, fieldSelector=f"metadata.name={name}")["items"]
    return found[0]["metadata"].get("annotations") or {} if found else {}


def pod_ip(cluster, pod):
    return cluster.lab.get("pod", pod)["status"]["podIP"]


def assert_leads(cluster, leader, transitions=None):
    """The labels, the record and the addresses say what Patroni would have them say, whoever wrote them."""
    roles = {p: "master" if p == leader else "replica" for p in cluster.pods}
    wait_for(f"the labels say {roles}", lambda: roles == {
        p["metadata"]["name"]: p["metadata"]["labels"].get("role") for p in cluster.pod_list()}, 30)
    record = annotations(cluster)
    wrong = {k: record.get(k) for k, form in RECORD.items() if not re.fullmatch(form, record.get(k, ""))}
    assert not wrong and record["leader"] == leader, (wrong, record)
    theirs = {k for k in record if not k.startswith(("howdah.io/", "kubectl.", "endpoints.", "control-plane."))}
    assert theirs <= {*RECORD, "slots", "retain_slots", "failsafe"}, theirs
    assert transitions is None or int(record["transitions"]) == transitions + 1, (transitions, record)
    if cluster.store == "endpoints":
        pod = cluster.lab.get("pod", leader)
        subsets = cluster.lab.get("endpoints", "demo")["subsets"]
        target = subsets[0]["addresses"][0]["targetRef"]
        assert target.pop("resourceVersion"), subsets
        assert subsets == [{
            "addresses": [{"ip": pod["status"]["podIP"], "hostname": leader, "nodeName": "node1", "targetRef": {
                "kind": "Pod", "name": leader, "namespace": "default", "uid": pod["metadata"]["uid"]}}],
            "ports": [{"port": 5432, "protocol": "TCP"}]}], subsets
    request = annotations(cluster, "-failover")
    assert not {"leader", "member", "scheduled_at"} & set(request), request


def switch(cluster, to, by, pod):
    """By patronictl or howdahctl, in that pod. A client writes all the time, and loses nothing."""
    leader, before = cluster.primary(), int(annotations(cluster)["transitions"])
    command = ("switchover", "demo", "--leader", leader, "--candidate", to, "--force")
    with Client(cluster) as client:
        began = time.monotonic()
        said = (cluster.patronictl if by == "patronictl" else cluster.ctl)(*command, pod=pod)
        assert f'Successfully switched over to "{to}"' in said, said
        wait_for(f"{to} leads", lambda: cluster.primary() == to, 30)
        assert_leads(cluster, to, before)
        client.wait_acks(50)
        wait_for("everybody streams", lambda: cluster.streaming() == to, 60, every=0.5)
        print(f"{leader} to {to} by {by}: {client.outage_s(began):.2f} s without a write", flush=True)
    client.assert_kept()
    patroni = cluster.lab.get("pod", to)["spec"]["containers"][0]["name"] == "patroni"
    wait_for("the Service says what is known", lambda: cluster.signs() == (
        {"leader": to} if patroni else
        {"leader": to, "state": "healthy", "timeline": str(cluster.timeline(to)), "replicas": "2", "sync": "off"}), 30)


def roles(listed):
    return {m["Member"]: (m["Role"], m.get("TL")) for m in json.loads(listed)}


def join(cluster):
    """The recipe's first two steps: our StatefulSet in the place of Patroni's, whose pods go on. It wants one more."""
    pods = {p["metadata"]["name"]: p["metadata"]["uid"] for p in cluster.pod_list()}
    cluster.lab.kubectl("delete", "statefulset", "demo", "--cascade=orphan")
    cluster.pods.append(f"demo-{len(cluster.pods)}")
    cluster.lab.apply(yaml.safe_dump_all(successors(cluster.store, len(cluster.pods))))
    new = cluster.pods[-1]
    wait_for("every pod is ready", cluster.ready, 180, every=0.5)
    wait_for("everybody streams", cluster.streaming, 60, every=0.5)
    now = {p["metadata"]["name"]: p["metadata"]["uid"] for p in cluster.pod_list()}
    assert {p: uid for p, uid in now.items() if p != new} == pods, "somebody has replaced Patroni's pods"
    return new


def freeze(cluster, ours):
    """Our agent, which leads, beyond the ttl: its server is stopped before one of Patroni's takes a write."""
    timeline = cluster.timeline(ours)
    pid = cluster.pid(ours, "howdah", "howdah")
    with Client(cluster) as client:
        began = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        try:
            new = wait_for("another one leads", lambda: {annotations(cluster).get("leader")} - {ours, None}, 90).pop()
            first = wait_for("it writes", lambda: write_once(cluster, new), 30)
            client.wait_acks(50)
            print(f"our leader frozen: {client.outage_s(began):.2f} s without a write, then {new}", flush=True)
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for("everybody streams", lambda: cluster.streaming() == new, 90, every=0.5)
    last = max(a[2] for a in client.acks if a[1] <= timeline)
    assert last < first, f"two writers for {last - first:.3f} s"
    # Replication is asynchronous, and the warden does not wait: the last instant before it struck is not promised.
    client.acks = [a for a in client.acks if not last - 0.2 < a[2] <= last]
    client.assert_kept()
    assert "stopped PostgreSQL at the fence" in cluster.lab.logs(ours, "howdah")
    assert_leads(cluster, new)
    return new


def help_along(cluster, pod, uid):
    """Patroni 3.0.2 hangs at its own end now and then, when its server has long stopped. It may: the pod has time.
    The test has less."""
    def left(word):
        return [pid for pid, words in cluster.processes_of(uid) if word in " ".join(words)]
    wait_for(f"{pod} has no PostgreSQL any more", lambda: not left("postgres -D") and not left("postgres: "), 60)
    end = time.monotonic() + 10
    while left("patroni.yml") and time.monotonic() < end:
        time.sleep(0.2)
    for pid in left("patroni.yml"):
        os.kill(pid, signal.SIGKILL)


def take(cluster, pod):
    """The third step: the pod is deleted, and comes back as ours on the data that it had."""
    uid = cluster.lab.get("pod", pod)["metadata"]["uid"]
    cluster.sql(pod, f"copy (select 1) to '{mark(pod)}'")
    with Client(cluster) as client:
        cluster.lab.kubectl("delete", "pod", pod, "--grace-period=60", "--wait=false")
        help_along(cluster, pod, uid)
        wait_for(f"{pod} has come back",
                 lambda: cluster.ready() and cluster.lab.get("pod", pod)["metadata"]["uid"] != uid, 180, every=0.5)
        wait_for("everybody streams", cluster.streaming, 60, every=0.5)
        client.wait_acks(50)
    client.assert_kept()
    assert not client.errors, client.errors[:3]  # it did not lead
    assert cluster.sql(pod, f"select count(*) from pg_stat_file('{mark(pod)}', true) s where s.size is not null") \
        == [(1,)], "it was copied anew"


def mark(pod):
    return f"{HOME}/pgroot/data/kept-{pod}"


def over_and_back(cluster, first, second, ours):
    switch(cluster, second, "patronictl", second)
    switch(cluster, first, "patronictl", first)
    return first


def takeover(store, grace, meanwhile):
    with Lab("node", ["patroni", "howdah", "postgres"]) as lab:
        cluster = PatroniCluster(lab, size=2).deploy(store=store, timers=TIMERS, grace=grace)
        first = wait_for("everybody streams", cluster.streaming, 60, every=0.5)
        second = next(p for p in cluster.pods if p != first)
        assert_leads(cluster, first)
        system = cluster.sql(first, "select system_identifier from pg_control_system()")
        cluster.sql(first, "create table before as select generate_series(1, 1000) n")

        ours = join(cluster)
        assert_leads(cluster, first)
        listing = ("list", "-f", "json")
        assert roles(cluster.patronictl(*listing, pod=first)) == roles(cluster.ctl(*listing, pod=ours))
        assert why(cluster, ours)["fenced"] is False, "a Patroni member has no fence"
        switch(cluster, ours, "patronictl", first)
        switch(cluster, first, "howdahctl", ours)
        switch(cluster, ours, "howdahctl", ours)
        leader = meanwhile(cluster, first, second, ours)

        for pod in (p for p in (first, second) if p != leader):
            take(cluster, pod)
        switch(cluster, ours, "howdahctl", ours)
        take(cluster, leader)
        wait_for("all are fenced", lambda: why(cluster, ours)["fenced"] is True, 30)
        switch(cluster, leader, "howdahctl", ours)
        assert all(p["spec"]["containers"][0]["name"] == "postgres" for p in cluster.pod_list())
        assert cluster.sql(leader, "select system_identifier from pg_control_system()") == system
        assert cluster.sql(leader, "select count(*) from before") == [(1000,)]
        history = json.loads(annotations(cluster, "-config")["history"])
        assert [h[0] for h in history] == list(range(1, cluster.timeline(leader))), history
        for pod in cluster.pods:
            assert "forbidden" not in lab.logs(pod, "howdah"), lab.logs(pod, "howdah")


def test_takeover_with_endpoints():
    """As Patroni's sample has it: without a grace period. The label of a frozen leader stays, so this is done where
    clients follow the addresses."""
    takeover("endpoints", 0, lambda cluster, first, second, ours: freeze(cluster, ours))


def test_takeover_with_configmaps():
    takeover("configmaps", 30, over_and_back)
