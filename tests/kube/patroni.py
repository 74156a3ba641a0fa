"""A cluster of Debian's Patroni in a lab, for a Client to write to; and what it is asked in its own words.

    with Lab("node", ["patroni"]) as lab:
        cluster = PatroniCluster(lab).deploy()                    # or store="configmaps", timers={"ttl": 20, …}
        wait_for("everybody streams", cluster.streaming, 60)
        with Client(cluster) as client: …
"""
import json
import os

import psycopg2
import yaml

import cluster as howdah
from kube import HERE

LABELS = {"application": "patroni", "cluster-name": "demo"}
HOME = "/home/postgres/pgdata"  # where the volume is mounted; the data is further down in it


def documents(store="endpoints", timers=None, size=3, grace=30):
    """grace: of its pods, in seconds. Patroni's sample has 0, with which a deleted pod is a crash."""
    with open(os.path.join(HERE, "patroni.yaml")) as f:
        docs = list(yaml.safe_load_all(f))
    for doc in docs:
        name = doc["metadata"]["name"]
        if doc["kind"] == "StatefulSet":
            doc["spec"]["replicas"] = size
            doc["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = grace
        if doc["kind"] == "ConfigMap":
            settings = yaml.safe_load(doc["data"]["patroni.yml"])
            settings["kubernetes"]["use_endpoints"] = store == "endpoints"
            settings["bootstrap"]["dcs"].update(timers or {})
            doc["data"]["patroni.yml"] = yaml.safe_dump(settings)
        if doc["kind"] == "Service" and name == "demo" and store == "configmaps":
            # Nobody keeps Endpoints there: the label says who leads, and a client follows it.
            doc["spec"].update(selector={**LABELS, "role": "master"}, publishNotReadyAddresses=True)
    return docs


def successors(store, size):
    """What docs/kubernetes.md, "From Patroni", has one apply: the Role, the settings, and the StatefulSet."""
    docs = []
    for doc in howdah.documents(store=store, size=size):
        kind = doc["kind"]
        if kind == "Role":
            doc = yaml.safe_load(yaml.safe_dump(doc).replace("demo-replicas", "demo-repl"))
        elif kind == "ConfigMap":
            settings = yaml.safe_load(doc["data"]["howdah.yml"])
            settings["kubernetes"].update(labels={"application": "patroni"}, leader_label_value="master",
                                          standby_leader_label_value="master")
            settings["postgresql"]["data_dir"] = f"{HOME}/pgroot/data"
            doc["data"]["howdah.yml"] = yaml.safe_dump(settings)
        elif kind == "StatefulSet":
            doc = stateful_set(doc)
        else:
            continue  # what is there stays as it is
        doc["metadata"]["labels"]["application"] = "patroni"
        docs.append(doc)
    return docs


def stateful_set(doc):
    with open(os.path.join(HERE, "patroni.yaml")) as f:
        theirs = next(d for d in yaml.safe_load_all(f) if d["kind"] == "StatefulSet")
    spec, template = doc["spec"], doc["spec"]["template"]
    for field in ("serviceName", "selector", "volumeClaimTemplates"):
        spec[field] = theirs["spec"][field]
    spec["updateStrategy"] = {"type": "OnDelete"}
    template["metadata"]["labels"] = LABELS
    for container in template["spec"]["containers"]:
        for mount in container["volumeMounts"]:
            if mount["name"] == "data":
                mount.update(name="pgdata", mountPath=HOME)
        container["command"] = [w.replace("/var/lib/postgresql/data/pgdata", f"{HOME}/pgroot/data")
                                for w in container.get("command", [])]
    return doc


class PatroniCluster(howdah.Cluster):
    LEADER = "master"  # the role label of the leader's pod; since Patroni 4 it is primary

    def __init__(self, lab, size=3):
        super().__init__(lab, size)
        self.store = None

    def documents(self, **how):
        self.store = how.get("store", "endpoints")
        return documents(size=len(self.pods), **how)

    def patronictl(self, *args, pod=None, check=True):
        """Inside the pod, which must be one of Patroni's."""
        return self.lab.execute(pod or self.pods[0], "patroni", "patronictl", "-c", "/etc/patroni/patroni.yml",
                                *args, check=check)

    def members(self):
        """As patronictl sees them, from whichever pod can; {} while none does. A replica that streams is
        called running by 3.0.2, as one that does not."""
        for pod in self.pods:
            out = self.patronictl("list", "-f", "json", pod=pod, check=False)
            try:
                return {m["Member"]: m for m in json.loads(out)}
            except ValueError:
                continue
        return {}

    def timeline(self, pod):
        return self.sql(pod, "select timeline_id from pg_control_checkpoint()")[0][0]

    def streaming(self):
        """Everybody follows the one leader, by what its server says: its name."""
        leader = self.primary()
        try:
            rows = leader and self.sql(leader, "select application_name from pg_stat_replication "
                                               "where state = 'streaming'")
        except psycopg2.Error:  # it is down for a moment, or stops now
            return None
        return leader if rows and {r[0] for r in rows} == set(self.pods) - {leader} else None
