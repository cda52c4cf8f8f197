"""Send a million requests from 16 threads; see that nothing grows.

    "$(./series python)" interop/soak.py
    "$(./series python)" interop/soak.py --requests 50000

Twelve threads share one PersistentConnectionHandler, and four have an
http.client connection each.  A server in a process of its own answers with a
length or chunked, with 304, and now and then ends a connection: it says so
first, or only when the connection is idle.  These rules must hold:

  - every body is the one of its request;
  - a request fails only if an end without notice crossed it, and only over
    http.client, as the handler sends a GET once more;
  - descriptors and memory, looked at once a second, are flat after the first
    fifth of the run.

The exit status is 0 if they did.  The figures go to interop/results/soak.json
and soak.md, a run of each interpreter is kept; the plot, soak.svg, needs
matplotlib, in this Python or in python3 on PATH.  With a build that has no
GIL, -X gil=0 makes sure that it is off.
"""

import argparse
import contextlib
import faulthandler
import http.client
import json
import os
import pathlib
import platform
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

RESULTS = pathlib.Path(__file__).parent / "results" / "soak.json"
THREADS, ALONE = 16, 4      # how many in all, how many without the handler
TIMEOUT = 60                # seconds
WARM = 0.2                  # of the run
GROWTH = 2 << 20            # bytes of memory
SPARE = 8                   # descriptors beyond one for each thread: idle ones
PADDING = b"." * 200


# The server, a process.  A target is /NUMBER, or /NUMBER/quietly if the
# connection may be ended without notice.

def body_of(number):
    return b"%d" % number + PADDING


def serve():
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        print(listener.getsockname()[1], flush=True)
        # It ends when the client does, however that ends.
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)),
                         daemon=True).start()
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve_one, args=(sock,),
                             daemon=True).start()


def serve_one(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    with sock, contextlib.suppress(OSError):
        while True:
            while b"\r\n\r\n" not in received:
                more = sock.recv(1 << 16)
                if not more:
                    return
                received += more
            head, _, received = received.partition(b"\r\n\r\n")
            _, number, *quietly = head.split(None, 2)[1].split(b"/")
            number = int(number)
            sock.sendall(answer(number, body_of(number)))
            if number % 500 == 1 or quietly and number % 500 == 2:
                return


def answer(number, body):
    if number % 20 == 7:
        return b"HTTP/1.1 304 Not Modified\r\nETag: \"%d\"\r\n\r\n" % number
    if number % 20 == 3:
        return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"%x\r\n%b\r\n%x;x=1\r\n%b\r\n0\r\n\r\n"
                % (50, body[:50], len(body) - 50, body[50:]))
    close = b"Connection: close\r\n" if number % 500 == 1 else b""
    return (b"HTTP/1.1 200 OK\r\nServer: soak\r\nContent-Type: text/plain\r\n"
            b"%bContent-Length: %d\r\n\r\n%b" % (close, len(body), body))


@contextlib.contextmanager
def server():
    """Give the port of a server."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


# The clients.

class Broken(Exception):
    """A rule does not hold."""


def see(number, status, body):
    expected = (304, b"") if number % 20 == 7 else (200, body_of(number))
    if (status, body) != expected:
        raise Broken(f"request {number} got {status} {body[:40]!r}")


class Run:
    def __init__(self, port, requests):
        self.port = port
        self.requests = requests
        self.handler = urllib.request.PersistentConnectionHandler()
        self.opener = urllib.request.build_opener(
            self.handler, urllib.request.ProxyHandler({}))
        self.done = [0] * THREADS
        self.crossed = [0] * THREADS
        self.broken = []
        self.samples = []       # (seconds, requests, descriptors, bytes)
        self.before = len(os.listdir("/proc/self/fd"))
        self.start = time.monotonic()

    def run(self):
        threads = [threading.Thread(target=self._thread, args=(at,),
                                    daemon=True) for at in range(THREADS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self._sample()
            time.sleep(1)
        self._sample()
        self.handler.close()

    def _sample(self):
        self.samples.append((
            round(time.monotonic() - self.start, 2), sum(self.done),
            len(os.listdir("/proc/self/fd")), resident()))
        if sys.stderr.isatty():
            print(f"\r{sum(self.done):,} requests ", end="", file=sys.stderr,
                  flush=True)

    def _thread(self, at):
        ask = self._through_handler
        if at < ALONE:
            conn = http.client.HTTPConnection("127.0.0.1", self.port,
                                              timeout=TIMEOUT)
            ask = self._through_connection(conn, at)
        try:
            for number in range(at, self.requests, THREADS):
                ask(number)
                self.done[at] += 1
        except Exception as exc:
            self.broken.append(f"{type(exc).__name__}: {exc}")
        finally:
            if at < ALONE:
                conn.close()

    def _through_handler(self, number):
        url = f"http://127.0.0.1:{self.port}/{number}/quietly"
        try:
            response = self.opener.open(url, timeout=TIMEOUT)
        except urllib.error.HTTPError as exc:
            response = exc
        with response:
            see(number, response.status, response.read())

    def _through_connection(self, conn, at):
        def ask(number):
            # Some of the ends without notice come to these, too.
            quietly = "/quietly" if number % 5000 < 1000 else ""
            try:
                conn.request("GET", f"/{number}{quietly}")
                response = conn.getresponse()
            except http.client.RemoteDisconnected:
                self.crossed[at] += 1
                conn.close()
                conn.request("GET", f"/{number}")
                response = conn.getresponse()
            see(number, response.status, response.read())
        return ask

    def judge(self):
        """Return the figures."""
        warm = [row for row in self.samples
                if row[1] >= self.requests * WARM]
        part = max(1, len(warm) // 5)
        first, last = [statistics.median(row[3] for row in rows)
                       for rows in (warm[:part], warm[-part:])]
        most = max(row[2] for row in warm)
        bound = self.before + THREADS + SPARE
        seconds = self.samples[-1][0]
        if sum(self.done) != self.requests and not self.broken:
            self.broken.append(f"{sum(self.done):,} of {self.requests:,} "
                               f"requests were answered")
        if most > bound:
            self.broken.append(f"{most} descriptors, not {bound}")
        if last - first > GROWTH:
            self.broken.append(f"{(last - first) / 2**20:.1f} MiB more "
                               f"memory at the end")
        return {"requests": sum(self.done), "seconds": seconds,
                "rate": round(sum(self.done) / seconds),
                "connections": self.handler.num_connections,
                "crossed": sum(self.crossed), "descriptors": most,
                "growth": round((last - first) / 2**20, 2),
                "memory": round(last / 2**20, 1),
                "broken": self.broken, "samples": self.samples}


def resident():
    """Return how many bytes of memory this process takes."""
    for line in pathlib.Path("/proc/self/status").read_text().split("\n"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return 0


# The result.

def name():
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return f"{platform.python_version()}{'' if gil else ' without a GIL'}"


def write(told):
    every = {}
    if RESULTS.is_file():
        every = json.loads(RESULTS.read_text(encoding="utf-8"))
    every[name()] = told
    RESULTS.parent.mkdir(exist_ok=True)
    # One line for each sample.
    text = json.dumps(every, indent=1).replace("\n    ", " ").replace(
        "\n   ]", "]")
    RESULTS.write_text(text + "\n", encoding="utf-8")
    RESULTS.with_suffix(".md").write_text(markdown(every), encoding="utf-8")
    plot()


def markdown(every):
    lines = [
        "Requests by 16 threads, by `interop/soak.py`: twelve share one",
        "PersistentConnectionHandler, four have a connection each. Growth is "
        "that of the",
        "memory from the end of the first fifth to the end of the run.", "",
        "| CPython | requests | per second | broken rules | descriptors "
        "| MiB | growth |", "|---|--:|--:|--:|--:|--:|--:|"]
    for version, told in every.items():
        lines.append(
            f"| {version} | {told['requests']:,} | {told['rate']:,} "
            f"| {len(told['broken'])} | {told['descriptors']} "
            f"| {told['memory']} | {told['growth']} |")
    return "\n".join(lines) + "\n"


def plot():
    """Draw soak.svg with a Python that has matplotlib."""
    # What is set for this Python is not for another one.
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("PYTHON")}
    for python in sys.executable, "python3":
        with contextlib.suppress(OSError):
            if not subprocess.run([python, "-c", "import matplotlib"],
                                  capture_output=True,
                                  env=environment).returncode:
                subprocess.run([python, __file__, "--plot"], check=True,
                               env=environment)
                return
    print("no plot: neither this Python nor python3 has matplotlib")


def draw():
    import matplotlib
    matplotlib.use("svg")
    # The same picture from the same numbers, and text that can be searched.
    matplotlib.rcParams.update({"svg.hashsalt": "series", "font.size": 9,
                                "svg.fonttype": "none"})
    from matplotlib import pyplot
    every = json.loads(RESULTS.read_text(encoding="utf-8"))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9.5, 3.5))
    for version, told in every.items():
        _, requests, descriptors, memory = zip(*told["samples"])
        thousands = [number / 1000 for number in requests]
        left.plot(thousands, [size / 2**20 for size in memory],
                  label=version)
        right.plot(thousands, descriptors, linewidth=1, label=version)
    left.set_title("Memory of the process, in MiB")
    right.set_title("Open descriptors")
    for axes in left, right:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.15)
        axes.set_xlim(left=0)
        axes.set_xlabel("requests, in thousands")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(RESULTS.with_suffix(".svg"), metadata={"Date": None})


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", metavar="N", type=int,
                        default=1_000_000,
                        help="default: 1,000,000; the result of fewer is "
                             "shown only")
    parser.add_argument("--plot", action="store_true",
                        help="draw what was measured before, run nothing")
    parser.add_argument("--serve", action="store_true",
                        help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = parse()
    if args.serve:
        return serve()
    if args.plot:
        return draw()
    if not hasattr(urllib.request, "PersistentConnectionHandler"):
        sys.exit("soak: this Python has no PersistentConnectionHandler; take "
                 "that of ./series python")
    if not os.path.isdir("/proc/self/fd"):
        sys.exit("soak: there is no /proc/self/fd here; take Linux")
    faulthandler.dump_traceback_later(
        TIMEOUT + args.requests // 200, exit=True)
    with server() as port:
        run = Run(port, args.requests)
        run.run()
    told = run.judge()
    for text in told["broken"][:10]:
        print(f"a rule is broken: {text}")
    print(f"soak: {told['requests']:,} requests in {told['seconds']:.0f} s, "
          f"CPython {name()}; {told['connections']:,} connections of the "
          f"handler,\n{told['crossed']} requests crossed; at most "
          f"{told['descriptors']} descriptors, {told['memory']} MiB, "
          f"{told['growth']} MiB more than after the first fifth")
    if args.requests >= 1_000_000:
        write(told)
    return 1 if told["broken"] else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
