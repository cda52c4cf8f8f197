"""Run HTTP clients against real servers that end idle connections.

    python3 interop/servers.py                all servers
    python3 interop/servers.py --quick        less of each, patched clients
    python3 interop/servers.py nginx node     these
    python3 interop/servers.py --list         the servers, and what is missing

The interpreters are those of ./series, built first if need be.  A server is
the machine's own, or comes from Debian's or PyPI's packages into
build/interop; nothing is installed.  All run on loopback addresses, end idle
connections after a second, and have an application behind them that notes
each POST it executes.  The clients are http.client and xmlrpc.client, stock
and patched, PersistentConnectionHandler, urllib3, httpx and pycurl, each a
process of its own.  What is done with each:

  pauses    500 POSTs over kept connections, a third each after a pause well
            past, exactly at, and around the time after which the server
            closes, which is measured first; plain, and over TLS; with some
            servers at the same time, as clients only wait
  limit     250 POSTs to a server that ends a connection after 7 requests
  reload    POSTs by 16 threads, while the server is told to reload thrice, or
            is restarted; one that it does not accept meanwhile is not counted
  cut       20 POSTs that the server executes and then closes, unanswered
  checks    chunked, gzip, HEAD, 204, 304, Expect, an early 413, redirects,
            Basic, Digest, pipelining, IPv6, Unix sockets, tickets, KeyUpdate;
            with patched clients only

"cannot" in the tables: interop/servers/README.md says why.
The figures: POSTs that failed although the server's close had arrived before
(past), that failed since the close and the request crossed, which no client
can prevent (edge), that were executed twice, wrong responses, connections.

The result goes to interop/results/servers.md and servers.json, where a server
that was not run keeps its rows.  The exit status is 1 if a patched client
failed past a close, had something executed twice, got a wrong response, or
did not pass a check; 2 if a server is missing that was asked for by name.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP), str(TOP / "interop" / "servers")]
sys.dont_write_bytecode = True

import suites  # noqa: E402  it finds the interpreters
from suites import Failure  # noqa: E402

import kinds  # noqa: E402
import report  # noqa: E402
from debian import Missing  # noqa: E402

CLIENT = TOP / "interop" / "servers" / "client.py"
PEERS = ["urllib3", "httpx", "pycurl", "gunicorn", "uvicorn"]
# Name in the tables: (name in client.py, interpreter)
CLIENTS = {
    "stock": ("http.client", "stock"),
    "patched": ("http.client", "patched"),
    "handler": ("handler", "patched"),
    "xmlrpc stock": ("xmlrpc", "stock"),
    "xmlrpc": ("xmlrpc", "patched"),
    "urllib3": ("urllib3", "peers"),
    "httpx": ("httpx", "peers"),
    "pycurl": ("pycurl", "peers"),
}
PARTS = {"pauses": "pauses", "pauses, TLS": "pauses_tls", "limit": "limit",
         "reload": "reload", "cut": "cut", "checks": "checks"}
PATCHED = ["patched", "handler", "xmlrpc"]
WAITING = ["pauses", "pauses, TLS"]     # the parts that do little but wait
TOGETHER = 3        # servers that have these at the same time
children = set()    # processes of clients
THREADS = 250
LIMIT = 7
PATIENCE = 120      # seconds for a client's process


def main():
    args = parse()
    # So that no server is left.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with setting(args) as (shared, pythons):
            if args.list:
                return show(shared)
            return run(args, shared, pythons)
    except Failure as exc:
        sys.exit(f"servers: {exc}")
    except KeyboardInterrupt:
        sys.exit(130)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    known = list(kinds.KINDS)
    parser.add_argument("names", metavar="NAME", nargs="*",
                        help=f"{', '.join(known)} (default: all)")
    parser.add_argument("--list", action="store_true",
                        help="show the servers, run nothing")
    parser.add_argument("--line", default="3.13", choices=suites.LINES,
                        help="CPython's line (default: 3.13, for which most "
                             "packages have wheels)")
    parser.add_argument("--posts", metavar="N", type=int, default=500,
                        help="for each server and client (default: 500)")
    parser.add_argument("--client", metavar="NAME", action="append",
                        choices=CLIENTS, dest="clients",
                        help=f"{', '.join(CLIENTS)} (repeatable; default: "
                             f"all)")
    parser.add_argument("--part", metavar="NAME", action="append",
                        choices=PARTS, dest="parts",
                        help=f"{'; '.join(PARTS)} (repeatable; default: all)")
    parser.add_argument("--show", action="store_true",
                        help="show the result, and write nothing")
    parser.add_argument("--quick", action="store_true",
                        help="--posts 60 --show with the patched clients")
    args = parser.parse_args()
    args.lib = None
    args.asked = bool(args.names)
    args.names = args.names or known
    for name in args.names:
        if name not in known:
            parser.error(f"there is no {name}; --list shows what there is")
    if args.quick:
        args.posts, args.show = 60, True
        args.clients = args.clients or PATCHED
    args.clients = args.clients or list(CLIENTS)
    args.parts = args.parts or list(PARTS)
    return args


@contextlib.contextmanager
def setting(args):
    """Give (what the servers share, {name: interpreter})."""
    stock, patched = [side.python for side in suites.interpreters(args)]
    place = suites.build_dir() / "interop"
    place.mkdir(parents=True, exist_ok=True)
    peers = virtual_environment(place / "peers", stock)
    pythons = {"stock": stock, "patched": patched, "peers": peers}
    with tempfile.TemporaryDirectory(prefix="servers-") as folder:
        home = pathlib.Path(folder)
        home.chmod(0o755)
        shared = kinds.Setting(place, home, stock, peers)
        if not kinds.certificate(shared.certificate):
            raise Failure("no certificate could be made; install openssl")
        if args.list:
            yield shared, pythons
            return
        application = kinds.Application(shared)
        application.start()
        shared.upstream = application.port
        try:
            yield shared, pythons
        finally:
            application.stop()


def virtual_environment(top, python):
    """Make the environment of other clients and servers, unless there.

    Return its interpreter, or None if it cannot be made.
    """
    try:
        install_peers(top, python)
    except Failure as exc:
        say(f"skipped: {', '.join(PEERS)}: {exc}")
        return None
    return top / "bin" / "python"


def install_peers(top, python):
    stamp, text = top / "made-of", "\n".join([str(python), *PEERS])
    if stamp.is_file() and stamp.read_text() == text:
        return
    say(f"installing {', '.join(PEERS)}")
    shutil.rmtree(top, ignore_errors=True)
    suites.call(python, "-m", "venv", "--without-pip", top)
    suites.pip.install(top / "bin" / "python",
                       suites.venv.Interpreter(python))
    suites.call(top / "bin" / "python", "-m", "pip", "install", "--quiet",
                "--disable-pip-version-check", "--no-input", *PEERS)
    stamp.write_text(text)


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def show(shared):
    for name, kind in kinds.KINDS.items():
        try:
            told = f"{kind.title} {kind(shared).version}"
        except Missing as exc:
            told = f"missing: {exc}"
        print(f"{name:12} {told}")
    return 0


def run(args, shared, pythons):
    """Run the servers; return the exit status."""
    results, missing = {}, set()

    def part_of(name, parts):
        try:
            trial = trials.setdefault(
                name, Trial(name, kinds.KINDS[name](shared), shared, pythons,
                            args))
            return trial.run([part for part in parts if part in args.parts])
        except Missing as exc:
            say(f"{name}: skipped: {exc}")
            missing.add(name)
            return {"title": name, "skipped": str(exc)}

    def keep(name, told):
        results.setdefault(name, {}).update(told)
        if not args.show:
            report.write(name, told)

    trials = {}
    with workers(TOGETHER) as pool:
        for name, told in zip(args.names, pool.map(
                lambda name: part_of(name, WAITING), args.names)):
            keep(name, told)
    for name in args.names:
        if name not in missing:
            keep(name, part_of(name, [part for part in PARTS
                                      if part not in WAITING]))
    if args.show:
        print(report.markdown(results))
    problems = [f"{name}: {problem}" for name, told in results.items()
                for problem in report.problems(told, PATCHED)]
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 2 if missing and args.asked else 0


@contextlib.contextmanager
def workers(count):
    pool = concurrent.futures.ThreadPoolExecutor(count)
    try:
        yield pool
    except BaseException:
        # Each thread stops its server when its client has ended.
        pool.shutdown(wait=False, cancel_futures=True)
        for child in list(children):
            end(child)
        raise
    finally:
        pool.shutdown()


def end(child):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


class Trial:
    """All that is done with one server."""

    def __init__(self, name, server, shared, pythons, args):
        self.name, self.server, self.shared = name, server, shared
        self.pythons, self.args = pythons, args
        self.serial = 0
        self.clients = [client for client in args.clients
                        if pythons[CLIENTS[client][1]]]

    def run(self, parts):
        server = self.server
        result = {"title": server.title, "version": server.version,
                  "cannot": sorted(server.cannot)}
        for part in parts:
            if part not in server.cannot:
                result[part] = getattr(self, PARTS[part])(part)
        return result

    def say(self, text):
        say(f"{self.name}: {text}")

    @contextlib.contextmanager
    def running(self, limit=None):
        self.server.start(limit)
        try:
            yield self.server
        finally:
            self.server.stop()

    def pauses(self, part, tls=False):
        with self.running() as server:
            closes = self.measure(tls)
            self.say(f"{part}: it closes after {closes[0]:.3f} to "
                f"{closes[1]:.3f} s")
            pauses = spread(*closes, self.args.posts)
            threads = min(THREADS, self.args.posts)
            job = {"mode": "pauses", "threads": threads, "pauses": pauses,
                   "stagger": closes[1] / threads, **server.where(tls)}
            return {"closes": closes, **self.each(part, job)}

    def pauses_tls(self, part):
        return self.pauses(part, tls=True)

    def measure(self, tls):
        """Return the least and the most time until the server's close."""
        job = {"mode": "measure", "threads": 20, "stagger": 0.05,
               **self.server.where(tls)}
        times = [record["closed"] for record in self.client("patched", **job)
                 if "closed" in record]
        if len(times) < 20:
            raise Missing("it does not close idle connections")
        return [round(min(times), 3), round(max(times), 3)]

    def limit(self, part):
        with self.running(LIMIT) as server:
            return self.each(part, {"mode": "count", "threads": 10,
                                    "count": max(15, self.args.posts // 20),
                                    **server.where()})

    def reload(self, part):
        return {client: self.reload_one(part, client)
                for client in self.clients}

    def reload_one(self, part, client):
        with self.running() as server:
            stop = threading.Event()
            with workers(1) as pool:
                reloading = pool.submit(reload_thrice, server,
                                        self.shared.log, stop)
                try:
                    return self.judge(part, client, {
                        "mode": "load", "threads": 16, "seconds": 5,
                        **server.where()})
                finally:
                    stop.set()
                    reloading.result()

    def cut(self, part):
        with self.running() as server:
            return self.each(part, {
                "mode": "cuts", "threads": 1, "count": 20, **server.where()})

    def checks(self, part):
        with self.running() as server:
            where = server.where()
            job = {
                "mode": server.mode, "threads": 1, **where,
                "cannot": sorted(server.cannot),
                "tls": server.where(True)["url"],
                "url6": f"http://[::1]:{server.port6}",
                "proxy6": f"http://[::1]:{server.port6}"
                          if server.proxied else None,
                "path": str(server.home / "socket")}
            told = report.by_check(self.client("patched", **job))
        self.say("checks: " + ", ".join(
            f"{count} {text}" for text, count in collections.Counter(
                text if text == "ok" else "failed"
                for text in told.values()).items()))
        return told

    def each(self, part, job):
        return {client: self.judge(part, client, job)
                for client in self.clients}

    def judge(self, part, client, job):
        """Run a client; return its figures."""
        self.serial += 1
        prefix = f"{self.name}-{self.serial}-"
        if job["mode"] == "cuts":
            prefix = f"cut-{prefix}"
        records = self.client(client, prefix=prefix, **job)
        executed = collections.Counter(
            line for line in self.shared.log.read_text().splitlines()
            if line.startswith(prefix))
        told = report.figures(records, executed, job["mode"])
        self.say(f"{part}, {client}: {report.line(told)}")
        return told

    def client(self, client, **job):
        """Run a client's process; return the records that it writes."""
        kind, python = CLIENTS[client]
        job["client"] = kind
        child = subprocess.Popen(
            [self.pythons[python], CLIENT], text=True, cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
            env=self.shared.environment({"PYTHONNODEBUGRANGES": "1"}))
        children.add(child)
        try:
            told, errors = child.communicate(json.dumps(job) + "\n", PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"{client} does not end with {self.name}") from None
        finally:
            end(child)
            child.wait()
            children.discard(child)
        if child.returncode:
            raise Failure(f"{client} ended with {child.returncode}: "
                          f"{(errors.strip().splitlines() or ['?'])[-1]}")
        return list(map(json.loads, told.splitlines()))


def spread(least, most, count):
    """Return pauses past, at and around the time of the close, in turns."""
    third = max(1, count // 3)

    def between(low, high):
        return [max(0, low + (high - low) * at / third)
                for at in range(third)]

    past = between(most + 0.1, most + 0.4)
    exact = between(least - 0.002, most + 0.002)
    around = between(least - 0.1, most + 0.1)
    pauses = [pause for three in zip(past, exact, around) for pause in three]
    return (pauses + past)[:count]


def reload_thrice(server, log, stop):
    before = log.stat().st_size if log.exists() else 0
    while not log.exists() or log.stat().st_size == before:
        if stop.wait(0.05):     # until the load has begun
            return
    for _ in range(3):
        if stop.wait(0.8):
            return
        server.reload()


if __name__ == "__main__":
    sys.exit(main())
