"""What the code of http.client itself costs: one library, asked by a line.

Usage: cost.py LIB

LIB is the folder that http.client is imported from.  Each line on standard
input is a JSON object, "method" (of Library) and its arguments, and one on
standard output is what that returned.

Time is process_time() over a socket pair, with the peer in this process, so
that it has no server and no network in it.  What the sockets alone take is
measured in the same way, for bench/parts.py to subtract.  Bodies that the
sockets cannot hold come from another process.
"""

import contextlib
import gc
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
import tracemalloc
from typing import Callable, NamedTuple

LARGE_SIZE = 20 << 20
CHUNK_SIZE = 8 << 10
READ_SIZE = 1000
BUFFER_SIZE = 128 << 10
POSTED = bytes(range(32, 132))
FIELDS = b"""\
Server: nginx/1.22.1
Date: Sat, 28 Nov 2026 00:51:25 GMT
Content-Type: text/plain
Last-Modified: Sat, 28 Nov 2026 00:51:20 GMT
Connection: keep-alive
ETag: "6a0-400"
Accept-Ranges: bytes
""".replace(b"\n", b"\r\n")
IMPORT = """\
import sys, time
sys.path.insert(0, sys.argv[1])
start = time.process_time()
import http.client
print(time.process_time() - start)
"""
# Functions in C that ask the system about a socket, whatever their module.
ASKING = {"poll", "select", "send", "sendall", "recv", "recv_into", "read",
          "write"}
MODULES = {"select", "_socket", "socket", "_ssl", "ssl"}


# What is measured.

def parts_of(body, size):
    return [body[at:at + size] for at in range(0, len(body), size)]


def by_length(body, fields=b""):
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (
        fields, len(body), body)


def in_chunks(body, size):
    return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk)
                       for chunk in parts_of(body, size)) + b"0\r\n\r\n")


def read(response):
    return response.read()


def read_parts(response):
    return list(iter(lambda: response.read(READ_SIZE), b""))


def read_as_urllib3(response):
    """Read chunks below HTTPResponse, as urllib3 does."""
    chunks = []
    while size := int(response.fp.readline().partition(b";")[0], 16):
        chunks.append(response._safe_read(size))
        response._safe_read(2)
    while response.fp.readline() not in (b"\r\n", b"\n", b""):
        pass
    response.close()
    return chunks


class Case(NamedTuple):
    """A request, timed."""

    label: str
    count: int          # requests in a turn
    response: bytes
    received: object    # what read() has to return
    request: tuple = ("GET", "/item")
    read: Callable = read


def make_cases():
    """Return {name: Case}."""
    # No part of it is like another, and it is the same each time.
    large = random.Random(9740).randbytes(LARGE_SIZE)
    small, kbytes = large[:1024], large[:100_000]
    chunked = in_chunks(large, CHUNK_SIZE)
    post = ("POST", "/item", POSTED, {"Content-Type": "text/plain"})
    return {
        "GET": Case("GET, 8 fields", 1000, by_length(small, FIELDS), small),
        "tiny": Case("GET, 1 field", 1000, by_length(small), small),
        "POST": Case("POST of 100 bytes", 1000, by_length(small, FIELDS),
                     small, post),
        "chunk": Case("200 bytes in 1 chunk", 1000,
                      in_chunks(small[:200], 200), small[:200]),
        "reads": Case("100 kB in reads of 1 kB", 200, by_length(kbytes),
                      parts_of(kbytes, READ_SIZE), read=read_parts),
        "length": Case("20 MiB by length, sockets", 1, by_length(large),
                       large),
        "chunks": Case("20 MiB, 8 KiB chunks", 1, chunked, large),
        "fp": Case("20 MiB, 8 KiB chunks, fp", 1, chunked,
                   parts_of(large, CHUNK_SIZE), read=read_as_urllib3),
    }


class Link:
    """A connection of which this process has both ends.

    Of a large response, another process has the peer's.
    """

    def __init__(self, case):
        self.case = case
        self.sent = b"GET"
        self.sock, self.peer = socket.socketpair()
        if len(case.response) > LARGE_SIZE:
            self._give_away()

    def _give_away(self):
        if os.fork() == 0:
            self.sock.close()
            with contextlib.suppress(ConnectionError):
                while self.peer.recv(65536):
                    self.peer.sendall(self.case.response)
            os._exit(0)
        self.peer.close()
        self.peer = None

    def turn(self, conn, count):
        """Return the seconds that *count* requests take."""
        case, peer, taken = self.case, self.peer, 0
        for _ in range(count):
            start = time.process_time()
            conn.request(*case.request)
            if peer is not None:
                peer.send(case.response)
            received = case.read(conn.getresponse())
            if peer is not None:
                self.sent = peer.recv(65536)
            taken += time.process_time() - start
            if received != case.received:
                sys.exit(f"{case.label}: not the body that was sent")
            del received
        return taken

    def bare_turn(self, count):
        """Return the seconds that its sockets alone take."""
        sock, peer, response = self.sock, self.peer, self.case.response
        buffer, taken = bytearray(BUFFER_SIZE), 0
        for _ in range(count):
            start = time.process_time()
            sock.sendall(self.sent)
            if peer is not None:
                peer.send(response)
            left = len(response)
            while left:
                left -= sock.recv_into(buffer)
            if peer is not None:
                peer.recv(65536)
            taken += time.process_time() - start
        return taken


class Library:
    """Answers the questions of the parent about one library."""

    def __init__(self, path):
        self.path = path
        # On one processor with the process that sends large bodies: where
        # that runs would decide what it costs to receive them.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        self.cases = make_cases()
        # Forks while this process is small.
        self.links = {name: Link(case) for name, case in self.cases.items()}
        sys.path.insert(0, path)
        import http.client
        if not http.client.__file__.startswith(path):
            sys.exit(f"{path} has no http.client")
        self.connection = http.client.HTTPConnection
        self.conns = {name: self.connect(link.sock)
                      for name, link in self.links.items()}

    def describe(self):
        """Return {name: (label, requests in a turn)}."""
        return {name: (case.label, case.count)
                for name, case in self.cases.items()}

    def connect(self, sock):
        conn = self.connection("127.0.0.1", 8080)
        conn.sock = sock
        conn.auto_open = 0      # nothing else is to be measured
        return conn

    def cost(self, name, count):
        """Return the µs of a request, and of its sockets alone."""
        gc.collect()
        taken = self.links[name].turn(self.conns[name], count)
        self.see_kept(name)
        gc.collect()
        bare = self.links[name].bare_turn(count)
        return [taken / count * 1e6, bare / count * 1e6]

    def see_kept(self, name):
        if self.conns[name].sock is not self.links[name].sock:
            sys.exit(f"{name}: the connection was not kept")

    def phases(self, name, count):
        """Return the µs of request(), getresponse(), read() and the end."""
        conn, link, times = self.conns[name], self.links[name], []
        clock = time.perf_counter_ns
        for _ in range(count):
            start = clock()
            conn.request(*link.case.request)
            sent = clock()
            link.peer.send(link.case.response)
            answered = clock()
            response = conn.getresponse()
            begun = clock()
            response.read()
            read = clock()
            del response
            end = clock()
            link.peer.recv(65536)
            times.append((sent - start, begun - answered, read - begun,
                          end - read))
        return [statistics.median(phase) / 1000 for phase in zip(*times)]

    def calls(self, name, count):
        """Return how often a request on a kept connection asks the system."""
        calls = count_calls(self.links[name].turn, self.conns[name], count)
        self.see_kept(name)
        return calls / count - 2    # those of the peer

    def calls_if_new(self, name, count):
        """Return how often it does if request() has opened the connection."""
        calls, case = 0, self.cases[name]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for _ in range(count):
                conn = self.connection(*listener.getsockname())
                calls += count_calls(conn.request, *case.request)
                peer, _ = listener.accept()
                with peer, contextlib.closing(conn):
                    peer.recv(65536)
                    peer.sendall(case.response)
                    calls += count_calls(
                        lambda: case.read(conn.getresponse()))
        return calls / count

    def memory(self, name, count):
        """Return the bytes that an idle connection keeps, as Python counts."""
        links = [Link(self.cases[name]) for _ in range(count)]
        conns = [self.connect(link.sock) for link in links]
        tracemalloc.start()
        for conn, link in zip(conns, links):
            link.turn(conn, 1)
            link.sent = b""
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        if not all(conn.sock for conn in conns):
            sys.exit("a connection was not kept")
        return taken / count

    def import_time(self):
        """Return the µs that another process takes to import it."""
        done = subprocess.run(
            [sys.executable, "-E", "-s", "-X",
             f"pycache_prefix={sys.pycache_prefix}", "-c", IMPORT, self.path],
            capture_output=True, check=True)
        return float(done.stdout) * 1e6


def count_calls(function, *args):
    """Return how many system calls about sockets it makes."""
    calls = []

    def note(frame, event, called):
        if (event == "c_call" and called.__name__ in ASKING
                and type(called.__self__).__module__ in MODULES):
            calls.append(called)
    sys.setprofile(note)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
    return len(calls)


def main(path):
    library = Library(path)
    for line in sys.stdin:
        command = json.loads(line)
        method = getattr(library, command.pop("method"))
        print(json.dumps(method(**command)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
