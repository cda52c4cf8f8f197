"""Fixtures: a fake tree and a fake series, made once, copied where used."""

import argparse
import shutil

import pytest

import faketree
from tools.common import LINES
from tools.patches import targets

collect_ignore = ["tree"]


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A checkout with the series committed, and the series as patches."""
    top = tmp_path_factory.mktemp("made")
    repo = faketree.checkout(top / "repo")
    faketree.commit_series(repo)
    shutil.copytree(faketree.SERIES, top / "patches")
    return top


@pytest.fixture
def patches(tmp_path):
    """The folder of the fake series, this test's own."""
    return shutil.copytree(faketree.SERIES, tmp_path / "patches")


@pytest.fixture
def project(tmp_path):
    """A project of its own with the fake series: run ./series there."""
    return faketree.project(tmp_path / "project", faketree.SERIES)


@pytest.fixture
def repo(made, tmp_path):
    """A clean checkout of the fake tree, on the branch main."""
    top = shutil.copytree(made / "repo", tmp_path / "repo")
    faketree.git(top, "reset", "--quiet", "--hard", "base")
    return top


@pytest.fixture
def tree(tmp_path):
    """The fake tree without git."""
    return faketree.plain_tree(tmp_path / "tree")


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """Two lines at hand, like binary packages: {line: checkout}."""
    found = {line: faketree.checkout(tmp_path / line, docs=False)
             for line in ("3.13", "3.14")}

    def at_hand(wanted=LINES, *, fetch=False):
        here = [targets.Target(line, line, found[line], "HEAD",
                               ("Doc/*", "Misc/*"), "binary packages 1-1")
                for line in wanted if line in found]
        return here, [(line, "cannot be had" if fetch else "not at hand")
                      for line in wanted if line not in found]
    monkeypatch.setattr(targets, "at_hand", at_hand)
    return found


@pytest.fixture
def call(capsys):
    """Call a verb's module; return (exit status, what it printed)."""
    def run(module, *args):
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        status = module.run(parser.parse_args(list(map(str, args))))
        return status, capsys.readouterr().out
    return run
