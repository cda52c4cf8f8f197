"""./series status: the table of patches and lines."""

import argparse
import shutil

import pytest

import faketree
from faketree import edit, git
from tools.common import Failure
from tools.patches import status, targets


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """Two lines at hand, one that is not: {line: checkout}."""
    found = {line: faketree.checkout(tmp_path / line, docs=False)
             for line in ("3.13", "3.14")}

    def at_hand(wanted, *, fetch=False):
        here = [targets.Target(line, line, found[line], "HEAD",
                               ("Doc/*", "Misc/*"), "binary packages 1-1")
                for line in wanted if line in found]
        return here, [(line, "cannot be had" if fetch else "not at hand")
                      for line in wanted if line not in found]
    monkeypatch.setattr(targets, "at_hand", at_hand)
    return found


@pytest.fixture
def show(patches, capsys):
    """Run status on the fake series; return (exit status, output)."""
    def run(*args):
        parser = argparse.ArgumentParser()
        status.add_arguments(parser)
        code = status.run(parser.parse_args(
            [*map(str, args), "--patches", str(patches)]))
        out = capsys.readouterr().out
        assert all(len(line) < 80 or "/" in line for line in out.splitlines()
                   if " FAILS: " not in line)
        return code, out
    return run


def test_all_well(lines, show):
    code, out = show()
    assert code == 0
    assert out == """\
patch             3.13     3.14
skip-interim      applies  applies
probe             applies  applies
probe-everywhere  applies  applies

3.13: binary packages 1-1; no Doc, Misc there
3.14: binary packages 1-1; no Doc, Misc there
3.15: not at hand
"""


def test_failure(lines, show):
    edit(lines["3.14"], "Lib/http/client.py", "self.sock.sendall(data)",
         "self.sock.sendall(bytes(data))")
    faketree.commit(lines["3.14"], "in the way")
    code, out = show()
    assert code == 1
    rows = [row.split() for row in out.splitlines()[1:4]]
    assert rows == [["skip-interim", "applies", "applies"],
                    ["probe", "applies", "FAILS"],
                    ["probe-everywhere", "applies", "-"]]
    assert ("3.14 FAILS: probe does not apply to 3.14 at "
            "Lib/http/client.py, hunk 1 (@@ -") in out


def test_merged_upstream(lines, show):
    faketree.edit_interim(lines["3.14"])
    faketree.commit(lines["3.14"], "gh-1 (#7)")
    code, out = show("3.14")
    assert code == 0
    assert out.splitlines()[1] == "skip-interim      is there"


def test_named_lines(lines, show):
    code, out = show("3.14")
    assert code == 0 and "3.13" not in out
    code, out = show("3.14", "3.15")
    assert code == 1 and "3.15: not at hand" in out
    code, out = show("--fetch")
    assert code == 0 and "3.15: cannot be had" in out


def test_nothing_at_hand(lines, show):
    with pytest.raises(Failure, match="get one: ./series status --fetch"):
        show("3.15")


@pytest.mark.parametrize("plain", [False, True])
def test_named_tree(lines, show, repo, plain):
    if plain:
        shutil.rmtree(repo / ".git")
    before = faketree.snapshot(repo)
    code, out = show("--tree", repo)
    assert code == 0
    assert out.splitlines()[:2] == ["patch             repo",
                                    "skip-interim      applies"]
    assert f"repo: 3.13.15 in {repo}\n" in out
    assert faketree.snapshot(repo) == before
    if not plain:
        assert git(repo, "status", "--porcelain") == ""


def test_this_command_line(project):
    """Nothing is built in a fresh checkout: one line says what to do."""
    done = faketree.series(project, "status")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == ("series: no CPython is at hand to try the patches "
                           "on; get one: ./series status --fetch\n")
