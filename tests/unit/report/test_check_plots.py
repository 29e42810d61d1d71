"""Where points of a check's figures stand, worked out by hand."""

from math import log2, log10

import pytest

from factorysim.report import check_plots as plots
from factorysim.report.check_plots import scatter, strips
from factorysim.study.measured.compare import Compared


def row(expected, got, engine="vllm"):
    return Compared("a", 2, "tpot_ms", expected, got, got / expected - 1, "", (), engine=engine)


def drawn(rows):
    return scatter(rows, {"vllm": 0, "sglang": 1}, lambda one: one.id)


def test_a_right_prediction_stands_on_the_diagonal():
    """Axes from 10 to 1,000; 100 is in their middle."""
    figure = drawn([row(20.0, 20.0), row(100.0, 100.0), row(500.0, 500.0)])
    middle = figure.dots[1]
    assert middle.x == pytest.approx((plots.LEFT + plots.RIGHT) / 2, abs=0.1)
    assert middle.y == pytest.approx((plots.TOP + plots.BOTTOM) / 2, abs=0.1)
    assert [tick.text for tick in figure.across] == ["10", "30", "100", "300", "1,000"]


def test_what_is_predicted_goes_up_and_what_is_measured_across():
    low, high = drawn([row(10.0, 90.0), row(90.0, 10.0)]).dots
    assert low.x < high.x
    assert low.y < high.y  # upwards is less


def test_the_band_is_a_fifth_to_both_sides():
    figure = drawn([row(20.0, 20.0), row(500.0, 500.0)])
    wide, high = (plots.RIGHT - plots.LEFT) / 2, (plots.BOTTOM - plots.TOP) / 2  # of a power
    above, below = figure.band[1], figure.band[-1]
    assert plots.BOTTOM - above[1] == pytest.approx(high * log10(1.2), abs=0.1)
    assert below[0] - plots.LEFT == pytest.approx(wide * -log10(0.8), abs=0.1)


def test_engines_have_their_marks():
    assert [dot.mark for dot in drawn([row(1, 1), row(1, 1, "sglang")]).dots] == [0, 1]


def test_a_prediction_of_nothing_has_no_place_among_logarithms():
    assert drawn([row(1.0, 0.0)]) is None
    assert drawn([row(1.0, 0.0), row(1.0, 1.0)]).left_out == 1


def test_too_many_rows_are_thinned_and_the_worst_stay():
    rows = [row(100.0, 100.0 + k) for k in range(plots.DOTS_MOST * 3)]
    figure = drawn(rows)
    assert len(figure.dots) == plots.DOTS_MOST
    assert figure.left_out == 2 * plots.DOTS_MOST
    everything = drawn(rows[-1:] + rows[:1])
    assert everything.left_out == 0
    ups = [dot.y for dot in figure.dots]
    assert max(ups) - min(ups) > 100


def test_axes_of_many_powers_have_few_numbers():
    figure = drawn([row(1e-300, 1e300)])
    assert 2 <= len(figure.across) <= plots.LABELS_MOST + 1


def test_ratios_stand_on_a_logarithmic_line():
    figure = strips({"g": [row(1.0, 2.0), row(1.0, 0.5), row(1.0, 1.0)]}, {"vllm": 0}, lambda r: "")
    (strip,) = figure.strips
    by_text = {tick.text: tick.at for tick in figure.ticks}
    assert [dot.x for dot in strip.dots] == [by_text["2"], by_text["1/2"], by_text["1"]]
    assert strip.middle == by_text["1"]
    unit = (by_text["16"] - by_text["1/16"]) / 8
    assert figure.band[1] - by_text["1"] == pytest.approx(unit * log2(1.2), abs=0.1)


def test_what_is_farther_off_stands_at_the_end_and_is_counted():
    (strip,) = strips({"g": [row(1.0, 17.0), row(1.0, 0.0)]}, {"vllm": 0}, lambda r: "").strips
    assert strip.beyond == 2
    assert {dot.x for dot in strip.dots} == {plots.INSET, plots.WIDTH - plots.INSET}


def test_every_group_has_its_line_up_to_a_number():
    many = {f"g{k}": [row(1.0, 1.0)] for k in range(plots.STRIPS_MOST + 5)}
    figure = strips(many, {"vllm": 0}, lambda r: "")
    assert len(figure.strips) == plots.STRIPS_MOST
    assert figure.left_out == 5
    tops = [strip.top for strip in figure.strips]
    assert len(set(tops)) == len(tops)
    assert figure.bottom >= max(tops) + plots.STRIP
