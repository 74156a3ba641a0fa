"""The lab itself: that it comes up, keeps to itself, and leaves this machine as it was."""
import glob
import os
import shutil
import signal
import subprocess

import left
from kube import HERE, Lab, new_directory, script, wait_for

SLEEPER = """
apiVersion: v1
kind: Pod
metadata: {name: sleeper, labels: {app: sleeper}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 70, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: musl
    image: localhost/postgres-musl:lab
    command: [sh, -c, "mkdir /tmp/www && echo hello >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
    volumeMounts: [{name: tmp, mountPath: /tmp}]
  volumes: [{name: tmp, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: sleeper}
spec:
  selector: {app: sleeper}
  ports: [{port: 80, targetPort: 8080}]
"""


def fetch(lab, address):
    out = subprocess.run([f"{lab.dir}/enter", "curl", "-sf", "-m", "5", f"http://{address}/"],
                         stdout=subprocess.PIPE, text=True)
    return out.stdout.strip()


def test_two_control_planes_at_once():
    with Lab("control") as one, Lab("control") as two:
        for lab in (one, two):
            lab.kubectl("create", "configmap", "whose", f"--from-literal=dir={lab.dir}")
        for lab in (one, two):
            assert lab.get("configmap", "whose")["data"]["dir"] == lab.dir
            assert left.read(f"/proc/{lab.pid('kube-apiserver')}/cmdline").count(lab.url("etcd")) == 1
        # And no second one in the same directory.
        code, said = script("up.sh", one.dir, "control")
        assert code != 0 and "runs in" in said, said
        assert one.get("configmap", "whose")


def test_wrong_arguments():
    for args in ([], ["relative", "control"], ["/nonexistent/dir", "cluster"]):
        code, said = script("up.sh", *args)
        assert code == 1 and said.startswith("up.sh: "), said
    code, said = script("down.sh", "/nonexistent/dir")
    assert code == 1 and "no lab was ever in" in said, said


def test_two_nodes_and_nothing_left():
    """Pods, a probe, a Service and exec in two labs; each node is an own network with the same addresses."""
    with Lab("node", ["musl"]) as one, Lab("node", ["musl"]) as two:
        for lab in (one, two):
            lab.apply(SLEEPER)
        for lab in (one, two):
            wait_for("the pod is ready", lambda: (lab.container("sleeper", "musl") or {}).get("ready"), 60)
            address = lab.get("service", "sleeper")["spec"]["clusterIP"]
            wait_for("the Service answers", lambda: fetch(lab, address) == "hello", 30)
            assert lab.execute("sleeper", "musl", "id", "-u").strip() == "70"
            # Whom it may not run as is refused.
            bad = SLEEPER.split("---")[0].replace("name: sleeper,", "name: root,")
            for old, new in (("runAsUser: 70", "runAsUser: 0"), ("drop: [ALL]", "add: [NET_ADMIN]"),
                             ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
                             ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true")):
                assert old in bad
                out = lab.kubectl("apply", "-f", "-", text=bad.replace(old, new), check=False)
                assert "PodSecurityPolicy: unable to admit" in out, out
        # Nobody gets out: there is nowhere to go.
        out = one.execute("sleeper", "musl", "ping", "-c", "1", "-W", "2", "192.0.2.1", check=False)
        assert "100% packet loss" in out or "nreachable" in out or "denied" in out, out
        routes = subprocess.run([f"{one.dir}/enter", "ip", "-o", "link"], stdout=subprocess.PIPE, text=True).stdout
        names = {line.split(": ")[1].split("@")[0] for line in routes.splitlines()}
        assert all(n in ("lo", "cni0", "sit0", "tunl0", "ip6tnl0") or n.startswith(("veth", "gre", "erspan", "ip_vti", "ip6"))
                   for n in names), names
        # While they are up there is something to see, so what is compared afterwards is no empty list.
        seen = left.listing(one.dir)
        assert any("kubelet" in p for p in seen["processes"])
        assert any("httpd" in p for p in seen["processes"]), seen["processes"]
        assert seen["control groups"] and "kubelet" in seen["files"]
        assert left.differences(one.before, seen)


def test_a_lab_that_was_killed_is_cleared_away():
    with Lab("control") as lab:
        assert any("etcd" in p for p in left.listing(lab.dir)["processes"])
        with open(f"{lab.dir}/lab.pid") as f:
            os.kill(int(f.read()), signal.SIGKILL)
        wait_for("none outlives it", lambda: not left.listing(lab.dir)["processes"], 20)
        code, said = script("up.sh", lab.dir, "control")
        assert code != 0 and "remains of a lab" in said, said


def test_building_images_leaves_nothing():
    """Into a cache that is empty: neither mounts nor anything in the storage of the machine's own engines."""
    cache = new_directory("howdah-images-")
    try:
        before = left.listing(cache)
        code, said = script("images.sh", "pause", "musl", env={"HOWDAH_LAB": cache})
        assert code == 0 and "image pause: building" in said, said
        after = left.listing(cache)
        assert left.differences(before, after) == ["files: new: images"], left.differences(before, after)
        # It was built with a storage, and in another place it would have been seen.
        known = [p.replace("/var/lib/containers/storage", f"{cache}/images/storage") for p in left.IMAGES]
        assert any("images.json" in line for line in left.digests(known)), glob.glob(f"{cache}/images/*")
        assert os.path.exists(f"{cache}/images/musl.tar")
        code, said = script("images.sh", "pause", "musl", env={"HOWDAH_LAB": cache})
        assert (code, said) == (0, ""), said
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def test_a_machine_without_labs_is_told_so():
    """One line, which says what is missing; and a failure, never a test that is passed over."""
    check = [f"{HERE}/lab/prepare.sh", "check"]
    for limited, wanted in ((["unshare", "--user"], "it wants root"),
                            (["setpriv", "--bounding-set=-sys_admin"], "namespaces and mounts of its own are refused")):
        out = subprocess.run([*limited, *check], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert out.returncode == 1 and wanted in out.stdout and out.stdout.count("\n") == 1, out.stdout
    assert subprocess.run(check).returncode == 0
