"""Send made-up responses to http.client; see what the next request gets.

    "$(./series python)" interop/fuzz.py                    20,000 cases
    "$(./series python)" interop/fuzz.py --cases 1000000    an hour or less

Each case is a response that is made by a grammar of everything that peers
have been seen to differ on, and then changed byte by byte.  It arrives in
pieces, is read in one of several ways, and another request is sent with the
same HTTPConnection, or was sent before, with max_pipelined.  These rules must
hold:

  foreign    The second request never gets a byte of the first exchange.  Its
             response carries a token that is given out only when the request
             has been received.  Anything else is an exception.
  differs    Where h11 accepts the response and http.client keeps the
             connection, both have read the same body, and to the same byte.
             (h11 is fetched from PyPI; without it, this rule is left out.)
  raises     There is no exception but HTTPException and OSError.
  wait       No wait lasts longer than the timeout.
  open       No descriptor is left open.

A part of some responses arrives only after the second request was sent.  That
tells nothing where the response had already come to its end, as no client can
know then what is late; so there, it arrives before the request.

What a case is depends on --seed and its number alone: --case N runs and shows
one.  Client and server are in one thread.  What breaks a rule is made as short
as possible before it is shown.  Ctrl-C ends the run; what was done until then
is reported.  The exit status is 0 if every rule held.  An interpreter without
the series can be tried as well.
"""

import argparse
import collections
import contextlib
import http.client
import json
import multiprocessing
import os
import pathlib
import platform
import random
import re
import signal
import socket
import sys
import time
from typing import NamedTuple

TOP = pathlib.Path(__file__).resolve().parents[1]
RESULTS = TOP / "interop" / "results"
HUNG = 5            # seconds
MOST_SHOWN = 10
BLOCK = 500         # cases that a process takes at once

HAS_SERIES = hasattr(http.client, "ConnectionClosed")
CLEAN = (http.client.HTTPException, OSError)

FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nFORGED"


class Hung(BaseException):
    """The alarm: a case has not come to an end."""


class Case(NamedTuple):
    method: str
    early: bytes            # what arrives before the second request
    late: bytes             # and after it
    ends: bool              # does the server end the connection after early?
    sizes: tuple            # of the pieces; the last one holds for the rest
    way: str                # in which the response is read
    pipelined: bool

    def show(self):
        lines = [f"    {self.method}, {self.way}, pieces of {self.sizes}"
                 + ", pipelined" * self.pipelined
                 + ", then the end" * self.ends]
        for name in "early", "late":
            if data := getattr(self, name):
                lines += [f"    {name}:"] + [
                    f"        {line!r}" for line in data.splitlines(True)]
        return "\n".join(lines)


# The grammar.

def pick(rng, *weighted):
    """Return one of (weight, value)..."""
    return rng.choices([value for _, value in weighted],
                       [weight for weight, _ in weighted])[0]


STATUS_LINES = [
    (60, b"HTTP/1.1 200 OK"), (3, b"HTTP/1.1 404 No"), (3, b"HTTP/1.1 204 No"),
    (3, b"HTTP/1.1 304 Not"), (2, b"HTTP/1.1 101 Go"), (2, b"HTTP/1.1 205 R"),
    (3, b"HTTP/1.0 200 OK"), (1, b"HTTP/1.2 200 OK"), (1, b"HTTP/2.0 200 OK"),
    (1, b"HTTP/0.9 200 OK"), (1, b"http/1.1 200 OK"), (1, b"HTTP/1.1 200"),
    (1, b"HTTP/1.1  200 OK"), (1, b"HTTP/1.1\t200 OK"), (1, b"HTTP/1.1 200 "),
    (1, b"HTTP/1.1 2000 OK"), (1, b"HTTP/1.1 +200 OK"), (1, b"HTTP/1.1 099 O"),
    (1, b"HTTP/1.1 199 O"), (1, b"HTTP/1.1 600 O"), (1, b"HTTP/1.1 200 O\rK"),
    (1, b"HTTP/1.1 200 OK\0"), (1, b"HTTP/01.1 200 OK"), (1, b"ICY 200 OK"),
    (1, b"HTTP/1.1 200 \xe9"), (1, b" HTTP/1.1 200 OK"), (1, b"HTTP/1.1"),
]
LINE_ENDS = [(60, b"\r\n"), (3, b"\n"), (1, b"\r"), (1, b"\r\r\n"),
             (1, b"\n\r"), (1, b" \r\n"), (1, b"\0\r\n")]
SPACES = [(40, b" "), (8, b""), (2, b"\t"), (2, b"  "), (1, b"\x0b"),
          (1, b"\xa0"), (1, b"\r\n "), (1, b"\n\t"), (1, b"\0"), (1, b"\r")]
CODINGS = [(30, b"chunked"), (3, b"Chunked"), (2, b"chunked, chunked"),
           (2, b"identity"), (2, b"gzip, chunked"), (2, b"chunked, identity"),
           (1, b"identity, chunked"), (1, b'"chunked"'), (1, b"chunked;q=1"),
           (1, b"xchunked"), (1, b"chunke"), (1, b"chunked,"),
           (1, b", chunked"), (1, b""), (1, b"chunked\x0b"),
           (1, b"\x00chunked")]
CONNECTIONS = [b"keep-alive", b"close", b"Close", b"close, TE", b"x, close",
               b"upgrade", b"keep-alive, close", b"", b"\tclose\t", b'"close"']
OTHER_FIELDS = [
    b"X: first", b"X:", b"X : first", b"no colon", b": no name", b"X y: first",
    b" folded", b"\tfolded", b"X: a\rContent-Length: 3", b"X: \0", b"\xe9: x",
    b"X: \xe9", b"Set-Cookie: a=b", b"Keep-Alive: timeout=5", b"Upgrade: x",
    b"Trailer: Content-Length", b"X: " + b"x" * 300, b"X: a\r\r",
    b"Content-Type: multipart/x; boundary=b", b"HTTP/1.1 200 OK", b"",
    b"Content-Length", b"Transfer-Encoding", b"Proxy-Connection: close",
    b"Content-Encoding: chunked", b"Connection:close",
]
TRAILERS = [b"A: b", b"Content-Length: 3", b"Transfer-Encoding: chunked",
            b"no colon", b"A : b", b" folded", b"A: \0", b"A: \rb",
            b"HTTP/1.1 200 OK", b"0", b"Connection: close"]
BETWEEN = [b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"garbage", b"garbage\r\n",
           b"0\r\n\r\n", b"\0", b" ", FORGED, FORGED, b"\r\n" + FORGED,
           b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
           b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"]
INSERTED = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0",
            b"1", b"f", b"-", b"+", b"_", b"\xff", b"\r\n\r\n", b"\n\n",
            b"\x85"]


def maybe(rng, chance, usual, values):
    return rng.choice(values) if rng.random() < chance else usual


def make_end(rng, odd):
    return pick(rng, *LINE_ENDS) if rng.random() < odd else b"\r\n"


def make_body(rng):
    """Return bytes that could be taken for a response."""
    parts = [b"first\n", FORGED, b"last", b"\r\n", b"0\r\n\r\n", b"x" * 40]
    return b"".join(rng.choices(parts, k=rng.randint(0, 4)))


def make_length(rng, size):
    text = b"%d" % maybe(rng, 0.08, size, [0, max(0, size - 1), size + 1, 10,
                                           10 ** 10, 2 ** 63, 2 ** 64 + size])
    if rng.random() > 0.12:
        return text
    return rng.choice([
        b"+" + text, b"-" + text, text + b", " + text, text + b"," + text,
        text + b", 9", b"0" + text, b"0x" + text, text + b".0", text + b" 1",
        text + b";", b'"' + text + b'"', text + b"_0", text + b"\x0b",
        text + b",", b"," + text, b"", text + b"\r\n ", b"1" + b"0" * 400,
        text + b"\0", text + b"\r", b"\xb2", text + b"a"])


def make_chunks(rng, body, odd):
    data = b""
    while body:
        size = rng.randint(1, len(body))
        piece, body = body[:size], body[size:]
        data += make_size(rng, size, odd) + piece + make_end(rng, odd)
    data += make_size(rng, 0, odd)
    while rng.random() < 0.25:
        data += rng.choice(TRAILERS[:1] if rng.random() < 0.5 else TRAILERS)
        data += make_end(rng, odd)
    return data + make_end(rng, odd)


def make_size(rng, size, odd):
    text = b"%x" % size
    if rng.random() < odd:
        text = rng.choice([
            text.upper(), b"0" + text, b"0" * 20 + text, b"0x" + text,
            b"+" + text, b"-" + text, text + b" ", b" " + text, b"\t" + text,
            text + b"_0", text + b";", text + b";a=b", text + b"; a=\"\r\n\"",
            text + b";\n", text + b";\r", text + b" ;a", text + b"\0", b"",
            b"f" * 16, b"f" * 17, text + b"g", text + b",", b"\xb2"])
    elif rng.random() < 0.1:
        text += b";a=b"
    return text + make_end(rng, odd)


def make_section(rng, fields, odd):
    return b"".join(line + make_end(rng, odd) for line in [*fields, b""])


def make_field(rng, name, value, odd):
    if rng.random() < odd:
        name = rng.choice([name.lower(), name.upper(), name + b" ",
                           b" " + name, name + b"\t", name + b"\0",
                           name[:-1], name.replace(b"-", b"_"), name + b"\r"])
    before, after = (pick(rng, *SPACES) if rng.random() < odd else usual
                     for usual in (b" ", b""))
    return name + b":" + before + value + after


def make_response(rng):
    """Return the bytes of a response, and where something may come late."""
    odd = rng.choice([0, 0, 0.02, 0.1])     # how odd all of it is
    body = make_body(rng)
    framing = rng.choices(["length", "chunked", "both", "none"],
                          [45, 40, 8, 7])[0]
    fields = []
    if framing in ("length", "both"):
        fields.append(make_field(rng, b"Content-Length",
                                 make_length(rng, len(body)), odd))
        if rng.random() < 0.05:
            fields.append(make_field(rng, b"Content-Length",
                                     make_length(rng, len(body)), odd))
    if framing in ("chunked", "both"):
        coding = pick(rng, *CODINGS) if rng.random() < 0.2 else b"chunked"
        fields.append(make_field(rng, b"Transfer-Encoding", coding, odd))
        if rng.random() < 0.05:
            fields.append(make_field(rng, b"Transfer-Encoding",
                                     pick(rng, *CODINGS), odd))
    if rng.random() < 0.12:
        fields.append(make_field(rng, b"Connection", rng.choice(CONNECTIONS),
                                 odd))
    while rng.random() < 0.35:
        fields.append(rng.choice(OTHER_FIELDS[:2] if rng.random() < 0.6
                                 else OTHER_FIELDS))
    rng.shuffle(fields)
    status = (pick(rng, *STATUS_LINES) if rng.random() < 0.3
              else b"HTTP/1.1 200 OK")
    data = b""
    if rng.random() < 0.04:
        data += rng.choice(BETWEEN)
    while rng.random() < 0.12:
        data += make_section(rng, [
            rng.choice([b"HTTP/1.1 103 E", b"HTTP/1.1 100 Continue",
                        b"HTTP/1.0 102 P", b"HTTP/1.1 199 x"]),
            *rng.choices(OTHER_FIELDS, k=rng.choice([0, 0, 0, 1]))], odd)
    data += make_section(rng, [status, *fields], odd)
    at = len(data)
    data += (make_chunks(rng, body, odd)
             if framing == "chunked" or framing == "both" and rng.random() < .7
             else body)
    return data, at


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.randint(0, len(data))
        # The framing is where it hurts.
        if rng.random() < 0.5 and (found := re.search(
                rb"(?i)transfer-enc|content-len|\r\n\r\n|\n0\r\n", data)):
            at = min(len(data), max(0, found.start() + rng.randint(-3, 24)))
        end = min(len(data), at + rng.choice([1, 1, 1, 2, 4, 20]))
        what = rng.randrange(5)
        if what == 0:
            data[at:at] = rng.choice(INSERTED)
        elif what == 1:
            del data[at:end]
        elif what == 2:
            data[at:at] = data[at:end]
        elif what == 3:
            data[at:end] = rng.choice(INSERTED)
        else:
            del data[max(at, len(data) - 8):]
    return bytes(data)


WAYS_OF_READING = [(40, "read"), (8, "read(n)"), (8, "read1"),
                   (8, "readinto"), (8, "readline"), (8, "fp"),
                   (6, "half"), (4, "none")]


def make_case(seed, number):
    rng = random.Random((seed << 40) + number)
    method = pick(rng, (85, "GET"), (8, "HEAD"), (5, "PUT"), (2, "CONNECT"))
    data, at = make_response(rng)
    if rng.random() < 0.3:
        data = mutate(rng, data)
    pipelined = HAS_SERIES and rng.random() < 0.25
    late = b""
    if rng.random() < 0.25:
        at = rng.choice([at, rng.randint(0, len(data))])
        data, late = data[:at], data[at:]
    elif rng.random() < 0.15:
        more = rng.choice(BETWEEN)
        data, late = rng.choice([(data + more, b""), (data, more)])
    if late and is_whole(data, method):
        data, late = data + late, b""
    if pipelined:
        data, late = data + late, b""
        if end := is_whole(data, method):
            data = data[:end]       # what follows would be the next response
    sizes = tuple(rng.choice([1, 2, 3, 7, 20, 60, 10 ** 6])
                  for _ in range(rng.choice([0, 0, 1, 3]))) + (
        rng.choice([10 ** 6, 10 ** 6, 1, 50]),)
    ends = not pipelined and not late and rng.random() < 0.15
    return Case(method, data, late, ends, sizes, pick(rng, *WAYS_OF_READING),
                pipelined)


# Where a response ends, for the two rules that need to know.

_LINE = rb"[^\r\n\0]*\r?\n"
_FIELD = rb"[!#$%%&'*+\-.^_`|~0-9A-Za-z]+:%b" % _LINE
# RFC 9112, section 4, allows any whitespace in a status line.
_SPACE = rb"[ \t\x0b\x0c]"
match_section = re.compile(
    rb"(?:\r?\n)*%b*HTTP/[^\s\0]*%b+([0-9]{3})(?:%b%b|\r?\n)((?:%b)*)\r?\n"
    % (_SPACE, _SPACE, _SPACE, _LINE, _FIELD)).match
match_size = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;%b|\r\n)"
                        % _LINE.replace(rb"\r?", rb"\r")).match
match_trailers = re.compile(rb"(?:%b)*\r\n" % _FIELD.replace(
    rb"\r?", rb"\r")).match


def is_whole(data, method):
    """Return where a response ends that all peers read alike, or 0."""
    at = 0
    while found := match_section(data, at):
        at = found.end()
        if found[1] == b"101":
            return 0
        if not found[1].startswith(b"1"):
            return find_end(data, at, method, found[1], found[2])
    return 0


def find_end(data, at, method, status, fields):
    lengths, codings = (
        re.findall(rb"(?im)^%b:[ \t]*(.*?)[ \t]*\r?$" % name, fields)
        for name in (b"content-length", b"transfer-encoding"))
    if method == "HEAD" or status in (b"204", b"304"):
        return at
    if not codings and len(set(lengths)) == 1 and lengths[0].isdigit():
        end = at + int(lengths[0])
        return end if end <= len(data) else 0
    if lengths or [coding.lower() for coding in codings] != [b"chunked"]:
        return 0
    while found := match_size(data, at):
        at = found.end()
        size = int(found[1], 16)
        if not size:
            found = match_trailers(data, at)
            return found.end() if found else 0
        if data[at + size:at + size + 2] != b"\r\n":
            return 0
        at += size + 2
    return 0


# The client.

class Socket(socket.socket):
    """Receives in pieces, and does not wait for a timeout that will come."""

    def recv_into(self, buffer, *args):
        sizes = self.sizes
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        with memoryview(buffer) as view, view[:size] as part:
            try:
                return super().recv_into(part, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                raise TimeoutError("timed out") from None


def read_half(response):
    yield response.read(3)


def read_into(response):
    buffer = bytearray(7)
    while size := response.readinto(buffer):
        yield bytes(buffer[:size])


READERS = {
    "read": lambda response: [response.read()],
    "read(n)": lambda response: iter(lambda: response.read(7), b""),
    "read1": lambda response: iter(response.read1, b""),
    "readinto": read_into,
    "readline": lambda response: iter(response.readline, b""),
    "fp": lambda response: iter(response.fp.read1, b""),
    "half": read_half,
    "none": lambda response: [],
}


class Outcome:
    """What has become of a case."""

    status = error = None       # of the first response
    body = b""
    is_chunked = False
    kept = False        # was a second request sent, and answered?
    rule = what = None  # which was broken, and how


TOKEN = 0


def next_token():
    global TOKEN
    TOKEN += 1
    return b"token %d of this run" % TOKEN


def answer(token):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (
        len(token), token)


def run(case):
    """Return the Outcome of a case."""
    outcome = Outcome()
    descriptors = len(os.listdir("/proc/self/fd"))
    ours, theirs = socket.socketpair()
    sock = Socket(fileno=ours.detach())
    sock.sizes = [10 ** 6]
    conn = http.client.HTTPConnection("server")
    conn.auto_open = 0
    conn.sock = sock
    signal.setitimer(signal.ITIMER_REAL, HUNG)
    try:
        exchange(case, conn, sock, theirs, outcome)
    except Hung:
        outcome.rule, outcome.what = "wait", "it waits for ever"
    except CLEAN as exc:
        outcome.error = outcome.error or exc
    except Exception as exc:
        outcome.error = exc
        outcome.rule, outcome.what = "raises", repr(exc)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        conn.close()
        theirs.close()
    if len(os.listdir("/proc/self/fd")) != descriptors:
        outcome.rule, outcome.what = "open", "a descriptor is open"
        sock.close()
    return outcome


def exchange(case, conn, sock, theirs, outcome):
    token = next_token()
    if case.pipelined:
        conn.max_pipelined = 2
        conn.request("GET", "/warm")
        theirs.recv(65536)
        theirs.sendall(answer(b"warm"))
        with conn.getresponse() as response:
            response.read()
    # No request has a body: what is sent is one piece.
    conn.request(case.method, "/first")
    theirs.recv(65536)
    if case.pipelined:
        conn.request("GET", "/second")
        theirs.recv(65536)
        theirs.sendall(case.early + answer(token))
    elif case.early:
        theirs.sendall(case.early)
    if case.ends:
        theirs.shutdown(socket.SHUT_WR)
    sock.sizes = list(case.sizes)
    try:
        read_first(case, conn, outcome)
    except CLEAN as exc:
        outcome.error = exc
    if not case.pipelined:
        conn.request("GET", "/second")
        theirs.settimeout(0)
        if not theirs.recv(65536).startswith(b"GET /second "):
            raise AssertionError("the second request is not what was sent")
        theirs.sendall(case.late + answer(token))
    with conn.getresponse() as response:
        body = response.read()
    outcome.kept = True
    if body != token or response.status != 200:
        outcome.rule = "foreign"
        outcome.what = f"it got {response.status} {body!r:.80}"


def read_first(case, conn, outcome):
    with conn.getresponse() as response:
        outcome.status = response.status
        outcome.is_chunked = response.chunked
        parts = []
        for part in READERS[case.way](response):
            parts.append(part)
        outcome.body = b"".join(parts)


# The other reader.

def read_by_h11(case):
    """Return (body, what follows it), or None if h11 does not accept it."""
    conn = h11.Connection(h11.CLIENT)
    target = "server:80" if case.method == "CONNECT" else "/first"
    conn.send(h11.Request(method=case.method, target=target,
                          headers=[("Host", "server")]))
    conn.send(h11.EndOfMessage())
    body = b""
    try:
        conn.receive_data(case.early)
        while True:
            event = conn.next_event()
            if isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return body, bytes(conn.trailing_data[0])
            elif event is h11.PAUSED:
                return None         # it is no longer HTTP
            elif event is h11.NEED_DATA:
                return body, None
    except h11.RemoteProtocolError:
        return None


def compare(case, outcome):
    """Note it if h11 has read something else."""
    if h11 is None or not outcome.kept or outcome.rule:
        return "not kept"
    if case.late:
        return "late"
    found = read_by_h11(case)
    if found is None:
        return "kept, h11 refuses"
    body, rest = found
    if outcome.error or case.way in ("half", "none") or (
            case.way == "fp" and outcome.is_chunked):
        body = outcome.body
    if rest is None:
        outcome.rule, outcome.what = "differs", "h11 waits for more"
    elif rest.strip(b"\r\n"):
        outcome.rule = "differs"
        outcome.what = f"h11 has {rest!r:.60} left"
    elif body != outcome.body:
        outcome.rule = "differs"
        outcome.what = f"{outcome.body!r:.60}; h11: {body!r:.60}"
    return "kept, as h11"


def try_case(case):
    outcome = run(case)
    kind = compare(case, outcome)
    return outcome, kind


# Making it shorter.

def minimize(case, rule):
    """Return the shortest case found that breaks the same rule."""
    def fails(changed):
        return is_fair(changed) and try_case(changed)[0].rule == rule

    for simpler in ({"sizes": (10 ** 6,)}, {"way": "read"}, {"ends": False},
                    {"method": "GET"}, {"pipelined": False}):
        if fails(case._replace(**simpler)):
            case = case._replace(**simpler)
    for name in "early", "late":
        data = getattr(case, name)
        size = len(data)
        while size := size // 2:
            at = 0
            while at < len(data):
                shorter = data[:at] + data[at + size:]
                if fails(case._replace(**{name: shorter})):
                    data = shorter
                    case = case._replace(**{name: data})
                else:
                    at += size
    return case


def is_fair(case):
    """Can the client know better?"""
    end = is_whole(case.early, case.method)
    return not (end and (case.late or case.pipelined
                         and end < len(case.early)))


# The command.

def fetch_h11():
    """Return the module h11, or None; fetch it if need be."""
    folder = TOP / "build" / "fuzz" / "h11"
    if not folder.is_dir():
        sys.path.insert(0, str(TOP))
        from tools import pip
        why = pip.install_into({"h11": folder}, sys.executable,
                               sys.version_info[:2])
        if why:
            print(f"fuzz: without h11, and its rule: {why['h11']}",
                  file=sys.stderr)
            return None
    sys.path.append(str(folder))
    import h11
    return h11


h11 = None


class Tally:
    """What has become of the cases."""

    def __init__(self):
        self.counts = collections.Counter()     # of cases, kept and others
        self.rules = collections.Counter()
        self.found = []         # (number, rule, what)

    def add(self, number, case):
        outcome, kind = try_case(case)
        self.counts["cases"] += 1
        self.counts["pipelined"] += case.pipelined
        self.counts["kept" if outcome.kept else "not kept"] += 1
        self.counts[kind] += outcome.kept
        if outcome.rule:
            self.rules[outcome.rule] += 1
            if len(self.found) < MOST_SHOWN:
                self.found.append((number, outcome.rule, outcome.what))

    def merge(self, other):
        self.counts += other.counts
        self.rules += other.rules
        self.found += other.found


def begin():
    def alarm(*args):
        raise Hung
    signal.signal(signal.SIGALRM, alarm)


def run_block(seed, numbers):
    tally = Tally()
    for number in numbers:
        tally.add(number, make_case(seed, number))
    return tally


def run_job(job):
    return run_block(*job)


def run_all(args):
    jobs = [(args.seed, range(at, min(at + BLOCK, args.cases)))
            for at in range(0, args.cases, BLOCK)]
    tally, start = Tally(), time.monotonic()
    with contextlib.ExitStack() as stack:
        results = map(run_job, jobs)
        if args.jobs > 1:
            pool = stack.enter_context(
                multiprocessing.get_context("fork").Pool(args.jobs))
            results = pool.imap_unordered(run_job, jobs)
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        for number, each in enumerate(results, 1):
            tally.merge(each)
            show_progress(tally, args, number, len(jobs),
                          time.monotonic() - start)
    tally.found.sort()
    return tally, time.monotonic() - start


def show_progress(tally, args, number, jobs, seconds):
    is_last = number == jobs
    if sys.stderr.isatty() or is_last or not number % max(1, jobs // 20):
        done = tally.counts["cases"]
        print(f"{done:9,}/{args.cases:,} cases, {tally.counts['kept']:,} "
              f"kept, {sum(tally.rules.values()):,} wrong, "
              f"{done / seconds:,.0f} a second",
              end="\r" if sys.stderr.isatty() and not is_last else "\n",
              file=sys.stderr, flush=True)


def show_case(args, number):
    """Show a case that broke a rule, as short as it can be made."""
    case = make_case(args.seed, number)
    outcome, _ = try_case(case)
    if outcome.rule:
        case = minimize(case, outcome.rule)
        outcome, _ = try_case(case)
    print(f"{outcome.rule or 'right'}: {outcome.what or show(outcome)}\n"
          f"    --seed {args.seed} --case {number}\n{case.show()}")
    return outcome


def show(outcome):
    first = (repr(outcome.error) if outcome.error else
             f"{outcome.status} {outcome.body!r:.60}")
    return f"{first}; {'kept' if outcome.kept else 'not kept'}"


def report(tally, args):
    counts = tally.counts
    lines = [f"{counts['cases']:,} cases of seed {args.seed}, "
             f"{counts['pipelined']:,} of them pipelined",
             f"{counts['kept']:,} with a second response: "
             f"{counts['kept, as h11']:,} compared with h11, "
             f"{counts['kept, h11 refuses']:,} that h11 refuses, "
             f"{counts['late']:,} with a late part"]
    if h11 is None:
        lines[1] = f"{counts['kept']:,} with a second response; no h11"
    return lines


def write(tally, args, seconds):
    path = RESULTS / "fuzz.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept["patched" if HAS_SERIES else "stock"] = {
        "python": platform.python_version(), "seed": args.seed,
        "h11": h11 and h11.__version__, "counts": dict(tally.counts),
        "rules": dict(tally.rules),
        "found": [[number, rule] for number, rule, _ in tally.found],
        "cases_per_second": round(tally.counts["cases"] / seconds)}
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    text = ["# Made-up responses", "",
            "Written by `interop/fuzz.py --write`. A rule that is not named "
            "held.", "",
            "| | CPython | cases | second response | as h11 | h11 refuses | "
            "rules broken |", "|---|---|--:|--:|--:|--:|---|"]
    for side, result in sorted(kept.items()):
        counts = collections.Counter(result["counts"])
        text.append(f"| {side} | {result['python']} | {counts['cases']:,} | "
                    f"{counts['kept']:,} | {counts['kept, as h11']:,} | "
                    f"{counts['kept, h11 refuses']:,} | "
                    + (", ".join(f"{rule} {number:,}" for rule, number
                                 in sorted(result["rules"].items()))
                       or "none") + " |")
    path.with_suffix(".md").write_text("\n".join([*text, ""]))


def parse():
    description, _, epilog = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000, metavar="N",
                        help="how many (default: 20,000)")
    parser.add_argument("--quick", action="store_true",
                        help="5,000 cases of seed 1, which takes seconds")
    parser.add_argument("--seed", type=int, default=1, metavar="N",
                        help="what the cases depend on (default: 1)")
    parser.add_argument("--case", type=int, metavar="N",
                        help="run and show this one")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="how many processes (default: 1)")
    parser.add_argument("--without-h11", action="store_true",
                        help="leave out what needs h11")
    parser.add_argument("--write", action="store_true",
                        help="write interop/results/fuzz.md and .json")
    args = parser.parse_args()
    if args.quick:
        args.cases, args.seed = 5000, 1
    if args.cases < 1:
        parser.error("--cases is at least 1")
    return args


def main():
    global h11
    args = parse()
    h11 = None if args.without_h11 else fetch_h11()
    begin()
    if args.case is not None:
        return 1 if show_case(args, args.case).rule else 0
    tally, seconds = run_all(args)
    for number, _, _ in tally.found[:MOST_SHOWN]:
        show_case(args, number)
    print(*report(tally, args), sep="\n")
    if args.write:
        write(tally, args, seconds)
    print(f"fuzz: CPython {platform.python_version()}"
          f"{'' if HAS_SERIES else ' without the series'}: "
          + (", ".join(f"{rule} broken {count:,} times" for rule, count
                       in tally.rules.most_common()) or "every rule held"))
    return 1 if tally.rules else 0


if __name__ == "__main__":
    sys.exit(main())
