"""./series test: what is counted, what is proven, what is said."""

import sys

import pytest

import faketree
from faketree import change, git, write
from tools.common import Failure
from tools.cpython import stock, worktrees
from tools.cpython.download import Unavailable
from tools.interpreters import build
from tools.patches import series
from tools.suites import eachpatch, local, modules, regrtest, test

FEATURE, OLD = "Lib/feature.py", "Lib/test/test_httplib.py"
HEADER = "import feature, unittest\nclass Tests(unittest.TestCase):\n"

OLD_TEST = "    def test_old(self): pass\n"
GOOD = """\
    def test_it(self):
        self.assertEqual(feature.one(), 1)
"""


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


class Base(stock.Base):
    """A line with an interpreter that is this one, and a tiny library."""

    def interpreter_at(self, commit, name, *, debug=False):
        lib = self.place / name / "Lib"
        worktrees.move(self.repo, lib.parent, commit)
        # The tests of the tiny library come before those of this Python.
        write(lib, "sitecustomize.py",
              f"import test\ntest.__path__.insert(0, '{lib}/test')\n")
        return program(self.place / f"{name}.sh", (
            f"PYTHONPATH='{lib}' exec '{sys.executable}' \"$@\""))


@pytest.fixture
def repo(tmp_path):
    """The tiny library; each commit after base is a patch."""
    repo = tmp_path / "repo"
    write(repo, OLD, HEADER + OLD_TEST)
    write(repo, FEATURE, "def zero():\n    return 0\n")
    git(repo, "init", "--quiet", "--initial-branch=main")
    faketree.commit(repo, "base", tag="base")
    return repo


@pytest.fixture
def run(repo, tmp_path, monkeypatch, call):
    """Run the verb on the one line there is; (status, printed lines)."""
    base = Base("3.15", "3.15.2", "packages", tmp_path / "place", repo)
    base.place.mkdir()

    def get(line=None, **ignored):
        if line == "3.15":
            return base
        raise Unavailable(f"{line} cannot be had")

    def patched(line, named=None):
        last = series.commit_onto(repo, series.load(), line)[-1]
        return base, base.interpreter_at(last, "patched")

    monkeypatch.setattr(stock, "get", get)
    monkeypatch.setattr(build, "patched", patched)
    monkeypatch.setattr(series, "ROOT", tmp_path)
    monkeypatch.setattr(modules, "STOCK", ("test_httplib",))
    monkeypatch.setattr(modules, "build_dir", lambda: tmp_path / "build")
    monkeypatch.setattr(eachpatch, "TIMEOUT", 2)
    monkeypatch.setattr(eachpatch, "ALONE", 2)

    def verb(*args):
        subjects = git(repo, "log", "--reverse", "--format=%s", "base..")
        faketree.write_series(repo, tmp_path / "patches", subjects.split())
        status, out = call(test, *args)
        return status, out.splitlines()
    return verb


def add_feature(repo, body, name="one", module=None):
    """Commit a patch that adds feature.NAME() and test_feature_NAME."""
    with open(repo / FEATURE, "a") as file:
        file.write(f"\n\ndef {name}():\n    return 1\n")
    write(repo, module or f"Lib/test/test_feature_{name}.py", HEADER + body)
    faketree.commit(repo, name)


def test_suite(repo, run, monkeypatch):
    """The line, then tests/, and the sum."""
    monkeypatch.setattr(local, "python", lambda: "python")
    monkeypatch.setattr(local, "run", lambda python, log: (
        regrtest.Counts(7, 0, 1), []))
    add_feature(repo, GOOD + """
    @unittest.skip("no network")
    def test_net(self): pass
""")
    status, lines = run("3.15")
    assert status == 0
    assert lines[0].startswith(
        "3.15.2 own:                    1 passed, 0 failed, 1 skipped in ")
    assert lines[-2:] == [
        "tests/:                        7 passed, 0 failed, 1 skipped",
        "9 passed, 0 failed, 2 skipped"]


def test_lines_that_cannot_be_had(repo, run):
    add_feature(repo, GOOD)
    status, lines = run("--no-local")
    assert status == 0
    assert lines[-3:] == [
        "NOT RUN: 3.13: 3.13 cannot be had",
        "NOT RUN: 3.14: 3.14 cannot be had",
        "2 passed, 0 failed, 0 skipped; NOT RUN: 3.13, 3.14"]
    assert run("3.14", "--no-local") == (1, [
        "NOT RUN: 3.14: 3.14 cannot be had", "no line was run",
        "0 passed, 0 failed, 0 skipped; NOT RUN: 3.14"])


@pytest.mark.parametrize("body, said", [
    ("    def test_wrong(self): self.fail()\n",
     "test_feature_one.Tests.test_wrong"),
    ("    def test_part(self):\n"
     "        with self.subTest(number=1): self.fail()\n",
     "test_feature_one.Tests.test_part"),
    ("    import nothing_of_that_name\n",
     "test_feature_one failed (uncaught exception)"),
    ("    raise unittest.SkipTest('no need')\n",
     "test_feature_one could not run: skipped"),
    ("    @unittest.skip('needs ssl')\n    def test_tls(self): pass\n",
     "test_feature_one.Tests.test_tls could not run: needs ssl"),
    ("    @classmethod\n    def setUpClass(cls): 1 / 0\n" + GOOD,
     "setUpClass of test_feature_one.Tests"),
])
def test_failure_and_what_cannot_run(repo, run, body, said):
    add_feature(repo, body)
    status, lines = run("3.15", "--no-local")
    assert status == 1
    assert f"  FAILED {said}" in lines
    assert lines[-1].startswith("1 passed, 1 failed,")


def test_series_that_does_not_apply(repo, run):
    change(repo, FEATURE, "return 0", "return 1")
    git(repo, "checkout", "--quiet", "-b", "newer", "base")
    change(repo, FEATURE, "return 0", "return 2", tag="base")
    git(repo, "checkout", "--quiet", "main")
    git(repo, "commit", "--quiet", "--amend", "-m", "one")
    status, lines = run("3.15", "--no-local")
    assert status == 1
    assert lines[1].startswith("  FAILED one does not apply to 3.15 at "
                               "Lib/feature.py, hunk 1 (@@ -")
    assert lines[-1] == "0 passed, 1 failed, 0 skipped"


def test_only(repo, run):
    add_feature(repo, GOOD)
    add_feature(repo, GOOD.replace("one", "two"), "two")
    status, lines = run("3.15", "--only", "two")
    assert (status, lines[-1]) == (0, "1 passed, 0 failed, 0 skipped")
    with pytest.raises(Failure, match="no patch three; the series has: one"):
        run("3.15", "--only", "three")


def test_refleaks(repo, run, monkeypatch):
    suite = regrtest.run

    def without_debug(python, names, log, *, options, timeout):
        assert options == ["-R", "3:3"]
        return suite(python, names, log)
    monkeypatch.setattr(regrtest, "run", without_debug)
    add_feature(repo, GOOD)
    status, lines = run("3.15", "--refleaks")
    assert status == 0 and lines[0].startswith("3.15.2 refleaks:")
    assert lines[-1] == "2 passed, 0 failed, 0 skipped"


# --each-patch

def proven(run, *args):
    """Return (lines, what failed); the newest line is taken."""
    status, lines = run("--each-patch", *args)
    wrong = [text[len("  FAILED "):] for text in lines
             if text.startswith("  FAILED ")]
    assert status == bool(wrong)
    return lines, wrong


def test_each_patch(repo, run):
    """Failing, hanging, and failing in a subtest: all fail without it."""
    add_feature(repo, GOOD + """
    def test_hang(self):
        import threading
        if not hasattr(feature, "one"):
            threading.Event().wait()

    def test_part(self):
        with self.subTest(number=1):
            self.assertTrue(feature.one())

    # Guard: zero is as it was.
    def test_guard(self):
        self.assertEqual(feature.zero(), 0)
""")
    add_feature(repo, OLD_TEST + GOOD.replace("one", "two"), "two", OLD)
    # Documentation alone concerns no test module, so none is run.
    write(repo, "Doc/howto/feature.rst", "Feature HOWTO\n")
    faketree.commit(repo, "how-to")
    lines, wrong = proven(run)
    assert wrong == []
    assert [text for text in lines if " without:" in text] == [
        "one without:                   4 passed, 0 failed, 0 skipped",
        "two without:                   1 passed, 0 failed, 0 skipped"]
    assert not any(text.startswith("how-to") for text in lines)
    lines, wrong = proven(run, "--only", "two")
    assert wrong == []
    assert not any(text.startswith("one ") for text in lines)


@pytest.mark.parametrize("body, said", [
    ("    def test_old(self): feature.zero()\n",
     "test_feature_one.Tests.test_old passes without the patch: it tests "
     "nothing new, or needs a comment above it: # Guard: why"),
    ("    # Guard: nothing\n" + GOOD,
     "test_feature_one.Tests.test_it is marked as a guard and fails without "
     "the patch: remove the mark"),
    ("    from feature import one\n\n" + GOOD,
     "test_feature_one cannot be imported without the patch, and a failed "
     "import proves nothing: import what is new in the tests"),
    ("    @classmethod\n    def setUpClass(cls): feature.one\n" + GOOD,
     "test_feature_one.Tests.test_it does not get to run without the patch: "
     "what is set up for it fails, which proves nothing"),
])
def test_each_patch_finds(repo, run, body, said):
    add_feature(repo, body)
    assert proven(run)[1] == [said]


def test_each_patch_suite_fails_in_between(repo, run):
    """The second patch mends what the first breaks: still a defect."""
    add_feature(repo, GOOD + "\n    def test_zero(self):\n"
                "        self.assertEqual(feature.one(), feature.zero())\n")
    faketree.edit(repo, FEATURE, "return 0", "return 1")
    write(repo, "Lib/test/test_zero.py", HEADER + "    def test_zero(self):\n"
          "        self.assertEqual(feature.zero(), 1)\n")
    faketree.commit(repo, "two")
    assert proven(run)[1] == ["test_feature_one.Tests.test_zero"]


def test_guards():
    assert eachpatch.guarded("""\
class Mixin:
    # Guard: as ever,
    # in two lines.
    @decorated
    def test_a(self): pass
    def test_b(self): pass
class Plain(Mixin, unittest.TestCase):
    def test_c(self): pass
# Guard: all of them
class Whole(unittest.TestCase):
    def test_d(self): pass
class Again(Plain):
    def test_a(self): pass   # Guard: not above it
""") == {"Mixin.test_a", "Plain.test_a", "Whole.test_d"}


# tests/, with pytest

@pytest.mark.parametrize("text, counts, said", [
    ("import pytest\n@pytest.mark.skip\ndef test_a(): pass\n"
     "def test_b(): pass\n", "1 passed, 0 failed, 1 skipped", []),
    ("def test_a(): assert 0\n", "0 passed, 1 failed, 0 skipped",
     ["tests/test_x.py::test_a"]),
    ("import nothing_of_that_name\n", "0 passed, 1 failed, 0 skipped",
     ["tests/test_x.py"]),
    ("", "0 passed, 1 failed, 0 skipped", ["pytest: status 5: no tests ran"]),
])
def test_runner(tmp_path, monkeypatch, text, counts, said):
    write(tmp_path, "tests/test_x.py", text)
    write(tmp_path, "pytest.ini", "[pytest]\nmarkers = regression\n")
    monkeypatch.setattr(local, "ROOT", tmp_path)
    told, failures = local.run(sys.executable, tmp_path / "logs/x.log")
    assert str(told) == counts
    assert [one.partition(" - ")[0].partition(" in ")[0]
            for one in failures] == said


def test_no_venv(tmp_path, monkeypatch):
    """As on Debian without python3-venv: the line that installs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(program(
        tmp_path / "python", "echo Error: no ensurepip\nexit 1")))
    with pytest.raises(Failure, match=r"no ensurepip\); install what it "
                       r"lacks: apt-get install python3-venv$"):
        local.python()
    assert [path.suffix for path in
            (tmp_path / "cpython-persistent-http").iterdir()] == [".lock"]
