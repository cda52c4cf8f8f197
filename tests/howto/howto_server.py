"""The hosts of the how-to's examples, on the loopback interface."""

import re
import socket
import ssl
import threading
import time
from pathlib import Path

# Self-signed, for example.org and the hosts below it.
CERTIFICATE = Path(__file__).with_name("howto_cert.pem")

# What leads an interpreter there, by its address and the ports of the server.
DIRECTIONS = """\
import socket
def direct(getaddrinfo=socket.getaddrinfo, ports={ports!r}):
    def directed(host, port, *args, **kwargs):
        if host == "localhost":
            return getaddrinfo("127.0.0.1", port, *args, **kwargs)
        if host.endswith("example.org"):
            return getaddrinfo("127.0.0.1", ports[port], *args, **kwargs)
        raise socket.gaierror(f"no traffic to {{host}}")
    socket.getaddrinfo = directed
direct()
del direct
"""

PAGE = b"A page of the example.\n" * 10
PART, WHOLE = 4000, 10000       # of a body, and what its length says
REQUESTS = 30                   # that flaky.example.org answers
TIMEOUT = 30                    # seconds, for what is there at once


class Server:
    """Every host of the examples; a context manager.

    Attributes: ports (of the loopback interface, by those that the examples
    use), failures (what went wrong in a thread of the server).
    """

    def __init__(self):
        self.failures = []
        self.closed_once = False    # has flaky.example.org?
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATE)
        self._listeners = [socket.create_server(("127.0.0.1", 0))
                           for _ in range(2)]
        plain, tls = [listener.getsockname()[1]
                      for listener in self._listeners]
        self.ports = {80: plain, 443: tls}
        self._threads = []
        self._links = []

    def __enter__(self):
        for listener, over_tls in zip(self._listeners, (False, True)):
            self._start(self._accept, listener, over_tls)
        return self

    def __exit__(self, *exc_info):
        for sock in self._listeners + self._links:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        # More of them can come only from those that accept().
        for thread in self._threads[:2]:
            thread.join(TIMEOUT)
        for thread in self._threads:
            thread.join(TIMEOUT)
        for sock in self._listeners + self._links:
            sock.close()
        if any(thread.is_alive() for thread in self._threads):
            self.failures.append("a thread of the server is alive")

    def _start(self, function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener, over_tls):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(TIMEOUT)
            self._links.append(sock)
            self._start(self._serve, sock, over_tls)

    def _serve(self, sock, over_tls):
        try:
            link = Link(self, self._wrap(sock) if over_tls else sock)
            try:
                while link.exchange():
                    pass
            finally:
                link.sock.close()
        except (ConnectionError, ssl.SSLError):
            pass        # the client has gone
        except Exception as exc:
            self.failures.append(repr(exc))

    def _wrap(self, sock):
        wrapped = self._context.wrap_socket(sock, server_side=True)
        self._links.append(wrapped)
        return wrapped


class Link:
    """One connection, as the server has it."""

    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.received = b""
        self.count = 0

    def exchange(self):
        """Answer a request; return whether there can be another one."""
        head = self._read_head()
        if head is None:
            return False
        self.count += 1
        method, target, _ = head.split("\r\n")[0].split(" ")
        fields = dict(re.findall(r"(?m)^([^:\r\n ]+): ([^\r\n]*)", head))
        answer = getattr(self, "_" + fields["Host"].split(".")[0])
        return answer(method, target, fields)

    def _read_head(self):
        while b"\r\n\r\n" not in self.received:
            if not self._receive():
                return None
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        return head.decode("ascii") + "\r\n"

    def _receive(self):
        data = self.sock.recv(65536)
        self.received += data
        return data

    def _read_body(self, fields):
        size = int(fields.get("Content-Length", "0"))
        while len(self.received) < size:
            if not self._receive():
                raise ConnectionError
        self.received = self.received[size:]

    def _send_all(self, data):
        self.sock.sendall(data)

    def _answer(self, body, *headers, status="200 OK"):
        headers = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}",
                   *headers]
        self._send_all("\r\n".join([*headers, "", ""]).encode() + body)
        return True

    def _www(self, method, target, fields):
        if target == "/movies/1":
            assert fields["Expect"] == "100-continue"
            return self._answer(
                b"", "Location: https://api.example.org/movies/1",
                status="307 Temporary Redirect")
        self._read_body(fields)
        return self._answer(PAGE)

    def _api(self, method, target, fields):
        if target == "/report":
            time.sleep(0.2)
        return self._answer(target.encode())

    def _flaky(self, method, target, fields):
        self._read_body(fields)
        if target == "/orders":
            return False
        if target == "/items" and not self.server.closed_once:
            self.server.closed_once = True
            return False
        self._answer(target.encode())
        if self.count < REQUESTS:
            return True
        # It lets the client read what it has said.
        socket.socket.shutdown(self.sock, socket.SHUT_WR)
        while self._receive():
            self.received = b""
        return False

    def _old(self, method, target, fields):
        # It ends a body only with the connection, and only if asked to.
        head = "HTTP/1.1 200 OK\r\n"
        if target == "/short":
            head += f"Content-Length: {WHOLE}\r\n"
        self._send_all(f"{head}\r\n".encode() + bytes(PART))
        return fields.get("Connection") != "close"
