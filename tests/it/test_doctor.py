"""`howdahctl doctor` on real servers: a healthy cluster, then one thing wrong at a time."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

from cluster import BIN, Cluster, alive, demote, kill, wait_for


def run(c, config, *more):
    """As the server's user."""
    return subprocess.run([f"{c.bin}/howdahctl", "-c", config, "doctor", *more], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60, preexec_fn=demote, cwd="/")


def look(c, m, config=None):
    """(status, lines), beside the member's agent."""
    began = time.monotonic()
    out = run(c, config or m.config_file, "-f", "json")
    assert "secret" not in out.stdout + out.stderr, out.stdout
    assert time.monotonic() - began < 20, "that took too long"
    assert out.stdout, out.stderr
    return out.returncode, json.loads(out.stdout)


def others(found, verdict="ok"):
    return [line for line in found if line["Status"] != verdict]


def expect_healthy(c, m):
    def fine():
        status, found = look(c, m)
        return status == 0 and not others(found)
    try:
        wait_for("all is ok", fine, 40, every=0.3)
    except AssertionError:
        print(json.dumps(others(look(c, m)[1]), indent=1))
        raise


def expect(c, m, check, text, mend="", verdict="wrong", **how):
    def there():
        status, found = look(c, m, **how)
        hits = [line for line in found if (line["Status"], line["Check"]) == (verdict, check) and
                text in line["Found"]]
        if hits:
            assert mend in hits[0]["Mend"], hits[0]
            assert status == (1 if any(x["Status"] == "wrong" for x in found) else 0)
        return hits
    try:
        return wait_for(f"{check}: {text}", there, 30, every=0.3)[0]
    except AssertionError:
        print(json.dumps(others(look(c, m, **how)[1]), indent=1))
        raise


def test_a_healthy_cluster_with_one_thing_wrong_at_a_time():
    with Cluster(etcd_count=3) as c:
        primary = c.start()
        standby = next(m for m in c.members if m is not primary)
        expect_healthy(c, primary)
        expect_healthy(c, standby)
        assert c.ctl("doctor").rstrip().endswith("0 warn, 0 wrong, 1 skipped")  # as root: not the warden's user
        assert "\tetcd\thealth\t3 of 3 endpoints" in c.ctl("doctor", "-f", "tsv")

        # The data directory, opened to the group.
        os.chmod(primary.data, 0o770)
        line = expect(c, primary, "data directory", "permissions 0770", f"chmod 0700 {primary.data}")
        subprocess.run(line["Mend"].split(), check=True)

        # One endpoint of etcd is gone, then frozen: it is named, and nobody hangs.
        url = c.etcd.client_url(2)
        c.etcd.signal(signal.SIGSTOP, 2)
        expect(c, primary, "endpoints", f"{url}: ", "etcdctl --endpoints " + url)
        c.etcd.signal(signal.SIGCONT, 2)

        # A broken line, and one that keeps replication out.
        hba = f"{primary.data}/pg_hba.conf"
        with open(hba) as f:
            before = f.read()
        with open(hba, "w") as f:
            f.write(before.replace("host replication all 127.0.0.1/32 trust", ""))
        expect(c, primary, "pg_hba", "in for replication as replicator",
               "- host replication replicator 127.0.0.1/32")
        out = run(c, primary.config_file, "-f", "tsv").stdout  # a record a line, whatever it takes to mend it
        assert "refuse:\\n- host" in out and all(line.count("\t") == 4 for line in out.splitlines()), out
        with open(hba, "w") as f:
            f.write(before + "\nhost all all nonsense\n")
        expect(c, primary, "pg_hba", "line ", "howdahctl reload")
        with open(hba, "w") as f:
            f.write(before)

        # Roles, by the printed lines.
        primary.sql("revoke execute on function pg_catalog.pg_ls_dir(text, boolean, boolean) from rewinder")
        line = expect(c, primary, "rewind rights", "may not execute", "GRANT EXECUTE")
        primary.sql(line["Mend"])
        primary.sql("alter role replicator valid until '2000-01-01'")
        primary.sql(expect(c, primary, "roles", "has expired", "VALID UNTIL")["Mend"])

        # Timers and server settings of the cluster.
        c.ctl("edit-config", "--force", "-s", "ttl=6", "-s", "loop_wait=3")
        line = expect(c, primary, "timers", "break loop_wait", "-s ttl=6 -s loop_wait=2 -s retry_timeout=2")
        c.ctl(*line["Mend"].split()[1:])
        c.ctl("edit-config", "--force", "-p", "full_page_writes=off")
        line = expect(c, primary, "durability", "full_page_writes is off", "-p full_page_writes=on demo")
        c.ctl(*line["Mend"].split()[1:])
        primary.sql("alter system set full_page_writes = off")
        primary.sql("select pg_reload_conf()")
        line = expect(c, primary, "durability", "full_page_writes is off", "ALTER SYSTEM RESET full_page_writes")
        for statement in line["Mend"].split(";"):
            primary.sql(statement)
        c.ctl("pause")
        expect(c, primary, "cluster configuration", "paused", "howdahctl resume demo", verdict="warn")
        c.ctl("resume")

        wait_for("everybody streams", c.streaming, 30)
        expect_healthy(c, primary)


def test_processes_that_are_away():
    """A warden and an agent that are stopped: told within seconds, and neither is disturbed by being asked."""
    with Cluster(2) as c:
        primary = c.start()
        standby = next(m for m in c.members if m is not primary)
        epoch = primary.log_text().count("warden")
        for _ in range(3):
            expect(c, primary, "warden", "it answers", verdict="ok")
        assert primary.log_text().count("warden") == epoch, "the agent lost its warden"

        warden = standby.warden_pid()
        os.kill(warden, signal.SIGSTOP)
        try:
            expect(c, standby, "warden", "does not answer", "it is stopped")
        finally:
            os.kill(warden, signal.SIGCONT)
        kill(standby.proc.pid, signal.SIGSTOP)
        try:
            expect(c, standby, "agent", "does not answer at")
        finally:
            kill(standby.proc.pid, signal.SIGCONT)
        # The whole store hangs: what can be said without it is said, and in time.
        c.etcd.signal(signal.SIGSTOP)
        try:
            line = expect(c, primary, "endpoints", c.etcd.client_url() + ": ")
            assert "etcdctl" in line["Mend"]
            status, found = look(c, primary)
            assert status == 1
            assert [x for x in found if x["Check"] == "data directory" and x["Status"] == "ok"]
            assert [x for x in found if x["Topic"] == "members" and x["Status"] == "skipped"]
        finally:
            c.etcd.signal(signal.SIGCONT)
        assert alive(warden)


def test_settings_that_cannot_be_used():
    with Cluster(1) as c:
        m = c.start()
        broken = f"{c.dir}/broken.yml"
        with open(m.config_file) as f:
            doc = json.load(f)
        doc["howdah"] = {"margin_ms": "soon"}
        with open(broken, "w") as f:
            json.dump(doc, f)
        os.chmod(broken, 0o644)
        expect(c, m, "settings", "howdah.margin_ms", "--validate-config", config=broken)
        expect(c, m, "settings", "chmod o=", verdict="warn", config=broken)
        # Nothing that could be looked at.
        for config in (f"{c.dir}/none.yml", None):
            with open(f"{c.dir}/text.yml", "w") as f:
                f.write("- just a list\n")
            out = subprocess.run([f"{c.bin}/howdahctl", "-c", config or f"{c.dir}/text.yml", "doctor"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert out.returncode == 2 and out.stderr.startswith("Error: "), out
        # From a machine where nothing of the member is.
        del doc["howdah"]
        doc["postgresql"]["data_dir"] = "/nonexistent/of/another/machine/data"
        with open(broken, "w") as f:
            json.dump(doc, f)
        status, found = look(c, m, config=broken)
        assert [x for x in found if x["Topic"] == "machine" and x["Status"] == "skipped"], found
        assert [x for x in found if x["Topic"] == "postgres" and x["Status"] == "ok"], found  # the leader's
        assert status == (1 if [x for x in found if x["Status"] == "wrong"] else 0), found


def test_a_store_that_wants_to_know_who_we_are():
    """etcd with users: a wrong password, a user without the right, and no endpoint at all."""
    with Cluster(1) as c:
        m = c.members[0]
        c.etcd.start()
        for user in ("root:rootsecret", "demo:demosecret"):
            c.etcd.ctl("user", "add", user)
        c.etcd.ctl("role", "add", "demo")
        c.etcd.ctl("user", "grant-role", "root", "root", check=False)
        c.etcd.ctl("user", "grant-role", "demo", "demo")
        c.etcd.ctl("auth", "enable")
        for password, text, mend in (("nosecret", "authentication failed", "etcd3.password"),
                                     ("demosecret", "permission denied",
                                      "--prefix=true readwrite /service/demo/")):
            c.overrides = {"etcd3": {"username": "demo", "password": password}}
            m.write_config()
            expect(c, m, "endpoints", text, mend)
        out = c.etcd.ctl("--user", "root:rootsecret", "role", "grant-permission", "demo",
                         "--prefix=true", "readwrite", "/service/demo/")
        assert "updated" in out, out
        expect(c, m, "endpoints", c.etcd.client_url(), verdict="ok")
        c.overrides = {"etcd3": {"cacert": f"{c.dir}/none.pem", "protocol": "https"}}
        m.write_config()
        expect(c, m, "files", "etcd3.cacert: ", "let the agent's user read it")


def test_an_api_server_that_does_not_answer():
    """It takes connections and says nothing: told once, within seconds, and what hangs on it is skipped."""
    with tempfile.TemporaryDirectory() as d, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        with open(f"{d}/config", "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "a",
                       "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                       "clusters": [{"name": "a", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
                       "users": [{"name": "a", "user": {"token": "a-secret-token"}}]}, f)
        with open(f"{d}/ctl.yml", "w") as f:
            json.dump({"scope": "demo", "kubernetes": {"store": "leases", "labels": {"application": "howdah"}}}, f)
        began = time.monotonic()
        out = subprocess.run([os.path.join(BIN, "howdahctl"), "-c", f"{d}/ctl.yml", "doctor"],
                             env={"KUBECONFIG": f"{d}/config"}, stdout=subprocess.PIPE, text=True, timeout=60)
        took = time.monotonic() - began
    assert out.returncode == 1 and took < 20, (took, out.stdout)
    assert out.stdout.count("wrong    api: " + url) == 1, out.stdout
    assert "skipped  kubernetes: the API server does not answer" in out.stdout, out.stdout
    assert "a-secret-token" not in out.stdout
