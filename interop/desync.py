"""See which clients take bytes of one exchange for the response to the next.

    "$(./series python)" interop/desync.py              the table
    "$(./series python)" interop/desync.py --write      and into SECURITY.md

A server answers a request in a way that clients have been seen to differ on,
and keeps the connection open.  When the next request comes on it, the rest
arrives: a whole response, which a client that reads the first one in another
way takes for its own.  The right response follows.  What the second request
gets is one of

  own     the right response, on the same connection
  new     the right response, on a new connection
  ERROR   an exception
  FORGED  bytes of the first exchange

The clients are http.client of the stock and of the patched interpreter (see
./series build), PersistentConnectionHandler, and urllib3, requests, httpx,
aiohttp and pycurl, which are fetched from PyPI and run on the stock one.  The
exit status is 0 if the patched ones get nothing that is forged.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import platform
import socketserver
import subprocess
import sys
import threading
import time
from typing import NamedTuple

TOP = pathlib.Path(__file__).resolve().parents[1]
RESULTS = TOP / "interop" / "results"
HOST = "127.0.0.1"
TIMEOUT = 1         # seconds
PAUSE = 0.03        # seconds before the second request
PATIENCE = 300      # seconds for all cases of a client

FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nFORGED"
SIZE = len(FORGED)


class Case(NamedTuple):
    name: str
    early: bytes
    late: bytes = FORGED
    method: str = "GET"
    how: str = "read"       # or "half", "none"


def respond(*fields, body=b"", status=b"200 OK"):
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"", body])


def length(value):
    return b"Content-Length: %b" % (
        value if isinstance(value, bytes) else b"%d" % value)


def chunked(body):
    return respond(b"Transfer-Encoding: chunked", body=body)


CHUNKED = b"Transfer-Encoding: chunked"
CASES = [
    Case("`Transfer-Encoding` and `Content-Length`",
         respond(CHUNKED, length(5 + SIZE), body=b"0\r\n\r\n")),
    Case("two lengths that differ",
         respond(length(4), length(4 + SIZE), body=b"body")),
    Case("`Content-Length: 4, 4`", respond(length(b"4, 4"), body=b"body")),
    Case("`Content-Length: +4`", respond(length(b"+4"), body=b"body")),
    Case("`Content-Length: 0_4`",
         respond(length(b"0_4"), body=b"body")),
    Case("`Content-Length : 4`, space before the colon",
         respond(b"Content-Length : 4", body=b"body")),
    Case("a length on a continuation line",
         respond(b"X: a\r\n Content-Length: 9\r\nContent-Length:\r\n 4",
                 body=b"body")),
    Case("NUL behind a length", respond(length(b"4\0"), body=b"body")),
    Case("a length behind a bare CR",
         respond(b"X: a\rContent-Length: 4", b"Content-Length: %d"
                 % (4 + SIZE), body=b"body")),
    Case("a line without a colon before the length",
         respond(b"no colon", length(4), body=b"body")),
    Case("a line that begins with CR before the length",
         respond(length(4), b"\rContent-Length: 9", body=b"body")),
    Case("`Transfer-Encoding: chunked, identity`",
         respond(b"Transfer-Encoding: chunked, identity", length(0))),
    Case("`Transfer-Encoding: xchunked` with a length",
         respond(b"Transfer-Encoding: xchunked", length(4), body=b"body")),
    Case("chunks in HTTP/1.0 with keep-alive",
         respond(CHUNKED, b"Connection: keep-alive", body=b"0\r\n\r\n")
         .replace(b"1.1", b"1.0", 1)),
    Case("chunk lines that end with LF", chunked(b"4\nbody\n0\n\n")),
    Case("LF within a chunk extension",
         chunked(b"4;a\nb\r\nbody\r\n0\r\n\r\n")),
    Case("bytes between a chunk and its line end",
         chunked(b"4\r\nbodyXX0\r\n\r\n")),
    Case("a chunk size that begins with 0x",
         chunked(b"0x4\r\nbody\r\n0\r\n\r\n")),
    Case("a chunk size with a sign", chunked(b"+4\r\nbody\r\n0\r\n\r\n")),
    Case("a trailer without a colon", chunked(b"0\r\nno colon\r\n\r\n")),
    Case("204 with a length", respond(length(SIZE), status=b"204 No")),
    Case("HEAD with a body that is there at once",
         respond(length(SIZE), body=FORGED), b"", "HEAD"),
    Case("103 with a length, and so many bytes behind it",
         respond(length(4 + SIZE), status=b"103 Early") + respond(
             length(4), body=b"body") + FORGED, b""),
    Case("103 without its empty line",
         b"HTTP/1.1 103 Early\r\nLink: a\r\n" + respond(
             length(SIZE), body=FORGED), b""),
    Case("101 that was not asked for", respond(status=b"101 Go")),
    Case("2xx to CONNECT, with a length",
         respond(length(4), body=b"body"), method="CONNECT"),
    Case("a second response at once", respond(length(4), body=b"body")
         + FORGED, b""),
    Case("garbage after the response",
         respond(length(4), body=b"bodyX") + FORGED, b""),
    Case("`close` in the second `Connection` field",
         respond(b"Connection: x", b"Connection: close", length(4),
                 body=b"body")),
    Case("a body that is read half",
         respond(length(8 + SIZE), body=b"half"), FORGED + b"last",
         how="half"),
    Case("a body that is not read",
         respond(length(SIZE + 4)), FORGED + b"last", how="none"),
    Case("a body whose rest is late", respond(length(4 + SIZE), body=b"body")),
    Case("chunks whose rest is late", chunked(b"%x\r\nbody" % (4 + SIZE)),
         FORGED + b"\r\n0\r\n\r\n"),
]
CONNECT = [case.method for case in CASES].index("CONNECT")


# The server.

class Handler(socketserver.StreamRequestHandler):
    """Answers /NUMBER/first as the case says, and /NUMBER/second rightly."""

    disable_nagle_algorithm = True

    def handle(self):
        self.late = None        # what comes before the next response
        with contextlib.suppress(OSError):
            while line := self.rfile.readline():
                self.answer(line.split()[1].decode())

    def answer(self, target):
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        # That of CONNECT may be a host and a port.
        number, word = (target.split("/")[1:] if target.startswith("/")
                        else (CONNECT, "first"))
        case = CASES[int(number)]
        if word == "first":
            self.late = case.late
            self.wfile.write(case.early)
            return
        own = b"new" if self.late is None else b"own"
        self.wfile.write((self.late or b"") + respond(length(3), body=own))
        self.late = b""


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextlib.contextmanager
def serving():
    with Server((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


# The clients.  Each is a context that gives a function: (method, target,
# how) -> the body as far as it was read.

@contextlib.contextmanager
def http_client(port):
    import http.client
    conn = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT)

    def get(method, target, how):
        try:
            conn.request(method, target)
        except http.client.CannotSendRequest:
            conn.close()
            conn.request(method, target)
        with conn.getresponse() as response:
            return read(response, how)

    with contextlib.closing(conn):
        yield get


def read(response, how):
    return response.read({"read": None, "half": 4, "none": 0}[how])


@contextlib.contextmanager
def handler(port):
    import urllib.error
    import urllib.request
    with urllib.request.PersistentConnectionHandler() as persistent:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), persistent)

        def get(method, target, how):
            request = urllib.request.Request(f"http://{HOST}:{port}{target}",
                                             method=method)
            try:
                response = opener.open(request, timeout=TIMEOUT)
            except urllib.error.HTTPError as exc:
                response = exc
            with response:
                return read(response, how)

        yield get


@contextlib.contextmanager
def urllib3_client(port):
    import urllib3
    pool = urllib3.HTTPConnectionPool(HOST, port, maxsize=1, retries=False,
                                      timeout=TIMEOUT)

    def get(method, target, how):
        response = pool.urlopen(method, target, preload_content=False,
                                redirect=False)
        try:
            data = read(response, how)
        except BaseException:
            response.close()
            raise
        if how == "read":
            response.release_conn()
        response.close()
        return data

    with contextlib.closing(pool):
        yield get


@contextlib.contextmanager
def requests_client(port):
    import requests
    with requests.Session() as session:
        session.trust_env = False

        def get(method, target, how):
            with session.request(method, f"http://{HOST}:{port}{target}",
                                 timeout=TIMEOUT, allow_redirects=False,
                                 stream=how != "read") as response:
                if how == "read":
                    return response.content
                return response.raw.read(4) if how == "half" else b""

        yield get


@contextlib.contextmanager
def httpx_client(port):
    import httpx
    with httpx.Client(timeout=TIMEOUT, trust_env=False) as client:

        def get(method, target, how):
            with client.stream(method, f"http://{HOST}:{port}{target}"
                               ) as response:
                if how == "read":
                    return response.read()
                if how == "half":
                    return next(response.iter_raw(4))
                return b""

        yield get


@contextlib.contextmanager
def aiohttp_client(port):
    import aiohttp
    with asyncio.Runner() as runner:

        async def start():
            return aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT))

        async def fetch(method, target, how):
            async with session.request(
                    method, f"http://{HOST}:{port}{target}",
                    allow_redirects=False) as response:
                if how == "read":
                    return await response.read()
                return await response.content.read(4) if how == "half" else b""

        session = runner.run(start())
        yield lambda *args: runner.run(fetch(*args))
        runner.run(session.close())


@contextlib.contextmanager
def pycurl_client(port):
    import pycurl
    curl = pycurl.Curl()

    def get(method, target, how):
        parts = []

        def write(data):
            parts.append(data)
            return None if how == "read" else 0

        curl.reset()
        curl.setopt(pycurl.URL, f"http://{HOST}:{port}{target}")
        curl.setopt(pycurl.NOPROXY, "*")
        curl.setopt(pycurl.TIMEOUT, TIMEOUT)
        curl.setopt(pycurl.WRITEFUNCTION, write)
        if method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif method != "GET":
            curl.setopt(pycurl.CUSTOMREQUEST, method)
        curl.perform()
        return b"".join(parts)

    with contextlib.closing(curl):
        yield get


class Client(NamedTuple):
    run: object
    side: str           # the interpreter
    package: str = ""


CLIENTS = {
    "stock": Client(http_client, "stock"),
    "patched": Client(http_client, "patched"),
    "handler": Client(handler, "patched"),
    **{name: Client(run, "stock", name) for name, run in {
        "urllib3": urllib3_client, "requests": requests_client,
        "httpx": httpx_client, "aiohttp": aiohttp_client,
        "pycurl": pycurl_client}.items()}}
OURS = "patched", "handler"


def run_client(name, port):
    """Print what the second request of each case gets, as JSON."""
    result = {"version": get_version(name), "cases": {}}
    for number, case in enumerate(CASES):
        with CLIENTS[name].run(port) as get:
            with contextlib.suppress(Exception):
                get(case.method, f"/{number}/first", case.how)
            time.sleep(PAUSE)
            try:
                body = get("GET", f"/{number}/second", "read")
            except Exception as exc:
                outcome = "ERROR", type(exc).__name__
            else:
                word = body.decode("latin-1")
                outcome = (word, "") if word in ("own", "new") else (
                    "FORGED", repr(body[:40]))
        result["cases"][case.name] = outcome
    print(json.dumps(result))


def get_version(name):
    package = CLIENTS[name].package
    if not package:
        return platform.python_version()
    if package == "pycurl":
        import pycurl
        return f"(libcurl {pycurl.version_info()[1]})"
    from importlib import metadata
    return metadata.version(package)


# The command.

def find_interpreters(line):
    """Return {side: path}."""
    paths = {side: TOP / "build" / line / side / "usr" / "bin"
             / f"python{line}" for side in ("stock", "patched")}
    missing = [path for path in paths.values() if not path.exists()]
    if missing:
        sys.exit(f"desync: {missing[0]} is not there; "
                 f"./series build {line} makes it")
    return paths


def fetch(packages, python, line):
    """Return {package: folder} of those that can be had."""
    folders = {name: TOP / "build" / "desync" / line / name
               for name in packages}
    wanted = {name: folder for name, folder in folders.items()
              if not folder.is_dir()}
    if wanted:
        sys.path.insert(0, str(TOP))
        from tools import pip
        print(f"desync: fetching {', '.join(wanted)}", file=sys.stderr)
        version = tuple(map(int, line.split(".")))
        for name, why in pip.install_into(wanted, python, version).items():
            print(f"desync: without {name}: {why}", file=sys.stderr)
            del folders[name]
    return folders


def run_all(args):
    """Return {client: what it printed}."""
    interpreters = find_interpreters(args.line)
    names = args.client or list(CLIENTS)
    packages = [CLIENTS[name].package for name in names
                if CLIENTS[name].package]
    folders = fetch(packages, interpreters["stock"], args.line)
    results = {}
    with serving() as port:
        for name in names:
            client = CLIENTS[name]
            if client.package and client.package not in folders:
                continue
            print(f"desync: {name}", file=sys.stderr)
            environment = {key: value for key, value in os.environ.items()
                           if not key.startswith("PYTHON")}
            if client.package:
                environment["PYTHONPATH"] = str(folders[client.package])
            done = subprocess.run(
                [interpreters[client.side], "-B", __file__, "--run", name,
                 "--port", str(port)], stdin=subprocess.DEVNULL,
                capture_output=True, text=True, env=environment,
                timeout=PATIENCE)
            if done.returncode:
                said = done.stderr.strip().splitlines() or ["nothing"]
                print(f"desync: {name} failed: {said[-1]}", file=sys.stderr)
                continue
            results[name] = json.loads(done.stdout)
    return results


def tabulate(results):
    """Yield the lines of the table."""
    yield "| what the server sends | " + " | ".join(
        f"{name} {result['version']}" for name, result in results.items()
        ) + " |"
    yield "|---|" + "---|" * len(results)
    for case in CASES:
        cells = (result["cases"][case.name][0] for result in results.values())
        yield f"| {case.name} | " + " | ".join(
            f"**{cell}**" if cell == "FORGED" else cell for cell in cells
            ) + " |"
    yield "| *forged, of all* | " + " | ".join(
        f"{count_forged(result)} of {len(CASES)}"
        for result in results.values()) + " |"


def count_forged(result):
    return sum(kind == "FORGED" for kind, _ in result["cases"].values())


BEGIN, END = ("<!-- desync: {} -->".format(text) for text in (
    "this table is written by interop/desync.py --write", "end"))


def write(results):
    table = "\n".join(tabulate(results))
    (RESULTS / "desync.json").write_text(
        json.dumps(results, indent=1) + "\n")
    (RESULTS / "desync.md").write_text(
        "# What the second request gets\n\n"
        "Written by `interop/desync.py --write`, which says what the words "
        f"mean.\n\n{table}\n")
    path = TOP / "SECURITY.md"
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"desync: {path} has no place for the table; it needs the "
                 f"lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}")


def parse():
    description, _, epilog = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", action="append", choices=CLIENTS,
                        help="only this one (can be repeated)")
    parser.add_argument("--line", default="3.15",
                        help="CPython's line (default: 3.15)")
    parser.add_argument("--write", action="store_true",
                        help="write interop/results/desync.* and the table "
                             "in SECURITY.md")
    parser.add_argument("--run", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write and args.client:
        parser.error("--write is for all clients")
    return args


def main():
    args = parse()
    if args.run:
        run_client(args.run, args.port)
        return 0
    results = run_all(args)
    print(*tabulate(results), sep="\n")
    if args.write:
        write(results)
    return 1 if any(count_forged(results[name]) for name in OURS
                    if name in results) else 0


if __name__ == "__main__":
    sys.exit(main())
