"""HTTPSConnection.require_close_notify: TLS has to end before the body."""

import contextlib
import http.client
import unittest
from test import support
from test.http_peer import Link, Peer, chunked, response, wait_readable

try:
    import ssl
except ImportError:
    raise unittest.SkipTest("needs ssl")

support.requires_working_socket(module=True)

# A body that ends with the connection.
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nab\ncd"

READERS = {
    "read": lambda received: received.read(),
    "read(9)": lambda received: received.read(9) + received.read(9),
    "read1": lambda received: b"".join(iter(received.read1, b"")),
    "readinto": lambda received: [
        *iter(lambda: received.readinto(bytearray(2)), 0)],
    "readline": lambda received: b"".join(received),
    "peek": lambda received: [
        *iter(lambda: received.read(len(received.peek())), b"")],
}


class CloseNotifyTests:

    @contextlib.contextmanager
    def serve(self, data, end, require):
        """Give a connection over which a request has been sent; *data*,
        then the end, is the answer."""
        def script(link):
            link.request()
            link.send(data)
            end(link)

        def fresh(link):
            link.answer(b"fresh")

        class Connection(http.client.HTTPSConnection):
            require_close_notify = require

        with (self.subTest(data=data, end=end, require=require),
              Peer(script, fresh, tls=self.tls) as peer):
            conn = peer.connect(Connection)
            conn.request("GET", "/")
            yield conn
            # Whatever the end was, the next request has a new connection.
            if conn.sock is not None:
                wait_readable(conn.sock)
            conn.request("GET", "/fresh")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_default(self):
        self.assertIs(http.client.HTTPSConnection.require_close_notify, False)
        self.assertFalse(hasattr(http.client.HTTPConnection,
                                 "require_close_notify"))

    def test_set_on_an_object(self):
        with Peer(Link.answer, Link.answer, tls=self.tls) as peer:
            for require in False, True:
                conn = peer.connect()
                conn.require_close_notify = require
                conn.connect()
                self.assertIs(conn.sock.suppress_ragged_eofs, not require)
                conn.close()

    def test_body_without_close_notify(self):
        for reader, read in READERS.items():
            with (self.subTest(reader=reader),
                  self.serve(ENDLESS, Link.close, True) as conn):
                received = conn.getresponse()
                with self.assertRaises(ssl.SSLEOFError) as caught:
                    read(received)
                self.assertIsInstance(caught.exception,
                                      http.client.ConnectionClosed)
                self.assertEqual(caught.exception.library, "SSL")
                with self.assertRaises(http.client.IncompleteRead):
                    received.read(1)

    # Guard: an end before the body always raises.
    def test_head_without_close_notify(self):
        for data in b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nX: y\r\n":
            with self.serve(data, Link.close, True) as conn:
                with self.assertRaises(http.client.ConnectionClosed):
                    conn.getresponse()

    # Guard: these ends are sound.
    def test_whole_body(self):
        chunks = chunked(b"5\r\nab\ncd\r\n", b"0\r\n\r\n")
        for data, end, require in (
                (ENDLESS, Link.end_tls, True),
                (ENDLESS, Link.close, False),
                # These do not end with the connection.
                (response(b"ab\ncd"), Link.close, True),
                (chunks, Link.close, True)):
            with self.serve(data, end, require) as conn:
                self.assertEqual(conn.getresponse().read(), b"ab\ncd")


class TLSv1_2Tests(CloseNotifyTests, unittest.TestCase):
    tls = ssl.TLSVersion.TLSv1_2


class TLSv1_3Tests(CloseNotifyTests, unittest.TestCase):
    tls = ssl.TLSVersion.TLSv1_3


if __name__ == "__main__":
    unittest.main()
