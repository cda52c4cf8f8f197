"""apt-get, apt-cache, dpkg, dpkg-deb and patchelf, pretended.

Run as "fakeapt.py PROGRAM ARGUMENT..."; the file that FAKE_ARCHIVE names
says what the archive has and what is wrong with it (see fakearchive.py).
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path

URI = "http://debian.example/debian/"


class Apt:
    """One call of apt-get or apt-cache."""

    def __init__(self, args, archive):
        self.archive = archive
        self.options = {}
        self.words = []
        rest = iter(args)
        for arg in rest:
            if arg == "-o":
                name, _, value = next(rest).partition("=")
                self.options[name] = value
            elif arg == "-c":
                next(rest)
            else:
                self.words.append(arg)
        self.flags = {word for word in self.words if word[0] == "-"}
        self.words = [word for word in self.words if word[0] != "-"]
        if "Dir::Etc::SourceList" in self.options:
            text = Path(self.options["Dir::Etc::SourceList"]).read_text()
            self.fields = dict(re.findall(r"^([\w-]+): (.*)$", text, re.M))
            self.name = self.fields["Suites"]
            self.suite = archive["suites"].get(self.name, {})
            self.index = Path(self.options["Dir::State::Lists"]) / (
                f"debian.example_debian_dists_{self.name}_main_index")

    def log(self, text):
        with open(self.archive["log"], "a") as file:
            file.write(text + "\n")

    def update(self):
        self.log(f"update {self.name} {self.fields['Types']}")
        if self.archive["offline"]:
            # As apt does: it warns, and keeps what it has.
            print(self.archive["offline"], file=sys.stderr)
            return 0
        problem = self.suite.get("problem") or not self.suite and (
            "E: The repository does not have a Release file.")
        if problem:
            print(problem, file=sys.stderr)
            return 100
        self.index.write_text("index")
        return 0

    def indextargets(self):
        print("\n".join(self.archive["targets"]))
        return 0

    def versions(self, package):
        kind = "packages" if self.fields["Types"] == "deb" else "sources"
        return self.suite.get(kind, {}).get(package, {})

    def madison(self, package):
        for version in sorted(self.versions(package), reverse=True):
            print(f" {package} | {version} | {URI} {self.name}/main x")
        return 0

    def files(self, specs):
        names = []
        for spec in specs:
            package, _, version = spec.partition("=")
            known = self.versions(package)
            if not known or version and version not in known:
                print(f"E: Version '{version}' for '{package}' was not found",
                      file=sys.stderr)
                sys.exit(100)
            names += known[version or max(known)]
        return list(dict.fromkeys(names))

    def fetch(self, specs, target):
        return max([self.get(name, Path(target) / name)
                    for name in self.files(specs)])

    def get(self, name, target):
        original = Path(self.archive["pool"]) / name
        if "--print-uris" in self.flags:
            if not target.exists():
                print(f"'{URI}pool/{name}' {name} "
                      f"{original.stat().st_size} SHA256:0")
            return 0
        if target.exists():
            return 0
        problem = self.archive["offline"]
        if name in self.archive["gone"]:
            problem = f"E: Failed to fetch {URI}pool/{name}  404  Not Found"
        if problem:
            print(problem, file=sys.stderr)
            return 100
        self.log(f"get {name}")
        shutil.copy(original, target)
        return 0

    def run(self):
        verb, *rest = self.words
        if verb == "install":
            return self.fetch(rest, self.options["Dir::Cache::Archives"])
        if verb == "source":
            return self.fetch(rest, os.getcwd())
        return getattr(self, verb)(*rest[:1]) if verb == "madison" else (
            getattr(self, verb)())


def dpkg_deb(args):
    content = Path(args[1]).read_bytes()
    if content.startswith(b"not a package"):
        print("dpkg-deb: error: not a Debian format archive",
              file=sys.stderr)
        return 2
    sys.stdout.buffer.write(content)
    return 0


def main(program, args):
    archive = json.loads(Path(os.environ["FAKE_ARCHIVE"]).read_text())
    if program in ("apt-get", "apt-cache"):
        return Apt(args, archive).run()
    if program == "dpkg-deb":
        return dpkg_deb(args)
    print({"patchelf": "/lib64/ld.so", "dpkg": "amd64"}[program])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
