"""What http.client raises, for each row of the how-to's table.

Run by the interpreter in question.  Prints, as JSON, a list with an object for
each case: row (what the table calls it), call, exceptions (the names of the
classes), closed (whether it is a ConnectionClosed), sent ("nothing", "a part"
or "all" of the request).
"""

import contextlib
import http.client
import json
import select
import socket
import ssl
import struct
import sys
import threading

CERTIFICATE = sys.argv[1]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"HTTP/1.1 200 OK\r\n"
LARGE = bytes(20_000_000)
SOON = 0.2      # seconds, where it is a timeout that is wanted
LATE = 30       # and where it is not

cases = {}
requested = []      # what http.client has begun to send of requests


def note(event, args):
    if event == "http.client.send" and not (
            isinstance(args[1], bytes) and args[1].startswith(b"CONNECT")):
        requested.append(args[1])


sys.addaudithook(note)


class Link:
    """A connection of the peer's, with what it has received."""

    def __init__(self, sock):
        self.sock = sock
        self.received = b""

    def read_head(self):
        """Receive one header section, and not a byte more."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            if not byte:
                return
            head += byte
        if not head.startswith(b"CONNECT"):
            self.received += head

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.sock.close()


class Peer:
    """Accepts one connection, and does with it what script(link) does.

    *gate* is an Event for the two to agree on; *ended* is set when the script
    has ended.
    """

    def __init__(self, script, *, tls=False):
        self.script = script
        self.tls = tls
        self.gate = threading.Event()
        self.ended = threading.Event()
        self.received = b""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *exc_info):
        self.gate.set()
        self.thread.join()
        self.listener.close()

    def run(self):
        sock, _ = self.listener.accept()
        sock.settimeout(LATE)
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: sock.close())
            if self.tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(CERTIFICATE)
                try:
                    sock = context.wrap_socket(sock, server_side=True)
                except OSError:
                    return
            self.link = Link(sock)
            self.script(self, self.link)
            self.ended.set()
            self.gate.wait(LATE)
            self.received = self.link.received + read_rest(sock)


def read_rest(sock):
    data = b""
    try:
        while part := sock.recv(1 << 16):
            data += part
    except OSError:
        pass        # it was reset, or is closed already
    return data


def connection(peer, *, timeout=LATE, tls=False):
    if tls:
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection("127.0.0.1", peer.port,
                                           timeout=timeout, context=context)
    return http.client.HTTPConnection("127.0.0.1", peer.port, timeout=timeout)


def case(row):
    """Decorator: a generator function that yields, for each case,

    (call, exception, sent), with sent None if the peer knows.
    """
    def decorate(function):
        cases.setdefault(row, []).append(function)
        return function
    return decorate


def catch(function, *args, **kwargs):
    """Call it and return the exception, with what was sent until then."""
    begun = len(requested)
    try:
        function(*args, **kwargs)
    except Exception as exc:
        exc.requested = requested[begun:]
        return exc.with_traceback(None)
    raise AssertionError(f"{function} has raised nothing")


def nothing(peer, link):
    pass


# Before anything is sent.

@case("the method, the target, a header or a body of text cannot be sent as "
      "it is")
def arguments():
    for args in (("GET", "/a b"), ("GET", "/", None, {"A": "b\r\nc"}),
                 ("POST", "/", "\u20ac"), ("GET", "/\u20ac"),
                 ("GET", "/", None, {"A:": "b"})):
        with Peer(nothing) as peer:
            conn = connection(peer)
            conn.connect()
            yield "request()", catch(conn.request, *args), None
            conn.close()


@case("the response to an earlier request was not asked for, or sending that "
      "has failed")
def order():
    def answer(peer, link):
        link.read_head()
        link.sock.sendall(OK)

    with Peer(answer) as peer:
        conn = connection(peer)
        conn.request("GET", "/")
        yield "request()", catch(conn.request, "POST", "/"), "nothing"
        conn.close()
    assert peer.received.startswith(b"GET"), peer.received

    with Peer(nothing) as peer:
        conn = connection(peer, timeout=SOON)
        catch(conn.request, "POST", "/", LARGE)
        yield "request()", catch(conn.request, "GET", "/"), "nothing"
        conn.close()
        # It is ready for another one.
        conn.auto_open = 0
        assert isinstance(catch(conn.request, "GET", "/"),
                          http.client.NotConnected)


@case("auto_open is false")
def no_connection():
    conn = http.client.HTTPConnection("127.0.0.1", 9)
    conn.auto_open = 0
    yield "request()", catch(conn.request, "GET", "/"), "nothing"


@case("the body cannot be read")
def unreadable():
    for body in 3, [b"a", "b"]:
        with Peer(lambda peer, link: link.read_head()) as peer:
            conn = connection(peer)
            yield "request()", catch(conn.request, "POST", "/", body), "a part"
            conn.close()
        assert peer.received.startswith(b"POST"), peer.received


@case("too much has come meanwhile, see Pipelining")
def overflow():
    def answer(peer, link):
        link.read_head()
        link.sock.sendall(OK)
        link.read_head()
        with contextlib.suppress(OSError):
            link.sock.sendall(HEAD + b"Content-Length: 50000000\r\n\r\n"
                              + bytes(50_000_000))

    with Peer(answer) as peer:
        conn = connection(peer)
        conn.max_pipelined = 3
        conn.request("GET", "/")
        conn.getresponse().read()
        conn.request("GET", "/1")
        exc = catch(conn.request, "PUT", "/2", LARGE)
        assert exc.unanswered == (("GET", "/1"), ("PUT", "/2")), exc.unanswered
        yield "request()", exc, "a part"
        conn.close()


# While connecting.

@case("the host has no address")
def no_address():
    conn = http.client.HTTPConnection("host.invalid")
    getaddrinfo = socket.getaddrinfo

    def fail(*args, **kwargs):      # no traffic
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    socket.getaddrinfo = fail
    try:
        yield "connect()", catch(conn.connect), "nothing"
        yield "connect()", catch(conn.request, "GET", "/"), "nothing"
    finally:
        socket.getaddrinfo = getaddrinfo


@case("nobody listens")
def refused():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=LATE)
    yield "connect()", catch(conn.connect), "nothing"
    yield "connect()", catch(conn.request, "GET", "/"), "nothing"


@case("nobody answers")
def unanswered():
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(
            socket.create_server(("127.0.0.1", 0), backlog=0))
        # Nobody accepts, and there is no room.
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        conn = http.client.HTTPConnection(*listener.getsockname(),
                                          timeout=SOON)
        yield "connect()", catch(conn.connect), "nothing"

    def stall(peer, link):
        link.read_head()
        peer.gate.wait(LATE)

    with Peer(stall) as peer:
        conn = connection(peer, timeout=SOON)
        conn.set_tunnel("www.example.org")
        yield "connect()", catch(conn.connect), None
        assert conn.sock is None


@case("TLS could not be established")
def no_tls():
    with Peer(nothing, tls=True) as peer:
        conn = http.client.HTTPSConnection("127.0.0.1", peer.port,
                                           timeout=LATE)
        yield "connect()", catch(conn.connect), "nothing"
        peer.gate.set()

    def speak(peer, link):
        link.sock.recv(10)
        link.sock.sendall(b"SSH-2.0 hello\r\n")

    with Peer(speak) as peer:
        conn = connection(peer, tls=True)
        yield "connect()", catch(conn.connect), "nothing"


@case("the proxy has refused")
def refused_tunnel():
    def refuse(peer, link):
        link.read_head()
        link.sock.sendall(b"HTTP/1.1 407 Authenticate\r\n"
                          b"Content-Length: 0\r\n\r\n")

    with Peer(refuse) as peer:
        conn = connection(peer)
        conn.set_tunnel("www.example.org")
        exc = catch(conn.request, "GET", "/")
        assert str(exc).startswith("Tunnel connection failed"), exc
        yield "connect()", exc, None


@case("the proxy has closed the connection")
def cut_tunnel():
    def close(peer, link):
        link.read_head()
        link.sock.close()

    with Peer(close) as peer:
        conn = connection(peer)
        conn.set_tunnel("www.example.org")
        yield "connect()", catch(conn.request, "GET", "/"), None


# While sending.

def wait_for_end(conn):
    """Wait until the end of the connection is here."""
    assert select.select([conn.sock], [], [], LATE)[0]


@case("the connection had ended while it was idle, and auto_open is false")
def ended_while_idle():
    def end(peer, link):
        link.read_head()
        link.sock.sendall(OK)
        link.received = b""
        link.sock.close()

    for tls in False, True:
        with Peer(end, tls=tls) as peer:
            conn = connection(peer, tls=tls)
            conn.auto_open = 0
            conn.connect()
            conn.request("GET", "/")
            conn.getresponse().read()
            peer.ended.wait(LATE)
            wait_for_end(conn)
            exc = catch(conn.request, "POST", "/", b"x")
            yield "request()", exc, "nothing"


@case("the server has closed the connection")
def closed_while_sending():
    def reset(peer, link):
        link.read_head()
        link.reset()

    for tls in False, True:
        with Peer(reset, tls=tls) as peer:
            conn = connection(peer, tls=tls)
            yield "request()", catch(conn.request, "POST", "/", LARGE), None
            conn.close()

    # The other two, as the socket raises them.
    for error in (BrokenPipeError(32, "Broken pipe"),
                  ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred")):
        class Socket(socket.socket):
            def sendall(self, data, error=error):
                if data is LARGE:
                    raise error
                super().sendall(data)

        with Peer(lambda peer, link: link.read_head()) as peer:
            conn = connection(peer)
            sock = Socket()
            sock.settimeout(LATE)
            sock.connect(("127.0.0.1", peer.port))
            conn.sock = sock
            yield "request()", catch(conn.request, "POST", "/", LARGE), None
            conn.close()

    # "call getresponse() first"
    def refuse(peer, link):
        link.read_head()
        link.sock.sendall(b"HTTP/1.1 413 Content Too Large\r\n"
                          b"Content-Length: 0\r\n\r\n")
        link.sock.close()

    with Peer(refuse) as peer:
        conn = connection(peer)
        yield "request()", catch(conn.request, "POST", "/", LARGE), None
        with conn.getresponse() as response:
            assert response.status == 413
        conn.close()


@case("the server does not read")
def stalled():
    with Peer(lambda peer, link: link.read_head()) as peer:
        conn = connection(peer, timeout=SOON)
        yield "request()", catch(conn.request, "POST", "/", LARGE), None
        conn.close()


# While the response is awaited.

@case("an earlier response has not been read to its end")
def not_ready():
    def answer(peer, link):
        for _ in range(2):
            link.received = b""
            link.read_head()
            link.sock.sendall(OK)

    with Peer(answer) as peer:
        conn = connection(peer)
        conn.request("GET", "/")
        with conn.getresponse() as response:
            conn.request("POST", "/")
            yield "getresponse()", catch(conn.getresponse), None
            # "call getresponse() again"
            response.read()
        assert conn.getresponse().read() == b"ok"
        conn.close()


def answered(data, *, reset=False):
    """Return the exception that getresponse() raises after *data*."""
    def answer(peer, link):
        link.read_head()
        link.sock.sendall(data)
        if reset:
            link.reset()
        else:
            link.sock.close()

    with Peer(answer) as peer:
        conn = connection(peer)
        conn.request("GET", "/")
        peer.ended.wait(LATE)
        exc = catch(conn.getresponse)
        conn.close()
    assert peer.received.endswith(b"\r\n\r\n")
    return exc


@case("the server has closed the connection")
def no_answer():
    yield "getresponse()", answered(b""), "all"
    # Whether anything of a response had come cannot be told then.
    for data in b"", HEAD:
        yield "getresponse()", answered(data, reset=True), "all"


@case("nothing of a response has come yet")
def late():
    def answer(peer, link):
        link.read_head()
        peer.gate.wait(LATE)
        link.sock.sendall(OK)

    with Peer(answer) as peer:
        conn = connection(peer, timeout=SOON)
        conn.request("GET", "/")
        yield "getresponse()", catch(conn.getresponse), "all"
        # "or call getresponse() again"
        peer.gate.set()
        conn.sock.settimeout(LATE)
        assert conn.getresponse().read() == b"ok"
        conn.close()


@case("the headers, or what follows an interim response, do not go on")
def late_rest():
    def answer(peer, link):
        link.read_head()
        link.sock.sendall(data)

    for data in HEAD, b"HTTP/1.1 103 Early Hints\r\n\r\n":
        with Peer(answer) as peer:
            conn = connection(peer, timeout=SOON)
            conn.request("GET", "/")
            peer.ended.wait(LATE)
            yield "getresponse()", catch(conn.getresponse), "all"
            # "that is lost"
            assert isinstance(catch(conn.getresponse),
                              http.client.RemoteDisconnected)


@case("the connection has ended inside the status line or a header")
def cut_head():
    for data in b"HTTP/1.1 2", HEAD, HEAD + b"Content-Le":
        yield "getresponse()", answered(data), "all"


@case("this is no response that can be understood")
def no_http():
    for data in (b"SSH-2.0 hello\r\n", b"HTTP/2.0 200 OK\r\n\r\n",
                 HEAD + b"A: " + bytes(70000) + b"\r\n\r\n",
                 HEAD + b"A: b\r\n" * 200 + b"\r\n"):
        yield "getresponse()", answered(data), "all"


# While the body is read.

def read(data, *, reset=False, stall=False):
    def answer(peer, link):
        link.read_head()
        link.sock.sendall(data)
        if stall:
            return
        peer.gate.wait(LATE)
        if reset:
            link.reset()
        else:
            link.sock.close()

    with Peer(answer) as peer:
        conn = connection(peer, timeout=SOON if stall else LATE)
        conn.request("GET", "/")
        with conn.getresponse() as response:
            peer.gate.set()
            if not stall:
                peer.ended.wait(LATE)
            exc = catch(response.read)
        conn.close()
    assert peer.received.endswith(b"\r\n\r\n")
    return exc


LENGTH = HEAD + b"Content-Length: 20\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@case("the connection has ended inside the body")
def cut_body():
    for data in (LENGTH + b"abc", LENGTH, CHUNKED, CHUNKED + b"5\r\nab",
                 CHUNKED + b"2\r\nab\r\n"):
        yield "read()", read(data), "all"
        yield "read()", read(data, reset=True), "all"


@case("the body is malformed")
def malformed():
    yield "read()", read(CHUNKED + b"2\r\nab\r\nzz\r\n" + bytes(100)), "all"


@case("the body does not go on")
def stalled_body():
    yield "read()", read(LENGTH + b"abc", stall=True), "all"


def name(cls):
    return cls.__name__ if cls.__module__ in (
        "builtins", "http._closed") else f"{cls.__module__}.{cls.__name__}"


def sent(peer_received):
    """Return how much of its request a peer has received."""
    if not peer_received:
        return "nothing"
    head, blank, body = peer_received.partition(b"\r\n\r\n")
    is_large = b"Content-Length: %d\r\n" % len(LARGE) in head + b"\r\n"
    whole = blank and len(body) == (len(LARGE) if is_large else 0)
    return "all" if whole else "a part"


def main():
    peers = []
    exit_peer = Peer.__exit__

    def remember(self, *exc_info):
        exit_peer(self, *exc_info)
        peers.append(self)

    Peer.__exit__ = remember
    found = []
    for row, functions in cases.items():
        for function in functions:
            known = len(peers)
            pending = []
            for call, exc, how_much in function():
                pending.append(one := {
                    "row": row, "call": call, "sent": how_much,
                    "exceptions": [name(cls) for cls in type(exc).__mro__],
                    "closed": isinstance(exc, http.client.ConnectionClosed),
                    "text": repr(exc)[:100]})
                one["peer"] = len(peers)
                if how_much == "nothing":
                    assert not exc.requested, exc
            for one in pending:
                peer = one.pop("peer")
                if one["sent"] is None:
                    one["sent"] = sent(peers[peer].received)
            assert known <= len(peers)
            found += pending
    json.dump(found, sys.stdout)


main()
