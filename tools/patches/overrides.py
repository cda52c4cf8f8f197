"""A version of a patch for one line, where the common one does not fit."""

import os
import tempfile

from tools.common import Failure
from tools.git import call, git, show
from tools.patches.mails import DIFF
from tools.patches.series import Stack, split


def merged(commit, mail, target, stack):
    """Return *mail* with the diffs that do to *target* what *commit* does.

    git merges each file three ways: the commit's parent, the commit, and
    the target's tree so far (the top of *stack*).  Raises Failure if that
    leaves a conflict.
    """
    head, diffs = split(mail)
    with Stack(target.repo, stack.head) as work:
        paths = stack.concerned([diff.path for diff in diffs])
        for path in paths:
            _merge(commit, path, target, work)
        tree = work.git("write-tree").decode().strip()
        texts = {path: git("diff-tree", "-p", "-r", "-U3", *DIFF, stack.head,
                           tree, "--", f":(literal,top){path}",
                           repo=target.repo) for path in paths}
    return head + b"".join(texts.get(diff.path, diff.text) for diff in diffs)


def _merge(commit, path, target, work):
    ours = show(target.repo, work.head, path)
    old = show(commit.repo, commit.parent, path)
    new = show(commit.repo, commit.id, path)
    if ours == old:
        result = new
    elif None in (ours, old, new):
        raise _conflict(commit, path, target)
    else:
        result = _three_ways(ours, old, new)
    if result is None and new is not None:
        raise _conflict(commit, path, target)
    if result is None:
        work.git("update-index", "--force-remove", "--", path)
        return
    blob = work.git("hash-object", "-w", "--stdin", stdin=result)
    mode = git("ls-tree", commit.id, "--", path,
               repo=commit.repo).split()[0].decode()
    work.git("update-index", "--add", "--cacheinfo",
             f"{mode},{blob.decode().strip()},{path}")


def _three_ways(ours, old, new):
    """Return the merged content in bytes, None if there is a conflict."""
    with tempfile.TemporaryDirectory(prefix="series-") as scratch:
        files = [os.path.join(scratch, name)
                 for name in ("ours", "old", "new")]
        for name, content in zip(files, (ours, old, new)):
            with open(name, "wb") as file:
                file.write(content)
        done = call("merge-file", "-p", "--quiet", *files)
    return done.stdout if done.returncode == 0 else None


def _conflict(commit, path, target):
    return Failure(f"{commit.short} cannot be merged into {target.title}, "
                   f"{path} conflicts; nothing was written: make that line's "
                   f"version by hand, below patches/{target.line}")
