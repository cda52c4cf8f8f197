"""Tests of urllib.request.PersistentConnectionHandler."""

import contextlib
import copy
import http.client
import io
import os
import pickle
import socket
import threading
import time
import unittest
import urllib.error
import urllib.request
import urllib.robotparser
import warnings
from test import http_peer, support
from test.http_peer import HOST, Peer, response, wait_readable
from test.support import script_helper, threading_helper
from unittest import mock

try:
    import ssl
except ImportError:
    ssl = None

support.requires_working_socket(module=True)

TIMEOUT = response(status=b"408 Request Timeout")
BASIC = b'WWW-Authenticate: Basic realm="r"'


def serve(link):
    """Answer each request with the connection's number and the target."""
    while received := link.request():
        head = received.method == b"HEAD"
        body = b"%d %s" % (link.number, received.target)
        link.send(response(b"" if head else body))


def sending(*answers):
    """Return a script that answers so many requests."""
    def script(link):
        for answer in answers:
            if link.request() is None:
                return
            link.send(answer)
        link.wait_closed()
    return script


def ending(*answers, end):
    """Return a script that receives one more request, and calls *end*."""
    def script(link):
        for answer in answers:
            link.request()
            link.send(answer)
        link.request()
        end(link)
    return script


def close(link):
    link.close()


def reset(link):
    link.reset()


FIRST = response(b"first")
UNFINISHED = response(b"0123456789")[:-1]


class Passwords(urllib.request.HTTPPasswordMgr):
    def find_user_password(self, realm, authuri):
        return "user", "secret"


class HandlerTestCase(http_peer.DestructorTestCase):

    tls = None

    def setUp(self):
        self.enterContext(mock.patch("urllib.request.proxy_bypass",
                                     return_value=False))

    def peer(self, *scripts, count=4):
        return self.enterContext(
            Peer(*(scripts or [serve] * count), tls=self.tls))

    def handler(self, peer=None, cls=None, **options):
        cls = cls or urllib.request.PersistentConnectionHandler
        if peer is not None and peer.tls is not None:
            options.setdefault("context", peer.client_context())
        handler = cls(**options)
        self.addCleanup(handler.close)
        return handler

    def opener(self, handler, *handlers, proxies={}):
        return urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), handler, *handlers)

    def start(self, *scripts, handlers=(), **options):
        """Start a server, and make a handler and an opener for it."""
        peer = self.peer(*scripts)
        handler = self.handler(peer, **options)
        return peer, handler, self.opener(handler, *handlers)

    def url(self, peer, path="/"):
        scheme = "http" if peer.tls is None else "https"
        return f"{scheme}://{HOST}:{peer.port}{path}"

    def open(self, opener, target, path="/", *, timeout=support.SHORT_TIMEOUT,
             **kwargs):
        url = target if isinstance(target, str) else self.url(target, path)
        return opener.open(urllib.request.Request(url, **kwargs),
                           timeout=timeout)

    def read(self, *args, **kwargs):
        with self.open(*args, **kwargs) as resp:
            return resp.read()

    def assertCounts(self, handler, connections, requests):
        self.assertEqual((handler.num_connections, handler.num_requests),
                         (connections, requests))


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
        for name, (method, answer) in http_peer.FRAMINGS.items():
            with self.subTest(name):
                peer, handler, opener = self.start(sending(answer, FIRST))
                try:
                    resp = self.open(opener, peer, method=method)
                except urllib.error.HTTPError as exc:
                    resp = exc
                with resp:
                    resp.read()
                self.assertEqual(self.read(opener, peer), b"first")
                self.assertCounts(handler, 1, 2)

    def test_connection_is_in_use_until_its_response_has_ended(self):
        peer, handler, opener = self.start()
        with self.open(opener, peer, "/first") as first:
            self.assertEqual((handler.in_use, handler.idle), (1, 0))
            self.assertEqual(self.read(opener, peer, "/second"), b"1 /second")
            self.assertEqual((handler.in_use, handler.idle), (1, 1))
            self.assertEqual(first.read(), b"0 /first")
            self.assertEqual((handler.in_use, handler.idle), (0, 2))

    def test_response_without_a_body_leaves_its_connection_at_once(self):
        answers = (response(), b"HTTP/1.1 204 No Content\r\n\r\n",
                   response(status=b"404 Not Found"))
        peer, handler, opener = self.start(sending(*answers))
        responses = [self.open(opener, peer), self.open(opener, peer)]
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.open(opener, peer)
        responses.append(caught.exception)
        self.assertCounts(handler, 1, 3)
        for resp in responses:
            self.assertGreaterEqual(resp.fileno(), 0)
            self.assertEqual(resp.read(), b"")
            resp.close()

    def test_response_without_a_body_does_not_keep_its_connection_open(self):
        closed = threading.Event()

        def script(link):
            link.answer()
            link.answer(b"last", b"Connection: close")
            link.wait_closed()
            closed.set()

        peer, _, opener = self.start(script)
        self.addCleanup(self.open(opener, peer).close)
        self.assertEqual(self.read(opener, peer), b"last")
        self.assertTrue(closed.wait(support.SHORT_TIMEOUT))

    def test_most_recently_used_connection_is_taken(self):
        peer, handler, opener = self.start()
        responses = [self.open(opener, peer) for _ in range(3)]
        for number in 2, 0, 1:
            responses[number].read()
        for _ in range(5):
            self.assertEqual(self.read(opener, peer), b"1 /")
        for resp in responses:
            resp.close()

    def test_unread_response_closes_connection(self):
        def give_up(resp):
            self.assertEqual(resp.read(1), b"0")
            resp.close()

        def collect(resp):
            del resp

        for end in give_up, collect:
            with self.subTest(end):
                peer, _, opener = self.start(sending(UNFINISHED), serve)
                end(self.open(opener, peer))
                support.gc_collect()
                peer.join()
                self.assertEqual(self.read(opener, peer, data=b""), b"1 /")

    def test_response_closed_early_but_received_leaves_connection(self):
        peer, _, opener = self.start()
        with self.open(opener, peer) as resp:
            resp.peek(10)
        self.assertEqual(self.read(opener, peer), b"0 /")

    def test_forged_response_in_a_body_is_not_used(self):
        answer = response(response(b"forged"), status=b"404 Not Found")
        peer, _, opener = self.start(sending(answer, response(b"1 /")), serve)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.open(opener, peer)
        caught.exception.close()
        self.assertEqual(self.read(opener, peer, data=b"x"), b"1 /")

    def test_response_that_cannot_be_followed(self):
        for name, answer in (
            ("close", response(b"", b"Connection: close")),
            ("old", b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ("max", response(b"", b"Keep-Alive: timeout=5, max=1")),
            ("length", response(b"", b"Content-Length: 1")),
            ("proxy", response(b"", b"Proxy-Connection: close")),
        ):
            with self.subTest(name):
                peer, _, opener = self.start(sending(answer), serve)
                self.read(opener, peer)
                peer.join()
                self.assertEqual(self.read(opener, peer), b"1 /")

    def test_request_that_asks_to_close(self):
        peer, _, opener = self.start()
        headers = {"Connection": "close"}
        self.assertEqual(self.read(opener, peer, headers=headers), b"0 /")
        peer.join()
        self.assertEqual(self.read(opener, peer), b"1 /")

    def test_timeout_is_that_of_the_request(self):
        peer, handler, opener = self.start()
        self.addCleanup(socket.setdefaulttimeout, socket.getdefaulttimeout())
        socket.setdefaulttimeout(7)
        for timeout, expected in ((10, 10), (None, None), (5.5, 5.5),
                                  (socket._GLOBAL_DEFAULT_TIMEOUT, 7)):
            with self.open(opener, peer, timeout=timeout) as resp:
                self.assertEqual(resp.fp.raw._sock.gettimeout(), expected)
        self.assertCounts(handler, 1, 4)

    def test_line_ends_before_a_response(self):
        peer, handler, opener = self.start(
            sending(FIRST + b"\r\n", b"\r\n" + FIRST))
        for _ in range(2):
            self.assertEqual(self.read(opener, peer), b"first")
        self.assertCounts(handler, 1, 2)

    def test_redirect_and_authentication_need_one_connection(self):
        found = response(b"elsewhere", b"Location: /next",
                         status=b"302 Found")
        denied = response(b"denied", BASIC, status=b"401 Unauthorized")
        basic = urllib.request.HTTPBasicAuthHandler(Passwords())
        peer, handler, opener = self.start(
            sending(found, denied, response(b"granted")), max_per_host=1,
            handlers=[basic])
        self.assertEqual(self.read(opener, peer), b"granted")
        self.assertCounts(handler, 1, 3)

    def test_repetition_after_the_last_response(self):
        basic = urllib.request.HTTPBasicAuthHandler(Passwords())
        for field in b"Proxy-Connection: close", b"Keep-Alive: max=0":
            denied = response(b"denied", BASIC, field,
                              status=b"401 Unauthorized")
            peer, handler, opener = self.start(sending(denied), serve,
                                               handlers=[basic])
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


class OpenedAgainTests(HandlerTestCase):
    """Handlers that open a URL while they process a response."""

    def check(self, code, choose, *scripts):
        class Handler(urllib.request.BaseHandler):
            def error(self, req, fp, code, msg, headers):
                # The response is still readable if the request is another.
                with self.parent.open(
                        choose(req), timeout=support.SHORT_TIMEOUT) as resp:
                    body = resp.read()
                self.rest = None if fp.isclosed() else fp.read()
                fp.close()
                return io.BytesIO(body)

        setattr(Handler, f"http_error_{code}", Handler.error)
        handler = Handler()
        first = response(b"denied", status=b"%d No" % code)
        peer, _, opener = self.start(sending(first), *scripts,
                                     handlers=[handler])
        body = self.read(opener, peer)
        return body, handler.rest

    def test_another_url(self):
        def choose(req):
            return req.full_url + "token"

        self.assertEqual(self.check(401, choose, serve),
                         (b"1 /token", b"denied"))

    def test_response_that_does_not_ask_for_credentials(self):
        self.assertEqual(self.check(404, lambda req: req, serve),
                         (b"1 /", b"denied"))

    def test_request_that_has_got_another_url(self):
        def choose(req):
            req.full_url = self.url(other)
            return req

        other = self.peer()
        self.assertEqual(self.check(401, choose), (b"0 /", None))


class ConnectionAuthenticationTests(HandlerTestCase):
    """Negotiate and NTLM authenticate a connection, not a request."""

    def test_connection_serves_one_user(self):
        class Handler(urllib.request.BaseHandler):
            def http_error_401(self, req, fp, code, msg, headers):
                step = len(peer.requests)
                req.add_unredirected_header("Authorization", f"NTLM {step}")
                return self.parent.open(req, timeout=req.timeout)

        step = response(b"no", b"WWW-Authenticate: NTLM abc",
                        status=b"401 Unauthorized")
        peer, handler, opener = self.start(
            sending(step, step, response(b"granted")), serve,
            handlers=[Handler])
        self.assertEqual(self.read(opener, peer), b"granted")
        peer.join()
        self.assertEqual(self.read(opener, peer), b"1 /")
        self.assertCounts(handler, 2, 4)

    def test_connection_stays_personal(self):
        class Handler(urllib.request.BaseHandler):
            def http_error_401(self, req, fp, code, msg, headers):
                req.add_unredirected_header("Authorization", next(schemes))
                return self.parent.open(req, timeout=req.timeout)

        schemes = iter(["Negotiate abc", "Basic def"])
        denied = response(b"no", status=b"401 Unauthorized")
        peer, handler, opener = self.start(
            sending(denied, denied, response(b"granted")), serve,
            handlers=[Handler])
        self.assertEqual(self.read(opener, peer), b"granted")
        self.assertEqual(self.read(opener, peer), b"1 /")

    def test_connection_is_kept_if_another_scheme_is_used(self):
        offer = response(b"no", b"WWW-Authenticate: Negotiate", BASIC,
                         status=b"401 Unauthorized")
        basic = urllib.request.HTTPBasicAuthHandler(Passwords())
        peer, handler, opener = self.start(
            sending(*[offer, response(b"granted")] * 5), handlers=[basic])
        for _ in range(5):
            self.assertEqual(self.read(opener, peer), b"granted")
        self.assertCounts(handler, 1, 10)


class DestinationTests(HandlerTestCase):
    """Which connections serve the same purpose."""

    def opening(self, cls=http.client.HTTPConnection, /, **options):
        return lambda handler, req: handler.do_open(cls, req, **options)

    def shares(self, *openings):
        """Return the number of the connection that serves each request."""
        class Handler(urllib.request.PersistentConnectionHandler):
            def http_open(self, req):
                return openings[int(req.selector[1:])](self, req)

        peer, _, opener = self.start(cls=Handler)
        return [int(self.read(opener, peer, f"/{i}").split()[0])
                for i in range(len(openings))]

    def test_class_and_options(self):
        class Connection(http.client.HTTPConnection):
            pass

        plain = self.opening()
        for different in (self.opening(Connection),
                          self.opening(blocksize=1000),
                          self.opening(source_address=(HOST, 0))):
            self.assertEqual(self.shares(plain, different, plain, different),
                             [0, 1, 0, 1])

    def test_option_that_cannot_be_compared(self):
        class Connection(http.client.HTTPConnection):
            def __init__(self, *args, path, **kwargs):
                super().__init__(*args, **kwargs)

        opening = self.opening(Connection, path=["a"])
        self.assertEqual(self.shares(opening, opening), [0, 1])

    def test_connection_that_overrides_connect(self):
        class Connection(http.client.HTTPConnection):
            def connect(self):
                self.sock = socket.create_connection(
                    (self.host, self.port), self.timeout)

        opening = self.opening(Connection)
        self.assertEqual(self.shares(opening, opening), [0, 0])

    def test_socket_of_another_class_serves_one_request(self):
        class Socket:
            def __init__(self, sock):
                self._sock = sock

            def __getattr__(self, name):
                return getattr(self._sock, name)

        class Connection(http.client.HTTPConnection):
            def connect(self):
                super().connect()
                self.sock = Socket(self.sock)

        opening = self.opening(Connection)
        self.assertEqual(self.shares(opening, opening), [0, 1])

    def test_hosts(self):
        class Connection(http.client.HTTPConnection):
            def connect(self):
                self.sock = socket.create_connection((HOST, peer.port))

        class Handler(urllib.request.PersistentConnectionHandler):
            def http_open(self, req):
                return self.do_open(Connection, req)

        peer = self.peer(count=7)
        opener = self.opener(self.handler(cls=Handler))
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
        class Handler(urllib.request.PersistentConnectionHandler):
            def https_open(self, req):
                return self.do_open(http.client.HTTPSConnection, req,
                                    context=contexts[req.selector])

        self.tls = ssl.TLSVersion.TLSv1_3
        peer, _, opener = self.start(cls=Handler)
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

    def check_not_sent_again(self, *scripts, error=ConnectionError, **kwargs):
        with self.assertRaises(error) as caught:
            self.send_second(*scripts, serve, **kwargs)
        self.assertEqual([number for number, _ in self.sent], [0])
        if isinstance(caught.exception, urllib.error.HTTPError):
            caught.exception.close()
        return caught.exception

    def test_idempotent_request_is_sent_again(self):
        for method in "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE":
            for end in close, reset:
                with self.subTest(method=method, end=end):
                    body = self.send_second(ending(FIRST, end=end), serve,
                                            method=method)
                    self.assertEqual(body,
                                     b"" if method == "HEAD" else b"1 /")
                    self.assertEqual(self.sent, [(0, b""), (1, b"")])

    def test_body_of_bytes_is_sent_again(self):
        self.send_second(ending(FIRST, end=close), serve, method="PUT",
                         data=b"body")
        self.assertEqual(self.sent, [(0, b"body"), (1, b"body")])

    def test_other_method_is_not_sent_again(self):
        for method in "POST", "PATCH":
            with self.subTest(method):
                self.check_not_sent_again(ending(FIRST, end=close),
                                          method=method, data=b"pay")

    def test_other_body_is_not_sent_again(self):
        for data in io.BytesIO(b"body"), [b"bo", b"dy"], iter([b"body"]):
            with self.subTest(type(data)):
                self.check_not_sent_again(ending(FIRST, end=close),
                                          method="PUT", data=data)

    def test_request_is_sent_twice_at_most(self):
        with self.assertRaises(ConnectionError):
            self.send_second(ending(FIRST, end=close), ending(end=close),
                             serve)
        self.assertEqual([number for number, _ in self.sent], [0, 1])

    def test_not_over_a_connection_that_was_new(self):
        peer, handler, opener = self.start(ending(end=close), serve)
        with self.assertRaises(ConnectionError):
            self.read(opener, peer)
        self.assertCounts(handler, 1, 1)

    def test_not_over_a_connection_that_replaced_another(self):
        def once(link):
            link.answer(b"first")
            link.close()

        peer, _, opener = self.start(once, ending(end=close), serve)
        with self.open(opener, peer) as resp:
            sock = resp.fp.raw._sock
            resp.read()
            wait_readable(sock)
            with self.assertRaises(ConnectionError):
                self.read(opener, peer)
        self.assertEqual(peer.accepted, 2)

    def test_not_after_the_first_byte(self):
        def one_byte(link):
            link.send(b"H")
            link.close()

        self.check_not_sent_again(ending(FIRST, end=one_byte),
                                  error=http.client.HTTPException)

    def test_not_after_an_interim_response(self):
        def interim(link):
            link.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            link.close()

        self.check_not_sent_again(ending(FIRST, end=interim))

    def test_body_that_fails_is_not_sent_again(self):
        # The error looks like that of a connection over which nothing is sent.
        def body():
            yield b"some"
            raise http.client.RemoteDisconnected("from the body")

        with self.assertRaisesRegex(urllib.error.URLError, "from the body"):
            self.send_second(sending(FIRST), serve, method="PUT", data=body())
        self.assertEqual(self.sent, [])

    def test_not_after_a_timeout(self):
        def silent(link):
            link.wait_closed()

        self.check_not_sent_again(ending(FIRST, end=silent), timeout=0.01,
                                  error=TimeoutError)

    def test_408(self):
        script = sending(FIRST, TIMEOUT)
        self.assertEqual(self.send_second(script, serve), b"1 /")
        error = self.check_not_sent_again(script, data=b"pay",
                                          error=urllib.error.HTTPError)
        self.assertEqual(error.code, 408)

    def test_408_over_a_connection_that_was_new(self):
        peer, handler, opener = self.start(sending(TIMEOUT), serve)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.open(opener, peer)
        caught.exception.close()
        self.assertEqual(caught.exception.code, 408)
        self.assertCounts(handler, 1, 1)
        self.assertEqual(handler.idle, 0)

    def test_end_of_an_idle_connection_loses_nothing(self):
        # The end is noticed before anything is sent.
        ends = {
            "FIN": close,
            "RST": reset,
            "408": lambda link: link.send(TIMEOUT),
            "forged response": lambda link: link.send(response(b"forged")),
        }
        for name, end in ends.items():
            def script(link):
                link.answer(b"first")
                go_on.wait(support.SHORT_TIMEOUT)
                end(link)
                link.wait_closed()

            go_on = threading.Event()
            with self.subTest(name):
                peer, handler, opener = self.start(script, serve)
                with self.open(opener, peer) as resp:
                    sock = resp.fp.raw._sock
                    self.assertEqual(resp.read(), b"first")
                    go_on.set()
                    wait_readable(sock)
                    data = iter([b"on", b"ce"])
                    with self.open(opener, peer, data=data,
                                   timeout=33) as second:
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

    def test_idle_timeout(self):
        for seconds, options, kept in (
            (8, {"idle_timeout": 10}, True),
            (11, {"idle_timeout": 10}, False),
            (0, {"idle_timeout": 0}, False),
            (1e6, {}, True),
            (8, {"max_age": 10}, True),
            (11, {"max_age": 10}, False),
            (0, {"max_age": 0}, False),
            (8, {"max_age": 10, "idle_timeout": 5}, False),
        ):
            with self.subTest(seconds=seconds, options=options):
                self.assertEqual(self.is_kept(seconds, **options), kept)

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

    def test_timeout_of_0_beside_keep_alive_says_nothing(self):
        # Node.js rounds down.
        self.assertTrue(self.is_kept(100, b"Keep-Alive: timeout=0",
                                     b"Connection: keep-alive"))

    def test_shorter_limit_decides(self):
        header = b"Keep-Alive: timeout=5"
        self.assertFalse(self.is_kept(4.5, header, idle_timeout=10))
        self.assertFalse(self.is_kept(2.5, header, idle_timeout=2))
        self.assertTrue(self.is_kept(1, header, idle_timeout=2))

    def test_unused_connections_are_closed_by_the_next_request(self):
        peer, handler, opener = self.start(idle_timeout=10)
        with self.open(opener, peer) as first:
            with self.open(opener, peer) as second:
                first.read()
                second.read()
        for _ in range(3):
            self.let_pass(6)
            self.assertEqual(self.read(opener, peer), b"1 /")
        self.let_pass(11)
        with self.open(opener, peer):
            self.assertEqual((handler.idle, handler.in_use), (0, 1))


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

    def test_max_idle_of_0(self):
        peer, handler, opener = self.start(max_idle=0)
        self.assertEqual(self.read(opener, peer), b"0 /")
        peer.join()
        self.assertEqual(self.read(opener, peer), b"1 /")

    @threading_helper.requires_working_threading()
    def test_request_waits_for_a_connection(self):
        for first_answer, body in ((FIRST, b"second"), (UNFINISHED, b"1 /")):
            with self.subTest(body):
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

    def test_failed_request_is_not_counted_as_in_use(self):
        def garbage(link):
            link.send(b"garbage\r\n\r\n")
            link.close()

        peer, handler, opener = self.start(
            ending(end=close), ending(end=garbage),
            lambda link: link.wait_closed(), serve, max_per_host=1)
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

    def test_response_that_is_lost(self):
        peer, handler, opener = self.start(sending(UNFINISHED), serve,
                                           max_per_host=1)
        self.open(opener, peer)
        support.gc_collect()
        self.assertEqual(handler.in_use, 0)
        self.assertEqual(self.read(opener, peer), b"1 /")

    @support.cpython_only
    def test_repetition_makes_no_reference_cycle(self):
        peer, handler, opener = self.start(ending(FIRST, end=close), serve)
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

        class Handler(urllib.request.PersistentConnectionHandler):
            def http_open(self, req):
                return self.do_open(Connection, req, option=Option())

        open_responses = []
        peer, handler, opener = self.start(cls=Handler, max_idle=1)
        open_responses.append(self.open(opener, peer))
        with self.open(opener, peer) as resp:
            resp.read()
        self.assertEqual(self.read(opener, peer)[-1:], b"/")
        self.assertEqual(open_responses, [])
        self.assertEqual((handler.idle, handler.in_use), (1, 0))

    def test_arguments(self):
        cls = urllib.request.PersistentConnectionHandler
        for options in ({"max_idle": -1}, {"max_per_host": 0},
                        {"idle_timeout": -1}, {"max_age": -1},
                        {"idle_timeout": float("nan")}):
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
        with self.open(opener, peer, "/path") as resp:
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
        idle = self.open(opener, peer)
        resp = self.open(opener, peer, "/path")
        with idle, resp:
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

    def proxied(self, peer, scheme, userinfo="", **options):
        handler = self.handler(**options)
        return handler, self.opener(handler, proxies={
            scheme: f"http://{userinfo}{HOST}:{peer.port}"})

    def test_forward_proxy(self):
        peer = self.peer()
        handler, opener = self.proxied(peer, "http")
        for url in "http://a.example/", "http://b.example/":
            self.assertEqual(self.read(opener, url), b"0 " + url.encode())
            self.assertEqual(peer.requests[-1][1].headers["Host"],
                             url.split("/")[2])

    def test_way_to_a_host_is_part_of_its_destination(self):
        one, two, direct = [self.peer() for _ in range(3)]
        handler = self.handler()
        for _ in range(2):
            for peer in one, two, None:
                proxies = {}
                if peer is not None:
                    proxies["http"] = f"http://{HOST}:{peer.port}"
                self.read(self.opener(handler, proxies=proxies), direct)
        self.assertEqual([peer.accepted for peer in (one, two, direct)],
                         [1, 1, 1])

    def tunnel(self, script=serve):
        def tunnelling(link):
            link.answer()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(http_peer.CERTFILE)
            link.start_tls(context)
            script(link)
        return tunnelling

    def tunnelled(self, peer, **options):
        context = ssl.create_default_context(cafile=http_peer.CERTFILE)
        return self.proxied(peer, "https", "user:secret@", context=context,
                            **options)

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_tunnel(self):
        peer = self.peer(self.tunnel(), self.tunnel())
        handler, opener = self.tunnelled(peer)
        for port, body in ((443, b"0 /"), (444, b"1 /"), (443, b"0 /")):
            self.assertEqual(self.read(opener, f"https://localhost:{port}/"),
                             body)
        self.assertEqual([received.target for _, received in peer.requests],
                         [b"localhost:443", b"/", b"localhost:444", b"/",
                          b"/"])
        for _, received in peer.requests:
            self.assertEqual("Proxy-Authorization" in received.headers,
                             received.method == b"CONNECT")

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_tunnel_belongs_to_a_user_of_the_proxy(self):
        peer = self.peer(self.tunnel(), self.tunnel())
        handler, _ = self.tunnelled(peer)
        for number, user in enumerate(("one", "two")):
            opener = self.opener(handler, proxies={
                "https": f"http://{user}:secret@{HOST}:{peer.port}"})
            for _ in range(2):
                self.assertEqual(self.read(opener, "https://localhost/"),
                                 b"%d /" % number)

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_tunnel_that_ends_while_idle(self):
        def once(link):
            link.answer(b"first")
            link.close()

        peer = self.peer(self.tunnel(once), self.tunnel())
        handler, opener = self.tunnelled(peer)
        with self.open(opener, "https://localhost/") as resp:
            sock = resp.fp.raw._sock
            self.assertEqual(resp.read(), b"first")
            wait_readable(sock)
        self.assertEqual(self.read(opener, "https://localhost/", data=b"x"),
                         b"1 /")
        self.assertEqual([received.method for _, received in peer.requests],
                         [b"CONNECT", b"GET", b"CONNECT", b"POST"])

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_proxy_that_closes_before_anything_is_sent(self):
        def once(link):
            link.answer(b"first")
            link.close()

        peer = self.peer(ending(end=close), self.tunnel(once),
                         ending(end=close), self.tunnel())
        handler, opener = self.tunnelled(peer)
        # The request is not tried again if the connection was new.
        with self.assertRaises(urllib.error.URLError):
            self.open(opener, "https://localhost/")
        self.assertEqual(peer.accepted, 1)
        with self.open(opener, "https://localhost/") as resp:
            sock = resp.fp.raw._sock
            resp.read()
            wait_readable(sock)
        self.assertEqual(self.read(opener, "https://localhost/", data=b"x"),
                         b"3 /")
        self.assertEqual([received.method for _, received in peer.requests],
                         [b"CONNECT", b"CONNECT", b"GET", b"CONNECT",
                          b"CONNECT", b"POST"])

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_tunnel_that_fails_is_not_counted_as_in_use(self):
        def broken(link):
            link.answer()
            link.send(b"not TLS")
            link.wait_closed()

        denied = response(b"denied", status=b"407 Authenticate")
        peer = self.peer(sending(denied), broken, self.tunnel())
        handler, opener = self.tunnelled(peer, max_per_host=1)
        for _ in range(2):
            with self.assertRaises(urllib.error.URLError):
                self.open(opener, "https://localhost/")
            self.assertEqual(handler.in_use, 0)
        self.assertEqual(self.read(opener, "https://localhost/"), b"2 /")


@threading_helper.requires_working_threading()
class ThreadTests(HandlerTestCase):

    THREADS = 4
    REQUESTS = 20

    def run_threads(self, function):
        def run(number):
            try:
                function(number)
            except BaseException as exc:
                errors.append(exc)

        errors = []
        threads = [threading.Thread(target=run, args=(number,))
                   for number in range(self.THREADS)]
        with threading_helper.start_threads(threads):
            pass
        if errors:
            raise errors[0]

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
        # The target says what the server does.
        kinds = ("plain", "truncated", "reset", "408", "close", "idle")

        def script(link):
            while received := link.request():
                kind = received.target.rpartition(b"/")[2]
                answer = response(received.target)
                if kind == b"reset":
                    return link.reset()
                if kind == b"408":
                    answer = TIMEOUT
                elif kind == b"truncated":
                    answer = answer[:-1]
                elif kind == b"close":
                    answer = response(received.target, b"Connection: close")
                link.send(answer)
                if kind != b"plain":
                    return link.close()

        def requests(number):
            for i in range(self.REQUESTS):
                kind = kinds[(i + number) % len(kinds)]
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
class ForkTests(HandlerTestCase):

    def fork(self, function):
        """Run *function* in a child process."""
        with warnings.catch_warnings():
            # The server has threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            status = 1
            try:
                function()
                status = 0
            finally:
                os._exit(status)
        return pid

    def check(self, tls=None):
        def requests(name):
            for i in range(10):
                body = self.read(opener, peer, f"/{name}")
                self.assertEqual(body.partition(b" ")[2], f"/{name}".encode())

        def child():
            self.assertEqual((handler.idle, handler.in_use), (0, 0))
            resp.close()
            requests("child")

        self.tls = tls
        peer, handler, opener = self.start(max_per_host=2)
        with self.open(opener, peer, "/open") as resp:
            self.read(opener, peer, "/parent")
            pid = self.fork(child)
            requests("parent")
            self.assertEqual(resp.read(), b"0 /open")
            support.wait_process(pid, exitcode=0)
        self.assertEqual(handler.num_connections, 2)
        for number, received in peer.requests:
            self.assertEqual(number == 2, received.target == b"/child")

    def test_child_leaves_the_connections_of_the_parent_alone(self):
        self.check()

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_child_over_tls(self):
        self.check(ssl.TLSVersion.TLSv1_3)


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
