"""The how-to: its examples run, and what its table says is so.

An example may use what those before it in its section have defined.  If a
block of text follows it, that is what it prints.
"""

import doctest
import json
import os
import re
import subprocess

import pytest

from howto_server import CERTIFICATE, DIRECTIONS, Server
from tools.common import LINES, ROOT, build_dir
from tools.patches.series import load

FOLDER = ROOT / "Doc" / "howto"
TABLE = "Has the server acted?"
TIMEOUT = 60        # seconds, for an example that waits for what never comes

_UNDERLINE = re.compile(r"([=*-])\1{3,}")

pytestmark = pytest.mark.skipif(
    "how-to" not in [patch.name for patch in load()],
    reason="the series has no how-to yet")


class Example:
    """Attributes: source, number (of its first line), prints (or None)."""

    def __init__(self, source, number):
        self.source = source
        self.number = number
        self.prints = None


def sections(text):
    """Return {title: list of Example}."""
    lines = text.expandtabs().splitlines()
    found, examples = {}, None
    number = 0
    while number < len(lines):
        line = lines[number]
        if _UNDERLINE.fullmatch(line) and number and lines[number - 1].strip():
            title = lines[number - 1]
            assert title not in found, f"line {number}: a second {title}"
            examples = found[title] = []
        kind = _kind(line)
        number += 1
        if kind is None:
            continue
        begin, block, number = _block(lines, number, _indent(line))
        if kind == "text":
            assert examples and examples[-1].prints is None, (
                f"line {begin + 1}: there is no example that prints this")
            examples[-1].prints = block
        else:
            examples.append(Example(block, begin + 1))
    return found


def _kind(line):
    """Return what begins after a line: "python", "text" or None."""
    directive = re.fullmatch(r" *\.\. (?:code-block|sourcecode|testcode|code|"
                             r"highlight|doctest|literalinclude)::(.*)", line)
    if directive:
        language = directive.group(1).strip()
        assert language in ("python", "none"), f"not looked at: {line}"
        return "text" if language == "none" else "python"
    assert ">>>" not in line, f"not looked at: {line}"
    if line.endswith("::") and not line.lstrip().startswith(".. "):
        return "python"
    return None


def _indent(line):
    return len(line) - len(line.lstrip())


def _block(lines, number, outer):
    """Return (index of its first line, text, index after it)."""
    while number < len(lines) and not lines[number].strip():
        number += 1
    begin = number
    inner = _indent(lines[begin])
    assert inner > outer, f"line {begin + 1}: an empty block"
    block = []
    while number < len(lines) and (
            not lines[number].strip() or _indent(lines[number]) >= inner):
        block.append(lines[number][inner:])
        number += 1
    return begin, "\n".join(block).strip("\n") + "\n", number


def documents():
    """Yield (Path, {title: list of Example}) of each how-to."""
    for path in sorted(FOLDER.glob("*.rst")):
        yield path, sections(path.read_text("utf-8"))


WITH_EXAMPLES = [(path, title, examples) for path, found in documents()
                 for title, examples in found.items() if examples]


def run(line, args, **kwargs):
    """Run the patched interpreter of a line; return CompletedProcess."""
    python = build_dir() / line / "patched" / "usr" / "bin" / f"python{line}"
    if not python.exists():
        pytest.skip(f"not at hand: ./series build {line} gets it")
    env = {name: value for name, value in os.environ.items()
           if not name.lower().endswith("_proxy")}
    # What TLS trusts if nobody says anything else.
    env["SSL_CERT_FILE"] = str(CERTIFICATE)
    return subprocess.run(
        [python, "-E", "-s", "-B", "-W", "error", *args], env=env,
        capture_output=True, text=True, timeout=TIMEOUT, **kwargs)


# Runs the examples that stdin has, in one namespace, as if they were lines of
# the document; prints what each has printed.
RUNNER = """
import contextlib, io, json, linecache, sys
given = json.load(sys.stdin)
exec(given["directions"], {})
linecache.cache[given["path"]] = (
    1, None, given["text"].splitlines(True), given["path"])
names, printed = {"__name__": "__main__"}, []
for number, source in given["examples"]:
    code = compile("\\n" * (number - 1) + source, given["path"], "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, names)
    printed.append(out.getvalue())
del names
json.dump(printed, sys.stdout)
"""


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(
    "path, title, examples", WITH_EXAMPLES,
    ids=[f"{path.stem}-{title}" for path, title, _ in WITH_EXAMPLES])
def test_examples(line, path, title, examples):
    with Server() as server:
        done = run(line, ["-c", RUNNER], input=json.dumps({
            "directions": DIRECTIONS.format(ports=server.ports),
            "path": str(path), "text": path.read_text("utf-8"),
            "examples": [(example.number, example.source)
                         for example in examples]}))
    assert (done.returncode, done.stderr) == (0, "")
    assert server.failures == []
    check = doctest.OutputChecker().check_output
    for example, printed in zip(examples, json.loads(done.stdout)):
        if example.prints is not None:
            assert check(example.prints, printed, doctest.ELLIPSIS), (
                f"{path.name}:{example.number} prints\n{printed}")


# The table.

class Row:
    """Attributes: calls, exceptions ({name: whether it has an asterisk}), why,
    case ("not sent", "in doubt" or "answered")."""

    def __init__(self, cells):
        self.calls = cells[0].replace("`", "").split(", ")
        exceptions, _, self.why = cells[1].rpartition(": ")
        self.why = re.sub(r":\w+:`(.*?)`|[`*]", r"\1", self.why)
        self.exceptions = {
            name: bool(mark) for name, mark
            in re.findall(r":exc:`~?([\w.]+)`(\\ \\\*)?", exceptions)}
        self.case = cells[2].partition(";")[0]


def rows():
    """Return the rows of the table in the section TABLE."""
    text = (FOLDER / "http-connections.rst").read_text("utf-8")
    text = text[text.index(f"\n{TABLE}\n"):]
    text = text[text.index(".. list-table::"):]
    text = re.split(r"\n(?=\S)", text[3:], maxsplit=1)[0]
    found = []
    for row in re.split(r"\n   \* - ", text)[2:]:
        cells = [" ".join(cell.split()) for cell in row.split("\n     - ")]
        assert len(cells) == 3, row
        found.append(Row(cells))
    return found


@pytest.mark.parametrize("line", LINES)
def test_table(line):
    program = ROOT / "tests" / "howto" / "howto_rows.py"
    done = run(line, [str(program), str(CERTIFICATE)])
    assert (done.returncode, done.stderr) == (0, "")
    raised = {}
    table = {(call, row.why): row for row in rows() for call in row.calls}
    assert len(table) >= 15
    for case in json.loads(done.stdout):
        key = case["call"], case["row"]
        row = table[key]
        name = next((name for name in case["exceptions"]
                     if name in row.exceptions), None)
        assert name, (case, row.exceptions)
        raised.setdefault(row.why, set()).add(name)
        assert case["closed"] == row.exceptions[name], case
        assert case["sent"] == (row.case != "not sent"), case
        assert case["answered"] == (row.case == "answered"), case
    assert raised == {row.why: set(row.exceptions) for row in rows()}
