"""logging.handlers.HTTPHandler with a persistent connection (gh-53949)."""

import base64
import contextlib
import fractions
import gc
import http.client
import io
import logging
import logging.handlers
import math
import os
import select
import socket
import sys
import threading
import time
import unittest
import urllib.parse
import warnings
from test import http_peer, support
from test.http_peer import Peer, response, wait_readable
from test.support import threading_helper
from unittest import mock

support.requires_working_socket(module=True)

TIMEOUT = response(b"", status=b"408 Request Timeout")


class Handler(logging.handlers.HTTPHandler):
    """One that shows what it does."""

    def __init__(self, *args, **kwargs):
        self.connections = []
        self.errors = []
        super().__init__(*args, **kwargs)

    def mapLogRecord(self, record):
        return {"msg": record.getMessage()}

    def getConnection(self, host, secure):
        connection = super().getConnection(host, secure)
        self.connections.append(connection)
        return connection

    def handleError(self, record):
        self.errors.append((record.getMessage(), sys.exception()))


class Clock:
    """In the place of module time: it goes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


def serve(link):
    """Script: answer as long as the client sends."""
    while link.answer(b"noted"):
        pass


class PersistentTestCase(unittest.TestCase):

    tls = None

    def handler(self, peer, cls=Handler, method="POST", **kwargs):
        if self.tls is not None:
            kwargs.update(secure=True, context=peer.client_context())
        kwargs.setdefault("persistent", True)
        kwargs.setdefault("timeout", support.SHORT_TIMEOUT)
        handler = cls(f"{http_peer.HOST}:{peer.port}", "/log", method,
                      **kwargs)
        self.addCleanup(handler.close)
        return handler

    def peer(self, *scripts, **kwargs):
        return Peer(*scripts, tls=self.tls, **kwargs)

    def clock(self):
        """Return a Clock that tells when a record has taken too long."""
        clock = Clock()
        self.enterContext(mock.patch("http._kept.time", clock))
        return clock

    def log(self, handler, *messages):
        for message in messages:
            handler.handle(logging.makeLogRecord({"msg": message}))

    def received(self, peer):
        """Return [(connection number, message)]."""
        found = []
        for number, request in peer.requests:
            form = request.body or request.target.partition(b"?")[2]
            fields = urllib.parse.parse_qs(form.decode())
            found.append((number, *fields["msg"]))
        return found

    def fork(self, child):
        """Run child() in another process; check that it returned."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            status = 1
            try:
                child()
                status = 0
            finally:
                os._exit(status)
        support.wait_process(pid, exitcode=0)

    def no_errors(self, handler):
        for message, error in handler.errors:
            raise AssertionError(message) from error


@http_peer.over_tls
class KeptTests(PersistentTestCase):

    def test_many_records(self):
        messages = [f"record {i}" for i in range(200)]
        for method in "GET", "POST":
            with self.subTest(method), self.peer(serve) as peer:
                handler = self.handler(peer, method=method)
                self.log(handler, *messages)
                handler.close()
                self.no_errors(handler)
                self.assertEqual(self.received(peer),
                                 [(0, message) for message in messages])
                self.assertEqual(len(handler.connections), 1)

    def test_what_is_sent(self):
        with self.peer(serve) as peer:
            handler = self.handler(peer, credentials=("me", "secret"))
            self.log(handler, "sp\xe4m", "")
            handler.mapLogRecord = lambda record: {"msg": 1, "other": "&"}
            self.log(handler, "mapped")
            self.no_errors(handler)
            for _, request in peer.requests:
                self.assertEqual(request.headers["Authorization"], "Basic "
                                 + base64.b64encode(b"me:secret").decode())
                self.assertEqual(request.headers.get_all("Host"),
                                 [f"{http_peer.HOST}:{peer.port}"])
            self.assertEqual([request.body for _, request in peer.requests],
                             [b"msg=sp%C3%A4m", b"msg=", b"msg=1&other=%26"])

    def test_url_with_a_query(self):
        with self.peer(serve) as peer:
            handler = self.handler(peer, method="GET")
            handler.url = "/log?a=b"
            self.log(handler, "one")
            self.assertEqual(peer.requests[0][1].target, b"/log?a=b&msg=one")

    def test_error_responses(self):
        # There is nothing to do about them, as ever.
        def script(link):
            for status in (b"500 Oops", b"404 Not Found", b"302 Found",
                           b"401 Unauthorized", b"200 OK"):
                link.answer(b"no", status=status)

        with self.peer(script) as peer:
            handler = self.handler(peer)
            self.log(handler, *"12345")
            self.no_errors(handler)
            self.assertEqual(len(peer.requests), 5)

    def test_interim_responses(self):
        def script(link):
            for _ in range(2):
                link.request()
                link.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                          b"HTTP/1.1 100 Continue\r\n\r\n")
                link.send(response(b"noted"))

        with self.peer(script) as peer:
            handler = self.handler(peer)
            self.log(handler, "one", "two")
            self.no_errors(handler)
            self.assertEqual(self.received(peer), [(0, "one"), (0, "two")])

    def test_threads(self):
        with self.peer(serve) as peer:
            handler = self.handler(peer)

            def log(number):
                for i in range(20):
                    # emit() by itself takes the lock, too.
                    record = logging.makeLogRecord({"msg": f"{number} {i}"})
                    handler.emit(record)

            threads = [threading.Thread(target=log, args=(number,))
                       for number in range(4)]
            with threading_helper.start_threads(threads):
                pass
            self.no_errors(handler)
            self.assertEqual(sorted(self.received(peer)), sorted(
                (0, f"{number} {i}") for number in range(4)
                for i in range(20)))

    def test_body_that_comes_late(self):
        closed = []

        def script(link):
            for _ in range(2):
                link.request()
                link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
                # Whoever gives up soon does so meanwhile.
                closed.extend(select.select([link.sock], [], [], 0.1)[0])
                link.send(b"noted")

        with self.peer(script) as peer:
            handler = self.handler(peer)
            self.log(handler, "one", "two")
            self.no_errors(handler)
            self.assertEqual(closed, [])
            self.assertEqual(self.received(peer), [(0, "one"), (0, "two")])

    def test_long_head(self):
        def script(link):
            for _ in range(2):
                link.answer(b"noted", *[b"A: " + b"x" * 60000] * 20)

        with self.peer(script) as peer:
            handler = self.handler(peer)
            self.log(handler, "one", "two")
            self.no_errors(handler)
            self.assertEqual(self.received(peer), [(0, "one"), (0, "two")])

    def test_close(self):
        def script(link):
            link.answer()
            self.assertEqual(link.wait_closed(), b"")
            link.close()

        with self.peer(script, script) as peer:
            handler = self.handler(peer)
            self.log(handler, "one")
            handler.close()
            peer.join()
            handler.close()
            # A record that comes late leaves nothing open.
            self.log(handler, "two")
            peer.join()
            self.no_errors(handler)
            self.assertEqual(self.received(peer), [(0, "one"), (1, "two")])

    @support.requires_fork()
    def test_fork(self):
        class OwnLock(Handler):
            def createLock(self):
                self.lock = threading.RLock()

        class NoLock(Handler):
            def createLock(self):
                self.lock = None

            handle = Handler.emit

        def child():
            self.log(handler, "child", "child")
            self.no_errors(handler)
            handler.close()

        for cls in Handler, OwnLock, NoLock:
            with self.subTest(cls.__name__), self.peer(serve, serve) as peer:
                handler = self.handler(peer, cls)
                self.log(handler, "parent")
                self.fork(child)
                self.log(handler, "parent")
                self.no_errors(handler)
                self.assertEqual(self.received(peer), [
                    (0, "parent"), (1, "child"), (1, "child"),
                    (0, "parent")])

    @support.requires_fork()
    def test_fork_while_a_thread_waits(self):
        waiting = threading.Event()
        go_on = threading.Event()

        def script(link):
            link.answer()
            link.request()
            waiting.set()
            go_on.wait(support.SHORT_TIMEOUT)
            link.send(response(b"noted"))
            link.answer()

        def child():
            self.log(handler, "child")
            self.no_errors(handler)
            handler.close()
            gc.collect()

        with self.peer(script, serve) as peer:
            handler = self.handler(peer)
            self.log(handler, "parent")
            thread = threading.Thread(target=self.log,
                                      args=(handler, "thread"))
            with threading_helper.start_threads([thread]):
                waiting.wait(support.SHORT_TIMEOUT)
                self.fork(child)
                go_on.set()
            self.log(handler, "parent")
            self.no_errors(handler)
            self.assertEqual(self.received(peer), [
                (0, "parent"), (0, "thread"), (1, "child"), (0, "parent")])


# What a server does with an idle connection that ends its use.
ENDS = {
    "FIN": lambda link: link.close(),
    "RST": lambda link: link.reset(),
    "408 and FIN": lambda link: (link.send(TIMEOUT), link.close()),
    "408": lambda link: link.send(TIMEOUT),
    "a response": lambda link: link.send(response(b"stray")),
}


def end_tls(link):
    # The client may close the connection before this returns.
    with contextlib.suppress(OSError):
        link.end_tls()


@http_peer.over_tls
class ReplacedTests(PersistentTestCase):

    def ends(self):
        if self.tls is None:
            return ENDS.items()
        return (ENDS | {"close_notify": end_tls}).items()

    def check(self, cls):
        for name, act in self.ends():
            go_on = threading.Event()

            def script(link):
                link.answer()
                go_on.wait(support.SHORT_TIMEOUT)
                act(link)
                if not link.reader.closed:
                    link.request()

            with self.subTest(name), self.peer(script, serve) as peer:
                handler = self.handler(peer, cls)
                self.log(handler, "one")
                go_on.set()
                wait_readable(handler.connections[0].sock)
                self.log(handler, "two", "three")
                self.no_errors(handler)
                self.assertEqual(self.received(peer), [
                    (0, "one"), (1, "two"), (1, "three")])
                # getConnection() is asked for each of them.
                self.assertEqual(len(handler.connections), 2)
                self.assertIsNone(handler.connections[0].sock)

    def test_idle_connection(self):
        self.check(Handler)

    def test_connection_made_by_hand(self):
        test = self

        class Connecting(Handler):
            def getConnection(self, host, secure):
                connection = super().getConnection(host, secure)
                connection.connect()
                if test.tls is None:
                    # As from a socket that somebody else has made.
                    sock, connection.sock = connection.sock, None
                    connection.sock = socket.socket(fileno=sock.detach())
                return connection

        self.check(Connecting)

    def test_connection_closed_by_the_response(self):
        def script(link):
            link.answer(b"noted", b"Connection: close")
            link.close()

        with self.peer(script, script) as peer:
            handler = self.handler(peer)
            self.log(handler, "one", "two")
            self.no_errors(handler)
            self.assertEqual(self.received(peer), [(0, "one"), (1, "two")])
            self.assertEqual(len(handler.connections), 2)

    def test_body_that_is_too_long(self):
        def script(link):
            link.request()
            with contextlib.suppress(OSError):
                link.send(b"HTTP/1.1 200 OK\r\n"
                          b"Content-Length: 1000000000\r\n\r\n")
                while True:
                    link.send(b"x" * (1 << 14))
            link.close()

        with self.peer(script, serve) as peer:
            handler = self.handler(peer)
            self.log(handler, "one", "two")
            self.no_errors(handler)
            self.assertEqual(self.received(peer), [(0, "one"), (1, "two")])

    def test_lost(self):
        # Only the record in hand, and it is not sent again.
        for name in "FIN", "RST":
            def script(link):
                link.answer()
                link.request()
                ENDS[name](link)

            with self.subTest(name), self.peer(script, serve) as peer:
                handler = self.handler(peer)
                self.log(handler, "one", "two", "three", "four")
                self.assertEqual([message for message, _ in handler.errors],
                                 ["two"])
                self.assertEqual(self.received(peer), [
                    (0, "one"), (0, "two"), (1, "three"), (1, "four")])

    def test_server_restarted(self):
        def script(link):
            link.answer()
            link.close()

        with self.peer(script) as peer:
            handler = self.handler(peer)
            self.log(handler, "one")
            wait_readable(handler.connections[0].sock)
        self.log(handler, "two")
        self.assertEqual([message for message, _ in handler.errors], ["two"])
        with self.peer(serve) as peer:
            handler.host = f"{http_peer.HOST}:{peer.port}"
            if self.tls is not None:
                handler.context = peer.client_context()
            self.log(handler, "three")
            self.assertEqual(self.received(peer), [(0, "three")])
            handler.close()
        self.assertEqual(len(handler.errors), 1)

    def test_garbage(self):
        def script(link):
            link.request()
            link.send(b"oops\r\n")
            link.wait_closed()

        with self.peer(script, serve) as peer:
            handler = self.handler(peer)
            self.log(handler, "one", "two")
            [(message, error)] = handler.errors
            self.assertEqual(message, "one")
            self.assertIsInstance(error, http.client.BadStatusLine)
            self.assertEqual(self.received(peer), [(0, "one"), (1, "two")])

    def test_interrupted(self):
        class Interrupted(Handler):
            def getConnection(self, host, secure):
                connection = super().getConnection(host, secure)
                if not self.connections[1:]:
                    connection.getresponse = mock.Mock(
                        side_effect=KeyboardInterrupt)
                return connection

        def script(link):
            link.request()
            arrived.set()
            link.wait_closed()

        arrived = threading.Event()

        with self.peer(script, serve) as peer:
            handler = self.handler(peer, Interrupted)
            with self.assertRaises(KeyboardInterrupt):
                self.log(handler, "one")
            self.log(handler, "two")
            self.no_errors(handler)
            self.assertIsNone(handler.connections[0].sock)
            arrived.wait(support.SHORT_TIMEOUT)
            self.assertCountEqual(self.received(peer),
                                  [(0, "one"), (1, "two")])


class ConnectionTests(PersistentTestCase):

    def check_record_within_a_record(self, place):
        pending = []
        connections = []

        def connect(host, secure):
            connections.append(cls(host))
            return connections[-1]

        def method(connection, *args, **kwargs):
            if pending:
                self.log(handler, pending.pop())
            return getattr(http.client.HTTPConnection, place)(
                connection, *args, **kwargs)

        cls = type("Logging", (http.client.HTTPConnection,), {place: method})
        with Peer(serve, serve) as peer:
            handler = self.handler(peer)
            handler.getConnection = connect
            self.log(handler, "first")
            pending.append("inner")
            self.log(handler, "outer", "last")
            self.no_errors(handler)
            self.assertCountEqual(
                [message for _, message in self.received(peer)],
                ["first", "outer", "inner", "last"])
            self.assertEqual(peer.accepted, 2)
            # One of them is enough afterwards.
            self.assertEqual([connection.sock is None
                              for connection in connections].count(True), 1)

    def test_record_within_a_record(self):
        # It goes over a connection of its own, and neither gets lost.
        for place in ("putrequest", "putheader", "endheaders", "send",
                      "getresponse"):
            with self.subTest(place):
                self.check_record_within_a_record(place)

    def test_connection_as_its_maker_left_it(self):
        def make_response(*args, **kwargs):
            made.append(http.client.HTTPResponse(*args, **kwargs))
            return made[-1]

        made = []
        with self.peer(serve) as peer:
            handler = self.handler(peer)
            connection = handler.getConnection(handler.host, handler.secure)
            connection.response_class = make_response
            handler.getConnection = lambda host, secure: connection
            self.log(handler, "one", "two")
            self.no_errors(handler)
            self.assertEqual(len(made), 2)
            self.assertIs(connection.response_class, make_response)
            self.assertIs(connection._create_connection,
                          socket.create_connection)
            self.assertNotIn("send", vars(connection))

    def test_not_an_HTTPConnection(self):
        # As ever, it is used once.
        class Other:
            __slots__ = ()

            def putrequest(self, method, url):
                pass

            def putheader(self, name, value):
                pass

            def endheaders(self):
                pass

            def send(self, body):
                sent.append(body)

            def getresponse(self):
                sent.append(None)

        sent = []
        handler = Handler("localhost", "/", "POST", persistent=True)
        handler.getConnection = mock.Mock(side_effect=[Other(), Other()])
        self.log(handler, "one", "two")
        handler.close()
        self.no_errors(handler)
        self.assertEqual(sent, [b"msg=one", None, b"msg=two", None])

    def test_response_that_is_none(self):
        # Who overrides this need not care for responses.
        class Connection(http.client.HTTPConnection):
            def getresponse(self):
                pass

        def script(link):
            link.request()
            received.release()

        received = threading.Semaphore(0)
        with Peer(script, script) as peer:
            handler = self.handler(peer)
            handler.getConnection = lambda host, secure: Connection(host)
            self.log(handler, "one", "two")
            self.no_errors(handler)
            for _ in range(2):
                received.acquire(timeout=support.SHORT_TIMEOUT)
            self.assertCountEqual(self.received(peer),
                                  [(0, "one"), (1, "two")])

    def test_response_class_that_cannot_be_assigned(self):
        class Connection(http.client.HTTPConnection):
            @property
            def response_class(self):
                return http.client.HTTPResponse

        with Peer(serve) as peer:
            handler = self.handler(peer)
            handler.getConnection = lambda host, secure: Connection(host)
            self.log(handler, "one", "two")
            self.no_errors(handler)
            self.assertEqual(self.received(peer), [(0, "one"), (0, "two")])

    def test_interrupted_before_it_is_used_again(self):
        class Connection(http.client.HTTPConnection):
            def poll_response(self, timeout=0):
                raise KeyboardInterrupt

        with Peer(serve) as peer:
            connection = peer.connect(Connection)
            handler = self.handler(peer)
            handler.getConnection = lambda host, secure: connection
            self.log(handler, "one")
            self.assertIsNotNone(connection.sock)
            with self.assertRaises(KeyboardInterrupt):
                self.log(handler, "two")
            self.assertIsNone(connection.sock)

    def test_close_that_fails(self):
        class Connection(http.client.HTTPConnection):
            def close(self):
                super().close()
                raise ValueError("raised by a test")

        def try_lock():
            acquired.append(handler.lock.acquire(blocking=False))
            if acquired == [True]:
                handler.lock.release()

        acquired = []
        with Peer(serve) as peer:
            handler = self.handler(peer)
            handler.getConnection = lambda host, secure: Connection(host)
            handler.close()
            self.log(handler, "late")
            [(_, error)] = handler.errors
            self.assertIsInstance(error, ValueError)
            thread = threading.Thread(target=try_lock)
            with threading_helper.start_threads([thread]):
                pass
            self.assertEqual(acquired, [True])

    def test_record_while_it_is_closed(self):
        class Closing(Handler):
            closing = False

            def release(self):
                super().release()
                if self.closing:
                    self.closing = False
                    thread = threading.Thread(target=test.log,
                                              args=(self, "late"))
                    with threading_helper.start_threads([thread]):
                        pass

        test = self
        with Peer(serve, serve) as peer:
            handler = self.handler(peer, Closing)
            self.log(handler, "one")
            handler.closing = True
            handler.close()
            self.no_errors(handler)
            self.assertEqual([message for _, message in self.received(peer)],
                             ["one", "late"])
            for connection in handler.connections:
                self.addCleanup(connection.close)
                self.assertIsNone(connection.sock)

    def test_socket_that_cannot_be_asked(self):
        class FakeSocket:
            def sendall(self, data):
                sent.append(data.rpartition(b"\r\n")[2])

            def makefile(self, mode):
                return io.BytesIO(response())

            def close(self):
                pass

        class Faking(Handler):
            def getConnection(self, host, secure):
                connection = super().getConnection(host, secure)
                connection.sock = FakeSocket()
                return connection

        sent = []
        handler = Faking("localhost", "/", "POST", persistent=True)
        self.log(handler, "one", "two")
        handler.close()
        self.no_errors(handler)
        self.assertEqual(sent, [b"msg=one", b"msg=two"])

    def test_response_of_another_class(self):
        class Response:
            def __init__(self, sock, **kwargs):
                self.fp = sock.makefile("rb")

            def begin(self):
                http.client.parse_headers(self.fp)
                self.will_close = False

            def isclosed(self):
                return self.fp.closed

            def close(self):
                self.fp.close()

        class Other(Handler):
            def getConnection(self, host, secure):
                connection = super().getConnection(host, secure)
                connection.response_class = Response
                return connection

        def script(link):
            link.answer(b"noted")
            link.wait_closed()

        # Nobody knows where it ends.
        with self.peer(script, script) as peer:
            handler = self.handler(peer, Other)
            self.log(handler, "one", "two")
            self.no_errors(handler)
            self.assertEqual(self.received(peer), [(0, "one"), (1, "two")])

    @support.requires_fork()
    def test_fork_and_close(self):
        # Nothing is sent or shut down that belongs to the parent.
        class Polite(http.client.HTTPConnection):
            def close(self):
                if self.sock is not None:
                    self.sock.shutdown(socket.SHUT_RDWR)
                super().close()

        with Peer(serve) as peer:
            handler = self.handler(peer)
            handler.getConnection = lambda host, secure: Polite(host)
            self.log(handler, "parent")
            self.fork(handler.close)
            self.log(handler, "parent")
            self.no_errors(handler)
            self.assertEqual(self.received(peer),
                             [(0, "parent"), (0, "parent")])


@http_peer.over_tls
class BoundedTests(PersistentTestCase):

    def check(self, act):
        """Check that a record is given up, and the next one is not."""
        def script(link):
            link.request()
            act(link)
            link.wait_closed()

        with self.peer(script, serve) as peer:
            handler = self.handler(peer, timeout=0.3)
            self.log(handler, "one")
            errors, handler.errors = handler.errors, []
            for message, error in errors:
                self.assertIsInstance(error, TimeoutError)
            handler._HTTPHandler__kept._timeout = support.SHORT_TIMEOUT
            self.log(handler, "two")
            self.no_errors(handler)
            self.assertIn((1, "two"), self.received(peer))
            return errors

    def test_no_response(self):
        self.assertTrue(self.check(lambda link: None))

    def test_half_a_head(self):
        head = b"HTTP/1.1 200 OK\r\nA: b\r\n"
        self.assertTrue(self.check(lambda link: link.send(head)))

    def test_half_a_body(self):
        # The record has arrived; the connection is given up.
        self.check(lambda link: link.send(response(b"noted")[:-1]))

    def trickle(self, head, part, rest, *, of_body=False, response=None):
        """Send *part* until the time is over, then *rest*.

        *response* is another response_class.  Return the errors of the
        handler.
        """
        clock = self.clock()
        waiting = threading.Event()

        class Connection(http.client.HTTPConnection if self.tls is None
                         else http.client.HTTPSConnection):
            response_class = response or http.client.HTTPResponse

            def getresponse(self):
                if not of_body:
                    waiting.set()
                response = super().getresponse()
                waiting.set()
                return response

        class Slow(Handler):
            def getConnection(self, host, secure):
                kwargs = {"context": self.context} if secure else {}
                return Connection(host, **kwargs)

        def script(link):
            link.request()
            with contextlib.suppress(OSError):
                link.send(head)
                waiting.wait(support.SHORT_TIMEOUT)
                for _ in range(20):
                    clock.now += support.SHORT_TIMEOUT / 10
                    link.send(part)
                link.send(rest)
            link.wait_closed()

        with self.peer(script, serve) as peer:
            handler = self.handler(peer, Slow)
            self.log(handler, "one", "two")
            self.assertEqual(self.received(peer), [(0, "one"), (1, "two")])
            return handler.errors

    def test_head_that_trickles(self):
        good = response(b"")
        for head, part, rest in (
                (b"HTTP/1.1 200 OK\r\nA: ", b"x",
                 b"\r\nContent-Length: 0\r\n\r\n"),
                (b"HTTP/1.1 200 ", b"x", b"\r\nContent-Length: 0\r\n\r\n"),
                (b"X", b"x", b"\r\n"),
                (b"", b"HTTP/1.1 102 Processing\r\n\r\n", good),
                # These are read as interim responses, too.
                (b"", b"HTTP/1.1 0100 Continue\r\n\r\n", good),
                (b"", b"HTTP/1.1\x0b100 Continue\n\n", good)):
            with self.subTest(repr(head + part)):
                [(message, error)] = self.trickle(head, part, rest)
                self.assertEqual(message, "one")
                self.assertIsInstance(error, TimeoutError)

    def test_another_reader(self):
        # As for a socket whose class has a makefile() of its own.
        class Response(http.client.HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)
                self.fp.close()
                self.fp = sock.makefile("rb")
                raws.append(self.fp.raw)

        raws = []
        head = b"HTTP/1.1 200 OK\r\n"
        [(message, error)] = self.trickle(
            head + b"A: ", b"x", b"\r\nContent-Length: 0\r\n\r\n",
            response=Response)
        self.assertEqual(message, "one")
        self.assertIsInstance(error, TimeoutError)
        # The record has arrived.
        self.assertEqual(
            self.trickle(head + b"Content-Length: 21\r\n\r\n", b"x", b"x",
                         of_body=True, response=Response), [])
        for raw in raws:
            self.assertNotIn("readinto", vars(raw))

    def test_body_that_trickles(self):
        # The record has arrived.
        for head, part, rest in (
                (b"Content-Length: 21\r\n\r\n", b"x", b"x"),
                (b"Transfer-Encoding: chunked\r\n\r\n1;", b"x",
                 b"\r\nx\r\n0\r\n\r\n"),
                (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n",
                 b"0\r\n\r\n")):
            with self.subTest(repr(head)):
                self.assertEqual(
                    self.trickle(b"HTTP/1.1 200 OK\r\n" + head, part, rest,
                                 of_body=True), [])

    def test_endless_body_without_length(self):
        # It is not waited for.
        def script(link):
            link.request()
            link.send(b"HTTP/1.1 200 OK\r\n\r\nx")
            link.wait_closed()

        with self.peer(script, serve) as peer:
            handler = self.handler(peer)
            with mock.patch("http.client.HTTPResponse.read") as read:
                self.log(handler, "one", "two")
            self.assertFalse(read.called)
            self.no_errors(handler)
            self.assertEqual(self.received(peer), [(0, "one"), (1, "two")])

    def test_endless_head(self):
        def script(link):
            link.request()
            with contextlib.suppress(OSError):
                link.send(b"HTTP/1.1 200 OK\r\n")
                while True:
                    link.send(b"A: b\r\n" * 1000)

        with self.peer(script, serve) as peer:
            handler = self.handler(peer)
            self.log(handler, "one", "two")
            [(message, error)] = handler.errors
            self.assertEqual(message, "one")
            self.assertIsInstance(error, http.client.HTTPException)

    def test_server_that_does_not_read(self):
        # Nobody accepts this connection.
        with contextlib.closing(socket.create_server(
                (http_peer.HOST, 0))) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            handler = Handler(f"{http_peer.HOST}:{listener.getsockname()[1]}",
                              "/log", "POST", persistent=True, timeout=0.2,
                              secure=self.tls is not None)
            self.addCleanup(handler.close)
            self.log(handler, "x" * (16 << 20 if self.tls is None else 1))
            [(_, error)] = handler.errors
            self.assertIsInstance(error, TimeoutError)

    def test_response_after_slow_sending(self):
        clock = self.clock()
        timeouts = []

        class Slow(Handler):
            def getConnection(self, host, secure):
                connection = super().getConnection(host, secure)

                def send(data):
                    type(connection).send(connection, data)
                    clock.now += support.SHORT_TIMEOUT / 4

                def getresponse():
                    timeouts.append(connection.sock.gettimeout())
                    return type(connection).getresponse(connection)

                connection.send = send
                connection.getresponse = getresponse
                return connection

        with self.peer(serve) as peer:
            handler = self.handler(peer, Slow)
            self.log(handler, "one", "two")
            self.no_errors(handler)
            for timeout in timeouts:
                self.assertAlmostEqual(timeout, support.SHORT_TIMEOUT * 3 / 4)

    def test_sending_that_trickles(self):
        # Over TLS, each record has the timeout of the socket.
        clock = self.clock()
        sent = []

        class Slow(Handler):
            def getConnection(self, host, secure):
                connection = super().getConnection(host, secure)
                connection.send = self.send
                self.connection = connection
                return connection

            def send(self, data):
                clock.now += support.SHORT_TIMEOUT / 4
                sent.append(len(data))
                type(self.connection).send(self.connection, data)

        for method in "GET", "POST":
            with self.subTest(method), self.peer(
                    lambda link: link.wait_closed()) as peer:
                sent.clear()
                handler = self.handler(peer, Slow, method=method)
                self.log(handler, "x" * 100_000)
                [(_, error)] = handler.errors
                self.assertIsInstance(error, TimeoutError)
                self.assertLess(sum(sent), 70_000)
                self.assertLessEqual(len(sent), 4)

    def test_no_limit(self):
        for timeout in None, math.inf, 1e12:
            with self.subTest(timeout), self.peer(serve) as peer:
                handler = self.handler(peer, timeout=timeout)
                self.log(handler, "one", "two")
                self.no_errors(handler)
                self.assertEqual(self.received(peer),
                                 [(0, "one"), (0, "two")])
                connection = handler.connections[0]
                self.assertIsNone(connection.timeout)
                self.assertIsNone(connection.sock.gettimeout())


class OpeningTests(PersistentTestCase):
    """What it takes to open a connection counts, too."""

    def test_addresses(self):
        # Each is tried, all of them within the time.
        clock = self.clock()
        given = []

        def create(address, timeout, source_address):
            given.append((address, timeout))
            if address[0] == "192.0.2.3":
                clock.now += 0.5
                raise ConnectionRefusedError
            clock.now += timeout
            raise TimeoutError(address)

        found = [(None, None, None, "", (f"192.0.2.{n}", 80))
                 for n in range(1, 5)]
        found.append((None, None, None, "", ("fe80::1", 80, 0, 7)))
        handler = Handler("localhost:80", "/", "POST", persistent=True)
        with (mock.patch("socket.getaddrinfo", return_value=found),
              mock.patch("http._kept._is_of_socket", return_value=True),
              mock.patch("socket.create_connection", create)):
            self.log(handler, "one")
        [(_, error)] = handler.errors
        self.assertIsInstance(error, TimeoutError)
        self.assertEqual(given, [
            (("192.0.2.1", 80), 1), (("192.0.2.2", 80), 1),
            (("192.0.2.3", 80), 1), (("192.0.2.4", 80), 1.25),
            (("fe80::1%7", 80), 1.25)])
        self.assertEqual(clock.now, 1005)

    def test_another_address(self):
        def create(address, timeout, source_address):
            if address[0] == "nobody":
                raise OSError
            sock = socket.socket()
            sock.settimeout(timeout)
            sock.connect((http_peer.HOST, peer.port))
            return sock

        found = [(None, None, None, "", (host, 80))
                 for host in ("nobody", "somebody")]
        with (Peer(serve) as peer,
              mock.patch("socket.create_connection", create),
              mock.patch("http._kept._is_of_socket", return_value=True),
              mock.patch("socket.getaddrinfo", return_value=found)):
            handler = self.handler(peer)
            self.log(handler, "one", "two")
            self.no_errors(handler)
            self.assertEqual(self.received(peer), [(0, "one"), (0, "two")])

    def test_create_connection_replaced(self):
        # As for a proxy that looks the names up.
        def create(address, timeout, source_address):
            asked.append(address)
            return create_connection((http_peer.HOST, peer.port), timeout)

        asked = []
        create_connection = socket.create_connection
        with (Peer(serve) as peer,
              mock.patch("socket.create_connection", create)):
            handler = self.handler(peer)
            handler.host = "hidden.invalid:80"
            self.log(handler, "one", "two")
            self.no_errors(handler)
            self.assertEqual(self.received(peer), [(0, "one"), (0, "two")])
        self.assertEqual(asked, [("hidden.invalid", 80)])

    def test_no_address(self):
        handler = Handler("localhost:80", "/", "POST", persistent=True)
        with mock.patch("socket.getaddrinfo", return_value=[]):
            self.log(handler, "one")
        [(_, error)] = handler.errors
        self.assertIsInstance(error, OSError)

    def tunnel(self, peer, cls, **kwargs):
        class Tunnelled(Handler):
            def getConnection(self, host, secure):
                connection = cls(http_peer.HOST, peer.port, **kwargs)
                connection.set_tunnel("localhost", 80)
                return connection

        return self.handler(peer, Tunnelled)

    def test_tunnel_that_trickles(self):
        clock = self.clock()

        def script(link):
            link.request()
            with contextlib.suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\n\r\n":
                    clock.now += support.SHORT_TIMEOUT / 10
                    link.send(bytes([byte]))
            link.answer()
            link.wait_closed()

        with Peer(script) as peer:
            handler = self.tunnel(peer, http.client.HTTPConnection)
            self.log(handler, "one")
            [(_, error)] = handler.errors
            self.assertIsInstance(error, TimeoutError)

    def test_tunnel(self):
        def script(link):
            link.request()
            link.send(b"HTTP/1.1 200 OK\r\n\r\n")
            serve(link)

        with Peer(script) as peer:
            handler = self.tunnel(peer, http.client.HTTPConnection)
            self.log(handler, "one", "two")
            self.no_errors(handler)
            self.assertEqual([request.method for _, request in peer.requests],
                             [b"CONNECT", b"POST", b"POST"])

    @unittest.skipIf(http_peer.ssl is None, "needs HTTPSConnection")
    def test_handshake(self):
        # It keeps to the timeout of the socket, so that is what is left.
        def create(*args):
            clock.now += support.SHORT_TIMEOUT / 4
            return create_connection(*args)

        def script(link):
            if link.request():
                clock.now += support.SHORT_TIMEOUT / 2
                link.send(b"HTTP/1.1 200 OK\r\n\r\n")
                link.wait_closed()

        class Context:
            def wrap_socket(self, sock, server_hostname):
                timeouts.append(sock.gettimeout())
                raise TimeoutError

        clock = self.clock()
        create_connection = socket.create_connection
        timeouts = []
        with (Peer(script, script) as peer,
              mock.patch("socket.create_connection", create)):
            for handler in (
                    self.handler(peer, secure=True, context=Context()),
                    self.tunnel(peer, http.client.HTTPSConnection,
                                context=Context())):
                self.log(handler, "one")
                self.assertEqual(len(handler.errors), 1)
        self.assertEqual(len(timeouts), 2)
        self.assertAlmostEqual(timeouts[0], support.SHORT_TIMEOUT * 3 / 4)
        self.assertAlmostEqual(timeouts[1], support.SHORT_TIMEOUT / 4)

    @unittest.skipIf(http_peer.ssl is None, "needs HTTPSConnection")
    def test_handshake_that_trickles(self):
        def script(link):
            link.sock.settimeout(0.01)
            with contextlib.suppress(OSError):
                link.send(b"\x16\x03\x03\x40\x00")
                for _ in range(1000):
                    with contextlib.suppress(TimeoutError):
                        if not link.sock.recv(4096):
                            break
                    link.send(b"\x02")

        with Peer(script) as peer:
            handler = self.handler(peer, timeout=0.3, secure=True)
            self.log(handler, "one")
            [(_, error)] = handler.errors
            self.assertIsInstance(error, TimeoutError)


class DefaultTests(PersistentTestCase):

    # Guard: without the keyword the same calls are made, in the same order.
    def test_calls(self):
        class Connection:
            def __getattr__(self, name):
                return lambda *args: calls.append((name, *args))

        class Plain(logging.handlers.HTTPHandler):
            def getConnection(self, host, secure):
                calls.append(("getConnection", host, secure))
                return Connection()

            def mapLogRecord(self, record):
                calls.append(("mapLogRecord",))
                # This is for the next record.
                self.url += "x"
                return {"msg": record.getMessage()}

        calls = []
        for method, sent in (
                ("GET", [("putrequest", "GET", "/log?msg=a+b"),
                         ("endheaders",)]),
                ("POST", [("putrequest", "POST", "/log"),
                          ("putheader", "Content-type",
                           "application/x-www-form-urlencoded"),
                          ("putheader", "Content-length", "7"),
                          ("endheaders",), ("send", b"msg=a+b")])):
            with self.subTest(method):
                calls.clear()
                self.log(Plain("localhost:80", "/log", method), "a b")
                self.assertEqual(calls, [
                    ("getConnection", "localhost:80", False),
                    ("mapLogRecord",), *sent, ("getresponse",)])

    # Guard: without the keyword there is a connection for each record.
    def test_connection_for_each_record(self):
        def script(link):
            link.answer(b"noted", b"Connection: close")
            link.close()

        class Plain(logging.handlers.HTTPHandler):
            def mapLogRecord(self, record):
                return {"msg": record.getMessage()}

        with self.peer(script, script) as peer:
            for method in "GET", "POST":
                handler = Plain(f"{http_peer.HOST}:{peer.port}", "/log",
                                method, credentials=("a", "b"))
                self.log(handler, method)
                handler.close()
            self.assertEqual(self.received(peer), [(0, "GET"), (1, "POST")])
            self.assertEqual(
                [(*request.headers.items(),)
                 for _, request in peer.requests],
                [(("Host", f"{http_peer.HOST}:{peer.port}"),
                  ("Accept-Encoding", "identity"), *more,
                  ("Authorization", "Basic YTpi")) for more in
                 ((), (("Content-type", "application/x-www-form-urlencoded"),
                       ("Content-length", "8")))])

    # Guard: a subclass need not call __init__().
    def test_init_of_its_own(self):
        class Mine(logging.handlers.HTTPHandler):
            def __init__(self, host):
                logging.Handler.__init__(self)
                self.host, self.url, self.method = host, "/log", "POST"
                self.secure = self.credentials = self.context = None

            def mapLogRecord(self, record):
                return {"msg": record.getMessage()}

        def script(link):
            link.answer(b"noted", b"Connection: close")
            link.close()

        with self.peer(script) as peer:
            handler = Mine(f"{http_peer.HOST}:{peer.port}")
            self.log(handler, "one")
            handler.close()
            self.assertEqual(self.received(peer), [(0, "one")])

    # Guard: a subclass may have the same name as its base.
    def test_name_of_the_class(self):
        class HTTPHandler(logging.handlers.HTTPHandler):
            def emit(self, record):
                self.__send(record)

            def __send(self, record):
                super().emit(record)

            def mapLogRecord(self, record):
                return {"msg": record.getMessage()}

            def handleError(self, record):
                raise

        def script(link):
            link.answer(b"noted", b"Connection: close")
            link.close()

        with self.peer(script) as peer:
            handler = HTTPHandler(f"{http_peer.HOST}:{peer.port}", "/log",
                                  "POST")
            self.addCleanup(handler.close)
            self.log(handler, "one")
            self.assertEqual(self.received(peer), [(0, "one")])

    # Guard: what a subclass may have by itself is not ours.
    def test_names_of_a_subclass(self):
        class Mine(logging.handlers.HTTPHandler):
            def __init__(self, host, timeout):
                self.timeout = timeout
                super().__init__(host, "/log", "POST")

            def emit(self, record):
                self._send(record)

            def _send(self, record):
                super().emit(record)

            def mapLogRecord(self, record):
                return {"msg": self.timeout}

        def script(link):
            link.answer(b"noted", b"Connection: close")
            link.close()

        with self.peer(script) as peer:
            handler = Mine(f"{http_peer.HOST}:{peer.port}", 1.5)
            self.addCleanup(handler.close)
            self.log(handler, "one")
            self.assertEqual(self.received(peer), [(0, "1.5")])

    def test_arguments(self):
        handler = logging.handlers.HTTPHandler
        with self.assertRaises(TypeError):
            handler("localhost", "/", "GET", False, None, None, True)
        for timeout in 0, -1, math.nan:
            with self.assertRaisesRegex(ValueError, "timeout"):
                handler("localhost", "/", persistent=True, timeout=timeout)
        with self.assertRaises(TypeError):
            handler("localhost", "/", persistent=True, timeout=[5])
        handler("localhost", "/", persistent=True,
                timeout=fractions.Fraction(5, 2)).close()
        for timeout in 5, None:
            with self.assertRaisesRegex(ValueError, "persistent"):
                handler("localhost", "/", timeout=timeout)
        handler("localhost", "/", persistent=True, timeout=None).close()


if __name__ == "__main__":
    unittest.main()
