"""HTTPSConnection.require_close_notify: TLS has to end before the body."""

import contextlib
import http.client
import unittest
from http.client import ConnectionClosed, HTTPConnection, IncompleteRead
from test.http_peer import (READERS, Link, Peer, PeerTestCase, chunked,
                            response, ssl)

if ssl is None:
    raise unittest.SkipTest("needs ssl")

# A body that ends with the connection.
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nab\ncd"


class CloseNotifyTests:

    @contextlib.contextmanager
    def serve_body(self, data, end, require):
        class Connection(http.client.HTTPSConnection):
            require_close_notify = require

        with (self.subTest(require=require),
              self.answered(data, end, cls=Connection) as conn):
            yield conn

    def test_default(self):
        self.assertIs(http.client.HTTPSConnection.require_close_notify, False)
        self.assertFalse(hasattr(HTTPConnection, "require_close_notify"))

    def test_set_on_an_object(self):
        with Peer(Link.answer, Link.answer, tls=self.tls) as peer:
            for require in False, True:
                conn = peer.connect()
                conn.require_close_notify = require
                conn.connect()
                self.assertIs(conn.sock.suppress_ragged_eofs, not require)
                conn.close()

    def test_body_without_close_notify(self):
        for reader in "read", "read(2)", "read1", "readinto", "iter", "peek":
            with (self.subTest(reader=reader),
                  self.serve_body(ENDLESS, Link.close, True) as conn):
                received = conn.getresponse()
                with self.assertRaises(ssl.SSLEOFError) as caught:
                    list(READERS[reader](received))
                self.assertIsInstance(caught.exception, ConnectionClosed)
                self.assertEqual(caught.exception.library, "SSL")
                with self.assertRaises(IncompleteRead):
                    received.read(1)

    # Guard: an end before the body always raises.
    def test_head_without_close_notify(self):
        for data in b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nX: y\r\n":
            with (self.serve_body(data, Link.close, True) as conn,
                  self.assertRaises(ConnectionClosed)):
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
            with self.serve_body(data, end, require) as conn:
                self.assertEqual(conn.getresponse().read(), b"ab\ncd")


class TLSv1_2Tests(CloseNotifyTests, PeerTestCase):
    tls = ssl.TLSVersion.TLSv1_2


class TLSv1_3Tests(CloseNotifyTests, PeerTestCase):
    tls = ssl.TLSVersion.TLSv1_3


if __name__ == "__main__":
    unittest.main()
