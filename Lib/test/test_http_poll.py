"""HTTPConnection.fileno() and poll_response() (gh-53949)."""

import http.client
import io
import select
import selectors
import signal
import socket
import threading
import time
import unittest
import unittest.mock
import weakref
from test import http_peer, support
from test.http_peer import KeyUpdater, Peer, response, wait_readable

support.requires_working_socket(module=True)

TIMEOUT = response(b"bye", b"Connection: close", status=b"408 Request Timeout")


class PollTestCase(unittest.TestCase):

    tls = None

    def start(self, *scripts, **kwargs):
        """Return (peer, connection); the connection is open."""
        peer = self.enterContext(Peer(*scripts, tls=self.tls, **kwargs))
        conn = peer.connect()
        conn.connect()
        return peer, conn

    def start_idle(self, act):
        """Like start(), after one exchange; *act* is what the server does
        next, on the next call of go_on()."""
        ready = threading.Event()

        def script(link):
            link.answer(b"first")
            ready.wait(support.SHORT_TIMEOUT)
            act(link)
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        peer, conn = self.start(script, fresh)
        self.go_on = ready.set
        self.addCleanup(ready.set)
        conn.request("GET", "/")
        self.assertEqual(conn.getresponse().read(), b"first")
        return peer, conn


@http_peer.over_tls
class OutstandingTests(PollTestCase):
    """A request has been sent."""

    def test_a_response_in_pieces(self):
        ready = threading.Semaphore(0)

        def script(link):
            link.request()
            for byte in response(b"hello"):
                ready.acquire(timeout=support.SHORT_TIMEOUT)
                link.send(bytes([byte]))
            link.wait_closed()

        peer, conn = self.start(script)
        self.addCleanup(ready.release, 100)
        conn.request("GET", "/")
        self.assertIs(conn.poll_response(), False)
        self.assertIs(conn.poll_response(0.01), False)
        ready.release()
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        self.assertIs(conn.poll_response(), True)
        ready.release(100)
        received = conn.getresponse()
        self.assertEqual((received.status, received.read()), (200, b"hello"))
        self.assertIs(conn.poll_response(), False)

    def test_without_limit(self):
        def script(link):
            link.answer(b"hello")
            link.wait_closed()

        peer, conn = self.start(script)
        conn.request("GET", "/")
        self.assertIs(conn.poll_response(None), True)
        self.assertIs(conn.poll_response(timeout=1e9), True)
        self.assertIs(conn.poll_response(timeout=float("inf")), True)
        self.assertIs(conn.poll_response(timeout=-1), True)
        self.assertEqual(conn.getresponse().read(), b"hello")

    def test_a_negative_timeout(self):
        def script(link):
            link.request()
            link.wait_closed()

        peer, conn = self.start(script)
        conn.request("GET", "/")
        self.assertIs(conn.poll_response(-1), False)

    def test_bytes_that_the_descriptor_does_not_show(self):
        # The reader holds the second response, or TLS does.
        for size in 10, 10000:
            with self.subTest(size=size):
                def script(link):
                    both = response(b"1" * size) + response(b"second")
                    head = both.index(b"1" * size)
                    link.request()
                    link.send(both[:head])
                    link.request()
                    link.send(both[head:])
                    link.wait_closed()

                peer, conn = self.start(script)
                conn.request("GET", "/")
                first = conn.getresponse()
                conn.request("GET", "/")
                first.read()
                if size == 10 or self.tls:
                    self.assertEqual(select.select([conn], [], [], 0)[0], [])
                self.assertIs(conn.poll_response(), True)

    def test_the_end(self):
        def script(link):
            link.request()
            link.close()

        peer, conn = self.start(script)
        conn.request("GET", "/")
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        with self.assertRaises(http.client.RemoteDisconnected):
            conn.getresponse()
        self.assertEqual(conn.fileno(), -1)

    def test_a_reset(self):
        def script(link):
            link.request()
            link.reset()

        peer, conn = self.start(script)
        conn.request("GET", "/")
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        self.assertIs(conn.poll_response(), True)
        with self.assertRaises(ConnectionResetError):
            conn.getresponse()
        self.assertEqual(conn.fileno(), -1)

    @support.cpython_only
    def test_an_error_leaves_no_cycle(self):
        def script(link):
            link.request()
            link.reset()

        peer, conn = self.start(script)
        conn.request("GET", "/")
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        self.assertFalse(http_peer.leaves_cycle(ConnectionResetError,
                                                conn.getresponse))

    def test_after_a_timeout(self):
        ready = threading.Event()

        def script(link):
            link.request()
            ready.wait(support.SHORT_TIMEOUT)
            link.send(response(b"hello"))
            link.wait_closed()

        peer, conn = self.start(script)
        self.addCleanup(ready.set)
        conn.request("GET", "/")
        conn.sock.settimeout(0.01)
        with self.assertRaises(TimeoutError):
            conn.getresponse()
        self.assertIs(conn.poll_response(), False)
        ready.set()
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        self.assertEqual(conn.getresponse().read(), b"hello")

    def test_the_socket_keeps_its_timeout(self):
        def script(link):
            while link.answer(b"hello"):
                pass

        peer, conn = self.start(script)
        for timeout in support.SHORT_TIMEOUT, None, 5:
            conn.sock.settimeout(timeout)
            conn.request("GET", "/")
            self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
            self.assertEqual(conn.sock.gettimeout(), timeout)
            self.assertEqual(conn.getresponse().read(), b"hello")

    def test_a_response_class_with_a_reader_of_its_own(self):
        class Response(http.client.HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)

        def script(link):
            while link.answer(b"hello"):
                pass

        peer, conn = self.start(script)
        conn.response_class = Response
        for _ in range(2):
            conn.request("GET", "/")
            self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
            self.assertEqual(conn.getresponse().read(), b"hello")


    def test_a_response_class_that_reads_from_the_socket(self):
        # It does not see what poll_response() has received.
        class Response(http.client.HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)
                self.fp.close()
                self.fp = sock.makefile("rb", buffering=size)

        def script(link):
            link.request()
            try:
                link.send(response(response(b"forged") * 1000))
            except OSError:     # the client did not want all of it
                return
            link.wait_closed()

        for size in 0, 100:
            with self.subTest(size=size):
                peer, conn = self.start(script)
                conn.response_class = Response
                conn.request("GET", "/")
                self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
                with self.assertRaises(http.client.RemoteDisconnected):
                    conn.getresponse()
                self.assertEqual(conn.fileno(), -1)


@http_peer.over_tls
class IdleTests(PollTestCase):
    """No request has been sent."""

    def test_nothing(self):
        peer, conn = self.start_idle(lambda link: None)
        self.assertIs(conn.poll_response(), False)
        with self.assertRaises(http.client.ResponseNotReady):
            conn.getresponse()
        self.assertEqual(conn.fileno(), conn.sock.fileno())

    def check_request_timeout(self, data):
        peer, conn = self.start_idle(lambda link: link.send(data))
        self.go_on()
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        received = conn.getresponse()
        self.assertEqual(received.status, 408)
        self.assertIs(received.will_close, True)
        self.assertEqual(conn.fileno(), -1)
        self.assertEqual(received.read(), b"bye")

    def test_request_timeout(self):
        self.check_request_timeout(TIMEOUT)

    def test_request_timeout_after_a_line_end(self):
        self.check_request_timeout(b"\r\n" + TIMEOUT)

    def test_request_timeout_that_does_not_say_close(self):
        self.check_request_timeout(
            TIMEOUT.replace(b"Connection: close\r\n", b""))

    def test_line_ends(self):
        peer, conn = self.start_idle(lambda link: link.send(b"\r\n\r\n"))
        self.go_on()
        wait_readable(conn.sock)
        self.assertIs(conn.poll_response(), False)
        self.assertEqual(select.select([conn], [], [], 0)[0], [])

    def check_refused(self, data, exception):
        peer, conn = self.start_idle(lambda link: link.send(data))
        self.go_on()
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        with self.assertRaises(exception):
            conn.getresponse()
        self.assertEqual(conn.fileno(), -1)
        with self.assertRaises(http.client.NotConnected):
            conn.poll_response()

    def test_any_other_response(self):
        self.check_refused(response(b"stray"), http.client.ResponseNotReady)

    def test_what_is_no_response(self):
        self.check_refused(b"?", http.client.ResponseNotReady)
        self.check_refused(b"HTTP/1.1 4088", http.client.ResponseNotReady)
        self.check_refused(b"HTTP/1.1 408 " + b"x" * 1024,
                           http.client.ResponseNotReady)

    def test_request_timeout_in_pieces(self):
        end = TIMEOUT.index(b"\n") + 1
        sent = [TIMEOUT[at:at + 1] for at in range(end)] + [TIMEOUT[end:]]

        def script(link):
            for piece in sent:
                link.send(piece)
                next_piece.acquire(timeout=support.SHORT_TIMEOUT)

        def may_become_request_timeout(received):
            # What is there has been seen, so more can be sent.
            result = real_function(received)
            next_piece.release()
            return result

        next_piece = threading.Semaphore(0)
        real_function = http._reuse.may_become_request_timeout
        peer, conn = self.start_idle(script)
        self.go_on()
        wait_readable(conn.sock)
        with unittest.mock.patch("http._reuse.may_become_request_timeout",
                                 may_become_request_timeout):
            received = conn.getresponse()
        self.assertEqual(received.status, 408)
        self.assertEqual(received.read(), b"bye")

    def test_a_part_of_a_request_timeout(self):
        def script(link):
            link.send(TIMEOUT[:10])
            next_piece.wait(support.SHORT_TIMEOUT)
            link.send(TIMEOUT[10:])

        for timeout, exception in (0, BlockingIOError), (0.01, TimeoutError):
            with self.subTest(timeout=timeout):
                next_piece = threading.Event()
                peer, conn = self.start_idle(script)
                self.go_on()
                wait_readable(conn.sock)
                conn.sock.settimeout(timeout)
                # It can be called again.
                for _ in range(2):
                    with self.assertRaises(exception):
                        conn.getresponse()
                conn.sock.settimeout(support.SHORT_TIMEOUT)
                next_piece.set()
                self.assertEqual(conn.getresponse().read(), b"bye")

    def test_an_interrupt_in_the_middle_of_a_request_timeout(self):
        class Interrupt(Exception):
            pass

        peer, conn = self.start_idle(lambda link: link.send(TIMEOUT[:10]))
        self.go_on()
        wait_readable(conn.sock)
        with (unittest.mock.patch("http._reuse.may_become_request_timeout",
                                  side_effect=Interrupt),
              self.assertRaises(Interrupt)):
            conn.getresponse()
        with self.assertRaises(http.client.NotConnected):
            conn.poll_response()

    def test_a_request_timeout_that_is_cut(self):
        def script(link):
            link.send(TIMEOUT[:10])
            link.close()

        peer, conn = self.start_idle(script)
        self.go_on()
        wait_readable(conn.sock)
        with self.assertRaises(http.client.RemoteDisconnected):
            conn.getresponse()
        self.assertEqual(conn.fileno(), -1)

    def test_the_end(self):
        peer, conn = self.start_idle(lambda link: link.close())
        self.go_on()
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        with self.assertRaises(http.client.RemoteDisconnected):
            conn.getresponse()
        self.assertEqual(conn.fileno(), -1)

    def test_a_reset(self):
        peer, conn = self.start_idle(lambda link: link.reset())
        self.go_on()
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        with self.assertRaises(http.client.RemoteDisconnected):
            conn.getresponse()
        self.assertEqual(conn.fileno(), -1)

    def test_an_error_does_not_keep_the_socket(self):
        peer, conn = self.start_idle(lambda link: link.reset())
        conn.request("GET", "/")
        conn.sock.settimeout(0.01)
        try:
            conn.getresponse()
        except TimeoutError:
            self.go_on()
            self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        sock = weakref.ref(conn.sock)
        conn.close()
        support.gc_collect()
        self.assertIsNone(sock())

    def test_then_a_request(self):
        # What came unasked is no response to a later request.
        for data in TIMEOUT, response(b"stray"), b"HTTP/", b"?":
            with self.subTest(data=data):
                peer, conn = self.start_idle(lambda link: link.send(data))
                self.go_on()
                self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
                conn.request("GET", "/second")
                self.assertEqual(conn.getresponse().read(), b"fresh")
                self.assertEqual(peer.requests[1][0], 1)

    def test_getresponse_alone(self):
        peer, conn = self.start_idle(lambda link: link.send(TIMEOUT))
        self.go_on()
        wait_readable(conn.sock)
        self.assertEqual(conn.getresponse().status, 408)

    def test_an_interrupt(self):
        class Interrupt(Exception):
            pass

        def script(link):
            link.answer(b"first")
            link.answer(b"second")
            link.wait_closed()

        def recv_into(sock, buffer):
            received = real_recv_into(sock, buffer)
            if sock is conn.sock:
                # The bytes have been received, and nobody will see them.
                raise Interrupt
            return received     # the peer's, which may be reading, too

        peer, conn = self.start(script)
        real_recv_into = type(conn.sock).recv_into
        conn.request("GET", "/")
        conn.getresponse().read()
        conn.request("GET", "/")
        wait_readable(conn.sock)
        with unittest.mock.patch.object(type(conn.sock), "recv_into",
                                        recv_into):
            with self.assertRaises(Interrupt):
                conn.poll_response()
        self.assertEqual(conn.sock.gettimeout(), support.SHORT_TIMEOUT)
        with self.assertRaises(http.client.RemoteDisconnected):
            conn.getresponse()


class StateTests(PollTestCase):

    def test_not_connected(self):
        conn = http.client.HTTPConnection("localhost")
        self.assertEqual(conn.fileno(), -1)
        with self.assertRaises(http.client.NotConnected):
            conn.poll_response()
        with self.assertRaises(http.client.ResponseNotReady):
            conn.getresponse()

    def test_unread(self):
        def script(link):
            link.answer(b"hello")
            link.wait_closed()

        peer, conn = self.start(script)
        conn.request("GET", "/")
        received = conn.getresponse()
        with self.assertRaises(http.client.ResponseNotReady):
            conn.poll_response()
        received.read()
        self.assertIs(conn.poll_response(), False)

    def test_another_protocol(self):
        def script(link):
            link.request()
            link.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            link.send(b"hello")
            link.wait_closed()

        peer, conn = self.start(script)
        conn.request("GET", "/")
        received = conn.getresponse()
        with self.assertRaises(http.client.NotConnected):
            conn.poll_response()
        self.assertEqual(received.fp.read(5), b"hello")

    def test_a_response_that_was_not_read(self):
        def script(link):
            link.request()
            link.send(response(b"hello")[:-1])
            link.request()
            link.wait_closed()

        peer, conn = self.start(script)
        conn.request("GET", "/")
        received = conn.getresponse()
        conn.request("GET", "/")
        received.close()
        self.assertIs(conn.poll_response(), True)
        with self.assertRaises(http.client.RemoteDisconnected):
            conn.getresponse()

    def test_selectors(self):
        def script(link):
            link.answer(b"hello")
            link.wait_closed()

        peer, conn = self.start(script)
        with selectors.DefaultSelector() as selector:
            selector.register(conn, selectors.EVENT_READ)
            conn.request("GET", "/")
            self.assertTrue(selector.select(support.SHORT_TIMEOUT))
            self.assertIs(conn.poll_response(), True)
            self.assertEqual(conn.getresponse().read(), b"hello")
            conn.close()
            selector.unregister(conn)

    @unittest.skipUnless(hasattr(signal, "setitimer"), "needs setitimer()")
    def test_signals(self):
        # PEP 475: a signal does not end the wait, and does not prolong it.
        def script(link):
            link.request()
            link.wait_closed()

        handled = []
        peer, conn = self.start(script)
        conn.request("GET", "/")
        old = signal.signal(signal.SIGALRM, lambda *args: handled.append(1))
        self.addCleanup(signal.signal, signal.SIGALRM, old)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        start = time.monotonic()
        self.assertIs(conn.poll_response(0.1), False)
        self.assertGreaterEqual(time.monotonic() - start, 0.09)
        self.assertTrue(handled)


@support.requires_subprocess()
class OtherModulesTests(unittest.TestCase):
    """The same tests where other modules are not what they usually are."""

    def check(self, **kwargs):
        http_peer.run_without_ssl("test.test_http_poll", "OutstandingTests",
                                  "IdleTests", "StateTests",
                                  "OtherSocketsTests", **kwargs)

    def test_without_the_ssl_module(self):
        self.check()

    def test_sockets_that_wait_by_themselves(self):
        self.check(setup=http_peer.WAITING)


class OtherSocketsTests(PollTestCase):
    """Sockets that are not those of the socket or of the ssl module."""

    def check(self, wrap, **kwargs):
        def script(link):
            for body in b"first", b"second":
                link.request()
                go_on.acquire(timeout=support.SHORT_TIMEOUT)
                link.send(response(body))
            link.close()

        go_on = threading.Semaphore(0)
        peer = self.enterContext(Peer(script, **kwargs))
        self.addCleanup(go_on.release, 2)
        conn = http.client.HTTPConnection(http_peer.HOST, peer.port,
                                          timeout=support.SHORT_TIMEOUT)
        self.addCleanup(conn.close)
        conn.connect()
        conn.sock = wrap(peer, conn.sock)
        for body in b"first", b"second":
            conn.request("GET", "/")
            self.assertIs(conn.poll_response(), False)
            self.assertIs(conn.poll_response(0.01), False)
            go_on.release()
            self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
            self.assertEqual(conn.getresponse().read(), body)
        # That it has ended can be told, but not from anything else.
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        with self.assertRaises(http.client.ResponseNotReady):
            conn.getresponse()

    @unittest.skipUnless(http_peer.ssl, "needs the ssl module")
    def test_memory_bio(self):
        def wrap(peer, sock):
            return http_peer.BIOSocket(sock, peer.client_context())

        for tls in (http_peer.ssl.TLSVersion.TLSv1_2,
                    http_peer.ssl.TLSVersion.TLSv1_3):
            with self.subTest(tls=tls):
                self.check(wrap, tls=tls)

    def test_what_only_looks_like_a_socket(self):
        class Socket:
            def __init__(self, sock):
                self.sendall = sock.sendall
                self.makefile = sock.makefile
                self.fileno = sock.fileno
                self.close = sock.close

        self.check(lambda peer, sock: Socket(sock))

    def test_bytes_that_the_descriptor_does_not_show(self):
        # pending() is what ssl and others have for this.
        class Socket(io.BytesIO):
            def fileno(self):
                return quiet.fileno()

            def pending(self):
                return len(self.getvalue()) - self.tell()

            def makefile(self, mode):
                return self

            def sendall(self, data):
                pass

        quiet, other = socket.socketpair()
        with quiet, other:
            conn = http.client.HTTPConnection("localhost")
            conn.sock = Socket(response(b"hello"))
            conn.request("GET", "/")
            self.assertIs(conn.poll_response(), True)
            self.assertEqual(conn.getresponse().read(), b"hello")
            conn.sock = Socket()
            conn.request("GET", "/")
            self.assertIs(conn.poll_response(), False)
            conn.close()


@unittest.skipUnless(http_peer.ssl, "needs the ssl module")
class TLSTests(PollTestCase):

    if http_peer.ssl:
        tls = http_peer.ssl.TLSVersion.TLSv1_3

    def test_tickets(self):
        # They make the descriptor readable, and there is nothing to read.
        def script(link):
            sent.set()
            link.answer(b"hello")
            link.wait_closed()

        for tickets in 2, 200:
            for timeout in 0, 0.01:
                with self.subTest(tickets=tickets, timeout=timeout):
                    sent = threading.Event()
                    peer, conn = self.start(script, tickets=tickets)
                    wait_readable(conn.sock)
                    sent.wait(support.SHORT_TIMEOUT)
                    self.assertIs(conn.poll_response(timeout), False)
                    conn.request("GET", "/")
                    self.assertEqual(conn.getresponse().read(), b"hello")

    @unittest.skipUnless(hasattr(select, "POLLRDHUP"), "needs POLLRDHUP")
    def test_what_follows_tickets(self):
        # One look tells all.
        for act, outcome in (
            (lambda link: link.send(TIMEOUT), None),
            (lambda link: link.send(response(b"stray")),
             http.client.ResponseNotReady),
            (lambda link: link.send(b"?"), http.client.ResponseNotReady),
            (lambda link: link.end_tls(), http.client.RemoteDisconnected),
            (lambda link: None, http.client.RemoteDisconnected),
        ):
            with self.subTest(outcome=outcome):
                peer, conn = self.start(
                    lambda link: (act(link), link.close()), tickets=2)
                poller = select.poll()
                poller.register(conn, select.POLLRDHUP)
                self.assertTrue(poller.poll(support.SHORT_TIMEOUT * 1000))
                self.assertIs(conn.poll_response(), True)
                if outcome is None:
                    self.assertEqual(conn.getresponse().read(), b"bye")
                    continue
                with self.assertRaises(outcome):
                    conn.getresponse()

    def test_key_updates(self):
        with KeyUpdater() as server:
            conn = server.client
            for number in range(4):
                conn.request("GET", f"/{number}")
                server.answer(b"/%d" % number)
                self.assertEqual(conn.getresponse().read(), b"/%d" % number)
                self.assertIs(conn.poll_response(), False)
                server.update_keys(both=bool(number % 2))
                self.assertIs(conn.poll_response(), False)
                self.assertIs(conn.poll_response(0.01), False)
                with self.assertRaises(http.client.ResponseNotReady):
                    conn.getresponse()
                self.assertNotEqual(conn.fileno(), -1)

    def test_close_notify(self):
        for tls in (http_peer.ssl.TLSVersion.TLSv1_2,
                    http_peer.ssl.TLSVersion.TLSv1_3):
            self.tls = tls
            with self.subTest(tls=tls):
                peer, conn = self.start_idle(lambda link: link.end_tls())
                self.go_on()
                self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
                self.assertIs(conn.poll_response(), True)
                with self.assertRaises(http.client.RemoteDisconnected):
                    conn.getresponse()

    def test_part_of_a_record(self):
        # The descriptor is readable, a read has to wait.
        peer, conn = self.start_idle(
            lambda link: socket.socket.send(link.sock, b"\x17\x03\x03"))
        self.go_on()
        wait_readable(conn.sock)
        self.assertIs(conn.poll_response(), False)
        self.assertIs(conn.poll_response(0.01), False)


if __name__ == "__main__":
    unittest.main()
