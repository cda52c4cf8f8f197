"""What http.client raises, for each row of the how-to's table.

Run by the interpreter in question.  Prints, as JSON, a list with an object for
each case: row and call (what the table says), exceptions (the names of the
classes), closed (whether it is a ConnectionClosed), sent (whether anything of
the request was sent), answered (whether a valid response had begun).
"""

import http.client
import json
import re
import socket
import ssl
import sys
import threading
from unittest import mock

from test import http_peer
from test.http_peer import Link, Peer
from test.support import SHORT_TIMEOUT, socket_helper

HEAD = b"HTTP/1.1 200 OK\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\nok"
LENGTH = HEAD + b"Content-Length: 20\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = bytes(20_000_000)
TLS = ssl.TLSVersion.TLSv1_3
SOON = 0.2      # seconds, where it is a timeout that is wanted

found = []
sent = []       # what http.client has begun to send of requests
go_on = threading.Event()


def note(event, args):
    if event == "http.client.send" and not (
            isinstance(args[1], bytes) and args[1].startswith(b"CONNECT")):
        sent.append(args[1])


sys.addaudithook(note)


def silent(link):
    """Neither read nor say anything."""


def answer(data=b"", end=silent):
    """Return a script: read a request's head, send *data*, call end(link)."""
    def script(link):
        link.read_head()
        link.send(data)
        end(link)
    return script


def check(row, call, function, *args, answered=False):
    """Call the function, and note what it raises."""
    try:
        function(*args)
    except Exception as exc:
        found.append({
            "row": row, "call": call, "sent": bool(sent),
            "exceptions": [
                re.sub(r"^(builtins|http._channel)\.", "",
                       f"{cls.__module__}.{cls.__name__}")
                for cls in type(exc).__mro__],
            "closed": isinstance(exc, http.client.ConnectionClosed),
            "answered": answered, "text": repr(exc)[:100]})
        sent.clear()
    else:
        raise AssertionError(f"{function} has raised nothing: {row}")


def get(conn):
    """Have one exchange, which is not what is checked."""
    conn.request("GET", "/")
    body = conn.getresponse().read()
    sent.clear()
    return body


def check_connect():
    row = "the connection cannot be opened", "connect()"
    # No traffic.
    with mock.patch("socket.getaddrinfo",
                    side_effect=socket.gaierror(socket.EAI_NONAME, "none")):
        conn = http.client.HTTPConnection("host.invalid")
        check(*row, conn.connect)
        check(*row, conn.request, "GET", "/")
    check(*row, http.client.HTTPConnection(
        http_peer.HOST, socket_helper.find_unused_port()).connect)
    with Peer(silent) as peer:
        conn = peer.connect(timeout=SOON)
        conn.set_tunnel("www.example.org")
        check(*row, conn.connect)
        assert conn.sock is None
    with Peer(silent, tls=TLS) as peer:     # its certificate is not trusted
        check(*row, peer.connect(context=ssl.create_default_context()).connect)

    for script in answer(b"HTTP/1.1 407 No\r\n\r\n"), answer(end=Link.close):
        with Peer(script) as peer:
            conn = peer.connect()
            conn.set_tunnel("www.example.org")
            check("the proxy does not open a tunnel", "connect()",
                  conn.request, "GET", "/")


def check_call(row, call, script=silent, args=("GET", "/"), *, tls=None,
               timeout=SHORT_TIMEOUT, mixin=None, answered=False, then=silent):
    """Check a call of an exchange with that server; call then(connection)."""
    with Peer(script, tls=tls) as peer:
        conn = peer.connect(timeout=timeout, mixin=mixin)
        if call == "request()":
            check(row, call, conn.request, *args)
        elif call == "getresponse()":
            conn.request(*args)
            check(row, call, conn.getresponse, answered=answered)
        else:
            conn.timeout = SHORT_TIMEOUT
            conn.request(*args)
            response = conn.getresponse()
            conn.sock.settimeout(timeout)
            go_on.set()
            check(row, call, response.read, answered=True)
            go_on.clear()
        then(conn)


def check_requests():
    for args in (("GET", "/a b"), ("G\n", "/"), ("POST", "/", "\u20ac"),
                 ("GET", "/\u20ac"), ("GET", "/", None, {"A": "b\r\nc"}),
                 ("GET", "/", None, {"A:": "b"})):
        with Peer(silent) as peer:
            conn = peer.connect()
            conn.connect()
            check("the method, the URL, a header or a str body has invalid "
                  "characters", "request()", conn.request, *args)

    gone = ("there is no connection, or the server has closed it, and "
            "auto_open is false")
    for tls in None, TLS:
        with Peer(answer(OK, Link.close), tls=tls) as peer:
            conn = peer.connect()
            conn.auto_open = 0
            check(gone, "request()", conn.request, "GET", "/")
            conn.close()
            conn.connect()
            get(conn)
            assert conn.poll_response(SHORT_TIMEOUT)
            check(gone, "request()", conn.request, "POST", "/", b"x")

    first = ("an earlier request has failed, or its response has not been "
             "returned")
    with Peer(http_peer.keep) as peer:
        conn = peer.connect()
        conn.request("GET", "/")
        sent.clear()
        check(first, "request()", conn.request, "POST", "/")
        # "call getresponse() ... first"
        conn.getresponse().read()
        get(conn)

    def close(conn):        # "or close()"
        check(first, "request()", conn.request, "GET", "/")
        conn.close()
        conn.auto_open = 0
        check(gone, "request()", conn.request, "GET", "/")

    post = "POST", "/", LARGE
    check_call("the server does not read the request", "request()", args=post,
               timeout=SOON, then=close)
    for body in 3, [b"a", "b"]:
        check_call("the body cannot be read", "request()",
                   args=("POST", "/", body))

    row = "the server has closed the connection", "request()"
    for tls in None, TLS:
        check_call(*row, answer(end=Link.reset), post, tls=tls)
    # The other two, as the socket raises them.
    for error in (BrokenPipeError(32, "Broken pipe"),
                  ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred")):
        class Fails:
            def sendall(self, data, error=error):
                if data is LARGE:
                    raise error
                super().sendall(data)
        check_call(*row, args=post, mixin=Fails)

    def respond(conn):      # "getresponse() may return a response"
        assert conn.getresponse().status == 413

    refusal = http_peer.response(status=b"413 Too Large")
    check_call(*row, answer(refusal, Link.close), post, then=respond)

    with Peer(answer(OK, answer(http_peer.response(bytes(50_000_000))))
              ) as peer:
        conn = peer.connect()
        conn.max_pipelined = 3
        get(conn)
        conn.request("GET", "/1")
        check("more was received than is kept in memory", "request()",
              conn.request, "PUT", "/2", LARGE)


def check_responses():
    def answer_late(link):
        go_on.wait(SHORT_TIMEOUT)
        link.send(OK)

    def reset_late(link):
        go_on.wait(SHORT_TIMEOUT)
        link.reset()

    def get_again(conn):        # "getresponse() can be called again"
        go_on.set()
        conn.sock.settimeout(SHORT_TIMEOUT)
        assert conn.getresponse().read() == b"ok"
        go_on.clear()

    for end in Link.close, Link.reset:
        check_call("the server has closed the connection before a response",
                   "getresponse()", answer(end=end))
    for data in b"", b"HTTP/1.1 103 Early Hints\r\n\r\n":
        check_call("no response has begun", "getresponse()",
                   answer(data, answer_late), timeout=SOON, then=get_again)
    for data in (b"SSH-2.0 hello\r\n", b"HTTP/2.0 200 OK\r\n\r\n",
                 HEAD + b"A: " + bytes(70000) + b"\r\n\r\n",
                 HEAD + b"A: b\r\n" * 200 + b"\r\n"):
        check_call("the response is not valid", "getresponse()", answer(data))

    cut = "the connection has ended inside the response"
    for data, end in ((b"HTTP/1.1 2", Link.close), (HEAD, Link.close),
                      (HEAD + b"Content-Le", Link.close), (HEAD, Link.reset)):
        check_call(cut, "getresponse()", answer(data, end), answered=True)
    for data in (LENGTH, LENGTH + b"abc", CHUNKED, CHUNKED + b"5\r\nab",
                 CHUNKED + b"2\r\nab\r\n"):
        for end in Link.close, reset_late:
            check_call(cut, "read()", answer(data, end))

    stalled = "the rest of the response does not arrive"
    check_call(stalled, "getresponse()", answer(HEAD), timeout=SOON,
               answered=True)
    check_call(stalled, "read()", answer(LENGTH + b"abc"), timeout=SOON)
    check_call("a chunk is malformed", "read()",
               answer(CHUNKED + b"2\r\nab\r\nzz\r\n" + bytes(100)))


check_connect()
check_requests()
check_responses()
json.dump(found, sys.stdout)
