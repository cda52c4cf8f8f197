"""One connection for many requests whose responses do not matter (private).

This is for logging.handlers.HTTPHandler, which is to spend little time, and
a bounded one, on each of them.
"""

import contextlib
import functools
import math
import os
import socket
import time
from http import _reader
from http.client import HTTPConnection, HTTPResponse

# Reading so much of a response costs less than a new connection, as a rule.
_MAX_DRAIN = 256 << 10

# How much TLS sends at once.
_MAX_RECORD = 1 << 14

# What select() and poll() take, in seconds; more is taken for no limit.
_FOREVER = 1 << 20


class KeptConnection:
    """A connection that is kept, if possible, from one exchange to the next.

    timeout -- how many seconds an exchange may take; None for no limit

    An exchange within another one has a connection of its own.  Threads have
    to take turns.
    """

    def __init__(self, timeout):
        self._timeout = math.inf if timeout is None else float(timeout)
        if not self._timeout > 0:
            raise ValueError("timeout must be positive")
        self._idle = None
        self._pid = None        # the process that has opened it

    def exchange(self, open, send):
        """Send a request by send(connection), and drop its response.

        Whenever another connection is needed it is open() that returns it.
        Nothing is sent twice.  Whatever is raised, the connection has been
        closed.
        """
        pid = os.getpid()
        deadline = time.monotonic() + self._timeout
        connection = self._take()
        if connection is None:
            connection = open()
        if not is_known(connection):
            # Nobody knows whether such a thing can be kept.
            send(connection)
            connection.getresponse()
            return
        try:
            with _Limit(connection, deadline) as limit:
                _exchange(connection, send, limit)
        except BaseException:
            _close(connection)
            raise
        if connection.sock is None or self._idle is not None:
            _close(connection)
        else:
            self._idle, self._pid = connection, pid

    def close(self):
        """Close the connection; the next exchange opens another."""
        connection = self._take()
        if connection is not None:
            _close(connection)

    def _take(self):
        # From here on nobody else gets it, or it is closed.
        connection, self._idle = self._idle, None
        if connection is None:
            return None
        if self._pid != os.getpid():
            _leave_to_parent(connection.sock)
            return None
        try:
            if not connection.poll_response():
                return connection
        except Exception:   # some fakes cannot be asked
            pass
        except BaseException:
            _close(connection)
            raise
        _close(connection)
        return None


def is_known(connection):
    """Tell whether *connection* can be kept, and its requests limited."""
    return issubclass(type(connection), HTTPConnection)


def _exchange(connection, send, limit):
    if connection.sock is None:
        connection.timeout = limit.time_left()
        connection.connect()
    limit.apply()
    send(connection)
    limit.apply()
    response = connection.getresponse()
    if isinstance(response, HTTPResponse):
        limit.drain(response)
    else:
        close = getattr(response, "close", None)    # it may even be None
        if close is not None:
            close()
        connection.close()


def _close(connection):
    with contextlib.suppress(OSError):
        connection.close()


def _is_of_socket(create):
    # Others replace socket.create_connection(), to go by a proxy, for example.
    return getattr(create, "__globals__", None) is vars(socket)


def _leave_to_parent(sock):
    # Nothing is sent or shut down: only this descriptor goes.
    if issubclass(type(sock), socket.socket):
        with contextlib.suppress(OSError):
            socket.close(sock.detach())


class _Limit:
    """A context in which what a connection waits for ends at a deadline.

    A socket's timeout begins anew with each byte, so it is set anew whenever
    something is to be sent or has been received.  That is done by attributes
    of HTTPConnection that others replace, too.
    """

    def __init__(self, connection, deadline):
        self._connection = connection
        self._deadline = deadline
        self._before = vars(connection).copy()
        self._create = connection._create_connection
        self._make_response = connection.response_class
        self._send = connection.send
        self._limited = []      # streams that read by _read_limited()

    def __enter__(self):
        # Not by setattr(): a class may have a property that has no setter.
        vars(self._connection).update(
            _create_connection=self._create_limited,
            response_class=self._make_limited_response,
            send=self._send_limited)
        return self

    def __exit__(self, *exc_info):
        for raw in self._limited:
            vars(raw).pop("readinto", None)
        attributes = vars(self._connection)
        for name in "_create_connection", "response_class", "send":
            attributes.pop(name, None)
            if name in self._before:
                attributes[name] = self._before[name]

    def time_left(self):
        """Return what is left as a timeout; raise TimeoutError if nothing."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left if left < _FOREVER else None

    def apply(self):
        """Limit what the connection does next."""
        self._apply(self._connection.sock)

    def drain(self, response):
        """Close *response*, having received the rest of it if possible."""
        left = self._deadline - time.monotonic()
        response._drain(_MAX_DRAIN, min(left, _FOREVER))

    def _apply(self, sock):
        if hasattr(sock, "settimeout"):     # some fakes have no such thing
            sock.settimeout(self.time_left())

    def _create_limited(self, address, timeout, source_address):
        if _is_of_socket(self._create):
            sock = self._create_first(address, source_address)
        else:
            sock = self._create(address, self.time_left(), source_address)
        # For a TLS handshake, which keeps to it as a whole.
        self._apply(sock)
        return sock

    def _create_first(self, address, source_address):
        # socket.create_connection() would give each address of a host all of
        # the time.
        found = socket.getaddrinfo(*address, 0, socket.SOCK_STREAM)
        if not found:
            raise OSError("no addresses found for %r" % (address[0],))
        while True:
            left = self.time_left()
            timeout = left and left / len(found)
            host, port, *more = found.pop(0)[4]
            if any(more[1:]):
                host = f"{host}%{more[1]}"      # the scope of an IPv6 address
            try:
                return self._create((host, port), timeout, source_address)
            except OSError:
                if not found:
                    raise

    def _make_limited_response(self, sock, *args, **kwargs):
        response = self._make_response(sock, *args, **kwargs)
        fp = getattr(response, "fp", None)
        raw = getattr(fp, "raw", None)
        if isinstance(fp, _reader.Reader):
            raw.after_receiving = self._apply
        elif isinstance(raw, socket.SocketIO):
            # A makefile() other than module socket's has been called.
            self._limited.append(raw)
            raw.readinto = functools.partial(self._read_limited, raw)
        return response

    def _read_limited(self, raw, buffer):
        received = type(raw).readinto(raw, buffer)
        self._apply(raw._sock)
        return received

    def _send_limited(self, data):
        if not isinstance(data, bytes):
            self.apply()
            self._send(data)
            return
        # Over TLS, the timeout is for each record.
        for at in range(0, len(data) or 1, _MAX_RECORD):
            self.apply()
            self._send(data[at:at + _MAX_RECORD])
