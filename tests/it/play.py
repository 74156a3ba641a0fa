"""./dev up and ./dev down: a three-member cluster to play with, on fixed ports where they are free."""
import json
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cluster as c  # noqa: E402


def down(lab):
    for pid in c.processes_of(lab):
        if "howdah " in c.cmdline(pid) or cmd_is(pid, "howdah"):
            c.kill(pid)  # first the agents, so that nobody starts anything again
    end = time.monotonic() + 15
    while (left := c.processes_of(lab)) and time.monotonic() < end:
        for pid in left:
            c.kill(pid, signal.SIGCONT)
            c.kill(pid)
        time.sleep(0.05)
    shutil.rmtree(lab, ignore_errors=True)


def cmd_is(pid, name):
    return os.path.basename(c.cmdline(pid).split(" ")[0]) == name


def port_or(port):
    import socket
    with socket.socket() as s:
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
            return port
        except OSError:
            return c.free_port()


def up(lab):
    down(lab)
    os.makedirs(lab)
    cl = c.Cluster(timers={"ttl": 30, "loop_wait": 10, "retry_timeout": 10})
    shutil.rmtree(cl.dir)
    cl.dir = lab
    cl.bin = c.take_programs(lab)
    os.chown(lab, c.USER.pw_uid, c.USER.pw_gid)
    cl.etcd.dir = lab
    cl.etcd.ports = [(port_or(23790), port_or(23800))]
    cl.members = [c.Member(cl, f"n{i}") for i in (1, 2, 3)]
    for i, m in enumerate(cl.members, 1):
        m.pg_port, m.rest_port = port_or(15430 + i), port_or(18000 + i)
    cl.etcd.start()
    began = time.monotonic()
    for m in cl.members:
        m.start()
    primary = cl.wait_streaming(timeout=90)
    took = time.monotonic() - began
    with open(f"{lab}/howdahctl.yml", "w") as f:
        json.dump({"scope": cl.scope, "etcd3": {"hosts": cl.etcd.hosts()}}, f)
    print(cl.ctl("list"), end="")
    print(f"""
Three members streaming {took:.1f} s after the first agent's start. All of it is in {lab}.

  connect:      psql -h 127.0.0.1 -p {primary.pg_port} -U postgres     (primary {primary.name}; no password from here)
  look:         ./dev ctl list            ./dev ctl topology demo       ./dev ctl explain
                curl -s http://127.0.0.1:{primary.rest_port}/patroni
  switch over:  ./dev ctl switchover demo --force
  break it:     kill -9 $(head -1 {primary.data}/postmaster.pid)       PostgreSQL of {primary.name}
                kill -9 {primary.proc.pid}                              its agent: PostgreSQL runs on
                kill -STOP {primary.proc.pid}                           its agent, frozen: fenced before the lease ends
  start again:  setpriv --reuid=postgres --regid=postgres --init-groups {cl.bin}/howdah {primary.config_file} &
  stop:         ./dev down""")


if __name__ == "__main__":
    {"up": up, "down": down}[sys.argv[1]](sys.argv[2])
