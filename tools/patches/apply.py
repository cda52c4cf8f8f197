"""Apply the series to a CPython tree: all of it, or nothing changes.

A git checkout gets a new branch with one commit per patch, checked out; the
branch that was checked out stays as it was.  Any other source tree is changed
in place.

If http.client is that of CPython's main, patches/main/ has variants of some
patches, which is said; they could not be tried on main itself.

A patch that the tree has already, as upstream merged it, is skipped with a
message.  If it has all of them, that is an error: the exit status is 1.
"""

import argparse
import os
import subprocess

from tools import git
from tools.common import Failure, say
from tools.cpython.trees import Tree
from tools.patches import needs, series, variants
from tools.places import uninterrupted

BRANCH = "persistent-http"

# What a git operation that waits to be finished leaves behind.
_UNFINISHED = {
    "rebase-merge": "a rebase", "rebase-apply": "an am or a rebase",
    "MERGE_HEAD": "a merge", "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
}


def add_arguments(parser):
    parser.add_argument("dir", metavar="DIR", help="the tree to change")
    parser.add_argument("--upto", metavar="NAME",
                        help="the last patch to apply (default: all)")
    needs.add_argument(parser)
    parser.add_argument("--branch", metavar="BRANCH", default=BRANCH,
                        help="name of the new branch (default: %(default)s)")
    # For tests: a series other than patches/.
    parser.add_argument("--patches", metavar="DIR", help=argparse.SUPPRESS)


def run(args):
    patches = series.load(args.upto, folder=args.patches,
                          without=args.without)
    tree = Tree(args.dir)
    tree.see_line(None)
    print(_to_checkout(tree, patches, args.branch) if tree.checkout
          else _in_place(tree, patches))
    return 0


def _stack_up(stack, tree, patches):
    """Push what is not there yet; return how many patches that were.

    Failure if nothing is left to be done.
    """
    try:
        pushed, there = stack.push_missing(patches)
    except series.ApplyFailure as exc:
        upto = ""
        if exc.pushed:
            upto = f" (what does apply: --upto {exc.pushed[-1][0].name})"
        raise Failure(f"{exc}; nothing was changed{upto}") from exc
    if not pushed:
        raise Failure(f"already applied: {tree.top} has all of the series "
                      f"up to {patches[-1].name}; nothing to do")
    for patch in there:
        say(f"{patch.name}: already in the tree, skipped")
    return len(pushed)


# A git checkout.

def _to_checkout(tree, patches, branch):
    top = tree.top
    refuse_unready(top)
    if git.call("check-ref-format", "--branch", branch).returncode:
        raise Failure(f"{branch} is no possible name for a branch; use "
                      f"another one: --branch NAME")
    start = git.commit_id(top, "HEAD")
    patches = variants.fitting(patches, top, start)
    with series.Stack(top, start, tree.line,
                      committer=_committer(top)) as stack:
        count = _stack_up(stack, tree, patches)
    if git.commit_id(top, f"refs/heads/{branch}"):
        raise Failure(f"the branch {branch} exists already in {top}; delete "
                      f"it, or use another name: --branch NAME")
    _refuse_obstacles(top, start, stack.head)
    _check_out(top, branch, stack.head)
    return (f"{top}: branch {branch}, {count} commit{'s' * (count != 1)} on "
            f"{tree.text}")


def refuse_unready(top):
    """Raise Failure unless the checkout has a commit and no loose ends."""
    if git.commit_id(top, "HEAD") is None:
        raise Failure(f"{top} has no commit to start from; commit the tree "
                      f"first")
    for name, what in _UNFINISHED.items():
        path = git.line("rev-parse", "--git-path", name, repo=top)
        if (top / path).exists():
            raise Failure(f"{what} is in progress in {top}; finish or abort "
                          f"it first")
    changed = git.git("status", "--porcelain=v1", "-z",
                      "--untracked-files=no", "--ignore-submodules=all",
                      repo=top, our_tree=False)
    if changed:
        first = os.fsdecode(changed.split(b"\0")[0][3:])
        raise Failure(f"{top} has changes that are not committed ({first}); "
                      f"commit or stash them first")


def _refuse_obstacles(top, start, end):
    """A file that git does not track must not be written over.

    git itself would refuse only for those that it does not ignore.
    """
    told = git.git("diff-tree", "-r", "-z", "--name-only", "--no-renames",
                   "--diff-filter=A", start, end, repo=top)
    for name in filter(None, told.split(b"\0")):
        path = top / os.fsdecode(name)
        if os.path.lexists(path):
            raise Failure(f"{path} is in the way: the series adds that file, "
                          f"and git does not track it; move it away")


def _committer(top):
    """Return the variables that name who commits: the user if he can be.

    A user without user.name gets a fixed name; the authors are the patches'.
    """
    found = git.identity("COMMITTER", top)
    if found:
        return dict(zip(git.COMMITTER, found))
    say("git has no user.name and user.email: the committer is "
        "\"series <series@localhost>\"")
    return dict(git.COMMITTER)


def _check_out(top, branch, commit):
    # Not by "checkout -b", which changes the files before it finds that the
    # branch cannot be made.
    with uninterrupted():
        git.git("update-ref", f"refs/heads/{branch}", commit, "", repo=top)
        done = git.call("checkout", "--quiet", "--no-guess", branch, "--",
                        repo=top, our_tree=False)
        if done.returncode:
            git.git("update-ref", "-d", f"refs/heads/{branch}", repo=top)
            raise Failure(f"{top}: git could not check out the new branch: "
                          f"{git.complaint(done)}; correct this, then put "
                          f"all back: git -C {top} reset --hard")


# Any other tree, in place.

def _in_place(tree, patches):
    with tree.shadow(patches) as repo:
        patches = variants.fitting(patches, repo, "base")
        with series.Stack(repo, "base", tree.line) as stack:
            count = _stack_up(stack, tree, patches)
        diff = git.git("diff-tree", "-p", "--binary", "--no-renames", "base",
                       stack.head, repo=repo)
    # git checks all of it before it writes anything.
    with uninterrupted():
        done = subprocess.run(
            git.command("apply", "--whitespace=nowarn", "-"),
            cwd=tree.top, input=diff, capture_output=True,
            env=git.environment({"GIT_DIR": os.devnull}))
    if done.returncode:
        raise Failure(f"{tree.top}: {git.complaint(done)}; correct this, "
                      f"then run the command again")
    files = diff.count(b"\ndiff --git ") + 1
    return (f"{tree.top}: {count} patch{'es' * (count != 1)} applied to "
            f"{tree.text} in place, {files} files")
