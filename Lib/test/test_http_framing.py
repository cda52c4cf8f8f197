"""Test where the body of a response ends, and whether the connection is kept.

ROWS is one table for all tests: what a server sends, the body that http.client
reads from it, and whether another request is sent over the connection.
Each row is tried with each condition; all combinations of them would take
minutes.
"""

import contextlib
import socket
import sys
import unittest
from http.client import (BadStatusLine, HTTPException, HTTPResponse,
                         IncompleteRead, UnknownProtocol)
from typing import NamedTuple

from test import support
from test.http_peer import (FORGED, FP_READERS, READERS, Peer, PeerTestCase,
                            answering, chunked, in_pieces, over_tls, response,
                            ssl)

# What happens to the connection.
KEPT = "kept"
CLOSED = "closed after the header section"      # will_close is true
SPOILT = "replaced before the next request"     # will_close is false
# Closed after the header section; the server ends it, and thereby the body.
ENDED = "ended"


class Row(NamedTuple):
    name: str
    method: str
    headers: dict       # of the request
    head: bytes
    body: bytes         # as it is sent
    ends: bool          # Does the server end the connection then?
    expected: object    # what is read: bytes, or a type of exception
    kept: str


def join(*fields, status=b"200 OK"):
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"", b""])


CHUNKS = b"4\r\nbody\r\n0\r\n\r\n"
LENGTH = b"Content-Length: 4"
CHUNKED = b"Transfer-Encoding: chunked"
ROWS = []


def add_head(head, body=b"body", expected=b"body", kept=KEPT, *, ends=False,
             method="GET", **headers):
    if kept is ENDED:
        kept, ends = CLOSED, True
    shown = head.removeprefix(b"HTTP/1.1 200 OK\r\n")
    if body != b"body":
        shown += body
    name = [method, *headers.values(), ascii(shown)[2:-1]]
    ROWS.append(Row(" ".join(name), method, headers, head, body, ends,
                    expected, kept))


def add(fields, *args, status=b"200 OK", **kwargs):
    if isinstance(fields, bytes):
        fields = [fields]
    add_head(join(*fields, status=status), *args, **kwargs)


# Content-Length.  What only int() accepts bounds the body, too.
for kept, values in {
    KEPT: [b"4", b" 4", b" 4 ", b"\t4\t", b"   4", b"04", b"0" * 30 + b"4"],
    CLOSED: [b"+4", b" +4 ", b"4,4", b"4, 4", b"4 ,\t4, 4", b"0_4", b"4\xa0",
             b"\xa04", b"\x854", b"4\x0b", b"\x0c4", b"\r\n 4", b"\r\n\t4",
             b"4\r\n ", b"4,", b",4", b"4, ,\t4", b" , 4 ,"],
    ENDED: [b"", b" ", b"-4", b"-1", b"0x4", b"4.0", b"4e0", b"4 4", b"4a",
            b"4;", b"4;q=1", b"'4'", b'"4"', b"\xb2", b"_4", b"4_", b"++4",
            b"+ 4", b"4\x1f", b"\xd9\xa4", b"4, 5", b"5, 4", b"4, -4",
            b"4, x", b"x, 4", b"4,5,", b",", b"4\r\n 4", b"4/4"],
}.items():
    for value in values:
        add(b"Content-Length:" + value, kept=kept)
add(b"Content-Length: 1_0", b"0123456789", b"0123456789", CLOSED)
add(b"Content-Length: 10", b"0123456789", b"0123456789")
add(b"Content-Length: 0", b"", b"")
add(b"Content-Length: -0", b"", b"", CLOSED)
for value in b"8", b"10000000000", b"9" * 20, b"9" * 100:
    value = b"Content-Length: " + value
    add(value, b"body", IncompleteRead, SPOILT, ends=True)
    add([b"X : y", value], b"body", IncompleteRead, CLOSED, ends=True)
for value in b"8, 8", b"+8":
    value = b"Content-Length: " + value
    add(value, b"body", IncompleteRead, CLOSED, ends=True)

# Fields in other places and spellings, and more than one.
for kept, lines in {
    KEPT: [b"Content-Length: 4", b"content-length:4\t", b"X: \xe9\xff",
           b"X: a\tb", b"A:", b"A: ", b"X-Content-Length: 5", b"TE: chunked",
           b"!#$%&'*+-.^_`|~09azAZ: x", b"X-Transfer-Encoding: chunked",
           b"Content-Type: multipart/mixed; boundary=x", b"Connection: TE",
           b"Content-Type: message/rfc822", b"Connection: keep-alive",
           b"Proxy-Connection: close", b"Keep-Alive: timeout=0"],
    CLOSED: [b"Connection: close", b"connection:\tCLOSE ",
             b"Connection: keep-alive, close", b"Connection: close,TE",
             b"Connection: keep-alive\r\nConnection: close",
             b"Connection: close\r\nConnection: keep-alive",
             b"Connection: TE,\r\n close", b"Connection : close",
             b"A: b\r\n c\r\n d", b"Content-Length: 4, 4"],
}.items():
    for line in lines:
        add([line, LENGTH], kept=kept)
        add([LENGTH, line], kept=kept)
for kept, sections in {
    KEPT: [b"A: b\r\nContent-Length: 4\r\nC: d", b"content-length: 4",
           b"CONTENT-LENGTH:4", b"Content-Length: 4\r\nA: b\r\n" + LENGTH],
    CLOSED: [       # If they differ, the first length bounds the body.
        b"Content-Length: 4\r\nContent-Length: 5",
        b"Content-Length: 4\r\nContent-Length: 04",
        b"Content-Length: 4\r\nContent-Length:",
        b"Content-Length: 4\r\nA: b\r\nContent-Length: x",
        b"Content-Length: 4, 4\r\nContent-Length: 4, 4",
        b"Content-Length : 4", b"Content-Length\t: 4", b" Content-Length: 4",
        b"A: b\r\nContent-Length  :4\r\nC: d", b"Content-Length : 4, 4",
        b"\tA: b\r\nContent-Length: 4", b"A: b\r\n \r\nContent-Length: 4",
        b"Content-Length: 4\r\n\rTransfer-Encoding: chunked",
    ],
    ENDED: [
        b"A: b", b"Content-Length-: 4", b"X-Content-Length: 4",
        b"A: b\r\n Content-Length: 4", b"Connection: close",
        b"Connection: keep-alive", b"X: a\rContent-Length: 4",
        b"Content-Length: 4\rX: y", b"Content-Length: 4\0",
        b"Content-Length\0: 4", b"Content-Length: \x004",
        b"Content-Length: 4\r\nContent-Length : 4", b"X: a\rConnection: close",
    ],
}.items():
    for section in sections:
        add(section, kept=kept)
add([], kept=ENDED)

# Lines that are not header fields do not hide the length from peers.
for line in (b"X-Frame-Options : DENY", b"X\t: y", b"My Param: x", b"X\tY: z",
             b"no colon", b"x", b": no name", b":", b"X-\xe9: 1", b"\xff: 1",
             b"X(: 1", b'"X": 1', b"X/Y: 1", b"X: a\0b", b"X\0: a", b"\0",
             b"X: a\rb", b"X: a\r", b"X: a\r\r", b"X:\r", b"X\r: a",
             b"X: \ra", b"X: a\rY: b", b"\r", b"\rX: a", b"\r\r", b"X: a\n\rb",
             b"X: y\r\n folded", b"X:\r\n\tfolded", b"From me: 1", b"\x0b",
             b"HTTP/1.1 200 OK", b"X\x7f: 1", b"X\1: 1", b"\rConnection: a"):
    add([line, LENGTH], kept=CLOSED)
    add([LENGTH, line], kept=CLOSED)
    add([b"A: b", line, LENGTH], kept=CLOSED)
    add([LENGTH, line, b"A: b"], kept=CLOSED)
    add([line, CHUNKED], CHUNKS, kept=CLOSED)

# Line ends, and empty lines before a response.
add_head(b"HTTP/1.1 200 OK\nContent-Length: 4\n\n")
add_head(b"HTTP/1.1 200 OK\r\nContent-Length: 4\n\r\n")
add_head(b"HTTP/1.1 200 OK\nA: b\r\nContent-Length: 4\r\n\n")
for before in b"\r\n", b"\n", b"\r\n\r\n", b"\r\n" * 10:
    add_head(before + join(LENGTH))
    add_head(before + join(status=b"100 Continue") + join(LENGTH))
    add_head(join(status=b"103 E") + before + join(LENGTH))
add_head(b"\r\n" * 200 + join(LENGTH), b"", BadStatusLine, SPOILT)

# Status lines.
for status in (b"200", b"200 ", b"200 \xe9 x", b"599 x", b"205 x", b"404 x"):
    add(LENGTH, status=status)
for status in (b"200 O\rK", b"200 OK\r", b"\r200 OK", b"200\r", b"200 O\0K",
               b"200 OK\0", b"200 OK\rContent-Length: 5", b"+200 OK",
               b"2_00 OK", b" 200 OK", b"0200 OK", b"\t200 OK"):
    add(LENGTH, kept=CLOSED, status=status)
for line in b"HTTP/1. 200 OK", b"HTTP/1.x 200 OK", b"HTTP/1.10 200 OK":
    add_head(line + b"\r\nContent-Length: 4\r\n\r\n", kept=CLOSED)
for line in (b"HTTP/ 100 E", b"HTTP/2.0 103 E", b"HTTP/1.1  100 E",
             b"HTTP/1.1 1_03 E", b"HTTP/1.1 100 \0"):
    add_head(line + b"\r\n\r\n" + join(LENGTH), kept=CLOSED)
for status in b"20 OK", b"2000 OK", b"x", b"", b"-20 OK", b"099 OK":
    add(LENGTH, b"", BadStatusLine, SPOILT, status=status)
for line in b"http/1.1 200 OK", b"HTTP/1.1", b"garbage", b"\0":
    add_head(line + b"\r\n\r\n", b"", BadStatusLine, SPOILT)
add_head(b"HTTP/2.0 200 OK\r\n\r\n", b"", UnknownProtocol, SPOILT)

# Other versions.
for fields, kept in [([], CLOSED),
                     ([b"Connection: keep-alive"], KEPT),
                     ([b"connection: x, Keep-Alive"], KEPT),
                     ([b"Keep-Alive: timeout=5"], KEPT),
                     ([b"Proxy-Connection: keep-alive"], KEPT),
                     ([b"Connection: keep-alive, close"], CLOSED),
                     ([b"Keep-Alive: 5", b"Connection: close"], CLOSED)]:
    def add_old(*more, status=b"200 OK", **kwargs):
        head = join(*fields, *more, status=status)
        add_head(head.replace(b"1.1", b"1.0", 1), **kwargs)

    add_old(LENGTH, kept=kept)
    add_old(CHUNKED, body=CHUNKS, kept=CLOSED)
    add_old(kept=ENDED)
    add_old(status=b"204 x", body=b"", expected=b"", kept=kept)
    add_old(method="HEAD", body=b"", expected=b"", kept=kept)
add_head(b"HTTP/1.2 200 OK\r\nContent-Length: 4\r\n\r\n")
add_head(b"HTTP/0.9 200 OK\r\nContent-Length: 4\r\n\r\n", kept=CLOSED)

# The request asks to close the connection.
for value in "close", "Close", "TE, close":
    add(LENGTH, kept=CLOSED, Connection=value)
    add(CHUNKED, CHUNKS, kept=CLOSED, Connection=value)
add(LENGTH, Connection="keep-alive")

# Transfer-Encoding.  The chunks are decoded if there is no other coding.
for value in (b"chunked", b" chunked ", b"\tchunked\t", b"Chunked",
              b" CHUNKED", b"  chunked  \t"):
    add(b"Transfer-Encoding:" + value, CHUNKS)
for value in (b"identity, chunked", b"gzip, chunked", b"gzip,chunked ",
              b"chunked, chunked", b"x;a=b , CHUNKED", b"gzip,\tchunked\t",
              b"chunked,", b",chunked", b"gzip, chunked , ,",
              b"gzip\r\ntransfer-encoding: chunked"):
    add(b"Transfer-Encoding: " + value, CHUNKS, CHUNKS, CLOSED)
for value in (b"", b" ", b"identity", b"gzip", b"chunked, identity", b"chunke",
              b"xchunked", b"chunked, gzip", b"chunked;q=1", b'"chunked"',
              b"chunked x", b"chunkedchunked", b"\x0bchunked", b"chunked\0",
              b"chunked\xa0", b"chunked, x", b"chunked\r\n ",
              b"chun\r\n ked", b"gzip chunked"):
    add(b"Transfer-Encoding:" + value, CHUNKS, CHUNKS, ENDED)
for fields in ([CHUNKED, CHUNKED], [CHUNKED, b"Transfer-Encoding: gzip"],
               [CHUNKED, b"Transfer-Encoding:"], [CHUNKED, LENGTH],
               [LENGTH, CHUNKED], [b"Content-Length: 0", CHUNKED],
               [b"Content-Length: x", CHUNKED],
               [b"Content-Length: 4, 4", CHUNKED],
               [CHUNKED, b"Content-Length:"],
               [CHUNKED, b"Connection: close"],
               [b"Transfer-Encoding:\r\n chunked"],
               [b"Transfer-Encoding : chunked"],
               [b"Transfer-Encoding : chunked", LENGTH],
               [CHUNKED, b"Content-Length : 4"]):
    add(fields, CHUNKS, kept=CLOSED)
for value in b"identity", b"gzip", b"", b"xchunked", b"chunked, identity":
    add([b"Transfer-Encoding: " + value, LENGTH], kept=CLOSED)
    add([LENGTH, b"Transfer-Encoding: " + value], kept=CLOSED)

# Chunks.
for body in (b"2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
             b"04\r\nbody\r\n00\r\n\r\n",
             b"0000000000000004\r\nbody\r\n0000000000000000\r\n\r\n",
             b"4;x\r\nbody\r\n0;y\r\n\r\n",
             b"4;x=y;z=\"a;b\"\r\nbody\r\n0;\r\n\r\n",
             b"4 ;x\r\nbody\r\n0 ; y = z\r\n\r\n",
             b"4 \r\nbody\r\n0\t\r\n\r\n",
             b"4\t;\xe9\r\nbody\r\n0\r\n\r\n"):
    add(CHUNKED, body)
for line in b"A", b"a", b"0A", b"00a;A":
    add(CHUNKED, line + b"\r\n0123456789\r\n0\r\n\r\n", b"0123456789")
add(CHUNKED, b"4\r\n\r\n0\r\r\n0\r\n\r\n", b"\r\n0\r")
add(CHUNKED, b"1F\r\n" + b"x" * 31 + b"\r\n0\r\n\r\n", b"x" * 31)
add(CHUNKED, b"0\r\n\r\n", b"")
for trailer in (b"A: b\r\n", b"A: b\r\nContent-Length: 5\r\n",
                b"A: \xe9\tb\r\n", b"A:\r\nConnection: close\r\n",
                b"A: b\r\n" * 50):
    add(CHUNKED, b"4\r\nbody\r\n0\r\n" + trailer + b"\r\n")

# Chunks that are read, but that not all peers read alike.
for body in (b"4\nbody\r\n0\r\n\r\n", b"4;x\nbody\r\n0\r\n\r\n",
             b"4\r\nbody\r\n0\n\r\n", b"4\r\nbody\r\n0\r\n\n",
             b"4\r\nbody\r\n0\n\n", b"4\nbody\r\n0\n\n"):
    add(CHUNKED, body, kept=SPOILT)
for trailer in (b"A: b\n\r\n", b"A: b\r\n\n", b"Garbage\r\n\r\n",
                b"A: b\r\nGarbage\r\n\r\n", b"A : b\r\n\r\n",
                b"A B: c\r\n\r\n", b": b\r\n\r\n", b" A: b\r\n\r\n",
                b"A: b\r\n c\r\n\r\n", b"A: b\r\n\tc: d\r\n\r\n",
                b"A: b\0\r\n\r\n", b"A\0: b\r\n\r\n", b"A: b\rc\r\n\r\n",
                b"A: b\r\r\n\r\n", b"\rA: b\r\n\r\n", b"\r\r\n\r\n",
                b"HTTP/1.1 200 OK\r\n\r\n", b"4\r\n\r\n"):
    add(CHUNKED, b"4\r\nbody\r\n0\r\n" + trailer, kept=SPOILT)

# Malformed chunks.
for line in (b"", b" 4", b"\t4", b"+4", b"-4", b"-0", b"0x4", b"0X4", b"0_4",
             b"4_0", b"4.0", b"4g", b"g", b"4 4", b"4,", b"4 x", b"x;4", b";",
             b";x", b"\xb24", b"4\xa0", b"4\x0b", b"4\0", b"4;x\0", b"4\r",
             b"4\r;x", b"4;\rx", b"4;x\r", b"\r", b"\r4", b"0" * 20 + b"4",
             b"1" * 17, b"f" * 40, b"'4'", b"0o4", b"body"):
    line += b"\r\nbody\r\n0\r\n\r\n"
    add(CHUNKED, line, IncompleteRead, SPOILT)
    add(CHUNKED, b"2\r\nbo\r\n" + line, IncompleteRead, SPOILT)
for after in (b"\n", b"XX", b"\r", b"\rX\n", b"", b"\n\r", b"X\r\n", b"\r\r\n",
              b" \r\n", b"\0\r\n", b"\n\n", b"\r\n\r\n", b"\r\n\n", b"X",
              b"\r\nX", b"\r\n ", b"\x85", b" "):
    after = b"4\r\nbody" + after
    add(CHUNKED, after + b"0\r\n\r\n", IncompleteRead, SPOILT)
    add(CHUNKED, after + b"4\r\nbody\r\n0\r\n\r\n", IncompleteRead, SPOILT)
add(CHUNKED, b"10\n" + b"x" * 16 + b"\n10\n" + b"x" * 16 + b"\n0\n\n",
    IncompleteRead, SPOILT)

# Chunks that the end of the connection cuts.
for body in (b"", b"4", b"4\r", b"4\r\n", b"4\r\nbod", b"4\r\nbody",
             b"4\r\nbody\r", b"4\r\nbody\r\n", b"4\r\nbody\r\n0",
             b"4\r\nbody\r\n0\r", b"5\r\nbody\r\n0\r\n\r\n",
             b"7fffffffffffffff\r\nbody", b"ffffffffffffffff\r\nbody"):
    add(CHUNKED, body, IncompleteRead, SPOILT, ends=True)
add(CHUNKED, b"4\r\nbody\r\n0\r\n", kept=SPOILT, ends=True)

# There is no body, whatever the fields say.
for method, status in (("GET", b"204 No Content"), ("GET", b"304 x"),
                       ("HEAD", b"200 OK"), ("HEAD", b"404 Not Found")):
    for fields in ([], [b"A: b"], [b"Content-Length: 0"],
                   [b"Connection: keep-alive"]):
        add(fields, b"", b"", status=status, method=method)
    for fields in ([LENGTH], [LENGTH, LENGTH], [b"Content-Length: 9999999999"],
                   [CHUNKED], [b"Transfer-Encoding:  Chunked\t"]):
        add(fields, b"", b"", CLOSED if b"204" in status else KEPT,
            status=status, method=method)
    for fields in ([b"Connection: close"], [b"Content-Length: 4, 4"],
                   [b"Content-Length: x"], [b"Content-Length: +4"],
                   [LENGTH, b"Content-Length: 5"], [LENGTH, CHUNKED],
                   [b"Transfer-Encoding: gzip"], [b"no colon", LENGTH],
                   [b"Transfer-Encoding: gzip, chunked"], [b"X : y"],
                   [b"X: a\rb"], [b"X: a\0"], [b"X: y\r\n folded"]):
        add(fields, b"", b"", CLOSED, status=status, method=method)
add([], b"", b"", status=b"204 x", method="HEAD")
add(LENGTH, b"", b"", status=b"304 x", method="HEAD")
add(CHUNKED, b"", b"", CLOSED, status=b"204 x", method="DELETE")
add_head(join(status=b"103 E") + join(LENGTH), b"", b"", method="HEAD")

# Interim responses.
for status in b"100 Continue", b"102 P", b"103 E", b"199 x":
    add_head(join(status=status) + join(LENGTH))
    add_head(join(b"A: b", LENGTH, status=status) * 3 + join(CHUNKED), CHUNKS)
    for line in (b"no colon", b"X : y", b"X: a\rb", b"X: a\0", b"\rX: a",
                 b": x", b"X-\xe9: 1"):
        add_head(join(line, status=status) + join(LENGTH), kept=CLOSED)
    add_head(join(status=status + b"\r") + join(LENGTH), kept=CLOSED)
    # Without an empty line, the response is part of the interim response.
    add_head(b"HTTP/1.1 %b\r\n" % status + join(b"Content-Length: 42")
             + join(LENGTH), kept=CLOSED)

# What follows is not HTTP.
for method, status in (("GET", b"101 Switching Protocols"),
                       ("CONNECT", b"200 OK"), ("CONNECT", b"201 Created"),
                       ("CONNECT", b"204 No Content")):
    for fields in [], [LENGTH], [CHUNKED]:
        add(fields, b"", b"", SPOILT, status=status, method=method)
add(LENGTH, status=b"407 x", method="CONNECT")


# peek() need not raise an exception, but read() does then.
READS = READERS | FP_READERS | {
    "peek": lambda received: [*READERS["peek"](received), received.read()]}

# A few rows of each framing, for what takes many tries.
SAMPLES = ROWS[::15]


def get_readers(row):
    """Return the ways of reading that come to an end."""
    if row.ends and row.expected is IncompleteRead:
        return FP_READERS
    if row.kept is SPOILT and row.expected == b"" and not row.ends:
        return READERS.keys() - {"peek"}    # fp has no end
    return READS


class RowTestCase(PeerTestCase):

    def setUp(self):
        self.peer = self.enterContext(
            Peer(*[self.script] * 9999, tls=self.tls))
        self.context = self.tls and self.peer.client_context()

    def script(self, link):
        """Answer /row as self.row says, and other requests by their target."""
        while received := link.request():
            if received.target != b"/row":
                link.send(response(received.target))
                continue
            for part in self.parts:
                link.send(part)
            if self.row.ends:
                with contextlib.suppress(OSError):      # it has closed
                    socket.socket.shutdown(link.sock, socket.SHUT_WR)
        link.close()

    def connect(self, data, sizes):
        """Return a connection that receives *data* in pieces of *sizes*."""
        self.parts = [data]
        if not self.tls:
            return self.peer.connect(mixin=in_pieces(*sizes, len(data)))
        for size in sizes:      # each is a TLS record
            *parts, rest = self.parts
            self.parts = [*parts, rest[:size], rest[size:]]
        return self.peer.connect(context=self.context)

    def ask(self, conn, target):
        conn.request("GET", target)
        self.assertEqual(conn.getresponse().read(), target.encode())

    def check_body(self, row, reader, body):
        if isinstance(row.expected, type):
            if reader in FP_READERS and row.expected is IncompleteRead:
                self.assertTrue(row.body.startswith(body))
            else:
                self.assertIsInstance(body, row.expected)
        else:
            self.assertEqual(
                body, row.body if reader in FP_READERS else row.expected)

    def check(self, row, reader="read", *, sizes=(), before=False, behind=b""):
        """Read the response of *row*, and send another request.

        sizes -- of the pieces that the client receives
        before -- whether there is an earlier exchange on the connection
        behind -- bytes that the server sends together with the response
        """
        done = False
        with (self.subTest(row=row.name, reader=reader, sizes=sizes,
                           before=before, behind=behind),
              contextlib.ExitStack() as stack):
            self.row = row
            conn = self.connect(row.head + row.body + behind, sizes)
            stack.callback(conn.close)
            if before:
                self.ask(conn, "/before")
            conn.request(row.method, "/row", headers=row.headers)
            kept = SPOILT
            received = None
            try:
                received = conn.getresponse()
                stack.callback(received.close)
                if received.will_close:
                    kept = CLOSED
                    self.assertIsNone(conn.sock)
                body = b"".join(READS[reader](received))
            except (HTTPException, OSError) as exc:
                body = exc
                if received is None:
                    conn.close()
            self.ask(conn, "/second")
            (first, _), (second, _) = self.peer.requests[-2:]
            if first == second:
                self.assertIsNot(kept, CLOSED)
                kept = KEPT
            done = not isinstance(body, TimeoutError)
            self.check_body(row, reader, body)
            self.assertIs(kept, SPOILT if behind and row.kept is KEPT
                          else row.kept)
        if not done:
            self.fail("stopped here: the next rows may time out as well")


class RowTests(RowTestCase):

    def test_rows(self):
        for row in ROWS:
            self.check(row)

    def test_ways_of_reading(self):
        for row in SAMPLES[::5] if self.tls else SAMPLES:
            for reader in get_readers(row):
                self.check(row, reader)
                self.check(row, reader, sizes=[len(row.head), 1, 1, 2])


@unittest.skipIf(ssl is None, "TLS is not available")
class TLSRowTests(RowTests):

    tls = ssl and ssl.TLSVersion.TLSv1_3


class MoreRowTests(RowTestCase):

    def test_kept_connection(self):
        for row in ROWS:
            self.check(row, before=True)

    def test_forged_response_behind(self):
        for row in ROWS:
            if not row.ends:
                self.check(row, behind=FORGED)

    def test_each_byte_on_its_own(self):
        for row in ROWS:
            self.check(row, sizes=[1] * len(row.head + row.body))

    def test_cut_in_two(self):
        for row in SAMPLES:
            for size in range(1, len(row.head + row.body)):
                self.check(row, sizes=[size])


@over_tls
class ResponseTests(PeerTestCase):

    def test_no_body_is_not_chunked(self):
        for method, status in [("GET", b"204 x"), ("GET", b"304 x"),
                               ("HEAD", b"200 x"), ("GET", b"101 x"),
                               ("CONNECT", b"200 x")]:
            with (self.subTest(method=method, status=status),
                  self.serve(answering(join(CHUNKED, status=status))) as conn,
                  self.get(conn, method) as received):
                self.assertFalse(received.chunked)
                self.assertEqual(received.length, 0)

    def test_huge_length(self):
        # This asks neither for memory nor for what has not come.
        for head in [join(b"Content-Length: " + b"9" * 20),
                     join(b"Content-Length: +10000000000"),
                     join(CHUNKED) + b"ffffffffffffffff\r\n"]:
            for read in [lambda received: received.read1(),
                         lambda received: (received.fp.peek()
                                           and received.read1()),
                         lambda received: received.read1(sys.maxsize),
                         lambda received: received.readline(),
                         lambda received: received.read(5), next]:
                with (self.serve(answering(head + b"body\n")) as conn,
                      self.get(conn) as received):
                    self.assertEqual(read(received), b"body\n", head)

    # Guard: the chunks are read as they come.
    def test_huge_amount(self):
        message = chunked(b"5\r\nbody\n\r\n0\r\n\r\n")
        for amount in 10**11, sys.maxsize, 10**20:
            with self.serve(answering(message)) as conn:
                received = self.get(conn)
                self.assertEqual(received.read(amount), b"body\n", amount)
                self.assertEqual(received.read(amount), b"", amount)

    def test_chunks_without_blocking(self):
        for read in [HTTPResponse.read, HTTPResponse.read1,
                     HTTPResponse.readline, lambda r: r.read(100),
                     lambda r: r.readinto(bytearray(100))]:
            conn = self.start(chunked(b"5\r\nfirst\r\n"),
                              b"4\r\nlast\r\n0\r\n\r\n")
            conn.request("GET", "/")
            self.go_on()
            received = conn.getresponse()
            self.assertEqual(received.read(5), b"first")
            conn.sock.settimeout(0)
            with self.assertRaises((IncompleteRead, OSError)):
                read(received)
            self.go_on()
            conn.sock.settimeout(support.SHORT_TIMEOUT)
            self.assertEqual(received.read(), b"last")


if __name__ == "__main__":
    unittest.main()
