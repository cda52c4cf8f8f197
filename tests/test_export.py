"""./series export: mails that plain git takes."""

import argparse

import pytest

import faketree
from faketree import edit, git, snapshot
from tools import bases, export, targets
from tools.common import Failure


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A line from binary packages, with a longer way around one hunk."""
    repo = faketree.checkout(tmp_path / "3.15", docs=False)
    edit(repo, "Lib/http/client.py", "import socket\n",
         "import socket\nimport ssl\n")
    faketree.commit(repo, "3.15 is different")
    git(repo, "tag", "--force", "base")
    made = bases.Base("3.15", "3.15.2", "packages", tmp_path, repo)
    made.excludes = ("Doc/*", "Misc/*")
    monkeypatch.setattr(bases, "get", lambda line: made)
    monkeypatch.setattr(targets, "working_tree", lambda line: None)
    return made


@pytest.fixture
def exported(patches, capsys):
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
    assert "Doc, Misc: as in patches/" in out
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0000-cover-letter.txt", "0001-skip-interim.patch",
                     "0002-probe.patch", "0003-probe-everywhere.patch"]
    whole = faketree.checkout(tmp_path / "whole", (3, 15, 2))
    edit(whole, "Lib/http/client.py", "import socket\n",
         "import socket\nimport ssl\n")
    faketree.commit(whole, "3.15 is different")
    git(whole, "am", "--quiet", *sorted((tmp_path / "out").glob("*.patch")))
    text = (whole / "Lib/http/client.py").read_text()
    assert "import ssl\n" in text and "self.probe()" in text
    assert (whole / "Lib/http/_probe.py").exists()
    assert "Look, then" in (whole / "Doc/library/http.client.rst").read_text()


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


def test_cover_letter(base, exported, tmp_path):
    exported(tmp_path / "out", "--upto", "probe")
    text = (tmp_path / "out/0000-cover-letter.txt").read_text()
    assert "Subject: [PATCH 0/2] Persistent connections" in text
    assert "From: Ada Example <ada@example.org>" in text
    assert "  probe\n    gh-2: Look before sending\n" in text
    assert "for CPython 3.15.2." in text
    assert "    git am FOLDER/*.patch\n" in text
    assert "      3 +    0 -  Lib/http/client.py" in text
    assert all(len(line) < 80 for line in text.splitlines()
               if "NEWS.d" not in line)


def test_named_checkout(base, exported, tmp_path, repo):
    before = snapshot(repo), git(repo, "for-each-ref")
    out = exported(tmp_path / "out", "--tree", repo)
    assert "Doc, Misc" not in out
    assert (snapshot(repo), git(repo, "for-each-ref")) == before
    git(repo, "am", "--quiet", *sorted((tmp_path / "out").glob("*.patch")))


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
