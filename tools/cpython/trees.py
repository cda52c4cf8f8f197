"""A CPython source tree or checkout: its version, and whose patches fit."""

import hashlib
import os
import re
from pathlib import Path

from tools import git
from tools.common import LINES, Failure, absent, say

OLDEST = (3, 13, 15)    # the first release the patches are written for

_VERSION = re.compile(r"#define\s+PY_(MAJOR|MINOR|MICRO)_VERSION\s+(\d+)")


class Tree:
    """A whole CPython source tree.

    Attributes: top (Path), checkout (whether that is the top of a git work
    tree), version (three numbers), text (the version for people), line
    (whose patches fit: "3.15"), newer (than that line).
    """

    def __init__(self, folder):
        path = Path(os.path.expanduser(folder))
        if not path.exists():
            raise Failure(f"{absent(path)}; name a CPython checkout or "
                          f"source tree")
        self.top = path.resolve()
        header = self.top / "Include" / "patchlevel.h"
        if not (header.is_file() and
                (self.top / "Lib" / "http" / "client.py").is_file()):
            raise Failure(f"{path} is not a CPython source tree: it has no "
                          f"Include/patchlevel.h or no Lib/http/client.py; "
                          f"name the top of one (unpack a tarball first)")
        self.checkout = _is_checkout(self.top)
        found = dict(_VERSION.findall(header.read_text("utf-8")))
        self.version = tuple(int(found[part])
                             for part in ("MAJOR", "MINOR", "MICRO"))
        self.text = dotted(self.version)
        if self.version < OLDEST:
            raise Failure(f"{path} is CPython {self.text}; the series needs "
                          f"{dotted(OLDEST)} or newer")
        self.line, self.newer = line_of(self.version)

    def shadow(self, patches):
        """Give a temporary repository with the files *patches* touch.

        Its commit tagged base has them as the tree has them.
        """
        paths = {path for patch in patches for path in patch.files}
        return git.repository_of({
            path: (self.top / path).read_bytes() for path in sorted(paths)
            if (self.top / path).is_file()})

    @property
    def slug(self):
        """A name for a folder, as good as unique."""
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", self.top.name).strip("-.")
        digest = hashlib.sha256(os.fsencode(self.top)).hexdigest()[:8]
        return f"from-{plain or 'tree'}-{digest}"

    def describe(self):
        """Return what it is, for people: with the commit of a checkout."""
        head = git.commit_id(self.top, "HEAD") if self.checkout else None
        return (f"the checkout {self.top} at {head[:10]}" if head else
                f"the source tree {self.top}")

    def see_line(self, line):
        """Fail if the tree is not of *line*; None is any line."""
        if self.newer:
            say(f"{self.top} is CPython {self.text}, newer than {self.line}: "
                f"trying the patches for {self.line}")
        if line not in (None, self.line):
            raise Failure(f"{self.top} is CPython {self.text}, not {line}; "
                          f"leave out {line}, or name another tree")


def dotted(version):
    """Return a version for people: "3.15.2"."""
    return ".".join(map(str, version))


def line_of(version):
    """Return (line whose patches fit, whether the version is newer)."""
    line = dotted(version[:2])
    return (line, False) if line in LINES else (LINES[-1], True)


def _is_checkout(top):
    done = git.call("rev-parse", "--show-toplevel", repo=top)
    if done.returncode == 0:
        # Not if it is unpacked somewhere in another project's work tree.
        return Path(os.fsdecode(done.stdout).rstrip("\n")).resolve() == top
    if b"not a git repository" in done.stderr or (
            b"must be run in a work tree" in done.stderr):
        return False
    # Such as a checkout that belongs to another user: not to be changed
    # behind git's back.
    raise Failure(f"git cannot read {top}: {git.complaint(done)}")
