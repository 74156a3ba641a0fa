"""The manifests as text and before a real API server: rights, restricted pods, and variants that do not drift."""
import copy
import glob
import os
import re
import subprocess
import tempfile

import yaml

from kube import SOURCE, Lab, manifests

FOLDER = os.path.join(SOURCE, "docker", "kubernetes")
TEMPLATE = os.path.join(SOURCE, "docker", "openshift", "template.yaml")
BIN = os.environ.get("HOWDAH_BIN") or os.path.join(SOURCE, "build/release/bin")


def load(*patterns):
    found = []
    for pattern in patterns:
        paths = sorted(glob.glob(os.path.join(FOLDER, pattern)))
        assert paths, pattern
        for path in paths:
            with open(path) as f:
                found += [d for d in yaml.safe_load_all(f) if d]
    return found


def one(docs, kind, name=None):
    found = [d for d in docs if d["kind"] == kind and name in (None, d["metadata"]["name"])]
    assert len(found) == 1, (kind, name, len(found))
    return found[0]


def expand(values):
    """As `oc process` does it: ${X} in any string, ${{X}} as what it says; what generates is given here."""
    with open(TEMPLATE) as f:
        template = yaml.safe_load(f)
    known = {p["name"]: values.get(p["name"], p.get("value", f"generated-{p['name']}"))
             for p in template["parameters"]}
    assert not set(values) - set(known)

    def walk(node):
        if isinstance(node, dict):
            return {walk(k): walk(v) for k, v in node.items()}
        if isinstance(node, list):
            return [walk(v) for v in node]
        if not isinstance(node, str):
            return node
        whole = re.fullmatch(r"\$\{\{(\w+)\}\}", node)
        if whole:
            return yaml.safe_load(known[whole[1]])
        return re.sub(r"\$\{(\w+)\}", lambda m: known[m[1]], node)

    return walk(template["objects"])


def pods():
    return {"ordinary": one(load("*.yaml"), "StatefulSet"), "native": load("native-sidecar/*.yaml")[0],
            "openshift": one(expand({}), "StatefulSet")}


# --- pod security "restricted", field by field (Kubernetes' docs: "Pod Security Standards")

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def findings(pod):
    """What the standard would object to."""
    found, context = [], pod.get("securityContext", {})
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            found.append(key)
    for volume in pod.get("volumes", []):
        if set(volume) - {"name"} - VOLUMES:
            found.append(f"volume {volume['name']}")
    if "sysctls" in context:
        found.append("sysctls")
    for c in pod.get("initContainers", []) + pod["containers"]:
        own = c.get("securityContext", {})

        def both(key):
            return own.get(key, context.get(key))

        wrong = {
            "privileged": own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
            "runAsNonRoot": both("runAsNonRoot") is not True,
            "runAsUser": both("runAsUser") == 0,
            "seccompProfile": (both("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"),
            "capabilities": own.get("capabilities") != {"drop": ["ALL"]},
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is not True,  # not of the standard; ours
            "hostPort": any("hostPort" in p for p in c.get("ports", [])),
            "procMount": own.get("procMount", "Default") != "Default",
            "seLinuxOptions": "seLinuxOptions" in {**context, **own},
        }
        found += [f"{c['name']}: {key}" for key, bad in wrong.items() if bad]
    return found


def test_pods_are_restricted():
    for name, stateful_set in pods().items():
        pod = stateful_set["spec"]["template"]["spec"]
        assert findings(pod) == [], name
        # And it would have been seen.
        for change, seen in (({"runAsNonRoot": False}, "runAsNonRoot"), ({"seccompProfile": None}, "seccompProfile"),
                             ({"sysctls": []}, "sysctls")):
            bad = copy.deepcopy(pod)
            bad["securityContext"].update(change)
            assert any(seen in f for f in findings(bad)), seen
        for change, seen in (({"capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE"]}}, "capabilities"),
                             ({"allowPrivilegeEscalation": None}, "allowPrivilegeEscalation"),
                             ({"privileged": True}, "privileged"), ({"runAsUser": 0}, "runAsUser")):
            bad = copy.deepcopy(pod)
            bad["containers"][0]["securityContext"] = {**bad["containers"][0]["securityContext"], **change}
            assert any(seen in f for f in findings(bad)), seen
        bad = copy.deepcopy(pod)
        bad["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
        assert findings(bad) == ["volume host"]


# --- what the design asks of them

def test_what_must_not_change():
    docs = load("*.yaml")
    primary = one(docs, "Service", "demo")["spec"]
    assert primary["publishNotReadyAddresses"] is True and primary["selector"]["role"] == "primary"
    assert "publishNotReadyAddresses" not in one(docs, "Service", "demo-replicas")["spec"]
    assert one(docs, "Service", "demo-members")["spec"]["clusterIP"] == "None"
    assert one(docs, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    for name, stateful_set in pods().items():
        spec = stateful_set["spec"]
        pod = spec["template"]["spec"]
        agent = next(c for c in pod["containers"] + pod["initContainers"] if c["name"] == "howdah")
        postgres = one_named(pod["containers"], "postgres")
        assert spec["podManagementPolicy"] == "Parallel" and pod["enableServiceLinks"] is False, name
        assert pod["securityContext"].get("fsGroupChangePolicy") == "OnRootMismatch"
        # No probe depends on the warden, and the one on the agent is lenient.
        assert not any(k.endswith("Probe") for k in postgres), name
        assert agent["livenessProbe"]["failureThreshold"] * agent["livenessProbe"]["periodSeconds"] >= 60
        # Told to stop alone, it needs 1 s; one that hangs must not keep its container for the pod's two minutes.
        assert 5 <= agent["livenessProbe"]["terminationGracePeriodSeconds"] <= 15
        # The API's token is the agent's alone.
        assert pod["automountServiceAccountToken"] is False
        assert "access" in mounts(agent) and "access" not in mounts(postgres)
        # The kubelet must not be faster than the warden, which has 60 s, then 30 s, then 5 s and 2 s.
        assert pod["terminationGracePeriodSeconds"] >= 60 + 30 + 5 + 2
        # One place says where the data is, and both see it; the agent's image has no command of its own.
        data = postgres["command"][postgres["command"].index("--data-dir") + 1]
        assert data.startswith(mounts(postgres)["data"][0] + "/") and mounts(agent)["data"] == mounts(postgres)["data"]
        assert "command" not in agent
        socket = postgres["command"][postgres["command"].index("--socket") + 1]
        settings = yaml.safe_load(one(docs, "ConfigMap")["data"]["howdah.yml"])
        assert settings["postgresql"]["data_dir"] == data and settings["howdah"]["socket"] == socket
        # Passwords are in the Secret alone.
        assert "password" not in str(settings["postgresql"]["authentication"])


def one_named(containers, name):
    return next(c for c in containers if c["name"] == name)


def mounts(container):
    found = {}
    for m in container["volumeMounts"]:
        found.setdefault(m["name"], []).append(m["mountPath"])
    return found


# --- variants

def ordered(stateful_set):
    """The native variant's way back: the agent as an ordinary container."""
    doc = copy.deepcopy(stateful_set)
    pod = doc["spec"]["template"]["spec"]
    agent = one_named(pod["initContainers"], "howdah")
    assert agent.pop("restartPolicy") == "Always"
    assert pod["initContainers"][-1] is agent
    pod["containers"].append(pod["initContainers"].pop())
    return doc


def test_native_sidecar_is_the_same_pod():
    assert len(load("native-sidecar/*.yaml")) == 1
    assert ordered(pods()["native"]) == pods()["ordinary"]


def test_openshift_template_is_the_same_cluster():
    given = {"SUPERUSER_PASSWORD": "change-me-1", "REPLICATION_PASSWORD": "change-me-2",
             "REWIND_PASSWORD": "change-me-3", "API_PASSWORD": "change-me-4"}
    wanted = load("*.yaml")
    context = one(wanted, "StatefulSet")["spec"]["template"]["spec"]["securityContext"]
    for key in ("runAsUser", "runAsGroup", "fsGroup"):
        del context[key]  # the project's
    found = expand(given)
    for docs in (wanted, found):
        settings = one(docs, "ConfigMap")["data"]
        settings["howdah.yml"] = yaml.safe_load(settings["howdah.yml"])
    assert found == wanted
    other = str(expand({"NAME": "other"}))
    assert "demo" not in other and "${" not in other


def test_settings_are_valid():
    docs = load("*.yaml")
    agent = one_named(one(docs, "StatefulSet")["spec"]["template"]["spec"]["containers"], "howdah")
    env = {"PATH": os.environ["PATH"]}
    for e in agent["env"]:
        value = e.get("value", "x")
        if e["name"].endswith("POD_IP"):
            value = "10.244.0.9"
        elif e["name"].endswith("NAMESPACE"):
            value = "default"
        env[e["name"]] = value.replace("$(HOWDAH_KUBERNETES_POD_IP)", "10.244.0.9")
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as f:
        f.write(one(docs, "ConfigMap")["data"]["howdah.yml"])
        f.flush()
        out = subprocess.run([os.path.join(BIN, "howdah"), "--validate-config", f.name], env=env,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert out.returncode == 0 and out.stdout == "", out.stdout


# --- before an API server

def can(lab, verb, what, *more):
    return lab.kubectl("auth", "can-i", verb, what, *more, "--as=system:serviceaccount:default:demo",
                       check=False).splitlines()[-1] == "yes"


def test_rights_and_objects():
    allowed = {
        "10-access.yaml": [("create", "leases"), ("patch", "leases/demo"), ("watch", "pods"), ("patch", "pods"),
                           ("get", "configmaps/demo-leader"), ("get", "endpoints/demo"), ("create", "events"),
                           ("patch", "services/demo")],
        "access/endpoints.yaml": [("patch", "endpoints/demo-sync"), ("create", "services"), ("get", "leases/demo")],
        "access/configmaps.yaml": [("patch", "configmaps/demo-leader"), ("get", "endpoints/demo")],
    }
    never = [("get", "secrets"), ("list", "secrets"), ("delete", "pods"), ("create", "pods"), ("delete", "leases"),
             ("patch", "leases/other"), ("get", "configmaps/other"), ("patch", "services/kubernetes"),
             ("patch", "statefulsets"), ("get", "nodes"), ("create", "roles"), ("impersonate", "users"),
             ("update", "leases/demo"), ("update", "configmaps/demo-config"), ("update", "pods"), ("patch", "events")]
    refused = {"10-access.yaml": [("patch", "endpoints/demo"), ("patch", "configmaps/demo-leader")],
               "access/endpoints.yaml": [("patch", "leases/demo"), ("patch", "configmaps/demo-config")],
               "access/configmaps.yaml": [("patch", "leases/demo"), ("patch", "endpoints/demo")]}
    with Lab("control") as lab:
        said = lab.apply(manifests())
        assert said.count(" created") == len(load("*.yaml")), said
        assert lab.apply(manifests()).count(" unchanged") >= len(load("*.yaml")) - 2
        other = [d for d in expand({"NAME": "other"}) if d["kind"] != "PodDisruptionBudget"]
        containers = one(other, "StatefulSet")["spec"]["template"]["spec"]["containers"]
        del one_named(containers, "howdah")["livenessProbe"]["terminationGracePeriodSeconds"]  # as manifests() does
        lab.apply(yaml.safe_dump_all(other))
        for file, rights in allowed.items():
            lab.kubectl("apply", "-f", os.path.join(FOLDER, file))
            for verb, what in rights:
                assert can(lab, verb, what), f"{file}: {verb} {what}"
            for verb, what in never + refused[file]:
                assert not can(lab, verb, what), f"{file}: {verb} {what}"
        # Elsewhere it may do nothing at all.
        assert not can(lab, "get", "pods", "-n", "kube-system")
