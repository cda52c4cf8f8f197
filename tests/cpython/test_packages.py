"""A Base from packages: what is unpacked, tracked, runnable, made again."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fakearchive
from faketree import commit, git, write
from tools import common
from tools.common import ROOT, Failure
from tools.cpython import stock
from tools.cpython.download import Unavailable


@pytest.fixture
def fake(tmp_path, monkeypatch):
    fake = fakearchive.enter(tmp_path, monkeypatch)
    fake.add_python("sid", "3.15", "3.15.2-1")
    return fake


@pytest.fixture
def base(fake):
    return stock.get("3.15")


def commit_change(base):
    """Commit a change upon base in a work tree of its own; return its id."""
    tree = base.interpreter_at("base", "scratch").parents[2]
    (tree / "Lib" / "os.py").write_text("version = 'changed'\n")
    return commit(tree, "change")


def made(base):
    """When the packages were unpacked, as good as."""
    return (base.place / "base.json").stat().st_mtime_ns


def test_base(base):
    assert (base.line, base.version) == ("3.15", "3.15.2")
    assert base.origin == "binary packages 3.15.2-1 of Debian sid"
    assert base.excludes == ("Doc/*", "Misc/*")
    tracked = git(base.repo, "ls-tree", "-r", "--name-only", "base").split()
    assert sorted(tracked) == [
        "Lib/http/__init__.py", "Lib/http/client.py", "Lib/os.py",
        "Lib/test/test_httplib.py", "Lib/urllib/request.py"]


def test_interpreter(base):
    python = base.interpreter_at("base", "stock")
    top = base.place / "stock"
    assert python == top / "usr" / "bin" / "python3.15"
    assert not python.is_symlink()
    assert subprocess.check_output([python], text=True) == "3.15\n"
    library = top / "usr" / "lib" / "python3.15"
    assert library.resolve() == top / "Lib"
    assert (library / "lib-dynload" / "_x.so").read_text() == "module"
    assert (python.parent / "python3").samefile(python)
    assert git(top, "status", "--porcelain") == ""


def test_interpreters_are_apart(base):
    """Bytecode of what has moved goes: its check is by seconds and size."""
    for name in "stock", "moving":
        base.interpreter_at("base", name)
        for file in "os.cpython-315", "os.cpython-315.opt-1", "ossaudio.x":
            write(base.place / name, f"Lib/__pycache__/{file}.pyc", "")
    base.interpreter_at(commit_change(base), "moving")
    stock_library, library = (base.place / "stock" / "Lib",
                              base.place / "moving" / "Lib")
    assert (stock_library / "os.py").read_text() == "version = '3.15.2-1'\n"
    assert len(os.listdir(stock_library / "__pycache__")) == 3
    assert (library / "os.py").read_text() == "version = 'changed'\n"
    assert os.listdir(library / "__pycache__") == ["ossaudio.x.pyc"]


def test_changes_by_hand_are_undone(base):
    base.interpreter_at("base", "stock")
    library = base.place / "stock" / "Lib"
    write(library, "os.py", "mine")
    (library / "http" / "client.py").unlink()
    base.interpreter_at("base", "stock")
    assert (library / "os.py").read_text() == "version = '3.15.2-1'\n"
    assert (library / "http" / "client.py").exists()


def test_made_once_and_again_if_it_is_to_be_fresh(fake):
    first = stock.get("3.15")
    write(first.place, "source/work", "mine")
    before = made(first)
    fake.add_python("sid", "3.15", "3.15.3-1")
    fake.change(offline="E: nothing reachable")
    assert made(stock.get("3.15")) == before
    fake.change(offline="")
    fake.forget()
    assert stock.get("3.15", fresh=True).version == "3.15.3"
    assert (first.place / "source" / "work").exists()


@pytest.mark.parametrize("damage", [
    lambda place: (place / "base.json").unlink(),
    lambda place: (place / "base.json").write_text("{"),
    lambda place: shutil.rmtree(place / "base.git" / "refs"),
])
def test_unfinished_is_made_again(base, damage):
    base.interpreter_at("base", "stock")
    write(base.place, "source/work", "mine")
    write(base.place, "root/left-over", "")
    damage(base.place)
    base = stock.get("3.15")
    assert not (base.place / "root" / "left-over").exists()
    assert not (base.place / "stock").exists()
    assert (base.place / "source" / "work").exists()
    assert base.interpreter_at("base", "stock").exists()


# Makes an interpreter; killed after a function if one is named.
PROGRAM = """\
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tools import common
from tools.cpython import download, packages, stock
common.ROOT = Path(sys.argv[2])
for where in sys.argv[3:]:
    module, name = where.split()
    module = sys.modules["tools.cpython." + module]
    real = getattr(module, name)
    setattr(module, name, lambda *args, **kwargs: (
        real(*args, **kwargs), os._exit(9)))
print(stock.get("3.15").interpreter_at("base", "stock"))
"""


def start(*where):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, ROOT, common.ROOT, *where],
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)


@pytest.mark.parametrize("where", [
    "packages _fetch", "download unpack", "packages _relocate",
    "packages _commit_library", "packages commit_base",
    "packages _write_stamp", "stock move", "stock link", "stock copy"])
def test_killed(fake, where):
    """Nothing is undone, no lock is left, and all is well afterwards."""
    killed = start(where)
    _, err = killed.communicate()
    assert killed.returncode == 9, err
    base = stock.get("3.15")
    assert base.interpreter_at("base", "stock").exists()
    assert git(base.place / "stock", "status", "--porcelain") == ""


@pytest.mark.parametrize("move", [
    shutil.move, functools.partial(shutil.copytree, symlinks=True)])
def test_moved_checkout(base, tmp_path, monkeypatch, move):
    base.interpreter_at("base", "stock")
    elsewhere = tmp_path / "else where"
    move(common.ROOT, elsewhere)
    monkeypatch.setattr(common, "ROOT", elsewhere)
    base = stock.get("3.15")
    base.interpreter_at("base", "stock")
    told = git(base.place / "stock", "rev-parse", "--absolute-git-dir")
    assert told.startswith(str(elsewhere))


def test_gone_from_the_archive(fake):
    fake.change(gone=["libc6_1-1_amd64.deb"])
    with pytest.raises(Unavailable) as caught:
        stock.get("3.15")
    assert str(caught.value) == (
        "no packages of CPython 3.15 from Debian's archive (Debian sid: "
        "Failed to fetch http://debian.example/debian/pool/"
        "libc6_1-1_amd64.deb 404 Not Found); correct this, or compile a "
        "source tree or checkout: ./series build 3.15 --from DIR")


@pytest.mark.parametrize("program, package", [
    ("dpkg-deb", "dpkg"), ("tar", "tar")])
def test_missing_program(fake, program, package):
    (fake.bin / program).unlink()
    with pytest.raises(Failure, match=f"{program} is not installed; install "
                       f"it first: apt-get install {package}$"):
        stock.get("3.15")


def test_patchelf_comes_along_if_it_is_missing(fake):
    (fake.bin / "patchelf").unlink()
    with pytest.raises(Unavailable, match="patchelf"):
        stock.get("3.15")
    name = fake.add("sid", "patchelf", "0.18", {"./usr/bin/patchelf": "x"})
    stock.get("3.15")
    assert f"get {name}" in fake.logged()


def test_debug_interpreter(base):
    with pytest.raises(Failure, match="without python3.15-dbg"):
        base.interpreter_at("base", "stock", debug=True)
    base = stock.get("3.15", debug=True)
    python = base.interpreter_at("base", "stock", debug=True)
    assert python.name == "python3.15-dbg"
    assert [made(stock.get("3.15", debug=debug))
            for debug in (False, True)] == [made(base)] * 2


def test_interpreter_that_does_not_start(fake):
    fake.add_python("sid", "3.15", "3.15.3-1", "#!/bin/sh\necho boom; exit 9")
    base = stock.get("3.15")
    for _ in range(2):
        with pytest.raises(Failure, match="does not start: boom; make it "):
            base.interpreter_at("base", "stock")


def test_two_at_once(fake):
    """The second waits, says so in one line, and finds all made."""
    (common.ROOT / "build").mkdir()
    with stock.alone("3.15"):
        waiting = start()
        said = waiting.stderr.readline()
        first = made(stock.get("3.15"))
    out, rest = waiting.communicate()
    assert said == (f"series: another ./series works on "
                    f"{common.ROOT}/build/3.15; waiting for it\n")
    assert waiting.returncode == 0, rest
    assert Path(out.strip()).exists()
    assert made(stock.get("3.15")) == first
