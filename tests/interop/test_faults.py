"""interop/faults.py: that it holds, and would see if it did not."""

import re
import subprocess

import pytest

from tools.common import LINES, ROOT, build_dir

PROGRAM = ROOT / "interop" / "faults.py"


def interpreter(line, kind="patched"):
    python = build_dir() / line / kind / "usr" / "bin" / f"python{line}"
    if not python.exists():
        pytest.skip(f"not at hand: ./series build {line} gets it")
    return python


def run(python, *args, change=""):
    # The processes are forked, so that the change is in them.
    code = (f"import runpy, sys\n{change}\n"
            f"sys.argv[0] = {str(PROGRAM)!r}\n"
            f"runpy.run_path(sys.argv[0], run_name='__main__')")
    return subprocess.run(
        [python, "-E", "-s", "-B", "-W", "error", "-c", code, "--jobs=1",
         *args],
        stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=300)


def broken(done):
    """Return the names of the rules that were broken."""
    assert done.returncode == 1, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    return set(re.findall(r"(\w+) [\d,]+(?:,|$)", last.partition("broken")[2]))


@pytest.mark.parametrize("line", LINES)
def test_rules_hold(line):
    for only in "chunked:::read", "redirect:cut", "length:stall::xmlrpc@tls":
        done = run(interpreter(line), "--quick", f"--only={only}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.fullmatch(r"faults: [\d,]+ tries, CPython "
                            rf"{re.escape(line)}\.\S+: every rule held\n",
                            done.stdout)


CHANNEL = "from http import _channel as c\n"

# What must not be, where it shows, and the rule that it breaks.
CHANGES = {
    "keeps what was not read": (
        "length:stall::read",
        CHANNEL + "c.Body.clean = property(lambda self: True, "
                  "lambda self, value: None)", {"foreign", "next"}),
    "does not look before it sends": (
        "length:cut::read",
        CHANNEL + "c.Channel.can_begin = lambda self, is_open: "
                  "not self.exchanges", {"next"}),
    "takes what was cut for a whole": (
        "length:cut::read1",
        "from http.client import HTTPResponse\n"
        "HTTPResponse._check_end = lambda *args: None", {"answer"}),
    "waits for ever": (
        "length:stall:70:read",
        "import socket\n"
        "socket.socket.settimeout = lambda self, timeout: "
        "self.setblocking(timeout != 0)", {"wait"}),
    "sends POST again": (
        "POST:cut:0:handler, used",
        "import urllib.request as request\n"
        "request._IDEMPOTENT |= {'POST'}", {"twice"}),
    "opens a connection for each request": (
        "length:none",
        CHANNEL + "c.Channel.can_begin = lambda self, is_open: False",
        {"kept"}),
    "leaves a socket open": (
        "length:reset::read",
        "from http.client import HTTPConnection\n"
        "kept = []\n"
        "close = HTTPConnection.close\n"
        "HTTPConnection.close = lambda self: ("
        "kept.append(self.sock and self.sock.dup()), close(self))", {"open"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_wrong_is_seen(name):
    only, change, rules = CHANGES[name]
    done = run(interpreter(LINES[-1]), "--quick", f"--only={only}",
               change=change)
    assert broken(done) & rules, done.stdout


def test_stock_breaks_rules():
    python = interpreter(LINES[-1], "stock")
    done = run(python, "--quick", "--only=chunked:::read1")
    assert broken(done) >= {"answer", "next"}
    # Each try that went wrong is named so that it can be run alone.
    only = re.search(r'--only "(.*)"', done.stdout)[1]
    again = run(python, f"--only={only}")
    assert again.returncode == 1
    assert again.stdout.startswith(done.stdout.partition("\n")[0])


@pytest.mark.parametrize("only", ["x", "length:x", "length:cut:x", "204::::x",
                                  "length:cut:1:x", "204:cut:1:xmlrpc"])
def test_no_such_try(only):
    done = run(interpreter(LINES[-1]), f"--only={only}")
    assert done.returncode == 2
    assert done.stderr.endswith("there is no such try; see --list\n")
