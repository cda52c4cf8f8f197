"""The trees that the series has to apply to, as far as they are at hand."""

import contextlib
from pathlib import Path
from typing import NamedTuple

from tools.common import LINES, Failure, build_dir, say
from tools.cpython import stock
from tools.cpython.trees import Tree
from tools.git import commit_id


class Target(NamedTuple):
    """One tree to apply the series to."""

    title: str          # for a table: "3.13", "3.13 source"
    line: str
    repo: Path
    start: str          # the stock tree's commit
    excludes: tuple     # path patterns that the tree has no place for
    origin: str         # for people

    @property
    def left_out(self):
        """The parts of the series that the tree has no place for."""
        return [pattern.replace("/*", "") for pattern in self.excludes]


def working_tree(line):
    """Return the folder of the line's working tree, or None if not made."""
    source = build_dir() / line / "source"
    return source if commit_id(source, "base") else None


def at_hand(lines=LINES, *, fetch=False):
    """Return (list of Target, list of (line, why it is not at hand)).

    fetch: get what is missing, instead of taking only what is there.
    """
    targets, missing = [], []
    for line in lines:
        base = None
        if not fetch and not (build_dir() / line / "base.json").is_file():
            missing.append((line, f"not at hand: ./series build {line} gets "
                                  f"it"))
        else:
            try:
                base = stock.get(line)
            except Failure as exc:
                say(f"{line}: {exc}")
                missing.append((line, "cannot be had"))
        if base:
            targets.append(Target(line, line, base.repo, "base",
                                  base.excludes, base.origin))
        source = working_tree(line)
        if source:
            targets.append(Target(f"{line} source", line, source, "base", (),
                                  f"working tree build/{line}/source"))
    have = {target.line for target in targets}
    return targets, [(line, why) for line, why in missing
                     if line not in have]


@contextlib.contextmanager
def named(folder, patches):
    """Give the Target of a tree that the user names."""
    tree = Tree(folder)
    title, origin = tree.top.name[:12], f"{tree.text} in {tree.top}"
    if tree.checkout:
        yield Target(title, tree.line, tree.top, "HEAD", (), origin)
        return
    with tree.shadow(patches) as repo:
        yield Target(title, tree.line, repo, "base", (), origin)
