#!/usr/bin/python3 -B
"""Coverage by room, and the files with the most lines that no test reaches.

coverage_rooms.py SUMMARY.json, as gcovr --json-summary writes it.
"""
import json
import sys
from collections import defaultdict

WORST = 15


def main():
    with open(sys.argv[1]) as file:
        files = json.load(file)["files"]
    rooms = defaultdict(lambda: [0, 0, 0, 0])
    for f in files:
        counts = f["line_covered"], f["line_total"], f["branch_covered"], f["branch_total"]
        for room in f["filename"].rsplit("/", 1)[0], "all":
            rooms[room] = [a + b for a, b in zip(rooms[room], counts)]
    for room, (lines, of_lines, branches, of_branches) in sorted(rooms.items()):
        print(f"{room:20} lines {100 * lines / max(1, of_lines):5.1f} % of {of_lines:5}"
              f"   branches {100 * branches / max(1, of_branches):5.1f} % of {of_branches:5}")
    print("\nmost lines unreached:")
    for f in sorted(files, key=lambda f: f["line_covered"] - f["line_total"])[:WORST]:
        print(f"{f['line_total'] - f['line_covered']:5} of {f['line_total']:4}  {f['filename']}")


main()
