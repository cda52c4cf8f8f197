"""Fixtures: lines that are at hand, with the fake tree."""

import pytest

import faketree
from tools.common import LINES
from tools.patches import targets


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
