"""The servers of ./series demo: each ends its connections while idle.

A server is a context manager.  While it runs, `address` is its (host, port),
`cafile` what to trust it by (None: no TLS), and hang_up() tells it that the
client has read the answer to its POST.  Once it has ended, `received` has the
body of every POST that arrived in full, in order, and `connections` tells how
many connections were used.
"""

import contextlib
import socket
import struct
import threading
from pathlib import Path
from typing import Callable, NamedTuple

HOST = "127.0.0.1"
CERTIFICATE = Path(__file__).with_name("cert.pem")
TIMEOUT = 10        # seconds, for each wait
MAX_LINE = 65536    # bytes


# How to end a connection.

def _fin(sock):
    # Not SSLSocket.shutdown(), which would also forget the TLS session.
    socket.socket.shutdown(sock, socket.SHUT_WR)


def _rst(sock):
    linger = struct.pack("ii", 1, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def _408(sock):
    sock.sendall(b"HTTP/1.1 408 Request Timeout\r\n"
                 b"Connection: close\r\nContent-Length: 0\r\n\r\n")
    _fin(sock)


def _close_notify(sock):
    import ssl
    sock.settimeout(0)      # send ours, do not wait for the peer's
    with contextlib.suppress(ssl.SSLWantReadError):
        sock.unwrap()
    sock.settimeout(TIMEOUT)
    _fin(sock)


class Way(NamedTuple):
    """A way to end an idle connection."""

    label: str
    end: Callable
    tls: bool = False
    reads_on: bool = True   # what arrives after the end still counts


WAYS = (
    Way("FIN", _fin),
    Way("RST", _rst, reads_on=False),
    Way("408, then FIN", _408),
    Way("TLS close_notify", _close_notify, tls=True),
    Way("TLS bare FIN", _fin, tls=True),
)


def why_no_tls():
    """Return why this Python cannot be a TLS 1.3 server, or None if it can."""
    try:
        import ssl
    except ImportError:
        return "the Python that runs ./series has no ssl module"
    return None if ssl.HAS_TLSv1_3 else "its OpenSSL has no TLS 1.3"


class ScriptedServer:
    """Answers one POST on each connection and, told to, ends it.

    An ended connection is still read from, as far as TCP allows that: only
    so can a POST that its client takes for lost be seen to arrive twice.
    """

    def __init__(self, way):
        self.cafile = str(CERTIFICATE) if way.tls else None
        self.received = []
        self._way = way
        self._context = None
        self._idle = threading.Semaphore(0)
        self._threads = []
        if way.tls:
            import ssl
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.minimum_version = ssl.TLSVersion.TLSv1_3
            self._context.load_cert_chain(CERTIFICATE)

    @property
    def connections(self):
        return len(self._threads)

    def hang_up(self):
        self._idle.release()

    def __enter__(self):
        self._listener = socket.create_server((HOST, 0))
        self.address = self._listener.getsockname()
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, *exc_info):
        self._listener.shutdown(socket.SHUT_RDWR)   # wakes accept()
        self._acceptor.join()
        self._listener.close()
        for _ in self._threads:     # one may wait for a hang_up()
            self._idle.release()
        for thread in self._threads:
            thread.join()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock):
        sock.settimeout(TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(sock)
            if self._context:
                sock = self._context.wrap_socket(sock, server_side=True)
                stack.enter_context(sock)
            reader = stack.enter_context(sock.makefile("rb"))
            if not self._receive(reader):
                return
            answer = self.received[-1].encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
                         % (len(answer), answer))
            self._idle.acquire(timeout=TIMEOUT)
            self._way.end(sock)
            while self._way.reads_on and self._receive(reader):
                pass

    def _receive(self, reader):
        """Take in one POST; return whether it arrived in full."""
        length = 0
        while (line := reader.readline(MAX_LINE)) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = reader.read(length)
        if not line or len(body) < length:
            return False
        self.received.append(body.decode())
        return True
