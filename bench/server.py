"""The server that the benchmarks talk to: sockets, threads, fixed answers.

Usage: server.py CERTIFICATE

It prints its ports as a JSON object, {"plain": ..., "tls": ...}, and ends
when its standard input does.  What it receives is checked; see ANSWERS for
what it has to give.
"""

import json
import random
import re
import resource
import socket
import ssl
import sys
import threading

HOST = "127.0.0.1"
BODY = b"Hello, world!"
POSTED = bytes(range(32, 132))
LARGE_SIZE = 20 << 20
CHUNK_SIZE = 8 << 10

# What servers and what stands before them send with a small answer.
USUAL_HEAD = b"""\
HTTP/1.1 200 OK
Server: nginx/1.26.3
Date: Fri, 20 Nov 2026 10:39:00 GMT
Content-Type: text/plain; charset=utf-8
Content-Length: 13
Connection: keep-alive
Vary: Accept-Encoding
Cache-Control: max-age=0, private, must-revalidate
ETag: W/"d-lDpwLQbzRZmu4fjajvn3KWAx1pk"

""".replace(b"\n", b"\r\n")

_content_length = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.I).search


def large_body():
    """Return bytes of which no part is like another, the same each time."""
    return random.Random(9740).randbytes(LARGE_SIZE)


def _chunked(body):
    for at in range(0, len(body), CHUNK_SIZE):
        chunk = body[at:at + CHUNK_SIZE]
        yield b"%x\r\n%b\r\n" % (len(chunk), chunk)
    yield b"0\r\n\r\n"


def _make_answers():
    large = large_body()
    return {
        b"/small": USUAL_HEAD + BODY,
        b"/tiny": b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + BODY,
        b"/length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (
            LARGE_SIZE, large),
        b"/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                     + b"".join(_chunked(large)),
    }


REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


def requests(sock):
    """Yield (method, target, body) of each request until the end."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more:
                return
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        length = _content_length(head + b"\r\n")
        length = int(length[1]) if length else 0
        while len(data) < length:
            more = sock.recv(65536)
            if not more:
                return
            data += more
        method, target, _ = head.split(b" ", 2)
        yield method, target, data[:length]
        data = data[length:]


class Server:
    """Answers on two ports, one of them with TLS 1.3."""

    def __init__(self, certificate):
        self._answers = _make_answers()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.load_cert_chain(certificate)
        self._accepted = 0

    def listen(self, context=None):
        """Serve on a new port, with TLS if there is a *context*; return it."""
        listener = socket.create_server((HOST, 0), backlog=512)
        threading.Thread(target=self._accept, args=(listener, context),
                         daemon=True).start()
        return listener.getsockname()[1]

    def listen_both(self):
        return {"plain": self.listen(), "tls": self.listen(self._context)}

    def _accept(self, listener, context):
        while True:
            sock, _ = listener.accept()
            self._accepted += 1
            threading.Thread(target=self._serve, args=(sock, context),
                             daemon=True).start()

    def _serve(self, sock, context):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        with sock:
            try:
                for request in requests(sock):
                    sock.sendall(self._answer(*request))
            except ConnectionError:     # the client was killed
                pass

    def _answer(self, method, target, body):
        if target == b"/accepted":
            text = b"%d" % self._accepted
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (
                len(text), text)
        if body != (POSTED if method == b"POST" else b""):
            return REFUSAL
        return self._answers.get(target, REFUSAL)


def allow_files():
    """Let this process have as many files open as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(certificate):
    allow_files()
    print(json.dumps(Server(certificate).listen_both()), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
