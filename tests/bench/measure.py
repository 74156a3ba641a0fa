"""What both benches use: memory and its floor, several things at once, an end that leaves nothing behind."""
import os
import re
import signal
import subprocess
import threading

here = os.path.dirname(os.path.abspath(__file__))


class Janitor:
    """Runs clear(places) when the bench itself is gone, whatever ended it."""

    def __init__(self, clear):
        reader, self.pipe = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.close(self.pipe)
            for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(sig, signal.SIG_IGN)
            with os.fdopen(reader) as f:
                clear(f.read().split())  # until the bench has closed it, or has died
            os._exit(0)
        os.close(reader)

    def mind(self, directory):
        os.write(self.pipe, f"{directory}\n".encode())

    def end(self):
        os.close(self.pipe)
        os.waitpid(self.pid, 0)


def together(work):
    """Runs {name: callable} at the same time; {name: result}. The first exception is raised again."""
    results, errors = {}, []

    def run(name, fn):
        try:
            results[name] = fn()
        except BaseException as e:
            errors.append(e)
    threads = [threading.Thread(target=run, args=item, daemon=True) for item in work.items()]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results


def lost_writes(checker):
    """Acknowledged on an older timeline after a newer one had begun: rewound away."""
    acks = checker.snapshot()
    began = {}
    for a in acks:
        began.setdefault(a.timeline, a.at)
    return sum(any(t > a.timeline and at < a.at for t, at in began.items()) for a in acks)


def rollup(pid):
    """(resident, proportional) of one process, MB."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        text = f.read()
    return [int(re.search(rf"^{k}:\s+(\d+)", text, re.M)[1]) / 1024 for k in ("Rss", "Pss")]


def floor_program(directory):
    """Builds floor.c, which see."""
    libraries = ["libmicrohttpd", "gnutls", "libcurl", "libcjson", "yaml-0.1", "libpq"]
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", *libraries], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.split()
    subprocess.run(["cc", "-std=c17", "-O2", "-o", f"{directory}/floor", f"{here}/floor.c", *flags],
                   check=True)
    os.chmod(f"{directory}/floor", 0o755)
    return f"{directory}/floor"
