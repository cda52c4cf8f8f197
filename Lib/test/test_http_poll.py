"""Tests of HTTPConnection.fileno() and poll_response() (gh-53949)."""

import io
import select
import selectors
import signal
import socket
import time
import unittest
from http.client import (HTTPConnection, HTTPResponse, NotConnected,
                         ResponseNotReady)
from test import support
from test.http_peer import (FORGED, Interrupted, Link, OwnReader, PeerTestCase,
                            SocketWrapper, answering, chunked, in_pieces,
                            over_tls, response, ssl, wait_readable)

TIMEOUT = response(b"bye", b"Connection: close", status=b"408 Request Timeout")


class PollTestCase(PeerTestCase):

    def ask(self, *segments, **kwargs):
        """Return a connection over which a request has been sent."""
        conn = self.start(*segments, **kwargs)
        conn.request("GET", "/")
        return conn

    def start_idle(self, *segments, **kwargs):
        """Return a connection after one exchange."""
        conn = self.ask(response(b"first"), *segments, **kwargs)
        self.go_on()
        self.assertEqual(conn.getresponse().read(), b"first")
        return conn

    def check_ready(self, conn):
        for timeout in support.SHORT_TIMEOUT, 0:
            self.assertIs(conn.poll_response(timeout), True)

    def check_response(self, conn):
        self.check_ready(conn)
        self.assertEqual(conn.getresponse().read(), b"hello")

    def check_not_ready(self, conn):
        for timeout in 0, 0.01:
            self.assertIs(conn.poll_response(timeout), False)


@over_tls
class OutstandingTests(PollTestCase):
    """A request has been sent."""

    def test_response_in_pieces(self):
        message = response(b"hello")
        conn = self.ask(message[:1], message[1:])
        self.check_not_ready(conn)
        self.go_on()
        self.check_ready(conn)
        self.go_on()
        self.check_response(conn)
        self.check_not_ready(conn)

    def test_negative_timeout(self):
        conn = self.ask()
        for timeout in -0.001, -1:
            with self.subTest(timeout=timeout):
                self.assertIs(conn.poll_response(timeout), False)

    def test_large_timeout(self):
        for timeout in None, 1e9, float("inf"):
            with self.subTest(timeout=timeout):
                conn = self.ask(response(b"hello"))
                self.go_on()
                self.assertIs(conn.poll_response(timeout), True)

    def test_line_ends_are_not_a_response(self):
        conn = self.ask(b"\r\n", response(b"hello"))
        self.go_on()
        self.check_not_ready(conn)
        self.go_on()
        self.check_response(conn)

    def test_bytes_that_the_descriptor_does_not_show(self):
        # They came with those of the response before, or TLS has them.
        first = chunked(b"5\r\nfirst\r\n", b"0\r\n\r\n")
        with self.serve(answering(first[:-5], first[-5:]
                                  + response(b"hello"))) as conn:
            received = self.get(conn)
            conn.request("GET", "/")
            self.assertEqual(received.read(), b"first")
            self.assertEqual(select.select([conn], [], [], 0)[0], [])
            self.check_response(conn)

    def test_end(self):
        for end in Link.close, Link.reset:
            with self.subTest(end):
                conn = self.ask(end=end)
                self.check_not_ready(conn)
                self.go_on()
                self.check_ready(conn)
                with self.assertRaises(ConnectionError):
                    conn.getresponse()
                self.assertEqual(conn.fileno(), -1)

    def test_after_a_timeout(self):
        conn = self.ask(response(b"hello"))
        conn.sock.settimeout(0.01)
        with self.assertRaises(TimeoutError):
            conn.getresponse()
        self.check_not_ready(conn)
        conn.sock.settimeout(support.SHORT_TIMEOUT)
        self.go_on()
        self.check_response(conn)

    def test_timeout_of_the_socket(self):
        # It plays no part, and stays as it is.
        for timeout in support.SHORT_TIMEOUT, None, 0, 0.01:
            with self.subTest(timeout=timeout):
                conn = self.ask(response(b"hello"))
                conn.sock.settimeout(timeout)
                self.check_not_ready(conn)
                self.go_on()
                self.check_response(conn)
                self.assertEqual(conn.sock.gettimeout(), timeout)

    def test_response_class_with_a_constructor(self):
        class Response(HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)

        conn = self.ask(response(b"hello"))
        conn.response_class = Response
        self.go_on()
        self.check_response(conn)

    def test_interrupt(self):
        # Bytes that were received are lost: the rest is not a response.
        with self.answered(response(FORGED), Link.wait_closed,
                           mixin=Interrupted) as conn:
            wait_readable(conn.sock)
            conn.sock.armed = True
            with self.assertRaises(KeyboardInterrupt):
                conn.poll_response()
            self.assertEqual(conn.sock.gettimeout(), support.SHORT_TIMEOUT)
            with self.assertRaises((OSError, ResponseNotReady)):
                conn.getresponse()
            conn.close()
            self.check_fresh(conn)


@over_tls
class IdleTests(PollTestCase):
    """No request is outstanding."""

    def test_nothing(self):
        conn = self.start_idle()
        self.check_not_ready(conn)
        self.check_no_response(conn)
        self.assertEqual(conn.fileno(), conn.sock.fileno())

    def test_line_ends(self):
        conn = self.start_idle(b"\r\n\r\n")
        self.go_on()
        self.check_not_ready(conn)
        self.assertEqual(select.select([conn], [], [], 0)[0], [])

    def check_unusable(self, conn):
        self.check_not_ready(conn)
        self.go_on()
        self.check_ready(conn)
        self.check_no_response(conn)
        self.check_fresh(conn)

    def test_line_ends_without_end(self):
        conn = self.start_idle(b"\r\n" * 1000, mixin=in_pieces(1))
        self.go_on()
        self.assertTrue(conn.poll_response())
        self.check_fresh(conn)

    def test_unasked_bytes(self):
        # This also holds for 408, which announces the end.
        for data in TIMEOUT, response(b"stray"), b"\r\nH", b"?":
            with self.subTest(data=data):
                self.check_unusable(self.start_idle(data))

    def test_end(self):
        for end in [Link.close, Link.reset] + [Link.end_tls] * bool(self.tls):
            with self.subTest(end):
                self.check_unusable(self.start_idle(end=end))

    def test_before_the_first_request(self):
        with self.serve(lambda link: link.send(TIMEOUT)) as conn:
            conn.connect()
            self.check_ready(conn)
            self.check_no_response(conn)


class StateTests(PollTestCase):

    def test_not_connected(self):
        conn = HTTPConnection("localhost")
        self.assertEqual(conn.fileno(), -1)
        with self.assertRaises(NotConnected):
            conn.poll_response()

    def test_unread_response(self):
        conn = self.ask(response(b"hello"))
        self.go_on()
        received = conn.getresponse()
        with self.assertRaises(ResponseNotReady):
            conn.poll_response()
        received.read()
        self.check_not_ready(conn)

    def test_connection_that_takes_no_other_request(self):
        for message in (b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello",
                        response(b"hello")[:-1]):
            with self.subTest(message=message):
                conn = self.ask(message)
                self.go_on()
                conn.getresponse().close()
                with self.assertRaises(NotConnected):
                    conn.poll_response()

    def test_response_that_was_not_read(self):
        conn = self.ask(response(b"hello")[:-1])
        self.go_on()
        received = conn.getresponse()
        conn.request("GET", "/")
        received.close()
        with self.assertRaises(ResponseNotReady):
            conn.poll_response()

    def test_selectors(self):
        conn = self.start(response(b"hello"))
        with selectors.DefaultSelector() as selector:
            selector.register(conn, selectors.EVENT_READ)
            conn.request("GET", "/")
            self.go_on()
            self.assertTrue(selector.select(support.SHORT_TIMEOUT))
            self.check_response(conn)
            selector.unregister(conn)

    @unittest.skipUnless(hasattr(signal, "setitimer"), "needs setitimer()")
    def test_signals(self):
        # PEP 475: a signal neither ends the wait nor prolongs it.
        handled = []
        conn = self.ask()
        old = signal.signal(signal.SIGALRM, lambda *args: handled.append(1))
        self.addCleanup(signal.signal, signal.SIGALRM, old)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        start = time.monotonic()
        self.assertIs(conn.poll_response(0.1), False)
        self.assertGreaterEqual(time.monotonic() - start, 0.09)
        self.assertTrue(handled)


class ForeignTests(PollTestCase):
    """Sockets that are not those of the socket or of the ssl module."""

    def test_descriptor(self):
        conn = self.start(response(b"hello"), end=Link.close)
        conn.sock = SocketWrapper(conn.sock)
        conn.request("GET", "/")
        self.check_not_ready(conn)
        self.go_on()
        self.check_response(conn)
        self.check_not_ready(conn)
        self.go_on()
        self.check_ready(conn)

    def test_response_class_with_its_own_reader(self):
        conn = self.ask(response(b"hello"))
        conn.response_class = OwnReader
        self.check_not_ready(conn)
        self.go_on()
        self.check_response(conn)

    def test_negative_timeout(self):
        for wrap in SocketWrapper, lambda sock: sock:
            with self.subTest(wrap=wrap):
                conn = self.ask(response(b"hello"))
                conn.sock = wrap(conn.sock)
                self.assertIs(conn.poll_response(-1), False)

    def test_pending(self):
        # This tells what the descriptor does not show, as for SSLSocket.
        class Socket(io.BytesIO):
            def fileno(self):
                return quiet.fileno()

            def pending(self):
                return len(self.getvalue()) - self.tell()

            def makefile(self, mode):
                return self

            def sendall(self, data):
                pass

        quiet, other = socket.socketpair()
        with quiet, other:
            conn = HTTPConnection("localhost")
            conn.sock = Socket(response(b"hello"))
            conn.request("GET", "/")
            self.check_response(conn)
            conn.sock = Socket()
            conn.request("GET", "/")
            self.check_not_ready(conn)
            conn.close()


@unittest.skipUnless(ssl, "needs the ssl module")
class TLS13Tests(PollTestCase):
    """A descriptor is readable, and there is nothing to read."""

    tls = ssl and ssl.TLSVersion.TLSv1_3

    def test_tickets(self):
        for tickets in 2, 200:
            with self.subTest(tickets=tickets):
                conn = self.start(response(b"hello"), tickets=tickets)
                wait_readable(conn.sock)
                self.check_not_ready(conn)
                conn.request("GET", "/")
                self.check_not_ready(conn)
                self.go_on()
                self.check_response(conn)

    def test_part_of_a_record(self):
        # Reading would wait for the rest of it.
        conn = self.start_idle(
            end=lambda link: socket.socket.send(link.sock, b"\x17\x03\x03"))
        self.go_on()
        self.check_not_ready(conn)


if __name__ == "__main__":
    unittest.main()
