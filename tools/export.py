"""Write the series as mails for one line, with a cover letter.

The patches in DIR apply to that line with "git am DIR/*.patch", numbered
so that this takes them in order, and have three lines of context again,
whatever patches/ has.  LINE is the newest that can be had, unless it or a
checkout is named.
"""

import argparse
import contextlib
import re
from pathlib import Path

from tools import bases, patches as series, targets
from tools.common import Failure, known_line, need_program
from tools.files import replace_files
from tools.git import git
from tools.mails import DIFF

TITLE = "Persistent connections for the library's HTTP clients"

COVER = """\
From {zero} Mon Sep 17 00:00:00 2001
From: {author}
Date: {date}
Subject: [PATCH {none}/{count}] {title}

http.client learns to use a connection again safely, and to notice that the
server has closed it.  Each patch is complete: code, tests, documentation
and NEWS entry; with it and those before it, the regression suite passes.

These patches are for CPython {version}.  To apply them, in a checkout of
it, where FOLDER has these mails:

    git am FOLDER/*.patch

{listing}
"""


def add_arguments(parser):
    parser.add_argument("dir", metavar="DIR", help="a new or empty folder")
    parser.add_argument("line", metavar="LINE", nargs="?", type=known_line,
                        help="the line to export for")
    parser.add_argument("--tree", metavar="CHECKOUT",
                        help="export for this checkout or source tree")
    parser.add_argument("--upto", metavar="NAME",
                        help="the last patch to export (default: all)")
    # For tests: a series other than patches/.
    parser.add_argument("--patches", metavar="DIR", help=argparse.SUPPRESS)


def run(args):
    need_program("git")
    folder = _empty(args.dir)
    patches = series.load(args.upto, folder=args.patches)
    with _target(args, patches) as (target, version):
        mails = [_numbered(mail, number, len(patches)) for number, mail
                 in enumerate(_mails(patches, target), 1)]
        _see_that_they_apply(mails, patches, target)
    names = [f"{number:04d}-{patch.name}.patch"
             for number, patch in enumerate(patches, 1)]
    files = dict(zip(names, mails))
    # Not *.patch: git am takes it for a patch that is broken.
    files["0000-cover-letter.txt"] = _cover(patches, mails, version)
    replace_files({folder / name: content
                   for name, content in files.items()})
    print(f"{folder}: {len(patches)} patches for CPython {version}, and "
          f"0000-cover-letter.txt")
    if target.excludes:
        print(f"{', '.join(target.left_out)}: as in patches/, as that "
              f"CPython came without")
    return 0


def _empty(name):
    folder = Path(name).expanduser().absolute()
    if folder.is_dir() and any(folder.iterdir()):
        raise Failure(f"{folder} is not empty; name a new folder")
    if folder.exists() and not folder.is_dir():
        raise Failure(f"{folder} is not a folder; name a new one")
    return folder


@contextlib.contextmanager
def _target(args, patches):
    """Give (Target, its version for people)."""
    if args.tree:
        if args.line:
            raise Failure("name a line or a checkout, not both")
        with targets.named(args.tree, patches) as target:
            yield target, target.origin
        return
    line, base = args.line, None
    if line is None or targets.working_tree(line) is None:
        base = _base(line)
        line = base.line
    source = targets.working_tree(line)
    if source:
        yield (targets.Target(line, line, source, "base", (), str(source)),
               line)
        return
    yield (targets.Target(line, line, base.repo, "base", base.excludes,
                          base.origin), base.version)


def _base(line):
    """Return the Base of a line, or the newest that can be had."""
    try:
        return bases.newest() if line is None else bases.get(line)
    except bases.Unavailable as exc:
        raise Failure(f"{exc}; or name a checkout: --tree CHECKOUT") from exc


def _mails(patches, target):
    """Yield the mails with three lines of context of that target."""
    with series.Stack(target.repo, target.start, target.line,
                      target.excludes) as stack:
        for patch in patches:
            before = stack.head
            after = stack.push(patch)
            head, diffs = series.split(patch.mail(target.line), patch.name)
            here = stack.concerned([diff.path for diff in diffs])
            yield head + b"".join(
                git("diff-tree", "-p", "-U3", *DIFF, before, after, "--",
                    f":(literal,top){diff.path}", repo=target.repo)
                if diff.path in here else diff.text for diff in diffs)


def _numbered(mail, number, count):
    width = len(str(count))
    return re.sub(rb"^Subject: \[PATCH\]",
                  f"Subject: [PATCH {number:0{width}}/{count}]".encode(),
                  mail, count=1, flags=re.MULTILINE)


def _see_that_they_apply(mails, patches, target):
    with series.Stack(target.repo, target.start, target.line,
                      target.excludes) as stack:
        for patch, mail in zip(patches, mails):
            stack.stage(mail, patch.name)
            stack.commit(mail)


def _cover(patches, mails, version):
    headers = [series.metadata(mail)[0] for mail in mails]
    width = len(str(len(mails)))
    listing = [f"  {patch.name}\n    {told['Subject']}"
               for patch, told in zip(patches, headers)]
    return COVER.format(
        zero="0" * 40, author=f"{headers[-1]['Author']} "
        f"<{headers[-1]['Email']}>", date=headers[-1]["Date"],
        none="0" * width, count=len(mails), title=TITLE, version=version,
        listing="\n".join(listing + [""] + _stat(mails)),
    ).encode("utf-8", "surrogateescape")


def _stat(mails):
    """Return lines that tell how much of each file changes."""
    totals = {}
    for mail in mails:
        for entry in git("apply", "--numstat", "-z", "-",
                         stdin=mail).split(b"\0"):
            if entry:
                added, removed, path = entry.decode().split("\t")
                total = totals.setdefault(path, [0, 0])
                total[0] += int(added)
                total[1] += int(removed)
    return [f"  {added:5} + {removed:4} -  {path}"
            for path, (added, removed) in sorted(totals.items())]
