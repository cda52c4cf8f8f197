"""A CPython with the series: get one, apply the patches, try it out."""

import hashlib
import shlex

from demo import demo
from tools import git
from tools.common import LINES, Failure, known_line, say
from tools.cpython import stock
from tools.cpython.trees import Tree
from tools.patches import needs
from tools.patches.series import commit_onto, digest, load
from tools.places import alone_in

DESCRIPTIONS = {
    "build": """\
Build a CPython with the series, and try it out.

  ./series build            the newest line, CPython 3.15
  ./series build 3.14       the line 3.14
  ./series build --from DIR compile the source tree or checkout DIR
  ./series build 3.13 --from-source -- --prefix=$HOME/py
                            compile the source of 3.13; to install it, run
                            make install in the folder of the interpreter
  ./series build --without redirect-reuse
                            leave out that patch; the interpreter gets a
                            folder of its own

Binary packages come from Debian's archive, through apt; nothing is installed.
All files are below build/.  Only build/LINE/source, from ./series tree, can
hold work of yours; the rest can be removed and built again.  The last step is
./series demo.
""",
    "python": """\
Print the path of the interpreter that ./series build makes.

  "$(./series python)" PROGRAM      run something with it

It is built first if it is missing or out of date.  Only its path is written
to stdout; if it cannot be built, nothing is.
""",
    "tree": """\
Print the path of a working tree: CPython's source, the series as commits.

  cd "$(./series tree)"

The tree is build/LINE/source.  Its branch series has one commit per patch
after the tag base; ./series refresh writes patches/ from these commits.  A
tree that exists is left as it is, since it may hold work of yours.
""",
    "demo": demo.__doc__,
}


def add_arguments(parser):
    verb = parser.prog.split()[-1]
    default = ("the oldest; its patches fit the others best"
               if verb == "tree" else "the newest")
    parser.add_argument("line", nargs="?", metavar="LINE", type=known_line,
                        help=f"{', '.join(LINES)} (default: {default})")
    if verb == "demo":
        return
    parser.add_argument("--from", dest="named", metavar="DIR",
                        help="use CPython's source in the folder DIR, which "
                             "is only read")
    if verb == "tree":
        return
    needs.add_argument(parser)
    parser.add_argument("--from-source", action="store_true",
                        help="compile LINE's source instead of taking "
                             "binary packages")
    if verb == "build":
        parser.add_argument("--fresh", action="store_true",
                            help="make it anew, from the newest that can be "
                                 "had")
    # What argparse does not know of: cli.parse() takes it out before.
    usage = parser.format_usage()[len("usage: "):].rstrip()
    parser.usage = f"{usage}\n{' ' * 20}[-- CONFIGURE_ARGUMENT...]"


def run(args):
    if args.verb == "tree":
        print(working_tree(args.line, args.named))
        return 0
    if args.verb == "demo":
        base, python = patched(args.line)
        return demo.demonstrate(base.interpreter_at("base", "stock"), python)
    base, python = patched(args.line, named=args.named,
                           configure=_configure(args), without=args.without,
                           fresh=args.verb == "build" and args.fresh)
    if args.verb == "build":
        return _try_out(args, base, python)
    print(python)
    return 0


def _configure(args):
    """Return the arguments for configure; None if nothing is compiled."""
    if args.from_source or args.named is not None:
        return args.configure or []
    if args.configure:
        raise Failure(f"{shlex.join(args.configure)} is for configure, but "
                      f"nothing is compiled; add --from-source or --from DIR")
    return None


def _try_out(args, base, python):
    unchanged = base.interpreter_at("base", "stock")
    if not demo.POSSIBLE:
        say(demo.IMPOSSIBLE)
    elif demo.demonstrate(unchanged, python):
        say(f"{python} lost or repeated a POST, or did not run TLS; see "
            f"above")
        if not args.without:    # which can be why
            return 1
    count = len(load(without=args.without))
    again = ["./series", "python"]
    again += [base.line] if args.named is None else ["--from", args.named]
    again += ["--from-source"] if args.from_source else []
    again += [word for name in args.without for word in ("--without", name)]
    again += ["--", *args.configure] if args.configure else []
    print(f"\nCPython {base.version} with {count} "
          f"patch{'es' * (count != 1)}, from {base.origin}:")
    print(f"  {python}")
    print(f'use it:   "$({shlex.join(again)})" PROGRAM')
    if args.named is None and not (args.from_source or args.without):
        print(f"test it:  ./series test {base.line}")
    return 0


def patched(line=None, *, without=(), **options):
    """Return (Base, Path of the interpreter with the series), up to date.

    without: names of patches to leave out; it has a folder of its own then.
    The others are those of stock.get().
    """
    patches = load(without=without)
    base = stock.get(line, **options)
    names = "+".join(sorted(set(without)))
    if len(names) > 100:    # too much for a folder's name
        names = hashlib.sha256(names.encode()).hexdigest()[:16]
    with alone_in(base.place):
        return base, base.interpreter_at(
            tip(base, patches),
            f"patched-without-{names}" if names else "patched")


def tip(base, patches):
    """Return the commit of *patches* upon *base*, made if need be."""
    # A ref of its own keeps it, and says that it is there.
    start = git.commit_id(base.repo, "base")
    ref = f"refs/series/{start}/{digest(patches)}"
    commit = git.commit_id(base.repo, ref)
    if commit is None:
        say(f"applying {len(patches)} patches to CPython {base.version}")
        commit = commit_onto(base.repo, patches, base.line,
                             excludes=base.excludes)[-1]
        git.git("update-ref", ref, commit, repo=base.repo)
    return commit


def working_tree(line=None, named=None):
    """Return the Path of a source tree with the series as commits to edit.

    See what DESCRIPTIONS says of it.  Without *line* and *named* it is of
    the oldest line.
    """
    line = line or (Tree(named).line if named else LINES[0])
    source = stock.source_tree(line, named=named)
    with stock.alone(line):
        if git.commit_id(source, "refs/heads/series") is None:
            patches = load()
            say(f"applying {len(patches)} patches in {source}")
            top = commit_onto(source, patches, line)[-1]
            # The branch comes last: it says that the tree is ready.
            git.git("checkout", "--quiet", "--detach", top, repo=source)
            git.git("branch", "series", top, repo=source)
            git.git("symbolic-ref", "HEAD", "refs/heads/series", repo=source)
    return source
