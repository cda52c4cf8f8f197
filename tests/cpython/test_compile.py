"""A Base from a whole source tree: named by the user, the archive's, ...

What compiles them here is a pretended configure; make is the real one.
"""

import shutil
import subprocess
from unittest import mock

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
    return fakearchive.enter(tmp_path, monkeypatch)


@pytest.fixture
def tree(fake, tmp_path):
    """A plain source tree of 3.13.15."""
    top = faketree.plain_tree(tmp_path / "py")
    fakearchive.add_build(top)
    return top


def make(tree, **options):
    """Return the Base of the named tree and its stock interpreter."""
    base = stock.get(named=tree, **options)
    return base, base.interpreter_at("base", "stock")


def built(base, name="stock"):
    """What configure and make were called for, in the work tree."""
    return (base.place / name / "built").read_text().splitlines()


def stages(base):
    return [line.split()[0] for line in built(base)]


def tracked(base):
    return set(git(base.repo, "ls-tree", "-r", "--name-only",
                   "base").split())


def test_named_tree(tree):
    before = snapshot(tree)
    base, python = make(tree)
    assert (base.line, base.version) == ("3.13", "3.13.15")
    assert base.origin == f"the source tree {tree}"
    assert base.excludes == ()
    assert subprocess.check_output([python], text=True) == "3.13\n"
    assert git(base.place / "stock", "status", "--porcelain", "--",
               ":!built") == ""
    assert snapshot(tree) == before


def test_compiled_once_for_all_interpreters(tree):
    base = stock.get("3.13", named=tree)
    for _ in range(2):
        base.interpreter_at("base", "patched")
    python = base.interpreter_at("base", "stock")
    assert built(base, "patched")[1:] == ["make"]
    assert not (base.place / "stock" / "built").exists()
    assert python == base.place / "stock" / "obj" / "python"
    assert not (python.parent / "main.o").exists()


@pytest.mark.parametrize("name, again", [
    ("Lib/http/client.py", []), ("Python/main.c", ["configure", "make"])])
def test_a_change_of_the_source_compiles_anew(tree, name, again):
    make(tree)
    (tree / name).write_text("# changed\n")
    base, _ = make(tree)
    assert (base.place / "stock" / name).read_text() == "# changed\n"
    assert [line.split()[0] for line in built(base)] == [
        "configure", "make", *again]


def test_other_arguments_start_anew(tree):
    for arguments in ([], ["--disable-gil"]):
        base, _ = make(tree, configure=arguments)
    prefix = f"--prefix={base.place}/installed"
    assert built(base) == [f"configure {prefix}", "make",
                           f"configure --disable-gil {prefix}", "make"]


def test_debug_interpreter_beside(tree):
    base, _ = make(tree)
    python = base.interpreter_at("base", "stock", debug=True)
    assert python.parent.name == "obj-debug"
    assert built(base)[2].endswith("--with-pydebug")


def test_mistake_in_the_source(tree):
    main = tree / "Python" / "main.c"
    good = main.read_text()
    main.write_text("broken\n")
    with pytest.raises(Failure, match=(
            r"make failed after \d+ s: \.\./Python/main\.c:1:1: error: "
            r"broken; the log is .*/stock-obj\.log; install what compiling "
            r"needs: apt-get install gcc ")):
        make(tree)
    main.write_text(good)
    assert stages(make(tree)[0]) == ["configure", "make"] * 2


def test_no_tls(tree):
    """As without OpenSSL's headers; once they are there, it is done anew."""
    edit(tree, "configure", "echo 3.13", "echo No module named _ssl; exit 1")
    for _ in range(2):
        with pytest.raises(Failure, match="obj/python does not work: no TLS; "
                           "install what compiling needs: .* libssl-dev .*; "
                           "the log is "):
            make(tree)
    assert stages(stock.get(named=tree)) == ["configure", "make"] * 2


def test_interrupted_make_starts_anew(tree):
    with (mock.patch.object(compile.Objects, "_stage",
                            side_effect=[None, KeyboardInterrupt]),
          pytest.raises(KeyboardInterrupt)):
        make(tree)
    assert stages(make(tree)[0]) == ["configure", "make"]


def test_no_make(fake, tree):
    (fake.bin / "make").unlink()
    with pytest.raises(Failure, match="make is not there; install what "
                       "compiling needs: apt-get install gcc make "):
        make(tree)


def test_built_tree_is_taken_clean(tree):
    """A source tree in which somebody has compiled."""
    names = set(snapshot(tree))
    for name in ("Makefile", "python", "Python/main.o", "pyconfig.h",
                 "build/lib/x.so", "Lib/__pycache__/os.cpython-313.pyc"):
        faketree.write(tree, name, "built")
    assert tracked(stock.get(named=tree)) == names


def test_named_checkout(tree):
    """As it is on disk, without what it ignores; its git stays as it is."""
    git(tree, "init", "--quiet")
    (tree / ".gitignore").write_text("junk\n")
    head = faketree.commit(tree, "CPython")
    (tree / "junk").touch()
    edit(tree, "Lib/http/client.py", '"""A client."""', '"""Changed."""')
    status = git(tree, "status", "--porcelain")
    base = stock.get(named=tree)
    assert base.origin == f"the checkout {tree} at {head[:10]}"
    assert {".gitignore", "junk"} & tracked(base) == {".gitignore"}
    assert "Changed" in git(base.repo, "show", "base:Lib/http/client.py")
    assert git(tree, "status", "--porcelain") == status
    assert git(tree, "worktree", "list").count("\n") == 1


def test_named_is_newer_than_all_lines(tree, capsys):
    faketree.plain_tree(tree, (3, 16, 0))
    edit(tree, "configure", "echo 3.13", "echo 3.16")
    base, python = make(tree)
    assert (base.line, python.exists()) == (common.LINES[-1], True)
    assert "3.16.0, newer than 3.15: trying" in capsys.readouterr().err


@pytest.mark.parametrize("where, text", [
    ("nowhere", "nowhere does not exist; name a CPython checkout or source"),
    ("archive", "archive is not a CPython source tree: it has no Include/")])
def test_named_is_no_source(fake, tmp_path, where, text):
    with pytest.raises(Failure, match=text):
        stock.get(named=tmp_path / where)


def test_source_package(fake):
    fake.add_source("sid", "3.13", "3.13.15-1")
    base = stock.get("3.13", configure=())
    source = common.build_dir() / "3.13" / "source"
    assert (base.repo, base.origin) == (
        source, "source package 3.13.15-1 of Debian sid")
    assert base.interpreter_at("base", "stock").exists()
    assert git(source, "status", "--porcelain") == ""
    assert git(source, "log", "--format=%s|%b", "base") == (
        f"CPython 3.13.15-1|{base.origin}\n\n")
    (source / "mine").touch()
    fake.change(offline="E: nothing reachable")
    assert stock.source_tree() == source
    assert (source / "mine").exists()


def test_interrupted_source(fake):
    fake.add_source("sid", "3.13", "3.13.15-1")
    with (mock.patch.object(stock, "_init", side_effect=KeyboardInterrupt),
          pytest.raises(KeyboardInterrupt)):
        stock.source_tree()
    source = stock.source_tree()
    assert [entry.name for entry in source.parent.iterdir()] == ["source"]
