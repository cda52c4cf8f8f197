"""Show which patch applies to which line.

The table has a column for every CPython that is at hand below build/, and
one for a tree that is named.  Then comes which patch stands on which, for
--without.  The exit status is 1 if a patch fails.
"""

import argparse
import contextlib

from tools.common import LINES, Failure, known_line, need_program
from tools.patches import needs, placement, series, targets, variants

APPLIES, FAILS, BEHIND, HELD = "applies", "FAILS", "-", "is there"


def add_arguments(parser):
    parser.add_argument("lines", metavar="LINE", nargs="*",
                        type=known_line,
                        help=f"lines to show (default: {' '.join(LINES)})")
    parser.add_argument("--tree", metavar="DIR",
                        help="also try this checkout or source tree")
    parser.add_argument("--fetch", action="store_true",
                        help="get the lines that are not at hand")
    # For tests: a series other than patches/.
    parser.add_argument("--patches", metavar="DIR", help=argparse.SUPPRESS)


def run(args):
    need_program("git")
    patches = series.load(folder=args.patches)
    # In the order of LINES, each once, however they were named.
    lines = [line for line in LINES if line in args.lines] or (
        [] if args.tree else LINES)
    found, missing = targets.at_hand(lines, fetch=args.fetch)
    with contextlib.ExitStack() as trees:
        if args.tree:
            found.append(trees.enter_context(
                targets.named(args.tree, patches)))
        columns = [Column(target, patches) for target in found]
    if not columns:
        raise Failure("no CPython is at hand to try the patches on; get one: "
                      "./series status --fetch")
    print(table(patches, columns), end="")
    print(notes(columns, missing), end="")
    print(needs.described(patches), end="")
    failed = any(column.failure for column in columns)
    return 1 if failed or args.lines and missing else 0


class Column:
    """What came of applying the patches, one after the other, to a target.

    Attributes: target, words (one per patch), failure (the first Failure,
    or None).
    """

    def __init__(self, target, patches):
        self.target = target
        self.words = []
        self.failure = None
        patches = variants.fitting(patches, target.repo, target.start)
        with series.Stack(target.repo, target.start, target.line,
                          target.excludes) as stack:
            held = stack.held(patches)
            for number, patch in enumerate(patches):
                self.words.append(HELD if number < held else
                                  self._try(stack, patch))

    def _try(self, stack, patch):
        if self.failure:
            return BEHIND
        before = stack.head
        try:
            commit = stack.push(patch)
            placement.check(patch, self.target, before, commit)
        except Failure as exc:
            if stack.holds([patch]):
                return HELD
            self.failure = exc
            return FAILS
        return APPLIES


def table(patches, columns):
    """Return the table as text."""
    rows = [["patch"] + [column.target.title for column in columns]]
    rows += [[patch.name] + [column.words[number] for column in columns]
             for number, patch in enumerate(patches)]
    widths = [max(map(len, row)) + 2 for row in zip(*rows)]
    return "".join("".join(word.ljust(width) for word, width
                           in zip(row, widths)).rstrip() + "\n"
                   for row in rows)


def notes(columns, missing):
    """Return the lines below the table."""
    told = [_note(column.target) for column in columns]
    told += [f"{line}: {why}" for line, why in missing]
    told.sort(key=_place)
    for column in columns:
        if column.failure:
            told.append(f"{column.target.title} FAILS: {column.failure}")
    return "\n" + "".join(f"{text}\n" for text in told)


def _note(target):
    left_out = f"; no {', '.join(target.left_out)} there" if (
        target.excludes) else ""
    return f"{target.title}: {target.origin}{left_out}"


def _place(note):
    """Return where a note belongs: by line, and a named tree last."""
    line = note.partition(":")[0].split()[0]
    return LINES.index(line) if line in LINES else len(LINES)
