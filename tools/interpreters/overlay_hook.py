"""Puts this virtual environment's patched modules before the stock ones.

Written by ./series venv.  Beside this file:

    modules/PACKAGE/NAME.py   the modules with the patches, and new ones
    stock                     what they were made from: name, size and time

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
    path = changed()
    if path is not None:
        from shlex import quote  # rarely needed
        warn(f"{path} has changed since {sys.prefix} was made, where the "
             f"older one with patches is in use; renew it: ./series venv "
             f"--upgrade {quote(sys.prefix)}")


def changed():
    """Return a file that is no longer what modules were made from."""
    with open(STOCK) as file:
        for line in file:
            name, _, then = line.rstrip("\n").partition(" ")
            path = os.path.join(LIBRARY, name)
            if state(path) != then:
                return path
    return None


def state(path):
    """Return the size and time of a file, "None" if there is none."""
    try:
        status = os.stat(path)
        return "%d %d" % (status.st_size, status.st_mtime_ns)
    except OSError:
        return "None"


def warn(message):
    # Not by warnings, which can be silenced or turned into errors.
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"persistent-http: {message}\n")
        except (OSError, ValueError):
            pass
