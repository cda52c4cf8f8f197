"""pip for a virtual environment, also where ensurepip is missing.

Debian's interpreters have no ensurepip unless python3.X-venv is installed.
Then the pip of the Python that runs ./series fetches a pip for it, from
where the machine's pip configuration says.
"""

import os
import sys
import tempfile
from pathlib import Path

from tools.common import Failure, trouble

# There is nothing but their source.
NO_WHEELS = ("dugong",)

# Seconds; without a network, packets can just get lost.
_PATIENCE = 180


def environment():
    """Return the environment for a Python that is to be asked only."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "__PYVENV_LAUNCHER__"))}
    # None beside the modules that it imports.
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def install(python, interpreter):
    """Install pip into the virtual environment of *python*, a Path.

    interpreter: the venv.Interpreter that it was made from.
    """
    version = "%d.%d" % interpreter.version[:2]
    problem = _call(python, "-IB", "-m", "ensurepip", "--upgrade",
                    "--default-pip")
    if problem is None:
        return
    with tempfile.TemporaryDirectory(prefix="series-") as scratch:
        wheel = _fetch(version, scratch)
        # A wheel of pip's can install itself.
        if wheel is None or _call(
                python, "-IB", f"{wheel}/pip", "install", "--isolated",
                "--no-index", "--no-deps", "--quiet",
                "--disable-pip-version-check", wheel):
            raise Failure(f"no pip can be had for {interpreter.path} "
                          f"({problem}); apt-get install "
                          f"python{version}-venv may help, or do without "
                          f"it: --without-pip")


def install_into(folders, python, version):
    """Install wheels of packages, and what they need, into {name: folder}.

    python: path of the interpreter that they are for, which is not changed;
    version: its version, (3, 15).  Returns {name: why that failed}.
    """
    with tempfile.TemporaryDirectory(prefix="series-") as scratch:
        pip = _fetch("%d.%d" % version[:2], scratch)
        if pip is None:
            return dict.fromkeys(folders, "no pip can be had; apt-get "
                                          "install python3-pip may help")
        told = {name: _call(python, "-IB", f"{pip}/pip", "install",
                            "--quiet", "--disable-pip-version-check",
                            "--no-input", "--only-binary=:all:",
                            f"--no-binary={','.join(NO_WHEELS)}",
                            "--retries=1", f"--target={folder}", name)
                for name, folder in folders.items()}
    return {name: why for name, why in told.items() if why is not None}


def _fetch(version, scratch):
    """Let pip fetch the wheel of a pip for *version*; return its path."""
    # A program of interop/ may be run by an interpreter without pip.
    for python in sys.executable, "python3":
        if _call(python, "-m", "pip", "download", "--quiet", "--no-deps",
                 "--disable-pip-version-check", "--only-binary=:all:",
                 "--retries=1", f"--python-version={version}",
                 f"--dest={scratch}", "pip") is None:
            return next(map(str, Path(scratch).glob("pip-*.whl")), None)
    return None


def _call(*argv):
    """Run a program; return None if it ends well, else what it says."""
    return trouble(argv, cwd=os.sep, env=environment(), timeout=_PATIENCE)
