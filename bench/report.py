"""The results of ./series bench as tables, plain or in Markdown."""

from typing import NamedTuple

from tools.bench_measures import CONNECTIONS, HANDLER, SIDES

# What the series may cost at most, beside stock.
MOST = {"calls": 1, "sendall": 1}

# How many times as fast it has to be.
LEAST = {"GET": 1.15, "xmlrpc": 1, "dugong": 4}

# How many times the time of the other it may take at most: the handler beside
# other clients, and patched beside stock.
HANDLER_MOST = {
    ("http.client, patched", "plain"): 2.2,
    ("http.client, patched", "TLS 1.3"): 1.4,
    ("urllib3", "plain"): 0.5, ("requests", "plain"): 0.22,
    ("aiohttp", "plain"): 0.8, ("httplib2", "plain"): 0.8}
XMLRPC_MOST = 1
REDIRECTS_MOST = {"plain": 0.65, "TLS 1.3": 0.53}

# Rows of bench/cost.py that do not depend on how fast a machine is.
COUNTED = ("calls", "calls_if_new", "memory")


class Table(NamedTuple):
    """Rows of words; the first column is left-aligned."""

    heads: list
    rows: list

    def plain(self):
        widths = [max(map(len, column))
                  for column in zip(self.heads, *self.rows)]
        lines = []
        for row in [self.heads, *self.rows]:
            words = [row[0].ljust(widths[0])]
            words += [word.rjust(width)
                      for word, width in zip(row[1:], widths[1:])]
            lines.append("  ".join(words).rstrip())
        return "\n".join(lines) + "\n"

    def markdown(self):
        rule = ["---"] + ["--:"] * (len(self.heads) - 1)
        return "".join(f"| {' | '.join(row)} |\n"
                       for row in [self.heads, rule, *self.rows])


# Words for figures.

def _time(value):
    value = _median(value)
    return f"{value / 1000:.1f} ms" if value >= 1000 else f"{value:.1f} µs"


def _median(value):
    return value["median"] if isinstance(value, dict) else value


def _ratio(spread):
    return [f"{spread['median']:.2f}",
            f"{spread['low']:.2f}–{spread['high']:.2f}"]


def _inverse(spread):
    return {"median": 1 / spread["median"], "low": 1 / spread["high"],
            "high": 1 / spread["low"]}


# Tables.

def own_costs(results, line):
    """Return the Table of what the code itself costs."""
    return Table([f"http.client {line} alone", "stock", "patched",
                  "ratio, more", "at most"],
                 [row["words"] for row in results["cost"][line]])


def costs(results):
    """Return the Table of what has a bound."""
    rows = []
    counted = results["system calls"]
    for kind in CONNECTIONS:
        stock, patched = [sum(counted[kind][side].values())
                          for side in SIDES]
        rows.append([f"system calls of a GET, {kind}", f"{stock:g}",
                     f"{patched:g}", f"{patched - stock:g}",
                     _most("calls", patched - stock)])
    sent = results["xmlrpc"]["sendall"]
    stock, patched = [sent[side] for side in SIDES]
    rows.append(["sendall() of an XML-RPC call", f"{stock:g}", f"{patched:g}",
                 f"{patched - stock:g}", _most("sendall", patched)])
    return Table(["", "stock", "patched", "more", "at most"], rows)


def _most(what, value):
    return f"{MOST[what]}{'' if value <= MOST[what] else ' OVER'}"


def library(results):
    """Return the Table of what is built on http.client."""
    clients = results["peers"]["plain"]
    stock, patched = [clients[f"http.client, {side}"]["wall"]
                      for side in SIDES]
    rows = [_faster("GET: http.client", stock["time"], patched["time"],
                    _inverse(stock["ratio"]), LEAST["GET"])]
    for peer in ("raw peer", "xmlrpc.server"):
        clocks = results["xmlrpc"][peer]
        rows.append(_sides(f"XML-RPC, {peer}", clocks["wall"],
                           LEAST["xmlrpc"]))
    return Table(["", "stock", "patched", "faster", "quartiles",
                  "at least"], rows)


def handler(results):
    """Return the Table of the handler beside other clients."""
    rows = []
    for way, clients in results["peers"].items():
        own = clients[HANDLER]["cpu"]["time"]
        for name in dict.fromkeys(name for name, _ in HANDLER_MOST):
            if name in clients:
                told = clients[name]["cpu"]
                label = f"{name} {clients[name]['version'] or ''}".strip()
                rows.append(_bounded(f"{label}, {way}", told["time"], own,
                                     told["handler"],
                                     HANDLER_MOST.get((name, way))))
    return Table(["CPU of a GET, 8 fields", "by it", "handler", "ratio",
                  "at most"], rows)


def bounded(results):
    """Return the Table of what is beside stock, and has a bound."""
    told = [(f"XML-RPC, {peer}, CPU", results["xmlrpc"][peer]["cpu"],
             XMLRPC_MOST) for peer in ("raw peer", "xmlrpc.server")]
    told += [(f"3 redirects at 20 ms, {way}", clocks["wall"],
              REDIRECTS_MOST[way])
             for way, clocks in results["redirects"].items()]
    return Table(["", "stock", "patched", "ratio", "at most"],
                 [_bounded(label, clock["stock"], clock["patched"],
                           clock["ratio"], most)
                  for label, clock, most in told])


def _bounded(label, before, after, ratio, most):
    """Return a row as bench/cost.py has it: of the best of each."""
    best = round(after["best"] / before["best"], 2)
    return [label, _time(before["best"]), _time(after["best"]),
            f"{best:.2f} ({_ratio(ratio)[1]})",
            "-" if most is None
            else f"{most:.2f}{'' if best <= most else ' OVER'}"]


def pipelining(results):
    """Return the Table of requests that are sent ahead of responses."""
    told = results["pipelining"]
    ours = told["pipelined"]
    rows = []
    for name, label in (("one at a time", "one at a time"),
                        ("dugong", f"dugong {told['version']}")):
        for clock, about in (("wall", "wall clock"), ("cpu", "CPU")):
            if name in told:
                rows.append(_faster(
                    f"{label}, {about}", told[name][clock]["time"],
                    ours[clock]["time"], told[name][clock]["ratio"],
                    LEAST.get(name) if clock == "cpu" else None))
    return Table(["GET, 8 fields, 50 ahead", "before", "patched", "faster",
                  "quartiles", "at least"], rows)


def _sides(label, told, least=None):
    return _faster(label, told["stock"], told["patched"], told["ratio"],
                   least)


def _faster(label, before, after, ratio, least=None):
    """Return a row; *ratio* is that of the times, after to before."""
    faster, quartiles = _ratio(_inverse(ratio))
    under = ("" if least is None or 1 / ratio["median"] >= least
              else " UNDER")
    return [label, _time(before), _time(after), faster, quartiles,
            "-" if least is None else f"{least:.3g}{under}"]


def reliability(results):
    """Return the Table of POSTs after an idle close."""
    rows = []
    for label, sides in results["reliability"].items():
        row = [label]
        for told in sides.values():
            row += [f"{told['failed']} of {told['tries']}",
                    str(told["twice"]), str(told["connections"])]
        rows.append(row)
    heads = ["POST after idle"]
    for side in ("stock", "patched"):
        heads += [f"{side} failed", "twice", "conns"]
    return Table(heads, rows)


def peers(results):
    """Return the Table of other clients, beside patched http.client."""
    rows = []
    for name, told in results["peers"]["plain"].items():
        rate = 1e6 / _median(told["wall"]["time"])
        faster, _ = _ratio(_inverse(told["wall"]["ratio"]))
        rows.append([f"{name} {told['version'] or ''}".strip(),
                     f"{rate:.0f}", faster, _time(told["cpu"]["time"]),
                     *_ratio(told["cpu"]["ratio"])])
    return Table(["GET, 8 fields", "req/s", "ratio", "CPU", "ratio",
                  "quartiles"], rows)


def tables(results):
    return [*(own_costs(results, line) for line in results["cost"]),
            costs(results), reliability(results), peers(results),
            handler(results), pipelining(results), library(results),
            bounded(results)]


# Notes.

def heading(results):
    machine = results["machine"]
    return (f"CPython {results['version']}, stock and with "
            f"{results['patches']} patches; {machine['cpu']}, "
            f"{machine['cores']} cores")


def notes(results):
    """Return the lines that the tables need to be understood."""
    told = ["http.client alone: CPU, less that of the sockets; see "
            "bench/cost.py.",
            "Others: medians; ratio: to stock and, of clients, to patched "
            "http.client.",
            "With a bound on the ratio: the best of all, and quartiles of "
            "pairs.",
            f"System calls were counted with "
            f"{results['system calls']['counted with']}."]
    told += [f"{name}: NOT RUN: {why}"
             for name, why in results["not run"].items()]
    return told


def plain(results):
    parts = [heading(results) + "\n"]
    parts += [table.plain() for table in tables(results)]
    return "\n".join(parts) + "\n" + "\n".join(notes(results)) + "\n"


def markdown(results):
    parts = [heading(results) + ".\n"]
    parts += [table.markdown() for table in tables(results)]
    return "\n".join(parts) + "\n" + " ".join(notes(results)) + "\n"


def broken(results):
    """Return, in words, the promises that were seen broken.

    Those are the ones that do not depend on how fast a machine is.
    """
    told = []
    counted = results["system calls"]
    for kind in CONNECTIONS:
        more = (sum(counted[kind]["patched"].values())
                - sum(counted[kind]["stock"].values()))
        if more > MOST["calls"]:
            told.append(f"a GET, {kind}, costs {more:g} more system calls")
    told += [f"{row['label']} of {line}: {row['more']:+.4g}, not at most "
             f"{row['aim']:+g}"
             for line, rows in results["cost"].items() for row in rows
             if row["name"] in COUNTED and row["more"] > row["aim"]]
    sent = results["xmlrpc"]["sendall"]["patched"]
    if sent > MOST["sendall"]:
        told.append(f"an XML-RPC call takes {sent:g} sendall()")
    told += [f"POSTs by patched after {label}: "
             f"{'; '.join(sides['patched']['reasons']) or 'not each once'}"
             for label, sides in results["reliability"].items()
             if not sides["patched"]["flawless"]]
    return told
