"""Cut, stall, reset, repeat or inject at every offset; see what a client does.

    "$(./series python)" interop/faults.py

A peer takes part in an exchange and does one wrong thing at one offset of the
response, or of the request: it ends the connection, stalls, resets it, sends
a byte twice, or sends a byte that does not belong there.  This is done at
each offset, plain and over TLS, to http.client with each way of reading, to
PersistentConnectionHandler, to urlopen() and to xmlrpc.client.  (--list shows
them.)  Then the client sends another request.  These rules must hold:

  answer     the right answer, or the exception for this fault.  What a
             response says is worked out here by a second reader, which knows
             only the strict grammar of RFC 9112.  Where a byte has put the
             response outside the grammar, any answer and any exception of
             http.client will do, and the other rules still hold.
  wait       no wait lasts longer than the timeout.
  next       the next request gets its own response,
  foreign    and never a byte of the exchange before, whose body contains a
             whole response.  After a stall, the rest of it arrives just
             before that request or, in turns, just after it.
  twice      nothing is sent twice, except for what the documentation allows:
             by PersistentConnectionHandler or urlopen(), GET or HEAD, once,
             if a connection that had been used before ended without a byte
             of a response.
  kept       without a fault, the connection is used again.
  open       no descriptor is left open.

Client and peer are in one thread: the peer acts when the client sends.  So
there is no chance in it, and a wait for the peer that has a timeout ends at
once.  The
default takes some minutes, --quick about one; there, every 24th offset and
those around the edges of each part are tried.  Over TLS, the ways of reading
take turns, except with --all.  An interpreter without the series can be tried
as well.  The exit status is 0 if every rule held, and 1 if one did not.
"""

import argparse
import collections
import contextlib
import gc
import http.client
import json
import multiprocessing
import os
import pathlib
import platform
import re
import signal
import socket
import ssl
import struct
import sys
import time
import urllib.error
import urllib.request
import warnings
import xml.parsers.expat
import xmlrpc.client
from typing import NamedTuple

TOP = pathlib.Path(__file__).resolve().parents[1]
RESULTS = TOP / "interop" / "results"
CERTIFICATE = next(filter(pathlib.Path.is_file, (
    TOP / "demo" / "cert.pem", TOP / "tools" / "demo_cert.pem")))
HOST = "127.0.0.1"
TIMEOUT = 0.004     # seconds; what the peer sends is here before the wait
HUNG = 10           # seconds; a try that takes longer waits for ever
MOST_SHOWN = 10

HAS_SERIES = hasattr(http.client, "ConnectionClosed")
CLOSED = (http.client.ConnectionClosed if HAS_SERIES
          else (ConnectionError, http.client.BadStatusLine,
                http.client.IncompleteRead, ssl.SSLEOFError))
ANY = (OSError, http.client.HTTPException)

FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nFORGED"
BODY = b"first\n" + FORGED + b"\nlast"
RPC_BODY = (b"<methodResponse><params><param><value>first</value></param>"
            b"</params></methodResponse><!--" + FORGED + b"-->")
UPLOAD = b"upload " * 4
INJECTED = b"\r\n\0x0 :;\t\xff9"


class Hung(BaseException):
    """A wait has no limit, or a try does not come to an end."""


# What is exchanged.

class Exchange(NamedTuple):
    """A request, and what the peer sends.

    stages is a function of the body.  It returns the pieces of what the peer
    sends: (what it waits for, the piece).
    """

    stages: object
    method: str = "GET"
    headers: dict = {}
    body: object = None
    kept: bool = True
    clients: str = "http handler urlopen xmlrpc"

    def pieces(self, body):
        return self.stages(body)


def respond(*fields, status=b"200 OK", body=b""):
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"", body])


def length_of(body):
    return b"Content-Length: %d" % len(body)


def by_length(body):
    return respond(length_of(body), b"X: first", body=body)


def by_chunks(body, *trailers):
    at = body.index(FORGED)     # what begins a chunk is a response
    pieces = body[:at], body[at:at + len(FORGED)], body[at + len(FORGED):]
    return (respond(b"Transfer-Encoding: chunked") + b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        + b"\r\n".join([b"0", *trailers, b"", b""]))


def once(answer, wait="request"):
    return lambda body: [(wait, answer(body))]


def in_turn(*answers):
    return lambda body: [("request", answer(body)) for answer in answers]


NOT_XML = "http handler urlopen"
EXCHANGES = {
    "length": Exchange(once(by_length)),
    "chunked": Exchange(once(by_chunks)),
    "trailers": Exchange(once(
        lambda body: by_chunks(body, b"A: first", b"B: first"))),
    "empty": Exchange(once(lambda body: respond(b"Content-Length: 0")),
                      clients=NOT_XML),
    "204": Exchange(once(lambda body: respond(status=b"204 No Content")),
                    clients=NOT_XML),
    "304": Exchange(once(lambda body: respond(
        length_of(body), status=b"304 Not Modified")), clients=NOT_XML),
    "HEAD": Exchange(once(lambda body: respond(length_of(body))), "HEAD",
                     clients=NOT_XML),
    "interim": Exchange(once(lambda body: respond(
        b"Link: first", status=b"103 Early Hints") + by_length(body))),
    "to close": Exchange(once(lambda body: respond(b"X: first", body=body)),
                         kept=False),
    "POST": Exchange(once(by_length), "POST", body=UPLOAD, clients=NOT_XML),
    "POST chunked": Exchange(once(by_length), "POST",
                             body=[UPLOAD, b"more", UPLOAD], clients=NOT_XML),
    "Expect": Exchange(lambda body: [
        ("head", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ("request", by_length(body))], "POST", {"Expect": "100-continue"},
        UPLOAD, clients="http handler"),
    "401": Exchange(in_turn(lambda body: respond(
        length_of(body), b'WWW-Authenticate: Basic realm="r"',
        status=b"401 Unauthorized", body=body), by_length),
        clients="handler urlopen"),
    "redirect": Exchange(in_turn(lambda body: respond(
        length_of(body), b"Location: /first/again", status=b"302 Found",
        body=body), by_length), clients="handler urlopen"),
}


# What a response says, in the strict grammar.

_LINE = rb"[\t\x20-\x7e\x80-\xff]*\r\n"
_FIELDS = rb"((?:[!#$%%&'*+\-.^_`|~0-9A-Za-z]+:%b)*)\r\n" % _LINE
match_section = re.compile(
    rb"HTTP/1\.1 ([1-5][0-9][0-9]) %b%b" % (_LINE, _FIELDS)).match
match_size = re.compile(rb"([0-9A-Fa-f]{1,9})(?:;%b|\r\n)" % _LINE).match
match_trailers = re.compile(_FIELDS).match


class State(NamedTuple):
    """How far a response has come.

    kind -- "nothing", "head", "body" for where it is; "last" if only the end
        of a chunked body is missing; "endless" in a body up to the end of the
        connection; "whole"; or "unsound", if it is not in the grammar
    begun -- whether anything has come, interim responses included
    """

    kind: str
    begun: bool = True
    status: int = 0
    body: bytes = b""
    raw: bytes = b""        # the body as it is on the wire
    left: bool = False      # is there anything after the end?


def read_strictly(data, method, is_prefix):
    """Return the State of *data*; a *prefix* of what is sound is sound."""
    at = 0
    while found := match_section(data, at):
        at = found.end()
        if not found[1].startswith(b"1"):
            return read_body(data[at:], method, int(found[1]), found[2],
                             is_prefix)
        if found[1] == b"101":
            return State("unsound")
    if at == len(data):
        return State("nothing", begun=bool(at))
    return State("head" if is_prefix else "unsound")


def read_body(data, method, status, fields, is_prefix):
    values = collections.defaultdict(list)
    for line in fields.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        values[name.lower()].append(value.strip(b" \t"))
    lengths, codings = values[b"content-length"], values[b"transfer-encoding"]
    if len(lengths) + len(codings) > 1 or b"connection" in values:
        return State("unsound")
    if codings and codings[0].lower() != b"chunked":
        return State("unsound")
    if lengths and not re.fullmatch(rb"[0-9]{1,15}", lengths[0]):
        return State("unsound")
    if method == "HEAD" or status in (204, 304):
        return State("whole", status=status, left=bool(data))
    if codings:
        return read_chunks(data, status, is_prefix)
    if not lengths:
        return State("endless", status=status, body=data, raw=data)
    size = int(lengths[0])
    body = data[:size]
    return State("whole" if len(body) == size else "body", status=status,
                 body=body, raw=body, left=len(data) > size)


def read_chunks(data, status, is_prefix):
    at, body = 0, b""

    def state(kind, end=None):
        return State(kind, status=status, body=body, raw=data[:end],
                     left=end is not None and end < len(data))

    while found := match_size(data, at):
        size, at = int(found[1], 16), found.end()
        if not size:
            if end := match_trailers(data, at):
                return state("whole", end.end())
            kind = "last" if at == len(data) else "trailers"
            return state(kind if is_prefix or kind == "last" else "unsound")
        body += data[at:at + size]
        at += size
        if not b"\r\n".startswith(data[at:at + 2]):
            return state("unsound")
        at += 2
    return state("body" if is_prefix or at >= len(data) else "unsound")


# What the peer does wrong.

class Fault(NamedTuple):
    """ends is how the connection ends then; "open" if it does not."""

    ends: str
    act: str = "cut"        # or "repeat", "inject"
    of: str = "response"
    tls_only: bool = False


FAULTS = {
    "none": Fault("open", "none"),
    "cut": Fault("FIN"),
    "close_notify": Fault("close_notify", tls_only=True),
    "reset": Fault("RST"),
    "stall": Fault("open"),
    "repeat": Fault("open", "repeat"),
    "inject": Fault("open", "inject"),
    "request cut": Fault("FIN", of="request"),
    "request reset": Fault("RST", of="request"),
    "request stall": Fault("open", of="request"),
}


class Plan(NamedTuple):
    """What the peer does with the exchange.

    An offset counts one place more for each piece: its end is not the
    beginning of the next one.
    """

    exchange: Exchange
    pieces: list
    fault: Fault
    offset: int
    byte: bytes

    @property
    def is_pair(self):
        """Are there two responses?"""
        return len(self.pieces) > 1 and self.pieces[0][0] == "request"

    def piece_for(self, request):
        """Return the number of the piece that answers a whole request."""
        line, _, fields = request.partition(b"\n")
        if self.is_pair:
            return b"/again" in line or b"\nAuthorization:" in b"\n" + fields
        return len(self.pieces) - 1

    def spoil(self, number):
        """Return what is sent as this piece, what follows later, the end.

        Return None if the fault is not in this piece.
        """
        data = self.pieces[number][1]
        at = self.offset - sum(len(piece) + 1
                               for _, piece in self.pieces[:number])
        act = self.fault.act
        if self.fault.of == "request" or not 0 <= at <= len(data):
            return None
        if act == "cut":
            return data[:at], data[at:], self.fault.ends
        if act == "none":
            return None
        byte = data[at - 1:at] if act == "repeat" else self.byte
        return data[:at] + byte + data[at:], b"", "open"


# The peer.

class Link:
    """The peer's side of one connection."""

    def __init__(self, peer, sock):
        self.peer = peer
        self.sock = sock
        self.data = b""         # received, and not part of a request so far
        self.rest = b""         # what comes after a stall
        self.ended = False
        self.served = 0         # how many requests were answered
        self.is_continued = False

    def shake_hands(self):
        """Go on with TLS as far as possible."""
        if not isinstance(self.sock, ssl.SSLSocket):
            self.sock = self.peer.context.wrap_socket(
                self.sock, server_side=True, do_handshake_on_connect=False)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.sock.do_handshake()

    def step(self):
        """Receive what the client has sent, and act on it."""
        peer = self.peer
        while not self.ended:
            left = peer.request_left
            if left == 0:
                return self.spoil_request()
            try:
                data = self.sock.recv(65536 if left is None else left)
            except (BlockingIOError, ssl.SSLWantReadError):
                return None
            except OSError:
                data = b""
            if not data:
                self.ended = True
                return None
            self.data += data
            if left is not None:
                peer.request_left = left - len(data)
            if peer.request_left != 0:
                self.serve()

    def spoil_request(self):
        self.peer.request_left = None
        if not self.is_continued:
            self.peer.note(0, self)
        self.peer.is_done = True
        if self.peer.plan.fault.ends == "FIN":
            # What is not read would make it a reset.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        else:
            self.end(self.peer.plan.fault.ends)
        self.ended = True

    def serve(self):
        """Answer each whole request."""
        if self.rest:
            self.send_rest()
        while not self.ended and (size := self.get_size()):
            request, self.data = self.data[:size], self.data[size:]
            self.answer(request)
            self.served += 1
            self.is_continued = False

    def get_size(self):
        """Return the size of the first request, or None if it is not whole."""
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return None
        if b"\nExpect:" in head and not self.is_continued:
            self.is_continued = True
            self.peer.note(0, self)
            self.send_piece(0)
            if self.ended:
                return None
        if b"\ntransfer-encoding: chunked" in head.lower():
            size = body.find(b"0\r\n\r\n") + 5
            return len(head) + 4 + size if size >= 5 else None
        found = re.search(rb"\ncontent-length: (\d+)", head.lower())
        size = int(found[1]) if found else 0
        return len(head) + 4 + size if len(body) >= size else None

    def answer(self, request):
        peer = self.peer
        found = re.match(rb"[A-Z]+ /(\S*) HTTP/1\.1\r\n", request)
        peer.is_garbled |= not found
        word = found and found[1]
        if word == b"RPC2":
            word = re.search(rb"<methodName>(\w+)<", request)[1]
        if word not in (b"first", b"first/again"):
            self.sock.sendall(peer.get_usual(word, b"<methodC" in request))
            return
        number = peer.plan.piece_for(request)
        if not self.is_continued:
            peer.request = peer.request or request
            peer.note(number if peer.plan.is_pair else 0, self)
        self.send_piece(number)

    def send_piece(self, number):
        peer = self.peer
        key = number if peer.plan.is_pair else 0
        spoilt = None if peer.is_done else peer.plan.spoil(number)
        data, rest, ends = spoilt or (peer.plan.pieces[number][1], b"", None)
        if peer.seen[key][0][0] is self:        # and not a second attempt
            peer.sent[key] += data
        with contextlib.suppress(OSError):
            self.sock.sendall(data)
        if not spoilt and not peer.plan.exchange.kept:
            self.end("FIN")
        if spoilt:
            peer.is_done = True
            peer.key = key
            self.rest = rest
            self.end(ends)
            self.ended |= bool(rest)

    def end(self, how):
        """End the connection."""
        if how == "open":
            return
        self.ended = True
        if how == "close_notify":
            with contextlib.suppress(OSError):
                self.sock.unwrap()
        elif how == "RST":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 struct.pack("ii", 1, 0))
        self.sock.close()

    def go_on(self, later):
        """Send what the stall has kept back: now, or at the next request."""
        if self.rest and later:
            self.ended = False
        elif self.rest:
            self.send_rest()

    def send_rest(self):
        with contextlib.suppress(OSError):
            self.sock.sendall(self.rest)
        self.rest = b""


class Peer:
    """Listens, and acts when the client sends."""

    def __init__(self, tls):
        self.context = None
        self.scheme = "https" if tls else "http"
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(CERTIFICATE)
            self.context.num_tickets = 1
        self.listener = socket.create_server((HOST, 0), backlog=16)
        self.port = self.listener.getsockname()[1]
        self.links = []
        self.tries = 0
        self.begin(None)

    def begin(self, plan):
        """Get ready for another try."""
        for link in self.links:
            link.sock.close()
        self.links = []
        self.plan = plan
        self.is_done = plan is None     # has the fault happened?
        self.is_garbled = False
        self.request = b""
        self.request_left = None        # until the fault in it
        self.key = 0                    # of the piece with the fault
        self.sent = collections.defaultdict(bytes)
        self.seen = collections.defaultdict(list)
        self.tries += 1
        self.token = b"next %d" % self.tries

    def arm(self):
        """The exchange comes next."""
        if self.plan.fault.of == "request":
            self.request_left = self.plan.offset

    def note(self, key, link):
        """Note that a request was seen; was the connection used before?"""
        self.seen[key].append((link, link.served > 0))

    def connect(self, address, *args, **kwargs):
        """Take the place of socket.create_connection()."""
        sock = Socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.settimeout(TIMEOUT)
            sock.connect(address)
            accepted = self.listener.accept()[0]
        except BaseException:
            sock.close()
            raise
        accepted.setblocking(False)
        sock.link = Link(self, accepted)
        self.links.append(sock.link)
        return sock

    def get_usual(self, word, is_rpc):
        """Return the answer to a request that is no part of the exchange."""
        body = self.token if word == b"next" else b"warm"
        if is_rpc:
            body = xmlrpc.client.dumps(
                (body.decode(),), methodresponse=True).encode()
        return respond(length_of(body), body=body)


def get_timeout(timeout):
    return Hung() if timeout is None else TimeoutError("timed out")


class Socket(socket.socket):
    """The client's socket; the peer acts when something was sent.

    What the peer has to send is here then, so a wait would come to nothing.
    """

    def recv_into(self, *args):
        timeout = self.gettimeout()
        if timeout == 0:
            return super().recv_into(*args)
        self.setblocking(False)
        try:
            return super().recv_into(*args)
        except BlockingIOError:
            raise get_timeout(timeout) from None
        finally:
            self.settimeout(timeout)

    def send(self, *args):
        size = super().send(*args)
        self.link.step()
        return size

    def sendall(self, *args):
        super().sendall(*args)
        self.link.step()


class TLSSocket(ssl.SSLSocket):
    """The same over TLS."""

    def read(self, *args):
        timeout = self.gettimeout()
        if timeout == 0:
            return super().read(*args)
        self.setblocking(False)
        try:
            return super().read(*args)
        except ssl.SSLWantReadError:
            raise get_timeout(timeout) from None
        finally:
            self.settimeout(timeout)

    def do_handshake(self, block=False):
        self.link = self.context.peer.links[-1]
        self.settimeout(0)
        is_done = False
        while not is_done:
            with contextlib.suppress(ssl.SSLWantReadError):
                super().do_handshake()
                is_done = True
            self.link.shake_hands()
        self.settimeout(TIMEOUT)

    def send(self, *args):
        size = super().send(*args)
        self.link.step()
        return size


class Context(ssl.SSLContext):
    """The client's; it has an attribute peer."""

    sslsocket_class = TLSSocket


# The clients.

class Outcome:
    """What a client got."""

    status = error = None

    def __init__(self):
        self.parts = []

    @property
    def data(self):
        return b"".join(self.parts)


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
    "iteration": iter,
    "fp": lambda response: iter(lambda: response.fp.read1(7), b""),
}


class HTTP:
    """http.client, which reads in one of these ways."""

    def __init__(self, peer, way, context):
        self.peer = peer
        self.reader = READERS[way]
        if peer.context is None:
            self.conn = http.client.HTTPConnection(HOST, peer.port)
        else:
            self.conn = http.client.HTTPSConnection(HOST, peer.port,
                                                    context=context)
        self.conn._create_connection = peer.connect

    def run(self, exchange, target, outcome):
        body = exchange.body
        self.conn.request(exchange.method, target,
                          iter(body) if isinstance(body, list) else body,
                          exchange.headers,
                          encode_chunked=isinstance(body, list))
        with self.conn.getresponse() as response:
            outcome.status = response.status
            for part in self.reader(response):
                outcome.parts.append(part)

    def get(self, word):
        outcome = Outcome()
        try:
            self.run(Exchange(None), f"/{word}", outcome)
        except http.client.ImproperConnectionState:
            self.conn.close()       # as a program does after a timeout
            self.run(Exchange(None), f"/{word}", outcome)
        return outcome.data

    def close(self):
        self.conn.close()


class Opener:
    """urllib.request, with the handler or without."""

    def __init__(self, peer, context, persistent):
        self.url = f"{peer.scheme}://{HOST}:{peer.port}"
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, self.url, "user", "secret")
        handlers = [urllib.request.ProxyHandler({}),
                    urllib.request.HTTPBasicAuthHandler(passwords)]
        self.handler = None
        if persistent:
            self.handler = urllib.request.PersistentConnectionHandler(
                context=context)
            handlers.append(self.handler)
        else:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self.opener = urllib.request.build_opener(*handlers)

    def run(self, exchange, target, outcome):
        body = exchange.body
        request = urllib.request.Request(
            self.url + target, method=exchange.method,
            data=iter(body) if isinstance(body, list) else body,
            headers=exchange.headers)
        try:
            response = self.opener.open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as exc:
            response = exc
        with response:
            outcome.status = response.status
            outcome.parts.append(response.read())

    def get(self, word):
        outcome = Outcome()
        self.run(Exchange(None), f"/{word}", outcome)
        return outcome.data

    def close(self):
        if self.handler is not None:
            self.handler.close()


class RPC:
    """xmlrpc.client."""

    def __init__(self, peer, context):
        self.proxy = xmlrpc.client.ServerProxy(
            f"{peer.scheme}://{HOST}:{peer.port}/RPC2", context=context)

    def run(self, exchange, target, outcome):
        outcome.parts.append(self.proxy.first().encode())
        outcome.status = 200

    def get(self, word):
        return getattr(self.proxy, word)().encode()

    def close(self):
        self.proxy("close")()


WAYS = {"http": list(READERS) + ["read, used"], "urlopen": ["urlopen"],
        "handler": ["handler", "handler, used"],
        "xmlrpc": ["xmlrpc", "xmlrpc, used"]}
CLIENTS = {way: kind for kind, ways in WAYS.items() for way in ways
           if HAS_SERIES or kind != "handler"}


def make_client(way, peer, context):
    name = way.removesuffix(", used")
    if CLIENTS[way] == "http":
        return HTTP(peer, name, context)
    if CLIENTS[way] == "xmlrpc":
        return RPC(peer, context)
    return Opener(peer, context, name == "handler")


# One try.

class Try(NamedTuple):
    exchange: str
    fault: str
    offset: int
    way: str
    tls: bool

    def __str__(self):
        return (f"{self.exchange}:{self.fault}:{self.offset}:{self.way}"
                + "@tls" * self.tls)


class Lab:
    """What all tries share."""

    def __init__(self):
        self.peers = {tls: Peer(tls) for tls in (False, True)}
        context = Context(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(CERTIFICATE)
        context.peer = self.peers[True]
        self.client_context = context
        self.edges = {}
        self.unraisable = []
        sys.unraisablehook = lambda info: self.unraisable.append(
            f"{info.exc_value!r} was ignored")
        warnings.simplefilter("error", ResourceWarning)
        warnings.simplefilter("ignore", UserWarning)    # of a spoilt realm
        signal.signal(signal.SIGALRM, self.alarm)

    @staticmethod
    def alarm(*args):
        raise Hung

    def get_plan(self, each):
        exchange, fault = EXCHANGES[each.exchange], FAULTS[each.fault]
        body = RPC_BODY if CLIENTS[each.way] == "xmlrpc" else BODY
        number = (each.offset + list(CLIENTS).index(each.way)) % len(INJECTED)
        return Plan(exchange, exchange.stages(body), fault, each.offset,
                    INJECTED[number:number + 1])

    def get_edges(self, each):
        """Return the offsets where a part of the response or request ends."""
        key = each._replace(fault="none", offset=0)
        if key not in self.edges:
            plan = self.get_plan(key)
            self.run(key)
            request = self.request
            edges, at = {0}, 0
            for _, data in plan.pieces:
                edges |= {at, at + len(data)}
                edges |= {at + found.end() for found in
                          re.finditer(rb"\r\n\r\n|\n0\r\n", data)}
                at += len(data) + 1
            self.edges[key] = {
                "response": edges,
                "request": {0, request.find(b"\r\n\r\n") + 4, len(request)}}
        return self.edges[key][FAULTS[each.fault].of]

    def get_offsets(self, each, step, around):
        """Return every *step*-th offset, and those around the edges."""
        edges = self.get_edges(each)
        last = max(edges)
        if each.fault == "none":
            return [0]
        least = FAULTS[each.fault].act == "repeat"      # there is none at 0
        near = {edge + more for edge in edges for more in around}
        return sorted(at for at in near | set(range(0, last, step))
                      if least <= at <= last)

    def run(self, each):
        """Return the rules that this try has broken, as {rule: what}."""
        peer = self.peers[each.tls]
        plan = self.get_plan(each)
        peer.begin(plan)
        self.unraisable.clear()
        descriptors = count_descriptors()
        broken = {}
        socket.create_connection = peer.connect
        signal.setitimer(signal.ITIMER_REAL, HUNG)
        client = make_client(each.way, peer, self.client_context)
        try:
            self.try_it(each, plan, client, broken)
        except Hung:
            broken["wait"] = "it waits for ever"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            socket.create_connection = CREATE_CONNECTION
            client.close()
        if (each.fault == "none" and plan.exchange.kept
                and len(peer.links) > 1 and each.way != "urlopen"):
            broken["kept"] = f"there were {len(peer.links)} connections"
        self.request = peer.request
        peer.begin(None)
        if count_descriptors() != descriptors:
            broken["open"] = "a descriptor is open"
            gc.collect()
        elif self.unraisable:
            broken["open"] = self.unraisable[0]
        return broken

    def try_it(self, each, plan, client, broken):
        peer = self.peers[each.tls]
        outcome = Outcome()
        if each.way.endswith("used"):
            client.get("warm")
        peer.arm()
        try:
            client.run(plan.exchange, "/first", outcome)
        except Exception as exc:
            outcome.error = exc
        if wrong := judge(each, plan, peer, outcome):
            broken["answer"] = wrong
        if is_to_be_repeated(each, plan, peer):
            del peer.seen[peer.key][1:2]
        outcome.error = None
        for link in peer.links:
            link.go_on(each.offset % 2)
        try:
            data = client.get("next")
        except Exception as exc:
            broken["next"] = f"it got {exc!r}"
        else:
            if data != peer.token:
                broken["foreign"] = f"it got {data!r}"
        if (max(map(len, peer.seen.values()), default=0) > 1
                and not leads_elsewhere(plan, peer)):
            broken["twice"] = "a request was sent twice"
        if peer.is_garbled:
            broken["twice"] = "a request was sent inside another one"


# What is right.

RPC_ERRORS = (xmlrpc.client.Error, xml.parsers.expat.ExpatError)


def count_descriptors():
    return len(os.listdir("/proc/self/fd"))


def get_state(each, plan, peer):
    return read_strictly(peer.sent[peer.key], plan.exchange.method,
                         plan.fault.act == "cut")


def leads_elsewhere(plan, peer):
    """Tell whether a 401 or redirect may not lead to the second request."""
    return (plan.is_pair and peer.key == 0 and plan.fault.act != "cut"
            and plan.offset < plan.pieces[0][1].index(b"\r\n\r\n") + 4)


def is_to_be_repeated(each, plan, peer):
    """Tell whether the client has to send the request again."""
    state = get_state(each, plan, peer)
    seen = peer.seen[peer.key]
    return (CLIENTS[each.way] in ("handler", "urlopen")
            and plan.exchange.method in ("GET", "HEAD")
            and bool(seen) and seen[0][1]
            and state.kind == "nothing" and not state.begun
            and plan.fault.ends != "open")


def judge(each, plan, peer, outcome):
    """Return what is wrong with the outcome, or None."""
    error = outcome.error
    if isinstance(error, urllib.error.URLError) and isinstance(
            error.reason, Exception):
        error = error.reason
    if not (peer.is_done or plan.fault.act == "none"):
        return f"the exchange was not begun: {error!r}"
    state = get_state(each, plan, peer)
    is_rpc = CLIENTS[each.way] == "xmlrpc"
    final = read_strictly(plan.pieces[-1][1], plan.exchange.method, True)
    is_right = (error is None and outcome.status == final.status
                and outcome.data == get_body(each, final))
    if plan.is_pair and peer.key == 0 and is_right:
        return None
    allowed = ANY + RPC_ERRORS * (is_rpc and plan.fault.act != "cut")
    if leads_elsewhere(plan, peer):
        allowed += (ValueError,)
    if state.kind == "unsound" or leads_elsewhere(plan, peer):
        if error is None or isinstance(error, allowed):
            return None
        return f"it got {show(outcome)}"
    if is_to_be_repeated(each, plan, peer) or (
            plan.is_pair and peer.key == 0 and state.kind == "whole"):
        return None if is_right else f"it got {show(outcome)}, not the answer"
    return judge_sound(each, plan, state, outcome, error)


def judge_sound(each, plan, state, outcome, error):
    kind, ends = state.kind, plan.fault.ends
    if kind == "endless" and (ends in ("FIN", "close_notify")
                              or plan.fault.act == "none"):
        kind = "whole"
    if kind == "last" and ends in ("FIN", "close_notify"):
        kind = "whole"      # some servers leave out the last line end
    is_rpc = CLIENTS[each.way] == "xmlrpc"
    if kind == "whole":
        if is_rpc and isinstance(error, RPC_ERRORS):
            try:            # it is not XML
                xmlrpc.client.loads(state.body)
            except RPC_ERRORS:
                return None
        body = get_body(each, state)
        if is_rpc and plan.fault.act != "cut":
            body = outcome.data
        if (error is None and outcome.status == state.status
                and outcome.data == body):
            return None
        return f"it got {show(outcome)}, not {state.status} {body!r}"
    if not is_rpc and not get_body(each, state).startswith(outcome.data):
        return f"it got {show(outcome)}, which is not of the body"
    expected = get_exceptions(plan, state, ends)
    if isinstance(error, expected) and not (
            kind == "head" and HAS_SERIES
            and isinstance(error, http.client.RemoteDisconnected)):
        return None
    if error is None and each.way == "fp" and ends != "open" and (
            kind in ("body", "trailers")):
        return None         # who reads fp sees the end
    return (f"it got {show(outcome)}, not "
            + " or ".join(cls.__name__ for cls in expected))


def get_exceptions(plan, state, ends):
    """Return the exceptions that are right."""
    if ends == "open":
        return (TimeoutError,)
    if ends == "RST" or state.kind == "nothing" and (
            isinstance(plan.exchange.body, list) or plan.exchange.headers):
        return CLOSED
    if state.kind == "nothing":
        return (http.client.RemoteDisconnected,)
    if state.kind == "head":
        return (http.client.BadStatusLine, http.client.IncompleteRead)
    return (http.client.IncompleteRead,)


def get_body(each, state):
    if CLIENTS[each.way] == "xmlrpc":
        return b"first"
    return state.raw if each.way == "fp" else state.body


def show(outcome):
    if outcome.error is not None:
        return repr(outcome.error)[:120]
    return f"{outcome.status} {outcome.data!r}"


# The command.

CREATE_CONNECTION = socket.create_connection


class Group(NamedTuple):
    """All offsets of one exchange, fault and client."""

    exchange: str
    fault: str
    way: str
    tls: bool


def get_groups(only):
    wanted = Group(only.exchange, only.fault, only.way, only.tls)
    for tls in (False, True):
        for name, exchange in EXCHANGES.items():
            for fault in FAULTS:
                if FAULTS[fault].tls_only and not tls:
                    continue
                for way, kind in CLIENTS.items():
                    group = Group(name, fault, way, tls)
                    if kind in exchange.clients.split() and all(
                            value in (None, own)
                            for value, own in zip(wanted, group)):
                        yield group


def run_group(group, args):
    """Return (group, offsets, how many wrong, rules, the first of them)."""
    lab = get_lab()
    first = Try(group.exchange, group.fault, 0, group.way, group.tls)
    offsets = lab.get_offsets(first, args.step,
                              (-1, 0) if args.quick else (-1, 0, 1))
    ways = list(READERS)
    if group.tls and group.way in ways and not args.all:
        # The ways of reading take turns.
        offsets = [at for number, at in enumerate(offsets)
                   if ways[number % len(ways)] == group.way]
    if args.only.offset is not None:
        offsets = [args.only.offset]
    rules, found, wrong = collections.Counter(), [], 0
    for at in offsets:
        each = first._replace(offset=at)
        if broken := lab.run(each):
            wrong += 1
            rules.update(list(broken))
            if len(found) < MOST_SHOWN:
                found.append((str(each), broken))
    return group, len(offsets), wrong, rules, found


def get_lab():
    global _lab
    if _lab is None:
        _lab = Lab()
    return _lab


_lab = None


def run_job(job):
    return run_group(*job)


def run_all(args):
    groups = list(get_groups(args.only))
    jobs = [(group, args) for group in groups]
    results, begun = [], time.monotonic()
    with multiprocessing.get_context("fork").Pool(args.jobs) as pool:
        for result in pool.imap_unordered(run_job, jobs):
            results.append(result)
            show_progress(results, len(jobs), begun)
    order = {group: number for number, group in enumerate(groups)}
    return sorted(results, key=lambda result: order[result[0]])


def show_progress(results, number, begun):
    if not sys.stderr.isatty() and len(results) % 200 and (
            len(results) < number):
        return
    print(f"{len(results):5}/{number} rows, "
          f"{sum(result[1] for result in results):8,} tries, "
          f"{sum(result[2] for result in results):6,} wrong, "
          f"{time.monotonic() - begun:4.0f} s",
          end="\r" if sys.stderr.isatty() and len(results) < number else "\n",
          file=sys.stderr, flush=True)


def show_findings(results):
    found = [each for result in results for each in result[4]]
    for name, broken in found[:MOST_SHOWN]:
        for rule, what in broken.items():
            print(f'{rule}: {what[:200]}\n    --only "{name}"')


def summarize(results):
    rules = collections.Counter()
    for result in results:
        rules.update(result[3])
    tries, wrong = (sum(result[at] for result in results) for at in (1, 2))
    print(f"faults: {tries:,} tries, CPython {platform.python_version()}"
          f"{'' if HAS_SERIES else ' without the series'}: "
          + (f"{wrong:,} wrong; {len(rules)} rules broken: " + ", ".join(
              f"{rule} {count:,}" for rule, count in rules.most_common())
             if wrong else "every rule held"))
    return wrong


def write(results, args):
    path = RESULTS / "faults.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    rows = {}
    for group, offsets, wrong, rules, _ in results:
        if offsets:
            row = f"{'TLS' if group.tls else 'plain'}: {group.exchange}: " + (
                group.fault)
            rows.setdefault(row, {})[group.way] = [offsets, wrong, *(
                [dict(rules)] if rules else [])]
    kept["patched" if HAS_SERIES else "stock"] = {
        "python": platform.python_version(), "step": args.step, "rows": rows}
    lines = []
    for side, result in sorted(kept.items()):
        rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}"
                          for name, row in result["rows"].items())
        lines.append(f' {json.dumps(side)}: {{"python": '
                     f'{json.dumps(result["python"])}, "step": '
                     f'{result["step"]}, "rows": {{\n{rows}\n }}}}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    path.with_suffix(".md").write_text(render(kept))


def read_rows(result):
    """Return (tls, exchange, fault, way, offsets, wrong, rules) of each."""
    return [(kind == "TLS", exchange, fault, way, *row[:2],
             row[2] if row[2:] else {})
            for name, ways in result["rows"].items()
            for kind, exchange, fault in [name.split(": ")]
            for way, row in ways.items()]


def render(kept):
    """Return the tables in Markdown."""
    text = ["# Faults at every offset", "",
            "Written by `interop/faults.py --write`. A cell is how many tries "
            "went wrong, of how many.", "`faults.json` has, for each exchange "
            "and fault, each client: offsets, wrong."]
    for side, result in sorted(kept.items()):
        rows = read_rows(result)
        rules = collections.Counter()
        for row in rows:
            rules.update(row[6])
        tries, wrong = (sum(row[at] for row in rows) for at in (4, 5))
        text += ["", f"## {side}, CPython {result['python']}", "",
                 ("Every offset" if result["step"] == 1 else
                  f"One in {result['step']} offsets, and those at the edges")
                 + f": {tries:,} tries, {wrong:,} wrong; rules broken: "
                 + (", ".join(f"{rule} {count:,}" for rule, count
                              in rules.most_common()) or "none") + "."]
        for head, at in ("exchange", 1), ("client", 3):
            for tls in (False, True):
                text += ["", *tabulate(head, at, tls, rows)]
    return "\n".join([*text, ""])


def tabulate(head, at, tls, rows):
    cells = collections.defaultdict(lambda: [0, 0])
    for row in rows:
        if row[0] == tls:
            cell = cells[row[at], row[2]]
            cell[0] += row[5]
            cell[1] += row[4]
    faults = [name for name in FAULTS
              if any(fault == name for _, fault in cells)]
    yield f"| {head}{', TLS' * tls} | " + " | ".join(faults) + " |"
    yield "|---|" + "--:|" * len(faults)
    for name in dict.fromkeys(name for name, _ in cells):
        yield f"| {name} | " + " | ".join(
            "{:,} of {:,}".format(*cells[name, fault])
            if (name, fault) in cells else "" for fault in faults) + " |"


def parse():
    description, _, epilog = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quick", action="store_true",
                       help="try a part of the offsets")
    group.add_argument("--all", action="store_true",
                       help="try each way of reading over TLS, too")
    parser.add_argument("--only", metavar="EXCHANGE:FAULT:OFFSET:CLIENT",
                        default="",
                        help="one try, as it is named when it went wrong; a "
                             "part that is left out or empty means all")
    parser.add_argument("--step", type=int, metavar="N",
                        help="try each N-th offset (default: 1, and 24 with "
                             "--quick)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N",
                        help="how many processes (default: 2)")
    parser.add_argument("--list", action="store_true",
                        help="print the exchanges, faults and clients")
    parser.add_argument("--write", action="store_true",
                        help="write interop/results/faults.md and .json")
    args = parser.parse_args()
    args.step = args.step or (24 if args.quick else 1)
    args.only = parse_only(args.only)
    if args.only is None or not list(get_groups(args.only)):
        parser.error("there is no such try; see --list")
    if args.write and any(part is not None for part in args.only):
        parser.error("--write is for all exchanges")
    return args


def parse_only(text):
    """Return a Try, in which None means all; or None if that is not one."""
    parts = text.split(":") + [""] * 3
    *names, offset, way = *parts[:2], *parts[2:4]
    way, tls, more = way.partition("@tls")
    if len(text.split(":")) > 4 or more or offset and not offset.isdigit():
        return None
    exchange, fault = names
    return Try(exchange or None, fault or None,
               int(offset) if offset else None, way or None,
               bool(tls) if tls or way else None)


def main():
    args = parse()
    if args.list:
        for name, values in (("exchanges", EXCHANGES), ("faults", FAULTS),
                             ("clients", CLIENTS)):
            print(f"{name}: {'; '.join(values)}")
        return 0
    results = run_all(args)
    show_findings(results)
    if args.write:
        write(results, args)
    return 1 if summarize(results) else 0


if __name__ == "__main__":
    sys.exit(main())
