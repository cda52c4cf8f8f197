"""ConnectionClosed: the exceptions raised if the server closes."""

import copy
import errno
import http.client
import io
import pickle
import unittest
import weakref
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected
from test import support
from test.http_peer import (READERS, Link, PeerTestCase, answering, chunked,
                            over_tls, read_from_file, response, ssl,
                            wait_readable)

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
SECTION = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: y\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"

# What comes before the end of the connection, and the class that is raised,
# beside ConnectionClosed, by getresponse() or by reading the body.
CUT = [(data, cls) for cls, cuts in (
    (RemoteDisconnected, [b"", INTERIM]),
    (BadStatusLine, [b"H", b"HTTP/1.1 200 OK", INTERIM + b"HTTP/1.1 200"]),
    (IncompleteRead, [
        b"HTTP/1.1 200 OK\r\n", SECTION, SECTION + b"Z", INTERIM + SECTION,
        LENGTH, LENGTH + b"abc", chunked(), chunked(b"3\r\nab"),
        chunked(b"3\r\nabc\r\n0\r\nX: y")]),
) for data in cuts]


class ClosedTestCase(PeerTestCase):

    def check_copies(self, exc):
        """Check that copies are equal to *exc* in all that can be seen."""
        copies = [copy.copy(exc), copy.deepcopy(exc)]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            copies.append(pickle.loads(pickle.dumps(exc, protocol)))
        for other in copies:
            self.assertIs(type(other), type(exc))
            for show in vars, str, repr, lambda exc: exc.args:
                self.assertEqual(show(other), show(exc))

    def check_raises(self, cls, function, *args):
        """Check that *function* raises *cls*, as a ConnectionClosed."""
        with self.assertRaises(http.client.ConnectionClosed) as caught:
            function(*args)
        self.assertIsInstance(caught.exception, cls)
        self.check_copies(caught.exception)
        return caught.exception


@over_tls
class CutTests(ClosedTestCase):

    def read(self, conn, reader="read"):
        with conn.getresponse() as received:
            list(READERS[reader](received))

    def test_each_phase(self):
        for end in (Link.close, Link.end_tls) if self.tls else (Link.close,):
            for data, cls in CUT:
                with self.answered(data, end) as conn:
                    self.check_raises(cls, self.read, conn)
                    self.check_fresh(conn)

    def test_each_way_of_reading(self):
        for reader in READERS:
            for data in LENGTH + b"ab", chunked(b"3\r\nab"):
                with self.subTest(reader=reader), self.answered(data) as conn:
                    self.check_raises(IncompleteRead, self.read, conn, reader)

    def test_exceptions_are_in_no_cycle(self):
        # Otherwise sockets stay open until the garbage collector runs.
        for data, _ in CUT:
            for end in Link.close, Link.reset:
                with self.answered(data, end) as conn, support.disable_gc():
                    try:
                        self.read(conn)
                    except http.client.ConnectionClosed as exc:
                        reference = weakref.ref(exc)
                    self.assertIsNone(reference())

    def test_reset_before_the_response(self):
        with self.answered(b"", Link.reset) as conn:
            exc = self.check_raises(RemoteDisconnected, conn.getresponse)
            self.assertIsInstance(exc, ConnectionResetError)
            self.assertEqual(exc.errno, errno.ECONNRESET)

    def test_reset_in_the_response(self):
        for data in (SECTION, LENGTH + b"a", chunked(b"1\r\na"),
                     chunked(b"2\r\na")):
            with self.subTest(data=data):
                conn = self.start(data, end=Link.reset)
                conn.request("GET", "/")
                self.go_on()
                if data is SECTION:
                    self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
                    function = conn.getresponse
                else:
                    function = conn.getresponse().read
                self.go_on()
                exc = self.check_raises(ConnectionResetError, function)
                self.assertEqual(exc.errno, errno.ECONNRESET)
                self.assertIs(type(exc.__cause__), ConnectionResetError)


class OtherTests(ClosedTestCase):

    def test_before_the_request(self):
        with self.answered(response(b"first")) as conn:
            self.assertEqual(conn.getresponse().read(), b"first")
            wait_readable(conn.sock)
            conn.auto_open = 0
            self.check_raises(RemoteDisconnected, conn.request, "GET", "/")

    def test_proxy(self):
        for data, _ in CUT[:9]:
            with (self.subTest(data=data),
                  self.serve(answering(data, end=Link.close)) as conn):
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
            with self.subTest(body=type(body)), self.serve(script) as conn:
                self.check_raises(ConnectionError,
                                  conn.request, "POST", "/", body)
                received = conn.getresponse()
                self.assertEqual(received.status, 413)
                self.assertEqual(received.read(), b"too large")

    def test_response_from_a_file(self):
        received = read_from_file(LENGTH + b"abc")
        exc = self.check_raises(IncompleteRead, received.read)
        self.assertEqual((exc.partial, exc.expected), (b"abc", 7))
        for text in str(exc), repr(exc):
            self.assertEqual(
                text, "IncompleteRead(3 bytes read, 7 more expected)")

    def test_malformed_chunk(self):
        # This is an error of the server, but it has not closed.
        with self.answered(chunked(b"zz\r\n"), Link.wait_closed) as conn:
            received = conn.getresponse()
            with self.assertRaises(IncompleteRead) as caught:
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
                self.check_copies(exc)

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
        self.assertTrue(issubclass(RemoteDisconnected, closed))
        for cls in (IncompleteRead, BadStatusLine, http.client.NotConnected,
                    ConnectionError):
            with self.subTest(cls=cls):
                self.assertFalse(issubclass(cls, closed))
        self.assertIn("ConnectionClosed", http.client.__all__)


if __name__ == "__main__":
    unittest.main()
