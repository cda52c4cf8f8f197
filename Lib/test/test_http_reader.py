"""One reader for all responses on a connection (bpo-23377)."""

import gc
import http.client
import io
import pickle
import socket
import sys
import threading
import unittest
import weakref
from test import http_peer, support
from test.support import threading_helper
from test.http_peer import FRAMINGS, Peer, in_pieces, response
from unittest import mock

support.requires_working_socket(module=True)

STRAY = response(b"stray", status=b"200 Stray")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

# Which connection is used after the garbage collector has found a response.
# Without a GIL it may close what that reads from first.
COLLECTED = (b"kept", b"fresh")[:1 + support.Py_GIL_DISABLED]


class ReaderTestCase(unittest.TestCase):

    tls = None

    def second(self, *first, method="GET",
               leave=http.client.HTTPResponse.read, mixin=None):
        """Answer a request by the segments *first*, *leave* the response.

        Return the body of the response to a second request, which a new
        connection answers by "fresh", the one in use by "kept".
        """
        def script(link):
            link.request()
            for segment in first:
                link.send(segment)
            link.answer(b"kept")

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect(mixin=mixin)
            conn.request(method, "/first")
            leave(conn.getresponse())
            conn.request("GET", "/second")
            body = conn.getresponse().read()
            self.assertEqual([number for number, request in peer.requests],
                             [0, 0] if body == b"kept" else [0, 1])
            return body


@http_peer.over_tls
class StrayTests(ReaderTestCase):
    """Bytes that came with a response and belong to no request."""

    def check(self, message, **kwargs):
        for stray in STRAY, STRAY[:1], b"HTTP/", b"\r\n" + STRAY, b"\0":
            with self.subTest(stray=stray):
                self.assertEqual(self.second(message + stray, **kwargs),
                                 b"fresh")
        for stray in b"\r\n", b"\r\n\r\n", b"\n":
            with self.subTest(stray=stray):
                self.assertEqual(self.second(message + stray, **kwargs),
                                 b"kept")

    def test_after_content_length(self):
        self.check(response(b"first"))

    def test_after_an_empty_body(self):
        self.check(response(b""))

    def test_after_chunks(self):
        self.check(CHUNKED + b"5\r\nfirst\r\n0\r\n\r\n")

    def test_after_a_trailer(self):
        self.check(CHUNKED + b"5\r\nfirst\r\n0\r\nA: b\r\n\r\n")

    def test_after_an_interim_response(self):
        self.check(b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(b"first"))

    def test_after_head(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        self.check(head, method="HEAD")
        self.assertEqual(self.second(head + b"first", method="HEAD"),
                         b"fresh")

    def test_after_head_of_chunks(self):
        method, head = FRAMINGS["HEAD of chunks"]
        self.check(head, method=method)
        self.assertEqual(self.second(head + b"5\r\nfirst\r\n0\r\n\r\n",
                                     method=method), b"fresh")

    def test_a_body_where_none_can_be(self):
        for name in "204", "304":
            head = FRAMINGS[name][1]
            self.assertEqual(self.second(head + b"first"), b"fresh")

    def test_of_which_only_a_part_has_been_received(self):
        for name, (method, message) in FRAMINGS.items():
            for size in 2, 3, 5, 7, len(message) + 1:
                if not len(message) % size:
                    # None of it comes with the response.
                    continue
                with self.subTest(name, size=size):
                    self.assertEqual(
                        self.second(message + STRAY, method=method,
                                    mixin=in_pieces(size)), b"fresh")

    # Guard: it makes no difference how a response comes in.
    def test_in_pieces_with_nothing_stray(self):
        for name, (method, message) in FRAMINGS.items():
            for size in 1, 2, 3:
                with self.subTest(name, size=size):
                    self.assertEqual(
                        self.second(message, method=method,
                                    mixin=in_pieces(size)), b"kept")

    def test_after_no_content(self):
        self.check(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.check(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")

    def test_read_in_other_ways(self):
        def in_parts(received):
            while received.read(2):
                pass

        def read1(received):
            while received.read1():
                pass

        def readinto(received):
            while received.readinto(bytearray(2)):
                pass

        def iterate(received):
            for line in received:
                pass

        for leave in in_parts, read1, readinto, iterate:
            for head in (response(b"fi\nst"),
                         CHUNKED + b"5\r\nfi\nst\r\n0\r\n\r\n"):
                with self.subTest(leave.__name__):
                    self.assertEqual(self.second(head + STRAY, leave=leave),
                                     b"fresh")


@http_peer.over_tls
class NextTests(ReaderTestCase):
    """Bytes that came with a response and belong to the next request."""

    def exchange(self, first, early, late, mixin=None):
        """Send two requests, then read two responses.

        *first* is sent upon the first request, *early* upon the second, and
        *late* when the first response has been read.
        """
        go_on = threading.Semaphore(0)

        def script(link):
            link.request()
            link.send(first)
            link.request()
            link.send(early)
            go_on.acquire(timeout=support.SHORT_TIMEOUT)
            if late:
                link.send(late)
            link.wait_closed()

        with Peer(script, tls=self.tls) as peer:
            conn = peer.connect(mixin=mixin)
            conn.request("GET", "/first")
            received = conn.getresponse()
            conn.request("GET", "/second")
            result = [received.read()]
            go_on.release()
            result.append(conn.getresponse().read())
            return result

    def test_the_beginning_of_the_next_response(self):
        # msg234609 in bpo-9740: BadStatusLine("1.1 200 Okay")
        first = response(b"first")
        late = response(b"second", status=b"200 Okay").removeprefix(b"HTTP/")
        self.assertEqual(
            self.exchange(first[:-5], first[-5:] + b"HTTP/", late),
            [b"first", b"second"])

    def test_every_split(self):
        first, second = response(b"first"), response(b"second")
        for size in range(1, len(second)):
            with self.subTest(size=size):
                self.assertEqual(
                    self.exchange(first[:-3], first[-3:] + second[:size],
                                  second[size:]),
                    [b"first", b"second"])

    def test_all_of_the_next_response(self):
        both = response(b"first") + response(b"second")
        head = both.index(b"first")
        self.assertEqual(self.exchange(both[:head], both[head:], b""),
                         [b"first", b"second"])

    def test_a_chunked_response(self):
        early = b"rst\r\n0\r\n\r\n" + CHUNKED + b"6\r\nsec"
        late = b"ond\r\n0\r\n\r\n"
        self.assertEqual(self.exchange(CHUNKED + b"5\r\nfi", early, late),
                         [b"first", b"second"])

    def test_after_a_trailer(self):
        early = b"rst\r\n0\r\nA: b\r\n\r\n"
        second = CHUNKED + b"6\r\nsecond\r\n0\r\nC: d\r\n\r\n"
        for size in 1, 5, len(CHUNKED), len(second):
            with self.subTest(size=size):
                self.assertEqual(
                    self.exchange(CHUNKED + b"5\r\nfi",
                                  early + second[:size], second[size:]),
                    [b"first", b"second"])

    def test_in_pieces(self):
        # A piece has the end of one response and the beginning of the next.
        first, second = response(b"first"), response(b"second")
        for size in 4, 7, 11:
            with self.subTest(size=size):
                self.assertEqual(
                    self.exchange(first[:-5], first[-5:] + second, b"",
                                  mixin=in_pieces(size)),
                    [b"first", b"second"])

    # Guard: nothing is lost if the pieces are that small.
    def test_byte_by_byte(self):
        both = response(b"first") + CHUNKED + b"6\r\nsecond\r\n0\r\n\r\n"
        head = both.index(b"first")
        self.assertEqual(self.exchange(both[:head], both[head:], b"",
                                       mixin=in_pieces(1)),
                         [b"first", b"second"])

    # Guard: line ends between responses are of no response.
    def test_line_ends(self):
        first, second = response(b"first"), response(b"second")
        self.assertEqual(
            self.exchange(first[:-3], first[-3:] + b"\r\n", second),
            [b"first", b"second"])

    def test_bytes_that_came_before_the_next_request(self):
        # They belong to no request, although the first response has not
        # been read when the second request is sent.
        def script(link):
            link.request()
            link.send(first + extra)
            link.answer(b"second")

        def fresh(link):
            link.answer(b"fresh")

        for extra in response(b"stray"), b"HTTP/":
            for first in (response(b"first"), response(b""),
                          CHUNKED + b"5\r\nfirst\r\n0\r\n\r\n"):
                with (self.subTest(first=first, extra=extra),
                      Peer(script, fresh, tls=self.tls) as peer):
                    conn = peer.connect()
                    conn.request("GET", "/")
                    received = conn.getresponse()
                    conn.request("GET", "/")
                    self.assertIn(received.read(), (b"first", b""))
                    self.assertEqual(conn.getresponse().read(), b"fresh")


@http_peer.over_tls
class LeftTests(ReaderTestCase):
    """Responses that are not read to their end."""

    def drop(self, received):
        pass

    def test_the_rest_has_been_received(self):
        def close_later(received):
            received.read(2)
            received.close()

        for leave in http.client.HTTPResponse.close, close_later, self.drop:
            for message in (response(b"first"), response(b"\r\n" * 2000),
                            CHUNKED + b"5\r\nfirst\r\n0\r\n\r\n",
                            CHUNKED + b"3\r\nfir\r\n2;x\r\nst\r\n0\r\nA: b\r\n"
                            b"\r\n"):
                with self.subTest(leave=leave, message=message):
                    self.assertEqual(self.second(message, leave=leave),
                                     b"kept")
                    self.assertEqual(self.second(message + STRAY, leave=leave),
                                     b"fresh")

    def test_the_rest_is_not_read(self):
        # Another thread may be reading it, and would wait for what is gone.
        def leave(received):
            with mock.patch("http._reader.Reader.read", create=True,
                            side_effect=AssertionError):
                received.close()

        self.assertEqual(self.second(response(b"hello"), leave=leave),
                         b"kept")

    def test_the_rest_has_not_been_received(self):
        def close(received):
            received.close()

        for leave in close, self.drop:
            for message in (response(b"first")[:-1],
                            response(b"\r\n" * 10000)[:-1],
                            CHUNKED + b"5\r\nfirst\r\n0\r\n\r",
                            CHUNKED + b"5\r\nfirst\r\n0\r\nA: b\r\n",
                            CHUNKED + b"5\r\nfirst\r\n",
                            CHUNKED + b"x\r\nfirst\r\n0\r\n\r\n",
                            CHUNKED):
                with self.subTest(leave=leave, message=message):
                    self.assertEqual(self.second(message, leave=leave),
                                     b"fresh")

    def test_collected_in_a_cycle(self):
        def collect(received):
            received.itself = received
            del received
            gc.collect()

        self.assertEqual(self.second(response(b"first")[:-1], leave=collect),
                         b"fresh")
        self.assertIn(self.second(response(b"first"), leave=collect),
                      COLLECTED)

    def test_collected_with_its_reader(self):
        def collect(received):
            received.fp.raw.response = received
            del received
            with support.catch_unraisable_exception() as caught:
                gc.collect()
                self.assertIsNone(caught.unraisable)

        self.assertIn(self.second(response(b"first"), leave=collect),
                      COLLECTED)

    def test_dropped_with_another_request_sent(self):
        def script(link):
            link.request()
            link.send(response(STRAY * 9)[:-1])
            link.request()
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/first")
            first = conn.getresponse()
            conn.request("GET", "/second")
            del first
            support.gc_collect()
            with self.assertRaises(http.client.RemoteDisconnected):
                conn.getresponse()
            conn.request("GET", "/third")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    # Guard: a response that is not read has to be told from one that is
    # not read yet.
    def test_not_read_yet(self):
        def script(link):
            link.answer(b"first")

        with Peer(script, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/first")
            first = conn.getresponse()
            conn.request("GET", "/second")
            with self.assertRaises(http.client.ResponseNotReady):
                conn.getresponse()
            self.assertEqual(first.read(), b"first")


@http_peer.over_tls
class TimeoutTests(ReaderTestCase):

    def test_before_and_after_the_first_byte(self):
        def patient(link):
            link.request()
            go_on.acquire(timeout=support.SHORT_TIMEOUT)
            link.send(response(b"late"))
            link.request()
            link.send(b"HTTP/1.1 2")
            link.wait_closed()

        go_on = threading.Semaphore(0)
        with Peer(patient, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            conn.sock.settimeout(0.01)
            for _ in range(2):
                with self.assertRaises(TimeoutError):
                    conn.getresponse()
            conn.sock.settimeout(support.SHORT_TIMEOUT)
            go_on.release()
            self.assertEqual(conn.getresponse().read(), b"late")

            conn.request("GET", "/")
            http_peer.wait_readable(conn.sock)
            conn.sock.settimeout(0.01)
            with self.assertRaises(TimeoutError):
                conn.getresponse()
            with self.assertRaises(http.client.RemoteDisconnected):
                conn.getresponse()

    def test_in_the_body(self):
        # After a timeout, nobody knows what was lost.
        def script(link):
            link.request()
            link.send(response(b"first")[:-1])
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            received = conn.getresponse()
            self.assertEqual(received.read(2), b"fi")
            conn.sock.settimeout(0.01)
            with self.assertRaises(TimeoutError):
                received.read()
            with self.assertRaisesRegex(OSError, "timed out object"):
                received.fp.read(1)
            del received
            support.gc_collect()
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"fresh")


@support.requires_subprocess()
class OtherModulesTests(unittest.TestCase):
    """The same tests where other modules are not what they usually are."""

    def check(self, **kwargs):
        http_peer.run_without_ssl("test.test_http_reader", "StrayTests",
                                  "NextTests", "LeftTests", "TimeoutTests",
                                  "OwnershipTests", **kwargs)

    def test_without_the_ssl_module(self):
        self.check()

    def test_sockets_that_wait_by_themselves(self):
        self.check(setup=http_peer.WAITING)


class OwnershipTests(ReaderTestCase):

    # Guard: others take the socket from it, or keep it too long.
    def test_response_fp(self):
        def script(link):
            link.answer(b"first")
            link.answer(b"second")
            link.answer(b"third", b"Connection: close")

        with Peer(script) as peer:
            conn = peer.connect()
            for body in b"first", b"second", b"third":
                conn.request("GET", "/")
                received = conn.getresponse()
                fp = received.fp
                self.assertIsInstance(fp, io.BufferedReader)
                self.assertIsInstance(fp.raw, socket.SocketIO)
                if conn.sock is not None:
                    self.assertIs(fp.raw._sock, conn.sock)
                self.assertEqual(received.read(), body)
                self.assertTrue(fp.closed)
                fp.close()

    def test_response_fp_taken_away(self):
        def detach(received):
            received.fp.detach()

        def close(received):
            received.fp.close()

        def replace(received):
            received.fp = io.BytesIO(b"first")

        def script(link):
            link.answer(b"first")
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        for meddle in detach, close, replace:
            with self.subTest(meddle), Peer(script, fresh) as peer:
                conn = peer.connect()
                conn.request("GET", "/")
                received = conn.getresponse()
                meddle(received)
                with support.catch_unraisable_exception() as caught:
                    del received
                    support.gc_collect()
                    self.assertIsNone(caught.unraisable)
                conn.request("GET", "/")
                self.assertEqual(conn.getresponse().read(), b"fresh")

    # Guard: urllib.request does this, and others have copied it.
    def test_the_socket_is_closed_before_the_response(self):
        def script(link):
            link.answer(b"first")
            closed.append(link.wait_closed())

        closed = []
        with Peer(script) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            received = conn.getresponse()
            conn.sock.close()
            conn.sock = None
            self.assertEqual(received.read(), b"first")
            peer.join()
            self.assertEqual(closed, [b""])

    # Guard: an idle connection does not keep a socket from being closed.
    def test_the_socket_is_closed_after_the_response(self):
        def script(link):
            link.answer(b"first")
            closed.append(link.wait_closed())

        closed = []
        with Peer(script) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"first")
            extra = conn.sock.makefile("rb")
            conn.sock.close()
            self.assertNotEqual(extra.fileno(), -1)
            extra.close()
            peer.join()
            self.assertEqual(closed, [b""])

    # Guard: the response to a request that says so owns the socket.
    def test_the_connection_is_closed_before_the_response(self):
        def script(link):
            link.answer(b"first", b"Connection: close")
            closed.append(link.wait_closed())

        closed = []
        with Peer(script) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            received = conn.getresponse()
            conn.close()
            self.assertEqual(received.read(), b"first")
            peer.join()
            self.assertEqual(closed, [b""])

    # Guard: a response need not keep its connection.
    def test_the_connection_is_gone_before_the_response(self):
        def script(link):
            link.answer(b"first")

        with Peer(script) as peer:
            conn = http.client.HTTPConnection(http_peer.HOST, peer.port,
                                              timeout=support.SHORT_TIMEOUT)
            conn.request("GET", "/")
            received = conn.getresponse()
            conn.sock.close()
            gone = weakref.ref(conn)
            del conn
            support.gc_collect()
            self.assertIsNone(gone())
            self.assertEqual(received.read(), b"first")

    def test_a_reader_that_was_taken_away(self):
        def script(link):
            link.request()
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
            if link.request() is not None:
                link.send(STRAY)

        def fresh(link):
            link.answer(b"fresh")

        for replacement in None, io.BytesIO(b"x" * 100):
            for left in http.client.HTTPResponse.read, lambda received: None:
                with self.subTest(left), Peer(script, fresh) as peer:
                    conn = peer.connect()
                    conn.request("GET", "/1")
                    received = conn.getresponse()
                    with received.fp:
                        received.fp = replacement
                        left(received)
                        conn.request("GET", "/2")
                        self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_a_socket_handed_on_with_a_response_unread(self):
        def script(link):
            link.request()
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
            if link.request() is not None:
                link.send(STRAY)

        with Peer(script) as peer:
            conn, other = peer.connect(), peer.connect()
            conn.request("GET", "/1")
            with conn.getresponse():
                other.sock, conn.sock = conn.sock, None
                with self.assertRaises(http.client.RemoteDisconnected):
                    other.request("GET", "/2")

    def test_an_interrupted_read(self):
        # What was received may be lost, so nobody knows what comes next.
        class Interrupt(Exception):
            pass

        class Socket(socket.socket):
            interrupted = False

            def recv_into(self, buffer, *args):
                size = super().recv_into(memoryview(buffer)[:8], *args)
                if self.interrupted:
                    raise Interrupt     # and the bytes are lost
                return size

        client, server = socket.socketpair()
        with server, Socket(fileno=client.detach()) as sock:
            conn = http.client.HTTPConnection("example.com")
            conn.sock = sock
            conn.request("GET", "/1")
            server.sendall(response(b"x" * 32))
            received = conn.getresponse()
            conn.request("GET", "/2")
            server.sendall(response(b"second"))
            sock.interrupted = True
            with self.assertRaises(Interrupt):
                received.read()
            sock.interrupted = False
            received.read()
            with self.assertRaises(http.client.RemoteDisconnected):
                conn.getresponse()

    @support.no_tracing
    def test_interrupted_before_the_status_line_is_read(self):
        # Its first bytes have been received, and nobody has them now.
        class Interrupt(Exception):
            pass

        def trace(frame, event, arg):
            if not frame.f_code.co_name.endswith("__await_response"):
                return trace
            if event == "return":
                sys.settrace(None)
                raise Interrupt
            return trace

        def script(link):
            link.request()
            link.send(CHUNKED)
            interrupted.wait(support.SHORT_TIMEOUT)
            link.send(STRAY)
            link.wait_closed()

        self.addCleanup(sys.settrace, sys.gettrace())
        def interrupt():
            conn.request("GET", "/1")
            sys.settrace(trace)
            conn.getresponse()

        def check():
            interrupted.set()
            http_peer.wait_readable(conn.sock)
            with self.assertRaises(http.client.RemoteDisconnected):
                conn.getresponse()
            conn.request("GET", "/2")
            self.assertEqual(conn.getresponse().read(), b"fresh")

        for kept in True, False:
            interrupted = threading.Event()
            with (self.subTest(kept=kept),
                  Peer(script, lambda link: link.answer(b"fresh")) as peer):
                conn = peer.connect()
                try:
                    interrupt()
                except Interrupt:
                    if kept:        # by the traceback
                        check()
                if not kept:
                    check()

    # Guard: the many ways in which others make and take responses.
    def test_other_response_classes(self):
        class Renamed(http.client.HTTPResponse):
            def __init__(self, sock, debuglevel=0, method=None, url=None):
                super().__init__(sock, debuglevel, method, url)
                self.sock = sock

        class Unbuffered(http.client.HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)
                self.fp.close()
                self.fp = sock.makefile("rb", buffering=0)

        def factory(sock, *args, **kwargs):
            self.assertIsInstance(sock, socket.socket)
            return http.client.HTTPResponse(sock, *args, **kwargs)

        def script(link):
            for _ in range(4):
                link.answer(b"hello")

        with Peer(script) as peer:
            conn = peer.connect()
            for cls in (Renamed, Unbuffered, factory,
                        http.client.HTTPResponse):
                conn.response_class = cls
                conn.request("GET", "/")
                received = conn.getresponse()
                if cls is Renamed:
                    self.assertIs(received.sock, conn.sock)
                self.assertEqual(received.read(), b"hello")
            self.assertEqual(peer.accepted, 1)

    # Guard: classes written for earlier versions.
    def test_old_response_classes(self):
        class Old(http.client.HTTPResponse):
            def __init__(self, sock, debuglevel=0, strict=0, method=None):
                http.client.HTTPResponse.__init__(self, sock, debuglevel,
                                                  method=method)

            def begin(self):
                http.client.HTTPResponse.begin(self)

            def read(self, amt=None):
                return http.client.HTTPResponse.read(self, amt)

            def close(self):
                http.client.HTTPResponse.close(self)

        class Own(Old):
            # Knows better than the fields of the head.
            def _read_status(self):
                self.fp.readline()
                return "HTTP/1.1", 200, "OK"

            def begin(self):
                Old.begin(self)
                self.chunked = False
                self.length = 5

        class Closing(Old):
            def _close_conn(self):
                fp, self.fp = self.fp, None
                fp.close()

        def script(link):
            for name in "Content-Length", "chunks", "a trailer", "103 before":
                link.request()
                link.send(FRAMINGS[name][1])
            link.request()
            link.send(b"ICY 200 OK\r\nContent-Length: 7\r\n\r\nfirst")

        def last(link):
            while link.answer(b"first"):
                pass

        with Peer(script, last, last) as peer:
            conn = peer.connect()
            for cls in Old, Old, Old, Old, Own, Closing, Closing:
                conn.response_class = cls
                conn.request("GET", "/")
                received = conn.getresponse()
                self.assertIs(type(received), cls)
                self.assertEqual(received.read(), b"first")
                self.assertTrue(received.isclosed())
                if cls is Own:
                    conn.close()

    # Guard: a stand-alone response reads from whatever there is.
    def test_a_response_to_a_fake(self):
        class Fake:
            def __init__(self, data):
                self.data = data

            def makefile(self, mode):
                return io.BytesIO(self.data)

        for name, (method, message) in FRAMINGS.items():
            for stray in b"", STRAY:
                with self.subTest(name, stray=stray):
                    received = http.client.HTTPResponse(Fake(message + stray),
                                                        method=method)
                    received.begin()
                    self.assertIs(received.will_close, False)
                    self.assertIn(received.read(), (b"first", b""))
                    self.assertTrue(received.isclosed())

    # Guard: TLS that is not the ssl module's own way of doing it.
    @unittest.skipUnless(http_peer.ssl, "needs the ssl module")
    def test_a_socket_that_uses_memory_bio(self):
        def script(link):
            for _, message in FRAMINGS.values():
                link.request()
                link.send(message)

        for tls in (http_peer.ssl.TLSVersion.TLSv1_2,
                    http_peer.ssl.TLSVersion.TLSv1_3):
            with self.subTest(tls=tls), Peer(script, tls=tls,
                                             tickets=2) as peer:
                conn = http.client.HTTPConnection(http_peer.HOST, peer.port,
                                                  timeout=support.SHORT_TIMEOUT)
                self.addCleanup(conn.close)
                conn.connect()
                conn.sock = http_peer.BIOSocket(conn.sock,
                                                peer.client_context())
                for name, (method, message) in FRAMINGS.items():
                    conn.request(method, "/")
                    self.assertIn(conn.getresponse().read(), (b"first", b""))
                self.assertEqual(peer.accepted, 1)

    # Guard: tests of others use such things.
    def test_what_claims_to_be_a_socket(self):
        for sock in (mock.Mock(spec=socket.socket),
                     mock.create_autospec(socket.socket)):
            sock.makefile.side_effect = lambda *args: io.BytesIO(
                response(b"hello"))
            received = http.client.HTTPResponse(sock)
            received.begin()
            self.assertEqual(received.read(), b"hello")
            conn = http.client.HTTPConnection("localhost")
            conn.sock = sock
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"hello")

    def test_two_threads(self):
        # A body can be read while another thread sends a request.
        read = threading.Event()
        sent = threading.Event()

        def script(link):
            link.request()
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfi")
            link.request()
            sent.set()
            link.send(b"rst" + response(b"second"))

        def reader():
            read.set()
            bodies.append(received.read())

        bodies = []
        with Peer(script) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            received = conn.getresponse()
            thread = threading.Thread(target=reader)
            with threading_helper.start_threads([thread]):
                read.wait(support.SHORT_TIMEOUT)
                conn.request("GET", "/")
                self.assertTrue(sent.wait(support.SHORT_TIMEOUT))
            bodies.append(conn.getresponse().read())
            self.assertEqual(bodies, [b"first", b"second"])

    # Guard: what could be pickled still can.
    def test_pickle(self):
        def script(link):
            link.answer(b"hello")

        with Peer(script) as peer:
            conn = peer.connect()
            conn._create_connection = None
            pickle.dumps(conn)
            conn._create_connection = socket.create_connection
            conn.request("GET", "/")
            conn.getresponse().read()
            conn.close()
            copy = pickle.loads(pickle.dumps(conn))
            self.assertEqual(copy.port, conn.port)


if __name__ == "__main__":
    unittest.main()
