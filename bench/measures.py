"""What ./series bench measures; each function returns a part of results.

Times are in microseconds.  A sample is the best of several
short slices, as timeit has it: what else the machine does only ever adds.
Between slices it is the other interpreter's turn, and who begins changes.
"""

import collections
import re
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import NamedTuple

from tools import demo
from tools.common import say

SIDES = ("stock", "patched")
CONNECTIONS = {"plain": {}, "with a timeout": {"timeout": 30},
               "TLS 1.3": {"port": "tls"}}
WAYS = {"plain": {}, "TLS 1.3": {"port": "tls"}}
HANDLER = "handler, patched"

# System calls that have nothing to do with a connection.
_OF_MEMORY = {"brk", "mmap", "munmap", "mremap", "madvise", "futex"}


class Plan(NamedTuple):
    """How often to measure."""

    rounds: int     # with new processes
    samples: int    # in each round
    slices: int     # for each sample
    count: int      # requests in each slice


class Size(NamedTuple):
    """How much to measure, all in all."""

    cost: list          # options for bench/cost.py
    peers: Plan
    ahead: Plan         # of 50 requests each
    calls: Plan
    far: Plan           # with a round trip that takes time
    tries: int          # POSTs after each way to end a connection


COST_TIMEOUT = 900      # seconds

FULL = Size(cost=[], peers=Plan(3, 3, 2, 1000), ahead=Plan(5, 4, 8, 2),
            calls=Plan(3, 3, 2, 1000), far=Plan(2, 4, 2, 1), tries=1000)
QUICK = Size(cost=["--quick"], peers=Plan(2, 1, 3, 20), ahead=Plan(2, 1, 3, 1),
             calls=Plan(2, 1, 3, 20), far=Plan(1, 1, 1, 1), tries=20)


# Figures.

def spread(values):
    """Return the median of *values* and their quartiles."""
    low, _, high = (statistics.quantiles(values, n=4, method="inclusive")
                    if len(values) > 1 else values * 3)
    return {"median": _rounded(statistics.median(values)),
            "low": _rounded(low), "high": _rounded(high)}


def times(values):
    """Return the spread of *values*, and the best of them."""
    return {**spread(values), "best": _rounded(min(values))}


def _rounded(value):
    return float(f"{value:.4g}")


def compared(stock, patched):
    """Compare samples, each one with the one taken beside it."""
    pairs = list(zip(stock, patched))
    return {"stock": times(stock), "patched": times(patched),
            "more": spread([after - before for before, after in pairs])}


def ratio(stock, patched):
    """Return the spread of the ratios of such pairs."""
    return spread([after / before for before, after in zip(stock, patched)])


# What the code itself costs.

def cost(lab, pythons, line, size):
    """Return the rows of bench/cost.py: both libraries, one interpreter."""
    say(f"what http.client itself costs in {line}")
    libraries = [_library(python) for python in pythons.values()]
    child = lab.start(pythons["stock"], "cost.py", *libraries, "--json",
                      *size.cost)
    try:
        return child.answer(seconds=COST_TIMEOUT)
    finally:
        child.end()


def _library(python):
    """Return the folder that *python* imports its library from."""
    told = subprocess.run(
        [python, "-c", "import http; print(http.__path__[0])"],
        check=True, capture_output=True, text=True)
    return str(Path(told.stdout.strip()).parent)


# Requests.

def take_turns(lab, wanted, cases, plan):
    """Return {case: {name: {"cpu": [...], "wall": [...]}}}, microseconds.

    wanted: {name: (interpreter, options for bench/clients.py)}.
    """
    taken = {case: {name: {"cpu": [], "wall": []} for name in wanted}
             for case in cases}
    for _ in range(plan.rounds):
        with lab.clients(wanted) as children:
            for case in cases:
                _slices(children, case, plan.count, 2)      # to warm up
            for _ in range(plan.samples):
                for case in cases:
                    _sample(children, case, plan, taken[case])
    return taken


def _sample(children, case, plan, taken):
    slices = _slices(children, case, plan.count, plan.slices)
    for name, told in slices.items():
        for clock in ("cpu", "wall"):
            best = min(one[clock] for one in told)
            taken[name][clock].append(best * 1e6)


def _slices(children, case, count, slices):
    told = {name: [] for name in children}
    order = list(children)
    for _ in range(slices):
        for name in order:
            told[name].append(children[name].ask(
                measure="timed", case=case, count=count))
        order.reverse()
    return told


def both_clocks(taken):
    """Return what *taken* by stock and patched, {side: ...}, comes to."""
    results = {}
    for clock in ("cpu", "wall"):
        both = [taken[side][clock] for side in SIDES]
        results[clock] = {**compared(*both), "ratio": ratio(*both)}
    return results


def peers(lab, pythons, found, size):
    """Time the same small GET with other clients, on the patched CPython.

    found: {name: (version, folder of its packages)}.
    """
    ours = {f"http.client, {side}": (pythons[side], {}) for side in SIDES}
    ours[HANDLER] = pythons["patched"], {"client": "handler"}
    ours.update((name, (pythons["patched"],
                        {"client": name, "packages": str(folder)}))
                for name, (_, folder) in found.items())
    return {way: _peers(lab, ours, found, size, way) for way in WAYS}


def _peers(lab, ours, found, size, way):
    say(f"the same GET, {way}, by {', '.join(found) or 'no other client'}")
    wanted = {name: (python, {"timeout": 30, **WAYS[way], **options})
              for name, (python, options) in ours.items()}
    if way == "plain":
        wanted["urlopen(), stock"] = ours["http.client, stock"][0], {
            "client": "urlopen", "timeout": 30, "connections": 1}
    taken = take_turns(lab, wanted, ["GET"], size.peers)["GET"]
    return {name: {"version": found.get(name, (None,))[0],
                   **{clock: _beside(clock, taken, name)
                      for clock in ("cpu", "wall")}}
            for name in taken}


def _beside(clock, taken, name):
    own, patched, handler = [taken[one][clock] for one in (
        name, "http.client, patched", HANDLER)]
    return {"time": times(own), "ratio": ratio(patched, own),
            "handler": ratio(own, handler)}


# System calls.

def system_calls(lab, pythons):
    """Count the system calls of a GET over a healthy kept connection."""
    strace = _working_strace()
    how = "strace" if strace else "sys.setprofile"
    say(f"system calls, counted with {how}")
    results = {"counted with": how}
    for kind, options in CONNECTIONS.items():
        results[kind] = {}
        for side, python in pythons.items():
            calls = (_traced(lab, strace, python, options) if strace
                     else ask_profiled(lab, python, "GET", options))
            results[kind][side] = calls
    return results


_REQUESTS = 50      # so that one that is not of a request shows


def _working_strace():
    """Return the path of strace, or None; it may be there and forbidden."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    done = subprocess.run([strace, "-o", "/dev/null", "true"],
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL)
    return strace if done.returncode == 0 else None


def _traced(lab, strace, python, options):
    log = lab.scratch("strace")
    child = lab.client(python, under=(strace, "-f", "-qq", "-o", log),
                       **options)
    _ask_warm(child, "traced")
    child.end()
    marked = log.read_text(errors="replace").split(" kill(")
    # Before, warming up, between, and what is to be counted.
    calls = re.findall(r"^\d+ +(\w+)\(", marked[3].partition("\n")[2], re.M)
    return _each(collections.Counter(
        name for name in calls if name not in _OF_MEMORY))


def ask_profiled(lab, python, case, options):
    """Return {name: calls per request} of functions that ask the system."""
    child = lab.client(python, **options)
    calls = _ask_warm(child, "profiled", case)
    child.end()
    return _each(calls)


def _ask_warm(child, measure, case="GET"):
    for _ in range(2):
        told = child.ask(measure=measure, case=case, count=_REQUESTS)
    return told


def _each(calls):
    return {name: count / _REQUESTS for name, count in sorted(calls.items())}


# Reliability.

def reliability(pythons, size):
    """POST after an idle close, in every way; see ./series demo."""
    say(f"{size.tries} POSTs by each after every kind of idle close")
    results = {}
    for label, outcomes in demo.trials(pythons, size.tries):
        say(f"{size.tries} POSTs by each: {label} is done")
        results[label] = {
            side: {"failed": len(outcome.failures), "twice": outcome.twice,
                   "connections": outcome.connections,
                   "tries": outcome.count, "flawless": outcome.flawless,
                   "reasons": outcome.reasons}
            for side, outcome in zip(pythons, outcomes)}
    return results
