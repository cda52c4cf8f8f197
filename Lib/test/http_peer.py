"""A scripted HTTP/1.1 server, for tests of persistent connections.

These tests depend on which bytes arrive when, and on when a connection ends.
So each test scripts its server byte by byte.  http.server decides these things
by itself.

    def script(link):
        link.request()
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        link.reset()

    with http_peer.Peer(script) as peer:
        conn = peer.connect()
        ...
"""

import contextlib
import http.client
import io
import os
import select
import selectors
import shutil
import socket
import struct
import sys
import threading
import unittest
import urllib.error
import urllib.request
import warnings
from unittest import mock

from test import support
from test.support import SHORT_TIMEOUT, socket_helper, threading_helper

try:
    import ssl
except ImportError:
    ssl = None

# This also skips the modules that import this one.
support.requires_working_socket(module=True)

HOST = socket_helper.HOST

# Raised in the server when the client has closed the connection.
_GONE = (ConnectionError,) if ssl is None else (ConnectionError, ssl.SSLError)

# A self-signed certificate for "localhost", with its key.
CERTFILE = os.path.join(os.path.dirname(__file__), "certdata", "keycert.pem")


def over_tls(cls):
    """Class decorator: add the same tests over TLS 1.2 and over TLS 1.3.

    The tests take the version from self.tls, which is None without TLS.
    """
    module = sys.modules[cls.__module__]
    for version in ("TLSv1_2", "TLSv1_3") if ssl is not None else ():
        name = f"{cls.__name__}{version}"
        setattr(module, name, type(cls)(name, (cls,), {
            "__module__": cls.__module__,
            "__qualname__": name,
            "tls": getattr(ssl.TLSVersion, version),
        }))
    return cls


def response(body=b"", *headers, status=b"200 OK"):
    """Return a response with *body*, framed by its Content-Length."""
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*head, *headers, b"", body])


def chunked(*lines):
    """Return a response with a chunked body of these lines."""
    return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"".join(lines))


# What must never be taken for a response.
FORGED = response(b"forged")

# The method of a request and a whole response, for each way to frame one.
FRAMINGS = {
    "Content-Length": ("GET", response(b"first")),
    "an empty body": ("GET", response(b"")),
    "chunks": ("GET", chunked(b"5\r\nfirst\r\n", b"0\r\n\r\n")),
    "a trailer": ("GET", chunked(b"5\r\nfirst\r\n", b"0\r\nA: b\r\n\r\n")),
    "HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    "HEAD of chunks": ("HEAD", chunked()),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    "304": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    "103 before": ("GET", b"HTTP/1.1 103 Early Hints\r\n\r\n"
                   + response(b"first")),
}


def _readinto(received):
    buffer = bytearray(2)
    while n := received.readinto(buffer):
        yield bytes(buffer[:n])


def _peek(received):
    while data := received.peek():
        part = received.read(min(2, len(data)))
        if not data.startswith(part):
            raise AssertionError(f"peeked at {data}, and read {part}")
        yield part


def _copy(file):
    target = io.BytesIO()
    try:
        shutil.copyfileobj(file, target, 2)
    finally:
        yield target.getvalue()


def _read_text(received):
    file = io.TextIOWrapper(received, "iso-8859-1", newline="\n")
    while data := file.read(1):
        yield data.encode("iso-8859-1")


# Ways to read a response: functions that return an iterable of its parts.
READERS = {
    "read": lambda received: [received.read()],
    "read(-1)": lambda received: [received.read(-1)],
    "read(1), read": lambda received: (
        received.read(size) for size in (1, None)),
    "read(2)": lambda received: iter(lambda: received.read(2), b""),
    "read(100)": lambda received: iter(lambda: received.read(100), b""),
    "read1": lambda received: iter(received.read1, b""),
    "read1(2)": lambda received: iter(lambda: received.read1(2), b""),
    "readinto": _readinto,
    "readline": lambda received: iter(received.readline, b""),
    "readline(2)": lambda received: iter(lambda: received.readline(2), b""),
    "iter": iter,
    "peek": _peek,
    "copyfileobj": _copy,
    "BufferedReader": lambda received: iter(
        lambda reader=io.BufferedReader(received): reader.read(1), b""),
    "TextIOWrapper": _read_text,
}
# These leave chunks as they were sent.
FP_READERS = {
    "fp.read": lambda received: [received.fp.read()],
    "fp.read(3)": lambda received: iter(lambda: received.fp.read(3), b""),
    "fp.read1": lambda received: iter(received.fp.read1, b""),
    "fp.readline": lambda received: iter(received.fp.readline, b""),
    "copyfileobj(fp)": lambda received: _copy(received.fp),
}


def wait_readable(sock):
    """Wait until something from the peer has reached the client's *sock*."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        if not selector.select(SHORT_TIMEOUT):
            raise AssertionError("nothing has reached the client")


def in_pieces(*sizes):
    """Return a mixin for Peer.connect(): receive so many bytes at a time.

    The last of *sizes* holds for all that follows.
    """
    sizes = list(sizes)

    class Pieces:
        def recv_into(self, buffer, *args):
            size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
            return super().recv_into(memoryview(buffer)[:size], *args)
    return Pieces


class Interrupted:
    """A mixin for Peer.connect(): interrupts receiving once if armed."""

    armed = False

    def recv_into(self, *args):
        size = super().recv_into(*args)
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt
        return size


class SocketWrapper:
    """A socket of some other kind, such as pyOpenSSL's."""

    def __init__(self, sock):
        self.makefile = sock.makefile
        self.sendall = sock.sendall
        self.fileno = sock.fileno
        self.close = sock.close


class OwnReader(http.client.HTTPResponse):
    """A response class that makes a stream of its own."""

    buffering = -1

    def __init__(self, sock, *args, **kwargs):
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = sock.makefile("rb", self.buffering)


def read_from_file(data):
    """Return a response that is read from a file, not from a connection."""
    class Socket:
        def makefile(self, mode):
            return io.BufferedReader(io.BytesIO(data))

    received = http.client.HTTPResponse(Socket())
    received.begin()
    return received


# Scripts for a Peer.

def keep(link):
    """Answer every request."""
    while link.answer(b"kept"):
        pass


def fresh(link):
    """Answer one request, on a connection that replaces another one."""
    link.answer(b"fresh")


def answering(*answers, end=None):
    """Return a script: send one of *answers* for each request, then end."""
    def script(link):
        for answer in answers:
            if link.request() is None:
                return
            link.send(answer)
        if end is not None:
            end(link)
    return script


class Request:
    """One request as the server received it; *body* is unchunked."""

    def __init__(self, line, headers, body):
        self.line = line
        self.method, self.target, self.version = line.split(b" ")
        self.headers = headers
        self.body = body


class Link:
    """The server's side of one connection; *number* counts from 0."""

    def __init__(self, peer, sock, number):
        self.peer = peer
        self.sock = sock
        self.number = number
        self.reader = sock.makefile("rb")

    def request(self):
        """Receive one request; return None if the client has closed."""
        try:
            return self._request()
        except TimeoutError:    # it has not closed
            raise
        except OSError:
            return None

    def read_head(self):
        """Receive a request without its body."""
        while self.reader.readline() not in (b"\r\n", b""):
            pass

    def _request(self):
        line = self.reader.readline()
        if not line:
            return None
        headers = http.client.parse_headers(self.reader)
        if headers.get("Transfer-Encoding"):
            body = self._chunks()
        else:
            size = int(headers.get("Content-Length", 0))
            body = self.reader.read(size)
            if len(body) < size:
                return None
        received = Request(line.rstrip(b"\r\n"), headers, body)
        self.peer.requests.append((self.number, received))
        return received

    def _chunks(self):
        body = b""
        while size := int(self.reader.readline(), 16):
            body += self.reader.read(size)
            self.reader.readline()
        self.reader.readline()
        return body

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, body=b"", *headers, status=b"200 OK"):
        """Receive a request and send a whole response."""
        received = self.request()
        if received is not None:
            self.send(response(body, *headers, status=status))
        return received

    def wait_closed(self):
        """Wait until the client closes; return what it sent before."""
        data = b""
        if self.reader.closed:
            return data
        try:
            while block := self.reader.read1():
                data += block
        except TimeoutError:    # it has not closed
            raise
        except OSError:
            pass
        return data

    def start_tls(self, context):
        """Speak TLS from now on, as the end of a tunnel does."""
        self.reader.close()
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.reader = self.sock.makefile("rb")

    def close(self):
        """End the connection by FIN; over TLS without close_notify."""
        self.reader.close()
        self.sock.close()

    def reset(self):
        """End the connection by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.close()

    def end_tls(self):
        """Send close_notify, without waiting for the client's."""
        self.sock.settimeout(0)
        try:
            self.sock.unwrap()
        except OSError:     # that has not come, or the client has closed
            pass


class Peer:
    """A server on the loopback interface: the n-th script, a function of a
    Link, serves the n-th connection.

    *tls* is None or the one ssl.TLSVersion to speak; *tickets* is how many
    session tickets a TLS 1.3 handshake sends.  `requests` lists what has
    been received, as (connection number, Request).  `accepted` counts
    connections.  Leaving the context ends every connection, joins every
    thread, and raises what a script raised.
    """

    def __init__(self, *scripts, tls=None, tickets=0):
        self.scripts = scripts
        self.tls = tls
        self.requests = []
        self.accepted = 0
        self._links = []
        self._threads = []      # first the one that accepts connections
        self._starting = threading.Lock()
        self._clients = []
        self._errors = []
        self.server_context = None
        if tls is not None:
            self.server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.server_context.load_cert_chain(CERTFILE)
            self.server_context.minimum_version = tls
            self.server_context.maximum_version = tls
            self.server_context.num_tickets = tickets

    def __enter__(self):
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.port = socket_helper.bind_port(self._listener)
        self._listener.listen()
        # A blocked accept() is not woken by close() everywhere; this is.
        self._wake, self._woken = socket.socketpair()
        self._start(self._accept)
        return self

    def __exit__(self, exc_type, exc, tb):
        for client in self._clients:
            client.close()
        self._wake.close()
        threading_helper.join_thread(self._threads[0])
        for link in list(self._links):
            try:
                socket.socket.shutdown(link.sock, socket.SHUT_RDWR)
            except OSError:
                pass
        self.join()
        for link in self._links:
            link.close()
        self._listener.close()
        self._woken.close()
        if exc_type is None and self._errors:
            raise self._errors[0]

    def client_context(self):
        """Return a client's SSL context that trusts this server."""
        context = ssl.create_default_context(cafile=CERTFILE)
        context.minimum_version = self.tls
        context.maximum_version = self.tls
        return context

    def connect(self, cls=None, *, mixin=None, **kwargs):
        """Return a connection object for this server, not yet connected.

        Leaving the context closes it.  *cls* is its class.  *mixin* is a
        class whose methods come before those of the sockets that it opens.
        """
        kwargs.setdefault("timeout", SHORT_TIMEOUT)
        if self.tls is None:
            cls = cls or http.client.HTTPConnection
        else:
            cls = cls or http.client.HTTPSConnection
            kwargs.setdefault("context", self.client_context())
        client = cls(HOST, self.port, **kwargs)
        self._clients.append(client)
        if mixin is not None:
            self._mix(mixin, client, kwargs.get("context"))
        return client

    def _mix(self, mixin, client, context):
        base = socket.socket if self.tls is None else ssl.SSLSocket
        cls = type(base)(mixin.__name__, (mixin, base), {})

        def create_connection(*args):
            sock = socket.create_connection(*args)
            timeout = sock.gettimeout()
            sock = cls(fileno=sock.detach())
            sock.settimeout(timeout)
            return sock

        if self.tls is None:
            client._create_connection = create_connection
        else:
            context.sslsocket_class = cls

    def join(self):
        """Wait until the scripts that have begun are over."""
        with self._starting:
            threads = self._threads[1:]
        for thread in threads:
            threading_helper.join_thread(thread)

    def _start(self, function, *args):
        thread = threading.Thread(target=function, args=args)
        with self._starting:
            self._threads.append(thread)
            thread.start()

    def _accept(self):
        while True:
            ready = select.select([self._listener, self._woken], [], [])[0]
            if self._woken in ready:
                return
            sock = self._listener.accept()[0]
            number = self.accepted
            self.accepted += 1
            self._start(self._serve, sock, number)

    def _serve(self, sock, number):
        try:
            sock.settimeout(SHORT_TIMEOUT)
            # What is sent in pieces goes out in pieces, and at once.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            if self.server_context is not None:
                try:
                    sock = self.server_context.wrap_socket(
                        sock, server_side=True)
                except OSError:     # the client has given up
                    sock.close()
                    return
            link = Link(self, sock, number)
            self._links.append(link)
            if number >= len(self.scripts):
                link.close()
                raise AssertionError(f"connection {number} has no script")
            self.scripts[number](link)
        except _GONE:
            pass        # the client has closed the connection
        except BaseException as exc:
            self._errors.append(exc)


class PeerTestCase(unittest.TestCase):
    """Tests of one connection object; over_tls() sets *tls*."""

    tls = None

    @contextlib.contextmanager
    def serve(self, *scripts, cls=None, mixin=None):
        """Provide a connection to self.peer, which runs these scripts."""
        with Peer(*scripts, fresh, tls=self.tls) as self.peer:
            yield self.peer.connect(cls, mixin=mixin)

    @contextlib.contextmanager
    def answered(self, data, end=Link.close, **kwargs):
        """Like serve(), with a request that *data*, then *end*, answers."""
        with (self.subTest(data=data, end=end),
              self.serve(answering(data, end=end), **kwargs) as conn):
            conn.request("GET", "/")
            yield conn

    def start(self, *segments, end=None, cls=None, mixin=None, **kwargs):
        """Return an open connection to a server that waits for go_on().

        Upon go_on(), which waits for that, it sends the next of *segments*,
        the first of which answers a request; in the end it calls end(link).
        """
        def script(link):
            link.request()
            for segment in segments:
                allowed.acquire(timeout=SHORT_TIMEOUT)
                link.send(segment)
            allowed.acquire(timeout=SHORT_TIMEOUT)
            if end is not None:
                end(link)
            link.wait_closed()

        def go_on():
            allowed.release()
            wait_readable(conn.sock)

        self.go_on = go_on
        allowed = threading.Semaphore(0)
        self.peer = self.enterContext(
            Peer(script, fresh, tls=self.tls, **kwargs))
        self.addCleanup(allowed.release, len(segments) + 1)
        conn = self.peer.connect(cls, mixin=mixin)
        conn.connect()
        return conn

    def get(self, conn, method="GET", body=None):
        conn.request(method, "/", body)
        return conn.getresponse()

    def check_no_response(self, conn):
        with self.assertRaises(http.client.ResponseNotReady):
            conn.getresponse()

    def check_fresh(self, conn):
        """Check that the next request goes over a new connection."""
        self.assertEqual(self.get(conn).read(), b"fresh")
        self.assertEqual(self.peer.accepted, 2)


class DestructorTestCase(unittest.TestCase):
    """Fail if a destructor warns, which fails no test by itself."""

    @classmethod
    def setUpClass(cls):
        cls.caught = cls.enterClassContext(
            support.catch_unraisable_exception())

    @classmethod
    def tearDownClass(cls):
        support.gc_collect()
        if cls.caught.unraisable is not None:
            raise AssertionError(cls.caught.unraisable.exc_value)


def sending(*answers, end=Link.wait_closed):
    """Like answering(), but wait until the client closes if no *end*."""
    return answering(*answers, end=end)


def ending(*answers, end):
    """Like sending(), but one more request is received before the end."""
    def receive_and_end(link):
        link.request()
        end(link)
    return sending(*answers, end=receive_and_end)


def ending_idle(answer, end=Link.close):
    """Return a script that answers a request, and a function.

    When the function is called, the script calls *end*.
    """
    def wait_and_end(link):
        go_on.wait(SHORT_TIMEOUT)
        end(link)

    go_on = threading.Event()
    return sending(answer, end=wait_and_end), go_on.set


def send_408(link):
    link.send(response(status=b"408 Request Timeout"))


def idle_ends(tls):
    """Return, by name, what a server does to end an idle connection."""
    ends = {"FIN": Link.close, "RST": Link.reset, "408": send_408}
    return ends if tls is None else ends | {"close_notify": Link.end_tls}


def tunnelling(script):
    """Return a script that runs *script* at the end of a tunnel, over TLS."""
    def tunnel(link):
        link.answer()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTFILE)
        link.start_tls(context)
        script(link)
    return tunnel


def flood(link, head, part):
    """Send *head*, and then *part* until the client closes."""
    try:
        link.send(head)
        while True:
            link.send(part)
    except OSError:
        link.close()


def fork(function):
    """Run *function* in a child process, and return the process's ID."""
    with warnings.catch_warnings():
        # The server has threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            function()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


BASIC = b'WWW-Authenticate: Basic realm="r"'


class Passwords(urllib.request.HTTPPasswordMgr):
    def find_user_password(self, realm, authuri):
        return "user", "secret"


class Authenticator(urllib.request.BaseHandler):
    """Repeat a request with each of these values of Authorization."""

    def __init__(self, *values):
        self.values = iter(values)

    def http_error_401(self, req, fp, code, msg, headers):
        req.add_unredirected_header("Authorization", next(self.values))
        return self.parent.open(req, timeout=req.timeout)


class URLTestCase(DestructorTestCase):
    """Tests of urllib.request; over_tls() sets *tls*."""

    tls = None

    def setUp(self):
        self.enterContext(mock.patch("urllib.request.proxy_bypass",
                                     return_value=False))

    def peer(self, *scripts):
        return self.enterContext(Peer(*scripts, tls=self.tls))

    def url(self, peer, path="/"):
        scheme = "http" if peer.tls is None else "https"
        return f"{scheme}://{HOST}:{peer.port}{path}"

    def opener(self, *handlers, peer=None, proxies={}):
        """Return an opener that trusts the certificate of *peer*."""
        if peer is not None and peer.tls is not None:
            handlers += (urllib.request.HTTPSHandler(
                context=peer.client_context()),)
        return urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), *handlers)

    def open(self, opener, target, path="/", *, timeout=SHORT_TIMEOUT,
             **kwargs):
        """Open *target*, which is a URL or a Peer."""
        url = target if isinstance(target, str) else self.url(target, path)
        return opener.open(urllib.request.Request(url, **kwargs),
                           timeout=timeout)

    def read(self, *args, **kwargs):
        with self.open(*args, **kwargs) as resp:
            return resp.read()

    def get(self, *args, **kwargs):
        """Return the response or HTTPError; the end of the test closes it."""
        try:
            resp = self.open(*args, **kwargs)
        except urllib.error.HTTPError as exc:
            resp = exc
        self.addCleanup(resp.close)
        return resp
