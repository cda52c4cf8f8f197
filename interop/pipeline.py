"""Pipeline requests with http.client; see that nobody waits for ever.

    "$(./series python)" interop/pipeline.py

One thread sends 1,000 PUTs of 30 kB over one connection, as many ahead as
--depth tells, to a server that reads one request, answers it with 200 kB, and
only then reads the next.  Whoever only sent would wait for the server to read,
and the server for the client.  Plain and over TLS, these rules must hold:

  - each request arrives as it was sent, each response is that to its request;
  - what is received in advance is never more than 16 MiB, and a block;
  - if that is not enough, PipelineOverflow names the requests without a
    response, and no other; if it is, there is none;
  - nobody waits for ever.

Then one thread, with selectors, sends 40 pipelined GETs over each of 50
connections.  The memory that all this takes is printed.  The system's buffers
are bounded, as they would take most of what is under way.  The exit status is
0 if every rule held.
"""

import argparse
import contextlib
import faulthandler
import hashlib
import http.client
import multiprocessing
import pathlib
import platform
import selectors
import socket
import sys
import threading
import time

try:
    import ssl
except ImportError:
    ssl = None

CERTIFICATE = pathlib.Path(__file__).parents[1] / "demo" / "cert.pem"
HOST = "127.0.0.1"
REQUEST, RESPONSE = 30_000, 200_000     # bytes of their bodies
SMALL = 2_000
BUFFERS = 1 << 17
BOUND = (16 << 20) + (1 << 16)
ENDLESS = 300   # seconds; each half of the run


class Broken(Exception):
    """A rule does not hold."""


def body_of(number, size):
    """Return a body of which no other has a part."""
    block = hashlib.sha256(b"%d" % number).digest()
    return (block * (size // len(block) + 1))[:size]


def bound_buffers(sock):
    for option in socket.SO_SNDBUF, socket.SO_RCVBUF:
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFERS)


# The server, a process.  A target is /number/size of the answer's body.

def serve(listener, context):
    """Serve all connections, one request at a time on each."""
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve_one, args=(sock, context),
                         daemon=True).start()


def serve_one(sock, context):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound_buffers(sock)
    try:
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        with sock, sock.makefile("rb") as reader:
            while line := reader.readline():
                answer(sock, reader, line)
    except OSError:     # the client has given up
        pass


def answer(sock, reader, line):
    _, number, size = line.split()[1].split(b"/")
    length = 0
    while (field := reader.readline()) not in (b"\r\n", b""):
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    good = reader.read(length) == body_of(int(number), length)
    body = body_of(-int(number), int(size))
    sock.sendall(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%b"
                 % (200 if good else 400, len(body), body))


@contextlib.contextmanager
def server(context):
    """Give the port of a server."""
    with socket.create_server((HOST, 0), backlog=512) as listener:
        process = multiprocessing.get_context("fork").Process(
            target=serve, args=(listener, context), daemon=True)
        process.start()
        try:
            yield listener.getsockname()[1]
        finally:
            process.kill()
            process.join()


# The client, one thread.

def connect(port, context, timeout, depth):
    """Return a connection on which requests can be pipelined."""
    if context is None:
        conn = http.client.HTTPConnection(HOST, port, timeout=timeout)
    else:
        conn = http.client.HTTPSConnection(HOST, port, timeout=timeout,
                                           context=context)
    conn.max_pipelined = depth
    conn.connect()
    bound_buffers(conn.sock)
    return conn


def see_response(response, number, size):
    body = response.read()
    if response.status != 200:
        raise Broken(f"request {number} has not arrived as it was sent")
    if body != body_of(-number, size):
        raise Broken(f"response {number} is not what was sent")


def resident():
    """Return how many bytes of memory this process takes."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/self/status").read_text().split("\n"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    return 0


class Run:
    """Requests over one connection, as many as *depth* ahead."""

    def __init__(self, conn, depth, count):
        self.conn = conn
        self.depth = depth
        self.count = count
        self.sent = self.got = 0
        conn.request("GET", "/0/1")     # shows that the connection persists
        see_response(conn.getresponse(), 0, 1)
        self.inbox = self.received = 0
        self.before = self.most = resident()

    def run(self):
        """Return what has become of it."""
        while self.got < self.count:
            try:
                self._send()
            except http.client.PipelineOverflow as exc:
                return self._see_overflow(exc)
            self.got += 1
            see_response(self.conn.getresponse(), self.got, RESPONSE)
        return "every body right"

    def _send(self):
        while self.sent < min(self.count, self.got + self.depth):
            self.sent += 1
            try:
                self.conn.request("PUT", f"/{self.sent}/{RESPONSE}",
                                  body_of(self.sent, REQUEST))
            finally:
                self._see_memory()

    def _see_memory(self):
        channel = self.conn._HTTPConnection__channel
        if channel is not None:     # what nobody else can know
            self.received = max(self.received, len(channel.received))
        self.most = max(self.most, resident())
        if self.received > BOUND:
            raise Broken(f"{self.received:,} bytes were received in advance")

    def _see_overflow(self, exc):
        expected = tuple(("PUT", f"/{number}/{RESPONSE}")
                         for number in range(self.got + 1, self.sent + 1))
        if exc.unanswered != expected:
            raise Broken(f"PipelineOverflow names {len(exc.unanswered)} "
                         f"requests, not {len(expected)}")
        if len(expected) * RESPONSE < BOUND - (1 << 17):
            raise Broken(f"PipelineOverflow at {len(expected)} requests")
        return f"PipelineOverflow, {len(expected)} unanswered"


def run_deep(port, context, args):
    """Send large requests to one server; print what has become of them."""
    for depth in args.depth:
        start = time.monotonic()
        conn = connect(port, context, args.timeout, depth)
        with contextlib.closing(conn):
            run = Run(conn, depth, args.requests)
            ended = run.run()
        print(f"{depth:5} ahead: {ended}; {time.monotonic() - start:.1f} s, "
              f"{run.received / 2**20:.1f} MiB in advance, "
              f"{(run.most - run.before) / 2**20:.1f} MiB more memory",
              flush=True)


def run_wide(port, context, args):
    """Send small requests over many connections; print how it went."""
    start, count, done = time.monotonic(), 40, 0
    with (contextlib.ExitStack() as stack,
          selectors.DefaultSelector() as selector):
        for at in range(args.connections):
            conn = connect(port, context, args.timeout, count)
            stack.callback(conn.close)
            numbers = list(range(at * count, (at + 1) * count))
            conn.request("GET", f"/{numbers[0]}/{SMALL}")
            selector.register(conn, selectors.EVENT_READ, numbers)
        before = resident()
        while selector.get_map():
            ready = selector.select(args.timeout)
            if not ready:
                raise Broken("somebody waits for ever")
            for key, _ in ready:
                done += read_all(key.fileobj, key.data, count)
                if not key.data:
                    selector.unregister(key.fileobj)
        more = resident() - before
    if done != args.connections * count:
        raise Broken(f"{done} responses came, and nothing was lost")
    print(f"{args.connections} connections: {done:,} responses, every body "
          f"right; {time.monotonic() - start:.1f} s, "
          f"{more / 2**20:.1f} MiB more memory", flush=True)


def read_all(conn, numbers, count):
    """Read what has come; return how many responses that was."""
    done = 0
    # Bytes can be here that the descriptor does not show.
    while numbers and conn.poll_response():
        response = conn.getresponse()
        if len(numbers) == count:       # the first one
            for number in numbers[1:]:
                conn.request("GET", f"/{number}/{SMALL}")
        see_response(response, numbers.pop(0), SMALL)
        done += 1
    return done


# The command.

def contexts():
    """Return (name, server's context, client's) of each kind."""
    found = [("plain", None, None)]
    if ssl is not None:
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(CERTIFICATE)
        ours = ssl.create_default_context(cafile=CERTIFICATE)
        found.append(("TLS", theirs, ours))
    return found


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--depth", type=int, nargs="+", metavar="N",
                        default=[20, 50, 1000],
                        help="how many are sent ahead (default: 20 50 1000)")
    for name, default, what in (
            ("requests", 1000, "with each depth"),
            ("connections", 50, "of one thread"),
            ("timeout", 60, "seconds in which something has to move")):
        parser.add_argument(f"--{name}", type=int, default=default,
                            metavar="N", help=f"{what} (default: {default})")
    return parser.parse_args()


def main():
    args = parse()
    if not hasattr(http.client.HTTPConnection, "max_pipelined"):
        sys.exit("pipeline: this Python has no max_pipelined; take that of "
                 "./series python")
    print(f"pipeline: {args.requests:,} PUTs of {REQUEST // 1000} kB, each "
          f"answered with {RESPONSE // 1000} kB before the next is read, "
          f"CPython {platform.python_version()}")
    for name, theirs, ours in contexts():
        print(f"{name}:", flush=True)
        try:
            with server(theirs) as port:
                faulthandler.dump_traceback_later(ENDLESS, exit=True)
                run_deep(port, ours, args)
                run_wide(port, ours, args)
                # It is a thread, and the next server will be forked.
                faulthandler.cancel_dump_traceback_later()
        except Broken as exc:
            print(f"a rule is broken: {exc}")
            return 1
        except (OSError, http.client.HTTPException) as exc:
            print(f"a rule is broken: somebody waits for ever, or a request "
                  f"failed: {exc!r}"[:200])
            return 1
    print("every rule held" + ("; no TLS here" if ssl is None else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
