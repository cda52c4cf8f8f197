"""./series demo, with interpreters that behave as patched ones must not."""

import contextlib
import re
import select
import socket
import ssl
import sys

import pytest

from demo import client as demo_client, demo, server as demo_server
from tools.common import Failure

pytestmark = pytest.mark.skipif(not hasattr(select, "POLLRDHUP"),
                                reason="the demonstration needs Linux")

LABELS = [way.label for way in demo_server.WAYS]
# Set by default in 3.9, which has no name for it.
IGNORE_UNEXPECTED_EOF = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0x80)
TIMEOUT = 30    # seconds, for what is there at once if all is well

# Stand-ins for patched interpreters: each changes http.client in its own way.

# What the series does, roughly: look before sending.
LOOKS_FIRST = """
import select
putrequest = http.client.HTTPConnection.putrequest
def look_first(self, *args, **kwargs):
    if self.sock is not None:
        poller = select.poll()
        poller.register(self.sock, select.POLLRDHUP)
        if poller.poll(0):
            self.close()
    return putrequest(self, *args, **kwargs)
http.client.HTTPConnection.putrequest = look_first
"""

# What it must not do: send again what may have arrived.
SENDS_AGAIN = """
request = http.client.HTTPConnection.request
getresponse = http.client.HTTPConnection.getresponse
def remember(self, *args, **kwargs):
    self.again = args, kwargs
    return request(self, *args, **kwargs)
def send_again(self):
    try:
        return getresponse(self)
    except http.client.RemoteDisconnected:
        self.close()
        request(self, *self.again[0], **self.again[1])
        return getresponse(self)
http.client.HTTPConnection.request = remember
http.client.HTTPConnection.getresponse = send_again
"""

# Claims that all is well without sending anything.
SENDS_NOTHING = """
import json
for number in range(int(sys.argv[3])):
    print(json.dumps(["answered", f"post-{number}"]))
sys.exit()
"""

CRASHES_AT_EXIT = LOOKS_FIRST + """
import atexit, os
atexit.register(os._exit, 3)
"""

HANGS = """
import signal
signal.pause()
"""


@pytest.fixture
def interpreter(tmp_path):
    """Make an interpreter of a change to http.client.

    It is a shell script that stays around as its Python's parent, as some
    wrappers do.
    """
    def make(change):
        program = tmp_path / "program.py"
        program.write_text("import runpy, sys, http.client\n"
                           "del sys.argv[0]\n"
                           f"{change}\n"
                           "runpy.run_path(sys.argv[0], run_name='__main__')")
        script = tmp_path / "python"
        script.write_text(f"""#!/bin/sh
[ "$2" = -c ] && exec '{sys.executable}' "$@"
shift
'{sys.executable}' -I '{program}' "$@"
exit $?
""")
        script.chmod(0o755)
        return str(script)
    return make


def show(patched, capsys, count):
    """Return (status, text, {label: (stock's figures, patched's figures)}).
    """
    status = demo.demonstrate(sys.executable, patched, count=count)
    text, found = capsys.readouterr().out, {}
    assert max(map(len, text.splitlines())) <= 79
    for line in text.splitlines():
        figures = re.findall(r"(\d+) of (\d+) +(\d+) +(\d+)", line)
        if len(figures) == 2:
            found[line[:16].strip()] = tuple(
                tuple(map(int, side)) for side in figures)
    return status, text, found


# The whole demonstration.

@pytest.mark.parametrize("change, count, each, total, said", [
    (LOOKS_FIRST, 3, {label: (0, 3, 0, 4) for label in LABELS},
     (0, 15, 0, 20), "patched: all 15 POSTs arrived, each exactly once\n"),
    ("", 1, {label: (1, 1, 0, 1) for label in LABELS}, (5, 5, 0, 5),
     "patched: of 5 POSTs 5 failed, 0 arrived twice, 0 never\n"),
    (SENDS_AGAIN, 3, {label: (0, 3, 3, 4) for label in LABELS
                      if label in ("FIN", "TLS close_notify", "TLS bare FIN")},
     None, " arrived twice, 0 never\n"),
    (SENDS_NOTHING, 2, {}, (0, 10, 0, 0),
     "patched: of 10 POSTs 0 failed, 0 arrived twice, 10 never\n"),
    (CRASHES_AT_EXIT, 1, {}, (0, 5, 0, 10),
     "patched: exit status 3: no message (FIN, RST,"),
], ids=["looks first", "as stock", "sends again", "sends nothing", "crashes"])
def test_what_becomes_of_posts(interpreter, capsys, change, count, each,
                               total, said):
    status, text, table = show(interpreter(change), capsys, count)
    assert status == (change is not LOOKS_FIRST)
    assert list(table) == [*LABELS, "all"]
    assert table["all"][0] == (5 * count, 5 * count, 0, 5 * count)
    assert total in (table["all"][1], None)
    assert {label: table[label][1] for label in each} == each
    assert "stock: HTTP 408 (408, then FIN)\n" in text
    assert said in text


def test_no_tls_is_a_failure(interpreter, capsys, monkeypatch):
    monkeypatch.setattr(demo_server, "why_no_tls", lambda: "no ssl module")
    status, text, table = show(interpreter(LOOKS_FIRST), capsys, 1)
    assert status == 1
    assert list(table) == ["FIN", "RST", "408, then FIN", "all"]
    assert "TLS was NOT RUN: no ssl module" in text


# Clients that hang.

def test_a_hung_client_is_killed(interpreter, monkeypatch):
    """With its parent, so that nothing holds its output open."""
    monkeypatch.setattr(demo, "STARTUP", 0.1)
    monkeypatch.setattr(demo, "PER_POST", 0)
    server = demo_server.ScriptedServer(demo_server.WAYS[0])
    outcome = demo.try_out(interpreter(HANGS), server, 3)
    assert outcome.failures == ["killed after 0 s"] * 3
    assert not outcome.flawless


# The servers.

@contextlib.contextmanager
def conversation(way):
    """Yield a server and a socket that has had its answer from it."""
    with demo_server.ScriptedServer(way) as server:
        sock = socket.create_connection(server.address, timeout=TIMEOUT)
        with contextlib.ExitStack() as stack:
            stack.enter_context(sock)
            if way.tls:
                context = ssl.create_default_context(cafile=server.cafile)
                context.options &= ~IGNORE_UNEXPECTED_EOF
                sock = context.wrap_socket(sock, server_hostname="127.0.0.1",
                                           suppress_ragged_eofs=False)
                stack.enter_context(sock)
                assert sock.version() == "TLSv1.3"
            sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
            answer = b""
            while not answer.endswith(b"\r\n\r\nx"):
                answer += sock.recv(1000)
            yield server, sock


# What a client meets that reads on, where that is no plain end.
ENDS = {"RST": pytest.raises(ConnectionResetError),
        "TLS bare FIN": pytest.raises(ssl.SSLEOFError)}


@pytest.mark.parametrize("way", demo_server.WAYS, ids=LABELS)
def test_each_way_ends_when_it_is_to(way, monkeypatch):
    """Over TLS, the session tickets that have come are not the end."""
    with conversation(way) as (server, sock):
        with monkeypatch.context() as patch, pytest.raises(TimeoutError):
            patch.setattr(demo_client, "TIMEOUT", 0)
            demo_client.wait_for_end(sock)
        server.hang_up()
        demo_client.wait_for_end(sock)
        with (ENDS.get(way.label, contextlib.nullcontext()),
              sock.makefile("rb") as file):
            assert file.readline() == (
                b"HTTP/1.1 408 Request Timeout\r\n" if "408" in way.label
                else b"")


def test_only_whole_posts_count():
    with conversation(demo_server.WAYS[0]) as (server, sock):
        server.hang_up()
        demo_client.wait_for_end(sock)
        sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nwhole"
                     b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhal")
    assert server.received == ["x", "whole"]


# The command line.

@pytest.mark.parametrize("python, message", [
    ("/no/such", "stock interpreter /no/such cannot be started: No such"),
    ("/bin/false", "stock interpreter /bin/false does not work: it said "
     "nothing; build it anew"),
])
def test_an_interpreter_that_does_not_work(python, message):
    with pytest.raises(Failure, match=message):
        demo.demonstrate(python, sys.executable)
