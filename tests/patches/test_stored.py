"""This project's own series: its form, its views, its NEWS entries."""

import hashlib
import re
import subprocess
import sys

import pytest

import faketree
from tools.common import ROOT, build_dir
from tools.interpreters import build
from tools.patches import needs, series, targets, variants, views
from tools.suites import modules, regrtest

README = "This is Python version 3.15.2\n"


@pytest.fixture(scope="module")
def patches():
    return series.load()


def test_views(patches):
    """Lib/, Doc/ and Misc/ are what patches/ adds; refresh writes them."""
    assert views.changes(ROOT, patches) == {}


def test_every_file_is_listed(patches):
    listed = {patch.path.name for patch in patches}
    assert {path.name for path
            in (ROOT / "patches").glob("*.patch")} == listed


def test_the_list_is_what_sed_expects():
    """git am $(sed s,^,patches/, patches/series) needs no tool of ours."""
    names = subprocess.run(
        ["sed", "s,^,patches/,", "patches/series"], cwd=ROOT, check=True,
        capture_output=True, text=True).stdout.split()
    assert names and all((ROOT / name).is_file() for name in names)


def test_subjects(patches):
    for patch in patches:
        assert re.match(r"gh-\d+: [A-Z]", patch.subject), patch.subject
        assert not patch.subject.endswith(".")


def test_nothing_of_the_machinery_is_stored(patches):
    for patch in patches:
        head, _ = series.split(patch.mail())
        assert head.startswith(b"From " + b"0" * 40)
        assert b"\nPatch: " not in head
        assert b"\n-- \n" not in patch.mail()


def test_one_news_entry_each(patches):
    for patch in patches:
        entries = [path for path in patch.added
                   if path.startswith("Misc/NEWS.d/next/")]
        code = any(path.startswith("Lib/") for path in patch.files)
        assert len(entries) == 1 or not code, (patch.name, entries)


def test_variants_for_main(patches):
    """Each says for which change it stands, as main's text is not here."""
    for path in (ROOT / "patches" / "main").glob("*.diff"):
        head, diffs = series.split(path.read_bytes(), path.name)
        assert [diff.path for diff in diffs] == [variants.CLIENT]
        assert b"unverified" in head
        replaced, = [diff.text for diff
                     in series.find(path.stem, patches).diffs()
                     if diff.path == variants.CLIENT]
        lines = replaced.splitlines(keepends=True)[4:]
        changed = b"".join(line for line in lines if line[:1] in b"+-")
        digest = hashlib.sha256(changed).hexdigest()
        assert digest.encode() in head, (
            f"{path.stem}.patch has changed since patches/main/{path.name} "
            f"was made; make it again: see patches/README.md, then write "
            f"{digest} into it")


def test_blurb_takes_the_news_entries(patches, tmp_path):
    pytest.importorskip("blurb")
    faketree.write(tmp_path, "README.rst", README)
    faketree.write(tmp_path, "LICENSE", "A. HISTORY OF THE SOFTWARE\n")
    for name in ("Include/Python.h", "Python/ceval.c"):
        faketree.write(tmp_path, name, "")
    bodies = []
    for path, content in series.added_files(patches).items():
        if path.startswith("Misc/NEWS.d/next/"):
            faketree.write(tmp_path, path, content.decode())
            bodies.append(content.decode().split()[:3])
    subprocess.run([sys.executable, "-m", "blurb", "merge", "-f"],
                   cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
    merged = (tmp_path / "Misc/NEWS").read_text()
    assert merged.count("\n- gh-") == len(bodies)
    for words in bodies:
        assert " ".join(words) in " ".join(merged.split())


# For plain pytest; ./series test runs all of it, on every line.

FREE = [patch.name for patch in series.load() if not any(
    patch.name in names
    for names in needs.closure(needs.read(ROOT / "patches")).values())]


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
