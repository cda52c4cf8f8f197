"""logging.handlers.HTTPHandler with a persistent connection."""

import http.client
import logging
import logging.handlers
import select
import sys
import threading
import unittest
import urllib.parse
from test import http_peer, support
from test.http_peer import (HOST, Link, Peer, ending, ending_idle, flood, keep,
                            response, sending, wait_readable)
from test.support import threading_helper
from unittest import mock


class Handler(logging.handlers.HTTPHandler):
    """Note the connections that are opened and the errors."""

    prepare = staticmethod(lambda connection: None)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.connections = []
        self.errors = []

    def mapLogRecord(self, record):
        return {"msg": record.getMessage()}

    def getConnection(self, host, secure):
        connection = super().getConnection(host, secure)
        self.connections.append(connection)
        self.prepare(connection)
        return connection

    def handleError(self, record):
        self.errors.append((record.getMessage(), sys.exception()))


class PersistentTestCase(unittest.TestCase):

    tls = None

    def peer(self, *scripts):
        return Peer(*scripts, tls=self.tls)

    def handler(self, peer, method="POST", **kwargs):
        if self.tls is not None:
            kwargs.update(secure=True, context=peer.client_context())
        kwargs.setdefault("persistent", True)
        kwargs.setdefault("timeout", support.SHORT_TIMEOUT)
        handler = Handler(f"{HOST}:{peer.port}", "/log", method, **kwargs)
        self.addCleanup(handler.close)
        return handler

    def log(self, handler, *messages):
        for message in messages:
            handler.handle(logging.makeLogRecord({"msg": message}))

    def received(self, peer):
        """Return (number of the connection, message) of each record."""
        found = []
        for number, request in peer.requests:
            form = request.body or request.target.partition(b"?")[2]
            found.append((number,
                          *urllib.parse.parse_qs(form.decode())["msg"]))
        return found

    def check_received(self, peer, handler, *expected):
        self.assertEqual(handler.errors, [])
        self.assertEqual(self.received(peer), list(expected))


@http_peer.over_tls
class ReuseTests(PersistentTestCase):

    def test_one_connection(self):
        count = 100 if self.tls else 10_000
        for method in "GET", "POST":
            with self.subTest(method), self.peer(keep) as peer:
                handler = self.handler(peer, method=method)
                messages = [f"{method} {i}" for i in range(count)]
                self.log(handler, *messages)
                self.check_received(peer, handler,
                                    *[(0, message) for message in messages])
                self.assertEqual(len(handler.connections), 1)

    def test_threads(self):
        # handle() lets one thread at a time emit a record.  emit() does not.
        for method, connections in ("handle", 1), ("emit", 80):
            def log(i):
                for j in range(20):
                    getattr(handler, method)(
                        logging.makeLogRecord({"msg": f"{i} {j}"}))

            with self.subTest(method), self.peer(*[keep] * 80) as peer:
                handler = self.handler(peer)
                threads = [threading.Thread(target=log, args=(i,))
                           for i in range(4)]
                with threading_helper.start_threads(threads):
                    pass
                self.assertEqual(handler.errors, [])
                self.assertEqual(
                    sorted(message for _, message in self.received(peer)),
                    sorted(f"{i} {j}" for i in range(4) for j in range(20)))
                self.assertLessEqual(peer.accepted, connections)
                handler.close()
                peer.join()     # no connection is left

    def test_close(self):
        script = sending(response())
        with self.peer(script, script) as peer:
            handler = self.handler(peer)
            self.log(handler, "one")
            handler.close()
            peer.join()
            handler.close()
            # The connection of a record that is logged later is not kept.
            self.log(handler, "two")
            peer.join()
            self.check_received(peer, handler, (0, "one"), (1, "two"))

    @support.requires_fork()
    def test_fork(self):
        def child():
            self.log(handler, "child", "child")
            handler.close()
            self.assertEqual(handler.errors, [])

        with self.peer(keep, keep) as peer:
            handler = self.handler(peer)
            self.log(handler, "parent")
            support.wait_process(http_peer.fork(child), exitcode=0)
            self.log(handler, "parent")
            self.check_received(peer, handler, (0, "parent"), (1, "child"),
                                (1, "child"), (0, "parent"))


HEAD = b"HTTP/1.1 200 OK\r\n"

# A response, and whether its connection is used for the next record.
RESPONSES = {
    "Content-Length": (response(b"noted"), True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
               b"5\r\nnoted\r\n0\r\n\r\n", True),
    "an error": (response(b"no", status=b"500 Oops"), True),
    "256 KiB": (response(b"x" * 256 * 1024), True),
    "more than 256 KiB": (response(b"x" * 257 * 1024), False),
    "Connection: close": (response(b"noted", b"Connection: close"), False),
    "unknown length": (HEAD + b"\r\nnoted", False),
    "a malformed chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
                          False),
    "a response follows": (response(b"noted") + response(b"unsolicited"),
                           False),
}


@http_peer.over_tls
class ResponseTests(PersistentTestCase):

    def test_connection_is_kept_after_response(self):
        for name, (data, is_kept) in RESPONSES.items():
            with (self.subTest(name),
                  self.peer(sending(data, end=keep), keep) as peer):
                handler = self.handler(peer)
                self.log(handler, "one", "two")
                self.check_received(peer, handler, (0, "one"),
                                    (0 if is_kept else 1, "two"))


@http_peer.over_tls
class ClosedTests(PersistentTestCase):

    def test_idle_connection_is_replaced(self):
        for name, end in http_peer.idle_ends(self.tls).items():
            script, go_on = ending_idle(response(), end)
            with self.subTest(name), self.peer(script, keep) as peer:
                handler = self.handler(peer)
                self.log(handler, "one")
                go_on()
                wait_readable(handler.connections[0].sock)
                self.log(handler, "two", "three")
                self.check_received(peer, handler, (0, "one"), (1, "two"),
                                    (1, "three"))
                # It is getConnection() that opens another one.
                self.assertEqual(len(handler.connections), 2)
                self.assertIsNone(handler.connections[0].sock)

    def test_record_is_not_sent_again(self):
        for end in (Link.close, Link.reset,
                    lambda link: (link.send(b"oops\r\n"),
                                  link.wait_closed())):
            script = ending(response(), end=end)
            with self.subTest(end), self.peer(script, keep) as peer:
                handler = self.handler(peer)
                self.log(handler, "one", "two", "three", "four")
                self.assertEqual([message for message, _ in handler.errors],
                                 ["two"])
                self.assertEqual(self.received(peer), [
                    (0, "one"), (0, "two"), (1, "three"), (1, "four")])

    def test_interrupt(self):
        def interrupt(connection):
            connection.getresponse = mock.Mock(side_effect=KeyboardInterrupt)

        with self.peer(Link.wait_closed) as peer:
            handler = self.handler(peer)
            handler.prepare = interrupt
            with self.assertRaises(KeyboardInterrupt):
                self.log(handler, "one")
            peer.join()         # the connection is closed


class TimeoutTests(PersistentTestCase):

    def check(self, act, is_error, prepare=Handler.prepare):
        """Check that *act* does not make the handler wait without limit."""
        script = ending(end=lambda link: (act(link), link.wait_closed()))
        with self.peer(script) as peer:
            handler = self.handler(peer, timeout=0.1 if is_error else 1)
            handler.prepare = prepare
            self.log(handler, "one")
            self.assertEqual([type(exc) for _, exc in handler.errors],
                             [TimeoutError] if is_error else [])
            peer.join()         # the connection is closed

    def test_no_response(self):
        self.check(lambda link: None, True)
        self.check(lambda link: link.send(HEAD + b"A: b"), True)

    def test_connected_by_getConnection(self):
        def connect(connection):
            connection.connect()
            connection.sock.settimeout(None)

        self.check(lambda link: None, True, connect)

    # The server has received the record.
    def test_body_in_small_pieces(self):
        for head in (b"Content-Length: 1000\r\n\r\n",
                     b"Transfer-Encoding: chunked\r\n\r\n1;",
                     b"Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: "):
            def act(link):
                link.send(HEAD + head)
                for _ in range(1000):
                    # Has the client closed the connection?
                    if select.select([link.sock], [], [], 0.01)[0]:
                        break
                    link.send(b"x")
                else:
                    self.fail("the handler has read all of it")

            with self.subTest(head=head):
                self.check(act, False)

    def test_endless_response(self):
        for head in b"Content-Length: %d\r\n\r\n" % 10**12, b"\r\n":
            with self.subTest(head=head):
                self.check(lambda link: flood(link, HEAD + head, b"x" * 1000),
                           False)

    def test_timeout_is_set_before_connect(self):
        class Connection(http.client.HTTPConnection):
            def connect(self):
                timeouts.append(self.timeout)
                super().connect()

        timeouts = []
        for timeout in 5, None:
            with self.peer(keep) as peer:
                handler = self.handler(peer, timeout=timeout)
                handler.getConnection = lambda host, secure: Connection(host)
                self.log(handler, "one", "two")
                self.check_received(peer, handler, (0, "one"), (0, "two"))
        self.assertEqual(timeouts, [5, None])

    def test_invalid_timeout(self):
        for timeout in 0, -1, float("nan"):
            with (self.subTest(timeout=timeout),
                  self.assertRaisesRegex(ValueError, "timeout")):
                logging.handlers.HTTPHandler("localhost", "/", timeout=timeout,
                                             persistent=True)


class NestedTests(PersistentTestCase):

    def test_record_inside_record(self):
        # It goes over another connection, and neither is lost.
        class Connection(http.client.HTTPConnection):
            def getresponse(connection):
                if pending:
                    self.log(handler, pending.pop())
                return super().getresponse()

        pending = []
        with self.peer(keep, keep) as peer:
            handler = self.handler(peer)
            handler.getConnection = lambda host, secure: Connection(host)
            self.log(handler, "first")
            pending.append("inner")
            self.log(handler, "outer", "last")
            self.assertEqual(handler.errors, [])
            self.assertEqual(sorted(self.received(peer)), [
                (0, "first"), (0, "outer"), (1, "inner"), (1, "last")])
            handler.close()
            peer.join()         # no connection is left


# Guard: without *persistent*, everything is as before.
class DefaultTests(PersistentTestCase):

    def check(self, cls, *args):
        script = sending(response(b"noted", b"Connection: close"))
        with self.peer(script, script) as peer:
            handler = cls(f"{HOST}:{peer.port}", *args)
            self.addCleanup(handler.close)
            self.log(handler, "one", "two")
            self.assertEqual(self.received(peer), [(0, "one"), (1, "two")])
        return handler

    def test_connection_for_each_record(self):
        for method in "GET", "POST":
            with self.subTest(method):
                handler = self.check(Handler, "/log", method)
                self.assertEqual(handler.errors, [])
                self.assertEqual(len(handler.connections), 2)

    def test_subclass_with_its_own_init(self):
        class Own(Handler):
            def __init__(self, host):
                logging.Handler.__init__(self)
                self.host, self.url, self.method = host, "/log", "POST"
                self.secure = self.credentials = self.context = None
                self.connections = []

        self.check(Own)


if __name__ == "__main__":
    unittest.main()
