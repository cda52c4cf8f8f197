"""Virtual environments in which the patched modules come first."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import faketree
from faketree import edit, snapshot
from tools import cli, pip
from tools.common import LINES, build_dir
from tools.cpython import trees
from tools.interpreters import overlay, venv
from tools.places import copy

WHERE = "import http.client as c; print(c.__file__)"
NAME = "python%d.%d" % sys.version_info[:2]
STDLIB = Path(os.__file__).resolve().parent
# What the first patch changes.
MARK = "\n__all__ = [", "\nPATCHED = True\n__all__ = ["


class Base:
    """A CPython whose standard library can be changed.

    It is the Python that runs the tests: its program copied, its library
    linked entry by entry, but for one package, of which there are copies.
    Attributes: top, python, library (Paths), client (http/client.py).
    """

    def __init__(self, top):
        self.top = Path(top)
        self.library = self.top / "lib" / NAME
        self.library.mkdir(parents=True)
        for entry in STDLIB.iterdir():
            if entry.name not in ("http", "site-packages", "__pycache__"):
                (self.library / entry.name).symlink_to(entry)
        shutil.copytree(STDLIB / "http", self.library / "http",
                        ignore=shutil.ignore_patterns("__pycache__"))
        self.python = self.top / "bin" / NAME
        self.python.parent.mkdir()
        copy(Path(sys.executable).resolve(), self.python)
        self.client = self.library / "http" / "client.py"


def write_series(top):
    """Write a series of three patches for the http package into top/series.

    The first changes http/client.py at its top and a test; the second its
    end, and adds http/_probe.py; the third only adds a document.
    """
    repo, client = top / "repo", "Lib/http/client.py"
    faketree.checkout(repo, docs=False)
    shutil.copy(STDLIB / "http" / "client.py", repo / client)
    faketree.commit(repo, "base")
    faketree.git(repo, "tag", "--force", "base")
    edit(repo, client, *MARK)
    edit(repo, "Lib/test/test_httplib.py", "BasicTest", "OtherTest")
    faketree.commit(repo, "gh-1: Mark")
    with open(repo / client, "a") as file:
        file.write("\nfrom http import _probe\n")
    faketree.write(repo, "Lib/http/_probe.py", "SEEN = 'probe'\n")
    faketree.commit(repo, "gh-2: Probe")
    faketree.write(repo, "Doc/howto.rst", "How\n===\n")
    faketree.commit(repo, "gh-3: Tell")
    faketree.write_series(repo, top / "series")
    return top / "series"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The series for a changeable CPython."""
    top = tmp_path_factory.mktemp("base")
    base = Base(top / "base")
    done = subprocess.run(
        [base.python, "-IB", "-c", "import os, venv; print(os.__file__)"],
        capture_output=True, text=True)
    if done.stdout.strip() != str(base.library / "os.py"):
        pytest.skip("this Python does not work when it is copied")
    return write_series(top)


@pytest.fixture
def base(folder, tmp_path, monkeypatch):
    """A CPython of this test's own, taken for one of the series' lines."""
    version = tuple(sys.version_info[:2])
    monkeypatch.setattr(venv, "OLDEST", version)
    monkeypatch.setattr(trees, "LINES", ("%d.%d" % version,))
    return Base(tmp_path / "base")


@pytest.fixture
def make(base, folder, tmp_path):
    """Call the verb; without pip unless told otherwise."""
    def call(*options, top=tmp_path / "env", no_pip=("--without-pip",)):
        return cli.main(list(map(str, (
            "venv", top, "--patches", folder, *no_pip, *options,
            *["--python", base.python] * ("--upgrade" not in options)))))
    return call


@pytest.fixture
def env(make, tmp_path):
    """A virtual environment of *base*."""
    assert make() == 0
    return tmp_path / "env"


def start(env, *args):
    """Run the environment's Python; return (stdout, stderr)."""
    done = subprocess.run(
        [env / "bin" / "python", *map(str, args)], text=True, check=True,
        env=pip.environment(), stdin=subprocess.DEVNULL, capture_output=True)
    return done.stdout.strip(), done.stderr.strip()


def failure(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    *_, last = err.splitlines()
    assert last.startswith("series: ")
    return last[len("series: "):]


def inside(env):
    package, = env.glob(f"lib/python*/site-packages/{overlay.PACKAGE}")
    return package


def client(env):
    """Return what WHERE prints if the patched modules come first."""
    return str(inside(env) / "modules" / "http" / "client.py")


def test_patched_modules_come_first(base, env):
    for options in "", "-I", "-E", "-s", "-O", "-bb -W error":
        assert start(env, *options.split(), "-c", WHERE) == (client(env), "")
    # The rest is the interpreter's own.
    assert start(env, "-c", "import http, http.server, email; "
                 "print(http.__file__, http.server.__file__)")[0].split() == [
        str(base.library / "http" / name) for name in ("__init__.py",
                                                       "server.py")]
    assert {path.name for path in inside(env).rglob("*.py")} == {
        "__init__.py", "_probe.py", "client.py"}


def test_child_processes(env, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""
import multiprocessing, subprocess, sys

def where(_):
    import http.client
    return http.client.__file__

if __name__ == "__main__":
    print(subprocess.check_output(
        [sys.executable, "-c", {WHERE!r}], text=True).strip())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(where, [0])[0])
""")
    out, err = start(env, script)
    assert (out.splitlines(), err) == ([client(env)] * 2, "")


def test_it_can_be_moved_and_removed(make, base, tmp_path):
    before = snapshot(base.top)
    assert make(top=tmp_path / "a b" / "env") == 0
    assert set(os.listdir(tmp_path)) == {"a b", "base"}
    assert snapshot(base.top) == before
    (tmp_path / "a b" / "env").rename(tmp_path / "moved")
    assert start(tmp_path / "moved", "-c", WHERE) == (
        client(tmp_path / "moved"), "")


def test_the_callers_environment_decides_nothing(make, tmp_path,
                                                 monkeypatch):
    (tmp_path / "json.py").write_text("1/0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.chdir(tmp_path)
    assert make() == 0
    assert list(inside(tmp_path / "env").rglob("client.*.pyc"))


def test_by_default_the_interpreter_that_has_the_series(
        base, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(venv.build, "patched",
                        lambda *, without: (None, base.python))
    assert cli.main(["venv", str(tmp_path / "env"), "--without-pip"]) == 0
    assert "which has the series" in capsys.readouterr().out
    assert start(tmp_path / "env", "-c", WHERE) == (str(base.client), "")


def fix(base):
    """Change the interpreter's own module, as an update does."""
    edit(base.client.parent, "client.py", "\nclass HTTPConnection:",
         "\nFIXED = True\n\nclass HTTPConnection:")


def test_changed_interpreter_is_told_until_the_upgrade(env, base, make):
    (inside(env).parent / "installed.py").touch()
    fix(base)
    assert start(env, "-c", WHERE) == (client(env), (
        f"persistent-http: {base.client} has changed since {env} was made, "
        f"where the older one with patches is in use; renew it: ./series "
        f"venv --upgrade {env}"))
    assert make("--upgrade") == 0
    assert start(env, "-c", "import http.client as c, installed; "
                 "print(c.FIXED, c.PATCHED)") == ("True True", "")
    assert not list(inside(env).parent.glob(".*"))


def test_without(make, base, tmp_path):
    """An upgrade leaves out the same, unless it is told otherwise."""
    env = tmp_path / "env"
    tell = "import http.client as c; print(c.PATCHED, hasattr(c, '_probe'))"
    assert make("--without", "probe") == 0
    assert start(env, "-c", tell) == ("True False", "")
    fix(base)
    assert make("--upgrade") == 0
    assert start(env, "-c", tell) == ("True False", "")
    assert make("--upgrade", "--without", "probe-everywhere") == 0
    assert start(env, "-c", tell) == ("True True", "")


def test_upgrade_to_what_the_series_does_not_fit(env, base, make, capsys):
    base.client.write_text("VERSION = 5\n")
    before = snapshot(env)
    capsys.readouterr()
    assert make("--upgrade") == 1
    assert "skip-interim does not apply to " in failure(capsys)
    assert snapshot(env) == before


# What cannot be done.

def program(top, text):
    path = top / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def pretended(top, name="CPython", version=(3, 13, 15)):
    """A program that answers like an interpreter."""
    return program(top, f"""echo '["{name}", {list(version)}, "{top}", """
                        """"/none", true, true]'""")


@pytest.mark.parametrize("python, message", [
    (lambda top: top / "none", "does not exist"),
    (lambda top: "no-such-python", "no-such-python is no program on PATH"),
    (lambda top: top, "is a folder, not a Python"),
    (lambda top: program(top, "echo hello"),
     "is not a working Python .it does not tell its version."),
    (lambda top: program(top, "echo no such option >&2; exit 2"),
     "is not a working Python .no such option."),
    (lambda top: program(top, "printf 'not found\\nhint' >&2; exit 127"),
     "is not a working Python .not found."),
    (lambda top: pretended(top, "PyPy"),
     "is PyPy 3.13.15; the series needs CPython"),
    (lambda top: pretended(top, version=(3, 13, 14)),
     "is CPython 3.13.14; the series needs CPython 3.13.15 or newer"),
    (lambda top: pretended(top),
     "is CPython 3.13.15, and skip-interim does not apply to 3.13 at "
     "Lib/http/client.py"),
])
def test_unfit_python(folder, tmp_path, capsys, python, message):
    named = python(tmp_path)
    top = tmp_path / "new" / "env"
    assert cli.main(["venv", str(top), "--python", str(named),
                     "--patches", str(folder)]) == 1
    told = failure(capsys)
    assert re.search(message, told), told
    assert not top.parent.exists()


def test_newer_than_supported_is_tried(make, monkeypatch, capsys):
    monkeypatch.setattr(trees, "LINES", ("3.1",))
    assert make() == 0
    assert ", newer than 3.1: trying the patches for that" in (
        capsys.readouterr().err)


def test_already_patched(make, base, env, tmp_path, capsys):
    shutil.copytree(inside(env) / "modules" / "http",
                    base.library / "http", dirs_exist_ok=True)
    capsys.readouterr()
    assert make(top=tmp_path / "other") == 1
    assert "has all of the series already" in failure(capsys)
    assert not (tmp_path / "other").exists()


def test_partly_patched(make, base, tmp_path, capsys):
    edit(base.client.parent, "client.py", *MARK)
    assert make() == 0
    assert "skip-interim: already in this CPython" in capsys.readouterr().err
    assert start(tmp_path / "env", "-c", "import http.client as c; "
                 "print(c.PATCHED, c._probe.SEEN)")[0] == "True probe"


@pytest.mark.parametrize("top, message, options", [
    ("base", "is not empty; name a new one", []),
    (f"base/bin/{NAME}", "is not a folder", []),
    ("/proc/no/such", ": No such file or directory; correct", []),
    ("none", "does not exist; make it", ["--upgrade"]),
    ("base", "has no modules of ./series venv", ["--upgrade"]),
])
def test_unfit_folder(make, tmp_path, capsys, top, message, options):
    before = snapshot(tmp_path)
    assert make(*options, top=tmp_path / top) == 1
    assert re.search(message, failure(capsys))
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("there", [False, True])
def test_interrupted(make, tmp_path, there):
    if there:
        (tmp_path / "env").mkdir()
    with mock.patch.object(overlay, "install", side_effect=KeyboardInterrupt):
        assert make() == 130
    assert list(tmp_path.glob("env")) == [tmp_path / "env"] * there
    assert not list(tmp_path.glob("env/*"))


# pip.

def test_pip_and_what_it_has_installed(make, tmp_path, capsys):
    """ensurepip where there is one, else from the configured index."""
    env = tmp_path / "env"
    if make(no_pip=()) != 0:
        told = failure(capsys)
        assert told.startswith("no pip can be had") and not env.exists()
        pytest.skip(told)
    assert start(env, "-c", f"import pip._vendor.urllib3.connection; {WHERE}"
                 ) == (client(env), "")
    assert (env / "bin" / "pip").exists()


def test_no_pip_to_be_had(make, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pip, "_call", lambda *args: "it is broken")
    assert make(no_pip=()) == 1
    assert re.fullmatch("no pip can be had for .* do without it: "
                        "--without-pip", failure(capsys))
    assert not (tmp_path / "env").exists()


# The series itself.

@pytest.mark.parametrize("line", LINES)
def test_on_a_line_at_hand(line, tmp_path):
    python = build_dir() / line / "stock" / "usr" / "bin" / f"python{line}"
    if not python.exists():
        pytest.skip(f"not at hand: ./series build {line} gets it")
    env = tmp_path / "env"
    assert cli.main(["venv", str(env), "--python", str(python),
                     "--without-pip"]) == 0
    assert start(env, "-W", "error", "-c", WHERE) == (client(env), "")
    # Every module can be imported from where it was put.
    for path in (inside(env) / "modules").glob("*/*.py"):
        start(env, "-I", "-c", f"import {path.parent.name}.{path.stem} as m;"
              f" assert m.__file__ == {str(path)!r}, m")
