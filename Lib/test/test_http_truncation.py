"""IncompleteRead is raised if a connection ends inside a response."""

import http.client
import io
import unittest
import urllib.error
import urllib.request
from http.client import BadStatusLine, HTTPException, IncompleteRead
from test.http_peer import (HOST, READERS, Link, OwnReader, Peer, PeerTestCase,
                            answering, chunked, over_tls, read_from_file,
                            response, wait_readable)

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


class TruncationTestCase(PeerTestCase):

    def check_fresh(self, conn):
        if conn.sock is not None:
            wait_readable(conn.sock)
        super().check_fresh(conn)

    def check_cut(self, data, body, reader):
        parts = []
        with self.subTest(reader=reader), self.answered(data) as conn:
            received = conn.getresponse()
            with self.assertRaises(IncompleteRead) as caught:
                for part in READERS[reader](received):
                    parts.append(part)
            parts.append(caught.exception.partial)
            self.assertEqual(b"".join(parts), body)
            self.assertTrue(received.isclosed())
            self.check_fresh(conn)
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
                with self.subTest(reader=reader), self.answered(data) as conn:
                    self.assertEqual(b"".join(read(conn.getresponse())),
                                     b"ab\ncd")
                    self.check_fresh(conn)


class MoreBodyTests(TruncationTestCase):

    def test_each_position(self):
        for data, body in cut_everywhere():
            self.check_cut(data, body, "read")
            self.check_cut(data, body, "read1")

    def test_chunks_read_after_a_peek(self):
        # HTTPResponse parses the chunks if a part of them has been read.
        for rest in b"0", b"0\r\nX: y\r\n":
            for name, read in READERS.items():
                with (self.subTest(name),
                      self.answered(chunked(b"2\r\nab\r\n" + rest)) as conn):
                    received = conn.getresponse()
                    received.fp.peek()
                    with self.assertRaises(IncompleteRead):
                        list(read(received))
                    self.check_fresh(conn)

    # Guard: a decoder may return less than the response has.
    def test_decoder_in_place_of_the_file(self):
        for name, read in READERS.items():
            if name in ("read", "read(-1)", "read(1), read", "peek"):
                continue        # all or nothing, or not every file has it
            with (self.subTest(name),
                  self.answered(response(b"ab\ncd")) as conn):
                received = conn.getresponse()
                received.fp = io.BytesIO(received.fp.read()[:4])
                self.assertEqual(b"".join(read(received)), b"ab\nc")

    def test_expected(self):
        for data, expected in ((LENGTH + b"abc", 7),
                               (chunked(b"3\r\nabc"), None)):
            for name, read in READERS.items():
                with self.subTest(name), self.answered(data) as conn:
                    received = conn.getresponse()
                    self.assertEqual(received.read(3), b"abc")
                    with self.assertRaises(IncompleteRead) as caught:
                        list(read(received))
                    self.assertEqual(caught.exception.partial, b"")
                    self.assertEqual(caught.exception.expected, expected)

    # Guard: all that has been received is in the exception.
    def test_large_body(self):
        size = 5 << 19
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (3 << 20)
        with self.answered(data + bytes(size)) as conn:
            with self.assertRaises(IncompleteRead) as caught:
                conn.getresponse().read()
            self.assertEqual(len(caught.exception.partial), size)
            self.assertEqual(caught.exception.expected, 1 << 19)

    def test_lines(self):
        for data in (LENGTH + b"a\n\nbc", chunked(b"8\r\na\n\nbc"),
                     chunked(b"1\r\na\r\n", b"3\r\n\n\nb\r\n", b"1\r\nc\r\n")):
            with self.answered(data) as conn:
                received = conn.getresponse()
                self.assertEqual(received.readline(-1), b"a\n")
                self.assertEqual(received.readline(-2), b"\n")
                self.assertEqual(received.readline(1), b"b")
                self.assertEqual(received.readline(0), b"")
                self.assertEqual(received.readline(9), b"c")
                with self.assertRaises(IncompleteRead):
                    received.readline()

    # Guard: an empty read does not look for the end.
    def test_reading_nothing(self):
        for data in LENGTH, b"HTTP/1.1 200 OK\r\n\r\n":
            with self.answered(data) as conn:
                received = conn.getresponse()
                self.assertEqual(received.read(0), b"")
                self.assertEqual(received.read1(0), b"")
                self.assertEqual(received.readline(0), b"")
                self.assertEqual(received.readinto(bytearray()), 0)
                self.assertFalse(received.isclosed())


@over_tls
class HeadTests(TruncationTestCase):

    def check_closed(self, data, cls):
        with self.answered(data) as conn, self.assertRaises(cls):
            conn.getresponse()

    # Guard: before the first byte, the exception is as before.
    def test_nothing(self):
        self.check_closed(b"", http.client.RemoteDisconnected)

    def test_each_position(self):
        step = 1 if self.tls is None else 7
        for interim in b"", INTERIM + b"\r\n":
            for size in range(1, len(SECTION) + 1, step):
                data = SECTION[:size]
                self.check_closed(interim + data, IncompleteRead
                                  if b"\n" in data else BadStatusLine)

    # Guard: not one byte of the final response has come.
    def test_inside_interim_response(self):
        for data in INTERIM[:30], INTERIM, INTERIM + b"\r\n":
            self.check_closed(data, HTTPException)


class TunnelTests(PeerTestCase):

    def connect(self, data):
        with self.serve(answering(data, end=Link.close)) as conn:
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
                  self.assertRaises((OSError, HTTPException))):
                self.connect(data)

    # Guard: the status says more than the cut does.
    def test_cut_refusal(self):
        with self.assertRaisesRegex(OSError, "Tunnel connection failed: 407"):
            self.connect(b"HTTP/1.1 407 Proxy Authentication Required\r\nX")


class OtherStreamTests(PeerTestCase):
    """The stream is not the connection's."""

    def test_body_from_a_file(self):
        for data, _ in CUTS[:3]:
            for name, read in READERS.items():
                with (self.subTest(data=data, reader=name),
                      self.assertRaises(IncompleteRead)):
                    list(read(read_from_file(data)))

    def test_class_with_its_own_reader(self):
        with self.answered(LENGTH + b"ab") as conn:
            conn.response_class = OwnReader
            received = conn.getresponse()
            self.assertEqual(received.read(9), b"ab")
            self.assertRaises(IncompleteRead, received.read, 9)

    # Guard: here, the last line ends have always been optional.
    def test_missing_line_ends(self):
        for data, body in ((b"HTTP/1.1 200", b""),
                           (b"HTTP/1.1 200 OK\r\nContent-Length: 0", b""),
                           (chunked(b"2\r\nab\r\n", b"0\r\n"), b"ab")):
            with self.subTest(data=data):
                self.assertEqual(read_from_file(data).read(), body)


class UrlretrieveTests(unittest.TestCase):

    def check_raises(self, cls, data):
        self.addCleanup(urllib.request.urlcleanup)
        with (Peer(answering(data, end=Link.close)) as peer,
              self.assertRaises(cls)):
            urllib.request.urlretrieve(f"http://{HOST}:{peer.port}")

    # Guard: with a length, it goes on raising ContentTooShortError.
    def test_length(self):
        for body in b"", b"abc":
            with self.subTest(body=body):
                self.check_raises(urllib.error.ContentTooShortError,
                                  LENGTH + body)

    # Guard: a body in chunks raised this exception before.
    def test_chunks(self):
        self.check_raises(IncompleteRead,
                          chunked(b"5\r\nabcde\r\n", b"0"))


if __name__ == "__main__":
    unittest.main()
