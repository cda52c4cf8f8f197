"""Folders and files of ours, and being alone in them."""

import contextlib
import fcntl
import os
import shutil
import signal

from tools.common import say

_held = set()


@contextlib.contextmanager
def alone_in(place):
    """Let no other process work in the folder *place*; they wait.

    Whoever has it already may nest.  The lock is a file beside it, which
    stays: removing it would let two processes hold two locks.
    """
    if place in _held:
        yield
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(place.parent / f".{place.name}.lock", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another ./series works on {place}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        _held.add(place)
        try:
            yield
        finally:
            _held.discard(place)


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


def link(target, path):
    """Make *path* a symbolic link to *target*, if it is none already."""
    if path.is_symlink() and os.readlink(path) == str(target):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(path)
    path.symlink_to(target)


def copy(source, path):
    """Make *path* a file with the content of *source*, at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    shutil.copy2(source, fresh)
    fresh.rename(path)
