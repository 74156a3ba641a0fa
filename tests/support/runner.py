"""Runs functions test_… of modules test_….py, each in a process of its own: FILE[::TEST]… | PATTERN…"""
import glob
import importlib
import os
import re
import subprocess
import sys
import time


def all_tests(places):
    found = []
    for path in sorted(p for place in places for p in glob.glob(f"{place}/test_*.py")):
        name = os.path.basename(path)[:-3]
        with open(path, encoding="utf-8") as f:
            found += [f"{name}::{t}" for t in re.findall(r"^def (test_\w+)", f.read(), re.M)]
    return found


def run_one(spec):
    began = time.monotonic()
    module, test = spec.split("::")
    getattr(importlib.import_module(module), test)()
    print(f"{spec} passed in {time.monotonic() - began:.1f} s")


def main(program, places):
    """places: directories of tests, of which program is the one to run each of them with."""
    wanted = sys.argv[1:]
    if len(wanted) == 1 and "::" in wanted[0]:
        run_one(wanted[0])
        return 0
    tests = [t for t in all_tests(places) if not wanted or any(w in t for w in wanted)]
    if not tests:
        print(f"no such test: {' '.join(wanted)}", file=sys.stderr)
        return 2
    failed = []
    for t in tests:
        began = time.monotonic()
        out = subprocess.run([sys.executable, "-B", program, t], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        took = time.monotonic() - began
        print(f"{'ok    ' if out.returncode == 0 else 'FAILED'} {t} ({took:.1f} s)", flush=True)
        if out.returncode:
            failed.append(t)
            print(out.stdout[-6000:], flush=True)
    print(f"{len(tests) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0
