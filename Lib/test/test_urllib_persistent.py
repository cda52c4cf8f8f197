"""PersistentConnectionHandler keeps connections from one request to the next
(gh-53949)."""

import contextlib
import copy
import gc
import http.client
import io
import itertools
import os
import pickle
import random
import socket
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
import urllib.robotparser
import warnings
import weakref
from test import http_peer, support
from test.http_peer import HOST, Peer, response, wait_readable
from test.support import script_helper, threading_helper
from unittest import mock

try:
    import ssl
except ImportError:
    ssl = None

support.requires_working_socket(module=True)

TIMEOUT = response(b"", status=b"408 Request Timeout")


def serve(link):
    """Tell who is asked for what, until the client hangs up."""
    while received := link.request():
        body = b"" if received.method == b"HEAD" else b"%d %s" % (
            link.number, received.target)
        link.send(response(body))


def gone(link):
    """Serve one request, and go when the next one was read."""
    link.answer(b"first")
    link.request()
    link.close()


def count_waiting(pool):
    with pool._lock:
        return sum(len(kind.waiting) for kind in pool._kinds.values())


def wait_for_waiting(pool, count):
    for _ in support.sleeping_retry(support.SHORT_TIMEOUT):
        if count_waiting(pool) == count:
            return


def drop(link):
    """Receive a request, and go."""
    link.request()
    link.close()


def unfinished(link):
    """Send a response without its end."""
    link.request()
    link.send(response(b"0123456789")[:-1])
    link.wait_closed()


class PersistentTestCase(http_peer.DestructorTestCase):

    tls = None

    def setUp(self):
        self.enterContext(mock.patch("urllib.request.proxy_bypass",
                                     return_value=False))

    def peer(self, *scripts, count=4):
        return Peer(*(scripts or [serve] * count), tls=self.tls)

    def url(self, peer, path="/"):
        if "://" in path:
            return path
        scheme = "http" if peer.tls is None else "https"
        return f"{scheme}://{HOST}:{peer.port}{path}"

    def opener(self, peer, *handlers, proxies={}, **options):
        """Return an opener, with the new handler as self.handler."""
        if peer is not None and peer.tls is not None:
            options.setdefault("context", peer.client_context())
        self.handler = urllib.request.PersistentConnectionHandler(**options)
        self.addCleanup(self.handler.close)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), self.handler, *handlers)
        self.peer_of = peer
        return opener

    def open(self, opener, path="/", peer=None, *,
             timeout=support.SHORT_TIMEOUT, **kwargs):
        url = self.url(peer or self.peer_of, path)
        request = urllib.request.Request(url, **kwargs)
        return opener.open(request, timeout=timeout)

    def read(self, *args, **kwargs):
        with self.open(*args, **kwargs) as resp:
            return resp.read()

    def assertCounts(self, connections, requests):
        self.assertEqual((self.handler.num_connections,
                          self.handler.num_requests), (connections, requests))

    def run_code(self, code, *args):
        # It is to import what is tested here, wherever that was found.
        library = os.path.dirname(os.path.dirname(urllib.request.__file__))
        options = {"__isolated": False, "PYTHONPATH": library}
        return script_helper.assert_python_ok(
            "-X", "dev", "-W", "error", "-c", code, *args, **options)


@http_peer.over_tls
class ReuseTests(PersistentTestCase):

    def test_example_of_two_requests(self):
        with self.peer() as peer:
            opener = self.opener(peer)
            for path in "/one", "/two":
                with opener.open(self.url(peer, path)) as resp:
                    self.assertEqual(resp.read(), b"0 " + path.encode())
            with support.captured_stdout() as stdout:
                print("Number of Connections:", self.handler.num_connections)
                print("Number of requests:", self.handler.num_requests)
            self.assertEqual(stdout.getvalue(), "Number of Connections: 1\n"
                                                "Number of requests: 2\n")
            self.assertEqual(peer.accepted, 1)

    def test_methods(self):
        with self.peer() as peer:
            opener = self.opener(peer)
            for method in "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH":
                body = b"body" if method in ("POST", "PUT") else None
                self.read(opener, method=method, data=body)
                self.assertEqual(peer.requests[-1][1].method, method.encode())
                self.assertEqual(peer.requests[-1][1].body, body or b"")
            self.assertCounts(1, 6)

    def test_response_is_as_ever(self):
        with self.peer() as peer:
            opener = self.opener(peer)
            for _ in range(2):
                with self.open(opener, "/path") as resp:
                    self.assertIsInstance(resp, http.client.HTTPResponse)
                    self.assertEqual(resp.url, self.url(peer, "/path"))
                    self.assertEqual((resp.status, resp.msg), (200, "OK"))
                    self.assertEqual(resp.read(1), b"0")
                    self.assertEqual(resp.read(), b" /path")
                    self.assertEqual(resp.read(), b"")
                    self.assertFalse(resp.closed)
            self.assertNotIn("Connection", peer.requests[0][1].headers)
            self.assertCounts(1, 2)

    def test_read_response_outlives_its_connection(self):
        with self.peer() as peer:
            opener = self.opener(peer, max_idle=1)
            first = self.open(opener)
            self.assertEqual(first.read(), b"0 /")
            self.read(opener)
            self.handler.close()
            self.assertEqual(first.read(), b"")
            self.assertFalse(first.closed)
            first.close()

    def test_connection_is_out_while_its_response_is_open(self):
        with self.peer() as peer:
            opener = self.opener(peer)
            first = self.open(opener, "/first")
            self.assertEqual(self.read(opener, "/second"), b"1 /second")
            self.assertEqual(first.read(), b"0 /first")
            first.close()
            self.assertCounts(2, 2)

    def test_most_recently_used_first(self):
        with self.peer() as peer:
            opener = self.opener(peer)
            responses = [self.open(opener, f"/{i}") for i in range(3)]
            for number in 2, 0, 1:
                responses[number].read()
            for _ in range(5):
                self.assertEqual(self.read(opener), b"1 /")
            self.assertCounts(3, 8)
            for resp in responses:
                resp.close()

    def test_without_a_body(self):
        def script(link):
            for answer in (response(b""),
                           b"HTTP/1.1 204 No Content\r\n\r\n",
                           response(b"", status=b"404 Not Found")):
                link.request()
                link.send(answer)

        with self.peer(script) as peer:
            opener = self.opener(peer)
            responses = [self.open(opener), self.open(opener)]
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.open(opener)
            responses.append(caught.exception)
            # None of them was read or closed.
            self.assertCounts(1, 3)
            for resp in responses:
                self.assertEqual(resp.read(), b"")
                resp.close()

    def test_closed_before_its_end(self):
        with self.peer(unfinished, serve) as peer:
            opener = self.opener(peer)
            with self.open(opener) as resp:
                self.assertEqual(resp.read(1), b"0")
            peer.join()
            self.assertEqual(self.read(opener, data=b"body"), b"1 /")

    def test_closed_with_nothing_left_to_receive(self):
        with self.peer() as peer:
            opener = self.opener(peer)
            with self.open(opener) as resp:
                self.assertEqual(resp.read(1), b"0")
                resp.peek(10)
            self.assertEqual(self.read(opener), b"0 /")

    def test_collected(self):
        with self.peer(unfinished, serve) as peer:
            opener = self.opener(peer)
            resp = self.open(opener)
            del resp
            support.gc_collect()
            peer.join()
            self.assertEqual(self.read(opener, data=b"body"), b"1 /")

    def test_error_that_is_not_read(self):
        def script(link):
            link.request()
            link.send(response(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
                               b"forged", status=b"404 Not Found"))
            if link.request():
                link.send(response(b"0 /"))

        with self.peer(script, serve) as peer:
            opener = self.opener(peer)
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.open(opener)
            caught.exception.close()
            del caught
            support.gc_collect()
            self.assertRegex(self.read(opener, data=b"body"), b"[01] /")

    def test_server_closes(self):
        def closes(link):
            link.answer(b"bye", b"Connection: close")
            link.wait_closed()

        def old(link):
            link.request()
            link.send(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
            link.wait_closed()

        def at_the_end(link):
            link.request()
            link.send(b"HTTP/1.1 200 OK\r\n\r\nend")
            link.close()

        with self.peer(closes, old, at_the_end, serve) as peer:
            opener = self.opener(peer)
            for body in b"bye", b"old", b"end", b"3 /":
                self.assertEqual(self.read(opener), body)
            self.assertCounts(4, 4)

    def test_header_of_the_user(self):
        with self.peer() as peer:
            opener = self.opener(peer)
            headers = {"Connection": "close"}
            self.assertEqual(self.read(opener, headers=headers), b"0 /")
            self.assertEqual(peer.requests[0][1].headers["Connection"],
                             "close")
            peer.join()
            self.assertEqual(self.read(opener), b"1 /")

    def test_timeout_is_that_of_the_request(self):
        with self.peer() as peer:
            opener = self.opener(peer)
            for timeout in 10, 5.5, None, 10:
                with self.open(opener, timeout=timeout) as resp:
                    self.assertEqual(resp.fp.raw._sock.gettimeout(), timeout)
            self.assertCounts(1, 4)

    def test_timeout_by_default(self):
        self.addCleanup(socket.setdefaulttimeout, socket.getdefaulttimeout())
        with self.peer() as peer:
            opener = self.opener(peer)
            self.read(opener, timeout=10)
            for timeout in 5.5, None:
                socket.setdefaulttimeout(timeout)
                with opener.open(self.url(peer)) as resp:
                    self.assertEqual(resp.fp.raw._sock.gettimeout(), timeout)
            self.assertCounts(1, 3)

    def test_redirects_and_authentication(self):
        def script(link):
            link.answer(b"first")
            link.request()
            link.send(response(b"elsewhere", b"Location: /next",
                               status=b"302 Found"))
            link.request()
            link.send(response(
                b"denied", b'WWW-Authenticate: Basic realm="r"',
                status=b"401 Unauthorized"))
            link.answer(b"granted")
            link.answer(b"last")

        passwords = mock.Mock(spec=["find_user_password", "add_password"])
        passwords.find_user_password.return_value = "user", "secret"
        with self.peer(script) as peer:
            # One connection is enough, although each response leads to the
            # next request before it has been read.
            opener = self.opener(
                peer, urllib.request.HTTPBasicAuthHandler(passwords),
                max_per_host=1)
            for body in b"first", b"granted", b"last":
                self.assertEqual(self.read(opener), body)
            self.assertCounts(1, 5)

    def test_redirect_to_another_server(self):
        with self.peer() as other:
            def script(link):
                link.request()
                link.send(response(b"x" * 200_000, status=b"302 Found", *[
                    b"Location: " + self.url(other, "/next").encode()]))
                serve(link)

            self.enterContext(mock.patch("urllib._lease._DRAIN_TIME",
                                         support.SHORT_TIMEOUT))
            with self.peer(script) as peer:
                context = peer.client_context() if self.tls else None
                opener = self.opener(other, context=context)
                self.assertEqual(self.read(opener, peer=peer), b"0 /next")
                self.assertEqual(self.read(opener, peer=peer), b"0 /")
                self.assertEqual(self.read(opener, peer=other), b"0 /")
                self.assertCounts(2, 4)

    def test_connection_that_is_authenticated_itself(self):
        # Another request must not be made in the name of its user.
        class Handler(urllib.request.BaseHandler):
            def http_error_401(self, req, fp, code, msg, headers):
                step = len(peer.requests)
                req.add_unredirected_header("Authorization",
                                            f"Negotiate {step}")
                return self.parent.open(req, timeout=req.timeout)

        def script(link):
            for _ in range(2):
                link.request()
                link.send(response(b"", b"WWW-Authenticate: Negotiate abc",
                                   status=b"401 Unauthorized"))
            link.answer(b"granted")
            link.wait_closed()

        with self.peer(script, serve) as peer:
            opener = self.opener(peer, Handler)
            self.assertEqual(self.read(opener), b"granted")
            self.assertEqual(self.read(opener), b"1 /")
            self.assertEqual(self.read(opener), b"1 /")
            self.assertCounts(2, 5)

    def test_challenge_for_the_connection_is_enough(self):
        def script(link):
            link.request()
            link.send(response(b"denied", b"WWW-Authenticate: Basic, NTLM",
                               status=b"401 Unauthorized"))
            link.wait_closed()

        with self.peer(script, serve) as peer:
            opener = self.opener(peer)
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.open(opener)
            with caught.exception as error:
                self.assertEqual(error.read(), b"denied")
            self.assertEqual(self.read(opener), b"1 /")

    def test_check_hostname(self):
        if self.tls is None:
            self.skipTest("only for encrypted connections")
        with self.peer() as peer:
            for check in True, False:
                opener = self.opener(peer, check_hostname=check)
                url = f"https://127.0.0.1:{peer.port}/"
                if check:
                    with self.assertRaises(urllib.error.URLError):
                        self.open(opener, url)
                else:
                    self.assertEqual(self.read(opener, url), b"1 /")
                    self.assertEqual(self.read(opener, url), b"1 /")

    def test_context_changed(self):
        if self.tls is None:
            self.skipTest("only for encrypted connections")
        with self.peer() as peer:
            context = peer.client_context()
            opener = self.opener(peer, context=context)
            self.assertEqual(self.read(opener), b"0 /")
            context.check_hostname = False
            self.assertEqual(self.read(opener), b"1 /")
            context.verify_mode = ssl.CERT_NONE
            self.assertEqual(self.read(opener), b"2 /")
            self.assertEqual(self.read(opener), b"2 /")

    def test_debuglevel(self):
        # It tells why a connection is let go.
        def answered(*headers, status=b"200 OK"):
            def script(link):
                link.answer(b"first", *headers, status=status)
                link.wait_closed()
            return script

        for script, options, why in (
            (serve, {}, "the pool is closed"),
            (serve, {"max_idle": 0}, "too many are idle"),
            (serve, {"idle_timeout": 0}, "it is not to be idle"),
            (answered(b"Connection: close"), {}, "the server"),
            (answered(b"Keep-Alive: max=1"), {}, "this was .* the last"),
            (answered(b"A: b", b"Content-Length: 6"), {}, "the server"),
            (answered(b"WWW-Authenticate: NTLM", status=b"407 Use This"), {},
             "it is authenticated for one user"),
            (unfinished, {}, "the server or the end"),
            (gone, {}, "it ended before a response began"),
        ):
            with self.subTest(why), self.peer(script, serve) as peer:
                opener = self.opener(peer, debuglevel=1, **options)
                with support.captured_stdout() as stdout:
                    for _ in range(2):
                        try:
                            self.open(opener).close()
                        except urllib.error.HTTPError as exc:
                            exc.close()
                    self.handler.close()
                self.assertRegex(stdout.getvalue(),
                                 f"(?m)^close: {HOST}:{peer.port}, {why}")


class DestinationTests(PersistentTestCase):
    """Which connections serve the same purpose."""

    def shares(self, *openings, count=None):
        """Return by which connection each request is served.

        *openings* are functions of the handler and a Request.
        """
        class Handler(urllib.request.PersistentConnectionHandler):
            def http_open(self, req):
                return openings[int(req.selector[1:])](self, req)

        with self.peer(count=count or len(openings)) as peer:
            with Handler() as handler:
                opener = urllib.request.build_opener(
                    urllib.request.ProxyHandler({}), handler)
                bodies = [self.read(opener, f"/{i}", peer)
                          for i in range(len(openings))]
                self.assertEqual(handler.num_connections, peer.accepted)
                self.assertEqual(handler.num_requests, len(openings))
        return [int(body.split()[0]) for body in bodies]

    def opening(self, cls=http.client.HTTPConnection, /, **options):
        return lambda handler, req: handler.do_open(cls, req, **options)

    def test_options(self):
        class Connection(http.client.HTTPConnection):
            pass

        class Old(http.client.HTTPConnection):
            _http_vsn = 10
            _http_vsn_str = "HTTP/1.0"

        plain = self.opening()
        for different in (self.opening(Connection), self.opening(Old),
                          self.opening(blocksize=1000),
                          self.opening(source_address=(HOST, 0))):
            with self.subTest(different):
                self.assertEqual(
                    self.shares(plain, different, plain, different),
                    [0, 1, 0, 1])

    def test_option_that_cannot_be_compared(self):
        class Connection(http.client.HTTPConnection):
            def __init__(self, *args, path, **kwargs):
                super().__init__(*args, **kwargs)

        opening = self.opening(Connection, path=["a"])
        self.assertEqual(self.shares(opening, opening), [0, 1])
        with self.peer() as peer:
            opener = self.opener(peer, max_per_host=1)
            self.handler.http_open = lambda req: opening(self.handler, req)
            with self.open(opener) as first, self.open(opener) as second:
                self.assertEqual(first.read(), b"0 /")
                self.assertEqual(second.read(), b"1 /")
                # Nobody else could use them.
                peer.join()

    def test_function(self):
        # It may give something else to each connection that it makes, as a
        # certificate of the client.
        def made(**attributes):
            def make(host, **options):
                conn = http.client.HTTPConnection(host, **options)
                vars(conn).update(attributes)
                return conn
            return self.opening(make)

        for name, one, two in (("path", "/a", "/b"), ("_http_vsn", 11, 10),
                               ("source_address", None, (HOST, 0)),
                               ("_context", object(), object())):
            with self.subTest(name):
                self.assertEqual(self.shares(made(**{name: one}),
                                             made(**{name: two})), [0, 1])

    def test_connection_that_is_open_already(self):
        class Connection(http.client.HTTPConnection):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.connect()

        opening = self.opening(Connection)
        self.assertEqual(self.shares(opening, opening), [0, 1])

    def test_something_that_is_no_connection(self):
        class Connection:
            def __init__(self, *args, **kwargs):
                self.conn = http.client.HTTPConnection(*args, **kwargs)

            def __getattr__(self, name):
                return getattr(self.conn, name)

        opening = self.opening(Connection)
        self.assertEqual(self.shares(opening, opening), [0, 1])

    def test_hosts(self):
        def create(address, *args):
            return socket.create_connection((HOST, peer.port), *args)

        class Connection(http.client.HTTPConnection):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self._create_connection = create

        with self.peer(count=9) as peer:
            opener = self.opener(None)
            self.handler.http_open = lambda req: self.handler.do_open(
                Connection, req)
            for number, url in (
                (0, "http://a.example/"), (0, "http://A.Example/"),
                (0, "http://a.example:80/"), (1, "http://a.example:81/"),
                # Names are not resolved, and addresses are not normalized.
                (2, "http://a.example./"), (3, "http://b.example/"),
                (4, "http://[fe80::a]/"), (4, "http://[FE80::A]/"),
                (5, "http://[fe80:0::a]/"), (6, "http://[fe80::a%251]/"),
                (7, "http://[fe80::a%252]/"), (8, "http://xn--bcher-kva.x/"),
                (0, "http://a.example/"),
            ):
                with self.subTest(url):
                    body = self.read(opener, url)
                    self.assertEqual(int(body.split()[0]), number)

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_contexts(self):
        class Handler(urllib.request.PersistentConnectionHandler):
            def https_open(self, req):
                return self.do_open(lambda host, timeout: (
                    http.client.HTTPSConnection(host, timeout=timeout,
                                                context=req.context)), req)

        with Peer(serve, serve, serve, tls=ssl.TLSVersion.TLSv1_3) as peer:
            contexts = [peer.client_context() for _ in range(2)]
            with Handler() as handler:
                opener = urllib.request.build_opener(
                    urllib.request.ProxyHandler({}), handler)
                for number in 0, 1, 0, 1:
                    req = urllib.request.Request(self.url(peer))
                    req.context = contexts[number]
                    with opener.open(req) as resp:
                        self.assertEqual(resp.read(), b"%d /" % number)
                # One that does not trust the server.
                req.context = ssl.create_default_context()
                with self.assertRaises(urllib.error.URLError):
                    opener.open(req)


@http_peer.over_tls
class SentAgainTests(PersistentTestCase):

    def check(self, *scripts, path="/", **kwargs):
        """Return what the request after a first one returns."""
        with self.peer(*scripts) as peer:
            opener = self.opener(peer)
            self.assertEqual(self.read(opener, "/first"), b"first")
            try:
                return self.read(opener, path, **kwargs)
            finally:
                self.sent = [(number, received.body) for number, received
                             in peer.requests[1:]]

    def check_error(self, errors, *scripts, sent, **kwargs):
        with self.assertRaises(errors) as caught:
            self.check(*scripts, **kwargs)
        self.assertEqual([number for number, _ in self.sent], sent)
        return caught.exception

    def test_idempotent(self):
        for method in "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE":
            with self.subTest(method):
                body = self.check(gone, serve, method=method)
                self.assertEqual(body, b"" if method == "HEAD" else b"1 /")
                self.assertEqual(self.sent, [(0, b""), (1, b"")])
                self.assertCounts(2, 2)

    def test_post_is_not_sent_again(self):
        for method in "POST", "PATCH":
            self.check_error(ConnectionError, gone, serve, sent=[0],
                             method=method, data=b"pay")
            self.assertEqual(self.sent, [(0, b"pay")])

    def test_fresh_connection_is_not_replaced(self):
        with self.peer(drop) as peer:
            opener = self.opener(peer)
            with self.assertRaises(ConnectionError):
                self.read(opener)
            self.assertCounts(1, 1)

    def test_once(self):
        self.check_error(ConnectionError, gone, drop, serve, sent=[0, 1])
        self.assertCounts(2, 2)

    def test_body_goes_from_where_it_was(self):
        def read(link):
            link.answer(b"first")
            link.request()
            link.reset()

        file = io.BytesIO(b"skipped.sent")
        for data in b".sent", bytearray(b".sent"), memoryview(b".sent"), file:
            file.seek(7)
            with self.subTest(type(data)):
                self.check(read, serve, method="PUT", data=data)
                self.assertEqual(self.sent, [(0, b".sent"), (1, b".sent")])

    def test_file_on_disk(self):
        with tempfile.TemporaryFile() as file:
            file.write(b"skipped.sent")
            file.seek(7)
            self.check(gone, serve, method="PUT", data=file)
            self.assertEqual(self.sent, [(0, b".sent"), (1, b".sent")])

    def test_body_that_can_be_read_once(self):
        class Pipe(io.BytesIO):
            def seekable(self):
                return False

        for data in (b"%d" % i for i in range(3)), Pipe(b"body"):
            with self.subTest(type(data)):
                self.check_error(ConnectionError, gone, serve, sent=[0],
                                 method="PUT", data=data)

    def test_not_after_the_first_byte(self):
        def one_byte(link):
            link.answer(b"first")
            link.request()
            link.send(b"H")
            link.reset()

        def interim(link):
            link.answer(b"first")
            link.request()
            link.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            link.close()

        for script in one_byte, interim:
            with self.subTest(script):
                self.check_error((ConnectionError, http.client.HTTPException),
                                 script, serve, sent=[0])

    def test_not_after_a_timeout(self):
        def silent(link):
            link.answer(b"first")
            link.request()
            link.wait_closed()

        self.check_error(TimeoutError, silent, serve, sent=[0], timeout=0.01)

    def test_request_timeout(self):
        def crossing(link):
            link.answer(b"first")
            link.request()
            link.send(TIMEOUT)
            link.wait_closed()

        self.assertEqual(self.check(crossing, serve), b"1 /")
        error = self.check_error(urllib.error.HTTPError, crossing, serve,
                                 sent=[0], data=b"pay")
        self.assertEqual(error.code, 408)
        error.close()

    def test_request_timeout_on_a_fresh_connection(self):
        def slow(link):
            link.request()
            link.send(TIMEOUT)
            link.wait_closed()

        with self.peer(slow) as peer:
            opener = self.opener(peer)
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.open(opener)
            self.assertEqual(caught.exception.code, 408)
            caught.exception.close()
            self.assertCounts(1, 1)

    def test_end_of_an_idle_connection(self):
        # It is seen before anything is sent, so any request may go again.
        ends = {
            "FIN": lambda link: link.close(),
            "RST": lambda link: link.reset(),
            "408": lambda link: link.send(TIMEOUT),
            "forged response": lambda link: link.send(response(b"forged")),
        }
        for name, end in ends.items():
            def script(link):
                link.answer(b"first")
                go_on.wait(support.SHORT_TIMEOUT)
                end(link)
                if not link.reader.closed:
                    link.wait_closed()

            go_on = threading.Event()
            with self.subTest(name), self.peer(script, serve) as peer:
                opener = self.opener(peer)
                resp = self.open(opener)
                sock = resp.fp.raw._sock
                self.assertEqual(resp.read(), b"first")
                go_on.set()
                wait_readable(sock)
                data = iter([b"o", b"nce"])
                self.assertEqual(self.read(opener, data=data), b"1 /")
                self.assertEqual(peer.requests[1][1].body, b"once")
                self.assertCounts(2, 2)
                resp.close()

    def test_large_body_refused_on_a_kept_connection(self):
        # The server answers and goes; nothing may be sent twice.
        def refuse(link):
            link.answer(b"first")
            link.sock.recv(1)
            link.send(response(b"no", b"Connection: close",
                               status=b"413 Content Too Large"))
            link.reset()

        with self.peer(refuse, serve) as peer:
            opener = self.opener(peer)
            self.read(opener)
            with self.assertRaises((OSError, http.client.HTTPException),
                                   ) as caught:
                self.read(opener, method="POST", data=b"x" * 10_000_000)
            if isinstance(caught.exception, urllib.error.HTTPError):
                caught.exception.close()
            self.assertEqual(peer.accepted, 1)


class Clock:
    """What urllib._pool takes for the time module."""

    def __init__(self):
        self.now = 1000.0
        self.wall_now = 5_000_000.0

    def monotonic(self):
        return self.now

    def time(self):
        return self.wall_now

    def sleep(self, seconds):
        self.now += seconds
        self.wall_now += seconds


class ExpiryTests(PersistentTestCase):

    def setUp(self):
        super().setUp()
        self.clock = Clock()
        self.enterContext(mock.patch("urllib._pool.time", self.clock))

    def is_kept(self, seconds, *headers, wall_only=False, **options):
        def script(link):
            link.answer(b"first", *headers)
            serve(link)

        with self.peer(script, serve) as peer:
            opener = self.opener(peer, **options)
            self.read(opener)
            if wall_only:
                self.clock.wall_now += seconds
            else:
                self.clock.sleep(seconds)
            return self.read(opener) == b"0 /"

    def test_idle_timeout(self):
        self.assertTrue(self.is_kept(9.9, idle_timeout=10))
        self.assertFalse(self.is_kept(10, idle_timeout=10))
        self.assertFalse(self.is_kept(0, idle_timeout=0))
        self.assertTrue(self.is_kept(1e9))

    def test_clock_that_stops(self):
        self.assertTrue(self.is_kept(9.9, idle_timeout=10, wall_only=True))
        self.assertFalse(self.is_kept(11, idle_timeout=10, wall_only=True))
        # It may also be set back.
        self.assertTrue(self.is_kept(-1e6, idle_timeout=10, wall_only=True))

    def test_what_the_server_announces(self):
        for header, seconds, kept in (
            (b"Keep-Alive: timeout=5", 3.9, True),
            (b"Keep-Alive: timeout=5", 4.1, False),
            (b"keep-alive: max=100, TIMEOUT = 5", 4.1, False),
            (b'Keep-Alive: timeout="5"', 4.1, False),
            (b"Keep-Alive: timeout=0000000005", 4.1, False),
            (b"Keep-Alive: timeout=1", 0.4, True),
            (b"Keep-Alive: timeout=1", 0.6, False),
            (b"Keep-Alive: timeout=0", 0, False),
            (b"Keep-Alive: timeout=5, timeout=9", 4.1, False),
            (b"Keep-Alive: max=1", 0, False),
            (b"Keep-Alive: timeout=5,max=0", 0, False),
            (b"Keep-Alive: max=0000000000", 0, False),
            (b"Keep-Alive: max=2", 0, True),
        ):
            with self.subTest(header=header, seconds=seconds):
                self.assertEqual(self.is_kept(seconds, header), kept)

    def test_what_is_no_limit(self):
        for value in (b"", b"timeout=-5", b"timeout=abc", b"timeout=5s",
                      b"timeout=", b"timeout", b"timeout=1.5", b"xtimeout=5",
                      b"timeout=99999999999999999999", b"max=-1",
                      b"max=1e9", b"timeout=5x, max=0x1", b"\xff=1"):
            with self.subTest(value=value):
                self.assertTrue(self.is_kept(1e6, b"Keep-Alive: " + value))

    def test_the_shorter_one(self):
        header = b"Keep-Alive: timeout=5"
        self.assertFalse(self.is_kept(4.1, header, idle_timeout=10))
        self.assertFalse(self.is_kept(2.1, header, idle_timeout=2))
        self.assertTrue(self.is_kept(1.9, header, idle_timeout=2))

    def test_those_that_are_not_needed_expire(self):
        def script(link):
            serve(link)
            closed.set()

        closed = threading.Event()
        with self.peer(script, serve) as peer:
            opener = self.opener(peer, idle_timeout=10)
            first, second = self.open(opener), self.open(opener)
            with first, second:
                first.read()
                second.read()
            for _ in range(6):
                self.clock.sleep(4)
                self.assertEqual(self.read(opener), b"1 /")
            self.assertTrue(closed.wait(support.SHORT_TIMEOUT))


class LimitTests(PersistentTestCase):

    def test_example_of_a_single_connection(self):
        with self.peer() as peer, self.peer() as other:
            opener = self.opener(peer, max_idle=1)
            self.assertEqual(self.read(opener), b"0 /")
            self.assertEqual(self.read(opener), b"0 /")
            with self.open(opener, peer=other) as resp:
                # The old one goes as soon as the host changes.
                peer.join()
                self.assertEqual(resp.read(), b"0 /")
            self.assertEqual(self.read(opener, peer=other), b"0 /")
            self.assertEqual(self.read(opener), b"1 /")
            self.assertCounts(3, 5)

    def test_none_is_kept(self):
        with self.peer() as peer:
            opener = self.opener(peer, max_idle=0)
            self.assertEqual(self.read(opener), b"0 /")
            peer.join()
            self.assertEqual(self.read(opener), b"1 /")

    def test_least_recently_used_goes_first(self):
        with contextlib.ExitStack() as stack:
            one, two, three = [stack.enter_context(self.peer())
                               for _ in range(3)]
            opener = self.opener(one, max_idle=2)
            for peer, body in ((one, b"0 /"), (two, b"0 /"), (one, b"0 /"),
                               (three, b"0 /"), (one, b"0 /"), (two, b"1 /"),
                               (one, b"0 /"), (three, b"1 /")):
                self.assertEqual(self.read(opener, peer=peer), body)

    def start(self, function, *args):
        thread = threading.Thread(target=function, args=args)
        thread.start()
        self.addCleanup(threading_helper.join_thread, thread)
        return thread

    def test_waiting_for_a_connection(self):
        def wait():
            bodies.append(self.read(opener, "/second"))

        bodies = []
        with self.peer() as peer:
            opener = self.opener(peer, max_per_host=1)
            first = self.open(opener, "/first")
            thread = self.start(wait)
            wait_for_waiting(self.handler._pool, 1)
            self.assertEqual(bodies, [])
            self.assertEqual(first.read(), b"0 /first")
            threading_helper.join_thread(thread)
            self.assertEqual(bodies, [b"0 /second"])
            first.close()
            self.assertCounts(1, 2)

    def test_waiting_while_a_connection_fails(self):
        def wait():
            bodies.append(self.read(opener, "/second"))

        bodies = []
        with self.peer(unfinished, serve) as peer:
            opener = self.opener(peer, max_per_host=1)
            first = self.open(opener, "/first")
            thread = self.start(wait)
            wait_for_waiting(self.handler._pool, 1)
            first.close()
            threading_helper.join_thread(thread)
            self.assertEqual(bodies, [b"1 /second"])

    def test_waiting_for_too_long(self):
        with self.peer() as peer, self.peer() as other:
            opener = self.opener(peer, max_per_host=1)
            with self.open(opener) as first:
                for timeout in 0.01, 0.0:
                    with self.assertRaises(urllib.error.URLError) as caught:
                        self.open(opener, timeout=timeout)
                    self.assertIsInstance(caught.exception.reason,
                                          TimeoutError)
                # Other servers have nothing to do with it.
                self.assertEqual(self.read(opener, peer=other), b"0 /")
                self.assertEqual(first.read(), b"0 /")
            self.assertEqual(self.read(opener), b"0 /")
            self.assertCounts(2, 3)

    def test_waiting_without_an_opener(self):
        # Any thread may close a response that http_open() has returned.
        with self.peer() as peer:
            self.opener(peer, max_per_host=1)
            request = urllib.request.Request(self.url(peer))
            request.timeout = 0.01
            with self.handler.http_open(request):
                with self.assertRaises(urllib.error.URLError):
                    self.handler.http_open(request)

    def test_waiting_for_oneself(self):
        class Handler(urllib.request.BaseHandler):
            def http_error_401(self, req, fp, code, msg, headers):
                with fp:
                    url = req.full_url + "token"
                    return self.parent.open(url, timeout=support.SHORT_TIMEOUT)

        def script(link):
            link.answer(b"denied", status=b"401 Unauthorized")
            link.answer(b"first")
            link.wait_closed()

        def upload():
            yield self.read(opener, "/source")

        with self.peer(script, serve) as peer:
            opener = self.opener(peer, Handler, max_per_host=1)
            with self.assertRaisesRegex(RuntimeError, "in use"):
                self.open(opener)
            self.assertEqual(self.read(opener), b"first")
            with self.assertRaisesRegex(RuntimeError, "in use"):
                self.open(opener, data=upload())
            self.assertEqual(self.read(opener), b"1 /")
        with self.peer(script, serve) as peer:
            opener = self.opener(peer, Handler, max_per_host=2)
            self.assertEqual(self.read(opener), b"1 /token")

    def test_failures_take_no_place(self):
        def garbage(link):
            link.request()
            link.send(b"garbage\r\n\r\n")
            link.close()

        def gets_half(link):
            link.wait_closed()

        with self.peer(drop, garbage, drop, gets_half, serve) as peer:
            opener = self.opener(peer, max_per_host=1)
            for _ in range(3):
                with self.assertRaises((OSError, http.client.HTTPException)):
                    self.read(opener)
            with self.assertRaises(ValueError):
                self.read(opener, headers={"A": "b\r\nc"})
            with self.assertRaises(TypeError):
                self.read(opener, data=[1])
            self.assertEqual(self.read(opener), b"4 /")

    def test_refused_connections_take_no_place(self):
        with socket.socket() as unused:
            port = http_peer.socket_helper.bind_port(unused)
            opener = self.opener(None, max_per_host=1)
            for _ in range(3):
                with self.assertRaises(urllib.error.URLError) as caught:
                    opener.open(f"http://{HOST}:{port}/",
                                timeout=support.SHORT_TIMEOUT)
                self.assertIsInstance(caught.exception.reason,
                                      ConnectionError)
            with mock.patch("socket.getaddrinfo",
                            side_effect=socket.gaierror):
                for _ in range(2):
                    with self.assertRaises(urllib.error.URLError):
                        opener.open("http://unknown.invalid/")
        self.assertCounts(0, 5)

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_refused_handshakes_take_no_place(self):
        with Peer(serve, serve, serve,
                  tls=ssl.TLSVersion.TLSv1_3) as peer:
            opener = self.opener(peer, max_per_host=1,
                                 context=ssl.create_default_context())
            for _ in range(2):
                with self.assertRaises(urllib.error.URLError) as caught:
                    self.open(opener)
                self.assertIsInstance(caught.exception.reason, ssl.SSLError)

    def test_arguments(self):
        cls = urllib.request.PersistentConnectionHandler
        for options in ({"max_idle": -1}, {"max_per_host": 0},
                        {"max_per_host": -1}, {"idle_timeout": -1},
                        {"idle_timeout": float("nan")}):
            with self.subTest(options), self.assertRaises(ValueError):
                cls(**options)
        with self.assertRaises(TypeError):
            cls(1)


class FakeConnection:
    closed = None


class Interrupt(BaseException):
    """What a signal handler raises."""


def interrupted(number, globals, function):
    """Call *function*, but raise an exception at the given line.

    Lines are counted as they are run, in functions with these *globals*.
    Return False if there are not as many.
    """
    def trace(frame, event, arg):
        nonlocal number
        if frame.f_globals is not globals:
            return None
        if event == "line":
            number -= 1
            if number == 0:
                raise Interrupt
        return trace

    own_trace = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except (Interrupt, TimeoutError):
        pass
    finally:
        sys.settrace(own_trace)
    return number <= 0


class PoolTests(unittest.TestCase):

    def pool(self, **options):
        from urllib._pool import Pool

        def close(connection, reason):
            self.assertIsNone(connection.closed)
            connection.closed = reason

        options = dict(max_idle=32, max_per_key=None, idle_timeout=None,
                       close=close) | options
        return Pool(**options)

    def check_interrupted(self, prepare):
        """Interrupt what prepare(pool) returns at each of its lines.

        Each time it has to leave the pool with a place for each key, and no
        connection may have been forgotten, or be there twice.
        """
        import urllib._pool

        def close(connection, reason):
            connection.closed = reason

        def prepared():
            pool = self.pool(max_idle=1, max_per_key=1, close=close)
            connections = FakeConnection(), FakeConnection()
            functions = prepare(pool, *connections)
            return pool, [weakref.ref(conn) for conn in connections], functions

        for number in itertools.count(1):
            with self.subTest(number):
                pool, connections, (function, check) = prepared()
                with support.catch_unraisable_exception():
                    more = interrupted(number, vars(urllib._pool), function)
                    del function
                self.assertFalse(pool._lock._is_owned())
                check()
                del check
                slots = [pool.acquire(key, 0) for key in ("key", "other")]
                got = [slot.connection for slot in slots if slot.connection]
                for connection in got:
                    self.assertIsNone(connection.closed)
                for ref in connections:
                    connection = ref()
                    self.assertTrue(connection is None or connection.closed
                                    or got.count(connection) == 1)
                if not more:
                    break
        self.assertGreater(number, 10)

    @support.cpython_only
    def test_interrupted_while_releasing(self):
        # The connection is kept, or closed.
        for limit in 5, 0:
            with self.subTest(limit=limit):
                self.check_interrupted_while_releasing(limit)

    def check_interrupted_while_releasing(self, limit):
        def prepare(pool, connection, _):
            slots = [pool.acquire("key")]
            waiting = type(slots[0])(pool)
            pool._call(pool._grant_or_queue, waiting._place, "key")
            # The garbage collector takes what its owner does not release.
            def check():
                self.assertFalse(waiting._place.gate.locked())
                self.assertNotIn(waiting._place.idle, pool._idle)
                waiting.release()

            return lambda: slots.pop().release(connection, limit), check

        self.check_interrupted(prepare)

    @support.cpython_only
    def test_interrupted_while_acquiring(self):
        for key in "key", "other":
            def prepare(pool, connection, _):
                pool.acquire("key").release(connection)
                got = []
                return lambda: got.append(pool.acquire(key)), got.clear

            with self.subTest(key):
                self.check_interrupted(prepare)

    @support.cpython_only
    def test_interrupted_while_timing_out(self):
        def prepare(pool, *_):
            slot = pool.acquire("key")
            return lambda: pool.acquire("key", 0), slot.release

        self.check_interrupted(prepare)

    @support.cpython_only
    def test_interrupted_while_closing(self):
        def prepare(pool, *connections):
            slots = [pool.acquire(key) for key in ("key", "other")]
            slots[0].release(connections[0])
            with pool._lock:
                slots[1].release(connections[1])
            return pool.close, lambda: None

        self.check_interrupted(prepare)

    @support.cpython_only
    def test_interrupted_while_counting(self):
        def prepare(pool, *_):
            slot = pool.acquire("key")
            return lambda: (slot.opened(), pool.count_request()), slot.release

        self.check_interrupted(prepare)

    def test_lost(self):
        pool = self.pool(max_per_key=1)
        slot = pool.acquire("key")
        del slot
        support.gc_collect()
        pool.acquire("key", 0).release()

    def test_released_twice(self):
        pool = self.pool(max_per_key=2)
        slot, other = pool.acquire("key"), pool.acquire("key")
        slot.release()
        slot.release()
        slot = pool.acquire("key", 0)
        with self.assertRaises(TimeoutError):
            pool.acquire("key", 0)

    @threading_helper.requires_working_threading()
    def test_counts_until_it_is_closed(self):
        def acquire(timeout):
            try:
                got.append(pool.acquire("key", timeout).connection)
            except TimeoutError:
                got.append(TimeoutError)

        def close(connection, reason):
            # Nor does what interrupts this wait for itself.
            with self.assertRaisesRegex(RuntimeError, "in use"):
                pool.acquire("key")
            # One does not wait, the other does until this has returned.
            for timeout in 0, support.SHORT_TIMEOUT:
                threads.append(threading.Thread(target=acquire,
                                                args=(timeout,)))
                threads[-1].start()
                if timeout == 0:
                    threading_helper.join_thread(threads[-1])
                    self.assertEqual(got, [TimeoutError])
            wait_for_waiting(pool, 1)
            self.assertEqual(got, [TimeoutError])
            connection.closed = reason

        clock = Clock()
        self.enterContext(mock.patch("urllib._pool.time", clock))
        for why, act in (
            ("the pool is closed", lambda: pool.close()),
            ("too many are idle", lambda: pool.acquire("other")),
            ("it was idle for too long",
             lambda: (clock.sleep(10), pool.acquire("other"))),
        ):
            with self.subTest(why):
                got, threads = [], []
                pool = self.pool(max_per_key=1, max_idle=1, idle_timeout=10,
                                 close=close)
                connection = FakeConnection()
                pool.acquire("key").release(connection)
                act()
                for thread in threads:
                    threading_helper.join_thread(thread)
                self.assertEqual(connection.closed, why)
                self.assertEqual(got, [TimeoutError, None])
                self.assertNotIn("key", pool._kinds)
        for why, limit in (("the pool was closed", None),
                           ("it is not to be idle", 0)):
            with self.subTest(why):
                got, threads = [], []
                pool = self.pool(max_per_key=1, close=close)
                connection = FakeConnection()
                slot = pool.acquire("key")
                if limit is None:
                    pool.close()
                slot.release(connection, limit)
                for thread in threads:
                    threading_helper.join_thread(thread)
                self.assertEqual(connection.closed, why)
                self.assertEqual(got, [TimeoutError, None])
                self.assertFalse(pool._kinds)

    # What was closed is taken back in a loop.
    def test_many_are_closed(self):
        pool = self.pool(max_idle=2000)
        slots = [pool.acquire("key") for _ in range(2000)]
        for slot in slots:
            slot.release(FakeConnection())
        pool.close()
        self.assertFalse(pool._idle or pool._kinds or pool._doomed)

    # It gets the place of what it closes.
    def test_waiting_by_the_thread_that_closes(self):
        clock = Clock()
        self.enterContext(mock.patch("urllib._pool.time", clock))
        pool = self.pool(max_per_key=1, idle_timeout=10)
        connection = FakeConnection()
        pool.acquire("key").release(connection)
        clock.sleep(10)
        slot = pool.acquire("key", 0)
        self.assertIsNotNone(connection.closed)
        self.assertIsNone(slot.connection)

    def test_given_up_while_it_is_served(self):
        pool = self.pool(max_per_key=1)
        slot = pool.acquire("key")
        waiting = type(slot)(pool)
        pool._call(pool._grant_or_queue, waiting._place, "key")
        connection = FakeConnection()
        with pool._lock:
            slot.release(connection)
            waiting.release()
        self.assertIs(pool.acquire("key", 0).connection, connection)

    def test_reason_that_cannot_be_printed(self):
        class Connection(FakeConnection):
            debuglevel, host, port = 1, HOST, 80

            def close(self):
                self.closed = True

        self.enterContext(mock.patch("builtins.print",
                                     side_effect=BrokenPipeError))
        _lease = urllib.request._lease
        pool = self.pool(max_per_key=1, close=_lease.close_idle)
        idle, failed = Connection(), Connection()
        pool.acquire("key").release(idle)
        with self.assertRaises(BrokenPipeError):
            pool.close()
        self.assertTrue(idle.closed)
        lease = _lease.PooledLease("key", pool.acquire("key", 0))
        lease.open_new(failed)
        with self.assertRaises(BrokenPipeError):
            lease.abort()
        self.assertTrue(failed.closed)
        pool.acquire("key", 0)

    def test_ended_by_two_threads(self):
        # One comes while the other is at it.
        class Connection(FakeConnection):
            sock = None
            debuglevel = 0

            def _is_reusable(self):
                lease.end()
                lease.abort()
                return True

        pool = self.pool()
        lease = urllib.request._lease.PooledLease("key", pool.acquire("key"))
        lease.open_new(connection := Connection())
        lease.end()
        self.assertIsNone(connection.closed)
        slot, other = pool.acquire("key"), pool.acquire("key")
        self.assertIs(slot.connection, connection)
        self.assertIsNone(other.connection)

    def test_used_by_what_interrupts_it(self):
        # Signal handlers and destructors run anywhere.
        def interrupt():
            with self.assertRaisesRegex(RuntimeError, "interrupted"):
                pool.acquire("other", 5)
            slot.release(connection)
            pool.count_request()
            pool.close()
            self.assertIsNone(connection.closed)

        pool = self.pool()
        slot = pool.acquire("key")
        connection = FakeConnection()
        pool._call(interrupt)
        self.assertIsNotNone(connection.closed)
        self.assertEqual(pool.num_requests, 2)

    def test_wait_that_nobody_can_end(self):
        pool = self.pool(max_per_key=2)
        slots = [pool.acquire("key") for _ in range(2)]
        slots[0].confine(threading.get_ident())
        with self.assertRaises(TimeoutError):
            pool.acquire("key", 0)
        slots[1].confine(threading.get_ident())
        with self.assertRaisesRegex(RuntimeError, "in use"):
            pool.acquire("key")
        slots[0].confine(None)
        with self.assertRaises(TimeoutError):
            pool.acquire("key", 0)
        slots[0].release()
        pool.acquire("key", 0)

    def test_many_keys(self):
        pool = self.pool(max_idle=10)
        connections = [FakeConnection() for _ in range(10_000)]
        for i, connection in enumerate(connections):
            slot = pool.acquire(i)
            self.assertIsNone(slot.connection)
            slot.release(connection)
        self.assertEqual([connection for connection in connections
                          if not connection.closed], connections[-10:])
        # Nothing is left of the others.
        self.assertEqual((len(pool._idle), len(pool._kinds)), (10, 10))

    def test_first_come_first_served(self):
        pool = self.pool(max_per_key=1)
        slot = pool.acquire("key")
        order = []

        def wait(i):
            waited = pool.acquire("key", support.SHORT_TIMEOUT)
            order.append((i, waited.connection))
            waited.release(waited.connection)

        threads = []
        for i in range(5):
            threads.append(threading.Thread(target=wait, args=(i,)))
            threads[-1].start()
            wait_for_waiting(pool, i + 1)
        connection = FakeConnection()
        slot.release(connection)
        for thread in threads:
            threading_helper.join_thread(thread)
        self.assertEqual(order, [(i, connection) for i in range(5)])
        self.assertEqual(count_waiting(pool), 0)

    def test_end_of_waiting(self):
        # At the last moment the slot is granted, or not.
        import urllib._pool

        class Lock:
            """A gate at which the thread waits in vain."""
            def acquire(self, blocking=True, timeout=-1):
                if timeout == -1:
                    return True
                if granted:
                    slot.release(connection)
                if error is not TimeoutError:
                    raise error
                return False

            def locked(self):
                return True

            def release(self):
                pass

        connection = FakeConnection()
        for granted, error in itertools.product(
                (False, True), (TimeoutError, KeyboardInterrupt)):
            with self.subTest(granted=granted, error=error):
                pool = self.pool(max_per_key=1)
                slot = pool.acquire("key")
                with mock.patch.object(urllib._pool.threading, "Lock", Lock):
                    try:
                        again = pool.acquire("key", 1)
                    except error:
                        again = None
                self.assertEqual(count_waiting(pool), 0)
                if granted and error is TimeoutError:
                    self.assertIs(again.connection, connection)
                    continue
                self.assertIsNone(again)
                slot.release(connection)
                again = pool.acquire("key", 0)
                self.assertIs(again.connection, connection)

    def test_close_that_fails(self):
        def close(connection, reason):
            closed.append(connection)
            if len(closed) == 1:
                raise ZeroDivisionError

        closed = []
        pool = self.pool(close=close)
        for key in range(3):
            pool.acquire(key).release(FakeConnection())
        with self.assertRaises(ZeroDivisionError):
            pool.close()
        self.assertEqual(len(closed), 3)

    def test_released_by_the_thread_that_has_the_lock(self):
        # The garbage collector may run there.
        pool = self.pool()
        slot = pool.acquire("key")
        connection = FakeConnection()
        with pool._lock:
            slot.release(connection)
        again = pool.acquire("other")
        again.release(None)
        self.assertIs(pool.acquire("key").connection, connection)

    def test_released_while_another_thread_has_the_lock(self):
        pool = self.pool()
        slot = pool.acquire("key")
        connection = FakeConnection()

        def release():
            thread = threading.Thread(target=slot.release, args=(connection,))
            thread.start()
            threading_helper.join_thread(thread)

        pool._call(release)
        self.assertFalse(pool._released)
        self.assertIs(pool.acquire("key").connection, connection)

    def test_closed_by_the_thread_that_has_the_lock(self):
        pool = self.pool()
        connection = FakeConnection()
        pool.acquire("key").release(connection)
        pool._call(pool.close)
        self.assertIsNotNone(connection.closed)

    def test_out_while_closed(self):
        pool = self.pool(max_per_key=1)
        slot = pool.acquire("key")
        pool.close()
        connection = FakeConnection()
        slot.release(connection)
        self.assertIsNotNone(connection.closed)
        # The place is free again.
        self.assertIsNone(pool.acquire("key", 0).connection)

    def test_out_during_a_fork(self):
        pool = self.pool(max_per_key=1)
        idle, out = FakeConnection(), FakeConnection()
        pool.acquire("idle").release(idle)
        slot = pool.acquire("key")
        pool._forget()
        self.assertIsNotNone(idle.closed)
        own = pool.acquire("key", 0)
        slot.release(out)
        self.assertIsNotNone(out.closed)
        with self.assertRaises(TimeoutError):
            pool.acquire("key", 0)
        own.release(None)
        self.assertIsNone(pool.acquire("key", 0).connection)

    def test_waiting_during_a_fork(self):
        # The thread is not in the child.
        pool = self.pool(max_per_key=1)
        slot = pool.acquire("key")
        waiting = type(slot)(pool)
        pool._call(pool._grant_or_queue, waiting._place, "key")
        pool._forget()
        slot.release(None)
        self.assertEqual(pool.num_requests, 1)

    # It has a place now.
    def test_being_closed_during_a_fork(self):
        pool = self.pool(max_per_key=1)
        connection = FakeConnection()
        pool.acquire("key").release(connection)
        with pool._lock:
            pool._clear()
            pool._forget()
        self.assertEqual(connection.closed, "it is the parent process's")
        slot = pool.acquire("key", 0)
        self.assertEqual(len(pool._kinds["key"].out), 1)


class CloseTests(PersistentTestCase):

    def test_idle(self):
        with self.peer() as peer:
            opener = self.opener(peer)
            self.read(opener)
            self.handler.close()
            peer.join()
            self.handler.close()
            # It can be used again.
            self.assertEqual(self.read(opener), b"1 /")
            self.assertEqual(self.read(opener), b"1 /")

    def test_while_a_response_is_read(self):
        with self.peer() as peer:
            opener = self.opener(peer)
            with self.open(opener, "/path") as resp:
                self.assertEqual(resp.read(1), b"0")
                self.handler.close()
                self.assertEqual(resp.read(), b" /path")
                peer.join()
            self.assertEqual(self.read(opener), b"1 /")

    def test_context_manager(self):
        with self.peer() as peer:
            opener = self.opener(peer)
            with self.handler as handler:
                self.assertIs(handler, self.handler)
                self.read(opener)
            peer.join()

    def test_opener(self):
        class Handler:
            """Has no close()."""
            handler_order = 1

            def __lt__(self, other):
                return self.handler_order < other.handler_order

            def add_parent(self, parent):
                pass

            def http_request(self, request):
                return request

        with self.peer() as peer:
            opener = self.opener(peer, Handler())
            self.read(opener)
            opener.close()
            peer.join()

    def test_opener_with_a_handler_that_fails(self):
        class Handler(urllib.request.BaseHandler):
            handler_order = 1
            closed = 0

            def http_request(self, request):
                return request

            def close(self):
                self.closed += 1
                raise ZeroDivisionError

        class Last(Handler):
            handler_order = 1000

            def close(self):
                self.closed += 1

        with self.peer() as peer:
            opener = self.opener(peer, handler := Handler(), last := Last())
            self.read(opener)
            with self.assertRaises(ZeroDivisionError):
                opener.close()
            peer.join()
            self.assertEqual((handler.closed, last.closed), (1, 1))

    def test_collected(self):
        with self.peer() as peer:
            handler = urllib.request.PersistentConnectionHandler()
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), handler)
            with opener.open(self.url(peer)) as resp:
                resp.read()
            alive = weakref.ref(handler)
            del handler, opener
            support.gc_collect()
            self.assertIsNone(alive())
            peer.join()

    def test_response_outlives_its_handler(self):
        with self.peer() as peer:
            resp = urllib.request.build_opener(
                urllib.request.ProxyHandler({}),
                urllib.request.PersistentConnectionHandler(),
            ).open(self.url(peer, "/path"))
            support.gc_collect()
            self.assertEqual(resp.read(), b"0 /path")
            peer.join()
            resp.close()

    @support.requires_gil_enabled("a response and its socket are finalized in "
                                  "any order")
    def test_exit(self):
        code = """if True:
            import sys, urllib.request
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}),
                urllib.request.PersistentConnectionHandler())
            urllib.request.install_opener(opener)
            for _ in range(2):
                with urllib.request.urlopen(sys.argv[1]) as resp:
                    resp.read()
            unread = urllib.request.urlopen(sys.argv[1])
        """
        with self.peer() as peer:
            result = self.run_code(code, self.url(peer))
            self.assertEqual(result.err, b"")
            self.assertEqual(peer.accepted, 1)

    def test_copies(self):
        with urllib.request.PersistentConnectionHandler() as handler:
            for make in pickle.dumps, copy.copy, copy.deepcopy:
                with (self.subTest(make),
                      self.assertRaisesRegex(TypeError, "connections")):
                    make(handler)


class ProxyTests(PersistentTestCase):

    def proxied(self, peer, *schemes, userinfo="", **options):
        return self.opener(None, proxies={
            scheme: f"http://{userinfo}{HOST}:{peer.port}"
            for scheme in schemes}, **options)

    def test_forward_proxy(self):
        with self.peer() as peer:
            opener = self.proxied(peer, "http")
            for url in "http://a.example/", "http://b.example/":
                self.assertEqual(self.read(opener, url, peer),
                                 b"0 " + url.encode())
            self.assertEqual([received.headers["Host"] for _, received
                              in peer.requests], ["a.example", "b.example"])

    def test_proxy_closes(self):
        def script(link):
            link.answer(b"found", b"Proxy-Connection: Close")
            link.wait_closed()

        with self.peer(script, serve) as peer:
            opener = self.proxied(peer, "http")
            self.read(opener, "http://a.example/", peer)
            self.assertEqual(self.read(opener, "http://a.example/", peer),
                             b"1 http://a.example/")

    def test_other_proxy(self):
        with self.peer() as one, self.peer() as two, self.peer() as direct:
            self.opener(None)
            handler = self.handler
            for peer in one, two, None:
                proxies = {}
                if peer is not None:
                    proxies["http"] = f"http://{HOST}:{peer.port}"
                opener = urllib.request.build_opener(
                    urllib.request.ProxyHandler(proxies), handler)
                self.read(opener, peer=direct)
            self.assertEqual([peer.accepted for peer in (one, two, direct)],
                             [1, 1, 1])
            self.assertEqual(handler.num_connections, 3)

    def test_host_without_the_proxy(self):
        with self.peer() as proxy, self.peer() as peer:
            opener = self.proxied(proxy, "http", userinfo="user:secret@")
            self.read(opener, "http://a.example/", peer)
            with mock.patch("urllib.request.proxy_bypass",
                            return_value=True):
                self.read(opener, peer=peer)
            self.read(opener, "http://a.example/", peer)
            self.assertCounts(2, 3)
            for by in proxy, peer:
                for _, received in by.requests:
                    self.assertEqual("Proxy-Authorization"
                                     in received.headers, by is proxy)

    def tunnel(self, link, serve=serve):
        link.answer()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(http_peer.CERTFILE)
        link.start_tls(context)
        serve(link)

    def tunnelled(self, peer, **options):
        context = ssl.create_default_context(cafile=http_peer.CERTFILE)
        return self.proxied(peer, "https", userinfo="user:secret@",
                            context=context, **options)

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_tunnel(self):
        with self.peer(*[self.tunnel] * 2) as peer:
            opener = self.tunnelled(peer)
            for port, body in ((443, b"0 /"), (444, b"1 /"), (443, b"0 /"),
                               (444, b"1 /")):
                url = f"https://localhost:{port}/"
                self.assertEqual(self.read(opener, url, peer), body)
            self.assertEqual([received.target for _, received
                              in peer.requests],
                             [b"localhost:443", b"/", b"localhost:444", b"/",
                              b"/", b"/"])
            for _, received in peer.requests:
                self.assertEqual("Proxy-Authorization" in received.headers,
                                 received.method == b"CONNECT")

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_tunnel_that_ends_while_idle(self):
        def once(link):
            link.answer(b"first")
            link.close()

        with self.peer(lambda link: self.tunnel(link, once),
                       self.tunnel) as peer:
            opener = self.tunnelled(peer)
            with self.open(opener, "https://localhost/", peer) as resp:
                sock = resp.fp.raw._sock
                self.assertEqual(resp.read(), b"first")
                wait_readable(sock)
            self.assertEqual(self.read(opener, "https://localhost/", peer,
                                       data=b"body"), b"1 /")
            self.assertEqual([received.method for _, received
                              in peer.requests],
                             [b"CONNECT", b"GET", b"CONNECT", b"POST"])

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_tunnel_refused(self):
        def refuse(link):
            link.request()
            link.send(response(b"denied", b"Proxy-Authenticate: Basic",
                               status=b"407 Proxy Authentication Required"))
            link.wait_closed()

        with self.peer(refuse, self.tunnel) as peer:
            opener = self.tunnelled(peer, max_per_host=1)
            with self.assertRaisesRegex(urllib.error.URLError, "407"):
                self.open(opener, "https://localhost/", peer)
            self.assertEqual(self.read(opener, "https://localhost/", peer),
                             b"1 /")


class CountedConnections:
    """How many connections have been made, and were open at a time."""

    def __init__(self):
        self.made = self.now = self.most = 0
        lock = threading.Lock()
        counted = self

        class Socket(socket.socket):
            def _real_close(self):
                super()._real_close()
                with lock:
                    counted.now -= 1

        def create(*args):
            sock = socket.create_connection(*args)
            with lock:
                counted.made += 1
                counted.now += 1
                counted.most = max(counted.most, counted.now)
            timeout = sock.gettimeout()
            sock = Socket(fileno=sock.detach())
            sock.settimeout(timeout)
            return sock

        class Connection(http.client.HTTPConnection):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self._create_connection = create

        self.Connection = Connection


@threading_helper.requires_working_threading()
class ThreadTests(PersistentTestCase):

    THREADS = 4
    REQUESTS = 50

    def run_threads(self, function):
        errors = []

        def run(number):
            try:
                function(number)
            except BaseException as exc:
                errors.append(exc)

        threads = [threading.Thread(target=run, args=(number,))
                   for number in range(self.THREADS)]
        with threading_helper.start_threads(threads):
            pass
        if errors:
            raise errors[0]

    def test_each_gets_its_own_body(self):
        def requests(number):
            for i in range(self.REQUESTS):
                path = f"/{number}/{i}"
                body = self.read(opener, path)
                self.assertEqual(body.partition(b" ")[2], path.encode())

        for limit in None, 2:
            with self.subTest(limit), self.peer(count=self.THREADS) as peer:
                opener = self.opener(peer, max_per_host=limit)
                self.run_threads(requests)
                self.assertEqual(self.handler.num_requests,
                                 self.THREADS * self.REQUESTS)
                self.assertEqual(self.handler.num_connections, peer.accepted)
                self.assertLessEqual(peer.accepted, limit or self.THREADS)
                self.assertEqual(len(peer.requests),
                                 self.THREADS * self.REQUESTS)

    def test_server_that_misbehaves(self):
        # What it does is decided by what is asked for.
        limit = 2
        counted = CountedConnections()

        def script(link):
            while received := link.request():
                body = received.target + received.body
                kind = received.target.rpartition(b"/")[2]
                if kind == b"chunked":
                    link.send(b"HTTP/1.1 200 OK\r\n"
                              b"Transfer-Encoding: chunked\r\n\r\n"
                              b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
                elif kind == b"truncated":
                    link.send(response(body)[:-1])
                    return link.close()
                elif kind == b"reset":
                    return link.reset()
                elif kind == b"408":
                    link.send(TIMEOUT)
                    return link.close()
                elif kind == b"close":
                    link.send(response(body, b"Connection: close"))
                    return link.close()
                elif kind == b"idle":
                    link.send(response(body))
                    return link.close()
                else:
                    link.send(response(body))

        kinds = ["plain", "chunked", "truncated", "reset", "408", "close",
                 "idle"]

        def requests(number):
            choose = random.Random(number)
            for i in range(self.REQUESTS):
                kind = choose.choice(kinds)
                path = f"/{number}/{i}/{kind}"
                data = choose.choice([None, b"body"])
                try:
                    body = self.read(opener, path, data=data)
                except urllib.error.HTTPError as exc:
                    exc.close()
                    self.assertEqual(kind, "408")
                except (OSError, http.client.HTTPException):
                    # A POST may also meet the end of an idle connection.
                    if data is None:
                        self.assertIn(kind, ("truncated", "reset", "408"))
                else:
                    self.assertNotIn(kind, ("truncated", "reset", "408"))
                    self.assertEqual(body, path.encode() + (data or b""))

        with self.peer(count=2 * self.THREADS * self.REQUESTS) as peer:
            peer.scripts = [script] * len(peer.scripts)
            opener = self.opener(peer, max_per_host=limit)
            self.handler.http_open = lambda req: self.handler.do_open(
                counted.Connection, req)
            self.run_threads(requests)
            self.assertEqual(self.handler.num_requests,
                             self.THREADS * self.REQUESTS)
            self.assertEqual(self.handler.num_connections, counted.made)
            self.assertEqual(counted.most, limit)
            opener.close()
            self.assertFalse(self.handler._pool._kinds)     # none is out
            self.assertEqual(counted.now, 0)
            posts = [received.target for _, received in peer.requests
                     if received.method == b"POST"]
            self.assertEqual(len(posts), len(set(posts)))


@support.requires_fork()
class ForkTests(PersistentTestCase):

    REQUESTS = 150

    def fork(self, function):
        """Run *function* in a child, and return its process id."""
        with warnings.catch_warnings():
            # The server has threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)

    def requests(self, opener, name):
        for i in range(self.REQUESTS):
            path = f"/{name}/{i}"
            body = self.read(opener, path)
            if body.partition(b" ")[2] != path.encode():
                raise AssertionError(body)

    def test_both_go_on(self):
        with self.peer(count=2) as peer:
            opener = self.opener(peer)
            self.read(opener)
            pid = self.fork(lambda: self.requests(opener, "child"))
            self.requests(opener, "parent")
            support.wait_process(pid, exitcode=0)
            self.assertCounts(1, self.REQUESTS + 1)
            for number, received in peer.requests:
                self.assertEqual(number, received.target[:2] == b"/c")

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_both_go_on_over_tls(self):
        self.tls = ssl.TLSVersion.TLSv1_3
        self.test_both_go_on()

    def test_child_that_does_nothing(self):
        with self.peer(count=2) as peer:
            opener = self.opener(peer)
            with self.open(opener, "/open") as resp:
                self.read(opener, "/idle")
                support.wait_process(self.fork(gc.collect), exitcode=0)
                self.assertEqual(resp.read(), b"0 /open")
            self.assertEqual(self.read(opener), b"0 /")
            self.assertCounts(2, 3)

    def test_response_that_is_open(self):
        # The child may close its copy.
        def child():
            resp.close()
            self.requests(opener, "child")

        def script(link):
            link.answer(b"x" * 100_000)
            serve(link)

        with self.peer(script, serve) as peer:
            opener = self.opener(peer, max_per_host=1)
            resp = self.open(opener)
            support.wait_process(self.fork(child), exitcode=0)
            self.assertEqual(resp.read(), b"x" * 100_000)
            resp.close()
            self.assertEqual(self.read(opener), b"0 /")

    def test_while_another_thread_has_the_lock(self):
        def hold():
            with self.handler._pool._lock:
                held.set()
                release.wait(support.SHORT_TIMEOUT)

        held, release = threading.Event(), threading.Event()
        with self.peer(count=2) as peer:
            opener = self.opener(peer)
            self.read(opener)
            thread = threading.Thread(target=hold)
            with threading_helper.start_threads([thread], release.set):
                held.wait(support.SHORT_TIMEOUT)
                pid = self.fork(lambda: self.requests(opener, "child"))
                support.wait_process(pid, exitcode=0)
            self.assertEqual(self.read(opener), b"0 /")


class ModuleTests(PersistentTestCase):
    """What goes by way of the installed opener."""

    def test_installed(self):
        def script(link):
            while received := link.request():
                body = b"x" * 100_000
                if received.target == b"/robots.txt":
                    body = b"User-agent: *\nDisallow: /private\n"
                link.send(response(body))

        self.addCleanup(urllib.request.install_opener, None)
        with self.peer(script) as peer:
            urllib.request.install_opener(self.opener(peer))
            with urllib.request.urlopen(self.url(peer)) as resp:
                self.assertEqual(len(resp.read()), 100_000)
            filename, _ = urllib.request.urlretrieve(self.url(peer, "/file"))
            self.addCleanup(urllib.request.urlcleanup)
            self.assertEqual(os.path.getsize(filename), 100_000)
            parser = urllib.robotparser.RobotFileParser(
                self.url(peer, "/robots.txt"))
            parser.read()
            self.assertFalse(parser.can_fetch("*", "/private"))
            self.assertCounts(1, 3)
            self.assertEqual(peer.accepted, 1)

    def test_takes_the_place_of_the_default_handlers(self):
        for handler in (urllib.request.PersistentConnectionHandler,
                        urllib.request.PersistentConnectionHandler()):
            opener = urllib.request.build_opener(handler)
            self.addCleanup(opener.close)
            names = [type(handler).__name__ for handler in opener.handlers]
            self.assertIn("PersistentConnectionHandler", names)
            self.assertNotIn("HTTPHandler", names)
            self.assertNotIn("HTTPSHandler", names)

    def test_is_public(self):
        self.assertIn("PersistentConnectionHandler", urllib.request.__all__)

    def test_pool_is_imported_when_needed(self):
        code = ("import sys, urllib.request; "
                "assert 'urllib._pool' not in sys.modules; "
                "urllib.request.PersistentConnectionHandler(); "
                "assert 'urllib._pool' in sys.modules")
        self.run_code(code)

    def test_subclass(self):
        class Connection(http.client.HTTPConnection):
            made = 0

            def connect(self):
                Connection.made += 1
                super().connect()

        class Handler(urllib.request.PersistentConnectionHandler):
            def http_open(self, req):
                return self.do_open(Connection, req)

        with self.peer() as peer, Handler() as handler:
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), handler)
            for _ in range(3):
                self.assertEqual(self.read(opener, peer=peer), b"0 /")
            self.assertEqual(Connection.made, 1)


if __name__ == "__main__":
    unittest.main()
