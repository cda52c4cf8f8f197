"""A connection is used again only after a response that ended exactly
where its framing said, and after a request that was sent whole
(RFC 9112, sections 6.3, 9.2 and 9.3)."""

import contextlib
import copy
import functools
import http.client
import io
import pickle
import socket
import threading
import unittest
from test import http_peer, support
from test.http_peer import Peer, chunked, response, wait_readable
from unittest import mock

support.requires_working_socket(module=True)

# 64 bytes long, so that a body made of it shows a status line wherever a
# reader whose buffer has a usual size stops.
FORGED = b"HTTP/1.1 200 Forged\r\nContent-Length: 6\r\nX: xxxxxxxxxxx\r\n\r\nFORGED"
assert len(FORGED) == 64


class ReuseTestCase(unittest.TestCase):

    tls = None

    def read(self, received):
        return received.read()

    def exchange(self, first, read=None, method="GET", body=None):
        """Make a request that is answered by the bytes *first*, read the
        response by *read*, and make another request.

        Return what the first brought and which connection, counted from
        0, carried the second.
        """
        def script(link):
            link.request()
            try:
                link.send(first)
            except OSError:     # the client did not want all of it
                return
            link.answer(b"second")

        with Peer(script, script, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request(method, "/first", body)
            result = (read or self.read)(conn.getresponse())
            # The second script answers with *first* again.
            conn.request(method, "/second")
            conn.getresponse()
            self.assertEqual(len(peer.requests), 2)
            return result, peer.requests[1][0]

    def check_kept(self, first, **kwargs):
        self.assertEqual(self.exchange(first, **kwargs)[1], 0, first)

    def check_left(self, first, result=None, **kwargs):
        received, number = self.exchange(first, **kwargs)
        self.assertEqual(number, 1, first)
        if result is not None:
            self.assertEqual(received, result)


@http_peer.over_tls
class UnreadTests(ReuseTestCase):
    """The body was not read to its end."""

    def test_closed_before_the_end(self):
        def read(received):
            data = received.read(3)
            received.close()
            return data

        half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde"
        self.check_left(half, b"abc", read=read)
        self.check_left(chunked(b"5\r\nabcde\r\n"), b"abc", read=read)
        self.check_kept(response(b"abc"), read=read)

    def test_left_by_with(self):
        def read(received):
            with received:
                return received.read(3)

        half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde"
        self.check_left(half, b"abc", read=read)

    def test_closed_unread(self):
        half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde"
        close = http.client.HTTPResponse.close
        self.check_left(half, read=close)
        self.check_left(chunked(b"5\r\nabcde\r\n"), read=close)
        self.check_kept(response(b""), read=close)
        self.check_kept(response(b"", status=b"304 Not Modified"), read=close)

    def test_forged_response(self):
        # The body of the first response must not pass for the second one.
        body = FORGED * 4096

        def script(link):
            link.request()
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
                      % len(body))
            try:
                link.send(body)
            except OSError:
                pass

        def honest(link):
            link.answer(b"honest")

        with Peer(script, honest, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/upload")
            received = conn.getresponse()
            received.read(64)
            received.close()
            conn.request("GET", "/account")
            self.assertEqual(conn.getresponse().read(), b"honest")

    def test_the_server_learns_of_it(self):
        closed = []

        def script(link):
            link.request()
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            closed.append(link.wait_closed())

        with Peer(script, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            conn.getresponse().close()
            self.assertIsNone(conn.sock)
            peer.join()
            self.assertEqual(closed, [b""])

    def test_another_request_was_sent(self):
        def script(link):
            link.request()
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\nabcde")
            link.request()
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/first")
            first = conn.getresponse()
            conn.request("GET", "/second")
            first.close()
            with self.assertRaises(http.client.RemoteDisconnected):
                conn.getresponse()
            self.assertIsNone(conn.sock)
            conn.request("GET", "/third")
            self.assertEqual(conn.getresponse().read(), b"fresh")


class TruncatedTests(ReuseTestCase):
    """The body was cut short; the connection is dead, or says it is not."""

    def check_cut(self, first, read):
        def script(link):
            link.request()
            link.send(first)
            link.sock.shutdown(socket.SHUT_WR)
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh) as peer:
            conn = peer.connect()
            conn.request("GET", "/first")
            received = conn.getresponse()
            # Whether this raises is not the point here.
            with contextlib.suppress(http.client.IncompleteRead):
                read(received)
            conn.request("POST", "/second", b"body")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_content_length(self):
        cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde"

        def read(received):
            with self.assertRaises(http.client.IncompleteRead):
                received.read()

        def read_amounts(received):
            while received.read(3):
                pass

        def read1(received):
            while received.read1():
                pass

        def readinto(received):
            while received.readinto(bytearray(3)):
                pass

        def readline(received):
            while received.readline():
                pass

        for function in read, read_amounts, read1, readinto, readline:
            with self.subTest(function.__name__):
                self.check_cut(cut, function)

    def test_chunked(self):
        def read(received):
            with received, self.assertRaises(http.client.IncompleteRead):
                received.read()

        self.check_cut(chunked(b"5\r\nabc"), read)
        self.check_cut(chunked(b"5\r\nabcde"), read)
        self.check_cut(chunked(b"5\r\nabcde\r\n"), read)
        self.check_cut(chunked(b"5\r\nabcde\r\n5"), read)

    def test_the_end_of_the_chunks(self):
        # The body is complete, the message is not.
        def read(received):
            self.assertEqual(received.read(), b"abcde")

        self.check_cut(chunked(b"5\r\nabcde\r\n0\r\n"), read)
        self.check_cut(chunked(b"5\r\nabcde\r\n0\r\nA: b\r\n"), read)


@http_peer.over_tls
class FramingTests(ReuseTestCase):
    """Peers may differ on where the response ends."""

    def head(self, *fields, status=b"200 OK", version=b"HTTP/1.1"):
        return b"\r\n".join([version + b" " + status, *fields, b"", b""])

    def test_transfer_encoding(self):
        body = b"3\r\nabc\r\n0\r\n\r\n"
        te = b"Transfer-Encoding: chunked"
        self.check_kept(self.head(te) + body)
        self.check_kept(self.head(b"Transfer-Encoding: Chunked") + body)
        self.check_left(self.head(te, b"Content-Length: 3") + body, b"abc")
        self.check_left(self.head(b"Content-Length: 3", te) + body, b"abc")
        self.check_left(self.head(te, te) + body, b"abc")
        self.check_left(self.head(te, version=b"HTTP/1.0",
                                  *[b"Connection: keep-alive"]) + body)
        for coding in b"gzip, chunked", b"chunked, chunked", b"x", b"identity":
            te = b"Transfer-Encoding: " + coding
            self.check_left(self.head(te, b"Content-Length: 3") + body,
                            b"3\r\n")

    def test_content_length(self):
        one = b"Content-Length: 3"
        self.check_kept(self.head(one) + b"abc")
        self.check_kept(self.head(one, one) + b"abc")
        self.check_kept(self.head(one + b" \t") + b"abc")
        self.check_left(self.head(one, b"Content-Length: 5") + b"abcde")
        for length in b"+3", b"0_3", b"\xb2 3", b"3\x0b":
            def read(received):
                return received.read(3)
            self.check_left(self.head(b"Content-Length: " + length) + b"abc",
                            b"abc", read=read)

    def test_no_content(self):
        status = b"204 No Content"
        te = b"Transfer-Encoding: chunked"
        self.check_kept(self.head(status=status))
        self.check_kept(self.head(b"Content-Length: 0", status=status))
        self.check_left(self.head(b"Content-Length: 3", status=status), b"")
        self.check_left(self.head(te, status=status) + b"0\r\n\r\n", b"")

    def test_not_modified(self):
        # Its Content-Length is that of the body which is not there.
        status = b"304 Not Modified"
        te = b"Transfer-Encoding: chunked"
        self.check_kept(self.head(b"Content-Length: 3", status=status))
        self.check_left(self.head(te, status=status) + b"0\r\n\r\n", b"")

    def test_head(self):
        te = b"Transfer-Encoding: chunked"
        self.check_kept(self.head(te), method="HEAD")
        self.check_kept(self.head(b"Content-Length: 3"), method="HEAD")
        self.check_left(self.head(te, b"Content-Length: 3"), method="HEAD")

    def test_connection_options(self):
        length = b"Content-Length: 3"
        for options in b"close", b"Close", b"x, close", b"close,x", b",close":
            with self.subTest(options=options):
                self.check_left(self.head(length, b"Connection: keep-alive",
                                          b"Connection: " + options) + b"abc")
                self.check_left(self.head(length, b"Keep-Alive: timeout=5",
                                          b"Connection: " + options,
                                          version=b"HTTP/1.0") + b"abc")
        for options in b"keep-alive", b"x", b"x, keep-alive":
            with self.subTest(options=options):
                self.check_kept(self.head(length, b"Connection: " + options)
                                + b"abc")

    def test_a_line_that_is_no_field(self):
        # The parser stops there.  What follows may have been framing.
        length = b"Content-Length: 3"
        for line in b"no field", b"Transfer-Encoding : chunked", b"\xff: x":
            with self.subTest(line=line):
                self.check_left(self.head(length, line) + b"abc", b"abc")

    def test_structured_content_types(self):
        # An HTTPMessage of these types has no plain payload.
        length = b"Content-Length: 3"
        for content in (b"multipart/mixed; boundary=x", b"multipart/mixed",
                        b"message/rfc822", b"message/delivery-status"):
            with self.subTest(content=content):
                content = b"Content-Type: " + content
                self.check_kept(self.head(content, length) + b"abc")
                self.check_left(self.head(content, length, b"no field")
                                + b"abc")

    def test_chunks(self):
        for lines in (
            (b"3\r\n", b"abc\r\n", b"0\r\n", b"\r\n"),
            (b"03;a=b\r\n", b"abc\r\n", b"000 ;c\r\n", b"A: b\r\n", b"\r\n"),
        ):
            self.check_kept(chunked(*lines))
        for lines in (
            (b"0x3\r\n", b"abc\r\n", b"0\r\n", b"\r\n"),
            (b"+3\r\n", b"abc\r\n", b"0\r\n", b"\r\n"),
            (b" 3\r\n", b"abc\r\n", b"0\r\n", b"\r\n"),
            (b"3_\r\n".replace(b"3_", b"0_3"), b"abc\r\n", b"0\r\n", b"\r\n"),
            (b"00000000000000003\r\n", b"abc\r\n", b"0\r\n", b"\r\n"),
            (b"3\n", b"abc\r\n", b"0\r\n", b"\r\n"),
            (b"3;\r\r\n", b"abc\r\n", b"0\r\n", b"\r\n"),
            (b"3\r\n", b"abcxx", b"0\r\n", b"\r\n"),
            (b"3\r\n", b"abc\n\n", b"0\r\n", b"\r\n"),
            (b"3\r\n", b"abc\r\n", b"-0\r\n", b"\r\n"),
            (b"3\r\n", b"abc\r\n", b"0\n", b"\r\n"),
            (b"3\r\n", b"abc\r\n", b"0\r\n", b"\n"),
            (b"3\r\n", b"abc\r\n", b"0\r\n", b"A: b\n", b"\r\n"),
        ):
            with self.subTest(lines=lines):
                self.check_left(chunked(*lines), b"abc")

    def test_a_chunk_that_cannot_be_read(self):
        def read(received):
            with received, self.assertRaises(http.client.IncompleteRead):
                received.read()

        self.check_left(chunked(b"3\r\nabc\r\nx\r\n"), read=read)


@http_peer.over_tls
class SendingTests(ReuseTestCase):
    """The response was there before the request had been sent whole."""

    def sending(self, send):
        """Answer as soon as the head has come; *send* sends a request.

        Return which connection carries the next request.
        """
        def script(link):
            while link.reader.readline() not in (b"\r\n", b""):
                pass
            link.send(response(b"early"))
            later.append(link.wait_closed())

        def fresh(link):
            link.wait_closed()

        later = []
        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            send(conn)
            self.assertEqual(conn.getresponse().read(), b"early")
            old = conn.sock
            conn.request("GET", "/next")
            kept = conn.sock is old
            conn.close()
            peer.join()
        self.assertEqual(b"GET /next" in later[0], kept)
        return 0 if kept else 1

    def put(self, *headers, blocks=()):
        def send(conn):
            conn.putrequest("POST", "/")
            for name, value in headers:
                conn.putheader(name, value)
            conn.endheaders()
            for block in blocks:
                conn.send(block)
        return self.sending(send)

    def test_content_length(self):
        length = ("Content-Length", "6")
        self.assertEqual(self.put(length, blocks=[b"abc", b"def"]), 0)
        self.assertEqual(self.put(length, blocks=[[b"abc", b"def"]]), 0)
        self.assertEqual(self.put(length, length, blocks=[b"abcdef"]), 0)
        self.assertEqual(self.put(length), 1)
        self.assertEqual(self.put(length, blocks=[b"abc"]), 1)
        self.assertEqual(self.put(length, blocks=[b"abc", b"def", b"g"]), 1)
        self.assertEqual(self.put(length, ("Content-Length", "3"),
                                  blocks=[b"abc"]), 1)
        self.assertEqual(self.put(blocks=[b"abc"]), 1)

    def test_chunked(self):
        te = ("Transfer-Encoding", "chunked")
        whole = b"3\r\nabc\r\nB;x=y\r\n0123\r\n0\r\n\r\n\r\n0\r\nT: u\r\n\r\n"
        for size in range(1, len(whole) + 1):
            blocks = [whole[i:i+size] for i in range(0, len(whole), size)]
            with self.subTest(size=size):
                self.assertEqual(self.put(te, blocks=blocks), 0)
        for end in 0, 8, 20, 22, 24, 27, len(whole) - 1:
            with self.subTest(end=end):
                self.assertEqual(self.put(te, blocks=[whole[:end]]), 1)
        self.assertEqual(self.put(te, blocks=[whole, b"\r\n"]), 1)
        self.assertEqual(self.put(te, blocks=[b"+3\r\nabc\r\n0\r\n\r\n"]), 1)
        self.assertEqual(self.put(te, ("Content-Length", "3"),
                                  blocks=[b"abc"]), 1)
        self.assertEqual(self.put(("Transfer-Encoding", "gzip, chunked"),
                                  blocks=[b"0\r\n\r\n"]), 1)

    def test_a_body_that_fails(self):
        def body():
            # What is sent ends like a chunked body that is complete.
            yield b"abc\r\n0\r\n"
            raise ZeroDivisionError

        def send(conn):
            with self.assertRaises(ZeroDivisionError):
                conn.request("POST", "/", body())

        self.assertEqual(self.sending(send), 1)

        def send_whole(conn):
            conn.request("POST", "/", iter([b"abc\r\n0\r\n", b"def"]))

        self.assertEqual(self.sending(send_whole), 0)

    # Guard: what a subclass sends by itself is not judged.
    def test_what_a_subclass_sends_by_itself(self):
        class Connection(http.client.HTTPConnection):
            def _send_output(self, message_body=None, encode_chunked=False):
                self.sock.sendall(b"\r\n".join([*self._buffer, b"", b""]))
                del self._buffer[:]

        def script(link):
            link.answer(b"first")
            link.answer(b"second")

        with Peer(script) as peer:
            conn = peer.connect(Connection)
            conn.connect()
            for body in b"first", b"second":
                conn.request("GET", "/")
                self.assertEqual(conn.getresponse().read(), body)

    def test_through_a_tunnel(self):
        def script(link):
            link.answer()
            link.answer(b"first")
            link.answer(b"second")

        def fresh(link):
            link.answer()
            link.answer(b"fresh")

        for body, expected in (b"abc", b"second"), (b"ab", b"fresh"):
            with self.subTest(body=body), Peer(script, fresh) as peer:
                conn = peer.connect()
                conn.set_tunnel("destination.example", 80)
                conn.putrequest("POST", "/")
                conn.putheader("Content-Length", "3")
                conn.endheaders()
                conn.send(body)
                if body == b"ab":
                    # The server waits for the rest: let it have that, but
                    # not as part of the request.
                    conn.sock.sendall(b"c")
                self.assertEqual(conn.getresponse().read(), b"first")
                conn.request("GET", "/")
                self.assertEqual(conn.getresponse().read(), expected)

    def test_the_rest_of_a_body_gets_no_connection(self):
        def script(link):
            link.reader.readline()
            link.send(response(b"", b"Connection: close",
                               status=b"413 Too Large"))
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.putrequest("POST", "/")
            conn.putheader("Content-Length", "100")
            conn.endheaders(b"begin")
            self.assertEqual(conn.getresponse().status, 413)
            with self.assertRaises(http.client.NotConnected):
                conn.send(b"GET / HTTP/1.1\r\n\r\n")
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_more_than_the_request(self):
        def script(link):
            link.answer(b"first")
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"first")
            conn.send(b"GET /half")
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_lines_of_a_request_that_was_not_sent(self):
        def script(link):
            link.answer(b"abc")

        with Peer(script) as peer:
            conn = peer.connect()
            with self.assertRaises(ValueError):
                conn.request("GET", "/first", headers={"A": "b\nc"})
            conn.close()
            conn.request("GET", "/second")
            self.assertEqual(conn.getresponse().read(), b"abc")
            self.assertEqual(peer.requests[0][1].target, b"/second")


@http_peer.over_tls
class FailureTests(ReuseTestCase):
    """A read or getresponse() failed, or what follows is not HTTP."""

    def check_honest(self, first, read):
        """Whatever *read* does, no byte of *first* is in the response to
        the next request."""
        def script(link):
            link.request()
            try:
                link.send(first)
            except OSError:     # the client did not want all of it
                return
            link.answer(b"honest")

        def fresh(link):
            link.answer(b"honest")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/first")
            read(conn.getresponse())
            conn.request("GET", "/second")
            self.assertEqual(conn.getresponse().read(), b"honest")

    # Guard: the rest of the line must not be read as another line.
    def test_a_line_that_is_too_long(self):
        def read(received):
            with self.assertRaises(http.client.LineTooLong):
                with received:
                    received.read()

        line = b"0" * 65537 + b"0\r\n\r\n"
        self.check_honest(chunked(line + FORGED), read)
        self.check_honest(chunked(b"0\r\n" + line + FORGED), read)

    # Guard: what has been received is not thrown away with the reader, as it
    # was before, so it matters where a read stopped.
    def test_an_interrupted_read(self):
        def interrupt(name, count):
            # Once the method has been called so often, its result is lost.
            def read(received):
                method = getattr(received, name)
                calls = iter(range(count))

                def lossy(*args):
                    result = method(*args)
                    next(calls)
                    return result

                with mock.patch.object(received, name, lossy):
                    with self.assertRaises((RuntimeError, StopIteration)):
                        received.read()
                received.close()
            return read

        # What the chunks contain looks like the end of the chunks.
        body = b"0\r\n\r\n" + FORGED
        message = chunked(b"%x\r\n" % len(body), body, b"\r\n",
                          b"5\r\nabcde\r\n0\r\n\r\n")
        for name in "_read_next_chunk_size", "_safe_read", "_get_chunk_left":
            for count in 0, 1:
                with self.subTest(name=name, count=count):
                    self.check_honest(message, interrupt(name, count))
        self.check_honest(response(body), interrupt("_safe_read", 0))

    def test_nothing_is_parsed_after_a_failure(self):
        def script(link):
            link.request()
            link.send(b"GARBAGE\r\n" + FORGED)

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            with self.assertRaises(http.client.BadStatusLine):
                conn.getresponse()
            self.assertIsNotNone(conn.sock)
            with self.assertRaises(http.client.RemoteDisconnected):
                conn.getresponse()
            self.assertIsNone(conn.sock)
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_switching_protocols(self):
        def script(link):
            link.request()
            link.send(b"HTTP/1.1 101 Switching Protocols\r\n"
                      b"Upgrade: echo\r\n\r\nhello")
            link.send(link.reader.readline())
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("GET", "/", headers={"Connection": "Upgrade",
                                              "Upgrade": "echo"})
            received = conn.getresponse()
            self.assertEqual(received.status, 101)
            self.assertEqual(received.fp.read(5), b"hello")
            self.assertIs(received.fp.raw._sock, conn.sock)
            conn.sock.sendall(b"world\n")
            self.assertEqual(received.fp.readline(), b"world\n")
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_connect_method(self):
        def script(link):
            link.answer()
            link.send(link.reader.readline())
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("CONNECT", "destination.example:1")
            received = conn.getresponse()
            self.assertIs(received.fp.raw._sock, conn.sock)
            conn.sock.sendall(b"hello\n")
            self.assertEqual(received.fp.readline(), b"hello\n")
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_a_response_still_read_keeps_the_old_socket(self):
        # The request was cut, so the connection takes no other one, but
        # the response to it is good.
        def script(link):
            link.reader.readline()
            link.send(response(b"early"))
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.putrequest("POST", "/")
            conn.putheader("Content-Length", "100")
            conn.endheaders()
            first = conn.getresponse()
            conn.request("GET", "/")
            second = conn.getresponse()
            self.assertEqual(first.read(), b"early")
            self.assertEqual(second.read(), b"fresh")


@http_peer.over_tls
class InterruptTests(ReuseTestCase):
    """A system call was interrupted after it had done something."""

    def interrupted(self, method, times, action):
        """Return a mixin whose *method* calls *action* the n-th time."""
        calls = iter([False] * (times - 1) + [True])

        def interrupt(sock, data, *args):
            real = getattr(super(Interrupted, sock), method)
            if not next(calls, False):
                return real(data, *args)
            action(real, data)
            raise KeyboardInterrupt

        class Interrupted:
            pass
        setattr(Interrupted, method, interrupt)
        return Interrupted

    def check_send(self, times, action, make_body):
        # The server is not left with one request inside of another.
        def script(link):
            link.reader.readline()
            link.send(response(b"early"))
            later.append(link.wait_closed())

        def fresh(link):
            link.answer(b"fresh")

        for early in False, True:
            later = []
            with (self.subTest(times=times, early=early),
                  Peer(script, fresh, tls=self.tls) as peer):
                conn = peer.connect(
                    mixin=self.interrupted("sendall", times, action))
                with self.assertRaises(KeyboardInterrupt):
                    conn.request("POST", "/first", make_body())
                if early:
                    self.assertEqual(conn.getresponse().read(), b"early")
                else:
                    with self.assertRaises(http.client.CannotSendRequest):
                        conn.request("GET", "/second")
                    conn.close()
                conn.request("GET", "/second")
                self.assertEqual(conn.getresponse().read(), b"fresh")
                peer.join()
                self.assertNotIn(b"/second", b"".join(later))

    def test_send(self):
        def half(send, data):
            send(data[:len(data) // 2])

        def whole(send, data):
            send(data)

        for action in half, whole:
            self.check_send(1, action, lambda: b"x" * 1000)
            self.check_send(1, action, lambda: io.BytesIO(b"body"))
            self.check_send(2, action, lambda: io.BytesIO(b"body"))
            self.check_send(3, action, lambda: iter([b"bo", b"dy"]))

    def test_read(self):
        # Nobody knows how much of the body is still to come.
        body = b"A" * 20000 + FORGED * 4
        for message in response(body), chunked(b"%x\r\n" % len(body), body,
                                               b"\r\n0\r\n\r\n"):
            for read in (lambda received: received.read(),
                         lambda received: received.read(17000),
                         lambda received: received.read1(17000),
                         lambda received: received.readinto(bytearray(17000)),
                         lambda received: received.readline()):
                with self.subTest(message=message[:50], read=read):
                    self.check_read(message, read)

    def check_read(self, message, read):
        interrupt = threading.Event()

        class Interrupted:
            def recv_into(self, buffer, *args):
                size = super().recv_into(buffer, *args)
                if interrupt.is_set():
                    raise KeyboardInterrupt
                return size

        def script(link):
            link.request()
            end = message.index(b"A")
            link.send(message[:end])
            interrupt.wait(support.SHORT_TIMEOUT)
            try:
                link.send(message[end:])
            except OSError:     # the client did not want all of it
                return
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect(mixin=Interrupted)
            conn.request("GET", "/first")
            received = conn.getresponse()
            interrupt.set()
            with self.assertRaises(KeyboardInterrupt):
                read(received)
            interrupt.clear()
            received.close()
            conn.request("GET", "/second")
            self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_getresponse(self):
        # What is left of the head must not pass for a response.
        def script(link):
            link.request()
            link.send(b"X" * 10 + FORGED)
            link.wait_closed()

        def fresh(link):
            link.answer(b"fresh")

        class Interrupted:
            def recv_into(self, buffer, *args):
                size = super().recv_into(memoryview(buffer)[:10], *args)
                if interrupt.is_set():
                    raise KeyboardInterrupt
                return size

        interrupt = threading.Event()
        interrupt.set()

        with Peer(script, fresh, tls=self.tls) as peer:
            conn = peer.connect(mixin=Interrupted)
            conn.request("GET", "/first")
            with self.assertRaises(KeyboardInterrupt):
                conn.getresponse()
            with self.assertRaises(http.client.RemoteDisconnected):
                conn.getresponse()
            interrupt.clear()
            conn.request("GET", "/second")
            self.assertEqual(conn.getresponse().read(), b"fresh")


@http_peer.over_tls
class TakenOverTests(ReuseTestCase):
    """Others take the socket from a response, as docker-py does."""

    def take_over(self, received):
        stream = received.fp.raw
        self.assertIsInstance(stream, socket.SocketIO)
        stream._response = received     # or both would be closed
        stream._sock.settimeout(None)
        stream._sock.settimeout(support.SHORT_TIMEOUT)
        return stream

    def check_stream(self, stream):
        stream._sock.sendall(b"hello\n")
        self.assertEqual(stream.read(100), b"hello\n")
        self.assertEqual(stream.read(100), b"")
        stream._response.close()

    def script(self, head):
        def script(link):
            link.request()
            link.send(head)
            link.send(link.reader.readline())
            link.sock.shutdown(socket.SHUT_WR)
        return script

    def fresh(self, link):
        link.answer(b"fresh")

    def test_after_switching_protocols(self):
        script = self.script(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade"
                             b"\r\nUpgrade: tcp\r\n\r\n")
        with Peer(script, self.fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("POST", "/exec", headers={"Connection": "Upgrade",
                                                   "Upgrade": "tcp"})
            stream = self.take_over(conn.getresponse())
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"fresh")
            self.check_stream(stream)

    # Guard: such a response has always had the socket for itself.
    def test_after_a_response_without_end(self):
        script = self.script(b"HTTP/1.1 200 OK\r\n"
                             b"Content-Type: application/octet-stream"
                             b"\r\n\r\n")
        with Peer(script, self.fresh, tls=self.tls) as peer:
            conn = peer.connect()
            conn.request("POST", "/attach")
            stream = self.take_over(conn.getresponse())
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"fresh")
            conn.close()
            self.check_stream(stream)


class ExpectingConnection(http.client.HTTPConnection):
    """Awaits "100 Continue" by itself, in the way that botocore does."""

    refused = False

    def request(self, *args, **kwargs):
        self.refused = False
        self.response_class = http.client.HTTPResponse
        super().request(*args, **kwargs)

    def send(self, data):
        if not self.refused:
            super().send(data)

    def _send_output(self, message_body=None, encode_chunked=False):
        self.send(b"\r\n".join([*self._buffer, b"", b""]))
        del self._buffer[:]
        if message_body is not None:
            self.await_answer()
            self.send(message_body)

    def await_answer(self):
        wait_readable(self.sock)
        with self.sock.makefile("rb", 0) as file:
            version, status, reason = file.readline().decode().split(None, 2)
            if status == "100":
                while file.readline() != b"\r\n":
                    pass
                return
        self.response_class = functools.partial(
            RefusedResponse, status_line=(version, int(status), reason))
        self.refused = True


class RefusedResponse(http.client.HTTPResponse):
    """A response of which the status line has been read before."""

    def __init__(self, *args, status_line, **kwargs):
        super().__init__(*args, **kwargs)
        self.status_line = status_line

    def _read_status(self):
        return self.status_line


class ExpectTests(ReuseTestCase):

    # Guard: the rest of the response is for the usual reader.
    def test_continue(self):
        def script(link):
            for _ in range(2):
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += link.reader.readline()
                link.send(b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n")
                self.assertEqual(link.reader.read(4), b"body")
                link.send(response(b"done"))

        with Peer(script) as peer:
            conn = peer.connect(ExpectingConnection)
            for _ in range(2):
                conn.request("PUT", "/", b"body")
                received = conn.getresponse()
                self.assertEqual((received.status, received.read()),
                                 (200, b"done"))

    def test_refusal(self):
        # The server may go on waiting for the body.
        def script(link):
            while link.reader.readline() not in (b"\r\n", b""):
                pass
            link.send(response(b"no", status=b"417 Expectation Failed"))
            later.append(link.wait_closed())

        def fresh(link):
            link.answer(b"fresh")

        later = []
        with Peer(script, fresh) as peer:
            conn = peer.connect(ExpectingConnection)
            conn.request("PUT", "/", b"body")
            received = conn.getresponse()
            self.assertEqual((received.status, received.read()),
                             (417, b"no"))
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"fresh")
            peer.join()
            self.assertEqual(later, [b""])


class SetAsideTests(unittest.TestCase):
    """A pool that is made by hand assigns to conn.sock."""

    def first(self, link):
        if link.request() is None:
            return
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 67\r\n\r\nabc")
        if link.request() is not None:
            link.send(FORGED)
            link.wait_closed()

    def good(self, link):
        while link.answer(b"good") is not None:
            pass

    def check_not_forged(self, peer, conn):
        conn.request("GET", "/2")
        self.assertEqual(conn.getresponse().read(), b"good")
        self.assertNotEqual(peer.requests[-1][0], 0)

    def use_another(self, conn):
        conn.sock = None
        conn.request("GET", "/other")
        self.assertEqual(conn.getresponse().read(), b"good")
        return conn.sock

    def test_an_unread_response(self):
        with Peer(self.first, self.good, self.good) as peer:
            conn = peer.connect()
            conn.request("GET", "/1")
            received = conn.getresponse()
            first = conn.sock
            conn.sock = None
            received.close()
            with self.use_another(conn):
                conn.sock = first
                self.check_not_forged(peer, conn)

    def send_part(self, conn):
        conn.putrequest("POST", "/1")
        conn.putheader("Content-Length", "10")
        conn.endheaders(b"abc")

    def send_whole(self, conn):
        conn.request("GET", "/1")

    def silent(self, link):
        link.wait_closed()

    def test_in_the_middle_of_a_request(self):
        for send in self.send_part, self.send_whole:
            with (self.subTest(send), Peer(self.silent, self.good) as peer):
                conn = peer.connect()
                send(conn)
                first = conn.sock
                conn.sock = None
                conn.close()
                conn.sock = first
                conn.request("GET", "/2")
                self.assertEqual(conn.getresponse().read(), b"good")

    def test_on_another_connection(self):
        # Its connect() may lead elsewhere, so it is not called.
        for send in self.send_part, self.send_whole, self.leave_unread:
            script = self.first if send == self.leave_unread else self.silent
            with self.subTest(send), Peer(script) as peer:
                conn = peer.connect()
                left = send(conn)
                other = peer.connect()
                other.sock, conn.sock = conn.sock, None
                if left is not None:
                    left.close()
                with (mock.patch.object(other, "connect") as connect,
                      self.assertRaises(http.client.RemoteDisconnected)):
                    other.request("GET", "/2")
                connect.assert_not_called()

    def leave_unread(self, conn):
        conn.request("GET", "/1")
        return conn.getresponse()

    def test_given_by_connect(self):
        # A pool may be behind it.
        class Connection(http.client.HTTPConnection):
            def connect(self):
                self.sock = first

        with Peer(self.silent) as peer:
            conn = peer.connect(Connection)
            first = socket.create_connection((http_peer.HOST, peer.port))
            self.send_part(conn)
            conn.sock = None
            conn.close()
            with self.assertRaises(http.client.RemoteDisconnected):
                conn.request("GET", "/2")
            self.assertIsNone(conn.sock)

    # Guard: what was left on one socket says nothing of another.
    def test_a_healthy_one_instead(self):
        def early(link):
            link.reader.readline()
            link.send(response(b"early"))
            link.wait_closed()

        with Peer(early, self.good) as peer:
            conn = peer.connect()
            self.send_part(conn)
            self.assertEqual(conn.getresponse().read(), b"early")
            with conn.sock:
                conn.sock = socket.create_connection(
                    (http_peer.HOST, peer.port), conn.timeout)
                conn.request("GET", "/2")
                self.assertEqual(conn.getresponse().read(), b"good")

    # Guard: tests of others give out the same fake again and again.
    def test_the_same_fake_again(self):
        class Fake:
            def __init__(self):
                self.sent = []

            def makefile(self, mode):
                return io.BytesIO(b"HTTP/1.1 200 OK\r\n"
                                  b"Content-Length: 5\r\n\r\nabcde")

            def sendall(self, data):
                self.sent.append(data)

            def setsockopt(self, *args):
                pass

            def close(self):
                pass

        fake = Fake()
        with mock.patch("socket.create_connection", return_value=fake):
            for _ in range(2):
                conn = http.client.HTTPConnection("example.com")
                for _ in range(2):
                    conn.request("GET", "/")
                    conn.getresponse().close()
                conn.close()
        self.assertEqual(len(fake.sent), 4)

    # Guard: a connection without a socket can be copied and pickled.
    def test_pickle(self):
        with Peer(self.good) as peer:
            conn = peer.connect()
            conn.request("GET", "/1")
            conn.getresponse().read()
            with conn.sock:
                conn.sock = None
                for copied in copy.deepcopy(conn), pickle.loads(
                        pickle.dumps(conn)):
                    self.assertEqual(vars(copied).keys(), vars(conn).keys())
                    copied.close()

    # Guard: a pool may do this with healthy connections.
    def test_healthy(self):
        with Peer(self.good, self.good) as peer:
            conn = peer.connect()
            conn.request("GET", "/1")
            conn.getresponse().read()
            first = conn.sock
            with self.use_another(conn) as second:
                conn.sock = first
                for number, sock in enumerate((first, second, first)):
                    conn.sock = sock
                    conn.request("GET", "/2")
                    self.assertEqual(conn.getresponse().read(), b"good")
                    self.assertEqual(peer.requests[-1][0], number % 2)
            first.close()


class HalfOpenTests(unittest.TestCase):
    """A connection that connect() has not finished is none."""

    def silent(self, link):
        link.request()
        link.wait_closed()

    def fresh(self, link):
        link.answer()
        link.answer(b"fresh")

    def explicitly(self, conn):
        conn.connect()

    def by_a_request(self, conn):
        conn.request("GET", "/first")

    def test_no_answer_to_connect(self):
        for open_it in self.explicitly, self.by_a_request:
            with (self.subTest(open_it),
                  Peer(self.silent, self.fresh) as peer):
                conn = peer.connect(timeout=0.01)
                conn.set_tunnel("destination.example", 80)
                with self.assertRaises(TimeoutError):
                    open_it(conn)
                self.assertIsNone(conn.sock)
                with self.assertRaises(http.client.ResponseNotReady):
                    conn.getresponse()
                conn.timeout = support.SHORT_TIMEOUT
                conn.request("GET", "/second")
                self.assertEqual(conn.getresponse().read(), b"fresh")
                conn.close()
                peer.join()
                self.assertCountEqual(
                    [(number, request.method)
                     for number, request in peer.requests],
                    [(0, b"CONNECT"), (1, b"CONNECT"), (1, b"GET")])

    @unittest.skipUnless(hasattr(http.client, "HTTPSConnection"),
                         "for HTTPSConnection")
    def test_nothing_is_sent_without_tls(self):
        with Peer(self.silent, self.silent) as peer:
            conn = peer.connect(http.client.HTTPSConnection, timeout=0.01)
            conn.set_tunnel("destination.example", 443)
            with self.assertRaises(TimeoutError):
                conn.connect()
            with self.assertRaises(TimeoutError):
                conn.request("GET", "/", headers={"Authorization": "secret"})
            conn.close()
            peer.join()
            for number, request in peer.requests:
                self.assertEqual(request.method, b"CONNECT")

    # Guard: a connect() may try several addresses.
    def test_a_subclass_that_tries_again(self):
        class Connection(http.client.HTTPConnection):
            def connect(self):
                for self.port in closed_port, peer.port:
                    try:
                        return super().connect()
                    except OSError:
                        pass

        def script(link):
            link.answer(b"good")
            link.answer(b"good")

        with Peer(script) as peer, socket.socket() as unused:
            unused.bind((http_peer.HOST, 0))
            closed_port = unused.getsockname()[1]
            conn = peer.connect(Connection)
            for _ in range(2):
                conn.request("POST", "/", b"body")
                self.assertEqual(conn.getresponse().read(), b"good")
            self.assertEqual(peer.accepted, 1)

    # Guard: what is open stays so.
    def test_a_second_connect_that_fails(self):
        def script(link):
            link.answer(b"good")

        with Peer(script) as peer:
            conn = peer.connect()
            conn.request("GET", "/")
            received = conn.getresponse()
            with (mock.patch("socket.create_connection", side_effect=OSError),
                  self.assertRaises(OSError)):
                conn._create_connection = socket.create_connection
                conn.connect()
            self.assertEqual(received.read(), b"good")
            self.assertIsNotNone(conn.sock)

    # Guard: tests of others replace it.
    def test_socket_class_replaced(self):
        class Fake:
            def makefile(self, mode):
                return io.BytesIO(response(b"good"))

            def sendall(self, data):
                pass

            def close(self):
                pass

        with mock.patch("socket.socket"):
            conn = http.client.HTTPConnection("example.com")
            conn.sock = Fake()
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"good")
            conn.close()

    # Guard: likewise.
    def test_response_class_replaced(self):
        with (Peer(lambda link: link.answer(b"good")) as peer,
              mock.patch("http.client.HTTPResponse")):
            conn = peer.connect()
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"good")

    # Guard: a subclass of socket need not be hashable.
    def test_a_socket_that_cannot_be_hashed(self):
        class Socket(socket.socket):
            def __eq__(self, other):
                return self is other

        def script(link):
            while link.answer(b"good") is not None:
                pass

        with Peer(script) as peer, Socket() as sock:
            sock.connect((http_peer.HOST, peer.port))
            conn = peer.connect()
            conn.sock = sock
            for _ in range(2):
                conn.request("GET", "/")
                self.assertEqual(conn.getresponse().read(), b"good")

    def test_an_interrupt(self):
        class Interrupt(BaseException):
            pass

        with Peer(self.silent, self.silent) as peer:
            conn = peer.connect()
            conn.set_tunnel("destination.example", 80)
            with (mock.patch.object(conn, "_tunnel", side_effect=Interrupt),
                  self.assertRaises(Interrupt)):
                conn.connect()
            self.assertIsNone(conn.sock)


class WhereToTests(unittest.TestCase):
    """A connection is replaced only by what connect() would have made."""

    def script(self, link):
        link.request()
        link.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        link.wait_closed()

    def fresh(self, link):
        link.answer(b"fresh")

    def switch(self, conn):
        conn.request("GET", "/")
        conn.getresponse().close()

    def check_refused(self, conn):
        self.switch(conn)
        with self.assertRaises(http.client.RemoteDisconnected):
            conn.request("GET", "/")
        self.assertIsNone(conn.sock)

    def test_auto_open_off(self):
        with Peer(self.script, self.fresh) as peer:
            conn = peer.connect()
            conn.auto_open = 0
            conn.connect()
            self.check_refused(conn)
            self.assertEqual(peer.accepted, 1)
            conn.connect()
            conn.request("GET", "/again")
            self.assertEqual(conn.getresponse().read(), b"fresh")
            self.assertEqual(peer.requests[1][1].target, b"/again")

    def test_a_socket_from_elsewhere(self):
        with Peer(self.script) as peer, Peer() as other:
            conn = other.connect()
            conn.sock = socket.create_connection((http_peer.HOST, peer.port),
                                                 conn.timeout)
            self.check_refused(conn)
            self.assertEqual(other.accepted, 0)

    def test_a_socket_made_by_a_subclass(self):
        class Connection(http.client.HTTPConnection):
            def connect(self):
                self.sock = socket.create_connection((self.host, self.port),
                                                     self.timeout)

        for explicit in False, True:
            with (self.subTest(explicit=explicit),
                  Peer(self.script, self.fresh) as peer):
                conn = peer.connect(Connection)
                if explicit:
                    # This cannot be told from an assignment.
                    conn.connect()
                    self.check_refused(conn)
                    continue
                self.switch(conn)
                conn.request("GET", "/")
                self.assertEqual(conn.getresponse().read(), b"fresh")

    def test_a_subclass_that_forgets_when_it_is_closed(self):
        # urllib3's close() does that to the tunnel.
        class Connection(http.client.HTTPConnection):
            def close(self):
                super().close()
                self._tunnel_host = None

        def script(link):
            link.answer()
            self.script(link)

        def fresh(link):
            link.answer()
            link.answer(b"fresh")

        with Peer(script, fresh) as peer:
            conn = peer.connect(Connection)
            conn.set_tunnel("destination.example", 80)
            self.switch(conn)
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"fresh")
            self.assertEqual(peer.requests[2][1].method, b"CONNECT")

    def test_a_connection_opened_explicitly(self):
        with Peer(self.script, self.fresh) as peer:
            conn = peer.connect()
            conn.connect()
            self.switch(conn)
            conn.request("GET", "/")
            self.assertEqual(conn.getresponse().read(), b"fresh")


if __name__ == "__main__":
    unittest.main()
