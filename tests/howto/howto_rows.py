"""What http.client raises, for each row of the how-to's table.

Run by the interpreter in question.  Prints, as JSON, a list with an object for
each case: row and call (what the table says), exceptions (the names of the
classes), closed (whether it is a ConnectionClosed), sent (whether anything of
the request was sent), answered (whether a valid response had begun).
"""

import contextlib
import http.client
import json
import socket
import ssl
import struct
import sys
import threading

CERTIFICATE = sys.argv[1]
HEAD = b"HTTP/1.1 200 OK\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\nok"
LENGTH = HEAD + b"Content-Length: 20\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = bytes(20_000_000)
SOON = 0.2      # seconds, where it is a timeout that is wanted
LATE = 30       # and where it is not

found = []
sent = []       # what http.client has begun to send of requests


def note(event, args):
    if event == "http.client.send" and not (
            isinstance(args[1], bytes) and args[1].startswith(b"CONNECT")):
        sent.append(args[1])


sys.addaudithook(note)


class Peer:
    """Accepts one connection, and calls script(peer); a context manager.

    The connection is open until the end of the with statement, unless the
    script closes it.  ended is set when the script has returned.
    """

    def __init__(self, script=lambda peer: None, *, tls=False):
        self.script, self.tls = script, tls
        self.ended, self.over = threading.Event(), threading.Event()
        self.answered = False
        self.sock = None

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *exc_info):
        self.over.set()
        self.thread.join()
        self.listener.close()

    def run(self):
        self.sock, _ = self.listener.accept()
        self.sock.settimeout(LATE)
        try:
            if self.tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(CERTIFICATE)
                self.sock = context.wrap_socket(self.sock, server_side=True)
            self.script(self)
        except OSError:
            pass        # the client has gone
        self.ended.set()
        self.over.wait(LATE)
        self.sock.close()

    def read_head(self):
        """Receive one header section, and not a byte more."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            if not byte:
                raise ConnectionError
            head += byte

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.sock.close()

    def connect(self, *, timeout=LATE):
        if not self.tls:
            return http.client.HTTPConnection(*self.address, timeout=timeout)
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection(*self.address, timeout=timeout,
                                           context=context)


def answer(data, end=lambda peer: None):
    """Return a script: read a request, send *data*, and call end(peer)."""
    def script(peer):
        peer.read_head()
        peer.sock.sendall(data)
        end(peer)
    return script


def close(peer):
    peer.sock.close()


def check(row, call, function, *args, answered=False):
    """Call the function, and note what it raises."""
    try:
        function(*args)
    except Exception as exc:
        found.append({
            "row": row, "call": call, "sent": bool(sent),
            "exceptions": [name(cls) for cls in type(exc).__mro__],
            "closed": isinstance(exc, http.client.ConnectionClosed),
            "answered": answered, "text": repr(exc)[:100]})
        sent.clear()
    else:
        raise AssertionError(f"{function} has raised nothing: {row}")


def name(cls):
    return cls.__name__ if cls.__module__ in (
        "builtins", "http._channel") else f"{cls.__module__}.{cls.__name__}"


# connect()

def check_connect():
    row = "the connection cannot be opened", "connect()"
    conn = http.client.HTTPConnection("host.invalid")
    getaddrinfo = socket.getaddrinfo

    def fail(*args, **kwargs):      # no traffic
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    socket.getaddrinfo = fail
    check(*row, conn.connect)
    check(*row, conn.request, "GET", "/")
    socket.getaddrinfo = getaddrinfo

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    check(*row, http.client.HTTPConnection(*address).connect)

    with Peer(lambda peer: peer.over.wait(LATE)) as peer:
        conn = peer.connect(timeout=SOON)
        conn.set_tunnel("www.example.org")
        check(*row, conn.connect)
        assert conn.sock is None

    with Peer(tls=True) as peer:    # its certificate is not trusted
        check(*row, http.client.HTTPSConnection(
            *peer.address, timeout=LATE).connect)

    row = "the proxy does not open a tunnel", "connect()"
    for script in answer(b"HTTP/1.1 407 No\r\n\r\n"), answer(b"", close):
        with Peer(script) as peer:
            conn = peer.connect()
            conn.set_tunnel("www.example.org")
            check(*row, conn.request, "GET", "/")


# request()

def check_request():
    row = ("the method, the URL, a header or a str body has invalid "
           "characters", "request()")
    for args in (("GET", "/a b"), ("G\n", "/"), ("POST", "/", "\u20ac"),
                 ("GET", "/\u20ac"), ("GET", "/", None, {"A": "b\r\nc"}),
                 ("GET", "/", None, {"A:": "b"})):
        with Peer() as peer:
            conn = peer.connect()
            conn.connect()
            check(*row, conn.request, *args)
            conn.close()

    row = ("there is no connection, or the server has closed it, and "
           "auto_open is false", "request()")
    conn = http.client.HTTPConnection("127.0.0.1", 9)
    conn.auto_open = 0
    check(*row, conn.request, "GET", "/")
    for tls in False, True:
        with Peer(answer(OK, close), tls=tls) as peer:
            conn = peer.connect()
            conn.auto_open = 0
            conn.connect()
            conn.request("GET", "/")
            conn.getresponse().read()
            assert conn.poll_response(LATE)
            sent.clear()
            check(*row, conn.request, "POST", "/", b"x")

    row = ("an earlier request has failed, or its response has not been "
           "returned", "request()")
    with Peer(answer(OK)) as peer:
        conn = peer.connect()
        conn.request("GET", "/")
        sent.clear()
        check(*row, conn.request, "POST", "/")
        # "call getresponse() ... first"
        conn.getresponse().read()
        conn.request("GET", "/")
        conn.close()
        sent.clear()
    with Peer() as peer:
        conn = peer.connect(timeout=SOON)
        check("the server does not read the request", "request()",
              conn.request, "POST", "/", LARGE)
        check(*row, conn.request, "GET", "/")
        # "or close()"
        conn.close()
        conn.auto_open = 0
        check("there is no connection, or the server has closed it, and "
              "auto_open is false", "request()", conn.request, "GET", "/")

    row = "the body cannot be read", "request()"
    for body in 3, [b"a", "b"]:
        with Peer() as peer:
            conn = peer.connect()
            check(*row, conn.request, "POST", "/", body)
            conn.close()

    row = "the server has closed the connection", "request()"
    for tls in False, True:
        with Peer(answer(b"", Peer.reset), tls=tls) as peer:
            conn = peer.connect()
            check(*row, conn.request, "POST", "/", LARGE)
            conn.close()

    # The other two, as the socket raises them.
    for error in (BrokenPipeError(32, "Broken pipe"),
                  ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred")):
        class Socket(socket.socket):
            def sendall(self, data, error=error):
                if data is LARGE:
                    raise error
                super().sendall(data)

        with Peer() as peer, Socket() as sock:
            conn = peer.connect()
            sock.connect(peer.address)
            conn.sock = sock
            check(*row, conn.request, "POST", "/", LARGE)
            conn.close()

    # "getresponse() may return a response"
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    with Peer(answer(refusal, close)) as peer:
        conn = peer.connect()
        check(*row, conn.request, "POST", "/", LARGE)
        assert conn.getresponse().status == 413
        conn.close()

    def flood(peer):
        peer.read_head()
        peer.sock.sendall(HEAD + b"Content-Length: 50000000\r\n\r\n"
                          + bytes(50_000_000))

    with Peer(answer(OK, flood)) as peer:
        conn = peer.connect()
        conn.max_pipelined = 3
        conn.request("GET", "/")
        conn.getresponse().read()
        conn.request("GET", "/1")
        check("more was received than is kept in memory", "request()",
              conn.request, "PUT", "/2", LARGE)


# getresponse() and read()

def check_getresponse(row, *scripts, answered=True, again=None):
    for script in scripts:
        with Peer(script) as peer:
            conn = peer.connect(timeout=SOON)
            conn.request("GET", "/")
            peer.ended.wait(SOON)
            check(row, "getresponse()", conn.getresponse, answered=answered)
            if again:
                again(peer, conn)
            conn.close()


def check_read(row, *scripts):
    for script in scripts:
        with Peer(script) as peer:
            conn = peer.connect(timeout=SOON)
            conn.request("GET", "/")
            response = conn.getresponse()
            peer.over.set()
            check(row, "read()", response.read, answered=True)
            conn.close()


def check_responses():
    check_getresponse(
        "the server has closed the connection before a response",
        answer(b"", close), answer(b"", Peer.reset), answered=False)

    def get_again(peer, conn):
        peer.sock.sendall(OK)
        conn.sock.settimeout(LATE)
        assert conn.getresponse().read() == b"ok"

    check_getresponse(
        "no response has begun", answer(b""),
        answer(b"HTTP/1.1 103 Early Hints\r\n\r\n"), answered=False,
        again=get_again)
    check_getresponse(
        "the response is not valid", answer(b"SSH-2.0 hello\r\n"),
        answer(b"HTTP/2.0 200 OK\r\n\r\n"),
        answer(HEAD + b"A: " + bytes(70000) + b"\r\n\r\n"),
        answer(HEAD + b"A: b\r\n" * 200 + b"\r\n"), answered=False)

    cut = "the connection has ended inside the response"
    check_getresponse(
        cut, *[answer(data, close) for data in
               (b"HTTP/1.1 2", HEAD, HEAD + b"Content-Le")],
        answer(HEAD, Peer.reset))
    bodies = (LENGTH, LENGTH + b"abc", CHUNKED, CHUNKED + b"5\r\nab",
              CHUNKED + b"2\r\nab\r\n")
    check_read(cut, *[answer(data, close) for data in bodies])

    def reset_later(peer):
        peer.over.wait(LATE)
        peer.reset()

    check_read(cut, *[answer(data, reset_later) for data in bodies])

    stalled = "the rest of the response does not arrive"
    check_getresponse(stalled, answer(HEAD))

    def stall(peer):
        peer.read_head()
        peer.sock.sendall(LENGTH + b"abc")
        with contextlib.suppress(OSError):
            peer.sock.recv(1)       # until the client closes it

    check_read(stalled, stall)
    check_read("a chunk is malformed",
               answer(CHUNKED + b"2\r\nab\r\nzz\r\n" + bytes(100)))


check_connect()
check_request()
check_responses()
json.dump(found, sys.stdout)
