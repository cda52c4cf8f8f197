"""./series export: mails that plain git takes."""

import re
import shutil
import subprocess

import pytest

import faketree
from faketree import change, git, series, snapshot, write
from tools.common import ROOT, Failure
from tools.cpython import stock
from tools.patches import export, series as real, targets

TEXTS = ROOT / "patches" / "pr"
CLIENT = "Lib/http/client.py"
AUTHOR = "Zoë Sender <zoe@example.org>"


@pytest.fixture
def base(lines, monkeypatch, tmp_path):
    """A line from binary packages, with a longer way to one hunk."""
    change(lines["3.14"], CLIENT, "import socket\n",
           "import socket\nimport ssl\n", tag="base")
    made = stock.Base("3.14", "3.14.9", "packages", tmp_path, lines["3.14"])
    made.excludes = ("Doc/*", "Misc/*")
    monkeypatch.setattr(stock, "get", lambda line: made)
    monkeypatch.setattr(targets, "working_tree", lambda line: None)
    return made


@pytest.fixture
def patches(patches):
    """The fake series with the texts that the real one has for all."""
    shutil.copytree(TEXTS, patches / "pr",
                    ignore=shutil.ignore_patterns("issues"))
    for name in faketree.NAMES:
        write(patches, f"pr/{name}.md", f"About {name}.\n")
    write(patches, "pr/issues/probe.md", "# Look first\n")
    with open(patches / "pr" / "whatsnew.rst", "a") as file:
        file.write(".. probe\n\n* Look.\n  (Contributed by {author} in 2.)\n")
    return patches


@pytest.fixture
def exported(base, patches, call, tmp_path, monkeypatch):
    """Export to a folder; return what is printed."""
    write(tmp_path, "gitconfig", "[user] name = Zoë Sender\n"
          "[user] email = zoe@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("EMAIL", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*args):
        status, out = call(export, *args, "--patches", patches)
        assert status == 0
        return out
    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def am(repo, folder):
    git(repo, "am", "--quiet", *sorted(folder.glob("*.patch")))


def test_git_am(exported, out, tmp_path):
    said = exported(out)
    assert "3 patches for CPython 3.14.9, and 0000-cover-letter.txt" in said
    assert "The parts for Doc and Misc are as in patches/: " in said
    assert sorted(path.name for path in out.iterdir()) == [
        "0000-cover-letter.txt", "0000-order.md",
        "0001-skip-interim.patch", "0001-skip-interim.pr.md",
        "0002-probe.issue.md", "0002-probe.patch", "0002-probe.pr.md",
        "0003-probe-everywhere.patch", "0003-probe-everywhere.pr.md",
        "ACKS.txt", "whatsnew.rst"]
    whole = faketree.checkout(tmp_path / "whole", (3, 14, 9))
    change(whole, CLIENT, "import socket\n", "import socket\nimport ssl\n")
    am(whole, out)
    assert "self.probe()" in (whole / CLIENT).read_text()
    assert "Look, then" in (whole / "Doc/library/http.client.rst").read_text()


def test_same_as_apply(exported, out, project, repo, tmp_path):
    """But for the author, git am gives the commits that apply makes."""
    exported(out, "--tree", repo)
    other = shutil.copytree(repo, tmp_path / "other")
    assert series(project, "apply", other).returncode == 0
    am(repo, out)
    commits = [git(tree, "log", "--format=%T %ad %B", "base..HEAD")
               for tree in (repo, other)]
    assert commits[0] == commits[1] and "gh-3: Look" in commits[0]
    assert git(repo, "diff", "--check", "base", "HEAD") == ""
    assert git(repo, "log", "-1", "--format=%an <%ae>") == f"{AUTHOR}\n"


def test_texts(exported, patches, tmp_path, out):
    exported(out)
    text = (out / "0002-probe.pr.md").read_text()
    assert text.startswith("# gh-2: Look before sending\n\nAbout probe.\n")
    assert text.endswith((TEXTS / "disclosure.md").read_text())
    assert (out / "0002-probe.issue.md").read_text() == "# Look first\n"
    assert "\nZoë Sender\n" in (out / "ACKS.txt").read_text("utf-8")
    cover = (out / "0000-cover-letter.txt").read_text("utf-8")
    assert f"\nFrom: {AUTHOR}\n" in cover and "PATCH 0/3]" in cover
    assert "    gh-2: Look before sending\n" in cover
    # Neither has anything about patches that are not exported.
    assert "| channel |" not in (out / "0000-order.md").read_text("utf-8")
    news = (out / "whatsnew.rst").read_text("utf-8")
    assert ".. channel\n" not in news
    assert ".. probe\n\n* Look.\n  (Contributed by Zoë Sender in 2.)\n" in news
    said = exported(tmp_path / "rest", "--without", "probe-everywhere")
    assert "2 patches for CPython 3.14.9" in said
    assert not (tmp_path / "rest/0003-probe-everywhere.pr.md").exists()


def test_context_is_back(exported, patches, out, repo):
    """A patch stored with one line of context is exported with three."""
    mail = (patches / "probe.patch").read_text()
    git(repo, "am", "--quiet", patches / "skip-interim.patch",
        patches / "probe.patch")
    write(patches, "probe.patch", mail[:mail.index("diff --git")] +
          git(repo, "diff", "-U1", "HEAD~1"))
    exported(out)
    text = (out / "0002-probe.patch").read_text()
    part = text.partition(f"+++ b/{CLIENT}")[2].partition("diff --git")[0]
    assert part.count("\n ") == 4   # three above, the last line below
    assert "Subject: [PATCH 2/3] gh-2: Look before sending" in text


def test_dep3(exported, tree, made, out):
    """Each patch applies by patch(1), in the order of the file series."""
    said = exported(out, "--dep3", "--tree", tree)
    assert said.endswith(", and series\n") and "3.13.15 in " in said
    names = (out / "series").read_text().split()
    assert names == [f"{name}.patch" for name in faketree.NAMES]
    assert len(list(out.iterdir())) == 4
    for name in names:
        subprocess.run(["patch", "-p1", "--quiet", "--fuzz=0", "-i",
                        out / name], cwd=tree, check=True)
    assert snapshot(tree) == snapshot(made / "repo")
    assert (out / names[2]).read_text("utf-8").startswith(
        "Description: gh-3: Look everywhere\n In two paragraphs.\n .\n So.\n"
        f"Author: {AUTHOR}\nOrigin: other\n"
        "Bug: https://github.com/python/cpython/issues/3\nForwarded: no\n"
        "Last-Update: 2026-02-03\n---\ndiff --git ")


@pytest.mark.parametrize("settings", [
    "", "[user] name = Zoë\n", "[user] email = zoe@example.org\n"])
def test_no_author(exported, tmp_path, out, settings):
    write(tmp_path, "gitconfig", settings)
    with pytest.raises(Failure, match="git does not know who submits"):
        exported(out)
    assert not out.exists()


def test_refused(exported, base, patches, out, repo):
    """Nothing is written, and nothing written over."""
    before = snapshot(repo)
    with pytest.raises(Failure, match="is not empty; name a new folder"):
        exported(repo)
    with pytest.raises(Failure, match="is not a folder"):
        exported(repo / "Misc/ACKS")
    assert snapshot(repo) == before
    (patches / "pr" / "probe.md").unlink()
    with pytest.raises(Failure, match="probe.md cannot be read: .*; restore"):
        exported(out)
    change(base.repo, CLIENT, "sendall(data)", "sendall(bytes(data))",
           tag="base")
    with pytest.raises(Failure, match="probe does not apply to 3.14 at Lib/"):
        exported(out)
    assert not out.exists()


# The series itself.

def test_each_patch_has_its_text():
    """One screen each; an issue text where the patch has only gh-53949."""
    for patch in real.load():
        text = (TEXTS / f"{patch.name}.md").read_text("utf-8")
        assert len(text.splitlines()) <= 40, patch.name
        assert re.findall("^## (.+)$", text, re.M) == [
            "Problem", "Change", "Alternatives", "Compatibility", "Tests",
            "Links"], patch.name
        proposed = (TEXTS / "issues" / f"{patch.name}.md").exists()
        assert proposed == ("to be opened" in text), patch.name
