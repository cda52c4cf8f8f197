"""One socket of an HTTPConnection, and the exchanges that are under way on it.

Private to http.client, and knows nothing of its classes.  Two rules:

1. An exchange enters Channel.exchanges before the first byte of its request
   is sent.  It leaves in one place, Channel.end(): when the request was sent
   whole and the response was received to exactly where its framing ends it
   (RFC 9112, sections 6.3, 9.2 and 9.3).  While one is there, no other request
   is sent.  So whatever goes wrong, at whatever point, the socket is not used
   again.

2. The stream of a response never returns a byte that is not of that response.
   What was received beyond it stays in Channel.received: it is the beginning
   of the next response if there is a request without one.  Otherwise it
   proves that the server is out of step.
"""

import errno
import io
import math
import re
import select
import socket
import time

try:
    import ssl
except ImportError:
    ssl = None

_socket, _makefile = socket.socket, socket.socket.makefile

_NOTHING_YET = (BlockingIOError, TimeoutError)
_WANTS_READ = ()
if ssl is not None:
    _WANTS_READ = ssl.SSLWantReadError
    _NOTHING_YET += (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class ConnectionClosed(Exception):
    """A base of what is raised because the server has closed the connection.

    It is neither an OSError nor an HTTPException itself.

    unanswered -- the (method, target) of each request to which getresponse()
        has returned no response, if HTTPConnection.max_pipelined is above 1
    """

    __module__ = "http.client"
    unanswered = ()

# The exceptions of socket and ssl for this, each also a ConnectionClosed.

class ClosedBrokenPipeError(ConnectionClosed, BrokenPipeError):
    """The connection was closed before all was sent."""

class ClosedConnectionResetError(ConnectionClosed, ConnectionResetError):
    """The connection was reset by the server."""

class ClosedConnectionAbortedError(ConnectionClosed, ConnectionAbortedError):
    """The system has given up the connection."""

if ssl is not None:

    class ClosedSSLEOFError(ConnectionClosed, ssl.SSLEOFError):
        """The connection ended without the end of TLS."""

    class ClosedSSLZeroReturnError(ConnectionClosed, ssl.SSLZeroReturnError):
        """The server has ended TLS."""

_closed = {cls.__bases__[1]: cls for cls in ConnectionClosed.__subclasses__()}


class Overflow(Exception):
    """More has been received while a request was sent than is kept."""


# How much is received at once while a header section is being read.
_HEAD_SIZE = 16384
# How long a line of the chunked coding can be.
_MAX_LINE = 65536
# How many empty lines are skipped before a response, and how often poll()
# receives data that begins no response.
MAX_EMPTY = 100

# RFC 9110, section 9.2.2.
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
# How much is kept of the responses that arrive while a request is sent.
_MAX_RECEIVED = 16 * 1024 * 1024
# How much is sent at once then.
_PIECE_SIZE = 65536

# More seconds than the system may be able to wait.
_MAX_TIMEOUT = 1_000_000

# How far a message goes, if that is not a number of bytes.
CHUNKED = "chunked"
ENDLESS = "endless"     # to the end of the connection

# Exchange.unsent, if it is not a number of bytes.
_UNKNOWN = -1
_CHUNKS = -2

_find_empty_line = re.compile(rb"\n\r?\n").search
# In the head of a request: its end, or a field that says more about it.
_find_extent = re.compile(
    rb"\r\n(?:\r\n|(?i:connection|content-length|transfer-encoding))").search
# These are rarely needed, so importing this module does not compile them.
_REQUEST_FIELDS = (
    rb"\r\n(connection|upgrade|content-length|transfer-encoding)[ \t]*:"
    rb"((?:[^\n]|\n[ \t])*)(?=\r\n[^ \t])")
_SOUND_LINE = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*\r?\n"
# A few interim responses with a few fields each.
_SOUND_INTERIM = (rb"(?:HTTP/1\.\d 1\d\d(?: [^\r\n\0]*)?\r?\n"
                  rb"(?:%b){0,9}\r?\n){1,9}" % _SOUND_LINE)

# Lines of the chunked coding.  The second group is the end of the line, or
# None if what follows is still to come.
_SIZE = (rb"(?:([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?"
         rb"(?:(\r?\n)|\r?\Z)|\Z)")
_match_first = re.compile(_SIZE).match
_match_next = re.compile(rb"\r\n%b|\r?\Z" % _SIZE).match
_match_usual = re.compile(rb"\r\n([1-9A-Fa-f][0-9A-Fa-f]{0,15})\r\n").match
_match_trailer = re.compile(rb"([^\n]*)(\n|\Z)").match

_FRAMING_NAMES = frozenset(("content-length", "transfer-encoding"))
_FIELD_NAMES = _FRAMING_NAMES | {"connection", "keep-alive",
                                 "proxy-connection"}


def get_framing(method, version, status, fields, loose_fields=None):
    """Return how far the response to *method* goes: RFC 9112, section 6.3.

    *version* is 10 or 11, *fields* are pairs of name and value.  If the
    section is not sound, *loose_fields* are those of get_loose_fields().

    Return (extent, length, is_chunked, persists): the extent of the stream,
    which is a number of bytes, CHUNKED, or ENDLESS; the length of the body, or
    None; whether the chunked coding is to be decoded; and whether another
    request can follow on the connection.
    """
    if loose_fields is not None:
        fields = list(fields)
        if _FRAMING_NAMES.isdisjoint(name.lower() for name, _ in fields):
            fields = loose_fields
    lengths, codings = [], []
    options = ""
    is_kept = version >= 11
    for name, value in fields:
        name = name.lower()
        if name not in _FIELD_NAMES:
            continue
        value = value.strip(" \t").lower()
        if name == "content-length":
            lengths.append(value)
        elif name == "transfer-encoding":
            codings.append(value)
        elif name == "connection":
            options += value + ","
        elif name == "keep-alive" or "keep-alive" in value:
            is_kept = True      # the latter in Proxy-Connection

    persists = (loose_fields is None and "close" not in options
                and (is_kept or "keep-alive" in options))
    if status == 101 or method == "CONNECT" and 200 <= status < 300:
        return ENDLESS, 0, False, persists      # what follows is not HTTP

    extent, is_chunked = ENDLESS, False
    if lengths:
        extent, is_clear = _get_length(lengths)
        if not is_clear or codings or status == 204 and extent:
            persists = False
    if codings:
        if codings != ["chunked"] or version < 11 or status == 204:
            persists = False
        is_chunked = codings[0] == "chunked"
        last = codings[-1].rstrip(" \t,").rpartition(",")[2]
        if is_chunked or last.strip(" \t") == "chunked":
            extent = CHUNKED
    if method == "HEAD" or status in (204, 304) or 100 <= status < 200:
        return 0, 0, False, persists
    length = extent if isinstance(extent, int) else None
    return extent, length, is_chunked, persists and extent is not ENDLESS


def _get_length(values):
    # Return the extent, and whether all peers agree on it.
    value = values[0]
    is_clear = value.isascii() and value.isdigit()
    if is_clear and len(values) == 1 and len(value) < 19:
        return int(value), True         # this is for speed
    is_clear = is_clear and values.count(value) == len(values)
    items = {item.strip(" \t") for item in value.split(",")} - {""}
    try:
        length = int(items.pop() if len(items) == 1 else value)
    except ValueError:
        length = -1
    return (length, is_clear) if length >= 0 else (ENDLESS, False)


def is_sound(lines):
    """Tell whether a header section consists of header fields only."""
    return all(re.fullmatch(_SOUND_LINE, line) or line in (b"\r\n", b"\n")
               for line in lines)


def get_loose_fields(lines):
    """Return the name and value of every line that may be a header field.

    Peers differ on what a section says that is not sound.  This serves only
    to find an end for the body.
    """
    section = b"".join(lines).decode("iso-8859-1")
    section = section.replace("\r\n", "\n").replace("\r", "\n")
    fields = (line.partition(":") for line in section.split("\n"))
    return [(name.strip(), value) for name, _, value in fields]


# Each of these classes follows one kind of message.  take(view, n) is given a
# memoryview with n bytes in it.  It returns how many bytes at its beginning
# are to be read, and where the message ends in it; it may move the former to
# the front.  finish() is called when the connection ends.

class Message:
    """How far a message goes.  Those that are read define take()."""

    ended = False
    is_begun = False    # was anything taken?
    cut = False         # did it end early, or is it malformed?
    clean = False       # did it end where all peers see its end?
    is_fresh = False    # can another Head begin in its place?
    is_complete = False     # was the last header section taken to its end?
    at_end = False      # has the connection ended?
    has_end = True      # is it known where it ends?
    decodes = False     # does take() leave out what is not data?
    limit = math.inf    # how many bytes may be received at once

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def finish(self):
        self.ended = self.at_end = True


class Head(Message):
    """The header sections of a response: take() stops after each."""

    has_end = False
    limit = _HEAD_SIZE
    is_fresh = True         # until something of a final response was taken
    status = b""            # that of this section
    _seen = b""             # the beginning and the end of a section

    def take(self, view, end):
        known, seen = 0, view
        if self._seen:
            known = len(self._seen)
            seen = self._seen + view[:end]
        elif view[0] in b"\r\n":
            # Line ends before a response are no part of it.
            start = end - len(bytes(view[:end]).lstrip(b"\r\n"))
            return start, start
        found = _find_empty_line(seen, 0, known + end)
        if found:
            end = found.end() - known
            self._seen = b""
            self.is_complete = True
            self.status = status = bytes(seen[9:12])
            self.is_fresh = b"100" <= status < b"200" and status != b"101"
        else:
            seen = bytes(seen[:known + end])
            self._seen = (seen if len(seen) < 32
                          else seen[:16] + b"..." + seen[-3:])
            self.is_complete = self.is_fresh = False
        return end, end

    def finish(self):
        super().finish()
        self.cut = bool(self._seen)


class Body(Message):
    """A number of bytes."""

    def __init__(self, size):
        self.limit = size       # how many are left
        self.ended = self.clean = not size

    def take(self, view, end):
        self.is_begun = True
        size = min(self.limit, end)
        self.limit -= size
        self.ended = self.clean = not self.limit
        return size, size

    def finish(self):
        super().finish()
        self.cut = True


_NOTHING_LEFT = Body(0)


class Chunks(Message):
    """A body in the chunked coding: RFC 9112, section 7.1."""

    trailers_left = math.inf    # how many trailer fields are accepted

    def __init__(self):
        self._left = 0              # of the data of this chunk
        self.returned = 0           # how much of all data
        self._ends = []             # of the last chunks in these data
        self._match_line = _match_first    # what follows these
        self._seen = b""            # the beginning of that line
        self._is_sound = True       # do all peers read the lines as we do?
        self._has_trailers = False

    def take(self, view, end):
        if self.ended:
            return 0, 0
        self.is_begun = True
        at = put = 0
        left = self._left
        ends = self._ends = self._ends[-1:]
        while at < end:
            if left:
                size = left if left < end - at else end - at
                if self.decodes and put != at:
                    view[put:put + size] = view[at:at + size]
                put += size
                at += size
                left -= size
            elif (self._match_line is _match_next and not self._seen
                    and (found := _match_usual(view, at, end))):
                # This is for speed.
                left = int(found[1], 16)
                at = found.end()
                ends.append(self.returned + put + left)
            else:
                self._left = 0
                at = self._take_line(view, at, end)
                if self.ended:
                    break
                left = self._left
                ends.append(self.returned + put + left)
        self._left = left
        self.returned += put
        return (put if self.decodes else at), at

    def get_chunk_left(self, position):
        """Return how much of its chunk follows *position* in the data."""
        return next((end - position for end in self._ends
                     if end >= position), None)

    def _take_line(self, view, at, end):
        known = len(self._seen)
        if known:
            line = self._seen + view[at:min(at + _MAX_LINE, end)]
            found = self._match_line(line)
        else:
            found = self._match_line(view, at, end)
        if not found or len(found[0]) > _MAX_LINE:
            # It is malformed.  Let the reader see the line, then the end.
            self.cut = self.ended = True
            line_end = bytes(view[at:end]).find(b"\n") + 1
            return at + line_end if line_end else end
        if not found[2]:
            self._seen = found[0]
            return end
        at += len(found[0]) - known
        self._seen = b""
        if self._match_line is not _match_trailer:
            if found[2] != b"\r\n":
                self._is_sound = False
            self._left = int(found[1], 16)
            self._match_line = _match_next if self._left else _match_trailer
        elif found[1] in (b"\r", b""):
            self.ended = True
            self.clean = self._is_sound and found[1] == b"\r"
        else:
            self._is_sound &= bool(re.fullmatch(_SOUND_LINE, found[0])
                                   and found[1].endswith(b"\r"))
            self._has_trailers = True
            self.trailers_left -= 1
            self.cut = self.ended = self.trailers_left < 0
        return at

    def finish(self):
        # Some servers end the connection right after the last chunk.
        super().finish()
        self.cut = (self._match_line is not _match_trailer or bool(self._seen)
                    or self._has_trailers)


class Endless(Message):
    """What ends with the connection, or is not HTTP."""

    has_end = False

    def take(self, view, end):
        return end, end


# The message of a response that has not been read yet.
_UNREAD = Message(is_fresh=True, has_end=False)
# The position in the stream is unknown.
LOST = Message(ended=True, cut=True)


class Foreign(Message):
    """A response that is not read by way of a ResponseIO.

    response -- an object that sets its attribute length to 0 at its end
    """

    def __init__(self, response):
        self._response = response
        self.has_end = getattr(response, "_extent", 0) is not ENDLESS

    @property
    def clean(self):
        return self.has_end and getattr(self._response, "length", None) == 0

    def take(self, view, end):
        return 0, 0


class Exchange:
    """A request, and the response to it.

    method, target -- of the request
    message -- follows the response
    begun -- whether getresponse() has returned the response, or never will
    closes -- whether the request asks to close the connection
    upgrades -- whether it asks for another protocol
    continued -- whether 100 (Continue) was received and dropped
    unsent -- false if the request was sent whole: how many bytes are missing,
        or _UNKNOWN.  None if nothing was sent by way of Channel.sendall(), as
        by a subclass that has a send() of its own.
    """

    message = _UNREAD
    closes = upgrades = continued = False
    _chunks = None              # follows the body of the request

    def __init__(self, method, target=None, unsent=None):
        self.method = method
        self.target = target
        self.begun = target is None
        self.unsent = unsent

    def count(self, unsent, data):
        """Return what remains of *unsent* when *data* has been sent."""
        if unsent is None:
            found = _find_extent(data)
            if found and found.end() == len(data) and found[0] == b"\r\n\r\n":
                return 0        # this is for speed
            unsent = self._begin(bytes(data))
        elif unsent == _UNKNOWN:
            return _UNKNOWN
        size = memoryview(data).nbytes
        if self._chunks is None:
            return unsent - size if size <= unsent else _UNKNOWN
        chunks = memoryview(data).cast("B")
        if unsent != _CHUNKS:   # the head has not been sent whole
            if size < unsent:
                return unsent - size
            chunks = chunks[unsent:]
        if self._chunks.take(chunks, len(chunks))[1] < len(chunks):
            return _UNKNOWN
        return 0 if self._chunks.clean else _CHUNKS

    def _begin(self, data):
        # Find out how far the request goes that begins with *data*.
        size = data.find(b"\r\n\r\n") + 4
        if size < 4:
            return _UNKNOWN
        framing = []
        for name, value in re.findall(_REQUEST_FIELDS,
                                      data[:size].lower()):
            if name == b"connection":
                self.closes |= b"close" in value
            elif name == b"upgrade":
                self.upgrades = True
            else:
                framing.append((name, value.strip(b" \t")))
        if not framing:
            return size
        (name, value), *more = framing
        if name == b"content-length" and value.isdigit() and not more:
            return size + int(value)
        if framing == [(b"transfer-encoding", b"chunked")]:
            self._chunks = Chunks()
            return size
        return _UNKNOWN


class ResponseIO(socket.SocketIO):
    """The raw stream of one response."""

    _channel = None
    _exchange = Exchange(None)      # if it belongs to no HTTPConnection
    _exchange.message = Message(cut=None, at_end=True)

    # SocketIO.__init__() would take a tenth of the time of a small request.
    _reading = True
    _writing = _timeout_occurred = False
    _mode = "rb"

    def __init__(self, sock):
        self._sock = sock
        sock._io_refs += 1          # as socket.makefile() does

    def tell(self):
        """Return how much data of decoded chunks has been returned."""
        if self._channel is None:       # BufferedReader.__init__() asks
            return 0
        message = self._exchange.message
        return message.returned if message.decodes else super().tell()

    def begin(self, channel, exchange):
        """Read the response of *exchange*, beginning with its head."""
        self._channel = channel
        self._exchange = exchange
        exchange.message = Head()

    def begin_body(self, extent):
        """Read the body; *extent* is that of get_framing().

        Return False if the connection has ended inside the head.
        """
        exchange = self._exchange
        head = exchange.message
        if not isinstance(head, Head):
            return True
        if extent is ENDLESS or not head.is_complete:
            exchange.message = Endless()
        elif extent is CHUNKED:
            exchange.message = Chunks()
        else:
            exchange.message = Body(extent)
            if not extent:
                self._channel.end(exchange)
        return not head.cut

    def take_whole(self, size):
        """Return the body if it has this size, is here, and was not begun."""
        exchange = self._exchange
        message = exchange.message
        if (type(message) is not Body or message.is_begun
                or size != message.limit
                or size > len(received := self._channel.received)):
            return None
        exchange.message = LOST     # in case it is interrupted
        data = bytes(received[:size])
        del received[:size]
        exchange.message = _NOTHING_LEFT
        self._channel.end(exchange)
        return data

    @property
    def message(self):
        """The Message that follows the response."""
        return self._exchange.message

    @property
    def unanswered(self):
        """What Channel.get_unanswered() returns."""
        return self._channel.get_unanswered() if self._channel else ()

    def decode_chunks(self, max_trailers):
        """Leave out what is not data from now on; tell whether it is done."""
        message = self.message
        if isinstance(message, Chunks) and not message.is_begun:
            message.decodes = True
            message.trailers_left = max_trailers
        return message.decodes

    def let_go(self):
        """Do not keep the socket open until this stream is closed."""
        self.__class__ = _LooseIO
        self._sock._decref_socketios()

    def drain(self, size, seconds):
        """Drop what is left: up to *size* bytes, for up to *seconds*."""
        channel = self._channel
        if channel is None:
            return
        sock = channel.sock
        timeout = sock.gettimeout()
        deadline = time.monotonic() + seconds
        view = memoryview(bytearray(min(size, 65536)))
        try:
            # Do not let a single read wait longer than all of them may.
            sock.settimeout(0)
            while (size > 0 and seconds > 0
                   and not self._exchange.message.ended):
                if not (channel.received or channel.ended
                        or wait(sock, seconds)):
                    break
                try:
                    size -= self.readinto(view[:size]) or 0
                except _NOTHING_YET:
                    pass
                seconds = deadline - time.monotonic()
        finally:
            sock.settimeout(timeout)

    def readinto(self, b):
        channel = self._channel
        if channel is None or self._timeout_occurred or self.closed:
            return super().readinto(b)
        exchange = self._exchange
        message = exchange.message
        view = memoryview(b)
        if message.ended or not view:
            return 0
        if len(view) > message.limit:
            view = view[:message.limit]
        exchange.message = LOST        # in case it is interrupted
        size = 0
        while not size and not message.ended:
            try:
                if received := channel.received:
                    n = min(len(view), len(received))
                    view[:n] = received[:n]
                elif channel.error is not None:
                    raise channel.error
                elif channel.ended:
                    n = 0
                else:
                    # SocketIO.readinto() takes twice as long.
                    n = self._sock.recv_into(view)
            except OSError as exc:
                exchange.message = message      # nothing was taken
                if isinstance(exc, BlockingIOError):
                    return None
                self._timeout_occurred = isinstance(exc, TimeoutError)
                if self._timeout_occurred and message.has_end:
                    exchange.message = LOST     # nobody can read on
                channel.error = None
                if type(exc) not in _closed:
                    raise
                message.finish()
                message.cut = True
                raise make_closed(exc, channel.get_unanswered()) from exc
            if n:
                size, end = message.take(view, n)
                if received:
                    del received[:end]
                elif end < n:
                    received += view[end:n]
            else:
                message.finish()
        exchange.message = message
        if message.clean:
            channel.end(exchange)
        return size


class _LooseIO(ResponseIO):

    close = io.RawIOBase.close      # that of SocketIO lets go of the socket


class Channel:
    """A socket, and the exchanges on it that have not come to an end.

    sock -- the socket
    opened -- whether connect() has made it, or can make another
    used -- whether a request was sent on it
    pipelines -- whether requests may be sent before earlier ones are answered
    persists -- whether an HTTP/1.1 response has shown that it stays open
    """

    used = pipelines = persists = False

    def __init__(self, sock, opened=False):
        self.sock = sock
        self.opened = opened
        self.exchanges = []             # the oldest first
        self.received = bytearray()     # and not read as part of a response
        self.ended = False              # has poll() met the end, or an error?
        self.error = None
        self.is_plain = is_plain(sock)
        self._is_tls = self.is_plain and hasattr(sock, "pending")

    def end(self, exchange):
        """Take out *exchange* if it has come to a clean end."""
        if not exchange.message.clean or exchange not in self.exchanges[:1]:
            return
        if exchange.unsent:
            exchange.unsent = _UNKNOWN      # too late to send the rest
        else:
            del self.exchanges[0]

    def check_handshake(self):
        """Raise the alert by which the server has refused TLS, if any.

        In TLS 1.3, the client's handshake ends before the server's.
        """
        try:
            if not self.used and self._is_tls and (
                    type(self.error) is ssl.SSLError):
                raise self.error
        finally:
            self.error = None       # its traceback refers to this object

    def can_begin(self, is_open):
        """Tell whether another request can be sent.

        *is_open* tells whether somebody has the last response, and has not
        closed it.
        """
        self.leave_first()
        if self.exchanges:
            return is_open and self._can_follow()
        return not (self.is_plain and self.poll())

    def _can_follow(self):
        # Can a request be sent while the last response is being read?
        exchange, *more = self.exchanges
        message = exchange.message
        if more or exchange.unsent or message.ended or not message.has_end:
            return False
        # No request has asked for bytes beyond that response.
        copied = object.__new__(type(message))
        copied.__dict__.update(message.__dict__)
        with memoryview(bytearray(self.received)) as view:
            return copied.take(view, len(view))[1] == len(view)

    def leave_first(self):
        """Take out the first exchange if it has ended."""
        if self.opened and not self.used:
            # What connect() has sent, as to a proxy, is no request.
            self.exchanges.clear()
        if self.exchanges:
            # Only a ResponseIO does this by itself.
            self.end(self.exchanges[0])

    def poll(self, timeout=0, known=0):
        """Wait for the next response, or for the end of the connection.

        Return False if neither has come within *timeout* seconds.  Line ends
        (RFC 9112, section 9.2) and what TLS receives for itself do not count,
        nor do the first *known* bytes of the response.
        """
        if self.sock.fileno() < 0:      # somebody has closed it
            self.ended = True
        deadline = timeout and time.monotonic() + timeout
        rounds = 0
        while rounds < MAX_EMPTY:
            if self.received and self.received[0] in b"\r\n":
                self.received = self.received.lstrip(b"\r\n")
            if len(self.received) > known or self.ended:
                break
            if not wait(self.sock, timeout):
                return False
            self._receive()
            if timeout:
                timeout = max(0, deadline - time.monotonic())
            rounds += timeout == 0
        else:
            # Nothing arrives but line ends or TLS records.
            self.ended = True
        return True

    def await_continue(self, timeout):
        """Wait until the server wants the body of the request.

        It does after 100 (Continue), which is dropped and returned with the
        interim responses before it.  If nothing decides within *timeout*
        seconds, return b"".  If a final response or the end of the connection
        comes first, return None.  All of that is left for the response.
        """
        if not self.exchanges or not self.exchanges[0].unsent:
            return b""      # all is sent, or another response comes first
        deadline = time.monotonic() + timeout
        head = Head()
        end = 0
        while end <= _MAX_LINE and self.poll(deadline - time.monotonic(), end):
            if self.ended:
                return None
            data = bytes(self.received[end:])
            end += head.take(data, len(data))[1]
            if head.is_complete and not head.is_fresh:
                # begin() may take for a 100 what is not written like one.
                return None if head.status > b"100" else b""
            if head.is_complete and head.status == b"100":
                return self._drop_interim(end)
        return b""

    def _drop_interim(self, end):
        data = bytes(self.received[:end])
        if not re.fullmatch(_SOUND_INTERIM, data):
            return b""      # begin() has to see it
        exchange = self.exchanges[0]
        exchange.continued = True
        del self.received[:end]
        if self.received and self.received[9:10] != b"1":
            exchange.unsent = _UNKNOWN      # it has answered before the body
        return data

    def _receive(self):
        # Receive without waiting.  Return False if nothing has come.
        sock = self.sock
        timeout = sock.gettimeout()
        self.ended = True       # in case it is interrupted
        try:
            if self._is_tls:        # it may wait for the rest of a record
                sock.settimeout(0)
            buffer = bytearray(_HEAD_SIZE)
            size = sock.recv_into(buffer)       # as a reader does
        except _NOTHING_YET:
            self.ended = False
            return False
        except OSError as exc:
            self.error = exc.with_traceback(None)
        else:
            self.received += buffer[:size]
            self.ended = not size
        finally:
            if self._is_tls:
                sock.settimeout(timeout)
        return True

    def count_outstanding(self):
        """Return how many requests have no response yet."""
        return sum(not exchange.begun for exchange in self.exchanges)

    def get_unanswered(self):
        """Return the (method, target) of each request without a response.

        Return an empty tuple if requests are not pipelined.
        """
        return tuple((exchange.method, exchange.target)
                     for exchange in self.exchanges
                     if self.pipelines and not exchange.begun)

    def can_pipeline(self, limit):
        """Tell whether another request can follow those without a response."""
        last = self.exchanges[-1] if self.exchanges else None
        return (last is not None and self.pipelines and self.persists
                and not self.ended and self.count_outstanding() < limit
                and last.method in _IDEMPOTENT and not last.unsent
                and not last.closes and not last.upgrades)

    def _send_and_receive(self, data):
        # A server may stop reading until its responses are read.
        sock = self.sock
        timeout = sock.gettimeout()
        sock.settimeout(0)
        try:
            with memoryview(data).cast("B") as view:
                sent = 0
                while sent < len(view):
                    to_write = True
                    try:
                        sent += sock.send(view[sent:sent + _PIECE_SIZE])
                        continue
                    except _WANTS_READ:
                        to_write = False
                    except _NOTHING_YET:
                        pass
                    if self.ended:
                        raise self.error or BrokenPipeError(
                            errno.EPIPE, "The server has closed")
                    if self._receive():
                        if len(self.received) > _MAX_RECEIVED:
                            raise Overflow
                    elif not wait(sock, timeout, to_write=to_write):
                        raise TimeoutError("timed out")
        finally:
            sock.settimeout(timeout)

    def sendall(self, data):
        """Send *data* as a part of the last request."""
        exchange = self.exchanges[-1] if self.exchanges else None
        if not exchange or not exchange.method and exchange.message.ended:
            # It belongs to no known request.
            exchange = Exchange(None, unsent=_UNKNOWN)
            self.exchanges[:] = [exchange]
        unsent = exchange.unsent
        exchange.unsent = _UNKNOWN      # in case it is interrupted
        try:
            if self.pipelines and self.sock.gettimeout() != 0:
                self._send_and_receive(data)
            else:
                self.sock.sendall(data)
        except TypeError:               # before anything was sent
            exchange.unsent = unsent
            raise
        except OSError as exc:
            if type(exc) not in _closed:
                raise
            raise make_closed(exc, self.get_unanswered()) from exc
        exchange.unsent = exchange.count(unsent, data)


def make_closed(exc, unanswered):
    """Return the ConnectionClosed for *exc*."""
    closed = _closed[type(exc)](*exc.args)
    closed.__dict__.update(exc.__dict__)        # SSLError.reason
    return with_unanswered(closed, unanswered)


def with_unanswered(exc, unanswered):
    """Return *exc*, with *unanswered* as an attribute if it is not empty."""
    if unanswered:
        exc.unanswered = unanswered
    return exc


def wait(sock, timeout, *, to_write=False):
    """Wait until *sock* can be read; return False if it cannot be in time.

    If *to_write* is true, also stop waiting if it can be written.
    """
    if hasattr(type(sock), "pending") and sock.pending():
        return True             # TLS has it, not the system
    if timeout:
        timeout = min(max(timeout, 0), _MAX_TIMEOUT)
    if not hasattr(select, "poll"):
        return any(select.select([sock], [sock] * to_write, [], timeout))
    poller = select.poll()
    poller.register(sock, select.POLLIN | to_write * select.POLLOUT)
    return bool(poller.poll(timeout and math.ceil(timeout * 1000)))


def is_plain(sock):
    """Tell whether a ResponseIO reads what sock.makefile("rb") would."""
    # A class can borrow makefile() without deriving from socket.socket, and
    # a program can replace socket.socket itself.
    return issubclass(type(sock), _socket) and type(sock).makefile is _makefile


def open_reader(sock):
    """Return what sock.makefile("rb") does, with a ResponseIO if possible."""
    if is_plain(sock):
        return io.BufferedReader(ResponseIO(sock))
    return sock.makefile("rb")


def is_cut(fp):
    """Tell whether the response read by *fp* has ended early.

    Return None if that is not known.
    """
    stream = get_stream(fp)
    return None if stream is None else stream.message.cut


def get_stream(fp):
    """Return the ResponseIO below *fp*, or None.

    None also if a program has put another object in place of *fp*, since that
    may alter what is read.
    """
    raw = fp.raw if type(fp) is io.BufferedReader else None
    return raw if isinstance(raw, ResponseIO) else None
