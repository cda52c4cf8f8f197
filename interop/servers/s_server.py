"""Checks against `openssl s_server`, which is driven over its stdin.

What is typed is sent to the client, but for the commands: "k" and "K" send a
KeyUpdate, and with "K" the client has to send one as well; "q" ends the
connection with close_notify.
"""

import contextlib
import http.client
import os
import queue
import select
import signal
import socket
import ssl
import subprocess
import threading
import time

from client import TIMEOUT, Wrong


class Peer:
    """openssl s_server, and what it prints."""

    def __init__(self, job, *options):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = sock.getsockname()[1]
        pem = job["cafile"]
        self.context = ssl.create_default_context(cafile=pem)
        self.process = subprocess.Popen(
            [job["openssl"], "s_server", "-accept", str(self.port),
             "-cert", pem, "-key", pem, *options],
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

    def __init__(self, peer):
        self.peer = peer
        self.number = 0
        self.conn = http.client.HTTPSConnection(
            "127.0.0.1", peer.port, timeout=TIMEOUT, context=peer.context)

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
def talk(job, *options):
    with contextlib.closing(Peer(job, *options)) as peer:
        it = Talk(peer)
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


def www(job):
    """-www answers once, in HTTP/1.0 up to the end of the connection."""
    with contextlib.closing(Peer(job, "-www")) as peer:
        conn = http.client.HTTPSConnection(
            "127.0.0.1", peer.port, timeout=TIMEOUT, context=peer.context)
        with contextlib.closing(conn):
            for _ in range(10):
                conn.request("GET", "/")
                response = conn.getresponse()
                body = response.read()
                if response.status != 200 or b"</HTML>" not in body.upper():
                    raise Wrong(f"{response.status} {body[-60:]!r}")


CHECKS = {"KeyUpdate": key_update, "tickets": tickets,
          "close_notify": close_notify, "-www": www}
