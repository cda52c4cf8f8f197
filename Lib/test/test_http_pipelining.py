"""HTTPConnection.max_pipelined: several requests before their responses."""

import copy
import http.client
import io
import pickle
import selectors
import socket
import threading
import unittest
from http.client import (CannotSendRequest, ConnectionClosed, HTTPResponse,
                         RemoteDisconnected, ResponseNotReady)
from test import support
from test.http_peer import (FRAMINGS, HOST, OwnReader, Peer, PeerTestCase,
                            answering, chunked, fresh, in_pieces, over_tls,
                            response)

CLOSE = b"Connection: close"

# A body that is not received together with its head.
LARGE = b"0123456789abcdef" * 4096


def split(request):
    """Return the method and the target; the former is GET if not given."""
    return tuple(f"GET {request}".split()[-2:])


class PipeliningTestCase(PeerTestCase):

    def begin(self, *scripts, max_pipelined=8, **kwargs):
        """Return a connection after one exchange.

        The first script goes on from there; the second one is that of the
        next connection.
        """
        def script(link):
            link.answer(b"first")
            scripts[0](link)
            link.wait_closed()

        self.peer = self.enterContext(
            Peer(script, *scripts[1:], fresh, tls=self.tls))
        conn = self.peer.connect(**kwargs)
        if max_pipelined is not None:
            conn.max_pipelined = max_pipelined
        self.assertEqual(self.get(conn).read(), b"first")
        return conn

    def pipeline(self, requests, *data, end=None, **kwargs):
        """Like begin(), and send these requests, which *data* answers."""
        conn = self.begin(receive_then_send(len(requests), *data, end=end),
                          **kwargs)
        self.ask(conn, *requests)
        return conn

    def ask(self, conn, *requests):
        """Send requests, such as "/target" or "PUT /target"."""
        for request in requests:
            conn.request(*split(request))

    def check_bodies(self, conn, *bodies):
        for body in bodies:
            self.assertEqual(conn.getresponse().read(), body)

    def check_refused(self, conn):
        self.assertRaises(CannotSendRequest, conn.putrequest, "GET", "/")

    def check_lost(self, conn, *requests, cls=ConnectionClosed):
        """Check that getresponse() says once that these requests are lost."""
        with self.assertRaises(cls) as caught:
            conn.getresponse()
        self.assertEqual(caught.exception.unanswered,
                         tuple(map(split, requests)))
        self.assertIsNone(conn.sock)
        self.check_no_response(conn)


def answer_with_target(link):
    """Answer each request by its target."""
    while received := link.request():
        link.send(response(received.target))


def receive_then_send(count, *data, end=None):
    """Return a script that receives *count* requests, then sends *data*."""
    def script(link):
        for _ in range(count):
            link.request()
        for part in data:
            link.send(part)
        if end is not None:
            end(link)
    return script


def leave(link):
    """End a connection, when all that was sent has been received."""
    if link.peer.tls is not None:
        link.end_tls()
    else:
        link.sock.shutdown(socket.SHUT_WR)


def bound_buffers(sock):
    """Do not let the system's buffers grow: sending has to wait soon."""
    for option in socket.SO_SNDBUF, socket.SO_RCVBUF:
        sock.setsockopt(socket.SOL_SOCKET, option, 1 << 17)


@over_tls
class OrderTests(PipeliningTestCase):

    def test_all_are_sent_before_the_first_response(self):
        targets = [f"/{number}" for number in range(8)]
        bodies = [target.encode() for target in targets]
        conn = self.pipeline(targets, *map(response, bodies))
        self.check_bodies(conn, *bodies)
        self.assertEqual(
            [received.target for _, received in self.peer.requests],
            [b"/", *bodies])
        self.check_no_response(conn)

    def test_connection_is_kept(self):
        conn = self.begin(answer_with_target)
        self.ask(conn, "/a", "POST /b")
        self.check_bodies(conn, b"/a", b"/b")
        conn.request("POST", "/c")
        self.check_bodies(conn, b"/c")
        self.assertEqual(self.peer.accepted, 1)

    def test_each_framing(self):
        # Each response is framed by its own request's method, wherever a
        # segment ends.
        requests = [f"{method} /" for method, _ in FRAMINGS.values()]
        data = b"".join(message for _, message in FRAMINGS.values())
        for size in 1, 2, 5, 34, len(data):
            with self.subTest(size=size):
                conn = self.pipeline(requests, data, mixin=in_pieces(size),
                                     max_pipelined=len(requests))
                for method, message in FRAMINGS.values():
                    received = conn.getresponse()
                    self.assertIn(b" %d " % received.status, message)
                    self.assertEqual(received.read(), b"first"
                                     if b"first" in message else b"")

    def test_one_at_a_time(self):
        conn = self.pipeline(["/a", "/b"], response(LARGE) + response(b"b"))
        received = conn.getresponse()
        self.assertEqual(received.read(1), LARGE[:1])
        for function in conn.getresponse, conn.poll_response:
            self.assertRaises(ResponseNotReady, function)
        self.assertEqual(received.read(), LARGE[1:])
        self.check_bodies(conn, b"b")

    def test_sending_between_responses(self):
        conn = self.begin(answer_with_target, max_pipelined=5)
        targets = [f"/{number}" for number in range(30)]
        self.ask(conn, *targets[:5])
        for number, target in enumerate(targets):
            received = conn.getresponse()
            if number % 2:      # its body is still unread
                self.ask(conn, *targets[number + 5:number + 6])
            self.assertEqual(received.read(), target.encode())
            if not number % 2:
                self.ask(conn, *targets[number + 5:number + 6])
        self.assertEqual(self.peer.accepted, 1)

    def test_body_is_sent_before_100_continue(self):
        # That comes after the responses to earlier requests.
        conn = self.begin(receive_then_send(2, response(b"1"),
                                            response(b"2")))
        conn.request("PUT", "/1")
        conn.request("PUT", "/2", b"body", {"Expect": "100-continue"},
                     continue_timeout=1e9)
        self.check_bodies(conn, b"1", b"2")

    def test_closed_response_that_has_been_received(self):
        for message in (response(b""), response(b"012345"),
                        chunked(b"6\r\n012345\r\n", b"0\r\nA: b\r\n\r\n")):
            with self.subTest(message=message):
                conn = self.pipeline(["/a", "/b"], message + response(b"kept"))
                received = conn.getresponse()
                received.read(2)
                received.close()
                self.check_bodies(conn, b"kept")

    def test_line_ends_between_responses(self):
        conn = self.pipeline(
            ["/a", "/b", "/c"], response(b"a") + b"\r\n" + response(b"b")
            + b"\r\n" * 9, b"\r\n" + response(b"c"))
        self.check_bodies(conn, b"a", b"b", b"c")


class PermissionTests(PipeliningTestCase):
    """When a request can be sent."""

    # Guard: the default is as before.
    def test_default(self):
        conn = self.begin(answer_with_target, max_pipelined=None)
        conn.request("GET", "/a")
        self.check_refused(conn)
        received = conn.getresponse()
        conn.request("GET", "/b")
        self.check_refused(conn)
        self.assertEqual(received.read(), b"/a")
        self.check_bodies(conn, b"/b")

    # Guard: without pipelining, a request is refused, too.
    def test_response_class_with_its_own_reader(self):
        conn = self.begin(answer_with_target)
        conn.response_class = OwnReader
        for target in "/a", "/b":
            conn.request("GET", target)
            self.check_refused(conn)
            self.check_bodies(conn, target.encode())

    def test_limit(self):
        conn = self.begin(answer_with_target, max_pipelined=3)
        self.ask(conn, "/a", "/b", "/c")
        self.check_refused(conn)
        conn.max_pipelined = 4
        conn.request("GET", "/d")
        conn.max_pipelined = 1
        self.check_refused(conn)
        received = conn.getresponse()
        self.check_refused(conn)
        conn.max_pipelined = 4
        # The one that is being read is answered.
        conn.request("GET", "/e")
        self.check_refused(conn)
        self.assertEqual(received.read(), b"/a")
        self.check_bodies(conn, b"/b", b"/c", b"/d", b"/e")
        # Nothing of those that were refused was sent.
        self.assertEqual(len(self.peer.requests), 6)

    def test_persistence_has_to_be_shown(self):
        with self.serve(answering(response(LARGE),
                                  end=answer_with_target)) as conn:
            conn.max_pipelined = 8
            conn.request("GET", "/first")
            self.check_refused(conn)
            received = conn.getresponse()
            self.ask(conn, "/a", "/b")      # its head has shown it
            self.assertEqual(received.read(), LARGE)
            self.check_bodies(conn, b"/a", b"/b")

    def test_persistence_of_another_connection(self):
        conn = self.begin(answering(response(b"a", CLOSE)), answer_with_target)
        conn.request("GET", "/a")
        self.check_bodies(conn, b"a")
        conn.request("GET", "/b")
        self.check_refused(conn)
        self.check_bodies(conn, b"/b")
        self.ask(conn, "/c", "/d")
        self.check_bodies(conn, b"/c", b"/d")

    # Guard: HTTP/1.0 has no pipelining, even if the connection persists.
    def test_http_1_0(self):
        message = (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
                   b"Content-Length: 1\r\n\r\na")
        with self.serve(answering(message, message)) as conn:
            conn.max_pipelined = 8
            for _ in range(2):
                conn.request("GET", "/")
                self.check_refused(conn)
                self.check_bodies(conn, b"a")

    def test_idempotent_methods(self):
        methods = "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"
        conn = self.pipeline([f"{method} /" for method in methods],
                             response() * len(methods))
        self.check_bodies(conn, *[b""] * len(methods))

    def test_nothing_after_other_methods(self):
        conn = self.begin(answer_with_target)
        for method in "POST", "PATCH", "get", "LOCK":
            with self.subTest(method=method):
                self.ask(conn, "/a", f"{method} /b")
                self.check_refused(conn)
                self.check_bodies(conn, b"/a")
                self.check_refused(conn)
                received = conn.getresponse()
                conn.request("GET", "/c")
                self.assertEqual(received.read(), b"/b")
                self.check_bodies(conn, b"/c")

    def test_nothing_after_a_request_that_ends_the_connection(self):
        for headers in ({"Connection": "close"},
                        {"connection": "x-option, Close"},
                        {"Connection": "Upgrade", "Upgrade": "x"}):
            with self.subTest(headers=headers):
                conn = self.begin(answer_with_target)
                conn.request("GET", "/a")
                conn.request("GET", "/b", headers=headers)
                self.check_refused(conn)
                self.check_bodies(conn, b"/a", b"/b")

    def test_nothing_after_an_incomplete_request(self):
        conn = self.begin(answer_with_target)
        conn.request("GET", "/a")
        conn.putrequest("PUT", "/b")
        self.check_refused(conn)
        conn.putheader("Content-Length", "4")
        conn.endheaders()
        self.check_refused(conn)
        conn.send(b"bo")
        self.check_refused(conn)
        # Other responses can be read meanwhile.
        self.check_bodies(conn, b"/a")
        self.check_refused(conn)
        conn.send(b"dy")
        conn.request("GET", "/c")
        self.check_bodies(conn, b"/b", b"/c")
        self.assertEqual(self.peer.requests[2][1].body, b"body")

    def test_request_that_is_not_sent(self):
        # The requests before it have responses all the same.
        conn = self.begin(answer_with_target)
        self.ask(conn, "/a", "/b")
        with self.assertRaises(ValueError):
            conn.request("GET", "/c", headers={"X": "\n"})
        self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
        self.check_bodies(conn, b"/a", b"/b")
        self.check_no_response(conn)

    def test_response_between_putrequest_and_endheaders(self):
        conn = self.begin(answer_with_target)
        conn.request("GET", "/a")
        conn.putrequest("GET", "/b")
        self.check_bodies(conn, b"/a")
        conn.endheaders()
        self.check_bodies(conn, b"/b")

    # Guard: a socket that may wait for ever has one request at a time.
    def test_socket_of_another_class(self):
        class Socket:
            def __init__(self, sock):
                self._sock = sock

            def __getattr__(self, name):
                return getattr(self._sock, name)

        with self.serve(answer_with_target) as conn:
            conn.max_pipelined = 8
            conn.sock = Socket(
                socket.create_connection((HOST, self.peer.port)))
            for _ in range(2):
                conn.request("GET", "/a")
                self.check_refused(conn)
                self.check_bodies(conn, b"/a")


@over_tls
class LostTests(PipeliningTestCase):
    """The connection ends before there are responses to all requests."""

    def test_each_end(self):
        a = response(b"a")
        switching = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
        for bodies, data, end in (
            # The last response ends the connection.
            ([b"a", LARGE], a + response(LARGE, CLOSE), None),
            ([b"a", b"b"], a + response(b"b", b"Content-Length: 2"), None),
            ([b"a", b""], a + switching, None),
            ([b"a", b"bcd"], a + b"HTTP/1.1 200 OK\r\n\r\nbcd", leave),
            # The server ends it.
            ([b"a"], a, leave),
            ([], b"HTTP/1.1 2", leave),
            ([], b"HTTP/1.1 200 OK\r\nX: y\r\n", leave),
        ):
            with self.subTest(data=data[:60]):
                requests = ["/a", "/b", "PUT /c"]
                conn = self.pipeline(requests, data, end=end)
                for body in bodies:
                    received = conn.getresponse()
                    self.assertEqual(received.read(), body)
                self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
                if len(bodies) == 2:
                    self.check_refused(conn)
                self.check_lost(
                    conn, *requests[len(bodies):],
                    cls=RemoteDisconnected if bodies else ConnectionClosed)
                received.close()
                self.check_fresh(conn)

    def test_reading_after_the_loss(self):
        conn = self.pipeline(["/a", "/b"], response(LARGE, CLOSE))
        received = conn.getresponse()
        self.check_lost(conn, "/b")
        self.check_fresh(conn)
        self.assertEqual(received.read(), LARGE)

    def test_close_gives_up(self):
        for fields in (), (CLOSE,):
            with self.subTest(fields=fields):
                conn = self.pipeline(["/a", "/b", "/c"],
                                     response(b"a", *fields))
                self.check_bodies(conn, b"a")
                conn.close()
                self.check_no_response(conn)
                with self.assertRaises(http.client.NotConnected):
                    conn.poll_response()
                self.check_fresh(conn)

    def test_reset(self):
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        conn = self.pipeline(
            ["/a", "/b"], response(b"a"), end=lambda link: (
                go_on.wait(support.SHORT_TIMEOUT), link.reset()))
        self.check_bodies(conn, b"a")
        go_on.set()
        self.check_lost(conn, "/b", cls=ConnectionResetError)
        self.check_fresh(conn)

    def test_cut_body(self):
        for message in (response(LARGE)[:-1], response(LARGE, CLOSE)[:-1],
                        chunked(b"10000\r\n", LARGE[:-1]),
                        chunked(b"10000\r\n", LARGE, b"\r\n0\r\nA: b")):
            with self.subTest(message=message[:60]):
                lost = ("GET", "/b"), ("PUT", "/c")
                conn = self.pipeline(["/a", "/b", "PUT /c"], message,
                                     end=leave)
                received = conn.getresponse()
                with self.assertRaises(http.client.IncompleteRead) as caught:
                    received.read()
                self.assertEqual(caught.exception.unanswered, lost)
                for other in (copy.copy(caught.exception),
                              pickle.loads(pickle.dumps(caught.exception))):
                    self.assertEqual(other.unanswered, lost)
                self.check_lost(conn, "/b", "PUT /c")
                self.check_fresh(conn)

    def test_malformed_response(self):
        # What follows is never taken for a response.
        for message in (b"HTTP/1.1 2x0 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n",
                        b"\r\n" * 1000):
            with self.subTest(message=message):
                conn = self.pipeline(["/a", "/b", "/c"], response(b"a")
                                     + message + response(b"c"))
                self.check_bodies(conn, b"a")
                with self.assertRaises(http.client.BadStatusLine) as caught:
                    conn.getresponse()
                self.assertNotIsInstance(caught.exception, ConnectionClosed)
                self.check_lost(conn, "/b", "/c")
                self.check_fresh(conn)

    def test_response_that_is_not_read_to_its_end(self):
        for message in (response(LARGE)[:-1],
                        chunked(b"10000\r\n", LARGE),
                        chunked(b"1\r\n0\r\n-1\r\n") + response(b"b")):
            with self.subTest(message=message[:60]):
                conn = self.pipeline(["/a", "/b", "/c"], message)
                received = conn.getresponse()
                self.assertEqual(received.read(1), b"0")
                received.close()
                self.check_refused(conn)
                self.check_lost(conn, "/b", "/c")
                self.check_fresh(conn)

    def test_response_class_with_its_own_reader(self):
        # What it has received beyond its response is lost.
        conn = self.pipeline(["/a", "/b"], response(b"a") + response(b"b"))
        conn.response_class = OwnReader
        self.check_bodies(conn, b"a")
        self.check_lost(conn, "/b")
        conn.response_class = HTTPResponse
        self.check_fresh(conn)

    def test_nothing_is_lost_before_a_new_connection(self):
        for last in (response(b"b", CLOSE),
                     # There is a response to the request that comes next.
                     response(b"b") + response(b"stray"),
                     response(b"b") + b"H"):
            with self.subTest(last=last):
                conn = self.pipeline(["/a", "/b"], response(b"a") + last)
                self.check_bodies(conn, b"a", b"b")
                self.check_fresh(conn)

    def test_unanswered_is_empty_without_pipelining(self):
        self.assertEqual(ConnectionClosed.unanswered, ())
        conn = self.pipeline(["/a"], end=leave, max_pipelined=1)
        self.check_lost(conn)

    def test_copies_of_overflow(self):
        exc = http.client.PipelineOverflow((("GET", "/a"), ("PUT", "/b")))
        self.assertIsInstance(exc, http.client.HTTPException)
        self.assertNotIsInstance(exc, ConnectionClosed)
        for other in copy.copy(exc), pickle.loads(pickle.dumps(exc)):
            self.assertEqual(other.unanswered, exc.unanswered)
            self.assertEqual(str(other), str(exc))


class MemoryTestCase(PipeliningTestCase):
    """The system's buffers are smaller than what is sent."""

    def begin(self, script, *scripts, **kwargs):
        def bounded(link):
            bound_buffers(link.sock)
            script(link)

        conn = super().begin(bounded, *scripts, **kwargs)
        bound_buffers(conn.sock)
        return conn


def body(number):
    return b"%4d" % number * 50000


def answer_large(link):
    """Receive and answer one request at a time."""
    number = 0
    while link.request() is not None:
        link.send(response(body(number)))
        number += 1


@over_tls
class MemoryTests(MemoryTestCase):

    def test_no_deadlock(self):
        # The server does not read while nobody reads what it sends.
        conn = self.begin(answer_large, max_pipelined=20)
        conn.request("GET", "/")
        received = conn.getresponse()
        self.assertEqual(received.read(9), body(0)[:9])
        for number in range(20):
            conn.request("PUT", f"/{number}", bytes(30000))
        self.assertEqual(conn.sock.gettimeout(), support.SHORT_TIMEOUT)
        self.assertEqual(received.read(), body(0)[9:])
        self.check_bodies(conn, *map(body, range(1, 21)))
        self.assertEqual(self.peer.accepted, 1)

    def test_request_bodies_of_each_kind(self):
        part = bytes(range(250)) * 120
        bodies = [memoryview(part * 4), iter([part] * 4), bytearray(part * 4)]
        conn = self.begin(answer_large, max_pipelined=4)
        for data in bodies:
            conn.request("PUT", "/", data)
        conn.putrequest("PUT", "/")
        conn.putheader("Content-Length", str(4 * len(part)))
        conn.endheaders()
        for _ in range(4):
            conn.send(part)
        self.check_bodies(conn, *map(body, range(4)))
        for _, request in self.peer.requests[1:]:
            self.assertEqual(request.body, part * 4)


class MoreMemoryTests(MemoryTestCase):

    def test_overflow(self):
        def script(link):
            while link.request() is not None:
                link.send(response(bytes(1 << 20)))

        size = 100_000
        for make_body in (lambda: bytes(size), lambda: io.BytesIO(bytes(size)),
                          lambda: iter([bytes(size)])):
            conn = self.begin(script, max_pipelined=100)
            with self.assertRaises(http.client.PipelineOverflow) as caught:
                for count in range(100):
                    conn.request("PUT", f"/{count}", make_body(),
                                 {"Content-Length": str(size)})
            # The request during which it was raised is one of them.
            self.assertEqual(caught.exception.unanswered, tuple(
                ("PUT", f"/{number}") for number in range(count + 1)))
            self.assertGreater(count, 15)
            self.assertIsNone(conn.sock)
            self.check_no_response(conn)
            self.check_fresh(conn)

    def fill(self, conn):
        """Send until that fails; return how often, and the exception."""
        with self.assertRaises(OSError) as caught:
            for count in range(1000):
                conn.request("PUT", f"/{count}", bytes(30000))
        return count + 1, caught.exception

    def test_timeout(self):
        # The server neither reads nor writes.
        go_on = threading.Event()
        conn = self.begin(
            lambda link: go_on.wait(support.SHORT_TIMEOUT), max_pipelined=1000)
        self.addCleanup(go_on.set)
        conn.request("GET", "/a")
        conn.sock.settimeout(0.05)
        self.assertIsInstance(self.fill(conn)[1], TimeoutError)
        self.assertEqual(conn.sock.gettimeout(), 0.05)
        self.check_refused(conn)        # the last one is not whole

    def test_end_during_a_request(self):
        # The server has answered, and does not read any more.
        go_on = threading.Event()

        def script(link):
            receive_then_send(2, response(b"a"), response(b"b", CLOSE))(link)
            leave(link)
            go_on.wait(support.SHORT_TIMEOUT)

        conn = self.begin(script, max_pipelined=1000)
        self.addCleanup(go_on.set)
        self.ask(conn, "/a", "/b")
        count, exc = self.fill(conn)
        self.assertIsInstance(exc, ConnectionClosed)
        lost = [f"PUT /{number}" for number in range(count)]
        self.assertEqual(exc.unanswered,
                         tuple(map(split, ["/a", "/b", *lost])))
        # The responses can be had, and then it is raised once more.
        self.check_bodies(conn, b"a", b"b")
        self.check_lost(conn, *lost)
        self.check_fresh(conn)

    def test_response_during_a_lone_request(self):
        # The server sends back what it receives.
        size = 4 << 20

        def script(link):
            link.read_head()
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size >> 16):
                link.send(link.reader.read(1 << 16))

        conn = self.begin(script)
        conn.request("PUT", "/", LARGE * (size // len(LARGE)))
        self.check_bodies(conn, LARGE * (size // len(LARGE)))

    def test_response_before_the_request_was_sent_whole(self):
        page = LARGE * 40

        def script(link):
            link.read_head()
            link.send(response(page, status=b"413 Content Too Large"))
            link.reader.read(4 << 20)

        conn = self.begin(script)
        conn.request("PUT", "/", bytes(4 << 20))
        received = conn.getresponse()
        self.assertEqual((received.status, received.read()), (413, page))


class PollTests(PipeliningTestCase):

    def test_responses_in_memory(self):
        # The descriptor does not show what has been received.
        conn = self.pipeline(["/a", "/b", "/c"],
                             response(b"a") + response(b"b"), response(b"c"))
        self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
        self.check_bodies(conn, b"a")
        self.assertTrue(conn.poll_response())
        self.check_bodies(conn, b"b")
        self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
        self.check_bodies(conn, b"c")
        self.assertIs(conn.poll_response(), False)

    def test_many_connections_in_one_thread(self):
        targets = [f"/{number}" for number in range(6)]
        count = 20
        found = []
        with (Peer(*[answer_with_target] * count) as peer,
              selectors.DefaultSelector() as selector):
            for number in range(count):
                conn = peer.connect()
                conn.max_pipelined = 5
                conn.request("GET", targets[0])
                selector.register(conn, selectors.EVENT_READ, targets[:])
            while selector.get_map():
                ready = selector.select(support.SHORT_TIMEOUT)
                self.assertTrue(ready)
                for key, _ in ready:
                    conn, left = key.fileobj, key.data
                    while left and conn.poll_response():
                        self.check_bodies(conn, left[0].encode())
                        found.append(left.pop(0))
                        if len(left) == 5:
                            self.ask(conn, *left)
                    if not left:
                        selector.unregister(conn)
                        conn.close()
        self.assertEqual(sorted(found), sorted(targets * count))


if __name__ == "__main__":
    unittest.main()
