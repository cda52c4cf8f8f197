"""Requests, timed: the standard library's clients and their peers.

Usage: clients.py OPTIONS

OPTIONS is a JSON object: "client" (a name in CLIENTS), "host", "port",
"cafile" (null without TLS), "packages" (the folder that the client is
imported from, if any), and what the client's function takes.  Each line on
standard input has the arguments of timed() or traced(), and one on standard
output is what that returned.  A wrong response ends the program.
"""

import functools
import gc
import io
import itertools
import json
import operator
import os
import socket
import sys
import threading
import time
import tracemalloc

from server import BODY, CALLED, HOST

TIMEOUT = 30


class At:
    """Where the server is."""

    def __init__(self, host, port, cafile=None):
        self.host, self.port, self.cafile = host, port, cafile
        self.url = f"http{'s' if cafile else ''}://{host}:{port}"
        self.context = None
        if cafile is not None:
            import ssl
            self.context = ssl.create_default_context(cafile=cafile)
            # As most programs have it, without a context of their own.
            os.environ["SSL_CERT_FILE"] = cafile


# Each client returns many(count, target), which returns so many (status,
# body).

def each(fetch, *names):
    """Return many() for what makes one request.

    names: the attributes of a response that are its status and its body.
    """
    get = operator.attrgetter(*names) if names else tuple
    return lambda count, target: [get(fetch(target)) for _ in range(count)]


def ahead(send, receive, depth):
    """Return many() that sends *depth* requests before it receives."""
    def many(count, target):
        answers = []
        for _ in range(count // depth):
            for _ in range(depth):
                send("GET", target)
            answers += [receive() for _ in range(depth)]
        return answers
    return many


def raw(at):
    """The bare loop of system calls."""
    sock = socket.create_connection((at.host, at.port), TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if at.context is not None:
        sock = at.context.wrap_socket(sock, server_hostname=at.host)

    def fetch(target):
        sock.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"
                     % target.encode())
        head, _, body = sock.recv(65536).partition(b"\r\n\r\n")
        return int(head[9:12]), body
    return each(fetch)


def http_client(at, depth=1):
    import http.client
    if at.context is None:
        conn = http.client.HTTPConnection(at.host, at.port, timeout=TIMEOUT)
    else:
        conn = http.client.HTTPSConnection(at.host, at.port, timeout=TIMEOUT,
                                           context=at.context)

    def receive():
        response = conn.getresponse()
        return response.status, response.read()
    if depth > 1:
        conn.max_pipelined = depth
        # One response shows that the connection persists.
        conn.request("GET", "/small")
        receive()
    return ahead(conn.request, receive, depth)


def urlopen(at, open=None):
    if open is None:
        from urllib.request import urlopen as open

    def fetch(target):
        with open(at.url + target, timeout=TIMEOUT) as response:
            return response.status, response.read()
    return each(fetch)


def handler(at):
    from urllib.request import PersistentConnectionHandler, build_opener
    return urlopen(at, build_opener(PersistentConnectionHandler()).open)


def servers(at, of, number):
    """A client with an idle connection to each of so many servers.

    There is one more, for what only the first request needs.  It is always
    the turn of the connection that was not used for the longest time.
    """
    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *args: resolve(HOST, *args)
    places = [At(f"server-{each}.test", at.port) for each in range(number + 1)]
    if of == "handler":
        from urllib.request import PersistentConnectionHandler, build_opener
        open = build_opener(PersistentConnectionHandler(max_idle=number + 1)
                            ).open
        turns = itertools.cycle([urlopen(place, open) for place in places])
    else:
        turns = itertools.cycle([http_client(place) for place in places])
    return lambda count, target: [answer for _ in range(count)
                                  for answer in next(turns)(1, target)]


def xmlrpc(at):
    import xmlrpc.client
    proxy = xmlrpc.client.ServerProxy(f"{at.url}/RPC2", context=at.context)
    return each(lambda target: (200, proxy.call(*CALLED).encode()))


def urllib3(at):
    import urllib3
    pool = urllib3.PoolManager(timeout=TIMEOUT, ca_certs=at.cafile)
    return each(lambda target: pool.request("GET", at.url + target),
                "status", "data")


def requests(at, module="requests"):
    session = __import__(module).Session()
    return each(lambda target: session.get(
        at.url + target, timeout=TIMEOUT, verify=at.cafile),
        "status_code", "content")


def httpx(at):
    import httpx
    # By default, a connection that was idle for 5 s is closed.
    client = httpx.Client(timeout=TIMEOUT, verify=at.context or True,
                          limits=httpx.Limits(keepalive_expiry=None))
    return each(lambda target: client.get(at.url + target),
                "status_code", "content")


def httplib2(at):
    import httplib2
    client = httplib2.Http(timeout=TIMEOUT, ca_certs=at.cafile)

    def fetch(target):
        response, body = client.request(at.url + target)
        return response.status, body
    return each(fetch)


def aiohttp(at):
    import asyncio

    import aiohttp

    async def open_session():
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(keepalive_timeout=600,
                                           ssl=at.context or True),
            timeout=aiohttp.ClientTimeout(TIMEOUT))

    async def many(count, target):
        answers = []
        for _ in range(count):
            async with session.get(at.url + target) as response:
                answers.append((response.status, await response.read()))
        return answers
    runner = asyncio.Runner()
    session = runner.run(open_session())
    # To begin and end a task for each would be its most expensive part.
    return lambda *args: runner.run(many(*args))


def pycurl(at):
    import pycurl
    curl = pycurl.Curl()
    curl.setopt(pycurl.TIMEOUT, TIMEOUT)
    if at.cafile is not None:
        curl.setopt(pycurl.CAINFO, at.cafile)

    def fetch(target):
        received = io.BytesIO()
        curl.setopt(pycurl.URL, at.url + target)
        curl.setopt(pycurl.WRITEDATA, received)
        curl.perform()
        return curl.getinfo(pycurl.RESPONSE_CODE), received.getvalue()
    return each(fetch)


def dugong(at, depth=1):
    import dugong
    conn = dugong.HTTPConnection(at.host, at.port, ssl_context=at.context)
    conn.timeout = TIMEOUT
    return ahead(conn.send_request,
                 lambda: (conn.read_response().status, conn.readall()), depth)


CLIENTS = {client.__name__: client for client in (
    raw, http_client, urlopen, handler, servers, xmlrpc, urllib3, requests,
    httpx, httplib2, aiohttp, pycurl, dugong)}
CLIENTS["niquests"] = functools.partial(requests, module="niquests")


# What can be measured.

def check(answers, count):
    for status, body in answers:
        if status != 200 or body != BODY:
            sys.exit(f"a response was {status} with {len(body)} bytes, "
                     f"{bytes(body[:40])}")
    if len(answers) != count:
        sys.exit(f"there were {len(answers)} responses to {count} requests")


def timed(many, count, target="/small", threads=1):
    """Return the microseconds that one of *count* requests takes."""
    answers = []
    others = [threading.Thread(target=lambda: answers.extend(
        many(count // threads, target))) for _ in range(threads - 1)]
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for thread in others:
        thread.start()
    answers += many(count // threads, target)
    for thread in others:
        thread.join()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    check(answers, count)
    return {"cpu": cpu / count * 1e6, "wall": wall / count * 1e6}


def traced(many, traced):
    """Return the bytes, as Python counts them, that each request leaves."""
    check(many(1, "/small"), 1)
    tracemalloc.start()
    check(many(traced, "/small"), traced)
    gc.collect()
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"memory": memory / traced}


def main(options):
    options = json.loads(options)
    if packages := options.pop("packages", None):
        sys.path.insert(0, packages)
    client = CLIENTS[options.pop("client")]
    many = client(At(*map(options.pop, ("host", "port", "cafile"))),
                  **options)
    for line in sys.stdin:
        command = json.loads(line)
        measure = traced if "traced" in command else timed
        print(json.dumps(measure(many, **command)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
