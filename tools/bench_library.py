"""What ./series bench measures of what is built on http.client.

urllib.request, xmlrpc.client and logging; see tools/bench_measures.py for how.
"""

from tools.bench_measures import (SIDES, ask_profiled, both_clocks, compared,
                                  ratio, spread, take_turns)
from tools.common import say

HOPS = 3            # of a chain of redirects; bench/server.py has it
WAYS = {"": {}, ", TLS 1.3": {"port": "tls"},
        ", TLS 1.3, RSA": {"port": "rsa"}}
DEPTH = 50          # of pipelines; bench/clients.py has it


def urllib(lab, pythons, size):
    """Time urlopen() beside itself, and beside the handler."""
    say("urlopen() and PersistentConnectionHandler")
    results = {}
    for about, options in WAYS.items():
        results[f"GET{about}"] = _one_case(
            lab, pythons, size.urllib, "GET", {"timeout": 30, **options},
            {"client": "urlopen", "connections": 1}, {"client": "handler"})
        results[f"redirects{about}"] = _one_case(
            lab, pythons, size.urllib, "redirects",
            {"timeout": 30, **options},
            {"client": "urlopen", "connections": 1 + HOPS},
            {"client": "urlopen", "connections": 1})
    return results


def pipelining(lab, pythons, peer, size):
    """Time small GETs of which 50 are sent before a response is read.

    peer: (version, folder) of a client that can do it, or None.
    """
    say("pipelined GETs")
    clients = {"one at a time": {"client": "pipelined", "depth": 1},
               "pipelined": {"client": "pipelined"}}
    if peer is not None:
        clients["dugong"] = {"client": "dugong", "packages": str(peer[1])}
    taken = take_turns(lab, {
        name: (pythons["patched"], {"timeout": 30, **options})
        for name, options in clients.items()}, ["GET"], size.ahead)["GET"]
    each = {name: {clock: [time / DEPTH for time in times]
                   for clock, times in clocks.items()}
            for name, clocks in taken.items()}
    return {"version": peer and peer[0], **{
        name: {clock: {"time": spread(clocks[clock]),
                       "ratio": ratio(clocks[clock],
                                      each["pipelined"][clock])}
               for clock in ("cpu", "wall")}
        for name, clocks in each.items()}}


def xmlrpc(lab, pythons, size):
    """Time small calls, and count what they send."""
    say("calls by xmlrpc.client")
    options = {"client": "xmlrpc"}
    return {
        "raw peer": _one_case(lab, pythons, size.calls, "call", options),
        "xmlrpc.server": _one_case(lab, pythons, size.calls, "call",
                                   {**options, "port": "xmlrpc"}),
        "sendall": {side: ask_profiled(lab, python, "call",
                                       options).get("sendall", 0)
                    for side, python in pythons.items()},
    }


def logging(lab, pythons, size):
    """Time records, and count connections and what has arrived."""
    say("records by logging.handlers.HTTPHandler")
    options = {"client": "logging"}
    told = _one_case(lab, pythons, size.records, "record", options,
                     {"connections": 1}, {"persistent": True})
    return {"record": told, "records": size.logged,
            "kept": _log(lab, pythons["patched"], size.logged)}


def _log(lab, python, count):
    """Return how many connections and records *count* records come to."""
    before = [lab.count(what) for what in ("accepted", "logged")]
    child = lab.client(python, "logging", persistent=True)
    child.ask(measure="timed", case="record", count=count)
    after = [lab.count(what) for what in ("accepted", "logged")]
    child.end()
    connections, records = [late - early
                            for early, late in zip(before, after)]
    # One, to count what was logged, and one to count itself.
    return {"connections": connections - 2, "records": records}


def _one_case(lab, pythons, plan, case, options, stock={}, patched={}):
    wanted = {side: (pythons[side], {**options, **own})
              for side, own in zip(SIDES, (stock, patched))}
    return both_clocks(take_turns(lab, wanted, [case], plan)[case])
