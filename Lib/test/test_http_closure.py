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
import socket
import subprocess
import sys
import threading
import unittest
from http.client import HTTPConnection, RemoteDisconnected
from test import support
from test.support.script_helper import assert_python_ok
from unittest import mock
from test import http_peer

try:
    import resource
except ImportError:
    resource = None

CERTFILE, HOST, ssl = http_peer.CERTFILE, http_peer.HOST, http_peer.ssl
FRAMINGS, Peer = http_peer.FRAMINGS, http_peer.Peer
in_pieces, response = http_peer.in_pieces, http_peer.response
wait_readable = http_peer.wait_readable

support.requires_working_socket(module=True)

TIMEOUT = response(b"", status=b"408 Request Timeout")

# What a server does with an idle connection that must not be used then.
ENDS = {
    "FIN": lambda link: link.close(),
    "RST": lambda link: link.reset(),
    "408 and FIN": lambda link: (link.send(TIMEOUT), link.close()),
    "408": lambda link: link.send(TIMEOUT),
    "a response": lambda link: link.send(response(b"stray")),
    "one byte": lambda link: link.send(b"H"),
    "garbage": lambda link: link.send(b"\0"),
}
TLS_ENDS = {
    "close_notify": lambda link: link.end_tls(),
    "408 and close_notify": lambda link: (link.send(TIMEOUT), link.end_tls()),
}


def fresh(link):
    """The script for a connection that replaces another one."""
    link.answer(b"fresh")


def answer_and_close(link):
    link.answer(b"one")
    link.close()


def keep(link):
    while link.answer(b"kept"):
        pass


def get(conn, method="GET", body=None):
    conn.request(method, "/", body)
    return conn.getresponse().read()


class ClosureTestCase(unittest.TestCase):

    tls = None

    def ends(self):
        return ENDS | TLS_ENDS if self.tls else ENDS

    @contextlib.contextmanager
    def idle(self, act, cls=None, mixin=None):
        """Provide (peer, connection) after one exchange and act(link)."""
        go_on = threading.Event()

        def script(link):
            link.answer(b"first")
            go_on.wait(support.SHORT_TIMEOUT)
            act(link)
            if not link.reader.closed:
                keep(link)

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect(cls, mixin=mixin)
            self.assertEqual(get(conn), b"first")
            go_on.set()
            wait_readable(conn.sock)
            yield peer, conn

    def check_replaced(self, send, body=b"body", **kwargs):
        """send(conn) sends *body* once, over a new connection."""
        for name, act in self.ends().items():
            with (self.subTest(name, send=send),
                  self.idle(act, **kwargs) as (peer, conn)):
                send(conn)
                self.assertEqual(conn.getresponse().read(), b"fresh")
                self.assertEqual([(number, request.body)
                                  for number, request in peer.requests],
                                 [(0, b""), (1, body)])


@http_peer.over_tls
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
        def script(link):
            link.request()
            link.send(message + extra)
            link.answer(b"kept")

        for name, (method, message) in FRAMINGS.items():
            for size, extra, expected in (
                (1, response(b"stray"), b"fresh"), (1, b"H", b"fresh"),
                (len(message), b"HTTP/", b"fresh"), (1, b"\r\n\n", b"kept"),
                (2, b"\r\n\0", b"fresh"),
            ):
                with (self.subTest(name, size=size, extra=extra),
                      Peer(script, fresh, tls=self.tls) as peer):
                    conn = peer.connect(mixin=in_pieces(size))
                    get(conn, method)
                    self.assertEqual(get(conn, "POST", b"body"), expected)

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
        with Peer(*[answer_and_close] * 5, tls=self.tls) as peer:
            conn = peer.connect()
            for _ in range(5):
                self.assertEqual(get(conn, "POST", b"body"), b"one")
                wait_readable(conn.sock)
            self.assertEqual(peer.accepted, 5)

    def test_opened_explicitly(self):
        with Peer(lambda link: link.close(), fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.connect()
            wait_readable(conn.sock)
            self.assertEqual(get(conn, "POST", b"body"), b"fresh")

    def test_socket_closed_by_hand(self):
        with self.idle(lambda link: link.send(b"\r\n")) as (peer, conn):
            conn.sock.close()
            self.assertEqual(get(conn, "POST", b"body"), b"fresh")

    def test_response_without_a_body_is_open(self):
        def script(link):
            link.answer(b"")
            link.close()

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            with conn.getresponse():
                wait_readable(conn.sock)
                self.assertEqual(get(conn, "POST", b"body"), b"fresh")

    def test_any_timeout(self):
        for timeout in None, 0, 5:
            with (self.subTest(timeout=timeout),
                  self.idle(ENDS["FIN"]) as (peer, conn)):
                conn.sock.settimeout(timeout)
                self.assertEqual(get(conn, "POST", b"body"), b"fresh")

    def test_without_poll(self):
        with mock.patch.object(select, "poll", create=True):
            del select.poll
            self.check_replaced(
                lambda conn: conn.request("POST", "/", b"body"))

    @unittest.skipUnless(resource, "needs the resource module")
    @unittest.skipUnless(hasattr(select, "poll"), "needs poll()")
    def test_descriptor_that_select_cannot_watch(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 2048:
            self.skipTest("not enough descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE,
                        (soft, hard))
        with (Peer(answer_and_close, fresh, tls=self.tls) as peer,
              contextlib.ExitStack() as stack):
            for _ in range(1100):
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            conn = peer.connect()
            self.assertEqual(get(conn), b"one")
            self.assertGreater(conn.sock.fileno(), 1024)
            wait_readable(conn.sock)
            self.assertEqual(get(conn, "POST", b"body"), b"fresh")

    def check_refused(self, conn):
        """Nothing is sent, and there is no connection then."""
        with self.assertRaises(RemoteDisconnected):
            conn.request("POST", "/", b"body")
        self.assertIsNone(conn.sock)

    def test_without_auto_open(self):
        for name, act in self.ends().items():
            with self.subTest(name), self.idle(act) as (peer, conn):
                conn.auto_open = 0
                self.check_refused(conn)
                self.assertEqual(len(peer.requests), 1)
                conn.connect()
                self.assertEqual(get(conn, "POST", b"body"), b"fresh")

    def test_socket_assigned_by_hand(self):
        with self.idle(ENDS["FIN"]) as (peer, conn), Peer() as other:
            stranger = other.connect()
            stranger.sock, conn.sock = conn.sock, None
            self.check_refused(stranger)
            self.assertEqual(other.accepted, 0)

    def test_interrupt(self):
        # What was received by then may be lost.
        class Interrupted:
            def recv(self, *args):
                super().recv(*args)
                raise KeyboardInterrupt

        for act in ENDS["a response"], lambda link: link.send(b"\r\n"):
            with self.idle(act, mixin=Interrupted) as (peer, conn):
                sock = conn.sock
                with self.assertRaises(KeyboardInterrupt):
                    conn.request("POST", "/", b"body")
                self.assertEqual(sock.gettimeout(), support.SHORT_TIMEOUT)
                conn.close()
                self.assertEqual(get(conn), b"fresh")


@http_peer.over_tls
class KeptTests(ClosureTestCase):

    # Guard: RFC 9112, section 2.2.
    def test_line_ends(self):
        for lines in b"\r\n", b"\n", b"\r\n" * 9:
            with (self.subTest(lines=lines), self.idle(
                    lambda link: link.send(lines)) as (peer, conn)):
                for _ in range(2):
                    self.assertEqual(get(conn, "POST", b"body"), b"kept")

    def find_calls(self, function, *args):
        calls = []
        names = "poll", "select", "recv", "recv_into", "settimeout"

        def profile(frame, event, function):
            if (event == "c_call" and function.__name__ in names
                    and function is not getattr(select, "poll", None)):
                calls.append(function.__name__)

        self.addCleanup(sys.setprofile, sys.getprofile())
        sys.setprofile(profile)
        try:
            function(*args)
        finally:
            sys.setprofile(None)
        return calls

    @support.cpython_only
    def test_one_system_call(self):
        with Peer(keep, tls=self.tls) as peer:
            conn = peer.connect()
            conn.connect()
            conn.request("GET", "/")
            for _ in range(3):
                self.assertEqual(conn.getresponse().read(), b"kept")
                calls = self.find_calls(conn.request, "GET", "/")
                self.assertIn(calls, (["poll"], ["select"]))

    # Guard: nothing can be wrong yet, and it would cost a system call.
    def test_connection_that_request_has_just_opened(self):
        class Connection(http.client.HTTPSConnection if self.tls
                         else HTTPConnection):
            def connect(self):
                super().connect()
                wait_readable(self.sock)

        def script(link):
            link.send(response(b"hello"))
            link.request()

        with Peer(script, fresh, tls=self.tls) as peer:
            self.assertEqual(get(peer.connect(Connection)), b"hello")

    # Guard: what has come is of the response that is read.
    def test_response_that_is_open(self):
        def script(link):
            link.request()
            link.send(response(b"x" * 99999))
            link.answer(b"second")

        with Peer(script, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            first = conn.getresponse()
            conn.request("GET", "/")
            self.assertEqual(first.read(), b"x" * 99999)
            self.assertEqual(conn.getresponse().read(), b"second")

    # Guard: what cannot be asked is used as before.
    def test_foreign_socket(self):
        class Wrapper:
            def __init__(self, sock):
                self.sendall = sock.sendall
                self.makefile = sock.makefile
                self.close = sock.close

        with Peer(keep, tls=self.tls) as peer:
            conn = peer.connect()
            conn.connect()
            conn.sock = Wrapper(conn.sock)
            for _ in range(2):
                self.assertEqual(get(conn, "POST", b"body"), b"kept")


class OverriddenTests(ClosureTestCase):

    # httplib2 calls its connect() explicitly, and makes the socket there.
    def test_connect_that_is_overridden(self):
        class Connection(HTTPConnection):
            def connect(self):
                self.sock = socket.create_connection((self.host, self.port),
                                                     self.timeout)

        with Peer(*[answer_and_close] * 5) as peer:
            conn = peer.connect(Connection)
            conn.connect()
            for _ in range(5):
                self.assertEqual(get(conn), b"one")
                wait_readable(conn.sock)
            self.assertEqual(peer.accepted, 5)


class KeyUpdater:
    """A TLS 1.3 server that updates its keys, which module ssl cannot do.

    This is "openssl s_server".  It sends what it reads from its standard
    input, unless that is a command, and prints what it receives.
    """

    def __enter__(self):
        if not shutil.which("openssl") or sys.platform == "win32":
            raise unittest.SkipTest("needs a program that has s_server")
        self._process = subprocess.Popen(
            ["openssl", "s_server", "-accept", f"{HOST}:0", "-tls1_3",
             "-cert", CERTFILE, "-num_tickets", "0"], bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self._printed = b""
        self.client = None
        try:
            if self._wait_for(b"ACCEPT ") is None:
                raise unittest.SkipTest("needs s_server -num_tickets")
            port = int(self._wait_for(b"\n").rpartition(b":")[2])
        except BaseException:
            self.__exit__()
            raise
        self.client = http.client.HTTPSConnection(
            HOST, port, timeout=support.SHORT_TIMEOUT,
            context=ssl.create_default_context(cafile=CERTFILE))
        return self

    def __exit__(self, *args):
        if self.client is not None:
            self.client.close()
        self._process.kill()
        self._process.communicate()     # closes the pipes, too

    def _wait_for(self, mark):
        # Return what is printed before *mark*; None if that never comes.
        while mark not in self._printed:
            wait_readable(self._process.stdout)
            data = self._process.stdout.read(65536)
            if not data:
                return None
            self._printed += data
        before, _, self._printed = self._printed.partition(mark)
        return before

    def exchange(self):
        self.client.request("GET", "/")
        self._wait_for(b" HTTP/1.1\r\n")
        self._wait_for(b"\r\n\r\n")
        self._process.stdin.write(response(b"hello"))
        return self.client.getresponse().read()

    def send(self, data):
        """Send *data*; b"k\\n" updates the keys, b"K\\n" those of both."""
        self._process.stdin.write(data)
        wait_readable(self.client.sock)


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
                    self.assertEqual(get(conn, "POST", b"body"), b"kept")
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
                self.assertEqual(get(conn, "POST", b"body"), b"fresh")

    # Nor are new keys.  What comes later is looked at, too.
    @support.requires_subprocess()
    def test_key_updates(self):
        with KeyUpdater() as server:
            server.client.connect()
            sock = server.client.sock
            for command in b"k\n", b"K\n", b"k\n":
                self.assertEqual(server.exchange(), b"hello")
                self.assertIs(server.client.sock, sock)
                server.send(command)
            self.assertEqual(server.exchange(), b"hello")
            self.assertIs(server.client.sock, sock)
            server.send(b"HTTP/1.1 200 Stray\n\n")
            server.client.request("GET", "/")
            self.assertIsNot(server.client.sock, sock)

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
            self.assertEqual(get(conn), b"hello")
            asked.wait(support.SHORT_TIMEOUT)
            wait_readable(conn.sock)
            self.assertEqual(get(conn, "POST", b"body"), b"kept")


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
