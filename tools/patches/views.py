"""The views: what the series adds to CPython, as files for readers.

Lib/, Doc/ and Misc/ at the project's top hold the end state of every file
that is wholly the series' own.  They follow from patches/ and are written
by ./series refresh, never by hand.
"""

import os
from pathlib import Path

from tools.patches import series

TOPS = ("Lib", "Doc", "Misc")


def differences(project, patches=None):
    """Return lines that say where the views are not what patches/ adds."""
    project, told = Path(project), []
    patches = patches or series.load(folder=project / "patches")
    for path, change in sorted(changes(project, patches).items()):
        name = path.relative_to(project)
        if change is None:
            told.append(f"{name} is nothing that the series adds")
        elif not path.exists():
            told.append(f"{name} is missing")
        else:
            told.append(f"{name} is not what the series adds")
    return told


def changes(project, patches):
    """Return what to change in the views, as replace_files() takes it."""
    wanted = {project / name: (content, mode == "100755")
              for name, (mode, content)
              in series.added_files(patches).items()}
    found = {path for top in TOPS for path in _files(project / top)}
    changed = {path: None for path in found if path not in wanted}
    for path, (content, executable) in wanted.items():
        if path not in found or path.read_bytes() != content:
            changed[path] = (content, executable)
    return changed


def _files(top):
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            yield Path(folder) / name
