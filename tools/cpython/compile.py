"""configure and make, out of tree, with a log.

A work tree of CPython's source gets a folder with the objects in it, and
the interpreter there uses the work tree's Lib/.  As configure is called by
a relative path, a copy of that folder in another work tree uses that one's.
"""

import hashlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from tools import git
from tools.common import Failure, say

# What compiling needs, for a message that can be pasted; without the later
# ones a CPython builds, but lacks modules.
NEEDED = ("install what compiling needs: apt-get install gcc make libssl-dev "
          "zlib1g-dev libbz2-dev libffi-dev liblzma-dev libsqlite3-dev "
          "libreadline-dev")

# Parts of the source that the series changes and no object depends on.
_NOT_COMPILED = ("Lib", "Doc", "Misc")

# What an interpreter does not need to run: left out of a copy.
_INTERMEDIATE = shutil.ignore_patterns("*.o", "*.a", "*.gcda", "__pycache__",
                                       "series.key")


class Objects:
    """The compiled side of one work tree.

    tree: the work tree; arguments: for configure; name: of the folder for
    the objects.
    """

    def __init__(self, tree, arguments, name):
        self.tree = Path(tree)
        self.folder = self.tree / name
        self.arguments = arguments
        self.log = self.tree.parent / f"{self.tree.name}-{name}.log"
        # Written last: the key of the objects, which are whole then.
        self.stamp = self.folder / "series.key"
        # What they depend on; others are no good if it differs.
        listed = git.git("ls-tree", "HEAD", repo=self.tree).splitlines()
        parts = [line for line in listed if os.fsdecode(
            line.split(b"\t", 1)[1]) not in _NOT_COMPILED]
        # Modules and scripts name the folder above.
        parts.append(repr((arguments, str(self.tree.parent))).encode())
        self.key = hashlib.sha256(b"\n".join(parts)).hexdigest()

    @property
    def python(self):
        # On macOS it has another name, as Python/ is the same there.
        found = self.folder / "python.exe"
        return found if found.exists() else self.folder / "python"

    def current(self):
        """Return whether the objects are there and of this source."""
        return (self.stamp.is_file() and self.stamp.read_text() == self.key
                and self.python.exists())

    def copy_from(self, other):
        """Take over the runtime part of another tree's Objects."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(other.folder, self.folder, symlinks=True,
                        ignore=_INTERMEDIATE)
        self.stamp.write_text(self.key)

    def build(self):
        """Compile; Failure names the log."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.log.write_bytes(b"")
        self._stage("configure", "../configure", *self.arguments)
        self._stage("make", "make", f"-j{os.cpu_count() or 1}")
        self.stamp.write_text(self.key)

    def _stage(self, title, *argv):
        """Run one stage, with its output in the log."""
        start = time.monotonic()
        say(f"{title}: its output goes to {self.log}")
        # Else the version would tell about our commits as if they were
        # CPython's.
        env = {**os.environ, "LC_ALL": "C", "HAS_GIT": "not-found"}
        with open(self.log, "ab") as log:
            try:
                done = subprocess.run(argv, cwd=self.folder, env=env,
                                      stdin=subprocess.DEVNULL, stdout=log,
                                      stderr=subprocess.STDOUT)
            except FileNotFoundError as exc:
                raise Failure(f"{argv[0]} is not there; {NEEDED}") from exc
        took = f"{time.monotonic() - start:.0f} s"
        if done.returncode:
            raise Failure(f"{title} failed after {took}: {self._why()}; the "
                          f"log is {self.log}; {NEEDED}")
        say(f"{title}: done in {took}")

    def _why(self):
        """Return the line of the log that tells most."""
        lines = [line.strip() for line in self.log.read_text(
            "utf-8", "replace").splitlines() if line.strip()]
        for line in lines:
            if re.search(r"(^|\s)([Ee]rror|fatal)\b.*:|No space left", line):
                return line
        return lines[-1] if lines else "it said nothing"
