"""Checks against `openssl s_server`, which is driven over its stdin.

What is typed is sent to the client, but for the commands: "k" and "K" send a
KeyUpdate, and with "K" the client has to send one as well; "q" ends the
connection with close_notify.  -HTTP answers with files, which are in FILES.
"""

import contextlib
import functools
import gzip
import http.client
import os
import pathlib
import queue
import select
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from checks import DEPTH, same, unix_socket
from client import TIMEOUT, Wrong

# Name: (its file, status, body)
FILES = {
    "chunked": (b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", 200, b"abcdefg"),
    "gzip": (b"200 OK\r\nContent-Encoding: gzip\r\n\r\n"
             + gzip.compress(b"text"), 200, gzip.compress(b"text")),
    "204": (b"204 No Content\r\n\r\n", 204, b""),
    "304": (b"304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b""),
    "redirect": (b"302 Found\r\nLocation: /text\r\n"
                 b"Content-Length: 5\r\n\r\nmoved", 302, b"moved"),
}


class Peer:
    """openssl s_server, and what it prints."""

    def __init__(self, job, *options, cwd=None):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = sock.getsockname()[1]
        if "-unix" not in options:
            options = ["-accept", str(self.port), *options]
        pem = job["cafile"]
        self.context = ssl.create_default_context(cafile=pem)
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-cert", pem, "-key", pem, *options],
            cwd=cwd,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, bufsize=0, start_new_session=True)
        self.told = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.seen = b""
        self.wait(b"ACCEPT")

    def _read(self):
        while told := os.read(self.process.stdout.fileno(), 1 << 16):
            self.told.put(told)

    def wait(self, text):
        """Wait until it has printed *text*; forget what was before."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.seen:
            try:
                self.seen += self.told.get(timeout=max(
                    0, deadline - time.monotonic()))
            except queue.Empty:
                raise Wrong(f"s_server does not print {text}") from None
        self.seen = self.seen.partition(text)[2]

    def type(self, text):
        self.process.stdin.write(text)

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Talk:
    """A connection to a Peer, and the responses that it gives."""

    def __init__(self, peer, host="127.0.0.1"):
        self.peer = peer
        self.number = 0
        self.conn = http.client.HTTPSConnection(
            host, peer.port, timeout=TIMEOUT, context=peer.context)

    def ask(self, *between):
        """POST once; the commands *between* come within the body."""
        self.number += 1
        name = b"number-%d" % self.number
        self.conn.request("POST", "/", b"please: %b\n" % name)
        self.peer.wait(b"please: " + name)
        self.peer.type(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
                       % (len(name) * 2))
        response = self.conn.getresponse()
        body = b""
        for command in between:
            self.peer.type(name)
            body += response.read(len(name))
            self.command(command)
        self.peer.type(name * (2 - len(between)))
        body += response.read()
        if body != name * 2:
            raise Wrong(repr(body))

    def command(self, command):
        """Type a command; return when something has come of it."""
        self.peer.type(command + b"\n")
        if not select.select([self.conn.sock], [], [], TIMEOUT)[0]:
            raise Wrong(f"nothing comes of {command}")

    def see_idle(self):
        if self.conn.poll_response():
            raise Wrong("it is taken for the end")


@contextlib.contextmanager
def talk(job, *options, host="127.0.0.1"):
    with contextlib.closing(Peer(job, *options)) as peer:
        it = Talk(peer, host)
        with contextlib.closing(it.conn):
            yield it, peer


def key_update(job):
    """A KeyUpdate while idle, and within a body, is not the end."""
    with talk(job, "-tls1_3") as (it, peer):
        it.ask()
        sock = it.conn.sock
        for command in b"k", b"K":
            it.command(command)
            it.see_idle()
            it.ask()
            it.command(command)
            it.ask()            # without having asked first
            it.ask(command)
            it.see_idle()
        if it.conn.sock is not sock:
            raise Wrong("the connection is replaced")


def tickets(job):
    """Tickets of TLS 1.3 are not the end, nor is a session's resumption."""
    with talk(job, "-tls1_3", "-num_tickets", "8") as (it, peer):
        it.conn.connect()
        sock = it.conn.sock
        it.see_idle()
        for _ in range(3):
            it.ask()
            it.see_idle()
        if it.conn.sock is not sock:
            raise Wrong("the connection is replaced")


def close_notify(job):
    """After close_notify while idle, a request takes a new connection."""
    for version in "-tls1_2", "-tls1_3":
        with talk(job, version) as (it, peer):
            for _ in range(3):
                it.ask()
                sock = it.conn.sock
                it.command(b"q")
                it.ask()
                if it.conn.sock is sock:
                    raise Wrong("it was sent over the old connection")


def pipelining(job):
    """So many responses are typed after as many requests."""
    with talk(job) as (it, peer):
        it.conn.max_pipelined = DEPTH
        it.ask()
        for number in range(DEPTH):
            it.conn.request("PUT", "/", b"please: this-%d\n" % number)
        peer.wait(b"please: this-%d" % number)
        for number in range(DEPTH):
            peer.type(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d"
                      % number)
        for number in range(DEPTH):
            same(it.conn.getresponse().read(), b"%02d" % number)


def ipv6(job):
    with talk(job, "-6", host="::1") as (it, _):
        ask_thrice(it)


def unix(job):
    """It ends when a client does, so that there is one connection."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        with talk(job, "-unix", path) as (it, peer):
            it.conn.sock = peer.context.wrap_socket(
                unix_socket(path), server_hostname="127.0.0.1")
            ask_thrice(it)


def ask_thrice(it):
    it.ask()
    sock = it.conn.sock
    it.ask()
    it.ask()
    if it.conn.sock is not sock:
        raise Wrong("the connection is replaced")


def www(job):
    """-www answers once, in HTTP/1.0 up to the end of the connection."""
    for status, body in get_ten(job, "/", "-www"):
        if status != 200 or b"</HTML>" not in body.upper():
            raise Wrong(f"{status} {body[-60:]!r}")


def file(name, job):
    text, *expected = FILES[name]
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, name).write_bytes(b"HTTP/1.1 " + text)
        for got in get_ten(job, f"/{name}", "-HTTP", cwd=folder):
            same([*got], expected)


def get_ten(job, path, *options, **more):
    """Give (status, body); each takes a connection of its own."""
    with contextlib.closing(Peer(job, *options, **more)) as peer, \
            contextlib.closing(Talk(peer).conn) as conn:
        for _ in range(10):
            conn.request("GET", path)
            response = conn.getresponse()
            yield response.status, response.read()
            if conn.sock is not None:
                # Else the next request can cross the end of this one.
                same(conn.poll_response(TIMEOUT), True)


CHECKS = {**{name: functools.partial(file, name) for name in FILES},
          "pipelining": pipelining, "IPv6": ipv6, "Unix socket": unix,
          "KeyUpdate": key_update, "tickets": tickets,
          "close_notify": close_notify, "-www": www}
