"""Figures: legible whatever the run, true to their charts, literal in their words."""

import warnings

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from factorysim.metrics.inputs import Window
from factorysim.report.figures.energy import energy_figure
from factorysim.report.figures.latency import latency_figure, tail_figure
from factorysim.report.figures.over_time import over_time_figure
from factorysim.report.figures.paired import paired_figure
from factorysim.report.figures.pools import pools_figure
from factorysim.report.figures.saving import KINDS, as_bytes
from factorysim.report.figures.time_shares import time_shares_figure
from tests.unit.report.figures.builders import (
    HOSTILE,
    LONG,
    MANY,
    WINDOW,
    assert_legible,
    bars,
    latencies,
    legend,
    none_ended,
    pairs,
    rungs,
    shares,
    times,
    told,
    words,
)

WHY = (("fetching KV", "HBM is the only tier of the KV cache"),)
WIDE = ((14.5, 23.0), (-0.3, 0.01), (4.8, 1.5))
CASES = {
    "latency": lambda w: latency_figure(latencies(), w),
    "latency of one": lambda w: latency_figure(latencies(("code",)), w),
    "latency of twelve": lambda w: latency_figure(latencies(MANY, censored=3), w),
    "latency of more": lambda w: latency_figure(latencies((*MANY, "last")), w),
    "latency of hostile names": lambda w: latency_figure(latencies(HOSTILE, censored=5), w),
    "latency of long names": lambda w: latency_figure(latencies(LONG, limits=(1.0, 2.0, 3.0)), w),
    "latency of one call": lambda w: latency_figure(latencies(("code",), n=1), w),
    "latency within a little": lambda w: latency_figure(latencies(low=0.010, high=0.012), w),
    "latency over days": lambda w: latency_figure(latencies(low=1e-4, high=1e6), w),
    "latency over hours": lambda w: latency_figure(latencies(low=3e3, high=2e4), w),
    "no latency": lambda w: latency_figure(none_ended(), w),
    "tail": lambda w: tail_figure(latencies(censored=40), w),
    "tail of one call": lambda w: tail_figure(latencies(("code",), n=1), w),
    "tail of twelve": lambda w: tail_figure(latencies(MANY, n=20_000), w),
    "over time": lambda w: over_time_figure(times(), WINDOW, w),
    "once over time": lambda w: over_time_figure(times(replications=1), WINDOW, w),
    "twenty over time": lambda w: over_time_figure(times(MANY + MANY[:8]), WINDOW, w),
    "nothing waits": lambda w: over_time_figure(times(height=0.0), WINDOW, w),
    "near its limit": lambda w: over_time_figure(times(most=20.0), WINDOW, w),
    "far from its limit": lambda w: over_time_figure(times(most=1024.0), WINDOW, w),
    "hostile over time": lambda w: over_time_figure(times(HOSTILE, most=40.0), WINDOW, w),
    "power": lambda w: over_time_figure(times(height=9e5, unit="W"), WINDOW, w),
    "no series": lambda w: over_time_figure(times(())._replace(reason="no tool ran"), WINDOW, w),
    "shares": lambda w: time_shares_figure(shares(withheld=WHY), w),
    "shares of one": lambda w: time_shares_figure(shares(("code",), gap=0.0), w),
    "shares of twelve": lambda w: time_shares_figure(shares(MANY), w),
    "hostile shares": lambda w: time_shares_figure(shares(HOSTILE + LONG), w),
    "gaps alone": lambda w: time_shares_figure(shares(gap=1.0), w),
    "energy": lambda w: energy_figure(rungs(), w),
    "energy once": lambda w: energy_figure(rungs(None, None), w),
    "no energy": lambda w: energy_figure([r._replace(joules=None) for r in rungs()], w),
    "pools": lambda w: pools_figure(bars(), w),
    "eight pools": lambda w: pools_figure(bars(MANY[:8], reason="no peak is known"), w),
    "hostile pools": lambda w: pools_figure(bars(HOSTILE), w),
    "paired": lambda w: paired_figure(pairs(withheld=WHY), w),
    "paired far apart": lambda w: paired_figure(pairs(WIDE), w),
    "paired once": lambda w: paired_figure(pairs(((0.1, None), (-0.02, None))), w),
    "paired the same": lambda w: paired_figure(pairs(((0.0, 0.0),)), w),
    "paired hostile": lambda w: paired_figure(pairs(a=HOSTILE[0], b=LONG[0]), w),
    "paired nothing": lambda w: paired_figure(pairs((), withheld=WHY), w),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that is missing, a layout that collapses
        yield


@pytest.mark.parametrize(
    ("name", "width"),
    [*((name, "column") for name in CASES), *((name, "page") for name in list(CASES)[::4])],
)
def test_every_word_is_on_the_paper_and_none_on_another(name, width):
    figure = CASES[name](width)
    assert_legible(figure)
    assert figure.get_size_inches()[0] == {"column": 3.5, "page": 7.0}[width]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True))
@example(["\U0008e9b7U", "000000Èñÿ\uc2ab", "¯\x1b", "W" * 99])
@settings(max_examples=6, deadline=None, phases=(Phase.explicit, Phase.generate))
def test_any_name_is_drawn(names):
    figure = latency_figure(latencies(names, censored=2))
    assert_legible(figure)


def test_names_are_literal():
    said = legend(latency_figure(latencies(HOSTILE, limits=(None,))))
    expected = ["$x_1^2$", "a_b$", "new\\nline", "\\x1b[31mred", "\\u202egnol"]
    assert said[:5] == expected
    assert said[5].startswith("\\u0639\\u0631")
    assert said[6] == "\\u6f22\\u5b57"


def test_names_in_an_svg_are_text_and_escaped():
    svg = as_bytes(latency_figure(latencies(HOSTILE, limits=(None,))), "svg").decode()
    assert ">$x_1^2$</text>" in svg
    assert "&lt;/text&gt;&amp;</text>" in svg
    assert "\x1b" not in svg
    assert "\u202e" not in svg


def test_curves_are_those_of_the_chart():
    chart = latencies(censored=30)
    axes = latency_figure(chart).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert len(lines) == len(chart.curves)
    for line, one in zip(lines, chart.curves, strict=True):
        np.testing.assert_allclose(line.get_xdata()[1:], one.curve.value)
        np.testing.assert_allclose(line.get_ydata()[1:], 100 * one.curve.share)


def test_the_tail_is_what_is_left_of_the_curve():
    chart = latencies(("code",))
    line = tail_figure(chart).axes[0].lines[0]
    share = 100 * (1 - chart.curves[0].curve.share[:-1])
    np.testing.assert_allclose(line.get_ydata(), [100.0, *share])


def test_limits_are_drawn_where_they_are_and_told_once():
    figure = latency_figure(latencies(("a", "b", "c"), limits=(2.0, 5.0, 2.0)))
    at = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "v"]
    assert sorted(at) == [2.0, 5.0]
    assert legend(figure)[3:] == ["SLO of a, c: 2.00 s", "SLO of b: 5.00 s"]


def test_who_had_not_ended_is_told_and_marked():
    figure = latency_figure(latencies(censored=30))
    assert legend(figure)[1] == "chat (30 of 530 had not ended)"
    marks = [line for line in figure.axes[0].lines if line.get_marker() == ">"]
    assert [line.get_ydata()[0] for line in marks] == [pytest.approx(100 * 500 / 530)]


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [
        (1e-3, 2e-2, "Time to first token (TTFT, ms)"),
        (0.01, 30.0, "Time to first token (TTFT, s)"),
        (0.01, 3e4, "Time to first token (TTFT, s)"),
        (4e3, 2e4, "Time to first token (TTFT, h)"),
    ],
)
def test_units_suit_the_values(low, high, label):
    chart = latencies(low=low, high=high, limits=(None,))
    axes = latency_figure(chart).axes[0]
    assert axes.get_xlabel() == label
    assert axes.get_ylabel() == "Calls (%)"


def test_lines_over_time_are_means_and_bands_ranges():
    chart = times(height=9e5, unit="W")
    axes = over_time_figure(chart, WINDOW).axes[0]
    assert axes.get_ylabel().replace("\n", " ") == "Waiting, by deployment (MW)"
    assert axes.get_xlabel() == "Time from the start (min)"
    for line, band, one in zip(axes.lines, axes.collections, chart.series, strict=True):
        np.testing.assert_allclose(line.get_ydata() * 1e6, one.mean)
        high = band.get_paths()[0].vertices[:, 1].max()
        assert high * 1e6 == pytest.approx(one.values.max())


def test_what_is_not_measured_is_shaded():
    figure = over_time_figure(times(), Window(60.0, 480.0))
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in figure.axes[0].patches]
    assert spans == [(0.0, pytest.approx(1.0)), (pytest.approx(8.0), pytest.approx(10.0))]
    assert legend(figure)[-1] == "not measured"
    assert "not measured" not in legend(over_time_figure(times(), Window(0.0, 600.0)))


def test_a_near_limit_is_a_line_and_a_far_one_a_note():
    near = over_time_figure(times(("serve",), most=20.0), WINDOW)
    assert near.axes[0].lines[-1].get_ydata()[0] == 20.0
    assert "serve, at the most: 20" in legend(near)
    far = over_time_figure(times(("serve",), most=1024.0), WINDOW)
    assert "serve: at most 1,024, far above what is drawn" in told(far)


def test_what_is_nought_all_the_time_is_told():
    assert "0 all the time: serve, tools" in told(over_time_figure(times(height=0.0), WINDOW))
    assert "0 all the time" not in told(over_time_figure(times(), WINDOW))


def test_one_replication_has_no_band():
    figure = over_time_figure(times(replications=1), WINDOW)
    assert not figure.axes[0].collections
    assert "replications" not in told(figure)


def test_bars_are_the_shares_without_gaps():
    chart = shares(("code", "chat"), gap=0.4, withheld=WHY)
    figure = time_shares_figure(chart)
    bars_of = figure.axes[0].containers
    assert [container.get_label() for container in bars_of] == legend(figure)
    for container, share in zip(bars_of, chart.bars[1].without_gaps.values(), strict=True):
        assert container[1].get_width() == pytest.approx(100 * share)
    assert sum(container[1].get_width() for container in bars_of) == pytest.approx(100.0)
    assert "40.0 %" in told(figure)
    assert "Not told: fetching KV (HBM is the only tier" in told(figure)


def test_kinds_of_time_differ_in_colour_or_hatch():
    looks = {
        (to_hex(c[0].get_facecolor()), c[0].get_hatch())
        for c in time_shares_figure(shares()).axes[0].containers
    }
    assert len(looks) == 8


def test_rungs_stand_on_the_ones_before():
    figure = energy_figure(rungs())
    ends = {p.get_y() + 0.36: p.get_x() + p.get_width() for p in figure.axes[0].patches}
    assert [ends[row] for row in sorted(ends)] == pytest.approx([2.0, 30.0, 32.0, 35.0])
    spans = [line.get_xdata() for line in figure.axes[0].lines]
    assert [tuple(span) for span in spans] == [
        (pytest.approx(0.9 * j), pytest.approx(1.1 * j)) for j in (2.0, 30.0, 32.0, 35.0)
    ]
    assert "electrical chain: the electrical chain is not modelled" in told(figure)
    assert "Energy per output token (J/token)" in told(figure)


def test_bars_of_pools_are_their_shares():
    figure = pools_figure(bars(reason="no peak is known"))
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths == pytest.approx([97.0, 40.0, 20.0] * 2)
    assert "MFU of nvl72, nvl72.cpu: no peak is known" in told(figure)
    assert "97.0 %" in told(figure)


def test_an_interval_over_all_of_a_pool_ends_with_it():
    ends = [line.get_xdata()[1] for line in pools_figure(bars()).axes[0].lines]
    assert max(ends) == 100.0


def test_differences_are_those_of_the_chart():
    axes = paired_figure(pairs(((0.1, 0.05), (-0.2, 0.3)))).axes[0]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [float(p.get_xdata()[0]) for p in points] == pytest.approx([10.0, -20.0])
    assert [to_hex(p.get_markerfacecolor()) for p in points] == ["#0072b2", "#ffffff"]
    spans = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2][1:]
    assert spans[0] == pytest.approx([5.0, 15.0])
    assert axes.get_xlabel() == "open less closed (% of closed)"


def test_differences_far_apart_are_ratios_and_an_interval_below_nought_goes_on():
    axes = paired_figure(pairs(WIDE)).axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "open / closed"
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [float(p.get_xdata()[0]) for p in points] == pytest.approx([15.5, 0.7, 5.8])
    assert [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "<"] == [0]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no latency", "none of 7 measured sessions had ended"),
        ("no series", "no tool ran"),
        ("gaps alone", "users' gaps are all of it"),
        ("no energy", "the electrical chain is not modelled"),
        ("paired nothing", "HBM is the only tier of the KV cache"),
    ],
)
def test_a_chart_of_nothing_says_why(name, why):
    figure = CASES[name]("column")
    assert f"Not drawn: {why}" in told(figure)
    assert not figure.axes[0].axison
    assert not figure.axes[0].lines


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_chart_gives_the_same_bytes(kind):
    first, second = (as_bytes(CASES["hostile over time"]("column"), kind) for _ in range(2))
    assert first == second


def test_settings_of_the_user_change_nothing():
    import matplotlib

    before = as_bytes(CASES["latency"]("column"), "svg")
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.grid": True}):
        assert as_bytes(CASES["latency"]("column"), "svg") == before


def test_type_in_a_pdf_is_truetype():
    pdf = as_bytes(CASES["latency"]("column"), "pdf")
    assert b"/Type0" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


def test_words_of_a_figure_are_told_whole():
    assert any(text == "Calls (%)" for text, _ in words(CASES["latency"]("column")))
