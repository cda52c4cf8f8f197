"""What is raised if the server closes before a response ends (gh-115997)."""

import contextlib
import errno
import http.client
import io
import os
import pickle
import shutil
import socket
import sys
import threading
import traceback
import unittest
import urllib.error
import urllib.request
import weakref
from test import http_peer, support
from test.http_peer import Peer, chunked, response, wait_readable
from unittest import mock

try:
    import ssl
except ImportError:
    ssl = None

support.requires_working_socket(module=True)

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"

# What arrives of a response to which more belongs, and its body so far.
CUT_BODIES = [
    (LENGTH + b"ab\ncd", b"ab\ncd"),
    (chunked(b"5\r\nab\ncd"), b"ab\ncd"),               # the CRLF
    (chunked(b"5\r\nab\ncd\r"), b"ab\ncd"),
    (chunked(b"5\r\nab\ncd\r\n"), b"ab\ncd"),           # the size
    (chunked(b"5\r\nab\ncd\r\n1"), b"ab\ncd"),
    (chunked(b"5\r\nab\ncd\r\n0"), b"ab\ncd"),
    (chunked(b"5\r\nab\ncd\r\n0\r"), b"ab\ncd"),
    (chunked(b"5\r\nab\ncd\r\n0;x="), b"ab\ncd"),
    (chunked(b"a\r\nab\ncd"), b"ab\ncd"),               # the data
    (chunked(b"2\r\nab\r\n8\r\n\ncd"), b"ab\ncd"),
    (chunked(b"5\r\nab\ncd\r\n0\r\nX: y"), b"ab\ncd"),      # the trailer
    (chunked(b"5\r\nab\ncd\r\n0\r\nX: y\r\n"), b"ab\ncd"),
    (chunked(b"5\r\nab\ncd\r\n0\r\nX: y\r\nZ"), b"ab\ncd"),
    (LENGTH, b""),
    (chunked(), b""),
    (chunked(b"1"), b""),
]

WHOLE_BODIES = [
    response(b"ab\ncd"),
    chunked(b"5\r\nab\ncd\r\n", b"0\r\n\r\n"),
    chunked(b"2\r\nab\r\n", b"3\r\n\ncd\r\n", b"0\r\nX: y\r\n\r\n"),
    # The body is whole, as it always was; the connection is not used again.
    chunked(b"5\r\nab\ncd\r\n", b"0\r\n"),
    b"HTTP/1.1 200 OK\r\n\r\nab\ncd",
]


def read(received):
    yield received.read()


def read_by_two(received):
    return iter(lambda: received.read(2), b"")


def read_by_hundred(received):
    return iter(lambda: received.read(100), b"")


def read1(received):
    return iter(received.read1, b"")


def readinto(received):
    buffer = bytearray(2)
    while n := received.readinto(buffer):
        yield bytes(buffer[:n])


def readline(received):
    return iter(received.readline, b"")


def readline_by_two(received):
    return iter(lambda: received.readline(2), b"")


def peek(received):
    while data := received.peek():
        yield received.read(min(2, len(data)))


def copyfileobj(received):
    copy = io.BytesIO()
    try:
        shutil.copyfileobj(received, copy, 2)
    finally:
        yield copy.getvalue()


def buffered(received):
    # If its source raises, a BufferedReader loses what it would have returned.
    reader = io.BufferedReader(received)
    return iter(lambda: reader.read(1), b"")


def text(received):
    file = io.TextIOWrapper(received, "ascii", newline="\n")
    while data := file.read(1):
        yield data.encode("ascii")


IN_PARTS = (read_by_two, read_by_hundred, read1, readinto, readline,
            readline_by_two, iter, peek, copyfileobj, buffered, text)


class TruncationTestCase(unittest.TestCase):

    tls = None

    @contextlib.contextmanager
    def serve(self, data, end=http_peer.Link.close):
        """Give (peer, connection); the answer to the first request is
        *data* and the end of the connection."""
        def script(link):
            link.request()
            link.send(data)
            end(link)

        def fresh(link):
            link.answer(b"fresh")

        with (self.subTest(data=data),
              Peer(script, fresh, tls=self.tls) as peer):
            conn = self.connect(peer)
            conn.request("GET", "/")
            yield peer, conn

    def connect(self, peer):
        return peer.connect()

    def check_fresh(self, peer, conn):
        """Check that the next request goes over another connection."""
        if conn.sock is not None:
            wait_readable(conn.sock)
        conn.request("GET", "/fresh")
        self.assertEqual(conn.getresponse().read(), b"fresh")
        self.assertEqual(peer.accepted, 2)

    def check_cut(self, data, body, function, closed=True):
        """Check that *function*, which reads a response in parts, raises
        after *body*; *closed* tells whether it is because of the end."""
        parts = []
        with self.serve(data) as (peer, conn), self.subTest(function=function):
            received = conn.getresponse()
            with self.assertRaises(http.client.IncompleteRead) as caught:
                for part in function(received):
                    parts.append(part)
            exc = caught.exception
            parts.append(exc.partial)
            self.assertEqual(isinstance(exc, http.client.ConnectionClosed),
                             closed)
            self.assertEqual(b"".join(parts), body)
            self.assertTrue(received.isclosed())
            self.check_fresh(peer, conn)
            self.assertEqual(received.read(), b"")


@http_peer.over_tls
class BodyTests(TruncationTestCase):

    def test_read(self):
        for data, body in CUT_BODIES:
            self.check_cut(data, body, read)

    def test_in_parts(self):
        # Over TLS the end arrives in another way, and is then the same.
        cut_bodies = CUT_BODIES if self.tls is None else CUT_BODIES[::4]
        for function in IN_PARTS:
            for data, body in cut_bodies:
                self.check_cut(data, body, function)

    # Guard: nothing is missing.
    def test_whole(self):
        for function in IN_PARTS:
            for data in WHOLE_BODIES:
                with (self.serve(data) as (peer, conn),
                      self.subTest(function=function)):
                    parts = list(function(conn.getresponse()))
                    self.assertEqual(b"".join(parts), b"ab\ncd")
                    self.check_fresh(peer, conn)


class MoreBodyTests(TruncationTestCase):

    def test_expected(self):
        calls = {
            "read": lambda received: received.read(1),
            "read1": lambda received: received.read1(1),
            "readinto": lambda received: received.readinto(bytearray(1)),
            "readline": lambda received: received.readline(1),
            "peek": lambda received: received.peek(),
        }
        for data, expected in ((LENGTH + b"abc", 7),
                               (chunked(b"3\r\nabc"), None)):
            for name, call in calls.items():
                with (self.serve(data) as (peer, conn),
                      self.subTest(name=name)):
                    received = conn.getresponse()
                    self.assertEqual(received.read(3), b"abc")
                    with self.assertRaises(
                            http.client.IncompleteRead) as caught:
                        call(received)
                    self.assertEqual(caught.exception.partial, b"")
                    self.assertEqual(caught.exception.expected, expected)

    def test_reset(self):
        go = threading.Event()

        def reset(link):
            go.wait(support.SHORT_TIMEOUT)
            link.reset()

        for data in LENGTH + b"ab", chunked(b"5\r\nab"):
            go.clear()
            with self.serve(data, reset) as (peer, conn):
                received = conn.getresponse()
                self.assertEqual(received.read(2), b"ab")
                go.set()
                self.assertRaises(ConnectionResetError, received.read)
                conn.request("GET", "/fresh")
                self.assertEqual(conn.getresponse().read(), b"fresh")
                self.assertEqual(peer.accepted, 2)

    # Guard: an empty read says nothing of the end.
    def test_nothing_asked_for(self):
        for data in LENGTH, chunked(), b"HTTP/1.1 200 OK\r\n\r\n":
            with self.serve(data) as (peer, conn):
                received = conn.getresponse()
                if conn.sock is not None:
                    wait_readable(conn.sock)
                self.assertEqual(received.readline(0), b"")
                if data != chunked():       # there, these look at the chunk
                    self.assertEqual(received.read(0), b"")
                    self.assertEqual(received.read1(0), b"")
                    self.assertEqual(received.readinto(bytearray()), 0)
                    self.assertFalse(received.isclosed())

    def test_much(self):
        # It is read in portions, of which the second one is cut.
        size = 5 << 19
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (3 << 20)
        with self.serve(data + bytes(size)) as (peer, conn):
            with self.assertRaises(http.client.IncompleteRead) as caught:
                conn.getresponse().read()
            check_error(self, caught.exception)
            self.assertEqual(len(caught.exception.partial), size)
            self.assertEqual(caught.exception.expected, 1 << 19)

    def test_lines(self):
        for data in (LENGTH + b"a\n\nbc", chunked(b"8\r\na\n\nbc"),
                     chunked(b"1\r\na\r\n", b"3\r\n\n\nb\r\n", b"1\r\nc\r\n")):
            with self.serve(data) as (peer, conn):
                received = conn.getresponse()
                self.assertEqual(received.readline(), b"a\n")
                self.assertEqual(received.readline(-1), b"\n")
                self.assertEqual(received.readline(1), b"b")
                self.assertEqual(received.readline(0), b"")
                self.assertEqual(received.readline(9), b"c")
                with self.assertRaises(http.client.IncompleteRead):
                    received.readline()

    # Guard: IOBase.readline() knows these, too.
    def test_line_without_limit(self):
        data = chunked(b"2\r\na\n\r\n", b"2\r\nbc\r\n", b"0\r\n\r\n")
        with self.serve(data) as (peer, conn):
            received = conn.getresponse()
            self.assertEqual(received.readline(None), b"a\n")
            self.assertEqual(received.readline(-2), b"bc")

    # Guard: as with IOBase.readline(), which calls read() for what it takes.
    def test_lines_of_a_subclass(self):
        class Response(http.client.HTTPResponse):
            def read(self, amt=None):
                data = super().read(amt)
                calls.append((amt, data))
                return data

        calls = []
        with self.serve(WHOLE_BODIES[1]) as (peer, conn):
            conn.response_class = Response
            self.assertEqual(list(conn.getresponse()), [b"ab\n", b"cd"])
        self.assertEqual(calls, [(3, b"ab\n"), (2, b"cd"), (1, b"")])

    def test_a_malformed_chunk(self):
        # Nobody knows where the body ends, but it is not here.
        for data, body in ((chunked(b"zz\r\n", b"more\r\n"), b""),
                           (chunked(b"2\r\nab\r\n", b"-\r\n"), b"ab")):
            for function in (read, *IN_PARTS):
                self.check_cut(data, body, function, closed=False)

    # Guard: that nothing has arrived yet is not the end.
    def test_peek_without_blocking(self):
        go = threading.Event()

        def rest(link):
            go.wait(support.SHORT_TIMEOUT)
            link.send(b"a")
            link.wait_closed()

        for data in LENGTH, chunked(b"1\r\n"):
            go.clear()
            with self.serve(data, rest) as (peer, conn):
                received = conn.getresponse()
                conn.sock.settimeout(0)
                self.assertEqual(received.peek(), b"")
                self.assertEqual(received.peek(), b"")
                go.set()
                wait_readable(conn.sock)
                self.assertEqual(received.peek(), b"a")

    def test_not_closed(self):
        # Nothing is there, as with read1() ever since, but nobody has closed
        # the connection.
        for data, call in (
                (LENGTH, http.client.HTTPResponse.read1),
                (LENGTH, http.client.HTTPResponse.readline),
                (chunked(b"3\r\n"), http.client.HTTPResponse.read1),
                (chunked(), http.client.HTTPResponse.read)):
            with (self.serve(data, http_peer.Link.wait_closed) as (_, conn),
                  self.subTest(call=call)):
                received = conn.getresponse()
                conn.sock.settimeout(0)
                with self.assertRaises(http.client.IncompleteRead) as caught:
                    call(received)
                self.assertNotIsInstance(caught.exception,
                                         http.client.ConnectionClosed)
                conn.close()

    def test_peek_at_a_file(self):
        for data in LENGTH + b"a", chunked(b"2\r\na"):
            with self.subTest(data=data):
                received = stand_alone(data)
                self.assertEqual(received.peek(), b"a")
                self.assertEqual(received.read1(), b"a")
                with self.assertRaises(http.client.IncompleteRead) as caught:
                    received.peek()
                self.assertIsInstance(caught.exception,
                                      http.client.ConnectionClosed)

    # Guard: peek() does not close a response that is not cut.
    def test_peek_at_the_end(self):
        received = stand_alone(b"HTTP/1.1 200 OK\r\n\r\na")
        self.assertEqual(received.read1(), b"a")
        self.assertEqual(received.peek(), b"")
        self.assertFalse(received.isclosed())


def stand_alone(data):
    """Return a response that is read from a file, not from a connection."""
    class Socket:
        def makefile(self, mode):
            return io.BufferedReader(io.BytesIO(data))

    received = http.client.HTTPResponse(Socket())
    received.begin()
    return received


@http_peer.over_tls
class HeadTests(TruncationTestCase):
    """The end comes before the body."""

    HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: y\r\n"

    def check_closed(self, conn, cls):
        """Check what getresponse() raises."""
        with self.assertRaises(cls) as caught:
            conn.getresponse()
        check_error(self, caught.exception)
        self.assertIsNone(conn.sock)

    def test_nothing(self):
        # Before the first byte, it remains what it is.
        with self.serve(b"") as (peer, conn):
            self.check_closed(conn, http.client.RemoteDisconnected)
            self.check_fresh(peer, conn)

    def test_reset(self):
        with self.serve(b"", http_peer.Link.reset) as (peer, conn):
            self.check_closed(conn, ConnectionResetError)
            self.check_fresh(peer, conn)

    def test_reset_inside(self):
        go = threading.Event()

        def end(link):
            go.wait(support.SHORT_TIMEOUT)
            link.reset()

        with self.serve(self.HEAD, end) as (peer, conn):
            self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
            go.set()
            self.check_closed(conn, ConnectionResetError)
            self.check_fresh(peer, conn)

    def test_another_reader(self):
        class Response(http.client.HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)
                self.fp.close()
                self.fp = sock.makefile("rb", buffering)

        for buffering in 0, -1:
            with self.serve(b"", http_peer.Link.reset) as (peer, conn):
                conn.response_class = Response
                self.check_closed(conn, ConnectionResetError)

    def test_status_line(self):
        for size in range(1, self.HEAD.index(b"\n") + 1):
            with self.serve(self.HEAD[:size]) as (peer, conn):
                self.check_closed(conn, http.client.BadStatusLine)
                self.check_fresh(peer, conn)

    def test_header_section(self):
        for size in range(self.HEAD.index(b"\n") + 1, len(self.HEAD) + 1):
            with self.serve(self.HEAD[:size]) as (peer, conn):
                self.check_closed(conn, http.client.IncompleteRead)
                self.check_fresh(peer, conn)

    def test_after_an_interim_response(self):
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n"
        for data, cls in (
                (interim, http.client.RemoteDisconnected),
                (interim + b"\r\n", http.client.RemoteDisconnected),
                (interim + b"\r\nHTTP/1.1 200", http.client.BadStatusLine),
                (interim + b"\r\n" + self.HEAD, http.client.IncompleteRead)):
            with self.serve(data) as (peer, conn):
                self.check_closed(conn, cls)
                self.check_fresh(peer, conn)

    def test_after_polling(self):
        with self.serve(self.HEAD) as (peer, conn):
            self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
            self.check_closed(conn, http.client.IncompleteRead)
            self.check_fresh(peer, conn)

    def test_request_timeout(self):
        # Nobody asked for it, but it is cut all the same.
        data = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
        with self.serve(response(b"first") + data) as (peer, conn):
            self.assertEqual(conn.getresponse().read(), b"first")
            self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
            self.check_closed(conn, http.client.IncompleteRead)
            self.check_fresh(peer, conn)


@unittest.skipIf(ssl is None, "needs an encrypted connection")
class RaggedEndTests(TruncationTestCase):
    """TLS has not ended before the connection, and that is told."""

    def test_head(self):
        for self.tls in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            for data in b"", HeadTests.HEAD:
                with self.serve(data) as (peer, conn):
                    conn.sock.suppress_ragged_eofs = False
                    with self.assertRaises(ssl.SSLEOFError) as caught:
                        conn.getresponse()
                    check_error(self, caught.exception)
                    self.assertIsNone(conn.sock)


def check_error(test, exc):
    """Check that an error is also what it was before, and can be pickled."""
    test.assertIsInstance(exc, http.client.ConnectionClosed)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(exc, protocol))
        test.assertIs(type(copy), type(exc))
        test.assertEqual(copy.args, exc.args)
        test.assertEqual(str(copy), str(exc))
        test.assertEqual(repr(copy), repr(exc))
        test.assertEqual(vars(copy), vars(exc))


class TunnelTests(unittest.TestCase):
    """The end comes while a proxy answers to CONNECT."""

    def connect(self, data):
        def script(link):
            link.request()
            link.send(data)
            link.close()

        with Peer(script) as peer:
            conn = peer.connect()
            conn.set_tunnel("example.com", 80)
            try:
                conn.connect()
            finally:
                self.assertIsNone(conn.sock)

    def check_closed(self, data, cls):
        with self.subTest(data=data):
            with self.assertRaises(cls) as caught:
                self.connect(data)
            check_error(self, caught.exception)

    def test_nothing(self):
        self.check_closed(b"", http.client.RemoteDisconnected)

    def test_status_line(self):
        for data in b"H", b"HTTP/1.1 200", b"HTTP/1.1 200 OK":
            self.check_closed(data, http.client.BadStatusLine)

    def test_header_section(self):
        for data in b"", b"X", b"X: y\r\n":
            self.check_closed(b"HTTP/1.1 200 OK\r\n" + data,
                              http.client.RemoteDisconnected)

    # It always was one, as TLS did not get to work.
    def test_OSError(self):
        for data in b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n":
            with self.subTest(data=data), self.assertRaises(OSError):
                self.connect(data)

    # Guard: why there is no tunnel is worth more than that the rest is cut.
    def test_refused(self):
        with self.assertRaisesRegex(OSError, "Tunnel connection failed: 407"):
            self.connect(b"HTTP/1.1 407 Proxy Authentication Required\r\nX")


class CollectedTests(unittest.TestCase):

    # Guard: what is raised leaves nothing for the garbage collector.
    def test_response(self):
        def script(link):
            link.request()
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            link.close()

        for method in "read", "read1", "readline":
            with (self.subTest(method), Peer(script) as peer,
                  support.disable_gc()):
                conn = peer.connect()
                conn.request("GET", "/")
                response = conn.getresponse()
                with contextlib.suppress(http.client.IncompleteRead):
                    getattr(response, method)(4)
                gone = weakref.ref(response)
                del response
                self.assertIsNone(gone())


class StandAloneTests(unittest.TestCase):
    """Who reads a response without a connection is asked for no more than
    ever."""

    def read_from_file(self, data):
        return stand_alone(data).read()

    def read_from_socket(self, data):
        sock, other = socket.socketpair()
        with sock, other:
            other.sendall(data)
            other.shutdown(socket.SHUT_WR)
            received = http.client.HTTPResponse(sock)
            with received:
                received.begin()
                return received.read()

    def read_with_own_reader(self, data):
        class Response(http.client.HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)
                self.fp.close()
                self.fp = sock.makefile("rb")

        def script(link):
            link.request()
            link.send(data)
            link.close()

        with Peer(script) as peer:
            conn = peer.connect()
            conn.response_class = Response
            conn.request("GET", "/")
            return conn.getresponse().read()

    # Guard: the last line ends may be missing.
    def test_lenient(self):
        for read in (self.read_from_file, self.read_from_socket,
                     self.read_with_own_reader):
            for data, body in (
                    (b"HTTP/1.1 200", b""),
                    (b"HTTP/1.1 200 OK\r\n", b""),
                    (b"HTTP/1.1 200 OK\r\nContent-Length: 0", b""),
                    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", b""),
                    (chunked(b"2\r\nab\r\n", b"0"), b"ab"),
                    (chunked(b"2\r\nab\r\n", b"0\r\nX: y"), b"ab"),
                    (chunked(b"2\r\nab\r\n", b"0\r\nX: y\r\n"), b"ab")):
                with self.subTest(read=read, data=data):
                    self.assertEqual(read(data), body)

    # Here something is missing for certain.
    def test_strict(self):
        for read in (self.read_from_file, self.read_from_socket,
                     self.read_with_own_reader):
            for data in (LENGTH, chunked(), chunked(b"2\r\nab\r\n"),
                         chunked(b"2\r\na")):
                with (self.subTest(read=read, data=data),
                      self.assertRaises(http.client.IncompleteRead) as caught):
                    read(data)
                check_error(self, caught.exception)


@http_peer.over_tls
class ResetTests(TruncationTestCase):

    def test_in_the_body(self):
        go = threading.Event()

        def end(link):
            go.wait(support.SHORT_TIMEOUT)
            link.reset()

        for data in LENGTH + b"a", chunked(b"1\r\na"), chunked(b"2\r\na"):
            go.clear()
            with self.serve(data, end) as (peer, conn):
                received = conn.getresponse()
                self.assertEqual(received.read1(1), b"a")
                go.set()
                with self.assertRaises(ConnectionResetError) as caught:
                    received.read()
                check_error(self, caught.exception)
                self.assertEqual(caught.exception.errno, errno.ECONNRESET)
                received.close()
                self.check_fresh(peer, conn)


@http_peer.over_tls
class SendingTests(TruncationTestCase):
    """The end comes before the request is sent."""

    def bodies(self):
        data = bytes(8_000_000)
        yield data
        yield io.BytesIO(data)
        yield iter([data[:65536]] * 122)

    def test_an_early_response(self):
        answer = response(b"too large", b"Connection: close",
                          status=b"413 Content Too Large")

        def script(link):
            link.reader.readline()
            link.send(answer)
            link.close()

        def fresh(link):
            link.answer(b"fresh")

        for body in self.bodies():
            with (self.subTest(body=type(body)),
                  Peer(script, fresh, tls=self.tls) as peer):
                conn = peer.connect()
                with self.assertRaises(ConnectionError) as caught:
                    conn.request("POST", "/", body)
                check_error(self, caught.exception)
                received = conn.getresponse()
                self.assertEqual(received.status, 413)
                self.assertEqual(received.read(), b"too large")
                conn.request("GET", "/fresh")
                self.assertEqual(conn.getresponse().read(), b"fresh")


class ErrorTests(unittest.TestCase):
    """What is raised for what a socket raises."""

    def send(self, error, *cause):
        """Return what is raised if sending raises *error* from *cause*."""
        def sendall(data):
            try:
                {}["inner"]
            except LookupError:
                if cause:
                    raise error from cause[0]
                raise error

        conn = http.client.HTTPConnection("example.com")
        self.addCleanup(conn.close)
        conn.sock = mock.Mock()
        conn.sock.sendall = sendall
        try:
            try:
                {}["outer"]
            except LookupError:
                conn.request("GET", "/")
        except type(error) as exc:
            return exc

    def errors(self):
        yield BrokenPipeError(errno.EPIPE, "pipe")
        yield ConnectionResetError(errno.ECONNRESET, "reset")
        yield ConnectionResetError(errno.ECONNRESET, "reset", "file", 0,
                                   "file 2")
        yield ConnectionResetError("no number")
        yield ConnectionAbortedError(errno.ECONNABORTED, "aborted")
        if ssl is None:
            return
        error = ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred")
        error.reason = "UNEXPECTED_EOF_WHILE_READING"
        error.library = "SSL"
        yield error
        yield ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "closed")

    def test_every_class(self):
        for error in self.errors():
            with self.subTest(error=error):
                exc = self.send(error)
                check_error(self, exc)
                self.assertEqual(exc.args, error.args)
                self.assertEqual(vars(exc), vars(error))
                for name in ("errno", "strerror", "filename", "filename2"):
                    self.assertEqual(getattr(exc, name), getattr(error, name))
                self.assertEqual(str(exc), str(error))
                self.assertEqual(repr(exc), repr(error))
                self.assertNotIsInstance(exc, http.client.HTTPException)

    def test_attributes_that_were_set_later(self):
        error = BrokenPipeError()
        error.errno, error.strerror = errno.EPIPE, "pipe"
        exc = self.send(error)
        self.assertIsInstance(exc, http.client.ConnectionClosed)
        self.assertEqual(exc.errno, errno.EPIPE)
        self.assertEqual(exc.strerror, "pipe")

    # Guard: that there is no answer in time says nothing of an end.
    def test_any_other_error(self):
        for error in TimeoutError("timed out"), OSError(errno.ENOBUFS, "no"):
            exc = self.send(error)
            self.assertIs(exc, error)
            self.assertFalse(exc.__suppress_context__)
            self.assertEqual(exc.__context__.args, ("inner",))
            self.assertEqual(exc.__context__.__context__.args, ("outer",))
            self.check_traceback(exc)

    def test_traceback(self):
        for cause in (), (None,), (ValueError("cause"),):
            with self.subTest(cause=cause):
                error = BrokenPipeError(errno.EPIPE, "pipe")
                exc = self.send(error, *cause)
                check_error(self, exc)
                self.assertIs(exc.__cause__, cause[0] if cause else None)
                self.assertIs(exc.__suppress_context__, bool(cause))
                self.assertEqual(exc.__context__.args, ("inner",))
                self.assertEqual(exc.__context__.__context__.args,
                                 ("outer",))
                self.check_traceback(exc)

    def check_traceback(self, exc):
        frames = [frame for frame, _ in traceback.walk_tb(exc.__traceback__)]
        self.assertEqual(frames[-1].f_code.co_name, "sendall")
        for frame in frames:
            # If this referred to the error, there would be a cycle.
            if frame.f_code.co_name == "_raise_closed":
                self.assertEqual(frame.f_locals, {})

    @support.cpython_only
    def test_no_cycle(self):
        exc = self.send(BrokenPipeError(errno.EPIPE, "pipe"))
        check_error(self, exc)
        with support.disable_gc():
            exc = weakref.ref(exc)
            self.assertIsNone(exc())

    def test_which_branch(self):
        # An except clause does what it has always done.
        self.assertFalse(issubclass(http.client.ConnectionClosed,
                                    (OSError, http.client.HTTPException)))
        self.assertFalse(issubclass(http.client.IncompleteRead,
                                    http.client.ConnectionClosed))
        self.assertIn("ConnectionClosed", http.client.__all__)

    def test_text(self):
        received = stand_alone(LENGTH + b"abc")
        with self.assertRaises(http.client.ConnectionClosed) as caught:
            received.read()
        for text in str(caught.exception), repr(caught.exception):
            self.assertEqual(text,
                             "IncompleteRead(3 bytes read, 7 more expected)")

    # Guard: it remains what it is if it cannot be more.
    def test_without_the_classes(self):
        error = BrokenPipeError(errno.EPIPE, "pipe")
        self.send(error)
        classes = vars(http).pop("_closed", None)
        if classes is not None:
            self.addCleanup(setattr, http, "_closed", classes)
        with support.swap_item(sys.modules, "http._closed", None):
            self.assertIs(self.send(error), error)
            self.assertRaises(http.client.IncompleteRead,
                              stand_alone(LENGTH).read)

    @unittest.skipIf(ssl is None, "there is no such module anyway")
    def test_without_ssl(self):
        http_peer.run_without_ssl("test.test_http_truncation",
                                  "ErrorTests.test_every_class",
                                  "HeadTests.test_reset")


@unittest.skipIf(ssl is None, "needs an encrypted connection")
class CloseNotifyTests(TruncationTestCase):
    """HTTPSConnection.require_close_notify"""

    DATA = b"HTTP/1.1 200 OK\r\n\r\nab\ncd"

    def versions(self):
        for self.tls in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            yield self.tls

    def test_default(self):
        self.assertIs(http.client.HTTPSConnection.require_close_notify, False)

    def test_cut(self):
        def connect(peer):
            return peer.connect(Connection)

        class Connection(http.client.HTTPSConnection):
            require_close_notify = True

        self.connect = connect
        for _ in self.versions():
            for function in (read, *IN_PARTS):
                self.check_cut(self.DATA, b"ab\ncd", function)

    # Guard: these ends are as good as ever.
    def test_whole(self):
        for _ in self.versions():
            for require, data, end in (
                    (True, self.DATA, http_peer.Link.end_tls),
                    (True, response(b"ab\ncd"), http_peer.Link.close),
                    (True, WHOLE_BODIES[1], http_peer.Link.close),
                    (False, self.DATA, http_peer.Link.close)):
                for function in read, *IN_PARTS:
                    with (self.serve(data, end) as (peer, conn),
                          self.subTest(require=require, function=function)):
                        conn.require_close_notify = require
                        received = conn.getresponse()
                        self.assertEqual(b"".join(function(received)),
                                         b"ab\ncd")
                        self.check_fresh(peer, conn)

    def test_another_reader(self):
        class Response(http.client.HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)
                self.fp.close()
                self.fp = sock.makefile("rb")

        for _ in self.versions():
            with self.serve(self.DATA) as (peer, conn):
                conn.response_class = Response
                conn.require_close_notify = True
                received = conn.getresponse()
                self.assertRaises(ssl.SSLEOFError, received.read)
                received.close()

    class Response:
        """A response that has only what HTTPConnection has to know."""

        will_close = False

        def __init__(self, sock, method):
            self.file = sock.makefile("rb")
            self.close = self.file.close

        def begin(self):
            self.file.readline()

        def isclosed(self):
            return self.file.closed

    def test_another_class(self):
        for _ in self.versions():
            with self.serve(self.DATA) as (peer, conn):
                conn.response_class = self.Response
                conn.require_close_notify = True
                received = conn.getresponse()
                self.assertRaises(ssl.SSLEOFError, received.file.read)
                received.close()

    def test_another_socket(self):
        # It has no way to say what has ended.
        for _ in self.versions():
            for cls in http.client.HTTPResponse, self.Response:
                with self.connect_by_bio(self.DATA) as conn:
                    made = []

                    def make(*args, **kwargs):
                        made.append(cls(*args, **kwargs))
                        return made[0]

                    conn.response_class = make
                    with self.assertRaisesRegex(http.client.HTTPException,
                                                "close_notify"):
                        conn.getresponse()
                    self.assertTrue(made[0].isclosed())
                    self.assertIsNone(conn.sock)
            for data in WHOLE_BODIES[:3]:
                with self.connect_by_bio(data) as conn:
                    self.assertEqual(conn.getresponse().read(), b"ab\ncd")

    @contextlib.contextmanager
    def connect_by_bio(self, data):
        def script(link):
            link.request()
            link.send(data)
            link.close()

        with (self.subTest(data=data), Peer(script, tls=self.tls) as peer,
              socket.create_connection((http_peer.HOST, peer.port)) as sock):
            conn = peer.connect()
            conn.sock = http_peer.BIOSocket(sock, peer.client_context())
            conn.require_close_notify = True
            conn.request("GET", "/")
            yield conn

    # Guard: whose protocol it is then has to know how it ends.
    def test_another_protocol(self):
        def script(link):
            link.request()
            link.send(head)
            link.close()

        for _ in self.versions():
            for method, head in (
                    ("CONNECT", b"HTTP/1.1 200 OK\r\n\r\n"),
                    ("GET", b"HTTP/1.1 101 Switching Protocols\r\n\r\n")):
                with (self.subTest(method=method),
                      Peer(script, tls=self.tls) as peer):
                    conn = peer.connect()
                    conn.require_close_notify = True
                    conn.request(method, "/")
                    received = conn.getresponse()
                    sock = received.fp.raw._sock
                    self.assertTrue(sock.suppress_ragged_eofs)
                    self.assertEqual(sock.recv(1), b"")
                    received.close()

    def test_another_error(self):
        # An alert says more than that the connection has ended.
        error = ssl.SSLError(int(ssl.SSL_ERROR_SSL), "alert")
        for _ in self.versions():
            with self.serve(self.DATA) as (peer, conn):
                conn.require_close_notify = True
                received = conn.getresponse()
                self.assertEqual(received.read(5), b"ab\ncd")
                with mock.patch.object(ssl.SSLSocket, "recv_into",
                                       side_effect=error):
                    with self.assertRaises(ssl.SSLError) as caught:
                        received.read(1)
                self.assertIs(caught.exception, error)
                # That was not the end.
                self.assertRaises(http.client.IncompleteRead, received.read, 1)

    def test_end_met_before(self):
        # Looking ahead, nobody asks in which way it ends.
        sock, other = socket.socketpair()
        with sock, other, http.client.HTTPResponse(sock) as received:
            received.fp.raw.pending = self.DATA
            received.fp.raw.ended = True
            received.begin()
            received.fp.require_tls_end()
            self.assertEqual(received.read(5), b"ab\ncd")
            self.assertRaises(http.client.IncompleteRead, received.read, 1)


class UrlretrieveTests(unittest.TestCase):

    def retrieve(self, data):
        def script(link):
            link.request()
            link.send(data)
            link.close()

        with Peer(script) as peer:
            self.addCleanup(urllib.request.urlcleanup)
            urllib.request.urlretrieve(f"http://{http_peer.HOST}:{peer.port}")

    # Guard: with a length, it goes on raising this.
    def test_content_too_short(self):
        for body in b"", b"abc":
            with self.subTest(body=body):
                with self.assertRaises(
                        urllib.error.ContentTooShortError) as caught:
                    self.retrieve(LENGTH + body)
                name, headers = caught.exception.content
                with open(name, "rb") as file:
                    self.assertEqual(file.read(), body)

    def test_incomplete_read(self):
        both = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                b"Content-Length: 10\r\n\r\n")
        for data in (chunked(b"5\r\nabcde\r\n", b"0"),
                     both + b"5\r\nabcde\r\n", both + b"a\r\nabcdefghij\r\n0"):
            with (self.subTest(data=data),
                  self.assertRaises(http.client.IncompleteRead)):
                self.retrieve(data)

    # Guard: never pass over it, whatever has raised it.
    def test_another_response(self):
        for length in None, "0":
            headers = http.client.HTTPMessage()
            if length is not None:
                headers["Content-Length"] = length
            source = mock.MagicMock()
            source.__enter__.return_value = source
            source.info.return_value = headers
            source.read.side_effect = http.client.IncompleteRead(b"", 5)
            with (self.subTest(length=length),
                  mock.patch("urllib.request.urlopen", return_value=source),
                  self.assertRaises(http.client.IncompleteRead)):
                self.addCleanup(urllib.request.urlcleanup)
                urllib.request.urlretrieve("http://example.com/")


if __name__ == "__main__":
    unittest.main()
