"""Write the series as mails for one line, ready to submit.

The patches in DIR apply to that line with "git am DIR/*.patch".  Their
numbers give the order, and they have three lines of context, even where
patches/ has fewer.  The author is the user.name that git is configured with.

Beside each patch is the text of its pull request (*.pr.md), and of its
issue where there is none yet (*.issue.md).  0000-order.md says in which
order to submit them; 0000-cover-letter.txt introduces all of them.

With --dep3, DIR is a quilt series for a package instead: patches with DEP-3
headers, and the file series.
"""

import argparse
import contextlib
import email.utils
import os
import re
import textwrap
from pathlib import Path

from tools.common import LINES, Failure, known_line
from tools.cpython import stock
from tools.cpython.download import Unavailable
from tools.git import git, identity
from tools.patches import needs, series, targets
from tools.patches.mails import DIFF

ISSUES = "https://github.com/python/cpython/issues/"

# What belongs to one patch, in order.md and in whatsnew.rst.
_ROW = re.compile(rb"^\| [0-9] \| ([a-z-]+) \|.*\n", re.MULTILINE)
_ITEM = re.compile(rb"^\.\. ([a-z-]+)\n\n\* .*\n(?:  .*\n)*\n?", re.MULTILINE)


def add_arguments(parser):
    parser.add_argument("dir", metavar="DIR", help="a new or empty folder")
    parser.add_argument("line", metavar="LINE", nargs="?", type=known_line,
                        help="3.13, 3.14 or 3.15 (default: the newest)")
    parser.add_argument("--tree", metavar="CHECKOUT",
                        help="instead of a line, export for this checkout "
                        "or source tree")
    parser.add_argument("--upto", metavar="NAME",
                        help="the last patch to export (default: all)")
    needs.add_argument(parser)
    parser.add_argument("--dep3", action="store_true",
                        help="write a quilt series with DEP-3 headers")
    # For tests: a series other than patches/.
    parser.add_argument("--patches", metavar="DIR", help=argparse.SUPPRESS)


def run(args):
    if args.dir in LINES:
        raise Failure(f"{args.dir} is a line, not a folder; name the folder "
                      f"first: ./series export DIR {args.dir}")
    folder = Path(os.path.abspath(os.path.expanduser(args.dir)))
    if folder.exists() and not folder.is_dir():
        raise Failure(f"{folder} is not a folder; name a new one")
    if folder.is_dir() and any(folder.iterdir()):
        raise Failure(f"{folder} is not empty; name a new folder")
    patches = series.load(args.upto, folder=args.patches,
                          without=args.without)
    author = identity("AUTHOR")
    if not author:
        raise Failure("git does not know who submits the patches; tell it: "
                      "git config --global user.name NAME, and user.email")
    with _target(args, patches) as (target, version):
        sender = f"From: {email.utils.formataddr(author, 'utf-8')}\n"
        mails = [re.sub(rb"^From: .*\n(?:[ \t].*\n)*",
                        lambda _: sender.encode("ascii"), mail, count=1,
                        flags=re.MULTILINE)
                 for mail in _mails(patches, target)]
    if args.dep3:
        files = {f"{patch.name}.patch": _dep3(mail, author)
                 for patch, mail in zip(patches, mails)}
        files["series"] = "".join(f"{name}\n" for name in files).encode()
    else:
        files = _submission(patches, mails, author, version)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    print(f"{folder}: {len(patches)} patches for CPython {version}, and "
          + ("series" if args.dep3 else "0000-cover-letter.txt"))
    if target.excludes:
        print(f"The parts for {' and '.join(target.left_out)} are as in "
              f"patches/: that CPython came without these folders")
    return 0


@contextlib.contextmanager
def _target(args, patches):
    """Give (Target, its version for people)."""
    if args.tree:
        if args.line:
            raise Failure("both LINE and --tree are given; leave out one")
        with targets.named(args.tree, patches) as target:
            yield target, target.origin
        return
    try:
        base = stock.get(args.line)
    except Unavailable as exc:
        raise Failure(f"{exc.what}; name a checkout: --tree CHECKOUT"
                      ) from exc
    source = targets.working_tree(base.line)
    yield (targets.Target(base.line, base.line, source or base.repo, "base",
                          () if source else base.excludes, base.origin),
           base.version)


def _mails(patches, target):
    """Yield the mails with three lines of context of that target."""
    with series.Stack(target.repo, target.start, target.line,
                      target.excludes) as stack:
        for patch in patches:
            before = stack.head
            after = stack.push(patch)
            head, diffs = series.split(patch.mail(), patch.name)
            here = stack.concerned([diff.path for diff in diffs])
            yield head + b"".join(
                git("diff-tree", "-p", "-U3", *DIFF, before, after, "--",
                    f":(literal,top){diff.path}", repo=target.repo)
                if diff.path in here else diff.text for diff in diffs)


def _submission(patches, mails, author, version):
    """Return {name: content} of what is sent upstream."""
    texts = patches[0].folder / "pr"
    told = [series.metadata(mail)[0] for mail in mails]
    names = {patch.name for patch in patches}

    def keep(found):
        return found[0] if found[1].decode() in names else b""

    files = {
        # Not *.patch: git am takes it for a patch that is broken.
        "0000-cover-letter.txt": _cover(texts, patches, told, version),
        "0000-order.md": _ROW.sub(keep, _text(texts / "order.md")),
        "whatsnew.rst": _ITEM.sub(
            keep, _text(texts / "whatsnew.rst", author=author[0])),
        "ACKS.txt": _text(texts / "acks.txt", author=author[0])}
    closing = _text(texts / "disclosure.md")
    width = len(str(len(mails)))
    for number, (patch, mail) in enumerate(zip(patches, mails), 1):
        name = f"{number:04d}-{patch.name}"
        subject = f"Subject: [PATCH {number:0{width}}/{len(mails)}]".encode()
        files[f"{name}.patch"] = re.sub(
            rb"^Subject: \[PATCH\]", subject, mail, count=1, flags=re.M)
        title = f"# {told[number - 1]['Subject']}\n\n".encode()
        text = _text(texts / f"{patch.name}.md")
        files[f"{name}.pr.md"] = title + text + b"\n" + closing
        issue = texts / "issues" / f"{patch.name}.md"
        if issue.exists():
            files[f"{name}.issue.md"] = _text(issue)
    return files


def _cover(texts, patches, told, version):
    listing = "\n".join(f"  {patch.name}\n    {headers['Subject']}"
                        for patch, headers in zip(patches, told))
    disclosure = textwrap.fill(_text(texts / "disclosure.md").decode(), 72,
                               break_on_hyphens=False)
    return _text(
        texts / "cover.txt", zero="0" * 40, date=told[-1]["Date"],
        author=f"{told[-1]['Author']} <{told[-1]['Email']}>",
        none="0" * len(str(len(patches))), count=len(patches),
        # A checkout's folder is nobody else's business.
        version=version.partition(" in ")[0], listing=listing,
        disclosure=disclosure + "\n")


def _text(path, **fields):
    """Return a text of patches/pr/, with the fields in braces filled in."""
    text = series.read(path).decode()
    return (text.format(**fields) if fields else text).encode(
        "utf-8", "surrogateescape")


def _dep3(mail, author):
    """Return the patch with DEP-3 headers."""
    headers, message = series.metadata(mail)
    lines = message.decode("utf-8", "surrogateescape").splitlines()
    issue = re.match(r"gh-(\d+): ", headers["Subject"])
    date = email.utils.parsedate_to_datetime(headers["Date"])
    fields = [f"Description: {lines[0]}",
              *(f" {line or '.'}" for line in lines[2:]),
              "Author: {} <{}>".format(*author),
              "Origin: other",
              *([f"Bug: {ISSUES}{issue.group(1)}"] if issue else []),
              "Forwarded: no",
              f"Last-Update: {date:%Y-%m-%d}", "---", ""]
    return "\n".join(fields).encode("utf-8", "surrogateescape") + b"".join(
        diff.text for diff in series.split(mail)[1])
