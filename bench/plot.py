"""Draw the results of ./series bench.

Usage: plot.py PACKAGES RESULTS.json PLOT.svg, PACKAGES being the folder that
matplotlib is imported from.
"""

import json
import sys

COLOUR = "#3b6ea5"


def bars(axes, labels, values, spreads):
    """Draw values as bars, with quartiles, which may lie to one side."""
    errors = [[max(0, value - one["low"])
               for value, one in zip(values, spreads)],
              [max(0, one["high"] - value)
               for value, one in zip(values, spreads)]]
    axes.barh(labels, values, 0.6, xerr=errors, color=COLOUR,
              error_kw={"ecolor": "#444", "capsize": 2})


def draw_ratios(axes, rows):
    rows = [row for row in rows if "ratio" in row]
    labels = [row["label"] for row in rows]
    bars(axes, labels, [row["ratio"] for row in rows], rows)
    axes.plot([row["aim"] for row in rows], labels, "|", color="#b03030",
              markersize=14, label="aim")
    axes.axvline(1, color="#444", linewidth=1)
    axes.set_title("CPU of http.client, patched / stock")
    axes.legend(frameon=False)


def draw_peers(axes, peers):
    labels = [f"{name} {told['version'] or ''}".strip()
              for name, told in peers.items()]
    times = [told["cpu"]["time"] for told in peers.values()]
    bars(axes, labels, [time["median"] for time in times], times)
    axes.set_title("CPU of a GET over loopback, in µs")


def main(packages, results, picture):
    sys.path.insert(0, packages)
    import matplotlib
    matplotlib.use("svg")
    # The same picture from the same numbers, and text that can be searched.
    matplotlib.rcParams.update({"svg.hashsalt": "series", "font.size": 9,
                                "svg.fonttype": "none"})
    from matplotlib import pyplot
    with open(results, encoding="utf-8") as file:
        told = json.load(file)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9.5, 3.7))
    draw_ratios(left, told["cost"][told["line"]])
    draw_peers(right, told["peers"]["plain"])
    for axes in left, right:
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"CPython {told['version']}, one kept connection; with "
                    f"quartiles")
    figure.tight_layout()
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
