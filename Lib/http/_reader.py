"""What HTTPConnection receives from its socket (private to http.client).

Each response has a buffered reader of its own, as it always had.  What that
has received beyond the end of the response must not be lost: it is the
beginning of the next response, if another request was already sent
(bpo-23377), and if none was, it shows that the server is out of step.
Received keeps it from one response to the next, and what a look at the
socket brings in between.
"""

import io
import math
import select
import socket
import time
from _thread import get_ident

try:
    import ssl
except ImportError:
    WouldBlock = (BlockingIOError,)
    _SSLWantWriteError = _SSLEOFError = ()
else:
    WouldBlock = (BlockingIOError, ssl.SSLWantReadError,
                  ssl.SSLWantWriteError)
    _SSLWantWriteError = ssl.SSLWantWriteError
    _SSLEOFError = ssl.SSLEOFError

_Socket = socket.socket     # whatever may replace it there later
_makefile = _Socket.makefile

_READ_SIZE = 8192

# How many reads that bring nothing, but line ends or TLS records without
# data, a poll does before it gives up.  A server could send them for ever.
_MAX_EMPTY_READS = 100

# select.poll() takes a C int of milliseconds.
_MAX_WAIT = 2**31 / 1000 - 1


def suits(sock):
    """Tell whether Reader(sock) reads what sock.makefile("rb") would."""
    # Not isinstance(), which believes a mock; and others borrow makefile.
    cls = type(sock)
    return issubclass(cls, _Socket) and cls.makefile is _makefile


def waits(sock):
    """Tell whether nothing can be read from *sock* only at its end."""
    try:
        return sock.gettimeout() != 0
    except AttributeError:      # not all that serves as a socket has it
        return True


def open_reader(sock):
    """Return a file to read from *sock*; a Reader if that is possible."""
    return Reader(sock) if suits(sock) else sock.makefile("rb")


def raise_closed():
    """Raise the OSError that is being handled.

    http.client, which imports this module, puts its own here.
    """
    raise


class _ReceivingIO(socket.SocketIO):
    """A socket's raw stream, with what has been received before."""

    pending = b""       # to be read first, ...
    error = None        # ... then this is to be raised, ...
    ended = False       # ... or this is the end
    inbox = None        # a _pipeline.Pipeline to read from instead
    # The thread that is not to ask the socket, as it may have to wait.
    offline = None
    reading = False     # is a thread waiting for the socket?
    # Was it interrupted, so that what has been received may be lost?
    interrupted = False
    at_end = False      # has a read met the end of the connection, or failed?
    # If TLS has to end before, has it not, or may it not have?
    needs_tls_end = False
    is_ragged = False
    # What of the body has not been received: so many bytes; less than none,
    # if there was more than the body; or as an Extent knows.
    missing = 0
    extent = None
    # To be called with the socket whenever something was received, if at all.
    after_receiving = None

    def __init__(self, sock):
        super().__init__(sock, "r")
        sock._io_refs += 1      # as socket.makefile() does for its SocketIO

    def readinto(self, b):
        if self.offline is not None and self.offline == get_ident():
            return 0
        try:
            self.reading = True
            if self.inbox is not None:
                n = self.inbox.readinto(self, memoryview(b).cast("B"))
            elif self.pending or self.ended or self.error is not None:
                n = self._replay(memoryview(b).cast("B"))
            else:
                n = super().readinto(b)
                if self.after_receiving is not None:
                    self.after_receiving(self._sock)
        except OSError as exc:
            if not (self.needs_tls_end and isinstance(exc, _SSLEOFError)):
                self.at_end = isinstance(exc, ConnectionError)
                if self.inbox is not None:
                    exc.unanswered = self.inbox.unanswered
                raise_closed()
            self.is_ragged = True
            n = 0
        except BaseException:
            self.interrupted = True
            raise
        finally:
            self.reading = False
        self.at_end = n == 0
        if n:
            if self.extent is None:
                self.missing -= n
            else:
                self.extent.feed(memoryview(b)[:n])
                self.missing = self.extent.missing
        return n

    def _replay(self, b):
        if self.pending:
            n = min(len(b), len(self.pending))
            b[:n] = self.pending[:n]
            self.pending = self.pending[n:]
            return n
        if self.error is None:
            return 0
        error, self.error = self.error, None
        try:
            raise error
        finally:
            del error   # its traceback has this frame


class Reader(io.BufferedReader):
    """What socket.makefile("rb") returns, for one response."""

    _dropped = 0        # bytes in the buffer that nobody will read
    # Is it a connection's, so that an end is not taken for an empty line?
    strict = False

    def __init__(self, sock):
        super().__init__(_ReceivingIO(sock))

    def require_tls_end(self):
        """Let is_ragged() tell of an end to which TLS has not agreed.

        The socket has to raise SSLEOFError for it.
        """
        raw = self.raw
        raw.needs_tls_end = True
        # Who looked ahead did not ask which of the ends it was.
        raw.is_ragged = raw.ended if raw.inbox is None else raw.inbox.ended

    def peek_buffered(self):
        """Return what is in the buffer.

        Raises ValueError if the reader is closed or has been detached.
        """
        raw = self.raw
        if raw is None:
            raise ValueError("raw stream has been detached")
        try:
            raw.offline = get_ident()
            return self.peek()
        finally:
            raw.offline = None

    def rest(self):
        """Return how many of the bytes received belong to this response.

        None if they do not complete it, or nobody can know.  Less than none
        if bytes beyond the end have been read.
        """
        try:
            # If another thread is reading, it has the buffer.
            if self.raw.reading or self.raw.interrupted:
                return None
            in_buffer = len(self.peek_buffered()) - self._dropped
        except (AttributeError, ValueError):    # detached or closed
            return None
        missing = self.raw.missing
        return None if missing > 0 else in_buffer + missing

    def drop_rest(self):
        """Count what rest() tells as read, without reading it.

        Another thread may be reading, and would wait for more.
        """
        raw = self.raw
        if raw is not None and raw.inbox is not None:
            self._drop_received(raw)
        rest = self.rest()
        if rest is not None and rest > 0:
            self._dropped += rest

    def _drop_received(self, raw):
        # What the pipeline has of the response has not been in the buffer.
        if raw.missing > 0 and not raw.reading and not self.closed:
            self._dropped = len(self.peek_buffered())
            raw.inbox.drop_rest(raw)

    def receive_rest(self, limit, timeout):
        """Receive until rest() knows the end of the response.

        What has been received before that is dropped.  Give up after *limit*
        bytes, or *timeout* seconds, or when the connection ends.
        """
        raw = self.raw
        if raw is None or raw.closed or raw.reading or raw.interrupted:
            return
        if self.rest() is not None:
            return
        sock = raw._sock
        own_timeout = sock.gettimeout()
        deadline = time.monotonic() + timeout
        try:
            while raw.missing <= limit > 0 and self.rest() is None:
                timeout = deadline - time.monotonic()
                if timeout <= 0:
                    break
                sock.settimeout(timeout)
                # At most one call of the system, so the timeout holds.
                received = self.read1(min(limit, _READ_SIZE))
                if not received:
                    break
                limit -= len(received)
        finally:
            sock.settimeout(own_timeout)

    def buffered(self):
        """Return all that has been received and not been read.

        Raises ValueError like peek_buffered().
        """
        return self.peek_buffered()[self._dropped:] + self.raw.pending


def is_at_end(file):
    """Tell whether an empty read of *file* means that nothing will follow.

    It may mean that nothing has arrived yet, if the socket does not block.
    Only a Reader can tell.
    """
    return not isinstance(file, Reader) or file.raw.at_end


def is_ragged(file):
    """Tell whether *file*, being at its end, has met what require_tls_end()
    is about."""
    return isinstance(file, Reader) and file.raw.is_ragged


def has_ended(response):
    """Tell whether a read of *response* has met the connection's end.

    Only that of a Reader is known.
    """
    fp = getattr(response, "fp", None)
    return isinstance(fp, Reader) and fp.raw is not None and fp.raw.at_end


def is_cut(file):
    """Tell whether a line that has just been read from *file* was cut.

    Who makes a response of a file, without a connection, may leave the last
    line ends out.
    """
    return isinstance(file, Reader) and file.strict and file.raw.at_end


def has_lost_requests(file):
    """Tell whether there are requests without a response if *file* ends."""
    return (isinstance(file, Reader) and file.raw.inbox is not None
            and bool(file.raw.inbox.requests))


class Received:
    """What has been received and belongs to no response yet."""

    __slots__ = ("pending", "error", "ended", "_wants_write")

    def __init__(self):
        self.pending = b""
        self.error = None       # an error that a look at the socket raised
        self.ended = False      # whether a look has seen the end
        self._wants_write = False   # TLS has to send before it can receive

    def hand_over(self, reader):
        """Let *reader* begin with it."""
        reader.strict = True
        if not self.has_begun():
            return
        raw = reader.raw
        raw.pending, self.pending = self.pending, b""
        raw.error, self.error = self.error, None
        raw.ended = self.ended

    def take_back(self, reader):
        """Take what *reader* has received beyond the end of its response.

        Line ends are dropped: they are of no response.
        """
        if reader.raw.missing or reader.raw.pending:
            self.pending = (reader.buffered() + self.pending).lstrip(b"\r\n")

    def has_begun(self):
        """Tell whether there is something for a response to begin with."""
        return bool(self.pending) or self.ended or self.error is not None

    def has_stray_bytes(self):
        """Tell whether there is something while no request is outstanding.

        Line ends are dropped: RFC 9112, section 9.2.
        """
        self.pending = self.pending.lstrip(b"\r\n")
        return bool(self.pending)

    def poll(self, sock, timeout=0, *, idle):
        """Wait until a read would not wait; return False if it would.

        A read does not wait if bytes have been received, or if the
        connection has ended or failed.  What TLS receives for itself is
        none of these.  *timeout* is in seconds, None for no limit.  *idle*
        tells that no request is outstanding; see has_stray_bytes().
        """
        deadline = time.monotonic() + timeout if timeout else None
        tries = _MAX_EMPTY_READS
        while not self._would_not_wait(idle):
            if not tries:
                return idle
            to_write, self._wants_write = self._wants_write, False
            if sock.fileno() < 0:      # closed by its owner
                self.ended = True
            elif is_ready(sock, timeout, to_write):
                self._receive(sock)
            else:
                return False
            if deadline is not None:
                timeout = max(0, deadline - time.monotonic())
            if idle or timeout == 0:
                tries -= 1
        return True

    def poll_while(self, predicate, sock, timeout):
        """Wait for more while predicate(what has been received) is true.

        Return False if that takes longer than *timeout*, which is as with
        poll().
        """
        deadline = time.monotonic() + timeout if timeout else None
        while (predicate(self.pending)
               and not self.ended and self.error is None):
            if not self._poll_more(sock, timeout):
                return False
            if deadline is not None:
                timeout = max(0, deadline - time.monotonic())
        return True

    def _poll_more(self, sock, timeout):
        begun, self.pending = self.pending, b""
        try:
            return self.poll(sock, timeout, idle=False)
        finally:
            self.pending = begun + self.pending

    def _would_not_wait(self, idle):
        if idle and self.pending:
            self.has_stray_bytes()
        return self.has_begun()

    def _receive(self, sock):
        timeout = sock.gettimeout()
        try:
            # MSG_DONTWAIT would not do: Python waits again on a socket that
            # has a timeout, and TLS takes no flags.
            sock.settimeout(0)
            self._receive_now(sock)
        finally:
            sock.settimeout(timeout)

    def _receive_now(self, sock, size=_READ_SIZE):
        try:
            data = bytearray(size)
            size = sock.recv_into(data)
        except WouldBlock as exc:
            # The socket was ready for something that is not application
            # data, such as a session ticket, or only a part of a record.
            self._wants_write = isinstance(exc, _SSLWantWriteError)
        except OSError as exc:
            # What it refers to must not keep the socket alive.
            exc.__context__ = exc.__cause__ = None
            self.error = exc.with_traceback(None)
            # A signal handler can have raised it, when bytes had been read.
            self.ended = True
        else:
            self._take(data[:size])
            self.ended = not size

    def _take(self, data):
        self.pending += data


def is_ready(sock, timeout, to_write=False, either=False):
    """Wait until *sock* is ready; return False if it is not in time.

    *timeout* is in seconds, None for no limit.  With *to_write* and *either*,
    it is also ready if it can be read.
    """
    pending = getattr(sock, "pending", None)
    if (pending is not None and (either or not to_write)
            and pending()):     # TLS has it, not the system
        return True
    if timeout:
        timeout = max(0, min(timeout, _MAX_WAIT))
    try:
        poller = select.poll()
    except AttributeError:      # Windows, or removed by eventlet
        readers = [sock] if either or not to_write else []
        writers = [sock] if to_write else []
        return any(select.select(readers, writers, [], timeout))
    events = select.POLLOUT if to_write else select.POLLIN
    poller.register(sock, events | select.POLLIN if either else events)
    return bool(poller.poll(timeout and math.ceil(timeout * 1000)))
