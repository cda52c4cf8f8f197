"""Rewrite patches/ and the views from the commits of a working tree.

The working tree is build/LINE/source, as ./series tree LINE makes it, or a
checkout that ./series apply changed.  Each commit after the stock one is a
patch.  A commit is known by its subject; one that is new, or whose subject
changed, says which patch it is in a line of its message:

    Patch: NAME

That line is only for here: it is not stored, as the file's name says it,
and never gets upstream.  To change a patch: edit in the working tree, then

    git commit -a --fixup :/SUBJECT
    git rebase -i --autosquash base
    ./series refresh

Every patch is stored with as much context, file by file, as lets it apply
to every line that is at hand below build/.  If one no longer takes it,
nothing is written, unless --override LINE allows a version for that line.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

from tools.common import LINES, ROOT, Failure, known_line, need_program
from tools.cpython.trees import Tree
from tools.files import replace_files
from tools.git import call, commit_id, git, line as git_line
from tools.patches import mails, overrides, placement, series, targets, views
from tools.patches.apply import refuse_unready
from tools.patches.targets import Target

CONTEXT = (3, 2, 1)     # lines; the first that fits everywhere is taken


def add_arguments(parser):
    parser.add_argument("line", metavar="LINE", nargs="?", type=known_line,
                        help="whose working tree (default: the only one)")
    parser.add_argument("--tree", metavar="DIR",
                        help="the working tree, instead of build/LINE/source")
    parser.add_argument("--base", metavar="REV",
                        help="the commit that the series begins after "
                        "(default: what ./series apply noted, or base)")
    parser.add_argument("--override", metavar="LINE", action="append",
                        default=[], type=known_line,
                        help="where a patch does not apply to LINE, write a "
                        "version for it, merged by git")
    parser.add_argument("--check", action="store_true",
                        help="write nothing; only see whether the views Lib/,"
                        " Doc/ and Misc/ are what patches/ adds")
    # For tests: a project other than this one.
    parser.add_argument("--project", metavar="DIR", default=ROOT,
                        help=argparse.SUPPRESS)


def run(args):
    need_program("git")
    project = Path(args.project)
    if args.check:
        return _check(project)
    source = _source(args)
    commits = _commits(source)
    old = _old_patches(project)
    names = _names(commits, old)
    others, missing = targets.at_hand()
    found = [source] + [target for target in others
                        if target.repo != source.repo]
    with tempfile.TemporaryDirectory(prefix="series-") as scratch:
        patches, strays = _write(Path(scratch), commits, names, found, old,
                                 args.override)
        changes = _changes(Path(scratch), project)
        changes.update(views.changes(project, patches))
        report = _report(patches, old)
        replace_files(changes)
    for text in report:
        print(text)
    print(f"{len(changes)} files written; applies to: "
          f"{', '.join(target.title for target in found)}")
    for stray in strays:
        print(f"LOOK: {stray}")
    for line, why in missing:
        print(f"NOT TRIED on {line}: {why}")
    return 0


def _check(project):
    wrong = views.differences(project)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" * (len(wrong) > 1)
        raise Failure(f"{wrong[0]}{more}; write the views again: "
                      f"./series refresh")
    print("Lib/, Doc/ and Misc/ are what patches/ adds")
    return 0


# The working tree and its commits.

def _source(args):
    """Return the Target of the working tree."""
    if args.tree:
        tree = Tree(args.tree)
        if not tree.checkout:
            raise Failure(f"{tree.top} is not a git checkout; apply the "
                          f"series to one first: ./series apply DIR")
        top, line = tree.top, tree.line
    else:
        line = args.line or targets.only_line("refresh")
        top = targets.working_tree(line) if line else None
        if top is None:
            raise Failure(f"there is no working tree"
                          f"{f' of {line}' if line else ''}; make one: "
                          f"./series tree {line or LINES[0]}")
    refuse_unready(top)
    _refuse_forgotten(top)
    base = _base(top, args.base)
    return Target(f"{line} source", line, top, base, (), str(top))


def _refuse_forgotten(top):
    told = git("status", "--porcelain=v1", "-z", "--untracked-files=all",
               "--", ":(glob)Lib/**/*.py", ":(glob)Misc/NEWS.d/next/**",
               ":(glob)Doc/library/*.rst", ":(glob)Doc/howto/*.rst", repo=top,
               our_tree=False)
    if told:
        first = told.split(b"\0")[0][3:].decode("utf-8", "replace")
        raise Failure(f"{first} in {top} is not committed; commit it (git "
                      f"add, git commit) or remove it")


def _base(top, named):
    if named:
        candidates = [named]
    else:
        branch = git_line("rev-parse", "--abbrev-ref", "HEAD", repo=top)
        noted = call("config", f"branch.{branch}.seriesBase", repo=top)
        candidates = [noted.stdout.decode().strip() or "base", "base"]
    for revision in candidates:
        base = commit_id(top, revision)
        if base and call("merge-base", "--is-ancestor", base, "HEAD",
                         repo=top).returncode == 0:
            return base
    raise Failure(f"in {top} HEAD does not follow {candidates[-1]}, where the "
                  f"series would begin; name its base: --base REV")


def _commits(source):
    top, base = source.repo, source.start
    merges = git_line("rev-list", "--merges", f"{base}..HEAD", repo=top)
    if merges:
        raise Failure(f"{top} has the merge {merges.split()[0][:10]} after "
                      f"its base; rebase it: git rebase {base[:10]}")
    commits = mails.commits(top, base)
    if not commits:
        raise Failure(f"{top} has no commit after its base "
                      f"{base[:10]}; commit a patch there first")
    for commit in commits:
        if commit.subject.startswith(("fixup! ", "squash! ", "amend! ")):
            raise Failure(f"commit {commit.short} is to be squashed first: "
                          f"git rebase -i --autosquash {base[:10]}")
        if not commit.paths():
            raise Failure(f"commit {commit.short} changes nothing; drop it: "
                          f"git rebase -i {base[:10]}")
        for path in commit.binary_paths():
            raise Failure(f"commit {commit.short} has {path}, which is no "
                          f"text: take it out: git rebase -i {base[:10]}")
    return commits


def _old_patches(project):
    """Return the stored patches as {name: Patch}; {} before the first."""
    folder = project / "patches"
    if not (folder / "series").exists():
        return {}
    return {patch.name: patch for patch in series.load(folder=folder)}


def _names(commits, old):
    """Return the commits' names, from their messages or their subjects."""
    known = {patch.subject: name for name, patch in old.items()}
    names = [commit.name or known.get(commit.subject) for commit in commits]
    for commit, name in zip(commits, names):
        if name is None:
            gone = [name for name in old if name not in names]
            hint = f"; not seen: {', '.join(gone)}" if gone else ""
            raise Failure(f"commit {commit.short} has no name: add a line "
                          f"\"Patch: NAME\" to its message{hint}")
        if not series.valid_name(name):
            raise Failure(f"commit {commit.short}: {name} is no name for a "
                          f"patch; use lower case, digits and '-'")
        if names.count(name) > 1:
            raise Failure(f"commit {commit.short} is the second one named "
                          f"{name}; squash them: git rebase -i")
    return names


# Writing the patches, into a folder of their own first.

class Writer:
    """Turns commits into patches that apply to every target.

    folder: where to write; targets: the trees to apply to, the working tree
    itself first; old: the stored patches, whose overrides stay; override:
    lines for which overrides may be made.
    """

    def __init__(self, folder, targets, old, override):
        self.folder = folder
        self.old = old
        self.override = override
        self.strays = []
        self._trees = contextlib.ExitStack()
        self.stacks = [(target, self._trees.enter_context(series.Stack(
            target.repo, target.start, target.line, target.excludes)))
            for target in targets]

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._trees.close()

    def add(self, commit, name):
        """Write one patch and apply it everywhere; Failure if it cannot."""
        patch = series.Patch(name, self.folder)
        self._keep_overrides(patch)
        head, paths = commit.head(), commit.paths()
        patch.path().write_bytes(head + b"".join(
            self._diff(commit, path, patch) for path in paths))
        for target, stack in self.stacks:
            try:
                self._push(patch, target, stack)
            except series.ApplyFailure as exc:
                self._merge(exc, commit, patch, target, stack)
        return patch

    def _keep_overrides(self, patch):
        for line in LINES:
            old = self.old.get(patch.name)
            if old and old.overridden(line) and line not in self.override:
                self._override(patch, line, old.mail(line))

    def _override(self, patch, line, mail):
        (self.folder / line).mkdir(exist_ok=True)
        (self.folder / line / f"{patch.name}.patch").write_bytes(mail)

    def _diff(self, commit, path, patch):
        """Return the diff with the most context that fits everywhere."""
        asked = [stack for target, stack in self.stacks
                 if stack.concerned([path])
                 and not patch.overridden(target.line)]
        for context in CONTEXT:
            diff = commit.diff(path, context)
            if all(stack.fits(diff) for stack in asked):
                return diff
        # Pushing it will say where it does not fit.
        return diff

    def _push(self, patch, target, stack):
        before = stack.head
        self.strays += placement.check(patch, target, before,
                                       stack.push(patch))

    def _merge(self, failure, commit, patch, target, stack):
        if target.line not in self.override:
            raise Failure(f"{failure}; nothing was written (a version for "
                          f"that line: --override {target.line})")
        mail = overrides.merged(commit, patch.mail(), target, stack)
        self._override(patch, target.line, mail)
        stack.push(patch)


def _write(folder, commits, names, found, old, override):
    """Write the series into *folder*; return (patches, list of Stray)."""
    with Writer(folder, found, old, override) as writer:
        patches = [writer.add(commit, name)
                   for commit, name in zip(commits, names)]
        source, stack = writer.stacks[0]
        if git("diff-tree", "-r", "--name-only", stack.head, commits[-1].id,
               repo=source.repo):
            raise Failure(f"the patches written from {source.repo} do not "
                          f"give its tree again; nothing was written")
    (folder / "series").write_text(
        "".join(f"{name}.patch\n" for name in names), encoding="utf-8")
    return patches, writer.strays


def _changes(folder, project):
    """Return what differs in the project, as replace_files() takes it."""
    fresh = {path.relative_to(folder): path.read_bytes()
             for path in folder.rglob("*") if path.is_file()}
    kept = [path.relative_to(project / "patches")
            for pattern in ("*.patch", "*/*.patch")
            for path in (project / "patches").glob(pattern)]
    changes = {project / "patches" / path: None
               for path in kept if path not in fresh}
    for path, content in fresh.items():
        where = project / "patches" / path
        if not where.is_file() or where.read_bytes() != content:
            changes[where] = content
    return changes


def _report(patches, old):
    """Return the lines that say what became of each patch."""
    told = []
    names = [patch.name for patch in patches]
    width = max(map(len, [*names, *old])) + 2
    for patch in patches:
        before = old.get(patch.name)
        what = "new" if before is None else (
            "unchanged" if before.mail() == patch.mail() else "changed")
        lines = [line for line in LINES if patch.overridden(line)]
        if lines:
            what += f"; a version of its own for {', '.join(lines)}"
        told.append(patch.name.ljust(width) + what)
        told += [f"  {context} line{'s' * (context > 1)} of context: {path}"
                 for path, context in _short_context(patch)]
    return told + [f"{name.ljust(width)}removed"
                   for name in old if name not in names]


def _short_context(patch):
    for diff in patch.diffs():
        context = placement.context(diff.text)
        if not diff.added and context < CONTEXT[0]:
            yield diff.path, context
