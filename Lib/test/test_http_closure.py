"""Tests of the look at an idle connection, before a request is sent over it.

If the connection has ended, or if the server has sent something unasked, the
request is sent over a new connection (gh-53949).
"""

import contextlib
import http.client
import io
import os
import select
import shutil
import subprocess
import sys
import threading
import unittest
from http.client import HTTPConnection, RemoteDisconnected
from test import support
from test.http_peer import (CERTFILE, FRAMINGS, HOST, Interrupted, Link, Peer,
                            PeerTestCase, answering, fresh, in_pieces, keep,
                            over_tls, response, ssl, wait_readable)
from test.support.script_helper import assert_python_ok
from unittest import mock

try:
    import resource
except ImportError:
    resource = None

TIMEOUT = response(b"", status=b"408 Request Timeout")

# What a server does with an idle connection that must not be used then.
ENDS = {
    "FIN": Link.close,
    "RST": Link.reset,
    "408 and FIN": lambda link: (link.send(TIMEOUT), link.close()),
    "408": lambda link: link.send(TIMEOUT),
    "a response": lambda link: link.send(response(b"stray")),
    "one byte": lambda link: link.send(b"H"),
    "garbage": lambda link: link.send(b"\0"),
}
TLS_ENDS = {
    "close_notify": Link.end_tls,
    "408 and close_notify": lambda link: (link.send(TIMEOUT), link.end_tls()),
}

answer_and_close = answering(response(b"one"), end=Link.close)


class ClosureTestCase(PeerTestCase):

    def ends(self):
        return ENDS | TLS_ENDS if self.tls else ENDS

    def post(self, conn):
        return self.get(conn, "POST", b"body").read()

    @contextlib.contextmanager
    def idle(self, act, **kwargs):
        """Provide a connection after one exchange and act(link)."""
        go_on = threading.Event()

        def script(link):
            link.answer(b"first")
            go_on.wait(support.SHORT_TIMEOUT)
            act(link)
            if not link.reader.closed:
                keep(link)

        with self.serve(script, **kwargs) as conn:
            conn.connect()      # so that the first request looks at it, too
            self.assertEqual(self.get(conn).read(), b"first")
            go_on.set()
            wait_readable(conn.sock)
            yield conn

    def check_replaced(self, send, body=b"body", **kwargs):
        """send(conn) sends *body* once, over a new connection."""
        for name, act in self.ends().items():
            with (self.subTest(name, send=send),
                  self.idle(act, **kwargs) as conn):
                send(conn)
                self.assertEqual(conn.getresponse().read(), b"fresh")
                self.assertEqual([(number, request.body)
                                  for number, request in self.peer.requests],
                                 [(0, b""), (1, body)])


@over_tls
class ReplacedTests(ClosureTestCase):

    def test_every_kind_of_request(self):
        def in_parts(conn):
            conn.putrequest("POST", "/")
            conn.putheader("Content-Length", "4")
            conn.endheaders(b"bo")
            conn.send(b"dy")

        self.check_replaced(lambda conn: conn.request("GET", "/"), b"")
        self.check_replaced(in_parts)
        for make_body in (lambda: b"body", lambda: io.BytesIO(b"body"),
                          lambda: iter([b"bo", b"dy"])):
            self.check_replaced(
                lambda conn: conn.request("POST", "/", make_body()))

    def test_bytes_after_a_response(self):
        # None of them has been received when the response ends.
        for name, (method, message) in FRAMINGS.items():
            for size, extra, expected in (
                (1, response(b"stray"), b"fresh"), (1, b"H", b"fresh"),
                (len(message), b"HTTP/", b"fresh"), (1, b"\r\n\n", b"kept"),
                (2, b"\r\n\0", b"fresh"),
            ):
                with (self.subTest(name, size=size, extra=extra),
                      self.serve(answering(message + extra, end=keep),
                                 mixin=in_pieces(size)) as conn):
                    self.get(conn, method).read()
                    self.assertEqual(self.post(conn), expected)

    def test_subclass_that_sends_by_itself(self):
        base = http.client.HTTPSConnection if self.tls else HTTPConnection

        class Connection(base):
            def _send_output(self, message_body=None, encode_chunked=False):
                if self.sock is None:
                    self.connect()
                self.sock.sendall(b"\r\n".join([*self._buffer, b"", b""]))
                del self._buffer[:]

        self.check_replaced(lambda conn: conn.request("GET", "/"), b"",
                            cls=Connection)

    def test_each_connection_ends(self):
        with self.serve(*[answer_and_close] * 5) as conn:
            for _ in range(5):
                self.assertEqual(self.post(conn), b"one")
                wait_readable(conn.sock)
            self.assertEqual(self.peer.accepted, 5)

    def test_opened_explicitly(self):
        with self.serve(Link.close) as conn:
            conn.connect()
            wait_readable(conn.sock)
            self.assertEqual(self.post(conn), b"fresh")

    def test_socket_closed_by_hand(self):
        with self.idle(lambda link: link.send(b"\r\n")) as conn:
            conn.sock.close()
            self.assertEqual(self.post(conn), b"fresh")

    def test_response_without_a_body_is_open(self):
        with self.answered(response()) as conn, conn.getresponse():
            wait_readable(conn.sock)
            self.assertEqual(self.post(conn), b"fresh")

    def test_any_timeout(self):
        for timeout in None, 0, 5:
            with self.subTest(timeout=timeout), self.idle(Link.close) as conn:
                conn.sock.settimeout(timeout)
                self.assertEqual(self.post(conn), b"fresh")

    def test_without_poll(self):
        with mock.patch.object(select, "poll", create=True):
            del select.poll
            self.check_replaced(lambda conn: conn.request("GET", "/"), b"")

    @unittest.skipUnless(resource, "needs the resource module")
    @unittest.skipUnless(hasattr(select, "poll"), "needs poll()")
    def test_descriptor_that_select_cannot_watch(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 2048:
            self.skipTest("not enough descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE,
                        (soft, hard))
        with (self.serve(answer_and_close) as conn,
              contextlib.ExitStack() as stack):
            for _ in range(1100):
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            self.assertEqual(self.post(conn), b"one")
            self.assertGreater(conn.sock.fileno(), 1024)
            wait_readable(conn.sock)
            self.assertEqual(self.post(conn), b"fresh")

    def test_without_auto_open(self):
        for name, act in self.ends().items():
            with self.subTest(name), self.idle(act) as conn:
                conn.auto_open = 0
                with self.assertRaises(RemoteDisconnected):
                    self.post(conn)
                self.assertIsNone(conn.sock)
                self.assertEqual(len(self.peer.requests), 1)
                conn.connect()
                self.assertEqual(self.post(conn), b"fresh")

    def test_interrupt(self):
        # What was received by then may be lost.
        for act in ENDS["a response"], lambda link: link.send(b"\r\n"):
            with self.idle(act, mixin=Interrupted) as conn:
                sock = conn.sock
                sock.armed = True
                with self.assertRaises(KeyboardInterrupt):
                    conn.request("POST", "/", b"body")
                self.assertEqual(sock.gettimeout(), support.SHORT_TIMEOUT)
                conn.close()
                self.check_fresh(conn)


@over_tls
class KeptTests(ClosureTestCase):

    # Guard: RFC 9112, section 2.2.
    def test_line_ends(self):
        for lines in b"\r\n", b"\n", b"\r\n" * 9:
            with (self.subTest(lines=lines),
                  self.idle(lambda link: link.send(lines)) as conn):
                self.assertEqual(self.post(conn), b"kept")
                self.assertEqual(self.post(conn), b"kept")

    @support.cpython_only
    def test_one_system_call(self):
        names = "poll", "select", "recv", "recv_into", "settimeout"

        def profile(frame, event, function):
            if (event == "c_call" and function.__name__ in names
                    and function is not getattr(select, "poll", None)):
                calls.append(function.__name__)

        self.addCleanup(sys.setprofile, sys.getprofile())
        with self.serve(keep) as conn:
            conn.connect()
            conn.request("GET", "/")
            for _ in range(3):
                self.assertEqual(conn.getresponse().read(), b"kept")
                calls = []
                sys.setprofile(profile)
                try:
                    conn.request("GET", "/")
                finally:
                    sys.setprofile(None)
                self.assertIn(calls, (["poll"], ["select"]))

    # Guard: nothing can be wrong yet, and it would cost a system call.
    def test_connection_that_request_has_just_opened(self):
        base = http.client.HTTPSConnection if self.tls else HTTPConnection

        class Connection(base):
            def connect(self):
                super().connect()
                wait_readable(self.sock)

        def script(link):
            link.send(response(b"hello"))
            link.request()

        with self.serve(script, cls=Connection) as conn:
            self.assertEqual(self.get(conn).read(), b"hello")

    # Guard: what has come is of the response that is read.
    def test_response_that_is_open(self):
        with self.serve(answering(response(b"x" * 99999),
                                  response(b"second"))) as conn:
            first = self.get(conn)
            conn.request("GET", "/")
            self.assertEqual(first.read(), b"x" * 99999)
            self.assertEqual(conn.getresponse().read(), b"second")


@unittest.skipUnless(ssl, "needs the ssl module")
class TLS13Tests(ClosureTestCase):
    """A descriptor is readable, and there is nothing to read."""

    tls = ssl and ssl.TLSVersion.TLSv1_3

    # Guard: session tickets are not the end.
    def test_tickets(self):
        for tickets in 2, 200:
            with (self.subTest(tickets=tickets),
                  Peer(keep, tls=self.tls, tickets=tickets) as peer):
                conn = peer.connect()
                conn.connect()
                wait_readable(conn.sock)
                for _ in range(3):
                    self.assertEqual(self.post(conn), b"kept")
                self.assertEqual(peer.accepted, 1)

    @unittest.skipUnless(hasattr(select, "POLLRDHUP"), "needs POLLRDHUP")
    def test_end_after_tickets(self):
        for name, act in self.ends().items():
            with (self.subTest(name),
                  Peer(lambda link: (act(link), link.close()), fresh,
                       tls=self.tls, tickets=2) as peer):
                conn = peer.connect()
                conn.connect()
                poller = select.poll()
                poller.register(conn.sock, select.POLLRDHUP)
                self.assertTrue(poller.poll(support.SHORT_TIMEOUT * 1000))
                self.assertEqual(self.post(conn), b"fresh")

    # Over another connection, the handshake would fail, too.
    def test_alert(self):
        with Peer(tls=self.tls) as peer:
            peer.server_context.verify_mode = ssl.CERT_REQUIRED
            conn = peer.connect()
            conn.connect()
            wait_readable(conn.sock)
            peer.join()     # its end has come, too
            with self.assertRaises(ssl.SSLError) as cm:
                self.get(conn)
            self.assertIn("CERTIFICATE_REQUIRED", cm.exception.reason)
            self.assertEqual(peer.accepted, 1)

    # Guard: nor is a request for a certificate.
    @unittest.skipUnless(ssl and hasattr(ssl.SSLSocket,
                                         "verify_client_post_handshake"),
                         "needs post-handshake authentication")
    def test_post_handshake_authentication(self):
        asked = threading.Event()

        def script(link):
            link.answer(b"hello")
            link.sock.verify_client_post_handshake()
            link.send(b"\r\n")      # with which the request goes out
            asked.set()
            keep(link)

        with Peer(script, tls=self.tls) as peer:
            peer.server_context.post_handshake_auth = True
            peer.server_context.verify_mode = ssl.CERT_OPTIONAL
            context = peer.client_context()
            context.post_handshake_auth = True
            conn = peer.connect(context=context)
            self.assertEqual(self.get(conn).read(), b"hello")
            asked.wait(support.SHORT_TIMEOUT)
            wait_readable(conn.sock)
            self.assertEqual(self.post(conn), b"kept")


@support.requires_subprocess()
@unittest.skipUnless(ssl, "needs the ssl module")
class KeyUpdateTests(unittest.TestCase):
    """TLS 1.3 with new keys, which the ssl module cannot ask for.

    The server is "openssl s_server".  It sends what it reads from its standard
    input, unless that is a command, and prints what it receives.
    """

    def setUp(self):
        if not shutil.which("openssl") or sys.platform == "win32":
            self.skipTest("needs a program that has s_server")
        self.server = self.enterContext(subprocess.Popen(
            ["openssl", "s_server", "-accept", f"{HOST}:0", "-tls1_3",
             "-cert", CERTFILE, "-num_tickets", "0"], bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT))
        self.addCleanup(self.server.kill)
        self.printed = b""
        self.wait_for(b"ACCEPT ")
        self.conn = http.client.HTTPSConnection(
            HOST, int(self.wait_for(b"\n").rpartition(b":")[2]),
            timeout=support.SHORT_TIMEOUT,
            context=ssl.create_default_context(cafile=CERTFILE))
        self.addCleanup(self.conn.close)
        self.conn.connect()

    def wait_for(self, mark):
        """Return what is printed before *mark*."""
        while mark not in self.printed:
            wait_readable(self.server.stdout)
            data = self.server.stdout.read(65536)
            if not data:
                self.skipTest("needs s_server -num_tickets")
            self.printed += data
        before, _, self.printed = self.printed.partition(mark)
        return before

    def send(self, data):
        self.server.stdin.write(data)
        wait_readable(self.conn.sock)

    def test_key_updates(self):
        sock = self.conn.sock
        # These commands update the server's keys, and those of both.
        for command in b"k\n", b"K\n", b"k\n", b"HTTP/1.1 200 Stray\n\n":
            self.conn.request("GET", "/")
            self.assertIs(self.conn.sock, sock)
            self.wait_for(b" HTTP/1.1\r\n")
            self.wait_for(b"\r\n\r\n")
            self.server.stdin.write(response(b"hello"))
            self.assertEqual(self.conn.getresponse().read(), b"hello")
            self.send(command)
        # What comes after new keys is looked at, too.
        self.conn.request("GET", "/")
        self.assertIsNot(self.conn.sock, sock)


@support.requires_subprocess()
class ImportTests(unittest.TestCase):

    def test_without_ssl_and_poll(self):
        assert_python_ok("-W", "error", "-c", f"""if True:
            import select, socket, sys
            sys.path[:] = {sys.path!r}
            sys.modules["_ssl"] = None
            if hasattr(select, "poll"):
                del select.poll
            import http.client
            assert not hasattr(http.client, "HTTPSConnection")
            client, server = socket.socketpair()
            with client, server:
                conn = http.client.HTTPConnection("localhost")
                conn.sock = client
                for _ in range(2):
                    conn.request("GET", "/")
                    server.sendall({response(b"hello")!r})
                    assert conn.getresponse().read() == b"hello"
                server.close()
                try:
                    conn.request("GET", "/")
                except http.client.RemoteDisconnected:
                    assert conn.sock is None
                else:
                    raise AssertionError
            """)


if __name__ == "__main__":
    unittest.main()
