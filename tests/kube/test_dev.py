"""./dev up --kubernetes and ./dev down, as a user types them."""
import glob
import os
import shutil
import signal
import subprocess

import left
from kube import SOURCE, new_directory, script, wait_for


class Dev:
    """./dev with a place of its own."""

    def __init__(self):
        self.home = new_directory("howdah-dev-")
        self.run = f"{self.home}/play-kubernetes"

    def __call__(self, *args, code=0):
        out = subprocess.run([os.path.join(SOURCE, "dev"), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, env={**os.environ, "HOWDAH_PLAY": f"{self.home}/play"})
        assert out.returncode == code, out.stdout
        return out.stdout

    def uids(self):
        return self("kubectl", "get", "pods", "-o", "jsonpath={.items[*].metadata.uid}").split()

    def kill_lab(self):
        with open(f"{self.run}/lab.pid", encoding="ascii") as f:
            os.kill(int(f.read()), signal.SIGKILL)
        wait_for("none outlives it", lambda: not left.processes([self.run + "/", self.run + " "]), 30)


def control_group(dev):
    with open(f"{dev.run}/cgroup", encoding="ascii") as f:
        return f.read().strip()


def test_up_and_down():
    """Over the remains of a lab that was killed."""
    code, said = script("images.sh", "howdah", "postgres", "pause")
    assert code == 0, said
    dev = Dev()
    try:
        before = left.listing(dev.home)
        assert "./dev up --kubernetes" in dev("psql", code=1)
        os.makedirs(dev.run)
        code, said = script("up.sh", dev.run, "control")
        assert code == 0, said
        assert "./dev down ends it" in dev("up", "--kubernetes", code=1)  # not whole
        dev.kill_lab()
        assert "./dev up --kubernetes" in dev("kubectl", "get", "pods", code=1)

        said = dev("up", "--kubernetes")
        print(said, flush=True)
        group = control_group(dev)
        assert said.count("streaming") == 2 and said.count("demo-") >= 3, said
        assert "primary" in said and "healthy" in said, said
        # What it says can be typed.
        assert dev("psql", "-qAtc", "create table t (n int); insert into t values (7) returning n").strip() == "7"
        assert dev("psql", "-Atc", "select pg_is_in_recovery()").strip() == "f"
        assert dev("kubectl", "exec", "demo-0", "-c", "howdah", "--", "howdahctl", "list").count("streaming") == 2
        assert glob.glob(f"/sys/fs/cgroup/**/{group}", recursive=True)

        uids = dev.uids()
        assert "runs already" in dev("up", "--kubernetes") and dev.uids() == uids
        assert "--kubernetes" in dev("up", "--nonsense", code=2)

        dev("down")
        assert not os.path.exists(dev.run)
        assert not glob.glob(f"/sys/fs/cgroup/**/{group}", recursive=True)
        found = left.compare(dev.home, before)
        assert not found, "left behind: " + "\n".join(found)
        dev("down")  # of nothing
    finally:
        if os.path.isdir(dev.run):
            print(script("down.sh", dev.run)[1])
        shutil.rmtree(dev.home, ignore_errors=True)
