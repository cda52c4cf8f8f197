"""The results of ./series bench as tables in Markdown; the goals."""

import re
from typing import Callable, NamedTuple

from bench.lab import ratio, spread
from bench.parts import AHEAD, SIDES

BUSY = 0.1          # of a processor, used by others: not idle
# A row is slower than stock if three quarters of its samples are, by this.
SLOWER = 1.02


def table(heads, rows):
    """Return a table; the first column is left-aligned."""
    rows = [[str(word) for word in row] for row in [heads, *rows]]
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, ["-" * widths[0],
                    *("-" * (width - 1) + ":" for width in widths[1:])])
    return "".join("| " + " | ".join(
        word.rjust(width) if at else word.ljust(width)
        for at, (word, width) in enumerate(zip(row, widths))) + " |\n"
        for row in rows)


def words(value, unit="µs"):
    if unit == "µs" and abs(value) >= 1000:
        return f"{value / 1000:,.2f} ms"
    return f"{value:,.{1 if unit == 'µs' else 0}f} {unit}".rstrip()


def about(samples, unit="µs"):
    """Return the median, and how far the quartiles are from it."""
    told = spread(samples)
    away = (told["high"] - told["low"]) / 2 / told["median"]
    return f"{words(told['median'], unit)} ±{away:.0%}"


def ratio_words(told):
    return f"{told['median']:.2f} ({told['low']:.2f}–{told['high']:.2f})"


# Goals.

class Goal(NamedTuple):
    """What the series is to reach."""

    part: str
    text: str
    most: float
    # Takes what was measured; returns a number, a spread or None.
    measure: Callable
    is_firm: bool = False   # it does not depend on how fast a machine is


def more(label, most, is_firm=True):
    return Goal("cost", f"more than stock: {label}", most, lambda told: (
        told["rows"][label]["patched"] - told["rows"][label]["stock"]),
        is_firm)


def idle_memory(told):
    stock, patched = ([*told["idle"].values()][-1][f"http.client, {side}"]
                      for side in SIDES)
    return patched["memory"][0] - stock["memory"][0]


def beside(text, clock, ours, theirs, most):
    """Return the Goal of one client beside another, without TLS."""
    def measure(told):
        for name, samples in told["plain"].items():
            if re.fullmatch(theirs, name):
                return ratio(told["plain"][ours][clock], samples[clock])
    return Goal("peers", text, most, measure)


GOALS = [
    *(Goal("cost", f"library time, beside stock: {label}", most,
           lambda told, label=label: told["rows"][label]["ratio"])
      for label, most in (
          ("GET, 8 fields", 0.70), ("GET, 1 field", 0.90),
          ("POST of 100 bytes", 0.80), ("200 bytes in 1 chunk", 1.05),
          ("100 kB in reads of 1 kB", 1.05),
          ("20 MiB by length, sockets", 1.05), ("20 MiB, 8 KiB chunks", 1.05),
          ("20 MiB, 8 KiB chunks, fp", 1.50))),
    more("import", 1500, is_firm=False),
    more("system calls, kept", 1),
    more("system calls, new", 0),
    Goal("growth", "more bytes of an idle connection of http.client", 0,
         idle_memory, is_firm=True),
    beside("wall clock of http.client, beside stock (1.15 × as fast)", "wall",
           "http.client, patched", "http.client, stock", 0.87),
    *(beside(f"CPU of the handler, beside {peer}", "cpu", "handler, patched",
             f"{peer} [^,]*", most)
      for peer, most in (("urllib3", 0.50), ("aiohttp", 0.80),
                         ("httplib2", 0.80))),
    beside("CPU of pipelining, beside dugong", "cpu",
           f"http.client, patched, {AHEAD} ahead", f"dugong .*, {AHEAD} ahead",
           0.25),
    Goal("posts", "kinds of idle close that lose or repeat a POST", 0,
         lambda ways: sum(not sides["patched"]["flawless"]
                          for sides in ways.values()), is_firm=True)]


def judged(results):
    """Yield (Goal, what was measured, in words, whether it is met)."""
    for goal in GOALS:
        part = results["parts"].get(goal.part)
        told = part and goal.measure(part["measured"])
        if isinstance(told, dict):
            met = round(told["median"], 2) <= goal.most
            yield goal, ratio_words(told), met
        elif told is not None:
            yield goal, f"{told:,.0f}", told <= goal.most


def goals(results):
    """Yield the table of goals, and that of rows slower than stock."""
    rows = [[goal.text, f"{goal.most:.2f}" if isinstance(goal.most, float)
             else f"{goal.most:,}", told, "yes" if met else "NO"]
            for goal, told, met in judged(results)]
    compared = [pair for part in results["parts"].values()
                for pair in pairs(part["measured"])]
    slower = [[label, ratio_words(told)] for label, told in compared
              if told["low"] > SLOWER]
    if compared:
        rows.append([f"slower than stock, of {len(compared)} other rows", 0,
                     len(slower), "NO" if slower else "yes"])
    yield table(["goal", "at most", "measured", "met"], rows)
    if slower:
        yield table(["slower than stock", "ratio"], slower)


def pairs(measured, where=()):
    """Yield (label, ratio) of samples by patched, beside those by stock."""
    for name, told in measured.items():
        ours = measured.get(name.replace(", stock", ", patched"))
        if isinstance(told, dict):
            yield from pairs(told, (*where, name))
        if name.endswith(", stock") and ours:
            for clock, samples in told.items():
                yield (", ".join([name[:-len(", stock")], *where, clock]),
                       ratio(ours[clock], samples))


def broken(results):
    """Return the goals that are missed, and do not depend on the machine."""
    return [f"{goal.text}: {told}, not at most {goal.most}" for goal, told, met
            in judged(results) if goal.is_firm and not met]


# Tables of the parts.

def cost(told):
    rows = []
    for label, row in told["rows"].items():
        more = row["patched"] - row["stock"]
        rows.append([label, *(words(row[side], row["unit"])
                              for side in SIDES),
                     ratio_words(row["ratio"]) if "ratio" in row else
                     f"{'+' * (more >= 0)}{words(more, row['unit'])}"])
    yield table(["http.client alone, CPU", *SIDES, "ratio, more"], rows)
    yield table(["GET, 8 fields, wall clock", *told["phases"]["stock"]],
                [[side, *map(words, phases.values())]
                 for side, phases in told["phases"].items()])


def peers(ways):
    for way, clients in ways.items():
        rows = []
        for name, samples in clients.items():
            rate = spread([1e6 / time for time in samples["wall"]])
            faster = ratio(clients["http.client, stock"]["wall"],
                           samples["wall"])
            rows.append([name, f"{rate['median']:,.0f}",
                         f"{rate['low']:,.0f}–{rate['high']:,.0f}",
                         f"{faster['median']:.2f}", about(samples["cpu"])])
        yield table([f"GET, 8 fields, {way}", "req/s", "quartiles",
                     "× stock", "CPU"], rows)


def by_number(title, numbers, what, unit="µs", of_numbers=""):
    """Return the table of {number: {client: samples}}."""
    return table([title, *(f"{int(number):,}{of_numbers}"
                           for number in numbers)],
                 [[name, *(about(clients[name][what], unit)
                           for clients in numbers.values())]
                  for name in next(iter(numbers.values()))])


def worth(ways):
    return [by_number(f"time of one, {way}", delays, "wall", "µs", " ms")
            for way, delays in ways.items()]


def growth(told):
    idle, threads = told["idle"], told["threads"]
    return [by_number("CPU of a GET, by requests", told["requests"], "cpu"),
            by_number("CPU of a GET, by fields", told["fields"], "cpu"),
            by_number("time of a GET, by threads", threads, "wall"),
            by_number("CPU, by idle connections", idle, "cpu"),
            by_number("memory of an idle connection", idle, "memory", "B")]


def posts(ways):
    yield table(["POST after idle close by", "stock failed", "twice",
                 "patched failed", "twice"],
                [[label, *(word for side in sides.values() for word in (
                    f"{side['failed']} of {side['tries']}", side["twice"]))]
                 for label, sides in ways.items()])


def notes(results):
    """Yield the lines that the tables need to be understood."""
    yield ("Times are medians, of http.client alone the best; ± and (–) are "
           "quartiles.")
    for name, part in results["parts"].items():
        yield (f"{name}: {part['date']}, {part['rounds']} rounds, "
               f"{part['seconds']} s.")
        for peer, why in part["missing"].items():
            yield f"{peer} was NOT RUN: {why}"
        if part["others"] > BUSY:
            yield (f"WARNING: others used up to {part['others']:.0%} of a "
                   f"processor during {name}; use an idle machine.")


def markdown(results):
    machine = results["machine"]
    tables = {"cost": cost, "peers": peers, "worth": worth, "growth": growth,
              "posts": posts}
    told = [f"CPython {results['version']}, stock and with "
            f"{results['patches']} patches; {machine['cpu']}, "
            f"{machine['cores']} cores, {machine['system']}\n",
            *goals(results)]
    for name, part in results["parts"].items():
        told += tables[name](part["measured"])
    told.append("".join(f"- {note}\n" for note in notes(results)))
    return "\n".join(told)
