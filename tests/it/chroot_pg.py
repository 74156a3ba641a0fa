"""PostgreSQL majors that this Debian does not have, in the sidecar layout without containers.

The server's programs and its warden live in a chroot of another Debian release, made once and kept;
the agent stays outside and finds the warden by its socket. A member's directory has the same path
on both sides, process ids have not: the warden is the first of a namespace of its own, as in a
container. Mounts belong to that namespace too, and end with it whatever becomes of the test.
"""
import fcntl
import glob
import os
import re
import shutil
import socket
import subprocess

from cluster import BIN, USER, Cluster, Member, processes_of, wait_for

SUITES = {13: "bullseye", 17: "trixie", 18: "forky"}
CACHE = os.environ.get("HOWDAH_LAB", "/var/cache/howdah-lab")
# Every suite since wheezy is made by this one; a debootstrap may be older than the suite.
SCRIPT = "/usr/share/debootstrap/scripts/sid"
NEEDED = ["debootstrap", "unshare", "pivot_root", "setpriv"]


# --- the chroot

def mirror():
    """This machine's own: where its packages come from, others can be had too."""
    texts = []
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*"))]:
        if path.endswith((".list", ".sources")) and os.path.exists(path):
            with open(path) as f:
                texts.append(f.read())
    uri = r"(https?://[^\s\"]+/debian)/?(?=\s)"
    found = re.search(rf"^URIs:.*?{uri}|^deb\s.*?{uri}", "\n".join(texts) + "\n", re.M)
    assert found, "no mirror of Debian in /etc/apt/sources.list*: cannot make a chroot"
    return found[1] or found[2]


def ensure_root(major):
    """The chroot's directory; made if it is not there yet, which takes some minutes."""
    assert os.geteuid() == 0, "the chroots of other PostgreSQL majors need root"
    missing = [p for p in NEEDED if not shutil.which(p)]
    assert not missing, f"not installed: {' '.join(missing)}"
    suite = SUITES[major]
    root = f"{CACHE}/{suite}-postgresql-{major}"
    os.makedirs(CACHE, exist_ok=True)
    with open(f"{root}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(f"{root}/usr/lib/postgresql/{major}/bin/postgres"):
            make_root(root, suite, major)
    return root


def make_root(root, suite, major):
    half, log = f"{root}.half", f"{root}.log"
    subprocess.run(["rm", "-rf", "--one-file-system", half], check=True)
    # In a mount namespace, so that a killed debootstrap leaves no /proc mounted.
    command = ["unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase",
               f"--include=postgresql-{major}", suite, half, mirror(), SCRIPT]
    with open(log, "wb") as out:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode
    assert code == 0, f"no chroot of Debian {suite} with postgresql-{major}: " \
        f"{' '.join(command)} failed with {code}; see {log}"
    for waste in glob.glob(f"{half}/var/cache/apt/archives/*.deb"):
        os.unlink(waste)
    os.rename(half, root)
    os.unlink(log)


# --- what runs in it

# The root is read-only and has this machine's uids, as an image in a pod has.
ENTER = """
root=$1 dir=$2 uid=$3 gid=$4
shift 4
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o mode=1777 tmp "$root/var/tmp"
mkdir -p "$root$dir"
mount --bind "$dir" "$root$dir"
mount --bind "$dir/passwd" "$root/etc/passwd"
mount --bind "$dir/group" "$root/etc/group"
mount -o remount,bind,ro "$root"
cd "$root"
pivot_root . .
umount -l .
cd /
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups "$@"
"""


def pid_inside(pid):
    try:
        with open(f"/proc/{pid}/status") as f:
            return re.search(r"^NSpid:.*?(\d+)$", f.read(), re.M)[1]
    except OSError:
        return None


class SidecarMember(Member):
    """Its warden is started by the test in the chroot, the agent attaches to it."""

    def __init__(self, cluster, name):
        super().__init__(cluster, name)
        self.socket = f"{self.home}/w.sock"
        self.wardens = []
        # An agent that started a warden itself would start it out here, without PostgreSQL.
        self.overrides = {"howdah": {"socket": self.socket, "warden": "/nonexistent"}}

    def start_warden(self):
        log = open(f"{self.home}/warden.log", "ab")
        self.wardens.append(subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
             "sh", "-euc", ENTER, "enter", self.cluster.root, self.cluster.dir,
             str(USER.pw_uid), str(USER.pw_gid), f"{self.cluster.dir}/howdah-warden",
             "--socket", self.socket, "--data-dir", self.data],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            start_new_session=True))
        log.close()
        wait_for(f"the warden of {self.name} listens", self.warden_listens, 20)

    def warden_listens(self):
        assert self.wardens[-1].poll() is None, \
            f"the warden of {self.name} ended: {self.warden_log()[-2000:]}"
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(self.socket)
            return True
        except OSError:
            return False

    def start(self):
        if not self.warden_pid():
            self.start_warden()
        return super().start()

    def postmaster_pid(self):
        """The file has its number in there."""
        try:
            with open(f"{self.data}/postmaster.pid") as f:
                inside = f.readline().strip()
            return next((p for p in self.postgres_pids() if pid_inside(p) == inside), None)
        except OSError:
            return None

    def kill_all(self):
        super().kill_all()
        self.wardens[-1].wait()

    def warden_log(self):
        with open(f"{self.home}/warden.log", errors="replace") as f:
            return f.read()


class SidecarCluster(Cluster):
    """Three members whose PostgreSQL is of another major."""

    def __init__(self, major, **kw):
        self.root = ensure_root(major)
        # A standby waits for five seconds before it tries its primary again; that is no news.
        super().__init__(count=0, dcs_parameters={"wal_retrieve_retry_interval": "500ms"}, **kw)
        self.major = major
        self.overrides = {"postgresql": {
            "bin_dir": f"/usr/lib/postgresql/{major}/bin",
            # md5 takes what either default of password_encryption makes.
            "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 md5",
                       "host replication all 127.0.0.1/32 md5"]}}
        self.members = [SidecarMember(self, f"n{i + 1}") for i in range(3)]
        shutil.copy(os.path.join(BIN, "howdah-warden"), self.dir)
        for name, line in (("passwd", f"postgres:x:{USER.pw_uid}:{USER.pw_gid}::/tmp:/bin/sh"),
                           ("group", f"postgres:x:{USER.pw_gid}:")):
            with open(f"{self.dir}/{name}", "w") as f:
                f.write(line + "\n")

    def tell(self):
        super().tell()
        for m in self.members:
            if m.wardens:
                print(f"--- PostgreSQL of {m.name}", *m.warden_log().splitlines()[-30:], sep="\n")

    def stop(self, keep=False):
        super().stop(keep)
        for m in self.members:
            for warden in m.wardens:
                warden.wait(10)
        assert not processes_of(self.dir)
