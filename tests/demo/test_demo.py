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
while True:
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
        script.write_text("#!/bin/sh\n"
                          f"python='{sys.executable}'\n"
                          '[ "$2" = -c ] && exec "$python" "$@"\n'
                          "shift\n"
                          f"\"$python\" -I '{program}' \"$@\"\n"
                          "exit $?\n")
        script.chmod(0o755)
        return str(script)
    return make


def rows(text):
    """Return {label: (stock's figures, patched's figures)} of a table."""
    found = {}
    for line in text.splitlines():
        figures = re.findall(r"(\d+) of (\d+) +(\d+) +(\d+)", line)
        if len(figures) == 2:
            found[line[:16].strip()] = tuple(
                tuple(map(int, side)) for side in figures)
    return found


# The whole demonstration.

def test_stock_fails_and_patched_does_not(interpreter, capsys):
    status = demo.demonstrate(sys.executable, interpreter(LOOKS_FIRST),
                              count=3)
    text = capsys.readouterr().out
    assert status == 0
    expected = {label: ((3, 3, 0, 3), (0, 3, 0, 4)) for label in LABELS}
    expected["all"] = ((15, 15, 0, 15), (0, 15, 0, 20))
    assert rows(text) == expected
    assert "stock: HTTP 408 (408, then FIN)\n" in text
    assert text.endswith(
        "patched: all 15 POSTs arrived, each exactly once\n")


def test_stock_in_the_place_of_patched(capsys):
    assert demo.demonstrate(sys.executable, sys.executable, count=1) == 1
    text = capsys.readouterr().out
    assert rows(text)["all"] == ((5, 5, 0, 5), (5, 5, 0, 5))
    assert "patched: of 5 POSTs 5 failed, 0 arrived twice, 0 never" in text


def test_sending_twice_is_seen(interpreter, capsys):
    status = demo.demonstrate(sys.executable, interpreter(SENDS_AGAIN),
                              count=3)
    table = rows(capsys.readouterr().out)
    assert status == 1
    for label in ("FIN", "TLS close_notify", "TLS bare FIN"):
        assert table[label][1] == (0, 3, 3, 4), label


def test_answers_without_sending_are_seen(interpreter, capsys):
    status = demo.demonstrate(sys.executable, interpreter(SENDS_NOTHING),
                              count=2)
    text = capsys.readouterr().out
    assert status == 1
    assert rows(text)["all"][1] == (0, 10, 0, 0)
    assert "of 10 POSTs 0 failed, 0 arrived twice, 10 never" in text


def test_a_crash_after_the_last_post_is_a_failure(interpreter, capsys):
    status = demo.demonstrate(sys.executable, interpreter(CRASHES_AT_EXIT),
                              count=1)
    text = capsys.readouterr().out
    assert status == 1
    assert rows(text)["all"][1] == (0, 5, 0, 10)
    assert "patched: exit status 3: no message (FIN, RST," in text


def test_what_it_prints_fits_79_columns(capsys):
    demo._print_heads(["stock 3.15.0rc1+", "patched 3.15.0rc1+"])
    outcome = demo.Outcome(1000)
    outcome.failures = ["a reason of some length"] * 1000
    outcome.answered = {f"post-{n}" for n in range(1000)}
    outcome.received.update({f"twice-{n}": 2 for n in range(1000)})
    figures = [5000, 5000, 5000, 10000]
    demo._print_row("TLS close_notify", [figures, figures])
    table = dict.fromkeys(LABELS, [outcome, outcome])
    demo._print_reasons(["stock", "patched"], table)
    demo._verdict(table, demo_server.why_no_tls() or "no ssl module")
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 79


def test_no_tls_is_a_failure(interpreter, capsys, monkeypatch):
    monkeypatch.setattr(demo_server, "why_no_tls", lambda: "no ssl module")
    status = demo.demonstrate(sys.executable, interpreter(LOOKS_FIRST),
                              count=1)
    text = capsys.readouterr().out
    assert status == 1
    assert list(rows(text)) == ["FIN", "RST", "408, then FIN", "all"]
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


def way_called(label):
    return demo_server.WAYS[LABELS.index(label)]


@pytest.mark.parametrize("way", demo_server.WAYS, ids=LABELS)
def test_nothing_ends_before_it_is_to(way, monkeypatch):
    # Over TLS, the session tickets have come, but they are not the end.
    monkeypatch.setattr(demo_client, "TIMEOUT", 0)
    with conversation(way) as (_, sock):
        with pytest.raises(TimeoutError):
            demo_client.wait_for_end(sock)


def ended(way):
    """Have *way* end a connection; return what its client then receives."""
    received = b""
    with conversation(way) as (server, sock):
        server.hang_up()
        demo_client.wait_for_end(sock)
        while True:
            data = sock.recv(1000)
            if not data:
                return received
            received += data


@pytest.mark.parametrize("label", ["FIN", "TLS close_notify"])
def test_orderly_ends(label):
    assert ended(way_called(label)) == b""


def test_rst():
    with pytest.raises(ConnectionResetError):
        ended(way_called("RST"))


def test_only_whole_posts_count():
    way = way_called("FIN")
    with conversation(way) as (server, sock):
        server.hang_up()
        demo_client.wait_for_end(sock)
        sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nwhole"
                     b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhal")
    assert server.received == ["x", "whole"]


# nginx.

# The command line.

@pytest.mark.parametrize("python, message", [
    ("/no/such", "stock interpreter /no/such cannot be started: No such"),
    ("/bin/false", "stock interpreter /bin/false does not work: it said "
     "nothing; build it anew"),
])
def test_an_interpreter_that_does_not_work(python, message):
    with pytest.raises(Failure, match=message):
        demo.demonstrate(python, sys.executable)
