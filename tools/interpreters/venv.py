"""Make a virtual environment in which the patched modules come first.

  ./series venv DIR                       of the interpreter that ./series
                                          python prints, built if need be
  ./series venv DIR --python python3.13   of an installed one
  ./series venv DIR --upgrade             after an update of its Python

Without --python, DIR runs the interpreter below build/ in this folder, so
this folder has to stay where it is.

With --python, this folder is needed only for --upgrade.  The patched modules
are made from PYTHON's own and are written to DIR; nothing else is changed,
and removing DIR removes them.  All that DIR/bin/python runs finds them first:
programs, pip, what pip installs, child processes.  Exceptions are python -S,
and virtual environments that are made from this one.

When PYTHON is updated, each start of DIR/bin/python says on stderr that the
patched modules are older, until --upgrade makes them again.  They stay in use
meanwhile, so that programs that need them go on working.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from tools import pip
from tools.common import (
    LINES,
    Failure,
    absent,
    complaint,
    run as run_program,
    say,
    trouble,
)
from tools.cpython.trees import OLDEST, dotted, line_of
from tools.interpreters import build, overlay
from tools.patches import needs, series
from tools.places import remove

# Understood by any Python, however old.
_PROBE = """
import json, os, platform, sys, sysconfig
print(json.dumps([
    platform.python_implementation(), list(sys.version_info[:3]),
    os.path.dirname(os.path.abspath(os.__file__)),
    sysconfig.get_path("purelib")]))
"""
_PATIENCE = 60      # seconds for an interpreter to start
_NOT_FOUND = 127    # the status with which a shell says that


def add_arguments(parser):
    parser.add_argument("dir", metavar="DIR",
                        help="a new or empty folder")
    parser.add_argument("--python", metavar="PYTHON",
                        help="the CPython to use, without the series "
                             "(default: the one with the series that "
                             "./series python prints)")
    parser.add_argument("--without-pip", action="store_true",
                        help="do not install pip")
    parser.add_argument("--upgrade", action="store_true",
                        help="make the patched modules of an existing DIR "
                             "again; what is installed there stays, and "
                             "the patches left out stay out")
    needs.add_argument(parser)
    # For tests: a series other than patches/.
    parser.add_argument("--patches", metavar="DIR", help=argparse.SUPPRESS)


def run(args):
    top = Path(os.path.abspath(os.path.expanduser(args.dir)))
    return _upgrade(top, args) if args.upgrade else _create(top, args)


class Interpreter:
    """A Python that is there.

    Attributes: path (as it is called), version (a tuple), text (the version
    for people), line (whose patches fit), newer (whether the version is
    newer than those), library and site (Paths of its standard library and
    its site-packages).
    """

    def __init__(self, named):
        self.path = _find(named)
        name, version, library, site = _ask(self.path)
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
    advice = (f"name a CPython {dotted(OLDEST)} or newer that is installed, "
              f"as in --python python{LINES[-1]}, or by its path")
    if os.sep not in text:
        found = shutil.which(text)
        if found is None and not os.path.exists(text):
            raise Failure(f"{text} is no program on PATH, and no file here; "
                          f"{advice}")
        text = found or text
    path = Path(os.path.abspath(text))
    if not path.exists():
        raise Failure(f"{absent(path)}; {advice}")
    if path.is_dir():
        raise Failure(f"{path} is a folder, not a Python; {advice}")
    return path


def _ask(path):
    """Return what the interpreter says about itself."""
    try:
        # Not -I, which an old one does not know.
        done = run_program([path, "-B", "-E", "-s", "-c", _PROBE], cwd=os.sep,
                           check=False, env=pip.environment(),
                           timeout=_PATIENCE)
        return json.loads(done.stdout.splitlines()[-1])[:4]
    except Failure as exc:
        raise Failure(f"{exc}; name another: --python PYTHON") from exc
    except subprocess.TimeoutExpired:
        why = f"no answer within {_PATIENCE} s"
    except (ValueError, IndexError, TypeError):
        why = "it does not tell its version"
        if done.stderr.strip():
            # The shims of pyenv say first what is wrong, then what there is.
            why = (done.stderr.strip().partition("\n")[0]
                   if done.returncode == _NOT_FOUND else complaint(done))
    raise Failure(f"{path} is not a working Python ({why}); name another: "
                  f"--python PYTHON")


def _create(top, args):
    if top.exists() and not top.is_dir():
        raise Failure(f"{top} is not a folder; name a new one")
    if top.exists() and any(top.iterdir()):
        advice = ("renew its modules: --upgrade" if _is_ours(top)
                  else "name a new one")
        raise Failure(f"{top} is not empty; {advice}")
    if args.python is None:
        interpreter = Interpreter(build.patched(without=args.without)[1])
        modules = {}    # it has the series
    else:
        interpreter = Interpreter(args.python)
        modules = _modules(interpreter, args.patches, args.without)
    with _all_or_nothing(top):
        top.mkdir(parents=True, exist_ok=True)
        say(f"making {top} with CPython {interpreter.text}")
        problem = trouble(
            [interpreter.path, "-IB", "-m", "venv", "--without-pip", top],
            cwd=os.sep, env=pip.environment())
        if problem:
            raise Failure(f"{interpreter.path} could not make {top} "
                          f"({problem}); apt-get install "
                          f"python{interpreter.line}-venv may help")
        python = top / "bin" / "python"
        if modules:
            overlay.install(Interpreter(python).site, python, modules,
                            interpreter.library, args.without)
        if not args.without_pip:
            say("installing pip")
            pip.install(python, interpreter)
    _tell(top, interpreter, modules)
    return 0


def _is_ours(top):
    return any(top.glob(f"lib/*/site-packages/{overlay.PACKAGE}"))


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


@contextlib.contextmanager
def _all_or_nothing(top):
    """Remove what was made if something fails, or is interrupted."""
    new = [path for path in (*reversed(top.parents), top)
           if not os.path.lexists(path)]
    try:
        yield
    except BaseException:
        for path in new[:1] or top.iterdir():
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
    if not top.exists():
        raise Failure(f"{absent(top)}; make it: leave out --upgrade")
    if not _is_ours(top):
        raise Failure(f"{top} has no modules of ./series venv in it that "
                      f"could be upgraded; name another (one that was made "
                      f"without --python is renewed by ./series build)")
    if args.python:
        raise Failure("--upgrade stays with the Python of DIR; leave out "
                      "--python, or make another DIR")
    if not python.exists():
        raise Failure(f"{absent(python)}; remove {top} and make it anew")
    interpreter = Interpreter(python)
    package = interpreter.site / overlay.PACKAGE
    if not package.exists():
        raise Failure(f"{python} is CPython {interpreter.text} now, and "
                      f"{top} was made for another; remove it and make it "
                      f"anew")
    without = args.without or (package / "without").read_text().split()
    modules = _modules(interpreter, args.patches, without)
    overlay.install(interpreter.site, python, modules, interpreter.library,
                    without)
    _tell(top, interpreter, modules)
    return 0
