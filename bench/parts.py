"""What ./series bench measures; each function here is a part of it.

Each takes the Lab, {"stock": path, "patched": path}, the Size and {name:
(version, folder)} of other clients, and returns what goes into the results.
"""

import statistics
import subprocess
from pathlib import Path
from typing import NamedTuple

from bench.lab import WAYS, Client, ratio, rounded
from bench.server import DELAYS, HOPS
from tools import demo
from tools.common import say

SIDES = ("stock", "patched")
AHEAD = 50
DEPTHS = (1, 5, 20, 50, 100)


class Size(NamedTuple):
    """How much to measure."""

    rounds: int = 20
    turn: float = 0.05          # seconds of a client in a round
    processes: int = 4          # for cost: how often to start new ones
    share: int = 1              # for cost: one in so many requests of a turn
    delays: tuple = DELAYS
    requests: tuple = (100, 1000, 10_000, 100_000)
    fields: tuple = (1, 10, 30, 60, 99)     # http.client takes no 100
    idle: tuple = (1, 10, 100, 1000)
    threads: tuple = (1, 2, 4, 8, 16)
    posts: int = 30             # after each way to end a connection


FULL = Size()
QUICK = Size(rounds=2, turn=0.005, processes=1, share=10, delays=(0, 10),
             requests=(100, 1000), fields=(1, 30, 99), idle=(1, 100),
             threads=(1, 4), posts=5)


# What the code of http.client costs.

# name: label, unit, and which of the values counts.
COUNTED = {"calls": ("system calls, kept", "", statistics.median),
           "calls_if_new": ("system calls, new", "", statistics.median),
           "memory": ("idle connection", "B", statistics.median),
           "import_time": ("import http.client", "µs", min)}


def cost(lab, pythons, size, _):
    """Return {name: row} of both libraries on the stock interpreter."""
    paths = dict(zip(SIDES, map(_library, pythons.values())))
    samples, counted, rows = {}, {name: {} for name in COUNTED}, {}
    for _ in range(size.processes):
        with lab.children(lambda: {
                side: lab.start(pythons["stock"], "cost.py", path)
                for side, path in paths.items()}) as children:
            cases = children["stock"].ask(method="describe")
            for name, (_, count, is_large, _) in cases.items():
                turns = max(1, size.rounds // 2) * (2 if is_large else 1)
                _take(children, samples.setdefault(name, {}), turns,
                      {"name": name, "count": max(1, count // size.share)})
                lab.look(children)
            _count(children, counted, size)
    for name, (label, _, is_large, subtracts) in cases.items():
        rows[name] = {"label": label, **_row(samples[name], subtracts,
                                             is_large)}
    for name, (label, unit, typical) in COUNTED.items():
        rows[name] = {"label": label, "unit": unit, **{
            side: rounded(typical(counted[name][side])) for side in SIDES}}
    return rows


def _library(python):
    """Return the folder that *python* imports its library from."""
    told = subprocess.run(
        [python, "-c", "import http; print(http.__path__[0])"],
        check=True, capture_output=True, text=True)
    return str(Path(told.stdout.strip()).parent)


def _take(children, samples, turns, question):
    """Add to {side: seconds of turns}, and of the sockets in "bare"."""
    for child in children.values():     # to warm up
        child.ask(method="cost", **question)
    order = list(children)
    for _ in range(turns):
        for side in order:
            for method, name in ("cost", side), ("bare", "bare"):
                samples.setdefault(name, []).append(
                    children[side].ask(method=method, **question))
        order.reverse()


def _count(children, counted, size):
    """Add to {name: {side: values}}."""
    questions = [("calls", {"name": "GET", "count": 20}),
                 ("calls_if_new", {"name": "GET", "count": 20}),
                 ("memory", {"name": "GET", "count": 1000})]
    questions += [("import_time", {})] * max(1, size.rounds // 2)
    for method, question in questions:
        for side, child in children.items():
            counted[method].setdefault(side, []).append(
                child.ask(method=method, **question))


def _row(samples, subtracts, is_large):
    """Return the best of each side; where caches decide, the median.

    The quartiles are those of the ratios of turns beside each other.
    """
    typical = statistics.median if is_large else min
    sockets = typical(samples["bare"])
    stock, patched = ([(time - sockets * subtracts) * 1e6
                       for time in samples[side]] for side in SIDES)
    before, after = typical(stock), typical(patched)
    return {"unit": "µs", "stock": rounded(before), "patched": rounded(after),
            "sockets": rounded(sockets * 1e6),
            "ratio": {**ratio(patched, stock),
                      "median": rounded(after / before)}}


# What a user waits, beside peers.

def peers(lab, pythons, size, found):
    """Return {way: {client: samples}} of a small GET."""
    stock, patched = pythons.values()
    wanted = {
        "raw socket loop": Client(patched, "raw"),
        "http.client, stock": Client(stock, "http.client"),
        "http.client, patched": Client(patched, "http.client"),
        "urlopen(), stock": Client(stock, "urlopen", connections=1),
        "urlopen(), patched": Client(patched, "urlopen", connections=1),
        "handler, patched": Client(patched, "handler"),
        f"http.client, patched, {AHEAD} ahead": Client(
            patched, "http.client", {"depth": AHEAD}, step=AHEAD)}
    for name, (version, folder) in found.items():
        options = {"packages": str(folder)}
        wanted[f"{name} {version}"] = Client(patched, name, options)
        if name == "dugong":
            wanted[f"{name} {version}, {AHEAD} ahead"] = Client(
                patched, name, {**options, "depth": AHEAD}, step=AHEAD)
    return {way: _peers(lab, wanted, size, way) for way in WAYS}


def _peers(lab, wanted, size, way):
    say(f"peers: {len(wanted)} clients, {way}, {size.rounds} rounds")
    return lab.take_turns(wanted, way, rounds=size.rounds, seconds=size.turn)


# What reuse is worth.

def worth(lab, pythons, size, _):
    """Return {way: {delay: {client: samples}}}."""
    stock, patched = pythons.values()
    wanted = {
        "urlopen(), stock": Client(stock, "urlopen", connections=1),
        "urlopen(), patched": Client(patched, "urlopen", connections=1),
        "handler, patched": Client(patched, "handler"),
        f"{HOPS} redirects, stock": Client(
            stock, "urlopen", case="redirects", connections=1 + HOPS),
        f"{HOPS} redirects, patched": Client(
            patched, "urlopen", case="redirects", connections=1),
        f"{HOPS} redirects, handler": Client(patched, "handler",
                                             case="redirects"),
        "xmlrpc.client, stock": Client(stock, "xmlrpc", case="call"),
        "xmlrpc.client, patched": Client(patched, "xmlrpc", case="call"),
        "logging, stock": Client(stock, "logging", case="record",
                                 connections=1),
        "logging, patched": Client(patched, "logging", {"persistent": True},
                                   case="record")}
    for depth in DEPTHS:
        wanted[f"pipelining, depth {depth}"] = Client(
            patched, "http.client", {"depth": depth}, step=depth)
    return {way: {str(delay): _worth(lab, wanted, size, way, delay)
                  for delay in size.delays} for way in WAYS}


def _worth(lab, wanted, size, way, delay):
    say(f"worth: {way}, {delay} ms of round trip")
    taken = lab.take_turns(wanted, way, delay, seconds=2 * size.turn,
                           rounds=max(1, size.rounds // 4))
    return {name: {"wall": samples["wall"]}
            for name, samples in taken.items()}


# How cost grows.

def growth(lab, pythons, size, _):
    """Return {what: {number: {client: samples}}}."""
    stock, patched = pythons.values()
    clients = {"http.client, stock": Client(stock, "http.client"),
               "http.client, patched": Client(patched, "http.client"),
               "handler, patched": Client(patched, "handler")}
    say(f"growth: up to {size.requests[-1]:,} requests on a connection")
    told = {"requests": _requests(lab, clients, size)}
    say(f"growth: up to {size.fields[-1]} fields")
    told["fields"] = {
        str(number): lab.take_turns(
            {name: client._replace(case=f"{number} fields")
             for name, client in clients.items()},
            rounds=size.rounds, seconds=size.turn / 2)
        for number in size.fields}
    say(f"growth: up to {size.idle[-1]:,} idle connections")
    told["idle"] = {str(number): _idle(lab, clients, size, number)
                    for number in size.idle}
    say(f"growth: up to {size.threads[-1]} threads")
    told["threads"] = _threads(lab, {
        "urlopen(), stock": Client(stock, "urlopen"),
        "handler, patched": clients["handler, patched"]}, size)
    return told


def _requests(lab, clients, size):
    told = {}
    with lab.clients(clients) as children:
        for child in children.values():     # to warm up
            child.ask(count=100)
        for number in size.requests:
            turns = min(size.rounds, max(1, 20_000 // number))
            told[str(number)] = _asked(lab, children, turns, count=number)
    return told


def _threads(lab, clients, size):
    turns, count = max(1, size.rounds // 4), max(16, int(20_000 * size.turn))
    with lab.children(lambda: {
            name: lab.client(client)
            for name, client in clients.items()}) as children:
        return {str(number): _asked(lab, children, turns, threads=number,
                                    count=count // number * number)
                for number in size.threads}


def _asked(lab, children, turns, **command):
    """Return {name: {"cpu": [...], "wall": [...]}} of answers to *command*."""
    taken = {name: {} for name in children}
    for _ in range(turns):
        for name, child in children.items():
            for what, value in child.ask(**command).items():
                taken[name].setdefault(what, []).append(rounded(value))
        lab.look(children)
    return taken


def _idle(lab, clients, size, number):
    handler = {"handler, patched": clients["handler, patched"]}
    with lab.children(lambda: {
            name: lab.client(client)
            for name, client in handler.items()}) as children:
        return _asked(lab, children, 1, idle=number)


# POSTs after an idle close.

def posts(lab, pythons, size, _):
    """Return {way to end a connection: {side: what came of it}}."""
    say(f"posts: {size.posts} after every kind of idle close")
    return {label: {
        side: {"failed": len(outcome.failures), "twice": outcome.twice,
               "tries": outcome.count, "flawless": outcome.flawless}
        for side, outcome in zip(SIDES, outcomes)}
        for label, outcomes in demo.trials(pythons, size.posts)}


PARTS = {"cost": cost, "peers": peers, "worth": worth, "growth": growth,
         "posts": posts}
