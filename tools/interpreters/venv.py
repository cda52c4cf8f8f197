"""A virtual environment in which the patched modules come first.

  ./series venv DIR                       of the interpreter that ./series
                                          python prints, built if need be
  ./series venv DIR --python python3.13   of an installed one
  ./series venv DIR --upgrade             after an update of its Python

It takes seconds: nothing is compiled, nothing outside DIR is touched, and
removing DIR removes all of it.  The patched modules are made from PYTHON's
own and are found first by all that DIR/bin/python runs: programs, pip, what
pip installs and child processes.  Not by python -S, which does without all
of a virtual environment, nor in one that is made from this one.

When the modules change from which the patched ones were made, as by a
security update, every start of DIR/bin/python says so on stderr, until
--upgrade makes them again.  Meanwhile the older ones with patches stay in
use: programs that need them would break without, at a time nobody chose.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from tools import pip
from tools.common import Failure, absent, need_program, run as run_program, say
from tools.cpython.trees import OLDEST, dotted, line_of
from tools.interpreters import build, overlay
from tools.patches import needs, series
from tools.places import remove

# Understood by any Python, however old.
_PROBE = """
import json, os, platform, sys
def has(name):
    try:
        import importlib.util
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
import sysconfig
print(json.dumps([
    platform.python_implementation(), list(sys.version_info[:3]),
    os.path.dirname(os.path.abspath(os.__file__)),
    sysconfig.get_path("purelib"), has("venv"), has("ensurepip")]))
"""
_PATIENCE = 60      # seconds for an interpreter to start


def add_arguments(parser):
    parser.add_argument("dir", metavar="DIR",
                        help="the folder to make; it may be there if it is "
                             "empty")
    parser.add_argument("--python", metavar="PYTHON",
                        help="the CPython to use, without the series "
                             "(default: the one with the series that "
                             "./series python prints)")
    parser.add_argument("--without-pip", action="store_true",
                        help="do not install pip")
    parser.add_argument("--upgrade", action="store_true",
                        help="make the patched modules of an existing DIR "
                             "again; what is installed in it, and what was "
                        "left out, stays so")
    needs.add_argument(parser)
    # For tests: a series other than patches/.
    parser.add_argument("--patches", metavar="DIR", help=argparse.SUPPRESS)


def run(args):
    need_program("git")
    top = Path(os.path.abspath(os.path.expanduser(args.dir)))
    return _upgrade(top, args) if args.upgrade else _create(top, args)


class Interpreter:
    """A Python that is there.

    Attributes: path (as it is called), version (a tuple), text (the version
    for people), line (whose patches fit), newer (whether the version is
    newer than those), library (Path of its standard library), site (Path of
    its site-packages), has_venv, has_ensurepip.
    """

    def __init__(self, named):
        self.path = _find(named)
        name, version, library, site, *has = _ask(self.path)
        self.has_venv, self.has_ensurepip = has
        self.version = tuple(version)
        self.library = Path(library)
        self.site = Path(site)
        self.text = dotted(version)
        if name != "CPython" or self.version < OLDEST:
            raise Failure(f"{self.path} is {name} {self.text}; the series "
                          f"needs CPython {dotted(OLDEST)} or newer; name "
                          f"another: --python PYTHON")
        self.line, self.newer = line_of(self.version)


def _find(named):
    """Return the absolute path of what the user named, links kept."""
    text = os.path.expanduser(os.fspath(named))
    if os.sep not in text:
        text = shutil.which(text) or text
    path = Path(os.path.abspath(text))
    if not path.exists():
        raise Failure(f"{absent(path)}; name an interpreter: --python "
                      f"PYTHON")
    return path


def _ask(path):
    """Return what the interpreter says about itself."""
    try:
        # Not -I, which an old one does not know.
        done = subprocess.run(
            [path, "-B", "-E", "-s", "-c", _PROBE], cwd=os.sep,
            env=pip.environment(), text=True, errors="replace",
            stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_PATIENCE)
        name, version, *rest = json.loads(done.stdout.splitlines()[-1])
        return (name, version, *rest)
    except OSError as exc:
        why = exc.strerror
    except subprocess.TimeoutExpired:
        why = f"no answer within {_PATIENCE} s"
    except (ValueError, IndexError, TypeError):
        why = (done.stderr.strip().splitlines()
               or ["it does not tell its version"])[-1]
    raise Failure(f"{path} is not a working Python ({why}); name another: "
                  f"--python PYTHON")


def _create(top, args):
    _refuse(top)
    interpreter, modules = _choose(args)
    if not interpreter.has_venv:
        raise Failure(f"{interpreter.path} cannot make virtual environments;"
                      f" install what it lacks: apt-get install "
                      f"python{interpreter.line}-venv")
    with _all_or_nothing(top):
        top.mkdir(parents=True, exist_ok=True)
        say(f"making {top} with CPython {interpreter.text}")
        _call_venv(interpreter, top)
        python = top / "bin" / "python"
        if modules:
            overlay.install(Interpreter(python).site, python, modules,
                            interpreter.library, interpreter.version,
                            args.without)
        if not args.without_pip:
            say("installing pip")
            pip.install(python, interpreter)
    _tell(top, interpreter, modules)
    return 0


def _refuse(top):
    """Fail if *top* cannot become a virtual environment."""
    if top.is_dir() and any(top.iterdir()):
        advice = ("renew its modules: --upgrade" if _is_ours(top)
                  else "name a new one")
        raise Failure(f"{top} is not empty; {advice}")


def _is_ours(top):
    return any(top.glob(f"lib/*/site-packages/{overlay.PACKAGE}"))


def _choose(args):
    """Return (Interpreter, its patched modules; {} if it has the series)."""
    if args.python is None:
        return Interpreter(build.patched(without=args.without)[1]), {}
    interpreter = Interpreter(args.python)
    return interpreter, _modules(interpreter, args.patches, args.without)


def _modules(interpreter, folder, without):
    if interpreter.newer:
        say(f"{interpreter.path} is CPython {interpreter.text}, newer than "
            f"{interpreter.line}: trying the patches for that")
    try:
        modules = overlay.make(interpreter.library, interpreter.line,
                               folder=folder, without=without)
    except series.ApplyFailure as exc:
        raise Failure(f"{interpreter.path} is CPython {interpreter.text}, "
                      f"and {exc}; name another: --python PYTHON") from exc
    if not modules:
        raise Failure(f"{interpreter.path} has all of the series already; "
                      f"leave out --python, or name one that has not")
    return modules


def _call_venv(interpreter, top):
    done = run_program(
        [interpreter.path, "-IB", "-m", "venv", "--without-pip", top],
        cwd=os.sep, env=pip.environment(), check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise Failure(f"{interpreter.path} could not make {top}: "
                      f"{said[-1] if said else done.returncode}; see to "
                      f"that and run the command again")


@contextlib.contextmanager
def _all_or_nothing(top):
    """Remove what was made if something fails, or is interrupted."""
    new = None
    for path in (top, *top.parents):
        if os.path.lexists(path):
            break
        new = path
    try:
        yield
    except BaseException:
        if new is not None:
            remove(new)
        elif top.is_dir():
            for path in top.iterdir():
                remove(path)
        raise


def _tell(top, interpreter, modules):
    if modules:
        print(f"{top}: CPython {interpreter.text}, and before its own "
              f"modules these:")
        for name in sorted(modules):
            print(f"  {name[:-len('.py')].replace('/', '.')}")
    else:
        print(f"{top}: CPython {interpreter.text}, which has the series")
    print(f"use it:   {top / 'bin' / 'python'} PROGRAM")


def _upgrade(top, args):
    python = top / "bin" / "python"
    if not _is_ours(top):
        raise Failure(f"{top} has no modules of ./series venv in it that "
                      f"could be upgraded; name another")
    if not python.exists():
        raise Failure(f"{absent(python)}; remove {top} and make it anew")
    interpreter = Interpreter(python)
    if not (interpreter.site / overlay.PACKAGE).exists():
        raise Failure(f"{python} is CPython {interpreter.text} now, and "
                      f"{top} was made for another; remove it and make it "
                      f"anew")
    without = args.without or overlay.left_out(interpreter.site)
    modules = _modules(interpreter, args.patches, without)
    overlay.install(interpreter.site, python, modules, interpreter.library,
                    interpreter.version, without)
    _tell(top, interpreter, modules)
    return 0
