"""The server that the clients are measured against: fixed answers, threads.

Usage: server.py CERTIFICATE DELAY ...

It prints {"plain": {DELAY: port, ...}, "TLS 1.3": {DELAY: port, ...}}, DELAY
being the round trip in milliseconds, and ends when its standard input does.
What it receives and is wrong gets the status 400.  /accepted tells how many
connections it has accepted.

A round trip is simulated on this side.  Each answer is held back for one from
when its request has arrived, so that requests sent ahead share it.  After a
connection was made, the server waits for one, since connect() does not, and
with TLS 1.3 for one more.
"""

import collections
import contextlib
import json
import re
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
    b"/small": by_length(BODY, FIELDS),
    b"/RPC2": by_length(RESULT, b"Content-Type: text/xml\r\n"),
    b"/3-hops": REDIRECT % b"/2-hops", b"/2-hops": REDIRECT % b"/1-hop",
    b"/1-hop": REDIRECT % b"/small",
    **{b"/%d-fields" % number: by_length(BODY, b"".join(
        b"X-Field-%d: the value of a field\r\n" % index
        for index in range(1, number))) for number in range(1, 100)}}
CALL = xmlrpc.client.dumps(CALLED, "call").encode().strip()
accepted = []       # one for each connection
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


def listen(context, delay):
    """Serve on a new port, with TLS if there is a context; return it."""
    listener = socket.create_server((HOST, 0), backlog=512)
    threading.Thread(target=accept, args=(listener, context, delay),
                     daemon=True).start()
    return listener.getsockname()[1]


def accept(listener, *args):
    while True:
        sock, _ = listener.accept()
        accepted.append(None)
        threading.Thread(target=serve, args=(sock, *args),
                         daemon=True).start()


def serve(sock, context, delay):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if delay:
        time.sleep(delay if context is None else 2 * delay)
    with contextlib.suppress(OSError):      # the client was ended
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        with sock:
            talk(sock, delay)


def talk(sock, delay):
    rest, due = b"", collections.deque()    # of (when, answers)
    while True:
        if due and not is_readable(sock, due[0][0]):
            sock.sendall(due.popleft()[1])
            continue
        data = sock.recv(65536)
        if not data:
            return
        requests, rest = parse(rest + data)
        answers = b"".join([answer(*each) for each in requests])
        if delay and answers:
            due.append((time.monotonic() + delay, answers))
        else:
            sock.sendall(answers)


def answer(method, target, body):
    if target == b"/accepted":
        return by_length(b"%d" % len(accepted))
    is_right = (method == b"POST" and body.strip() == CALL
                if target == b"/RPC2" else method == b"GET" and not body)
    return ANSWERS.get(target, REFUSAL) if is_right else REFUSAL


def is_readable(sock, until):
    """Wait for data *until* then; return whether there is some."""
    # poll() would round the delay to whole milliseconds.
    return (isinstance(sock, ssl.SSLSocket) and sock.pending()
            or select.select([sock], [], [],
                             max(0, until - time.monotonic()))[0])


def main(certificate, *delays):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate)
    print(json.dumps({way: {delay: listen(tls, int(delay) / 1000)
                            for delay in delays}
                      for way, tls in (("plain", None),
                                       ("TLS 1.3", context))}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
