"""What .ci/run makes of the parts that it runs."""

import shutil
import subprocess

import pytest

import faketree

SERIES = """\
echo "series: $*" >&2
case "$*" in
test) . ./test;;
*--refleaks*) . ./refleaks;;
*--each-patch*) . ./each-patch;;
esac
"""
PARTS = {
    "series": SERIES, ".ci/docs": "echo docs: built\n",
    ".ci/attacks": "echo every rule held\n",
    ".ci/from-source": "echo Result: SUCCESS\n",
    **{name: f"echo {name} own; echo '{count} passed, 0 failed, 1 skipped'\n"
       for name, count in (("test", 100), ("refleaks", 20),
                           ("each-patch", 3))}}


@pytest.fixture
def top(tmp_path):
    """A checkout in which every part passes."""
    top = tmp_path / "a checkout"
    for name, text in PARTS.items():
        replace(top, name, text)
    shutil.copy(faketree.ROOT / ".ci" / "run", top / ".ci" / "run")
    return top


def replace(top, part, text):
    faketree.write(top, part, f"#!/bin/sh\n{text}")
    (top / part).chmod(0o755)


def run(top):
    """Run it from another folder; return (status, lines, stderr)."""
    done = subprocess.run(
        ["bash", top / ".ci" / "run"], cwd=top.parent, text=True,
        stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_sum(top):
    status, lines, err = run(top)
    assert status == 0, err
    assert lines[-1] == "126 passed, 0 failed, 3 skipped"
    assert lines[-2].startswith("ci: all of it, 0 min ")
    assert [line.split()[1].strip(",") for line in lines
            if line.startswith("ci: ") and line.endswith(" s")] == [
        "test", "attacks", "docs", "refleaks", "from-source", "each-patch",
        "all"]
    assert "test own" in lines
    assert err.splitlines() == [
        "series: test", "series: test --no-local --refleaks 3.15",
        "series: test --no-local --each-patch 3.15"]


@pytest.mark.parametrize("part, text, last", [
    ("test", "echo '9 passed, 2 failed, 0 skipped'; exit 1",
     "35 passed, 2 failed, 2 skipped"),
    ("refleaks", "echo 'no packages' >&2; exit 1",
     "106 passed, 1 failed, 2 skipped"),
    (".ci/docs", "exit 3", "125 passed, 1 failed, 3 skipped"),
])
def test_failing_part(top, part, text, last):
    """It fails the whole, and the others are run."""
    replace(top, part, text)
    status, lines, _ = run(top)
    assert (status, lines[-1]) == (1, last)
    told, = [line for line in lines if "FAILED" in line]
    assert told.startswith(f"ci: {part.removeprefix('.ci/')} FAILED, 0 min ")


def test_not_run(top):
    for part, line in ("test", "3.14"), ("refleaks", "3.13"):
        replace(top, part, f"echo 'NOT RUN: {line}: no packages: none'\n"
                f"echo '9 passed, 0 failed, 0 skipped; NOT RUN: {line}'\n")
    status, lines, _ = run(top)
    assert status == 0
    assert lines[-1] == ("24 passed, 0 failed, 1 skipped; NOT RUN: 3.14 "
                         "(test), 3.13 (refleaks)")
