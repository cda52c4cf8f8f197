"""Load one PersistentConnectionHandler from many threads; see what holds.

    "$(./series python)" interop/load.py

Threads send requests with one opener to four hosts, whose servers answer
with a length, chunked, with no content or up to the end of the connection;
with interim responses and redirects to each other; with a 408, a cut answer
or none at all; and end idle connections at random, by FIN, RST, a 408 or,
over TLS, with and without close_notify.  Some answers are not read.  These
rules must hold:

  - a response is that to the request it was asked for;
  - an answer that was given whole arrives, and what was cut is an error;
  - no POST is sent twice; another request is once, if it was lost on a
    connection that had been used before, and then over a new one;
  - there are never more connections to a host than max_per_host, and no
    more than max_idle are kept; close() leaves none;
  - num_requests and num_connections are what was done, none is lost;
  - nobody waits for ever, and nothing is left to the garbage collector.

What a server does depends on --seed alone; which thread is faster, does not.
The exit status is 0 if every rule held.  It takes half a minute, and twice
that without a GIL:

    "$(./series python 3.13 --from-source -- --disable-gil)" interop/load.py
"""

import argparse
import collections
import contextlib
import faulthandler
import gc
import http.client
import itertools
import os
import pathlib
import platform
import random
import select
import socket
import struct
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from typing import NamedTuple

try:
    import ssl
except ImportError:
    ssl = None
    ENDS = (ConnectionError, http.client.HTTPException)
else:
    ENDS = (ConnectionError, http.client.HTTPException, ssl.SSLEOFError,
            ssl.SSLZeroReturnError)

CERTIFICATE = pathlib.Path(__file__).parents[1] / "demo" / "cert.pem"
TIMEOUT = 60    # seconds; a request that takes longer waits for nothing
GRACE = 5       # seconds; a connection that is not closed by then is left open
ENDLESS = 600   # seconds; so does the whole run

# What a server does with a request, and how often, in a thousand.
WHOLE = {"length": 360, "chunked": 200, "interim first": 40, "in pieces": 40,
         "no content": 40, "redirect": 30, "Connection: close": 30,
         "up to the end": 30, "length, and stray bytes": 20}
LOST = {"reset": 20, "hang up": 20, "408": 20}
CUT = {"cut body": 30, "cut chunks": 30, "cut status line": 20}
ANSWERS = {**WHOLE, **LOST, **CUT}
# How it ends a connection that has been idle for some milliseconds.
IDLE_ENDS = {None: 70, "FIN": 14, "RST": 6, "408": 6, "no close_notify": 4}

IDEMPOTENT = ("PUT", "DELETE", "GET")
METHODS = ("GET", "GET", *IDEMPOTENT, "POST", "POST")

FORGED = b"HTTP/1.1 200 Forged\r\nContent-Length: 6\r\n\r\nFORGED"
TIMED_OUT = b"HTTP/1.1 408 Timeout\r\nContent-Length: 4\r\n\r\nlate"


class Host(NamedTuple):
    """A host as URLs name it; two names of one server are two hosts."""

    scheme: str
    name: str
    server: object

    @property
    def field(self):
        return f"{self.name}:{self.server.port}"

    def url(self, target):
        return f"{self.scheme}://{self.field}{target}"


class Arrival(NamedTuple):
    """A request that a server has received."""

    connection: int     # a number
    nth: int            # on this connection, from 1
    answer: str         # one of ANSWERS
    after: str          # one of IDLE_ENDS


def pick(choose, weights):
    return choose.choices(list(weights), weights.values())[0]


# The servers.

class Server:
    """Listens on a port of its own; *told* is what it tells the Run."""

    def __init__(self, told, context=None):
        self.told = told
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.closing = False
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def close(self, deadline):
        """End, once the connections have; return how many have not."""
        self.closing = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self.threads:
            thread.join(max(0, deadline - time.monotonic()))
        self.listener.close()
        return sum(thread.is_alive() for thread in self.threads)

    def _accept(self):
        for number in itertools.count():
            sock, _ = self.listener.accept()
            if self.closing:
                sock.close()
                return
            thread = threading.Thread(target=self._serve, daemon=True,
                                      args=(sock, (self.port, number)))
            self.threads.append(thread)
            thread.start()

    def _serve(self, sock, number):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True)
                stack.enter_context(sock)
            reader = stack.enter_context(sock.makefile("rb"))
            Conversation(self, sock, reader, number).run()


class Conversation:
    """One connection of a Server."""

    def __init__(self, server, sock, reader, number):
        self.server = server
        self.told = server.told
        self.sock = sock
        self.reader = reader
        self.number = number
        self.field = None       # the one Host field that may come here

    def run(self):
        for nth in itertools.count(1):
            line = self.reader.readline()
            if not line or not self._one(line, nth):
                return

    def _one(self, line, nth):
        """Answer one request; return whether the connection goes on."""
        words = line.decode("latin-1").split(" ")
        if len(words) != 3 or words[0] not in METHODS:
            self.told.wrong("a server received what is no request",
                            repr(line[:60]))
            return False
        method, target, _ = words
        fields = http.client.parse_headers(self.reader)
        self._see_host(fields["Host"])
        arrival, choose = self.told.arrived(
            (fields["Host"], method, target), self.number, nth)
        size = int(fields.get("Content-Length", 0))
        body = self.reader.read(size)
        if len(body) < size:
            return False
        text = f"{fields['Host']} {method} {target} ".encode() + body
        if not self._answer(arrival.answer, choose, text):
            return False
        return self._idle(arrival.after, choose)

    def _see_host(self, field):
        if self.field not in (None, field):
            self.told.wrong("a connection was used for another host",
                            f"{self.field} and {field}")
        self.field = field

    def _answer(self, answer, choose, text):
        """Send what *answer* says; return whether the connection goes on."""
        send = self.sock.sendall
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(text)
        whole = head + b"\r\n" + text
        chunked = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                   + b"".join(chunks(text, choose)))
        if answer == "length":
            send(whole)
        elif answer == "chunked":
            send(chunked)
        elif answer == "interim first":
            send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + whole)
        elif answer == "in pieces":
            at = choose.randrange(1, len(chunked))
            send(chunked[:at])
            time.sleep(0.001)
            send(chunked[at:])
        elif answer == "no content":
            send(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif answer == "redirect":
            self._redirect(choose, text)
        elif answer == "length, and stray bytes":
            # If they came later, they would be the next response.
            send(whole + FORGED if len(text) < 1000 else whole)
        else:
            self._last_answer(answer, choose, head, text, chunked)
            return False
        return True

    def _redirect(self, choose, text):
        target = text.split(b" ")[2].decode() + "/moved"
        location = choose.choice(self.told.hosts).url(target)
        self.sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: %b\r\n"
                          b"Content-Length: 5\r\n\r\nmoved"
                          % location.encode())

    def _last_answer(self, answer, choose, head, text, chunked):
        send = self.sock.sendall
        if answer == "Connection: close":
            send(head + b"Connection: close\r\n\r\n" + text)
        elif answer == "up to the end":
            send(b"HTTP/1.1 200 OK\r\n\r\n" + text)
        elif answer == "cut body":
            send(head + b"\r\n" + text[:choose.randrange(len(text))])
        elif answer == "cut chunks":
            # After the last size, an end is taken for that of the trailer
            # section: gh-115997, as below.
            send(chunked[:choose.randrange(chunked.index(b"\r\n\r\n") + 4,
                                           chunked.rindex(b"0\r\n") + 1)])
        elif answer == "cut status line":
            # A cut section of fields is taken for a whole one.
            send(head[:choose.randrange(1, len("HTTP/1.1 20"))])
        elif answer == "408":
            send(TIMED_OUT)
        if answer == "reset":
            reset(self.sock)
        elif self.server.context is not None:
            notify(self.sock)

    def _idle(self, end, choose):
        """Let the connection be idle; return whether it goes on."""
        if end is None:
            return True
        ready, _, _ = select.select([self.sock], [], [],
                                    choose.choice((0, 0.001, 0.01)))
        if ready:
            return True
        if end == "RST":
            reset(self.sock)
            return False
        if end == "408":
            self.sock.sendall(TIMED_OUT)
        if end != "no close_notify" and self.server.context is not None:
            notify(self.sock)
        return False


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack("ii", 1, 0))


def notify(sock):
    """Send close_notify, and do not wait for the peer's."""
    sock.settimeout(0)
    with contextlib.suppress(ssl.SSLWantReadError):
        sock.unwrap()


def chunks(text, choose):
    while text:
        size = choose.randrange(1, 200) if len(text) < 2000 else 30_000
        piece, text = text[:size], text[size:]
        yield b"%x%b\r\n%b\r\n" % (len(piece), choose.choice((b"", b";x=1")),
                                   piece)
    yield b"0\r\n%b\r\n" % choose.choice((b"", b"T: u\r\n"))


# The client's sockets are counted where they are made and closed, as a server
# learns of that too late.

class Counted:
    closed = None       # called when the socket was closed

    def _real_close(self, *args):
        super()._real_close(*args)
        closed, self.closed = self.closed, None
        if closed is not None:
            closed()


class PlainSocket(Counted, socket.socket):
    pass


if ssl is not None:
    class TLSSocket(Counted, ssl.SSLSocket):
        pass

    class Context(ssl.SSLContext):
        sslsocket_class = TLSSocket

        def wrap_socket(self, sock, *args, **kwargs):
            closed, sock.closed = sock.closed, None
            try:
                wrapped = super().wrap_socket(sock, *args, **kwargs)
            except BaseException:
                closed()
                raise
            wrapped.closed = closed
            return wrapped


class Gauge:
    """How many sockets there are, and have been, to each (host, port)."""

    def __init__(self):
        self.lock = threading.Lock()
        # The garbage collector may close a socket in a thread that has the
        # lock, so it is noted without.
        self.closed = collections.deque()
        self.now = collections.Counter()
        self.most = collections.Counter()
        self.made = 0
        self.create_connection = socket.create_connection

    def create(self, address, *args, **kwargs):
        """Do what socket.create_connection() does, and count."""
        plain = self.create_connection(address, *args, **kwargs)
        timeout = plain.gettimeout()
        sock = PlainSocket(fileno=plain.detach())
        sock.settimeout(timeout)
        with self.lock:
            self._count_closed()
            self.made += 1
            self.now[address] += 1
            self.most[address] = max(self.most[address], self.now[address])
        sock.closed = lambda: self.closed.append(address)
        return sock

    def _count_closed(self):
        while self.closed:
            self.now[self.closed.popleft()] -= 1

    def open(self):
        with self.lock:
            self._count_closed()
            return sum(self.now.values())


# The clients.

class Redirects(urllib.request.HTTPRedirectHandler):
    """Counts the redirects that are followed."""

    def __init__(self):
        self.followed = collections.deque()     # of threads

    def redirect_request(self, *args):
        self.followed.append(None)
        return super().redirect_request(*args)


def forgetter():
    """Return what makes OpenSSL forget the errors of this thread.

    If sending over TLS fails, the next read on another connection can fail
    for that reason alone: gh-148594.
    """
    if ssl is None:
        return lambda: None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)   # this thread's own

    def forget():
        with contextlib.suppress(ssl.SSLError):
            context.set_ciphers("none that there is")
    return forget


class Request(NamedTuple):
    host: Host
    method: str
    target: str
    data: bytes
    leave: bool     # whether not to read the response

    @property
    def key(self):
        return self.host.field, self.method, self.target


class Run:
    """Servers, threads, and what they have to tell."""

    def __init__(self, args):
        self.args = args
        # What the garbage collector finds is told by any thread, at any time.
        self.lock = threading.RLock()
        self.broken = collections.defaultdict(list)     # rule: details
        self.arrivals = collections.defaultdict(list)   # key: of Arrival
        self.outcomes = {}                              # Request: outcome
        self.gauge = Gauge()
        self.done, self.moved = 0, time.monotonic()
        self._serve()
        options = {} if self.context is None else {"context": self.context}
        self.handler = urllib.request.PersistentConnectionHandler(
            max_per_host=args.max_per_host, max_idle=args.max_idle, **options)
        self.redirects = Redirects()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), self.handler, self.redirects)

    def _serve(self):
        server_context = self.context = None
        if ssl is not None:
            server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server_context.load_cert_chain(CERTIFICATE)
            self.context = Context(ssl.PROTOCOL_TLS_CLIENT)
            self.context.load_verify_locations(CERTIFICATE)
        one, two = Server(self), Server(self)
        three = Server(self, server_context)
        self.servers = [one, two, three]
        self.hosts = [Host("http", "127.0.0.1", one),
                      Host("http", "localhost", one),
                      Host("http", "127.0.0.1", two),
                      Host("http" if ssl is None else "https", "127.0.0.1",
                           three)]

    def wrong(self, rule, detail):
        with self.lock:
            self.broken[rule].append(str(detail))

    def arrived(self, key, connection, nth):
        """Note a request; return (its Arrival, what to choose by)."""
        with self.lock:
            arrivals = self.arrivals[key]
            choose = random.Random(
                f"{self.args.seed} {key[1:]} {len(arrivals)}")
            answer = pick(choose, ANSWERS)
            if answer == "redirect" and (key[1] != "GET"
                                         or key[2].endswith("/moved")):
                answer = "length"
            arrival = Arrival(connection, nth, answer,
                              pick(choose, IDLE_ENDS))
            arrivals.append(arrival)
        return arrival, choose

    def run(self):
        """Send all requests, and see whether the rules held."""
        socket.create_connection = self.gauge.create
        total = self.args.threads * self.args.requests
        threads = [threading.Thread(target=self._thread, args=(number,))
                   for number in range(self.args.threads)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.5)
                    self._see_progress(total)
        finally:
            socket.create_connection = self.gauge.create_connection
            progress("")
        gc.collect()
        self._see_idle()
        self._see_counts(total)
        for request, outcome in self.outcomes.items():
            self._see_outcome(request, outcome)
        for key, arrivals in self.arrivals.items():
            self._see_arrivals(key, arrivals)

    def _see_progress(self, total):
        done = len(self.outcomes)
        now = time.monotonic()
        if done > self.done:
            self.done, self.moved = done, now
        if now - self.moved > TIMEOUT + GRACE:
            print(f"load: nothing moves after {done:,} requests "
                  f"(--seed {self.args.seed})", file=sys.stderr, flush=True)
            faulthandler.dump_traceback()
            os._exit(1)
        progress(f"{done:,} of {total:,} requests")

    def _thread(self, number):
        choose = random.Random(f"{self.args.seed} {number}")
        forget = forgetter()
        for i in range(self.args.requests):
            forget()
            request = self._make(choose, f"/{number}/{i}")
            try:
                outcome = self._send(request)
            except BaseException as exc:
                self.wrong("a request ended with something else",
                           f"{request.method} {request.target}: {exc!r}")
                outcome = "other"
            self.outcomes[request] = outcome

    def _make(self, choose, target):
        method = choose.choice(METHODS)
        data = None
        if method in ("POST", "PUT"):
            longest = 300_000 if choose.random() < 0.02 else 300
            data = choose.randbytes(choose.randrange(longest))
        return Request(choose.choice(self.hosts), method, target, data,
                       choose.random() < 0.1)

    def _send(self, request):
        """Return what has become of *request*."""
        asked = urllib.request.Request(request.host.url(request.target),
                                       request.data, method=request.method)
        try:
            response = self.opener.open(asked, timeout=TIMEOUT)
            if request.leave:
                if request.target.endswith("1"):
                    response.close()
                return "left"
            with response:
                status, url, body = (response.status, response.url,
                                     response.read())
        except urllib.error.HTTPError as exc:
            with exc:
                if exc.code != 408:
                    raise
                return "408"
        except http.client.IncompleteRead:
            return "cut"
        except urllib.error.URLError as exc:
            if not isinstance(exc.reason, ENDS):
                raise
            return "failed"
        except ENDS:
            return "failed"
        self._see_body(request, status, url, body)
        return "answered"

    def _see_body(self, request, status, url, body):
        _, _, field, path = url.split("/", 3)
        wanted = f"{field} {request.method} /{path} ".encode()
        wanted += request.data or b""
        if status == 204:
            key = field, request.method, f"/{path}"
            matches = self.arrivals[key][-1].answer == "no content"
        else:
            matches = status == 200 and body == wanted
        if not matches:
            self.wrong("a body does not match its request",
                       f"{wanted[:60]}: {status}, {body[:60]}")

    # What must hold in the end.

    def _see_idle(self):
        kept = self.gauge.open()
        if kept > self.args.max_idle:
            self.wrong("more than max_idle connections were kept", kept)
        self.handler.close()
        if self.gauge.open():
            self.wrong("sockets are open after close()", self.gauge.open())
        deadline = time.monotonic() + GRACE
        left = sum(server.close(deadline) for server in self.servers)
        if left:
            self.wrong("servers have connections after close()", left)
        most = max(self.gauge.most.values())
        if most > self.args.max_per_host:
            self.wrong("there were more than max_per_host connections", most)

    def _see_counts(self, total):
        if len(self.outcomes) != total:
            self.wrong("requests were lost", total - len(self.outcomes))
        told = self.handler.num_requests
        total += len(self.redirects.followed)
        if told != total:
            self.wrong("num_requests is wrong", f"{told}, not {total}")
        told = self.handler.num_connections
        if told != self.gauge.made:
            self.wrong("num_connections is wrong",
                       f"{told}, not {self.gauge.made}")

    def _see_outcome(self, request, outcome):
        arrivals = self.arrivals.get(request.key)
        detail = f"{request.method} {request.target}: {outcome}, {arrivals}"
        if not arrivals:
            if outcome not in ("failed", "408"):
                self.wrong("there is an answer to nothing", detail)
            return
        last = arrivals[-1]
        if last.answer == "redirect":
            return
        if (last.answer in WHOLE and last.after != "RST"
                and outcome not in ("answered", "left")):
            self.wrong("an answer was lost", detail)
        if (last.answer in (*CUT, "reset", "hang up")
                and outcome not in ("cut", "failed", "left")):
            self.wrong("what was cut was taken for whole", detail)

    def _see_arrivals(self, key, arrivals):
        first, *others = arrivals
        detail = f"{' '.join(key)}: {arrivals}"
        if others and key[1] not in IDEMPOTENT:
            self.wrong("a POST was sent twice", detail)
        elif len(others) > 1:
            self.wrong("a request was sent three times", detail)
        elif others and (first.nth == 1 or others[0].nth != 1):
            self.wrong("a request was sent again that should not have been",
                       detail)
        elif (not others and key[1] in IDEMPOTENT and first.nth > 1
                and first.answer in LOST):
            self.wrong("a request was not sent again", detail)


# The command.

def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text:40}\r", end="", file=sys.stderr, flush=True)


def summary(run, seconds):
    outcomes = collections.Counter(run.outcomes.values())
    again = sum(len(arrivals) - 1 for arrivals in run.arrivals.values())
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return (f"load: {len(run.outcomes):,} requests by {run.args.threads} "
            f"threads in {seconds:.1f} s, CPython "
            f"{platform.python_version()}{'' if gil else ' without a GIL'}\n"
            + ", ".join(f"{count:,} {name}" for name, count
                        in outcomes.most_common())
            + f"; {again:,} sent again, {len(run.redirects.followed):,} "
            f"redirected\n{run.gauge.made:,} connections, at most "
            f"{max(run.gauge.most.values())} to each of {len(run.hosts)} "
            f"hosts{'; no TLS here' if ssl is None else ''}\n"
            + (f"rules broken: {len(run.broken)}" if run.broken
               else "every rule held") + f" (--seed {run.args.seed})")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default, what in (
            ("threads", 16, "how many"),
            ("requests", 2000, "of each thread"),
            ("max-per-host", 3, "of the handler; fewer than threads for each "
                                "of 4 hosts\nmakes them wait"),
            ("max-idle", 8, "of the handler")):
        parser.add_argument(f"--{name}", type=int, default=default,
                            metavar="N", help=f"{what} (default: {default})")
    parser.add_argument("--seed", type=int, metavar="N",
                        default=random.randrange(1_000_000),
                        help="default: a new one, which is printed")
    return parser.parse_args()


def main():
    args = parse()
    if not hasattr(urllib.request, "PersistentConnectionHandler"):
        sys.exit("load: this Python has no PersistentConnectionHandler; take "
                 "that of ./series python")
    faulthandler.dump_traceback_later(ENDLESS, exit=True)
    warnings.simplefilter("error", ResourceWarning)
    start = time.monotonic()
    run = Run(args)
    sys.unraisablehook = lambda told: run.wrong(
        "an exception was ignored", repr(told.exc_value))
    threading.excepthook = lambda told: run.wrong(
        "a server failed", repr(told.exc_value))
    run.run()
    for rule, details in run.broken.items():
        print(f"{rule}: {len(details)} times, first {details[0]}\n")
    print(summary(run, time.monotonic() - start))
    return 1 if run.broken or not run.outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
