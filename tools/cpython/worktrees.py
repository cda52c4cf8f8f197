"""Repositories with a stock tree at the tag base, and their work trees."""

import glob
import os
from pathlib import Path

from tools import git
from tools.places import remove

# What a work tree has beside what git tracks.
_EXCLUDE = """\
/usr/
/obj/
/obj-debug/
/Lib/lib-dynload
/Lib/config-*
__pycache__/
*.pyc
"""


def commit_base(repo, tree, message, force=False, exclude=""):
    """Make *tree* the only commit of *repo*, tagged base.

    force: take all files; else what *exclude* and .gitignore files do not
    name.  *tree* is only read.
    """
    (repo / "info").mkdir(exist_ok=True)
    (repo / "info" / "exclude").write_text(_EXCLUDE + exclude)
    # The user's own list of files that git is to ignore is not for us.
    git.git("config", "core.excludesFile", os.devnull, repo=repo)
    # An index kept from the last time saves reading unchanged files again.
    (repo / "index.lock").unlink(missing_ok=True)     # of a killed git
    env = {"GIT_DIR": str(repo), "GIT_WORK_TREE": str(tree)}
    git.git("add", "--all", *(["--force"] if force else []), ".",
            repo=tree, env=env)
    made = git.line("write-tree", repo=tree, env=env)
    commit = git.line("commit-tree", "-m", message, made, repo=repo,
                      env=git.NOBODY)
    git.git("update-ref", "refs/tags/base", commit, repo=repo)


def belongs(tree, repo):
    """Return whether *tree* is a work tree of this *repo*.

    It may be another checkout's, if this one was copied or moved.
    """
    try:
        told = (tree / ".git").read_text("utf-8")
    except OSError:
        return False
    inside = repo / ".git" if (repo / ".git").is_dir() else repo
    own = Path(told.partition("gitdir: ")[2].rstrip("\n"))
    return (own.is_dir()
            and own.parent.resolve() == inside.resolve() / "worktrees")


def move(repo, tree, commit):
    """Make *tree* a work tree of *repo* that is exactly at *commit*."""
    if not belongs(tree, repo):
        remove(tree)
        git.git("worktree", "prune", repo=repo)
        git.git("worktree", "add", "--quiet", "--force", "--detach", tree,
                commit, repo=repo)
        return
    # One that was killed left it; nobody else is here now.
    own = Path(git.line("rev-parse", "--absolute-git-dir", repo=tree))
    (own / "index.lock").unlink(missing_ok=True)
    changed = git.git("diff", "--name-only", "-z", commit, "--", repo=tree)
    if not changed and git.commit_id(tree, "HEAD") == commit:
        return
    git.git("reset", "--quiet", "--hard", commit, repo=tree)
    for name in filter(None, changed.split(b"\0")):
        # Bytecode counts as current if second and size of its source agree,
        # which two states of a file can, moved quickly.
        source = tree / os.fsdecode(name)
        for path in (source.parent / "__pycache__").glob(
                glob.escape(source.stem) + ".*.pyc"):
            path.unlink(missing_ok=True)
