"""The series is loaded, and becomes the commits that git am would make."""

import pytest

import faketree
from faketree import change, edit, git
from tools.common import Failure
from tools.patches import series

CLIENT = "Lib/http/client.py"


@pytest.fixture
def loaded(patches):
    return series.load(folder=patches)


def test_load(loaded, patches):
    assert tuple(patch.name for patch in loaded) == faketree.NAMES
    assert loaded[1].files == [
        "Doc/library/http.client.rst", "Lib/http/_probe.py",
        "Lib/http/client.py", "Lib/test/test_http_probe.py"]
    assert loaded[1].added == ["Lib/http/_probe.py",
                               "Lib/test/test_http_probe.py"]
    assert loaded[0].subject == "gh-1: Skip interim responses"
    for name in "probe", "probe.patch":
        assert len(series.load(name, folder=patches)) == 2
    with pytest.raises(Failure, match="no patch prob; the series has: "
                       "skip-interim, probe, probe-everywhere"):
        series.load("prob", folder=patches)


@pytest.mark.parametrize("listed, message", [
    ("probe\n", "not the name of a patch"),
    ("../probe.patch\n", "not the name of a patch"),
    ("probe.patch\nprobe.patch\n", "is there twice"),
    ("other.patch\n", "other.patch cannot be read: .*; restore it: git"),
    ("\n", "lists no patch"),
])
def test_load_bad_list(patches, listed, message):
    (patches / "series").write_text(listed)
    with pytest.raises(Failure, match=message):
        series.load(folder=patches)


def log(repo, commits):
    return git(repo, "log", "--format=%T %an %ae %ad %B", commits)


def test_commit_onto_is_git_am(loaded, repo, made):
    before = git(repo, "for-each-ref"), faketree.snapshot(repo)
    ids = series.commit_onto(repo, loaded, "3.13")
    assert (git(repo, "for-each-ref"), faketree.snapshot(repo)) == before
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "worktree", "list").count("\n") == 1
    git(repo, "am", "--quiet", *(patch.path for patch in loaded))
    assert (log(repo, "base..HEAD") == log(repo, f"base..{ids[-1]}")
            == log(made / "repo", "base..HEAD"))


def test_excludes(loaded, tmp_path):
    repo = faketree.checkout(tmp_path / "packages", docs=False)
    ids = series.commit_onto(repo, loaded, "3.13",
                             excludes=("Doc/*", "Misc/*"))
    assert len(ids) == 3
    names = git(repo, "ls-tree", "-r", "--name-only", ids[-1]).split()
    assert "Lib/http/_probe.py" in names
    assert not [name for name in names if not name.startswith("Lib/")]


def test_lines_may_shift(loaded, repo):
    change(repo, CLIENT, "import socket\n", "import socket\nimport io\n")
    series.commit_onto(repo, loaded, "3.13", start="HEAD")


@pytest.mark.parametrize("damage, message", [
    # One line of context that differs is enough: no fuzz.
    (lambda repo: edit(repo, CLIENT, "        self.version = version\n", ""),
     rf"^skip-interim does not apply to 3.13 at {CLIENT}, hunk 1 \(@@ -7"),
    (lambda repo: (repo / "Lib/urllib/request.py").unlink(),
     "^probe-everywhere does not apply to 3.13 at Lib/urllib/request.py, "
     "does not exist$"),
    (lambda repo: faketree.write(repo, "Lib/http/_probe.py", "theirs\n"),
     "^probe does not apply to 3.13 at Lib/http/_probe.py, already exists$"),
])
def test_failure_says_where(loaded, repo, damage, message):
    damage(repo)
    faketree.commit(repo, "damaged")
    with pytest.raises(series.ApplyFailure, match=message):
        series.commit_onto(repo, loaded, "3.13", start="HEAD")


def test_failure_counts_hunks_within_the_file(patches, repo):
    change(repo, CLIENT, "class HTTPConnection:\n",
           "# far\n" * 9 + "class HTTPConnection:\n", tag="base")
    edit(repo, CLIENT, "        self.fp = None\n", "        pass\n")
    change(repo, CLIENT, "    auto_open = 1\n", "    auto_open = 2\n")
    faketree.write_series(repo, patches, ["two-hunks"])
    git(repo, "reset", "--quiet", "--hard", "base")
    change(repo, CLIENT, "    auto_open = 1\n", "    auto_open = 0\n")
    with pytest.raises(series.ApplyFailure, match=r", hunk 2 \(@@ -"):
        series.commit_onto(repo, series.load(folder=patches), "3.13",
                           start="HEAD")


def test_damaged_patch(loaded, repo):
    content = loaded[1].path.read_bytes()
    loaded[1].path.write_bytes(content[:-60])
    with pytest.raises(series.ApplyFailure, match="^probe does not apply"):
        series.commit_onto(repo, loaded, "3.13")


def test_held(loaded, repo):
    ids = series.commit_onto(repo, loaded, "3.13")
    for count, one in enumerate(["base", *ids]):
        with series.Stack(repo, one, "3.13") as stack:
            assert stack.held(loaded) == count


def test_added_files(loaded):
    added = series.added_files(loaded)
    assert sorted(added) == [
        "Lib/http/_probe.py", "Lib/test/test_http_probe.py",
        "Misc/NEWS.d/next/Library/2026-01-02.gh-issue-1.abc.rst"]
    # A later patch changes what an earlier one adds: the end state.
    assert added["Lib/http/_probe.py"].endswith(b"sock is not None\n")
