"""The patched modules alone, to be laid over an installed CPython.

make() computes them from an interpreter's own files; install() puts them
into a virtual environment, with overlay_hook.py, which makes them come
first, as a package:

    site-packages/_persistent_http/             hook, modules/, stock, without
    site-packages/_persistent_http.pth          starts the hook
"""

import os
import shutil

from tools import git
from tools.common import Failure, run, say
from tools.interpreters import overlay_hook
from tools.patches import series
from tools.places import remove

PACKAGE = "_persistent_http"

# Nothing that a program would import.
EXCLUDES = ("Doc/*", "Misc/*", "Lib/test/*")


def make(library, line, *, folder=None, without=()):
    """Return {"http/client.py": bytes...}, the modules the series changes.

    library: Path of the standard library to start from, which is only
    read; line: whose patches to take; folder and without: as for
    series.load().  A patch that is there already is skipped; empty if all
    are.  Raises ApplyFailure if one does not apply.
    """
    patches = [patch for patch
               in series.load(folder=folder, without=without)
               if any(map(_wanted, patch.files))]
    paths = sorted({path for patch in patches for path in patch.files
                    if _wanted(path)})
    files = {path: library / _inside(path) for path in paths}
    before = {path: file.read_bytes() for path, file in files.items()
              if file.is_file()}
    with git.repository_of(before) as repo, series.Stack(
            repo, "base", line, EXCLUDES) as stack:
        pushed, there = stack.push_missing(patches)
        if not pushed:
            return {}
        for patch in there:
            say(f"{patch.name}: already in this CPython, skipped")
        after = {path: git.show(repo, stack.head, path) for path in paths}
    return {_inside(path): content for path, content in after.items()
            if content != before.get(path)}


def _wanted(path):
    return path.startswith("Lib/") and not path.startswith("Lib/test/")


def _inside(path):
    """Return the path of a module below the standard library's folder."""
    inside = path[len("Lib/"):]
    if inside.count("/") != 1 or inside.endswith("/__init__.py"):
        raise Failure(f"{path} cannot be put before the standard library's "
                      f"without changing that; only modules of packages can")
    return inside


def install(site, python, modules, library, without=()):
    """Put *modules* first for the virtual environment of *python*.

    site: Path of its site-packages; modules: as make() returned them;
    library: Path of what they were made from; without: the patches that are
    left out.  What an earlier call put there is replaced.
    """
    fresh = site / f".{PACKAGE}.new"
    remove(fresh)
    fresh.mkdir()
    shutil.copyfile(overlay_hook.__file__, fresh / "__init__.py")
    for name, content in modules.items():
        (fresh / "modules" / name).parent.mkdir(parents=True, exist_ok=True)
        (fresh / "modules" / name).write_bytes(content)
    (fresh / "stock").write_text("".join(
        f"{name} {overlay_hook.state(library / name)}\n"
        for name in modules))
    (fresh / "without").write_text("\n".join(without))
    # Now, as whoever uses it may not be allowed to write here.
    run([python, "-IB", "-m", "compileall", "-q", fresh / "modules",
         fresh / "__init__.py"], cwd=os.sep)
    remove(site / PACKAGE)
    fresh.rename(site / PACKAGE)
    (site / f"{PACKAGE}.pth").write_text(
        f"import {PACKAGE}; {PACKAGE}.install()\n")
