"""The store in dcs/kubernetes at a real API server, in its three modes."""
import os
import subprocess

from kube import Lab


def run(program):
    with Lab("control") as lab:
        out = subprocess.run([os.path.join(os.environ["HOWDAH_BIN"], program)], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
                             env={**os.environ, "HOWDAH_KUBE_CONFIG": f"{lab.dir}/admin.conf"})
        print(out.stdout)
        assert out.returncode == 0, f"status {out.returncode}"


def test_store_leader_in_three_modes():
    run("test_kube_lab_store")


def test_store_keys_in_three_modes():
    run("test_kube_lab_store_keys")
