"""Programs of Debian's packages, unpacked below build/: no root needed."""

import os
import shutil
import subprocess

PATIENCE = 300      # seconds for apt-get


class Missing(Exception):
    """A program that cannot be had; the message says why."""


def program(name, packages, root):
    """Return (path of a program, environment for it).

    The machine's own is taken if there is one.  Otherwise *packages*, and
    what they need, are unpacked into the folder *root*.
    """
    own = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if own and not (root / "usr").is_dir():
        return own, {}
    stamp = root / f".{packages[0]}"
    if not stamp.is_file():
        if own:
            return own, {}
        unpack(packages, root)
        stamp.touch()
    found = next((root / folder / name
                  for folder in ("usr/sbin", "usr/bin", "usr/lib/squid")
                  if (root / folder / name).is_file()), None)
    if found is None:
        raise Missing(f"{packages[0]} has no {name} in it")
    return str(found), environment(root)


def environment(root):
    folders = sorted({str(path.parent)
                      for path in root.glob("usr/lib/*/*.so*")}
                     | {str(path.parent) for path in root.glob("lib/*/*.so*")})
    return {"LD_LIBRARY_PATH": os.pathsep.join(folders)}


def unpack(packages, root):
    if not all(map(shutil.which, ("apt-get", "dpkg"))):
        raise Missing("neither installed, nor is there an apt-get")
    told = call(["apt-get", "--simulate", "--no-install-recommends",
                 "install", *packages])
    # "Inst NAME [old version] (new version ...": what is new is needed.
    rows = [line.split() for line in told.splitlines()
            if line.startswith("Inst ")]
    names = [row[1] for row in rows if row[2].startswith("(")]
    folder = root / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    call(["apt-get", "download", *(names or packages)], cwd=folder)
    for package in folder.glob("*.deb"):
        call(["dpkg", "-x", str(package), str(root)])
        package.unlink()


def call(argv, cwd="/"):
    try:
        done = subprocess.run(argv, cwd=cwd, text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE,
                              env={**os.environ, "LC_ALL": "C"})
    except subprocess.TimeoutExpired:
        raise Missing(f"{argv[0]}: no end after {PATIENCE} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise Missing(f"{argv[0]}: {said[-1]}; apt-get update may help")
    return done.stdout
