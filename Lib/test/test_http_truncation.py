"""IncompleteRead is raised if a connection ends inside a response."""

import contextlib
import http.client
import io
import shutil
import unittest
import urllib.error
import urllib.request
from test import support
from test.http_peer import (HOST, Peer, chunked, over_tls, response,
                            wait_readable)

support.requires_working_socket(module=True)

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
SECTION = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: y\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n"


def cut_everywhere():
    """Yield cut responses, and what they contain of the body."""
    for size in range(10):
        yield LENGTH + b"0123456789"[:size], b"0123456789"[:size]
    # The framing of chunks, and their data, in turns.
    parts = (b"3\r\n", b"a\nb", b"\r\n2;x=y\r\n", b"\nc",
             b"\r\n0\r\nX: y\r\nZ: z\r\n\r\n")
    sent = chunked()
    body = b""
    for number, part in enumerate(parts):
        for at in range(len(part)):
            # Some servers end the connection right after the last chunk.
            if not sent.endswith(b"\r\n0\r\n"):
                yield sent, body
            sent += part[at:at + 1]
            if number % 2:
                body += part[at:at + 1]
    for size in 1, 2, 4:
        yield chunked(b"1\r\na\r\n", b"0\r\n\r\n"[:size]), b"a"


# One cut for each framing, for each way of reading.
CUTS = [
    (LENGTH + b"ab\ncd", b"ab\ncd"),
    (chunked(b"9\r\nab\ncd"), b"ab\ncd"),
    (chunked(b"2\r\nab\r\n3\r\n\ncd\r\n"), b"ab\ncd"),
    (chunked(b"5\r\nab\ncd\r\n0\r\nX: y"), b"ab\ncd"),
    (chunked(b"2\r\nab\r\n-\r\n"), b"ab"),          # it is malformed
]

WHOLE = [
    response(b"ab\ncd"),
    chunked(b"2\r\nab\r\n3\r\n\ncd\r\n0\r\nX: y\r\n\r\n"),
    chunked(b"5\r\nab\ncd\r\n0\r\n"),
    b"HTTP/1.1 200 OK\r\n\r\nab\ncd",
]


def readinto(received):
    buffer = bytearray(2)
    while n := received.readinto(buffer):
        yield bytes(buffer[:n])


def peek(received):
    while data := received.peek():
        yield received.read(min(2, len(data)))


def copyfileobj(received):
    copy = io.BytesIO()
    try:
        shutil.copyfileobj(received, copy, 2)
    finally:
        yield copy.getvalue()


def text(received):
    file = io.TextIOWrapper(received, "ascii", newline="\n")
    while data := file.read(1):
        yield data.encode("ascii")


# Ways to read a response: functions that return an iterable of its parts.
READERS = {
    "read": lambda received: [received.read()],
    "read(2)": lambda received: iter(lambda: received.read(2), b""),
    "read(100)": lambda received: iter(lambda: received.read(100), b""),
    "read1": lambda received: iter(received.read1, b""),
    "read1(2)": lambda received: iter(lambda: received.read1(2), b""),
    "readinto": readinto,
    "readline": lambda received: iter(received.readline, b""),
    "readline(2)": lambda received: iter(lambda: received.readline(2), b""),
    "iter": iter,
    "peek": peek,
    "copyfileobj": copyfileobj,
    "BufferedReader": lambda received: iter(
        lambda reader=io.BufferedReader(received): reader.read(1), b""),
    "TextIOWrapper": text,
}


class TruncationTestCase(unittest.TestCase):

    tls = None

    @contextlib.contextmanager
    def serve(self, data):
        """Give (peer, connection): *data*, then the end, is the answer."""
        def script(link):
            link.request()
            link.send(data)
            link.close()

        def fresh(link):
            link.answer(b"fresh")

        with (self.subTest(data=data),
              Peer(script, fresh, tls=self.tls) as peer):
            conn = peer.connect()
            conn.request("GET", "/")
            yield peer, conn

    def check_fresh(self, peer, conn):
        """Check that the next request goes over another connection."""
        if conn.sock is not None:
            wait_readable(conn.sock)
        conn.request("GET", "/fresh")
        self.assertEqual(conn.getresponse().read(), b"fresh")
        self.assertEqual(peer.accepted, 2)

    def check_cut(self, data, body, reader):
        parts = []
        with self.subTest(reader=reader), self.serve(data) as (peer, conn):
            received = conn.getresponse()
            with self.assertRaises(http.client.IncompleteRead) as caught:
                for part in READERS[reader](received):
                    parts.append(part)
            parts.append(caught.exception.partial)
            self.assertEqual(b"".join(parts), body)
            self.assertTrue(received.isclosed())
            self.check_fresh(peer, conn)
            self.assertEqual(received.read(), b"")


@over_tls
class BodyTests(TruncationTestCase):

    def test_each_way_of_reading(self):
        for reader in READERS:
            for data, body in CUTS if self.tls is None else CUTS[::2]:
                self.check_cut(data, body, reader)

    # Guard: nothing is missing.
    def test_whole_body(self):
        for reader, read in READERS.items():
            for data in WHOLE if self.tls is None else WHOLE[-1:]:
                with (self.subTest(reader=reader),
                      self.serve(data) as (peer, conn)):
                    self.assertEqual(b"".join(read(conn.getresponse())),
                                     b"ab\ncd")
                    self.check_fresh(peer, conn)


class MoreBodyTests(TruncationTestCase):

    def test_each_position(self):
        for data, body in cut_everywhere():
            self.check_cut(data, body, "read")
            self.check_cut(data, body, "read1")

    def test_expected(self):
        calls = {
            "read": lambda received: received.read(1),
            "read1": lambda received: received.read1(1),
            "readinto": lambda received: received.readinto(bytearray(1)),
            "readline": lambda received: received.readline(1),
            "peek": lambda received: received.peek(),
        }
        for data, expected in ((LENGTH + b"abc", 7),
                               (chunked(b"3\r\nabc"), None)):
            for name, call in calls.items():
                with self.subTest(name), self.serve(data) as (peer, conn):
                    received = conn.getresponse()
                    self.assertEqual(received.read(3), b"abc")
                    with self.assertRaises(
                            http.client.IncompleteRead) as caught:
                        call(received)
                    self.assertEqual(caught.exception.partial, b"")
                    self.assertEqual(caught.exception.expected, expected)

    # Guard: all that has been received is in the exception.
    def test_large_body(self):
        size = 5 << 19
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (3 << 20)
        with self.serve(data + bytes(size)) as (peer, conn):
            with self.assertRaises(http.client.IncompleteRead) as caught:
                conn.getresponse().read()
            self.assertEqual(len(caught.exception.partial), size)
            self.assertEqual(caught.exception.expected, 1 << 19)

    def test_lines(self):
        for data in (LENGTH + b"a\n\nbc", chunked(b"8\r\na\n\nbc"),
                     chunked(b"1\r\na\r\n", b"3\r\n\n\nb\r\n", b"1\r\nc\r\n")):
            with self.serve(data) as (peer, conn):
                received = conn.getresponse()
                self.assertEqual(received.readline(-1), b"a\n")
                self.assertEqual(received.readline(-2), b"\n")
                self.assertEqual(received.readline(1), b"b")
                self.assertEqual(received.readline(0), b"")
                self.assertEqual(received.readline(9), b"c")
                with self.assertRaises(http.client.IncompleteRead):
                    received.readline()

    # Guard: an empty read does not look for the end.
    def test_reading_nothing(self):
        for data in LENGTH, b"HTTP/1.1 200 OK\r\n\r\n":
            with self.serve(data) as (peer, conn):
                received = conn.getresponse()
                self.assertEqual(received.read(0), b"")
                self.assertEqual(received.read1(0), b"")
                self.assertEqual(received.readline(0), b"")
                self.assertEqual(received.readinto(bytearray()), 0)
                self.assertFalse(received.isclosed())


@over_tls
class HeadTests(TruncationTestCase):

    def check_closed(self, data, cls):
        with self.serve(data) as (peer, conn):
            with self.assertRaises(cls):
                conn.getresponse()
            self.check_fresh(peer, conn)

    # Guard: before the first byte, the exception is as before.
    def test_nothing(self):
        self.check_closed(b"", http.client.RemoteDisconnected)

    def test_status_line(self):
        sizes = range(1, SECTION.index(b"\n") + 1)
        for size in sizes if self.tls is None else sizes[::5]:
            self.check_closed(SECTION[:size], http.client.BadStatusLine)

    def test_header_section(self):
        sizes = range(SECTION.index(b"\n") + 1, len(SECTION) + 1)
        for size in sizes if self.tls is None else sizes[::9]:
            self.check_closed(SECTION[:size], http.client.IncompleteRead)

    def test_after_interim_response(self):
        for data, cls in (
                (INTERIM + b"\r\nHTTP/1.1 200", http.client.BadStatusLine),
                (INTERIM + b"\r\n" + SECTION, http.client.IncompleteRead)):
            self.check_closed(data, cls)

    # Guard: not one byte of the final response has come.
    def test_inside_interim_response(self):
        for data in INTERIM[:30], INTERIM, INTERIM + b"\r\n":
            self.check_closed(data, http.client.HTTPException)


class TunnelTests(unittest.TestCase):

    def connect(self, data):
        def script(link):
            link.request()
            link.send(data)
            link.close()

        with Peer(script) as peer:
            conn = peer.connect()
            conn.set_tunnel("example.com", 80)
            try:
                conn.connect()
            finally:
                self.assertIsNone(conn.sock)

    def test_cut_answer_opens_no_tunnel(self):
        for data in (b"", b"H", b"HTTP/1.1 200", b"HTTP/1.1 200 OK",
                     b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX: y",
                     b"HTTP/1.1 200 OK\r\nX: y\r\n", INTERIM + b"\r\n"):
            with (self.subTest(data=data),
                  self.assertRaises((OSError, http.client.HTTPException))):
                self.connect(data)

    # Guard: the status says more than the cut does.
    def test_cut_refusal(self):
        with self.assertRaisesRegex(OSError, "Tunnel connection failed: 407"):
            self.connect(b"HTTP/1.1 407 Proxy Authentication Required\r\nX")


def stand_alone(data):
    """Return a response that is read from a file, not from a connection."""
    class Socket:
        def makefile(self, mode):
            return io.BufferedReader(io.BytesIO(data))

    received = http.client.HTTPResponse(Socket())
    received.begin()
    return received


class OtherStreamTests(unittest.TestCase):
    """The stream is not the connection's."""

    def test_body_from_a_file(self):
        for data, _ in CUTS[:3]:
            for name in READERS:
                with (self.subTest(data=data, reader=name),
                      self.assertRaises(http.client.IncompleteRead)):
                    list(READERS[name](stand_alone(data)))

    def test_class_with_its_own_reader(self):
        class Response(http.client.HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)
                self.fp.close()
                self.fp = sock.makefile("rb")

        def script(link):
            link.request()
            link.send(LENGTH + b"ab")
            link.close()

        with Peer(script) as peer:
            conn = peer.connect()
            conn.response_class = Response
            conn.request("GET", "/")
            received = conn.getresponse()
            self.assertEqual(received.read(9), b"ab")
            self.assertRaises(http.client.IncompleteRead, received.read, 9)

    # Guard: here, the last line ends have always been optional.
    def test_missing_line_ends(self):
        for data, body in ((b"HTTP/1.1 200", b""),
                           (b"HTTP/1.1 200 OK\r\nContent-Length: 0", b""),
                           (chunked(b"2\r\nab\r\n", b"0\r\n"), b"ab")):
            with self.subTest(data=data):
                self.assertEqual(stand_alone(data).read(), body)


class UrlretrieveTests(unittest.TestCase):

    def check_raises(self, cls, data):
        def script(link):
            link.request()
            link.send(data)
            link.close()

        self.addCleanup(urllib.request.urlcleanup)
        with Peer(script) as peer, self.assertRaises(cls):
            urllib.request.urlretrieve(f"http://{HOST}:{peer.port}")

    # Guard: with a length, it goes on raising ContentTooShortError.
    def test_length(self):
        for body in b"", b"abc":
            with self.subTest(body=body):
                self.check_raises(urllib.error.ContentTooShortError,
                                  LENGTH + body)

    # Guard: a body in chunks raised this exception before.
    def test_chunks(self):
        self.check_raises(http.client.IncompleteRead,
                          chunked(b"5\r\nabcde\r\n", b"0"))


if __name__ == "__main__":
    unittest.main()
