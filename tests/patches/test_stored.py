"""This project's own series: its form, its views, its NEWS entries."""

import hashlib
import re
import subprocess
import sys

import pytest

from faketree import write
from tools.common import ROOT, build_dir
from tools.interpreters import build
from tools.patches import needs, series, targets, variants, views
from tools.suites import modules, regrtest

PATCHES = series.load()


def test_views():
    """Lib/, Doc/ and Misc/ are what patches/ adds; refresh writes them."""
    assert views.changes(ROOT, PATCHES) == {}


def test_the_list():
    """All are in it; git am $(sed s,^,patches/, patches/series) takes it."""
    names = subprocess.run(
        ["sed", "s,^,patches/,", "patches/series"], cwd=ROOT, check=True,
        capture_output=True, text=True).stdout.split()
    assert sorted(ROOT / name for name in names) == sorted(
        (ROOT / "patches").glob("*.patch"))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_form(patch):
    """A subject for upstream, one NEWS entry, nothing of the machinery."""
    assert re.match(r"gh-\d+: [A-Z].*[^.]$", patch.subject)
    head, _ = series.split(patch.mail())
    assert head.startswith(b"From " + b"0" * 40)
    assert b"\nPatch: " not in head
    assert b"\n-- \n" not in patch.mail()
    if any(path.startswith("Lib/") for path in patch.files):
        news = [path for path in patch.added
                if path.startswith("Misc/NEWS.d/next/")]
        assert len(news) == 1


def test_variants_for_main():
    """Each says for which change it stands, as main's text is not here."""
    for path in (ROOT / "patches" / "main").glob("*.diff"):
        head, diffs = series.split(path.read_bytes(), path.name)
        assert [diff.path for diff in diffs] == [variants.CLIENT]
        assert b"unverified" in head
        replaced, = [diff.text for diff
                     in series.find(path.stem, PATCHES).diffs()
                     if diff.path == variants.CLIENT]
        lines = replaced.splitlines(keepends=True)[4:]
        changed = b"".join(line for line in lines if line[:1] in b"+-")
        digest = hashlib.sha256(changed).hexdigest()
        assert digest.encode() in head, (
            f"{path.stem}.patch has changed since patches/main/{path.name} "
            f"was made; make it again: see patches/README.md, then write "
            f"{digest} into it")


def test_blurb_takes_the_news_entries(tmp_path):
    pytest.importorskip("blurb")
    write(tmp_path, "README.rst", "This is Python version 3.15.2\n")
    write(tmp_path, "LICENSE", "A. HISTORY OF THE SOFTWARE\n")
    write(tmp_path, "Include/Python.h", "")
    write(tmp_path, "Python/ceval.c", "")
    bodies = []
    for path, content in series.added_files(PATCHES).items():
        if path.startswith("Misc/NEWS.d/next/"):
            write(tmp_path, path, content.decode())
            bodies.append(" ".join(content.decode().split()[:3]))
    subprocess.run([sys.executable, "-m", "blurb", "merge", "-f"],
                   cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
    merged = (tmp_path / "Misc/NEWS").read_text()
    assert merged.count("\n- gh-") == len(bodies)
    assert all(body in " ".join(merged.split()) for body in bodies)


# For plain pytest; ./series test runs all of it, on every line.

STOOD_ON = set().union(*needs.read(ROOT / "patches").values())
FREE = [patch.name for patch in PATCHES if patch.name not in STOOD_ON]


@pytest.mark.regression
@pytest.mark.parametrize("without", [None, *FREE])
@pytest.mark.parametrize("line", targets.LINES)
def test_on_a_line_at_hand(line, without):
    """All of it, and without each patch that can be left out alone."""
    if not (build_dir() / line / "base.json").is_file():
        pytest.skip(f"not at hand: ./series build {line} gets it")
    left_out = [without] if without else []
    base, python = build.patched(line, without=left_out)
    own = modules.own_modules(series.load(without=left_out))
    outcome = regrtest.run(python, own, modules.log(
        base, f"{base.version}-pytest-{without}"))
    outcome.need(own)
    assert outcome.failures == []
    assert outcome.counts.passed
