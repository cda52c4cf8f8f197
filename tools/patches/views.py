"""The views: what the series adds to CPython, as files for readers.

Lib/, Doc/ and Misc/ at the project's top hold the end state of every file
that is wholly the series' own.  They follow from patches/ and are written
by ./series refresh, never by hand.
"""

import os
from pathlib import Path

from tools.patches import series

TOPS = ("Lib", "Doc", "Misc")


def changes(project, patches):
    """Return {path: new content in bytes, or None to remove the file}."""
    wanted = {project / name: content for name, content
              in series.added_files(patches).items()}
    found = {path for top in TOPS for path in _files(project / top)}
    changed = {path: None for path in found if path not in wanted}
    for path, content in wanted.items():
        if path not in found or path.read_bytes() != content:
            changed[path] = content
    return changed


def _files(top):
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            yield Path(folder) / name
