"""The results of ./series bench as tables, plain or in Markdown; the goals."""

from typing import Callable, NamedTuple

from bench.lab import ratio, spread
from bench.parts import AHEAD, SIDES

BUSY = 0.1          # of a processor, used by others: not idle
# A row is slower than stock if three quarters of its samples are, by this.
SLOWER = 1.02
HANDLER, PATCHED, STOCK = ("handler, patched", "http.client, patched",
                           "http.client, stock")


class Table(NamedTuple):
    """Rows of words; the first column is left-aligned."""

    heads: list
    rows: list

    def plain(self):
        widths = [max(map(len, column))
                  for column in zip(self.heads, *self.rows)]
        lines = []
        for first, *others in [self.heads, *self.rows]:
            words = [word.rjust(width)
                     for word, width in zip(others, widths[1:])]
            lines.append("  ".join([first.ljust(widths[0]), *words]).rstrip())
        return "\n".join(lines) + "\n"

    def markdown(self):
        rule = ["---"] + ["--:"] * (len(self.heads) - 1)
        return "".join(f"| {' | '.join(row)} |\n"
                       for row in [self.heads, rule, *self.rows])


# Words for figures.

def words(value, unit="µs"):
    if unit != "µs":
        return f"{value:,.0f} {unit}".rstrip()
    return f"{value / 1000:.2f} ms" if value >= 1000 else f"{value:.1f} µs"


def about(samples):
    """Return the median, and how far the quartiles are from it."""
    told = spread(samples)
    away = (told["high"] - told["low"]) / 2 / told["median"]
    return f"{words(told['median'])} ±{away:.0%}"


def ratio_words(told):
    return f"{told['median']:.2f} ({told['low']:.2f}–{told['high']:.2f})"


# Goals.

class Goal(NamedTuple):
    """What the series is to reach."""

    text: str
    part: str
    limit: float
    # Takes what was measured; returns a number or a spread.
    measure: Callable
    at_least: bool = False
    is_firm: bool = False   # it does not depend on how fast a machine is

    def judge(self, measured):
        """Return (what was measured, in words; whether it is met)."""
        told = self.measure(measured)
        if told is None:
            return "not measured", None
        value = told["median"] if isinstance(told, dict) else told
        met = (round(value, 2) >= self.limit if self.at_least
               else round(value, 2) <= self.limit)
        return (ratio_words(told) if isinstance(told, dict)
                else f"{value:,.0f}"), met


def cost_goal(name, limit):
    return Goal(f"library time, beside stock: {name}", "cost", limit,
                lambda rows: next(row["ratio"] for row in rows.values()
                                  if row["label"] == name))


def more_goal(name, text, limit, is_firm=True):
    return Goal(text, "cost", limit,
                lambda rows: rows[name]["patched"] - rows[name]["stock"],
                is_firm=is_firm)


def cpu_goal(ours, theirs, limit, text):
    """Return the Goal of one client's CPU beside another's, without TLS."""
    def measure(told):
        name = find(told["plain"], theirs)
        return name and ratio(told["plain"][ours]["cpu"],
                              told["plain"][name]["cpu"])
    return Goal(text, "peers", limit, measure)


def find(clients, start):
    """Return the name of the client whose name has that form, or None."""
    name, _, ahead = start.partition(", ")
    return next((one for one in clients if one.split()[0] == name
                 and one.partition(", ")[2] == ahead), None)


def requests_per_second(told):
    return ratio(told["plain"][STOCK]["wall"], told["plain"][PATCHED]["wall"])


GOALS = [
    cost_goal("GET, 8 fields", 0.70), cost_goal("GET, 1 field", 0.90),
    cost_goal("POST of 100 bytes", 0.80),
    cost_goal("200 bytes in 1 chunk", 1.05),
    cost_goal("100 kB in reads of 1 kB", 1.05),
    cost_goal("20 MiB, 8 KiB chunks", 1.05),
    cost_goal("20 MiB, 8 KiB chunks, fp", 1.50),
    more_goal("import_time", "import http.client: more µs", 1500, is_firm=False),
    more_goal("calls", "more system calls on a kept connection", 1),
    more_goal("calls_if_new", "more system calls on a new connection", 0),
    more_goal("memory", "more bytes of an idle connection", 0),
    Goal("requests per second of http.client, beside stock", "peers", 1.15,
         requests_per_second, at_least=True),
    cpu_goal(HANDLER, "urllib3", 0.50, "CPU of the handler, beside urllib3"),
    cpu_goal(HANDLER, "aiohttp", 0.80, "CPU of the handler, beside aiohttp"),
    cpu_goal(HANDLER, "httplib2", 0.80, "CPU of the handler, beside httplib2"),
    cpu_goal(f"{PATCHED}, {AHEAD} ahead", f"dugong, {AHEAD} ahead", 0.25,
             "CPU of pipelining, beside dugong"),
    Goal("kinds of idle close that lose or repeat a POST", "posts", 0,
         lambda ways: sum(not sides["patched"]["flawless"]
                          for sides in ways.values()), is_firm=True),
]


def pairs(parts):
    """Yield (label, ratio) of what stock does, too, and has no own goal."""
    if "cost" in parts:
        row = parts["cost"]["measured"]["length"]
        yield row["label"], row["ratio"]
    tables = [(f"{way}, {clock}", clients, clock) for way, clients in
              parts.get("peers", {}).get("measured", {}).items()
              for clock in ("cpu", "wall")]
    tables += [(f"{way}, {delay} ms", clients, "wall") for way, delays in
               parts.get("worth", {}).get("measured", {}).items()
               for delay, clients in delays.items()]
    tables += [(f"{number} fields", clients, "cpu") for number, clients in
               parts.get("growth", {}).get("measured", {"fields": {}})[
                   "fields"].items()]
    for label, clients, clock in tables:
        for name in clients:
            ours = name.replace(", stock", ", patched")
            if ours != name and ours in clients:
                yield (f"{name.removesuffix(', stock')}, {label}",
                       ratio(clients[ours][clock], clients[name][clock]))


def judged(results):
    """Yield (Goal, what was measured, whether it is met)."""
    for goal in GOALS:
        if goal.part in results["parts"]:
            yield goal, *goal.judge(results["parts"][goal.part]["measured"])


def goals(results):
    rows = [[goal.text, f"{'≥' if goal.at_least else '≤'} "
             f"{goal.limit:{'.2f' if isinstance(goal.limit, float) else ','}}",
             told, {True: "yes", False: "NO", None: "-"}[met]]
            for goal, told, met in judged(results)]
    compared = list(pairs(results["parts"]))
    if compared:
        slower = sum(told["low"] > SLOWER for _, told in compared)
        rows.append([f"slower than stock, of {len(compared)} other rows",
                     "≤ 0", f"{slower}", "NO" if slower else "yes"])
    return Table(["goal", "", "measured", "met"], rows)


def slower(results):
    """Return the Table of rows that are slower than stock."""
    return Table(["slower than stock", "ratio"],
                 [[label, ratio_words(told)] for label, told
                  in pairs(results["parts"]) if told["low"] > SLOWER])


def broken(results):
    """Return the goals that are missed, and do not depend on the machine."""
    return [f"{goal.text}: {told}" for goal, told, met in judged(results)
            if goal.is_firm and met is False]


# Tables of the parts.

def cost(rows):
    told = []
    for row in rows.values():
        both = [words(row[side], row["unit"]) for side in SIDES]
        if "ratio" in row:
            told.append([row["label"], *both, ratio_words(row["ratio"])])
        else:
            more = row["patched"] - row["stock"]
            told.append([row["label"], *both, f"{'+-'[more < 0]}"
                         f"{words(abs(more), row['unit'])}"])
    yield Table(["http.client alone, CPU", "stock", "patched",
                 "ratio, more"], told)


def peers(ways):
    for way, clients in ways.items():
        stock = clients[STOCK]
        yield Table(
            [f"GET, 8 fields, {way}", "req/s", "quartiles", "× stock", "CPU"],
            [[name, *_rate(samples["wall"]),
              f"{ratio(stock['wall'], samples['wall'])['median']:.2f}",
              about(samples["cpu"])] for name, samples in clients.items()])


def _rate(samples):
    told = spread([1e6 / time for time in samples])
    return (f"{told['median']:,.0f}", f"{told['low']:,.0f}–"
                                      f"{told['high']:,.0f}")


def worth(ways):
    for way, delays in ways.items():
        names = next(iter(delays.values()))
        yield Table([f"time of one, {way}", *(f"{delay} ms"
                                              for delay in delays)],
                    [[name, *(about(clients[name]["wall"])
                              for clients in delays.values())]
                     for name in names])


GROWTH = {"requests": ("CPU of a GET, by requests before", "cpu"),
          "fields": ("CPU of a GET, by fields", "cpu"),
          "threads": ("wall clock / requests, by threads", "wall")}


def growth(told):
    for what, (title, clock) in GROWTH.items():
        numbers = told[what]
        yield Table([title, *(f"{int(number):,}" for number in numbers)],
                    [[name, *(about(clients[name][clock])
                              for clients in numbers.values())]
                     for name in next(iter(numbers.values()))])
    idle = {number: clients[HANDLER] for number, clients
            in told["idle"].items()}
    yield Table(["handler, by idle connections",
                 *(f"{int(number):,}" for number in idle)],
                [["CPU of a GET", *(words(one["cpu"][0])
                                    for one in idle.values())],
                 ["memory of each", *(words(one["memory"][0], "B")
                                      for one in idle.values())]])


def posts(ways):
    def words_of(side):
        return [f"{side['failed']} of {side['tries']}", str(side["twice"])]
    yield Table(["POST after idle close by", "stock failed", "twice",
                 "patched failed", "twice"],
                [[label, *words_of(sides["stock"]),
                  *words_of(sides["patched"])]
                 for label, sides in ways.items()])


TABLES = {"cost": cost, "peers": peers, "worth": worth, "growth": growth,
          "posts": posts}


def tables(results):
    told = [goals(results)]
    if (rows := slower(results)).rows:
        told.append(rows)
    for name, part in results["parts"].items():
        told += TABLES[name](part["measured"])
    return told


# Notes.

def heading(results):
    machine = results["machine"]
    return (f"CPython {results['version']}, stock and with "
            f"{results['patches']} patches; {machine['cpu']}, "
            f"{machine['cores']} cores, {machine['system']}")


def notes(results):
    """Return the lines that the tables need to be understood."""
    told = ["Times are medians; ± and (–) are quartiles, of ratios those of "
            "turns beside each other.",
            "http.client alone: the best turn, less that of the sockets "
            "(bench/cost.py)."]
    for name, part in results["parts"].items():
        told.append(f"{name}: {part['date']}, {part['rounds']} rounds, "
                    f"{part['seconds']} s.")
        told += [f"{peer} was NOT RUN: {why}"
                 for peer, why in part["missing"].items()]
        if part["others"] > BUSY:
            told.append(f"WARNING: others used up to {part['others']:.0%} of "
                        f"a processor during {name}; measure it again on an "
                        f"idle machine.")
    return told


def plain(results):
    parts = [heading(results) + "\n"]
    parts += [table.plain() for table in tables(results)]
    return "\n".join(parts) + "\n" + "\n".join(notes(results)) + "\n"


def markdown(results):
    parts = [heading(results) + ".\n"]
    parts += [table.markdown() for table in tables(results)]
    return "\n".join(parts) + "\n" + "".join(f"- {note}\n"
                                             for note in notes(results))
