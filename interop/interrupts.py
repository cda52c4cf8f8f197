"""Interrupt http.client at every line of it, and see what it does next.

    "$(./series python)" interop/interrupts.py

Ctrl-C, or a signal handler that raises, can stop HTTPConnection between any
two lines, after bytes were received or half a request was sent.  In each
scenario (--list), one call is interrupted at its first line, then in another
try at its second, and so on, and within system calls; after each, there are
several ways to go on with the connection.  These rules must hold:

  - a response is that to the request it was asked for, or there is an
    HTTPException or an OSError, and never one made of a body's bytes;
  - nothing waits for what will never come;
  - the server gets each request at most once, never one inside another, and
    never before the tunnel or the TLS that it is meant for;
  - what is read of a body is of that body;
  - after close(), the connection works.

The server is a few functions that are called when the client sends, so there
are no threads, no waiting and no chance in it: a try that failed once fails
each time.  An interpreter without the series can be tried as well.  The exit
status is 0 if every rule held.  It takes about two minutes, or half a minute
with --quick.

With the series, every rule holds.  Without it, five are broken.
"""

import argparse
import collections
import faulthandler
import gc
import http.client
import io
import itertools
import os
import re
import socket
import sys
import textwrap
import traceback
from typing import Callable, NamedTuple

FILES = os.path.dirname(http.client.__file__) + os.sep
POLLS = hasattr(http.client.HTTPConnection, "poll_response")

PIECE = 64      # bytes that one read from a socket brings at most
ENDLESS = 300   # seconds; a scenario that takes longer is in an endless loop

FORGED = (b"HTTP/1.1 200 Forged\r\nContent-Length: 6\r\nX: xxxxxxxxxxx\r\n\r\n"
          b"FORGED")
assert len(FORGED) == PIECE
# Nothing is in it twice, so that what is read can be told from what was lost.
BODY = b"abcde" + FORGED + b"\n" + b"".join(b"%02d," % n for n in range(50))

CLEAN = (http.client.HTTPException, OSError)


class Interrupt(KeyboardInterrupt):
    """The one that is raised here."""


class Stuck(TimeoutError):
    """Somebody waits for what will never come."""


class Wrong(Exception):
    """A rule was broken; *detail* is what differs from try to try."""

    def __init__(self, rule, detail=""):
        super().__init__(rule, detail)
        self.rule = rule
        self.detail = detail


class Points:
    """The moments at which a call can be interrupted.

    The one whose number is *wanted*, counted from 1, is; *opcodes* tells that
    each instruction is a moment, not only each line.
    """

    def __init__(self, wanted, opcodes=False):
        self.wanted = wanted
        self.event = "opcode" if opcodes else "line"
        self.passed = 0
        self.place = None       # where it was
        self._counting = False

    def count(self, call, *args):
        """Return call(*args); raises Interrupt if the moment comes."""
        self._counting = True
        sys.settrace(self._trace)
        try:
            return call(*args)
        finally:
            sys.settrace(None)
            self._counting = False

    def pass_(self, place):
        """Note that a moment has come; *place* is (file, line, function)."""
        if not self._counting:
            return
        self.passed += 1
        if self.passed == self.wanted:
            self.place = place
            self._counting = False
            raise Interrupt

    def _trace(self, frame, event, arg):
        code = frame.f_code
        if not code.co_filename.startswith(FILES):
            return None
        frame.f_trace_opcodes = self.event == "opcode"
        if event == self.event:
            self.pass_((os.path.basename(code.co_filename), frame.f_lineno,
                        code.co_name))
        return self._trace


# The server.

class Plan(NamedTuple):
    """What the server does with the request for /1."""

    kind: str = "Content-Length"
    late: int = 0           # the last bytes, sent upon the next request
    stray: bytes = b""      # sent after the response
    ends: bool = False      # whether the connection ends then
    proxy: bool = False     # whether a tunnel is needed
    slow: bool = False      # whether the proxy never answers to CONNECT
    tls: bool = False       # whether TLS is needed

    def response(self):
        head = b"HTTP/1.1 200 OK\r\nX-Target: /1\r\n"
        if self.kind == "chunked":
            return (head + b"Transfer-Encoding: chunked\r\n\r\n"
                    b"5\r\n%b\r\n%x\r\n%b\r\n0\r\nT: u\r\n\r\n"
                    % (BODY[:5], len(BODY) - 5, BODY[5:]))
        head += b"Content-Length: %d\r\n\r\n" % len(BODY)
        if self.kind == "100 before":
            head = b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" + head
        return head + BODY


class Server:
    """All that is on the other side; `requests` are the targets received."""

    def __init__(self, plan, points):
        self.plan = plan
        self.points = points
        self.requests = []
        self.refused = []       # what is no request, or several in one
        self.leaked = []        # targets that others could see
        self.links = []

    def connect(self, *args):
        """Return the client's socket of a new connection."""
        ours, theirs = socket.socketpair()
        sock = Socket(fileno=theirs.detach())
        sock.link = Link(self, ours)
        self.links.append(sock.link)
        return sock

    def close(self):
        for link in self.links:
            link.sock.close()


class Link:
    """The server's side of one connection."""

    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.held = b""
        self.ended = False
        # What has to be there before the first request.
        self.tunnel = not server.plan.proxy
        self.tls = not server.plan.tls
        self._received = b""

    def receive(self, data):
        self._received += data
        while not self.ended and (target := self._request()):
            self.server.requests.append(target)
            self._answer(target)

    def _request(self):
        head, mark, rest = self._received.partition(b"\r\n\r\n")
        if head.count(b" HTTP/1.1") > 1:
            return self._refuse(head)
        if not mark:
            return None
        line = re.match(rb"(?:GET|POST|CONNECT) (\S+) HTTP/1\.1\r\n", head)
        if line is None:
            return self._refuse(head)
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return None
        if rest[:size] not in (b"", b"body"):
            return self._refuse(head + rest)
        self._received = rest[size:]
        return line[1].decode()

    def _refuse(self, data):
        self.server.refused.append(data)
        self.ended = True

    def _answer(self, target):
        self._send(self.held)
        self.held = b""
        if ":" in target:       # CONNECT
            if not self.server.plan.slow:
                self.tunnel = True
                self._send(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
        elif not (self.tunnel and self.tls):
            self.server.leaked.append(target)
        elif target == "/1":
            self._answer_first(self.server.plan)
        else:
            self._send(b"HTTP/1.1 200 OK\r\nX-Target: %b\r\n"
                       b"Content-Length: %d\r\n\r\n%b"
                       % (target.encode(), len(target), target.encode()))

    def _answer_first(self, plan):
        response = plan.response() + plan.stray
        self.held = response[len(response) - plan.late:]
        self._send(response[:len(response) - plan.late])
        if plan.ends:
            self.ended = True
            self.sock.shutdown(socket.SHUT_WR)

    def _send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:         # the client has closed the connection
            pass


class Socket(socket.socket):
    """The client's side; it is not waited for, as the server is prompt."""

    __timeout = None

    def settimeout(self, timeout):
        self.__timeout = timeout

    def gettimeout(self):
        return self.__timeout

    def setsockopt(self, *args):
        pass

    def sendall(self, data):
        data = bytes(data)
        half = len(data) // 2
        points = self.link.server.points
        points.pass_(("send", 0, "before anything was sent"))
        self.link.receive(data[:half])
        points.pass_(("send", 0, "after half was sent"))
        self.link.receive(data[half:])
        points.pass_(("send", 0, "after all was sent"))

    def recv_into(self, buffer, *args):
        points = self.link.server.points
        points.pass_(("recv", 0, "before anything was received"))
        with memoryview(buffer) as view:
            try:
                size = super().recv_into(view[:PIECE], 0,
                                         socket.MSG_DONTWAIT)
            except BlockingIOError:
                if self.__timeout == 0:
                    raise
                raise Stuck("timed out") from None
        points.pass_(("recv", 0, "after bytes were received"))
        return size


class Context:
    """What stands for an ssl.SSLContext; nothing is encrypted."""

    def wrap_socket(self, sock, server_hostname):
        points = sock.link.server.points
        points.pass_(("TLS", 0, "before the handshake"))
        sock.link.tls = True
        points.pass_(("TLS", 0, "after the handshake"))
        return sock


# What is interrupted.

class Case:
    """A connection, and what the user has of it."""

    def __init__(self, plan, points):
        self.server = Server(plan, points)
        if plan.tls:
            self.conn = http.client.HTTPSConnection(
                "server.example", timeout=9, context=Context())
        else:
            self.conn = http.client.HTTPConnection("server.example", timeout=9)
        self.conn._create_connection = self.server.connect
        if plan.proxy:
            self.conn.set_tunnel("destination.example", 80)
        self.response = None
        self.got = []           # what was read of BODY, call by call
        self.answered = []      # targets whose responses were seen

    def send(self, target, **kwargs):
        self.conn.request("POST" if kwargs else "GET", target, **kwargs)

    def get(self):
        self.response = self.conn.getresponse()

    def read(self, name="read", *args):
        part = getattr(self.response, name)(*args)
        if self.response.status != 408:
            self.got.append(part)

    def readinto(self):
        buffer = bytearray(7)
        self.got.append(bytes(buffer[:self.response.readinto(buffer)]))

    def take(self):
        """Get a response and read it; return the target that it is for."""
        response = self.conn.getresponse()
        if response.status == 408:
            return None
        target = response.headers.get("X-Target")
        if target is None:
            raise Wrong("got a response to no request",
                        f"{response.status} {response.reason}")
        body = response.read()
        if body != (BODY if target == "/1" else target.encode()):
            raise Wrong("got another body than the response's", f"{body!r}")
        if target in self.answered:
            raise Wrong("got a response twice", target)
        self.answered.append(target)
        return target

    def exchange(self, target):
        """Make a request, and see that its own response comes."""
        self.send(target)
        judge(self)
        try:
            got = self.take()
        except Stuck:
            raise Wrong("waits for ever for a response", target) from None
        if got != target:
            raise Wrong("got the response to another request",
                        f"{got} for {target}")

    def close(self):
        # Collect the response first, as it may use the connection.
        self.response = None
        self.conn.close()
        self.conn = None
        self.server.close()


class Scenario(NamedTuple):
    plan: Plan
    setup: Callable         # not interrupted
    step: Callable          # interrupted


def fresh(case):
    pass


def opened(case):
    case.conn.connect()


def sent(case):
    case.send("/1")


def begun(case):
    case.send("/1")
    case.get()


def idle(case):
    begun(case)
    case.response.read()
    case.response = None


def two(case):
    begun(case)
    case.send("/2")


def two_left(case):
    two(case)
    case.response.close()


def two_dropped(case):
    two(case)
    case.response = None


def request(case):
    case.send("/2")


def post(case):
    case.send("/2", body=b"body")


def post_parts(case):
    case.send("/2", body=iter([b"bo", b"dy"]),
              headers={"Content-Length": "4"})


def connect(case):
    case.conn.connect()


def drop(case):
    case.response = None


def scenarios():
    """Return {name: Scenario}."""
    found = {
        "request() with a body on a new connection": (Plan(), fresh, post),
        "request() on an open connection": (Plan(), opened, request),
    }
    for about, plan in {
        "": Plan(),
        " through a tunnel": Plan(proxy=True),
        " through a slow tunnel": Plan(proxy=True, slow=True),
        " by TLS": Plan(tls=True),
        " by TLS through a tunnel": Plan(proxy=True, tls=True),
    }.items():
        if plan.tls and not hasattr(http.client, "HTTPSConnection"):
            continue
        found["connect()" + about] = plan, fresh, connect
        found["request() on a new connection" + about] = plan, fresh, request
    reads = {
        "read()": Case.read,
        "read(3)": lambda case: case.read("read", 3),
        "read1(9)": lambda case: case.read("read1", 9),
        "readinto()": Case.readinto,
        "readline()": lambda case: case.read("readline"),
        "response.close()": lambda case: case.response.close(),
        "a dropped response": drop,
    }
    for kind in "Content-Length", "chunked", "100 before":
        for late in 0, 7, 80:
            plan = Plan(kind, late)
            about = f", {kind}" + f", {late} bytes late" * bool(late)
            found["getresponse()" + about] = plan, sent, Case.get
            if kind == "100 before":
                continue
            for name, step in reads.items():
                found[name + about] = plan, begun, step
                found[f"{name}, another was sent{about}"] = plan, two, step
            found["request(), one unread" + about] = plan, begun, request
            found["close(), one unread" + about] = (
                plan, begun, lambda case: case.conn.close())
            found["getresponse(), one closed" + about] = (plan, two_left,
                                                          Case.get)
            found["getresponse(), one dropped" + about] = (plan, two_dropped,
                                                           Case.get)
        found.update(_on_idle_connections(kind))
    if POLLS:
        found.update(_polling())
    return {name: Scenario(*parts) for name, parts in found.items()}


TIMEOUT = b"HTTP/1.1 408 Timeout\r\nContent-Length: 3\r\n\r\nbye"
IDLE = {
    "": {},
    ", ended": {"ends": True},
    ", stray bytes": {"stray": FORGED},
    ", 408": {"stray": TIMEOUT},
    ", 408 and ended": {"stray": TIMEOUT, "ends": True},
}


def _on_idle_connections(kind):
    for about, what in IDLE.items():
        plan = Plan(kind, **what)
        about = f" on an idle connection{about}, {kind}"
        yield "request()" + about, (plan, idle, request)
        yield "request() with a body" + about, (plan, idle, post)
        yield "request() with parts" + about, (plan, idle, post_parts)


def _polling():
    def poll(case):
        case.conn.poll_response()

    for late in 0, 7:
        plan = Plan(late=late)
        yield f"poll_response(), {late} bytes late", (plan, sent, poll)
        yield (f"poll_response(), one closed, {late} bytes late",
               (plan, two_left, poll))
    for about, what in IDLE.items():
        plan = Plan(**what)
        yield "poll_response(), idle" + about, (plan, idle, poll)
        yield "getresponse(), idle" + about, (plan, idle, Case.get)


# What comes after.

def _read_on(case):
    if case.response is not None:
        case.read()


def _close_response(case):
    if case.response is not None:
        case.response.close()


def _poll_and_take(case):
    case.conn.poll_response()
    case.take()


AFTER = {
    "request": lambda case: None,
    "getresponse": Case.take,
    "read on": _read_on,
    "close the response": _close_response,
    "drop the response": drop,
    "close": lambda case: case.conn.close(),
}
if POLLS:
    AFTER["poll, getresponse"] = _poll_and_take


def use(case, after):
    """Go on with the connection after an interrupt; raises Wrong."""
    for action in (AFTER[after], lambda case: case.exchange("/8"),
                   lambda case: case.exchange("/9")):
        try:
            action(case)
        except CLEAN:
            pass
    case.conn.close()
    case.server.plan = case.server.plan._replace(slow=False)
    judge(case)
    try:
        case.exchange("/10")
    except CLEAN as exc:
        raise Wrong("cannot be used after close()", repr(exc)) from exc
    judge(case)


def judge(case):
    """See what the server, and the reader of a body, have got."""
    for target in case.server.leaked:
        raise Wrong("a request was sent before its tunnel or TLS was there",
                    target)
    for data in case.server.refused:
        raise Wrong("the server received a request inside another",
                    repr(data))
    for target, count in collections.Counter(case.server.requests).items():
        if count > 1 and ":" not in target:
            raise Wrong("the server received a request twice", target)
    at = 0
    for part in case.got:       # between them, an interrupt may have lost some
        at = BODY.find(part, at)
        if at < 0:
            raise Wrong("something else was read as a part of the body",
                        repr(part))
        at += len(part)
    if UNRAISABLE:
        raise Wrong("an exception was ignored", UNRAISABLE[0])


def attempt(scenario, after, wanted, opcodes=False):
    """Interrupt once; return (place, the Wrong that followed, or None).

    The place is None if the call was over before.  If *wanted* is 0, there
    is no interrupt, and the rules must hold all the same.
    """
    points = Points(wanted, opcodes)
    case = Case(scenario.plan, points)
    UNRAISABLE.clear()
    try:
        scenario.setup(case)
        try:
            points.count(scenario.step, case)
        except (Interrupt, *CLEAN):
            pass
        if points.place is not None or not wanted:
            use(case, after)
    except Wrong as exc:
        return points.place, exc
    except Exception as exc:
        last = traceback.extract_tb(exc.__traceback__)[-1]
        return points.place, Wrong(f"{exc!r} is raised", f"in {last.name}()")
    finally:
        case.close()
    return points.place, None


UNRAISABLE = []


def note_unraisable(told):
    """Note what a finalizer raises.

    That may be the interrupt itself, and files whose __init__() was
    interrupted lack attributes when they are closed.
    """
    exc = told.exc_value
    half_made = (isinstance(exc, AttributeError)
                 and isinstance(exc.obj, io.IOBase))
    if not half_made and not isinstance(exc, Interrupt):
        UNRAISABLE.append(repr(exc))


# The command.

class Finding:
    """One rule that was broken, and where the interrupts were."""

    def __init__(self, wrong, how):
        self.wrong = wrong
        self.how = how
        self.places = collections.defaultdict(set)

    def __str__(self):
        text = [_fill("", f"{self.wrong.rule}: {self.wrong.detail:.200}"),
                f"  {self.how}"]
        for (file, function), numbers in self.places.items():
            if numbers == {0}:
                text.append(f"  {file} {function}")
            else:
                text.append(_fill("  ", f"{file} in {function}(), line "
                                  + ", ".join(map(str, sorted(numbers)))))
        return "\n".join(text)


def _fill(indent, text):
    return textwrap.fill(text, 79, initial_indent=indent,
                         subsequent_indent=indent + "    ")


class Tally:
    """What was tried, and what went wrong."""

    def __init__(self):
        self.tried = 0
        self.findings = {}

    def add(self, place, wrong, how):
        """Note the outcome of a try; *how* are the options to repeat it."""
        self.tried += 1
        if wrong is None:
            return
        file, line, function = place
        found = self.findings.setdefault(wrong.rule, Finding(wrong, how))
        found.places[file, function].add(line)


def sweep(name, scenario, args, tally):
    """Interrupt a scenario's step everywhere."""
    ways = list(AFTER) if args.after is None else [args.after]
    for number, after in enumerate(ways):
        if args.point is not None:
            moments = [args.point]
        else:
            # In a hurry, each moment is tried with one way to go on.
            step = len(ways) if args.quick else 1
            moments = itertools.chain([0], itertools.count(1 + number % step,
                                                           step))
        for wanted in moments:
            place, wrong = attempt(scenario, after, wanted, args.opcodes)
            if wanted and place is None:
                break
            tally.add(place or ("even", 0, "without an interrupt"), wrong,
                      f'--only "{name}" --after "{after}" --point {wanted}')
    gc.collect()


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="one way to go on for each point, not all")
    parser.add_argument("--opcodes", action="store_true",
                        help="interrupt at each instruction (takes long)")
    parser.add_argument("--only", metavar="TEXT", default="",
                        help="only scenarios with this in their names, or\n"
                             "the one that has this name")
    parser.add_argument("--after", choices=AFTER, metavar="WAY",
                        help="only this way to go on, one of:\n"
                             + "\n".join(AFTER))
    parser.add_argument("--point", type=int, metavar="N",
                        help="only the N-th moment; 0 is no interrupt")
    parser.add_argument("--list", action="store_true",
                        help="print the names of the scenarios, and stop")
    args = parser.parse_args()
    known = scenarios()
    chosen = {name: scenario for name, scenario in known.items()
              if args.only in ((name,) if args.only in known else name)}
    if not chosen:
        parser.error(f'no scenario has "{args.only}" in its name; see --list')
    return args, chosen


def main():
    args, chosen = parse()
    if args.list:
        try:
            print(*chosen, sep="\n", flush=True)
        except BrokenPipeError:     # | head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    sys.unraisablehook = note_unraisable
    gc.disable()                # what it collects, and when, is chance
    tally = Tally()
    for number, (name, scenario) in enumerate(chosen.items(), 1):
        before = tally.tried
        faulthandler.dump_traceback_later(ENDLESS, exit=True)
        sweep(name, scenario, args, tally)
        print(f"{number:3}/{len(chosen)} {name:62.62}"
              f"{tally.tried - before:8,}", flush=True)
    for finding in tally.findings.values():
        print(f"\n{finding}")
    bad = len(tally.findings)
    print(f"\ninterrupts: {tally.tried:,} in {len(chosen)} scenarios; "
          + (f"{bad} rules broken" if bad else "every rule held"))
    return 1 if bad or not tally.tried else 0


if __name__ == "__main__":
    sys.exit(main())
