#!/usr/bin/python3 -B
"""What comments and pages cite must be in this tree. citations.py [ROOT] prints each dead citation.

A page is cited by its path, docs/store.md, and a heading of it in quotes behind that:
docs/store.md, "The lease". A section number stands for a document that a reader has not got.
"""
import re
import subprocess
import sys
from pathlib import Path

SUFFIXES = {".c", ".h", ".py", ".sh", ".md", ".cmake", ".txt", ".in", ""}
HERE = "tests/docs/citations.py"
PAGE = re.compile(r"(?<![\w/.-])((?:[\w-]+/)*[\w-]+\.md)\b(?:,\s+\"([^\"]+)\")?")
NUMBER = re.compile(r"(?<!RFC )§\s*\w+")


def without_line_breaks(text):  # of comments, so that a citation may go over two lines
    return re.sub(r"\n\s*(?://|#)? ?", lambda m: " " * (len(m.group()) - 1) + "\n", text)


def headings(page):
    return re.findall(r"^#+ (.*?)\s*$", page.read_text(), re.M)


def complaints(root, name):
    path = root / name
    text = path.read_text(errors="replace")
    for m in NUMBER.finditer(text):
        yield m.start(), f"{m.group()}: of which page of this tree?"
    flat = without_line_breaks(text)
    for m in PAGE.finditer(flat):
        page = next((p for p in (root / m[1], path.parent / m[1], root / "docs" / m[1])
                     if p.is_file()), None)
        heading = re.sub(r"\s+", " ", m[2]) if m[2] else None
        if page is None:
            yield m.start(), f"{m[1]}: no such page"
        elif heading and heading not in headings(page):
            yield m.start(), f"{m[1]} has no heading \"{heading}\""


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2])
    listed = subprocess.run(["find", ".", "(", "-name", ".git", "-o", "-path", "./build", ")", "-prune",
                             "-o", "-type", "f", "-print"], cwd=root, capture_output=True, text=True,
                            check=True).stdout.split("\n")
    found = 0
    for name in sorted(n[2:] for n in listed if n):
        if name == HERE or Path(name).suffix not in SUFFIXES:
            continue
        text = None
        for at, what in complaints(root, name):
            text = text or (root / name).read_text(errors="replace")
            print(f"{name}:{text.count(chr(10), 0, at) + 1}: {what}")
            found += 1
    sys.exit(found > 0)


main()
