"""A Base from a whole source tree: named by the user, the archive's, ...

What compiles them here is a pretended configure; make is the real one.
"""

import contextlib
import re
import shutil
import socket
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

import fakearchive
import faketree
from faketree import edit, git, snapshot
from tools import common
from tools.common import Failure
from tools.cpython import compile as objects, sources, stock as bases
from tools.cpython.stock import Unavailable

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
    base = bases.get(named=tree)
    assert (base.line, base.version) == ("3.13", "3.13.15")
    assert base.origin == f"the source tree {tree}"
    assert base.excludes == ()
    python = base.interpreter_at("base", "stock")
    assert subprocess.check_output([python], text=True) == "3.13\n"
    assert git(base.place / "stock", "status", "--porcelain", "--",
               ":!built") == ""
    assert snapshot(tree) == before


def test_compiled_once_for_all_interpreters(fake, tree):
    base = bases.get("3.13", named=tree)
    base.interpreter_at("base", "patched")
    base.interpreter_at("base", "patched")
    stock = base.interpreter_at("base", "stock")
    assert built(base, "patched")[1:] == ["make"]
    assert not (base.place / "stock" / "built").exists()
    assert stock == base.place / "stock" / "obj" / "python"
    assert not (stock.parent / "main.o").exists()


def test_library_change_compiles_nothing(fake, tree):
    base = bases.get(named=tree)
    base.interpreter_at("base", "stock")
    edit(tree, "Lib/http/client.py", '"""A client."""', '"""Changed."""')
    base = bases.get(named=tree)
    base.interpreter_at("base", "stock")
    client = base.place / "stock" / "Lib" / "http" / "client.py"
    assert client.read_text().startswith('"""Changed."""')
    assert built(base)[1:] == ["make"]


def test_source_change_compiles_what_changed(fake, tree):
    base = bases.get(named=tree)
    base.interpreter_at("base", "stock")
    (tree / "Python" / "main.c").write_text("int other;\n")
    base = bases.get(named=tree)
    base.interpreter_at("base", "stock")
    assert built(base)[1:] == ["make", "make"]


def test_other_arguments_start_anew(fake, tree):
    for arguments in ([], ["--disable-gil"]):
        base = bases.get(named=tree, configure=arguments)
        base.interpreter_at("base", "stock")
    prefix = f"--prefix={base.place}/installed"
    assert built(base) == [f"configure {prefix}", "make",
                           f"configure --disable-gil {prefix}", "make"]


def test_debug_interpreter_beside(fake, tree):
    base = bases.get(named=tree)
    base.interpreter_at("base", "stock")
    python = base.interpreter_at("base", "stock", debug=True)
    assert python.parent.name == "obj-debug"
    assert built(base)[2].endswith("--with-pydebug")


def test_mistake_in_the_source(fake, tree):
    good = (tree / "Python" / "main.c").read_text()
    (tree / "Python" / "main.c").write_text("broken\n")
    base = bases.get(named=tree)
    log = base.place / "stock-obj.log"
    with pytest.raises(Failure) as caught:
        base.interpreter_at("base", "stock")
    assert re.fullmatch(r"make failed after \d+ s: \.\./Python/main\.c:1:1: "
                        rf"error: broken; the log is {re.escape(str(log))}",
                        str(caught.value))
    (tree / "Python" / "main.c").write_text(good)
    base = bases.get(named=tree)
    base.interpreter_at("base", "stock")
    assert built(base)[1:] == ["make", "make"]


def test_configure_that_fails(fake, tree):
    faketree.write(tree, "configure", "#!/bin/sh\necho no compiler\nexit 1")
    with pytest.raises(Failure, match=r"configure failed after \d+ s: no "
                       "compiler; the log is .*stock-obj.log"):
        bases.get(named=tree).interpreter_at("base", "stock")


def test_no_tls(fake, tree):
    """As without OpenSSL's headers; after installing them it is done anew.
    """
    edit(tree, "configure", "echo 3.13", "echo No module named _ssl; exit 1")
    base = bases.get(named=tree)
    for _ in range(2):
        with pytest.raises(Failure, match="obj/python does not work: no TLS; "
                           "install what compiling needs: .* libssl-dev .*; "
                           "the log is "):
            base.interpreter_at("base", "stock")
    assert [line.split()[0] for line in built(base)] == [
        "configure", "make", "configure", "make"]


def test_fresh(fake, tree):
    for fresh in (False, True):
        base = bases.get(named=tree, fresh=fresh)
        base.interpreter_at("base", "stock")
        assert len(built(base)) == 2


def test_killed_git_left_its_lock(fake, tree):
    base = bases.get(named=tree)
    (base.repo / "index.lock").touch()
    bases.get(named=tree)


def test_interrupted_make_starts_anew(fake, tree, monkeypatch):
    base = bases.get(named=tree)

    def interrupted(process, title, start):
        process.wait()
        if title == "make":
            raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(objects, "_watch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            base.interpreter_at("base", "stock")
    base.interpreter_at("base", "stock")
    assert [line.split()[0] for line in built(base)] == [
        "configure", "make", "configure", "make"]


@pytest.mark.parametrize("program", ["cc", "make"])
def test_no_compiler(fake, tree, program):
    (fake.bin / program).unlink()
    with pytest.raises(Failure, match=f"{program} is not installed; install "
                       f"what compiling needs: apt-get install gcc make "):
        bases.get(named=tree).interpreter_at("base", "stock")


def test_install(fake, tree, tmp_path):
    prefix = tmp_path / "prefix"
    base = bases.get(named=tree, configure=[f"--prefix={prefix}"])
    base.interpreter_at("base", "stock")
    base.interpreter_at("base", "patched")
    assert base.install("patched") == prefix / "bin" / "python3.13"
    assert (prefix / "bin" / "python3.13").exists()


def test_install_that_fails(fake, tree, tmp_path):
    (tmp_path / "file").touch()
    base = bases.get(named=tree, configure=[f"--prefix={tmp_path}/file/x"])
    base.interpreter_at("base", "patched")
    with pytest.raises(Failure, match="make install failed .*; the log is"):
        base.install("patched")


def test_built_tree_is_taken_clean(fake, tree):
    """A source tree in which somebody has compiled."""
    for name in ("Makefile", "python", "Python/main.o", "pyconfig.h",
                 "build/lib/x.so", "Lib/__pycache__/os.cpython-313.pyc"):
        faketree.write(tree, name, "built")
    tracked = git(bases.get(named=tree).repo, "ls-tree", "-r", "--name-only",
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
    base = bases.get(named=tree)
    assert base.origin == f"the checkout {tree} at {head[:10]}"
    tracked = git(base.repo, "ls-tree", "-r", "--name-only", "base").split()
    assert ".gitignore" in tracked and "junk" not in tracked
    assert "Changed" in git(base.repo, "show", "base:Lib/http/client.py")
    assert git(tree, "status", "--porcelain") == status
    assert git(tree, "worktree", "list").count("\n") == 1


def test_users_ignore_file_does_not_count(fake, tree, tmp_path, monkeypatch):
    (tmp_path / "ignore").write_text("*.py\n")
    config = tmp_path / "config"
    config.write_text(f"[core]\n\texcludesFile = {tmp_path}/ignore\n"
                      f"\tautocrlf = true\n\thooksPath = {tmp_path}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    base = bases.get(named=tree)
    base.interpreter_at("base", "stock")
    client = base.place / "stock" / "Lib" / "http" / "client.py"
    assert client.read_bytes() == faketree.CLIENT.encode()


def pack(tree, path, top="Python-3.13.15"):
    with tarfile.open(path, "w:gz") as archived:
        archived.add(tree, top)
    return path


def test_named_tarball(fake, tree, tmp_path):
    base = bases.get(named=pack(tree, tmp_path / "p y.tar.gz"))
    assert base.interpreter_at("base", "stock").exists()
    assert base.place.name.startswith("from-p-y.tar.gz-")
    left = {entry.name for entry in base.place.iterdir()}
    assert left == {"base.git", "stock", "stock-obj.log"}


@pytest.mark.parametrize("spoil", [
    lambda path, tree: path.write_bytes(b"no tarball"),
    lambda path, tree: path.write_bytes(
        pack(tree, path).read_bytes()[:400]),
])
def test_damaged_tarball(fake, tree, tmp_path, spoil):
    path = tmp_path / "py.tar.gz"
    spoil(path, tree)
    with pytest.raises(Failure, match="py.tar.gz cannot be unpacked: "):
        bases.get(named=path)


def test_tarball_of_more_than_a_folder(fake, tmp_path):
    path = tmp_path / "py.tar"
    fakearchive.write_tar(path, {"a/x": "", "b/x": ""})
    with pytest.raises(Failure, match="does not hold one folder"):
        bases.get(named=path)


def test_tarball_that_reaches_out(fake, tmp_path):
    path = tmp_path / "py.tar"
    fakearchive.write_tar(path, {"a/x": "", "../../../../out": "bad"})
    with pytest.raises(Failure, match="py.tar cannot be unpacked: "):
        bases.get(named=path)
    assert not list(tmp_path.rglob("out"))


def test_tarball_that_reaches_out_by_an_older_python(fake, tmp_path,
                                                     monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    test_tarball_that_reaches_out(fake, tmp_path)


def test_named_line_differs(fake, tree):
    with pytest.raises(Failure, match="is CPython 3.13.15, not 3.14; leave "):
        bases.get("3.14", named=tree)


def test_named_is_newer_than_all_lines(fake, tmp_path, capsys):
    tree = faketree.plain_tree(tmp_path / "main", (3, 16, 0))
    fakearchive.add_build(tree)
    edit(tree, "configure", "echo 3.13", "echo 3.16")
    base = bases.get(named=tree)
    assert base.line == common.LINES[-1]
    assert "3.16.0 is newer than what" in capsys.readouterr().err
    assert base.interpreter_at("base", "stock").exists()


def test_named_is_too_old(fake, tmp_path):
    tree = faketree.plain_tree(tmp_path / "old", (3, 13, 5))
    with pytest.raises(Failure, match="needs 3.13.15"):
        bases.get(named=tree)


@pytest.mark.parametrize("where, text", [
    ("nowhere", "nowhere does not exist; name a directory or tarball"),
    ("empty", "empty is not the source of a CPython: it has no Include/")])
def test_named_is_no_source(fake, tmp_path, monkeypatch, where, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Failure, match=text):
        bases.get(named=where)


def test_two_trees_of_one_name(fake, tree, tmp_path):
    other = shutil.copytree(tree, tmp_path / "other" / tree.name)
    assert bases.get(named=tree).place != bases.get(named=other).place


def test_moved_checkout(fake, tree, tmp_path, monkeypatch):
    base = bases.get(named=tree)
    base.interpreter_at("base", "stock")
    shutil.copytree(common.ROOT, tmp_path / "copy", symlinks=True)
    monkeypatch.setattr(common, "ROOT", tmp_path / "copy")
    again = bases.get(named=tree)
    python = again.interpreter_at("base", "stock")
    assert python.is_relative_to(tmp_path / "copy")
    assert len(built(base)) == 2
    assert len(built(again)) == 2


def test_source_package(fake):
    fake.add_source("sid", "3.13", "3.13.15-1")
    source = bases.source_tree()
    assert source == common.build_dir() / "3.13" / "source"
    assert git(source, "status", "--porcelain") == ""
    assert git(source, "log", "--format=%s|%b", "base") == (
        "CPython 3.13.15-1|source package 3.13.15-1 of Debian sid\n\n")
    (source / "mine").touch()
    fake.change(offline="E: nothing reachable")
    assert bases.source_tree() == source
    assert (source / "mine").exists()


def test_newest_source_is_gone(fake, capsys):
    fake.change(gone=[fake.add_source("sid", "3.13", "3.13.18-1")])
    fake.add_source("sid", "3.13", "3.13.15-1")
    source = bases.source_tree()
    assert "#define PY_MICRO_VERSION        15" in (
        source / "Include" / "patchlevel.h").read_text()
    assert "no longer has it; trying" in capsys.readouterr().err


def test_too_old_a_source(fake):
    fake.add_source("trixie", "3.13", "3.13.5-2")
    with pytest.raises(Unavailable, match="the source of CPython 3.13 cannot "
                       "be had: .*; the public repository does not answer; "
                       "name a source tree: --from DIR"):
        bases.source_tree()


def test_interrupted_source(fake, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt
    fake.add_source("sid", "3.13", "3.13.15-1")
    with monkeypatch.context() as patch:
        patch.setattr(bases, "_init", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bases.source_tree()
    source = bases.source_tree()
    assert [entry.name for entry in source.parent.iterdir()] == ["source"]


def test_source_tree_of_a_named_one(fake, tree):
    source = bases.source_tree("3.13", named=tree)
    assert git(source, "status", "--porcelain") == ""
    assert (source / "Python" / "main.c").exists()


def test_compiled_source_package(fake):
    fake.add_source("sid", "3.13", "3.13.15-1")
    base = bases.get("3.13", configure=())
    assert base.origin == "source package 3.13.15-1 of Debian sid"
    assert base.interpreter_at("base", "stock").exists()
    assert base.repo == common.build_dir() / "3.13" / "source"
    assert git(base.repo, "status", "--porcelain") == ""


def test_packages_come_before_compiling(fake):
    fake.add_source("sid", "3.13", "3.13.15-1")
    fake.add_python("sid", "3.13", "3.13.18-1")
    assert bases.get("3.13").version == "3.13.18"


def test_compiled_if_there_are_no_packages(fake, capsys):
    fake.add_source("sid", "3.13", "3.13.15-1")
    assert bases.get("3.13").version == "3.13.15"
    assert "no packages of CPython 3.13; trying to compile" in (
        capsys.readouterr().err)
    fake.change(offline="E: nothing reachable")
    assert bases.get("3.13").version == "3.13.15"
    assert capsys.readouterr().err == ""


@pytest.fixture
def public(fake, tree, tmp_path, monkeypatch):
    """A public repository, with some releases."""
    top = shutil.copytree(tree, tmp_path / "public")
    git(top, "init", "--quiet")
    faketree.commit(top, "CPython")
    for tag in ("v3.13.9", "v3.13.15", "v3.13.16rc1", "v3.14.1"):
        git(top, "tag", tag)
    monkeypatch.setattr(sources, "PUBLIC", top.as_uri())
    monkeypatch.setattr(sources, "_reachable", lambda url: True)
    return top


def test_public_repository(fake, public):
    (fake.bin / "apt-get").unlink()
    base = bases.get("3.13")
    assert base.version == "3.13.15"
    assert base.origin == f"tag v3.13.15 of {public.as_uri()}"
    assert base.interpreter_at("base", "stock").exists()


def test_public_repository_without_the_line(fake, public):
    with pytest.raises(Unavailable, match="has no release of 3.15"):
        bases.source_tree("3.15")


def test_probe_is_limited_in_time(monkeypatch):
    """A name server that does not answer holds nobody up."""
    asked, release = threading.Event(), threading.Event()

    def connect(address, timeout):
        asked.set()
        release.wait()
        raise OSError
    monkeypatch.setattr(sources.socket, "create_connection", connect)
    monkeypatch.setattr(sources, "PROBE", 0.01)
    monkeypatch.setattr(sources.urllib.request, "getproxies", dict)
    assert not sources._reachable.__wrapped__("https://host.example/x")
    assert asked.wait(10)
    release.set()


@pytest.mark.parametrize("answers", [True, False])
def test_probe_finds_out(monkeypatch, answers):
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        if answers:
            listener.listen()
        real = socket.create_connection
        monkeypatch.setattr(
            sources.socket, "create_connection", lambda address, timeout:
            real(listener.getsockname(), timeout)
            if address == ("host.example", 443) else None)
        monkeypatch.setattr(sources.urllib.request, "getproxies", dict)
        probe = sources._reachable.__wrapped__
        assert probe("https://host.example/x") is answers


def test_proxy_is_left_to_git(monkeypatch):
    monkeypatch.setattr(sources.urllib.request, "getproxies",
                        lambda: {"https": "http://proxy.example"})
    assert sources._reachable.__wrapped__("https://host.example/x")


def test_line_of(fake, tree):
    assert bases.line_of(tree) == "3.13"


def test_space_in_the_path(fake, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(common, "ROOT", tmp_path / "a b")
    Path(tmp_path / "a b").mkdir()
    assert bases.get(named=tree).interpreter_at("base", "stock").exists()
