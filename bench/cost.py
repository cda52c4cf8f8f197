"""What the code of http.client itself costs, stock and patched.

Usage: cost.py STOCK_LIB PATCHED_LIB [--quick] [--json]

Both library folders run on the interpreter that runs this program, each in a
process of its own.  The processes take turns.  A turn is timed by
process_time(), over a socket pair, so that it has no server and no network
in it; the best one counts.  For large bodies, which another process sends,
the median counts, since how two processes share caches changes from turn to
turn.  What the sockets alone take is measured in the same way and subtracted.
The quartiles are those of the ratios of turns that were taken beside each
other.

The output is a table in Markdown or, with --json, one line with all rows.
"""

import collections
import contextlib
import gc
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
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


# Messages.

def random_bytes(size):
    """Return bytes of which no part is like another, the same each time."""
    return random.Random(9740).randbytes(size)


def by_length(body, fields=b""):
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (
        fields, len(body), body)


def in_chunks(body, size):
    chunks = [body[at:at + size] for at in range(0, len(body), size)]
    return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk)
                       for chunk in chunks) + b"0\r\n\r\n")


# Ways of reading a response.

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
    aim: float          # at most so many times what stock takes
    count: int          # requests in a turn
    response: bytes
    received: object    # what read() has to return
    request: tuple = ("GET", "/item")
    read: Callable = read
    subtracts: bool = True

    @property
    def is_large(self):
        """Whether the socket cannot hold the response."""
        return len(self.response) > LARGE_SIZE


def make_cases():
    """Return {name: Case}."""
    small, kbytes = random_bytes(1024), random_bytes(100_000)
    large = random_bytes(LARGE_SIZE)
    parts, chunks = [
        [body[at:at + size] for at in range(0, len(body), size)]
        for body, size in ((kbytes, READ_SIZE), (large, CHUNK_SIZE))]
    chunked = in_chunks(large, CHUNK_SIZE)
    post = ("POST", "/item", POSTED, {"Content-Type": "text/plain"})
    return {
        "GET": Case("GET, 8 fields", 0.70, 1000,
                    by_length(small, FIELDS), small),
        "tiny": Case("GET, 1 field", 0.90, 1000, by_length(small), small),
        "POST": Case("POST of 100 bytes", 0.80, 1000,
                     by_length(small, FIELDS), small, post),
        "chunk": Case("200 bytes in 1 chunk", 1.05, 1000,
                      in_chunks(small[:200], 200), small[:200]),
        "reads": Case("100 kB in reads of 1 kB", 1.05, 200,
                      by_length(kbytes), parts, read=read_parts),
        # All but a thousandth of its time is that of the sockets.
        "length": Case("20 MiB by length, sockets", 1.00, 1,
                       by_length(large), large, subtracts=False),
        "chunks": Case("20 MiB, 8 KiB chunks", 1.05, 1, chunked, large),
        "fp": Case("20 MiB, 8 KiB chunks, fp", 1.50, 1, chunked,
                   chunks, read=read_as_urllib3),
    }


# The process that has one library.

class Wrong(Exception):
    """A response was not what was sent."""


def check(case, received):
    if received != case.received:
        raise Wrong(f"{case.label}: not the body that was sent")


class Near:
    """A connection of which this process has the other end, too."""

    def __init__(self, case):
        self.case = case
        self.sock, self.peer = socket.socketpair()
        self.sent = b""

    def turn(self, conn, count):
        """Return the seconds that *count* requests take."""
        case, peer = self.case, self.peer
        start = time.process_time()
        for _ in range(count):
            conn.request(*case.request)
            peer.send(case.response)
            received = case.read(conn.getresponse())
            if received != case.received:
                check(case, received)
            self.sent = peer.recv(65536)
        return time.process_time() - start

    def bare_turn(self, count):
        sock, peer, response = self.sock, self.peer, self.case.response
        sent, buffer = self.sent, bytearray(BUFFER_SIZE)
        start = time.process_time()
        for _ in range(count):
            sock.sendall(sent)
            peer.send(response)
            left = len(response)
            while left:
                left -= sock.recv_into(buffer)
            peer.recv(65536)
        return time.process_time() - start


class Far:
    """A connection of which another process has the other end."""

    def __init__(self, case):
        self.case = case
        self.sock, peer = socket.socketpair()
        if os.fork() == 0:
            self.sock.close()
            with contextlib.suppress(ConnectionError):
                while peer.recv(65536):
                    peer.sendall(case.response)
            os._exit(0)
        peer.close()

    def turn(self, conn, count):
        taken = 0
        for _ in range(count):
            start = time.process_time()
            conn.request(*self.case.request)
            received = self.case.read(conn.getresponse())
            taken += time.process_time() - start
            check(self.case, received)
            del received
        return taken

    def bare_turn(self, count):
        buffer = bytearray(BUFFER_SIZE)
        start = time.process_time()
        for _ in range(count):
            self.sock.sendall(b"GET")
            left = len(self.case.response)
            while left:
                left -= self.sock.recv_into(buffer)
        return time.process_time() - start


class Library:
    """Answers the questions of the parent about one library."""

    def __init__(self, path):
        # On one processor with the process that sends large bodies: where
        # that runs would decide what it costs to receive them.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        self.cases = make_cases()
        # Forks while this process is small.
        self.links = {name: (Far if case.is_large else Near)(case)
                      for name, case in self.cases.items()}
        sys.path.insert(0, path)
        import http.client
        if not http.client.__file__.startswith(path):
            sys.exit(f"{path} has no http.client")
        self.connection = http.client.HTTPConnection
        self.conns = {name: self.connect(link.sock)
                      for name, link in self.links.items()}

    def connect(self, sock):
        conn = self.connection("127.0.0.1", 8080)
        conn.sock = sock
        conn.auto_open = 0      # nothing else is to be measured
        return conn

    def cost(self, name, count):
        """Return the seconds that a request takes."""
        gc.collect()
        return self.kept(name, self.links[name].turn, self.conns[name],
                         count) / count

    def kept(self, name, function, *args):
        """Call *function*; exit if the connection is then another one."""
        result = function(*args)
        if self.conns[name].sock is not self.links[name].sock:
            sys.exit(f"{name}: the connection was not kept")
        return result

    def bare(self, name, count):
        """Return the seconds that its sockets alone take."""
        gc.collect()
        return self.links[name].bare_turn(count) / count

    def calls(self, name, count):
        """Return how often a request on a kept connection asks the system."""
        link = self.links[name]
        calls = self.kept(name, count_calls, link.turn, self.conns[name],
                          count)
        return sum(calls.values()) / count - 2      # those of the peer

    def calls_if_new(self, name, count):
        """Return how often it does if request() has opened the connection."""
        calls, case = collections.Counter(), self.cases[name]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for _ in range(count):
                conn = self.connection(*listener.getsockname())
                calls += count_calls(conn.request, *case.request)
                peer, _ = listener.accept()
                with peer, contextlib.closing(conn):
                    peer.recv(65536)
                    peer.sendall(case.response)
                    calls += count_calls(
                        lambda: check(case, case.read(conn.getresponse())))
        return sum(calls.values()) / count

    def memory(self, name, count):
        """Return the bytes that an idle connection keeps in memory."""
        links = [Near(self.cases[name]) for _ in range(count)]
        conns = [self.connect(link.sock) for link in links]
        before = resident()
        for conn, link in zip(conns, links):
            link.turn(conn, 1)
            link.sent = b""
        taken = resident() - before
        if not all(conn.sock for conn in conns):
            sys.exit("a connection was not kept")
        return taken / count


def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


# Functions in C that ask the system about a socket, whatever their module.
ASKING = {"poll", "select", "send", "sendall", "recv", "recv_into", "read",
          "write"}
MODULES = {"select", "_socket", "socket", "_ssl", "ssl"}


def count_calls(function, *args):
    """Return {name: calls} of the system calls about sockets."""
    calls = collections.Counter()

    def note(frame, event, called):
        if (event == "c_call" and called.__name__ in ASKING
                and type(called.__self__).__module__ in MODULES):
            calls[called.__name__] += 1
    sys.setprofile(note)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
    return calls


def answer(path):
    library = Library(path)
    for line in sys.stdin:
        method, *args = json.loads(line)
        try:
            told = getattr(library, method)(*args)
        except Exception as exc:
            told = {"wrong": f"{type(exc).__name__}: {exc}"}
        print(json.dumps(told), flush=True)


# The process that asks.

class Plan(NamedTuple):
    """How much to measure."""

    rounds: int     # with new processes
    turns: int      # of each case in a round
    part: int       # of the requests of a turn: one in so many
    imports: int
    connections: int


FULL = Plan(4, 12, 1, 40, 1000)
QUICK = Plan(1, 2, 10, 3, 300)
LARGE = 4           # times as many turns with large bodies

IMPORT = """\
import sys, time
sys.path.insert(0, sys.argv[1])
start = time.process_time()
import http.client
print(time.process_time() - start)
"""


class Bench:
    """Measures stock and patched beside each other; yields rows."""

    def __init__(self, paths, plan, scratch):
        self.paths = paths
        self.plan = plan
        self.argv = [sys.executable, "-E", "-s", "-X",
                     f"pycache_prefix={scratch}"]

    def rows(self):
        """Yield {"name", "label", "unit", "stock", "patched", ...}."""
        yield from self.costs()
        with self.children() as children:
            for method, label, most in (
                    ("calls", "system calls, kept", 1),
                    ("calls_if_new", "system calls, new", 0)):
                yield self.more(method, label, "", most, *[
                    [child(method, "GET", 20)] for child in children])
        yield self.more("memory", "idle connection", "B", 0,
                        *zip(*[self.memory() for _ in range(3)]),
                        typical=statistics.median)
        yield self.more("import", "import http.client", "µs", 1500,
                        *self.imports())

    @contextlib.contextmanager
    def children(self):
        """Give a function for each library, to ask its process with."""
        processes = [subprocess.Popen(
            [*self.argv, __file__, "--answer", path], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for path in self.paths]
        try:
            yield [Asking(process) for process in processes]
        finally:
            for process in processes:
                process.communicate()

    def costs(self):
        cases = make_cases()
        taken = {name: ([], []) for name in cases}
        bare = {name: [] for name in cases}
        for _ in range(self.plan.rounds):
            with self.children() as children:
                for name, case in cases.items():
                    count = max(1, case.count // self.plan.part)
                    turns = self.plan.turns * (LARGE if case.is_large else 1)
                    self.turns(children, (name, count), turns, taken[name],
                               bare[name])
        for name, case in cases.items():
            yield self.cost(name, case, taken[name], bare[name])

    def turns(self, children, question, turns, taken, bare):
        for child in children:      # to warm up
            child("cost", *question)
        both = list(zip(children, taken))
        for _ in range(turns):
            for child, seconds in both:
                seconds.append(child("cost", *question) * 1e6)
                bare.append(child("bare", *question) * 1e6)
            both.reverse()

    def cost(self, name, case, taken, bare):
        """Return the row of a ratio."""
        typical = statistics.median if case.is_large else min
        sockets = typical(bare)
        less = sockets if case.subtracts else 0
        stock, patched = [[time - less for time in each] for each in taken]
        ratios = [after / before for before, after in zip(stock, patched)]
        low, _, high = statistics.quantiles(ratios, method="inclusive")
        before, after = typical(stock), typical(patched)
        return {"name": name, "label": case.label, "unit": "µs",
                "stock": before, "patched": after, "sockets": sockets,
                "ratio": after / before, "low": low, "high": high,
                "aim": case.aim}

    def more(self, name, label, unit, most, stock, patched, typical=min):
        """Return the row of a difference."""
        stock, patched = typical(stock), typical(patched)
        return {"name": name, "label": label, "unit": unit, "stock": stock,
                "patched": patched, "more": patched - stock, "aim": most}

    def memory(self):
        with self.children() as children:
            return [child("memory", "GET", self.plan.connections)
                    for child in children]

    def imports(self):
        both = [(path, []) for path in self.paths]
        taken = [seconds for _, seconds in both]
        for _ in range(self.plan.imports):
            for path, seconds in both:
                done = subprocess.run([*self.argv, "-c", IMPORT, path],
                                      capture_output=True, check=True)
                seconds.append(float(done.stdout) * 1e6)
            both.reverse()
        return taken


class Asking:
    """A process that answers each line with a line."""

    def __init__(self, process):
        self.process = process

    def __call__(self, *question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        told = json.loads(line) if line else {"wrong": "it has ended"}
        if isinstance(told, dict):
            sys.exit(f"{self.process.args[-1]}, {question}: {told['wrong']}")
        return told


# The table.

def measure(value, unit):
    if unit == "µs":
        return f"{value / 1000:.1f} ms" if value >= 1000 else f"{value:.1f} µs"
    return f"{value:,.0f} {unit}".rstrip()


HEADS = ["http.client alone", "stock", "patched", "ratio, more", "at most"]


def words(row):
    """Return the row as it is printed, below HEADS."""
    stock, patched = [measure(row[side], row["unit"])
                      for side in ("stock", "patched")]
    if "more" in row:
        missed = row["more"] > row["aim"]
        sign = "-" if row["more"] < 0 else "+"
        changed = sign + measure(abs(row["more"]), row["unit"])
        aim = "+" + measure(row["aim"], row["unit"])
    else:
        missed = round(row["ratio"], 2) > row["aim"]
        changed = (f"{row['ratio']:.2f} "
                   f"({row['low']:.2f}–{row['high']:.2f})")
        aim = f"{row['aim']:.2f}"
    return [row["label"], stock, patched, changed,
            f"{aim} OVER" if missed else aim]


def show(words):
    print(f"| {' | '.join(words)} |", flush=True)


def main(stock, patched, *options):
    plan = QUICK if "--quick" in options else FULL
    as_json = "--json" in options
    if not as_json:
        show(HEADS)
        show(["---"] + ["--:"] * (len(HEADS) - 1))
    with tempfile.TemporaryDirectory(prefix="cost-") as scratch:
        paths = [os.path.abspath(path) for path in (stock, patched)]
        rows = Bench(paths, plan, scratch).rows()
        if not as_json:
            for row in rows:
                show(words(row))
            return
        rows = [{**row, "words": words(row)} for row in rows]
    print(json.dumps(rows))


if __name__ == "__main__":
    if sys.argv[1] == "--answer":
        answer(sys.argv[2])
    else:
        main(*sys.argv[1:])
