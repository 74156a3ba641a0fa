"""What `cmake --install` puts where, that it works from there, and the pair of systemd units."""
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from cluster import BIN, Cluster, cmdline, demote, kill, wait_for

BUILD = os.path.dirname(BIN)
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PROGRAMS = {"usr/bin/howdah", "usr/bin/howdahctl", "usr/lib/howdah/howdah-warden"}
UNITS = {"usr/lib/systemd/system/howdah@.service", "usr/lib/systemd/system/howdah-warden@.service"}


class Installed:
    """A DESTDIR of the release build, for as long as the with lasts."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="howdah-install-", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        subprocess.run(["cmake", "--install", BUILD], env={**os.environ, "DESTDIR": self.dir},
                       check=True, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, kind, value, trace):
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def files(self):
        return {os.path.relpath(os.path.join(where, name), self.dir)
                for where, _, names in os.walk(self.dir) for name in names}


def test_what_is_installed():
    pages = {"usr/share/doc/howdah/" + os.path.basename(p)
             for pattern in ("docs/*.md", "docs/*.yml", "README.md", "LICENSE")
             for p in glob.glob(os.path.join(SOURCE, pattern))}
    assert {"usr/share/doc/howdah/" + p for p in
            ("operating.md", "settings.md", "howdah.sample.yml", "README.md", "LICENSE")} <= pages
    with Installed() as i:
        found, wanted = i.files(), PROGRAMS | UNITS | pages
        assert found == wanted, f"missing {wanted - found}, too many {found - wanted}"
        for name in found:
            mode = os.stat(i.path(name)).st_mode & 0o777
            assert mode == (0o755 if name in PROGRAMS else 0o644), f"{name}: {mode:o}"
        for name in PROGRAMS:
            out = subprocess.run([i.path(name), "--version"], stdout=subprocess.PIPE, text=True)
            assert out.returncode == 0 and re.search(r"\d+\.\d+\.\d+", out.stdout), name
        ldd = subprocess.run(["ldd", i.path("usr/lib/howdah/howdah-warden")],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        assert re.search("not a dynamic executable|statically linked", ldd), ldd


def verify(paths):
    out = subprocess.run(["systemd-analyze", "verify", *paths], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    return out.returncode, out.stdout


def test_units_pass_verification():
    with Installed() as i:
        copies = i.path("units")
        os.mkdir(copies)
        for name in UNITS:
            with open(i.path(name)) as f:
                text = f.read()
            assert "@CMAKE" not in text
            # Everything must be where the unit says, below the DESTDIR.
            text = re.sub(r"=/usr/(bin|lib)/howdah", rf"={i.dir}/usr/\1/howdah", text)
            assert f"ExecStart={i.dir}/usr/" in text
            page = re.search(r"Documentation=file://(\S+)", text).group(1)
            assert os.path.exists(i.dir + page), page
            with open(os.path.join(copies, os.path.basename(name)), "w") as f:
                f.write(text)
        instances = [f"{copies}/howdah@main.service", f"{copies}/howdah-warden@main.service"]
        assert verify(instances) == (0, "")
        # It would have said so.
        os.remove(i.path("usr/lib/howdah/howdah-warden"))
        code, said = verify(instances)
        assert code != 0 and "howdah-warden is not executable" in said, said


def test_installed_agent_finds_its_warden():
    with Installed() as i, Cluster(1) as c:
        m = c.members[0]
        m.program = [i.path("usr/bin/howdah")]
        c.start()
        warden = cmdline(m.warden_pid()).split(" ")[0]
        assert warden == i.path("usr/lib/howdah/howdah-warden"), warden


def test_warden_of_somebody_else():
    """An absolute howdah.socket, as with the systemd units: the agent attaches, and starts none."""
    with Cluster(1) as c:
        m = c.members[0]
        socket = f"{m.home}/warden.sock"
        # As the units do it: one place says to both programs where the data is.
        c.env = {"HOWDAH_SOCKET": socket, "HOWDAH_POSTGRESQL_DATA_DIR": m.data}
        m.overrides = {"postgresql": {"data_dir": f"{m.home}/elsewhere"}}

        def start_warden():
            with open(f"{m.home}/warden.log", "ab") as log:
                return subprocess.Popen(
                    [os.path.join(c.bin, "howdah-warden"), "--socket", socket, "--data-dir", m.data],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", preexec_fn=demote)

        def waits(times):
            wait_for("the agent says that it waits",
                     lambda: m.log_text().count("waiting for the warden") == times, 20)
            wait_for("and why nothing happens",
                     lambda: "WARDEN_UNREACHABLE" in m.rest("/why", timeout=2)[1], 10)
            end = time.monotonic() + 1.5  # several of its tries
            while time.monotonic() < end:
                assert m.warden_pid() is None, "it has started a warden of its own"
                time.sleep(0.05)
            assert m.log_text().count("waiting for the warden") == times, "it says so once"

        c.start(wait=False)
        waits(1)
        warden = start_warden()
        c.wait_primary()
        wait_for("the cluster is made", lambda: c.key("initialize").isdigit(), 30)
        assert m.warden_pid() == warden.pid

        kill(warden.pid)
        warden.wait()
        waits(2)
        assert not m.postgres_pids(), "PostgreSQL ends with its parent"
        warden = start_warden()
        c.wait_primary()
        assert m.warden_pid() == warden.pid

        # Told to stop, the agent leaves the warden; and the other way round both end.
        m.kill_agent(signal.SIGTERM)
        assert m.wait_ended() == 0
        assert not m.postgres_pids() and m.warden_pid() == warden.pid
        m.start()
        c.wait_primary()
        assert m.warden_pid() == warden.pid
        kill(warden.pid, signal.SIGTERM)
        assert warden.wait(30) == 0 and m.wait_ended() == 0

        # Nothing it could stop: it does not wait for a warden that may never come.
        m.start()
        waits(3)
        m.kill_agent(signal.SIGTERM)
        assert m.wait_ended(10) == 0
        assert not os.path.exists(f"{m.home}/elsewhere")
