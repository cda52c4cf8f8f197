"""Runs examples of the how-to, with their hosts on the loopback interface.

Run by the interpreter in question.  stdin has, as JSON, the document's path
and the examples: [number of the first line, source], in one namespace.  stdout
gets a list of what each has printed.
"""

import contextlib
import http.client
import io
import json
import socket
import ssl
import sys
import time

from test import http_peer

PAGE = b"A page of the example.\n" * 10
PART, WHOLE = 4000, 10000       # of a body, and what its length says
REQUESTS = 30                   # that a connection to flaky answers
closed_once = []                # a target, if flaky has

# One function for each host.  It answers a request and returns whether the
# connection can have another one.


def www(link, target, headers, number):
    if target != "/movies/1":
        link.send(http_peer.response(PAGE))
    elif headers["Expect"] == "100-continue":
        link.send(http_peer.response(
            b"", b"Location: https://api.example.org/movies/1",
            status=b"307 Temporary Redirect"))
    return True


def api(link, target, headers, number):
    if target == "/report":
        time.sleep(0.2)         # so that its client has to wait
    link.send(http_peer.response(target.encode()))
    return True


def flaky(link, target, headers, number):
    if target == "/orders":
        return False
    if target == "/items" and not closed_once:
        closed_once.append(target)
        return False
    link.send(http_peer.response(target.encode()))
    if number < REQUESTS:
        return True
    # It lets the client read what it has said.
    socket.socket.shutdown(link.sock, socket.SHUT_WR)
    link.wait_closed()
    return False


def old(link, target, headers, number):
    # It ends a body only with the connection, and only if asked to.
    length = f"Content-Length: {WHOLE}\r\n" if target == "/short" else ""
    link.send(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode() + bytes(PART))
    return headers["Connection"] != "close"


HOSTS = {f"{host.__name__}.example.org": host
         for host in (www, api, flaky, old)}


def serve(link):
    """Answer requests, by their hosts, as long as the connection lasts."""
    number, lasts = 0, True
    while lasts and (line := link.reader.readline()):
        number += 1
        headers = http.client.parse_headers(link.reader)
        if headers["Expect"] is None:
            link.reader.read(int(headers.get("Content-Length", 0)))
        lasts = HOSTS[headers["Host"]](link, line.decode().split()[1],
                                       headers, number)
    link.close()


# The certificate is another host's.
ssl._create_default_https_context = ssl._create_unverified_context
getaddrinfo = socket.getaddrinfo
path, examples = json.load(sys.stdin)
names, printed = {"__name__": "__main__"}, []
with (http_peer.Peer(*[serve] * 9) as plain,
      http_peer.Peer(*[serve] * 9, tls=ssl.TLSVersion.TLSv1_3) as tls):
    socket.getaddrinfo = lambda host, port, *args, **kwargs: getaddrinfo(
        http_peer.HOST, {80: plain, 443: tls}[port].port, *args, **kwargs)
    for number, source in examples:
        code = compile("\n" * (number - 1) + source, path, "exec")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, names)
        printed.append(out.getvalue())
    names.clear()
json.dump(printed, sys.stdout)
