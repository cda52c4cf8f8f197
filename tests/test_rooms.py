"""The house: a room imports only from the rooms below it, and no circle."""

import ast

import pytest

from tools.common import ROOT

# From the top.  bench/ may use all of them, and nobody uses bench/ but the
# command line, which calls each verb by its name.
ROOMS = ("bench", "tools.suites", "tools.interpreters", "demo",
         "tools.patches", "tools.cpython", "tools")

FILES = sorted(path for room in ROOMS
               for path in (ROOT / room.replace(".", "/")).glob("*.py"))


def name_of(path):
    """Return the name of a module: "tools.patches.apply"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


NAMES = {name_of(path) for path in FILES}


def imports(path):
    """Return the names of our modules that a file imports, anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(f"{node.module}.{alias.name}"
                         if f"{node.module}.{alias.name}" in NAMES
                         else node.module for alias in node.names)
    return found & NAMES


def room_of(name):
    return next(room for room in ROOMS
                if name == room or name.startswith(f"{room}."))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_arrows_run_down(path):
    room = room_of(name_of(path))
    for name in imports(path):
        assert ROOMS.index(room) <= ROOMS.index(room_of(name)), (
            f"{name_of(path)} imports {name}, from a room above its own")


def test_no_circle():
    """Within the rooms, too: take away what imports nothing, and again."""
    arrows = {name_of(path): imports(path) for path in FILES}
    while arrows:
        free = [name for name, others in arrows.items()
                if not others & arrows.keys()]
        assert free, f"they import each other: {sorted(arrows)}"
        for name in free:
            del arrows[name]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_first_line_says_what_it_is_about(path):
    text = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert text and text.splitlines()[0].endswith((".", ":", "?")), path
