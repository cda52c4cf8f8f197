"""What every verb of ./series shares: places, failures, subprocesses."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES = ("3.13", "3.14", "3.15")    # oldest first


class Failure(Exception):
    """Something a person has to act on.

    The message is one line: what failed, on what, and what to do next.
    The command line prints it after "series: " and exits with status 1.
    """


def known_line(text):
    """Return *text* if it is a line; for argparse's type=."""
    if text not in LINES:
        raise argparse.ArgumentTypeError(
            f"there is no line {text}; take one of {', '.join(LINES)}")
    return text


def build_dir():
    """Where trees and interpreters are built: build/ in this checkout."""
    return ROOT / "build"


def cache_dir():
    """Where downloads are kept between checkouts."""
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        home = os.environ.get("HOME")
        if not home:
            raise Failure("there is no place for downloads: neither "
                          "XDG_CACHE_HOME nor HOME is set; set one of them")
        base = os.path.join(home, ".cache")
    return Path(base) / "cpython-persistent-http"


def absent(path):
    """Return what to say about a path that does not exist."""
    if os.path.islink(path):
        return (f"{path} is a link to {os.path.realpath(path)}, which does "
                f"not exist")
    return f"{path} does not exist"


def need_program(name, package=None):
    """Return the path of the program *name*, or fail with how to get it."""
    path = shutil.which(name)
    if path is None:
        raise Failure(f"{name} is not installed; install it first: "
                      f"apt-get install {package or name}")
    return path


def run(argv, *, check=True, **kwargs):
    """Run *argv* with its output captured as text; return CompletedProcess.

    With *check*, a non-zero exit is a Failure that quotes the last line of
    what the command printed.
    """
    argv = [os.fspath(arg) for arg in argv]
    try:
        done = subprocess.run(argv, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, capture_output=True,
                              **kwargs)
    except OSError as exc:
        raise Failure(f"{argv[0]} could not be started: {exc.strerror}"
                      ) from exc
    if check and done.returncode:
        raise Failure(f"{' '.join(argv[:3])} failed: {complaint(done)}")
    return done


def complaint(done):
    """Return the last line of what a program said, with which it failed."""
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return said[-1] if said else f"status {done.returncode}"


def trouble(argv, expected="", **kwargs):
    """Run a program; return None if it prints *expected*, else why not."""
    try:
        done = run(argv, check=False, **kwargs)
    except (Failure, subprocess.TimeoutExpired) as exc:
        return str(exc)
    if done.returncode == 0 and expected in done.stdout:
        return None
    return complaint(done)


def say(message):
    """Tell the user what is being done; on stderr, as stdout is results."""
    # In one piece, as another thread may be saying something.
    print(f"series: {message}\n", end="", file=sys.stderr, flush=True)
