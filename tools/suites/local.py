"""The virtual environment, in the cache, in which tests/ runs."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

from tools.common import ROOT, Failure, cache_dir, locked, say
from tools.suites.regrtest import Counts, environment

NEEDED = ("pytest>=7", "blurb")


def python():
    """Return the Path of an interpreter that has pytest and blurb.

    A virtual environment is made for it if need be.  Raises Failure, with
    the command that installs what is missing.
    """
    version = "%d.%d" % sys.version_info[:2]
    what = hashlib.sha256("\n".join((sys.prefix, *NEEDED)).encode())
    place = cache_dir() / f"venv-{version}-{what.hexdigest()[:8]}"
    program = place / "bin" / "python"
    with locked(place.with_name(f"{place.name}.lock"),
                f"another ./series makes {place}; waiting for it"):
        if not (place / "ready").exists() or not _works(program):
            _make(place, program)
    return program


def _works(program):
    return _call([program, "-c", "import pytest, blurb"]).returncode == 0


def _make(place, program):
    say(f"making a virtual environment with {' and '.join(NEEDED)}")
    shutil.rmtree(place, ignore_errors=True)
    version = "%d.%d" % sys.version_info[:2]
    done = _call([sys.executable, "-m", "venv", place])
    if done.returncode:
        shutil.rmtree(place, ignore_errors=True)
        raise Failure(f"this Python cannot make a virtual environment "
                      f"({_last(done)}); install what it lacks: apt-get "
                      f"install python{version}-venv")
    done = _call([program, "-m", "pip", "install", "--quiet",
                  "--disable-pip-version-check", *NEEDED])
    if done.returncode:
        names = " ".join(f"'{name}'" for name in NEEDED)
        raise Failure(f"pytest and blurb could not be installed "
                      f"({_last(done)}); see that this works: {program} -m "
                      f"pip install {names}")
    (place / "ready").touch()


def _call(argv):
    return subprocess.run(
        [os.fspath(arg) for arg in argv], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", env={name: value for name, value
                               in os.environ.items()
                               if not name.startswith("PYTHON")})


def _last(done):
    said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    wrong = [line for line in said if re.match("(?i)error", line)]
    return (wrong or said or [f"status {done.returncode}"])[-1][:200]


def run(program, log):
    """Run tests/ with the interpreter *program*.

    log: Path for all that is printed.  Returns (Counts, list of failures as
    lines for people).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    with open(log, "wb") as file:
        status = subprocess.run(
            [program, "-m", "pytest", "-p", "no:cacheprovider", "-m",
             "not regression", f"--junit-xml={report}", "tests"], cwd=ROOT,
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            env={**environment(), "PYTHONDONTWRITEBYTECODE": "1"}).returncode
    counts, failures = _read(report)
    if status and not counts.failed:
        # Such as an error while tests were collected, or none at all.
        said = log.read_text("utf-8", "replace").strip().splitlines()
        counts.failed += 1
        failures.append(f"pytest: status {status}: "
                        f"{said[-1] if said else 'nothing printed'}")
    return counts, failures


def _read(report):
    counts, failures = Counts(), []
    try:
        suites = ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError):
        return counts, failures
    for case in suites.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            counts.failed += 1
            failures.append(f"{case.get('classname')}.{case.get('name')}")
        elif case.find("skipped") is not None:
            counts.skipped += 1
        else:
            counts.passed += 1
    return counts, failures
