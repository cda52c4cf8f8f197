"""configure, make and make install, out of tree, with a log.

A work tree of CPython's source gets a folder with the objects in it, and
the interpreter there uses the work tree's Lib/.  As configure is called by
a relative path, a copy of that folder in another work tree uses that one's.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools import git
from tools.common import Failure, say

# What compiling needs, for a message that can be pasted; without the later
# ones a CPython builds, but lacks modules.
PACKAGES = ("gcc", "make", "libssl-dev", "zlib1g-dev", "libbz2-dev",
            "libffi-dev", "liblzma-dev", "libsqlite3-dev",
            "libreadline-dev")
NEEDED = f"install what compiling needs: apt-get install {' '.join(PACKAGES)}"

# Parts of the source that the series changes and no object depends on.
_NOT_COMPILED = ("Lib", "Doc", "Misc")

# What of the objects' folder an interpreter and its tests use.
_RUNTIME = ("python", "python.exe", "python-config*", "pybuilddir.txt",
            "build/lib*", "Makefile", "pyconfig.h", "Modules/*.so",
            "Modules/Setup*", "lib*.so*")


class Objects:
    """The compiled side of one work tree.

    tree: the work tree; commit: what it is at; arguments: for configure;
    name: of the folder for the objects.
    """

    def __init__(self, tree, commit, arguments=(), name="obj"):
        self.tree = Path(tree)
        self.folder = self.tree / name
        self.arguments = tuple(arguments)
        self.log = self.tree.parent / f"{self.tree.name}-{name}.log"
        self.key = self._key(commit)

    def _key(self, commit):
        """What the objects depend on; others are no good if it differs."""
        listed = git.git("ls-tree", commit, repo=self.tree).splitlines()
        parts = [line for line in listed if os.fsdecode(
            line.split(b"\t", 1)[1]) not in _NOT_COMPILED]
        state = hashlib.sha256(b"\n".join(parts))
        # Modules and scripts name the folder above.
        state.update(repr((self.arguments, str(self.tree.parent))).encode())
        return state.hexdigest()

    @property
    def python(self):
        return self.folder / "python"

    @property
    def stamp(self):
        return self.folder / "series.json"

    def told(self):
        """Return what the stamp says, {} if there are no whole objects."""
        try:
            return json.loads(self.stamp.read_text("utf-8"))
        except (OSError, ValueError):
            return {}

    def current(self):
        """Return whether the objects are there and of this source."""
        return self.told().get("key") == self.key and self.python.exists()

    def copy_from(self, other):
        """Take over the runtime part of another tree's Objects."""
        fresh = self.folder.with_name(f".{self.folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        for pattern in _RUNTIME:
            for path in other.folder.glob(pattern):
                target = fresh / path.relative_to(other.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    shutil.copytree(path, target, symlinks=True)
                else:
                    shutil.copy2(path, target, follow_symlinks=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        fresh.rename(self.folder)
        self._write_stamp(whole=False)

    def build(self):
        """Compile, as far as it is needed; Failure names the log."""
        program = missing()
        if program:
            raise Failure(f"{program} is not installed; {NEEDED}")
        told = self.told()
        self.stamp.unlink(missing_ok=True)
        if (not told.get("whole")
                or told.get("arguments") != list(self.arguments)):
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(exist_ok=True)
        self.log.write_bytes(b"")
        if not (self.folder / "Makefile").exists():
            self._stage("configure", "../configure", *self.arguments)
        try:
            self._stage("make", "make", f"-j{processors()}")
        except Failure:
            # make has ended by itself, so what is there is good: the next
            # run goes on with it.  An interrupted one starts anew.
            self._write_stamp(whole=True, key="")
            raise
        self._write_stamp(whole=True)

    def install(self):
        """Run make install; return the path of the installed interpreter."""
        if not self.told().get("whole"):
            self.build()
        self._stage("make install", "make", "install")
        told = subprocess.run(
            ["make", "--no-print-directory", "-s", "-f", "-", "show"],
            cwd=self.folder, text=True, capture_output=True,
            input=(
                "include Makefile\nshow: ;\n"
                "$(info $(BINDIR)/python$(LDVERSION)$(EXE))\n"))
        path = Path(told.stdout.strip())
        if told.returncode or not path.is_file():
            raise Failure(f"make install left no interpreter at {path}; see "
                          f"{self.log}")
        return path

    def _write_stamp(self, whole, key=None):
        self.stamp.write_text(json.dumps({
            "key": self.key if key is None else key,
            "arguments": self.arguments, "whole": whole}))

    def _stage(self, title, *argv):
        """Run one stage, with its output in the log."""
        start = time.monotonic()
        say(f"{title}: its output goes to {self.log}")
        # Else the version would tell about our commits as if they were
        # CPython's.
        env = {**os.environ, "LC_ALL": "C", "HAS_GIT": "not-found"}
        with open(self.log, "ab") as log:
            process = subprocess.Popen(argv, cwd=self.folder, env=env,
                                       stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=subprocess.STDOUT)
            try:
                _watch(process, title, start)
            finally:
                if process.poll() is None:
                    process.terminate()     # make ends what it started
                process.wait()
        if process.returncode:
            raise Failure(f"{title} failed after {_since(start)}: "
                          f"{self._why()}; the log is {self.log}")
        say(f"{title}: done in {_since(start)}")

    def _why(self):
        """Return the line of the log that tells most."""
        lines = [line.strip() for line in self.log.read_text(
            "utf-8", "replace").splitlines() if line.strip()]
        for line in lines:
            if re.search(r"(^|\s)([Ee]rror|fatal)\b.*:|No space left", line):
                return line
        return lines[-1] if lines else "it said nothing"


def missing():
    """Return which program for compiling is not installed; None if none."""
    if not (os.environ.get("CC") or shutil.which("cc")
            or shutil.which("gcc")):
        return "cc"
    return None if shutil.which("make") else "make"


def processors():
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:      # not Linux
        return os.cpu_count() or 1


def _since(start):
    seconds = round(time.monotonic() - start)
    return f"{seconds // 60} min {seconds % 60} s" if seconds > 99 else (
        f"{seconds} s")


def _watch(process, title, start):
    if not sys.stderr.isatty():
        process.wait()
        return
    while True:
        try:
            process.wait(timeout=1)
            break
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"\r  {title}: {_since(start)} ")
            sys.stderr.flush()
    sys.stderr.write("\r\x1b[K")
