"""Whether a connection may carry another request (private to http.client).

A response that did not end exactly where its framing said leaves a
connection on which nobody knows where the next one begins; bytes of its
body could pass for a response (RFC 9112, sections 6.3 and 9.2).  The same
goes for a server that waits for the rest of a request.  Every rule here
fails closed: in doubt, the connection is not used again.
"""

import re
import weakref
from http import HTTPStatus
from http._reader import Reader

_is_plain_number = re.compile(r"[0-9]+").fullmatch

# A chunk's first line.  int() and readline() accept more than the grammar
# of RFC 9112, section 7.1, does, and so does not every peer.
is_chunk_line = re.compile(
    rb"[0-9A-Fa-f]{1,16}[ \t]*(?:;[^\r\n]*)?\r\n").fullmatch


class SocketUse:
    """What an HTTPConnection remembers of the socket it is using."""

    __slots__ = ("sock", "opened", "spent", "reader", "lent", "_connection")

    def __init__(self, connection, *, opened=False):
        self.sock = connection.sock
        # True if connect() is known to have made the socket, so that it can
        # make another.
        self.opened = opened
        # True once no further request may go out over this socket.  Never
        # reset: a connection that goes on does so with another socket.
        self.spent = False
        # The socket's Reader, from the first response that can borrow one;
        # lent is True until that has given it back at the body's end.
        self.reader = None
        self.lent = False
        # A response may outlive its connection, and does not keep it alive.
        self._connection = weakref.ref(connection)

    def get_reader(self):
        """Return the reader, making it if need be."""
        if self.reader is None:
            self.reader = Reader(self.sock)
        return self.reader

    def lend(self):
        """Return the reader, for one response."""
        self.lent = True
        reader = self.get_reader()
        reader.raw.hold()
        return reader

    def reclaim(self):
        """Take the reader back; it was not read from, or all was read."""
        self.lent = False
        self.reader.raw.release()

    def take_back(self, fp, ended):
        """Take back what a response has read from, if it was lent.

        Return False if it is of no more use here, so that the response has
        to close it.  *ended* tells whether all of the response was read.
        """
        if not ended:
            self.spent = True
        if fp is not self.reader or self.spent:
            return False
        self.reclaim()
        return True

    def close(self):
        """Close the reader, but for a response that goes on with it."""
        if self.reader is not None and not self.lent:
            self.reader.close()

    def abandon(self):
        """Close the connection, as a response will not be read any more."""
        self.spent = True
        connection = self._connection()
        if connection is not None:
            connection._abandon(self)


def announces_close(headers):
    """Tell whether any Connection field has the option "close"."""
    return any(option.strip(" \t").lower() == "close"
               for field in headers.get_all("connection", ())
               for option in field.split(","))


def _has_content(message):
    payload = message.get_payload()
    if isinstance(payload, list):
        return any(len(part) or _has_content(part) for part in payload)
    return bool(payload)


def is_framing_ambiguous(version, status, headers):
    """Tell whether peers may differ on where this response ends.

    *version* is 10 or 11, as in HTTPResponse.version.
    """
    if _has_content(headers):
        # The parser stopped at a line that is no header field: what follows
        # it could have been framing.
        return True
    codings = headers.get_all("transfer-encoding", ())
    lengths = {length.strip(" \t")
               for length in headers.get_all("content-length", ())}
    if codings:
        return (len(codings) > 1
                or codings[0].lower() != "chunked"
                or bool(lengths)
                or version < 11
                or status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))
    if not lengths:
        return False
    if len(lengths) > 1:
        return True
    length = lengths.pop()
    if status == HTTPStatus.NO_CONTENT and length.strip("0"):
        return True
    return not _is_plain_number(length)


def leaves_http(method, status):
    """Tell whether the connection speaks another protocol from here on."""
    if status == HTTPStatus.SWITCHING_PROTOCOLS:
        return True
    return method == "CONNECT" and 200 <= status < 300


_transfer_codings = re.compile(
    rb"\r\ntransfer-encoding:[ \t]*([^\r\n]*)").findall
_content_lengths = re.compile(
    rb"\r\ncontent-length:[ \t]*([^\r\n]*)").findall


class SentRequest:
    """How much of a request has been sent, judged by its own framing.

    It is given what goes out, as it goes out, so it does not matter which
    method, whose override, or which body sent it.
    """

    __slots__ = ("_step", "_seen", "_left")

    # A line or a header section that grows beyond this is not followed.
    _MAX_SEEN = 1 << 20

    def __init__(self):
        self._step = self._head     # what the next bytes are; None: the end
        self._seen = b""            # the line or header section so far
        self._left = 0              # bytes still missing of a body or chunk

    @property
    def whole(self):
        """True if a server has got all of the request, and no more."""
        return self._step is None

    def feed(self, data):
        """Take note that *data* has been sent."""
        try:
            data = memoryview(data).cast("B")
        except TypeError:       # something that only a mock socket can send
            self._step = self._lost
        while data and self._step is not None:
            data = self._step(data)
        if data:
            # More than the framing announced: the rest would be taken for
            # the beginning of another request.
            self._step = self._lost

    def _lost(self, data):
        return b""

    def _until(self, mark, data):
        """Collect *data* up to *mark*; return (collected or None, rest)."""
        known = len(self._seen)
        self._seen += bytes(data[:self._MAX_SEEN])
        end = self._seen.find(mark, max(0, known - len(mark)))
        if end < 0:
            if len(self._seen) >= self._MAX_SEEN:
                self._step = self._lost
            return None, b""
        collected, self._seen = self._seen[:end], b""
        return collected, data[end + len(mark) - known:]

    def _head(self, data):
        head, data = self._until(b"\r\n\r\n", data)
        if head is None:
            return data
        head = head.lower()
        codings = _transfer_codings(head)
        lengths = set(_content_lengths(head))
        if codings:
            chunked = codings == [b"chunked"] and not lengths
            self._step = self._chunk_line if chunked else self._lost
        elif not lengths or lengths == {b"0"}:
            self._step = None
        elif len(lengths) == 1 and (length := lengths.pop()).isdigit():
            self._left = int(length)
            self._step = self._body
        else:
            self._step = self._lost
        return data

    def _body(self, data):
        taken = min(self._left, len(data))
        self._left -= taken
        if not self._left:
            self._step = None
        return data[taken:]

    def _chunk_line(self, data):
        line, data = self._until(b"\r\n", data)
        if line is None:
            return data
        if not is_chunk_line(line + b"\r\n"):
            self._step = self._lost
            return b""
        self._left = int(line.partition(b";")[0], 16)
        if self._left:
            self._left += 2     # the chunk's own CRLF
            self._step = self._chunk
        else:
            self._step = self._trailer
        return data

    def _chunk(self, data):
        taken = min(self._left, len(data))
        self._left -= taken
        if not self._left:
            self._step = self._chunk_line
        return data[taken:]

    def _trailer(self, data):
        line, data = self._until(b"\r\n", data)
        if line == b"":
            self._step = None
        return data
