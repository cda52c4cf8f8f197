"""Measure stock and patched beside each other, and beside other clients.

  ./series bench                      all parts, in about four minutes
  ./series bench 3.14 --part cost     one part, on that line
  ./series bench --quick              see that it works, in a minute

The parts are:

  cost    CPU of http.client's own code, over a socket pair, less the sockets
  peers   a small GET by each client, plain and with TLS: wall clock and CPU
  worth   round trips of 0 to 50 ms: urlopen(), redirects, pipelining, ...
  growth  up to 100,000 requests, 99 fields, 1,000 connections, 16 threads
  posts   POSTs after the server has closed an idle connection

The clients take turns in rounds, against a server in another process, and
each response is checked.  Use an idle machine: the report warns if others use
the processor.  Tables are printed, and written to bench/results/LINE.md, with
the samples in LINE.json and plots beside it.  A run of some parts replaces
only those.  Other clients are fetched from PyPI into the cache; one that
cannot be fetched is left out.

The exit status is 1 if a goal is missed that does not depend on the machine's
speed: system calls, memory of an idle connection, each POST exactly once.
"""

import datetime
import json
import os
import platform
import re
import time
from pathlib import Path

from bench import parts, peers, report
from bench.lab import laboratory
from demo import demo
from tools.common import ROOT, Failure, known_line, run as run_program, say
from tools.interpreters import build
from tools.patches.series import load

RESULTS = ROOT / "bench" / "results"
BUSY = 0.5      # load average, from which on the machine is not idle


def add_arguments(parser):
    parser.add_argument("line", nargs="?", metavar="LINE", type=known_line,
                        help="3.13, 3.14 or 3.15 (default: the newest that "
                             "can be had), built if need be")
    parser.add_argument("--part", action="append", choices=parts.PARTS,
                        help="measure only this; can be given more than "
                             "once")
    parser.add_argument("--rounds", type=int, metavar="N",
                        help=f"turns of each client (default: "
                             f"{parts.FULL.rounds}); more take longer and "
                             f"have less spread")
    parser.add_argument("--quick", action="store_true",
                        help="little of everything; the numbers mean nothing")
    parser.add_argument("--output", metavar="DIR", type=Path,
                        help="where the results go (default: bench/results; "
                             "with --quick, nowhere)")


def run(args):
    size = parts.QUICK if args.quick else parts.FULL
    if args.rounds is not None:
        size = size._replace(rounds=args.rounds)
    if size.rounds < 1:
        raise Failure(f"--rounds {size.rounds} cannot be done; give 1 or more")
    folder = args.output or (None if args.quick else RESULTS)
    if folder is not None:
        try:        # before the minutes that it takes to measure
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise Failure(f"cannot make the folder {folder} ({exc.strerror}); "
                          f"name another: --output DIR") from exc
    demo.see_linux()
    if os.getloadavg()[0] > BUSY:
        say(f"this machine is busy, with a load of {os.getloadavg()[0]:.1f}; "
            f"wait until it is idle, or expect wider spreads")
    line, pythons = interpreters(args.line)
    results = circumstances(line, pythons)
    for name in args.part or parts.PARTS:
        results["parts"][name] = measure(name, pythons, size, line)
    if folder is not None:
        write(results, folder)
    print(report.markdown(results), end="", flush=True)
    if folder is not None:
        draw(results, folder, pythons["patched"])
    missed = report.broken(results)
    for what in missed:
        say(f"missed: {what}")
    return 1 if missed else 0


def interpreters(line):
    """Return (line, {"stock": path, "patched": path})."""
    base, patched = build.patched(line)
    return base.line, {"stock": base.interpreter_at("base", "stock"),
                       "patched": patched}


def circumstances(line, pythons):
    """Return results without parts."""
    cpu = re.search(r"^model name\s*: (.*)",
                    Path("/proc/cpuinfo").read_text(), re.M)
    system = platform.release().partition("-")[0]
    return {"line": line, "patches": len(load()), "parts": {},
            "version": demo.title("patched", pythons["patched"]).split()[1],
            "machine": {"cpu": cpu[1] if cpu else "unknown processor",
                        "cores": os.cpu_count(),
                        "system": f"Linux {system} {platform.machine()}"}}


def measure(name, pythons, size, line):
    """Return a part of the results, and how it came about."""
    say(f"measuring {name}")
    found, missing = peers.find(pythons["patched"], line) if (
        name == "peers") else ({}, {})
    start = time.monotonic()
    with laboratory(pythons["stock"]) as lab:
        measured = parts.PARTS[name](lab, pythons, size, found)
    return {"date": str(datetime.date.today()), "rounds": size.rounds,
            "seconds": round(time.monotonic() - start),
            "others": round(lab.watch.worst, 2), "missing": missing,
            # With names that are strings, as read from a file.
            "measured": json.loads(json.dumps(measured))}


def write(results, folder):
    """Write LINE.json and LINE.md; other parts stay if all else is equal."""
    file = folder / f"{results['line']}.json"
    if file.exists():
        before = json.loads(file.read_text("utf-8"))
        if {**before, "parts": 0} == {**results, "parts": 0}:
            known = {**before["parts"], **results["parts"]}
            results["parts"] = {name: known[name] for name in parts.PARTS
                                if name in known}
    text = json.dumps(results, indent=1, ensure_ascii=False)
    # Samples in a row.
    text = re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()),
                  text)
    file.write_text(text + "\n", "utf-8")
    file.with_suffix(".md").write_text(report.markdown(results), "utf-8")


def draw(results, folder, python):
    found, _ = peers.find(python, results["line"], ["matplotlib"])
    for _, packages in found.values():
        run_program([python, "-E", "-s", "-B", ROOT / "bench" / "plot.py",
                     packages, folder / f"{results['line']}.json"])
