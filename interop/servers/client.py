"""One client in a process of its own: a job on stdin, JSON lines on stdout.

Each thread has a client with a connection of its own.  Immediately before a
POST, the state of this connection is asked of the system: if the server's end
had arrived by then, a failure is the client's.  Otherwise, the close and the
request have crossed.
"""

import contextlib
import http.client
import json
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import xmlrpc.client

TIMEOUT = 20        # seconds
OPEN, CLOSED, NONE = "open", "closed", "none"
ESTABLISHED = 1     # of linux/tcp.h
PADDING = b"x" * 100
REFUSED = ["Connection refused", "Failed to connect"]

local = threading.local()
opened = []         # one item for each connection


def watch(event, args):
    """Note the socket that this thread connects; an audit hook."""
    if event == "socket.connect":
        note(args[0].fileno())


def note(fd):
    opened.append(None)
    local.opened = getattr(local, "opened", 0) + 1
    with contextlib.suppress(OSError):
        # The descriptor's number can be that of another socket later.
        local.connection = fd, os.fstat(fd).st_ino


def readable(sock):
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll.poll(0)


def state():
    """Return what the system knows of this thread's connection."""
    fd, inode = getattr(local, "connection", (-1, 0))
    try:
        if os.fstat(fd).st_ino != inode:
            return NONE
        with socket.socket(fileno=os.dup(fd)) as sock:
            if sock.family == socket.AF_UNIX:
                return OPEN
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
            # An alert of TLS, or a 408, can come long before the end.
            waiting = readable(sock)
    except OSError:
        return NONE
    if waiting or struct.unpack("B", info)[0] != ESTABLISHED:
        return CLOSED
    return OPEN


class Wrong(Exception):
    """A response that is not the one to the request."""


class Client:
    """What all have; *job* says where the server is."""

    def __init__(self, job):
        self.job = job
        self.url = job["url"]
        self.parts = urllib.parse.urlsplit(self.url)
        self.proxy = job.get("proxy")
        self.context = ssl.create_default_context(cafile=job["cafile"]) \
            if self.parts.scheme == "https" else None
        self.open()

    def open(self):
        pass

    def close(self):
        pass

    def post(self, name):
        """Have *name* executed once."""
        body = name.encode() + b" " + PADDING
        status, _, told = self.ask("POST", "/post", body,
                                   {"Content-Type": "text/plain"})
        if (status, told) != (200, f"done {name} {len(body)}".encode()):
            # A proxy says that the server behind it was lost.
            if status in (408, 502, 503, 504):
                raise OSError(f"status {status}")
            raise Wrong(f"{status} {told[:60]!r}")

    def get(self, path, fields=(), method="GET"):
        return self.ask(method, path, None, dict(fields))


class HTTPClient(Client):
    """http.client, stock or patched."""

    def open(self):
        parts = self.parts
        netloc = urllib.parse.urlsplit(self.proxy).netloc if self.proxy \
            else parts.netloc
        if self.context:
            self.conn = http.client.HTTPSConnection(
                netloc, timeout=TIMEOUT, context=self.context)
            if self.proxy:
                self.conn.set_tunnel(parts.hostname, parts.port)
        else:
            self.conn = http.client.HTTPConnection(netloc, timeout=TIMEOUT)

    def ask(self, method, path, body, fields):
        whole = self.proxy and not self.context
        try:
            self.conn.request(method, self.url + path if whole else path,
                              body, fields)
            response = self.conn.getresponse()
            return response.status, response.headers, response.read()
        except BaseException:
            self.conn.close()
            raise

    def close(self):
        self.conn.close()


class Opener(Client):
    """urllib.request.PersistentConnectionHandler."""

    def open(self):
        options = {"context": self.context} if self.context else {}
        self.handler = urllib.request.PersistentConnectionHandler(**options)
        self.opener = urllib.request.build_opener(
            self.handler, urllib.request.ProxyHandler(
                {self.parts.scheme: self.proxy} if self.proxy else {}))

    def ask(self, method, path, body, fields):
        request = urllib.request.Request(self.url + path, body, fields,
                                         method=method)
        try:
            with self.opener.open(request, timeout=TIMEOUT) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.headers, exc.read()

    def close(self):
        self.handler.close()


class Forward(xmlrpc.client.Transport):
    """It sends whole URLs to a proxy."""

    def single_request(self, host, handler, *args):
        return super().single_request(host, self.client.url + handler, *args)


class Tunnel(xmlrpc.client.SafeTransport):
    """It has a proxy open a tunnel."""

    def make_connection(self, host):
        conn = super().make_connection(
            urllib.parse.urlsplit(self.client.proxy).netloc)
        if conn.sock is None:
            conn.set_tunnel(host)
        return conn


class XMLRPC(Client):
    """xmlrpc.client, stock or patched."""

    def open(self):
        options = {"context": self.context} if self.context else {}
        if self.proxy:
            kind = Tunnel if self.context else Forward
            options = {"transport": kind(**options)}
            options["transport"].client = self
        url = self.url if self.context or not self.proxy else self.proxy
        self.server = xmlrpc.client.ServerProxy(url + "/RPC2", **options)

    def post(self, name):
        try:
            told = self.server.post(name)
        except xmlrpc.client.ProtocolError as exc:
            if exc.errcode in (408, 502, 503, 504):
                raise OSError(f"status {exc.errcode}") from exc
            raise
        if told != f"done {name}":
            raise Wrong(repr(told[:60]))

    def ask(self, method, path, body, fields):
        self.post("again")

    def close(self):
        self.server("close")()


class Urllib3(Client):
    def open(self):
        import urllib3
        kind = {"ca_certs": self.job["cafile"]} if self.context else {}
        self.pool = urllib3.ProxyManager(self.proxy, **kind) if self.proxy \
            else urllib3.PoolManager(**kind)

    def ask(self, method, path, body, fields):
        got = self.pool.request(method, self.url + path, body=body,
                                headers=fields, timeout=TIMEOUT)
        return got.status, got.headers, got.data

    def close(self):
        self.pool.clear()


class HTTPX(Client):
    def open(self):
        import httpx
        # Its own context would read a store of certificates each time.
        context = self.context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.client = httpx.Client(verify=context, timeout=TIMEOUT,
                                   proxy=self.proxy, trust_env=False)

    def ask(self, method, path, body, fields):
        got = self.client.request(method, self.url + path, content=body,
                                  headers=fields)
        return got.status_code, got.headers, got.content

    def close(self):
        self.client.close()


class PycURL(Client):
    def open(self):
        import pycurl
        self.curl = curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.TIMEOUT, TIMEOUT)
        curl.setopt(pycurl.NOPROXY, "" if self.proxy else "*")
        if self.proxy:
            curl.setopt(pycurl.PROXY, self.proxy)
        if self.context:
            curl.setopt(pycurl.CAINFO, self.job["cafile"])
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._socket)

    def _socket(self, purpose, address):
        sock = socket.socket(*address[:3])
        note(sock.fileno())
        return sock

    def ask(self, method, path, body, fields):
        import io
        import pycurl
        curl, told, head = self.curl, io.BytesIO(), io.BytesIO()
        curl.setopt(pycurl.URL, self.url + path)
        curl.setopt(pycurl.WRITEDATA, told)
        curl.setopt(pycurl.HEADERFUNCTION, head.write)
        curl.setopt(pycurl.HTTPHEADER,
                    [f"{name}: {value}" for name, value in fields.items()])
        if body is not None:
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.COPYPOSTFIELDS, body.decode())
        else:
            curl.setopt(pycurl.HTTPGET, 1)
        curl.perform()
        # It is a duplicate of the one that was noted.
        fd = curl.getinfo(pycurl.LASTSOCKET)
        if fd >= 0:
            local.connection = fd, os.fstat(fd).st_ino
        head.seek(0)
        head.readline()
        return (curl.getinfo(pycurl.RESPONSE_CODE),
                http.client.parse_headers(head), told.getvalue())

    def close(self):
        self.curl.close()


CLIENTS = {"http.client": HTTPClient, "handler": Opener, "xmlrpc": XMLRPC,
           "urllib3": Urllib3, "httpx": HTTPX, "pycurl": PycURL}


class Run:
    """POSTs by threads; the outcome of each goes to stdout."""

    def __init__(self, job):
        self.job = job
        self.kind = CLIENTS[job["client"]]
        self.lock = threading.Lock()
        self.refused = 0    # connections, while a server is restarted
        # Some take long to import what they need.
        self.ready = threading.Barrier(job["threads"])

    def run(self):
        """Run job["threads"] threads; return when all have ended."""
        threads = [threading.Thread(target=self._thread, args=(at,),
                                    daemon=True)
                   for at in range(self.job["threads"])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.tell(connections=len(opened) - self.refused)

    def tell(self, **record):
        with self.lock:
            print(json.dumps(record), flush=True)

    def _thread(self, at):
        client = self.kind(self.job)
        self.ready.wait(3 * TIMEOUT)
        try:
            getattr(self, "_" + self.job["mode"])(client, at)
        finally:
            with contextlib.suppress(Exception):
                client.close()

    def _pauses(self, client, at):
        """POST after each of the pauses that are this thread's."""
        time.sleep(at * self.job["stagger"])
        pauses = self.job["pauses"][at::self.job["threads"]]
        self._post(client, f"{at}-first", None)
        for number, pause in enumerate(pauses):
            if state() == NONE:
                # There has to be a connection for the server to close.
                self._post(client, f"{at}-{number}-again", None)
            time.sleep(pause)
            self._post(client, f"{at}-{number}", pause)

    def _measure(self, client, at):
        """Tell after how long the server closes an idle connection."""
        time.sleep(at * self.job["stagger"])
        client.get("/text")
        start = time.monotonic()
        while time.monotonic() < start + TIMEOUT:
            if state() != OPEN:
                self.tell(closed=time.monotonic() - start)
                return
            time.sleep(0.001)

    def _cuts(self, client, at):
        """POST what the server does not answer, over kept connections."""
        for number in range(self.job["count"]):
            with contextlib.suppress(Exception):
                client.ask("GET", "/text", None, {})
            self._post(client, str(number), 0)

    def _count(self, client, at):
        """POST so often, one after the other."""
        for number in range(self.job["count"]):
            self._post(client, f"{at}-{number}", 0)

    def _load(self, client, at):
        """POST for some seconds."""
        number = 0
        until = time.monotonic() + self.job["seconds"]
        while time.monotonic() < until:
            self._post(client, f"{at}-{number}", 0)
            number += 1
            time.sleep((at * 7 + number * 3) % 20 / 1000)

    def _post(self, client, name, pause):
        name = self.job["prefix"] + name
        error = wrong = None
        before, count = state(), getattr(local, "opened", 0)
        try:
            client.post(name)
        except Wrong as exc:
            wrong = str(exc)
        except Exception as exc:
            error = f"{type(exc).__name__}: {exc}"[:300]
        fresh = getattr(local, "opened", 0) - count
        if any(text in str(error) for text in REFUSED):
            with self.lock:
                self.refused += fresh
            return time.sleep(0.05)     # nothing was sent
        self.tell(name=name, pause=pause, state=before, error=error,
                  wrong=wrong, fresh=fresh > 0)


def main():
    job = json.loads(sys.stdin.readline())
    sys.addaudithook(watch)
    if job["mode"] in ("checks", "openssl"):
        import checks
        checks.run(job)
    else:
        Run(job).run()


if __name__ == "__main__":
    import client       # the one that checks.py imports, too
    client.main()
