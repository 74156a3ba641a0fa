"""The store in dcs/kubernetes at a real API server, in its three modes: test_kube_store.c."""
import os
import subprocess

from kube import Lab


def test_store_in_three_modes():
    with Lab("control") as lab:
        out = subprocess.run([os.path.join(os.environ["HOWDAH_BIN"], "test_kube_lab_store")], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
                             env={**os.environ, "HOWDAH_KUBE_CONFIG": f"{lab.dir}/admin.conf"})
        print(out.stdout)
        assert out.returncode == 0, f"status {out.returncode}"
