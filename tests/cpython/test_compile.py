"""A Base from a whole source tree: named by the user, the archive's, ...

What compiles them here is a pretended configure; make is the real one.
"""

import re
import shutil
import subprocess
import types

import pytest

import fakearchive
import faketree
from faketree import edit, git, snapshot
from tools import common
from tools.common import Failure
from tools.cpython import compile, stock

pytestmark = pytest.mark.skipif(not shutil.which("make"),
                                reason="needs make")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    fake = fakearchive.enter(tmp_path, monkeypatch)
    fake.program("cc", "exit 0")
    return fake


@pytest.fixture
def tree(tmp_path):
    """A plain source tree of 3.13.15."""
    top = faketree.plain_tree(tmp_path / "py")
    fakearchive.add_build(top)
    return top


def built(base, name="stock"):
    """What configure and make were called for, in the work tree."""
    return (base.place / name / "built").read_text().splitlines()


def test_named_tree(fake, tree):
    before = snapshot(tree)
    base = stock.get(named=tree)
    assert (base.line, base.version) == ("3.13", "3.13.15")
    assert base.origin == f"the source tree {tree}"
    assert base.excludes == ()
    python = base.interpreter_at("base", "stock")
    assert subprocess.check_output([python], text=True) == "3.13\n"
    assert git(base.place / "stock", "status", "--porcelain", "--",
               ":!built") == ""
    assert snapshot(tree) == before


def test_compiled_once_for_all_interpreters(fake, tree):
    base = stock.get("3.13", named=tree)
    base.interpreter_at("base", "patched")
    base.interpreter_at("base", "patched")
    python = base.interpreter_at("base", "stock")
    assert built(base, "patched")[1:] == ["make"]
    assert not (base.place / "stock" / "built").exists()
    assert python == base.place / "stock" / "obj" / "python"
    assert not (python.parent / "main.o").exists()


def test_library_change_compiles_nothing(fake, tree):
    base = stock.get(named=tree)
    base.interpreter_at("base", "stock")
    edit(tree, "Lib/http/client.py", '"""A client."""', '"""Changed."""')
    base = stock.get(named=tree)
    base.interpreter_at("base", "stock")
    client = base.place / "stock" / "Lib" / "http" / "client.py"
    assert client.read_text().startswith('"""Changed."""')
    assert built(base)[1:] == ["make"]


def test_source_change_starts_anew(fake, tree):
    base = stock.get(named=tree)
    base.interpreter_at("base", "stock")
    (tree / "Python" / "main.c").write_text("int other;\n")
    base = stock.get(named=tree)
    base.interpreter_at("base", "stock")
    assert [line.split()[0] for line in built(base)] == [
        "configure", "make", "configure", "make"]


def test_other_arguments_start_anew(fake, tree):
    for arguments in ([], ["--disable-gil"]):
        base = stock.get(named=tree, configure=arguments)
        base.interpreter_at("base", "stock")
    prefix = f"--prefix={base.place}/installed"
    assert built(base) == [f"configure {prefix}", "make",
                           f"configure --disable-gil {prefix}", "make"]


def test_debug_interpreter_beside(fake, tree):
    base = stock.get(named=tree)
    base.interpreter_at("base", "stock")
    python = base.interpreter_at("base", "stock", debug=True)
    assert python.parent.name == "obj-debug"
    assert built(base)[2].endswith("--with-pydebug")


def test_mistake_in_the_source(fake, tree):
    good = (tree / "Python" / "main.c").read_text()
    (tree / "Python" / "main.c").write_text("broken\n")
    base = stock.get(named=tree)
    log = base.place / "stock-obj.log"
    with pytest.raises(Failure) as caught:
        base.interpreter_at("base", "stock")
    assert re.match(r"make failed after \d+ s: \.\./Python/main\.c:1:1: "
                    rf"error: broken; the log is {re.escape(str(log))}; "
                    rf"install what compiling needs: apt-get install gcc ",
                    str(caught.value))
    (tree / "Python" / "main.c").write_text(good)
    base = stock.get(named=tree)
    base.interpreter_at("base", "stock")
    assert [line.split()[0] for line in built(base)] == [
        "configure", "make", "configure", "make"]


def test_no_tls(fake, tree):
    """As without OpenSSL's headers; after installing them it is done anew.
    """
    edit(tree, "configure", "echo 3.13", "echo No module named _ssl; exit 1")
    base = stock.get(named=tree)
    for _ in range(2):
        with pytest.raises(Failure, match="obj/python does not work: no TLS; "
                           "install what compiling needs: .* libssl-dev .*; "
                           "the log is "):
            base.interpreter_at("base", "stock")
    assert [line.split()[0] for line in built(base)] == [
        "configure", "make", "configure", "make"]


def test_interrupted_make_starts_anew(fake, tree, monkeypatch):
    base = stock.get(named=tree)

    def interrupted(argv, **kwargs):
        done = subprocess.run(argv, **kwargs)
        if argv[0] == "make":
            raise KeyboardInterrupt
        return done
    with monkeypatch.context() as patch:
        patch.setattr(compile, "subprocess", types.SimpleNamespace(
            run=interrupted, DEVNULL=subprocess.DEVNULL,
            STDOUT=subprocess.STDOUT))
        with pytest.raises(KeyboardInterrupt):
            base.interpreter_at("base", "stock")
    base.interpreter_at("base", "stock")
    assert [line.split()[0] for line in built(base)] == [
        "configure", "make", "configure", "make"]


def test_no_make(fake, tree):
    (fake.bin / "make").unlink()
    with pytest.raises(Failure, match="make is not there; install what "
                       "compiling needs: apt-get install gcc make "):
        stock.get(named=tree).interpreter_at("base", "stock")


def test_built_tree_is_taken_clean(fake, tree):
    """A source tree in which somebody has compiled."""
    for name in ("Makefile", "python", "Python/main.o", "pyconfig.h",
                 "build/lib/x.so", "Lib/__pycache__/os.cpython-313.pyc"):
        faketree.write(tree, name, "built")
    tracked = git(stock.get(named=tree).repo, "ls-tree", "-r", "--name-only",
                  "base").split()
    assert set(tracked) == {
        "Doc/library/http.client.rst", "Include/patchlevel.h",
        "Lib/http/__init__.py", "Lib/http/client.py",
        "Lib/test/test_httplib.py", "Lib/urllib/request.py", "Misc/ACKS",
        "Python/main.c", "configure"}


def test_named_checkout(fake, tree):
    """As it is on disk, without what it ignores; git's state is not ours.
    """
    git(tree, "init", "--quiet")
    (tree / ".gitignore").write_text("junk\n")
    head = faketree.commit(tree, "CPython")
    (tree / "junk").touch()
    edit(tree, "Lib/http/client.py", '"""A client."""', '"""Changed."""')
    status = git(tree, "status", "--porcelain")
    base = stock.get(named=tree)
    assert base.origin == f"the checkout {tree} at {head[:10]}"
    tracked = git(base.repo, "ls-tree", "-r", "--name-only", "base").split()
    assert ".gitignore" in tracked and "junk" not in tracked
    assert "Changed" in git(base.repo, "show", "base:Lib/http/client.py")
    assert git(tree, "status", "--porcelain") == status
    assert git(tree, "worktree", "list").count("\n") == 1


def test_named_is_newer_than_all_lines(fake, tmp_path, capsys):
    tree = faketree.plain_tree(tmp_path / "main", (3, 16, 0))
    fakearchive.add_build(tree)
    edit(tree, "configure", "echo 3.13", "echo 3.16")
    base = stock.get(named=tree)
    assert base.line == common.LINES[-1]
    assert "3.16.0, newer than 3.15: trying" in capsys.readouterr().err
    assert base.interpreter_at("base", "stock").exists()


@pytest.mark.parametrize("where, text", [
    ("nowhere", "nowhere does not exist; name a CPython checkout or source"),
    ("empty", "empty is not a CPython source tree: it has no Include/")])
def test_named_is_no_source(fake, tmp_path, monkeypatch, where, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Failure, match=text):
        stock.get(named=where)


def test_source_package(fake):
    fake.add_source("sid", "3.13", "3.13.15-1")
    source = stock.source_tree()
    assert source == common.build_dir() / "3.13" / "source"
    assert git(source, "status", "--porcelain") == ""
    assert git(source, "log", "--format=%s|%b", "base") == (
        "CPython 3.13.15-1|source package 3.13.15-1 of Debian sid\n\n")
    (source / "mine").touch()
    fake.change(offline="E: nothing reachable")
    assert stock.source_tree() == source
    assert (source / "mine").exists()


def test_interrupted_source(fake, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt
    fake.add_source("sid", "3.13", "3.13.15-1")
    with monkeypatch.context() as patch:
        patch.setattr(stock, "_init", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stock.source_tree()
    source = stock.source_tree()
    assert [entry.name for entry in source.parent.iterdir()] == ["source"]


def test_compiled_source_package(fake):
    fake.add_source("sid", "3.13", "3.13.15-1")
    base = stock.get("3.13", configure=())
    assert base.origin == "source package 3.13.15-1 of Debian sid"
    assert base.interpreter_at("base", "stock").exists()
    assert base.repo == common.build_dir() / "3.13" / "source"
    assert git(base.repo, "status", "--porcelain") == ""
