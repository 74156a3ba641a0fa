"""docker/openshift/template.yaml, expanded and applied, where pods are admitted as OpenShift's restricted SCC does it."""
from cluster import PASSWORD, Client, Cluster
from kube import Lab, wait_for
from test_cluster import delete_leader
from test_manifests import expand, one_named

UID, GID = 1000650000, 0  # the first of a project's range; a user no image knows is in root's group
# In place of the lab's own policy: this one fills in what the project says, and takes nothing else.
POLICY = """
apiVersion: policy/v1beta1
kind: PodSecurityPolicy
metadata:
  name: project
  annotations: {seccomp.security.alpha.kubernetes.io/allowedProfileNames: runtime/default}
spec:
  privileged: false
  allowPrivilegeEscalation: false
  requiredDropCapabilities: [KILL, MKNOD, SETUID, SETGID]
  volumes: [configMap, downwardAPI, emptyDir, persistentVolumeClaim, projected, secret]
  runAsUser: {rule: MustRunAs, ranges: [{min: 1000650000, max: 1000659999}]}
  fsGroup: {rule: MustRunAs, ranges: [{min: 1000650000, max: 1000650000}]}
  supplementalGroups: {rule: RunAsAny}
  seLinux: {rule: RunAsAny}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: project}
rules:
- {apiGroups: [policy], resources: [podsecuritypolicies], resourceNames: [project], verbs: [use]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: project}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: project}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:serviceaccounts"}]
"""


def documents():
    docs = expand({"POSTGRES_IMAGE": "localhost/postgres:lab", "HOWDAH_IMAGE": "localhost/howdah:lab",
                   "SUPERUSER_PASSWORD": PASSWORD})
    for doc in docs:
        # As 1.20 knows it.
        if doc["kind"] == "PodDisruptionBudget":
            doc["apiVersion"] = "policy/v1beta1"
        if doc["kind"] == "StatefulSet":
            agent = one_named(doc["spec"]["template"]["spec"]["containers"], "howdah")
            del agent["livenessProbe"]["terminationGracePeriodSeconds"]
    return docs


def users(lab, pod, container):
    """(uid, gid, groups) of each of its processes."""
    found = set()
    for pid, _ in Cluster(lab).processes(pod, container):
        try:
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                said = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        except OSError:
            continue  # it has ended meanwhile
        uids, gids = ({int(n) for n in said[of].split()} for of in ("Uid", "Gid"))
        assert len(uids) == len(gids) == 1, said  # real, effective, saved
        found.add((*uids, *gids, tuple(int(n) for n in said["Groups"].split())))
    return found


def test_random_user_in_the_whole_cluster():
    """Three pods come up, write, and hand over when the leader's is deleted."""
    with Lab("node", ["howdah", "postgres"]) as lab:
        lab.kubectl("delete", "clusterrolebinding", "restricted")
        lab.apply(POLICY)
        cluster = Cluster(lab).deploy(documents())
        wait_for("everybody streams", cluster.streaming, 90, every=0.5)
        check_users(cluster)
        with Client(cluster) as client:
            client.wait_acks(50)
        client.assert_kept()
        delete_leader(cluster)
        check_users(cluster)


def check_users(cluster):
    for pod in cluster.pods:
        asked = cluster.lab.get("pod", pod)
        assert asked["metadata"]["annotations"]["kubernetes.io/psp"] == "project"
        assert asked["spec"]["securityContext"]["fsGroup"] == UID and "runAsUser" not in asked["spec"]["securityContext"]
        for container in ("postgres", "howdah"):
            seen = users(cluster.lab, pod, container)
            assert {s[:2] for s in seen} == {(UID, GID)} and all(UID in s[2] for s in seen), (pod, container, seen)
        assert cluster.lab.execute(pod, "postgres", "id", "-un").strip() == "postgres"
