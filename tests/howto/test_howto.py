"""The how-to: its examples run, and what its table says is so.

An example may use what those before it in its section have defined.  If a
block of text follows it, that is what it prints.
"""

import doctest
import json
import os
import re
import subprocess
import textwrap

import pytest

from tools.common import LINES, ROOT, build_dir
from tools.patches.series import load

FOLDER = ROOT / "Doc" / "howto"
TABLE = "Has the server acted?"
TIMEOUT = 60        # seconds, for an example that waits for what never comes

# A title, or a block: an example, or what it prints.
PART = re.compile(
    r"^(?P<title>\S.*)\n[=*-]{4,}\n|"
    r"^(?P<indent> *)(?:(?P<prints>\.\. code-block:: none)|(?!\.\. ).*::)\n\n"
    r"(?P<block>(?:(?P=indent) +.*\n|\n)*)", re.MULTILINE)
NOT_LOOKED_AT = re.compile(
    r">>>|\.\. (code-block::(?! none\n)|(sourcecode|testcode|code|highlight|"
    r"doctest|literalinclude)::)")

pytestmark = pytest.mark.skipif(
    "how-to" not in [patch.name for patch in load()],
    reason="the series has no how-to yet")


def sections(path):
    """Return {title: [[line number, source, what it prints or None], ...]}.
    """
    text = path.read_text("utf-8")
    assert not NOT_LOOKED_AT.search(text)
    found = {}
    for part in PART.finditer(text):
        if part["title"]:
            examples = found.setdefault(part["title"], [])
            continue
        block = textwrap.dedent(part["block"]).strip("\n") + "\n"
        if part["prints"]:
            assert examples[-1][2] is None, f"which example prints {block}"
            examples[-1][2] = block
        else:
            number = text.count("\n", 0, part.start("block")) + 1
            examples.append([number, block, None])
    return found


WITH_EXAMPLES = [
    pytest.param(path, examples, id=f"{path.stem}-{title}")
    for path in sorted(FOLDER.glob("*.rst"))
    for title, examples in sections(path).items() if examples]


def run(line, program, told=""):
    """Have the patched interpreter of a line run it; return its answer."""
    python = build_dir() / line / "patched" / "usr" / "bin" / f"python{line}"
    if not python.exists():
        pytest.skip(f"not at hand: ./series build {line} gets it")
    env = {name: value for name, value in os.environ.items()
           if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [python, "-E", "-s", "-W", "error",
         ROOT / "tests" / "howto" / program],
        env=env, input=told, capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("path, examples", WITH_EXAMPLES)
def test_examples(line, path, examples):
    printed = run(line, "howto_server.py", json.dumps(
        [str(path), [(number, source) for number, source, _ in examples]]))
    check = doctest.OutputChecker().check_output
    for (number, _, prints), said in zip(examples, printed):
        if prints is not None:
            assert check(prints, said, doctest.ELLIPSIS), (
                f"{path.name}:{number} prints\n{said}")


def rows():
    """Yield (calls, {exception: whether it has an asterisk}, why, case) for
    each row of the table; the case is "not sent", "in doubt" or "answered".
    """
    text = (FOLDER / "http-connections.rst").read_text("utf-8")
    text = text[text.index(f"\n{TABLE}\n"):].split(".. list-table::")[1]
    text = re.split(r"\n(?=\S)", text, maxsplit=1)[0]
    for row in text.split("\n   * - ")[2:]:
        calls, told, case = [" ".join(cell.split())
                             for cell in row.split("\n     - ")]
        marks = re.findall(r":exc:`~?([\w.]+)`(\\ \\\*)?", told)
        why = re.sub(r":\w+:`(.*?)`|[`*]", r"\1", told.rpartition(": ")[2])
        yield (calls.replace("`", "").split(", "),
               {name: bool(mark) for name, mark in marks}, why,
               case.partition(";")[0])


@pytest.mark.parametrize("line", LINES)
def test_table(line):
    table = {(call, why): (exceptions, case)
             for calls, exceptions, why, case in rows() for call in calls}
    assert len(table) >= 15
    raised = {}
    for told in run(line, "howto_rows.py"):
        exceptions, case = table[told["call"], told["row"]]
        name = next((name for name in told["exceptions"]
                     if name in exceptions), None)
        assert name, (told, exceptions)
        raised.setdefault(told["row"], set()).add(name)
        assert told["closed"] == exceptions[name], told
        assert told["sent"] == (case != "not sent"), told
        assert told["answered"] == (case == "answered"), told
    assert raised == {why: set(exceptions) for _, exceptions, why, _ in rows()}
