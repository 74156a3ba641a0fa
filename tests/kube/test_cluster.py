"""Clusters of three pods, made of docker/kubernetes as it is; a client writes through the primary's Service."""
import os
import signal
import subprocess
import tempfile
import time

import psycopg2

from cluster import Client, Cluster
from kube import Lab, wait_for

IMAGES = ["howdah", "postgres"]
TTL = 20  # where one is waited for


def started_at(cluster, pod):
    return cluster.sql(pod, "select pg_postmaster_start_time()")[0][0]


def delete_leader(cluster):
    """Both containers are told, the agent hands over, both end; the pod comes back and follows."""
    leader = cluster.primary()
    uid = cluster.lab.get("pod", leader)["metadata"]["uid"]
    with Client(cluster) as client:
        began = time.monotonic()
        cluster.lab.kubectl("delete", "pod", leader, "--wait=false")
        wait_for("another pod is labelled", lambda: cluster.primary() not in (None, leader), 60)
        client.wait_acks(50)
        print(f"leader pod deleted: {client.outage_s(began):.2f} s without a write", flush=True)
        wait_for("the pod has come back", lambda: cluster.ready() and
                 cluster.lab.get("pod", leader)["metadata"]["uid"] != uid, 180, every=0.5)
        assert client.outage_s(began) < 8, "that was no handover"
    client.assert_kept()
    wait_for("everybody streams", cluster.streaming, 90, every=0.5)


def kill_agent(cluster):
    """Its next one goes on with the lease: no transaction fails."""
    leader = cluster.primary()
    start, restarts = started_at(cluster, leader), cluster.lab.container(leader, "howdah")["restartCount"]
    with Client(cluster) as client:
        for _ in range(3):
            pid = cluster.pid(leader, "howdah", "howdah")
            os.kill(pid, signal.SIGKILL)
            wait_for("there is another agent", lambda: [p for p, w in cluster.processes(leader, "howdah")
                                                        if os.path.basename(w[0]) == "howdah" and p != pid], 30)
            client.wait_acks(200)
            wait_for("it has gone on", lambda: "continuing our term" in
                     cluster.lab.logs(leader, "howdah", sinceSeconds=20), 20)
    assert not client.errors, client.errors[:3]
    client.assert_kept()
    assert cluster.primary() == leader and started_at(cluster, leader) == start
    assert cluster.lab.container(leader, "howdah")["restartCount"] == restarts, "the respawner did not do it"


def stop_agent_alone(cluster):
    """SIGTERM to the agent's container, and to nothing else: it leaves, and Postgres does not notice."""
    leader = cluster.primary()
    start, before = started_at(cluster, leader), cluster.lab.container(leader, "howdah")["restartCount"]
    with Client(cluster) as client:
        os.kill(cluster.pid(leader, "howdah", "howdah-warden", "--respawn"), signal.SIGTERM)
        wait_for("the container is started again",
                 lambda: cluster.lab.container(leader, "howdah")["restartCount"] > before and
                 cluster.lab.running(leader, "howdah"), 60)
        wait_for("it goes on", lambda: "continuing our term" in cluster.lab.logs(leader, "howdah"), 30)
        client.wait_acks(100)
    assert not client.errors, client.errors[:3]
    assert "leaving PostgreSQL" in cluster.lab.logs(leader, "howdah", previous=True)
    assert cluster.primary() == leader and started_at(cluster, leader) == start
    wait_for("it is ready", cluster.ready, 60)


def kill_postgres(cluster):
    """It is started again in its place."""
    leader = cluster.primary()
    start = started_at(cluster, leader)
    with Client(cluster) as client:
        began = time.monotonic()
        os.kill(cluster.pid(leader, "postgres", "postgres", "-D"), signal.SIGKILL)
        client.wait_acks(1)
        client.wait_acks(50)
        print(f"postgres killed: {client.outage_s(began):.2f} s without a write", flush=True)
    client.assert_kept()
    assert cluster.primary() == leader and started_at(cluster, leader) > start
    wait_for("everybody streams", cluster.streaming, 60, every=0.5)


def kill_warden(cluster):
    """The first process of Postgres's container: with it goes the server. Somebody leads again."""
    with Client(cluster) as client:
        leader, began = cluster.primary(), time.monotonic()
        os.kill(cluster.pid(leader, "postgres", "howdah-warden"), signal.SIGKILL)
        client.wait_acks(1)
        client.wait_acks(50)
        print(f"warden killed: {client.outage_s(began):.2f} s without a write", flush=True)
    client.assert_kept()
    wait_for("everybody streams", cluster.streaming, 90, every=0.5)
    wait_for("every pod is ready", cluster.ready, 60)


def stop_warden_alone(cluster):
    """Nobody tells the agent: it hears of it by the warden, and hands over within the warden's bounds."""
    leader = cluster.primary()
    before = cluster.lab.container(leader, "postgres")["restartCount"]
    with Client(cluster) as client:
        began = time.monotonic()
        os.kill(cluster.pid(leader, "postgres", "howdah-warden"), signal.SIGTERM)
        wait_for("another pod is labelled", lambda: cluster.primary() not in (None, leader), 60)
        client.wait_acks(50)
        print(f"warden told to stop: {client.outage_s(began):.2f} s without a write", flush=True)
    assert client.outage_s(began) < 8, "that was no handover"
    client.assert_kept()
    wait_for("the container is started again",
             lambda: cluster.lab.container(leader, "postgres")["restartCount"] > before, 60)
    wait_for("everybody streams", cluster.streaming, 90, every=0.5)
    wait_for("every pod is ready", cluster.ready, 60)


def hang_api_server(cluster):
    """For half a ttl: nobody notices but the logs."""
    leader, timeline = cluster.primary(), cluster.signs()["timeline"]
    server = cluster.lab.pid("kube-apiserver")
    with Client(cluster) as client:
        os.kill(server, signal.SIGSTOP)
        try:
            time.sleep(TTL / 2)
        finally:
            os.kill(server, signal.SIGCONT)
        client.wait_acks(100)
        wait_for("all is as it was", lambda: cluster.streaming() == leader, 60, every=0.5)
    assert not client.errors, client.errors[:3]
    client.assert_kept()
    assert cluster.signs()["timeline"] == timeline


def freeze_agent(cluster):
    """Beyond the ttl. Its server is stopped at the lease's deadline by the warden, before anybody else leads."""
    leader = cluster.primary()
    pid = cluster.pid(leader, "howdah", "howdah")
    with Client(cluster) as client:
        began = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_for("another pod is labelled", lambda: cluster.primary() not in (None, leader), 3 * TTL)
            new = cluster.primary()
            first = wait_for("it writes", lambda: write_once(cluster, new), 30)
            client.wait_acks(50)
            print(f"agent frozen: {client.outage_s(began):.2f} s without a write", flush=True)
        finally:
            os.kill(pid, signal.SIGCONT)
        older = client.acks[0][1]
        last = max(a[2] for a in client.acks if a[1] == older)
        assert last < first, f"two writers for {last - first:.3f} s"
        wait_for("everybody streams", cluster.streaming, 90, every=0.5)
    client.assert_kept()
    assert "stopped PostgreSQL at the fence" in cluster.lab.logs(leader, "howdah")


def write_once(cluster, pod):
    """When the pod took its first write; 0: it does not yet."""
    try:
        cluster.sql(pod, "create table if not exists first (x int); insert into first values (1)")
        return time.monotonic()
    except psycopg2.Error:
        return 0


def leader_record(cluster, store):
    """(ttl, transitions) as others read them."""
    if store == "leases":
        spec = cluster.lab.get("lease", "demo")["spec"]
        return spec["leaseDurationSeconds"], spec["leaseTransitions"]
    notes = cluster.lab.get(*(("endpoints", "demo") if store == "endpoints" else ("configmap", "demo-leader")))
    notes = notes["metadata"]["annotations"]
    return int(notes["ttl"]), int(notes["transitions"])


def change_ttl(cluster, store):
    """The next renewal tells it: the same term goes on."""
    transitions = leader_record(cluster, store)[1]
    with Client(cluster) as client:
        for ttl in (25, 35):
            cluster.ctl("edit-config", "demo", "--set", f"ttl={ttl}", "--set", "loop_wait=5", "--force")
            wait_for(f"the record says {ttl}", lambda: leader_record(cluster, store)[0] == ttl, 30)
        client.wait_acks(50)
    assert not client.errors, client.errors[:3]
    assert leader_record(cluster, store)[1] == transitions


def outside(cluster, store, *args):
    """howdahctl of this machine, by the kubeconfig; in the lab's network, where it reaches the members too."""
    lab = cluster.lab
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as settings:
        settings.write(f"scope: demo\nkubernetes: {{store: {store}, labels: {{application: howdah}}}}\n")
        settings.flush()
        return subprocess.run([f"{lab.dir}/enter", "env", f"KUBECONFIG={lab.dir}/admin.conf",
                               os.path.join(os.environ["HOWDAH_BIN"], "howdahctl"), "-c", settings.name, *args],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=60)


def howdahctl_outside(cluster, store):
    out = outside(cluster, store, "list")
    assert out.returncode == 0 and out.stdout.count("streaming") == len(cluster.pods) - 1, out.stdout
    assert "unknown" not in out.stdout, out.stdout
    for other in {"endpoints", "configmaps", "leases"} - {store}:
        for args in (["list"], ["remove", "demo"], ["switchover", "--force"], ["edit-config", "--force", "-s", "ttl=99"]):
            out = outside(cluster, other, *args)
            assert out.returncode == 1 and f"Right would be kubernetes.store: {store}" in out.stdout, (args, out.stdout)


def stay_quiet(cluster):
    """While nothing happens the leader renews once a loop_wait, and nobody writes anything else."""
    def versions(kind):
        return {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in cluster.lab.get(kind)["items"]
                if (kind, o["metadata"]["name"]) != ("configmaps", "demo-leader")}  # the renewed one
    wait_for("everybody streams", cluster.streaming, 60, every=0.5)
    kinds = ("pods", "services", "configmaps")
    wait_for("it is quiet", lambda: [versions(k) for k in kinds] == (time.sleep(12), [versions(k) for k in kinds])[1], 60)


def life(store, steps):
    with Lab("node", IMAGES) as lab:
        cluster = Cluster(lab).deploy(store=store)
        with Client(cluster) as client:
            client.wait_acks(50)
        client.assert_kept()
        wait_for("everybody streams", cluster.streaming, 60, every=0.5)
        table = cluster.ctl("list")
        print(table, flush=True)
        howdahctl_outside(cluster, store)
        stay_quiet(cluster)
        assert table.count("streaming") == 2 and "demo" in table, table
        wait_for("the Service says so", lambda: cluster.signs() == {
            "leader": cluster.primary(), "state": "healthy", "timeline": "1", "replicas": "2", "sync": "off"}, 20)
        wait_for("so do events", lambda: "Bootstrapped" in cluster.events("Pod") & cluster.events("Service"), 20)
        change_ttl(cluster, store)
        for step in steps:
            print(f"--- {step.__name__}", flush=True)
            step(cluster)
        wait_for("the Service says who leads now",
                 lambda: cluster.signs().get("leader") == cluster.primary() and
                 cluster.signs().get("state") == "healthy", 30)
        wanted = {"Promoted", "Demoted", "Crashed"} if kill_postgres in steps else {"Promoted", "Demoted"}
        assert wanted <= cluster.events("Service"), cluster.events()


EVERYTHING = (kill_agent, stop_agent_alone, kill_postgres, delete_leader, stop_warden_alone, kill_warden)


def test_leases():
    life("leases", EVERYTHING)


def test_endpoints():
    life("endpoints", EVERYTHING)


def test_configmaps():
    """Differs from Endpoints in the objects, and in that clients follow the label."""
    life("configmaps", (kill_agent, delete_leader))


def test_faults():
    with Lab("node", IMAGES) as lab:
        cluster = Cluster(lab).deploy(timers={"ttl": TTL, "loop_wait": 4, "retry_timeout": 8})
        wait_for("everybody streams", cluster.streaming, 60, every=0.5)
        for step in (hang_api_server, freeze_agent):
            print(f"--- {step.__name__}", flush=True)
            step(cluster)


def test_one_member():
    """Nobody to hand over to: the lease is kept, and the pod that comes back goes on with it."""
    with Lab("node", IMAGES) as lab:
        cluster = Cluster(lab, size=1).deploy()
        uid = lab.get("pod", "demo-0")["metadata"]["uid"]
        with Client(cluster) as client:
            began = time.monotonic()
            lab.kubectl("delete", "pod", "demo-0", "--wait=false")
            wait_for("the pod has come back",
                     lambda: cluster.ready() and lab.get("pod", "demo-0")["metadata"]["uid"] != uid, 120, every=0.2)
            client.wait_acks(50)
            print(f"the only pod deleted: {client.outage_s(began):.2f} s without a write", flush=True)
        client.assert_kept()
        assert client.outage_s(began) < 25, "it has waited for its own lease"
