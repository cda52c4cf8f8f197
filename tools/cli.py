"""The command line: one subcommand per verb, each in a module of its own."""

import argparse
import difflib
import importlib
import os
import signal
import sys

from tools.common import Failure, need_program

BUILD = "tools.interpreters.build"
PATCHES = "tools.patches."

# Verb -> (module, one line of help), in the order --help shows them.
# A module has add_arguments(parser) and run(args), which returns the exit
# status.  Where a module serves several verbs, args.verb tells which, and
# DESCRIPTIONS has what --help says of each; else it is the module's own text.
VERBS = {
    "build": (BUILD, "build a CPython with the series, try it out"),
    "python": (BUILD, "print the path of a patched interpreter"),
    "tree": (BUILD, "print the path of a working tree to edit"),
    "test": ("tools.suites.test", "run CPython's tests, and this project's"),
    "venv": ("tools.interpreters.venv",
             "make a virtual environment with the patched modules"),
    "apply": (PATCHES + "apply", "apply the series to a checkout or tree"),
    "refresh": (PATCHES + "refresh", "rewrite patches/ from a working tree"),
    "status": (PATCHES + "status", "show which patch applies to which line"),
    "export": (PATCHES + "export", "write the series as mails for git am"),
    "demo": (BUILD, "POST to a server that hangs up, stock and patched"),
    "bench": ("bench.bench", "measure stock, patched and other clients"),
}

# What follows "--" is for configure: args.configure, None if there is none.
CONFIGURING = ("build", "python")

DESCRIPTION = """\
A series of patches that makes persistent connections safe in CPython's
http.client, and in what is built on it.  ./series VERB --help explains a verb.
A line is a version of CPython that the series supports: 3.13, 3.14 or 3.15.
"""


def parse(argv):
    """Return the parsed arguments; exit with 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="series", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True,
                                  title="verbs")
    for verb, (module_name, text) in VERBS.items():
        module = importlib.import_module(module_name)
        told = getattr(module, "DESCRIPTIONS", {verb: module.__doc__})
        its_own = verbs.add_parser(
            verb, help=text, description=told[verb],
            formatter_class=argparse.RawDescriptionHelpFormatter)
        its_own.set_defaults(usage_error=its_own.error)
        module.add_arguments(its_own)
    if not argv:
        parser.error("name a verb; ./series --help lists them")
    if argv[0][:1] != "-" and argv[0] not in VERBS:
        near = difflib.get_close_matches(argv[0], VERBS, 1)
        parser.error(f"there is no verb {argv[0]}; " + (
            f"did you mean {near[0]}?" if near
            else "./series --help lists them"))
    configure = None
    if argv[0] in CONFIGURING and "--" in argv:
        # argparse cannot keep apart what follows it and an optional LINE.
        cut = argv.index("--")
        argv, configure = argv[:cut], argv[cut + 1:]
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        # By the verb's own parser, which shows the verb's usage.
        args.usage_error(f"unrecognized arguments: {' '.join(unknown)}")
    args.configure = configure
    return args


def main(argv=None):
    """Run one verb; return the exit status (0 good, 1 failed, 2 usage)."""
    # Ended by a signal, clean up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        try:
            args = parse(sys.argv[1:] if argv is None else list(argv))
            need_program("git")
            return importlib.import_module(VERBS[args.verb][0]).run(args)
        finally:
            # Now, also after --help, as a reader that is gone is told here.
            sys.stdout.flush()
    except Failure as exc:
        print(f"series: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("series: interrupted; run the command again to go on",
              file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) went away: not our failure,
        # but nothing more can be printed, not even by the interpreter's exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as exc:
        # What the system refuses: a full disk, a folder that is not ours.
        where = f"{exc.filename}: " if exc.filename else ""
        print(f"series: {where}{exc.strerror or exc}; correct this, then run "
              f"the command again", file=sys.stderr)
        return 1
