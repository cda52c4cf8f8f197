"""Downloads from Debian's archive by a private apt: nothing is installed.

Each suite has a folder of its own in the cache, with apt's lists in it.
Where the archive is, which proxy leads there and how strictly dates are
checked, the machine's apt configuration says.  Its hooks and pins do not
count: they are about the machine's own packages.

apt checks signatures and hashes, resumes what was half fetched, and puts a
file among the downloads only when it is whole.
"""

import functools
import os
import re
import shutil
import subprocess

from tools.common import Failure, cache_dir, run, say
from tools.places import alone_in

# Where to look; the first suite that has the package is taken.
SUITES = ("sid", "forky", "trixie")

KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.pgp",
            "/usr/share/keyrings/debian-archive-keyring.gpg")

# Parts of packages that no interpreter reads, as patterns for tar.
UNWANTED = ("./usr/share/doc", "./usr/share/info", "./usr/share/lintian",
            "./usr/share/locale", "./usr/share/man", "./usr/lib/debug",
            "./usr/lib/*/libpython*", "./usr/lib/*/*.a")

_DEBIAN = re.compile(r"(old)*stable|testing|unstable|sid|bookworm|trixie|"
                     r"forky|duke")
_FILE = re.compile(r"^'[^']+' (\S+) (\d+) ", re.MULTILINE)


class Unavailable(Failure):
    """Something cannot be had from where it was looked for.

    Attributes: what (the message without the advice that may end it).
    """

    def __init__(self, what, advice=None):
        super().__init__(f"{what}; {advice}" if advice else what)
        self.what = what


class Suite:
    """One suite of Debian's archive, seen through a private apt.

    kind: "deb" for packages, "deb-src" for sources.
    """

    def __init__(self, name, kind):
        self.name = name
        self.kind = kind
        self.place = cache_dir() / "apt" / f"{name}-{kind}"

    def __str__(self):
        return f"Debian {self.name}"

    def update(self):
        """Fetch the index; without a network, apt keeps an older one."""
        self._prepare()
        say(f"reading the index of {self}")
        said = self._apt("apt-get", "update")
        if not any((self.place / "lists").glob("*_dists_*")):
            raise Unavailable(f"{self}: {_complaint(said)}")
        if re.search("^(W|Err)", said, re.MULTILINE):
            say(f"{self}: {_complaint(said)}")

    def version(self, package):
        """Return the newest version of *package*; None if there is none."""
        said = self._apt("apt-cache", "madison", package)
        rows = [row.split("|") for row in said.splitlines()]
        versions = [row[1].strip() for row in rows if len(row) == 3]
        return versions[0] if versions else None

    def fetch(self, store, *specs):
        """Fetch packages and all they depend on; return their paths.

        specs: as "python3.15=3.15.2-1".  store: the folder to have them,
        and nothing else, afterwards.
        """
        (store / "partial").mkdir(parents=True, exist_ok=True)
        command = ["install", "--no-install-recommends", "--yes", *specs]
        # An empty store, as apt does not list what it already has.
        listed = self._apt("apt-get", *command, "--print-uris", "-o",
                           f"Dir::Cache::Archives={self.place / 'none'}")
        sizes = {name: int(size) for name, size in _FILE.findall(listed)}
        missing = [name for name in sizes if not (store / name).exists()]
        if missing:
            size = sum(sizes[name] for name in missing)
            say(f"fetching {len(missing)} file{'s' * (len(missing) > 1)}, "
                f"{size / 1e6:.0f} MB, from {self}")
            self._apt("apt-get", *command, "--download-only", "-o",
                      f"Dir::Cache::Archives={store}")
        _keep_only(store, sizes)
        return [store / name for name in sizes]

    def fetch_source(self, store, package, version):
        """Fetch the tarball of a source package; return its path."""
        store.mkdir(parents=True, exist_ok=True)
        say(f"fetching the source of {package} {version} from {self}")
        self._apt("apt-get", "source", "--tar-only", "--download-only",
                  f"{package}={version}", cwd=store)
        plain = re.sub(r"^\d+:|-[^-]*$", "", version)
        found = list(store.glob(f"{package}_{plain}.orig.tar.*"))
        if not found:
            raise Unavailable(f"{self} has no tarball of {package} {version}")
        _keep_only(store, [path.name for path in found])
        return found[0]

    def _prepare(self):
        for folder in ("lists/partial", "state", "none/partial"):
            (self.place / folder).mkdir(parents=True, exist_ok=True)
        (self.place / "status").touch()
        (self.place / "hooks.conf").write_text("".join(
            f"#clear {name};\n" for name in (
                "APT::Update::Pre-Invoke", "APT::Update::Post-Invoke",
                "APT::Update::Post-Invoke-Success", "DPkg::Pre-Invoke",
                "DPkg::Post-Invoke", "DPkg::Pre-Install-Pkgs")))
        fields = {
            "Types": self.kind, "URIs": archive_uri(), "Suites": self.name,
            "Components": "main", "Architectures": _architecture(),
            "Targets": "Packages" if self.kind == "deb" else "Sources"}
        for ring in filter(os.path.isfile, KEYRINGS):
            fields.setdefault("Signed-By", ring)
        (self.place / "archive.sources").write_text("".join(
            f"{name}: {value}\n" for name, value in fields.items()))

    def _apt(self, program, *args, cwd=None):
        """Run apt; return what it says; Unavailable if it fails."""
        options = {
            "Dir::Etc::SourceList": self.place / "archive.sources",
            "Dir::Etc::SourceParts": os.devnull,
            "Dir::Etc::Preferences": os.devnull,
            "Dir::Etc::PreferencesParts": os.devnull,
            "Dir::State": self.place / "state",
            "Dir::State::Lists": self.place / "lists",
            "Dir::State::Status": self.place / "status",
            "Dir::Cache": self.place,
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Log": self.place,
            "Acquire::Languages": "none",
            "APT::Architecture": _architecture(),
            "APT::Default-Release": "",
            # Only root is affected: apt's own user cannot write here.
            "APT::Sandbox::User": "root",
        }
        done = run([need_apt(program), "-qq", "-c", self.place / "hooks.conf",
                    *(word for name, value in options.items()
                      for word in ("-o", f"{name}={value}")), *args],
                   env=_environment(), check=False,
                   cwd=cwd or self.place / "none")
        said = done.stdout + done.stderr
        if done.returncode:
            raise Unavailable(f"{self}: {_complaint(said)}")
        return said


def _keep_only(store, names):
    for path in store.iterdir():
        if path.is_file() and path.name not in names:
            path.unlink()


def need_apt(program="apt-get"):
    """Return the path of one of apt's programs."""
    path = shutil.which(program)
    if path is None:
        raise Unavailable("there is no apt here, as on macOS, Fedora or in "
                          "some containers")
    return path


def _environment():
    return {**os.environ, "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive"}


@functools.lru_cache(maxsize=None)
def _architecture():
    return run([need_apt("dpkg"), "--print-architecture"]).stdout.strip()


def _complaint(said):
    """Return what apt gives as the reason, in one line."""
    lines = [line for line in said.splitlines() if line.strip()]
    for prefix in ("E: ", "Err:", "W: "):
        for line in lines:
            # These name no reason, but follow from one that is named.
            if line.startswith(prefix) and not line.startswith((
                    "E: Some index files", "E: Unable to fetch some",
                    "E: Unable to correct", "E: Error, pkgProblemResolver",
                    "W: Some index files")):
                return re.sub(r"\s+", " ", line[len(prefix):].strip())
    return lines[-1] if lines else "apt says nothing"


def archive_uri():
    """Return the URI of Debian's archive that the machine's apt knows."""
    told = run([need_apt(), "indextargets", "--no-release-info", "--format",
                "$(REPO_URI)|$(RELEASE)"], env=_environment(), check=False)
    for row in told.stdout.splitlines():
        uri, _, suite = row.partition("|")
        if _DEBIAN.fullmatch(suite) and not uri.startswith("cdrom:"):
            return uri
    raise Unavailable("apt is configured here without Debian's archive")


@functools.lru_cache(maxsize=None)
def updated(name, kind):
    """Return the Suite with its index read, or why that cannot be."""
    try:
        suite = Suite(name, kind)
        suite.update()
        return suite
    except Unavailable as exc:
        say(str(exc))
        return exc


def newest(package, oldest, kind="deb"):
    """Return (Suite, version) of *package*; Unavailable if there is none.

    oldest: the version, as a tuple, that it has to have at least.
    """
    need_apt()
    problem = None
    for name in SUITES:
        suite = updated(name, kind)
        if isinstance(suite, Unavailable):
            problem = problem or suite
            continue
        version = suite.version(package)
        if version and upstream(version) >= oldest:
            return suite, version
        if version:
            problem = Unavailable(
                f"{version} is older than the series needs")
    raise problem or Unavailable(f"no suite has {package}")


def upstream(version):
    """Return the numbers of a Debian version: "3.15.2-1" is (3, 15, 2)."""
    digits = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, digits[1].split("."))) if digits else ()


def using_cache():
    """Return a context manager: alone at the downloads."""
    return alone_in(cache_dir() / "apt")


def unpack(packages, folder):
    """Unpack package files into *folder*, without what nobody reads."""
    tar = ["tar", "--extract", "--file=-", "--no-same-owner",
           "--no-same-permissions", "--keep-directory-symlink",
           f"--directory={folder}",
           *(f"--exclude={pattern}" for pattern in UNWANTED)]
    for package in packages:
        with subprocess.Popen(
                ["dpkg-deb", "--fsys-tarfile", os.fspath(package)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source:
            done = subprocess.run(tar, stdin=source.stdout, text=True,
                                  errors="replace", env=_environment(),
                                  capture_output=True)
            source.stdout.close()
            told = source.stderr.read().decode(errors="replace")
        if source.returncode or done.returncode:
            # A damaged download is not to be taken the next time.
            package.unlink()
            said = (done.stderr + told).strip().splitlines()
            raise Failure(f"{package.name} could not be unpacked: "
                          f"{said[0] if said else 'no reason given'}; run "
                          f"the command again to fetch it anew")
