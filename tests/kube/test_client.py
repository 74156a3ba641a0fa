"""The client and the watch in dcs/kubernetes at a real API server: test_kube_client.c, test_kube_watch.c."""
import glob
import os
import subprocess

from kube import Lab


def process_of(program, argument):
    """The one process of this program with this argument."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                words = f.read().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended meanwhile
        if os.path.basename(words[0]) == program and argument in words:
            found.append(path.split("/")[2])
    assert len(found) == 1, f"{program} {argument}: {found}"
    return found[0]


def test_client_and_watch():
    with Lab("control") as lab:
        with open(f"{lab.dir}/ports") as f:
            ports = dict(line.strip().split("=", 1) for line in f)
        env = {**os.environ, "HOWDAH_KUBE_CONFIG": f"{lab.dir}/admin.conf",
               "HOWDAH_KUBE_ETCD": f"http://127.0.0.1:{ports['etcd_port']}",
               "HOWDAH_KUBE_API_PID": process_of("kube-apiserver", f"--secure-port={ports['api_port']}")}
        for program in ("test_kube_lab_client", "test_kube_lab_watch"):
            out = subprocess.run([os.path.join(os.environ["HOWDAH_BIN"], program)], text=True, env=env,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
            print(out.stdout)
            assert out.returncode == 0, f"{program}: status {out.returncode}"
