"""Rewrite patches/ and the views from the commits of a working tree.

The working tree is build/LINE/source, as ./series tree LINE makes it.  Each
commit after the tag base is a patch.  The subject tells which one.  A commit
that is new, or has a new subject, needs a line in its message with the name:

    Patch: NAME

The line is not stored, so that it never gets upstream.  To change a patch,
edit the working tree, then

    git commit -a --fixup :/SUBJECT
    git rebase -i --autosquash base
    ./series refresh

For each file, the patch gets the most context with which it applies to all
lines that are below build/.  If it does not apply to one of them, nothing is
written.
"""

import argparse
import contextlib
import os
import tempfile
from pathlib import Path

from tools.common import LINES, ROOT, Failure, known_line
from tools.git import call, commit_id, git, line as git_line
from tools.patches import mails, placement, series, targets, views
from tools.patches.apply import refuse_unready
from tools.patches.targets import Target
from tools.places import uninterrupted

CONTEXT = (3, 2, 1)     # lines; the first that fits everywhere is taken


def add_arguments(parser):
    parser.add_argument("line", metavar="LINE", nargs="?", type=known_line,
                        default=LINES[0],
                        help="whose working tree (default: %(default)s)")
    # For tests: a project other than this one.
    parser.add_argument("--project", metavar="DIR", default=ROOT, type=Path,
                        help=argparse.SUPPRESS)


def run(args):
    source = _source(args.line)
    commits = _commits(source)
    stored = args.project / "patches"
    old = {patch.name: patch for patch in series.load(folder=stored)} if (
        stored / "series").exists() else {}
    names = _names(commits, old)
    others, missing = targets.at_hand()
    found = [source, *(target for target in others
                       if target.repo != source.repo)]
    with tempfile.TemporaryDirectory(prefix="series-") as scratch:
        patches = _write(Path(scratch), commits, names, found)
        changes = _changes(Path(scratch), args.project)
        changes.update(views.changes(args.project, patches))
        report = _report(patches, old)
    write(changes)
    print("\n".join(report))
    print(f"{len(changes)} files written; applies to: "
          f"{', '.join(target.title for target in found)}")
    for line, why in missing:
        print(f"NOT TRIED on {line}: {why}")
    return 0


def write(changes):
    """Write files, or remove them; {path: content, None to remove it}.

    All is computed by then, and git has the state before: git checkout
    takes back what a full disk cuts short.
    """
    with uninterrupted():
        for path, content in changes.items():
            if content is None:
                path.unlink()
                with contextlib.suppress(OSError):      # it is not empty
                    os.removedirs(path.parent)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


# The working tree and its commits.

def _source(line):
    """Return the Target of the working tree."""
    top = targets.working_tree(line)
    if top is None:
        raise Failure(f"there is no working tree of {line}; make one: "
                      f"./series tree {line}")
    refuse_unready(top)
    forgotten = git(
        "status", "--porcelain=v1", "-z", "--untracked-files=all", "--",
        ":(glob)Lib/**/*.py", ":(glob)Misc/NEWS.d/next/**",
        ":(glob)Doc/library/*.rst", ":(glob)Doc/howto/*.rst", repo=top,
        our_tree=False)
    if forgotten:
        first = forgotten.split(b"\0")[0][3:].decode("utf-8", "replace")
        raise Failure(f"{first} in {top} is not committed; commit it (git "
                      f"add, git commit) or remove it")
    base = commit_id(top, "base")
    if call("merge-base", "--is-ancestor", base, "HEAD",
            repo=top).returncode:
        raise Failure(f"in {top} HEAD does not follow base, where the series "
                      f"would begin; check out the branch series")
    return Target(f"{line} source", line, top, base, (), str(top))


def _commits(source):
    top, base = source.repo, source.start
    merges = git_line("rev-list", "--merges", f"{base}..HEAD", repo=top)
    if merges:
        raise Failure(f"{top} has the merge {merges.split()[0][:10]} after "
                      f"its base; rebase it: git rebase base")
    commits = mails.commits(top, base)
    if not commits:
        raise Failure(f"{top} has no commit after its base; commit a patch "
                      f"there first")
    for commit in commits:
        if commit.subject.startswith(("fixup! ", "squash! ", "amend! ")):
            raise Failure(f"commit {commit.short} is to be squashed first: "
                          f"git rebase -i --autosquash base")
        if not commit.paths():
            raise Failure(f"commit {commit.short} changes nothing; drop it: "
                          f"git rebase -i base")
        for path in filter(commit.paths().get, commit.paths()):
            raise Failure(f"commit {commit.short} has {path}, which is not "
                          f"text; take it out: git rebase -i base")
    return commits


def _names(commits, old):
    """Return the commits' names, from their messages or their subjects."""
    known = {patch.subject: name for name, patch in old.items()}
    names = [commit.name or known.get(commit.subject) for commit in commits]
    for commit, name in zip(commits, names):
        if name is None:
            gone = [name for name in old if name not in names]
            hint = f"; not seen: {', '.join(gone)}" if gone else ""
            raise Failure(f"commit {commit.short} has no name: add a line "
                          f"\"Patch: NAME\" to its message{hint}")
        if not series.valid_name(name):
            raise Failure(f"commit {commit.short}: {name} is no name for a "
                          f"patch; use lower case, digits and '-'")
        if names.count(name) > 1:
            raise Failure(f"commit {commit.short} is the second one named "
                          f"{name}; squash them: git rebase -i")
    return names


# Writing the patches, into a folder of their own first.

def _write(folder, commits, names, found):
    """Write the series into *folder*; return the patches.

    found: the Targets that have to take them, the working tree first.
    """
    with contextlib.ExitStack() as trees:
        stacks = [(target, trees.enter_context(series.Stack(
            target.repo, target.start, target.line, target.excludes)))
            for target in found]
        patches = [_write_patch(folder, commit, name, stacks)
                   for commit, name in zip(commits, names)]
        source, stack = stacks[0]
        if git("diff-tree", "-r", "--name-only", stack.head, commits[-1].id,
               repo=source.repo):
            raise Failure(f"the patches written from {source.repo} do not "
                          f"give its tree again; nothing was written")
    (folder / "series").write_text(
        "".join(f"{name}.patch\n" for name in names), encoding="utf-8")
    return patches


def _write_patch(folder, commit, name, stacks):
    """Write one patch and apply it everywhere; Failure if it cannot."""
    patch = series.Patch(name, folder)
    patch.path.write_bytes(commit.head() + b"".join(
        _diff(commit, path, stacks) for path in commit.paths()))
    for target, stack in stacks:
        before = stack.head
        try:
            placement.check(patch, target, before, stack.push(patch))
        except series.ApplyFailure as exc:
            raise Failure(f"{exc}; nothing was written") from exc
    return patch


def _diff(commit, path, stacks):
    """Return the diff with the most context that fits everywhere."""
    asked = [stack for _, stack in stacks if stack.concerned([path])]
    for context in CONTEXT:
        diff = commit.diff(path, context)
        if all(stack.fits(diff) for stack in asked):
            return diff
    # Pushing it will say where it does not fit.
    return diff


def _changes(folder, project):
    """Return what differs in the project, as write() takes it."""
    fresh = {project / "patches" / path.name: path.read_bytes()
             for path in folder.iterdir()}
    return {**{path: None for path in (project / "patches").glob("*.patch")
               if path not in fresh},
            **{path: content for path, content in fresh.items()
               if not path.is_file() or path.read_bytes() != content}}


def _report(patches, old):
    """Return the lines that say what became of each patch."""
    told = []
    names = [patch.name for patch in patches]
    width = max(map(len, [*names, *old])) + 2
    for patch in patches:
        before = old.get(patch.name)
        what = "new" if before is None else (
            "unchanged" if before.mail() == patch.mail() else "changed")
        told.append(patch.name.ljust(width) + what)
        for diff in patch.diffs():
            context = placement.context(diff.text)
            if not diff.added and context < CONTEXT[0]:
                told.append(f"  {context} line{'s' * (context > 1)} of "
                            f"context: {diff.path}")
    return told + [f"{name.ljust(width)}removed"
                   for name in old if name not in names]
