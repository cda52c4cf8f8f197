"""Tests of urllib.request.PersistentConnectionHandler."""

import concurrent.futures
import contextlib
import copy
import decimal
import fractions
import http.client
import io
import os
import pickle
import queue
import socket
import threading
import time
import unittest
import urllib.error
import urllib.request
import urllib.robotparser
from test import http_peer, support
from test.http_peer import (BASIC, FORGED, HOST, Authenticator, Link,
                            Passwords, SocketWrapper, ending, response,
                            send_408, sending, ssl, tunnelling, wait_readable)
from test.support import script_helper, threading_helper
from unittest import mock

FIRST = response(b"first")
UNFINISHED = response(b"0123456789")[:-1]


def serve(link):
    """Answer each request with the connection's number and the target."""
    while received := link.request():
        head = received.method == b"HEAD"
        body = b"%d %s" % (link.number, received.target)
        link.send(response(b"" if head else body))


def denied(*headers):
    return response(b"denied", *headers, status=b"401 Unauthorized")


def opening(choose):
    """Return a handler that opens each request by the class of connections
    and with the options that *choose* returns for it.
    """
    class Handler(urllib.request.PersistentConnectionHandler):
        def http_open(self, req):
            cls, options = choose(req)
            return self.do_open(cls, req, **options)

        https_open = http_open
    return Handler


class HandlerTestCase(http_peer.URLTestCase):

    def peer(self, *scripts, count=4):
        return super().peer(*(scripts or [serve] * count))

    def handler(self, peer=None, cls=None, **options):
        cls = cls or urllib.request.PersistentConnectionHandler
        if peer is not None and peer.tls is not None:
            options.setdefault("context", peer.client_context())
        handler = cls(**options)
        self.addCleanup(handler.close)
        return handler

    def start(self, *scripts, handlers=(), **options):
        """Start a server, and make a handler and an opener for it."""
        peer = self.peer(*scripts)
        handler = self.handler(peer, **options)
        return peer, handler, self.opener(handler, *handlers)

    def read_until_closed(self, opener, target):
        """Read a response, and wait until its connection has ended."""
        with self.open(opener, target) as resp:
            sock = resp.fp.raw._sock
            self.assertEqual(resp.read(), b"first")
            wait_readable(sock)

    def assertCounts(self, handler, connections, requests):
        self.assertEqual((handler.num_connections, handler.num_requests),
                         (connections, requests))

    def assertUse(self, handler, *, idle, in_use):
        self.assertEqual((handler.idle, handler.in_use), (idle, in_use))


@http_peer.over_tls
class ReuseTests(HandlerTestCase):

    def test_one_connection_for_all_methods(self):
        peer, handler, opener = self.start()
        for method in "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH":
            body = b"body" if method in ("POST", "PUT") else None
            self.read(opener, peer, method=method, data=body)
            received = peer.requests[-1][1]
            self.assertEqual(received.method.decode(), method)
            self.assertEqual(received.body, body or b"")
            self.assertNotIn("Connection", received.headers)
        self.assertCounts(handler, 1, 6)
        self.assertEqual(peer.accepted, 1)

    def test_response_has_the_attributes_that_urlopen_sets(self):
        peer, handler, opener = self.start()
        for _ in range(2):
            with self.open(opener, peer, "/path") as resp:
                self.assertIsInstance(resp, http.client.HTTPResponse)
                self.assertEqual(resp.url, self.url(peer, "/path"))
                self.assertEqual((resp.status, resp.msg), (200, "OK"))
                self.assertEqual(resp.read(1), b"0")
                self.assertEqual(resp.read(), b" /path")
                self.assertFalse(resp.closed)
        self.assertCounts(handler, 1, 2)

    def test_every_framing_that_is_clear(self):
        framings = http_peer.FRAMINGS | {
            "line ends after it": ("GET", FIRST + b"\r\n\r\n")}
        for name, (method, answer) in framings.items():
            with self.subTest(name):
                peer, handler, opener = self.start(sending(answer, FIRST))
                self.get(opener, peer, method=method).read()
                self.assertEqual(self.read(opener, peer), b"first")
                self.assertCounts(handler, 1, 2)

    def test_connection_is_in_use_until_its_response_has_ended(self):
        peer, handler, opener = self.start()
        first = self.get(opener, peer, "/first")
        self.assertUse(handler, idle=0, in_use=1)
        self.assertEqual(self.read(opener, peer, "/second"), b"1 /second")
        self.assertUse(handler, idle=1, in_use=1)
        self.assertEqual(first.read(), b"0 /first")
        self.assertUse(handler, idle=2, in_use=0)

    def test_response_without_a_body_leaves_its_connection_at_once(self):
        answers = (response(), b"HTTP/1.1 204 No Content\r\n\r\n",
                   response(status=b"404 Not Found"))
        peer, handler, opener = self.start(sending(*answers))
        responses = [self.get(opener, peer) for _ in answers]
        self.assertCounts(handler, 1, 3)
        for resp in responses:
            self.assertGreaterEqual(resp.fileno(), 0)
            self.assertEqual(resp.read(), b"")

    def test_response_without_a_body_does_not_keep_its_connection_open(self):
        closed = threading.Event()
        peer, _, opener = self.start(sending(
            response(), response(b"last", b"Connection: close"),
            end=lambda link: (link.wait_closed(), closed.set())))
        self.get(opener, peer)
        self.assertEqual(self.read(opener, peer), b"last")
        self.assertTrue(closed.wait(support.SHORT_TIMEOUT))

    def test_most_recently_used_connection_is_taken(self):
        peer, handler, opener = self.start()
        responses = [self.get(opener, peer) for _ in range(3)]
        for number in 2, 0, 1:
            responses[number].read()
        for _ in range(5):
            self.assertEqual(self.read(opener, peer), b"1 /")

    def test_unread_response_closes_connection(self):
        for end in (lambda resp: (resp.read(1), resp.close()),
                    lambda resp: None):     # it is collected
            with self.subTest(end):
                peer, handler, opener = self.start(sending(UNFINISHED), serve,
                                                   max_per_host=1)
                end(self.open(opener, peer))
                support.gc_collect()
                peer.join()
                self.assertUse(handler, idle=0, in_use=0)
                self.assertEqual(self.read(opener, peer, data=b""), b"1 /")

    def test_response_closed_early_but_received_leaves_connection(self):
        peer, _, opener = self.start()
        with self.open(opener, peer) as resp:
            resp.peek(10)
        self.assertEqual(self.read(opener, peer), b"0 /")

    def test_forged_response_in_a_body_is_not_used(self):
        answer = response(FORGED, status=b"404 Not Found")
        peer, _, opener = self.start(sending(answer, response(b"1 /")), serve)
        self.get(opener, peer).close()
        self.assertEqual(self.read(opener, peer, data=b"x"), b"1 /")

    def test_message_that_no_other_can_follow(self):
        for answer, headers in (
            (response(b"", b"Connection: close"), {}),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", {}),
            (response(b"", b"Keep-Alive: timeout=5, max=1"), {}),
            (response(b"", b"Content-Length: 1"), {}),
            (response(b"", b"Proxy-Connection: close"), {}),
            (response(b""), {"Connection": "close"}),
        ):
            with self.subTest(answer=answer, headers=headers):
                peer, _, opener = self.start(sending(answer), serve)
                self.read(opener, peer, headers=headers)
                peer.join()
                self.assertEqual(self.read(opener, peer), b"1 /")

    def test_threads_share_what_is_idle(self):
        def get():
            for _ in range(200):
                if self.read(opener, peer)[2:] != b"/":
                    wrong.append(True)

        wrong = []
        peer, handler, opener = self.start(*[serve] * 4)
        with threading_helper.start_threads(
                threading.Thread(target=get) for _ in range(4)):
            pass
        self.assertEqual(wrong, [])
        self.assertLessEqual(handler.num_connections, 4)
        self.assertEqual(handler.num_requests, 800)

    def test_timeout_is_that_of_the_request(self):
        peer, handler, opener = self.start()
        self.addCleanup(socket.setdefaulttimeout, socket.getdefaulttimeout())
        socket.setdefaulttimeout(7)
        for timeout, expected in ((10, 10), (None, None), (5.5, 5.5),
                                  (socket._GLOBAL_DEFAULT_TIMEOUT, 7)):
            with self.open(opener, peer, timeout=timeout) as resp:
                self.assertEqual(resp.fp.raw._sock.gettimeout(), expected)
                resp.read()
        self.assertCounts(handler, 1, 4)

    @unittest.skipUnless(hasattr(socket, "TCP_QUICKACK"), "needs Linux")
    def test_parts_of_a_response_are_acknowledged_at_once(self):
        peer, handler, opener = self.start()
        for _ in range(3):
            with self.open(opener, peer) as resp:
                self.assertTrue(resp.fp.raw._sock.getsockopt(
                    socket.IPPROTO_TCP, socket.TCP_QUICKACK))
                resp.read()
        self.assertCounts(handler, 1, 3)

    def test_redirect_and_authentication_need_one_connection(self):
        found = response(b"elsewhere", b"Location: /next",
                         status=b"302 Found")
        basic = urllib.request.HTTPBasicAuthHandler(Passwords())
        peer, handler, opener = self.start(
            sending(found, denied(BASIC), response(b"granted")),
            max_per_host=1, handlers=[basic])
        self.assertEqual(self.read(opener, peer), b"granted")
        self.assertCounts(handler, 1, 3)

    def test_repetition_after_the_last_response(self):
        basic = urllib.request.HTTPBasicAuthHandler(Passwords())
        for field in b"Proxy-Connection: close", b"Keep-Alive: max=0":
            peer, handler, opener = self.start(
                sending(denied(BASIC, field)), serve, handlers=[basic])
            self.assertEqual(self.read(opener, peer, data=b"x"), b"1 /")
            self.assertEqual(handler.num_connections, 2)

    def test_debuglevel_shows_why_a_connection_is_closed(self):
        for answer, why in ((FIRST, "is not kept any longer"),
                            (UNFINISHED, "was not received completely")):
            with self.subTest(why):
                peer, handler, opener = self.start(sending(answer),
                                                   debuglevel=1)
                with support.captured_stdout() as stdout:
                    with self.open(opener, peer) as resp:
                        resp.read(5)
                    handler.close()
                self.assertRegex(stdout.getvalue(),
                                 f"(?m)^close: {HOST}:{peer.port}, .*{why}")

    def test_context_and_check_hostname(self):
        if self.tls is None:
            self.skipTest("only for encrypted connections")
        peer = self.peer()
        url = f"https://127.0.0.1:{peer.port}/"
        opener = self.opener(self.handler(peer, check_hostname=True))
        with self.assertRaises(urllib.error.URLError):
            self.open(opener, url)
        opener = self.opener(self.handler(peer, check_hostname=False))
        for _ in range(2):
            self.assertEqual(self.read(opener, url), b"1 /")


class HandlersTests(HandlerTestCase):
    """Handlers that open a URL while they process a response."""

    def test_request_that_is_not_repeated_with_credentials(self):
        class Handler(urllib.request.BaseHandler):
            def error(self, req, fp, code, msg, headers):
                # The response is still readable if the request is another.
                with self.parent.open(
                        choose(req), timeout=support.SHORT_TIMEOUT) as resp:
                    body = resp.read()
                rests.append(None if fp.isclosed() else fp.read())
                fp.close()
                return io.BytesIO(body)

            http_error_401 = http_error_404 = error

        def move(req):
            req.full_url = self.url(other)
            return req

        other = self.peer()
        for status, choose, body, rest in (
            (b"401 No", lambda req: req.full_url + "token", b"1 /token",
             b"denied"),
            (b"401 No", move, b"0 /", None),
            # It does not ask for credentials.
            (b"404 No", lambda req: req, b"1 /", b"denied"),
        ):
            with self.subTest(body=body, status=status):
                rests = []
                peer, _, opener = self.start(
                    sending(response(b"denied", status=status)), serve,
                    handlers=[Handler])
                self.assertEqual(self.read(opener, peer), body)
                self.assertEqual(rests, [rest])

    # Negotiate and NTLM authenticate a connection, not a request.
    def test_connection_serves_one_user(self):
        challenge = denied(b"WWW-Authenticate: NTLM abc")
        for steps in (["NTLM 1", "NTLM 2"], ["Negotiate abc", "Basic def"],
                      ["\tNTLM 1", "\r\n NTLM 2"], [b" NTLM 1", b"\tNTLM 2"]):
            with self.subTest(steps):
                peer, handler, opener = self.start(
                    sending(challenge, challenge, response(b"granted")),
                    serve, handlers=[Authenticator(*steps)])
                self.assertEqual(self.read(opener, peer), b"granted")
                peer.join()
                self.assertEqual(self.read(opener, peer), b"1 /")
                self.assertCounts(handler, 2, 4)

    def test_connection_is_kept_if_another_scheme_is_used(self):
        offer = denied(b"WWW-Authenticate: Negotiate", BASIC)
        basic = urllib.request.HTTPBasicAuthHandler(Passwords())
        peer, handler, opener = self.start(
            sending(*[offer, response(b"granted")] * 5), handlers=[basic])
        for _ in range(5):
            self.assertEqual(self.read(opener, peer), b"granted")
        self.assertCounts(handler, 1, 10)


class DestinationTests(HandlerTestCase):
    """Which connections serve the same purpose."""

    def test_class_and_options(self):
        class Connection(http.client.HTTPConnection):
            def __init__(self, *args, path=None, **kwargs):
                super().__init__(*args, **kwargs)

        class Connected(http.client.HTTPConnection):
            def connect(self):
                self.sock = socket.create_connection(
                    (self.host, self.port), self.timeout)

        class Wrapped(http.client.HTTPConnection):
            def connect(self):
                super().connect()
                self.sock = SocketWrapper(self.sock)

        class Factory:
            __hash__ = None

            def __call__(self, *args, **kwargs):
                return http.client.HTTPConnection(*args, **kwargs)

        plain = http.client.HTTPConnection, {}
        for other, numbers in (
            (plain, [0, 0, 0, 0]),
            ((Connection, {}), [0, 1, 0, 1]),
            ((http.client.HTTPConnection, {"blocksize": 1000}), [0, 1, 0, 1]),
            ((http.client.HTTPConnection, {"source_address": (HOST, 0)}),
             [0, 1, 0, 1]),
            # These cannot be hashed.
            ((Connection, {"path": ["a"]}), [0, 1, 0, 2]),
            ((Factory(), {}), [0, 1, 0, 2]),
            ((Connected, {}), [0, 1, 0, 1]),
            # A socket of another class serves one request.
            ((Wrapped, {}), [0, 1, 0, 2]),
        ):
            with self.subTest(other):
                ways = [plain, other, plain, other]
                peer, _, opener = self.start(
                    cls=opening(lambda req: ways.pop(0)))
                self.assertEqual([int(self.read(opener, peer).split()[0])
                                  for _ in numbers], numbers)

    def test_response_of_another_class(self):
        # It may be read until the connection ends.
        class Connection(http.client.HTTPConnection):
            @staticmethod
            def response_class(*args, **kwargs):
                return http.client.HTTPResponse(*args, **kwargs)

        for cls in Connection, http.client.HTTPConnection:
            with self.subTest(cls):
                peer, _, opener = self.start(
                    cls=opening(lambda req: (cls, {})))
                self.read(opener, peer)
                self.assertEqual(peer.requests[0][1].headers["Connection"],
                                 "close" if cls is Connection else None)

    def test_connection_closed_by_the_program(self):
        connections = []

        class Connection(http.client.HTTPConnection):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                connections.append(self)

        peer, _, opener = self.start(
            cls=opening(lambda req: (Connection, {})))
        self.read(opener, peer)
        connections[0].close()
        self.assertEqual(self.read(opener, peer), b"1 /")

    def test_hosts(self):
        class Connection(http.client.HTTPConnection):
            def connect(self):
                self.sock = socket.create_connection((HOST, peer.port))

        peer = self.peer(count=7)
        opener = self.opener(self.handler(
            cls=opening(lambda req: (Connection, {}))))
        for number, host in (
            (0, "a.example"), (0, "A.Example"), (0, "a.example:80"),
            (1, "a.example:81"), (2, "b.example"),
            # Names are not resolved, and addresses are not normalized.
            (3, "a.example."), (4, "[fe80::a]"), (4, "[FE80::A]"),
            (5, "[fe80:0::a]"), (6, "[fe80::a%251]"), (0, "a.example"),
        ):
            with self.subTest(host):
                body = self.read(opener, f"http://{host}/")
                self.assertEqual(int(body.split()[0]), number)

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_contexts(self):
        self.tls = ssl.TLSVersion.TLSv1_3
        peer, _, opener = self.start(cls=opening(lambda req: (
            http.client.HTTPSConnection, {"context": contexts[req.selector]})))
        contexts = {"/0": peer.client_context(), "/1": peer.client_context()}
        for path in "/0", "/1", "/0", "/1":
            self.assertEqual(self.read(opener, peer, path),
                             f"{path[1:]} {path}".encode())


@http_peer.over_tls
class SentAgainTests(HandlerTestCase):
    """What becomes of a request if its connection ends."""

    def send_second(self, *scripts, **kwargs):
        """Send a request after a first one."""
        peer, handler, opener = self.start(*scripts)
        self.assertEqual(self.read(opener, peer), b"first")
        try:
            return self.read(opener, peer, **kwargs)
        finally:
            self.sent = [(number, received.body)
                         for number, received in peer.requests[1:]]
            self.assertEqual(handler.num_requests, 2)
            self.assertEqual(handler.num_connections, peer.accepted)

    def test_idempotent_request_is_sent_again(self):
        for method in "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE":
            data = b"data" if method == "PUT" else b""
            for end in Link.close, Link.reset, send_408:
                with self.subTest(method=method, end=end):
                    body = self.send_second(ending(FIRST, end=end), serve,
                                            method=method, data=data or None)
                    self.assertEqual(body,
                                     b"" if method == "HEAD" else b"1 /")
                    self.assertEqual(self.sent, [(0, data), (1, data)])

    def test_other_request_is_not_sent_again(self):
        def cut(data):
            return lambda link: (link.send(data), link.close())

        for name, end, error, kwargs in (
            ("POST", Link.close, ConnectionError, {"data": b"pay"}),
            ("PATCH", Link.close, ConnectionError,
             {"data": b"pay", "method": "PATCH"}),
            ("408", send_408, urllib.error.HTTPError, {"data": b"pay"}),
            ("file", Link.close, ConnectionError,
             {"data": io.BytesIO(b"body"), "method": "PUT"}),
            ("list", Link.close, ConnectionError,
             {"data": [b"bo", b"dy"], "method": "PUT"}),
            ("iterator", Link.close, ConnectionError,
             {"data": iter([b"body"]), "method": "PUT"}),
            ("first byte", cut(b"H"), http.client.HTTPException, {}),
            ("interim response", cut(b"HTTP/1.1 102 Processing\r\n\r\n"),
             ConnectionError, {}),
            ("timeout", Link.wait_closed, TimeoutError, {"timeout": 0.01}),
        ):
            with self.subTest(name):
                with self.assertRaises(error) as caught:
                    self.send_second(ending(FIRST, end=end), serve, **kwargs)
                self.assertEqual([number for number, _ in self.sent], [0])
                if error is urllib.error.HTTPError:
                    caught.exception.close()

    def test_not_after_100_continue(self):
        def script(link):
            link.answer(b"first")
            http.client.parse_headers(link.reader)
            link.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            link.reader.read(4)
            link.close()

        peer, _, opener = self.start(script, serve)
        self.read(opener, peer)
        with self.assertRaises(http.client.RemoteDisconnected):
            self.read(opener, peer, method="PUT", data=b"body",
                      headers={"Expect": "100-continue"})

    def test_request_is_sent_twice_at_most(self):
        with self.assertRaises(ConnectionError):
            self.send_second(ending(FIRST, end=Link.close),
                             ending(end=Link.close), serve)
        self.assertEqual([number for number, _ in self.sent], [0, 1])

    def test_not_over_a_connection_that_was_new(self):
        for end, error in ((Link.close, ConnectionError),
                           (send_408, urllib.error.HTTPError)):
            with self.subTest(error):
                peer, handler, opener = self.start(ending(end=end), serve)
                with self.assertRaises(error) as caught:
                    self.open(opener, peer)
                if error is urllib.error.HTTPError:
                    caught.exception.close()
                self.assertCounts(handler, 1, 1)
                self.assertEqual(handler.idle, 0)

    def test_not_over_a_connection_that_replaced_another(self):
        peer, _, opener = self.start(sending(FIRST, end=Link.close),
                                     ending(end=Link.close), serve)
        self.read_until_closed(opener, peer)
        with self.assertRaises(ConnectionError):
            self.read(opener, peer)
        self.assertEqual(peer.accepted, 2)

    def test_body_that_fails_is_not_sent_again(self):
        # The error looks like that of a connection over which nothing is sent.
        def body():
            yield b"some"
            raise http.client.RemoteDisconnected("from the body")

        with self.assertRaisesRegex(urllib.error.URLError, "from the body"):
            self.send_second(sending(FIRST), serve, method="PUT", data=body())
        self.assertEqual(self.sent, [])

    def test_end_of_an_idle_connection_loses_nothing(self):
        # The end is noticed before anything is sent.
        ends = http_peer.idle_ends(self.tls) | {
            "forged response": lambda link: link.send(FORGED)}
        for name, end in ends.items():
            with self.subTest(name):
                script, go_on = http_peer.ending_idle(FIRST, end)
                peer, handler, opener = self.start(script, serve)
                with self.open(opener, peer) as resp:
                    sock = resp.fp.raw._sock
                    self.assertEqual(resp.read(), b"first")
                    go_on()
                    wait_readable(sock)
                    second = self.get(opener, peer, data=iter([b"on", b"ce"]),
                                      timeout=33)
                self.assertEqual(second.fp.raw._sock.gettimeout(), 33)
                self.assertEqual(second.read(), b"1 /")
                self.assertEqual([received.body for _, received
                                  in peer.requests], [b"", b"once"])
                self.assertCounts(handler, 2, 2)

    def test_refused_body_is_not_sent_again(self):
        def refuse(link):
            link.answer(b"first")
            link.sock.recv(1)
            link.send(response(b"no", b"Connection: close",
                               status=b"413 Content Too Large"))
            link.reset()

        peer, _, opener = self.start(refuse, serve)
        self.read(opener, peer)
        with self.assertRaises(OSError) as caught:
            self.read(opener, peer, method="PUT", data=b"x" * 10_000_000)
        if isinstance(caught.exception, urllib.error.HTTPError):
            caught.exception.close()
            self.assertEqual(peer.accepted, 1)


class ExpiryTests(HandlerTestCase):

    def setUp(self):
        super().setUp()
        self.elapsed = dict.fromkeys(("monotonic", "time"), 0)
        for name in self.elapsed:
            function = getattr(time, name)
            self.enterContext(mock.patch.object(
                time, name, lambda function=function, name=name: (
                    function() + self.elapsed[name])))

    def let_pass(self, seconds, clocks=("monotonic", "time")):
        for name in clocks:
            self.elapsed[name] += seconds

    def is_kept(self, seconds, *headers, **options):
        peer, _, opener = self.start(
            sending(response(b"first", *headers), response(b"0 /")), serve,
            **options)
        self.read(opener, peer)
        self.let_pass(seconds)
        return self.read(opener, peer) == b"0 /"

    def test_limits(self):
        for seconds, options, kept, *headers in (
            (8, {"idle_timeout": 10}, True),
            (11, {"idle_timeout": fractions.Fraction(10)}, False),
            (8, {"max_age": decimal.Decimal(10)}, True),
            (0, {"idle_timeout": 0}, False),
            (1e6, {}, True),
            (8, {"max_age": 10}, True),
            (11, {"max_age": 10}, False),
            (0, {"max_age": 0}, False),
            (8, {"max_age": 10, "idle_timeout": 5}, False),
            (0, {"max_idle": 0}, False),
            # The shorter limit decides.
            (4.5, {"idle_timeout": 10}, False, b"Keep-Alive: timeout=5"),
            (2.5, {"idle_timeout": 2}, False, b"Keep-Alive: timeout=5"),
            (1, {"idle_timeout": 2}, True, b"Keep-Alive: timeout=5"),
            # Node.js rounds down.
            (100, {}, True, b"Keep-Alive: timeout=0",
             b"Connection: keep-alive"),
        ):
            with self.subTest(seconds=seconds, options=options,
                              headers=headers):
                self.assertEqual(self.is_kept(seconds, *headers, **options),
                                 kept)

    def test_max_age_counts_from_the_opening(self):
        peer, _, opener = self.start(max_age=10)
        bodies = []
        for _ in range(6):
            bodies.append(self.read(opener, peer))
            self.let_pass(4)
        self.assertEqual(bodies, [b"0 /"] * 3 + [b"1 /"] * 3)

    def test_monotonic_clock_that_stops_while_the_system_sleeps(self):
        peer, _, opener = self.start(idle_timeout=10)
        self.read(opener, peer)
        self.let_pass(11, ["time"])
        self.assertEqual(self.read(opener, peer), b"1 /")
        self.let_pass(-1e6, ["time"])
        self.assertEqual(self.read(opener, peer), b"1 /")

    def test_keep_alive_header(self):
        for header, seconds, kept in (
            # It is honoured, with a margin.
            (b"timeout=5", 3, True),
            (b"timeout=5", 4.5, False),
            (b"max=100, TIMEOUT = 5", 4.5, False),
            (b'timeout="5"', 4.5, False),
            (b"timeout=1", 0.7, False),
            (b"timeout=5, timeout=9", 4.5, False),
            (b"timeout=0", 0, False),
            (b"max=0", 0, False),
            (b"max=2", 0, True),
            # These announce no limit.
            (b"timeout=-5", 1e6, True),
            (b"timeout=5s", 1e6, True),
            (b"xtimeout=5", 1e6, True),
            (b"timeout", 1e6, True),
            (b"max=1e9", 1e6, True),
            (b"timeout=99999999999999999999", 1e6, True),
        ):
            with self.subTest(header=header, seconds=seconds):
                self.assertEqual(
                    self.is_kept(seconds, b"Keep-Alive: " + header), kept)

    def test_unused_connections_are_closed_by_the_next_request(self):
        peer, handler, opener = self.start(idle_timeout=10)
        for resp in self.get(opener, peer), self.get(opener, peer):
            resp.read()
        for _ in range(3):
            self.let_pass(6)
            self.assertEqual(self.read(opener, peer), b"1 /")
        self.let_pass(11)
        with self.open(opener, peer):
            self.assertUse(handler, idle=0, in_use=1)


class LimitTests(HandlerTestCase):

    def test_max_idle(self):
        peers = [self.peer() for _ in range(3)]
        handler = self.handler(max_idle=2)
        opener = self.opener(handler)
        for number, body in ((0, b"0 /"), (1, b"0 /"), (0, b"0 /"),
                             (2, b"0 /"), (0, b"0 /"), (1, b"1 /"),
                             (0, b"0 /"), (2, b"1 /")):
            self.assertEqual(self.read(opener, peers[number]), body)
            self.assertLessEqual(handler.idle, 2)

    @threading_helper.requires_working_threading()
    def test_request_waits_for_a_connection(self):
        for first_answer, body in ((FIRST, b"second"), (UNFINISHED, b"1 /")):
            with self.subTest(body=body):
                peer, handler, opener = self.start(
                    sending(first_answer, response(b"second")), serve,
                    max_per_host=1)
                bodies = []
                first = self.open(opener, peer)
                thread = threading.Thread(
                    target=lambda: bodies.append(self.read(opener, peer)))
                with threading_helper.start_threads([thread]):
                    self.assertEqual(bodies, [])
                    first.read(5)
                    first.close()
                self.assertEqual(bodies, [body])

    @threading_helper.requires_working_threading()
    def test_requests_wait_in_their_order(self):
        peer, handler, opener = self.start(max_per_host=1)
        is_served = threading.Event()
        turns = []

        def wait():
            self.read(opener, peer, "/b")
            is_served.set()

        first = self.open(opener, peer)
        with threading_helper.start_threads([threading.Thread(target=wait)]):
            first.read()
            while not is_served.is_set() and len(turns) < 5000:
                turns.append(self.read(opener, peer, "/a"))
        self.assertLess(len(turns), 5000)

    def test_waiting_ends_with_the_timeout_of_the_request(self):
        other = self.peer()
        peer, handler, opener = self.start(max_per_host=1)
        with self.open(opener, peer) as first:
            for timeout in 0.01, 0:
                with self.assertRaises(urllib.error.URLError) as caught:
                    self.open(opener, peer, timeout=timeout)
                self.assertIsInstance(caught.exception.reason, TimeoutError)
            # The limit is for each server.
            self.assertEqual(self.read(opener, other), b"0 /")
            self.assertEqual(first.read(), b"0 /")
        self.assertEqual(self.read(opener, peer), b"0 /")
        self.assertCounts(handler, 2, 3)

    @threading_helper.requires_working_threading()
    def test_waiting_is_not_disturbed_by_other_hosts(self):
        class Queue:
            def __init__(self):
                self.real = queues[0]()
                queues.append(self)

            def get(self, **kwargs):
                is_waiting.set()
                return self.real.get(**kwargs)

            def put(self, item):
                puts.append(item)
                self.real.put(item)

        queues, puts = [queue.SimpleQueue], []
        is_waiting = threading.Event()
        other = self.peer()
        peer, handler, opener = self.start(max_per_host=1)
        first = self.open(opener, peer)
        thread = threading.Thread(target=self.read, args=(opener, peer))
        with mock.patch("queue.SimpleQueue", Queue):
            with threading_helper.start_threads([thread]):
                is_waiting.wait(support.SHORT_TIMEOUT)
                for _ in range(5):
                    self.read(opener, other)
                self.assertEqual(puts, [])
                first.read()
        self.assertNotEqual(puts, [])

    def test_failed_request_is_not_counted_as_in_use(self):
        peer, handler, opener = self.start(
            ending(end=Link.close),
            sending(b"garbage\r\n\r\n", end=Link.close),
            Link.wait_closed, serve, max_per_host=1)
        for _ in range(2):
            with self.assertRaises((OSError, http.client.HTTPException)):
                self.read(opener, peer)
        with self.assertRaises(ValueError):
            self.read(opener, peer, headers={"A": "b\r\nc"})
        with self.assertRaises(TypeError):
            self.read(opener, peer, data=[1])
        self.assertEqual(handler.in_use, 0)
        self.assertEqual(self.read(opener, peer)[-1:], b"/")

    def test_failed_connect_is_not_counted_as_in_use(self):
        with socket.socket() as unused:
            port = http_peer.socket_helper.bind_port(unused)
            handler = self.handler(max_per_host=1)
            opener = self.opener(handler)
            for _ in range(2):
                with self.assertRaises(urllib.error.URLError):
                    self.open(opener, f"http://{HOST}:{port}/")
                self.assertEqual(handler.in_use, 0)
        self.assertCounts(handler, 0, 2)

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_failed_handshake_is_not_counted_as_in_use(self):
        self.tls = ssl.TLSVersion.TLSv1_3
        peer, handler, opener = self.start(
            max_per_host=1, context=ssl.create_default_context())
        for _ in range(2):
            with self.assertRaises(urllib.error.URLError) as caught:
                self.open(opener, peer)
            self.assertIsInstance(caught.exception.reason, ssl.SSLError)
            self.assertEqual(handler.in_use, 0)

    @support.cpython_only
    def test_repetition_makes_no_reference_cycle(self):
        peer, handler, opener = self.start(
            ending(FIRST, end=Link.close), serve)
        self.read(opener, peer)
        with support.disable_gc():
            self.open(opener, peer)
            self.assertEqual(handler.in_use, 0)

    def test_response_without_its_file(self):
        # Some programs take the file of a response, or drop it.
        for keep in True, False:
            peer, handler, opener = self.start(max_per_host=1)
            resp = self.open(opener, peer)
            file = resp.fp if keep else resp.fp.close()
            resp.fp = None
            del resp
            support.gc_collect()
            with self.subTest(keep), contextlib.closing(file or io.BytesIO()):
                self.assertEqual(handler.in_use, 0)
                self.assertEqual(self.read(opener, peer), b"1 /")

    def test_response_read_by_its_file_and_dropped(self):
        for read in io.BufferedReader.read, lambda fp: fp.raw.readall():
            peer, handler, opener = self.start()
            resp = self.open(opener, peer)
            self.assertEqual(read(resp.fp), b"0 /")
            del resp
            support.gc_collect()
            self.assertEqual((handler.in_use, handler.idle), (0, 1))
            self.assertEqual(self.read(opener, peer), b"0 /")

    def test_response_in_a_reference_cycle(self):
        # Its connection is either kept or closed, but not both.
        class Wrapper:
            def __del__(self):
                self.resp.close()

        peer, handler, opener = self.start(sending(FIRST, response(b"0 /")),
                                           serve, max_per_host=1)
        wrapper = Wrapper()
        wrapper.resp = self.open(opener, peer)
        wrapper.resp.peek(10)   # it is received completely
        wrapper.cycle = wrapper
        del wrapper
        with support.catch_unraisable_exception() as caught:
            support.gc_collect()
            self.assertIsNone(caught.unraisable)
        self.assertEqual(handler.in_use, 0)
        wanted = b"0 /" if handler.idle else b"1 /"
        self.assertEqual(self.read(opener, peer), wanted)

    def test_response_that_ends_while_the_pool_is_in_use(self):
        # The garbage collector can do that, too.
        class Option:
            def __hash__(self):
                return 1

            def __eq__(self, other):
                if open_responses:
                    open_responses.pop().read()
                return True

        class Connection(http.client.HTTPConnection):
            def __init__(self, *args, option, **kwargs):
                super().__init__(*args, **kwargs)

        open_responses = []
        peer, handler, opener = self.start(max_idle=1, cls=opening(
            lambda req: (Connection, {"option": Option()})))
        open_responses.append(self.open(opener, peer))
        self.assertEqual(self.read(opener, peer), b"1 /")
        self.assertEqual(self.read(opener, peer)[-1:], b"/")
        self.assertEqual(open_responses, [])
        self.assertUse(handler, idle=1, in_use=0)

    def test_arguments(self):
        cls = urllib.request.PersistentConnectionHandler
        for options in ({"max_idle": -1}, {"max_per_host": 0},
                        {"idle_timeout": -1}, {"max_age": -1},
                        {"idle_timeout": float("nan")},
                        {"max_idle": float("nan")}):
            with self.subTest(options), self.assertRaises(ValueError):
                cls(**options)
        with self.assertRaises(TypeError):
            cls(1)


class CloseTests(HandlerTestCase):

    def test_close_closes_idle_connections(self):
        peer, handler, opener = self.start()
        with handler as entered:
            self.assertIs(entered, handler)
            self.read(opener, peer)
        peer.join()
        self.assertEqual(handler.idle, 0)
        # It can be used again.
        self.assertEqual(self.read(opener, peer), b"1 /")
        self.assertEqual(self.read(opener, peer), b"1 /")

    def test_connection_in_use_is_closed_when_its_response_ends(self):
        peer, handler, opener = self.start()
        resp = self.get(opener, peer, "/path")
        self.assertEqual(resp.read(1), b"0")
        handler.close()
        self.assertEqual(resp.read(), b" /path")
        peer.join()
        self.assertEqual(self.read(opener, peer), b"1 /")

    def test_opener_does_not_close_its_handlers(self):
        peer, handler, opener = self.start()
        self.read(opener, peer)
        opener.close()
        self.assertEqual(self.read(opener, peer), b"0 /")

    def test_handler_that_is_collected_closes_its_connections(self):
        peer = self.peer()
        opener = self.opener(urllib.request.PersistentConnectionHandler())
        idle, resp = self.get(opener, peer), self.get(opener, peer, "/path")
        idle.read()
        del opener
        support.gc_collect()
        # Its response can be read.
        self.assertEqual(resp.read(), b"1 /path")
        peer.join()

    def test_copies(self):
        handler = self.handler()
        for make in pickle.dumps, copy.deepcopy:
            with self.subTest(make), self.assertRaises(TypeError):
                make(handler)

    def test_exit_of_the_interpreter(self):
        code = """if True:
            import sys, urllib.request
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}),
                urllib.request.PersistentConnectionHandler())
            urllib.request.install_opener(opener)
            urllib.request.urlopen(sys.argv[1]).read()
            unread = urllib.request.urlopen(sys.argv[1])
        """
        peer = self.peer()
        library = os.path.dirname(os.path.dirname(urllib.request.__file__))
        result = script_helper.assert_python_ok(
            "-X", "dev", "-W", "error", "-c", code, self.url(peer),
            __isolated=False, PYTHONPATH=library)
        self.assertEqual(result.err, b"")
        self.assertEqual(peer.accepted, 1)


class ProxyTests(HandlerTestCase):

    def proxies(self, peer):
        return {"http": f"http://{HOST}:{peer.port}"}

    def test_forward_proxy(self):
        peer = self.peer()
        opener = self.opener(self.handler(), proxies=self.proxies(peer))
        for url in "http://a.example/", "http://b.example/":
            self.assertEqual(self.read(opener, url), b"0 " + url.encode())
            self.assertEqual(peer.requests[-1][1].headers["Host"],
                             url.split("/")[2])

    def test_way_to_a_host_is_part_of_its_destination(self):
        one, two, direct = [self.peer() for _ in range(3)]
        handler = self.handler()
        for _ in range(2):
            for proxies in self.proxies(one), self.proxies(two), {}:
                self.read(self.opener(handler, proxies=proxies), direct)
        self.assertEqual([peer.accepted for peer in (one, two, direct)],
                         [1, 1, 1])


@unittest.skipIf(ssl is None, "needs TLS")
class TunnelTests(HandlerTestCase):

    URL = "https://localhost/"

    def start(self, *scripts, **options):
        context = ssl.create_default_context(cafile=http_peer.CERTFILE)
        peer = self.peer(*scripts)
        handler = self.handler(context=context, **options)
        return peer, handler, self.proxied(handler, peer)

    def proxied(self, handler, peer, user="user"):
        return self.opener(handler, proxies={
            "https": f"http://{user}:secret@{HOST}:{peer.port}"})

    def test_tunnel_leads_to_one_port(self):
        peer, _, opener = self.start(tunnelling(serve), tunnelling(serve))
        for port, body in ((443, b"0 /"), (444, b"1 /"), (443, b"0 /")):
            self.assertEqual(self.read(opener, f"https://localhost:{port}/"),
                             body)
        self.assertEqual([received.target for _, received in peer.requests],
                         [b"localhost:443", b"/", b"localhost:444", b"/",
                          b"/"])
        for _, received in peer.requests:
            self.assertEqual("Proxy-Authorization" in received.headers,
                             received.method == b"CONNECT")

    def test_tunnel_belongs_to_a_user_of_the_proxy(self):
        peer, handler, _ = self.start(tunnelling(serve), tunnelling(serve))
        for number, user in enumerate(("one", "two")):
            for _ in range(2):
                opener = self.proxied(handler, peer, user)
                self.assertEqual(self.read(opener, self.URL),
                                 b"%d /" % number)

    def test_tunnel_that_ends_while_idle(self):
        for more in [], [ending(end=Link.close)]:
            with self.subTest(more):
                peer, _, opener = self.start(
                    tunnelling(sending(FIRST, end=Link.close)), *more,
                    tunnelling(serve))
                self.read_until_closed(opener, self.URL)
                self.assertEqual(self.read(opener, self.URL, data=b"x"),
                                 b"%d /" % (len(more) + 1))
                self.assertEqual(
                    [received.method for _, received in peer.requests],
                    [b"CONNECT", b"GET", b"CONNECT", *[b"CONNECT"] * len(more),
                     b"POST"])

    def test_tunnel_that_fails_is_not_counted_as_in_use(self):
        peer, handler, opener = self.start(
            ending(end=Link.close),
            sending(response(b"denied", status=b"407 Authenticate")),
            sending(response(), end=lambda link: (
                link.send(b"not TLS"), link.wait_closed())),
            tunnelling(serve), max_per_host=1)
        for number in 1, 2, 3:
            with self.assertRaises(urllib.error.URLError):
                self.open(opener, self.URL)
            self.assertEqual(handler.in_use, 0)
            # It is not tried again, as it was new.
            self.assertEqual(peer.accepted, number)
        self.assertEqual(self.read(opener, self.URL), b"3 /")


@threading_helper.requires_working_threading()
class ThreadTests(HandlerTestCase):

    THREADS = 4
    REQUESTS = 20

    def run_threads(self, function):
        with concurrent.futures.ThreadPoolExecutor(self.THREADS) as executor:
            list(executor.map(function, range(self.THREADS)))

    def test_each_request_gets_its_own_response(self):
        def requests(number):
            for i in range(self.REQUESTS):
                path = f"/{number}/{i}"
                body = self.read(opener, peer, path)
                self.assertEqual(body.partition(b" ")[2], path.encode())

        for limit in None, 2:
            with self.subTest(limit):
                peer, handler, opener = self.start(max_per_host=limit)
                self.run_threads(requests)
                self.assertEqual(handler.num_connections, peer.accepted)
                self.assertEqual(handler.num_requests, len(peer.requests))
                self.assertLessEqual(peer.accepted, limit or self.THREADS)

    def test_server_that_misbehaves(self):
        # What the server does, by the last part of the target.
        kinds = {
            "plain": (response, None),
            "idle": (response, Link.close),
            "close": (lambda body: response(body, b"Connection: close"),
                      Link.close),
            "truncated": (lambda body: response(body)[:-1], Link.close),
            "408": (lambda body: response(status=b"408 No"), Link.close),
            "reset": (lambda body: b"", Link.reset),
        }

        def script(link):
            while received := link.request():
                kind = received.target.rpartition(b"/")[2].decode()
                answer, end = kinds[kind]
                link.send(answer(received.target))
                if end is not None:
                    return end(link)

        def requests(number):
            for i in range(self.REQUESTS):
                kind = list(kinds)[(i + number) % len(kinds)]
                path = f"/{number}/{i}/{kind}"
                data = b"body" if i % 2 else None
                fails = kind in ("truncated", "reset", "408")
                try:
                    body = self.read(opener, peer, path, data=data)
                except urllib.error.HTTPError as exc:
                    exc.close()
                    self.assertEqual(kind, "408")
                except (OSError, http.client.HTTPException):
                    # A POST may also meet the end of an idle connection.
                    self.assertTrue(fails or data)
                else:
                    self.assertFalse(fails)
                    self.assertEqual(body, path.encode())

        peer, handler, opener = self.start(
            *[script] * (2 * self.THREADS * self.REQUESTS), max_per_host=2)
        self.run_threads(requests)
        self.assertEqual(handler.num_requests, self.THREADS * self.REQUESTS)
        self.assertEqual(handler.in_use, 0)
        self.assertLessEqual(handler.idle, 2)
        posts = [received.target for _, received in peer.requests
                 if received.method == b"POST"]
        self.assertEqual(len(posts), len(set(posts)))


@support.requires_fork()
@http_peer.over_tls
class ForkTests(HandlerTestCase):

    def test_child_leaves_the_connections_of_the_parent_alone(self):
        def requests(name):
            for i in range(10):
                body = self.read(opener, peer, f"/{name}")
                self.assertEqual(body.partition(b" ")[2], f"/{name}".encode())

        def child():
            self.assertUse(handler, idle=0, in_use=0)
            resp.close()
            requests("child")

        peer, handler, opener = self.start(max_per_host=2)
        with self.open(opener, peer, "/open") as resp:
            self.read(opener, peer, "/parent")
            pid = http_peer.fork(child)
            requests("parent")
            self.assertEqual(resp.read(), b"0 /open")
            support.wait_process(pid, exitcode=0)
        self.assertEqual(handler.num_connections, 2)
        for number, received in peer.requests:
            self.assertEqual(number == 2, received.target == b"/child")


class ModuleTests(HandlerTestCase):

    def test_installed_opener(self):
        peer, handler, opener = self.start()
        urllib.request.install_opener(opener)
        self.addCleanup(urllib.request.install_opener, None)
        with urllib.request.urlopen(self.url(peer)) as resp:
            self.assertEqual(resp.read(), b"0 /")
        urllib.request.urlretrieve(self.url(peer, "/file"))
        self.addCleanup(urllib.request.urlcleanup)
        urllib.robotparser.RobotFileParser(self.url(peer)).read()
        self.assertCounts(handler, 1, 3)

    def test_handler_replaces_the_default_ones(self):
        for handler in (urllib.request.PersistentConnectionHandler,
                        self.handler()):
            opener = urllib.request.build_opener(handler)
            names = [type(handler).__name__ for handler in opener.handlers]
            self.assertIn("PersistentConnectionHandler", names)
            self.assertNotIn("HTTPHandler", names)
            self.assertNotIn("HTTPSHandler", names)


if __name__ == "__main__":
    unittest.main()
