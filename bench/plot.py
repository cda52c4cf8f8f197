"""Draw the results of ./series bench, as far as they have been measured.

Usage: plot.py PACKAGES RESULTS.json

PACKAGES is the folder that matplotlib is imported from.
"""

import json
import statistics
import sys
from pathlib import Path

COLOURS = {"stock": "#8c8c8c", "patched": "#2f6db3", "handler": "#d1702b",
           "1": "#2f6db3", "10": "#d1702b", "50": "#5a9367"}
HEIGHT = 0.38       # of a bar
CPU, TIME, RATE = "CPU of a GET, µs", "time, ms", "requests per second"


def lines(axes, title, series, x, y, ticks=None):
    """Draw {name: {x: y}} from zero; *ticks*: {x: label}, logarithmic."""
    for name, points in series.items():
        colour = next(value for key, value in reversed(COLOURS.items())
                      if key in name.replace(",", "").split())
        axes.plot(list(points), list(points.values()), "o-", markersize=4,
                  color=colour, label=name)
    if ticks is None:
        axes.set_xlim(left=0)
    else:
        axes.set_xscale("log")
        axes.set_xticks(list(ticks), ticks.values())
        axes.minorticks_off()
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.legend(frameon=False, fontsize=8)


def series(numbers, unit, names=None):
    """Return {label: {number: median}}."""
    clients = next(iter(numbers.values()))
    return {label: {int(number): median(clients[name], unit)
                    for number, clients in numbers.items()}
            for label, name in (names or dict(zip(clients, clients))).items()}


def median(samples, unit):
    value = statistics.median(samples["cpu" if unit == CPU else "wall"])
    return {CPU: value, TIME: value / 1000, RATE: 1e6 / value}[unit]


def pairs_of_bars(axes, rows, title):
    """Draw {label: [(value, low, high, text) of stock, of patched]}."""
    for side, by, bars in zip(("stock", "patched"), (-0.5, 0.5),
                              zip(*rows.values())):
        values, lows, highs, texts = zip(*bars)
        errors = [[abs(value - end) for value, end in zip(values, ends)]
                  for ends in (lows, highs)]
        drawn = axes.barh([at + by * HEIGHT for at in range(len(rows))],
                          values, HEIGHT, xerr=errors, label=side,
                          color=COLOURS[side])
        axes.bar_label(drawn, texts, padding=5, fontsize=8)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_title(title)


def draw_gain(pyplot, told):
    """Requests per second, and POSTs that fail."""
    def bar(samples, by=""):
        rates = [1e6 / time for time in samples["wall"]] * 2
        low, value, high = statistics.quantiles(rates)
        return value, low, high, f"{value:,.0f}{by}"
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    rows = {}
    for way, clients in told["peers"].items():
        rows[f"http.client,\n{way}"] = [bar(clients["http.client, stock"]),
                                        bar(clients["http.client, patched"])]
        rows[f"urllib.request,\n{way}"] = [
            bar(clients["urlopen(), stock"], ", urlopen()"),
            bar(clients["handler, patched"], ", the handler")]
    pairs_of_bars(left, rows, "GET requests per second, with quartiles")
    left.set_xlim(0, left.get_xlim()[1] * 1.35)
    rows = {label: [(*[side["failed"]] * 3, side["failed"])
                    for side in sides.values()]
            for label, sides in told["posts"].items()}
    tries = told["posts"]["FIN"]["stock"]["tries"]
    pairs_of_bars(right, rows,
                  f"Failed POSTs, of {tries} after each kind of idle close")
    right.set_xlim(0, tries * 1.15)
    right.set_xticks(range(0, tries + 1, max(1, tries // 5)))
    figure.legend(*left.get_legend_handles_labels(), frameon=False, ncols=2,
                  loc="upper left")
    return figure


def draw_trips(pyplot, told):
    """What reuse is worth, by round trip."""
    delays = told["worth"]["TLS 1.3"]
    figure, (one, chain, ahead) = pyplot.subplots(1, 3, figsize=(11, 3.8))
    at = "round trip, ms (TLS 1.3)", TIME
    lines(one, "A GET", series(delays, TIME, {
        "urlopen(), stock": "urlopen(), stock",
        "handler": "handler, patched"}), *at)
    lines(chain, "A GET with 3 redirects", series(delays, TIME, {
        "urlopen(), stock": "3 redirects, stock",
        "urlopen(), patched": "3 redirects, patched",
        "handler": "3 redirects, handler"}), *at)
    lines(ahead, "Pipelining", {f"{delay} ms of round trip": {
        int(name.split()[-1]): median(samples, RATE)
        for name, samples in clients.items() if name.startswith("pipelining")}
        for delay, clients in delays.items() if delay != "0"},
        "requests sent ahead (TLS 1.3)", RATE)
    return figure


def draw_growth(pyplot, told):
    """How cost grows."""
    growth = told["growth"]
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7))
    ticks = {what: {int(number): f"{int(number):,}" for number in growth[what]}
             for what in ("requests", "idle")}
    for number, clients in growth["idle"].items():
        memory, = clients["handler, patched"]["memory"]
        ticks["idle"][int(number)] += f"\n({memory / 1000:.1f} kB each)"
    for each, what, x, unit in zip(
            axes.flat, ("requests", "fields", "idle", "threads"),
            ("requests on one connection", "fields of a response",
             "idle connections (memory: the handler's)", "threads"),
            (CPU, CPU, CPU, RATE)):
        lines(each, "", series(growth[what], unit), x, unit, ticks.get(what))
    return figure


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
    for suffix, draw, needs in (("", draw_gain, {"peers", "posts"}),
                                ("-trips", draw_trips, {"worth"}),
                                ("-growth", draw_growth, {"growth"})):
        if needs <= measured.keys():
            figure = draw(pyplot, measured)
            figure.suptitle(f"CPython {told['version']}, "
                            f"{told['machine']['cpu']}", fontsize=9)
            figure.tight_layout()
            figure.savefig(results.with_name(f"{results.stem}{suffix}.svg"),
                           facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
