"""A name server that can fall silent, and a member that asks it and nobody else."""
import random
import socket
import struct
import threading

A, NOT_FOUND = 1, 3


class NameServer:
    """On port 53 of a loopback address of its own. Every known name is 127.0.0.1."""

    def __init__(self, domain):
        self.domain = domain
        self.silent = False
        self.unanswered = []  # names asked for in silence
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:
            self.address = ".".join(["127"] + [str(random.randrange(1, 255)) for _ in range(3)])
            try:
                self.socket.bind((self.address, 53))
                break
            except OSError:
                continue
        threading.Thread(target=self.serve, daemon=True).start()

    @staticmethod
    def question(packet):
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode())
            at += 1 + packet[at]
        return ".".join(labels).lower(), struct.unpack(">H", packet[at + 1:at + 3])[0], at + 5

    def serve(self):
        while True:
            packet, client = self.socket.recvfrom(4096)
            name, kind, end = self.question(packet)
            if self.silent:
                self.unanswered.append(name)
                continue
            known = name.endswith("." + self.domain)
            answers = 1 if known and kind == A else 0
            head = packet[:2] + struct.pack(">HHHHH", 0x8580 | (0 if known else NOT_FOUND), 1, answers, 0, 0)
            answer = b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 1, 4) + socket.inet_aton("127.0.0.1")
            self.socket.sendto(head + packet[12:end] + answer * answers, client)


def ask_only(member, server):
    """The member is started with an /etc/resolv.conf of its own, and knows no names but the server's."""
    files = {"resolv.conf": f"nameserver {server.address}\n", "hosts": "127.0.0.1 localhost\n",
             "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n"}
    for name, text in files.items():
        with open(f"{member.home}/{name}", "w") as f:
            f.write(text)
    mounts = " && ".join(f"mount --bind {member.home}/{name} /etc/{name}" for name in files)
    member.outside = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                      f'{mounts} && exec "$@"', "sh"]
