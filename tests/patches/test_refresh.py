"""./series refresh: from a working tree's commits back to patches/."""

import shutil

import pytest

import faketree
from faketree import change, edit, git, snapshot, write
from tools.common import Failure
from tools.patches import placement, refresh, series, targets, views

CLIENT, PROBE = "Lib/http/client.py", "Lib/http/_probe.py"
LIBRARY = "Doc/library/http.client.rst"


@pytest.fixture
def work(made, tmp_path, monkeypatch, lines):
    """The working tree of 3.13 with the series committed."""
    top = shutil.copytree(made / "repo", tmp_path / "source")
    monkeypatch.setattr(targets, "working_tree", lambda line: (
        top if line == "3.13" and top.exists() else None))
    return top


@pytest.fixture
def refreshed(project, work, call):
    """Refresh; return what is printed.  The views are there before."""
    def run(*args):
        status, out = call(refresh, *args, "--project", project)
        assert status == 0
        assert views.changes(project, loaded(project)) == {}
        return out
    run()
    return run


def loaded(project):
    return series.load(folder=project / "patches")


def reword(repo, message):
    git(repo, "commit", "--quiet", "--amend", "-m", message)


def test_round_trip(project, work, refreshed, tmp_path):
    """Do what the help says: patches and views follow."""
    before = snapshot(project)
    edit(work, PROBE, '"""Look."""', '"""Look first."""')
    git(work, "commit", "--quiet", "--all", "--fixup", ":/Look before")
    git(work, "rebase", "--quiet", "--interactive", "--autosquash", "base",
        GIT_SEQUENCE_EDITOR="true")
    told = refreshed()
    assert "skip-interim      unchanged\n" in told
    assert "probe             changed\n" in told
    assert "applies to: 3.13 source, 3.13, 3.14\n" in told
    assert "NOT TRIED on 3.15: not at hand" in told
    after = snapshot(project)
    assert {name for name in {**before, **after}
            if before.get(name) != after.get(name)} <= {
        "patches/probe.patch", "patches/probe-everywhere.patch", PROBE}
    assert (project / PROBE).read_text().startswith('"""Look first."""')
    # And git alone gives the same tree again.
    top = faketree.checkout(tmp_path / "again")
    git(top, "am", "--quiet", *(patch.path for patch in loaded(project)))
    assert git(top, "rev-parse", "HEAD^{tree}") == git(
        work, "rev-parse", "HEAD^{tree}")


def test_repeats(project, work, refreshed):
    """The same commits give the same bytes, whenever and wherever."""
    before = snapshot(project)
    assert snapshot(project / "patches") == snapshot(faketree.SERIES)
    git(work, "rebase", "--quiet", "--force-rebase", "base")
    with open(work / ".git" / "config", "a") as file:
        file.write("[diff] noprefix = true\n[diff] context = 9\n"
                   "[format] signature = mine\n[core] abbrev = 5\n"
                   "[format] headers = X-Mine: yes\n")
    refreshed()
    assert snapshot(project) == before


def test_new_patch(project, work, refreshed):
    edit(work, "Lib/urllib/request.py", "    pass\n", "    kept = None\n")
    write(work, "Lib/urllib/_pool.py", "connections = []\n")
    faketree.commit(work, "gh-4: Keep connections\n\nFor long.\n\n"
                    "Patch: keep\n")
    assert "keep              new\n" in refreshed()
    text = (project / "patches/keep.patch").read_text()
    assert "For long.\n---\n" in text and "Patch: keep" not in text
    assert (project / "patches/series").read_text().endswith("keep.patch\n")
    assert (project / "Lib/urllib/_pool.py").is_file()
    # From now on the subject says which one it is.
    reword(work, "gh-4: Keep connections\n\nFor long.")
    before = snapshot(project)
    refreshed()
    assert snapshot(project) == before
    # A new subject does not, but the line does.
    reword(work, "gh-4: Keep all\n\nPatch: keep")
    refreshed()
    assert loaded(project)[3].subject == "gh-4: Keep all"


def test_dropped(project, work, refreshed):
    git(work, "reset", "--quiet", "--hard", "HEAD~2")
    assert ("probe             removed\nprobe-everywhere  removed\n"
            in refreshed())
    assert (project / "patches/series").read_text() == "skip-interim.patch\n"
    assert not (project / "patches/probe.patch").exists()
    assert not (project / PROBE).exists()


def test_documentation_alone(project, work, lines, refreshed):
    """A tree without documents has a commit for it all the same."""
    write(work, "Doc/howto/http.rst", "HTTP HOWTO\n")
    edit(work, LIBRARY, "HTTP client\n", "HTTP client.\n")
    faketree.commit(work, "gh-4: Tell more\n\nPatch: how-to")
    assert "how-to            new\n" in refreshed()
    assert (project / "Doc/howto/http.rst").is_file()
    ids = series.commit_onto(lines["3.14"], loaded(project), "3.14",
                             excludes=("Doc/*", "Misc/*"))
    assert not git(lines["3.14"], "diff", ids[2], ids[3])


def test_less_context_where_needed(project, lines, refreshed):
    """The third line above differs on 3.14: two lines, in that file only."""
    def contexts():
        diffs = {diff.path: placement.context(diff.text)
                 for diff in loaded(project)[1].diffs()}
        return diffs[CLIENT], diffs[LIBRARY]

    change(lines["3.14"], CLIENT, "    def send(self, data):\n",
           "    def send(self, data, /):\n")
    assert f"  2 lines of context: {CLIENT}\n" in refreshed()
    assert contexts() == (2, 3)
    # It comes back where the reason goes.
    git(lines["3.14"], "reset", "--quiet", "--hard", "base")
    refreshed()
    assert contexts() == (3, 3)


# What is refused.

def commit_look(work, message):
    edit(work, PROBE, "Look.", "Look!")
    faketree.commit(work, message)


def merge(work):
    git(work, "checkout", "--quiet", "-b", "side", "main~2")
    git(work, "merge", "--quiet", "--no-ff", "--no-edit", "main~1")


def add_bytecode(work):
    (work / "Lib/x.pyc").write_bytes(b"\0\1\2")
    faketree.commit(work, "gh-4: More\n\nPatch: more")


def break_another_line(work):
    """No context makes skip-interim apply there."""
    change(work.parent / "3.14", CLIENT, "self.status = status",
           "self.status = int(status)")


def repeat_elsewhere(work):
    """The same lines are twice in other functions, not in the right one."""
    twice = "".join(f"    def {name}(self):\n"
                    "        version, status, reason = self._read_status()\n"
                    "        self.status = status\n\n"
                    for name in ("once", "again"))
    change(work.parent / "3.14", CLIENT, "    def begin(self):\n"
           "        version, status, reason = self._read_status()\n",
           f"{twice}    def begin(self):\n        version, status = 1, 2\n")


@pytest.mark.parametrize("do, said", [
    (shutil.rmtree,
     "there is no working tree of 3.13; make one: ./series tree 3.13$"),
    (lambda work: edit(work, PROBE, "Look.", "Look!"),
     rf"changes that are not committed \({PROBE}\)"),
    (lambda work: write(work, "Lib/test/test_http_new.py", "pass\n"),
     "Lib/test/test_http_new.py in .* is not committed"),
    (lambda work: reword(work, "Me too"), "\"Me too\" has no name: add a "
     "line \"Patch: NAME\" to its message; not seen: probe-everywhere$"),
    (lambda work: commit_look(work, "fixup! gh-2: Look before sending"),
     "is to be squashed first: git rebase"),
    (lambda work: commit_look(work, "More\n\nPatch: probe"),
     "the second one named probe"),
    (lambda work: commit_look(work, "More\n\nPatch: ../probe"),
     "../probe is no name for a patch"),
    (add_bytecode, "has Lib/x.pyc"),
    (merge, "has the merge"),
    (lambda work: git(work, "reset", "--quiet", "--hard", "base"),
     "has no commit after its base"),
    (lambda work: (work / ".git/rebase-merge").mkdir(),
     "a rebase is in progress"),
    (break_another_line, rf"^skip-interim does not apply to 3.14 at {CLIENT},"
     r" hunk 1 \(@@ -.*nothing was written$"),
    (repeat_elsewhere, rf"^skip-interim does not apply to 3.14 at {CLIENT}, "
     "hunk 1: its context is there more than once, and it would not land in "
     "begin"),
])
def test_refused(project, work, call, do, said):
    """In one line, and nothing is written."""
    do(work)
    before = snapshot(project)
    with pytest.raises(Failure, match=said) as caught:
        call(refresh, "--project", project)
    assert snapshot(project) == before
    assert "\n" not in str(caught.value)
