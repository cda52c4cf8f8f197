"""A connection that ended while it was idle is replaced before a request
is sent (gh-53949)."""

import contextlib
import http.client
import io
import os
import select
import socket
import threading
import unittest
from test import http_peer, support
from test.http_peer import (FRAMINGS, KeyUpdater, Peer, in_pieces, response,
                            wait_readable)
from unittest import mock

try:
    import resource
except ImportError:
    resource = None

support.requires_working_socket(module=True)

TIMEOUT = response(b"", status=b"408 Request Timeout")

# What a server does with an idle connection that ends its use.
ENDS = {
    "FIN": lambda link: link.close(),
    "RST": lambda link: link.reset(),
    "408 and FIN": lambda link: (link.send(TIMEOUT), link.close()),
    "408": lambda link: link.send(TIMEOUT),
    "a response": lambda link: link.send(response(b"stray")),
    "a response to come": lambda link: link.send(b"H"),
    "garbage": lambda link: link.send(b"\0"),
}
TLS_ENDS = {
    "close_notify": lambda link: link.end_tls(),
    "408 and close_notify": lambda link: (link.send(TIMEOUT), link.end_tls()),
}


class ClosureTestCase(unittest.TestCase):

    tls = None

    def connection_class(self):
        return (http.client.HTTPSConnection if self.tls
                else http.client.HTTPConnection)

    def ends(self):
        return (ENDS | TLS_ENDS if self.tls else ENDS).items()

    @contextlib.contextmanager
    def idle(self, act, fresh=None, cls=None, mixin=None, **kwargs):
        """Provide (peer, connection) after one exchange and *act*."""
        go_on = threading.Event()

        def script(link):
            if not link.answer(b"first"):
                return
            go_on.wait(support.SHORT_TIMEOUT)
            act(link)
            if not link.reader.closed and link.request():
                link.send(response(b"the old connection"))

        def answer(link):
            link.answer(b"fresh")

        with Peer(script, fresh or answer, tls=self.tls, **kwargs) as peer:
            conn = peer.connect(cls, mixin=mixin)
            conn.request("GET", "/first")
            self.assertEqual(conn.getresponse().read(), b"first")
            go_on.set()
            wait_readable(conn.sock)
            yield peer, conn


@http_peer.over_tls
class ReplacedTests(ClosureTestCase):

    def check(self, *args, **kwargs):
        for name, act in self.ends():
            with self.subTest(name), self.idle(act) as (peer, conn):
                conn.request(*args, **kwargs)
                self.assertEqual(conn.getresponse().read(), b"fresh")
                self.assertEqual([number for number, _ in peer.requests],
                                 [0, 1])
                yield peer.requests[1][1]

    def test_get(self):
        for received in self.check("GET", "/second?a=b", headers={"A": "b"}):
            self.assertEqual(received.target, b"/second?a=b")
            self.assertEqual(received.headers["A"], "b")
            self.assertEqual(len(received.headers.get_all("Host")), 1)

    def test_post(self):
        for received in self.check("POST", "/", b"body"):
            self.assertEqual(received.body, b"body")

    def test_post_of_a_body_that_can_be_read_once(self):
        for make in (lambda: iter([b"bo", b"dy"]),
                     lambda: io.BytesIO(b"body")):
            for name, act in self.ends():
                with self.subTest(name), self.idle(act) as (peer, conn):
                    conn.request("POST", "/", make())
                    self.assertEqual(conn.getresponse().read(), b"fresh")
                    self.assertEqual([request.body for _, request
                                      in peer.requests], [b"", b"body"])

    def test_in_parts(self):
        for name, act in self.ends():
            with self.subTest(name), self.idle(act) as (peer, conn):
                conn.putrequest("POST", "/parts")
                conn.putheader("Content-Length", "4")
                conn.endheaders(b"bo")
                conn.send(b"dy")
                self.assertEqual(conn.getresponse().read(), b"fresh")
                self.assertEqual(peer.requests[1][1].body, b"body")

    def test_what_came_with_the_response(self):
        # None of it has been received when the response ends.
        def script(link):
            link.request()
            link.send(message + stray)
            link.request()

        def fresh(link):
            link.answer(b"fresh")

        for name, (method, message) in FRAMINGS.items():
            for size, stray in ((1, response(b"stray")),
                                (1, b"\r\n" + response(b"stray")),
                                (1, b"H"), (len(message), b"HTTP/")):
                with (self.subTest(name, size=size, stray=stray),
                      Peer(script, fresh, tls=self.tls) as peer):
                    conn = peer.connect(mixin=in_pieces(size))
                    conn.request(method, "/")
                    self.assertIn(conn.getresponse().read(), (b"first", b""))
                    conn.request("POST", "/", b"body")
                    self.assertEqual(conn.getresponse().read(), b"fresh")
                    self.assertEqual([number for number, _ in peer.requests],
                                     [0, 1])

    def test_a_response_class_with_a_reader_of_its_own(self):
        class Response(http.client.HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)
                self.fp.close()
                self.fp = sock.makefile("rb", buffering=0)

        class Connection(self.connection_class()):
            response_class = Response

        for name, act in self.ends():
            with (self.subTest(name),
                  self.idle(act, cls=Connection) as (peer, conn)):
                conn.request("POST", "/", b"body")
                self.assertEqual(conn.getresponse().read(), b"fresh")
                self.assertEqual(len(peer.requests), 2)

    def test_a_subclass_that_sends_by_itself(self):
        class Connection(self.connection_class()):
            def _send_output(self, message_body=None, encode_chunked=False):
                self.send(b"\r\n".join([*self._buffer, b"", b""]))
                del self._buffer[:]
                if message_body is not None:
                    self.send(message_body)

        for name, act in self.ends():
            with (self.subTest(name),
                  self.idle(act, cls=Connection) as (peer, conn)):
                conn.request("POST", "/", b"body")
                self.assertEqual(conn.getresponse().read(), b"fresh")
                self.assertEqual([request.body for _, request
                                  in peer.requests], [b"", b"body"])

    def test_a_subclass_that_sends_without_send(self):
        class Connection(self.connection_class()):
            def _send_output(self, message_body=None, encode_chunked=False):
                self.sock.sendall(b"\r\n".join([*self._buffer, b"", b""]))
                del self._buffer[:]

        def script(link):
            link.answer(b"one")
            link.close()

        with Peer(script, script, tls=self.tls) as peer:
            conn = peer.connect(Connection)
            conn.connect()
            for _ in range(2):
                conn.request("GET", "/")
                self.assertEqual(conn.getresponse().read(), b"one")
                wait_readable(conn.sock)
            self.assertEqual(peer.accepted, 2)

    def test_again_and_again(self):
        def script(link):
            link.answer(b"one")
            link.close()

        with Peer(*[script] * 20, tls=self.tls) as peer:
            conn = peer.connect()
            for i in range(20):
                if conn.sock is not None:
                    wait_readable(conn.sock)
                conn.request("POST", f"/{i}", b"body")
                self.assertEqual(conn.getresponse().read(), b"one")
            self.assertEqual(peer.accepted, 20)

    def test_opened_explicitly(self):
        def script(link):
            link.close()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.connect()
            wait_readable(conn.sock)
            conn.request("POST", "/", b"body")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_closed_by_the_owner_of_the_socket(self):
        with self.idle(lambda link: link.send(b"\r\n")) as (peer, conn):
            conn.sock.close()
            conn.request("POST", "/", b"body")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_handed_over_with_a_response_still_open(self):
        # It has no body to read, so what has arrived is not of it.
        def script(link):
            link.answer(b"")
            link.close()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            first = conn.getresponse()
            wait_readable(conn.sock)
            conn.request("POST", "/", b"body")
            self.assertEqual(first.read(), b"")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_any_timeout(self):
        for timeout in None, 0, 5:
            with self.subTest(timeout=timeout):
                with self.idle(ENDS["FIN"]) as (peer, conn):
                    conn.sock.settimeout(timeout)
                    conn.request("POST", "/", b"body")
                    self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_without_poll(self):
        with mock.patch.object(select, "poll"):
            del select.poll
            for name, act in self.ends():
                with self.subTest(name), self.idle(act) as (peer, conn):
                    conn.request("POST", "/", b"body")
                    self.assertEqual(conn.getresponse().read(), b"fresh")

    @unittest.skipUnless(resource, "needs the resource module")
    @unittest.skipUnless(hasattr(select, "poll"), "needs poll()")
    def test_a_large_descriptor(self):
        # select() cannot watch it.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 2048:
            self.skipTest("not enough descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE,
                        (soft, hard))
        low = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
        try:
            self.do_test_a_large_descriptor()
        finally:
            for fd in low:
                os.close(fd)

    def do_test_a_large_descriptor(self):
        def script(link):
            link.answer(b"first")
            link.close()
            closed.set()

        def fresh(link):
            link.answer(b"fresh")

        closed = threading.Event()
        with mock.patch.object(http_peer, "select", PollingSelect):
            with Peer(script, fresh, tls=self.tls) as peer:
                conn = peer.connect()
                conn.request("GET", "/")
                self.assertEqual(conn.getresponse().read(), b"first")
                self.assertGreater(conn.fileno(), 1024)
                wait_readable(conn.sock)
                conn.request("POST", "/", b"body")
                self.assertEqual(conn.getresponse().read(), b"fresh")


class PollingSelect:
    """select.select() for large descriptors."""

    @staticmethod
    def select(readers, writers, errors, timeout=None):
        poller = select.poll()
        for reader in readers:
            poller.register(reader, select.POLLIN)
        ready = {fd for fd, _ in poller.poll(timeout and timeout * 1000)}
        return [one for one in readers if one.fileno() in ready], [], []


@http_peer.over_tls
class RefusedTests(ClosureTestCase):
    """What cannot be replaced is not, and nothing is sent."""

    def check(self, conn):
        with mock.patch.object(type(conn.sock), "sendall",
                               side_effect=AssertionError):
            with self.assertRaises(http.client.RemoteDisconnected):
                conn.request("POST", "/", b"body")
        self.assertIsNone(conn.sock)

    def test_auto_open_off(self):
        for name, act in self.ends():
            with self.subTest(name), self.idle(act) as (peer, conn):
                conn.auto_open = 0
                self.check(conn)
                with self.assertRaises(http.client.NotConnected):
                    conn.request("POST", "/", b"body")
                conn.close()
                conn.connect()
                conn.request("POST", "/", b"body")
                self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_a_socket_from_elsewhere(self):
        def script(link):
            link.answer(b"first")
            link.close()

        with Peer(script, tls=self.tls) as peer, Peer() as other:
            conn = other.connect()
            helper = peer.connect()
            helper.connect()
            conn.sock = helper.sock
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"first")
            wait_readable(conn.sock)
            self.check(conn)
            self.assertEqual(other.accepted, 0)

    def test_a_socket_from_elsewhere_while_a_response_is_unread(self):
        def script(link):
            link.answer(b"first")
            link.wait_closed()

        def stray(link):
            link.send(response(b"stray"))
            link.wait_closed()

        with Peer(script, stray, tls=self.tls) as peer:
            conn, helper = peer.connect(), peer.connect()
            conn.request("GET", "/")
            received = conn.getresponse()
            helper.connect()
            wait_readable(helper.sock)
            with conn.sock:
                conn.sock = helper.sock
                self.check(conn)
            self.assertEqual(received.read(), b"first")

    @support.cpython_only
    def test_an_error_before_the_first_response(self):
        class Refused(OSError):
            """Like an alert, with which TLS ends when it has begun."""

        class Refusing:
            def recv_into(self, *args):
                raise Refused

        def script(link):
            link.send(b"?")
            link.wait_closed()

        with Peer(script, tls=self.tls) as peer:
            conn = peer.connect(mixin=Refusing)
            conn.connect()
            wait_readable(conn.sock)
            self.assertFalse(http_peer.leaves_cycle(Refused, conn.request,
                                                    "GET", "/"))
            self.assertIsNone(conn.sock)
            self.assertEqual(peer.accepted, 1)


@http_peer.over_tls
class KeptTests(ClosureTestCase):

    def check(self, conn, peer):
        conn.request("POST", "/", b"body")
        self.assertEqual(conn.getresponse().read(), b"the old connection")
        self.assertEqual(peer.accepted, 1)

    def test_line_ends(self):
        with self.idle(lambda link: link.send(b"\r\n\r\n")) as (peer, conn):
            self.check(conn, peer)

    def test_line_ends_byte_by_byte(self):
        def script(link):
            link.request()
            link.send(message + b"\r\n" * 20)
            link.answer(b"second")

        for name, (method, message) in FRAMINGS.items():
            with (self.subTest(name), Peer(script, tls=self.tls) as peer):
                conn = peer.connect(mixin=in_pieces(1))
                conn.request(method, "/")
                conn.getresponse().read()
                conn.request("POST", "/", b"body")
                self.assertEqual(conn.getresponse().read(), b"second")

    # Guard: a connection in use is not looked at.
    def test_an_unread_response(self):
        class Response(http.client.HTTPResponse):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)

        def script(link):
            link.request()
            link.send(response(b"x" * 10000))
            link.request()
            read.acquire(timeout=support.SHORT_TIMEOUT)
            link.send(response(b"second"))

        read = threading.Semaphore(0)

        for cls in http.client.HTTPResponse, Response:
            with self.subTest(cls), Peer(script, tls=self.tls) as peer:
                conn = peer.connect()
                conn.response_class = cls
                conn.request("GET", "/")
                first = conn.getresponse()
                conn.request("GET", "/")
                self.assertEqual(first.read(), b"x" * 10000)
                read.release()
                self.assertEqual(conn.getresponse().read(), b"second")

    def test_one_system_call(self):
        def script(link):
            while link.answer(b"hello"):
                pass

        with Peer(script, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            conn.getresponse().read()
            with (mock.patch.object(http.client._reader, "is_ready",
                                    wraps=http.client._reader.is_ready) as ask,
                  mock.patch.object(type(conn.sock), "settimeout",
                                    side_effect=AssertionError)):
                conn.request("GET", "/")
                conn.getresponse().read()
            self.assertEqual(ask.call_count, 1)


class TunnelTests(ClosureTestCase):

    def test_the_tunnel_is_made_again(self):
        def script(link):
            link.answer()
            link.answer(b"first")
            link.close()

        def fresh(link):
            link.answer()
            link.answer(b"fresh")

        with Peer(script, fresh) as peer:
            conn = peer.connect()
            conn.set_tunnel("destination.example", 80, {"A": "b"})
            conn.request("GET", "/first")
            self.assertEqual(conn.getresponse().read(), b"first")
            wait_readable(conn.sock)
            conn.request("POST", "/second", b"body")
            self.assertEqual(conn.getresponse().read(), b"fresh")
            self.assertEqual([request.method for _, request in peer.requests],
                             [b"CONNECT", b"GET", b"CONNECT", b"POST"])
            self.assertEqual(peer.requests[2][1].headers["A"], "b")


    def test_a_tunnel_of_its_own(self):
        class Connection(http.client.HTTPConnection):
            def _tunnel(self):
                self.sock.sendall(b"CONNECT %s:%d HTTP/1.1\r\nOwn: yes"
                                  b"\r\n\r\n" % (self._tunnel_host.encode(),
                                                 self._tunnel_port))
                with self.sock.makefile("rb", 0) as file:
                    while file.readline() != b"\r\n":
                        pass

        class Opener(Connection):
            # So do those that make the socket, too.
            def connect(self):
                self.sock = socket.create_connection((self.host, self.port),
                                                     self.timeout)
                self._tunnel()

        def script(link):
            link.request()
            link.send(b"HTTP/1.1 200 OK\r\n\r\n")
            link.answer(b"first")
            link.close()

        for cls in Connection, Opener:
            with self.subTest(cls), Peer(script, script) as peer:
                conn = peer.connect(cls)
                conn.set_tunnel("destination.example", 80)
                for _ in range(2):
                    conn.request("POST", "/", b"body")
                    self.assertEqual(conn.getresponse().read(), b"first")
                    wait_readable(conn.sock)
                self.assertEqual([(number, request.method, request.body)
                                  for number, request in peer.requests],
                                 [(0, b"CONNECT", b""), (0, b"POST", b"body"),
                                  (1, b"CONNECT", b""), (1, b"POST", b"body")])
                self.assertEqual(peer.requests[2][1].headers["Own"], "yes")


@http_peer.over_tls
class InterruptTests(ClosureTestCase):

    def test_while_looking(self):
        class Interrupt(BaseException):
            pass

        received = http.client._reader.Received
        for function in "poll", "_would_not_wait", "_receive":
            with (self.subTest(function),
                  self.idle(lambda link: link.send(b"\r\n")) as (peer, conn)):
                with mock.patch.object(received, function,
                                       side_effect=Interrupt):
                    with self.assertRaises(Interrupt):
                        conn.request("POST", "/lost", b"body")
                conn.request("GET", "/next")
                self.assertEqual(conn.getresponse().read(), b"fresh")
                self.assertEqual(peer.requests[1][1].target, b"/next")

    def test_while_receiving(self):
        # Whether before or after something was received.
        def check(receive):
            class Interrupted:
                def recv_into(self, *args):
                    if interrupt.is_set():
                        receive(super().recv_into, *args)
                        raise KeyboardInterrupt
                    return super().recv_into(*args)

            interrupt = threading.Event()
            with self.idle(lambda link: link.send(b"\r\n"),
                           mixin=Interrupted) as (peer, conn):
                sock = conn.sock
                interrupt.set()
                with self.assertRaises(KeyboardInterrupt):
                    conn.request("POST", "/lost", b"body")
                self.assertEqual(sock.gettimeout(), support.SHORT_TIMEOUT)
                self.assertIsNone(conn.sock)
                interrupt.clear()
                conn.request("GET", "/next")
                self.assertEqual(conn.getresponse().read(), b"fresh")
                self.assertEqual([(number, request.target)
                                  for number, request in peer.requests],
                                 [(0, b"/first"), (1, b"/next")])

        check(lambda receive, *args: None)
        check(lambda receive, *args: receive(*args))


class OtherSocketsTests(ClosureTestCase):

    # Guard: what cannot be asked counts as healthy.
    def test_a_socket_that_only_looks_like_one(self):
        class Socket:
            def __init__(self, sock):
                self.sendall = sock.sendall
                self.makefile = sock.makefile
                self.close = sock.close

        def script(link):
            link.answer(b"first")
            link.answer(b"second")

        with Peer(script) as peer:
            conn = peer.connect()
            conn.connect()
            conn.sock = Socket(conn.sock)
            for body in b"first", b"second":
                conn.request("GET", "/")
                self.assertEqual(conn.getresponse().read(), body)

    # Guard: urllib3 borrows makefile() like that for pyOpenSSL, where a
    # timeout of 0 does not do what it does here.
    def test_a_socket_that_borrows_makefile(self):
        class Socket:
            _closed = False
            _io_refs = 0
            makefile = socket.socket.makefile

            def __init__(self, sock):
                self.sendall = sock.sendall
                self.recv_into = sock.recv_into
                self.close = sock.close

            def _decref_socketios(self):
                self._io_refs -= 1

        def script(link):
            link.answer(b"first")
            link.answer(b"second")

        with Peer(script) as peer:
            conn = peer.connect()
            conn.connect()
            conn.sock = Socket(conn.sock)
            for body in b"first", b"second":
                conn.request("GET", "/")
                self.assertEqual(conn.getresponse().read(), body)

    # Guard: the same for a subclass that makes its own kind of file.
    def test_a_subclass_of_socket(self):
        class Socket(socket.socket):
            def makefile(self, *args, **kwargs):
                return super().makefile(*args, **kwargs)

        def script(link):
            link.answer(b"first")
            link.answer(b"second")

        with Peer(script) as peer:
            conn = peer.connect()
            conn.connect()
            conn.sock = Socket(fileno=conn.sock.detach())
            conn.sock.settimeout(support.SHORT_TIMEOUT)
            for body in b"first", b"second":
                conn.request("GET", "/")
                self.assertEqual(conn.getresponse().read(), body)


    # Guard: nor can TLS be asked without the ssl module's sockets.
    @unittest.skipUnless(http_peer.ssl, "needs the ssl module")
    def test_memory_bio(self):
        def script(link):
            link.answer(b"first")
            link.answer(b"second")

        for tls in (http_peer.ssl.TLSVersion.TLSv1_2,
                    http_peer.ssl.TLSVersion.TLSv1_3):
            with self.subTest(tls=tls), Peer(script, tls=tls,
                                             tickets=2) as peer:
                conn = http.client.HTTPConnection(
                    http_peer.HOST, peer.port, timeout=support.SHORT_TIMEOUT)
                self.addCleanup(conn.close)
                conn.connect()
                conn.sock = http_peer.BIOSocket(conn.sock,
                                                peer.client_context())
                for body in b"first", b"second":
                    conn.request("POST", "/", b"body")
                    self.assertEqual(conn.getresponse().read(), body)


@support.requires_subprocess()
class OtherModulesTests(unittest.TestCase):
    """The same tests where other modules are not what they usually are."""

    def check(self, **kwargs):
        http_peer.run_without_ssl("test.test_http_closure", "ReplacedTests",
                                  "RefusedTests", "KeptTests", **kwargs)

    def test_without_the_ssl_module(self):
        self.check()

    def test_sockets_that_wait_by_themselves(self):
        self.check(setup=http_peer.WAITING)


@unittest.skipUnless(http_peer.ssl, "needs the ssl module")
class TicketTests(ClosureTestCase):

    if http_peer.ssl:
        tls = http_peer.ssl.TLSVersion.TLSv1_3

    # Guard: session tickets make an idle connection readable.
    def test_tickets(self):
        def script(link):
            while link.answer(b"hello"):
                pass

        for tickets in 2, 200:
            with (self.subTest(tickets=tickets),
                  Peer(script, tls=self.tls, tickets=tickets) as peer):
                conn = peer.connect()
                conn.connect()
                wait_readable(conn.sock)
                for _ in range(3):
                    conn.request("POST", "/", b"body")
                    self.assertEqual(conn.getresponse().read(), b"hello")
                self.assertEqual(peer.accepted, 1)

    # Guard: so do new keys.
    def test_key_updates(self):
        with KeyUpdater() as server:
            conn = server.client
            conn.connect()
            sock = conn.sock
            for number in range(4):
                conn.request("GET", f"/{number}")
                server.answer(b"/%d" % number)
                self.assertEqual(conn.getresponse().read(), b"/%d" % number)
                server.update_keys(both=bool(number % 2))
                self.assertIs(conn.sock, sock)

    def test_what_follows_a_key_update(self):
        for both in False, True:
            with self.subTest(both=both), KeyUpdater() as server:
                conn = server.client
                conn.request("GET", "/first")
                server.answer(b"/first")
                self.assertEqual(conn.getresponse().read(), b"/first")
                sock = conn.sock
                server.update_keys(both=both)
                self.assertIs(conn.poll_response(), False)
                server.send(b"HTTP/1.1 200 Stray\n\n")
                conn.request("GET", "/second")
                self.assertIsNot(conn.sock, sock)
                server.answer(b"/second")
                self.assertEqual(conn.getresponse().read(), b"/second")

    # Nor is a request for a client certificate an end.
    @unittest.skipUnless(hasattr(http_peer.ssl.SSLSocket if http_peer.ssl
                                 else None, "verify_client_post_handshake"),
                         "needs post-handshake authentication")
    def test_post_handshake_authentication(self):
        asked = threading.Event()

        def script(link):
            link.answer(b"hello")
            link.sock.verify_client_post_handshake()
            link.send(b"\r\n")      # with which the request goes out
            asked.set()
            link.answer(b"hello")

        with Peer(script, tls=self.tls) as peer:
            peer.server_context.post_handshake_auth = True
            peer.server_context.verify_mode = http_peer.ssl.CERT_OPTIONAL
            context = peer.client_context()
            context.post_handshake_auth = True
            conn = peer.connect(context=context)
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"hello")
            asked.wait(support.SHORT_TIMEOUT)
            wait_readable(conn.sock)
            conn.request("POST", "/", b"body")
            self.assertEqual(conn.getresponse().read(), b"hello")
            self.assertEqual(peer.accepted, 1)

    @unittest.skipUnless(hasattr(select, "POLLRDHUP"), "needs POLLRDHUP")
    def test_the_end_after_tickets(self):
        def fresh(link):
            link.answer(b"fresh")

        for name in ENDS.keys() | TLS_ENDS.keys():
            act = (ENDS | TLS_ENDS)[name]

            def script(link):
                act(link)
                link.close()

            with (self.subTest(name), Peer(script, fresh, tls=self.tls,
                                           tickets=2) as peer):
                conn = peer.connect()
                conn.connect()
                self.wait_end(conn.sock)
                conn.request("POST", "/", b"body")
                self.assertEqual(conn.getresponse().read(), b"fresh")

    def wait_end(self, sock):
        poller = select.poll()
        poller.register(sock, select.POLLRDHUP)
        self.assertTrue(poller.poll(support.SHORT_TIMEOUT * 1000))


if __name__ == "__main__":
    unittest.main()
