"""Apply the series to a CPython tree: all of it, or nothing changes.

A git checkout gets a new branch with one commit per patch, checked out; the
branch that was checked out stays as it was.  Any other folder is changed in
place: a source tree, or a standard library alone (the parts for Doc, Misc
and, where there are no tests, Lib/test are then left out).

A patch that is there already, as upstream took it, is skipped, which is
said.  If nothing is left to be done, that is an error: the exit status is 1.
"""

import argparse
import contextlib
import os

from tools.common import Failure, known_line, need_program, say
from tools.cpython.trees import Tree
from tools.files import remove_empty, replace_files, uninterrupted
from tools.git import COMMITTER, call, complaint, git, line as git_line
from tools.patches import needs, series

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
    parser.add_argument("--branches", action="store_true",
                        help="one branch per patch, each upon the one before,"
                        " named BRANCH-PATCH")
    parser.add_argument("--branch", metavar="BRANCH", default=BRANCH,
                        help="name of the new branch (default: %(default)s)")
    parser.add_argument("--line", metavar="LINE", type=known_line,
                        help="which CPython it is, for a tree that does not "
                        "tell")
    # For tests: a series other than patches/.
    parser.add_argument("--patches", metavar="DIR", help=argparse.SUPPRESS)


def run(args):
    need_program("git")
    patches = series.load(args.upto, folder=args.patches,
                          without=args.without)
    tree = Tree(args.dir, args.line)
    if tree.newer:
        say(f"{tree.top} is {tree.text}, newer than {tree.line}: trying the "
            f"patches for {tree.line}")
    if tree.checkout:
        done = _to_checkout(tree, patches, args)
    else:
        done = _in_place(tree, patches, args)
    print(done)
    if tree.left_out:
        print(f"left out, as the tree has no such part: "
              f"{', '.join(tree.left_out)}")
    return 0


def _stack_up(stack, tree, patches):
    """Push what is not there yet; return the list of (Patch, commit id).

    Failure if nothing is left to be done.
    """
    patches = [patch for patch in patches if _concerns(stack, patch)]
    try:
        pushed, there = stack.push_missing(patches)
    except series.ApplyFailure as exc:
        raise _nothing_changed(exc) from exc
    if not pushed:
        raise Failure(f"already applied: {tree.top} has all of the series "
                      f"up to {patches[-1].name}; nothing to do")
    for patch in there:
        say(f"{patch.name}: already in the tree, skipped")
    return pushed


def _nothing_changed(failure):
    upto = ""
    if failure.pushed:
        patch, _ = failure.pushed[-1]
        upto = f" (what does apply: --upto {patch.name})"
    return Failure(f"{failure}; nothing was changed{upto}")


def _concerns(stack, patch):
    if stack.concerned(patch.files):
        return True
    say(f"{patch.name}: the tree has no place for it, skipped")
    return False


# A git checkout.

def _to_checkout(tree, patches, args):
    refuse_unready(tree.top)
    if call("check-ref-format", "--branch", args.branch).returncode:
        raise Failure(f"{args.branch} is no possible name for a branch; use "
                      f"another one: --branch NAME")
    committer = _committer(tree.top)
    start = series.commit_id(tree.top, "HEAD")
    with series.Stack(tree.top, start, tree.line, tree.excludes,
                      committer) as stack:
        pushed = _stack_up(stack, tree, patches)
    names = {f"{args.branch}-{patch.name}": commit
             for patch, commit in pushed} if args.branches else {
                 args.branch: pushed[-1][1]}
    for name in names:
        _refuse_branch(tree.top, name)
    _refuse_obstacles(tree.top, start, pushed[-1][1])
    _create(tree.top, start, names)
    for name in names:
        # For refresh, which has to know where the series begins.
        git("config", f"branch.{name}.seriesBase", start, repo=tree.top)
    return _told(tree, names, pushed)


def _told(tree, names, pushed):
    commits = f"{len(pushed)} commit{'s' * (len(pushed) != 1)}"
    last = list(names)[-1]
    if len(names) == 1:
        return f"{tree.top}: branch {last}, {commits} on {tree.text}"
    listed = "\n".join(f"  {name}" for name in names)
    return (f"{tree.top}: {commits} on {tree.text}, the last checked out, in "
            f"the branches\n{listed}")


def refuse_unready(top):
    """Raise Failure unless the checkout has a commit and no loose ends."""
    if series.commit_id(top, "HEAD") is None:
        raise Failure(f"{top} has no commit to start from; commit the tree "
                      f"first")
    for name, what in _UNFINISHED.items():
        path = git_line("rev-parse", "--git-path", name, repo=top)
        if (top / path).exists():
            raise Failure(f"{what} is in progress in {top}; finish or abort "
                          f"it first")
    changed = git("status", "--porcelain=v1", "-z", "--untracked-files=no",
                  "--ignore-submodules=all", repo=top, our_tree=False)
    if changed:
        first = os.fsdecode(changed.split(b"\0")[0][3:])
        raise Failure(f"{top} has changes that are not committed ({first}); "
                      f"commit or stash them first")


def _refuse_branch(top, branch):
    if series.commit_id(top, f"refs/heads/{branch}"):
        raise Failure(f"the branch {branch} exists already in {top}; delete "
                      f"it, or use another name: --branch NAME")


def _refuse_obstacles(top, start, end):
    """A file that git does not track must not be written over.

    git itself would refuse only for those that it does not ignore.
    """
    for path in _paths(top, start, end, "A"):
        if os.path.lexists(path):
            raise Failure(f"{path} is in the way: the series adds that file, "
                          f"and git does not track it; move it away")


def _paths(top, start, end, kind):
    """Return what was added ("A"), or anything but that ("a"), as Paths."""
    told = git("diff-tree", "-r", "-z", "--name-only", "--no-renames",
               f"--diff-filter={kind}", start, end, repo=top)
    return [top / os.fsdecode(name) for name in told.split(b"\0") if name]


def _committer(top):
    """Return the variables that name who commits: the user if he can be.

    A user without user.name gets a fixed name; the authors are the patches'.
    """
    told = {name: os.environ[name] for name in COMMITTER
            if os.environ.get(name)}
    for name, key in zip(COMMITTER, ("user.name", "user.email")):
        done = call("config", key, repo=top)
        if name not in told and done.returncode == 0:
            told[name] = os.fsdecode(done.stdout).rstrip("\n")
    if len(told) == len(COMMITTER) and all(told.values()):
        return told
    say("git has no user.name and user.email: the committer is "
        "\"series <series@localhost>\"")
    return dict(COMMITTER)


def _create(top, start, names):
    """Make the branches, check out the last; none of it if that fails.

    Not by "checkout -b", which changes the files before it finds that a
    branch cannot be made.
    """
    create, delete = (
        "".join(f"{verb} refs/heads/{name}\0{commit}\0"
                for name, commit in names.items()).encode()
        for verb in ("create", "delete"))
    with uninterrupted():
        git("update-ref", "--stdin", "-z", repo=top, stdin=create)
        done = call("checkout", "--quiet", "--no-guess", list(names)[-1],
                    "--", repo=top, our_tree=False)
        if done.returncode:
            told = _put_back(top, start, list(names.values())[-1])
            git("update-ref", "--stdin", "-z", repo=top, stdin=delete)
            raise Failure(f"{top}: git could not check out the new branch: "
                          f"{complaint(done)}; {told}")


def _put_back(top, start, end):
    """Undo what git did to files before it gave up; return what to say.

    The index is as it was, and there was nothing of the user's in the way.
    """
    for path in _paths(top, start, end, "A"):
        with contextlib.suppress(OSError):
            path.unlink()
            remove_empty(path.parent)
    kept = [path.relative_to(top) for path in _paths(top, start, end, "a")]
    done = call("checkout-index", "--force", "-z", "--stdin", repo=top,
                our_tree=False,
                stdin=b"".join(os.fsencode(path) + b"\0" for path in kept))
    if done.returncode == 0:
        return "nothing was changed"
    return f"see to that, then put all back: git -C {top} reset --hard"


# Any other tree, in place.

def _in_place(tree, patches, args):
    if args.branches or args.branch != BRANCH:
        raise Failure(f"{tree.top} is not a git checkout, so it cannot have "
                      f"branches; leave out --branches and --branch")
    with tree.shadow(patches) as repo:
        with series.Stack(repo, "base", tree.line,
                          tree.excludes) as stack:
            pushed = _stack_up(stack, tree, patches)
        changes = _changes(repo, stack.head)
    replace_files({tree.path(name): change
                   for name, change in changes.items()})
    return (f"{tree.top}: {len(pushed)} patch{'es' * (len(pushed) != 1)} "
            f"applied to {tree.text} in place, {len(changes)} files")


def _changes(repo, commit):
    """Return what *commit* changes, as replace_files() takes it."""
    told = git("diff-tree", "-r", "-z", "--no-renames", "base", commit,
               repo=repo).split(b"\0")
    changes = {}
    for info, path in zip(told[::2], told[1::2]):
        mode, blob = info.split()[1].decode(), info.split()[3].decode()
        content = git("cat-file", "blob", blob, repo=repo) if int(
            blob, 16) else None
        changes[os.fsdecode(path)] = (content, mode == "100755")
    return changes
