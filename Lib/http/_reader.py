"""The reader of an HTTPConnection's socket (private to http.client).

There is one for the socket, which one response after another borrows.
If each had its own, bytes that arrive together with the end of one response
would be lost: those of the next response, if another request was already
sent (bpo-23377), and those which show that the server is out of step, if
none was.
"""

import io
import math
import select
import socket
import time

try:
    import ssl
except ImportError:
    _SSLWantReadError = _SSLWantWriteError = ()
else:
    _SSLWantReadError = ssl.SSLWantReadError
    _SSLWantWriteError = ssl.SSLWantWriteError

# As much as an idle connection should hold; io.DEFAULT_BUFFER_SIZE grew with
# files in mind.  Large reads bypass the buffer.
_BUFFER_SIZE = 8192

# How many reads without any data a poll does that is not to wait.  A server
# could send TLS records that carry none for ever.
_MAX_EMPTY_READS = 100

# select.poll() takes a C int of milliseconds.
_MAX_WAIT = 2**31 / 1000 - 1


def suits(sock):
    """Tell whether Reader(sock) reads what sock.makefile("rb") would."""
    return (isinstance(sock, socket.socket)
            and type(sock).makefile is socket.socket.makefile)


def is_ready(sock, timeout, to_write=False):
    """Wait until *sock* is ready; return False if it is not in time.

    *timeout* is in seconds, None for no limit.
    """
    pending = getattr(sock, "pending", None)
    if pending is not None and pending():   # TLS has it, not the system
        return True
    if timeout is not None:
        timeout = max(0, min(timeout, _MAX_WAIT))
    try:
        poller = select.poll()
    except AttributeError:      # Windows, or removed by eventlet
        readers, writers = ([], [sock]) if to_write else ([sock], [])
        return any(select.select(readers, writers, [], timeout))
    poller.register(sock, select.POLLOUT if to_write else select.POLLIN)
    return bool(poller.poll(timeout and math.ceil(timeout * 1000)))


class _ReceivingIO(socket.SocketIO):
    """The raw stream of a socket, which can be told not to wait for it.

    What a read that does not wait finds out is kept for one that does: the
    end may be seen, and an error raised, only once.
    """

    def __init__(self, sock):
        super().__init__(sock, "r")
        self.offline = False    # if true, it is as if the end were here
        self.ended = False      # has the end been seen?
        self.error = None       # what the next read is to raise
        self._held = False      # is the socket to stay open for this stream?
        self._probing = False
        self._wants_write = False   # TLS has to send before it can receive

    def readinto(self, b):
        if self.offline or self.ended:
            return 0
        if self._probing:
            return self._readinto_now(b)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return super().readinto(b)

    def _readinto_now(self, b):
        try:
            n = super().readinto(b)
        except _SSLWantReadError:
            # The socket was readable for something that is not application
            # data, such as a session ticket, or only a part of a record.
            return None
        except _SSLWantWriteError:
            self._wants_write = True
            return None
        except OSError as exc:
            self.error = exc
            return None
        self.ended = n == 0
        return n

    def probe(self, reader, timeout):
        """Let *reader* receive what is there, waiting *timeout* for it.

        Return False if nothing came in time.  If something did, that need
        not be data.
        """
        sock = self._sock
        if sock.fileno() < 0:       # closed by its owner
            self.ended = True
            return True
        to_write, self._wants_write = self._wants_write, False
        if not is_ready(sock, timeout, to_write):
            return False
        saved = sock.gettimeout()
        try:
            # MSG_DONTWAIT would not do: Python waits again on a socket that
            # has a timeout, and TLS takes no flags.
            self._probing = True
            sock.settimeout(0)
            reader.peek()
        finally:
            self._probing = False
            sock.settimeout(saved)
        return True

    def hold(self):
        """Keep the socket open even if its owner closes it.

        What socket.makefile() makes holds it as long as it lives.
        """
        if not self._held:
            self._held = True
            self._sock._io_refs += 1

    def release(self):
        """Let the socket be closed, now if its owner has done so before."""
        if self._held:
            self._held = False
            self._sock._decref_socketios()

    def close(self):
        if not self.closed:
            self.hold()         # SocketIO.close() releases
            super().close()

    def forget_timeout(self):
        """Let the stream be read again after a timeout.

        SocketIO never reads again, as a caller may have lost bytes.  What
        it protects here is a response, not the connection.
        """
        self._timeout_occurred = False


class Reader(io.BufferedReader):

    def __init__(self, sock):
        super().__init__(_ReceivingIO(sock), _BUFFER_SIZE)

    def makefile(self, mode):
        """Return the reader: HTTPResponse(reader) borrows it that way."""
        return self

    def buffered(self):
        """Return all that has been received and not been read."""
        self.raw.offline = True
        try:
            return self.peek()
        finally:
            self.raw.offline = False

    def has_stray_bytes(self):
        """Tell whether bytes have been received that belong to nothing.

        To be asked while no request is outstanding.  Bare line ends are
        dropped instead (RFC 9112, section 9.2).
        """
        received = self.buffered()
        if received.strip(b"\r\n"):
            return True
        self.read(len(received))
        return False

    def poll(self, timeout=0, *, idle):
        """Wait until a read would not wait; return False if it would.

        A read does not wait if bytes have been received, or if the
        connection has ended or failed.  What TLS receives for itself is
        none of these.  *timeout* is in seconds, None for no limit.  *idle*
        tells that no request is outstanding; see has_stray_bytes().
        """
        self.raw.forget_timeout()
        deadline = time.monotonic() + timeout if timeout else None
        tries = _MAX_EMPTY_READS
        while not self._would_not_wait(idle):
            if not tries or not self.raw.probe(self, timeout):
                return False
            if deadline is not None:
                timeout = max(0, deadline - time.monotonic())
            if timeout == 0:
                tries -= 1
        return True

    def _would_not_wait(self, idle):
        if self.has_stray_bytes() if idle else self.buffered():
            return True
        return self.raw.ended or self.raw.error is not None
