"""A tiny CPython-like tree, and a series of three patches for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CLIENT = '''\
"""A client."""

import socket


class HTTPResponse:

    def begin(self):
        version, status, reason = self._read_status()
        self.status = status
        self.reason = reason.strip()
        self.version = version

    def close(self):
        fp = self.fp
        self.fp = None
        fp.close()


class HTTPConnection:

    auto_open = 1

    def connect(self):
        self.sock = socket.create_connection((self.host, self.port))

    def close(self):
        sock = self.sock
        if sock:
            self.sock = None
            sock.close()

    def send(self, data):
        if self.sock is None:
            self.connect()
        self.sock.sendall(data)
'''

REQUEST = '''\
"""Requests."""

import http.client


def urlopen(url, data=None):
    opener = build_opener()
    return opener.open(url, data)


def build_opener(*handlers):
    opener = OpenerDirector()
    for handler in handlers:
        opener.add_handler(handler)
    return opener


class OpenerDirector:
    pass
'''

TEST = '''\
import unittest


class BasicTest(unittest.TestCase):

    def test_begin(self):
        self.assertTrue(True)

    def test_close(self):
        self.assertTrue(True)


if __name__ == "__main__":
    unittest.main()
'''

DOC = '''\
HTTP client
===========

.. method:: HTTPConnection.connect()

   Connect to the server.

.. method:: HTTPConnection.close()

   Close the connection to the server.

.. method:: HTTPConnection.send(data)

   Send data to the server.
'''

PATCHLEVEL = '''\
#define PY_MAJOR_VERSION        %d
#define PY_MINOR_VERSION        %d
#define PY_MICRO_VERSION        %d
'''

NAMES = ("skip-interim", "probe", "probe-everywhere")

AUTHOR = {
    "GIT_AUTHOR_NAME": "Ada Example", "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada Example",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


def environment(**extra):
    """The environment for a git whose configuration is nobody's."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("GIT_")}
    env.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull,
               GIT_CONFIG_NOSYSTEM="1", HOME=os.devnull)
    env.update(AUTHOR)
    env.update(extra)
    return env


def git(repo, *args, check=True, **extra):
    """Run a plain git in *repo*; return its output as text."""
    return subprocess.run(
        ["git", "-C", str(repo), *map(str, args)], check=check,
        env=environment(**extra), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def write(top, name, text):
    path = Path(top) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def edit(top, name, old, new):
    path = Path(top) / name
    text = path.read_bytes().decode()
    assert text.count(old) == 1, (name, old)
    path.write_bytes(text.replace(old, new).encode())


def commit(repo, message, *options, date="2026-01-02T03:04:05+00:00"):
    """Commit everything that changed; return the commit's id."""
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "-m", message, *options,
        GIT_AUTHOR_DATE=date, GIT_COMMITTER_DATE=date)
    return git(repo, "rev-parse", "HEAD").strip()


def plain_tree(top, version=(3, 13, 15), *, docs=True):
    """Write the tree; without *docs*, as binary packages have it."""
    write(top, "Lib/http/__init__.py", "")
    write(top, "Lib/http/client.py", CLIENT)
    write(top, "Lib/urllib/request.py", REQUEST)
    write(top, "Lib/test/test_httplib.py", TEST)
    if docs:
        write(top, "Include/patchlevel.h", PATCHLEVEL % version)
        write(top, "Doc/library/http.client.rst", DOC)
        write(top, "Misc/ACKS", "Everyone\n")
    return Path(top)


def checkout(top, version=(3, 13, 15), *, docs=True):
    """Make the tree a git repository with the tag base."""
    plain_tree(top, version, docs=docs)
    git(top, "init", "--quiet", "--initial-branch=main")
    commit(top, "base")
    git(top, "tag", "base")
    return Path(top)


def edit_interim(top):
    edit(top, "Lib/http/client.py", "        self.status = status\n",
         "        if status == 103:\n"
         "            return self.begin()\n"
         "        self.status = status\n")
    edit(top, "Lib/test/test_httplib.py", "    def test_close(self):\n",
         "    def test_interim(self):\n"
         "        self.assertTrue(True)\n\n"
         "    def test_close(self):\n")
    write(top, "Misc/NEWS.d/next/Library/2026-01-02.gh-issue-1.abc.rst",
          "Interim responses are skipped.\n")


def edit_probe(top):
    write(top, "Lib/http/_probe.py",
          '"""Look."""\n\n\ndef is_alive(sock):\n    return True\n')
    write(top, "Lib/test/test_http_probe.py", TEST)
    edit(top, "Lib/http/client.py", "        self.sock.sendall(data)\n",
         "        self.probe()\n        self.sock.sendall(data)\n")
    edit(top, "Doc/library/http.client.rst", "   Send data to the server.\n",
         "   Look, then send data to the server.\n")


def edit_everywhere(top):
    edit(top, "Lib/http/_probe.py", "    return True\n",
         "    return sock is not None\n")
    edit(top, "Lib/urllib/request.py", "    return opener.open(url, data)\n",
         "    return opener.open(url, data=data)\n")


EDITS = (
    (edit_interim, "gh-1: Skip interim responses\n\nOf every kind.  Naïve"),
    (edit_probe, "gh-2: Look before sending"),
    (edit_everywhere, "gh-3: Look everywhere\n\nIn two paragraphs.\n\nSo."),
)


def commit_series(repo):
    """Commit the three patches' changes in *repo*; return their ids."""
    ids = []
    for day, (change, message) in enumerate(EDITS, 1):
        change(repo)
        ids.append(commit(repo, message,
                          date=f"2026-02-0{day}T10:00:00+01:00"))
    return ids


def write_series(repo, folder):
    """Write the commits base..HEAD of *repo* as a series into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = git(repo, "rev-list", "--reverse", "base..HEAD").split()
    for name, one in zip(NAMES, ids):
        mail = git(repo, "format-patch", "--stdout", "-1", "--no-signature",
                   "--zero-commit", "--full-index", one)
        (folder / f"{name}.patch").write_bytes(mail.encode())
    write(folder, "series", "".join(f"{name}.patch\n" for name in NAMES))


def project(top, patches):
    """Write a project of its own: this command line, another series."""
    top.mkdir(parents=True)
    shutil.copy(ROOT / "series", top / "series")
    for room in "tools", "demo", "bench":
        shutil.copytree(ROOT / room, top / room,
                        ignore=shutil.ignore_patterns("__pycache__",
                                                      "results"))
    shutil.copytree(patches, top / "patches")
    return top


def snapshot(top):
    """Return everything that is in a folder, to compare it later."""
    found = {}
    for path in sorted(Path(top).rglob("*")):
        if ".git" in path.relative_to(top).parts[:1] or path.is_dir():
            continue
        found[str(path.relative_to(top))] = (
            path.read_bytes(), path.stat().st_mode)
    return found


def series(project, *args, cwd=None, **extra):
    """Run ./series of a project; return CompletedProcess with text."""
    env = {**environment(), **extra}
    for name in AUTHOR:
        env.pop(name, None)
    return subprocess.run(
        [sys.executable, str(project / "series"), *map(str, args)],
        cwd=cwd, env={**env, **extra}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True)
