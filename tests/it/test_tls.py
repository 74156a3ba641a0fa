"""The main scenarios once more with everything locked: etcd with mutual TLS and users, PostgreSQL with
TLS and SCRAM (verify-full), REST over HTTPS with client certificates and a password."""
import os
import signal
import ssl
import subprocess
import time

from checker import Checker
from cluster import USER, Cluster, wait_for


def openssl(*args, cwd):
    subprocess.run(["openssl", *args], check=True, cwd=cwd, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def make_certificates(directory):
    os.makedirs(directory)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt", cwd=directory)
    with open(f"{directory}/ext", "w") as f:
        f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for name, subject in (("server", "/CN=localhost"), ("client", "/O=howdah")):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
                "-keyout", f"{name}.key", "-out", f"{name}.csr", cwd=directory)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", f"{name}.crt", cwd=directory)
    for name in os.listdir(directory):
        os.chown(f"{directory}/{name}", USER.pw_uid, USER.pw_gid)
        os.chmod(f"{directory}/{name}", 0o600)
    os.chmod(directory, 0o755)
    os.chown(directory, USER.pw_uid, USER.pw_gid)


def locked_cluster():
    c = Cluster()
    d = f"{c.dir}/tls"
    make_certificates(d)
    files = {k: f"{d}/{v}" for k, v in (("ca", "ca.crt"), ("cert", "server.crt"), ("key", "server.key"),
                                        ("client_cert", "client.crt"), ("client_key", "client.key"))}
    c.etcd.tls, c.etcd.scheme = files, "https"
    ssl_auth = {"sslmode": "verify-full", "sslrootcert": files["ca"]}
    c.overrides = {
        "etcd3": {"protocol": "https", "cacert": files["ca"], "cert": files["client_cert"],
                  "key": files["client_key"], "username": "howdah", "password": "store-secret"},
        "restapi": {"certfile": files["cert"], "keyfile": files["key"], "cafile": files["ca"],
                    "verify_client": "required",
                    "authentication": {"username": "admin", "password": "rest-secret"}},
        "ctl": {"cacert": files["ca"], "certfile": files["client_cert"], "keyfile": files["client_key"],
                "authentication": {"username": "admin", "password": "rest-secret"}},
        "postgresql": {
            "authentication": {k: dict(ssl_auth) for k in ("superuser", "replication", "rewind")},
            "pg_hba": ["local all all scram-sha-256", "hostssl all all 127.0.0.1/32 scram-sha-256",
                       "hostssl replication all 127.0.0.1/32 scram-sha-256"],
            "parameters": {"ssl": "on", "ssl_cert_file": files["cert"], "ssl_key_file": files["key"],
                           "password_encryption": "scram-sha-256"}},
        "bootstrap": {"initdb": ["data-checksums", {"encoding": "UTF8"}, {"auth": "scram-sha-256"}]}}
    c.pg_args = {"sslmode": "verify-full", "sslrootcert": files["ca"]}
    context = ssl.create_default_context(cafile=files["ca"])
    context.load_cert_chain(files["client_cert"], files["client_key"])
    c.rest_scheme, c.ssl_context, c.rest_user = "https", context, "admin:rest-secret"
    return c


def start_with_users(c):
    c.etcd.start()
    c.etcd.ctl("user", "add", "root:root-secret")
    c.etcd.ctl("user", "grant-role", "root", "root")
    c.etcd.ctl("role", "add", "howdah")
    c.etcd.ctl("role", "grant-permission", "howdah", "--prefix=true", "readwrite", "/service/demo/")
    c.etcd.ctl("user", "add", "howdah:store-secret")
    c.etcd.ctl("user", "grant-role", "howdah", "howdah")
    c.etcd.ctl("auth", "enable")
    c.etcd.tls["user"] = "root:root-secret"
    for m in c.members:
        m.start()
    return c.wait_streaming(timeout=120)


def test_main_scenarios_with_everything_locked():
    with locked_cluster() as c:
        p = start_with_users(c)
        target = next(m for m in c.members if m is not p)
        with Checker(c) as k:
            time.sleep(0.5)
            code, text = p.rest("/switchover", "POST", {"leader": p.name, "candidate": target.name})
            assert code == 200, text
            wait_for("everybody streams", lambda: c.streaming() is target, 30)
            target.kill_all()
            n = c.wait_primary(timeout=40, other_than=target)
            target.start()
            wait_for("it comes back", lambda: c.streaming() is n, 60)
            n.kill_agent()
            n.start()
            wait_for("the agent goes on", lambda: n.rest("/primary")[0] == 200, 10)
            n.kill_agent(signal.SIGSTOP)
            last = c.wait_primary(timeout=40, other_than=n)
            n.kill_agent(signal.SIGCONT)
            wait_for("it follows", lambda: c.streaming() is last, 60)
        k.assert_promises()
        for m in c.members:
            text = m.log_text()
            for secret in ("store-secret", "rest-secret", "super-secret", "repl-secret"):
                assert secret not in text, f"{secret} in the log of {m.name}"
        assert target.name in c.ctl("list")


def test_rest_refuses_without_password_or_certificate():
    with locked_cluster() as c:
        p = start_with_users(c)
        user, c.rest_user = c.rest_user, None
        assert p.rest("/switchover", "POST", {"leader": p.name})[0] == 401
        c.rest_user = "admin:wrong"
        assert p.rest("/restart", "POST", {})[0] == 401
        c.rest_user = user
        bare = ssl.create_default_context(cafile=c.etcd.tls["ca"])
        good, c.ssl_context = c.ssl_context, bare
        assert p.rest("/primary")[0] == 0, "a client without certificate gets no connection"
        c.ssl_context = good
        assert p.rest("/primary")[0] == 200
