"""A CPython whose standard library can be changed, and a series for it.

It is the Python that runs the tests: its program copied, its library linked
entry by entry, but for one package, of which there are real copies.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import faketree
from tools.places import copy

NAME = "python%d.%d" % sys.version_info[:2]
STDLIB = Path(os.__file__).resolve().parent
MARK = "PATCHED = True\n"


class Base:
    """Attributes: top, python, library (Paths), client (http/client.py)."""

    def __init__(self, top):
        self.top = Path(top)
        self.library = self.top / "lib" / NAME
        self.library.mkdir(parents=True)
        for entry in STDLIB.iterdir():
            if entry.name not in ("http", "site-packages", "__pycache__"):
                (self.library / entry.name).symlink_to(entry)
        shutil.copytree(STDLIB / "http", self.library / "http",
                        ignore=shutil.ignore_patterns("__pycache__"))
        self.python = self.top / "bin" / NAME
        self.python.parent.mkdir()
        copy(Path(sys.executable).resolve(), self.python)
        self.client = self.library / "http" / "client.py"

    def works(self):
        """Return whether it starts, from its own library."""
        done = subprocess.run(
            [self.python, "-IB", "-c", "import os, venv; print(os.__file__)"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.stdout.strip() == str(self.library / "os.py")


def usable():
    """Return whether the running Python can be copied as Base does."""
    return (sys.implementation.name == "cpython" and os.name == "posix"
            and not sysconfig.is_python_build())


def write_series(top):
    """Write a series of three patches for the http package into top/series.

    The first changes http/client.py at its top and a test; the second its
    end, and adds http/_probe.py; the third only adds a document.
    """
    repo = top / "repo"
    client = (STDLIB / "http" / "client.py").read_text("utf-8")
    faketree.write(repo, "Lib/http/client.py", client)
    faketree.write(repo, "Lib/test/test_httplib.py", faketree.TEST)
    faketree.git(repo, "init", "--quiet", "--initial-branch=main")
    faketree.commit(repo, "base")
    faketree.git(repo, "tag", "base")
    first, rest = client.split("\nimport ", 1)
    faketree.write(repo, "Lib/http/client.py",
                   f"{first}\n{MARK}import {rest}")
    faketree.edit(repo, "Lib/test/test_httplib.py", "    def test_close",
                  "    def test_mark(self):\n        pass\n\n"
                  "    def test_close")
    faketree.commit(repo, "gh-1: Mark")
    faketree.write(repo, "Lib/http/client.py",
                   f"{first}\n{MARK}import {rest}\nfrom http import _probe\n")
    faketree.write(repo, "Lib/http/_probe.py", "SEEN = 'probe'\n")
    faketree.commit(repo, "gh-2: Probe")
    faketree.write(repo, "Doc/howto.rst", "How\n===\n")
    faketree.commit(repo, "gh-3: Tell")
    faketree.write_series(repo, top / "series")
    return top / "series"
