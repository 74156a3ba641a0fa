"""A faulty store: an HTTP proxy before etcd that can lose replies, hang, dawdle and lie: by path, by what
is in the body, or by the kind of the request."""
import base64
import json
import re
import socket
import threading
import time

from cluster import free_port


def text_of(coded):
    return base64.b64decode(coded or "").decode(errors="replace")


def last_part(key):
    """The key below /service/SCOPE/; every member's is "members"."""
    return text_of(key).split("/", 3)[-1].split("/")[0]


def kind_of(path, body):
    """What the agent does with it: acquire, renew, status, release, grant, keepalive, or the key it writes."""
    if path.startswith("/v3/lease/"):
        return path.rsplit("/", 1)[1]
    if path not in ("/v3/kv/put", "/v3/kv/txn"):
        return path
    request = json.loads(body)
    if path == "/v3/kv/put":
        return last_part(request["key"])
    done = request["success"]
    puts = {last_part(o["request_put"]["key"]): text_of(o["request_put"].get("value"))
            for o in done if "request_put" in o}
    deleted = [last_part(o["request_delete_range"]["key"]) for o in done if "request_delete_range" in o]
    if "leader" in deleted:
        return "release"
    if "leader" in puts:
        return "create" if "initialize" in puts else "acquire"
    if any(c["target"] == "LEASE" for c in request["compare"]):
        return "status" if "status" in puts else "renew"
    return "+".join(sorted(puts) or deleted)


class FaultProxy:
    """mode: pass | lose (applied, connection closed without a reply) | mute (applied, and then silence) |
    hang (not applied, silence) | slow | garbage | refuse."""

    def __init__(self, etcd, index=0):
        self.target = (etcd.host, etcd.ports[index][0])
        self.port = free_port()
        self.rules = []  # (regex of the path, of the body, of the kind; mode, seconds, [times left])
        self.lock = threading.Lock()
        self.hits = 0
        self.struck = {}  # how often which kind of request met a fault
        self.answered = {}  # and how often one was answered in full
        self.closing = False
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def hosts(self):
        return [f"127.0.0.1:{self.port}"]

    def fault(self, mode, path="", seconds=0.0, times=1 << 30, body="", kind=".*"):
        """Until heal(), or for that many requests; the kind must match as a whole."""
        with self.lock:
            self.rules = [(re.compile(path), re.compile(body), re.compile(kind), mode, seconds,
                           [times])] + self.rules

    def heal(self):
        with self.lock:
            self.rules = []

    def stop(self):
        self.closing = True
        self.listener.close()

    def accept(self):
        while not self.closing:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def rule_for(self, path, body, kind):
        with self.lock:
            for in_path, in_body, in_kind, mode, seconds, left in self.rules:
                if left[0] > 0 and in_path.search(path) and in_body.search(body) and in_kind.fullmatch(kind):
                    left[0] -= 1
                    self.hits += 1
                    self.struck[kind] = self.struck.get(kind, 0) + 1
                    return mode, seconds
        return "pass", 0

    @staticmethod
    def read_request(conn):
        data = b""
        while b"\r\n\r\n" not in data:
            more = conn.recv(65536)
            if not more:
                return None
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        length = re.search(rb"content-length: *(\d+)", head, re.I)
        want = int(length[1]) if length else 0
        if re.search(rb"expect: *100-continue", head, re.I):
            conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(body) < want:
            more = conn.recv(65536)
            if not more:
                return None
            body += more
        return head, body

    def serve(self, conn):
        try:
            request = self.read_request(conn)
            if not request:
                return
            head, body = request
            path = head.split(b" ", 2)[1].decode()
            text = body.decode(errors="replace")
            kind = kind_of(path, text)
            mode, seconds = self.rule_for(path, text, kind)
            if mode == "refuse":
                return
            if mode == "hang":
                time.sleep(seconds or 60)
                return
            if mode == "garbage":
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             b"Connection: close\r\nContent-Length: 14\r\n\r\n{\"header\": \x00[[]")
                return
            if mode == "slow":
                time.sleep(seconds)
            up = socket.create_connection(self.target, 3)
            head = re.sub(rb"\r\n(connection|expect):[^\r]*", b"", head, flags=re.I)
            up.sendall(head + b"\r\nConnection: close\r\n\r\n" + body)
            try:
                while True:
                    more = up.recv(65536)
                    if not more:
                        break
                    if mode not in ("lose", "mute"):
                        conn.sendall(more)
                if mode == "mute":
                    time.sleep(seconds or 60)
                elif mode == "pass":
                    with self.lock:
                        self.answered[kind] = self.answered.get(kind, 0) + 1
            finally:
                up.close()
        except OSError:
            pass
        finally:
            conn.close()
