"""The tiny CPython of tests/tree, and its series of tests/series."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TREE = ROOT / "tests" / "tree"
TEST = (TREE / "Lib/test/test_httplib.py").read_text()

SERIES = ROOT / "tests" / "series"
NAMES = ("skip-interim", "probe", "probe-everywhere")

USER = ("-c", "user.name=Ada Example", "-c", "user.email=ada@example.org")


def environment(**extra):
    """The environment for a git whose configuration is nobody's."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("GIT_")}
    return {**env, "GIT_CONFIG_GLOBAL": os.devnull, "HOME": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1", **extra}


def git(repo, *args, **extra):
    """Run a plain git in *repo*; return its output as text."""
    return subprocess.run(
        ["git", "-C", str(repo), *USER, *map(str, args)], check=True,
        env=environment(**extra), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def write(top, name, text):
    path = Path(top) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def edit(top, name, old, new):
    text = (Path(top) / name).read_text("utf-8")
    assert text.count(old) == 1, (name, old)
    write(top, name, text.replace(old, new))


def commit(repo, message, *, tag=None, date="2026-01-02T03:04:05+00:00"):
    """Commit everything that changed, and tag it; return its id."""
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "-m", message,
        GIT_AUTHOR_DATE=date, GIT_COMMITTER_DATE=date)
    if tag:
        git(repo, "tag", "--force", tag)
    return git(repo, "rev-parse", "HEAD").strip()


def change(repo, name, old, new, *, tag=None):
    """Edit one file and commit it."""
    edit(repo, name, old, new)
    commit(repo, f"changed {name}", tag=tag)


def set_version(top, *version):
    write(top, "Include/patchlevel.h", "".join(
        f"#define PY_{part}_VERSION {number}\n" for part, number
        in zip(("MAJOR", "MINOR", "MICRO"), version)))


def plain_tree(top, version=(3, 13, 15), *, docs=True):
    """Write the tree; without *docs*, as binary packages have it."""
    for name in ("Lib", "Doc", "Misc") if docs else ("Lib",):
        shutil.copytree(TREE / name, top / name,
                        copy_function=shutil.copyfile, dirs_exist_ok=True)
    if docs:
        set_version(top, *version)
    return top


def checkout(top, version=(3, 13, 15), *, docs=True):
    """Make the tree a git repository with the tag base."""
    plain_tree(top, version, docs=docs)
    git(top, "init", "--quiet", "--initial-branch=main")
    commit(top, "base", tag="base")
    return top


def commit_series(repo, *names):
    """Commit the patches of the fake series, or those named, in *repo*."""
    git(repo, "am", "--quiet", "--committer-date-is-author-date",
        *(SERIES / f"{name}.patch" for name in names or NAMES))


def write_series(repo, folder, names=NAMES):
    """Write the commits after base as patches, with the list of *names*."""
    ids = git(repo, "rev-list", "--reverse", "base..HEAD").split()
    for name, one in zip(names, ids):
        write(folder, f"{name}.patch", git(
            repo, "format-patch", "--stdout", "-1", "--no-signature",
            "--zero-commit", "--full-index", one))
    write(folder, "series", "".join(f"{name}.patch\n" for name in names))


def project(top, patches):
    """Write a project of its own: this command line, another series."""
    for room in "tools", "demo", "bench":
        shutil.copytree(ROOT / room, top / room,
                        ignore=shutil.ignore_patterns("__pycache__",
                                                      "results"))
    shutil.copy(ROOT / "series", top / "series")
    shutil.copytree(patches, top / "patches")
    return top


def snapshot(top):
    """Return everything that is in a folder, to compare it later."""
    return {str(path.relative_to(top)):
            (path.read_bytes(), path.stat().st_mode)
            for path in sorted(Path(top).rglob("*"))
            if ".git" not in path.relative_to(top).parts[:1]
            and path.is_file()}


def series(project, *args, cwd=None, **extra):
    """Run ./series of a project; return CompletedProcess with text."""
    return subprocess.run(
        [sys.executable, str(project / "series"), *map(str, args)],
        cwd=cwd, env=environment(**extra), stdin=subprocess.DEVNULL,
        capture_output=True, text=True)
