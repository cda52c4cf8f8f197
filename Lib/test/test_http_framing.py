"""Test where the body of a response ends, and whether the connection is kept.

ROWS is one table for all tests: what a server sends, the body that http.client
reads from it, and whether another request is sent over the connection.
Each row is tried with each condition; all combinations of them would take
minutes.
"""

import contextlib
import io
import shutil
import socket
import sys
import unittest
from http.client import (BadStatusLine, HTTPConnection, HTTPException,
                         HTTPResponse, IncompleteRead, UnknownProtocol)
from os import path
from typing import NamedTuple

from test import support
from test.support import LOOPBACK_TIMEOUT, socket_helper

try:
    import ssl
except ImportError:
    ssl = None

support.requires_working_socket(module=True)

CERTFILE = path.join(support.TEST_HOME_DIR, "certdata", "keycert.pem")

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


def answer(body):
    return join(b"Content-Length: %d" % len(body)) + body


FORGED = answer(b"forged")
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
             b"4\r\n "],
    ENDED: [b"", b" ", b"-4", b"-1", b"0x4", b"4.0", b"4e0", b"4 4", b"4a",
            b"4;", b"4;q=1", b"'4'", b'"4"', b"\xb2", b"_4", b"4_", b"++4",
            b"+ 4", b"4\x1f", b"\xd9\xa4", b"4, 5", b"5, 4", b"4, -4",
            b"4, x", b"x, 4", b"4,", b",4", b",", b"4\r\n 4", b"4/4"],
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
for kept, sections in {
    KEPT: [
        b"A: b\r\nContent-Length: 4\r\nC: d", b"content-length: 4",
        b"CONTENT-LENGTH:4", b"A:\r\nContent-Length: 4\r\nB: ",
        b"Content-Length: 4\r\nContent-Length: 4",
        b"Content-Length: 4\r\nA: b\r\ncontent-length:4\t",
        b"X: \xe9\xff\r\nContent-Length: 4", b"Content-Length: 4\r\nX: a\tb",
        b"X-Content-Length: 5\r\nContent-Length: 4",
        b"!#$%&'*+-.^_`|~09azAZ: x\r\nContent-Length: 4",
        b"Content-Type: multipart/mixed; boundary=x\r\nContent-Length: 4",
        b"Content-Length: 4\r\nContent-Type: message/rfc822",
        b"Connection: keep-alive\r\nContent-Length: 4",
        b"Connection: TE\r\nContent-Length: 4",
        b"Proxy-Connection: close\r\nContent-Length: 4",
        b"Keep-Alive: timeout=0\r\nContent-Length: 4",
        b"TE: chunked\r\nContent-Length: 4",
        b"X-Transfer-Encoding: chunked\r\nContent-Length: 4",
    ],
    CLOSED: [       # If they differ, the first length bounds the body.
        b"Content-Length: 4\r\nContent-Length: 5",
        b"Content-Length: 4\r\nContent-Length: 04",
        b"Content-Length: 4\r\nContent-Length:",
        b"Content-Length: 4\r\nA: b\r\nContent-Length: x",
        b"Content-Length: 4\r\nContent-Length: 4, 4",
        b"Content-Length: 4, 4\r\nContent-Length: 4",
        b"Content-Length: 4, 4\r\nContent-Length: 4, 4",
        b"Connection: close\r\nContent-Length: 4",
        b"Content-Length: 4\r\nConnection: Close",
        b"connection:\tCLOSE \r\nContent-Length: 4",
        b"Connection: keep-alive, close\r\nContent-Length: 4",
        b"Connection: close,TE\r\nContent-Length: 4",
        b"Connection: keep-alive\r\nConnection: close\r\nContent-Length: 4",
        b"Connection: close\r\nConnection: keep-alive\r\nContent-Length: 4",
        b"Connection: TE,\r\n close\r\nContent-Length: 4",
        b"Connection : close\r\nContent-Length: 4", b"Content-Length : 4",
        b"Content-Length\t: 4", b"A: b\r\nContent-Length  :4\r\nC: d",
        b"Content-Length : 4, 4", b" Content-Length: 4",
        b"\tA: b\r\nContent-Length: 4", b"A: b\r\n \r\nContent-Length: 4",
        b"Content-Length: 4\r\nA: b\r\n c\r\n d",
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
               b"200 OK\0", b"200 OK\rContent-Length: 5"):
    add(LENGTH, kept=CLOSED, status=status)
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
              b"gzip\r\ntransfer-encoding: chunked"):
    add(b"Transfer-Encoding: " + value, CHUNKS, CHUNKS, CLOSED)
for value in (b"", b" ", b"identity", b"gzip", b"chunked, identity", b"chunke",
              b"xchunked", b"chunked, gzip", b"chunked;q=1", b'"chunked"',
              b"chunked x", b"chunkedchunked", b"\x0bchunked", b"chunked\0",
              b"chunked\xa0", b"chunked,", b",chunked", b"chunked\r\n ",
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


def read(response):
    return response.read()


def _until_empty(function, *args):
    return b"".join(iter(lambda: function(*args), b""))


def _readinto(response):
    buffer = bytearray(3)
    return _until_empty(lambda: bytes(buffer[:response.readinto(buffer)]))


def _peek(response):
    data = b""
    while peeked := response.peek(3):
        piece = response.read(2)
        if piece[:1] != peeked[:1]:
            raise AssertionError(f"peeked at {peeked}, and read {piece}")
        data += piece
    return data + response.read()


def _copy(response):
    target = io.BytesIO()
    shutil.copyfileobj(response.fp, target)
    return target.getvalue()


WAYS = {
    "read()": read,
    "read(3)": lambda response: _until_empty(response.read, 3),
    "read(-1)": lambda response: response.read(-1),
    "read1()": lambda response: _until_empty(response.read1),
    "read1(3)": lambda response: _until_empty(response.read1, 3),
    "readinto()": _readinto,
    "readline()": lambda response: _until_empty(response.readline),
    "readline(3)": lambda response: _until_empty(response.readline, 3),
    "iteration": b"".join,
    "read(1), read()": lambda response: response.read(1) + response.read(),
    "peek()": _peek,
}
# These return the chunks as they are sent, and do not check them.
RAW_WAYS = {
    "fp.read()": lambda response: response.fp.read(),
    "fp.read(3)": lambda response: _until_empty(response.fp.read, 3),
    "fp.read1()": lambda response: _until_empty(response.fp.read1),
    "fp.readline()": lambda response: _until_empty(response.fp.readline),
    "copyfileobj": _copy,
}
ALL_WAYS = WAYS | RAW_WAYS


def is_cut(row):
    return row.ends and row.expected is IncompleteRead


def is_endless(row):
    """Tell whether response.fp has no end."""
    return row.kept is SPOILT and row.expected == b"" and not row.ends


def can_read(row, way):
    """Tell whether this way of reading comes to an end."""
    return not is_endless(row) or way in WAYS and way != "peek()"


def get_expected(row, way, outcome):
    """Return what run() has to return if *outcome* is what was read."""
    expected = row.expected
    if way in RAW_WAYS and (expected is IncompleteRead
                            or isinstance(expected, bytes)):
        expected = row.body
        if row.expected is IncompleteRead and not isinstance(outcome, type):
            expected = row.body[:len(outcome)]
    elif isinstance(expected, type) and isinstance(outcome, type):
        if issubclass(outcome, expected):
            expected = outcome
    return expected, row.kept


class Pieces(socket.socket):
    """A socket that receives no more at once than the next size says."""

    sizes = iter(())

    def recv_into(self, buffer, nbytes=0, flags=0):
        size = next(self.sizes, len(buffer))
        return super().recv_into(memoryview(buffer)[:size], nbytes, flags)


class Connection(HTTPConnection):
    """A client's connection together with the server's sockets, links."""

    def __init__(self, server):
        super().__init__(*server.listener.getsockname()[:2],
                         timeout=server.timeout)
        self.server = server
        self.links = []

    def connect(self):
        super().connect()
        link, _ = self.server.listener.accept()
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.links.append(link)
        if self.server.contexts:
            self._start_tls()
        else:
            self.sock = Pieces(fileno=self.sock.detach())
        for sock in self.sock, self.links[-1]:
            sock.settimeout(self.timeout)

    def _start_tls(self):
        # A thread for the server is not needed.
        client, server = self.server.contexts
        self.sock = client.wrap_socket(self.sock, server_hostname="localhost",
                                       do_handshake_on_connect=False)
        self.links[-1] = server.wrap_socket(self.links[-1], server_side=True,
                                            do_handshake_on_connect=False)
        waiting = [self.sock, self.links[-1]]
        while waiting:
            sock = waiting.pop(0)
            sock.settimeout(0)
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                waiting.append(sock)

    def receive_request(self, target):
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            data = self.links[-1].recv(65536)
            if not data:
                break
            request += data
        if target not in request.partition(b"\r\n")[0]:
            raise AssertionError(f"the server has received {request}")

    def send_response(self, data, sizes=()):
        """Let the client receive *data* in pieces of these sizes."""
        if not self.server.contexts:
            self.sock.sizes = iter(sizes)
            sizes = ()
        for size in *sizes, len(data):      # each is a TLS record
            self.links[-1].sendall(data[:size])
            data = data[size:]

    def ask(self, name):
        """Exchange a request and its response, which are called *name*."""
        self.request("GET", "/" + name)
        self.receive_request(name.encode())
        for link in self.links[:-1]:
            with contextlib.suppress(OSError):
                link.sendall(FORGED)
        self.send_response(answer(name.encode()))
        body = self.getresponse().read()
        if body != name.encode():
            raise AssertionError(f"{body} is the response to {name}")

    def close_all(self):
        self.close()
        for link in self.links:
            link.close()


class Server:
    """A listening socket.  All else is done by Connection."""

    def __init__(self, tls=False, timeout=LOOPBACK_TIMEOUT):
        self.listener = socket.create_server((socket_helper.HOST, 0))
        self.timeout = timeout
        self.contexts = None
        if tls:
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client.load_verify_locations(CERTFILE)
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(CERTFILE)
            self.contexts = client, server

    def close(self):
        self.listener.close()


def run(server, row, read=read, *, sizes=(), before=False, behind=b""):
    """Read the response of *row*, and send another request.

    Return the body or the type of an exception, and what has happened to the
    connection.

    sizes -- of the pieces that the client receives
    before -- whether there is an earlier exchange on the connection
    behind -- bytes that the server sends together with the response
    """
    conn = Connection(server)
    with contextlib.ExitStack() as stack:
        stack.callback(conn.close_all)
        if before:
            conn.ask("before")
        conn.request(row.method, "/row", headers=row.headers)
        conn.receive_request(b"row")
        conn.send_response(row.head + row.body + behind, sizes)
        link = conn.links[-1]
        if row.ends:
            link.shutdown(socket.SHUT_WR)
        kept = SPOILT
        response = None
        try:
            response = conn.getresponse()
            stack.callback(response.close)
            if response.will_close:
                kept = CLOSED if conn.sock is None else "will_close, but open"
            outcome = read(response)
        except (HTTPException, OSError) as exc:
            outcome = type(exc)
            if response is None:
                conn.close()
        conn.ask("second")
        if conn.links[-1] is link:
            kept = KEPT if kept is SPOILT else "used in spite of will_close"
    return outcome, kept


# A few rows of each framing, for what takes many tries.
SAMPLES = ROWS[::15]


class FramingTests(unittest.TestCase):

    tls = False

    def setUp(self):
        self.server = Server(self.tls)
        self.addCleanup(self.server.close)

    def check(self, row, way="read()", **kwargs):
        outcome = None
        with self.subTest(row=row.name, way=way, **kwargs):
            outcome, kept = run(self.server, row, ALL_WAYS[way], **kwargs)
            if kwargs.get("behind") and row.kept is KEPT:
                row = row._replace(kept=SPOILT)
            self.assertEqual((outcome, kept), get_expected(row, way, outcome))
        if outcome in (None, OSError, TimeoutError):
            self.fail("stopped here: the next rows may time out as well")

    def test_rows(self):
        for row in ROWS:
            self.check(row)

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

    def test_ways_of_reading(self):
        for row in SAMPLES:
            for way in RAW_WAYS if is_cut(row) else ALL_WAYS:
                if can_read(row, way):
                    self.check(row, way)

    def test_ways_of_reading_in_pieces(self):
        for row in SAMPLES:
            for way in RAW_WAYS if is_cut(row) else ALL_WAYS:
                if can_read(row, way):
                    self.check(row, way, sizes=[len(row.head), 1, 1, 2])

    def test_cut_in_two(self):
        for row in SAMPLES:
            for size in range(1, len(row.head + row.body)):
                self.check(row, sizes=[size])

    def get_response(self, data, method="GET"):
        conn = Connection(self.server)
        self.addCleanup(conn.close_all)
        conn.request(method, "/")
        conn.receive_request(b"/")
        conn.send_response(data)
        response = conn.getresponse()
        self.addCleanup(response.close)
        return conn, response

    def test_no_body_is_not_chunked(self):
        for method, status in [("GET", b"204 x"), ("GET", b"304 x"),
                               ("HEAD", b"200 x"), ("GET", b"101 x"),
                               ("CONNECT", b"200 x")]:
            with self.subTest(method=method, status=status):
                _, response = self.get_response(join(CHUNKED, status=status),
                                                method)
                self.assertFalse(response.chunked)
                self.assertEqual(response.length, 0)

    def test_fp_goes_on_after_switching_protocols(self):
        for row in filter(is_endless, ROWS):
            conn, response = self.get_response(row.head + b"hello",
                                               row.method)
            self.assertEqual(response.fp.peek(1), b"hello", row)
            self.assertEqual(response.fp.read1(), b"hello", row)
            conn.send_response(FORGED)
            self.assertEqual(response.fp.read(len(FORGED)), FORGED, row)
            self.assertEqual(response.read(), b"", row)
            conn.ask("second")
            self.assertEqual(len(conn.links), 2, row)

    def test_huge_length(self):
        # This asks neither for memory nor for what has not come.
        for head in [join(b"Content-Length: " + b"9" * 20),
                     join(b"Content-Length: +10000000000"),
                     join(CHUNKED) + b"ffffffffffffffff\r\n"]:
            for read in [lambda response: response.read1(),
                         lambda response: response.read1(sys.maxsize),
                         lambda response: response.readline(),
                         lambda response: response.read(5),
                         lambda response: next(response)]:
                _, response = self.get_response(head + b"body\n")
                self.assertEqual(read(response), b"body\n", head)

    # Guard: the chunks are read as they come.
    def test_huge_amount(self):
        data = join(CHUNKED) + b"5\r\nbody\n\r\n0\r\n\r\n"
        for amount in 10**11, sys.maxsize, 10**20:
            _, response = self.get_response(data)
            self.assertEqual(response.read(amount), b"body\n", amount)
            self.assertEqual(response.read(amount), b"", amount)

    def test_chunks_without_blocking(self):
        for read in [HTTPResponse.read, HTTPResponse.read1,
                     HTTPResponse.readline, lambda r: r.read(100),
                     lambda r: r.readinto(bytearray(100))]:
            conn, response = self.get_response(
                join(CHUNKED) + b"5\r\nfirst\r\n")
            self.assertEqual(response.read(5), b"first")
            conn.sock.settimeout(0)
            with self.assertRaises((IncompleteRead, OSError)):
                read(response)
            conn.send_response(b"4\r\nlast\r\n0\r\n\r\n")
            conn.sock.settimeout(support.SHORT_TIMEOUT)
            self.assertEqual(response.read(), b"last")


@unittest.skipIf(ssl is None, "TLS is not available")
class TLSFramingTests(FramingTests):

    tls = True

    # These take longer, and differ little from the others over TLS.
    test_cut_in_two = None
    test_huge_length = None
    test_each_byte_on_its_own = None
    test_kept_connection = None
    test_ways_of_reading = None


if __name__ == "__main__":
    unittest.main()
