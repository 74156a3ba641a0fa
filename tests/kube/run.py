"""Runs the tests on a real Kubernetes: run.py [FILE[::TEST]]… | PATTERN. Each test in a process of its own."""
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, f"{here}/lab", os.path.join(here, "..", "support")]
import runner  # noqa: E402

if __name__ == "__main__":
    sys.exit(runner.main(__file__, [here]))
