"""What the code of http.client itself costs: one library, asked by a line.

Each line on standard input is a JSON object, "method" (of Library) and its
arguments, and one on standard output is what that returned.

Time is process_time() over a socket pair, with the peer in this process: no
server and no network.  What the sockets alone take is measured in the same
way, to be subtracted.  What they cannot hold comes from another process.
"""

import contextlib
import gc
import json
import operator
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from typing import Callable, NamedTuple

LARGE_SIZE, CHUNK_SIZE, READ_SIZE = 20 << 20, 8 << 10, 1000
BUFFER = bytearray(128 << 10)
USUAL = "GET, 8 fields"
PHASES = ("request()", "getresponse()", "read()", "end", "sum")
FIELDS = (b"Server: nginx/1.22.1\r\nDate: Sat, 28 Nov 2026 00:51:25 GMT\r\n"
          b"Content-Type: text/plain\r\nConnection: keep-alive\r\n"
          b"Last-Modified: Sat, 28 Nov 2026 00:51:20 GMT\r\n"
          b'ETag: "6a0-400"\r\nAccept-Ranges: bytes\r\n')
IMPORT = ("import time; start = time.process_time(); import http.client; "
          "print(time.process_time() - start)")
# Functions in C that ask the system about a socket, whatever their module.
ASKING = {"poll", "select", "send", "sendall", "recv", "recv_into", "read",
          "write"}
MODULES = {"select", "_socket", "socket", "_ssl", "ssl"}


def parts_of(body, size):
    return [body[at:at + size] for at in range(0, len(body), size)]


def by_length(body, fields=b""):
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (
        fields, len(body), body)


def in_chunks(body, size):
    return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk)
                       for chunk in parts_of(body, size)) + b"0\r\n\r\n")


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

    count: int          # requests in a turn
    response: bytes
    received: object    # what read() has to return
    request: tuple = ("GET", "/item")
    read: Callable = operator.methodcaller("read")


def make_cases():
    """Return {label: Case}."""
    # No part of it is like another, and it is the same each time.
    large = random.Random(9740).randbytes(LARGE_SIZE)
    small, kbytes = large[:1024], large[:100_000]
    chunked = in_chunks(large, CHUNK_SIZE)
    post = ("POST", "/item", bytes(range(32, 132)),
            {"Content-Type": "text/plain"})
    return {
        USUAL: Case(1000, by_length(small, FIELDS), small),
        "GET, 1 field": Case(1000, by_length(small), small),
        "POST of 100 bytes": Case(1000, by_length(small, FIELDS), small,
                                  post),
        "200 bytes in 1 chunk": Case(1000, in_chunks(small[:200], 200),
                                     small[:200]),
        "100 kB in reads of 1 kB": Case(
            200, by_length(kbytes), parts_of(kbytes, READ_SIZE),
            read=lambda response: list(
                iter(lambda: response.read(READ_SIZE), b""))),
        "20 MiB by length, sockets": Case(1, by_length(large), large),
        "20 MiB, 8 KiB chunks": Case(1, chunked, large),
        "20 MiB, 8 KiB chunks, fp": Case(
            1, chunked, parts_of(large, CHUNK_SIZE), read=read_as_urllib3)}


class Link:
    """A connection of which this process has both ends.

    Of a large response, another process has the peer's.
    """

    def __init__(self, case):
        self.case = case
        self.sent = b"GET"
        self.sock, self.peer = socket.socketpair()
        if len(case.response) > LARGE_SIZE:
            if os.fork() == 0:
                self.sock.close()
                with contextlib.suppress(ConnectionError):
                    while self.peer.recv(65536):
                        self.peer.sendall(case.response)
                os._exit(0)
            self.peer.close()
            self.peer = None

    def turn(self, count, conn=None):
        """Return the seconds that *count* requests take.

        Without *conn*, its sockets do alone what they do with it.
        """
        case, peer, taken = self.case, self.peer, 0
        for _ in range(count):
            start = time.process_time()
            if conn is None:
                self.sock.sendall(self.sent)
            else:
                conn.request(*case.request)
            if peer is not None:
                peer.send(case.response)
            if conn is None:
                left = len(case.response)
                while left:
                    left -= self.sock.recv_into(BUFFER)
            else:
                received = case.read(conn.getresponse())
            if peer is not None:
                self.sent = peer.recv(65536)
            taken += time.process_time() - start
            if conn is not None and received != case.received:
                sys.exit("a body was not the one that was sent")
            received = None
        return taken


class Library:
    """Answers the questions of the parent about one library."""

    def __init__(self):
        # Where the sender of large bodies runs decides what they cost.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        self.cases = make_cases()
        # Forks while this process is small.
        self.links = {label: Link(case) for label, case in self.cases.items()}
        from http.client import HTTPConnection
        self.connection = HTTPConnection
        self.conns = {}
        for label, link in self.links.items():
            self.conns[label] = conn = HTTPConnection("127.0.0.1", 8080)
            conn.sock = link.sock
            conn.auto_open = 0      # nothing else is to be measured

    def describe(self):
        """Return {label: requests in a turn}."""
        return {label: case.count for label, case in self.cases.items()}

    def cost(self, label, count):
        """Return the µs of a request, and of its sockets alone."""
        link, conn = self.links[label], self.conns[label]
        gc.collect()
        taken = link.turn(count, conn)
        if conn.sock is not link.sock:
            sys.exit(f"{label}: the connection was not kept")
        gc.collect()
        return {"taken": taken / count * 1e6,
                "sockets": link.turn(count) / count * 1e6}

    def phases(self, count):
        """Return the µs of the phases of a GET."""
        conn, link, times = self.conns[USUAL], self.links[USUAL], []
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
                          end - read, end - answered + sent - start))
        return {name: statistics.median(phase) / 1000
                for name, phase in zip(PHASES, zip(*times))}

    def calls(self):
        """Return the system calls of the first two GETs of a connection."""
        case, told = self.cases[USUAL], []
        with (socket.create_server(("127.0.0.1", 0)) as listener,
              contextlib.closing(self.connection(*listener.getsockname())
                                 ) as conn):
            for _ in range(2):
                calls = count_calls(conn.request, *case.request)
                if not told:
                    peer, _ = listener.accept()
                peer.recv(65536)
                peer.sendall(case.response)
                told.append(calls + count_calls(
                    lambda: case.read(conn.getresponse())))
            peer.close()
        return {"system calls, new": told[0], "system calls, kept": told[1]}

    def import_time(self):
        """Return the µs that another process takes to import it."""
        done = subprocess.run(
            [sys.executable, "-E", "-s", "-X",
             f"pycache_prefix={sys.pycache_prefix}", "-c", IMPORT],
            capture_output=True, check=True)
        return {"import": float(done.stdout) * 1e6}


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


def main():
    library = Library()
    for line in sys.stdin:
        command = json.loads(line)
        method = getattr(library, command.pop("method"))
        print(json.dumps(method(**command)), flush=True)


if __name__ == "__main__":
    main()
