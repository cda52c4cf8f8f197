"""What http.client takes short cuts for: it must not show but in time."""

import email.errors
import http.client
import io
import random
import string
import unittest
from test import http_peer, support
from test.http_peer import Peer
from unittest import mock

support.requires_working_socket(module=True)

TOKEN = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
TEXT = ("".join(map(chr, range(0x20, 0x7f)))
        + "".join(map(chr, range(0x80, 0x100))) + "\t")

STRICT = [
    b"",
    b"Content-Length: 13\r\n",
    b"content-length:13\r\n",
    b"A:\r\n",
    b"A: \r\nB:\t \tb\t \r\n",
    b"A: b: c:d\r\n",
    b"A: 1\r\na: 2\r\nA: 3\r\n",
    b"From: no mailbox\r\n",
    b"X: \x80\x85\xa0\xff\r\n",
    b"Content-Type: text/html; charset=utf-8\r\n",
    b"Content-Type: nonsense\r\n",
    b"Content-Type:\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"MIME-Version: 1.0\r\n",
    b"!#$%&'*+-.^_`|~: every other character\r\n",
]

# These have to be parsed by the email package.
OTHER = [
    b"A: folded\r\n value\r\nB: b\r\n",
    b"A: folded\r\n\tvalue\r\n",
    b" folded: from the start\r\n",
    b"A: b\nC: d\r\n",
    b"A: b\rC: d\r\n",
    b"A: b\r\r\n",
    b"A : b\r\n",
    b"A\xe4: b\r\n",
    b"(A): b\r\n",
    b": b\r\nC: d\r\n",
    b"no colon\r\nC: d\r\n",
    b"From me Mon Jan  1 00:00:00 2026\r\nA: b\r\n",
    b"A: b\0\r\n",
    b"A: b\x0bC: d\r\n",
    b"A: b\x1cC: d\r\n",
    b"A: b\x7f\r\n",
    b"Content-Type: multipart/mixed; boundary=x\r\n",
    b"Content-Type: MultiPart/Mixed\r\n",
    b"Content-Type: message/rfc822\r\n",
    b"Content-Type: message/delivery-status\r\n",
]


def parse(section, **kwargs):
    return http.client.parse_headers(io.BytesIO(section), **kwargs)


class HeaderTests(unittest.TestCase):
    """Header sections without email.parser."""

    class Message(http.client.HTTPMessage):
        """What parse_headers() lets the email package make."""

    def check_same(self, section, message):
        expected = parse(section, _class=self.Message)
        self.assertIs(type(message), http.client.HTTPMessage)
        self.assertEqual(message.items(), expected.items())
        self.assertEqual(list(message.raw_items()),
                         list(expected.raw_items()))
        self.assertEqual(list(map(repr, message.defects)),
                         list(map(repr, expected.defects)))
        self.assertEqual(self.as_string(message), self.as_string(expected))
        # And all else that a caller may ask it.
        self.assertEqual(self.state(message), self.state(expected))

    def as_string(self, message):
        try:
            return message.as_string()
        except email.errors.HeaderParseError as exc:
            return repr(exc)

    def state(self, message):
        state = dict(vars(message), defects=list(map(repr, message.defects)))
        payload = state["_payload"]
        if isinstance(payload, list):
            state["_payload"] = list(map(self.state, payload))
        return state

    def check_strict(self, section):
        with mock.patch("email.parser.Parser", side_effect=AssertionError):
            message = parse(section)
        self.check_same(section, message)

    def test_strict(self):
        for section in STRICT:
            with self.subTest(section=section):
                self.check_strict(section + b"\r\n")

    def test_random(self):
        rng = random.Random(53949)
        for _ in range(200):
            section = "".join(
                "%s:%s%s\r\n" % ("".join(rng.choices(TOKEN, k=size)),
                                 rng.choice(["", " ", "\t "]),
                                 "".join(rng.choices(TEXT, k=3 * size)))
                for size in range(1, rng.randrange(1, 12)))
            with self.subTest(section=section):
                self.check_strict(section.encode("iso-8859-1") + b"\r\n")

    def test_a_value_longer_than_a_block(self):
        self.check_strict(b"A: " + b"b" * 20_000 + b"\r\nC: d\r\n\r\n")

    # Guard: what is not strict is parsed as before.
    def test_other(self):
        for section in OTHER:
            for end in b"\r\n", b"\n", b"":
                with self.subTest(section=section, end=end):
                    self.check_same(section + end, parse(section + end))
        for section in STRICT[1:]:
            for end in b"\n", b"":
                with self.subTest(section=section, end=end):
                    self.check_same(section + end, parse(section + end))

    # Guard: one wrong byte is noticed wherever it is.
    def test_random_bytes(self):
        rng = random.Random(9740)
        for _ in range(500):
            section = bytearray(
                b"Server: x\r\nContent-Length: 1\r\nX:y\r\n\r\n")
            section[rng.randrange(len(section) - 3)] = rng.randrange(256)
            with self.subTest(section=section):
                self.check_same(section, parse(section))

    # Guard: for another class it is parsed as before.
    def test_another_class(self):
        with mock.patch("email.parser.Parser") as parser:
            parse(b"A: b\r\n\r\n", _class=self.Message)
        parser.assert_called_once_with(_class=self.Message)


class Recorder:
    """A socket that records what is sent at a time."""

    def __init__(self):
        self.sent = []

    def sendall(self, data):
        self.sent.append(bytes(data))

    def close(self):
        pass


class SendTests(unittest.TestCase):
    """A small body leaves together with the header section."""

    def send(self, body, **kwargs):
        conn = http.client.HTTPConnection("example.com")
        sock = conn.sock = Recorder()
        conn.request("POST", "/", body, **kwargs)
        conn.close()
        return [data.rpartition(b"\r\n\r\n")[2] for data in sock.sent]

    def test_small(self):
        self.assertEqual(self.send(b"abc"), [b"abc"])
        self.assertEqual(self.send("abc"), [b"abc"])
        self.assertEqual(self.send(b"x" * 16384), [b"x" * 16384])

    # Guard: it is not worth a copy.
    def test_large(self):
        body = b"x" * 16385
        self.assertEqual(self.send(body), [b"", body])

    # Guard: who expects 100 (Continue) has the server decide on the body.
    def test_expect(self):
        self.assertEqual(
            self.send(b"abc", headers={"expect": "100-continue"}),
            [b"", b"abc"])

    # Guard: whatever can only be known by reading it is sent by itself.
    def test_other_bodies(self):
        length = {"Content-Length": "3"}
        for body in bytearray(b"abc"), memoryview(b"abc"), io.BytesIO(b"abc"):
            with self.subTest(body=body):
                self.assertEqual(self.send(body, headers=length),
                                 [b"", b"abc"])
        self.assertEqual(self.send([b"a", b"bc"], headers=length),
                         [b"", b"a", b"bc"])
        self.assertEqual(self.send(b""), [b""])
        chunked = {"Transfer-Encoding": "chunked"}
        sock_data = self.send(b"abc", headers=chunked, encode_chunked=True)
        self.assertEqual(len(sock_data), 3)


@http_peer.over_tls
class ReuseTests(unittest.TestCase):

    tls = None

    # Guard: it counts as sent whole.
    def test_kept(self):
        def script(link):
            while link.answer(b"ok") is not None:
                pass

        with Peer(script, tls=self.tls) as peer:
            conn = peer.connect()
            for size in 0, 1, 16383, 16384, 16385, 100_000:
                body = b"x" * size
                conn.request("POST", "/", body)
                self.assertEqual(conn.getresponse().read(), b"ok")
                self.assertEqual(peer.requests[-1][1].body, body)
            self.assertEqual(peer.accepted, 1)

    # Guard: nothing is left to close, but a subclass may have more to do.
    def test_close_of_a_subclass(self):
        closed = []

        class Response(http.client.HTTPResponse):
            def close(self):
                closed.append(self.status)
                super().close()

        with Peer(lambda link: link.answer(b"ok"), tls=self.tls) as peer:
            conn = peer.connect()
            conn.response_class = Response
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"ok")
            support.gc_collect()
            self.assertEqual(closed, [200])

    # Guard: so may whoever has replaced it.
    def test_close_that_is_replaced(self):
        closed = []
        with Peer(lambda link: link.answer(b"ok"), tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            response = conn.getresponse()
            response.close = lambda: closed.append(True)
            self.assertEqual(response.read(), b"ok")
            del response
            support.gc_collect()
            self.assertEqual(closed, [True])


if __name__ == "__main__":
    unittest.main()
