"""Whole CPython source trees from Debian's archive."""

import tempfile
from pathlib import Path

from tools.common import cache_dir, need_program, run, say
from tools.cpython import download
from tools.cpython.download import Unavailable
from tools.cpython.trees import OLDEST


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
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                top = Path(scratch) / "top"
                top.mkdir()
                run([need_program("tar"), "--extract", "--file", tarball,
                     "--strip-components=1", "--no-same-owner",
                     f"--directory={top}"])
                top.rename(folder)
    except Unavailable as exc:
        raise Unavailable(
            f"the source of CPython {line} cannot be had ({exc.what})",
            "name a source tree or checkout: --from DIR") from exc
    return version, f"source package {version} of {suite}"
