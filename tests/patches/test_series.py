"""The series is loaded, and becomes the commits that git am would make."""


import pytest

import faketree
from faketree import git
from tools.common import Failure
from tools.patches import series


def test_load(patches):
    loaded = series.load(folder=patches)
    assert tuple(patch.name for patch in loaded) == faketree.NAMES
    assert loaded[1].files == [
        "Doc/library/http.client.rst", "Lib/http/_probe.py",
        "Lib/http/client.py", "Lib/test/test_http_probe.py"]
    assert loaded[1].added == ["Lib/http/_probe.py",
                               "Lib/test/test_http_probe.py"]
    assert loaded[0].subject == "gh-1: Skip interim responses"


def test_load_upto(patches):
    assert len(series.load("probe", folder=patches)) == 2
    assert len(series.load("probe.patch", folder=patches)) == 2
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


def test_damaged_patch(patches, repo):
    path = patches / "probe.patch"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(series.ApplyFailure, match="^probe does not apply"):
        series.commit_onto(repo, series.load(folder=patches), "3.13")


def test_commit_onto_is_git_am(patches, repo, made):
    loaded = series.load(folder=patches)
    before = git(repo, "for-each-ref"), faketree.snapshot(repo)
    ids = series.commit_onto(repo, loaded, "3.13")
    assert (git(repo, "for-each-ref"), faketree.snapshot(repo)) == before
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "worktree", "list").count("\n") == 1
    git(repo, "am", "--quiet", *(patch.path for patch in loaded))
    wanted = git(repo, "log", "--format=%T %an %ae %ad %B", "base..HEAD")
    assert wanted == git(repo, "log", "--format=%T %an %ae %ad %B",
                         f"base..{ids[-1]}")
    assert wanted == git(made / "repo", "log", "--format=%T %an %ae %ad %B",
                         "base..HEAD")


def test_excludes(patches, tmp_path):
    repo = faketree.checkout(tmp_path / "packages", docs=False)
    loaded = series.load(folder=patches)
    ids = series.commit_onto(repo, loaded, "3.13",
                             excludes=("Doc/*", "Misc/*"))
    assert len(ids) == 3
    names = git(repo, "ls-tree", "-r", "--name-only", ids[-1]).split()
    assert "Lib/http/_probe.py" in names
    assert not [name for name in names if not name.startswith("Lib/")]


def test_failure_names_patch_file_hunk(patches, repo):
    faketree.edit(repo, "Lib/http/client.py", "self.sock.sendall(data)",
                  "self.sock.sendall(bytes(data))")
    faketree.commit(repo, "elsewhere")
    with pytest.raises(series.ApplyFailure) as caught:
        series.commit_onto(repo, series.load(folder=patches), "3.13",
                           start="HEAD")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(
        "probe does not apply to 3.13 at Lib/http/client.py, hunk 1 (@@ -")


def test_failure_counts_hunks_within_the_file(patches, repo):
    far = "".join(f"# line {number}\n" for number in range(30))
    edit, text = faketree.edit, "        self.fp = None\n"
    edit(repo, "Lib/http/client.py", "class HTTPConnection:\n",
         far + "class HTTPConnection:\n")
    faketree.commit(repo, "far apart")
    git(repo, "tag", "--force", "base")
    edit(repo, "Lib/http/client.py", text, "        fp, self.fp = None\n")
    edit(repo, "Lib/http/client.py", "    auto_open = 1\n",
         "    auto_open = 2\n")
    faketree.commit(repo, "gh-9: Two hunks")
    mail = git(repo, "format-patch", "--stdout", "-1")
    (patches / "probe.patch").write_text(mail)
    git(repo, "reset", "--quiet", "--hard", "base")
    edit(repo, "Lib/http/client.py", "    auto_open = 1\n",
         "    auto_open = 0\n")
    faketree.commit(repo, "in the way")
    patch = series.load(folder=patches)[1]
    with pytest.raises(series.ApplyFailure) as caught:
        series.commit_onto(repo, [patch], "3.13", start="HEAD")
    assert ", hunk 2 (@@ -" in str(caught.value)


def test_lines_may_shift(patches, repo):
    faketree.edit(repo, "Lib/http/client.py", "import socket\n",
                  "import socket\nimport ssl\nimport io\n")
    faketree.commit(repo, "shifted")
    series.commit_onto(repo, series.load(folder=patches), "3.13",
                       start="HEAD")


@pytest.mark.parametrize("damage, message", [
    (lambda repo: (repo / "Lib/urllib/request.py").unlink(),
     "probe-everywhere does not apply to 3.13 at Lib/urllib/request.py, "
     "does not exist"),
    (lambda repo: faketree.write(repo, "Lib/http/_probe.py", "theirs\n"),
     "probe does not apply to 3.13 at Lib/http/_probe.py, already exists"),
])
def test_failure_whole_file(patches, repo, damage, message):
    damage(repo)
    faketree.commit(repo, "damaged")
    with pytest.raises(series.ApplyFailure) as caught:
        series.commit_onto(repo, series.load(folder=patches), "3.13",
                           start="HEAD")
    assert str(caught.value) == message


def test_context_must_match(patches, repo):
    """One line of context that differs is enough: no fuzz."""
    faketree.edit(repo, "Lib/http/client.py",
                  "        self.version = version\n", "")
    faketree.edit(repo, "Lib/http/client.py",
                  "        self.reason = reason.strip()\n", "        pass\n")
    faketree.commit(repo, "changed beside it")
    with pytest.raises(series.ApplyFailure, match="^skip-interim"):
        series.commit_onto(repo, series.load(folder=patches), "3.13",
                           start="HEAD")


def test_held(patches, repo):
    loaded = series.load(folder=patches)
    ids = series.commit_onto(repo, loaded, "3.13")
    for count, one in enumerate(["base"] + ids):
        with series.Stack(repo, one, "3.13") as stack:
            assert stack.held(loaded) == count


def test_added_files(patches):
    added = series.added_files(series.load(folder=patches))
    assert sorted(added) == [
        "Lib/http/_probe.py", "Lib/test/test_http_probe.py",
        "Misc/NEWS.d/next/Library/2026-01-02.gh-issue-1.abc.rst"]
    # A later patch changes what an earlier one adds: the end state.
    assert added["Lib/http/_probe.py"] == (
        b'"""Look."""\n\n\ndef is_alive(sock):\n'
        b'    return sock is not None\n')
