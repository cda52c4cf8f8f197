"""Requests that go out before earlier ones are answered (private to
http.client).

A server need not read a request while nobody reads its responses, and a
client that waits for it to do so would wait for ever.  So what arrives while
a request is being sent is received into memory, up to a bound.  RFC 9112,
section 9.3.2, says what may be sent in which order.
"""

import collections
import errno
import os
import re
import socket
from http._reader import Reader, Received, WouldBlock, is_ready

try:
    from ssl import SSLWantReadError as _SSLWantReadError
except ImportError:
    _SSLWantReadError = ()

# How many bytes are received while requests are being sent, and kept until
# getresponse() and the methods of responses ask for them.
MAX_RECEIVED = 16 << 20

# RFC 9110, section 9.2.2.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

# So much is copied at once, but of a body that is larger.
_COPY_SIZE = 8192

# What is received is kept in blocks of so much.
_BLOCK_SIZE = 1 << 16

# So many bytes of line ends may arrive while a response is waited for.
_MAX_LINE_ENDS = 100

# After a request that says so, the server may not take what follows for a
# request (RFC 9112, section 9.6; RFC 9110, section 7.8).
_ends_connection = re.compile(
    rb"\r\nconnection:(?:[^\r]|\r(?!\n)|\r\n[ \t])*(?:close|upgrade)"
    rb"|\r\nupgrade:", re.IGNORECASE).search


class _Inbox(Received):
    """What has been received and not been read, of any number of responses.

    The reader of a response does not take it over: it reads from here, and
    what it has not used when the response ends is put back by going back.
    """

    __slots__ = ("_data", "_at", "_blocks", "total", "lent", "is_receiving")

    def __init__(self, received):
        self._data = bytearray()
        # What is before this index is what was given last, to the reader of
        # the response that has not ended.
        self._at = 0
        self._blocks = collections.deque()      # what follows
        super().__init__()
        self.pending = received.pending
        self.error = received.error
        self.ended = received.ended
        # How many bytes have been received, from here on.
        self.total = self.size
        # Has a reader got something, and has it not been taken back?
        self.lent = False
        # Has a receive() begun, and not ended?
        self.is_receiving = False

    @property
    def size(self):
        """How many bytes there are."""
        return len(self._data) - self._at + sum(map(len, self._blocks))

    @property
    def pending(self):
        return b"".join([self._data[self._at:], *self._blocks])

    @pending.setter
    def pending(self, value):
        self._data[:] = value
        self._at = 0
        self._blocks.clear()

    def adopt(self, reader):
        """Let *reader* go on from here with a response that it has begun."""
        # If an error or the end had been met, there would be no response.
        raw = reader.raw
        self.pending = raw.pending + self.pending
        self.total = self.size
        raw.inbox = self
        raw.pending = b""
        self.lent = True

    def hand_over(self, reader):
        reader.raw.inbox = self
        reader.strict = True

    def take_back(self, reader):
        raw = reader.raw
        # As the response is complete, so much in the buffer is not of it.
        unused = -raw.missing
        if unused > self._at:
            # That was given before, or it has received it by itself.
            self._data[:0] = reader.buffered()[:unused - self._at]
        else:
            del self._data[:self._at - unused]
        self._at = 0
        raw.inbox = None
        self.lent = False
        self._drop_line_ends()

    def _drop_line_ends(self):
        # What is between two responses is of none.
        while self._data or self._blocks:
            if not self._data:
                self._next_block()
            size = len(self._data)
            del self._data[:size - len(self._data.lstrip(b"\r\n"))]
            if self._data:
                break

    def drop_rest(self, raw):
        """Drop the rest of a response's body if all of it is here."""
        scratch = bytearray(_COPY_SIZE)
        while raw.missing > 0 and self.size:
            raw.readinto(scratch)
        if raw.missing < 0:
            self._at += raw.missing     # that was of another response
            raw.missing = 0

    def has_begun(self):
        return self.size > 0 or self.ended or self.error is not None

    def is_full(self):
        """Tell whether more has been received than may be kept."""
        return self.size > MAX_RECEIVED

    def readinto(self, raw, b):
        """Read for *raw*, the raw stream of a response's reader."""
        # A buffer is not filled with what has to be taken back from it.
        size = min(len(b), max(_COPY_SIZE, raw.missing))
        if self._at < len(self._data) or self._blocks:
            return self._give(b, size)
        if self.error is not None:
            error, self.error = self.error, None
            try:
                raise error
            finally:
                del error   # its traceback has this frame
        if self.ended:
            return 0
        self.pending = b""
        n = socket.SocketIO.readinto(raw, b[:size])
        if n:
            self.lent = True
            self.total += n
        return n

    def _give(self, b, size):
        self.lent = True
        if self._at == len(self._data):
            self._next_block()
        data = self._data[self._at:self._at + size]
        b[:len(data)] = data
        self._at += len(data)
        return len(data)

    def _next_block(self):
        self._data = self._blocks.popleft()
        self._at = 0

    def _take(self, data):
        # If a response is collected meanwhile, and dropped, the last block
        # may become what it reads from; it is the last of that, too.
        last = self._blocks[-1] if self._blocks else None
        if last is not None and len(last) + len(data) <= _BLOCK_SIZE:
            last += data
        else:
            self._blocks.append(data)
        self.total += len(data)

    def receive(self, sock):
        """Receive what there is; return False if that is nothing.

        The timeout of *sock* has to be 0.
        """
        self._wants_write = False
        before = self.total
        self.is_receiving = True
        self._receive_now(sock, _BLOCK_SIZE)
        self.is_receiving = False
        return self.total > before or self.ended

    def may_be_read(self):
        """Tell whether receiving does not have to wait for sending."""
        return not self._wants_write

    def lose(self):
        """Note that something that has been received may be missing."""
        self.error = ConnectionError("interrupted while receiving")
        self.ended = True


def _follows_response(use):
    # After a refused body, a server may be waiting for us.
    return use.answered and not use.refused


class _Request:
    """A request for which there was no response yet."""

    __slots__ = ("method", "target", "may_be_followed", "before", "after",
                 "answered")

    def __init__(self, method, target, may_be_followed, before):
        self.method = method
        self.target = target
        # May another one be sent before this is answered?
        self.may_be_followed = may_be_followed
        # How much had been received before it was sent, and when all of it
        # had been: its response begins later.
        self.before = self.after = before
        # Where its response, or the first of the interim ones, begins.
        self.answered = None


class Pipeline(_Inbox):
    """What is under way on a socket, in both directions."""

    __slots__ = ("requests",)

    def __init__(self, received):
        super().__init__(received)
        self.requests = collections.deque()     # each is a _Request

    @classmethod
    def open(cls, use):
        """Let requests on a socket be pipelined from here on."""
        pipeline = cls(use.received)
        response = use.response and use.response()
        fp = getattr(response, "fp", None)
        if isinstance(fp, Reader):
            pipeline.adopt(fp)
        use.received = use.pipeline = pipeline
        use.requests = pipeline.requests

    def add_request(self, method, head):
        """Note that a request is going to be sent, beginning with *head*."""
        if type(head) is not bytes:     # whoever sends by himself
            head = b""
        head = head.partition(b"\r\n\r\n")[0]     # a body may be sent with it
        line = head.partition(b"\r\n")[0].decode(errors="replace")
        target = line.removeprefix(method).strip().partition(" ")[0]
        may_be_followed = (method in _IDEMPOTENT
                           and _ends_connection(head) is None)
        self.requests.append(_Request(method, target, may_be_followed,
                                      self.total))

    def _receive_now(self, sock, size=None):
        if size is None:    # nothing is being sent
            # If another protocol follows, whoever takes the socket over has
            # to find what was received in the buffer of one reader.
            followed = not self.requests or self.requests[-1].may_be_followed
            size = _BLOCK_SIZE if followed else _COPY_SIZE
        super()._receive_now(sock, size)

    @property
    def unanswered(self):
        """The (method, target) of each request, the oldest first."""
        return tuple((request.method, request.target)
                     for request in self.requests)

    def begin_response(self, use, request):
        """Note that the response to *request* comes next.

        Return False if that cannot be relied upon.
        """
        if not self.lent and _follows_response(use):
            del self._data[:self._at]
            self._at = 0
            self._drop_line_ends()
        request.answered = self.total - self.size
        return not self.lent and request.answered >= request.before

    def await_first(self, use, reader):
        """Wait until there is something of a response for *reader*.

        Line ends that still come after the response before are dropped.
        """
        if not _follows_response(use):
            return
        for _ in range(_MAX_LINE_ENDS):
            if reader.peek(1)[:1] not in (b"\r", b"\n"):
                break
            reader.read(1)
            # If nothing comes in time, another reader can go on.
            self.lent = bool(reader.peek_buffered())

    def may_go_on(self, use, request, response):
        """Tell whether anything may follow the response to *request*.

        Its head has been received, and its body has not been read.
        """
        if use.response is None or use.version is None:
            # It is not known what it leaves for the next one.
            return not (self.requests or self.lent)
        if request.answered >= request.after:
            return True
        if not response._followed_interim:
            return False    # the server has not waited for all of the request
        # A 100 (Continue) has to come early.  Of what follows it, only the
        # end of the head is known.
        head_end = self.total - self.size - len(response.fp.peek_buffered())
        return head_end > request.after

    def why_not(self, use, limit):
        """Return why no other request may be sent now; None if it may."""
        if len(self.requests) >= limit:
            return "too many requests have not been answered"
        if use.is_spent():
            return "the connection cannot be used any more"
        if use.sent is None or not use.sent.whole:
            return "the last request has not been sent whole"
        if use.version != 11:
            return "the server has not kept the connection open yet"
        if not self.requests[-1].may_be_followed:
            return "the last request has to be answered first"
        return None

    def sendall(self, use, sock, data):
        """Send *data* like sock.sendall(), and receive what arrives meanwhile.

        Return False if more has been received than may be kept; then not all
        of the data has been sent.
        """
        if (len(self.requests) <= 1 and use.response is None
                # Nothing else can arrive; or that raises an exception.
                or not memoryview(data).c_contiguous):
            sock.sendall(data)
        elif not self._send_and_receive(use, sock, data):
            return False
        if self.requests:
            self.requests[-1].after = self.total
        return True

    def _send_and_receive(self, use, sock, data):
        data = memoryview(data).cast("B")
        timeout = sock.gettimeout()
        try:
            sock.settimeout(0)
            while data and not self.is_full():
                data = data[self._send_some(sock, data, timeout):]
        finally:
            if self.is_receiving:
                # Interrupted, maybe by an OSError that a signal handler has
                # raised: what has been received may be lost.
                use.spent = True
                self.lose()
            sock.settimeout(timeout)
        return not data

    def _send_some(self, sock, data, timeout):
        try:
            return sock.send(data)
        except WouldBlock as exc:
            to_write = not isinstance(exc, _SSLWantReadError)
            if timeout == 0:
                raise
        if self.ended:
            # The server does not listen any more (RFC 9112, section 9.6).
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        if self.receive(sock):
            return 0
        # As long as anything moves, in either direction, there is no timeout.
        must_write = not self.may_be_read()
        if not is_ready(sock, timeout, to_write or must_write,
                        either=not must_write):
            raise TimeoutError("timed out")
        return 0
