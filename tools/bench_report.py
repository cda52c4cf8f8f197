"""The results of ./series bench as tables, plain or in Markdown."""

from typing import NamedTuple

from tools.bench_measures import CONNECTIONS

KIB = 1024
LARGE_MB = (20 << 20) / 1e6

CASES = {"GET": "GET, 8 fields", "POST": "POST 100 bytes",
         "tiny": "GET, 1 field", "length": "20 MiB by length",
         "chunked": "20 MiB, 8 KiB chunks"}

# What the series may cost at most, beside stock.
MOST = {"look": 3, "calls": 1, "memory": 12 * KIB, "import": 2000,
        "sendall": 1}

# How many times as fast it has to be.
LEAST = {"xmlrpc": 1, "dugong": 4}


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


def _size(value):
    return f"{_median(value) / KIB:.1f} KiB"


def _median(value):
    return value["median"] if isinstance(value, dict) else value


def _ratio(spread):
    return [f"{spread['median']:.2f}",
            f"{spread['low']:.2f}–{spread['high']:.2f}"]


def _inverse(spread):
    return {"median": 1 / spread["median"], "low": 1 / spread["high"],
            "high": 1 / spread["low"]}


# Tables.

def own_costs(results):
    """Return the Table of what the code itself costs."""
    return Table(["http.client alone", "stock", "patched", "ratio, more",
                  "at most"], [row["words"] for row in results["cost"]])


def requests(results):
    """Return the Table of requests over one kept connection."""
    rows = []
    for case, clocks in results["requests"].items():
        for clock, name in (("cpu", "CPU"), ("wall", "wall clock")):
            told = clocks[clock]
            rows.append([f"{CASES[case]}, {name}", _time(told["stock"]),
                         _time(told["patched"]), *_ratio(told["ratio"])])
        if case in ("length", "chunked"):
            rows.append(_speed(case, clocks["wall"]))
    return Table(["one kept connection", "stock", "patched", "ratio",
                  "quartiles"], rows)


def _speed(case, wall):
    words = [f"{LARGE_MB / _median(wall[side]) * 1e6:.0f} MB/s"
             for side in ("stock", "patched")]
    return [f"{CASES[case]}, speed", *words, *_ratio(_inverse(wall["ratio"]))]


def costs(results):
    """Return the Table of what has a bound."""
    rows = []
    for kind, told in results["look"].items():
        rows.append([f"look before sending, {kind}", "-", _time(told),
                     _time(told), _most("look", told, _time)])
    counted = results["system calls"]
    for kind in CONNECTIONS:
        stock, patched = [sum(counted[kind][side].values())
                          for side in ("stock", "patched")]
        rows.append([f"system calls of a GET, {kind}", f"{stock:g}",
                     f"{patched:g}", f"{patched - stock:g}",
                     _most("calls", patched - stock, "{:g}".format)])
    for line, ways in results["memory"].items():
        for how, told in ways.items():
            rows.append([f"idle connection, {line}, {how}",
                         _size(told["stock"]), _size(told["patched"]),
                         _size(told["more"]),
                         _most("memory", told["more"], _size)])
    sent = results["xmlrpc"]["sendall"]
    rows.append(["sendall() of an XML-RPC call",
                 *_counted("sendall", sent["stock"], sent["patched"])])
    told = results["import"]
    rows.append(["import http.client, CPU", _time(told["stock"]),
                 _time(told["patched"]), _time(told["more"]),
                 _most("import", told["more"], _time)])
    return Table(["", "stock", "patched", "more", "at most"], rows)


def _counted(what, stock, patched):
    """Return the rest of a row in which it is *patched* that has a bound."""
    return [f"{stock:g}", f"{patched:g}", f"{patched - stock:g}",
            _most(what, patched, "{:g}".format)]


def _most(what, value, words):
    over = "" if _median(value) <= MOST[what] else " OVER"
    return words(MOST[what]) + over


def library(results):
    """Return the Table of what is built on http.client."""
    rows = []
    for peer in ("raw peer", "xmlrpc.server"):
        clocks = results["xmlrpc"][peer]
        rows.append(_sides(f"XML-RPC, {peer}", clocks["wall"],
                           LEAST["xmlrpc"]))
        rows.append(_sides(f"XML-RPC, {peer}, CPU", clocks["cpu"]))
    return Table(["", "stock", "patched", "faster", "quartiles",
                  "at least"], rows)


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
    for name, told in results["peers"].items():
        rate = 1e6 / _median(told["wall"]["time"])
        faster, _ = _ratio(_inverse(told["wall"]["ratio"]))
        rows.append([f"{name} {told['version'] or ''}".strip(),
                     f"{rate:.0f}", faster, _time(told["cpu"]["time"]),
                     *_ratio(told["cpu"]["ratio"])])
    return Table(["GET, 8 fields", "req/s", "ratio", "CPU", "ratio",
                  "quartiles"], rows)


def tables(results):
    return [own_costs(results), requests(results), costs(results), reliability(results),
            peers(results), pipelining(results), library(results)]


# Notes.

def heading(results):
    machine = results["machine"]
    return (f"CPython {results['version']}, stock and with "
            f"{results['patches']} patches; {machine['cpu']}, "
            f"{machine['cores']} cores")


def notes(results):
    """Return the lines that the tables need to be understood."""
    told = ["Medians; ratio: to stock and, of clients, to patched "
            "http.client.",
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
    for line, ways in results["memory"].items():
        more = _median(ways["tracemalloc"]["more"])
        if more > MOST["memory"]:
            told.append(f"an idle connection of {line} holds "
                        f"{_size(more)} more")
    sent = results["xmlrpc"]["sendall"]["patched"]
    if sent > MOST["sendall"]:
        told.append(f"an XML-RPC call takes {sent:g} sendall()")
    told += [f"POSTs by patched after {label}: "
             f"{'; '.join(sides['patched']['reasons']) or 'not each once'}"
             for label, sides in results["reliability"].items()
             if not sides["patched"]["flawless"]]
    return told
