"""Where the CPythons come from that the series is applied to.

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
import errno
import glob
import json
import os
import shutil
from pathlib import Path

from tools import archive, git, objects, sources
from tools.archive import Unavailable
from tools.common import (LINES, Failure, build_dir, cache_dir, locked,
                          need_program, run, say)
from tools.trees import OLDEST, Tree

# Raised when what is written below build/ changes its form.
FORMAT = 1

NO_ROOM = 1 << 20       # bytes; less is a full disk

# Who commits the stock tree, and when: fixed, so that ids repeat.
_AUTHOR = {**git.COMMITTER, "GIT_AUTHOR_NAME": "series",
           "GIT_AUTHOR_EMAIL": "series@localhost",
           "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z",
           "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z"}

# In Lib/, but not text that a patch could change: kept in root/.
_MACHINE = ("lib-dynload", "config-*")

# What a work tree has beside what git tracks.
_EXCLUDE = """\
/usr/
/obj/
/obj-debug/
/.obj*.new/
/Lib/lib-dynload
/Lib/config-*
__pycache__/
*.pyc
"""

# Left by a build in a source tree; CPython's own .gitignore has these, but
# not every tarball has that.
_BUILT = """\
*.a
*.o
*.so
*.so.*
/Makefile
/Makefile.pre
/Modules/Setup.bootstrap
/Modules/Setup.local
/Modules/Setup.stdlib
/Modules/config.c
/Modules/ld_so_aix
/Programs/_freeze_module
/_bootstrap_python
/build/
/config.log
/config.status
/platform
/pybuilddir.txt
/pyconfig.h
/python
/python-config
/python-config.py
"""

_CHECK = "import ssl, sys; print('%d.%d' % sys.version_info[:2])"


class Base:
    """A stock CPython, and interpreters made from it.

    Attributes: line ("3.15"), version ("3.15.2"), origin (where it is from,
    for people), repo (Path of the git repository), excludes (path patterns
    of what the series has no place for in it), place (Path of the folder
    below which its interpreters are).
    """

    excludes = ()

    def __init__(self, line, version, origin, place, repo):
        self.line = line
        self.version = version
        self.origin = origin
        self.place = Path(place)
        self.repo = Path(repo)

    def __repr__(self):
        return f"<Base {self.version}: {self.origin}>"

    def interpreter_at(self, commit, name, *, debug=False):
        """Return the Path of an interpreter with the library of *commit*.

        commit: a revision of the repository; name: the interpreter's folder
        below place ("stock", "patched"...), which is made or moved to
        *commit*, whatever was changed in it by hand; debug: the build with
        assertions and reference counts.  Raises Failure.
        """
        with _told(), self.lock():
            wanted = git.commit_id(self.repo, commit)
            if wanted is None:
                raise Failure(f"{self.repo} has no commit {commit}; make it "
                              f"anew: ./series build --fresh")
            tree = self.place / name
            _move(self.repo, tree, wanted)
            return self._furnish(tree, debug)

    def lock(self):
        """Return a context manager: alone below place, across processes."""
        return _lock(self.place)

    def _furnish(self, tree, debug):
        raise NotImplementedError


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
        _link("../../Lib", library)
        stdlib = Path("usr") / "lib" / f"python{self.line}"
        for pattern in _MACHINE:
            for part in (self.place / "root" / stdlib).glob(pattern):
                _link(Path("..") / ".." / "root" / stdlib / part.name,
                      tree / "Lib" / part.name)
        if python.exists() and python.samefile(source):
            return python
        # The interpreter looks for its library from where it is, after
        # links are followed: it has to be a file of its own.
        _hard_link(source, python)
        if not debug:
            _link(program, python.with_name("python3"))
            _link(program, python.with_name("python"))
        self._check(python)
        return python

    def _check(self, python):
        problem = _no_start(python, self.version)
        if problem:
            # Not to be taken for good the next time.
            python.unlink()
            raise Failure(f"{python} does not start: {problem}; make it "
                          f"anew: ./series build {self.line} --fresh")


class TreeBase(Base):
    """A Base that is compiled from a whole source tree.

    configure: the arguments for configure.
    """

    def __init__(self, line, version, origin, place, repo, excludes,
                 configure):
        super().__init__(line, version, origin, place, repo)
        self.excludes = tuple(excludes)
        self.configure = tuple(configure)

    def _furnish(self, tree, debug):
        own = self._objects(tree, debug)
        if not own.current():
            other = self._elsewhere(own, debug)
            if other:
                own.copy_from(other)
            else:
                own.build()
            self._check(own)
        return own.python

    def _check(self, own):
        problem = _no_start(own.python, self.version)
        if problem is None:
            return
        own.stamp.unlink()      # not to be taken for good the next time
        if "_ssl" in problem:
            problem = f"no TLS; {objects.NEEDED}"
        raise Failure(f"{own.python} does not work: {problem}; the log is "
                      f"{own.log}")

    def _objects(self, tree, debug):
        arguments = list(self.configure)
        if not any(one.startswith("--prefix") for one in arguments):
            # Else it would take modules from /usr/local.
            arguments.append(f"--prefix={self.place / 'installed'}")
        if debug and "--with-pydebug" not in arguments:
            arguments.append("--with-pydebug")
        return objects.Objects(tree, "HEAD", arguments,
                               "obj-debug" if debug else "obj")

    def _elsewhere(self, wanted, debug):
        """Return the same objects from another work tree; None if none."""
        for entry in sorted(self.place.iterdir()):
            if entry != wanted.tree and _belongs(entry, self.repo):
                other = self._objects(entry, debug)
                if other.key == wanted.key and other.current():
                    return other
        return None

    def install(self, name):
        """make install from work tree *name*; return the interpreter."""
        with _told(), self.lock():
            return self._objects(self.place / name, False).install()


def get(line=None, *, debug=False, named=None, configure=None,
        fresh=False):
    """Return the Base of a CPython line, fetched or built if need be.

    line: as "3.15"; with *named* it may be None.  debug: see that there is
    a debug interpreter.  named: a directory or tarball with CPython's
    source, to compile; None for Debian's archive.  configure: arguments
    for configure, to compile the archive's source; None for its binary
    packages.  If there are none, the source is compiled, given a compiler.
    fresh: make it anew, of what can be had by now.  Raises Unavailable if
    it cannot be had, Failure if something else is wrong.
    """
    need_program("git")
    if line is not None and line not in LINES:
        raise Failure(f"there is no line {line}; take one of "
                      f"{', '.join(LINES)}")
    with _told():
        if named is not None:
            return _from_named(line, named, configure or (), fresh)
        if configure is not None:
            return _from_source(line, configure, fresh)
        return _from_anywhere(line, debug, fresh)


def source_tree(line="3.13", *, named=None):
    """Return the Path of a whole source tree of *line*, build/LINE/source.

    A git repository whose tag base is the stock tree.  It is made from the
    archive's source package, the public repository or the directory or
    tarball *named*; if it is there, it is returned as it is.  Raises
    Unavailable if there is no source, or Failure.
    """
    with _told(), _lock(build_dir() / line):
        return _source_tree(line, named)


def line_of(named):
    """Return the line of the directory or tarball *named*."""
    place = build_dir()
    with _told(), _lock(place / "named"):
        with sources.Named(named).open(place) as tree:
            _see_line(named, tree, None)
            return tree.line


def alone(line):
    """Return a context manager: alone in build/LINE, across processes."""
    return _lock(build_dir() / line)


@contextlib.contextmanager
def _told():
    """Turn what the operating system refuses into a Failure for people."""
    try:
        yield
    except Failure as exc:
        # Programs have many ways to say that the disk is full.
        full = _full_disk()
        if full is None:
            raise
        raise _disk_full(full) from exc
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(exc.filename or _full_disk()
                             or build_dir()) from exc
        where = f": {exc.filename}" if exc.filename else ""
        raise Failure(f"{exc.strerror or exc}{where}; see to that and run "
                      f"the command again") from exc


def _disk_full(path):
    return Failure(f"the disk with {path} is full; make room and run the "
                   f"command again")


def _full_disk():
    """Return a folder of ours whose disk has no room left; None if none."""
    for folder in (build_dir, cache_dir):
        with contextlib.suppress(OSError, Failure):
            if shutil.disk_usage(folder()).free < NO_ROOM:
                return folder()
    return None


def _source_tree(line, named):
    place = build_dir() / line
    source = place / "source"
    if git.commit_id(source, "base"):
        return source
    place.mkdir(parents=True, exist_ok=True)
    fresh = place / ".source.new"
    _remove(fresh)
    if named is None:
        version, origin = sources.fetch(line, fresh)
        _init(fresh / ".git", fresh, f"CPython {version}\n\n{origin}",
              force=True)
    else:
        _copy_named(line, sources.Named(named), fresh, place)
    fresh.rename(source)
    return source


def _copy_named(line, named, fresh, scratch):
    with named.open(scratch) as tree:
        _see_line(named.path, tree, line)
        fresh.mkdir()
        _init(fresh / ".git", tree.top, f"CPython {tree.text}\n\n"
                                        f"{named.describe()}")
    git.git("reset", "--quiet", "--hard", "base", repo=fresh)


def _init(repo, tree, message, force=False):
    """Make the repository of a working tree, with *tree* at base."""
    git.git("init", "--quiet", "--template=", repo.parent)
    _commit_base(repo, tree, message, force=force, exclude=_BUILT)
    git.git("update-ref", "--no-deref", "HEAD", "refs/tags/base", repo=repo)


def _see_line(where, tree, line):
    """Fail if a user's *tree* is not of *line*; None is any line."""
    if tree.newer:
        say(f"CPython {tree.text} is newer than what the series is tested "
            f"with; taking it as {tree.line}")
    if line not in (None, tree.line):
        raise Failure(f"{where} is CPython {tree.text}, not {line}; leave "
                      f"the line away or name another tree")


def _from_named(line, where, configure, fresh):
    named = sources.Named(where)
    place = build_dir() / named.slug
    with _lock(place):
        if fresh:
            _remove(place)
        place.mkdir(exist_ok=True)
        repo = place / "base.git"
        with named.open(place) as tree:
            _see_line(named.path, tree, line)
            git.git("init", "--quiet", "--bare", "--template=", repo)
            _commit_base(repo, tree.top, f"CPython {tree.text}",
                         exclude=_BUILT)
            return TreeBase(tree.line, tree.text, named.describe(), place,
                            repo, tree.excludes, configure)


def _from_source(line, configure, fresh):
    repo = source_tree(line)
    place = _compiled(line)
    with _lock(place):
        if fresh:
            _remove(place)
        place.mkdir(exist_ok=True)
        tree = Tree(repo)
        origin = git.line("log", "-1", "--format=%b", "base", repo=repo)
        return TreeBase(line, tree.text, origin, place, repo, (), configure)


def _from_anywhere(line, debug, fresh):
    """Take binary packages; without any, compile what source there is."""
    instead = _compiled(line) / "instead"
    before = instead.exists() and not fresh
    if not before:
        try:
            return _from_packages(line, debug, fresh)
        except Unavailable as exc:
            problem = exc
        if objects.missing():
            raise problem
        say(f"no packages of CPython {line}; trying to compile its source")
    try:
        base = _from_source(line, (), fresh)
    except Unavailable as exc:
        raise exc if before else problem
    # Without asking the archive again each time.
    instead.touch()
    return base


def _compiled(line):
    return build_dir() / f"{line}-compiled"


def _from_packages(line, debug, fresh):
    place = build_dir() / line
    if ":" in str(place):
        # The dynamic loader's search path is a list separated by colons.
        raise Failure(f"a CPython cannot be built below {build_dir()}, as "
                      f"that has a colon in it; move the checkout")
    with _lock(place):
        there = None if fresh else _load(place, line, debug)
        return there or _make(place, line, debug)


def _lock(place):
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        probe = place.parent / f".{place.name}.lock"
        probe.touch()
    except OSError as exc:
        raise Failure(f"{place.parent} cannot be written "
                      f"({exc.strerror}); make the checkout writable or use "
                      f"one of your own") from exc
    return locked(probe, f"another ./series works on {place}; waiting "
                         f"for it")


def _load(place, line, debug):
    """Return the Base that is there already, if it is whole; else None."""
    try:
        told = json.loads((place / "base.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    # Interpreters name their folder: a checkout that was moved starts anew.
    if (told.get("format") != FORMAT or told.get("place") != str(place)
            or debug and not told.get("debug")):
        return None
    if not git.commit_id(place / "base.git", "base"):
        return None
    return PackageBase(line, told["version"], told["origin"], place,
                       place / "base.git")


def _make(place, line, debug):
    if shutil.which("apt-get"):
        need_program("dpkg-deb", "dpkg")
        need_program("tar")
    with archive.using_cache():
        packages, version, suite = _fetch(line, debug)
    _clear(place)
    say(f"unpacking CPython {version} to {place}")
    root = place / "root"
    for name in ("lib", "lib64", "bin", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(Path("usr") / name)
    archive.unpack(packages, root)
    _relocate(root, line)
    _commit_library(place, line, version)
    number = ".".join(map(str, archive.upstream(version)))
    origin = f"binary packages {version} of {suite}"
    _write_stamp(place, version=number, origin=origin, debug=debug)
    return PackageBase(line, number, origin, place, place / "base.git")


def _fetch(line, debug):
    """Return (package files, version, suite) of the newest to be had."""
    problems = []
    try:
        for suite, version in archive.releases(f"python{line}"):
            if _too_old(version):
                problems.append(f"{version} is older than the series needs")
                break
            try:
                wanted = _specs(line, version, debug)
                return suite.download(wanted), version, suite
            except Unavailable as exc:
                problems.append(str(exc))
                if isinstance(exc, archive.Offline):
                    break
                say(f"{exc}; trying the next version")
    except Unavailable as exc:
        problems.append(str(exc))
    problems += map(str, archive.problems())
    why = problems[0] if problems else f"no suite has python{line}"
    raise Unavailable(f"no packages of CPython {line} from Debian's archive "
                      f"({why}); name a source tree: ./series build {line} "
                      f"--from DIR")


def _too_old(version):
    return archive.upstream(version) < OLDEST


def _specs(line, version, debug):
    names = [f"python{line}", f"libpython{line}-testsuite"]
    if debug:
        names.append(f"python{line}-dbg")
    specs = [f"{name}={version}" for name in names]
    return specs if shutil.which("patchelf") else [*specs, "patchelf"]


def _clear(place):
    """Remove what an earlier or interrupted run left, except the source."""
    # First what says that the rest is good.
    (place / "base.json").unlink(missing_ok=True)
    if place.is_dir():
        for entry in place.iterdir():
            if entry.name != "source":
                _remove(entry)
    place.mkdir(parents=True, exist_ok=True)


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _relocate(root, line):
    """Let the interpreters find loader and libraries below *root*."""
    libc = glob.glob(glob.escape(str(root)) + "/usr/lib/*/libc.so.6")
    if not libc:
        raise Failure(f"no C library came with CPython {line}; name a source "
                      f"tree: ./series build {line} --from DIR")
    libraries = os.path.dirname(libc[0])
    patchelf = _patchelf(root, libraries)
    for python in (root / "usr" / "bin").glob(f"python{line}*"):
        if not python.is_symlink() and _is_elf(python):
            _relocate_program(patchelf, python, root, libraries)


def _relocate_program(patchelf, python, root, libraries):
    loader = run([*patchelf, "--print-interpreter", python]).stdout.strip()
    steps = [("--force-rpath", "--set-rpath", libraries),
             ("--set-interpreter", f"{root}{loader}")]
    # patchelf 0.18 gives programs that crash for some orders: for these
    # non-PIE ones, unless the search path is set before the loader.
    for order in (steps, steps[::-1]):
        trial = python.with_name(f".{python.name}.new")
        shutil.copy2(python, trial)
        for step in order:
            run([*patchelf, *step, trial])
        problem = _trouble([trial, "--version"])
        if problem is None:
            trial.rename(python)
            return
    raise Failure(f"{python.name} from Debian's packages does not start "
                  f"here ({problem}); name a source tree: ./series build "
                  f"--from DIR")


def _is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def _patchelf(root, libraries):
    """Return the start of patchelf's argv: the machine's, or from root."""
    path = shutil.which("patchelf")
    if path:
        return [path]
    loaders = sorted(Path(libraries).glob("ld*.so.*"))
    if not loaders:
        raise Failure("patchelf is not installed and cannot be run from "
                      "Debian's packages; install it first: apt-get install "
                      "patchelf")
    # By its own loader and libraries: it may need newer ones than are here.
    return [loaders[0], "--library-path", libraries,
            root / "usr" / "bin" / "patchelf"]


def _commit_library(place, line, version):
    """Move the standard library from root/ into a repository."""
    shared = place / "root" / "usr" / "lib" / f"python{line}"
    staging = place / "staging"
    library = staging / "Lib"
    staging.mkdir()
    shared.rename(library)
    shared.mkdir()
    for pattern in _MACHINE:
        for part in list(library.glob(pattern)):
            part.rename(shared / part.name)
    for path in library.iterdir():
        # sitecustomize.py would be the machine's, from /etc.
        if path.is_symlink() and os.path.isabs(os.readlink(path)):
            path.unlink()
    repo = place / "base.git"
    git.git("init", "--quiet", "--bare", "--template=", repo)
    _commit_base(repo, staging, f"CPython {version}, as packaged by Debian",
                 force=True)
    (repo / "index").unlink()
    shutil.rmtree(staging)


def _commit_base(repo, tree, message, force=False, exclude=""):
    """Make *tree* the only commit of *repo*, tagged base.

    force: take all files; else what *exclude* and .gitignore files do not
    name.  *tree* is only read.
    """
    (repo / "info").mkdir(exist_ok=True)
    (repo / "info" / "exclude").write_text(_EXCLUDE + exclude)
    # The user's own list of files that git is to ignore is not for us.
    git.git("config", "core.excludesFile", os.devnull, repo=repo)
    # An index kept from the last time saves reading unchanged files again.
    (repo / "index.lock").unlink(missing_ok=True)     # of a killed git
    env = {"GIT_DIR": str(repo), "GIT_WORK_TREE": str(tree)}
    git.git("add", "--all", *(["--force"] if force else []), ".",
            repo=tree, env=env)
    made = git.line("write-tree", repo=tree, env=env)
    commit = git.line("commit-tree", "--no-gpg-sign", "-m", message, made,
                      repo=repo, env=_AUTHOR)
    git.git("update-ref", "refs/tags/base", commit, repo=repo)


def _write_stamp(place, **told):
    told.update(format=FORMAT, place=str(place))
    fresh = place / "base.json.new"
    fresh.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    fresh.rename(place / "base.json")


def _belongs(tree, repo):
    """Return whether *tree* is a work tree of this *repo*.

    It may be another checkout's, if this one was copied or moved.
    """
    try:
        told = (tree / ".git").read_text("utf-8")
    except OSError:
        return False
    inside = repo / ".git" if (repo / ".git").is_dir() else repo
    own = Path(told.partition("gitdir: ")[2].rstrip("\n"))
    return (own.is_dir()
            and own.parent.resolve() == inside.resolve() / "worktrees")


def _move(repo, tree, commit):
    """Make *tree* a work tree of *repo* that is exactly at *commit*."""
    if not _belongs(tree, repo):
        _remove(tree)
        git.git("worktree", "prune", repo=repo)
        git.git("worktree", "add", "--quiet", "--force", "--detach", tree,
                commit, repo=repo)
        return
    # One that was killed left it; nobody else is here now.
    own = Path(git.line("rev-parse", "--absolute-git-dir", repo=tree))
    (own / "index.lock").unlink(missing_ok=True)
    changed = git.git("diff", "--name-only", "-z", commit, "--", repo=tree)
    if not changed and git.commit_id(tree, "HEAD") == commit:
        return
    git.git("reset", "--quiet", "--hard", commit, repo=tree)
    for name in filter(None, changed.split(b"\0")):
        _forget_bytecode(tree / os.fsdecode(name))


def _forget_bytecode(source):
    # Bytecode counts as current if second and size of its source agree,
    # which two states of a file can, moved quickly.
    pattern = glob.escape(source.stem) + ".*.pyc"
    for path in (source.parent / "__pycache__").glob(pattern):
        path.unlink(missing_ok=True)


def _link(target, path):
    """Make *path* a symbolic link to *target*, if it is none already."""
    if path.is_symlink() and os.readlink(path) == str(target):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(path)
    path.symlink_to(target)


def _hard_link(source, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    _remove(fresh)
    try:
        os.link(source, fresh)
    except OSError:     # a file system without hard links
        shutil.copy2(source, fresh)
    fresh.rename(path)


def _no_start(python, version):
    """Return why *python* is not one of *version* with TLS, or None."""
    line = ".".join(version.split(".")[:2])
    return _trouble([python, "-I", "-c", _CHECK], expected=line)


def _trouble(argv, expected=""):
    """Run a program; return None if all is well, else what is not."""
    try:
        done = run(argv, check=False)
    except OSError as exc:
        return exc.strerror
    if done.returncode == 0 and expected in done.stdout:
        return None
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return said[-1] if said else f"status {done.returncode}"
