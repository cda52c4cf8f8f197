"""Stock and patched measured beside each other, and beside other clients.

First, what the code of http.client itself costs, on every line that is built:
CPU time over a socket pair, less that of the sockets (bench/cost.py).  Then,
over the loopback interface, each client with one kept connection to a
scripted server, if it keeps any: small requests; xmlrpc.client; redirects,
with 20 ms for a round trip; and 1,000 POSTs each after an idle close.
Interpreters take turns; figures are medians of samples, each of them the
best of some turns, and the quartiles of samples that were taken beside each
other.  What has an aim is the best sample of all.

Tables are printed; the numbers go to bench/results/LINE.json, the tables in
Markdown to LINE.md, a plot to LINE.svg.  Other clients are fetched with pip
into the cache.  The exit status is 1 if a promise is broken that does not
depend on the speed of the machine: how many system calls a request costs,
what an idle connection holds, that a call is sent at once, that each POST
arrives exactly once.
"""

import json
import os
import platform
import time
from pathlib import Path

from tools import bench_library as library, bench_measures as measures
from tools import bench_peers, bench_report, demo, demo_server
from tools.bench_lab import Lab
from tools.common import LINES, ROOT, Failure, build_dir, known_line
from tools.common import run as run_program, say
from tools.patches import load
from tools.places import plain_failures

RESULTS = ROOT / "bench" / "results"


def add_arguments(parser):
    parser.add_argument("line", nargs="?", metavar="LINE", type=known_line,
                        help="3.13, 3.14 or 3.15 (default: the newest that "
                             "can be had), built if need be")
    parser.add_argument("--quick", action="store_true",
                        help="little of everything, in half a minute: to see "
                             "that it works, not for its numbers")
    parser.add_argument("--tries", type=int, metavar="N",
                        help="POSTs per way to end a connection (default: "
                             f"{measures.FULL.tries}, or "
                             f"{measures.QUICK.tries} if quick)")
    parser.add_argument("--without-peers", action="store_true",
                        help="measure no other client, fetch nothing and "
                             "draw no plot")
    parser.add_argument("--output", metavar="DIR", type=Path,
                        help="where the results go (default: bench/results; "
                             "with --quick, nowhere)")


def run(args):
    size = measures.QUICK if args.quick else measures.FULL
    if args.tries is not None:
        size = size._replace(tries=args.tries)
    if not 1 <= size.tries <= demo.MAX_COUNT:
        raise Failure(f"--tries {size.tries} cannot be done; give a number "
                      f"from 1 to {demo.MAX_COUNT}")
    demo.see_linux()
    no_tls = demo_server.why_no_tls()
    if no_tls:
        raise Failure(f"the benchmarks need TLS: {no_tls}; run ./series with "
                      f"another Python")
    results = measure(args.line, size, with_peers=not args.without_peers)
    return _report(results, args)


def measure(line, size, *, with_peers):
    """Measure everything; return the results, as they go to LINE.json."""
    line, pythons = _interpreters(line)
    start = time.monotonic()
    _see_idle()
    found, missing = _packages(pythons["patched"], line, with_peers)
    results = {"line": line, **_circumstances(pythons, size)}
    with Lab() as lab:
        results["cost"] = {
            each: measures.cost(lab, both, each, size)
            for each, both in _all_lines(line, pythons).items()}
        results["system calls"] = measures.system_calls(lab, pythons)
        piped = found.pop(bench_peers.PIPELINING, None)
        results["peers"] = measures.peers(lab, pythons, found, size)
        results["pipelining"] = library.pipelining(lab, pythons, piped, size)
        results["xmlrpc"] = library.xmlrpc(lab, pythons, size)
        results["redirects"] = library.redirects(lab, pythons, size)
    results["reliability"] = measures.reliability(pythons, size)
    results["not run"] = missing
    results["seconds"] = round(time.monotonic() - start)
    return results


def _see_idle():
    load, cores = os.getloadavg()[0], os.cpu_count()
    if load > cores / 2:
        say(f"this machine is busy: a load of {load:.1f} on {cores} cores; "
            f"times will be spread more than they have to")


def _interpreters(line):
    """Return (line, {"stock": path, "patched": path})."""
    from tools import build     # which imports git and more
    base, patched = build.patched(line)
    return base.line, {"stock": base.interpreter_at("base", "stock"),
                       "patched": patched}


def _all_lines(line, pythons):
    """Return {line: interpreters} of *line* and all others that are built."""
    found = {line: pythons}
    for other in LINES:
        stamp = build_dir() / other / "patched.json"
        if other != line and stamp.is_file():
            found[other] = _interpreters(other)[1]
    return dict(sorted(found.items()))


def _packages(python, line, wanted):
    names = [*bench_peers.PEERS, bench_peers.PIPELINING]
    if not wanted:
        return {}, dict.fromkeys(names, "--without-peers")
    version = tuple(map(int, line.split(".")))
    with plain_failures():
        return bench_peers.find(python, version, names)


def _circumstances(pythons, size):
    said = demo.title("patched", pythons["patched"])
    return {"version": said.split()[1], "patches": len(load()),
            "units": {"time": "microseconds", "memory": "bytes"},
            "machine": {"cpu": _cpu(), "cores": os.cpu_count(),
                        "system": f"{platform.system()} "
                                  f"{platform.machine()}"},
            "size": {name: plan._asdict() if hasattr(plan, "_asdict")
                     else plan for name, plan in size._asdict().items()}}


def _cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines
             if line.startswith("model name")]
    return (names or [platform.machine()])[0]


# What becomes of the results.

def _report(results, args):
    print(bench_report.plain(results), end="")
    folder = args.output or (None if args.quick else RESULTS)
    if folder is not None:
        with plain_failures():
            _write(results, folder, with_plot=not args.without_peers)
    broken = bench_report.broken(results)
    for what in broken:
        say(f"a promise is broken: {what}")
    return 1 if broken else 0


def _write(results, folder, *, with_plot):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{results['line']}.json"
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n",
                    "utf-8")
    file.with_suffix(".md").write_text(bench_report.markdown(results),
                                       "utf-8")
    picture = file.with_suffix(".svg")
    # One of other numbers would be worse than none.
    picture.unlink(missing_ok=True)
    if with_plot:
        _draw(results["line"], file, picture)


def _draw(line, file, picture):
    _, pythons = _interpreters(line)
    python = pythons["patched"]
    version = tuple(map(int, line.split(".")))
    found, missing = bench_peers.find(python, version, [bench_peers.PLOTTER])
    for name, why in missing.items():
        say(f"no plot, as there is no {name}: {why}")
    for _, packages in found.values():
        run_program([python, "-E", "-s", "-B", ROOT / "bench" / "plot.py",
                     packages, file, picture])
