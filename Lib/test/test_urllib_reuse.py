"""Tests of redirects and authentication over one connection in urllib."""

import contextvars
import gzip
import http.client
import io
import shutil
import socket
import threading
import unittest
import urllib.error
import urllib.request
import weakref
from test import http_peer, support
from test.http_peer import (BASIC, FORGED, HOST, Authenticator, Link,
                            Passwords, ending, flood, response, send_408,
                            sending, ssl, tunnelling, wait_readable)
from test.support import threading_helper
from unittest import mock

DIGEST = b'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"'
FOUND = response(b"found")


def redirect(target=b"/next", body=b"", *headers, code=302):
    return response(body, b"Location: " + target, *headers,
                    status=b"%d Elsewhere" % code)


def denied(body=b"denied", challenge=BASIC, status=b"401 Unauthorized"):
    return response(body, challenge, status=status)


def basic():
    return urllib.request.HTTPBasicAuthHandler(Passwords())


class OpenTestCase(http_peer.URLTestCase):

    def open(self, peer, *handlers, opener=None, url=None, **kwargs):
        return super().open(opener or self.opener(*handlers, peer=peer),
                            url or peer, **kwargs)

    def assertLines(self, peer, *expected):
        """What was received: (connection number, method and target)."""
        self.assertEqual([(number, received.line.rpartition(b" ")[0].decode())
                          for number, received in peer.requests],
                         list(expected))


@http_peer.over_tls
class ReusedTests(OpenTestCase):

    def check(self, *answers, lines, handlers=(), body=b"found", **kwargs):
        peer = self.peer(sending(*answers))
        self.assertEqual(self.read(peer, *handlers, **kwargs), body)
        self.assertLines(peer, *[(0, line) for line in lines])
        return [received for _, received in peer.requests]

    def test_redirect(self):
        for code in 301, 302, 303, 307, 308:
            for method, body in ("GET", b"found"), ("HEAD", b""):
                with self.subTest(code=code, method=method):
                    received = self.check(
                        redirect(code=code, body=body.upper()), response(body),
                        method=method, body=body,
                        lines=[f"{method} /", f"{method} /next"])
                    for request in received:
                        self.assertNotIn("Connection", request.headers)

    def test_redirect_of_a_post(self):
        for code in 301, 302, 303:
            with self.subTest(code):
                received = self.check(redirect(code=code), FOUND, data=b"body",
                                      lines=["POST /", "GET /next"])
                self.assertEqual(received[1].body, b"")

    def test_framings_of_a_redirect(self):
        head = b"HTTP/1.1 302 Found\r\nLocation: /next\r\n"
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
        for answer in (chunked + b"0\r\n\r\n",
                       chunked + b"3\r\nabc\r\n0\r\nT: t\r\n\r\n",
                       redirect(body=b"x" * 256 * 1024)):
            with self.subTest(answer=answer[:100]):
                self.check(answer, FOUND, lines=["GET /", "GET /next"])

    def test_chain_of_redirects(self):
        chain = [redirect(b"/%d" % i, b"body") for i in range(9)]
        self.check(*chain, FOUND,
                   lines=["GET /", *[f"GET /{i}" for i in range(9)]])

    @unittest.skipUnless(hasattr(socket, "TCP_QUICKACK"), "needs Linux")
    def test_parts_of_a_response_are_acknowledged_at_once(self):
        peer = self.peer(sending(redirect(), FOUND))
        with self.open(peer) as resp:
            self.assertTrue(resp.fp.raw._sock.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_QUICKACK))

    def test_absolute_location(self):
        def script(link):
            sending(redirect(self.url(peer, "/next").encode()),
                    redirect(f"//{HOST.upper()}:{peer.port}".encode()),
                    FOUND)(link)

        peer = self.peer(script)
        self.assertEqual(self.read(peer), b"found")
        self.assertEqual(peer.accepted, 1)

    def test_authentication(self):
        digest = urllib.request.HTTPDigestAuthHandler(Passwords())
        for challenge, handler in (BASIC, basic()), (DIGEST, digest):
            for body in b"", b"denied":
                for data, line in (None, "GET /"), (b"body", "POST /"):
                    with self.subTest(challenge=challenge, body=body):
                        first, second = self.check(
                            denied(body, challenge), FOUND, data=data,
                            handlers=[handler], lines=[line] * 2)
                        self.assertNotIn("Authorization", first.headers)
                        self.assertIn("Authorization", second.headers)
                        self.assertEqual(first.body, second.body)

    def test_authentication_among_redirects(self):
        self.check(redirect(body=b"x"), denied(), redirect(b"/last"), FOUND,
                   handlers=[basic()],
                   lines=["GET /", "GET /next", "GET /next", "GET /last"])

    def test_handler_with_its_own_class_of_connections(self):
        class Connection(http.client.HTTPConnection):
            pass

        class Handler(urllib.request.HTTPHandler):
            def http_open(self, req):
                return self.do_open(Connection, req)

        self.tls = None
        self.check(redirect(), FOUND, handlers=[Handler],
                   lines=["GET /", "GET /next"])

    def test_response_is_that_of_the_last_request(self):
        peer = self.peer(sending(redirect(), response(b"found", b"A: b")))
        with self.open(peer) as resp:
            self.assertEqual(resp.url, self.url(peer, "/next"))
            self.assertEqual((resp.status, resp.msg), (200, "OK"))
            self.assertEqual(resp.headers["A"], "b")
            self.assertEqual(resp.fp.raw._sock.gettimeout(),
                             support.SHORT_TIMEOUT)
        self.assertEqual(peer.accepted, 1)


@http_peer.over_tls
class NotReusedTests(OpenTestCase):

    def check(self, first, *handlers, **kwargs):
        peer = self.peer(first, sending(FOUND))
        self.assertEqual(self.read(peer, *handlers, **kwargs), b"found")
        self.assertEqual([number for number, _ in peer.requests], [0, 1])

    def test_redirect_that_no_request_can_follow(self):
        for answer in (
            redirect(b"/", b"", b"Connection: close"),
            redirect(body=b"body") + FORGED,
            # Of this, not more than 256 KiB are read.
            redirect(body=b"x" * 512 * 1024),
            # Its end does not come.
            redirect(body=b"0123456789")[:-1],
        ):
            with self.subTest(answer=answer[:100]):
                self.check(sending(answer))

    def test_body_that_is_too_long(self):
        for fields, piece in (
            (b"Transfer-Encoding: chunked\r\n", b"1000\r\n%04096d\r\n" % 0),
            (b"Transfer-Encoding: chunked\r\n", b"1"),
            (b"Content-Length: 999999999999\r\n", b"x" * 4096),
            (b"", b"x" * 4096),
        ):
            for status in b"302 Found", b"401 Unauthorized":
                head = (b"HTTP/1.1 %s\r\n%s\r\nLocation: /next\r\n%s\r\n"
                        % (status, BASIC, fields))
                with self.subTest(fields=fields, status=status):
                    self.check(
                        ending(end=lambda link: flood(link, head, piece)),
                        basic())

    def test_connection_header_of_the_caller(self):
        for headers, addheaders in (({"Connection": "x, Close"}, []),
                                    ({}, [("connection", "x, Close")])):
            peer = self.peer(sending(redirect(body=b"body")), sending(FOUND))
            opener = self.opener(peer=peer)
            opener.addheaders += addheaders
            self.assertEqual(
                self.read(peer, opener=opener, headers=headers), b"found")
            self.assertEqual([(number, received.headers["Connection"])
                              for number, received in peer.requests],
                             [(0, "x, Close"), (1, "x, Close")])

    def test_other_server(self):
        def script(link):
            peer.join()     # its connection is closed by now
            sending(FOUND)(link)

        self.tls = None
        for body, missing in (b"", 0), (b"body", 0), (b"its end is late", 1):
            other = self.peer(script)
            answer = redirect(self.url(other, "/next").encode(), body)
            peer = self.peer(sending(answer[:len(answer) - missing]))
            with self.subTest(body=body):
                self.assertEqual(self.read(peer), b"found")

    def test_connection_authenticated_by_ntlm(self):
        step = denied(challenge=b"WWW-Authenticate: NTLM abc")
        peer = self.peer(sending(step, step, redirect(body=b"body")),
                         sending(FOUND))
        self.assertEqual(
            self.read(peer, Authenticator("NTLM 1", "NTLM 2")), b"found")
        self.assertLines(peer, (0, "GET /"), (0, "GET /"), (0, "GET /"),
                         (1, "GET /next"))

    # Guard: the context is copied, but each thread has its own connections.
    @threading_helper.requires_working_threading()
    def test_thread_with_the_same_context(self):
        class Handler(urllib.request.BaseHandler):
            def http_response(self, req, resp):
                context = contextvars.copy_context()
                threads.append(threading.Thread(
                    target=context.run, args=(open_other,)))
                threads[0].start()
                has_begun.wait(support.SHORT_TIMEOUT)
                return resp

            https_response = http_response

        def open_other():
            has_begun.set()
            bodies.append(self.read(other))

        def answer_late(link):
            has_ended.wait(support.SHORT_TIMEOUT)
            link.send(FOUND)

        threads, bodies = [], []
        has_begun, has_ended = threading.Event(), threading.Event()
        peer = self.peer(sending(FOUND))
        other = self.peer(ending(end=answer_late))
        self.assertEqual(self.read(peer, Handler), b"found")
        has_ended.set()
        threading_helper.join_thread(threads[0])
        self.assertEqual(bodies, [b"found"])

    @support.requires_fork()
    def test_child_process(self):
        class Handler(urllib.request.BaseHandler):
            def http_request(self, req):
                if req.selector == "/next":
                    pid = http_peer.fork(child)
                    support.wait_process(pid, exitcode=0)
                return req

            https_request = http_request

        def child():
            self.assertEqual(self.read(peer, opener=opener, method="PUT"),
                             b"child")

        peer = self.peer(sending(redirect(), FOUND),
                         sending(response(b"child")))
        opener = self.opener(Handler, peer=peer)
        self.assertEqual(self.read(peer, opener=opener), b"found")

    # Guard: a server of one connection at a time is not blocked.
    def test_open_inside_of_open(self):
        class Handler(urllib.request.BaseHandler):
            def http_request(handler, req):
                if req.host != f"{HOST}:0":
                    return req
                handler.parent.open(self.url(peer, "/token")).read()
                req.host = f"127.0.0.1:{peer.port}"
                return req

        def script(link):
            has_ended.wait(support.SHORT_TIMEOUT)
            sending(FOUND)(link)

        def first(link):
            sending(response(b"token"))(link)
            has_ended.set()

        self.tls = None
        has_ended = threading.Event()
        peer = self.peer(first, script)
        with self.open(peer, Handler, url=f"http://{HOST}:0/") as resp:
            self.assertTrue(has_ended.is_set())
            self.assertEqual(resp.read(), b"found")

    # Guard: the connection of another thread is not used.
    def test_request_that_another_thread_opens_again(self):
        class Handler(urllib.request.BaseHandler):
            handler_order = 400

            def http_error_401(self, req, fp, code, msg, headers):
                thread = threading.Thread(target=open_again, args=[req])
                with threading_helper.start_threads([thread]):
                    pass

        def open_again(req):
            with opener.open(req, timeout=support.SHORT_TIMEOUT) as resp:
                bodies.append(resp.read())

        bodies = []
        peer = self.peer(sending(denied()), sending(FOUND))
        opener = self.opener(Handler, peer=peer)
        self.assertEqual(self.get(peer, opener=opener).read(), b"denied")
        self.assertEqual(bodies, [b"found"])


@http_peer.over_tls
class LastResponseTests(OpenTestCase):
    """When the connection of the last response is closed."""

    def check_closed_by(self, act, answer, **kwargs):
        """Open a URL, and wait until *act* has closed the connection."""
        peer = self.peer(sending(redirect(), answer))
        resp = self.get(peer, **kwargs)
        act(resp)
        peer.join()
        self.assertEqual(peer.accepted, 1)

    def test_when_read(self):
        missing = response(b"sorry", status=b"404 Not Found")
        self.check_closed_by(lambda resp: resp.read(), FOUND)
        self.check_closed_by(lambda resp: resp.read(5), FOUND)
        self.check_closed_by(lambda resp: resp.read(), missing)
        self.check_closed_by(lambda resp: io.TextIOWrapper(resp).read(),
                             FOUND)

    def test_when_closed(self):
        self.check_closed_by(lambda resp: resp.close(), FOUND[:-1])
        peer = self.peer(sending(redirect(), FOUND[:-1]))
        resp = self.open(peer)
        resp.fp.close()
        peer.join()
        with self.assertRaises(ValueError):
            resp.close()

    def test_when_collected(self):
        peer = self.peer(sending(redirect(), FOUND[:-1]))
        self.open(peer)
        support.gc_collect()
        peer.join()
        self.assertEqual(peer.accepted, 1)

    def test_when_read_without_a_body(self):
        def check(resp):
            if isinstance(resp, urllib.error.HTTPError):
                resp = resp.fp
            self.assertFalse(resp.closed)
            # Some programs ask for the address of the server.
            sock = resp.fp.raw._sock
            self.assertEqual(sock.getpeername()[0], sock.getsockname()[0])
            self.assertEqual(resp.read(), b"")

        for method, answer in (("GET", response()),
                               ("GET", b"HTTP/1.1 204 No\r\n\r\n"),
                               ("GET", response(status=b"404 Not Found")),
                               ("HEAD", response()),
                               ("HEAD", http_peer.chunked())):
            with self.subTest(method=method, answer=answer):
                self.check_closed_by(check, answer, method=method)

    def test_redirect_loop(self):
        peer = self.peer(sending(*[redirect(b"/", b"again")] * 5))
        self.assertEqual(self.get(peer).read(), b"again")
        peer.join()
        self.assertEqual(peer.accepted, 1)

    # Guard: the body is for the caller.
    def test_body_of_a_redirect_that_is_refused(self):
        class Handler(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *args):
                return None

        peer = self.peer(sending(redirect(body=b"body")))
        self.assertEqual(self.get(peer, Handler).read(), b"body")
        peer.join()

    # Guard: what follows is another protocol.
    def test_upgrade(self):
        def script(link):
            link.request()
            link.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello")
            self.assertEqual(link.reader.read(3), b"abc")
            link.send(b"def")
            self.assertEqual(link.wait_closed(), b"")

        peer = self.peer(script)
        fp = self.get(peer).fp.fp
        self.assertEqual(fp.read(5), b"hello")
        fp.raw._sock.sendall(b"abc")
        self.assertEqual(fp.read(3), b"def")


# Guard: before, the body ended with the connection.
@http_peer.over_tls
class FramingTests(OpenTestCase):
    """The server leaves the connection open, and the body ends anyway."""

    def test_body_ends_where_its_framing_ends(self):
        head = b"HTTP/1.1 200 OK\r\n"
        length = b"Content-Length: 4\r\n\r\nbody"
        chunks = b"4\r\nbody\r\n0\r\n\r\n"
        for answer in (
            head + length,
            head + b"X-Frame-Options : DENY\r\n" + length,
            head + b"no colon\r\n" + length,
            head + b"Content-Length: 4, 4\r\n\r\nbody",
            head + b"Transfer-Encoding: chunked \r\n\r\n" + chunks,
            b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        ):
            with self.subTest(answer=answer):
                peer = self.peer(sending(answer))
                resp = self.get(peer)
                self.assertEqual(resp.read(),
                                 b"" if resp.status == 304 else b"body")

    def test_file_of_the_response_ends(self):
        def copy(resp):
            file = io.BytesIO()
            shutil.copyfileobj(resp.fp, file)
            return file.getvalue()

        def unzip(resp):
            resp.length = None
            with gzip.GzipFile(fileobj=resp.fp) as file:
                return file.read()

        for read, body in ((lambda resp: resp.fp.read(), b"body"),
                           (copy, b"body"), (unzip, gzip.compress(b"body"))):
            peer = self.peer(sending(response(body)))
            with self.open(peer) as resp:
                self.assertEqual(read(resp), b"body")


class ProxyTests(OpenTestCase):

    def proxied(self, peer, *handlers):
        return self.opener(*handlers, proxies={
            "http": f"http://{HOST}:{peer.port}"})

    def test_redirect(self):
        peer = self.peer(sending(redirect(body=b"body"), FOUND))
        self.assertEqual(self.read(peer, url="http://a.example/",
                                   opener=self.proxied(peer)), b"found")
        self.assertLines(peer, (0, "GET http://a.example/"),
                         (0, "GET http://a.example/next"))

    def test_authentication(self):
        for name, scheme in (("ProxyBasicAuthHandler", b"Basic"),
                             ("ProxyDigestAuthHandler", b"Digest")):
            challenge = b'Proxy-Authenticate: %s realm="r", nonce="n"' % scheme
            peer = self.peer(sending(
                denied(challenge=challenge, status=b"407 Denied"), FOUND))
            handler = getattr(urllib.request, name)(Passwords())
            with self.subTest(name):
                self.assertEqual(
                    self.read(peer, url="http://a.example/",
                              opener=self.proxied(peer, handler)), b"found")
                self.assertEqual(peer.accepted, 1)


@unittest.skipIf(ssl is None, "needs TLS")
class TunnelTests(OpenTestCase):

    def read_through(self, peer, *handlers):
        context = ssl.create_default_context(cafile=http_peer.CERTFILE)
        opener = self.opener(
            urllib.request.HTTPSHandler(context=context), *handlers,
            proxies={"https": f"http://{HOST}:{peer.port}"})
        return self.read(peer, url="https://localhost/", opener=opener)

    def test_redirect(self):
        target = b"https://LOCALHOST:443/next"
        peer = self.peer(tunnelling(sending(redirect(target, b"body"), FOUND)))
        self.assertEqual(self.read_through(peer), b"found")
        self.assertLines(peer, (0, "CONNECT localhost:443"), (0, "GET /"),
                         (0, "GET /next"))

    # Guard: a tunnel leads to one server only.
    def test_redirect_to_another_port(self):
        target = b"https://localhost:444/next"
        peer = self.peer(tunnelling(sending(redirect(target, b"body"))),
                         tunnelling(sending(FOUND)))
        self.assertEqual(self.read_through(peer), b"found")
        self.assertLines(peer, (0, "CONNECT localhost:443"), (0, "GET /"),
                         (1, "CONNECT localhost:444"), (1, "GET /next"))

    def test_authentication(self):
        peer = self.peer(tunnelling(sending(denied(), FOUND)))
        self.assertEqual(self.read_through(peer, basic()), b"found")
        self.assertEqual(peer.accepted, 1)


@http_peer.over_tls
class SentAgainTests(OpenTestCase):
    """The connection ends before the second request is answered."""

    def check(self, end, *more, error=None, **kwargs):
        """Return the numbers of the connections of all requests."""
        peer = self.peer(ending(denied(), end=end), *more, sending(FOUND))
        if error is None:
            self.assertEqual(self.read(peer, basic(), **kwargs), b"found")
        else:
            with self.assertRaises(error) as caught:
                self.read(peer, basic(), **kwargs)
            if error is urllib.error.HTTPError:
                caught.exception.close()
        return [number for number, _ in peer.requests]

    def test_once_if_the_request_is_idempotent(self):
        for end in Link.close, Link.reset, send_408:
            for method, data in ("GET", None), ("PUT", b"body"):
                with self.subTest(end=end, method=method):
                    self.assertEqual(self.check(end, method=method, data=data),
                                     [0, 0, 1])
        self.assertEqual(self.check(Link.close, ending(end=Link.close),
                                    error=ConnectionError), [0, 0, 1])

    def test_not_otherwise(self):
        for end, error, data in (
            (Link.close, ConnectionError, b"pay"),
            (send_408, urllib.error.HTTPError, b"pay"),
            (lambda link: (link.send(b"H"), link.close()),
             http.client.HTTPException, None),
        ):
            with self.subTest(error):
                self.assertEqual(self.check(end, error=error, data=data),
                                 [0, 0])

    # Guard: nothing was sent over the first connection.
    def test_any_method_if_the_end_was_noticed_before(self):
        class Handler(urllib.request.HTTPBasicAuthHandler):
            def http_error_401(self, req, fp, *args):
                go_on()
                wait_readable(fp)
                return super().http_error_401(req, fp, *args)

        script, go_on = http_peer.ending_idle(denied())
        peer = self.peer(script, sending(FOUND))
        self.assertEqual(self.read(peer, Handler(Passwords()), data=b"once"),
                         b"found")
        self.assertLines(peer, (0, "POST /"), (1, "POST /"))


class HandlerTests(OpenTestCase):
    """Handlers that were written for a connection per request."""

    # Guard: its redirect works, over one connection or two.
    def test_handler_that_reads_and_closes_the_redirect(self):
        class Handler(urllib.request.HTTPRedirectHandler):
            def http_error_302(self, req, fp, code, msg, headers):
                new = self.redirect_request(
                    req, fp, code, msg, headers,
                    urllib.parse.urljoin(req.full_url, headers["Location"]))
                fp.read()
                fp.close()
                return self.parent.open(new, timeout=req.timeout)

        script = sending(redirect(body=b"body"), FOUND)
        peer = self.peer(script, sending(FOUND))
        self.assertEqual(self.read(peer, Handler), b"found")

    # Guard: mocks of http.client can be used.
    def test_mocks(self):
        resp = mock.MagicMock(spec=http.client.HTTPResponse, status=200,
                              code=200, msg="OK", reason="OK")
        with mock.patch("http.client.HTTPConnection") as connection:
            connection.return_value.getresponse.return_value = resp
            self.assertIs(self.opener().open("http://a.example/"), resp)

    # Guard: a scope, its leases and its connections are no cycle.
    def test_connection_is_not_left_to_the_garbage_collector(self):
        class Connection(http.client.HTTPConnection):
            def connect(self):
                super().connect()
                connections.append(weakref.ref(self))

        class Handler(urllib.request.HTTPHandler):
            def http_open(self, req):
                return self.do_open(Connection, req)

        connections = []
        peer = self.peer(sending(redirect(), FOUND), sending(FOUND))
        with support.disable_gc():
            self.assertEqual(self.read(peer, Handler), b"found")
            self.assertEqual([ref() for ref in connections if ref()], [])

    # Guard: HTTPretty and the tests of suds do this.
    def test_socket_class_that_is_replaced(self):
        real = socket.socket
        peer = self.peer(sending(redirect(), FOUND), sending(FOUND))
        with mock.patch.object(socket, "socket",
                               lambda *args, **kwargs: real(*args, **kwargs)):
            self.assertEqual(self.read(peer), b"found")

    # Guard: vcrpy replays responses like this.
    def test_response_whose_init_did_not_run(self):
        class Response(http.client.HTTPResponse):
            def __init__(self):
                self.status = self.code = 200
                self.reason = self.msg = "OK"
                self.headers = http.client.HTTPMessage()
                self.file = io.BytesIO(b"replayed")

            def read(self, *args):
                return self.file.read(*args)

            def isclosed(self):
                return self.file.closed

            def close(self):
                self.file.close()

        class Connection(http.client.HTTPConnection):
            def request(self, *args, **kwargs):
                pass

            def getresponse(self):
                return Response()

        class Handler(urllib.request.HTTPHandler):
            def http_open(self, req):
                return self.do_open(Connection, req)

        resp = self.opener(Handler).open("http://a.example/")
        self.assertEqual(resp.read(), b"replayed")


if __name__ == "__main__":
    unittest.main()
