"""Runs scenarios on real servers: run.py [FILE[::TEST]]… | PATTERN. Each test in a process of its own."""
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
places = [here, os.path.join(here, "..", "interop")]
sys.path[:0] = [*places, os.path.join(here, "..", "support")]
import runner  # noqa: E402

if __name__ == "__main__":
    sys.exit(runner.main(__file__, places))
