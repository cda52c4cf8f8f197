"""HTTPConnection waits after "Expect: 100-continue" (gh-42550)."""

import inspect
import io
import socket
import unittest
from http import client
from http.client import HTTPConnection, HTTPException, HTTPResponse
from test import http_peer, support
from test.support import import_helper
from test.http_peer import Peer, chunked, response
from unittest import mock

support.requires_working_socket(module=True)

LONG = support.SHORT_TIMEOUT
EXPECT = {"Expect": "100-continue"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
BOTH = HINTS + CONTINUE
GOOD = response(b"good")
REFUSAL = response(b"no", status=b"413 Content Too Large")
BODY = b"body" * 5000
LENGTH = {"Content-Length": "20000"}
CODED = {"Transfer-Encoding": "chunked"}
# A body, what the head says of it, and whether to encode it.
BODIES = {
    "bytes": (lambda: BODY, {}, False),
    "a few bytes": (lambda: b"body", {}, False),
    "bytearray": (lambda: bytearray(BODY), {}, False),
    "a file": (lambda: io.BytesIO(BODY), LENGTH, False),
    "chunks of a file": (lambda: io.BytesIO(BODY), {}, False),
    "an iterable": (lambda: iter([BODY[:5], BODY[5:]]), LENGTH, False),
    "chunks of an iterable": (lambda: iter([BODY[:5], BODY[5:]]), {}, False),
    "encode_chunked": (lambda: BODY, CODED, True),
    "own chunks": (lambda: b"4\r\nbody\r\n0\r\n\r\n", CODED, False),
}


class ExpectTestCase(unittest.TestCase):

    tls = None

    def connect(self, *scripts, cls=HTTPConnection):
        steps = self.steps = []

        class Connection(cls if self.tls is None else client.HTTPSConnection):
            def send(self, data):
                steps.append("head" if b"HTTP/1." in data else "body")
                super().send(data)

        self.peer = self.enterContext(Peer(*scripts, tls=self.tls, tickets=2))
        return self.peer.connect(Connection)

    def put(self, conn, body=BODY, fields={}, encode=False, timeout=LONG):
        conn.request("PUT", "/", body, headers=fields | EXPECT,
                     encode_chunked=encode, continue_timeout=timeout)

    def check(self, conn, status=200, body=b"good"):
        answer = conn.getresponse()
        self.assertEqual((answer.status, answer.read()), (status, body))

    def check_steps(self, *expected):
        self.assertEqual([*dict.fromkeys(self.steps)], [*expected])
        self.steps.clear()

    def check_fresh(self, conn):
        conn.request("GET", "/")
        self.check(conn, body=b"fresh")
        self.assertEqual(self.peer.accepted, 2)

    def fresh(self, link):
        link.answer(b"fresh")

    def say(self, *pieces, end=GOOD):
        """Return a script that sends *pieces* before it receives the body."""
        bodies = self.bodies = []

        def script(link):
            while link.reader.readline():
                fields = client.parse_headers(link.reader)
                self.steps.append("said")
                for piece in pieces:
                    link.send(piece)
                size = fields["Content-Length"]
                bodies.append(link.reader.read(int(size)) if size else
                              link._chunks())
                link.send(end)
        return script

    def refuse(self, answer=REFUSAL, end=http_peer.Link.wait_closed):
        bodies = self.bodies = []

        def script(link):
            client.parse_headers(link.reader)
            self.steps.append("said")
            link.send(answer)
            bodies.append(end(link))
        return script


@http_peer.over_tls
class WantedTests(ExpectTestCase):
    """The body is sent after 100 (Continue), and the connection is kept."""

    def check_sent(self, *pieces, make_body=lambda: BODY, args=(), **kwargs):
        conn = self.connect(self.say(*pieces, **kwargs))
        for _ in range(2):
            self.put(conn, make_body(), *args)
            self.check(conn)
            self.check_steps("head", "said", "body")
        self.assertEqual(self.peer.accepted, 1)

    def test_every_kind_of_body(self):
        for name, (make_body, *args) in BODIES.items():
            with self.subTest(name):
                self.check_sent(CONTINUE, make_body=make_body, args=args)
                self.assertIn(self.bodies, ([BODY] * 2, [b"body"] * 2))

    def test_every_way_to_say_it(self):
        for pieces, end in (
                ([b"HTTP/1.1 100 Go on\r\nA: b\r\n\r\n"], GOOD),
                ([b"HTTP/1.1 100\n\n"], GOOD),
                ([b"HTTP/1.0 100 Continue\r\n\r\n"], GOOD),
                ([b"\r\n" + CONTINUE], GOOD),
                ([HINTS, HINTS, CONTINUE], GOOD),
                ([BOTH[at:at + 1] for at in range(len(BOTH))], GOOD),
                ([CONTINUE + HINTS], HINTS + CONTINUE + GOOD)):
            with self.subTest(pieces=pieces, end=end):
                self.check_sent(*pieces, end=end)

    def test_every_way_to_ask(self):
        for value in "100-Continue", " 100-continue\t", "a,100-continue, b":
            with self.subTest(value=value):
                conn = self.connect(self.say(CONTINUE))
                conn.putrequest("PUT", "/", continue_timeout=LONG)
                conn.putheader("EXPECT", value)
                conn.putheader("Content-Length", 4)
                conn.endheaders(b"body")
                self.check(conn)
                self.check_steps("head", "said", "body")

    def test_poll_response_is_about_the_final_response(self):
        conn = self.connect(self.say(BOTH, end=b""))
        self.put(conn)
        self.assertIs(conn.poll_response(), False)

    def test_what_ends_the_reuse(self):
        for data, end in ((CONTINUE + GOOD, b""),
                          (CONTINUE + GOOD[:9], GOOD[9:]),
                          (b"HTTP/1.1 100 Con\rtinue\r\n\r\n", GOOD),
                          (b"HTTP/1.1 100 OK\r\nno colon\r\n\r\n", GOOD)):
            with self.subTest(data=data):
                conn = self.connect(self.say(data, end=end), self.fresh)
                self.put(conn)
                self.check(conn)
                self.check_fresh(conn)

    def test_response_class(self):
        class Response(HTTPResponse):
            def begin(self):
                super().begin()

        for script, *expected in ((self.say(CONTINUE), 200, b"good"),
                                  (self.refuse(), 413, b"no")):
            conn = self.connect(script)
            conn.response_class = Response
            self.put(conn)
            self.check(conn, *expected)


@http_peer.over_tls
class RefusedTests(ExpectTestCase):
    """The body is not sent, and the connection is not used again."""

    def check_refused(self, answer=REFUSAL, status=413, content=b"no", *args):
        conn = self.connect(self.refuse(answer), self.fresh)
        self.put(conn, *args)
        self.check_steps("head", "said")
        self.check(conn, status, content)
        self.check_fresh(conn)
        self.peer.join()
        self.assertEqual(self.bodies, [b""])

    def test_every_kind_of_body(self):
        for name, (make_body, *args) in BODIES.items():
            with self.subTest(name):
                body = make_body()
                self.check_refused(REFUSAL, 413, b"no", body, *args)
                self.assertEqual([*body], [*make_body()])

    def test_every_final_response(self):
        for status in 200, 307, 401, 413, 417, 500:
            answer = response(b"no", status=b"%d Status" % status)
            for answer in answer, HINTS + answer, b"\r\n" + answer:
                with self.subTest(answer=answer):
                    self.check_refused(answer, status)
        self.check_refused(b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, b"")
        self.check_refused(b"HTTP/1.1 101 Switching\r\n\r\n", 101, b"")
        self.check_refused(chunked(b"2\r\nno\r\n", b"0\r\n\r\n"), 200)

    def test_end_of_the_connection(self):
        for end in http_peer.Link.close, http_peer.Link.reset:
            for data in b"", HINTS, CONTINUE[:-2]:
                with self.subTest(end=end, data=data):
                    conn = self.connect(self.refuse(data, end), self.fresh)
                    self.put(conn)
                    self.check_steps("head", "said")
                    with self.assertRaises((ConnectionError, HTTPException)):
                        conn.getresponse()
                    conn.close()
                    self.check_fresh(conn)


class UrlopenTests(http_peer.URLTestCase):

    def test_refused(self):
        bodies = []

        def script(link):
            link.read_head()
            link.send(REFUSAL)
            bodies.append(link.wait_closed())

        peer = self.peer(script)
        answer = self.get(self.opener(), peer, data=BODY, headers=EXPECT)
        self.assertEqual((answer.status, answer.read()), (413, b"no"))
        peer.join()
        self.assertEqual(bodies, [b""])


@http_peer.over_tls
class UndecidedTests(ExpectTestCase):
    """The body is sent, as nothing has decided."""

    def test_nothing_in_time(self):
        for at in 0, 1, len(HINTS), len(BOTH) - 1:
            with self.subTest(said=BOTH[:at]):
                conn = self.connect(self.say(BOTH[:at], end=BOTH[at:] + GOOD))
                for _ in range(2):
                    self.put(conn, timeout=0.01)
                    self.check(conn)
                self.assertEqual(self.peer.accepted, 1)

    def test_too_much(self):
        for data in (HINTS * 3000, b"HTTP/1.1 100 ".ljust(70000, b"a"),
                     CONTINUE[:-2] + b"A: b\r\n" * 101 + b"\r\n"):
            with self.subTest(data=data[:20]):
                conn = self.connect(self.say(data))
                self.put(conn)
                self.assertRaises(HTTPException, conn.getresponse)


class NoWaitTests(ExpectTestCase):
    """The body is sent at once.  Otherwise, the test would not end."""

    def connect(self):
        return super().connect(self.say())

    def check_no_wait(self, conn, body=BODY, headers=EXPECT):
        conn.request("PUT", "/", body, headers, continue_timeout=1e9)
        self.check(conn)

    def test_no_body_or_no_such_expectation(self):
        for body in None, b"", "", [], io.BytesIO():
            conn = super().connect(http_peer.Link.wait_closed)
            self.put(conn, body, {"Content-Length": "0"}, timeout=1e9)
        conn = self.connect()
        for value in "", "x-100-continue", "100-continued":
            self.check_no_wait(conn, headers={"Expect": value})
        conn._http_vsn, conn._http_vsn_str = 10, "HTTP/1.0"
        self.check_no_wait(conn)

    def test_earlier_response_comes_first(self):
        conn = self.connect()
        conn.request("PUT", "/")
        first = conn.getresponse()
        self.put(conn, timeout=1e9)
        self.assertEqual(first.read(), b"good")
        self.check(conn)

    def test_response_with_its_own_reader(self):
        conn = self.connect()
        for conn.response_class in (
                http_peer.OwnReader,
                lambda *args, **kwargs: HTTPResponse(*args, **kwargs)):
            self.check_no_wait(conn)

    def test_timeout_of_the_socket_is_a_limit(self):
        conn = self.connect()
        conn.connect()
        conn.sock.settimeout(0.01)
        self.put(conn, timeout=1e9)
        conn.sock.settimeout(LONG)
        self.check(conn)

    def test_object_that_is_no_socket(self):
        conn = HTTPConnection("example.com")
        conn.sock = mock.Mock(spec=["sendall", "close"])
        self.put(conn, timeout=1e9)
        self.assertEqual(conn.sock.sendall.call_count, 2)


class OtherTests(ExpectTestCase):

    def test_descriptor_beyond_1023(self):
        fcntl = import_helper.import_module("fcntl")
        conn = self.connect(self.say(CONTINUE))
        conn.connect()
        try:
            number = fcntl.fcntl(conn.sock, fcntl.F_DUPFD_CLOEXEC, 1024)
        except OSError:
            self.skipTest("needs more descriptors")
        conn.sock.close()
        conn.sock = socket.socket(fileno=number)
        conn.sock.settimeout(LONG)
        self.put(conn)
        self.check(conn)

    def test_parameter(self):
        conn = self.connect(self.refuse())
        for method in conn.request, conn.putrequest:
            _, _, keywords = str(inspect.signature(method)).partition("*, ")
            self.assertIn("continue_timeout=2.5", keywords)
            for value in 0, -1, float("nan"), None:
                with (self.subTest(value=value, method=method),
                      self.assertRaises((ValueError, TypeError))):
                    method("PUT", "/", continue_timeout=value)
        self.put(conn, timeout=float("inf"))
        self.check(conn, 413, b"no")

    def test_overridden_methods_do_not_get_it(self):
        class Connection(HTTPConnection):
            def putrequest(self, method, url, skip_host=False,
                           skip_accept_encoding=False):
                super().putrequest(method, url)

            def endheaders(self, body=None, *, encode_chunked=False):
                super().endheaders(body)

        conn = self.connect(self.refuse(), cls=Connection)
        conn.request("PUT", "/", BODY, EXPECT)
        self.check_steps("head", "said")


if __name__ == "__main__":
    unittest.main()
