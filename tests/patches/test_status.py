"""./series status: the table of patches and lines."""

import shutil

import pytest

import faketree
from tools.common import Failure
from tools.patches import status


@pytest.fixture
def show(patches, call):
    """Run status on the fake series; return (exit status, output)."""
    return lambda *args: call(status, *args, "--patches", patches)


def test_all_well(lines, show):
    assert show() == (0, """\
patch             3.13     3.14
skip-interim      applies  applies
probe             applies  applies
probe-everywhere  applies  applies

3.13: binary packages 1-1; no Doc, Misc there
3.14: binary packages 1-1; no Doc, Misc there
3.15: not at hand
""")


def test_failure_and_merged_upstream(lines, show):
    faketree.commit_series(lines["3.13"], "skip-interim")
    faketree.change(lines["3.14"], "Lib/http/client.py", "sendall(data)",
                    "sendall(bytes(data))")
    code, out = show()
    assert code == 1
    assert out.splitlines()[1:4] == [
        "skip-interim      is there  applies",
        "probe             applies   FAILS", "probe-everywhere  applies   -"]
    assert ("3.14 FAILS: probe does not apply to 3.14 at "
            "Lib/http/client.py, hunk 1 (@@ -") in out


def test_named_lines(lines, show):
    code, out = show("3.14")
    assert code == 0 and "3.13" not in out
    code, out = show("3.14", "3.15")
    assert code == 1 and "3.15: not at hand" in out
    code, out = show("--fetch")
    assert code == 0 and "3.15: cannot be had" in out
    with pytest.raises(Failure, match="^no CPython is at hand to try the "
                       "patches on; get one: ./series status --fetch$"):
        show("3.15")


@pytest.mark.parametrize("plain", [False, True])
def test_named_tree(lines, show, repo, plain):
    if plain:
        shutil.rmtree(repo / ".git")
    before = faketree.snapshot(repo)
    code, out = show("--tree", repo)
    assert code == 0
    assert out.startswith("patch             repo\n"
                          "skip-interim      applies\n")
    assert f"repo: 3.13.15 in {repo}\n" in out
    assert faketree.snapshot(repo) == before
    assert plain or faketree.git(repo, "status", "--porcelain") == ""
