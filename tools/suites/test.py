"""Run CPython's tests of HTTP on every line, then this project's own tests.

On each line that can be had, the patched interpreter runs CPython's test
modules that the series can affect, and those that it adds, with warnings as
errors.  Then pytest runs tests/.  All output is in build/logs.  The last line
counts the tests, and names as NOT RUN the lines that cannot be had.  The exit
status is 0 if at least one line was run and nothing failed.

--each-patch checks, on the newest line if none is named, that the suite
passes after every patch, and that each test that a patch adds fails without
that patch.  If a test guards what works already, it passes without the patch,
too, and a comment above it says so:

    # Guard: what else has to stay as it is.
    def test_...

--refleaks runs the modules that the series adds, and test_httplib, on the
debug interpreter and looks for references that leak.
"""

from tools.common import LINES, Failure, build_dir, known_line, say
from tools.cpython import stock
from tools.cpython.download import Unavailable
from tools.interpreters import build
from tools.patches import series
from tools.suites import eachpatch, local, modules
from tools.suites.regrtest import Counts


def add_arguments(parser):
    parser.add_argument("lines", metavar="LINE", nargs="*",
                        type=known_line,
                        help=f"lines to run (default: {' '.join(LINES)})")
    parser.add_argument("--each-patch", action="store_true",
                        help="prove every patch on its own")
    parser.add_argument("--refleaks", action="store_true",
                        help="look for leaking references")
    parser.add_argument("--only", metavar="PATCH",
                        help="only the test modules that PATCH changes; with "
                        "--each-patch, only that patch")
    parser.add_argument("--no-local", action="store_true",
                        help="do not run this project's own tests, tests/")
    parser.add_argument("--from", dest="named", metavar="DIR",
                        help="instead of a line, compile CPython's source "
                        "in DIR and test that")


def run(args):
    if args.named:
        lines = args.lines[:1] or [None]
    else:
        lines = list(dict.fromkeys(args.lines)) or (
            LINES[-1:] if args.each_patch else LINES)
    patches = series.load()
    if args.only:
        series.find(args.only, patches)     # fails at once if there is none
    with_local = not (args.no_local or args.each_patch or args.refleaks
                      or args.only)
    python = local.python() if with_local else None
    report = modules.Report()
    for line in lines:
        _run_line(report, line, patches, args)
    if with_local:
        say("tests/, with pytest")
        log = build_dir() / "logs" / "pytest.log"
        report.tell("tests/", *local.run(python, log), log)
    return report.close()


def _run_line(report, line, patches, args):
    try:
        base = stock.get(line, debug=args.refleaks, named=args.named)
    except Unavailable as exc:
        report.missing.append((line or args.named, exc.what))
        return
    report.lines += 1
    try:
        if args.each_patch:
            eachpatch.run(report, base, patches, args.only)
        elif args.refleaks:
            _refleaks(report, base, patches, args.only)
        else:
            _suite(report, base, patches, args)
    except series.ApplyFailure as exc:
        report.tell(base.version, Counts(failed=1), [str(exc)])


def _suite(report, base, patches, args):
    _, python = build.patched(base.line, named=args.named)
    own = modules.own_modules(patches)
    groups = {"own": own, "CPython's": [name for name in modules.STOCK
                                        if name not in own]}
    for group, names in groups.items():
        names = _only(args.only, patches, names)
        if names:
            modules.run(report, base, python, f"{base.version} {group}",
                        names, own)


def _only(patch, patches, names):
    """Return those of *names* that *patch* changes; all if it is None."""
    if patch is None:
        return names
    changed = modules.modules(series.find(patch, patches).files)
    if not changed:
        raise Failure(f"{patch} changes no test module")
    return [name for name in names if name in changed]


def _refleaks(report, base, patches, only):
    python = base.interpreter_at(build.tip(base, patches), "debug",
                                 debug=True)
    own = modules.own_modules(patches)
    modules.run(report, base, python, f"{base.version} refleaks",
                _only(only, patches, ["test_httplib", *own]), own,
                options=["-R", "3:3"], timeout=1800)
