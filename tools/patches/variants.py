"""The series on CPython's main, where http.client differs from 3.15's.

patches/main/NAME.diff has the diffs that take the place of those of the same
files in NAME.patch.  patches/README.md says how they are made.
"""

from tools.common import say
from tools.git import show
from tools.patches.series import Patch, split

CLIENT = "Lib/http/client.py"
# Nobody here has main's text of it, and its first change conflicts.
LEFT_OUT = "Doc/library/http.client.rst"


class Variant(Patch):
    """A patch as it is for main."""

    @property
    def diff(self):
        """The file with the diffs to take instead; there may be none."""
        return self.folder / "main" / f"{self.name}.diff"

    def mail(self):
        """Return the mail that the patch would be on main, in bytes."""
        head, diffs = split(super().mail(), self.name)
        instead = {}
        if self.diff.exists():
            instead = {diff.path: diff.text for diff
                       in split(self.diff.read_bytes(), self.diff.name)[1]}
        return head + b"".join(instead.get(diff.path, diff.text)
                               for diff in diffs if diff.path != LEFT_OUT)


def fitting(patches, repo, start):
    """Return *patches*, or those for main if the revision *start* is that."""
    # getresponse() has this parameter since gh-42550.
    if b"support_continue" not in (show(repo, start, CLIENT) or b""):
        return patches
    patches = [Variant(patch.name, patch.folder) for patch in patches]
    names = [patch.name for patch in patches if patch.diff.exists()]
    if names:
        say(f"as for main, so unverified: {', '.join(names)}; {LEFT_OUT} is "
            f"left out")
    return patches
