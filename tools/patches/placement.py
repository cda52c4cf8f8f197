"""Seeing that a hunk went where it was meant to go.

git puts a hunk at the nearest place with the same context.  With little
context a file can have several such places, and on another line of CPython
the nearest may be a wrong one, in another function.
"""

import re

from tools.git import git, show
from tools.patches.series import ApplyFailure

_HEADER = re.compile(rb"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@ ?(.*)$",
                     re.MULTILINE)
_NAMED = re.compile(rb"\b(?:class|def)\s+(\w+)")


def check(patch, target, before, after):
    """Raise ApplyFailure if a hunk of *patch* went to a wrong place.

    target: where it was applied, giving the commit *after* upon the commit
    *before*.  Wrong is another function, if the hunk's old lines are there
    more than once; else the function just has another name on that line.
    """
    for diff in patch.diffs():
        content = show(target.repo, before, diff.path)
        if content is None or not diff.path.endswith(".py"):
            continue
        landed = {_function(header) for header in _HEADER.findall(git(
            "diff-tree", "-p", f"-U{context(diff.text)}", "--no-renames",
            before, after, "--", diff.path, repo=target.repo))}
        for number, (header, old) in enumerate(hunks(diff.text), 1):
            meant = _function(header)
            if not meant or meant in landed:
                continue
            # Whole lines; those that overlap count, too.
            places = re.findall(b"(?=" + re.escape(b"\n" + old) + b")",
                                b"\n" + content)
            if len(places) > 1:
                raise ApplyFailure(
                    patch.name, target.line, f"{diff.path}, hunk {number}: "
                    f"its context is there more than once, and it would not "
                    f"land in {meant.decode()}")


def _function(header):
    named = _NAMED.search(header)
    return named.group(1) if named else b""


def hunks(text):
    """Yield (header's text, old lines in bytes) of each hunk of a diff."""
    parts = _HEADER.split(text)
    for header, body in zip(parts[1::2], parts[2::2]):
        yield header, b"".join(
            line[1:] for line in body[1:].splitlines(keepends=True)
            if line[:1] in (b" ", b"-"))


def context(text):
    """Return with how many lines of context a diff was written."""
    most = 1
    for part in _HEADER.split(text)[2::2]:
        marks = b"".join(line[:1] for line in part.splitlines() if line)
        most = max(most, len(marks) - len(marks.lstrip(b" ")),
                   len(marks) - len(marks.rstrip(b" ")))
    return most
