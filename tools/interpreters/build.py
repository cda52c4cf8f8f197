"""A CPython with the series: get one, apply the patches, prove it."""

import hashlib
import json
import os
import re
import shlex
from pathlib import Path

from demo import demo
from tools import git
from tools.common import LINES, Failure, known_line, say
from tools.cpython import stock as bases
from tools.patches import needs, targets
from tools.patches.series import commit_onto, digest, load
from tools.places import see_writable

DESCRIPTIONS = {
    "build": """\
A CPython with the series: get one, apply the patches, prove it.

  ./series build            the newest CPython that can be had
  ./series build 3.14       that line
  ./series build --from DIR compile the source tree, checkout or tarball DIR
  ./series build 3.13 --from-source --prefix ~/py -- --with-pydebug
                            compile the source of 3.13, and install it
  ./series build --without redirect-reuse
                            leave out that patch; made beside the other one

LINE comes as binary packages of Debian's archive, through apt; nothing is
installed.  All of it is below build/, where build/LINE/source is the working
tree to edit and nothing else is precious.  A demonstration, the stock
interpreter and the patched one against a server that hangs up, ends it.
""",
    "python": """\
Print the path of the interpreter that ./series build makes.

  "$(./series python)" PROGRAM      run something with it

It is built first if it is not there, or is not up to date.  Its path is all
that goes to stdout; if it cannot be had, nothing does.
""",
    "tree": """\
Print the path of a working tree: the source with the series as commits.

  cd "$(./series tree)"

It is build/LINE/source, on the branch series, with one commit per patch upon
the tag base; ./series refresh writes patches/ from these commits.  Once made,
it is left as it is: it is the one place below build/ with work of yours.
""",
}

# What argparse would write, and what follows "--".
_USAGE = {
    "build": """\
%(prog)s [-h] [--from WHERE] [--from-source] [--fresh]
                    [--prefix DIR] [--without NAME] [LINE]
                    [-- CONFIGURE_ARGUMENT...]""",
    "python": """\
%(prog)s [-h] [--from WHERE] [--from-source]
                     [--without NAME] [LINE] [-- CONFIGURE_ARGUMENT...]""",
}

_DEFAULT = {
    "build": "the newest that can be had",
    "python": "the newest that can be had",
    "tree": "the one that has a working tree, else the oldest with a source",
}


def add_arguments(parser):
    verb = parser.prog.split()[-1]
    parser.usage = _USAGE.get(verb)
    parser.add_argument("line", nargs="?", metavar="LINE", type=known_line,
                        help=f"{', '.join(LINES)} (default: "
                             f"{_DEFAULT[verb]})")
    parser.add_argument("--from", dest="named", metavar="WHERE",
                        help="a directory or tarball with CPython's source, "
                             "which is only read")
    if verb == "tree":
        return
    needs.add_argument(parser)
    parser.add_argument("--from-source", action="store_true",
                        help="compile LINE's source instead of taking "
                             "binary packages")
    if verb == "build":
        parser.add_argument("--fresh", action="store_true",
                            help="make it anew, of what can be had by now")
        parser.add_argument("--prefix", metavar="DIR",
                            help="install what was compiled into DIR")


def run(args):
    if args.verb == "tree":
        print(working_tree(args.line, args.named))
        return 0
    configure = _configure(args)
    if args.verb == "python":
        _, python = patched(args.line, named=args.named, configure=configure,
                            without=args.without)
        print(python)
        return 0
    return _build(args, configure)


def _configure(args):
    """Return the arguments for configure; None if nothing is compiled."""
    prefix = getattr(args, "prefix", None)
    if args.from_source or args.named is not None:
        given = list(args.configure or ())
        if prefix is not None:
            given.append(f"--prefix={_target(prefix)}")
        return given
    for option, value in (("--prefix", prefix),
                          ("arguments for configure", args.configure)):
        if value is not None:
            raise Failure(f"nothing is compiled that could use {option}; add "
                          f"--from-source or --from DIR")
    return None


def _target(prefix):
    """Return the Path to install into, if that is possible."""
    target = Path(os.path.abspath(os.path.expanduser(prefix)))
    # CPython's Makefile does not quote it.
    if not re.fullmatch(r"[\w@%+=:,./-]+", str(target)):
        raise Failure(f"make install takes no white space and no special "
                      f"characters in --prefix, as in {target}; name another")
    see_writable(target)
    return target


def _build(args, configure):
    base, python = patched(args.line, named=args.named, configure=configure,
                           fresh=args.fresh, without=args.without)
    stock = base.interpreter_at("base", "stock")
    status = demo.demonstrate(stock, python)
    if status:
        say(f"the series does not keep its promise in {python}; see above")
        if not args.without:    # which can be why
            return status
    if args.prefix is not None:
        python = base.install(_folder(args.without))
        _see_installed(base, base.place / _folder(args.without),
                       _target(args.prefix))
    _report(base, python, args)
    return 0


def _see_installed(base, tree, target):
    """Raise Failure if a part of the series in Lib/ was not installed."""
    told = git.git("diff-tree", "-r", "-z", "--name-only", "--diff-filter=d",
                   "base", "HEAD", "--", "Lib", repo=tree)
    # With a "t" at its end if it is free-threaded.
    found = [path.parents[1] for path in (target / "lib").glob(
        f"python{base.line}*/http/client.py")]
    # Tests can be left out: configure --disable-test-modules.
    tests = any((library / "test").is_dir() for library in found)
    for path in filter(None, os.fsdecode(told).split("\0")):
        name = path[len("Lib/"):]
        if name.startswith("test/") and not tests:
            continue
        if not any(_equal(tree / path, library / name) for library in found):
            raise Failure(f"make install left {path} out of {target}/lib; "
                          f"see whether Makefile.pre.in names its folder")


def _equal(path, other):
    return other.is_file() and path.read_bytes() == other.read_bytes()


def _report(base, python, args):
    names = [patch.name for patch in load(without=args.without)]
    again = ["./series", "python"]
    again += [base.line] if args.named is None else ["--from", args.named]
    again += ["--from-source"] if args.from_source else []
    again += [word for name in args.without for word in ("--without", name)]
    again += ["--", *args.configure] if args.configure else []
    print()
    print(f"CPython {base.version} with {len(names)} "
          f"patch{'' if len(names) == 1 else 'es'}, from {base.origin}:")
    print(f"  {python}")
    if args.prefix is None:
        print(f'use it:   "$({shlex.join(again)})" PROGRAM')
    if args.named is None and not (args.from_source or args.without):
        print(f"test it:  ./series test {base.line}")


def patched(line=None, *, without=(), **options):
    """Return (Base, Path of the interpreter with the whole series).

    without: names of patches to leave out; it has a folder of its own then.
    Both are made if they are not there or the series has changed since.
    The others are those of bases.get(), but without *line* and *named*
    it is the newest line that can be had.  Raises Failure.
    """
    series, folder = load(without=without), _folder(without)
    base = _base(line, **options)
    with base.lock():
        commit = _tip(base, series, folder)
        return base, base.interpreter_at(commit, folder)


def _folder(without):
    """Return the name of the folder for what is left of the series."""
    names = "+".join(sorted(set(without)))
    if len(names) > 100:
        names = hashlib.sha256(names.encode()).hexdigest()[:16]
    return f"patched-without-{names}" if names else "patched"


def _base(line, *, named=None, **options):
    if line is not None or named is not None:
        return bases.get(line, named=named, **options)
    return bases.newest(**options)


def _tip(base, series, folder):
    """Return the commit of *series* upon *base*; noted beside *folder*."""
    wanted = {"base": git.commit_id(base.repo, "base"),
              "series": digest(series, base.line)}
    stamp = base.place / f"{folder}.json"
    try:
        told = json.loads(stamp.read_text("utf-8"))
    except (OSError, ValueError):
        told = {}
    if (told.get("wanted") == wanted
            and git.commit_id(base.repo, told["commit"])):
        return told["commit"]
    say(f"applying {len(series)} patches to CPython {base.version}")
    commits = commit_onto(base.repo, series, base.line,
                          excludes=base.excludes)
    commit = commits[-1] if commits else wanted["base"]
    stamp.write_text(json.dumps({"wanted": wanted, "commit": commit}))
    return commit


def working_tree(line=None, named=None):
    """Return the Path of a source tree with the series as commits to edit.

    It is build/LINE/source, on the branch series, one commit per patch upon
    the tag base.  Once there, it is left as it is.  Without *line* and
    *named* it is the one that is there, or of the oldest line that has a
    source, as a patch that fits that one fits most.  Raises Failure.
    """
    if line is None:
        line = (targets.only_line("tree") if named is None
                else bases.line_of(named))
    if line is None:
        source = bases.first_of(LINES, bases.source_tree)
        line = source.parent.name
    else:
        source = bases.source_tree(line, named=named)
    with bases.alone(line):
        if git.commit_id(source, "refs/heads/series") is None:
            _check_out_series(source, line)
    return source


def _check_out_series(source, line):
    series = load()
    say(f"applying {len(series)} patches in {source}")
    commits = commit_onto(source, series, line)
    tip = commits[-1] if commits else "base"
    # The branch comes last: it says that the tree is ready.
    git.git("checkout", "--quiet", "--detach", tip, repo=source)
    git.git("branch", "series", tip, repo=source)
    git.git("symbolic-ref", "HEAD", "refs/heads/series", repo=source)
