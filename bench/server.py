"""The server that the clients are measured against: fixed answers, threads.

Usage: server.py CERTIFICATE DELAY ...

It prints {"plain": {DELAY: port, ...}, "TLS 1.3": {DELAY: port, ...}}, DELAY
being the round trip in milliseconds, and ends when its standard input does.
It checks what it receives; what is wrong gets the status 400.  /counts tells
how many connections it has accepted, and how many requests it has refused.

A round trip is simulated on this side.  Each answer is held back for one from
when its request has arrived, so that requests sent ahead share it.  After a
connection was made, the server waits for one, since connect() does not, and
with TLS 1.3 for one more.
"""

import collections
import json
import re
import resource
import select
import socket
import ssl
import sys
import threading
import time
import xmlrpc.client

from cost import FIELDS, by_length

HOST = "127.0.0.1"
BODY = b"Hello, world!"
CALLED = ("argument", 1)
RESULT = xmlrpc.client.dumps((BODY.decode(),), methodresponse=True).encode()
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
REDIRECT = (b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 8\r\n\r\n"
            b"<p>Found")
ANSWERS = {
    b"/small": by_length(BODY, FIELDS), b"/log": by_length(BODY),
    b"/RPC2": by_length(RESULT, b"Content-Type: text/xml\r\n"),
    b"/3-hops": REDIRECT % b"/2-hops", b"/2-hops": REDIRECT % b"/1-hop",
    b"/1-hop": REDIRECT % b"/small",
    **{b"/%d-fields" % number: by_length(BODY, b"".join(
        b"X-Field-%d: the value of a field\r\n" % index
        for index in range(1, number))) for number in range(1, 100)}}
# What has to be POSTed.
EXPECTED = {
    b"/RPC2": xmlrpc.client.dumps(CALLED, "call").encode().strip(),
    b"/log": b"name=bench&msg=record+"}

_content_length = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.I).search


def parse(data):
    """Return ([(method, target, body), ...], the bytes after them)."""
    found = []
    while (end := data.find(b"\r\n\r\n")) >= 0:
        length = _content_length(data, 0, end + 2)
        after = end + 4 + (int(length[1]) if length else 0)
        if len(data) < after:
            break
        method, target, _ = data.split(b" ", 2)
        found.append((method, target, data[end + 4:after]))
        data = data[after:]
    return found, data


class Server:
    """Answers on a port for each way and delay."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {"accepted": 0, "refused": 0}

    def listen(self, context, delay):
        """Serve on a new port, with TLS if there is a context; return it."""
        listener = socket.create_server((HOST, 0), backlog=512)
        threading.Thread(target=self.accept, args=(listener, context, delay),
                         daemon=True).start()
        return listener.getsockname()[1]

    def accept(self, listener, *args):
        while True:
            sock, _ = listener.accept()
            self.count("accepted")
            threading.Thread(target=self.serve, args=(sock, *args),
                             daemon=True).start()

    def serve(self, sock, context, delay):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if delay:
            time.sleep(delay if context is None else 2 * delay)
        try:
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            with sock:
                self.talk(sock, delay)
        except OSError:     # the client was ended
            pass

    def talk(self, sock, delay):
        rest, due = b"", collections.deque()    # of (when, answers)
        while True:
            if due and not is_readable(sock, due[0][0]):
                sock.sendall(due.popleft()[1])
                continue
            data = sock.recv(65536)
            if not data:
                return
            requests, rest = parse(rest + data)
            answers = b"".join([self.answer(*each) for each in requests])
            if delay and answers:
                due.append((time.monotonic() + delay, answers))
            else:
                sock.sendall(answers)

    def answer(self, method, target, body):
        if target == b"/counts":
            return by_length(json.dumps(self.counts).encode())
        expected = EXPECTED.get(target)
        is_right = (method == b"GET" and not body if expected is None
                    else method == b"POST" and body.startswith(expected))
        if not is_right or target not in ANSWERS:
            self.count("refused")
            return REFUSAL
        return ANSWERS[target]

    def count(self, what):
        with self.lock:
            self.counts[what] += 1


def is_readable(sock, until):
    """Wait for data *until* then; return whether there is some."""
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    # poll() would round the delay to whole milliseconds.
    return bool(select.select([sock], [], [],
                              max(0, until - time.monotonic()))[0])


def allow_files():
    """Let this process have as many files open as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(certificate, *delays):
    allow_files()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate)
    server = Server()
    print(json.dumps({way: {
        delay: server.listen(way_context, int(delay) / 1000)
        for delay in delays} for way, way_context in (
            ("plain", None), ("TLS 1.3", context))}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
