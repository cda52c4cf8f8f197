"""HTTPConnection sends a small body together with the header section."""

import array
import io
import unittest
from http.client import HTTPConnection
from unittest import mock
from test.http_peer import PeerTestCase, keep

# The largest body that is sent together with the header section.
LIMIT = 16384


class Recorder:
    """A socket that records what each call sends."""

    def __init__(self):
        self.sent = []

    def sendall(self, data):
        self.sent.append(bytes(data))


class JoinedSendTests(PeerTestCase):

    def send(self, body, cls=HTTPConnection, **kwargs):
        """Return what was sent of the body at a time."""
        conn = cls("example.com")
        sock = conn.sock = Recorder()
        conn.request("POST", "/", body, **kwargs)
        head, _, first = sock.sent[0].partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"POST / HTTP/1.1\r\n"))
        return [first, *sock.sent[1:]]

    def test_small_body_is_sent_with_the_head(self):
        for body, sent in ((b"abc", b"abc"), ("abc", b"abc"),
                           ("\xe9", b"\xe9"), (b"x" * LIMIT, b"x" * LIMIT)):
            with self.subTest(body=body[:9]):
                self.assertEqual(self.send(body), [sent])

    # Guard: a large body is not copied.
    def test_large_body_is_sent_by_itself(self):
        body = b"x" * (LIMIT + 1)
        self.assertEqual(self.send(body), [b"", body])

    # Guard: without a body, nothing follows the header section.
    def test_empty_body(self):
        for body in None, b"", "":
            with self.subTest(body=body):
                self.assertEqual(self.send(body), [b""])

    # Guard: a body of another type may not allow for joining, or be large.
    def test_other_types_are_sent_as_before(self):
        length = {"Content-Length": "3"}
        for body in (bytearray(b"abc"), memoryview(b"abc"),
                     array.array("b", b"abc"), io.BytesIO(b"abc"), [b"abc"]):
            with self.subTest(body=body):
                self.assertEqual(b"".join(self.send(body, headers=length)),
                                 b"abc")
        self.assertEqual(self.send([b"a", b"bc"], headers=length)[-1], b"bc")
        wide = array.array("I", [1, 2])
        self.assertEqual(b"".join(self.send(wide)), wide.tobytes())

    # Guard: the size line of a chunk comes before the data.
    def test_chunks(self):
        for body in b"abc", [b"abc"]:
            with self.subTest(body=body):
                sent = self.send(body, encode_chunked=True,
                                 headers={"Transfer-Encoding": "chunked"})
                self.assertEqual(b"".join(sent), b"3\r\nabc\r\n0\r\n\r\n")

    def test_subclass_with_send(self):
        class Connection(HTTPConnection):
            def send(self, data):
                calls.append(data)
                super().send(data)

        calls = []
        self.assertEqual(self.send(b"abc", Connection), [b"abc"])
        self.assertEqual(len(calls), 1)
        self.assertIs(type(calls[0]), bytes)
        self.assertTrue(calls[0].endswith(b"\r\n\r\nabc"))

    def test_audit_event(self):
        with mock.patch("sys.audit") as audit:
            self.send(b"abc")
        (name, conn, data), = [call.args for call in audit.mock_calls]
        self.assertEqual(name, "http.client.send")
        self.assertTrue(data.endswith(b"\r\n\r\nabc"))

    def test_endheaders(self):
        conn = HTTPConnection("example.com")
        sock = conn.sock = Recorder()
        conn.putrequest("POST", "/", skip_host=True, skip_accept_encoding=True)
        conn.putheader("Content-Length", 6)
        conn.endheaders(b"abc")
        conn.send(b"def")
        self.assertEqual(sock.sent, [
            b"POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc", b"def"])

    # Guard: a request counts as sent whole, so the connection is kept.
    def test_connection_is_kept(self):
        with self.serve(keep) as conn:
            for size in 0, 1, LIMIT - 1, LIMIT, LIMIT + 1, 100_000:
                body = b"x" * size
                self.assertEqual(self.get(conn, "POST", body).read(), b"kept")
                self.assertEqual(self.peer.requests[-1][1].body, body)
            self.assertEqual(self.peer.accepted, 1)


if __name__ == "__main__":
    unittest.main()
