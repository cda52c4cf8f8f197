"""The series: which patches, in which order, and how they become commits.

git reads, matches and writes the patches.  They are applied to an index in a
temporary folder: the repository's own index, work tree and branches are not
touched, and an interruption leaves nothing behind.  The result is what "git
am" would have committed; as with it, every line of context has to match.
"""

import fnmatch
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from tools.common import ROOT, Failure
from tools.git import COMMITTER, call, commit_id, git, repository_of
from tools.patches.needs import leave_out

_DIFF = re.compile(rb"diff --git (.+)")
_HUNK = re.compile(rb"^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@.*$",
                   re.MULTILINE)
_NAME = re.compile(r"(?!.*\.patch$)[a-z0-9][a-z0-9.-]*")


class ApplyFailure(Failure):
    """A patch does not apply; the message says where.

    Attributes: pushed (what Stack.push_missing() had pushed).
    """

    pushed = ()

    def __init__(self, patch, line, where):
        on = f"to {line} " if line else ""
        super().__init__(f"{patch} does not apply {on}at {where}")


class Diff(NamedTuple):
    """What one patch does to one file."""

    path: str
    text: bytes     # from its "diff --git" line on
    added: bool     # whether the patch creates the file


class Patch:
    """One patch of the series: its name and the mail that holds it."""

    def __init__(self, name, folder):
        self.name = name
        self.folder = Path(folder)
        self.path = self.folder / f"{name}.patch"

    def mail(self):
        """Return the patch as it is stored, in bytes."""
        return read(self.path)

    def diffs(self):
        """Return the list of Diff, one per file, in the patch's order."""
        return split(self.mail(), self.name)[1]

    @property
    def files(self):
        """The paths that the patch adds, changes or removes."""
        return [diff.path for diff in self.diffs()]

    @property
    def added(self):
        """The paths that the patch adds."""
        return [diff.path for diff in self.diffs() if diff.added]

    @property
    def subject(self):
        """The commit message's first line."""
        return metadata(self.mail())[0]["Subject"]


def split(mail, name="the patch"):
    """Split a mail into (head, list of Diff); head ends before the first.

    Raises Failure for a patch that renames, or that quotes a path.
    """
    head, *texts = re.split(rb"^(?=diff --git )", mail, flags=re.MULTILINE)
    if not texts:
        raise Failure(f"{name} contains no diff; restore it or remove it "
                      f"from the list in patches/series")
    diffs = []
    for text in texts:
        named = _DIFF.match(text).group(1)
        half = len(named) // 2
        if named != b"a" + named[1:half] + b" b" + named[1:half]:
            raise Failure(f"{name} renames a file or has an unusual name: "
                          f"{os.fsdecode(named)}; write it without")
        header = _HUNK.split(text, maxsplit=1)[0]
        diffs.append(Diff(os.fsdecode(named[2:half]), text,
                          b"\nnew file mode " in header))
    return head, diffs


def read(path):
    """Return the content of a file of patches/, in bytes."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise Failure(f"{path} cannot be read: {exc.strerror}; restore it: "
                      f"git checkout -- patches") from exc


def load(upto=None, *, folder=None, without=()):
    """Return the patches, a list in the order of the file patches/series.

    upto: name of the last one wanted; folder: where they are, instead of
    patches/; without: names of those to leave out.
    """
    folder = Path(folder or ROOT / "patches")
    patches = [Patch(name, folder) for name in _names(folder)]
    for patch in patches:
        patch.mail()    # fails if it is not there
    for name in without:
        find(name, patches)     # fails if there is none
    if upto is not None:
        last = find(upto.removesuffix(".patch"), patches)
        patches = patches[:patches.index(last) + 1]
    return leave_out(patches, without)


def find(name, patches):
    """Return the patch called *name*; Failure lists them all if none is."""
    for patch in patches:
        if patch.name == name:
            return patch
    raise Failure(f"there is no patch {name}; the series has: "
                  f"{', '.join(patch.name for patch in patches)}")


def _names(folder):
    listed = read(folder / "series").decode().split()
    names = [entry[:-len(".patch")] for entry in listed]
    for entry, name in zip(listed, names):
        if (not entry.endswith(".patch") or not valid_name(name)
                or names.count(name) > 1):
            raise Failure(f"{folder.name}/series: {entry} is not the name of "
                          f"a patch (lower case, digits and '-', and "
                          f".patch), or is there twice")
    if not names:
        raise Failure(f"{folder.name}/series lists no patch; restore it: "
                      f"git checkout -- {folder.name}")
    return names


def valid_name(name):
    """Return whether a patch may be called *name*."""
    return bool(_NAME.fullmatch(name))


def digest(patches):
    """Return a hash, in hexadecimal, of what *patches* do."""
    state = hashlib.sha256()
    for patch in patches:
        state.update(patch.name.encode() + b"\0")
        state.update(hashlib.sha256(patch.mail()).digest())
    return state.hexdigest()


def metadata(mail):
    """Let git read a mail; return (headers, message).

    headers: dict with Author, Email, Subject and Date; message: the commit
    message in bytes, as "git am" would make it.
    """
    with tempfile.TemporaryDirectory(prefix="series-") as scratch:
        body = os.path.join(scratch, "body")
        rest = os.path.join(scratch, "rest")
        told = git("mailinfo", "-u", "--encoding=UTF-8", body, rest,
                   stdin=mail).decode("utf-8", "surrogateescape")
        said = Path(body).read_bytes()
    headers = dict(text.split(": ", 1) for text in told.splitlines()
                   if ": " in text)
    for needed in ("Author", "Email", "Subject", "Date"):
        if not headers.get(needed):
            raise Failure(f"a patch has no {needed}; write it with git "
                          f"format-patch or ./series refresh")
    subject = headers["Subject"].encode("utf-8", "surrogateescape")
    message = git("stripspace", stdin=subject + b"\n\n" + said)
    return headers, message


class Stack:
    """Patches put one upon the other, in a repository; a context manager.

    repo: a work tree's top folder or a bare repository; start: the revision
    to begin with; line: which CPython line that is, for messages; excludes:
    path patterns, as git apply --exclude has them, of what to leave out;
    committer: the variables GIT_COMMITTER_*, or None for a fixed name and
    the author's date, so that equal patches on an equal tree give equal ids
    on every machine.  The attribute head is the id of the commit on top.
    """

    def __init__(self, repo, start="base", line=None, excludes=(),
                 committer=None):
        self.repo = Path(repo)
        self.line = line
        self.excludes = tuple(excludes)
        self.head = commit_id(repo, start)
        if self.head is None:
            raise Failure(f"{repo} has no commit {start}; remove that folder "
                          f"and run the command again")
        self._committer = committer

    def __enter__(self):
        self._scratch = tempfile.TemporaryDirectory(prefix="series-")
        self._index = os.path.join(self._scratch.name, "index")
        self.git("read-tree", f"{self.head}^{{tree}}")
        return self

    def __exit__(self, *exc_info):
        self._scratch.cleanup()

    def git(self, *args, stdin=None, env=None):
        """Run git on this stack's index; return its output in bytes."""
        env = {"GIT_INDEX_FILE": self._index, **(env or {})}
        return git(*args, repo=self.repo, env=env, stdin=stdin)

    def _apply(self, text, *options):
        return call("apply", "--cached", "--whitespace=nowarn", *options, "-",
                    repo=self.repo, stdin=text,
                    env={"GIT_INDEX_FILE": self._index})

    def fits(self, text):
        """Return whether a diff (bytes) applies to the top of the stack."""
        return self._apply(text, "--check").returncode == 0

    def push(self, patch):
        """Commit *patch* on top and return the commit's id.

        It is empty if the excludes leave nothing.  Raises ApplyFailure, and
        then the stack is as it was.
        """
        self.stage(patch.mail(), patch.name)
        return self.commit(patch.mail())

    def push_missing(self, patches):
        """Push those of *patches* that are not in the tree yet.

        Returns (list of (Patch, commit id), list of Patch that were there).
        Raises ApplyFailure; its attribute pushed is then the list so far.
        """
        held = self.held(patches)
        pushed, there = [], list(patches[:held])
        for patch in patches[held:]:
            try:
                pushed.append((patch, self.push(patch)))
            except ApplyFailure as exc:
                # Merged upstream, without some that come before it here.
                if not self.holds([patch]):
                    exc.pushed = pushed
                    raise
                there.append(patch)
        return pushed, there

    def stage(self, mail, name, *, only=None):
        """Apply a mail's diffs to the index, all of them or none.

        name: what to call it in a failure; only: the paths to apply.
        """
        done = self._apply(mail, *self._options(only))
        if done.returncode:
            raise self._failure(name, mail, os.fsdecode(done.stderr))

    def concerned(self, paths):
        """Return those of *paths* that the excludes do not match."""
        return [path for path in paths
                if not any(fnmatch.fnmatchcase(path, pattern)
                           for pattern in self.excludes)]

    def _options(self, only):
        # git takes the first pattern that matches, in the order given.
        options = [f"--exclude={pattern}" for pattern in self.excludes]
        return options + [f"--include={path}" for path in only or ()]

    def commit(self, mail):
        """Commit the index with a mail's author, date and message."""
        headers, message = metadata(mail)
        env = {"GIT_AUTHOR_NAME": headers["Author"],
               "GIT_AUTHOR_EMAIL": headers["Email"],
               "GIT_AUTHOR_DATE": headers["Date"]}
        if self._committer is None:
            env.update(COMMITTER, GIT_COMMITTER_DATE=headers["Date"])
        else:
            env.update(self._committer)
        tree = self.git("write-tree").decode().strip()
        told = self.git("commit-tree", "--no-gpg-sign", tree, "-p", self.head,
                        "-F", "-", stdin=message, env=env)
        self.head = told.decode().strip()
        return self.head

    def holds(self, patches):
        """Return whether *patches*, in their order, are already in the tree.

        They are taken off again, from the last one, on a copy of the index.
        NEWS entries and documents do not count beside code: a release
        renames the former and fills version numbers into the latter.
        """
        shutil.copyfile(self._index, self._index + ".kept")
        try:
            for patch in reversed(patches):
                options = self._options(_essence(self.concerned(patch.files)))
                if self._apply(patch.mail(), "--reverse",
                               *options).returncode:
                    return False
            return True
        finally:
            os.replace(self._index + ".kept", self._index)

    def held(self, patches):
        """Return how many of *patches* are already here, from the first on.

        The longest run is looked for first: a later patch may have changed
        what an earlier one did, so that it alone cannot be taken off.
        """
        return next(filter(lambda count: self.holds(patches[:count]),
                           range(len(patches), 0, -1)), 0)

    def _failure(self, name, mail, said):
        found = re.search(r"^error: patch failed: (.+):(\d+)$", said, re.M)
        if found:
            path, start = found.group(1), int(found.group(2))
            return ApplyFailure(name, self.line,
                                f"{path}, {_hunk(mail, path, start)}")
        # As "Lib/http/_channel.py: already exists in index".
        found = re.search(r"^error: (.+: .+)$", said, re.M)
        why = found.group(1) if found else said.strip() or "git says nothing"
        return ApplyFailure(name, self.line, why.replace(" in index", "")
                            .replace(": ", ", "))


def _essence(paths):
    """Return those of *paths* that decide whether a patch is in a tree."""
    code = [path for path in paths if not path.startswith(("Doc/", "Misc/"))]
    docs = [path for path in paths if not path.startswith("Misc/NEWS.d/")]
    return code or docs or paths


def _hunk(mail, path, start):
    """Return, for people, the hunk of *path* at old line *start*."""
    found = [match for diff in split(mail)[1] if diff.path == path
             for match in _HUNK.finditer(diff.text)]
    for number, match in enumerate(found, 1):
        if int(match.group(1)) == start:
            return f"hunk {number} ({os.fsdecode(match.group().strip())})"
    return f"line {start}"


def commit_onto(repo, patches, line, *, start="base", excludes=()):
    """Commit *patches* upon a revision; return the list of commit ids.

    The arguments are those of Stack.  No branch, index or work tree of
    *repo* changes.  Raises ApplyFailure with patch, file and hunk.
    """
    with Stack(repo, start, line, excludes) as stack:
        return [stack.push(patch) for patch in patches]


def added_files(patches):
    """Return {path: content in bytes} of the files that *patches* add.

    Computed on an empty tree, from the parts that concern those files.
    """
    added = {path for patch in patches for path in patch.added}
    with repository_of({}) as repo, Stack(repo, "base") as stack:
        for patch in patches:
            mine = [path for path in patch.files if path in added]
            if mine:
                stack.stage(patch.mail(), patch.name, only=mine)
        listed = stack.git("ls-files", "-z").split(b"\0")
        return {os.fsdecode(path): stack.git("cat-file", "blob",
                                             b":" + path)
                for path in listed if path}
