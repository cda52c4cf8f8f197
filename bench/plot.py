"""Draw the results of ./series bench, as far as they have been measured.

Usage: plot.py PACKAGES RESULTS.json, PACKAGES being the folder that
matplotlib is imported from.  RESULTS.svg, RESULTS-trips.svg and
RESULTS-growth.svg are written.
"""

import json
import statistics
import sys
from pathlib import Path

COLOURS = {"stock": "#8c8c8c", "patched": "#2f6db3", "handler": "#d1702b",
           "1": "#2f6db3", "10": "#d1702b", "50": "#5a9367"}
HEIGHT = 0.38       # of a bar


def colour_of(name):
    return COLOURS["handler" if name.startswith("handler") or name.endswith(
        "handler") else name.rpartition(", ")[2]]


def median(samples, clock="wall"):
    return statistics.median(samples[clock])


def lines(axes, series):
    """Draw {name: {x: y}} from zero."""
    for name, points in series.items():
        axes.plot(list(points), list(points.values()), marker="o",
                  markersize=4, color=colour_of(name), label=name)
    axes.set_ylim(bottom=0)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.05)
    axes.legend(frameon=False, fontsize=8)


def numbers(axes, labels, scale="log"):
    """Let the x axis show {number: label}."""
    axes.set_xscale(scale)
    axes.set_xticks(list(labels), labels.values())
    axes.minorticks_off()


# What it gives: requests per second, and POSTs that fail.

def pairs_of_bars(axes, rows):
    """Draw {label: ((value, text, samples) of stock, of patched)}."""
    most = max(value for row in rows.values() for value, _, _ in row)
    for at, row in enumerate(rows.values()):
        for side, (value, text, samples), by in zip(
                ("stock", "patched"), row, (-1, 1)):
            y = at + by * HEIGHT / 2
            axes.barh(y, value, HEIGHT, color=COLOURS[side],
                      label=side if at == 0 else None)
            low, high = quartiles(samples) if samples else (value, value)
            axes.plot([low, high], [y, y], color="black", linewidth=1)
            axes.text(max(value, high) + most * 0.015, y, text, va="center",
                      fontsize=8)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlim(0, most * 1.3)
    axes.legend(frameon=False, loc="lower right")


def quartiles(samples):
    if len(samples) == 1:
        return samples * 2
    low, _, high = statistics.quantiles(samples, method="inclusive")
    return low, high


def draw_rates(axes, ways):
    def bar(name, by=""):
        rates = [1e6 / time for time in clients[name]["wall"]]
        rate = statistics.median(rates)
        return rate, f"{rate:,.0f}{by}", rates
    rows = {}
    for way, clients in ways.items():
        rows[f"http.client,\n{way}"] = (bar("http.client, stock"),
                                        bar("http.client, patched"))
        rows[f"urllib.request,\n{way}"] = (
            bar("urlopen(), stock", ", urlopen()"),
            bar("handler, patched", ", the handler"))
    pairs_of_bars(axes, rows)
    axes.set_title("GET requests per second, with quartiles")


def draw_posts(axes, ways):
    tries = next(iter(ways.values()))["stock"]["tries"]
    pairs_of_bars(axes, {label: [
        (sides[side]["failed"], f"{sides[side]['failed']}", None)
        for side in ("stock", "patched")] for label, sides in ways.items()})
    axes.set_title(f"Failed POSTs, of {tries} after each kind of idle close")
    axes.set_xticks(range(0, tries + 1, max(1, tries // 5)))


def draw_gain(pyplot, told):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    draw_rates(left, told["peers"])
    draw_posts(right, told["posts"])
    return figure


# What reuse is worth: round trips.

def by_delay(delays, names):
    return {label: {int(delay): median(clients[name]) / 1000
                    for delay, clients in delays.items()}
            for label, name in names.items()}


def draw_trips(pyplot, told):
    figure, (one, chain, ahead) = pyplot.subplots(1, 3, figsize=(11, 3.8))
    delays = told["worth"]["TLS 1.3"]
    lines(one, by_delay(delays, {
        "urlopen(), stock": "urlopen(), stock",
        "handler": "handler, patched"}))
    one.set_title("A GET")
    lines(chain, by_delay(delays, {
        "urlopen(), stock": "3 redirects, stock",
        "urlopen(), patched": "3 redirects, patched",
        "handler": "3 redirects, handler"}))
    chain.set_title("A GET with 3 redirects")
    for axes in one, chain:
        axes.set_xlim(left=0)
        axes.set_xlabel("round trip, ms (TLS 1.3)")
        axes.set_ylabel("time, ms")
    depths = {name: int(name.split()[-1]) for name in next(iter(
        delays.values())) if name.startswith("pipelining")}
    lines(ahead, {f"round trip of {delay} ms, {delay}": {
        depth: 1e6 / median(clients[name]) for name, depth in depths.items()}
        for delay, clients in delays.items() if delay != "0"})
    ahead.legend([line.get_label().rpartition(", ")[0]
                  for line in ahead.lines], frameon=False, fontsize=8)
    ahead.set_title("Pipelining")
    ahead.set_xlim(left=0)
    ahead.set_xlabel("requests sent ahead (TLS 1.3)")
    ahead.set_ylabel("requests per second")
    return figure


# How cost grows.

def by_number(numbers, clock):
    names = next(iter(numbers.values()))
    return {name: {int(number): median(clients[name], clock)
                   for number, clients in numbers.items()} for name in names}


def draw_growth(pyplot, told):
    growth = told["growth"]
    figure, ((requests, fields), (idle, threads)) = pyplot.subplots(
        2, 2, figsize=(10, 7))
    lines(requests, by_number(growth["requests"], "cpu"))
    requests.set_xlabel("requests on one connection")
    lines(fields, by_number(growth["fields"], "cpu"))
    fields.set_xlabel("fields of a response")
    fields.set_xlim(left=0)
    lines(idle, by_number(growth["idle"], "cpu"))
    idle.set_xlabel("idle connections to as many servers")
    for axes in requests, fields, idle:
        axes.set_ylabel("CPU of a GET, µs")
    lines(threads, {name: {number: 1e6 / time
                           for number, time in points.items()}
                    for name, points in by_number(growth["threads"],
                                                  "wall").items()})
    threads.set_xlabel("threads")
    threads.set_ylabel("requests per second, of all")
    threads.set_xlim(left=0)
    numbers(requests, {int(number): f"{int(number):,}"
                       for number in growth["requests"]})
    numbers(threads, {int(number): number for number in growth["threads"]},
            "linear")
    numbers(idle, {int(number): f"{int(number):,}\n({memory / 1000:.1f} kB "
                   f"each)" for number, clients in growth["idle"].items()
                   for memory in clients["handler, patched"]["memory"]})
    return figure


PLOTS = {"": (draw_gain, {"peers", "posts"}),
         "-trips": (draw_trips, {"worth"}),
         "-growth": (draw_growth, {"growth"})}


def main(packages, results):
    sys.path.insert(0, packages)
    import matplotlib
    matplotlib.use("svg")
    # The same picture from the same numbers, with any reader's fonts.
    matplotlib.rcParams.update({
        "svg.hashsalt": "series", "svg.fonttype": "path", "font.size": 9,
        "axes.titlesize": 10, "axes.spines.top": False,
        "axes.spines.right": False})
    from matplotlib import pyplot
    results = Path(results)
    told = json.loads(results.read_text("utf-8"))
    measured = {name: part["measured"]
                for name, part in told["parts"].items()}
    for suffix, (draw, needs) in PLOTS.items():
        if not needs <= measured.keys():
            continue
        figure = draw(pyplot, measured)
        machine = told["machine"]
        figure.suptitle(f"CPython {told['version']}, {machine['cpu']}, "
                        f"{machine['cores']} cores", fontsize=9)
        figure.tight_layout()
        figure.savefig(results.with_name(f"{results.stem}{suffix}.svg"),
                       facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
