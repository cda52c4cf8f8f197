"""The series is loaded, and where it does not apply is said.

That it becomes what git am makes of it is tested with the verbs.
"""

import pytest

import faketree
from faketree import edit
from tools.common import Failure
from tools.patches import series

CLIENT = "Lib/http/client.py"


def test_load(patches):
    loaded = series.load(folder=patches)
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
def test_failure_says_where(patches, repo, damage, message):
    damage(repo)
    faketree.commit(repo, "damaged", tag="base")
    with pytest.raises(series.ApplyFailure, match=message):
        series.commit_onto(repo, series.load(folder=patches), "3.13")


def test_damaged_patch(patches, repo):
    content = (patches / "probe.patch").read_bytes()
    (patches / "probe.patch").write_bytes(content[:-60])
    with pytest.raises(series.ApplyFailure, match="^probe does not apply"):
        series.commit_onto(repo, series.load(folder=patches), "3.13")
