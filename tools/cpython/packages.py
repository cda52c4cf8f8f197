"""A CPython from Debian's archive, in a folder: binary packages, or source.

What is in the folder is described in stock.py.
"""

import glob
import json
import os
import shutil
import tempfile
from pathlib import Path

from tools import git
from tools.common import Failure, cache_dir, need_program, run, say, trouble
from tools.cpython import download
from tools.cpython.download import Unavailable
from tools.cpython.trees import OLDEST
from tools.cpython.worktrees import commit_base
from tools.places import remove

# Raised when what is written below build/ changes its form.
FORMAT = 1

# In Lib/, but not text that a patch could change: kept in root/.
MACHINE = ("lib-dynload", "config-*")


def load(place, debug):
    """Return what base.json tells, for stock.Base, if *place* is whole.

    debug: without the debug interpreter it is not.
    """
    try:
        told = json.loads((place / "base.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    # Interpreters name their folder: a checkout that was moved starts anew.
    if (told.get("format") != FORMAT or told.get("place") != str(place)
            or debug and not told.get("debug")):
        return None
    if not git.commit_id(place / "base.git", "base"):
        return None
    return told


def make(place, line, debug):
    """Fetch and unpack the packages of *line*; return what load() would.

    What was in *place* goes, once all is fetched, except the source.
    """
    root = place / "root"
    # Until they are unpacked: another one may remove what is older than its.
    with download.using_cache():
        packages, version, suite = _fetch(line, debug)
        # What says that the rest is good goes first; the source stays.
        (place / "base.json").unlink(missing_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        for entry in place.iterdir():
            if entry.name != "source":
                remove(entry)
        say(f"unpacking CPython {version} to {place}")
        for name in ("lib", "lib64", "bin", "sbin"):
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(Path("usr") / name)
        download.unpack(packages, root)
    _relocate(root, line)
    _commit_library(place, line, version)
    return _write_stamp(
        place, version=".".join(map(str, download.upstream(version))),
        origin=f"binary packages {version} of {suite}", debug=debug)


def _fetch(line, debug):
    """Return (package files, version, suite) of the newest to be had."""
    package = f"python{line}"
    try:
        suite, version = download.newest(package, OLDEST)
        need_program("dpkg-deb", "dpkg")
        need_program("tar")
        specs = [f"{package}={version}",
                 f"libpython{line}-testsuite={version}"]
        if debug:
            specs.append(f"{package}-dbg={version}")
        if not shutil.which("patchelf"):
            specs.append("patchelf")
        store = cache_dir() / "packages" / package
        return suite.fetch(store, *specs), version, suite
    except Unavailable as exc:
        raise Unavailable(
            f"no packages of CPython {line} from Debian's archive "
            f"({exc.what})",
            f"correct this, or compile a source tree or checkout: "
            f"./series build {line} --from DIR") from exc


def _relocate(root, line):
    """Let the interpreters find loader and libraries below *root*."""
    libc = glob.glob(glob.escape(str(root)) + "/usr/lib/*/libc.so.6")
    if not libc:
        raise Failure(f"no C library came with CPython {line}; name a source "
                      f"tree: ./series build {line} --from DIR")
    libraries = os.path.dirname(libc[0])
    if shutil.which("patchelf"):
        patchelf = ["patchelf"]
    else:   # it may need a newer loader and newer libraries than are here
        patchelf = [min(Path(libraries).glob("ld*.so.*")), "--library-path",
                    libraries, root / "usr" / "bin" / "patchelf"]
    for python in (root / "usr" / "bin").glob(f"python{line}*"):
        if not python.is_symlink() and (
                python.read_bytes().startswith(b"\x7fELF")):
            _relocate_program(patchelf, python, root, libraries)


def _relocate_program(patchelf, python, root, libraries):
    loader = run([*patchelf, "--print-interpreter", python]).stdout.strip()
    steps = [("--force-rpath", "--set-rpath", libraries),
             ("--set-interpreter", f"{root}{loader}")]
    # patchelf 0.18 gives programs that crash for some orders: for these
    # non-PIE ones, unless the search path is set before the loader.
    for order in (steps, steps[::-1]):
        trial = python.with_name(f".{python.name}.new")
        shutil.copy2(python, trial)
        for step in order:
            run([*patchelf, *step, trial])
        problem = trouble([trial, "--version"])
        if problem is None:
            trial.rename(python)
            return
    raise Failure(f"{python.name} from Debian's packages does not start "
                  f"here ({problem}); name a source tree: ./series build "
                  f"--from DIR")


def _commit_library(place, line, version):
    """Move the standard library from root/ into a repository."""
    shared = place / "root" / "usr" / "lib" / f"python{line}"
    staging = place / "staging"
    library = staging / "Lib"
    staging.mkdir()
    shared.rename(library)
    shared.mkdir()
    for pattern in MACHINE:
        for part in list(library.glob(pattern)):
            part.rename(shared / part.name)
    for path in library.iterdir():
        # sitecustomize.py would be the machine's, from /etc.
        if path.is_symlink() and os.path.isabs(os.readlink(path)):
            path.unlink()
    repo = place / "base.git"
    git.git("init", "--quiet", "--bare", "--template=", repo)
    commit_base(repo, staging, f"CPython {version}, as packaged by Debian",
                force=True)
    (repo / "index").unlink()
    shutil.rmtree(staging)


def _write_stamp(place, **told):
    told.update(format=FORMAT, place=str(place))
    fresh = place / "base.json.new"
    fresh.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    fresh.rename(place / "base.json")
    return told


def fetch_source(line, folder):
    """Make *folder* of the newest source of *line* that can be had.

    Returns (version, origin for people).
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
            "correct this, or name a source tree or checkout: --from DIR"
        ) from exc
    return version, f"source package {version} of {suite}"
