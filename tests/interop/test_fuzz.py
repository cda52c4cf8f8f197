"""interop/fuzz.py and desync.py: that they hold, and would see if not."""

import re
import subprocess

import pytest

from tools.common import LINES, ROOT, build_dir

FUZZ = ROOT / "interop" / "fuzz.py"
DESYNC = ROOT / "interop" / "desync.py"


def interpreter(line, kind="patched"):
    python = build_dir() / line / kind / "usr" / "bin" / f"python{line}"
    if not python.exists():
        pytest.skip(f"not at hand: ./series build {line} gets it")
    return python


def run(python, *args, change="", program=FUZZ):
    code = (f"import runpy, sys\n{change}\n"
            f"sys.argv[0] = {str(program)!r}\n"
            f"runpy.run_path(sys.argv[0], run_name='__main__')")
    return subprocess.run(
        [python, "-E", "-s", "-B", "-W", "error", "-c", code, *args],
        stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=300)


def fuzz(python, *args, change=""):
    return run(python, "--without-h11", *args, change=change)


@pytest.mark.parametrize("line", LINES)
def test_rules_hold(line):
    done = fuzz(interpreter(line), "--cases=1000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("1,000 cases of seed 1, ")
    assert re.search(r"^\d+ with a second response; no h11$", done.stdout,
                     re.M)
    assert re.search(rf"^fuzz: CPython {re.escape(line)}\.\S+: every rule "
                     r"held\n\Z", done.stdout, re.M)


def test_a_case_is_always_the_same():
    shown = {fuzz(interpreter(line), "--case=7").stdout for line in LINES}
    assert len(shown) == 1
    other = fuzz(interpreter(LINES[-1]), "--case=7", "--seed=2").stdout
    assert other not in shown


CHANNEL = "from http import _channel as c\n"
READ = ("from http.client import HTTPResponse\n"
        "read = HTTPResponse.read\n")

# What must not be, and the rule that it breaks.
CHANGES = {
    "keeps what was not read": (
        CHANNEL + "c.Channel.can_begin = lambda self, is_open: True",
        "foreign"),
    "keeps ambiguous framing": (
        CHANNEL + "framing = c.get_framing\n"
        "c.get_framing = lambda *args: (*framing(*args)[:3], True)",
        "foreign"),
    "raises something else": (
        READ + "HTTPResponse.read = lambda self, *args: "
        "{}[read(self, *args)]", "raises"),
    "leaves a socket open": (
        "from http.client import HTTPConnection\n"
        "kept = []\n"
        "close = HTTPConnection.close\n"
        "HTTPConnection.close = lambda self: ("
        "kept.append(self.sock and self.sock.dup()), close(self))", "open"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_wrong_is_seen(name):
    change, rule = CHANGES[name]
    done = fuzz(interpreter(LINES[-1]), "--cases=500", change=change)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"\b{rule} broken [\d,]+ times", done.stdout)


def test_stock_breaks_rules():
    python = interpreter(LINES[-1], "stock")
    done = fuzz(python, "--cases=500")
    assert done.returncode == 1
    assert "foreign broken" in done.stdout
    # Each case that went wrong is named, and goes wrong alone.
    number = re.search(r"--case (\d+)", done.stdout)[1]
    alone = fuzz(python, f"--case={number}")
    assert alone.returncode == 1
    assert f"--seed 1 --case {number}\n" in alone.stdout


def test_desync():
    interpreter(LINES[-1], "stock")
    done = run(interpreter(LINES[-1]), "--client=stock", "--client=patched",
               program=DESYNC)
    assert "| two lengths that differ | **FORGED** | new |" in done.stdout
    forged = re.search(r"forged, of all\* \| (\d+) of \d+ \| (\d+) of \d+ \|",
                       done.stdout)
    assert int(forged[1]) > 20 and int(forged[2]) < 2
    assert done.returncode == (forged[2] != "0")


def test_the_table_is_in_place():
    text = (ROOT / "SECURITY.md").read_text()
    table = (ROOT / "interop" / "results" / "desync.md").read_text()
    assert table.partition("\n| ")[2] in text + "\n"
