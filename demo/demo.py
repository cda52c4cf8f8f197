"""POSTs after an idle close: a stock and a patched CPython, side by side.

A server on loopback answers each POST and, as soon as the client has read
the answer, ends the kept connection in one of five ways.  Once that end has
arrived, the client POSTs again through the same HTTPConnection.

  failed   POSTs that raised an exception, or got a wrong answer
  twice    POSTs that the server received in full more than once
  conns    connections that the server accepted

The exit status is 0 if no POST of the patched interpreter failed, and the
server received each of them exactly once.
"""

import collections
import json
import os
import select
import signal
import subprocess
import textwrap
import threading
from pathlib import Path

from demo import server as demo_server
from tools.common import Failure

CLIENT = Path(__file__).with_name("client.py")
COUNT = 30          # POSTs for each way to end a connection
STARTUP = 15        # seconds for a client to start, and for one slow wait
PER_POST = 0.2      # seconds

# The client has to see the end of a connection without reading from it.
POSSIBLE = hasattr(select, "POLLRDHUP")
IMPOSSIBLE = ("demo: only Linux tells that a connection has ended without "
              "reading from it; run ./series test instead")


def demonstrate(stock, patched, count=COUNT):
    """Print the table for two paths of interpreters; return the exit status.

    It is 0 if the patched one lost nothing and sent nothing twice; the stock
    one is only shown.  Raises Failure if either does not start, or this is
    not Linux.
    """
    see_linux()
    pythons = {"stock": stock, "patched": patched}
    _print_heads([title(*item) for item in pythons.items()])
    rows = {}   # label -> [Outcome of stock, Outcome of patched]
    for label, outcomes in trials(pythons, count):
        rows[label] = outcomes
        _print_row(label, [outcome.figures for outcome in outcomes])
    _print_row("all", [_sum(outcomes) for outcomes in zip(*rows.values())])
    _print_reasons(pythons, rows)
    return _verdict(rows, demo_server.why_no_tls())


def see_linux():
    """Raise Failure if this is a system that trials() cannot work on."""
    if not POSSIBLE:
        raise Failure(IMPOSSIBLE)


def trials(pythons, count):
    """Yield (label, [Outcome of each of {name: path}]) per way to end.

    Ways that need TLS are left out if there is none.
    """
    no_tls = demo_server.why_no_tls()
    for way in demo_server.WAYS:
        if not (way.tls and no_tls):
            yield way.label, [
                try_out(python, demo_server.ScriptedServer(way), count)
                for python in pythons.values()]


def title(name, python):
    """Return *name* and the version of *python*, which thereby has started."""
    code = "import platform; print(platform.python_version())"
    said = ["it said nothing"]
    try:
        status = _run([python, "-I", "-c", code], STARTUP, said.append)
    except OSError as exc:
        raise Failure(f"the {name} interpreter {python} cannot be started: "
                      f"{exc.strerror}; build it anew: ./series build --fresh"
                      ) from exc
    if status != 0:
        raise Failure(f"the {name} interpreter {python} does not work: "
                      f"{said[-1].strip()}; build it anew: ./series build "
                      f"--fresh")
    return f"{name} {said[-1].strip()}"


class Outcome:
    """What came of the POSTs of one interpreter to one server."""

    def __init__(self, count):
        self.count = count      # how many were to be tried
        self.answered = set()   # ids, those that opened a connection, too
        self.failures = []      # the reason, for each that failed
        self.broken = None      # how the client itself failed
        self.received = collections.Counter()   # by id; those in full
        self.connections = 0    # how many the server accepted

    @property
    def figures(self):
        """What the table shows: failed, of how many, twice, connections."""
        twice = sum(times > 1 for times in self.received.values())
        return len(self.failures), self.count, twice, self.connections

    @property
    def flawless(self):
        """No POST failed, and each arrived exactly once."""
        once = dict.fromkeys(self.answered, 1)
        return not (self.failures or self.broken) and self.received == once

    def note(self, line, server):
        """Take in one *line* of the client's; return whether it's a report."""
        try:
            event, *details = json.loads(line)
        except (TypeError, ValueError):
            return False
        if event == "idle":
            server.hang_up()
        elif event == "answered":
            self.answered.update(details)
        else:
            self.failures.append(details[1])
        return True

    def end(self, how):
        """Note *how* the client ended: None if well."""
        done = sum(ident.startswith("post-") for ident in self.answered)
        # What it was to try and did not come to has failed, too.
        missing = self.count - done - len(self.failures)
        self.failures += [how or "not tried"] * missing
        self.broken = how


def try_out(python, server, count):
    """Have *python* POST *count* times to *server*; return the Outcome."""
    outcome, said = Outcome(count), ["no message"]
    limit = STARTUP + PER_POST * count

    def take(line):
        if not outcome.note(line, server) and line.strip():
            said.append(line.strip())
    with server:
        status = _run([python, "-I", CLIENT, *server.address, count,
                       *filter(None, [server.cafile])], limit, take)
    outcome.end(f"killed after {limit:.0f} s" if status is None else
                f"exit status {status}: {said[-1]}" if status else None)
    outcome.received.update(server.received)
    outcome.connections = server.connections
    return outcome


def _run(argv, limit, take):
    """Run *argv*, which may be a wrapper, and *take* each line it prints.

    Returns its exit status; None if it was killed after *limit* seconds.
    """
    child = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, errors="replace",
                             start_new_session=True)    # to kill all of it
    killed = threading.Event()

    def kill():
        killed.set()
        os.killpg(child.pid, signal.SIGKILL)
    timer = threading.Timer(limit, kill)
    timer.start()
    try:
        for line in child.stdout:
            take(line)
        child.wait()
    finally:
        timer.cancel()
        if child.poll() is None:
            kill()
            child.wait()
        child.stdout.close()
    return None if killed.is_set() else child.returncode


def _print_heads(titles):
    print((" " * 16 + "".join(f"   {t:^28}" for t in titles)).rstrip())
    heads = f"   {'failed':>12} {'twice':>7} {'conns':>7}" * len(titles)
    print(f"{'idle close by':16}{heads}", flush=True)


def _print_row(label, sides):
    cells = "".join(f"   {f'{failed} of {count}':>12} {twice:7} {conns:7}"
                    for failed, count, twice, conns in sides)
    print(f"{label:16}{cells}", flush=True)


def _sum(outcomes):
    return [sum(column) for column in
            zip(*[outcome.figures for outcome in outcomes])]


def _print_reasons(names, rows):
    """Print for each interpreter how its POSTs failed, and where."""
    for side, name in enumerate(names):
        where = {}
        for label, outcomes in rows.items():
            outcome = outcomes[side]
            for reason in sorted({*outcome.failures, *filter(
                    None, [outcome.broken])}):
                where.setdefault(reason, []).append(label)
        for reason, labels in where.items():
            print(textwrap.fill(f"{name}: {reason} ({', '.join(labels)})",
                                79, subsequent_indent="  "))


def _verdict(rows, no_tls):
    """Print what it means for the patched interpreter; return the status."""
    patched = [outcomes[1] for outcomes in rows.values()]
    flawless = all(outcome.flawless for outcome in patched)
    failed, count, twice, _ = _sum(patched)
    if flawless:
        print(f"patched: all {count} POSTs arrived, each exactly once")
    else:
        lost = sum(len(outcome.answered.difference(outcome.received))
                   for outcome in patched)
        print(f"patched: of {count} POSTs {failed} failed, {twice} arrived "
              f"twice, {lost} never")
    if no_tls:
        print(f"TLS was NOT RUN: {no_tls}; run ./series with another Python")
    return 0 if flawless and not no_tls else 1
