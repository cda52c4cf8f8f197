"""A tiny Debian archive with CPythons in it, and an apt that reads it."""

import io
import json
import os
import shutil
import sys
import tarfile

import fakeapt
import faketree
from tools import common
from tools.cpython import download
from tools.patches import series

APT = f'exec "{sys.executable}" -S "{fakeapt.__file__}" "$@"'

# A package is here a plain archive of tar's.
PROGRAMS = {
    "apt-get": APT, "apt-cache": APT, "dpkg": "echo amd64",
    "patchelf": "echo /lib64/ld.so",
    "dpkg-deb": 'grep -q "^not a package" "$2" && {\n'
                'echo "dpkg-deb: error: not a Debian format archive" >&2\n'
                'exit 2; }\nexec cat "$2"'}
REAL = ("git", "tar", "sh", "env", "cat", "make", "mkdir", "cp", "touch",
        "chmod", "rm", "grep", "gzip")

PYTHON = "#!/bin/sh\necho %s\n"


class FakeArchive:
    """Programs, packages, and what fakeapt.py is told, which is saved."""

    def __init__(self, top):
        self.top = top
        self.pool = top / "pool"
        self.bin = top / "bin"
        self.log = top / "log"
        for folder in self.pool, self.bin:
            folder.mkdir(parents=True)
        for name, text in PROGRAMS.items():
            self.program(name, text)
        for name in filter(shutil.which, REAL):
            (self.bin / name).symlink_to(shutil.which(name))
        self.told = {"pool": str(self.pool), "log": str(self.log)}
        self.change(suites={}, gone=[], offline="",
                    targets=[f"{fakeapt.URI}|sid"])

    def program(self, name, text):
        """Put a shell script on the path."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def save(self):
        (self.top / "archive.json").write_text(json.dumps(self.told))

    def change(self, **told):
        self.told.update(told)
        self.save()

    def forget(self):
        """Let the tools read the indexes again, as another run does."""
        download.updated.cache_clear()
        download._architecture.cache_clear()

    def logged(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def suite(self, name):
        return self.told["suites"].setdefault(
            name, {"packages": {}, "sources": {}})

    def add(self, suite, package, version, files, kind="packages"):
        """Add a package of *files*, as write_tar() takes them."""
        name = f"{package}_{version}_amd64.deb"
        if kind == "sources":
            name = f"{package}_{version.split('-')[0]}.orig.tar.gz"
        write_tar(self.pool / name, files)
        self.suite(suite)[kind].setdefault(package, {})[version] = [name]
        self.save()
        return name

    def add_python(self, suite, line, version, program=None):
        """Add the binary packages of a CPython, with a shell script in it.
        """
        lib = f"./usr/lib/python{line}"
        self.add(suite, f"python{line}", version, {
            **files_of(faketree.TREE / "Lib/http", f"{lib}/http"),
            **files_of(faketree.TREE / "Lib/urllib", f"{lib}/urllib"),
            f"{lib}/os.py": f"version = '{version}'\n",
            f"{lib}/sitecustomize.py": ("/etc/x.py",),
            f"{lib}/lib-dynload/_x.so": "module",
            f"./usr/bin/python{line}": program or PYTHON % line,
            "./usr/lib/some-triplet/libc.so.6": "libc",
            "./usr/lib/some-triplet/ld-some.so.1": "loader",
            f"./usr/share/doc/python{line}/copyright": "text"})
        self.add(suite, f"libpython{line}-testsuite", version,
                 files_of(faketree.TREE / "Lib/test", f"{lib}/test"))
        self.add(suite, f"python{line}-dbg", version, {
            f"./usr/bin/python{line}d": PYTHON % line,
            f"./usr/bin/python{line}-dbg": (f"python{line}d",)})
        # One that others share, as the C library is.
        library = self.add(suite, "libc6", "1-1", {"./usr/lib/x": "x"})
        for versions in self.suite(suite)["packages"].values():
            for files in versions.values():
                files[1:] = [library]
        self.save()

    def add_source(self, suite, line, version):
        """Add the source package of a CPython."""
        plain = version.split("-")[0]
        tree = faketree.plain_tree(self.top / f"source-{version}",
                                   tuple(map(int, plain.split("."))))
        add_build(tree)
        return self.add(suite, f"python{line}", version,
                        files_of(tree, f"Python-{plain}"), "sources")


def enter(tmp_path, monkeypatch):
    """Return a FakeArchive that is all the tools can see: no network.

    The checkout that they build in is tmp_path/checkout.
    """
    fake = FakeArchive(tmp_path / "archive")
    monkeypatch.setenv("PATH", str(fake.bin))
    monkeypatch.setenv("FAKE_ARCHIVE", str(fake.top / "archive.json"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(fake.top / "cache"))
    root = tmp_path / "checkout"
    root.mkdir()
    for module in common, series:
        monkeypatch.setattr(module, "ROOT", root)
    fake.forget()
    return fake


def add_build(tree):
    """Give a source tree a configure that makes a pretended CPython."""
    shutil.copy(faketree.TREE / "configure", tree)
    faketree.write(tree, "Python/main.c", "int main;\n")


def files_of(folder, name):
    """Return {path below *name*: content} of the files in a folder."""
    return {f"{name}/{path.relative_to(folder)}": path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


def write_tar(path, files):
    """Write {name: text or bytes, or (target of a link,)}."""
    mode = "w:gz" if path.suffix == ".gz" else "w"
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if isinstance(content, tuple):
                info.type = tarfile.SYMTYPE
                info.linkname, = content
                content = ""
            data = os.fsencode(content)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
