"""Tests of when http.client uses a connection again, and what it reads then.

A connection is used for another request only when the request before was sent
whole and the response to it was received to exactly where its framing ends it
(RFC 9112, sections 6.3, 9.2 and 9.3).
"""

import contextlib
import gzip
import http.client
import io
import itertools
import socket
import threading
import unittest
from http.client import (CannotSendRequest, HTTPConnection, HTTPResponse,
                         RemoteDisconnected)
from test import support
from test.http_peer import (FORGED, FP_READERS, FRAMINGS, READERS, Link,
                            OwnReader, Peer, PeerTestCase, SocketWrapper,
                            answering, chunked, fresh, in_pieces, keep,
                            over_tls, response, wait_readable)
from unittest import mock

# A response of which FORGED would be the rest.
HALF = response(b"abcde" + FORGED)[:-len(FORGED)]
CHUNKS = chunked(b"5\r\nfirst\r\n", b"0\r\n\r\n")
TRAILER = chunked(b"3\r\nfir\r\n2;x\r\nst\r\n", b"0\r\nA: b\r\n\r\n")
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
BODILESS = [FRAMINGS[name] for name in ("an empty body", "HEAD", "204", "304")]

# These take every path through HTTPResponse; test_http_framing has the rest.
READS = {name: read for name, read in (READERS | FP_READERS).items()
         if name in ("read", "read(2)", "read1", "readinto", "peek", "iter",
                     "fp.read", "copyfileobj(fp)")}


def close_later(received):
    received.read(2)
    received.close()


def drop(received):
    """Refer no longer to a response: this closes it."""


LEAVES = HTTPResponse.close, drop, close_later


def switch(link):
    """Make a connection useless, over which nothing must be sent then."""
    link.request()
    link.send(SWITCHING)
    expect_nothing(link)


def expect_nothing(link):
    if data := link.wait_closed():
        raise AssertionError(f"the client has sent {data}")


class ReuseTestCase(PeerTestCase):

    def exchange(self, message, read=HTTPResponse.read, *, method="GET",
                 **kwargs):
        """Make two requests; the first is answered by *message*.

        Return what read(response) returned, and the body of the second
        response: b"kept" on the same connection, b"fresh" on a new one.
        """
        with self.serve(answering(message, response(b"kept")),
                        **kwargs) as conn:
            result = read(self.get(conn, method))
            second = self.get(conn).read()
            self.assertEqual([number for number, _ in self.peer.requests],
                             [0, 0] if second == b"kept" else [0, 1])
            return result, second

    def check(self, expected, *args, **kwargs):
        self.assertEqual(self.exchange(*args, **kwargs)[1], expected)

    def check_kept(self, conn, method="GET", body=b"kept", times=2):
        for _ in range(times):
            self.assertEqual(self.get(conn, method).read(), body)
        self.assertEqual(self.peer.accepted, 1)


@over_tls
class ReadTests(ReuseTestCase):

    # Guard: a connection in good order is used again.
    def test_response_read_to_its_end_keeps_connection(self):
        for name, (method, message) in FRAMINGS.items():
            for size in 1, 3, 1000:
                with self.subTest(name, size=size):
                    self.check(b"kept", message, method=method,
                               mixin=in_pieces(size))

    def test_unasked_bytes_are_never_a_response(self):
        for name, (method, message) in FRAMINGS.items():
            for expected, extra in (
                (b"fresh", FORGED), (b"fresh", b"H"), (b"fresh", b"\0"),
                (b"fresh", b"\r\n" + FORGED), (b"fresh", b"forged"),
                # RFC 9112, section 2.2.
                (b"kept", b"\r\n"), (b"kept", b"\n\r\n"),
            ):
                with self.subTest(name, extra=extra):
                    self.check(expected, message + extra, method=method)

    def test_every_way_of_reading_ends_with_the_response(self):
        coded = CHUNKS.partition(b"\r\n\r\n")[2]
        for name, read in READS.items():
            for message in response(b"first"), CHUNKS:
                body = (coded if message is CHUNKS and name in FP_READERS
                        else b"first")
                for expected, extra in (b"kept", b""), (b"fresh", FORGED):
                    with self.subTest(name, message=message, extra=extra):
                        self.assertEqual(
                            self.exchange(message + extra, lambda received:
                                          b"".join(read(received))),
                            (body, expected))

    def test_response_of_which_only_fp_is_kept(self):
        with self.serve(keep) as conn:
            for _ in range(2):
                with self.get(conn).fp as fp:
                    self.assertEqual(fp.read(), b"kept")
            self.assertEqual(self.peer.accepted, 1)

    def test_fp_is_kept_while_the_next_request_is_sent(self):
        for size in 10, 12_000:
            with self.serve(answering(response(b"x" * size))) as conn:
                with self.get(conn).fp as fp:
                    conn.request("GET", "/")
                    self.assertEqual(fp.read(), b"x" * size)

    # Guard: reading nothing is not the end of the response.
    def test_empty_reads(self):
        def read(received):
            self.assertEqual(received.fp.raw.read(0), b"")
            self.assertEqual(received.fp.raw.readinto(bytearray()), 0)
            return received.read()

        self.assertEqual(self.exchange(response(b"first"), read),
                         (b"first", b"kept"))

    def test_fp_never_reads_the_next_response(self):
        with self.serve(keep) as conn:
            received = self.get(conn)
            self.assertEqual(received.fp.read(), b"kept")
            conn.request("GET", "/")
            wait_readable(conn.sock)
            self.assertEqual(received.fp.read(), b"")
            self.assertEqual(conn.getresponse().read(), b"kept")


@over_tls
class UnreadTests(ReuseTestCase):

    def test_response_that_was_not_read_closes_connection(self):
        for message in (
            # With no chunk, chunk_left is None, as at the end.
            chunked(), HALF, response(b"first")[:-1], response(FORGED * 9999),
            CHUNKS[:-1], CHUNKS[:-5], CHUNKS[:-7], CHUNKS[:-10],
            TRAILER[:-2], chunked(b"5\r\nfirst\r\n", b"x\r\nabc"),
        ):
            for leave in LEAVES if message != chunked() else LEAVES[:-1]:
                with (self.subTest(message=message[:80], leave=leave),
                      self.serve(answering(message, FORGED)) as conn):
                    leave(self.get(conn))
                    self.check_fresh(conn)

    def test_response_that_has_come_whole_must_be_read(self):
        for message in response(b"first"), CHUNKS, TRAILER:
            for leave in LEAVES[:-1]:
                with self.subTest(message=message, leave=leave):
                    self.check(b"fresh", message, leave)

    def test_response_without_a_body_need_not_be_closed(self):
        def look(received):
            # Some look here for the address of the server.
            opened.append(received)
            self.assertTrue(received.fp.raw._sock.getpeername())

        opened = []
        for method, message in BODILESS:
            with self.subTest(message=message):
                self.check(b"kept", message, look, method=method)
        for received in opened:
            received.close()

    def test_cut_response_closes_connection(self):
        # Whether reading it raises is another question.
        for message in (
            response(b"first")[:-1], response(b"first")[:-5],
            CHUNKS[:-1], CHUNKS[:-2], CHUNKS[:-5], CHUNKS[:-7], CHUNKS[:-10],
        ):
            script = answering(message, end=Link.close)
            for name, read in READS.items():
                with (self.subTest(name, message=message),
                      self.serve(script) as conn):
                    with contextlib.suppress(http.client.IncompleteRead):
                        list(read(self.get(conn)))
                    self.check_fresh(conn)


@over_tls
class SendingTests(ReuseTestCase):
    """The response comes as soon as the server has the header section."""

    def check_sending(self, expected, send, mixin=None):
        def script(link):
            link.read_head()
            link.send(response(b"early"))
            later.append(link.wait_closed())

        later = []
        with self.serve(script, mixin=mixin) as conn:
            send(conn)
            self.assertEqual(conn.getresponse().read(), b"early")
            if expected == b"fresh":
                self.check_fresh(conn)
            else:
                conn.request("GET", "/next")
            conn.close()
            self.peer.join()
        self.assertIs(b"GET " in later[0], expected == b"kept")

    def put(self, *headers, blocks=()):
        def send(conn):
            conn.putrequest("POST", "/")
            for header in headers:
                conn.putheader(*header)
            conn.endheaders()
            for block in blocks:
                conn.send(block)
        return send

    def test_request_that_was_sent_whole(self):
        length = ("Content-Length", "6")
        te = ("Transfer-Encoding", "chunked")
        whole = b"3\r\nabc\r\nB;x=y\r\n0123\r\n0\r\n\r\n\r\n0\r\nT: u\r\n\r\n"
        chunks = [[whole[i:i+size] for i in range(0, len(whole), size)]
                  for size in (1, 2, 3, 7, len(whole))]
        for header, blocks in (
            (length, [b"abc", bytearray(b"def")]),
            (length, [[b"abc", b"def"]]), (length, [io.BytesIO(b"abcdef")]),
            *((te, blocks) for blocks in chunks),
        ):
            with self.subTest(header=header, blocks=blocks):
                self.check_sending(b"kept", self.put(header, blocks=blocks))
        for headers, blocks in (
            ([length], []), ([length], [b"abc"]),
            ([length], [b"abc", b"defg"]),
            ([("Content-Length", "3"), length], [b"abc"]),
            ([length, ("Content-Length", "3")], [b"abc"]),
            ([("Content-Length", "x")], [b"abc"]), ([], [b"abc"]),
            ([("Content-Length", "4", "5")], []),
            ([te], []), ([te], [whole[:8]]), ([te], [whole[:22]]),
            ([te], [whole[:24]]), ([te], [whole[:-1]]),
            ([te], [whole, b"\r\n"]), ([te], [b"+3\r\nabc\r\n0\r\n\r\n"]),
            ([te, ("Content-Length", "5")], [b"0\r\n\r\n"]),
            ([("Content-Length", "5"), te], [b"0\r\n\r\n"]),
            ([("Transfer-Encoding", "gzip, chunked")], [b"0\r\n\r\n"]),
            ([("Transfer-Encoding", "chunked", "x")], []),
            # The request asks to close; the server need not say so, too.
            ([("Connection", "close")], []), ([("Connection", "Close")], []),
            ([("Connection", "x, close")], []),
            ([("Connection", "keep-alive,", "close")], []),
        ):
            with self.subTest(headers=headers, blocks=blocks):
                self.check_sending(b"fresh", self.put(*headers, blocks=blocks))

    def test_body_that_raises(self):
        def body():
            # This looks like the end of the chunks.
            yield b"abc\r\n0\r\n"
            raise ZeroDivisionError

        def send(conn):
            with self.assertRaises(ZeroDivisionError):
                conn.request("POST", "/", body())

        self.check_sending(b"fresh", send)
        self.check_sending(b"kept", lambda conn: conn.request(
            "POST", "/", iter([b"abc\r\n0\r\n", b"def"])))

    def test_interrupted_sendall(self):
        # Nobody knows how much of the data was sent.
        def send(conn):
            with self.assertRaises(KeyboardInterrupt):
                conn.request("POST", "/", body)
            with self.assertRaises(CannotSendRequest):
                conn.request("GET", "/")

        class Interrupted:
            def sendall(self, data, *args):
                calls.append(1)
                super().sendall(data[:size] if len(calls) == times else data)
                if len(calls) == times:
                    raise KeyboardInterrupt

        for times, size, body in (
            (1, 99999, b"x" * 1000), (2, 2, io.BytesIO(b"body")),
            (2, 99, io.BytesIO(b"body")), (3, 99, iter([b"bo", b"dy"])),
        ):
            calls = []
            with self.subTest(times=times, size=size):
                self.check_sending(b"fresh", send, Interrupted)

    def test_bytes_sent_after_the_request(self):
        for early in False, True:
            with (self.subTest(early=early),
                  self.serve(answering(response(b"first"))) as conn):
                received = self.get(conn)
                if early:
                    conn.send(b"GET /half")
                self.assertEqual(received.read(), b"first")
                if not early:
                    conn.send(b"GET /half")
                self.check_fresh(conn)

    def test_rest_of_the_request_after_the_response(self):
        def script(link):
            link.read_head()
            link.send(response(b"early"))
            link.wait_closed()

        with self.serve(script) as conn:
            conn.putrequest("POST", "/")
            conn.putheader("Content-Length", "4")
            conn.endheaders()
            self.assertEqual(conn.getresponse().read(), b"early")
            conn.send(b"body")
            self.check_fresh(conn)

    def test_response_is_still_read_from_the_old_socket(self):
        def script(link):
            link.reader.readline()
            link.send(response(b"early"))
            link.wait_closed()

        with self.serve(script) as conn:
            self.put(("Content-Length", "100"))(conn)
            first = conn.getresponse()
            self.check_fresh(conn)
            self.assertEqual(first.read(), b"early")


@over_tls
class FailureTests(ReuseTestCase):

    def ask(self, *segments, mixin=None):
        """Return a connection over which a request was sent."""
        conn = self.start(*segments, mixin=mixin)
        conn.request("GET", "/")
        self.go_on()
        return conn

    def check_failed(self, conn):
        """Nothing that comes is taken for a response."""
        self.check_no_response(conn)
        conn.close()
        self.check_fresh(conn)

    def check_raises(self, exception, timeout, conn, function, *args):
        conn.sock.settimeout(timeout)
        with self.assertRaises(exception):
            function(*args)
        if conn.sock is not None:
            conn.sock.settimeout(support.SHORT_TIMEOUT)

    def test_malformed_header_section(self):
        for exception, message in (
            (http.client.BadStatusLine, b"GARBAGE\r\n"),
            (http.client.LineTooLong,
             b"HTTP/1.1 200 OK\r\nA: " + b"x" * 65536),
        ):
            with self.subTest(message=message[:20]):
                conn = self.ask(message + FORGED)
                with self.assertRaises(exception):
                    conn.getresponse()
                self.check_failed(conn)

    # Guard: nothing of the response was lost.
    def test_timeout_before_the_response(self):
        conn = self.ask(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n",
                        response(b"late"))
        for _ in range(3):
            self.check_raises(TimeoutError, 0.01, conn, conn.getresponse)
        self.go_on()
        self.assertEqual(conn.getresponse().read(), b"late")

    def test_timeout_after_an_unsound_interim_response(self):
        conn = self.ask(b"HTTP/1.1 103 Early Hints\r\nno colon\r\n\r\n",
                        response(b"late"))
        self.check_raises(TimeoutError, 0.01, conn, conn.getresponse)
        self.go_on()
        self.assertEqual(conn.getresponse().read(), b"late")
        self.check_fresh(conn)

    def test_timeout_in_the_header_section(self):
        for size in 1, 9, 17, 20, len(FORGED) - 8:
            with self.subTest(size=size):
                conn = self.ask(FORGED[:size])
                self.check_raises(TimeoutError, 0.01, conn, conn.getresponse)
                self.check_failed(conn)

    def test_timeout_in_the_body(self):
        for is_open in False, True:
            with self.subTest(is_open=is_open):
                conn = self.ask(response(b"first")[:-1])
                received = conn.getresponse()
                self.check_raises(TimeoutError, 0.01, conn, received.read)
                if not is_open:
                    received.close()
                self.check_fresh(conn)

    def test_rest_of_a_body_is_no_request(self):
        with self.serve(keep, keep) as conn:
            conn.putrequest("POST", "/")
            conn.putheader("Content-Length", "5")
            conn.endheaders(b"fi")
            conn.close()
            with self.assertRaises(http.client.NotConnected):
                conn.send(b"rst")
            self.assertEqual(self.get(conn).read(), b"kept")
            self.assertEqual(self.peer.accepted, 2)

    class Interrupted:
        """While the timeout is 12.5, what is received gets lost."""

        def recv_into(self, buffer, *args):
            size = super().recv_into(memoryview(buffer)[:10], *args)
            if self.gettimeout() == 12.5:
                raise KeyboardInterrupt
            return size

    def test_interrupt_in_getresponse(self):
        conn = self.ask(b"x" * 10 + FORGED, mixin=self.Interrupted)
        self.check_raises(KeyboardInterrupt, 12.5, conn, conn.getresponse)
        self.check_failed(conn)

    def test_interrupt_in_a_read(self):
        body = b"A" * 10 + FORGED * 9
        for head, rest in ((response(body)[:-len(body)], body),
                           (chunked(), b"%x\r\n%b\r\n0\r\n\r\n"
                            % (len(body), body))):
            for name, read in READS.items():
                with self.subTest(name, head=head):
                    conn = self.ask(head, rest, mixin=self.Interrupted)
                    received = conn.getresponse()
                    self.go_on()
                    self.check_raises(KeyboardInterrupt, 12.5, conn,
                                      lambda: list(read(received)))
                    received.close()
                    self.check_fresh(conn)


@over_tls
class StreamTests(ReuseTestCase):
    """What follows is not HTTP, or ends with the connection."""

    requests = [
        ("GET", SWITCHING), ("CONNECT", response()),
        ("CONNECT", b"HTTP/1.1 204 Fine\r\nContent-Length: 4\r\n\r\n"),
        ("CONNECT", b"HTTP/1.1 299 Fine\r\nContent-Length: 4\r\n\r\n"),
        ("CONNECT", chunked()),
        ("GET", SWITCHING[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"),
        ("GET", SWITCHING[:-2] + b"Content-Length: 4\r\n\r\n"),
    ]

    def echo(self, link):
        link.request()
        link.send(self.message)
        link.send(link.reader.readline())
        link.end_tls() if self.tls else link.sock.shutdown(socket.SHUT_WR)
        link.wait_closed()

    def test_fp_has_what_follows(self):
        for method, message in self.requests:
            self.message = message + b"hello"
            with self.subTest(message=message), self.serve(self.echo) as conn:
                received = self.get(conn, method)
                self.assertEqual(received.fp.peek(1)[:5], b"hello")
                self.assertEqual(received.fp.read1(100), b"hello")
                self.assertIs(received.fp.raw._sock, conn.sock)
                conn.sock.sendall(b"world\n")
                self.assertEqual(received.fp.readline(), b"world\n")
                self.assertEqual(received.fp.read(), b"")
                self.assertEqual(received.read(), b"")
                self.check_fresh(conn)
                received.close()

    def test_docker_takes_the_stream(self):
        for self.message in SWITCHING, b"HTTP/1.1 200 OK\r\n\r\n":
            with (self.subTest(message=self.message),
                  self.serve(self.echo) as conn):
                received = self.get(conn)
                stream = received.fp.raw
                self.assertIsInstance(stream, socket.SocketIO)
                self.check_fresh(conn)
                conn.close()
                stream._sock.sendall(b"hello\n")
                self.assertEqual(stream.read(100), b"hello\n")
                self.assertEqual(stream.read(100), b"")
                received.close()


@over_tls
class TwoRequestsTests(ReuseTestCase):
    """A request is sent while the response before it is open."""

    def check_two(self, first, early, late=b"", read=HTTPResponse.read,
                  mixin=None):
        """Send *first* for the first request and *early* for the second.

        *late* comes when the first response has been read.
        """
        def script(link):
            answering(first, early)(link)
            go_on.wait(support.SHORT_TIMEOUT)
            link.send(late)

        go_on = threading.Event()
        with self.serve(script, mixin=mixin) as conn:
            received = self.get(conn)
            conn.request("GET", "/")
            read(received)
            go_on.set()
            self.assertEqual(conn.getresponse().read(), b"second")

    def test_beginning_of_the_next_response(self):
        # bpo-23377, bpo-9740: BadStatusLine("1.1 200 Okay")
        second = response(b"second")
        for first in response(b"first"), CHUNKS, chunked(
                b"5\r\nfirst\r\n", b"0\r\nA: b\r\n\r\n"):
            end = first.index(b"first") + 2
            for size in 0, 1, 5, 17, 20, len(second) - 3, len(second):
                with self.subTest(first=first, size=size):
                    self.check_two(first[:end], first[end:] + second[:size],
                                   second[size:])
            self.check_two(first[:end], first[end:] + chunked(
                b"6\r\nsecond\r\n", b"0\r\n\r\n"))

            for mixin in map(in_pieces, (1, 4, 7, 11)):
                self.check_two(first[:end], first[end:] + second, mixin=mixin)
            for lines in b"\r\n", b"\r\n\r\n":     # RFC 9112, section 2.2
                self.check_two(first[:end], first[end:] + lines, second)
                self.check_two(first[:end], first[end:], lines + second)

    def test_next_response_without_closing_the_one_before(self):
        first = response(b"first")
        for name, read in FP_READERS.items():
            with self.subTest(name):
                self.check_two(first[:-3], first[-3:], response(b"second"),
                               lambda received: list(read(received)))

    def test_response_without_a_body_is_at_its_end(self):
        for method, message in BODILESS:
            script = answering(message, response(b"second"))
            with self.subTest(message=message), self.serve(script) as conn:
                with self.get(conn, method):
                    self.assertEqual(self.get(conn).read(), b"second")

    # Guard: the body comes first, and other requests have to wait.
    def test_next_response_is_not_ready(self):
        with self.serve(keep) as conn:
            first = self.get(conn)
            conn.request("GET", "/")
            self.check_no_response(conn)
            with self.assertRaises(CannotSendRequest):
                conn.request("GET", "/")
            self.assertEqual(first.read(), b"kept")
            self.assertEqual(conn.getresponse().read(), b"kept")

    def test_response_that_is_not_read(self):
        for leave in HTTPResponse.close, drop:
            with (self.subTest(leave),
                  self.serve(answering(HALF, FORGED)) as conn):
                received = [self.get(conn)]
                conn.request("GET", "/")
                leave(received.pop())
                self.check_no_response(conn)
                conn.close()
                self.check_fresh(conn)

    def test_bytes_before_the_request_are_not_its_response(self):
        for extra in FORGED, b"HTTP/":
            for first in response(b"first"), response(), CHUNKS:
                with self.subTest(first=first, extra=extra):
                    received = []
                    self.check(b"fresh", first + extra, received.append)
                    received[0].close()


class OwnConnect(HTTPConnection):
    def connect(self):
        self.sock = socket.create_connection((self.host, self.port),
                                             self.timeout)


class UnbufferedSocket(socket.socket):
    def __init__(self, sock):
        timeout = sock.gettimeout()
        super().__init__(fileno=sock.detach())
        self.settimeout(timeout)

    def makefile(self, mode, buffering=0):
        return super().makefile(mode, buffering)


class BufferedSocket(UnbufferedSocket):
    def makefile(self, mode, buffering=100):
        return super().makefile(mode, buffering)


class OwnResponse(HTTPResponse):
    def __init__(self, sock, debuglevel=0, method=None, url=None):
        super().__init__(sock, debuglevel, method, url)
        self.sock = sock


class UnbufferedResponse(OwnReader):
    buffering = 0


class ForeignTests(ReuseTestCase):
    """The stream that is read may not be that of http.client."""

    def connections(self):
        for make_socket in SocketWrapper, UnbufferedSocket, BufferedSocket:
            class Connection(HTTPConnection):
                def connect(self, make_socket=make_socket):
                    super().connect()
                    self.sock = make_socket(self.sock)
            yield make_socket, Connection
        for make_response in (
                OwnResponse, UnbufferedResponse,
                lambda *args, **kwargs: HTTPResponse(*args, **kwargs)):
            class Connection(HTTPConnection):
                response_class = staticmethod(make_response)
            yield make_response, Connection

    # Guard: they are served as before.
    def test_response_read_to_its_end_keeps_connection(self):
        for made, cls in self.connections():
            for name, (method, message) in FRAMINGS.items():
                with self.subTest(made, name=name):
                    self.check(b"kept", message, method=method, cls=cls)

    def test_rest_of_a_response_is_not_the_next_one(self):
        # It comes after the response was closed.
        for made, cls in self.connections():
            for message, leave in (
                (HALF, HTTPResponse.close), (HALF, close_later),
                (chunked(b"ff\r\nfirst"), HTTPResponse.close),
                (chunked(b"ff\r\nfirst"), close_later),
                (chunked(), HTTPResponse.close),
            ):
                with (self.subTest(made, message=message, leave=leave),
                      self.serve(answering(message, FORGED),
                                 cls=cls) as conn):
                    leave(self.get(conn))
                    self.check_fresh(conn)

    def test_what_is_not_http_follows(self):
        for made, cls in self.connections():
            for method, message in StreamTests.requests:
                with self.subTest(made, message=message):
                    self.check(b"fresh", message, method=method, cls=cls)
                with (self.subTest(made, open=message),
                      self.serve(answering(message), cls=cls) as conn):
                    received = self.get(conn, method)
                    self.check_fresh(conn)
                    received.close()

    # Guard: urllib3's sockets with pyOpenSSL have this method, and few others.
    def test_borrowed_makefile(self):
        class Borrowing:
            makefile = socket.socket.makefile
            _io_refs = 0

            def __init__(self, sock):
                self.recv_into = sock.recv_into
                self.sendall = sock.sendall
                self.close = sock.close

            def _decref_socketios(self):
                pass

        class Connection(HTTPConnection):
            def connect(self):
                super().connect()
                self.sock = Borrowing(self.sock)

        with self.serve(keep, cls=Connection) as conn:
            self.check_kept(conn, times=3)

    # Guard: tests of others use such things.
    def test_fake_socket(self):
        class Fake:
            def makefile(self, mode):
                return io.BytesIO(message)

            def sendall(self, data):
                pass

            close = setsockopt = sendall

            def __getattr__(self, name):
                # HTTPretty's do this.
                raise RuntimeError(name)

        def spec():
            fake = mock.Mock(spec=socket.socket)
            fake.makefile = Fake().makefile
            return fake

        for make, replaced in ((Fake, socket.socket), (Fake, Fake),
                               (spec, socket.socket)):
            conn = HTTPConnection("example.com")
            conn.sock = make()
            with mock.patch("socket.socket", replaced):
                for method, message in FRAMINGS.values():
                    for _ in range(2):
                        self.assertIn(self.get(conn, method).read(),
                                      (b"first", b""))
                    # A response need not belong to a connection.
                    received = HTTPResponse(conn.sock, method=method)
                    received.begin()
                    self.assertIn(received.read(), (b"first", b""))
                    self.assertTrue(received.isclosed())


class OtherProjectsTests(ReuseTestCase):
    """What other projects do with a response and its connection."""

    def test_own_opinion_on_closing(self):
        class Response(HTTPResponse):
            def begin(self):
                super().begin()
                self.will_close = False

        class Connection(HTTPConnection):
            response_class = Response

        class Foreign(Connection):
            def connect(self):
                super().connect()
                self.sock = SocketWrapper(self.sock)

        for header in b"Content-Length: 5, 5", b"X : y", b"Connection: close":
            message = b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (
                header, response(b"first").partition(b"\r\n")[2])
            for cls in Connection, Foreign:
                with self.subTest(header, cls=cls):
                    self.check(b"fresh", message, cls=cls)

    def test_file_closed_by_the_caller(self):
        with self.serve(answering(HALF, FORGED)) as conn:
            received = self.get(conn)
            with received.fp as file:
                file.read(2)
            self.check_fresh(conn)
            self.assertFalse(received.isclosed())

    def test_file_detached_by_the_caller(self):
        with self.serve(answering(response(b"first"),
                                  response(b"kept"))) as conn:
            received = self.get(conn)
            raw = received.fp.detach()
            conn.request("GET", "/")
            self.assertEqual(raw.readall(), b"first")
            self.assertEqual(conn.getresponse().read(), b"kept")

    # Guard: a response need not be an HTTPResponse.
    def test_response_without_file(self):
        class Response:
            length, will_close, version = 5, False, 11

            def __init__(self, sock, method):
                self.file = sock.makefile("rb")

            def begin(self):
                while self.file.readline() != b"\r\n":
                    pass

            def isclosed(self):
                return not self.length

            def read(self):
                return self.file.read(self.length)

            def close(self):
                self.length = 0
                self.file.close()

        with self.serve(answering(response(b"first"),
                                  response(b"again"))) as conn:
            conn.response_class = Response
            first = self.get(conn)
            conn.request("GET", "/")
            self.assertEqual(first.read(), b"first")
            first.close()
            self.assertEqual(conn.getresponse().read(), b"again")

    def test_urllib3(self):
        # It parses the chunks by itself.
        def read(received):
            data = b""
            while size := int(received.fp.readline().split(b";")[0], 16):
                data += received._safe_read(size)
                received._safe_read(2)
            while received.fp.readline() != b"\r\n":
                pass
            received.close()
            return data

        for message in CHUNKS, TRAILER:
            for expected, extra in (b"kept", b""), (b"fresh", FORGED):
                self.assertEqual(self.exchange(message + extra, read),
                                 (b"first", expected))

    # Guard: docker-py reads a byte, and then chunk_left bytes.
    def test_chunk_left(self):
        message = chunked(b"2\r\n10\r\n3\r\n", b"abc\r\n0\r\n\r\n")
        for read in HTTPResponse.read, lambda received, size: (
                received.readinto(bytearray(size))):
            with self.subTest(read), self.answered(message) as conn:
                received = conn.getresponse()
                self.assertIsNone(received.chunk_left)
                for size, left in (1, 1), (1, 0), (1, 2), (2, 0):
                    read(received, size)
                    self.assertEqual(received.chunk_left, left)
                read(received, 1)
                self.assertFalse(received.chunk_left)

    def test_fp_replaced(self):
        def ntlm(received):
            data = received._safe_read(int(received.headers["X-Size"]))
            received.fp = None
            return data

        def buffer(received):
            received.fp = io.BytesIO(received.fp.read())
            return received.read()

        def proxy(received):
            received.fp = Lower(received.fp)
            return received.read()

        def subclass(received):
            received.fp = LowerReader(received.fp.detach())
            return received.read()

        def ansible(received):
            received.fp = gzip.GzipFile(fileobj=received.fp)
            received.length = None
            with received:
                return received.read()

        class Lower:
            def __init__(self, file):
                self.file = file

            def __getattr__(self, name):
                return getattr(self.file, name)

            def read(self, size):
                return self.file.read(size).lower()

        class LowerReader(io.BufferedReader):
            def read(self, size):
                return super().read(size).lower()

        for body, read in ((b"first", ntlm), (b"first", buffer),
                           (b"FIRST", proxy), (b"FIRST", subclass),
                           (gzip.compress(b"first"), ansible)):
            with self.subTest(read):
                message = response(body, b"X-Size: %d" % len(body))
                self.assertEqual(self.exchange(message, read),
                                 (b"first", b"kept"))

    # Guard: a program may want less.
    def test_length_assigned(self):
        def read(received):
            received.length = 2
            return received.read()

        self.assertEqual(self.exchange(response(b"first"), read),
                         (b"fi", b"kept"))

    def test_fp_taken_away(self):
        for fp in None, io.BytesIO(b"x" * 100):
            with (self.subTest(fp=fp),
                  self.serve(answering(HALF, FORGED)) as conn):
                received = self.get(conn)
                with received.fp:
                    received.fp = fp
                    received.read()
                    self.check_fresh(conn)

    # Guard: the end of the response counts, not who closes fp.
    def test_mercurial(self):
        # Its keepalive module closes fp by itself.
        class Response(HTTPResponse):
            def _close_conn(self):
                self.fp.close()

            def close(self):
                if self.fp:
                    self.fp.close()
                    self.fp = None

        with self.serve(keep) as conn:
            conn.response_class = Response
            for _ in range(4):
                received = self.get(conn)
                self.assertEqual(received.read(), b"kept")
                received.close()
            self.assertEqual(self.peer.accepted, 1)

    # Guard: such a request may go over a new connection.
    def test_requests_raw(self):
        # It sends requests and reads responses by itself.
        with self.serve(keep, keep, keep, keep) as conn:
            for _ in range(3):
                conn.send(b"GET /raw HTTP/1.1\r\n\r\n")
                received = HTTPResponse(conn.sock, method="GET")
                received.begin()
                self.assertEqual(received.read(), b"kept")
                self.assertEqual(self.get(conn).read(), b"kept")

    # Guard: it lets getresponse() read the responses.
    def test_requests_raw_with_getresponse(self):
        class Connection(HTTPConnection):
            def send_raw(self, data):
                self.send(data)
                self._HTTPConnection__state = http.client._CS_REQ_SENT

        with self.serve(keep, keep, cls=Connection) as conn:
            self.assertEqual(self.get(conn).read(), b"kept")
            for _ in range(3):
                conn.send_raw(b"GET /raw HTTP/1.1\r\n\r\n")
                self.assertEqual(conn.getresponse().read(), b"kept")
            self.assertEqual(self.get(conn).read(), b"kept")

    # Guard: what is sent first need not be a request.
    def test_preamble(self):
        with self.serve(lambda link: (link.request(), keep(link))) as conn:
            conn.connect()
            conn.send(b"PREAMBLE / HTTP/1.1\r\n\r\n")
            self.check_kept(conn)

    def test_no_preamble_on_a_socket_that_was_assigned(self):
        # It may lead to a proxy that has not answered CONNECT yet.
        with self.serve(keep) as conn:
            conn.sock = socket.create_connection((conn.host, conn.port),
                                                 conn.timeout)
            conn.send(b"CONNECT / HTTP/1.1\r\n\r\n")
            with self.assertRaises(RemoteDisconnected):
                conn.request("GET", "/")

    # Guard: the socket may be opened while the request is being sent.
    def test_socket_opened_by_send(self):
        class Connection(HTTPConnection):
            def send(self, data):
                if self.sock is None:
                    self.connect()
                super().send(data)

        with self.serve(answering(FRAMINGS["HEAD"][1], end=keep),
                        cls=Connection) as conn:
            self.assertEqual(self.get(conn, "HEAD").read(), b"")
            self.check_kept(conn)

    # Guard: known recipes for debugging.
    def test_overridden_begin(self):
        class ReadStatus(HTTPResponse):
            def _read_status(self):
                self.fp = io.BytesIO(self.fp.read())
                return super()._read_status()

        class Begin(HTTPResponse):
            def begin(self):
                super().begin()
                self.early = self.read()

            def read(self, amt=None):
                return self.__dict__.pop("early", None) or super().read(amt)

        body = b"\r\nA\n\n\nB"
        for cls in ReadStatus, Begin:
            for message in response(body), chunked(
                    b"7\r\n", body, b"\r\n0\r\n\r\n"):
                with (self.subTest(cls, message=message),
                      self.serve(answering(message, end=Link.close)) as conn):
                    conn.response_class = cls
                    self.assertEqual(self.get(conn).read(), body)

    # Guard: a subclass can say that a connection is not kept.
    def test_overridden_check_close(self):
        class Response(HTTPResponse):
            def _check_close(self):
                return True

        with self.serve(keep) as conn:
            conn.response_class = Response
            self.get(conn).read()
            self.check_fresh(conn)

    # Guard: an overridden getresponse() returns what was recorded.
    def test_vcrpy(self):
        class Response(HTTPResponse):
            def __init__(self, body):
                self.file = io.BytesIO(body)

            def read(self, amt=-1):
                return self.file.read(amt)

            def close(self):
                self.file.close()

        class Connection(HTTPConnection):
            def getresponse(self):
                return Response(b"recorded")

        with self.serve(keep, cls=Connection) as conn:
            with self.get(conn) as received:
                self.assertEqual(received.read(), b"recorded")

    # Guard: urllib.request does this, and others have copied it.
    def test_socket_closed_before_the_response(self):
        with self.serve(answering(response(b"first"),
                                  end=expect_nothing)) as conn:
            received = self.get(conn)
            conn.sock.close()
            conn.sock = None
            self.assertEqual(received.read(), b"first")
            self.peer.join()


class ReplacedTests(ReuseTestCase):
    """A socket is replaced only if connect() would lead to the same place."""

    def check_refused(self, conn):
        """Nothing is sent, and there is no connection then."""
        self.get(conn).close()
        with self.assertRaises(RemoteDisconnected):
            conn.request("GET", "/")
        self.assertIsNone(conn.sock)

    def test_without_auto_open(self):
        with self.serve(switch) as conn:
            conn.auto_open = 0
            conn.connect()
            self.check_refused(conn)
            self.assertEqual(self.peer.accepted, 1)
            conn.connect()
            self.check_fresh(conn)

    def test_socket_assigned_by_hand(self):
        with self.serve(switch) as conn, Peer() as other:
            conn.connect()
            stranger = other.connect()
            stranger.sock, conn.sock = conn.sock, None
            self.check_refused(stranger)
            self.assertEqual(other.accepted, 0)

    def test_connect_is_called_again(self):
        # httplib2 calls its connect() explicitly.
        for cls in HTTPConnection, OwnConnect:
            for explicit in False, True:
                with (self.subTest(cls, explicit=explicit),
                      self.serve(switch, cls=cls) as conn):
                    if explicit:
                        conn.connect()
                    self.get(conn).close()
                    self.check_fresh(conn)

    # Guard: what connect() sends does not count.
    def test_connect_that_sends(self):
        class Tunnel(OwnConnect):
            def connect(self):
                super().connect()
                self._tunnel()

        class Prelude(HTTPConnection):
            def connect(self):
                super().connect()
                self.send(b"PRELUDE / HTTP/1.1\r\n\r\n")

        class OwnPrelude(Prelude, OwnConnect):
            pass

        def script(link):
            while request := link.request():
                link.send(answers.get(request.method, b""))

        answers = {b"CONNECT": b"HTTP/1.1 200 OK\r\n\r\n",
                   b"HEAD": FRAMINGS["HEAD"][1], b"GET": response(b"kept")}
        for cls, explicit in itertools.product(
                (Tunnel, Prelude, OwnPrelude), (False, True)):
            for method, body in ("GET", b"kept"), ("HEAD", b""):
                with (self.subTest(cls, method=method, explicit=explicit),
                      self.serve(script, script, cls=cls) as conn):
                    if cls is Tunnel:
                        conn.set_tunnel("destination.example", 80)
                    if explicit:
                        conn.connect()
                    self.check_kept(conn, method, body)

    def test_connect_that_leaves_no_new_socket(self):
        class Connection(HTTPConnection):
            def connect(self):
                self.sock = next(socks)

        for same in False, True:
            with (self.subTest(same=same),
                  self.serve(switch, cls=Connection) as conn):
                sock = socket.create_connection((conn.host, conn.port),
                                                conn.timeout)
                socks = iter([sock, sock if same else None])
                self.check_refused(conn)

    def test_tunnel_is_made_again(self):
        # urllib3's close() forgets about the tunnel.
        class Connection(HTTPConnection):
            def close(self):
                super().close()
                self._tunnel_host = None

        for cls in HTTPConnection, Connection:
            with (self.subTest(cls), self.serve(
                    answering(response(), end=switch),
                    answering(response(), end=fresh), cls=cls) as conn):
                conn.set_tunnel("destination.example", 80)
                self.get(conn).close()
                self.check_fresh(conn)
                self.assertEqual(
                    [request.method for _, request in self.peer.requests],
                    [b"CONNECT", b"GET"] * 2)

    # Guard: the answer to CONNECT is no response to a request.
    def test_requests_through_a_tunnel(self):
        with self.serve(answering(response(), end=keep)) as conn:
            conn.set_tunnel("destination.example", 80)
            self.check_kept(conn)

    def test_bytes_after_the_answer_to_connect(self):
        answer = b"HTTP/1.1 200 OK\r\n\r\n" + FORGED
        with self.serve(answering(answer, end=expect_nothing)) as conn:
            conn.set_tunnel("destination.example", 80)
            with self.assertRaises(OSError):
                conn.request("GET", "/")
            self.assertIsNone(conn.sock)
            self.peer.join()


if __name__ == "__main__":
    unittest.main()
