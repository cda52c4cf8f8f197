"""Folders below build/: alone in them, and what can go wrong there."""

import contextlib
import errno
import os
import shutil

from tools.common import Failure, build_dir, cache_dir, locked, run

NO_ROOM = 1 << 20       # bytes; less is a full disk


@contextlib.contextmanager
def plain_failures():
    """Turn what the operating system refuses into a Failure for people."""
    try:
        yield
    except Failure as exc:
        # Programs have many ways to say that the disk is full.
        full = _full_disk()
        if full is None:
            raise
        raise _disk_full(full) from exc
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(exc.filename or _full_disk()
                             or build_dir()) from exc
        where = f": {exc.filename}" if exc.filename else ""
        raise Failure(f"{exc.strerror or exc}{where}; see to that and run "
                      f"the command again") from exc


def _disk_full(path):
    return Failure(f"the disk with {path} is full; make room and run the "
                   f"command again")


def _full_disk():
    """Return a folder of ours whose disk has no room left; None if none."""
    for folder in (build_dir, cache_dir):
        with contextlib.suppress(OSError, Failure):
            if shutil.disk_usage(folder()).free < NO_ROOM:
                return folder()
    return None


def alone_in(place):
    """Return a context manager: nobody else works in the folder *place*.

    Other processes wait, and say so.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        probe = place.parent / f".{place.name}.lock"
        probe.touch()
    except OSError as exc:
        raise Failure(f"{place.parent} cannot be written "
                      f"({exc.strerror}); make the checkout writable or use "
                      f"one of your own") from exc
    return locked(probe, f"another ./series works on {place}; waiting "
                         f"for it")


def see_writable(path):
    """Raise Failure if the folder *path*, or one above, rules out a file.

    Nothing is made; what is found out only by trying still can fail.
    """
    above = next(one for one in (path, *path.parents)
                 if os.path.lexists(one))
    if not above.is_dir():
        where = "" if above == path else f", so there can be no {path}"
        raise Failure(f"{above} is no folder{where}; name another")
    if not os.access(above, os.W_OK | os.X_OK):
        raise Failure(f"{above} cannot be written; name a folder elsewhere")


def remove(path):
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link(target, path):
    """Make *path* a symbolic link to *target*, if it is none already."""
    if path.is_symlink() and os.readlink(path) == str(target):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(path)
    path.symlink_to(target)


def hard_link(source, path):
    """Make *path* a file with the content of *source*, at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    remove(fresh)
    try:
        os.link(source, fresh)
    except OSError:     # a file system without hard links
        shutil.copy2(source, fresh)
    fresh.rename(path)


def trouble(argv, expected=""):
    """Run a program; return None if it prints *expected*, else why not."""
    try:
        done = run(argv, check=False)
    except OSError as exc:
        return exc.strerror
    if done.returncode == 0 and expected in done.stdout:
        return None
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return said[-1] if said else f"status {done.returncode}"
