"""Other HTTP clients, and what draws the plot: packages in the cache."""

import os
import shutil
import tempfile

from tools import pip
from tools.common import cache_dir, locked, run, say

PEERS = ("urllib3", "requests", "httpx", "pycurl")
PLOTTER = "matplotlib"

_VERSION = ("import importlib.metadata as m, sys; sys.path.insert(0, "
            "sys.argv[1]); __import__(sys.argv[2]); "
            "print(m.version(sys.argv[2]))")


def find(python, version, names):
    """Return ({name: (version, folder)}, {name: why it is not there}).

    Packages that the cache does not have are fetched, with pip from where
    it is configured to.  python: the interpreter that is to import them;
    version: its version, (3, 15).
    """
    found, missing = {}, {}
    for name in names:
        folder = _folder(version, name)
        with locked(folder.with_name(f"{folder.name}.lock"),
                    f"another ./series fetches {name}; waiting for it"):
            why = None if folder.exists() else _fetch(folder, version, name)
        if why is None:
            done = run([python, "-E", "-s", "-B", "-c", _VERSION, folder,
                        name], check=False)
            if done.returncode == 0:
                found[name] = done.stdout.strip(), folder
                continue
            why = (done.stderr.strip().splitlines() or ["no import"])[-1]
        missing[name] = why
    return found, missing


def _folder(version, name):
    return cache_dir() / "bench" / ("cp%d%d-" % version[:2] + name)


def _fetch(folder, version, name):
    """Install a package into *folder*, whole; return why not, or None."""
    say(f"fetching {name}")
    scratch = tempfile.mkdtemp(prefix=".new-", dir=folder.parent)
    try:
        why = pip.install_into(scratch, version, name)
        if why is None:
            os.rename(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return why
