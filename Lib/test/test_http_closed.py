"""ConnectionClosed: the exceptions raised if the server closes."""

import contextlib
import copy
import errno
import http.client
import io
import pickle
import threading
import unittest
import weakref
from test import support
from test.http_peer import (Link, Peer, chunked, over_tls, response,
                            wait_readable)

try:
    import ssl
except ImportError:
    ssl = None

support.requires_working_socket(module=True)

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
SECTION = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: y\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"

# What comes before the end of the connection, and the class that is raised,
# beside ConnectionClosed, by getresponse() or by reading the body.
CUT = [
    (b"", http.client.RemoteDisconnected),
    (INTERIM, http.client.RemoteDisconnected),
    (b"H", http.client.BadStatusLine),
    (b"HTTP/1.1 200 OK", http.client.BadStatusLine),
    (INTERIM + b"HTTP/1.1 200", http.client.BadStatusLine),
    (b"HTTP/1.1 200 OK\r\n", http.client.IncompleteRead),
    (SECTION, http.client.IncompleteRead),
    (SECTION + b"Z", http.client.IncompleteRead),
    (INTERIM + SECTION, http.client.IncompleteRead),
    (LENGTH, http.client.IncompleteRead),
    (LENGTH + b"abc", http.client.IncompleteRead),
    (chunked(), http.client.IncompleteRead),
    (chunked(b"3\r\nab"), http.client.IncompleteRead),
    (chunked(b"3\r\nabc\r\n0\r\nX: y"), http.client.IncompleteRead),
]

READERS = {
    "read": lambda received: received.read(),
    "read(1)": lambda received: [*iter(lambda: received.read(1), b"")],
    "read1": lambda received: [*iter(received.read1, b"")],
    "readinto": lambda received: [
        *iter(lambda: received.readinto(bytearray(2)), 0)],
    "readline": lambda received: [*received],
    "peek": lambda received: received.read(2) and received.peek(),
}


def check_copies(test, exc):
    """Check that copies are equal to *exc* in all that can be seen."""
    copies = [copy.copy(exc), copy.deepcopy(exc)]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copies.append(pickle.loads(pickle.dumps(exc, protocol)))
    for other in copies:
        test.assertIs(type(other), type(exc))
        test.assertEqual(other.args, exc.args)
        test.assertEqual(str(other), str(exc))
        test.assertEqual(repr(other), repr(exc))
        test.assertEqual(vars(other), vars(exc))


class ClosedTestCase(unittest.TestCase):

    tls = None

    @contextlib.contextmanager
    def serve(self, data, end=Link.close, cls=None):
        """Give a connection over which a request has been sent; *data*,
        then the end, is the answer."""
        def script(link):
            link.request()
            link.send(data)
            end(link)

        with self.subTest(data=data), Peer(script, tls=self.tls) as peer:
            conn = peer.connect(cls)
            conn.request("GET", "/")
            yield conn

    def check_raises(self, cls, function, *args):
        """Check that *function* raises *cls*, as a ConnectionClosed."""
        with self.assertRaises(http.client.ConnectionClosed) as caught:
            function(*args)
        self.assertIsInstance(caught.exception, cls)
        check_copies(self, caught.exception)
        return caught.exception


@over_tls
class CutTests(ClosedTestCase):

    def get(self, conn, reader):
        with conn.getresponse() as received:
            READERS[reader](received)

    def test_each_phase(self):
        ends = [Link.close] if self.tls is None else [Link.close, Link.end_tls]
        for end in ends:
            for data, cls in CUT:
                with self.subTest(end=end), self.serve(data, end) as conn:
                    self.check_raises(cls, self.get, conn, "read")

    def test_each_way_of_reading(self):
        for reader in READERS:
            for data in LENGTH + b"ab", chunked(b"3\r\nab"):
                with self.subTest(reader=reader), self.serve(data) as conn:
                    self.check_raises(http.client.IncompleteRead,
                                      self.get, conn, reader)

    def test_exceptions_are_in_no_cycle(self):
        # Otherwise sockets stay open until the garbage collector runs.
        for data, _ in CUT:
            for end in Link.close, Link.reset:
                with self.serve(data, end) as conn, support.disable_gc():
                    try:
                        self.get(conn, "read")
                    except http.client.ConnectionClosed as exc:
                        reference = weakref.ref(exc)
                    self.assertIsNone(reference())

    def test_reset_before_the_response(self):
        with self.serve(b"", Link.reset) as conn:
            exc = self.check_raises(http.client.RemoteDisconnected,
                                    conn.getresponse)
            self.assertIsInstance(exc, ConnectionResetError)
            self.assertEqual(exc.errno, errno.ECONNRESET)

    def test_reset_in_the_response(self):
        go_on = threading.Event()

        def end(link):
            go_on.wait(support.SHORT_TIMEOUT)
            link.reset()

        for data in (SECTION, LENGTH + b"a", chunked(b"1\r\na"),
                     chunked(b"2\r\na")):
            go_on.clear()
            with self.serve(data, end) as conn:
                function = conn.getresponse
                if data is SECTION:
                    self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
                else:
                    function = conn.getresponse().read
                go_on.set()
                exc = self.check_raises(ConnectionResetError, function)
                self.assertEqual(exc.errno, errno.ECONNRESET)
                self.assertIs(type(exc.__cause__), ConnectionResetError)


class OtherTests(ClosedTestCase):

    def test_before_the_request(self):
        with self.serve(response(b"first")) as conn:
            self.assertEqual(conn.getresponse().read(), b"first")
            wait_readable(conn.sock)
            conn.auto_open = 0
            self.check_raises(http.client.RemoteDisconnected,
                              conn.request, "GET", "/")

    def test_proxy(self):
        for data, _ in CUT[:9]:
            def script(link):
                link.request()
                link.send(data)
                link.close()

            with self.subTest(data=data), Peer(script) as peer:
                conn = peer.connect()
                conn.set_tunnel("example.com", 80)
                self.check_raises(Exception, conn.connect)

    def test_response_during_the_request(self):
        # The server does not want the body.
        def script(link):
            link.reader.readline()
            link.send(response(b"too large", b"Connection: close",
                               status=b"413 Content Too Large"))
            link.close()

        data = bytes(8_000_000)
        for body in data, io.BytesIO(data), iter([data[:65536]] * 122):
            with self.subTest(body=type(body)), Peer(script) as peer:
                conn = peer.connect()
                self.check_raises(ConnectionError,
                                  conn.request, "POST", "/", body)
                received = conn.getresponse()
                self.assertEqual(received.status, 413)
                self.assertEqual(received.read(), b"too large")

    def test_response_from_a_file(self):
        class Socket:
            def makefile(self, mode):
                return io.BytesIO(LENGTH + b"abc")

        received = http.client.HTTPResponse(Socket())
        received.begin()
        exc = self.check_raises(http.client.IncompleteRead, received.read)
        self.assertEqual((exc.partial, exc.expected), (b"abc", 7))
        for text in str(exc), repr(exc):
            self.assertEqual(text,
                             "IncompleteRead(3 bytes read, 7 more expected)")

    def test_malformed_chunk(self):
        # This is an error of the server, but it has not closed.
        with self.serve(chunked(b"zz\r\n"), Link.wait_closed) as conn:
            received = conn.getresponse()
            with self.assertRaises(http.client.IncompleteRead) as caught:
                received.read()
            self.assertNotIsInstance(caught.exception,
                                     http.client.ConnectionClosed)
            conn.close()


class ErrorTests(ClosedTestCase):
    """What is raised for the errors that a socket raises."""

    def send(self, error):
        """Return what is raised if sending raises *error*."""
        class Socket:
            def sendall(self, data):
                raise error

            def close(self):
                pass

        conn = http.client.HTTPConnection("example.com")
        conn.sock = Socket()
        with self.assertRaises(type(error)) as caught:
            conn.request("GET", "/")
        conn.close()
        return caught.exception

    def errors(self):
        yield BrokenPipeError(errno.EPIPE, "pipe")
        yield BrokenPipeError()
        yield ConnectionResetError(errno.ECONNRESET, "reset")
        yield ConnectionResetError("no number")
        yield ConnectionAbortedError(errno.ECONNABORTED, "aborted")
        if ssl is not None:
            yield ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred")
            error = ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "closed")
            error.reason, error.library = "REASON", "SSL"   # as ssl does
            yield error

    def test_errors_of_a_closed_connection(self):
        for error in self.errors():
            with self.subTest(error=error):
                exc = self.send(error)
                self.assertIsInstance(exc, http.client.ConnectionClosed)
                self.assertNotIsInstance(exc, http.client.HTTPException)
                self.assertEqual(exc.args, error.args)
                self.assertEqual((exc.errno, exc.strerror, str(exc)),
                                 (error.errno, error.strerror, str(error)))
                self.assertIs(exc.__cause__, error)
                self.assertEqual(vars(exc), vars(error))
                check_copies(self, exc)

    # Guard: other errors say nothing of an end.
    def test_other_errors(self):
        for error in TimeoutError("timed out"), OSError(errno.ENOBUFS, "no"):
            with self.subTest(error=error):
                exc = self.send(error)
                self.assertIs(exc, error)
                self.assertIsNone(exc.__cause__)

    def test_classes(self):
        closed = http.client.ConnectionClosed
        self.assertFalse(issubclass(closed,
                                    (OSError, http.client.HTTPException)))
        self.assertTrue(issubclass(http.client.RemoteDisconnected, closed))
        for cls in (http.client.IncompleteRead, http.client.BadStatusLine,
                    http.client.NotConnected, ConnectionError):
            with self.subTest(cls=cls):
                self.assertFalse(issubclass(cls, closed))
        self.assertIn("ConnectionClosed", http.client.__all__)


if __name__ == "__main__":
    unittest.main()
