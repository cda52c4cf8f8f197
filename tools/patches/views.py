"""The views: what the series adds to CPython, as files for readers.

Lib/, Doc/ and Misc/ at the project's top hold the end state of every file
that is wholly the series' own.  They follow from patches/ and are written
by ./series refresh, never by hand.
"""

from tools.patches import series

TOPS = ("Lib", "Doc", "Misc")


def changes(project, patches):
    """Return {path: new content in bytes, or None to remove the file}."""
    wanted = {project / name: content for name, content
              in series.added_files(patches).items()}
    found = {path for top in TOPS for path in (project / top).rglob("*")
             if path.is_file() and "__pycache__" not in path.parts}
    return {**dict.fromkeys(found - wanted.keys()),
            **{path: content for path, content in wanted.items()
               if path not in found or path.read_bytes() != content}}
