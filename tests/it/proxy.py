"""A faulty store: an HTTP proxy before etcd that can lose replies, hang, dawdle and lie, by path."""
import re
import socket
import threading
import time

from cluster import free_port


class FaultProxy:
    """mode: pass | lose (applied, reply lost) | hang | slow | garbage | refuse; for paths that match."""

    def __init__(self, etcd, index=0):
        self.target = (etcd.host, etcd.ports[index][0])
        self.port = free_port()
        self.rules = []  # (regex of the path, regex of the body or None, mode, seconds, times)
        self.lock = threading.Lock()
        self.hits = 0
        self.closing = False
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def hosts(self):
        return [f"127.0.0.1:{self.port}"]

    def fault(self, mode, path=".", seconds=0.0, times=1 << 30, body=None):
        with self.lock:
            self.rules = [(re.compile(path), re.compile(body, re.S) if body else None, mode, seconds,
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

    def rule_for(self, path, body):
        with self.lock:
            for pattern, in_body, mode, seconds, left in self.rules:
                if left[0] > 0 and pattern.search(path) and (not in_body or in_body.search(body)):
                    left[0] -= 1
                    self.hits += 1
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
            mode, seconds = self.rule_for(path, body.decode(errors="replace"))
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
                    if mode != "lose":
                        conn.sendall(more)
            finally:
                up.close()
        except OSError:
            pass
        finally:
            conn.close()
