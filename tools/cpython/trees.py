"""What kind of CPython tree a folder is, and what of the series fits it."""

import contextlib
import os
import re
import tempfile
from pathlib import Path

from tools.common import LINES, Failure, absent
from tools.git import COMMITTER, call, git

OLDEST = (3, 13, 15)    # the first release the patches are written for

_VERSION = re.compile(r"#define\s+PY_(MAJOR|MINOR|MICRO)_VERSION\s+(\d+)")

# What a tree has to have for a part of the series to be of use in it.
_PARTS = (
    ("Doc", "Doc/*", "Doc/library/http.client.rst"),
    ("Misc", "Misc/*", "Misc"),
    ("Lib/test", "Lib/test/*", "Lib/test/test_httplib.py"),
)


class Tree:
    """A CPython source tree, or a standard library alone.

    Attributes: top (Path; for a checkout, of the work tree), prefix ("Lib/"
    usually; "" if top is the standard library's own folder), checkout
    (whether top is the top of a git work tree), version (a tuple, shorter
    where the tree does not tell more), line (whose patches fit: "3.15"),
    newer (whether the tree is newer than that line), left_out (parts of the
    series that the tree has no place for, as "Doc"), excludes (the same as
    patterns for git apply).
    """

    def __init__(self, folder, line=None):
        self.top = _folder(folder)
        self.checkout = _is_checkout(self.top)
        self.prefix = self._find_library()
        self.version = _version(self.top, self.prefix)
        self.line, self.newer = _line(self.top, self.version, line)
        missing = [part for part in _PARTS if not self._has(part[2])]
        self.left_out = [name for name, _, _ in missing]
        self.excludes = tuple(pattern for _, pattern, _ in missing)

    @property
    def text(self):
        """The version for people: "3.15.2"."""
        if not self.version:
            return self.line
        return ".".join(map(str, self.version))

    def path(self, name):
        """Return where the tree has what the series calls *name*."""
        if not self.prefix and name.startswith("Lib/"):
            name = name[len("Lib/"):]
        return self.top / name

    @contextlib.contextmanager
    def shadow(self, patches):
        """Give a temporary repository with the files *patches* touch.

        Its commit tagged base has them as the tree has them, under the
        names that the series uses.
        """
        paths = {path for patch in patches for path in patch.files}
        with tempfile.TemporaryDirectory(prefix="series-") as scratch:
            scratch = Path(scratch)
            git("init", "--quiet", "--template=", scratch)
            for name in sorted(paths):
                if os.path.lexists(self.path(name)):
                    _copy(self.path(name), scratch / name)
            git("add", "--all", "--force", ".", repo=scratch)
            author = {"GIT_AUTHOR_NAME": "series",
                      "GIT_AUTHOR_EMAIL": "series@localhost"}
            git("commit", "--quiet", "--allow-empty", "--no-verify", "-m",
                "base", repo=scratch, env={**COMMITTER, **author})
            git("tag", "base", repo=scratch)
            yield scratch

    def _find_library(self):
        for prefix in ("Lib/", ""):
            if _is_library(self.top / prefix):
                return prefix
        raise Failure(f"{self.top} is not a CPython tree: it has no "
                      f"Lib/http/client.py of CPython's; name a checkout, a "
                      f"source tree or a standard library's folder")

    def _has(self, name):
        if not self.prefix and not name.startswith("Lib/"):
            return False
        return self.path(name).exists()


def _is_library(folder):
    # Other projects have an http/client.py, too.
    client = folder / "http" / "client.py"
    return client.is_file() and b"\nclass HTTPConnection" in (
        client.read_bytes())


def _folder(folder):
    path = Path(os.path.expanduser(folder))
    if not path.exists():
        raise Failure(f"{absent(path)}; name a CPython checkout, source "
                      f"tree or standard library's folder")
    if not path.is_dir():
        raise Failure(f"{folder} is not a folder; unpack it first and name "
                      f"the folder")
    return path.resolve()


def _copy(source, target):
    if not source.is_file():
        raise Failure(f"{source} is in the way: the series has a file of "
                      f"that name; move it away")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _is_checkout(top):
    inside = _toplevel(top)
    if inside is None or inside == top:
        return inside is not None
    if _is_library(inside / "Lib") and (
            inside / "Include" / "patchlevel.h").is_file():
        raise Failure(f"{top} is inside the checkout {inside}; name that")
    return False


def _toplevel(folder):
    done = call("rev-parse", "--show-toplevel", repo=folder)
    if done.returncode == 0:
        return Path(os.fsdecode(done.stdout).rstrip("\n")).resolve()
    if b"not a git repository" in done.stderr or (
            b"must be run in a work tree" in done.stderr):
        return None
    # Such as a checkout that belongs to another user: not to be changed
    # behind git's back.
    said = os.fsdecode(done.stderr).strip().splitlines() or ["no reason"]
    raise Failure(f"git cannot read {folder}: {said[0]}")


def _version(top, prefix):
    """Return the version as a tuple of numbers, () if the tree is silent."""
    headers = [top / "Include" / "patchlevel.h"] if prefix else []
    headers += (top.parent.parent / "include" / top.name).glob("patchlevel.h")
    for header in headers:
        if header.is_file():
            found = dict(_VERSION.findall(header.read_text("utf-8")))
            return tuple(int(found[part])
                         for part in ("MAJOR", "MINOR", "MICRO"))
    named = re.fullmatch(r"python(\d)\.(\d+)t?", top.name)
    if named:
        return tuple(map(int, named.groups()))
    for data in sorted((top / prefix).glob("_sysconfigdata*.py")):
        found = re.search(r"'VERSION': '(\d+)\.(\d+)'",
                          data.read_text("utf-8"))
        if found:
            return tuple(map(int, found.groups()))
    return ()


def _line(top, version, wanted):
    """Return (line, whether the tree is newer than that line)."""
    if not version:
        if wanted:
            return wanted, False
        raise Failure(f"{top} does not tell which CPython it is: it has no "
                      f"Include/patchlevel.h; for ./series apply, name the "
                      f"line: --line {LINES[-1]}")
    told = ".".join(map(str, version))
    if version < OLDEST[:len(version)]:
        oldest = ".".join(map(str, OLDEST))
        raise Failure(f"{top} is CPython {told}; the series needs {oldest} "
                      f"or newer")
    line = "%d.%d" % version[:2]
    newer = line not in LINES
    if newer:
        line = LINES[-1]
    if wanted not in (None, line):
        raise Failure(f"{top} is CPython {told}, not {wanted}; leave out "
                      f"--line {wanted}")
    return line, newer
