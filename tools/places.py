"""Folders and files of ours: alone in them, and what can go wrong there."""

import contextlib
import os
import shutil
import signal

from tools.common import Failure, locked, run


@contextlib.contextmanager
def plain_failures():
    """Turn what the operating system refuses into a Failure for people."""
    try:
        yield
    except OSError as exc:
        where = f": {exc.filename}" if exc.filename else ""
        raise Failure(f"{exc.strerror or exc}{where}; see to that and run "
                      f"the command again") from exc


def alone_in(place):
    """Return a context manager: nobody else works in the folder *place*.

    Other processes wait, and say so.
    """
    return locked(place.parent / f".{place.name}.lock",
                  f"another ./series works on {place}; waiting for it")


@contextlib.contextmanager
def uninterrupted():
    """Keep interrupts away, from child processes too, for a short while."""
    before = {}
    with contextlib.suppress(ValueError):   # not the main thread
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def remove(path):
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_empty(folder):
    """Remove a folder that nothing is left in, and those it was all of."""
    with contextlib.suppress(OSError):
        folder.rmdir()
        remove_empty(folder.parent)


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
