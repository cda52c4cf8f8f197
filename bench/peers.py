"""Other HTTP clients, and what draws the plots: packages in the cache."""

import tempfile
from pathlib import Path

from tools import pip
from tools.common import cache_dir, complaint, run, say
from tools.places import alone_in

# Each is in a folder of its own, with all that it needs: niquests brings
# another urllib3.
PEERS = ("pycurl", "aiohttp", "httplib2", "urllib3", "requests", "httpx",
         "niquests", "dugong")
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
    cache.mkdir(parents=True, exist_ok=True)
    with (alone_in(cache),
          tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as scratch):
        new = {name: Path(scratch) / name for name in names
               if not (cache / name).exists()}
        if new:
            say(f"fetching {', '.join(new)}")
        missing = pip.install_into(new, python, version) if new else {}
        for name in new.keys() - missing.keys():
            new[name].rename(cache / name)
    found = {}
    for name in names:
        done = run([python, "-E", "-s", "-B", "-c", _VERSION, cache / name,
                    name], check=False)
        if done.returncode == 0:
            found[name] = done.stdout.strip(), cache / name
            continue
        missing.setdefault(name, complaint(done))
        say(f"{name} is left out: {missing[name]}")
    return found, missing
