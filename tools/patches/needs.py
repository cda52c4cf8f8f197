"""Leaving patches out, and which patch stands on which.

A patch stands on an earlier one if it does not apply, or its tests do not
pass, without that.  patches/needs says so, in a line for each such patch:

    NAME: the nearest ones that it stands on

What those stand on is meant as well, and a patch without a line stands on
nothing.
"""

import textwrap

from tools.common import Failure


def add_argument(parser):
    """Add --without to a verb; its value is args.without, a list."""
    parser.add_argument("--without", metavar="NAME", action="append",
                        default=[],
                        type=lambda name: name.removesuffix(".patch"),
                        help="leave out this patch (./series status shows "
                        "which can go); can be given more than once")


def read(folder):
    """Return {name: names of the nearest patches it stands on}."""
    try:
        text = (folder / "needs").read_text("utf-8")
    except FileNotFoundError:
        return {}
    lines = [line.partition(":") for line in text.splitlines()]
    return {name: rest.split() for name, colon, rest in lines if colon}


def closure(nearest):
    """Return {name: set of all patches it stands on}; of what read() gave."""
    found = {}
    for name, names in nearest.items():     # in the order of the series
        found[name] = set(names).union(*(found.get(one, ())
                                         for one in names))
    return found


def leave_out(patches, without):
    """Return *patches* without those named; Failure if one has to stay."""
    kept = [patch for patch in patches if patch.name not in without]
    stands_on = closure(read(patches[0].folder))
    for name in without:
        standing = [patch.name for patch in kept
                    if name in stands_on.get(patch.name, ())]
        if standing:
            raise Failure(f"{name} cannot be left out alone, as others stand "
                          f"on it; leave these out, too: --without "
                          f"{' --without '.join(standing)}")
    if not kept:
        raise Failure("nothing is left of the series; leave out less")
    return kept


def described(patches):
    """Return lines for people: what stands on what."""
    nearest = read(patches[0].folder)
    if not nearest:
        return ""
    width = max(map(len, nearest)) + 2
    rows = [f"{name.ljust(width)}{', '.join(names)}"
            for name, names in nearest.items()]
    needed = {one for names in nearest.values() for one in names}
    free = [patch.name for patch in patches if patch.name not in needed]
    return "\n".join([
        "", f"{'patch'.ljust(width)}needs these, and what they need", *rows,
        textwrap.fill(f"--without can leave out, alone: {', '.join(free)}",
                      79, break_on_hyphens=False), ""])
