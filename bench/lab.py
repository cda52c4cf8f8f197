"""Where ./series bench measures: the server, the programs, who takes turns."""

import contextlib
import http.client
import json
import os
import select
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
TIMEOUT = 300       # seconds for one answer of a program
GRACE = 10          # seconds for it to end
WINDOW = 1          # seconds, the least for which others' CPU is counted


class Client(NamedTuple):
    """A client to measure: a function in clients.py, and its options."""

    python: str
    name: str
    options: dict = {}
    case: str = "GET"
    step: int = 1           # the number of requests is a multiple of this
    connections: int = 0    # for each request; 0: one for all of them


class Child:
    """A program in bench/ that answers a line with a line, as JSON."""

    def __init__(self, name, argv, errors):
        self.requests = 0       # how many it was asked for
        self._name = name
        self._errors = errors
        self._process = subprocess.Popen(
            [str(arg) for arg in argv], stdin=subprocess.PIPE, stderr=errors,
            stdout=subprocess.PIPE, env=environment(), text=True)
        self.pid = self._process.pid

    def ask(self, **command):
        """Return the answer to *command*; Failure if there is none."""
        self.requests += command.get("count", 0)
        with contextlib.suppress(BrokenPipeError):  # it has said why
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        return self.answer()

    def answer(self):
        """Return the next thing that the program prints."""
        ready, _, _ = select.select([self._process.stdout], [], [], TIMEOUT)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.end()
            raise Failure(f"{self._name} has failed: {self._why(ready)}")
        return json.loads(line)

    def _why(self, ready):
        if not ready:
            return f"no answer within {TIMEOUT} s"
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").splitlines()
        return said[-1] if said else f"status {self._process.returncode}"

    def end(self):
        """End the program, which ends by itself unless something hangs."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Watch:
    """Finds out how much CPU was used by others, as /proc counts it.

    worst: the largest share of one processor, in any round.
    """

    def __init__(self):
        self.worst = 0
        self._begun = None

    def look(self, pids, end=False):
        """Call this before, between and after rounds of processes *pids*."""
        now = time.monotonic(), _all_cpu() - sum(map(_cpu_of, pids))
        if self._begun is not None and now[0] - self._begun[0] > WINDOW:
            seconds, used = (b - a for a, b in zip(self._begun, now))
            self.worst = max(self.worst, used / seconds)
            self._begun = now
        if self._begun is None or end:
            self._begun = None if end else now


def _all_cpu():
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, _, _, steal = map(int, fields[:8])
    return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK")


def _cpu_of(pid):
    """Return the seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _children_of(pid):
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:     # not every kernel has it
        return []


class Lab:
    """The server, and a way to run programs; a context manager.

    Programs use nothing of the environment, and no bytecode but their own,
    in a scratch folder.
    """

    def __init__(self, python):
        self.watch = Watch()
        self._python = python

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._scratch = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="series-bench-"))
            self._stack = stack
            self._server = self.start(self._python, "server.py", RSA_CHAIN)
            self._ports = self._server.answer()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self._stack.close()

    def start(self, python, program, *args):
        """Start bench/*program*; return the Child, which ends with the Lab."""
        errors = self._stack.enter_context(tempfile.TemporaryFile())
        child = Child(f"bench/{program}", [
            python, "-E", "-s", "-X", f"pycache_prefix={self._scratch}",
            PROGRAMS / program, *args], errors)
        self._stack.callback(child.end)
        return child

    def client(self, client, way="plain", delay=0):
        """Return a Child that runs a Client."""
        return self.start(client.python, "clients.py", json.dumps({
            "client": client.name, "host": HOST,
            "port": self.port(way, delay),
            "cafile": None if way == "plain" else str(RSA_ROOT),
            **client.options}))

    @contextlib.contextmanager
    def children(self, make):
        """Give {name: Child}, as *make* returns it; watch meanwhile."""
        children = make()
        try:
            self.look(children)
            yield children
            self.look(children, end=True)
        finally:
            for child in children.values():
                child.end()

    def look(self, children, end=False):
        pids = [child.pid for child in [*children.values(), self._server]]
        pids += [pid for one in pids for pid in _children_of(one)]
        self.watch.look([*pids, os.getpid()], end)

    @contextlib.contextmanager
    def clients(self, wanted, way="plain", delay=0):
        """Give {name: Child} of {name: Client}.

        Raises Failure at the end if they used more or fewer connections
        than they should have, or the server has refused a request.
        """
        before = self.counts()
        with self.children(lambda: {
                name: self.client(client, way, delay)
                for name, client in wanted.items()}) as children:
            yield children
        after = self.counts()
        used = after["accepted"] - before["accepted"] - 1   # that asks
        due = sum(child.requests * wanted[name].connections or 1
                  for name, child in children.items())
        if used != due:
            raise Failure(f"{', '.join(children)}: {used} connections were "
                          f"used instead of {due}; see bench/clients.py")
        if after["refused"] > before["refused"]:
            raise Failure(f"{', '.join(children)}: the server has refused a "
                          f"request; see bench/server.py")

    def counts(self):
        """Return {"accepted": connections, "refused": requests}."""
        conn = http.client.HTTPConnection(HOST, self.port(), timeout=TIMEOUT)
        with contextlib.closing(conn):
            conn.request("GET", "/counts")
            return json.loads(conn.getresponse().read())

    def port(self, way="plain", delay=0):
        return self._ports[way][str(delay)]

    def take_turns(self, wanted, way="plain", delay=0, *, rounds, seconds):
        """Time requests; return {name: {"cpu": [...], "wall": [...]}}.

        In each round, each of {name: Client} has one turn that takes about
        so many *seconds*; who begins changes.  Samples are microseconds per
        request.
        """
        taken = {name: {"cpu": [], "wall": []} for name in wanted}
        with self.clients(wanted, way, delay) as children:
            counts = {name: _count(children[name], client, seconds)
                      for name, client in wanted.items()}
            order = list(wanted)
            for _ in range(rounds):
                for name in order:
                    told = children[name].ask(case=wanted[name].case,
                                              count=counts[name])
                    for clock, time_taken in told.items():
                        taken[name][clock].append(rounded(time_taken))
                order.reverse()
                self.look(children)
        return taken


def _count(child, client, seconds):
    """Warm up; return how many requests take about so many seconds."""
    count = client.step
    for _ in range(3):
        told = child.ask(case=client.case, count=count)
        steps = seconds * 1e6 / (told["wall"] * client.step)
        count = client.step * max(1, round(steps))
    return count


# Figures.

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
