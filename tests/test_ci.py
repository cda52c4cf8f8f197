"""What .ci/run makes of the parts that it runs."""

import os
import shutil
import signal
import subprocess

import pytest

import faketree

RUN = faketree.ROOT / ".ci" / "run"

# Answers by what follows "test"; each part is a file that can be replaced.
SERIES = """\
#!/bin/sh
echo "series: $*" >&2
case "$*" in
test) . ./test;;
*--refleaks*) . ./refleaks;;
*--each-patch*) . ./each-patch;;
esac
"""


@pytest.fixture
def top(tmp_path):
    """A checkout in which every part passes."""
    top = tmp_path / "a checkout"
    (top / ".ci").mkdir(parents=True)
    shutil.copy(RUN, top / ".ci" / "run")
    for name, text in (
            ("series", SERIES), (".ci/docs", "#!/bin/sh\necho docs: built\n"),
            (".ci/attacks", "#!/bin/sh\necho every rule held\n"),
            (".ci/from-source", "#!/bin/sh\necho Result: SUCCESS\n")):
        (top / name).write_text(text)
        (top / name).chmod(0o755)
    for name, count in ("test", 100), ("refleaks", 20), ("each-patch", 3):
        (top / name).write_text(
            f"echo {name} own\necho '{count} passed, 0 failed, 1 skipped'\n")
    return top


def run(top, **extra):
    """Run it from another folder; return (status, lines, stderr)."""
    done = subprocess.run(
        ["bash", top / ".ci" / "run"], cwd=top.parent, text=True,
        env={**os.environ, **extra}, stdin=subprocess.DEVNULL,
        capture_output=True)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_sum(top):
    status, lines, err = run(top)
    assert status == 0, err
    assert lines[-1] == "126 passed, 0 failed, 3 skipped"
    assert lines[-2].startswith("ci: all of it, 0 min ")
    parts = [line.split()[1].strip(",") for line in lines
             if line.startswith("ci: ") and line.endswith(" s")]
    assert parts == ["test", "attacks", "docs", "refleaks", "from-source", "each-patch",
                     "all"]
    assert "test own" in lines
    assert err.splitlines() == [
        "series: test", "series: test --no-local --refleaks 3.15 3.13",
        "series: test --no-local --each-patch 3.15"]


@pytest.mark.parametrize("part, text, last", [
    ("test", "echo '9 passed, 2 failed, 0 skipped'\nexit 1\n",
     "35 passed, 2 failed, 2 skipped"),
    # A failure that was not counted, and output that ends early.
    ("test", "echo '9 passed, 0 failed, 0 skipped'\nexit 1\n",
     "35 passed, 1 failed, 2 skipped"),
    ("refleaks", "echo 'no packages' >&2; exit 1\n",
     "106 passed, 1 failed, 2 skipped"),
    (".ci/docs", "#!/bin/sh\nexit 3\n", "125 passed, 1 failed, 3 skipped"),
    (".ci/from-source", "#!/bin/sh\nexit 1\n",
     "125 passed, 1 failed, 3 skipped"),
    ("each-patch", "echo 'no line was run'\n"
     "echo '0 passed, 0 failed, 0 skipped'\nexit 1\n",
     "123 passed, 1 failed, 2 skipped"),
])
def test_failing_part(top, part, text, last):
    """It fails the whole, and the others are run."""
    (top / part).write_text(text)
    status, lines, _ = run(top)
    assert status == 1
    assert lines[-1] == last
    told, = [line for line in lines if "FAILED" in line]
    assert told.startswith(f"ci: {os.path.basename(part)} FAILED, 0 min ")
    assert sum(line.startswith("ci: ") for line in lines) == 13


def test_not_run(top):
    (top / "test").write_text(
        "echo 'NOT RUN: 3.14: no packages: none'\n"
        "echo '9 passed, 0 failed, 0 skipped; NOT RUN: 3.14'\n")
    (top / "refleaks").write_text(
        "echo 'NOT RUN: 3.13: no packages'\n"
        "echo '9 passed, 0 failed, 0 skipped; NOT RUN: 3.13'\n")
    status, lines, _ = run(top)
    assert status == 0
    assert lines[-1] == ("24 passed, 0 failed, 1 skipped; NOT RUN: 3.14 "
                         "(test), 3.13 (refleaks)")


def heed_interrupts():
    # A shell's background job ignores them, and so would its children.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupted(top):
    """No further part is begun, although the first one ends by itself."""
    (top / "test").write_text(
        "trap 'exit 130' INT\necho ready >&2\nread -r _ < fifo\n")
    os.mkfifo(top / "fifo")
    with subprocess.Popen(
            ["bash", top / ".ci" / "run"], text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, preexec_fn=heed_interrupts) as process:
        while process.stderr.readline() != "ready\n":
            pass
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate()
    assert process.returncode == 130
    assert "ci: docs" not in out
