"""The programs of interop/: that what they check holds, and that they would
see it if it did not.
"""

import re
import subprocess

import pytest

from tools.common import LINES, ROOT, build_dir


def interpreter(line=LINES[-1], kind="patched"):
    python = build_dir() / line / kind / "usr" / "bin" / f"python{line}"
    if not python.exists():
        pytest.skip(f"not at hand: ./series build {line} gets it")
    return python


def run(python, name, *args, change=""):
    """Run interop/NAME after the code *change*; return CompletedProcess."""
    program = str(ROOT / "interop" / name)
    code = (f"import runpy, sys\n{change}\nsys.argv[0] = {program!r}\n"
            f"runpy.run_path(sys.argv[0], run_name='__main__')")
    return subprocess.run(
        [python, "-E", "-s", "-B", "-W", "error", "-c", code, *args],
        stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=300)


# In one process, so that a change is in it.
FAULTS = "faults.py", "--quick", "--jobs=1"
FUZZ = "fuzz.py", "--without-h11"

# What each says, of CPython's version LINE, if all is well.
HOLDS = [
    ((*FAULTS, "--only=chunked:::read"),
     r"\Afaults: [\d,]+ tries, CPython LINE: every rule held\n\Z"),
    ((*FAULTS, "--only=length:stall::xmlrpc@tls"),
     r"\Afaults: [\d,]+ tries, CPython LINE: every rule held\n\Z"),
    ((*FUZZ, "--cases=1000"),
     r"\A1,000 cases of seed 1, (.*\n)+\d+ with a second response; no h11\n"
     r"(.*\n)*fuzz: CPython LINE: every rule held\n\Z"),
    (("load.py", "--requests=100"),
     r"\Aload: 1,600 requests by 16 threads in .* s, CPython LINE\b.*\n"
     r"(.*\n)*every rule held \(--seed \d+\)$"),
    # As many as by default: with few ahead, and with all of them.
    (("pipeline.py", "--depth", "20", "1000"),
     r"\Apipeline: 1,000 PUTs of 30 kB, each answered with 200 kB before the "
     r"next is read, CPython LINE\b.*\n(.*\n)*"
     r"(   20 ahead: every body right; .*\n"
     r" 1000 ahead: (every body right|PipelineOverflow, \d+ unanswered); .*\n"
     r"50 connections: 2,000 responses, every body right; .*\n(.*\n)*){2}"
     r"every rule held\n\Z"),
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("argv, said", HOLDS,
                         ids=[argv[0] for argv, _ in HOLDS])
def test_rules_hold(line, argv, said):
    done = run(interpreter(line), *argv)
    assert done.returncode == 0, done.stdout + done.stderr
    # Nothing but progress.
    assert re.fullmatch(r"( *[\d,]+/[\d,]+ .*\n)*", done.stderr), done.stderr
    assert re.search(said.replace("LINE", re.escape(line) + r"\.[^\s:,]+"),
                     done.stdout, re.M), done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 99


# What changes have at hand.
PREAMBLE = """\
import operator, socket, urllib.request as request
from http import _channel
from http.client import HTTPConnection, HTTPResponse
from urllib._pool import Pool
Channel, get, init = _channel.Channel, Pool.get, Pool.__init__
close, send, read = (
    HTTPConnection.close, HTTPConnection.send, HTTPResponse.read)
kept = []
"""

# How each says that a rule is broken, and which.
SAYS = {
    "faults.py": r"^faults: .* wrong; \d+ rules broken: (.*, )?{} [\d,]+",
    "fuzz.py": r"^fuzz: .*\b{} broken [\d,]+ times",
    "load.py": "^{}.*: .* times, first ",
    "pipeline.py": "^a rule is broken: {}"}


def faults(only):
    return (*FAULTS, f"--only={only}")


def pipeline(depth):
    return ("pipeline.py", f"--depth={depth}", f"--requests={depth}",
            "--timeout=2")


FUZZ_500 = (*FUZZ, "--cases=500")
LOAD = "load.py", "--requests=60"
OPEN = ("HTTPConnection.close = lambda self: ("
        "kept.append(self.sock and self.sock.dup()), close(self))")

# What must not be, a program that sees it, what it says then, and the change.
CHANGES = [
    ("keeps what was not read", faults("length:stall::read"),
     "(foreign|next)", "_channel.Body.clean = property("
     "lambda self: True, lambda self, value: None)"),
    ("does not look before it sends", faults("length:cut::read"), "next",
     "Channel.can_begin = lambda self, is_open: not self.exchanges"),
    ("takes what was cut for a whole", faults("length:cut::read1"), "answer",
     "HTTPResponse._check_end = lambda *args: None"),
    ("waits for ever", faults("length:stall:70:read"), "wait",
     "socket.socket.settimeout = lambda self, timeout: "
     "self.setblocking(timeout != 0)"),
    ("sends a POST again", faults("POST:cut:0:handler, used"), "twice",
     "request._IDEMPOTENT |= {'POST'}"),
    ("opens a connection for each request", faults("length:none"), "kept",
     "Channel.can_begin = lambda self, is_open: False"),
    ("leaves a socket open", faults("length:reset::read"), "open", OPEN),
    ("begins while a response is being read", FUZZ_500, "foreign",
     "Channel.can_begin = lambda self, is_open: True"),
    ("keeps ambiguous framing", FUZZ_500, "foreign",
     "framing = _channel.get_framing\n"
     "_channel.get_framing = lambda *args: (*framing(*args)[:3], True)"),
    ("raises something else", FUZZ_500, "raises",
     "HTTPResponse.read = lambda self, *args: {}[read(self, *args)]"),
    ("leaves a socket open after any framing", FUZZ_500, "open", OPEN),
    ("sends a POST of many again", LOAD, "a POST was sent twice",
     "request._IDEMPOTENT |= {'POST'}"),
    ("sends nothing again", LOAD, "a request was not sent again",
     "request.AbstractHTTPHandler._AbstractHTTPHandler__can_be_repeated = "
     "lambda *args: False"),
    ("mixes up hosts", LOAD, "a connection was used for another host",
     "Pool.get = lambda self, key, timeout: get(self, 'here', timeout)"),
    ("alters what comes", LOAD, "a body does not match its request",
     "HTTPResponse.read = lambda *args: read(*args).replace(b'/', b'?')"),
    ("knows no max_per_host", LOAD,
     "there were more than max_per_host connections",
     "Pool.__init__ = lambda self, **options: init("
     "self, **{**options, 'max_per_key': None})"),
    # How many are idle in the end is up to the servers, too.
    ("knows no max_idle", (*LOAD, "--max-idle=1"),
     "more than max_idle connections were kept",
     "Pool.__init__ = lambda self, **options: init("
     "self, **{**options, 'max_idle': 99})"),
    ("does not count requests", LOAD, "num_requests is wrong",
     "Pool.num_requests = property(operator.attrgetter("
     "'num_connections'), lambda *args: None)"),
    ("leaves sockets to the garbage collector", LOAD,
     "an exception was ignored", "request._disconnect = "
     "lambda connection, *args: setattr(connection, 'sock', None)"),
    ("does not close", LOAD, "sockets are open after close",
     "Pool.close = lambda self: None"),
    ("only sends", pipeline(50),
     "somebody waits for ever, or a request failed: TimeoutError",
     "Channel._send_and_receive = lambda self, data: "
     "self.sock.sendall(data)"),
    ("knows no bound", pipeline(200),
     r"[\d,]{10,} bytes were received in advance",
     "_channel._MAX_RECEIVED = 1 << 30"),
    ("gives up early", pipeline(50), r"PipelineOverflow at \d+ requests",
     "_channel._MAX_RECEIVED = 1 << 20"),
    ("does not name all", pipeline(200),
     r"PipelineOverflow names \d+ requests, not \d+",
     "told = Channel.get_unanswered\n"
     "Channel.get_unanswered = lambda self: told(self)[1:]"),
    ("alters what comes in order", pipeline(50),
     r"response \d+ is not what was sent",
     "HTTPResponse.read = lambda *args: read(*args)[::-1]"),
    ("alters what is sent", pipeline(50),
     r"request \d+ has not arrived as it was sent",
     "HTTPConnection.send = lambda self, data: send(self, data if "
     "len(data) < 30000 else data[::-1])"),
]


@pytest.mark.parametrize("argv, said, change",
                         [pytest.param(*row, id=name)
                          for name, *row in CHANGES])
def test_what_is_wrong_is_seen(argv, said, change):
    done = run(interpreter(), *argv, change=PREAMBLE + change)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(SAYS[argv[0]].replace("{}", said), done.stdout, re.M), (
        done.stdout)


@pytest.mark.parametrize("argv, rules, again", [
    ((*FAULTS, "--only=chunked:::read1"),
     ["answer [0-9,]+(, |$)", "next [0-9,]+(, |$)"], r'--only "(.*)"'),
    ((*FUZZ, "--cases=500"), ["foreign broken"], r"--case (\d+)")])
def test_stock_breaks_rules(argv, rules, again):
    """Each try that went wrong is named so that it can be run alone."""
    python = interpreter(kind="stock")
    done = run(python, *argv)
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 1
    assert all(re.search(rule, last) for rule in rules), last
    named = re.search(again, done.stdout)
    alone = run(python, *argv[:2], *named[0].replace('"', "").split(" ", 1))
    assert alone.returncode == 1
    assert named[0] in alone.stdout


def test_a_case_is_always_the_same():
    shown = {run(interpreter(line), *FUZZ, "--case=7").stdout
             for line in LINES}
    assert len(shown) == 1
    assert run(interpreter(), *FUZZ, "--case=7",
               "--seed=2").stdout not in shown


@pytest.mark.parametrize("only", ["x", "length:x", "length:cut:x", "204::::x",
                                  "length:cut:1:x", "204:cut:1:xmlrpc"])
def test_no_such_try(only):
    done = run(interpreter(), "faults.py", f"--only={only}")
    assert done.returncode == 2
    assert done.stderr.endswith("there is no such try; see --list\n")


@pytest.mark.parametrize("name, lacks", [
    ("load.py", "PersistentConnectionHandler"),
    ("pipeline.py", "max_pipelined")])
def test_an_interpreter_without_the_series(name, lacks):
    done = run(interpreter(kind="stock"), name)
    assert done.returncode == 1
    assert f"this Python has no {lacks}" in done.stderr


def test_desync():
    interpreter(kind="stock")
    done = run(interpreter(), "desync.py", "--client=stock",
               "--client=patched")
    assert "| two lengths that differ | **FORGED** | new |" in done.stdout
    forged = re.search(r"forged, of all\* \| (\d+) of \d+ \| (\d+) of \d+ \|",
                       done.stdout)
    assert int(forged[1]) > 20 and int(forged[2]) < 2
    assert done.returncode == (forged[2] != "0")


def test_the_table_is_in_place():
    text = (ROOT / "SECURITY.md").read_text()
    table = (ROOT / "interop" / "results" / "desync.md").read_text()
    assert table.partition("\n| ")[2] in text + "\n"
