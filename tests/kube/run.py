"""Runs the tests on a real Kubernetes: run.py [FILE[::TEST]]… | PATTERN. Each test in a process of its own."""
import glob
import importlib
import os
import re
import subprocess
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, f"{here}/lab"]


def all_tests():
    found = []
    for path in sorted(glob.glob(f"{here}/test_*.py")):
        name = os.path.basename(path)[:-3]
        with open(path) as f:
            found += [f"{name}::{t}" for t in re.findall(r"^def (test_\w+)", f.read(), re.M)]
    return found


def main():
    wanted = sys.argv[1:]
    if len(wanted) == 1 and "::" in wanted[0]:
        module, test = wanted[0].split("::")
        began = time.monotonic()
        getattr(importlib.import_module(module), test)()
        print(f"{wanted[0]} passed in {time.monotonic() - began:.1f} s")
        return 0
    tests = [t for t in all_tests() if not wanted or any(w in t for w in wanted)]
    if not tests:
        print(f"no such test: {' '.join(wanted)}", file=sys.stderr)
        return 2
    failed = []
    for t in tests:
        began = time.monotonic()
        out = subprocess.run([sys.executable, "-B", __file__, t], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        took = time.monotonic() - began
        print(f"{'ok    ' if out.returncode == 0 else 'FAILED'} {t} ({took:.1f} s)", flush=True)
        if out.returncode:
            failed.append(t)
            print(out.stdout[-6000:], flush=True)
    print(f"{len(tests) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
