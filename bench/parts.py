"""What ./series bench measures; each part is a function in PARTS.

It takes the Lab, {"stock": path, "patched": path}, the Size and {name:
(version, folder)} of other clients, and returns what goes into the results.
"""

import statistics
from typing import NamedTuple

from bench.cost import PHASES
from bench.lab import DELAYS, WAYS, Client, ratio, rounded
from demo import demo
from tools.common import say

SIDES = ("stock", "patched")
AHEAD = 50


class Size(NamedTuple):
    """How much to measure."""

    rounds: int = 20
    turn: float = 0.05          # seconds of a client in a round
    processes: int = 4          # for cost: how often to start new ones
    share: int = 1              # for cost: one in so many requests of a turn
    delays: tuple = DELAYS
    depths: tuple = (1, 5, 20, 50, 100)
    requests: tuple = (100, 1000, 10_000, 100_000)
    fields: tuple = (1, 10, 30, 99)     # http.client takes no 100
    idle: tuple = (1, 10, 100, 1000)
    threads: tuple = (1, 4, 8, 16)
    posts: int = 30             # after each way to end a connection


FULL = Size()
QUICK = Size(rounds=2, turn=0.005, processes=1, share=10, delays=(0, 10),
             requests=(100, 1000), fields=(1, 30, 99), idle=(1, 100),
             threads=(1, 4), posts=5)


def cost(lab, pythons, size, _):
    """What http.client costs: {"rows": {label: row}, "phases": ...}."""
    programs = {side: (pythons[side], "cost.py") for side in SIDES}
    samples = {side: {} for side in SIDES}
    for at in range(size.processes):
        say(f"cost: {at + 1} of {size.processes}")
        with lab.programs(programs) as children:
            cases = children["stock"].ask(method="describe")
            for label, count in cases.items():
                turns = max(1, size.rounds // 2) * (2 if count == 1 else 1)
                question = {"method": "cost", "label": label,
                            "count": max(1, count // size.share)}
                lab.ask(children, 1, **question)    # to warm up
                _add(samples, lab.ask(children, turns, **question), label)
            _add(samples, lab.ask(children, 1, method="calls"))
            _add(samples, lab.ask(children, 4, method="phases",
                                  count=1000 // size.share))
            turns = 1 + size.rounds // 2
            _add(samples, lab.ask(children, turns, method="import_time"))
    rows = {label: _row(samples, label, count)
            for label, count in cases.items()}
    for label, unit in (("system calls, new", ""), ("system calls, kept", ""),
                        ("import", "µs")):
        rows[label] = {"unit": unit, **{side: min(samples[side][label])
                                        for side in SIDES}}
    return {"rows": rows, "phases": {
        side: {what: min(samples[side][what]) for what in PHASES}
        for side in SIDES}}


def _add(samples, told, label=""):
    for side, answers in told.items():
        for what, values in answers.items():
            samples[side].setdefault(label + what, []).extend(values)


def _row(samples, label, count):
    """Return the best of each side; of large bodies, the median.

    The quartiles are those of the ratios of turns beside each other.
    """
    typical = statistics.median if count == 1 else min
    less = 0 if "sockets" in label else typical(
        [time for side in SIDES for time in samples[side][label + "sockets"]])
    stock, patched = ([time - less for time in samples[side][label + "taken"]]
                      for side in SIDES)
    before, after = typical(stock), typical(patched)
    return {"unit": "µs", "stock": rounded(before), "patched": rounded(after),
            "sockets": less, "ratio": {**ratio(patched, stock),
                                       "median": rounded(after / before)}}


def peers(lab, pythons, size, found):
    """What a user waits for a GET: {way: {client: samples}}."""
    stock, patched = (Client(pythons[side], "http_client") for side in SIDES)
    wanted = {
        "raw socket loop": patched._replace(name="raw"),
        "http.client, stock": stock, "http.client, patched": patched,
        "urlopen(), stock": stock._replace(name="urlopen", connections=1),
        "urlopen(), patched": patched._replace(name="urlopen", connections=1),
        "handler, patched": patched._replace(name="handler"),
        f"http.client, patched, {AHEAD} ahead": patched.ahead(AHEAD)}
    for name, (version, folder) in found.items():
        client = patched._replace(name=name,
                                  options={"packages": str(folder)})
        wanted[f"{name} {version}"] = client
        if name == "dugong":
            wanted[f"{name} {version}, {AHEAD} ahead"] = client.ahead(AHEAD)
    told = {}
    for way in WAYS:
        say(f"peers: {len(wanted)} clients, {way}, {size.rounds} rounds")
        told[way] = lab.take_turns(wanted, way, rounds=size.rounds,
                                   seconds=size.turn)
    return told


def worth(lab, pythons, size, _):
    """What reuse is worth: {way: {delay: {client: samples}}}."""
    stock, patched = (Client(pythons[side], "urlopen", connections=1)
                      for side in SIDES)
    handler = patched._replace(name="handler", connections=0)
    chain, call = {"target": "/3-hops"}, {"name": "xmlrpc", "connections": 0}
    wanted = {
        "urlopen(), stock": stock, "urlopen(), patched": patched,
        "handler, patched": handler,
        "3 redirects, stock": stock._replace(**chain, connections=4),
        "3 redirects, patched": patched._replace(**chain),
        "3 redirects, handler": handler._replace(**chain),
        "xmlrpc.client, stock": stock._replace(**call),
        "xmlrpc.client, patched": patched._replace(**call),
        **{f"pipelining, depth {depth}": Client(
            pythons["patched"], "http_client").ahead(depth)
           for depth in size.depths}}
    told = {way: {} for way in WAYS}
    for way in WAYS:
        for delay in size.delays:
            say(f"worth: {way}, {delay} ms of round trip")
            told[way][delay] = lab.take_turns(
                wanted, way, delay, rounds=max(1, size.rounds // 4),
                seconds=2 * size.turn)
    return told


def growth(lab, pythons, size, _):
    """How cost grows: {what: {number: {client: samples}}}."""
    stock, patched = (Client(pythons[side], "http_client") for side in SIDES)
    handler = {"handler, patched": patched._replace(name="handler")}
    clients = {"http.client, stock": stock, "http.client, patched": patched,
               **handler}
    told = {"requests": {}, "fields": {}, "idle": {}, "threads": {}}
    few = max(1, size.rounds // 4)
    say(f"growth: up to {size.requests[-1]:,} requests on a connection")
    with lab.counted(clients) as children:
        lab.ask(children, 1, count=100)     # to warm up
        for number in size.requests:
            turns = min(size.rounds, max(1, 20_000 // number))
            told["requests"][number] = lab.ask(children, turns, count=number)
    say(f"growth: up to {size.fields[-1]} fields")
    for number in size.fields:
        told["fields"][number] = lab.take_turns(
            {name: client._replace(target=f"/{number}-fields")
             for name, client in clients.items()},
            rounds=size.rounds, seconds=size.turn / 2)
    say(f"growth: up to {size.idle[-1]:,} idle connections")
    for number in size.idle:
        with lab.clients({name: client._replace(name="servers", options={
                "number": number, "of": client.name})
                for name, client in clients.items()}) as children:
            memory = lab.ask(children, 1, traced=number)
            samples = lab.ask(children, few, count=1000)
        told["idle"][number] = {name: {**samples[name], **memory[name]}
                                for name in clients}
    say(f"growth: up to {size.threads[-1]} threads")
    count = max(16, int(20_000 * size.turn))
    with lab.clients({"urlopen(), stock": stock._replace(name="urlopen"),
                      **handler}) as children:
        for number in size.threads:
            told["threads"][number] = lab.ask(
                children, few, threads=number,
                count=count // number * number)
    return told


def posts(lab, pythons, size, _):
    """POSTs after an idle close: {way to close: {side: outcome}}."""
    say(f"posts: {size.posts} after every kind of idle close")
    return {label: {
        side: {"failed": len(outcome.failures), "twice": outcome.figures[2],
               "tries": outcome.count, "flawless": outcome.flawless}
        for side, outcome in zip(SIDES, outcomes)}
        for label, outcomes in demo.trials(pythons, size.posts)}


PARTS = {"cost": cost, "peers": peers, "worth": worth, "growth": growth,
         "posts": posts}
