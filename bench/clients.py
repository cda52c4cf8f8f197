"""Requests, timed: the standard library's clients and their peers.

Usage: clients.py OPTIONS

OPTIONS is a JSON object: "client" (a name in CLIENTS), "host", "port",
"timeout" in seconds or null, "cafile" (with TLS) and "packages", the folder
that the client is imported from, or null.

Each line on standard input is a JSON object: "measure" (of MEASURES), "case"
(of CASES) and "count", the number of requests; one on standard output is the
answer to it.  Whatever is wrong with a response ends the program.
"""

import functools
import gc
import io
import itertools
import json
import os
import sys
import time

from cost import count_calls
from server import BODY, CALLED, HOPS

CASES = {
    "GET": ("GET", "/small", None),
    "redirects": ("GET", f"/hops/{HOPS}", None),
    "call": ("POST", "/RPC2", CALLED),
    "record": ("POST", "/log", "record %d"),
}


# Each returns fetch(method, target, body), which returns (status, body).  It
# may have an attribute many(count, method, target, body), which returns so
# many of them.

def http_client(host, port, timeout=None, cafile=None):
    conn = connect(host, port, timeout, cafile)

    def fetch(method, target, body):
        conn.request(method, target, body)
        response = conn.getresponse()
        return response.status, response.read()
    return fetch


def connect(host, port, timeout=None, cafile=None):
    """Return an HTTPConnection, over TLS if there is a *cafile*."""
    import http.client
    if cafile is None:
        return http.client.HTTPConnection(host, port, timeout=timeout)
    return http.client.HTTPSConnection(host, port, timeout=timeout,
                                       **trusting(cafile))


def trusting(cafile):
    """Return keyword arguments for TLS, none without a *cafile*."""
    if cafile is None:
        return {}
    import ssl
    return {"context": ssl.create_default_context(cafile=cafile)}


def urlopen(host, port, timeout, cafile=None):
    from urllib.request import urlopen
    trust_everywhere(cafile)
    return opening(urlopen, host, port, timeout, cafile)


def trust_everywhere(cafile):
    """Let *cafile* be what a context trusts that nobody has made.

    As most programs have it: given a context, urlopen() makes an opener each
    time; without, it makes one for all, and one context for that.
    """
    if cafile is not None:
        os.environ["SSL_CERT_FILE"] = cafile


def handler(host, port, timeout, cafile=None):
    from urllib.request import PersistentConnectionHandler, build_opener
    trust_everywhere(cafile)
    opener = build_opener(PersistentConnectionHandler())
    return opening(opener.open, host, port, timeout, cafile)


def opening(open, host, port, timeout, cafile):
    base = base_url(host, port, cafile)

    def fetch(method, target, body):
        with open(base + target, body, timeout=timeout) as response:
            return response.status, response.read()
    return fetch


def base_url(host, port, cafile):
    return f"{'http' if cafile is None else 'https'}://{host}:{port}"


def xmlrpc(host, port):
    import xmlrpc.client
    proxy = xmlrpc.client.ServerProxy(f"http://{host}:{port}/RPC2")

    def fetch(method, target, args):
        return 200, proxy.call(*args).encode()
    return fetch


def logging(host, port, **options):
    import logging.handlers
    numbers = itertools.count()

    def handle_error(record):
        raise

    def fetch(method, target, message):
        # The response is dropped; the server counts what it has received.
        logger.info(message, next(numbers))
        return 200, BODY
    logger = logging.Logger("bench")
    logger.addHandler(logging.handlers.HTTPHandler(
        f"{host}:{port}", "/log", "POST", **options))
    logger.handlers[0].handleError = handle_error
    return fetch


def urllib3(host, port, timeout, cafile=None):
    import urllib3
    pool = urllib3.PoolManager(timeout=timeout, ca_certs=cafile)
    base = base_url(host, port, cafile)

    def fetch(method, target, body):
        response = pool.request(method, base + target, body=body)
        return response.status, response.data
    return fetch


def requests(host, port, timeout, cafile=None):
    import requests
    session = requests.Session()
    base = base_url(host, port, cafile)

    def fetch(method, target, body):
        response = session.request(method, base + target, data=body,
                                   timeout=timeout, verify=cafile)
        return response.status_code, response.content
    return fetch


def httpx(host, port, timeout, cafile=None):
    import httpx
    # It does not want to wait for more than 5 s until it is its turn again.
    client = httpx.Client(timeout=timeout,
                          limits=httpx.Limits(keepalive_expiry=None),
                          verify=trusting(cafile).get("context", True))
    base = base_url(host, port, cafile)

    def fetch(method, target, body):
        response = client.request(method, base + target, content=body)
        return response.status_code, response.content
    return fetch


def httplib2(host, port, timeout, cafile=None):
    import httplib2
    client = httplib2.Http(timeout=timeout, ca_certs=cafile)
    base = base_url(host, port, cafile)

    def fetch(method, target, body):
        response, received = client.request(base + target, method, body)
        return response.status, received
    return fetch


def aiohttp(host, port, timeout, cafile=None):
    import asyncio

    import aiohttp
    base = base_url(host, port, cafile)

    async def open_session():
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                keepalive_timeout=60,
                ssl=trusting(cafile).get("context", True)),
            timeout=aiohttp.ClientTimeout(timeout))

    async def each(count, method, target, body):
        answers = []
        for _ in range(count):
            async with session.request(method, base + target,
                                       data=body) as response:
                answers.append((response.status, await response.read()))
        return answers

    def fetch(*request):
        return fetch.many(1, *request)[0]
    runner = asyncio.Runner()
    session = runner.run(open_session())
    # To begin and end a task for each would be its most expensive part.
    fetch.many = lambda *args: runner.run(each(*args))
    return fetch


def pycurl(host, port, timeout, cafile=None):
    import pycurl
    curl = pycurl.Curl()
    curl.setopt(pycurl.TIMEOUT, timeout)
    if cafile is not None:
        curl.setopt(pycurl.CAINFO, cafile)
    base = base_url(host, port, cafile)

    def fetch(method, target, body):
        assert method == "GET", "nothing else is measured with it"
        received = io.BytesIO()
        curl.setopt(pycurl.URL, base + target)
        curl.setopt(pycurl.WRITEDATA, received)
        curl.perform()
        return curl.getinfo(pycurl.RESPONSE_CODE), received.getvalue()
    return fetch


# How many requests make up one for these two, and are sent ahead.
DEPTH = 50


def pipelined(host, port, timeout, depth=DEPTH):
    conn = connect(host, port, timeout)
    conn.max_pipelined = depth

    def ahead(*request):
        for _ in range(DEPTH // depth):
            for _ in range(depth):
                conn.request(*request)
            for _ in range(depth):
                response = conn.getresponse()
                yield response.status, response.read()
    # One response shows that the connection persists.
    conn.request("GET", "/small")
    assert conn.getresponse().read() == BODY
    return functools.partial(the_same, ahead)


def dugong(host, port, timeout):
    import dugong
    conn = dugong.HTTPConnection(host, port)
    conn.timeout = timeout

    def ahead(method, target, body):
        for _ in range(DEPTH):
            conn.send_request(method, target, body=body)
        for _ in range(DEPTH):
            yield conn.read_response().status, conn.readall()
    return functools.partial(the_same, ahead)


def the_same(ahead, *request):
    """Return the one answer to many requests, or one that is different."""
    answers = list(ahead(*request))
    return next((answer for answer in answers if answer != answers[-1]),
                answers[-1])


CLIENTS = {"http.client": http_client, "urlopen": urlopen,
           "handler": handler, "urllib3": urllib3, "requests": requests,
           "httpx": httpx, "httplib2": httplib2, "aiohttp": aiohttp,
           "pycurl": pycurl, "xmlrpc": xmlrpc, "logging": logging,
           "pipelined": pipelined, "dugong": dugong}


def open_client(client, packages=None, **options):
    if packages is not None:
        sys.path.insert(0, packages)
    options = {name: value for name, value in options.items()
               if name != "cafile" or value is not None}
    return CLIENTS[client](**options)


def check(case, answers):
    for status, received in answers:
        if status != 200 or received != BODY:
            sys.exit(f"{case}: {status}, {len(received)} bytes, "
                     f"{bytes(received[:40])}")


def timed(fetch, case, count):
    """Return what a request takes, in seconds."""
    request, answers = CASES[case], []
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    if hasattr(fetch, "many"):
        answers = fetch.many(count, *request)
    else:
        for _ in range(count):
            answers.append(fetch(*request))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    check(case, answers)
    return {"cpu": cpu / count, "wall": wall / count}


def traced(fetch, case, count):
    """Mark for whoever traces this process where the requests are."""
    process = os.getpid()
    os.kill(process, 0)
    answers = [fetch(*CASES[case]) for _ in range(count)]
    os.kill(process, 0)
    check(case, answers)


def profiled(fetch, case, count):
    """Return {name: calls} of the functions that ask about a socket."""
    return count_calls(lambda: check(
        case, [fetch(*CASES[case]) for _ in range(count)]))


MEASURES = {"timed": timed, "traced": traced, "profiled": profiled}


def main(options):
    fetch = open_client(**json.loads(options))
    for line in sys.stdin:
        command = json.loads(line)
        measure = MEASURES[command.pop("measure")]
        print(json.dumps(measure(fetch, **command)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
