"""Charts to draw, and where their words stand on the paper."""

from itertools import combinations

import numpy as np

from factorysim.metrics.curves import Curve, empirical
from factorysim.metrics.inputs import Window
from factorysim.metrics.summary import Line
from factorysim.report.charts.energy import Rung
from factorysim.report.charts.latency import LatencyChart, StreamCurve
from factorysim.report.charts.over_time import Series, TimeChart
from factorysim.report.charts.paired import Difference, PairedChart
from factorysim.report.charts.pools import MEASURES, PoolBar
from factorysim.report.charts.time_shares import ALL, Bar, TimeShares
from factorysim.report.terminal import SHARES

HOSTILE = ("$x_1^2$", "a_b$", "new\nline", "\x1b[31mred", "\u202egnol", "عربي", "漢字", "</text>&")
LONG = tuple(f"{'stream-with-a-very-long-name' * 3}-{n}" for n in range(3))
MANY = tuple(f"stream-{n}" for n in range(12))
WINDOW = Window(60.0, 480.0)


def latencies(names=("code", "chat"), censored=0, limits=(2.0,), low=0.01, high=30.0, n=500):
    curves = []
    for number, name in enumerate(names):
        known = np.geomspace(low, high, n) * (1 + number / 7)
        limit = limits[number % len(limits)]
        curves.append(StreamCurve(name, empirical(known, censored * number), limit))
    return LatencyChart("ttft_s", "Time to first token (TTFT)", "s", tuple(curves))


def none_ended(n=7):
    curve = Curve(np.zeros(0), np.zeros(0), n, n)
    return LatencyChart("turn_s", "Longest turn", "s", (StreamCurve("code", curve, None),))


def times(names=("serve", "tools"), replications=3, height=10.0, most=None, unit="", bins=60):
    rng = np.random.default_rng(1)
    series = [
        Series(name, height * rng.random((replications, bins)) * (1 + number), most)
        for number, name in enumerate(names)
    ]
    edges = np.linspace(0.0, 600.0, bins + 1)
    return TimeChart("queue", "Waiting, by deployment", unit, edges, tuple(series), "")


def shares(names=("code", "chat"), gap=0.4, withheld=()):
    kinds = [kind for kind in SHARES if kind != "gap"]
    weights = np.arange(1.0, len(kinds) + 1)
    parts = {k: float(w) for k, w in zip(kinds, (1 - gap) * weights / weights.sum(), strict=True)}
    bars = [Bar(name, {**parts, "gap": gap}) for name in (ALL, *names)]
    return TimeShares(tuple(bars), SHARES, "", withheld)


def rungs(low=0.9, high=1.1, reason="the electrical chain is not modelled"):
    told = [("accelerators in steps", 2.0), ("+ busy hosts, rest of racks", 30.0)]
    told += [("+ waiting for work: all racks", 32.0), ("x PUE: facility", 35.0)]
    found = [
        Rung(text, text, joules, low and low * joules, high and high * joules, "")
        for text, joules in told
    ]
    return [*found[:3], Rung("electrical", "electrical chain", None, None, None, reason), found[3]]


def bars(pools=("nvl72", "nvl72.cpu"), reason=None):
    values = (0.97, 0.4, 0.01, 0.2)
    return [
        PoolBar(pool, measure, Line(None, None, None, 0, reason))
        if reason and measure == "mfu"
        else PoolBar(pool, measure, Line(value, 0.9 * value, 1.1 * value, 3, None))
        for pool in pools
        for measure, value in zip(MEASURES, values, strict=True)
    ]


def pairs(values=((0.1, 0.05), (-0.2, 0.3)), a="closed", b="open", withheld=()):
    found = tuple(
        Difference(f"m{n}", f"output tokens made{', per device' * (n % 2)}", share,
                   None if half is None else share - half, None if half is None else share + half)
        for n, (share, half) in enumerate(values)
    )  # fmt: skip
    return PairedChart(a, b, found, withheld)


def words(figure):
    """Every text that the paper shows, and its box in pixels."""
    renderer = figure.canvas.get_renderer()
    found = list(figure.texts)
    for axes in [other for one in figure.axes for other in (one, *one.child_axes)]:
        found += axes.texts
        for axis in (axes.xaxis, axes.yaxis):
            if axes.axison and axis.get_visible():
                ticks = axis._update_ticks()  # those inside the axes; there is no public way
                found += [axis.label, *(t for tick in ticks for t in (tick.label1, tick.label2))]
    found += [text for legend in figure.legends for text in legend.get_texts()]
    shown = [text for text in found if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in shown]


def assert_legible(figure):
    """No word lies on another, or off the paper; none of the legend on the axes."""
    told = words(figure)
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in told:
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert inside, f"{text!r} is off the paper: {box}, {width} x {height}"
    for (one, box), (other, its) in combinations(told, 2):
        wide = min(box.x1, its.x1) - max(box.x0, its.x0)
        high = min(box.y1, its.y1) - max(box.y0, its.y0)
        assert wide <= 1 or high <= 1, f"{one!r} lies on {other!r}"
    for legend in figure.legends:
        top = figure.axes[0].get_window_extent().y1
        assert all(t.get_window_extent().y0 >= top for t in legend.get_texts())


def legend(figure):
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def told(figure):
    return " ".join(text for text, _ in words(figure))
