"""Debian's archive through a private apt: nothing installed, no root.

Each suite has a folder of its own in the cache, with apt's lists and state
in it.  Where the archive is, which proxy leads there and how strictly dates
are checked, the machine's apt configuration says; that stays in force.
Its hooks and pins do not: they are about the machine's own packages.

Packages are kept in the cache and compared, on every use, with the hashes
in the index that apt has checked against Debian's signature.
"""

import functools
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from pathlib import Path

from tools.common import Failure, cache_dir, locked, need_program, run, say

# Where to look, newest first.
SUITES = ("sid", "forky", "trixie")

KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.pgp",
            "/usr/share/keyrings/debian-archive-keyring.gpg")

# Parts of packages that no interpreter reads, as patterns for tar.
UNWANTED = ("./usr/share/doc", "./usr/share/info", "./usr/share/lintian",
            "./usr/share/locale", "./usr/share/man", "./usr/lib/debug",
            "./usr/lib/*/libpython*", "./usr/lib/*/*.a")

_DEBIAN = re.compile(r"(old)*stable|testing|unstable|sid|buster|bullseye|"
                     r"bookworm|trixie|forky|duke")
_ITEM = re.compile(r"^'[^']+' (\S+) (\d+) SHA256:([0-9a-f]{64})", re.M)

# What apt says when it could not talk to the archive at all.
_OFFLINE = re.compile(r"resolv|Temporary failure|[Cc]onnect|unreachable|"
                      r"timed out|time-out|timeout")
_UNTRUSTED = re.compile(r"NO_PUBKEY|EXPKEYSIG|KEYEXPIRED|REVKEYSIG|BADSIG|"
                        r"signature|not signed|[Mm]issing key")
_FULL = re.compile(r"No space left|enough free space|quota exceeded")
_GONE = re.compile(r"\b404\b")
_OUTDATED = re.compile(r"is expired|is not valid yet|Valid-Until")


class Unavailable(Failure):
    """Something cannot be had from where it was looked for.

    Attributes: what (the message without the advice that may end it).
    """

    def __init__(self, what, advice=None):
        super().__init__(f"{what}; {advice}" if advice else what)
        self.what = what


class Offline(Unavailable):
    """The archive could not be reached."""


class Item:
    """A file of the archive: name in the cache, size in bytes, SHA-256."""

    def __init__(self, name, size, digest):
        self.name = name
        self.size = int(size)
        self.digest = digest

    def sound(self, folder):
        """Return whether *folder* has the file, whole and unchanged."""
        path = Path(folder) / self.name
        try:
            if path.stat().st_size != self.size:
                return False
            return _sha256(path) == self.digest
        except FileNotFoundError:
            return False


def _sha256(path):
    state = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(functools.partial(file.read, 1 << 20), b""):
            state.update(block)
    return state.hexdigest()


class Suite:
    """One suite of the archive at *uri*, seen through a private apt.

    kind: "deb" for packages, "deb-src" for sources.
    """

    def __init__(self, uri, name, kind, keyrings=()):
        self.uri = uri
        self.name = name
        self.kind = kind
        self.keyrings = keyrings
        self.place = cache_dir() / "apt" / f"{name}-{kind}"
        self.store = cache_dir() / ("packages" if kind == "deb"
                                    else "sources")

    def __str__(self):
        return f"Debian {self.name}"

    def update(self):
        """Fetch the index; an older one will do if nothing is reachable.

        Raises Offline, or Unavailable if the suite is not there, is out of
        date or not signed by a key that the machine trusts.
        """
        self._prepare()
        say(f"reading the index of {self}")
        done = self._apt("apt-get", "update",
                         "-o", "APT::Update::Error-Mode=any")
        if done.returncode == 0 and self._indexes():
            return
        said = done.stdout + done.stderr
        problem = self._problem(said)
        if not isinstance(problem, Offline) or not self._indexes():
            raise problem
        say(f"{problem}; using the index of an earlier run")

    def versions(self, package):
        """Return the versions of *package* that the index lists."""
        done = self._apt("apt-cache", "madison", package)
        kind = "Packages" if self.kind == "deb" else "Sources"
        rows = [row.split("|") for row in done.stdout.splitlines()]
        found = [row[1].strip() for row in rows
                 if len(row) == 3 and row[2].strip().endswith(kind)]
        return list(dict.fromkeys(found))

    def download(self, specs):
        """Fetch packages and all they depend on; return their paths.

        specs: names for apt-get install, as "python3.15=3.15.2-1".
        """
        command = ["install", "--no-install-recommends"]
        # An empty store, as apt does not list what it already has.
        nothing = f"Dir::Cache::Archives={self.place / 'none'}"
        items = self._items([*command, "-o", nothing, *specs])
        self._complete(items, [*command, "--download-only", "-y", *specs])
        return [self.store / item.name for item in items]

    def download_source(self, package, version):
        """Fetch the upstream tarball of a source package; return its path."""
        command = ["source", "--tar-only", "--download-only",
                   f"{package}={version}"]
        items = self._items(command)
        self._complete(items, command)
        tarballs = [item.name for item in items
                    if re.search(r"\.orig\.tar\.\w+$", item.name)]
        if not tarballs:
            raise Unavailable(f"{self} has no tarball of {package} {version}")
        return self.store / tarballs[0]

    def prune(self, package, version):
        """Remove downloads of what is older than *version* of *package*.

        That is what the same source gave: of python3.13 also libpython3.13
        and python3.13-dbg; nothing that other packages need, such as the C
        library.  To be called with the cache locked.
        """
        same = re.compile(rf"(?:lib)?{re.escape(package)}(?![\d.])[^_]*_"
                          rf"([^_]+?)(?:_\w+\.deb|\.orig\.tar\.\w+)")
        for folder in (self.store, self.store / "partial"):
            for path in folder.iterdir():
                found = same.fullmatch(path.name)
                if found and _older(urllib.parse.unquote(found[1]), version):
                    path.unlink(missing_ok=True)

    def _prepare(self):
        for folder in ("lists/partial", "state", "none/partial"):
            (self.place / folder).mkdir(parents=True, exist_ok=True)
        (self.store / "partial").mkdir(parents=True, exist_ok=True)
        (self.place / "status").touch()
        (self.place / "hooks.conf").write_text("".join(
            f"#clear {name};\n" for name in (
                "APT::Update::Pre-Invoke", "APT::Update::Post-Invoke",
                "APT::Update::Post-Invoke-Success", "DPkg::Pre-Invoke",
                "DPkg::Post-Invoke", "DPkg::Pre-Install-Pkgs")))
        fields = {
            "Types": self.kind, "URIs": self.uri, "Suites": self.name,
            "Components": "main", "Architectures": _architecture(),
            "Targets": "Packages" if self.kind == "deb" else "Sources"}
        if self.keyrings:
            fields["Signed-By"] = " ".join(self.keyrings)
        (self.place / "archive.sources").write_text("".join(
            f"{name}: {value}\n" for name, value in fields.items()))

    def _options(self):
        place = self.place
        options = {
            "Dir::Etc::SourceList": place / "archive.sources",
            "Dir::Etc::SourceParts": os.devnull,
            "Dir::Etc::Preferences": os.devnull,
            "Dir::Etc::PreferencesParts": os.devnull,
            "Dir::State": place / "state",
            "Dir::State::Lists": place / "lists",
            "Dir::State::Status": place / "status",
            "Dir::Cache": place,
            "Dir::Cache::Archives": self.store,
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Log": place,
            "Acquire::ForceHash": "SHA256",
            "Acquire::Languages": "none",
            "APT::Architecture": _architecture(),
            "APT::Default-Release": "",
            "APT::Get::List-Cleanup": "true",
            # Only root is affected: apt's own user cannot write here.
            "APT::Sandbox::User": "root",
        }
        argv = ["-qq", "-c", place / "hooks.conf"]
        for name, value in options.items():
            argv += ["-o", f"{name}={value}"]
        return argv

    def _apt(self, program, *args):
        # In an empty folder: "source" does not list what it finds there.
        return run([need_apt(program), *self._options(), *args],
                   env=_environment(), check=False, cwd=self.place / "none")

    def _indexes(self):
        return glob.glob(glob.escape(str(self.place / "lists"))
                         + "/*_" + self.name + "_*_"
                         + ("Packages*" if self.kind == "deb" else
                            "Sources*"))

    def _items(self, command):
        done = self._apt("apt-get", *command, "--print-uris")
        items = [Item(*found) for found in _ITEM.findall(done.stdout)]
        if done.returncode or not items:
            raise self._problem(done.stdout + done.stderr)
        return items

    def _complete(self, items, command):
        """Make the store hold all *items*, unharmed."""
        for attempt in range(2):
            missing = [item for item in items if not item.sound(self.store)]
            if not missing:
                return
            for item in missing:
                (self.store / item.name).unlink(missing_ok=True)
            if attempt:
                # What was left half-fetched may be what stands in the way.
                for item in missing:
                    (self.store / "partial" / item.name).unlink(
                        missing_ok=True)
            said = self._fetch(missing, command)
            if _GONE.search(said) or _OFFLINE.search(_complaint(said)):
                break
        missing = [item for item in items if not item.sound(self.store)]
        if missing:
            raise self._problem(said, missing[0].name)

    def _fetch(self, missing, command):
        """Let apt fetch; return what it says."""
        size = sum(item.size for item in missing)
        say(f"fetching {len(missing)} file{'s' if missing[1:] else ''}, "
            f"{_megabytes(size)} MB, from {self}")
        argv = [os.fspath(arg) for arg in (
            need_apt("apt-get"), *self._options(), *command)]
        with tempfile.TemporaryFile("w+", errors="replace") as told:
            process = subprocess.Popen(
                argv, cwd=self.store, env=_environment(), stdout=told,
                stderr=told, stdin=subprocess.DEVNULL)
            try:
                self._watch(process, missing, size)
            finally:
                if process.poll() is None:
                    process.terminate()
                process.wait()
            told.seek(0)
            return told.read()

    def _watch(self, process, missing, size):
        if not sys.stderr.isatty():
            process.wait()
            return
        while True:
            try:
                process.wait(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                got = sum(self._got(item) for item in missing)
                sys.stderr.write(f"\r  {_megabytes(got)} of "
                                 f"{_megabytes(size)} MB ")
                sys.stderr.flush()
        sys.stderr.write("\r\x1b[K")

    def _got(self, item):
        for folder in (self.store, self.store / "partial"):
            try:
                return min((folder / item.name).stat().st_size, item.size)
            except OSError:
                pass
        return 0

    def _problem(self, said, name=None):
        """Return the exception for a failed apt, from what it said."""
        why = _complaint(said)
        if _FULL.search(said):
            return Failure(f"the disk with {cache_dir()} is full; make room "
                           f"and run the command again")
        # Before the others: those also look into warnings.
        if _OFFLINE.search(why):
            why = re.sub(r"^Failed to fetch \S+ +", "", why)
            return Offline(f"{self} cannot be reached: {why}")
        if _OUTDATED.search(said):
            since = re.search(r"\(([^()]+)\)", why)
            told = f" ({since[1]})" if since else ""
            return Unavailable(f"{self} is out of date{told}, which this "
                               f"machine's apt does not accept")
        if _UNTRUSTED.search(said):
            keys = self.keyrings[0] if self.keyrings else "apt's keys"
            return Unavailable(f"{self} is not signed by a key in {keys}; a "
                               f"newer debian-archive-keyring may help")
        if name and _GONE.search(said):
            return Unavailable(f"{self} lists {name} but no longer has it")
        return Unavailable(f"{self}: {why}")


def need_apt(program="apt-get"):
    """Return the path of one of apt's programs."""
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"there is no apt here: {program} not found")
    return path


def _environment():
    return {**os.environ, "LC_ALL": "C"}


def _megabytes(size):
    return f"{size / 1e6:.0f}" if size >= 1e6 else f"{size / 1e6:.1f}"


@functools.cache
def _architecture():
    return run([need_apt("dpkg"), "--print-architecture"]).stdout.strip()


def _complaint(said):
    """Return the line in which apt says what went wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    vague = ("E: Some ", "E: Unable to fetch some", "E: Unable to correct",
             "E: Failed to fetch some", "E: Error, pkgProblemResolver")
    for prefix in ("E: ", "W: ", "Err:"):
        for line in lines:
            if line.startswith(prefix) and not line.startswith(vague):
                return re.sub(r"\s+", " ", line[len(prefix):].strip())
    return lines[-1] if lines else "apt says nothing"


def archive_uris():
    """Return the URIs of Debian's archive that the machine's apt knows.

    Raises Unavailable if there is none.
    """
    need_apt()
    found = _uris_by_origin() or _uris_by_suite()
    if not found:
        raise Unavailable("apt is configured here without Debian's archive")
    return found


def _uris_by_origin():
    """By what the indexes on the machine say about themselves."""
    # Fields that apt cannot fill stay as they are written here.
    told = run([need_apt(), "indextargets", "--format",
                "$(REPO_URI)|$(ORIGIN)|$(LABEL)"],
               env=_environment(), check=False).stdout
    rows = [row.split("|") for row in told.splitlines()]
    return _usable(row[0] for row in rows
                   if len(row) == 3 and row[1] == row[2] == "Debian")


def _uris_by_suite():
    """By what apt would fetch, as in a fresh container without indexes."""
    told = run([need_apt(), "update", "--print-uris"],
               env=_environment(), check=False).stdout
    found = re.findall(r"^'(\S+/)dists/([\w./-]+)/InRelease'", told, re.M)
    return _usable(uri for uri, suite in found if _DEBIAN.fullmatch(suite))


def _usable(uris):
    return [uri for uri in dict.fromkeys(uris)
            if not uri.startswith("cdrom:")]


def keyrings(uri):
    """Return the key files that sign the archive at *uri*; () is apt's own.

    Debian's keyring, if installed, and what the machine's own sources name.
    """
    named = [ring for ring in KEYRINGS if os.path.isfile(ring)][:1]
    named += [ring for ring in _signed_by(uri)
              if os.path.isfile(ring) and ring not in named]
    return tuple(named)


def _signed_by(uri):
    told = run([need_apt("apt-config"), "shell",
                "LIST", "Dir::Etc::sourcelist/f",
                "PARTS", "Dir::Etc::sourceparts/d"],
               env=_environment()).stdout
    where = dict(re.findall(r"^(LIST|PARTS)='(.*)'$", told, re.M))
    files = [Path(where.get("LIST", "/nonexistent"))]
    files += sorted(Path(where.get("PARTS", "/nonexistent")).glob("*.*"))
    site = urllib.parse.urlsplit(uri).netloc
    for file in files:
        try:
            text = file.read_text("utf-8", "replace")
        except OSError:
            continue
        # A paragraph of the one format, a line of the other.
        parts = (text.split("\n\n") if file.suffix == ".sources"
                 else text.splitlines())
        for part in parts:
            if site in part and not part.lstrip().startswith("#"):
                found = re.search(r"signed-by\s*[:=]\s*([^\]\n]+)", part,
                                  re.I)
                yield from re.split(r"[\s,]+", found[1]) if found else ()


_tried = {}     # (uri, suite, kind) -> Suite or the exception


def suites(kind="deb"):
    """Yield each Suite whose index can be read, newest first.

    Nothing is fetched for a suite that is not asked for.  Raises
    Unavailable at the end if there was none.
    """
    problem = None
    for uri in archive_uris():
        served = False
        for name in SUITES:
            found = _ready(uri, name, kind)
            if isinstance(found, Suite):
                served = True
                yield found
                continue
            problem = problem or found
            if isinstance(found, Offline):
                break
        if served:
            return
    raise problem


def _ready(uri, name, kind):
    """Return the Suite with its index read, or why that cannot be."""
    key = uri, name, kind
    if key not in _tried:
        suite = Suite(uri, name, kind, keyrings(uri))
        try:
            suite.update()
            _tried[key] = suite
        except Unavailable as exc:
            _tried[key] = exc
            say(str(exc))
    return _tried[key]


def problems(kind="deb"):
    """Return why suites that were asked for in this run are not usable."""
    return [found for key, found in _tried.items()
            if key[2] == kind and not isinstance(found, Suite)]


def releases(package, kind="deb"):
    """Yield (suite, version) of *package*, the newest version first.

    The newest suite has the newest version: the others' indexes are read
    only if that one did not do.
    """
    found = suites(kind)
    later = []
    for suite in found:
        versions = _newest_first([(suite, version) for version
                                  in suite.versions(package)])
        if versions:
            yield versions[0]
            later = versions[1:]
            break
    for suite in found:
        later += [(suite, version) for version in suite.versions(package)]
    yield from _newest_first(later)


def _newest_first(pairs):
    return sorted(pairs, reverse=True,
                  key=lambda pair: _order(pair[1]))


@functools.cmp_to_key
def _order(one, other):
    dpkg = need_apt("dpkg")
    for relation, result in (("lt", -1), ("gt", 1)):
        done = run([dpkg, "--compare-versions", one, relation, other],
                   check=False)
        if done.returncode == 0:
            return result
    return 0


def _older(one, other):
    """Return whether version *one* is older; a tarball's has no revision."""
    if "-" not in one:
        other = other.rpartition("-")[0] or other
    return _order(one) < _order(other)


def upstream(version):
    """Return the numbers of a Debian version: "3.15.2-1" is (3, 15, 2)."""
    digits = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, digits[1].split("."))) if digits else ()


def using_cache():
    """Return the lock (a context manager) on the cache of downloads."""
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise Failure(f"the folder for downloads, {folder}, cannot be made "
                      f"({exc.strerror}); set XDG_CACHE_HOME to one that "
                      f"can") from exc
    return locked(folder / "lock", "another ./series is at the downloads; "
                                   "waiting for it")


def unpack(packages, folder):
    """Unpack package files into *folder*, without what nobody reads."""
    unpacker = need_program("dpkg-deb", "dpkg")
    tar = [need_program("tar"), "--extract", "--file=-", "--no-same-owner",
           "--no-same-permissions", "--keep-directory-symlink",
           f"--directory={folder}"]
    tar += [f"--exclude={pattern}" for pattern in UNWANTED]
    for package in packages:
        with subprocess.Popen(
                [unpacker, "--fsys-tarfile", os.fspath(package)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source:
            done = subprocess.run(tar, stdin=source.stdout, text=True,
                                  errors="replace", env=_environment(),
                                  capture_output=True)
            source.stdout.close()
            told = source.stderr.read().decode(errors="replace")
        if source.returncode or done.returncode:
            said = (done.stderr + told).strip().splitlines()
            raise Failure(f"{package.name} could not be unpacked: "
                          f"{said[0] if said else 'no reason given'}")
