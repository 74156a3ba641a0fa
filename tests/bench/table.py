"""What both benches print their tables with."""
import datetime
import os
import platform
import statistics

END = "<!-- end -->\n"


def figure(value, digits):
    return f"{value:,.{digits}f}"


def spread(values, digits):
    """Median (least … most, how many)."""
    if not values:
        return "–"
    text = figure(statistics.median(values), digits)
    if len(values) == 1:
        return text
    return f"{text} ({figure(min(values), digits)} … {figure(max(values), digits)}, n {len(values)})"


def grid(columns, rows):
    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)] + \
        ["| " + " | ".join(cells) + " |" for cells in rows]


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((ln.split(":", 1)[1].strip() for ln in f if ln.startswith("model name")), "?")
    load = "/".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{datetime.datetime.now():%Y-%m-%d %H:%M}; {os.cpu_count()} cores ({model}), Linux " \
        f"{platform.release()}, load before the run {load}"


def around_marks(path, begin):
    """(before, after) of the file's part between `begin` and END; of a file that does not exist yet, nothing."""
    if not os.path.exists(path):
        return "", ""
    with open(path) as f:
        before, found, rest = f.read().partition(begin)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise SystemExit(f"{path}: exists, and has no line {begin.strip()} with {END.strip()} after it")
    return before, after


def write_between_marks(path, begin, table):
    before, after = around_marks(path, begin)
    with open(path, "w") as f:
        f.write(before + begin + table + END + after)
