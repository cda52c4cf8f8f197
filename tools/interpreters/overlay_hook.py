"""Puts this virtual environment's patched modules before the stock ones.

Written by ./series venv.  Beside this file:

    modules/PACKAGE/NAME.py   the modules with the patches, and new ones
    stock/PACKAGE/NAME.py     what they were made from, with its time stamp

A package of the standard library that has a folder in modules/ looks there
for its modules first; the package itself, and everything else, stays the
interpreter's own.  Nothing is imported before it is asked for.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = os.path.join(HERE, "modules")
STOCK = os.path.join(HERE, "stock")
LIBRARY = os.path.dirname(os.path.abspath(os.__file__))


class Finder:
    """Finds packages as the finders after it do, and extends their paths."""

    def __init__(self, packages):
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        if path is not None or name not in self.packages:
            return None
        later = sys.meta_path[sys.meta_path.index(self) + 1:]
        for finder in later:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                extend(name, spec.submodule_search_locations)
                return spec
        return None


def extend(name, locations):
    """Put the patched modules first in the path of the package *name*.

    Not if it is somebody else's package of the same name.
    """
    if locations == [os.path.join(LIBRARY, name)]:
        locations.insert(0, os.path.join(MODULES, name))


def install():
    """Make the patched modules come first; warn if they are out of date."""
    # In a virtual environment, .pth files are read twice.
    if any(isinstance(finder, Finder) for finder in sys.meta_path):
        return
    packages = os.listdir(MODULES)
    sys.meta_path.insert(0, Finder(packages))
    for name in packages:
        # What starts earlier, such as another .pth file, may import too.
        if name in sys.modules:
            extend(name, getattr(sys.modules[name], "__path__", None))
    changed = next(changes(packages), None)
    if changed is not None:
        from shlex import quote  # rarely needed
        warn(f"{changed} has changed since {sys.prefix} was made, where the "
             f"older one with patches is in use; renew it: ./series venv "
             f"--upgrade {quote(sys.prefix)}")


def changes(packages):
    """Yield the files of the standard library that are no longer *stock*."""
    for package in packages:
        for name in os.listdir(os.path.join(MODULES, package)):
            path = os.path.join(LIBRARY, package, name)
            if name.endswith(".py") and not same(
                    path, os.path.join(STOCK, package, name)):
                yield path


def same(path, stock):
    """Return whether two files are equal; a missing one equals no file."""
    now, then = status(path), status(stock)
    if now is None or then is None:
        return now is then
    if now.st_size != then.st_size:
        return False
    if now.st_mtime_ns == then.st_mtime_ns:
        return True
    # Copying and unpacking can change the time alone.
    return content(path) == content(stock)


def status(path):
    try:
        return os.stat(path)
    except OSError:
        return None


def content(path):
    with open(path, "rb") as file:
        return file.read()


def warn(message):
    # Not by warnings, which can be silenced or turned into errors.
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"persistent-http: {message}\n")
        except (OSError, ValueError):
            pass
