"""A CPython with the series: get one, apply the patches, prove it.

  ./series build            the newest CPython that can be had
  ./series build 3.14       that line
  ./series build --from DIR compile the source tree, checkout or tarball DIR
  ./series build 3.13 --from-source --prefix ~/py -- --with-pydebug
                            compile the source of 3.13, and install it
  ./series python 3.14      print the path of the interpreter
  ./series tree 3.13        print the path of a working tree with the series
                            as commits, to edit

LINE comes as binary packages of Debian's archive, through apt; nothing is
installed.  All of it is below build/, where build/LINE/source is the working
tree to edit and nothing else is precious.
"""

import functools
import json
import os
import re
import shlex
import sys
from pathlib import Path

from tools import bases, demo, git
from tools.bases import Unavailable
from tools.common import LINES, Failure, say
from tools.patches import commit_onto, digest, load
from tools.places import see_writable

_DEFAULT = " (default: the newest that can be had)"


def add_arguments(parser):
    parser.add_argument("line", nargs="?", metavar="LINE", choices=LINES,
                        help=f"{', '.join(LINES)}{_DEFAULT}")
    parser.add_argument("--from", dest="named", metavar="WHERE",
                        help="a directory or tarball with CPython's source, "
                             "which is only read")
    if parser.prog.endswith(" tree"):
        return
    parser.add_argument("--from-source", action="store_true",
                        help="compile LINE's source instead of taking "
                             "binary packages")
    if parser.prog.endswith(" build"):
        parser.add_argument("--fresh", action="store_true",
                            help="make it anew, of what can be had by now")
        parser.add_argument("--prefix", metavar="DIR",
                            help="install what was compiled into DIR")
    # Only this usage tells about "--", and it is too long for one line.
    usage = parser.format_usage().partition(": ")[2].split(" [LINE]")[0]
    parser.usage = (f"{usage}\n              [LINE] "
                    f"[-- CONFIGURE_ARGUMENT...]")
    parser.parse_known_args = functools.partial(
        _parse_known_args, parser.parse_known_args)
    parser.set_defaults(configure=None)


def _parse_known_args(parse, args=None, namespace=None):
    # argparse cannot keep what follows "--" apart from an optional LINE.
    args = list(sys.argv[1:] if args is None else args)
    tail = None
    if "--" in args:
        cut = args.index("--")
        args, tail = args[:cut], args[cut + 1:]
    parsed, unknown = parse(args, namespace)
    parsed.configure = tail
    return parsed, unknown


def run(args):
    if args.verb == "tree":
        print(working_tree(args.line, args.named))
        return 0
    configure = _configure(args)
    if args.verb == "python":
        _, python = patched(args.line, named=args.named, configure=configure)
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
                           fresh=args.fresh)
    stock = base.interpreter_at("base", "stock")
    status = demo.demonstrate(stock, python)
    if status:
        say(f"the series does not keep its promise in {python}; see above")
        return status
    if args.prefix is not None:
        python = base.install("patched")
        _see_installed(base, _target(args.prefix))
    _report(base, python, args)
    return 0


def _see_installed(base, target):
    """Raise Failure if a part of the series in Lib/ was not installed."""
    tree = base.place / "patched"
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
    names = [patch.name for patch in load()]
    again = ["./series", "python"]
    again += [base.line] if args.named is None else ["--from", args.named]
    again += ["--from-source"] if args.from_source else []
    again += ["--", *args.configure] if args.configure else []
    print()
    print(f"CPython {base.version} with {len(names)} "
          f"patch{'' if len(names) == 1 else 'es'}, from {base.origin}:")
    print(f"  {python}")
    if args.prefix is None:
        print(f'use it:   "$({shlex.join(again)})" PROGRAM')
    if args.named is None and not args.from_source:
        print(f"test it:  ./series test {base.line}")


def patched(line=None, **options):
    """Return (Base, Path of the interpreter with the whole series).

    Both are made if they are not there or the series has changed since.
    The arguments are those of bases.get(), but without *line* and *named*
    it is the newest line that can be had.  Raises Failure.
    """
    base = _base(line, **options)
    with base.lock():
        commit = _tip(base)
        return base, base.interpreter_at(commit, "patched")


def _base(line, *, named=None, **options):
    if line is not None or named is not None:
        return bases.get(line, named=named, **options)
    return _newest(lambda line: bases.get(line, **options))


def _newest(get):
    """Return get(LINE) for the newest LINE for which it is available."""
    for line in reversed(LINES):
        try:
            return get(line)
        except Unavailable as exc:
            if line == LINES[0]:
                raise
            say(f"{exc}; trying an older line")
            problem = exc
    raise problem


def _tip(base):
    """Return the commit of the whole series upon *base*."""
    series = load()
    wanted = {"base": git.commit_id(base.repo, "base"),
              "series": digest(series, base.line)}
    stamp = base.place / "patched.json"
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
    the tag base.  Once there, it is left as it is.  Raises Failure.
    """
    if line is None and named is not None:
        line = bases.line_of(named)
    if line is None:
        source = _newest(bases.source_tree)
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
