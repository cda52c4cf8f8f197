"""The server that the benchmarks talk to: sockets, threads, fixed answers.

Usage: server.py CERTIFICATE RSA_CHAIN

It prints its ports as a JSON object, {"plain": ..., "tls": ..., "rsa": ...,
"xmlrpc": ..., "far": ..., "far_tls": ...}, and ends when its standard input
does.  What it receives is checked.

The last two are as if there were a round trip of ROUND_TRIP to them.  This
side waits for one before each answer, for one after a connection was made,
since connect() does not, and with TLS 1.3 for one more.
"""

import json
import re
import resource
import socket
import ssl
import socketserver
import sys
import threading
import time
import xmlrpc.client
import xmlrpc.server

HOST = "127.0.0.1"
BODY = b"Hello, world!"

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

REDIRECT_HEAD = b"""\
HTTP/1.1 302 Found
Server: nginx/1.26.3
Date: Fri, 20 Nov 2026 10:39:00 GMT
Content-Type: text/html
Content-Length: 145
Location: %b
Connection: keep-alive

""".replace(b"\n", b"\r\n")
HOPS = 3
ROUND_TRIP = 0.02   # seconds

# What a record of logging.handlers.HTTPHandler looks like, and a call.
RECORD = re.compile(rb"name=bench&msg=record\+").match
CALLED = ("argument", 1)
CALL = xmlrpc.client.dumps(CALLED, "call").encode()
RESULT = xmlrpc.client.dumps((BODY.decode(),), methodresponse=True).encode()

_content_length = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.I).search


def _hops():
    """Return the answers of a chain of redirects that ends at /small."""
    targets = [b"/hops/%d" % left for left in range(HOPS, 0, -1)]
    return {target: REDIRECT_HEAD % after + b"<p>Found\n".ljust(145, b".")
            for target, after in zip(targets, [*targets[1:], b"/small"])}


def _make_answers():
    return {
        **_hops(),
        b"/RPC2": b"HTTP/1.1 200 OK\r\nServer: raw\r\nContent-Type: text/xml"
                  b"\r\nContent-Length: %d\r\n\r\n%b" % (len(RESULT), RESULT),
        b"/log": b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + BODY,
        b"/small": USUAL_HEAD + BODY,
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


# What a POST for a target has to have; no other target takes one.
EXPECTED = {b"/RPC2": lambda body: body.strip() == CALL.strip(),
            b"/log": RECORD}


def _is_empty(body):
    return not body


class XMLRPCServer(socketserver.ThreadingMixIn,
                   xmlrpc.server.SimpleXMLRPCServer):
    """xmlrpc.server as it is when it keeps connections."""

    daemon_threads = True

    class Handler(xmlrpc.server.SimpleXMLRPCRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

    def __init__(self, accepted):
        super().__init__((HOST, 0), self.Handler, logRequests=False)
        self._accepted = accepted
        self.register_function(self._call, "call")

    @staticmethod
    def _call(*args):
        return BODY.decode() if args == CALLED else repr(args)

    def process_request(self, *args):
        self._accepted()
        super().process_request(*args)


def _make_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate)
    return context


class Server:
    """Answers on its ports: plain, with TLS 1.3, and by xmlrpc.server."""

    def __init__(self, certificate, rsa_chain):
        self._answers = _make_answers()
        self._contexts = {"tls": _make_context(certificate),
                          "rsa": _make_context(rsa_chain)}
        self._lock = threading.Lock()
        self._counts = {b"/accepted": 0, b"/logged": 0}

    def listen(self, context=None, delay=0):
        """Serve on a new port, with TLS if there is a *context*; return it.

        delay: the seconds that a round trip is to take.
        """
        listener = socket.create_server((HOST, 0), backlog=512)
        threading.Thread(target=self._accept, args=(listener, context, delay),
                         daemon=True).start()
        return listener.getsockname()[1]

    def listen_everywhere(self):
        calls = XMLRPCServer(lambda: self._count(b"/accepted"))
        threading.Thread(target=calls.serve_forever, daemon=True).start()
        return {"plain": self.listen(), "xmlrpc": calls.server_address[1],
                "far": self.listen(delay=ROUND_TRIP),
                "far_tls": self.listen(self._contexts["tls"], ROUND_TRIP),
                **{name: self.listen(context)
                   for name, context in self._contexts.items()}}

    def _count(self, what):
        with self._lock:
            self._counts[what] += 1

    def _accept(self, listener, context, delay):
        while True:
            sock, _ = listener.accept()
            self._count(b"/accepted")
            threading.Thread(target=self._serve, args=(sock, context, delay),
                             daemon=True).start()

    def _serve(self, sock, context, delay):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if delay:
            time.sleep(delay if context is None else 2 * delay)
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        with sock:
            try:
                for request in requests(sock):
                    answer = self._answer(*request)
                    if delay:
                        time.sleep(delay)
                    sock.sendall(answer)
            except ConnectionError:     # the client was killed
                pass

    def _answer(self, method, target, body):
        if target in self._counts:
            text = b"%d" % self._counts[target]
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (
                len(text), text)
        is_expected = EXPECTED.get(target) if method == b"POST" else _is_empty
        if is_expected is None or not is_expected(body):
            return REFUSAL
        if target == b"/log":
            self._count(b"/logged")
        return self._answers.get(target, REFUSAL)


def allow_files():
    """Let this process have as many files open as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(*certificates):
    allow_files()
    print(json.dumps(Server(*certificates).listen_everywhere()), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
