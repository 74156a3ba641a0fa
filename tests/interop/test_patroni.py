"""Debian's Patroni against our cluster: its command line, its agents beside ours, over and back."""
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "it"))
from checker import Checker  # noqa: E402
from cluster import Cluster, Member, wait_for  # noqa: E402

FORKY = os.path.join(os.environ.get("HOWDAH_LAB", "/var/cache/howdah-lab"), "forky")


def patronictl(c, *args, root=None):
    """3.0.2 of this machine, or 4.1 in its chroot."""
    config = f"{c.dir}/patronictl.yml"
    with open(config, "w") as f:
        json.dump({"scope": c.scope, "etcd3": {"hosts": c.etcd.hosts()}}, f)
    command = ["patronictl", "-c", config, *args]
    if root:
        inside = f"{root}/root/patronictl-{os.getpid()}.yml"
        with open(config) as f, open(inside, "w") as g:
            g.write(f.read())
        command = ["chroot", root, "patronictl", "-c", "/root/" + os.path.basename(inside), *args]
    try:
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             timeout=90, env={**os.environ, "LC_ALL": "C.UTF-8"})
    finally:
        if root:
            os.unlink(inside)
    assert out.returncode == 0, out.stdout
    return out.stdout


def test_patronictl_3_lists_and_switches():
    with Cluster() as c:
        p = c.start()
        theirs = {r["Member"]: (r["Role"], r.get("TL"))
                  for r in json.loads(patronictl(c, "list", "-f", "json"))}
        ours = {r["Member"]: (r["Role"], r.get("TL")) for r in json.loads(c.ctl("list", "-f", "json"))}
        assert theirs == ours, (theirs, ours)
        assert ours[p.name] == ("Leader", 1)
        out = patronictl(c, "switchover", "demo", "--force")
        assert "Successfully switched over" in out, out
        n = c.wait_primary(other_than=p)
        wait_for("all stream", lambda: c.streaming() is n, 30)
        out = patronictl(c, "restart", "demo", n.name, "--force")
        assert f"Success: restart on member {n.name}" in out, out
        patronictl(c, "edit-config", "demo", "--force", "-s", "maximum_lag_on_failover=2097152")
        assert json.loads(c.key("config"))["maximum_lag_on_failover"] == 2097152


def ensure_forky():
    if not os.path.exists(f"{FORKY}/usr/bin/patronictl"):
        # The byte-for-byte script makes it.
        subprocess.run([os.path.join(os.path.dirname(__file__), "patronictl_list.sh")], check=False,
                       stdout=subprocess.DEVNULL)
    assert os.path.exists(f"{FORKY}/usr/bin/patronictl"), "no chroot of Debian forky could be made"


def blank_positions(text):
    return re.sub(r"[0-9A-F]+/[0-9A-F]+", "LSN", text)


def test_patronictl_4_prints_the_same_list():
    ensure_forky()
    with Cluster() as c:
        p = c.start()
        time.sleep(2)  # positions of the bootstrap settle; they are blanked below all the same
        for form in ("pretty", "tsv", "json", "yaml"):
            theirs = blank_positions(patronictl(c, "list", "-f", form, root=FORKY))
            ours = blank_positions(c.ctl("list", "-f", form))
            assert theirs == ours, f"{form}:\n{theirs}\n{ours}"
        out = patronictl(c, "switchover", "demo", "--force", root=FORKY)
        assert "Successfully switched over" in out, out
        n = c.wait_primary(other_than=p)
        wait_for("all stream", lambda: c.streaming() is n, 30)


def patroni_member(m):
    m.program = ["/usr/bin/patroni"]
    m.overrides = {"postgresql": {"parameters": {"restart_after_crash": None}}}


def test_a_patroni_member_joins_ours_and_is_switched_to_and_back():
    slow = {"ttl": 20, "loop_wait": 2, "retry_timeout": 4}
    with Cluster(timers=slow) as c:
        patroni_member(c.members[2])
        c.etcd.start()
        for m in c.members[:2]:
            m.start()
        p = c.wait_primary(60)
        c.members[2].start()
        c.wait_streaming(timeout=90)
        theirs = c.members[2]
        wait_for("theirs is running", lambda: theirs.status().get("state") == "running", 60)
        assert json.loads(p.rest("/why")[1])["fenced"] is False, "a Patroni member has no fence"
        with Checker(c) as k:
            code, text = p.rest("/switchover", "POST", {"leader": p.name, "candidate": theirs.name})
            assert code == 200, text
            wait_for("theirs leads, all stream", lambda: c.streaming() is theirs, 60)
            code, text = theirs.rest("/switchover", "POST", {"leader": theirs.name, "candidate": p.name})
            assert code == 200, text
            wait_for("ours leads, all stream", lambda: c.streaming() is p, 60)
        k.assert_promises()
        k.assert_none_lost(p)


def test_a_running_patroni_cluster_is_taken_over_and_given_back():
    slow = {"ttl": 20, "loop_wait": 2, "retry_timeout": 4}
    with Cluster(timers=slow) as c:
        for m in c.members:
            patroni_member(m)
        p = c.start(timeout=120)
        p.sql("create table t as select generate_series(1, 100) n")
        ours = [os.path.join(c.bin, "howdah")]
        for program in (ours, ["/usr/bin/patroni"]):
            order = [m for m in c.members if m is not c.primary()] + [c.primary()]
            for m in order:
                m.kill_agent(signal.SIGTERM)
                wait_for(f"{m.name}: PostgreSQL is stopped", lambda: not m.postgres_pids(), 60)
                try:
                    m.wait_ended(15)
                except subprocess.TimeoutExpired:  # Patroni 3.0.2 hangs at its end now and then
                    m.kill_agent(signal.SIGKILL)
                    m.wait_ended(15)
                m.program = program
                m.start()
                c.wait_streaming(timeout=90)
        n = c.wait_streaming()
        assert n.sql("select count(*) from t") == [(100,)]
