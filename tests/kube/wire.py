"""The warden's protocol (agent/warden/protocol.h) from the agent's side, enough to try a pod without one."""
import os
import socket
import struct
import time

MAGIC, VERSION, SPAWN_POSTMASTER, SPAWN_STDIN = 0x5748, 1, 1, 2
HELLO, FENCE, UNFENCE, SIGNAL, SPAWN = range(1, 6)
STATE, DONE, ERROR, OUTPUT, EXITED, FENCED, TERMINATING, REPLACED = range(64, 72)


def text(value):
    data = value.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        value, = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self):
        size = self.number("I")
        value = self.data[self.at:self.at + size]
        self.at += size + 1
        return value.decode(errors="replace")


class Warden:
    """Attached to the warden whose socket is in the directory, as this user."""

    def __init__(self, directory, uid, name="warden.sock", timeout=20):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.tag, self.output, self.exited, self.terminating = 0, {}, {}, False
        # The path may be longer than a socket's address; and it is asked who connects, not who opened.
        here = os.getcwd()
        os.chdir(directory)
        os.seteuid(uid)
        try:
            self.socket.connect(name)
        finally:
            os.seteuid(0)
            os.chdir(here)
        self.ask(HELLO, struct.pack("<HqQ", VERSION, 0, 0), until=STATE)

    def close(self):
        self.socket.close()

    def _read(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError("the warden hung up")
            data += more
        return data

    def message(self):
        magic, kind, tag, length = struct.unpack("<HHII", self._read(12))
        assert magic == MAGIC
        body = Reader(self._read(length))
        if kind == OUTPUT:
            child = body.text()
            body.number("I")
            self.output[child] = self.output.get(child, "") + body.text()
        elif kind == EXITED:
            child = body.text()
            self.exited[child] = body.number("i")
        elif kind == TERMINATING:
            self.terminating = True
        elif kind == ERROR:
            body.number("H")
            raise AssertionError(body.text())
        return kind, tag

    def ask(self, kind, body, until=DONE):
        self.tag += 1
        self.socket.sendall(struct.pack("<HHII", MAGIC, kind, self.tag, len(body)) + body)
        while self.message() != (until, self.tag):
            pass

    def spawn(self, name, argv, env, stdin=None, postmaster=False):
        flags = (SPAWN_POSTMASTER if postmaster else 0) | (SPAWN_STDIN if stdin else 0)
        words = b"".join(map(text, argv))
        settings = b"".join(text(f"{k}={v}") for k, v in env.items())
        self.ask(SPAWN, struct.pack("<H", flags) + text(name) + text("/") + text(stdin or "") +
                 struct.pack("<H", len(argv)) + words + struct.pack("<H", len(env)) + settings)

    def wait(self, name):
        """(exit code, output) of a child."""
        while name not in self.exited:
            self.message()
        return os.waitstatus_to_exitcode(self.exited[name]), self.output.get(name, "")

    def run(self, name, argv, env, stdin=None):
        self.spawn(name, argv, env, stdin)
        return self.wait(name)

    def fence(self, quit_s, kill_s, ttl_s, note=""):
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.ask(FENCE, struct.pack("<qqq", now + int(quit_s * 1e9), now + int(kill_s * 1e9),
                                    int(ttl_s * 1e3)) + text(note))

    def unfence(self):
        self.ask(UNFENCE, struct.pack("<H", 0) + text(""))

    def signal(self, name, number):
        self.ask(SIGNAL, text(name) + struct.pack("<i", number))

    def wait_terminating(self):
        while not self.terminating:
            self.message()
