"""Debian's Patroni on Kubernetes: by itself, beside our members, and taken over by them."""
from cluster import Client
from kube import Lab, wait_for
from patroni import PatroniCluster


def test_patroni_alone():
    """What the other tests and the benchmark stand on: it comes up, leads, streams, and takes a client's writes."""
    with Lab("node", ["patroni"]) as lab:
        cluster = PatroniCluster(lab).deploy()
        leader = wait_for("everybody streams", cluster.streaming, 60, every=0.5)
        with Client(cluster) as client:
            client.wait_acks(50)
        client.assert_kept()
        assert not client.errors, client.errors[:3]
        addresses = [a["ip"] for s in lab.get("endpoints", "demo")["subsets"] for a in s["addresses"]]
        assert addresses == [lab.get("pod", leader)["status"]["podIP"]], addresses
        listed = {n: m["Role"] for n, m in cluster.members().items()}
        assert listed == {p: "Leader" if p == leader else "Replica" for p in cluster.pods}, listed
