"""apt-get and apt-cache, pretended.

The file that FAKE_ARCHIVE names says what the archive has and what is wrong
with it (see fakearchive.py).
"""

import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path

URI = "http://debian.example/debian/"


def main():
    archive = argparse.Namespace(**json.loads(
        Path(os.environ["FAKE_ARCHIVE"]).read_text()))
    parser = argparse.ArgumentParser()
    parser.add_argument("-c")
    parser.add_argument("-o", action="append", default=[])
    parser.add_argument("--print-uris", action="store_true")
    args, rest = parser.parse_known_args()
    options = dict(option.split("=", 1) for option in args.o)
    verb, *words = [word for word in rest if word[0] != "-"]
    if verb == "indextargets":
        print("\n".join(archive.targets))
        return
    fields = dict(re.findall(r"^([\w-]+): (.*)$", Path(
        options["Dir::Etc::SourceList"]).read_text(), re.MULTILINE))
    suite = archive.suites.get(fields["Suites"], {})
    packages = suite.get(
        "packages" if fields["Types"] == "deb" else "sources", {})
    if verb == "update":
        update(archive, suite, fields, Path(options["Dir::State::Lists"]))
    elif verb == "madison":
        for version in sorted(packages.get(words[0], {}), reverse=True):
            print(f" {words[0]} | {version} | {URI}")
    else:
        folder = os.getcwd() if verb == "source" else (
            options["Dir::Cache::Archives"])
        for name in dict.fromkeys(names(packages, words)):
            get(archive, name, Path(folder) / name, args.print_uris)


def log(archive, text):
    with open(archive.log, "a") as file:
        file.write(text + "\n")


def update(archive, suite, fields, lists):
    log(archive, f"update {fields['Suites']} {fields['Types']}")
    if archive.offline:
        # As apt does: it warns, and keeps what it has.
        print(archive.offline, file=sys.stderr)
    elif "problem" in suite or not suite:
        sys.exit(suite.get("problem", "E: The repository does not have a "
                                      "Release file."))
    else:
        (lists / f"debian.example_dists_{fields['Suites']}").touch()


def names(packages, specs):
    for spec in specs:
        package, _, version = spec.partition("=")
        known = packages.get(package, {})
        if (version or not known) and version not in known:
            sys.exit(f"E: Version '{version}' for '{package}' was not found")
        yield from known[version or max(known)]


def get(archive, name, target, only_print):
    original = Path(archive.pool) / name
    if target.exists():
        return
    if only_print:
        print(f"'{URI}{name}' {name} {original.stat().st_size} SHA256:0")
        return
    if name in archive.gone:
        sys.exit(f"E: Failed to fetch {URI}pool/{name}  404  Not Found")
    if archive.offline:
        sys.exit(archive.offline)
    log(archive, f"get {name}")
    shutil.copy(original, target)


if __name__ == "__main__":
    main()
