"""build, python and tree, with a pretended archive behind them."""

import shutil
import subprocess
import sys

import pytest

import fakearchive
import faketree
from demo import demo
from faketree import git
from tools import cli, common
from tools.interpreters import build


@pytest.fixture
def fake(made, tmp_path, monkeypatch):
    """An archive with 3.15 and 3.14, and a series to put upon them."""
    fake = fakearchive.enter(tmp_path, monkeypatch)
    fake.add_python("sid", "3.15", "3.15.2-1")
    fake.add_python("sid", "3.14", "3.14.10-1")
    shutil.copytree(made / "patches", common.ROOT / "patches")
    return fake


@pytest.fixture
def demonstrated(monkeypatch):
    """What the demonstration was called with; it ends well."""
    calls = []
    monkeypatch.setattr(demo, "demonstrate",
                        lambda *pythons: calls.append(pythons) or 0)
    return calls


def subjects(tree, commits="HEAD"):
    return git(tree, "log", "--format=%s", commits).splitlines()


def drop_last_patch():
    series = common.ROOT / "patches" / "series"
    series.write_text(series.read_text().replace("probe-everywhere.patch", ""))


def test_patched(fake):
    base, python = build.patched("3.15")
    tree = base.place / "patched"
    assert python == tree / "usr" / "bin" / "python3.15"
    assert (tree / "Lib" / "http" / "_probe.py").exists()
    assert not (tree / "Misc").exists()
    assert subjects(tree)[:-1] == [
        "gh-3: Look everywhere", "gh-2: Look before sending",
        "gh-1: Skip interim responses"]


@pytest.mark.parametrize("change", [
    drop_last_patch,
    lambda: shutil.rmtree(common.build_dir() / "3.15" / "patched"),
    lambda: shutil.rmtree(common.build_dir() / "3.15" / "base.git"),
])
def test_patched_follows_the_series(fake, change):
    build.patched("3.15")
    change()
    base, python = build.patched("3.15")
    assert python.exists()
    names = (common.ROOT / "patches" / "series").read_text().split()
    assert len(subjects(base.place / "patched", "base..")) == len(names)


def test_build(fake, demonstrated, capsys):
    assert cli.main(["build"]) == 0
    place = common.build_dir() / "3.15"
    (stock, patched), = demonstrated
    assert stock == place / "stock" / "usr" / "bin" / "python3.15"
    assert patched == place / "patched" / "usr" / "bin" / "python3.15"
    library = place / "stock" / "Lib" / "http"
    assert not (library / "_probe.py").exists()
    assert capsys.readouterr().out == f"""
CPython 3.15.2 with 3 patches, from binary packages 3.15.2-1 of Debian sid:
  {patched}
use it:   "$(./series python 3.15)" PROGRAM
test it:  ./series test 3.15
"""


def test_without(fake, demonstrated, monkeypatch, capsys):
    """In a folder of its own; the other one stays as it is."""
    whole = build.patched("3.15")
    args = ["build", "3.15", "--without", "probe-everywhere"]
    assert cli.main(args) == 0
    place = common.build_dir() / "3.15"
    python = place / "patched-without-probe-everywhere/usr/bin/python3.15"
    assert demonstrated == [(place / "stock/usr/bin/python3.15", python)]
    assert capsys.readouterr().out == f"""
CPython 3.15.2 with 2 patches, from binary packages 3.15.2-1 of Debian sid:
  {python}
use it:   "$(./series python 3.15 --without probe-everywhere)" PROGRAM
"""
    monkeypatch.setattr(build, "commit_onto", None)
    assert cli.main(args) == 0
    assert build.patched("3.15")[1] == whole[1]
    assert [len(subjects(place / name))
            for name in ("patched", python.parents[2])] == [4, 3]


def test_build_of_a_series_that_does_not_help(fake, monkeypatch, capsys):
    monkeypatch.setattr(demo, "demonstrate", lambda *pythons: 1)
    assert cli.main(["build"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "lost or repeated a POST" in err


def test_no_line_can_be_had(fake, capsys):
    (fake.bin / "apt-get").unlink()
    assert cli.main(["python"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == ("series: no packages of CPython 3.15 from Debian's archive"
                   " (there is no apt here, as on macOS, Fedora or in some "
                   "containers); correct this, or compile a source tree or checkout: "
                   "./series build 3.15 --from DIR\n")


def test_failing_patch_is_no_reason_for_an_older_line(fake, capsys):
    patch = common.ROOT / "patches" / "probe.patch"
    patch.write_text(patch.read_text().replace("self.sock.sendall(data)",
                                               "self.sock.send(data)"))
    assert cli.main(["python"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(
        "series: probe does not apply to 3.15 at Lib/http/client.py, hunk ")
    assert not (common.build_dir() / "3.14").exists()


def test_python_by_the_command(fake, project, tmp_path):
    """As a user calls it: through a link, from elsewhere, into a pipe."""
    (tmp_path / "link").symlink_to(project / "series")
    assert subprocess.check_output(
        [sys.executable, tmp_path / "link", "python", "3.15"], text=True,
        cwd="/") == f"{project}/build/3.15/patched/usr/bin/python3.15\n"


@pytest.fixture
def tree(fake, tmp_path):
    if not shutil.which("make"):
        pytest.skip("needs make")
    top = faketree.plain_tree(tmp_path / "py")
    fakearchive.add_build(top)
    return top


def test_build_from(fake, tree, demonstrated, tmp_path, capsys):
    assert cli.main(["build", "--from", str(tree), "--", "--with-x=a b"]) == 0
    (_, python), = demonstrated
    assert capsys.readouterr().out == f"""
CPython 3.13.15 with 3 patches, from the source tree {tree}:
  {python}
use it:   "$(./series python --from {tree} -- '--with-x=a b')" PROGRAM
"""
    log, = (common.build_dir()).glob("from-py-*/patched/built")
    assert log.read_text().startswith("configure --with-x=a b --prefix=")
    # NEWS entries reach a whole tree.
    assert (log.parent / "Misc" / "NEWS.d").exists()


def test_options_that_need_compiling(fake, capsys):
    assert cli.main(["build", "3.15", "--", "--x"]) == 1
    assert "nothing is compiled; add" in capsys.readouterr().err


def test_no_demonstration_elsewhere(fake, monkeypatch, capsys):
    """On other systems than Linux: it is said, and no failure."""
    monkeypatch.setattr(demo, "POSSIBLE", False)
    assert cli.main(["build", "3.15"]) == 0
    assert "only Linux tells" in capsys.readouterr().err


def test_working_tree(fake, capsys):
    fake.add_source("sid", "3.13", "3.13.15-1")
    assert cli.main(["tree"]) == 0
    source = common.build_dir() / "3.13" / "source"
    assert capsys.readouterr().out == f"{source}\n"
    assert git(source, "branch", "--show-current") == "series\n"
    assert len(subjects(source, "base..")) == 3
    assert git(source, "status", "--porcelain") == ""
    assert (source / "Lib" / "http" / "_probe.py").exists()


def test_working_tree_is_left_alone(fake):
    fake.add_source("sid", "3.13", "3.13.15-1")
    source = build.working_tree("3.13")
    faketree.write(source, "mine", "mine")
    faketree.commit(source, "mine")
    git(source, "checkout", "--quiet", "-b", "other", "base")
    faketree.write(source, "Lib/http/client.py", "mine")
    before = faketree.snapshot(source), git(source, "show-ref", "--head")
    drop_last_patch()
    assert build.working_tree("3.13") == source
    assert (faketree.snapshot(source),
            git(source, "show-ref", "--head")) == before


def test_working_tree_of_a_named_one(fake, tree):
    source = build.working_tree(named=tree)
    assert source == common.build_dir() / "3.13" / "source"
    assert len(subjects(source, "base..")) == 3
