"""Other HTTP clients, and what draws the plots: packages in the cache."""

import tempfile
from pathlib import Path

from tools import pip
from tools.common import cache_dir, locked, run, say

# Each is in a folder of its own, with all that it needs: niquests brings
# another urllib3.
PEERS = ("pycurl", "aiohttp", "httplib2", "urllib3", "requests", "httpx",
         "niquests", "dugong")
PLOTTER = "matplotlib"

_VERSION = ("import importlib.metadata as m, sys; sys.path.insert(0, "
            "sys.argv[1]); __import__(sys.argv[2]); "
            "print(m.version(sys.argv[2]))")


def find(python, line, names=PEERS):
    """Return ({name: (version, folder)}, {name: why it is not there}).

    Packages that the cache does not have are fetched, with pip from where
    that is configured to.  python: the interpreter that is to import them,
    of *line*.
    """
    version = tuple(map(int, line.split(".")))
    cache = cache_dir() / "bench" / ("cp%d%d" % version)
    with locked(cache / "lock", "another ./series fetches packages; waiting "
                                "for it"):
        why = _fetch(cache, python, version,
                     [name for name in names if not (cache / name).exists()])
    found, missing = {}, {}
    for name in names:
        done = run([python, "-E", "-s", "-B", "-c", _VERSION, cache / name,
                    name], check=False)
        if done.returncode == 0:
            found[name] = done.stdout.strip(), cache / name
            continue
        said = done.stderr.strip().splitlines() or ["it cannot be imported"]
        missing[name] = why.get(name, said[-1])
        say(f"{name} is left out: {missing[name]}")
    return found, missing


def plotter(python, line):
    """Return the folder of what draws plots, or None."""
    found, _ = find(python, line, [PLOTTER])
    return found[PLOTTER][1] if found else None


def _fetch(cache, python, version, names):
    """Install packages below *cache*, each whole; return {name: why not}."""
    if not names:
        return {}
    say(f"fetching {', '.join(names)}")
    with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as scratch:
        folders = {name: Path(scratch) / name for name in names}
        why = pip.install_into(folders, python, version)
        for name in set(names).difference(why):
            folders[name].rename(cache / name)
    return why
