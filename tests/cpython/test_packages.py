"""A Base from packages: what is unpacked, tracked, runnable, made again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fakearchive
from faketree import git
from tools import common
from tools.common import ROOT, Failure
from tools.cpython import stock
from tools.cpython.download import Unavailable


@pytest.fixture
def fake(tmp_path, monkeypatch):
    fake = fakearchive.enter(tmp_path, monkeypatch)
    fake.add_python("sid", "3.15", "3.15.2-1")
    return fake


def commit_change(repo, name="Lib/os.py", text="version = 'changed'\n"):
    """Commit a change upon base without a branch; return its id."""
    tree = Path(repo).parent / "scratch"
    git(repo, "worktree", "add", "--quiet", "--detach", "--force", tree,
        "base")
    (tree / name).write_text(text)
    git(tree, "add", "--force", name)
    git(tree, "commit", "--quiet", "-m", "change")
    commit = git(tree, "rev-parse", "HEAD").strip()
    git(repo, "worktree", "remove", "--force", tree)
    return commit


def made(base):
    """The time at which the packages were unpacked, as good as."""
    return (base.place / "base.json").stat().st_mtime_ns


def test_base(fake):
    base = stock.get("3.15")
    assert (base.line, base.version) == ("3.15", "3.15.2")
    assert base.origin == "binary packages 3.15.2-1 of Debian sid"
    assert base.excludes == ("Doc/*", "Misc/*")
    tracked = git(base.repo, "ls-tree", "-r", "--name-only", "base").split()
    assert "Lib/os.py" in tracked
    assert "Lib/test/test_httplib.py" in tracked
    assert all(name.startswith("Lib/") for name in tracked)
    assert not [name for name in tracked if "dynload" in name]
    assert "Lib/sitecustomize.py" not in tracked


def test_interpreter(fake):
    base = stock.get("3.15")
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


def test_interpreters_are_apart(fake):
    base = stock.get("3.15")
    commit = commit_change(base.repo)
    base.interpreter_at("base", "stock")
    base.interpreter_at(commit, "patched")
    told = [(base.place / name / "Lib" / "os.py").read_text()
            for name in ("stock", "patched")]
    assert told == ["version = '3.15.2-1'\n", "version = 'changed'\n"]


def test_bytecode_does_not_outlive_a_move(fake):
    """Its check is by seconds and size, and both can be equal."""
    base = stock.get("3.15")
    commit = commit_change(base.repo)
    base.interpreter_at("base", "moving")
    cache = base.place / "moving" / "Lib" / "__pycache__"
    cache.mkdir()
    for name in ("os.cpython-315.pyc", "os.cpython-315.opt-1.pyc",
                 "ossaudiodev.cpython-315.pyc"):
        (cache / name).touch()
    base.interpreter_at(commit, "moving")
    assert os.listdir(cache) == ["ossaudiodev.cpython-315.pyc"]


def test_changes_by_hand_are_undone(fake):
    base = stock.get("3.15")
    base.interpreter_at("base", "stock")
    library = base.place / "stock" / "Lib"
    (library / "os.py").write_text("mine")
    (library / "http" / "client.py").unlink()
    base.interpreter_at("base", "stock")
    assert (library / "os.py").read_text() == "version = '3.15.2-1'\n"
    assert (library / "http" / "client.py").exists()


def test_second_time_nothing_is_made(fake):
    first = made(stock.get("3.15"))
    fake.change(offline="E: nothing reachable")
    assert made(stock.get("3.15")) == first


def test_fresh(fake):
    stock.get("3.15").interpreter_at("base", "stock")
    (common.build_dir() / "3.15" / "source").mkdir()
    fake.add_python("sid", "3.15", "3.15.3-1")
    assert stock.get("3.15").version == "3.15.2"
    fake.forget()
    assert stock.get("3.15", fresh=True).version == "3.15.3"
    assert (common.build_dir() / "3.15" / "source").exists()


@pytest.mark.parametrize("damage", [
    lambda place: (place / "base.json").unlink(),
    lambda place: (place / "base.json").write_text("{"),
    lambda place: shutil.rmtree(place / "base.git" / "refs"),
])
def test_unfinished_is_made_again(fake, damage):
    base = stock.get("3.15")
    base.interpreter_at("base", "stock")
    (base.place / "source").mkdir()
    (base.place / "source" / "work").touch()
    (base.place / "root" / "left-over").touch()
    damage(base.place)
    base = stock.get("3.15")
    assert not (base.place / "root" / "left-over").exists()
    assert not (base.place / "stock").exists()
    assert (base.place / "source" / "work").exists()
    assert base.interpreter_at("base", "stock").exists()


KILLED = """\
import os, sys
sys.path[:0] = sys.argv[1:2]
from pathlib import Path
from tools import common
from tools.cpython import download, packages, stock, worktrees
common.ROOT = Path(sys.argv[2])
module, name = sys.argv[3:]
real = getattr(sys.modules["tools.cpython." + module], name)
def killed(*args, **kwargs):
    real(*args, **kwargs)
    os._exit(9)
setattr(sys.modules["tools.cpython." + module], name, killed)
stock.get("3.15").interpreter_at("base", "stock")
"""


@pytest.mark.parametrize("where", [
    "packages _fetch", "download unpack", "packages _relocate",
    "packages _commit_library", "packages commit_base",
    "packages _write_stamp", "stock move", "stock link", "stock copy"])
def test_killed(fake, where):
    """Nothing is undone, no lock is left, and all is well afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, ROOT, common.ROOT, *where.split()],
        stdin=subprocess.DEVNULL, capture_output=True,
        text=True)
    assert done.returncode == 9, done.stderr
    base = stock.get("3.15")
    python = base.interpreter_at("base", "stock")
    assert python.exists()
    assert git(base.place / "stock", "status", "--porcelain") == ""


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_moved_checkout(fake, tmp_path, monkeypatch, move):
    base = stock.get("3.15")
    base.interpreter_at("base", "stock")
    elsewhere = tmp_path / "else where"
    kwargs = {"symlinks": True} if move is shutil.copytree else {}
    move(common.ROOT, elsewhere, **kwargs)
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
    ("git", "git"), ("dpkg-deb", "dpkg"), ("tar", "tar")])
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


def test_debug_interpreter(fake):
    base = stock.get("3.15")
    with pytest.raises(Failure, match="without python3.15-dbg"):
        base.interpreter_at("base", "stock", debug=True)
    base = stock.get("3.15", debug=True)
    python = base.interpreter_at("base", "stock", debug=True)
    assert python.name == "python3.15-dbg"
    first = made(base)
    assert made(stock.get("3.15")) == first
    assert made(stock.get("3.15", debug=True)) == first


def test_interpreter_that_does_not_start(fake):
    fake.add_python("sid", "3.15", "3.15.3-1", "#!/bin/sh\necho boom; exit 9")
    base = stock.get("3.15")
    for _ in range(2):
        with pytest.raises(Failure, match="does not start: boom; make it "):
            base.interpreter_at("base", "stock")


WAITER = """\
import sys
sys.path[:0] = sys.argv[1:2]
from pathlib import Path
from tools import common
from tools.cpython import download, packages, stock
common.ROOT = Path(sys.argv[2])
print(stock.get("3.15").interpreter_at("base", "stock"))
"""


def test_two_at_once(fake):
    """The second waits, says so in one line, and finds all made."""
    (common.ROOT / "build").mkdir()
    with stock.alone("3.15"):
        waiting = subprocess.Popen(
            [sys.executable, "-c", WAITER, str(ROOT), str(common.ROOT)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = waiting.stderr.readline()
        first = made(stock.get("3.15"))
    out, rest = waiting.communicate()
    assert said == (f"series: another ./series works on "
                    f"{common.ROOT}/build/3.15; waiting for it\n")
    assert waiting.returncode == 0, rest
    assert Path(out.strip()).exists()
    assert made(stock.get("3.15")) == first
