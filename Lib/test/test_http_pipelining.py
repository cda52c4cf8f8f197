"""HTTPConnection.max_pipelined: several requests before their responses."""

import contextlib
import errno
import http.client
import io
import pickle
import select
import selectors
import socket
import threading
import unittest
from test import http_peer, support
from test.http_peer import FRAMINGS, Peer, chunked, in_pieces, response
from test.support.script_helper import assert_python_ok
from unittest import mock

try:
    import ssl
except ImportError:
    ssl = None
try:
    from http import _pipeline
except ImportError:     # then each test says what is missing
    _pipeline = mock.Mock()

support.requires_working_socket(module=True)

CLOSE = b"Connection: close"

# A response's body that is not received together with its head.
LARGE = b"0123456789abcdef" * 4096


class PipeliningTestCase(unittest.TestCase):

    tls = None

    def start(self, *scripts, max_pipelined=8, **kwargs):
        """Return (peer, connection), after one exchange.

        The scripts go on from there; the second one has a new connection.
        """
        def script(link):
            link.answer(b"first")
            scripts[0](link)
            link.wait_closed()

        peer = self.enterContext(Peer(script, *scripts[1:], tls=self.tls))
        conn = peer.connect(**kwargs)
        conn.max_pipelined = max_pipelined
        conn.request("GET", "/first")
        self.assertEqual(conn.getresponse().read(), b"first")
        return peer, conn

    def ask(self, conn, *requests):
        """Send requests: targets, to GET, or (method, target)."""
        for request in requests:
            method, target = (("GET", request) if isinstance(request, str)
                              else request)
            conn.request(method, target)

    def check_refused(self, conn, method="GET", target="/refused"):
        with self.assertRaises(http.client.CannotSendRequest):
            conn.putrequest(method, target)

    def check_lost(self, conn, *requests, cls=http.client.ConnectionClosed,
                   known=True):
        """Check that getresponse() names these requests as lost.

        *known* tells whether the end of the connection is known before.
        """
        if known:
            self.check_refused(conn)
        with self.assertRaises(cls) as caught:
            conn.getresponse()
        self.assertEqual(caught.exception.unanswered, tuple(
            ("GET", request) if isinstance(request, str) else request
            for request in requests))
        self.assertIsNone(conn.sock)
        # It is said once.
        with self.assertRaises(http.client.ResponseNotReady):
            conn.getresponse()
        return caught.exception

    def check_fresh(self, peer, conn):
        """Check that the next request goes out over a new connection."""
        conn.request("GET", "/fresh")
        self.assertEqual(conn.getresponse().read(), b"fresh")
        self.assertEqual(peer.accepted, 2)


def answer_fresh(link):
    link.answer(b"fresh")


def answer_with_target(count):
    """Return a script that answers each request by its target."""
    def script(link):
        for _ in range(count):
            received = link.request()
            if received is None:
                break
            try:
                link.send(response(received.target))
            except OSError:     # the client did not wait for it
                break
    return script


def receive_then_send(count, *data):
    """Return a script that receives *count* requests, then sends *data*."""
    def script(link):
        for _ in range(count):
            link.request()
        try:
            for part in data:
                link.send(part)
        except OSError:     # the client did not wait for all of it
            pass
    return script


def receive_into_memory(conn, enough):
    """Receive until *enough*, a function of the inbox, says so.

    That is what happens while a request is being sent.
    """
    inbox = conn._HTTPConnection__get_use().received
    timeout = conn.sock.gettimeout()
    conn.sock.settimeout(0)
    while not enough(inbox):
        if not inbox.receive(conn.sock):
            http_peer.wait_readable(conn.sock)
    conn.sock.settimeout(timeout)


def leave(link):
    """End a connection, when all that was sent has been received."""
    if link.peer.tls is not None:
        link.end_tls()
    else:
        link.sock.shutdown(socket.SHUT_WR)


def bound_buffers(sock):
    """Let the system's buffers not grow, so that sending has to wait."""
    for option in socket.SO_SNDBUF, socket.SO_RCVBUF:
        sock.setsockopt(socket.SOL_SOCKET, option, 1 << 17)


@http_peer.over_tls
class OrderTests(PipeliningTestCase):

    def test_in_order(self):
        received = threading.Event()

        def script(link):
            for number in range(8):
                link.request()
            received.set()
            for number in range(8):
                link.send(response(b"%d" % number))
            answer_with_target(1)(link)

        peer, conn = self.start(script)
        self.ask(conn, *(f"/{number}" for number in range(8)))
        # All were sent before there was a response.
        self.assertTrue(received.wait(support.SHORT_TIMEOUT))
        for number in range(8):
            self.assertEqual(conn.getresponse().read(), b"%d" % number)
        with self.assertRaises(http.client.ResponseNotReady):
            conn.getresponse()
        conn.request("POST", "/last")
        self.assertEqual(conn.getresponse().read(), b"/last")
        self.assertEqual(peer.accepted, 1)

    def test_in_pieces(self):
        # Each response is framed by its own request's method.
        requests = [(method, f"/{name.replace(' ', '-')}")
                    for name, (method, _) in FRAMINGS.items()]
        data = b"".join(message for _, message in FRAMINGS.values())
        for size in 1, 2, 3, 5, 8, 13, 21, 34, 55, len(data):
            with self.subTest(size=size):
                peer, conn = self.start(
                    receive_then_send(len(requests), data),
                    max_pipelined=len(requests), mixin=in_pieces(size))
                self.ask(conn, *requests)
                for method, message in FRAMINGS.values():
                    received = conn.getresponse()
                    self.assertIn(b" %d " % received.status, message)
                    self.assertEqual(received.read(), b"first"
                                     if b"first" in message else b"")
                conn.close()

    def test_at_every_byte(self):
        # The end of a segment, and with it of what a read returns, is
        # anywhere.
        framings = [FRAMINGS[name] for name
                    in ("HEAD", "a trailer", "103 before", "Content-Length")]
        requests = [(method, "/") for method, _ in framings]
        data = b"".join(message for _, message in framings)
        splits = range(1, len(data), 1 if self.tls is None else 7)
        go_on = threading.Semaphore(0)

        def script(link):
            for at in splits:
                for _ in requests:
                    if link.request() is None:
                        return
                link.send(data[:at])
                go_on.acquire(timeout=support.SHORT_TIMEOUT)
                link.send(data[at:])

        peer, conn = self.start(script, max_pipelined=len(requests))
        self.addCleanup(go_on.release)
        for at in splits:
            with self.subTest(at=at):
                self.ask(conn, *requests)
                self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
                go_on.release()
                for method, message in framings:
                    self.assertEqual(
                        conn.getresponse().read(),
                        b"first" if b"first" in message else b"")
        self.assertEqual(peer.accepted, 1)

    def test_one_at_a_time(self):
        peer, conn = self.start(answer_with_target(3))
        self.ask(conn, "/a", "/b", "/c")
        received = conn.getresponse()
        self.assertEqual(received.read(1), b"/")
        with self.assertRaises(http.client.ResponseNotReady):
            conn.getresponse()
        with self.assertRaises(http.client.ResponseNotReady):
            conn.poll_response()
        self.assertEqual(received.read(), b"a")
        self.assertEqual(conn.getresponse().read(), b"/b")
        self.assertEqual(conn.getresponse().read(), b"/c")

    def test_between_responses(self):
        # As many as may be outstanding are sent again and again.
        peer, conn = self.start(answer_with_target(50), max_pipelined=5)
        targets = [f"/{number}" for number in range(50)]
        self.ask(conn, *targets[:5])
        for number, target in enumerate(targets):
            received = conn.getresponse()
            if number % 2:      # the body is still unread
                self.ask(conn, *targets[number + 5:number + 6])
            self.assertEqual(received.read(), target.encode())
            if not number % 2:
                self.ask(conn, *targets[number + 5:number + 6])
        self.assertEqual([request.target.decode()
                          for _, request in peer.requests[1:]], targets)
        self.assertEqual(peer.accepted, 1)

    def test_a_response_that_is_dropped(self):
        # What has been received already need not be read.  The next response
        # may have been received with it, or not.
        large = LARGE[:10000]
        messages = [response(b""), response(b"012345"), response(large),
                    chunked(b"6\r\n012345\r\n", b"0\r\n\r\n"),
                    chunked(b"2710\r\n", large, b"\r\n0\r\nA: b\r\n\r\n")]

        for close, together in (True, True), (True, False), (False, True):
            for message in messages:
                with self.subTest(close=close, together=together,
                                  message=message[-40:]):
                    sent, go_on = threading.Event(), threading.Event()

                    def script(link):
                        kept = response(b"kept")
                        receive_then_send(2, message + kept * together)(link)
                        sent.set()
                        go_on.wait(support.SHORT_TIMEOUT)
                        if not together:
                            link.send(kept)

                    peer, conn = self.start(script)
                    self.addCleanup(go_on.set)
                    self.ask(conn, "/a", "/b")
                    self.assertTrue(sent.wait(support.SHORT_TIMEOUT))
                    self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
                    received = conn.getresponse()
                    self.assertIn(received.read(2), (b"01", b""))
                    if close:
                        received.close()
                    else:
                        del received
                        support.gc_collect()
                    go_on.set()
                    self.assertEqual(conn.getresponse().read(), b"kept")

    def test_dropped_while_being_read(self):
        # The garbage collector runs in any thread, and may not wait.
        go_on = threading.Event()

        class Dropping:
            drop = None

            def recv_into(self, *args):
                if self.drop is not None:
                    drop, self.drop = self.drop, None
                    drop()
                    go_on.set()
                return super().recv_into(*args)

        def script(link):
            receive_then_send(2, response(LARGE)[:99])(link)
            go_on.wait(support.SHORT_TIMEOUT)
            link.send(response(LARGE)[99:] + response(b"b"))

        peer, conn = self.start(script, mixin=Dropping)
        self.addCleanup(go_on.set)
        self.ask(conn, "/a", "/b")
        received = conn.getresponse()
        conn.sock.drop = received.fp.drop_rest
        self.assertEqual(received.read(), LARGE)
        self.assertTrue(go_on.is_set())
        self.assertEqual(conn.getresponse().read(), b"b")

    def test_dropped_while_receiving(self):
        # The garbage collector can run at any call.
        go_on = threading.Event()
        message = response(LARGE[:30000])

        def script(link):
            receive_then_send(2, message)(link)
            go_on.wait(support.SHORT_TIMEOUT)
            link.send(response(b"b"))

        peer, conn = self.start(script)
        self.addCleanup(go_on.set)
        inbox = conn._HTTPConnection__get_use().received
        end = inbox.total + len(message)
        self.ask(conn, "/a", "/b")
        received = conn.getresponse()
        receive_into_memory(conn, lambda inbox: inbox.total >= end)
        go_on.set()
        steps = []

        def drop_and_len(data):
            if not steps:
                steps.append("drop")
                received.close()
            return len(data)

        with mock.patch.object(_pipeline, "len", drop_and_len, create=True):
            receive_into_memory(conn, lambda inbox: inbox.total > end)
        self.assertEqual(steps, ["drop"])
        self.assertEqual(inbox.size, inbox.total - end)
        self.assertEqual(conn.getresponse().read(), b"b")

    def test_line_ends_between(self):
        peer, conn = self.start(receive_then_send(
            3, response(b"a") + b"\r\n" + response(b"b") + b"\r\n\n" * 99
            + response(b"c")))
        self.ask(conn, "/a", "/b", "/c")
        for body in b"a", b"b", b"c":
            with self.subTest(body=body):
                self.assertEqual(conn.getresponse().read(), body)

    def test_line_ends_later(self):
        # In a segment of their own, and some with the next response.
        for memory in False, True:
            with self.subTest(memory=memory):
                go_on = threading.Event()

                def script(link):
                    receive_then_send(2, response(b"a"))(link)
                    go_on.wait(support.SHORT_TIMEOUT)
                    for data in b"\r", b"\n", b"\r\n" + response(b"b"):
                        link.send(data)

                peer, conn = self.start(script)
                self.addCleanup(go_on.set)
                self.ask(conn, "/a", "/b")
                self.assertEqual(conn.getresponse().read(), b"a")
                go_on.set()
                if memory:
                    receive_into_memory(conn, lambda inbox: inbox.size > 9)
                self.assertEqual(conn.getresponse().read(), b"b")

    def test_too_many_line_ends(self):
        go_on = threading.Event()

        def script(link):
            receive_then_send(2, response(b"a"))(link)
            go_on.wait(support.SHORT_TIMEOUT)
            link.send(b"\r\n" * 1000 + response(b"b"))

        peer, conn = self.start(script, answer_fresh)
        self.addCleanup(go_on.set)
        self.ask(conn, "/a", "/b")
        self.assertEqual(conn.getresponse().read(), b"a")
        go_on.set()
        with self.assertRaises(http.client.BadStatusLine):
            conn.getresponse()
        self.check_lost(conn, "/b")
        self.check_fresh(peer, conn)

    def test_line_ends_in_memory(self):
        # What is received in advance is kept in blocks.
        data = response(b"a") + b"\r\n" * 3 + response(b"b")
        for size in range(len(response(b"a")) - 2, len(data)):
            with (self.subTest(size=size),
                  mock.patch.object(_pipeline, "_BLOCK_SIZE", size)):
                peer, conn = self.start(receive_then_send(2, data),
                                        mixin=in_pieces(1))
                self.ask(conn, "/a", "/b")
                receive_into_memory(conn,
                                    lambda inbox: inbox.size == len(data))
                self.assertEqual(conn.getresponse().read(), b"a")
                self.assertEqual(conn.getresponse().read(), b"b")
                conn.close()

    def test_debuglevel(self):
        peer, conn = self.start(receive_then_send(
            2, FRAMINGS["HEAD"][1], response(b"a")))
        conn.set_debuglevel(1)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            self.ask(conn, ("HEAD", "/"), "/a")
            self.assertEqual(conn.getresponse().read(), b"")
            self.assertEqual(conn.getresponse().read(), b"a")
        self.assertEqual(printed.getvalue().count("reply:"), 2)


class SendingTests(PipeliningTestCase):
    """When a request may be sent."""

    # Guard: this is how it is without max_pipelined.
    def test_default(self):
        peer, conn = self.start(answer_with_target(2), max_pipelined=1)
        conn.request("GET", "/a")
        self.check_refused(conn)
        received = conn.getresponse()
        conn.request("GET", "/b")
        self.check_refused(conn)
        self.assertEqual(received.read(), b"/a")
        self.assertEqual(conn.getresponse().read(), b"/b")

    # Guard: who does not pipeline does not pay for it.
    def test_nothing_of_it_runs(self):
        with mock.patch.object(_pipeline, "Pipeline") as cls:
            peer, conn = self.start(answer_with_target(2), max_pipelined=1)
            conn.request("GET", "/a")
            received = conn.getresponse()
            conn.request("GET", "/b")
            self.assertEqual(received.read(), b"/a")
            self.assertEqual(conn.getresponse().read(), b"/b")
        self.assertEqual(cls.mock_calls, [])

    # Guard: likewise.
    def test_import(self):
        peer = self.enterContext(Peer(answer_with_target(1)))
        assert_python_ok("-c", f"""if True:
            import http.client, sys
            conn = http.client.HTTPConnection({http_peer.HOST!r}, {peer.port})
            conn.request("GET", "/")
            assert conn.getresponse().read() == b"/"
            conn.close()
            assert "http._pipeline" not in sys.modules""")

    def test_unanswered_is_empty(self):
        self.assertEqual(http.client.ConnectionClosed.unanswered, ())
        def script(link):
            link.request()
            leave(link)

        peer, conn = self.start(script, max_pipelined=1)
        conn.request("GET", "/a")
        with self.assertRaises(http.client.ConnectionClosed) as caught:
            conn.getresponse()
        self.assertEqual(caught.exception.unanswered, ())

    def test_class_attribute(self):
        self.assertEqual(http.client.HTTPConnection.max_pipelined, 1)
        self.assertNotIn("max_pipelined",
                         vars(http.client.HTTPConnection("localhost")))

    def test_limit(self):
        peer, conn = self.start(answer_with_target(5), max_pipelined=3)
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
        for body in b"/b", b"/c", b"/d", b"/e":
            self.assertEqual(conn.getresponse().read(), body)

    def test_nothing_of_a_refused_request_is_sent(self):
        peer, conn = self.start(answer_with_target(3), max_pipelined=2)
        self.ask(conn, "/a", "/b")
        self.check_refused(conn, target="/x")
        self.assertEqual(conn.getresponse().read(), b"/a")
        conn.request("GET", "/c")
        self.assertEqual(conn.getresponse().read(), b"/b")
        self.assertEqual(conn.getresponse().read(), b"/c")
        self.assertEqual([request.target for _, request in peer.requests],
                         [b"/first", b"/a", b"/b", b"/c"])

    def start_new(self, script, fresh=answer_fresh):
        # No response yet.
        peer = self.enterContext(Peer(script, fresh))
        conn = peer.connect()
        conn.max_pipelined = 8
        return peer, conn

    def test_persistence_has_to_be_shown(self):
        def script(link):
            link.answer(LARGE)
            answer_with_target(2)(link)

        peer, conn = self.start_new(script)
        conn.request("GET", "/first")
        self.check_refused(conn)
        received = conn.getresponse()
        # Its head has shown it.
        self.ask(conn, "/a", "/b")
        self.assertEqual(received.read(), LARGE)
        self.assertEqual(conn.getresponse().read(), b"/a")
        self.assertEqual(conn.getresponse().read(), b"/b")

    def test_persistence_of_another_connection(self):
        peer, conn = self.start(receive_then_send(1, response(b"a", CLOSE)),
                                answer_with_target(3))
        conn.request("GET", "/a")
        self.assertEqual(conn.getresponse().read(), b"a")
        conn.request("GET", "/b")
        self.check_refused(conn)
        self.assertEqual(conn.getresponse().read(), b"/b")
        self.assertEqual(peer.accepted, 2)
        self.ask(conn, "/c", "/d")
        self.assertEqual(conn.getresponse().read(), b"/c")
        self.assertEqual(conn.getresponse().read(), b"/d")

    # Guard: HTTP/1.0 knows of no pipelining, even if the connection persists.
    def test_server_of_http_1_0(self):
        def script(link):
            for _ in range(3):
                link.request()
                link.send(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
                          b"Content-Length: 1\r\n\r\na")

        peer, conn = self.start_new(script)
        for _ in range(3):
            conn.request("GET", "/")
            self.check_refused(conn)
            self.assertEqual(conn.getresponse().read(), b"a")
        self.assertEqual(peer.accepted, 1)

    # Guard: a request of HTTP/1.0, likewise.
    def test_client_of_http_1_0(self):
        peer, conn = self.start(answer_with_target(1))
        conn._http_vsn, conn._http_vsn_str = 10, "HTTP/1.0"
        conn.request("GET", "/a")
        self.check_refused(conn)
        self.assertEqual(conn.getresponse().read(), b"/a")

    def test_nothing_after_a_request_that_is_not_idempotent(self):
        peer, conn = self.start(answer_with_target(12))
        for method in "POST", "PATCH", "get", "LOCK":
            with self.subTest(method=method):
                # It may come after others.
                self.ask(conn, "/a", (method, "/b"))
                self.check_refused(conn)
                self.assertEqual(conn.getresponse().read(), b"/a")
                self.check_refused(conn)
                received = conn.getresponse()
                conn.request("GET", "/c")
                self.assertEqual(received.read(), b"/b")
                self.assertEqual(conn.getresponse().read(), b"/c")
        self.assertEqual(peer.accepted, 1)

    def test_idempotent_methods(self):
        methods = "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"

        def script(link):
            for method in methods:
                link.request()
                link.send(response(b"" if method == "HEAD" else b"a"))

        peer, conn = self.start(script, max_pipelined=len(methods))
        self.ask(conn, *((method, "/") for method in methods))
        for method in methods:
            with self.subTest(method=method):
                self.assertEqual(conn.getresponse().read(),
                                 b"" if method == "HEAD" else b"a")

    def test_nothing_after_a_request_that_ends_the_connection(self):
        # RFC 9112, section 9.6: it may be the last one.
        for headers in ({"Connection": "close"},
                        {"connection": "x-option, Close"},
                        {"Connection": "x-option,\r\n close"},
                        {"Connection": "x-option,\r close"},
                        {"Connection": "Upgrade", "Upgrade": "x"},
                        {"upgrade": "x"}):
            with self.subTest(headers=headers):
                peer, conn = self.start(answer_with_target(2))
                conn.request("GET", "/a")
                conn.request("GET", "/b", headers=headers)
                self.check_refused(conn)
                self.assertEqual(conn.getresponse().read(), b"/a")
                self.assertEqual(conn.getresponse().read(), b"/b")

    def test_only_the_head_counts(self):
        pipeline = _pipeline.Pipeline(http.client._reader.Received())
        pipeline.add_request("PUT", b"PUT /a HTTP/1.1\r\nA: b\r\n\r\n"
                                    b"\r\nConnection: close\r\n")
        self.assertIs(pipeline.requests[0].may_be_followed, True)
        self.assertEqual(pipeline.unanswered, (("PUT", "/a"),))

    def test_a_body_that_cannot_be_sent(self):
        # The same is raised in all cases.
        data = memoryview(b"abcdef")[::2]
        for outstanding in False, True:
            with self.subTest(outstanding=outstanding):
                peer, conn = self.start(answer_with_target(1))
                if outstanding:
                    conn.request("GET", "/a")
                with self.assertRaises(BufferError):
                    conn.request("PUT", "/b", data)
                conn.close()

    def test_a_body_that_is_not_sent_whole(self):
        peer, conn = self.start(answer_with_target(3))
        conn.request("GET", "/a")
        conn.putrequest("PUT", "/b")
        self.check_refused(conn)
        conn.putheader("Content-Length", "4")
        conn.endheaders()
        self.check_refused(conn)
        conn.send(b"bo")
        self.check_refused(conn)
        # Others can be read meanwhile.
        self.assertEqual(conn.getresponse().read(), b"/a")
        self.check_refused(conn)
        conn.send(b"dy")
        conn.request("GET", "/c")
        self.assertEqual(conn.getresponse().read(), b"/b")
        self.assertEqual(conn.getresponse().read(), b"/c")
        self.assertEqual(peer.requests[2][1].body, b"body")

    def test_a_request_that_is_given_up(self):
        # Those before it have a response all the same.
        peer, conn = self.start(answer_with_target(2))
        self.ask(conn, "/a", "/b")
        with self.assertRaises(ValueError):
            conn.request("GET", "/c", headers={"X": "\n"})
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        self.assertEqual(conn.getresponse().read(), b"/a")
        self.assertEqual(conn.getresponse().read(), b"/b")
        with self.assertRaises(http.client.ResponseNotReady):
            conn.getresponse()

    def test_a_request_that_was_begun(self):
        # Reading does not end it.
        peer, conn = self.start(answer_with_target(2))
        conn.request("GET", "/a")
        conn.putrequest("GET", "/b")
        self.assertEqual(conn.getresponse().read(), b"/a")
        conn.endheaders()
        self.assertEqual(conn.getresponse().read(), b"/b")

    def test_bytes_between_requests(self):
        # Nobody knows what the server makes of them.
        peer, conn = self.start(answer_with_target(1), answer_fresh)
        conn.request("GET", "/a")
        conn.putrequest("GET", "/b")
        conn.send(b"stray")
        with self.assertRaises(http.client.CannotSendRequest):
            conn.endheaders()
        self.assertEqual(conn.getresponse().read(), b"/a")
        conn.close()
        self.check_fresh(peer, conn)

    def test_a_socket_that_is_set_aside(self):
        # There is nothing that another request could follow.
        peer, conn = self.start(receive_then_send(2), answer_fresh)
        self.ask(conn, "/a", "/b")
        sock, conn.sock = conn.sock, None
        self.check_refused(conn)
        # Its responses are of no later request.
        conn.close()
        conn.sock = sock
        self.check_fresh(peer, conn)
        self.assertEqual(sock.fileno(), -1)

    def test_a_socket_that_comes_back(self):
        # What was outstanding on it is lost, and named.
        peer, conn = self.start(receive_then_send(2), answer_fresh)
        self.ask(conn, "/a", "/b")
        other, end = socket.socketpair()
        self.addCleanup(other.close)
        self.addCleanup(end.close)
        sock, conn.sock = conn.sock, other
        self.assertIs(conn.poll_response(), False)
        conn.sock = sock
        with self.assertRaises(http.client.ConnectionClosed) as caught:
            conn.getresponse()
        self.assertEqual(caught.exception.unanswered,
                         (("GET", "/a"), ("GET", "/b")))
        self.check_fresh(peer, conn)

    def test_an_interrupt_before_sending(self):
        peer, conn = self.start(answer_with_target(1), answer_fresh)
        conn.request("GET", "/a")
        with (mock.patch.object(_pipeline.Pipeline, "add_request",
                                side_effect=KeyboardInterrupt),
              self.assertRaises(KeyboardInterrupt)):
            conn.request("GET", "/b")
        with self.assertRaises(http.client.RemoteDisconnected):
            conn.getresponse()
        self.check_fresh(peer, conn)

    def test_a_request_that_was_begun_before_the_end(self):
        peer, conn = self.start(receive_then_send(1, response(b"a", CLOSE)),
                                answer_fresh)
        conn.request("GET", "/a")
        conn.putrequest("GET", "/b")
        self.assertEqual(conn.getresponse().read(), b"a")
        conn.endheaders()
        self.assertEqual(conn.getresponse().read(), b"fresh")
        self.assertEqual(peer.accepted, 2)

    # Guard: nobody knows what was sent, so nothing follows it.
    def test_a_subclass_that_sends_by_itself(self):
        class Connection(http.client.HTTPConnection):
            def _send_output(self, message_body=None, encode_chunked=False):
                self._buffer.extend((b"", b""))
                self.sock.sendall(b"\r\n".join(self._buffer))
                del self._buffer[:]

        def script(link):
            answer_with_target(2)(link)

        peer = self.enterContext(Peer(script))
        conn = peer.connect(Connection)
        conn.max_pipelined = 8
        conn.connect()
        for _ in range(2):
            conn.request("GET", "/a")
            self.check_refused(conn)
            self.assertEqual(conn.getresponse().read(), b"/a")

    def test_a_subclass_that_sends_an_array(self):
        class Connection(http.client.HTTPConnection):
            def _send_output(self, message_body=None, encode_chunked=False):
                self._buffer.extend((b"", b""))
                self.send(bytearray(b"\r\n".join(self._buffer)))
                del self._buffer[:]

        def script(link):
            answer_with_target(2)(link)
            link.request()
            leave(link)

        peer = self.enterContext(Peer(script))
        conn = peer.connect(Connection)
        conn.max_pipelined = 8
        conn.request("GET", "/a")
        received = conn.getresponse()
        self.ask(conn, "/b", "/c")
        self.assertEqual(received.read(), b"/a")
        self.assertEqual(conn.getresponse().read(), b"/b")
        with self.assertRaises(http.client.ConnectionClosed) as caught:
            conn.getresponse()
        self.assertEqual(caught.exception.unanswered, (("GET", "/c"),))

    # Guard: a socket that may block for ever is sent one request at a time.
    def test_a_socket_of_another_class(self):
        class Socket:
            def __init__(self, sock):
                self._sock = sock

            def __getattr__(self, name):
                return getattr(self._sock, name)

        peer, conn = self.start(lambda link: None, answer_with_target(2))
        conn.close()
        sock = socket.create_connection((http_peer.HOST, peer.port))
        self.addCleanup(sock.close)
        conn.sock = Socket(sock)
        for _ in range(2):
            conn.request("GET", "/a")
            self.check_refused(conn)
            self.assertEqual(conn.getresponse().read(), b"/a")

    def test_a_limit_that_is_raised_later(self):
        # A response is being read, and has been received in part.
        def script(link):
            link.answer(LARGE)
            answer_with_target(3)(link)

        peer, conn = self.start(script, max_pipelined=1)
        conn.request("GET", "/")
        received = conn.getresponse()
        self.assertEqual(received.read(100), LARGE[:100])
        conn.max_pipelined = 3
        self.ask(conn, "/a", "/b", "/c")
        self.assertEqual(received.read(), LARGE[100:])
        for body in b"/a", b"/b", b"/c":
            self.assertEqual(conn.getresponse().read(), body)
        self.assertEqual(peer.accepted, 1)


@http_peer.over_tls
class LostTests(PipeliningTestCase):
    """The connection ends before there are responses to all requests."""

    def check_announced(self, message, body):
        peer, conn = self.start(receive_then_send(3, response(b"a"), message),
                                answer_fresh)
        self.ask(conn, "/a", "/b", ("PUT", "/c"))
        self.assertEqual(conn.getresponse().read(), b"a")
        received = conn.getresponse()
        self.assertTrue(received.will_close)
        self.assertEqual(conn.fileno(), -1)
        self.assertIs(conn.poll_response(), True)
        # What was announced changes nothing in this response.
        self.assertEqual(received.read(), body)
        self.assertIs(conn.poll_response(None), True)
        self.check_lost(conn, ("PUT", "/c"),
                        cls=http.client.RemoteDisconnected)
        self.check_fresh(peer, conn)

    def test_announced(self):
        self.check_announced(response(LARGE, CLOSE), LARGE)

    def test_ambiguous(self):
        # Nobody knows where the next one begins.
        self.check_announced(
            response(b"b", b"Content-Length: 1", b"Content-Length: 2"), b"b")

    def test_with_the_connection(self):
        # A body without a length: what is received in advance is of it.
        for memory in False, True:
            with self.subTest(memory=memory):
                def script(link):
                    receive_then_send(
                        2, response(b"a"),
                        b"HTTP/1.1 200 OK\r\n\r\nbcd")(link)
                    leave(link)

                peer, conn = self.start(script, answer_fresh)
                self.ask(conn, "/a", "/b")
                conn.putrequest("PUT", "/c")
                self.assertEqual(conn.getresponse().read(), b"a")
                conn.putheader("Content-Length", "0")
                conn.endheaders()
                if memory:
                    self.assertTrue(conn.poll_response(support.SHORT_TIMEOUT))
                received = conn.getresponse()
                self.assertEqual(received.read(), b"bcd")
                self.check_lost(conn, ("PUT", "/c"))
                self.check_fresh(peer, conn)

    def test_unread(self):
        # It can be read after getresponse() has raised.
        peer, conn = self.start(receive_then_send(2, response(LARGE, CLOSE)),
                                answer_fresh)
        self.ask(conn, "/a", "/b")
        received = conn.getresponse()
        self.check_lost(conn, "/b")
        self.check_fresh(peer, conn)
        self.assertEqual(received.read(), LARGE)

    def test_closed(self):
        # Who closes the connection does not want to hear of it.
        for announced in True, False:
            with self.subTest(announced=announced):
                peer, conn = self.start(receive_then_send(
                    3, response(b"a", *[CLOSE] * announced)), answer_fresh)
                self.ask(conn, "/a", "/b", "/c")
                self.assertEqual(conn.getresponse().read(), b"a")
                conn.close()
                with self.assertRaises(http.client.ResponseNotReady):
                    conn.getresponse()
                with self.assertRaises(http.client.NotConnected):
                    conn.poll_response()
                self.check_fresh(peer, conn)

    def test_nothing_is_lost(self):
        # The last response announces the end.
        peer, conn = self.start(receive_then_send(
            2, response(b"a"), response(b"b", CLOSE)), answer_fresh)
        self.ask(conn, "/a", "/b")
        self.assertEqual(conn.getresponse().read(), b"a")
        self.assertEqual(conn.getresponse().read(), b"b")
        self.check_fresh(peer, conn)

    def check_end(self, end):
        def script(link):
            receive_then_send(3, response(b"a"))(link)
            end(link)

        peer, conn = self.start(script, answer_fresh)
        self.ask(conn, "/a", ("PUT", "/b"), "/c")
        received = conn.getresponse()
        self.assertEqual(received.read(), b"a")
        exc = self.check_lost(conn, ("PUT", "/b"), "/c", known=False)
        self.check_fresh(peer, conn)
        return exc

    def test_end(self):
        self.assertIsInstance(self.check_end(leave),
                              http.client.RemoteDisconnected)

    def test_end_that_is_known(self):
        def script(link):
            receive_then_send(2, response(b"a"))(link)
            leave(link)

        peer, conn = self.start(script, answer_fresh)
        self.ask(conn, "/a", "/b")
        receive_into_memory(conn, lambda inbox: inbox.ended)
        self.assertEqual(conn.getresponse().read(), b"a")
        self.assertIs(conn.poll_response(), True)
        self.check_lost(conn, "/b", known=False)
        self.check_fresh(peer, conn)

    def test_reset(self):
        ready = threading.Event()

        def script(link):
            receive_then_send(2, response(b"a"))(link)
            ready.wait(support.SHORT_TIMEOUT)
            link.reset()

        peer, conn = self.start(script, answer_fresh)
        self.ask(conn, "/a", "/b")
        self.assertEqual(conn.getresponse().read(), b"a")
        ready.set()
        self.check_lost(conn, "/b", cls=ConnectionResetError, known=False)
        self.check_fresh(peer, conn)

    def test_cut_head(self):
        for head in b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: y\r\n":
            with self.subTest(head=head):
                def script(link):
                    receive_then_send(2, head)(link)
                    leave(link)

                peer, conn = self.start(script, answer_fresh)
                self.ask(conn, "/a", "/b")
                self.check_lost(conn, "/a", "/b", known=False)
                self.check_fresh(peer, conn)

    def test_cut_body(self):
        methods = [http.client.HTTPResponse.read,
                   lambda received: [*received],
                   lambda received: [*iter(lambda: received.read(9), b"")],
                   lambda received: [*iter(received.read1, b"")],
                   lambda received: received.readinto(bytearray(99999)) +
                   received.readinto(bytearray(1))]
        bodies = [response(LARGE)[:-1], chunked(b"10000\r\n", LARGE[:-1]),
                  chunked(b"10000\r\n", LARGE),
                  chunked(b"10000\r\n", LARGE, b"\r\n"),
                  chunked(b"10000\r\n", LARGE, b"\r\n0\r\nA: b\r\n"),
                  response(LARGE, CLOSE)[:-1]]
        for method in methods:
            for body in bodies:
                with self.subTest(method=method, body=body[:80]):
                    def script(link):
                        receive_then_send(3, body)(link)
                        leave(link)

                    peer, conn = self.start(script, answer_fresh)
                    self.ask(conn, "/a", "/b", ("PUT", "/c"))
                    received = conn.getresponse()
                    with self.assertRaises(http.client.IncompleteRead) as cm:
                        method(received)
                    # That was the response to the first one.
                    self.assertEqual(cm.exception.unanswered,
                                     (("GET", "/b"), ("PUT", "/c")))
                    copy = pickle.loads(pickle.dumps(cm.exception))
                    self.assertEqual(copy.unanswered, cm.exception.unanswered)
                    self.check_lost(conn, "/b", ("PUT", "/c"))
                    self.check_fresh(peer, conn)

    def test_reset_in_the_body(self):
        ready = threading.Event()

        def script(link):
            receive_then_send(2, response(b"ab")[:-1])(link)
            ready.wait(support.SHORT_TIMEOUT)
            link.reset()

        peer, conn = self.start(script, answer_fresh)
        self.ask(conn, "/a", "/b")
        received = conn.getresponse()
        self.assertEqual(received.read(1), b"a")
        ready.set()
        with self.assertRaises(ConnectionResetError) as caught:
            received.read(1)
        self.assertEqual(caught.exception.unanswered, (("GET", "/b"),))
        received.close()
        self.check_lost(conn, "/b")
        self.check_fresh(peer, conn)

    def test_malformed(self):
        # What follows is never taken for a response.
        for message in (b"HTTP/1.1 2x0 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n",
                        b"HTTP/2.0 200 OK\r\n\r\n"):
            with self.subTest(message=message):
                peer, conn = self.start(receive_then_send(
                    3, response(b"a") + message + response(b"c")),
                    answer_fresh)
                self.ask(conn, "/a", "/b", "/c")
                self.assertEqual(conn.getresponse().read(), b"a")
                with self.assertRaises(http.client.HTTPException) as caught:
                    conn.getresponse()
                self.assertNotIsInstance(caught.exception,
                                         http.client.ConnectionClosed)
                self.check_lost(conn, "/b", "/c")
                self.check_fresh(peer, conn)

    def test_malformed_chunk(self):
        peer, conn = self.start(receive_then_send(
            2, chunked(b"1\r\na\r\n", b"-1\r\n") + response(b"b")),
            answer_fresh)
        self.ask(conn, "/a", "/b")
        received = conn.getresponse()
        self.assertEqual(received.read(1), b"a")
        received.close()
        self.check_lost(conn, "/b")
        self.check_fresh(peer, conn)

    def test_abandoned(self):
        # Its rest has not been received, so nobody knows what comes next.
        for collected in False, True:
            for message in response(LARGE), chunked(b"10000\r\n", LARGE):
                with self.subTest(collected=collected, message=message[:40]):
                    peer, conn = self.start(
                        receive_then_send(3, message[:-1]), answer_fresh)
                    self.ask(conn, "/a", "/b", "/c")
                    received = conn.getresponse()
                    self.assertEqual(received.read(1), LARGE[:1])
                    if collected:
                        del received
                        support.gc_collect()
                    else:
                        received.close()
                    self.check_lost(conn, "/b", "/c")
                    self.check_fresh(peer, conn)

    def test_abandoned_by_its_reader(self):
        peer, conn = self.start(receive_then_send(2, response(LARGE)),
                                answer_fresh)
        self.ask(conn, "/a", "/b")
        received = conn.getresponse()
        received.fp.close()
        with self.assertRaises(ValueError):     # as ever
            received.close()
        self.check_lost(conn, "/b")
        self.check_fresh(peer, conn)

    def test_abandoned_after_putrequest(self):
        peer, conn = self.start(receive_then_send(2, response(LARGE)[:-1]),
                                answer_fresh)
        self.ask(conn, "/a", "/b")
        received = conn.getresponse()
        conn.putrequest("GET", "/c")
        received.close()
        with self.assertRaises(http.client.CannotSendRequest):
            conn.endheaders()
        self.assertIs(conn.poll_response(), True)
        self.check_lost(conn, "/b")
        self.check_fresh(peer, conn)

    def test_another_protocol(self):
        peer, conn = self.start(receive_then_send(
            2, b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), answer_fresh)
        self.ask(conn, "/a", "/b")
        self.assertEqual(conn.getresponse().status, 101)
        self.check_lost(conn, "/b")
        self.check_fresh(peer, conn)

    # Guard: as without pipelining.
    def test_what_comes_with_another_protocol(self):
        # Who takes the socket over first reads what is in the buffer.
        data = LARGE[:24000]
        sent = threading.Event()

        def script(link):
            receive_then_send(
                1, b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + data)(link)
            sent.set()

        peer, conn = self.start(script)
        conn.request("GET", "/a", headers={"Connection": "Upgrade",
                                           "Upgrade": "x"})
        self.assertTrue(sent.wait(support.SHORT_TIMEOUT))
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        received = conn.getresponse()
        self.assertEqual(received.status, 101)
        taken = received.fp.read(len(received.fp.peek()))
        while len(taken) < len(data):
            taken += conn.sock.recv(len(data))
        self.assertEqual(taken, data)
        received.close()

    def test_stray_bytes(self):
        # The server sends one response too many, before the request to which
        # it would be the response.
        stray = response(b"stray")
        for message in (response(b"a") + response(b"b") + stray,
                        response(b"a") + response(b"b") + stray[:1]):
            with self.subTest(message=message):
                def script(link):
                    receive_then_send(2, message)(link)
                    answer_with_target(1)(link)

                peer, conn = self.start(script, answer_fresh)
                self.ask(conn, "/a", "/b")
                received = conn.getresponse()
                self.assertEqual(received.read(), b"a")
                conn.request("GET", "/c")
                self.assertEqual(conn.getresponse().read(), b"b")
                self.check_lost(conn, "/c", known=False)
                self.check_fresh(peer, conn)

    def test_stray_bytes_when_idle(self):
        peer, conn = self.start(receive_then_send(
            2, response(b"a") + response(b"b") + response(b"stray")),
            answer_fresh)
        self.ask(conn, "/a", "/b")
        self.assertEqual(conn.getresponse().read(), b"a")
        self.assertEqual(conn.getresponse().read(), b"b")
        self.check_fresh(peer, conn)

    def test_an_answer_to_a_half_sent_request(self):
        # It is good, and the last one.
        peer, conn = self.start(receive_then_send(1, response(b"a"),
                                                  response(b"early")),
                                answer_fresh)
        conn.request("GET", "/a")
        conn.putrequest("PUT", "/b")
        conn.putheader("Content-Length", "4")
        conn.endheaders()
        conn.send(b"bo")
        self.assertEqual(conn.getresponse().read(), b"a")
        received = conn.getresponse()
        conn.send(b"dy")        # whoever began it may end it
        self.assertEqual(received.read(), b"early")
        self.check_fresh(peer, conn)

    def test_timeout(self):
        # The response may still come.
        go_on = threading.Event()

        def script(link):
            receive_then_send(2, response(b"a"))(link)
            go_on.wait(support.SHORT_TIMEOUT)
            link.send(response(b"b"))

        peer, conn = self.start(script)
        self.addCleanup(go_on.set)
        self.ask(conn, "/a", "/b")
        self.assertEqual(conn.getresponse().read(), b"a")
        conn.sock.settimeout(0.01)
        with self.assertRaises(TimeoutError):
            conn.getresponse()
        conn.sock.settimeout(support.SHORT_TIMEOUT)
        go_on.set()
        self.assertEqual(conn.getresponse().read(), b"b")

    def test_a_response_class_of_its_own_kind(self):
        # It is not known what it leaves, either.
        class Response:
            def __init__(self, *args, **kwargs):
                self._response = http.client.HTTPResponse(*args, **kwargs)

            def __getattr__(self, name):
                return getattr(self._response, name)

        peer, conn = self.start(receive_then_send(
            1, response(b"a") + response(b"b")), answer_fresh)
        conn.response_class = Response
        conn.request("GET", "/a")
        self.assertEqual(conn.getresponse().read(), b"a")
        self.check_fresh(peer, conn)

    # Guard: without pipelining it is served, too.
    def test_a_response_class_that_reads_at_once(self):
        # It does not say what it leaves.
        class Response(http.client.HTTPResponse):
            def begin(self):
                super().begin()
                self.data = self.read()

        targets = ["/a", "/b", "/c"]
        peer, conn = self.start(*[answer_with_target(3)] * 3)
        conn.response_class = Response
        for target in targets:
            conn.request("GET", target)
            received = conn.getresponse()
            self.assertEqual(received.data, target.encode())
        self.assertEqual(len(peer.requests), 4)

    def test_an_interrupt(self):
        # At the end of a response, what follows it may be lost.
        peer, conn = self.start(receive_then_send(
            2, response(b"a") + response(b"b")), answer_fresh)
        self.ask(conn, "/a", "/b")
        received = conn.getresponse()
        self.addCleanup(received.fp.close)
        with (mock.patch.object(_pipeline.Pipeline, "take_back",
                                side_effect=KeyboardInterrupt),
              self.assertRaises(KeyboardInterrupt)):
            received.read()
        self.check_lost(conn, "/b", known=False)
        self.check_fresh(peer, conn)

    def test_an_interrupt_before_the_head(self):
        # What has been received of it is lost with the reader.
        conn_class = http.client.HTTPConnection
        name = "_HTTPConnection__await_response"
        await_response = getattr(conn_class, name)

        def interrupt(*args):
            await_response(*args)
            args[-1].close()
            raise KeyboardInterrupt

        peer, conn = self.start(receive_then_send(
            2, response(response(b"forged") * 400) + response(b"b")),
            answer_fresh)
        self.ask(conn, "/a", "/b")
        with (mock.patch.object(conn_class, name, interrupt),
              self.assertRaises(KeyboardInterrupt)):
            conn.getresponse()
        self.check_lost(conn, "/a", "/b", known=False)
        self.check_fresh(peer, conn)

    def test_an_answer_before_all_was_sent(self):
        # What comes next is in doubt, though all had been sent when it was
        # asked for: the server may take the body for requests.
        arrived = threading.Event()

        class Watched:
            def recv_into(self, buffer, *args):
                n = super().recv_into(buffer, *args)
                if b"early" in bytes(buffer[:n]):
                    arrived.set()
                return n

        def script(link):
            bound_buffers(link.sock)
            link.request()
            link.send(response(b"a"))
            while link.reader.readline() not in (b"\r\n", b""):
                pass
            link.send(response(b"early"))
            arrived.wait(support.SHORT_TIMEOUT)
            link.reader.read(10**7)
            link.answer(b"c")

        peer, conn = self.start(script, answer_fresh, mixin=Watched)
        self.addCleanup(arrived.set)
        bound_buffers(conn.sock)
        conn.request("GET", "/a")
        conn.request("PUT", "/b", bytes(10**7))
        conn.request("GET", "/c")
        self.assertEqual(conn.getresponse().read(), b"a")
        received = conn.getresponse()
        self.assertEqual(received.read(), b"early")
        self.check_lost(conn, "/c")
        self.check_fresh(peer, conn)

    def test_a_response_class_that_reads_by_itself(self):
        # What it leaves is lost, so nothing may follow.
        class Response(http.client.HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)
                self.fp = sock.makefile("rb")

        peer, conn = self.start(receive_then_send(
            2, response(b"a"), response(b"b")), answer_fresh)
        self.ask(conn, "/a", "/b")
        conn.response_class = Response
        self.assertEqual(conn.getresponse().read(), b"a")
        self.check_lost(conn, "/b")
        conn.response_class = http.client.HTTPResponse
        self.check_fresh(peer, conn)


@unittest.skipIf(ssl is None, "needs close_notify")
class CloseNotifyTests(PipeliningTestCase):

    tls = ssl and ssl.TLSVersion.TLSv1_3

    def test_end_without_close_notify(self):
        # With require_close_notify, the body is cut.  It is of the first
        # request, whatever comes after that.
        for memory in False, True:
            with self.subTest(memory=memory):
                def script(link):
                    receive_then_send(2, b"HTTP/1.1 200 OK\r\n\r\nab")(link)
                    socket.socket.shutdown(link.sock, socket.SHUT_WR)

                peer, conn = self.start(script)
                conn.require_close_notify = True
                self.ask(conn, "/a", ("CONNECT", "/b"))
                if memory:
                    receive_into_memory(conn, lambda inbox: inbox.ended)
                received = conn.getresponse()
                with self.assertRaises(http.client.IncompleteRead) as caught:
                    received.read()
                self.assertEqual(caught.exception.partial, b"ab")
                self.assertEqual(caught.exception.unanswered,
                                 (("CONNECT", "/b"),))
                self.check_lost(conn, ("CONNECT", "/b"))


@http_peer.over_tls
class MemoryTests(PipeliningTestCase):
    """What arrives while a request is being sent."""

    BODY = bytes(30000)

    def start(self, *args, **kwargs):
        peer, conn = super().start(*args, **kwargs)
        bound_buffers(conn.sock)
        return peer, conn

    def answer(self, count, make=response):
        """Return a script that reads and answers one request at a time."""
        def script(link):
            bound_buffers(link.sock)
            for number in range(count):
                if link.request() is None:
                    return
                try:
                    link.send(make(self.body(number)))
                except OSError:     # the client has given up
                    return
        return script

    def body(self, number):
        return b"%4d" % number * 50000

    def make_chunked(self, body):
        lines = []
        for at in range(0, len(body), 7000):
            part = body[at:at + 7000]
            lines.append(b"%x\r\n%b\r\n" % (len(part), part))
        return chunked(*lines, b"0\r\n\r\n")

    def test_it_cannot_deadlock(self):
        # Both sides would have to wait if the client only sent.
        for make in response, self.make_chunked:
            with self.subTest(make=make):
                peer, conn = self.start(self.answer(20, make),
                                        max_pipelined=20)
                for number in range(20):
                    conn.request("PUT", f"/{number}", self.BODY)
                self.assertEqual(conn.sock.gettimeout(),
                                 support.SHORT_TIMEOUT)
                for number in range(20):
                    self.assertEqual(conn.getresponse().read(),
                                     self.body(number))
                self.assertEqual([request.body for _, request
                                  in peer.requests[1:]], [self.BODY] * 20)
                self.assertEqual(peer.accepted, 1)

    def test_while_a_response_is_being_read(self):
        for make in response, self.make_chunked:
            with self.subTest(make=make):
                peer, conn = self.start(self.answer(11, make),
                                        max_pipelined=10)
                conn.request("GET", "/")
                received = conn.getresponse()
                self.assertEqual(received.read(9), self.body(0)[:9])
                for number in range(10):
                    conn.request("PUT", f"/{number}", self.BODY)
                self.assertEqual(received.read(), self.body(0)[9:])
                for number in range(10):
                    self.assertEqual(conn.getresponse().read(),
                                     self.body(number + 1))
                self.assertEqual(peer.accepted, 1)

    def test_bodies_of_all_kinds(self):
        parts = [self.BODY] * 4
        peer, conn = self.start(self.answer(12), max_pipelined=12)
        for number in range(4):
            conn.request("PUT", "/", memoryview(b"".join(parts)))
            conn.request("PUT", "/", iter(parts))
            conn.putrequest("PUT", "/")
            conn.putheader("Content-Length", str(4 * len(self.BODY)))
            conn.endheaders()
            for part in parts:
                conn.send(bytearray(part))
        for number in range(12):
            self.assertEqual(conn.getresponse().read(), self.body(number))
        self.assertEqual([request.body for _, request in peer.requests[1:]],
                         [b"".join(parts)] * 12)

    def test_too_much(self):
        for reading in False, True:
            with self.subTest(reading=reading):
                peer, conn = self.start(self.answer(101), answer_fresh,
                                        max_pipelined=100)
                if reading:
                    conn.request("GET", "/")
                    received = conn.getresponse()
                    self.assertEqual(received.read(9), self.body(0)[:9])
                inbox = conn._HTTPConnection__get_use().received
                count = 0
                with (mock.patch.object(_pipeline, "MAX_RECEIVED", 10**6),
                      self.assertRaises(http.client.PipelineOverflow)
                      as caught):
                    for count in range(100):
                        conn.request("PUT", f"/{count}", self.BODY)
                # The request on which it failed is one of them.
                self.assertEqual(caught.exception.unanswered, tuple(
                    ("PUT", f"/{number}") for number in range(count + 1)))
                self.assertIsInstance(caught.exception,
                                      http.client.HTTPException)
                self.assertNotIsInstance(caught.exception,
                                         http.client.ConnectionClosed)
                self.assertGreater(inbox.size, 10**6)
                self.assertLess(inbox.size, 1.1 * 10**6)
                self.assertIsNone(conn.sock)
                with self.assertRaises(http.client.ResponseNotReady):
                    conn.getresponse()
                if reading:     # nothing of that is lost
                    self.assertEqual(received.read(), self.body(0)[9:])
                self.check_fresh(peer, conn)

    def test_the_bound(self):
        self.assertEqual(_pipeline.MAX_RECEIVED, 16 * 1024 * 1024)

    def test_pickle(self):
        exc = http.client.PipelineOverflow((("GET", "/a"), ("PUT", "/b")))
        copy = pickle.loads(pickle.dumps(exc))
        self.assertEqual(copy.unanswered, exc.unanswered)
        self.assertEqual(str(copy), str(exc))

    def fill(self, conn):
        """Send until an exception is raised; return how often, and that."""
        with self.assertRaises(Exception) as caught:
            for count in range(1000):
                conn.request("PUT", f"/{count}", self.BODY)
        return count + 1, caught.exception

    def test_timeout(self):
        # The server neither reads nor writes.
        go_on = threading.Event()

        def script(link):
            bound_buffers(link.sock)
            go_on.wait(support.SHORT_TIMEOUT)

        peer, conn = self.start(script, max_pipelined=1000)
        self.addCleanup(go_on.set)
        conn.request("GET", "/a")
        conn.sock.settimeout(0.05)
        count, exc = self.fill(conn)
        self.assertIsInstance(exc, TimeoutError)
        self.assertEqual(conn.sock.gettimeout(), 0.05)
        # The last one is not whole, so nothing may follow.
        self.check_refused(conn)

    def test_nonblocking(self):
        go_on = threading.Event()

        def script(link):
            bound_buffers(link.sock)
            go_on.wait(support.SHORT_TIMEOUT)

        peer, conn = self.start(script, max_pipelined=1000)
        self.addCleanup(go_on.set)
        conn.request("GET", "/a")
        conn.sock.settimeout(0)
        count, exc = self.fill(conn)
        self.assertIsInstance(exc, BlockingIOError if self.tls is None
                              else OSError)
        self.assertEqual(conn.sock.gettimeout(), 0)
        self.check_refused(conn)

    def test_the_end(self):
        # The server has answered, and does not read any more.
        go_on = threading.Event()

        def script(link):
            bound_buffers(link.sock)
            receive_then_send(2, response(b"a"), response(b"b", CLOSE))(link)
            leave(link)
            go_on.wait(support.SHORT_TIMEOUT)

        peer, conn = self.start(script, answer_fresh, max_pipelined=1000)
        self.addCleanup(go_on.set)
        self.ask(conn, "/a", "/b")
        count, exc = self.fill(conn)
        self.assertIsInstance(exc, BrokenPipeError)
        self.assertIsInstance(exc, http.client.ConnectionClosed)
        lost = tuple(("PUT", f"/{number}") for number in range(count))
        self.assertEqual(exc.unanswered,
                         (("GET", "/a"), ("GET", "/b"), *lost))
        # Now the responses can be had, and it is said once more.
        self.assertEqual(conn.getresponse().read(), b"a")
        self.assertEqual(conn.getresponse().read(), b"b")
        self.check_lost(conn, *lost)
        self.check_fresh(peer, conn)

    def test_an_error(self):
        # Both ways to learn of a reset.
        class Reset:
            armed = None

            def send(self, data):
                if self.armed is None:
                    return super().send(data)
                if self.armed == "send":
                    raise ConnectionResetError(errno.ECONNRESET, "reset")
                raise BlockingIOError

            def recv_into(self, *args):
                if self.armed == "receive" and self.gettimeout() == 0:
                    raise ConnectionResetError(errno.ECONNRESET, "reset")
                return super().recv_into(*args)

        for armed, cls in (("send", ConnectionResetError),
                           ("receive", BrokenPipeError)):
            with self.subTest(armed=armed):
                peer, conn = self.start(receive_then_send(2, response(b"a")),
                                        answer_fresh, mixin=Reset)
                self.ask(conn, "/a", "/b")
                receive_into_memory(conn, lambda inbox: inbox.size)
                Reset.armed = armed
                with self.assertRaises(cls) as caught:
                    conn.request("PUT", "/c", b"body")
                Reset.armed = None
                self.assertIsInstance(caught.exception,
                                      http.client.ConnectionClosed)
                lost = ("GET", "/b"), ("PUT", "/c")
                self.assertEqual(caught.exception.unanswered,
                                 (("GET", "/a"), *lost))
                # What has come before can be had.
                self.assertEqual(conn.getresponse().read(), b"a")
                conn.sock.shutdown(socket.SHUT_RD)
                with self.assertRaises(ConnectionResetError) as caught:
                    conn.getresponse()
                self.assertEqual(caught.exception.unanswered, lost)
                self.check_fresh(peer, conn)

    def test_without_poll(self):
        with mock.patch.object(select, "poll"):
            del select.poll     # as on Windows
            self.test_it_cannot_deadlock()

    def test_an_error_of_a_signal_handler(self):
        # It looks like one of the socket, and bytes are lost.
        receive = _pipeline.Received._receive_now

        def receive_then_raise(*args):
            receive(*args)
            raise TimeoutError

        def raise_error(*args):
            raise TimeoutError

        for cls, name, function in (
                (_pipeline.Pipeline, "_take", raise_error),
                (_pipeline.Received, "_receive_now", receive_then_raise)):
            with self.subTest(name=name):
                peer, conn = self.start(self.answer(1000), answer_fresh,
                                        max_pipelined=1000)
                with mock.patch.object(cls, name, function):
                    count, exc = self.fill(conn)
                self.assertIsInstance(exc, TimeoutError)
                self.assertEqual(conn.sock.gettimeout(),
                                 support.SHORT_TIMEOUT)
                lost = tuple(("PUT", f"/{number}") for number in range(count))
                self.assertEqual(exc.unanswered, lost)
                self.check_lost(conn, *lost)
                self.check_fresh(peer, conn)

    def test_an_interrupt(self):
        # Bytes may be lost, so nothing that follows may be used.
        class Interrupted:
            armed = 0

            def recv_into(self, buffer, *args):
                n = super().recv_into(buffer, *args)
                if self.armed and self.gettimeout() == 0:
                    Interrupted.armed -= 1
                    if not self.armed:
                        raise KeyboardInterrupt
                return n

        for reading in False, True:
            with self.subTest(reading=reading):
                peer, conn = self.start(self.answer(100), answer_fresh,
                                        max_pipelined=100, mixin=Interrupted)
                if reading:
                    conn.request("GET", "/")
                    received = conn.getresponse()
                    received.read(9)
                else:
                    conn.request("PUT", "/", self.BODY)
                Interrupted.armed = 3
                with self.assertRaises(KeyboardInterrupt):
                    for _ in range(100):
                        conn.request("PUT", "/", self.BODY)
                self.assertEqual(conn.sock.gettimeout(),
                                 support.SHORT_TIMEOUT)
                self.check_refused(conn)
                if reading:
                    with self.assertRaises((OSError,
                                            http.client.IncompleteRead)):
                        while received.read(1000):
                            pass
                    received.close()
                with self.assertRaises(http.client.ConnectionClosed):
                    conn.getresponse()
                self.check_fresh(peer, conn)


@unittest.skipIf(ssl is None, "needs records")
class RecordTests(PipeliningTestCase):
    """What TLS sends and receives for itself."""

    tls = ssl and ssl.TLSVersion.TLSv1_3

    class Wanting:
        """A socket whose TLS has to receive to send, and the other way."""

        wanted = ()     # what send() and recv_into() raise, one by one

        def send(self, data):
            if self.wanted:
                raise self.wanted.pop(0)
            return super().send(data)

        def recv_into(self, *args):
            if self.wanted and self.gettimeout() == 0:
                raise self.wanted.pop(0)
            return super().recv_into(*args)

    def check_waits(self, wanted, to_write, either):
        # If it waited for both, it would not wait.
        peer, conn = self.start(answer_with_target(2), mixin=self.Wanting)
        conn.request("GET", "/a")
        conn.sock.wanted = wanted
        with mock.patch.object(_pipeline, "is_ready",
                               return_value=True) as is_ready:
            conn.request("GET", "/b")
        is_ready.assert_called_once_with(conn.sock, support.SHORT_TIMEOUT,
                                         to_write, either=either)
        self.assertEqual(wanted, [])
        self.assertEqual(conn.getresponse().read(), b"/a")
        self.assertEqual(conn.getresponse().read(), b"/b")

    def test_sending_has_to_wait(self):
        self.check_waits([ssl.SSLWantWriteError(), ssl.SSLWantReadError()],
                         True, True)

    def test_sending_has_to_receive(self):
        self.check_waits([ssl.SSLWantReadError(), ssl.SSLWantReadError()],
                         False, True)

    def test_receiving_has_to_send(self):
        for exc in ssl.SSLWantWriteError, ssl.SSLWantReadError:
            with self.subTest(exc=exc):
                self.check_waits([exc(), ssl.SSLWantWriteError()],
                                 True, False)

    def test_what_tls_has_does_not_help_to_send(self):
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        ours.setblocking(False)
        with self.assertRaises(BlockingIOError):
            while True:
                ours.send(LARGE)
        sock = mock.Mock(fileno=ours.fileno, pending=lambda: 1)
        self.assertIs(_pipeline.is_ready(sock, 0, True), False)
        self.assertIs(_pipeline.is_ready(sock, 0, True, either=True), True)
        self.assertIs(_pipeline.is_ready(sock, 0), True)

    def test_key_updates(self):
        # They come between responses, and one asks for another.
        peer = self.enterContext(http_peer.KeyUpdater())
        conn = peer.client
        conn.max_pipelined = 4
        conn.request("GET", "/first")
        peer.answer(b"/first")
        self.assertEqual(conn.getresponse().read(), b"/first")
        self.ask(conn, "/a", "/b")
        peer.update_keys(both=True)
        self.assertIs(conn.poll_response(), False)
        conn.request("GET", "/c")
        for target in b"/a", b"/b", b"/c":
            peer.answer(target)
            self.assertEqual(conn.getresponse().read(), target)
            peer.update_keys(both=False)


@http_peer.over_tls
class ContinueTests(PipeliningTestCase):
    """Requests that ask the server whether it wants their bodies."""

    EXPECT = {"Expect": "100-continue"}
    GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"

    def start(self, *args, **kwargs):
        peer, conn = super().start(*args, **kwargs)
        conn.continue_timeout = support.SHORT_TIMEOUT
        return peer, conn

    def check_fresh(self, peer, conn):
        conn.continue_timeout = None
        super().check_fresh(peer, conn)

    def head(self, link):
        while link.reader.readline() not in (b"\r\n", b""):
            pass

    def test_no_wait(self):
        # What comes next is of an earlier request.
        for reading in False, True:
            with self.subTest(reading=reading):
                def script(link):
                    answer_with_target(2 - reading)(link)
                    link.request()
                    link.send(self.GO_ON + response(b"put"))
                    answer_with_target(1)(link)

                peer, conn = self.start(script)
                self.ask(conn, "/a")
                if reading:
                    received = conn.getresponse()
                else:
                    self.ask(conn, "/b")
                with mock.patch("http._expect.is_refused") as is_refused:
                    conn.request("PUT", "/", b"body", self.EXPECT)
                is_refused.assert_not_called()
                conn.request("GET", "/c")
                if not reading:
                    received = conn.getresponse()
                self.assertEqual(received.read(), b"/a")
                if not reading:
                    self.assertEqual(conn.getresponse().read(), b"/b")
                self.assertEqual(conn.getresponse().read(), b"put")
                self.assertEqual(conn.getresponse().read(), b"/c")
                self.assertEqual(peer.accepted, 1)

    def test_wanted(self):
        # If nothing is outstanding, it waits, and others may follow.
        def script(link):
            for _ in range(2):
                self.head(link)
                link.send(self.GO_ON)
                self.assertEqual(link.reader.read(4), b"body")
                link.send(response(b"put"))
                answer_with_target(2)(link)

        peer, conn = self.start(script)
        for _ in range(2):
            conn.request("PUT", "/", b"body", self.EXPECT)
            self.ask(conn, "/a", "/b")
            self.assertEqual(conn.getresponse().read(), b"put")
            # The 100 was not of these.
            for body in b"/a", b"/b":
                received = conn.getresponse()
                self.assertIs(received._followed_interim, False)
                self.assertEqual(received.read(), body)
        self.assertEqual(peer.accepted, 1)

    # Guard: it is as without max_pipelined.
    def test_refused(self):
        def script(link):
            self.head(link)
            link.send(response(b"no", status=b"413 Content Too Large"))

        peer, conn = self.start(script, answer_fresh)
        conn.request("PUT", "/", b"body", self.EXPECT)
        self.check_refused(conn)
        received = conn.getresponse()
        self.assertEqual((received.status, received.read()), (413, b"no"))
        self.check_fresh(peer, conn)

    def check_large(self, before, after, *targets):
        """Send a body that the server does not read before *before* is
        received into memory; *after* follows the body.
        """
        arrived = threading.Event()

        class Watched:
            received = b""

            def recv_into(self, buffer, *args):
                n = super().recv_into(buffer, *args)
                self.received += bytes(buffer[:n])
                if before in self.received:
                    arrived.set()
                return n

        def script(link):
            bound_buffers(link.sock)
            link.request()
            link.send(response(b"a"))
            self.head(link)
            link.send(before)
            arrived.wait(support.SHORT_TIMEOUT)
            link.reader.read(10**7)
            link.send(after)
            answer_with_target(1)(link)

        peer, conn = self.start(script, answer_fresh, mixin=Watched)
        self.addCleanup(arrived.set)
        bound_buffers(conn.sock)
        conn.request("GET", "/a")
        conn.request("PUT", "/b", bytes(10**7), self.EXPECT)
        conn.request("GET", "/c")
        self.assertEqual(conn.getresponse().read(), b"a")
        self.assertEqual(conn.getresponse().read(), b"put")
        return peer, conn

    def test_a_100_before_all_was_sent(self):
        # That is where it has to come.
        for at in 0, 9:
            with self.subTest(at=at):
                put = response(b"put")
                peer, conn = self.check_large(self.GO_ON + put[:at], put[at:])
                self.assertEqual(conn.getresponse().read(), b"/c")
                self.assertEqual(peer.accepted, 1)

    def test_an_answer_before_all_was_sent(self):
        # A final one is in doubt, whatever came before it.
        peer, conn = self.check_large(self.GO_ON + response(b"put"), b"")
        self.check_lost(conn, "/c")
        self.check_fresh(peer, conn)


@http_peer.over_tls
class PollTests(PipeliningTestCase):

    def test_in_memory(self):
        # The descriptor does not show what has been received.
        peer, conn = self.start(receive_then_send(
            3, response(b"a") + response(b"b"), response(b"c")))
        self.ask(conn, "/a", "/b", "/c")
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        self.assertEqual(conn.getresponse().read(), b"a")
        self.assertIs(conn.poll_response(), True)
        self.assertEqual(conn.getresponse().read(), b"b")
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        self.assertEqual(conn.getresponse().read(), b"c")
        self.assertIs(conn.poll_response(), False)

    def test_an_error_of_a_signal_handler(self):
        # It looks like one of the socket, and bytes are lost.
        for limit in 1, 8:
            with self.subTest(limit=limit):
                armed = []

                class Interrupted:
                    def recv_into(self, *args):
                        n = super().recv_into(*args)
                        if armed:
                            raise armed.pop()
                        return n

                peer, conn = self.start(
                    receive_then_send(1, response(response(b"forged"))),
                    answer_fresh, max_pipelined=limit, mixin=Interrupted)
                conn.request("GET", "/a")
                armed.append(TimeoutError())
                self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
                with self.assertRaises(TimeoutError):
                    conn.getresponse()
                with self.assertRaises(http.client.RemoteDisconnected):
                    conn.getresponse()
                self.check_fresh(peer, conn)

    def test_nothing_yet(self):
        go_on = threading.Event()

        def script(link):
            receive_then_send(2, response(b"a"))(link)
            go_on.wait(support.SHORT_TIMEOUT)
            link.send(response(b"b"))

        peer, conn = self.start(script)
        self.addCleanup(go_on.set)
        self.ask(conn, "/a", "/b")
        self.assertEqual(conn.getresponse().read(), b"a")
        self.assertIs(conn.poll_response(), False)
        conn.putrequest("GET", "/c")
        self.assertIs(conn.poll_response(), False)
        go_on.set()
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        self.assertEqual(conn.getresponse().read(), b"b")

    def check_one_thread(self, count, targets, *scripts):
        # It goes on with each connection when that is ready, as the example
        # in the documentation does.
        peer = self.enterContext(Peer(*scripts, tls=self.tls))
        found = []
        with selectors.DefaultSelector() as selector:
            for number in range(count):
                conn = peer.connect()
                conn.max_pipelined = len(targets)
                conn.request("GET", targets[0])
                selector.register(conn, selectors.EVENT_READ,
                                  (number, targets[:1], targets[1:]))
            while selector.get_map():
                ready = selector.select(support.SHORT_TIMEOUT)
                self.assertTrue(ready)
                for key, _ in ready:
                    conn = key.fileobj
                    number, sent, left = key.data
                    while sent and conn.poll_response():
                        response = conn.getresponse()
                        self.assertEqual(response.read(),
                                         sent.pop(0).encode())
                        found.append(number)
                        if sent:
                            continue
                        selector.unregister(conn)
                        number_now = 1 if response.will_close else len(left)
                        for target in left[:number_now]:
                            conn.request("GET", target)
                            sent.append(left.pop(0))
                        if sent:
                            selector.register(conn, selectors.EVENT_READ,
                                              key.data)
                        else:
                            conn.close()
        self.assertEqual(sorted(found),
                         sorted([*range(count)] * len(targets)))
        self.assertEqual(peer.accepted, len(scripts))

    def test_one_thread(self):
        count = 50 if self.tls is None else 10
        targets = [f"/{number}" for number in range(6)]
        self.check_one_thread(count, targets,
                              *[answer_with_target(len(targets))] * count)

    # Guard: the example needs no pipelining.
    def test_one_thread_without_persistence(self):
        def script(link):
            received = link.request()
            link.send(response(received.target, CLOSE))

        self.check_one_thread(3, ["/a", "/b", "/c"], *[script] * 9)


@http_peer.over_tls
class PeekTests(PipeliningTestCase):

    def test_clipped(self):
        # What follows is of another response.
        for pipelined in True, False:
            with self.subTest(pipelined=pipelined):
                peer, conn = self.start(receive_then_send(
                    1 + pipelined, response(b"abc") + response(b"def")))
                self.ask(conn, *["/a", "/b"][:1 + pipelined])
                received = conn.getresponse()
                self.assertEqual(received.peek(), b"abc")
                self.assertEqual(received.peek(100), b"abc")
                self.assertEqual(received.read(2), b"ab")
                self.assertEqual(received.peek(), b"c")
                self.assertEqual(received.read(), b"c")
                self.assertEqual(received.peek(), b"")

    def test_empty_body(self):
        # There is nothing to wait for.
        for status in b"200 OK", b"304 Not Modified":
            with self.subTest(status=status):
                peer, conn = self.start(
                    receive_then_send(1, response(status=status)))
                conn.request("GET", "/a")
                received = conn.getresponse()
                conn.sock.settimeout(0.01)
                self.assertEqual(received.peek(), b"")

    # Guard: a body of unknown length is peeked at as ever.
    def test_unknown_length(self):
        def script(link):
            receive_then_send(1, b"HTTP/1.1 200 OK\r\n\r\nabc")(link)
            leave(link)

        peer, conn = self.start(script)
        conn.request("GET", "/a")
        received = conn.getresponse()
        self.assertEqual(received.peek()[:1], b"a")
        self.assertEqual(received.read(), b"abc")
        self.assertEqual(received.peek(), b"")


if __name__ == "__main__":
    unittest.main()
