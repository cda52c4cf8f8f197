"""How tests run a program of interop/, as it is or with something broken."""

import subprocess

import pytest

from tools.common import ROOT, build_dir


def interpreter(line):
    """Return the patched interpreter of a line; skip the test without it."""
    python = build_dir() / line / "patched" / "usr" / "bin" / f"python{line}"
    if not python.exists():
        pytest.skip(f"not at hand: ./series build {line} gets it")
    return python


def run(name, python, *args, change=""):
    """Run interop/NAME after the code *change*; return CompletedProcess."""
    program = str(ROOT / "interop" / name)
    code = (f"import runpy, sys\n{change}\nsys.argv[0] = {program!r}\n"
            f"runpy.run_path(sys.argv[0], run_name='__main__')")
    return subprocess.run(
        [python, "-E", "-s", "-B", "-W", "error", "-c", code, *args],
        stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=120)
