"""POSTs after an idle close: a stock and a patched CPython, side by side.

A server on loopback answers each POST and, as soon as the client has read
the answer, ends the kept connection in one of five ways.  Once that end has
arrived, the client POSTs again through the same HTTPConnection.

  failed   POSTs that raised, or got something else than their own answer
  twice    POSTs that the server received in full more than once
  conns    connections that the server accepted

The status is 0 if the patched interpreter had no failure and the server
received every POST exactly once.  If nginx is installed, it is tried too.
"""

import collections
import functools
import json
import os
import select
import signal
import subprocess
import textwrap
import time
from pathlib import Path

from demo import server as demo_server
from tools.common import Failure, known_line

CLIENT = Path(__file__).with_name("client.py")
COUNT = 30
MAX_COUNT = 1000    # each POST leaves a port in TIME_WAIT
STARTUP = 15        # seconds for a client to start, and for one slow wait
PER_POST = 0.2      # seconds


def add_arguments(parser):
    parser.add_argument("line", nargs="?", metavar="LINE",
                        type=known_line,
                        help="3.13, 3.14 or 3.15 (default: the newest that "
                             "can be had), built if need be")
    parser.add_argument("--count", type=int, default=COUNT, metavar="N",
                        help="POSTs per way to end a connection "
                             "(default: %(default)s)")
    parser.add_argument("--stock", metavar="PYTHON",
                        help="try this interpreter instead of LINE's ...")
    parser.add_argument("--patched", metavar="PYTHON",
                        help="... and this one, which has the series")


def run(args):
    if not 1 <= args.count <= MAX_COUNT:
        raise Failure(f"--count {args.count} cannot be done; give a number "
                      f"from 1 to {MAX_COUNT}")
    stock, patched = _interpreters(args)
    return demonstrate(stock, patched, count=args.count, with_nginx=True)


def _interpreters(args):
    if bool(args.stock) != bool(args.patched):
        raise Failure("--stock and --patched go together; give both")
    if args.stock and args.line:
        raise Failure(f"{args.line} and --stock, --patched exclude each "
                      f"other; give one or the other")
    if args.stock:
        return args.stock, args.patched
    from tools.interpreters import build  # which imports this module
    base, patched = build.patched(args.line)
    return base.interpreter_at("base", "stock"), patched


def demonstrate(stock, patched, *, count=COUNT, with_nginx=False):
    """Print the table for two interpreters; return the exit status.

    *stock* and *patched* are paths of interpreters; *count* is the number of
    POSTs per way to end a connection.  Returns 0 if the patched one lost
    nothing and sent nothing twice, 1 otherwise; the stock one is only shown.
    Raises Failure if either does not start, or this is not Linux.
    """
    see_linux()
    pythons = {"stock": stock, "patched": patched}
    _print_heads([title(*item) for item in pythons.items()])
    no_tls = demo_server.why_no_tls()
    nginx = demo_server.find_nginx() if with_nginx else None
    rows = {}   # label -> [Outcome of stock, Outcome of patched]
    for label, outcomes in trials(pythons, count, nginx):
        rows[label] = outcomes
        _print_row(label, [outcome.figures for outcome in outcomes])
    _print_row("all", [_sum(outcomes) for outcomes in zip(*rows.values())])
    _print_reasons(pythons, rows)
    if with_nginx and not nginx:
        print("nginx is not installed, so it was not tried "
              "(apt-get install nginx)")
    return _verdict(rows, no_tls)


def see_linux():
    """Raise Failure if this is a system that trials() cannot work on."""
    if not hasattr(select, "POLLRDHUP"):
        raise Failure("demo: only Linux tells that a connection has ended "
                      "without reading from it; run ./series test instead")


def trials(pythons, count, nginx=None):
    """Yield (label, [Outcome of each interpreter]) per way to end.

    pythons: {name: path}; nginx: its path, to try it, too.  Ways that need
    TLS are left out if there is none.
    """
    no_tls = demo_server.why_no_tls()
    servers = {way.label: functools.partial(demo_server.ScriptedServer, way)
               for way in demo_server.WAYS if not (way.tls and no_tls)}
    if nginx:
        servers["nginx"] = functools.partial(demo_server.Nginx, nginx)
    for label, make_server in servers.items():
        yield label, [try_out(python, make_server(), count)
                      for python in pythons.values()]


def title(name, python):
    """Return *name* and the version of *python*, which thereby has started."""
    code = "import platform; print(platform.python_version())"
    said = []
    try:
        status = _run([python, "-I", "-c", code], STARTUP, said.append)
    except OSError as exc:
        raise Failure(f"the {name} interpreter {python} cannot be started: "
                      f"{exc.strerror}; name another") from exc
    last = ([line for line in said if line] or ["it said nothing"])[-1]
    if status is None:
        raise Failure(f"the {name} interpreter {python} did not start within "
                      f"{STARTUP} s; name another")
    if status:
        raise Failure(f"the {name} interpreter {python} does not work: "
                      f"{last}; name another")
    return f"{name} {last}"


class Outcome:
    """What came of the POSTs of one interpreter to one server.

    count        how many were to be tried
    answered     ids of POSTs that the client had the right answer to,
                 those that only opened a connection among them
    failures     the reason why, for each that failed
    broken       how the client itself failed, or None
    received     id -> how often it arrived in full
    connections  how many the server accepted
    """

    def __init__(self, count):
        self.count = count
        self.answered = set()
        self.failures = []
        self.broken = None
        self.received = collections.Counter()
        self.connections = 0

    @property
    def reasons(self):
        """What went wrong, each once."""
        return sorted({*self.failures, *filter(None, [self.broken])})

    @property
    def figures(self):
        """What the table shows: failed, of how many, twice, connections."""
        return (len(self.failures), self.count, self.twice,
                self.connections)

    @property
    def twice(self):
        """How many POSTs arrived in full more than once."""
        return sum(times > 1 for times in self.received.values())

    @property
    def lost(self):
        """How many POSTs were answered although they never arrived."""
        return len(self.answered.difference(self.received))

    @property
    def flawless(self):
        """No POST failed, and each arrived exactly once."""
        once = dict.fromkeys(self.answered, 1)
        return not self.reasons and self.received == once

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
        """Note *how* the client ended: None if well.

        What it was to try and did not come to counts as failed.
        """
        done = sum(ident.startswith("post-") for ident in self.answered)
        missing = self.count - done - len(self.failures)
        self.failures += [how or "not tried"] * missing
        self.broken = how


def try_out(python, server, count):
    """Have *python* POST *count* times to *server*; return the Outcome."""
    outcome = Outcome(count)
    with server:
        outcome.end(_run_client(python, server, outcome))
    outcome.received.update(server.received)
    outcome.connections = server.connections
    return outcome


def _run_client(python, server, outcome):
    """Return how the client failed, or None."""
    argv = [python, "-I", CLIENT, *server.address, outcome.count]
    if server.cafile:
        argv.append(server.cafile)
    limit = STARTUP + PER_POST * outcome.count
    said = []

    def take(line):
        if not outcome.note(line, server) and line.strip():
            said.append(line.strip())

    status = _run(argv, limit, take)
    if status is None:
        return f"killed after {limit:.0f} s"
    if status:
        return f"exit status {status}: {(said or ['no message'])[-1]}"
    return None


def _run(argv, limit, take):
    """Run *argv*, which may be a wrapper, and *take* each line it prints.

    Returns its exit status, or None if it had to be killed after *limit*
    seconds.  It has a session of its own, so that all of it can be killed.
    """
    deadline = time.monotonic() + limit
    child = subprocess.Popen([*map(str, argv)], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True)
    try:
        for line in _lines(child.stdout, deadline):
            take(line)
        return child.wait(max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        child.stdout.close()


def _lines(pipe, deadline):
    """Yield the lines that arrive through *pipe* until *deadline*."""
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    rest = b""
    while time.monotonic() < deadline:
        if not poller.poll(max(0, deadline - time.monotonic()) * 1000):
            break
        data = os.read(pipe.fileno(), 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
    yield rest.decode(errors="replace")


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
            for reason in outcomes[side].reasons:
                where.setdefault(reason, []).append(label)
        for reason, labels in where.items():
            print(textwrap.fill(f"{name}: {reason} ({', '.join(labels)})",
                                79, subsequent_indent="  "))


def _verdict(rows, no_tls):
    """Print what it means for the patched interpreter; return the status."""
    patched = [outcomes[1] for outcomes in rows.values()]
    flawless = all(outcome.flawless for outcome in patched)
    failed, count, twice, _ = _sum(patched)
    lost = sum(outcome.lost for outcome in patched)
    if flawless:
        print(f"patched: all {count} POSTs arrived, each exactly once")
    else:
        print(f"patched: {failed} of {count} POSTs failed, "
              f"{twice} arrived twice")
    if lost:
        print(f"patched: {lost} answers to POSTs that never arrived")
    if no_tls:
        print(f"TLS was NOT RUN: {no_tls}; run ./series with another Python")
    return 0 if flawless and not no_tls else 1
