"""pip for a virtual environment, also where ensurepip is missing.

Debian's interpreters have no ensurepip unless python3.X-venv is installed.
Then another Python's pip fetches pip, from where the machine's pip
configuration says; without a network, another Python's bundled pip will do.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.common import Failure

_BUNDLED = ("import ensurepip, glob, os; print(*glob.glob(os.path.join("
            "os.path.dirname(ensurepip.__file__), '_bundled', 'pip-*.whl')))")

# There is nothing but their source.
NO_WHEELS = ("dugong",)

# Seconds; without a network, packets can just get lost.
_PATIENCE = 180


def environment():
    """Return the environment for a Python that is to be asked only.

    Without what would lead it astray, and it is to leave no bytecode beside
    the modules that it imports.
    """
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "__PYVENV_LAUNCHER__"))}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def install(python, interpreter):
    """Install pip into a virtual environment.

    python: its interpreter's Path; interpreter: the Interpreter that it was
    made from.  Raises Failure if no pip can be had.
    """
    if interpreter.has_ensurepip:
        problem = _call(python, "-IB", "-m", "ensurepip", "--upgrade",
                        "--default-pip") or _check(python)
        if problem is None:
            return
    else:
        version = "%d.%d" % interpreter.version[:2]
        problem = f"apt-get install python{version}-venv may help"
    others = _others(interpreter.path)
    for get in _fetched, _bundled:
        for other in others:
            if _install_wheel(python, interpreter.version, get, other):
                return
    raise Failure(f"no pip can be had for {interpreter.path} ({problem}); "
                  f"do without it: --without-pip")


def install_into(folders, python, version):
    """Install wheels of packages, and what they need, into folders.

    folders: {name: Path}; python: path of the interpreter that they are
    for, of which nothing is changed; version: its version, (3, 15).
    Returns {name: why it could not be done}.
    """
    others = _others(python)
    with tempfile.TemporaryDirectory(prefix="series-") as scratch:
        found = (get(other, version, scratch)
                 for get in (_fetched, _bundled) for other in others)
        pip = next(filter(None, found), None)
        if pip is None:
            return dict.fromkeys(folders, "no pip can be had; apt-get "
                                          "install python3-pip may help")
        # A wheel of pip's runs as it is.
        told = {name: _call(python, "-IB", f"{pip}/pip", "install",
                            "--quiet", "--disable-pip-version-check",
                            "--no-input", "--only-binary=:all:",
                            f"--no-binary={','.join(NO_WHEELS)}",
                            "--retries=1", f"--target={folder}", name)
                for name, folder in folders.items()}
    return {name: why for name, why in told.items() if why is not None}


def _others(path):
    """Return interpreters that may have a pip, the likeliest first."""
    found = [os.fspath(path), sys.executable, shutil.which("python3")]
    return list(dict.fromkeys(filter(None, found)))


def _install_wheel(python, version, get, other):
    """Install the wheel of pip that *get* has from *other*, if it works."""
    with tempfile.TemporaryDirectory(prefix="series-") as scratch:
        wheel = get(other, version, scratch)
        if wheel is None:
            return False
        # A wheel of pip's can install itself.
        return not (_call(python, "-IB", f"{wheel}/pip", "install",
                          "--isolated", "--no-index", "--no-deps", "--quiet",
                          "--disable-pip-version-check", wheel)
                    or _check(python))


def _fetched(other, version, scratch):
    """Let the pip of *other* fetch a pip for *version*; return its path."""
    _call(other, "-m", "pip", "download", "--quiet", "--no-deps",
          "--disable-pip-version-check", "--only-binary=:all:",
          "--retries=1", "--python-version=%d.%d" % version[:2],
          f"--dest={scratch}", "pip", cwd=scratch)
    return next(map(str, Path(scratch).glob("pip-*.whl")), None)


def _bundled(other, version, scratch):
    """Return the path of the pip that comes with the Python *other*."""
    done = _run(other, "-IB", "-c", _BUNDLED)
    path = done.stdout.strip()
    return path if done.returncode == 0 and os.path.isfile(path) else None


def _check(python):
    return _call(python, "-IB", "-m", "pip", "--version")


def _call(*argv, cwd=os.sep):
    """Run a program; return None if it ends well, else what it says."""
    done = _run(*argv, cwd=cwd)
    if done.returncode == 0:
        return None
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return said[-1] if said else f"status {done.returncode}"


def _run(*argv, cwd=os.sep):
    argv = list(map(str, argv))
    try:
        return subprocess.run(
            argv, cwd=cwd, env=environment(), text=True, errors="replace",
            stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(
            argv, 1, "", f"no end after {_PATIENCE} s")
