"""A CPython whose standard library can be changed, and a series for it.

It is the Python that runs the tests: its program copied, its library linked
entry by entry, but for one package, of which there are real copies.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import faketree
from tools.places import hard_link

NAME = "python%d.%d" % sys.version_info[:2]
STDLIB = Path(os.__file__).resolve().parent
# What the first patch changes.
MARK = "\n__all__ = [", "\nPATCHED = True\n__all__ = ["


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
        hard_link(Path(sys.executable).resolve(), self.python)
        self.client = self.library / "http" / "client.py"

    def works(self):
        """Return whether it starts, from its own library."""
        done = subprocess.run(
            [self.python, "-IB", "-c", "import os, venv; print(os.__file__)"],
            capture_output=True, text=True)
        return done.stdout.strip() == str(self.library / "os.py")


def write_series(top):
    """Write a series of three patches for the http package into top/series.

    The first changes http/client.py at its top and a test; the second its
    end, and adds http/_probe.py; the third only adds a document.
    """
    repo, client = top / "repo", "Lib/http/client.py"
    faketree.write(repo, client, (STDLIB / "http" / "client.py").read_text(
        "utf-8"))
    faketree.write(repo, "Lib/test/test_httplib.py", faketree.TEST)
    faketree.git(repo, "init", "--quiet", "--initial-branch=main")
    faketree.commit(repo, "base")
    faketree.git(repo, "tag", "base")
    faketree.edit(repo, client, *MARK)
    faketree.edit(repo, "Lib/test/test_httplib.py", "BasicTest", "OtherTest")
    faketree.commit(repo, "gh-1: Mark")
    with open(repo / client, "a") as file:
        file.write("\nfrom http import _probe\n")
    faketree.write(repo, "Lib/http/_probe.py", "SEEN = 'probe'\n")
    faketree.commit(repo, "gh-2: Probe")
    faketree.write(repo, "Doc/howto.rst", "How\n===\n")
    faketree.commit(repo, "gh-3: Tell")
    faketree.write_series(repo, top / "series")
    return top / "series"
