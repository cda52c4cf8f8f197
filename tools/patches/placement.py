"""Seeing that a hunk went where it was meant to go.

git puts a hunk at the nearest place with the same context.  With little
context a file can have several such places, and on another line of CPython
the nearest may be a wrong one, in another function.
"""

import os
import re

from tools.git import git, show
from tools.patches.series import ApplyFailure

_HEADER = re.compile(rb"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@ ?(.*)$",
                     re.MULTILINE)
_NAMED = re.compile(rb"\b(?:class|def)\s+(\w+)")


class Stray:
    """A hunk that landed in another function than its header names.

    Attributes: patch, target, path, number (of the hunk, from 1), function
    (its name), ambiguous (whether the hunk's old lines are in the file more
    than once).
    """

    def __init__(self, patch, target, path, number, function, ambiguous):
        self.patch = patch
        self.target = target
        self.path = path
        self.number = number
        self.function = os.fsdecode(function)
        self.ambiguous = ambiguous

    def failure(self):
        """Return this as an ApplyFailure."""
        return ApplyFailure(
            self.patch.name, self.target.line, self.path, self.number,
            f"hunk {self.number}: its context is there more than once, and "
            f"it would not land in {self.function}")

    def __str__(self):
        return (f"on {self.target.title} {self.patch.name}'s hunk "
                f"{self.number} of {self.path} is not in {self.function}")


def check(patch, target, before, after):
    """Raise ApplyFailure if a hunk of *patch* went to a wrong place.

    target: where it was applied, giving the commit *after* upon the commit
    *before*.  Wrong is another function if the hunk's old lines are there
    more than once.  Otherwise the function may just have another name on
    that line: returns the list of such Stray hunks, to be looked at.
    """
    strays = [stray for diff in patch.diffs(target.line)
              if diff.path.endswith(".py") and not diff.added
              for stray in _strays(patch, target, diff, before, after)]
    for stray in strays:
        if stray.ambiguous:
            raise stray.failure()
    return strays


def _strays(patch, target, diff, before, after):
    content = show(target.repo, before, diff.path)
    if content is None:
        return
    landed = {_function(header) for header in _HEADER.findall(git(
        "diff-tree", "-p", f"-U{context(diff.text)}", "--no-renames",
        before, after, "--", diff.path, repo=target.repo))}
    for number, (header, old) in enumerate(hunks(diff.text), 1):
        function = _function(header)
        if function and function not in landed:
            yield Stray(patch, target, diff.path, number, function,
                        occurrences(old, content) > 1)


def _function(header):
    named = _NAMED.search(header)
    return named.group(1) if named else b""


def hunks(text):
    """Yield (header's text, old lines in bytes) of each hunk of a diff."""
    starts = list(_HEADER.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    for match, end in zip(starts, ends):
        lines = text[match.end() + 1:end].splitlines(keepends=True)
        yield match.group(1), b"".join(
            line[1:] for line in lines if line[:1] in (b" ", b"-"))


def context(text):
    """Return with how many lines of context a diff was written."""
    most = 1
    for part in _HEADER.split(text)[2::2]:
        marks = b"".join(line[:1] for line in part.splitlines() if line)
        most = max(most, len(marks) - len(marks.lstrip(b" ")),
                   len(marks) - len(marks.rstrip(b" ")))
    return most


def occurrences(old, content):
    """Return how often whole lines of *content* equal *old*; overlapping."""
    count, start = 0, 0
    old, content = b"\n" + old, b"\n" + content
    while True:
        start = content.find(old, start)
        if start < 0:
            return count
        count, start = count + 1, start + 1
