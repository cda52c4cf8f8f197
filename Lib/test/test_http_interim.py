"""Interim (1xx) responses on a persistent connection (bpo-28570)."""

import http.client
import unittest
from test import http_peer, support
from test.http_peer import Peer, response

support.requires_working_socket(module=True)

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UNKNOWN = b"HTTP/1.1 199 What\r\nContent-Length: 7\r\n\r\n"


@http_peer.over_tls
class InterimTests(unittest.TestCase):

    tls = None

    def fetch(self, conn, method="GET"):
        conn.request(method, "/")
        received = conn.getresponse()
        return received.status, received.read()

    def serve(self, *segments):
        """Two requests on one connection: the first is answered by
        *segments*, the second by "second"."""
        def script(link):
            link.request()
            for segment in segments:
                link.send(segment)
            link.answer(b"second")

        with Peer(script, tls=self.tls) as peer:
            conn = peer.connect()
            first = self.fetch(conn)
            return first, self.fetch(conn)

    def check(self, *segments):
        self.assertEqual(self.serve(*segments),
                         ((200, b"first"), (200, b"second")))

    def test_early_hints_in_one_segment(self):
        self.check(HINTS + response(b"first"))

    def test_early_hints_in_a_segment_of_its_own(self):
        self.check(HINTS, response(b"first"))

    def test_early_hints_byte_by_byte(self):
        data = HINTS + response(b"first")
        self.check(*[data[i:i+1] for i in range(len(data))])

    def test_many_kinds(self):
        self.check(CONTINUE + HINTS + PROCESSING + UNKNOWN + CONTINUE
                   + response(b"first"))

    def test_head_request(self):
        def script(link):
            link.request()
            link.send(HINTS + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            link.answer(b"second")

        with Peer(script, tls=self.tls) as peer:
            conn = peer.connect()
            self.assertEqual(self.fetch(conn, "HEAD"), (200, b""))
            self.assertEqual(self.fetch(conn), (200, b"second"))

    def test_after_a_post(self):
        def script(link):
            link.request()
            link.send(PROCESSING)
            link.send(response(b"first", status=b"201 Created"))

        with Peer(script, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("POST", "/", b"body")
            received = conn.getresponse()
            self.assertEqual((received.status, received.read()),
                             (201, b"first"))
            self.assertEqual(peer.requests[0][1].body, b"body")

    def test_too_many(self):
        with self.assertRaisesRegex(http.client.HTTPException,
                                    "got more than 100 interim responses"):
            self.serve(HINTS * 100 + response(b"first"))

    def test_too_many_header_lines(self):
        head = HINTS[:-2] + b"A: b\r\n" * 101 + b"\r\n"
        with self.assertRaisesRegex(http.client.HTTPException,
                                    "got more than 100 headers"):
            self.serve(HINTS + head + response(b"first"))

    def test_too_long_header_line(self):
        head = HINTS[:-2] + b"A: " + b"b" * 65536 + b"\r\n\r\n"
        with self.assertRaises(http.client.LineTooLong):
            self.serve(HINTS + head + response(b"first"))


class InterimTunnelTests(unittest.TestCase):

    def test_before_the_answer_to_connect(self):
        def script(link):
            link.request()
            link.send(HINTS + PROCESSING)
            link.send(b"HTTP/1.1 200 Connection established\r\n"
                      b"X-Proxy: p\r\n\r\n")
            link.answer(b"tunnelled")

        with Peer(script) as peer:
            conn = peer.connect()
            conn.set_tunnel("destination.example", 80)
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"tunnelled")
            headers = conn.get_proxy_response_headers()
            self.assertEqual(headers.items(), [("X-Proxy", "p")])

    def test_how_many_before_the_answer_to_connect(self):
        def script(link):
            link.request()
            link.send(HINTS * 100 + b"HTTP/1.1 200 OK\r\n\r\n")
            link.request()

        def endless(link):
            link.request()
            link.send(HINTS * 101)

        with Peer(script, endless) as peer:
            conn = peer.connect()
            conn.set_tunnel("destination.example", 80)
            conn.request("GET", "/")
            conn.close()
            with self.assertRaisesRegex(OSError, "103 Early Hints"):
                conn.request("GET", "/")


if __name__ == "__main__":
    unittest.main()
