"""Writing several files so that either all of them change or none does."""

import contextlib
import os
import signal
from pathlib import Path

from tools.common import Failure


def replace_files(changes):
    """Write, replace and remove files: all of them, or none.

    changes: {path: content in bytes, (content, executable), or None to
    remove it}.  A file that is replaced keeps its permissions.  Raises
    Failure if something cannot be written; then, and when interrupted,
    everything is as it was.
    """
    changes = {Path(path): change for path, change in changes.items()}
    with contextlib.ExitStack() as undo:
        try:
            ready = [(path, _prepare(undo, path, changes[path]))
                     for path in sorted(changes)]
            with uninterrupted():
                for path, fresh in ready:
                    _replace(undo, path, fresh)
        except OSError as exc:
            raise Failure(f"{exc.filename} cannot be written: {exc.strerror};"
                          f" nothing was changed") from exc
        undo.pop_all()
    for path, change in changes.items():
        with contextlib.suppress(OSError):
            _kept(path).unlink()
        if change is None:
            remove_empty(path.parent)


def remove_empty(folder):
    """Remove a folder that nothing is left in, and those it was all of."""
    with contextlib.suppress(OSError):
        folder.rmdir()
        remove_empty(folder.parent)


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


def _prepare(undo, path, change):
    """Write the new content beside *path*; return that file, or None."""
    content, executable = change if isinstance(change, tuple) else (
        change, False)
    if content is None:
        return None
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir()
            undo.callback(parent.rmdir)
    fresh = path.with_name(f".{path.name}.series-new")
    undo.callback(_unlink, fresh)
    try:
        fresh.write_bytes(content)
    except OSError as exc:
        # A full disk is met when the file is open, and then not named.
        exc.filename = exc.filename or os.fspath(path)
        raise
    fresh.chmod(path.stat().st_mode & 0o7777 if path.exists() else
                0o755 if executable else 0o644)
    return fresh


def _replace(undo, path, fresh):
    """Put *fresh* in the place of *path*, or just take *path* away."""
    if os.path.lexists(path):
        os.replace(path, _kept(path))
        undo.callback(os.replace, _kept(path), path)
    else:
        undo.callback(_unlink, path)
    if fresh:
        os.replace(fresh, path)


def _kept(path):
    return path.with_name(f".{path.name}.series-old")


def _unlink(path):
    with contextlib.suppress(OSError):
        path.unlink()
