"""Show which patch applies to which line.

The table has a column for each CPython that is below build/, and one for
--tree.  A second table shows which others a patch needs; --without can leave
out those that none needs.  The exit status is 1 if a patch fails.
"""

import argparse
import contextlib

from tools.common import LINES, Failure, known_line
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
    patches = series.load(folder=args.patches)
    # In the order of LINES, each once, however they were named.
    lines = [line for line in LINES if line in args.lines] or (
        [] if args.tree else LINES)
    found, missing = targets.at_hand(lines, fetch=args.fetch)
    with contextlib.ExitStack() as trees:
        if args.tree:
            found.append(trees.enter_context(
                targets.named(args.tree, patches)))
        columns = [(target, *try_on(target, patches)) for target in found]
    if not columns:
        raise Failure("no CPython is at hand to try the patches on; get one: "
                      "./series status --fetch")
    print(table(patches, columns), end="")
    print(notes(columns, missing), end="")
    print(needs.described(patches), end="")
    failed = any(failure for *_, failure in columns)
    return 1 if failed or args.lines and missing else 0


def try_on(target, patches):
    """Apply the patches, one after the other, to a target.

    Returns (words, one per patch; the Failure that there was, or None).
    """
    words, failure = [], None
    patches = variants.fitting(patches, target.repo, target.start)
    with series.Stack(target.repo, target.start, target.line,
                      target.excludes) as stack:
        held = stack.held(patches)
        for number, patch in enumerate(patches):
            before, word = stack.head, APPLIES
            if number < held:
                word = HELD
            elif failure:
                word = BEHIND
            else:
                try:
                    placement.check(patch, target, before, stack.push(patch))
                except Failure as exc:
                    word = HELD if stack.holds([patch]) else FAILS
                    failure = exc if word == FAILS else None
            words.append(word)
    return words, failure


def table(patches, columns):
    """Return the table as text."""
    listed = [["patch", *(patch.name for patch in patches)],
              *([target.title, *words] for target, words, _ in columns)]
    padded = [[word.ljust(max(map(len, column)) + 2) for word in column]
              for column in listed]
    return "".join("".join(row).rstrip() + "\n" for row in zip(*padded))


def notes(columns, missing):
    """Return the lines below the table."""
    told = [f"{target.title}: {target.origin}" + (
                f"; no {', '.join(target.left_out)} there"
                if target.excludes else "")
            for target, *_ in columns]
    told += [f"{line}: {why}" for line, why in missing]
    told += [f"{target.title} FAILS: {failure}"
             for target, _, failure in columns if failure]
    return "\n" + "".join(f"{text}\n" for text in told)
