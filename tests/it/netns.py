"""Hosts made of network namespaces on one bridge, with packets dropped by iptables inside them."""
import os
import random
import subprocess


def sh(*args, check=True):
    return subprocess.run(args, check=check, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Net:
    """Host i is 10.77.x.i in a namespace of its own; the bridge is 10.77.x.254, in this one."""

    def __init__(self, count):
        self.tag = f"hw{os.getpid() % 10000}{random.randrange(10)}"
        self.subnet = f"10.77.{random.randrange(1, 250)}"
        self.bridge = f"{self.tag}b"
        self.count = count
        self.names = [f"{self.tag}n{i}" for i in range(1, count + 1)]
        sh("ip", "link", "add", self.bridge, "type", "bridge")
        sh("ip", "addr", "add", f"{self.subnet}.254/24", "dev", self.bridge)
        sh("ip", "link", "set", self.bridge, "up")
        for i, ns in enumerate(self.names, 1):
            sh("ip", "netns", "add", ns)
            sh("ip", "link", "add", f"{ns}v", "type", "veth", "peer", "name", "eth0", "netns", ns)
            sh("ip", "link", "set", f"{ns}v", "master", self.bridge, "up")
            sh("ip", "-n", ns, "addr", "add", f"{self.subnet}.{i}/24", "dev", "eth0")
            sh("ip", "-n", ns, "link", "set", "eth0", "up")
            sh("ip", "-n", ns, "link", "set", "lo", "up")

    def host(self, i):
        return f"{self.subnet}.{i}"

    def cut(self, i, other):
        """No packet between host i and an address, in either direction."""
        ns = self.names[i - 1]
        for chain, flag in (("INPUT", "-s"), ("OUTPUT", "-d")):
            sh("ip", "netns", "exec", ns, "iptables", "-w", "-A", chain, flag, other, "-j", "DROP")

    def heal(self, i):
        sh("ip", "netns", "exec", self.names[i - 1], "iptables", "-w", "-F")

    def stop(self):
        for ns in self.names:
            sh("ip", "netns", "del", ns, check=False)
        for ns in self.names:
            sh("ip", "link", "del", f"{ns}v", check=False)
        sh("ip", "link", "del", self.bridge, check=False)
