"""What ./series bench measures of what is built on http.client.

xmlrpc.client, redirects, and pipelines; see tools/bench_measures.py for how.
"""

from tools.bench_measures import (SIDES, ask_profiled, both_clocks, ratio,
                                  spread, take_turns)
from tools.common import say

HOPS = 3            # of a chain of redirects; bench/server.py has it
DEPTH = 50          # of pipelines; bench/clients.py has it


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


def redirects(lab, pythons, size):
    """Time urlopen() of a chain of redirects on a server that is far."""
    say("redirects on a server that is 20 ms away")
    return {way: _one_case(lab, pythons, size.far, "redirects",
                           {"client": "urlopen", "timeout": 30, "port": port},
                           {"connections": 1 + HOPS}, {"connections": 1})
            for way, port in (("plain", "far"), ("TLS 1.3", "far_tls"))}


def _one_case(lab, pythons, plan, case, options, stock={}, patched={}):
    wanted = {side: (pythons[side], {**options, **own})
              for side, own in zip(SIDES, (stock, patched))}
    return both_clocks(take_turns(lab, wanted, [case], plan)[case])
