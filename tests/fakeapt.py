"""apt-get, apt-cache, apt-config, dpkg, dpkg-deb and patchelf, pretended.

Run as "fakeapt.py PROGRAM ARGUMENT..."; the file that FAKE_ARCHIVE names
says what the archive has and what is wrong with it (see fakearchive.py).
"""

import hashlib
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
                self.options["-c"] = next(rest)
            else:
                self.words.append(arg)
        self.flags = {word for word in self.words if word[0] == "-"}
        self.words = [word for word in self.words if word[0] != "-"]
        if self.private:
            text = Path(self.options["Dir::Etc::SourceList"]).read_text()
            self.fields = dict(re.findall(r"^([\w-]+): (.*)$", text, re.M))
            self.suite = archive["suites"].get(self.fields["Suites"], {})

    @property
    def private(self):
        return "-c" in self.options

    @property
    def index(self):
        kind = {"deb": "binary-amd64_Packages",
                "deb-src": "source_Sources"}[self.fields["Types"]]
        return Path(self.options["Dir::State::Lists"]) / (
            f"debian.example_debian_dists_{self.fields['Suites']}_main_"
            f"{kind}")

    def log(self, text):
        with open(self.archive["log"], "a") as file:
            file.write(text + "\n")

    def update(self):
        if not self.private:
            print("\n".join(self.archive["plan"]))
            return 0
        kind = self.fields["Types"]
        self.log(f"update {self.fields['Suites']} {kind} "
                 f"{self.fields.get('Signed-By', '-')}")
        problem = self.archive["offline"] or self.suite.get("problem")
        if problem:
            print(problem, file=sys.stderr)
            return 100
        if not self.suite:
            print("E: The repository does not have a Release file.")
            return 100
        self.index.write_text("index")
        return 0

    def indextargets(self, *fields):
        print("\n".join(self.archive["targets"]))
        return 0

    def versions(self, package):
        kind = "packages" if self.fields["Types"] == "deb" else "sources"
        return self.suite.get(kind, {}).get(package, {})

    def madison(self, package):
        where = self.fields["Suites"] + "/main " + (
            "amd64 Packages" if self.fields["Types"] == "deb" else "Sources")
        for version in self.versions(package):
            print(f" {package} | {version} | {URI} {where}")
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
        if not self.index.exists():
            print("E: no index", file=sys.stderr)
            return 100
        if "--print-uris" in self.flags:
            for name in self.files(specs):
                content = self.original(name).read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                if (Path(target) / name).exists():
                    continue
                print(f"'{URI}pool/{name}' {name} {len(content)} "
                      f"SHA256:{digest}")
            return 0
        return max([self.get(name, Path(target) / name)
                    for name in self.files(specs)])

    def original(self, name):
        return Path(self.archive["pool"]) / name

    def get(self, name, target):
        if target.exists():
            return 0
        problem = self.archive["offline"]
        if name in self.archive["gone"]:
            problem = f"E: Failed to fetch {URI}pool/{name}  404  Not Found"
        if problem:
            print(problem, file=sys.stderr)
            return 100
        self.log(f"get {name}")
        if name in self.archive["harmed"]:
            target.write_text("something else")
            return 0
        partial = target.parent / "partial" / name
        if partial.exists() and name in self.archive["stuck"]:
            print(f"E: Failed to fetch {name} Hash Sum mismatch",
                  file=sys.stderr)
            return 100
        shutil.copy(self.original(name), target)
        return 0

    def run(self):
        verb, *rest = self.words
        if verb == "install":
            return self.fetch(rest, self.options["Dir::Cache::Archives"])
        if verb == "source":
            return self.fetch(rest, os.getcwd())
        return getattr(self, verb)(*rest)


def dpkg(args):
    if args[0] == "--print-architecture":
        print("amd64")
        return 0
    _, one, relation, other = args
    one, other = ([int(part) for part in re.findall(r"\d+", text)]
                  for text in (one, other))
    return 0 if {"lt": one < other, "gt": one > other}[relation] else 1


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
    if program == "apt-config":
        print(f"LIST='{archive['sources']}/none'\n"
              f"PARTS='{archive['sources']}/'")
        return 0
    if program == "patchelf":
        print("/lib64/ld.so")
        return 0
    return {"dpkg": dpkg, "dpkg-deb": dpkg_deb}[program](args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
