"""Where the stock CPythons come from that the series is applied to.

get() gives a Base: a git repository with the stock tree at the tag base,
and runnable interpreters whose standard library is a work tree of it.

From Debian's archive come binary packages, unpacked into build/LINE/:

    root/       the packages, for all interpreters of the line
    base.git/   the repository; it tracks the standard library, Lib/
    NAME/       one interpreter: usr/bin/pythonX.Y, and Lib/ as a work tree
    base.json   written last: without it, all of this is made again

Whole source trees are compiled: the archive's in build/LINE-compiled/, one
that the user names in a folder called after it:

    base.git/   the repository (for the archive's, build/LINE/source/.git)
    NAME/       a work tree, and in obj/ what was compiled from it
    NAME-obj.log
"""

import contextlib
import dataclasses
import filecmp
from pathlib import Path

from tools import git
from tools.common import LINES, Failure, build_dir, trouble
from tools.cpython import compile, packages
from tools.cpython.trees import Tree
from tools.cpython.worktrees import belongs, commit_base, move
from tools.places import alone_in, copy, link, remove

# Left by a build in a source tree; CPython's own .gitignore has these, but
# not every source tree has that.
_BUILT = "\n".join((
    "*.a", "*.o", "*.so", "*.so.*", "/Makefile*", "/Modules/Setup.[bls]*",
    "/Modules/config.c", "/Programs/_freeze_module", "/_bootstrap_python",
    "/build/", "/config.log", "/config.status", "/platform",
    "/pybuilddir.txt", "/pyconfig.h", "/python", "/python-config*", ""))

_CHECK = "import ssl, sys; print('%d.%d' % sys.version_info[:2])"


@dataclasses.dataclass
class Base:
    """A stock CPython, and interpreters made from it."""

    line: str       # "3.15"
    version: str    # "3.15.2"
    origin: str     # where it is from, for people
    place: Path     # of the folder below which its interpreters are
    repo: Path      # of the git repository
    excludes = ()   # path patterns of what it has no place for

    def interpreter_at(self, commit, name, *, debug=False):
        """Return the Path of an interpreter with the library of *commit*.

        name: its folder below place ("stock", "patched"...), which is made
        or moved to *commit*, whatever was changed in it by hand; debug: the
        build with assertions and reference counts.
        """
        with alone_in(self.place):
            wanted = git.commit_id(self.repo, commit)
            if wanted is None:
                raise Failure(f"{self.repo} has no commit {commit}; make it "
                              f"anew: ./series build --fresh")
            tree = self.place / name
            move(self.repo, tree, wanted)
            return self._furnish(tree, debug)

    def _no_start(self, python):
        """Return None if *python* is of this version, with TLS, or why."""
        return trouble([python, "-I", "-c", _CHECK],
                       ".".join(self.version.split(".")[:2]))


class PackageBase(Base):
    """A Base from binary packages; it has no Doc, Misc or C sources."""

    excludes = ("Doc/*", "Misc/*")

    def _furnish(self, tree, debug):
        program = f"python{self.line}" + ("-dbg" if debug else "")
        python = tree / "usr" / "bin" / program
        # The debug build's usual name is a link to its other one.
        source = (self.place / "root" / "usr" / "bin" / program).resolve()
        if not source.exists():
            raise Failure(f"{self.place} was made without {program}; make it "
                          f"anew: ./series build {self.line} --fresh")
        library = tree / "usr" / "lib" / f"python{self.line}"
        link("../../Lib", library)
        stdlib = Path("usr") / "lib" / f"python{self.line}"
        for pattern in packages.MACHINE:
            for part in (self.place / "root" / stdlib).glob(pattern):
                link(Path("..") / ".." / "root" / stdlib / part.name,
                      tree / "Lib" / part.name)
        if python.exists() and filecmp.cmp(source, python):
            return python
        # The interpreter looks for its library from where it is, after
        # links are followed: it has to be a file of its own.
        copy(source, python)
        if not debug:
            link(program, python.with_name("python3"))
            link(program, python.with_name("python"))
        problem = self._no_start(python)
        if problem:
            # Not to be taken for good the next time.
            python.unlink()
            raise Failure(f"{python} does not start: {problem}; make it "
                          f"anew: ./series build {self.line} --fresh")
        return python


@dataclasses.dataclass
class TreeBase(Base):
    """A Base that is compiled from a whole source tree."""

    configure: tuple    # arguments

    def _furnish(self, tree, debug):
        own = self._objects(tree, debug)
        if own.current():
            return own.python
        others = [self._objects(entry, debug)
                  for entry in sorted(self.place.iterdir())
                  if entry != tree and belongs(entry, self.repo)]
        same = [other for other in others
                if other.key == own.key and other.current()]
        if same:
            own.copy_from(same[0])
        else:
            own.build()
        problem = self._no_start(own.python)
        if problem:
            own.stamp.unlink()      # not to be taken for good the next time
            if "_ssl" in problem:
                problem = f"no TLS; {compile.NEEDED}"
            raise Failure(f"{own.python} does not work: {problem}; the log "
                          f"is {own.log}")
        return own.python

    def _objects(self, tree, debug):
        arguments = list(self.configure)
        if not any(one.startswith("--prefix") for one in arguments):
            # Else it would take modules from /usr/local.
            arguments.append(f"--prefix={self.place / 'installed'}")
        if debug and "--with-pydebug" not in arguments:
            arguments.append("--with-pydebug")
        return compile.Objects(tree, arguments,
                               "obj-debug" if debug else "obj")


def get(line=None, *, debug=False, named=None, configure=None, fresh=False):
    """Return the Base of a CPython line, fetched or built if need be.

    line: as "3.15"; None for the newest, or that of *named*.  debug: with a
    debug interpreter.  named: a folder with CPython's source, to compile;
    None for Debian's archive.  configure: arguments for configure, to
    compile the archive's source; None for its binary packages.  fresh: make
    it anew.  Raises Unavailable if it cannot be had.
    """
    if named is not None:
        return _from_named(line, named, configure or (), fresh)
    line = line or LINES[-1]
    if configure is not None:
        return _from_source(line, configure, fresh)
    return _from_packages(line, debug, fresh)


def source_tree(line="3.13", *, named=None):
    """Return the Path of a whole source tree of *line*, build/LINE/source.

    It is a git repository with the stock tree at the tag base, made of the
    archive's source package or the folder *named*, unless it is there.
    """
    with alone(line):
        place = build_dir() / line
        source = place / "source"
        if git.commit_id(source, "base"):
            return source
        place.mkdir(parents=True, exist_ok=True)
        fresh = place / ".source.new"
        remove(fresh)
        if named is None:
            version, origin = packages.fetch_source(line, fresh)
            _init(fresh / ".git", fresh, f"CPython {version}\n\n{origin}",
                  force=True)
        else:
            tree = Tree(named)
            tree.see_line(line)
            fresh.mkdir()
            _init(fresh / ".git", tree.top,
                  f"CPython {tree.text}\n\n{tree.describe()}")
            git.git("reset", "--quiet", "--hard", "base", repo=fresh)
        fresh.rename(source)
        return source


def alone(line):
    """Return a context manager: alone in build/LINE, across processes."""
    return alone_in(build_dir() / line)


def _init(repo, tree, message, force=False):
    """Make the repository of a working tree, with *tree* at base."""
    git.git("init", "--quiet", "--template=", repo.parent)
    commit_base(repo, tree, message, force=force, exclude=_BUILT)
    git.git("update-ref", "--no-deref", "HEAD", "refs/tags/base", repo=repo)


def _from_named(line, where, configure, fresh):
    tree = Tree(where)
    tree.see_line(line)
    place = build_dir() / tree.slug
    with _made(place, fresh):
        repo = place / "base.git"
        git.git("init", "--quiet", "--bare", "--template=", repo)
        commit_base(repo, tree.top, f"CPython {tree.text}", exclude=_BUILT)
        return TreeBase(tree.line, tree.text, tree.describe(), place, repo,
                        configure)


def _from_source(line, configure, fresh):
    repo = source_tree(line)
    place = build_dir() / f"{line}-compiled"
    with _made(place, fresh):
        origin = git.line("log", "-1", "--format=%b", "base", repo=repo)
        return TreeBase(line, Tree(repo).text, origin, place, repo, configure)


@contextlib.contextmanager
def _made(place, fresh):
    """Make the folder *place*, empty if *fresh*; alone in it."""
    with alone_in(place):
        if fresh:
            remove(place)
        place.mkdir(exist_ok=True)
        yield


def _from_packages(line, debug, fresh):
    place = build_dir() / line
    if ":" in str(place):
        # The dynamic loader's search path is a list separated by colons.
        raise Failure(f"a CPython cannot be built below {build_dir()}, as "
                      f"that has a colon in it; move the checkout")
    with alone_in(place):
        found = (None if fresh else packages.load(place, debug)) or (
            packages.make(place, line, debug))
        return PackageBase(line, found["version"], found["origin"], place,
                           place / "base.git")
