"""Draw the results of ./series bench.

Usage: plot.py PACKAGES RESULTS.json PLOT.svg, PACKAGES being the folder that
matplotlib is imported from.
"""

import json
import sys

CASES = {"GET": "GET, 8 fields", "POST": "POST 100 bytes",
         "tiny": "GET, 1 field", "length": "20 MiB by length",
         "chunked": "20 MiB chunked"}
COLOURS = {"cpu": "#3b6ea5", "wall": "#c2c8d0"}


def bars(axes, labels, spreads, offset, height, **kwargs):
    """Draw medians as bars, with their quartiles."""
    medians = [one["median"] for one in spreads]
    errors = [[one["median"] - one["low"] for one in spreads],
              [one["high"] - one["median"] for one in spreads]]
    places = [number + offset for number in range(len(labels))]
    axes.barh(places, medians, height, xerr=errors,
              error_kw={"ecolor": "#444", "capsize": 2}, **kwargs)
    axes.set_yticks(range(len(labels)), labels)


def draw_ratios(axes, requests):
    for offset, clock in ((-0.2, "cpu"), (0.2, "wall")):
        bars(axes, CASES.values(),
             [requests[case][clock]["ratio"] for case in CASES], offset, 0.4,
             color=COLOURS[clock],
             label={"cpu": "CPU", "wall": "wall clock"}[clock])
    axes.axvline(1, color="#444", linewidth=1)
    axes.set_title("time of patched / time of stock")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2,
                frameon=False)


def draw_peers(axes, peers):
    labels = [f"{name} {told['version'] or ''}".strip()
              for name, told in peers.items()]
    bars(axes, labels, [told["cpu"]["time"] for told in peers.values()], 0,
         0.6, color=COLOURS["cpu"])
    axes.set_title("CPU of the same GET, in µs")


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
    draw_ratios(left, told["requests"])
    draw_peers(right, told["peers"])
    for axes in left, right:
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"CPython {told['version']}, one kept connection on "
                    f"loopback; medians and quartiles")
    figure.tight_layout()
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
