"""Where ./series bench measures: the server, the programs, who takes turns."""

import contextlib
import http.client
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tools.common import Failure
from tools.pip import environment

PROGRAMS = Path(__file__).parent
# RSA of 2048 bits with an intermediate, as many servers have it.
RSA_ROOT, RSA_CHAIN = (PROGRAMS / f"rsa_{name}.pem"
                       for name in ("root", "chain"))
HOST = "127.0.0.1"
WAYS = ("plain", "TLS 1.3")
DELAYS = (0, 1, 10, 50)     # milliseconds that a round trip takes
WINDOW = 1      # seconds, the least for which others' CPU is counted


class Client(NamedTuple):
    """A client to measure: a function in clients.py, and its options."""

    python: str
    name: str
    options: dict = {}
    target: str = "/small"
    step: int = 1           # the number of requests is a multiple of this
    connections: int = 0    # for each request; 0: one for all of them

    def ahead(self, depth):
        """Return one that sends *depth* requests before it receives."""
        return self._replace(options={**self.options, "depth": depth},
                             step=depth)


class Child:
    """A program in bench/ that answers a line with a line, as JSON."""

    def __init__(self, name, argv):
        self.requests = 0       # how many it was asked for
        self._name = name
        self._process = subprocess.Popen(
            [str(arg) for arg in argv], env=environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)

    def ask(self, **command):
        """Return the answer to *command*; Failure if there is none."""
        self.requests += command.get("count", 0)
        with contextlib.suppress(BrokenPipeError):  # it has said why
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        return self.answer()

    def answer(self):
        """Return the next thing that the program prints."""
        if line := self._process.stdout.readline():
            return json.loads(line)
        said = self._process.communicate()[1].splitlines() or ["no message"]
        raise Failure(f"bench/{self._name} has failed: {said[-1]}")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        with contextlib.suppress(BrokenPipeError), self._process as process:
            process.kill()


class Watch:
    """Finds out how much CPU was used by others, as /proc counts it."""

    worst = 0       # the largest share of one processor, in any round
    _before = None

    def look(self, end=False):
        """Call this before, between and after rounds."""
        now = time.monotonic(), _all_cpu() - _cpu_of(os.getpid())
        if self._before is None:
            self._before = now
        seconds, used = (b - a for a, b in zip(self._before, now))
        if seconds > WINDOW:
            self.worst = max(self.worst, used / seconds)
            self._before = now
        if end:
            self._before = None


def _all_cpu():
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, _, _, steal = map(int, fields[:8])
    return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK")


def _cpu_of(pid):
    """Return the seconds of a process, and of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children")     # alive
    return (sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
            + (sum(map(_cpu_of, children.read_text().split()))
               if children.exists() else 0))


@contextlib.contextmanager
def laboratory(python):
    """Give a Lab whose server runs on that interpreter."""
    # Programs have as many files open as they may.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="series-bench-") as scratch:
        lab = Lab(scratch)
        with lab.start(python, "server.py", RSA_CHAIN, *DELAYS) as server:
            lab.ports = server.answer()
            yield lab


class Lab:
    """The server's ports, and a way to run programs."""

    def __init__(self, scratch):
        self.watch = Watch()
        self._scratch = scratch

    def start(self, python, program, *args):
        """Start bench/*program*; return the Child."""
        # Nothing of the environment, and no bytecode but their own.
        return Child(program, [python, "-E", "-s", "-X",
                               f"pycache_prefix={self._scratch}",
                               PROGRAMS / program, *args])

    @contextlib.contextmanager
    def programs(self, argvs):
        """Give {name: Child} of {name: arguments of start()}; watch them."""
        with contextlib.ExitStack() as stack:
            children = {name: stack.enter_context(self.start(*argv))
                        for name, argv in argvs.items()}
            self.watch.look()
            yield children
            self.watch.look(end=True)

    def clients(self, clients, way="plain", delay=0):
        """Give {name: Child} of {name: Client}."""
        at = {"host": HOST, "port": self.ports[way][str(delay)],
              "cafile": None if way == "plain" else str(RSA_ROOT)}
        return self.programs({
            name: (client.python, "clients.py", json.dumps(
                {"client": client.name, **at, **client.options}))
            for name, client in clients.items()})

    @contextlib.contextmanager
    def counted(self, clients, *where):
        """Give the same; Failure if they use more or fewer connections."""
        before = self._accepted()
        with self.clients(clients, *where) as children:
            yield children
        used = self._accepted() - before - 1    # that asks
        due = sum(child.requests * clients[name].connections or 1
                  for name, child in children.items())
        if used != due:
            raise Failure(f"{', '.join(children)}: {used} connections were "
                          f"used instead of {due}; see bench/clients.py")

    def _accepted(self):
        conn = http.client.HTTPConnection(HOST, self.ports["plain"]["0"])
        with contextlib.closing(conn):
            conn.request("GET", "/accepted")
            return int(conn.getresponse().read())

    def take_turns(self, wanted, *where, rounds, seconds):
        """Time requests of {name: Client}; see ask().

        A turn takes about so many *seconds*.
        """
        own = {name: {"target": client.target, "count": client.step}
               for name, client in wanted.items()}
        with self.counted(wanted, *where) as children:
            for _ in range(2):      # to warm up
                for name, told in self.ask(children, 1, own).items():
                    step = wanted[name].step
                    steps = seconds * 1e6 / (told["wall"][0] * step)
                    own[name]["count"] = step * max(1, round(steps))
            return self.ask(children, rounds, own)

    def ask(self, children, rounds, own={}, **question):
        """Return {name: {what an answer has: [values]}}.

        own: {name: questions of its own}.  In each round, each child has a
        turn; who begins changes.
        """
        taken = {name: {} for name in children}
        order = list(children)
        for _ in range(rounds):
            for name in order:
                answer = children[name].ask(**question, **own.get(name, {}))
                for what, value in answer.items():
                    taken[name].setdefault(what, []).append(rounded(value))
            order.reverse()
            self.watch.look()
        return taken


def rounded(value):
    return float(f"{value:.4g}")


def spread(values):
    """Return the median of *values* and their quartiles."""
    low, median, high = (statistics.quantiles(values, method="inclusive")
                         if len(values) > 1 else [*values] * 3)
    return {"median": rounded(median), "low": rounded(low),
            "high": rounded(high)}


def ratio(values, others):
    """Return the spread of the ratios of samples taken beside each other."""
    return spread([one / other for one, other in zip(values, others)])
