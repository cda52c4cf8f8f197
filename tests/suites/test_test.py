"""./series test: what is counted, what is proven, what is said."""

import argparse
import os
import sys

import pytest

import faketree
from faketree import git
from tools.common import Failure
from tools.cpython import stock
from tools.cpython.download import Unavailable
from tools.interpreters import build
from tools.patches import series
from tools.suites import eachpatch, local, modules, regrtest, test

FAKE = os.path.join(os.path.dirname(__file__), "fakepython.py")

LOAD = series.load

HEADER = "import unittest\n\n\nclass Tests(unittest.TestCase):\n"


class Base(stock.Base):
    """A line with an interpreter that is this one, and a tiny library."""

    def interpreter_at(self, commit, name, *, debug=False):
        tree = self.place / name
        if not tree.exists():
            git(self.repo, "worktree", "add", "--quiet", "--detach", tree)
        git(tree, "checkout", "--quiet", "--detach", commit)
        python = self.place / f"{name}.sh"
        python.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{FAKE}' "
                          f"'{tree}' \"$@\"\n")
        python.chmod(0o755)
        return python


def write_test(repo, name, body):
    faketree.write(repo, f"Lib/test/{name}.py", HEADER + body)


@pytest.fixture
def line(tmp_path, monkeypatch):
    """The one line there is; commit upon it what make_series() takes."""
    repo = tmp_path / "repo"
    write_test(repo, "test_httplib", "    def test_old(self):\n"
               "        import feature\n")
    faketree.write(repo, "Lib/feature.py", "def zero():\n    return 0\n")
    git(repo, "init", "--quiet", "--initial-branch=main")
    faketree.commit(repo, "base")
    git(repo, "tag", "base")
    base = Base("3.15", "3.15.2", "packages", tmp_path / "place", repo)
    base.place.mkdir()

    def get(line=None, *, debug=False, named=None):
        if line == "3.15":
            return base
        raise Unavailable(f"{line} cannot be had")
    monkeypatch.setattr(stock, "get", get)
    monkeypatch.setattr(build, "patched", lambda line, named=None: (
        base, base.interpreter_at("main", "patched")))
    monkeypatch.setattr(modules, "STOCK", ("test_httplib",))
    monkeypatch.setattr(modules, "build_dir", lambda: tmp_path / "build")
    monkeypatch.setattr(eachpatch, "TIMEOUT", 1)
    monkeypatch.setattr(eachpatch, "ALONE", 1)
    return base


@pytest.fixture
def run(line, tmp_path, monkeypatch, capsys):
    """Run the verb on the commits of the line; (status, printed lines)."""
    def verb(*args):
        folder = tmp_path / "patches"
        folder.mkdir(exist_ok=True)
        names = []
        for one in git(line.repo, "rev-list", "--reverse",
                       "base..main").split():
            name = git(line.repo, "log", "-1", "--format=%s", one).strip()
            (folder / f"{name}.patch").write_text(git(
                line.repo, "format-patch", "--stdout", "-1", one))
            names.append(name)
        faketree.write(folder, "series", "".join(
            f"{name}.patch\n" for name in names))
        loaded = LOAD(folder=folder)
        monkeypatch.setattr(series, "load", lambda: loaded)
        parser = argparse.ArgumentParser()
        test.add_arguments(parser)
        status = test.run(parser.parse_args(args))
        lines = capsys.readouterr().out.splitlines()
        return status, lines
    return verb


def add_feature(line, body, *, name="one", code=True):
    """Commit a patch that adds feature.NAME() and test_feature_NAME."""
    if code:
        path = line.repo / "Lib/feature.py"
        path.write_text(path.read_text() +
                        f"\n\ndef {name}():\n    return 1\n")
    write_test(line.repo, f"test_feature_{name}", body)
    faketree.commit(line.repo, name)


GOOD = """\
    def test_it(self):
        import feature
        self.assertEqual(feature.one(), 1)
"""


def test_suite(line, run):
    add_feature(line, GOOD + """
    @unittest.skip("resource 'network' is not enabled")
    def test_net(self):
        pass
""")
    status, lines = run("3.15", "--no-local")
    assert status == 0
    assert lines[0].startswith(
        "3.15.2 own:                    1 passed, 0 failed, 1 skipped in ")
    assert lines[-1] == "2 passed, 0 failed, 1 skipped"


def test_lines_that_cannot_be_had(line, run):
    add_feature(line, GOOD)
    status, lines = run("--no-local")
    assert status == 0
    assert lines[-3:] == [
        "NOT RUN: 3.13: 3.13 cannot be had",
        "NOT RUN: 3.14: 3.14 cannot be had",
        "2 passed, 0 failed, 0 skipped; NOT RUN: 3.13, 3.14"]
    status, lines = run("3.14", "--no-local")
    assert status == 1
    assert lines == ["NOT RUN: 3.14: 3.14 cannot be had", "no line was run",
                     "0 passed, 0 failed, 0 skipped; NOT RUN: 3.14"]


def test_failures(line, run):
    add_feature(line, GOOD + """
    def test_wrong(self):
        self.fail()

    def test_part(self):
        for number in range(2):
            with self.subTest(number=number):
                self.assertEqual(number, 0)
""")
    status, lines = run("3.15", "--no-local")
    assert status == 1
    assert "  FAILED test_feature_one.Tests.test_wrong" in lines
    assert "  FAILED test_feature_one.Tests.test_part" in lines
    assert lines[-1] == "2 passed, 2 failed, 0 skipped"


@pytest.mark.parametrize("body, said", [
    ("    import nothing_of_that_name\n",
     "test_feature_one failed (uncaught exception)"),
    ("    raise unittest.SkipTest('no need')\n",
     "test_feature_one could not run: skipped"),
    ("    @unittest.skip('needs ssl')\n    def test_tls(self):\n"
     "        pass\n",
     "test_feature_one.Tests.test_tls could not run: needs ssl"),
    ("    @classmethod\n    def setUpClass(cls):\n        1 / 0\n\n"
     "    def test_it(self):\n        pass\n",
     "setUpClass of test_feature_one.Tests"),
])
def test_what_cannot_run_has_failed(line, run, body, said):
    add_feature(line, body)
    status, lines = run("3.15", "--no-local")
    assert status == 1
    assert f"  FAILED {said}" in lines
    assert lines[-1].startswith("1 passed, 1 failed,")


def test_series_that_does_not_apply(line, run, monkeypatch):
    faketree.edit(line.repo, "Lib/feature.py", "return 0", "return 1")
    faketree.commit(line.repo, "one")
    git(line.repo, "checkout", "--quiet", "-b", "newer", "base")
    faketree.edit(line.repo, "Lib/feature.py", "return 0", "return 2")
    faketree.commit(line.repo, "this line is different")
    git(line.repo, "tag", "--force", "base")
    monkeypatch.setattr(
        build, "patched", lambda line_, named=None: series.commit_onto(
            line.repo, series.load(), line_))
    status, lines = run("3.15", "--no-local")
    assert status == 1
    assert lines[1].startswith("  FAILED one does not apply to 3.15 at "
                               "Lib/feature.py, hunk 1 (@@ -")
    assert lines[-1] == "0 passed, 1 failed, 0 skipped"


def test_only(line, run):
    add_feature(line, GOOD)
    add_feature(line, GOOD.replace("one", "two"), name="two")
    status, lines = run("3.15", "--only", "two")
    assert status == 0
    assert lines[-1] == "1 passed, 0 failed, 0 skipped"
    with pytest.raises(Failure, match="no patch three; the series has: one"):
        run("3.15", "--only", "three")


def test_refleaks(line, run):
    add_feature(line, GOOD)
    status, lines = run("3.15", "--refleaks")
    assert status == 0 and lines[0].startswith("3.15.2 refleaks:")
    assert lines[-1] == "2 passed, 0 failed, 0 skipped"


# --each-patch

def proven(run, *args):
    status, lines = run("3.15", "--each-patch", *args)
    return status, [text[len("  FAILED "):] for text in lines
                    if text.startswith("  FAILED ")], lines


def test_each_patch(line, run):
    """Failing, hanging, and failing in a subtest: all fail without it."""
    add_feature(line, GOOD + """
    def test_hang(self):
        import feature
        import threading
        if not hasattr(feature, "one"):
            threading.Event().wait()

    def test_part(self):
        import feature
        for number in range(2):
            with self.subTest(number=number):
                self.assertTrue(feature.one())

    # Guard: zero is as it was.
    def test_guard(self):
        import feature
        self.assertEqual(feature.zero(), 0)
""")
    add_feature(line, GOOD.replace("one", "two"), name="two")
    status, wrong, lines = proven(run)
    assert (status, wrong) == (0, [])
    assert "one without:                   4 passed, 0 failed, 0 skipped" in (
        lines)
    assert "two without:                   1 passed, 0 failed, 0 skipped" in (
        lines)
    status, wrong, lines = proven(run, "--only", "two")
    assert (status, wrong) == (0, [])
    assert not any(text.startswith("one ") for text in lines)


def test_each_patch_test_in_an_old_module(line, run):
    path = line.repo / "Lib/test/test_httplib.py"
    path.write_text(path.read_text() + "\n" + GOOD)
    path = line.repo / "Lib/feature.py"
    path.write_text(path.read_text() + "\n\ndef one():\n    return 1\n")
    faketree.commit(line.repo, "one")
    status, wrong, lines = proven(run)
    assert (status, wrong) == (0, [])
    assert lines[-1] == "3 passed, 0 failed, 0 skipped"


@pytest.mark.parametrize("body, said", [
    ("    def test_old(self):\n        import feature\n"
     "        feature.zero()\n",
     "test_feature_one.Tests.test_old passes without the patch: it tests "
     "nothing new, or needs a comment above it: # Guard: why"),
    ("    # Guard: nothing\n" + GOOD,
     "test_feature_one.Tests.test_it is marked as a guard and fails without "
     "the patch: remove the mark"),
    ("    from feature import one\n\n" + GOOD,
     "test_feature_one cannot be imported without the patch, and a failed "
     "import proves nothing: import what is new in the tests"),
    ("    @classmethod\n    def setUpClass(cls):\n"
     "        from feature import one\n\n" + GOOD,
     "test_feature_one.Tests.test_it does not get to run without the patch: "
     "what is set up for it fails, which proves nothing"),
])
def test_each_patch_finds(line, run, body, said):
    add_feature(line, body)
    status, wrong, _ = proven(run)
    assert (status, wrong) == (1, [said])


def test_each_patch_that_is_documentation_alone(line, run):
    """No test module is concerned, so none is run."""
    add_feature(line, GOOD)
    faketree.write(line.repo, "Doc/howto/feature.rst", "Feature HOWTO\n")
    faketree.commit(line.repo, "how-to")
    status, lines = run("3.15", "--no-local", "--each-patch")
    assert status == 0
    assert not [text for text in lines if text.startswith("how-to")]


def test_each_patch_suite_fails_in_between(line, run):
    """The second patch mends what the first breaks: still a defect."""
    add_feature(line, GOOD + "\n    def test_zero(self):\n"
                "        import feature\n"
                "        self.assertEqual(feature.one(), feature.zero())\n")
    faketree.edit(line.repo, "Lib/feature.py", "return 0", "return 1")
    write_test(line.repo, "test_zero", "    def test_zero(self):\n"
               "        import feature\n"
               "        self.assertEqual(feature.zero(), 1)\n")
    faketree.commit(line.repo, "two")
    status, wrong, _ = proven(run)
    assert (status, wrong) == (1, ["test_feature_one.Tests.test_zero"])


def test_guards():
    assert eachpatch.guarded("""\
import unittest

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

def test_local(line, run, monkeypatch):
    add_feature(line, GOOD)
    monkeypatch.setattr(local, "python", lambda: "python")
    monkeypatch.setattr(local, "run", lambda python, log: (
        regrtest.Counts(7, 0, 1), []))
    status, lines = run("3.15")
    assert status == 0
    assert lines[-2:] == ["tests/:                        7 passed, 0 failed,"
                          " 1 skipped", "9 passed, 0 failed, 1 skipped"]


@pytest.mark.parametrize("text, counts, said", [
    ("def test_a(): pass\n", "1 passed, 0 failed, 0 skipped", []),
    ("def test_a(): assert 0\n", "0 passed, 1 failed, 0 skipped",
     ["tests/test_x.py::test_a"]),
    ("import pytest\n@pytest.mark.skip\ndef test_a(): pass\n"
     "def test_b(): pass\n", "1 passed, 0 failed, 1 skipped", []),
    ("import nothing_of_that_name\n", "0 passed, 1 failed, 0 skipped",
     ["tests/test_x.py"]),
    ("", "0 passed, 1 failed, 0 skipped", None),
])
def test_runner(tmp_path, monkeypatch, text, counts, said):
    faketree.write(tmp_path, "tests/test_x.py", text)
    faketree.write(tmp_path, "pytest.ini", "[pytest]\nmarkers = regression\n")
    monkeypatch.setattr(local, "ROOT", tmp_path)
    told, failures = local.run(sys.executable, tmp_path / "logs/x.log")
    assert str(told) == counts
    assert said is None or [one.partition(" - ")[0]
                            for one in failures] == said


def test_no_venv(tmp_path, monkeypatch):
    """As on Debian without python3-venv: the line that installs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho Error: no ensurepip\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(Failure, match=r"no ensurepip\); install what it "
                       r"lacks: apt-get install python3-venv$"):
        local.python()
    assert [path.suffix for path in
            (tmp_path / "cpython-persistent-http").iterdir()] == [".lock"]
