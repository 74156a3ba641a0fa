"""Pods by hand, with podman in namespaces of its own: containers are started and stopped in the order that a
kubelet of 1.29 would take, which the lab's 1.20 does not know. Nothing of it outlives the with."""
import glob
import json
import os
import shutil
import subprocess

import left
from kube import new_directory, script, wait_for

# First process of the namespaces: its end is everybody's, and it reaps what nobody else does. What podman and
# its libraries keep in places of their own, whatever they are told, goes into layers that end with it.
FIRST = """
set -e
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
for place in var/lib etc; do
    mkdir -p "$0/over/$place/upper" "$0/over/$place/work"
    mount -t overlay -o "lowerdir=/$place,upperdir=$0/over/$place/upper,workdir=$0/over/$place/work" overlay "/$place"
done
ip link set lo up
touch "$0/ready"
sleep infinity &
while :; do wait -n || sleep 1; done
"""


class Machine:
    """A host with podman and these images, and a network that is nobody else's."""

    def __init__(self, images):
        self.images, self.dir = images, new_directory("howdah-podman-")
        self.group = f"howdah-podman-{os.stat(self.dir).st_ino}"

    def __enter__(self):
        code, said = script("prepare.sh", "packages")
        assert code == 0, said
        for name in self.images:
            code, said = script("images.sh", name)
            assert code == 0, said
        self.before = left.listing(self.dir)
        self.first = subprocess.Popen(["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork",
                                       "--kill-child", "bash", "-c", FIRST, self.dir])
        try:
            wait_for("the namespaces are made", lambda: os.path.exists(f"{self.dir}/ready"), 20)
            self.init = subprocess.run(["pgrep", "-P", str(self.first.pid)], stdout=subprocess.PIPE, text=True,
                                       check=True).stdout.strip()
            cache = os.environ.get("HOWDAH_LAB", "/var/cache/howdah-lab")
            for name in self.images:
                self.podman("load", "-q", "-i", f"{cache}/images/{name}.tar")
        except BaseException:
            self.__exit__(True, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.first.kill()  # the kernel ends what is in its namespaces, and unmounts what is mounted there
        self.first.wait()
        wait_for("its processes end", lambda: not left.processes([self.dir + "/", self.group]), 30)
        for path in sorted(glob.glob(f"/sys/fs/cgroup/**/{self.group}", recursive=True)):
            for inner, _, _ in os.walk(path, topdown=False):
                os.rmdir(inner)
        shutil.rmtree(self.dir)
        found = left.compare(self.dir, self.before)
        assert kind or not found, "left behind: " + "\n".join(found)

    def inside(self, *command, **how):
        return subprocess.Popen(["nsenter", "--target", self.init, "--net", "--mount", "--pid", "--", *command], **how)

    def podman(self, *args, check=True):
        child = self.inside("podman", "--root", f"{self.dir}/storage", "--runroot", "/run/storage", "--tmpdir",
                            "/run/libpod", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend",
                            "none", *args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said, _ = child.communicate()
        assert not check or child.returncode == 0, f"podman {' '.join(args)}: {said}"
        return said

    def network(self):
        """The file of its network namespace."""
        return f"/proc/{self.init}/ns/net"


class Pod:
    """Of a pod template. What the API server would give it is given here: values of env, files of volumes."""

    def __init__(self, machine, name, spec, values, files):
        self.machine, self.name, self.spec, self.values = machine, name, spec, values
        self.dir = f"{machine.dir}/{name}"
        self.volumes = {"data": f"{self.dir}/data"}  # of the claim
        for volume in spec["volumes"]:
            self.volumes[volume["name"]] = f"{self.dir}/{volume['name']}"
        for volume, path in self.volumes.items():
            os.makedirs(path)
            os.chown(path, 0, spec["securityContext"]["fsGroup"])
            os.chmod(path, 0o2777)
            for file, text in files.get(volume, {}).items():
                with open(f"{path}/{file}", "w", encoding="utf-8") as f:
                    f.write(text)

    # --- one container
    def full(self, container):
        return f"{self.name}-{container['name']}"

    def create(self, container):
        who, own = self.spec["securityContext"], container["securityContext"]
        assert own == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        args = ["create", "--name", self.full(container), "--replace", "--network", "host", "--cgroup-parent", "/" +
                self.machine.group, "--log-driver", "k8s-file", "--read-only", "--read-only-tmpfs=false",
                "--cap-drop", "all", "--security-opt", "no-new-privileges",
                "--user", f"{who['runAsUser']}:{who['runAsGroup']}", "--group-add", str(who["fsGroup"])]
        for mount in container["volumeMounts"]:
            source = os.path.join(self.volumes[mount["name"]], mount.get("subPath", "")).rstrip("/")
            args += ["-v", f"{source}:{mount['mountPath']}:{'ro' if mount.get('readOnly') else 'rw'}"]
        for name, value in self.values.get(container["name"], {}).items():
            args += ["-e", f"{name}={value}"]
        if "command" in container:
            args += ["--entrypoint", json.dumps(container["command"])]
        self.machine.podman(*args, container["image"])

    def state(self, name):
        return json.loads(self.machine.podman("inspect", f"{self.name}-{name}"))[0]["State"]

    def logs(self, name):
        return self.machine.podman("logs", f"{self.name}-{name}")

    # --- as the kubelet does it (Kubernetes' docs: "Sidecar Containers")
    def start(self, when_started=lambda container: None):
        """Init containers one by one: an ordinary one to its end, a sidecar until it runs. Then all the others."""
        for container in self.spec["initContainers"]:
            self.create(container)
            if container.get("restartPolicy") == "Always":
                self.machine.podman("start", self.full(container))
                assert self.state(container["name"])["Running"], self.logs(container["name"])
            else:
                self.machine.podman("start", "--attach", self.full(container))
                assert self.state(container["name"])["ExitCode"] == 0
            when_started(container["name"])
        for container in self.spec["containers"]:
            self.create(container)
            self.machine.podman("start", self.full(container))
            when_started(container["name"])

    def stop(self, when_stopped=lambda container: None):
        """The ordinary containers are told, with the image's signal; when they have ended, the sidecars backwards."""
        sidecars = [c for c in self.spec["initContainers"] if c.get("restartPolicy") == "Always"]
        for container in self.spec["containers"] + sidecars[::-1]:
            self.machine.podman("stop", "-t", str(self.spec["terminationGracePeriodSeconds"]), self.full(container))
            when_stopped(container["name"])
