"""./series refresh: from a working tree's commits back to patches/."""

import argparse
import shutil

import pytest

import faketree
from faketree import edit, git, snapshot
from tools.common import Failure
from tools.patches import placement, refresh, series, targets, views


@pytest.fixture
def lines(made, tmp_path, monkeypatch):
    """Three lines at hand, like binary packages: {line: checkout}."""
    found = {line: faketree.checkout(tmp_path / line, docs=False)
             for line in ("3.13", "3.14", "3.15")}

    def at_hand():
        return [targets.Target(line, line, repo, "HEAD", ("Doc/*", "Misc/*"),
                               "binary packages")
                for line, repo in found.items()], [("3.16", "not at hand")]
    monkeypatch.setattr(targets, "at_hand", at_hand)
    return found


@pytest.fixture
def work(made, tmp_path, monkeypatch):
    """The working tree of 3.13 with the series committed."""
    top = shutil.copytree(made / "repo", tmp_path / "source")
    monkeypatch.setattr(targets, "working_tree",
                        lambda line: top if line == "3.13" else None)
    return top


def refreshed(project, *args):
    parser = argparse.ArgumentParser()
    refresh.add_arguments(parser)
    options = parser.parse_args([*map(str, args), "--project", str(project)])
    assert refresh.run(options) == 0


def refused(project, *args):
    """A refresh that must fail and write nothing; return its line."""
    before = snapshot(project)
    with pytest.raises(Failure) as caught:
        refreshed(project, *args)
    assert snapshot(project) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def reword(repo, message):
    git(repo, "commit", "--quiet", "--amend", "-m", message)


def squash(repo, *args):
    """Do what the help says: commit --fixup, then autosquash."""
    git(repo, "commit", "--quiet", "--all", "--fixup", *args)
    git(repo, "rebase", "--quiet", "--interactive", "--autosquash", "base",
        GIT_SEQUENCE_EDITOR="true")


def test_round_trip(project, work, lines, capsys):
    """Edit, fixup, autosquash, refresh: patches and views follow."""
    refreshed(project)
    before = snapshot(project)
    edit(work, "Lib/http/_probe.py", '"""Look."""', '"""Look first."""')
    edit(work, "Lib/test/test_httplib.py", "    def test_interim",
         "    def test_early(self):\n        self.assertTrue(True)\n\n"
         "    def test_interim")
    squash(work, ":/Look before")
    capsys.readouterr()
    refreshed(project)
    told = capsys.readouterr().out
    assert "skip-interim      unchanged\n" in told
    assert "probe             changed\n" in told
    assert "applies to: 3.13 source, 3.13, 3.14, 3.15" in told
    assert "NOT TRIED on 3.16" in told
    after = snapshot(project)
    changed = {name for name in {**before, **after}
               if before.get(name) != after.get(name)}
    assert changed <= {
        "patches/probe.patch", "patches/probe-everywhere.patch",
        "Lib/http/_probe.py"}
    assert (project / "Lib/http/_probe.py").read_text().startswith(
        '"""Look first."""')
    assert views.changes(project, series.load(
        folder=project / "patches")) == {}
    # And git alone gives the same tree again.
    top = lines["3.13"].parent / "again"
    faketree.checkout(top)
    git(top, "am", "--quiet", *(
        project / "patches" / name for name
        in (project / "patches/series").read_text().split()))
    assert git(top, "rev-parse", "HEAD^{tree}") == git(
        work, "rev-parse", "HEAD^{tree}")


def test_repeats(project, work, lines):
    """The same commits give the same bytes, whenever and wherever."""
    refreshed(project)
    before = snapshot(project)
    git(work, "rebase", "--quiet", "--force-rebase", "base")
    git(work, "config", "diff.noprefix", "true")
    git(work, "config", "format.signature", "mine")
    git(work, "config", "format.headers", "X-Mine: yes")
    git(work, "config", "diff.context", "9")
    git(work, "config", "core.abbrev", "5")
    refreshed(project)
    assert snapshot(project) == before


def test_stored_form(project, work, lines):
    refreshed(project)
    text = (project / "patches/skip-interim.patch").read_text()
    assert text.startswith(f"From {'0' * 40} Mon Sep 17 00:00:00 2001\n"
                           "From: Ada Example <ada@example.org>\n"
                           "Date: Sun, 1 Feb 2026 10:00:00 +0100\n"
                           "Subject: [PATCH] gh-1: Skip interim responses\n")
    assert "\n-- \n" not in text and "Patch:" not in text
    assert "Naïve" in text
    # Hunks name the function, for the reader.
    assert "@@ def begin(self):\n" in text or "@@ class" in text


def test_new_patch(project, work, lines, capsys):
    edit(work, "Lib/urllib/request.py", "class OpenerDirector:\n    pass\n",
         "class OpenerDirector:\n    kept = None\n")
    faketree.write(work, "Lib/urllib/_pool.py", "connections = []\n")
    faketree.commit(work, "gh-4: Keep connections\n\nFor long.\n\n"
                    "Patch: keep\n")
    refreshed(project)
    assert "keep              new\n" in capsys.readouterr().out
    text = (project / "patches/keep.patch").read_text()
    assert "For long.\n---\n" in text and "Patch: keep" not in text
    assert (project / "patches/series").read_text().endswith("keep.patch\n")
    assert (project / "Lib/urllib/_pool.py").read_text() == (
        "connections = []\n")
    # From now on the subject says which one it is.
    reword(work, "gh-4: Keep connections\n\nFor long.")
    before = snapshot(project)
    refreshed(project)
    assert snapshot(project) == before


def test_reworded_subject(project, work, lines):
    reword(work, "gh-3: Look in all places")
    assert refused(project).endswith(
        "has no name: add a line \"Patch: NAME\" to its message; not seen: "
        "probe-everywhere")
    reword(work, "gh-3: Look in all places\n\nPatch: probe-everywhere")
    refreshed(project)
    patch = series.load(folder=project / "patches")[2]
    assert patch.subject == "gh-3: Look in all places"


def test_dropped_and_reordered(project, work, lines, capsys):
    refreshed(project)
    git(work, "reset", "--quiet", "--hard", "HEAD~2")
    capsys.readouterr()
    refreshed(project)
    told = capsys.readouterr().out
    assert "probe             removed\n" in told
    assert "probe-everywhere  removed\n" in told
    assert (project / "patches/series").read_text() == "skip-interim.patch\n"
    assert not (project / "patches/probe.patch").exists()
    assert not (project / "Lib/http/_probe.py").exists()
    assert views.changes(project, series.load(
        folder=project / "patches")) == {}


# How much context.

def test_less_context_where_needed(project, work, lines, capsys):
    """The third line above differs on 3.15: two lines, in that file only."""
    edit(lines["3.15"], "Lib/http/client.py", "    def send(self, data):\n",
         "    def send(self, data, /):\n")
    faketree.commit(lines["3.15"], "3.15 has it so")
    refreshed(project)
    assert ("  2 lines of context: Lib/http/client.py\n"
            in capsys.readouterr().out)
    diffs = {diff.path: placement.context(diff.text) for diff
             in series.load(folder=project / "patches")[1].diffs()}
    assert diffs["Lib/http/client.py"] == 2
    assert diffs["Doc/library/http.client.rst"] == 3
    # It comes back where the reason goes.
    git(lines["3.15"], "reset", "--quiet", "--hard", "base")
    refreshed(project)
    diffs = {diff.path: placement.context(diff.text) for diff
             in series.load(folder=project / "patches")[1].diffs()}
    assert diffs["Lib/http/client.py"] == 3


def broken(lines, line="3.15"):
    """Make the line one that no context makes skip-interim apply to."""
    edit(lines[line], "Lib/http/client.py", "        self.status = status\n",
         "        self.status = int(status)\n")
    faketree.commit(lines[line], "not the same")


def test_other_line_breaks(project, work, lines):
    refreshed(project)
    broken(lines)
    edit(work, "Lib/http/client.py", "status == 103", "status == 102")
    git(work, "commit", "--quiet", "--all", "--fixup", ":/Skip interim")
    git(work, "rebase", "--quiet", "-i", "--autosquash", "base",
        GIT_SEQUENCE_EDITOR="true")
    said = refused(project)
    assert said.startswith("skip-interim does not apply to 3.15 at "
                           "Lib/http/client.py, hunk 1 (@@ -")
    assert said.endswith("nothing was written")


SAME = """\
    def {name}(self):
        version, status, reason = self._read_status()
        self.status = status

"""


def test_documentation_alone(project, work, lines, capsys):
    name = "Doc/howto/http.rst"
    faketree.write(work, name, "HTTP HOWTO\n")
    edit(work, "Doc/library/http.client.rst", "HTTP client\n",
         "HTTP client.\n")
    faketree.commit(work, "gh-4: Tell more\n\nPatch: how-to")
    refreshed(project)
    assert "how-to            new\n" in capsys.readouterr().out
    assert (project / name).read_text() == "HTTP HOWTO\n"
    mail = (project / "patches" / "how-to.patch").read_text()
    assert "Doc/library/http.client.rst" in mail

    # A tree without documents has a commit for it all the same.
    patches = series.load(folder=project / "patches")
    ids = series.commit_onto(lines["3.14"], patches, "3.14",
                             excludes=("Doc/*", "Misc/*"))
    assert len(ids) == 4
    assert not git(lines["3.14"], "diff", ids[2], ids[3])
    git(lines["3.15"], "am", "--exclude=Doc/*", "--exclude=Misc/*",
        *[patch.path for patch in patches])


def test_wrong_place(project, work, lines):
    """The same lines twice in other functions, not in the right one."""
    top = lines["3.15"]
    edit(top, "Lib/http/client.py", "    def begin(self):\n"
         "        version, status, reason = self._read_status()\n",
         SAME.format(name="once") + SAME.format(name="again") +
         "    def begin(self):\n        version, status, why = 1, 2, 3\n")
    faketree.commit(top, "elsewhere")
    said = refused(project)
    assert said.startswith("skip-interim does not apply to 3.15 at "
                           "Lib/http/client.py, hunk 1: its context is there "
                           "more than once, and it would not land in begin")


# What is refused.

def commit_look(work, message):
    edit(work, "Lib/http/_probe.py", "Look.", "Look!")
    faketree.commit(work, message)


def merge(work):
    git(work, "checkout", "--quiet", "-b", "side", "base")
    edit(work, "Misc/ACKS", "Everyone", "Nobody")
    faketree.commit(work, "side")
    git(work, "checkout", "--quiet", "main")
    git(work, "merge", "--quiet", "--no-edit", "side")


def add_bytecode(work):
    (work / "Lib/http/__pycache__").mkdir()
    (work / "Lib/http/__pycache__/x.cpython-313.pyc").write_bytes(b"\0\1\2")
    faketree.commit(work, "gh-4: More\n\nPatch: more")


@pytest.mark.parametrize("do, said", [
    (lambda work: edit(work, "Lib/http/_probe.py", "Look.", "Look!"),
     "changes that are not committed (Lib/http/_probe.py)"),
    (lambda work: faketree.write(work, "Lib/test/test_http_new.py", "pass\n"),
     "Lib/test/test_http_new.py in "),
    (lambda work: commit_look(work, "Me too"), "\"Me too\" has no name"),
    (lambda work: commit_look(work, "fixup! gh-2: Look before sending"),
     "is to be squashed first: git rebase"),
    (lambda work: commit_look(work, "More\n\nPatch: probe"),
     "the second one named probe"),
    (lambda work: commit_look(work, "More\n\nPatch: ../probe"),
     "../probe is no name for a patch"),
    (add_bytecode, "has Lib/http/__pycache__/x.cpython-313.pyc"),
    (merge, "has the merge"),
    (lambda work: git(work, "reset", "--quiet", "--hard", "base"),
     "has no commit after its base"),
    (lambda work: (work / ".git/rebase-merge").mkdir(),
     "a rebase is in progress"),
])
def test_refused(project, work, lines, do, said):
    do(work)
    assert said in refused(project)


def test_no_working_tree(project, lines, work):
    assert refused(project, "3.14") == (
        "there is no working tree of 3.14; make one: ./series tree 3.14")
