"""Virtual environments in which the patched modules come first."""

import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

import fakebase
from tools import cli, pip
from tools.common import LINES, build_dir
from tools.cpython import trees
from tools.interpreters import overlay, venv

WHERE = "import http.client as c; print(c.__file__)"

pytestmark = pytest.mark.skipif(
    not fakebase.usable(), reason="this Python cannot be copied")


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    """A changeable CPython, and the series for it; to be copied."""
    top = tmp_path_factory.mktemp("base")
    base = fakebase.Base(top / "base")
    if not base.works():
        pytest.skip("this Python does not work when it is copied")
    return base, fakebase.write_series(top)


def take_as_supported(monkeypatch):
    version = tuple(sys.version_info[:2])
    monkeypatch.setattr(venv, "OLDEST", version)
    monkeypatch.setattr(trees, "LINES", ("%d.%d" % version,))


@pytest.fixture
def folder(pristine):
    return pristine[1]


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A CPython of this test's own, taken for one of the series' lines."""
    take_as_supported(monkeypatch)
    return fakebase.Base(tmp_path / "base")


@pytest.fixture
def make(base, folder, tmp_path):
    """Call the verb for a folder; without pip unless told otherwise."""
    def call(top=tmp_path / "env", *options, python=base.python,
             more=("--without-pip",)):
        return cli.main(list(map(str, (
            "venv", top, "--python", python, "--patches", folder, *more,
            *options))))
    return call


@pytest.fixture
def upgrade(base, folder):
    def call(top, *options):
        return cli.main(["venv", str(top), "--patches", str(folder),
                         "--upgrade", *options])
    return call


@pytest.fixture
def env(make, tmp_path):
    """A virtual environment of *base*."""
    assert make() == 0
    return tmp_path / "env"


@pytest.fixture(scope="module")
def shared(pristine, tmp_path_factory):
    """(Base, its virtual environment), which no test changes."""
    base, folder = pristine
    top = tmp_path_factory.mktemp("shared") / "env"
    with pytest.MonkeyPatch.context() as monkeypatch:
        take_as_supported(monkeypatch)
        assert cli.main(["venv", str(top), "--without-pip", "--python",
                         str(base.python), "--patches", str(folder)]) == 0
    return base, top


def start(env, *args, **extra):
    """Run the environment's Python; return (stdout, stderr)."""
    done = subprocess.run(
        [env / "bin" / "python", *map(str, args)], text=True, check=True,
        env={**pip.environment(), **extra}, stdin=subprocess.DEVNULL,
        capture_output=True)
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


# What is in it.

@pytest.mark.parametrize("options", [
    ["-c", WHERE], ["-I", "-c", WHERE], ["-E", "-c", WHERE],
    ["-s", "-c", WHERE], ["-O", "-c", WHERE],
    ["-bb", "-W", "error", "-c", WHERE],
])
def test_patched_modules_come_first(shared, options):
    env = shared[1]
    out, err = start(env, *options)
    assert out == str(inside(env) / "modules" / "http" / "client.py")
    assert err == ""


def test_the_rest_is_the_interpreters_own(shared):
    base, env = shared
    out, _ = start(env, "-c", "import http, http.server, email; "
                   "print(http.__file__, http.server.__file__)")
    assert out.split() == [str(base.library / "http" / "__init__.py"),
                           str(base.library / "http" / "server.py")]
    assert sorted(path.name for path in inside(env).rglob("*.py")) == [
        "__init__.py", "_probe.py", "client.py"]


def test_child_processes(shared, tmp_path):
    env = shared[1]
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
    mine = str(inside(env) / "modules" / "http" / "client.py")
    assert (out.splitlines(), err) == ([mine, mine], "")


def test_it_can_be_moved_and_removed(make, base, folder, tmp_path):
    before = fakebase.faketree.snapshot(base.top)
    assert make(tmp_path / "a b" / "env") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a b", "base"]
    assert fakebase.faketree.snapshot(base.top) == before
    (tmp_path / "a b" / "env").rename(tmp_path / "moved")
    out, err = start(tmp_path / "moved", "-c", WHERE)
    assert out.startswith(f"{tmp_path / 'moved'}{os.sep}")
    assert err == ""


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


# When what it was made from changes.

def replace(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def fix(base):
    replace(base.client, "\nclass HTTPConnection:",
            "\nFIXED = True\n\nclass HTTPConnection:")


def test_changed_interpreter_is_told(env, base):
    fix(base)
    out, err = start(env, "-c", WHERE)
    assert out == str(inside(env) / "modules" / "http" / "client.py")
    assert err == (f"persistent-http: {base.client} has changed since {env} "
                   f"was made, where the older one with patches is in use; "
                   f"renew it: ./series venv --upgrade {env}")


def test_upgrade(env, base, upgrade):
    fix(base)
    (inside(env).parent / "installed.py").touch()
    assert upgrade(env) == 0
    out, err = start(env, "-c", "import http.client as c, installed; "
                     "print(c.FIXED, c.PATCHED)")
    assert (out, err) == ("True True", "")
    assert not [path for path in inside(env).parent.iterdir()
                if path.name.startswith(".")]


def test_without(make, base, upgrade, tmp_path):
    """An upgrade leaves out the same, unless it is told otherwise."""
    assert make(tmp_path / "env", "--without", "probe") == 0
    tell = "import http.client as c; print(c.PATCHED, hasattr(c, '_probe'))"
    assert start(tmp_path / "env", "-c", tell) == ("True False", "")
    fix(base)
    assert upgrade(tmp_path / "env") == 0
    assert start(tmp_path / "env", "-c", tell) == ("True False", "")
    assert upgrade(tmp_path / "env", "--without", "probe-everywhere") == 0
    assert start(tmp_path / "env", "-c", tell) == ("True True", "")


def test_upgrade_to_what_the_series_does_not_fit(env, base, upgrade, capsys):
    base.client.write_text("VERSION = 5\n")
    before = fakebase.faketree.snapshot(env)
    capsys.readouterr()
    assert upgrade(env) == 1
    assert "skip-interim does not apply to " in failure(capsys)
    assert fakebase.faketree.snapshot(env) == before


# What cannot be done.

def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def pretended(path, name="CPython", version=(3, 13, 15), has_venv=True):
    """A program that answers like an interpreter."""
    told = (f'["{name}", {list(version)}, "{path.parent}", "/none", '
            f'{str(has_venv).lower()}, true]')
    return program(path, f"echo '{told}'")


@pytest.mark.parametrize("python, message", [
    (lambda top: top / "none", "does not exist"),
    (lambda top: "no-such-python", "no-such-python is no program on PATH"),
    (lambda top: top, "is a folder, not a Python"),
    (lambda top: program(top / "p", "echo hello"),
     "is not a working Python .it does not tell its version."),
    (lambda top: program(top / "p", "echo no such option >&2; exit 2"),
     "is not a working Python .no such option."),
    (lambda top: program(top / "p", "echo '[1'"), "not a working Python"),
    (lambda top: pretended(top / "p", "PyPy"),
     "is PyPy 3.13.15; the series needs CPython"),
    (lambda top: pretended(top / "p", version=(3, 12, 9)),
     "is CPython 3.12.9; the series needs CPython 3.13.15 or newer"),
    (lambda top: pretended(top / "p", version=(3, 13, 14)),
     "is CPython 3.13.14; the series needs CPython 3.13.15 or newer"),
    (lambda top: pretended(top / "p"),
     "is CPython 3.13.15, and skip-interim does not apply to 3.13 at "
     "Lib/http/client.py"),
])
def test_unfit_python(folder, tmp_path, capsys, python, message):
    (tmp_path / "conftest.py").touch()
    named = python(tmp_path)
    top = tmp_path / "new" / "env"
    assert cli.main(["venv", str(top), "--python", str(named),
                     "--patches", str(folder)]) == 1
    told = failure(capsys)
    assert re.search(message, told), told
    assert not top.parent.exists()


def test_newer_than_supported_is_tried(make, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trees, "LINES", ("3.1",))
    assert make() == 0
    assert ", newer than 3.1: trying the patches for that" in (
        capsys.readouterr().err)


def test_already_patched(make, base, env, tmp_path, capsys):
    shutil.copytree(inside(env) / "modules" / "http",
                    base.library / "http", dirs_exist_ok=True)
    capsys.readouterr()
    assert make(tmp_path / "other") == 1
    assert "has all of the series already" in failure(capsys)
    assert not (tmp_path / "other").exists()


def test_partly_patched(make, base, tmp_path, capsys):
    replace(base.client, "\nimport ", f"\n{fakebase.MARK}import ")
    text = base.client.read_text("utf-8")
    mark = text.index(fakebase.MARK) + len(fakebase.MARK)
    base.client.write_text(
        text[:mark] + text[mark:].replace(fakebase.MARK, ""), "utf-8")
    assert make() == 0
    assert "skip-interim: already in this CPython" in capsys.readouterr().err
    out, _ = start(tmp_path / "env", "-c", "import http.client as c; "
                   "print(c.PATCHED, c._probe.SEEN)")
    assert out == "True probe"


def occupied(tmp_path):
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "file").touch()
    return tmp_path / "env"


@pytest.mark.parametrize("top, message", [
    (occupied, "is not empty; name a new one"),
    (lambda tmp: tmp / "base" / "bin" / fakebase.NAME, "is not a folder"),
    (lambda tmp: "/proc/no/such", ": No such file or directory; correct"),
])
def test_unfit_folder(make, tmp_path, capsys, top, message):
    path = top(tmp_path)
    before = fakebase.faketree.snapshot(tmp_path)
    assert make(path) == 1
    assert re.search(message, failure(capsys))
    assert fakebase.faketree.snapshot(tmp_path) == before


@pytest.mark.parametrize("there", [False, True])
def test_interrupted(make, tmp_path, monkeypatch, there):
    def interrupt(*args):
        raise KeyboardInterrupt

    if there:
        (tmp_path / "env").mkdir()
    monkeypatch.setattr(overlay, "install", interrupt)
    assert make() == 130
    assert (tmp_path / "env").exists() == there
    assert not there or not list((tmp_path / "env").iterdir())


# pip.

def write_wheel(top):
    """Write a wheel with a module and a program that tell whose http."""
    wheel = top / "peer-1.0-py3-none-any.whl"
    meta = "peer-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("peer.py", f"def main():\n    {WHERE}\n")
        file.writestr(f"{meta}/METADATA",
                      "Metadata-Version: 2.1\nName: peer\nVersion: 1.0\n")
        file.writestr(f"{meta}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\n"
                      "Root-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{meta}/entry_points.txt",
                      "[console_scripts]\npeer = peer:main\n")
        file.writestr(f"{meta}/RECORD", "")
    return wheel


def test_pip_and_what_it_installs(make, tmp_path, capsys):
    """ensurepip where there is one, else from the configured index."""
    if make(more=()) != 0:
        told = failure(capsys)
        assert told.startswith("no pip can be had") and (
            not (tmp_path / "env").exists())
        pytest.skip(told)
    env = tmp_path / "env"
    start(env, "-m", "pip", "install", "--isolated", "--no-index", "--quiet",
          "--disable-pip-version-check", write_wheel(tmp_path))
    mine = str(inside(env) / "modules" / "http" / "client.py")
    out = subprocess.check_output([env / "bin" / "peer"], text=True,
                                  env=pip.environment())
    assert out.strip() == mine


def test_no_pip_to_be_had(make, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pip, "_call", lambda *args: "it is broken")
    assert make(more=()) == 1
    told = failure(capsys)
    assert told.startswith("no pip can be had for ")
    assert told.endswith("do without it: --without-pip")
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
    out, err = start(env, "-W", "error", "-c", WHERE)
    assert out == str(inside(env) / "modules" / "http" / "client.py")
    assert err == ""
    # Every module can be imported from where it was put.
    for path in (inside(env) / "modules").glob("*/*.py"):
        start(env, "-I", "-c", f"import {path.parent.name}.{path.stem} as m;"
              f" assert m.__file__ == {str(path)!r}, m")
