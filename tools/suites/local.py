"""tests/, the tests of these tools: pytest in an environment of its own."""

import hashlib
import re
import shutil
import subprocess
import sys

from tools.common import ROOT, Failure, cache_dir, say, trouble
from tools.places import alone_in
from tools.suites.regrtest import Counts, environment

NEEDED = ("pytest>=7", "pytest-xdist", "blurb")


def python():
    """Return the Path of an interpreter in the cache that has NEEDED."""
    what = hashlib.sha256("\n".join((sys.prefix, *NEEDED)).encode())
    place = cache_dir() / "venv-{}.{}-{}".format(*sys.version_info[:2],
                                                 what.hexdigest()[:8])
    program = place / "bin" / "python"
    with alone_in(place):
        if not _trouble(program, "-c", "import pytest, xdist, blurb"):
            return program
        say(f"making a virtual environment with {', '.join(NEEDED)}")
        shutil.rmtree(place, ignore_errors=True)
        problem = _trouble(sys.executable, "-m", "venv", place)
        if problem:
            raise Failure(f"this Python cannot make a virtual environment "
                          f"({problem}); install what it lacks: apt-get "
                          f"install python3-venv")
        problem = _trouble(program, "-m", "pip", "install", "--quiet",
                           "--disable-pip-version-check", *NEEDED)
        if problem:
            raise Failure(f"pytest could not be installed ({problem}); see "
                          f"that this works: {program} -m pip install "
                          f"{' '.join(map(repr, NEEDED))}")
    return program


def _trouble(*argv):
    return trouble(argv, env=environment())


def run(program, log):
    """Run tests/, with all output in *log*; return (Counts, failures)."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as file:
        status = subprocess.run(
            [program, "-m", "pytest", "-p", "no:cacheprovider", "-m",
             "not regression", "-n2", "-q", "-rfE", "tests"], cwd=ROOT,
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            env={**environment(), "PYTHONDONTWRITEBYTECODE": "1"}).returncode
    said = log.read_text("utf-8", "replace").strip().splitlines()
    # "2 failed, 430 passed, 3 skipped in 61.05s"
    last = said[-1] if said else "nothing printed"
    told = {word: int(number) for number, word
            in re.findall(r"(\d+) (passed|failed|skipped|errors?)", last)}
    failures = [line.partition(" ")[2] for line in said
                if line.startswith(("FAILED ", "ERROR "))]
    if status and not failures:
        failures.append(f"pytest: status {status}: {last}")
    return Counts(told.get("passed", 0), len(failures),
                  told.get("skipped", 0)), failures
