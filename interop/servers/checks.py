"""What servers do beside closing: each check with the patched clients."""

import contextlib
import gzip
import http.client
import io
import json
import select
import socket
import time
import urllib.request
import xmlrpc.client

import client
from app import PIECES, TEXT
from client import TIMEOUT, HTTPClient, Opener, Wrong, local

DEPTH = 20          # of pipelining
LARGE = 2_000_000   # bytes; no server here takes so many
TIMES = 10          # of what depends on who is faster
GZIP = {"Accept-Encoding": "gzip"}


def same(got, expected):
    if got != expected:
        raise Wrong(f"{short(got)}, not {short(expected)}")


def short(value):
    text = repr(value)
    return text if len(text) < 80 else f"{text[:60]}..."


class OneConnection:
    """The block has to do with one connection, or as many as said."""

    def __init__(self, most=1):
        self.most = most

    def __enter__(self):
        self.before = getattr(local, "opened", 0)

    def __exit__(self, kind, *_):
        taken = local.opened - self.before
        if kind is None and taken > self.most:
            raise Wrong(f"{taken} connections, not {self.most}")


def see_text(got):
    status, _, body = got
    same((status, body), (200, TEXT))


# Checks for http.client and for the handler: *it* is a client.

def chunked(it):
    with OneConnection():
        for _ in range(3):
            status, fields, body = it.get("/chunked")
            same((status, body), (200, b"".join(PIECES)))
            same(fields["Transfer-Encoding"], "chunked")
            see_text(it.get("/text"))


def chunked_post(it):
    with OneConnection():
        for number in range(3):
            name = f"{it.job['prefix']}chunked-{number} "
            pieces = [name.encode(), b"", b"x" * 1000, b"y" * 50_000]
            status, _, body = it.ask("POST", "/post", iter(pieces),
                                     {"Content-Type": "text/plain"})
            same((status, body), (200, b"done %b%d" % (
                name.encode(), sum(map(len, pieces)))))


def compressed(it):
    with OneConnection():
        for _ in range(3):
            status, fields, body = it.get("/gzip", GZIP)
            same((status, fields["Content-Encoding"]), (200, "gzip"))
            same(gzip.decompress(body), TEXT)
            see_text(it.get("/text"))


def head(it):
    with OneConnection():
        for _ in range(3):
            status, _, body = it.get("/text", method="HEAD")
            same((status, body), (200, b""))
            # Squid says keep-alive to this, and closes.
            if not it.proxy or it.context:
                status, _, body = it.get("/chunked", method="HEAD")
                same((status, body), (200, b""))
            see_text(it.get("/text"))


def no_content(it):
    with OneConnection():
        for _ in range(3):
            status, _, body = it.get("/204")
            same((status, body), (204, b""))
            see_text(it.get("/text"))


def not_modified(it):
    with OneConnection():
        for _ in range(3):
            status, _, body = it.get("/304", {"If-None-Match": '"one"'})
            same((status, body), (304, b""))
            see_text(it.get("/text"))


def redirect(it):
    see = isinstance(it, Opener)
    with OneConnection():
        for _ in range(3):
            got = it.get("/redirect")
            if see:
                see_text(got)
            else:
                same((got[0], got[1]["Location"]), (302, "/text"))
            got = it.ask("POST", "/see-other",
                         f"{it.job['prefix']}other ".encode(), {})
            if see:
                see_text(got)
            else:
                same((got[0], got[1]["Location"]), (303, "/text"))


class Body(io.BytesIO):
    """A body of which it is known whether it was read."""

    reads = 0

    def read(self, *args):
        self.reads += 1
        return super().read(*args)


def expect_accepted(it):
    for number in range(3):
        name = f"{it.job['prefix']}expect-{number} ".encode()
        body = Body(name + client.PADDING)
        size = len(body.getvalue())
        start = time.monotonic()
        status, told = expect(it, body, size)
        same((status, told), (200, b"done %b%d" % (name, size)))
        if time.monotonic() - start > 5:
            raise Wrong("no 100 was seen")


def expect_refused(it):
    for _ in range(3):
        body = Body(bytes(LARGE))
        status, _ = expect(it, body, LARGE)
        same((status, body.reads), (413, 0))
        see_text(it.get("/text"))


def expect(it, body, size):
    fields = {"Expect": "100-continue", "Content-Length": str(size),
              "Content-Type": "text/plain"}
    if isinstance(it, Opener):
        status, _, told = it.ask("POST", "/post", body, fields)
        return status, told
    target = it.url if it.proxy and not it.context else ""
    it.conn.request("POST", target + "/post", body, fields,
                    continue_timeout=10)
    response = it.conn.getresponse()
    return response.status, response.read()


def too_large(it):
    body = bytes(20 * LARGE)
    for _ in range(TIMES):
        if isinstance(it, Opener):
            status, _, _ = it.ask("POST", "/post", body,
                                  {"Content-Type": "text/plain"})
        else:
            # What the documentation of request() says to do.
            target = it.url if it.proxy and not it.context else ""
            with contextlib.suppress(OSError):
                it.conn.request("POST", target + "/post", body)
            response = it.conn.getresponse()
            response.read()
            status = response.status
        same(status, 413)
        see_text(it.get("/text"))


def basic(it):
    authenticate(it, "Basic")


def digest(it):
    authenticate(it, "Digest")


def authenticate(it, scheme):
    path, asks = f"/{scheme.lower()}", "HTTP"
    if it.proxy and not it.context:
        path, asks = "/proxy-text", "Proxy"
    kind = getattr(urllib.request, f"{asks}{scheme}AuthHandler")
    if not isinstance(it, Opener):
        status, _, _ = it.get(path)
        same(status // 10, 40)
        return
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password("here", it.url, "user", "secret")
    if path.startswith("/proxy"):
        passwords.add_password("here", it.proxy, "user", "secret")
    it.opener.add_handler(kind(passwords))
    # A server may close instead of reading the body of what it refuses.
    with OneConnection(4):
        for number in range(3):
            see_text(it.get(path))
            name = f"{it.job['prefix']}{path[1:]}-{number} ".encode()
            status, _, body = it.ask("POST", path, name + client.PADDING,
                                     {"Content-Type": "text/plain"})
            same((status, body), (200, b"done %b%d" % (
                name, len(name) + len(client.PADDING))))


def pipelining(it):
    target = it.url if it.proxy and not it.context else ""
    it.conn.max_pipelined = DEPTH
    for _ in range(3):
        see_text(it.get("/text"))
        with OneConnection(0):
            for number in range(DEPTH):
                it.conn.request("GET", f"{target}/echo/{number}")
            for number in range(DEPTH):
                response = it.conn.getresponse()
                same(response.read(), b"/echo/%d " % number)


BOTH = {"chunked": chunked, "chunked POST": chunked_post,
        "gzip": compressed, "HEAD": head, "204": no_content,
        "304": not_modified, "redirect": redirect,
        "Expect, 100": expect_accepted, "Expect, refused": expect_refused,
        "413": too_large, "Basic": basic, "Digest": digest}


KINDS = [("http.client", HTTPClient), ("handler", Opener)]


# Checks that are not the same for all.

def ipv6(kind, job):
    job = {**job, "url": job["url6"]}
    if job["proxy6"]:
        job.update(url=job["url0"], proxy=job["proxy6"])
    with contextlib.closing(kind(job)) as it, OneConnection():
        for _ in range(3):
            see_text(it.get("/text"))


class UnixConnection(http.client.HTTPConnection):
    """As many programs have it, docker-py for one."""

    path = None

    def connect(self):
        self.sock = unix_socket(self.path)


def unix_socket(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(TIMEOUT)
    sock.connect(path)
    return sock


def unix(job):
    conn = UnixConnection("localhost")
    conn.path = job["path"]
    with contextlib.closing(conn):
        with OneConnection():
            ask_thrice(conn)
        wait_closed(conn)
        with OneConnection():
            ask_thrice(conn)


def unix_assigned(job):
    conn = http.client.HTTPConnection("localhost")
    conn.sock = unix_socket(job["path"])
    with contextlib.closing(conn):
        with OneConnection(0):
            ask_thrice(conn)
        wait_closed(conn)
        try:
            conn.request("POST", "/post", b"must-not-come ")
        except http.client.RemoteDisconnected:
            return
        raise Wrong("an assigned socket is replaced")


def wait_closed(conn):
    if not conn.poll_response(TIMEOUT):
        raise Wrong("the server's close is not seen")


def ask_thrice(conn):
    for _ in range(3):
        conn.request("GET", "/text")
        response = conn.getresponse()
        same((response.status, response.read()), (200, TEXT))


def xmlrpc_large(job):
    """An early 413 is a ProtocolError, and the next call works."""
    with contextlib.closing(client.XMLRPC(job)) as it:
        for number in range(TIMES):
            try:
                it.server.post("x" * 8 * LARGE)
            except xmlrpc.client.ProtocolError as exc:
                same(exc.errcode, 413)
            else:
                raise Wrong("no ProtocolError")
            it.post(f"{job['prefix']}large-{number}")


def tickets(it):
    """Tickets of TLS 1.3, which follow its handshake, are not the end."""
    it.conn.connect()
    sock = it.conn.sock
    if not select.select([sock], [], [], TIMEOUT)[0]:
        raise Wrong("no ticket comes")
    if it.conn.poll_response():
        raise Wrong("a ticket is taken for the end")
    for _ in range(3):
        see_text(it.get("/text"))
    if it.conn.sock is not sock:
        raise Wrong("the connection is replaced")


# The driver.

def run(job):
    job["prefix"] = "check-"
    if job["mode"] == "openssl":
        import s_server
        for name, check in s_server.CHECKS.items():
            tell(name, "http.client", check, job)
        return
    job["url0"] = job["url"]
    over_tls = {**job, "url": job["tls"]}
    rows = [(name, who, on, kind, check, job) for name, check in BOTH.items()
            for who, kind in KINDS]
    rows += [("413, TLS", who, on, kind, too_large, over_tls)
             for who, kind in KINDS]
    rows += [("IPv6", who, ipv6, kind, job) for who, kind in KINDS]
    rows += [("413", "xmlrpc", xmlrpc_large, job),
             ("413, TLS", "xmlrpc", xmlrpc_large, over_tls),
             ("Unix socket", "connect()", unix, job),
             ("Unix socket", "sock", unix_assigned, job),
             ("pipelining", "http.client", on, HTTPClient, pipelining, job),
             ("tickets", "http.client", on, HTTPClient, tickets, over_tls)]
    for row in rows:
        # A proxy can lose what it said; README.md has more.
        if row[0] not in job["cannot"] and not (
                job.get("proxy") and row[2] is xmlrpc_large):
            tell(*row)


def on(kind, check, job):
    with contextlib.closing(kind(job)) as it:
        check(it)


def tell(name, who, check, *args):
    told, start = "ok", time.monotonic()
    try:
        check(*args)
    except Exception as exc:
        told = f"{type(exc).__name__}: {exc}"[:200]
    seconds = round(time.monotonic() - start, 1)
    print(json.dumps({"check": name, "with": who, "told": told,
                      "seconds": seconds}), flush=True)
