"""The server that the clients are measured against: fixed answers, threads.

Usage: server.py CERTIFICATE

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
import sys
import threading
import time
import xmlrpc.client

HOST = "127.0.0.1"
DELAYS = (0, 1, 10, 50)     # milliseconds
BODY = b"Hello, world!"
HOPS = 3

# What servers, and what stands before them, send with a small answer.
FIELDS = b"""\
Server: nginx/1.26.3
Date: Fri, 20 Nov 2026 10:39:00 GMT
Content-Type: text/plain; charset=utf-8
Connection: keep-alive
Vary: Accept-Encoding
Cache-Control: max-age=0, private, must-revalidate
ETag: W/"d-lDpwLQbzRZmu4fjajvn3KWAx1pk"
""".replace(b"\n", b"\r\n")

# What a record of logging.handlers.HTTPHandler looks like, and a call.
RECORD = re.compile(rb"name=bench&msg=record\+").match
CALLED = ("argument", 1)
CALL = xmlrpc.client.dumps(CALLED, "call").encode()
RESULT = xmlrpc.client.dumps((BODY.decode(),), methodresponse=True).encode()
EXPECTED = {b"/RPC2": lambda body: body.strip() == CALL.strip(),
            b"/log": RECORD}

_content_length = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.I).search


def make_answer(body, fields=b"", status=b"200 OK"):
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status, fields, len(body), body)


def make_answers():
    """Return {target: answer}."""
    answers = {b"/small": make_answer(BODY, FIELDS), b"/log": make_answer(BODY),
               b"/RPC2": make_answer(RESULT, b"Content-Type: text/xml\r\n")}
    for hop in range(HOPS):
        location = b"/hops/%d" % (hop + 1) if hop < HOPS - 1 else b"/small"
        answers[b"/hops/%d" % hop] = make_answer(
            b"<p>Found", b"Location: %b\r\n" % location, b"302 Found")
    for number in range(1, 100):
        answers[b"/fields/%d" % number] = make_answer(
            BODY, b"".join(b"X-Field-%d: the value of a field\r\n" % index
                           for index in range(1, number)))
    return answers


ANSWERS = make_answers()
REFUSAL = make_answer(b"", status=b"400 Bad Request")


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

    def __init__(self, certificate):
        import ssl
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate)
        self._contexts = {"plain": None, "TLS 1.3": context}
        self._lock = threading.Lock()
        self._counts = {"accepted": 0, "refused": 0}

    def listen_everywhere(self):
        return {way: {delay: self._listen(context, delay / 1000)
                      for delay in DELAYS}
                for way, context in self._contexts.items()}

    def _listen(self, context, delay):
        listener = socket.create_server((HOST, 0), backlog=512)
        threading.Thread(target=self._accept, args=(listener, context, delay),
                         daemon=True).start()
        return listener.getsockname()[1]

    def _accept(self, listener, context, delay):
        while True:
            sock, _ = listener.accept()
            self._count("accepted")
            threading.Thread(target=self._serve, args=(sock, context, delay),
                             daemon=True).start()

    def _serve(self, sock, context, delay):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if delay:
            time.sleep(delay if context is None else 2 * delay)
        try:
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            with sock:
                self._talk(sock, delay)
        except OSError:     # the client was ended
            pass

    def _talk(self, sock, delay):
        rest, due = b"", collections.deque()    # of (when, answers)
        while True:
            if due and not _is_readable(sock, due[0][0]):
                sock.sendall(due.popleft()[1])
                continue
            data = sock.recv(65536)
            if not data:
                return
            requests, rest = parse(rest + data)
            answers = b"".join([self._answer(*each) for each in requests])
            if delay and answers:
                due.append((time.monotonic() + delay, answers))
            else:
                sock.sendall(answers)

    def _answer(self, method, target, body):
        if target == b"/counts":
            return make_answer(json.dumps(self._counts).encode())
        expected = EXPECTED.get(target) if method == b"POST" else _is_empty
        if expected is None or not expected(body) or target not in ANSWERS:
            self._count("refused")
            return REFUSAL
        return ANSWERS[target]

    def _count(self, what):
        with self._lock:
            self._counts[what] += 1


def _is_empty(body):
    return not body


def _is_readable(sock, until):
    """Wait for data *until* then; return whether there is some."""
    if hasattr(sock, "pending") and sock.pending():     # TLS
        return True
    # poll() would round the delay to whole milliseconds.
    return bool(select.select([sock], [], [],
                              max(0, until - time.monotonic()))[0])


def allow_files():
    """Let this process have as many files open as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(certificate):
    allow_files()
    print(json.dumps(Server(certificate).listen_everywhere()), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
