"""./series export: mails that plain git takes."""

import argparse
import os
import re
import shutil
import subprocess

import pytest

import faketree
from faketree import edit, git, series, snapshot
from tools.common import ROOT, Failure
from tools.cpython import stock
from tools.patches import export, series as real, targets

TEXTS = ROOT / "patches" / "pr"


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A line from binary packages, with a longer way around one hunk."""
    repo = faketree.checkout(tmp_path / "3.15", docs=False)
    edit(repo, "Lib/http/client.py", "import socket\n",
         "import socket\nimport ssl\n")
    faketree.commit(repo, "3.15 is different")
    git(repo, "tag", "--force", "base")
    made = stock.Base("3.15", "3.15.2", "packages", tmp_path, repo)
    made.excludes = ("Doc/*", "Misc/*")
    monkeypatch.setattr(stock, "get", lambda line: made)
    monkeypatch.setattr(targets, "working_tree", lambda line: None)
    return made


@pytest.fixture
def patches(patches):
    """The fake series with the texts that the real one has for all."""
    (patches / "pr" / "issues").mkdir(parents=True)
    for path in TEXTS.iterdir():
        if path.stem in ("cover", "order", "whatsnew", "acks", "disclosure"):
            shutil.copy(path, patches / "pr")
    for name in faketree.NAMES:
        (patches / "pr" / f"{name}.md").write_text(f"About {name}.\n")
    (patches / "pr" / "issues" / "probe.md").write_text("# Look first\n")
    with open(patches / "pr" / "whatsnew.rst", "a") as file:
        file.write(".. probe\n\n* Look.\n  (Contributed by {author} in 2.)\n")
    return patches


@pytest.fixture
def submitter(monkeypatch):
    def configure(**config):
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        monkeypatch.delenv("EMAIL", raising=False)
        monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(config)))
        for number, (key, value) in enumerate(config.items()):
            monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", f"user.{key}")
            monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    configure(name="Zoë Sender", email="zoe@example.org")
    return configure


@pytest.fixture
def exported(patches, capsys, submitter):
    def run(*args):
        parser = argparse.ArgumentParser()
        export.add_arguments(parser)
        assert export.run(parser.parse_args(
            [*map(str, args), "--patches", str(patches)])) == 0
        return capsys.readouterr().out
    return run


def test_git_am(base, exported, tmp_path, made):
    out = exported(tmp_path / "out", "3.15")
    assert "3 patches for CPython 3.15.2, and 0000-cover-letter.txt" in out
    assert "The parts for Doc and Misc are as in patches/: " in out
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        "0000-cover-letter.txt", "0000-order.md",
        "0001-skip-interim.patch", "0001-skip-interim.pr.md",
        "0002-probe.issue.md", "0002-probe.patch", "0002-probe.pr.md",
        "0003-probe-everywhere.patch", "0003-probe-everywhere.pr.md",
        "ACKS.txt", "whatsnew.rst"]
    whole = faketree.checkout(tmp_path / "whole", (3, 15, 2))
    edit(whole, "Lib/http/client.py", "import socket\n",
         "import socket\nimport ssl\n")
    faketree.commit(whole, "3.15 is different")
    git(whole, "am", "--quiet", *sorted((tmp_path / "out").glob("*.patch")))
    text = (whole / "Lib/http/client.py").read_text()
    assert "import ssl\n" in text and "self.probe()" in text
    assert (whole / "Lib/http/_probe.py").exists()
    assert "Look, then" in (whole / "Doc/library/http.client.rst").read_text()


def test_same_as_apply(base, exported, project, repo, tmp_path):
    """But for the author, git am gives the commits that apply makes."""
    exported(tmp_path / "out", "--tree", repo)
    other = shutil.copytree(repo, tmp_path / "other")
    assert series(project, "apply", other).returncode == 0
    git(repo, "am", "--quiet", *sorted((tmp_path / "out").glob("*.patch")))
    commits = [git(tree, "log", "--format=%T %ad %B", "base..HEAD")
               for tree in (repo, other)]
    assert commits[0] == commits[1] and "gh-3: Look" in commits[0]
    assert git(repo, "diff", "--check", "base", "HEAD") == ""
    assert git(repo, "log", "-1", "--format=%an %ae") == (
        "Zoë Sender zoe@example.org\n")


def test_no_author(base, exported, submitter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for config in {}, {"name": "Zoë"}, {"email": "zoe@example.org"}:
        submitter(**config)
        with pytest.raises(Failure, match="git does not know who submits"):
            exported(tmp_path / "out", "3.15")
    assert not (tmp_path / "out").exists()


def test_texts(base, exported, patches, tmp_path):
    out = tmp_path / "out"
    exported(out, "3.15")
    text = (out / "0002-probe.pr.md").read_text()
    assert text.startswith("# gh-2: Look before sending\n\nAbout probe.\n")
    assert text.endswith((TEXTS / "disclosure.md").read_text())
    assert (out / "0002-probe.issue.md").read_text() == "# Look first\n"
    assert "\nZoë Sender\n" in (out / "ACKS.txt").read_text("utf-8")
    cover = (out / "0000-cover-letter.txt").read_text("utf-8")
    assert "\nFrom: Zoë Sender <zoe@example.org>\n" in cover
    assert "PATCH 0/3]" in cover and "    gh-2: Look before sending\n" in cover
    # Neither has anything about patches that are not exported.
    assert "| channel |" not in (out / "0000-order.md").read_text("utf-8")
    news = (out / "whatsnew.rst").read_text("utf-8")
    assert ".. channel\n" not in news
    assert ".. probe\n\n* Look.\n  (Contributed by Zoë Sender in 2.)\n" in news
    (patches / "pr" / "probe.md").unlink()
    with pytest.raises(Failure, match="probe.md cannot be read: "):
        exported(tmp_path / "again", "3.15")


def test_without(base, exported, tmp_path, repo):
    said = exported(tmp_path / "out", "3.15", "--without", "skip-interim")
    assert "2 patches for CPython 3.15.2" in said
    assert (tmp_path / "out/0001-probe.pr.md").exists()
    git(repo, "am", "--quiet", *sorted((tmp_path / "out").glob("*.patch")))


def test_dep3(base, exported, tree, made, tmp_path):
    """Each patch applies by patch(1), in the order of the file series."""
    out = tmp_path / "out"
    said = exported(out, "--dep3", "--tree", tree)
    assert said.endswith(", and series\n") and "3.13.15 in " in said
    names = (out / "series").read_text().split()
    assert names == [f"{name}.patch" for name in faketree.NAMES]
    assert len(list(out.iterdir())) == 4
    for name in names:
        subprocess.run(["patch", "-p1", "--quiet", "--fuzz=0", "-i",
                        out / name], cwd=tree, check=True)
    assert snapshot(tree) == snapshot(made / "repo")
    text = (out / names[2]).read_text("utf-8")
    assert text.startswith(
        "Description: gh-3: Look everywhere\n In two paragraphs.\n .\n So.\n"
        "Author: Zoë Sender <zoe@example.org>\nOrigin: other\n"
        "Bug: https://github.com/python/cpython/issues/3\nForwarded: no\n"
        "Last-Update: 2026-02-03\n---\ndiff --git ")


def test_context_is_back(base, exported, patches, tmp_path, repo):
    """A patch stored with one line of context is exported with three."""
    mail = (patches / "probe.patch").read_text()
    git(repo, "am", "--quiet", patches / "skip-interim.patch",
        patches / "probe.patch")
    diff = git(repo, "diff", "-U1", "HEAD~1")
    (patches / "probe.patch").write_text(
        mail[:mail.index("diff --git")] + diff)
    exported(tmp_path / "out", "3.15")
    text = (tmp_path / "out/0002-probe.patch").read_text()
    part = text[text.index("+++ b/Lib/http/client.py"):]
    part = part[:part.index("diff --git")]
    assert part.count("\n ") == 4   # three above, the last line below
    assert "Subject: [PATCH 2/3] gh-2: Look before sending" in text


def test_not_empty(base, exported, tmp_path, repo):
    before = snapshot(repo)
    with pytest.raises(Failure, match="is not empty; name a new folder"):
        exported(repo, "3.15")
    with pytest.raises(Failure, match="is not a folder"):
        exported(repo / "Misc/ACKS", "3.15")
    assert snapshot(repo) == before


def test_does_not_apply(base, exported, tmp_path):
    edit(base.repo, "Lib/http/client.py", "self.sock.sendall(data)",
         "self.sock.sendall(bytes(data))")
    faketree.commit(base.repo, "in the way")
    git(base.repo, "tag", "--force", "base")
    with pytest.raises(Failure, match="probe does not apply to 3.15 at Lib/"):
        exported(tmp_path / "out", "3.15")
    assert not (tmp_path / "out").exists()


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
        assert f"| {patch.name} |" in (TEXTS / "order.md").read_text("utf-8")
