"""Whole CPython source trees: from the archive, the public repository, or
a directory or tarball that the user names.
"""

import contextlib
import functools
import hashlib
import os
import re
import shutil
import socket
import tarfile
import tempfile
import threading
import urllib.request
from pathlib import Path

from tools import git
from tools.common import Failure, absent, say
from tools.cpython import download as archive
from tools.cpython.download import Unavailable
from tools.cpython.trees import OLDEST, Tree

PUBLIC = "https://github.com/python/cpython"
PROBE = 5       # seconds to find out whether PUBLIC can be reached


def fetch(line, folder):
    """Put the newest source of *line* that can be had into *folder*.

    *folder* must not exist.  Returns (version, origin for people).  Raises
    Unavailable if there is none.
    """
    try:
        return _from_archive(line, folder)
    except Unavailable as exc:
        say(str(exc))
        problem = exc
    try:
        return _from_public(line, folder)
    except Unavailable as exc:
        raise Unavailable(f"the source of CPython {line} cannot be had: "
                          f"{problem}; {exc}",
                          "name a source tree: --from DIR") from exc


def _from_archive(line, folder):
    package = f"python{line}"
    problem = None
    with archive.using_cache():
        for suite, version in archive.releases(package, "deb-src"):
            if archive.upstream(version) < OLDEST:
                break
            try:
                tarball = suite.download_source(package, version)
            except Unavailable as exc:
                say(f"{exc}; trying the next version")
                problem = problem or exc
                continue
            say(f"unpacking the source of CPython {version}")
            unpack(tarball, folder)
            suite.prune(package, version)
            return version, f"source package {version} of {suite}"
    problems = [problem, *archive.problems("deb-src")]
    raise next(filter(None, problems), None) or Unavailable(
        f"Debian's archive has no source of CPython {line}")


def _from_public(line, folder):
    if not _reachable(PUBLIC):
        raise Unavailable("the public repository does not answer")
    told = git.call("ls-remote", "--tags", PUBLIC, f"refs/tags/v{line}.*")
    found = re.findall(rb"refs/tags/v(\d+)\.(\d+)\.(\d+)$", told.stdout,
                       re.MULTILINE)
    if told.returncode or not found:
        raise Unavailable(f"the public repository has no release of {line}"
                          if told.returncode == 0 else git.complaint(told))
    version = ".".join(map(str, max(tuple(map(int, one)) for one in found)))
    say(f"cloning CPython {version} from {PUBLIC}")
    done = git.call("clone", "--quiet", "--depth", "1", "--branch",
                    f"v{version}", "--config", "advice.detachedHead=false",
                    PUBLIC, folder)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise Unavailable(f"{PUBLIC}: {git.complaint(done)}")
    shutil.rmtree(folder / ".git")
    return version, f"tag v{version} of {PUBLIC}"


@functools.cache
def _reachable(url):
    """Probe before git is asked, which can hang for minutes."""
    if urllib.request.getproxies().get("https"):
        return True
    answered = threading.Event()
    host = url.split("/")[2]

    def probe():
        with contextlib.suppress(OSError):
            socket.create_connection((host, 443), timeout=PROBE).close()
            answered.set()

    # In a thread, as the look-up of the name has no time limit of its own.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE)
    return answered.is_set()


class Named:
    """A directory or tarball with CPython's source that the user named.

    Attributes: path (absolute).
    """

    def __init__(self, where):
        named = Path(os.path.expanduser(where))
        self.path = named.resolve()
        if not self.path.exists():
            raise Failure(f"{absent(named)}; name a directory or tarball "
                          f"with CPython's source")

    @property
    def slug(self):
        """A name for a folder, as good as unique."""
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", self.path.name).strip("-.")
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:8]
        return f"from-{plain or 'tree'}-{digest}"

    @contextlib.contextmanager
    def open(self, scratch):
        """Give its Tree, as a context manager; it is not to be written.

        A tarball is unpacked below the folder *scratch* for the time.
        """
        if self.path.is_dir():
            yield _whole(self.path)
            return
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            say(f"unpacking {self.path.name}")
            unpack(self.path, Path(folder) / "tree")
            yield _whole(Path(folder) / "tree")

    def describe(self):
        """Return what it is, for people: with the commit of a checkout."""
        if not self.path.is_dir():
            return f"the tarball {self.path}"
        if not (self.path / ".git").exists():
            return f"the source tree {self.path}"
        head = git.call("rev-parse", "--short=10", "HEAD", repo=self.path)
        if head.returncode:
            return f"the checkout {self.path}"
        return f"the checkout {self.path} at {head.stdout.decode().strip()}"


def _whole(folder):
    if not (folder / "Include" / "patchlevel.h").is_file():
        raise Failure(f"{folder} is not the source of a CPython: it has no "
                      f"Include/patchlevel.h; name one that has")
    return Tree(folder)


def unpack(tarball, folder):
    """Unpack a source tarball so that its only top folder is *folder*.

    Raises Failure if it is none, is damaged or would write elsewhere.
    """
    folder = Path(folder)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unpack-"))
    try:
        try:
            with tarfile.open(tarball) as archived:
                _extract(archived, scratch)
        except Exception as exc:
            # Each compression has errors of its own; a full disk has an
            # errno and is told as such elsewhere.
            if isinstance(exc, OSError) and exc.errno:
                raise
            raise Failure(f"{tarball} cannot be unpacked: {exc}; unpack it "
                          f"by hand and name the directory") from exc
        tops = list(scratch.iterdir())
        if len(tops) != 1 or not tops[0].is_dir():
            raise Failure(f"{tarball} does not hold one folder, as CPython's "
                          f"source tarballs do; unpack it and name the "
                          f"directory")
        tops[0].rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _extract(archived, folder):
    if hasattr(tarfile, "data_filter"):
        archived.extractall(folder, filter="data")
        return
    # Older Pythons write wherever a member says.
    for member in archived:
        parts = Path(member.name).parts
        if (os.path.isabs(member.name) or ".." in parts
                or not (member.isfile() or member.isdir())):
            raise ValueError(f"{member.name} is not a plain file below it")
        archived.extract(member, folder)
