"""Whole CPython source trees: from Debian's archive, or named by the user."""

import hashlib
import os
import re
import tempfile
from pathlib import Path

from tools import git
from tools.common import Failure, cache_dir, need_program, run, say
from tools.cpython import download
from tools.cpython.download import Unavailable
from tools.cpython.trees import OLDEST, Tree


def fetch(line, folder):
    """Put the newest source of *line* that can be had into *folder*.

    *folder* must not exist.  Returns (version, origin for people).  Raises
    Unavailable if there is none.
    """
    package = f"python{line}"
    try:
        with download.using_cache():
            suite, version = download.newest(package, OLDEST, "deb-src")
            tarball = suite.fetch_source(cache_dir() / "sources" / package,
                                         package, version)
            say(f"unpacking the source of CPython {version}")
            _unpack(tarball, folder)
    except Unavailable as exc:
        raise Unavailable(
            f"the source of CPython {line} cannot be had ({exc.what})",
            "name a source tree or checkout: --from DIR") from exc
    return version, f"source package {version} of {suite}"


def _unpack(tarball, folder):
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        top = Path(scratch) / "top"
        top.mkdir()
        run([need_program("tar"), "--extract", "--file", tarball,
             "--strip-components=1", "--no-same-owner",
             f"--directory={top}"])
        top.rename(folder)


class Named:
    """A folder with CPython's source that the user named; only read.

    Attributes: path (absolute), tree (its Tree).
    """

    def __init__(self, where):
        self.tree = Tree(where)
        self.path = self.tree.top

    @property
    def slug(self):
        """A name for a folder, as good as unique."""
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", self.path.name).strip("-.")
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:8]
        return f"from-{plain or 'tree'}-{digest}"

    def describe(self):
        """Return what it is, for people: with the commit of a checkout."""
        head = git.call("rev-parse", "--short=10", "HEAD", repo=self.path)
        if head.returncode or not (self.path / ".git").exists():
            return f"the source tree {self.path}"
        return f"the checkout {self.path} at {head.stdout.decode().strip()}"

    def see_line(self, line):
        """Fail if the tree is not of *line*; None is any line."""
        tree = self.tree
        if tree.newer:
            say(f"CPython {tree.text} is newer than what the series is "
                f"tested with; taking it as {tree.line}")
        if line not in (None, tree.line):
            raise Failure(f"{self.path} is CPython {tree.text}, not {line}; "
                          f"leave the line away or name another tree")
