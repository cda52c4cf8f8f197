"""The house: a room imports only from the rooms below it, and no circle."""

import ast
import graphlib

import pytest

from tools.common import ROOT

# From the top.  bench/ may use all of them, and nobody uses bench/ but the
# command line, which calls each verb by its name.
ROOMS = ("bench", "tools.suites", "tools.interpreters", "demo",
         "tools.patches", "tools.cpython", "tools")

# {name of a module, as "tools.patches.apply": its tree}
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts)
           .removesuffix(".__init__"): ast.parse(path.read_text("utf-8"))
           for room in ROOMS
           for path in (ROOT / room.replace(".", "/")).glob("*.py")}


def imports(name):
    """Return the names of our modules that a module imports, anywhere."""
    found = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(parts & MODULES.keys() or {node.module})
    return found & MODULES.keys()


def place(name):
    """Return how far from the top the room of a module is."""
    return next(number for number, room in enumerate(ROOMS)
                if f"{name}.".startswith(f"{room}."))


@pytest.mark.parametrize("name", MODULES)
def test_arrows_run_down(name):
    above = [one for one in imports(name) if place(one) < place(name)]
    assert not above, f"{name} imports from a room above its own"


def test_no_circle():
    """Within the rooms, too."""
    arrows = {name: imports(name) for name in MODULES}
    graphlib.TopologicalSorter(arrows).prepare()


@pytest.mark.parametrize("name", MODULES)
def test_first_line_says_what_it_is_about(name):
    text = ast.get_docstring(MODULES[name])
    assert text and text.splitlines()[0].endswith((".", ":", "?"))
