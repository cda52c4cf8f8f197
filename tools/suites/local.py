"""tests/, the tests of these tools: pytest in an environment of its own."""

import hashlib
import re
import shutil
import subprocess
import sys

from tools.common import ROOT, Failure, cache_dir, locked, run as call, say
from tools.suites.regrtest import Counts, environment

NEEDED = ("pytest>=7", "pytest-xdist", "blurb")


def python():
    """Return the Path of an interpreter that has pytest and blurb.

    A virtual environment is made for it, in the cache, if need be.  Raises
    Failure, with the command that installs what is missing.
    """
    what = hashlib.sha256("\n".join((sys.prefix, *NEEDED)).encode())
    place = cache_dir() / "venv-{}.{}-{}".format(*sys.version_info[:2],
                                                 what.hexdigest()[:8])
    program = place / "bin" / "python"
    with locked(place.with_name(f"{place.name}.lock"),
                f"another ./series makes {place}; waiting for it"):
        if not (place / "ready").exists() or _problem(
                program, "-c", "import pytest, xdist, blurb"):
            _make(place, program)
    return program


def _make(place, program):
    say(f"making a virtual environment with {', '.join(NEEDED)}")
    shutil.rmtree(place, ignore_errors=True)
    problem = _problem(sys.executable, "-m", "venv", place)
    if problem:
        shutil.rmtree(place, ignore_errors=True)
        raise Failure(f"this Python cannot make a virtual environment "
                      f"({problem}); install what it lacks: apt-get install "
                      f"python3-venv")
    problem = _problem(program, "-m", "pip", "install", "--quiet",
                       "--disable-pip-version-check", *NEEDED)
    if problem:
        raise Failure(f"pytest could not be installed ({problem}); see that "
                      f"this works: {program} -m pip install "
                      f"{' '.join(map(repr, NEEDED))}")
    (place / "ready").touch()


def _problem(*argv):
    """Run a program; return None if it ends well, else what it says."""
    try:
        done = call(argv, check=False, env=environment())
    except Failure as exc:
        return str(exc)
    if done.returncode == 0:
        return None
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines()
            if line.strip()]
    wrong = [line for line in said if re.match("(?i)error", line)]
    return (wrong or said or [f"status {done.returncode}"])[-1][:200]


def run(program, log):
    """Run tests/ with the interpreter *program*.

    log: Path for all that is printed.  Returns (Counts, list of failures as
    lines for people).
    """
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
