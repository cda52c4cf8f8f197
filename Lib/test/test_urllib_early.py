"""Tests of responses that come while the body is still being sent."""

import http.client
import io
import threading
import unittest
import urllib.error
import xmlrpc.client
from test import http_peer, support
from test.http_peer import response

SIZE = 6_000_000
REFUSAL = response(b"too much", status=b"413 Content Too Large")


def refusing(answer):
    """Return a script that answers before it has received the body."""
    def script(link):
        link.sock.recv(65536)
        link.send(answer)
        link.close()
    return script


@http_peer.over_tls
class EarlyResponseTests(http_peer.URLTestCase):

    def test_urlopen_returns_the_response(self):
        for data in (b"x" * SIZE, io.BytesIO(b"x" * SIZE),
                     [b"x" * 10_000] * (SIZE // 10_000)):
            with self.subTest(type(data)):
                peer = self.peer(refusing(REFUSAL))
                error = self.get(self.opener(peer=peer), peer, data=data)
                self.assertEqual(error.code, 413)
                self.assertEqual(error.headers["Content-Length"], "8")
                self.assertEqual(peer.accepted, 1)

    # Guard: there is no response to return.
    def test_server_that_does_not_answer(self):
        for answer in b"", b"HTTP/1.1 413 ":
            with self.subTest(answer=answer):
                peer = self.peer(refusing(answer))
                with self.assertRaises(urllib.error.URLError):
                    self.open(self.opener(peer=peer), peer, data=b"x" * SIZE)
                self.assertEqual(peer.accepted, 1)

    # Guard: the class of do_open() need not be an HTTPConnection.
    def test_connection_of_another_class(self):
        class Connection:
            sock = None

            def __init__(self, host, timeout):
                self.conn = http.client.HTTPConnection(host, timeout=timeout)
                self.set_debuglevel = self.conn.set_debuglevel
                self.request = self.conn.request
                self.close = self.conn.close

        class Handler(urllib.request.HTTPHandler):
            def http_open(self, req):
                return self.do_open(Connection, req)

        peer = self.peer(refusing(b""))
        with self.assertRaises(urllib.error.URLError):
            self.open(self.opener(Handler), peer, data=b"x" * SIZE)

    # Guard: this is an error of the caller, not of the connection.
    def test_body_that_fails(self):
        def script(link):
            link.reader.readline()
            link.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            received.set()
            link.wait_closed()

        def body(error):
            yield b"x"
            received.wait(support.SHORT_TIMEOUT)
            raise error("from the body")

        for error in (OSError, ConnectionResetError,
                      http.client.RemoteDisconnected):
            received = threading.Event()
            with self.subTest(error):
                peer = self.peer(script)
                with self.assertRaisesRegex(urllib.error.URLError,
                                            "from the b") as caught:
                    self.open(self.opener(peer=peer), peer, data=body(error))
                # It does not wait for a response.
                self.assertIsNone(caught.exception.__cause__)

    def test_xmlrpc_raises_protocol_error(self):
        peer = self.peer(refusing(REFUSAL))
        options = {"context": peer.client_context()} if self.tls else {}
        with xmlrpc.client.ServerProxy(self.url(peer), **options) as proxy:
            with self.assertRaises(xmlrpc.client.ProtocolError) as caught:
                proxy.store("x" * SIZE)
        self.assertEqual(caught.exception.errcode, 413)
        self.assertEqual(peer.accepted, 1)


if __name__ == "__main__":
    unittest.main()
