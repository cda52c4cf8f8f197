"""interop/pipeline.py: that it holds, and would see if it did not."""

import re
import sys

import pytest
from programs import interpreter, run

from tools.common import LINES


@pytest.mark.parametrize("line", LINES)
def test_rules_hold(line):
    # 1,000 requests, as the default has it: with few ahead and all ahead.
    done = run("pipeline.py", interpreter(line), "--depth", "20", "1000")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.match(r"pipeline: 1,000 PUTs of 30 kB, each answered with "
                    r"200 kB before the next is read, CPython "
                    rf"{re.escape(line)}\.", done.stdout)
    assert len(re.findall(r"^   20 ahead: every body right; ",
                          done.stdout, re.M)) == 2
    assert len(re.findall(
        r"^ 1000 ahead: (?:every body right|PipelineOverflow, \d+ unanswered)"
        r"; ", done.stdout, re.M)) == 2
    assert len(re.findall(r"^50 connections: 2,000 responses, every body "
                          r"right; ", done.stdout, re.M)) == 2
    assert done.stdout.endswith("\nevery rule held\n")
    assert max(map(len, done.stdout.splitlines())) <= 99


CHANNEL = "from http import _channel as c\n"

# What must not be, with how many requests ahead, and what is said of it.
CHANGES = {
    "only sends": (
        50,
        CHANNEL + "c.Channel._send_and_receive = lambda self, data: "
                  "self.sock.sendall(data)",
        "somebody waits for ever, or a request failed: TimeoutError"),
    "knows no bound": (
        200,
        CHANNEL + "c._MAX_RECEIVED = 1 << 30",
        "[0-9,]{10,} bytes were received in advance"),
    "gives up early": (
        50,
        CHANNEL + "c._MAX_RECEIVED = 1 << 20",
        "PipelineOverflow at [0-9]+ requests"),
    "does not name all": (
        200,
        CHANNEL + "told = c.Channel.get_unanswered\n"
                  "c.Channel.get_unanswered = lambda self: told(self)[1:]",
        "PipelineOverflow names [0-9]+ requests, not [0-9]+"),
    "alters what comes": (
        50,
        "from http.client import HTTPResponse\n"
        "read = HTTPResponse.read\n"
        "HTTPResponse.read = lambda *args: read(*args)[::-1]",
        "response [0-9]+ is not what was sent"),
    "alters what is sent": (
        50,
        "from http.client import HTTPConnection\n"
        "send = HTTPConnection.send\n"
        "HTTPConnection.send = lambda self, data: send(self, data if len(data)"
        " < 30000 else data[::-1])",
        "request [0-9]+ has not arrived as it was sent"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_wrong_is_seen(name):
    depth, change, said = CHANGES[name]
    done = run("pipeline.py", interpreter(LINES[-1]), f"--depth={depth}",
               f"--requests={depth}", "--timeout=2", change=change)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(f"^a rule is broken: {said}", done.stdout, re.M)


def test_an_interpreter_without_pipelining():
    done = run("pipeline.py", sys.executable)
    if not done.returncode:
        pytest.skip("this Python has the series")
    assert done.returncode == 1
    assert "this Python has no max_pipelined" in done.stderr
