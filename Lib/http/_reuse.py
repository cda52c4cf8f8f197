"""Whether a connection may carry another request (private to http.client).

A response that did not end exactly where its framing said leaves a
connection on which nobody knows where the next one begins; bytes of its
body could pass for a response (RFC 9112, sections 6.3 and 9.2).  The same
goes for a server that waits for the rest of a request.  Every rule here
fails closed: in doubt, the connection is not used again.
"""

import re
import socket
from _weakref import ref    # weakref takes long to import
from email import errors
from http import HTTPStatus
from http._reader import Reader, Received, suits

# The other defects are of a body that an HTTPMessage does not have.
_HEADER_DEFECTS = (errors.FirstHeaderLineIsContinuationDefect,
                   errors.InvalidHeaderDefect,
                   errors.MisplacedEnvelopeHeaderDefect,
                   errors.MissingHeaderBodySeparatorDefect)

# A chunk's first line.  int() and readline() accept more than the grammar
# of RFC 9112, section 7.1, does, and so does not every peer.
_size_line = re.compile(
    rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")
is_chunk_line = _size_line.fullmatch


_Socket = socket.socket     # whatever may replace it there later

# What is known of each socket.  Whoever assigns to HTTPConnection.sock can set
# one aside, and come back to it, with the same connection or with another.
# By id(), as a subclass may have an __eq__() of its own.
_uses = {}


class _SocketRef(ref):

    __slots__ = ("key",)

    def __init__(self, sock, callback):
        super().__init__(sock, callback)
        self.key = id(sock)


def _forget(sock, _uses=_uses):
    # The _SocketRef of a socket that is gone, maybe at the interpreter's end.
    use = _uses.get(sock.key)
    if use is not None and use.sock is sock:
        del _uses[sock.key]


class WeakResponse(ref):
    """A weak reference that does not keep a connection from being pickled."""

    __slots__ = ()

    def __reduce__(self):
        return type(None), ()


class SocketUse:
    """What an HTTPConnection remembers of a socket that it uses."""

    __slots__ = ("opened", "spent", "sent", "unanswered", "answered",
                 "refused", "response", "received", "pipeline", "requests",
                 "version", "_followed", "sock", "_connection")

    def __init__(self, connection):
        # True if connect() is known to have made the socket, so that it can
        # make another.
        self.opened = False
        # True once no further request may go out over this socket.  Never
        # reset: a connection that goes on does so with another socket.
        self.spent = False
        # The Extent of the last request; None if nobody knows what was sent.
        self.sent = None
        self.unanswered = 0     # how many requests have no response yet
        # A response may outlive its connection, and does not keep it alive.
        self._connection = ref(connection)
        # A weak reference to the response that is being read, until that was
        # read to its end.
        self.response = None
        self._followed = False      # did that have a Reader?
        # True if the server has answered the last request without wanting
        # its body.  That request stays cut.
        self.refused = False
        # True once there has been a response.
        self.answered = False
        sock = connection.sock
        # None if the socket cannot be asked without waiting.
        self.received = Received() if suits(sock) else None
        # A _pipeline.Pipeline, and the requests without a response that it
        # knows; None if only one request is sent at a time.
        self.pipeline = self.requests = None
        # The HTTP version of the last response after which another request
        # may be sent, as in HTTPResponse.version.
        self.version = None
        if issubclass(type(sock), _Socket):
            self.sock = _SocketRef(sock, _forget)
            _uses[id(sock)] = self
        else:
            # A fake can be "opened" again and again, so it is forgotten with
            # its use.
            self.sock = lambda: sock

    def __reduce__(self):
        return type(None), ()       # a copy of a connection knows nothing yet

    @staticmethod
    def find(sock):
        """Return what is known of *sock*; None if it is nothing."""
        use = _uses.get(id(sock))
        return use if use is not None and use.is_about(sock) else None

    @classmethod
    def get(cls, connection):
        """Return what is known of the socket of *connection*."""
        use = cls.find(connection.sock)
        if use is None:
            return cls(connection)
        if use.is_busy():
            # It was set aside in the middle of something.
            use.spent = True
        if use._connection() is not connection:
            # Its connect() would lead elsewhere.
            use.opened = False
            use.requests = None
            use._connection = ref(connection)
        return use

    def is_about(self, sock):
        """Tell whether it is *sock* that this is known of."""
        return sock is not None and self.sock() is sock

    def is_busy(self):
        """Tell whether a request or its response has not come to an end."""
        return (self.unanswered > 0 or self.response is not None
                or self.is_cut())

    def is_cut(self):
        """Tell whether the last request was begun, and not sent whole."""
        return self.sent is not None and self.sent.cut

    def begin_request(self):
        """Note that a request is about to be sent."""
        self.sent = Extent()
        self.unanswered += 1

    def end_sending(self):
        """Note that all that was given for a request has been sent."""
        if self.sent is not None and not self.sent.begun:
            # An override has done that, and nobody knows what it sent.
            self.sent = None

    def is_spent(self):
        """Tell whether no further request may go out over the socket."""
        response = self.response
        if response is not None and response() is None:
            # It is gone without having been read to its end.
            self.spent = True
        return self.spent

    def begin_response(self, response):
        """Note that *response* may have received something from now on."""
        self.response = ref(response)

    def has_lost_response(self):
        """Tell whether getresponse() was interrupted, the response begun."""
        response = self.response and self.response()
        return response is not None and not response.isclosed()

    def follow(self, response):
        """Note where the body of *response* ends, as it is received.

        That does not depend on who reads it, and on whether a read was
        interrupted: urllib3 reads chunks from response.fp by itself.
        """
        self.response = ref(response)
        fp = getattr(response, "fp", None)
        self._followed = isinstance(fp, Reader)
        self.version = response.version if self._followed else None
        if not self._followed:
            return
        received = fp.peek_buffered()
        if not isinstance(response.length, int) and not response.chunked:
            fp.raw.missing = 1      # a subclass's begin() knows better
        elif response.chunked and response._method != "HEAD":
            extent = fp.raw.extent = Extent(chunked=True)
            extent.feed(received)
            fp.raw.missing = extent.missing
        else:
            fp.raw.missing = response.length - len(received)

    def has_lost(self, fp):
        """Tell whether somebody has put *fp* in the place of a Reader."""
        return self._followed and not isinstance(fp, Reader)

    def take_back(self, response, fp):
        """Note that *response* is done with *fp*, at its end or before."""
        if isinstance(fp, Reader):
            ended = fp.rest() == 0
            if ended:
                self.received.take_back(fp)
        else:
            ended = not self._followed and response._has_ended()
        if not ended:
            self.spent = True
        # Last: if this is interrupted, the socket is not used again.
        self.response = None

    def abandon(self):
        """Close the connection, as a response will not be read any more."""
        self.spent = True
        connection = self._connection()
        if connection is not None:
            connection._abandon(self)


def rules_out_reuse(version, status, headers):
    """Tell whether a response's head rules out another request.

    It does if any Connection field has the option "close", or if peers may
    differ on where the response ends.  *version* is 10 or 11, as in
    HTTPResponse.version.
    """
    codings = []
    lengths = set()
    for name, value in headers.raw_items():
        name = name.lower()
        if name == "content-length":
            lengths.add(value.strip(" \t"))
        elif name == "transfer-encoding":
            codings.append(value.lower())
        elif name == "connection" and "close" in value.lower():
            # Any option that contains the word will do, as it always has.
            return True
    if headers.defects and any(isinstance(defect, _HEADER_DEFECTS)
                               for defect in headers.defects):
        # The parser left lines out that could have been framing.
        return True
    if codings:
        return (codings != ["chunked"]
                or bool(lengths)
                or version < 11
                or status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))
    if not lengths:
        return False
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit()):
        return True
    return status == HTTPStatus.NO_CONTENT and bool(length.strip("0"))


def is_request_timeout(received):
    """Tell whether what was received begins with the status line of a 408."""
    # Compiled when it is first needed, which is seldom.
    return re.match(rb"HTTP/1\.[0-9] 408(?: [^\n]*)?\r?\n",
                    received) is not None


def may_become_request_timeout(received):
    """Tell whether what was received can be the beginning of a 408's line."""
    if not received or b"\n" in received or len(received) > _AT_ONCE:
        return False
    missing = b"HTTP/1.1 408\r"[len(received):] + b"\n"
    return is_request_timeout(received + missing)


def leaves_http(method, status):
    """Tell whether the connection speaks another protocol from here on."""
    if status == HTTPStatus.SWITCHING_PROTOCOLS:
        return True
    return method == "CONNECT" and status in range(200, 300)


def _find_values(name, head):
    # Return what a request's head in lower case says in fields of that name.
    return re.findall(rb"\r\n" + name + rb":[ \t]*([^\r\n]*)", head)


# How much a line of a chunked body, or the head of a request, takes at most,
# as a rule.
_AT_ONCE = 1024


def _is_length(value):
    return value.isdigit() and len(value) <= 18


class Extent:
    """How far a message goes, judged by its own framing.

    feed() is given the bytes of a message as they go by, in any pieces, so
    it does not matter who sends or reads them, and in which way.
    """

    # A header section, or a line, that grows beyond this is not followed.
    _MAX_HEAD = 1 << 20
    _MAX_LINE = 1 << 16

    _seen = b""             # what of a head or line has gone by
    _left = 0               # bytes still missing of a body or chunk
    beyond = 0              # bytes that have gone by after the end
    begun = False           # may any of it have gone by?

    def __init__(self, *, chunked=False):
        # What comes next; None after the end.  A message begins with the
        # head of a request or, if *chunked*, with a chunk of a body.
        self._step = self._chunk_line if chunked else self._head

    @property
    def missing(self):
        """How many bytes of the message have not gone by, at least.

        It is negative if more than the message has gone by.
        """
        return 1 if self._step is not None else -self.beyond

    @property
    def whole(self):
        """True if all of the message has gone by, and nothing more."""
        return self._step is None and not self.beyond

    @property
    def cut(self):
        """True if the message has begun and is not whole."""
        return self.begun and (self._step is not None or self.beyond > 0)

    def feed(self, data):
        """Take note of *data*, a bytes-like object."""
        if not isinstance(data, bytes):
            try:
                data = memoryview(data).cast("B")
            except TypeError:       # only a mock socket sends such a thing
                self._step = self._lost
                return
        elif self._is_all(data):
            self._step = None
            return
        at = 0
        while at < len(data) and self._step is not None:
            at = self._step(data, at)
        self.beyond += len(data) - at

    def _is_all(self, data):
        # Most requests are a header section, sent at once, and no body.
        if (self._step != self._head or self._seen
                or data.find(b"\r\n\r\n") != len(data) - 4):
            return False
        data = data.lower()
        return (b"\r\ncontent-length:" not in data
                and b"\r\ntransfer-encoding:" not in data)

    # The steps take data and an index, and return the index they got to.

    def _lost(self, data, at):
        return len(data)

    def _collect(self, mark, limit, data, at):
        # Return (what comes before mark, or None as yet, new index).
        known = len(self._seen)
        if known > limit:
            self._step = self._lost
            return None, len(data)
        self._seen += data[at:at + _AT_ONCE]
        # The mark can begin in what was seen before.
        end = self._seen.find(mark, max(0, known - len(mark)))
        if end < 0:
            return None, min(at + _AT_ONCE, len(data))
        collected, self._seen = self._seen[:end], b""
        return collected, at + end + len(mark) - known

    def _head(self, data, at):
        head, at = self._collect(b"\r\n\r\n", self._MAX_HEAD, data, at)
        if head is None:
            return at
        head = head.lower()
        codings = _find_values(b"transfer-encoding", head)
        lengths = set(_find_values(b"content-length", head))
        if codings:
            chunked = codings == [b"chunked"] and not lengths
            self._step = self._chunk_line if chunked else self._lost
        elif not lengths or lengths == {b"0"}:
            self._step = None
        elif len(lengths) == 1 and _is_length(length := lengths.pop()):
            self._left = int(length)
            self._step = self._body
        else:
            self._step = self._lost
        return at

    def _skip(self, data, at):
        taken = min(self._left, len(data) - at)
        self._left -= taken
        return at + taken

    def _body(self, data, at):
        at = self._skip(data, at)
        if not self._left:
            self._step = None
        return at

    def _line(self, data, at):
        line, at = self._collect(b"\r\n", self._MAX_LINE, data, at)
        if line is not None and (b"\r" in line or b"\n" in line):
            self._step = self._lost
        return line, at

    def _chunk_line(self, data, at):
        # Nearly every line is there as a whole, and many chunks are.
        while not self._seen and (line := _size_line.match(data, at)):
            size = int(line[1], 16)
            end = line.end() + size
            if not size or data[end:end + 2] != b"\r\n":
                self._begin_chunk(size)
                return line.end()
            at = end + 2
        line, at = self._line(data, at)
        if line is None:
            return at
        if is_chunk_line(line + b"\r\n"):
            self._begin_chunk(int(line.partition(b";")[0], 16))
        else:
            self._step = self._lost
        return at

    def _begin_chunk(self, size):
        self._left = size
        self._step = self._chunk if size else self._trailer

    def _chunk(self, data, at):
        at = self._skip(data, at)
        if self._left:
            return at
        if bytes(data[at:at + 2]) == b"\r\n":
            self._step = self._chunk_line
            return at + 2
        self._step = self._chunk_end
        return at

    def _chunk_end(self, data, at):
        line, at = self._line(data, at)
        if line is not None:
            self._step = self._lost if line else self._chunk_line
        return at

    def _trailer(self, data, at):
        line, at = self._line(data, at)
        if line == b"":
            self._step = None
        return at
