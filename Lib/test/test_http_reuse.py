"""A connection is used again only after a response that ended exactly
where its framing said, and after a request that was sent whole
(RFC 9112, sections 6.3, 9.2 and 9.3)."""

import http.client
import socket
import unittest
from test import http_peer, support
from test.http_peer import Peer, response
from unittest import mock

support.requires_working_socket(module=True)

# 64 bytes long, so that a body made of it shows a status line wherever a
# reader whose buffer has a usual size stops.
FORGED = b"HTTP/1.1 200 Forged\r\nContent-Length: 6\r\nX: xxxxxxxxxxx\r\n\r\nFORGED"
assert len(FORGED) == 64


def chunked(*lines):
    return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"".join(lines))


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
            read(conn.getresponse())
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


class SetAsideTests(unittest.TestCase):
    """A pool that is made by hand assigns to conn.sock."""

    def first(self, link):
        link.request()
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

    def test_a_request_cut_short(self):
        with Peer(self.first, self.good, self.good) as peer:
            conn = peer.connect()
            conn.putrequest("POST", "/1")
            conn.putheader("Content-Length", "10")
            conn.endheaders(b"abc")
            first = conn.sock
            conn.sock = socket.create_connection(
                (http_peer.HOST, peer.port), conn.timeout)
            with conn.sock:
                conn.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                self.assertEqual(conn.getresponse().read(), b"good")
                conn.sock = first
                self.check_not_forged(peer, conn)

    def test_on_another_connection(self):
        # Its connect() may lead elsewhere.
        with Peer(self.first, self.good) as peer:
            conn = peer.connect()
            conn.request("GET", "/1")
            received = conn.getresponse()
            other = peer.connect()
            other.sock, conn.sock = conn.sock, None
            received.close()
            with self.assertRaises(http.client.RemoteDisconnected):
                other.request("GET", "/2")
            self.assertEqual(peer.accepted, 1)

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
