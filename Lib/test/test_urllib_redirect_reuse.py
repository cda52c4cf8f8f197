"""Redirects and requests with credentials go over the connection of the
response that asked for them (gh-53949)."""

import contextlib
import copy
import http.client
import io
import pickle
import threading
import unittest
import urllib.error
import urllib.request
from test import http_peer, support
from test.http_peer import HOST, Peer, response, wait_readable
from test.support import threading_helper
from unittest import mock

try:
    import ssl
except ImportError:
    ssl = None

support.requires_working_socket(module=True)

REDIRECTS = (301, 302, 303, 307, 308)

BASIC = b'WWW-Authenticate: Basic realm="r"'
DIGEST = b'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"'


def redirect(target=b"/next", body=b"", code=302, *headers):
    return response(body, b"Location: " + target, *headers,
                    status=b"%d Elsewhere" % code)


def unauthorized(body=b"", challenge=BASIC, status=b"401 Unauthorized"):
    return response(body, challenge, status=status)


FOUND = response(b"found")


def sending(*answers):
    """Return a script that answers so many requests."""
    def script(link):
        for answer in answers:
            if link.request() is None:
                return
            link.send(answer)
        link.wait_closed()
    return script


class Passwords(urllib.request.HTTPPasswordMgr):
    def find_user_password(self, realm, authuri):
        return "user", "secret"


class ReuseTestCase(http_peer.DestructorTestCase):

    tls = None

    def setUp(self):
        self.enterContext(mock.patch("urllib.request.proxy_bypass",
                                     return_value=False))

    def url(self, peer, path="/"):
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{HOST}:{peer.port}{path}"

    def opener(self, peer, *handlers, proxies={}):
        if peer.tls is not None:
            handlers += (urllib.request.HTTPSHandler(
                context=peer.client_context()),)
        return urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), *handlers)

    def open(self, peer, request="/", *handlers, opener=None):
        if isinstance(request, str) and request.startswith("/"):
            request = self.url(peer, request)
        opener = opener or self.opener(peer, *handlers)
        return opener.open(request, timeout=support.SHORT_TIMEOUT)

    def request(self, peer, path="/", *args, **kwargs):
        return urllib.request.Request(self.url(peer, path), *args, **kwargs)

    def read(self, *args, **kwargs):
        with self.open(*args, **kwargs) as resp:
            return resp.read()

    def assertLines(self, peer, *expected):
        """What was received: (connection number, method and target)."""
        self.assertEqual([(number, received.line.rpartition(b" ")[0].decode())
                          for number, received in peer.requests],
                         list(expected))


@http_peer.over_tls
class RedirectTests(ReuseTestCase):

    def check_one_connection(self, answer, request="/", second="GET /next"):
        with Peer(sending(answer, FOUND), tls=self.tls) as peer:
            if not isinstance(request, str):
                request = self.request(peer, **request)
            body = self.read(peer, request)
            self.assertEqual(peer.accepted, 1)
            self.assertEqual(len(peer.requests), 2)
            received = peer.requests[1][1]
            self.assertEqual(received.line.decode(), f"{second} HTTP/1.1")
            return body, received

    def test_get(self):
        for code in REDIRECTS:
            with self.subTest(code):
                answer = redirect(b"/next", b"x" * 1000, code)
                body, _ = self.check_one_connection(answer)
                self.assertEqual(body, b"found")

    def test_no_connection_is_made_in_vain(self):
        # Each that is made gets a debuglevel.
        with mock.patch.object(http.client.HTTPConnection, "set_debuglevel",
                               autospec=True) as set_debuglevel:
            self.check_one_connection(redirect())
        made = {id(call.args[0]) for call in set_debuglevel.mock_calls}
        self.assertEqual(len(made), 1)

    # A connection may have to be asked where it leads.
    def test_an_init_that_was_replaced(self):
        def init(self, *args, **kwargs):
            original(self, *args, **kwargs)
            made.append(self)

        made = []
        original = http.client.HTTPConnection.__init__
        with mock.patch.object(http.client.HTTPConnection, "__init__", init):
            self.check_one_connection(redirect())
        self.assertEqual(len(made), 2)

    def test_head(self):
        for code in REDIRECTS:
            with self.subTest(code):
                self.check_one_connection(
                    redirect(code=code), {"method": "HEAD"}, "HEAD /next")

    def test_post(self):
        for code in 301, 302, 303:
            with self.subTest(code):
                _, received = self.check_one_connection(
                    redirect(code=code), {"data": b"body"})
                self.assertEqual(received.body, b"")
                self.assertNotIn("Content-Type", received.headers)

    # Guard: what may not be redirected is not.
    def test_post_that_is_not_redirected(self):
        for code in 307, 308:
            script = sending(redirect(b"/next", b"read me", code))
            with self.subTest(code), Peer(script, tls=self.tls) as peer:
                with self.assertRaises(urllib.error.HTTPError) as caught:
                    self.open(peer, self.request(peer, data=b"body"))
                with caught.exception as error:
                    self.assertEqual(error.read(), b"read me")
                self.assertEqual(len(peer.requests), 1)

    def test_framings(self):
        head = b"HTTP/1.1 302 Found\r\nLocation: /next\r\n"
        chunked = b"Transfer-Encoding: chunked\r\n\r\n"
        for answer in (
            head + b"Content-Length: 0\r\n\r\n",
            head + chunked + b"0\r\n\r\n",
            head + chunked + b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nT: t\r\n\r\n",
            redirect(body=b"x" * 256 * 1024),
        ):
            with self.subTest(answer=answer[:100]):
                self.check_one_connection(answer)

    def test_absolute_location(self):
        def script(link):
            link.request()
            link.send(redirect(self.url(link.peer, "/next").encode()))
            link.request()
            link.send(redirect(f"//{HOST.upper()}:{link.peer.port}".encode()))
            link.answer(b"found")

        with Peer(script, tls=self.tls) as peer:
            self.assertEqual(self.read(peer), b"found")
            self.assertLines(peer, (0, "GET /"), (0, "GET /next"),
                             (0, "GET /"))

    def test_chain(self):
        chain = [redirect(b"/%d" % i, b"body") for i in range(9)]
        with Peer(sending(*chain, FOUND), tls=self.tls) as peer:
            self.assertEqual(self.read(peer), b"found")
            self.assertEqual(peer.accepted, 1)

    def test_no_connection_header(self):
        with Peer(sending(redirect(), FOUND), tls=self.tls) as peer:
            self.read(peer)
            for _, received in peer.requests:
                self.assertNotIn("Connection", received.headers)

    def test_fields_of_the_final_response(self):
        with Peer(sending(redirect(), response(b"found", b"A: b")),
                  tls=self.tls) as peer:
            with self.open(peer) as resp:
                self.assertEqual(resp.url, self.url(peer, "/next"))
                self.assertEqual(resp.status, 200)
                self.assertEqual(resp.msg, "OK")
                self.assertEqual(resp.headers["A"], "b")
            self.assertEqual(peer.accepted, 1)

    def test_timeout_of_the_request_is_kept(self):
        # The time for which a response is drained is not that.
        timeouts = []

        class Handler(urllib.request.HTTPRedirectHandler):
            def http_response(self, request, response):
                timeouts.append(response.fp.raw._sock.gettimeout())
                return response
            https_response = http_response

        with Peer(sending(redirect(body=b"body"), FOUND),
                  tls=self.tls) as peer:
            self.read(peer, "/", Handler)
            self.assertEqual(timeouts, [support.SHORT_TIMEOUT] * 2)
            self.assertEqual(peer.accepted, 1)


@http_peer.over_tls
class NotReusedTests(ReuseTestCase):

    def check_new_connection(self, first, path="/"):
        second = sending(FOUND)
        with Peer(first, second, tls=self.tls) as peer:
            self.assertEqual(self.read(peer, path), b"found")
            self.assertLines(peer, (0, "GET /"), (1, "GET /next"))

    # Guard: before, all of it was read.
    def test_long_body(self):
        def script(link):
            link.request()
            with contextlib.suppress(OSError):
                link.send(redirect(body=b"x" * 5_000_000))
            link.wait_closed()

        self.check_new_connection(script)

    def test_body_that_does_not_come(self):
        script = sending(redirect(body=b"0123456789")[:-1])
        self.check_new_connection(script)

    def test_endless_body(self):
        def endless(head, piece):
            def script(link):
                link.request()
                with contextlib.suppress(OSError):
                    link.send(b"HTTP/1.1 302 Found\r\nLocation: /next\r\n"
                              + head + b"\r\n")
                    while True:
                        link.send(piece)
            return script

        for head, piece in (
            (b"Transfer-Encoding: chunked\r\n", b"1000\r\n%04096d\r\n" % 0),
            (b"Transfer-Encoding: chunked\r\n", b"1"),
            (b"Content-Length: 999999999999\r\n", b"x" * 4096),
            (b"", b"x" * 4096),
        ):
            with self.subTest(head=head, piece=piece[:4]):
                self.check_new_connection(endless(head, piece))

    # Guard: a server that announces the close is taken at its word.
    def test_server_closes(self):
        def script(link):
            link.request()
            link.send(redirect(b"/next", b"", 302, b"Connection: close"))
            link.close()

        self.check_new_connection(script)

    # Guard: they must not become the response to the next request.
    def test_bytes_beyond_the_response(self):
        script = sending(redirect(body=b"body") + response(b"forged"))
        self.check_new_connection(script)

    def test_header_of_the_user(self):
        script = sending(redirect(body=b"body"))
        final = sending(FOUND)

        def in_request(peer, opener):
            return self.request(peer, headers={"Connection": "x, Close"})

        def in_opener(peer, opener):
            opener.addheaders.append(("connection", "x, Close"))
            return "/"

        for add in in_request, in_opener:
            with (self.subTest(add=add),
                  Peer(script, final, tls=self.tls) as peer):
                opener = self.opener(peer)
                request = add(peer, opener)
                self.assertEqual(self.read(peer, request, opener=opener),
                                 b"found")
                self.assertLines(peer, (0, "GET /"), (1, "GET /next"))
                for _, received in peer.requests:
                    self.assertEqual(received.headers["Connection"],
                                     "x, Close")
                peer.join()

    def test_nothing_is_drained_for_nothing(self):
        # Nothing else is going over this connection.
        with Peer(sending(redirect(body=b"body")[:-1]),
                  sending(FOUND), tls=self.tls) as peer:
            request = self.request(peer, headers={"Connection": "close"})
            with mock.patch.object(http.client.HTTPResponse, "_drain",
                                   create=True) as drain:
                self.assertEqual(self.read(peer, request), b"found")
            drain.assert_not_called()

    # Guard: another port is another server.
    def test_other_port(self):
        answer = sending(FOUND)
        with Peer(answer, tls=self.tls) as other:
            def script(link):
                link.request()
                target = self.url(other, "/next").encode()
                link.send(redirect(target, b"body"))
                link.wait_closed()

            with Peer(script, tls=self.tls) as peer:
                opener = self.opener(peer)
                if self.tls:
                    opener = self.opener(other)
                    opener.add_handler(urllib.request.HTTPSHandler(
                        context=peer.client_context()))
                self.assertEqual(self.read(peer, opener=opener), b"found")
                peer.join()     # the first connection was closed

    # Guard: as long as connections are not compared by name alone.
    def test_other_context(self):
        if self.tls is None:
            self.skipTest("only for encrypted connections")

        class Handler(urllib.request.HTTPSHandler):
            def https_open(self, req):
                return self.do_open(http.client.HTTPSConnection, req,
                                    context=peer.client_context())

        with Peer(sending(redirect()), sending(FOUND),
                  tls=self.tls) as peer:
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), Handler)
            self.assertEqual(self.read(peer, opener=opener), b"found")
            self.assertEqual(peer.accepted, 2)

    # Guard: see above.
    def test_context_changed(self):
        if self.tls is None:
            self.skipTest("only for encrypted connections")

        class Handler(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *args):
                context.check_hostname = False
                return super().redirect_request(*args)

        with Peer(sending(redirect()), sending(FOUND),
                  tls=self.tls) as peer:
            context = peer.client_context()
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), Handler,
                urllib.request.HTTPSHandler(context=context))
            self.assertEqual(self.read(peer, opener=opener), b"found")
            self.assertEqual(peer.accepted, 2)


@http_peer.over_tls
class LastResponseTests(ReuseTestCase):
    """The connection is closed after the last response."""

    def script(self, *answers):
        def script(link):
            for answer in answers:
                link.request()
                link.send(answer)
            self.assertEqual(link.wait_closed(), b"")
            self.closed.set()

        self.closed = threading.Event()
        return script

    def assertClosed(self, peer):
        peer.join()
        self.assertTrue(self.closed.is_set())

    def test_when_read(self):
        answers = redirect(), response(b"found")
        with Peer(self.script(*answers), tls=self.tls) as peer:
            resp = self.open(peer)
            self.assertEqual(resp.read(5), b"found")
            self.assertEqual(resp.read(), b"")
            self.assertClosed(peer)
            resp.close()
            self.assertEqual(peer.accepted, 1)

    # Guard: if nothing follows, the file has the connection alone, as ever.
    def test_when_its_file_is_closed(self):
        with Peer(self.script(response(b"found")), tls=self.tls) as peer:
            resp = self.open(peer)
            resp.fp.close()
            self.assertClosed(peer)
            with self.assertRaises(ValueError):
                resp.close()

    def test_when_closed(self):
        answers = redirect(), response(b"found")
        with Peer(self.script(*answers), tls=self.tls) as peer:
            resp = self.open(peer)
            self.assertEqual(resp.read(1), b"f")
            resp.close()
            self.assertClosed(peer)
            self.assertEqual(peer.accepted, 1)

    def test_when_collected(self):
        answers = redirect(), response(b"found")[:-1]
        with Peer(self.script(*answers), tls=self.tls) as peer:
            resp = self.open(peer)
            del resp
            support.gc_collect()
            self.assertClosed(peer)
            self.assertEqual(peer.accepted, 1)

    def test_at_once_without_a_body(self):
        nothing = response(b"")
        no_content = b"HTTP/1.1 204 No Content\r\n\r\n"
        for method, answer in (("GET", nothing), ("GET", no_content),
                               ("HEAD", response(b"")),
                               ("HEAD", b"HTTP/1.1 200 OK\r\n"
                                b"Transfer-Encoding: chunked\r\n\r\n")):
            with (self.subTest(method=method, answer=answer),
                  Peer(self.script(redirect(), answer), tls=self.tls) as peer):
                request = self.request(peer, method=method)
                resp = self.open(peer, request)
                self.assertClosed(peer)
                self.assertFalse(resp.closed)
                # Some ask the socket who the peer was.
                self.assertGreaterEqual(resp.fileno(), 0)
                if self.tls is not None:
                    self.assertTrue(resp.fp.raw._sock.getpeercert())
                self.assertEqual(resp.read(), b"")
                resp.close()
                self.assertEqual(peer.accepted, 1)

    def test_error_without_a_body(self):
        answers = redirect(), response(b"", status=b"404 Not Found")
        with Peer(self.script(*answers), tls=self.tls) as peer:
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.open(peer)
            self.assertClosed(peer)
            with caught.exception as error:
                self.assertEqual(error.read(), b"")
            self.assertEqual(peer.accepted, 1)

    def test_error_with_a_body(self):
        answers = redirect(), response(b"sorry", status=b"404 Not Found")
        with Peer(self.script(*answers), tls=self.tls) as peer:
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.open(peer)
            self.assertEqual(caught.exception.read(), b"sorry")
            self.assertClosed(peer)
            caught.exception.close()
            self.assertEqual(peer.accepted, 1)

    # Guard: the socket is for whoever speaks the other protocol.
    def test_upgrade(self):
        def script(link):
            link.request()
            link.send(b"HTTP/1.1 101 Switching Protocols\r\n"
                      b"Upgrade: other\r\n\r\nhello")
            self.assertEqual(link.reader.read(3), b"abc")
            link.send(b"def")
            self.assertEqual(link.wait_closed(), b"")

        with Peer(script, tls=self.tls) as peer:
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.open(peer)
            with caught.exception as error:
                fp = error.fp.fp
                self.assertEqual(fp.read(5), b"hello")
                fp.raw._sock.sendall(b"abc")
                self.assertEqual(fp.read(3), b"def")
            peer.join()

    # Guard: its body is for the caller.
    def test_redirect_that_is_refused(self):
        class Handler(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *args):
                return None

        for body in b"", b"body":
            script = self.script(redirect(body=body))
            with (self.subTest(body=body),
                  Peer(script, tls=self.tls) as peer):
                with self.assertRaises(urllib.error.HTTPError) as caught:
                    self.open(peer, "/", Handler)
                with caught.exception as error:
                    self.assertEqual(error.read(), body)
                self.assertClosed(peer)

    # Guard: as long as nothing else needs the connection.
    def test_redirect_to_another_scheme(self):
        class Handler(urllib.request.FTPHandler):
            def ftp_open(self, req):
                test.assertClosed(peer)
                return io.BytesIO(b"ftp")

        test = self
        answer = redirect(b"ftp://ftp.example/", b"body")
        with Peer(self.script(answer), tls=self.tls) as peer:
            opener = self.opener(peer, Handler)
            self.assertEqual(self.open(peer, opener=opener).read(), b"ftp")

    def test_redirect_loop(self):
        answers = [redirect(b"/", b"again")] * 5
        with Peer(self.script(*answers), tls=self.tls) as peer:
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.open(peer)
            with caught.exception as error:
                self.assertEqual(error.read(), b"again")
            self.assertClosed(peer)
            self.assertEqual(peer.accepted, 1)

    # Guard: how it was before.
    def test_when_read_as_text(self):
        with Peer(self.script(response(b"found")), tls=self.tls) as peer:
            with self.open(peer) as resp:
                text = io.TextIOWrapper(resp)
                self.assertEqual(text.read(), "found")
            self.assertClosed(peer)


@http_peer.over_tls
class AuthenticationTests(ReuseTestCase):

    def handler(self, name="HTTPBasicAuthHandler"):
        return getattr(urllib.request, name)(Passwords())

    def check(self, challenge, handler, request="/"):
        with Peer(sending(challenge, response(b"granted")),
                  tls=self.tls) as peer:
            if not isinstance(request, str):
                request = self.request(peer, **request)
            self.assertEqual(self.read(peer, request, handler), b"granted")
            self.assertEqual(peer.accepted, 1)
            first, second = [received for _, received in peer.requests]
            self.assertNotIn("Authorization", first.headers)
            self.assertIn("Authorization", second.headers)
            self.assertEqual(first.line, second.line)
            self.assertEqual(first.body, second.body)

    def test_basic(self):
        for body in b"", b"denied":
            with self.subTest(body=body):
                self.check(unauthorized(body), self.handler())

    def test_digest(self):
        self.check(unauthorized(b"denied", DIGEST),
                   self.handler("HTTPDigestAuthHandler"))

    def test_post(self):
        self.check(unauthorized(b"denied"), self.handler(),
                   {"data": b"body"})

    def test_after_a_redirect(self):
        script = sending(
            redirect(body=b"elsewhere"), unauthorized(b"denied"),
            redirect(b"/last", body=b"elsewhere"), response(b"granted"))

        with Peer(script, tls=self.tls) as peer:
            self.assertEqual(self.read(peer, "/", self.handler()), b"granted")
            self.assertLines(peer, (0, "GET /"), (0, "GET /next"),
                             (0, "GET /next"), (0, "GET /last"))

    # Guard: to drain what is not wanted must not take for ever.
    def test_endless_body(self):
        def script(link):
            link.request()
            with contextlib.suppress(OSError):
                link.send(b"HTTP/1.1 401 Unauthorized\r\n" + BASIC +
                          b"\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    link.send(b"1\r\nx\r\n")

        granted = sending(response(b"granted"))
        with Peer(script, granted, tls=self.tls) as peer:
            self.assertEqual(self.read(peer, "/", self.handler()), b"granted")
            self.assertEqual(peer.accepted, 2)

    # Guard: a Request may be shared, what happens to it is not.
    def test_request_of_another_thread(self):
        class Handler(urllib.request.BaseHandler):
            handler_order = 400

            def http_error_401(self, req, fp, code, msg, headers):
                thread = threading.Thread(target=open_again)
                thread.start()
                threading_helper.join_thread(thread)

        def open_again():
            with opener.open(request, timeout=support.SHORT_TIMEOUT) as resp:
                bodies.append(resp.read())

        script = sending(unauthorized(b"denied"))
        answer = sending(response(b"granted"))

        bodies = []
        with Peer(script, answer, tls=self.tls) as peer:
            request = self.request(peer)
            opener = self.opener(peer, Handler)
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.open(peer, request, opener=opener)
            with caught.exception as error:
                self.assertEqual(error.read(), b"denied")
            self.assertEqual(bodies, [b"granted"])

    def test_request_of_two_threads(self):
        class Handler(urllib.request.BaseHandler):
            handler_order = 400

            def http_error_401(self, req, fp, code, msg, headers):
                both.wait()
                return self.parent.open(req, timeout=req.timeout)

        def read():
            bodies.append(self.read(peer, request, opener=opener))

        script = sending(unauthorized(b"denied"), response(b"granted"))
        bodies = []
        both = threading.Barrier(2, timeout=support.SHORT_TIMEOUT)
        with Peer(script, script, tls=self.tls) as peer:
            request = self.request(peer)
            opener = self.opener(peer, Handler)
            threads = [threading.Thread(target=read) for _ in range(2)]
            with threading_helper.start_threads(threads):
                pass
            self.assertEqual(bodies, [b"granted"] * 2)
            self.assertEqual(peer.accepted, 2)

    # Guard: nothing is drained that the caller is going to get.
    def test_body_of_the_error_without_credentials(self):
        script = sending(unauthorized(b"denied"))
        with Peer(script, script, tls=self.tls) as peer:
            manager = urllib.request.HTTPPasswordMgr()
            handler = urllib.request.HTTPBasicAuthHandler(manager)
            opener = self.opener(peer, handler)
            request = self.request(peer)
            errors = []
            for _ in range(2):
                with self.assertRaises(urllib.error.HTTPError) as caught:
                    self.open(peer, request, opener=opener)
                errors.append(caught.exception)
            # To open it again does not take away what the first one has.
            for error in errors:
                with error:
                    self.assertEqual(error.read(), b"denied")

    def test_wrong_credentials(self):
        script = sending(
            unauthorized(b"denied"), unauthorized(b"denied again"))

        with Peer(script, tls=self.tls) as peer:
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.open(peer, "/", self.handler())
            with caught.exception as error:
                self.assertEqual(error.read(), b"denied again")
            peer.join()
            self.assertEqual(peer.accepted, 1)

    # Guard: an exception instead of a second request.
    def test_unknown_scheme(self):
        script = sending(
            unauthorized(b"denied", b"WWW-Authenticate: Other x=y"))

        with Peer(script, tls=self.tls) as peer:
            with self.assertRaises(ValueError):
                self.open(peer, "/", self.handler())
            support.gc_collect()
            peer.join()

    def test_connection_that_is_authenticated_itself(self):
        # A server remembers whose connection it is.
        class Handler(urllib.request.BaseHandler):
            def http_error_401(self, req, fp, code, msg, headers):
                step = len(peer.requests)
                req.add_unredirected_header("Authorization", f"NTLM {step}")
                return self.parent.open(req, timeout=req.timeout)

        step = unauthorized(b"", b"WWW-Authenticate: NTLM abc")
        script = sending(step, step, redirect(body=b"body"))
        answer = sending(FOUND)
        with Peer(script, answer, tls=self.tls) as peer:
            self.assertEqual(self.read(peer, "/", Handler), b"found")
            self.assertLines(peer, (0, "GET /"), (0, "GET /"), (0, "GET /"),
                             (1, "GET /next"))

    def test_connection_that_may_be_authenticated_itself(self):
        offer = response(b"", BASIC, b"WWW-Authenticate: Negotiate",
                         status=b"401 Unauthorized")
        with Peer(sending(offer, redirect(body=b"body")), sending(FOUND),
                  tls=self.tls) as peer:
            self.assertEqual(self.read(peer, "/", self.handler()), b"found")
            self.assertLines(peer, (0, "GET /"), (0, "GET /"),
                             (1, "GET /next"))


class ProxyTests(ReuseTestCase):

    def proxied(self, peer, scheme="http", *handlers):
        return self.opener(peer, *handlers, proxies={
            scheme: f"http://{HOST}:{peer.port}"})

    def test_redirect(self):
        with Peer(sending(redirect(body=b"body"), FOUND)) as peer:
            opener = self.proxied(peer)
            self.assertEqual(self.read(peer, "http://a.example/",
                                       opener=opener), b"found")
            self.assertLines(peer, (0, "GET http://a.example/"),
                             (0, "GET http://a.example/next"))

    # Guard: that it is the same connection is no reason to mix two servers.
    def test_redirect_to_another_host(self):
        script = sending(redirect(b"http://b.example/", b"body"))
        answer = sending(FOUND)
        with Peer(script, answer) as peer:
            opener = self.proxied(peer)
            self.assertEqual(self.read(peer, "http://a.example/",
                                       opener=opener), b"found")
            self.assertLines(peer, (0, "GET http://a.example/"),
                             (1, "GET http://b.example/"))

    def test_authentication(self):
        for name, challenge in (
            ("ProxyBasicAuthHandler", b'Basic realm="r"'),
            ("ProxyDigestAuthHandler", b'Digest realm="r", nonce="n"'),
        ):
            script = sending(
                unauthorized(b"denied", b"Proxy-Authenticate: " + challenge,
                             b"407 Proxy Authentication Required"),
                response(b"granted"))
            with self.subTest(name), Peer(script) as peer:
                handler = getattr(urllib.request, name)(Passwords())
                opener = self.proxied(peer, "http", handler)
                self.assertEqual(self.read(peer, "http://a.example/",
                                           opener=opener), b"granted")
                self.assertEqual(peer.accepted, 1)
                self.assertIn("Proxy-Authorization",
                              peer.requests[1][1].headers)


    # Guard: the answer to the challenge is not lost with the URL.
    def test_url_that_is_changed_for_each_try(self):
        class Signing(urllib.request.BaseHandler):
            def http_request(self, req):
                req.full_url = "http://a.example/?signed"
                return req

        def script(link):
            link.request()
            link.send(unauthorized(
                b"", b'Proxy-Authenticate: Basic realm="r"',
                b"407 Proxy Authentication Required"))
            link.answer(b"granted")

        with Peer(script, lambda link: link.answer(b"granted")) as peer:
            opener = self.proxied(
                peer, "http", Signing(),
                urllib.request.ProxyBasicAuthHandler(Passwords()))
            self.assertEqual(self.read(peer, "http://a.example/",
                                       opener=opener), b"granted")


@unittest.skipIf(ssl is None, "needs TLS")
class TunnelTests(ReuseTestCase):

    def through(self, peer, *handlers):
        context = ssl.create_default_context(cafile=http_peer.CERTFILE)
        return self.opener(
            peer, urllib.request.HTTPSHandler(context=context), *handlers,
            proxies={"https": f"http://user:secret@{HOST}:{peer.port}"})

    def read_through(self, peer, url="https://localhost/", *handlers):
        return self.read(peer, url, opener=self.through(peer, *handlers))

    def tunnel(self, *answers):
        """Return a script that answers at the other end of a tunnel."""
        def script(link):
            link.answer()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(http_peer.CERTFILE)
            link.start_tls(context)
            sending(*answers)(link)
        return script

    def test_redirect(self):
        target = b"https://LOCALHOST:443/next"
        with Peer(self.tunnel(redirect(target, b"body"), FOUND)) as peer:
            self.assertEqual(self.read_through(peer), b"found")
            self.assertLines(peer, (0, "CONNECT localhost:443"), (0, "GET /"),
                             (0, "GET /next"))
            self.assertIn("Proxy-Authorization", peer.requests[0][1].headers)
            for _, received in peer.requests[1:]:
                self.assertNotIn("Proxy-Authorization", received.headers)

    # Guard: the tunnel leads to one server only.
    def test_redirect_to_another_port(self):
        target = b"https://localhost:444/next"
        with Peer(self.tunnel(redirect(target, b"body")),
                  self.tunnel(FOUND)) as peer:
            self.assertEqual(self.read_through(peer), b"found")
            self.assertLines(
                peer, (0, "CONNECT localhost:443"), (0, "GET /"),
                (1, "CONNECT localhost:444"), (1, "GET /next"))

    def test_request_that_gets_another_url(self):
        # The tunnel is not to lead to the host that it had before.
        with Peer(self.tunnel(FOUND), self.tunnel(FOUND)) as peer:
            opener = self.through(peer)
            request = urllib.request.Request("https://localhost/")
            for port in 443, 444:
                request.full_url = f"https://localhost:{port}/"
                self.assertEqual(self.read(peer, request, opener=opener),
                                 b"found")
            self.assertLines(
                peer, (0, "CONNECT localhost:443"), (0, "GET /"),
                (1, "CONNECT localhost:444"), (1, "GET /"))

    def test_authentication(self):
        for name, challenge in (("HTTPBasicAuthHandler", BASIC),
                                ("HTTPDigestAuthHandler", DIGEST)):
            denied = unauthorized(b"denied", challenge)
            script = self.tunnel(denied, denied, response(b"granted"))

            class Handler(getattr(urllib.request, name)):
                tries = 0

                def get_authorization(self, *args):
                    # Whoever is asked twice has to answer twice.
                    self.tries += 1
                    return super().get_authorization(*args)

            with self.subTest(name), Peer(script) as peer:
                handler = Handler(Passwords())
                if name == "HTTPBasicAuthHandler":
                    with self.assertRaises(urllib.error.HTTPError) as caught:
                        self.read_through(peer, "https://localhost/", handler)
                    caught.exception.close()
                else:
                    self.assertEqual(self.read_through(
                        peer, "https://localhost/", handler), b"granted")
                self.assertEqual(peer.accepted, 1)
                self.assertEqual({received.target for _, received
                                  in peer.requests[1:]}, {b"/"})


@http_peer.over_tls
class SentAgainTests(ReuseTestCase):
    """What happens if the connection ends before the second request is
    answered.  Without its reuse there would have been another one."""

    def check(self, act, data=None, method=None, fresh=None, **kwargs):
        """Read the final response; the second request is met by *act*."""
        def script(link):
            link.request()
            link.send(unauthorized())
            act(link)

        answer = sending(response(b"granted"))
        self.handler = kwargs.pop("handler", None)
        if self.handler is None:
            self.handler = urllib.request.HTTPBasicAuthHandler(Passwords())
        with Peer(script, fresh or answer, tls=self.tls) as peer:
            request = self.request(peer, data=data, method=method, **kwargs)
            try:
                return self.read(peer, request, self.handler)
            finally:
                self.received = [(number, received.body)
                                 for number, received in peer.requests]

    def close_after_request(self, link):
        link.request()
        link.close()

    def test_idempotent(self):
        for method in "GET", "PUT", "DELETE", "OPTIONS", "TRACE", "HEAD":
            with self.subTest(method):
                body = self.check(self.close_after_request, method=method)
                self.assertEqual(body, b"" if method == "HEAD" else b"granted")
                self.assertEqual([number for number, _ in self.received],
                                 [0, 0, 1])

    def test_reset(self):
        def act(link):
            link.request()
            link.reset()

        self.assertEqual(self.check(act), b"granted")
        self.assertEqual(len(self.received), 3)

    def test_request_timeout(self):
        def act(link):
            link.request()
            link.send(response(b"", status=b"408 Request Timeout"))
            link.close()

        self.assertEqual(self.check(act), b"granted")
        self.assertEqual(len(self.received), 3)

    def test_body_that_can_be_repeated(self):
        # A file is read by the first request, and is at its end when the
        # request is repeated with credentials, as it always was.
        class Handler(urllib.request.HTTPBasicAuthHandler):
            def retry_http_basic_auth(self, host, req, realm):
                if hasattr(req.data, "seek"):
                    req.data.seek(7)
                return super().retry_http_basic_auth(host, req, realm)

        file = io.BytesIO(b"skipped.sent")
        file.seek(7)
        for data in b".sent", bytearray(b".sent"), file:
            with self.subTest(data=data):
                body = self.check(self.close_after_request, data, "PUT",
                                  handler=Handler(Passwords()),
                                  headers={"Content-Length": "5"})
                self.assertEqual(body, b"granted")
                self.assertEqual(self.received, [(0, b".sent"), (0, b".sent"),
                                                 (1, b".sent")])

    def check_not_sent_again(self, *args, error=ConnectionError, **kwargs):
        with self.assertRaises(error) as caught:
            self.check(*args, **kwargs)
        self.assertEqual([number for number, _ in self.received], [0, 0])
        if isinstance(caught.exception, urllib.error.HTTPError):
            caught.exception.close()
        return caught.exception

    def test_post_is_not_sent_again(self):
        self.check_not_sent_again(self.close_after_request, b"body")

    def test_post_is_not_sent_again_after_408(self):
        act = sending(response(b"", status=b"408 Request Timeout"))

        error = self.check_not_sent_again(act, b"body",
                                          error=urllib.error.HTTPError)
        self.assertEqual(error.code, 408)

    def test_body_that_cannot_be_repeated(self):
        class Repeatable(list):
            # Fit to be sent twice, but not known to be.
            def __iter__(self):
                return iter([b"bo", b"dy"])

        self.check_not_sent_again(
            self.close_after_request, Repeatable(), "PUT")

    def test_not_after_the_first_byte(self):
        def act(link):
            link.request()
            link.send(b"H")
            link.reset()

        self.check_not_sent_again(act, error=(ConnectionError,
                                              http.client.BadStatusLine))

    def test_not_after_an_interim_response(self):
        def act(link):
            link.request()
            link.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            link.close()

        self.check_not_sent_again(act)

    def test_not_after_an_interim_response_and_408(self):
        def act(link):
            link.request()
            link.send(b"HTTP/1.1 100 Continue\r\n\r\n" +
                      response(b"", status=b"408 Request Timeout"))

        self.check_not_sent_again(act, error=urllib.error.HTTPError)

    def test_not_after_a_timeout(self):
        class Handler(urllib.request.HTTPBasicAuthHandler):
            def http_error_401(self, req, *args):
                req.timeout = 0.01
                return super().http_error_401(req, *args)

        def act(link):
            link.request()
            link.wait_closed()

        self.check_not_sent_again(act, handler=Handler(Passwords()),
                                  error=TimeoutError)

    def test_not_because_nothing_came_yet(self):
        if self.tls is not None:
            self.skipTest("only for plain connections")

        class Handler(urllib.request.HTTPBasicAuthHandler):
            def http_error_401(self, req, *args):
                req.timeout = 0
                return super().http_error_401(req, *args)

        def connect(conn):
            conn.timeout = support.SHORT_TIMEOUT
            own_connect(conn)

        def script(link):
            link.request()
            link.send(unauthorized())
            link.request()
            link.wait_closed()

        own_connect = http.client.HTTPConnection.connect
        self.enterContext(mock.patch("http.client.HTTPConnection.connect",
                                     connect))
        with Peer(script, sending(response(b"granted"))) as peer:
            with self.assertRaises(ConnectionError):
                self.read(peer, "/", Handler(Passwords()))
        self.assertLines(peer, (0, "GET /"), (0, "GET /"))

    def test_not_twice(self):
        def fresh(link):
            link.request()
            link.close()

        with self.assertRaises(ConnectionError):
            self.check(self.close_after_request, fresh=fresh)
        self.assertEqual([number for number, _ in self.received], [0, 0, 1])

    # Guard: no other connection was kept, so there is nothing to doubt.
    def test_first_request_is_not_sent_again(self):
        with Peer(self.close_after_request, tls=self.tls) as peer:
            with self.assertRaises(ConnectionError):
                self.open(peer)
            self.assertEqual(peer.accepted, 1)

    # Guard: a server that has not got all of it says nothing yet.
    def test_body_that_fails(self):
        class Body(io.BytesIO):
            reads = 0

            def read(self, size=-1):
                self.reads += 1
                if self.reads > 1 and waiting.is_set():
                    raise ConnectionResetError("from elsewhere")
                return super().read(size)

        class Handler(urllib.request.HTTPBasicAuthHandler):
            def http_error_401(self, req, *args):
                body.seek(0)
                body.reads = 0
                waiting.set()
                return super().http_error_401(req, *args)

        def script(link):
            link.request()
            link.send(unauthorized())
            link.wait_closed()

        waiting = threading.Event()
        body = Body(b"b" * 20000)
        with Peer(script, lambda link: link.wait_closed(),
                  tls=self.tls) as peer:
            request = self.request(
                peer, data=body, method="PUT",
                headers={"Content-Length": "20000"})
            with (mock.patch("http.client.HTTPConnection.getresponse",
                             autospec=True, side_effect=http.client
                             .HTTPConnection.getresponse) as getresponse,
                  self.assertRaises(OSError)):
                self.read(peer, request, Handler(Passwords()))
            self.assertEqual(getresponse.call_count, 1)

    # Guard: whatever the method, as the end was seen before.
    def test_nothing_was_sent(self):
        class Handler(urllib.request.HTTPBasicAuthHandler):
            def http_error_401(self, req, fp, *args):
                go_on.set()
                wait_readable(fp)
                return super().http_error_401(req, fp, *args)

        def act(link):
            go_on.wait(support.SHORT_TIMEOUT)
            link.close()

        for data in b"body", None:
            go_on = threading.Event()
            with self.subTest(data=data):
                body = self.check(act, data, handler=Handler(Passwords()))
                self.assertEqual(body, b"granted")
                self.assertEqual(self.received, [(0, data or b""),
                                                 (1, data or b"")])


@http_peer.over_tls
class OldHandlerTests(ReuseTestCase):
    """Handlers that were written before connections were kept."""

    def check(self, *handlers, connections):
        script = sending(redirect(body=b"body"), FOUND)
        answer = sending(FOUND)
        with Peer(script, answer, tls=self.tls) as peer:
            if self.tls:
                for handler in handlers:
                    handler.context = peer.client_context()
            self.assertEqual(self.read(peer, "/", *handlers), b"found")
            self.assertEqual(peer.accepted, connections)
            self.assertLines(peer, (0, "GET /"),
                             (connections - 1, "GET /next"))

    # Guard: it reads the response, and gets a connection that is new.
    def test_http_error_302(self):
        class Handler(urllib.request.HTTPRedirectHandler):
            def http_error_302(self, req, fp, code, msg, headers):
                new = self.redirect_request(
                    req, fp, code, msg, headers,
                    urllib.parse.urljoin(req.full_url, headers["Location"]))
                fp.read()
                fp.close()
                return self.parent.open(new, timeout=req.timeout)

        self.check(Handler, connections=2)

    def test_redirect_request(self):
        class Handler(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, req, fp, code, msg, headers, newurl):
                return urllib.request.Request(newurl, headers=req.headers)

        self.check(Handler, connections=1)

    # Guard: then there is nothing to go on with.
    def test_redirect_request_that_closes(self):
        class Handler(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, req, fp, code, msg, headers, newurl):
                fp.close()
                return urllib.request.Request(newurl, headers=req.headers)

        self.check(Handler, connections=2)

    def test_do_open_that_is_called_with_something_else(self):
        made = []

        def make(base):
            class Connection(base):
                def __init__(self, *args, **kwargs):
                    made.append(self)
                    super().__init__(*args, **kwargs)
            return Connection

        http_class = make(http.client.HTTPConnection)

        class Handler(urllib.request.HTTPHandler):
            def http_open(self, req):
                return self.do_open(http_class, req)

        handlers = [Handler]
        if self.tls:
            https_class = make(http.client.HTTPSConnection)

            class SecureHandler(urllib.request.HTTPSHandler):
                def https_open(self, req):
                    return self.do_open(https_class, req,
                                        context=SecureHandler.context)
            handlers = [SecureHandler]
        self.check(*handlers, connections=1)
        self.assertEqual(len(made), 2)

    def connection_class(self):
        return (http.client.HTTPSConnection if self.tls
                else http.client.HTTPConnection)

    def opened_by(self, make):
        """Return a handler that gets its connections from *make*."""
        def http_open(self, req):
            def make_one(host, timeout):
                return make(req, host, timeout=timeout, **options)

            options = {"context": self.context} if "context" in vars(
                type(self)) else {}
            return self.do_open(make_one, req)

        base = (urllib.request.HTTPSHandler if self.tls
                else urllib.request.HTTPHandler)
        name = "https_open" if self.tls else "http_open"
        return type("Handler", (base,), {name: http_open})

    def test_function_that_makes_connections(self):
        def make(req, *args, **kwargs):
            return self.connection_class()(*args, **kwargs)

        self.check(self.opened_by(make), connections=1)

    # Guard: nobody knows where that leads, but that it is elsewhere.
    def test_function_that_makes_different_connections(self):
        def make(req, *args, **kwargs):
            connection = self.connection_class()(*args, **kwargs)
            connection.way = req.selector
            return connection

        self.check(self.opened_by(make), connections=2)

    # Guard: a copy of the request that is tried again is like any other.
    def test_request_that_is_copied(self):
        class Copying(urllib.request.BaseHandler):
            def http_error_401(self, req, fp, *args):
                again = copy.deepcopy(req)
                self.pickled = pickle.dumps(req)
                again.add_header("Authorization", "any")
                return self.parent.open(again, timeout=req.timeout)

        answers = unauthorized(b"body"), response(b"granted")
        with Peer(sending(*answers), sending(*answers[1:]),
                  tls=self.tls) as peer:
            self.assertEqual(self.read(peer, "/", Copying()), b"granted")

    # Guard: classes of http.client that have been replaced, as tests do it.
    def test_mocks(self):
        url = "http://nowhere.example/"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for spec in None, http.client.HTTPResponse:
            resp = mock.MagicMock(spec=spec, status=200, code=200,
                                  msg="OK", reason="OK")
            with (self.subTest(spec=spec),
                  mock.patch("http.client.HTTPConnection") as connection):
                connection.return_value.getresponse.return_value = resp
                self.assertIs(opener.open(url), resp)

    # Guard: what a function has opened is used, or it would be left open.
    def test_function_that_opens_connections(self):
        def make(req, *args, **kwargs):
            connection = self.connection_class()(*args, **kwargs)
            connection.connect()
            return connection

        self.check(self.opened_by(make), connections=2)

    # Guard: a do_open() of their own does all by itself.
    def test_own_do_open(self):
        def do_open(self, http_class, req, **kwargs):
            conn = http_class(req.host, timeout=req.timeout, **kwargs)
            conn.request(req.get_method(), req.selector, req.data,
                         {**req.unredirected_hdrs, **req.headers,
                          "Connection": "close"})
            resp = conn.getresponse()
            conn.sock.close()
            conn.sock = None
            resp.url = req.get_full_url()
            resp.msg = resp.reason
            return resp

        base = (urllib.request.HTTPSHandler if self.tls
                else urllib.request.HTTPHandler)

        with Peer(sending(redirect(body=b"body")), sending(FOUND),
                  tls=self.tls) as peer:
            handler = type("Handler", (base,), {"do_open": do_open})
            if self.tls:
                handler = handler(context=peer.client_context())
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), handler)
            self.assertEqual(self.read(peer, opener=opener), b"found")
            peer.join()

    # Guard: one that knows nothing of all this is closed as before.
    def test_response_class(self):
        class Response(io.BytesIO):
            status = code = 200
            reason = "OK"
            headers = {}
            will_close = False

            def __init__(self, sock, *args, **kwargs):
                super().__init__()
                self.sock_file = sock.makefile("rb")

            def begin(self):
                line = self.sock_file.readline()
                headers = http.client.parse_headers(self.sock_file)
                body = self.sock_file.read(int(headers["Content-Length"]))
                self.write(body)
                self.seek(0)

            def isclosed(self):
                return self.closed

            def info(self):
                return self.headers

            def close(self):
                self.sock_file.close()
                super().close()

        class Connection(http.client.HTTPConnection):
            response_class = Response

        class Handler(urllib.request.HTTPHandler):
            def http_open(self, req):
                return self.do_open(Connection, req)

        if self.tls:
            self.skipTest("the same for all connections")

        with Peer(sending(FOUND)) as peer:
            self.assertEqual(self.read(peer, "/", Handler), b"found")
            peer.join()


class OwnHandlerTests(ReuseTestCase):

    # Guard: it is asked only once where to.
    def test_a_host_that_changes(self):
        class Request(urllib.request.Request):
            hosts = []

            @property
            def host(self):
                return self.hosts.pop(0) if self.hosts else "elsewhere.invalid"

            @host.setter
            def host(self, host):
                pass

        with Peer(sending(FOUND)) as peer:
            request = Request(self.url(peer))
            request.timeout = support.SHORT_TIMEOUT
            request.hosts.append(f"{HOST}:{peer.port}")
            with urllib.request.HTTPHandler().http_open(request) as resp:
                self.assertEqual(resp.read(), b"found")

    # Subclasses have methods of that name, to be given to do_open().
    def test_names_that_subclasses_have(self):
        class Handler(urllib.request.HTTPHandler):
            def _make_connection(self, host, **kwargs):
                return http.client.HTTPConnection(host, **kwargs)

            def _send(self):
                self.fail("only this class knows what it is for")

            def http_open(self, req):
                return self.do_open(self._make_connection, req)

        with Peer(sending(redirect(), FOUND)) as peer:
            with self.open(peer, "/", Handler()) as resp:
                self.assertEqual(resp.read(), b"found")

    # Guard: what can be read need not have a position.
    def test_a_body_that_cannot_tell(self):
        class Body(io.BytesIO):
            def tell(self):
                raise NotImplementedError

        denied = response(b"", BASIC, status=b"401 Unauthorized")
        with Peer(sending(denied, FOUND), sending(FOUND)) as peer:
            request = urllib.request.Request(self.url(peer), Body(b"body"))
            with self.open(peer, request,
                           urllib.request.HTTPBasicAuthHandler(Passwords())
                           ) as resp:
                self.assertEqual(resp.read(), b"found")


class DestinationTests(unittest.TestCase):
    """What leads to the same place."""

    def setUp(self):
        # Nothing is to be sent.
        self.enterContext(mock.patch("socket.create_connection",
                                     side_effect=OSError))

    def destination(self, host, make=http.client.HTTPConnection, tunnel=None,
                    credentials=None, **options):
        destinations = []

        class Handler(urllib.request.AbstractHTTPHandler):
            def _get_lease(self, req, destination):
                destinations.append(destination)
                return super()._get_lease(req, destination)

        request = urllib.request.Request(f"http://{host}/")
        request.timeout = support.SHORT_TIMEOUT
        request._tunnel_host = tunnel
        if credentials is not None:
            request.add_header("Proxy-Authorization", credentials)
        with contextlib.suppress(OSError):
            Handler().do_open(make, request, **options)
        self.assertEqual(len(destinations), 1)
        return destinations[0]

    def changed(self, **attributes):
        """Return a function that makes connections and changes them."""
        def make(*args, **kwargs):
            connection = http.client.HTTPConnection(*args, **kwargs)
            vars(connection).update(attributes)
            return connection
        return make

    def test_same(self):
        for one, other in (("a.example", "A.Example"),
                           ("a.example", "a.example:80"),
                           ("[::1]", "[::1]:80"),
                           ("a.example:81", "A.EXAMPLE:81")):
            with self.subTest(f"{one} {other}"):
                destination = self.destination(one)
                self.assertIsNotNone(destination)
                self.assertEqual(destination, self.destination(other))
        self.assertEqual(*(
            self.destination("a.example", tunnel=tunnel)
            for tunnel in ("B.example:443", "b.example:443")))
        self.assertEqual(*(self.destination("a.example", self.changed())
                           for _ in range(2)))

    def test_class_is_told_by_its_arguments(self):
        class Connection(http.client.HTTPConnection):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.lock = threading.Lock()
                self.list = []

        one, other = (self.destination("a.example", Connection)
                      for _ in range(2))
        self.assertIsNotNone(one)
        self.assertEqual(one, other)
        # A function has other ways.
        one, other = (
            self.destination("a.example", self.changed(lock=lock))
            for lock in (threading.Lock(), threading.Lock()))
        self.assertIsNotNone(one)
        self.assertNotEqual(one, other)

    def test_different(self):
        class Other(http.client.HTTPConnection):
            pass

        old = mock.patch.object(http.client.HTTPConnection, "_http_vsn", 10)
        one = self.destination("a.example")
        self.assertIsNotNone(one)
        for other in (
            self.destination("a.example."),
            self.destination("b.example"),
            self.destination("a.example:81"),
            self.destination("a.example", Other),
            self.destination("a.example", source_address=("127.0.0.1", 0)),
            self.destination("a.example", tunnel="b.example:80"),
            old(self.destination)("a.example"),
        ):
            self.assertNotEqual(one, other)
        self.assertEqual(len({
            self.destination("a.example", self.changed(**attributes))
            for attributes in (
                {}, {"way": "elsewhere"}, {"source_address": ("", 1)},
                {"_create_connection": mock.Mock(side_effect=OSError)})}), 4)
        self.assertEqual(len({
            self.destination("a.example", tunnel=tunnel,
                             credentials=credentials)
            for tunnel, credentials in (
                ("b.example:443", None), ("b.example:444", None),
                ("c.example:443", None), ("b.example:443", "x"),
                ("b.example:443", "y"))}), 5)

    def check_known(self, *calls):
        _lease = urllib.request._lease
        # What is known beforehand tells apart what the connections do.
        told = [(_lease.known_destination(http_class, host, options),
                 _lease.destination_of(http_class(host, **options),
                                       http_class, options))
                for http_class, options in calls
                for host in ("a.example", "A.Example:80", "a.example:443",
                             "a.example:", "b.example", "127.0.0.1:81",
                             "[FE80::A]", "[fe80::a]:80", "[fe80::a%1]:443")]
        for known, made in told:
            self.assertIsNotNone(known)
            self.assertEqual([known == other for other, _ in told],
                             [made == other for _, other in told], made)

    def test_known_without_a_connection(self):
        calls = [(http.client.HTTPConnection, {})]
        if ssl is not None:
            calls += [(http.client.HTTPSConnection,
                       {"context": ssl.create_default_context()})
                      for _ in range(2)]
        self.check_known(*calls)
        with mock.patch.object(http.client.HTTPConnection, "default_port", 81):
            self.check_known(*calls)

    def test_urlcleanup(self):
        _lease = urllib.request._lease
        _lease.known_destination(http.client.HTTPConnection, "a.example", {})
        self.assertGreater(_lease._place_of.cache_info().currsize, 0)
        urllib.request.urlcleanup()
        self.assertEqual(_lease._place_of.cache_info().currsize, 0)

    def test_not_known_without_a_connection(self):
        _lease = urllib.request._lease
        class Unhashable(type):
            __hash__ = None

        class Other(http.client.HTTPConnection, metaclass=Unhashable):
            pass

        for make, options in (
            (Other, {}),
            (type("Other", (http.client.HTTPConnection,), {}), {}),
            (self.changed(), {}),
            (http.client.HTTPConnection, {"source_address": None}),
            (http.client.HTTPConnection, {"context": object()}),
            # Each would have a context of its own.
            *[(http.client.HTTPSConnection, options)
              for options in ({}, {"context": None}) if ssl],
        ):
            with self.subTest(f"{make} {options}"):
                self.assertIsNone(_lease.known_destination(
                    make, "a.example", options))

    # Guard: it is taken apart in another place now.
    def test_no_host(self):
        for host in "a.example:x", "a\x7f.example":
            request = urllib.request.Request("http://a.example/")
            request.host = host
            request.timeout = support.SHORT_TIMEOUT
            with self.subTest(host), self.assertRaises(http.client.InvalidURL):
                urllib.request.HTTPHandler().http_open(request)

    @unittest.skipIf(ssl is None, "only for encrypted connections")
    def test_context_changed(self):
        _lease = urllib.request._lease
        def known():
            return _lease.known_destination(cls, "a.example", options)

        def made():
            return _lease.destination_of(cls("a.example", **options), cls,
                                         options)

        cls = http.client.HTTPSConnection
        for find in known, made:
            context = ssl.create_default_context()
            options = {"context": context}
            for name, value in (
                ("check_hostname", False), ("verify_mode", ssl.CERT_NONE),
                ("verify_flags", ssl.VERIFY_CRL_CHECK_LEAF),
                ("options", context.options ^ ssl.OP_NO_TICKET),
                ("minimum_version", ssl.TLSVersion.TLSv1_3),
                ("maximum_version", ssl.TLSVersion.TLSv1_3),
            ):
                with self.subTest(f"{find.__name__}, {name}"):
                    before = find()
                    self.assertIsNotNone(before)
                    self.assertEqual(before, find())
                    setattr(context, name, value)
                    self.assertNotEqual(before, find())

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_different_contexts(self):
        def make(*args, **kwargs):
            return cls(*args, **kwargs)

        def make_same(*args, context, **kwargs):
            return cls(*args, context=contexts[0], **kwargs)

        def make_another(*args, context, **kwargs):
            return cls(*args, context=ssl.create_default_context(), **kwargs)

        cls = http.client.HTTPSConnection
        contexts = [ssl.create_default_context() for _ in range(2)]
        for function, count in ((cls, 2), (make, 2), (make_another, 4),
                                (make_same, 2)):
            self.assertEqual(len({
                self.destination("a.example", function, context=context)
                for context in contexts * 2}), count)
        self.assertNotEqual(self.destination("a.example:443"),
                            self.destination("a.example:443", cls))

    def test_unknown(self):
        class Slots(http.client.HTTPConnection):
            __slots__ = "way"

        def slots(*args, **kwargs):
            connection = Slots(*args, **kwargs)
            connection.way = "elsewhere"
            return connection

        def other(*args, **kwargs):
            return mock.Mock()

        for make in (other, slots, self.changed(way=[]),
                     self.changed(sock=mock.Mock(**{
                         "sendall.side_effect": OSError}))):
            self.assertIsNone(self.destination("a.example", make))
        self.assertIsNone(self.destination("a.example", source_address=[]))


class DrainTests(unittest.TestCase):
    """How much is read of a response that nobody wants."""

    def drain(self, script, size, seconds):
        """Return (whether the connection can go on, what was sent)."""
        with Peer(script) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            resp = conn.getresponse()
            resp._drain(size, seconds)
            self.assertTrue(resp.isclosed())
            if conn.sock is not None:
                self.assertEqual(conn.sock.gettimeout(),
                                 support.SHORT_TIMEOUT)
            return conn._is_reusable()

    def test_received_whole(self):
        class Noting:
            timeouts = []

            def settimeout(self, timeout):
                self.timeouts.append(timeout)
                super().settimeout(timeout)

        with Peer(sending(response(b"x" * 10))) as peer:
            conn = peer.connect(mixin=Noting)
            conn.request("GET", "/")
            resp = conn.getresponse()
            self.assertEqual(resp.fp.rest(), 10)
            Noting.timeouts.clear()
            resp._drain(100, support.SHORT_TIMEOUT)
            self.assertEqual(Noting.timeouts, [])
            self.assertTrue(conn._is_reusable())

    def test_up_to_the_size(self):
        script = sending(response(b"x" * 100_000))
        self.assertTrue(self.drain(script, 100_000, support.SHORT_TIMEOUT))

    def test_beyond_the_size(self):
        def script(link):
            link.request()
            with contextlib.suppress(OSError):
                link.send(response(b"x" * 1_000_000))

        self.assertFalse(self.drain(script, 500_000, support.SHORT_TIMEOUT))

    def test_in_time(self):
        def script(link):
            link.request()
            answer = response(b"x" * 10)
            link.send(answer[:-5])
            go_on.wait(support.SHORT_TIMEOUT)
            link.send(answer[-5:])
            link.wait_closed()

        go_on = threading.Event()
        timer = threading.Timer(0.01, go_on.set)
        self.addCleanup(timer.join)
        timer.start()
        self.assertTrue(self.drain(script, 100, support.SHORT_TIMEOUT))

    def test_too_late(self):
        script = sending(response(b"x" * 10)[:-5])
        self.assertFalse(self.drain(script, 100, 0.01))

    def test_after_an_interrupt(self):
        class Interrupted:
            interrupts = 0

            def recv_into(self, *args):
                if self.interrupts:
                    self.interrupts -= 1
                    raise KeyboardInterrupt
                return super().recv_into(*args)

        with Peer(sending(response(b"x" * 10)[:-5])) as peer:
            conn = peer.connect(mixin=Interrupted)
            conn.request("GET", "/")
            resp = conn.getresponse()
            self.assertEqual(resp.read(5), b"x" * 5)
            conn.sock.interrupts = 1
            with self.assertRaises(KeyboardInterrupt):
                resp.read(1)
            # Nobody can know the end of it, so there is no use in waiting.
            resp._drain(100, support.LONG_TIMEOUT)
            self.assertFalse(conn._is_reusable())

    def test_cut_short(self):
        def script(link):
            link.request()
            link.send(response(b"x" * 10)[:-5])
            link.close()

        self.assertFalse(self.drain(script, 100, support.SHORT_TIMEOUT))

    def test_reset(self):
        def script(link):
            link.request()
            link.send(response(b"x" * 10)[:-5])
            link.reset()

        # The reset may already be met where the response begins.
        with contextlib.suppress(ConnectionError):
            self.assertFalse(self.drain(script, 100, support.SHORT_TIMEOUT))


if __name__ == "__main__":
    unittest.main()
