"""Writing commits as the mails that patches/ holds; always the same way."""

import os
import re

from tools.git import git, line as git_line
from tools.patches.series import split

TRAILER = re.compile(rb"^Patch: *(\S+) *\n?", re.MULTILINE)

# How a diff is written, whatever anybody's settings.
DIFF = ("--no-renames", "--no-ext-diff", "--no-textconv", "--full-index",
        "--src-prefix=a/", "--dst-prefix=b/", "--diff-algorithm=myers",
        "--indent-heuristic", "--inter-hunk-context=0")

# How a mail is written: no counter, no version of git, no commit id.
_MAIL = ("--no-numbered", "--subject-prefix=PATCH", "--no-signature",
         "--zero-commit", "--no-attach", "--no-thread", "--no-base",
         "--no-notes", "--no-to", "--no-cc", "--no-from", "--no-add-header",
         "--no-cover-letter", "--encode-email-headers", "-U3")


class Commit:
    """A commit of a working tree.

    Attributes: repo, id, parent (id), subject, name (of the patch, from a
    line "Patch: NAME" in the message, or None).
    """

    def __init__(self, repo, commit, parent):
        self.repo = repo
        self.id = commit
        self.parent = parent
        self.subject = git_line("log", "-1", "--format=%s", commit, repo=repo)
        named = TRAILER.findall(git("log", "-1", "--format=%B", commit,
                                    repo=repo))
        self.name = os.fsdecode(named[-1]) if named else None

    @property
    def short(self):
        """The commit for people."""
        return f"{self.id[:10]} \"{self.subject[:40]}\""

    def paths(self):
        """Return {path: whether it is not text} of what is changed."""
        told = git("diff-tree", "-r", "-z", "--numstat", "--no-renames",
                   self.parent, self.id, repo=self.repo)
        return {os.fsdecode(entry.split(b"\t", 2)[2]):
                entry.startswith(b"-\t")
                for entry in told.split(b"\0") if entry}

    def diff(self, path, context):
        """Return the diff of one file with that many lines of context."""
        return git("diff-tree", "-p", f"-U{context}", *DIFF, self.parent,
                   self.id, "--", f":(literal,top){path}", repo=self.repo)

    def head(self):
        """Return the mail up to its first diff, without the line Patch."""
        told = git("format-patch", "--stdout", "-1", *_MAIL, *DIFF, self.id,
                   repo=self.repo)
        header, _, rest = split(told, self.subject)[0].partition(b"\n\n")
        said, files = re.split(rb"^---\n", rest, maxsplit=1, flags=re.M)
        said = git("stripspace", stdin=TRAILER.sub(b"", said))
        return b"%b\n\n%b---\n%b" % (header, said, files)


def commits(repo, base, end="HEAD"):
    """Return the commits after *base* up to *end*, oldest first.

    Merges have more than one parent and are in the list with the first.
    """
    told = git_line("rev-list", "--reverse", "--topo-order", "--parents",
                    f"{base}..{end}", repo=repo)
    found = [line.split() for line in told.splitlines()]
    return [Commit(repo, ids[0], ids[1]) for ids in found]
