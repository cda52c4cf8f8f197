"""interop/load.py: that it holds, and that it would see if it did not."""

import re
import sys

import pytest
from programs import interpreter, run as run_program

from tools.common import LINES


def run(python, *args, change="", requests=100):
    return run_program("load.py", python, "--requests", str(requests), *args,
                       change=change)


@pytest.mark.parametrize("line", LINES)
def test_rules_hold(line):
    done = run(interpreter(line))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.match(r"load: 1,600 requests by 16 threads in .* s, CPython "
                    rf"{re.escape(line)}\.", done.stdout)
    assert re.search(r"^every rule held \(--seed \d+\)$", done.stdout, re.M)
    assert max(map(len, done.stdout.splitlines())) <= 99


REQUEST = "import urllib.request as request\n"
POOL = "from urllib._pool import Pool\n"

# What must not be, and the rule that it breaks.
CHANGES = {
    "sends POST again": (
        REQUEST + "request._IDEMPOTENT |= {'POST'}",
        "a POST was sent twice"),
    "sends nothing again": (
        REQUEST + "request.AbstractHTTPHandler._AbstractHTTPHandler"
        "__can_be_repeated = lambda *args: False",
        "a request was not sent again"),
    "mixes up hosts": (
        POOL + "get = Pool.get\n"
        "Pool.get = lambda self, key, timeout: get(self, 'here', timeout)",
        "a connection was used for another host"),
    "alters what comes": (
        "from http.client import HTTPResponse\n"
        "read = HTTPResponse.read\n"
        "HTTPResponse.read = lambda *args: read(*args).replace(b'/', b'?')",
        "a body does not match its request"),
    "knows no max_per_host": (
        POOL + "init = Pool.__init__\n"
        "Pool.__init__ = lambda self, **options: init("
        "self, **{**options, 'max_per_key': None})",
        "there were more than max_per_host connections"),
    "knows no max_idle": (
        POOL + "init = Pool.__init__\n"
        "Pool.__init__ = lambda self, **options: init("
        "self, **{**options, 'max_idle': 99})",
        "more than max_idle connections were kept"),
    "does not count requests": (
        POOL + "from operator import attrgetter\n"
        "Pool.num_requests = property(attrgetter('num_connections'), "
        "lambda *args: None)", "num_requests is wrong"),
    "leaves sockets to the garbage collector": (
        REQUEST + "request._disconnect = lambda connection, *args: setattr("
        "connection, 'sock', None)", "an exception was ignored"),
    "does not close": (
        POOL + "Pool.close = lambda self: None",
        "sockets are open after close"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_wrong_is_seen(name):
    change, rule = CHANGES[name]
    # How many are idle in the end is up to the servers, too.
    max_idle = 1 if "max_idle" in name else 4
    done = run(interpreter(LINES[-1]), f"--max-idle={max_idle}",
               change=change, requests=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(f"^{rule}.*: .* times, first ", done.stdout, re.M)
    assert re.search(r"^rules broken: \d+ \(--seed \d+\)$", done.stdout, re.M)


def test_an_interpreter_without_the_handler():
    done = run(sys.executable)
    if not done.returncode:
        pytest.skip("this Python has the series")
    assert done.returncode == 1
    assert "this Python has no PersistentConnectionHandler" in done.stderr
